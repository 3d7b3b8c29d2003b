//! Checks on what the cluster will be: an EMR release that can do what is required, in a subnet.

use super::{Case, Check, Finding, Level, Stage, security_configuration};
use crate::{aws::calls, facts::emr::Content, names::ReleaseLabel, settings::Protection};

pub(super) static RELEASE: Check = Check {
    name: "release-supports-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An EMR release older than a feature of the security configuration ignores it or does not start.",
    looks_at: "aws.emr.ami_version, against what the security configuration uses.",
    asks: &[&calls::DESCRIBE_SECURITY_CONFIGURATION],
    mend: "raise aws.emr.ami_version to the release named",
    source: "Amazon EMR release guide: security configurations 4.8.0, EBS encryption 5.24.0, EMR-managed certificates 7.11.0",
};

pub(super) static SUBNET: Check = Check {
    name: "subnet-set",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Encryption in transit needs a VPC: the certificates are made for names such as *.ec2.internal.",
    looks_at: "aws.emr.ec2_subnet_id.",
    asks: &[],
    mend: "set aws.emr.ec2_subnet_id to a subnet of the VPC",
    source: "Amazon EMR management guide, Encryption in transit; setup guide, Setting up end to end encryption",
};

/// Security configurations exist since this release.
const FIRST_WITH_SECURITY_CONFIGURATIONS: ReleaseLabel = ReleaseLabel::new(4, 8, 0);
/// `EnableEbsEncryption` works since this release.
const FIRST_WITH_EBS_ENCRYPTION: ReleaseLabel = ReleaseLabel::new(5, 24, 0);
/// The certificate provider `EMR` exists since this release.
const FIRST_WITH_EMR_CERTIFICATES: ReleaseLabel = ReleaseLabel::new(7, 11, 0);

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    findings.push(release(case));

    let subnet = case.config.subnet.as_ref();
    let subject = SUBNET.on("aws.emr.ec2_subnet_id", "a subnet").at(subnet.map(|subnet| subnet.at.as_str()));
    findings.push(if case.policy.requires(Protection::InTransit) {
        match subnet {
            Some(subnet) if !subnet.value.trim().is_empty() => subject.proved(subnet.value.clone()),
            _ => subject.refuted("blank"),
        }
    } else {
        subject.not_applicable("encryption in transit is not required by policy")
    });
}

/// What the security configuration uses decides from which release on it works.
fn release(case: &Case<'_>) -> Finding {
    let release = &case.config.release;
    let decide = |first: ReleaseLabel, feature: &str| {
        let subject = RELEASE.on("aws.emr.ami_version", format!("{first} or later, for {feature}")).at(Some(&release.at));
        subject.decided(release.value >= first, release.value.to_string())
    };
    match &case.facts.security_configuration {
        // Too old for any security configuration is too old for this one, whatever is in it.
        Some(lookup) if release.value >= FIRST_WITH_SECURITY_CONFIGURATIONS => {
            let subject = RELEASE.on("aws.emr.ami_version", "the release that the security configuration needs").at(Some(&release.at));
            subject.after(&security_configuration::EXISTS, lookup, |_, found| {
                let (first, feature) = needed(&found.content);
                decide(first, feature)
            })
        }
        _ => decide(FIRST_WITH_SECURITY_CONFIGURATIONS, "security configurations"),
    }
}

/// The release that a security configuration needs, and for what.
fn needed(content: &Content) -> (ReleaseLabel, &'static str) {
    if content.tls.as_ref().is_some_and(|tls| tls.provider == "EMR") {
        (FIRST_WITH_EMR_CERTIFICATES, "certificates that EMR manages")
    } else if content.local_disk.as_ref().is_some_and(|disk| disk.ebs) {
        (FIRST_WITH_EBS_ENCRYPTION, "EBS encryption")
    } else {
        (FIRST_WITH_SECURITY_CONFIGURATIONS, "security configurations")
    }
}
