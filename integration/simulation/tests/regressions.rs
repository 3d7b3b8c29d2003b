//! Histories that once broke a law, built by hand: each test's name describes the violation.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use emr_simulation::{
    history::{History, What},
    laws,
    model::{
        cluster::Id,
        faults::{Fault, FaultKind, Operation},
    },
    run::{Options, live_through},
    scenario::{
        Crash, CrashTime, Defect, GuardLife, HOUR, MINUTE, Ms, Other, Request, RequestAnswer,
        Runner, SECOND, Scenario, Settings, Traits,
    },
    watch::machine::{
        conclusion::Doubt,
        event::{Action, Question, RunnerEnd, WatchNotice},
        mutants::Mutant,
        plan::Rules,
    },
};

fn traits() -> Traits {
    Traits {
        starting: 3 * MINUTE,
        bootstrapping: 2 * MINUTE,
        bootstrap_fails: false,
        steps: vec![3 * MINUTE, 3 * MINUTE],
        failing_step: None,
        terminating: 30 * SECOND,
        instances: 5 * SECOND,
        defect: None,
        masked: false,
        protected: false,
        protected_again: false,
        list_lag: 0,
        stays: false,
    }
}

fn request(traits: Traits) -> Request {
    Request {
        effect: Some(3 * SECOND),
        answer: RequestAnswer::Id(6 * SECOND),
        tagged: true,
        matches: true,
        traits,
    }
}

fn scenario(requests: Vec<Request>) -> Scenario {
    Scenario {
        noise: 0,
        settings: Settings {
            rules: Rules {
                on_stop: false,
                on_orphan: false,
                on_unjudged: false,
                adopted: false,
                attached: false,
                untagged: false,
                account: false,
            },
            stop: 8 * SECOND,
            volumes: true,
            until_idle: false,
        },
        runner: Some(Runner {
            persistent: false,
            start: 4 * SECOND,
            nothing: None,
            requests,
            retry: SECOND,
            steps: Vec::new(),
            bad_step: false,
            debug_log: false,
            crash: None,
            false_success: false,
            on_ask: Some(200),
            poll: 30 * SECOND,
            log: 10,
            output: 100,
        }),
        survivor: None,
        others: Vec::new(),
        faults: Vec::new(),
        lives: Vec::new(),
        forged: Vec::new(),
        person: None,
        pushes: false,
    }
}

fn runner(scenario: &mut Scenario) -> &mut Runner {
    scenario.runner.as_mut().unwrap()
}

fn fault(kind: FaultKind, operation: Option<Operation>, from: Ms, until: Ms) -> Fault {
    Fault { kind, operation, from, until }
}

/// The latencies vary; the laws hold in each of these histories, and `also`.
fn hold(scenario: &Scenario, also: impl Fn(&History)) {
    for noise in 0..100 {
        let history = live_through(Scenario { noise, ..scenario.clone() }, Options::default());
        let violations = laws::check(&history);
        assert!(violations.is_empty(), "{}\n{violations:?}", history.text());
        also(&history);
    }
}

fn notices(history: &History) -> impl Iterator<Item = (Ms, &WatchNotice<Id>)> {
    history.records.iter().filter_map(|record| match &record.what {
        What::Action(Action::Tell(notice)) => Some((record.at, notice)),
        _ => None,
    })
}

/// The first request succeeds, but its runner gets no response, so it sends a second one.
fn resent(second: Traits) -> Scenario {
    let brief = Traits {
        starting: 10 * SECOND,
        bootstrapping: 10 * SECOND,
        steps: vec![20 * SECOND, 20 * SECOND],
        ..traits()
    };
    let unheard =
        Request { effect: Some(60 * SECOND), answer: RequestAnswer::Nothing, ..request(brief) };
    scenario(vec![unheard, request(second), request(traits())])
}

#[test]
fn the_second_cluster_is_seen_in_time_though_the_first_one_works() {
    let brief = Traits { starting: 95 * SECOND, bootstrapping: 60 * SECOND, ..traits() };
    hold(&resent(Traits { bootstrap_fails: true, ..brief }), |history| {
        let conclusion = history.lives[0].conclusion().unwrap();
        assert!(!conclusion.doubts.iter().any(|doubt| matches!(doubt, Doubt::Unseen(_))));
    });
}

