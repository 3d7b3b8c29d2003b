//! The account watcher, event by event. Whole histories are in `integration/simulation`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::watch::machine::{
    account::{
        event::{
            AccountConclusion, AccountDescribed, AccountList, AccountListed, AccountLook,
            AccountQuestion,
        },
        plan::AccountLimits,
    },
    event::{AwsAnswer, Judgement, Refusal, RefusalKind},
};

type Action = AccountAction<&'static str, u32>;
type Event = AccountEvent<&'static str, u32>;
type Notice = AccountNotice<&'static str, u32>;

const IRELAND: &str = "eu-west-1";
/// When all clusters of these tests were created.
const CREATED: AwsTime = AwsTime(1_000_000_000);

fn plan() -> AccountPlan<&'static str, u32> {
    AccountPlan {
        places: BTreeSet::from([IRELAND]),
        limits: AccountLimits {
            interval: Duration::from_secs(30),
            judge_within: Duration::from_mins(15),
            termination: Duration::from_mins(15),
            drift: Duration::from_mins(15),
            terminations_per_hour: 1,
        },
        once: false,
        seen_until: BTreeMap::new(),
        known: BTreeMap::new(),
        over: BTreeMap::new(),
        terminated: Vec::new(),
        seed: 1,
        #[cfg(feature = "mutants")]
        mutant: None,
    }
}

const PASSED: Judgement = Judgement {
    unknown: false,
    details_known: true,
    groups_known: true,
    steps_known: true,
    ..Judgement::NOTHING
};
const FAILED: Judgement = Judgement { failed: true, ..PASSED };

/// What EMR and the checks would say of a cluster.
#[derive(Clone, Copy)]
struct Truth {
    state: State,
    judgement: Judgement,
    may_end: bool,
}

/// A watcher, and a world that answers every question at once, one second later.
struct World {
    watcher: AccountWatcher<&'static str, u32>,
    clusters: BTreeMap<u32, Truth>,
    now: u64,
    wake: Option<Moment>,
    waiting: Vec<Action>,
    notices: Vec<Notice>,
    noted: Vec<AccountEntry<&'static str, u32>>,
    terminated: Vec<u32>,
    questions: Vec<AccountQuestion<&'static str, u32>>,
    refuses: bool,
    /// In no list, and not to be described.
    hidden: BTreeSet<u32>,
    /// One look at a security configuration serves all clusters.
    shares_configurations: bool,
    conclusion: Option<AccountConclusion<&'static str, u32>>,
}

impl World {
    fn new(plan: AccountPlan<&'static str, u32>, clusters: &[(u32, Truth)]) -> Self {
        let mut watcher = AccountWatcher::new(plan);
        let waiting = watcher.start(Moment::START);
        let mut world = Self {
            watcher,
            clusters: clusters.iter().copied().collect(),
            now: 0,
            wake: None,
            waiting: Vec::new(),
            notices: Vec::new(),
            noted: Vec::new(),
            terminated: Vec::new(),
            questions: Vec::new(),
            refuses: false,
            hidden: BTreeSet::new(),
            shares_configurations: false,
            conclusion: None,
        };
        world.take(waiting);
        world
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                AccountAction::Wake(at) => self.wake = Some(at),
                AccountAction::Note(entry) => self.noted.push(entry),
                AccountAction::Tell(notice) => self.notices.push(notice),
                AccountAction::Finish(conclusion) => self.conclusion = Some(conclusion),
                asked => self.waiting.push(asked),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let now = Moment(Duration::from_secs(self.now));
        let actions = self.watcher.handle(now, event);
        self.take(actions);
    }

