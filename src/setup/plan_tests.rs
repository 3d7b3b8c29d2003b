//! Plans for accounts in many states, carried out on a model of an account.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    base::{
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{AccountId, BucketName, KeyArn, KeyReference, S3Object, partition},
        wildcard::fits,
    },
    checks::{
        catalogue::CATALOGUE,
        finding::Status,
        properties::{World, strict},
        sample_configuration::has_metadata_v2,
    },
    facts::{
        account_state::{
            AccountState, AccountStateQuery, BucketEncryptionSettings, BucketState,
            InstanceProfileState, KeyState, PolicyHolder, PublicAccessBlockSettings, RoleState,
        },
        emr::SecurityConfiguration,
        gather::Facts,
        iam::RoleFacts,
        kms::{KeyFacts, KeyUserSimulation, KmsKey, RoleKind, ViaService},
        node_objects::{NodeObject, OtherBucket},
        notification_state::NotificationState,
        object_lock::{DefaultRetention, LockState, RetentionMode, RetentionPeriod, VERSIONING_ON},
        s3::{BucketFacts, DefaultEncryption},
        simulation::{Simulated, SimulationDecision},
    },
    permissions::policy::{self, LaunchScope, PermissionOptions},
    settings::{
        evidence_options::EvidenceOptions,
        policy::{EncryptionKind, Policy},
    },
    setup::{
        desired::SetupInputs,
        merge,
        options::{SetupExtra, SetupOptions, SetupPart},
        piece::{BucketObjectLock, MADE_KEY, Piece},
        plan::{SetupPlan, Step, StepAction},
    },
};

const ACCOUNT: &str = "123456789012";

/// The input of a plan, owned.
pub(super) struct Setup {
    world: World,
    policy: Policy,
    evidence: EvidenceOptions,
    pub(super) options: SetupOptions,
    account: AccountId,
    guard: Option<String>,
    launcher: Option<String>,
    configured: Option<String>,
}

impl Setup {
    /// A setup for clusters of `release` in `region`.
    pub(super) fn new(release: &str, region: &str) -> Self {
        let mut world = World::new(false, false);
        world.cluster.release.value = release.parse().unwrap();
        world.cluster.region.value = region.to_owned();
        world.paths.region.value = region.to_owned();
        let arn = |rest: &str| format!("arn:{}:iam::{ACCOUNT}:{rest}", partition(region));
        Self {
            world,
            policy: strict(),
            evidence: EvidenceOptions::default(),
            options: SetupOptions {
                name: "acme".to_owned(),
                without: BTreeSet::new(),
                with: BTreeSet::new(),
                key: None,
                bucket_encryption: None,
                certificates: None,
                certificate_days: 825,
            },
            account: AccountId::new(ACCOUNT),
            guard: Some(arn("role/guard")),
            launcher: Some(arn("user/runner")),
            configured: None,
        }
    }

    pub(super) fn inputs(&self) -> SetupInputs<'_> {
        SetupInputs {
            cluster: &self.world.cluster,
            paths: &self.world.paths,
            policy: &self.policy,
            permissions: PermissionOptions {
                topic: None,
                queue: None,
                evidence: &self.evidence,
                expected_keys: &self.policy.expected_keys,
            },
            options: &self.options,
            account: &self.account,
            guard: self.guard.as_deref(),
            launcher: self.launcher.as_deref(),
            configured: self.configured.as_deref(),
        }
    }

    fn plan(&self, account: &Account) -> SetupPlan {
        let inputs = self.inputs();
        let state = account.look(&inputs.query());
        let state = inputs.query_again(&state).map_or(state, |again| account.look(&again));
        inputs.plan(&state)
    }

    fn key_arn(&self) -> String {
        let region = &self.world.cluster.region.value;
        format!("arn:{}:kms:{region}:{ACCOUNT}:key/0000-made", partition(region))
    }

    /// Carries out the plan for `account`, and sets the config as it says.
    fn apply(&mut self, account: &mut Account) -> SetupPlan {
        let plan = self.plan(account);
        account.carry_out(&plan, &self.key_arn());
        if let Some(name) = &plan.security_configuration {
            self.configured = Some(name.clone());
        }
        plan
    }

    /// The facts that a check would find in `account`.
    fn facts(&self, account: &Account) -> Facts {
        let inputs = self.inputs();
        let state = account.look(&inputs.query());
        let mut facts = self.world.facts.clone();
        let own: BTreeSet<BucketName> = facts.buckets.keys().cloned().collect();
        facts.buckets = own.iter().map(|name| (name.clone(), bucket_facts(&state, name))).collect();
        let configured =
            self.configured.as_deref().and_then(|name| account.configurations.get(name));
        facts.security_configuration = Some(configured.map_or(Lookup::Absent, |content| {
            let found = SecurityConfiguration::for_tests(&content.to_string());
            Lookup::Found(SecurityConfiguration { created: facts.asked_at, ..found })
        }));
        let tls = configured.and_then(|content| {
            let tls = &content["EncryptionConfiguration"]["InTransitEncryptionConfiguration"];
            tls["TLSCertificateConfiguration"]["S3Object"].as_str().map(str::to_owned)
        });
        let region = &self.world.cluster.region.value;
        let mut node_objects = BTreeMap::new();
        match &tls {
            Some(uri) => {
                let object = S3Object::parse(uri).unwrap();
                let there = account.objects.contains(uri);
                if let Some(Lookup::Found(Ok(material))) = &mut facts.certificates {
                    let domain = format!("*.{region}.compute.internal");
                    material.chain[0].names = vec![domain];
                }
                if !there {
                    facts.certificates = Some(Lookup::Absent);
                }
                let role = PolicyHolder::Role(account.instance_role().unwrap_or_default());
                let arn = object.arn(partition(region));
                let allowed = account.allows(&role, "s3:GetObject", &arn);
                let decision = if allowed {
                    SimulationDecision::Allowed
                } else {
                    SimulationDecision::NotAllowed
                };
                let bucket = account.buckets.get(&object.bucket);
                node_objects.insert(
                    uri.clone(),
                    NodeObject {
                        there: None,
                        identity: Lookup::Found(Simulated::plain(decision)),
                        bucket: Some(OtherBucket {
                            ours: bucket.map_or(Lookup::Absent, |_| Lookup::Found(true)),
                            policy: Lookup::Found(
                                bucket
                                    .and_then(|bucket| bucket.policy.found())
                                    .map(ToString::to_string),
                            ),
                        }),
                    },
                );
            }
            None => facts.certificates = None,
        }
        facts.node_objects = node_objects;
        let role = |name: Option<String>| {
            let found = name.and_then(|name| account.roles.get(&name));
            found.map_or(Lookup::Absent, |role| Lookup::Found(RoleFacts { arn: role.arn.clone() }))
        };
        facts.role = role(account.instance_role());
        facts.service_role = role(Some(inputs.service_role().to_owned()));
        facts.expected_keys =
            self.policy.expected_keys.iter().map(|key| KeyReference::new(key)).collect();
        facts.keys = BTreeMap::new();
        let used = facts.key_uses();
        facts.keys = used
            .keys()
            .map(|reference| (reference.clone(), key_facts(account.key_of(reference))))
            .collect();
        facts
    }

    /// The findings that are open after a plan: check, what was seen.
    fn open(&self, account: &Account) -> Vec<String> {
        let facts = self.facts(account);
        let findings = self.world.findings(&self.policy, &facts).into_iter();
        let unsupported = if has_metadata_v2(&self.world.cluster.release.value) {
            ""
        } else {
            "instance-metadata-v2"
        };
        let open = findings.filter(|finding| {
            !matches!(finding.status, Status::Passed | Status::NotApplicable)
                && SERVED.contains(&finding.check.name)
                && finding.check.name != unsupported
        });
        open.map(|finding| {
            format!(
                "{} {:?} {}: {}",
                finding.check.name, finding.status, finding.subject, finding.saw
            )
        })
        .collect()
    }
}

/// The checks that a plan has to make pass.
const SERVED: [&str; 38] = [
    "bucket-exists",
    "bucket-owner",
    "bucket-region",
    "bucket-default-encryption",
    "bucket-tls-only",
    "bucket-public-access-block",
    "clojure-collector-bucket",
    "written-encryption",
    "no-silent-downgrade",
    "bucket-policy-clash",
    "security-configuration-overrides",
    "security-configuration-exists",
    "s3-at-rest",
    "local-disk-at-rest",
    "in-transit",
    "kerberos-not-configured",
    "instance-metadata-v2",
    "certificate-object",
    "certificate-key",
    "certificate-chain",
    "certificate-validity",
    "certificate-names",
    "certificate-strength",
    "custom-provider-object",
    "jobflow-role-may-read-object",
    "kms-key-exists",
    "kms-key-enabled",
    "kms-key-symmetric",
    "kms-key-region",
    "kms-key-rotation",
    "kms-key-customer-managed",
    "local-disk-key",
    "jobflow-role-exists",
    "service-role-exists",
    "jobflow-role-may-use-key",
    "service-role-may-use-key",
    "mapped-role-may-use-key",
    "release-supports-encryption",
];

