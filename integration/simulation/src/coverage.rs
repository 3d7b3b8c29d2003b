//! Coverage: how often each possible event occurred.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    history::{History, Life, LifeEnd, What, World},
    laws::facts::owners,
    model::{
        cluster::{Cluster, Id, Launcher},
        faults::{FaultKind, Operation},
    },
    scenario::{CrashTime, Defect, RequestAnswer, SECOND},
    watch::machine::{
        conclusion::{Cause, Doubt, Obstacle, Open, WatchConclusion, WatchVerdict},
        event::{
            Action, AwsAnswer, Entry, Event, Force, Question, Refusal, RefusalKind, RunnerEnd,
            WatchNotice,
        },
        ownership::{Ownership, RunTag},
        plan::WatchMode,
        state::State,
    },
};

/// The events that must occur at least once.
pub const EXPECTED: &[&str] = &[
    "action: ask details",
    "action: ask look",
    "action: ask search",
    "action: ask survivors",
    "action: end survivors",
    "action: finish",
    "action: kill the runner",
    "action: note a cluster",
    "action: note a stop",
    "action: note a stop that ends clusters",
    "action: stop the runner",
    "action: terminate",
    "action: unprotect",
    "action: wake",
    "cause: failed",
    "cause: orphaned",
    "cause: stopped",
    "cause: unjudged",
    "defect: added volumes",
    "defect: no security configuration",
    "defect: replaced",
    "defect: step",
    "defect: volumes",
    "doubt: goes on",
    "doubt: no work",
    "doubt: search",
    "doubt: undescribed",
    "doubt: unknown",
    "doubt: unseen",
    "event: activity",
    "event: detailed",
    "event: hint",
    "event: list failed",
    "event: listed",
    "event: look absent",
    "event: look failed",
    "event: described first",
    "event: looked",
    "event: output ended",
    "event: protection lifted",
    "event: protection not lifted",
    "event: pushed",
    "event: runner failed",
    "event: runner killed",
    "event: runner started nothing",
    "event: runner succeeded",
    "event: stop asked",
    "event: survivors",
    "event: survivors gone",
    "event: termination accepted",
    "event: termination denied",
    "event: termination refused",
    "event: termination throttled",
    "event: throttled",
    "event: woke",
    "fault: denied",
    "fault: lost",
    "fault: no effect",
    "fault: other account",
    "fault: outage",
    "fault: slow",
    "fault: throttled",
    "fault met by: bootstrap actions",
    "fault met by: describe",
    "fault met by: groups",
    "fault met by: instances",
    "fault met by: list",
    "fault met by: protection",
    "fault met by: security configuration",
    "fault met by: steps",
    "fault met by: terminate",
    "guard: attaches",
    "guard: crash at a time",
    "guard: crash between two actions",
    "guard: power loss",
    "guard: resumes",
    "guard: runs",
    "guard: sleeps, its clock counts",
    "guard: sleeps, its clock stands",
    "guard: second stop",
    "guard: third start",
    "guard: stopped while it resumes",
    "hidden: a value of a cluster",
    "notice: blind",
    "notice: done",
    "notice: end confirmed",
    "notice: end unconfirmed",
    "notice: ending",
    "notice: found",
    "notice: help",
    "notice: orphan",
    "notice: passed",
    "notice: passed so far",
    "notice: sight back",
    "notice: sight lost",
    "notice: twice",
    "notice: unjudged",
    "notice: unsafe",
    "obstacle: accepted",
    "obstacle: not followed",
    "obstacle: not permitted",
    "obstacle: said",
    "obstacle: terminating",
    "open: in flight",
    "open: living",
    "open: search",
    "open: survivors",
    "open: unjudged",
    "others: after the run",
    "others: before the run",
    "others: during the run",
    "others: named by the log",
    "others: protect a cluster again",
    "others: with another run's tag",
    "others: without a tag",
    "ownership: adopted, ask",
    "ownership: adopted, end",
    "ownership: adopted, leave",
    "ownership: named, ask",
    "ownership: named, end",
    "ownership: named, leave",
    "ownership: not ours, leave",
    "ownership: ours, end",
    "ownership: ours, leave",
    "ownership: presumed, ask",
    "ownership: presumed, end",
    "ownership: presumed, leave",
    "runner: adopts a cluster",
    "runner: bootstrap retry",
    "runner: ends by itself before its time",
    "runner: false success",
    "runner: forged lines, a flood",
    "runner: forged lines, no cluster",
    "runner: in flight when it died",
    "runner: never stops when asked",
    "runner: persistent",
    "runner: request without the tag",
    "runner: resent after a server error",
    "runner: resent after silence",
    "runner: steps not as verified",
    "runner: stops slowly",
    "runner: survivor holds the output",
    "runner: survivor launches",
    "runner: three clusters",
    "runner: transient",
    "transition: bootstrapping to running",
    "transition: bootstrapping to terminating",
    "transition: bootstrapping to waiting",
    "transition: running to terminating",
    "transition: running to waiting",
    "transition: starting to bootstrapping",
    "transition: starting to terminating",
    "transition: terminating to over",
    "transition: waiting to running",
    "transition: waiting to terminating",
    "verdict: runner",
    "verdict: unconfirmed",
    "verdict: unsafe, alive",
    "verdict: unsafe, ended",
];

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }

    fn count_if(&mut self, has_occurred: bool, what: &'static str) {
        if has_occurred {
            self.count(what);
        }
    }

    /// Adds another table.
    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_insert(0) += count;
        }
    }

    /// The expected events that never occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().filter(|what| !self.counts.contains_key(*what)).copied().collect()
    }

    /// Events that occurred without being expected, so that their absence would go unnoticed.
    #[must_use]
    pub fn unexpected(&self) -> Vec<&'static str> {
        self.counts.keys().filter(|what| !EXPECTED.contains(what)).copied().collect()
    }

    /// The table as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for what in EXPECTED {
            let count = self.counts.get(what).copied().unwrap_or_default();
            let _ = writeln!(text, "{count:>12}  {what}");
        }
        text
    }

    /// Counts the events of a history.
    pub fn add(&mut self, history: &History) {
        for record in &history.records {
            match &record.what {
                What::Event(event) => self.count(event_name(event)),
                What::Action(action) => self.action(action),
                What::World(world) => self.world(world),
            }
        }
        for (number, life) in history.lives.iter().enumerate() {
            self.life(history, number, life);
        }
        for cluster in &history.clusters {
            self.cluster(history, cluster);
        }
        self.runner(history);
    }

    fn action(&mut self, action: &Action<Id>) {
        self.count(match action {
            Action::Ask(Question::Search) => "action: ask search",
            Action::Ask(Question::Look { .. }) => "action: ask look",
            Action::Ask(Question::Details { .. }) => "action: ask details",
            Action::Ask(Question::Survivors) => "action: ask survivors",
            Action::Terminate(_) => "action: terminate",
            Action::Unprotect(_) => "action: unprotect",
            Action::Wake(_) => "action: wake",
            Action::StopRunner(Force::Ask) => "action: stop the runner",
            Action::StopRunner(Force::Kill) => "action: kill the runner",
            Action::EndSurvivors => "action: end survivors",
            Action::Note(Entry::Cluster(_)) => "action: note a cluster",
            Action::Note(Entry::Stopped { terminate: false }) => "action: note a stop",
            Action::Note(Entry::Stopped { terminate: true }) => {
                "action: note a stop that ends clusters"
            }
            Action::Tell(notice) => notice_name(notice),
            Action::Finish(_) => "action: finish",
        });
        match action {
            Action::Tell(WatchNotice::Help(_, obstacle)) => self.obstacle(obstacle),
            Action::Tell(WatchNotice::EndUnconfirmed(_, obstacle)) => self.obstacle(obstacle),
            _ => {}
        }
    }

    fn obstacle(&mut self, obstacle: &Obstacle) {
        self.count(match obstacle {
            Obstacle::NotPermitted(_) => "obstacle: not permitted",
            Obstacle::Said(_) => "obstacle: said",
            Obstacle::Accepted(_) => "obstacle: accepted",
            // EMR keeps a cluster for weeks; the histories are shorter.
            Obstacle::Unknown => return,
            Obstacle::Terminating => "obstacle: terminating",
            Obstacle::NotFollowed => "obstacle: not followed",
        });
    }

    fn world(&mut self, world: &World) {
        match world {
            World::ProtectedAgain(_) => self.count("others: protect a cluster again"),
            World::Fault(kind, operation) => {
                self.count(fault_name(*kind));
                self.count(operation_name(*operation));
            }
            World::GuardCrashed { power } => self.count_if(*power, "guard: power loss"),
            World::Slept { counted: true } => self.count("guard: sleeps, its clock counts"),
            World::Slept { counted: false } => self.count("guard: sleeps, its clock stands"),
            World::SurvivorRequested => self.count("runner: survivor launches"),
            _ => {}
        }
    }

    fn life(&mut self, history: &History, number: usize, life: &Life) {
        self.count(match life.mode {
            WatchMode::Run => "guard: runs",
            WatchMode::Resume => "guard: resumes",
            WatchMode::Attach => "guard: attaches",
        });
        self.count_if(number == 2, "guard: third start");
        self.count_if(life.stops.len() > 1, "guard: second stop");
        let stopped_later = number > 0 && !life.stops.is_empty();
        self.count_if(stopped_later, "guard: stopped while it resumes");
        if let Some((_, LifeEnd::Crashed)) = life.end {
            let crash = history.scenario.lives.get(number).and_then(|life| life.crash);
            match crash.map(|crash| crash.when) {
                Some(CrashTime::After(_)) => self.count("guard: crash at a time"),
                Some(CrashTime::Actions(_)) => self.count("guard: crash between two actions"),
                None => {}
            }
        }
        if let Some(conclusion) = life.conclusion() {
            self.conclusion(conclusion);
        }
    }

    fn conclusion(&mut self, conclusion: &WatchConclusion<Id>) {
        self.count(match conclusion.verdict() {
            WatchVerdict::UnsafeAlive => "verdict: unsafe, alive",
            WatchVerdict::UnsafeEnded => "verdict: unsafe, ended",
            WatchVerdict::Unconfirmed => "verdict: unconfirmed",
            WatchVerdict::Runner => "verdict: runner",
        });
        for doubt in &conclusion.doubts {
            self.count(match doubt {
                Doubt::Search(_) => "doubt: search",
                Doubt::Undescribed(_) => "doubt: undescribed",
                Doubt::Unknown(_) => "doubt: unknown",
                Doubt::Unseen(_) => "doubt: unseen",
                Doubt::GoesOn(_) => "doubt: goes on",
                Doubt::NoWork => "doubt: no work",
            });
        }
        for open in &conclusion.open {
            self.count(match open {
                Open::InFlight => "open: in flight",
                Open::Survivors => "open: survivors",
                Open::Search => "open: search",
                Open::Unjudged(_) => "open: unjudged",
                Open::Living(_) => "open: living",
            });
        }
        for (_, end) in &conclusion.clusters {
            if let Some(cause) = end.cause {
                self.count(match cause {
                    Cause::Failed => "cause: failed",
                    Cause::Unjudged => "cause: unjudged",
                    Cause::Stopped => "cause: stopped",
                    Cause::Orphaned => "cause: orphaned",
                });
            }
            if let Some(crate::watch::machine::conclusion::EndResult::Unconfirmed(obstacle)) =
                &end.end
            {
                self.obstacle(obstacle);
            }
            let is_asked = end.cause.is_some()
                && matches!(
                    &end.end,
                    Some(crate::watch::machine::conclusion::EndResult::Unconfirmed(
                        Obstacle::NotPermitted(_)
                    ))
                );
            self.decision(end.whose, end.cause.is_some(), is_asked);
        }
    }

    fn decision(&mut self, whose: Ownership, must_end: bool, is_asked: bool) {
        self.count(match (whose, must_end, is_asked) {
            (Ownership::Ours, false, _) => "ownership: ours, leave",
            (Ownership::Ours, true, _) => "ownership: ours, end",
            (Ownership::Presumed, false, _) => "ownership: presumed, leave",
            (Ownership::Presumed, true, false) => "ownership: presumed, end",
            (Ownership::Presumed, true, true) => "ownership: presumed, ask",
            (Ownership::Adopted, false, _) => "ownership: adopted, leave",
            (Ownership::Adopted, true, false) => "ownership: adopted, end",
            (Ownership::Adopted, true, true) => "ownership: adopted, ask",
            (Ownership::Named, false, _) => "ownership: named, leave",
            (Ownership::Named, true, false) => "ownership: named, end",
            (Ownership::Named, true, true) => "ownership: named, ask",
            (Ownership::Account | Ownership::NotOurs, ..) => return,
        });
    }

    fn cluster(&mut self, history: &History, cluster: &Cluster) {
        self.count_if(cluster.traits.masked, "hidden: a value of a cluster");
        if let Some(defect) = cluster.traits.defect {
            self.count(match defect {
                Defect::NoSecurityConfiguration => "defect: no security configuration",
                Defect::Replaced => "defect: replaced",
                Defect::Step => "defect: step",
                Defect::Volumes => "defect: volumes",
                Defect::AddedVolumes => "defect: added volumes",
            });
        }
        for (from, to) in transitions(cluster) {
            self.count_if(true, transition_name(from, to));
        }
        let is_strangers = history
            .lives
            .first()
            .is_some_and(|life| owners(life, cluster)[0] == Some(Ownership::NotOurs));
        let was_looked_at = || {
            history.records.iter().any(|record| {
                matches!(&record.what, What::Event(Event::Looked(id, _)) if *id == cluster.id)
            })
        };
        self.count_if(is_strangers && was_looked_at(), "ownership: not ours, leave");
        if cluster.launcher == Launcher::Other {
            let ended = history.runner_ended.map_or(0, |(at, _)| at);
            self.count(if cluster.created < 0 {
                "others: before the run"
            } else if cluster.created < ended {
                "others: during the run"
            } else {
                "others: after the run"
            });
            self.count(match cluster.tag {
                RunTag::None => "others: without a tag",
                RunTag::This | RunTag::Other => "others: with another run's tag",
            });
        } else {
            self.count_if(cluster.tag == RunTag::None, "runner: request without the tag");
        }
    }

    fn runner(&mut self, history: &History) {
        let Some(runner) = &history.scenario.runner else { return };
        let ended = history.runner_ended.map_or(0, |(at, _)| at);
        self.count(if runner.persistent { "runner: persistent" } else { "runner: transient" });
        let launched = |cluster: &&Cluster| cluster.launcher == Launcher::Runner;
        let clusters = history.clusters.iter().filter(launched);
        self.count_if(clusters.clone().count() >= 3, "runner: three clusters");
        let failed = clusters
            .clone()
            .any(|cluster| cluster.traits.bootstrap_fails && cluster.ready() + SECOND < ended);
        self.count_if(failed && clusters.clone().count() > 1, "runner: bootstrap retry");
        let late = clusters.clone().any(|cluster| cluster.created > ended);
        self.count_if(late, "runner: in flight when it died");
        let adopts = history
            .clusters
            .iter()
            .any(|cluster| cluster.launcher == Launcher::Other && cluster.has_steps_of_run(ended));
        self.count_if(adopts, "runner: adopts a cluster");
        let bad = history.clusters.iter().any(|cluster| {
            cluster.steps.iter().any(|step| step.bad && step.of_run)
                && cluster.traits.defect != Some(Defect::Step)
        });
        self.count_if(bad, "runner: steps not as verified");
        let sent = |answer: fn(&RequestAnswer) -> bool| {
            history.records.iter().any(|record| match record.what {
                What::World(World::RequestFailed(number)) => {
                    runner.requests.get(number).is_some_and(|request| answer(&request.answer))
                }
                _ => false,
            })
        };
        let server_error = sent(|answer| matches!(answer, RequestAnswer::ServerError(_)));
        let silence = sent(|answer| *answer == RequestAnswer::Nothing);
        self.count_if(server_error, "runner: resent after a server error");
        self.count_if(silence, "runner: resent after silence");
        let asked = history
            .records
            .iter()
            .any(|record| record.what == What::Action(Action::StopRunner(Force::Ask)));
        self.count_if(asked && runner.on_ask.is_none(), "runner: never stops when asked");
        let slow = runner.on_ask.is_some_and(|after| after > SECOND);
        self.count_if(asked && slow, "runner: stops slowly");
        let crashed = runner.crash.is_some_and(|(at, _)| at == ended);
        self.count_if(crashed, "runner: ends by itself before its time");
        let success = matches!(history.runner_ended, Some((_, RunnerEnd::Succeeded)));
        self.count_if(runner.false_success && success, "runner: false success");
        let holds = history.scenario.survivor.as_ref().is_some_and(|it| it.holds_output);
        self.count_if(holds, "runner: survivor holds the output");
        for forged in history.scenario.forged.iter().filter(|forged| forged.at < ended) {
            self.count_if(forged.lines >= 100, "runner: forged lines, a flood");
            self.count(match forged.other {
                Some(_) => "others: named by the log",
                None => "runner: forged lines, no cluster",
            });
        }
    }
}

