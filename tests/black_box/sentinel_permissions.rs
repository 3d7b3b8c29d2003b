//! The IAM policies that `explain --permissions --sentinel` prints: they allow exactly the calls
//! that a sentinel makes, with its own credentials and with the role in another account.

use std::collections::{BTreeMap, BTreeSet};

use emr_simulator::{
    Command as Set, Named, Recorded, SendMessage, StartCluster, StartState, policy,
};
use serde_json::Value;

use crate::{
    attach::{like_the_runners, start},
    guard_rights::with_policies,
    permissions::permission_for,
    sentinel::{is_noted, once, settings, stage, stop, without_configuration},
    sentinel_accounts::put_role_with,
    shown_by_aws::fleets,
    support::{Stage, isolated_guard, wait_until},
};

const OTHER: &str = "210987654321";
const ROLE: &str = "arn:aws:iam::210987654321:role/sentinel";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:etl-alerts";

/// Actions that the runs of this test do not use, and why they are allowed.
const UNUSED: [(&str, &str); 1] = [(
    "kms:Decrypt",
    "S3 calls KMS in the sentinel's name where the archive of certificates is under SSE-KMS",
)];

fn is_known(action: &str) -> bool {
    UNUSED.iter().any(|(unused, _)| *unused == action)
}

/// The policy that is printed for the settings of a stage.
fn printed(stage: &Stage, words: &[&str]) -> Value {
    let mut command = isolated_guard();
    command.args(["explain", "--permissions", "--sentinel"]).args(words);
    stage.prepare(&mut command);
    command.env("EMR_ETL_GUARD_SETTINGS", "guard.yml");
    let played = stage.play(command);
    played.expect_code(0);
    serde_json::from_str(&played.stdout).unwrap()
}

/// The actions that a policy allows.
fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().unwrap());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// The resource of a request, as IAM names it for policies.
fn resource(request: &Recorded) -> String {
    let subject = &request.subject;
    let (region, account) = (&request.region, request.account.as_deref().unwrap());
    let arn = |service: &str, region: &str, name: &str| {
        format!("arn:aws:{service}:{region}:{account}:{name}")
    };
    let is_arn = |name: &&str| name.starts_with("arn:");
    let name = subject.name.as_deref();
    match subject.service.as_str() {
        "elasticmapreduce" => subject.cluster_id.as_deref().map_or_else(
            || "*".to_owned(),
            |id| arn("elasticmapreduce", region, &format!("cluster/{id}")),
        ),
        "s3" => match (&subject.bucket, &subject.key) {
            (Some(bucket), Some(key)) => format!("arn:aws:s3:::{bucket}/{key}"),
            (Some(bucket), None) => format!("arn:aws:s3:::{bucket}"),
            (None, _) => "*".to_owned(),
        },
        "kms" => {
            let key = subject.key.as_deref().unwrap();
            // A request that names an alias is about its key.
            key.strip_prefix("arn:").filter(|key| key.contains(":key/")).map_or_else(
                || arn("kms", region, "key/11111111-1111-1111-1111-111111111111"),
                |key| format!("arn:{key}"),
            )
        }
        "iam" => match name {
            Some(name) if is_arn(&name) => name.to_owned(),
            Some(name) if subject.operation == "GetInstanceProfile" => {
                arn("iam", "", &format!("instance-profile/{name}"))
            }
            Some(name) => arn("iam", "", &format!("role/{name}")),
            None => "*".to_owned(),
        },
        "sts" if subject.operation == "AssumeRole" => {
            request.body["RoleArn"].as_str().unwrap().to_owned()
        }
        "sqs" => arn("sqs", region, name.unwrap().rsplit('/').next().unwrap()),
        "sns" => name.filter(is_arn).unwrap_or(TOPIC).to_owned(),
        _ => "*".to_owned(),
    }
}

/// The requests of a stage that this policy does not allow.
fn denied(policy: &Value, requests: &[Recorded]) -> BTreeSet<String> {
    let is_allowed = |request: &&Recorded| {
        let (action, resource) = (permission_for(request), resource(request));
        let region = vec![request.region.clone()];
        let context = BTreeMap::from([("aws:RequestedRegion".to_owned(), region)]);
        let ask = policy::Ask { action: &action, resource: &resource, context: &context };
        // Everybody may ask who they are, unless a policy denies it. Source: AWS STS API reference,
        // GetCallerIdentity.
        let needs_none = action == "sts:GetCallerIdentity";
        match policy::evaluate_identity(policy, &ask) {
            policy::Decision::Allowed => true,
            policy::Decision::ImplicitDeny => needs_none,
            policy::Decision::ExplicitDeny => false,
        }
    };
    let denied = requests.iter().filter(|request| !is_allowed(request));
    denied.map(|request| format!("{} on {}", permission_for(request), resource(request))).collect()
}

