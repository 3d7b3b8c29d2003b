//! Collects all facts that the verdict needs, concurrently. A call waits only for the results that
//! it depends on.
//!
//! The longest chain has three calls: the security configuration, the keys that it names, and the
//! roles' rights on these keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, join_all},
};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    aws::{clients::Aws, endpoint::EndpointOverride, patience::Patience, trust::AwsConnections},
    base::{
        access::AccessCause,
        aws_calls::{self, Call},
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{AccountId, BucketName, ClusterId, KeyReference, S3Location, S3Object},
    },
    facts::{
        certificate,
        certificate::Archive,
        certificate_archive::Material,
        ec2::{self, NetworkFacts},
        emr::{self, Persistent, SecurityConfiguration},
        guard_rights::{self, GuardRights, GuardRightsQuery, Principal, TagRight},
        iam::{self, RoleFacts},
        kms::{self, KeyFacts, KeyUse, KeyUserSimulation, KmsKey, RoleKind, ViaService},
        node_objects::{self, NodeObject},
        objects::{self, LocationSurvey},
        s3::{self, BucketFacts, DefaultEncryption},
        simulation::{self, SimulationQuery, Simulations},
        sts::{self, CallerIdentity},
    },
    spec::observations::{LauncherRoute, RunnerVersion, Variable},
};

/// The subjects of the calls.
#[derive(Debug)]
pub struct FactsQuery {
    /// The buckets of the config that are judged.
    pub buckets: BTreeSet<BucketName>,
    /// The locations from which the run reads data, by the config's key, in buckets of its own.
    pub data: Vec<(String, S3Location)>,
    /// The maximum number of objects that are read in each of these.
    pub data_objects: usize,
    /// The security configuration that will be sealed; `None` if neither config nor settings name
    /// one.
    pub security_configuration: Option<String>,
    /// `aws.emr.region`.
    pub region: String,
    /// `aws.emr.jobflow_role`.
    pub instance_profile: String,
    /// `aws.emr.service_role`.
    pub service_role: String,
    /// `aws.emr.ec2_subnet_id`.
    pub subnet: Option<String>,
    /// The keys that the policy requires.
    pub expected_keys: Vec<KeyReference>,
    /// The name of the cluster to reuse, in persistent mode.
    pub adopt: Option<String>,
    /// Whether to list the clusters of the last hour.
    pub earlier_clusters: bool,
    /// The query for the guard's own rights; none if nothing will be launched.
    pub guard_rights: Option<GuardRightsQuery>,
    /// The time limit of all AWS calls together. Throttled calls are retried until then.
    pub time_limit: Duration,
    /// Variables of the environment that can load code into the launcher.
    pub environment: Vec<Variable>,
    /// Routes by which the launcher reaches AWS differently from the guard.
    pub launcher_routes: Vec<LauncherRoute>,
}

/// The answers of AWS and the runner before the launch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Facts {
    /// Endpoint overrides in force.
    pub endpoints: Vec<EndpointOverride>,
    /// The identity of the guard's credentials.
    pub guard: Lookup<CallerIdentity>,
    /// The identity of the runner's credentials: its account is the one where the cluster will be
    /// launched.
    pub runner: Lookup<CallerIdentity>,
    /// Variables of the environment that can load code into the runner.
    pub environment: Vec<Variable>,
    /// Routes by which the runner reaches AWS differently from the guard.
    pub launcher_routes: Vec<LauncherRoute>,
    /// The certificate authorities and proxies of these calls. The report has those at its end.
    #[serde(skip)]
    pub connections: AwsConnections,
    // Set by the caller, who knows how to ask the launcher for its version.
    /// The runner's version; none if there is no runner, as for a `check` on another machine.
    pub runner_version: Option<Lookup<RunnerVersion>>,
    /// Each bucket.
    pub buckets: BTreeMap<BucketName, BucketFacts>,
    /// The objects in the locations from which the run reads data, by the config's key.
    pub data: BTreeMap<String, Lookup<LocationSurvey>>,
    /// The security configuration, if one is named.
    pub security_configuration: Option<Lookup<SecurityConfiguration>>,
    /// The keys that the policy requires, in the form in which they were looked up.
    #[serde(skip)]
    pub expected_keys: Vec<KeyReference>,
    /// When the facts were collected, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub asked_at: OffsetDateTime,
    /// The PEM certificates that the security configuration names, or what is wrong with their
    /// archive.
    pub certificates: Option<Lookup<Result<Material, String>>>,
    /// The KMS key under which S3 has encrypted the archive; none if it is under no KMS key, or is
    /// unknown.
    #[serde(skip)]
    pub certificates_key: Option<KeyReference>,
    /// Each key that the security configuration or a bucket's default names.
    pub keys: BTreeMap<KeyReference, KeyFacts>,
    /// The role behind the instance profile.
    pub role: Lookup<RoleFacts>,
    /// The role of the EMR service.
    pub service_role: Lookup<RoleFacts>,
    /// The objects that every node fetches, as the security configuration names them.
    pub node_objects: BTreeMap<String, NodeObject>,
    /// Whether the account encrypts new EBS volumes by default.
    pub ebs_by_default: Lookup<bool>,
    /// The network of the subnet, if one is set.
    pub network: Option<NetworkFacts>,
    /// Live clusters with the name to reuse, in persistent mode.
    pub adoptable: Option<Lookup<Persistent>>,
    /// The clusters of the last hour that existed before the launch, if they were asked for.
    #[serde(skip)]
    pub earlier_clusters: Lookup<BTreeSet<ClusterId>>,
    /// The guard's own rights on clusters, if something will be launched. Not recorded: the
    /// findings about them are.
    #[serde(skip)]
    pub guard_rights: Option<GuardRights>,
}

