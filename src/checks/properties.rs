//! Property tests over whole sets of facts: a fact that is lost or gets worse never turns a refusal
//! into a launch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use proptest::{prelude::*, sample::Index};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::{
    aws::{
        endpoint::EndpointOverride,
        trust::{AwsConnections, AwsRoot, RootStanding},
    },
    base::{
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{AccountId, BucketName, KeyArn, KeyReference},
    },
    checks::{
        case::Case,
        catalogue::{CATALOGUE, of_cluster, of_running_clusters, pre_flight},
        finding::{Stage, Status},
        fix::CommandContext,
        launch,
        verdict::Verdict,
    },
    facts::{
        certificate_archive::{Certificate, Material},
        ec2::NetworkFacts,
        emr::{
            Adoptable, ClusterFacts, ClusterProperty, ClusterState, ClusterStatus, Content,
            GroupFacts, LocalDisk, Override, Persistent, S3AtRest, SecurityConfiguration, Tls,
        },
        gather::Facts,
        iam::RoleFacts,
        kms::{KeyFacts, KeyUse, KeyUserSimulation, KmsKey, RoleKind, ViaService},
        node_objects::NodeObject,
        objects::{EncryptionTally, LocationSurvey},
        s3::{BucketFacts, DefaultEncryption},
        simulation::{Simulated, SimulationDecision},
        stored::StoredEncryption,
        sts,
    },
    runners::emr_etl_runner::{config::RunnerConfig, invocation::Invocation, plan::plan_inputs},
    settings::{
        policy::{EncryptionKind, Policy, Protection},
        resolve::{Options, Settings},
    },
    spec::{
        cluster_spec::ClusterSpec,
        data_paths::{DataPaths, LaunchPlan},
        observations::{Observations, RunnerDocuments, RunnerVersion, Variable},
    },
};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
/// The key of the buckets, if everything is under KMS.
const BUCKET_KEY: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/22222222-2222-2222-2222-222222222222";
const ROLE: &str = "arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole";
const ARCHIVE: &str = "s3://acme-certificates/emr.zip";

/// A run with all facts known and correct.
pub(crate) struct World {
    pub(crate) cluster: ClusterSpec,
    pub(crate) paths: DataPaths,
    observed: Observations,
    pub(crate) facts: Facts,
    commands: CommandContext,
}

static WORLDS: LazyLock<[World; 3]> =
    LazyLock::new(|| [World::new(false, false), World::new(true, false), World::new(false, true)]);

/// The mutations of each of the worlds, the losses first.
static MUTATIONS: LazyLock<[Vec<Mutation>; 3]> =
    LazyLock::new(|| WORLDS.each_ref().map(all_mutations));

impl World {
    /// `kms`: everything is under one key. `adopts`: the run reuses an existing cluster.
    pub(crate) fn new(kms: bool, adopts: bool) -> Self {
        let env = |name: &str| name.starts_with("AWS_").then(|| "AKIAFAKE".into());
        let text = include_str!("../../tests/recordings/config.yml")
            .replace("security_configuration:\n", "security_configuration: sc\n");
        let config = RunnerConfig::parse("config.yml", text.as_bytes(), &env).unwrap();
        let words: Vec<_> = "run -c config.yml -r resolver.json"
            .split(' ')
            .chain(adopts.then_some("--use-persistent-jobflow"))
            .map(Into::into)
            .collect();
        let Ok(Invocation::Run(invocation)) = Invocation::parse(&words) else { unreachable!() };
        let plan = LaunchPlan::of(&invocation, &plan_inputs(&config, &RunnerDocuments::default()))
            .unwrap();
        let facts = facts(&config, &plan, kms, adopts);
        Self {
            cluster: config.cluster_spec(),
            paths: DataPaths { region: config.s3_region, locations: config.locations, plan },
            observed: Observations::default(),
            facts,
            commands: CommandContext::in_region("eu-west-1"),
        }
    }

    pub(crate) fn findings(
        &self,
        policy: &Policy,
        facts: &Facts,
    ) -> Vec<crate::checks::finding::Finding> {
        pre_flight(&self.case(policy, facts))
    }

    pub(crate) fn case<'a>(&'a self, policy: &'a Policy, facts: &'a Facts) -> Case<'a> {
        Case {
            cluster: &self.cluster,
            paths: &self.paths,
            observed: &self.observed,
            security_configuration: Some("sc"),
            policy,
            facts,
            commands: &self.commands,
        }
    }

    /// The findings of one check under a strict policy: status, what was seen, and the check that
    /// it waits for.
    pub(super) fn of_check(&self, check: &str) -> Vec<(Status, String, Option<&'static str>)> {
        let findings = self.findings(&strict(), &self.facts).into_iter();
        let of_check = findings.filter(|finding| finding.check.name == check);
        of_check
            .map(|finding| (finding.status, finding.saw.to_string(), finding.waits_for))
            .collect()
    }

    pub(super) fn residual_risks(&self) -> Vec<crate::checks::residual_risks::ResidualRisk> {
        crate::checks::residual_risks::residual_risks(&self.case(&strict(), &self.facts))
    }

    fn launches(&self, policy: &Policy, facts: &Facts) -> bool {
        Verdict::of(&self.findings(policy, facts)) == Verdict::Launch
    }
}

