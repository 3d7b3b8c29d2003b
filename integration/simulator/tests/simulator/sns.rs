//! Owns the tests of SNS: what it accepts and rejects, and what each subscriber gets.

use emr_simulator::{Command, Named};

use crate::support::{Client, stepped};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:etl-alerts";

fn publish(client: &Client, rest: &str) -> (u16, String) {
    let encoded: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("TopicArn", TOPIC).finish();
    client.form("sns", &format!("Action=Publish&{encoded}&{rest}")).error()
}

#[test]
fn what_was_published_is_kept_as_each_kind_of_subscriber_gets_it() {
    let sim = stepped();
    let client = Client::new(&sim);
    let encoded: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("TopicArn", TOPIC)
        .append_pair(
            "Message",
            r#"{"default": "for people", "sqs": "{\"for\": \"programs\"}", "ignored": 1}"#,
        )
        .append_pair("MessageStructure", "json")
        .append_pair("Subject", "a subject")
        .append_pair("MessageAttributes.entry.1.Name", "kind")
        .append_pair("MessageAttributes.entry.1.Value.StringValue", "refused")
        .finish();
    let got = client.form("sns", &format!("Action=Publish&{encoded}"));
    assert_eq!(got.status, 200);
    let published = sim.with_world(|world| world.topics[TOPIC].clone());
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].subject.as_deref(), Some("a subject"));
    assert_eq!(published[0].messages["sqs"], r#"{"for": "programs"}"#);
    assert_eq!(published[0].messages.len(), 2);
    assert_eq!(published[0].attributes["kind"], "refused");
}

#[test]
fn what_sns_does_not_take_is_refused_in_its_words() {
    let sim = stepped();
    let client = Client::new(&sim);
    let refused = |rest: &str| publish(&client, rest);
    let invalid = (400, "InvalidParameter".to_owned());
    assert_eq!(refused("Message="), invalid);
    assert_eq!(refused("Message=x&MessageStructure=json"), invalid);
    assert_eq!(refused("Message=%7B%22sqs%22%3A%22x%22%7D&MessageStructure=json"), invalid);
    assert_eq!(refused("Message=x&Subject=two%0Alines"), invalid);
    assert_eq!(refused(&format!("Message=x&Subject={}", "x".repeat(101))), invalid);
    assert_eq!(refused(&format!("Message={}", "x".repeat(262_145))), invalid);
    let to =
        |arn: &str| client.form("sns", &format!("Action=Publish&TopicArn={arn}&Message=x")).error();
    assert_eq!(to("arn:aws:sns:eu-west-1:123456789012:nobody"), (404, "NotFound".to_owned()));
    assert_eq!(to("arn:aws:sns:us-east-1:123456789012:etl-alerts"), invalid);
    assert_eq!(
        to("arn:aws:sns:eu-west-1:999999999999:etl-alerts"),
        (403, "AuthorizationError".to_owned())
    );
    assert_eq!(sim.with_world(|world| world.topics[TOPIC].len()), 0);
    sim.apply(Command::PutTopic(Named { name: "etl.fifo".to_owned(), ..Named::default() }))
        .unwrap();
    assert_eq!(to("arn:aws:sns:eu-west-1:123456789012:etl.fifo"), invalid);
}
