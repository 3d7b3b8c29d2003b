//! Alerts to an SNS topic: a text for people, and JSON for programs that subscribe.

use std::{path::Path, time::Duration};

use serde_json::json;

use crate::{
    aws::{
        answer::describe,
        clients,
        sns_query::{FifoIds, TopicMessage},
    },
    base::{aws_calls, json::compact},
    report::alerts::message::Message,
    settings::{alert_channels::Topic, aws_options::AwsOptions},
};

/// The longest subject in characters, printable ASCII only. Source: Amazon SNS API reference,
/// Publish.
const SUBJECT: usize = 100;
/// SNS accepts 256 KiB, including attributes; people need no text of that length.
const TEXT: usize = 16 * 1024;

/// Publishes it. The client retries transient errors.
pub(crate) async fn send(
    topic: &Topic,
    message: &Message,
    options: &AwsOptions,
    limit: Duration,
) -> Result<(), String> {
    let client = clients::sns(&topic.region, options, message.runner(), limit).await?;
    let (text, json) = (message.plain(TEXT), message.json()?);
    // One publication, in a separate format for each kind of subscriber; e-mail and SMS use the
    // default.
    let by_protocol = compact(&json!({
        "default": text, "sqs": json, "lambda": json, "http": json, "https": json, "firehose": json
    }))
    .map_err(|error| error.to_string())?;
    let (subject, kind) = (subject(message.headline()), message.kind().to_string());
    // Source: Amazon SNS API reference, CreateTopic.
    let is_fifo = Path::new(&topic.arn).extension().is_some_and(|ending| ending == "fifo");
    let deduplication = uuid::Uuid::now_v7().to_string();
    let message = TopicMessage {
        topic: &topic.arn,
        subject: &subject,
        by_protocol: &by_protocol,
        kind: &kind,
        fifo: is_fifo.then_some(FifoIds { group: "emr-etl-guard", deduplication: &deduplication }),
    };
    client
        .publish(&message)
        .await
        .map(drop)
        .map_err(|error| format!("{}: {}", aws_calls::PUBLISH.permission, describe(&error)))
}

fn subject(headline: &str) -> String {
    let printable = headline
        .chars()
        .map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' });
    let subject: String = printable.take(SUBJECT).collect();
    if headline.chars().count() > SUBJECT {
        format!("{}...", &subject[..SUBJECT - 3])
    } else {
        subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topics_arn_is_one() {
        assert_eq!(
            "arn:aws-cn:sns:cn-north-1:123456789012:etl.fifo".parse::<Topic>().unwrap().region,
            "cn-north-1"
        );
        for arn in [
            "etl-alerts",
            "arn:aws:sqs:eu-west-1:123456789012:x",
            "arn:aws:sns:eu-west-1:123456789012:x:subscription",
            "arn:aws:sns::1:x",
        ] {
            assert!(arn.parse::<Topic>().is_err(), "{arn}");
        }
    }

    #[test]
    fn a_subject_is_what_sns_takes() {
        assert_eq!(subject("short"), "short");
        let long = subject(&"ä line\nthat is long ".repeat(20));
        assert_eq!(long.len(), SUBJECT);
        assert!(long.starts_with("? line?that") && long.ends_with("..."), "{long}");
    }
}
