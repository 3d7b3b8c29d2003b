//! Owns the format of times in HTTP headers.

use time::OffsetDateTime;

/// `Sun, 22 Nov 2026 08:33:52 GMT`, as HTTP headers write times.
pub(crate) fn http_date(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(format).unwrap_or_default()
}
