//! Where reports go, and how long they are kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::names::S3Location;

/// Where documents go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Destination {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket and a key prefix.
    S3(S3Location),
    /// Standard output.
    Stdout,
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("is blank; name a folder, s3://bucket/prefix/ or stdout".to_owned()),
            "stdout" => Ok(Self::Stdout),
            text if text.contains("://") => {
                S3Location::parse(text).map(Self::S3).map_err(|error| error.to_string())
            }
            text => Ok(Self::Folder(text.into())),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::S3(location) => location.fmt(f),
            Self::Stdout => f.write_str("stdout"),
        }
    }
}

impl Destination {
    /// The S3 location, if it is one.
    pub(crate) fn in_s3(&self) -> Option<&S3Location> {
        match self {
            Self::S3(location) => Some(location),
            Self::Folder(_) | Self::Stdout => None,
        }
    }
}

/// How long reports are kept in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The number of runs whose reports are kept.
    pub keep: Option<u32>,
    /// The number of days that reports are kept.
    pub days: Option<u32>,
}
