//! What others do between two requests of a `reencrypt`: changes of writers, deleters and owners
//! are not lost, nothing that was deleted or made private reappears, and the remaining objects are
//! named.
//!
//! Each test acts exactly before or after a certain request. For each rule of S3 that is used here,
//! the simulator's own tests cite the AWS page.

use emr_simulator::{
    AclGrant, Attributes, ChangeObject, Checksum, Command as Set, Fault, FaultKind, Hook, Object,
    ObjectName, ObjectVersion, Older, PutBucket, PutObject, PutUpload, Sse,
};

use crate::{
    reencrypt::{GIB, apply, asked, command, object, put, reencrypt, stage, unencrypted},
    reencrypt_documents::page,
    support::{Played, Stage, wait_until},
};

/// The key of these tests, whose name must be in all messages about it.
const KEY: &str = "in/the-key";

fn bucket(versioning: Option<&str>) -> PutBucket {
    PutBucket {
        versioning: versioning.map(str::to_owned),
        ownership: Some("ObjectWriter".to_owned()),
        ..PutBucket::default()
    }
}

/// The bucket's owner switches its versioning; the objects stay.
fn switch(stage: &Stage, versioning: Option<&str>) {
    stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..bucket(versioning) }));
}

fn writes(object: PutObject) -> Set {
    Set::PutObject(PutObject { bucket: "old".to_owned(), key: KEY.to_owned(), ..object })
}

fn deletes() -> Set {
    Set::DeleteObject(ObjectName { bucket: "old".to_owned(), key: KEY.to_owned() })
}

fn encrypted(body: &str) -> PutObject {
    PutObject { sse: Some(Sse::Aes256), ..unencrypted(body) }
}

/// With metadata of its own.
fn by(who: &str, object: PutObject) -> PutObject {
    PutObject { metadata: [("by".to_owned(), who.to_owned())].into(), ..object }
}

fn public() -> Attributes {
    let grants = vec![
        AclGrant { grantee: "id=owner".to_owned(), permission: "FULL_CONTROL".to_owned() },
        AclGrant {
            grantee: "uri=http://acs.amazonaws.com/groups/global/AllUsers".to_owned(),
            permission: "READ".to_owned(),
        },
    ];
    Attributes { grants, ..Attributes::default() }
}

/// The owner removes the permissions of all others.
fn makes_private() -> Set {
    Set::ChangeObject(ChangeObject {
        bucket: "old".to_owned(),
        key: KEY.to_owned(),
        grants: Some(public().grants[..1].to_vec()),
        ..ChangeObject::default()
    })
}

fn is_public(object: &Object) -> bool {
    object.acl().iter().any(|grant| grant.grantee.ends_with("/AllUsers"))
}

fn hook(stage: &Stage, hook: Hook) {
    stage.set(Set::AddHook(hook.about(&format!("old/{KEY}"))));
}

/// Every version and delete marker of the key, newest first: `null` or `v`, the content, the writer
/// from its metadata, and whether it is encrypted.
fn stack(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| {
        world.buckets["old"]
            .versions(KEY)
            .map(|version| {
                let id = if version.version().is_some() { "v" } else { "null" };
                match version {
                    Older::DeleteMarker { .. } => format!("{id} marker"),
                    Older::Object(object) => {
                        let body = object.body.as_deref().unwrap_or_default();
                        let body = String::from_utf8_lossy(body);
                        let by = object.metadata.get("by").map_or("", String::as_str);
                        let encrypted = if object.sse == Sse::None { "plain" } else { "encrypted" };
                        format!("{id} {body}{by} {encrypted}")
                    }
                }
            })
            .collect()
    })
}

/// It is left, and named in the output.
#[track_caller]
fn is_named(played: &Played) {
    played.expect_code(75);
    assert!(played.stderr.contains(KEY), "{}{}", played.stdout, played.stderr);
}

