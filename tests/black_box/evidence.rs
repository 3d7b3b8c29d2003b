//! The report of a run as evidence, and its delivery.

use std::os::unix::fs::PermissionsExt as _;

use emr_simulator::{
    BucketEncryption, Calls, Command as Set, Fault, FaultKind, NextCluster, PutBucket, PutKey,
};
use serde_json::{Value, json};

use crate::support::{Played, Stage, hermetic_command, isolated_guard, programs, valid_document};

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_document_says_who_ran_what_and_what_came_of_it() {
    let stage = Stage::acme();
    stage.write("guard.yml", "advise: [bucket-tls-only]\n");
    let settings = stage.path("guard.yml").display().to_string();
    let stage = stage.env("EMR_ETL_GUARD_SETTINGS", &settings);
    let played = stage.run();
    played.expect_code(0);
    let report = &played.report;
    assert_eq!(report["who"]["account"], report["facts"]["guard"]["found"]["account"]);
    assert!(text(&report["who"]["principal"]).starts_with("arn:aws:"), "{}", report["who"]);
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    assert_eq!(report["who"]["user"], user.name);
    assert_eq!(
        report["who"]["host"],
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim()
    );

    let digest_of = |file: &std::path::Path| {
        let output = hermetic_command("sha256sum").arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let inputs = &report["inputs"];
    assert_eq!(inputs["config_sha256"], digest_of(&stage.path("config.yml")));
    assert_eq!(inputs["runner"]["sha256"]["found"], digest_of(&programs().runner));
    assert_eq!(inputs["runner"]["version"]["found"], "1.0.4");
    assert_eq!(inputs["settings"]["file_sha256"], digest_of(&stage.path("guard.yml")));
    assert_eq!(report["objects"]["looked_at"], report["objects"]["objects"]);
    let counted: u64 = list(&report["objects"], "kinds")
        .iter()
        .map(|kind| kind["objects"].as_u64().unwrap())
        .sum();
    assert!(counted > 0 && report["objects"]["looked_at"] == counted, "{}", report["objects"]);

    // The settings differ, so their digest does.
    let other = stage.option("--advise=bucket-owner").check();
    assert_ne!(other.report["inputs"]["settings"]["sha256"], inputs["settings"]["sha256"]);
    assert_ne!(other.report["inputs"]["policy_sha256"], inputs["policy_sha256"]);
    assert_eq!(
        other.report["inputs"]["settings"]["file_sha256"],
        inputs["settings"]["file_sha256"]
    );
}

#[test]
fn the_digest_of_the_settings_is_the_same_from_a_file_the_environment_and_a_flag() {
    let digest = |stage: &Stage| {
        let played = stage.check();
        played.expect_code(0);
        text(&played.report["inputs"]["settings"]["sha256"]).to_owned()
    };
    let stage = Stage::acme();
    let by_default = digest(&stage);
    let stage = stage.env("EMR_ETL_GUARD_ADVISE", "bucket-owner");
    let by_environment = digest(&stage);
    let stage = stage.without_env("EMR_ETL_GUARD_ADVISE");
    stage.write("guard.yml", "advise: [bucket-owner]\n");
    let file = stage.path("guard.yml").display().to_string();
    let stage = stage.env("EMR_ETL_GUARD_SETTINGS", &file);
    let by_file = digest(&stage);
    let stage = stage.without_env("EMR_ETL_GUARD_SETTINGS").option("--advise=bucket-owner");
    let by_flag = digest(&stage);
    assert_eq!((&by_environment, &by_file), (&by_flag, &by_flag));
    assert_ne!(by_flag, by_default);
}

/// The id that the simulator gave a request.
fn request_id(seq: u64) -> String {
    format!("5e1ec7ed-0000-4000-8000-{seq:012}")
}

#[test]
fn each_request_to_aws_is_in_the_document_under_the_id_that_aws_gave_it() {
    let stage = Stage::acme();
    let played = stage.run();
    played.expect_code(0);
    let requests = stage.sim.requests();
    let by_guard =
        requests.iter().filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"));
    let mut seen: Vec<String> = by_guard.clone().map(|request| request_id(request.seq)).collect();
    let calls = list(&played.report, "calls");
    let kept = || calls.iter().flat_map(|calls| list(calls, "kept"));
    // The identity of the runner's own credentials is requested, too.
    let whose = requests.iter().filter(|request| {
        request.operation() == "GetCallerIdentity"
            && request.access_key.as_deref() == Some("AKIAFAKE")
    });
    seen.extend(whose.map(|request| request_id(request.seq)));
    seen.sort();
    let mut told: Vec<String> =
        kept().map(|request| text(&request["request_id"]).to_owned()).collect();
    told.sort();
    let missing = |id: &String| !told.contains(id) && seen.contains(id);
    let missing: Vec<_> = requests
        .iter()
        .filter(|request| missing(&request_id(request.seq)))
        .map(emr_simulator::Recorded::operation)
        .collect();
    assert!(missing.is_empty(), "few enough for all to be kept: {missing:?}");
    assert_eq!(told, seen);
    let count: u64 = calls.iter().map(|calls| calls["count"].as_u64().unwrap()).sum();
    assert_eq!(count, told.len() as u64);

    // A fact and its request are linked by the operation and its subject.
    let of = |operation: &str| {
        calls
            .iter()
            .find(|calls| calls["operation"] == operation)
            .unwrap_or_else(|| panic!("no {operation}"))
    };
    for bucket in played.report["facts"]["buckets"].as_object().unwrap().keys() {
        let asked = list(of("GetBucketEncryption"), "kept")
            .iter()
            .filter(|request| request["subject"] == format!("s3://{bucket}/"));
        // Once before the launch; for the run's output, once more at its end.
        assert!((1..=2).contains(&asked.count()), "{bucket}");
    }
    let cluster = played.clusters().remove(0);
    assert!(
        list(of("DescribeCluster"), "kept")
            .iter()
            .all(|request| text(&request["subject"]) == cluster && request["status"] == 200)
    );
    let key = played.report["facts"]["keys"].as_object().unwrap().keys().next().unwrap();
    assert!(
        list(of("DescribeKey"), "kept").iter().any(|request| request["subject"] == *key),
        "{key}"
    );
}

#[test]
fn a_request_that_was_answered_late_or_not_at_all_is_in_the_document_as_well() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", "1500ms");
    stage.set(Set::AddFault(Fault::every("DescribeKey", FaultKind::Hang)));
    let played = stage.check();
    played.expect_code(69);
    let calls = list(&played.report, "calls");
    let keys = calls.iter().find(|calls| calls["operation"] == "DescribeKey").unwrap();
    assert_eq!(keys["failed"], keys["count"]);
    for request in list(keys, "kept") {
        assert_eq!(
            (&request["status"], &request["request_id"], &request["attempts"]),
            (&Value::Null, &Value::Null, &json!(1))
        );
    }
}

