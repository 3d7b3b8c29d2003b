//! What buckets do by themselves when objects are changed (notifications, replication, lifecycle),
//! and the kinds of buckets that `reencrypt` refuses: all of it is reported before anything is
//! changed.

use emr_simulator::{BucketConfigurations, Command as Set, PutBucket, PutObject, Sse};
use serde_json::json;

use crate::{
    reencrypt::{GIB, KEY, apply, asked, command, killed_among_parts, object},
    reencrypt_jobs::{BATCH, stage as stage_of},
    support::{Played, Stage},
};

const LAMBDA: &str = "arn:aws:lambda:eu-west-1:123456789012:function:loader";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:loads";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:loads";
const OTHERS: &str = "210987654321";

fn stage(bucket: &PutBucket) -> Stage {
    stage_of(&["old"], bucket)
}

fn configured(configurations: BucketConfigurations) -> PutBucket {
    PutBucket { configurations, ..PutBucket::default() }
}

fn notifying(document: &str) -> PutBucket {
    configured(BucketConfigurations {
        notification: Some(document.to_owned()),
        ..BucketConfigurations::default()
    })
}

/// A rule in the form of S3's response.
fn rule(kind: &str, events: &[&str], prefix: &str) -> String {
    let (configuration, element, arn) = match kind {
        "lambda" => ("CloudFunctionConfiguration", "CloudFunction", LAMBDA),
        "queue" => ("QueueConfiguration", "Queue", QUEUE),
        _ => ("TopicConfiguration", "Topic", TOPIC),
    };
    let events: String =
        events.iter().fold(String::new(), |all, it| all + "<Event>" + it + "</Event>");
    let filter = if prefix.is_empty() {
        String::new()
    } else {
        format!(
            "<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>{prefix}</Value></FilterRule><FilterRule><Name>Suffix</Name><Value>.gz</Value></FilterRule></S3Key></Filter>"
        )
    };
    format!(
        "<{configuration}><Id>loads</Id><{element}>{arn}</{element}>{events}{filter}</{configuration}>"
    )
}

fn put(stage: &Stage, key: &str, object: PutObject) {
    let object = PutObject { bucket: "old".to_owned(), key: key.to_owned(), ..object };
    stage.set(Set::PutObject(object));
}

fn bare() -> PutObject {
    PutObject { body: Some("x".to_owned()), sse: Some(Sse::None), ..PutObject::default() }
}

fn reencrypt(stage: &Stage, words: &[&str]) -> Played {
    stage.play(command(stage, words))
}

fn copies(stage: &Stage) -> usize {
    asked(stage, "CopyObject") + asked(stage, "CreateMultipartUpload")
}

#[test]
fn copies_that_would_set_off_a_function_a_queue_or_a_topic_are_named_and_wait_for_an_acknowledgement()
 {
    for (kind, receiver, arn) in [
        ("lambda", "the Lambda function", LAMBDA),
        ("queue", "the queue", QUEUE),
        ("topic", "the topic", TOPIC),
    ] {
        let stage = stage(&notifying(&rule(kind, &["s3:ObjectCreated:*"], "in/")));
        put(&stage, "in/a.gz", bare());
        let what = format!(
            "s3://old: {receiver} {arn} is notified of what is changed (s3:ObjectCreated:*; keys \
             that start with in/ and end with .gz)"
        );
        let dry = reencrypt(&stage, &["s3://old", "--bucket", "old"]);
        dry.expect_code(75);
        let open = format!(
            "{what}; switch this notification off meanwhile, or add --despite notifications"
        );
        assert!(dry.stdout.contains(&format!("emr-etl-guard: {what}\n")), "{}", dry.stdout);
        assert!(
            dry.stdout.contains(&format!("emr-etl-guard: --apply would be refused: {open}\n")),
            "{}",
            dry.stdout
        );
        let refused = apply(&stage, &[]);
        refused.expect_code(77);
        assert_eq!(
            refused.unbroken(),
            format!("emr-etl-guard: refused, nothing was changed: {open}\n")
        );
        assert_eq!((copies(&stage), object(&stage, "in/a.gz").sse), (0, Sse::None));
        // Where the rule does not apply, nothing is reported.
        put(&stage, "out/a.gz", bare());
        let elsewhere = reencrypt(&stage, &["s3://old/out/", "--bucket", "old", "--apply"]);
        elsewhere.expect_code(0);
        assert!(!elsewhere.stdout.contains(arn), "{}", elsewhere.stdout);
        let done = apply(&stage, &["--despite", "notifications"]);
        done.expect_code(0);
        assert!(done.stdout.contains(&what), "it is said all the same: {}", done.stdout);
        assert_eq!(object(&stage, "in/a.gz").sse, Sse::Aes256);
    }
}