fn bucket_facts(state: &AccountState, name: &BucketName) -> BucketFacts {
    let of_bucket = &state.buckets[name];
    let whole = |block: &PublicAccessBlockSettings| {
        block.block_public_acls
            && block.ignore_public_acls
            && block.block_public_policy
            && block.restrict_public_buckets
    };
    BucketFacts {
        region: of_bucket.region.clone(),
        ours: of_bucket.ours.clone(),
        default_encryption: of_bucket
            .encryption
            .clone()
            .map(|settings| DefaultEncryption::Kind { kind: settings.kind, key: settings.key }),
        policy: match of_bucket.policy.clone() {
            Lookup::Absent => Lookup::Found(None),
            other => other.map(|policy| Some(policy.to_string())),
        },
        versioning: Lookup::Found(None),
        public_access_block: match &of_bucket.public_access_block {
            Lookup::Absent => Lookup::Found(false),
            other => other.clone().map(|block| whole(&block)),
        },
        public_access_block_with_account: state.account_block.found().map(|account| {
            let own = of_bucket.public_access_block.found().copied().unwrap_or_default();
            Lookup::Found(whole(&PublicAccessBlockSettings {
                block_public_acls: own.block_public_acls || account.block_public_acls,
                ignore_public_acls: own.ignore_public_acls || account.ignore_public_acls,
                block_public_policy: own.block_public_policy || account.block_public_policy,
                restrict_public_buckets: own.restrict_public_buckets
                    || account.restrict_public_buckets,
            }))
        }),
    }
}

/// A key whose users may use it by its policy alone, or not at all.
fn key_facts(key: Option<&KeyState>) -> KeyFacts {
    let nothing = |kind: &RoleKind| {
        let services = [ViaService::Itself, ViaService::S3, ViaService::Ec2];
        let of_service = |service| {
            let not_allowed = Simulated::plain(SimulationDecision::NotAllowed);
            kind.actions()
                .iter()
                .map(move |action| ((service, (*action).to_owned()), not_allowed.clone()))
        };
        Lookup::Found(KeyUserSimulation(services.into_iter().flat_map(of_service).collect()))
    };
    KeyFacts {
        description: key.map_or(Lookup::Absent, |key| {
            Lookup::Found(KmsKey {
                arn: key.arn.clone(),
                state: if key.enabled { "Enabled" } else { "Disabled" }.to_owned(),
                spec: if key.symmetric { "SYMMETRIC_DEFAULT" } else { "RSA_2048" }.to_owned(),
                usage: "ENCRYPT_DECRYPT".to_owned(),
                aws_managed: key.aws_managed,
                deletion: None,
            })
        }),
        rotation: key.map_or(Lookup::Absent, |key| key.rotation.clone()),
        policy: key.map_or(Lookup::Absent, |key| key.policy.clone().map(|it| it.to_string())),
        grants: Lookup::Found(Vec::new()),
        identity: [RoleKind::Jobflow, RoleKind::Service]
            .into_iter()
            .map(|kind| (kind.clone(), nothing(&kind)))
            .collect(),
    }
}

/// An account. What it does not hold does not exist.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    buckets: BTreeMap<BucketName, BucketState>,
    block: PublicAccessBlockSettings,
    keys: BTreeMap<String, KeyState>,
    /// ARNs by alias.
    aliases: BTreeMap<String, String>,
    profiles: BTreeMap<String, Option<String>>,
    roles: BTreeMap<String, RoleState>,
    users: BTreeSet<String>,
    policies: BTreeMap<(PolicyHolder, String), Value>,
    configurations: BTreeMap<String, Value>,
    /// URIs.
    objects: BTreeSet<String>,
    locks: BTreeMap<BucketName, LockState>,
    partition: String,
}

impl Account {
    /// An account with the guard's role and the runner's user alone.
    fn empty(setup: &Setup) -> Self {
        Self {
            buckets: BTreeMap::new(),
            block: PublicAccessBlockSettings::default(),
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            profiles: BTreeMap::new(),
            roles: BTreeMap::new(),
            users: ["runner".to_owned()].into(),
            policies: BTreeMap::new(),
            configurations: BTreeMap::new(),
            objects: BTreeSet::new(),
            locks: BTreeMap::new(),
            partition: partition(&setup.world.cluster.region.value).to_owned(),
        }
    }

    fn role_arn(&self, name: &str) -> String {
        format!("arn:{}:iam::{ACCOUNT}:role/{name}", self.partition)
    }

    fn instance_role(&self) -> Option<String> {
        self.profiles.values().next().cloned().flatten()
    }

    fn key_of(&self, reference: &KeyReference) -> Option<&KeyState> {
        let text = reference.as_str();
        let arn = self.aliases.get(text).map_or(text, String::as_str);
        self.keys.get(arn)
    }

    /// Whether an inline policy of the holder allows it.
    fn allows(&self, holder: &PolicyHolder, action: &str, resource: &str) -> bool {
        let texts = |value: &Value| match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let own = self.policies.iter().filter(|((of, _), _)| of == holder);
        own.flat_map(|(_, policy)| merge::statements(policy).unwrap()).any(|statement| {
            statement["Effect"] == "Allow"
                && texts(&statement["Action"]).iter().any(|pattern| fits(pattern, action))
                && texts(&statement["Resource"]).iter().any(|pattern| fits(pattern, resource))
        })
    }

    fn has(&self, holder: &PolicyHolder) -> bool {
        match holder {
            PolicyHolder::Role(name) => self.roles.contains_key(name),
            PolicyHolder::User(name) => self.users.contains(name),
        }
    }

    fn look(&self, query: &AccountStateQuery) -> AccountState {
        fn there<T: Clone>(found: Option<&T>) -> Lookup<T> {
            found.map_or(Lookup::Absent, |found| Lookup::Found(found.clone()))
        }
        let profile = self.profiles.get(&query.instance_profile);
        let held = profile.cloned().flatten().unwrap_or(query.instance_profile.clone());
        let mut lacks: BTreeMap<PolicyHolder, Lookup<BTreeSet<(String, String)>>> = BTreeMap::new();
        for need in &query.needs {
            let entry = lacks.entry(need.holder.clone());
            if !self.has(&need.holder) {
                entry.or_insert(Lookup::Absent);
                continue;
            }
            let Lookup::Found(lacking) = entry.or_insert(Lookup::Found(BTreeSet::new())) else {
                continue;
            };
            for action in &need.actions {
                for resource in &need.resources {
                    if !self.allows(&need.holder, action, resource) {
                        lacking.insert((action.clone(), resource.clone()));
                    }
                }
            }
        }
        AccountState {
            buckets: query
                .buckets
                .iter()
                .map(|name| {
                    let state = self.buckets.get(name).cloned();
                    (name.clone(), state.unwrap_or_else(no_bucket))
                })
                .collect(),
            account_block: Lookup::Found(self.block),
            key: there(self.key_of(&query.key)),
            instance_profile: profile.map_or(Lookup::Absent, |role| {
                let name = &query.instance_profile;
                Lookup::Found(InstanceProfileState {
                    arn: format!("arn:{}:iam::{ACCOUNT}:instance-profile/{name}", self.partition),
                    role: role.clone().map(|role| (role.clone(), self.role_arn(&role))),
                })
            }),
            roles: [&held, &query.service_role]
                .into_iter()
                .map(|name| (name.clone(), there(self.roles.get(name))))
                .collect(),
            inline_policies: query
                .inline_policies
                .iter()
                .map(|of| (of.clone(), there(self.policies.get(of))))
                .collect(),
            lacks,
            security_configurations: query
                .security_configurations
                .iter()
                .map(|name| (name.clone(), there(self.configurations.get(name))))
                .collect(),
            certificates: query.certificates.as_ref().map(|object| {
                let uri = format!("s3://{}/{}", object.bucket, object.key);
                if self.objects.contains(&uri) {
                    Lookup::Found("\"etag\"".to_owned())
                } else {
                    Lookup::Absent
                }
            }),
            locks: query
                .locks
                .iter()
                .map(|name| {
                    let state = self.locks.get(name).cloned();
                    (name.clone(), state.unwrap_or_else(no_lock))
                })
                .collect(),
            notifications: NotificationState::default(),
        }
    }

