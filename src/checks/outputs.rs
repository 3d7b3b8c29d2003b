//! The check on the buckets that a run has written to, after the run: their settings may have
//! changed while it ran.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        aws_calls,
        names::BucketName,
        printable::{Printable, printable},
    },
    checks::{
        buckets,
        case::Case,
        finding::{Check, Finding, Level, Stage, apply_exceptions, apply_policy},
        writes,
    },
    facts::s3::WriteDefaults,
    spec::data_paths::{Access, DataLocation},
};

pub(super) static OUTPUTS: Check = Check {
    name: "output-buckets-at-the-end",
    stage: Stage::Confirm,
    level: Level::Required,
    why: "A default encryption or a bucket policy that somebody changed after the launch protects \
        nothing of what was written since, and nothing of the logs that EMR still brings.",
    looks_at: "s3:GetBucketEncryption and s3:GetBucketPolicy of each bucket that the run writes \
        to, asked again once it is over, and held against the checks that were asked before the \
        launch.",
    asks: &[&aws_calls::GET_BUCKET_ENCRYPTION, &aws_calls::GET_BUCKET_POLICY],
    fix: "set the default encryption and the policy of {subject} as they were before the launch, \
        find out who changed them, and look at what was written since",
    source: "Amazon S3 user guide, Setting default server-side encryption (new objects only)",
};

/// The locations that the run writes to, in buckets of its own.
fn outputs<'a>(case: &Case<'a>) -> Vec<&'a DataLocation> {
    let roles = case.paths.plan.roles(Access::Write);
    let known = |location: &&DataLocation| {
        roles.contains(&location.role.as_str())
            && case.facts.buckets.contains_key(location.bucket())
    };
    case.paths.locations.iter().filter(known).collect()
}

/// The buckets to look up again.
pub(crate) fn buckets(case: &Case<'_>) -> BTreeSet<BucketName> {
    outputs(case).into_iter().map(|location| location.bucket().clone()).collect()
}

/// Judges the buckets' settings `now` by the checks of `before`; one finding for each.
pub(crate) fn judge(before: &Case<'_>, now: &BTreeMap<BucketName, WriteDefaults>) -> Vec<Finding> {
    let mut facts = before.facts.clone();
    for (bucket, now) in now {
        if let Some(facts) = facts.buckets.get_mut(bucket) {
            facts.default_encryption = now.default_encryption.clone();
            facts.policy = now.policy.clone();
        }
    }
    let (earlier, later) = (of_buckets(before), of_buckets(&Case { facts: &facts, ..*before }));
    let mut findings: Vec<Finding> =
        now.iter().map(|(bucket, now)| judge_one(before, bucket, now, &earlier, &later)).collect();
    apply_policy(&mut findings, before.policy);
    findings
}

/// The pre-flight findings that depend on a bucket's default encryption and policy.
fn of_buckets(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    buckets::check(case, &mut findings);
    writes::check(case, &mut findings);
    apply_policy(&mut findings, case.policy);
    apply_exceptions(&mut findings, case.policy);
    findings
}

fn judge_one(
    before: &Case<'_>,
    bucket: &BucketName,
    now: &WriteDefaults,
    earlier: &[Finding],
    later: &[Finding],
) -> Finding {
    let subject = OUTPUTS.on(bucket.as_str(), "as required before the launch");
    subject.by(&now.default_encryption, "no such bucket any more", |subject, default| {
        subject.by(&now.policy, "no such bucket any more", |subject, policy| {
            let of_bucket = |finding: &&Finding| {
                let by_writer = |location: &&DataLocation| {
                    location.bucket() == bucket
                        && finding
                            .subject
                            .strip_prefix(&location.role)
                            .is_some_and(|rest| rest.starts_with(" by "))
                };
                finding.subject == bucket.as_str() || outputs(before).iter().any(by_writer)
            };
            let was_open = |finding: &&Finding| {
                earlier.iter().any(|other| {
                    other.is_open()
                        && other.check.name == finding.check.name
                        && other.subject == finding.subject
                })
            };
            let is_worse = |finding: &&Finding| {
                finding.level == Level::Required && finding.is_open() && !was_open(finding)
            };
            let worse: Vec<Printable> =
                later.iter().filter(of_bucket).filter(is_worse).map(Finding::in_brief).collect();
            let was = before.facts.buckets.get(bucket);
            let same = was.is_some_and(|was| {
                was.default_encryption.found() == Some(default)
                    && was.policy.found() == Some(policy)
            });
            match (worse.is_empty(), same) {
                (false, _) => subject
                    .failed(printable!("changed meanwhile: {}", Printable::joined(&worse, "; "))),
                (true, true) => subject.passed("as before the launch"),
                (true, false) => subject.passed("changed meanwhile, and still as required"),
            }
        })
    })
}
