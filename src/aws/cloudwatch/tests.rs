//! Compares the client with what botocore sends in the same protocol, as stored in
//! `tests/recorded.json`, and reads answers of other forms than those of `tests/contracts`.

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::{
    alarm::{AlarmSource, AlarmThreshold, QuerySource},
    *,
};
use crate::{
    aws::query_protocol::{
        EndpointSettings,
        tap::{Tap, config},
        xml::{AnswerError, Element},
    },
    base::lookup::{Lookup, LookupErrorKind},
};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
    /// Region, FIPS, dual-stack, and the resulting endpoint.
    endpoints: Vec<(String, bool, bool, Option<String>)>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    operation: String,
    about: Value,
    method: String,
    path: String,
    /// The members of the form, by name.
    sent: Vec<(String, String)>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("tests/recorded.json")).unwrap()
}

fn client(tap: &Tap, calls: &CallLog) -> CloudWatch {
    CloudWatch::new(&config(tap), None, calls)
}

fn read<T: serde::de::DeserializeOwned>(about: &Value, name: &str) -> T {
    serde_json::from_value(about[name].clone()).unwrap()
}

/// Makes the call of a case; whether it succeeded.
async fn ask(cloudwatch: &CloudWatch, operation: &str, about: &Value) -> bool {
    match operation {
        "DescribeAlarms" => {
            let names: Vec<String> = read(about, "names");
            cloudwatch.alarms(&names).await.is_ok()
        }
        "PutMetricAlarm" => {
            let (alarm, tags) = (read(about, "alarm"), read(about, "tags"));
            cloudwatch.put_alarm(&alarm, &tags).await.is_ok()
        }
        "DeleteAlarms" => {
            let name: String = read(about, "name");
            cloudwatch.delete_alarm(&name).await.is_ok()
        }
        other => panic!("{other}"),
    }
}

/// The members of a form, by name.
fn members(form: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap());
    let mut members: Vec<_> = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
    members.sort();
    members
}

#[tokio::test]
async fn it_sends_what_botocore_sends_in_the_query_protocol() {
    let cases = recorded().cases;
    assert_eq!(cases.len(), 5);
    for case in cases {
        let result = match case.operation.as_str() {
            "DescribeAlarms" => "<DescribeAlarmsResult><MetricAlarms/></DescribeAlarmsResult>",
            _ => "",
        };
        let answer = format!("<{0}Response>{result}</{0}Response>", case.operation);
        let tap = Tap::answering(&[(200, &answer)]);
        let calls = CallLog::default();
        assert!(ask(&client(&tap, &calls), &case.operation, &case.about).await, "{}", case.name);
        let sent = tap.exchanges().remove(0);
        assert_eq!(members(&sent.body), case.sent, "{}", case.name);
        assert_eq!((&sent.method, &sent.path), (&case.method, &case.path));
        // Signed for the service's prefix, and logged under the SDK's name of the service.
        let is_signed =
            |header: &String| header.contains("/DATE/eu-west-1/monitoring/aws4_request");
        assert!(sent.headers.iter().any(is_signed), "{:?}", sent.headers);
        let form = "content-type: application/x-www-form-urlencoded".to_owned();
        assert!(sent.headers.contains(&form), "{:?}", sent.headers);
        let logged = calls.calls().remove(0);
        assert_eq!((logged.service, logged.operation), ("CloudWatch".to_owned(), case.operation));
        assert!(logged.kept[0].subject.is_some());
    }
}

#[test]
fn each_region_has_the_endpoint_that_botocore_has_for_it() {
    let endpoints = recorded().endpoints;
    assert!(endpoints.len() > 100);
    for (region, fips, dual_stack, wanted) in endpoints {
        let settings = EndpointSettings::regional(&CLOUDWATCH, &region, fips, dual_stack);
        assert_eq!(settings.url().ok(), wanted, "{settings:?}");
    }
}

