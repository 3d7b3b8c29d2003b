//! The pace of a repair: the limits of the options, and S3's throttling.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

/// The first wait after S3 throttled; it doubles up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The pace that all copies of a run share.
#[derive(Debug)]
pub(crate) struct CopyPace {
    objects: Option<DefaultDirectRateLimiter>,
    /// In kibibytes, with the limiter's largest burst.
    bytes: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
    hold: Mutex<Hold>,
}

#[derive(Debug)]
struct Hold {
    until: Option<Instant>,
    wait: Duration,
}

impl CopyPace {
    /// Limits on objects and bytes in a second.
    pub(crate) fn new(objects: Option<NonZeroU32>, bytes: Option<u64>) -> Self {
        let limiter = |quota| RateLimiter::direct(quota);
        let kib = bytes.map(|bytes| {
            NonZeroU32::new(u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX))
                .unwrap_or(NonZeroU32::MIN)
        });
        Self {
            // A burst of one: larger bursts are the load that the limit should prevent.
            objects: objects
                .map(|rate| limiter(Quota::per_second(rate).allow_burst(NonZeroU32::MIN))),
            bytes: kib.map(|rate| (limiter(Quota::per_second(rate)), rate)),
            hold: Mutex::new(Hold { until: None, wait: FIRST_WAIT }),
        }
    }

    /// Waits until the repair of another object may start.
    pub(crate) async fn object(&self) {
        if let Some(objects) = &self.objects {
            objects.until_ready().await;
        }
    }

    /// Waits until this number of bytes may be copied, and until a hold by S3's throttling is over.
    pub(crate) async fn bytes(&self, bytes: u64) {
        if let Some((limiter, most)) = &self.bytes {
            let mut left = bytes.div_ceil(1024);
            while let Some(part) =
                NonZeroU32::new(u32::try_from(left).unwrap_or(u32::MAX).min(most.get()))
            {
                // No part is larger than the limiter's burst.
                let _ = limiter.until_n_ready(part).await;
                left -= u64::from(part.get());
            }
        }
        // Only once: otherwise a caller that is throttled again would keep all others waiting, one
        // doubled wait after the other.
        let until = self.hold.lock().unwrap_or_else(PoisonError::into_inner).until;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// S3 throttled: no request is sent for a while, which doubles each time.
    pub(crate) fn slow_down(&self) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Concurrent requests that are throttled together count as one.
        if hold.until.is_none_or(|until| until <= now) {
            hold.until = Some(now + hold.wait.mul_f64(0.75 + fastrand::f64() / 2.0));
            hold.wait = (hold.wait * 2).min(LONGEST_WAIT);
        }
    }

    /// S3 accepted a request.
    pub(crate) fn on_success(&self) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.wait = (hold.wait.mul_f64(0.9)).max(FIRST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn objects_and_bytes_take_at_least_the_time_that_their_limits_say() {
        // The clock of governor cannot be paused, so the limits keep the test short.
        let pace = CopyPace::new(NonZeroU32::new(50), Some(100 * 1024));
        let start = std::time::Instant::now();
        for _ in 0..11 {
            pace.object().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(195), "{:?}", start.elapsed());
        let start = std::time::Instant::now();
        // One second's worth is available at once; the rest must be waited for, however large it
        // is.
        pace.bytes(125 * 1024).await;
        assert!(start.elapsed() >= Duration::from_millis(240), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn who_waits_does_so_once_although_others_are_refused_meanwhile() {
        let pace = CopyPace::new(None, None);
        pace.slow_down();
        let mut waiting = std::pin::pin!(pace.bytes(1));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        // Another caller is throttled again, for far longer than this test.
        pace.hold.lock().unwrap().until = Some(Instant::now() + Duration::from_secs(3600));
        assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok());
    }

    #[tokio::test]
    async fn where_s3_asks_to_slow_down_everybody_waits_once_and_longer_each_time() {
        let pace = CopyPace::new(None, None);
        let waited = async || {
            let start = Instant::now();
            pace.bytes(1).await;
            start.elapsed()
        };
        pace.slow_down();
        pace.slow_down();
        assert!(waited().await >= FIRST_WAIT.mul_f64(0.7));
        assert_eq!(
            pace.hold.lock().unwrap().wait,
            FIRST_WAIT * 2,
            "those that were under way together are one wish"
        );
        pace.slow_down();
        assert!(waited().await >= (FIRST_WAIT * 2).mul_f64(0.7));
    }
}
