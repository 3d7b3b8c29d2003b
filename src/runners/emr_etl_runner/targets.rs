//! Storage targets (`--targets DIR`, `DIR/*.json`): where loaded events and bad rows go, and how
//! those connections are protected.
//!
//! The schemas are `com.snowplowanalytics.snowplow.storage` in Iglu Central. There is no field here
//! that could store passwords, passphrases or access keys.

use std::{collections::BTreeSet, path::Path};

use crate::{
    runners::emr_etl_runner::documents::{DocumentError, SelfDescribingJson, read_folder},
    spec::observations::{Database, Purpose, StorageTarget, Store},
};

impl StorageTarget {
    /// Parses one file.
    ///
    /// # Errors
    /// [`DocumentError`] when it is not a target that the runner supports.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = SelfDescribingJson::parse(file, bytes)?;
        let store = match document.schema.name.as_str() {
            "redshift_config" => Store::Redshift(database(&document)?),
            "postgresql_config" => Store::Postgres(database(&document)?),
            "elastic_config" => Store::Elasticsearch {
                host: document.required("host", document.text(&["host"])?)?,
                port: document.required("port", document.port(&["port"])?)?,
                nodes_wan_only: document.flag(&["nodesWanOnly"])?.unwrap_or_default(),
            },
            "amazon_dynamodb_config" => Store::DynamoDb {
                region: document.required("awsRegion", document.text(&["awsRegion"])?)?,
                table: document.required("dynamodbTable", document.text(&["dynamodbTable"])?)?,
            },
            other => {
                return Err(document.error(format!(
                    "`{other}` is not a storage target of this runner; expected redshift_config, \
                     postgresql_config, elastic_config or amazon_dynamodb_config"
                )));
            }
        };
        let purpose = match document.required("purpose", document.text(&["purpose"])?)?.as_str() {
            "ENRICHED_EVENTS" => Purpose::EnrichedEvents,
            "FAILED_EVENTS" => Purpose::FailedEvents,
            "DUPLICATE_TRACKING" => Purpose::DuplicateTracking,
            "EVENTS_MANIFEST" => Purpose::EventsManifest,
            _ => {
                return Err(document.error(
                    "`data.purpose` must be ENRICHED_EVENTS, FAILED_EVENTS, \
                    DUPLICATE_TRACKING or EVENTS_MANIFEST",
                ));
            }
        };
        Ok(Self {
            name: document.text(&["name"])?,
            id: document.text(&["id"])?,
            purpose,
            store,
            file: document.file(),
            schema: document.schema,
        })
    }

    /// Reads every file in `folder` whose name ends in `.json`, hidden ones too, as the runner
    /// does; in the order of their names.
    ///
    /// # Errors
    /// [`DocumentError`] for the first that cannot be read or parsed, and when two have the same
    /// id.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, DocumentError> {
        let files = read_folder(folder, |_| true)?;
        let targets: Vec<Self> =
            files.iter().map(|(file, bytes)| Self::parse(file, bytes)).collect::<Result<_, _>>()?;
        let mut ids = BTreeSet::new();
        match targets.iter().find(|target| target.id.as_ref().is_some_and(|id| !ids.insert(id))) {
            Some(target) => {
                Err(DocumentError::new(&target.file, "another target has the same `data.id`"))
            }
            None => Ok(targets),
        }
    }
}

