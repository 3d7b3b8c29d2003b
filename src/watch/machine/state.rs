//! The life cycle states of a cluster.

/// The state of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It has no instances yet.
    Starting,
    /// Its instances run their bootstrap actions.
    Bootstrapping,
    /// It works.
    Running,
    /// It is idle.
    Waiting,
    /// It is terminating.
    Terminating,
    /// It has ended.
    Over,
    /// EMR reported a state that this program does not know.
    Unknown,
}
