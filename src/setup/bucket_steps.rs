//! The steps for buckets: the bucket itself, its default encryption, its public access block, and
//! its policy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    base::{
        aws_calls,
        lookup::Lookup,
        names::BucketName,
        printable::{Printable, printable},
    },
    checks::buckets::denies_plain_http,
    facts::{
        account_state::{
            AccountState, BucketEncryptionSettings, BucketState, PublicAccessBlockSettings,
        },
        iam_policy::{AccessRequest, PolicyDecision, decide},
    },
    settings::policy::{EncryptionKind, kind_name},
    setup::{
        desired::SetupInputs,
        documents,
        merge::{self, DocumentKind, MergeError},
        options::SetupPart,
        piece::{Bucket, BucketEncryption, BucketPolicy, MADE_KEY, Piece, PublicAccessBlock},
        plan::{Step, StepAction},
        planning::{Availability, error_of, not_asked, refuse, refuse_gone, step, unknown},
        role_steps::PlannedRole,
    },
    spec::data_paths::{Access, Actor, WriteProtection},
};

/// The longest name of a new bucket, and the shortest. Source: Amazon S3 user guide, Bucket naming
/// rules.
const NEW_NAME: std::ops::RangeInclusive<usize> = 3..=63;

const ENCRYPTION_CHECKS: [&str; 2] = ["bucket-default-encryption", "kms-key-customer-managed"];

/// All four settings.
const WHOLE_BLOCK: PublicAccessBlockSettings = PublicAccessBlockSettings {
    block_public_acls: true,
    ignore_public_acls: true,
    block_public_policy: true,
    restrict_public_buckets: true,
};

/// A bucket as it will be.
pub(super) struct PlannedBucket {
    pub(super) bucket: BucketName,
    /// Whether it is there.
    pub(super) availability: Availability<()>,
    /// Whether the plan makes it.
    pub(super) is_new: bool,
    /// Its default encryption, as far as it is known.
    pub(super) default: Option<BucketEncryptionSettings>,
    pub(super) step: Option<Step>,
    pub(super) encryption: Option<Step>,
}

/// The state of a bucket; if it was not asked for, nothing is known.
fn state_of<'a>(
    state: &'a AccountState,
    bucket: &BucketName,
) -> Result<&'a BucketState, StepAction> {
    state.buckets.get(bucket).ok_or_else(|| {
        unknown(&not_asked(&aws_calls::HEAD_BUCKET, &format!("the bucket {bucket}")))
    })
}

/// Whether a name follows the rules for new buckets, which are stricter than those for old ones.
fn is_new_name(bucket: &BucketName) -> bool {
    let name = bucket.as_str();
    let legal = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
    };
    let ends = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    NEW_NAME.contains(&name.len())
        && name.chars().all(legal)
        && ends(name.chars().next())
        && ends(name.chars().last())
        && !name.contains("..")
}

/// Plans a bucket and its default encryption.
pub(super) fn bucket(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    name: &BucketName,
    key: &Availability<String>,
) -> PlannedBucket {
    let (region, action) = existence(inputs, state, name);
    let is_new = action == StepAction::Create;
    let shown = Printable::from(name.as_str());
    if is_new && !inputs.makes(SetupPart::Buckets) {
        let why = printable!("there is no bucket {shown}, and the part `buckets` is switched off");
        return PlannedBucket {
            bucket: name.clone(),
            availability: Availability::Missing(why),
            is_new: false,
            default: None,
            step: None,
            encryption: None,
        };
    }
    let availability = Availability::of(&action, ());
    let made = step(
        Piece::Bucket(Bucket {
            bucket: name.clone(),
            region,
            object_lock: is_new && inputs.evidence_bucket().as_ref() == Some(name),
        }),
        action,
        &["bucket-exists", "bucket-owner", "bucket-region"],
        "Setup guide, Setting up end to end encryption; Amazon S3 API reference, CreateBucket",
    );
    let (default, encryption) = encryption(inputs, state, name, is_new, &availability, key);
    PlannedBucket {
        bucket: name.clone(),
        availability,
        is_new,
        default,
        step: Some(made),
        encryption,
    }
}

