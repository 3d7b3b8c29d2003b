//! Owns the tests of objects with all properties: versions, locks, archives, multipart copies,
//! updates in place, batch jobs.

use std::time::Duration;

use emr_simulator::{
    AclGrant, Attributes, Checksum, Command, Fault, FaultKind, PutBucket, PutObject, PutRole,
    Retention, Simulator, Sse,
};
use serde_json::json;

use crate::support::{Client, Got, stepped};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";
const SSE: &str = "x-amz-server-side-encryption";
const GIB: u64 = 1024 * 1024 * 1024;

fn bucket(sim: &Simulator, put: PutBucket) {
    sim.apply(Command::PutBucket(PutBucket { name: "b".to_owned(), ..put })).unwrap();
}

fn object(sim: &Simulator, key: &str, put: PutObject) {
    sim.apply(Command::PutObject(PutObject { bucket: "b".to_owned(), key: key.to_owned(), ..put }))
        .unwrap();
}

fn versioned() -> (Simulator, Client) {
    let sim = stepped();
    bucket(
        &sim,
        PutBucket {
            versioning: Some("Enabled".to_owned()),
            object_lock: true,
            ..Default::default()
        },
    );
    let client = Client::new(&sim);
    (sim, client)
}

fn plain(put: PutBucket) -> (Simulator, Client) {
    let sim = stepped();
    bucket(&sim, put);
    let client = Client::new(&sim);
    (sim, client)
}

fn unencrypted() -> PutObject {
    PutObject { body: Some("hello".to_owned()), sse: Some(Sse::None), ..Default::default() }
}

fn update(client: &Client, path: &str) -> Got {
    let body = format!(
        "<ObjectEncryption><SSE-KMS><KMSKeyArn>{KEY}</KMSKeyArn></SSE-KMS></ObjectEncryption>"
    );
    client.put(&format!("{path}?encryption"), &[], &body)
}

#[test]
fn versions_come_in_pages_newest_first_and_a_delete_marker_hides_them() {
    let (_sim, client) = versioned();
    for text in ["one", "two", "three"] {
        assert!(client.put("/b/a", &[], text).header("x-amz-version-id").is_some());
    }
    client.put("/b/z", &[], "last");
    assert_eq!(client.s3("DELETE", "/b/a", &[]).header("x-amz-delete-marker"), Some("true"));
    assert_eq!(client.s3("HEAD", "/b/a", &[]).status, 404);
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let got = client.s3("GET", &format!("/b?versions&max-keys=1{marker}"), &[]);
        seen.push((
            got.body.contains("<DeleteMarker>"),
            got.xml("IsLatest").unwrap().to_owned(),
            got.xml("Size").map(str::to_owned),
        ));
        match (got.xml("NextKeyMarker"), got.xml("NextVersionIdMarker")) {
            (Some(key), Some(version)) => {
                marker = format!("&key-marker={key}&version-id-marker={version}");
            }
            _ => break,
        }
    }
    let version = |latest: &str, size: &str| (false, latest.to_owned(), Some(size.to_owned()));
    assert_eq!(
        seen,
        [
            (true, "true".to_owned(), None),
            version("false", "5"),
            version("false", "3"),
            version("false", "3"),
            version("true", "4")
        ]
    );
}

#[test]
fn a_version_that_is_removed_uncovers_the_one_behind_it() {
    let (_sim, client) = versioned();
    let first = client.put("/b/a", &[], "one").header("x-amz-version-id").unwrap().to_owned();
    let second = client.put("/b/a", &[], "two").header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(client.s3("GET", &format!("/b/a?versionId={first}"), &[]).body, "one");
    assert_eq!(client.s3("DELETE", &format!("/b/a?versionId={second}"), &[]).status, 204);
    assert_eq!(client.s3("GET", "/b/a", &[]).body, "one");
    assert_eq!(
        client.s3("GET", &format!("/b/a?versionId={second}"), &[]).error(),
        (404, "NoSuchVersion".to_owned())
    );
}