    /// Makes what the plan says. A new key gets `key` as its ARN.
    fn carry_out(&mut self, plan: &SetupPlan, key: &str) {
        for step in plan.changes() {
            let is_new = step.action == StepAction::Create;
            match step.piece.with_key(key).unwrap() {
                Piece::Role(role) => {
                    assert!(is_new);
                    let state = RoleState {
                        arn: self.role_arn(&role.name),
                        trust: role.trust,
                        attached: Lookup::Found(role.attached.into_iter().collect()),
                    };
                    assert!(self.roles.insert(role.name, state).is_none());
                }
                Piece::InstanceProfile(profile) => {
                    assert!(self.roles.contains_key(&profile.role));
                    let before = self.profiles.insert(profile.name, Some(profile.role));
                    assert_eq!(before, (!is_new).then_some(None));
                }
                Piece::Key(made) => {
                    self.check_principals(&made.policy);
                    self.aliases.insert(made.alias, key.to_owned());
                    let state = KeyState {
                        arn: KeyArn::new(key),
                        enabled: true,
                        symmetric: true,
                        aws_managed: false,
                        policy: Lookup::Found(made.policy),
                        rotation: Lookup::Found(true),
                    };
                    assert!(self.keys.insert(key.to_owned(), state).is_none());
                }
                Piece::KeyPolicy(policy) => {
                    self.check_principals(&policy.policy);
                    self.keys.get_mut(&policy.key).unwrap().policy = Lookup::Found(policy.policy);
                }
                Piece::KeyRotation(rotation) => {
                    self.keys.get_mut(&rotation.key).unwrap().rotation = Lookup::Found(true);
                }
                Piece::InlinePolicy(policy) => {
                    assert!(self.has(&policy.holder));
                    assert_sids(&policy.policy, true);
                    let key = (policy.holder, policy.name);
                    assert_eq!(self.policies.insert(key, policy.policy).is_none(), is_new);
                }
                Piece::Bucket(bucket) => {
                    let state = BucketState {
                        ours: Lookup::Found(true),
                        region: Lookup::Found(bucket.region),
                        encryption: Lookup::Found(BucketEncryptionSettings {
                            kind: EncryptionKind::SseS3,
                            key: None,
                            bucket_key: false,
                            blocks_sse_c: false,
                        }),
                        ..no_bucket()
                    };
                    if bucket.object_lock {
                        let lock = LockState {
                            versioning: Lookup::Found(VERSIONING_ON.to_owned()),
                            lock: Lookup::Found(None),
                        };
                        self.locks.insert(bucket.bucket.clone(), lock);
                    }
                    assert!(self.buckets.insert(bucket.bucket, state).is_none());
                }
                Piece::BucketEncryption(encryption) => {
                    self.bucket(&encryption.bucket).encryption = Lookup::Found(encryption.settings);
                }
                Piece::PublicAccessBlock(block) => {
                    self.bucket(&block.bucket).public_access_block = Lookup::Found(block.settings);
                }
                Piece::BucketPolicy(policy) => {
                    assert_sids(&policy.policy, false);
                    self.bucket(&policy.bucket).policy = Lookup::Found(policy.policy);
                }
                Piece::Certificates(archive) => {
                    assert!(is_new && self.buckets.contains_key(&archive.object.bucket));
                    let uri = format!("s3://{}/{}", archive.object.bucket, archive.object.key);
                    assert!(self.objects.insert(uri));
                }
                Piece::SecurityConfiguration(made) => {
                    assert!(is_new && !made.content.to_string().contains(MADE_KEY));
                    assert!(self.configurations.insert(made.name, made.content).is_none());
                }
                Piece::BucketVersioning(of) => {
                    let lock = self.locks.entry(of.bucket).or_insert_with(no_lock);
                    lock.versioning = Lookup::Found(VERSIONING_ON.to_owned());
                }
                Piece::ObjectLock(of) => {
                    let lock = self.locks.get_mut(&of.bucket).unwrap();
                    assert_eq!(lock.versioning, Lookup::Found(VERSIONING_ON.to_owned()));
                    lock.lock = Lookup::Found(Some(of.retention));
                }
                other @ (Piece::AlertTopic(_)
                | Piece::EventQueue(_)
                | Piece::EventRule(_)
                | Piece::Alarm(_)) => {
                    panic!("a {} was not asked for", other.kind())
                }
            }
        }
    }

    fn bucket(&mut self, name: &BucketName) -> &mut BucketState {
        self.buckets.get_mut(name).unwrap()
    }

    /// Deletes a role. From then on, key policies name its id in place of its ARN.
    fn delete_role(&mut self, name: &str) {
        let arn = self.roles.remove(name).unwrap().arn;
        for key in self.keys.values_mut() {
            let Lookup::Found(policy) = &mut key.policy else { continue };
            for statement in policy["Statement"].as_array_mut().unwrap() {
                if statement["Principal"]["AWS"] == arn.as_str() {
                    statement["Principal"]["AWS"] = "AROAEXAMPLEEXAMPLE01".into();
                }
            }
        }
    }

    /// KMS takes no policy that names a principal that does not exist.
    fn check_principals(&self, policy: &Value) {
        assert_sids(policy, false);
        for statement in merge::statements(policy).unwrap() {
            let Some(arn) = statement["Principal"]["AWS"].as_str() else { continue };
            let known = arn.ends_with(":root")
                || arn.ends_with(":role/guard")
                || arn.ends_with(":user/runner")
                || self.roles.values().any(|role| role.arn == arn);
            assert!(known || !is_ours(statement), "{arn} does not exist");
        }
    }
}

fn is_ours(statement: &Value) -> bool {
    statement["Sid"].as_str().is_some_and(|sid| sid.starts_with(merge::SID_START))
}

/// Statement ids are unique; IAM allows letters and digits only.
fn assert_sids(policy: &Value, of_iam: bool) {
    let statements = merge::statements(policy).unwrap();
    let sids: Vec<&str> = statements.iter().filter_map(|it| it["Sid"].as_str()).collect();
    assert_eq!(sids.iter().collect::<BTreeSet<_>>().len(), sids.len(), "{sids:?}");
    for statement in statements.into_iter().filter(|statement| of_iam || is_ours(statement)) {
        let sid = statement["Sid"].as_str().unwrap_or_default();
        assert!(sid.chars().all(|letter| letter.is_ascii_alphanumeric()), "{sid}");
    }
}

fn no_bucket() -> BucketState {
    BucketState {
        ours: Lookup::Absent,
        region: Lookup::Absent,
        encryption: Lookup::Absent,
        policy: Lookup::Absent,
        public_access_block: Lookup::Absent,
        policy_is_public: Lookup::Absent,
        website: Lookup::Found(false),
    }
}

fn no_lock() -> LockState {
    LockState { versioning: Lookup::Absent, lock: Lookup::Absent }
}

/// An account with everything that the setup makes, and the setup with its config.
fn complete(release: &str, region: &str) -> (Setup, Account) {
    let mut setup = Setup::new(release, region);
    let mut account = Account::empty(&setup);
    setup.apply(&mut account);
    (setup, account)
}

/// A plan as text: one line for each step, with the pieces of those that change something.
fn text(plan: &SetupPlan) -> String {
    serde_json::to_string_pretty(plan).unwrap()
}

fn not_kept(plan: &SetupPlan) -> Vec<String> {
    let steps = plan.steps.iter().filter(|step| step.action != StepAction::Keep);
    steps.map(named).collect()
}

fn named(step: &Step) -> String {
    let action = serde_json::to_value(&step.action).unwrap();
    format!("{} {} {}", action["action"].as_str().unwrap(), step.piece.kind(), step.piece.subject())
}

fn error() -> LookupError {
    LookupError::new("x:Y", LookupErrorKind::Denied, "denied for the test")
}

const RELEASES: [&str; 5] = ["emr-5.8.0", "emr-5.23.0", "emr-5.29.0", "emr-6.2.0", "emr-7.11.0"];

#[test]
fn an_empty_account_gets_everything() {
    for release in ["emr-5.29.0", "emr-7.11.0"] {
        let setup = Setup::new(release, "eu-west-1");
        insta::assert_snapshot!(
            format!("empty account, {release}"),
            text(&setup.plan(&Account::empty(&setup)))
        );
    }
}

#[test]
fn a_plan_that_is_carried_out_makes_every_check_pass_and_leaves_nothing_to_do() {
    let kinds = |kinds: &[EncryptionKind]| Policy { accept_encryption: kinds.to_vec(), ..strict() };
    let policies = [
        strict(),
        kinds(&[EncryptionKind::SseKms]),
        kinds(&[EncryptionKind::SseS3]),
        Policy { expected_keys: vec!["alias/acme".to_owned()], ..strict() },
    ];
    for release in RELEASES {
        for region in ["eu-west-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
            for policy in &policies {
                let mut setup = Setup::new(release, region);
                setup.policy = policy.clone();
                let mut account = Account::empty(&setup);
                let plan = setup.apply(&mut account);
                let context = format!("{release} {region} {policy:?}");
                assert_eq!(plan.obstacles().map(named).collect::<Vec<_>>(), [""; 0], "{context}");
                assert_eq!(setup.open(&account), [""; 0], "{context}");
                let again = setup.plan(&account);
                assert_eq!(not_kept(&again), [""; 0], "{context}");
                assert_eq!(again.security_configuration, plan.security_configuration);
                // Also if the config was not written.
                setup.configured = None;
                let again = setup.plan(&account);
                assert_eq!(not_kept(&again), [""; 0], "{context}");
                assert_eq!(again.security_configuration, plan.security_configuration);
            }
        }
    }
}

/// Every check that a step names is in the catalogue, in its order.
fn assert_checks(plan: &SetupPlan) {
    for step in &plan.steps {
        let places: Vec<usize> = step
            .checks
            .iter()
            .map(|name| {
                let place = CATALOGUE.iter().position(|check| check.name == *name);
                place.unwrap_or_else(|| panic!("there is no check {name}"))
            })
            .collect();
        assert!(places.is_sorted(), "{:?}", step.checks);
    }
    for advice in &plan.advice {
        let named = |name| CATALOGUE.iter().any(|check| check.name == name);
        assert!(advice.check.is_none_or(named), "{advice:?}");
    }
}