fn existence(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    name: &BucketName,
) -> (String, StepAction) {
    let wanted = inputs.s3_region().to_owned();
    let of_bucket = match state_of(state, name) {
        Ok(of_bucket) => of_bucket,
        Err(unknown) => return (wanted, unknown),
    };
    let shown = Printable::from(name.as_str());
    let action = match (&of_bucket.ours, &of_bucket.region) {
        (Lookup::Found(false), _) => refuse(
            printable!("the bucket {shown} belongs to another account"),
            "use a bucket of the runner's own account, or, if it is only read, name it in the \
             setting `external_buckets`",
        ),
        (Lookup::Found(true), Lookup::Found(region)) if *region != wanted => refuse(
            printable!(
                "the bucket {shown} is in {}, and aws.s3.region is {}",
                Printable::from(region),
                Printable::from(&wanted)
            ),
            "set aws.s3.region to the bucket's region, or use a bucket of that region",
        ),
        (Lookup::Found(true), Lookup::Found(_) | Lookup::Absent) => StepAction::Keep,
        (Lookup::Found(true), Lookup::Denied(error) | Lookup::Unreachable(error))
        | (Lookup::Denied(error) | Lookup::Unreachable(error), _) => unknown(error),
        (Lookup::Absent, _) if !is_new_name(name) => refuse(
            printable!("there is no bucket {shown}, and S3 makes none with such a name any more"),
            "use a name of 3 to 63 lower-case letters, digits, hyphens and dots",
        ),
        (Lookup::Absent, _) => StepAction::Create,
    };
    (of_bucket.region.found().cloned().unwrap_or(wanted), action)
}

/// The strength of a kind, to compare.
const fn strength(kind: EncryptionKind) -> u8 {
    match kind {
        EncryptionKind::SseS3 => 0,
        EncryptionKind::SseKms => 1,
        EncryptionKind::DsseKms => 2,
    }
}

/// Whether the cluster's programs write to the bucket with an encryption header of their own.
pub(super) fn has_header_writers(inputs: &SetupInputs<'_>, bucket: &BucketName) -> bool {
    let of_bucket = inputs.paths.locations.iter().filter(|location| location.bucket() == bucket);
    of_bucket.into_iter().any(|location| {
        let writers = inputs.paths.plan.writers(&location.role);
        writers.iter().any(|actor| actor.protection() != WriteProtection::BucketDefault)
    })
}

/// The kind for a bucket with a default that is not accepted, or why there is none.
fn wanted_kind(inputs: &SetupInputs<'_>) -> Result<EncryptionKind, (Printable, Printable)> {
    let accepts = |kind| inputs.policy.accept_encryption.contains(&kind);
    let key_fits = inputs.region() == inputs.s3_region();
    let kind = match inputs.options.bucket_encryption {
        Some(kind) if !accepts(kind) => {
            return Err((
                printable!("the policy does not accept {}", kind_name(kind)),
                "accept it in the setting `accept_encryption`, or choose another kind".into(),
            ));
        }
        Some(kind) => kind,
        None if accepts(EncryptionKind::SseKms) && key_fits => EncryptionKind::SseKms,
        None if accepts(EncryptionKind::SseS3) && inputs.policy.expected_keys.is_empty() => {
            EncryptionKind::SseS3
        }
        None if accepts(EncryptionKind::SseKms) => EncryptionKind::SseKms,
        None => EncryptionKind::DsseKms,
    };
    if kind != EncryptionKind::SseS3 && !key_fits {
        return Err((
            printable!(
                "the buckets are in {} and the cluster in {}, so that no one key serves both",
                Printable::from(inputs.s3_region()),
                Printable::from(inputs.region())
            ),
            "run the cluster in the region of the buckets, or accept SSE-S3".into(),
        ));
    }
    Ok(kind)
}

/// Whether the policy accepts this default.
fn is_accepted(
    inputs: &SetupInputs<'_>,
    settings: &BucketEncryptionSettings,
    key: &Availability<String>,
) -> bool {
    let expected = &inputs.policy.expected_keys;
    let named = settings.key.as_deref();
    inputs.policy.accept_encryption.contains(&settings.kind)
        && (expected.is_empty()
            || named.is_some_and(|named| {
                let is_key = key.there().is_some_and(|arn| {
                    let first = expected.first().map(String::as_str);
                    is_same_key(named, arn) && first == Some(inputs.key().as_str())
                });
                is_key || expected.iter().any(|expected| expected == named)
            }))
}

/// Whether a key as a bucket names it is the one of this ARN.
pub(super) fn is_same_key(named: &str, arn: &str) -> bool {
    named == arn || arn.rsplit_once('/').is_some_and(|(_, id)| id == named)
}

