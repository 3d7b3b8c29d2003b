//! Owns the tests of SNS: what it accepts and rejects, what each subscriber gets, and topics.

use emr_simulator::{Command, Named};
use serde_json::{Value, json};

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

const NEW: &str = "arn:aws:sns:eu-west-1:123456789012:new";

fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// A policy that denies what is not sent over TLS.
fn tls_only() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Tls", "Effect": "Deny", "Principal": "*", "Action": "sns:Publish",
        "Resource": NEW, "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }]})
}

#[test]
fn a_topic_is_made_once_and_never_with_other_attributes() {
    let sim = stepped();
    let client = Client::new(&sim);
    let create = |key: &str| {
        let policy = tls_only().to_string();
        client.form(
            "sns",
            &form(&[
                ("Action", "CreateTopic"),
                ("Name", "new"),
                ("Attributes.entry.1.key", "KmsMasterKeyId"),
                ("Attributes.entry.1.value", key),
                ("Attributes.entry.2.key", "Policy"),
                ("Attributes.entry.2.value", &policy),
            ]),
        )
    };
    for _ in 0..2 {
        let made = create("alias/aws/sns");
        assert_eq!((made.status, made.xml("TopicArn")), (200, Some(NEW)));
    }
    let invalid = (400, "InvalidParameter".to_owned());
    assert_eq!(create("alias/other").error(), invalid);
    let get = |arn: &str| {
        client.form("sns", &form(&[("Action", "GetTopicAttributes"), ("TopicArn", arn)]))
    };
    let got = get(NEW);
    assert!(got.body.contains("<key>KmsMasterKeyId</key><value>alias/aws/sns</value>"), "{got:?}");
    // Without a policy of its own, a topic has its owner's.
    assert!(get(TOPIC).body.contains("__default_statement_ID"));
    assert_eq!(get("arn:aws:sns:eu-west-1:123456789012:no").error(), (404, "NotFound".to_owned()));
    let set = |name: &str, value: &str| {
        client.form(
            "sns",
            &form(&[
                ("Action", "SetTopicAttributes"),
                ("TopicArn", NEW),
                ("AttributeName", name),
                ("AttributeValue", value),
            ]),
        )
    };
    assert_eq!(set("Policy", "{}").error(), invalid);
    let foreign = tls_only().to_string().replace("sns:Publish", "s3:GetObject");
    assert_eq!(set("Policy", &foreign).error(), invalid);
    assert_eq!(set("KmsMasterKeyId", "").status, 200);
    assert!(!get(NEW).body.contains("KmsMasterKeyId"));
    let subscribed = client.form(
        "sns",
        &form(&[
            ("Action", "Subscribe"),
            ("TopicArn", NEW),
            ("Protocol", "email"),
            ("Endpoint", "a@b.c"),
        ]),
    );
    assert_eq!(subscribed.xml("SubscriptionArn"), Some("pending confirmation"));
    assert!(get(NEW).body.contains("<key>SubscriptionsPending</key><value>1</value>"));
    // To delete it twice is no error.
    for _ in 0..2 {
        let deleted = client.form("sns", &form(&[("Action", "DeleteTopic"), ("TopicArn", NEW)]));
        assert_eq!(deleted.status, 200);
    }
    assert_eq!(get(NEW).status, 404);
}

#[test]
fn a_publisher_needs_the_topics_key_and_what_its_policy_denies_is_refused() {
    let sim = stepped();
    let client = Client::new(&sim);
    let publish = |settings: &[(&str, &str)]| {
        for (name, value) in settings {
            let set = client.form(
                "sns",
                &form(&[
                    ("Action", "SetTopicAttributes"),
                    ("TopicArn", TOPIC),
                    ("AttributeName", name),
                    ("AttributeValue", value),
                ]),
            );
            assert_eq!(set.status, 200, "{set:?}");
        }
        client
            .form("sns", &form(&[("Action", "Publish"), ("TopicArn", TOPIC), ("Message", "x")]))
            .error()
    };
    let good = (200, String::new());
    assert_eq!(publish(&[("KmsMasterKeyId", "alias/aws/sns")]), good);
    let denied = (400, "KMSAccessDenied".to_owned());
    assert_eq!(publish(&[("KmsMasterKeyId", "alias/nobodys")]), denied);
    let deny = json!({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "SNS:Publish",
        "Resource": TOPIC}]});
    let refused = publish(&[("KmsMasterKeyId", ""), ("Policy", &deny.to_string())]);
    assert_eq!(refused, (403, "AuthorizationError".to_owned()));
}
