//! Checks on every KMS key that the security configuration and the buckets' defaults name.

use std::collections::BTreeSet;

use crate::{
    base::{aws_calls, lookup::Lookup, names::KeyReference, text::shown},
    checks::{
        buckets,
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage, Status},
        fix::FixTemplate,
        security_configuration,
    },
    facts::{
        kms::{KeyFacts, KeyUse, KmsKey},
        s3::DefaultEncryption,
    },
    settings::policy::{EncryptionKind, Protection},
};

pub(super) static EXISTS: Check = Check {
    name: "kms-key-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A cluster whose key is gone fails while it starts, after minutes, or cannot read what \
        was written.",
    looks_at: "kms:DescribeKey on each key of the security configuration and of the buckets' \
        defaults.",
    asks: &[&aws_calls::DESCRIBE_KEY],
    fix: "name a key that exists in a new security configuration; list them with: `aws kms \
        list-aliases`",
    source: "AWS KMS API reference, DescribeKey",
};

pub(super) static ENABLED: Check = Check {
    name: "kms-key-enabled",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A disabled key, or one about to be deleted, stops the cluster, and what was written \
        under it can no longer be read.",
    looks_at: "KeyState of kms:DescribeKey.",
    asks: &[&aws_calls::DESCRIBE_KEY],
    fix: "`aws kms enable-key --key-id {key}` (first cancel its deletion, where that is pending)",
    source: "AWS KMS developer guide, Key states of AWS KMS keys",
};

pub(super) static SYMMETRIC: Check = Check {
    name: "kms-key-symmetric",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EMR and S3 use only symmetric keys; with another kind the cluster does not start.",
    looks_at: "KeySpec and KeyUsage of kms:DescribeKey.",
    asks: &[&aws_calls::DESCRIBE_KEY],
    fix: "create a symmetric key (`aws kms create-key`) and name it in a new security \
        configuration",
    source: "Amazon EMR management guide, Create keys and certificates for data encryption",
};

pub(super) static REGION: Check = Check {
    name: "kms-key-region",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A key of another region cannot be used by the cluster.",
    looks_at: "The region in the key's ARN, against aws.emr.region.",
    asks: &[&aws_calls::DESCRIBE_KEY],
    fix: "name a key of the cluster's region in a new security configuration",
    source: "Amazon EMR management guide, Create keys and certificates for data encryption",
};

pub(super) static ROTATION: Check = Check {
    name: "kms-key-rotation",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Most rules on regulated data ask that key material be rotated; KMS does it once a year \
        if rotation is on.",
    looks_at: "kms:GetKeyRotationStatus.",
    asks: &[&aws_calls::GET_KEY_ROTATION_STATUS],
    fix: "`aws kms enable-key-rotation --key-id {key}`",
    source: "AWS KMS developer guide, Rotate AWS KMS keys",
};

pub(super) static CUSTOMER_MANAGED: Check = Check {
    name: "kms-key-customer-managed",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The policy of a key that AWS manages can be neither read as a rule nor changed: \
        everybody whom IAM allows in the account may use it, and it cannot be disabled.",
    looks_at: "KeyManager of kms:DescribeKey, and buckets whose default is KMS without a key of \
        their own.",
    asks: &[&aws_calls::DESCRIBE_KEY],
    fix: "create a key of your own (`aws kms create-key`) and name it in place of {subject}",
    source: "AWS KMS developer guide, AWS managed keys",
};

pub(super) static LOCAL_DISK: Check = Check {
    name: "local-disk-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Whoever controls the key of the disks decides who can read them, and can cut the cluster \
        off from its data: a key of another team or account is not the owner's choice.",
    looks_at: "AwsKmsKey of LocalDiskEncryptionConfiguration (with EnableEbsEncryption it is the \
        key of every EBS volume, too), against `expected_keys`.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &aws_calls::DESCRIBE_KEY],
    fix: "name one of `expected_keys` as AwsKmsKey of LocalDiskEncryptionConfiguration in a new \
        security configuration, or add the key to `expected_keys`",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption",
};

