//! Times as text, for reports and schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use time::{Duration, OffsetDateTime, format_description::well_known};

/// The form that a report uses.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&well_known::Rfc3339).unwrap_or_default()
}

/// The whole days from `now` until `end`; negative after it.
pub(crate) fn days_until(end: OffsetDateTime, now: OffsetDateTime) -> i64 {
    let days = (end - now).whole_nanoseconds().div_euclid(Duration::DAY.whole_nanoseconds());
    i64::try_from(days).unwrap_or(if days < 0 { i64::MIN } else { i64::MAX })
}

/// The same in words, behind the time itself: `in 364 days`, `3 days ago`.
pub(crate) fn days_in_words(end: OffsetDateTime, now: OffsetDateTime) -> String {
    let plural = |days: u64| if days == 1 { "day" } else { "days" };
    match days_until(end, now) {
        0 => "in less than a day".to_owned(),
        days if days > 0 => format!("in {days} {}", plural(days.unsigned_abs())),
        // A day that has begun is not over.
        -1 => "less than a day ago".to_owned(),
        days => {
            let days = days.unsigned_abs() - 1;
            format!("{days} {} ago", plural(days))
        }
    }
}

/// A time in the form of RFC 3339.
pub(crate) struct Rfc3339;

impl JsonSchema for Rfc3339 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn days_are_counted_whole() {
        let now = datetime!(2026-11-30 12:00 UTC);
        for (end, days, words) in [
            (datetime!(2027-11-30 12:00 UTC), 365, "in 365 days"),
            (datetime!(2026-12-02 11:59 UTC), 1, "in 1 day"),
            (datetime!(2026-12-01 11:59:59 UTC), 0, "in less than a day"),
            (datetime!(2026-11-30 12:00 UTC), 0, "in less than a day"),
            (datetime!(2026-11-30 11:59:59 UTC), -1, "less than a day ago"),
            (datetime!(2026-11-29 11:00 UTC), -2, "1 day ago"),
            (datetime!(2026-11-20 11:00 UTC), -11, "10 days ago"),
        ] {
            assert_eq!(days_until(end, now), days, "{end}");
            assert_eq!(days_in_words(end, now), words, "{end}");
        }
    }
}
