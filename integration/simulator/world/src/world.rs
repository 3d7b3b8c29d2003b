//! Owns the simulated AWS: accounts, buckets, keys, roles, networks, security configurations,
//! clusters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::access_block::PublicAccessBlock;
use crate::alarm::Alarm;
use crate::cluster::Cluster;
use crate::fate::{EventDelivery, NextCluster, Timings};
use crate::ids::{DEFAULT_ACCOUNT, DEFAULT_REGION, parse_kms_arn, uuid};
use crate::job::Job;
use crate::object::{DefaultRetention, Object, Older, Upload};
use crate::partition::partition_of;
use crate::sse::BucketEncryption;

/// The whole state of the simulated AWS. Change it with a [`Command`](crate::command::Command).
#[derive(Debug, Serialize)]
pub struct World {
    /// The simulated time of the last access.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// Access key ids and who they are.
    pub access_keys: BTreeMap<String, Caller>,
    /// The sessions that `AssumeRole` gave, by access key id.
    pub sessions: BTreeMap<String, Session>,
    /// The regions that an account has switched on, of those that need it.
    pub opted_in: BTreeMap<String, BTreeSet<String>>,
    /// Buckets by name; bucket names are global.
    pub buckets: BTreeMap<String, Bucket>,
    /// Security configurations of all accounts and regions.
    pub security_configurations: Vec<SecurityConfiguration>,
    /// KMS keys of all accounts and regions.
    pub keys: Vec<Key>,
    /// IAM roles of all accounts.
    pub roles: Vec<Role>,
    /// IAM users of all accounts. Only their policies matter, which are stored as in a role.
    pub users: Vec<Role>,
    /// The policies (SCPs) of an account's organisation, by account; other accounts have none.
    pub organizations: BTreeMap<String, Vec<Value>>,
    /// Instance profiles of all accounts.
    pub instance_profiles: Vec<InstanceProfile>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// VPCs.
    pub vpcs: Vec<Vpc>,
    /// DHCP option sets.
    pub dhcp_options: Vec<DhcpOptions>,
    /// What was published to each SNS topic, by its ARN, oldest first.
    pub topics: BTreeMap<String, Vec<Publication>>,
    /// What was set of SNS topics, by ARN; a topic that is not here has only defaults.
    pub topic_settings: BTreeMap<String, TopicSettings>,
    /// Whether accounts encrypt new EBS volumes by default.
    pub ebs_encryption_by_default: bool,
    /// Clusters of all accounts and regions, oldest first.
    pub clusters: Vec<Cluster>,
    /// How long the stages of clusters started from now on take.
    pub timings: Timings,
    /// Special properties of the next clusters, in order.
    pub next_clusters: VecDeque<NextCluster>,
    /// Multipart uploads that were neither completed nor aborted.
    pub uploads: Vec<Upload>,
    /// S3 Batch Operations jobs, oldest first.
    pub jobs: Vec<Job>,
    /// Public access blocks of whole accounts; an account that is not here has none.
    pub account_blocks: BTreeMap<String, PublicAccessBlock>,
    /// So many simulated seconds pass until a principal that was created with the API exists for
    /// other services than IAM.
    pub principal_delay: f64,
    /// SQS queues by [key](World::queue_key), each with its messages, oldest first. Every event is
    /// sent to those without settings, and to the others by the rules of EventBridge.
    pub queues: BTreeMap<String, Vec<Message>>,
    /// The SQS queues that were created with the API, by key.
    pub queue_settings: BTreeMap<String, QueueSettings>,
    /// When queues were deleted with the API, by account, region and name: a name is free again
    /// after a minute.
    #[serde(skip)]
    pub deleted_queues: BTreeMap<(String, String, String), OffsetDateTime>,
    /// The rules of EventBridge on the default buses.
    pub event_rules: Vec<EventRule>,
    /// The alarms of CloudWatch, of all accounts and regions.
    pub alarms: Vec<Alarm>,
    /// How events are delivered.
    pub event_delivery: EventDelivery,
    /// The events under way, by the time at which they come and a number.
    #[serde(skip)]
    pub(crate) events_under_way: BTreeMap<(OffsetDateTime, u64), Value>,
    /// The number of the last event.
    #[serde(skip)]
    pub(crate) last_event: u64,
    /// The source of ids; the same in every simulator.
    #[serde(skip)]
    pub random: fastrand::Rng,
}

