//! Owns the tests of queues that were made with the API, and of the rules of EventBridge that fill
//! them.

use emr_simulator::{Advance, Command, StartCluster, StartState};
use serde_json::{Value, json};

use crate::support::{Client, stepped};

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:emr";
const RULE: &str = "arn:aws:events:eu-west-1:123456789012:rule/emr";
const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/emr";

/// A policy that lets one rule send.
fn policy(rule: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Rule", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage", "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }]})
    .to_string()
}

fn create(client: &Client, attributes: &Value) -> (u16, String) {
    client.sqs("CreateQueue", &json!({"QueueName": "emr", "Attributes": attributes})).error()
}

fn attributes(client: &Client) -> Value {
    let asked = json!({"QueueUrl": URL, "AttributeNames": ["All"]});
    client.sqs("GetQueueAttributes", &asked).json()["Attributes"].clone()
}

fn set(client: &Client, attributes: &Value) -> (u16, String) {
    client.sqs("SetQueueAttributes", &json!({"QueueUrl": URL, "Attributes": attributes})).error()
}

#[test]
fn a_queue_is_made_once_and_never_with_other_attributes() {
    let sim = stepped();
    let client = Client::new(&sim);
    let url = || client.sqs("GetQueueUrl", &json!({"QueueName": "emr"}));
    let gone = (400, "com.amazonaws.sqs#QueueDoesNotExist".to_owned());
    assert_eq!(url().error(), gone);
    let short = json!({"MessageRetentionPeriod": "300", "Policy": policy(RULE)});
    let good = (200, String::new());
    assert_eq!(create(&client, &short), good);
    assert_eq!(create(&client, &short), good);
    assert_eq!(url().json()["QueueUrl"], URL);
    let exists = (400, "com.amazonaws.sqs#QueueNameExists".to_owned());
    assert_eq!(create(&client, &json!({"MessageRetentionPeriod": "60"})), exists);
    let all = attributes(&client);
    assert_eq!((&all["QueueArn"], &all["SqsManagedSseEnabled"]), (&json!(QUEUE), &json!("true")));
    assert_eq!(all["MessageRetentionPeriod"], "300");
    let invalid = |code: &str| (400, code.to_owned());
    assert_eq!(set(&client, &json!({"Policy": "{}"})), invalid("InvalidAttributeValue"));
    assert_eq!(set(&client, &json!({"Colour": "red"})), invalid("InvalidAttributeName"));
    let both = json!({"SqsManagedSseEnabled": "true", "KmsMasterKeyId": "alias/x"});
    assert_eq!(set(&client, &both), invalid("InvalidAttributeValue"));
    // One kind of encryption ends the other.
    assert_eq!(set(&client, &json!({"KmsMasterKeyId": "alias/x"})), good);
    assert_eq!(attributes(&client)["SqsManagedSseEnabled"], "false");
    assert_eq!(set(&client, &json!({"SqsManagedSseEnabled": "true", "Policy": ""})), good);
    let all = attributes(&client);
    assert_eq!((all.get("KmsMasterKeyId"), all.get("Policy")), (None, None));
    assert_eq!(client.sqs("DeleteQueue", &json!({"QueueUrl": URL})).status, 200);
    assert_eq!(url().error(), gone);
    let recently = (400, "com.amazonaws.sqs#QueueDeletedRecently".to_owned());
    assert_eq!(create(&client, &short), recently);
    sim.apply(Command::Advance(Advance { seconds: 61.0 })).unwrap();
    assert_eq!(create(&client, &short), good);
}

