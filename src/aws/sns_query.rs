//! The SNS client: topics and their messages, over the Query protocol. `tests/recorded.json` holds
//! what the SDK's client, which it has replaced, sent and read.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_types::SdkConfig;

use crate::{
    aws::{
        log::CallLog,
        patience::Patience,
        query_protocol::{
            Acknowledged, Called, CreatedArn, Form, QueryClient, QueryService, ServiceHosts,
        },
        read_memory::ReadMemory,
    },
    base::aws_calls::{self, Call},
};

/// How SNS is called.
pub(super) static SNS: QueryService = QueryService {
    id: "SNS",
    name: "sns",
    prefix: "sns",
    hosts: ServiceHosts::Regional { has_gov_fips_prefix: true },
    version: "2010-03-31",
};

/// A message to a topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicMessage<'a> {
    /// The topic's ARN.
    pub(crate) topic: &'a str,
    pub(crate) subject: &'a str,
    /// A JSON object: the text for each protocol, and a `default`.
    pub(crate) by_protocol: &'a str,
    /// The attribute `kind`, by which subscribers can filter.
    pub(crate) kind: &'a str,
    /// What a FIFO topic needs.
    pub(crate) fifo: Option<FifoIds<'a>>,
}

/// By what a FIFO topic orders messages, and recognises those that come again.
#[derive(Clone, Debug)]
pub(crate) struct FifoIds<'a> {
    pub(crate) group: &'a str,
    pub(crate) deduplication: &'a str,
}

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct Sns(QueryClient);

impl Sns {
    /// A client for the region of `base`; `calls` records its requests. `configured` is the
    /// endpoint from the environment or the profile.
    pub(super) fn new(base: &SdkConfig, configured: Option<String>, calls: &CallLog) -> Self {
        Self(QueryClient::new(&SNS, base, configured, calls))
    }

    /// A copy of the client that waits while AWS throttles.
    pub(super) fn patient(&self, patience: &Patience) -> Self {
        Self(self.0.patient(patience))
    }

    /// A copy of the client that asks `memory` before it sends a read.
    pub(super) fn remembering(&self, memory: &ReadMemory) -> Self {
        Self(self.0.remembering(memory))
    }

    /// A copy of the client that sends each call once.
    pub(crate) fn without_retries(&self) -> Self {
        Self(self.0.without_retries())
    }

    /// The attributes of the topic with this ARN.
    pub(crate) async fn topic_attributes(&self, topic: &str) -> Called<BTreeMap<String, String>> {
        let form = form(&aws_calls::GET_TOPIC_ATTRIBUTES).with("TopicArn", topic);
        self.0.call(form, answers::topic_attributes).await
    }

    /// Makes a topic. SNS also answers with the ARN of a topic that exists with these attributes.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        attributes: &[(&str, &str)],
    ) -> Called<CreatedArn> {
        let mut form = form(&aws_calls::CREATE_TOPIC).with("Name", name);
        for (index, (name, value)) in attributes.iter().enumerate() {
            form.add(&format!("Attributes.entry.{}.key", index + 1), name);
            form.add(&format!("Attributes.entry.{}.value", index + 1), value);
        }
        self.0.created(form, answers::created_topic).await
    }

    pub(crate) async fn set_topic_attribute(
        &self,
        topic: &str,
        name: &str,
        value: &str,
    ) -> Called<Acknowledged> {
        let form = form(&aws_calls::SET_TOPIC_ATTRIBUTES)
            .with("TopicArn", topic)
            .with("AttributeName", name)
            .with("AttributeValue", value);
        self.0.acknowledged(form).await
    }

    /// Deletes the topic with this ARN. SNS also acknowledges the deletion of a topic that does not
    /// exist.
    pub(crate) async fn delete_topic(&self, topic: &str) -> Called<Acknowledged> {
        self.0.acknowledged(form(&aws_calls::DELETE_TOPIC).with("TopicArn", topic)).await
    }

    /// Publishes a message; its id.
    pub(crate) async fn publish(&self, message: &TopicMessage<'_>) -> Called<String> {
        let mut form = form(&aws_calls::PUBLISH)
            .with("TopicArn", message.topic)
            .with("Message", message.by_protocol)
            .with("Subject", message.subject)
            .with("MessageStructure", "json")
            .with("MessageAttributes.entry.1.Name", "kind")
            .with("MessageAttributes.entry.1.Value.DataType", "String")
            .with("MessageAttributes.entry.1.Value.StringValue", message.kind);
        if let Some(fifo) = &message.fifo {
            form.add("MessageDeduplicationId", fifo.deduplication);
            form.add("MessageGroupId", fifo.group);
        }
        self.0.call(form, answers::message_id).await
    }
}

fn form(call: &Call) -> Form {
    Form::of(&SNS, call)
}
