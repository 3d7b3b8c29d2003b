//! Owns what `PutMetricAlarm` does not accept. All of it is a `ValidationError`; messages are AWS's
//! where a source is named, and modelled after those elsewhere.

use std::collections::BTreeSet;

use super::members::{Members, invalid};
use crate::call::Service;
use crate::reply::Failure;
use emr_world::partition::partition_of;

const COMPARISONS: [&str; 4] = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
];
const STATISTICS: [&str; 5] = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"];
const MISSING_DATA: [&str; 4] = ["breaching", "notBreaching", "ignore", "missing"];
/// The settings of an alarm on one metric.
const OF_METRIC: [&str; 7] =
    ["MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit"];
const MOST_ACTIONS: usize = 5;
const MOST_DIMENSIONS: usize = 30;
const MOST_TAGS: usize = 50;
const LONGEST_NAME: usize = 255;
const LONGEST_DESCRIPTION: usize = 1024;
/// The longest time that an alarm can look back, in seconds: with periods of an hour or more, and
/// with shorter ones. Source: API reference, `Period` of `PutMetricAlarm`.
const LONGEST: [u64; 2] = [604_800, 86_400];

/// Checks the settings of an alarm that is put in this region.
pub(super) fn alarm(alarm: &Members<'_>, region: &str) -> Result<(), Failure> {
    for other in ["ThresholdMetricId", "EvaluationCriteria", "EvaluationInterval"] {
        if alarm.has(other) {
            let what = format!("PutMetricAlarm with {other}");
            return Err(Failure::not_modelled(Service::CloudWatch, &what));
        }
    }
    let name = required(alarm, "AlarmName")?;
    if name.chars().count() > LONGEST_NAME {
        return Err(too_long("alarmName", LONGEST_NAME));
    }
    if name.chars().any(|letter| letter.is_ascii_control()) {
        return Err(invalid("Value at 'alarmName' holds control characters"));
    }
    let description = alarm.text("AlarmDescription").unwrap_or_default();
    if description.chars().count() > LONGEST_DESCRIPTION {
        return Err(too_long("alarmDescription", LONGEST_DESCRIPTION));
    }
    one_of("comparisonOperator", required(alarm, "ComparisonOperator")?, &COMPARISONS)?;
    if let Some(missing) = alarm.text("TreatMissingData") {
        one_of("treatMissingData", missing, &MISSING_DATA)?;
    }
    if let Some(enabled) = alarm.text("ActionsEnabled") {
        one_of("actionsEnabled", enabled, &["true", "false"])?;
    }
    let threshold = alarm.text("Threshold").ok_or_else(|| is_null("Threshold"))?;
    if !threshold.parse().is_ok_and(f64::is_finite) {
        return Err(invalid(format!("Value '{threshold}' at 'threshold' is no number")));
    }
    let periods = evaluation_periods(alarm)?;
    if alarm.has("Metrics") {
        queries(alarm, periods)?;
    } else {
        metric(alarm, periods)?;
    }
    for list in ["OKActions", "AlarmActions", "InsufficientDataActions"] {
        actions(&alarm.texts(list), list, region)?;
    }
    if alarm.items("Tags").len() > MOST_TAGS {
        return Err(too_long("tags", MOST_TAGS));
    }
    Ok(())
}

fn required<'a>(members: &Members<'a>, name: &str) -> Result<&'a str, Failure> {
    members.text(name).ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member \
             must not be null",
            in_error(name)
        ))
    })
}

/// A member's name as validation errors write it.
fn in_error(name: &str) -> String {
    let mut name = name.to_owned();
    name[..1].make_ascii_lowercase();
    name
}

fn too_long(name: &str, most: usize) -> Failure {
    invalid(format!(
        "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must \
         have length less than or equal to {most}"
    ))
}

/// Recorded of `SetAlarmState`.
fn one_of(name: &str, value: &str, all: &[&str]) -> Result<(), Failure> {
    if all.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: \
         Member must satisfy enum value set: [{}]",
        all.join(", ")
    )))
}

/// Seen of `MetricName` in aws-cloudformation/cfn-lint #771.
fn is_null(name: &str) -> Failure {
    invalid(format!("{name} must not be null"))
}

fn at_least_one(members: &Members<'_>, name: &str) -> Result<Option<u64>, Failure> {
    let number = members.number(name)?;
    if number == Some(0) {
        return Err(invalid(format!(
            "1 validation error detected: Value '0' at '{}' failed to satisfy constraint: Member \
             must have value greater than or equal to 1",
            in_error(name)
        )));
    }
    Ok(number)
}