/// Makes all calls for `question` within its time limit. A fact without an answer by then is
/// `Unreachable`.
///
/// If an endpoint is refused, no call is made at all: answers from there would prove nothing.
///
/// # Panics
/// When a look-up does.
pub async fn gather(aws: &Aws, question: FactsQuery) -> Facts {
    if aws.refused_endpoints().next().is_some() {
        return nothing_asked(aws, &question, ENDPOINT_REFUSED);
    }
    // As a task it runs on the thread that also drives the connections. In a set of one it is
    // cancelled when the caller is dropped.
    let mut task = JoinSet::new();
    let aws = aws.clone();
    task.spawn(async move { Box::pin(look(&aws, &question)).await });
    match task.join_next().await {
        Some(Ok(facts)) => facts,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and the caller with it.
        Some(Err(_)) | None => std::future::pending().await,
    }
}

/// Asks only who is asking: the identities of guard and runner, and with them whose servers answer.
/// Every other fact is not asked for.
pub(crate) async fn identities(aws: &Aws, question: &FactsQuery) -> Facts {
    if aws.refused_endpoints().next().is_some() {
        return nothing_asked(aws, question, ENDPOINT_REFUSED);
    }
    let time = TimeForAll::starting_now(question.time_limit);
    let patient = aws.patient(&time.patience);
    let gathering = Gathering::start(&patient, aws, question, time);
    let (guard, runner) = gathering.identities.clone().await;
    let connections = aws.connections();
    Facts { guard, runner, connections, ..nothing_asked(aws, question, "not asked for") }
}

