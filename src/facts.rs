//! Facts: everything the verdict needs to know, asked at once. What can start has started; only real dependencies wait.
//!
//! The longest chain is three calls: the security configuration, the keys it names, what the role may do with them.

mod certificate;
pub(crate) mod ec2;
pub(crate) mod emr;
pub(crate) mod iam;
pub(crate) mod kms;
mod objects;
pub(crate) mod runner;
pub(crate) mod s3;
pub(crate) mod sts;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, future::join_all};
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    aws::{Aws, Endpoint, Lookup, Obstacle, calls},
    certificate::Material,
    invocation::environment::{self, Variable},
    names::{AccountId, BucketName, ClusterId, KeyReference, S3Location, S3Object},
};
pub use ec2::NetworkFacts;
pub use emr::{Adoptable, ClusterFacts, ClusterState, ClusterStatus, Persistent, SecurityConfiguration, Step};
pub use iam::RoleFacts;
pub use kms::{KeyFacts, KeyUse, RoleKind};
pub use objects::{Stored, Survey, Tally, Unseen};
pub use runner::RunnerVersion;
pub use s3::{BucketFacts, DefaultEncryption};
pub use sts::Identity;

/// What to ask about.
#[derive(Debug)]
pub struct Question {
    /// The buckets of the config that are ours to judge.
    pub buckets: BTreeSet<BucketName>,
    /// Where the run reads data from, by the config's key, in buckets of its own.
    pub data: Vec<(String, S3Location)>,
    /// So many objects are looked at in each of these, at most.
    pub data_objects: usize,
    /// The security configuration that will be sealed; `None` when nobody names one.
    pub security_configuration: Option<String>,
    /// `aws.emr.jobflow_role`.
    pub instance_profile: String,
    /// `aws.emr.service_role`.
    pub service_role: String,
    /// `aws.emr.ec2_subnet_id`.
    pub subnet: Option<String>,
    /// The keys that the policy expects.
    pub expected_keys: Vec<KeyReference>,
    /// The name of the cluster to adopt, in persistent mode.
    pub adopt: Option<String>,
    /// The runner to ask for its version, and how long that may take.
    pub runner: crate::launch::Program,
    /// Limit for `--version`.
    pub version_timeout: std::time::Duration,
}

/// What AWS and the runner said before the launch.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Endpoint overrides in force.
    pub endpoints: Vec<Endpoint>,
    /// Who the guard is.
    pub guard: Lookup<Identity>,
    /// Who the runner is: the account the cluster will be launched in.
    pub runner: Lookup<Identity>,
    /// Variables of the environment that can load code into the runner.
    pub environment: Vec<Variable>,
    /// The runner's version.
    pub runner_version: Lookup<RunnerVersion>,
    /// Each bucket.
    pub buckets: BTreeMap<BucketName, BucketFacts>,
    /// What lies where the run reads data from, by the config's key.
    pub data: BTreeMap<String, Lookup<Survey>>,
    /// The security configuration, when one is named.
    pub security_configuration: Option<Lookup<SecurityConfiguration>>,
    /// The keys that the policy expects, as they were asked about.
    #[serde(skip)]
    pub expected_keys: Vec<KeyReference>,
    /// When all this was asked, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub asked_at: OffsetDateTime,
    /// The certificates that the security configuration names as PEM, or what is wrong with their archive.
    pub certificates: Option<Lookup<Result<Material, String>>>,
    /// Each key that the security configuration or a bucket's default names.
    pub keys: BTreeMap<KeyReference, KeyFacts>,
    /// The role behind the instance profile.
    pub role: Lookup<RoleFacts>,
    /// The EMR service's role.
    pub service_role: Lookup<RoleFacts>,
    /// The network of the subnet, when one is set.
    pub network: Option<NetworkFacts>,
    /// Live clusters of the name to adopt, in persistent mode.
    pub adoptable: Option<Lookup<Persistent>>,
    /// The clusters that were there before the launch, of the last hour.
    #[serde(skip)]
    pub earlier_clusters: Lookup<BTreeSet<ClusterId>>,
}