/// Starts a run, waits until an `operation` has come that is never answered, and kills the run at
/// once; removes the fault.
fn killed_at(stage: &Stage, operation: &str, kind: FaultKind) {
    stage.set(Set::AddFault(Fault::every(operation, kind)));
    let mut child = command(stage, &["s3://old", "--bucket", "old", "--apply"]).spawn().unwrap();
    wait_until("the call is under way", || asked(stage, operation) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    stage.set(Set::ClearFaults);
}

// Suspended versioning, and null versions.

#[test]
fn a_copy_that_would_overwrite_an_old_null_version_is_not_made() {
    let stage = stage(bucket(None));
    put(&stage, KEY, unencrypted("oldest"));
    switch(&stage, Some("Enabled"));
    put(&stage, KEY, unencrypted("newest"));
    switch(&stage, Some("Suspended"));
    let before = stack(&stage);
    assert_eq!(before, ["v newest plain", "null oldest plain"]);
    for words in [&[][..], &["--purge-old-versions"]] {
        is_named(&apply(&stage, words));
        assert_eq!(stack(&stage), before);
        assert_eq!(asked(&stage, "CopyObject"), 0);
    }
}

#[test]
fn a_copy_that_would_overwrite_an_old_null_delete_marker_is_not_made() {
    let stage = stage(bucket(Some("Suspended")));
    stage.set(deletes());
    switch(&stage, Some("Enabled"));
    put(&stage, KEY, unencrypted("newest"));
    switch(&stage, Some("Suspended"));
    let before = stack(&stage);
    assert_eq!(before, ["v newest plain", "null marker"]);
    is_named(&apply(&stage, &[]));
    assert_eq!(stack(&stage), before);
}

#[test]
fn a_null_version_is_replaced_by_its_own_encrypted_copy_where_versions_are_suspended() {
    let stage = stage(bucket(None));
    put(&stage, KEY, by("me", unencrypted("x")));
    switch(&stage, Some("Suspended"));
    apply(&stage, &[]).expect_code(0);
    assert_eq!(stack(&stage), ["null xme encrypted"]);
}

#[test]
fn what_another_wrote_as_the_null_version_is_not_purged() {
    let stage = stage(bucket(None));
    put(&stage, KEY, unencrypted("old"));
    switch(&stage, Some("Enabled"));
    put(&stage, KEY, encrypted("newer"));
    switch(&stage, Some("Suspended"));
    // The id `null` then refers to this writer's object.
    hook(&stage, Hook::before_nth("DeleteObject", 1, vec![writes(encrypted("newest"))]));
    is_named(&apply(&stage, &["--purge-old-versions"]));
    assert_eq!(stack(&stage), ["v newer encrypted", "null old plain"]);
    assert_eq!(asked(&stage, "DeleteObject"), 0);
}

#[test]
fn a_null_version_is_never_purged_and_named_instead() {
    for copied in [true, false] {
        let stage = stage(bucket(None));
        put(&stage, KEY, unencrypted("old"));
        switch(&stage, Some("Enabled"));
        if !copied {
            put(&stage, KEY, encrypted("new"));
        }
        for _ in 0..2 {
            let played = apply(&stage, &["--purge-old-versions"]);
            is_named(&played);
            assert!(played.stderr.contains("lifecycle rule"), "{}", played.stderr);
            let newest = if copied { "v old encrypted" } else { "v new encrypted" };
            assert_eq!(stack(&stage), [newest, "null old plain"]);
        }
        assert_eq!(asked(&stage, "DeleteObject"), 0);
    }
}

// Permissions that their owner removes.

#[test]
fn what_its_owner_made_private_after_a_kill_is_not_made_public_again() {
    for versioning in [None, Some("Enabled")] {
        for kind in [FaultKind::Hang, FaultKind::AppliedThenHang] {
            let stage = stage(bucket(versioning));
            put(&stage, KEY, PutObject { attributes: public(), ..unencrypted("x") });
            killed_at(&stage, "CopyObject", kind.clone());
            stage.set(makes_private());
            let said = format!("{versioning:?} {kind:?}");
            let played = apply(&stage, &[]);
            // If versions are kept, the old one stays, unencrypted, and is named.
            played.expect_code(if versioning.is_none() { 0 } else { 75 });
            let after = object(&stage, KEY);
            assert_eq!((is_public(&after), after.sse), (false, Sse::Aes256), "{said}");
            assert!(!played.stderr.contains("by hand"), "{said}: {}", played.stderr);
            apply(&stage, &[]).expect_code(if versioning.is_none() { 0 } else { 75 });
            let copies = asked(&stage, "CopyObject");
            let lost = kind == FaultKind::Hang;
            assert_eq!(copies, if lost { 2 } else { 1 }, "{said}: one copy where none was lost");
        }
    }
}

#[test]
fn what_its_owner_made_private_since_the_first_look_is_not_made_public_again() {
    for versioning in [None, Some("Enabled")] {
        // The second case has a limit of bytes: the wait for it must come before the decisive
        // look-up.
        for words in [&[][..], &["--max-bytes", "1000000"]] {
            let stage = stage(bucket(versioning));
            let body = "x".repeat(2000);
            put(&stage, KEY, PutObject { attributes: public(), ..unencrypted(&body) });
            hook(&stage, Hook::after_nth("GetObjectAcl", 1, vec![makes_private()]));
            let played = apply(&stage, words);
            played.expect_code(if versioning.is_none() { 0 } else { 75 });
            let after = object(&stage, KEY);
            assert_eq!((is_public(&after), after.sse), (false, Sse::Aes256), "{versioning:?}");
        }
    }
}

#[test]
fn an_upload_that_an_earlier_run_began_does_not_make_public_what_its_owner_made_private() {
    let stage = stage(bucket(None));
    put(&stage, KEY, PutObject { attributes: public(), ..large("CRC32", "COMPOSITE") });
    killed_at(&stage, "UploadPartCopy", FaultKind::Hang);
    stage.set(makes_private());
    apply(&stage, &[]).expect_code(0);
    let after = object(&stage, KEY);
    assert_eq!((is_public(&after), after.sse), (false, Sse::Aes256));
    assert!(no_uploads(&stage));
    assert_eq!(asked(&stage, "AbortMultipartUpload"), 1, "its rights were those of before");
}

// Writers of equal bytes.

#[test]
fn equal_bytes_with_new_metadata_before_the_second_look_are_what_is_copied() {
    for versioning in [None, Some("Enabled")] {
        let stage = stage(bucket(versioning));
        put(&stage, KEY, by("first", unencrypted("x")));
        // The scan's look-up is the first; this is the one that the copy is planned from.
        let again = writes(by("second", unencrypted("x")));
        hook(&stage, Hook::after_nth("HeadObject", 2, vec![again]));
        let played = apply(&stage, &[]);
        let after = stack(&stage);
        if versioning.is_none() {
            played.expect_code(0);
            assert_eq!(after, ["null xsecond encrypted"]);
        } else {
            // The first writer's object is an old version now, and so is the second's.
            is_named(&played);
            assert_eq!(after[after.len() - 2..], ["v xsecond plain", "v xfirst plain"]);
            is_named(&apply(&stage, &[]));
            assert_eq!(stack(&stage), ["v xsecond encrypted", "v xsecond plain", "v xfirst plain"]);
        }
    }
}

#[test]
fn equal_bytes_with_new_metadata_just_before_the_copy_keep_their_metadata_without_versions() {
    let stage = stage(bucket(None));
    put(&stage, KEY, by("first", unencrypted("x")));
    let again = writes(by("second", unencrypted("x")));
    hook(&stage, Hook::before_nth("CopyObject", 1, vec![again]));
    // The current object is not the planned one: that is reported, and nothing is restored.
    is_named(&apply(&stage, &[]));
    assert_eq!(stack(&stage), ["null xsecond encrypted"]);
}

#[test]
fn equal_bytes_with_new_metadata_just_before_the_copy_stay_current_and_nothing_is_purged() {
    let stage = stage(bucket(Some("Enabled")));
    put(&stage, KEY, by("first", unencrypted("x")));
    let again = writes(by("second", unencrypted("x")));
    hook(&stage, Hook::before_nth("CopyObject", 1, vec![again]));
    is_named(&apply(&stage, &["--purge-old-versions"]));
    let after = stack(&stage);
    assert_eq!(after[after.len() - 2..], ["v xsecond plain", "v xfirst plain"]);
    assert_eq!(object(&stage, KEY).metadata["by"], "second");
    // The copy was planned from the first's version, and is one of the second's: it is no evidence.
    is_named(&apply(&stage, &["--purge-old-versions"]));
    assert_eq!(stack(&stage), ["v xsecond encrypted", "v xsecond plain", "v xfirst plain"]);
    assert_eq!(asked(&stage, "CopyObject"), 1);
    apply(&stage, &["--purge-overwritten-versions"]).expect_code(0);
    assert_eq!(stack(&stage), ["v xsecond encrypted"]);
}

#[test]
fn an_old_version_with_another_content_is_not_purged_as_one_that_was_copied() {
    let stage = stage(bucket(Some("Enabled")));
    put(&stage, KEY, unencrypted("first"));
    put(&stage, KEY, unencrypted("second"));
    is_named(&apply(&stage, &["--purge-old-versions"]));
    assert_eq!(stack(&stage), ["v second encrypted", "v first plain"]);
    is_named(&apply(&stage, &["--purge-old-versions"]));
    apply(&stage, &["--purge-overwritten-versions"]).expect_code(0);
    assert_eq!(stack(&stage), ["v second encrypted"]);
}

// Writers and deleters who act first.

#[test]
fn what_another_wrote_encrypted_just_before_the_copy_is_done_and_not_stuck() {
    for versioning in [None, Some("Enabled"), Some("Suspended")] {
        let stage = stage(bucket(versioning));
        put(&stage, KEY, by("first", unencrypted("old")));
        let newer = writes(by("second", encrypted("new")));
        hook(&stage, Hook::before_nth("CopyObject", 1, vec![newer]));
        for _ in 0..2 {
            let played = apply(&stage, &[]);
            assert!(!played.stderr.contains("by hand"), "{versioning:?}: {}", played.stderr);
            if versioning == Some("Enabled") {
                is_named(&played);
                assert_eq!(stack(&stage), ["v newsecond encrypted", "v oldfirst plain"]);
            } else {
                played.expect_code(0);
                assert_eq!(stack(&stage), ["null newsecond encrypted"]);
            }
        }
        assert_eq!(asked(&stage, "CopyObject"), 1, "{versioning:?}");
    }
}

#[test]
fn what_another_wrote_encrypted_after_a_kill_is_done_and_not_stuck() {
    for versioning in [None, Some("Enabled")] {
        let stage = stage(bucket(versioning));
        put(&stage, KEY, by("first", unencrypted("old")));
        killed_at(&stage, "CopyObject", FaultKind::Hang);
        stage.set(writes(by("second", encrypted("new"))));
        for _ in 0..2 {
            let played = apply(&stage, &[]);
            if versioning.is_none() {
                played.expect_code(0);
            } else {
                is_named(&played);
            }
        }
        let newest = if versioning.is_none() { "null" } else { "v" };
        assert_eq!(stack(&stage)[0], format!("{newest} newsecond encrypted"));
    }
}

#[test]
fn what_is_deleted_between_look_and_copy_stays_deleted_and_its_old_version_is_named() {
    for versioning in [Some("Enabled"), None] {
        let stage = stage(bucket(versioning));
        put(&stage, KEY, unencrypted("x"));
        hook(&stage, Hook::before_nth("CopyObject", 1, vec![deletes()]));
        for words in [&[][..], &[], &["--purge-old-versions"]] {
            let played = apply(&stage, words);
            if versioning.is_none() {
                played.expect_code(0);
                assert!(stack(&stage).is_empty());
            } else {
                is_named(&played);
                assert_eq!(stack(&stage), ["v marker", "v x plain"]);
            }
        }
    }
}

#[test]
fn a_version_that_is_removed_for_good_between_look_and_copy_leaves_nothing() {
    let stage = stage(bucket(Some("Enabled")));
    put(&stage, KEY, unencrypted("x"));
    let version = object(&stage, KEY).version.unwrap();
    let removed = Set::DeleteObjectVersion(ObjectVersion {
        bucket: "old".to_owned(),
        key: KEY.to_owned(),
        version,
    });
    hook(&stage, Hook::before_nth("CopyObject", 1, vec![removed]));
    apply(&stage, &[]).expect_code(0);
    assert!(stack(&stage).is_empty());
}

// Uploads in parts.

/// 6 GiB in 12 parts, of which only the origin is known.
fn large(algorithm: &str, kind: &str) -> PutObject {
    let checksum =
        Checksum { algorithm: algorithm.to_owned(), kind: kind.to_owned(), value: String::new() };
    PutObject {
        size: Some(6 * GIB),
        parts: Some(12),
        sse: Some(Sse::None),
        attributes: Attributes { checksum: Some(checksum), ..Attributes::default() },
        ..PutObject::default()
    }
}

fn no_uploads(stage: &Stage) -> bool {
    stage.sim.with_world(|world| world.uploads.is_empty())
}

#[test]
fn a_checksum_of_parts_is_kept_by_a_copy_in_parts() {
    for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256"] {
        for killed in [false, true] {
            let stage = stage(bucket(None));
            put(&stage, KEY, large(algorithm, "COMPOSITE"));
            let before = object(&stage, KEY);
            if killed {
                // Some parts' checksums then come from the list of parts.
                let later = Fault {
                    calls: emr_simulator::Calls::Range { from: 5, to: 20 },
                    ..Fault::every("UploadPartCopy", FaultKind::Hang)
                };
                stage.set(Set::AddFault(later));
                let words = ["s3://old", "--bucket", "old", "--apply"];
                let mut child = command(&stage, &words).spawn().unwrap();
                wait_until("four parts were copied", || {
                    stage.sim.with_world(|world| {
                        world.uploads.iter().any(|upload| upload.parts.len() == 4)
                    })
                });
                child.kill().unwrap();
                child.wait().unwrap();
                stage.set(Set::ClearFaults);
            }
            apply(&stage, &[]).expect_code(0);
            let after = object(&stage, KEY);
            assert_eq!(after.sse, Sse::Aes256, "{algorithm}");
            assert_eq!(after.attributes.checksum, before.attributes.checksum, "{algorithm}");
            assert!(no_uploads(&stage));
            assert_eq!(asked(&stage, "CreateMultipartUpload"), 1);
        }
    }
}