#[test]
fn what_was_done_to_an_unsafe_cluster_is_told_step_by_step() {
    let stage = Stage::acme().misbehave("drop-security-configuration");
    // It leaves its first state only by its termination, so it is always seen in it.
    stage.set(Set::SetTimings(emr_simulator::Timings {
        starting: 3600.0,
        ..emr_simulator::Timings::all(6.0)
    }));
    stage.set(Set::SetNextCluster(NextCluster {
        termination_protected: Some(true),
        ..NextCluster::default()
    }));
    let played = stage.run();
    played.expect_code(76);
    let cluster = played.clusters().remove(0);
    let of_cluster = |played: &Played| -> Vec<(String, bool)> {
        let actions =
            list(&played.report, "actions").iter().filter(|action| action["subject"] == cluster);
        actions
            .map(|action| (text(&action["action"]).to_owned(), action["error"].is_null()))
            .collect()
    };
    let steps = of_cluster(&played);
    let wanted = [("lift-protection", true), ("terminate", true), ("await-end", true)]
        .map(|(what, good)| (what.to_owned(), good));
    assert_eq!(steps, wanted);
    let all: Vec<&str> =
        list(&played.report, "actions").iter().map(|action| text(&action["action"])).collect();
    assert!(all.starts_with(&["start-runner"]) && all.contains(&"signal-runner"), "{all:?}");

    let states: Vec<&str> =
        list(&played.report, "states").iter().map(|change| text(&change["state"])).collect();
    assert_eq!(states.first(), Some(&"STARTING"));
    assert_eq!(states.last(), Some(&"TERMINATED"), "{states:?}");
    let seen: Vec<&str> =
        list(&played.report, "states").iter().map(|change| text(&change["seen"])).collect();
    assert!(seen.is_sorted(), "{seen:?}");
}

#[test]
fn a_document_with_a_member_too_many_or_of_another_kind_is_not_what_the_schema_says() {
    let played = Stage::acme().check();
    played.expect_code(0);
    let spoilt = |place: &str, value: Value| {
        let mut document = played.report.clone();
        *document.pointer_mut(place).unwrap() = value;
        let bytes = serde_json::to_vec(&document).unwrap();
        std::panic::catch_unwind(|| valid_document(&bytes)).is_err()
    };
    assert!(spoilt("/version", json!(1)));
    assert!(spoilt(
        "/who",
        json!({
            "account": null, "principal": null, "runner_principal": null, "user": null, "host": "x",
            "more": 1
        })
    ));
    assert!(spoilt("/started", json!("yesterday")));
    assert!(spoilt("/outcome", json!("splendid")));
    assert!(spoilt("/findings/0/status", json!("fine")));
    assert!(spoilt("/facts/guard", json!({"found": {"account": "1", "arn": "x", "secret": "y"}})));
    assert!(!spoilt("/exit_code", json!(3)));
}

