//! Judges one cluster of a place: reads it and what it depends on, and applies the rules and the
//! checks. Reading asks AWS; judging is a plain function of what was read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use time::{Date, OffsetDateTime};
use tokio::time::Instant;

use crate::{
    aws::clients::Aws,
    base::{
        aws_calls,
        lookup::Lookup,
        names::{AccountId, ClusterId},
        text::shown,
    },
    checks::{
        catalogue, clusters,
        finding::{Finding, Level, Stage, Status, apply_exceptions, apply_policy},
        fix::CommandContext,
        running::RunningCluster,
        verified::{ClusterDetails, ClusterObservation, Origin, VerifiedConfiguration},
    },
    facts::{
        cluster_spec,
        emr::{self, ClusterFacts, ClusterState, ClusterStep, SecurityConfiguration},
        gather::{self, Facts},
    },
    sentinel::{
        places::{AccountRegion, ClusterKey},
        rules::{Applied, ClusterTraits},
    },
    settings::{
        policy::Policy,
        sentinel_rules::{OnUnsafe, SentinelRules},
    },
    watch::{driver::poll_details, machine::event::Judgement, records},
};

/// How long what a cluster depends on counts for other clusters and for its own later looks.
const SURROUNDINGS_COUNT_FOR: Duration = Duration::from_mins(10);
/// The same where not everything could be read.
const GAPS_COUNT_FOR: Duration = Duration::from_mins(1);
/// By how much the clocks of two of EMR's answers may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// How clusters are judged.
#[derive(Clone, Debug)]
pub(crate) struct JudgeOptions {
    /// The rules.
    pub(crate) rules: SentinelRules,
    /// The policy of the settings, with its exceptions.
    pub(crate) policy: Policy,
    /// The limit for all calls about what a cluster depends on together.
    pub(crate) time_limit: Duration,
    /// What completes the commands of fixes, but for the region.
    pub(crate) commands: CommandContext,
}

impl JudgeOptions {
    /// What applies to a cluster on this day: an exception that expires while the sentinel runs
    /// covers nothing from then on.
    fn applied(&self, place: &AccountRegion, cluster: &ClusterFacts, today: Date) -> Applied {
        let traits = ClusterTraits {
            account: &AccountId::new(&place.account),
            name: &cluster.name,
            tags: &cluster.tags,
            roles: [cluster.service_role.as_deref(), cluster.instance_profile.as_deref()],
            subnet: cluster.subnet.as_deref(),
        };
        let mut applied = self.rules.apply(&traits, &self.policy);
        applied.policy.exceptions.retain(|exception| exception.expires >= today);
        applied
    }
}

/// What is known of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterKnowledge {
    /// The cluster itself.
    pub(crate) cluster: Option<Lookup<ClusterFacts>>,
    steps: Option<Lookup<Vec<ClusterStep>>>,
    security_configuration: Option<Lookup<SecurityConfiguration>>,
    closer: ClusterDetails,
    surroundings: Option<Arc<Facts>>,
    /// What it must keep, from the first look that read its security configuration.
    verified: Option<VerifiedConfiguration>,
}

/// The answers of one look at a cluster; none: not asked.
#[derive(Debug)]
pub(crate) struct LookAnswers {
    cluster: Lookup<ClusterFacts>,
    steps: Option<Lookup<Vec<ClusterStep>>>,
    security_configuration: Option<Lookup<SecurityConfiguration>>,
    surroundings: Option<Arc<Facts>>,
    closer: Option<ClusterDetails>,
    /// EMR was asked for the security configuration.
    pub(crate) asked_configuration: bool,
}

/// The result of judging what is known of a cluster.
#[derive(Debug)]
pub(crate) struct JudgedCluster {
    /// What applies to it; none: it was never described.
    pub(crate) applied: Option<Applied>,
    /// All findings.
    pub(crate) findings: Vec<Finding>,
    /// Their summary.
    pub(crate) judgement: Judgement,
}

/// Which facts a look asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookKind {
    /// The steps, too.
    pub(crate) steps: bool,
    /// No earlier answer may replace one of this look.
    pub(crate) fresh: bool,
}

/// Which details are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DetailKind {
    /// The configurations of the groups.
    pub(crate) groups: bool,
    /// The instances and their volumes.
    pub(crate) volumes: bool,
}

