//! The laws: properties of every history, whatever happens in it. Each is a function over the truth
//! and all events, and returns a sentence about a violation.
//!
//! The bounds are constants with their reasons, in [`bounds`].

pub mod bounds;
pub mod facts;

mod confirmation;
mod crashes;
mod endings;
mod exit_codes;
pub mod good_runs;
mod knowledge;
mod limits;
mod permission;
mod quotas;

use crate::{history::History, laws::facts::Facts};

/// A law: it holds, or the sentence describes the violation.
pub type Law = fn(&History, &Facts) -> Result<(), String>;

/// All laws, by their names.
pub const LAWS: [(&str, Law); 10] = [
    ("(a) nothing is ended but what the ownership table and the settings allow", permission::ended),
    (
        "(b) no unsafe cluster of the run lives on unknown to a person and the journal",
        knowledge::no_unsafe_cluster_is_unknown,
    ),
    (
        "(c) no run is confirmed of which a required fact was not seen",
        confirmation::passed_means_seen,
    ),
    ("(d) an unsafe cluster is being terminated soon", endings::unsafe_clusters_end_soon),
    ("(e) every run ends within its limits", limits::every_run_ends),
    ("(f) after a crash the next starts come to the same verdict", crashes::same_verdict),
    ("(g) quotas are kept", quotas::kept),
    (
        "(h) the exit code and the last words follow from the truth",
        exit_codes::follow_from_the_truth,
    ),
    ("(i) a good run ends with the runner's own code", good_runs::end_as_the_runner_does),
    ("(j) no good cluster is ended", permission::no_good_cluster_ends),
];

/// A violated law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub law: &'static str,
    /// A description.
    pub why: String,
}

/// The laws that a history violates.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let facts = Facts::of(history);
    LAWS.iter()
        .filter_map(|(law, holds)| holds(history, &facts).err().map(|why| Violation { law, why }))
        .collect()
}