/// The names of the reports in a folder of the stage, without their extensions.
fn documents(stage: &Stage, folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(stage.path(folder)).into_iter().flatten().flatten();
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Runs `report verify` on files of the stage.
fn verify(stage: &Stage, files: &[&str]) -> Played {
    let mut command = isolated_guard();
    command.args(["report", "verify", "--key", "public.pem"]).args(files);
    stage.prepare(&mut command);
    stage.play(command)
}

/// OpenSSL's command, which shares no code with the guard, in the stage's folder.
fn openssl(stage: &Stage, arguments: &[&str]) {
    let output = hermetic_command("openssl")
        .args(arguments)
        .current_dir(stage.folder.path())
        .output()
        .expect("openssl is there");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A stage whose reports are signed with a key from OpenSSL.
fn signing() -> Stage {
    let stage = Stage::acme();
    openssl(&stage, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(&stage, &["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    stage.env("EMR_ETL_GUARD_SIGN_KEY", "key.pem")
}

#[test]
fn a_signed_document_holds_and_one_with_a_changed_byte_does_not() {
    let stage = signing();
    stage.check().expect_code(0);
    let held = verify(&stage, &["report.json"]);
    held.expect_code(0);
    assert!(held.stdout.starts_with("report.json: holds: run "), "{}", held.stdout);
    assert_eq!(held.stderr, "");

    // OpenSSL independently verifies the signature.
    let envelope: Value =
        serde_json::from_slice(&std::fs::read(stage.path("report.json.dsse")).unwrap()).unwrap();
    let payload = text(&envelope["payload"]);
    stage.write("payload.b64", payload);
    stage.write("sig.b64", text(&envelope["signatures"][0]["sig"]));
    openssl(&stage, &["base64", "-d", "-A", "-in", "payload.b64", "-out", "payload"]);
    openssl(&stage, &["base64", "-d", "-A", "-in", "sig.b64", "-out", "sig"]);
    let statement = std::fs::read_to_string(stage.path("payload")).unwrap();
    stage.write(
        "pae",
        &format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len()),
    );
    openssl(
        &stage,
        &[
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            "public.pem",
            "-in",
            "pae",
            "-sigfile",
            "sig",
        ],
    );
    let statement: Value = serde_json::from_str(&statement).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["subject"][0]["name"].as_str().unwrap().len(),
        "emr-etl-guard-20261125T160000Z-01932c5e-0000-7000-8000-000000000000.json".len()
    );

    let document = std::fs::read(stage.path("report.json")).unwrap();
    // From the first byte to the last, in steps that hit every kind of content.
    let places = (0..document.len()).step_by(997).chain([document.len() - 1]);
    let changed: Vec<String> = places
        .map(|at| {
            let mut changed = document.clone();
            changed[at] ^= 1;
            let name = format!("changed-{at}.json");
            std::fs::write(stage.path(&name), &changed).unwrap();
            std::fs::copy(stage.path("report.json.dsse"), stage.path(&format!("{name}.dsse")))
                .unwrap();
            name
        })
        .collect();
    let played = verify(&stage, &changed.iter().map(String::as_str).collect::<Vec<_>>());
    played.expect_code(1);
    for name in &changed {
        let said = format!("{name}: does NOT hold: it has been changed: SHA-256 ");
        assert!(played.unbroken().contains(&said), "{}", played.stderr);
    }

    // Another key, no key, no report, no signature.
    openssl(&stage, &["genpkey", "-algorithm", "ed25519", "-out", "other.pem"]);
    openssl(&stage, &["pkey", "-in", "other.pem", "-pubout", "-out", "public.pem"]);
    let other = verify(&stage, &["report.json"]);
    other.expect_code(1);
    assert!(other.unbroken().contains("it was signed by the key sha256:"), "{}", other.stderr);
    assert!(
        verify(&stage, &["none.json"]).expect_code(64).stderr.contains("none.json cannot be read")
    );
    stage.write("report.json.dsse", "{}");
    verify(&stage, &["report.json"]).expect_code(65);
    std::fs::copy(stage.path("key.pem"), stage.path("public.pem")).unwrap();
    assert!(
        verify(&stage, &["report.json"])
            .expect_code(64)
            .stderr
            .contains("public.pem is a private key; give the public one")
    );
}

#[test]
fn keys_of_every_kind_in_kms_sign_what_verify_finds_good() {
    crate::catalogue::for_each(
        &["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048", "ECC_NIST_EDWARDS25519"],
        |spec| {
            let stage = Stage::acme()
                .env("EMR_ETL_GUARD_SIGN_KEY", "alias/evidence")
                .option("--evidence=kept");
            stage.set(signing_key(spec));
            stage.run().expect_code(0);
            public_key_of(&stage);
            let held = verify(&stage, &["report.json"]);
            held.expect_code(0);
            let signed = stage.sim.requests_for("Sign").len();
            assert_eq!(signed, 2, "{spec}: that the run begins, and its document");
            assert_eq!(documents(&stage, "kept").len(), 1);
            Ok(())
        },
    );
}

fn signing_key(spec: &str) -> Set {
    Set::PutKey(PutKey {
        id: "5160ed00-0000-4000-8000-000000000000".to_owned(),
        aliases: vec!["alias/evidence".to_owned()],
        spec: Some(spec.to_owned()),
        usage: Some("SIGN_VERIFY".to_owned()),
        ..PutKey::default()
    })
}

/// Writes the public half of the key in the simulated KMS, as KMS gave it to the guard, to
/// `public.pem`.
fn public_key_of(stage: &Stage) {
    let answer = stage.sim.public_key("alias/evidence").expect("a key to sign with");
    std::fs::write(stage.path("public.der"), answer).unwrap();
    openssl(
        stage,
        &["pkey", "-pubin", "-inform", "DER", "-in", "public.der", "-out", "public.pem"],
    );
}

#[test]
fn a_key_that_cannot_be_used_refuses_before_anything_is_launched() {
    // In a file: not a key.
    let stage = Stage::acme().env("EMR_ETL_GUARD_SIGN_KEY", "key.pem");
    let played = stage.run();
    played.expect_code(64);
    assert!(
        played.unbroken().contains("key.pem cannot be read: No such file"),
        "{}",
        played.stderr
    );
    assert!(!played.runner_started() && stage.sim.requests().is_empty());

    // In KMS: missing, disabled, not for signatures, access denied.
    let refused = |prepare: &dyn Fn(&Stage), told: &str| {
        let stage = Stage::acme().env("EMR_ETL_GUARD_SIGN_KEY", "alias/evidence");
        prepare(&stage);
        let played = stage.run();
        played.expect_code(69);
        assert!(!played.runner_started(), "{}", played.stderr);
        assert!(
            played
                .stderr
                .contains("nothing was launched: the evidence of this run could not be kept"),
            "{}",
            played.stderr
        );
        assert!(played.stderr.contains(told), "{}", played.stderr);
        let probe = list(&played.report, "actions")
            .iter()
            .find(|action| action["action"] == "probe")
            .unwrap();
        assert!(text(&probe["error"]).contains(told), "{probe}");
    };
    refused(&|_| {}, "kms:GetPublicKey: NotFoundException");
    let with = |change: fn(&mut PutKey)| {
        let Set::PutKey(mut key) = signing_key("ECC_NIST_P256") else { unreachable!() };
        change(&mut key);
        move |stage: &Stage| stage.set(Set::PutKey(key.clone()))
    };
    refused(
        &with(|key| key.state = Some("Disabled".to_owned())),
        "kms:GetPublicKey: DisabledException",
    );
    refused(
        &with(|key| key.usage = Some("ENCRYPT_DECRYPT".to_owned())),
        "is a key for ENCRYPT_DECRYPT; expected one for SIGN_VERIFY",
    );
    let denied = with(|_| {});
    refused(
        &|stage: &Stage| {
            denied(stage);
            stage.set(Set::AddFault(Fault::every("Sign", FaultKind::AccessDenied)));
        },
        "kms:Sign: AccessDenied",
    );
}

#[test]
fn the_documents_of_one_state_directory_are_a_chain_in_which_a_missing_one_shows() {
    let stage = signing().option("--evidence=kept");
    for _ in 0..3 {
        stage.run();
    }
    // A check is not in the chain, and is delivered all the same.
    stage.check();
    let names = documents(&stage, "kept");
    assert_eq!(names.len(), 4);
    let files: Vec<String> = names.iter().map(|name| format!("kept/{name}.json")).collect();
    let all: Vec<&str> = files.iter().map(String::as_str).collect();
    let read = |file: &str| valid_document(&std::fs::read(stage.path(file)).unwrap());
    let chains: Vec<Value> = all.iter().map(|file| read(file)["chain"].clone()).collect();
    assert_eq!(chains[0]["sequence"], 1);
    assert_eq!(chains[2]["previous"]["run"], read(all[1])["run"]);
    assert_eq!(chains[3], Value::Null);

    let whole = verify(&stage, &all);
    whole.expect_code(0);
    assert!(
        whole.stdout.contains(&format!(", number 3 of chain {}\n", text(&chains[2]["id"])))
            && whole.stdout.contains(", in no chain\n"),
        "{}",
        whole.stdout
    );
    let missing = verify(&stage, &[all[0], all[2]]);
    missing.expect_code(1);
    let wanted = format!("the document of run {} (number 2, SHA-256 ", text(&read(all[1])["run"]));
    assert!(missing.unbroken().contains(&wanted), "{}", missing.stderr);
}

#[test]
fn a_chain_that_was_begun_anew_shows_and_holds_only_where_it_is_expected() {
    let stage = signing().option("--evidence=kept");
    stage.run().expect_code(0);
    // Nothing is left to process, but it is still a run.
    stage.run().expect_code(3);
    // Somebody deletes the state directory's records, and one run.
    std::fs::remove_dir_all(stage.path("state")).unwrap();
    stage.run().expect_code(3);
    let files: Vec<String> =
        documents(&stage, "kept").iter().map(|name| format!("kept/{name}.json")).collect();
    let all: Vec<&str> = files.iter().map(String::as_str).collect();
    let ids: Vec<String> = all
        .iter()
        .map(|file| valid_document(&std::fs::read(stage.path(file)).unwrap()))
        .map(|document| text(&document["chain"]["id"]).to_owned())
        .collect();
    let (first, second) = (ids[0].as_str(), ids[2].as_str());
    assert!(ids[1] == first && second != first);

    let with = |options: &[&str], files: &[&str]| verify(&stage, &[options, files].concat());
    let reset = with(&[], &all);
    reset.expect_code(1);
    assert!(
        reset.stdout.contains(&format!("chain {first}: numbers 1 to 2 (2 documents)"))
            && reset.stdout.contains(&format!("chain {second}: number 1 (1 document)")),
        "{}",
        reset.stdout
    );
    let wanted = format!(
        "fix: find out why; where each is expected, name it: --chain {first} --chain {second}"
    );
    assert!(
        reset.stderr.contains("the documents are of 2 chains") && reset.stderr.contains(&wanted),
        "{}",
        reset.stderr
    );
    assert!(!reset.stdout.contains("verified, signed by"), "{}", reset.stdout);

    // With the expected runs given, it accepts only these, and reports a missing one.
    with(&["--chain", first, "--chain", second], &all).expect_code(0);
    with(&["--any-chain"], &all).expect_code(0);
    with(&[], &all[..2]).expect_code(0);
    with(&["--chain", first], &all[..2]).expect_code(0);
    let other = with(&["--chain", second], &all[..2]);
    other.expect_code(1);
    assert!(
        other
            .unbroken()
            .contains(&format!("{} is of the chain {first}, which is not expected", all[0]))
            && other.stderr.contains(&format!("no report of the chain {second} was given")),
        "{}",
        other.stderr
    );
    with(&["--chain", first], &all).expect_code(1);
    with(&["--chain", first, "--any-chain"], &all).expect_code(64);
}

#[test]
fn a_signing_key_that_others_can_read_is_refused_before_anything_is_asked() {
    let stage = signing();
    let with = |mode: u32| {
        std::fs::set_permissions(stage.path("key.pem"), std::fs::Permissions::from_mode(mode))
            .unwrap();
        stage.run()
    };
    for mode in [0o644, 0o604, 0o602, 0o620, 0o601] {
        let played = with(mode);
        played.expect_code(64);
        let wanted = format!("key.pem can be read or changed by others (mode {mode:04o})");
        assert!(played.stderr.contains(&wanted), "{}", played.stderr);
        assert!(played.stderr.contains("fix: chmod 600 key.pem"), "{}", played.stderr);
        assert!(!played.runner_started() && stage.sim.requests().is_empty());
    }
    with(0o600).expect_code(0);
    assert!(with(0o400).runner_started());
}

#[test]
fn a_run_whose_guard_was_killed_is_named_by_the_document_of_the_guard_that_closed_it() {
    let stage = signing().option("--evidence=kept").misbehave("hang");
    let mut child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "RunJobFlow",
                std::time::Duration::from_secs(120)
            )
            .is_some()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(documents(&stage, "kept").len(), 0);
    let mut resume = isolated_guard();
    resume.args(["watch", "--resume", "--evidence=kept"]);
    stage.prepare(&mut resume);
    stage.play(resume).expect_code(0);
    let names = documents(&stage, "kept");
    let document =
        valid_document(&std::fs::read(stage.path(&format!("kept/{}.json", names[0]))).unwrap());
    assert_eq!(document["command"], "resume");
    assert_eq!(document["chain"]["sequence"], 2);
    assert_eq!(document["chain"]["unrecorded"], json!([{"run": document["run"], "sequence": 1}]));
    assert!(!list(&document, "states").is_empty() && !list(&document, "calls").is_empty());
    verify(&stage, &[&format!("kept/{}.json", names[0])]).expect_code(0);
}

fn bucket(more: impl FnOnce(&mut PutBucket)) -> Set {
    let mut bucket = PutBucket {
        name: "acme-evidence".to_owned(),
        default_encryption: Some(BucketEncryption::aes256()),
        ..PutBucket::default()
    };
    more(&mut bucket);
    Set::PutBucket(bucket)
}

/// A bucket that accepts the note that a run starts, and nothing after it.
fn undeliverable(stage: &Stage, kind: FaultKind) {
    stage.set(bucket(|_| {}));
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-evidence".to_owned()),
        calls: Calls::Range { from: 2, to: 1000 },
        ..Fault::every("PutObject", kind)
    }));
}

