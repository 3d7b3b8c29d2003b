//! Owns the SQS operations of a queue's reader and of its owner.

mod queues;

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::ids::uuid;
use emr_world::values::{hex, seconds, text};
use emr_world::world::{Caller, World};

/// How long a queue hides a received message by default, in seconds.
const VISIBILITY: f64 = 30.0;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    match call.subject.operation.as_str() {
        "CreateQueue" => return queues::create(world, call, caller),
        "GetQueueUrl" => return queues::url(world, call, caller),
        _ => {}
    }
    let input = &call.json;
    let url = text(input, "QueueUrl").unwrap_or_default();
    let queue = queues::find(world, url, call, caller)?;
    match call.subject.operation.as_str() {
        "ReceiveMessage" => Ok(Reply::json(&receive(world, &queue, input))),
        "DeleteMessage" => {
            let receipt = text(input, "ReceiptHandle").unwrap_or_default();
            if let Some(messages) = world.queues.get_mut(&queue) {
                messages.retain(|message| message.receipt.as_deref() != Some(receipt));
            }
            Ok(Reply::json(&json!({})))
        }
        "GetQueueAttributes" => queues::attributes(world, call, &queue),
        "SetQueueAttributes" => queues::set_attributes(world, call, &queue),
        "DeleteQueue" => Ok(queues::delete(world, &queue)),
        other => Err(Failure::not_modelled(Service::Sqs, other)),
    }
}

fn receive(world: &mut World, queue: &str, input: &Value) -> Value {
    let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    let hidden = seconds(input["VisibilityTimeout"].as_f64().unwrap_or(VISIBILITY));
    let World { queues, random, now, .. } = world;
    let visible = queues
        .get_mut(queue)
        .into_iter()
        .flatten()
        .filter(|message| message.hidden_until.is_none_or(|until| until <= *now));
    let mut found = Vec::new();
    for message in visible.take(usize::try_from(most).unwrap_or(1)) {
        let receipt = format!("AQEB{}==", uuid(random).replace('-', ""));
        message.receipt = Some(receipt.clone());
        message.hidden_until = Some(*now + hidden);
        found.push(json!({
            "MessageId": message.id,
            "ReceiptHandle": receipt,
            "MD5OfBody": hex(&Md5::digest(&message.body)),
            "Body": message.body,
        }));
    }
    if found.is_empty() { json!({}) } else { json!({"Messages": found}) }
}
