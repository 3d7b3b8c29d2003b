//! The JSON Schemas of the reports, generated from the Rust types. `schema.json` and its siblings
//! beside this file are the output; a test fails when one is stale.

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::Value;

use crate::{
    base::report_kind::{RUN_REPORT_VERSION, ReportKind, SENTINEL_REPORT_VERSION},
    report::{
        audit_document::{self, AuditReport},
        json::Record,
        reencrypt_document::{self, ReencryptReport},
        sentinel_document::SentinelReport,
        setup_document::{self, SetupReport},
    },
};

/// The schema of a kind of report, as JSON text.
pub(crate) fn text(kind: ReportKind) -> anyhow::Result<String> {
    let generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(close as fn(&mut Schema))
        .with_transform(unwrap_lines as fn(&mut Schema))
        .into_generator();
    let (mut schema, name) = match kind {
        ReportKind::Run => (
            generator.into_root_schema_for::<Record<'_>>(),
            format!("document/v{RUN_REPORT_VERSION}"),
        ),
        ReportKind::Audit => (
            generator.into_root_schema_for::<AuditReport>(),
            format!("audit/v{}", audit_document::VERSION),
        ),
        ReportKind::Reencrypt => (
            generator.into_root_schema_for::<ReencryptReport>(),
            format!("reencrypt/v{}", reencrypt_document::VERSION),
        ),
        ReportKind::Setup => (
            generator.into_root_schema_for::<SetupReport>(),
            format!("setup/v{}", setup_document::VERSION),
        ),
        ReportKind::Sentinel => (
            generator.into_root_schema_for::<SentinelReport>(),
            format!("sentinel/v{SENTINEL_REPORT_VERSION}"),
        ),
    };
    schema.insert(
        "$id".to_owned(),
        Value::from(format!("https://emr-etl-guard.example/{name}.json")),
    );
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

/// Allows no members that an object's type does not name: a report with one has another version, or
/// was tampered with.
fn close(schema: &mut Schema) {
    transform_subschemas(&mut (close as fn(&mut Schema)), schema);
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// Joins each paragraph of a description into one line: the line breaks of the source comment do
/// not matter to readers of the schema.
fn unwrap_lines(schema: &mut Schema) {
    transform_subschemas(&mut (unwrap_lines as fn(&mut Schema)), schema);
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: [(ReportKind, &str, &str); 5] = [
        (ReportKind::Run, "schema.json", include_str!("schema.json")),
        (ReportKind::Audit, "schema-audit.json", include_str!("schema-audit.json")),
        (ReportKind::Reencrypt, "schema-reencrypt.json", include_str!("schema-reencrypt.json")),
        (ReportKind::Setup, "schema-setup.json", include_str!("schema-setup.json")),
        (ReportKind::Sentinel, "schema-sentinel.json", include_str!("schema-sentinel.json")),
    ];

    #[test]
    fn the_schemas_in_the_repository_are_those_of_the_code() {
        for (kind, file, published) in PUBLISHED {
            let name = format!("{kind:?}").to_lowercase();
            assert!(
                text(kind).unwrap() == published,
                "src/report/{file} is stale: emr-etl-guard report schema {name} > src/report/{file}"
            );
        }
    }

    #[test]
    fn every_object_names_its_members_or_says_what_they_are() {
        fn look(value: &Value, place: &str, objects: &mut usize) {
            if value["type"] == "object" {
                *objects += 1;
                assert!(
                    value.get("additionalProperties").is_some()
                        || value.get("patternProperties").is_some(),
                    "{place} is open"
                );
            }
            match value {
                Value::Object(members) => members
                    .iter()
                    .for_each(|(key, value)| look(value, &format!("{place}/{key}"), objects)),
                Value::Array(several) => {
                    several.iter().for_each(|value| look(value, place, objects));
                }
                _ => {}
            }
        }
        for (kind, file, published) in PUBLISHED {
            let mut objects = 0;
            look(&serde_json::from_str(published).unwrap(), file, &mut objects);
            assert!(objects > if kind == ReportKind::Run { 50 } else { 8 }, "{file}: {objects}");
        }
    }
}
