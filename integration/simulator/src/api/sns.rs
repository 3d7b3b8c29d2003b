//! Owns SNS' operations. Source of every rule and message: Amazon SNS API reference, Publish, and
//! the service's own answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::world::{Caller, Publication, World};

/// In bytes, of a message.
const LONGEST: usize = 262_144;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "Publish" => publish(world, call, caller),
        other => Err(Failure::not_modelled(Service::Sns, other)),
    }
}

fn invalid(what: &str) -> Failure {
    Failure::new(400, "InvalidParameter", format!("Invalid parameter: {what}"))
}

fn publish(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let text = |name: &str| call.form.get(name).cloned();
    let arn = text("TopicArn")
        .ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "sns", region, account, name] = parts[..] else {
        return Err(invalid("TopicArn"));
    };
    // A topic is requested in its region.
    if region != call.region {
        return Err(invalid("TopicArn"));
    }
    if account != caller.account {
        let message = format!(
            "User: {} is not authorized to perform: SNS:Publish on resource: {arn}",
            caller.arn
        );
        return Err(Failure::new(403, "AuthorizationError", message));
    }
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
    let publication = Publication { subject, messages, attributes: attributes.collect() };
    let published = world
        .topics
        .get_mut(&arn)
        .ok_or_else(|| Failure::new(404, "NotFound", "Topic does not exist"))?;
    published.push(publication);
    let number = published.len();
    let mut xml = Xml::new();
    xml.root("PublishResponse", "http://sns.amazonaws.com/doc/2010-03-31/", |xml| {
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
