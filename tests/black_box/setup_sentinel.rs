//! `setup --sentinel` on whole accounts: what it plans and makes, whatever is there already, that a
//! sentinel with the settings that it writes reads its queue, and that the code describes the same.

use std::{fmt::Write as _, process::Command};

use emr_simulator::{
    Alarm, Command as Set, Fault, FaultKind, PutRole, QueueSettings, Role, Seed, StartCluster,
    StartState, TopicSettings, World, partition_of,
};
use serde_json::{Map, Value, json};

use crate::{
    attach::like_the_runners,
    sentinel::without_configuration,
    setup::{document, permission, to_do, writes},
    setup_code::{Account, Code, Template},
    setup_states::killed_at_first_write,
    support::{Played, Stage, isolated_guard, wait_until},
};

const IRELAND: &str = "eu-west-1";
const ACCOUNT: &str = "123456789012";
const NAME: &str = "emr-etl-sentinel";
const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-sentinel";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:oncall";
const ECS: &str = "--trust=ecs-tasks";
const APPLY: [&str; 3] = [ECS, "--apply", "--report=setup.json"];

/// An account of a region in which nothing is but what a runner has, with the settings of a
/// sentinel.
fn empty_account(region: &str) -> Stage {
    let stage = Stage::acme().env("AWS_REGION", region).env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    stage.set(Set::Reset);
    stage.set(Set::Seed(Seed { scene: "empty".to_owned(), region: Some(region.to_owned()) }));
    stage.write("guard.yml", &format!("sentinel:\n  regions: [{region}]\n"));
    stage.timed()
}

fn command(stage: &Stage, options: &[&str]) -> Command {
    let mut command = isolated_guard();
    command.args(["setup", "--sentinel"]).args(options);
    stage.prepare(&mut command);
    command
}

fn setup(stage: &Stage, options: &[&str]) -> Played {
    stage.play(command(stage, options))
}

fn made_account() -> Stage {
    let stage = empty_account(IRELAND);
    setup(&stage, &APPLY).expect_code(0);
    stage
}

/// Everything in the world that a setup for a sentinel makes or could touch.
fn account(stage: &Stage) -> Value {
    stage.sim.with_world(|world| {
        let world = serde_json::to_value(world).unwrap();
        let parts = ["roles", "users", "topic_settings", "queue_settings", "event_rules", "alarms"];
        parts.iter().map(|part| ((*part).to_owned(), world[*part].clone())).collect()
    })
}

/// The same without random ids and times.
fn shape(stage: &Stage) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let of_time = ["id", "created", "visible_from", "state_since", "configured"];
                fields.retain(|name, _| !of_time.contains(&name.as_str()));
                fields.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let mut whole = account(stage);
    clean(&mut whole);
    whole
}

/// Everything that one makes, in order.
const WRITES: [&str; 7] = [
    "CreateRole",
    "PutRolePolicy",
    "CreateQueue",
    "PutRule",
    "PutTargets",
    "PutMetricAlarm",
    "PutMetricAlarm",
];
const STEPS: [&str; 6] = [
    "create role emr-etl-sentinel",
    "create inline policy emr-etl-sentinel of emr-etl-sentinel",
    "create event queue emr-etl-sentinel",
    "create event rule emr-etl-sentinel",
    "create alarm emr-etl-sentinel-silent",
    "create alarm emr-etl-sentinel-behind",
];

/// A topic as the owner made it: under this key, with SNS's own policy and a subscription.
fn topic(stage: &Stage, key: Option<&str>) {
    stage.sim.change_world(|world| {
        world.topics.insert(TOPIC.to_owned(), Vec::new());
        let settings = TopicSettings {
            kms_key: key.map(str::to_owned),
            pending_subscriptions: 1,
            ..TopicSettings::default()
        };
        world.topic_settings.insert(TOPIC.to_owned(), settings);
    });
}

#[test]
fn a_plan_says_everything_with_its_costs_and_changes_nothing() {
    let stage = empty_account(IRELAND);
    let before = account(&stage);
    let played = setup(&stage, &[ECS, "--report=plan.json"]);
    played.expect_code(0);
    assert_eq!((writes(&stage), account(&stage)), (Vec::new(), before));
    assert_eq!(to_do(&stage, "plan.json"), STEPS);
    insta::assert_snapshot!(played.transcript());
}

