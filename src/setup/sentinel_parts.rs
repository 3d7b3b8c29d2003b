//! What a sentinel needs in AWS: its role, a queue with events, the rule that fills it, and alarms
//! for a sentinel that has stopped. The same code serves every region; live, it is made in one.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde_json::{Value, json};

use crate::{
    aws::cloudwatch::alarm::{
        AlarmDefinition, AlarmQuery, AlarmSource, MetricStatistic, QuerySource,
    },
    base::names::{PrincipalPattern, RoleArn},
    permissions::{policy::PermissionOptions, sentinel},
    settings::sentinel_options::{SentinelOptions, WatchedAccount},
    setup::{
        event_steps::{from_rule, tls_only},
        merge::SID_START,
    },
};

/// How long the queue keeps events, in seconds: a day. It must be longer than
/// [`OLDEST_UNREAD`], or no message would become that old.
pub(super) const KEPT: u32 = 86_400;
/// The description of the rule.
pub(super) const RULE_DESCRIPTION_OF_SENTINEL: &str = "Events for emr-etl-guard sentinel";
/// The age of a message from which on nobody seems to read the queue, in seconds.
pub(super) const OLDEST_UNREAD: u32 = 300;

/// Who may assume the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentinelTrust {
    /// Instances of EC2.
    Ec2,
    /// Tasks of ECS.
    EcsTasks,
    /// Pods of EKS, by EKS Pod Identity.
    EksPods,
    /// Functions of Lambda.
    Lambda,
    /// The role or user with this ARN, without wildcards.
    Principal(PrincipalPattern),
}

impl FromStr for SentinelTrust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ec2" => Ok(Self::Ec2),
            "ecs-tasks" => Ok(Self::EcsTasks),
            "eks-pods" => Ok(Self::EksPods),
            "lambda" => Ok(Self::Lambda),
            arn => match arn.parse() {
                Ok(principal) if !arn.contains(['*', '?']) => Ok(Self::Principal(principal)),
                _ => Err(
                    "expected `ec2`, `ecs-tasks`, `eks-pods`, `lambda`, or the ARN of a role or \
                      user, such as arn:aws:iam::123456789012:role/emr-etl-sentinel"
                        .to_owned(),
                ),
            },
        }
    }
}

impl SentinelTrust {
    /// The partition of the role or user, if it is one.
    pub(crate) fn partition(&self) -> Option<&str> {
        self.principal()?.split(':').nth(1)
    }

    /// The ARN of the role or user, if it is one.
    fn principal(&self) -> Option<&str> {
        match self {
            Self::Principal(arn) => Some(arn.as_str()),
            _ => None,
        }
    }

    /// The trust policy in a partition; with an external id only who knows it may assume the role.
    fn policy(&self, partition: &str, external_id: Option<&str>) -> Value {
        // Source: AWS CLI, `aws emr create-default-roles`. The European Sovereign Cloud has the
        // usual names (pulumi-eks issue 2341).
        let ec2 = if partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" };
        // Source: EKS user guide, EKS Pod Identity (the trust policy needs sts:TagSession).
        let (principal, actions) = match self {
            Self::Ec2 => (json!({"Service": ec2}), json!("sts:AssumeRole")),
            Self::EcsTasks => {
                (json!({"Service": "ecs-tasks.amazonaws.com"}), json!("sts:AssumeRole"))
            }
            Self::EksPods => (
                json!({"Service": "pods.eks.amazonaws.com"}),
                json!(["sts:AssumeRole", "sts:TagSession"]),
            ),
            Self::Lambda => (json!({"Service": "lambda.amazonaws.com"}), json!("sts:AssumeRole")),
            Self::Principal(arn) => (json!({"AWS": arn}), json!("sts:AssumeRole")),
        };
        let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": actions});
        if let Some(id) = external_id {
            statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
        }
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }
}

/// What is written as code, or made live.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SentinelParts {
    /// The name of the queue, of its rule, and the start of the alarms' names.
    pub(super) name: String,
    /// The role's name.
    pub(super) role: String,
    /// The role's path, such as `/`.
    pub(super) path: String,
    /// The role's trust policy.
    pub(super) trust: Value,
    /// What the role may do.
    pub(super) policy: Value,
    /// The sentinel's role or user where it is in another account than the queue.
    pub(super) reader: Option<String>,
}

