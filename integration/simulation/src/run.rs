//! Runs the history of a seed.

#[cfg(feature = "mutants")]
use crate::watch::machine::mutants::Mutant;
use crate::{
    draw::draw, engine::Engine, history::History, model::cluster::Id, scenario::Scenario,
    watch::machine::watcher::Watcher,
};

/// The options of histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The deliberate fault of the watcher.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

/// The history of a seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> History {
    live_through(draw(seed), options)
}

/// The history of these decisions.
#[must_use]
pub fn live_through(scenario: Scenario, options: Options) -> History {
    Engine::<Watcher<Id>>::new(scenario, options).run()
}
