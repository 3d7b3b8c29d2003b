//! Checks on the guard's own permissions: that it may describe and terminate the clusters of its
//! run.

use serde_json::json;

use crate::{
    base::{aws_calls, lookup::Lookup},
    checks::{
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        fix::FixTemplate,
    },
    facts::guard_rights::{self, GuardRights, Principal, RightDecision},
    spec::cluster_spec::RUN_TAG,
};

pub(super) static MAY_WATCH: Check = Check {
    name: "guard-may-end-clusters",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A cluster that the guard has no permission to describe cannot be judged, and an unsafe \
        one that it may not terminate runs on. Where IAM cannot be asked, or does not know \
        everything in a request, this is reported only: it refuses by a denial alone.",
    looks_at: "iam:SimulatePrincipalPolicy on the guard's own user or role, for every call of the \
        watch, with the run's tag; elasticmapreduce:DescribeCluster on one cluster of the last \
        hour, where there is one.",
    asks: &[
        &aws_calls::GET_CALLER_IDENTITY,
        &aws_calls::GET_ROLE,
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::DESCRIBE_CLUSTER,
    ],
    fix: "allow the guard what `emr-etl-guard explain --permissions` prints",
    source: "IAM API reference, SimulatePrincipalPolicy; service authorization reference, \
        Actions, resources, and condition keys for Amazon EMR",
};

pub(super) static MAY_TAG: Check = Check {
    name: "runner-may-tag-clusters",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The run's tag goes with the runner's request for a cluster, and EMR refuses a request \
        with tags where elasticmapreduce:AddTags is not allowed to whoever sends it. Where IAM \
        cannot be asked, or does not know everything in a request, this is reported only.",
    looks_at: "iam:SimulatePrincipalPolicy of elasticmapreduce:AddTags, with the run's tag, on \
        the user or role whose keys the runner config holds.",
    asks: &[
        &aws_calls::GET_CALLER_IDENTITY,
        &aws_calls::GET_ROLE,
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
    ],
    fix: "allow elasticmapreduce:AddTags to the runner's user or role, or send no tag: `run_tag: \
        false`",
    source: "Amazon EMR management guide, Tag Amazon EMR clusters (elasticmapreduce:AddTags); \
        service authorization reference, Actions, resources, and condition keys for Amazon EMR",
};

/// The fix if IAM does not know the caller.
const WHOSE_CREDENTIALS: &str =
    "find out whose credentials these are: `aws sts get-caller-identity`";

const WANTED: &str = "every call that watching and ending a cluster takes";

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    // The rights are not looked up if no cluster will be launched.
    let Some(rights) = &case.facts.guard_rights else { return };
    findings.push(by_policies(rights));
    findings.push(tagging(rights));
    if let Some((cluster, answer)) = &rights.described {
        let subject = MAY_WATCH.on(
            format!("DescribeCluster on {cluster}"),
            "an answer about a cluster that is listed",
        );
        findings.push(match answer {
            Lookup::Found(()) => subject.passed("an answer"),
            Lookup::Denied(error) => advisory(subject.unknown(
                format!("it is denied: {}", error.message),
                "nothing, where a policy allows the guard only clusters that bear its tag; else \
                 look at the policies of session, organisation and VPC endpoint",
            )),
            other => advisory(
                subject.by(other, "no such cluster", |subject, ()| subject.passed("an answer")),
            ),
        });
    }
}

/// Whether the runner may set the run's tag in its request for a cluster.
fn tagging(rights: &GuardRights) -> Finding {
    let subject = || MAY_TAG.on("the runner", "elasticmapreduce:AddTags with the run's tag");
    let Some(right) = &rights.tagging else {
        return subject().not_applicable("no tag is sent (`run_tag: false`)");
    };
    // The config's own tags are part of the request with or without the guard.
    let keys = right.keys.join(", ");
    let of_keys = if right.keys.len() == 1 {
        format!("the tag's key {keys}")
    } else {
        format!("the tags' keys {keys}")
    };
    let is_runs_alone = right.keys.iter().all(|key| key == RUN_TAG);
    let arn = match principal_arn(subject, &right.principal) {
        Ok(arn) => arn,
        Err(finding) => return *finding,
    };
    let fix = |what: &str| {
        if is_runs_alone {
            format!(
                "{what}; or send no tag: `run_tag: false`, and clusters are known by name and \
                 time alone"
            )
        } else {
            format!(
                "{what}; or send no tag: no monitoring.tags in the runner config, and `run_tag: \
                 false`, so that clusters are known by name and time alone"
            )
        }
    };
    match &right.decision {
        Lookup::Found(RightDecision::Allowed) => subject().passed(format!("allowed to {arn}")),
        Lookup::Found(RightDecision::NotAllowed) => {
            let statement =
                json!({"Effect": "Allow", "Action": guard_rights::ADD_TAGS, "Resource": "*"});
            let failed = subject().failed(format!(
                "no policy allows {} to {arn}, with {of_keys}",
                guard_rights::ADD_TAGS
            ));
            let fix = fix(&format!("add this statement to a policy of {arn}: {statement}"));
            failed.with_plain_fix(fix)
        }
        Lookup::Found(RightDecision::Denied) => {
            let failed = subject().failed(format!(
                "a policy or the permissions boundary denies {} to {arn}, with {of_keys}",
                guard_rights::ADD_TAGS
            ));
            failed.with_plain_fix(fix("take that denial away"))
        }
        Lookup::Found(RightDecision::Unclear) => advisory(subject().unknown(
            format!(
                "the simulation of IAM, which does not know everything in a request, does not \
                allow it to {arn}"
            ),
            "look at the conditions of its policies, and at those of the organisation",
        )),
        other => untold(subject, arn, other),
    }
}

