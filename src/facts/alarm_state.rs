//! What exists of the alarms of CloudWatch that tell of a sentinel that has stopped.

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
