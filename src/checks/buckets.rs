//! Checks on the buckets that the runner config names.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{BucketName, KeyReference, partition},
    },
    checks::{
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        launch::SAME_ACCOUNT,
        stored::Standard,
    },
    facts::{
        iam_policy::{self, AccessRequest, PolicyDecision},
        s3::{BucketFacts, DefaultEncryption},
    },
    settings::policy::{EncryptionKind, accepted, kind_name},
};

pub(super) static EXISTS: Check = Check {
    name: "bucket-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A bucket that does not exist fails the run half-way; one that somebody else creates \
        under that name meanwhile would receive the data.",
    looks_at: "s3:HeadBucket on each bucket below aws.s3.buckets.",
    asks: &[&aws_calls::HEAD_BUCKET],
    fix: "correct the name in the runner config, or create it: `aws s3api create-bucket --bucket \
        {subject}{create-in}`",
    source: "Setup guide, Setting up end to end encryption; Amazon S3 API reference, HeadBucket",
};

pub(super) static OWNER: Check = Check {
    name: "bucket-owner",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Data written to a bucket of another account leaves the encryption and the access rules \
        of this one.",
    looks_at: "s3:HeadBucket with the launching account as expected owner.",
    asks: &[&aws_calls::HEAD_BUCKET],
    fix: "use a bucket of the runner's own account, or, if it is only read, name it in the \
        setting `external_buckets`",
    source: "Amazon S3 user guide, Verifying bucket ownership with bucket owner condition",
};

pub(crate) static REGION: Check = Check {
    name: "bucket-region",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The runner talks to buckets in aws.s3.region; keys and endpoints of another region do \
        not fit, and data would cross regions.",
    looks_at: "The region that s3:HeadBucket names.",
    asks: &[&aws_calls::HEAD_BUCKET],
    fix: "set aws.s3.region to the bucket's region, or use a bucket of that region",
    source: "Amazon S3 API reference, HeadBucket (x-amz-bucket-region)",
};

pub(super) static DEFAULT_ENCRYPTION: Check = Check {
    name: "bucket-default-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EMR's logs, RDB Loader's logs, bad rows and the Clojure Collector's files are written \
        without an encryption header: only the bucket's default protects them.",
    looks_at: "s3:GetBucketEncryption, against the kinds that the policy accepts.",
    asks: &[&aws_calls::GET_BUCKET_ENCRYPTION],
    fix: "turn it on: `aws s3api put-bucket-encryption --bucket {subject} \
        --server-side-encryption-configuration {encryption}`",
    source: "Setup guide, Setting up end to end encryption, S3 buckets; Amazon S3 user guide, \
        Setting default server-side encryption",
};

pub(super) static TLS_ONLY: Check = Check {
    name: "bucket-tls-only",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Without a policy that denies plain http, anybody who may read a bucket may read it in \
        clear over the network.",
    looks_at: "s3:GetBucketPolicy: a statement that denies what comes with aws:SecureTransport \
        false.",
    asks: &[&aws_calls::GET_BUCKET_POLICY],
    fix: "add to the bucket's policy: \
        {\"Effect\": \"Deny\", \"Principal\": \"*\", \"Action\": \"s3:*\", \"Resource\": [\"arn:{partition}:s3:::{subject}\", \"arn:{partition}:s3:::{subject}/*\"], \"Condition\": {\"Bool\": {\"aws:SecureTransport\": \"false\"}}}",
    source: "Amazon S3 user guide, Security best practices (Enforce encryption of data in transit)",
};

pub(super) static PUBLIC_ACCESS: Check = Check {
    name: "bucket-public-access-block",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Encryption at rest protects nothing from those whom S3 decrypts for: a bucket that \
        could be made public is one mistake away from that.",
    looks_at: "s3:GetPublicAccessBlock of the bucket: all four settings; where they are not all \
        on, the account's block is counted in, since S3 goes by whichever is stricter.",
    asks: &[&aws_calls::GET_PUBLIC_ACCESS_BLOCK, &aws_calls::GET_ACCOUNT_PUBLIC_ACCESS_BLOCK],
    fix: "`aws s3api put-public-access-block --bucket {subject} \
        --public-access-block-configuration \
        BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true`",
    source: "Amazon S3 user guide, Blocking public access to your Amazon S3 storage",
};

