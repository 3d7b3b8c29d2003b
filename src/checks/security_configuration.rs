//! Checks on the EMR security configuration: that it exists, and that each of its three protections
//! is really configured. A switch that is on proves nothing, so each protection is judged by its
//! own content.

use crate::{
    base::{aws_calls, names::ReleaseLabel, text::shown},
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage, Status},
        fix::FixTemplate,
        release_support::{self, FIRST_WITH_AES_RPC},
        sample_configuration,
    },
    facts::emr::Content,
    settings::policy::Protection,
};

pub(super) static EXISTS: Check = Check {
    name: "security-configuration-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Without a security configuration nothing on the cluster is encrypted: neither disks nor \
        traffic, nor what Spark writes by itself.",
    looks_at: "elasticmapreduce:DescribeSecurityConfiguration, in the region of aws.emr.region.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "create it from a file with its JSON (`emr-etl-guard check` prints one for the runner \
        config, `--fix-script FILE` writes it): `aws emr create-security-configuration --name \
        {subject} --security-configuration file://emr-security-configuration.json`; or name \
        another one in the runner config or the setting `security_configuration`",
    source: "Setup guide, Setting up end to end encryption, EMR security configuration; Amazon \
        EMR management guide, Create a security configuration",
};

pub(super) static S3_AT_REST: Check = Check {
    name: "s3-at-rest",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "What Spark writes through EMRFS (bad rows among it) is encrypted by the security \
        configuration's S3 part, not by the runner's flag.",
    looks_at: "EnableAtRestEncryption and \
        AtRestEncryptionConfiguration.S3EncryptionConfiguration, with the key or class its mode \
        needs.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "add S3EncryptionConfiguration with a mode (and its key) to a new security \
        configuration; one that exists cannot be changed",
    source: "Amazon EMR management guide, Encryption options: Encryption at rest for EMRFS data \
        in Amazon S3",
};

pub(super) static LOCAL_DISK_AT_REST: Check = Check {
    name: "local-disk-at-rest",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "HDFS blocks, shuffle files and spills hold the data in clear on the instances' disks.",
    looks_at: "EnableAtRestEncryption and \
        AtRestEncryptionConfiguration.LocalDiskEncryptionConfiguration, with its key or provider.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "add LocalDiskEncryptionConfiguration with AwsKms, a key and EnableEbsEncryption to a \
        new security configuration; one that exists cannot be changed",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption",
};

pub(super) static IN_TRANSIT: Check = Check {
    name: "in-transit",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Shuffle and Spark RPC send the data between nodes in clear.",
    looks_at: "EnableInTransitEncryption and \
        InTransitEncryptionConfiguration.TLSCertificateConfiguration, with the certificates its \
        provider needs.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "add TLSCertificateConfiguration (PEM with an S3Object, or Custom with its class) to a \
        new security configuration; one that exists cannot be changed",
    source: "Amazon EMR management guide, Encryption options: Encryption in transit",
};

pub(super) static NO_KERBEROS: Check = Check {
    name: "kerberos-not-configured",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A security configuration with Kerberos needs KerberosAttributes in RunJobFlow, which \
        EmrEtlRunner cannot send: the cluster would fail.",
    looks_at: "AuthenticationConfiguration.KerberosConfiguration of the security configuration.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "name a security configuration without Kerberos",
    source: "Amazon EMR management guide, Configuring Kerberos on Amazon EMR; EmrEtlRunner, \
        emr_job.rb",
};

pub(super) static METADATA_SERVICE: Check = Check {
    name: "instance-metadata-v2",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Over version 1 of the instance metadata service, any program on a node that can be made \
        to fetch a URL gives away the role's credentials, and with them what S3 and KMS decrypt.",
    looks_at: "InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion of the \
        security configuration.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "add \"InstanceMetadataServiceConfiguration\": \
        {\"MinimumInstanceMetadataServiceVersion\": 2, \"HttpPutResponseHopLimit\": 1} to a new \
        security configuration (EMR 5.23.1, 5.27.1, 5.32 or 6.2 and later)",
    source: "Amazon EMR management guide, Create a security configuration (Configure EC2 instance \
        metadata service)",
};

