//! The laws detect obviously wrong state machines.

use emr_simulation::{
    draw::draw,
    engine::Engine,
    guard::Machine,
    laws,
    model::cluster::Id,
    run::{Options, run},
    watch::machine::{
        conclusion::WatchConclusion,
        event::{Action, AwsAnswer, Event, Question},
        plan::{Plan, WatchMode},
        time::Moment,
    },
};

#[test]
fn one_seed_gives_one_history() {
    for seed in 0..200 {
        let (first, second) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!(first.records, second.records, "seed {seed}");
    }
}

/// The letters of the laws that fail in one of these histories.
fn broken<M: Machine>(seeds: std::ops::Range<u64>) -> Vec<&'static str> {
    let mut broken: Vec<&str> = seeds
        .flat_map(|seed| laws::check(&Engine::<M>::new(draw(seed), Options::default()).run()))
        .map(|violation| &violation.law[..3])
        .collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

fn empty() -> Action<Id> {
    Action::Finish(WatchConclusion {
        clusters: Vec::new(),
        doubts: Vec::new(),
        open: Vec::new(),
        search_trouble: None,
        undecided: Vec::new(),
    })
}

/// It does nothing at all.
#[derive(Clone)]
struct Silent;

impl Machine for Silent {
    fn new(_: Plan<Id>) -> Self {
        Self
    }

    fn start(&mut self, _: Moment) -> Vec<Action<Id>> {
        Vec::new()
    }

    fn handle(&mut self, _: Moment, _: Event<Id>) -> Vec<Action<Id>> {
        Vec::new()
    }
}

#[test]
fn a_guard_that_does_nothing_breaks_the_laws_on_knowledge_endings_and_limits() {
    let broken = broken::<Silent>(0..300);
    for law in ["(b)", "(d)", "(e)"] {
        assert!(broken.contains(&law), "{law} is not among {broken:?}");
    }
}

/// It terminates every cluster that it finds.
#[derive(Clone)]
struct EndsAll(WatchMode);

impl Machine for EndsAll {
    fn new(plan: Plan<Id>) -> Self {
        Self(plan.mode)
    }

    fn start(&mut self, _: Moment) -> Vec<Action<Id>> {
        vec![Action::Ask(Question::Search)]
    }

    fn handle(&mut self, _: Moment, event: Event<Id>) -> Vec<Action<Id>> {
        match event {
            Event::Listed(AwsAnswer::Found(listed)) if !listed.is_empty() => {
                listed.into_iter().map(|listing| Action::Terminate(listing.id)).collect()
            }
            Event::Listed(_) if self.0 == WatchMode::Run => vec![Action::Ask(Question::Search)],
            Event::OutputEnded | Event::StopAsked => vec![empty()],
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_guard_that_ends_whatever_it_finds_breaks_the_laws_on_permission_and_good_clusters() {
    let broken = broken::<EndsAll>(0..300);
    for law in ["(a)", "(g)", "(j)"] {
        assert!(broken.contains(&law), "{law} is not among {broken:?}");
    }
}

/// It confirms every run without a poll.
#[derive(Clone)]
struct Confirms;

impl Machine for Confirms {
    fn new(_: Plan<Id>) -> Self {
        Self
    }

    fn start(&mut self, _: Moment) -> Vec<Action<Id>> {
        Vec::new()
    }

    fn handle(&mut self, _: Moment, event: Event<Id>) -> Vec<Action<Id>> {
        match event {
            Event::OutputEnded | Event::StopAsked => vec![empty()],
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_guard_that_confirms_without_a_look_breaks_the_laws_on_confirmation_and_exit_codes() {
    let broken = broken::<Confirms>(0..300);
    for law in ["(b)", "(c)", "(d)", "(h)"] {
        assert!(broken.contains(&law), "{law} is not among {broken:?}");
    }
}
