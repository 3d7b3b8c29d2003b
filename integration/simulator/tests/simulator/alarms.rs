//! Owns the tests of CloudWatch: what it accepts and rejects, and what happens to an alarm that is
//! put again or deleted.

use emr_simulator::{Advance, Alarm, Command, Fault, FaultKind, PutAccessKey, Simulator};

use crate::support::{Client, Got, stepped};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:etl-alerts";

/// An alarm on one metric.
const ON_METRIC: [(&str, &str); 8] = [
    ("AlarmName", "behind"),
    ("ComparisonOperator", "GreaterThanThreshold"),
    ("EvaluationPeriods", "3"),
    ("MetricName", "ApproximateAgeOfOldestMessage"),
    ("Namespace", "AWS/SQS"),
    ("Period", "60"),
    ("Statistic", "Maximum"),
    ("Threshold", "300"),
];
/// An alarm on the sum of two metrics.
const ON_SUM: [(&str, &str); 16] = [
    ("AlarmName", "silent"),
    ("ComparisonOperator", "LessThanThreshold"),
    ("EvaluationPeriods", "2"),
    ("Metrics.member.1.Id", "a"),
    ("Metrics.member.1.MetricStat.Metric.MetricName", "NumberOfEmptyReceives"),
    ("Metrics.member.1.MetricStat.Metric.Namespace", "AWS/SQS"),
    ("Metrics.member.1.MetricStat.Period", "300"),
    ("Metrics.member.1.MetricStat.Stat", "Sum"),
    ("Metrics.member.1.ReturnData", "false"),
    ("Metrics.member.2.Expression", "FILL(a, 0) + 1"),
    ("Metrics.member.2.Id", "sum"),
    ("Metrics.member.2.ReturnData", "true"),
    ("OKActions.member.1", TOPIC),
    ("Tags.member.1.Key", "made-by"),
    ("Tags.member.1.Value", "a test"),
    ("Threshold", "1"),
];

fn call(client: &Client, operation: &str, members: &[(&str, &str)]) -> Got {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", operation)
        .extend_pairs(members)
        .finish();
    client.form("monitoring", &form)
}

fn put(client: &Client, members: &[(&str, &str)]) -> Got {
    call(client, "PutMetricAlarm", members)
}

/// `members` with others in the places of the same names; without those that are empty.
fn with<'a>(
    members: &[(&'a str, &'a str)],
    others: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = members.iter().filter(|(name, _)| others.iter().all(|(other, _)| other != name));
    kept.chain(others).filter(|(_, value)| !value.is_empty()).copied().collect()
}

fn names(got: &Got) -> Vec<String> {
    assert_eq!(got.status, 200, "{got:?}");
    let parts = got.body.split("<AlarmName>").skip(1);
    parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

fn alarms(sim: &Simulator) -> Vec<Alarm> {
    sim.with_world(|world| world.alarms.clone())
}

#[test]
fn an_alarm_is_made_without_data_and_shown_as_it_was_put() {
    let sim = stepped();
    let client = Client::new(&sim);
    assert_eq!(put(&client, &ON_METRIC).status, 200);
    assert_eq!(put(&client, &ON_SUM).status, 200);
    let got = call(&client, "DescribeAlarms", &[("AlarmNames.member.1", "behind")]);
    for part in [
        "<DescribeAlarmsResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">",
        "<CompositeAlarms></CompositeAlarms><MetricAlarms><member><AlarmName>behind</AlarmName>\
         <AlarmArn>arn:aws:cloudwatch:eu-west-1:123456789012:alarm:behind</AlarmArn>",
        "<ActionsEnabled>true</ActionsEnabled><OKActions></OKActions><AlarmActions></AlarmActions>\
         <InsufficientDataActions></InsufficientDataActions>\
         <StateValue>INSUFFICIENT_DATA</StateValue>",
        "<MetricName>ApproximateAgeOfOldestMessage</MetricName><Namespace>AWS/SQS</Namespace>\
         <Dimensions></Dimensions><Statistic>Maximum</Statistic><Period>60</Period>\
         <EvaluationPeriods>3</EvaluationPeriods><Threshold>300.0</Threshold>\
         <ComparisonOperator>GreaterThanThreshold</ComparisonOperator><StateTransitioned",
    ] {
        assert!(got.body.contains(part), "{part}: {}", got.body);
    }
    let got = call(&client, "DescribeAlarms", &[("AlarmNames.member.1", "silent")]);
    let queries = "<Metrics><member><Id>a</Id><MetricStat><Metric>\
        <MetricName>NumberOfEmptyReceives</MetricName><Namespace>AWS/SQS</Namespace>\
        <Dimensions></Dimensions></Metric><Period>300</Period><Stat>Sum</Stat></MetricStat>\
        <ReturnData>false</ReturnData></member><member><Id>sum</Id>\
        <Expression>FILL(a, 0) + 1</Expression><ReturnData>true</ReturnData></member></Metrics>";
    assert!(got.body.contains(queries), "{}", got.body);
    assert!(got.body.contains(&format!("<OKActions><member>{TOPIC}</member></OKActions>")));
    assert!(!got.body.contains("TreatMissingData"), "{}", got.body);
    assert_eq!(got.header("content-type"), Some("text/xml"));
}

#[test]
fn an_alarm_that_is_put_again_is_overwritten_wholly_but_for_its_tags_and_its_state() {
    let sim = stepped();
    let client = Client::new(&sim);
    assert_eq!(put(&client, &ON_SUM).status, 200);
    let first = alarms(&sim).remove(0);
    sim.apply(Command::Advance(Advance { seconds: 60.0 })).unwrap();
    let again = with(
        &ON_METRIC,
        &[("AlarmName", "silent"), ("Tags.member.1.Key", "new"), ("Tags.member.1.Value", "x")],
    );
    assert_eq!(put(&client, &again).status, 200);
    let second = alarms(&sim);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].tags, first.tags);
    assert_eq!(second[0].tags["made-by"], "a test");
    assert_eq!(second[0].state_since, first.state_since);
    assert!(second[0].configured > first.configured);
    let expected = ON_METRIC.iter().filter(|(name, _)| *name != "AlarmName");
    let expected = expected.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    assert_eq!(second[0].settings, expected.collect());
}

