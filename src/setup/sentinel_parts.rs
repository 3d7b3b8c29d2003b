//! What a sentinel needs in AWS: its role, a queue with events, the rule that fills it, and alarms
//! for a sentinel that has stopped. It depends on nothing that exists, so it is only written as
//! code, and the same code serves every region.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::{
    base::names::{PrincipalPattern, RoleArn},
    permissions::{policy::PermissionOptions, sentinel},
    settings::sentinel_options::{SentinelOptions, WatchedAccount},
};

/// How long the queue keeps events, in seconds: a day. It must be longer than
/// [`OLDEST_UNREAD`], or no message would become that old.
pub(super) const KEPT: u32 = 86_400;
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

/// What is written as code.
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
    ) -> Self {
        let name = format!("{name}-sentinel");
        let mut policy = sentinel::own(options, delivery);
        if let Some(statements) = policy["Statement"].as_array_mut() {
            // The settings can name the queues only once they exist. One in another account also
            // needs the policy of the queue.
            statements.push(json!({
                "Sid": "SentinelQueues",
                "Effect": "Allow",
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
                "Resource": [format!("arn:{}:sqs:*:*:{name}", sentinel::partition_of(options))],
            }));
        }
        Self {
            role: name.clone(),
            name,
            path: "/".to_owned(),
            trust: trust.policy(sentinel::partition_of(options), None),
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
            name: format!("{name}-sentinel"),
            role,
            path,
            trust: trust.policy(account.role.partition(), account.external_id.as_deref()),
            policy: sentinel::of_account(options, account),
            reader: trust.principal().map(str::to_owned),
        }
    }

    /// The statements of the queue's policy, for a queue and a rule with these ARNs. Statements on
    /// `queue` are its own: requests without TLS are denied, and only the rule may send.
    pub(super) fn queue_policy(&self, queue: &str, rule: &str) -> Value {
        let mut statements = vec![
            json!({
                "Sid": "Events",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
            }),
            json!({
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }),
        ];
        if let Some(reader) = &self.reader {
            statements.push(json!({
                "Sid": "Sentinel",
                "Effect": "Allow",
                "Principal": {"AWS": reader},
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
                "Resource": queue,
            }));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
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
    /// The sum of these metrics together in 300 seconds.
    SumOf([&'static str; 2]),
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
        let own =
            SentinelParts::of_sentinel("emr-etl", &SentinelTrust::EcsTasks, &options, delivery);
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