fn event_name(event: &Event<Id>) -> &'static str {
    match event {
        Event::Woke => "event: woke",
        Event::Hint(_) => "event: hint",
        Event::Activity => "event: activity",
        Event::Pushed(_) => "event: pushed",
        Event::Listed(AwsAnswer::Found(_) | AwsAnswer::Absent) => "event: listed",
        Event::Listed(AwsAnswer::Failed(_)) => "event: list failed",
        Event::DescribedFirst(..) => "event: described first",
        Event::Looked(_, look) => match look.described {
            AwsAnswer::Found(_) => "event: looked",
            AwsAnswer::Absent => "event: look absent",
            AwsAnswer::Failed(_) => "event: look failed",
        },
        Event::Detailed(..) => "event: detailed",
        Event::TerminationAnswered(_, Ok(())) => "event: termination accepted",
        Event::TerminationAnswered(_, Err(Refusal { kind, .. })) => match kind {
            RefusalKind::Throttled => "event: termination throttled",
            RefusalKind::Denied => "event: termination denied",
            RefusalKind::Other => "event: termination refused",
        },
        Event::ProtectionAnswered(_, Ok(())) => "event: protection lifted",
        Event::ProtectionAnswered(_, Err(_)) => "event: protection not lifted",
        Event::Throttled => "event: throttled",
        Event::RunnerEnded(end, _) => match end {
            RunnerEnd::Succeeded => "event: runner succeeded",
            RunnerEnd::StartedNothing => "event: runner started nothing",
            RunnerEnd::Failed => "event: runner failed",
            RunnerEnd::Killed => "event: runner killed",
        },
        Event::OutputEnded => "event: output ended",
        Event::Survivors(true) => "event: survivors",
        Event::Survivors(false) => "event: survivors gone",
        Event::StopAsked => "event: stop asked",
    }
}

