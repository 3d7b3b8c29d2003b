//! What comes to the watcher, and what it asks for.

use crate::watch::machine::{
    conclusion::{Cause, Obstacle, WatchConclusion},
    ownership::{Evidence, Ownership},
    state::State,
    time::{AwsTime, Moment},
};

/// What asking AWS came to. Texts are for people; nothing is decided by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsAnswer<T> {
    /// AWS answered.
    Found(T),
    /// AWS answered that there is no such thing.
    Absent,
    /// AWS refused to say, or no usable answer came.
    Failed(String),
}

impl<T> AwsAnswer<T> {
    /// The answer, if one came.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::Failed(_) => None,
        }
    }
}

/// A cluster in ListClusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCluster<I> {
    /// Its id.
    pub id: I,
    /// It has the name of the run's clusters.
    pub has_job_name: bool,
    /// Its state.
    pub state: State,
}

/// A cluster in DescribeCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: State,
    /// Whose it is, by what AWS says.
    pub evidence: Evidence,
    /// Termination is refused at present.
    pub protected: bool,
    /// It got so far that it could run steps.
    pub was_ready: bool,
}

/// What a cluster has done of its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// A step was begun.
    pub begun: bool,
    /// A step is still to be done, or under way.
    pub open: bool,
    /// There are steps, and each is completed; on a cluster that stays: some are completed, and
    /// none is open.
    pub done: bool,
}

/// What the checks say of everything that is known of a cluster now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Judgement {
    /// A required check failed, by a fact that was read.
    pub failed: bool,
    /// A required check is undecided, though AWS has the answer.
    pub unknown: bool,
    /// A required check is undecided because what it looks at is not there yet, or was never seen.
    pub unseen: bool,
    /// A required check is undecided because AWS does not show what it looks at, and never will:
    /// nothing is waited for, and nothing speaks against the cluster.
    pub hidden: bool,
    /// Its instances or their volumes are what is missing.
    pub awaits_instances: bool,
    /// The questions that are asked less often were answered once.
    pub details_known: bool,
    /// Of these, what its groups are configured with.
    pub groups_known: bool,
    /// The steps were told.
    pub steps_known: bool,
    /// What became of them.
    pub work: Work,
}

impl Judgement {
    /// Before anything is known.
    pub const NOTHING: Self = Self {
        failed: false,
        unknown: true,
        unseen: false,
        hidden: false,
        awaits_instances: false,
        details_known: false,
        groups_known: false,
        steps_known: false,
        work: Work { begun: false, open: false, done: false },
    };

    /// Every required check is decided that can be, and none failed.
    #[must_use]
    pub fn passed_so_far(self) -> bool {
        !self.failed && !self.unknown
    }

    /// Every required check has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.passed_so_far() && !self.unseen && !self.hidden
    }
}

/// What one look at a cluster told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The cluster, where it was asked for or is known from earlier.
    pub described: AwsAnswer<Described>,
    /// What the checks say now.
    pub judgement: Judgement,
    /// ListSteps was asked by this very look, and answered.
    pub steps_told: bool,
}

/// How EMR refuses a request, as far as it matters for what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub kind: RefusalKind,
    /// What EMR said, for people.
    pub text: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// EMR has asked to slow down.
    Throttled,
    /// The guard may not.
    Denied,
    /// Something else: termination protection has no error code of its own.
    Other,
}

