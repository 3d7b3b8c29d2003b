//! The parts of CloudWatch's answers that the guard reads.

use std::{collections::BTreeMap, str::FromStr};

use crate::aws::{
    cloudwatch::alarm::{
        AlarmDefinition, AlarmQuery, AlarmSource, AlarmThreshold, MetricAlarm, MetricStatistic,
        QuerySource,
    },
    query_protocol::xml::{AnswerError, Element},
};

/// The name of the items of lists.
const MEMBER: &str = "member";
/// Settings of alarms that a definition does not have. Source: CloudWatch API reference,
/// PutMetricAlarm.
const OTHER_SETTINGS: [&str; 4] = [
    "ThresholdMetricId",
    "EvaluateLowSampleCountPercentile",
    "EvaluationCriteria",
    "EvaluationInterval",
];

/// One page of DescribeAlarms: its alarms, and the token for the next page.
pub(super) fn alarm_page(
    answer: &Element,
) -> Result<(Vec<MetricAlarm>, Option<String>), AnswerError> {
    let result = answer.required("DescribeAlarmsResult")?;
    Ok((result.list("MetricAlarms", MEMBER, alarm)?, result.text("NextToken")?))
}

fn alarm(item: &Element) -> Result<MetricAlarm, AnswerError> {
    let (name, arn) = (item.required_text("AlarmName")?, item.required_text("AlarmArn")?);
    let state = item.required_text("StateValue")?;
    let mut has_other_settings = false;
    for name in OTHER_SETTINGS {
        has_other_settings |= item.child(name)?.is_some();
    }
    let definition = if has_other_settings { None } else { Some(definition(item)?) };
    Ok(MetricAlarm { name, arn, definition, state })
}

fn definition(item: &Element) -> Result<AlarmDefinition, AnswerError> {
    let evaluation_periods = number(item, "EvaluationPeriods")?;
    let threshold = item.required_text("Threshold")?;
    let actions = |name| {
        let actions = item.inner_list(name, MEMBER, |action| action.leaf(MEMBER))?;
        Ok(actions.into_iter().collect())
    };
    let source = match item.child("Metrics")? {
        Some(queries) if !queries.children.is_empty() => AlarmSource::Queries(queries_of(item)?),
        _ => AlarmSource::Metric(MetricStatistic {
            statistic: match optional(item, "ExtendedStatistic")? {
                Some(statistic) => statistic,
                None => item.required_text("Statistic")?,
            },
            period: number(item, "Period")?,
            unit: optional(item, "Unit")?,
            ..metric(item)?
        }),
    };
    Ok(AlarmDefinition {
        name: item.required_text("AlarmName")?,
        description: optional(item, "AlarmDescription")?,
        source,
        comparison: item.required_text("ComparisonOperator")?,
        threshold: AlarmThreshold::parse(&threshold).ok_or(AnswerError::Unexpected("Threshold"))?,
        evaluation_periods,
        datapoints_to_alarm: optional_number(item, "DatapointsToAlarm")?
            .unwrap_or(evaluation_periods),
        missing_data: optional(item, "TreatMissingData")?.unwrap_or_else(|| "missing".to_owned()),
        actions_enabled: item
            .flag("ActionsEnabled")?
            .ok_or(AnswerError::Missing("ActionsEnabled"))?,
        alarm_actions: actions("AlarmActions")?,
        ok_actions: actions("OKActions")?,
        insufficient_data_actions: actions("InsufficientDataActions")?,
    })
}

/// Namespace, name and dimensions of a metric, as an alarm and a query both have them.
fn metric(item: &Element) -> Result<MetricStatistic, AnswerError> {
    let dimension = |item: &Element| Ok((item.required_text("Name")?, item.text("Value")?));
    let mut dimensions = BTreeMap::new();
    for (name, value) in item.inner_list("Dimensions", MEMBER, dimension)? {
        let value = value.ok_or(AnswerError::Missing("Value"))?;
        if dimensions.insert(name, value).is_some() {
            return Err(AnswerError::Unexpected("Dimensions"));
        }
    }
    Ok(MetricStatistic {
        namespace: item.required_text("Namespace")?,
        metric: item.required_text("MetricName")?,
        dimensions,
        statistic: String::new(),
        period: 0,
        unit: None,
    })
}

fn queries_of(item: &Element) -> Result<BTreeMap<String, AlarmQuery>, AnswerError> {
    let mut queries = BTreeMap::new();
    for (id, query) in item.inner_list("Metrics", MEMBER, query)? {
        if queries.insert(id, query).is_some() {
            return Err(AnswerError::Unexpected("Metrics"));
        }
    }
    Ok(queries)
}

fn query(item: &Element) -> Result<(String, AlarmQuery), AnswerError> {
    let source = match item.child("MetricStat")? {
        Some(of) => {
            let inner = of.required("Metric")?;
            QuerySource::Metric(MetricStatistic {
                statistic: of.required_text("Stat")?,
                period: number(of, "Period")?,
                unit: optional(of, "Unit")?,
                ..metric(inner)?
            })
        }
        None => QuerySource::Expression {
            text: item.required_text("Expression")?,
            period: optional_number(item, "Period")?,
        },
    };
    let query = AlarmQuery {
        source,
        label: optional(item, "Label")?,
        // CloudWatch's default.
        return_data: item.flag("ReturnData")?.unwrap_or(true),
        account: optional(item, "AccountId")?,
    };
    Ok((item.required_text("Id")?, query))
}

/// The text of a child that has one.
fn optional(item: &Element, name: &'static str) -> Result<Option<String>, AnswerError> {
    Ok(item.text(name)?.filter(|text| !text.is_empty()))
}

fn optional_number(item: &Element, name: &'static str) -> Result<Option<u32>, AnswerError> {
    let read = |text: String| u32::from_str(text.trim()).map_err(|_| AnswerError::Unexpected(name));
    optional(item, name)?.map(read).transpose()
}

fn number(item: &Element, name: &'static str) -> Result<u32, AnswerError> {
    optional_number(item, name)?.ok_or(AnswerError::Missing(name))
}