fn facts(config: &RunnerConfig, plan: &LaunchPlan, kms: bool, adopts: bool) -> Facts {
    let identity = || {
        Lookup::Found(sts::CallerIdentity {
            account: AccountId::new("123456789012"),
            arn: "arn:aws:iam::123456789012:user/x".to_owned(),
        })
    };
    let role = || Lookup::Found(RoleFacts { arn: ROLE.to_owned() });
    let buckets = config.locations.iter().filter(|location| {
        plan.touches(&location.role) && !location.bucket().as_str().starts_with("snowplow-hosted")
    });
    let key = kms.then(|| KEY.to_owned());
    let kind = if kms { EncryptionKind::SseKms } else { EncryptionKind::SseS3 };
    let tls_only = json!({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]});
    let bucket = || BucketFacts {
        region: Lookup::Found("eu-west-1".to_owned()),
        ours: Lookup::Found(true),
        default_encryption: Lookup::Found(DefaultEncryption::Kind { kind, key: key.clone() }),
        policy: Lookup::Found(Some(tls_only.to_string())),
        versioning: Lookup::Found(None),
        public_access_block: Lookup::Found(true),
        public_access_block_with_account: None,
    };
    let tally = EncryptionTally {
        stored: StoredEncryption::Kind(kind, key.clone()),
        objects: 2,
        bytes: 10,
        first: vec!["a".to_owned()],
    };
    let survey = LocationSurvey {
        objects: 2,
        empty: 0,
        earlier: 0,
        looked_at: 2,
        kinds: vec![tally],
        unseen: None,
    };
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let dhcp = [
        ("domain-name", "eu-west-1.compute.internal"),
        ("domain-name-servers", "AmazonProvidedDNS"),
    ];
    Facts {
        endpoints: Vec::new(),
        guard: identity(),
        runner: identity(),
        environment: Vec::new(),
        launcher_routes: Vec::new(),
        connections: AwsConnections::default(),
        runner_version: Some(Lookup::Found(RunnerVersion(1, 0, 4))),
        // Only the logs are under this key, so if it fails, no other fact shows that.
        buckets: buckets
            .map(|location| {
                let default = DefaultEncryption::Kind {
                    kind,
                    key: kms
                        .then(|| if location.role == "log" { BUCKET_KEY } else { KEY }.to_owned()),
                };
                // The block of the logs' bucket is complete only together with the account's.
                let own_block = location.role != "log";
                let facts = BucketFacts {
                    default_encryption: Lookup::Found(default),
                    public_access_block: Lookup::Found(own_block),
                    public_access_block_with_account: (!own_block).then_some(Lookup::Found(true)),
                    ..bucket()
                };
                (location.bucket().clone(), facts)
            })
            .collect(),
        data: plan
            .reads_data_from()
            .into_iter()
            .map(|role| (role.to_owned(), Lookup::Found(survey.clone())))
            .collect(),
        security_configuration: Some(Lookup::Found(configuration(kms))),
        expected_keys: Vec::new(),
        asked_at: now,
        certificates_key: None,
        certificates: Some(Lookup::Found(Ok(Material {
            key: Ok(()),
            chain: vec![certificate(now)],
            trusted: false,
        }))),
        keys: [KEY]
            .into_iter()
            .chain(kms.then_some(BUCKET_KEY))
            .map(|arn| (KeyReference::new(arn), key_facts(arn)))
            .collect(),
        role: role(),
        service_role: role(),
        node_objects: BTreeMap::from([(
            ARCHIVE.to_owned(),
            NodeObject {
                there: None,
                identity: Lookup::Found(Simulated::plain(SimulationDecision::Allowed)),
                bucket: Some(crate::facts::node_objects::OtherBucket {
                    ours: Lookup::Found(true),
                    policy: Lookup::Found(None),
                }),
            },
        )]),
        ebs_by_default: Lookup::Found(true),
        network: Some(NetworkFacts {
            vpc: Lookup::Found("vpc-1".to_owned()),
            dns_support: Lookup::Found(true),
            dns_hostnames: Lookup::Found(true),
            cidr: Lookup::Found("10.0.0.0/16".to_owned()),
            dhcp: Lookup::Found(
                dhcp.into_iter()
                    .map(|(key, value)| (key.to_owned(), BTreeSet::from([value.to_owned()])))
                    .collect(),
            ),
        }),
        adoptable: adopts
            .then(|| Lookup::Found(Persistent { clusters: vec![adoptable(config, now)], live: 1 })),
        earlier_clusters: Lookup::Found(BTreeSet::new()),
        guard_rights: None,
    }
}

fn configuration(kms: bool) -> SecurityConfiguration {
    SecurityConfiguration {
        name: "sc".to_owned(),
        created: OffsetDateTime::UNIX_EPOCH,
        digest: "0123456789abcdef".to_owned(),
        content: Content {
            at_rest_enabled: true,
            s3: Some(S3AtRest {
                mode: if kms { "SSE-KMS" } else { "SSE-S3" }.to_owned(),
                key: kms.then(|| KeyReference::new(KEY)),
                provider_class: None,
                s3_object: None,
                overrides: Vec::new(),
            }),
            local_disk: Some(LocalDisk {
                provider: "AwsKms".to_owned(),
                key: Some(KeyReference::new(KEY)),
                custom_complete: false,
                s3_object: None,
                ebs: !kms,
            }),
            in_transit_enabled: true,
            tls: Some(Tls { s3_object: Some(ARCHIVE.to_owned()), ..Tls::for_tests("PEM") }),
            mapped_roles: BTreeSet::new(),
            kerberos: false,
            metadata_service: Some(2),
        },
    }
}

