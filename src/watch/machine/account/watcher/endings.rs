//! Terminates clusters that must end, and follows their ends.

use crate::watch::machine::{
    account::{
        ask::Ask,
        event::{AccountLook, AccountNotice},
        mutants::mutated,
        tracked::may_end,
        watcher::AccountWatcher,
    },
    conclusion::EndResult,
    ending::{Ending, Move},
    event::{AwsAnswer, Described, Refusal, RefusalKind},
    ownership::{Evidence, Ownership, RunTag},
    plan::Id,
    state::State,
    termination::Decision,
    time::Moment,
};

/// So many intervals after EMR has accepted a request, its answers may still show the state before
/// it: until then the request is not repeated.
const SETTLING: u32 = 2;

impl<P: Id, I: Id> AccountWatcher<P, I> {
    /// A second look has failed: the termination begins, if the limit has room.
    pub(super) fn looked_again(&mut self, at: &P, id: &I) {
        let (now, times) = (self.now, self.ending_times());
        let has_room = self.limit.room() > 0 || mutated!(self.plan, LimitForgotten);
        let is_left = mutated!(self.plan, UnsafeIsLeft);
        let also_ending = mutated!(self.plan, TerminatingIsEnded);
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        let Some(described) = tracked.described.filter(may_end) else { return };
        let ends = matches!(described.state, State::Terminating | State::Over);
        if (ends && !also_ending) || tracked.ending.is_some() || is_left {
            return;
        }
        if !has_room {
            if !std::mem::replace(&mut tracked.told_limited, true) {
                self.tell(AccountNotice::Limited(at.clone(), id.clone()));
            }
            return;
        }
        let (ending, moves) =
            Ending::begin(Decision::End, Ownership::Account, described.protected, now, times);
        tracked.ending = Some(ending);
        tracked.is_confirmed = true;
        tracked.told_limited = false;
        tracked.retry_from = None;
        self.limit.count(now, (at.clone(), id.clone()));
        self.tell(AccountNotice::Ending(at.clone(), id.clone()));
        self.perform(at, id, moves);
    }

    /// A look was answered: passes it to the termination under way. A termination that an earlier
    /// sentinel requested is followed from here on.
    pub(super) fn ending_looked(&mut self, at: &P, id: &I, asked: Moment, look: &AccountLook) {
        let (now, times) = (self.now, self.ending_times());
        let settling = self.plan.limits.interval * SETTLING;
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        let is_ending = tracked.state == Some(State::Terminating);
        let follows = tracked.was_requested && is_ending && tracked.retry_from.is_none();
        if tracked.ending.is_none() && follows {
            tracked.ending = Some(Ending::follow(asked, times));
        } else if tracked.ending_look.is_none_or(|from| look.number < from) {
            return;
        }
        tracked.ending_look = None;
        let settles = tracked.accepted.is_some_and(|accepted| asked.since(accepted) < settling);
        let described = described(look, settles);
        let moves = tracked.ending.as_mut().map(|ending| ending.looked(now, &described));
        self.perform(at, id, moves.unwrap_or_default());
    }

    /// EMR has answered a request.
    pub(super) fn request_answered(
        &mut self,
        at: &P,
        id: &I,
        answer: impl FnOnce(&mut Ending) -> Vec<Move>,
    ) {
        let Some(tracked) = self.tracked_mut(at, id) else { return };
        tracked.requested = None;
        let moves = tracked.ending.as_mut().map(answer);
        self.perform(at, id, moves.unwrap_or_default());
    }

    /// The answer to a request is not awaited any longer: EMR may have received it or not.
    pub(super) fn request_lost(&mut self, at: &P, id: &I) {
        let lost = || {
            let text = "EMR has not answered the request".to_owned();
            Err(Refusal { kind: RefusalKind::Throttled, text })
        };
        self.request_answered(at, id, |ending| {
            let mut moves = ending.protection_answered(lost());
            moves.extend(ending.termination_answered(lost()));
            moves
        });
    }

    pub(super) fn perform(&mut self, at: &P, id: &I, moves: Vec<Move>) {
        let times = self.ending_times();
        let also_ending = mutated!(self.plan, TerminatingIsEnded);
        for next in moves {
            let (now, number) = (self.now, self.next_number);
            let Some(tracked) = self.tracked_mut(at, id) else { return };
            match next {
                // Somebody else has terminated it.
                Move::Unprotect | Move::Terminate
                    if tracked.state == Some(State::Terminating) && !also_ending =>
                {
                    tracked.ending = Some(Ending::follow(now, times));
                    tracked.ending_look = Some(number);
                }
                // Nothing is requested without a second look by this very sentinel.
                Move::Unprotect | Move::Terminate if !tracked.is_confirmed => {
                    tracked.forget_ending();
                }
                Move::Unprotect => tracked.request = Some(Ask::Unprotect),
                Move::Terminate => tracked.request = Some(Ask::Terminate),
                // A look that was requested before does not show the effect.
                Move::Look => tracked.ending_look = Some(number),
                Move::Help(obstacle) => {
                    self.tell(AccountNotice::Help(at.clone(), id.clone(), obstacle));
                }
                Move::LetLive => {
                    tracked.forget_ending();
                    tracked.told_unsafe = false;
                    self.tell_cleared(at, id);
                }
                // It is reported with everything else about its end.
                Move::Over(EndResult::Confirmed) => tracked.forget_ending(),
                Move::Over(EndResult::Unconfirmed(obstacle)) => {
                    tracked.leave_alone(now);
                    self.tell(AccountNotice::EndUnconfirmed(at.clone(), id.clone(), obstacle));
                }
            }
        }
    }

    /// Continues the terminations whose pause is over.
    pub(super) fn wake_endings(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (at, place) in &mut self.places {
            for (id, tracked) in &mut place.clusters {
                let moves = tracked.ending.as_mut().map(|ending| ending.woke(now));
                if let Some(moves) = moves.filter(|moves| !moves.is_empty()) {
                    due.push((at.clone(), id.clone(), moves));
                }
            }
        }
        for (at, id, moves) in due {
            self.perform(&at, &id, moves);
        }
    }

    fn ending_times(&self) -> (std::time::Duration, std::time::Duration) {
        let limits = &self.plan.limits;
        (crate::watch::machine::account::tracked::shortest(limits), limits.termination)
    }
}

/// A look, as the termination reads it. Whose the cluster is has been decided. `settles`: EMR has
/// accepted the request a short time ago, and may still show the state before it.
fn described(look: &AccountLook, settles: bool) -> AwsAnswer<Described> {
    match &look.described {
        AwsAnswer::Found(described) => AwsAnswer::Found(Described {
            state: match described.state {
                State::Over => State::Over,
                _ if settles => State::Terminating,
                state => state,
            },
            evidence: Evidence {
                tag: RunTag::None,
                created: described.created,
                matches_request: false,
                has_new_steps: false,
            },
            protected: described.protected,
            was_ready: false,
        }),
        AwsAnswer::Absent => AwsAnswer::Absent,
        AwsAnswer::Failed(why) => AwsAnswer::Failed(why.clone()),
    }
}
