//! Residual risks: what no setting of this runner can prevent, what no API shows, and what was not
//! read. They are part of every verdict, so that a missing finding is not taken for a passed one.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{lookup::Lookup, names::AccountId},
    checks::{case::Case, written::OutputCheck},
    facts::written::{LOG, OutputSurvey},
    settings::policy::{Policy, Protection},
};

/// A risk that remains even if all checks pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Gap")]
pub struct ResidualRisk {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// The risk and its reason.
    pub what: String,
    /// The source in AWS's documentation or the runner's code.
    pub source: &'static str,
}

/// The residual risks of one case.
pub(crate) fn residual_risks(case: &Case<'_>) -> Vec<ResidualRisk> {
    let mut residual_risks = vec![
        ResidualRisk {
            name: "hdfs-rpc-privacy",
            what: "HDFS and YARN RPC travel without privacy: SASL needs Kerberos, which \
                EmrEtlRunner cannot launch"
                .to_owned(),
            source: "Amazon EMR management guide, Encryption options: In-transit encryption",
        },
        ResidualRisk {
            name: "log-key",
            what: "EMR's own logs are encrypted by their bucket's default only: EmrEtlRunner \
                cannot send LogEncryptionKmsKeyId"
                .to_owned(),
            source: "Amazon EMR management guide, Encrypt log files stored in Amazon S3; \
                EmrEtlRunner, emr_job.rb",
        },
    ];
    if case.policy.requires(Protection::LocalDisk) {
        residual_risks.push(ResidualRisk {
            name: "luks-unseen",
            what: "LUKS on local disks is inferred from the security configuration: no API shows \
                it; EC2 shows only what EBS encrypts"
                .to_owned(),
            source: "Amazon EMR management guide, Encryption options: Local disk encryption",
        });
    }
    residual_risks.extend(emr_certificates(case));
    residual_risks.extend(by_others(case));
    residual_risks.extend(left_out(case.policy));
    residual_risks.extend(partly_seen(case));
    if !case.observed.documents.targets.is_empty() {
        let names: Vec<&str> = case
            .observed
            .documents
            .targets
            .iter()
            .map(|target| target.name.as_deref().unwrap_or("a storage target"))
            .collect();
        residual_risks.push(ResidualRisk {
            name: "beyond-s3",
            what: format!(
                "what is loaded into {} leaves S3: how it is encrypted there was not looked at",
                names.join(", ")
            ),
            source: "EmrEtlRunner, storage targets",
        });
    }
    residual_risks
}

/// The facts about certificates created by EMR that only the security configuration states.
fn emr_certificates(case: &Case<'_>) -> Option<ResidualRisk> {
    let found = case.facts.security_configuration.as_ref()?.found()?;
    let is_asked = case.policy.requires(Protection::InTransit) && found.content.in_transit_enabled;
    let tls = found.content.tls.as_ref().filter(|tls| is_asked && tls.is_by_emr())?;
    let secret = tls.secret.as_deref().map_or_else(
        || "the secret with the certificate of their authority".to_owned(),
        |arn| format!("the secret with the certificate of their authority ({arn})"),
    );
    let tags = if tls.secret_tags.is_empty() {
        String::new()
    } else {
        let tags: Vec<&str> = tls.secret_tags.iter().map(String::as_str).collect();
        format!(", nor whether it has the tags ({}) that were asked for", tags.join(", "))
    };
    Some(ResidualRisk {
        name: "emr-managed-certificates",
        what: format!(
            "EMR makes and keeps the certificates for traffic between nodes: their names and \
             their end are what the security configuration asks for; the certificates themselves \
             were not looked at, nor {secret}{tags}"
        ),
        source: "Amazon EMR management guide, Create a security configuration \
            (CertificateProviderType EMR)",
    })
}

/// Decisions made outside the account, which the guard cannot read.
fn by_others(case: &Case<'_>) -> impl Iterator<Item = ResidualRisk> {
    let simulated = case.facts.keys.values().flat_map(|facts| facts.identity.values());
    let is_member = simulated
        .filter_map(Lookup::found)
        .flat_map(|simulation| simulation.0.values())
        .any(|simulated| simulated.organization.is_some());
    let organization = is_member.then(|| ResidualRisk {
        name: "organization-policies",
        what: "the account is part of an organisation: what its policies allow at the launch is \
            known only as far as IAM simulates them, and resource control policies not at \
            all"
        .to_owned(),
        source: "AWS IAM user guide, Testing IAM policies with the IAM policy simulator",
    });
    let own = case.facts.launch_account().map(AccountId::as_str);
    let keys = case.facts.keys.values().filter_map(|facts| facts.description.found());
    let accounts: BTreeSet<&str> = keys
        .filter_map(|key| key.arn.account())
        .filter(|account| own.is_some_and(|own| own != *account))
        .collect();
    let foreign = (!accounts.is_empty()).then(|| ResidualRisk {
        name: "key-policies-of-other-accounts",
        what: format!(
            "keys of other accounts are used ({}): who else may use or end them is decided there, \
             and was not looked at",
            accounts.into_iter().collect::<Vec<_>>().join(", ")
        ),
        source: "AWS KMS developer guide, Allowing users in other accounts to use a KMS key",
    });
    organization.into_iter().chain(foreign)
}

