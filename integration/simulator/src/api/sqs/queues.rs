//! Owns queues: their creation, attributes and deletion. Source of every rule and message: Amazon
//! SQS API reference, and the service's own answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::partition::partition_of;
use emr_world::policy;
use emr_world::policy_document::{
    DocumentKind, canonical, check_grammar, counted_length, principals,
};
use emr_world::values::text;
use emr_world::world::{Caller, QueueSettings, World};

/// The most bytes of a queue's policy.
const LARGEST_POLICY: usize = 8_192;
/// How long a deleted queue's name is not free.
const DELETED: Duration = Duration::from_secs(60);
/// The attributes that a queue has from the start.
const DEFAULTS: [(&str, &str); 6] = [
    ("DelaySeconds", "0"),
    ("MaximumMessageSize", "1048576"),
    ("MessageRetentionPeriod", "345600"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("SqsManagedSseEnabled", "true"),
    ("VisibilityTimeout", "30"),
];

pub(super) fn no_such_queue() -> Failure {
    let message = "The specified queue does not exist.";
    modelled("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", message)
}

/// An error of the service's model. A header has the code that the older protocol of SQS had.
fn modelled(code: &str, older: &str, message: impl Into<String>) -> Failure {
    Failure::new(400, &format!("com.amazonaws.sqs#{code}"), message)
        .header("x-amzn-query-error", format!("{older};Sender"))
}

fn url_of(region: &str, account: &str, name: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://sqs.{region}.{domain}/{account}/{name}")
}

/// The key of the queue of a URL, in the region that is asked: one of the caller's account, or of
/// another one whose policy lets the caller do this. A queue that a command made is everybody's.
pub(super) fn find(
    world: &World,
    url: &str,
    call: &Call,
    caller: &Caller,
) -> Result<String, Failure> {
    let mut words = url.rsplit('/');
    let name = words.next().unwrap_or_default();
    let account = words.next().unwrap_or_default();
    let key = World::queue_key(account, &call.region, name);
    match world.queue_settings.get(&key) {
        Some(queue) if queue.account == caller.account || allows(world, queue, call, caller) => {
            Ok(key)
        }
        Some(_) => Err(Failure::access_denied(call.service, &call.subject.operation, &caller.arn)),
        None if is_of_command(world, name) => Ok(name.to_owned()),
        None => Err(no_such_queue()),
    }
}

fn is_of_command(world: &World, name: &str) -> bool {
    world.queues.contains_key(name) && !world.queue_settings.contains_key(name)
}

fn allows(world: &World, queue: &QueueSettings, call: &Call, caller: &Caller) -> bool {
    let Caller { arn, account, .. } = caller;
    let (action, resource) = (format!("sqs:{}", call.subject.operation), queue.arn());
    let context = world.context_of(arn, account);
    let ask = policy::Ask { action: &action, resource: &resource, context: &context };
    let document = queue.attributes.get("Policy").and_then(|it| serde_json::from_str(it).ok());
    document.is_some_and(|it: Value| {
        policy::evaluate_resource(&it, &ask, arn, account) == policy::Decision::Allowed
    })
}

pub(super) fn url(world: &World, call: &Call, caller: &Caller) -> Answer {
    let name = text(&call.json, "QueueName").unwrap_or_default();
    let key = World::queue_key(&caller.account, &call.region, name);
    if !world.queues.contains_key(&key) && !is_of_command(world, name) {
        return Err(no_such_queue());
    }
    Ok(Reply::json(&json!({"QueueUrl": url_of(&call.region, &caller.account, name)})))
}

/// Makes a queue. For one that exists, the attributes of the request must be as they are.
pub(super) fn create(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let name = text(&call.json, "QueueName").unwrap_or_default().to_owned();
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || name.len() > 80 || !name.chars().all(legal) {
        let message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 \
                       in length";
        return Err(Failure::new(400, "InvalidParameterValue", message));
    }
    let url = url_of(&call.region, &caller.account, &name);
    let mut settings = QueueSettings {
        name: name.clone(),
        account: caller.account.clone(),
        region: call.region.clone(),
        attributes: DEFAULTS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        created: world.now,
    };
    let asked = asked(world, &call.json["Attributes"], &settings.arn())?;
    let place = (caller.account.clone(), call.region.clone(), name.clone());
    if world.deleted_queues.get(&place).is_some_and(|at| *at + DELETED > world.now) {
        let message = "You must wait 60 seconds after deleting a queue before you can create \
                       another with the same name.";
        let older = "AWS.SimpleQueueService.QueueDeletedRecently";
        return Err(modelled("QueueDeletedRecently", older, message));
    }
    if is_of_command(world, &name) {
        let what = "CreateQueue where a command made the queue";
        return Err(Failure::not_modelled(Service::Sqs, what));
    }
    let key = World::queue_key(&caller.account, &call.region, &name);
    if let Some(present) = world.queue_settings.get(&key) {
        let differs =
            asked.iter().find(|(name, value)| present.attributes.get(*name) != Some(value));
        if let Some((name, _)) = differs {
            let message = format!(
                "A queue already exists with the same name and a different value for attribute \
                 {name}"
            );
            return Err(modelled("QueueNameExists", "QueueAlreadyExists", message));
        }
        return Ok(Reply::json(&json!({"QueueUrl": url})));
    }
    take(&mut settings.attributes, asked)?;
    world.queues.insert(key.clone(), Vec::new());
    world.queue_settings.insert(key, settings);
    Ok(Reply::json(&json!({"QueueUrl": url})))
}

/// The attributes of a request, as a queue stores them.
fn asked(
    world: &World,
    attributes: &Value,
    arn: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    const KNOWN: [&str; 3] = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "Policy"];
    let mut asked = BTreeMap::new();
    for (name, value) in attributes.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let is_known =
            KNOWN.contains(&name.as_str()) || DEFAULTS.iter().any(|(known, _)| known == name);
        if !is_known {
            let message = format!("Unknown Attribute {name}.");
            return Err(Failure::new(400, "InvalidAttributeName", message));
        }
        let value = match name.as_str() {
            "Policy" if !value.is_empty() => checked_policy(world, value, arn)?,
            _ => value.to_owned(),
        };
        asked.insert(name.clone(), value);
    }
    let is_on = |name: &str, on: &dyn Fn(&str) -> bool| asked.get(name).is_some_and(|it| on(it));
    if is_on("KmsMasterKeyId", &|it| !it.is_empty())
        && is_on("SqsManagedSseEnabled", &|it| it == "true")
    {
        let message = "You can use one type of server-side encryption (SSE) at one time. You can \
                       either enable KMS SSE or SQS SSE.";
        return Err(Failure::new(400, "InvalidAttributeValue", message));
    }
    Ok(asked)
}