/// A place's clients, and what was read lately of what its clusters depend on.
#[derive(Debug)]
pub(crate) struct PlaceAccess {
    /// The clients.
    pub(crate) aws: Aws,
    place: AccountRegion,
    surroundings: Mutex<BTreeMap<SurroundingsKey, SharedSurroundings>>,
}

/// What the surroundings of a cluster depend on. Clusters that are equal in it share them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SurroundingsKey {
    security_configuration: Option<String>,
    instance_profile: String,
    service_role: String,
    subnet: Option<String>,
    expected_keys: Vec<String>,
}

/// Surroundings that were read. The lock is held while they are read: clusters that start at once
/// read them once.
type SharedSurroundings = Arc<tokio::sync::Mutex<Option<ReadSurroundings>>>;

/// Surroundings with the time of their reading.
#[derive(Clone, Debug)]
struct ReadSurroundings {
    at: Instant,
    /// EMR's clock before the security configuration was read last, and was the same.
    emr_time: Option<OffsetDateTime>,
    facts: Arc<Facts>,
}

impl ReadSurroundings {
    /// Whether they still count.
    fn count(&self) -> bool {
        counts(self.at, &self.facts)
    }

    /// Whether their security configuration is that of a cluster that names it and was created at
    /// this time: it was read later, and EMR lets nobody change or delete one that is in use. If
    /// the cluster was over by then, one that took its place is newer than the cluster, for which
    /// `at_launch` looks.
    fn are_of(&self, created: OffsetDateTime) -> bool {
        let found = self.facts.security_configuration.as_ref().and_then(Lookup::found);
        found.is_some() && self.emr_time.is_some_and(|read| read >= created + CLOCKS_DIFFER)
    }
}

impl PlaceAccess {
    /// The access to `place` by `aws`.
    pub(crate) fn new(aws: Aws, place: AccountRegion) -> Self {
        Self { aws, place, surroundings: Mutex::default() }
    }

    /// Looks at a cluster of which `known` is known.
    pub(crate) async fn look(
        &self,
        id: &ClusterId,
        known: &ClusterKnowledge,
        options: &JudgeOptions,
        kind: LookKind,
    ) -> LookAnswers {
        let steps =
            async { if kind.steps { Some(emr::steps(&self.aws.emr, id).await) } else { None } };
        let (cluster, mut steps) = tokio::join!(emr::cluster(&self.aws.emr, id), steps);
        let Some(facts) = cluster.found() else {
            return LookAnswers {
                cluster,
                steps,
                security_configuration: None,
                surroundings: None,
                closer: None,
                asked_configuration: false,
            };
        };
        // The final states of the steps of a cluster that is over are read once more.
        if steps.is_none() && facts.status.state.is_over() {
            steps = Some(emr::steps(&self.aws.emr, id).await);
        }
        let surroundings = async {
            if is_over_and_known(facts, known) && !kind.fresh {
                return (None, None, false);
            }
            self.surroundings_of(facts, known, options, kind.fresh).await
        };
        let closer = async {
            if kind.fresh { Some(self.fresh_details(id, facts, known).await) } else { None }
        };
        let ((security_configuration, surroundings, asked_configuration), closer) =
            tokio::join!(surroundings, closer);
        LookAnswers {
            cluster,
            steps,
            security_configuration,
            surroundings,
            closer,
            asked_configuration,
        }
    }

    /// Looks at the details of a cluster.
    pub(crate) async fn details(
        &self,
        id: &ClusterId,
        known: &ClusterKnowledge,
        kind: DetailKind,
    ) -> ClusterDetails {
        let has_fleets = known.facts().is_some_and(|facts| facts.has_fleets);
        let groups = kind.groups.then_some(has_fleets);
        let volumes = kind.volumes && known.has_ebs();
        Box::pin(poll_details(&self.aws, id, known.closer.clone(), groups, volumes)).await
    }

    /// All details, read again.
    async fn fresh_details(
        &self,
        id: &ClusterId,
        facts: &ClusterFacts,
        known: &ClusterKnowledge,
    ) -> ClusterDetails {
        let nothing = ClusterDetails::default();
        let volumes = known.has_ebs();
        Box::pin(poll_details(&self.aws, id, nothing, Some(facts.has_fleets), volumes)).await
    }