fn keys(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| world.buckets["acme-evidence"].objects.keys().cloned().collect())
}

#[test]
fn a_document_is_delivered_to_s3_with_its_signature_and_never_over_another() {
    let stage = signing().option("--evidence=s3://acme-evidence/runs");
    stage.set(bucket(|bucket| bucket.object_lock_days = Some(30)));
    let played = stage.run();
    played.expect_code(0);
    let name = keys(&stage)[1].strip_suffix(".json").unwrap().to_owned();
    assert_eq!(
        keys(&stage),
        [format!("{name}.begun.json"), format!("{name}.json"), format!("{name}.json.dsse")]
    );
    stage.sim.with_world(|world| {
        let objects = &world.buckets["acme-evidence"].objects;
        assert_eq!(
            objects[&format!("{name}.json")].body.as_deref().unwrap(),
            std::fs::read(stage.path("report.json")).unwrap()
        );
        assert_eq!(
            objects[&format!("{name}.json.dsse")].body.as_deref().unwrap(),
            std::fs::read(stage.path("report.json.dsse")).unwrap()
        );
    });
    let puts = stage.sim.requests_for("PutObject");
    let by_guard: Vec<_> =
        puts.iter().filter(|request| request.access_key.as_deref() == Some("AKIAGUARD")).collect();
    assert_eq!(by_guard.len(), 3);
    let told: Vec<&str> =
        list(&played.report, "timeline").iter().map(|moment| text(&moment["what"])).collect();
    assert!(
        told.contains(&"s3://acme-evidence/runs/: Object Lock keeps it for 30 days (COMPLIANCE)"),
        "{told:?}"
    );

    // The reports of a refusal and of a check are delivered, too.
    stage.set(Set::DeleteBucket(emr_simulator::Named {
        name: "acme-archive".to_owned(),
        ..Default::default()
    }));
    stage.run().expect_code(77);
    stage.check().expect_code(77);
    assert_eq!(
        keys(&stage).iter().filter(|key| !key.contains("begun") && !key.ends_with("dsse")).count(),
        3
    );
}

