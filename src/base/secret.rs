//! Values that must not be shown, and the credentials that consist of them.

use std::fmt;

/// A value that must not be shown: `Debug` prints a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    pub(crate) fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself. Only code that must send it calls this.
    #[must_use]
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The static credentials that the runner uses. It supports no others, and no session token.
#[derive(Clone, Debug)]
pub struct RunnerCredentials {
    /// `aws.access_key_id`.
    pub access_key_id: Secret,
    /// `aws.secret_access_key`.
    pub secret_access_key: Secret,
}
