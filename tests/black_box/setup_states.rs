//! `setup` on accounts in which something is there already: everything but one piece, what is
//! weaker than the policy, what contradicts, another pipeline's, and what earlier setups left that
//! were denied something or killed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use emr_simulator::{
    ANY_WRITE, Bucket, BucketEncryption, Command as Set, Fault, FaultKind, Key, Named, ObjectName,
    PublicAccessBlock, PutBucket, PutKey, PutObject, PutRole, PutSecurityConfiguration, PutUser,
    Sse,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    setup::{APPLY, account, document, empty_account, made_account, setup, to_do, writes},
    support::{Played, Stage, wait_until},
};

const ACCOUNT: &str = "123456789012";
const CERTIFICATES: &str = "emr-etl-certificates-123456789012-eu-west-1";
const INSTANCES: &str = "EMR_EC2_DefaultRole";
const INLINE: &str = "emr-etl-emr-etl-guard";

/// Calls IAM as an administrator of the account does: a role that is deleted so is named by its id
/// in the policies of others.
fn iam(stage: &Stage, action: &str, parameters: &[(&str, &str)]) {
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (name, value) in parameters {
        write!(body, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)).unwrap();
    }
    let url = stage.sim.url();
    let address = url.trim_start_matches("http://");
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: \
         AWS4-HMAC-SHA256 Credential=AKIAFAKE/20261130/us-east-1/iam/aws4_request, \
         SignedHeaders=host, Signature=0\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
}

fn named(name: &str) -> Named {
    Named { name: name.to_owned(), ..Named::default() }
}

/// Changes a bucket, whose other settings and whose objects stay.
fn change_bucket(stage: &Stage, name: &str, change: impl FnOnce(&mut PutBucket)) {
    let bucket: Bucket = stage.sim.with_world(|world| world.buckets[name].clone());
    let mut put = PutBucket {
        name: bucket.name,
        region: Some(bucket.region),
        default_encryption: bucket.default_encryption,
        policy: bucket.policy,
        public_access_settings: bucket.public_access_block,
        ownership: Some(bucket.ownership),
        configurations: bucket.configurations,
        ..PutBucket::default()
    };
    change(&mut put);
    stage.set(Set::PutBucket(put));
}

fn only_key(stage: &Stage) -> Key {
    stage.sim.with_world(|world| {
        let [key] = world.keys.as_slice() else { panic!("{} keys", world.keys.len()) };
        key.clone()
    })
}

/// Changes the only key, whose other properties stay.
fn change_key(stage: &Stage, change: impl FnOnce(&mut PutKey)) {
    let key = only_key(stage);
    let mut put = PutKey {
        id: key.id,
        region: Some(key.region),
        aliases: key.aliases,
        rotation: key.rotation,
        policy: Some(key.policy),
        ..PutKey::default()
    };
    change(&mut put);
    stage.set(Set::PutKey(put));
}

fn inline_policy(stage: &Stage) -> Value {
    stage.sim.with_world(|world| {
        let role = world.roles.iter().find(|role| role.name == INSTANCES).unwrap();
        role.policies.iter().find(|(name, _)| name == INLINE).unwrap().1.clone()
    })
}

fn statements(policy: &Value) -> Vec<Value> {
    policy["Statement"].as_array().unwrap().clone()
}

/// Removes the last statement of a bucket's policy.
fn lose_last_statement(put: &mut PutBucket) {
    put.policy.as_mut().unwrap()["Statement"].as_array_mut().unwrap().pop();
}

