//! What a sentinel needs in AWS as Terraform code, the same for every region.

use crate::setup::{
    piece::EventRule,
    sentinel_parts::{
        ALARMS, AlarmMeasure, KEPT, MAXIMUM_PERIOD, NAMESPACE, QueueAlarm,
        RULE_DESCRIPTION_OF_SENTINEL, SUM, SUM_PERIOD, SentinelParts, pattern,
    },
};

use super::{
    PROVIDER_VERSION, TERRAFORM_VERSION,
    printer::{HclBody, HclExpression},
};

/// References to the queue and to its rule.
const QUEUE_ARN: &str = "aws_sqs_queue.sentinel.arn";
const RULE_ARN: &str = "aws_cloudwatch_event_rule.sentinel.arn";

/// The text of the file `sentinel.tf`.
pub(crate) fn sentinel_terraform(parts: &SentinelParts) -> String {
    let mut file = HclBody::default();
    file.comment(
        "What `emr-etl-guard sentinel` needs in AWS. Written by `emr-etl-guard setup --sentinel`.",
    );
    file.comment(
        "Use it once for each region that is watched, with make_role = false in all but the \
         first: a role serves all regions. The output queue_url belongs into `sentinel.queues` of \
         guard.yml.",
    );
    versions(&mut file);
    variables(&mut file);
    role(parts, &mut file);
    events(parts, &mut file);
    for which in &ALARMS {
        alarm(parts, which, &mut file);
    }
    output("queue_url", "aws_sqs_queue.sentinel.url", &mut file);
    output("role_arn", "one(aws_iam_role.sentinel[*].arn)", &mut file);
    file.file()
}

fn text(text: &str) -> HclExpression {
    HclExpression::text(text)
}

fn raw(expression: impl Into<String>) -> HclExpression {
    HclExpression::raw(expression)
}

fn json(value: &serde_json::Value) -> HclExpression {
    let value = HclExpression::of_json(value, &|text| match text {
        QUEUE_ARN | RULE_ARN => HclExpression::raw(text),
        text => HclExpression::text(text),
    });
    HclExpression::Json(Box::new(value))
}

fn resource(kind: &str, label: &str, body: HclBody, file: &mut HclBody) {
    file.blank().block(format!("resource \"{kind}\" \"{label}\""), body);
}

fn versions(file: &mut HclBody) {
    let mut aws = HclBody::default();
    let provider = HclExpression::Object(vec![
        ("source".to_owned(), text("hashicorp/aws")),
        ("version".to_owned(), text(PROVIDER_VERSION)),
    ]);
    aws.attribute("aws", provider);
    let mut terraform = HclBody::default();
    terraform
        .attribute("required_version", text(TERRAFORM_VERSION))
        .blank()
        .block("required_providers", aws);
    file.blank().block("terraform", terraform);
}

fn variables(file: &mut HclBody) {
    for (name, kind, default, description) in [
        ("make_role", "bool", "true", "Whether the role is made; one serves all regions."),
        (
            "alarm_topics",
            "list(string)",
            "[]",
            "The ARNs of topics for the alarms; CloudWatch cannot publish to one under \
             alias/aws/sns.",
        ),
    ] {
        let mut body = HclBody::default();
        body.attribute("type", raw(kind))
            .attribute("default", raw(default))
            .attribute("description", text(description));
        file.blank().block(format!("variable \"{name}\""), body);
    }
}

fn role(parts: &SentinelParts, file: &mut HclBody) {
    let count = || raw("var.make_role ? 1 : 0");
    let mut role = HclBody::default();
    role.attribute("count", count())
        .attribute("name", text(&parts.role))
        .attribute("path", text(&parts.path))
        .attribute("assume_role_policy", json(&parts.trust));
    resource("aws_iam_role", "sentinel", role, file);
    let mut policy = HclBody::default();
    policy
        .attribute("count", count())
        .attribute("name", text(&parts.name))
        .attribute("role", raw("aws_iam_role.sentinel[0].name"))
        .attribute("policy", json(&parts.policy));
    resource("aws_iam_role_policy", "sentinel", policy, file);
}

