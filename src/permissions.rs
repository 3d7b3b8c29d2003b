//! What the guard's credentials must be allowed, as an IAM policy: every call that decides a check, and those that end an unsafe cluster. No more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    aws::calls::{self, Call, Resource},
    checks::CATALOGUE,
    names::partition,
    runner_config::RunnerConfig,
};

/// Every call that the guard makes, whatever its settings are.
fn calls() -> impl Iterator<Item = &'static Call> {
    let of_checks = CATALOGUE.iter().flat_map(|check| check.asks.iter().copied());
    of_checks.chain([&calls::TERMINATE_JOB_FLOWS, &calls::SET_TERMINATION_PROTECTION])
}

/// The policy document; scoped to the buckets, roles and regions of `config`, where there is one. `topic` hears of alerts, where the settings name one.
pub(crate) fn policy(config: Option<&RunnerConfig>, topic: Option<&str>) -> Value {
    let mut actions: BTreeMap<(&str, Resource), BTreeSet<&str>> = BTreeMap::new();
    for call in calls().chain(topic.map(|_| &calls::PUBLISH)) {
        let service = call.permission.split(':').next().unwrap_or_default();
        actions.entry((service, call.on)).or_default().insert(call.permission);
    }
    let statements: Vec<Value> = actions
        .into_iter()
        .map(|((service, on), actions)| json!({"Sid": sid(service, on), "Effect": "Allow", "Action": actions, "Resource": resources(on, config, topic)}))
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn sid(service: &str, on: Resource) -> String {
    let service = match service {
        "elasticmapreduce" => "Emr",
        "s3" => "S3",
        "kms" => "Kms",
        "iam" => "Iam",
        "ec2" => "Ec2",
        "sts" => "Sts",
        "sns" => "Sns",
        _ => "Other",
    };
    format!("{service}{on:?}")
}

fn resources(on: Resource, config: Option<&RunnerConfig>, topic: Option<&str>) -> Vec<String> {
    let region = config.map_or("*", |config| config.emr_region.value.as_str());
    let partition = config.map_or("aws", |config| partition(&config.emr_region.value));
    let buckets: BTreeSet<&str> =
        config.map_or_else(|| BTreeSet::from(["*"]), |config| config.locations.iter().map(|location| location.bucket().as_str()).collect());
    let named = |name: Option<&String>| name.map_or("*", |name| name.rsplit('/').next().unwrap_or("*")).to_owned();
    match on {
        Resource::Any => vec!["*".to_owned()],
        Resource::Bucket => buckets.iter().map(|bucket| format!("arn:{partition}:s3:::{bucket}")).collect(),
        // The archive of certificates may lie in a bucket that the config does not name.
        Resource::Object => vec![format!("arn:{partition}:s3:::*/*")],
        Resource::Key => vec![format!("arn:{partition}:kms:{region}:*:key/*")],
        Resource::InstanceProfile => {
            vec![format!("arn:{partition}:iam::*:instance-profile/{}", named(config.map(|config| &config.jobflow_role.value)))]
        }
        // Which role is behind the instance profile is known only to IAM.
        Resource::Role => vec![format!("arn:{partition}:iam::*:role/*")],
        Resource::Topic => vec![topic.unwrap_or("*").to_owned()],
        Resource::Cluster => vec![format!("arn:{partition}:elasticmapreduce:{region}:*:cluster/*")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_the_recorded_config_is_scoped_to_it() {
        let env = |name: &str| name.starts_with("AWS_").then(|| "AKIAFAKE".into());
        let config = RunnerConfig::parse("config.yml", include_bytes!("../tests/recordings/config.yml"), &env).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&policy(Some(&config), None)).unwrap());
        assert!(policy(None, None).to_string().contains("arn:aws:s3:::*"));
    }
}
