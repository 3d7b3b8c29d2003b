//! The numbers of a sentinel while it works: for its HTTP endpoint, and for a collector.

use std::fmt;

use crate::{
    report::metrics::{Metric, MetricKind, SampleLabels, number, prometheus},
    sentinel::{
        numbers::{PlaceNumbers, SentinelNumbers},
        record::SentinelVerdict,
    },
    settings::metrics_targets::Labels,
};

/// The content type of [`SentinelNumbers::text`]. Source: OpenMetrics 1.0.0, "Protocol
/// Negotiation".
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl SentinelNumbers {
    /// The numbers as Prometheus and others read them from an HTTP endpoint, in the form of
    /// [`CONTENT_TYPE`]. `labels` are those of the settings; where one has the name of a label of
    /// the sentinel's own, the sentinel's is used.
    ///
    /// # Errors
    /// When they have no such form, which would be a bug.
    pub(crate) fn text(&self, labels: &Labels) -> Result<String, fmt::Error> {
        Ok(prometheus::render(&self.metrics(labels))? + "# EOF\n")
    }

    /// The metrics. A verdict that no cluster has is counted as zero, so that no series disappears.
    pub(super) fn metrics(&self, labels: &Labels) -> Vec<Metric> {
        let own = |pairs: &[(&str, &str)]| -> SampleLabels {
            let all = labels.iter().chain(pairs.iter().copied());
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let one = |value: f64| vec![(own(&[]), value)];
        let of_places = |value: &dyn Fn(&PlaceNumbers) -> f64| -> Vec<(SampleLabels, f64)> {
            let places = self.places.iter();
            places
                .map(|((account, region), place)| {
                    (own(&[("account", account), ("region", region)]), value(place))
                })
                .collect()
        };
        let living = self.places.iter().flat_map(|((account, region), place)| {
            SentinelVerdict::ALL.map(|verdict| {
                let labels = [("account", &**account), ("region", region), verdict_label(verdict)];
                (own(&labels), number(place.living.get(&verdict).copied().unwrap_or_default()))
            })
        });
        let judged = SentinelVerdict::ALL.map(|verdict| {
            let count = self.judged.get(&verdict).copied().unwrap_or_default();
            (own(&[verdict_label(verdict)]), number(count))
        });
        let accounts = self.accounts.iter().map(|(account, is_unseen)| {
            (own(&[("account", account)]), f64::from(u8::from(*is_unseen)))
        });
        let calls = self
            .emr_calls
            .iter()
            .map(|(operation, count)| (own(&[("operation", operation)]), number(*count)));
        let started = number(self.started.unix_timestamp().unsigned_abs());
        vec![
            STARTED.with(one(started)),
            LIVING.with(living.collect()),
            SEEN.with(one(number(self.seen))),
            JUDGED.with(judged.into()),
            LIST_AGE.with(of_places(&|place| place.list_age.as_secs_f64())),
            UNSEEN.with(of_places(&|place| f64::from(u8::from(place.is_unseen)))),
            ACCOUNT_UNSEEN.with(accounts.collect()),
            TERMINATIONS.with(one(number(self.terminations))),
            LAST_HOUR.with(one(number(self.terminations_last_hour))),
            LIMIT.with(one(f64::from(self.terminations_per_hour))),
            LIMITED.with(one(number(self.limited))),
            CALLS.with(calls.collect()),
            THROTTLED.with(one(number(self.throttled))),
            UNDELIVERED.with(one(number(self.undelivered))),
            UNWRITTEN.with(one(number(self.unwritten))),
            STORED.with(one(number(self.stored_bytes))),
        ]
    }
}

const fn verdict_label(verdict: SentinelVerdict) -> (&'static str, &'static str) {
    ("verdict", verdict.name())
}

/// A metric without its samples: its kind, its name in each system, its unit, and its meaning.
#[derive(Clone, Copy, Debug)]
struct Described(MetricKind, &'static str, &'static str, &'static str, &'static str);

impl Described {
    fn with(self, samples: Vec<(SampleLabels, f64)>) -> Metric {
        let Self(kind, prometheus, otel, unit, help) = self;
        Metric { kind, prometheus, otel, unit, help, samples }
    }
}

const STARTED: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_start_timestamp_seconds",
    "emr_etl_guard.sentinel.start_timestamp",
    "s",
    "When the sentinel started, since 1970",
);
const LIVING: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_living_clusters",
    "emr_etl_guard.sentinel.living_clusters",
    "{cluster}",
    "Clusters that live, by place and verdict",
);
const SEEN: Described = Described(
    MetricKind::Counter,
    "emr_etl_guard_sentinel_clusters_seen",
    "emr_etl_guard.sentinel.clusters_seen",
    "{cluster}",
    "Clusters that were seen for the first time, since the start",
);
const JUDGED: Described = Described(
    MetricKind::Counter,
    "emr_etl_guard_sentinel_clusters_judged",
    "emr_etl_guard.sentinel.clusters_judged",
    "{cluster}",
    "Clusters, once under each verdict that they have had since the start",
);
const LIST_AGE: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_list_age_seconds",
    "emr_etl_guard.sentinel.list_age",
    "s",
    "The time since the last complete list of a place, or since the start",
);
const UNSEEN: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_place_unseen",
    "emr_etl_guard.sentinel.place_unseen",
    "1",
    "1 where it is unknown at present which clusters a place has",
);
const ACCOUNT_UNSEEN: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_account_unseen",
    "emr_etl_guard.sentinel.account_unseen",
    "1",
    "1 where it is unknown which regions an account has, so that none of them is watched",
);
const TERMINATIONS: Described = Described(
    MetricKind::Counter,
    "emr_etl_guard_sentinel_terminations",
    "emr_etl_guard.sentinel.terminations",
    "{cluster}",
    "Terminations that were requested since the start",
);
const LAST_HOUR: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_terminations_last_hour",
    "emr_etl_guard.sentinel.terminations_last_hour",
    "{cluster}",
    "Terminations that were requested within the last hour",
);
const LIMIT: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_terminations_per_hour_limit",
    "emr_etl_guard.sentinel.terminations_per_hour_limit",
    "{cluster}",
    "How many terminations the settings allow within an hour",
);
const LIMITED: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_limited_clusters",
    "emr_etl_guard.sentinel.limited_clusters",
    "{cluster}",
    "Unsafe clusters that live on because the limit of terminations is reached",
);
const CALLS: Described = Described(
    MetricKind::Counter,
    "emr_etl_guard_sentinel_emr_calls",
    "emr_etl_guard.sentinel.emr_calls",
    "{call}",
    "Calls to EMR since the start",
);
const THROTTLED: Described = Described(
    MetricKind::Counter,
    "emr_etl_guard_sentinel_emr_throttled",
    "emr_etl_guard.sentinel.emr_throttled",
    "{call}",
    "Calls that EMR throttled since the start",
);
const UNDELIVERED: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_reports_undelivered",
    "emr_etl_guard.sentinel.reports_undelivered",
    "{report}",
    "Reports that wait to be delivered",
);
const UNWRITTEN: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_reports_unwritten",
    "emr_etl_guard.sentinel.reports_unwritten",
    "{report}",
    "Reports in a row that could not be written; the next one has what they were to have",
);
const STORED: Described = Described(
    MetricKind::Gauge,
    "emr_etl_guard_sentinel_stored_bytes",
    "emr_etl_guard.sentinel.stored",
    "By",
    "The size of the reports and of the quarters' files in the state directory",
);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use time::OffsetDateTime;

    use super::*;

    fn numbers() -> SentinelNumbers {
        let place = |living: &[(SentinelVerdict, u64)], age, is_unseen| PlaceNumbers {
            living: living.iter().copied().collect(),
            list_age: Duration::from_millis(age),
            is_unseen,
        };
        let at = |region: &str| ("123456789012".to_owned(), region.to_owned());
        SentinelNumbers {
            started: OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap(),
            places: BTreeMap::from([
                (
                    at("eu-west-1"),
                    place(
                        &[(SentinelVerdict::Unsafe, 2), (SentinelVerdict::Passed, 11)],
                        30_500,
                        false,
                    ),
                ),
                (at("us-east-1"), place(&[], 900_000, true)),
            ]),
            accounts: BTreeMap::from([
                ("123456789012".to_owned(), false),
                ("210987654321".to_owned(), true),
            ]),
            judged: BTreeMap::from([(SentinelVerdict::Unsafe, 3), (SentinelVerdict::Passed, 40)]),
            seen: 42,
            terminations: 1,
            terminations_last_hour: 1,
            terminations_per_hour: 5,
            limited: 0,
            emr_calls: BTreeMap::from([
                ("ListClusters".to_owned(), 2880),
                ("DescribeCluster".to_owned(), 61),
            ]),
            throttled: 0,
            undelivered: 1,
            unwritten: 2,
            stored_bytes: 123_456,
        }
    }

    #[test]
    fn the_endpoint_answers_in_the_form_of_openmetrics() {
        insta::assert_snapshot!(numbers().text(&"stage=prod".parse().unwrap()).unwrap());
    }

    #[test]
    fn a_label_of_the_settings_never_hides_one_of_the_sentinels_own() {
        let text = numbers().text(&"region=mine,account=mine".parse().unwrap()).unwrap();
        let of_places: Vec<&str> =
            text.lines().filter(|line| line.contains("place_unseen{")).collect();
        assert_eq!(
            of_places,
            [
                "emr_etl_guard_sentinel_place_unseen{account=\"123456789012\",region=\"eu-west-1\"} 0.0",
                "emr_etl_guard_sentinel_place_unseen{account=\"123456789012\",region=\"us-east-1\"} 1.0",
            ]
        );
    }

    #[test]
    fn a_sentinel_that_has_seen_nothing_has_its_series() {
        let none = SentinelNumbers {
            places: BTreeMap::new(),
            accounts: BTreeMap::new(),
            judged: BTreeMap::new(),
            seen: 0,
            emr_calls: BTreeMap::new(),
            ..numbers()
        };
        let text = none.text(&Labels::default()).unwrap();
        for verdict in SentinelVerdict::ALL {
            let sample = format!(
                "emr_etl_guard_sentinel_clusters_judged_total{{verdict=\"{}\"}} 0.0\n",
                verdict.name()
            );
            assert!(text.contains(&sample), "{text}");
        }
        assert!(text.contains("\nemr_etl_guard_sentinel_clusters_seen_total 0.0\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}
