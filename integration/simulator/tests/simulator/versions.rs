//! Owns the tests of the null version, conditional requests, and changes by others between two
//! requests.

use emr_simulator::{
    AclGrant, ChangeObject, Command, Hook, ObjectVersion, PutBucket, PutObject, Simulator, Sse,
};

use crate::support::{Client, Got, stepped};

const SSE: (&str, &str) = ("x-amz-server-side-encryption", "AES256");
const SOURCE: (&str, &str) = ("x-amz-copy-source", "/b/a");

fn versioning(sim: &Simulator, status: Option<&str>) {
    sim.apply(Command::PutBucket(PutBucket {
        name: "b".to_owned(),
        versioning: status.map(str::to_owned),
        ownership: Some("ObjectWriter".to_owned()),
        ..PutBucket::default()
    }))
    .unwrap();
}

/// An object `a` from before the bucket had versioning, now its null version.
fn with_a_null_version(status: &str) -> (Simulator, Client) {
    let sim = stepped();
    versioning(&sim, None);
    let client = Client::new(&sim);
    client.put("/b/a", &[], "null");
    versioning(&sim, Some(status));
    (sim, client)
}

/// Versions and delete markers of `a`, newest first: `null` or `v`, with the content's length.
fn stack(client: &Client) -> Vec<String> {
    let body = client.s3("GET", "/b?versions", &[]).body;
    let entries = body.split("<Key>a</Key>").skip(1);
    let text = |entry: &str, name: &str| {
        let (_, rest) = entry.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text.to_owned())
    };
    entries
        .map(|entry| {
            let entry = entry.split("<Key>").next().unwrap();
            let id = text(entry, "VersionId").unwrap();
            let id = if id == "null" { "null" } else { "v" };
            let what = text(entry, "Size").unwrap_or_else(|| "marker".to_owned());
            format!("{id} {what}")
        })
        .collect()
}

fn copy(client: &Client, headers: &[(&str, &str)]) -> Got {
    client.put("/b/a", &[&[SOURCE, SSE], headers].concat(), "")
}

/// Copies `a` onto itself in one part.
fn copy_in_parts(client: &Client, headers: &[(&str, &str)]) -> Got {
    let created = client.send("s3", "POST", "/b/a?uploads", &[SSE], "").unwrap();
    let id = created.xml("UploadId").unwrap();
    let part = client.put(&format!("/b/a?partNumber=1&uploadId={id}"), &[SOURCE], "");
    let etag = part.xml("ETag").unwrap();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    client.send("s3", "POST", &format!("/b/a?uploadId={id}"), headers, &body).unwrap()
}

// Amazon S3 user guide, "Adding objects to versioning-enabled buckets": existing objects have the
// version id null, and stay when newer versions are added.
#[test]
fn where_versions_are_kept_an_older_null_version_stays_and_is_shown_as_null() {
    let (_sim, client) = with_a_null_version("Enabled");
    assert_eq!(client.s3("HEAD", "/b/a", &[]).header("x-amz-version-id"), Some("null"));
    let copied = copy(&client, &[]);
    assert_ne!(copied.header("x-amz-version-id"), None);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), None, "that of null is not named");
    client.put("/b/a", &[], "new");
    assert_eq!(stack(&client), ["v 3", "v 4", "null 4"]);
    let newest = client.s3("HEAD", "/b/a", &[]).header("x-amz-version-id").unwrap().to_owned();
    let copied = copy(&client, &[]);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), Some(newest.as_str()));
    assert_eq!(client.s3("GET", "/b/a?versionId=null", &[]).body, "null");
}

// Amazon S3 user guide, "Adding objects to versioning-suspended buckets": a write has the version
// id null, and overwrites an existing null version at any position. That the response to a PUT
// contains no version is recorded from AWS in LocalStack's `test_put_object_on_suspended_bucket`;
// that of a copy is null (API reference, CopyObject).
#[test]
fn where_versions_are_suspended_every_write_replaces_the_null_version_and_no_other() {
    for write in ["put", "copy", "in parts"] {
        let (sim, client) = with_a_null_version("Enabled");
        client.put("/b/a", &[], "second");
        versioning(&sim, Some("Suspended"));
        assert_eq!(stack(&client), ["v 6", "null 4"]);
        let written = match write {
            "put" => client.put("/b/a", &[], "second"),
            "copy" => copy(&client, &[]),
            _ => copy_in_parts(&client, &[]),
        };
        let named = if write == "put" { None } else { Some("null") };
        assert_eq!((written.status, written.header("x-amz-version-id")), (200, named), "{write}");
        assert_eq!(stack(&client), ["null 6", "v 6"], "{write}: the old null version is gone");
        assert_eq!(client.s3("HEAD", "/b/a", &[]).header("x-amz-version-id"), Some("null"));
    }
}