#[test]
fn object_lock_keeps_versions_and_their_protection() {
    let (sim, client) = versioned();
    let until = sim.with_world(|world| world.now) + Duration::from_secs(3600);
    let locked = |mode: &str| Attributes {
        retention: Some(Retention { mode: mode.to_owned(), until }),
        ..Default::default()
    };
    for (key, attributes) in [
        ("c", locked("COMPLIANCE")),
        ("g", locked("GOVERNANCE")),
        ("h", Attributes { legal_hold: true, ..Default::default() }),
    ] {
        object(
            &sim,
            key,
            PutObject {
                body: Some("x".to_owned()),
                sse: Some(Sse::Aes256),
                attributes,
                ..Default::default()
            },
        );
        let version = client
            .s3("HEAD", &format!("/b/{key}"), &[])
            .header("x-amz-version-id")
            .unwrap()
            .to_owned();
        let delete = |headers: &[(&str, &str)]| {
            client.s3("DELETE", &format!("/b/{key}?versionId={version}"), headers).status
        };
        assert_eq!(update(&client, &format!("/b/{key}")).error(), (403, "AccessDenied".to_owned()));
        assert_eq!(delete(&[]), 403);
        let bypassed = delete(&[("x-amz-bypass-governance-retention", "true")]);
        assert_eq!(bypassed, if key == "g" { 204 } else { 403 });
    }
    sim.advance(Duration::from_secs(3601));
    assert_eq!(update(&client, "/b/c").status, 200);
}

fn carrying() -> PutObject {
    let attributes = Attributes {
        tags: [("team".to_owned(), "data & more".to_owned())].into(),
        cache_control: Some("max-age=60".to_owned()),
        website_redirect: Some("/elsewhere".to_owned()),
        checksum: Some(Checksum {
            algorithm: "SHA256".to_owned(),
            kind: "FULL_OBJECT".to_owned(),
            value: String::new(),
        }),
        grants: vec![AclGrant { grantee: "id=abc".to_owned(), permission: "READ".to_owned() }],
        ..Default::default()
    };
    let metadata = [("who".to_owned(), "me".to_owned())].into();
    PutObject {
        attributes,
        metadata,
        storage_class: Some("STANDARD_IA".to_owned()),
        content_type: Some("text/csv".to_owned()),
        ..unencrypted()
    }
}

#[test]
fn a_copy_in_place_keeps_metadata_tags_and_checksum_and_drops_the_rest() {
    let (sim, client) =
        plain(PutBucket { ownership: Some("ObjectWriter".to_owned()), ..Default::default() });
    object(&sim, "a", carrying());
    let before = client.s3("HEAD", "/b/a", &[("x-amz-checksum-mode", "ENABLED")]);
    assert_eq!(
        client.put("/b/a", &[("x-amz-copy-source", "/b/a"), (SSE, "AES256")], "").status,
        200
    );
    let after = client.s3("HEAD", "/b/a", &[("x-amz-checksum-mode", "ENABLED")]);
    for kept in [
        "content-type",
        "x-amz-meta-who",
        "cache-control",
        "x-amz-tagging-count",
        "x-amz-checksum-sha256",
        "etag",
    ] {
        assert!(before.header(kept).is_some(), "{kept}");
        assert_eq!(before.header(kept), after.header(kept), "{kept}");
    }
    for dropped in ["x-amz-website-redirect-location", "x-amz-storage-class"] {
        assert!(before.header(dropped).is_some() && after.header(dropped).is_none(), "{dropped}");
    }
    assert_eq!(client.s3("GET", "/b/a?tagging", &[]).xml("Value"), Some("data &amp; more"));
    assert!(!client.s3("GET", "/b/a?acl", &[]).body.contains("<ID>abc</ID>"));
}

#[test]
fn a_bucket_without_acls_refuses_them() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", unencrypted());
    let copy = client.put(
        "/b/a",
        &[("x-amz-copy-source", "/b/a"), (SSE, "AES256"), ("x-amz-grant-read", "id=\"abc\"")],
        "",
    );
    assert_eq!(copy.error(), (400, "AccessControlListNotSupported".to_owned()));
    let hold =
        [("x-amz-copy-source", "/b/a"), (SSE, "AES256"), ("x-amz-object-lock-legal-hold", "ON")];
    assert_eq!(client.put("/b/a", &hold, "").error(), (400, "InvalidRequest".to_owned()));
}

