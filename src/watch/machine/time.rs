//! Times for the watcher, which has no clock: every event carries its time.

use std::time::Duration;

/// A time of a monotonic clock, since the start of the watch. Changes of the machine's clock do not
/// affect it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// The start of the watch.
    pub const START: Self = Self(Duration::ZERO);

    /// This time and `span`.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time from `earlier` to this; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A time by AWS's clock, in milliseconds since 1970. It is compared only with other AWS times,
/// never with this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsTime(pub i64);