/// Sets attributes. An empty policy or key is none, and one kind of encryption ends the other.
fn take(
    attributes: &mut BTreeMap<String, String>,
    asked: BTreeMap<String, String>,
) -> Result<(), Failure> {
    for (name, value) in asked {
        match name.as_str() {
            "KmsMasterKeyId" if !value.is_empty() => {
                attributes.insert("SqsManagedSseEnabled".to_owned(), "false".to_owned());
                attributes.insert(name, value);
            }
            "SqsManagedSseEnabled" if value == "true" => {
                attributes.remove("KmsMasterKeyId");
                attributes.insert(name, value);
            }
            "SqsManagedSseEnabled" if value != "false" => {
                let message = "Invalid value for the parameter SqsManagedSseEnabled.";
                return Err(Failure::new(400, "InvalidAttributeValue", message));
            }
            "Policy" | "KmsMasterKeyId" if value.is_empty() => {
                attributes.remove(&name);
            }
            _ => {
                attributes.insert(name, value);
            }
        }
    }
    Ok(())
}

fn checked_policy(world: &World, text: &str, arn: &str) -> Result<String, Failure> {
    let invalid =
        || Failure::new(400, "InvalidAttributeValue", "Invalid value for the parameter Policy.");
    let document: Value = serde_json::from_str(text).map_err(|_| invalid())?;
    if counted_length(&document) > LARGEST_POLICY {
        return Err(invalid());
    }
    check_grammar(&document, DocumentKind::Bucket).map_err(|_| invalid())?;
    for statement in policy::statements(&document) {
        let resources = policy::texts(&statement["Resource"]);
        let actions = policy::texts(&statement["Action"]);
        let of_sqs = |action: &String| {
            let service = action.split(':').next().unwrap_or_default();
            action == "*" || service.eq_ignore_ascii_case("sqs")
        };
        if !resources.iter().all(|it| policy::wildcard(it, arn)) || !actions.iter().all(of_sqs) {
            return Err(invalid());
        }
    }
    let partition = partition_of(arn.split(':').nth(3).unwrap_or_default());
    let names = principals(&document);
    if !names.iter().all(|(kind, name)| world.knows_principal(kind, name, partition)) {
        return Err(invalid());
    }
    if let Some(problem) = policy::unsupported(&document) {
        return Err(Failure::not_modelled(Service::Sqs, &format!("policy: {problem}")));
    }
    Ok(canonical(document, partition).to_string())
}

/// A queue that a command made has no attributes that could be asked for or set.
fn settings_of<'a>(world: &'a World, key: &str) -> Result<&'a QueueSettings, Failure> {
    world.queue_settings.get(key).ok_or_else(|| {
        Failure::not_modelled(Service::Sqs, "attributes of a queue that a command made")
    })
}

pub(super) fn attributes(world: &World, call: &Call, key: &str) -> Answer {
    let settings = settings_of(world, key)?;
    let mut all = settings.attributes.clone();
    let waiting = world.queues.get(key).map_or(0, Vec::len);
    let created = settings.created.unix_timestamp().to_string();
    for (name, value) in [
        ("QueueArn", settings.arn()),
        ("ApproximateNumberOfMessages", waiting.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", "0".to_owned()),
        ("ApproximateNumberOfMessagesDelayed", "0".to_owned()),
        ("CreatedTimestamp", created.clone()),
        ("LastModifiedTimestamp", created),
    ] {
        all.insert(name.to_owned(), value);
    }
    if all.contains_key("KmsMasterKeyId") {
        all.entry("KmsDataKeyReusePeriodSeconds".to_owned()).or_insert_with(|| "300".to_owned());
    }
    let asked = policy::texts(&call.json["AttributeNames"]);
    all.retain(|name, _| asked.iter().any(|it| it == "All" || it == name));
    Ok(Reply::json(&if all.is_empty() { json!({}) } else { json!({"Attributes": all}) }))
}

pub(super) fn set_attributes(world: &mut World, call: &Call, key: &str) -> Answer {
    let arn = settings_of(world, key)?.arn();
    let asked = asked(world, &call.json["Attributes"], &arn)?;
    if let Some(settings) = world.queue_settings.get_mut(key) {
        take(&mut settings.attributes, asked)?;
    }
    Ok(Reply::empty(200).header("content-type", "application/x-amz-json-1.0"))
}

pub(super) fn delete(world: &mut World, key: &str) -> Reply {
    world.queues.remove(key);
    if let Some(settings) = world.queue_settings.remove(key) {
        let place = (settings.account, settings.region, settings.name);
        world.deleted_queues.insert(place, world.now);
    }
    Reply::empty(200).header("content-type", "application/x-amz-json-1.0")
}