#[test]
fn a_writer_in_between_is_seen_on_both_sides_of_a_copy() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", unencrypted());
    for condition in ["x-amz-copy-source-if-match", "if-match"] {
        let stale = client.put(
            "/b/a",
            &[("x-amz-copy-source", "/b/a"), (SSE, "AES256"), (condition, "\"stale\"")],
            "",
        );
        assert_eq!(stale.error(), (412, "PreconditionFailed".to_owned()), "{condition}");
    }
}

#[test]
fn what_is_too_large_to_copy_is_copied_in_parts_and_is_the_same_content() {
    let (sim, client) = plain(PutBucket::default());
    object(
        &sim,
        "big",
        PutObject { size: Some(6 * GIB), sse: Some(Sse::None), ..Default::default() },
    );
    let content =
        |sim: &Simulator| sim.with_world(|world| world.object("b", "big").unwrap().extents.clone());
    let before = content(&sim);
    let source = ("x-amz-copy-source", "/b/big");
    assert_eq!(
        client.put("/b/big", &[source, (SSE, "AES256")], "").error(),
        (400, "InvalidRequest".to_owned())
    );
    let created = client.send("s3", "POST", "/b/big?uploads", &[(SSE, "AES256")], "").unwrap();
    let id = created.xml("UploadId").unwrap();
    let part = |number: u64, from: u64, to: u64| {
        let range = format!("bytes={from}-{}", to - 1);
        let got = client.put(
            &format!("/b/big?partNumber={number}&uploadId={id}"),
            &[source, ("x-amz-copy-source-range", &range)],
            "",
        );
        format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
            got.xml("ETag").unwrap()
        )
    };
    let parts = [part(1, 0, 4 * GIB), part(2, 4 * GIB, 6 * GIB)].concat();
    assert_eq!(
        client.s3("GET", &format!("/b/big?uploadId={id}"), &[]).body.matches("<Part>").count(),
        2
    );
    let complete = |headers: &[(&str, &str)]| {
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        client.send("s3", "POST", &format!("/b/big?uploadId={id}"), headers, &body).unwrap()
    };
    assert_eq!(
        complete(&[("x-amz-checksum-crc64nvme", "other")]).error(),
        (400, "BadDigest".to_owned())
    );
    assert_eq!(complete(&[("if-match", "\"other\"")]).status, 412);
    assert_eq!(complete(&[]).status, 200);
    assert_eq!(complete(&[]).error(), (404, "NoSuchUpload".to_owned()));
    assert_eq!(content(&sim), before);
    assert_eq!(client.s3("HEAD", "/b/big", &[]).header(SSE), Some("AES256"));
}

#[test]
fn a_protection_changes_in_place_only_from_sse_s3_and_sse_kms() {
    let (sim, client) = plain(PutBucket::default());
    for (key, sse) in
        [("none", Sse::None), ("dsse", Sse::Dsse { key: None }), ("customer", Sse::Customer)]
    {
        object(&sim, key, PutObject { sse: Some(sse), ..Default::default() });
        assert_eq!(
            update(&client, &format!("/b/{key}")).error(),
            (400, "InvalidRequest".to_owned()),
            "{key}"
        );
    }
    object(
        &sim,
        "s3",
        PutObject {
            body: Some("x".to_owned()),
            sse: Some(Sse::Aes256),
            storage_class: Some("GLACIER".to_owned()),
            ..Default::default()
        },
    );
    let before = client.s3("HEAD", "/b/s3", &[]);
    assert_eq!(update(&client, "/b/s3").status, 200);
    let after = client.s3("HEAD", "/b/s3", &[]);
    assert_eq!((after.header(SSE), after.header("etag")), (Some("aws:kms"), before.header("etag")));
}

