//! Progress bars of the commands that look at very many objects. They are drawn on standard error,
//! and only if it is a terminal, so that they never get into mails or pipes.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress when the total is known.
pub(crate) const OF_A_WHOLE: &str = "{bar:40} {pos}/{len} objects, {per_sec}, {eta} left";
/// Progress when the total is unknown.
pub(crate) const SO_FAR: &str = "{spinner} {pos} objects looked at, {per_sec}";
/// Parts that are done, and a message.
pub(crate) const OF_PARTS: &str = "{spinner} [{bar:30}] {msg}";

/// A progress bar. It is hidden where standard error is not a terminal, and with `quiet`.
pub(crate) fn bar(template: &str, length: Option<u64>, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one_and_a_quiet_bar_is_hidden() {
        for template in [OF_A_WHOLE, SO_FAR, OF_PARTS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
            assert!(bar(template, Some(1), true).is_hidden());
        }
    }
}
