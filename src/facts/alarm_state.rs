//! What exists of the alarms of CloudWatch that show that a sentinel has stopped.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    aws::{
        clients::Aws,
        cloudwatch::{MOST_NAMES, alarm::MetricAlarm},
    },
    base::{aws_calls, lookup::Lookup},
};

/// The answer for each alarm that was asked for, by name.
pub(crate) type AlarmStates = BTreeMap<String, Lookup<MetricAlarm>>;

/// Looks at the alarms with these names, in one call for up to 100. Nothing is changed.
pub(crate) async fn alarms(aws: &Aws, names: &BTreeSet<String>) -> AlarmStates {
    let call = &aws_calls::DESCRIBE_ALARMS;
    if let Some(why) = aws.notification_refusal("CLOUDWATCH") {
        return not_asked(names, &why);
    }
    let names: Vec<String> = names.iter().cloned().collect();
    let mut states = AlarmStates::new();
    for names in names.chunks(MOST_NAMES) {
        let all = Lookup::from_call(call, &[], aws.cloudwatch.alarms(names).await);
        for name in names {
            let state = all.clone().and_then(|all| of_name(all, name));
            states.insert(name.clone(), state);
        }
    }
    states
}

/// The alarm with this name; `Absent` if there is none.
pub(crate) async fn alarm(aws: &Aws, name: &str) -> Lookup<MetricAlarm> {
    let states = alarms(aws, &BTreeSet::from([name.to_owned()])).await;
    states.into_values().next().unwrap_or(Lookup::Absent)
}

/// The answers if nothing can be asked.
pub(crate) fn not_asked(names: &BTreeSet<String>, why: &str) -> AlarmStates {
    let call = &aws_calls::DESCRIBE_ALARMS;
    names.iter().map(|name| (name.clone(), Lookup::not_asked(call, why))).collect()
}