async fn look(aws: &Aws, question: &FactsQuery) -> Facts {
    let time = TimeForAll::starting_now(question.time_limit);
    let patient = aws.patient(&time.patience);
    let gathering = Gathering::start(&patient, aws, question, time);
    let aws = &patient;
    let refused = async {
        let (guard, runner) = gathering.identities.clone().await;
        match total_cause(&guard) {
            Some(error) => (error.message.clone(), guard, runner),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        facts = Box::pin(everything(&gathering, aws, question)) => match total_cause(&facts.guard) {
            // The error arrived together with the last answers.
            Some(error) => {
                let nothing = nothing_asked(aws, question, &error.message);
                let Facts { guard, runner, connections, .. } = facts;
                Facts { guard, runner, connections, ..nothing }
            }
            None => facts,
        },
        // Every identity may call STS. If that is not possible, no other call is.
        (why, guard, runner) = refused => {
            let connections = aws.connections();
            Facts { guard, runner, connections, ..nothing_asked(aws, question, &why) }
        }
    }
}

/// The error because of which no call is possible with the guard's credentials, if there is one.
fn total_cause(guard: &Lookup<CallerIdentity>) -> Option<&LookupError> {
    let (Lookup::Denied(error) | Lookup::Unreachable(error)) = guard else { return None };
    error.cause.as_ref().is_some_and(AccessCause::blocks_everything).then_some(error)
}

async fn everything(gathering: &Gathering<'_>, aws: &Aws, question: &FactsQuery) -> Facts {
    let (
        (guard, runner),
        security_configuration,
        (role, service_role),
        buckets,
        data,
        keys,
        certificates,
        node_objects,
        ebs_by_default,
        network,
        adoptable,
        earlier_clusters,
        guard_rights,
    ) = tokio::join!(
        gathering.identities.clone(),
        gathering.configuration.clone(),
        gathering.roles.clone(),
        gathering.buckets(),
        gathering.data(),
        gathering.keys(),
        gathering.certificates.clone(),
        gathering.node_objects(),
        gathering
            .within(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, ec2::encrypts_by_default(&aws.ec2)),
        gathering.network(),
        gathering.adoptable(),
        gathering.earlier.clone(),
        gathering.guard_rights(),
    );
    let (certificates, certificates_key) = match certificates {
        Some(archive) => (
            Some(archive.clone().map(|(material, _)| material)),
            key_of(Some(&archive), &question.region),
        ),
        None => (None, None),
    };
    Facts {
        endpoints: aws.endpoints.clone(),
        guard,
        runner,
        environment: question.environment.clone(),
        launcher_routes: question
            .launcher_routes
            .iter()
            .cloned()
            .chain(aws.private_authorities())
            .collect(),
        connections: aws.connections(),
        runner_version: None,
        buckets,
        data,
        security_configuration,
        asked_at: OffsetDateTime::now_utc(),
        certificates,
        certificates_key,
        expected_keys: question.expected_keys.clone(),
        keys,
        role,
        service_role,
        node_objects,
        ebs_by_default,
        network,
        adoptable,
        earlier_clusters,
        guard_rights,
    }
}

/// A look-up that others wait for; its call is made once.
type SharedLookup<'a, T> = Shared<BoxFuture<'a, T>>;

/// All pending look-ups. Those that others wait for are fields; the rest is in its methods.
struct Gathering<'a> {
    aws: &'a Aws,
    /// The clients that do not wait while AWS throttles: for the objects that the run reads, which
    /// may be many, and for facts on which nothing depends.
    plain: &'a Aws,
    question: &'a FactsQuery,
    time: TimeForAll,
    /// The identities of guard and runner.
    identities: SharedLookup<'a, (Lookup<CallerIdentity>, Lookup<CallerIdentity>)>,
    configuration: SharedLookup<'a, Option<Lookup<SecurityConfiguration>>>,
    /// The role behind the instance profile, and the role of EMR.
    roles: SharedLookup<'a, (Lookup<RoleFacts>, Lookup<RoleFacts>)>,
    /// The clusters of the last hour.
    earlier: SharedLookup<'a, Lookup<BTreeSet<ClusterId>>>,
    /// The public access block of the launching account, for buckets whose own block is incomplete.
    account_block: SharedLookup<'a, Lookup<s3::Block>>,
    /// The certificate archive, if one is named. The look-up of its key waits for it.
    certificates: SharedLookup<'a, Option<Lookup<Archive>>>,
    /// Each bucket's default encryption. The look-ups of keys wait for it.
    defaults: BTreeMap<&'a BucketName, SharedLookup<'a, Lookup<DefaultEncryption>>>,
}

/// The time limit of all look-ups together.
#[derive(Clone)]
struct TimeForAll {
    started: Instant,
    deadline: Instant,
    patience: Patience,
}

/// The message for an answer that came too late.
const TOO_LATE: &str =
    "no answer within the time limit for the whole look (setting `pre_flight_timeout`)";

impl TimeForAll {
    fn starting_now(limit: Duration) -> Self {
        let started = Instant::now();
        let deadline = started + limit;
        Self { started, deadline, patience: Patience::until(deadline.into_std()) }
    }

    /// The answer to `call`, if it comes in time. If AWS throttled the call until the time was
    /// over, the error says so.
    async fn within<T>(
        &self,
        call: &'static Call,
        answer: impl Future<Output = Lookup<T>>,
    ) -> Lookup<T> {
        let answered = timeout_at(self.deadline, answer).await;
        match (answered, self.patience.throttled(call.operation)) {
            (Err(_), None) => Lookup::not_asked(call, TOO_LATE),
            (Err(_), Some(throttled)) => self.throttled(call, throttled.answers),
            (Ok(Lookup::Unreachable(error)), Some(throttled))
                if error.kind == LookupErrorKind::Throttled
                    && error.operation == call.permission =>
            {
                self.throttled(call, throttled.answers)
            }
            (Ok(answer), _) => answer,
        }
    }