/// The list of a page with these items and this token.
fn page(items: &str, token: &str) -> String {
    format!(
        "<DescribeAlarmsResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">\
         <DescribeAlarmsResult><CompositeAlarms/><MetricAlarms>{items}</MetricAlarms>{token}\
         </DescribeAlarmsResult></DescribeAlarmsResponse>"
    )
}

/// An alarm with these settings after those that every alarm has.
fn item(name: &str, settings: &str) -> String {
    format!(
        "<member><AlarmName>{name}</AlarmName><AlarmArn>arn</AlarmArn><StateValue>OK</StateValue>\
         <ActionsEnabled>true</ActionsEnabled><EvaluationPeriods>1</EvaluationPeriods>\
         <ComparisonOperator>LessThanThreshold</ComparisonOperator>{settings}</member>"
    )
}

const METRIC: &str = "<Threshold>1.0</Threshold><Namespace>N</Namespace>\
    <MetricName>M</MetricName><Statistic>Sum</Statistic><Period>60</Period>";

fn alarms(answer: &str) -> Result<Vec<MetricAlarm>, AnswerError> {
    answers::alarm_page(&Element::parse(answer.as_bytes())?).map(|(alarms, _)| alarms)
}

#[tokio::test]
async fn all_pages_of_a_list_are_read_and_a_list_that_goes_round_in_a_circle_is_an_error() {
    let (first, last) = (item("one", METRIC), item("two", METRIC));
    let next = "<NextToken>a token &amp; more</NextToken>";
    let tap = Tap::answering(&[(200, &page(&first, next)), (200, &page(&last, ""))]);
    let found = client(&tap, &CallLog::default()).alarms(&["one".to_owned()]).await.unwrap();
    let names: Vec<&str> = found.iter().map(|alarm| alarm.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    let sent = members(&tap.exchanges()[1].body);
    assert!(sent.contains(&("NextToken".to_owned(), "a token & more".to_owned())), "{sent:?}");
    assert!(sent.contains(&("AlarmNames.member.1".to_owned(), "one".to_owned())), "{sent:?}");

    let again = page(&first, next);
    let tap = Tap::answering(&[(200, &again), (200, &again), (200, &again)]);
    let result = client(&tap, &CallLog::default()).alarms(&["one".to_owned()]).await;
    let lookup = Lookup::from_call(&aws_calls::DESCRIBE_ALARMS, &[], result);
    let Lookup::Unreachable(error) = lookup else { panic!("{lookup:?}") };
    assert_eq!(error.kind, LookupErrorKind::UnreadableAnswer);
    assert_eq!(tap.exchanges().len(), 2);
}

#[test]
fn an_alarm_that_a_definition_cannot_express_has_none_and_is_there() {
    for other in [
        "<ThresholdMetricId>ad1</ThresholdMetricId>",
        "<EvaluateLowSampleCountPercentile>ignore</EvaluateLowSampleCountPercentile>",
        "<EvaluationCriteria><PromQLCriteria><Query>up</Query></PromQLCriteria>\
         </EvaluationCriteria>",
        "<EvaluationInterval>60</EvaluationInterval>",
    ] {
        let found = alarms(&page(&item("other", other), "")).unwrap();
        assert_eq!((found[0].name.as_str(), &found[0].definition), ("other", &None), "{other}");
    }
}

#[test]
fn metrics_and_expressions_are_read_by_their_ids() {
    let queries = "<Threshold>1.5</Threshold><Dimensions/><Metrics><member><Id>sum</Id>\
        <Expression>a + 1</Expression><Label>Sum</Label></member><member><Id>a</Id><MetricStat>\
        <Metric><Namespace>N</Namespace><MetricName>M</MetricName><Dimensions><member>\
        <Name>Queue</Name><Value>q</Value></member></Dimensions></Metric><Period>60</Period>\
        <Stat>Sum</Stat></MetricStat><ReturnData>false</ReturnData></member></Metrics>";
    let found = alarms(&page(&item("on-sum", queries), "")).unwrap().remove(0);
    let definition = found.definition.unwrap();
    assert_eq!(Some(definition.threshold), AlarmThreshold::parse("1.5"));
    let AlarmSource::Queries(queries) = definition.source else { panic!("it is on one metric") };
    let ids: Vec<&str> = queries.keys().map(String::as_str).collect();
    assert_eq!(ids, ["a", "sum"]);
    // CloudWatch's default.
    assert!(queries["sum"].return_data && !queries["a"].return_data);
    let expression = QuerySource::Expression { text: "a + 1".to_owned(), period: None };
    assert_eq!(queries["sum"].source, expression);
    let QuerySource::Metric(metric) = &queries["a"].source else { panic!("it is no metric") };
    assert_eq!(metric.dimensions["Queue"], "q");
}

#[test]
fn an_answer_that_lacks_something_or_gives_it_in_another_form_is_an_error() {
    use AnswerError::{Missing, Repeated, Unexpected};
    let of = |settings: &str| alarms(&page(&item("x", settings), "")).unwrap_err();
    let with = |more: &str| of(&format!("{METRIC}{more}"));
    let without = |part: &str| of(&METRIC.replace(part, ""));
    assert_eq!(alarms("<DescribeAlarmsResponse/>"), Err(Missing("DescribeAlarmsResult")));
    let empty = "<a><DescribeAlarmsResult><CompositeAlarms/></DescribeAlarmsResult></a>";
    assert_eq!(alarms(empty), Err(Missing("MetricAlarms")));
    assert_eq!(alarms(&page("<item/>", "")), Err(Unexpected("MetricAlarms")));
    assert_eq!(alarms(&page("<member/>", "")), Err(Missing("AlarmName")));
    assert_eq!(without("<Threshold>1.0</Threshold>"), Missing("Threshold"));
    assert_eq!(without("<MetricName>M</MetricName>"), Missing("MetricName"));
    assert_eq!(without("<Statistic>Sum</Statistic>"), Missing("Statistic"));
    assert_eq!(without("<Period>60</Period>"), Missing("Period"));
    assert_eq!(with("<Period>60</Period>"), Repeated("Period"));
    assert_eq!(with("<DatapointsToAlarm>two</DatapointsToAlarm>"), Unexpected("DatapointsToAlarm"));
    assert_eq!(with("<Dimensions><member><Name>a</Name></member></Dimensions>"), Missing("Value"));
    let twice = "<member><Name>a</Name><Value>1</Value></member>".repeat(2);
    assert_eq!(with(&format!("<Dimensions>{twice}</Dimensions>")), Unexpected("Dimensions"));
    assert_eq!(with("<AlarmActions><member><a/></member></AlarmActions>"), Unexpected("member"));
    for threshold in ["NaN", "inf", "one", "1e999"] {
        let other = METRIC.replace("1.0", threshold);
        assert_eq!(of(&other), Unexpected("Threshold"), "{threshold}");
    }
    let query = "<member><Id>a</Id><Expression>1</Expression></member>".repeat(2);
    let queries = format!("<Threshold>1</Threshold><Metrics>{query}</Metrics>");
    assert_eq!(of(&queries), Unexpected("Metrics"));
    let neither = "<Threshold>1</Threshold><Metrics><member><Id>a</Id></member></Metrics>";
    assert_eq!(of(neither), Missing("Expression"));
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        let page = Element::parse(&bytes).and_then(|root| answers::alarm_page(&root));
        prop_assert!(page.is_err());
    }

    #[test]
    fn a_list_that_is_cut_off_anywhere_is_an_error(at in any::<prop::sample::Index>()) {
        let whole = page(&item("one", METRIC), "<NextToken>t</NextToken>");
        let cut = &whole.as_bytes()[..at.index(whole.len())];
        prop_assert!(Element::parse(cut).and_then(|root| answers::alarm_page(&root)).is_err());
    }
}