    /// Lets so many seconds pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            for asked in std::mem::take(&mut self.waiting) {
                if let Some(event) = self.answer(asked) {
                    self.tell(event);
                }
            }
            if self.wake.is_some_and(|at| at <= Moment(Duration::from_secs(self.now))) {
                self.tell(AccountEvent::Woke);
            }
        }
    }

    fn answer(&mut self, asked: Action) -> Option<Event> {
        match asked {
            AccountAction::Ask(question) => {
                self.questions.push(question.clone());
                Some(self.reply(&question))
            }
            AccountAction::Terminate(at, id) => {
                self.terminated.push(id);
                if self.refuses {
                    let refusal =
                        Refusal { kind: RefusalKind::Throttled, text: "slow down".to_owned() };
                    return Some(AccountEvent::TerminationAnswered(at, id, Err(refusal)));
                }
                self.clusters.get_mut(&id)?.state = State::Terminating;
                Some(AccountEvent::TerminationAnswered(at, id, Ok(())))
            }
            AccountAction::Unprotect(at, id) => {
                Some(AccountEvent::ProtectionAnswered(at, id, Ok(())))
            }
            _ => None,
        }
    }

    fn reply(&self, question: &AccountQuestion<&'static str, u32>) -> Event {
        let judgement =
            |id| self.clusters.get(&id).map_or(Judgement::NOTHING, |truth| truth.judgement);
        match *question {
            AccountQuestion::List { place, number, .. } => {
                let shown = self.clusters.iter().filter(|(id, _)| !self.hidden.contains(id));
                let listed = shown.map(|(id, truth)| AccountListed {
                    id: *id,
                    state: truth.state,
                    created: CREATED,
                });
                let list = AccountList { clusters: listed.collect(), at: Some(CREATED), calls: 1 };
                AccountEvent::Listed(place, number, AwsAnswer::Found(list))
            }
            AccountQuestion::Look { place, id, fresh, number, .. } => {
                let throttled = || AwsAnswer::Failed("slow down".to_owned());
                let described = self.clusters.get(&id).map_or(AwsAnswer::Absent, |truth| {
                    AwsAnswer::Found(AccountDescribed {
                        state: truth.state,
                        created: CREATED,
                        protected: false,
                        may_end: truth.may_end,
                    })
                });
                let is_hidden = self.hidden.contains(&id);
                let described = if is_hidden { throttled() } else { described };
                let judgement = if is_hidden { Judgement::NOTHING } else { judgement(id) };
                let asked_configuration = fresh || !self.shares_configurations;
                let look = AccountLook { described, judgement, fresh, number, asked_configuration };
                AccountEvent::Looked(place, id, look)
            }
            AccountQuestion::Details { place, id, .. } => {
                AccountEvent::Detailed(place, id, judgement(id))
            }
        }
    }

    fn count(&self, notice: &Notice) -> usize {
        self.notices.iter().filter(|told| *told == notice).count()
    }
}

fn living(judgement: Judgement, may_end: bool) -> Truth {
    Truth { state: State::Running, judgement, may_end }
}

/// EMR's lists show a new cluster late. One that an earlier sentinel found by an event need not be
/// in the first lists of a later one.
#[test]
fn a_known_cluster_that_no_list_has_shown_yet_is_not_taken_for_over() {
    let mut plan = plan();
    plan.known.insert((IRELAND, 1), KnownCluster::default());
    let mut world = World::new(plan, &[(1, living(FAILED, false))]);
    world.hidden.insert(1);
    world.pass(900);
    assert_eq!(world.count(&AccountNotice::Over(IRELAND, 1, AccountVerdict::Unjudged)), 0);
    world.hidden.clear();
    world.pass(600);
    assert_eq!(world.count(&AccountNotice::Found(IRELAND, 1)), 0);
    assert_eq!(world.count(&AccountNotice::Unsafe(IRELAND, 1)), 1);
}

#[test]
fn an_unsafe_cluster_is_told_at_once_and_terminated_after_a_second_look() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true))]);
    world.pass(60);
    assert_eq!(
        world.notices,
        [
            AccountNotice::Found(IRELAND, 1),
            AccountNotice::Unsafe(IRELAND, 1),
            AccountNotice::Ending(IRELAND, 1),
        ]
    );
    let looks = world.questions.iter().filter(|question| {
        matches!(question, AccountQuestion::Look { fresh: true, steps: true, .. })
    });
    assert_eq!(looks.count(), 1);
    assert_eq!(world.terminated, [1]);
    assert_eq!(
        world.noted[1..],
        [AccountEntry::ToldUnsafe(IRELAND, 1), AccountEntry::Ending(IRELAND, 1)]
    );
    world.clusters.get_mut(&1).unwrap().state = State::Over;
    world.pass(60);
    assert_eq!(
        world.notices[3..],
        [
            AccountNotice::EndConfirmed(IRELAND, 1),
            AccountNotice::Over(IRELAND, 1, AccountVerdict::Unsafe),
        ]
    );
}

#[test]
fn an_unsafe_cluster_whose_rule_is_to_alert_goes_on() {
    let mut world = World::new(plan(), &[(1, living(FAILED, false))]);
    world.pass(3_600);
    assert_eq!(world.notices[1..], [AccountNotice::Unsafe(IRELAND, 1)]);
    assert_eq!(world.terminated, [0; 0]);
}

