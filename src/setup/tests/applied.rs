//! Plans that are carried out to their end, and those that stop.

use emr_simulator::{Fault, FaultKind};

use super::*;
use crate::{
    base::{lookup::Lookup, names::KeyReference},
    facts::{
        account_state::{AccessNeed, AccountStateQuery, look},
        notification_state::NotificationQuery,
    },
    setup::record::AppliedAction,
};

/// The calls of [`everything`], in order.
const CALLS: &[&str] = &[
    "CreateRole",
    "AttachRolePolicy",
    "CreateRole",
    "CreateInstanceProfile",
    "AddRoleToInstanceProfile",
    "CreateKey",
    "CreateAlias",
    "EnableKeyRotation",
    "PutRolePolicy",
    "CreateBucket",
    "PutBucketEncryption",
    "PutBucketPolicy",
    "PutObject",
    "CreateSecurityConfiguration",
];

fn query() -> AccountStateQuery {
    let holder = PolicyHolder::Role("acme-instances".to_owned());
    AccountStateQuery {
        account: AccountId::new(ACCOUNT),
        region: REGION.to_owned(),
        buckets: BTreeSet::from([BUCKET.parse().unwrap()]),
        key: KeyReference::new("alias/acme"),
        instance_profile: "acme-instances".to_owned(),
        service_role: "acme-service".to_owned(),
        security_configurations: BTreeSet::from(["acme-0a1b2c3d".to_owned()]),
        certificates: S3Object::parse(&format!("s3://{BUCKET}/certificates.zip")),
        inline_policies: BTreeSet::from([(holder.clone(), "acme-emr-etl-guard".to_owned())]),
        needs: vec![AccessNeed {
            arn: format!("arn:aws:iam::{ACCOUNT}:role/acme-instances"),
            holder,
            actions: vec!["s3:GetObject".to_owned()],
            resources: vec![format!("arn:aws:s3:::{BUCKET}/*")],
            context: Vec::new(),
        }],
        locks: BTreeSet::from([BUCKET.parse().unwrap()]),
        notifications: NotificationQuery::default(),
    }
}

#[tokio::test]
async fn an_empty_account_has_nothing_and_after_the_plan_everything_as_it_should_be() {
    let account = Account::empty();
    let before = Box::pin(look(&account.aws, &query())).await;
    let bucket_name = BUCKET.parse().unwrap();
    assert_eq!(before.buckets[&bucket_name].ours, Lookup::Absent);
    assert_eq!(before.key, Lookup::Absent);
    assert_eq!(before.instance_profile, Lookup::Absent);
    assert!(before.roles.values().all(|role| *role == Lookup::Absent));
    assert!(before.inline_policies.values().all(|policy| *policy == Lookup::Absent));
    assert!(before.lacks.values().all(|lacks| *lacks == Lookup::Absent), "{:?}", before.lacks);
    assert!(before.security_configurations.values().all(|it| *it == Lookup::Absent));
    assert_eq!(before.certificates, Some(Lookup::Absent));

    let (result, steps) = account.apply(&everything()).await;
    result.unwrap();
    assert!(steps.iter().all(|step| step.verified && step.error.is_none()), "{steps:#?}");
    let with_calls = steps.iter().flat_map(|step| &step.calls);
    assert!(with_calls.clone().all(|call| call.request.is_some()), "{steps:#?}");
    let names: Vec<&str> = with_calls.map(|call| call.operation.as_str()).collect();
    assert_eq!(names, CALLS);
    assert_eq!(account.writes(), CALLS);

    let after = Box::pin(look(&account.aws, &query())).await;
    let key = after.key.found().unwrap();
    assert!(key.enabled && key.symmetric && !key.aws_managed);
    assert_eq!(key.rotation, Lookup::Found(true));
    let bucket = &after.buckets[&bucket_name];
    assert_eq!(bucket.ours, Lookup::Found(true));
    let rule = bucket.encryption.found().unwrap();
    assert_eq!((rule.kind, rule.key.as_deref()), (EncryptionKind::SseKms, Some(key.arn.as_str())));
    assert!(rule.bucket_key && rule.blocks_sse_c);
    assert_eq!(bucket.policy, Lookup::Found(document(&[tls_only()])));
    assert_eq!(bucket.policy_is_public, Lookup::Found(false));
    assert_eq!(bucket.website, Lookup::Found(false));
    assert!(bucket.public_access_block.found().unwrap().restrict_public_buckets);
    let profile = after.instance_profile.found().unwrap();
    assert_eq!(profile.role.as_ref().unwrap().0, "acme-instances");
    let service = after.roles["acme-service"].found().unwrap();
    assert_eq!(service.trust, trust("elasticmapreduce.amazonaws.com"));
    assert_eq!(service.attached, Lookup::Found(BTreeSet::from([SERVICE_POLICY.to_owned()])));
    let policy = after.inline_policies.values().next().unwrap().found().unwrap();
    assert_eq!(policy["Statement"][0]["Resource"][0], key.arn.as_str());
    let lacks = after.lacks.values().next().unwrap().found().unwrap();
    let pair = ("s3:GetObject".to_owned(), format!("arn:aws:s3:::{BUCKET}/*"));
    assert_eq!(*lacks, BTreeSet::from([pair]));
    let content = after.security_configurations["acme-0a1b2c3d"].found().unwrap();
    assert!(content.to_string().contains(key.arn.as_str()));
    assert!(!content.to_string().contains(MADE_KEY));
    assert!(matches!(after.certificates, Some(Lookup::Found(_))));
}