#[test]
fn alarms_are_those_of_one_account_and_region_and_what_is_unknown_is_passed_over() {
    let sim = stepped();
    let client = Client::new(&sim);
    let other = PutAccessKey {
        id: "AKIAOTHER".to_owned(),
        account: Some("210987654321".to_owned()),
        arn: "arn:aws:iam::210987654321:user/other".to_owned(),
    };
    sim.apply(Command::PutAccessKey(other)).unwrap();
    let elsewhere = [client.as_key("AKIAOTHER"), client.in_region("us-east-1")];
    for client in [&client, &elsewhere[0], &elsewhere[1]] {
        assert_eq!(names(&call(client, "DescribeAlarms", &[])), Vec::<String>::new());
        assert_eq!(put(client, &ON_METRIC).status, 200);
    }
    assert_eq!(alarms(&sim).len(), 3);
    let some = [("AlarmNames.member.1", "nobody"), ("AlarmNames.member.2", "behind")];
    assert_eq!(names(&call(&client, "DescribeAlarms", &some)), ["behind"]);
    // What exists is deleted, too, and to delete nothing is no error.
    for _ in 0..2 {
        assert_eq!(call(&client, "DeleteAlarms", &some).status, 200);
    }
    let left = alarms(&sim);
    let left: Vec<_> = left.iter().map(|it| (it.account.as_str(), it.region.as_str())).collect();
    assert_eq!(left, [("210987654321", "eu-west-1"), ("123456789012", "us-east-1")]);
    let invalid = (400, "ValidationError".to_owned());
    assert_eq!(call(&client, "DeleteAlarms", &[]).error(), invalid);
}

#[test]
fn a_list_has_pages_and_filters() {
    let sim = stepped();
    let client = Client::new(&sim);
    for number in 0..120 {
        let name = format!("alarm-{number:03}");
        assert_eq!(put(&client, &with(&ON_METRIC, &[("AlarmName", &name)])).status, 200);
    }
    let page = |members: &[(&str, &str)]| {
        let got = call(&client, "DescribeAlarms", members);
        let next = got.xml("NextToken").map(str::to_owned);
        (names(&got), next)
    };
    let (first, next) = page(&[]);
    assert_eq!((first.len(), first[0].as_str()), (50, "alarm-000"));
    let (second, next) = page(&[("NextToken", &next.unwrap()), ("MaxRecords", "100")]);
    assert_eq!((second.len(), second[0].as_str(), next), (70, "alarm-050", None));
    let (some, _) = page(&[("AlarmNamePrefix", "alarm-01"), ("StateValue", "INSUFFICIENT_DATA")]);
    assert_eq!(some.len(), 10);
    assert_eq!(page(&[("StateValue", "ALARM")]).0.len(), 0);
    assert_eq!(page(&[("ActionPrefix", "arn:aws:sns")]).0.len(), 0);
    let error = |members: &[(&str, &str)]| call(&client, "DescribeAlarms", members).error();
    let invalid = (400, "ValidationError".to_owned());
    assert_eq!(error(&[("MaxRecords", "101")]), invalid);
    assert_eq!(error(&[("AlarmNamePrefix", "a"), ("AlarmNames.member.1", "a")]), invalid);
    assert_eq!(error(&[("NextToken", "no")]), (400, "InvalidNextToken".to_owned()));
    let many: Vec<(String, &str)> =
        (1..=101).map(|number| (format!("AlarmNames.member.{number}"), "a")).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(error(&many), invalid);
    assert_eq!(call(&client, "DeleteAlarms", &many).error(), invalid);
}