#[test]
fn only_events_that_the_changes_set_off_count() {
    let large = PutObject { size: Some(6 * GIB), sse: Some(Sse::None), ..PutObject::default() };
    let cold = PutObject { storage_class: Some("GLACIER".to_owned()), ..bare() };
    let sealed = PutObject { sse: Some(Sse::Aes256), ..bare() };
    // The existing object, the request, and the event that it causes.
    let cases: [(&PutObject, &[&str], Option<&str>); 4] = [
        (&bare(), &[], Some("s3:ObjectCreated:Copy")),
        (&large, &[], Some("s3:ObjectCreated:CompleteMultipartUpload")),
        (&cold, &["--restore"], Some("s3:ObjectRestore:Post")),
        // It is updated in place: that causes no event.
        (&sealed, &["--kms-key", KEY], None),
    ];
    let events = [
        "s3:ObjectCreated:Put",
        "s3:ObjectCreated:Copy",
        "s3:ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectRestore:Post",
        "s3:ObjectRemoved:Delete",
        "s3:ObjectTagging:*",
    ];
    for (there, words, fires) in cases {
        let stage = stage(&notifying(&rule("lambda", &events, "")));
        put(&stage, "a", there.clone());
        let played = apply(&stage, words);
        match fires {
            Some(event) => {
                played.expect_code(77);
                assert!(
                    played.stderr.contains(&format!("is notified of what is changed ({event});")),
                    "{}",
                    played.stderr
                );
                let changes = copies(&stage) + asked(&stage, "RestoreObject");
                assert_eq!(changes, 0, "{event}");
            }
            None => {
                played.expect_code(0);
                assert!(!played.stdout.contains(LAMBDA), "{}", played.stdout);
            }
        }
    }
}

#[test]
fn a_copy_that_an_earlier_run_has_begun_is_not_gone_on_with_before_the_acknowledgement() {
    let events = ["s3:ObjectCreated:CompleteMultipartUpload"];
    let stage = stage(&notifying(&rule("queue", &events, "")));
    let parts = killed_among_parts(&stage, &["--despite", "notifications"]);
    apply(&stage, &[]).expect_code(77);
    assert_eq!(
        (asked(&stage, "UploadPartCopy"), asked(&stage, "CompleteMultipartUpload")),
        (parts, 0)
    );
    apply(&stage, &["--despite", "notifications"]).expect_code(0);
    assert_eq!(object(&stage, "big").sse, Sse::Aes256);
}

#[test]
fn what_is_removed_sets_off_what_is_notified_of_removals() {
    let stage = stage(&PutBucket {
        versioning: Some("Enabled".to_owned()),
        ..notifying(&rule("topic", &["s3:ObjectRemoved:*"], ""))
    });
    put(&stage, "a", bare());
    apply(&stage, &[]).expect_code(75);
    let refused = apply(&stage, &["--purge-old-versions"]);
    refused.expect_code(77);
    assert!(refused.stderr.contains("(s3:ObjectRemoved:*)"), "{}", refused.stderr);
    assert_eq!(asked(&stage, "DeleteObject"), 0);
    apply(&stage, &["--purge-old-versions", "--despite", "notifications"]).expect_code(0);
}