const READERS: &str = "whoever else writes new objects needs kms:GenerateDataKey on the key, and whoever \
    reads them kms:Decrypt, such as collectors and the database that loads; the plan knows only the \
    cluster's roles, the runner and the guard";

fn encryption(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    name: &BucketName,
    is_new: bool,
    availability: &Availability<()>,
    key: &Availability<String>,
) -> (Option<BucketEncryptionSettings>, Option<Step>) {
    let present = state_of(state, name).ok().map(|of_bucket| &of_bucket.encryption);
    let present = if is_new { Some(&Lookup::Absent) } else { present };
    let existing = present.and_then(Lookup::found);
    if !inputs.makes(SetupPart::BucketEncryption) {
        return (existing.cloned(), None);
    }
    let (settings, action, by_key) = match availability.obstacle(&format!("the bucket {name}")) {
        // What is refused or unknown about the bucket is said there.
        Some(StepAction::Refuse { .. }) => return (None, None),
        Some(obstacle) => (existing.cloned(), obstacle, false),
        None => wanted_encryption(inputs, name, present, key),
    };
    let settings = settings.unwrap_or(BucketEncryptionSettings {
        kind: wanted_kind(inputs).unwrap_or(EncryptionKind::SseKms),
        key: None,
        bucket_key: true,
        blocks_sse_c: true,
    });
    let default = match &action {
        StepAction::Create | StepAction::Change { .. } | StepAction::Keep => Some(settings.clone()),
        StepAction::Refuse { .. } | StepAction::Unknown { .. } => existing.cloned(),
    };
    let changes_rule = existing
        .is_some_and(|existing| (existing.kind, &existing.key) != (settings.kind, &settings.key));
    let is_change = matches!(action, StepAction::Change { .. });
    let blocks = existing.is_some_and(|existing| !existing.blocks_sse_c) && is_change;
    let mut made = step(
        Piece::BucketEncryption(BucketEncryption { bucket: name.clone(), settings }),
        action,
        &ENCRYPTION_CHECKS,
        "Setup guide, Setting up end to end encryption, S3 buckets; Amazon S3 user guide, Setting \
         default server-side encryption behavior for Amazon S3 buckets",
    );
    if is_change && changes_rule {
        made = made.noting(
            "objects that are there already stay as they are: `emr-etl-guard audit` counts them, \
             `emr-etl-guard reencrypt` encrypts them in place",
        );
    }
    if by_key && matches!(made.action, StepAction::Create | StepAction::Change { .. }) {
        made = made.noting(READERS);
    }
    if blocks {
        made = made.noting(
            "writers that send a key of their own with their requests (SSE-C) will get 403",
        );
    }
    (default, Some(made))
}

/// The default that a bucket should have, what has to be done, and whether it needs the key.
fn wanted_encryption(
    inputs: &SetupInputs<'_>,
    name: &BucketName,
    present: Option<&Lookup<BucketEncryptionSettings>>,
    key: &Availability<String>,
) -> (Option<BucketEncryptionSettings>, StepAction, bool) {
    let existing = match present {
        None => {
            let what = format!("the default encryption of {name}");
            let error = not_asked(&aws_calls::GET_BUCKET_ENCRYPTION, &what);
            return (None, unknown(&error), false);
        }
        Some(lookup) => match error_of(lookup) {
            Some(error) => return (None, unknown(error), false),
            None => lookup.found(),
        },
    };
    let choice = inputs.options.bucket_encryption;
    if let Some(existing) = existing {
        let keyless = existing.kind != EncryptionKind::SseS3 && existing.key.is_none();
        let chosen = choice.is_none_or(|kind| kind == existing.kind);
        if chosen && !keyless && is_accepted(inputs, existing, key) {
            if existing.kind == EncryptionKind::DsseKms && has_header_writers(inputs, name) {
                return (Some(existing.clone()), double_layer(name), false);
            }
            let wanted = BucketEncryptionSettings { blocks_sse_c: true, ..existing.clone() };
            let action = if wanted == *existing { StepAction::Keep } else { changed(existing) };
            return (Some(wanted), action, false);
        }
        // Whether the key of the bucket is the one that the policy expects is not known.
        if let Availability::Unknown(_) = key
            && let Some(obstacle) = key.obstacle("the KMS key")
        {
            return (Some(existing.clone()), obstacle, true);
        }
    }
    let kind = match wanted_kind(inputs) {
        Ok(kind) => kind,
        Err((saw, fix)) => return (existing.cloned(), refuse(saw, fix), false),
    };
    if let Some(existing) = existing.filter(|existing| strength(kind) < strength(existing.kind)) {
        let saw = printable!(
            "the default of {} is {}, and {} would be weaker",
            Printable::from(name.as_str()),
            kind_name(existing.kind),
            kind_name(kind)
        );
        let fix = "accept the present kind in the setting `accept_encryption`, or change the \
            default by hand";
        return (Some(existing.clone()), refuse(saw, fix), false);
    }
    if kind == EncryptionKind::DsseKms && has_header_writers(inputs, name) {
        return (existing.cloned(), double_layer(name), false);
    }
    let by_key = kind != EncryptionKind::SseS3;
    let settings = BucketEncryptionSettings {
        kind,
        key: key.there().filter(|_| by_key).cloned(),
        bucket_key: kind == EncryptionKind::SseKms,
        blocks_sse_c: true,
    };
    let obstacle = key.obstacle("the KMS key").filter(|_| by_key);
    let action = obstacle.unwrap_or_else(|| existing.map_or(StepAction::Create, changed));
    (Some(settings), action, by_key)
}

