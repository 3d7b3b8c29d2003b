//! Times, for a watcher that has no clock: it is told what time it is with every event.

use std::time::Duration;

/// A time by a monotonic clock, counted from the start of the watch. No change of the machine's
/// clock moves it.
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

    /// The time from `earlier` to this; zero where that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A time by AWS's clock: milliseconds since 1970. It is compared only with other times of AWS's,
/// never with those of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsTime(pub i64);
