//! Owns topics: their creation, attributes and deletion.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::request::{NAMESPACE, invalid, not_found, topic_of};
use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::partition::partition_of;
use emr_world::policy;
use emr_world::policy_document::{
    DocumentKind, canonical, check_grammar, counted_length, principals,
};
use emr_world::world::{Caller, TopicSettings, World};

/// The most bytes of a topic's policy.
const LARGEST_POLICY: usize = 30_720;
/// The actions that the policy of a topic may have. Source: Amazon SNS developer guide, Amazon SNS
/// API permissions.
const ACTIONS: [&str; 10] = [
    "AddPermission",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "Publish",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetTopicAttributes",
];

/// An answer with a result.
fn answer(operation: &str, result: impl FnOnce(&mut Xml)) -> Reply {
    let mut xml = Xml::new();
    xml.root(&format!("{operation}Response"), NAMESPACE, |xml| {
        xml.element(&format!("{operation}Result"), result);
        metadata(xml);
    });
    Reply::xml(xml)
}

/// An answer without one.
fn done(operation: &str) -> Reply {
    let mut xml = Xml::new();
    xml.root(&format!("{operation}Response"), NAMESPACE, metadata);
    Reply::xml(xml)
}

fn metadata(xml: &mut Xml) {
    xml.element("ResponseMetadata", |xml| {
        xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
    });
}

/// Makes a topic. For one that exists, the attributes of the request must be as they are.
pub(super) fn create(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let name = call.form.get("Name").cloned().unwrap_or_default();
    let plain = name.strip_suffix(".fifo").unwrap_or(&name);
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if plain.is_empty() || name.len() > 256 || !plain.chars().all(legal) {
        return Err(invalid("Topic Name"));
    }
    if plain != name {
        return Err(Failure::not_modelled(Service::Sns, "CreateTopic of a FIFO topic"));
    }
    let partition = partition_of(&call.region);
    let arn = format!("arn:{partition}:sns:{}:{}:{name}", call.region, caller.account);
    let attributes = (1..).map_while(|number| {
        let text = |part: &str| call.form.get(&format!("Attributes.entry.{number}.{part}"));
        Some((text("key")?.clone(), text("value")?.clone()))
    });
    let attributes: BTreeMap<String, String> = attributes.collect();
    let present = world.topic_settings.get(&arn).cloned().unwrap_or_default();
    let exists = world.topics.contains_key(&arn);
    let mut settings = if exists { present.clone() } else { TopicSettings::default() };
    for (name, value) in &attributes {
        set(world, &mut settings, (name, value), &arn)?;
    }
    if exists && settings != present {
        return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
    }
    world.topics.entry(arn.clone()).or_default();
    world.topic_settings.insert(arn.clone(), settings);
    Ok(answer("CreateTopic", |xml| {
        xml.text("TopicArn", &arn);
    }))
}

/// Sets an attribute of a topic that is made or exists.
fn set(
    world: &World,
    settings: &mut TopicSettings,
    (name, value): (&str, &str),
    arn: &str,
) -> Result<(), Failure> {
    match name {
        "Policy" => settings.policy = Some(checked_policy(world, value, arn)?),
        "KmsMasterKeyId" => {
            settings.kms_key = Some(value.to_owned()).filter(|key| !key.is_empty());
        }
        "DisplayName" => value.clone_into(&mut settings.display_name),
        "DeliveryPolicy" | "TracingConfig" | "SignatureVersion" => {
            return Err(Failure::not_modelled(Service::Sns, &format!("the attribute {name}")));
        }
        _ => return Err(invalid("AttributeName")),
    }
    Ok(())
}