// Amazon S3 user guide, "Deleting objects from versioning-suspended buckets": a delete removes the
// null version, and inserts a delete marker whose version id is null.
#[test]
fn where_versions_are_suspended_a_delete_replaces_the_null_version_by_a_marker() {
    let (sim, client) = with_a_null_version("Enabled");
    client.put("/b/a", &[], "second");
    versioning(&sim, Some("Suspended"));
    let deleted = client.s3("DELETE", "/b/a", &[]);
    let said = |got: &Got| {
        ["x-amz-version-id", "x-amz-delete-marker"].map(|it| got.header(it).map(str::to_owned))
    };
    assert_eq!(said(&deleted), [Some("null".to_owned()), Some("true".to_owned())]);
    assert_eq!(stack(&client), ["null marker", "v 6"]);
    client.s3("DELETE", "/b/a", &[]);
    assert_eq!(stack(&client), ["null marker", "v 6"], "one marker takes the other's place");
    let removed = client.s3("DELETE", "/b/a?versionId=null", &[]);
    assert_eq!(said(&removed), [Some("null".to_owned()), Some("true".to_owned())]);
    assert_eq!(
        (stack(&client).as_slice(), client.s3("GET", "/b/a", &[]).status),
        (&["v 6".to_owned()][..], 200)
    );
}

// Amazon S3 user guide, "How to perform conditional deletes": 412 if the ETag differs, 404 if there
// is no object, 412 if a delete marker is the current version; only the current version counts.
#[test]
fn a_condition_on_a_delete_is_about_the_current_version_even_where_another_is_deleted() {
    let (_sim, client) = with_a_null_version("Enabled");
    let old = client.s3("HEAD", "/b/a", &[]).header("etag").unwrap().to_owned();
    let new = client.put("/b/a", &[], "new").header("etag").unwrap().to_owned();
    let delete = |path: &str, etag: &str| client.s3("DELETE", path, &[("if-match", etag)]);
    let refused = (412, "PreconditionFailed".to_owned());
    assert_eq!(delete("/b/a?versionId=null", &old).error(), refused, "its own ETag is no help");
    assert_eq!(delete("/b/a", &old).error(), refused);
    assert_eq!(stack(&client), ["v 3", "null 4"]);
    assert_eq!(delete("/b/a?versionId=null", &new).status, 204);
    assert_eq!(stack(&client), ["v 3"]);
    assert_eq!(delete("/b/a", "*").status, 204);
    assert_eq!(stack(&client), ["v marker", "v 3"]);
    assert_eq!(delete("/b/a", "*").error(), refused);
    assert_eq!(delete("/b/none", "*").error(), (404, "NoSuchKey".to_owned()));
    assert_eq!(delete("/b/none", &new).error(), (404, "NoSuchKey".to_owned()));
}

// Amazon S3 user guide, "How to prevent object overwrites with conditional writes": If-Match
// applies to the current version, and a delete marker is not an object.
#[test]
fn a_condition_on_a_write_is_about_the_current_version_and_a_marker_is_none() {
    for write in ["put", "copy", "in parts"] {
        let (sim, client) = with_a_null_version("Enabled");
        let old = client.s3("HEAD", "/b/a", &[]).header("etag").unwrap().to_owned();
        let go = |etag: &str| match write {
            "put" => client.put("/b/a", &[("if-match", etag)], "x"),
            "copy" => copy(&client, &[("if-match", etag)]),
            _ => copy_in_parts(&client, &[("if-match", etag)]),
        };
        let new = client.put("/b/a", &[], "new").header("etag").unwrap().to_owned();
        assert_eq!(go(&old).error(), (412, "PreconditionFailed".to_owned()), "{write}");
        assert_eq!(go(&new).status, 200, "{write}");
        let gone = client.s3("HEAD", "/b/a", &[]).header("etag").unwrap().to_owned();
        // The copies' source is given by its version, so the marker affects only the target.
        let marker = Hook::before_nth(
            if write == "in parts" { "CompleteMultipartUpload" } else { "PutObject" },
            1,
            vec![Command::DeleteObject(emr_simulator::ObjectName {
                bucket: "b".to_owned(),
                key: "a".to_owned(),
            })],
        );
        if write == "copy" {
            client.s3("DELETE", "/b/a", &[]);
            let source = [("x-amz-copy-source", "/b/a?versionId=null"), SSE, ("if-match", &gone)];
            let got = client.put("/b/a", &source, "");
            assert_eq!(got.error(), (404, "NoSuchKey".to_owned()), "{write}");
        } else {
            sim.apply(Command::AddHook(marker)).unwrap();
            assert_eq!(go(&gone).error(), (404, "NoSuchKey".to_owned()), "{write}");
        }
    }
}

