//! Owns CloudWatch's operations on alarms on metrics. Sources: Amazon CloudWatch API reference;
//! AWS's answers as recorded in LocalStack's `tests/aws/services/cloudwatch`; and the threads that
//! the single rules name.

mod check;
mod members;

use self::members::{Members, invalid};
use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::alarm::Alarm;
use emr_world::clock::iso;
use emr_world::world::{Caller, World};

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
/// How many alarms a request can name, and how many can be on a page.
const MOST_ALARMS: usize = 100;
/// How many are on a page if the request does not say.
const USUAL_PAGE: usize = 50;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "DescribeAlarms" => describe(world, call, caller),
        "PutMetricAlarm" => put(world, call, caller),
        "DeleteAlarms" => delete(world, call, caller),
        other => Err(Failure::not_modelled(Service::CloudWatch, other)),
    }
}

/// The answer of an operation with or without a result.
fn document(operation: &str, result: Option<impl FnOnce(&mut Xml)>) -> Reply {
    let mut xml = Xml::new();
    xml.root(&format!("{operation}Response"), NAMESPACE, |xml| {
        if let Some(result) = result {
            xml.element(&format!("{operation}Result"), result);
        }
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
        });
    });
    Reply::xml(xml)
}

fn done(operation: &str) -> Reply {
    document(operation, None::<fn(&mut Xml)>)
}

fn is_here(alarm: &Alarm, call: &Call, caller: &Caller) -> bool {
    alarm.account == caller.account && alarm.region == call.region
}

/// Makes an alarm, or overwrites all settings of the one with its name. Tags are set only on a new
/// one; an existing one keeps its state.
fn put(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let members = Members::of(&call.form);
    check::alarm(&members, &call.region)?;
    let name = members.text("AlarmName").unwrap_or_default().to_owned();
    let mut settings = call.form.clone();
    settings.retain(|member, _| {
        !matches!(member.as_str(), "Action" | "Version" | "AlarmName")
            && !member.starts_with("Tags.")
    });
    let now = world.now;
    let present = world.alarms.iter_mut().find(|it| is_here(it, call, caller) && it.name == name);
    if let Some(alarm) = present {
        alarm.settings = settings;
        alarm.configured = now;
        return Ok(done("PutMetricAlarm"));
    }
    let tags = members.items("Tags");
    let tag = |tag: Members<'_>| {
        let text = |part| tag.text(part).unwrap_or_default().to_owned();
        (text("Key"), text("Value"))
    };
    world.alarms.push(Alarm {
        account: caller.account.clone(),
        region: call.region.clone(),
        name,
        settings,
        tags: tags.into_iter().map(tag).collect(),
        state: "INSUFFICIENT_DATA".to_owned(),
        state_since: now,
        configured: now,
    });
    Ok(done("PutMetricAlarm"))
}

/// The names in a request.
fn names(call: &Call) -> Result<Vec<String>, Failure> {
    let names = call.list("AlarmNames");
    if names.len() <= MOST_ALARMS {
        return Ok(names);
    }
    Err(invalid(format!(
        "1 validation error detected: Value at 'alarmNames' failed to satisfy constraint: Member \
         must have length less than or equal to {MOST_ALARMS}"
    )))
}

/// One page of alarms. The names of alarms that do not exist are passed over.
fn describe(world: &World, call: &Call, caller: &Caller) -> Answer {
    for other in ["ChildrenOfAlarmName", "ParentsOfAlarmName", "AlarmTypes.member.1"] {
        if call.form.contains_key(other) {
            let what = format!("DescribeAlarms with {other}");
            return Err(Failure::not_modelled(Service::CloudWatch, &what));
        }
    }
    let names = names(call)?;
    let members = Members::of(&call.form);
    let prefix = members.text("AlarmNamePrefix");
    if prefix.is_some() && !names.is_empty() {
        return Err(invalid("AlarmNamePrefix and AlarmNames are mutually exclusive"));
    }
    let size = members.number("MaxRecords")?.unwrap_or(USUAL_PAGE as u64);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if !(1..=MOST_ALARMS).contains(&size) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{size}' at 'maxRecords' failed to satisfy \
             constraint: Member must have value less than or equal to {MOST_ALARMS}"
        )));
    }
    let passes = |alarm: &&Alarm| {
        let action = members.text("ActionPrefix");
        let actions = ["AlarmActions", "OKActions", "InsufficientDataActions"];
        is_here(alarm, call, caller)
            && (names.is_empty() || names.contains(&alarm.name))
            && prefix.is_none_or(|prefix| alarm.name.starts_with(prefix))
            && members.text("StateValue").is_none_or(|state| alarm.state == state)
            && action.is_none_or(|action| {
                let settings = Members::of(&alarm.settings);
                let mut all = actions.iter().flat_map(|list| settings.texts(list));
                all.any(|arn| arn.starts_with(action))
            })
    };
    let mut found: Vec<&Alarm> = world.alarms.iter().filter(passes).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let start = match members.text("NextToken") {
        None => 0,
        Some(token) => {
            token.parse::<usize>().ok().filter(|start| *start < found.len()).ok_or_else(|| {
                Failure::new(400, "InvalidNextToken", "The next token is invalid.")
            })?
        }
    };
    let end = (start + size).min(found.len());
    let next = (end < found.len()).then(|| end.to_string());
    Ok(document(
        "DescribeAlarms",
        Some(|xml: &mut Xml| {
            xml.element("CompositeAlarms", |_| {});
            xml.element("MetricAlarms", |xml| {
                for alarm in &found[start..end] {
                    xml.element("member", |xml| write(alarm, xml));
                }
            });
            xml.optional("NextToken", next);
        }),
    ))
}