/// Asks everything in `question`.
///
/// Where an endpoint is refused nothing is asked of AWS at all: answers from there would prove nothing.
pub async fn gather(aws: &Aws, question: &Question) -> Facts {
    if aws.refused_endpoints().next().is_some() {
        return nothing_asked(aws, question);
    }
    // The account is needed before a bucket's owner can be asked about; the two identities are asked side by side.
    let identities = async { tokio::join!(sts::identity(&aws.sts), sts::identity(&aws.runner_sts)) }.shared();
    let defaults: Vec<_> = question.buckets.iter().map(|bucket| s3::default_encryption(&aws.s3, bucket).shared()).collect();
    let buckets = join_all(question.buckets.iter().zip(&defaults).map(|(bucket, default)| {
        let runner = identities.clone().map(|(_, runner)| runner);
        s3::bucket(&aws.s3, bucket, runner, default.clone()).map(|facts| (bucket.clone(), facts))
    }));
    let configuration = security_configuration(aws, question).shared();
    let roles =
        async { tokio::join!(iam::instance_role(&aws.iam, &question.instance_profile), iam::role(&aws.iam, &question.service_role)) }.shared();
    let keys = async {
        let (defaults, configuration, (role, service_role)) = tokio::join!(join_all(defaults.clone()), configuration.clone(), roles.clone());
        let defaults = question.buckets.iter().zip(&defaults);
        let uses = key_uses(&question.expected_keys, defaults, configuration.as_ref().and_then(Lookup::found));
        let of = |kind: RoleKind| match kind {
            RoleKind::Jobflow => (kind, role.found().map(|role| role.arn.as_str())),
            RoleKind::Service => (kind, service_role.found().map(|role| role.arn.as_str())),
        };
        let facts = join_all(uses.iter().map(async |(reference, uses)| {
            let mut roles = vec![of(RoleKind::Jobflow)];
            roles.extend(uses.contains(&KeyUse::Ebs).then(|| of(RoleKind::Service)));
            kms::key(&aws.kms, &aws.iam, reference, &roles).await
        }));
        let facts = facts.await;
        uses.into_keys().zip(facts).collect::<BTreeMap<_, _>>()
    };
    let certificates = async {
        let configuration = configuration.clone().await;
        let tls = configuration.as_ref().and_then(Lookup::found)?.content.tls.as_ref().filter(|tls| tls.provider == "PEM")?;
        let object = S3Object::parse(tls.s3_object.as_deref()?)?;
        Some(certificate::certificates(&aws.s3, &object).await)
    };
    let adoptable = async {
        match &question.adopt {
            None => None,
            Some(name) => Some(emr::adoptable(&aws.emr, name).await),
        }
    };
    let network = async {
        match &question.subnet {
            None => None,
            Some(subnet) => Some(ec2::network(&aws.ec2, subnet).await),
        }
    };
    let data =
        join_all(question.data.iter().map(async |(role, location)| (role.clone(), objects::survey(&aws.s3, location, question.data_objects).await)));
    let version = runner::version(&question.runner, question.version_timeout);
    let (
        buckets,
        data,
        (guard, runner),
        security_configuration,
        (role, service_role),
        keys,
        certificates,
        network,
        adoptable,
        earlier_clusters,
        runner_version,
    ) = tokio::join!(
        buckets,
        data,
        identities.clone(),
        configuration.clone(),
        roles.clone(),
        keys,
        certificates,
        network,
        adoptable,
        emr::recent(&aws.emr),
        version
    );
    Facts {
        endpoints: aws.endpoints.clone(),
        guard,
        runner,
        environment: environment(),
        runner_version,
        buckets: buckets.into_iter().collect(),
        data: data.into_iter().collect(),
        security_configuration,
        asked_at: OffsetDateTime::now_utc(),
        certificates,
        expected_keys: question.expected_keys.clone(),
        keys,
        role,
        service_role,
        network,
        adoptable,
        earlier_clusters,
    }
}

