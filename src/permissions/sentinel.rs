//! The IAM policies of a sentinel: that of its own credentials, and that of the role in each
//! account that it watches. They allow the calls of the checks on clusters that run already;
//! termination only where a rule says so.

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls::{self, Call, Resource},
        names::{AccountId, partition},
    },
    checks::catalogue,
    permissions::policy::{PermissionOptions, certificate_key, document, queue_arn},
    settings::{
        sentinel_options::{SentinelOptions, WatchedAccount},
        sentinel_rules::OnUnsafe,
    },
};

/// The calls in each place besides those of the checks.
static WATCH: [&Call; 2] = [&aws_calls::LIST_CLUSTERS, &aws_calls::DESCRIBE_CLUSTER];

/// The calls that terminate a cluster.
static TERMINATE: [&Call; 2] =
    [&aws_calls::TERMINATE_JOB_FLOWS, &aws_calls::SET_TERMINATION_PROTECTION];

/// The calls on each queue.
static QUEUE: [&Call; 2] = [&aws_calls::RECEIVE_MESSAGE, &aws_calls::DELETE_MESSAGE];

/// The policy document of the sentinel's own credentials. With accounts, these only assume the
/// roles in them; `delivery` is for alerts and reports, and everything is in `partition`.
pub(crate) fn own(
    options: &SentinelOptions,
    delivery: PermissionOptions<'_>,
    partition: &str,
) -> Value {
    let mut needed = vec![needs(&aws_calls::GET_CALLER_IDENTITY)];
    if options.accounts.is_empty() {
        needed.extend(in_places(options, &options.regions, None));
    } else {
        needed.push(("sts:AssumeRole", Resource::Role));
    }
    if !options.queues.is_empty() {
        needed.extend(QUEUE.map(needs));
    }
    needed.extend(delivery.topic.map(|_| needs(&aws_calls::PUBLISH)));
    let mut policy = document(needed.into_iter(), None, Some(delivery));
    limit(&mut policy, "SqsQueue", || {
        let arn = |url: &String| queue_arn(url, partition);
        let any = || vec![format!("arn:{partition}:sqs:*:*:*")];
        options.queues.iter().map(arn).collect::<Option<Vec<String>>>().unwrap_or_else(any)
    });
    limit(&mut policy, "StsRole", || {
        options.accounts.iter().map(|account| account.role.as_str().to_owned()).collect()
    });
    if options.accounts.is_empty() {
        limit_to_places(&mut policy, &options.regions, "*", partition);
    }
    in_partition(&mut policy, partition);
    policy
}

/// Names everything in this partition that is named in the first one, as it is where no launch says
/// which one it is.
fn in_partition(policy: &mut Value, partition: &str) {
    let statements = policy["Statement"].as_array_mut().into_iter().flatten();
    let resources = statements.filter_map(|statement| statement["Resource"].as_array_mut());
    for resource in resources.flatten() {
        let rest = resource.as_str().and_then(|text| text.strip_prefix("arn:aws:"));
        if let Some(rest) = rest {
            *resource = format!("arn:{partition}:{rest}").into();
        }
    }
}

/// The policy document of the role in `account`.
pub(crate) fn of_account(options: &SentinelOptions, account: &WatchedAccount) -> Value {
    let regions = if account.regions.is_empty() { &options.regions } else { &account.regions };
    let needed = in_places(options, regions, Some(&account.id));
    let mut policy = document(needed.into_iter(), None, None);
    limit_to_places(&mut policy, regions, account.id.as_str(), account.role.partition());
    policy
}

fn needs(call: &'static Call) -> (&'static str, Resource) {
    (call.permission, call.on)
}

/// What is called in the places of one account; none: that of the own credentials.
fn in_places(
    options: &SentinelOptions,
    regions: &[String],
    account: Option<&AccountId>,
) -> Vec<(&'static str, Resource)> {
    let of_checks = catalogue::of_running_clusters().flat_map(|check| check.asks.iter().copied());
    let mut needed: Vec<_> = of_checks.chain(WATCH).map(needs).collect();
    if regions.is_empty() {
        needed.push(("ec2:DescribeRegions", Resource::Any));
    }
    if may_terminate(options, account) {
        needed.extend(TERMINATE.map(needs));
    }
    needed
}