fn events(parts: &SentinelParts, file: &mut HclBody) {
    let mut queue = HclBody::default();
    queue
        .attribute("name", text(&parts.name))
        .attribute("message_retention_seconds", raw(KEPT.to_string()))
        .attribute("sqs_managed_sse_enabled", raw("true"));
    resource("aws_sqs_queue", "sentinel", queue, file);
    let mut policy = HclBody::default();
    policy
        .attribute("queue_url", raw("aws_sqs_queue.sentinel.url"))
        .attribute("policy", json(&parts.queue_policy(QUEUE_ARN, RULE_ARN)));
    resource("aws_sqs_queue_policy", "sentinel", policy, file);
    let mut rule = HclBody::default();
    rule.attribute("name", text(&parts.name))
        .attribute("description", text(RULE_DESCRIPTION_OF_SENTINEL))
        .attribute("event_pattern", json(&pattern()));
    resource("aws_cloudwatch_event_rule", "sentinel", rule, file);
    let mut target = HclBody::default();
    target
        .attribute("rule", raw("aws_cloudwatch_event_rule.sentinel.name"))
        .attribute("target_id", text(EventRule::TARGET))
        .attribute("arn", raw(QUEUE_ARN));
    resource("aws_cloudwatch_event_target", "sentinel", target, file);
}

fn alarm(parts: &SentinelParts, alarm: &QueueAlarm, file: &mut HclBody) {
    let dimensions = || {
        HclExpression::Object(vec![("QueueName".to_owned(), raw("aws_sqs_queue.sentinel.name"))])
    };
    let mut body = HclBody::default();
    body.attribute("alarm_name", text(&alarm.name(&parts.name)))
        .attribute("alarm_description", text(alarm.description))
        .attribute("alarm_actions", raw("var.alarm_topics"))
        .attribute("ok_actions", raw("var.alarm_topics"))
        .attribute("comparison_operator", text(alarm.comparison))
        .attribute("threshold", raw(alarm.threshold.to_string()))
        .attribute("evaluation_periods", raw(alarm.periods.to_string()))
        .attribute("treat_missing_data", text(alarm.missing));
    match &alarm.measure {
        AlarmMeasure::Maximum(name) => {
            body.attribute("namespace", text(NAMESPACE))
                .attribute("metric_name", text(name))
                .attribute("statistic", text("Maximum"))
                .attribute("period", raw(MAXIMUM_PERIOD.to_string()))
                .attribute("dimensions", dimensions());
        }
        AlarmMeasure::SumOf(names) => {
            for (id, name) in ["m1", "m2"].into_iter().zip(names) {
                let mut metric = HclBody::default();
                metric
                    .attribute("namespace", text(NAMESPACE))
                    .attribute("metric_name", text(name))
                    .attribute("stat", text("Sum"))
                    .attribute("period", raw(SUM_PERIOD.to_string()))
                    .attribute("dimensions", dimensions());
                let mut query = HclBody::default();
                query.attribute("id", text(id)).blank().block("metric", metric);
                body.blank().block("metric_query", query);
            }
            let mut sum = HclBody::default();
            sum.attribute("id", text("sum"))
                .attribute("expression", text(SUM))
                .attribute("return_data", raw("true"));
            body.blank().block("metric_query", sum);
        }
    }
    resource("aws_cloudwatch_metric_alarm", alarm.suffix, body, file);
}

fn output(name: &str, value: &str, file: &mut HclBody) {
    let mut body = HclBody::default();
    body.attribute("value", raw(value));
    file.blank().block(format!("output \"{name}\""), body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::sentinel_parts::tests::samples;

    #[test]
    fn the_code_of_a_sentinel_and_of_an_account_is_as_it_was_reviewed() {
        let file = |parts| format!("==> sentinel.tf <==\n{}", sentinel_terraform(&parts));
        let [own, account] = samples().map(file);
        insta::assert_snapshot!("terraform-sentinel", own);
        insta::assert_snapshot!("terraform-account-of-a-sentinel", account);
    }
}