/// A message in a queue.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Its text.
    pub body: String,
    /// The receipt handle of its last receiver.
    pub receipt: Option<String>,
    /// It is not returned before this time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub hidden_until: Option<OffsetDateTime>,
}

/// Who an access key id belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// ARN of the user or role session, as `GetCallerIdentity` gives it.
    pub arn: String,
    /// Unique id, as `GetCallerIdentity` gives it.
    pub user_id: String,
}

/// A session of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// `X-Amz-Security-Token` of its requests.
    pub token: String,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// A message that was published to an SNS topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// An e-mail's subject.
    pub subject: Option<String>,
    /// The text for each kind of subscriber, by protocol; `default` for all others.
    pub messages: BTreeMap<String, String>,
    /// The string attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What was set of an SNS topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TopicSettings {
    /// The policy document; none: the default one.
    pub policy: Option<Value>,
    /// The KMS key under which messages are encrypted, as it was named.
    pub kms_key: Option<String>,
    /// The name that people see.
    pub display_name: String,
    /// How many subscriptions wait for their confirmation.
    pub pending_subscriptions: u64,
}

/// What was set of an SQS queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueSettings {
    /// Its name.
    pub name: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// The attributes that can be set, by name, with their defaults.
    pub attributes: BTreeMap<String, String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// A rule of EventBridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRule {
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// The pattern of its events, as it was sent.
    pub pattern: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its description.
    pub description: Option<String>,
    /// The targets as they were sent, by id.
    pub targets: BTreeMap<String, Value>,
}

impl EventRule {
    /// The rule's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self { account, region, name, .. } = self;
        format!("arn:{}:events:{region}:{account}:rule/{name}", partition_of(region))
    }
}

/// A bucket and its objects.
#[derive(Debug, Clone, Serialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The region it is in.
    pub region: String,
    /// The account that owns it.
    pub account: String,
    /// The configured default encryption; `None`: the response is AES256, as in S3 since 2023.
    pub default_encryption: Option<BucketEncryption>,
    /// The bucket policy document.
    pub policy: Option<Value>,
    /// Anybody may list and read, signed or not.
    pub public: bool,
    /// `Enabled`, `Suspended`, or never configured.
    pub versioning: Option<String>,
    /// The public access block; `None` when it was removed.
    pub public_access_block: Option<PublicAccessBlock>,
    /// The retention that Object Lock gives to every new object, if it does.
    pub default_retention: Option<DefaultRetention>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// `BucketOwnerEnforced` (no ACLs), `BucketOwnerPreferred` or `ObjectWriter`.
    pub ownership: String,
    /// Whether objects may be locked.
    pub object_lock: bool,
    /// Whether it is a website.
    pub website: bool,
    /// Its other configurations.
    pub configurations: BucketConfigurations,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Its objects by key: the current versions, without keys whose current version is a delete
    /// marker.
    pub objects: BTreeMap<String, Object>,
    /// The older versions by key, newest first; a delete marker in front of a key without an object
    /// is current.
    pub older: BTreeMap<String, Vec<Older>>,
}

/// What a bucket does by itself, and what it requires of callers. Documents are the XML inside S3's
/// response; none: never configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketConfigurations {
    /// The notifications about changes of its objects.
    pub notification: Option<String>,
    /// Where its objects are replicated to.
    pub replication: Option<String>,
    /// When its objects change their class, or are deleted.
    pub lifecycle: Option<String>,
    /// Permanent removal of versions needs a code of an MFA device.
    pub mfa_delete: bool,
    /// Other accounts pay for their requests, and must say so in each.
    pub requester_pays: bool,
    /// It has no public access block at all, as after its removal.
    pub no_public_access_block: bool,
}

/// An EMR security configuration.
#[derive(Debug, Clone, Serialize)]
pub struct SecurityConfiguration {
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// The JSON text exactly as it was stored.
    pub content: String,
    /// When it was created; there is no update.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// A grant on a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// ARN of the grantee.
    pub grantee: String,
    /// The allowed operations: `GenerateDataKey`, `Decrypt`, …
    pub operations: Vec<String>,
    /// `GrantConstraints` as AWS writes them.
    #[serde(default)]
    pub constraints: Option<Value>,
}

