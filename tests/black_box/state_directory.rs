//! The state directory is the guard's alone: one that another user could have written to is
//! refused, its content grants no permissions, and no link redirects a write.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    path::Path,
};

use emr_simulator::{ClusterState, Command as Set, Fault, FaultKind, PutBucket, PutObject, Sse};
use serde_json::{Value, json};

use crate::support::{Played, Programs, Stage, isolated_guard, programs, under_way};

/// A user that no test runs as, and its group.
const OTHER: u32 = 12_345;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Asserts a refusal that changed nothing, with `what` in standard error.
fn expect_refused(stage: &Stage, played: &Played, what: &str) {
    played.expect_code(69);
    assert!(played.stderr.contains(what), "`{what}` is missing:\n{}", played.stderr);
    assert!(played.stderr.contains("fix: "), "{}", played.stderr);
    assert!(!played.runner_started(), "{}", played.transcript());
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

/// Asserts a good run: with a stage's events, or without, where an earlier one has processed them.
fn expect_good(played: &Played, context: &str) {
    assert!(matches!(played.code, Some(0 | 3)), "{context}\n{}", played.transcript());
}

/// The folders in a state directory in which the guard stores files.
const PLACES: [&str; 3] = ["state", "state/runs", "state/outbox"];

#[test]
fn a_state_directory_that_others_may_write_to_is_refused() {
    for place in PLACES {
        let stage = Stage::acme().option("--evidence=kept");
        fs::create_dir_all(stage.path(place)).unwrap();
        for bits in [0o777, 0o702, 0o1777] {
            mode(&stage.path(place), bits);
            let played = stage.run();
            expect_refused(&stage, &played, &format!("{place} may be written by every user"));
        }
        mode(&stage.path(place), 0o755);
        stage.run().expect_code(0);
    }
}

#[test]
fn a_state_directory_of_another_user_is_refused_whatever_its_mode() {
    if !is_root() {
        // Only root can create one; that a directory writable by others is refused is tested above.
        return;
    }
    for place in PLACES {
        let stage = Stage::acme().option("--evidence=kept");
        fs::create_dir_all(stage.path(place)).unwrap();
        chown(stage.path(place), Some(OTHER), Some(OTHER)).unwrap();
        for bits in [0o700, 0o755, 0o777] {
            mode(&stage.path(place), bits);
            let played = stage.run();
            expect_refused(&stage, &played, &format!("{place} is owned by user {OTHER}"));
        }
    }
}

#[test]
fn every_command_that_works_in_the_state_directory_refuses_one_that_is_not_its_own() {
    let stage = Stage::acme().option("--evidence=kept");
    stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..PutBucket::default() }));
    fs::create_dir_all(stage.path("state")).unwrap();
    mode(&stage.path("state"), 0o777);
    expect_refused(&stage, &stage.play(stage.watch_resume()), "state may be written by every user");
    let watched = stage.play(stage.watch(&["j-2AXXXXXXGAPLF"], false));
    expect_refused(&stage, &watched, "state may be written by every user");
    for words in [
        &["audit", "s3://old/", "--resume"][..],
        &["reencrypt", "s3://old", "--bucket", "old", "--apply"],
    ] {
        let mut command = isolated_guard();
        command.args(words);
        stage.prepare(&mut command);
        command.env("AWS_REGION", "eu-west-1");
        let played = stage.play(command);
        expect_refused(&stage, &played, "state may be written by every user");
    }
    assert_eq!(fs::read_dir(stage.path("state")).unwrap().count(), 0, "nothing was written");
    // `check` does not launch: it needs no state directory.
    let stage = Stage::acme();
    fs::create_dir_all(stage.path("state")).unwrap();
    mode(&stage.path("state"), 0o777);
    stage.check().expect_code(0);
}

#[test]
fn a_directory_above_in_which_others_may_replace_it_is_refused_unless_it_is_sticky() {
    for (bits, is_safe) in [(0o777, false), (0o1777, true), (0o755, true)] {
        let stage = Stage::acme().env("EMR_ETL_GUARD_STATE_DIR", "shared/state");
        fs::create_dir(stage.path("shared")).unwrap();
        mode(&stage.path("shared"), bits);
        let played = stage.run();
        if is_safe {
            played.expect_code(0);
            assert_eq!(stage.path("shared/state").metadata().unwrap().mode() & 0o777, 0o700);
        } else {
            expect_refused(&stage, &played, "shared may be written by every user");
        }
    }
}

