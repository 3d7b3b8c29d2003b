//! Enrichments (`--enrichments DIR`, `DIR/*.json`): which there are, and which systems they
//! contact.
//!
//! Of their parameters only the data sources are kept: no passwords, keys, queries or paths of web
//! requests.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::{
    runners::emr_etl_runner::documents::{DocumentError, SelfDescribingJson, read_folder},
    spec::observations::{Enrichment, EnrichmentSource},
};

impl EnrichmentSource {
    fn of(uri: &str) -> Self {
        let Some((scheme, rest)) = uri.split_once("://") else { return Self::Other };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" | "s3n" | "s3a" => Self::S3(uri.to_owned()),
            scheme @ ("http" | "https") => {
                let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
                // Before the last `@` are a user and possibly a password.
                let host = authority.rsplit('@').next().unwrap_or_default();
                Self::Server(format!("{scheme}://{host}"))
            }
            _ => Self::Other,
        }
    }
}

impl Enrichment {
    /// Parses one file.
    ///
    /// # Errors
    /// [`DocumentError`] when it is not self-describing JSON.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = SelfDescribingJson::parse(file, bytes)?;
        let mut sources = BTreeSet::new();
        if let Some(parameters) = document.get(&["parameters"]) {
            collect(parameters, &mut sources);
        }
        Ok(Self {
            name: document.text(&["name"])?,
            vendor: document.text(&["vendor"])?,
            enabled: document.flag(&["enabled"])?,
            sources,
            file: document.file(),
            schema: document.schema,
        })
    }

    /// Reads every file in `folder` whose name ends in `.json` and does not begin with a dot, in
    /// the order of their names.
    ///
    /// # Errors
    /// [`DocumentError`] for the first that cannot be read or parsed, and when the runner would
    /// treat the folder's name as a pattern.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, DocumentError> {
        // The runner passes the folder's name to Ruby's `Dir.glob`, too.
        let shown = folder.display().to_string();
        if shown.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Err(DocumentError::new(
                shown,
                "the runner reads one of * ? [ ] { } \\ in this name as a pattern; rename the \
                 folder",
            ));
        }
        read_folder(folder, |name| !name.starts_with('.'))?
            .iter()
            .map(|(file, bytes)| Self::parse(file, bytes))
            .collect()
    }
}

fn collect(value: &Value, sources: &mut BTreeSet<EnrichmentSource>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(uri) if key == "uri" => {
                        sources.insert(EnrichmentSource::of(uri));
                    }
                    field => collect(field, sources),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, sources)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKUP: &str = r#"{"schema": "iglu:com.snowplowanalytics.snowplow/ip_lookups/jsonschema/2-0-0", "data": {
        "name": "ip_lookups", "vendor": "com.snowplowanalytics.snowplow", "enabled": true,
        "parameters": {"geo": {"database": "GeoLite2-City.mmdb", "uri": "s3://acme-assets/maxmind"}}}}"#;

    #[test]
    fn what_an_enrichment_reaches_out_to_is_known_but_not_with_which_secrets() {
        let lookup = Enrichment::parse("e.json", LOOKUP.as_bytes()).unwrap();
        assert_eq!((lookup.name.as_deref(), lookup.enabled), (Some("ip_lookups"), Some(true)));
        assert_eq!(
            lookup.sources,
            BTreeSet::from([EnrichmentSource::S3("s3://acme-assets/maxmind".to_owned())])
        );

        let request = r#"{"schema": "iglu:com.snowplowanalytics.snowplow.enrichments/api_request_enrichment_config/jsonschema/1-0-0", "data": {
            "name": "api", "vendor": "x", "enabled": true, "parameters": {"api": {"http": {"method": "GET", "timeout": 2000,
            "uri": "HTTP://u:hunter2@api.acme.com:8080/hunter2?key=hunter2", "authentication": {"httpBasic": {"username": "u", "password": "hunter2"}}}},
            "other": [{"uri": "jdbc:hunter2"}]}}}"#;
        let request = Enrichment::parse("e.json", request.as_bytes()).unwrap();
        assert_eq!(
            request.sources,
            BTreeSet::from([
                EnrichmentSource::Server("http://api.acme.com:8080".to_owned()),
                EnrichmentSource::Other
            ])
        );
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn a_folder_is_read_as_ruby_globs_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.json"), LOOKUP).unwrap();
        std::fs::write(folder.path().join(".hidden.json"), "not read").unwrap();
        assert_eq!(Enrichment::read_all(folder.path()).unwrap().len(), 1);
        let said = Enrichment::read_all(Path::new("enrich{a,b}")).unwrap_err().to_string();
        assert_eq!(
            said,
            "enrich{a,b}: the runner reads one of * ? [ ] { } \\ in this name as a pattern; \
             rename the folder"
        );
    }
}
