//! The journal: a guard that dies at any moment leaves no unsafe cluster running, terminates none
//! wrongly, forgets none; and one guard at a time works on a state directory.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use emr_simulator::{ClusterState, Command as Set, NextCluster, Sse, Timings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    catalogue::for_each,
    support::{Played, Stage, hermetic_command, under_way, under_way_for},
};

/// The journals of runs that are not closed.
fn open_runs(stage: &Stage) -> usize {
    std::fs::read_dir(stage.path("state/runs")).map_or(0, Iterator::count)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills a guard, and waits for the end of its runner, if it had started one: the kernel kills
/// that.
pub(crate) fn murder(stage: &Stage, child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
    let journal = std::fs::read_to_string(stage.path("journal.jsonl")).unwrap_or_default();
    let started = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["event"] == "started");
    for pid in started.filter_map(|entry| i32::try_from(entry["pid"].as_i64()?).ok()) {
        wait_until("the runner's end", || kill(Pid::from_raw(pid), None).is_err());
    }
}

/// The ids of live clusters without the security configuration.
fn unsafe_and_alive(stage: &Stage) -> Vec<String> {
    stage.sim.with_world(|world| {
        let alive = |state| {
            !matches!(
                state,
                ClusterState::Terminating
                    | ClusterState::Terminated
                    | ClusterState::TerminatedWithErrors
            )
        };
        let of_run = world.clusters.iter().filter(|cluster| {
            alive(cluster.state) && cluster.request["SecurityConfiguration"].is_null()
        });
        of_run.map(|cluster| cluster.id.clone()).collect()
    })
}

#[test]
fn a_run_that_ends_leaves_no_journal_behind() {
    let stage = Stage::acme();
    stage.run().expect_code(0);
    assert!(stage.path("state/lock").exists());
    assert_eq!(open_runs(&stage), 0);
    let nothing = stage.play(stage.watch_resume());
    nothing.expect_code(0);
    assert_eq!(nothing.stdout, "emr-etl-guard: no run is open\n");
}