#[test]
fn an_upload_that_is_refused_is_aborted() {
    let refused = |status, code: &str| FaultKind::Error {
        status,
        code: code.to_owned(),
        message: "no".to_owned(),
    };
    for (operation, nth, kind) in [
        ("UploadPartCopy", 3, FaultKind::AccessDenied),
        ("CompleteMultipartUpload", 1, refused(400, "InvalidPart")),
        ("CompleteMultipartUpload", 1, refused(400, "InvalidRequest")),
    ] {
        let stage = stage(bucket(None));
        put(&stage, KEY, large("SHA256", "COMPOSITE"));
        stage.set(Set::AddFault(Fault::nth(operation, nth, kind)));
        is_named(&apply(&stage, &[]));
        assert!(no_uploads(&stage), "{operation}");
        assert_eq!(asked(&stage, "AbortMultipartUpload"), 1, "{operation}");
        assert_eq!(object(&stage, KEY).sse, Sse::None);
        apply(&stage, &[]).expect_code(0);
        assert_eq!(object(&stage, KEY).sse, Sse::Aes256);
    }
}

#[test]
fn an_upload_that_s3_takes_no_more_is_aborted_and_begun_anew() {
    let stage = stage(bucket(None));
    put(&stage, KEY, large("SHA256", "COMPOSITE"));
    let conflict = FaultKind::Error {
        status: 409,
        code: "ConditionalRequestConflict".to_owned(),
        message: "no".to_owned(),
    };
    stage.set(Set::AddFault(Fault::nth("CompleteMultipartUpload", 1, conflict)));
    apply(&stage, &[]).expect_code(0);
    assert!(no_uploads(&stage));
    assert_eq!(asked(&stage, "CreateMultipartUpload"), 2);
    assert_eq!(asked(&stage, "AbortMultipartUpload"), 1);
    assert_eq!(object(&stage, KEY).sse, Sse::Aes256);
}