    fn throttled<T>(&self, call: &Call, answers: u32) -> Lookup<T> {
        let limit = humantime::format_duration(self.deadline - self.started);
        let times = if answers == 1 { "once".to_owned() } else { format!("{answers} times") };
        Lookup::Unreachable(LookupError::new(
            call.permission,
            LookupErrorKind::Throttled,
            format!(
                "AWS throttled it {times}, until the {limit} for all that is asked before a \
                 launch were over (setting `pre_flight_timeout`)"
            ),
        ))
    }
}

impl<'a> Gathering<'a> {
    fn start(aws: &'a Aws, plain: &'a Aws, question: &'a FactsQuery, time: TimeForAll) -> Self {
        let of_identities = time.clone();
        let identities = async move {
            let call = &aws_calls::GET_CALLER_IDENTITY;
            tokio::join!(
                of_identities.within(call, sts::identity(&aws.sts)),
                of_identities.within(call, sts::identity(&aws.runner_sts))
            )
        };
        let identities = identities.boxed().shared();
        let runner = identities.clone().map(|(_, runner)| runner);
        let of_block = time.clone();
        let account_block = async move {
            let call = &aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK;
            of_block.within(call, account_block(aws, runner)).await
        };
        let of_configuration = time.clone();
        let configuration = async move {
            let name = question.security_configuration.as_deref()?;
            let call = &aws_calls::DESCRIBE_SECURITY_CONFIGURATION;
            let answer = emr::security_configuration(&aws.emr, name);
            Some(of_configuration.within(call, answer).await)
        };
        let configuration = configuration.boxed().shared();
        let of_archive = time.clone();
        let of_tls = configuration.clone();
        let certificates = async move {
            let content = of_tls.await?.found().map(|found| found.content.clone())?;
            let tls = content.tls.filter(|tls| tls.provider == "PEM")?;
            let object = S3Object::parse(tls.s3_object.as_deref()?)?;
            let fetched = certificate::certificates(&aws.s3, &object).boxed();
            Some(of_archive.within(&aws_calls::GET_OBJECT, fetched).await)
        };
        let of_roles = time.clone();
        let roles = async move {
            let profile = iam::instance_role(&aws.iam, &question.instance_profile);
            let service = iam::role(&aws.iam, &question.service_role);
            tokio::join!(
                of_roles.within(&aws_calls::GET_INSTANCE_PROFILE, profile),
                of_roles.within(&aws_calls::GET_ROLE, service)
            )
        };
        let of_earlier = time.clone();
        let earlier = async move {
            let call = &aws_calls::LIST_CLUSTERS;
            if question.earlier_clusters {
                of_earlier.within(call, emr::recent(aws)).await
            } else {
                Lookup::not_asked(call, "no launch is judged")
            }
        };
        let default = |bucket| {
            let time = time.clone();
            async move {
                let call = &aws_calls::GET_BUCKET_ENCRYPTION;
                time.within(call, s3::default_encryption(&aws.s3, bucket)).await
            }
            .boxed()
            .shared()
        };
        Self {
            aws,
            plain,
            question,
            identities,
            account_block: account_block.boxed().shared(),
            configuration,
            certificates: certificates.boxed().shared(),
            roles: roles.boxed().shared(),
            earlier: earlier.boxed().shared(),
            defaults: question.buckets.iter().map(|bucket| (bucket, default(bucket))).collect(),
            time,
        }
    }

    async fn within<T>(
        &self,
        call: &'static Call,
        answer: impl Future<Output = Lookup<T>>,
    ) -> Lookup<T> {
        self.time.within(call, answer).await
    }

    /// The facts of several look-ups, or the result of `not_asked` if they come too late.
    async fn all_within<T>(&self, facts: BoxFuture<'_, T>, not_asked: fn(&str) -> T) -> T {
        timeout_at(self.time.deadline, facts).await.unwrap_or_else(|_| not_asked(TOO_LATE))
    }

    /// The content of the security configuration, when it is known.
    async fn content(&self) -> Option<emr::Content> {
        self.configuration.clone().await?.found().map(|found| found.content.clone())
    }