#[test]
fn a_file_in_it_that_others_may_have_written_is_refused() {
    for file in ["state/lock", "state/chain.json"] {
        let stage = Stage::acme();
        stage.run().expect_code(0);
        let before = fs::read(stage.path(file)).unwrap();
        let _ = fs::remove_file(stage.path("journal.jsonl"));
        let refuse = |what: &str| {
            let played = stage.run();
            expect_refused(&stage, &played, what);
            assert_eq!(fs::read(stage.path(file)).unwrap(), before, "it is as it was");
        };
        mode(&stage.path(file), 0o666);
        refuse(&format!("{file} may be written by every user"));
        mode(&stage.path(file), 0o600);
        fs::hard_link(stage.path(file), stage.path("other-name")).unwrap();
        refuse(&format!("{file} has more than one name"));
        fs::remove_file(stage.path("other-name")).unwrap();
        if is_root() {
            chown(stage.path(file), Some(OTHER), Some(OTHER)).unwrap();
            refuse(&format!("{file} is owned by user {OTHER}"));
        }
    }
}

/// A running run, and its journal in the folder `planted`, changed so that its cluster is not as
/// verified. The run's own guard continues.
fn planted_journal() -> (Stage, std::process::Child, std::path::PathBuf) {
    let stage = Stage::acme().misbehave("hang");
    let child = under_way(&stage);
    let own = fs::read_dir(stage.path("state/runs")).unwrap().next().unwrap().unwrap();
    let text = fs::read_to_string(own.path()).unwrap();
    assert!(text.contains("\"name\":\"acme-sc\""), "{text}");
    let text = text.replace("\"name\":\"acme-sc\"", "\"name\":\"another\"");
    fs::create_dir_all(stage.path("planted/runs")).unwrap();
    mode(&stage.path("planted"), 0o700);
    let journal = stage.path("planted/runs").join(own.file_name());
    fs::write(&journal, text).unwrap();
    mode(&journal, 0o600);
    (stage.env("EMR_ETL_GUARD_STATE_DIR", "planted"), child, journal)
}