#[test]
fn an_upload_during_which_another_wrote_is_aborted_whatever_was_written() {
    for (writer, size) in [("other", 5 * GIB + 1), ("equal", 6 * GIB)] {
        let stage = stage(bucket(Some("Enabled")));
        put(&stage, KEY, by("first", large("CRC32", "COMPOSITE")));
        let newer = PutObject { size: Some(size), ..large("CRC32", "COMPOSITE") };
        let newer = writes(by("second", newer));
        hook(&stage, Hook::before_nth("CompleteMultipartUpload", 1, vec![newer]));
        is_named(&apply(&stage, &[]));
        assert!(no_uploads(&stage), "{writer}");
        assert_eq!(stack(&stage), ["v second plain", "v first plain"], "{writer}");
    }
}

#[test]
fn an_upload_that_cannot_be_aborted_is_named_and_finished_by_the_next_run() {
    let stage = stage(bucket(None));
    put(&stage, KEY, large("CRC32", "COMPOSITE"));
    stage.set(Set::AddFault(Fault::every("AbortMultipartUpload", FaultKind::AccessDenied)));
    let refused = FaultKind::Error {
        status: 400,
        code: "InvalidRequest".to_owned(),
        message: "no".to_owned(),
    };
    stage.set(Set::AddFault(Fault::nth("CompleteMultipartUpload", 1, refused)));
    let played = apply(&stage, &[]);
    is_named(&played);
    let id = stage.sim.with_world(|world| world.uploads[0].id.clone());
    assert!(played.stderr.contains(&id), "{}", played.stderr);
    assert!(played.stderr.contains("(s3:AbortMultipartUpload)"), "{}", played.stderr);
    stage.set(Set::ClearFaults);
    apply(&stage, &[]).expect_code(0);
    assert!(no_uploads(&stage));
}

