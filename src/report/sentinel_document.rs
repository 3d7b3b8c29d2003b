//! The report of a `sentinel`: every cluster that lived in a period, what was found of it, and what
//! was done about it; and at which times it was not known which clusters there were. The sentinel
//! writes it; pages and the quarterly list are made from it. `schema-sentinel.json` beside this
//! file describes it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    aws::trust::AwsConnections,
    base::{outcome::Outcome, report_kind::SENTINEL_REPORT_VERSION},
    evidence::chain::ChainLink,
    report::caller::LocalCaller,
    sentinel::record::{SentinelActKind, SentinelCluster, SentinelVerdict},
    settings::policy::Policy,
};

/// The schema of the field `version`.
fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": SENTINEL_REPORT_VERSION})
}

/// The report of one sentinel about one period.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The document of one period of a sentinel by emr-etl-guard")]
#[schemars(rename = "SentinelDocument")]
pub(crate) struct SentinelReport {
    /// The version of this format.
    #[schemars(schema_with = "version_schema")]
    pub(crate) version: u32,
    /// The version of the program that wrote it.
    pub(crate) guard: String,
    /// `sentinel`.
    pub(crate) command: String,
    /// The id of this report, by which its signature and the next report name it.
    pub(crate) run: String,
    /// The id of the sentinel, which is new at each start.
    pub(crate) sentinel: String,
    /// The number of this report among those of the same sentinel, from 1.
    pub(crate) sequence: u64,
    /// When its period began: when the one before ended, or when the sentinel started.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) started: OffsetDateTime,
    /// When its period ended.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) ended: OffsetDateTime,
    /// Why it was written then.
    pub(crate) cause: ReportCause,
    /// Each cluster was judged once: `sentinel --once`.
    pub(crate) once: bool,
    /// Who ran it.
    pub(crate) who: LocalCaller,
    /// The AWS identity of the sentinel's own credentials, if AWS named it.
    pub(crate) principal: Option<String>,
    /// The settings that were in force.
    pub(crate) settings: SentinelSettingsInForce,
    /// The places, by account and region.
    pub(crate) places: Vec<ReportedPlace>,
    /// Every cluster that lived in the period, as far as it was seen: those that were over before
    /// it are left out.
    pub(crate) clusters: Vec<SentinelCluster>,
    /// The counts of these clusters.
    pub(crate) counts: SentinelCounts,
    /// The calls to EMR in the period.
    pub(crate) emr_calls: BTreeMap<String, u64>,
    /// How many of them EMR throttled.
    pub(crate) throttled: u64,
    /// What happened besides, in order: alerts that were sent or not, reports that were delivered.
    pub(crate) timeline: Vec<ReportedMoment>,
    /// The certificate authorities that verified the AWS servers, and the proxies that were used,
    /// since the sentinel started.
    pub(crate) connections: AwsConnections,
    /// Its place in the chain of the sentinel's reports; none without a state directory.
    pub(crate) chain: Option<ChainLink>,
    /// How the sentinel ended; of one that goes on, how `--once` would have ended on what the
    /// report says.
    pub(crate) outcome: Outcome,
    /// The exit code of that, after remapping.
    pub(crate) exit_code: u8,
}

/// Why a report was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReportCause {
    /// A termination has concluded.
    Termination,
    /// The time of the setting `report_every` has passed.
    Schedule,
    /// The sentinel ended.
    End,
}

/// The settings of a sentinel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SentinelSettings")]
pub(crate) struct SentinelSettingsInForce {
    /// The file, if there is one.
    pub(crate) file: Option<String>,
    /// SHA-256 of all settings in force.
    pub(crate) sha256: String,
    /// The rules, in their order.
    pub(crate) rules: Vec<RuleInForce>,
    /// The policy where no rule matches, and the exceptions for all clusters.
    pub(crate) policy: Policy,
    /// What happens to an unsafe cluster where no rule matches.
    pub(crate) on_unsafe: UnsafeConsequence,
    /// How many clusters may be terminated within an hour.
    pub(crate) terminations_per_hour: u32,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RuleInForce {
    /// Its name.
    pub(crate) name: String,
    /// The conditions that a cluster must meet, in words; none: it applies to all.
    pub(crate) conditions: Vec<String>,
    /// The protections that it requires.
    pub(crate) require: Vec<String>,
    /// The keys that must encrypt what is written; none: any key is accepted.
    pub(crate) expected_keys: Vec<String>,
    /// What happens to an unsafe cluster that it matches.
    pub(crate) on_unsafe: UnsafeConsequence,
}

/// What happens to an unsafe cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnsafeConsequence {
    /// People get an alert.
    Alert,
    /// It is terminated, too.
    Terminate,
}