pub(super) static CLOJURE_COLLECTOR: Check = Check {
    name: "clojure-collector-bucket",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The Clojure Collector's logs are put into S3 by Elastic Beanstalk, which asks for no \
        encryption: only the bucket's own default protects the raw events.",
    looks_at: "s3:GetBucketEncryption on the buckets of aws.s3.buckets.raw.in, where \
        collectors.format is clj-tomcat.",
    asks: &[&aws_calls::GET_BUCKET_ENCRYPTION],
    fix: "turn on the default of {subject} as bucket-default-encryption says, then encrypt the \
        objects that are there already, in place, with `emr-etl-guard reencrypt`",
    source: "Setup guide, Setting up end to end encryption, Clojure Collector",
};

/// Whether a bucket's owner is unknown only because the expected account is not known.
fn waits_for_account(case: &Case<'_>, facts: &BucketFacts) -> bool {
    let not_asked = |error: &LookupError| error.kind == LookupErrorKind::NotAsked;
    let is_unknown = match &case.facts.runner {
        Lookup::Denied(error) | Lookup::Unreachable(error) => !not_asked(error),
        Lookup::Found(_) | Lookup::Absent => false,
    };
    is_unknown && matches!(&facts.ours, Lookup::Unreachable(error) if not_asked(error))
}

fn owned(subject: CheckSubject, ours: &Lookup<bool>, account: String) -> Finding {
    subject.by(ours, "no such bucket", |subject, ours| {
        subject
            .decided(*ours, if *ours { account } else { "a bucket of another account".to_owned() })
    })
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (bucket, places) in buckets(case) {
        let at = places.first().map(String::as_str);
        let name = bucket.as_str();
        if case.policy.is_external(name) {
            findings.push(
                OWNER
                    .on(name, "a bucket of the launching account")
                    .at(at)
                    .not_applicable("external by policy: only read"),
            );
            continue;
        }
        let Some(facts) = case.facts.buckets.get(bucket) else {
            findings.push(
                EXISTS.on(name, "the bucket").at(at).not_applicable("this run does not touch it"),
            );
            continue;
        };
        let region = &case.paths.region.value;
        findings.push(EXISTS.on(name, "the bucket").at(at).by(
            &facts.region,
            "no such bucket",
            |subject, _| subject.passed("it exists"),
        ));
        findings.push(REGION.on(name, region.clone()).at(at).by(
            &facts.region,
            "no such bucket",
            |subject, seen| subject.decided(seen == region, seen.clone()),
        ));
        let account = case.facts.launch_account().map_or_else(
            || "the launching account".to_owned(),
            |account| format!("account {account}"),
        );
        let owner = OWNER.on(name, account.clone()).at(at);
        findings.push(if waits_for_account(case, facts) {
            owner.waiting_for(&SAME_ACCOUNT)
        } else {
            owned(owner, &facts.ours, account)
        });
        findings.push(
            DEFAULT_ENCRYPTION
                .on(name, accepted(&case.policy.accept_encryption))
                .at(at)
                .by(&facts.default_encryption, "no such bucket", |subject, default| match default {
                    DefaultEncryption::Kind { kind, key } => {
                        let key = key.as_deref().map(KeyReference::new);
                        let under =
                            key.as_ref().map_or_else(String::new, |key| format!(" under {key}"));
                        let accepted = is_accepted(case, *kind, key.as_ref());
                        subject.decided(accepted, format!("{}{under}", kind_name(*kind)))
                    }
                    DefaultEncryption::None => subject.failed("no default encryption"),
                    DefaultEncryption::Other(kind) => {
                        subject.failed(format!("the unknown kind `{kind}`"))
                    }
                })
                .with_value("encryption", &wanted_default(case)),
        );
        findings.push(TLS_ONLY.on(name, "a policy that denies plain http").at(at).by_existing(
            &EXISTS,
            &facts.policy,
            |subject, policy| {
                match policy.as_deref().map(|policy| denies_plain_http(policy, name, region)) {
                    None => subject.failed("no bucket policy"),
                    Some(denies) => subject.decided(
                        denies,
                        if denies {
                            "its policy denies plain http"
                        } else {
                            "its policy allows plain http"
                        },
                    ),
                }
            },
        ));
        findings.push(public_access(PUBLIC_ACCESS.on(name, "all four settings on").at(at), facts));
    }
    clojure_collector(case, findings);
}

