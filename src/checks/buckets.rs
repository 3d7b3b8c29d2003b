//! Checks on the buckets that the runner config names.

use std::collections::BTreeMap;

use super::{Case, Check, Finding, Level, Stage};
use crate::{aws::calls, facts::s3::DefaultEncryption, names::BucketName, settings::EncryptionKind};

pub(super) static EXISTS: Check = Check {
    name: "bucket-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A bucket that does not exist fails the run half-way; one that somebody else creates under that name meanwhile would receive the data.",
    looks_at: "s3:HeadBucket on each bucket below aws.s3.buckets.",
    asks: &[&calls::HEAD_BUCKET],
    mend: "correct the name in the runner config, or create it: aws s3api create-bucket --bucket {subject}",
    source: "Setup guide, Setting up end to end encryption; Amazon S3 API reference, HeadBucket",
};

pub(super) static OWNER: Check = Check {
    name: "bucket-owner",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Data written to a bucket of another account leaves the encryption and the access rules of this one.",
    looks_at: "s3:HeadBucket with the launching account as expected owner.",
    asks: &[&calls::HEAD_BUCKET],
    mend: "use a bucket of the runner's own account, or, if it is only read, name it in the setting `external_buckets`",
    source: "Amazon S3 user guide, Verifying bucket ownership with bucket owner condition",
};

pub(super) static REGION: Check = Check {
    name: "bucket-region",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The runner talks to buckets in aws.s3.region; keys and endpoints of another region do not fit, and data would cross regions.",
    looks_at: "The region that s3:HeadBucket names.",
    asks: &[&calls::HEAD_BUCKET],
    mend: "set aws.s3.region to the bucket's region, or use a bucket of that region",
    source: "Amazon S3 API reference, HeadBucket (x-amz-bucket-region)",
};

pub(super) static DEFAULT_ENCRYPTION: Check = Check {
    name: "bucket-default-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EMR's logs, RDB Loader's logs, bad rows and the Clojure Collector's files are written without an encryption header: only the bucket's default protects them.",
    looks_at: "s3:GetBucketEncryption, against the kinds that the policy accepts.",
    asks: &[&calls::GET_BUCKET_ENCRYPTION],
    mend: "turn it on: aws s3api put-bucket-encryption --bucket {subject} --server-side-encryption-configuration '{\"Rules\":[{\"ApplyServerSideEncryptionByDefault\":{\"SSEAlgorithm\":\"aws:kms\",\"KMSMasterKeyID\":\"KEY_ARN\"}}]}' (AES256 without a key for SSE-S3)",
    source: "Setup guide, Setting up end to end encryption, S3 buckets; Amazon S3 user guide, Setting default server-side encryption",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (bucket, places) in buckets(case) {
        let at = places.first().map(String::as_str);
        let name = bucket.as_str();
        if case.policy.is_external(name) {
            findings.push(OWNER.on(name, "a bucket of the launching account").at(at).not_applicable("external by policy: only read"));
            continue;
        }
        let Some(facts) = case.facts.buckets.get(bucket) else {
            findings.push(EXISTS.on(name, "the bucket").at(at).not_applicable("this run does not touch it"));
            continue;
        };
        let region = &case.config.s3_region.value;
        findings.push(EXISTS.on(name, "the bucket").at(at).by(&facts.region, "no such bucket", |subject, _| subject.proved("it exists")));
        findings.push(
            REGION.on(name, region.clone()).at(at).by(&facts.region, "no such bucket", |subject, seen| subject.decided(seen == region, seen.clone())),
        );
        let account = case.facts.launch_account().map_or_else(|| "the launching account".to_owned(), |account| format!("account {account}"));
        findings.push(OWNER.on(name, account.clone()).at(at).by(&facts.ours, "no such bucket", |subject, ours| {
            subject.decided(*ours, if *ours { account } else { "a bucket of another account".to_owned() })
        }));
        findings.push(DEFAULT_ENCRYPTION.on(name, accepted(&case.policy.accept_encryption)).at(at).by(
            &facts.default_encryption,
            "no such bucket",
            |subject, default| match default {
                DefaultEncryption::Kind { kind, key } => {
                    let key = key.as_ref().map_or_else(String::new, |key| format!(" under {key}"));
                    subject.decided(case.policy.accept_encryption.contains(kind), format!("{}{key}", kind_name(*kind)))
                }
                DefaultEncryption::None => subject.refuted("no default encryption"),
                DefaultEncryption::Other(kind) => subject.refuted(format!("the unknown kind `{kind}`")),
            },
        ));
    }
}

/// Each bucket once, with the places in the config that name it.
fn buckets<'a>(case: &Case<'a>) -> BTreeMap<&'a BucketName, Vec<String>> {
    let mut buckets: BTreeMap<&BucketName, Vec<String>> = BTreeMap::new();
    for location in &case.config.locations {
        buckets.entry(location.bucket()).or_default().push(location.at.clone());
    }
    buckets
}

fn kind_name(kind: EncryptionKind) -> &'static str {
    match kind {
        EncryptionKind::SseS3 => "SSE-S3",
        EncryptionKind::SseKms => "SSE-KMS",
        EncryptionKind::DsseKms => "DSSE-KMS",
    }
}

fn accepted(kinds: &[EncryptionKind]) -> String {
    kinds.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(" or ")
}