/// The fix for a key that will be deleted.
const KEEP: &str =
    "`aws kms cancel-key-deletion --key-id {key}`, then `aws kms enable-key --key-id {key}`";

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let uses = case.facts.key_uses();
    let unseen = unseen(case);
    for check in [&EXISTS, &ENABLED, &SYMMETRIC, &REGION, &ROTATION, &CUSTOMER_MANAGED] {
        if uses.is_empty() && unseen.is_empty() {
            findings.push(check.on("keys", "usable keys").not_applicable("no key is named"));
        }
        findings.extend(
            unseen
                .iter()
                .map(|(keys, first)| check.on(keys.as_str(), "usable keys").waiting_for(first)),
        );
    }
    keyless_defaults(case, findings);
    let region = &case.cluster.region.value;
    for (reference, uses) in &uses {
        let Some(facts) = case.facts.keys.get(reference) else { continue };
        let name = reference.as_str();
        // An ARN shows that the key is in another region. The regional endpoint cannot describe
        // such a key.
        if let Some((seen, _)) = reference.region_and_account().filter(|(seen, _)| seen != region) {
            findings.push(REGION.on(name, region.clone()).failed(seen));
            continue;
        }
        findings.push(EXISTS.on(name, "the key").by(
            &facts.description,
            "no such key",
            |subject, key| subject.passed(format!("{}, for {}", key.arn, used_for(uses))),
        ));
        let described = |check: &'static Check,
                         wanted: &'static str,
                         holds: fn(&KmsKey) -> bool,
                         saw: fn(&KmsKey) -> String| {
            let subject = check.on(name, wanted);
            match &facts.description {
                Lookup::Absent => subject.waiting_for(&EXISTS),
                lookup => subject.by(lookup, "no such key", |subject, key| {
                    let finding = subject.decided(holds(key), saw(key));
                    let finding = if finding.status == Status::Failed && key.deletion.is_some() {
                        finding.with_fix(FixTemplate::new(KEEP))
                    } else {
                        finding
                    };
                    finding.with_value("key", key.arn.as_str())
                }),
            }
        };
        findings.push(described(&ENABLED, "Enabled", KmsKey::is_enabled, state));
        // A key under which the run writes nothing need not be the policy's choice.
        if is_archives(uses) {
            continue;
        }
        findings.push(described(
            &SYMMETRIC,
            "SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT",
            KmsKey::is_symmetric,
            |key| format!("{} for {}", key.spec, key.usage),
        ));
        let subject = REGION.on(name, region.clone());
        findings.push(match &facts.description {
            Lookup::Absent => subject.waiting_for(&EXISTS),
            lookup => subject.by(lookup, "no such key", |subject, key| {
                let seen = key.arn.region().unwrap_or("none");
                subject.decided(seen == region, seen)
            }),
        });
        let subject = CUSTOMER_MANAGED.on(name, "a key that the account manages itself");
        findings.push(match &facts.description {
            Lookup::Absent => subject.waiting_for(&EXISTS),
            lookup => subject.by(lookup, "no such key", |subject, key| {
                subject.decided(
                    !key.aws_managed,
                    if key.aws_managed { "AWS manages it" } else { "the account manages it" },
                )
            }),
        });
        let subject = ROTATION.on(name, "rotated every year");
        findings.push(match (facts.description.found(), &facts.rotation) {
            (None, _) => subject.waiting_for(&EXISTS),
            (Some(key), _) if key.aws_managed => {
                subject.passed("AWS manages it, and rotates it every year")
            }
            (Some(_), Lookup::Absent) => {
                subject.not_applicable("a kind of key that is never rotated")
            }
            (Some(key), lookup) => subject.by(lookup, "", |subject, rotated| {
                let saw = if *rotated { "rotation is on" } else { "rotation is off" };
                subject.decided(*rotated, saw).with_value("key", key.arn.as_str())
            }),
        });
    }
    findings.push(local_disk(case));
}

/// Whether the disks are under a key that the policy expects.
fn local_disk(case: &Case<'_>) -> Finding {
    let configuration = case.facts.security_configuration.as_ref();
    let name = case.security_configuration.unwrap_or("security configuration");
    let expected = &case.policy.expected_keys;
    if expected.is_empty() {
        return LOCAL_DISK.on(name, "any key").not_applicable("`expected_keys` names none");
    }
    let subject = LOCAL_DISK.on(name, format!("disks under {}", expected.join(" or ")));
    let Some(found) = configuration.and_then(Lookup::found) else {
        return subject.waiting_for(&security_configuration::EXISTS);
    };
    let disk = found.content.local_disk.as_ref().filter(|_| found.content.at_rest_enabled);
    let by_kms = disk.filter(|disk| disk.provider == "AwsKms");
    match (by_kms.and_then(|disk| disk.key.as_ref().map(|key| (disk, key))), disk) {
        (Some((disk, key)), _) => {
            let by = if disk.ebs { "EBS encryption" } else { "LUKS" };
            by_expected(case, subject, format!("{by} under {key}"), key)
        }
        (None, Some(disk)) if disk.provider == "Custom" => {
            subject.not_applicable("a custom key provider, which uses no key of KMS by itself")
        }
        (None, _) if case.policy.requires(Protection::LocalDisk) => {
            subject.waiting_for(&security_configuration::LOCAL_DISK_AT_REST)
        }
        (None, _) => subject.not_applicable("it encrypts no disks, and the policy asks for none"),
    }
}

