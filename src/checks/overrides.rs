//! Checks on the runner config's own settings for the cluster: software properties, bootstrap
//! scripts, and the free text for EMR.

use crate::{
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    facts::weakening::{self, Weakening, WeakeningSeverity},
};

pub(super) static WEAKENS: Check = Check {
    name: "configuration-weakens-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "aws.emr.configuration becomes the cluster's Configurations. For traffic between nodes \
        these beat what EMR sets by the security configuration: one property can switch it off, \
        silently.",
    looks_at: "Each property of aws.emr.configuration, against the properties that are documented \
        to weaken encryption.",
    asks: &[],
    fix: "remove {subject} from aws.emr.configuration, or give it the value wanted",
    source: "Amazon EMR management guide, Encryption options (in-transit: settings can be \
        overridden using configuration classifications); Spark, Security; Hadoop, hdfs-default.xml",
};

pub(super) static REVIEW: Check = Check {
    name: "configuration-review",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Some properties may weaken encryption, depending on what else is set; no documentation \
        says so for EMR, so a person should look.",
    looks_at: "Each property of aws.emr.configuration, against those that touch endpoints, keys, \
        keystores and ciphers.",
    asks: &[],
    fix: "look at {subject}; remove it if it is not needed",
    source: "Amazon EMR release guide, Configure applications; Spark, Security; Hadoop, \
        core-default.xml",
};

pub(super) static BOOTSTRAP: Check = Check {
    name: "bootstrap-actions",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Bootstrap scripts run as root on every node before anything else: one that is fetched \
        over http, or lies in a bucket of others, can do as it likes with the data.",
    looks_at: "aws.emr.bootstrap.",
    asks: &[],
    fix: "put the script into a bucket of your own and name it by s3://",
    source: "Amazon EMR management guide, Create bootstrap actions; EmrEtlRunner, emr_job.rb",
};

pub(super) static ADDITIONAL_INFO: Check = Check {
    name: "additional-info",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "aws.emr.additional_info goes to RunJobFlow unchanged; what EMR does with it is not \
        documented, so nothing about it can be verified.",
    looks_at: "aws.emr.additional_info.",
    asks: &[],
    fix: "leave aws.emr.additional_info blank",
    source: "Amazon EMR API reference, RunJobFlow (AdditionalInfo); EmrEtlRunner, emr_job.rb",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let properties = &case.cluster.properties;
    let connector = case.cluster.s3_connector();
    let mut well = 0;
    for property in properties {
        let subject = format!("{} {}", property.classification, property.name);
        let found = weakening::judge(&property.classification, &property.name, &property.value);
        match found.map(|found| found.on(connector)) {
            None => well += 1,
            Some(Weakening { weight, hidden, effect, safe, .. }) => {
                let check = match weight {
                    WeakeningSeverity::Weakens => &WEAKENS,
                    WeakeningSeverity::Review => &REVIEW,
                };
                let subject = check.on(subject, safe).at(Some(&property.at));
                findings.push(if hidden {
                    subject.unknown(
                        format!(
                            "the value of a secret, which cannot be read here; unless it is \
                            {safe}, {effect}"
                        ),
                        "write the value itself into aws.emr.configuration; it is no secret",
                    )
                } else {
                    let value = weakening::shown(&property.name, &property.value);
                    subject.failed(format!("`{value}`: {effect}"))
                });
            }
        }
    }
    for check in [&WEAKENS, &REVIEW] {
        if !findings.iter().any(|finding| finding.check.name == check.name) {
            let saw = format!(
                "{} properties, none against it ({well} not known to touch encryption)",
                properties.len()
            );
            findings.push(
                check.on("aws.emr.configuration", "nothing that weakens encryption").passed(saw),
            );
        }
    }
    bootstrap(case, findings);
    let subject = || ADDITIONAL_INFO.on("aws.emr.additional_info", "blank");
    findings.push(
        match case.cluster.additional_info.as_ref().filter(|info| !info.value.trim().is_empty()) {
            None => subject().passed("blank"),
            Some(info) => subject()
                .at(Some(&info.at))
                .failed(format!("text of {} characters", info.value.chars().count())),
        },
    );
}

fn bootstrap(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.cluster.bootstrap_actions.is_empty() {
        findings.push(
            BOOTSTRAP
                .on("aws.emr.bootstrap", "scripts from buckets of one's own")
                .passed("none of one's own"),
        );
    }
    for script in &case.cluster.bootstrap_actions {
        let subject = BOOTSTRAP
            .on(script.value.as_str(), "a script in a bucket of this runner config")
            .at(Some(&script.at));
        let bucket = ["s3://", "s3n://", "s3a://"]
            .iter()
            .find_map(|scheme| script.value.strip_prefix(scheme))
            .and_then(|rest| rest.split('/').next());
        findings.push(match bucket {
            Some(bucket)
                if case
                    .paths
                    .locations
                    .iter()
                    .any(|location| location.bucket().as_str() == bucket) =>
            {
                subject.passed(format!("in {bucket}"))
            }
            Some(bucket) => {
                subject.failed(format!("in {bucket}, a bucket that nothing here proves"))
            }
            None if script.value.starts_with('/') => {
                subject.passed("a program of the machine image")
            }
            None => subject.failed("fetched from outside S3"),
        });
    }
}
