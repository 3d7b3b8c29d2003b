//! Controls how many objects of one split are read at once: fewer if S3 asks to slow down, more
//! again while it does not.
//!
//! S3's limits apply to a prefix, and a split is a range of keys. So each split has its own pace,
//! and a busy prefix slows down alone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The pause after S3 asks to slow down. It doubles if S3 asks again soon.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(16);
/// If S3 asks again within this time after a pause, the pause was too short.
const SOON: Duration = Duration::from_millis(500);
/// How much the limit grows after as many answers as the limit.
const GROWTH: f64 = 0.05;
/// After this time, a request to slow down no longer has an effect.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The limit of all splits together.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    most: usize,
    each: usize,
    /// How many splits share it now.
    splits: AtomicUsize,
    /// How many times S3 asked to slow down.
    slowed: AtomicUsize,
}

impl ConcurrencyLimit {
    /// At most `most` in all, and `each` in one split.
    pub(crate) fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { most, each, splits: AtomicUsize::new(0), slowed: AtomicUsize::new(0) })
    }

    /// How many times S3 asked to slow down.
    pub(crate) fn slowed(&self) -> usize {
        self.slowed.load(Ordering::Relaxed)
    }
}

/// The pace of one split.
#[derive(Debug)]
pub(crate) struct ScanPace {
    crew: Arc<ConcurrencyLimit>,
    /// Whether S3 has not asked to slow down recently.
    calm: AtomicBool,
    now: Mutex<Now>,
    /// Notified when a request has ended or the limit has grown.
    room: Notify,
}

/// The current state of the pace. Functions get the time as a parameter.
#[derive(Debug)]
struct Now {
    /// Rounded down. The fraction is kept for later growth.
    limit: f64,
    under_way: usize,
    /// The last time that S3 asked to slow down, the length of the pause after it, and its end.
    slowed: Option<(Instant, Duration, Instant)>,
}

impl Now {
    const fn calm() -> Self {
        Self { limit: f64::INFINITY, under_way: 0, slowed: None }
    }

    fn rests_until(&self, at: Instant) -> Option<Instant> {
        self.slowed.map(|(_, _, until)| until).filter(|until| *until > at)
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
    fn is_within(&self, under_way: usize) -> bool {
        under_way as f64 <= self.limit.max(1.0)
    }

    /// Takes a permit, if one is available.
    fn enter(&mut self, ceiling: usize, at: Instant) -> bool {
        let enters = self.rests_until(at).is_none()
            && self.under_way < ceiling
            && self.is_within(self.under_way + 1);
        self.under_way += usize::from(enters);
        enters
    }

    /// Notes a successful answer. Returns whether the last request to slow down is forgotten.
    fn on_success(&mut self, ceiling: usize, at: Instant) -> bool {
        self.limit += GROWTH / self.limit.max(1.0);
        let forgotten = self.slowed.is_none_or(|(slowed, ..)| at - slowed > FORGOTTEN)
            && self.is_within(ceiling);
        if forgotten {
            *self = Self { under_way: self.under_way, ..Self::calm() };
        }
        forgotten
    }

    /// S3 asked to slow down: starts a pause, and then half as many requests are made at once.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
    fn slow_down(&mut self, at: Instant) {
        // Requests that were already pending get the same answer.
        if self.rests_until(at).is_some() {
            return;
        }
        let rest = match self.slowed {
            Some((_, rest, until)) if at - until < SOON => (rest * 2).min(LONGEST_REST),
            _ => FIRST_REST,
        };
        self.slowed = Some((at, rest, at + rest.mul_f64(1.0 + fastrand::f64() / 4.0)));
        self.limit = (self.limit.min(self.under_way as f64) / 2.0).max(1.0);
    }
}

impl ScanPace {
    pub(crate) fn new(crew: Arc<ConcurrencyLimit>) -> Self {
        crew.splits.fetch_add(1, Ordering::Relaxed);
        Self {
            crew,
            calm: AtomicBool::new(true),
            now: Mutex::new(Now::calm()),
            room: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests of this split may be pending while S3 does not ask to slow down: an equal
    /// share.
    pub(crate) fn ceiling(&self) -> usize {
        (self.crew.most / self.crew.splits.load(Ordering::Relaxed).max(1))
            .clamp(1, self.crew.each.max(1))
    }

    /// Waits for a permit.
    pub(crate) async fn enter(&self) -> Permit<'_> {
        let mut turn = Permit { pace: self, is_held: false };
        turn.take().await;
        turn
    }

    async fn wait_for_room(&self) {
        loop {
            let rest = {
                let (mut now, at) = (self.lock(), Instant::now());
                if now.enter(self.ceiling(), at) {
                    return;
                }
                now.rests_until(at)
            };
            match rest {
                Some(until) => sleep_until(until).await,
                // If a request ended since the check above, `Notify` has stored a permit.
                None => self.room.notified().await,
            }
        }
    }

    /// Whether there is a pause, or more requests are pending than allowed. Then a permit must be
    /// returned.
    fn is_over(&self) -> bool {
        if self.calm.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.lock();
        now.rests_until(Instant::now()).is_some() || !now.is_within(now.under_way)
    }

    /// Notes a successful answer.
    fn on_success(&self) {
        if self.calm.load(Ordering::Relaxed) {
            return;
        }
        if self.lock().on_success(self.ceiling(), Instant::now()) {
            self.calm.store(true, Ordering::Relaxed);
        }
        self.room.notify_one();
    }

    /// S3 asked to slow down: starts a pause, and then half as many requests are made at once.
    fn slow_down(&self) {
        self.crew.slowed.fetch_add(1, Ordering::Relaxed);
        self.lock().slow_down(Instant::now());
        self.calm.store(false, Ordering::Relaxed);
    }
}

impl Drop for ScanPace {
    fn drop(&mut self) {
        self.crew.splits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permission to send a request.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    pace: &'a ScanPace,
    is_held: bool,
}

impl Permit<'_> {
    async fn take(&mut self) {
        self.pace.wait_for_room().await;
        self.is_held = true;
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.pace.lock().under_way -= 1;
            self.pace.room.notify_one();
        }
    }

