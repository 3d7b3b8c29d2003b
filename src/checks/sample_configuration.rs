//! A complete security configuration for the current run, as shell lines: a variable for each value
//! that only the owner knows, a file with the JSON, and the command that creates it.

use serde_json::{Value, json};

use crate::{
    base::{
        names::{KeyReference, ReleaseLabel},
        printable::{Printable, printable},
    },
    checks::{
        case::Case,
        fix::FixTemplate,
        node_names::regional_domain,
        release_support::{
            FIRST_WITH_AES_RPC, FIRST_WITH_EBS_ENCRYPTION, FIRST_WITH_EMR_CERTIFICATES,
        },
    },
    facts::s3::DefaultEncryption,
    settings::policy::EncryptionKind,
};

/// The file to which the pasted commands write the JSON.
const FILE: &str = "emr-security-configuration.json";
/// The command that creates it, in the form of the catalogue's templates.
const CREATE: &str = "`aws emr create-security-configuration --name {subject} \
    --security-configuration file://emr-security-configuration.json`";
/// The shell's end marker of the JSON.
const END: &str = "END_OF_JSON";
/// Since these releases of the lines 5 and 6, version 2 of the metadata service can be required.
/// Source: Amazon EMR management guide, Create a security configuration.
const FIRST_WITH_METADATA_V2: [ReleaseLabel; 2] =
    [ReleaseLabel::new(5, 32, 0), ReleaseLabel::new(6, 2, 0)];

/// A variable that the user has to set.
struct Unset {
    name: &'static str,
    meaning: String,
}

impl Unset {
    /// The placeholder in the JSON until the shell replaces it.
    fn token(&self) -> String {
        format!("@{}@", self.name)
    }
}

/// The shell lines that create a security configuration called `name` with everything that the
/// guide requires, as far as the run's release supports it.
pub(super) fn script(case: &Case<'_>, name: &str) -> Vec<Printable> {
    let release = &case.cluster.release.value;
    let region = &case.cluster.region.value;
    let key = Unset {
        name: "EMR_KMS_KEY_ARN",
        meaning: format!(
            "the ARN of a symmetric KMS key in {region} that the role of {} may use",
            case.cluster.instance_profile.value
        ),
    };
    let certificates = Unset {
        name: "EMR_CERTIFICATES_S3_URI",
        meaning: format!(
            "the S3 URI of a zip archive with privateKey.pem and certificateChain.pem for *.{}",
            regional_domain(region)
        ),
    };
    let known_key = known_key(case);
    let json = configuration(case, known_key.as_deref(), &key.token(), &certificates.token());
    let text = serde_json::to_string_pretty(&json).unwrap_or_default();
    let unset: Vec<&Unset> =
        [&key, &certificates].into_iter().filter(|unset| text.contains(&unset.token())).collect();
    let mut lines =
        vec![printable!("# A security configuration for {release}, with {}.", spark_rpc(release))];
    for Unset { name, meaning } in &unset {
        lines.push(printable!("# Set {name} in the next line to {}.", Printable::from(meaning)));
        lines.push(printable!("{name}=\"${{{name}:-}}\""));
        // A script stops here. An interactive shell continues with the next pasted line, and meets
        // the same check below.
        lines.push(printable!(": \"${{{name}:?set it in the line above}}\""));
    }
    let create = FixTemplate::new(CREATE).word("subject", name).fill(case.commands).text;
    // In an unquoted here-document the shell interprets these three characters.
    let escaped = text.replace('\\', r"\\").replace('$', r"\$").replace('`', r"\`");
    let filled = unset.iter().fold(escaped, |text, unset| {
        text.replace(&unset.token(), &format!("${{{}:?set it as said above}}", unset.name))
    });
    lines.push(printable!("cat > {FILE} <<{END} && {create}"));
    lines.extend(filled.lines().map(Printable::from));
    lines.push(printable!("{END}"));
    lines
}

fn spark_rpc(release: &ReleaseLabel) -> &'static str {
    if *release >= FIRST_WITH_AES_RPC {
        "Spark RPC by AES"
    } else {
        "Spark RPC by SASL DIGEST-MD5, because AES needs EMR 5.9.0"
    }
}