#[test]
fn a_rule_keeps_its_targets_when_it_is_put_again_and_is_deleted_only_without_them() {
    let sim = stepped();
    let client = Client::new(&sim);
    let events = |operation: &str, body: Value| client.events(operation, &body);
    let none = (400, "ResourceNotFoundException".to_owned());
    assert_eq!(events("DescribeRule", json!({"Name": "emr"})).error(), none);
    let put = |pattern: &str| events("PutRule", json!({"Name": "emr", "EventPattern": pattern}));
    let invalid = (400, "InvalidEventPatternException".to_owned());
    assert_eq!(put("{\"source\": \"aws.emr\"}").error(), invalid);
    assert_eq!(put("{\"source\": [\"aws.emr\"]}").json()["RuleArn"], RULE);
    let target = |arn: &str| json!({"Rule": "emr", "Targets": [{"Id": "queue", "Arn": arn}]});
    assert_eq!(events("PutTargets", target(QUEUE)).json()["FailedEntryCount"], 0);
    let far = QUEUE.replace("eu-west-1", "eu-west-2");
    let failed = events("PutTargets", target(&far)).json();
    assert_eq!(
        (&failed["FailedEntryCount"], &failed["FailedEntries"][0]["TargetId"]),
        (&json!(1), &json!("queue"))
    );
    assert_eq!(put("{\"source\": [\"aws.emr\"]}").status, 200);
    let targets = || events("ListTargetsByRule", json!({"Rule": "emr"})).json()["Targets"].clone();
    assert_eq!(targets(), json!([{"Id": "queue", "Arn": QUEUE}]));
    let state = || events("DescribeRule", json!({"Name": "emr"})).json()["State"].clone();
    assert_eq!(events("DisableRule", json!({"Name": "emr"})).status, 200);
    assert_eq!(state(), "DISABLED");
    // Everything of a rule but its targets is replaced.
    assert_eq!(put("{\"source\": [\"aws.emr\"]}").status, 200);
    assert_eq!(state(), "ENABLED");
    let delete = || events("DeleteRule", json!({"Name": "emr"}));
    assert_eq!(delete().error(), (400, "ValidationException".to_owned()));
    let removed = events("RemoveTargets", json!({"Rule": "emr", "Ids": ["queue"]}));
    assert_eq!(removed.json()["FailedEntryCount"], 0);
    assert_eq!((delete().status, delete().status), (200, 200));
    assert_eq!(events("ListTargetsByRule", json!({"Rule": "emr"})).error(), none);
}

#[test]
fn a_queue_gets_events_by_an_enabled_rule_that_fits_and_that_its_policy_lets_send() {
    let sim = stepped();
    let client = Client::new(&sim);
    assert_eq!(create(&client, &json!({"Policy": policy(RULE)})).0, 200);
    let put = |pattern: Value| {
        let body = json!({"Name": "emr", "EventPattern": pattern.to_string()});
        assert_eq!(client.events("PutRule", &body).status, 200);
    };
    put(json!({"source": ["aws.emr"], "detail-type": ["EMR Cluster State Change"]}));
    let started = |number: usize| {
        let id = Some(format!("j-{number}"));
        let state = StartState::Starting;
        sim.apply(Command::StartCluster(StartCluster { id, state, ..StartCluster::default() }))
            .unwrap();
        sim.with_world(|world| world.queues["emr"].len())
    };
    assert_eq!(started(1), 0, "a rule without a target");
    let target = json!({"Rule": "emr", "Targets": [{"Id": "queue", "Arn": QUEUE}]});
    assert_eq!(client.events("PutTargets", &target).status, 200);
    assert_eq!(started(2), 1);
    assert_eq!(
        set(&client, &json!({"Policy": policy("arn:aws:events:eu-west-1:123456789012:rule/x")})).0,
        200
    );
    assert_eq!(started(3), 1, "the policy is for another rule");
    assert_eq!(
        set(&client, &json!({"Policy": policy(RULE), "KmsMasterKeyId": "alias/aws/sqs"})).0,
        200
    );
    assert_eq!(started(4), 1, "EventBridge cannot use that key");
    assert_eq!(set(&client, &json!({"SqsManagedSseEnabled": "true"})).0, 200);
    assert_eq!(client.events("DisableRule", &json!({"Name": "emr"})).status, 200);
    assert_eq!(started(5), 1, "a rule that is disabled");
    put(json!({"source": ["aws.ec2"]}));
    assert_eq!(started(6), 1, "the events of another service");
    put(json!({"source": ["aws.emr"]}));
    assert_eq!(started(7), 2);
}