#[test]
fn what_is_archived_is_copied_only_while_it_is_restored() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", PutObject { storage_class: Some("GLACIER".to_owned()), ..unencrypted() });
    let copy = || {
        client.put(
            "/b/a",
            &[("x-amz-copy-source", "/b/a"), (SSE, "AES256"), ("x-amz-storage-class", "GLACIER")],
            "",
        )
    };
    let restore = || {
        client
            .send(
                "s3",
                "POST",
                "/b/a?restore",
                &[],
                "<RestoreRequest><Days>2</Days></RestoreRequest>",
            )
            .unwrap()
    };
    assert_eq!(copy().error(), (403, "InvalidObjectState".to_owned()));
    assert_eq!(
        (restore().status, restore().error().1),
        (202, "RestoreAlreadyInProgress".to_owned())
    );
    assert_eq!(
        client.s3("HEAD", "/b/a", &[]).header("x-amz-restore"),
        Some("ongoing-request=\"true\"")
    );
    sim.advance(Duration::from_secs(4 * 3600));
    assert!(
        client
            .s3("HEAD", "/b/a", &[])
            .header("x-amz-restore")
            .unwrap()
            .starts_with("ongoing-request=\"false\", expiry-date=")
    );
    sim.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(copy().status, 403);
    restore();
    sim.advance(Duration::from_secs(5 * 3600));
    assert_eq!(copy().status, 200);
}

#[test]
fn an_error_can_come_with_status_200_and_then_nothing_was_done() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", unencrypted());
    let kind = FaultKind::ErrorIn200 {
        code: "InternalError".to_owned(),
        message: "We encountered an internal error.".to_owned(),
    };
    sim.apply(Command::AddFault(Fault::nth("CopyObject", 1, kind))).unwrap();
    let copy = || client.put("/b/a", &[("x-amz-copy-source", "/b/a"), (SSE, "AES256")], "");
    assert_eq!(copy().error(), (200, "InternalError".to_owned()));
    assert_eq!(client.s3("HEAD", "/b/a", &[]).header(SSE), None);
    assert_eq!(copy().error(), (200, String::new()));
}

fn role(actions: &[&str]) -> PutRole {
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]});
    let trust = json!({"Statement": [{
        "Effect": "Allow",
        "Principal": {"Service": "batchoperations.s3.amazonaws.com"},
        "Action": "sts:AssumeRole"
    }]});
    PutRole {
        name: "batch".to_owned(),
        policies: vec![policy],
        trust: Some(trust),
        ..Default::default()
    }
}

/// Creates a job over a manifest of `keys`, and confirms it; returns its last status.
fn job(sim: &Simulator, client: &Client, keys: &[&str]) -> (String, Got) {
    let manifest: Vec<String> = keys.iter().map(|key| format!("b,{key}\n")).collect();
    let etag =
        client.put("/b/manifest.csv", &[], &manifest.concat()).header("etag").unwrap().to_owned();
    let body = format!(
        "<CreateJobRequest><ClientRequestToken>t</ClientRequestToken><ConfirmationRequired>true</ConfirmationRequired>\
         <Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format></Spec><Location><ObjectArn>arn:aws:s3:::b/manifest.csv</ObjectArn><ETag>{etag}</ETag></Location></Manifest>\
         <Operation><S3PutObjectCopy><TargetResource>arn:aws:s3:::b</TargetResource><NewObjectMetadata><SSEAlgorithm>KMS</SSEAlgorithm></NewObjectMetadata><SSEAwsKmsKeyId>{KEY}</SSEAwsKmsKeyId></S3PutObjectCopy></Operation>\
         <Priority>10</Priority><Report><Bucket>arn:aws:s3:::b</Bucket><Enabled>true</Enabled><Prefix>reports</Prefix><ReportScope>AllTasks</ReportScope></Report>\
         <RoleArn>arn:aws:iam::123456789012:role/batch</RoleArn></CreateJobRequest>"
    );
    let account = ("x-amz-account-id", "123456789012");
    let create = || {
        client
            .send("s3", "POST", "/v20180820/jobs", &[account], &body)
            .unwrap()
            .xml("JobId")
            .unwrap()
            .to_owned()
    };
    let id = create();
    assert_eq!(create(), id, "the same token is the same job");
    let describe =
        || client.send("s3", "GET", &format!("/v20180820/jobs/{id}"), &[account], "").unwrap();
    let confirm = || {
        client
            .send(
                "s3",
                "POST",
                &format!("/v20180820/jobs/{id}/status?requestedJobStatus=Ready"),
                &[account],
                "",
            )
            .unwrap()
    };
    let mut confirmed = false;
    for _ in 0..20 {
        let got = describe();
        match got.xml("Status").unwrap() {
            "Suspended" => {
                assert!(
                    !confirmed
                        && keys.iter().all(|key| sim.with_world(|world| world
                            .object("b", key)
                            .is_none_or(|it| it.sse == Sse::None)))
                );
                assert_eq!(confirm().xml("Status"), Some("Ready"));
                confirmed = true;
            }
            "Complete" | "Failed" => return (id, got),
            _ => {}
        }
    }
    panic!("the job does not end");
}