#[test]
fn a_second_cluster_that_comes_while_the_first_one_works_is_not_lost_in_an_outage() {
    let mut scenario = resent(traits());
    scenario.faults = vec![fault(FaultKind::OtherAccount, None, 4 * MINUTE, 2 * HOUR)];
    hold(&scenario, |history| {
        let found = notices(history)
            .any(|(at, notice)| matches!(notice, WatchNotice::Found(Id(2), _)) && at < 4 * MINUTE);
        assert!(found, "{}", history.text());
    });
}

#[test]
fn sight_is_lost_from_the_question_that_had_no_answer() {
    let long = Traits { steps: vec![40 * MINUTE], ..traits() };
    let mut scenario = scenario(vec![request(long)]);
    scenario.others = vec![Other {
        at: 10 * MINUTE,
        job_name: true,
        tagged: false,
        matches: true,
        named: false,
        traits: Traits { defect: Some(Defect::Volumes), stays: true, ..traits() },
    }];
    scenario.faults = vec![fault(FaultKind::Lost, None, 10 * MINUTE + 5 * SECOND, 45 * MINUTE)];
    hold(&scenario, |history| {
        let asked = history.records.iter().find(|record| {
            let is_search = matches!(record.what, What::Action(Action::Ask(Question::Search)));
            is_search && record.at > 10 * MINUTE + 5 * SECOND
        });
        let asked = asked.unwrap().at;
        let lost = notices(history)
            .find(|(_, notice)| matches!(notice, WatchNotice::SightLost(None)))
            .unwrap();
        assert!(lost.0 <= asked + 15 * MINUTE + SECOND, "{}", history.text());
    });
}

#[test]
fn three_clusters_without_their_security_configuration_keep_the_quotas() {
    let requests = vec![
        Request { answer: RequestAnswer::ServerError(6 * SECOND), ..request(traits()) },
        Request {
            answer: RequestAnswer::ServerError(6 * SECOND),
            ..request(Traits { defect: Some(Defect::NoSecurityConfiguration), ..traits() })
        },
        request(traits()),
    ];
    let mut scenario = scenario(requests);
    scenario.faults = vec![
        fault(FaultKind::OtherAccount, None, 5 * SECOND, 3 * MINUTE),
        fault(FaultKind::Denied, Some(Operation::SecurityConfiguration), 5 * SECOND, 8 * MINUTE),
    ];
    hold(&scenario, |_| {});
}

#[test]
fn guards_that_die_one_after_the_other_keep_the_quotas_together() {
    let requests = vec![
        Request { answer: RequestAnswer::ServerError(6 * SECOND), ..request(traits()) },
        Request { answer: RequestAnswer::ServerError(6 * SECOND), ..request(traits()) },
        request(traits()),
    ];
    let mut scenario = scenario(requests);
    let life = |after, next| GuardLife {
        crash: Some(Crash { when: CrashTime::After(after), power: false }),
        next,
        ..GuardLife::QUIET
    };
    scenario.lives = vec![life(2 * MINUTE, 200)];
    scenario.lives.extend(std::iter::repeat_n(life(2_500, 200), 8));
    hold(&scenario, |history| assert!(history.lives.len() > 8));
    let options = Options { mutant: Some(Mutant::FreshQuotas) };
    let violations = laws::check(&live_through(scenario, options));
    assert!(violations.iter().any(|violation| violation.law.starts_with("(g)")), "{violations:?}");
}

/// The machine is suspended during the guard's final poll.
fn asleep(mut scenario: Scenario, at: Ms) -> Scenario {
    let sleep = Some((at, 50 * MINUTE, true));
    scenario.lives = vec![GuardLife { sleep, ..GuardLife::QUIET }];
    scenario
}

#[test]
fn a_guard_that_has_slept_does_not_conclude_from_what_it_saw_before() {
    let stays = Traits { stays: true, steps: Vec::new(), ..traits() };
    let mut awake = scenario(vec![request(stays)]);
    let persistent = runner(&mut awake);
    persistent.persistent = true;
    persistent.false_success = true;
    persistent.steps = vec![5 * SECOND];
    for at in [70 * SECOND, 71 * SECOND, 73 * SECOND] {
        hold(&asleep(awake.clone(), at), |history| {
            let conclusion = history.lives[0].conclusion().unwrap();
            assert!(!conclusion.doubts.contains(&Doubt::NoWork), "{}", history.text());
        });
    }
}

#[test]
fn a_guard_that_sleeps_until_its_stop_is_over_leaves_the_run_open() {
    let mut awake = scenario(vec![request(Traits {
        defect: Some(Defect::AddedVolumes),
        steps: vec![2 * HOUR],
        ..traits()
    })]);
    awake.settings.stop = 10 * MINUTE;
    runner(&mut awake).on_ask = None;
    let mut scenario = asleep(awake, 7 * MINUTE);
    scenario.lives[0].stops = vec![30 * SECOND];
    hold(&scenario, |history| assert!(history.lives.len() > 1, "{}", history.text()));
}

