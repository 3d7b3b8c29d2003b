//! Handles the runner while it runs, stops and ends, and its orphaned processes.

use crate::watch::machine::{
    event::{Action, Entry, Force, Question, RunnerEnd},
    mutants::mutated,
    plan::{Id, WatchMode},
    runner::{Runner, Survivors},
    time::{AwsTime, Moment},
    watcher::{Stop, Watcher},
};

impl<I: Id> Watcher<I> {
    pub(super) fn runner_ended(&mut self, now: Moment, end: RunnerEnd, at: Option<AwsTime>) {
        let stopped = self.runner.is_stopping();
        self.runner = Runner::Ended {
            end,
            at: now,
            stopped,
            output_open: true,
            survivors: Survivors::Asked,
            left_until: None,
        };
        let in_flight = i64::try_from(self.plan.limits.in_flight().as_millis()).unwrap_or(i64::MAX);
        self.until = at.map(|at| AwsTime(at.0.saturating_add(in_flight)));
        if stopped {
            self.actions.push(Action::StopRunner(Force::Kill));
        }
        if mutated!(self.plan, SurvivorsForgotten) {
            self.survivors(now, false);
        } else {
            self.actions.push(Action::Ask(Question::Survivors));
        }
    }

    pub(super) fn survivors(&mut self, now: Moment, left: bool) {
        let Runner::Ended { survivors, left_until, .. } = &mut self.runner else { return };
        if left || left_until.is_some() {
            *left_until = Some(now);
        }
        *survivors = if left {
            Survivors::Left(now.after(self.plan.limits.interval))
        } else {
            Survivors::Gone
        };
    }

    /// Kills a runner that does not stop, and its orphaned processes.
    pub(super) fn look_after_runner(&mut self, now: Moment) {
        let stopping = self.runner.is_stopping() || self.stop.is_some();
        let patience = self.plan.limits.stop;
        match &mut self.runner {
            Runner::Alive { kill_at: Some(at), killed: killed @ false } if *at <= now => {
                *killed = true;
                self.actions.push(Action::StopRunner(Force::Kill));
            }
            Runner::Ended { survivors: survivors @ Survivors::Left(_), at, .. } => {
                let Survivors::Left(next) = *survivors else { return };
                if next <= now {
                    // Orphaned processes of a run that ended by itself get some time.
                    if stopping || now.since(*at) >= patience {
                        self.actions.push(Action::EndSurvivors);
                    }
                    *survivors = Survivors::Asked;
                    self.actions.push(Action::Ask(Question::Survivors));
                }
            }
            _ => {}
        }
        if self.last.is_none()
            && let Runner::Ended { output_open, .. } = self.runner
            // A process that the runner started may hold its output open. A run that ended by
            // itself waits for it, as a shell pipeline would, until it is asked to stop.
            && (!output_open || stopping)
        {
            self.begin_last_looks(now);
        }
    }

    /// Asks the runner to stop, once.
    pub(super) fn stop_runner(&mut self, now: Moment) {
        if mutated!(self.plan, RunnerGoesOn) {
            return;
        }
        let after_stop = self.stop.map(|stop| stop.asked.after(self.plan.limits.stop / 2));
        let limit = self.plan.limits.stop;
        match &mut self.runner {
            Runner::Alive { kill_at: kill_at @ None, killed: false } => {
                // After a stop, the rest of the time is for the run's clusters.
                *kill_at = Some(after_stop.unwrap_or(now.after(limit)));
                self.actions.push(Action::StopRunner(Force::Ask));
            }
            Runner::Ended { stopped: stopped @ false, .. } => {
                *stopped = true;
                self.actions.push(Action::StopRunner(Force::Kill));
            }
            Runner::None | Runner::Alive { .. } | Runner::Ended { .. } => {}
        }
    }

    pub(super) fn stop_asked(&mut self, now: Moment) {
        if self.stop.is_some() {
            if let Runner::Alive { killed: killed @ false, .. } = &mut self.runner
                && !mutated!(self.plan, SecondStopIgnored)
            {
                *killed = true;
                self.actions.push(Action::StopRunner(Force::Kill));
            }
            return;
        }
        self.stop = Some(Stop { asked: now, by: now.after(self.plan.limits.stop) });
        if self.plan.mode != WatchMode::Attach {
            self.actions.push(Action::Note(Entry::Stopped { terminate: self.plan.rules.on_stop }));
        }
        if let Runner::Alive { kill_at: kill_at @ Some(_), .. } = &mut self.runner {
            *kill_at = kill_at.map(|at| at.min(now.after(self.plan.limits.stop / 2)));
        }
        self.stop_runner(now);
        if self.plan.mode == WatchMode::Attach && self.last.is_none() {
            self.begin_last_looks(now);
        }
    }
}