fn key_facts(arn: &str) -> KeyFacts {
    let allowed = |kind: RoleKind| {
        let services = [ViaService::Itself, ViaService::S3, ViaService::Ec2];
        let of_service = |service| {
            let allowed = Simulated::plain(SimulationDecision::Allowed);
            kind.actions()
                .iter()
                .map(move |action| ((service, (*action).to_owned()), allowed.clone()))
        };
        let all = services.into_iter().flat_map(of_service).collect();
        (kind.clone(), Lookup::Found(KeyUserSimulation(all)))
    };
    let delegates = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"}]});
    KeyFacts {
        description: Lookup::Found(KmsKey {
            arn: KeyArn::new(arn),
            state: "Enabled".to_owned(),
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            usage: "ENCRYPT_DECRYPT".to_owned(),
            aws_managed: false,
            deletion: None,
        }),
        rotation: Lookup::Found(true),
        policy: Lookup::Found(delegates.to_string()),
        grants: Lookup::Found(Vec::new()),
        identity: [allowed(RoleKind::Jobflow), allowed(RoleKind::Service)].into(),
    }
}

fn certificate(now: OffsetDateTime) -> Certificate {
    Certificate {
        subject: "CN=*.eu-west-1.compute.internal".to_owned(),
        names: vec!["*.eu-west-1.compute.internal".to_owned()],
        not_before: now - Duration::days(1),
        not_after: now + Duration::days(365),
        signed_by_next: true,
        weak: None,
    }
}

fn adoptable(config: &RunnerConfig, now: OffsetDateTime) -> Adoptable {
    let cluster = ClusterFacts {
        id: "j-1".parse().unwrap(),
        name: config.job_name.clone(),
        status: ClusterStatus { state: ClusterState::Waiting, reason: None, created: now },
        release: Some(config.release.value.to_string()),
        subnet: config.subnet.as_ref().map(|subnet| subnet.value.clone()),
        requested_subnets: BTreeSet::new(),
        security_configuration: Some("sc".to_owned()),
        tags: BTreeMap::new(),
        termination_protected: false,
        log_location: None,
        properties: Vec::new(),
        service_role: Some(config.service_role.value.clone()),
        instance_profile: Some(config.jobflow_role.value.clone()),
        was_ready: true,
        custom_ami: None,
        has_fleets: false,
    };
    Adoptable {
        cluster,
        earlier_steps: BTreeSet::new(),
        group_properties: Lookup::Found(GroupFacts::default()),
        bootstrap_actions: Lookup::Found(Vec::new()),
    }
}

/// One change that makes a fact worse. Only one change per place is applied, because a second one
/// would replace the first.
struct Mutation {
    place: String,
    name: String,
    strike: Box<dyn Fn(&mut Facts) + Send + Sync>,
}

/// A list of mutations that is being built.
#[derive(Default)]
struct Mutations(Vec<Mutation>);

impl Mutations {
    fn add(
        &mut self,
        place: &str,
        name: &str,
        strike: impl Fn(&mut Facts) + Send + Sync + 'static,
    ) {
        self.0.push(Mutation {
            place: place.to_owned(),
            name: format!("{place}: {name}"),
            strike: Box::new(strike),
        });
    }

    /// The fact at a place is denied, or unreachable.
    fn lose<T: 'static>(
        &mut self,
        place: &str,
        at: impl Fn(&mut Facts) -> Option<&mut Lookup<T>> + Clone + Send + Sync + 'static,
    ) {
        let obstacle = || LookupError::new("x:Y", LookupErrorKind::Other, "z");
        let denied = at.clone();
        self.add(place, "denied", move |facts| {
            denied(facts).into_iter().for_each(|fact| *fact = Lookup::Denied(obstacle()));
        });
        self.add(place, "unreachable", move |facts| {
            at(facts).into_iter().for_each(|fact| *fact = Lookup::Unreachable(obstacle()));
        });
    }

    /// The fact at a place gets a worse value.
    fn spoil<T: 'static>(
        &mut self,
        place: &str,
        name: &str,
        at: impl Fn(&mut Facts) -> Option<&mut Lookup<T>> + Send + Sync + 'static,
        spoil: impl Fn(&mut T) + Send + Sync + 'static,
    ) {
        self.add(place, name, move |facts| {
            if let Some(Lookup::Found(fact)) = at(facts) {
                spoil(fact);
            }
        });
    }

    /// The fact at a place is absent.
    fn remove<T: 'static>(
        &mut self,
        place: &str,
        at: impl Fn(&mut Facts) -> Option<&mut Lookup<T>> + Send + Sync + 'static,
    ) {
        self.add(place, "absent", move |facts| {
            at(facts).into_iter().for_each(|fact| *fact = Lookup::Absent);
        });
    }
}

