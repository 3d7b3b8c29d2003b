//! The termination of one cluster: the order of the requests, and the reaction to refusals. A
//! termination counts only when EMR confirms the end.

use std::time::Duration;

use crate::watch::machine::{
    conclusion::{EndResult, Obstacle},
    event::{AwsAnswer, Described, Refusal, RefusalKind},
    ownership::Ownership,
    state::State,
    termination::Decision,
    time::Moment,
};

/// The longest pause between two polls of a cluster that should end, within EMR's quotas.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Lift termination protection.
    Unprotect,
    /// Send TerminateJobFlows.
    Terminate,
    /// Poll whether it is over.
    Look,
    /// Ask a person, who must terminate it.
    Help(Obstacle),
    /// It continues: it has passed in the meantime, and EMR has not acted on the request.
    LetLive,
    /// It has ended, or the time limit has passed.
    Over(EndResult),
}

/// What the next event must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Protection,
    Termination,
    Look,
    Pause(Moment),
    Nothing,
}

/// A termination under way.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Ending {
    /// None: the guard terminates it. Otherwise its ownership, because of which a person must do
    /// it.
    not_permitted: Option<Ownership>,
    deadline: Moment,
    pause: Duration,
    awaits: Awaits,
    accepted: bool,
    lift: bool,
    lifted: bool,
    helped: bool,
    /// A termination request may follow the lifting of protection at once, without a pause.
    at_once: bool,
    obstacle: Option<Obstacle>,
    /// The reason no longer applies: nothing more is requested.
    withdrawn: bool,
    is_over: bool,
}

impl Ending {
    /// Begins the termination. The request goes out first, since every second counts. Termination
    /// protection is lifted if the cluster is known to have it, or when EMR refuses. Polls are
    /// `interval` apart at first; the end is awaited for `limit`.
    pub fn begin(
        decision: Decision,
        whose: Ownership,
        protected: bool,
        now: Moment,
        (interval, limit): (Duration, Duration),
    ) -> (Self, Vec<Move>) {
        let mut ending = Self::new(now, interval, limit);
        ending.not_permitted = (decision != Decision::End).then_some(whose);
        ending.lift = protected;
        let moves = match ending.not_permitted {
            None => ending.request(),
            Some(whose) => {
                let obstacle = Obstacle::NotPermitted(whose);
                ending.obstacle = Some(obstacle.clone());
                ending.awaits = Awaits::Look;
                vec![Move::Help(obstacle), Move::Look]
            }
        };
        (ending, moves)
    }

    /// Follows a termination that was requested before, and that EMR carries out. The next event
    /// must be a poll.
    pub fn follow(now: Moment, (interval, limit): (Duration, Duration)) -> Self {
        Self { accepted: true, awaits: Awaits::Look, ..Self::new(now, interval, limit) }
    }

    fn new(now: Moment, interval: Duration, limit: Duration) -> Self {
        Self {
            not_permitted: None,
            deadline: now.after(limit),
            pause: interval,
            awaits: Awaits::Nothing,
            accepted: false,
            lift: false,
            lifted: false,
            helped: false,
            at_once: true,
            obstacle: None,
            withdrawn: false,
            is_over: false,
        }
    }

    /// Whether EMR has accepted the last request.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// When it needs to be woken next.
    pub fn due(&self) -> Option<Moment> {
        match self.awaits {
            Awaits::Pause(until) => Some(until),
            _ => None,
        }
    }

    /// Whether it has finished.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it is under way and only a person can do it.
    pub fn asks_a_person(&self) -> bool {
        self.not_permitted.is_some() && !self.is_over
    }

    /// Sets whether the reason no longer applies. An earlier request may still take effect, so
    /// polling continues until that is known.
    pub fn withdraw(&mut self, withdrawn: bool) {
        self.withdrawn = withdrawn;
    }