    async fn buckets(&self) -> BTreeMap<BucketName, BucketFacts> {
        let facts = self.defaults.iter().map(async |(bucket, default)| {
            // Looking up a bucket's owner needs the account first.
            let runner = self.identities.clone().map(|(_, runner)| runner);
            let facts = s3::bucket(
                &self.aws.s3,
                bucket,
                runner,
                default.clone(),
                self.account_block.clone(),
            )
            .boxed();
            ((*bucket).clone(), self.all_within(facts, BucketFacts::not_asked).await)
        });
        join_all(facts).await.into_iter().collect()
    }

    async fn data(&self) -> BTreeMap<String, Lookup<LocationSurvey>> {
        let surveys = self.question.data.iter().map(async |(role, location)| {
            let survey = objects::survey(&self.plain.s3, location, self.question.data_objects);
            (role.clone(), self.within(&aws_calls::LIST_OBJECTS, survey).await)
        });
        join_all(surveys).await.into_iter().collect()
    }

    async fn keys(&self) -> BTreeMap<KeyReference, KeyFacts> {
        let defaults = join_all(self.defaults.values().cloned());
        let (defaults, configuration, archive, (role, service_role)) = tokio::join!(
            defaults,
            self.configuration.clone(),
            self.certificates.clone(),
            self.roles.clone()
        );
        let defaults = self.defaults.keys().copied().zip(&defaults);
        let configuration = configuration.as_ref().and_then(Lookup::found);
        let archive = key_of(archive.as_ref(), &self.question.region);
        let expected = &self.question.expected_keys;
        let uses = key_uses(expected, defaults, configuration, archive.as_ref());
        let mapped: Vec<&String> =
            configuration.iter().flat_map(|found| &found.content.mapped_roles).collect();
        let arn = |role: &'_ Lookup<RoleFacts>| role.found().map(|role| role.arn.clone());
        let (role, service_role) = (arn(&role), arn(&service_role));
        let consumers = uses.values().map(|uses| {
            let mut consumers = vec![(RoleKind::Jobflow, role.clone())];
            if uses.contains(&KeyUse::Ebs) {
                consumers.push((RoleKind::Service, service_role.clone()));
            }
            if uses.iter().any(KeyUse::is_by_s3) {
                let mapped = mapped.iter().map(|arn| (*arn).clone());
                consumers.extend(mapped.map(|arn| (RoleKind::Mapped(arn.clone()), Some(arn))));
            }
            consumers
        });
        let consumers: Vec<Vec<Consumer>> = consumers.collect();
        let described = join_all(uses.keys().map(async |reference| {
            self.within(&aws_calls::DESCRIBE_KEY, kms::describe(&self.aws.kms, reference)).await
        }));
        let described = described.await;
        let simulations = self.simulations(&uses, &consumers, &described);
        let own = self.identities.clone().await.0.found().map(|guard| guard.account.to_string());
        let rest =
            join_all(described.iter().zip(&consumers).map(async |(description, consumers)| {
                let roles = consumers.iter().filter_map(|(_, arn)| arn.as_deref()).collect();
                let facts = kms::key(&self.aws.kms, description.clone(), &roles, own.as_deref());
                let late = KeyFacts::not_asked;
                let late = |why: &str| KeyFacts { description: description.clone(), ..late(why) };
                timeout_at(self.time.deadline, facts).await.unwrap_or_else(|_| late(TOO_LATE))
            }));
        let (identities, facts) = tokio::join!(simulations, rest);
        let all = uses.into_keys().zip(facts).zip(identities);
        all.map(|((key, facts), identity)| (key, KeyFacts { identity, ..facts })).collect()
    }

