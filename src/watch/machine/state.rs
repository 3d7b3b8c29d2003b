//! Where a cluster is in its life.

/// Where a cluster is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It has no instances yet.
    Starting,
    /// Its instances run their first scripts.
    Bootstrapping,
    /// It works.
    Running,
    /// It is idle.
    Waiting,
    /// It is on its way out.
    Terminating,
    /// It has ended.
    Over,
    /// EMR named a state that this program does not know.
    Unknown,
}