#[tokio::test]
async fn the_same_plan_again_changes_nothing() {
    let account = Account::empty();
    account.apply(&everything()).await.0.unwrap();
    let (state, writes) = (account.state(), account.writes().len());
    let mut journal = account.journal();
    journal.reported().unwrap();
    let (result, steps) = account.apply_with(&everything(), &mut journal).await;
    result.unwrap();
    assert!(steps.iter().all(|step| step.action == AppliedAction::Found), "{steps:#?}");
    assert_eq!((account.state(), account.writes().len()), (state, writes));
}

#[tokio::test]
async fn a_refused_call_stops_there_and_the_same_plan_then_completes_it() {
    let whole = Account::empty();
    whole.apply(&everything()).await.0.unwrap();
    for (index, call) in CALLS.iter().enumerate() {
        let account = Account::empty();
        let nth = CALLS[..=index].iter().filter(|other| *other == call).count();
        account.fault(Fault::nth(call, nth.try_into().unwrap(), FaultKind::AccessDenied));
        let (result, steps) = account.apply(&everything()).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains(call) && error.contains("run the same command again"), "{error}");
        assert_eq!(account.writes(), CALLS[..=index], "nothing follows");
        let last = steps.last().unwrap();
        assert!(!last.verified && last.error.is_some(), "{last:?}");
        account.command(json!("clear_faults"));
        let (result, steps) = account.apply(&everything()).await;
        result.unwrap();
        assert!(steps.last().unwrap().verified);
        assert_eq!(account.keys(), whole.keys(), "{call}");
        let names: Vec<String> = account.writes();
        assert_eq!(names[index + 1..], CALLS[index..], "{call}: only what was missing");
    }
}

#[tokio::test]
async fn a_call_that_took_effect_without_an_answer_counts_and_is_not_made_again() {
    for (index, call) in CALLS.iter().enumerate() {
        for kind in [FaultKind::AppliedThen5xx { status: 500 }, FaultKind::AppliedThenReset] {
            let account = Account::empty();
            let nth = CALLS[..=index].iter().filter(|other| *other == call).count();
            account.fault(Fault::nth(call, nth.try_into().unwrap(), kind.clone()));
            let (result, steps) = account.apply(&everything()).await;
            result.unwrap_or_else(|error| panic!("{call}, {kind:?}: {error}"));
            assert!(steps.iter().all(|step| step.verified), "{call}: {steps:#?}");
            assert_eq!(account.writes(), CALLS, "{call}");
        }
    }
}