/// A key that the policy requires. If there is none, a key that already encrypts a bucket of the
/// run and can also encrypt the cluster's disks.
fn known_key(case: &Case<'_>) -> Option<String> {
    if let Some(expected) = case.policy.expected_keys.first() {
        let resolved = case.facts.resolved(&KeyReference::new(expected));
        return Some(resolved.unwrap_or(expected).to_owned());
    }
    let defaults = case.facts.buckets.values().filter_map(|facts| {
        let DefaultEncryption::Kind { key: Some(key), .. } = facts.default_encryption.found()?
        else {
            return None;
        };
        case.facts.keys.get(&KeyReference::new(key))?.description.found()
    });
    let usable = |key: &&crate::facts::kms::KmsKey| {
        key.is_enabled()
            && key.is_symmetric()
            && !key.aws_managed
            && key.arn.region() == Some(&case.cluster.region.value)
    };
    defaults.into_iter().find(usable).map(|key| key.arn.as_str().to_owned())
}

fn configuration(
    case: &Case<'_>,
    known_key: Option<&str>,
    unknown_key: &str,
    certificates: &str,
) -> Value {
    let key = known_key.unwrap_or(unknown_key);
    let accepts = |kind| case.policy.accept_encryption.contains(&kind);
    let by_key = accepts(EncryptionKind::SseKms) && known_key.is_some();
    ConfigurationParts {
        release: &case.cluster.release.value,
        s3_by_key: !accepts(EncryptionKind::SseS3) || by_key,
        key,
        certificates,
    }
    .content()
}

/// What decides about the content of a security configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigurationParts<'a> {
    /// The release of its clusters.
    pub(crate) release: &'a ReleaseLabel,
    /// Whether EMRFS encrypts by SSE-KMS under the key; else by SSE-S3.
    pub(crate) s3_by_key: bool,
    /// The KMS key of disks, and of S3 where that is by key.
    pub(crate) key: &'a str,
    /// The S3 URI of the certificate archive; not used where EMR makes the certificates.
    pub(crate) certificates: &'a str,
}

impl ConfigurationParts<'_> {
    /// The JSON that EMR stores: all three protections, as far as the release supports them.
    pub(crate) fn content(&self) -> Value {
        content(*self)
    }
}

/// Whether EMR makes the certificates for traffic between nodes.
pub(crate) fn has_emr_certificates(release: &ReleaseLabel) -> bool {
    *release >= FIRST_WITH_EMR_CERTIFICATES
}

/// Whether clusters of the release can require version 2 of the metadata service.
pub(crate) fn has_metadata_v2(release: &ReleaseLabel) -> bool {
    let [of_5, of_6] = FIRST_WITH_METADATA_V2;
    let before_6 = *release < ReleaseLabel::new(6, 0, 0);
    (before_6 && *release >= of_5) || *release >= of_6
}