impl SentinelParts {
    /// Those of the sentinel itself. `name` is the start of all names.
    pub(crate) fn of_sentinel(
        name: &str,
        trust: &SentinelTrust,
        options: &SentinelOptions,
        delivery: PermissionOptions<'_>,
        partition: &str,
    ) -> Self {
        let name = Self::name_of(name);
        let mut policy = sentinel::own(options, delivery, partition);
        if let Some(statements) = policy["Statement"].as_array_mut() {
            // The settings can name the queues only once they exist. One in another account also
            // needs the policy of the queue.
            statements.push(json!({
                "Sid": "SentinelQueues",
                "Effect": "Allow",
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
                "Resource": [format!("arn:{partition}:sqs:*:*:{name}")],
            }));
        }
        Self {
            role: name.clone(),
            name,
            path: "/".to_owned(),
            trust: trust.policy(partition, None),
            policy,
            reader: None,
        }
    }

    /// Those of an account that a sentinel watches, whose role or user `trust` names.
    pub(crate) fn of_account(
        name: &str,
        trust: &SentinelTrust,
        options: &SentinelOptions,
        account: &WatchedAccount,
    ) -> Self {
        let (path, role) = path_and_name(&account.role);
        Self {
            name: Self::name_of(name),
            role,
            path,
            trust: trust.policy(account.role.partition(), account.external_id.as_deref()),
            policy: sentinel::of_account(options, account),
            reader: trust.principal().map(str::to_owned),
        }
    }

    /// The statements of the queue's policy, for a queue and a rule with these ARNs, but the one on
    /// TLS: only the rule may send, and a reader in another account may read.
    pub(super) fn queue_statements(&self, queue: &str, rule: &str) -> Vec<Value> {
        let named = |purpose: &str, mut statement: Value| {
            if let Some(fields) = statement.as_object_mut() {
                fields.shift_insert(0, "Sid".to_owned(), format!("{SID_START}{purpose}").into());
            }
            statement
        };
        let mut statements = vec![named("Events", from_rule(queue, rule))];
        if let Some(reader) = &self.reader {
            let reads = json!({
                "Effect": "Allow",
                "Principal": {"AWS": reader},
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
                "Resource": queue,
            });
            statements.push(named("Sentinel", reads));
        }
        statements
    }

    /// The whole policy of the queue: requests without TLS are denied.
    pub(super) fn queue_policy(&self, queue: &str, rule: &str) -> Value {
        let mut statements = self.queue_statements(queue, rule);
        statements.push(tls_only("sqs:*", queue));
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// The name of everything but the role, where all names start with `name`.
    pub(crate) fn name_of(name: &str) -> String {
        format!("{name}-sentinel")
    }
}

/// The path and the name in a role's ARN.
fn path_and_name(role: &RoleArn) -> (String, String) {
    let resource = role.as_str().split_once(":role/").map_or("", |(_, resource)| resource);
    match resource.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name.to_owned()),
        None => ("/".to_owned(), resource.to_owned()),
    }
}

/// The events that make the sentinel look sooner, and that tell who launched a cluster. Sources:
/// Amazon EMR management guide, Monitoring Amazon EMR events with CloudWatch; Amazon EventBridge
/// user guide, AWS service events delivered via AWS CloudTrail, and Creating event patterns (`$or`,
/// `prefix`). Only AWS can send events whose source begins with `aws.`.
pub(super) fn pattern() -> Value {
    json!({
        "$or": [
            {"source": ["aws.emr"], "detail-type": ["EMR Cluster State Change"]},
            {
                "source": [{"prefix": "aws."}],
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventSource": ["elasticmapreduce.amazonaws.com"],
                    "eventName": ["RunJobFlow"],
                },
            },
        ],
    })
}