/// Every fact of `facts`, lost.
fn losses(facts: &Facts) -> Vec<Mutation> {
    let mut mutations = Mutations::default();
    mutations.lose("guard", |facts| Some(&mut facts.guard));
    mutations.lose("runner", |facts| Some(&mut facts.runner));
    mutations.lose("runner version", |facts| facts.runner_version.as_mut());
    mutations.lose("security configuration", |facts| facts.security_configuration.as_mut());
    mutations.lose("certificates", |facts| facts.certificates.as_mut());
    mutations.lose("role", |facts| Some(&mut facts.role));
    mutations.lose("service role", |facts| Some(&mut facts.service_role));
    mutations.lose("ebs by default", |facts| Some(&mut facts.ebs_by_default));
    mutations.lose("earlier clusters", |facts| Some(&mut facts.earlier_clusters));
    mutations.lose("vpc", |facts| facts.network.as_mut().map(|network| &mut network.vpc));
    mutations.lose("dns support", |facts| {
        facts.network.as_mut().map(|network| &mut network.dns_support)
    });
    mutations.lose("dns host names", |facts| {
        facts.network.as_mut().map(|network| &mut network.dns_hostnames)
    });
    mutations.lose("dhcp", |facts| facts.network.as_mut().map(|network| &mut network.dhcp));
    if facts.adoptable.is_some() {
        mutations.lose("adoptable", |facts| facts.adoptable.as_mut());
        mutations.lose("bootstrap actions", |facts| {
            first_adoptable(facts).map(|found| &mut found.bootstrap_actions)
        });
        mutations.lose("group properties", |facts| {
            first_adoptable(facts).map(|found| &mut found.group_properties)
        });
    }
    for bucket in facts.buckets.keys() {
        mutations.lose(&format!("{bucket} region"), of_bucket(bucket, |bucket| &mut bucket.region));
        mutations.lose(&format!("{bucket} owner"), of_bucket(bucket, |bucket| &mut bucket.ours));
        mutations.lose(
            &format!("{bucket} default"),
            of_bucket(bucket, |bucket| &mut bucket.default_encryption),
        );
        mutations.lose(&format!("{bucket} policy"), of_bucket(bucket, |bucket| &mut bucket.policy));
        mutations.lose(
            &format!("{bucket} versioning"),
            of_bucket(bucket, |bucket| &mut bucket.versioning),
        );
        mutations.lose(&format!("{bucket} public"), of_own_block(bucket));
        mutations.lose(&format!("{bucket} account"), of_account(bucket));
    }
    for role in facts.data.keys() {
        let of_role = role.clone();
        mutations.lose(&format!("{role} data"), move |facts| facts.data.get_mut(&of_role));
    }
    for key in facts.keys.keys() {
        mutations.lose(&format!("{key}"), of_key(key, |key| Some(&mut key.description)));
        mutations.lose(&format!("{key} rotation"), of_key(key, |key| Some(&mut key.rotation)));
        mutations.lose(&format!("{key} policy"), of_key(key, |key| Some(&mut key.policy)));
        mutations.lose(&format!("{key} grants"), of_key(key, |key| Some(&mut key.grants)));
        mutations.lose(
            &format!("{key} for the instances"),
            of_key(key, |key| key.identity.get_mut(&RoleKind::Jobflow)),
        );
        mutations.lose(
            &format!("{key} for the service"),
            of_key(key, |key| key.identity.get_mut(&RoleKind::Service)),
        );
    }
    mutations.lose("archive identity", |facts| archive(facts).map(|object| &mut object.identity));
    mutations.lose("archive bucket's owner", |facts| {
        archive(facts)?.bucket.as_mut().map(|bucket| &mut bucket.ours)
    });
    mutations.lose("archive bucket's policy", |facts| {
        archive(facts)?.bucket.as_mut().map(|bucket| &mut bucket.policy)
    });
    mutations.0
}

/// One fact about a bucket.
fn of_bucket<T: 'static>(
    bucket: &BucketName,
    part: fn(&mut BucketFacts) -> &mut Lookup<T>,
) -> impl Fn(&mut Facts) -> Option<&mut Lookup<T>> + Clone + Send + Sync + use<T> {
    let bucket = bucket.clone();
    move |facts| facts.buckets.get_mut(&bucket).map(part)
}

/// A bucket's own public access block, if it decides. It does not if the account's block is used,
/// too.
fn of_own_block(
    bucket: &BucketName,
) -> impl Fn(&mut Facts) -> Option<&mut Lookup<bool>> + Clone + Send + Sync + use<> {
    let bucket = bucket.clone();
    move |facts| {
        facts
            .buckets
            .get_mut(&bucket)
            .filter(|facts| facts.public_access_block_with_account.is_none())
            .map(|facts| &mut facts.public_access_block)
    }
}

/// A bucket's public access block together with the account's.
fn of_account(
    bucket: &BucketName,
) -> impl Fn(&mut Facts) -> Option<&mut Lookup<bool>> + Clone + Send + Sync + use<> {
    let bucket = bucket.clone();
    move |facts| facts.buckets.get_mut(&bucket)?.public_access_block_with_account.as_mut()
}

/// One fact about a key.
fn of_key<T: 'static>(
    key: &KeyReference,
    part: fn(&mut KeyFacts) -> Option<&mut Lookup<T>>,
) -> impl Fn(&mut Facts) -> Option<&mut Lookup<T>> + Clone + Send + Sync + use<T> {
    let key = key.clone();
    move |facts| facts.keys.get_mut(&key).and_then(part)
}

fn archive(facts: &mut Facts) -> Option<&mut NodeObject> {
    facts.node_objects.values_mut().next()
}

fn first_adoptable(facts: &mut Facts) -> Option<&mut Adoptable> {
    match facts.adoptable.as_mut()? {
        Lookup::Found(persistent) => persistent.clusters.first_mut(),
        _ => None,
    }
}

