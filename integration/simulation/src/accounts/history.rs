//! What happened in a history of an account.

use std::collections::BTreeSet;

use crate::{
    accounts::{
        cluster::{Cluster, Id, Place},
        scenario::AccountScenario,
    },
    model::faults::Operation,
    scenario::Ms,
    watch::machine::{
        account::event::{AccountConclusion, AccountEntry, AccountNotice},
        state::State,
    },
};

/// An answer about a cluster, as the sentinel got it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// About which.
    pub id: Id,
    /// The number of the question; none: a detailed look.
    pub number: Option<u64>,
    /// A check failed.
    pub failed: bool,
    /// A check is undecided.
    pub unknown: bool,
    /// It was described: its state, and whether its rule says that it ends.
    pub described: Option<(State, bool)>,
    /// Nothing known replaced a fact.
    pub fresh: bool,
    /// When AWS made it.
    pub served: Ms,
}

/// Something that happened to a sentinel.
#[derive(Clone, Debug)]
pub enum What {
    /// It started, and watches these places.
    Started(BTreeSet<Place>),
    /// It watches this place from now on. It may have been there, unseen, since this time.
    PlaceFound(Place, Ms),
    /// It cannot use this place any more.
    PlaceGone(Place),
    /// It was killed.
    Killed,
    /// People were notified.
    Told(AccountNotice<Place, Id>),
    /// An entry was written.
    Noted(AccountEntry<Place, Id>),
    /// A list was answered; when AWS made it.
    Listed(Place, Ms),
    /// A look was requested.
    Asked {
        /// About this cluster.
        id: Id,
        /// The number of the question.
        number: u64,
    },
    /// An answer came, and was handled.
    Answered(Answer),
    /// TerminateJobFlows was sent.
    Terminate(Id),
    /// EMR said that it accepted it.
    Accepted(Id),
    /// All actions of an event were performed.
    Done,
    /// The watch ended.
    Finished(AccountConclusion<Place, Id>),
}

/// An entry of the history.
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: Ms,
    /// Which sentinel.
    pub sentinel: usize,
    /// What.
    pub what: What,
}

/// A call of EMR.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// When.
    pub at: Ms,
    /// By which sentinel.
    pub sentinel: usize,
    /// Where.
    pub place: Place,
    /// Which.
    pub operation: Operation,
    /// It is a routine look at a cluster that was judged.
    pub routine: bool,
    /// It is about an id that does not exist.
    pub forged: bool,
}

/// A history.
#[derive(Clone, Debug)]
pub struct AccountHistory {
    /// The decisions.
    pub scenario: AccountScenario,
    /// The clusters, as they were at the end.
    pub clusters: Vec<Cluster>,
    /// What happened.
    pub records: Vec<Record>,
    /// All calls, in order.
    pub calls: Vec<Call>,
    /// How much each sentinel that lived at the end remembered.
    pub remembered: Vec<usize>,
    /// The most that one remembered immediately after forged events.
    pub peak: usize,
}

impl AccountHistory {
    /// The cluster with this id.
    #[must_use]
    pub fn cluster(&self, id: Id) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    /// The records of one sentinel.
    pub fn of(&self, sentinel: usize) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.sentinel == sentinel)
    }

    /// The records that say something: not the ends of events, nor lists of which nothing came.
    pub fn eventful(&self) -> impl Iterator<Item = &Record> {
        let is_kept =
            |record: &&Record| !matches!(record.what, What::Noted(AccountEntry::SeenUntil(..)));
        let mut records = self.records.iter().filter(is_kept).peekable();
        std::iter::from_fn(move || {
            loop {
                let record = records.next()?;
                let follows = |next: &&Record| {
                    (next.at, next.sentinel) == (record.at, record.sentinel)
                        && !matches!(next.what, What::Done | What::Listed(..))
                };
                match record.what {
                    What::Done => {}
                    What::Listed(..) if !records.peek().is_some_and(follows) => {}
                    _ => return Some(record),
                }
            }
        })
    }

    /// The history as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![format!("{:#?}", self.scenario)];
        let clusters = self.clusters.iter().map(|cluster| format!("{cluster:?}"));
        lines.extend(clusters);
        lines.extend(self.eventful().map(|record| {
            let seconds = record.at / 1_000;
            format!("{seconds:>6} s  {}  {:?}", record.sentinel, record.what)
        }));
        lines.join("\n")
    }
}
