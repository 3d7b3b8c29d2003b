//! Owns the commands that set up and control the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access_block::PublicAccessBlock;
use crate::clock::ClockMode;
use crate::fate::{EventDelivery, NextCluster, StartState, Termination, Timings};
use crate::faults::{Calls, Fault};
use crate::object::{AclGrant, Attributes, Retention};
use crate::sse::{BucketEncryption, Sse};
use crate::world::{BucketConfigurations, Grant};

/// A change of the world, or of its behaviour. As JSON: `{"command": "put_bucket", "name":
/// "acme-out"}`.
///
/// Without `account` or `region`, [`DEFAULT_ACCOUNT`](crate::ids::DEFAULT_ACCOUNT) and
/// [`DEFAULT_REGION`](crate::ids::DEFAULT_REGION) are used. `put_…` replaces an item with the same
/// name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Adds an access key id.
    PutAccessKey(PutAccessKey),
    /// Creates or changes a bucket; its objects stay.
    PutBucket(PutBucket),
    /// Removes a bucket with all its objects.
    DeleteBucket(Named),
    /// Writes an object, ignoring all policies.
    PutObject(PutObject),
    /// Removes an object; in a versioned bucket, a delete marker hides it.
    DeleteObject(ObjectName),
    /// Permanently removes one version or delete marker of a key, ignoring all locks.
    DeleteObjectVersion(ObjectVersion),
    /// Changes the properties that an object's owner can change without rewriting it.
    ChangeObject(ChangeObject),
    /// Creates a multipart upload, ignoring all policies.
    PutUpload(PutUpload),
    /// Sets or removes the public access block of a whole account.
    SetAccountPublicAccessBlock(AccountBlock),
    /// Makes a security configuration; an existing one is deleted and created again, even when in
    /// use.
    PutSecurityConfiguration(PutSecurityConfiguration),
    /// Removes a security configuration, even when in use.
    DeleteSecurityConfiguration(Named),
    /// Makes or replaces a KMS key.
    PutKey(PutKey),
    /// Makes an SNS topic.
    PutTopic(Named),
    /// Makes or replaces an alarm of CloudWatch; nothing of it is checked.
    PutAlarm(PutAlarm),
    /// Removes a KMS key by its id.
    DeleteKey(Named),
    /// Makes or replaces a role, and an instance profile if one is named.
    PutRole(PutRole),
    /// Removes a role.
    DeleteRole(Named),
    /// Makes or replaces a user, with its policies.
    PutUser(PutUser),
    /// Makes an account part of an organisation, or changes the organisation's policies.
    SetOrganization(SetOrganization),
    /// Sets how long principals that are created with the API are unknown to other services.
    SetPrincipalDelay(PrincipalDelay),
    /// Makes or replaces an instance profile.
    PutInstanceProfile(PutInstanceProfile),
    /// Removes an instance profile.
    DeleteInstanceProfile(Named),
    /// Makes or replaces a subnet.
    PutSubnet(PutSubnet),
    /// Makes or replaces a VPC.
    PutVpc(PutVpc),
    /// Makes or replaces a DHCP option set.
    PutDhcp(PutDhcp),
    /// Switches EBS encryption by default on or off.
    SetEbsEncryptionByDefault(Switch),
    /// Creates an SQS queue, which receives all events of all accounts and regions from then on.
    PutQueue(Named),
    /// Puts a message into a queue.
    SendMessage(SendMessage),
    /// Sets how events are delivered.
    SetEvents(EventDelivery),
    /// Ends all sessions that `AssumeRole` gave.
    ExpireSessions,
    /// Switches a region on or off for an account, if it is one that needs it.
    SetRegion(SetRegion),
    /// Starts a cluster without an API request, in any living state.
    StartCluster(StartCluster),
    /// Adds clusters that are over.
    PutHistory(PutHistory),
    /// Changes a cluster without an API request.
    UpdateCluster(UpdateCluster),
    /// Adds a rule that makes calls fail.
    AddFault(Fault),
    /// Removes all such rules.
    ClearFaults,
    /// Removes the rules that hold calls of the operation with this name, as the rules name it.
    Release(Named),
    /// Applies commands when a certain call arrives.
    AddHook(Hook),
    /// Removes all such hooks.
    ClearHooks,
    /// Changes how time passes.
    SetClock(SetClock),
    /// Moves the simulated time on.
    Advance(Advance),
    /// Delays every reply.
    SetLatency(SetLatency),
    /// Switches EMR's request quotas on or off.
    SetQuotas(Switch),
    /// Sets how long the stages of clusters started from now on take.
    SetTimings(Timings),
    /// Sets the properties of the next cluster or clusters; several are queued.
    SetNextCluster(NextCluster),
    /// Switches rounds on (counting from zero) or off.
    Rounds(Rounds),
    /// Adds a predefined scene.
    Seed(Seed),
    /// Clears the recorded requests.
    ClearRequests,
    /// Empties the world, forgets requests, faults, hooks and settings; the clock is real again.
    Reset,
}

