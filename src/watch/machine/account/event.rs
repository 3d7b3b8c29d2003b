//! The account watcher's inputs (events) and outputs (actions).

use crate::watch::machine::{
    conclusion::Obstacle,
    event::{AwsAnswer, Judgement, Refusal},
    state::State,
    time::{AwsTime, Moment},
};

/// A cluster in ListClusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountListed<I> {
    /// Its id.
    pub id: I,
    /// Its state.
    pub state: State,
    /// When it was created.
    pub created: AwsTime,
}

/// All answers to one [`AccountQuestion::List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountList<I> {
    /// The clusters: all that live, and all that were created since the time that was asked for.
    pub clusters: Vec<AccountListed<I>>,
    /// When EMR made the first of these answers, by its own clock (the header `Date`), if it says
    /// so.
    pub at: Option<AwsTime>,
    /// How many calls the pages of these answers took.
    pub calls: u32,
}

/// A cluster in DescribeCluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountDescribed {
    /// Its state.
    pub state: State,
    /// When it was created.
    pub created: AwsTime,
    /// Termination protection is on.
    pub protected: bool,
    /// The rule that applies to it says that it is terminated if it is unsafe.
    pub may_end: bool,
}

/// The result of one look at a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLook {
    /// Its description.
    pub described: AwsAnswer<AccountDescribed>,
    /// The checks' current result.
    pub judgement: Judgement,
    /// No answer from before this look replaces a fact of it: it may count as a second look.
    pub fresh: bool,
    /// The number of the question.
    pub number: u64,
    /// EMR was asked for the security configuration. It is not where a look at another cluster has
    /// shown it, or where it is known.
    pub asked_configuration: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEvent<P, I> {
    /// The time of [`AccountAction::Wake`] has come.
    Woke,
    /// An event of EMR, or of CloudTrail, names a cluster.
    Pushed(P, I),
    /// The response to the [`AccountQuestion::List`] with this number.
    Listed(P, u64, AwsAnswer<AccountList<I>>),
    /// The response to [`AccountQuestion::Look`].
    Looked(P, I, AccountLook),
    /// The response to [`AccountQuestion::Details`].
    Detailed(P, I, Judgement),
    /// The response to [`AccountAction::Terminate`].
    TerminationAnswered(P, I, Result<(), Refusal>),
    /// The response to [`AccountAction::Unprotect`].
    ProtectionAnswered(P, I, Result<(), Refusal>),
    /// EMR throttled a request in this place.
    Throttled(P),
    /// This place is watched from now on. Clusters that were created there since this time, if
    /// there is one, may have lived unseen; where an earlier sentinel has seen the place, its time
    /// counts.
    PlaceFound(P, Option<AwsTime>),
    /// This place cannot be used any more: its region was disabled. What is known of it counts
    /// again if it is found again.
    PlaceGone(P),
    /// The sentinel was asked to stop.
    StopAsked,
}

/// A request to AWS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountQuestion<P, I> {
    /// ListClusters: all clusters that live, and with a time also all that were created since.
    List {
        /// Where.
        place: P,
        /// Since when.
        since: Option<AwsTime>,
        /// The number of this question, for its answer.
        number: u64,
    },
    /// One cluster: DescribeCluster, its security configuration, and what the checks need besides.
    Look {
        /// Where.
        place: P,
        /// Which.
        id: I,
        /// ListSteps.
        steps: bool,
        /// This is a second look. Nothing that is known already may replace an answer: steps,
        /// groups, instances and volumes are requested, too.
        fresh: bool,
        /// The number of this question, for its answer.
        number: u64,
    },
    /// A detailed look, which is less frequent.
    Details {
        /// Where.
        place: P,
        /// Which.
        id: I,
        /// The configurations of its groups.
        groups: bool,
        /// Its instances and their volumes.
        volumes: bool,
    },
}

/// An entry for a later sentinel. It is on disk before the actions after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEntry<P, I> {
    /// This cluster's termination is about to be requested, perhaps again, and counts against the
    /// limit from now on.
    Ending(P, I),
    /// This cluster was just reported as unsafe.
    ToldUnsafe(P, I),
    /// It was just reported that this cluster could not be judged in time.
    ToldUnjudged(P, I),
    /// Clusters of this place that were created from then on are looked for, also those that are
    /// over by then: every earlier one has been seen, or is from before the place was found.
    SeenUntil(P, AwsTime),
}

/// What happened to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountVerdict {
    /// A required check failed, by a fact that was read.
    Unsafe,
    /// Every required check has passed, as far as its subject existed.
    Passed,
    /// Some required check could not be decided.
    Unjudged,
}

/// Notices for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountNotice<P, I> {
    /// A cluster was seen for the first time.
    Found(P, I),
    /// Every required check of it that can be decided has passed.
    Passed(P, I),
    /// A required check of it failed.
    Unsafe(P, I),
    /// A later look shows no failed check any more, and EMR has accepted no request to terminate
    /// it.
    Cleared(P, I),
    /// It could not be judged within the limit.
    Unjudged(P, I),
    /// It would be terminated now, but the limit of terminations per hour is reached.
    Limited(P, I),
    /// Its termination is requested now.
    Ending(P, I),
    /// Only a person can terminate it; what prevents the sentinel.
    Help(P, I, Obstacle),
    /// Its end after a termination is confirmed.
    EndConfirmed(P, I),
    /// It is not.
    EndUnconfirmed(P, I, Obstacle),
    /// It is over; what is known of it will not change any more, and the watcher forgets it.
    Over(P, I, AccountVerdict),
    /// It is unknown from now on which clusters there are in this place; why.
    SightLost(P, String),
    /// It is known again.
    SightBack(P),
}

/// An action for the driver. The order matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountAction<P, I> {
    /// Send a request; the response is an event. After twelve intervals without it, the watcher
    /// asks again, and of a late response only a failed check and an end count.
    Ask(AccountQuestion<P, I>),
    /// Send TerminateJobFlows; the response is an event.
    Terminate(P, I),
    /// Lift termination protection; the response is an event.
    Unprotect(P, I),
    /// Wake the watcher at this time. Only the last such action counts.
    Wake(Moment),
    /// Write it to disk.
    Note(AccountEntry<P, I>),
    /// Report it.
    Tell(AccountNotice<P, I>),
    /// The watch is over.
    Finish(AccountConclusion<P, I>),
}

/// The result of a watch that has ended: of one that judges once, or that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountConclusion<P, I> {
    /// Each cluster that is known: its verdict, and whether it is over.
    pub clusters: Vec<((P, I), AccountVerdict, bool)>,
    /// The places whose clusters could not be listed; why.
    pub unseen: Vec<(P, String)>,
    /// Terminations that were requested and whose end is not confirmed.
    pub unconfirmed: Vec<(P, I)>,
}