    fn request(&mut self) -> Vec<Move> {
        if self.withdrawn {
            self.look()
        } else if self.lift {
            self.awaits = Awaits::Protection;
            vec![Move::Unprotect]
        } else {
            self.awaits = Awaits::Termination;
            vec![Move::Terminate]
        }
    }

    fn look(&mut self) -> Vec<Move> {
        self.awaits = Awaits::Look;
        vec![Move::Look]
    }

    /// EMR has answered the request to lift protection.
    pub fn protection_answered(&mut self, answer: Result<(), Refusal>) -> Vec<Move> {
        if self.awaits != Awaits::Protection {
            return Vec::new();
        }
        self.lifted = answer.is_ok();
        if let Err(refusal) = answer {
            self.obstacle = Some(Obstacle::Said(refusal.text));
        }
        if self.withdrawn {
            return self.look();
        }
        self.awaits = Awaits::Termination;
        vec![Move::Terminate]
    }

    /// EMR has answered the request to terminate.
    pub fn termination_answered(&mut self, answer: Result<(), Refusal>) -> Vec<Move> {
        if self.awaits != Awaits::Termination {
            return Vec::new();
        }
        let Err(refusal) = answer else {
            self.accepted = true;
            return self.look();
        };
        let obstacle = Obstacle::Said(refusal.text);
        self.obstacle = Some(obstacle.clone());
        let mut moves = Vec::new();
        match refusal.kind {
            // EMR has no distinct error code for termination protection, so protection is lifted
            // after any such error. The first time this is done at once. If lifting does not help,
            // or is refused, the normal pauses apply.
            RefusalKind::Other if !self.lifted => {
                self.lift = true;
                if std::mem::take(&mut self.at_once) {
                    return self.request();
                }
            }
            // Somebody keeps setting protection again, or there is another cause: both need time.
            RefusalKind::Other | RefusalKind::Throttled => {}
            // The permission may be granted meanwhile, so the request is repeated.
            RefusalKind::Denied => {
                if !std::mem::replace(&mut self.helped, true) {
                    moves.push(Move::Help(obstacle));
                }
            }
        }
        moves.extend(self.look());
        moves
    }