fn database(document: &SelfDescribingJson<'_>) -> Result<Database, DocumentError> {
    let ssl_mode = match document.text(&["jdbc", "sslMode"])? {
        None => document.text(&["sslMode"])?,
        mode => mode,
    };
    Ok(Database {
        host: document.required("host", document.text(&["host"])?)?,
        port: document.required("port", document.port(&["port"])?)?,
        database: document.required("database", document.text(&["database"])?)?,
        ssl: document.flag(&["jdbc", "ssl"])?,
        ssl_mode,
        bastion: document.text(&["sshTunnel", "bastion", "host"])?,
        role_arn: document.text(&["roleArn"])?,
        manifest_table: document.text(&["processingManifest", "amazonDynamoDb", "tableName"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDSHIFT: &str = r#"{"schema": "iglu:com.snowplowanalytics.snowplow.storage/redshift_config/jsonschema/4-0-0", "data": {
        "name": "Acme Redshift", "id": "33334444-eee7-4845-a7e6-8fdae88d599c", "host": "redshift.acme.com", "database": "snowplow", "port": 5439,
        "roleArn": "arn:aws:iam::111122223333:role/load", "schema": "atomic", "username": "loader", "password": "hunter2", "jdbc": {"ssl": true},
        "processingManifest": {"amazonDynamoDb": {"tableName": "manifest"}}, "maxError": 1, "compRows": 20000, "purpose": "ENRICHED_EVENTS",
        "sshTunnel": {"bastion": {"host": "bastion.acme.com", "port": 22, "user": "x", "passphrase": "hunter2", "key": null}}}}"#;

    fn error(text: &str) -> String {
        StorageTarget::parse("t.json", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_redshift_target_is_understood_and_its_secrets_are_nowhere() {
        let target = StorageTarget::parse("targets/redshift.json", REDSHIFT.as_bytes()).unwrap();
        assert_eq!(
            (target.name.as_deref(), target.purpose, target.schema.version),
            (Some("Acme Redshift"), Purpose::EnrichedEvents, (4, 0, 0))
        );
        let shown = format!("{target:?} {}", serde_json::to_string(&target).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(
            target.store,
            Store::Redshift(Database {
                host: "redshift.acme.com".to_owned(),
                port: 5439,
                database: "snowplow".to_owned(),
                ssl: Some(true),
                ssl_mode: None,
                bastion: Some("bastion.acme.com".to_owned()),
                role_arn: Some("arn:aws:iam::111122223333:role/load".to_owned()),
                manifest_table: Some("manifest".to_owned()),
            })
        );
    }

    #[test]
    fn the_ssl_mode_is_found_where_each_schema_has_it() {
        let mode = |text: &str| match StorageTarget::parse("t.json", text.as_bytes()).unwrap().store
        {
            Store::Redshift(database) | Store::Postgres(database) => {
                (database.ssl, database.ssl_mode)
            }
            other => panic!("{other:?}"),
        };
        let old = REDSHIFT
            .replace("4-0-0", "2-1-0")
            .replace(r#""jdbc": {"ssl": true}"#, r#""sslMode": "DISABLE""#);
        assert_eq!(mode(&old), (None, Some("DISABLE".to_owned())));
        let both =
            REDSHIFT.replace(r#"{"ssl": true}"#, r#"{"ssl": true, "sslMode": "verify-full"}"#);
        assert_eq!(mode(&both), (Some(true), Some("verify-full".to_owned())));
        assert_eq!(
            mode(&old.replace("redshift_config", "postgresql_config")),
            (None, Some("DISABLE".to_owned()))
        );
    }

    #[test]
    fn elasticsearch_and_dynamodb_are_understood() {
        let text = r#"{"schema": "iglu:com.snowplowanalytics.snowplow.storage/elastic_config/jsonschema/1-0-1", "data":
            {"name": "bad", "host": "es.acme.com", "index": "snowplow", "port": 9200, "type": "bad_rows", "nodesWanOnly": true, "purpose": "FAILED_EVENTS"}}"#;
        let target = StorageTarget::parse("t.json", text.as_bytes()).unwrap();
        assert_eq!(target.purpose, Purpose::FailedEvents);
        assert_eq!(
            target.store,
            Store::Elasticsearch {
                host: "es.acme.com".to_owned(),
                port: 9200,
                nodes_wan_only: true
            }
        );
        let text = r#"{"schema": "iglu:com.snowplowanalytics.snowplow.storage/amazon_dynamodb_config/jsonschema/1-0-1", "data":
            {"name": "d", "accessKeyId": "hunter2", "secretAccessKey": "hunter2", "awsRegion": "eu-west-1", "dynamodbTable": "t", "purpose": "DUPLICATE_TRACKING"}}"#;
        let target = StorageTarget::parse("t.json", text.as_bytes()).unwrap();
        assert_eq!(
            target.store,
            Store::DynamoDb { region: "eu-west-1".to_owned(), table: "t".to_owned() }
        );
        assert!(!format!("{target:?}").contains("hunter2"));
    }

    #[test]
    fn errors_name_the_file_and_the_field_and_never_a_value() {
        let said = [
            error("{"),
            error("[]"),
            error("{}"),
            error(r#"{"schema": "hunter2", "data": {}}"#),
            error(r#"{"schema": "iglu:a/redshift_config/jsonschema/1-0-0", "data": "hunter2"}"#),
            error(r#"{"schema": "iglu:a/snowflake_config/jsonschema/1-0-0", "data": {}}"#),
            error(&REDSHIFT.replace("5439", r#""hunter2""#)),
            error(&REDSHIFT.replace("5439", "70000")),
            error(&REDSHIFT.replace(r#""host": "redshift.acme.com","#, "")),
            error(&REDSHIFT.replace("ENRICHED_EVENTS", "hunter2")),
            error(&format!("{REDSHIFT} // hunter2")),
        ];
        assert_eq!(
            said,
            [
                "t.json: not JSON (comments are not): EOF while parsing an object at line 1 \
                 column 1",
                "t.json: must be an object with `schema` and `data`; found a list",
                "t.json: `schema` must be text; found nothing",
                "t.json: `schema` must be such as iglu:vendor/name/jsonschema/1-0-0",
                "t.json: `data` must be an object; found text",
                "t.json: `snowflake_config` is not a storage target of this runner; expected \
                 redshift_config, postgresql_config, elastic_config or amazon_dynamodb_config",
                "t.json: `data.port` must be a whole number from 0 to 65535; found text",
                "t.json: `data.port` must be a whole number from 0 to 65535; found a number",
                "t.json: `data.host` is missing",
                "t.json: `data.purpose` must be ENRICHED_EVENTS, FAILED_EVENTS, \
                 DUPLICATE_TRACKING or EVENTS_MANIFEST",
                "t.json: not JSON (comments are not): trailing characters at line 5 column 129",
            ]
        );
    }

    #[test]
    fn a_folder_is_read_whole_and_two_targets_must_not_share_an_id() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.json", REDSHIFT);
        write(".a.json", &REDSHIFT.replace("33334444", "55556666"));
        write("c.JSON", "not read");
        write("d.json.bak", "not read");
        let targets = StorageTarget::read_all(folder.path()).unwrap();
        let names: Vec<&str> =
            targets.iter().map(|target| target.file.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, [".a.json", "b.json"]);

        write("e.json", REDSHIFT);
        let place = folder.path().join("e.json");
        let said = StorageTarget::read_all(folder.path()).unwrap_err().to_string();
        assert_eq!(said, format!("{}: another target has the same `data.id`", place.display()));
        assert!(StorageTarget::read_all(&folder.path().join("missing")).is_err());
    }
}
