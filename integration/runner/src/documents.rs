//! Owns the other files of a run: the Iglu resolver, the enrichments and the storage targets.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::argv::Options;
use crate::stop::Stop;

/// The files' contents, in the form of the steps' arguments.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    resolver: String,
    enrichments: Vec<Value>,
    targets: Vec<Value>,
}

impl Documents {
    /// Reads the files the options name: enrichments, then the resolver, then targets.
    ///
    /// # Errors
    /// The first that is missing or cannot be read.
    pub fn load(options: &Options) -> Result<Self, Stop> {
        let refuse = |message: String| Stop::Refused(format!("{message}\n{}", options.usage));
        let enrichments = match &options.enrichments {
            None => Vec::new(),
            Some(folder) if Path::new(folder).is_dir() => json_files(folder)?,
            Some(folder) => {
                return Err(refuse(format!(
                    "Enrichments directory '{folder}' does not exist, or is not a directory"
                )));
            }
        };
        let Some(path) = &options.resolver else {
            return Err(refuse("Missing option: resolver".to_owned()));
        };
        if !Path::new(path).is_file() {
            return Err(refuse(format!(
                "Iglu resolver file '{path}' does not exist, or is not a file"
            )));
        }
        let resolver = read(Path::new(path))?;
        let targets = match &options.targets {
            None => Vec::new(),
            Some(folder) => json_files(folder)?,
        };
        Ok(Self { resolver, enrichments, targets })
    }

    /// The checks that the real program does before it looks for the lock.
    ///
    /// # Errors
    /// A resolver that is not JSON, a target of an unknown kind.
    pub fn check(&self) -> Result<(), Stop> {
        const KNOWN: [&str; 4] =
            ["redshift_config", "postgresql_config", "elastic_config", "amazon_dynamodb_config"];
        if serde_json::from_str::<Value>(&self.resolver).is_err() {
            return Err(Stop::crash("JSON::ParserError", "unexpected token in the Iglu resolver"));
        }
        for target in &self.targets {
            let kind = kind(target);
            if !KNOWN.contains(&kind) {
                return Err(Stop::crash(
                    "SystemExit",
                    format!("EmrEtlRunner doesn't support storage target configuration [{kind}]"),
                ));
            }
        }
        Ok(())
    }

    /// The resolver, in base64, as it is in its file.
    #[must_use]
    pub fn resolver_base64(&self) -> String {
        STANDARD.encode(&self.resolver)
    }

    /// All enrichments in one JSON document, in base64.
    #[must_use]
    pub fn enrichments_base64(&self) -> String {
        to_base64(&json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/enrichments/jsonschema/1-0-0",
            "data": self.enrichments,
        }))
    }

    /// The targets of one purpose, such as `ENRICHED_EVENTS`.
    pub fn targets(&self, purpose: &str) -> impl Iterator<Item = &Value> {
        self.targets.iter().filter(move |target| target["data"]["purpose"] == purpose)
    }

    /// The Redshift target that RDB Shredder 0.16 and later gets.
    #[must_use]
    pub fn redshift_target(&self) -> Option<&Value> {
        self.targets("ENRICHED_EVENTS")
            .find(|target| kind(target) == "redshift_config" && model(target) >= 4)
    }
}

/// One JSON document in base64.
#[must_use]
pub fn to_base64(document: &Value) -> String {
    STANDARD.encode(document.to_string())
}

/// `redshift_config` in `iglu:vendor/redshift_config/jsonschema/4-0-0`.
fn kind(target: &Value) -> &str {
    schema(target).nth(1).unwrap_or_default()
}

fn model(target: &Value) -> u32 {
    schema(target)
        .nth(3)
        .and_then(|version| version.split('-').next()?.parse().ok())
        .unwrap_or_default()
}

fn schema(target: &Value) -> impl Iterator<Item = &str> {
    target["schema"].as_str().unwrap_or_default().split('/')
}

fn json_files(folder: &str) -> Result<Vec<Value>, Stop> {
    let missing = |_| Stop::crash("Errno::ENOENT", format!("No such file or directory - {folder}"));
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(missing)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            serde_json::from_str(&read(path)?).map_err(|_| {
                Stop::crash("JSON::ParserError", format!("unexpected token in {}", path.display()))
            })
        })
        .collect()
}

fn read(path: &Path) -> Result<String, Stop> {
    fs::read_to_string(path)
        .map_err(|error| Stop::crash("IOError", format!("{}: {error}", path.display())))
}
