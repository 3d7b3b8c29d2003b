//! Times as text, for reports and schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use time::{OffsetDateTime, format_description::well_known};

/// The form that a report uses.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&well_known::Rfc3339).unwrap_or_default()
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
