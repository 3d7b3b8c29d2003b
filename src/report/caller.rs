//! Who ran a command, and on which machine, as reports record it.

use nix::unistd::{User, geteuid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operating system's user and the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Caller")]
pub(crate) struct LocalCaller {
    /// The operating system's name of the user that ran it; none where that has no name.
    pub(crate) user: Option<String>,
    /// The machine's name.
    pub(crate) host: String,
}

impl LocalCaller {
    /// The effective user of this process, and this machine.
    pub(crate) fn of_this_process() -> Self {
        Self {
            user: User::from_uid(geteuid()).ok().flatten().map(|user| user.name),
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}