#[test]
fn a_batch_job_waits_for_its_confirmation_copies_and_reports() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", unencrypted());
    sim.apply(Command::PutRole(role(&["s3:GetObject*", "s3:PutObject*"]))).unwrap();
    let (id, end) = job(&sim, &client, &["a", "missing"]);
    assert_eq!(
        (end.xml("NumberOfTasksSucceeded"), end.xml("NumberOfTasksFailed")),
        (Some("1"), Some("1"))
    );
    assert_eq!(client.s3("HEAD", "/b/a", &[]).header(SSE), Some("aws:kms"));
    let report = client.s3("GET", &format!("/b/reports/job-{id}/manifest.json"), &[]).json();
    let failed = report["Results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["TaskExecutionStatus"] == "failed")
        .unwrap();
    let csv = client.s3("GET", &format!("/b/{}", failed["Key"].as_str().unwrap()), &[]).body;
    assert_eq!(
        csv,
        "\"b\",\"missing\",\"\",\"failed\",\"NoSuchKey\",\"404\",\"The specified key does not \
         exist.\"\n"
    );
}

#[test]
fn a_batch_job_can_do_only_what_its_role_may() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a", unencrypted());
    sim.apply(Command::PutRole(role(&["s3:GetObject", "s3:PutObject"]))).unwrap();
    let (_, end) = job(&sim, &client, &["a"]);
    assert_eq!(end.xml("NumberOfTasksFailed"), Some("1"), "tags are copied, too");
}

