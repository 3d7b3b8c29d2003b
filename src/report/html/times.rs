//! Times and durations on pages.

use maud::{Markup, html};
use time::{OffsetDateTime, macros::format_description};

use crate::report::conclusion::counted;

pub(super) fn lasted(started: OffsetDateTime, ended: OffsetDateTime) -> String {
    let seconds = (ended - started).whole_seconds().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => "less than a second".to_owned(),
        (0, 0, seconds) => counted(usize::try_from(seconds).unwrap_or_default(), "second"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A time to the second, in UTC.
pub(super) fn clock(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

pub(super) fn day(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day]"))
        .unwrap_or_default()
}

fn machine(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .unwrap_or_default()
}

pub(super) fn time(at: OffsetDateTime) -> Markup {
    html! { time datetime=(machine(at)) { (clock(at)) } }
}

/// The time of day, to the millisecond.
pub(super) fn precise(at: OffsetDateTime) -> Markup {
    let shown = at
        .to_offset(time::UtcOffset::UTC)
        .format(format_description!("[hour]:[minute]:[second].[subsecond digits:3]"))
        .unwrap_or_default();
    html! { time datetime=(machine(at)) { (shown) } }
}