fn checked_policy(world: &World, text: &str, arn: &str) -> Result<Value, Failure> {
    let refused = |why: &str| invalid(&format!("Policy Error: {why}"));
    let document: Value = serde_json::from_str(text).map_err(|_| refused("null"))?;
    if counted_length(&document) > LARGEST_POLICY {
        return Err(invalid("Policy too long"));
    }
    check_grammar(&document, DocumentKind::Bucket).map_err(|_| refused("null"))?;
    let region = arn.split(':').nth(3).unwrap_or_default();
    let partition = partition_of(region);
    for statement in policy::statements(&document) {
        let resources = policy::texts(&statement["Resource"]);
        if resources.iter().any(|resource| !policy::wildcard(resource, arn)) {
            return Err(invalid(
                "Invalid parameter: Policy statement resource out of service scope!",
            ));
        }
        let actions = policy::texts(&statement["Action"]);
        for action in &actions {
            let (service, name) = action.split_once(':').unwrap_or_default();
            if action.contains('*') {
                let what = format!("the action {action} in a topic's policy");
                return Err(Failure::not_modelled(Service::Sns, &what));
            }
            let is_known = ACTIONS.iter().any(|it| it.eq_ignore_ascii_case(name))
                || name.eq_ignore_ascii_case("Subscribe");
            if !service.eq_ignore_ascii_case("sns") || !is_known {
                return Err(invalid("Policy statement action out of service scope!"));
            }
        }
    }
    let names = principals(&document);
    if !names.iter().all(|(kind, name)| world.knows_principal(kind, name, partition)) {
        return Err(refused("PrincipalNotFound"));
    }
    if let Some(problem) = policy::unsupported(&document) {
        return Err(Failure::not_modelled(Service::Sns, &format!("policy: {problem}")));
    }
    Ok(canonical(document, partition))
}

/// The policy that a topic has from the start: its owner may do everything with it.
fn default_policy(arn: &str, account: &str) -> Value {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [
                "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission",
                "SNS:RemovePermission", "SNS:DeleteTopic", "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic", "SNS:Publish",
            ],
            "Resource": arn,
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
        }],
    })
}

pub(super) fn attributes(world: &World, call: &Call, caller: &Caller) -> Answer {
    let arn = topic_of(call, caller)?;
    if !world.topics.contains_key(&arn) {
        return Err(not_found());
    }
    let settings = world.topic_settings.get(&arn).cloned().unwrap_or_default();
    let policy = settings.policy.unwrap_or_else(|| default_policy(&arn, &caller.account));
    let mut attributes = vec![
        ("Policy", policy.to_string()),
        ("Owner", caller.account.clone()),
        ("SubscriptionsPending", settings.pending_subscriptions.to_string()),
        ("TopicArn", arn),
        ("SubscriptionsConfirmed", "0".to_owned()),
        ("SubscriptionsDeleted", "0".to_owned()),
        ("DisplayName", settings.display_name),
    ];
    attributes.extend(settings.kms_key.map(|key| ("KmsMasterKeyId", key)));
    Ok(answer("GetTopicAttributes", |xml| {
        xml.element("Attributes", |xml| {
            for (name, value) in &attributes {
                xml.element("entry", |xml| {
                    xml.text("key", name).text("value", value);
                });
            }
        });
    }))
}

pub(super) fn set_attribute(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let arn = topic_of(call, caller)?;
    if !world.topics.contains_key(&arn) {
        return Err(not_found());
    }
    let name = call.form.get("AttributeName").cloned().unwrap_or_default();
    let value = call.form.get("AttributeValue").cloned().unwrap_or_default();
    let mut settings = world.topic_settings.get(&arn).cloned().unwrap_or_default();
    set(world, &mut settings, (&name, &value), &arn)?;
    world.topic_settings.insert(arn, settings);
    Ok(done("SetTopicAttributes"))
}

/// A topic that does not exist counts as deleted.
pub(super) fn delete(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let arn = topic_of(call, caller)?;
    world.topics.remove(&arn);
    world.topic_settings.remove(&arn);
    Ok(done("DeleteTopic"))
}

/// A subscription by e-mail, which waits for its confirmation.
pub(super) fn subscribe(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let arn = topic_of(call, caller)?;
    if !world.topics.contains_key(&arn) {
        return Err(not_found());
    }
    if call.form.get("Protocol").is_none_or(|it| it != "email") {
        return Err(Failure::not_modelled(Service::Sns, "Subscribe but by e-mail"));
    }
    world.topic_settings.entry(arn).or_default().pending_subscriptions += 1;
    Ok(answer("Subscribe", |xml| {
        xml.text("SubscriptionArn", "pending confirmation");
    }))
}