#[test]
fn an_account_has_a_public_access_block_of_its_own() {
    let sim = stepped();
    let client = Client::new(&sim);
    let ask = || {
        client
            .send(
                "s3",
                "GET",
                "/v20180820/configuration/publicAccessBlock",
                &[("x-amz-account-id", "123456789012")],
                "",
            )
            .unwrap()
    };
    assert_eq!(ask().error(), (404, "NoSuchPublicAccessBlockConfiguration".to_owned()));
    sim.apply(Command::SetAccountPublicAccessBlock(emr_simulator::AccountBlock {
        account: None,
        on: Some(true),
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(ask().xml("BlockPublicPolicy"), Some("true"));
}

#[test]
fn only_what_is_not_encoded_in_a_copy_source_asks_for_a_version() {
    let (sim, client) = plain(PutBucket::default());
    object(&sim, "a?versionId=b", unencrypted());
    let copy = |source: &str| {
        client
            .put("/b/a%3FversionId%3Db", &[("x-amz-copy-source", source), (SSE, "AES256")], "")
            .status
    };
    assert_eq!(copy("/b/a%3FversionId%3Db?versionId=null"), 200);
    assert_eq!(copy("/b/a%3FversionId%3Db"), 200);
    assert_eq!(copy("/b/a?versionId=b"), 404);
}

/// Makes S3 generate a list for a job by `filter`, stored below `lists`; returns the job's result.
fn listed(client: &Client, filter: &str) -> Got {
    let token = filter.replace(['<', '>', '/', ' '], "-");
    let body = format!(
        "<CreateJobRequest><ClientRequestToken>{token}</ClientRequestToken><ConfirmationRequired>false</ConfirmationRequired>\
         <ManifestGenerator><S3JobManifestGenerator><SourceBucket>arn:aws:s3:::b</SourceBucket><ManifestOutputLocation><Bucket>arn:aws:s3:::b</Bucket><ManifestPrefix>lists</ManifestPrefix>\
         <ManifestEncryption><SSE-S3/></ManifestEncryption><ManifestFormat>S3InventoryReport_CSV_20211130</ManifestFormat></ManifestOutputLocation><Filter>{filter}</Filter>\
         <EnableManifestOutput>true</EnableManifestOutput></S3JobManifestGenerator></ManifestGenerator>\
         <Operation><S3UpdateObjectEncryption/></Operation><Priority>1</Priority><Report><Enabled>false</Enabled></Report><RoleArn>arn:aws:iam::123456789012:role/batch</RoleArn></CreateJobRequest>"
    );
    let account = ("x-amz-account-id", "123456789012");
    let made = client.send("s3", "POST", "/v20180820/jobs", &[account], &body).unwrap();
    let Some(id) = made.xml("JobId").map(str::to_owned) else { return made };
    for _ in 0..20 {
        let got =
            client.send("s3", "GET", &format!("/v20180820/jobs/{id}"), &[account], "").unwrap();
        if matches!(got.xml("Status"), Some("Complete" | "Failed")) {
            return got;
        }
    }
    panic!("the job does not end");
}

#[test]
fn a_list_that_s3_makes_has_all_versions_that_one_filter_by_encryption_fits_and_is_kept() {
    let (sim, client) =
        plain(PutBucket { versioning: Some("Enabled".to_owned()), ..Default::default() });
    for _ in 0..2 {
        object(&sim, "a", unencrypted());
    }
    object(&sim, "a", PutObject { sse: Some(Sse::Aes256), ..unencrypted() });
    object(&sim, "z", PutObject { storage_class: Some("STANDARD_IA".to_owned()), ..unencrypted() });
    let one = "<MatchAnyObjectEncryption><ObjectEncryption><NOT-SSE/></ObjectEncryption></MatchAnyObjectEncryption>";
    let denied = listed(&client, one);
    assert_eq!(
        (denied.xml("Status"), denied.xml("FailureCode")),
        (Some("Failed"), Some("InvalidRole"))
    );
    sim.apply(Command::PutRole(role(&["s3:ListBucket", "s3:PutObject"]))).unwrap();
    let denied = listed(&client, &format!("{one}<MatchAnyStorageClass/>"));
    assert_eq!(
        (denied.xml("Status"), denied.xml("FailureCode")),
        (Some("Failed"), Some("AccessDenied"))
    );
    sim.apply(Command::PutRole(role(&[
        "s3:ListBucket",
        "s3:PutInventoryConfiguration",
        "s3:PutObject",
    ])))
    .unwrap();
    let two = "<MatchAnyObjectEncryption><NOT-SSE/><SSE-S3/></MatchAnyObjectEncryption>";
    assert_eq!(listed(&client, two).error(), (400, "InvalidRequest".to_owned()));
    let tasks =
        |filter: &str| listed(&client, filter).xml("TotalNumberOfTasks").unwrap().to_owned();
    assert_eq!(tasks(&format!("{one} ")), "3", "the two old versions, and the other key");
    assert_eq!(
        tasks(&format!(
            "{one}<MatchAnyStorageClass><member>STANDARD_IA</member></MatchAnyStorageClass>"
        )),
        "1"
    );
    assert_eq!(
        tasks(&format!(
            "<KeyNameConstraint><MatchAnyPrefix><member>a</member></MatchAnyPrefix></KeyNameConstraint>{one}"
        )),
        "2"
    );
    let end = listed(
        &client,
        "<MatchAnyObjectEncryption><SSE-S3/></MatchAnyObjectEncryption><KeyNameConstraint/>",
    );
    let place = end.xml("ObjectArn").unwrap().strip_prefix("arn:aws:s3:::").unwrap().to_owned();
    let list = client.s3("GET", &format!("/{place}"), &[]);
    assert_eq!(list.header(SSE), Some("AES256"));
    assert!(
        list.body.starts_with("\"b\",\"a\",\"") && list.body.lines().count() > 0,
        "{}",
        list.body
    );
}