#[test]
fn documents_in_s3_are_encrypted_as_the_policy_requires_or_nothing_is_launched() {
    let stage = Stage::acme()
        .option("--evidence=s3://acme-evidence/")
        .option("--accept-encryption=SSE-KMS,DSSE-KMS");
    stage.set(bucket(|_| {}));
    // The scene's buckets do not change; only the report's own encryption matters here.
    let played = stage.check();
    let sse = stage.sim.with_world(|world| {
        world.buckets["acme-evidence"].objects.values().next().map(|object| object.sse.clone())
    });
    assert!(matches!(sse, Some(emr_simulator::Sse::Kms { .. })), "{sse:?} {}", played.stderr);

    // A bucket that encrypts it in a way that the policy does not accept: its default is DSSE.
    let stage = Stage::acme()
        .option("--evidence=s3://acme-evidence/")
        .option("--accept-encryption=SSE-S3,SSE-KMS");
    stage.set(bucket(|bucket| {
        bucket.default_encryption = Some(BucketEncryption {
            algorithm: Some("aws:kms:dsse".to_owned()),
            ..BucketEncryption::aes256()
        });
    }));
    let played = stage.run();
    played.expect_code(69);
    assert!(!played.runner_started());
    assert!(
        played.stderr.contains("S3 stored it as aws:kms:dsse under arn:aws:kms:"),
        "{}",
        played.stderr
    );
}

