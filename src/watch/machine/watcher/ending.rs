//! Terminates clusters that must end.

use crate::watch::machine::{
    cluster::Wanted,
    conclusion::{Cause, EndResult, Obstacle},
    ending::{Ending, Move},
    event::{Action, Refusal, WatchNotice},
    mutants::mutated,
    ownership::Ownership,
    plan::Id,
    termination::{Decision, EndReason},
    time::Moment,
    watcher::Watcher,
};

impl<I: Id> Watcher<I> {
    /// A cluster is unsafe: terminates it, or asks a person to do so.
    pub(super) fn must_end(&mut self, now: Moment, id: &I, cause: Cause) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        let why = if cause == Cause::Failed { EndReason::Unsafe } else { EndReason::Unjudged };
        let decision = cluster.decision(why, &self.plan);
        if decision == Decision::Leave {
            return;
        }
        let is_ending = cluster.is_ending();
        cluster.cause = Some(cause);
        let is_over = cluster.is_over();
        if is_over {
            cluster.end = Some(EndResult::Confirmed);
        }
        let ends = decision == Decision::End;
        self.actions.push(Action::Tell(WatchNotice::Unsafe(id.clone(), cause, ends)));
        if !is_over && !is_ending {
            self.begin_ending(now, id, decision, cause);
        }
        self.stop_runner(now);
    }

    /// An unsafe cluster that only a person could terminate may now be the run's to terminate,
    /// because the runner has added steps to it.
    pub(super) fn decide_again(&mut self, now: Moment, id: &I) {
        let Some(cluster) = self.clusters.get(id) else { return };
        let asks = cluster.ending.as_ref().is_some_and(Ending::asks_a_person);
        if asks
            && cluster.cause == Some(Cause::Failed)
            && cluster.decision(EndReason::Unsafe, &self.plan) == Decision::End
        {
            self.begin_ending(now, id, Decision::End, Cause::Failed);
        }
    }

    pub(super) fn begin_ending(&mut self, now: Moment, id: &I, decision: Decision, cause: Cause) {
        let Some(cluster) = self.clusters.get_mut(id) else { return };
        cluster.cause = Some(cause);
        let times = (self.plan.limits.interval, self.plan.limits.termination);
        let protected = cluster.described.as_ref().is_some_and(|described| described.protected);
        let (ending, moves) = Ending::begin(decision, cluster.whose, protected, now, times);
        cluster.ending = Some(ending);
        if decision == Decision::End {
            self.actions.push(Action::Tell(WatchNotice::Ending(id.clone(), cause)));
        }
        self.perform(now, id, moves);
    }

    /// Passes an event to a running termination.
    pub(super) fn advance_ending(
        &mut self,
        now: Moment,
        id: &I,
        happened: impl FnOnce(&mut Ending) -> Vec<Move>,
    ) {
        let ending = self.clusters.get_mut(id).and_then(|cluster| cluster.ending.as_mut());
        let moves = ending.map(happened).unwrap_or_default();
        self.perform(now, id, moves);
    }

    pub(super) fn termination_answered(
        &mut self,
        now: Moment,
        id: &I,
        answer: Result<(), Refusal>,
    ) {
        let too_early = match &answer {
            Ok(()) => mutated!(self.plan, AcceptedIsOver).then_some(EndResult::Confirmed),
            Err(refusal) => mutated!(self.plan, RefusedOnceIsEnough)
                .then(|| EndResult::Unconfirmed(Obstacle::Said(refusal.text.clone()))),
        };
        match too_early {
            Some(end) => {
                if let Some(cluster) = self.clusters.get_mut(id) {
                    cluster.ending = None;
                }
                self.perform(now, id, vec![Move::Over(end)]);
            }
            None => self.advance_ending(now, id, |ending| ending.termination_answered(answer)),
        }
    }

    pub(super) fn perform(&mut self, now: Moment, id: &I, moves: Vec<Move>) {
        for next in moves {
            match next {
                Move::Unprotect if mutated!(self.plan, ProtectionStays) => {
                    self.advance_ending(now, id, |ending| ending.protection_answered(Ok(())));
                }
                Move::Unprotect => self.actions.push(Action::Unprotect(id.clone())),
                Move::Terminate => self.actions.push(Action::Terminate(id.clone())),
                Move::Look => {
                    // Steps can make the cluster the run's to terminate. The steps of a cluster
                    // that is not unsafe may complete before it ends, which counts for the run.
                    let steps = self.clusters.get(id).is_some_and(|cluster| {
                        let asks = cluster.ending.as_ref().is_some_and(Ending::asks_a_person);
                        (cluster.whose == Ownership::Adopted && asks)
                            || (!cluster.is_unsafe() && cluster.judgement.work.open)
                    });
                    if self.looking.contains(id) {
                        // A poll that was requested before this move does not show its effect.
                        self.look_again.insert(id.clone());
                    } else {
                        self.ask_look(id, Wanted { cluster: true, steps });
                    }
                }
                Move::Help(obstacle) => {
                    self.actions.push(Action::Tell(WatchNotice::Help(id.clone(), obstacle)));
                }
                Move::LetLive => {
                    if let Some(cluster) = self.clusters.get_mut(id) {
                        cluster.cause = None;
                        cluster.ending = None;
                    }
                    self.actions.push(Action::Tell(WatchNotice::SightBack(Some(id.clone()))));
                }
                Move::Over(end) => {
                    self.actions.push(Action::Tell(match &end {
                        EndResult::Confirmed => WatchNotice::EndConfirmed(id.clone()),
                        EndResult::Unconfirmed(obstacle) => {
                            WatchNotice::EndUnconfirmed(id.clone(), obstacle.clone())
                        }
                    }));
                    if let Some(cluster) = self.clusters.get_mut(id) {
                        cluster.end = Some(end);
                    }
                    if let Some(last) = &mut self.last {
                        last.next = now;
                    }
                }
            }
        }
    }

    pub(super) fn wake_endings(&mut self, now: Moment) {
        let due: Vec<(I, Vec<Move>)> = self
            .clusters
            .iter_mut()
            .filter_map(|(id, cluster)| Some((id.clone(), cluster.ending.as_mut()?.woke(now))))
            .filter(|(_, moves)| !moves.is_empty())
            .collect();
        for (id, moves) in due {
            self.perform(now, &id, moves);
        }
    }
}
