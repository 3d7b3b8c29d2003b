//! Checks on every KMS key that the security configuration names, and on the role that must use it.

use super::{Case, Check, Finding, Level, Stage, Subject};
use crate::{
    aws::{Lookup, calls},
    facts::{
        KeyUse,
        kms::{Decision, Key},
    },
    key_policy::KeyPolicyDecision,
    names::KeyReference,
};

pub(super) static EXISTS: Check = Check {
    name: "kms-key-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A cluster whose key is gone fails while it starts, after minutes, or cannot read what was written.",
    looks_at: "kms:DescribeKey on each key of the security configuration.",
    asks: &[&calls::DESCRIBE_KEY],
    mend: "name a key that exists in a new security configuration; list them with: aws kms list-aliases",
    source: "AWS KMS API reference, DescribeKey",
};

pub(super) static ENABLED: Check = Check {
    name: "kms-key-enabled",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A disabled key, or one about to be deleted, stops the cluster, and what was written under it can no longer be read.",
    looks_at: "KeyState of kms:DescribeKey.",
    asks: &[&calls::DESCRIBE_KEY],
    mend: "aws kms enable-key --key-id {subject} (after aws kms cancel-key-deletion, if it is pending deletion)",
    source: "AWS KMS developer guide, Key states of AWS KMS keys",
};

pub(super) static SYMMETRIC: Check = Check {
    name: "kms-key-symmetric",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EMR and S3 use only symmetric keys; with another kind the cluster does not start.",
    looks_at: "KeySpec and KeyUsage of kms:DescribeKey.",
    asks: &[&calls::DESCRIBE_KEY],
    mend: "create a symmetric key (aws kms create-key) and name it in a new security configuration",
    source: "Amazon EMR management guide, Create keys and certificates for data encryption",
};

pub(super) static REGION: Check = Check {
    name: "kms-key-region",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A key of another region cannot be used by the cluster.",
    looks_at: "The region in the key's ARN, against aws.emr.region.",
    asks: &[&calls::DESCRIBE_KEY],
    mend: "name a key of the cluster's region in a new security configuration",
    source: "Amazon EMR management guide, Create keys and certificates for data encryption",
};

pub(super) static ROLE_MAY_USE: Check = Check {
    name: "jobflow-role-may-use-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The cluster's instances act as the role in aws.emr.jobflow_role; without kms:GenerateDataKey they cannot encrypt, and the cluster fails after minutes. The AWS-managed EMR policies contain no kms action.",
    looks_at: "iam:GetInstanceProfile, iam:SimulatePrincipalPolicy and kms:GetKeyPolicy. Grants are not looked at.",
    asks: &[&calls::DESCRIBE_KEY, &calls::GET_INSTANCE_PROFILE, &calls::SIMULATE_PRINCIPAL_POLICY, &calls::GET_KEY_POLICY],
    mend: "add the role as a key user of {subject} in its key policy, or allow kms:GenerateDataKey and kms:Decrypt on it in the role's policies",
    source: "Setup guide, Setting up end to end encryption, Local disks; AWS KMS developer guide, Key policies",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let region = &case.config.emr_region.value;
    let role = &case.config.jobflow_role;
    for (reference, facts) in &case.facts.keys {
        let name = reference.as_str();
        // An ARN of another region tells by itself; the regional endpoint cannot describe such a key.
        if let Some((seen, _)) = reference.region_and_account().filter(|(seen, _)| seen != region) {
            findings.push(REGION.on(name, region.clone()).refuted(seen));
            continue;
        }
        let by_description = |check: &'static Check, wanted: &'static str, holds: fn(&Key) -> bool, saw: fn(&Key) -> String| {
            check.on(name, wanted).by(&facts.description, "no such key", |subject, key| subject.decided(holds(key), saw(key)))
        };
        findings.push(by_description(&EXISTS, "the key", |_| true, |key| key.arn.to_string()));
        if matches!(facts.description, Lookup::Absent) {
            continue;
        }
        findings.push(by_description(&ENABLED, "Enabled", Key::is_enabled, |key| key.state.clone()));
        findings.push(by_description(&SYMMETRIC, "SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT", Key::is_symmetric, |key| {
            format!("{} for {}", key.spec, key.usage)
        }));
        findings.push(REGION.on(name, region.clone()).by(&facts.description, "no such key", |subject, key| {
            let seen = key.arn.region().unwrap_or("none");
            subject.decided(seen == region, seen)
        }));
        findings.push(role_may_use(case, reference, &facts.role_use, &role.at, &role.value));
    }
}

fn role_may_use(case: &Case<'_>, key: &KeyReference, role_use: &Lookup<KeyUse>, at: &str, profile: &str) -> Finding {
    let subject = ROLE_MAY_USE.on(key.as_str(), format!("kms:GenerateDataKey allowed to the role of `{profile}`")).at(Some(at));
    match &case.facts.role {
        Lookup::Absent => return subject.refuted(format!("no instance profile `{profile}`, or none with a role in it")),
        Lookup::Denied(obstacle) => return subject.denied(obstacle),
        Lookup::Unreachable(obstacle) => return subject.unreachable(obstacle),
        Lookup::Found(_) => {}
    }
    subject.by(role_use, "no such role", decide)
}

/// Combines the role's policies with the key's: an explicit deny on either side wins; else either the key policy names the role, or it
/// leaves the decision to IAM and IAM allows.
fn decide(subject: Subject, decision: &KeyUse) -> Finding {
    let identity = decision.identity;
    match (identity, decision.key_policy) {
        (Decision::Denied, _) => subject.refuted("a policy of the role, its boundary or its organisation denies it"),
        (_, KeyPolicyDecision::Denies) => subject.refuted("the key's policy denies it"),
        (_, KeyPolicyDecision::Unclear) => subject.unknown(
            format!("the role's policies: {identity}; the key's policy has statements with conditions that are not evaluated"),
            "name the role in a statement of the key's policy that has no condition",
        ),
        (_, KeyPolicyDecision::AllowsRole) => subject.proved("the key's policy allows the role"),
        (Decision::Allowed, KeyPolicyDecision::DelegatesToAccount) => {
            subject.proved("the role's policies allow it, and the key's policy leaves it to them")
        }
        (Decision::NotAllowed, KeyPolicyDecision::DelegatesToAccount) => {
            subject.refuted("the key's policy leaves it to IAM, and no policy of the role allows it")
        }
        (_, KeyPolicyDecision::Silent) => subject.refuted("the key's policy allows neither the role nor its account"),
    }
}
