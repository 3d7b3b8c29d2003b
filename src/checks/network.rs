//! Checks on what the cluster will be: an EMR release that can do what is required, in a subnet.

use super::{Case, Check, Finding, Level, Stage};
use crate::{names::ReleaseLabel, settings::Protection};

pub(super) static RELEASE: Check = Check {
    name: "release-supports-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An EMR release older than a feature of the security configuration ignores it or does not start.",
    looks_at: "aws.emr.ami_version, against what the security configuration uses.",
    mend: "raise aws.emr.ami_version to the release named",
    source: "Amazon EMR release guide: security configurations 4.8.0, EBS encryption 5.24.0, EMR-managed certificates 7.11.0",
};

pub(super) static SUBNET: Check = Check {
    name: "subnet-set",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Encryption in transit needs a VPC: the certificates are made for names such as *.ec2.internal.",
    looks_at: "aws.emr.ec2_subnet_id.",
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
    let release = &case.config.release;
    let content = case.facts.security_configuration.as_ref().and_then(|lookup| lookup.found()).map(|found| &found.content);
    let mut needed = (FIRST_WITH_SECURITY_CONFIGURATIONS, "security configurations");
    if content.is_some_and(|content| content.local_disk.as_ref().is_some_and(|disk| disk.ebs)) {
        needed = (FIRST_WITH_EBS_ENCRYPTION, "EBS encryption");
    }
    if content.is_some_and(|content| content.tls.as_ref().is_some_and(|tls| tls.provider == "EMR")) {
        needed = (FIRST_WITH_EMR_CERTIFICATES, "certificates that EMR manages");
    }
    let (first, feature) = needed;
    let subject = RELEASE.on("aws.emr.ami_version", format!("{first} or later, for {feature}")).at(Some(&release.at));
    findings.push(subject.decided(release.value >= first, release.value.to_string()));

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