fn changed(before: &BucketEncryptionSettings) -> StepAction {
    StepAction::Change { before: json!(before) }
}

fn double_layer(name: &BucketName) -> StepAction {
    refuse(
        printable!(
            "the default of {} is or would be DSSE-KMS, and what s3-dist-cp and Spark write asks \
             for less",
            Printable::from(name.as_str())
        ),
        "give the bucket the default SSE-KMS, or let the cluster write to another bucket",
    )
}

/// Plans the public access block of a bucket.
pub(super) fn public_access_block(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    bucket: &PlannedBucket,
) -> Option<Step> {
    if !inputs.makes(SetupPart::PublicAccessBlock) {
        return None;
    }
    let name = &bucket.bucket;
    let (action, note) = match bucket.availability.obstacle(&format!("the bucket {name}")) {
        Some(StepAction::Refuse { .. }) => return None,
        Some(obstacle) => (obstacle, None),
        None if bucket.is_new => (StepAction::Create, None),
        None => match state_of(state, name) {
            Ok(of_bucket) => wanted_block(state, of_bucket, name),
            Err(unknown) => (unknown, None),
        },
    };
    let settings = match (&action, state_of(state, name)) {
        (StepAction::Keep, Ok(of_bucket)) => {
            of_bucket.public_access_block.found().copied().unwrap_or(WHOLE_BLOCK)
        }
        _ => WHOLE_BLOCK,
    };
    let step = step(
        Piece::PublicAccessBlock(PublicAccessBlock { bucket: name.clone(), settings }),
        action,
        &["bucket-public-access-block"],
        "Amazon S3 user guide, Blocking public access to your Amazon S3 storage",
    );
    Some(step.noting_any(note))
}

fn wanted_block(
    state: &AccountState,
    of_bucket: &BucketState,
    name: &BucketName,
) -> (StepAction, Option<&'static str>) {
    let own = &of_bucket.public_access_block;
    if own.found() == Some(&WHOLE_BLOCK) {
        return (StepAction::Keep, None);
    }
    if let Some(account) = state.account_block.found()
        && either(own.found().copied().unwrap_or_default(), *account) == WHOLE_BLOCK
    {
        return (StepAction::Keep, Some("the account's public access block is counted in"));
    }
    // What the bucket lacks could be what the account already has.
    if let Some(error) = error_of(own).or_else(|| error_of(&state.account_block)) {
        return (unknown(error), None);
    }
    let shown = Printable::from(name.as_str());
    for (lookup, what) in [
        (&of_bucket.policy_is_public, "the policy of the bucket is public"),
        (&of_bucket.website, "the bucket serves a website"),
    ] {
        match lookup {
            Lookup::Found(true) => {
                let saw = printable!("{what}, so that somebody reads {shown} without credentials");
                let fix = printable!(
                    "let those readers use credentials or another bucket, then: `aws s3api \
                     put-public-access-block --bucket {shown} \
                     --public-access-block-configuration BlockPublicAcls=true,\
                     IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true`"
                );
                return (refuse(saw, fix), None);
            }
            Lookup::Found(false) | Lookup::Absent => {}
            Lookup::Denied(error) | Lookup::Unreachable(error) => return (unknown(error), None),
        }
    }
    let action =
        own.found().map_or(StepAction::Create, |own| StepAction::Change { before: json!(own) });
    (action, Some("public access lists of objects have no effect any more"))
}