fn used(requests: &[Recorded]) -> BTreeSet<String> {
    requests.iter().map(permission_for).collect()
}

/// A cluster that is unsafe and protected from termination, so that every call of a termination is
/// made.
fn start_protected(stage: &Stage, id: &str, account: Option<&str>) {
    let mut request = like_the_runners();
    without_configuration(&mut request);
    request["Instances"]["TerminationProtected"] = true.into();
    stage.set(Set::StartCluster(StartCluster {
        id: Some(id.to_owned()),
        account: account.map(str::to_owned),
        state: StartState::Running,
        request,
        ..StartCluster::default()
    }));
}

/// Checks that nothing of `requests` is denied by `policy`, and returns the actions of it that no
/// request uses.
#[track_caller]
fn unused(policy: &Value, requests: &[Recorded]) -> BTreeSet<String> {
    assert_eq!(denied(policy, requests), BTreeSet::new());
    actions(policy).difference(&used(requests)).cloned().collect()
}

#[test]
fn the_printed_policies_of_a_sentinel_allow_every_call_that_it_makes_and_no_other() {
    // With its own credentials, in one region, with a queue and alerts.
    let own = stage("");
    own.set(Set::PutQueue(Named { name: "events".to_owned(), ..Named::default() }));
    own.set(Set::PutTopic(Named { name: "etl-alerts".to_owned(), ..Named::default() }));
    let queue = format!("{}/123456789012/events", own.sim.url());
    let section = format!("  queues: [\"{queue}\"]\n  on_unsafe: terminate\n");
    settings(&own, &section, &format!("alert_sns: {TOPIC}\n"));
    let own_policy = printed(&own, &[]);
    with_policies(&own, vec![own_policy.clone()]);
    start(&own, "j-GOOD", |_| {});
    start(&own, "j-FLEETS", |request| request["Instances"] = fleets(|_| {}));
    start_protected(&own, "j-BAD", None);
    let child = own.sentinel(&[]).spawn().unwrap();
    let body = "no event".to_owned();
    own.set(Set::SendMessage(SendMessage { queue: "events".to_owned(), body }));
    wait_until("every action of the policy is used", || {
        let used = used(&own.sim.requests());
        actions(&own_policy).iter().all(|action| used.contains(action) || is_known(action))
    });
    wait_until("it is terminated", || {
        !own.sim.requests_for("TerminateJobFlows").is_empty() && is_noted(&own, "ending", "j-BAD")
    });
    stop(&own, child);

    // With the role in another account, in all regions.
    let other = stage("");
    let section = format!(
        "sentinel:\n  interval: 100ms\n  judge_within: 30s\n  on_unsafe: terminate\n  accounts:\n    \
         - {{id: '{OTHER}', role: '{ROLE}', external_id: acme}}\n"
    );
    other.write("guard.yml", &section);
    let assuming = printed(&other, &[]);
    let of_role = printed(&other, &["--account", OTHER]);
    with_policies(&other, vec![assuming.clone()]);
    put_role_with(&other, OTHER, of_role.clone());
    start_protected(&other, "j-THEIRS", Some(OTHER));
    once(&other).expect_code(76);

    let (requests, of_other) = (own.sim.requests(), other.sim.requests());
    let (roles, assumes): (Vec<Recorded>, Vec<Recorded>) =
        of_other.into_iter().partition(|request| request.account.as_deref() == Some(OTHER));
    let known: BTreeSet<String> = UNUSED.iter().map(|(action, _)| (*action).to_owned()).collect();
    assert_eq!(unused(&own_policy, &requests), known);
    assert_eq!(unused(&assuming, &assumes), BTreeSet::new());
    // Of its clusters alone, not every check asks everything; the others of the same checks do.
    let of_checks = unused(&of_role, &roles);
    let never: BTreeSet<String> = of_checks.difference(&used(&requests)).cloned().collect();
    assert_eq!(never, known);
}