/// Whether something can be terminated in an account by the rules.
fn may_terminate(options: &SentinelOptions, account: Option<&AccountId>) -> bool {
    let ends = |on_unsafe: OnUnsafe| on_unsafe == OnUnsafe::Terminate;
    ends(options.rules.otherwise)
        || options.rules.rules.iter().any(|rule| {
            let accounts = &rule.matches.accounts;
            let is_for_it =
                accounts.is_empty() || account.is_none_or(|account| accounts.contains(account));
            is_for_it && ends(rule.on_unsafe.unwrap_or_default())
        })
}

/// The partition of everything that is watched.
pub(crate) fn partition_of(options: &SentinelOptions) -> &str {
    match options.accounts.first() {
        Some(account) => account.role.partition(),
        None => options.regions.first().map_or("aws", |region| partition(region)),
    }
}

/// Limits the statement `sid`, if there is one, to these resources.
fn limit(policy: &mut Value, sid: &str, resources: impl Fn() -> Vec<String>) {
    for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
        if statement["Sid"] == *sid {
            statement["Resource"] = json!(resources());
        }
    }
}

/// Limits what is read and terminated to these regions of an account, if there are any, and adds
/// what reading certificates needs.
fn limit_to_places(policy: &mut Value, regions: &[String], account: &str, partition: &str) {
    let named: Vec<&str> = regions.iter().map(String::as_str).collect();
    let regions = if named.is_empty() { vec!["*"] } else { named.clone() };
    let iam = |kind: &str| format!("arn:{partition}:iam::{account}:{kind}/*");
    limit(policy, "EmrCluster", || {
        let cluster = |region: &&str| {
            format!("arn:{partition}:elasticmapreduce:{region}:{account}:cluster/*")
        };
        regions.iter().map(cluster).collect()
    });
    // The keys and buckets that a cluster uses may be another account's.
    limit(policy, "KmsKey", || {
        regions.iter().map(|region| format!("arn:{partition}:kms:{region}:*:key/*")).collect()
    });
    limit(policy, "S3Bucket", || vec![format!("arn:{partition}:s3:::*")]);
    limit(policy, "S3Object", || vec![format!("arn:{partition}:s3:::*/*")]);
    limit(policy, "IamInstanceProfile", || vec![iam("instance-profile")]);
    limit(policy, "IamRole", || vec![iam("role")]);
    limit(policy, "IamPrincipal", || vec![iam("role"), iam("user")]);
    let Some(statements) = policy["Statement"].as_array_mut() else {
        return;
    };
    if !named.is_empty() {
        // These calls have no resources, but a region.
        for statement in statements.iter_mut() {
            if ["EmrAny", "Ec2Any"].iter().any(|sid| statement["Sid"] == **sid) {
                statement["Condition"] = json!({"StringEquals": {"aws:RequestedRegion": named}});
            }
        }
    }
    statements.push(certificate_key(&regions, partition));
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use super::*;
    use crate::settings::{
        evidence_options::EvidenceOptions,
        resolve::{Options, Settings},
    };

    fn options(section: &str) -> SentinelOptions {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "sentinel:\n{section}").unwrap();
        let settings = Settings::resolve(Options::default(), Some(file.path())).unwrap();
        assert_eq!(settings.watch.termination, Duration::from_mins(15));
        settings.sentinel_options().unwrap()
    }

    fn own_policy(section: &str) -> Value {
        let evidence = EvidenceOptions::default();
        let topic = Some("arn:aws:sns:eu-west-1:123456789012:alerts");
        let delivery =
            PermissionOptions { topic, queue: None, evidence: &evidence, expected_keys: &[] };
        let options = options(section);
        own(&options, delivery, partition_of(&options))
    }

    fn pretty(policy: &Value) -> String {
        serde_json::to_string_pretty(policy).unwrap()
    }

    const ACCOUNTS: &str = "  accounts:
    - {id: '123456789012', role: 'arn:aws:iam::123456789012:role/guard', regions: [eu-west-1]}
    - {id: '210987654321', role: 'arn:aws:iam::210987654321:role/guard'}