#[test]
fn from_an_empty_account_one_command_makes_what_the_plan_says_and_a_second_does_nothing() {
    let stage = empty_account(IRELAND);
    setup(&stage, &[ECS, "--report=plan.json"]).expect_code(0);
    let played = setup(&stage, &APPLY);
    played.expect_code(0);
    insta::assert_snapshot!(played.transcript());
    let (plan, done) = (document(&stage, "plan.json"), document(&stage, "setup.json"));
    assert_eq!(plan["plan"], done["plan"]);
    assert_eq!(writes(&stage), WRITES);
    for (planned, step) in
        plan["plan"].as_array().unwrap().iter().zip(done["record"]["steps"].as_array().unwrap())
    {
        assert_eq!((&step["verified"], &step["error"]), (&json!(true), &Value::Null));
        assert_eq!((&planned["action"], &step["action"]), (&json!("create"), &json!("create")));
        for call in step["calls"].as_array().unwrap() {
            assert!(call["request"].is_string(), "{call}");
        }
    }
    setup(&stage, &[ECS, "--apply", "--report=again.json"]).expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
    assert_eq!(writes(&stage), WRITES);
    let mut page = isolated_guard();
    page.args(["report", "html", "setup.json", "--out", "setup.html"]);
    stage.prepare(&mut page);
    stage.play(page).expect_code(0);
    let page = std::fs::read_to_string(stage.path("setup.html")).unwrap();
    assert!(page.contains("Setup for a sentinel") && !page.contains("Runner config"), "{page}");
}

#[test]
fn a_sentinel_with_the_settings_that_are_written_reads_the_queue() {
    let stage = empty_account(IRELAND);
    let settings = ["--write-settings=written.yml"];
    setup(&stage, &[&APPLY[..], &settings].concat()).expect_code(0);
    let written = std::fs::read_to_string(stage.path("written.yml")).unwrap();
    assert!(written.contains(&format!("sentinel:\n  queues: [\"{QUEUE}\"]\n")), "{written}");
    // Of somebody's own file, the line to add is said.
    let played = setup(&stage, &[ECS, "--write-settings=guard.yml"]);
    let says = format!("fix: write `queues: [\"{QUEUE}\"]` in the section `sentinel`");
    assert!(played.stdout.contains(&says), "{}", played.transcript());
    let text = written.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let text: Vec<&str> = text.collect();
    stage.write(
        "guard.yml",
        &format!("{}\n  regions: [{IRELAND}]\n  interval: 10m\n", text.join("\n")),
    );
    let mut child = stage.sentinel(&[]).spawn().unwrap();
    wait_until("the queue is read", || !stage.sim.requests_for("ReceiveMessage").is_empty());
    let mut request = like_the_runners();
    without_configuration(&mut request);
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-EVENT".to_owned()),
        state: StartState::Running,
        request,
        ..StartCluster::default()
    }));
    // The list is asked every ten minutes: only the event makes it look.
    wait_until("the event was read and deleted", || {
        !stage.sim.requests_for("DeleteMessage").is_empty()
            && !stage.sim.requests_for("DescribeCluster").is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn alarms_tell_the_topic_of_the_settings_and_whoever_does_not_hear_them_is_said() {
    let advice = |stage: &Stage, options: &[&str]| {
        let played = setup(stage, &[&[ECS], options].concat());
        played.expect_code(0);
        let said = played.stdout.lines().filter(|line| line.starts_with("by hand"));
        said.map(str::to_owned).collect::<Vec<String>>()
    };
    let with_topic = |key| {
        let stage = empty_account(IRELAND).env("EMR_ETL_GUARD_ALERT_SNS", TOPIC);
        topic(&stage, key);
        stage
    };
    let stage = with_topic(None);
    assert_eq!(advice(&stage, &[]), [] as [&str; 0]);
    setup(&stage, &APPLY).expect_code(0);
    stage.sim.with_world(|world| {
        for alarm in &world.alarms {
            for list in ["AlarmActions", "OKActions"] {
                assert_eq!(alarm.settings[&format!("{list}.member.1")], TOPIC, "{alarm:?}");
            }
        }
        assert_eq!(world.alarms.len(), 2);
    });
    let cases = [
        advice(&with_topic(Some("alias/aws/sns")), &[]),
        advice(&empty_account(IRELAND), &[]),
        advice(
            &empty_account(IRELAND).env("EMR_ETL_GUARD_ALERT_SNS", &TOPIC.replace("west", "north")),
            &[],
        ),
    ];
    insta::assert_snapshot!(cases.map(|lines| lines.join("\n")).join("\n\n"));
    // One that does not exist is refused, and one of another region is a mistake.
    let stage = empty_account(IRELAND);
    let named = format!("--alarm-topic={TOPIC}");
    setup(&stage, &[ECS, &named, "--apply"]).expect_code(77);
    assert_eq!(writes(&stage), [] as [&str; 0]);
    let elsewhere = named.replace("eu-west-1", "us-east-1");
    let played = setup(&stage, &[ECS, &elsewhere]);
    played.expect_code(64);
    assert!(played.unbroken().contains("expected the ARN of a topic in eu-west-1"));
}

/// Something that is changed or lost.
type Change = fn(&mut World);

fn role(world: &mut World) -> &mut Role {
    world.roles.iter_mut().find(|role| role.name == NAME).unwrap()
}

fn queue(world: &mut World) -> &mut QueueSettings {
    world.queue_settings.values_mut().next().unwrap()
}

/// The policy of the queue, changed.
fn change_policy(world: &mut World, change: impl FnOnce(&mut Vec<Value>)) {
    let text = queue(world).attributes["Policy"].clone();
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    change(policy["Statement"].as_array_mut().unwrap());
    queue(world).attributes.insert("Policy".to_owned(), policy.to_string());
}

fn alarm<'a>(world: &'a mut World, end: &str) -> &'a mut Alarm {
    world.alarms.iter_mut().find(|alarm| alarm.name.ends_with(end)).unwrap()
}