/// Judges the bucket's own block, the account's, or both together.
fn public_access(subject: CheckSubject, facts: &BucketFacts) -> Finding {
    match (&facts.public_access_block, &facts.public_access_block_with_account) {
        (_, Some(Lookup::Found(true))) => {
            subject.passed("all four settings on, where the account's block is counted in")
        }
        (Lookup::Found(false), Some(together)) => {
            subject.by(together, "no such account", |subject, _| {
                subject.failed("not all four settings on, nor are they with the account's block")
            })
        }
        (own, _) => subject.by_existing(&EXISTS, own, |subject, all| {
            subject.decided(
                *all,
                if *all { "all four settings on" } else { "not all four settings on" },
            )
        }),
    }
}

/// Whether a bucket's policy denies every request without TLS, for everyone.
pub(crate) fn denies_plain_http(policy: &str, bucket: &str, region: &str) -> bool {
    let object = format!("arn:{}:s3:::{bucket}/any-object", partition(region));
    let denies = |action: &str| {
        let context = BTreeMap::from([("aws:securetransport", Some("false"))]);
        // If the policy denies a caller without any known property, it denies all callers.
        let request = AccessRequest {
            caller: "arn:aws:iam::000000000000:user/anybody",
            action,
            resource: Some(&object),
            context,
        };
        matches!(iam_policy::decide(policy, &request), PolicyDecision::Denies(_))
    };
    denies("s3:GetObject") && denies("s3:PutObject")
}

fn clojure_collector(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if !case.paths.plan.clojure_collector {
        let subject = CLOJURE_COLLECTOR.on("raw.in", "a default encryption");
        findings.push(subject.not_applicable("this run reads no logs of a Clojure Collector"));
        return;
    }
    for location in
        case.paths.locations.iter().filter(|location| location.role.starts_with("raw.in"))
    {
        let subject = CLOJURE_COLLECTOR
            .on(location.bucket().as_str(), "a default encryption")
            .at(Some(&location.at));
        findings.push(match case.facts.buckets.get(location.bucket()) {
            None => subject.not_applicable("external by policy"),
            Some(facts) => {
                subject.by(&facts.default_encryption, "no such bucket", |subject, default| {
                    match default {
                        DefaultEncryption::Kind { kind, .. } => subject.decided(
                            case.policy.accept_encryption.contains(kind),
                            kind_name(*kind),
                        ),
                        DefaultEncryption::None => subject.failed("no default encryption"),
                        DefaultEncryption::Other(kind) => {
                            subject.failed(format!("the unknown kind `{kind}`"))
                        }
                    }
                })
            }
        });
    }
}

/// Each bucket once, with the keys of the config that name it.
fn buckets<'a>(case: &Case<'a>) -> BTreeMap<&'a BucketName, Vec<String>> {
    let mut buckets: BTreeMap<&BucketName, Vec<String>> = BTreeMap::new();
    for location in &case.paths.locations {
        buckets.entry(location.bucket()).or_default().push(location.at.clone());
    }
    buckets
}

/// A default encryption that the policy accepts, as the input of `PutBucketEncryption`.
fn wanted_default(case: &Case<'_>) -> String {
    let accepts = |kind| case.policy.accept_encryption.contains(&kind);
    let key = case.policy.expected_keys.first();
    let default = match key {
        None if accepts(EncryptionKind::SseS3) => json!({"SSEAlgorithm": "AES256"}),
        None if accepts(EncryptionKind::SseKms) => json!({"SSEAlgorithm": "aws:kms"}),
        None => json!({"SSEAlgorithm": "aws:kms:dsse"}),
        Some(key) if accepts(EncryptionKind::SseKms) => {
            json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key})
        }
        Some(key) => json!({"SSEAlgorithm": "aws:kms:dsse", "KMSMasterKeyID": key}),
    };
    json!({"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}).to_string()
}

/// The encryption that the policy accepts for objects, in words.
pub(super) fn wanted(case: &Case<'_>) -> String {
    Standard::of(case.policy, case.facts).in_words()
}

/// Whether the policy requires this key, in any notation. If it requires no key, any key or none is
/// accepted.
pub(super) fn is_expected(case: &Case<'_>, key: &KeyReference) -> bool {
    Standard::of(case.policy, case.facts)
        .expects(Some(case.facts.resolved(key).unwrap_or(key.as_str())))
}

/// Whether the policy accepts this kind of encryption with this key, in any notation.
pub(super) fn is_accepted(
    case: &Case<'_>,
    kind: EncryptionKind,
    key: Option<&KeyReference>,
) -> bool {
    let arn = key.map(|key| case.facts.resolved(key).unwrap_or(key.as_str()));
    Standard::of(case.policy, case.facts).accepts(kind, arn)
}