";

    #[test]
    fn without_accounts_the_own_credentials_read_the_regions_and_the_queues() {
        insta::assert_snapshot!(pretty(&own_policy(
            "  regions: [eu-west-1, us-east-1]
  queues: [https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-guard-sentinel]
"
        )));
    }

    #[test]
    fn with_accounts_the_own_credentials_only_assume_their_roles() {
        let queue = "  queues: ['https://sqs.eu-west-1.amazonaws.com/123456789012/q']\n";
        insta::assert_snapshot!(pretty(&own_policy(&format!("{ACCOUNTS}{queue}"))));
    }

    #[test]
    fn the_role_of_an_account_reads_that_account_alone() {
        let options = options(ACCOUNTS);
        insta::assert_snapshot!(pretty(&of_account(&options, &options.accounts[0])));
        // Without regions it reads all of them, and asks which there are.
        let policy = of_account(&options, &options.accounts[1]);
        let statement = |sid: &str| {
            let all = policy["Statement"].as_array().unwrap();
            all.iter().find(|statement| statement["Sid"] == sid).unwrap().clone()
        };
        assert_eq!(statement("EmrAny").get("Condition"), None);
        let actions = statement("Ec2Any")["Action"].clone();
        assert!(actions.as_array().unwrap().contains(&json!("ec2:DescribeRegions")), "{actions}");
        let cluster = json!(["arn:aws:elasticmapreduce:*:210987654321:cluster/*"]);
        assert_eq!(statement("EmrCluster")["Resource"], cluster);
    }

    #[test]
    fn termination_is_allowed_only_where_a_rule_says_so() {
        let terminates = |rules: &str| {
            let options = options(&format!("{ACCOUNTS}{rules}"));
            let of = |account| of_account(&options, account).to_string();
            let policies: Vec<String> = options.accounts.iter().map(of).collect();
            let allowed = policies.iter().map(|policy| {
                let actions = ["TerminateJobFlows", "SetTerminationProtection"];
                let found = actions.map(|action| policy.contains(action));
                assert_eq!(found[0], found[1]);
                found[0]
            });
            allowed.collect::<Vec<bool>>()
        };
        assert_eq!(terminates(""), [false, false]);
        assert_eq!(terminates("  rules: [{name: x, on_unsafe: alert}]\n"), [false, false]);
        assert_eq!(terminates("  on_unsafe: terminate\n"), [true, true]);
        assert_eq!(terminates("  rules: [{name: x, on_unsafe: terminate}]\n"), [true, true]);
        let one = "  rules: [{name: x, match: {accounts: '210987654321'}, on_unsafe: terminate}]\n";
        assert_eq!(terminates(one), [false, true]);
        // The own credentials assume roles, and terminate nothing themselves.
        let own = own_policy(&format!("{ACCOUNTS}  on_unsafe: terminate\n")).to_string();
        assert!(!own.contains("elasticmapreduce"), "{own}");
    }

    #[test]
    fn every_resource_is_in_the_partition_that_is_watched() {
        let china = "  accounts: [{id: '123456789012', role: 'arn:aws-cn:iam::123456789012:role/g', \
                     regions: [cn-north-1]}]\n";
        let of_china = options(china);
        let policy = of_account(&of_china, &of_china.accounts[0]).to_string();
        assert!(!policy.contains("arn:aws:"), "{policy}");
        // `kms:ViaService` has the same domain in all partitions.
        assert!(policy.contains("\"s3.*.amazonaws.com\""), "{policy}");
        let queue = "  queues: ['https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q']\n";
        let mut own = own_policy(&format!("{china}{queue}"));
        own["Statement"].as_array_mut().unwrap().retain(|one| one["Sid"] != "SnsTopic");
        assert!(!own.to_string().contains("arn:aws:"), "{own}");
        let own = own_policy("  regions: [us-gov-west-1]\n").to_string();
        assert!(own.contains("arn:aws-us-gov:elasticmapreduce:us-gov-west-1:*:cluster/*"), "{own}");
        let own = own_policy("  regions: [eusc-de-east-1]\n").to_string();
        assert!(own.contains("arn:aws-eusc:elasticmapreduce:eusc-de-east-1:*:cluster/*"), "{own}");
    }
}