#[test]
fn what_cannot_be_delivered_is_code_74_and_arrives_at_the_next_start() {
    let stage = signing()
        .option("--evidence=s3://acme-evidence/,kept")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "5s");
    stage.set(bucket(|_| {}));
    // The first PUT is the note that the run starts; after it S3 fails.
    let puts = |calls| Fault {
        matching: Some("acme-evidence".to_owned()),
        calls,
        ..Fault::every("PutObject", FaultKind::ServerError { status: 503 })
    };
    stage.set(Set::AddFault(puts(Calls::Range { from: 2, to: 1000 })));
    let played = stage.run();
    played.expect_code(74);
    let told: Vec<&str> = played.stderr.lines().collect();
    assert!(
        told[0].starts_with(
            "emr-etl-guard: NO EVIDENCE: the report was not delivered to s3://acme-evidence/: \
             s3:PutObject: "
        ),
        "{}",
        played.stderr
    );
    let details = told[1..].join("\n");
    assert!(details.contains("state/outbox, and is sent at the next start"), "{details}");
    assert!(details.contains("fix: emr-etl-guard watch --resume"), "{details}");
    assert_eq!(documents(&stage, "kept").len(), 1, "the other destination has it");
    assert_eq!(documents(&stage, "state/outbox").len(), 1);
    assert_eq!(keys(&stage).len(), 1);
    let lost = played.report["run"].clone();

    stage.set(Set::ClearFaults);
    let played = stage.run();
    assert!(
        played.stdout.contains(&format!(
            "the document of run {}, which waited in the outbox, is delivered",
            text(&lost)
        )),
        "{}",
        played.stdout
    );
    assert_eq!(documents(&stage, "state/outbox").len(), 0);
    assert!(
        list(&played.report, "actions")
            .iter()
            .any(|action| action["action"] == "deliver-earlier" && action["error"].is_null())
    );
    let name = documents(&stage, "kept").remove(0);
    assert!(
        keys(&stage).contains(&format!("{name}.json"))
            && keys(&stage).contains(&format!("{name}.json.dsse"))
    );
    stage.sim.with_world(|world| {
        let sent =
            world.buckets["acme-evidence"].objects[&format!("{name}.json")].body.clone().unwrap();
        assert_eq!(sent, std::fs::read(stage.path(&format!("kept/{name}.json"))).unwrap());
    });
}