#[test]
fn whatever_one_piece_is_missing_or_weaker_that_alone_is_made_up_for() {
    let losses: [(&str, Change, &[&str]); 9] = [
        ("role", |world| world.roles.retain(|role| role.name != NAME), &STEPS[..2]),
        ("inline policy", |world| role(world).policies.clear(), &STEPS[1..2]),
        (
            "a statement of it",
            |world| {
                let statements = role(world).policies[0].1["Statement"].as_array_mut().unwrap();
                statements.remove(0);
            },
            &["change inline policy emr-etl-sentinel of emr-etl-sentinel"],
        ),
        (
            "queue",
            |world| {
                world.queue_settings.clear();
                world.queues.clear();
            },
            &STEPS[2..3],
        ),
        (
            "statements of its policy",
            |world| change_policy(world, |statements| drop(statements.remove(0))),
            &["change event queue emr-etl-sentinel"],
        ),
        (
            "its encryption and its retention",
            |world| {
                let attributes = &mut queue(world).attributes;
                attributes.insert("SqsManagedSseEnabled".to_owned(), "false".to_owned());
                attributes.insert("MessageRetentionPeriod".to_owned(), "60".to_owned());
            },
            &["change event queue emr-etl-sentinel"],
        ),
        ("rule", |world| world.event_rules.clear(), &STEPS[3..4]),
        (
            "its target",
            |world| world.event_rules[0].targets.clear(),
            &["change event rule emr-etl-sentinel"],
        ),
        ("alarm", |world| world.alarms.retain(|it| it.name.ends_with("silent")), &STEPS[5..]),
    ];
    let stage = made_account();
    let whole = shape(&stage);
    for (what, lose, expected) in losses {
        stage.sim.change_world(lose);
        assert_ne!(shape(&stage), whole, "{what}");
        let played = setup(&stage, &APPLY);
        assert_eq!(played.code, Some(0), "{what}\n{}", played.transcript());
        assert_eq!(to_do(&stage, "setup.json"), expected, "{what}");
        assert_eq!(sorted(shape(&stage)), sorted(whole.clone()), "{what}");
    }
}

