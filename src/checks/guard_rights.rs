//! Checks on the guard's own rights: that it may look at the clusters of its run, and end them.

use serde_json::json;

use crate::{
    base::{aws_calls, lookup::Lookup},
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    facts::guard_rights::{GuardRights, Principal, RightDecision},
};

pub(super) static MAY_WATCH: Check = Check {
    name: "guard-may-end-clusters",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A cluster that the guard may not look at cannot be judged, and an unsafe one that it may not terminate runs on. Where IAM cannot be asked, or does not know all that a request tells, this is reported only: it refuses by a denial alone.",
    looks_at: "iam:SimulatePrincipalPolicy on the guard's own user or role, for every call of the watch, with the run's tag; elasticmapreduce:DescribeCluster on one cluster of the last hour, where there is one.",
    asks: &[
        &aws_calls::GET_CALLER_IDENTITY,
        &aws_calls::GET_ROLE,
        &aws_calls::SIMULATE_PRINCIPAL_POLICY,
        &aws_calls::DESCRIBE_CLUSTER,
    ],
    fix: "allow the guard what `emr-etl-guard explain --permissions` prints",
    source: "IAM API reference, SimulatePrincipalPolicy; service authorization reference, Actions, resources, and condition keys for Amazon EMR",
};

const WANTED: &str = "every call that watching and ending a cluster takes";

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    // Nobody asks for them where no cluster will be launched.
    let Some(rights) = &case.facts.guard_rights else { return };
    findings.push(by_policies(rights));
    if let Some((cluster, answer)) = &rights.described {
        let subject = MAY_WATCH.on(
            format!("DescribeCluster on {cluster}"),
            "an answer about a cluster that is listed",
        );
        findings.push(match answer {
            Lookup::Found(()) => subject.passed("an answer"),
            Lookup::Denied(error) => advisory(subject.unknown(
                format!("it is denied: {}", error.message),
                "nothing, where a policy allows the guard only clusters that bear its tag; else look at the policies of session, organisation and VPC endpoint",
            )),
            other => advisory(subject.by(other, "no such cluster", |subject, ()| {
                subject.passed("an answer")
            })),
        });
    }
}

/// What cannot be told refuses nothing.
fn advisory(finding: Finding) -> Finding {
    Finding { level: Level::Advisory, ..finding }
}

fn by_policies(rights: &GuardRights) -> Finding {
    let subject = || MAY_WATCH.on("the guard", WANTED);
    let arn = match &rights.principal {
        Lookup::Found(Principal::Root) => {
            return subject().not_applicable("these are the credentials of the account itself");
        }
        Lookup::Found(Principal::Other(arn)) => {
            return advisory(subject().unknown(
                format!("IAM cannot simulate the policies of {arn}"),
                "make sure that it may do what `emr-etl-guard explain --permissions` prints",
            ));
        }
        Lookup::Found(Principal::Simulated(arn)) => arn,
        Lookup::Absent => {
            return advisory(subject().unknown(
                "IAM knows no role of the name that the guard's session has",
                "look whose credentials the guard has: aws sts get-caller-identity",
            ));
        }
        Lookup::Denied(error) => return advisory(subject().denied(error)),
        Lookup::Unreachable(error) => return advisory(subject().unreachable(error)),
    };
    let decisions = match &rights.decisions {
        Lookup::Found(decisions) => decisions,
        Lookup::Absent => {
            return advisory(subject().unknown(
                format!("IAM knows no {arn}"),
                "look whose credentials the guard has: aws sts get-caller-identity",
            ));
        }
        Lookup::Denied(error) => return advisory(subject().denied(error)),
        Lookup::Unreachable(error) => return advisory(subject().unreachable(error)),
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
        return Finding { fix: Some(fixes.join("; ").into()), ..failed };
    }
    if !unclear.is_empty() {
        return advisory(subject().unknown(
            format!("the simulation of IAM, which does not know all that a request tells, does not allow {} to {arn}", unclear.join(", ")),
            "look at the conditions of its policies, and at those of the organisation",
        ));
    }
    subject().passed(format!("all of them are allowed to {arn}"))
}
