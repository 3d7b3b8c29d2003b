//! Throttling before a launch: the guard waits for it to end, and if the time limit passes, one
//! line says what was throttled and what to do.

use std::time::Instant;

use emr_simulator::{ClockMode, Command as Set, Fault, FaultKind, SetClock};
use nix::sys::signal::Signal;

use crate::support::{Stage, isolated_guard, wait_until};

/// A stage whose runner only records that it was launched.
fn noting() -> Stage {
    Stage::acme().scripted("echo launched >> launched; exit 3")
}

fn launched(stage: &Stage) -> usize {
    std::fs::read_to_string(stage.path("launched")).unwrap_or_default().lines().count()
}

#[test]
fn twelve_guards_of_one_account_that_start_in_the_same_second_all_launch() {
    let stage = noting();
    // Creates the files that all of them share, and caches the runner's version.
    stage.check().expect_code(0);
    // Quotas refill at twice AWS's pace: the last of twelve requests for the security configuration
    // is answered after three and a half seconds, which is more than three attempts take.
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(2.0), at: None }));
    let start = |number: usize| {
        let mut command = isolated_guard();
        command
            .args(["run", "--quiet", "--state-dir", &format!("state-{number}"), "--"])
            .args(&stage.arguments);
        stage.prepare(&mut command);
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..12).map(start).collect();
    for child in children {
        let played = stage.finish(child);
        assert_ne!(played.code, Some(69), "{}", played.stderr);
    }
    assert_eq!(launched(&stage), 12);
    let throttled = stage
        .sim
        .requests_for("DescribeSecurityConfiguration")
        .into_iter()
        .filter(|request| request.error_code.as_deref() == Some("ThrottlingException"));
    println!("throttled answers: {}", throttled.count());
}

#[test]
fn a_call_that_is_throttled_until_the_time_is_over_refuses_with_one_line_that_says_what_to_do() {
    let stage = noting().env("EMR_ETL_GUARD_PRE_FLIGHT_TIMEOUT", "4s");
    let throttle = Fault::every("DescribeSecurityConfiguration", FaultKind::Throttle);
    stage.set(Set::AddFault(throttle));
    let played = stage.run();
    played.expect_code(69);
    assert_eq!(launched(&stage), 0);
    let times = regex::Regex::new("throttled it (once|[0-9]+ times)").unwrap();
    let line = times.replace(played.stderr.lines().next().unwrap(), "throttled it N times");
    assert!(
        line.starts_with(
            "emr-etl-guard: REFUSED, nothing was launched: security-configuration-exists acme-sc: \
             no answer to"
        ),
        "{line}"
    );
    let seen = times.replace(&played.stderr, "throttled it N times");
    assert!(
        seen.contains(
            "seen      no answer to elasticmapreduce:DescribeSecurityConfiguration: AWS throttled \
             it N times, until the 4s for all that is asked before a launch were over (setting \
             `pre_flight_timeout`)"
        ),
        "{seen}"
    );
    assert!(
        played.stderr.contains(
            "fix       start fewer runs of this account and region in the same minute, or set a \
             longer `pre_flight_timeout`; AWS can raise the quota of the call"
        ),
        "{}",
        played.stderr
    );
    // It is requested as long as there is time, but not more often than the pauses allow.
    let asked = stage.sim.requests_for("DescribeSecurityConfiguration").len();
    assert!((2..100).contains(&asked), "{asked}");
}

#[test]
fn what_fails_otherwise_is_not_asked_again_for_as_long_as_throttling_is_waited_out() {
    let stage = noting();
    let error = FaultKind::ServerError { status: 503 };
    stage.set(Set::AddFault(Fault::every("DescribeSecurityConfiguration", error)));
    let played = stage.run();
    played.expect_code(69);
    assert_eq!(stage.sim.requests_for("DescribeSecurityConfiguration").len(), 3);
}

#[test]
fn s3_is_waited_for_whether_its_answer_has_a_code_or_only_a_status() {
    let stage = noting();
    for operation in ["GetBucketEncryption", "HeadBucket"] {
        // Four times: the SDK by itself would give up after three.
        for nth in 1..=4 {
            let matching = Some("acme-out".to_owned());
            stage.set(Set::AddFault(Fault {
                matching,
                ..Fault::nth(operation, nth, FaultKind::Throttle)
            }));
        }
    }
    stage.check().expect_code(0);
}

#[test]
fn a_stop_while_throttling_is_waited_out_ends_at_once() {
    let stage = noting();
    let throttle = Fault::every("DescribeSecurityConfiguration", FaultKind::Throttle);
    stage.set(Set::AddFault(throttle));
    let child = stage.command("run").spawn().unwrap();
    wait_until("it waits", || stage.sim.requests_for("DescribeSecurityConfiguration").len() > 3);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = Instant::now();
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let played = stage.finish(child);
    // The total time limit is ten minutes; `finish` allows one.
    assert!(stopped.elapsed().as_secs() < 60);
    played.expect_code(143);
    assert_eq!(launched(&stage), 0);
}