/// A piece that is lost, and how.
type Loss = (&'static str, fn(&Stage));

/// Each piece of a setup. The first is lost from a whole account, each other one from what `setup`
/// has made whole again.
const LOSSES: [Loss; 19] = [
    ("service role", |stage| {
        let policy = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole";
        let role = ("RoleName", "EMR_DefaultRole");
        iam(stage, "DetachRolePolicy", &[role, ("PolicyArn", policy)]);
        iam(stage, "DeleteRole", &[role]);
    }),
    ("role of the instances", |stage| {
        let role = ("RoleName", INSTANCES);
        let profile = ("InstanceProfileName", INSTANCES);
        iam(stage, "RemoveRoleFromInstanceProfile", &[role, profile]);
        iam(stage, "DeleteRolePolicy", &[role, ("PolicyName", INLINE)]);
        iam(stage, "DeleteRole", &[role]);
    }),
    ("instance profile", |stage| {
        let profile = ("InstanceProfileName", INSTANCES);
        iam(stage, "RemoveRoleFromInstanceProfile", &[("RoleName", INSTANCES), profile]);
        iam(stage, "DeleteInstanceProfile", &[profile]);
    }),
    ("policy of the instances", |stage| {
        iam(stage, "DeleteRolePolicy", &[("RoleName", INSTANCES), ("PolicyName", INLINE)]);
    }),
    ("a statement of that policy", |stage| {
        let mut policy = inline_policy(stage);
        policy["Statement"].as_array_mut().unwrap().pop();
        let document = ("PolicyDocument", policy.to_string());
        let name = [("RoleName", INSTANCES), ("PolicyName", INLINE), (document.0, &document.1)];
        iam(stage, "PutRolePolicy", &name);
    }),
    ("rights of the runner", |stage| {
        stage.set(Set::PutUser(PutUser { name: "snowplow".to_owned(), ..PutUser::default() }));
    }),
    ("statements of the key policy", |stage| {
        change_key(stage, |put| {
            let all = put.policy.as_mut().unwrap()["Statement"].as_array_mut().unwrap();
            all.truncate(1);
        });
    }),
    ("rotation", |stage| change_key(stage, |put| put.rotation = false)),
    ("bucket", |stage| stage.set(Set::DeleteBucket(named("acme-log")))),
    ("default encryption", |stage| {
        change_bucket(stage, "acme-out", |put| put.default_encryption = None);
    }),
    ("block of SSE-C", |stage| {
        change_bucket(stage, "acme-out", |put| {
            put.default_encryption.as_mut().unwrap().blocked.clear();
        });
    }),
    ("public access block", |stage| {
        change_bucket(stage, "acme-out", |put| {
            put.public_access_settings = None;
            put.configurations.no_public_access_block = true;
        });
    }),
    ("a part of the public access block", |stage| {
        change_bucket(stage, "acme-out", |put| {
            put.configurations.no_public_access_block = false;
            put.public_access_settings = Some(PublicAccessBlock {
                ignore_public_acls: false,
                ..PublicAccessBlock::all(true)
            });
        });
    }),
    ("bucket policy", |stage| change_bucket(stage, "acme-out", |put| put.policy = None)),
    ("statement on certificates", |stage| {
        change_bucket(stage, CERTIFICATES, lose_last_statement);
    }),
    ("certificates", |stage| {
        let (bucket, key) = (CERTIFICATES.to_owned(), "emr-certificates.zip".to_owned());
        stage.set(Set::DeleteObject(ObjectName { bucket, key }));
    }),
    ("bucket of the certificates", |stage| stage.set(Set::DeleteBucket(named(CERTIFICATES)))),
    ("security configuration", |stage| {
        let name = stage.sim.with_world(|world| world.security_configurations[0].name.clone());
        stage.set(Set::DeleteSecurityConfiguration(named(&name)));
    }),
    ("alias of the key", |stage| change_key(stage, |put| put.aliases.clear())),
];

#[test]
fn whatever_one_piece_is_missing_that_and_what_depends_on_it_is_made_and_check_passes() {
    let mut stage = made_account();
    let mut made = String::new();
    for (what, lose) in LOSSES {
        let before = account(&stage);
        lose(&stage);
        assert_ne!(account(&stage), before, "{what}");
        let played = setup(&mut stage, &APPLY);
        assert_eq!(played.code, Some(0), "{what}\n{}", played.transcript());
        writeln!(made, "{what}:").unwrap();
        for step in to_do(&stage, "setup.json") {
            writeln!(made, "  {step}").unwrap();
        }
        let checked = stage.check();
        assert_eq!(checked.code, Some(0), "{what}\n{}", checked.transcript());
    }
    setup(&mut stage, &["--report=again.json"]).expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
    insta::assert_snapshot!(made);
}

#[test]
fn the_two_settings_of_the_config_alone_are_set_again() {
    let mut stage = made_account();
    let (whole, writes_before) = (stage.config.clone(), writes(&stage).len());
    let name = stage.sim.with_world(|world| world.security_configurations[0].name.clone());
    stage.config = whole
        .replace(&format!("security_configuration: {name}\n"), "security_configuration:\n")
        .replace("      encrypted: true\n", "      encrypted: false\n");
    assert_ne!(stage.config, whole);
    setup(&mut stage, &APPLY).expect_code(0);
    assert_eq!((&stage.config, writes(&stage).len()), (&whole, writes_before));
}

/// Buckets as people make them: under S3's own encryption, without policies, with objects.
fn put_plain_buckets(stage: &Stage) {
    for name in ["acme-archive", "acme-etl", "acme-log", "acme-out", "acme-raw-in", "acme-raw-in2"]
    {
        let bucket = PutBucket { name: name.to_owned(), ..PutBucket::default() };
        stage.set(Set::PutBucket(bucket));
    }
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-archive".to_owned(),
        key: "enriched/run=2026-01-01/part".to_owned(),
        body: Some("x".to_owned()),
        sse: Some(Sse::Aes256),
        ..PutObject::default()
    }));
}