#[test]
fn steps_name_checks_that_exist_and_come_in_the_order_in_which_they_are_made() {
    for release in RELEASES {
        let setup = Setup::new(release, "eu-west-1");
        let plan = setup.plan(&Account::empty(&setup));
        assert_checks(&plan);
        let order = |piece: &Piece| match piece {
            Piece::Role(_) => 0,
            Piece::InstanceProfile(_) => 1,
            Piece::Key(_) | Piece::KeyPolicy(_) | Piece::KeyRotation(_) => 2,
            Piece::InlinePolicy(_) => 3,
            Piece::Bucket(_) => 4,
            Piece::BucketEncryption(_) => 5,
            Piece::PublicAccessBlock(_) => 6,
            Piece::BucketPolicy(_) => 7,
            Piece::Certificates(_) => 8,
            Piece::SecurityConfiguration(_) => 9,
            Piece::BucketVersioning(_) => 10,
            Piece::ObjectLock(_) => 11,
            Piece::AlertTopic(_) => 12,
            Piece::EventQueue(_) => 13,
            Piece::EventRule(_) => 14,
            Piece::Alarm(_) => 15,
        };
        assert!(plan.steps.iter().map(|step| order(&step.piece)).is_sorted());
    }
}

/// One piece that is taken away or weakened, and the steps that make up for it.
type Loss = (&'static str, fn(&mut Account), &'static [&'static str]);

const CERTIFICATES: &str = "acme-certificates-123456789012-eu-west-1";

fn bucket_of<'a>(account: &'a mut Account, name: &str) -> &'a mut BucketState {
    account.bucket(&name.parse().unwrap())
}

const LOSSES: [Loss; 17] = [
    (
        "service role",
        |account| account.delete_role("EMR_DefaultRole"),
        &[
            "create role EMR_DefaultRole",
            "change key policy arn:aws:kms:eu-west-1:123456789012:key/0000-made",
        ],
    ),
    (
        "instance role",
        |account| {
            account.delete_role("EMR_EC2_DefaultRole");
            account.profiles.insert("EMR_EC2_DefaultRole".to_owned(), None);
            let is_other = |of: &(PolicyHolder, String)| of.0.name() != "EMR_EC2_DefaultRole";
            account.policies.retain(|of, _| is_other(of));
        },
        &[
            "create role EMR_EC2_DefaultRole",
            "change instance profile EMR_EC2_DefaultRole",
            "change key policy arn:aws:kms:eu-west-1:123456789012:key/0000-made",
            "create inline policy acme-emr-etl-guard of EMR_EC2_DefaultRole",
        ],
    ),
    (
        "instance profile",
        |account| account.profiles.clear(),
        &["create instance profile EMR_EC2_DefaultRole"],
    ),
    (
        "key policy",
        |account| {
            let root = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"}]});
            let key = account.keys.values_mut().next().unwrap();
            key.policy = Lookup::Found(root);
        },
        &["change key policy arn:aws:kms:eu-west-1:123456789012:key/0000-made"],
    ),
    (
        "key rotation",
        |account| account.keys.values_mut().next().unwrap().rotation = Lookup::Found(false),
        &["change key rotation arn:aws:kms:eu-west-1:123456789012:key/0000-made"],
    ),
    (
        "policy of the instance role",
        |account| {
            account.policies.retain(|of, _| of.0.name() == "runner");
        },
        &["create inline policy acme-emr-etl-guard of EMR_EC2_DefaultRole"],
    ),
    (
        "a statement of that policy",
        |account| {
            for policy in account.policies.values_mut() {
                policy["Statement"].as_array_mut().unwrap().remove(1);
            }
        },
        &[
            "change inline policy acme-emr-etl-guard of EMR_EC2_DefaultRole",
            "change inline policy acme-emr-etl-guard of runner",
        ],
    ),
    (
        "policy of the launcher",
        |account| {
            account.policies.retain(|of, _| of.0.name() != "runner");
        },
        &["create inline policy acme-emr-etl-guard of runner"],
    ),
    (
        "bucket",
        |account| drop(account.buckets.remove(&"acme-etl".parse().unwrap())),
        &[
            "create bucket acme-etl",
            "create default encryption acme-etl",
            "create public access block acme-etl",
            "create bucket policy acme-etl",
        ],
    ),
    (
        "default encryption",
        |account| bucket_of(account, "acme-etl").encryption = Lookup::Absent,
        &["create default encryption acme-etl"],
    ),
    (
        "a key of the account's own",
        |account| {
            if let Lookup::Found(settings) = &mut bucket_of(account, "acme-etl").encryption {
                settings.key = None;
            }
        },
        &["change default encryption acme-etl"],
    ),
    (
        "the block of SSE-C",
        |account| {
            if let Lookup::Found(settings) = &mut bucket_of(account, "acme-etl").encryption {
                settings.blocks_sse_c = false;
            }
        },
        &["change default encryption acme-etl"],
    ),
    (
        "public access block",
        |account| {
            if let Lookup::Found(settings) = &mut bucket_of(account, "acme-etl").public_access_block
            {
                settings.ignore_public_acls = false;
            }
        },
        &["change public access block acme-etl"],
    ),
    (
        "bucket policy",
        |account| bucket_of(account, "acme-etl").policy = Lookup::Absent,
        &["create bucket policy acme-etl"],
    ),
    (
        "the statement on certificates",
        |account| {
            if let Lookup::Found(policy) = &mut bucket_of(account, CERTIFICATES).policy {
                policy["Statement"].as_array_mut().unwrap().pop();
            }
        },
        &["change bucket policy acme-certificates-123456789012-eu-west-1"],
    ),
    (
        "certificates",
        |account| account.objects.clear(),
        &["create certificates s3://acme-certificates-123456789012-eu-west-1/emr-certificates.zip"],
    ),
    (
        "security configuration",
        |account| account.configurations.clear(),
        &["create security configuration acme-693b8d14"],
    ),
];

#[test]
fn whatever_one_piece_is_missing_that_alone_is_made() {
    let (setup, whole) = complete("emr-5.29.0", "eu-west-1");
    assert_eq!(not_kept(&setup.plan(&whole)), [""; 0]);
    for (what, lose, expected) in LOSSES {
        let mut account = whole.clone();
        lose(&mut account);
        assert_ne!(account, whole, "{what}");
        let plan = setup.plan(&account);
        assert_eq!(not_kept(&plan), expected, "{what}");
        account.carry_out(&plan, &setup.key_arn());
        assert_eq!(setup.open(&account), [""; 0], "{what}");
        assert_eq!(not_kept(&setup.plan(&account)), [""; 0], "{what}");
    }
}

#[test]
fn two_setups_share_a_key_and_buckets_side_by_side() {
    for names_the_firsts_configuration in [false, true] {
        share_a_key_and_buckets(names_the_firsts_configuration);
    }
}

fn share_a_key_and_buckets(names_the_firsts_configuration: bool) {
    let (first, mut account) = complete("emr-5.29.0", "eu-west-1");
    let of_first = account.configurations.keys().next().unwrap().clone();
    let mut second = Setup::new("emr-5.29.0", "eu-west-1");
    second.options.name = "other".to_owned();
    second.options.key = Some(KeyReference::new("alias/acme"));
    second.world.cluster.service_role.value = "OtherService".to_owned();
    second.world.cluster.instance_profile.value = "OtherInstances".to_owned();
    if names_the_firsts_configuration {
        second.configured = Some(of_first.clone());
    }
    let state = account.look(&second.inputs().query());
    let before = account.clone();
    let plan = second.plan(&account);
    assert_checks(&plan);
    // Only the role of the first one may read the certificates that the first one's names.
    assert_ne!(plan.security_configuration.as_deref().unwrap(), of_first);
    assert_eq!(state.key.found().unwrap().arn.as_str(), first.key_arn());
    // The model of an account has one instance profile at a time.
    let mut of_second = account.clone();
    of_second.profiles.clear();
    second.apply(&mut of_second);
    assert_eq!(second.open(&of_second), [""; 0]);
    assert_eq!(not_kept(&second.plan(&of_second)), [""; 0]);
    account = of_second;
    account.profiles = before.profiles.clone();
    assert_eq!(first.open(&account), [""; 0]);
    assert_eq!(not_kept(&first.plan(&account)), [""; 0]);
    let statements = |account: &Account| {
        let policy = account.keys.values().next().unwrap().policy.found().unwrap().clone();
        policy["Statement"].as_array().unwrap().clone()
    };
    let (old, new) = (statements(&before), statements(&account));
    assert_eq!(new[..old.len()], old, "the first setup's statements stay at their places");
    assert_eq!(new.len(), old.len() + 3);
}

/// A fact that is lost.
type Strike = (String, Box<dyn Fn(&mut AccountState)>);

/// A change of a key.
type KeyChange = fn(&mut KeyState);

/// A fact of a bucket, to be denied.
type BucketStrike = fn(&mut BucketState);