fn end(child: &mut std::process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn a_journal_that_others_could_have_written_ends_no_cluster() {
    let (stage, mut child, journal) = planted_journal();
    let refuse = |what: &str| {
        let played = stage.play(stage.watch_resume());
        played.expect_code(69);
        assert!(played.stderr.contains(what), "`{what}` is missing:\n{}", played.stderr);
        let states = stage.sim.with_world(|world| {
            world.clusters.iter().map(|cluster| cluster.state).collect::<Vec<_>>()
        });
        assert!(
            matches!(
                states[..],
                [ClusterState::Starting | ClusterState::Bootstrapping | ClusterState::Running]
            ),
            "{states:?}"
        );
        assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
        assert!(journal.exists());
    };
    mode(&journal, 0o666);
    refuse(".journal may be written by every user");
    mode(&journal, 0o600);
    mode(&stage.path("planted/runs"), 0o777);
    refuse("planted/runs may be written by every user");
    mode(&stage.path("planted/runs"), 0o700);
    let elsewhere = stage.path("elsewhere.journal");
    fs::rename(&journal, &elsewhere).unwrap();
    symlink(&elsewhere, &journal).unwrap();
    refuse(".journal is a symbolic link");
    fs::remove_file(&journal).unwrap();
    // A name that the guard never uses, or one of another run than the content's.
    for name in ["planted.journal", "00000000-0000-7000-8000-000000000000.journal"] {
        let odd = stage.path("planted/runs").join(name);
        fs::copy(&elsewhere, &odd).unwrap();
        mode(&odd, 0o600);
        let played = stage.play(stage.watch_resume());
        played.expect_code(69);
        assert!(played.stderr.contains(name), "{}", played.stderr);
        assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
        fs::remove_file(odd).unwrap();
    }
    if is_root() {
        fs::rename(&elsewhere, &journal).unwrap();
        chown(&journal, Some(OTHER), Some(OTHER)).unwrap();
        refuse(&format!(".journal is owned by user {OTHER}"));
    }
    end(&mut child);
}

/// A file of another user, and the check that it is unchanged.
struct Victim<'a>(&'a Stage, &'static str);

const CONTENT: &str = "a victim's own\n";

impl<'a> Victim<'a> {
    fn new(stage: &'a Stage, name: &'static str) -> Self {
        stage.write(name, CONTENT);
        Self(stage, name)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path(self.1)
    }

    fn expect_untouched(&self, context: &str) {
        assert_eq!(fs::read_to_string(self.path()).unwrap(), CONTENT, "{context}");
    }
}

#[test]
fn no_link_in_the_state_directory_leads_a_write_elsewhere() {
    for (link, words) in [
        ("lock", None),
        ("chain.json", None),
        ("chain.json.part", None),
        ("reencrypt/lock", Some(&["reencrypt", "s3://old", "--bucket", "old", "--apply"][..])),
        ("reencrypt/ledger.redb", Some(&["reencrypt", "s3://old", "--bucket", "old", "--apply"])),
        (
            "reencrypt/ledger.redb.new",
            Some(&["reencrypt", "s3://old", "--bucket", "old", "--apply"]),
        ),
    ] {
        let stage = Stage::acme();
        stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..PutBucket::default() }));
        let link_path = stage.path("state").join(link);
        fs::create_dir_all(link_path.parent().unwrap()).unwrap();
        let victim = Victim::new(&stage, "victim");
        symlink(victim.path(), &link_path).unwrap();
        let played = match words {
            None => stage.run(),
            Some(words) => {
                let mut command = isolated_guard();
                command.args(words);
                stage.prepare(&mut command);
                command.env("AWS_REGION", "eu-west-1");
                stage.play(command)
            }
        };
        victim.expect_untouched(link);
        assert!(matches!(played.code, Some(0 | 69)), "{link}\n{}", played.transcript());
        let is_draft = [".part", ".new"].iter().any(|end| link.ends_with(end));
        assert_eq!(played.code == Some(0), is_draft, "{link}\n{}", played.transcript());
    }
    // A folder in it that is a link leads elsewhere.
    let stage = Stage::acme();
    fs::create_dir_all(stage.path("state")).unwrap();
    fs::create_dir_all(stage.path("elsewhere")).unwrap();
    symlink(stage.path("elsewhere"), stage.path("state/runs")).unwrap();
    let played = stage.run();
    expect_refused(&stage, &played, "state/runs is a symbolic link");
    assert_eq!(fs::read_dir(stage.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn no_link_beside_a_report_a_list_or_evidence_leads_a_write_elsewhere() {
    let stage = Stage::acme().option("--evidence=kept").option("--metrics-file=metrics.prom");
    stage.set(Set::PutBucket(PutBucket { name: "old".to_owned(), ..PutBucket::default() }));
    stage.set(Set::PutObject(PutObject {
        bucket: "old".to_owned(),
        key: "k".to_owned(),
        size: Some(100),
        sse: Some(Sse::None),
        ..PutObject::default()
    }));
    fs::create_dir(stage.path("kept")).unwrap();
    let links = [
        "report.json.part",
        "report.json.dsse.part",
        "kept/.emr-etl-guard.probe",
        "kept/.emr-etl-guard.probe.part",
        "o.csv.part",
        "metrics.prom.part",
    ];
    let victim = Victim::new(&stage, "victim");
    for link in links {
        symlink(victim.path(), stage.path(link)).unwrap();
    }
    stage.run().expect_code(0);
    victim.expect_untouched("run");
    for words in [
        &["audit", "s3://old/", "--offenders=o.csv", "--report=report.json"][..],
        &["audit", "s3://old/", "--offenders=o.csv", "--report=report.json", "--resume"],
    ] {
        let mut command = isolated_guard();
        command.args(words);
        stage.prepare(&mut command);
        command.env("AWS_REGION", "eu-west-1");
        let played = stage.play(command);
        played.expect_code(77);
        victim.expect_untouched("audit");
        assert!(fs::read_to_string(stage.path("o.csv")).unwrap().contains("old,k,"));
    }
    // A link in place of the file itself is not followed, either: it is replaced.
    for file in ["report.json", "metrics.prom", "o.csv"] {
        let _ = fs::remove_file(stage.path(file));
        symlink(victim.path(), stage.path(file)).unwrap();
    }
    expect_good(&stage.run(), "run");
    victim.expect_untouched("run");
    assert!(stage.path("report.json").symlink_metadata().unwrap().is_file());
    assert!(!fs::read_to_string(stage.path("metrics.prom")).unwrap().contains("victim"));
}

/// A stage that signs with a KMS key, and the report of a good run.
fn signing() -> Stage {
    let stage =
        Stage::acme().env("EMR_ETL_GUARD_SIGN_KEY", "alias/evidence").option("--evidence=kept");
    stage.set(Set::PutKey(emr_simulator::PutKey {
        id: "5160ed00-0000-4000-8000-000000000000".to_owned(),
        aliases: vec!["alias/evidence".to_owned()],
        spec: Some("ECC_NIST_P256".to_owned()),
        usage: Some("SIGN_VERIFY".to_owned()),
        ..emr_simulator::PutKey::default()
    }));
    stage
}

/// The files of a folder of the stage, by name.
fn files(stage: &Stage, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(stage.path(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

const RUN: &str = "019a0000-0000-7000-8000-000000000001";
const NAME: &str = "emr-etl-guard-20261101T000000Z-019a0000-0000-7000-8000-000000000001";

/// Puts a report into the outbox that no run has written.
fn plant(stage: &Stage, file: &str, name: &str, to: &str, chain: &Value) {
    let pending = json!({
        "parcel": {
            "name": name,
            "run": RUN,
            "said": {"started": "2026-11-01T00:00:00Z", "exit_code": 0, "chain": chain},
            "document": "{\"forged\": true}\n",
            "envelope": null,
        },
        "unsigned": true,
        "to": [to],
    });
    fs::create_dir_all(stage.path("state/outbox")).unwrap();
    let file = stage.path("state/outbox").join(file);
    fs::write(&file, pending.to_string()).unwrap();
    mode(&file, 0o600);
}

#[test]
fn nothing_is_signed_that_the_chain_does_not_know() {
    let stage = signing();
    stage.run().expect_code(0);
    let chain: Value =
        serde_json::from_slice(&fs::read(stage.path("state/chain.json")).unwrap()).unwrap();
    let place = json!({"id": chain["id"], "sequence": 1, "previous": null, "unrecorded": []});
    for chain in [Value::Null, place] {
        plant(&stage, &format!("{NAME}.json"), NAME, "kept", &chain);
        let signed = stage.sim.requests_for("Sign").len();
        let played = stage.run();
        expect_good(&played, "run");
        assert!(
            played.stdout.contains(&format!(
                "the document of run {RUN} still waits in the outbox: \
                it is not signed, because it is not in the chain of this state directory"
            )),
            "{}",
            played.stdout
        );
        assert_eq!(stage.sim.requests_for("Sign").len(), signed + 2, "its begin, its document");
        assert!(!files(&stage, "kept").iter().any(|file| file.contains(RUN)));
        assert!(files(&stage, "state/outbox").contains(&format!("{NAME}.json")), "it stays");
    }
}

#[test]
fn a_report_whose_key_could_not_be_asked_is_signed_at_the_next_start_of_any_command() {
    for check in [false, true] {
        let stage = signing().env("EMR_ETL_GUARD_AWS_TIMEOUT", "5s");
        // The first signature is for the note that the run starts; a check signs only its report.
        let from = if check { 1 } else { 2 };
        stage.set(Set::AddFault(Fault {
            calls: emr_simulator::Calls::Range { from, to: 1000 },
            ..Fault::every("Sign", FaultKind::AccessDenied)
        }));
        let played = if check { stage.check() } else { stage.run() };
        played.expect_code(74);
        let lost = played.report["run"].as_str().unwrap().to_owned();
        assert_eq!(files(&stage, "state/outbox").len(), 1);
        assert_eq!(files(&stage, "kept").len(), 0);
        stage.set(Set::ClearFaults);
        let played = stage.run();
        assert!(
            played.stdout.contains(&format!(
                "the document of run {lost}, which waited in the outbox, is delivered"
            )),
            "{}",
            played.stdout
        );
        assert_eq!(files(&stage, "state/outbox").len(), 0);
        let kept = files(&stage, "kept");
        assert!(kept.iter().any(|file| file.ends_with(&format!("{lost}.json.dsse"))), "{kept:?}");
    }
}

#[test]
fn a_name_in_the_outbox_that_is_not_of_the_guards_own_form_leads_nowhere() {
    let stage = signing();
    stage.run().expect_code(0);
    let victim = Victim::new(&stage, "victim.json");
    let untouched = |file: &str, name: &str| {
        plant(&stage, file, name, "kept", &Value::Null);
        let played = stage.run();
        assert!(
            played.stdout.contains(&format!("the outbox: state/outbox/{file} cannot be read: ")),
            "{}",
            played.stdout
        );
        victim.expect_untouched(name);
        assert!(!stage.path("victim.json.dsse").exists());
        fs::remove_file(stage.path("state/outbox").join(file)).unwrap();
    };
    for name in ["../victim", "../../victim", "emr-etl-guard-x/../../victim"] {
        untouched(&format!("{NAME}.json"), name);
    }
    // The name of one file, and the content of another.
    let other = NAME.replace("0001", "0002");
    untouched(&format!("{other}.json"), NAME);
    // A name format that the guard never uses.
    untouched("anything.json", "anything");
}

#[test]
fn what_waits_in_the_outbox_goes_to_no_place_that_the_settings_do_not_name() {
    let stage = signing().env("EMR_ETL_GUARD_AWS_TIMEOUT", "5s");
    stage.set(Set::PutBucket(PutBucket { name: "gone".to_owned(), ..PutBucket::default() }));
    let stage = Stage::acme().option("--evidence=kept,first");
    fs::create_dir(stage.path("first")).unwrap();
    stage.run().expect_code(0);
    let name = files(&stage, "first").remove(0);
    let name = name.trim_end_matches(".json").to_owned();
    let document = fs::read_to_string(stage.path(&format!("first/{name}.json"))).unwrap();
    let run = serde_json::from_str::<Value>(&document).unwrap()["run"].clone();
    let pending = json!({
        "parcel": {
            "name": name,
            "run": run,
            "said": {"started": "2026-11-01T00:00:00Z", "exit_code": 0, "chain": null},
            "document": document,
            "envelope": null,
        },
        "unsigned": false,
        "to": ["elsewhere"],
    });
    fs::create_dir_all(stage.path("state/outbox")).unwrap();
    let file = stage.path("state/outbox").join(format!("{name}.json"));
    fs::write(&file, pending.to_string()).unwrap();
    mode(&file, 0o600);
    let played = stage.run();
    expect_good(&played, "run");
    assert!(
        played.stdout.contains(
            "still waits in the outbox: it is not sent to elsewhere, which the \
            setting `evidence` does not name"
        ),
        "{}",
        played.stdout
    );
    assert!(!stage.path("elsewhere").exists());
    assert!(file.exists());
}

/// Copies of the programs under test in a folder that every user may enter: cargo's may be below a
/// home directory that is closed to others.
fn programs_for_all(folder: &Path) -> Programs {
    mode(folder, 0o755);
    let copy = |from: &Path, name: &str| {
        let to = folder.join(name);
        fs::copy(from, &to).unwrap();
        mode(&to, 0o755);
        to
    };
    let Programs { guard, runner } = programs();
    Programs { guard: copy(guard, "guard"), runner: copy(runner, "runner") }
}

/// A run as user and group 10001, as in the container, on a stage that this user may write to,
/// whose state directory is mounted with this owner, group and mode. Needs root.
fn played_on_volume(
    stage: &Stage,
    programs: &Programs,
    (owner, group, bits): (u32, u32, u32),
) -> Played {
    let mut command = stage.command_of(&programs.guard, "run");
    for entry in fs::read_dir(stage.folder.path()).unwrap().flatten() {
        let _ = std::os::unix::fs::lchown(entry.path(), Some(10_001), Some(10_001));
    }
    chown(stage.folder.path(), Some(10_001), Some(10_001)).unwrap();
    mode(stage.folder.path(), 0o755);
    command.uid(10_001).gid(10_001);
    let folder = stage.path("state");
    chown(&folder, Some(owner), Some(group)).unwrap();
    mode(&folder, bits);
    stage.play(command)
}

#[test]
fn volumes_as_kubernetes_and_packages_make_them_are_accepted() {
    if !is_root() {
        // The cases without a change of owner are in the unit tests of the rule.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let programs = programs_for_all(folder.path());
    let runner = programs.runner.display().to_string();
    for (owner, group, bits, why) in [
        (0, 10_001, 0o2775, "a claim under fsGroup: root's, its group the pod's own"),
        (0, 10_001, 0o2770, "the same, closed to others"),
        (10_001, 10_001, 0o755, "a folder of the .deb of old, or of an access point of EFS"),
        (10_001, 10_001, 0o750, "StateDirectory of systemd, and the .deb"),
        (10_001, 10_001, 0o2770, "the guard's own, after a mount under fsGroup"),
    ] {
        let stage = Stage::acme().env("EMR_ETL_GUARD_RUNNER", &runner);
        let folder = stage.path("state");
        fs::create_dir(&folder).unwrap();
        let played = played_on_volume(&stage, &programs, (owner, group, bits));
        assert_eq!(played.code, Some(0), "{why}\n{}", played.transcript());
        // A later mount gives all files to the group, with write permission.
        for file in ["lock", "chain.json"] {
            mode(&folder.join(file), 0o660);
        }
        mode(&folder.join("runs"), 0o2770);
        let played = played_on_volume(&stage, &programs, (owner, group, bits));
        expect_good(&played, &format!("{why}, mounted again"));
    }
    for (owner, group, bits, what) in [
        (0, 10_001, 0o2777, "may be written by every user"),
        (0, 100, 0o2775, "may be written by group 100"),
        (10_001, 100, 0o775, "may be written by group 100"),
        (OTHER, 10_001, 0o2775, "is owned by user 12345"),
        (0, 0, 0o755, "Permission denied"),
    ] {
        let stage = Stage::acme().env("EMR_ETL_GUARD_RUNNER", &runner);
        let folder = stage.path("state");
        fs::create_dir(&folder).unwrap();
        let played = played_on_volume(&stage, &programs, (owner, group, bits));
        played.expect_code(69);
        assert!(played.stderr.contains(what), "`{what}` is missing:\n{}", played.stderr);
        assert!(!played.runner_started());
    }
}

#[test]
fn a_version_that_others_could_have_remembered_is_not_believed() {
    let stage = Stage::acme();
    stage.run().expect_code(0);
    let cache = stage.path(".cache/emr-etl-guard/runner-versions.json");
    // The stand-in's version is read by running it; such a version is cached.
    assert!(cache.exists(), "no version is remembered in {}", cache.display());
    let text = fs::read_to_string(&cache).unwrap();
    let forged = text.replace("1.0.4", "1.0.3");
    assert_ne!(text, forged);
    let version = |stage: &Stage| {
        let played = stage.check();
        played.report["inputs"]["runner"]["version"]["found"].as_str().map(str::to_owned)
    };
    fs::write(&cache, &forged).unwrap();
    mode(&cache, 0o666);
    assert_eq!(version(&stage).as_deref(), Some("1.0.4"), "asked anew");
    // A file that is the guard's alone is trusted, whatever it contains.
    fs::write(&cache, &forged).unwrap();
    mode(&cache, 0o644);
    assert_eq!(version(&stage).as_deref(), Some("1.0.3"));
    mode(cache.parent().unwrap(), 0o777);
    assert_eq!(version(&stage).as_deref(), Some("1.0.4"));
}