/// Requirements that the policy leaves out.
fn left_out(policy: &Policy) -> impl Iterator<Item = ResidualRisk> {
    let all = [
        (Protection::S3AtRest, "encryption at rest in S3"),
        (Protection::LocalDisk, "encryption of local disks"),
        (Protection::InTransit, "encryption in transit"),
    ];
    let source = "settings of emr-etl-guard";
    let protections = all.into_iter().filter(|(protection, _)| !policy.requires(*protection)).map(
        move |(_, name)| ResidualRisk {
            name: "not-required",
            what: format!("{name} is not required by the policy"),
            source,
        },
    );
    let data = (policy.data_objects == 0).then(|| ResidualRisk {
        name: "data-not-looked-at",
        what: "the objects that the run will read were not looked at (`data_objects: 0`)"
            .to_owned(),
        source,
    });
    let written = (policy.confirm_objects == Some(0)).then(|| ResidualRisk {
        name: NOT_LOOKED_AT,
        what: "the objects that the run writes are not looked at (`confirm_objects: 0`)".to_owned(),
        source,
    });
    protections.chain(data).chain(written)
}

const NOT_LOOKED_AT: &str = "written-not-looked-at";

/// The risks that remain after the run, depending on whether its output was read.
pub(crate) fn after_the_run(
    objects: OutputCheck,
    written: &[OutputSurvey],
) -> impl Iterator<Item = ResidualRisk> {
    let left = match objects {
        OutputCheck::Leave(why) => Some(ResidualRisk {
            name: NOT_LOOKED_AT,
            what: format!("the objects that the run wrote were not looked at: {why}"),
            source: "the end of this run",
        }),
        // Risks from the policy are reported with the verdict already.
        OutputCheck::Look | OutputCheck::SwitchedOff | OutputCheck::None => None,
    };
    let sampled = written
        .iter()
        .filter(|written| {
            written.cut_short.is_none() && written.survey.looked_at < written.survey.objects
        })
        .map(|written| ResidualRisk {
            name: "written-sampled",
            what: format!(
                "of the {} objects that the run wrote to {}, an even sample of {} was looked at",
                written.survey.objects, written.role, written.survey.looked_at
            ),
            source: "settings of emr-etl-guard, `confirm_objects`",
        });
    let logs = written.iter().filter(|written| written.role == LOG).map(|written| ResidualRisk {
        name: "later-logs",
        what: format!(
            "EMR brings logs up to some minutes after a cluster's end: {} objects were there, \
             what comes later was not looked at",
            written.survey.objects
        ),
        source: "Amazon EMR management guide, View log files: Archived to Amazon S3",
    });
    left.into_iter().chain(sampled).chain(logs)
}

/// Data that was read only in part.
fn partly_seen(case: &Case<'_>) -> impl Iterator<Item = ResidualRisk> {
    let surveys = case.facts.data.iter().filter_map(|(role, lookup)| Some((role, lookup.found()?)));
    let sampled =
        surveys.filter(|(_, survey)| survey.looked_at < survey.objects).map(|(role, survey)| {
            ResidualRisk {
                name: "data-sampled",
                what: format!(
                    "of the {} objects in {role}, an even sample of {} was looked at",
                    survey.objects, survey.looked_at
                ),
                source: "settings of emr-etl-guard, `data_objects`",
            }
        });
    let versioned: Vec<&str> = case
        .facts
        .buckets
        .iter()
        .filter(|(_, facts)| matches!(&facts.versioning, Lookup::Found(Some(_))))
        .map(|(bucket, _)| bucket.as_str())
        .collect();
    let versions = (!versioned.is_empty()).then(|| ResidualRisk {
        name: "earlier-versions",
        what: format!(
            "earlier versions of objects were not looked at, in {}",
            versioned.join(", ")
        ),
        source: "Amazon S3 user guide, Retaining multiple versions of objects with S3 Versioning",
    });
    sampled.chain(versions)
}