/// Removes alarms. What does not exist is no error, and the others are removed all the same.
/// Sources: API reference, `DeleteAlarms`; aws-cloudformation/cloudformation-cli #456.
fn delete(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let names = names(call)?;
    if names.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value null at 'alarmNames' failed to satisfy \
             constraint: Member must not be null",
        ));
    }
    world.alarms.retain(|it| !(is_here(it, call, caller) && names.contains(&it.name)));
    Ok(done("DeleteAlarms"))
}

/// An alarm in an answer, its elements in the order of the API's model.
fn write(alarm: &Alarm, xml: &mut Xml) {
    let settings = Members::of(&alarm.settings);
    xml.text("AlarmName", &alarm.name)
        .text("AlarmArn", alarm.arn())
        .optional("AlarmDescription", settings.text("AlarmDescription"))
        .text("AlarmConfigurationUpdatedTimestamp", iso(alarm.configured))
        .text("ActionsEnabled", settings.text("ActionsEnabled").unwrap_or("true"));
    for list in ["OKActions", "AlarmActions", "InsufficientDataActions"] {
        xml.element(list, |xml| {
            for action in settings.texts(list) {
                xml.text("member", action);
            }
        });
    }
    xml.text("StateValue", &alarm.state)
        .text("StateReason", "Unchecked: Initial alarm creation")
        .text("StateUpdatedTimestamp", iso(alarm.state_since));
    write_metric(&settings, xml);
    for name in ["Statistic", "ExtendedStatistic", "Period", "Unit", "EvaluationPeriods"] {
        xml.optional(name, settings.text(name));
    }
    xml.optional("DatapointsToAlarm", settings.text("DatapointsToAlarm"))
        .optional("Threshold", settings.text("Threshold").map(double));
    for name in ["ComparisonOperator", "TreatMissingData", "EvaluateLowSampleCountPercentile"] {
        xml.optional(name, settings.text(name));
    }
    let queries = settings.items("Metrics");
    if !queries.is_empty() {
        xml.element("Metrics", |xml| {
            for query in &queries {
                xml.element("member", |xml| write_query(query, xml));
            }
        });
    }
    xml.text("StateTransitionedTimestamp", iso(alarm.state_since));
}

fn write_query(query: &Members<'_>, xml: &mut Xml) {
    xml.optional("Id", query.text("Id"));
    if query.has("MetricStat") {
        let stat = query.below("MetricStat");
        xml.element("MetricStat", |xml| {
            xml.element("Metric", |xml| write_metric(&stat.below("Metric"), xml));
            for name in ["Period", "Stat", "Unit"] {
                xml.optional(name, stat.text(name));
            }
        });
    }
    xml.optional("Expression", query.text("Expression"))
        .optional("Label", query.text("Label"))
        .text("ReturnData", query.text("ReturnData").unwrap_or("true"))
        .optional("Period", query.text("Period"))
        .optional("AccountId", query.text("AccountId"));
}

/// Name, namespace and dimensions. An alarm without a metric of its own has no dimensions.
fn write_metric(metric: &Members<'_>, xml: &mut Xml) {
    xml.optional("MetricName", metric.text("MetricName"))
        .optional("Namespace", metric.text("Namespace"))
        .element("Dimensions", |xml| {
            for dimension in metric.items("Dimensions") {
                xml.element("member", |xml| {
                    xml.optional("Name", dimension.text("Name"))
                        .optional("Value", dimension.text("Value"));
                });
            }
        });
}

/// A number as AWS writes it: `2.0`.
fn double(text: &str) -> String {
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| format!("{number:?}"))
}
