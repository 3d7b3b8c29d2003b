//! All orders of a small scope: two clusters, one crash, one stop, one answer that fails. Where the
//! sweeps draw, this tries every order in which answers and events can come, and every place of the
//! crash, by a search in depth over the state of the watcher and of a small world. States that are
//! alike are visited once.

pub mod scope;
mod small;

use std::collections::HashSet;

use crate::{
    exhaustive::{scope::Scope, small::Small},
    run::Options,
};

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// So many states were visited.
    pub states: usize,
    /// So many ways came to their end.
    pub ends: usize,
    /// The search went through all of them.
    pub is_complete: bool,
    /// What is wrong, with the way there.
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