/// An alarm on the queue.
pub(super) struct QueueAlarm {
    /// The end of its name.
    pub(super) suffix: &'static str,
    /// What it means.
    pub(super) description: &'static str,
    /// What is measured.
    pub(super) measure: AlarmMeasure,
    /// `GreaterThanThreshold` or `LessThanThreshold`.
    pub(super) comparison: &'static str,
    /// The threshold.
    pub(super) threshold: u32,
    /// How many periods in a row must be beyond it.
    pub(super) periods: u32,
    /// What a period without data counts as.
    pub(super) missing: &'static str,
}

/// What an alarm measures, of the namespace `AWS/SQS`.
pub(super) enum AlarmMeasure {
    /// The maximum of this metric in 60 seconds.
    Maximum(&'static str),
    /// The sum of these two metrics together in 300 seconds.
    SumOf([&'static str; 2]),
}

/// The seconds of one period of a maximum, and of a sum.
pub(super) const MAXIMUM_PERIOD: u32 = 60;
pub(super) const SUM_PERIOD: u32 = 300;
/// The namespace of SQS's metrics.
pub(super) const NAMESPACE: &str = "AWS/SQS";
/// What adds up two metrics. One without data counts as zero.
pub(super) const SUM: &str = "FILL(m1, 0) + FILL(m2, 0)";

impl QueueAlarm {
    /// Its name, on the queue with this name.
    pub(super) fn name(&self, queue: &str) -> String {
        format!("{queue}-{}", self.suffix)
    }

    /// What PutMetricAlarm has to set, for the queue with this name and the ARN of a topic.
    pub(super) fn definition(&self, queue: &str, topic: Option<&str>) -> AlarmDefinition {
        let topics: BTreeSet<String> = topic.into_iter().map(str::to_owned).collect();
        AlarmDefinition {
            name: self.name(queue),
            description: Some(self.description.to_owned()),
            source: self.measure.source(queue),
            comparison: self.comparison.to_owned(),
            threshold: self.threshold.into(),
            evaluation_periods: self.periods,
            datapoints_to_alarm: self.periods,
            missing_data: self.missing.to_owned(),
            actions_enabled: true,
            alarm_actions: topics.clone(),
            ok_actions: topics,
            insufficient_data_actions: BTreeSet::new(),
        }
    }
}

impl AlarmMeasure {
    fn source(&self, queue: &str) -> AlarmSource {
        let metric = |name: &str, statistic: &str, period| MetricStatistic {
            namespace: NAMESPACE.to_owned(),
            metric: name.to_owned(),
            dimensions: BTreeMap::from([("QueueName".to_owned(), queue.to_owned())]),
            statistic: statistic.to_owned(),
            period,
            unit: None,
        };
        match self {
            Self::Maximum(name) => AlarmSource::Metric(metric(name, "Maximum", MAXIMUM_PERIOD)),
            Self::SumOf(names) => {
                let query = |source, return_data| AlarmQuery {
                    source,
                    label: None,
                    return_data,
                    account: None,
                };
                let added = ["m1", "m2"].into_iter().zip(names).map(|(id, name)| {
                    let metric = QuerySource::Metric(metric(name, "Sum", SUM_PERIOD));
                    (id.to_owned(), query(metric, false))
                });
                let sum = QuerySource::Expression { text: SUM.to_owned(), period: None };
                let sum = ("sum".to_owned(), query(sum, true));
                AlarmSource::Queries(added.chain([sum]).collect())
            }
        }
    }

    /// How many metrics it has, each of which costs.
    pub(super) const fn metrics(&self) -> u32 {
        match self {
            Self::Maximum(_) => 1,
            Self::SumOf(_) => 2,
        }
    }
}

/// The alarms. A sentinel asks its queue without a break, so requests that find nothing are counted
/// even where no event comes. Source: Amazon SQS developer guide, Available CloudWatch metrics for
/// Amazon SQS; a queue that nobody uses for six hours has no metrics, so missing data is an alarm.
pub(super) const ALARMS: [QueueAlarm; 2] = [
    QueueAlarm {
        suffix: "silent",
        description: "Nobody reads the queue: the sentinel is not running",
        measure: AlarmMeasure::SumOf(["NumberOfEmptyReceives", "NumberOfMessagesReceived"]),
        comparison: "LessThanThreshold",
        threshold: 1,
        periods: 2,
        missing: "breaching",
    },
    QueueAlarm {
        suffix: "behind",
        description: "Events stay in the queue: the sentinel reads too slowly, or cannot delete",
        measure: AlarmMeasure::Maximum("ApproximateAgeOfOldestMessage"),
        comparison: "GreaterThanThreshold",
        threshold: OLDEST_UNREAD,
        periods: 3,
        missing: "notBreaching",
    },
];

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::settings::{
        evidence_options::EvidenceOptions,
        resolve::{Options, Settings},
    };

    fn options() -> SentinelOptions {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(
            b"sentinel:
  accounts:
    - id: '210987654321'
      role: arn:aws:iam::210987654321:role/guards/emr-sentinel
      external_id: acme-1
      regions: [eu-west-1]
  queues: ['https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-sentinel']
",
        )
        .unwrap();
        let settings = Settings::resolve(Options::default(), Some(file.path())).unwrap();
        settings.sentinel_options().unwrap()
    }

    /// The parts of a sentinel on ECS that watches another account, and those of that account.
    pub(in crate::setup) fn samples() -> [SentinelParts; 2] {
        let options = options();
        let evidence = EvidenceOptions::default();
        let delivery =
            PermissionOptions { topic: None, queue: None, evidence: &evidence, expected_keys: &[] };
        let own = SentinelParts::of_sentinel(
            "emr-etl",
            &SentinelTrust::EcsTasks,
            &options,
            delivery,
            "aws",
        );
        let sentinel = "arn:aws:iam::123456789012:role/emr-etl-sentinel".parse().unwrap();
        let account = &options.accounts[0];
        [own, SentinelParts::of_account("emr-etl", &sentinel, &options, account)]
    }

    #[test]
    fn a_role_is_trusted_by_one_service_or_by_one_role() {
        let trust = |text: &str| text.parse::<SentinelTrust>();
        let of =
            |text, partition| trust(text).unwrap().policy(partition, None)["Statement"][0].clone();
        let service = |text| of(text, "aws")["Principal"].clone();
        assert_eq!(of("ec2", "aws-cn")["Principal"], json!({"Service": "ec2.amazonaws.com.cn"}));
        for partition in ["aws", "aws-us-gov", "aws-eusc"] {
            let principal = json!({"Service": "ec2.amazonaws.com"});
            assert_eq!(of("ec2", partition)["Principal"], principal);
        }
        assert_eq!(service("ecs-tasks"), json!({"Service": "ecs-tasks.amazonaws.com"}));
        assert_eq!(service("eks-pods"), json!({"Service": "pods.eks.amazonaws.com"}));
        assert_eq!(service("lambda"), json!({"Service": "lambda.amazonaws.com"}));
        let arn = "arn:aws:iam::123456789012:user/watch/guard";
        assert_eq!(service(arn), json!({"AWS": arn}));
        for wrong in ["", "*", "s3", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:role/x"] {
            assert!(trust(wrong).unwrap_err().starts_with("expected `ec2`"), "{wrong}");
        }
    }

    #[test]
    fn the_role_of_an_account_has_the_path_and_the_external_id_of_the_settings() {
        let [own, account] = samples();
        assert_eq!((own.path.as_str(), own.role.as_str()), ("/", "emr-etl-sentinel"));
        assert_eq!((account.path.as_str(), account.role.as_str()), ("/guards/", "emr-sentinel"));
        let condition = &account.trust["Statement"][0]["Condition"];
        assert_eq!(*condition, json!({"StringEquals": {"sts:ExternalId": "acme-1"}}));
        // Only there somebody of another account reads the queue.
        let readers = [&own, &account].map(|parts| {
            let policy = parts.queue_policy("q", "r");
            policy["Statement"].as_array().unwrap().len()
        });
        assert_eq!(readers, [2, 3]);
    }

    #[test]
    fn no_message_is_deleted_before_its_age_is_an_alarm() {
        let [_, behind] = &ALARMS;
        assert!(KEPT > behind.threshold + 60 * behind.periods);
    }
}
