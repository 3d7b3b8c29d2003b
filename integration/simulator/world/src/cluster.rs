//! Owns the data of one cluster: its request, state, steps, instances and volumes.

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::fate::{NextCluster, Timings};
use crate::partition::partition_of;
use crate::values::truthy;

/// The states of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterState {
    /// Requested; no instance yet.
    Starting,
    /// Instances exist and run bootstrap actions.
    Bootstrapping,
    /// A step runs or is about to.
    Running,
    /// Idle and kept alive.
    Waiting,
    /// Terminating.
    Terminating,
    /// Terminated on request or after its steps.
    Terminated,
    /// Ended by a failure.
    TerminatedWithErrors,
}

impl ClusterState {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Bootstrapping => "BOOTSTRAPPING",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Terminating => "TERMINATING",
            Self::Terminated => "TERMINATED",
            Self::TerminatedWithErrors => "TERMINATED_WITH_ERRORS",
        }
    }

    /// Terminated, with errors or without.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::TerminatedWithErrors)
    }

    /// Terminating or terminated.
    #[must_use]
    pub fn is_ending(self) -> bool {
        self.is_over() || self == Self::Terminating
    }
}

/// The states of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Ended well.
    Completed,
    /// Never ran, or was stopped with its cluster.
    Cancelled,
    /// Ended badly.
    Failed,
}

impl StepState {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        }
    }
}

/// A step of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// `s-…`
    pub id: String,
    /// Its name.
    pub name: String,
    /// `TERMINATE_JOB_FLOW`, `CANCEL_AND_WAIT`, `CONTINUE`, …
    pub action_on_failure: String,
    /// The jar.
    pub jar: String,
    /// The jar's main class, if named.
    pub main_class: Option<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Java properties.
    pub properties: Map<String, Value>,
    /// Where it is.
    pub state: StepState,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// Why it failed.
    pub failure: Option<String>,
    /// `s3://…` of every object it wrote, logs left out.
    pub written: Vec<String>,
}

/// An instance group, or an instance fleet.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceGroup {
    /// `ig-…`, or `if-…` of a fleet.
    pub id: String,
    /// `MASTER`, `CORE` or `TASK`.
    pub role: String,
    /// As requested, in `RunJobFlow`'s form.
    pub request: Value,
    /// Its own `Configurations`; they may change while the cluster runs. Of a fleet: those of its
    /// first instance type.
    pub configurations: Value,
}

/// An instance of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// `ci-…`
    pub id: String,
    /// `i-…`
    pub ec2_id: String,
    /// Its group's id.
    pub group: String,
    /// `MASTER`, `CORE` or `TASK`.
    pub role: String,
    /// `m4.large`, …
    pub kind: String,
    /// Last two numbers of its private address.
    pub address: (u8, u8),
    /// Root volume first.
    pub volumes: Vec<Volume>,
}

/// An EBS volume.
#[derive(Debug, Clone, Serialize)]
pub struct Volume {
    /// `vol-…`
    pub id: String,
    /// `/dev/xvda` is the root.
    pub device: String,
    /// GiB.
    pub size: u64,
    /// `gp2`, …
    pub kind: String,
    /// By EBS; LUKS is not visible.
    pub encrypted: bool,
    /// ARN of the key if it is.
    pub key: Option<String>,
}

/// The next change in a cluster's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Bootstrap,
    Ready,
    StartStep(usize),
    EndStep(usize),
    End { failed: bool },
}

/// A cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    /// `j-…`
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// `RunJobFlow`'s body, or its replacement.
    pub request: Value,
    /// The name `DescribeCluster` gives.
    pub security_configuration: Option<String>,
    /// The content of the security configuration when the cluster was requested: the effective one.
    pub security: Value,
    /// The cluster's `Configurations`.
    pub configurations: Value,
    /// Where it is.
    pub state: ClusterState,
    /// Code and message of the last change, where there is one.
    pub reason: Option<(String, String)>,
    /// When it was requested.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When its bootstrap actions were done.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ready: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// Key and value.
    pub tags: Vec<(String, String)>,
    /// Termination protection.
    pub termination_protected: bool,
    /// It waits when it has no more steps.
    pub keep_alive: bool,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// Its instance groups.
    pub groups: Vec<InstanceGroup>,
    /// Its instances; none while STARTING.
    pub instances: Vec<Instance>,
    /// How many times `TerminateJobFlows` named it with success.
    pub terminations: u32,
    /// Its special fate.
    pub fate: NextCluster,
    /// The last state that was sent to queues.
    #[serde(skip)]
    pub(crate) told: Option<ClusterState>,
    #[serde(skip)]
    pub(crate) timings: Timings,
    #[serde(skip)]
    pub(crate) next: Option<(OffsetDateTime, Next)>,
}