    /// The simulated policies of the users of keys, for each key. One call covers all keys that a
    /// role uses through one service, because IAM throttles these calls early.
    async fn simulations(
        &self,
        uses: &BTreeMap<KeyReference, BTreeSet<KeyUse>>,
        consumers: &[Vec<Consumer>],
        described: &[Lookup<KmsKey>],
    ) -> Vec<BTreeMap<RoleKind, Lookup<KeyUserSimulation>>> {
        let call = &aws_calls::SIMULATE_PRINCIPAL_POLICY;
        let mut asked: BTreeMap<(&RoleKind, &str, ViaService), BTreeSet<&str>> = BTreeMap::new();
        for ((uses, consumers), key) in uses.values().zip(consumers).zip(described) {
            let Some(key) = key.found() else { continue };
            for (kind, role) in consumers {
                let Some(role) = role else { continue };
                for via in kind.services(uses) {
                    asked.entry((kind, role, via)).or_default().insert(key.arn.as_str());
                }
            }
        }
        let region = &self.question.region;
        let answers = join_all(asked.into_iter().map(async |((kind, role, via), keys)| {
            let keys: Vec<&str> = keys.into_iter().collect();
            let query = SimulationQuery {
                principal: role,
                actions: kind.actions(),
                resources: &keys,
                context: via.context(role, region),
                absent: via.absent(),
            };
            let answer = simulation::simulate(&self.aws.iam, query).boxed();
            ((kind, via), self.within(call, answer).await)
        }));
        let answers: BTreeMap<(&RoleKind, ViaService), Lookup<Simulations>> =
            answers.await.into_iter().collect();
        let mut all = Vec::new();
        for ((uses, consumers), key) in uses.values().zip(consumers).zip(described) {
            let of_role = |(kind, role): &Consumer| {
                let simulation = match (key.found(), role) {
                    (None, _) => Lookup::not_asked(call, "the key is not known"),
                    (_, None) => Lookup::not_asked(call, "the role is not known"),
                    (Some(key), Some(_)) => of_consumer(kind, uses, key, &answers),
                };
                (kind.clone(), simulation)
            };
            all.push(consumers.iter().map(of_role).collect());
        }
        all
    }

    async fn node_objects(&self) -> BTreeMap<String, NodeObject> {
        let fetches =
            self.content().await.map(|content| content.node_fetches()).unwrap_or_default();
        let objects =
            fetches.into_iter().filter_map(|fetch| Some((S3Object::parse(&fetch.uri)?, fetch)));
        let facts = objects.map(async |(object, fetch)| {
            let role = self.roles.clone().map(|(role, _)| role);
            let runner = self.identities.clone().map(|(_, runner)| runner);
            let known = self.question.buckets.contains(&object.bucket);
            let facts = node_objects::node_object(
                self.aws,
                &self.question.region,
                &object,
                fetch.custom_provider,
                known,
                role,
                runner,
            )
            .boxed();
            (fetch.uri, self.all_within(facts, NodeObject::not_asked).await)
        });
        join_all(facts).await.into_iter().collect()
    }

    /// The guard's rights on clusters: by its policies, and by a test call about an existing
    /// cluster.
    async fn guard_rights(&self) -> Option<GuardRights> {
        let query = self.question.guard_rights.as_ref()?;
        let rights = async {
            let (guard, _) = self.identities.clone().await;
            let region = &self.question.region;
            let cluster = guard.found().map(|guard| guard_rights::cluster_arn(guard, region));
            let iam = &self.aws.iam;
            let principal =
                self.within(&aws_calls::GET_ROLE, guard_rights::principal(iam, guard)).await;
            let decisions = self.simulated(&principal, cluster.as_deref(), |arn, cluster| {
                guard_rights::simulate(iam, arn, cluster, region, query)
            });
            let decisions = decisions.await;
            (principal, decisions, cluster)
        };
        let described = async {
            let earlier = self.earlier.clone().await;
            let id = earlier.found()?.first()?;
            let call = &aws_calls::DESCRIBE_CLUSTER;
            let answer = self.within(call, guard_rights::describes(&self.plain.emr, id)).await;
            Some((id.clone(), answer))
        };
        let ((principal, decisions, cluster), tagging, described) =
            tokio::join!(rights, self.tagging(query.sent()), described);
        Some(GuardRights { principal, decisions, cluster, tagging, described })
    }

    /// Whether the runner may set these tags on its cluster, if there are any.
    async fn tagging(&self, tags: Vec<(String, String)>) -> Option<TagRight> {
        if tags.is_empty() {
            return None;
        }
        let (_, runner) = self.identities.clone().await;
        let region = &self.question.region;
        let cluster = runner.found().map(|runner| guard_rights::cluster_arn(runner, region));
        let iam = &self.aws.iam;
        let principal =
            self.within(&aws_calls::GET_ROLE, guard_rights::principal(iam, runner)).await;
        let decision = self.simulated(&principal, cluster.as_deref(), |arn, cluster| {
            guard_rights::may_tag(iam, arn, cluster, region, &tags)
        });
        let decision = decision.await;
        let keys = tags.into_iter().map(|(key, _)| key).collect();
        Some(TagRight { keys, principal, decision })
    }

