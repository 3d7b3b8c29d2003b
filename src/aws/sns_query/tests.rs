//! Compares the client with what the SDK's client for SNS sent and read, as stored in
//! `tests/recorded.json`. That was recorded once, before the SDK's client was removed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::aws::query_protocol::{
    EndpointSettings,
    tap::{RecordedCall, Tap, config, read_as_recorded},
};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<RecordedCall>,
    /// Region, FIPS, dual-stack, and the resulting endpoint.
    endpoints: Vec<(String, bool, bool, String)>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("tests/recorded.json")).unwrap()
}

/// Cases in which this client is stricter than the SDK's, which reads something incomplete or gives
/// an error without a code.
const STRICTER: [&str; 7] = [
    "without attributes",
    "an attribute without a value",
    "an attribute twice",
    "a new topic without an ARN",
    "a message without an id",
    "no XML",
    "no body",
];

async fn ask(sns: &Sns, operation: &str, about: &Value) -> Value {
    let of = |name: &str| about[name].as_str().unwrap_or_else(|| panic!("{operation}: {name}"));
    match operation {
        "GetTopicAttributes" => {
            read_as_recorded(sns.topic_attributes(of("topic")).await, |it| json!(it))
        }
        "CreateTopic" => {
            let attributes = about["attributes"].as_object().unwrap();
            let attributes: Vec<(&str, &str)> = attributes
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            read_as_recorded(sns.create_topic(of("name"), &attributes).await, |it| it.arn.into())
        }
        "SetTopicAttributes" => {
            let set = sns.set_topic_attribute(of("topic"), of("name"), of("value"));
            read_as_recorded(set.await, |_| Value::Null)
        }
        "DeleteTopic" => read_as_recorded(sns.delete_topic(of("topic")).await, |_| Value::Null),
        "Publish" => {
            let fifo = about["deduplication"].as_str();
            let message = TopicMessage {
                topic: of("topic"),
                subject: of("subject"),
                by_protocol: of("by_protocol"),
                kind: of("kind"),
                fifo: fifo.map(|deduplication| FifoIds { group: "emr-etl-guard", deduplication }),
            };
            read_as_recorded(sns.publish(&message).await, Value::from)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn it_sends_and_reads_what_the_sdks_client_sent_and_read() {
    for case in recorded().cases {
        let tap = Tap::replaying(&case.exchanges);
        let calls = CallLog::default();
        let read = ask(&Sns::new(&config(&tap), None, &calls), &case.operation, &case.about).await;
        let wanted = if STRICTER.contains(&&*case.name) { json!("unreadable") } else { case.read };
        assert_eq!(read, wanted, "{}", case.name);
        assert_eq!(tap.exchanges(), case.exchanges, "{}", case.name);
        // The log has every attempt, under the SDK's name of the service.
        let logged = calls.calls().remove(0);
        assert!(logged.kept[0].subject.is_some(), "{}", case.name);
        let attempts = case.exchanges.len() as u64;
        let logged = (logged.service.as_str(), logged.operation, logged.attempts);
        assert_eq!(logged, ("SNS", case.operation, attempts), "{}", case.name);
    }
}

#[test]
fn each_region_has_the_endpoint_that_the_sdk_has_for_it() {
    let endpoints = recorded().endpoints;
    assert!(endpoints.len() > 100);
    for (region, fips, dual_stack, wanted) in endpoints {
        let settings = EndpointSettings::regional(&SNS, &region, fips, dual_stack);
        assert_eq!(settings.url(), Ok(wanted), "{settings:?}");
    }
}
