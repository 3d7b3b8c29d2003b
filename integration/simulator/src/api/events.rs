//! Owns EventBridge's operations on rules of the default bus. Source of every rule and message:
//! Amazon EventBridge API reference, and the service's own answers.

use serde_json::{Value, json};

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::events::{PatternError, check_pattern};
use emr_world::policy;
use emr_world::values::text;
use emr_world::world::{Caller, EventRule, World};

/// The most targets of a rule.
const MOST_TARGETS: usize = 5;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    if text(&call.json, "EventBusName").is_some_and(|bus| bus != "default") {
        return Err(Failure::not_modelled(Service::Events, "buses but the default one"));
    }
    let answer = match call.subject.operation.as_str() {
        "PutRule" => put_rule(world, call, caller)?,
        "DescribeRule" => describe(&world.event_rules[find(world, call, caller)?], caller),
        "EnableRule" | "DisableRule" => {
            let index = find(world, call, caller)?;
            world.event_rules[index].enabled = call.subject.operation == "EnableRule";
            return Ok(nothing());
        }
        "PutTargets" => put_targets(world, call, caller)?,
        "ListTargetsByRule" => {
            let rule = &world.event_rules[find(world, call, caller)?];
            json!({"Targets": rule.targets.values().collect::<Vec<_>>()})
        }
        "RemoveTargets" => {
            let index = find(world, call, caller)?;
            for id in policy::texts(&call.json["Ids"]) {
                world.event_rules[index].targets.remove(&id);
            }
            json!({"FailedEntryCount": 0, "FailedEntries": []})
        }
        "DeleteRule" => return delete(world, call, caller),
        other => return Err(Failure::not_modelled(Service::Events, other)),
    };
    Ok(Reply::json(&answer))
}

/// The answer of calls without a result.
fn nothing() -> Reply {
    Reply::empty(200).header("content-type", "application/x-amz-json-1.1")
}

fn rule_name(call: &Call) -> &str {
    let input = &call.json;
    text(input, "Rule").or_else(|| text(input, "Name")).unwrap_or_default()
}

/// Index of the rule of a request.
fn find(world: &World, call: &Call, caller: &Caller) -> Result<usize, Failure> {
    let name = rule_name(call);
    let is_it = |rule: &EventRule| {
        rule.account == caller.account && rule.region == call.region && rule.name == name
    };
    world.event_rules.iter().position(is_it).ok_or_else(|| {
        let message = format!("Rule {name} does not exist on EventBus default.");
        Failure::new(400, "ResourceNotFoundException", message)
    })
}

/// Makes a rule, or replaces everything of it but its targets.
fn put_rule(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let name = rule_name(call).to_owned();
    let legal = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        let message = "1 validation error detected: Value at 'name' failed to satisfy constraint: \
                       Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+";
        return Err(Failure::new(400, "ValidationException", message));
    }
    if call.json.get("ScheduleExpression").is_some() {
        return Err(Failure::not_modelled(Service::Events, "PutRule with a schedule"));
    }
    let Some(pattern) = text(&call.json, "EventPattern") else {
        let message = "Parameter(s) EventPattern or ScheduleExpression must be specified.";
        return Err(Failure::new(400, "ValidationException", message));
    };
    let invalid = |why: &str| {
        let message = format!("Event pattern is not valid. Reason: {why}");
        Failure::new(400, "InvalidEventPatternException", message)
    };
    let parsed: Value =
        serde_json::from_str(pattern).map_err(|_| invalid("Filter is not an object"))?;
    check_pattern(&parsed).map_err(|error| match error {
        PatternError::Invalid(why) => invalid(why),
        PatternError::NotModelled(what) => Failure::not_modelled(Service::Events, &what),
    })?;
    let mut rule = EventRule {
        account: caller.account.clone(),
        region: call.region.clone(),
        name,
        pattern: pattern.to_owned(),
        enabled: text(&call.json, "State").is_none_or(|state| state != "DISABLED"),
        description: text(&call.json, "Description").map(str::to_owned),
        targets: std::collections::BTreeMap::new(),
    };
    let arn = rule.arn();
    match find(world, call, caller) {
        Ok(index) => {
            rule.targets = std::mem::take(&mut world.event_rules[index].targets);
            world.event_rules[index] = rule;
        }
        Err(_) => world.event_rules.push(rule),
    }
    Ok(json!({"RuleArn": arn}))
}

fn describe(rule: &EventRule, caller: &Caller) -> Value {
    let mut described = json!({
        "Arn": rule.arn(),
        "CreatedBy": caller.account,
        "EventBusName": "default",
        "EventPattern": rule.pattern,
        "Name": rule.name,
        "State": if rule.enabled { "ENABLED" } else { "DISABLED" },
    });
    if let Some(description) = &rule.description {
        described["Description"] = json!(description);
    }
    described
}

/// Adds targets, or replaces those with the same ids. A target need not exist.
fn put_targets(world: &mut World, call: &Call, caller: &Caller) -> Result<Value, Failure> {
    let index = find(world, call, caller)?;
    let mut targets = world.event_rules[index].targets.clone();
    let mut failed = Vec::new();
    for target in call.json["Targets"].as_array().into_iter().flatten() {
        let id = text(target, "Id").unwrap_or_default().to_owned();
        let arn = text(target, "Arn").unwrap_or_default();
        if id.is_empty() || id.len() > 64 {
            let message = "1 validation error detected: Value at 'targets.1.member.id' failed to \
                           satisfy constraint: Member must have length less than or equal to 64";
            return Err(Failure::new(400, "ValidationException", message));
        }
        if arn.split(':').count() < 6 {
            let message = format!(
                "Parameter {arn} is not valid. Reason: Provided Arn is not in \
                                   correct format."
            );
            return Err(Failure::new(400, "ValidationException", message));
        }
        if arn.split(':').nth(3) == Some(call.region.as_str()) {
            targets.insert(id, target.clone());
        } else {
            // A target is in the region of its rule.
            failed.push(json!({
                "TargetId": id,
                "ErrorCode": "ValidationException",
                "ErrorMessage": format!("Parameter {arn} is not valid."),
            }));
        }
    }
    if targets.len() > MOST_TARGETS {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(Failure::new(400, "LimitExceededException", message));
    }
    world.event_rules[index].targets = targets;
    Ok(json!({"FailedEntryCount": failed.len(), "FailedEntries": failed}))
}

/// A rule that does not exist counts as deleted.
fn delete(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    if let Ok(index) = find(world, call, caller) {
        if !world.event_rules[index].targets.is_empty() {
            let message = "Rule can't be deleted since it has targets.";
            return Err(Failure::new(400, "ValidationException", message));
        }
        world.event_rules.remove(index);
    }
    Ok(nothing())
}
