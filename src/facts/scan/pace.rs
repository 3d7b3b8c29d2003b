//! How many objects of one split are asked at once: fewer where S3 asks to slow down, more again while it does not.
//!
//! S3's limits are by prefix, and a split is a range of keys, so each split has a pace of its own: a busy prefix slows down alone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Within this time, further wishes to slow down are taken for the same one: they answer what was under way already.
const ONE_WISH: Duration = Duration::from_millis(500);

/// All that ask together: how many may do so at once.
#[derive(Debug)]
pub(crate) struct Crew {
    most: usize,
    /// How many splits share it now.
    splits: AtomicUsize,
    /// How often S3 asked to slow down.
    slowed: AtomicUsize,
}

impl Crew {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), splits: AtomicUsize::new(0), slowed: AtomicUsize::new(0) })
    }

    /// How often S3 asked to slow down.
    pub(crate) fn slowed(&self) -> usize {
        self.slowed.load(Ordering::Relaxed)
    }
}

/// The pace of one split.
#[derive(Debug)]
pub(crate) struct Pace {
    crew: Arc<Crew>,
    now: Mutex<Now>,
    /// Somebody has left, or the limit has grown.
    room: Notify,
}

#[derive(Debug)]
struct Now {
    /// A fraction counts towards the next whole one.
    limit: f64,
    under_way: usize,
    slowed: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(crew: Arc<Crew>) -> Self {
        crew.splits.fetch_add(1, Ordering::Relaxed);
        let now = Mutex::new(Now { limit: f64::INFINITY, under_way: 0, slowed: None });
        Self { crew, now, room: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of this split may be under way, as long as S3 asks for nothing: an equal share.
    pub(crate) fn ceiling(&self) -> usize {
        (self.crew.most / self.crew.splits.load(Ordering::Relaxed).max(1)).max(1)
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
    fn has_room(&self, now: &Now) -> bool {
        now.under_way < self.ceiling() && (now.under_way as f64) + 1.0 <= now.limit.max(1.0)
    }

    /// Waits for a turn.
    pub(crate) async fn enter(&self) -> Turn<'_> {
        loop {
            // Registered before the look, so that nobody who leaves meanwhile is missed.
            let room = self.room.notified();
            {
                let mut now = self.lock();
                if self.has_room(&now) {
                    now.under_way += 1;
                    return Turn(self);
                }
            }
            room.await;
        }
    }

    /// Whether more are under way than may be, so that one should wait.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
    pub(crate) fn is_over(&self) -> bool {
        let now = self.lock();
        now.limit.is_finite() && (now.under_way as f64) > now.limit.max(1.0)
    }

    /// S3 has answered.
    pub(crate) fn well(&self) {
        let mut now = self.lock();
        if now.limit.is_finite() {
            now.limit += 1.0 / now.limit.max(1.0);
            drop(now);
            self.room.notify_one();
        }
    }

    /// S3 has asked to slow down.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
    pub(crate) fn slow_down(&self) {
        self.crew.slowed.fetch_add(1, Ordering::Relaxed);
        let mut now = self.lock();
        if now.slowed.is_some_and(|slowed| slowed.elapsed() < ONE_WISH) {
            return;
        }
        now.slowed = Some(Instant::now());
        now.limit = (now.limit.min(now.under_way as f64) / 2.0).max(1.0);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.crew.splits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to ask.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Pace);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.room.notify_one();
    }
}