/// Decides whether the policy expects `key`, which is `shown` with its use. Where a key could not
/// be looked up, it can be another name of a key that is expected.
pub(super) fn by_expected(
    case: &Case<'_>,
    subject: CheckSubject,
    shown: String,
    key: &KeyReference,
) -> Finding {
    if buckets::is_expected(case, key) {
        return subject.passed(shown);
    }
    let expected = case.policy.expected_keys.iter().map(|key| KeyReference::new(key));
    let unread = [key.clone()].into_iter().chain(expected).find(|key| {
        let is_lost = |facts: &KeyFacts| {
            matches!(facts.description, Lookup::Denied(_) | Lookup::Unreachable(_))
        };
        // The ARN of a key is its only one, whoever may look it up.
        !key.is_arn_of_key() && case.facts.keys.get(key).is_none_or(is_lost)
    });
    match unread {
        Some(unread) => subject.unknown(
            format!("{shown}; which key {unread} is could not be looked up"),
            format!("allow kms:DescribeKey on {unread}"),
        ),
        None => subject.failed(shown),
    }
}

/// Keys that are unknown because the configuration that names them was not read, and the check that
/// reports that. Without these entries, missing findings on keys would look like passed ones.
pub(super) fn unseen(case: &Case<'_>) -> Vec<(String, &'static Check)> {
    let mut unseen = Vec::new();
    if case.facts.security_configuration.as_ref().is_some_and(|lookup| lookup.found().is_none()) {
        unseen.push((
            "keys of the security configuration".to_owned(),
            &security_configuration::EXISTS,
        ));
    }
    let lost = |lookup: &Lookup<_>| matches!(lookup, Lookup::Denied(_) | Lookup::Unreachable(_));
    let buckets = case
        .facts
        .buckets
        .iter()
        .filter(|(_, facts)| lost(&facts.default_encryption))
        .map(|(bucket, _)| bucket.as_str());
    let buckets = buckets.collect::<Vec<_>>().join(", ");
    if !buckets.is_empty() {
        unseen.push((format!("default keys of {buckets}"), &buckets::DEFAULT_ENCRYPTION));
    }
    unseen
}

/// Buckets with SSE-KMS by default and without a key of their own.
fn keyless_defaults(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (bucket, facts) in &case.facts.buckets {
        if let Some(DefaultEncryption::Kind {
            kind: EncryptionKind::SseKms | EncryptionKind::DsseKms,
            key: None,
        }) = facts.default_encryption.found()
        {
            findings.push(
                CUSTOMER_MANAGED
                    .on(bucket.as_str(), "a key that the account manages itself")
                    .failed("KMS without a key: aws/s3, which AWS manages"),
            );
        }
    }
}

/// A key's state, with the date of its deletion if one is set.
fn state(key: &KmsKey) -> String {
    let ends =
        key.deletion.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    ends.map_or_else(|| key.state.clone(), |ends| format!("{}, gone at {}", key.state, shown(ends)))
}

/// Whether a key is used only for the certificate archive: then the run only reads with it.
fn is_archives(uses: &BTreeSet<KeyUse>) -> bool {
    uses.iter().all(|used| *used == KeyUse::Certificates)
}