#[test]
fn killed_at_any_of_thirty_points_nothing_unsafe_goes_on_nothing_safe_is_ended_nothing_is_forgotten()
 {
    // Three points before the launch, twelve after it.
    let points_of = |is_safe: bool| {
        let stage = scene(is_safe);
        stage.run();
        let requests = stage.sim.requests();
        let launch =
            requests.iter().position(|request| request.operation() == "RunJobFlow").unwrap();
        let (before, after) = (
            (1..4).map(|n| launch * n / 4),
            (0..12).map(|n| launch + (requests.len() - launch) * n / 12),
        );
        before.chain(after).map(|point| (is_safe, point)).collect::<Vec<_>>()
    };
    let points: Vec<(bool, usize)> = [points_of(true), points_of(false)].concat();
    assert_eq!(points.len(), 30);
    let launched = std::sync::atomic::AtomicUsize::new(0);
    for_each(&points, |&(is_safe, point)| {
        let stage = scene(is_safe);
        let mut child = stage.command("run").spawn().unwrap();
        wait_until("the point to die at", || {
            stage.sim.requests().len() >= point || child.try_wait().unwrap().is_some()
        });
        murder(&stage, &mut child);
        if !stage.sim.requests_for("RunJobFlow").is_empty() {
            launched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let was_open = open_runs(&stage);
        let (alive, before) =
            (unsafe_and_alive(&stage), stage.sim.requests_for("RunJobFlow").len());
        let stage = stage.without_env("STANDIN_MISBEHAVE");
        let played = stage.run();
        let context = |what: &str| {
            Err(format!(
                "{what}; killed after {point} requests (safe: {is_safe}), {was_open} open\n{}",
                played.transcript()
            ))
        };
        if !unsafe_and_alive(&stage).is_empty() {
            return context("an unsafe cluster lives");
        }
        if open_runs(&stage) != 0 {
            return context("a run stays open");
        }
        if is_safe
            && (stage.by_guard("TerminateJobFlows") > 0
                || matches!(played.code, Some(69 | 71 | 76)))
        {
            return context("a safe run was not left in peace");
        }
        let (found, launched_more) =
            (played.code == Some(76), stage.sim.requests_for("RunJobFlow").len() > before);
        if !alive.is_empty() && (!found || launched_more) {
            return context(
                "an unsafe cluster that lived was not told, or something new was launched beside \
                 it",
            );
        }
        if found && stage.run().code == Some(76) {
            return context("what was closed is told again");
        }
        Ok(())
    });
    assert!(
        launched.into_inner() >= 15,
        "too few of the points lie behind the launch to prove anything"
    );
}

/// A run whose cluster is as verified, or one whose cluster lacks the security configuration and
/// has termination protection.
fn scene(is_safe: bool) -> Stage {
    let stage = Stage::acme();
    // Long enough for its volumes to be checked on a busy machine.
    stage.set(Set::SetTimings(Timings { bootstrapping: 90.0, ..Timings::all(6.0) }));
    if is_safe {
        return stage;
    }
    stage.set(Set::SetNextCluster(NextCluster {
        termination_protected: Some(true),
        ..Default::default()
    }));
    stage.misbehave("drop-security-configuration")
}

fn states(stage: &Stage) -> Vec<ClusterState> {
    stage.sim.with_world(|world| world.clusters.iter().map(|cluster| cluster.state).collect())
}

#[test]
fn watch_resume_closes_what_was_left_open_and_launches_nothing() {
    let stage = Stage::acme().misbehave("hang");
    // The watch waits for its instances, to check them.
    let mut child = under_way_for(&stage, Timings { starting: 60.0, ..Timings::all(3600.0) });
    murder(&stage, &mut child);
    assert_eq!(open_runs(&stage), 1);
    let launches = stage.sim.requests_for("RunJobFlow").len();
    let played = stage.play(stage.watch_resume());
    played.expect_code(0);
    insta::assert_snapshot!(played.transcript());
    assert_eq!(open_runs(&stage), 0);
    assert_eq!(stage.sim.requests_for("RunJobFlow").len(), launches);
    assert_eq!(states(&stage), [ClusterState::Bootstrapping], "verified, so it goes on");
}

/// A run whose guard was killed, and whose cluster has ended since; its steps write objects with
/// this encryption, whatever their options.
fn ended_while_nobody_watched(objects: Option<Sse>) -> Stage {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetNextCluster(NextCluster { objects, ..Default::default() }));
    let mut child = under_way(&stage);
    murder(&stage, &mut child);
    // Its thirteen steps, and the states before and after them: an hour each. Its instances are
    // seen while it still starts.
    stage.set(Set::Advance(emr_simulator::Advance { seconds: 5400.0 }));
    stage
}

#[test]
fn what_a_run_wrote_while_nobody_watched_is_looked_at_by_the_next_guard() {
    // Its volumes were not seen, so it is not confirmed; its output is checked all the same.
    for (objects, is_encrypted) in [(None, true), (Some(Sse::None), false)] {
        let stage = ended_while_nobody_watched(objects)
            .env("EMR_ETL_GUARD_REQUIRE", "s3-at-rest,local-disk,in-transit");
        stage.set(Set::Advance(emr_simulator::Advance { seconds: 3600.0 * 20.0 }));
        let played = stage.play(stage.watch_resume());
        played.expect_code(75);
        assert_eq!(states(&stage), [ClusterState::Terminated]);
        assert_eq!(open_runs(&stage), 0, "it is told once");
        if is_encrypted {
            assert!(
                played.stdout.contains(" locations are encrypted as required"),
                "{}",
                played.transcript()
            );
        } else {
            assert!(
                played.redact(&played.stderr).contains(
                    "run RUN-ID, which was left open: 5 locations hold objects that are not \
                     encrypted"
                ),
                "{}",
                played.stderr
            );
        }
        let again = stage.play(stage.watch_resume());
        again.expect_code(0);
    }
}

