//! The progress display of an audit: how many objects, how fast, and how much time is left.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::{base::text::grouped, system::bar};

/// A progress bar and its counters.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    objects: u64,
    started: std::time::Instant,
}

impl Progress {
    /// `quiet`: nothing is displayed.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            bar: bar::bar(bar::OF_PARTS, Some(0), quiet),
            objects: 0,
            started: std::time::Instant::now(),
        }
    }

    /// Counts so many more objects; `done` of `parts` parts are complete.
    pub(crate) fn advance(&mut self, objects: u64, parts: u64, done: u64) {
        self.objects += objects;
        self.bar.set_length(parts);
        self.bar.set_position(done);
        self.bar.set_message(line(self.objects, self.started.elapsed(), parts, done));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The text `1,234,567 objects, 4,321/s, 3 of 32 parts, about 12m left`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for eyes"
)]
fn line(objects: u64, elapsed: Duration, parts: u64, done: u64) -> String {
    let rate = (objects as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let left = match done {
        0 => "time left: not known yet".to_owned(),
        done if done >= parts => "about to end".to_owned(),
        done => {
            let seconds = elapsed.as_secs_f64() * (parts - done) as f64 / done as f64;
            format!(
                "about {} left",
                humantime::format_duration(Duration::from_secs(seconds as u64))
            )
        }
    };
    format!("{} objects, {}/s, {done} of {parts} parts, {left}", grouped(objects), grouped(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_fast_and_how_long() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            line(1_200_000, minute, 32, 8),
            "1,200,000 objects, 20,000/s, 8 of 32 parts, about 3m left"
        );
        assert_eq!(
            line(0, Duration::ZERO, 1, 0),
            "0 objects, 0/s, 0 of 1 parts, time left: not known yet"
        );
        assert_eq!(line(10, minute, 2, 2), "10 objects, 0/s, 2 of 2 parts, about to end");
    }
}