fn environment() -> Vec<Variable> {
    environment::that_can_load_code(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

async fn security_configuration(aws: &Aws, question: &Question) -> Option<Lookup<SecurityConfiguration>> {
    match &question.security_configuration {
        None => None,
        Some(name) => Some(emr::security_configuration(&aws.emr, name).await),
    }
}

fn nothing_asked(aws: &Aws, question: &Question) -> Facts {
    const WHY: &str = "not asked, because an endpoint is refused";
    Facts {
        endpoints: aws.endpoints.clone(),
        guard: Lookup::not_asked(&calls::GET_CALLER_IDENTITY, WHY),
        runner: Lookup::not_asked(&calls::GET_CALLER_IDENTITY, WHY),
        environment: environment(),
        runner_version: Lookup::Unreachable(Obstacle { operation: "--version".to_owned(), message: WHY.to_owned() }),
        buckets: question.buckets.iter().map(|bucket| (bucket.clone(), BucketFacts::not_asked(WHY))).collect(),
        data: question.data.iter().map(|(role, _)| (role.clone(), Lookup::not_asked(&calls::LIST_OBJECTS, WHY))).collect(),
        security_configuration: question.security_configuration.as_ref().map(|_| Lookup::not_asked(&calls::DESCRIBE_SECURITY_CONFIGURATION, WHY)),
        asked_at: OffsetDateTime::now_utc(),
        certificates: None,
        expected_keys: Vec::new(),
        keys: BTreeMap::new(),
        role: Lookup::not_asked(&calls::GET_INSTANCE_PROFILE, WHY),
        service_role: Lookup::not_asked(&calls::GET_ROLE, WHY),
        network: question.subnet.as_ref().map(|_| NetworkFacts::not_asked(WHY)),
        adoptable: question.adopt.as_ref().map(|_| Lookup::not_asked(&calls::LIST_CLUSTERS, WHY)),
        earlier_clusters: Lookup::not_asked(&calls::LIST_CLUSTERS, WHY),
    }
}

/// What each key is used for.
fn key_uses<'a>(
    expected: &[KeyReference],
    defaults: impl Iterator<Item = (&'a BucketName, &'a Lookup<DefaultEncryption>)>,
    configuration: Option<&SecurityConfiguration>,
) -> BTreeMap<KeyReference, BTreeSet<KeyUse>> {
    let mut uses: BTreeMap<KeyReference, BTreeSet<KeyUse>> = BTreeMap::new();
    for key in expected {
        uses.entry(key.clone()).or_default().insert(KeyUse::Expected);
    }
    let content = configuration.map(|configuration| &configuration.content);
    for key in content.and_then(|content| content.s3.as_ref()).into_iter().flat_map(emr::S3AtRest::keys) {
        uses.entry(key.clone()).or_default().insert(KeyUse::S3);
    }
    if let Some(disk) = content.and_then(|content| content.local_disk.as_ref())
        && let Some(key) = &disk.key
    {
        let of_key = uses.entry(key.clone()).or_default();
        // Instance stores are encrypted by LUKS also where EBS volumes are by EBS.
        of_key.insert(KeyUse::LocalDisk);
        if disk.ebs {
            of_key.insert(KeyUse::Ebs);
        }
    }
    for (bucket, default) in defaults {
        if let Some(DefaultEncryption::Kind { key: Some(key), .. }) = default.found() {
            uses.entry(KeyReference::new(key)).or_default().insert(KeyUse::BucketDefault(bucket.to_string()));
        }
    }
    uses
}

impl Facts {
    /// What each key is used for, of those that the policy, the security configuration and the buckets' defaults name.
    #[must_use]
    pub fn key_uses(&self) -> BTreeMap<KeyReference, BTreeSet<KeyUse>> {
        let defaults = self.buckets.iter().map(|(bucket, facts)| (bucket, &facts.default_encryption));
        key_uses(&self.expected_keys, defaults, self.security_configuration.as_ref().and_then(Lookup::found))
    }

    /// The ARN of a key, however it is written, if KMS has told.
    #[must_use]
    pub fn resolved(&self, key: &KeyReference) -> Option<&str> {
        self.keys.get(key)?.description.found().map(|key| key.arn.as_str())
    }

    /// The account the cluster will be launched in, when known.
    #[must_use]
    pub fn launch_account(&self) -> Option<&AccountId> {
        self.runner.found().map(|identity| &identity.account)
    }
}