fn objects(stage: &Stage) -> Value {
    account(stage)["buckets"]["acme-archive"]["objects"].clone()
}

#[test]
fn buckets_that_are_there_get_what_they_lack_and_keep_their_objects() {
    let mut stage = empty_account("eu-west-1");
    put_plain_buckets(&stage);
    let before = objects(&stage);
    setup(&mut stage, &APPLY).expect_code(0);
    let done = to_do(&stage, "setup.json");
    assert!(!done.contains(&"create bucket acme-out".to_owned()), "{done:#?}");
    assert!(done.contains(&"create bucket policy acme-out".to_owned()), "{done:#?}");
    assert!(done.contains(&format!("create bucket {CERTIFICATES}")), "{done:#?}");
    assert_eq!(objects(&stage), before);
    stage.check().expect_code(0);
}

#[test]
fn what_is_weaker_than_the_policy_is_made_stronger_and_the_rest_is_kept() {
    let mut stage = made_account();
    stage.write("guard.yml", "accept_encryption: [SSE-KMS]\n");
    stage = stage.option("--settings=guard.yml");
    let theirs = json!({
        "Sid": "Auditors", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-out/*",
    });
    for name in ["acme-out", "acme-archive"] {
        change_bucket(&stage, name, |put| {
            put.default_encryption = Some(BucketEncryption::aes256());
            put.public_access_settings = Some(PublicAccessBlock {
                block_public_policy: false,
                ..PublicAccessBlock::all(true)
            });
        });
    }
    change_bucket(&stage, "acme-out", |put| {
        put.policy = Some(json!({"Version": "2008-10-17", "Statement": [theirs]}));
    });
    change_key(&stage, |put| put.rotation = false);
    let (name, content) = stage.sim.with_world(|world| {
        let made = &world.security_configurations[0];
        (made.name.clone(), serde_json::from_str::<Value>(&made.content).unwrap())
    });
    let mut weak = content.clone();
    weak["EncryptionConfiguration"]["EnableInTransitEncryption"] = json!(false);
    weak["EncryptionConfiguration"]
        .as_object_mut()
        .unwrap()
        .remove("InTransitEncryptionConfiguration");
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: name.clone(),
        content: weak.clone(),
        ..PutSecurityConfiguration::default()
    }));
    stage.check().expect_code(77);
    let options: Vec<&str> = APPLY.into_iter().chain(["--settings=guard.yml"]).collect();
    setup(&mut stage, &options).expect_code(0);
    let done = to_do(&stage, "setup.json");
    insta::assert_snapshot!(done.join("\n"));
    stage.check().expect_code(0);
    stage.sim.with_world(|world| {
        // Clusters may run under the weak one: it stays, and a new one is beside it.
        let old = world.security_configurations.iter().find(|it| it.name == name).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&old.content).unwrap(), weak);
        assert_eq!(world.security_configurations.len(), 2);
        let policy = world.buckets["acme-out"].policy.as_ref().unwrap();
        assert_eq!((&policy["Version"], &policy["Statement"][0]), (&"2008-10-17".into(), &theirs));
    });
}

/// What somebody else has decided, the exit code, and how the plan begins to say so.
type Contradiction = (&'static str, fn(&Stage), i32, &'static str);

fn set_policy(stage: &Stage, policy: Value) {
    let bucket =
        PutBucket { name: "acme-out".to_owned(), policy: Some(policy), ..PutBucket::default() };
    stage.set(Set::PutBucket(bucket));
}

const OWNERS_KEY: &str = "33333333-3333-3333-3333-333333333333";

const CONTRADICTIONS: [Contradiction; 7] = [
    // S3 tells nobody whose it is.
    (
        "a bucket of another account",
        |stage| {
            stage.set(Set::PutBucket(PutBucket {
                name: "acme-out".to_owned(),
                account: Some("999999999999".to_owned()),
                ..PutBucket::default()
            }));
        },
        69,
        "UNKNOWN  bucket                 acme-out",
    ),
    (
        "a public bucket",
        |stage| {
            let everybody = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::acme-out/*"}]});
            stage.set(Set::PutBucket(PutBucket {
                name: "acme-out".to_owned(),
                policy: Some(everybody),
                public: true,
                ..PutBucket::default()
            }));
        },
        77,
        "REFUSED  public access block    acme-out",
    ),
    (
        "a website",
        |stage| {
            stage.set(Set::PutBucket(PutBucket {
                name: "acme-out".to_owned(),
                website: true,
                public_access_block: Some(false),
                ..PutBucket::default()
            }));
        },
        77,
        "REFUSED  public access block    acme-out",
    ),
    (
        "a bucket whose policy denies SSE-KMS",
        |stage| {
            set_policy(
                stage,
                json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "Plain", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::acme-out/*", "Condition": {"StringEquals":
                    {"s3:x-amz-server-side-encryption": "aws:kms"}}}]}),
            );
        },
        77,
        "REFUSED  bucket policy          acme-out",
    ),
    (
        "a bucket whose policy denies every write",
        |stage| {
            set_policy(
                stage,
                json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::acme-out/*"}]}),
            );
        },
        77,
        "REFUSED  bucket policy          acme-out",
    ),
    (
        "a role that other services assume",
        |stage| {
            let trust = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole"}]});
            stage.set(Set::PutRole(PutRole {
                name: "EMR_DefaultRole".to_owned(),
                trust: Some(trust),
                ..PutRole::default()
            }));
        },
        77,
        "REFUSED  role                   EMR_DefaultRole",
    ),
    (
        "a key whose policy denies everybody",
        |stage| {
            let policy = json!({"Version": "2012-10-17", "Statement": [
                {"Sid": "Account", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                    "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}},
                {"Sid": "Nobody", "Effect": "Deny", "Action": "kms:GenerateDataKey",
                    "Resource": "*", "Principal": {"AWS": "*"}}]});
            stage.set(Set::PutKey(PutKey {
                id: OWNERS_KEY.to_owned(),
                aliases: vec!["alias/emr-etl".to_owned()],
                policy: Some(policy),
                ..PutKey::default()
            }));
        },
        77,
        "REFUSED  key policy             arn:aws:kms:eu-west-1:123456789012:key/33333333",
    ),
];

#[test]
fn what_contradicts_is_refused_and_nothing_at_all_is_changed() {
    let mut stage = empty_account("eu-west-1");
    for (what, contradict, code, line) in CONTRADICTIONS {
        contradict(&stage);
        let before = account(&stage);
        let played = setup(&mut stage, &APPLY);
        assert_eq!(played.code, Some(code), "{what}\n{}", played.transcript());
        assert_eq!((writes(&stage), account(&stage)), (Vec::new(), before), "{what}");
        assert!(played.stdout.contains(line), "{what}: {line}\n{}", played.transcript());
        assert!(stage.config.contains("      encrypted: false\n"), "{what}");
        // The next one stands alone.
        stage.set(Set::DeleteBucket(named("acme-out")));
        stage.set(Set::DeleteRole(named("EMR_DefaultRole")));
        stage.set(Set::DeleteKey(named(OWNERS_KEY)));
    }
    setup(&mut stage, &APPLY).expect_code(0);
}

#[test]
fn a_second_pipeline_shares_key_and_buckets_and_the_firsts_statements_stay_as_they_are() {
    let mut stage = made_account();
    let documents = |stage: &Stage| -> Vec<(String, Vec<String>)> {
        stage.sim.with_world(|world| {
            let buckets = world.buckets.values().filter_map(|bucket| {
                bucket.policy.as_ref().map(|policy| (bucket.name.clone(), policy.clone()))
            });
            let keys = world.keys.iter().map(|key| (key.arn(), key.policy.clone()));
            let users = world.users.iter().chain(&world.roles).flat_map(|holder| {
                let of = |name: &str| format!("{} of {}", name, holder.name);
                holder.policies.iter().map(move |(name, policy)| (of(name), policy.clone()))
            });
            let all = buckets.chain(keys).chain(users);
            let text = |policy: Value| statements(&policy).iter().map(Value::to_string).collect();
            all.map(|(name, policy)| (name, text(policy))).collect()
        })
    };
    let (first, before) = (stage.config.clone(), documents(&stage));
    let first_configuration =
        stage.sim.with_world(|world| world.security_configurations[0].clone());
    stage.config = first
        .replace("EMR_EC2_DefaultRole", "OtherInstances")
        .replace("EMR_DefaultRole", "OtherService")
        .replace("job_name: Snowplow ETL", "job_name: Other ETL");
    // The first one's certificates are for the first one's role: the name does not help.
    assert!(stage.config.contains(&first_configuration.name));
    let options: Vec<&str> =
        APPLY.into_iter().chain(["--name=other", "--key=alias/emr-etl"]).collect();
    setup(&mut stage, &options).expect_code(0);
    let done = to_do(&stage, "setup.json");
    insta::assert_snapshot!(done.join("\n"));
    stage.check().expect_code(0);
    // Every policy that was there begins with the statements that it had, byte for byte.
    let after = documents(&stage);
    let mut grown = 0;
    for (name, statements) in &before {
        let (_, now) = after.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(now[..statements.len()], statements[..], "{name}");
        grown += usize::from(now.len() > statements.len());
    }
    assert_eq!(grown, 1, "the key's policy alone got statements");
    assert_eq!(only_key(&stage).aliases, ["alias/emr-etl"]);
    // Nothing is left to do for the first one, which still passes.
    stage.config = first;
    setup(&mut stage, &["--report=again.json"]).expect_code(0);
    assert_eq!(to_do(&stage, "again.json"), [] as [&str; 0]);
    stage.check().expect_code(0);
    stage.sim.with_world(|world| {
        assert!(world.security_configurations.iter().any(|it| {
            (&it.name, &it.content) == (&first_configuration.name, &first_configuration.content)
        }));
    });
}

/// An account without what differs between two of them: ids, times, new certificates.
fn shape(stage: &Stage) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let varies = ["id", "created", "visible_from", "objects", "tags"];
                fields.retain(|name, _| !varies.contains(&name.as_str()));
                fields.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let text = account(stage).to_string().replace(&only_key(stage).id, "KEY");
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    clean(&mut whole);
    whole
}

/// The guard's calls so far, each once, in the order of their first: service, operation, and
/// whether it can change something.
fn operations(stage: &Stage) -> Vec<(String, String, bool)> {
    let mut seen = BTreeSet::new();
    stage
        .requests_of_guard()
        .map(|request| {
            let subject = request.subject;
            (subject.service, subject.operation, subject.writes)
        })
        .filter(|call| seen.insert(call.clone()))
        .collect()
}

/// Plays a setup that is denied every call of an operation.
fn denied(stage: &mut Stage, (service, operation, _): &(String, String, bool)) -> Played {
    stage.set(Set::ClearRequests);
    let fault = Fault::every(operation, FaultKind::AccessDenied);
    stage.set(Set::AddFault(Fault { service: Some(service.clone()), ..fault }));
    let played = setup(stage, &APPLY);
    stage.set(Set::ClearFaults);
    played
}

#[test]
fn a_denied_write_ends_it_there_and_the_next_setup_goes_on_from_there() {
    let whole = made_account();
    let kept: Vec<_> = operations(&whole).into_iter().filter(|(_, _, writes)| *writes).collect();
    assert!(kept.len() > 10, "{kept:?}");
    // Each setup completes what the one before it was denied, and is denied the next.
    let mut stage = empty_account("eu-west-1");
    for call in &kept {
        let played = denied(&mut stage, call);
        let said = format!("{call:?}\n{}", played.transcript());
        assert_eq!(played.code, Some(69), "{said}");
        assert!(played.unbroken().contains("then run the same command again"), "{said}");
        assert!(played.stderr.contains(&call.1), "{said}");
        assert!(!played.stdout.contains("setup is complete"), "{said}");
        assert_eq!(writes(&stage).last(), Some(&call.1), "nothing follows: {said}");
        assert!(stage.config.contains("      encrypted: false\n"), "{said}");
        let steps = document(&stage, "setup.json")["record"]["steps"].clone();
        let last = steps.as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["verified"], false, "{said}\n{last}");
    }
    setup(&mut stage, &APPLY).expect_code(0);
    stage.check().expect_code(0);
    assert_eq!(shape(&stage), shape(&whole), "nothing was made twice, and nothing is missing");
}

#[test]
fn a_denied_look_changes_nothing_and_is_never_taken_for_done() {
    let mut stage = made_account();
    // The order of calls that are made at once varies.
    let reads: BTreeSet<_> =
        operations(&stage).into_iter().filter(|(_, _, writes)| !writes).collect();
    assert!(reads.len() > 20, "{reads:?}");
    let before = account(&stage);
    let mut said = String::new();
    for call in &reads {
        let played = denied(&mut stage, call);
        let shown = format!("{call:?}\n{}", played.transcript());
        assert_eq!((writes(&stage), account(&stage)), (Vec::new(), before.clone()), "{shown}");
        // What cannot be seen is not called refused.
        let code = played.code.unwrap();
        assert!([0, 69].contains(&code), "{shown}");
        let is_done = ["setup is complete", "everything that setup makes is in place"]
            .iter()
            .any(|words| played.stdout.contains(words));
        assert_eq!(is_done, code == 0, "{shown}");
        writeln!(said, "{} {}: {code}", call.0, call.1).unwrap();
    }
    insta::assert_snapshot!(said);
    setup(&mut stage, &APPLY).expect_code(0);
}

/// Starts `setup --apply` and kills it at its first write: before that takes effect, or after.
/// False: it has ended without a write.
pub(crate) fn killed_at_first_write(stage: &Stage, mut apply: Command, kind: FaultKind) -> bool {
    stage.set(Set::ClearRequests);
    stage.set(Set::AddFault(Fault::nth(ANY_WRITE, 1, kind)));
    let mut child = apply.spawn().unwrap();
    let mut has_ended = false;
    wait_until("it is held, or has ended", || {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || stage.sim.requests().iter().any(|request| request.fault.is_some())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    stage.set(Set::ClearFaults);
    !has_ended
}

#[test]
fn killed_at_every_step_and_again_each_setup_makes_one_more_and_none_twice() {
    let whole = made_account();
    let expected = writes(&whole);
    let mut stage = empty_account("eu-west-1");
    let killed = |stage: &Stage, kind| {
        killed_at_first_write(stage, stage.with_options("setup", &APPLY), kind)
    };
    let mut done = Vec::new();
    for (index, operation) in expected.iter().enumerate() {
        // src/setup/tests has both kinds at each write.
        if index % 6 == 0 {
            assert!(killed(&stage, FaultKind::Hang), "{index}: {operation}");
        }
        assert!(killed(&stage, FaultKind::AppliedThenHang), "{index}: {operation}");
        done.extend(writes(&stage));
        let journal = std::fs::read_dir(stage.path("state/setups")).unwrap().count();
        assert!(journal > 0, "{index}: what is under way is written down");
    }
    assert_eq!(done, expected, "every write once, in the order of an undisturbed setup");
    stage.set(Set::ClearRequests);
    setup(&mut stage, &APPLY).expect_code(0);
    assert_eq!(writes(&stage), [] as [&str; 0]);
    assert_eq!(shape(&stage), shape(&whole));
    stage.check().expect_code(0);
    // The report has all of it, so that it can be taken back.
    let record = document(&stage, "setup.json")["record"]["steps"].clone();
    let of_whole = document(&whole, "setup.json")["record"]["steps"].clone();
    let pieces = |steps: &Value| -> Vec<String> {
        let steps = steps.as_array().unwrap().iter();
        steps
            .filter(|step| step["action"] != "found")
            .map(|step| step["piece"]["kind"].to_string())
            .collect()
    };
    assert_eq!(pieces(&record), pieces(&of_whole));
}
