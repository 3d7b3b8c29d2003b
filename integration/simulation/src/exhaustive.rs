//! All orders in a small scope: two clusters, one crash, one stop, one failed response. The sweeps
//! use random choices; this tries every order of responses and events, and every place of the
//! crash, by a depth-first search over the states of the watcher and of a small world. Equal states
//! are visited once.

pub mod scope;
mod small;

use std::collections::HashSet;

use crate::{
    exhaustive::{scope::Scope, small::Small},
    run::Options,
};

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// The number of visited states.
    pub states: usize,
    /// The number of completed paths.
    pub ends: usize,
    /// Whether the search was exhaustive.
    pub is_complete: bool,
    /// The violation, with the path to it.
    pub failure: Option<String>,
}

/// Searches a scope, up to `most` states.
#[must_use]
pub fn explore(scope: &Scope, most: usize, options: Options) -> Visit {
    let mut visit = Visit { is_complete: true, ..Visit::default() };
    let mut seen: HashSet<u64> = HashSet::new();
    let mut open = vec![Small::new(scope, options)];
    while let Some(state) = open.pop() {
        if let Some(failure) = state.failure() {
            visit.failure = Some(failure);
            return visit;
        }
        if !seen.insert(state.fingerprint()) {
            continue;
        }
        visit.states += 1;
        if visit.states >= most {
            visit.is_complete = false;
            return visit;
        }
        let next = state.successors();
        if next.is_empty() {
            visit.ends += 1;
            if let Some(failure) = state.end() {
                visit.failure = Some(failure);
                return visit;
            }
        }
        open.extend(next);
    }
    visit
}
