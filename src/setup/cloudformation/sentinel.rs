//! What a sentinel needs in AWS as a CloudFormation template, the same for every region.

use serde_json::json;

use crate::setup::{
    piece::EventRule,
    sentinel_parts::{
        ALARMS, AlarmMeasure, KEPT, MAXIMUM_PERIOD, NAMESPACE, QueueAlarm,
        RULE_DESCRIPTION_OF_SENTINEL, SUM, SUM_PERIOD, SentinelParts, pattern,
    },
};

use super::yaml::{TemplateEntry, TemplateNode, document};

/// The logical ids of the queue and of its rule.
const QUEUE: &str = "SentinelQueue";
const RULE: &str = "SentinelRule";
/// The parameter that says whether the role is made, and the condition for it.
const MAKE_ROLE: &str = "MakeRole";
const MAKES_ROLE: &str = "MakesRole";
/// The parameter with the topic of the alarms, and the condition for it.
const ALARM_TOPIC: &str = "AlarmTopic";
const HAS_TOPIC: &str = "HasAlarmTopic";

/// The template.
pub(crate) fn sentinel_template(parts: &SentinelParts) -> String {
    let header = [
        "What `emr-etl-guard sentinel` needs in AWS. Written by `emr-etl-guard setup --sentinel`."
            .to_owned(),
        String::new(),
        "Deploy it in every region that is watched, with MakeRole=false in all but the first: a \
         role serves all regions. The output QueueUrl belongs into `sentinel.queues` of guard.yml."
            .to_owned(),
        String::new(),
        format!(
            "  aws cloudformation deploy --template-file THIS_FILE --stack-name {} --capabilities \
             CAPABILITY_NAMED_IAM",
            parts.name
        ),
    ];
    let conditions = TemplateNode::map([
        (MAKES_ROLE, tagged("!Equals", [TemplateNode::reference(MAKE_ROLE), text("true")])),
        (
            HAS_TOPIC,
            tagged("!Not", [tagged("!Equals", [TemplateNode::reference(ALARM_TOPIC), text("")])]),
        ),
    ]);
    let sections = [
        TemplateEntry::new("AWSTemplateFormatVersion", text("2010-09-09")),
        TemplateEntry::new("Description", text("What emr-etl-guard sentinel needs")),
        TemplateEntry::new("Parameters", parameters()),
        TemplateEntry::new("Conditions", conditions),
        TemplateEntry::new("Resources", resources(parts)),
        TemplateEntry::new("Outputs", outputs()),
    ];
    document(&header, &sections)
}

fn text(text: &str) -> TemplateNode {
    TemplateNode::text(text)
}

fn number(number: u32) -> TemplateNode {
    TemplateNode::Raw(number.to_string())
}

fn tagged<const N: usize>(tag: &'static str, items: [TemplateNode; N]) -> TemplateNode {
    TemplateNode::Tagged(tag, Box::new(TemplateNode::List(items.into())))
}

fn json_node(value: &serde_json::Value) -> TemplateNode {
    TemplateNode::of_json(value, &|text| match text {
        QUEUE => TemplateNode::attribute(QUEUE, "Arn"),
        RULE => TemplateNode::attribute(RULE, "Arn"),
        text => TemplateNode::text(text),
    })
}

fn parameters() -> TemplateNode {
    TemplateNode::map([
        (
            MAKE_ROLE,
            TemplateNode::map([
                ("Type", text("String")),
                ("Default", text("true")),
                ("AllowedValues", TemplateNode::List(vec![text("true"), text("false")])),
                ("Description", text("Whether this stack makes the role")),
            ]),
        ),
        (
            ALARM_TOPIC,
            TemplateNode::map([
                ("Type", text("String")),
                ("Default", text("")),
                (
                    "Description",
                    text(
                        "The ARN of the topic for the alarms; CloudWatch cannot publish to one \
                         under alias/aws/sns",
                    ),
                ),
            ]),
        ),
    ])
}

fn resources(parts: &SentinelParts) -> TemplateNode {
    let inline = TemplateNode::map([
        ("PolicyName", text(&parts.name)),
        ("PolicyDocument", json_node(&parts.policy)),
    ]);
    let role = TemplateNode::map([
        ("RoleName", text(&parts.role)),
        ("Path", text(&parts.path)),
        ("AssumeRolePolicyDocument", json_node(&parts.trust)),
        ("Policies", TemplateNode::List(vec![inline])),
    ]);
    let role = TemplateNode::map([
        ("Type", text("AWS::IAM::Role")),
        ("Condition", text(MAKES_ROLE)),
        ("Properties", role),
    ]);
    let queue = TemplateNode::map([
        ("QueueName", text(&parts.name)),
        ("MessageRetentionPeriod", number(KEPT)),
        ("SqsManagedSseEnabled", TemplateNode::Raw("true".to_owned())),
    ]);
    let queue_policy = TemplateNode::map([
        ("Queues", TemplateNode::List(vec![TemplateNode::reference(QUEUE)])),
        ("PolicyDocument", json_node(&parts.queue_policy(QUEUE, RULE))),
    ]);
    let target = json!({"Arn": QUEUE, "Id": EventRule::TARGET});
    let event_rule = TemplateNode::map([
        ("Name", text(&parts.name)),
        ("Description", text(RULE_DESCRIPTION_OF_SENTINEL)),
        ("EventPattern", json_node(&pattern())),
        ("State", text("ENABLED")),
        ("Targets", TemplateNode::List(vec![json_node(&target)])),
    ]);
    let of = |kind: &str, properties| {
        TemplateNode::map([("Type", text(kind)), ("Properties", properties)])
    };
    let mut entries = vec![
        TemplateEntry::new("SentinelRole", role),
        TemplateEntry::new(QUEUE, of("AWS::SQS::Queue", queue)),
        TemplateEntry::new("SentinelQueuePolicy", of("AWS::SQS::QueuePolicy", queue_policy)),
        TemplateEntry::new(RULE, of("AWS::Events::Rule", event_rule)),
    ];
    for (id, which) in ["SilentAlarm", "BehindAlarm"].into_iter().zip(&ALARMS) {
        let properties = alarm(parts, which);
        entries.push(TemplateEntry::new(id, of("AWS::CloudWatch::Alarm", properties)));
    }
    TemplateNode::Map(entries)
}

