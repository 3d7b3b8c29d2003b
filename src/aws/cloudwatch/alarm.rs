//! Alarms of CloudWatch on metrics: what PutMetricAlarm sets, and what DescribeAlarms returns.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an alarm watches, when it is in the state `ALARM`, and what it notifies: everything that
/// PutMetricAlarm sets, except tags. Two alarms with equal definitions behave the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlarmDefinition {
    /// Its name, unique in its account and region.
    pub(crate) name: String,
    /// Its description; none if it is empty.
    pub(crate) description: Option<String>,
    /// What is compared with the threshold.
    pub(crate) source: AlarmSource,
    /// The comparison as AWS names it, such as `LessThanThreshold`.
    pub(crate) comparison: String,
    pub(crate) threshold: AlarmThreshold,
    /// How many of the latest periods are looked at.
    pub(crate) evaluation_periods: u32,
    /// How many of them must be beyond the threshold. AWS's default is all of them.
    pub(crate) datapoints_to_alarm: u32,
    /// What a period without data counts as: `missing` (AWS's default), `breaching`,
    /// `notBreaching` or `ignore`.
    pub(crate) missing_data: String,
    /// Whether the actions are performed. AWS's default is that they are.
    pub(crate) actions_enabled: bool,
    /// The ARNs of what is notified in the state `ALARM`.
    pub(crate) alarm_actions: BTreeSet<String>,
    /// The ARNs of what is notified in the state `OK`.
    pub(crate) ok_actions: BTreeSet<String>,
    /// The ARNs of what is notified in the state `INSUFFICIENT_DATA`.
    pub(crate) insufficient_data_actions: BTreeSet<String>,
}

/// What an alarm compares with its threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AlarmSource {
    /// One metric.
    Metric(MetricStatistic),
    /// Metrics and expressions by their ids. The alarm compares the one that returns data.
    Queries(BTreeMap<String, AlarmQuery>),
}

/// A metric, and how its data points are summarised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MetricStatistic {
    /// Such as `AWS/SQS`.
    pub(crate) namespace: String,
    pub(crate) metric: String,
    /// The values by the dimensions' names.
    pub(crate) dimensions: BTreeMap<String, String>,
    /// `Sum`, `Maximum`, …, or a percentile such as `p90`.
    pub(crate) statistic: String,
    /// In seconds.
    pub(crate) period: u32,
    /// Only data points in this unit; none for all.
    pub(crate) unit: Option<String>,
}

/// A metric or an expression of an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlarmQuery {
    pub(crate) source: QuerySource,
    /// Its name in graphs; none if it is empty.
    pub(crate) label: Option<String>,
    /// Whether the alarm compares this one.
    pub(crate) return_data: bool,
    /// The account that has the metric, if it is another one.
    pub(crate) account: Option<String>,
}

/// Where the data points of a query come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum QuerySource {
    /// A metric.
    Metric(MetricStatistic),
    /// An expression on other queries of the alarm.
    Expression {
        /// Such as `a + b`.
        text: String,
        /// In seconds; only expressions that search for metrics have one.
        period: Option<u32>,
    },
}

/// A finite threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlarmThreshold(f64);

// It is never NaN, so it is equal to itself.
impl Eq for AlarmThreshold {}

impl From<u32> for AlarmThreshold {
    fn from(threshold: u32) -> Self {
        Self(threshold.into())
    }
}

impl AlarmThreshold {
    /// Reads a number as AWS writes it; none if it is not finite.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Self)
    }
}

impl std::fmt::Display for AlarmThreshold {
    /// As the SDKs write it, with at least one decimal place.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// An alarm as DescribeAlarms returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MetricAlarm {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// None for an alarm that cannot be expressed as a definition: one that compares with a model
    /// of anomalies, evaluates a PromQL query, or ignores percentiles of few samples.
    pub(crate) definition: Option<AlarmDefinition>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub(crate) state: String,
}