    /// The security configuration of a cluster and what it depends on, and whether EMR was asked
    /// for the former. What was read lately counts, if the security configuration of that name is
    /// still the same.
    async fn surroundings_of(
        &self,
        facts: &ClusterFacts,
        known: &ClusterKnowledge,
        options: &JudgeOptions,
        fresh: bool,
    ) -> (Option<Lookup<SecurityConfiguration>>, Option<Arc<Facts>>, bool) {
        let is_named = facts.security_configuration.is_some();
        let Ok(spec) = cluster_spec::of(facts, &self.place.region) else {
            let found = self.security_configuration(facts).await;
            return (found, None, is_named);
        };
        let policy = options.applied(&self.place, facts, OffsetDateTime::now_utc().date()).policy;
        let running = RunningCluster::of(spec);
        let shared = self.shared(&running, &policy);
        let mut latest = shared.lock().await;
        let emr_time = self.aws.emr_clock.last();
        if let Some(read) = latest.as_mut().filter(|read| !fresh && read.count()) {
            let shared = Some(Arc::clone(&read.facts));
            let found = match &known.security_configuration {
                // One that is in use can neither be changed nor deleted.
                Some(Lookup::Found(_)) => return (None, shared, false),
                _ if read.are_of(facts.status.created) => {
                    return (read.facts.security_configuration.clone(), shared, false);
                }
                _ => self.security_configuration(facts).await,
            };
            let same = match (&found, &read.facts.security_configuration) {
                (None, None) => true,
                (Some(Lookup::Found(now)), Some(Lookup::Found(then))) => now == then,
                _ => false,
            };
            if same {
                read.emr_time = emr_time;
                return (found, shared, is_named);
            }
        }
        let question = running.question(&policy, options.time_limit);
        let read = Arc::new(Box::pin(gather::gather(&self.aws, question)).await);
        *latest = Some(ReadSurroundings { at: Instant::now(), emr_time, facts: Arc::clone(&read) });
        (read.security_configuration.clone(), Some(read), is_named)
    }

    /// The place of what clusters like this one share.
    fn shared(&self, running: &RunningCluster, policy: &Policy) -> SharedSurroundings {
        let spec = running.spec();
        let key = SurroundingsKey {
            security_configuration: spec
                .security_configuration
                .as_ref()
                .map(|located| located.value.clone()),
            instance_profile: spec.instance_profile.value.clone(),
            service_role: spec.service_role.value.clone(),
            subnet: spec.subnet.as_ref().map(|subnet| subnet.value.clone()),
            expected_keys: policy.expected_keys.clone(),
        };
        let mut all = self.surroundings.lock().unwrap_or_else(PoisonError::into_inner);
        // What is too old, and not being read now, is forgotten.
        all.retain(|of, shared| {
            *of == key
                || shared
                    .try_lock()
                    .map_or(true, |read| read.as_ref().is_some_and(ReadSurroundings::count))
        });
        Arc::clone(all.entry(key).or_default())
    }

    /// The security configuration that a cluster names, if it names one.
    async fn security_configuration(
        &self,
        facts: &ClusterFacts,
    ) -> Option<Lookup<SecurityConfiguration>> {
        let name = facts.security_configuration.as_deref()?;
        Some(emr::security_configuration(&self.aws.emr, name).await)
    }
}

/// Whether a cluster is over, and what it depended on was read before.
fn is_over_and_known(facts: &ClusterFacts, known: &ClusterKnowledge) -> bool {
    facts.status.state.is_over() && known.surroundings.is_some()
}

/// Whether surroundings that were read `at` a time still count.
fn counts(at: Instant, read: &Facts) -> bool {
    let is_complete = read.role.found().is_some()
        && read.service_role.found().is_some()
        && read.security_configuration.as_ref().is_none_or(|found| found.found().is_some());
    let limit = if is_complete { SURROUNDINGS_COUNT_FOR } else { GAPS_COUNT_FOR };
    at.elapsed() < limit
}

impl ClusterKnowledge {
    /// The last description, if there was one.
    pub(crate) fn facts(&self) -> Option<&ClusterFacts> {
        self.cluster.as_ref().and_then(Lookup::found)
    }

    /// Whether its volumes are to be encrypted by EBS.
    fn has_ebs(&self) -> bool {
        self.verified.as_ref().is_some_and(|verified| verified.ebs.is_some())
    }