fn of_name(all: Vec<MetricAlarm>, name: &str) -> Lookup<MetricAlarm> {
    let mut named = all.into_iter().filter(|alarm| alarm.name == name);
    match (named.next(), named.next()) {
        (None, _) => Lookup::Absent,
        (Some(alarm), None) => Lookup::Found(alarm),
        (Some(_), Some(_)) => {
            let what = "it holds two alarms of one name";
            Lookup::unusable(&aws_calls::DESCRIBE_ALARMS, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sts::error::ProvideErrorMetadata as _;
    use aws_types::request_id::RequestId as _;
    use emr_simulator::{Command, Fault, FaultKind, Simulator};

    use super::*;
    use crate::{
        aws::cloudwatch::alarm::{
            AlarmDefinition, AlarmQuery, AlarmSource, MetricStatistic, QuerySource,
        },
        base::lookup::LookupErrorKind,
    };

    fn simulator() -> (Simulator, Aws) {
        let simulator = Simulator::acme().unwrap();
        let aws = Aws::for_tests(&simulator.url());
        (simulator, aws)
    }

    fn of_queue(metric: &str, statistic: &str, period: u32) -> MetricStatistic {
        MetricStatistic {
            namespace: "AWS/SQS".to_owned(),
            metric: metric.to_owned(),
            dimensions: BTreeMap::from([(
                "QueueName".to_owned(),
                "emr <events> & more".to_owned(),
            )]),
            statistic: statistic.to_owned(),
            period,
            unit: None,
        }
    }

    fn definition(name: &str, source: AlarmSource) -> AlarmDefinition {
        AlarmDefinition {
            name: name.to_owned(),
            description: Some("Nobody reads the queue: \"é\" & <so>".to_owned()),
            source,
            comparison: "LessThanThreshold".to_owned(),
            threshold: 1.into(),
            evaluation_periods: 3,
            datapoints_to_alarm: 2,
            missing_data: "breaching".to_owned(),
            actions_enabled: true,
            alarm_actions: BTreeSet::from([
                "arn:aws:sns:eu-west-1:123456789012:etl-alerts".to_owned(),
                "arn:aws:sns:eu-west-1:123456789012:others".to_owned(),
            ]),
            ok_actions: BTreeSet::new(),
            insufficient_data_actions: BTreeSet::new(),
        }
    }

    /// An alarm on one metric.
    fn on_metric(name: &str) -> AlarmDefinition {
        definition(name, AlarmSource::Metric(of_queue("NumberOfMessagesReceived", "Sum", 300)))
    }

    /// An alarm on the sum of two metrics.
    fn on_sum(name: &str) -> AlarmDefinition {
        let query =
            |source, return_data| AlarmQuery { source, label: None, return_data, account: None };
        let metric = |metric| query(QuerySource::Metric(of_queue(metric, "Sum", 300)), false);
        let sum = QuerySource::Expression { text: "empty + received".to_owned(), period: None };
        let queries = [
            ("empty", metric("NumberOfEmptyReceives")),
            ("received", metric("NumberOfMessagesReceived")),
            ("sum", query(sum, true)),
        ];
        let queries = queries.into_iter().map(|(id, query)| (id.to_owned(), query));
        definition(name, AlarmSource::Queries(queries.collect()))
    }

    async fn put(aws: &Aws, alarm: &AlarmDefinition) {
        let put = aws.cloudwatch.put_alarm(alarm, &BTreeMap::new()).await.unwrap();
        assert!(put.request_id().is_some());
    }

    #[tokio::test]
    async fn an_alarm_is_read_as_it_was_put_whatever_it_is_on() {
        let (_simulator, aws) = simulator();
        let percentile = AlarmDefinition {
            source: AlarmSource::Metric(MetricStatistic {
                unit: Some("Seconds".to_owned()),
                dimensions: BTreeMap::new(),
                ..of_queue("ApproximateAgeOfOldestMessage", "p99.9", 60)
            }),
            description: None,
            actions_enabled: false,
            ..on_metric("percentile")
        };
        let all = [on_metric("on-metric"), on_sum("on-sum"), percentile];
        for alarm in &all {
            put(&aws, alarm).await;
        }
        let names = all.iter().map(|alarm| alarm.name.clone());
        let names: BTreeSet<String> = names.chain(["nobody".to_owned()]).collect();
        let mut found = alarms(&aws, &names).await;
        assert_eq!(found.remove("nobody"), Some(Lookup::Absent));
        for alarm in all {
            let name = alarm.name.clone();
            let expected = MetricAlarm {
                arn: format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"),
                name: name.clone(),
                definition: Some(alarm),
                state: "INSUFFICIENT_DATA".to_owned(),
            };
            assert_eq!(found.remove(&name), Some(Lookup::Found(expected)), "{name}");
        }
        assert_eq!(found, AlarmStates::new());
    }

    #[tokio::test]
    async fn an_alarm_is_overwritten_and_deleted_and_deleting_nothing_is_no_error() {
        let (_simulator, aws) = simulator();
        put(&aws, &on_metric("silent")).await;
        put(&aws, &on_sum("silent")).await;
        let Lookup::Found(found) = alarm(&aws, "silent").await else { panic!("it is not there") };
        assert_eq!(found.definition, Some(on_sum("silent")));
        for _ in 0..2 {
            let deleted = aws.cloudwatch.delete_alarm("silent").await.unwrap();
            assert!(deleted.request_id().is_some());
            assert_eq!(alarm(&aws, "silent").await, Lookup::Absent);
        }
    }

    #[tokio::test]
    async fn tags_are_set_on_a_new_alarm_alone() {
        let (simulator, aws) = simulator();
        let tags = |value: &str| BTreeMap::from([("made by".to_owned(), value.to_owned())]);
        for value in ["setup", "somebody else"] {
            aws.cloudwatch.put_alarm(&on_metric("tagged"), &tags(value)).await.unwrap();
        }
        let set = simulator.with_world(|world| world.alarms[0].tags.clone());
        assert_eq!(set, tags("setup"));
    }

    #[tokio::test]
    async fn many_alarms_are_asked_for_a_hundred_at_a_time() {
        let (simulator, aws) = simulator();
        for number in 0..3 {
            put(&aws, &on_metric(&format!("alarm-{number:03}"))).await;
        }
        let names: BTreeSet<String> = (0..150).map(|number| format!("alarm-{number:03}")).collect();
        let found = alarms(&aws, &names).await;
        assert_eq!(found.len(), 150);
        assert_eq!(found.values().filter(|it| it.found().is_some()).count(), 3);
        assert_eq!(found.values().filter(|it| **it == Lookup::Absent).count(), 147);
        assert_eq!(simulator.requests_for("DescribeAlarms").len(), 2);
    }

    #[tokio::test]
    async fn no_answer_but_a_list_without_the_alarm_says_that_there_is_none() {
        let (simulator, aws) = simulator();
        let asked = async |kind: FaultKind| {
            simulator.apply(Command::AddFault(Fault::every("DescribeAlarms", kind))).unwrap();
            let answer = alarm(&aws, "silent").await;
            simulator.apply(Command::ClearFaults).unwrap();
            answer
        };
        let Lookup::Denied(denied) = asked(FaultKind::AccessDenied).await else {
            panic!("a denial is a denial")
        };
        assert_eq!(denied.operation, "cloudwatch:DescribeAlarms");
        assert_eq!(denied.code.as_deref(), Some("AccessDenied"));
        for (kind, expected) in [
            (FaultKind::Throttle, LookupErrorKind::Throttled),
            (FaultKind::ServerError { status: 500 }, LookupErrorKind::ServerError),
            (FaultKind::ServerError { status: 503 }, LookupErrorKind::ServerError),
            (FaultKind::Reset, LookupErrorKind::Connection),
            (FaultKind::GarbageBody, LookupErrorKind::UnreadableAnswer),
            (FaultKind::EmptyAnswer, LookupErrorKind::UnreadableAnswer),
            (FaultKind::NoBody, LookupErrorKind::UnreadableAnswer),
            (FaultKind::ProxyPage { status: 200 }, LookupErrorKind::UnreadableAnswer),
            (FaultKind::ProxyPage { status: 404 }, LookupErrorKind::UnreadableAnswer),
        ] {
            let Lookup::Unreachable(error) = asked(kind.clone()).await else {
                panic!("{kind:?} is taken for an answer")
            };
            assert_eq!(error.kind, expected, "{kind:?}: {error:?}");
        }
        let Lookup::Unreachable(_) = asked(FaultKind::TruncatedBody).await else {
            panic!("half an answer is taken for one")
        };
        assert_eq!(alarm(&aws, "silent").await, Lookup::Absent);
    }

    #[tokio::test]
    async fn what_cloudwatch_refuses_is_told_by_its_code() {
        let (_simulator, aws) = simulator();
        let elsewhere = "arn:aws:sns:us-east-1:123456789012:etl-alerts".to_owned();
        let wrong =
            AlarmDefinition { alarm_actions: BTreeSet::from([elsewhere]), ..on_metric("silent") };
        let once = aws.cloudwatch.without_retries();
        let error = once.put_alarm(&wrong, &BTreeMap::new()).await.unwrap_err();
        assert!(error.request_id().is_some());
        let error = error.as_service_error().unwrap();
        assert_eq!(error.code(), Some("ValidationError"));
        let message = "Invalid region us-east-1 specified. Only eu-west-1 is supported.";
        assert_eq!(error.message(), Some(message));
    }
}