#[test]
fn what_a_cluster_still_writes_is_not_looked_at_too_early() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way_for(&stage, Timings { starting: 6.0, ..Timings::all(3600.0) });
    murder(&stage, &mut child);
    let played = stage.play(stage.watch_resume());
    played.expect_code(0);
    assert!(
        played.redact(&played.stdout).contains(
            "run RUN-ID: what it writes is not looked at, because its cluster j-ID continues"
        ),
        "{}",
        played.stdout
    );
    assert_eq!(
        stage
            .sim
            .requests_for("HeadObject")
            .iter()
            .filter(|request| request.path.contains("acme-archive"))
            .count(),
        0
    );
}

#[test]
fn what_was_asked_for_is_in_the_journal_so_that_a_later_guard_judges_the_same_way() {
    let other = serde_json::json!([{
        "Classification": "hive-site",
        "Properties": {"hive.exec.parallel": "true"}
    }]);
    let swapped = serde_json::json!({"JobFlowRole": "Other"});
    for (check, update) in [
        (
            "cluster-configurations",
            emr_simulator::UpdateCluster { configurations: Some(other), ..Default::default() },
        ),
        ("cluster-roles", emr_simulator::UpdateCluster { request: swapped, ..Default::default() }),
    ] {
        let stage = Stage::acme().misbehave("hang");
        let mut child = under_way(&stage);
        murder(&stage, &mut child);
        stage.set(Set::UpdateCluster(update));
        stage.set(Set::SetClock(emr_simulator::SetClock {
            mode: emr_simulator::ClockMode::Scaled(3600.0),
            at: None,
        }));
        let played = stage.play(stage.watch_resume());
        played.expect_code(76);
        assert!(played.stderr.contains(&format!("{check}: seen ")), "{}", played.stderr);
    }
}

#[test]
fn volumes_that_came_while_nobody_watched_are_looked_at_by_the_next_guard() {
    let stage = Stage::acme().misbehave("hang");
    stage.set(Set::SetNextCluster(NextCluster {
        ebs_root_encrypted: Some(false),
        ..Default::default()
    }));
    let mut child = under_way(&stage);
    murder(&stage, &mut child);
    stage.set(Set::Advance(emr_simulator::Advance { seconds: 5400.0 }));
    assert_eq!(states(&stage), [ClusterState::Bootstrapping]);
    stage.set(Set::SetClock(emr_simulator::SetClock {
        mode: emr_simulator::ClockMode::Scaled(3600.0),
        at: None,
    }));
    let played = stage.play(stage.watch_resume());
    played.expect_code(76);
    assert!(played.stderr.contains("(/dev/xvda of i-"), "{}", played.stderr);
}