/// A place: one region of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReportedPlace {
    /// The account.
    pub(crate) account: String,
    /// The region; `*`: it is unknown which regions the account has, and none is watched.
    pub(crate) region: String,
    /// The last complete list of its clusters; none: there was none in the period.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) last_list: Option<OffsetDateTime>,
    /// The times at which it was not known which clusters there were, in order.
    pub(crate) unseen: Vec<UnseenTime>,
    /// Its clusters, by verdict.
    pub(crate) clusters: VerdictCounts,
}

/// A time at which it was not known which clusters a place had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UnseenTime {
    /// When it began; at the earliest when the period did.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) from: OffsetDateTime,
    /// When it ended; none: it lasted longer than the period.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<crate::base::time_format::Rfc3339>")]
    pub(crate) until: Option<OffsetDateTime>,
    /// Why.
    pub(crate) why: String,
    /// The clusters that were created meanwhile were listed afterwards, so that none is missing
    /// from the report; but they were not judged while they lived in that time.
    pub(crate) listed_afterwards: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReportedMoment {
    /// When, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) at: OffsetDateTime,
    /// What.
    pub(crate) what: String,
}

/// Clusters by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VerdictCounts {
    /// A required check failed.
    #[serde(rename = "unsafe")]
    pub(crate) failed: u64,
    /// Some required check could not be decided.
    pub(crate) unjudged: u64,
    /// Every required check has passed, some by an exception.
    pub(crate) excepted: u64,
    /// Every required check has passed.
    pub(crate) passed: u64,
}

impl VerdictCounts {
    /// The counts of these clusters.
    pub(crate) fn of<'a>(clusters: impl IntoIterator<Item = &'a SentinelCluster>) -> Self {
        let mut counts = Self::default();
        for cluster in clusters {
            *counts.count_mut(cluster.verdict) += 1;
        }
        counts
    }

    fn count_mut(&mut self, verdict: SentinelVerdict) -> &mut u64 {
        match verdict {
            SentinelVerdict::Unsafe => &mut self.failed,
            SentinelVerdict::Unjudged => &mut self.unjudged,
            SentinelVerdict::Excepted => &mut self.excepted,
            SentinelVerdict::Passed => &mut self.passed,
        }
    }

    /// The count of one verdict.
    pub(crate) fn count(mut self, verdict: SentinelVerdict) -> u64 {
        *self.count_mut(verdict)
    }

    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.failed + self.unjudged + self.excepted + self.passed
    }
}

/// The counts of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SentinelCounts {
    /// All clusters, by verdict.
    pub(crate) clusters: VerdictCounts,
    /// Those that were not over when they were seen for the last time.
    pub(crate) living: u64,
    /// Those whose termination the sentinel requested.
    pub(crate) terminated: u64,
    /// Those that it would have terminated, but for the limit per hour.
    pub(crate) limited: u64,
    /// Those with the tag of a guarded run.
    pub(crate) guarded: u64,
    /// By launcher, the most clusters first.
    pub(crate) launchers: Vec<LauncherCounts>,
}

/// The clusters of one launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LauncherCounts {
    /// The ARN of the launcher, without the name of a role's session; none: no event of CloudTrail
    /// named the launcher of these clusters.
    pub(crate) launcher: Option<String>,
    /// The programs that it used.
    pub(crate) programs: BTreeSet<String>,
    /// Its clusters, by verdict.
    pub(crate) clusters: VerdictCounts,
}