#[test]
fn eventbridge_replication_lifecycle_and_classes_are_said_by_name_and_refuse_nothing() {
    let replication = "<Role>arn:aws:iam::123456789012:role/replica</Role>\
        <Rule><ID>all</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix></Prefix></Filter><Destination><Bucket>arn:aws:s3:::replica</Bucket></Destination></Rule>\
        <Rule><ID>off</ID><Status>Disabled</Status><Prefix></Prefix><Destination><Bucket>arn:aws:s3:::nowhere</Bucket></Destination></Rule>";
    let lifecycle = "<Rule><ID>cool</ID><Filter><Prefix>in/</Prefix></Filter><Status>Enabled</Status><Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition><Expiration><Days>365</Days></Expiration></Rule>\
        <Rule><ID>old \
        versions</ID><Filter><And><Prefix>in/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>14</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
        <Rule><ID>elsewhere</ID><Prefix>out/</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule>\
        <Rule><ID>switched \
        off</ID><Prefix></Prefix><Status>Disabled</Status><Expiration><Days>3</Days></Expiration></Rule>\
        <Rule><ID>uploads</ID><Prefix></Prefix><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";
    let bucket = PutBucket {
        versioning: Some("Enabled".to_owned()),
        ..configured(BucketConfigurations {
            notification: Some("<EventBridgeConfiguration/>".to_owned()),
            replication: Some(replication.to_owned()),
            lifecycle: Some(lifecycle.to_owned()),
            ..BucketConfigurations::default()
        })
    };
    let stage = stage(&bucket);
    for class in ["STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING"] {
        put(
            &stage,
            &format!("in/{class}"),
            PutObject { storage_class: Some(class.to_owned()), ..bare() },
        );
    }
    let dry = reencrypt(&stage, &["s3://old/in/", "--bucket", "old", "--report", "report.json"]);
    dry.expect_code(75);
    insta::assert_snapshot!(dry.redact(&format!("{}{}", dry.stdout, dry.stderr)));
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(stage.path("report.json")).unwrap()).unwrap();
    assert_eq!(document["side_effects"].as_array().unwrap().len(), 6, "{document:#}");
    assert_eq!(document["refusals"], json!([]));
    // Only an old version is left.
    reencrypt(&stage, &["s3://old/in/", "--bucket", "old", "--apply"]).expect_code(75);
    assert_eq!(copies(&stage), 3);
}

#[test]
fn what_may_not_be_looked_at_is_never_taken_for_none() {
    let deny = |actions: &[&str]| {
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Deny", "Principal": "*", "Action": actions, "Resource": "arn:aws:s3:::old"
            }]
        })
    };
    let hidden = stage(&PutBucket {
        policy: Some(deny(&["s3:GetBucketNotification"])),
        ..PutBucket::default()
    });
    put(&hidden, "a", bare());
    let refused = apply(&hidden, &[]);
    refused.expect_code(77);
    assert_eq!(
        refused.unbroken(),
        "emr-etl-guard: refused, nothing was changed: s3://old: whether a Lambda function, queue \
         or topic is notified of changes could not be seen: AccessDenied: Access Denied; allow \
         s3:GetBucketNotification, or add --despite notifications\n"
    );
    assert_eq!(copies(&hidden), 0);
    apply(&hidden, &["--despite", "notifications"]).expect_code(0);
    // Updates need no acknowledgement: they have no side effects.
    apply(&hidden, &["--kms-key", KEY]).expect_code(0);
    let others = ["s3:GetReplicationConfiguration", "s3:GetLifecycleConfiguration"];
    let said = stage(&PutBucket { policy: Some(deny(&others)), ..PutBucket::default() });
    put(&said, "a", bare());
    let done = apply(&said, &[]);
    done.expect_code(0);
    for (what, action) in [
        ("whether copies are replicated", others[0]),
        ("which lifecycle rules hold for copies", others[1]),
    ] {
        let line = format!(
            "s3://old: {what} could not be seen: AccessDenied: Access Denied; allow {action}\n"
        );
        assert!(done.stdout.contains(&line), "{}", done.stdout);
    }
}

#[test]
fn jobs_of_copies_need_the_acknowledgement_when_they_are_made_and_when_they_are_confirmed() {
    for words in [&[][..], &["--generate-manifest"]] {
        let stage = stage(&notifying(&rule("lambda", &["s3:ObjectCreated:*"], "")));
        put(&stage, "a", bare());
        let make = [&BATCH[..], words].concat();
        let refused = apply(&stage, &make);
        refused.expect_code(77);
        assert!(refused.stderr.contains(LAMBDA), "{}", refused.stderr);
        assert_eq!(stage.sim.with_world(|world| world.jobs.len()), 0);
        apply(&stage, &[&make[..], &["--despite", "notifications"]].concat()).expect_code(75);
        let status = ["s3://old", "--bucket", "old", "--batch-status"];
        reencrypt(&stage, &status).expect_code(75);
        let refused = reencrypt(&stage, &[&status[..], &["--confirm"]].concat());
        refused.expect_code(77);
        assert!(refused.stderr.contains(LAMBDA), "{}", refused.stderr);
        assert_eq!(
            (stage.sim.requests_for("UpdateJobStatus").len(), object(&stage, "a").sse),
            (0, Sse::None)
        );
        let all = [&status[..], &["--confirm", "--despite", "notifications"]].concat();
        reencrypt(&stage, &all).expect_code(0);
        assert_eq!(object(&stage, "a").sse, Sse::Aes256);
    }
}