#[test]
fn a_put_whose_answer_was_lost_has_arrived() {
    let stage = Stage::acme().option("--evidence=s3://acme-evidence/");
    stage.set(bucket(|_| {}));
    // S3 stores it and the response is lost; the second try finds the first one's object.
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-evidence".to_owned()),
        ..Fault::nth("PutObject", 1, FaultKind::AppliedThenReset)
    }));
    stage.check().expect_code(0);
    assert_eq!(keys(&stage).len(), 1);
}

#[test]
fn watch_resume_sends_what_could_not_be_delivered_and_says_what_still_waits() {
    let stage =
        signing().option("--evidence=s3://acme-evidence/").env("EMR_ETL_GUARD_AWS_TIMEOUT", "5s");
    undeliverable(&stage, FaultKind::AccessDenied);
    let played = stage.run();
    played.expect_code(74);
    let run = text(&played.report["run"]);
    let resume = || {
        let mut command = stage.watch_resume();
        command.arg("--evidence=s3://acme-evidence/");
        stage.play(command)
    };
    let played = resume();
    played.expect_code(74);
    let first = played.stderr.lines().next();
    let waits =
        "emr-etl-guard: NO EVIDENCE: 1 report still waits to be delivered; the log says why";
    assert_eq!(first, Some(waits));
    assert_eq!(documents(&stage, "state/outbox").len(), 1);

    stage.set(Set::ClearFaults);
    let played = resume();
    played.expect_code(0);
    assert!(played.stdout.contains(run), "{}", played.stdout);
    assert_eq!(played.stderr, "");
    assert_eq!(documents(&stage, "state/outbox").len(), 0);
}

#[test]
fn evidence_that_is_not_delivered_hides_no_worse_outcome() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration")
        .option("--evidence=s3://acme-evidence/")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "5s");
    stage.set(bucket(|_| {}));
    let puts = Fault::every("PutObject", FaultKind::AccessDenied);
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-evidence".to_owned()),
        calls: Calls::Range { from: 2, to: 1000 },
        ..puts
    }));
    let played = stage.run();
    played.expect_code(76);
    assert!(played.stderr.contains("NO EVIDENCE"), "{}", played.stderr);
    assert_eq!(documents(&stage, "state/outbox").len(), 1);
}

#[test]
fn a_destination_that_cannot_be_written_to_refuses_before_anything_is_launched() {
    let stage = Stage::acme().option("--evidence=guard.yml/kept");
    stage.write("guard.yml", "");
    let played = stage.run();
    played.expect_code(64);
    assert!(
        played.stderr.contains("the evidence could not be kept: guard.yml/kept: "),
        "{}",
        played.stderr
    );
    assert!(stage.sim.requests().is_empty());

    let stage = Stage::acme().option("--evidence=s3://no-such-bucket/");
    let played = stage.run();
    played.expect_code(69);
    assert!(!played.runner_started());
    assert!(
        played.stderr.contains(
            "documents cannot be delivered to s3://no-such-bucket/: there \
        is no bucket no-such-bucket"
        ),
        "{}",
        played.stderr
    );
}

#[test]
fn a_document_on_standard_output_is_the_whole_document_and_its_signature() {
    let stage = signing()
        .option("--evidence=stdout")
        .option("--quiet")
        .replace("level: DEBUG", "level: INFO");
    let played = stage.run();
    played.expect_code(0);
    let (document, envelope) = (
        std::fs::read_to_string(stage.path("report.json")).unwrap(),
        std::fs::read_to_string(stage.path("report.json.dsse")).unwrap(),
    );
    assert!(played.stdout.ends_with(&format!("{document}{envelope}")), "{}", played.stdout);

    // If the report is printed there anyway, it is printed once.
    let stage = stage.option("--json");
    let played = stage.check();
    let document = std::fs::read_to_string(stage.path("report.json")).unwrap();
    assert_eq!(
        played.stdout,
        format!("{document}{}", std::fs::read_to_string(stage.path("report.json.dsse")).unwrap())
    );
}

