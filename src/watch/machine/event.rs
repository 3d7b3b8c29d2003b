//! The watcher's inputs (events) and outputs (actions).

use crate::watch::machine::{
    conclusion::{Cause, Obstacle, WatchConclusion},
    ownership::{Evidence, Ownership},
    state::State,
    time::{AwsTime, Moment},
};

/// The result of an AWS request. Texts are for people; no decision depends on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsAnswer<T> {
    /// AWS answered.
    Found(T),
    /// AWS reports that it does not exist.
    Absent,
    /// AWS refused, or no usable response arrived.
    Failed(String),
}

impl<T> AwsAnswer<T> {
    /// The value, if there is one.
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
    /// The evidence of its ownership.
    pub evidence: Evidence,
    /// Termination protection is on.
    pub protected: bool,
    /// It reached a state in which it could run steps.
    pub was_ready: bool,
}

/// The state of a cluster's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// A step was started.
    pub begun: bool,
    /// A step is pending or running.
    pub open: bool,
    /// There are steps, and all are completed. On a persistent cluster: some are completed, and
    /// none is open.
    pub done: bool,
}

/// The checks' result on everything that is known of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Judgement {
    /// A required check failed on a fact that was read.
    pub failed: bool,
    /// A required check is undecided, although AWS has the data.
    pub unknown: bool,
    /// A required check is undecided because its subject does not exist yet, or was never observed.
    pub unseen: bool,
    /// A required check is undecided because AWS never shows its subject. Nothing is awaited, and
    /// nothing contradicts the cluster's verification.
    pub hidden: bool,
    /// The missing facts are those on its instances or their volumes.
    pub awaits_instances: bool,
    /// The detailed polls were answered at least once.
    pub details_known: bool,
    /// Of these, the configurations of its groups.
    pub groups_known: bool,
    /// Its steps are known.
    pub steps_known: bool,
    /// The state of its steps.
    pub work: Work,
}

impl Judgement {
    /// Before any fact is known.
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

    /// Whether every required check that can be decided is decided, and none failed.
    #[must_use]
    pub fn passed_so_far(self) -> bool {
        !self.failed && !self.unknown
    }

    /// Whether every required check has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.passed_so_far() && !self.unseen && !self.hidden
    }
}

/// The result of one poll of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The cluster's description, if it was requested or is known from earlier.
    pub described: AwsAnswer<Described>,
    /// The checks' current result.
    pub judgement: Judgement,
    /// This very poll requested ListSteps, and it was answered.
    pub steps_told: bool,
}

/// A refusal by EMR, as far as it affects the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub kind: RefusalKind,
    /// EMR's error message, for people.
    pub text: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// EMR throttled the request.
    Throttled,
    /// Access denied.
    Denied,
    /// Any other error; termination protection has no error code of its own.
    Other,
}

/// How the runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunnerEnd {
    /// It reports success.
    Succeeded,
    /// It reports that it started nothing: no data, an earlier run unfinished, a lock, a busy
    /// cluster.
    StartedNothing,
    /// It failed by itself.
    Failed,
    /// A signal ended it.
    Killed,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<I> {
    /// The time of [`Action::Wake`] has come.
    Woke,
    /// The runner's log names a cluster.
    Hint(I),
    /// The runner's log mentions steps.
    Activity,
    /// An EMR event concerns a cluster.
    Pushed(I),
    /// The response to [`Question::Search`].
    Listed(AwsAnswer<Vec<ListedCluster<I>>>),
    /// DescribeCluster was answered, and this alone fails a required check. The rest of the
    /// response to [`Question::Look`] is still awaited.
    DescribedFirst(I, Look),
    /// The response to [`Question::Look`].
    Looked(I, Look),
    /// The response to [`Question::Details`].
    Detailed(I, Judgement),
    /// The response to [`Action::Terminate`].
    TerminationAnswered(I, Result<(), Refusal>),
    /// The response to [`Action::Unprotect`].
    ProtectionAnswered(I, Result<(), Refusal>),
    /// EMR throttled a request.
    Throttled,
    /// The runner has ended, at this time by AWS's clock if known.
    RunnerEnded(RunnerEnd, Option<AwsTime>),
    /// The runner's output has ended.
    OutputEnded,
    /// The response to [`Question::Survivors`]: whether processes of the run are left.
    Survivors(bool),
    /// The guard was asked to stop.
    StopAsked,
}

/// A request to AWS, or to this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question<I> {
    /// All clusters since the launch.
    Search,
    /// One cluster: DescribeCluster, ListSteps, and the facts on its security configuration that
    /// are missing. With nothing to request, the known facts are evaluated again.
    Look {
        /// Which.
        id: I,
        /// DescribeCluster.
        cluster: bool,
        /// ListSteps.
        steps: bool,
    },
    /// A detailed poll, which is less frequent.
    Details {
        /// Which.
        id: I,
        /// The configurations of its groups.
        groups: bool,
        /// Its instances and their volumes.
        volumes: bool,
    },
    /// Whether orphaned processes of the run are left on this machine.
    Survivors,
}

/// How the runner is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Force {
    /// With a request to stop.
    Ask,
    /// It is killed.
    Kill,
}

/// A journal entry for a later guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<I> {
    /// This cluster is to be polled first.
    Cluster(I),
    /// The run was asked to stop; whether its clusters are to be terminated with it.
    Stopped {
        /// They are.
        terminate: bool,
    },
}

/// Notices for people, at once or at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchNotice<I> {
    /// A cluster is watched.
    Found(I, Ownership),
    /// A cluster is as verified; `true`: as far as it exists yet.
    Passed(I, bool),
    /// A cluster is unsafe; `true`: it is being terminated.
    Unsafe(I, Cause, bool),
    /// Only a person can terminate a cluster that must end; what prevents the guard.
    Help(I, Obstacle),
    /// A termination was started.
    Ending(I, Cause),
    /// The end of a cluster is confirmed.
    EndConfirmed(I),
    /// It is not.
    EndUnconfirmed(I, Obstacle),
    /// No cluster of the run was evaluated, and no search has succeeded within the time limit; why.
    Blind(String),
    /// A cluster could not be evaluated within the time limit, and is not terminated for that.
    Unjudged(I),
    /// It is unknown from now on whether a cluster keeps its configuration, or (none) whether there
    /// are other clusters.
    SightLost(Option<I>),
    /// It is known again.
    SightBack(Option<I>),
    /// A cluster continues although nobody waits for it.
    Orphan(I),
    /// These clusters ran the same steps.
    Twice(Vec<I>),
    /// All named clusters are over, or idle where that is enough.
    Done,
}

/// An action for the driver. The order matters: a journal entry is on disk before the actions after
/// it run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<I> {
    /// Send a request; the response is an event.
    Ask(Question<I>),
    /// Send TerminateJobFlows; the response is an event.
    Terminate(I),
    /// Lift termination protection; the response is an event.
    Unprotect(I),
    /// Wake the watcher at this time. Only the last such action counts.
    Wake(Moment),
    /// Stop the runner, with all its child processes.
    StopRunner(Force),
    /// Kill the orphaned processes of the run.
    EndSurvivors,
    /// Write it to the journal.
    Note(Entry<I>),
    /// Report it.
    Tell(WatchNotice<I>),
    /// The watch is over.
    Finish(WatchConclusion<I>),
}
