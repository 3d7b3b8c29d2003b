//! Owns the simulated time: real, scaled, or stepped by hand.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How simulated time relates to real time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ClockMode {
    /// One simulated second takes one second.
    #[default]
    Real,
    /// This many simulated seconds pass in each real second.
    Scaled(f64),
    /// Time does not pass until it is advanced.
    Stepped,
}

/// The simulator's clock. It never jumps when its mode changes.
#[derive(Debug, Clone)]
pub struct Clock {
    mode: ClockMode,
    real: Instant,
    simulated: OffsetDateTime,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// The real clock.
    #[must_use]
    pub fn new() -> Self {
        Self { mode: ClockMode::Real, real: Instant::now(), simulated: OffsetDateTime::now_utc() }
    }

    /// How it goes.
    pub fn mode(&self) -> ClockMode {
        self.mode
    }

    fn factor(&self) -> f64 {
        match self.mode {
            ClockMode::Real => 1.0,
            ClockMode::Scaled(factor) => factor,
            ClockMode::Stepped => 0.0,
        }
    }

    /// The simulated time.
    pub fn now(&self) -> OffsetDateTime {
        let factor = self.factor();
        if factor == 0.0 {
            return self.simulated;
        }
        self.simulated + self.real.elapsed().mul_f64(factor)
    }

    /// Continues in this mode, from this time or from the present one.
    pub fn set(&mut self, mode: ClockMode, at: Option<OffsetDateTime>) {
        self.simulated = at.unwrap_or_else(|| self.now());
        self.real = Instant::now();
        self.mode = mode;
    }

    /// Advances the simulated time.
    pub fn advance(&mut self, by: Duration) {
        self.simulated += by;
    }

    /// How long to wait, in real time, until the simulated time `at`. `None`: it never comes by
    /// itself.
    pub fn real_wait(&self, at: OffsetDateTime) -> Option<Duration> {
        let factor = self.factor();
        if factor == 0.0 {
            return None;
        }
        let left = Duration::try_from(at - self.now()).unwrap_or_default();
        Some(left.div_f64(factor))
    }
}

/// Seconds since the epoch, with the millisecond precision in which EMR and KMS give times.
pub fn epoch_seconds(at: OffsetDateTime) -> serde_json::Number {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay far below 2^53")]
    let seconds = (at.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0;
    serde_json::Number::from_f64(seconds).unwrap_or_else(|| 0.into())
}

/// `2026-11-22T08:33:52.000Z`, as the XML services write times.
pub fn iso(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    at.format(format).unwrap_or_default()
}

/// The same in whole seconds, as IAM writes times.
#[must_use]
pub fn iso_seconds(at: OffsetDateTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.format(format).unwrap_or_default()
}