fn evaluation_periods(alarm: &Members<'_>) -> Result<u64, Failure> {
    let periods = at_least_one(alarm, "EvaluationPeriods")?;
    let periods = periods.ok_or_else(|| is_null("EvaluationPeriods"))?;
    match at_least_one(alarm, "DatapointsToAlarm")? {
        // Seen in hashicorp/terraform #24070.
        Some(points) if points > periods => {
            Err(invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods"))
        }
        _ => Ok(periods),
    }
}

/// An alarm on one metric.
fn metric(alarm: &Members<'_>, periods: u64) -> Result<(), Failure> {
    for name in ["MetricName", "Namespace", "Period"] {
        alarm.text(name).ok_or_else(|| is_null(name))?;
    }
    match (alarm.text("Statistic"), alarm.text("ExtendedStatistic")) {
        (Some(statistic), None) => one_of("statistic", statistic, &STATISTICS)?,
        (None, Some(_)) => {}
        (None, None) => return Err(is_null("Statistic")),
        (Some(_), Some(_)) => {
            return Err(invalid("Statistic and ExtendedStatistic exclude each other"));
        }
    }
    dimensions(alarm)?;
    period(alarm, periods)
}

fn period(members: &Members<'_>, periods: u64) -> Result<(), Failure> {
    let period = at_least_one(members, "Period")?.ok_or_else(|| is_null("Period"))?;
    if !matches!(period, 10 | 20 | 30) && !period.is_multiple_of(60) {
        return Err(invalid("Period must be 10, 20, 30 or a multiple of 60"));
    }
    let longest = if period < 3600 { LONGEST[1] } else { LONGEST[0] };
    if period.saturating_mul(periods) > longest {
        return Err(invalid(format!(
            "Metrics cannot be checked across more than {} (EvaluationPeriods * Period must be <= \
             {longest}).",
            if longest == LONGEST[1] { "a day" } else { "seven days" }
        )));
    }
    Ok(())
}

fn dimensions(metric: &Members<'_>) -> Result<(), Failure> {
    let dimensions = metric.items("Dimensions");
    if dimensions.len() > MOST_DIMENSIONS {
        return Err(too_long("dimensions", MOST_DIMENSIONS));
    }
    let mut names = BTreeSet::new();
    for dimension in &dimensions {
        required(dimension, "Value")?;
        if !names.insert(required(dimension, "Name")?) {
            return Err(invalid("A dimension is given twice"));
        }
    }
    Ok(())
}

/// An alarm on metrics and expressions, exactly one of which it watches.
fn queries(alarm: &Members<'_>, periods: u64) -> Result<(), Failure> {
    // Seen of `Statistic` in cloudtools/troposphere #1276.
    if let Some(name) = OF_METRIC.iter().find(|name| alarm.has(name)) {
        return Err(invalid(format!("{name} should not be set if list of Metrics is set.")));
    }
    let queries = alarm.items("Metrics");
    let ids: Vec<&str> = queries.iter().filter_map(|query| query.text("Id")).collect();
    let returns = |query: &&Members<'_>| query.text("ReturnData") != Some("false");
    // Seen in hashicorp/terraform-provider-aws #29894.
    if queries.iter().filter(returns).count() != 1 {
        return Err(invalid("Exactly one element of the metrics list should return data."));
    }
    let distinct: BTreeSet<&&str> = ids.iter().collect();
    if distinct.len() != queries.len() || !ids.iter().all(|id| is_id(id)) {
        return Err(invalid_list());
    }
    for query in &queries {
        match (query.has("MetricStat"), query.text("Expression")) {
            (true, None) => {
                let stat = query.below("MetricStat");
                let metric = stat.below("Metric");
                if metric.text("MetricName").is_none()
                    || metric.text("Namespace").is_none()
                    || stat.text("Stat").is_none()
                {
                    return Err(invalid_list());
                }
                dimensions(&metric)?;
                period(&stat, periods)?;
            }
            (false, Some(expression)) if names_only(expression, &ids) => {}
            _ => return Err(invalid_list()),
        }
    }
    Ok(())
}

/// Seen in hashicorp/terraform-provider-aws #19567.
fn invalid_list() -> Failure {
    invalid("Invalid metrics list")
}

/// Whether a text can be the id of a query.
fn is_id(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Whether all ids in an expression are among these. Functions are in capitals; what is in quotes
/// is text.
fn names_only(expression: &str, ids: &[&str]) -> bool {
    let outside: String = expression.split(['"', '\'']).step_by(2).collect::<Vec<_>>().join(" ");
    outside
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| is_id(word))
        .all(|word| ids.contains(&word))
}

/// What is notified must be in the region of the alarm, and need not exist.
fn actions(actions: &[&str], list: &str, region: &str) -> Result<(), Failure> {
    if actions.len() > MOST_ACTIONS {
        return Err(too_long(&in_error(list), MOST_ACTIONS));
    }
    for action in actions {
        let parts: Vec<&str> = action.splitn(6, ':').collect();
        let ["arn", partition, _, of, _, _] = parts[..] else {
            // Seen in hashicorp/terraform #19015: without a message.
            return Err(invalid(""));
        };
        let own = partition_of(region);
        // Seen in aws-samples/amazon-cloudwatch-auto-alarms #61.
        if partition != own {
            return Err(invalid(format!(
                "Invalid partition {partition} specified. Only {own} is supported."
            )));
        }
        // Seen in cds-snc/notification-terraform #128.
        if of != region {
            return Err(invalid(format!(
                "Invalid region {of} specified. Only {region} is supported."
            )));
        }
    }
    Ok(())
}