fn alarm(parts: &SentinelParts, alarm: &QueueAlarm) -> TemplateNode {
    let dimensions = || {
        let queue = TemplateNode::attribute(QUEUE, "QueueName");
        let dimension = TemplateNode::map([("Name", text("QueueName")), ("Value", queue)]);
        TemplateNode::List(vec![dimension])
    };
    let metric = |name: &str| {
        [("Namespace", text(NAMESPACE)), ("MetricName", text(name)), ("Dimensions", dimensions())]
    };
    let no_value = TemplateNode::reference("AWS::NoValue");
    let actions = || {
        let topic = TemplateNode::List(vec![TemplateNode::reference(ALARM_TOPIC)]);
        tagged("!If", [text(HAS_TOPIC), topic, no_value.clone()])
    };
    let mut properties = vec![
        ("AlarmName", text(&alarm.name(&parts.name))),
        ("AlarmDescription", text(alarm.description)),
        ("AlarmActions", actions()),
        ("OKActions", actions()),
        ("ComparisonOperator", text(alarm.comparison)),
        ("Threshold", number(alarm.threshold)),
        ("EvaluationPeriods", number(alarm.periods)),
        ("TreatMissingData", text(alarm.missing)),
    ];
    match &alarm.measure {
        AlarmMeasure::Maximum(name) => {
            properties.extend(metric(name));
            properties.extend([("Statistic", text("Maximum")), ("Period", number(MAXIMUM_PERIOD))]);
        }
        AlarmMeasure::SumOf(names) => {
            let query = |(id, name): (&str, &&str)| {
                let stat = TemplateNode::map([
                    ("Metric", TemplateNode::map(metric(name))),
                    ("Period", number(SUM_PERIOD)),
                    ("Stat", text("Sum")),
                ]);
                TemplateNode::map([
                    ("Id", text(id)),
                    ("MetricStat", stat),
                    ("ReturnData", TemplateNode::Raw("false".to_owned())),
                ])
            };
            let mut queries: Vec<TemplateNode> =
                ["m1", "m2"].into_iter().zip(names).map(query).collect();
            queries.push(TemplateNode::map([
                ("Id", text("sum")),
                ("Expression", text(SUM)),
                ("ReturnData", TemplateNode::Raw("true".to_owned())),
            ]));
            properties.push(("Metrics", TemplateNode::List(queries)));
        }
    }
    TemplateNode::map(properties)
}

fn outputs() -> TemplateNode {
    TemplateNode::map([
        ("QueueUrl", TemplateNode::map([("Value", TemplateNode::reference(QUEUE))])),
        (
            "RoleArn",
            TemplateNode::map([
                ("Condition", text(MAKES_ROLE)),
                ("Value", TemplateNode::attribute("SentinelRole", "Arn")),
            ]),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::sentinel_parts::tests::samples;

    #[test]
    fn the_templates_of_a_sentinel_and_of_an_account_are_as_they_were_reviewed() {
        let [own, account] = samples().map(|parts| sentinel_template(&parts));
        insta::assert_snapshot!("cloudformation-sentinel", own);
        insta::assert_snapshot!("cloudformation-account-of-a-sentinel", account);
    }

    /// The words behind each `tag`.
    fn behind<'a>(template: &'a str, tag: &str) -> Vec<&'a str> {
        let rests = template.split(tag).skip(1);
        rests.filter_map(|rest| rest.split_whitespace().next()).collect()
    }

    #[test]
    fn what_a_template_refers_to_is_in_it() {
        for template in samples().map(|parts| sentinel_template(&parts)) {
            let value: serde_yaml::Value = serde_yaml::from_str(&template).unwrap();
            let names: Vec<&str> = ["Parameters", "Resources"]
                .into_iter()
                .flat_map(|section| value[section].as_mapping().unwrap().keys())
                .filter_map(serde_yaml::Value::as_str)
                .chain(["AWS::NoValue"])
                .collect();
            let referred = behind(&template, "!Ref ");
            let attributes = behind(&template, "!GetAtt ");
            assert!(referred.len() > 5 && attributes.len() > 5);
            let attributes = attributes.iter().map(|word| word.split('.').next().unwrap());
            for name in referred.iter().map(|name| name.trim_matches('"')).chain(attributes) {
                assert!(names.contains(&name), "{name}");
            }
        }
    }
}
