//! Metrics: the result of one run of the guard in numbers, and those of a sentinel while it works,
//! for Prometheus and for OpenTelemetry.

mod otlp;
mod prometheus;
pub(crate) mod send;
pub(crate) mod sentinel;

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use crate::{
    checks::{
        certificates,
        finding::{Level, Status},
    },
    facts::stored::StoredEncryption,
    report::judged::Judged,
    settings::{metrics_targets::Labels, policy::EncryptionKind},
    watch::records::{ClusterRecord, WatchResult},
};

/// The time limit for sending them.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// The result of one run.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) command: &'static str,
    pub(crate) exit_code: u8,
    pub(crate) succeeded: bool,
    pub(crate) took: Duration,
    pub(crate) ended: OffsetDateTime,
    /// None if it ended before there was anything to count.
    pub(crate) counts: Option<MetricCounts>,
}

/// The counts of the results.
#[derive(Clone, Debug)]
pub(crate) struct MetricCounts {
    findings: BTreeMap<(&'static str, &'static str), u64>,
    clusters: BTreeMap<&'static str, u64>,
    objects: BTreeMap<&'static str, u64>,
    /// When the first certificate for traffic between nodes expires, if that is known.
    certificates_expire: Option<OffsetDateTime>,
}

const STATUSES: [Status; 5] =
    [Status::Passed, Status::Failed, Status::Unknown, Status::NotApplicable, Status::Excepted];
const LEVELS: [Level; 2] = [Level::Required, Level::Advisory];

fn status(status: Status) -> &'static str {
    match status {
        Status::Passed => "passed",
        Status::Failed => "failed",
        Status::Unknown => "unknown",
        Status::NotApplicable => "not-applicable",
        Status::Excepted => "excepted",
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Required => "required",
        Level::Advisory => "advisory",
    }
}

fn judgement(record: &ClusterRecord, is_enforced: bool) -> &'static str {
    if record.is_unsafe {
        "unsafe"
    } else if !is_enforced {
        "not-enforced"
    } else if record.has_passed() {
        "verified"
    } else {
        "unconfirmed"
    }
}

/// S3's own names, as used in inventories.
fn encryption(stored: &StoredEncryption) -> &'static str {
    match stored {
        StoredEncryption::Unencrypted => "NOT-SSE",
        StoredEncryption::Kind(EncryptionKind::SseS3, _) => "SSE-S3",
        StoredEncryption::Kind(EncryptionKind::SseKms, _) => "SSE-KMS",
        StoredEncryption::Kind(EncryptionKind::DsseKms, _) => "DSSE-KMS",
        StoredEncryption::CustomerKey => "SSE-C",
        StoredEncryption::Other(_) => "other",
    }
}

impl MetricCounts {
    /// Counts the results, and the clusters of `watched`. Absent values count as zero, so that a
    /// series never disappears.
    pub(crate) fn of(judged: &Judged<'_>, watched: Option<&WatchResult>) -> Self {
        let mut counts = Self {
            findings: STATUSES
                .into_iter()
                .flat_map(|of| LEVELS.map(|at| ((status(of), level(at)), 0)))
                .collect(),
            clusters: ["verified", "unsafe", "unconfirmed", "not-enforced"]
                .map(|name| (name, 0))
                .into(),
            objects: ["NOT-SSE", "SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C", "other", "unseen"]
                .map(|name| (name, 0))
                .into(),
            certificates_expire: certificates::first_expiry(judged.facts),
        };
        let clusters = watched.into_iter().flat_map(|watched| &watched.clusters);
        let of_clusters = clusters.clone().flat_map(|record| &record.findings);
        for finding in judged.findings.iter().chain(of_clusters) {
            *counts.findings.entry((status(finding.status), level(finding.level))).or_default() +=
                1;
        }
        let is_enforced = watched.is_none_or(|watched| watched.lowered_on_clusters().is_empty());
        for record in clusters {
            *counts.clusters.entry(judgement(record, is_enforced)).or_default() += 1;
        }
        for survey in judged.written.iter().map(|written| &written.survey) {
            for tally in &survey.kinds {
                *counts.objects.entry(encryption(&tally.stored)).or_default() += tally.objects;
            }
            *counts.objects.entry("unseen").or_default() +=
                survey.unseen.as_ref().map_or(0, |unseen| unseen.objects);
        }
        counts
    }
}

/// Labels of a sample, by name.
type SampleLabels = BTreeMap<String, String>;