/// The fix if no name is given.
const NAME_ONE: &str = "name one that protects as required in the runner config \
    (aws.emr.security_configuration) or the setting `security_configuration`; those of the region \
    are listed by `aws emr list-security-configurations`; a new one is created from a file with \
    its JSON (`emr-etl-guard check` prints one for the runner config, `--fix-script FILE` writes \
    it) by `aws emr create-security-configuration --name {subject} --security-configuration \
    file://emr-security-configuration.json`";

/// The name for a new one if no name is given.
const NEW_NAME: &str = "emr-etl-guard-encryption";

/// Decides about one protection: what was seen if it is configured, or what is missing.
type ProtectionTest = fn(&Content, &ReleaseLabel) -> Result<String, String>;

static PROTECTIONS: [(&Check, Protection, ProtectionTest); 3] = [
    (&S3_AT_REST, Protection::S3AtRest, s3_at_rest),
    (&LOCAL_DISK_AT_REST, Protection::LocalDisk, local_disk),
    (&IN_TRANSIT, Protection::InTransit, in_transit),
];

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let at = case.cluster.security_configuration.as_ref().map(|located| located.at.as_str());
    let (Some(name), Some(lookup)) =
        (case.security_configuration, &case.facts.security_configuration)
    else {
        let unnamed = EXISTS
            .on("security configuration", "a name")
            .at(at)
            .failed("neither the runner config nor the settings name one");
        let fix = FixTemplate::new(NAME_ONE).word("subject", NEW_NAME);
        let sample = sample_configuration::script(case, NEW_NAME);
        findings.push(unnamed.with_fix(fix.script(sample)));
        let required =
            PROTECTIONS.iter().filter(|(_, protection, _)| case.policy.requires(*protection));
        findings.extend(required.map(|(check, ..)| {
            check.on("security configuration", "configured").at(at).waiting_for(&EXISTS)
        }));
        findings.extend([&NO_KERBEROS, &METADATA_SERVICE].map(|check| {
            check.on("security configuration", "configured").at(at).waiting_for(&EXISTS)
        }));
        return;
    };
    let exists = EXISTS.on(name, "the security configuration").at(at).by(
        lookup,
        "no such security configuration",
        |subject, found| {
            subject.passed(format!(
                "created {}, SHA-256 {}",
                shown(found.created),
                short(&found.digest)
            ))
        },
    );
    findings.push(if exists.status == Status::Failed {
        let fix = EXISTS.fix_of(&exists.subject).script(sample_configuration::script(case, name));
        exists.with_fix(fix)
    } else {
        exists
    });
    findings.push(NO_KERBEROS.on(name, "no Kerberos").at(at).after(
        &EXISTS,
        lookup,
        |subject, found| {
            subject.decided(
                !found.content.kerberos,
                if found.content.kerberos { "a KerberosConfiguration" } else { "none" },
            )
        },
    ));
    findings.push(METADATA_SERVICE.on(name, "version 2 at least").at(at).after(
        &EXISTS,
        lookup,
        |subject, found| match found.content.metadata_service {
            Some(version) => subject.decided(version >= 2, format!("version {version}")),
            None => subject.failed("nothing, for which EMR allows version 1"),
        },
    ));
    for (check, protection, judge) in &PROTECTIONS {
        let subject = check.on(name, "configured").at(at);
        findings.push(if case.policy.requires(*protection) {
            subject.after(&EXISTS, lookup, |subject, found| {
                match judge(&found.content, &case.cluster.release.value) {
                    Ok(saw) => subject.passed(saw),
                    Err(missing) => subject.failed(missing),
                }
            })
        } else {
            subject.not_applicable("not required by policy")
        });
    }
}