/// Each setting that is on in one of both, as S3 counts them.
fn either(
    own: PublicAccessBlockSettings,
    account: PublicAccessBlockSettings,
) -> PublicAccessBlockSettings {
    PublicAccessBlockSettings {
        block_public_acls: own.block_public_acls || account.block_public_acls,
        ignore_public_acls: own.ignore_public_acls || account.ignore_public_acls,
        block_public_policy: own.block_public_policy || account.block_public_policy,
        restrict_public_buckets: own.restrict_public_buckets || account.restrict_public_buckets,
    }
}

/// Who uses a bucket, and how, for requests that its policy must not deny.
pub(super) struct BucketUsers<'a> {
    /// The role of the instances, if it is known.
    pub(super) instances: Option<&'a PlannedRole>,
    /// Whether EMRFS asks for SSE-KMS.
    pub(super) s3_by_key: bool,
    /// The key's ARN, or [`MADE_KEY`].
    pub(super) key: Option<&'a str>,
    /// Who may read it.
    pub(super) readers: &'a Readers,
}

/// Who may read a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Readers {
    /// Everybody that policies allow it.
    Any,
    /// Of these only those of these ARNs: it is the bucket of the certificates.
    Only(BTreeSet<String>),
    /// It is the bucket of the certificates, and the guard's own role is not known.
    NoGuard,
    /// It is the bucket of the certificates, and the role that reads them is unknown or missing.
    Obstacle(StepAction),
}

/// Plans the policy of a bucket.
pub(super) fn bucket_policy(
    inputs: &SetupInputs<'_>,
    state: &AccountState,
    bucket: &PlannedBucket,
    users: &BucketUsers<'_>,
) -> Option<Step> {
    if !inputs.makes(SetupPart::BucketPolicies) {
        return None;
    }
    let name = &bucket.bucket;
    let present = match state_of(state, name) {
        Ok(of_bucket) if !bucket.is_new => of_bucket.policy.clone(),
        _ => Lookup::Absent,
    };
    let mut notes: Vec<Printable> = Vec::new();
    let of_bucket = bucket.availability.obstacle(&format!("the bucket {name}"));
    let (policy, action) = match (of_bucket, users.readers) {
        (Some(StepAction::Refuse { .. }), _) => return None,
        (Some(obstacle), _) => (fresh(inputs, name, users), obstacle),
        (None, Readers::Obstacle(obstacle)) => (fresh(inputs, name, users), obstacle.clone()),
        (None, _) => match &present {
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                (fresh(inputs, name, users), unknown(error))
            }
            Lookup::Absent => (fresh(inputs, name, users), StepAction::Create),
            Lookup::Found(policy) => wanted_policy(inputs, name, policy, users, &mut notes),
        },
    };
    if matches!(action, StepAction::Create | StepAction::Change { .. }) {
        notes.push("requests over plain http will get 403, whoever makes them".into());
        notes.extend(match users.readers {
            Readers::Only(_) => Some(
                "administrators of the account cannot read the certificates either; only the \
                 cluster's instances and the guard can"
                    .into(),
            ),
            Readers::NoGuard => Some(
                "others whom IAM allows it can read the certificates, because it is not known by \
                 which role or user of this account the guard reads them"
                    .into(),
            ),
            Readers::Any | Readers::Obstacle(_) => None,
        });
    }
    let step = step(
        Piece::BucketPolicy(BucketPolicy { bucket: name.clone(), policy }),
        action,
        &["bucket-tls-only", "bucket-policy-clash"],
        "Amazon S3 user guide, Security best practices (Enforce encryption of data in transit)",
    );
    Some(step.noting_any(notes))
}

