//! What comes next, in the order of its time.

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

/// What a guard has sent to AWS, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) enum CallKind {
    /// A question, with what becomes of each part.
    Question(Question<Id>, Vec<(Operation, crate::model::faults::Fate)>),
    /// TerminateJobFlows.
    Terminate(Id, crate::model::faults::Fate),
    /// SetTerminationProtection.
    Unprotect(Id, crate::model::faults::Fate),
}

/// A call on its way to AWS.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Whose.
    pub(super) life: usize,
    /// When it was sent.
    pub(super) sent: Ms,
    /// What.
    pub(super) kind: CallKind,
}

/// An answer on its way to the guard.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// As it is.
    Event(Event<Id>),
    /// DescribeCluster's part of a look whose others are not answered yet.
    DescribedFirst(Id, RawLook),
    /// The parts of a look.
    Look(Id, RawLook),
    /// The parts of a look at what is asked less often.
    Details(Id, RawDetails),
}

/// Something that comes.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A guard starts.
    StartGuard,
    /// Another launcher's cluster comes into being.
    Other(usize),
    /// A requested cluster comes into being.
    Create {
        /// The number of the request.
        request: usize,
        /// It is that of what the runner left behind.
        survivor: bool,
    },
    /// The log names clusters.
    Forged(usize),
    /// A line of the log reaches the guard.
    Log(Event<Id>),
    /// The runner does something.
    Runner(RunnerItem),
    /// A call reaches AWS.
    Serve(Box<Call>),
    /// An answer reaches the guard.
    Deliver {
        /// Which.
        life: usize,
        /// The answer.
        answer: Box<Reply>,
    },
    /// The guard wanted to be woken.
    Wake {
        /// Which.
        life: usize,
    },
    /// The guard is told to stop.
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
    /// The machine falls asleep.
    Sleep {
        /// While this guard lives.
        life: usize,
        /// For so long.
        length: Ms,
        /// Its clock counts that time.
        counted: bool,
    },
    /// It wakes.
    Awake {
        /// It has slept since.
        from: Ms,
        /// The guard's clock counts that time.
        counted: bool,
    },
    /// An event of EMR's reaches the guard.
    Push(Id),
    /// A person ends a cluster by hand.
    Person(Id),
}

impl Item {
    /// It happens on the guard's machine, and not while that sleeps.
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
    /// The earliest is the greatest, and of one time what came first.
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
    /// Puts something into it.
    pub(super) fn push(&mut self, at: Ms, item: Item) {
        self.number += 1;
        self.entries.push(Entry { at, number: self.number, item });
    }

    /// What comes next.
    pub(super) fn pop(&mut self) -> Option<(Ms, Item)> {
        self.entries.pop().map(|entry| (entry.at, entry.item))
    }
}
