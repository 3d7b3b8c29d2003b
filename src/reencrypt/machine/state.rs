//! The state of an object's repair, as the ledger stores it.

use serde::{Deserialize, Serialize};

use crate::reencrypt::machine::{
    choice::{Choice, RepairMethod},
    snapshot::{KMS, Snapshot},
};

/// The encryption that an object gets, in S3's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEncryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// The key's ARN; none: S3's default key.
    pub key: Option<String>,
    /// The bucket's rule makes its objects use a bucket key.
    #[serde(default)]
    pub bucket_key: bool,
}

impl TargetEncryption {
    /// Whether an object has this encryption.
    pub fn is_met(&self, seen: &Snapshot) -> bool {
        seen.algorithm.as_deref() == Some(self.algorithm.as_str())
            && self.key.as_ref().is_none_or(|wanted| seen.key.as_ref() == Some(wanted))
    }

    /// Whether an object gets a bucket key: if it has one, or the bucket's rule says so. None: its
    /// encryption does not support it. A copy or update without this request would lose it. Source:
    /// recorded responses of S3.
    pub fn bucket_key_for(&self, before: &Snapshot) -> Option<bool> {
        (self.algorithm == KMS).then_some(self.bucket_key || before.bucket_key)
    }

    /// What S3 reports of an object with a different encryption, and what was requested.
    pub fn difference(&self, seen: &Snapshot) -> String {
        let (reported, asked) = (
            in_words(seen.algorithm.as_deref(), seen.key.as_deref()),
            in_words(Some(&self.algorithm), self.key.as_deref()),
        );
        format!("S3 reports {reported}, where {asked} was asked for")
    }
}

/// An encryption in words, with S3's terms.
fn in_words(algorithm: Option<&str>, key: Option<&str>) -> String {
    match (algorithm, key) {
        (None, _) => "no encryption".to_owned(),
        (Some(algorithm), None) => algorithm.to_owned(),
        (Some(algorithm), Some(key)) => format!("{algorithm} under {key}"),
    }
}

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RepairState {
    /// A change is planned.
    Planned {
        /// What is to be done.
        choice: Choice,
        /// In bytes.
        size: u64,
        /// It was the current version.
        is_latest: bool,
        /// The version that this tool made of it and verified, after which the old one may be
        /// purged.
        #[serde(default)]
        made: Option<String>,
    },
    /// A change is in progress, or was when the run ended.
    Begun {
        /// How.
        method: RepairMethod,
        /// Its target.
        target: TargetEncryption,
        /// Everything that must be preserved.
        before: Box<Snapshot>,
        /// The upload in parts.
        upload: Option<String>,
        /// It was the current version.
        is_latest: bool,
        /// S3's time when it was started, in milliseconds since 1970.
        since: i64,
        /// The version that S3 returned, where it could not be looked up.
        #[serde(default)]
        made: Option<String>,
    },
    /// It is done and verified.
    Done {
        /// How.
        method: RepairMethod,
        /// S3's own time, in milliseconds since 1970.
        at: i64,
        /// The version made by this tool's own copy, directly above its source; none where the copy
        /// overwrote the object.
        #[serde(default)]
        made: Option<String>,
    },
    /// An old version was removed.
    Purged {
        /// S3's own time, in milliseconds since 1970.
        at: i64,
    },
    /// A copy that lacks properties of its source, and cannot be removed. The entry is valid as
    /// long as exactly this object exists: whoever changes the object has dealt with it.
    Damaged {
        /// The copy.
        left: Box<Snapshot>,
        /// The lost properties, in words.
        losses: Vec<String>,
        /// Its encryption differs from the requested one, which is one of the losses.
        #[serde(default)]
        encryption_differs: bool,
    },
    /// A multipart upload of this tool that is no longer needed, and that S3 did not abort.
    Stray {
        /// Its id.
        upload: String,
    },
}

impl RepairState {
    /// What the next run keeps of an entry before it scans: plans are made again, but verified
    /// results stay. None: the entry is removed.
    #[must_use]
    pub fn kept_by_next_run(&self) -> Option<Self> {
        match self {
            Self::Planned { choice: Choice::Purge, made: Some(made), .. } => {
                Some(Self::Done { method: RepairMethod::Copy, at: 0, made: Some(made.clone()) })
            }
            Self::Planned { .. } => None,
            other => Some(other.clone()),
        }
    }

    /// Whether an earlier run has left it unfinished.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Begun { .. } | Self::Damaged { .. } | Self::Stray { .. })
    }

    /// Whether this run's scan may replace it with a plan. An entry that could not be finished
    /// stays: it is reported already, and its data would be lost.
    #[must_use]
    pub fn gives_way(&self) -> bool {
        matches!(self, Self::Planned { .. } | Self::Done { .. } | Self::Purged { .. })
    }

    /// The version that the entry is about, if it differs from the entry's key: the entry can move
    /// there when its key is needed.
    #[must_use]
    pub fn belongs_to(&self, version: Option<&str>) -> Option<&str> {
        match self {
            Self::Damaged { left, .. } => left.version.as_deref().filter(|it| Some(*it) != version),
            _ => None,
        }
    }

    /// The version that this tool made of the entry's version and verified.
    #[must_use]
    pub fn made(&self) -> Option<&str> {
        match self {
            Self::Done { made, .. } | Self::Planned { made, .. } => made.as_deref(),
            _ => None,
        }
    }
}