fn fresh(inputs: &SetupInputs<'_>, name: &BucketName, users: &BucketUsers<'_>) -> Value {
    let mut statements = vec![documents::tls_only(inputs, name)];
    if let Readers::Only(readers) = users.readers {
        statements.push(documents::certificates_only(inputs, name, readers));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn wanted_policy(
    inputs: &SetupInputs<'_>,
    name: &BucketName,
    policy: &Value,
    users: &BucketUsers<'_>,
    notes: &mut Vec<Printable>,
) -> (Value, StepAction) {
    let understood = merge::statements(policy).map(drop);
    if let Err(error) = understood {
        return (policy.clone(), cannot_merge(&error));
    }
    if let Some(action) = clash(inputs, name, policy, users, notes) {
        return (policy.clone(), action);
    }
    let mut statements = Vec::new();
    if !denies_plain_http(&policy.to_string(), name.as_str(), inputs.s3_region()) {
        statements.push(documents::tls_only(inputs, name));
    }
    if let Readers::Only(readers) = users.readers {
        // Who could read it by an earlier setup can still do so.
        let mut readers = readers.clone();
        readers.extend(documents::excepted_readers(policy));
        statements.push(documents::certificates_only(inputs, name, &readers));
    }
    match merge::merge(DocumentKind::Bucket, policy, &statements) {
        Ok(merged) if merged == *policy => (merged, StepAction::Keep),
        Ok(merged) => match merge::gone_principal(&merged) {
            Some(principal) => (policy.clone(), refuse_gone(&principal)),
            None => (merged, StepAction::Change { before: policy.clone() }),
        },
        Err(error) => (policy.clone(), cannot_merge(&error)),
    }
}

fn cannot_merge(error: &MergeError) -> StepAction {
    let fix = match error {
        MergeError::TooLarge { .. } => "remove statements that nobody needs any more",
        MergeError::NotUnderstood(_) => "rewrite it as a list of statements that allow or deny",
    };
    refuse(Printable::from(error.to_string()), fix)
}

/// The refusal if the policy denies what the run needs.
fn clash(
    inputs: &SetupInputs<'_>,
    name: &BucketName,
    policy: &Value,
    users: &BucketUsers<'_>,
    notes: &mut Vec<Printable>,
) -> Option<StepAction> {
    let text = policy.to_string();
    let bucket = inputs.bucket_arn(name);
    let locations = inputs.paths.locations.iter().filter(|location| location.bucket() == name);
    let mut unclear: BTreeSet<String> = BTreeSet::new();
    for location in locations {
        let touches = inputs.paths.plan.touches.iter().filter(|touch| touch.role == location.role);
        for touch in touches {
            let caller = match touch.actor {
                Actor::Runner => inputs.launcher,
                _ => users.instances.map(|role| role.arn.as_str()),
            };
            let object = format!("{bucket}/{}an-object", location.location.prefix);
            let (action, resource) = match touch.access {
                Access::List => ("s3:ListBucket", bucket.as_str()),
                Access::Read => ("s3:GetObject", object.as_str()),
                Access::Write => ("s3:PutObject", object.as_str()),
                Access::Delete => ("s3:DeleteObject", object.as_str()),
            };
            let writes = touch.access == Access::Write;
            let context = request_context(touch.actor, writes, caller, users);
            let request = AccessRequest {
                caller: caller.unwrap_or_default(),
                action,
                resource: Some(resource),
                context,
            };
            match decide(&text, &request) {
                PolicyDecision::Denies(statement) => {
                    let statement = Printable::from(&statement);
                    let saw = printable!(
                        "the policy of {} denies {action} to {} ({statement})",
                        Printable::from(name.as_str()),
                        touch.actor
                    );
                    let fix = printable!(
                        "except {} from `{statement}`, or have it send what the statement demands",
                        touch.actor
                    );
                    return Some(refuse(saw, fix));
                }
                PolicyDecision::Unclear(statement) => {
                    unclear.insert(statement);
                }
                PolicyDecision::AllowsCaller
                | PolicyDecision::DelegatesToAccount
                | PolicyDecision::Silent => {}
            }
        }
    }
    notes.extend(unclear.iter().map(|statement| {
        printable!(
            "`{}` of its policy has parts that are not evaluated, and may deny what the run needs",
            Printable::from(statement)
        )
    }));
    None
}

fn request_context<'a>(
    actor: Actor,
    writes: bool,
    caller: Option<&'a str>,
    users: &BucketUsers<'a>,
) -> BTreeMap<&'a str, Option<&'a str>> {
    let mut context = BTreeMap::from([("aws:securetransport", Some("true"))]);
    if writes {
        let sends = actor.protection() != WriteProtection::BucketDefault;
        let header = sends.then_some(if users.s3_by_key { "aws:kms" } else { "AES256" });
        context.insert("s3:x-amz-server-side-encryption", header);
        let key = users.key.filter(|_| sends && users.s3_by_key);
        // A key that is made has no ARN yet.
        if key != Some(MADE_KEY) {
            context.insert("s3:x-amz-server-side-encryption-aws-kms-key-id", key);
        }
    }
    if let Some(caller) = caller {
        context.insert("aws:principalarn", Some(caller));
        context.insert("aws:principalaccount", caller.split(':').nth(4));
    }
    context
}
