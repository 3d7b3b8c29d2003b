//! The event queue, in the order of time.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::{
    model::{
        cluster::Id,
        faults::{FaultKind, Operation},
        knowledge::{RawDetails, RawLook},
        runner::RunnerItem,
    },
    scenario::Ms,
    watch::machine::event::{Event, Question},
};

/// The calls of a guard to AWS, with their predetermined results.
#[derive(Clone, Debug)]
pub(super) enum CallKind {
    /// A question, with the result of each part.
    Question(Question<Id>, Vec<(Operation, crate::model::faults::Fate)>),
    /// TerminateJobFlows.
    Terminate(Id, crate::model::faults::Fate),
    /// SetTerminationProtection.
    Unprotect(Id, crate::model::faults::Fate),
}

/// A call on its way to AWS.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The number of the guard.
    pub(super) life: usize,
    /// When it was sent.
    pub(super) sent: Ms,
    /// The call.
    pub(super) kind: CallKind,
}

/// A response on its way to the guard.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// As it is.
    Event(Event<Id>),
    /// The response of DescribeCluster in a poll whose other calls are not answered yet.
    DescribedFirst(Id, RawLook),
    /// The parts of a poll.
    Look(Id, RawLook),
    /// The parts of a detailed poll.
    Details(Id, RawDetails),
}

/// Something that comes.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A guard starts.
    StartGuard,
    /// Another launcher's cluster is created.
    Other(usize),
    /// A requested cluster is created.
    Create {
        /// The number of the request.
        request: usize,
        /// It is a request of an orphaned process.
        survivor: bool,
    },
    /// The log names clusters.
    Forged(usize),
    /// A log line reaches the guard.
    Log(Event<Id>),
    /// The runner does something.
    Runner(RunnerItem),
    /// A call reaches AWS.
    Serve(Box<Call>),
    /// A response reaches the guard.
    Deliver {
        /// Which.
        life: usize,
        /// The answer.
        answer: Box<Reply>,
    },
    /// The guard requested to be woken.
    Wake {
        /// Which.
        life: usize,
    },
    /// The guard is asked to stop.
    Stop {
        /// Which.
        life: usize,
    },
    /// The guard dies.
    Crash {
        /// Which.
        life: usize,
        /// With its machine.
        power: bool,
    },
    /// The machine is suspended.
    Sleep {
        /// While this guard lives.
        life: usize,
        /// For so long.
        length: Ms,
        /// Its clock counts the suspended time.
        counted: bool,
    },
    /// It wakes.
    Awake {
        /// When it was suspended.
        from: Ms,
        /// The guard's clock counts the suspended time.
        counted: bool,
    },
    /// An EMR event reaches the guard.
    Push(Id),
    /// A person terminates a cluster manually.
    Person(Id),
}

impl Item {
    /// Whether it happens on the guard's machine, and so not while that is suspended.
    #[must_use]
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::StartGuard
            | Self::Forged(_)
            | Self::Log(_)
            | Self::Runner(_)
            | Self::Deliver { .. }
            | Self::Wake { .. }
            | Self::Stop { .. }
            | Self::Crash { .. }
            | Self::Push(_) => true,
            Self::Other(_)
            | Self::Create { .. }
            | Self::Serve(_)
            | Self::Sleep { .. }
            | Self::Awake { .. }
            | Self::Person(_) => false,
        }
    }
}

/// A text for a failed call.
#[must_use]
pub(super) fn text(kind: FaultKind, operation: Operation) -> String {
    format!("{operation:?}: {kind:?}")
}

#[derive(Clone, Debug)]
struct Entry {
    at: Ms,
    number: u32,
    item: Item,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest; at the same time, the first one added.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    entries: BinaryHeap<Entry>,
    number: u32,
}

impl Queue {
    /// Adds an event.
    pub(super) fn push(&mut self, at: Ms, item: Item) {
        self.number += 1;
        self.entries.push(Entry { at, number: self.number, item });
    }

    /// Removes the earliest event.
    pub(super) fn pop(&mut self) -> Option<(Ms, Item)> {
        self.entries.pop().map(|entry| (entry.at, entry.item))
    }
}