    /// The result of IAM's simulation for a user or role and a cluster, if it can be made.
    async fn simulated<'b, T, F: Future<Output = Lookup<T>>>(
        &self,
        principal: &'b Lookup<Principal>,
        cluster: Option<&'b str>,
        ask: impl FnOnce(&'b str, &'b str) -> F,
    ) -> Lookup<T> {
        let call = &aws_calls::SIMULATE_PRINCIPAL_POLICY;
        match (principal.found(), cluster) {
            (Some(Principal::Simulated(arn)), Some(cluster)) => {
                Box::pin(self.within(call, ask(arn, cluster))).await
            }
            _ => Lookup::not_asked(call, "the owner of the deciding policies is not known"),
        }
    }

    async fn network(&self) -> Option<NetworkFacts> {
        let subnet = self.question.subnet.as_deref()?;
        Some(
            self.all_within(ec2::network(&self.aws.ec2, subnet).boxed(), NetworkFacts::not_asked)
                .await,
        )
    }

    async fn adoptable(&self) -> Option<Lookup<Persistent>> {
        let name = self.question.adopt.as_deref()?;
        let found = self.within(&aws_calls::LIST_CLUSTERS, emr::adoptable(&self.aws.emr, name));
        Some(Box::pin(found).await)
    }
}

/// A user of a key: the kind of role, and its ARN if it is known.
type Consumer = (RoleKind, Option<String>);

/// The decisions about one key, out of all answers about a role.
fn of_consumer(
    kind: &RoleKind,
    uses: &BTreeSet<KeyUse>,
    key: &KmsKey,
    answers: &BTreeMap<(&RoleKind, ViaService), Lookup<Simulations>>,
) -> Lookup<KeyUserSimulation> {
    let mut all = KeyUserSimulation::default();
    for via in kind.services(uses) {
        let Some(answer) = answers.get(&(kind, via)) else {
            let call = &aws_calls::SIMULATE_PRINCIPAL_POLICY;
            return Lookup::not_asked(call, "this use of the key was not asked for");
        };
        let decisions = match answer {
            Lookup::Found(decisions) => decisions,
            other => return other.clone().map(|_| KeyUserSimulation::default()),
        };
        let of_key = decisions.iter().filter(|((_, resource), _)| resource == key.arn.as_str());
        all.0.extend(of_key.map(|((action, _), it)| ((via, action.clone()), it.clone())));
    }
    Lookup::Found(all)
}

/// The public access block of the account that clusters are launched in.
async fn account_block(
    aws: &Aws,
    runner: impl Future<Output = Lookup<CallerIdentity>>,
) -> Lookup<s3::Block> {
    let call = &aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK;
    if let Some(refused) = aws.control_endpoint.as_ref().filter(|endpoint| !endpoint.accepted) {
        return Lookup::not_asked(call, &refused.refusal());
    }
    match runner.await.found() {
        Some(runner) => s3::account_block(&aws.s3control, &runner.account).await,
        None => Lookup::not_asked(call, "the account of the runner is not known"),
    }
}

/// Why no call is made if an endpoint is refused.
pub(crate) const ENDPOINT_REFUSED: &str = "not asked, because an endpoint is refused";

fn nothing_asked(aws: &Aws, question: &FactsQuery, why: &str) -> Facts {
    Facts {
        endpoints: aws.endpoints.clone(),
        guard: Lookup::not_asked(&aws_calls::GET_CALLER_IDENTITY, why),
        runner: Lookup::not_asked(&aws_calls::GET_CALLER_IDENTITY, why),
        environment: question.environment.clone(),
        launcher_routes: question.launcher_routes.clone(),
        connections: AwsConnections::default(),
        runner_version: None,
        buckets: question
            .buckets
            .iter()
            .map(|bucket| (bucket.clone(), BucketFacts::not_asked(why)))
            .collect(),
        data: question
            .data
            .iter()
            .map(|(role, _)| (role.clone(), Lookup::not_asked(&aws_calls::LIST_OBJECTS, why)))
            .collect(),
        security_configuration: question
            .security_configuration
            .as_ref()
            .map(|_| Lookup::not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, why)),
        asked_at: OffsetDateTime::now_utc(),
        certificates: None,
        certificates_key: None,
        expected_keys: Vec::new(),
        keys: BTreeMap::new(),
        role: Lookup::not_asked(&aws_calls::GET_INSTANCE_PROFILE, why),
        service_role: Lookup::not_asked(&aws_calls::GET_ROLE, why),
        node_objects: BTreeMap::new(),
        ebs_by_default: Lookup::not_asked(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, why),
        network: question.subnet.as_ref().map(|_| NetworkFacts::not_asked(why)),
        adoptable: question
            .adopt
            .as_ref()
            .map(|_| Lookup::not_asked(&aws_calls::LIST_CLUSTERS, why)),
        earlier_clusters: Lookup::not_asked(&aws_calls::LIST_CLUSTERS, why),
        guard_rights: question.guard_rights.as_ref().map(|_| GuardRights::not_asked(why)),
    }
}