impl InstanceGroup {
    /// Whether it is a fleet.
    #[must_use]
    pub fn is_fleet(&self) -> bool {
        self.id.starts_with("if-")
    }
}

impl Cluster {
    /// One that is over, of an account and region, with the times of its creation and of its end.
    pub(crate) fn over(
        id: String,
        name: String,
        (account, region): (String, String),
        (created, ended): (OffsetDateTime, OffsetDateTime),
    ) -> Self {
        Self {
            id,
            account,
            region,
            name,
            request: Value::Null,
            security_configuration: None,
            security: Value::Null,
            configurations: Value::Array(Vec::new()),
            state: ClusterState::Terminated,
            reason: Some(("ALL_STEPS_COMPLETED".to_owned(), "Steps completed".to_owned())),
            created,
            ready: None,
            ended: Some(ended),
            tags: Vec::new(),
            termination_protected: false,
            keep_alive: false,
            steps: Vec::new(),
            groups: Vec::new(),
            instances: Vec::new(),
            terminations: 0,
            fate: NextCluster::default(),
            told: Some(ClusterState::Terminated),
            timings: Timings::default(),
            next: None,
        }
    }

    /// Whether it is one of instance fleets.
    #[must_use]
    pub fn has_fleets(&self) -> bool {
        self.groups.iter().any(InstanceGroup::is_fleet)
    }

    /// The state's name in the API.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// The cluster's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let partition = partition_of(&self.region);
        let Self { region, account, id, .. } = self;
        format!("arn:{partition}:elasticmapreduce:{region}:{account}:cluster/{id}")
    }

    /// `RunJobFlow`'s field of this name.
    #[must_use]
    pub fn requested(&self, pointer: &str) -> Option<&str> {
        self.request.pointer(pointer).and_then(Value::as_str)
    }

    /// The part of the security configuration that encrypts, if it has that part and switches it
    /// on.
    fn at_rest(&self, part: &str) -> Option<&Value> {
        let encryption = self.security.get("EncryptionConfiguration")?;
        if !truthy(encryption.get("EnableAtRestEncryption")) {
            return None;
        }
        encryption.get("AtRestEncryptionConfiguration")?.get(part)
    }

    /// Whether EBS encryption is on, and with which key.
    pub(crate) fn ebs_key(&self) -> Option<&str> {
        let disk = self.at_rest("LocalDiskEncryptionConfiguration")?;
        if !truthy(disk.get("EnableEbsEncryption")) {
            return None;
        }
        disk.get("AwsKmsKey").and_then(Value::as_str)
    }

    /// EMRFS mode and key for a bucket, by the security configuration.
    pub(crate) fn s3_mode(&self, bucket: &str) -> Option<(&str, Option<&str>)> {
        let s3 = self.at_rest("S3EncryptionConfiguration")?;
        let overrides = s3.get("Overrides").and_then(Value::as_array);
        let special = overrides
            .into_iter()
            .flatten()
            .find(|it| it.get("BucketName").and_then(Value::as_str) == Some(bucket));
        let chosen = special.unwrap_or(s3);
        let mode = chosen.get("EncryptionMode").and_then(Value::as_str)?;
        Some((mode, chosen.get("AwsKmsKey").and_then(Value::as_str)))
    }

    /// A property of the cluster's `Configurations`, top level only.
    pub(crate) fn property(&self, classification: &str, property: &str) -> Option<&str> {
        self.configurations
            .as_array()?
            .iter()
            .filter(|it| it.get("Classification").and_then(Value::as_str) == Some(classification))
            .find_map(|it| it.get("Properties")?.get(property)?.as_str())
    }
}