    /// Stores the answers of a look.
    pub(crate) fn take(&mut self, answers: LookAnswers) {
        let LookAnswers { cluster, steps, security_configuration, surroundings, closer, .. } =
            answers;
        // The facts on an ended cluster are kept: they cannot change any more.
        let was_over = self.facts().is_some_and(|facts| facts.status.state.is_over());
        if cluster.found().is_some() || !was_over {
            self.cluster = Some(cluster);
        }
        if let Some(steps) = steps.filter(|steps| steps.found().is_some() || !was_over) {
            self.steps = Some(steps);
        }
        if let (Some(found), Some(facts)) = (security_configuration, self.facts()) {
            self.security_configuration = Some(at_launch(found, facts));
        }
        if let Some(surroundings) = surroundings {
            self.surroundings = Some(surroundings);
        }
        if let Some(closer) = closer {
            self.closer = closer;
        }
    }

    /// Stores details.
    pub(crate) fn take_details(&mut self, closer: ClusterDetails) {
        self.closer = closer;
    }

    /// Judges what is known, as of this day.
    pub(crate) fn judge(
        &mut self,
        (place, id): &ClusterKey,
        options: &JudgeOptions,
        today: Date,
    ) -> JudgedCluster {
        let nothing =
            JudgedCluster { applied: None, findings: Vec::new(), judgement: Judgement::NOTHING };
        let Some(facts) = self.facts() else { return nothing };
        let applied = options.applied(place, facts, today);
        let spec = cluster_spec::of(facts, &place.region);
        // Answers of servers that are not AWS's prove nothing.
        let surroundings = self.surroundings.clone().filter(|read| !read.connections.has_refused());
        let (spec, surroundings) = match (spec, surroundings) {
            (Ok(spec), Some(surroundings)) => (spec, surroundings),
            // No release since EMR has security configurations is without a label.
            (Err(_), _) if facts.security_configuration.is_none() => {
                return self.judged(id, applied, Vec::new(), &VerifiedConfiguration::nothing());
            }
            _ => return JudgedCluster { applied: Some(applied), ..nothing },
        };
        let running = RunningCluster::of(spec);
        let surroundings = self.as_at_launch(surroundings);
        let commands = CommandContext {
            region: place.region.clone(),
            s3_region: place.region.clone(),
            ..options.commands.clone()
        };
        let case = running.case(&applied.policy, &surroundings, &commands);
        // Without a security configuration, the checks on its content say the same as that on the
        // cluster, in words for a launch.
        let findings = match case.security_configuration {
            Some(_) => catalogue::of_cluster_alone(&case),
            None => Vec::new(),
        };
        let verified = self.verified(&surroundings, &running);
        self.judged(id, applied, findings, &verified)
    }

    /// Adds the findings on the cluster itself to those on what it depends on.
    fn judged(
        &self,
        id: &ClusterId,
        applied: Applied,
        mut findings: Vec<Finding>,
        verified: &VerifiedConfiguration,
    ) -> JudgedCluster {
        let look = self.observation();
        let require = &applied.policy.require;
        let mut on_cluster =
            clusters::judge(id.as_str(), &look, verified, Origin::Attached, require);
        apply_policy(&mut on_cluster, &applied.policy);
        apply_exceptions(&mut on_cluster, &applied.policy);
        findings.extend(on_cluster);
        let decides = |finding: &Finding| finding.check.stage != Stage::Confirm;
        let judgement = records::judgement(&findings, decides, (&look.steps, &look.closer), false);
        JudgedCluster { applied: Some(applied), findings, judgement }
    }

    /// What the cluster must keep: its security configuration as it was read first.
    fn verified(
        &mut self,
        surroundings: &Facts,
        running: &RunningCluster,
    ) -> VerifiedConfiguration {
        if let Some(verified) = &self.verified {
            return verified.clone();
        }
        let verified = VerifiedConfiguration::of_running(surroundings, running.spec());
        if !verified.digest.is_empty() {
            self.verified = Some(verified.clone());
            return verified;
        }
        // It could not be read, which contradicts nothing.
        match &running.spec().security_configuration {
            Some(named) => VerifiedConfiguration { name: named.value.clone(), ..verified },
            None => verified,
        }
    }