/// Statements and alarms in one order, whenever they were made.
fn sorted(mut shape: Value) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(sort),
            Value::Array(items) => {
                items.iter_mut().for_each(sort);
                items.sort_by_key(Value::to_string);
            }
            Value::String(text) => {
                if let Ok(mut policy @ Value::Object(_)) = serde_json::from_str(text) {
                    sort(&mut policy);
                    *text = policy.to_string();
                }
            }
            _ => {}
        }
    }
    sort(&mut shape);
    shape
}

#[test]
fn what_others_wrote_stays_and_comes_back_when_it_is_taken_back() {
    let stage = made_account();
    let theirs = json!({"Sid": "Theirs", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": "sqs:SendMessage", "Resource": format!("arn:aws:sqs:{IRELAND}:{ACCOUNT}:{NAME}")});
    stage.sim.change_world(|world| {
        change_policy(world, |statements| *statements = vec![theirs.clone()]);
        role(world).policies[0].1["Statement"] = json!([{
            "Sid": "Theirs", "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*",
        }]);
        queue(world).attributes.insert("MessageRetentionPeriod".to_owned(), "120".to_owned());
        let told = alarm(world, "silent");
        told.settings.insert(
            "AlarmActions.member.1".to_owned(),
            "arn:aws:sns:eu-west-1:123456789012:theirs".to_owned(),
        );
        told.settings.insert("AlarmDescription".to_owned(), "In their words".to_owned());
    });
    let before = shape(&stage);
    let stage = stage.env("EMR_ETL_GUARD_ALERT_SNS", TOPIC);
    topic(&stage, None);
    let topics = shape(&stage)["topic_settings"].clone();
    // The report of what was made at first would be continued.
    setup(&stage, &[ECS, "--apply", "--report=change.json"]).expect_code(0);
    stage.sim.change_world(|world| {
        let settings = &alarm(world, "silent").settings;
        assert_eq!(settings["AlarmDescription"], "In their words");
        let told = ["AlarmActions.member.1", "AlarmActions.member.2"].map(|it| &settings[it]);
        assert_eq!(told, [TOPIC, "arn:aws:sns:eu-west-1:123456789012:theirs"]);
        let policy: Value = serde_json::from_str(&queue(world).attributes["Policy"]).unwrap();
        assert_eq!(policy["Statement"][0], theirs);
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 3);
        assert_eq!(queue(world).attributes["MessageRetentionPeriod"], "86400");
        let own = role(world).policies[0].1["Statement"].as_array().unwrap().clone();
        assert_eq!(own[0]["Sid"], "Theirs");
        assert!(own.len() > 3, "{own:#?}");
    });
    let played = setup(&stage, &["--undo=change.json", "--apply"]);
    played.expect_code(0);
    let mut after = shape(&stage);
    assert_eq!(after["topic_settings"], topics);
    after["topic_settings"] = before["topic_settings"].clone();
    assert_eq!(sorted(after), sorted(before), "{}", played.transcript());
}

/// What somebody else made before.
type WorldChange = Box<dyn FnOnce(&mut World)>;

#[test]
fn what_contradicts_or_belongs_to_somebody_else_is_refused_and_nothing_is_made() {
    let nobody = |action: &str, resource: &str| {
        json!({"Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": action,
            "Resource": resource})
    };
    let arn = format!("arn:aws:sqs:{IRELAND}:{ACCOUNT}:{NAME}");
    let (sends, reads) = (nobody("sqs:SendMessage", &arn), nobody("sqs:ReceiveMessage", &arn));
    let cases: [(&str, WorldChange, &str); 10] = [
        (
            "another trust",
            Box::new(|world| role(world).trust["Statement"][0]["Principal"] = json!({"AWS": "*"})),
            "there is a role emr-etl-sentinel that trusts others",
        ),
        (
            "another path",
            Box::new(|world| role(world).path = "/theirs/".to_owned()),
            "there is a role emr-etl-sentinel with another path",
        ),
        (
            "a policy of the role that denies",
            Box::new(|world| {
                let statements = role(world).policies[0].1["Statement"].as_array_mut().unwrap();
                statements.push(json!({"Sid": "Nothing", "Effect": "Deny",
                    "Action": "elasticmapreduce:*", "Resource": "*"}));
            }),
            "to the sentinel (Nothing)",
        ),
        (
            "a queue that denies the rule",
            Box::new(move |world| change_policy(world, |all| all.push(sends))),
            "its policy denies sqs:SendMessage to EventBridge (Nobody)",
        ),
        (
            "a queue that denies the sentinel",
            Box::new(move |world| change_policy(world, |all| all.push(reads))),
            "its policy denies sqs:ReceiveMessage to the sentinel (Nobody)",
        ),
        (
            "a queue under SQS's own key",
            Box::new(|world| {
                let attributes = &mut queue(world).attributes;
                attributes.insert("KmsMasterKeyId".to_owned(), "alias/aws/sqs".to_owned());
                attributes.insert("SqsManagedSseEnabled".to_owned(), "false".to_owned());
            }),
            "it is encrypted under alias/aws/sqs",
        ),
        (
            "another pattern",
            Box::new(|world| world.event_rules[0].pattern = r#"{"source":["aws.ec2"]}"#.to_owned()),
            "there is a rule emr-etl-sentinel with another pattern of events",
        ),
        (
            "a rule that is off",
            Box::new(|world| world.event_rules[0].enabled = false),
            "the rule emr-etl-sentinel is switched off",
        ),
        (
            "another alarm",
            Box::new(|world| {
                alarm(world, "behind").settings.insert("Threshold".to_owned(), "9.0".to_owned());
            }),
            "there is an alarm emr-etl-sentinel-behind that watches something else: another \
             threshold",
        ),
        (
            "an alarm whose actions are off",
            Box::new(|world| {
                let settings = &mut alarm(world, "silent").settings;
                settings.insert("ActionsEnabled".to_owned(), "false".to_owned());
            }),
            "the actions of the alarm emr-etl-sentinel-silent are switched off",
        ),
    ];
    let mut said = String::new();
    for (what, change, says) in cases {
        let stage = made_account();
        stage.sim.change_world(change);
        // Something else is missing, too, and is not made.
        stage.sim.change_world(|world| world.event_rules[0].targets.clear());
        stage.set(Set::ClearRequests);
        let before = account(&stage);
        let played = setup(&stage, &[ECS, "--apply"]);
        assert_eq!(played.code, Some(77), "{what}\n{}", played.transcript());
        assert!(played.stdout.contains(says), "{what}\n{}", played.transcript());
        assert_eq!((account(&stage), writes(&stage)), (before, Vec::new()), "{what}");
        let refused = played.stdout.lines().skip_while(|line| !line.starts_with("REFUSED"));
        let shown: Vec<&str> = refused.take_while(|line| !line.contains("source")).collect();
        writeln!(said, "{what}:\n{}\n", shown.join("\n")).unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn govcloud_and_china_have_their_own_partitions() {
    for (region, partition) in [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn")] {
        let stage = empty_account(region);
        setup(&stage, &APPLY).expect_code(0);
        let text = account(&stage).to_string();
        assert!(text.contains(&format!("arn:{partition}:")), "{region}");
        let of_role = stage.sim.with_world(|world| {
            let role = world.roles.iter().find(|role| role.name == NAME).unwrap();
            json!(role).to_string()
        });
        assert!(!of_role.contains("arn:aws:"), "{region}: {of_role}");
        setup(&stage, &[ECS, "--apply", "--report=again.json"]).expect_code(0);
        assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0], "{region}");
        let wrong = setup(&stage, &[ECS, "--region=eu-west-1"]);
        wrong.expect_code(64);
        assert!(wrong.unbroken().contains("expected one partition"), "{}", wrong.transcript());
    }
}

#[test]
fn a_second_region_finds_the_role_there() {
    let stage = made_account();
    stage.write("guard.yml", "sentinel:\n  regions: [eu-west-1, us-east-1]\n");
    let second = [&APPLY[..], &["--region=us-east-1"]].concat();
    setup(&stage, &second).expect_code(0);
    let mut expected = STEPS.map(str::to_owned).to_vec();
    expected.remove(0);
    // It may look at that region, too.
    expected[0] = expected[0].replace("create", "change");
    assert_eq!(to_do(&stage, "setup.json"), expected);
    let regions = |world: &World| {
        let mut regions: Vec<String> =
            world.queue_settings.values().map(|queue| queue.region.clone()).collect();
        regions.sort_unstable();
        regions
    };
    assert_eq!(stage.sim.with_world(regions), ["eu-west-1", "us-east-1"]);
}

#[test]
fn the_credentials_must_be_of_the_account_that_is_named() {
    let accounts = |id: &str| {
        format!(
            "sentinel:\n  accounts:\n    - id: '{id}'\n      role: \
             arn:aws:iam::{id}:role/guards/emr-sentinel\n      external_id: acme-1\n      regions: \
             [eu-west-1]\n"
        )
    };
    let trusted = "arn:aws:iam::210987654321:role/emr-etl-sentinel";
    let trust = format!("--trust={trusted}");
    let stage = empty_account(IRELAND);
    stage.write("guard.yml", &accounts("210987654321"));
    let played = setup(&stage, &[&trust, "--account=210987654321", "--apply"]);
    played.expect_code(77);
    let says = "--account: the credentials are of account 123456789012; expected: 210987654321";
    assert!(played.unbroken().contains(says), "{}", played.transcript());
    assert_eq!(writes(&stage), [] as [&str; 0]);

    stage.set(Set::PutRole(PutRole {
        name: "emr-etl-sentinel".to_owned(),
        account: Some("210987654321".to_owned()),
        ..PutRole::default()
    }));
    stage.write("guard.yml", &accounts(ACCOUNT));
    setup(&stage, &[&trust, "--account=123456789012", "--apply"]).expect_code(0);
    stage.sim.with_world(|world| {
        let role = world.roles.iter().find(|role| role.name == "emr-sentinel").unwrap();
        assert_eq!(role.path, "/guards/");
        let statement = &role.trust["Statement"][0];
        assert_eq!(statement["Principal"], json!({"AWS": trusted}));
        assert_eq!(statement["Condition"]["StringEquals"]["sts:ExternalId"], "acme-1");
        let policy = &world.queue_settings.values().next().unwrap().attributes["Policy"];
        assert!(policy.contains(trusted) && policy.contains("EmrEtlGuardSentinel"), "{policy}");
    });
    let again = setup(&stage, &[&trust, "--account=123456789012", "--report=again.json"]);
    again.expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
}

#[test]
fn a_denied_call_is_named_and_the_next_setup_goes_on_from_there() {
    let looks = [
        "GetCallerIdentity",
        "GetRole",
        "GetRolePolicy",
        "GetQueueUrl",
        "GetQueueAttributes",
        "DescribeRule",
        "ListTargetsByRule",
        "DescribeAlarms",
    ];
    let denied = |stage: &Stage, operation: &str| {
        stage.set(Set::AddFault(Fault::every(operation, FaultKind::AccessDenied)));
        let played = setup(stage, &APPLY);
        stage.set(Set::ClearFaults);
        let said = format!("{operation}\n{}", played.transcript());
        assert_eq!(played.code, Some(69), "{said}");
        assert!(played.transcript().contains(operation), "{said}");
        assert!(!played.stdout.contains("is in place"), "{said}");
    };
    let stage = made_account();
    let before = account(&stage);
    for operation in looks {
        denied(&stage, operation);
        assert_eq!(account(&stage), before, "{operation}");
    }
    let whole = shape(&stage);
    let stage = empty_account(IRELAND);
    for operation in &WRITES[..6] {
        denied(&stage, operation);
        assert_eq!(writes(&stage).last().map(String::as_str), Some(*operation));
    }
    setup(&stage, &APPLY).expect_code(0);
    assert_eq!(shape(&stage), whole);
}

#[test]
fn killed_at_every_step_and_again_each_setup_makes_one_more_and_none_twice() {
    let whole = made_account();
    let stage = empty_account(IRELAND);
    let before = shape(&stage);
    let killed = |kind| killed_at_first_write(&stage, command(&stage, &APPLY), kind);
    let mut done = Vec::new();
    for (index, operation) in WRITES.iter().enumerate() {
        assert!(killed(FaultKind::Hang), "{index}: {operation}");
        assert!(killed(FaultKind::AppliedThenHang), "{index}: {operation}");
        done.extend(writes(&stage));
    }
    assert_eq!(done, WRITES, "every write once, in the order of an undisturbed setup");
    stage.set(Set::ClearRequests);
    setup(&stage, &APPLY).expect_code(0);
    assert_eq!(writes(&stage), [] as [&str; 0]);
    assert_eq!(shape(&stage), shape(&whole));
    // The report has all of it, so that it can be taken back.
    let planned = setup(&stage, &["--undo=setup.json"]);
    planned.expect_code(0);
    assert_eq!(shape(&stage), shape(&whole));
    insta::assert_snapshot!(planned.transcript());
    let played = setup(&stage, &["--undo=setup.json", "--apply", "--report=undo.json"]);
    played.expect_code(0);
    assert_eq!(shape(&stage), before, "{}", played.transcript());
    for step in document(&stage, "undo.json")["taken_back"].as_array().unwrap() {
        assert_eq!(step["result"], json!({"result": "undone"}), "{step}");
        assert!(step["calls"][0]["request"].is_string(), "{step}");
    }
}

#[test]
fn what_somebody_changed_since_stays() {
    let stage = made_account();
    stage.sim.change_world(|world| {
        let settings = &mut alarm(world, "silent").settings;
        settings.insert("AlarmActions.member.1".to_owned(), TOPIC.to_owned());
        role(world).policies.push((
            "theirs".to_owned(),
            json!({"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}),
        ));
    });
    let played = setup(&stage, &["--undo=setup.json", "--apply"]);
    played.expect_code(0);
    let text = played.transcript();
    let stays = [
        "alarm emr-etl-sentinel-silent: stays: somebody changed it since",
        "role emr-etl-sentinel: stays: it has an inline policy: theirs",
    ];
    for line in stays {
        assert!(text.contains(line), "{text}");
    }
    stage.sim.with_world(|world| {
        assert_eq!((world.alarms.len(), world.queue_settings.len()), (1, 0));
    });
}

#[test]
fn the_policy_that_is_printed_allows_every_call_and_names_only_what_is_the_sentinels() {
    let stage = empty_account(IRELAND).env("EMR_ETL_GUARD_ALERT_SNS", TOPIC);
    topic(&stage, None);
    let printed = setup(&stage, &["--permissions"]);
    printed.expect_code(0);
    insta::assert_snapshot!(printed.stdout);
    let policy: Value = serde_json::from_str(&printed.stdout).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowed: Vec<String> = statements
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    setup(&stage, &APPLY).expect_code(0);
    setup(&stage, &APPLY).expect_code(0);
    stage.sim.change_world(|world| drop(queue(world).attributes.remove("Policy")));
    setup(&stage, &[ECS, "--apply", "--report=change.json"]).expect_code(0);
    setup(&stage, &["--undo=change.json", "--apply"]).expect_code(0);
    let mut request = like_the_runners();
    request["ServiceRole"] = json!("EMR_DefaultRole");
    // Its steps would fail, since their buckets are not there, and end it.
    request["Steps"] = json!([]);
    // Its steps would fail, since their buckets are not there, and end it.
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-LIVE".to_owned()),
        state: StartState::Waiting,
        request,
        ..StartCluster::default()
    }));
    setup(&stage, &["--undo=setup.json", "--apply"]).expect_code(0);
    let asked = || {
        stage
            .requests_of_guard()
            .map(|request| permission(&request.subject.service, &request.subject.operation))
    };
    let missing: Vec<String> = asked().filter(|needed| !allowed.contains(needed)).collect();
    assert_eq!(missing, [] as [&str; 0]);
    let unused: Vec<&String> =
        allowed.iter().filter(|it| !asked().any(|asked| asked == **it)).collect();
    insta::assert_snapshot!(format!("{unused:#?}"));
}

#[test]
fn an_endpoint_that_is_not_awss_is_not_asked_and_nothing_is_made() {
    for (service, code) in [("STS", 77), ("SQS", 69), ("EVENTBRIDGE", 69), ("CLOUDWATCH", 69)] {
        let variable = format!("AWS_ENDPOINT_URL_{service}");
        let stage = empty_account(IRELAND).env(&variable, "http://127.0.0.1:9");
        let played = setup(&stage, &APPLY);
        assert_eq!(played.code, Some(code), "{service}: {}", played.transcript());
        let says = "the endpoint http://127.0.0.1:9 is not AWS's";
        let said = played.stdout.contains(says) || played.unbroken().contains(says);
        assert!(said, "{service}: {}", played.transcript());
        assert_eq!(writes(&stage), [] as [&str; 0]);
    }
}

#[test]
fn the_code_describes_what_apply_makes_in_every_partition_and_for_an_account() {
    for region in [IRELAND, "us-gov-west-1", "cn-north-1"] {
        let stage = empty_account(region);
        agrees(&stage, region, &[ECS], None);
    }
    let topic_of = |stage: Stage| {
        topic(&stage, None);
        stage.env("EMR_ETL_GUARD_ALERT_SNS", TOPIC)
    };
    agrees(&topic_of(empty_account(IRELAND)), IRELAND, &[ECS], Some(TOPIC));
    let stage = empty_account(IRELAND);
    stage.set(Set::PutRole(PutRole {
        name: "emr-etl-sentinel".to_owned(),
        account: Some("210987654321".to_owned()),
        ..PutRole::default()
    }));
    stage.write(
        "guard.yml",
        "sentinel:\n  accounts:\n    - id: '123456789012'\n      role: \
         arn:aws:iam::123456789012:role/guards/emr-sentinel\n      external_id: acme-1\n      \
         regions: [eu-west-1]\n",
    );
    let trust = "--trust=arn:aws:iam::210987654321:role/emr-etl-sentinel";
    agrees(&stage, IRELAND, &[trust, "--account=123456789012"], None);
}

/// Asserts that both templates, deployed in a model of the account, are what `--apply` makes; and
/// that every single value of them matters.
fn agrees(stage: &Stage, region: &str, options: &[&str], topic: Option<&str>) {
    let look = || stage.sim.with_world(|world| Account::of(world, region, None));
    let before = look();
    let code = ["--terraform=code", "--cloudformation=sentinel.yml"];
    setup(stage, &[options, &code].concat()).expect_code(0);
    assert!(stage.sim.requests().is_empty() || writes(stage).is_empty());
    setup(stage, &[options, &["--apply"]].concat()).expect_code(0);
    let applied = look();
    let partition = partition_of(region);
    let text = std::fs::read_to_string(stage.path("sentinel.yml")).unwrap();
    let mut template = Template::read(&text, "", region, partition);
    let mut terraform = Code::read(&stage.path("code"), region, partition);
    if let Some(topic) = topic {
        template.give("AlarmTopic", json!(topic));
        terraform.give("alarm_topics", json!([topic]));
    }
    for resources in [template.resources(), terraform.resources()] {
        let deployed = before.deployed(&resources).unwrap();
        assert_eq!(deployed.differences(&applied), [] as [&str; 0], "{region} {options:?}");
        for (nth, resource) in resources.iter().enumerate() {
            for path in crate::setup_code::leaves(&Value::Object(resource.arguments.clone()), "") {
                let mut changed = resources.clone();
                let mut whole = Value::Object(resource.arguments.clone());
                crate::setup_code::alter(whole.pointer_mut(&path).unwrap());
                changed[nth].arguments = whole.as_object().cloned().unwrap_or_else(Map::new);
                let is_noticed = before.deployed(&changed).as_ref() != Ok(&applied);
                assert!(is_noticed, "{}{path} matters to nothing", resource.id);
            }
        }
    }
}