#[test]
fn folders_keep_as_many_documents_as_they_are_told() {
    let stage = signing().option("--evidence=kept").option("--evidence-keep=2");
    stage.write("somebody-elses.json", "{}");
    for _ in 0..4 {
        stage.check().expect_code(0);
        std::fs::copy(stage.path("somebody-elses.json"), stage.path("kept/somebody-elses.json"))
            .unwrap();
    }
    let names = documents(&stage, "kept");
    assert_eq!(names.len(), 3, "{names:?}");
    let signatures = std::fs::read_dir(stage.path("kept"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().unwrap() == "dsse");
    assert_eq!(signatures.count(), 2);
}

#[test]
fn the_printed_policy_allows_what_documents_need_and_only_where_settings_ask_for_them() {
    let stage = Stage::acme()
        .env("EMR_ETL_GUARD_EVIDENCE", "s3://acme-evidence/runs/")
        .env("EMR_ETL_GUARD_SIGN_KEY", "alias/evidence");
    stage.set(bucket(|_| {}));
    stage.set(signing_key("ECC_NIST_P256"));
    let print = |stage: &Stage| -> Value {
        let mut command = isolated_guard();
        command.args(["explain", "--permissions"]);
        stage.prepare(&mut command);
        serde_json::from_str(&stage.play(command).stdout).unwrap()
    };
    let of = |policy: &Value| -> std::collections::BTreeSet<String> {
        let ours = list(policy, "Statement")
            .iter()
            .filter(|statement| text(&statement["Sid"]).starts_with("Evidence"));
        ours.flat_map(|statement| {
            list(statement, "Action").iter().map(|action| text(action).to_owned())
        })
        .collect()
    };
    let policy = print(&stage);
    assert!(policy.to_string().contains("arn:aws:s3:::acme-evidence/runs/*"));
    assert!(of(&print(&Stage::acme())).is_empty());

    // After a lost response the guard checks what is there.
    stage.set(Set::AddFault(Fault {
        matching: Some("acme-evidence".to_owned()),
        ..Fault::nth("PutObject", 1, FaultKind::AppliedThenReset)
    }));
    stage.run().expect_code(0);
    let about_evidence = |request: &&emr_simulator::Recorded| {
        request.access_key.as_deref() == Some("AKIAGUARD")
            && (request.subject.bucket.as_deref() == Some("acme-evidence")
                || matches!(request.operation(), "Sign" | "GetPublicKey"))
    };
    let permission = |operation: &str| match operation {
        "HeadBucket" => "s3:ListBucket".to_owned(),
        "GetObjectLockConfiguration" => "s3:GetBucketObjectLockConfiguration".to_owned(),
        "Sign" | "GetPublicKey" => format!("kms:{operation}"),
        other => format!("s3:{other}"),
    };
    let requests = stage.sim.requests();
    let needed: std::collections::BTreeSet<String> = requests
        .iter()
        .filter(about_evidence)
        .map(|request| permission(request.operation()))
        .collect();
    assert_eq!(of(&policy), needed);
}

#[test]
fn a_stop_during_the_delivery_leaves_the_document_for_the_next_start() {
    let stage =
        signing().option("--evidence=s3://acme-evidence/").env("EMR_ETL_GUARD_AWS_TIMEOUT", "600s");
    undeliverable(&stage, FaultKind::Hang);
    let child = stage.command("run").spawn().unwrap();
    let sends = |request: &emr_simulator::Recorded| {
        request.operation() == "PutObject"
            && request.subject.key.as_deref().is_some_and(|key| key.ends_with(".json.dsse"))
    };
    assert!(stage.sim.wait_for_request(sends, std::time::Duration::from_secs(50)).is_some());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let played = stage.finish(child);
    played.expect_code(74);
    assert!(
        played.stderr.contains(
            "the report was not delivered to all of its destinations: the guard was stopped"
        ),
        "{}",
        played.stderr
    );
    assert_eq!(documents(&stage, "state/outbox").len(), 1);
    assert_eq!(played.report["exit_code"], 0, "the run itself was good");
    verify(&stage, &["report.json"]).expect_code(0);
}

#[test]
fn no_document_no_signature_and_no_outbox_holds_a_secret() {
    let stage = signing().option("--evidence=s3://no-such-bucket/,kept");
    let played = stage.run();
    played.expect_code(69);
    let key = std::fs::read_to_string(stage.path("key.pem")).unwrap();
    let key = key.lines().nth(1).unwrap();
    let mut files = vec![
        stage.path("report.json"),
        stage.path("report.json.dsse"),
        stage.path("state/chain.json"),
    ];
    for folder in ["kept", "state/outbox"] {
        let found: Vec<_> = std::fs::read_dir(stage.path(folder))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(!found.is_empty(), "{folder}");
        files.extend(found);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for secret in [crate::support::SECRET, "GUARDSECRET", key] {
            assert!(!text.contains(secret), "{}", file.display());
        }
    }
}