#[test]
fn a_cluster_that_is_undecided_is_told_and_never_terminated() {
    let mut world = World::new(plan(), &[(1, living(Judgement::NOTHING, true))]);
    world.pass(3_600);
    assert_eq!(world.notices[1..], [AccountNotice::Unjudged(IRELAND, 1)]);
    assert_eq!(world.noted[1..], [AccountEntry::ToldUnjudged(IRELAND, 1)]);
    assert_eq!(world.terminated, [0; 0]);
}

#[test]
fn a_second_look_that_passes_clears() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true))]);
    while world.count(&AccountNotice::Unsafe(IRELAND, 1)) == 0 {
        world.pass(1);
    }
    world.clusters.get_mut(&1).unwrap().judgement = PASSED;
    world.pass(60);
    assert_eq!(world.count(&AccountNotice::Cleared(IRELAND, 1)), 1);
    assert_eq!(world.terminated, [0; 0]);
}

#[test]
fn beyond_the_limit_it_is_told_once_and_terminated_when_the_hour_has_room() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true)), (2, living(FAILED, true))]);
    world.pass(3_500);
    assert_eq!(world.terminated, [1]);
    assert_eq!(world.count(&AccountNotice::Limited(IRELAND, 2)), 1);
    world.pass(300);
    assert_eq!(world.terminated, [1, 2]);
    assert_eq!(world.count(&AccountNotice::Limited(IRELAND, 2)), 1);
}

#[test]
fn what_an_earlier_sentinel_knew_is_not_told_again_and_what_it_terminated_is_followed() {
    let known = |told_unsafe, ending| KnownCluster { told_unsafe, told_unjudged: false, ending };
    let plan = AccountPlan {
        known: BTreeMap::from([
            ((IRELAND, 1), known(true, false)),
            ((IRELAND, 2), known(true, true)),
        ]),
        ..plan()
    };
    let ending = Truth { state: State::Terminating, ..living(FAILED, true) };
    let mut world = World::new(plan, &[(1, living(FAILED, false)), (2, ending)]);
    world.pass(60);
    assert_eq!(world.notices, []);
    assert_eq!(world.terminated, [0; 0]);
    world.clusters.get_mut(&2).unwrap().state = State::Over;
    world.pass(60);
    assert_eq!(
        world.notices,
        [
            AccountNotice::EndConfirmed(IRELAND, 2),
            AccountNotice::Over(IRELAND, 2, AccountVerdict::Unsafe),
        ]
    );
}

#[test]
fn a_watch_that_judges_once_ends_when_the_unsafe_clusters_are_over() {
    let plan = AccountPlan { once: true, ..plan() };
    let mut world = World::new(plan, &[(1, living(FAILED, true)), (2, living(PASSED, true))]);
    world.pass(60);
    assert_eq!(world.conclusion, None, "an end is awaited");
    world.clusters.get_mut(&1).unwrap().state = State::Over;
    world.pass(60);
    let conclusion = world.conclusion.unwrap();
    assert_eq!(
        conclusion.clusters,
        [
            ((IRELAND, 1), AccountVerdict::Unsafe, true),
            ((IRELAND, 2), AccountVerdict::Passed, false),
        ]
    );
    assert_eq!((conclusion.unseen, conclusion.unconfirmed), (vec![], vec![]));
}

#[test]
fn a_stop_ends_the_watch_at_once_and_names_what_is_not_confirmed() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true))]);
    world.refuses = true;
    world.pass(60);
    assert!(world.terminated.len() > 1, "a refused request is repeated");
    world.tell(AccountEvent::StopAsked);
    assert_eq!(world.conclusion.unwrap().unconfirmed, [(IRELAND, 1)]);
}

#[test]
fn an_event_with_an_id_that_emr_does_not_know_leaves_nothing_behind() {
    let mut world = World::new(plan(), &[]);
    for id in 0..10_000 {
        world.tell(AccountEvent::Pushed(IRELAND, id));
    }
    assert!(world.watcher.places[IRELAND].remembered() <= 64);
    world.pass(600);
    assert_eq!(world.watcher.places[IRELAND].remembered(), 0);
    assert_eq!(world.notices, []);
}

#[test]
fn a_cluster_that_an_event_names_is_judged_before_the_next_list() {
    let mut world = World::new(plan(), &[]);
    world.pass(600);
    world.clusters.insert(1, living(FAILED, false));
    world.tell(AccountEvent::Pushed(IRELAND, 1));
    world.pass(2);
    assert_eq!(world.count(&AccountNotice::Unsafe(IRELAND, 1)), 1);
}

