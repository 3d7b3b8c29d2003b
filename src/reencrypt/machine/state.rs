//! How far an object has come: what the ledger keeps about it.

use serde::{Deserialize, Serialize};

use crate::reencrypt::machine::{
    choice::{Choice, RepairMethod},
    snapshot::{KMS, Snapshot},
};

/// The encryption that an object gets, in S3's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetEncryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// The key's ARN; none: whichever S3 takes by itself.
    pub key: Option<String>,
    /// The bucket's rule has its objects use a bucket key.
    #[serde(default)]
    pub bucket_key: bool,
}

impl TargetEncryption {
    /// Whether an object is encrypted so.
    pub fn is_met(&self, seen: &Snapshot) -> bool {
        seen.algorithm.as_deref() == Some(self.algorithm.as_str())
            && self.key.as_ref().is_none_or(|wanted| seen.key.as_ref() == Some(wanted))
    }

    /// Whether an object gets a bucket key: where it has one, or the bucket's rule says so. None:
    /// its encryption knows none. Not asked for, a copy and an update would lose it. Source:
    /// answers of S3 that others recorded.
    pub fn bucket_key_for(&self, before: &Snapshot) -> Option<bool> {
        (self.algorithm == KMS).then_some(self.bucket_key || before.bucket_key)
    }

    /// What S3 reports of an object that is not encrypted so, and what was asked for.
    pub fn difference(&self, seen: &Snapshot) -> String {
        let (reported, asked) = (
            in_words(seen.algorithm.as_deref(), seen.key.as_deref()),
            in_words(Some(&self.algorithm), self.key.as_deref()),
        );
        format!("S3 reports {reported}, where {asked} was asked for")
    }
}

/// An encryption in S3's words.
fn in_words(algorithm: Option<&str>, key: Option<&str>) -> String {
    match (algorithm, key) {
        (None, _) => "no encryption".to_owned(),
        (Some(algorithm), None) => algorithm.to_owned(),
        (Some(algorithm), Some(key)) => format!("{algorithm} under {key}"),
    }
}

/// How far an object has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RepairState {
    /// It is to be done.
    Planned {
        /// What is to be done.
        choice: Choice,
        /// In bytes.
        size: u64,
        /// It was the current version.
        is_latest: bool,
        /// The version that this tool made of it and proved: then the old one may be purged.
        #[serde(default)]
        made: Option<String>,
    },
    /// It is being done, or was when the run ended.
    Begun {
        /// How.
        method: RepairMethod,
        /// What it gets.
        target: TargetEncryption,
        /// All that must be kept.
        before: Box<Snapshot>,
        /// The upload in parts.
        upload: Option<String>,
        /// It was the current version.
        is_latest: bool,
        /// S3's own time when it was begun, in milliseconds since 1970.
        since: i64,
        /// The version that S3 said it made, where that could not be looked at.
        #[serde(default)]
        made: Option<String>,
    },
    /// It is done and verified.
    Done {
        /// How.
        method: RepairMethod,
        /// S3's own time, in milliseconds since 1970.
        at: i64,
        /// The version that this tool's own copy made, directly above the one it is a copy of; none
        /// where the copy took its place.
        #[serde(default)]
        made: Option<String>,
    },
    /// An old version was removed.
    Purged {
        /// S3's own time, in milliseconds since 1970.
        at: i64,
    },
    /// A copy that is not all that it was made of, and cannot be taken back. It counts as long as
    /// exactly this object is there: whoever touches it has judged it.
    Damaged {
        /// The copy.
        left: Box<Snapshot>,
        /// What it lacks, in words.
        losses: Vec<String>,
        /// It is encrypted otherwise than asked, which is one of them.
        #[serde(default)]
        encryption_differs: bool,
    },
    /// An upload in parts of this tool that is over, and that S3 did not abort.
    Stray {
        /// Its id.
        upload: String,
    },
}

impl RepairState {
    /// What the next run keeps of an entry before it scans: plans are made anew, but what was proved
    /// stays. None: the entry is forgotten.
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

    /// Whether an earlier run has left it to be looked after.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Begun { .. } | Self::Damaged { .. } | Self::Stray { .. })
    }

    /// Whether this run's scan may write a plan in its place. What could not be finished stays: it is
    /// named already, and all that is known of it would be lost.
    #[must_use]
    pub fn gives_way(&self) -> bool {
        matches!(self, Self::Planned { .. } | Self::Done { .. } | Self::Purged { .. })
    }

    /// The version that the entry is about, where that is not the one that it is kept under: it can
    /// move there when its place is needed.
    #[must_use]
    pub fn belongs_to(&self, version: Option<&str>) -> Option<&str> {
        match self {
            Self::Damaged { left, .. } => left.version.as_deref().filter(|it| Some(*it) != version),
            _ => None,
        }
    }

    /// The version that this tool made of the entry's, and proved.
    #[must_use]
    pub fn made(&self) -> Option<&str> {
        match self {
            Self::Done { made, .. } | Self::Planned { made, .. } => made.as_deref(),
            _ => None,
        }
    }
}