impl SentinelCounts {
    /// The counts of these clusters.
    pub(crate) fn of<'a>(clusters: impl IntoIterator<Item = &'a SentinelCluster>) -> Self {
        let clusters: Vec<&SentinelCluster> = clusters.into_iter().collect();
        let number = |counts: &dyn Fn(&SentinelCluster) -> bool| {
            clusters.iter().filter(|cluster| counts(cluster)).count() as u64
        };
        Self {
            clusters: VerdictCounts::of(clusters.iter().copied()),
            living: number(&|cluster| !cluster.is_over()),
            terminated: number(&|cluster| cluster.has(SentinelActKind::Terminated)),
            limited: number(&|cluster| {
                cluster.has(SentinelActKind::Limited) && !cluster.has(SentinelActKind::Terminated)
            }),
            guarded: number(&|cluster| cluster.run.is_some()),
            launchers: LauncherCounts::all(&clusters),
        }
    }
}

impl LauncherCounts {
    fn all(clusters: &[&SentinelCluster]) -> Vec<Self> {
        let mut groups: BTreeMap<Option<&str>, Vec<&SentinelCluster>> = BTreeMap::new();
        for &cluster in clusters {
            let launcher = cluster.launcher.as_ref();
            groups
                .entry(launcher.map(|launcher| without_session(&launcher.arn)))
                .or_default()
                .push(cluster);
        }
        let mut launchers: Vec<Self> = groups
            .into_iter()
            .map(|(launcher, of_one)| Self {
                launcher: launcher.map(str::to_owned),
                programs: of_one
                    .iter()
                    .filter_map(|cluster| cluster.launcher.as_ref()?.program.clone())
                    .collect(),
                clusters: VerdictCounts::of(of_one),
            })
            .collect();
        launchers.sort_by_key(|launcher| std::cmp::Reverse(launcher.clusters.total()));
        launchers
    }
}

/// The ARN of a launcher without the name of a role's session, which often differs at each launch.
/// Source: IAM user guide, "IAM identifiers": `arn:aws:sts::ID:assumed-role/ROLE/SESSION`.
pub(crate) fn without_session(arn: &str) -> &str {
    match (arn.split_once(":assumed-role/"), arn.rsplit_once('/')) {
        (Some((_, role)), Some((without, _))) if role.contains('/') => without,
        _ => arn,
    }
}

/// What is known when a report is written, besides what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct SentinelPeriod {
    /// The id of the sentinel.
    pub(crate) sentinel: String,
    /// The number of the report among those of the same sentinel, from 1.
    pub(crate) sequence: u64,
    /// When the period began.
    pub(crate) started: OffsetDateTime,
    /// When it ended.
    pub(crate) ended: OffsetDateTime,
    /// Why the report is written.
    pub(crate) cause: ReportCause,
    /// Each cluster was judged once.
    pub(crate) once: bool,
    /// The AWS identity of the sentinel's own credentials.
    pub(crate) principal: Option<String>,
    /// The settings.
    pub(crate) settings: SentinelSettingsInForce,
    /// Each place, by account and region: its last complete list in the period, and the times at
    /// which it was not seen.
    pub(crate) places: BTreeMap<(String, String), (Option<OffsetDateTime>, Vec<UnseenTime>)>,
    /// Every cluster that lived in the period.
    pub(crate) clusters: Vec<SentinelCluster>,
    /// The calls to EMR in the period, by operation.
    pub(crate) emr_calls: BTreeMap<String, u64>,
    /// How many of them were throttled.
    pub(crate) throttled: u64,
    /// What happened besides.
    pub(crate) timeline: Vec<ReportedMoment>,
    /// The connections to AWS.
    pub(crate) connections: AwsConnections,
}

impl SentinelReport {
    /// The report of `period`. `run` is its id, and `outcome` with `exit_code` how the sentinel
    /// ends.
    pub(crate) fn new(
        period: SentinelPeriod,
        run: String,
        chain: Option<ChainLink>,
        (outcome, exit_code): (Outcome, u8),
    ) -> Self {
        let SentinelPeriod { mut clusters, .. } = period;
        clusters.sort_by(|one, other| {
            let key = |cluster: &SentinelCluster| (cluster.created, cluster.id.clone());
            key(one).cmp(&key(other))
        });
        let places = period.places.into_iter().map(|((account, region), (last_list, unseen))| {
            let here = clusters
                .iter()
                .filter(|cluster| cluster.account == account && cluster.region == region);
            let counts = VerdictCounts::of(here);
            ReportedPlace { account, region, last_list, unseen, clusters: counts }
        });
        Self {
            version: SENTINEL_REPORT_VERSION,
            guard: env!("CARGO_PKG_VERSION").to_owned(),
            command: "sentinel".to_owned(),
            run,
            sentinel: period.sentinel,
            sequence: period.sequence,
            started: period.started,
            ended: period.ended,
            cause: period.cause,
            once: period.once,
            who: LocalCaller::of_this_process(),
            principal: period.principal,
            settings: period.settings,
            places: places.collect(),
            counts: SentinelCounts::of(&clusters),
            clusters,
            emr_calls: period.emr_calls,
            throttled: period.throttled,
            timeline: period.timeline,
            connections: period.connections,
            chain,
            outcome,
            exit_code,
        }
    }
}