/// A KMS key.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    /// Its id, not its ARN.
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Names of the form `alias/…`.
    pub aliases: Vec<String>,
    /// `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, …
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, …
    pub usage: String,
    /// `CUSTOMER` or `AWS`.
    pub manager: String,
    /// A multi-region primary key.
    pub multi_region: bool,
    /// Rotation is on.
    pub rotation: bool,
    /// Free text.
    pub description: String,
    /// The key policy document.
    pub policy: Value,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// When it is deleted, if that is scheduled.
    #[serde(with = "time::serde::rfc3339::option")]
    pub deletion: Option<OffsetDateTime>,
    /// The private key of an asymmetric key: PKCS#8.
    #[serde(skip)]
    pub material: Option<Vec<u8>>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

impl QueueSettings {
    /// The queue's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self { account, region, name, .. } = self;
        format!("arn:{}:sqs:{region}:{account}:{name}", partition_of(region))
    }
}

impl Key {
    /// The key's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let partition = partition_of(&self.region);
        format!("arn:{partition}:kms:{}:{}:key/{}", self.region, self.account, self.id)
    }
}

/// An IAM role.
#[derive(Debug, Clone, Serialize)]
pub struct Role {
    /// Its unique id: `AROA…`, of a user `AIDA…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// `/` or `/…/`.
    pub path: String,
    /// The trust policy document.
    pub trust: Value,
    /// Inline policies: name and document.
    pub policies: Vec<(String, Value)>,
    /// Attached managed policies: ARN and document.
    pub attached: Vec<(String, Value)>,
    /// The document of a permissions boundary.
    pub boundary: Option<Value>,
    /// Its description.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// From when on other services than IAM know it; none: from the start.
    #[serde(with = "time::serde::rfc3339::option")]
    pub visible_from: Option<OffsetDateTime>,
}

impl Role {
    /// The role's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:{}:iam::{}:role{}{}", self.partition, self.account, self.path, self.name)
    }

    /// The ARN of a user, which is stored as a role is.
    #[must_use]
    pub fn user_arn(&self) -> String {
        format!("arn:{}:iam::{}:user{}{}", self.partition, self.account, self.path, self.name)
    }
}

/// An instance profile.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceProfile {
    /// Its unique id: `AIPA…`
    pub id: String,
    /// Its name.
    pub name: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// `/` or `/…/`.
    pub path: String,
    /// Names of the roles in it: none or one.
    pub roles: Vec<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// From when on EMR knows it; none: from the start.
    #[serde(with = "time::serde::rfc3339::option")]
    pub visible_from: Option<OffsetDateTime>,
}

impl InstanceProfile {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self { partition, account, path, name, .. } = self;
        format!("arn:{partition}:iam::{account}:instance-profile{path}{name}")
    }
}

/// A subnet.
#[derive(Debug, Clone, Serialize)]
pub struct Subnet {
    /// `subnet-…`
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// The VPC it is part of.
    pub vpc: String,
    /// The zone's letter.
    pub zone: char,
}

/// A VPC.
#[derive(Debug, Clone, Serialize)]
pub struct Vpc {
    /// `vpc-…`
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// `dopt-…`
    pub dhcp_options: String,
    /// Its primary IPv4 block.
    pub cidr: String,
    /// The attribute `enableDnsSupport`.
    pub dns_support: bool,
    /// The attribute `enableDnsHostnames`.
    pub dns_hostnames: bool,
}

/// A DHCP option set.
#[derive(Debug, Clone, Serialize)]
pub struct DhcpOptions {
    /// `dopt-…`
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Option name, such as `domain-name`, and its values.
    pub options: BTreeMap<String, Vec<String>>,
}