    /// A poll has returned facts on the cluster.
    pub fn looked(&mut self, now: Moment, seen: &AwsAnswer<Described>) -> Vec<Move> {
        if self.is_over {
            return Vec::new();
        }
        let state = seen.found().map(|described| described.state);
        // Any poll that reports the end completes the termination.
        if state == Some(State::Over) {
            return self.over(EndResult::Confirmed);
        }
        if self.awaits != Awaits::Look {
            return Vec::new();
        }
        if self.withdrawn
            && !self.accepted
            && state.is_some_and(|state| state != State::Terminating)
        {
            return vec![Move::LetLive];
        }
        if self.not_permitted.is_none() {
            match seen {
                // Protection may be lifted or set meanwhile; one accepted request is no guarantee.
                AwsAnswer::Found(described)
                    if self.accepted && described.state != State::Terminating =>
                {
                    self.obstacle = Some(Obstacle::Accepted(described.state));
                    self.accepted = false;
                    self.lift |= described.protected;
                }
                AwsAnswer::Found(described) if described.protected && !self.accepted => {
                    self.lift = true;
                }
                AwsAnswer::Found(_) => {}
                AwsAnswer::Absent => self.obstacle = Some(Obstacle::Unknown),
                AwsAnswer::Failed(why) => self.obstacle = Some(Obstacle::Said(why.clone())),
            }
        }
        if now.after(self.pause) > self.deadline {
            let obstacle = self.obstacle.take().unwrap_or(Obstacle::Terminating);
            return self.over(EndResult::Unconfirmed(obstacle));
        }
        self.awaits = Awaits::Pause(now.after(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Vec::new()
    }

    /// The pause has passed.
    pub fn woke(&mut self, now: Moment) -> Vec<Move> {
        match self.awaits {
            Awaits::Pause(until) if until <= now => {
                if self.accepted || self.not_permitted.is_some() {
                    self.look()
                } else {
                    self.request()
                }
            }
            _ => Vec::new(),
        }
    }

    fn over(&mut self, end: EndResult) -> Vec<Move> {
        self.is_over = true;
        self.awaits = Awaits::Nothing;
        vec![Move::Over(end)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::machine::{
        ownership::{Evidence, RunTag},
        time::AwsTime,
    };

    fn refused(kind: RefusalKind) -> Result<(), Refusal> {
        Err(Refusal { kind, text: "no".to_owned() })
    }

    fn begun(protected: bool) -> (Ending, Vec<Move>) {
        let times = (Duration::from_secs(5), Duration::from_mins(15));
        Ending::begin(Decision::End, Ownership::Ours, protected, Moment::START, times)
    }

    #[test]
    fn every_refusal_has_its_answer() {
        let help = Move::Help(Obstacle::Said("no".to_owned()));
        for (kind, wanted) in [
            (RefusalKind::Other, vec![Move::Unprotect]),
            (RefusalKind::Throttled, vec![Move::Look]),
            (RefusalKind::Denied, vec![help, Move::Look]),
        ] {
            let (mut ending, first) = begun(false);
            assert_eq!(first, [Move::Terminate], "the request goes out first");
            assert_eq!(ending.termination_answered(refused(kind)), wanted, "{kind:?}");
        }
    }

    #[test]
    fn protection_is_lifted_first_where_it_is_known_and_once_at_once_where_it_is_not() {
        let (mut ending, first) = begun(true);
        assert_eq!(first, [Move::Unprotect]);
        assert_eq!(ending.protection_answered(Ok(())), [Move::Terminate]);
        assert_eq!(ending.termination_answered(Ok(())), [Move::Look]);

        let (mut ending, _) = begun(false);
        assert_eq!(ending.termination_answered(refused(RefusalKind::Other)), [Move::Unprotect]);
        let denied = refused(RefusalKind::Denied);
        assert_eq!(ending.protection_answered(denied), [Move::Terminate]);
        assert_eq!(
            ending.termination_answered(refused(RefusalKind::Other)),
            [Move::Look],
            "where lifting does not help, the pauses hold"
        );
    }

    fn seen(state: State) -> AwsAnswer<Described> {
        let evidence = Evidence {
            tag: RunTag::This,
            created: AwsTime(0),
            matches_request: true,
            has_new_steps: true,
        };
        AwsAnswer::Found(Described { state, evidence, protected: false, was_ready: true })
    }

    #[test]
    fn a_withdrawn_end_requests_nothing_more_and_waits_for_what_was_accepted() {
        let later = |seconds| Moment::START.after(Duration::from_secs(seconds));
        let (mut ending, _) = begun(false);
        assert_eq!(ending.termination_answered(Ok(())), [Move::Look]);
        ending.withdraw(true);
        assert_eq!(ending.looked(later(1), &seen(State::Running)), [], "it may still end");
        assert_eq!(ending.woke(later(6)), [Move::Look], "nothing is requested");
        let mut ended = ending.clone();
        assert_eq!(ending.looked(later(7), &seen(State::Running)), [Move::LetLive]);
        assert_eq!(ended.looked(later(7), &seen(State::Terminating)), []);
        assert_eq!(ended.looked(later(60), &seen(State::Over)), [Move::Over(EndResult::Confirmed)]);

        let (mut ending, _) = begun(false);
        ending.withdraw(true);
        assert_eq!(
            ending.termination_answered(refused(RefusalKind::Other)),
            [Move::Look],
            "protection stays"
        );
        ending.withdraw(false);
        assert_eq!(ending.looked(later(1), &seen(State::Running)), []);
        assert_eq!(ending.woke(later(6)), [Move::Unprotect], "it is unsafe after all");
    }
}