/// Two uploads of others below the location, and one elsewhere.
fn with_open_uploads() -> Stage {
    let stage = stage(bucket(None));
    put(&stage, KEY, encrypted("x"));
    for (key, age) in [("in/a b\n+c", 86_400.0), ("in/z", 0.0), ("elsewhere", 0.0)] {
        stage.set(Set::PutUpload(PutUpload {
            bucket: "old".to_owned(),
            key: key.to_owned(),
            initiator: Some("arn:aws:iam::123456789012:user/loader".to_owned()),
            age_seconds: age,
            parts: vec![8 * 1024 * 1024],
        }));
    }
    stage
}

#[test]
fn open_uploads_of_others_are_named_with_who_began_them_and_are_not_touched() {
    let stage = with_open_uploads();
    for words in [&["s3://old/in/"][..], &["s3://old/in/", "--bucket", "old", "--apply"]] {
        let played = reencrypt(&stage, &[words, &["--report", "report.json"]].concat());
        played.expect_code(0);
        assert!(
            played.stdout.contains("s3://old/in/: 2 uploads in parts are open: "),
            "{}",
            played.stdout
        );
        let ids = stage.sim.with_world(|world| {
            world.uploads.iter().map(|upload| upload.id.clone()).collect::<Vec<_>>()
        });
        let line = |key: &str, id: &str| {
            played.stdout.lines().any(|line| {
                line.contains(&format!(":   {key}, begun 2"))
                    && line.ends_with(&format!(
                        "Z by arn:aws:iam::123456789012:user/loader, upload id {id}"
                    ))
            })
        };
        assert!(line(r"in/a b\u{a}+c", &ids[0]) && line("in/z", &ids[1]), "{}", played.stdout);
        assert!(!played.stdout.contains(&ids[2]), "{}", played.stdout);
        let open = &played.report["open_uploads"];
        assert_eq!((open[0]["uploads"].as_u64(), open[1].is_null()), (Some(2), true), "{open}");
        assert_eq!(open[0]["first"][0]["key"], "in/a b\n+c");
        let page = page(&stage, &played.report);
        assert!(page.contains("Open uploads in parts") && page.contains(&ids[1]), "{page}");
        assert_eq!(ids.len(), 3);
    }
    assert_eq!(asked(&stage, "AbortMultipartUpload"), 0);
}