#[test]
fn what_a_wrapper_script_left_of_the_runner_is_ended_before_anything_else() {
    let stage = Stage::acme();
    stage.program(
        "runner",
        "#!/bin/sh\n[ \"$1\" = --version ] && { echo snowplow-emr-etl-runner 1.0.4; exit; }\ncat \
         > /dev/null\nsleep 600 &\necho $! > jvm\nwait\n",
    );
    let runner = stage.path("runner").display().to_string();
    let stage = stage.env("EMR_ETL_GUARD_RUNNER", &runner);
    let mut child = stage.command("run").spawn().unwrap();
    let jvm = || {
        std::fs::read_to_string(stage.path("jvm"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .map(Pid::from_raw)
    };
    wait_until("the runner's own child", || jvm().is_some());
    let jvm = jvm().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert!(kill(jvm, None).is_ok(), "the kernel kills the script only");
    let played = stage.play(stage.watch_resume());
    played.expect_code(0);
    assert!(
        played
            .redact(&played.stdout)
            .contains("run RUN-ID: ended 1 processes that it had left running"),
        "{}",
        played.stdout
    );
    // Its parent is gone, so only the system's first process can reap it.
    let is_over = || {
        std::fs::read_to_string(format!("/proc/{jvm}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    wait_until("the end of the runner's own child", is_over);
}

#[test]
fn an_open_run_that_cannot_be_judged_keeps_everything_new_from_starting() {
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_JUDGE_WITHIN", "2s");
    let mut child = under_way_for(&stage, Timings { starting: 6.0, ..Timings::all(3600.0) });
    murder(&stage, &mut child);
    stage.set(Set::AddFault(emr_simulator::Fault::every(
        "ListClusters",
        emr_simulator::FaultKind::AccessDenied,
    )));
    let launches = stage.sim.requests_for("RunJobFlow").len();
    let played = stage.run();
    played.expect_code(69);
    let said = played.redact(&played.stderr);
    assert_eq!(
        said.lines().next().unwrap(),
        "emr-etl-guard: trouble: an open run could not be closed: access denied to \
         elasticmapreduce:ListClusters"
    );
    assert!(
        said.contains("  run RUN-ID was left open and stays open; nothing new was launched\n"),
        "{said}"
    );
    assert_eq!((open_runs(&stage), stage.sim.requests_for("RunJobFlow").len()), (1, launches));
    stage.set(Set::ClearFaults);
    stage.play(stage.watch_resume()).expect_code(0);
    assert_eq!(open_runs(&stage), 0);
}

#[test]
fn an_open_run_is_not_looked_for_in_another_account() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way(&stage);
    murder(&stage, &mut child);
    let stage = stage.env("AWS_ACCESS_KEY_ID", "AKIAOTHER");
    let played = stage.play(stage.watch_resume());
    played.expect_code(69);
    let said = "was left open in account 123456789012 and cannot be closed yet, so nothing new \
        was launched: the guard's credentials are of account 999999999999";
    assert!(played.unbroken().contains(said), "{}", played.stderr);
    assert_eq!(open_runs(&stage), 1);
}

#[test]
fn two_guards_at_once_on_one_state_directory_one_works_and_the_other_says_who_holds_it() {
    let stage = Stage::acme().misbehave("hang");
    let mut child = under_way_for(&stage, Timings { starting: 60.0, ..Timings::all(3600.0) });
    let played: Played = stage.run();
    played.expect_code(69);
    let who = format!("is held by another emr-etl-guard (process {} on ", child.id());
    assert!(played.stderr.contains(&who), "{}", played.stderr);
    assert!(
        !played.runner_started()
            || played.journal.iter().filter(|entry| entry["event"] == "started").count() == 1
    );
    // `check` does not launch: it needs no state directory.
    stage.check().expect_code(0);
    murder(&stage, &mut child);
    // The dead holder's description is still in the file, and does no harm.
    assert!(
        std::fs::read_to_string(stage.path("state/lock"))
            .unwrap()
            .contains(&child.id().to_string())
    );
    stage.play(stage.watch_resume()).expect_code(0);
}

#[test]
fn a_disk_without_room_refuses_before_the_launch() {
    let stage = Stage::acme();
    let guard = stage.bare_command("run");
    // A file size limit of a few KiB, without a signal for larger files: like a disk that is nearly
    // full.
    let mut command = hermetic_command("/bin/sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
        .arg(guard.get_program())
        .args(guard.get_args().filter(|word| {
            let word = word.to_string_lossy();
            word != "--report" && word != "report.json"
        }));
    stage.prepare(&mut command);
    let played = stage.play(command);
    played.expect_code(69);
    assert!(
        played
            .unbroken()
            .contains("nothing was launched: the state directory cannot be used: state/runs/"),
        "{}",
        played.stderr
    );
    assert!(played.stderr.contains("File too large"), "{}", played.stderr);
    assert!(!played.runner_started());
    assert_eq!(open_runs(&stage), 0);
}

#[test]
fn on_stop_terminate_ends_a_verified_cluster_and_leaves_an_adopted_one() {
    let stage = Stage::acme().misbehave("hang").option("--on-stop=terminate");
    let child = under_way(&stage);
    // An end that EMR reaches quickly enough is confirmed within the time of a stop.
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    played.expect_code(143);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 1);
    // With an hour for each state it is not over yet: the next start ensures that.
    assert_eq!((states(&stage), open_runs(&stage)), (vec![ClusterState::Terminating], 1));
    assert!(played.stderr.contains("the run stays open"), "{}", played.stderr);
    stage.set(Set::Advance(emr_simulator::Advance { seconds: 7200.0 }));
    let resumed = stage.play(stage.watch_resume());
    resumed.expect_code(0);
    assert_eq!((states(&stage), open_runs(&stage)), (vec![ClusterState::Terminated], 0));

    let stage = Stage::acme()
        .misbehave("hang")
        .option("--on-stop=terminate")
        .argument("--use-persistent-jobflow");
    stage.set(crate::good_runs::waiting_cluster(
        &serde_json::json!({"SecurityConfiguration": "acme-sc"}),
    ));
    let child = under_way(&stage);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    stage.finish(child).expect_code(143);
    assert_eq!(stage.by_guard("TerminateJobFlows"), 0);
}

#[test]
fn a_stop_leaves_a_cluster_that_nobody_could_judge_to_the_next_start_which_ends_it() {
    let stage = Stage::acme().misbehave("hang").env("EMR_ETL_GUARD_STOP_TIMEOUT", "6s");
    stage.set(Set::SetTimings(Timings { starting: 3600.0, ..Timings::all(0.1) }));
    // The first response is pre-flight's; later it is unknown whether the configuration is still
    // the same.
    let mut silent = emr_simulator::Fault::every(
        "DescribeSecurityConfiguration",
        emr_simulator::FaultKind::AccessDenied,
    );
    silent.calls = emr_simulator::Calls::Range { from: 2, to: u64::MAX };
    stage.set(Set::AddFault(silent));
    let child = stage.command("run").spawn().unwrap();
    let asked =
        |request: &emr_simulator::Recorded| request.operation() == "DescribeSecurityConfiguration";
    wait_until("a look at the cluster", || {
        stage.sim.requests().iter().filter(|request| asked(request)).count() > 1
    });
    assert_eq!(
        stage.by_guard("TerminateJobFlows"),
        0,
        "what cannot be judged has its time, while somebody watches"
    );
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    // An unreadable configuration is no evidence that it is unsafe.
    played.expect_code(75);
    assert_eq!(
        (stage.by_guard("TerminateJobFlows"), states(&stage), open_runs(&stage)),
        (0, vec![ClusterState::Starting], 1)
    );
    let open = "\n  the run stays open; the next start continues from here, or:\n  fix: \
        emr-etl-guard watch --resume\n";
    assert!(played.stderr.contains(open), "{}", played.stderr);
    // The next guard has the whole time again, and then it counts as unsafe.
    let stage = stage.env("EMR_ETL_GUARD_JUDGE_WITHIN", "1s");
    stage.play(stage.watch_resume()).expect_code(76);
    assert!(stage.by_guard("TerminateJobFlows") > 0);
    assert_eq!((states(&stage), open_runs(&stage)), (vec![ClusterState::Terminated], 0));
}

#[test]
fn a_stop_is_over_in_its_time_and_the_rest_is_the_next_starts() {
    let stage = Stage::acme()
        .misbehave("drop-security-configuration,hang")
        .env("EMR_ETL_GUARD_TERMINATION_TIMEOUT", "50s");
    stage.set(Set::SetTimings(Timings { starting: 3600.0, ..Timings::all(6.0) }));
    stage.set(Set::AddFault(emr_simulator::Fault::every(
        "TerminateJobFlows",
        emr_simulator::FaultKind::ServerError { status: 503 },
    )));
    let child = stage.command("run").spawn().unwrap();
    assert!(
        stage
            .sim
            .wait_for_request(
                |request| request.operation() == "TerminateJobFlows",
                Duration::from_secs(120)
            )
            .is_some()
    );
    let asked = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    // The stage allows two seconds; a busy machine may take longer, but never as long as a
    // termination.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    played.expect_code(71);
    assert_eq!(open_runs(&stage), 1);
    stage.set(Set::ClearFaults);
    let stage = stage.without_env("STANDIN_MISBEHAVE");
    let resumed = stage.run();
    resumed.expect_code(76);
    assert!(
        resumed.unbroken().contains(
            "which was left open, was unsafe; its end is confirmed, nothing new was launched"
        ),
        "{}",
        resumed.stderr
    );
    assert_eq!(open_runs(&stage), 0);
}