/// How `sentinel --once` ends after it has seen these clusters: 71 while an unsafe one lives, 75
/// where one could not be judged or a place (`unseen`) could not be seen, 76 if unsafe ones were
/// found and all are over, else 0.
pub(crate) fn judged_outcome<'a>(
    clusters: impl IntoIterator<Item = &'a SentinelCluster>,
    unseen: bool,
) -> Outcome {
    let (mut alive, mut over, mut unjudged) = (false, false, unseen);
    for cluster in clusters {
        match cluster.verdict {
            SentinelVerdict::Unsafe if cluster.is_over() => over = true,
            SentinelVerdict::Unsafe => alive = true,
            SentinelVerdict::Unjudged => unjudged = true,
            SentinelVerdict::Excepted | SentinelVerdict::Passed => {}
        }
    }
    match (alive, over, unjudged) {
        (true, _, _) => Outcome::UnsafeClusterAlive,
        (false, true, _) => Outcome::UnsafeClusterTerminated,
        (false, false, true) => Outcome::Unconfirmed,
        (false, false, false) => Outcome::Ended(0),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use time::{Duration, macros::datetime};

    use super::*;
    use crate::{
        base::json::pretty,
        report::{
            document::AnyReport, html, junit, markdown, ocsf, sarif,
            sentinel_history::SentinelHistory, signature::ReportSignature, summary::ReportSummary,
        },
        sentinel::record::{Launcher, OpenFinding, SentinelAct},
    };

    pub(in crate::report) const ACCOUNT: &str = "123456789012";
    const BEGIN: OffsetDateTime = datetime!(2026-11-30 00:00 UTC);

    pub(in crate::report) fn hours(hours: i64) -> OffsetDateTime {
        BEGIN + Duration::hours(hours)
    }

    /// A cluster of eu-west-1 that lives from hour 1 to the end.
    pub(in crate::report) fn cluster(id: &str, verdict: SentinelVerdict) -> SentinelCluster {
        serde_json::from_value(json!({
            "id": id, "account": ACCOUNT, "region": "eu-west-1", "name": format!("nightly {id}"),
            "created": "2026-11-30T01:00:00Z", "first_seen": "2026-11-30T01:00:20Z",
            "last_seen": "2026-11-30T03:00:00Z", "state": "RUNNING", "release": "emr-7.5.0",
            "security_configuration": "acme-sc", "launcher": null, "run": null, "rule": "payroll",
            "verdict": verdict.name(), "judged": "2026-11-30T01:00:25Z", "open": [], "acts": [],
        }))
        .unwrap()
    }

    pub(in crate::report) fn act(what: SentinelActKind, at: OffsetDateTime) -> SentinelAct {
        SentinelAct { at, what, detail: String::new() }
    }

    /// An unsafe cluster that the sentinel terminated.
    pub(in crate::report) fn terminated(id: &str) -> SentinelCluster {
        SentinelCluster {
            state: "TERMINATED".to_owned(),
            security_configuration: None,
            launcher: Some(Launcher {
                arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/Analyst/kim"),
                program: Some("Boto3/1.35".to_owned()),
                address: Some("198.51.100.7".to_owned()),
            }),
            open: vec![OpenFinding {
                check: "cluster-security-configuration".to_owned(),
                subject: id.to_owned(),
                status: "failed".to_owned(),
                seen: "no security configuration".to_owned(),
                expected: "one with S3, local disk and in-transit encryption".to_owned(),
            }],
            acts: vec![
                act(SentinelActKind::ToldUnsafe, hours(1) + Duration::seconds(26)),
                SentinelAct {
                    detail: "request 7b9f2c".to_owned(),
                    ..act(SentinelActKind::Terminated, hours(1) + Duration::seconds(31))
                },
                act(SentinelActKind::EndConfirmed, hours(1) + Duration::minutes(4)),
            ],
            ..cluster(id, SentinelVerdict::Unsafe)
        }
    }

    pub(in crate::report) fn policy() -> Policy {
        serde_json::from_value(json!({
            "require": ["s3-at-rest", "local-disk", "in-transit"], "accept_encryption": ["SSE-KMS"],
            "expected_keys": [], "external_buckets": [], "advise": [], "enforce": [],
            "certificate_days": 14, "data_objects": 100, "exceptions": [],
        }))
        .unwrap()
    }

    /// The `number`th period of six hours, without clusters.
    pub(in crate::report) fn period(number: u64) -> SentinelPeriod {
        let begun = 6 * (i64::try_from(number).unwrap() - 1);
        let (started, ended) = (hours(begun), hours(begun + 6));
        SentinelPeriod {
            sentinel: "01936d2a-0000-7000-8000-000000000001".to_owned(),
            sequence: number,
            started,
            ended,
            cause: ReportCause::Schedule,
            once: false,
            principal: Some(format!("arn:aws:iam::{ACCOUNT}:role/emr-etl-guard-sentinel")),
            settings: SentinelSettingsInForce {
                file: Some("guard.yml".to_owned()),
                sha256: "5e".repeat(32),
                rules: vec![RuleInForce {
                    name: "payroll".to_owned(),
                    conditions: vec!["name payroll-*".to_owned(), "tag team=hr".to_owned()],
                    require: vec!["s3-at-rest".to_owned(), "in-transit".to_owned()],
                    expected_keys: Vec::new(),
                    on_unsafe: UnsafeConsequence::Terminate,
                }],
                policy: policy(),
                on_unsafe: UnsafeConsequence::Alert,
                terminations_per_hour: 5,
            },
            places: BTreeMap::from([
                ((ACCOUNT.to_owned(), "eu-west-1".to_owned()), (Some(ended), Vec::new())),
                ((ACCOUNT.to_owned(), "us-east-1".to_owned()), (Some(ended), Vec::new())),
            ]),
            clusters: Vec::new(),
            emr_calls: BTreeMap::from([
                ("ListClusters".to_owned(), 1440),
                ("DescribeCluster".to_owned(), 12),
            ]),
            throttled: 1,
            timeline: vec![ReportedMoment {
                at: hours(begun + 1),
                what: "alert sent: unsafe to sns".to_owned(),
            }],
            connections: AwsConnections::default(),
        }
    }

    /// A period with clusters of every verdict, and a region that was not seen for a while.
    pub(in crate::report) fn eventful() -> SentinelPeriod {
        let mut period = period(1);
        let unjudged = SentinelCluster {
            judged: None,
            rule: None,
            open: vec![OpenFinding {
                check: "kms-key-enabled".to_owned(),
                subject: "alias/etl".to_owned(),
                status: "unknown".to_owned(),
                seen: "kms:DescribeKey: access denied".to_owned(),
                expected: "an enabled key".to_owned(),
            }],
            acts: vec![act(SentinelActKind::ToldUnjudged, hours(2))],
            ..cluster("j-3UNJUDGED", SentinelVerdict::Unjudged)
        };
        let limited = SentinelCluster {
            acts: vec![
                act(SentinelActKind::ToldUnsafe, hours(2)),
                act(SentinelActKind::Limited, hours(2) + Duration::seconds(5)),
            ],
            ..SentinelCluster {
                acts: Vec::new(),
                state: "RUNNING".to_owned(),
                ..terminated("j-2LIMITED")
            }
        };
        period.clusters = vec![
            terminated("j-1ENDED"),
            limited,
            unjudged,
            SentinelCluster {
                run: Some("01936d2a-0000-7000-8000-0000000000aa".to_owned()),
                ..cluster("j-4PASSED", SentinelVerdict::Passed)
            },
            cluster("j-5EXCEPTED", SentinelVerdict::Excepted),
        ];
        let unseen = UnseenTime {
            from: hours(3),
            until: Some(hours(4)),
            why: "ListClusters: access denied".to_owned(),
            listed_afterwards: true,
        };
        period
            .places
            .insert((ACCOUNT.to_owned(), "us-east-1".to_owned()), (Some(hours(6)), vec![unseen]));
        period
    }

    /// The report of a period, as a file has it.
    pub(in crate::report) fn report(period: SentinelPeriod) -> SentinelReport {
        let outcome = judged_outcome(&period.clusters, false);
        let run = format!("01936d2a-0000-7000-8000-{:012}", period.sequence);
        let mut report = SentinelReport::new(period, run, None, (outcome, outcome.code()));
        report.who = LocalCaller { user: Some("guard".to_owned()), host: "watcher-1".to_owned() };
        report
    }

    pub(in crate::report) fn read(text: &str) -> SentinelReport {
        match AnyReport::parse(Path::new("report.json"), text.as_bytes()).unwrap() {
            AnyReport::Sentinel(report) => *report,
            other => panic!("{:?}", other.kind()),
        }
    }

    #[test]
    fn the_counts_of_a_report_are_those_of_its_clusters() {
        let counts = report(eventful()).counts;
        assert_eq!(
            serde_json::to_value(&counts).unwrap(),
            json!({
                "clusters": {"unsafe": 2, "unjudged": 1, "excepted": 1, "passed": 1},
                "living": 4, "terminated": 1, "limited": 1, "guarded": 1,
                "launchers": [
                    {"launcher": null, "programs": [],
                     "clusters": {"unsafe": 0, "unjudged": 1, "excepted": 1, "passed": 1}},
                    {"launcher": "arn:aws:sts::123456789012:assumed-role/Analyst",
                     "programs": ["Boto3/1.35"],
                     "clusters": {"unsafe": 2, "unjudged": 0, "excepted": 0, "passed": 0}},
                ],
            })
        );
        for place in report(eventful()).places {
            let total = if place.region == "eu-west-1" { 5 } else { 0 };
            assert_eq!(place.clusters.total(), total, "{place:?}");
        }
    }

    #[test]
    fn only_a_role_has_a_session() {
        for (arn, without) in [
            ("arn:aws:sts::1:assumed-role/Ops/kim", "arn:aws:sts::1:assumed-role/Ops"),
            ("arn:aws:sts::1:assumed-role/Ops", "arn:aws:sts::1:assumed-role/Ops"),
            ("arn:aws:iam::1:user/teams/kim", "arn:aws:iam::1:user/teams/kim"),
            ("arn:aws:iam::1:root", "arn:aws:iam::1:root"),
        ] {
            assert_eq!(without_session(arn), without);
        }
    }

    #[test]
    fn a_living_unsafe_cluster_beats_one_that_is_over_and_that_beats_one_that_was_not_judged() {
        let of = |clusters: &[SentinelCluster], unseen| judged_outcome(clusters, unseen).code();
        let alive = cluster("j-1", SentinelVerdict::Unsafe);
        let unjudged = cluster("j-3", SentinelVerdict::Unjudged);
        let good = cluster("j-4", SentinelVerdict::Passed);
        assert_eq!(of(&[], false), 0);
        assert_eq!(of(&[good.clone(), cluster("j-5", SentinelVerdict::Excepted)], false), 0);
        assert_eq!(of(&[good], true), 75);
        assert_eq!(of(std::slice::from_ref(&unjudged), false), 75);
        assert_eq!(of(&[unjudged.clone(), terminated("j-2")], true), 76);
        assert_eq!(of(&[unjudged, terminated("j-2"), alive], true), 71);
    }

    #[test]
    fn a_report_of_another_version_is_not_read() {
        let mut value = serde_json::to_value(report(eventful())).unwrap();
        value["version"] = json!(2);
        let error =
            AnyReport::parse(Path::new("a.json"), value.to_string().as_bytes()).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("a.json: version 2 of the document; expected 1 to 1:"), "{told}");
    }

    fn any_verdict() -> impl Strategy<Value = SentinelVerdict> {
        prop::sample::select(SentinelVerdict::ALL.to_vec())
    }

    fn any_time() -> impl Strategy<Value = OffsetDateTime> {
        (-100_000_i64..1_000_000).prop_map(|seconds| BEGIN + Duration::seconds(seconds))
    }

    fn any_act() -> impl Strategy<Value = SentinelAct> {
        let kinds = [
            SentinelActKind::ToldUnsafe,
            SentinelActKind::ToldUnjudged,
            SentinelActKind::Cleared,
            SentinelActKind::Limited,
            SentinelActKind::Terminated,
            SentinelActKind::EndConfirmed,
            SentinelActKind::EndUnconfirmed,
        ];
        let kinds = prop::sample::select(kinds.to_vec());
        (any_time(), kinds, ".{0,12}").prop_map(|(at, what, detail)| SentinelAct {
            at,
            what,
            detail,
        })
    }

    prop_compose! {
        fn any_cluster()(
            id in "j-[A-Z0-9]{1,13}",
            place in prop::sample::select(vec!["eu-west-1", "us-east-1", "gone"]),
            name in ".{0,20}",
            state in prop::sample::select(vec!["RUNNING", "TERMINATED", "TERMINATED_WITH_ERRORS"]),
            (created, seen) in (any_time(), any_time()),
            words in prop::collection::vec(".{0,12}", 6),
            verdict in any_verdict(),
            launched in any::<bool>(),
            judged in prop::option::of(any_time()),
            acts in prop::collection::vec(any_act(), 0..4),
        ) -> SentinelCluster {
            let word = |index: usize| words[index].clone();
            SentinelCluster {
                region: place.to_owned(),
                name,
                created,
                first_seen: seen,
                last_seen: seen,
                state: state.to_owned(),
                release: launched.then(|| word(0)),
                security_configuration: (!launched).then(|| word(1)),
                launcher: launched.then(|| Launcher {
                    arn: word(2),
                    program: Some(word(3)),
                    address: None,
                }),
                run: launched.then(|| word(4)),
                rule: None,
                judged,
                open: vec![OpenFinding {
                    check: word(5),
                    subject: word(0),
                    status: word(1),
                    seen: word(2),
                    expected: word(3),
                }],
                acts,
                ..cluster(&id, verdict)
            }
        }
    }

    prop_compose! {
        fn any_report()(
            clusters in prop::collection::vec(any_cluster(), 0..6),
            why in ".{0,20}",
            (from, until) in (any_time(), prop::option::of(any_time())),
            listed_afterwards in any::<bool>(),
        ) -> SentinelReport {
            let mut period = period(1);
            let place = (ACCOUNT.to_owned(), "us-east-1".to_owned());
            let unseen = UnseenTime { from, until, why, listed_afterwards };
            period.places.insert(place, (None, vec![unseen]));
            period.clusters = clusters;
            report(period)
        }
    }

    fn value(report: &SentinelReport) -> Value {
        serde_json::to_value(report).unwrap()
    }

    proptest! {
        #[test]
        fn every_report_is_read_as_it_was_written_but_for_characters_that_show_nothing(
            report in any_report()
        ) {
            let once = read(&pretty(&report).unwrap());
            let mut expected = value(&report);
            for text in texts(&mut expected) {
                *text = crate::base::printable::neutralised(text).into_owned();
            }
            // Names of programs are members of a set, whose order the shown text can change.
            let mut seen = value(&once);
            for launchers in [&mut expected, &mut seen] {
                launchers["counts"]["launchers"] = Value::Null;
            }
            prop_assert_eq!(seen, expected);
        }
    }

    proptest! {
        // A page takes a hundred times as long as a document.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_report_has_all_its_forms(report in any_report()) {
            let any = AnyReport::Sentinel(Box::new(read(&pretty(&report).unwrap())));
            let summary = ReportSummary::of(&any);
            prop_assert!(junit::junit(&summary).is_ok());
            prop_assert!(sarif::sarif(&summary).is_ok());
            prop_assert!(ocsf::ocsf(&summary).is_ok());
            prop_assert!(markdown::markdown(&summary).contains("sentinel"));
            let AnyReport::Sentinel(report) = any else { unreachable!() };
            let history = SentinelHistory::of([*report]).unwrap();
            html::tests::is_one_page(
                &html::sentinel::page(&history, &[ReportSignature::Unsigned]),
            );
        }
    }

    fn texts(value: &mut Value) -> Vec<&mut String> {
        match value {
            Value::String(text) => vec![text],
            Value::Array(items) => items.iter_mut().flat_map(texts).collect(),
            Value::Object(members) => members.values_mut().flat_map(texts).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
        }
    }
}
