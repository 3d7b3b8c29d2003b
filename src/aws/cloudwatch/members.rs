//! Writes an alarm as the members of a form.

use std::collections::BTreeMap;

use crate::aws::{
    cloudwatch::alarm::{AlarmDefinition, AlarmQuery, AlarmSource, MetricStatistic, QuerySource},
    query_protocol::Form,
};

/// The statistics that are not extended ones. Source: CloudWatch API reference, PutMetricAlarm.
const STATISTICS: [&str; 5] = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"];

/// Adds everything that a definition holds.
pub(super) fn add_alarm(form: &mut Form, alarm: &AlarmDefinition) {
    form.add("AlarmName", &alarm.name);
    add_optional(form, "AlarmDescription", alarm.description.as_deref());
    form.add("ActionsEnabled", &alarm.actions_enabled.to_string());
    form.add_list("OKActions", &alarm.ok_actions);
    form.add_list("AlarmActions", &alarm.alarm_actions);
    form.add_list("InsufficientDataActions", &alarm.insufficient_data_actions);
    match &alarm.source {
        AlarmSource::Metric(metric) => {
            let is_plain = STATISTICS.contains(&metric.statistic.as_str());
            add_metric(form, "", metric);
            form.add(if is_plain { "Statistic" } else { "ExtendedStatistic" }, &metric.statistic);
            form.add("Period", &metric.period.to_string());
            add_optional(form, "Unit", metric.unit.as_deref());
        }
        AlarmSource::Queries(queries) => {
            for (index, (id, query)) in queries.iter().enumerate() {
                add_query(form, &format!("Metrics.member.{}.", index + 1), id, query);
            }
        }
    }
    form.add("EvaluationPeriods", &alarm.evaluation_periods.to_string());
    form.add("DatapointsToAlarm", &alarm.datapoints_to_alarm.to_string());
    form.add("Threshold", &alarm.threshold.to_string());
    form.add("ComparisonOperator", &alarm.comparison);
    form.add("TreatMissingData", &alarm.missing_data);
}

/// Adds a list of pairs, whose two parts have these names.
pub(super) fn add_pairs(
    form: &mut Form,
    list: &str,
    [first, second]: [&str; 2],
    pairs: &BTreeMap<String, String>,
) {
    for (index, (name, value)) in pairs.iter().enumerate() {
        form.add(&format!("{list}.member.{}.{first}", index + 1), name);
        form.add(&format!("{list}.member.{}.{second}", index + 1), value);
    }
}

fn add_query(form: &mut Form, prefix: &str, id: &str, query: &AlarmQuery) {
    form.add(&format!("{prefix}Id"), id);
    match &query.source {
        QuerySource::Metric(metric) => {
            let of = format!("{prefix}MetricStat.");
            add_metric(form, &format!("{of}Metric."), metric);
            form.add(&format!("{of}Period"), &metric.period.to_string());
            form.add(&format!("{of}Stat"), &metric.statistic);
            add_optional(form, &format!("{of}Unit"), metric.unit.as_deref());
        }
        QuerySource::Expression { text, period } => {
            form.add(&format!("{prefix}Expression"), text);
            let period = period.map(|period| period.to_string());
            add_optional(form, &format!("{prefix}Period"), period.as_deref());
        }
    }
    add_optional(form, &format!("{prefix}Label"), query.label.as_deref());
    form.add(&format!("{prefix}ReturnData"), &query.return_data.to_string());
    add_optional(form, &format!("{prefix}AccountId"), query.account.as_deref());
}

/// Adds namespace, name and dimensions, as an alarm and a query both have them.
fn add_metric(form: &mut Form, prefix: &str, metric: &MetricStatistic) {
    form.add(&format!("{prefix}Namespace"), &metric.namespace);
    form.add(&format!("{prefix}MetricName"), &metric.metric);
    add_pairs(form, &format!("{prefix}Dimensions"), ["Name", "Value"], &metric.dimensions);
}

fn add_optional(form: &mut Form, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        form.add(name, value);
    }
}