fn used_for(uses: &BTreeSet<KeyUse>) -> String {
    let uses = uses.iter().map(|used| match used {
        KeyUse::S3 => "S3".to_owned(),
        KeyUse::BucketDefault(bucket) => format!("the default of {bucket}"),
        KeyUse::LocalDisk => "local disks".to_owned(),
        KeyUse::Ebs => "EBS volumes".to_owned(),
        KeyUse::CertificateSecret => "the secret of EMR's certificates".to_owned(),
        KeyUse::Certificates => "the archive of certificates".to_owned(),
        KeyUse::Expected => "the policy".to_owned(),
    });
    uses.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::lookup::{LookupError, LookupErrorKind},
        checks::{
            catalogue::of_cluster,
            finding::Status::{Failed, NotApplicable, Passed, Unknown},
            properties::{World, strict},
        },
        facts::{emr::LocalDisk, gather::Facts},
        settings::policy::Policy,
    };

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
    const FOREIGN: &str = "arn:aws:kms:eu-west-1:999999999999:key/2";

    fn under(key: &str, ebs: bool) -> LocalDisk {
        LocalDisk {
            provider: "AwsKms".to_owned(),
            key: Some(KeyReference::new(key)),
            custom_complete: false,
            s3_object: None,
            ebs,
        }
    }

    fn expecting(key: &str) -> Policy {
        Policy { expected_keys: vec![key.to_owned()], ..strict() }
    }

    /// The finding on these disks before a launch, which is the same on a running cluster.
    fn judged(
        disk: impl Into<Option<LocalDisk>>,
        policy: &Policy,
        change: fn(&mut Facts),
    ) -> (Status, String, Option<&'static str>) {
        let mut world = World::new(false, false);
        let Some(Lookup::Found(found)) = &mut world.facts.security_configuration else {
            unreachable!()
        };
        found.content.local_disk = disk.into();
        change(&mut world.facts);
        let of_disks = |findings: Vec<Finding>| {
            let mut findings =
                findings.into_iter().filter(|finding| finding.check.name == "local-disk-key");
            let finding = findings.next().unwrap();
            assert!(findings.next().is_none());
            finding
        };
        let finding = of_disks(world.findings(policy, &world.facts));
        let running = of_disks(of_cluster(&world.case(policy, &world.facts)));
        assert_eq!(finding.status, running.status);
        assert_eq!((&finding.saw, &finding.wanted), (&running.saw, &running.wanted));
        (finding.status, finding.saw.to_string(), finding.waits_for)
    }

    fn nothing(_: &mut Facts) {}

    #[test]
    fn disks_must_be_under_a_key_that_the_policy_names() {
        let expected = expecting(KEY);
        for (ebs, by) in [(true, "EBS encryption"), (false, "LUKS")] {
            let right = judged(under(KEY, ebs), &expected, nothing);
            assert_eq!(right, (Passed, format!("{by} under {KEY}"), None));
            let wrong = judged(under(FOREIGN, ebs), &expected, nothing);
            assert_eq!(wrong, (Failed, format!("{by} under {FOREIGN}"), None));
        }
        assert_eq!(judged(under(FOREIGN, true), &strict(), nothing).0, NotApplicable);
    }

    #[test]
    fn a_key_is_the_expected_one_in_whatever_form_it_is_named() {
        fn known_by_alias(facts: &mut Facts) {
            let described = facts.keys[&KeyReference::new(KEY)].clone();
            facts.keys.insert(KeyReference::new("alias/etl"), described);
        }
        assert_eq!(judged(under("alias/etl", true), &expecting(KEY), known_by_alias).0, Passed);
        assert_eq!(judged(under(KEY, true), &expecting("alias/etl"), known_by_alias).0, Passed);
        let foreign = judged(under(FOREIGN, true), &expecting("alias/etl"), known_by_alias);
        assert_eq!(foreign.0, Failed);
    }

    #[test]
    fn which_key_an_alias_is_can_be_unknown_and_the_arn_of_a_key_cannot() {
        fn denied(facts: &mut Facts) {
            let error = LookupError::new("kms:DescribeKey", LookupErrorKind::Denied, "no");
            for key in [KEY, FOREIGN, "alias/etl"] {
                let mut described = facts.keys[&KeyReference::new(KEY)].clone();
                described.description = Lookup::Denied(error.clone());
                facts.keys.insert(KeyReference::new(key), described);
            }
        }
        let alias = judged(under("alias/etl", true), &expecting(KEY), denied);
        let saw = "EBS encryption under alias/etl; which key alias/etl is could not be looked up";
        assert_eq!(alias, (Unknown, saw.to_owned(), None));
        assert_eq!(judged(under(KEY, true), &expecting("alias/etl"), denied).0, Unknown);
        assert_eq!(judged(under(KEY, true), &expecting(KEY), denied).0, Passed);
        // The owner of a key of another account need not let anybody look it up.
        assert_eq!(judged(under(FOREIGN, true), &expecting(KEY), denied).0, Failed);
    }

    #[test]
    fn without_a_key_of_kms_another_check_decides_or_none_has_to() {
        let lenient = Policy { require: Vec::new(), ..expecting(KEY) };
        for disk in [None, Some(LocalDisk { key: None, ..under(KEY, false) })] {
            let (status, _, waits_for) = judged(disk.clone(), &expecting(KEY), nothing);
            assert_eq!((status, waits_for), (Unknown, Some("local-disk-at-rest")));
            assert_eq!(judged(disk, &lenient, nothing).0, NotApplicable);
        }
        let custom = LocalDisk { provider: "Custom".to_owned(), ..under(KEY, false) };
        assert_eq!(judged(Some(custom), &expecting(KEY), nothing).0, NotApplicable);
        let unread: fn(&mut Facts) = |facts| {
            let error = LookupError::new("x:Y", LookupErrorKind::Denied, "no");
            facts.security_configuration = Some(Lookup::Denied(error));
        };
        let waiting = judged(under(KEY, true), &expecting(KEY), unread);
        assert_eq!((waiting.0, waiting.2), (Unknown, Some("security-configuration-exists")));
    }
}