/// How the values of a metric change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    /// They go up and down.
    Gauge,
    /// They count from the start of the process, and only grow.
    Counter,
}

/// A gauge or a counter, with its name in each system.
#[derive(Clone, Debug, PartialEq)]
struct Metric {
    kind: MetricKind,
    /// By the conventions of Prometheus: the base unit ends the name. The name of a counter is
    /// written without `_total`, which its samples get.
    prometheus: &'static str,
    /// By the conventions of OpenTelemetry: dots, and a separate unit.
    otel: &'static str,
    /// In UCUM.
    unit: &'static str,
    help: &'static str,
    samples: Vec<(SampleLabels, f64)>,
}

/// Name in each system, unit, and meaning.
type Description = (&'static str, &'static str, &'static str, &'static str);

const DURATION: Description = (
    "emr_etl_guard_run_duration_seconds",
    "emr_etl_guard.run.duration",
    "s",
    "How long the last run took",
);
const ENDED: Description = (
    "emr_etl_guard_run_end_timestamp_seconds",
    "emr_etl_guard.run.end_timestamp",
    "s",
    "When the last run ended, since 1970",
);
const SUCCESS: Description = (
    "emr_etl_guard_run_last_success_timestamp_seconds",
    "emr_etl_guard.run.last_success_timestamp",
    "s",
    "When a run last ended with exit code 0, since 1970",
);
const EXIT_CODE: Description = (
    "emr_etl_guard_run_exit_code",
    "emr_etl_guard.run.exit_code",
    "1",
    "The exit code of the last run",
);
const FINDINGS: Description = (
    "emr_etl_guard_findings",
    "emr_etl_guard.findings",
    "{finding}",
    "Findings of the last run, on clusters included",
);
const CLUSTERS: Description = (
    "emr_etl_guard_clusters",
    "emr_etl_guard.clusters",
    "{cluster}",
    "Clusters of the last run, by what was found of them",
);
const OBJECTS: Description = (
    "emr_etl_guard_objects",
    "emr_etl_guard.objects",
    "{object}",
    "Objects that the last run wrote and that were looked at, by their encryption",
);

const EXPIRY: Description = (
    "emr_etl_guard_certificate_expiry_timestamp_seconds",
    "emr_etl_guard.certificate.expiry_timestamp",
    "s",
    "When the first certificate for traffic between nodes expires, since 1970",
);

const DESCRIPTIONS: [Description; 8] =
    [DURATION, ENDED, SUCCESS, EXIT_CODE, FINDINGS, CLUSTERS, OBJECTS, EXPIRY];

#[expect(clippy::cast_precision_loss, reason = "no run counts 2^53 of anything")]
fn number(count: u64) -> f64 {
    count as f64
}

/// All gauges of a run, including those without samples.
fn gauges(measured: &Measured, labels: &Labels) -> Vec<Metric> {
    let own = |pairs: &[(&str, &str)]| -> SampleLabels {
        let all = labels.iter().chain([("command", measured.command)]).chain(pairs.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let one = |value: f64| vec![(own(&[]), value)];
    let since = |time: OffsetDateTime| number(time.unix_timestamp().unsigned_abs());
    let ended = since(measured.ended);
    let counts = measured.counts.as_ref();
    let findings = counts.into_iter().flat_map(|counts| &counts.findings);
    let by = |name: &'static str, counted: Option<&BTreeMap<&'static str, u64>>| {
        counted
            .into_iter()
            .flatten()
            .map(|(value, count)| (own(&[(name, value)]), number(*count)))
            .collect()
    };
    let samples = [
        one(measured.took.as_secs_f64()),
        one(ended),
        if measured.succeeded { one(ended) } else { Vec::new() },
        one(f64::from(measured.exit_code)),
        findings
            .map(|((status, level), count)| {
                (own(&[("status", status), ("level", level)]), number(*count))
            })
            .collect(),
        by("judgement", counts.map(|counts| &counts.clusters)),
        by("encryption", counts.map(|counts| &counts.objects)),
        counts
            .and_then(|counts| counts.certificates_expire)
            .map_or_else(Vec::new, |expiry| one(since(expiry))),
    ];
    let described = DESCRIPTIONS.into_iter().zip(samples);
    described
        .map(|((prometheus, otel, unit, help), samples)| Metric {
            kind: MetricKind::Gauge,
            prometheus,
            otel,
            unit,
            help,
            samples,
        })
        .collect()
}