/// The id of what a command created, if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// A cluster's id, a key's ARN.
    pub id: Option<String>,
}

/// An invalid command.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CommandError(pub(crate) String);

/// Something with a name, in an account and region where that matters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name; a KMS key's id.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// The region.
    #[serde(default)]
    pub region: Option<String>,
}

/// See [`Command::PutAlarm`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAlarm {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// Its settings by the names of `PutMetricAlarm`'s form: `Threshold`,
    /// `Dimensions.member.1.Name`.
    pub settings: BTreeMap<String, String>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`; default: the last.
    #[serde(default)]
    pub state: Option<String>,
}

/// See [`Command::PutAccessKey`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAccessKey {
    /// The access key id.
    pub id: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// ARN of the user or role session.
    pub arn: String,
}

/// See [`Command::PutBucket`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutBucket {
    /// Its name.
    pub name: String,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// Its owner.
    #[serde(default)]
    pub account: Option<String>,
    /// Its default encryption; none: never configured, so the response is AES256.
    #[serde(default)]
    pub default_encryption: Option<BucketEncryption>,
    /// Its policy document. Operators and keys that the simulator does not support are an error.
    #[serde(default)]
    pub policy: Option<Value>,
    /// Anybody may list and read.
    #[serde(default)]
    pub public: bool,
    /// `Enabled` or `Suspended`.
    #[serde(default)]
    pub versioning: Option<String>,
    /// All four settings of the public access block; default: on, unless public.
    #[serde(default)]
    pub public_access_block: Option<bool>,
    /// Its settings one by one, instead.
    #[serde(default)]
    pub public_access_settings: Option<PublicAccessBlock>,
    /// Object Lock's default retention in days (`COMPLIANCE`); none: off.
    #[serde(default)]
    pub object_lock_days: Option<u32>,
    /// The object ownership; default: `BucketOwnerEnforced`, which disables ACLs.
    #[serde(default)]
    pub ownership: Option<String>,
    /// Whether objects may be locked.
    #[serde(default)]
    pub object_lock: bool,
    /// Whether it is a website.
    #[serde(default)]
    pub website: bool,
    /// Its other configurations.
    #[serde(default)]
    pub configurations: BucketConfigurations,
}

/// See [`Command::PutObject`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutObject {
    /// The bucket, which must exist.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Bytes; default: the length of `body`.
    #[serde(default)]
    pub size: Option<u64>,
    /// Its content as text.
    #[serde(default)]
    pub body: Option<String>,
    /// Its content where that is no text.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// Its encryption; default: the bucket's default.
    #[serde(default)]
    pub sse: Option<Sse>,
    /// Default `STANDARD`.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// How many seconds ago it was written.
    #[serde(default)]
    pub age_seconds: f64,
    /// Default `binary/octet-stream`.
    #[serde(default)]
    pub content_type: Option<String>,
    /// `x-amz-meta-…` without the prefix.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// All its other properties.
    #[serde(default)]
    pub attributes: Attributes,
    /// The number of its parts, which shows in its `ETag`.
    #[serde(default)]
    pub parts: Option<u32>,
}

/// See [`Command::SetAccountPublicAccessBlock`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountBlock {
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// All four settings; absent: the account has no block.
    #[serde(default)]
    pub on: Option<bool>,
    /// Its settings one by one, instead.
    #[serde(default)]
    pub settings: Option<PublicAccessBlock>,
}

/// Names one object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// Names one version of an object, or a delete marker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectVersion {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Its id; `null`: the one without.
    pub version: String,
}

/// See [`Command::ChangeObject`]; absent fields stay. Neither date nor `ETag` change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeObject {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version; absent: the current one.
    #[serde(default)]
    pub version: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Its ACL; none: its owner's full control, which is S3's `private`.
    #[serde(default)]
    pub grants: Option<Vec<AclGrant>>,
    /// Object Lock's retention.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// Object Lock's legal hold.
    #[serde(default)]
    pub legal_hold: Option<bool>,
}

/// See [`Command::PutUpload`]. The id comes back in [`Applied::id`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutUpload {
    /// The bucket, which must exist.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The ARN of its initiator; default: a user of the bucket's account.
    #[serde(default)]
    pub initiator: Option<String>,
    /// How many seconds ago it was begun.
    #[serde(default)]
    pub age_seconds: f64,
    /// The sizes of its parts, in bytes.
    #[serde(default)]
    pub parts: Vec<u64>,
}

/// See [`Command::PutSecurityConfiguration`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutSecurityConfiguration {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// JSON, or a string with JSON (or anything) that is stored unchanged.
    pub content: Value,
    /// When it was created; default now.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub created: Option<time::OffsetDateTime>,
}

/// See [`Command::PutKey`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutKey {
    /// The key's id, not its ARN.
    pub id: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// Names of the form `alias/…`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Default `Enabled`.
    #[serde(default)]
    pub state: Option<String>,
    /// Default `SYMMETRIC_DEFAULT`.
    #[serde(default)]
    pub spec: Option<String>,
    /// Default `ENCRYPT_DECRYPT`.
    #[serde(default)]
    pub usage: Option<String>,
    /// Default `CUSTOMER`.
    #[serde(default)]
    pub manager: Option<String>,
    /// A multi-region primary.
    #[serde(default)]
    pub multi_region: bool,
    /// Rotation is on.
    #[serde(default)]
    pub rotation: bool,
    /// Default: the account's IAM policies decide.
    #[serde(default)]
    pub policy: Option<Value>,
    /// Its grants.
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// A managed policy attached to a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachedPolicy {
    /// Its ARN.
    pub arn: String,
    /// Its document.
    pub document: Value,
}

/// See [`Command::PutRole`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutRole {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Default: that of the account's callers.
    #[serde(default)]
    pub partition: Option<String>,
    /// Default `/`.
    #[serde(default)]
    pub path: Option<String>,
    /// Documents of inline policies; they are called `inline-1`, `inline-2`, …
    #[serde(default)]
    pub policies: Vec<Value>,
    /// Attached managed policies.
    #[serde(default)]
    pub attached: Vec<AttachedPolicy>,
    /// The document of a permissions boundary.
    #[serde(default)]
    pub boundary: Option<Value>,
    /// Trust policy; default: EC2 may assume it.
    #[serde(default)]
    pub trust: Option<Value>,
    /// Name of an instance profile to make with this role in it, under the role's path.
    #[serde(default)]
    pub instance_profile: Option<String>,
}

/// See [`Command::PutUser`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutUser {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Default: that of the account's callers.
    #[serde(default)]
    pub partition: Option<String>,
    /// Documents of inline policies; they are called `inline-1`, `inline-2`, …
    #[serde(default)]
    pub policies: Vec<Value>,
}

/// See [`Command::SetPrincipalDelay`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalDelay {
    /// Simulated seconds; from the start 0. Real ones are 5 to 15.
    pub seconds: f64,
}

/// See [`Command::SetOrganization`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetOrganization {
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// The documents of its service control policies.
    pub policies: Vec<Value>,
}

/// See [`Command::PutInstanceProfile`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutInstanceProfile {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Default: that of the account's callers.
    #[serde(default)]
    pub partition: Option<String>,
    /// Default `/`.
    #[serde(default)]
    pub path: Option<String>,
    /// None or one role name.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// See [`Command::PutSubnet`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutSubnet {
    /// `subnet-…`
    pub id: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// `vpc-…`
    pub vpc: String,
}

/// See [`Command::PutVpc`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutVpc {
    /// `vpc-…`
    pub id: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// `dopt-…`
    pub dhcp_options: String,
    /// Its primary IPv4 block; default `172.31.0.0/16`.
    #[serde(default)]
    pub cidr: Option<String>,
    /// Default on.
    #[serde(default = "yes")]
    pub dns_support: bool,
    /// Default on.
    #[serde(default = "yes")]
    pub dns_hostnames: bool,
}

impl Default for PutVpc {
    fn default() -> Self {
        Self {
            id: String::new(),
            account: None,
            region: None,
            dhcp_options: "default".to_owned(),
            cidr: None,
            dns_support: true,
            dns_hostnames: true,
        }
    }
}

/// See [`Command::PutDhcp`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutDhcp {
    /// `dopt-…`
    pub id: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// `domain-name`, `domain-name-servers`, … and their values.
    pub options: BTreeMap<String, Vec<String>>,
}

/// See [`Command::SendMessage`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// The queue's name.
    pub queue: String,
    /// Its text.
    pub body: String,
}

/// See [`Command::StartCluster`]. The id comes back in [`Applied::id`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartCluster {
    /// `j-…`; default: made up.
    #[serde(default)]
    pub id: Option<String>,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// The state in its life.
    #[serde(default)]
    pub state: StartState,
    /// How many seconds ago it was created.
    #[serde(default)]
    pub age_seconds: f64,
    /// `RunJobFlow`'s own fields; missing ones get default values.
    #[serde(default)]
    pub request: Value,
    /// Who CloudTrail says has launched it.
    #[serde(default)]
    pub launcher: LaunchedBy,
}

/// Who launched a cluster, for CloudTrail's record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchedBy {
    /// The ARN of a user or of a role session; default: the account's user `somebody`.
    pub arn: Option<String>,
    /// `sourceIPAddress`; default: an address of RFC 5737.
    pub address: Option<String>,
    /// `userAgent`; default: the console's.
    pub agent: Option<String>,
    /// `userIdentity.invokedBy`.
    pub invoked_by: Option<String>,
}

/// See [`Command::PutHistory`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutHistory {
    /// How many.
    pub count: u32,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// The region.
    #[serde(default)]
    pub region: Option<String>,
    /// They were created at equal intervals within so many seconds before now; each lived for less
    /// than one such interval.
    pub within_seconds: f64,
}

/// See [`Command::SetRegion`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRegion {
    /// The region's name.
    pub name: String,
    /// Twelve digits.
    #[serde(default)]
    pub account: Option<String>,
    /// The account can use it.
    pub opted_in: bool,
}

/// See [`Command::UpdateCluster`]; absent fields stay.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateCluster {
    /// Which cluster; empty: the newest.
    pub id: String,
    /// Members of `RunJobFlow`'s body that it was started with: `ServiceRole`, `CustomAmiId`,
    /// `BootstrapActions`, …
    #[serde(default)]
    pub request: Value,
    /// Whether volumes made from now on are encrypted, whatever the security configuration says.
    #[serde(default)]
    pub ebs_encrypted: Option<bool>,
    /// Instance groups to add, in `AddInstanceGroups`' form.
    #[serde(default)]
    pub add_groups: Value,
    /// How many instances each CORE group has from now on.
    #[serde(default)]
    pub resize: Option<u64>,
    /// Steps to add, in `AddJobFlowSteps`' form.
    #[serde(default)]
    pub add_steps: Value,
    /// Termination protection.
    #[serde(default)]
    pub termination_protected: Option<bool>,
    /// The name `DescribeCluster` gives; empty: none.
    #[serde(default)]
    pub security_configuration: Option<String>,
    /// The cluster's `Configurations`.
    #[serde(default)]
    pub configurations: Option<Value>,
    /// `Configurations` of every instance group, as a reconfiguration request would set them.
    #[serde(default)]
    pub group_configurations: Option<Value>,
    /// The reaction to a termination request.
    #[serde(default)]
    pub termination: Option<Termination>,
}

/// See [`Command::SetClock`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetClock {
    /// `"real"`, `{"scaled": 60}` or `"stepped"`.
    pub mode: ClockMode,
    /// The simulated time to continue from, RFC 3339; default: the present one.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<time::OffsetDateTime>,
}

/// See [`Command::Advance`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// Simulated seconds.
    pub seconds: f64,
}

/// See [`Command::SetLatency`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLatency {
    /// Real milliseconds.
    pub ms: u64,
}

/// On or off.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// On.
    pub on: bool,
}

/// See [`Command::Rounds`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// On; switching on counts from zero again.
    pub on: bool,
    /// Real milliseconds without a new request after which a round is over.
    #[serde(default = "quiet")]
    pub quiet_ms: u64,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { on: true, quiet_ms: quiet() }
    }
}

/// See [`Command::Seed`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// `acme` or `empty`.
    pub scene: String,
    /// The region of `empty`, which also gives its partition; `acme` is always in `eu-west-1`.
    #[serde(default)]
    pub region: Option<String>,
}

fn yes() -> bool {
    true
}

fn quiet() -> u64 {
    100
}

/// The moment of a call at which a hook's commands are applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The call has arrived and had no effect yet.
    Arrival,
    /// The call has taken effect and its response exists, but is not sent.
    #[default]
    Reply,
}

/// When these calls come, these commands are applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// As in a [`Fault`].
    #[serde(default)]
    pub service: Option<String>,
    /// As in a [`Fault`].
    pub operation: String,
    /// Which of those calls, failed ones included; default: the first.
    #[serde(default = "first")]
    pub calls: Calls,
    /// As in a [`Fault`].
    #[serde(default)]
    pub matching: Option<String>,
    /// Before or after the call has its effect.
    #[serde(default)]
    pub when: Moment,
    /// What to apply, in this order. A command that fails is reported on standard error.
    pub commands: Vec<Command>,
}

impl Hook {
    /// After the first call of an operation, before its reply is sent.
    #[must_use]
    pub fn after_first(operation: &str, commands: Vec<Command>) -> Self {
        Self {
            service: None,
            operation: operation.to_owned(),
            calls: first(),
            matching: None,
            when: Moment::Reply,
            commands,
        }
    }

    /// Before the nth call (1-based) of an operation has its effect.
    #[must_use]
    pub fn before_nth(operation: &str, nth: u64, commands: Vec<Command>) -> Self {
        Self { when: Moment::Arrival, ..Self::after_nth(operation, nth, commands) }
    }

    /// After the nth call (1-based) of an operation has had its effect, before its reply is sent.
    #[must_use]
    pub fn after_nth(operation: &str, nth: u64, commands: Vec<Command>) -> Self {
        Self { calls: Calls::Nth(nth), ..Self::after_first(operation, commands) }
    }

    /// Counts only calls about this bucket, `bucket/key` or name.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        Self { matching: Some(subject.to_owned()), ..self }
    }
}

fn first() -> Calls {
    Calls::Nth(1)
}