fn notice_name(notice: &WatchNotice<Id>) -> &'static str {
    match notice {
        WatchNotice::Found(..) => "notice: found",
        WatchNotice::Passed(_, false) => "notice: passed",
        WatchNotice::Passed(_, true) => "notice: passed so far",
        WatchNotice::Unsafe(..) => "notice: unsafe",
        WatchNotice::Help(..) => "notice: help",
        WatchNotice::Ending(..) => "notice: ending",
        WatchNotice::EndConfirmed(_) => "notice: end confirmed",
        WatchNotice::EndUnconfirmed(..) => "notice: end unconfirmed",
        WatchNotice::Blind(_) => "notice: blind",
        WatchNotice::Unjudged(_) => "notice: unjudged",
        WatchNotice::SightLost(_) => "notice: sight lost",
        WatchNotice::SightBack(_) => "notice: sight back",
        WatchNotice::Orphan(_) => "notice: orphan",
        WatchNotice::Twice(_) => "notice: twice",
        WatchNotice::Done => "notice: done",
    }
}

fn fault_name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Denied => "fault: denied",
        FaultKind::OtherAccount => "fault: other account",
        FaultKind::Throttled => "fault: throttled",
        FaultKind::Outage => "fault: outage",
        FaultKind::Lost => "fault: lost",
        FaultKind::Slow => "fault: slow",
        FaultKind::NoEffect => "fault: no effect",
    }
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::List => "fault met by: list",
        Operation::Describe => "fault met by: describe",
        Operation::Steps => "fault met by: steps",
        Operation::SecurityConfiguration => "fault met by: security configuration",
        Operation::BootstrapActions => "fault met by: bootstrap actions",
        Operation::Groups => "fault met by: groups",
        Operation::Instances => "fault met by: instances",
        Operation::Terminate => "fault met by: terminate",
        Operation::Protection => "fault met by: protection",
    }
}