fn content(parts: ConfigurationParts<'_>) -> Value {
    let ConfigurationParts { release, s3_by_key, key, certificates } = parts;
    let s3 = if s3_by_key {
        json!({"EncryptionMode": "SSE-KMS", "AwsKmsKey": key})
    } else {
        json!({"EncryptionMode": "SSE-S3"})
    };
    let mut disk = json!({"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": key});
    if *release >= FIRST_WITH_EBS_ENCRYPTION {
        disk["EnableEbsEncryption"] = json!(true);
    }
    let tls = if has_emr_certificates(release) {
        json!({"CertificateProviderType": "EMR"})
    } else {
        json!({"CertificateProviderType": "PEM", "S3Object": certificates})
    };
    let mut configuration = json!({
        "EncryptionConfiguration": {
            "EnableAtRestEncryption": true,
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": s3,
                "LocalDiskEncryptionConfiguration": disk,
            },
            "EnableInTransitEncryption": true,
            "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": tls},
        },
    });
    if has_metadata_v2(release) {
        configuration["InstanceMetadataServiceConfiguration"] =
            json!({"MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1});
    }
    configuration
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::{
        base::lookup::Lookup,
        checks::{finding::Status, properties::World},
        facts::emr::SecurityConfiguration,
        settings::policy::Policy,
    };

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    const ARCHIVE: &str = "s3://acme-certificates/emr.zip";

    /// The script's lines for a run of `release` whose security configuration does not exist.
    fn lines(world: &World, policy: &Policy) -> Vec<String> {
        let mut facts = world.facts.clone();
        facts.security_configuration = Some(Lookup::Absent);
        let findings = world.findings(policy, &facts);
        let exists = findings
            .iter()
            .find(|finding| finding.check.name == "security-configuration-exists")
            .unwrap();
        assert!(exists.has_script && exists.status == Status::Failed);
        exists.commands.iter().map(ToString::to_string).collect()
    }

    /// Runs the lines in a shell. Returns the arguments that `aws` got, and the JSON.
    fn run(lines: &[String], set: &[(&str, &str)]) -> Option<(Vec<String>, String)> {
        let folder = tempfile::tempdir().unwrap();
        // Another process writes the file: a file that this process has open for writing cannot be
        // executed.
        let stub = r#"printf '#!/bin/sh\nprintf "%%s\\n" "$@" > called\n' > aws; chmod 700 aws"#;
        let made = Command::new("sh").args(["-c", stub]).current_dir(folder.path()).status();
        assert!(made.unwrap().success());
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let status = Command::new("/bin/sh")
            .args(["-c", &lines.join("\n")])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", path)
            .envs(set.iter().copied())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        let called = fs::read_to_string(folder.path().join("called")).ok()?;
        assert!(status.success());
        let words = called.lines().map(str::to_owned).collect();
        Some((words, fs::read_to_string(folder.path().join(FILE)).unwrap()))
    }

    #[test]
    fn what_the_printed_commands_create_passes_the_checks_of_security_configurations() {
        let given = [("EMR_KMS_KEY_ARN", KEY), ("EMR_CERTIFICATES_S3_URI", ARCHIVE)];
        for release in ["emr-5.8.0", "emr-5.23.0", "emr-5.36.0", "emr-6.1.0", "emr-7.11.0"] {
            for kms in [false, true] {
                let mut world = World::new(kms, false);
                world.cluster.release.value = release.parse().unwrap();
                let policy = crate::checks::properties::strict();
                let lines = lines(&world, &policy);
                let (words, json) = run(&lines, &given).unwrap();
                assert_eq!(
                    words.join(" "),
                    "emr create-security-configuration --region eu-west-1 --name sc \
                     --security-configuration file://emr-security-configuration.json"
                );
                let found = SecurityConfiguration::for_tests(&json);
                if found.content.tls.as_ref().is_some_and(|tls| tls.provider == "EMR") {
                    world.facts.certificates = None;
                }
                world.facts.security_configuration = Some(Lookup::Found(found));
                for check in [
                    "security-configuration-exists",
                    "s3-at-rest",
                    "local-disk-at-rest",
                    "in-transit",
                    "kerberos-not-configured",
                    "release-supports-encryption",
                    "written-encryption",
                    "no-silent-downgrade",
                    "kms-key-exists",
                ] {
                    for (status, saw, _) in world.of_check(check) {
                        assert!(
                            matches!(status, Status::Passed | Status::NotApplicable),
                            "{release} kms={kms} {check}: {saw}\n{json}"
                        );
                    }
                }
                let metadata = world.of_check("instance-metadata-v2")[0].0 == Status::Passed;
                let expected = matches!(release, "emr-5.36.0" | "emr-7.11.0");
                assert_eq!(metadata, expected, "{release}: {json}");
            }
        }
    }

    #[test]
    fn what_nobody_can_know_is_a_variable_and_nothing_is_created_before_it_is_set() {
        let world = World::new(false, false);
        let lines = lines(&world, &crate::checks::properties::strict());
        insta::assert_snapshot!(lines.join("\n"));
        assert!(run(&lines, &[]).is_none());
        assert!(run(&lines, &[("EMR_KMS_KEY_ARN", KEY)]).is_none());
    }

    #[test]
    fn a_key_that_the_policy_expects_is_named_and_text_of_others_is_no_command() {
        let world = World::new(false, false);
        let evil = "k\"; $(touch ran) `touch ran` \\ @";
        let policy =
            Policy { expected_keys: vec![evil.to_owned()], ..crate::checks::properties::strict() };
        let lines = lines(&world, &policy);
        assert!(!lines.join("\n").contains("EMR_KMS_KEY_ARN"));
        let (_, json) = run(&lines, &[("EMR_CERTIFICATES_S3_URI", ARCHIVE)]).unwrap();
        let content = SecurityConfiguration::for_tests(&json).content;
        assert_eq!(content.local_disk.unwrap().key, Some(KeyReference::new(evil)));
    }
}
