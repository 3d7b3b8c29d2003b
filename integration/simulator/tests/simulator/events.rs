//! Owns the tests of queues that were made with the API, and of the rules of EventBridge that fill
//! them.

use emr_simulator::{
    Advance, Command, EventDelivery, LaunchedBy, Named, NextCluster, PutHistory,
    PutSecurityConfiguration, Simulator, StartCluster, StartState, Timings,
};
use serde_json::{Value, json};

use crate::support::{Client, run_job_flow, stepped};

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

/// The messages of a queue as JSON.
fn messages(sim: &Simulator, queue: &str) -> Vec<Value> {
    sim.with_world(|world| {
        let bodies = world.queues[queue].iter().map(|it| serde_json::from_str(&it.body).unwrap());
        bodies.collect()
    })
}

fn put_queue(sim: &Simulator) {
    sim.apply(Command::PutQueue(Named { name: "all".to_owned(), ..Named::default() })).unwrap();
}

fn states(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|it| it["detail"]["state"].as_str()).collect()
}

fn advance(sim: &Simulator, seconds: f64) {
    sim.apply(Command::Advance(Advance { seconds })).unwrap();
}

#[test]
fn emr_tells_the_states_that_it_documents_each_at_its_time_and_nothing_of_the_past() {
    let sim = stepped();
    sim.apply(Command::SetTimings(Timings::all(60.0))).unwrap();
    let put = PutHistory { count: 3, within_seconds: 600.0, ..PutHistory::default() };
    sim.apply(Command::PutHistory(put)).unwrap();
    sim.apply(Command::StartCluster(StartCluster::default())).unwrap();
    put_queue(&sim);
    let started = StartCluster {
        state: StartState::Starting,
        request: json!({"Name": "x", "Instances": {"KeepJobFlowAliveWhenNoSteps": false}}),
        ..StartCluster::default()
    };
    let id = sim.apply(Command::StartCluster(started)).unwrap().id.unwrap();
    // All of its life passes between two looks.
    let begun = sim.with_world(|world| world.now.unix_timestamp());
    advance(&sim, 3600.0);
    let all = messages(&sim, "all");
    assert_eq!(states(&all), ["STARTING", "TERMINATED"]);
    assert!(all.iter().all(|it| it["detail"]["clusterId"] == id.as_str()));
    let time = all[1]["time"].as_str().unwrap();
    let format = &time::format_description::well_known::Rfc3339;
    let ended = time::OffsetDateTime::parse(time, format).unwrap().unix_timestamp();
    assert_eq!(ended - begun, 180);
}

#[test]
fn events_come_late_twice_in_another_order_or_never_as_was_set() {
    let sim = stepped();
    put_queue(&sim);
    let set = |delivery: EventDelivery| sim.apply(Command::SetEvents(delivery)).unwrap();
    let start = |number: u32| {
        let id = Some(format!("j-{number}"));
        let state = StartState::Starting;
        sim.apply(Command::StartCluster(StartCluster { id, state, ..StartCluster::default() }))
            .unwrap();
    };
    let ids = |from: usize| -> Vec<String> {
        let all = messages(&sim, "all");
        all[from..]
            .iter()
            .map(|it| it["detail"]["clusterId"].as_str().unwrap().to_owned())
            .collect()
    };
    set(EventDelivery { delay: 5.0, ..EventDelivery::default() });
    start(0);
    advance(&sim, 4.0);
    assert_eq!(ids(0).len(), 0);
    advance(&sim, 1.0);
    assert_eq!(ids(0), ["j-0"]);
    set(EventDelivery { lost: 1.0, ..EventDelivery::default() });
    start(1);
    advance(&sim, 10.0);
    assert_eq!(ids(1).len(), 0);
    set(EventDelivery { doubled: 1.0, ..EventDelivery::default() });
    start(2);
    assert_eq!(ids(1), ["j-2", "j-2"]);
    let twins = messages(&sim, "all");
    assert_eq!(twins[1]["id"], twins[2]["id"], "it is the same event");
    set(EventDelivery { jitter: 60.0, ..EventDelivery::default() });
    (10..20).for_each(start);
    advance(&sim, 60.0);
    let mut late = ids(3);
    let in_order: Vec<String> = (10..20).map(|number| format!("j-{number}")).collect();
    assert_ne!(late, in_order);
    late.sort();
    assert_eq!(late, in_order);
}

