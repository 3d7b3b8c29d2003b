//! The parts of SNS's answers that the guard reads.

use std::collections::BTreeMap;

use crate::aws::query_protocol::xml::{AnswerError, Element};

pub(super) fn topic_attributes(answer: &Element) -> Result<BTreeMap<String, String>, AnswerError> {
    let entry = |entry: &Element| {
        let value = entry.text("value")?.ok_or(AnswerError::Missing("value"))?;
        Ok((entry.required_text("key")?, value))
    };
    let result = answer.required("GetTopicAttributesResult")?;
    let mut attributes = BTreeMap::new();
    for (name, value) in result.list("Attributes", "entry", entry)? {
        if attributes.insert(name, value).is_some() {
            return Err(AnswerError::Unexpected("Attributes"));
        }
    }
    Ok(attributes)
}

pub(super) fn created_topic(answer: &Element) -> Result<String, AnswerError> {
    answer.required("CreateTopicResult")?.required_text("TopicArn")
}

pub(super) fn message_id(answer: &Element) -> Result<String, AnswerError> {
    answer.required("PublishResult")?.required_text("MessageId")
}