// Recorded from AWS in LocalStack's `test_multipart_if_match_with_put_identical`: a write since the
// upload was created conflicts with it, whether or not the ETag is the same.
#[test]
fn what_was_written_since_an_upload_was_begun_conflicts_with_its_completion() {
    let (sim, client) = with_a_null_version("Enabled");
    let etag = client.s3("HEAD", "/b/a", &[]).header("etag").unwrap().to_owned();
    let again = Hook::before_nth(
        "CompleteMultipartUpload",
        1,
        vec![
            Command::Advance(emr_simulator::Advance { seconds: 1.0 }),
            Command::PutObject(PutObject {
                bucket: "b".to_owned(),
                key: "a".to_owned(),
                body: Some("null".to_owned()),
                sse: Some(Sse::Aes256),
                ..PutObject::default()
            }),
        ],
    );
    sim.apply(Command::AddHook(again)).unwrap();
    let refused = copy_in_parts(&client, &[("if-match", &etag)]);
    assert_eq!(refused.error(), (409, "ConditionalRequestConflict".to_owned()));
    assert_eq!(stack(&client), ["v 4", "null 4"]);
}

#[test]
fn others_act_exactly_before_or_after_the_nth_request_about_a_key() {
    let (sim, client) = with_a_null_version("Enabled");
    let public = AclGrant {
        grantee: "uri=http://acs.amazonaws.com/groups/global/AllUsers".to_owned(),
        permission: "READ".to_owned(),
    };
    let owner = |grants: Vec<AclGrant>| {
        Command::ChangeObject(ChangeObject {
            bucket: "b".to_owned(),
            key: "a".to_owned(),
            grants: Some(grants),
            tags: Some([("team".to_owned(), "x".to_owned())].into()),
            ..ChangeObject::default()
        })
    };
    sim.apply(Command::AddHook(
        Hook::before_nth("GetObjectAcl", 2, vec![owner(vec![public])]).about("b/a"),
    ))
    .unwrap();
    sim.apply(Command::AddHook(
        Hook::after_nth("GetObjectAcl", 2, vec![owner(Vec::new())]).about("b/a"),
    ))
    .unwrap();
    client.put("/b/other", &[], "x");
    client.s3("GET", "/b/other?acl", &[]);
    let public = || client.s3("GET", "/b/a?acl", &[]).body.contains("AllUsers");
    assert_eq!([public(), public(), public()], [false, true, false]);
    assert_eq!(client.s3("GET", "/b/a?tagging", &[]).xml("Key"), Some("team"));
    let before = client.s3("HEAD", "/b/a", &[]);
    let version = |version: &str| ObjectVersion {
        bucket: "b".to_owned(),
        key: "a".to_owned(),
        version: version.to_owned(),
    };
    sim.apply(Command::DeleteObjectVersion(version("null"))).unwrap();
    assert!(sim.apply(Command::DeleteObjectVersion(version("null"))).is_err());
    assert_eq!((before.status, client.s3("HEAD", "/b/a", &[]).status), (200, 404));
}

// RFC 9110, "Date": when the response was generated; S3 dates objects by the same clock.
#[test]
fn an_answer_is_dated_by_the_clock_that_dates_the_objects() {
    let (sim, client) = with_a_null_version("Enabled");
    let date = |got: &Got| got.header("date").unwrap().to_owned();
    let first = client.s3("HEAD", "/b/a", &[]);
    assert_eq!(Some(date(&first).as_str()), first.header("last-modified"));
    sim.advance(std::time::Duration::from_secs(366 * 86_400));
    let later = client.s3("HEAD", "/b/a", &[]);
    assert_ne!(date(&first), date(&later));
    client.put("/b/a", &[], "now");
    let now = client.s3("HEAD", "/b/a", &[]);
    assert_eq!(Some(date(&later).as_str()), now.header("last-modified"));
}