#[test]
fn cloudtrail_tells_who_launched_a_cluster_minutes_later_if_there_is_a_trail() {
    let sim = stepped();
    put_queue(&sim);
    let guard = Client::new(&sim);
    let of_trail = || {
        let mut all = messages(&sim, "all");
        all.retain(|it| it["detail-type"] == "AWS API Call via CloudTrail");
        all
    };
    run_job_flow(&guard);
    advance(&sim, 600.0);
    assert_eq!(of_trail().len(), 0, "there is no trail");
    let trail = EventDelivery { trail: true, ..EventDelivery::default() };
    sim.apply(Command::SetEvents(trail)).unwrap();
    let id = run_job_flow(&guard);
    let refused = guard.emr("RunJobFlow", &json!({"Name": "x"}));
    assert_eq!(refused.error().1, "ValidationException");
    let by = LaunchedBy {
        arn: Some("arn:aws:iam::123456789012:user/eve".to_owned()),
        address: Some("198.51.100.9".to_owned()),
        agent: Some("Boto3/1.40".to_owned()),
        invoked_by: Some("states.amazonaws.com".to_owned()),
    };
    let by_hand = StartCluster { launcher: by, ..StartCluster::default() };
    sim.apply(Command::StartCluster(by_hand)).unwrap();
    advance(&sim, 299.0);
    assert_eq!(of_trail().len(), 0);
    advance(&sim, 1.0);
    let events = of_trail();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["source"], "aws.elasticmapreduce");
    let [first, second, third] = [0, 1, 2].map(|number: usize| &events[number]["detail"]);
    assert_eq!(first["responseElements"]["jobFlowId"], id.as_str());
    assert_eq!(first["requestParameters"]["name"], "Snowplow ETL");
    let identity = &first["userIdentity"];
    let session = "arn:aws:sts::123456789012:assumed-role/emr-etl-guard/emr-etl-guard";
    assert_eq!((&identity["type"], &identity["arn"]), (&json!("AssumedRole"), &json!(session)));
    assert_eq!(
        identity["sessionContext"]["sessionIssuer"]["arn"],
        "arn:aws:iam::123456789012:role/etl/emr-etl-guard"
    );
    assert_eq!(second["errorCode"], "ValidationException");
    assert_eq!(second["responseElements"], Value::Null);
    assert_eq!(third["userIdentity"]["type"], "IAMUser");
    assert_eq!(third["userIdentity"]["userName"], "eve");
    assert_eq!(third["userIdentity"]["invokedBy"], "states.amazonaws.com");
    assert_eq!(
        (&third["sourceIPAddress"], &third["userAgent"]),
        (&json!("198.51.100.9"), &json!("Boto3/1.40"))
    );
}

#[test]
fn queues_of_one_name_in_two_regions_are_two_queues_with_the_events_of_their_own() {
    let sim = stepped();
    let regions = ["eu-west-1", "eu-west-3"];
    let clients = regions.map(|region| Client::new(&sim).in_region(region));
    for (region, client) in regions.into_iter().zip(&clients) {
        let here = |text: &str| text.replace("eu-west-1", region);
        assert_eq!(create(client, &json!({"Policy": here(&policy(RULE))})).0, 200);
        let pattern = json!({"source": ["aws.emr"]}).to_string();
        let rule = client.events("PutRule", &json!({"Name": "emr", "EventPattern": pattern}));
        assert_eq!(rule.status, 200);
        let target = json!({"Rule": "emr", "Targets": [{"Id": "queue", "Arn": here(QUEUE)}]});
        assert_eq!(client.events("PutTargets", &target).json()["FailedEntryCount"], 0);
        let id = Some(format!("j-{region}"));
        let started =
            StartCluster { id, region: Some(region.to_owned()), ..StartCluster::default() };
        sim.apply(Command::StartCluster(started)).unwrap();
    }
    for (region, client) in regions.into_iter().zip(&clients) {
        let url = URL.replace("eu-west-1", region);
        let asked = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let got = client.sqs("ReceiveMessage", &asked).json();
        let list = got["Messages"].as_array().unwrap();
        assert_eq!(list.len(), 1);
        assert!(list[0]["Body"].as_str().unwrap().contains(&format!("j-{region}")));
        // Another account has no access, and no queue of its own there.
        let other = client.as_key("AKIAOTHER");
        assert_eq!(other.sqs("ReceiveMessage", &asked).error().1, "AccessDeniedException");
        let elsewhere = json!({"QueueUrl": url.replace("123456789012", "999999999999")});
        let gone = "com.amazonaws.sqs#QueueDoesNotExist";
        assert_eq!(other.sqs("ReceiveMessage", &elsewhere).error().1, gone);
    }
}

#[test]
fn a_cluster_launched_by_hand_can_be_short_lived_unencrypted_or_become_so() {
    let sim = stepped();
    let weak = PutSecurityConfiguration {
        name: "weak".to_owned(),
        content: json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true}}),
        ..PutSecurityConfiguration::default()
    };
    sim.apply(Command::PutSecurityConfiguration(weak)).unwrap();
    let next = NextCluster { timings: Some(Timings::all(1.0)), ..NextCluster::default() };
    sim.apply(Command::SetNextCluster(next)).unwrap();
    let start = |request: Value| {
        let state = StartState::Starting;
        let started = StartCluster { state, request, ..StartCluster::default() };
        sim.apply(Command::StartCluster(started)).unwrap().id.unwrap()
    };
    let short = start(json!({"SecurityConfiguration": "weak", "Instances": {}}));
    let bare = start(json!({"Name": "bare"}));
    advance(&sim, 3.0);
    sim.with_world(|world| {
        let [short, bare] = [&short, &bare].map(|id| world.cluster(id).unwrap());
        assert_eq!((short.state_name(), bare.state_name()), ("TERMINATED", "STARTING"));
        assert_eq!(short.security_configuration.as_deref(), Some("weak"));
        assert_eq!(bare.security_configuration, None);
    });
}