/// How the runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunnerEnd {
    /// It says that it has done its work.
    Succeeded,
    /// It says that it started nothing: no data, an earlier run unfinished, a lock, a busy cluster.
    StartedNothing,
    /// It failed by itself.
    Failed,
    /// A signal ended it.
    Killed,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<I> {
    /// The time that [`Action::Wake`] named has come.
    Woke,
    /// The runner's log names a cluster.
    Hint(I),
    /// The runner's log tells of steps.
    Activity,
    /// An event of EMR's tells of a cluster.
    Pushed(I),
    /// The answer to [`Question::Search`].
    Listed(AwsAnswer<Vec<ListedCluster<I>>>),
    /// DescribeCluster was answered, and by that alone a required check failed; the rest of the
    /// answer to [`Question::Look`] is still on its way.
    DescribedFirst(I, Look),
    /// The answer to [`Question::Look`].
    Looked(I, Look),
    /// The answer to [`Question::Details`].
    Detailed(I, Judgement),
    /// The answer to [`Action::Terminate`].
    TerminationAnswered(I, Result<(), Refusal>),
    /// The answer to [`Action::Unprotect`].
    ProtectionAnswered(I, Result<(), Refusal>),
    /// EMR has asked to slow down.
    Throttled,
    /// The runner has ended, at this time of AWS's where that is known.
    RunnerEnded(RunnerEnd, Option<AwsTime>),
    /// Nothing more comes through the runner's output.
    OutputEnded,
    /// The answer to [`Question::Survivors`]: whether processes of the run are left.
    Survivors(bool),
    /// The guard was told to stop.
    StopAsked,
}

/// A question to AWS, or to this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question<I> {
    /// All clusters since the launch.
    Search,
    /// One cluster: DescribeCluster, ListSteps, and what is not known yet of its security
    /// configuration. What is not asked for is judged anew as it is known.
    Look {
        /// Which.
        id: I,
        /// DescribeCluster.
        cluster: bool,
        /// ListSteps.
        steps: bool,
    },
    /// What is asked less often.
    Details {
        /// Which.
        id: I,
        /// The configurations of its groups.
        groups: bool,
        /// Its instances and their volumes.
        volumes: bool,
    },
    /// Whether processes of the run are left on this machine.
    Survivors,
}

/// How the runner is made to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Force {
    /// It is asked to.
    Ask,
    /// It is killed.
    Kill,
}

/// What a later guard must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<I> {
    /// This cluster is to be looked at first.
    Cluster(I),
    /// The run was told to stop; whether its clusters are to end with it.
    Stopped {
        /// They are.
        terminate: bool,
    },
}

/// What people must know, at once or at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchNotice<I> {
    /// A cluster is watched.
    Found(I, Ownership),
    /// A cluster is what was verified; `true`: as far as it is there yet.
    Passed(I, bool),
    /// A cluster is unsafe; `true`: it is being ended.
    Unsafe(I, Cause, bool),
    /// Only a person can end a cluster that must end; what stands in the way.
    Help(I, Obstacle),
    /// A termination was begun.
    Ending(I, Cause),
    /// The end of a cluster is confirmed.
    EndConfirmed(I),
    /// It is not.
    EndUnconfirmed(I, Obstacle),
    /// No cluster of the run was judged, and for the time limit no search has succeeded; why.
    Blind(String),
    /// A cluster could not be judged within the time limit, and is not ended for it.
    Unjudged(I),
    /// Nobody can see any more whether a cluster stays what it was, or whether there are others.
    SightLost(Option<I>),
    /// It can be seen again.
    SightBack(Option<I>),
    /// A cluster goes on although nobody waits for it.
    Orphan(I),
    /// These clusters ran the same steps.
    Twice(Vec<I>),
    /// All that was named is over, or idle where that is enough.
    Done,
}

/// Something to be done. The order counts: a note is on the disk before what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<I> {
    /// Ask; the answer is an event.
    Ask(Question<I>),
    /// Send TerminateJobFlows; the answer is an event.
    Terminate(I),
    /// Lift termination protection; the answer is an event.
    Unprotect(I),
    /// Wake the watcher then. Only the last one counts.
    Wake(Moment),
    /// Stop the runner, with all that it has started.
    StopRunner(Force),
    /// End the processes of the run that are left.
    EndSurvivors,
    /// Note it in the journal.
    Note(Entry<I>),
    /// Tell it.
    Tell(WatchNotice<I>),
    /// The watch is over.
    Finish(WatchConclusion<I>),
}