    /// The surroundings with the security configuration as this cluster has it.
    fn as_at_launch(&self, surroundings: Arc<Facts>) -> Arc<Facts> {
        match &self.security_configuration {
            Some(own) if surroundings.security_configuration.as_ref() != Some(own) => {
                let own = Some(own.clone());
                Arc::new(Facts { security_configuration: own, ..Facts::clone(&surroundings) })
            }
            _ => surroundings,
        }
    }

    fn observation(&self) -> ClusterObservation {
        const NOT_YET: &str = "not asked yet";
        let Self { cluster, steps, security_configuration, closer, .. } = self.clone();
        ClusterObservation {
            cluster: cluster
                .unwrap_or_else(|| Lookup::not_asked(&aws_calls::DESCRIBE_CLUSTER, NOT_YET)),
            steps: steps.unwrap_or_else(|| Lookup::not_asked(&aws_calls::LIST_STEPS, NOT_YET)),
            security_configuration: security_configuration.unwrap_or_else(|| {
                Lookup::not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, NOT_YET)
            }),
            closer,
        }
    }
}

/// The security configuration of a cluster, as far as the one that has its name now can be it. EMR
/// lets nobody delete one that is in use, but it can be deleted once the cluster is over.
fn at_launch(
    found: Lookup<SecurityConfiguration>,
    cluster: &ClusterFacts,
) -> Lookup<SecurityConfiguration> {
    let call = &aws_calls::DESCRIBE_SECURITY_CONFIGURATION;
    let ends = cluster.status.state.is_over() || cluster.status.state == ClusterState::Terminating;
    match found {
        Lookup::Found(found) if found.created > cluster.status.created => {
            let created = shown(found.created);
            let why = format!(
                "the one that has the name now was created after the cluster ({created}), so its \
                 content at the launch is unknown"
            );
            Lookup::not_asked(call, &why)
        }
        Lookup::Absent if ends => {
            let why = "it was deleted after the cluster ended, so its content is unknown";
            Lookup::not_asked(call, why)
        }
        other => other,
    }
}

/// Whether an unsafe cluster is terminated by what applies to it.
pub(crate) fn may_end(applied: Option<&Applied>) -> bool {
    applied.is_some_and(|applied| applied.on_unsafe == OnUnsafe::Terminate)
}

/// The required findings that are failed, unknown or excepted; failed ones first. Those that only
/// wait for another one are left out.
pub(crate) fn open_findings(findings: &[Finding]) -> Vec<&Finding> {
    let rank = |status| match status {
        Status::Failed => Some(0),
        Status::Unknown => Some(1),
        Status::Excepted => Some(2),
        Status::Passed | Status::NotApplicable => None,
    };
    let required = findings
        .iter()
        .filter(|finding| finding.level == Level::Required && finding.waits_for.is_none());
    let mut open: Vec<(u8, &Finding)> =
        required.filter_map(|finding| Some((rank(finding.status)?, finding))).collect();
    open.sort_by_key(|(rank, _)| *rank);
    open.into_iter().map(|(_, finding)| finding).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::checks::properties::World;

    #[test]
    fn a_security_configuration_that_was_read_serves_the_clusters_that_used_it_by_then() {
        let read_at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let read = |emr_time, facts| ReadSurroundings {
            at: Instant::now(),
            emr_time,
            facts: Arc::new(facts),
        };
        let facts = World::new(true, false).facts;
        let shared = read(Some(read_at), facts.clone());
        let is_of = |seconds: u64| shared.are_of(read_at - Duration::from_secs(seconds));
        let served: BTreeSet<u64> = (0..5).filter(|seconds| is_of(*seconds)).collect();
        // The clocks of two answers may differ by two seconds.
        assert_eq!(served, BTreeSet::from([2, 3, 4]));
        assert!(!shared.are_of(read_at + Duration::from_secs(1)), "it was created later");
        assert!(
            !read(None, facts.clone()).are_of(OffsetDateTime::UNIX_EPOCH),
            "the time is unknown"
        );
        for lost in [None, Some(Lookup::Absent)] {
            let facts = Facts { security_configuration: lost, ..facts.clone() };
            assert!(!read(Some(read_at), facts).are_of(OffsetDateTime::UNIX_EPOCH));
        }
    }
}