#[tokio::test]
async fn what_was_changed_or_made_since_the_plan_is_left_alone() {
    let account = Account::empty();
    let seen = json!({"Sid": "Seen", "Effect": "Deny", "Principal": "*",
        "Action": "s3:PutBucketAcl", "Resource": format!("arn:aws:s3:::{BUCKET}")});
    let seen = document(&[seen]);
    let other = document(&[json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*",
        "Action": "s3:DeleteBucket", "Resource": format!("arn:aws:s3:::{BUCKET}")})]);
    account.command(json!({"put_bucket": {"name": BUCKET, "policy": other}}));
    let state = account.state();
    let changed = plan(vec![step(bucket_policy(), StepAction::Change { before: seen })]);
    let (result, steps) = account.apply(&changed).await;
    let error = result.unwrap_err();
    assert!(matches!(error, ApplyError::Changed { .. }), "{error}");
    assert_eq!(steps, []);
    let (result, _) = account.apply(&plan(vec![step(bucket_policy(), StepAction::Create)])).await;
    let error = result.unwrap_err();
    assert!(matches!(error, ApplyError::Exists { .. }), "{error}");
    assert_eq!((account.state(), account.writes()), (state, Vec::new()));
    // As the plan saw it, it is changed.
    let seen = plan(vec![step(bucket_policy(), StepAction::Change { before: other })]);
    account.apply(&seen).await.0.unwrap();
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_left_alone() {
    for (read, piece) in [
        ("GetRole", service_role()),
        ("ListAttachedRolePolicies", service_role()),
        ("GetInstanceProfile", instance_profile()),
        ("DescribeKey", key()),
        ("HeadBucket", bucket()),
        ("GetBucketEncryption", encryption()),
        ("GetPublicAccessBlock", access_block()),
        ("GetBucketPolicy", bucket_policy()),
        ("DescribeSecurityConfiguration", configuration()),
    ] {
        let account = Account::empty();
        account.apply(&everything()).await.0.unwrap();
        let writes = account.writes().len();
        account.fault(Fault::every(read, FaultKind::AccessDenied));
        let steps = [key(), piece].map(|piece| step(piece, StepAction::Create)).to_vec();
        let (result, _) = account.apply(&plan(steps)).await;
        let error = result.unwrap_err();
        assert!(matches!(error, ApplyError::Unknown { .. }), "{read}: {error}");
        assert_eq!(account.writes().len(), writes, "{read}");
    }
}

#[tokio::test]
async fn a_look_that_is_denied_meanwhile_loses_nothing_and_the_same_plan_completes_it() {
    let whole = Account::empty();
    whole.apply(&everything()).await.0.unwrap();
    let requests = whole.simulator.requests().into_iter();
    let reads: BTreeSet<String> = requests
        .filter(|request| !request.subject.writes)
        .map(|request| request.subject.operation)
        .collect();
    assert!(reads.len() > 8, "{reads:?}");
    for read in reads {
        let account = Account::empty();
        account.fault(Fault::every(&read, FaultKind::AccessDenied));
        let (result, steps) = account.apply(&everything()).await;
        let error = result.expect_err(&read).to_string();
        assert!(error.contains("run the same command again"), "{read}: {error}");
        // What was written and could not be read again is not called done.
        let done = steps.iter().filter(|step| step.verified).flat_map(|step| &step.calls).count();
        assert!(done < CALLS.len(), "{read}: {steps:#?}");
        let others = steps.split_last().map_or(&[][..], |(_, others)| others);
        assert!(others.iter().all(|step| step.verified), "{read}: {steps:#?}");
        account.command(json!("clear_faults"));
        account.apply(&everything()).await.0.unwrap_or_else(|error| panic!("{read}: {error}"));
        assert_eq!(account.writes(), CALLS, "{read}: each is made once");
        assert_eq!(account.keys(), whole.keys(), "{read}");
    }
}

#[tokio::test]
async fn a_role_that_other_services_do_not_know_yet_is_waited_for() {
    let account = Account::empty();
    // KMS answers so for a principal that is a few seconds old.
    let unknown = FaultKind::Error {
        status: 400,
        code: "MalformedPolicyDocumentException".to_owned(),
        message: "Policy contains a statement with one or more invalid principals.".to_owned(),
    };
    account.fault(Fault::nth("CreateKey", 1, unknown.clone()));
    let (result, steps) = account.apply(&everything()).await;
    result.unwrap();
    let made = steps.iter().find(|step| step.piece.kind() == "KMS key").unwrap();
    let names: Vec<&str> = made.calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(names, ["CreateKey", "CreateKey", "CreateAlias", "EnableKeyRotation"]);
    // A principal that was not made here does not appear by waiting.
    let account = Account::empty();
    account.fault(Fault::every("CreateKey", unknown));
    let (result, steps) = account.apply(&plan(vec![step(key(), StepAction::Create)])).await;
    assert!(matches!(result, Err(ApplyError::Refused { .. })), "{result:?}");
    assert_eq!(steps[0].calls.len(), 1);
}

#[tokio::test]
async fn an_object_that_somebody_put_there_is_not_written_over() {
    let account = Account::empty();
    account.command(json!({"put_bucket": {"name": BUCKET}}));
    account.command(json!({"put_object": {"bucket": BUCKET, "key": "certificates.zip"}}));
    let steps = [instance_role(), key(), certificates()]
        .map(|piece| step(piece, StepAction::Create))
        .to_vec();
    let (result, _) = account.apply(&plan(steps)).await;
    assert!(matches!(result, Err(ApplyError::Exists { .. })), "{result:?}");
    assert!(!account.writes().contains(&"PutObject".to_owned()));
}