#[test]
fn a_cluster_whose_instances_never_appear_is_looked_at_again_nevertheless() {
    let unseen = Judgement { unseen: true, ..PASSED };
    let mut world = World::new(plan(), &[(1, living(unseen, false))]);
    world.pass(2 * 3_600);
    let looks = world
        .questions
        .iter()
        .filter(|question| matches!(question, AccountQuestion::Look { steps: true, .. }));
    assert!(looks.count() >= 8, "one at the start, and one in each quarter of an hour");
}

#[test]
fn a_place_that_is_found_is_watched_from_then_on_with_what_lived_since() {
    let mut plan = plan();
    plan.places.clear();
    plan.known.insert((IRELAND, 1), KnownCluster { told_unsafe: true, ..KnownCluster::default() });
    let brief = Truth { state: State::Over, ..living(PASSED, false) };
    let mut world = World::new(plan, &[(1, living(FAILED, false)), (2, brief)]);
    world.pass(600);
    assert_eq!((world.questions.len(), world.notices.len()), (0, 0));
    let since = AwsTime(CREATED.0 - 1);
    world.tell(AccountEvent::PlaceFound(IRELAND, Some(since)));
    let first = world.waiting.first().cloned();
    let Some(AccountAction::Ask(AccountQuestion::List { since: asked, .. })) = first else {
        panic!("{first:?}")
    };
    assert_eq!(asked, Some(since));
    world.pass(600);
    // The one that an earlier sentinel reported is not reported again; the brief one is seen.
    assert_eq!(world.count(&AccountNotice::Unsafe(IRELAND, 1)), 0);
    assert_eq!(world.count(&AccountNotice::Found(IRELAND, 1)), 0);
    assert_eq!(world.count(&AccountNotice::Found(IRELAND, 2)), 1);
    let asked = world.questions.len();
    world.tell(AccountEvent::PlaceFound(IRELAND, None));
    world.pass(1);
    assert!(world.questions.len() <= asked + 1, "it is watched already");
}

#[test]
fn a_place_that_is_gone_is_asked_no_more_and_remembered_if_it_comes_back() {
    let mut world = World::new(plan(), &[(1, living(FAILED, false)), (2, living(PASSED, false))]);
    world.pass(120);
    assert_eq!(world.count(&AccountNotice::Unsafe(IRELAND, 1)), 1);
    world.tell(AccountEvent::PlaceGone(IRELAND));
    let asked = world.questions.len();
    world.pass(3_600);
    // What was under way is answered, and changes nothing.
    assert!(world.questions.len() <= asked + 2, "{:?}", &world.questions[asked..]);
    assert!(!world.notices.iter().any(|notice| matches!(notice, AccountNotice::SightLost(..))));
    world.tell(AccountEvent::PlaceFound(IRELAND, None));
    world.pass(600);
    assert!(world.questions.len() > asked + 2);
    assert_eq!(world.count(&AccountNotice::Unsafe(IRELAND, 1)), 1, "it was reported before");
    assert_eq!(world.count(&AccountNotice::Found(IRELAND, 2)), 1);
}

#[test]
fn a_termination_in_a_place_that_is_gone_is_not_confirmed() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true))]);
    world.refuses = true;
    world.pass(60);
    assert!(!world.terminated.is_empty());
    world.tell(AccountEvent::PlaceGone(IRELAND));
    let unconfirmed = AccountNotice::EndUnconfirmed(IRELAND, 1, Obstacle::Unknown);
    assert_eq!(world.count(&unconfirmed), 1);
    let requests = world.terminated.len();
    world.pass(3_600);
    assert_eq!(world.terminated.len(), requests);
}

#[test]
fn a_stop_names_a_place_that_is_gone_and_what_is_open_there() {
    let mut world = World::new(plan(), &[(1, living(FAILED, true)), (2, living(PASSED, true))]);
    world.refuses = true;
    world.pass(60);
    world.tell(AccountEvent::PlaceGone(IRELAND));
    world.tell(AccountEvent::StopAsked);
    let conclusion = world.conclusion.unwrap();
    let unseen: Vec<&str> = conclusion.unseen.iter().map(|(at, _)| *at).collect();
    assert_eq!((unseen, conclusion.unconfirmed), (vec![IRELAND], vec![(IRELAND, 1)]));
    // What it was known to be is not known any more; what was reported stays.
    assert_eq!(
        conclusion.clusters,
        [
            ((IRELAND, 1), AccountVerdict::Unsafe, false),
            ((IRELAND, 2), AccountVerdict::Unjudged, false),
        ]
    );
}