impl World {
    /// An empty world at this time.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        Self {
            now,
            access_keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            opted_in: BTreeMap::new(),
            buckets: BTreeMap::new(),
            security_configurations: Vec::new(),
            keys: Vec::new(),
            roles: Vec::new(),
            users: Vec::new(),
            organizations: BTreeMap::new(),
            instance_profiles: Vec::new(),
            subnets: Vec::new(),
            vpcs: Vec::new(),
            dhcp_options: Vec::new(),
            topics: BTreeMap::new(),
            topic_settings: BTreeMap::new(),
            ebs_encryption_by_default: false,
            clusters: Vec::new(),
            timings: Timings::default(),
            next_clusters: VecDeque::new(),
            uploads: Vec::new(),
            jobs: Vec::new(),
            account_blocks: BTreeMap::new(),
            principal_delay: 0.0,
            queues: BTreeMap::new(),
            queue_settings: BTreeMap::new(),
            deleted_queues: BTreeMap::new(),
            event_rules: Vec::new(),
            alarms: Vec::new(),
            event_delivery: EventDelivery::default(),
            events_under_way: BTreeMap::new(),
            last_event: 0,
            random: fastrand::Rng::with_seed(0x00E7_13A2),
        }
    }

    /// The cluster with this id.
    #[must_use]
    pub fn cluster(&self, id: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    /// The object at `bucket` and `key`.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    /// The security configuration of that name.
    #[must_use]
    pub fn security_configuration(
        &self,
        account: &str,
        region: &str,
        name: &str,
    ) -> Option<&SecurityConfiguration> {
        self.security_configurations
            .iter()
            .find(|it| it.account == account && it.region == region && it.name == name)
    }

    /// The key of an id, an ARN, an alias or an alias' ARN, from this account and region.
    #[must_use]
    pub fn key(&self, account: &str, region: &str, name: &str) -> Option<&Key> {
        let (account, region, name) = match parse_kms_arn(name) {
            Some(parts) => parts,
            None => (account, region, name),
        };
        self.keys.iter().filter(|key| key.account == account && key.region == region).find(|key| {
            match name.strip_prefix("alias/") {
                Some(_) => key.aliases.iter().any(|alias| alias == name),
                None => key.id == name,
            }
        })
    }

    /// The key of a queue: in the default account and region its name; elsewhere region, account
    /// and name.
    #[must_use]
    pub fn queue_key(account: &str, region: &str, name: &str) -> String {
        if account == DEFAULT_ACCOUNT && region == DEFAULT_REGION {
            return name.to_owned();
        }
        format!("{region}/{account}/{name}")
    }

    /// The role of that name.
    #[must_use]
    pub fn role(&self, account: &str, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.account == account && role.name == name)
    }

    /// The instance profile of that name.
    #[must_use]
    pub fn instance_profile(&self, account: &str, name: &str) -> Option<&InstanceProfile> {
        self.instance_profiles.iter().find(|it| it.account == account && it.name == name)
    }

    /// `PREFIX` and `length` characters out of A to Z and 0 to 9, as EMR makes its ids.
    pub fn emr_id(&mut self, prefix: &str, length: usize) -> String {
        const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let tail: String = (0..length)
            .map(|_| char::from(ALPHABET[self.random.usize(..ALPHABET.len())]))
            .collect();
        format!("{prefix}{tail}")
    }

    /// `PREFIX` and 17 hexadecimal digits, as EC2 makes its ids.
    pub fn ec2_id(&mut self, prefix: &str) -> String {
        format!("{prefix}0{:016x}", self.random.u64(..))
    }

    /// The ARN of the AWS managed key that SSE-KMS uses when no key is named; created at the first
    /// use, as in AWS.
    pub fn managed_s3_key(&mut self, account: &str, region: &str) -> String {
        if let Some(key) = self.key(account, region, "alias/aws/s3") {
            return key.arn();
        }
        let id = uuid(&mut self.random);
        let key = Key {
            id,
            account: account.to_owned(),
            region: region.to_owned(),
            aliases: vec!["alias/aws/s3".to_owned()],
            state: "Enabled".to_owned(),
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            usage: "ENCRYPT_DECRYPT".to_owned(),
            manager: "AWS".to_owned(),
            multi_region: false,
            rotation: true,
            tags: Vec::new(),
            deletion: None,
            material: None,
            description: "Default key that protects my S3 objects when no other key is defined"
                .to_owned(),
            policy: serde_json::json!({
                "Version": "2012-10-17",
                "Id": "auto-s3-2",
                "Statement": [{
                    "Sid": "Allow access through S3 for all principals in the account that are \
                     authorized to use S3",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                    "Resource": "*",
                    "Condition": {"StringEquals": {
                        "kms:ViaService": format!("s3.{region}.amazonaws.com"),
                        "kms:CallerAccount": account,
                    }},
                }],
            }),
            grants: Vec::new(),
            created: self.now,
        };
        let arn = key.arn();
        self.keys.push(key);
        arn
    }
}