#[test]
fn steps_that_were_added_while_a_cluster_was_looked_at_first_are_judged() {
    let stays = Traits { stays: true, steps: Vec::new(), ..traits() };
    let mut scenario = scenario(vec![request(stays)]);
    let persistent = runner(&mut scenario);
    persistent.persistent = true;
    persistent.bad_step = true;
    persistent.debug_log = true;
    persistent.steps = vec![MINUTE];
    scenario.settings.volumes = false;
    // It is killed just after it has added them, during the first poll.
    for after in (10_200..13_000).step_by(100) {
        runner(&mut scenario).crash = Some((after, RunnerEnd::Killed));
        scenario.faults =
            vec![fault(FaultKind::Slow, Some(Operation::Describe), 9 * SECOND, 11 * SECOND)];
        hold(&scenario, |_| {});
    }
}

#[test]
fn a_cluster_that_goes_on_is_looked_at_again_while_the_search_fails() {
    let lost = Traits {
        starting: 30 * SECOND,
        bootstrapping: 20 * SECOND,
        steps: vec![8 * MINUTE],
        ..traits()
    };
    let untagged = Request {
        tagged: false,
        answer: RequestAnswer::ServerError(6 * SECOND),
        ..request(lost.clone())
    };
    // The search fails before it shows the second one.
    let own = Traits { steps: vec![2 * MINUTE], list_lag: 12 * SECOND, ..lost };
    let mut scenario = scenario(vec![untagged, request(own)]);
    scenario.settings.volumes = false;
    let search = Some(Operation::List);
    scenario.faults = vec![fault(FaultKind::Lost, search, 20 * SECOND, 38 * MINUTE)];
    hold(&scenario, |_| {});
}

#[test]
fn work_that_is_done_while_its_cluster_terminates_counts() {
    let stays = Traits {
        starting: 40 * SECOND,
        bootstrapping: 60 * SECOND,
        instances: 95 * SECOND,
        terminating: 24 * MINUTE,
        stays: true,
        steps: Vec::new(),
        ..traits()
    };
    let mut scenario = scenario(vec![request(stays)]);
    scenario.settings.rules.on_orphan = true;
    runner(&mut scenario).persistent = true;
    runner(&mut scenario).false_success = true;
    for length in (20_000..40_000).step_by(500) {
        runner(&mut scenario).steps = vec![length];
        hold(&scenario, |_| {});
    }
}

#[test]
fn instances_that_show_for_half_a_minute_are_seen_beside_clusters_that_start() {
    let brief = Traits {
        starting: 17 * SECOND,
        bootstrapping: 8 * SECOND,
        instances: 12 * SECOND,
        steps: vec![10 * SECOND, 10 * SECOND],
        ..traits()
    };
    let slow = Traits { starting: 4 * MINUTE, ..traits() };
    let error =
        |traits| Request { answer: RequestAnswer::ServerError(6 * SECOND), ..request(traits) };
    let mut scenario = scenario(vec![error(slow.clone()), error(brief), request(slow)]);
    scenario.pushes = true;
    hold(&scenario, |_| {});
}

#[test]
fn a_security_configuration_that_was_not_told_is_asked_for_again_soon() {
    let replaced = Traits { defect: Some(Defect::Replaced), steps: vec![HOUR], ..traits() };
    let mut scenario = scenario(vec![request(replaced)]);
    let operation = Some(Operation::SecurityConfiguration);
    scenario.faults = vec![fault(FaultKind::Denied, operation, 0, 6 * MINUTE)];
    hold(&scenario, |history| {
        let is_unsafe = |notice: &WatchNotice<Id>| matches!(notice, WatchNotice::Unsafe(..));
        let told = notices(history).find(|(_, notice)| is_unsafe(notice)).unwrap();
        assert!(told.0 < 7 * MINUTE, "{}", history.text());
    });
}

#[test]
fn a_good_run_bears_an_outage_of_thirteen_minutes() {
    let long = Traits { steps: vec![20 * MINUTE], ..traits() };
    let mut scenario = scenario(vec![request(long)]);
    for operation in Operation::ALL {
        for until in (10..=13).map(|minutes| minutes * MINUTE) {
            scenario.faults = vec![fault(FaultKind::Outage, Some(operation), 5 * SECOND, until)];
            hold(&scenario, |_| {});
        }
    }
}