/// The key under which an archive is encrypted, if it is known. None if the archive's bucket, and
/// with it the key, is in another region: KMS in the cluster's region does not know that key.
fn key_of(archive: Option<&Lookup<Archive>>, region: &str) -> Option<KeyReference> {
    let key = archive?.found()?.1.as_deref().map(KeyReference::new)?;
    let is_here = key.region_and_account().is_none_or(|(seen, _)| seen == region);
    is_here.then_some(key)
}

/// The uses of each key.
fn key_uses<'a>(
    expected: &[KeyReference],
    defaults: impl Iterator<Item = (&'a BucketName, &'a Lookup<DefaultEncryption>)>,
    configuration: Option<&SecurityConfiguration>,
    archive: Option<&KeyReference>,
) -> BTreeMap<KeyReference, BTreeSet<KeyUse>> {
    let mut uses: BTreeMap<KeyReference, BTreeSet<KeyUse>> = BTreeMap::new();
    for key in expected {
        uses.entry(key.clone()).or_default().insert(KeyUse::Expected);
    }
    let content = configuration.map(|configuration| &configuration.content);
    for key in
        content.and_then(|content| content.s3.as_ref()).into_iter().flat_map(emr::S3AtRest::keys)
    {
        uses.entry(key.clone()).or_default().insert(KeyUse::S3);
    }
    if let Some(disk) = content.and_then(|content| content.local_disk.as_ref())
        && let Some(key) = &disk.key
    {
        let of_key = uses.entry(key.clone()).or_default();
        // LUKS encrypts instance stores even if EBS encrypts the EBS volumes.
        of_key.insert(KeyUse::LocalDisk);
        if disk.ebs {
            of_key.insert(KeyUse::Ebs);
        }
    }
    if let Some(key) = content.and_then(emr::Content::secret_key) {
        uses.entry(key.clone()).or_default().insert(KeyUse::CertificateSecret);
    }
    for (bucket, default) in defaults {
        if let Some(DefaultEncryption::Kind { key: Some(key), .. }) = default.found() {
            uses.entry(KeyReference::new(key))
                .or_default()
                .insert(KeyUse::BucketDefault(bucket.to_string()));
        }
    }
    if let Some(key) = archive {
        uses.entry(key.clone()).or_default().insert(KeyUse::Certificates);
    }
    uses
}

impl Facts {
    /// The uses of each key that the policy, the security configuration or a bucket's default
    /// names, and of the key of the certificate archive.
    #[must_use]
    pub fn key_uses(&self) -> BTreeMap<KeyReference, BTreeSet<KeyUse>> {
        let defaults =
            self.buckets.iter().map(|(bucket, facts)| (bucket, &facts.default_encryption));
        key_uses(
            &self.expected_keys,
            defaults,
            self.security_configuration.as_ref().and_then(Lookup::found),
            self.certificates_key.as_ref(),
        )
    }

    /// The ARN of a key in any notation, if KMS gave it.
    #[must_use]
    pub fn resolved(&self, key: &KeyReference) -> Option<&str> {
        self.keys.get(key)?.description.found().map(|key| key.arn.as_str())
    }

    /// Why no AWS call was possible, if the guard's credentials are the cause.
    #[must_use]
    pub fn total_cause(&self) -> Option<&AccessCause> {
        total_cause(&self.guard)?.cause.as_ref()
    }

    /// The account where the cluster will be launched, if it is known.
    #[must_use]
    pub fn launch_account(&self) -> Option<&AccountId> {
        self.runner.found().map(|identity| &identity.account)
    }
}