/// The states that a cluster went through.
fn transitions(cluster: &Cluster) -> Vec<(State, State)> {
    let mut times = vec![cluster.created, cluster.created + cluster.traits.starting];
    times.push(cluster.ready());
    times.extend(cluster.steps.iter().flat_map(|step| [step.added, step.end]));
    times.extend(cluster.ends());
    times.extend(cluster.over());
    times.retain(|at| *at >= cluster.created);
    times.sort_unstable();
    let states: Vec<State> = times.into_iter().map(|at| cluster.state(at)).collect();
    states.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| (pair[0], pair[1])).collect()
}

fn transition_name(from: State, to: State) -> &'static str {
    match (from, to) {
        (State::Starting, State::Bootstrapping) => "transition: starting to bootstrapping",
        (State::Starting, State::Terminating) => "transition: starting to terminating",
        (State::Bootstrapping, State::Running) => "transition: bootstrapping to running",
        (State::Bootstrapping, State::Waiting) => "transition: bootstrapping to waiting",
        (State::Bootstrapping, State::Terminating) => "transition: bootstrapping to terminating",
        (State::Running, State::Waiting) => "transition: running to waiting",
        (State::Running, State::Terminating) => "transition: running to terminating",
        (State::Waiting, State::Running) => "transition: waiting to running",
        (State::Waiting, State::Terminating) => "transition: waiting to terminating",
        (State::Terminating, State::Over) => "transition: terminating to over",
        _ => "transition: another",
    }
}