/// Makes a finding advisory: a fact that cannot be known must not refuse a launch.
pub(super) fn advisory(finding: Finding) -> Finding {
    Finding { level: Level::Advisory, ..finding }
}

fn by_policies(rights: &GuardRights) -> Finding {
    let subject = || MAY_WATCH.on("the guard", WANTED);
    let arn = match principal_arn(subject, &rights.principal) {
        Ok(arn) => arn,
        Err(finding) => return *finding,
    };
    let Lookup::Found(decisions) = &rights.decisions else {
        return untold(subject, arn, &rights.decisions);
    };
    let those = |wanted: RightDecision| {
        let those = decisions.iter().filter(move |(_, decision)| **decision == wanted);
        those.map(|(permission, _)| *permission).collect::<Vec<_>>()
    };
    let (none, denied) = (those(RightDecision::NotAllowed), those(RightDecision::Denied));
    let unclear = those(RightDecision::Unclear);
    let mut saw = Vec::new();
    let mut fixes = Vec::new();
    if !none.is_empty() {
        saw.push(format!("no policy allows {}", none.join(", ")));
        let cluster = rights.cluster.as_deref().unwrap_or("*");
        let clusters =
            cluster.rsplit_once('/').map_or(cluster.to_owned(), |(all, _)| format!("{all}/*"));
        let statement = json!({"Effect": "Allow", "Action": none, "Resource": clusters});
        fixes.push(format!("add this statement to a policy of {arn}: {statement}"));
    }
    if !denied.is_empty() {
        saw.push(format!("a policy or the permissions boundary denies {}", denied.join(", ")));
        fixes.push(format!("take the denial of {} for {arn} away", denied.join(", ")));
    }
    if !saw.is_empty() {
        let failed = subject().failed(format!("{} to {arn}", saw.join("; ")));
        return failed.with_plain_fix(fixes.join("; "));
    }
    if !unclear.is_empty() {
        return advisory(subject().unknown(
            format!(
                "the simulation of IAM, which does not know everything in a request, does not \
                allow {} to {arn}",
                unclear.join(", ")
            ),
            "look at the conditions of its policies, and at those of the organisation",
        ));
    }
    subject().passed(format!("all of them are allowed to {arn}"))
}

/// The ARN of the principal that IAM can simulate; else the finding with the reason why it cannot.
fn principal_arn(
    subject: impl Fn() -> CheckSubject,
    principal: &Lookup<Principal>,
) -> Result<&str, Box<Finding>> {
    Err(Box::new(match principal {
        Lookup::Found(Principal::Simulated(arn)) => return Ok(arn),
        Lookup::Found(Principal::Root) => {
            subject().not_applicable("these are the credentials of the account itself")
        }
        Lookup::Found(Principal::Other(arn)) => advisory(subject().unknown(
            format!("IAM cannot simulate the policies of {arn}"),
            "make sure that it may do what `emr-etl-guard explain --permissions` prints",
        )),
        Lookup::Absent => advisory(subject().unknown_with(
            "IAM knows no role of the name that the session has",
            FixTemplate::new(WHOSE_CREDENTIALS),
        )),
        Lookup::Denied(error) => advisory(subject().denied(error)),
        Lookup::Unreachable(error) => advisory(subject().unreachable(error)),
    }))
}

/// The finding that IAM did not answer.
fn untold<T>(subject: impl Fn() -> CheckSubject, arn: &str, decisions: &Lookup<T>) -> Finding {
    match decisions {
        Lookup::Denied(error) => advisory(subject().denied(error)),
        Lookup::Unreachable(error) => advisory(subject().unreachable(error)),
        Lookup::Absent | Lookup::Found(_) => advisory(
            subject()
                .unknown_with(format!("IAM knows no {arn}"), FixTemplate::new(WHOSE_CREDENTIALS)),
        ),
    }
}