/// Whether `content` has every protection of `require` on `release`: what was seen, or what is
/// missing.
pub(crate) fn protects(
    content: &Content,
    release: &ReleaseLabel,
    require: &[Protection],
) -> Result<String, String> {
    let (first, feature) = release_support::needed(content);
    if *release < first {
        return Err(format!("{release}, where {feature} need {first} or later"));
    }
    let judged = PROTECTIONS.iter().filter(|(_, protection, _)| require.contains(protection));
    let judged: Vec<(Protection, Result<String, String>)> =
        judged.map(|(_, protection, judge)| (*protection, judge(content, release))).collect();
    let told = |wanted: bool| -> Vec<String> {
        let texts = judged.iter().filter(|(_, told)| told.is_ok() == wanted);
        texts
            .map(|(protection, told)| {
                format!(
                    "{}: {}",
                    protection.name(),
                    told.as_ref().unwrap_or_else(|missing| missing)
                )
            })
            .collect()
    };
    if told(false).is_empty() { Ok(told(true).join("; ")) } else { Err(told(false).join("; ")) }
}

/// The start of a digest, enough to compare by eye.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn s3_at_rest(content: &Content, _: &ReleaseLabel) -> Result<String, String> {
    if !content.at_rest_enabled {
        return Err("EnableAtRestEncryption is off".to_owned());
    }
    let Some(s3) = &content.s3 else {
        return Err("at-rest encryption is switched on, but its S3 part is empty".to_owned());
    };
    match (s3.mode.as_str(), &s3.key) {
        ("SSE-S3", _) => Ok("SSE-S3".to_owned()),
        ("SSE-KMS" | "CSE-KMS", Some(key)) => Ok(format!("{} under {key}", s3.mode)),
        ("SSE-KMS" | "CSE-KMS", None) => Err(format!("{} without AwsKmsKey", s3.mode)),
        ("CSE-Custom", _) if s3.provider_class.is_some() && s3.s3_object.is_some() => {
            Ok("CSE-Custom".to_owned())
        }
        ("CSE-Custom", _) => {
            Err("CSE-Custom without S3Object and EncryptionKeyProviderClass".to_owned())
        }
        (other, _) => Err(format!("the unknown mode `{other}`")),
    }
}

fn local_disk(content: &Content, _: &ReleaseLabel) -> Result<String, String> {
    if !content.at_rest_enabled {
        return Err("EnableAtRestEncryption is off".to_owned());
    }
    let Some(disk) = &content.local_disk else {
        return Err(
            "at-rest encryption is switched on, but its local-disk part is empty".to_owned()
        );
    };
    match (disk.provider.as_str(), &disk.key) {
        ("AwsKms", Some(key)) if disk.ebs => {
            Ok(format!("EBS encryption, root volumes included, under {key}"))
        }
        ("AwsKms", Some(key)) => {
            Ok(format!("LUKS on data volumes (root volumes not included) under {key}"))
        }
        ("AwsKms", None) => Err("AwsKms without AwsKmsKey".to_owned()),
        ("Custom", _) if disk.custom_complete => {
            Ok("LUKS on data volumes (root volumes not included) by a custom key provider"
                .to_owned())
        }
        ("Custom", _) => Err("Custom without S3Object and EncryptionKeyProviderClass".to_owned()),
        (other, _) => Err(format!("the unknown provider `{other}`")),
    }
}

fn in_transit(content: &Content, release: &ReleaseLabel) -> Result<String, String> {
    if !content.in_transit_enabled {
        return Err("EnableInTransitEncryption is off".to_owned());
    }
    let Some(tls) = &content.tls else {
        return Err("in-transit encryption is switched on, but it names no certificates".to_owned());
    };
    let object = tls.s3_object.as_deref();
    let by = match (tls.provider.as_str(), object, &tls.provider_class) {
        ("PEM", Some(object), _) => format!("PEM certificates of {object}"),
        ("Custom", Some(object), Some(class)) => format!("certificates by {class} of {object}"),
        ("EMR", _, _) => "certificates that EMR manages".to_owned(),
        ("PEM", None, _) => return Err("PEM without S3Object".to_owned()),
        ("Custom", _, _) => {
            return Err("Custom without S3Object and CertificateProviderClass".to_owned());
        }
        (other, _, _) => return Err(format!("the unknown certificate provider `{other}`")),
    };
    let spark =
        if *release >= FIRST_WITH_AES_RPC { "AES" } else { "SASL DIGEST-MD5 (AES from 5.9.0 on)" };
    Ok(format!("{by}; Spark RPC by {spark}"))
}