/// A bucket's or key's policy that denies everything to everybody.
fn denies_all() -> String {
    json!({"Statement": [{"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}]}).to_string()
}

/// Every way in which a found fact in `world` can be worse.
#[expect(clippy::too_many_lines, reason = "a list, one entry after the other")]
fn damages(world: &World) -> Vec<Mutation> {
    let facts = &world.facts;
    let mut mutations = Mutations::default();
    mutations.add("endpoints", "refused", |facts| {
        facts.endpoints.push(EndpointOverride {
            service: "S3".to_owned(),
            url: "http://evil.example".to_owned(),
            accepted: false,
        });
    });
    mutations.add("connections", "a root is refused", |facts| {
        facts.connections.roots.push(AwsRoot {
            subject: "CN=evil".into(),
            sha256: None,
            standing: RootStanding::Refused,
            hosts: BTreeSet::new(),
        });
    });
    mutations.add("environment", "loads code", |facts| {
        facts.environment.push(Variable {
            name: "RUBYOPT",
            loads_code: true,
            replaces_runner: false,
            source: "ruby(1)",
        });
    });
    mutations.add("environment", "replaces the runner", |facts| {
        facts.environment.push(Variable {
            name: "JAVA_OPTS",
            loads_code: true,
            replaces_runner: true,
            source: "java(1)",
        });
    });
    mutations.spoil(
        "runner",
        "another account",
        |facts| Some(&mut facts.runner),
        |runner| runner.account = AccountId::new("999999999999"),
    );
    mutations.spoil(
        "runner version",
        "old",
        |facts| facts.runner_version.as_mut(),
        |version| *version = RunnerVersion(0, 32, 0),
    );
    mutations.remove("role", |facts| Some(&mut facts.role));
    mutations.remove("service role", |facts| Some(&mut facts.service_role));
    mutations.remove("vpc", |facts| facts.network.as_mut().map(|network| &mut network.vpc));
    mutations.spoil(
        "dns support",
        "off",
        |facts| facts.network.as_mut().map(|network| &mut network.dns_support),
        |on| *on = false,
    );
    mutations.spoil(
        "dns host names",
        "off",
        |facts| facts.network.as_mut().map(|network| &mut network.dns_hostnames),
        |on| *on = false,
    );
    mutations.spoil(
        "dhcp",
        "none",
        |facts| facts.network.as_mut().map(|network| &mut network.dhcp),
        BTreeMap::clear,
    );
    configuration_damages(&mut mutations);
    certificate_damages(&mut mutations);
    for key in facts.keys.keys() {
        key_damages(&mut mutations, key);
    }
    for bucket in facts.buckets.keys().cloned() {
        bucket_damages(&mut mutations, &bucket);
        // A denied read fails visibly, so the policies are evaluated only for writes.
        if world.paths.locations.iter().any(|location| {
            *location.bucket() == bucket && !world.paths.plan.writers(&location.role).is_empty()
        }) {
            let denies = |policy: &mut Option<String>| *policy = Some(denies_all());
            mutations.spoil(
                &format!("{bucket} policy"),
                "denies",
                of_bucket(&bucket, |bucket| &mut bucket.policy),
                denies,
            );
        }
    }
    for role in facts.data.keys() {
        let (of_role, unseen) = (role.clone(), role.clone());
        mutations.spoil(
            &format!("{role} data"),
            "unencrypted",
            move |facts| facts.data.get_mut(&of_role),
            |survey| {
                survey.kinds.push(EncryptionTally {
                    stored: StoredEncryption::Unencrypted,
                    objects: 1,
                    bytes: 1,
                    first: vec!["x".to_owned()],
                });
            },
        );
        mutations.spoil(
            &format!("{role} data"),
            "unseen",
            move |facts| facts.data.get_mut(&unseen),
            |survey| {
                let why =
                    Lookup::Denied(LookupError::new("s3:GetObject", LookupErrorKind::Denied, "no"));
                survey.unseen = Some(crate::facts::objects::UnseenObjects { objects: 1, why });
            },
        );
    }
    if facts.adoptable.is_some() {
        let weak = || ClusterProperty {
            classification: "hdfs-site".to_owned(),
            name: "dfs.encrypt.data.transfer".to_owned(),
            value: "false".to_owned(),
        };
        mutations.add("adoptable", "without a security configuration", |facts| {
            if let Some(found) = first_adoptable(facts) {
                found.cluster.security_configuration = None;
            }
        });
        mutations.add("adoptable roles", "others", |facts| {
            if let Some(found) = first_adoptable(facts) {
                found.cluster.instance_profile = Some("others".to_owned());
            }
        });
        mutations.add("adoptable image", "somebody's own", |facts| {
            if let Some(found) = first_adoptable(facts) {
                found.cluster.custom_ami = Some("ami-0123456789abcdef0".to_owned());
            }
        });
        mutations.add("adoptable properties", "weak", move |facts| {
            if let Some(found) = first_adoptable(facts) {
                found.cluster.properties.push(weak());
            }
        });
        mutations.spoil(
            "bootstrap actions",
            "over http",
            |facts| first_adoptable(facts).map(|found| &mut found.bootstrap_actions),
            |all| {
                all.push(crate::facts::emr::BootstrapAction {
                    path: "http://evil.example/x.sh".to_owned(),
                    arguments: Vec::new(),
                });
            },
        );
        mutations.spoil(
            "group properties",
            "weak",
            |facts| first_adoptable(facts).map(|found| &mut found.group_properties),
            move |all| all.properties.push(weak()),
        );
        mutations.spoil(
            "group properties",
            "machine image",
            |facts| first_adoptable(facts).map(|found| &mut found.group_properties),
            |all| {
                all.custom_amis.insert("ami-1".to_owned());
            },
        );
        mutations.spoil(
            "live clusters",
            "too many",
            |facts| facts.adoptable.as_mut(),
            |persistent| persistent.live = 51,
        );
    }
    mutations.0
}

fn configuration_damages(mutations: &mut Mutations) {
    mutations.remove("security configuration", |facts| facts.security_configuration.as_mut());
    let mut spoil = |place: &str, name: &str, spoil: fn(&mut Content)| {
        mutations.spoil(
            place,
            name,
            |facts| facts.security_configuration.as_mut(),
            move |found| spoil(&mut found.content),
        );
    };
    spoil("at rest", "off", |content| content.at_rest_enabled = false);
    spoil("s3 part", "gone", |content| content.s3 = None);
    spoil("s3 part", "unknown mode", |content| {
        content.s3.iter_mut().for_each(|s3| s3.mode = "ROT13".to_owned());
    });
    spoil("s3 overrides", "incomplete", |content| {
        let incomplete =
            Override { bucket: "acme-out".to_owned(), mode: "SSE-KMS".to_owned(), key: None };
        content.s3.iter_mut().for_each(|s3| s3.overrides.push(incomplete.clone()));
    });
    spoil("local disk", "gone", |content| content.local_disk = None);
    spoil("local disk", "unknown provider", |content| {
        content.local_disk.iter_mut().for_each(|disk| disk.provider = "None".to_owned());
    });
    spoil("in transit", "off", |content| content.in_transit_enabled = false);
    spoil("tls", "gone", |content| content.tls = None);
    spoil("tls", "without its object", |content| {
        content.tls.iter_mut().for_each(|tls| tls.s3_object = None);
    });
    spoil("kerberos", "configured", |content| content.kerberos = true);
    spoil("metadata service", "version 1", |content| content.metadata_service = None);
}

fn leaf(found: &mut Result<Material, String>) -> impl Iterator<Item = &mut Certificate> {
    found.iter_mut().filter_map(|material| material.chain.first_mut())
}

fn certificate_damages(mutations: &mut Mutations) {
    mutations.remove("certificates", |facts| facts.certificates.as_mut());
    let mut spoil = |name: &str, spoil: fn(&mut Result<Material, String>)| {
        mutations.spoil(
            &format!("certificates {name}"),
            name,
            |facts| facts.certificates.as_mut(),
            spoil,
        );
    };
    spoil("unreadable", |found| *found = Err("no zip archive".to_owned()));
    spoil("key", |found| {
        found.iter_mut().for_each(|material| material.key = Err("it has a passphrase".to_owned()));
    });
    spoil("expired", |found| {
        leaf(found).for_each(|certificate| certificate.not_after = OffsetDateTime::UNIX_EPOCH);
    });
    spoil("names", |found| leaf(found).for_each(|certificate| certificate.names.clear()));
    spoil("weak", |found| {
        leaf(found).for_each(|certificate| certificate.weak = Some("SHA-1".to_owned()));
    });
    spoil("chain", |found| leaf(found).for_each(|certificate| certificate.signed_by_next = false));
    mutations.spoil(
        "archive identity",
        "not allowed",
        |facts| archive(facts).map(|object| &mut object.identity),
        |identity| *identity = Simulated::plain(SimulationDecision::NotAllowed),
    );
    mutations.spoil(
        "archive bucket's policy",
        "denies",
        |facts| archive(facts)?.bucket.as_mut().map(|bucket| &mut bucket.policy),
        |policy| {
            *policy = Some(denies_all());
        },
    );
}

fn key_damages(mutations: &mut Mutations, key: &KeyReference) {
    mutations.remove(key.as_str(), of_key(key, |key| Some(&mut key.description)));
    let mut spoil = |name: &str, spoil: fn(&mut KmsKey)| {
        mutations.spoil(
            &format!("{key} {name}"),
            name,
            of_key(key, |key| Some(&mut key.description)),
            spoil,
        );
    };
    spoil("disabled", |key| key.state = "Disabled".to_owned());
    spoil("asymmetric", |key| key.spec = "RSA_2048".to_owned());
    spoil("of another region", |key| {
        key.arn = KeyArn::new("arn:aws:kms:us-east-1:123456789012:key/x");
    });
    mutations.spoil(
        &format!("{key} rotation"),
        "off",
        of_key(key, |key| Some(&mut key.rotation)),
        |on| *on = false,
    );
    mutations.spoil(
        &format!("{key} policy"),
        "denies",
        of_key(key, |key| Some(&mut key.policy)),
        |policy| *policy = denies_all(),
    );
    let denied = |simulation: &mut KeyUserSimulation| {
        simulation
            .0
            .values_mut()
            .for_each(|identity| identity.decision = SimulationDecision::Denied);
    };
    mutations.spoil(
        &format!("{key} for the instances"),
        "denied",
        of_key(key, |key| key.identity.get_mut(&RoleKind::Jobflow)),
        denied,
    );
    mutations.spoil(
        &format!("{key} for the service"),
        "denied",
        of_key(key, |key| key.identity.get_mut(&RoleKind::Service)),
        denied,
    );
}

fn bucket_damages(mutations: &mut Mutations, bucket: &BucketName) {
    let of = |part: &str| format!("{bucket} {part}");
    mutations.remove(&of("region"), of_bucket(bucket, |bucket| &mut bucket.region));
    mutations.spoil(
        &of("region"),
        "another",
        of_bucket(bucket, |bucket| &mut bucket.region),
        |region| *region = "us-east-1".to_owned(),
    );
    mutations.spoil(
        &of("owner"),
        "another",
        of_bucket(bucket, |bucket| &mut bucket.ours),
        |ours| *ours = false,
    );
    mutations.spoil(
        &of("default"),
        "none",
        of_bucket(bucket, |bucket| &mut bucket.default_encryption),
        |default| *default = DefaultEncryption::None,
    );
    mutations.spoil(
        &of("versioning"),
        "on",
        of_bucket(bucket, |bucket| &mut bucket.versioning),
        |status| *status = Some("Enabled".to_owned()),
    );
    mutations.spoil(&of("public"), "unblocked", of_own_block(bucket), |on| *on = false);
    mutations.spoil(&of("account"), "unblocked", of_account(bucket), |on| *on = false);
}

pub(crate) fn strict() -> Policy {
    let file = tempfile::NamedTempFile::new().unwrap();
    Settings::resolve(Options::default(), Some(file.path())).unwrap().policy
}

#[test]
fn every_finding_on_a_running_cluster_is_of_a_check_that_is_listed_for_these() {
    let listed: BTreeSet<&str> = of_running_clusters().map(|check| check.name).collect();
    let own = [
        &launch::AWS_ENDPOINT,
        &launch::AWS_TRUST_STORE,
        &launch::AWS_PROXY,
        &launch::RUNNER_ROUTE,
    ]
    .map(|check| check.name);
    let policy = strict();
    let mut found = BTreeSet::new();
    for (world, mutations) in WORLDS.iter().zip(MUTATIONS.iter()) {
        for mutation in mutations {
            let mut facts = world.facts.clone();
            (mutation.strike)(&mut facts);
            let findings = of_cluster(&world.case(&policy, &facts));
            found.extend(findings.iter().map(|finding| finding.check.name));
        }
    }
    let unlisted: Vec<&&str> =
        found.iter().filter(|name| !own.contains(*name) && !listed.contains(**name)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    // Nothing is listed that is never found, except for what concerns the cluster itself.
    let unused: Vec<&str> = of_running_clusters()
        .filter(|check| check.stage == Stage::PreFlight && !found.contains(check.name))
        .map(|check| check.name)
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

fn any_checks(most: usize) -> impl Strategy<Value = Vec<String>> {
    let names: Vec<String> = CATALOGUE.iter().map(|check| check.name.to_owned()).collect();
    prop::sample::subsequence(names, 0..=most)
}

/// A policy that requires less, or more, than the default one.
fn any_policy() -> impl Strategy<Value = Policy> {
    let protections = vec![Protection::S3AtRest, Protection::LocalDisk, Protection::InTransit];
    let kinds = vec![EncryptionKind::SseS3, EncryptionKind::SseKms, EncryptionKind::DsseKms];
    let protections = prop::sample::subsequence(protections, 0..=3);
    (
        any_checks(8),
        any_checks(4),
        protections,
        prop::sample::subsequence(kinds, 1..=3),
        any::<bool>(),
    )
        .prop_map(|(advise, enforce, require, accept_encryption, expects)| {
            let expected_keys = if expects { vec![KEY.to_owned()] } else { Vec::new() };
            Policy { require, accept_encryption, expected_keys, advise, enforce, ..strict() }
        })
}

/// Applies the mutations at `which`, at most one per place. Returns the places.
fn apply_mutations(
    facts: &Facts,
    mutations: &[Mutation],
    which: &[Index],
) -> (Facts, BTreeSet<String>) {
    let (mut facts, mut places) = (facts.clone(), BTreeSet::new());
    for mutation in which.iter().map(|index| index.get(mutations)) {
        if places.insert(mutation.place.clone()) {
            (mutation.strike)(&mut facts);
        }
    }
    (facts, places)
}

fn all_mutations(world: &World) -> Vec<Mutation> {
    losses(&world.facts).into_iter().chain(damages(world)).collect()
}

#[test]
fn each_world_launches_as_it_is() {
    for world in WORLDS.iter() {
        let findings = world.findings(&strict(), &world.facts);
        let open: Vec<crate::base::printable::Printable> = findings
            .iter()
            .filter(|finding| {
                finding.level == crate::checks::finding::Level::Required && finding.is_open()
            })
            .map(crate::checks::finding::Finding::in_brief)
            .collect();
        assert!(world.launches(&strict(), &world.facts), "{open:?}");
        assert!(world.facts.key_uses().values().flatten().any(|used| *used == KeyUse::LocalDisk));
    }
}

#[test]
fn every_blow_is_seen_by_some_check() {
    for world in WORLDS.iter() {
        for mutation in all_mutations(world) {
            let mut facts = world.facts.clone();
            (mutation.strike)(&mut facts);
            let unmoved = facts_are_same(&facts, &world.facts);
            let open = |facts: &Facts| {
                world.findings(&strict(), facts).iter().filter(|finding| finding.is_open()).count()
            };
            let well = |facts: &Facts| {
                world
                    .findings(&strict(), facts)
                    .iter()
                    .filter(|finding| finding.status == Status::Passed)
                    .count()
            };
            assert!(
                unmoved || open(&facts) > open(&world.facts) || well(&facts) < well(&world.facts),
                "nobody noticed {}",
                mutation.name
            );
        }
    }
}

/// Whether a mutation changed nothing, because its world lacks that fact, or no check uses it
/// there.
fn facts_are_same(a: &Facts, b: &Facts) -> bool {
    let text = |facts: &Facts| format!("{facts:?}");
    let not_needed = |facts: &Facts| {
        let mut facts = facts.clone();
        // EBS encryption by default matters only if the security configuration does not encrypt EBS
        // volumes itself.
        if facts
            .security_configuration
            .as_ref()
            .and_then(Lookup::found)
            .is_some_and(|found| found.content.local_disk.as_ref().is_some_and(|disk| disk.ebs))
        {
            facts.ebs_by_default = Lookup::Absent;
        }
        // The service role uses only the key of EBS volumes.
        let uses = facts.key_uses();
        for (reference, key) in &mut facts.keys {
            if !uses.get(reference).is_some_and(|uses| uses.contains(&KeyUse::Ebs)) {
                key.identity.remove(&RoleKind::Service);
            }
        }
        facts
    };
    text(&not_needed(a)) == text(&not_needed(b))
}

/// If the policy makes all checks advisory that a lost fact leaves open, every other fault still
/// refuses.
#[test]
fn giving_up_a_fact_by_policy_hides_nothing_else() {
    let world = &WORLDS[1];
    let damages = damages(world);
    // By the checks that a policy makes advisory: many losses leave the same ones open.
    let mut refused_by: BTreeMap<BTreeSet<String>, Vec<bool>> = BTreeMap::new();
    for loss in losses(&world.facts).into_iter().filter(|loss| loss.name.ends_with("denied")) {
        let mut facts = world.facts.clone();
        (loss.strike)(&mut facts);
        let open = world
            .findings(&strict(), &facts)
            .into_iter()
            .filter(crate::checks::finding::Finding::is_open);
        let advise: BTreeSet<String> = open.map(|finding| finding.check.name.to_owned()).collect();
        let policy = Policy { advise: advise.iter().cloned().collect(), ..strict() };
        let refused = refused_by.entry(advise).or_insert_with(|| {
            let refuses = |damage: &Mutation| {
                let mut facts = world.facts.clone();
                (damage.strike)(&mut facts);
                !world.launches(&policy, &facts)
            };
            damages.iter().map(refuses).collect()
        });
        for (damage, refused) in damages.iter().zip(refused) {
            if damage.place == loss.place || !*refused {
                continue;
            }
            let mut facts = world.facts.clone();
            (damage.strike)(&mut facts);
            (loss.strike)(&mut facts);
            assert!(!world.launches(&policy, &facts), "{} hides {}", loss.name, damage.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn losing_a_fact_never_turns_a_refusal_into_a_launch_whatever_the_policy(
        world in 0_usize..3, policy in any_policy(), before in prop::collection::vec(any::<Index>(), 0..5), then in any::<Index>(),
    ) {
        let (world, mutations) = (&WORLDS[world], &MUTATIONS[world]);
        let (mut facts, _) = apply_mutations(&world.facts, mutations, &before);
        let refused = !world.launches(&policy, &facts);
        let losses = losses(&world.facts).len();
        let loss = then.get(&mutations[..losses]);
        (loss.strike)(&mut facts);
        prop_assert!(!(refused && world.launches(&policy, &facts)), "{} makes it \
            launch", loss.name);
    }

    #[test]
    fn making_any_fact_worse_never_turns_a_refusal_into_a_launch(
        world in 0_usize..3, enforce in any_checks(4), before in prop::collection::vec(any::<Index>(), 0..5), then in any::<Index>(),
    ) {
        let (world, mutations) = (&WORLDS[world], &MUTATIONS[world]);
        let policy = Policy { enforce, ..strict() };
        let (mut facts, places) = apply_mutations(&world.facts, mutations, &before);
        let refused = !world.launches(&policy, &facts);
        let mutation = then.get(mutations);
        prop_assume!(!places.contains(&mutation.place));
        (mutation.strike)(&mut facts);
        prop_assert!(!(refused && world.launches(&policy, &facts)), "{} makes it \
            launch", mutation.name);
    }
}

/// Something that is not as it should be, and keeps other checks from being judged.
type Breakage = fn(&mut Facts, &mut ClusterSpec);

/// Everything that one finding can keep from being judged, and how that comes about.
const BREAKAGES: [(&str, Breakage); 8] = [
    ("no security configuration is named", |facts, _| facts.security_configuration = None),
    ("the security configuration does not exist", |facts, _| {
        facts.security_configuration = Some(Lookup::Absent);
    }),
    ("no subnet is named", |facts, cluster| {
        facts.network = None;
        cluster.subnet = None;
    }),
    ("the subnet does not exist", |facts, _| {
        if let Some(network) = &mut facts.network {
            network.vpc = Lookup::Absent;
        }
    }),
    ("no bucket exists", |facts, _| {
        for bucket in facts.buckets.values_mut() {
            bucket.region = Lookup::Absent;
            bucket.ours = Lookup::Absent;
            bucket.default_encryption = Lookup::Absent;
            bucket.policy = Lookup::Absent;
            bucket.versioning = Lookup::Absent;
            bucket.public_access_block = Lookup::Absent;
        }
        facts.data.values_mut().for_each(|data| *data = Lookup::Absent);
    }),
    ("no key exists", |facts, _| {
        facts.keys.values_mut().for_each(|key| key.description = Lookup::Absent);
    }),
    ("the roles do not exist", |facts, _| {
        (facts.role, facts.service_role) = (Lookup::Absent, Lookup::Absent);
    }),
    ("the certificates are not there", |facts, _| facts.certificates = Some(Lookup::Absent)),
];

#[test]
fn what_waits_for_another_finding_is_only_what_cannot_be_judged_without_it() {
    use std::fmt::Write as _;

    let policy = strict();
    let mut told = String::new();
    for (what, break_it) in BREAKAGES {
        let mut world = World::new(true, false);
        let mut facts = world.facts.clone();
        break_it(&mut facts, &mut world.cluster);
        let named = facts.security_configuration.is_some();
        let case =
            Case { security_configuration: named.then_some("sc"), ..world.case(&policy, &facts) };
        let findings = pre_flight(&case);
        let mut waiting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.is_open()) {
            match finding.waits_for {
                Some(first) => {
                    let first = findings.iter().find(|it| it.check.name == first && it.is_open());
                    let first = first.unwrap_or_else(|| panic!("{what}: {finding:?}"));
                    waiting.entry(first.check.name).or_default().insert(finding.check.name);
                }
                None => {
                    waiting.entry(finding.check.name).or_default();
                }
            }
        }
        let _ = writeln!(told, "{what}:");
        for (first, waiting) in waiting {
            let waiting = waiting.into_iter().collect::<Vec<_>>().join(", ");
            let waiting = if waiting.is_empty() { "nothing" } else { &waiting };
            let _ = writeln!(told, "  {first} <- {waiting}");
        }
    }
    insta::assert_snapshot!(told);
}