/// Each fact of a state, to be denied.
fn strikes(state: &AccountState) -> Vec<Strike> {
    fn lost<T>() -> Lookup<T> {
        Lookup::Denied(error())
    }
    let mut all: Vec<Strike> = Vec::new();
    let mut with = |what: String, change: Box<dyn Fn(&mut AccountState)>| all.push((what, change));
    for name in state.buckets.keys() {
        let strikes: [(&str, BucketStrike); 7] = [
            ("owner", |bucket| bucket.ours = lost()),
            ("region", |bucket| bucket.region = lost()),
            ("encryption", |bucket| bucket.encryption = lost()),
            ("policy", |bucket| bucket.policy = lost()),
            ("block", |bucket| bucket.public_access_block = lost()),
            ("public policy", |bucket| bucket.policy_is_public = lost()),
            ("website", |bucket| bucket.website = lost()),
        ];
        for (what, strike) in strikes {
            let of = name.clone();
            let change = move |state: &mut AccountState| {
                strike(state.buckets.get_mut(&of).unwrap());
            };
            with(format!("{what} of {name}"), Box::new(change));
        }
    }
    with("account block".to_owned(), Box::new(|state| state.account_block = lost()));
    with("key".to_owned(), Box::new(|state| state.key = lost()));
    with("instance profile".to_owned(), Box::new(|state| state.instance_profile = lost()));
    with(
        "key policy".to_owned(),
        Box::new(|state| {
            if let Lookup::Found(key) = &mut state.key {
                key.policy = lost();
            }
        }),
    );
    with(
        "rotation".to_owned(),
        Box::new(|state| {
            if let Lookup::Found(key) = &mut state.key {
                key.rotation = lost();
            }
        }),
    );
    for name in state.roles.keys() {
        let name = name.clone();
        let what = format!("role {name}");
        with(what, Box::new(move |state| drop(state.roles.insert(name.clone(), lost()))));
    }
    for of in state.inline_policies.keys().cloned() {
        let what = format!("inline policy of {}", of.0.name());
        with(what, Box::new(move |state| drop(state.inline_policies.insert(of.clone(), lost()))));
    }
    for holder in state.lacks.keys() {
        let holder = holder.clone();
        let what = format!("what {} lacks", holder.name());
        with(what, Box::new(move |state| drop(state.lacks.insert(holder.clone(), lost()))));
    }
    for name in state.security_configurations.keys() {
        let name = name.clone();
        let what = format!("security configuration {name}");
        let change = move |state: &mut AccountState| {
            state.security_configurations.insert(name.clone(), lost());
        };
        with(what, Box::new(change));
    }
    with("certificates".to_owned(), Box::new(|state| state.certificates = Some(lost())));
    all
}

