//! Simulates whole runs around the guard's watcher, a pure state machine: EMR, the runner, other
//! launchers, a person, and faults of AWS, of the machine, and of the guard itself. Laws are
//! checked against the truth of each history.
//!
//! There are no clocks, threads, sockets or processes inside a history: one seed gives one history.
//! [`draw`] makes its decisions, [`engine`] runs them.
//!
//! `simulate --history SEED` prints a history, with the truth of its clusters first; `simulate
//! --seeds FROM..TO` runs many, and shows a simple one for each law that fails ([`shrink`]), with
//! the command that shows it again. [`exhaustive`]
//! tries every order of responses and events in small scopes. Each deliberate fault of the watcher
//! ([`watch::machine::mutants`]) must break a law: otherwise the laws would be too weak.
//!
//! The clusters' lives are a model of their own, [`model::cluster`], which computes states and does
//! not step through them. The simulated AWS of the tests (`emr-world`) could be used instead, but
//! it takes 120 µs for the life of one cluster and 240 µs for those of four, as much as the rest of
//! a history. It also has only the present state, while ListClusters shows the past. A test checks
//! that both models agree.

pub mod accounts;
pub mod command_line;
pub mod coverage;
pub mod draw;
pub mod engine;
pub mod exhaustive;
pub mod guard;
pub mod history;
pub mod laws;
pub mod many;
pub mod model;
pub mod objects;
pub mod random;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod simpler;
pub mod sweep;

/// The guard's watcher, included by its source files: nothing else of the guard is built.
#[path = "../../../src/watch"]
pub mod watch {
    /// The state machine.
    pub mod machine {
        pub mod account;
        mod budget;
        mod cluster;
        pub mod conclusion;
        pub mod ending;
        pub mod event;
        pub mod mutants;
        pub mod ownership;
        mod pace;
        pub mod plan;
        mod runner;
        pub mod state;
        pub mod termination;
        pub mod time;
        pub mod watcher;
    }
}

/// The guard's repair of one object, included by its source files.
#[path = "../../../src/reencrypt"]
pub mod reencrypt {
    /// The state machine.
    pub mod machine {
        pub mod choice;
        pub mod event;
        pub mod job;
        pub mod mutants;
        pub mod plan;
        pub mod repair;
        pub mod snapshot;
        pub mod state;
        pub mod verdict;
        pub mod versioning;
    }
}