#[test]
fn where_mfa_delete_is_on_a_purge_is_refused_before_anything_is_changed() {
    let stage = stage(&PutBucket {
        versioning: Some("Enabled".to_owned()),
        ..configured(BucketConfigurations { mfa_delete: true, ..BucketConfigurations::default() })
    });
    put(&stage, "a", bare());
    let refused = apply(&stage, &["--purge-old-versions"]);
    refused.expect_code(77);
    assert_eq!(
        refused.unbroken(),
        "emr-etl-guard: refused, nothing was changed: MFA delete is on for the bucket old: S3 \
         removes none of its versions without a code of its owner's MFA device, which this \
         program cannot give; run this without --purge-old-versions and \
         --purge-overwritten-versions, or have the owner switch MFA delete off meanwhile\n"
    );
    assert_eq!((copies(&stage), asked(&stage, "DeleteObject")), (0, 0));
    // Changes that need no removal are made.
    apply(&stage, &[]).expect_code(75);
    assert_eq!(object(&stage, "a").sse, Sse::Aes256);
}

/// A bucket of another account, in which this one has all permissions.
fn of_another_account(bucket: PutBucket) -> PutBucket {
    let may = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:*",
            "Resource": ["arn:aws:s3:::old", "arn:aws:s3:::old/*"]
        }]
    });
    PutBucket { account: Some(OTHERS.to_owned()), policy: Some(may), ..bucket }
}

#[test]
fn requester_pays_is_refused_where_the_bucket_is_anothers_and_nothing_where_it_is_ours() {
    let pays = || {
        configured(BucketConfigurations { requester_pays: true, ..BucketConfigurations::default() })
    };
    let ours = stage(&pays());
    put(&ours, "a", bare());
    apply(&ours, &[]).expect_code(0);
    let theirs = stage(&of_another_account(pays()));
    put(&theirs, "a", bare());
    for words in [&[][..], &["--apply"]] {
        let played = reencrypt(&theirs, &[&["s3://old", "--bucket", "old"], words].concat());
        played.expect_code(77);
        assert_eq!(
            played.unbroken(),
            "emr-etl-guard: refused, nothing was changed: the bucket old belongs to another \
             account, and the requester pays for it (requester pays), which is not supported; run \
             this with credentials of the account that owns it\n"
        );
    }
    let hidden = stage(&PutBucket { policy: None, ..of_another_account(pays()) });
    let played = reencrypt(&hidden, &["s3://old", "--bucket", "old"]);
    played.expect_code(69);
    assert!(
        played.unbroken().contains("is requester pays, which is not supported"),
        "{}",
        played.stderr
    );
}

#[test]
fn copies_in_anothers_bucket_are_made_only_where_its_objects_are_its_owners() {
    let enforced = stage(&of_another_account(PutBucket::default()));
    put(&enforced, "a", bare());
    apply(&enforced, &[]).expect_code(0);
    assert_eq!(object(&enforced, "a").sse, Sse::Aes256);
    let writers = of_another_account(PutBucket {
        ownership: Some("ObjectWriter".to_owned()),
        ..PutBucket::default()
    });
    let writers = stage(&writers);
    put(&writers, "a", bare());
    for words in [&[][..], &["--despite", "notifications"]] {
        let refused = apply(&writers, words);
        refused.expect_code(77);
        assert_eq!(
            refused.unbroken(),
            "emr-etl-guard: refused, nothing was changed: the bucket old belongs to another \
             account, and its objects have owners of their own: copies would belong to this \
             account; run this with credentials of the account that owns them, or have the \
             bucket's object ownership set to BucketOwnerEnforced\n"
        );
    }
    assert_eq!(copies(&writers), 0);
}

#[test]
fn access_points_arns_and_directory_buckets_are_refused_with_a_word_that_says_what_they_are() {
    let stage = stage(&PutBucket::default());
    for (place, word) in [
        (
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine",
            "this is an access point, which is not supported; name the bucket behind it",
        ),
        (
            "s3://mine-abcdefghijkl-s3alias/in",
            "this is the alias of an access point, which is not supported; name the bucket behind \
             it",
        ),
        (
            "s3://old--euw1-az1--x-s3/in",
            "this is a directory bucket, in which nothing can be re-encrypted in place",
        ),
        ("arn:aws:s3:::old/in", "this is an ARN; write the place as s3://bucket/prefix"),
    ] {
        let played = reencrypt(&stage, &[place, "--apply"]);
        played.expect_code(64);
        assert!(played.unbroken().contains(word), "{}", played.stderr);
    }
    assert_eq!(copies(&stage), 0);
}