#[test]
fn where_open_uploads_may_not_be_listed_that_is_said() {
    let stage = with_open_uploads();
    stage.set(Set::AddFault(Fault::every("ListMultipartUploads", FaultKind::AccessDenied)));
    let played = apply(&stage, &[]);
    played.expect_code(0);
    assert!(
        played.stdout.contains("s3://old/: whether uploads in parts are open could not be seen: "),
        "{}",
        played.stdout
    );
}

#[test]
fn an_upload_whose_beginning_was_not_answered_is_named() {
    let stage = stage(bucket(None));
    put(&stage, KEY, large("SHA256", "COMPOSITE"));
    let lost = Fault::nth("CreateMultipartUpload", 1, FaultKind::AppliedThenReset);
    stage.set(Set::AddFault(lost));
    // Its owner is unknown: it is not aborted, and the key waits.
    for _ in 0..2 {
        let played = apply(&stage, &[]);
        is_named(&played);
        let ids: Vec<String> = stage
            .sim
            .with_world(|world| world.uploads.iter().map(|upload| upload.id.clone()).collect());
        assert_eq!(ids.len(), 1);
        assert!(played.stdout.contains(&ids[0]), "{}", played.stdout);
    }
    assert_eq!(asked(&stage, "AbortMultipartUpload"), 0);
}
