//! `setup` that is stopped or killed while it makes something or takes it back: a report says what
//! was done, and the same command goes on.

use std::process::Command;

use emr_simulator::{ANY_WRITE, Command as Set, Fault, FaultKind};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    setup::{APPLY, document, empty_account, made_account, setup, writes},
    support::{Played, Stage, wait_until},
};

const UNDO: [&str; 3] = ["--undo=setup.json", "--apply", "--report=undo.json"];

/// Starts a command, and ends it with this signal while its nth write is under way.
fn ended_at(stage: &Stage, options: &[&str], nth: u64, kind: FaultKind, signal: Signal) -> Played {
    stage.set(Set::AddFault(Fault::nth(ANY_WRITE, nth, kind)));
    let mut command: Command = stage.with_options("setup", options);
    let child = command.spawn().unwrap();
    wait_until("it is held", || stage.sim.requests().iter().any(|it| it.fault.is_some()));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    let played = stage.finish(child);
    stage.set(Set::ClearFaults);
    stage.set(Set::ClearRequests);
    played
}

/// Kind, subject and result of each step of an undo's report.
fn results(stage: &Stage, file: &str) -> Vec<String> {
    let report = document(stage, file);
    let steps = report["taken_back"].as_array().unwrap().iter();
    steps
        .map(|step| {
            let piece = &step["piece"];
            let subject = ["bucket", "name", "alias", "object"]
                .iter()
                .find_map(|name| (!piece[*name].is_null()).then(|| piece[*name].to_string()));
            format!("{} {}: {}", piece["kind"], subject.unwrap(), step["result"]["result"])
        })
        .collect()
}

/// The kinds of the pieces that a record says were made or changed, in order.
fn made(record: &Value) -> Vec<String> {
    let steps = record["steps"].as_array().unwrap().iter();
    steps
        .filter(|step| step["action"] != "found")
        .map(|step| format!("{} {}", step["piece"]["kind"], step["action"]))
        .collect()
}

#[test]
fn a_setup_that_is_stopped_reports_what_it_made_and_the_next_report_has_all_of_it() {
    let whole = made_account();
    let all = made(&document(&whole, "setup.json")["record"]);
    for (nth, kind) in [(9, FaultKind::Hang), (9, FaultKind::AppliedThenHang)] {
        let mut stage = empty_account("eu-west-1");
        let played = ended_at(&stage, &APPLY, nth, kind, Signal::SIGTERM);
        played.expect_code(143);
        let stderr = played.unbroken();
        let said = "stopped by SIGTERM: what was made until then is in setup.json; the answer to";
        assert!(stderr.contains(said), "{stderr}");
        assert!(stderr.contains("run the same command again"), "{stderr}");
        let report = document(&stage, "setup.json");
        assert_eq!((&report["exit_code"], &report["mode"]), (&json!(143), &json!("apply")));
        let first = made(&report["record"]);
        assert_eq!(first[..], all[..first.len()]);
        let last = report["record"]["steps"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["verified"], false, "it is not known whether it took effect: {last}");
        // The same command with the same file goes on, and nothing is lost from the record.
        setup(&mut stage, &APPLY).expect_code(0);
        assert_eq!(made(&document(&stage, "setup.json")["record"]), all);
        stage.check().expect_code(0);
    }
}

#[test]
fn a_setup_that_is_stopped_without_a_report_says_where_the_journal_is() {
    let mut stage = empty_account("eu-west-1");
    let played = ended_at(&stage, &["--apply"], 6, FaultKind::Hang, Signal::SIGINT);
    played.expect_code(130);
    let stderr = played.unbroken();
    assert!(
        stderr.contains(
            "stopped by SIGINT: what was made until then is in the journal state/setups/"
        )
    );
    setup(&mut stage, &APPLY).expect_code(0);
    let whole = made_account();
    let all = made(&document(&whole, "setup.json")["record"]);
    assert_eq!(made(&document(&stage, "setup.json")["record"]), all);
}

#[test]
fn a_plan_that_is_stopped_has_changed_nothing_and_says_so() {
    let stage = empty_account("eu-west-1");
    stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::Hang)));
    let child = stage.with_options("setup", &APPLY).spawn().unwrap();
    wait_until("it looks", || stage.sim.requests().iter().any(|it| it.fault.is_some()));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(143);
    assert_eq!(played.stderr, "emr-etl-guard: stopped by SIGTERM: nothing was changed\n");
    assert_eq!(writes(&stage), [] as [&str; 0]);
}

