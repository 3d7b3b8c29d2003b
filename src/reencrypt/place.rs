//! The address of one version of an object.

use serde::{Deserialize, Serialize};

use crate::base::printable::Printable;

/// One object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectId {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// The version; none: the current object in a bucket without versions.
    pub(crate) version: Option<String>,
}

impl ObjectId {
    pub(crate) fn name(&self) -> Vec<u8> {
        // No bucket, key or version contains this byte.
        [self.bucket.as_str(), self.key.as_str(), self.version.as_deref().unwrap_or_default()]
            .join("\0")
            .into_bytes()
    }

    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(name).ok()?.split('\0').map(str::to_owned);
        Some(Self {
            bucket: parts.next()?,
            key: parts.next()?,
            version: parts.next().filter(|version| !version.is_empty()),
        })
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", shown(&self.bucket), shown(&self.key))?;
        let version = self.version.as_deref().map(shown);
        version.map_or(Ok(()), |version| write!(f, " (version {version})"))
    }
}

/// A key, or another text from S3, in printable form.
pub(crate) fn shown(key: &str) -> Printable {
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_address_steers_a_terminal_or_looks_like_an_escape() {
        let hostile = |text: &str| format!("{text}\n\u{1b}[2J\\u{{41}}");
        let object =
            ObjectId { bucket: hostile("b"), key: hostile("ü/k"), version: Some(hostile("v")) };
        let told = r"\u{a}\u{1b}[2J\u{5c}u{41}";
        assert_eq!(object.to_string(), format!("s3://b{told}/ü/k{told} (version v{told})"));
    }
}
