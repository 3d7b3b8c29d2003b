//! The pace of the watch: the pause until the next poll of EMR. It is short while an evaluation is
//! due, long while nothing is expected, and longer still when EMR throttles. It includes jitter, so
//! that guards that start together do not poll together.

use std::time::Duration;

/// The purpose of the next poll, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PollReason {
    /// A cluster could not be evaluated, or its ownership is undecided.
    Judgement,
    /// There is no cluster that the runner would wait for, or none that has reached a running
    /// state. The runner may start one, and an unsafe one must be detected soon.
    Search,
    /// A cluster and its instances are starting. The instances must be observed while they exist,
    /// even if that is only half a minute.
    Start,
    /// Everything is verified; it could still change.
    Nothing,
}

impl PollReason {
    /// The first pause and the longest pause, in multiples of the first interval; and the largest
    /// factor for throttling.
    fn factors(self) -> (f64, f64, f64) {
        match self {
            // The factor stays small however EMR throttles: a cluster must be evaluated in time.
            Self::Judgement => (1.0, 6.0, 2.0),
            Self::Search => (1.0, 1.5, 24.0),
            Self::Start => (3.0, 5.0, 8.0),
            Self::Nothing => (54.0, 54.0, 3.0),
        }
    }
}

/// The largest relative deviation of a pause, in both directions.
const JITTER: f64 = 0.15;

/// A source of jitter.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// `seed` makes it differ from that of other guards.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A pause that deviates a little from this one.
    pub(super) fn around(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * self.fraction())
    }

    /// The next pseudo-random number from 0 to 1: splitmix64, Steele, Lea and Flood 2014.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 32 bits are exact in an f64.
        f64::from(u32::try_from(mixed >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

/// The factor by which pauses grow while EMR throttles: doubled at once and reduced slowly, so that
/// many guards share the quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowdown(f64);

impl Slowdown {
    /// EMR has not throttled.
    pub(super) const NONE: Self = Self(1.0);

    /// The factor for the next pause, at most `most`; `throttled` says whether EMR has throttled
    /// since the last one.
    pub(super) fn next(&mut self, throttled: bool, most: f64) -> f64 {
        self.0 = if throttled { (self.0 * 2.0).min(most) } else { (self.0 / 1.25).max(1.0) };
        self.0
    }
}

/// The current pace.
#[derive(Clone, Debug)]
pub(super) struct PollPace {
    first: Duration,
    need: PollReason,
    looks: i32,
    slower: Slowdown,
    jitter: Jitter,
}

impl PollPace {
    /// `seed` makes the jitter differ from that of other guards.
    pub(super) fn new(first: Duration, seed: u64) -> Self {
        Self {
            first,
            need: PollReason::Search,
            looks: 0,
            slower: Slowdown::NONE,
            jitter: Jitter::new(seed),
        }
    }

    /// The purpose of the current pause.
    pub(super) fn need(&self) -> PollReason {
        self.need
    }

    /// The pause until the next poll; `throttled` says whether EMR has throttled since the last
    /// one.
    pub(super) fn pause(&mut self, need: PollReason, throttled: bool) -> Duration {
        self.looks = if need == self.need { self.looks.saturating_add(1) } else { 0 };
        self.need = need;
        let slower = self.slower.next(throttled, 24.0);
        let (first, most, slowest) = need.factors();
        let times = (first * 1.5_f64.powi(self.looks.min(16))).min(most) * slower.min(slowest);
        self.jitter.around(self.first.mul_f64(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of `looks` consecutive pauses, without jitter, is about this many seconds.
    fn around(pause: Duration, seconds: f64) {
        let low = Duration::from_secs_f64(seconds * (1.0 - JITTER) - 1e-6);
        let high = Duration::from_secs_f64(seconds * (1.0 + JITTER) + 1e-6);
        assert!((low..=high).contains(&pause), "{pause:?} is not about {seconds} s");
    }

    fn pace(seed: u64) -> PollPace {
        PollPace::new(Duration::from_secs(5), seed)
    }

    #[test]
    fn looks_slow_down_while_nothing_changes_but_a_search_never_beyond_nine_seconds() {
        let mut pace = pace(1);
        for seconds in [7.5, 7.5, 7.5] {
            let pause = pace.pause(PollReason::Search, false);
            around(pause, seconds);
            assert!(pause < Duration::from_secs(9));
        }
        for seconds in [15.0, 22.5, 25.0, 25.0] {
            around(pace.pause(PollReason::Start, false), seconds);
        }
        around(pace.pause(PollReason::Nothing, false), 270.0);
        around(pace.pause(PollReason::Judgement, false), 5.0);
    }

    #[test]
    fn throttling_doubles_the_pause_and_is_forgotten_slowly_but_never_keeps_a_judgement_waiting_long()
     {
        let mut pace = pace(2);
        for seconds in [540.0, 810.0, 810.0] {
            around(pace.pause(PollReason::Nothing, true), seconds);
        }
        around(pace.pause(PollReason::Nothing, false), 810.0);
        for _ in 0..100 {
            assert!(pace.pause(PollReason::Judgement, true) < Duration::from_secs(70));
        }
        for _ in 0..20 {
            pace.pause(PollReason::Nothing, false);
        }
        around(pace.pause(PollReason::Nothing, false), 270.0);
    }

    #[test]
    fn no_two_guards_keep_the_same_time() {
        let mut pauses: Vec<Duration> =
            (0..50).map(|seed| pace(seed).pause(PollReason::Nothing, false)).collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 40);
    }
}