#[test]
fn a_stop_names_no_place_that_came_back() {
    let mut world = World::new(plan(), &[(1, living(FAILED, false))]);
    world.pass(60);
    world.tell(AccountEvent::PlaceGone(IRELAND));
    world.tell(AccountEvent::PlaceFound(IRELAND, None));
    world.pass(60);
    world.tell(AccountEvent::StopAsked);
    let conclusion = world.conclusion.unwrap();
    assert_eq!((conclusion.unseen, conclusion.unconfirmed), (vec![], vec![]));
    assert_eq!(conclusion.clusters, [((IRELAND, 1), AccountVerdict::Unsafe, false)]);
}

#[test]
fn since_when_clusters_are_looked_for_in_a_place_that_is_found_is_noted() {
    let mut plan = plan();
    plan.places.clear();
    let mut world = World::new(plan, &[]);
    // A later sentinel finds the place at its start, and would not know it.
    let since = AwsTime(CREATED.0 - 1);
    world.tell(AccountEvent::PlaceFound(IRELAND, Some(since)));
    world.pass(60);
    assert_eq!(world.noted, [AccountEntry::SeenUntil(IRELAND, since)]);
    // A time that an earlier sentinel, or this one, has noted counts, and is not noted again.
    world.tell(AccountEvent::PlaceGone(IRELAND));
    world.tell(AccountEvent::PlaceFound(IRELAND, Some(CREATED)));
    world.pass(60);
    assert_eq!(world.noted.len(), 1);
}

#[test]
fn a_place_that_comes_back_has_no_more_of_the_quota_than_before() {
    let clusters: Vec<(u32, Truth)> = (0..20).map(|id| (id, living(PASSED, false))).collect();
    let mut world = World::new(plan(), &clusters);
    world.pass(600);
    let looks = |world: &World| {
        let is_look =
            |question: &&AccountQuestion<_, _>| matches!(question, AccountQuestion::Look { .. });
        world.questions.iter().filter(is_look).count()
    };
    let before = looks(&world);
    for _ in 0..3 {
        world.tell(AccountEvent::PlaceGone(IRELAND));
        world.tell(AccountEvent::PlaceFound(IRELAND, None));
        world.pass(2);
    }
    // DescribeSecurityConfiguration takes 5, and one more every two seconds.
    let asked = looks(&world) - before;
    assert!((5..=9).contains(&asked), "{asked}");
}

#[test]
fn many_launches_at_once_are_reported_as_soon_as_they_can_be_described() {
    let seconds_until_all_are_told = |shares_configurations| {
        let mut world = World::new(plan(), &[]);
        world.shares_configurations = shares_configurations;
        // The buckets are full.
        world.pass(600);
        for id in 0..50 {
            world.clusters.insert(id, living(FAILED, false));
        }
        let mut seconds = 0;
        while (0..50).any(|id| world.count(&AccountNotice::Unsafe(IRELAND, id)) == 0) {
            world.pass(1);
            seconds += 1;
        }
        seconds
    };
    // A list shows them within 2 minutes. DescribeCluster then takes 10 and one more each second;
    // DescribeSecurityConfiguration 5 and one more every two seconds.
    let shared = seconds_until_all_are_told(true);
    assert!((40..=120 + 45).contains(&shared), "{shared}");
    let each = seconds_until_all_are_told(false);
    assert!(each >= shared + 40, "{each}, and {shared} if one look serves all");
}

#[test]
fn a_watch_that_judges_once_describes_a_cluster_again_whose_instances_came_later() {
    let starting = Truth {
        state: State::Starting,
        judgement: Judgement { unseen: true, ..PASSED },
        may_end: false,
    };
    let mut world = World::new(AccountPlan { once: true, ..plan() }, &[(1, starting)]);
    world.pass(120);
    let looks = |world: &World| {
        let is_look =
            |question: &&AccountQuestion<_, _>| matches!(question, AccountQuestion::Look { .. });
        world.questions.iter().filter(is_look).count()
    };
    let before = looks(&world);
    world.clusters.get_mut(&1).unwrap().state = State::Running;
    world.pass(120);
    assert_eq!(looks(&world), before + 1);
    world.clusters.get_mut(&1).unwrap().judgement = PASSED;
    world.pass(60);
    let conclusion = world.conclusion.unwrap();
    assert_eq!(conclusion.clusters, [((IRELAND, 1), AccountVerdict::Passed, false)]);
}
