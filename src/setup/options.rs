//! The options of `setup`, after they were parsed.

use std::collections::BTreeSet;

use clap::ValueEnum;

use crate::{
    base::names::{KeyReference, S3Object},
    settings::policy::EncryptionKind,
};

/// A part of the setup that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum SetupPart {
    /// Missing buckets.
    Buckets,
    /// The default encryption of buckets.
    BucketEncryption,
    /// The statement that denies plain http, in the policies of buckets.
    BucketPolicies,
    /// The public access block of buckets.
    PublicAccessBlock,
    /// The KMS key and its policy.
    Key,
    /// Missing roles and the missing instance profile.
    Roles,
    /// What existing roles lack.
    RolePolicies,
    /// What the runner's user or role lacks.
    Launcher,
    /// The certificates for traffic between nodes.
    Certificates,
    /// The security configuration.
    SecurityConfiguration,
}

/// A part that no launch demands, and that is made only if it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum SetupExtra {
    /// What the guard's own role or user lacks.
    GuardPolicy,
    /// A queue that receives EMR's state changes, and the EventBridge rule that sends them.
    EventQueue,
    /// An SNS topic for alerts.
    AlertTopic,
    /// A bucket with Object Lock for reports and attestations.
    EvidenceBucket,
}

/// The choices of the person who runs `setup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetupOptions {
    /// The start of the names of everything that is made: `NAME-0a1b2c3d`, `alias/NAME`.
    pub(crate) name: String,
    /// The parts that are left alone.
    pub(crate) without: BTreeSet<SetupPart>,
    /// The parts that are made although no launch demands them.
    pub(crate) with: BTreeSet<SetupExtra>,
    /// The key to use; none: the policy's expected key, else one with the alias `alias/NAME`.
    pub(crate) key: Option<KeyReference>,
    /// The default encryption of every bucket; none: existing defaults that the policy accepts
    /// stay, and others become SSE-KMS (SSE-S3 if the policy does not accept SSE-KMS).
    pub(crate) bucket_encryption: Option<EncryptionKind>,
    /// The certificate archive; none: a bucket of its own.
    pub(crate) certificates: Option<S3Object>,
    /// The days for which certificates are valid.
    pub(crate) certificate_days: u16,
}
