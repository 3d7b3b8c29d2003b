//! The JSON Schema of the document, made from the types that it is written by. `schema.json` beside this file is what it comes to; a test fails when that is stale.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, transform::transform_subschemas};
use serde_json::Value;

use super::json::{Record, VERSION};

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

/// The document's own version.
pub(super) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

/// The schema, as JSON text.
pub(crate) fn text() -> anyhow::Result<String> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(close as fn(&mut Schema));
    let mut schema = settings.into_generator().into_root_schema_for::<Record<'_>>();
    schema.insert("$id".to_owned(), Value::from(format!("https://emr-etl-guard.example/document/v{VERSION}.json")));
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

/// Lets no object have members that its type does not name: a document with one is of another version, or was tampered with.
fn close(schema: &mut Schema) {
    transform_subschemas(&mut (close as fn(&mut Schema)), schema);
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_that_of_the_code() {
        let stale = "src/report/schema.json is stale: cargo run -- report schema > src/report/schema.json";
        assert!(text().unwrap() == include_str!("schema.json"), "{stale}");
    }

    #[test]
    fn every_object_names_its_members_or_says_what_they_are() {
        fn look(value: &Value, place: &str, objects: &mut usize) {
            if value["type"] == "object" {
                *objects += 1;
                assert!(value.get("additionalProperties").is_some() || value.get("patternProperties").is_some(), "{place} is open");
            }
            match value {
                Value::Object(members) => members.iter().for_each(|(key, value)| look(value, &format!("{place}/{key}"), objects)),
                Value::Array(several) => several.iter().for_each(|value| look(value, place, objects)),
                _ => {}
            }
        }
        let mut objects = 0;
        look(&serde_json::from_str(include_str!("schema.json")).unwrap(), "", &mut objects);
        assert!(objects > 50, "{objects}");
    }
}