#[test]
fn an_undo_that_is_stopped_reports_what_it_took_back_and_the_next_one_reports_all_of_it() {
    let mut whole = made_account();
    setup(&mut whole, &UNDO).expect_code(0);
    let all = results(&whole, "undo.json");
    let mut stage = made_account();
    let played = ended_at(&stage, &UNDO, 5, FaultKind::AppliedThenHang, Signal::SIGTERM);
    played.expect_code(143);
    let stderr = played.unbroken();
    let said = "stopped by SIGTERM: what was taken back until then is in undo.json; fix: run the \
                same command again";
    assert!(stderr.contains(said), "{stderr}");
    let first = results(&stage, "undo.json");
    assert_eq!(first[..4], all[..4]);
    assert!(first[4].ends_with("\"unknown\"") && first.len() == 5, "{first:#?}");
    setup(&mut stage, &UNDO).expect_code(0);
    assert_eq!(results(&stage, "undo.json"), all);
    let buckets = |stage: &Stage| -> Vec<String> {
        stage.sim.with_world(|world| world.buckets.keys().cloned().collect())
    };
    assert_eq!(buckets(&stage), buckets(&whole));
}

#[test]
fn an_undo_that_is_killed_at_any_write_is_continued_and_the_last_report_has_all_of_it() {
    let mut whole = made_account();
    whole.set(Set::ClearRequests);
    setup(&mut whole, &UNDO).expect_code(0);
    let all = results(&whole, "undo.json");
    let number = writes(&whole).len();
    let mut stage = made_account();
    stage.set(Set::ClearRequests);
    let mut done = Vec::new();
    for index in 0..number {
        // Before the call takes effect, or after.
        let kinds = match index % 5 {
            0 => &[FaultKind::Hang, FaultKind::AppliedThenHang][..],
            _ => &[FaultKind::AppliedThenHang],
        };
        for kind in kinds {
            stage.set(Set::AddFault(Fault::nth(ANY_WRITE, 1, kind.clone())));
            let mut child = stage.with_options("setup", &UNDO).spawn().unwrap();
            wait_until("it is held", || stage.sim.requests().iter().any(|it| it.fault.is_some()));
            child.kill().unwrap();
            child.wait().unwrap();
            if *kind == FaultKind::AppliedThenHang {
                done.extend(writes(&stage));
            }
            stage.set(Set::ClearFaults);
            stage.set(Set::ClearRequests);
        }
    }
    assert!(!stage.path("undo.json").exists());
    setup(&mut stage, &UNDO).expect_code(0);
    assert_eq!(writes(&stage), [] as [&str; 0], "everything was taken back before");
    assert_eq!(done.len(), number, "each write once: {done:#?}");
    assert_eq!(results(&stage, "undo.json"), all);
    // It is said that an earlier undo did it.
    let played = setup(&mut stage, &["--undo=setup.json", "--apply"]);
    assert!(played.stdout.contains("security configuration"), "{}", played.transcript());
    assert!(played.stdout.contains("was gone already"), "a report has it: {}", played.transcript());
}

#[test]
fn no_report_replaces_the_record_that_an_undo_needs() {
    let mut stage = made_account();
    let before = std::fs::read(stage.path("setup.json")).unwrap();
    for options in [
        &["--report=setup.json"][..],
        &["--undo=setup.json", "--apply", "--report=setup.json"],
        &["--retire=some", "--apply", "--report=setup.json"],
    ] {
        stage.set(Set::ClearRequests);
        let played = setup(&mut stage, options);
        played.expect_code(64);
        let stderr = played.unbroken();
        assert!(stderr.contains("holds the record of what an earlier `setup --apply` made"));
        assert_eq!(std::fs::read(stage.path("setup.json")).unwrap(), before);
        assert_eq!(writes(&stage), [] as [&str; 0]);
    }
    // `--apply` continues the record.
    setup(&mut stage, &APPLY).expect_code(0);
    let first: Value = serde_json::from_slice(&before).unwrap();
    assert_eq!(made(&document(&stage, "setup.json")["record"]), made(&first["record"]));
}