#[test]
fn a_block_that_the_account_may_have_is_not_made_for_a_bucket() {
    let (setup, mut account) = complete("emr-5.29.0", "eu-west-1");
    let all = PublicAccessBlockSettings {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
    account.block = all;
    let parts = [
        Lookup::Absent,
        Lookup::Found(PublicAccessBlockSettings { ignore_public_acls: false, ..all }),
    ];
    for part in parts {
        for bucket in account.buckets.values_mut() {
            bucket.public_access_block = part.clone();
        }
        let mut state = account.look(&setup.inputs().query());
        assert_eq!(setup.inputs().plan(&state).changes().count(), 0, "{part:?}");
        state.account_block = Lookup::Denied(error());
        let plan = setup.inputs().plan(&state);
        assert_eq!(plan.changes().count(), 0, "{part:?}");
        let unknown = plan.obstacles().filter(|step| step.piece.kind() == "public access block");
        assert_eq!(unknown.count(), account.buckets.len(), "{part:?}");
    }
}

#[test]
fn what_is_denied_is_unknown_and_nothing_is_made_of_it() {
    let mut shown = String::new();
    let (setup, whole) = complete("emr-5.29.0", "eu-west-1");
    let bare = Account::empty(&setup);
    for (account, what) in [(whole, "everything is there"), (bare, "nothing is there")] {
        let state = account.look(&setup.inputs().query());
        let plan = setup.inputs().plan(&state);
        let made: BTreeSet<String> = plan.changes().map(named).collect();
        for (fact, strike) in strikes(&state) {
            let mut state = state.clone();
            strike(&mut state);
            let plan = setup.inputs().plan(&state);
            assert_checks(&plan);
            // Nothing is made that would not be made if the fact was known.
            let now: BTreeSet<String> = plan.changes().map(named).collect();
            assert!(now.is_subset(&made), "{what}, {fact}: {:?}", now.difference(&made));
            let unknown: Vec<String> = plan.obstacles().map(named).collect();
            writeln!(shown, "{what}, denied {fact}: {}", unknown.join("; ")).unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

/// A change to a complete account, and what the plan says about it: the refused steps with reason.
fn refused(change: impl Fn(&mut Setup, &mut Account)) -> Vec<String> {
    let (mut setup, mut account) = complete("emr-5.29.0", "eu-west-1");
    change(&mut setup, &mut account);
    let plan = setup.plan(&account);
    assert_checks(&plan);
    let refused = plan.obstacles().map(|step| match &step.action {
        StepAction::Refuse { saw, fix } => format!("{}: {saw} | {fix}", named(step)),
        _ => named(step),
    });
    refused.collect()
}

#[test]
fn what_contradicts_or_would_be_weakened_is_refused() {
    let with_statement = |account: &mut Account, bucket: &str, statement: Value| {
        if let Lookup::Found(policy) = &mut bucket_of(account, bucket).policy {
            policy["Statement"].as_array_mut().unwrap().push(statement);
        }
    };
    let deny = |condition: Value| json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::acme-out/*", "Condition": condition});
    let mut shown: Vec<(&str, Vec<String>)> = Vec::new();
    shown.push((
        "a bucket policy that denies other keys",
        refused(|_, account| {
            let key = json!({"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:123456789012:key/theirs"}});
            with_statement(account, "acme-out", deny(key));
        }),
    ));
    shown.push((
        "a bucket policy that denies SSE-KMS",
        refused(|_, account| {
            let kind = json!({"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}});
            with_statement(account, "acme-out", deny(kind));
        }),
    ));
    shown.push((
        "a bucket policy that is not understood",
        refused(|_, account| {
            bucket_of(account, "acme-out").policy = Lookup::Found(json!({"Version": "2012-10-17"}));
        }),
    ));
    shown.push((
        "a bucket policy that has no room",
        refused(|_, account| {
            let long = json!({"Sid": "x".repeat(20_300), "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"});
            let policy = json!({"Version": "2012-10-17", "Statement": long});
            bucket_of(account, "acme-out").policy = Lookup::Found(policy);
        }),
    ));
    shown.push((
        "a public bucket",
        refused(|_, account| {
            let bucket = bucket_of(account, "acme-out");
            bucket.public_access_block = Lookup::Absent;
            bucket.policy_is_public = Lookup::Found(true);
        }),
    ));
    shown.push((
        "a website",
        refused(|_, account| {
            let bucket = bucket_of(account, "acme-out");
            bucket.public_access_block = Lookup::Absent;
            bucket.website = Lookup::Found(true);
        }),
    ));
    shown.push((
        "another's bucket",
        refused(|_, account| bucket_of(account, "acme-out").ours = Lookup::Found(false)),
    ));
    shown.push((
        "a bucket of another region",
        refused(|_, account| {
            bucket_of(account, "acme-out").region = Lookup::Found("us-east-1".to_owned());
        }),
    ));
    shown.push((
        "SSE-S3 by choice where SSE-KMS is",
        refused(|setup, _| setup.options.bucket_encryption = Some(EncryptionKind::SseS3)),
    ));
    shown.push((
        "a policy that accepts SSE-S3 only",
        refused(|setup, _| setup.policy.accept_encryption = vec![EncryptionKind::SseS3]),
    ));
    shown.push((
        "DSSE-KMS where the cluster writes",
        refused(|_, account| {
            if let Lookup::Found(settings) = &mut bucket_of(account, "acme-out").encryption {
                settings.kind = EncryptionKind::DsseKms;
            }
        }),
    ));
    let keys: [(&str, KeyChange); 5] = [
        ("a disabled key", |key| key.enabled = false),
        ("an asymmetric key", |key| key.symmetric = false),
        ("a key that AWS manages", |key| key.aws_managed = true),
        ("a key of another region", |key| {
            key.arn = KeyArn::new("arn:aws:kms:us-east-1:123456789012:key/x");
        }),
        ("a key of another account", |key| {
            key.arn = KeyArn::new("arn:aws:kms:eu-west-1:999999999999:key/x");
        }),
    ];
    for (what, change) in keys {
        let refused = refused(|_, account| change(account.keys.values_mut().next().unwrap()));
        shown.push((what, refused));
    }
    shown.push((
        "a key policy that denies the instances",
        refused(|_, account| {
            let key = account.keys.values_mut().next().unwrap();
            if let Lookup::Found(policy) = &mut key.policy {
                let deny = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:GenerateDataKey", "Resource": "*"});
                policy["Statement"].as_array_mut().unwrap().push(deny);
            }
        }),
    ));
    shown.push((
        "a key that does not exist",
        refused(|setup, _| setup.options.key = Some(KeyReference::new("alias/none"))),
    ));
    shown.push((
        "a role that does not trust EMR",
        refused(|_, account| {
            let role = account.roles.get_mut("EMR_DefaultRole").unwrap();
            role.trust = json!({"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}});
        }),
    ));
    shown.push((
        "a role of another account",
        refused(|setup, _| {
            let arn = "arn:aws:iam::999999999999:role/EMR_DefaultRole";
            setup.world.cluster.service_role.value = arn.to_owned();
        }),
    ));
    shown.push(("a policy of the role that denies what it also allows", {
        let (setup, account) = complete("emr-5.29.0", "eu-west-1");
        let mut state = account.look(&setup.inputs().query());
        let asked = setup.inputs().query().needs;
        let need = asked.iter().find(|need| need.holder.name() == "EMR_EC2_DefaultRole");
        let need = need.unwrap();
        let pairs: BTreeSet<_> = need
            .actions
            .iter()
            .flat_map(|action| {
                need.resources.iter().map(|resource| (action.clone(), resource.clone()))
            })
            .collect();
        state.lacks.insert(need.holder.clone(), Lookup::Found(pairs));
        let plan = setup.inputs().plan(&state);
        plan.obstacles().map(|step| format!("{} {:?}", named(step), step.action)).collect()
    }));
    shown.push((
        "certificates switched off",
        refused(|setup, account| {
            setup.options.without = [SetupPart::Certificates].into();
            account.configurations.clear();
        }),
    ));
    let gone = json!({"Sid": "Gone", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLEEXAMPLE00"}, "Action": "kms:Decrypt", "Resource": "*"});
    shown.push((
        "a key policy that names a role that is gone",
        refused(|_, account| {
            let key = account.keys.values_mut().next().unwrap();
            key.policy = Lookup::Found(json!({"Version": "2012-10-17", "Statement": [gone]}));
        }),
    ));
    shown.push((
        "a bucket policy that names a role that is gone",
        refused(|_, account| {
            let policy = json!({"Version": "2012-10-17", "Statement": [gone]});
            bucket_of(account, "acme-out").policy = Lookup::Found(policy);
        }),
    ));
    shown.push((
        "a security configuration with parts that setup does not make",
        refused(|setup, account| {
            let name = setup.configured.clone().unwrap();
            let content = account.configurations.get_mut(&name).unwrap();
            let encryption = &mut content["EncryptionConfiguration"];
            encryption["EnableInTransitEncryption"] = json!(false);
            encryption["AtRestEncryptionConfiguration"]["S3EncryptionConfiguration"] =
                json!({"EncryptionMode": "CSE-KMS", "AwsKmsKey": "k", "Overrides": [{"BucketName": "b"}]});
            content["AuthorizationConfiguration"] = json!({"EmrFsConfiguration": {}});
        }),
    ));
    shown.push((
        "a release without security configurations",
        refused(|setup, _| {
            setup.world.cluster.release.value = "emr-4.7.0".parse().unwrap();
            setup.configured = None;
        }),
    ));
    let mut text = String::new();
    for (what, refused) in shown {
        use std::fmt::Write as _;
        assert!(!refused.is_empty(), "{what}");
        writeln!(text, "{what}:").unwrap();
        for line in refused {
            writeln!(text, "  {line}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_weaker_than_the_policy_becomes_stronger_and_keeps_the_rest() {
    // Everything is there by hand: SSE-S3, a default key policy, no block of SSE-C, an old
    // security configuration without traffic encryption.
    let (mut setup, mut account) = complete("emr-5.36.0", "eu-west-1");
    setup.policy.accept_encryption = vec![EncryptionKind::SseKms];
    let theirs = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:role/reader"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-out/*"});
    for bucket in account.buckets.values_mut() {
        bucket.encryption = Lookup::Found(BucketEncryptionSettings {
            kind: EncryptionKind::SseS3,
            key: None,
            bucket_key: false,
            blocks_sse_c: false,
        });
        bucket.policy =
            Lookup::Found(json!({"Version": "2008-10-17", "Id": "x", "Statement": theirs}));
    }
    let old = account.configurations.values_mut().next().unwrap();
    old["EncryptionConfiguration"]["EnableInTransitEncryption"] = json!(false);
    let name = setup.configured.clone().unwrap();
    let old = account.configurations.remove(&name).unwrap();
    account.configurations.insert("by-hand".to_owned(), old.clone());
    setup.configured = Some("by-hand".to_owned());
    let plan = setup.apply(&mut account);
    assert_eq!(plan.obstacles().map(named).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(setup.configured, Some(name));
    assert_eq!(account.configurations["by-hand"], old);
    assert_eq!(setup.open(&account), [""; 0]);
    for bucket in account.buckets.values() {
        let policy = bucket.policy.found().unwrap();
        assert_eq!(policy["Statement"][0], theirs);
        assert_eq!((&policy["Version"], &policy["Id"]), (&json!("2008-10-17"), &json!("x")));
    }
    assert_eq!(not_kept(&setup.plan(&account)), [""; 0]);
}

#[test]
fn a_role_of_another_name_or_path_is_asked_for_again() {
    let (setup, mut account) = complete("emr-5.29.0", "eu-west-1");
    let role = account.roles["EMR_EC2_DefaultRole"].clone();
    account
        .roles
        .insert("Instances".to_owned(), RoleState { arn: account.role_arn("Instances"), ..role });
    account.profiles.insert("EMR_EC2_DefaultRole".to_owned(), Some("Instances".to_owned()));
    let query = setup.inputs().query();
    let again = setup.inputs().query_again(&account.look(&query)).unwrap();
    assert!(again.needs.iter().any(|need| need.holder.name() == "Instances"));
    let plan = setup.plan(&account);
    assert_eq!(
        not_kept(&plan),
        [
            "change key policy arn:aws:kms:eu-west-1:123456789012:key/0000-made",
            "create inline policy acme-emr-etl-guard of Instances",
            "change inline policy acme-emr-etl-guard of runner",
            "change bucket policy acme-certificates-123456789012-eu-west-1",
        ]
    );
    account.carry_out(&plan, &setup.key_arn());
    assert_eq!(setup.open(&account), [""; 0]);
    assert_eq!(not_kept(&setup.plan(&account)), [""; 0]);
}

#[test]
fn the_name_of_a_bucket_for_certificates_is_one_that_s3_takes() {
    for region in ["eu-west-1", "us-gov-west-1", "ap-southeast-2"] {
        for name in
            ["acme", "Acme_ETL", "a-very-long-name-of-a-pipeline-that-does-not-end", "--", "é"]
        {
            let mut setup = Setup::new("emr-5.29.0", region);
            setup.options.name = name.to_owned();
            let bucket = setup.inputs().certificate_bucket().unwrap().to_string();
            assert!((3..=63).contains(&bucket.len()), "{bucket}");
            assert!(
                bucket.chars().all(|letter| letter.is_ascii_lowercase()
                    || letter.is_ascii_digit()
                    || letter == '-'),
                "{bucket}"
            );
            assert!(bucket.starts_with(|letter: char| letter.is_ascii_alphanumeric()), "{bucket}");
            assert!(bucket.ends_with(&format!("-certificates-{ACCOUNT}-{region}")), "{bucket}");
        }
    }
}

#[test]
fn a_security_configuration_whose_name_another_content_has_gets_another_name() {
    let (mut setup, mut account) = complete("emr-5.29.0", "eu-west-1");
    let first = setup.configured.take().unwrap();
    for content in account.configurations.values_mut() {
        content["EncryptionConfiguration"]["EnableInTransitEncryption"] = json!(false);
    }
    let before = account.configurations.clone();
    let plan = setup.apply(&mut account);
    assert_eq!(not_kept(&plan).len(), 1);
    assert_ne!(setup.configured.as_ref(), Some(&first));
    assert_eq!(account.configurations[&first], before[&first]);
    assert_eq!(setup.open(&account), [""; 0]);
    setup.configured = None;
    assert_eq!(not_kept(&setup.plan(&account)), [""; 0]);
}

/// What others have put into the account.
fn add_foreign(account: &mut Account, which: usize) {
    let statement = json!({"Sid": format!("Theirs{which}"), "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:role/reader"}, "Action": ["s3:GetObject", "kms:Decrypt"], "Resource": "*"});
    let add = |policy: &mut Value, at_start: bool| {
        let statements = merge::statements(policy).unwrap();
        let mut statements: Vec<Value> = statements.into_iter().cloned().collect();
        statements.insert(if at_start { 0 } else { statements.len() }, statement.clone());
        policy["Statement"] = json!(statements);
    };
    match which {
        0 => {
            for bucket in account.buckets.values_mut() {
                match &mut bucket.policy {
                    Lookup::Found(policy) => add(policy, true),
                    other => *other = Lookup::Found(json!({"Statement": statement})),
                }
            }
        }
        1 => {
            for key in account.keys.values_mut() {
                if let Lookup::Found(policy) = &mut key.policy {
                    add(policy, false);
                }
            }
        }
        2 => {
            let mut theirs = statement.clone();
            theirs.as_object_mut().unwrap().remove("Principal");
            for policy in account.policies.values_mut() {
                policy["Statement"].as_array_mut().unwrap().insert(1, theirs.clone());
            }
        }
        3 => {
            for bucket in account.buckets.values_mut() {
                bucket.encryption = Lookup::Found(BucketEncryptionSettings {
                    kind: EncryptionKind::SseS3,
                    key: None,
                    bucket_key: false,
                    blocks_sse_c: true,
                });
            }
            account.configurations.clear();
        }
        _ => {
            account.block = PublicAccessBlockSettings {
                ignore_public_acls: true,
                ..PublicAccessBlockSettings::default()
            }
        }
    }
}

/// Whether a piece exists in the account, whoever made it.
fn exists(account: &Account, piece: &Piece) -> bool {
    let bucket = |name: &BucketName| account.buckets.get(name);
    match piece {
        Piece::Role(role) => account.roles.contains_key(&role.name),
        Piece::InstanceProfile(profile) => account.profiles.contains_key(&profile.name),
        Piece::Key(key) => account.aliases.contains_key(&key.alias),
        Piece::KeyPolicy(_) | Piece::KeyRotation(_) => true,
        Piece::InlinePolicy(policy) => {
            account.policies.contains_key(&(policy.holder.clone(), policy.name.clone()))
        }
        Piece::Bucket(made) => bucket(&made.bucket).is_some(),
        Piece::BucketEncryption(made) => {
            bucket(&made.bucket).is_some_and(|bucket| bucket.encryption != Lookup::Absent)
        }
        Piece::PublicAccessBlock(made) => {
            bucket(&made.bucket).is_some_and(|bucket| bucket.public_access_block != Lookup::Absent)
        }
        Piece::BucketPolicy(made) => {
            bucket(&made.bucket).is_some_and(|bucket| bucket.policy != Lookup::Absent)
        }
        Piece::Certificates(archive) => {
            let uri = format!("s3://{}/{}", archive.object.bucket, archive.object.key);
            account.objects.contains(&uri)
        }
        Piece::SecurityConfiguration(made) => account.configurations.contains_key(&made.name),
        Piece::BucketVersioning(of) => {
            account.locks.get(&of.bucket).is_some_and(|lock| lock.versioning != Lookup::Absent)
        }
        Piece::ObjectLock(of) => account
            .locks
            .get(&of.bucket)
            .is_some_and(|lock| matches!(lock.lock, Lookup::Found(Some(_)))),
        // They have tests of their own.
        Piece::AlertTopic(_) | Piece::EventQueue(_) | Piece::EventRule(_) | Piece::Alarm(_) => {
            false
        }
    }
}

/// Checks that a change keeps what others have made, and weakens nothing.
fn assert_keeps(piece: &Piece, before: &Value) {
    let documents = |after: &Value| {
        let foreign = |document: &Value| {
            let statements = merge::statements(document).unwrap();
            let theirs = statements.into_iter().filter(|statement| !is_ours(statement));
            theirs.cloned().collect::<Vec<_>>()
        };
        assert_eq!(foreign(after), foreign(before));
        for (key, value) in before.as_object().unwrap() {
            assert!(key == "Statement" || after[key] == *value, "{key}");
        }
    };
    match piece {
        Piece::KeyPolicy(policy) => documents(&policy.policy),
        Piece::InlinePolicy(policy) => documents(&policy.policy),
        Piece::BucketPolicy(policy) => documents(&policy.policy),
        Piece::BucketEncryption(encryption) => {
            let before: BucketEncryptionSettings = serde_json::from_value(before.clone()).unwrap();
            let after = &encryption.settings;
            let rank = |kind| match kind {
                EncryptionKind::SseS3 => 0,
                EncryptionKind::SseKms => 1,
                EncryptionKind::DsseKms => 2,
            };
            assert!(rank(after.kind) >= rank(before.kind), "{before:?} {after:?}");
            assert!(after.blocks_sse_c || !before.blocks_sse_c);
            assert!(after.key.is_some() || before.key.is_none());
        }
        Piece::PublicAccessBlock(block) => {
            assert_ne!(json!(block.settings), *before);
            assert!(block.settings.block_public_acls && block.settings.restrict_public_buckets);
        }
        Piece::KeyRotation(_) => assert_eq!(*before, json!(false)),
        Piece::InstanceProfile(_) => assert_eq!(*before, Value::Null),
        other => panic!("a {} is never changed", other.kind()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_an_account_holds_nothing_is_replaced_weakened_or_made_twice(
        release in prop::sample::select(RELEASES.to_vec()),
        losses in prop::sample::subsequence((0..LOSSES.len()).collect::<Vec<_>>(), 0..=6),
        foreign in prop::sample::subsequence(vec![0, 1, 2, 3, 4], 0..=5),
        denied in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        kinds in prop::sample::subsequence(
            vec![EncryptionKind::SseS3, EncryptionKind::SseKms, EncryptionKind::DsseKms],
            1..=3,
        ),
        chosen in prop::option::of(prop::sample::select(vec![
            EncryptionKind::SseS3, EncryptionKind::SseKms, EncryptionKind::DsseKms,
        ])),
        configured in any::<bool>(),
    ) {
        let (mut setup, mut account) = complete(release, "eu-west-1");
        // A bucket that is lost has nothing else that could be lost.
        let (lost_bucket, others): (Vec<usize>, Vec<usize>) =
            losses.into_iter().partition(|loss| LOSSES[*loss].0 == "bucket");
        for which in foreign {
            add_foreign(&mut account, which);
        }
        for loss in others.into_iter().chain(lost_bucket) {
            let of_certificates = LOSSES[loss].0 == "the statement on certificates";
            if !(of_certificates && release == "emr-7.11.0") {
                LOSSES[loss].1(&mut account);
            }
        }
        setup.policy.accept_encryption = kinds;
        setup.options.bucket_encryption = chosen;
        if !configured {
            setup.configured = None;
        }
        let inputs = setup.inputs();
        let query = inputs.query();
        let state = account.look(&query);
        let query = inputs.query_again(&state).unwrap_or(query);
        let mut state = account.look(&query);
        let known = state.clone();
        let strikes = strikes(&state);
        for index in &denied {
            strikes[index.index(strikes.len())].1(&mut state);
        }
        let plan = inputs.plan(&state);
        assert_checks(&plan);
        for step in plan.changes() {
            match &step.action {
                StepAction::Create => prop_assert!(!exists(&account, &step.piece), "{}", named(step)),
                StepAction::Change { before } => assert_keeps(&step.piece, before),
                _ => unreachable!(),
            }
        }
        // A denied fact makes a plan smaller, never larger.
        let whole: BTreeSet<String> = inputs.plan(&known).changes().map(named).collect();
        for step in plan.changes() {
            prop_assert!(whole.contains(&named(step)), "{}", named(step));
        }
        // What was carried out is not asked for again.
        account.carry_out(&plan, &setup.key_arn());
        let again = setup.plan(&account);
        let done: BTreeSet<String> = plan.changes().map(named).collect();
        for step in again.changes() {
            prop_assert!(!done.contains(&named(step)), "{}", named(step));
        }
        if plan.obstacles().next().is_none() {
            let name = plan.security_configuration.clone();
            setup.configured = name.or(setup.configured);
            prop_assert_eq!(setup.open(&account), [""; 0]);
        }
    }
}

const EVIDENCE: &str = "acme-evidence-123456789012-eu-west-1";

/// A setup with one part for the guard, in an account that has everything else, and the guard's
/// role.
fn with(extra: SetupExtra) -> (Setup, Account) {
    let (mut setup, mut account) = complete("emr-7.11.0", "eu-west-1");
    setup.options.with.insert(extra);
    let guard = RoleState {
        arn: account.role_arn("guard"),
        trust: json!({}),
        attached: Lookup::Found(BTreeSet::new()),
    };
    account.roles.insert("guard".to_owned(), guard);
    (setup, account)
}

#[test]
fn a_bucket_for_evidence_is_made_with_object_lock_and_a_key_that_the_guard_may_write_under() {
    let (mut setup, mut account) = with(SetupExtra::EvidenceBucket);
    let plan = setup.plan(&account);
    let key = setup.key_arn();
    assert_eq!(
        not_kept(&plan),
        [
            format!("change key policy {key}"),
            format!("create bucket {EVIDENCE}"),
            format!("create default encryption {EVIDENCE}"),
            format!("create public access block {EVIDENCE}"),
            format!("create bucket policy {EVIDENCE}"),
            format!("create versioning {EVIDENCE}"),
            format!("create default retention {EVIDENCE}"),
        ]
    );
    insta::assert_snapshot!(
        "bucket for evidence",
        text(&SetupPlan {
            steps: plan
                .changes()
                .filter(|step| step.piece.subject() == EVIDENCE)
                .cloned()
                .collect(),
            ..plan.clone()
        })
    );
    let policy = plan.steps.iter().find_map(|step| match &step.piece {
        Piece::KeyPolicy(of) => Some(of.policy.to_string()),
        _ => None,
    });
    assert!(policy.unwrap().contains("EmrEtlGuardGuardWrites"));
    setup.apply(&mut account);
    assert_eq!(setup.open(&account), [""; 0]);
    assert_eq!(not_kept(&setup.plan(&account)), [""; 0]);
    // Whatever else is set up without it stays.
    setup.options.with.clear();
    assert_eq!(not_kept(&setup.plan(&account)), [""; 0]);
    // From nothing, too.
    let mut fresh = Setup::new("emr-5.29.0", "us-gov-west-1");
    fresh.options.with.insert(SetupExtra::EvidenceBucket);
    let mut account = Account::empty(&fresh);
    fresh.apply(&mut account);
    assert_eq!(not_kept(&fresh.plan(&account)), [""; 0]);
    assert_eq!(fresh.open(&account), [""; 0]);
}

#[test]
fn a_retention_is_never_shortened_nor_its_mode_weakened() {
    let (mut setup, mut made) = with(SetupExtra::EvidenceBucket);
    setup.apply(&mut made);
    let (governance, compliance) = (RetentionMode::Governance, RetentionMode::Compliance);
    let (days, years) = (RetentionPeriod::Days, RetentionPeriod::Years);
    let found = |mode, period| Lookup::Found(Some(DefaultRetention { mode, period }));
    let on = || Lookup::Found(VERSIONING_ON.to_owned());
    let denied = || Lookup::<String>::Denied(error());
    let retention = format!("default retention {EVIDENCE}");
    let versioning = format!("versioning {EVIDENCE}");
    let cases = [
        // As it is wanted, or stronger.
        (on(), found(governance, days(365)), vec![]),
        (on(), found(governance, years(1)), vec![]),
        (on(), found(governance, years(7)), vec![]),
        (on(), found(compliance, days(365)), vec![]),
        // Weaker, in one respect or the other.
        (on(), found(governance, days(364)), vec![format!("change {retention} GOVERNANCE 365")]),
        (on(), found(compliance, days(30)), vec![format!("change {retention} COMPLIANCE 365")]),
        // Without a retention, or without Object Lock.
        (on(), Lookup::Found(None), vec![format!("create {retention} GOVERNANCE 365")]),
        (
            Lookup::Absent,
            Lookup::Absent,
            vec![format!("create {versioning}"), format!("create {retention} GOVERNANCE 365")],
        ),
        (
            Lookup::Found("Suspended".to_owned()),
            Lookup::Absent,
            vec![format!("change {versioning}"), format!("create {retention} GOVERNANCE 365")],
        ),
        // Not readable.
        (
            denied(),
            Lookup::Unreachable(error()),
            vec![format!("unknown {versioning}"), format!("unknown {retention} GOVERNANCE 365")],
        ),
    ];
    for (versioning, lock, expected) in cases {
        let mut account = made.clone();
        let state = LockState { versioning, lock };
        account.locks.insert(EVIDENCE.parse().unwrap(), state.clone());
        let plan = setup.plan(&account);
        let steps = plan.steps.iter().filter(|step| step.action != StepAction::Keep);
        let said: Vec<String> = steps
            .map(|step| match &step.piece {
                Piece::ObjectLock(BucketObjectLock { retention, .. }) => {
                    let days = retention.period.days();
                    format!("{} {} {days}", named(step), retention.mode.as_str())
                }
                _ => named(step),
            })
            .collect();
        assert_eq!(said, expected, "{state:?}");
        if plan.obstacles().next().is_none() {
            setup.apply(&mut account);
            assert_eq!(not_kept(&setup.plan(&account)), [""; 0], "{state:?}");
        }
    }
}

#[test]
fn the_settings_say_how_long_reports_are_kept() {
    let (mut setup, account) = with(SetupExtra::EvidenceBucket);
    for (given, expected) in [(None, 365), (Some(90), 90), (Some(0), 1), (Some(u32::MAX), 36_500)] {
        setup.evidence.retention.days = given;
        let plan = setup.plan(&account);
        let days = plan.steps.iter().find_map(|step| match &step.piece {
            Piece::ObjectLock(of) => Some(of.retention.period.days()),
            _ => None,
        });
        assert_eq!(days, Some(expected));
    }
}

#[test]
fn a_bucket_for_evidence_of_somebody_else_is_refused_and_nothing_of_it_planned() {
    let (setup, mut account) = with(SetupExtra::EvidenceBucket);
    let foreign = BucketState { ours: Lookup::Found(false), ..no_bucket() };
    account.buckets.insert(EVIDENCE.parse().unwrap(), foreign);
    let plan = setup.plan(&account);
    let of_bucket = plan.steps.iter().filter(|step| step.piece.subject() == EVIDENCE);
    assert_eq!(of_bucket.map(named).collect::<Vec<_>>(), [format!("refuse bucket {EVIDENCE}")]);
}

/// The actions of the guard's policy, each with its resource.
fn allowed(policy: &Value) -> BTreeSet<(String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let statements = policy["Statement"].as_array().unwrap().iter();
    let pairs = statements.flat_map(|statement| {
        let resources = texts(&statement["Resource"]);
        texts(&statement["Action"]).into_iter().flat_map(move |action| {
            let resources = resources.clone();
            resources.into_iter().map(move |resource| (action.clone(), resource))
        })
    });
    pairs.collect()
}

#[test]
fn the_guards_role_gets_what_explain_prints_as_far_as_it_lacks_it() {
    let (mut setup, mut account) = with(SetupExtra::GuardPolicy);
    let made = |plan: &SetupPlan| {
        let policies: Vec<&Step> =
            plan.steps.iter().filter(|step| step.checks.contains(&"--with guard-policy")).collect();
        assert_eq!(policies.len(), 1, "{policies:?}");
        let Piece::InlinePolicy(of) = &policies[0].piece else { panic!("{policies:?}") };
        assert_eq!(of.holder, PolicyHolder::Role("guard".to_owned()));
        (named(policies[0]), of.policy.clone())
    };
    let inputs = setup.inputs();
    let printed = policy::policy(
        Some(LaunchScope { cluster: inputs.cluster, locations: &inputs.paths.locations }),
        Some(inputs.permissions),
    );
    let (step, policy) = made(&setup.plan(&account));
    assert_eq!(step, "create inline policy acme-emr-etl-guard-checks of guard");
    assert_eq!(allowed(&policy), allowed(&printed));
    let condition = |policy: &Value| {
        let statements = policy["Statement"].as_array().unwrap().clone();
        statements.into_iter().find_map(|it| it.get("Condition").cloned())
    };
    assert!(condition(&policy).is_some());
    assert_eq!(condition(&policy), condition(&printed));
    setup.apply(&mut account);
    let plan = setup.plan(&account);
    assert_eq!(not_kept(&plan), [""; 0]);
    assert_eq!(made(&plan).0, "keep inline policy acme-emr-etl-guard-checks of guard");

    // With what another policy allows already, only the rest.
    let key = (PolicyHolder::Role("guard".to_owned()), "acme-emr-etl-guard-checks".to_owned());
    account.policies.remove(&key);
    let wide = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "All", "Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"},
    ]});
    account.policies.insert((key.0.clone(), "mine".to_owned()), wide);
    let (_, rest) = made(&setup.plan(&account));
    let of_other =
        |(action, _): &(String, String)| !action.starts_with("s3:") && !action.starts_with("kms:");
    let expected: BTreeSet<_> = allowed(&printed).into_iter().filter(of_other).collect();
    assert!(!expected.is_empty());
    assert_eq!(allowed(&rest), expected);

    // With what it needs for the bucket for evidence.
    setup.options.with.insert(SetupExtra::EvidenceBucket);
    let (_, more) = made(&setup.plan(&Account { policies: BTreeMap::new(), ..account.clone() }));
    let put = ("s3:PutObject".to_owned(), format!("arn:aws:s3:::{EVIDENCE}/*"));
    assert!(allowed(&more).contains(&put));

    // With everything, no policy is made.
    let everything = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "All", "Effect": "Allow", "Action": ["*"], "Resource": "*"},
    ]});
    account.policies.insert((key.0.clone(), "mine".to_owned()), everything);
    setup.options.with = BTreeSet::from([SetupExtra::GuardPolicy]);
    let plan = setup.plan(&account);
    assert_eq!(not_kept(&plan), [""; 0]);
    let said = |plan: &SetupPlan, text: &str| {
        plan.advice.iter().any(|advice| advice.saw.as_str().contains(text))
    };
    assert!(said(&plan, "may do already what the guard needs"), "{:?}", plan.advice);
}

#[test]
fn a_guard_without_a_role_or_user_gets_advice_and_a_user_a_managed_policy() {
    let (mut setup, mut account) = with(SetupExtra::GuardPolicy);
    for (guard, expected) in [
        (None, "are those of no role or user"),
        (Some("arn:aws:iam::210987654321:role/guard"), "which is no role or user of this account"),
        (Some("arn:aws:sts::123456789012:federated-user/me"), "which is no role or user of this"),
    ] {
        setup.guard = guard.map(str::to_owned);
        let plan = setup.plan(&account);
        let policies = plan.steps.iter().filter(|it| it.checks.contains(&"--with guard-policy"));
        assert_eq!(policies.count(), 0);
        let said: Vec<&str> = plan.advice.iter().map(|advice| advice.saw.as_str()).collect();
        assert!(said.iter().any(|saw| saw.contains(expected)), "{said:?}");
    }
    account.users.insert("guard".to_owned());
    setup.guard = Some("arn:aws:iam::123456789012:user/guard".to_owned());
    let plan = setup.plan(&account);
    let refused: Vec<String> = plan
        .obstacles()
        .map(|step| match &step.action {
            StepAction::Refuse { saw, fix } => format!("{saw}\n{fix}"),
            other => panic!("{other:?}"),
        })
        .collect();
    insta::assert_snapshot!("policy of a guard that is a user", refused.join("\n"));
    // What it lacks is not known where the simulation is denied.
    let inputs = setup.inputs();
    let mut state = account.look(&inputs.query());
    let holder = PolicyHolder::User("guard".to_owned());
    state.lacks.insert(holder, Lookup::Denied(error()));
    let unknown = inputs.plan(&state);
    let unknown: Vec<String> = unknown.obstacles().map(named).collect();
    assert_eq!(unknown, ["unknown inline policy acme-emr-etl-guard-checks of guard"]);
}