    /// Returns the permit and waits for another one, if there is a pause or too many requests are
    /// pending.
    pub(crate) async fn keep_pace(&mut self) {
        if self.pace.is_over() {
            self.give_back();
            self.take().await;
        }
    }

    /// Notes a successful answer.
    pub(crate) fn on_success(&self) {
        self.pace.on_success();
    }

    /// Notes that S3 asked to slow down.
    pub(crate) async fn slow_down(&mut self) {
        self.pace.slow_down();
        self.keep_pace().await;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers `capacity` requests per second, each after 20 ms, and asks to slow
    /// down for the others. Returns the number of the others, and the total time.
    fn played(capacity: u32, requests: u32) -> (u32, Duration) {
        let start = Instant::now();
        let mut now = Now::calm();
        let (mut left, mut refused, mut time, mut this_second) =
            (requests, 0, Duration::ZERO, (0, 0));
        while left > 0 {
            let at = start + time;
            let mut sent = 0;
            while sent < left && now.enter(64, at) {
                sent += 1;
            }
            time += Duration::from_millis(20);
            let at = start + time;
            for _ in 0..sent {
                if this_second.0 != time.as_secs() {
                    this_second = (time.as_secs(), 0);
                }
                this_second.1 += 1;
                if this_second.1 <= capacity {
                    left -= 1;
                    now.on_success(64, at);
                } else {
                    refused += 1;
                    now.slow_down(at);
                }
            }
            now.under_way = 0;
            assert!(time < Duration::from_secs(3600), "it comes to an end");
        }
        (refused, time)
    }

    #[test]
    fn nobody_waits_while_s3_asks_for_nothing() {
        assert_eq!(played(u32::MAX, 6400), (0, Duration::from_secs(2)));
    }

    #[test]
    fn where_s3_is_slow_few_are_refused_and_most_of_what_it_can_do_is_used() {
        // With 64 at once, 3,200 per second would be sent, and ten times as many refused as
        // answered.
        let (refused, time) = played(300, 30_000);
        assert!(refused < 3000, "{refused} of 30,000 came to nothing");
        assert!(time < Duration::from_secs(300), "{time:?}, of which 100 s cannot be spared");
    }

    #[test]
    fn the_wish_is_forgotten_in_time() {
        let start = Instant::now();
        let mut now = Now::calm();
        assert!(now.enter(64, start));
        now.slow_down(start);
        assert!(!now.enter(64, start), "it rests");
        let mut at = start + LONGEST_REST;
        let forgotten = (0..100_000).find(|_| {
            at += Duration::from_millis(20);
            now.on_success(64, at)
        });
        assert!(forgotten.is_some() && at - start > FORGOTTEN, "{forgotten:?}");
        assert_eq!((0..100).filter(|_| now.enter(64, at)).count(), 63, "one is under way still");
    }

    #[tokio::test]
    async fn a_turn_that_is_given_back_is_the_next_ones() {
        let pace = ScanPace::new(ConcurrencyLimit::new(1, 1));
        let turn = pace.enter().await;
        let second = pace.enter();
        tokio::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(turn);
        let _second = second.await;
    }
}