#[test]
fn what_cloudwatch_does_not_take_is_refused_in_its_words() {
    let sim = stepped();
    let client = Client::new(&sim);
    let long = "x".repeat(256);
    let other_region = TOPIC.replace("eu-west-1", "us-east-1");
    let other_partition = TOPIC.replace("arn:aws:", "arn:aws-cn:");
    let second = ("Metrics.member.1.ReturnData", "true");
    let unknown = ("Metrics.member.2.Expression", "a + b");
    for (members, message) in [
        (with(&ON_METRIC, &[("AlarmName", "")]), "Value null at 'alarmName'"),
        (with(&ON_METRIC, &[("AlarmName", &long)]), "length less than or equal to 255"),
        (with(&ON_METRIC, &[("MetricName", "")]), "MetricName must not be null"),
        (with(&ON_METRIC, &[("Period", "")]), "Period must not be null"),
        (with(&ON_METRIC, &[("Period", "45")]), "Period must be"),
        (with(&ON_METRIC, &[("EvaluationPeriods", "1441")]), "more than a day"),
        (with(&ON_METRIC, &[("EvaluationPeriods", "0")]), "Value '0' at 'evaluationPeriods'"),
        (with(&ON_METRIC, &[("Statistic", "Median")]), "Value 'Median' at 'statistic'"),
        (with(&ON_METRIC, &[("ExtendedStatistic", "p90")]), "exclude each other"),
        (with(&ON_METRIC, &[("ComparisonOperator", "Above")]), "'comparisonOperator'"),
        (with(&ON_METRIC, &[("TreatMissingData", "bad")]), "'treatMissingData'"),
        (with(&ON_METRIC, &[("Threshold", "")]), "Threshold must not be null"),
        (
            with(&ON_METRIC, &[("DatapointsToAlarm", "4")]),
            "DatapointsToAlarm must be less than or equal to EvaluationPeriods",
        ),
        (
            with(&ON_METRIC, &[("AlarmActions.member.1", &other_region)]),
            "Invalid region us-east-1 specified. Only eu-west-1 is supported.",
        ),
        (
            with(&ON_METRIC, &[("AlarmActions.member.1", &other_partition)]),
            "Invalid partition aws-cn specified. Only aws is supported.",
        ),
        (with(&ON_METRIC, &[("AlarmActions.member.1", "etl-alerts")]), ""),
        (
            with(&ON_SUM, &[("Statistic", "Sum")]),
            "Statistic should not be set if list of Metrics is set.",
        ),
        (with(&ON_SUM, &[second]), "Exactly one element of the metrics list should return data."),
        (with(&ON_SUM, &[unknown]), "Invalid metrics list"),
        (with(&ON_SUM, &[("Metrics.member.2.Id", "a")]), "Invalid metrics list"),
        (with(&ON_SUM, &[("Metrics.member.2.Id", "Sum")]), "Invalid metrics list"),
        (with(&ON_SUM, &[("Metrics.member.1.Expression", "1")]), "Invalid metrics list"),
    ] {
        let got = put(&client, &members);
        assert_eq!(got.error(), (400, "ValidationError".to_owned()), "{message}: {got:?}");
        assert_eq!(got.xml("Type"), Some("Sender"));
        assert!(got.xml("Message").unwrap_or_default().contains(message), "{message}: {got:?}");
    }
    assert_eq!(alarms(&sim), []);
}

#[test]
fn a_caller_is_refused_and_slowed_down_as_the_query_protocol_says() {
    let sim = stepped();
    let client = Client::new(&sim);
    let refused = |kind: FaultKind| {
        sim.apply(Command::AddFault(Fault::every("PutMetricAlarm", kind))).unwrap();
        let got = put(&client, &ON_METRIC);
        sim.apply(Command::ClearFaults).unwrap();
        assert!(got.body.contains("http://monitoring.amazonaws.com/doc/2010-08-01/"), "{got:?}");
        (got.error(), got.xml("Message").unwrap_or_default().to_owned())
    };
    let (denied, message) = refused(FaultKind::AccessDenied);
    assert_eq!(denied, (403, "AccessDenied".to_owned()));
    assert!(message.ends_with("is not authorized to perform: cloudwatch:PutMetricAlarm"));
    let (slow, message) = refused(FaultKind::Throttle);
    assert_eq!((slow, message.as_str()), ((400, "Throttling".to_owned()), "Rate exceeded"));
    let (down, _) = refused(FaultKind::ServerError { status: 500 });
    assert_eq!(down, (500, "InternalFailure".to_owned()));
    assert_eq!(alarms(&sim), []);
    let nobody = client.as_key("AKIANOBODY");
    assert_eq!(put(&nobody, &ON_METRIC).error(), (403, "InvalidClientTokenId".to_owned()));
    let unsigned = put(&client.unsigned(), &ON_METRIC);
    assert_eq!(unsigned.error(), (403, "MissingAuthenticationToken".to_owned()));
    let reset = sim.requests_for("PutMetricAlarm");
    assert_eq!(reset[0].subject.name.as_deref(), Some("behind"));
    assert!(reset.iter().all(|it| it.subject.service == "monitoring" && it.subject.writes));
}
