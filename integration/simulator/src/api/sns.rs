//! Owns SNS' operations. Source of every rule and message: Amazon SNS API reference, and the
//! service's own answers.

mod request;
mod topics;

use std::collections::BTreeMap;

use serde_json::Value;

use self::request::{NAMESPACE, denied, invalid, not_found, topic_of};
use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::policy::{self, Ask, Decision};
use emr_world::world::{Caller, Publication, World};

/// In bytes, of a message.
const LONGEST: usize = 262_144;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "Publish" => publish(world, call, caller),
        "CreateTopic" => topics::create(world, call, caller),
        "GetTopicAttributes" => topics::attributes(world, call, caller),
        "SetTopicAttributes" => topics::set_attribute(world, call, caller),
        "DeleteTopic" => topics::delete(world, call, caller),
        "Subscribe" => topics::subscribe(world, call, caller),
        other => Err(Failure::not_modelled(Service::Sns, other)),
    }
}

/// Whether the topic's policy and key let the caller publish.
fn may_publish(world: &World, call: &Call, caller: &Caller, arn: &str) -> Result<(), Failure> {
    let Some(settings) = world.topic_settings.get(arn) else { return Ok(()) };
    let context = world.context_of(&caller.arn, &caller.account);
    let decides = |policy: &Value, action: &str, resource: &str| {
        let ask = Ask { action, resource, context: &context };
        policy::evaluate_resource(policy, &ask, &caller.arn, &caller.account)
    };
    let policy = settings.policy.as_ref();
    if policy.is_some_and(|it| decides(it, "SNS:Publish", arn) == Decision::ExplicitDeny) {
        return Err(denied(call, caller, arn));
    }
    // The key that AWS manages for SNS lets everybody of the account use it through SNS.
    let Some(name) = settings.kms_key.as_ref().filter(|key| !key.ends_with("alias/aws/sns")) else {
        return Ok(());
    };
    let key = world.key(&caller.account, &call.region, name);
    let allows = key.is_some_and(|key| {
        decides(&key.policy, "kms:GenerateDataKey", &key.arn()) == Decision::Allowed
            && decides(&key.policy, "kms:Decrypt", &key.arn()) == Decision::Allowed
    });
    if allows {
        return Ok(());
    }
    let message = "The ciphertext refers to a customer master key that does not exist, does not \
                   exist in this region, or you are not allowed to access.";
    Err(Failure::new(400, "KMSAccessDenied", message))
}

fn publish(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let text = |name: &str| call.form.get(name).cloned();
    let arn = topic_of(call, caller)?;
    let name = arn.rsplit(':').next().unwrap_or_default();
    let message = text("Message")
        .filter(|message| !message.is_empty())
        .ok_or_else(|| invalid("Empty message"))?;
    if message.len() > LONGEST {
        return Err(invalid("Message too long"));
    }
    let subject = text("Subject");
    let is_letter = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    if subject.as_ref().is_some_and(|subject| {
        subject.is_empty() || subject.len() > 100 || !subject.chars().all(is_letter)
    }) {
        return Err(invalid("Subject"));
    }
    if name.rsplit_once('.').is_some_and(|(_, ending)| ending == "fifo")
        && text("MessageGroupId").is_none()
    {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    let messages = match text("MessageStructure").as_deref() {
        Some("json") => by_protocol(&message)?,
        None => BTreeMap::from([("default".to_owned(), message)]),
        Some(_) => return Err(invalid("MessageStructure")),
    };
    let attributes = (1..).map_while(|number| {
        let entry = format!("MessageAttributes.entry.{number}");
        Some((text(&format!("{entry}.Name"))?, text(&format!("{entry}.Value.StringValue"))?))
    });
    may_publish(world, call, caller, &arn)?;
    let publication = Publication { subject, messages, attributes: attributes.collect() };
    let published = world.topics.get_mut(&arn).ok_or_else(not_found)?;
    published.push(publication);
    let number = published.len();
    let mut xml = Xml::new();
    xml.root("PublishResponse", NAMESPACE, |xml| {
        xml.element("PublishResult", |xml| {
            xml.text("MessageId", format!("00000000-0000-4000-8000-{number:012}"));
        });
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
        });
    });
    Ok(Reply::xml(xml))
}

fn by_protocol(message: &str) -> Result<BTreeMap<String, String>, Failure> {
    let parsed: Value = serde_json::from_str(message)
        .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    let members = parsed.as_object().into_iter().flatten();
    // Values that are not strings are ignored.
    let texts: BTreeMap<String, String> = members
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    if texts.contains_key("default") {
        Ok(texts)
    } else {
        Err(invalid("Message Structure - No default entry in JSON message body"))
    }
}
