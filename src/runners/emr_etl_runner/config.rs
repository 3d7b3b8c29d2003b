//! The runner config: EmrEtlRunner's `config.yml` as the runner itself would load it, and the parts
//! of it that a verdict needs.
//!
//! The type contract, for the keys read here, is `ConfigHash` of EmrEtlRunner 1.0.4
//! (`lib/snowplow-emr-etl-runner/contracts.rb`).

use std::{io::Read as _, path::Path};

use crate::{
    base::{
        digest::sha256,
        names::ReleaseLabel,
        secret::{RunnerCredentials, Secret},
    },
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        contract::{self, Breach},
        erb::{self, Rendered},
        invocation::ConfigSource,
        psych,
        reader::ConfigReader,
        ruby::{self, PrintedByConfig, Ruby, RubyBinding},
        scalar,
        seal::{self, Seal, Sealed},
        secrets::{KnownSecrets, SecretVariables},
        yaml_value::{Value, YamlNode},
    },
    spec::{
        cluster_spec::{ClusterSpec, LauncherAdditions, Property},
        data_paths::DataLocation,
        located::Located,
        observations::{ConfigAmbiguity, RunnerVersion, Tracking},
    },
};

/// The size limit of a config in bytes (the real one has 2 KiB).
pub(super) const LARGEST: u64 = 1 << 20;

/// Replaces the file's name for a config from standard input.
const STDIN: &str = "<stdin>";

/// The properties that the runner adds to `Configurations` for collectors that write Thrift.
/// Source: EmrEtlRunner, emr_job.rb.
const FOR_THRIFT: [(&str, &str, &str); 2] = [
    ("core-site", "io.file.buffer.size", "65536"),
    ("mapred-site", "mapreduce.user.classpath.first", "true"),
];

/// The runner's own bootstrap scripts: one of Snowplow's, from the bucket of the region, and those
/// for two kinds of software. Source: EmrEtlRunner, emr_job.rb.
fn added_bootstrap(config: &RunnerConfig) -> Vec<String> {
    let region = &config.emr_region.value;
    let hosted = if region == "eu-west-1" { String::new() } else { format!("-{region}") };
    let snowplow =
        format!("s3://snowplow-hosted-assets{hosted}/common/emr/snowplow-ami*-bootstrap-*.sh");
    let hbase = config
        .hbase
        .as_ref()
        .map(|_| format!("s3://{region}.elasticmapreduce/bootstrap-actions/setup-hbase"));
    let lingual = config.lingual.as_ref();
    let lingual = lingual.map(|version| {
        format!(
            "s3://files.concurrentinc.com/lingual/{}/lingual-client/install-lingual-client.sh",
            version.value
        )
    });
    [Some(snowplow), hbase, lingual].into_iter().flatten().collect()
}

/// The runner config as loaded.
#[derive(Debug)]
pub struct RunnerConfig {
    /// The file's name as given, or `<stdin>`.
    pub origin: String,
    /// SHA-256 of the config's bytes as read, in hexadecimal.
    pub digest: String,
    /// `aws.access_key_id` and `aws.secret_access_key`.
    pub credentials: RunnerCredentials,
    /// `aws.s3.region`.
    pub s3_region: Located<String>,
    /// `aws.emr.region`.
    pub emr_region: Located<String>,
    /// `aws.emr.ami_version`, with the prefix `emr-` that the runner adds.
    pub release: Located<ReleaseLabel>,
    /// `aws.emr.jobflow_role`: an instance profile's name.
    pub jobflow_role: Located<String>,
    /// `aws.emr.service_role`: the role that the EMR service acts as.
    pub service_role: Located<String>,
    /// The instance types of its groups.
    pub instance_types: Vec<Located<String>>,
    /// `aws.emr.configuration`.
    pub properties: Vec<Property>,
    /// `aws.emr.bootstrap`: scripts that every node runs first.
    pub bootstrap: Vec<Located<String>>,
    /// `aws.emr.software.hbase`.
    pub hbase: Option<Located<String>>,
    /// `aws.emr.software.lingual`.
    pub lingual: Option<Located<String>>,
    /// `aws.emr.additional_info`.
    pub additional_info: Option<Located<String>>,
    /// `monitoring.tags`: the cluster's tags, as key and value.
    pub tags: Vec<(String, String)>,
    /// `monitoring.snowplow`.
    pub tracking: Option<Tracking>,
    /// `aws.emr.ec2_subnet_id`.
    pub subnet: Option<Located<String>>,
    /// `aws.emr.security_configuration` before sealing, if it is text.
    pub security_configuration: Option<Located<String>>,
    /// `aws.emr.jobflow.job_name`: the cluster's name.
    pub job_name: String,
    /// Every S3 location, in the order of the config.
    pub locations: Vec<DataLocation>,
    /// `collectors.format`.
    pub collector_format: Option<String>,
    /// `enrich.versions.spark_enrich`.
    pub spark_enrich: Option<String>,
    /// `enrich.continue_on_unexpected_error`.
    pub continue_on_unexpected_error: bool,
    /// `storage.versions.rdb_shredder`.
    pub rdb_shredder: String,
    /// Places that a person is likely to read differently than Ruby does.
    pub ambiguities: Vec<ConfigAmbiguity>,
    /// Breaches of contracts that only versions after the first encrypting one have.
    later_breaches: Vec<Breach>,
    /// What the config printed while Ruby rendered it; empty where the guard rendered it.
    pub(crate) printed: PrintedByConfig,
    /// The whole config, credentials included.
    root: Secret<YamlNode>,
    /// The secrets in it.
    secrets: KnownSecrets,
}

impl RunnerConfig {
    /// Reads and loads the config of the invocation, with the environment that the runner will
    /// have. `ruby` renders its ERB, or without one the guard itself.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, is not plain YAML, or breaks the runner's contract.
    pub fn read(source: &ConfigSource, ruby: Option<&Ruby>) -> Result<Self, ConfigError> {
        let (origin, bytes) =
            match source {
                ConfigSource::Stdin => {
                    let mut bytes = Vec::new();
                    std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(
                        |error| ConfigError::of(STDIN, format!("cannot be read: {error}")),
                    )?;
                    (STDIN.to_owned(), bytes)
                }
                ConfigSource::File(path) => (path.display().to_string(), read_file(path)?),
            };
        Self::load(&origin, &bytes, ruby, &|name| std::env::var_os(name))
    }

    /// Loads `bytes`, naming `origin` in every error.
    ///
    /// # Errors
    /// As [`RunnerConfig::read`].
    pub fn parse(
        origin: &str,
        bytes: &[u8],
        env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, ConfigError> {
        Self::load(origin, bytes, None, env)
    }

    /// The cluster that the runner would start.
    #[must_use]
    pub fn cluster_spec(&self) -> ClusterSpec {
        ClusterSpec {
            origin: self.origin.clone(),
            digest: self.digest.clone(),
            name: self.job_name.clone(),
            region: self.emr_region.clone(),
            release: self.release.clone(),
            service_role: self.service_role.clone(),
            instance_profile: self.jobflow_role.clone(),
            subnet: self.subnet.clone(),
            security_configuration: self.security_configuration.clone(),
            instance_types: self.instance_types.clone(),
            properties: self.properties.clone(),
            tags: self.tags.clone(),
            bootstrap_actions: self.bootstrap.clone(),
            additional_info: self.additional_info.clone(),
            additions: LauncherAdditions {
                properties: if self.collector_format.as_deref() == Some("thrift") {
                    FOR_THRIFT.to_vec()
                } else {
                    Vec::new()
                },
                bootstrap_actions: added_bootstrap(self),
            },
        }
    }

    fn load(
        origin: &str,
        bytes: &[u8],
        ruby: Option<&Ruby>,
        env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > LARGEST {
            return Err(ConfigError::of(
                origin,
                format!("larger than {LARGEST} bytes; this is no EmrEtlRunner config"),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let mut place = ConfigPosition::START;
            place.advance_all(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
            ConfigError::at(place, "not valid UTF-8").within(origin)
        })?;
        let digest = sha256(bytes);
        let variables = SecretVariables::default();
        let noting = |name: &str| {
            let value = env(name);
            variables.note(name, value.as_ref());
            value
        };
        let mut printed = PrintedByConfig::default();
        let mut rendered = || -> Result<Rendered, ConfigError> {
            let Some(ruby) = ruby else { return erb::render(text, &noting) };
            let config_file = if origin == STDIN { "-" } else { origin };
            let by_ruby = ruby::render(ruby, text, RubyBinding { config_file })?;
            printed = by_ruby.printed;
            // Positions in a text that Ruby rendered refer to that text; if no tag spans lines,
            // they are also those of the file.
            Rendered::from_rendered(&by_ruby.text)
        };
        let rendered = rendered();
        let known = KnownSecrets::default().with(variables.into_values());
        let loaded = rendered.and_then(|rendered| {
            let masked = |message: &str| KnownSecrets::of_text(&rendered.text).masked(message);
            psych::load(&rendered).map_err(|error| error.map(masked))
        });
        let secrets = match &loaded {
            Ok(loaded) => KnownSecrets::of(&loaded.root).with(known),
            Err(_) => known,
        };
        loaded
            .and_then(|loaded| Self::understand(origin, digest, loaded, &secrets))
            .map(|config| Self { printed, ..config })
            .map_err(|error| error.map(|message| secrets.masked(message)).within(origin))
    }

    fn understand(
        origin: &str,
        digest: String,
        loaded: psych::Loaded,
        secrets: &KnownSecrets,
    ) -> Result<Self, ConfigError> {
        let psych::Loaded { root, ambiguities, empty_tags } = loaded;
        let reader = ConfigReader { origin, root: &root, empty_tags: &empty_tags };
        let ambiguities: Vec<&psych::YamlAmbiguity> =
            ambiguities.iter().filter(|found| found.is_judged()).collect();
        let (breaches, later_breaches): (Vec<_>, Vec<_>) = contract::breaches(&root, &empty_tags)
            .into_iter()
            .partition(|breach| breach.since <= RunnerVersion::FIRST_ENCRYPTING);
        if !breaches.is_empty() {
            // A misleading place is often the cause of the breach: a second `aws:` hides the first.
            let notes = ambiguities.iter().map(|found| {
                (
                    found.loses.to_string(),
                    format!("note: {}, which Ruby drops for the one at {}", found.what, found.wins),
                )
            });
            let breaches = breaches.into_iter().chain(later_breaches);
            let breaches = breaches.map(|breach| (breach.at.to_string(), breach.message));
            return Err(ConfigError { problems: breaches.chain(notes).collect() });
        }
        let credentials = RunnerCredentials {
            access_key_id: reader.secret(&["aws", "access_key_id"])?,
            secret_access_key: reader.secret(&["aws", "secret_access_key"])?,
        };
        let release = reader.text(&["aws", "emr", "ami_version"])?;
        let release = Located {
            value: ReleaseLabel::from_ami_version(&release.value).map_err(|reason| {
                let is_release = |text: &str| text.starts_with(|it: char| it.is_ascii_digit());
                let text = release.value.trim_start_matches("emr-");
                let reason = if is_release(text) {
                    reason.to_string()
                } else {
                    "is not a release; expected one such as 5.29.0".to_owned()
                };
                ConfigError::at(
                    reader.position(&["aws", "emr", "ami_version"]),
                    format!("aws.emr.ami_version {reason}"),
                )
            })?,
            at: release.at,
        };
        Ok(Self {
            origin: origin.to_owned(),
            digest,
            credentials,
            s3_region: reader.text(&["aws", "s3", "region"])?,
            emr_region: reader.text(&["aws", "emr", "region"])?,
            release,
            jobflow_role: reader.text(&["aws", "emr", "jobflow_role"])?,
            service_role: reader.text(&["aws", "emr", "service_role"])?,
            instance_types: reader.instance_types()?,
            properties: reader.properties(),
            bootstrap: reader.texts(&["aws", "emr", "bootstrap"])?,
            hbase: reader.optional_text(&["aws", "emr", "software", "hbase"])?,
            lingual: reader.optional_text(&["aws", "emr", "software", "lingual"])?,
            additional_info: reader.optional_text(&["aws", "emr", "additional_info"])?,
            tags: reader.tags(),
            tracking: reader.tracking()?,
            subnet: reader.optional_text(&["aws", "emr", "ec2_subnet_id"])?,
            // The seal replaces this value, so a wrong type is not an error of its own.
            security_configuration: reader
                .optional_text(&["aws", "emr", "security_configuration"])
                .ok()
                .flatten(),
            job_name: reader.text(&["aws", "emr", "jobflow", "job_name"])?.value,
            locations: reader.locations()?,
            collector_format: reader
                .optional_text(&["collectors", "format"])?
                .map(|located| located.value),
            spark_enrich: reader
                .optional_text(&["enrich", "versions", "spark_enrich"])?
                .map(|located| located.value),
            continue_on_unexpected_error: matches!(
                root.find(&["enrich", "continue_on_unexpected_error"]),
                Some(YamlNode { value: Value::Bool(true), .. })
            ),
            rdb_shredder: reader.text(&["storage", "versions", "rdb_shredder"])?.value,
            ambiguities: ambiguities
                .into_iter()
                .map(|found| reader.ambiguity(found))
                .map(|found| ConfigAmbiguity { key: secrets.masked(&found.key), ..found })
                .collect(),
            printed: PrintedByConfig::default(),
            later_breaches: later_breaches
                .into_iter()
                .map(|breach| Breach { message: secrets.masked(&breach.message), ..breach })
                .collect(),
            root: Secret::new(root),
            secrets: secrets.clone(),
        })
    }

    /// The whole config, credentials included.
    pub(super) fn root(&self) -> &YamlNode {
        self.root.reveal()
    }

    /// `text` for people, with a mask for each secret of the config in it.
    pub(super) fn masked(&self, text: &str) -> String {
        self.secrets.masked(text)
    }

    /// Whether only some versions of the runner accept it.
    pub(crate) fn depends_on_version(&self) -> bool {
        !self.later_breaches.is_empty()
    }

    /// Checks it against the contract of the runner's version; if that is unknown, against the
    /// latest one's.
    ///
    /// # Errors
    /// [`ConfigError`] for each key that this version's contract rejects.
    pub(crate) fn hold_to(&self, version: Option<RunnerVersion>) -> Result<(), ConfigError> {
        let asked = |breach: &&Breach| version.is_none_or(|version| version >= breach.since);
        let problems: Vec<(String, String)> = self
            .later_breaches
            .iter()
            .filter(asked)
            .map(|breach| (format!("{}:{}", self.origin, breach.at), breach.message.clone()))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Sets the keys of `seal` and verifies that nothing else changed.
    ///
    /// # Errors
    /// [`ConfigError`] when there is no place to set them, or the verification fails.
    pub fn seal(&self, seal: &Seal) -> Result<Sealed, ConfigError> {
        let mut sealed =
            seal::seal(self.root.reveal(), seal).map_err(|error| error.within(&self.origin))?;
        // Somebody may have put a secret under a sealed key.
        for change in &mut sealed.changes {
            change.before = change.before.take().map(|before| self.secrets.masked(&before));
        }
        Ok(sealed)
    }

    /// The sealed text for people and logs, with a mask for each value that is a secret by its key,
    /// place or format.
    ///
    /// # Errors
    /// As [`RunnerConfig::seal`].
    pub fn seal_masked(&self, seal: &Seal) -> Result<Sealed, ConfigError> {
        let mut masked = self.root.reveal().clone();
        let refuse = |error: ConfigError| error.within(&self.origin);
        // If the real config cannot be sealed, neither can this one.
        seal::seal(&masked, seal).map_err(refuse)?;
        self.secrets.mask(&mut masked);
        seal::seal(&masked, seal).map_err(refuse)
    }
}

/// Why [`dump`] rejects a config that is not preserved by its sealed form: a bug of the guard.
pub const LOST: &str = "the sealed form of this config does not load as what was meant";

/// What Ruby would hold after loading `text`, in the format of the oracle under
/// `integration/runner/oracle`; maps in Ruby's own order.
///
/// # Errors
/// Why the config would be refused before any check of its content.
pub fn dump(
    text: &str,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<serde_json::Value, String> {
    let loaded = || -> Result<YamlNode, ConfigError> {
        let root = psych::load(&erb::render(text, env)?)?.root;
        if seal::survives(&root)? { Ok(root) } else { Err(ConfigError::at(root.at, LOST)) }
    };
    loaded().map(|root| dumped(&root.value)).map_err(|error| error.to_string())
}

fn dumped(value: &Value) -> serde_json::Value {
    use serde_json::json;
    match value {
        Value::Null => json!(null),
        Value::Bool(yes) => json!(yes),
        Value::Integer(number) => json!({"int": number.to_string()}),
        Value::Float(number) => json!({"float": format!("{:016x}", number.to_bits())}),
        Value::Text(text) => json!({ "text": text.as_ref() }),
        Value::Other { kind: scalar::DATE, text } => {
            json!({"date": scalar::calendar_date(text).map(|date| date.to_string())})
        }
        Value::Other { kind, .. } => json!({ "other": kind }),
        Value::List(items) => {
            json!({"list": items.iter().map(|item| dumped(&item.value)).collect::<Vec<_>>()})
        }
        Value::Map(entries) => {
            json!({"map": entries
                .iter()
                .map(|(key, child)| json!([{"symbol": key.name}, dumped(&child.value)]))
                .collect::<Vec<_>>()})
        }
    }
}

/// The bytes of a config, up to a size limit.
///
/// # Errors
/// [`ConfigError`] when it is no regular file, or cannot be read.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| ConfigError::of(&name, format!("cannot be read: {error}"));
    // The runner's own test is `File.file?`: it follows symbolic links and rejects a FIFO.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(ConfigError::of(
            &name,
            "not a regular file; EmrEtlRunner takes a file, or `-` for standard input",
        ));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::emr_etl_runner::yaml_value;

    /// The environment of the recordings.
    fn env(name: &str) -> Option<std::ffi::OsString> {
        let value = match name {
            "ENC" => "true",
            "SC" => "acme-sc",
            "AWS_SNOWPLOW_ACCESS_KEY" => "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY" => "fake",
            _ => return None,
        };
        Some(value.into())
    }

    fn recorded_config() -> &'static str {
        include_str!("../../../tests/recordings/config.yml")
    }

    fn parse(text: &str) -> Result<RunnerConfig, String> {
        RunnerConfig::parse("config.yml", text.as_bytes(), &env).map_err(|error| error.to_string())
    }

    fn seal() -> Seal {
        Seal {
            security_configuration: "acme-sc".to_owned(),
            tag: Some(("run".to_owned(), "1".to_owned())),
        }
    }

    /// Describes a loaded config in the format of the recordings.
    fn summary(config: &RunnerConfig) -> String {
        let shown = |path: &[&str]| match config.root.reveal().find(path).map(|node| &node.value) {
            None => "nil (no key)".to_owned(),
            Some(Value::Null) => "nil".to_owned(),
            // As Ruby's `inspect` shows it.
            Some(Value::Text(text)) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Some(other) => {
                let mut text = String::new();
                seal::write(other, &mut text);
                text
            }
        };
        let ami = config.release.value.to_string();
        format!(
            "ACCEPTED encrypted={} security_configuration={} ami={:?}",
            shown(&["aws", "s3", "buckets", "encrypted"]),
            shown(&["aws", "emr", "security_configuration"]),
            ami.trim_start_matches("emr-"),
        )
    }

    #[test]
    fn on_every_recorded_config_the_guard_agrees_with_ruby_or_refuses() {
        let mut agreed = 0;
        let mut refused = Vec::new();
        for line in include_str!("../../../tests/recordings/config-loading.jsonl").lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| case[key].as_str().unwrap_or_default();
            match RunnerConfig::parse("config.yml", text("config").as_bytes(), &env) {
                Err(_) => refused.push(text("name").to_owned()),
                Ok(config) => {
                    let ours = summary(&config);
                    let theirs = [text("result"), text("result_mri")];
                    // A config that the runner rejects by its type contract is rejected under the
                    // guard too. Only the accepted ones must be equal.
                    let accepted = theirs.iter().any(|result| result.starts_with("ACCEPTED"));
                    assert!(
                        !accepted || theirs.contains(&ours.as_str()),
                        "{}: ours {ours}, Ruby's {theirs:?}",
                        text("name")
                    );
                    agreed += 1;
                }
            }
        }
        assert!(agreed > 60, "most recorded configs are plain; only {agreed} were understood");
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn sealing_sets_the_two_keys_and_the_tag_and_nothing_else() {
        let config = parse(recorded_config()).unwrap();
        let sealed = config.seal(&seal()).unwrap();
        let shown: Vec<String> = sealed
            .changes
            .iter()
            .map(|change| format!("{}: {:?} -> {}", change.key, change.before, change.after))
            .collect();
        assert_eq!(
            shown,
            [
                "aws.emr.security_configuration: Some(\"(blank)\") -> acme-sc",
                "aws.s3.buckets.encrypted: Some(\"false\") -> true",
                "monitoring.tags.run: None -> 1"
            ]
        );
        let loaded = parse(sealed.text.reveal()).unwrap();
        assert_eq!(
            summary(&loaded),
            "ACCEPTED encrypted=true security_configuration=\"acme-sc\" ami=\"5.29.0\""
        );
    }

    #[test]
    fn whatever_stood_at_the_two_keys_is_replaced() {
        for (before, shown) in [
            ("\"true\"", "true (text)"),
            ("1", "1"),
            ("[true]", "[true]"),
            ("no", "false"),
            ("", "(blank)"),
        ] {
            let text =
                recorded_config().replace("encrypted: false", &format!("encrypted: {before}"));
            let sealed = parse(&text).unwrap().seal(&seal()).unwrap();
            assert_eq!(sealed.changes[1].before.as_deref(), Some(shown), "{before}");
            // The runner would reject all of these. The seal replaces them with valid values, and
            // this is reported.
            assert!(sealed.changes[1].replaced(), "{before}");
        }
        let missing = recorded_config()
            .replace("      encrypted: false\n", "")
            .replace("    security_configuration:\n", "");
        let sealed = parse(&missing).unwrap().seal(&seal()).unwrap();
        assert!(sealed.changes.iter().all(|change| change.before.is_none() && change.replaced()));
    }

    #[test]
    fn errors_name_the_place_the_key_and_what_to_do() {
        let refusal =
            |from: &str, to: &str| parse(&recorded_config().replace(from, to)).unwrap_err();
        let cases = [
            refusal("ami_version: 5.29.0", "ami_version: 5.10"),
            refusal("ami_version: 5.29.0", "ami_version: emr-5.29.0"),
            refusal("region: eu-west-1\n    jobflow_role", "jobflow_role"),
            refusal("processing: s3://acme-etl/processing", "processing: /var/data"),
            refusal("    job_name: Snowplow ETL", "    job_name: 2020-01-01"),
            refusal("    job_name: Snowplow ETL", "    job_name: ADD HERE"),
            refusal("jobflow_role: EMR_EC2_DefaultRole", "jobflow_role: <%= ENV.fetch('ROLE') %>"),
            refusal("jobflow_role: EMR_EC2_DefaultRole", "jobflow_role: <%= `whoami` %>"),
            refusal("tags: {}", "tags: {a: 1, b: x}"),
            refusal("    buckets:", "    bucket:"),
            refusal("aws:\n", "s3:\n"),
            refusal("core_instance_count: 2", "core_instance_count: \"2\""),
            refusal("volume_size: 100", "volume_size: 0"),
            refusal("output_compression: \"GZIP\"", "output_compression: gzip"),
            refusal("collectors:", "x: &x {a: *x}\ncollectors:"),
            refusal("collectors:", "x: !ruby/object:Object {}\ncollectors:"),
            refusal("<%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>", "<%= ENV['UNSET'] %>"),
            refusal("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "ADD HERE"),
            parse("---\n").unwrap_err(),
            parse("").unwrap_err(),
            parse("aws: [").unwrap_err(),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }

    /// Row 10: mistakes from real configs.
    #[test]
    fn mistakes_of_real_configs_are_told_by_what_they_are() {
        let refusal = |from: &str, to: &str| {
            assert!(recorded_config().contains(from), "{from}");
            let config = parse(&recorded_config().replace(from, to));
            config.err().unwrap_or_else(|| format!("accepted: {to}"))
        };
        let cases = [
            refusal("ami_version: 5.29.0", "ami_version: {{AMI}}"),
            refusal("ami_version: 5.29.0", "ami_version: {{ AMI }}-x"),
            refusal("ami_version: 5.29.0", "ami_version: \"{{ AMI }}\""),
            refusal("processing: s3://acme-etl/processing", "processing: s3://{{BUCKET}}/x"),
            refusal("processing: s3://acme-etl/processing", "processing: s3://${BUCKET}/x"),
            refusal("region: eu-west-1\n    jobflow_role", "region:eu-west-1\n    jobflow_role"),
            refusal("    level: DEBUG", "    level:DEBUG"),
            refusal("  tags: {}", "  tags:{}"),
            refusal("      encrypted: false", "      encrypted:false"),
            refusal("    job_name: Snowplow ETL", "\tjob_name: Snowplow ETL"),
            refusal("<%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>", "<%= ENV['UNSET'] %>"),
            refusal("<%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>", "\"<%= ENV['UNSET'] %>\""),
            refusal("processing: s3://acme-etl/processing", "processing: s3://<%= ENV['B'] %>/x"),
            refusal("core_instance_count: 2", "core_instance_count: <%= ENV['N'] || ENV['M'] %>"),
            refusal("    spark_enrich: 1.18.0", "    hadoop_enrich: 1.8.0"),
            parse(
                ":aws:\n  :access_key_id: a\n  :secret_access_key: b\n:s3:\n  :region: \
                c\n:emr:\n  :ami_version: 3.7.0\n",
            )
            .unwrap_err(),
            parse("aws:\n  access_key_id: a\n  emr: {}\ns3:\n  region: c\n").unwrap_err(),
        ];
        insta::assert_snapshot!(cases.join("\n"));
        let numbered = "core_instance_count: <%= ENV['N'] || 2 %>";
        assert!(parse(&recorded_config().replace("core_instance_count: 2", numbered)).is_ok());
        let switched = "ebs_optimized: <%= true %>";
        assert!(parse(&recorded_config().replace("ebs_optimized: true", switched)).is_ok());
    }

    /// Row 9 of the Ruby edge cases: the contract of each release from 0.33.0 to 1.0.4.
    #[test]
    fn what_is_required_is_what_the_runners_version_requires() {
        let held = |from: &str, to: &str, version: Option<RunnerVersion>| {
            assert!(recorded_config().contains(from), "{from}");
            let config = parse(&recorded_config().replacen(from, to, 1)).unwrap();
            assert!(config.depends_on_version());
            config.hold_to(version).map_err(|error| error.to_string())
        };
        let line = "    consolidate_shredded_output: true\n";
        for version in [(0, 33, 0), (0, 33, 1), (0, 34, 0)] {
            let version = RunnerVersion(version.0, version.1, version.2);
            assert_eq!(held(line, "", Some(version)), Ok(()));
        }
        for version in [Some(RunnerVersion(0, 34, 1)), Some(RunnerVersion(1, 0, 4)), None] {
            assert_eq!(
                held(line, "", version).unwrap_err(),
                "config.yml:5:5: aws.s3.consolidate_shredded_output is missing (EmrEtlRunner \
                 0.34.1 and later ask for it)"
            );
        }
        let bid = ["core_instance_bid: 0.015", "core_instance_bid: \"0.015\""];
        assert_eq!(held(bid[0], bid[1], Some(RunnerVersion(0, 35, 0))), Ok(()));
        assert_eq!(
            held(bid[0], bid[1], Some(RunnerVersion(0, 36, 0))).unwrap_err(),
            "config.yml:46:26: aws.emr.jobflow.core_instance_bid must be a number; found the text \
             `0.015`; leave the quotes out (EmrEtlRunner 0.36.0 and later ask for it)"
        );
        assert!(!parse(recorded_config()).unwrap().depends_on_version());
    }

    /// Loads a config that tries to evade the seal, and shows the result: what Ruby loads, the
    /// messages about it, and the sealed form.
    fn sealed_or_refused(name: &str, text: &str) -> String {
        let env = |variable: &str| match variable {
            "TWO_LINES" => Some("none\n    security_configuration: evil".into()),
            other => env(other),
        };
        let config = match RunnerConfig::parse("config.yml", text.as_bytes(), &env) {
            Ok(config) => config,
            Err(error) => return format!("{name}\n  refused: {error}"),
        };
        let sealed = match config.seal(&seal()) {
            Ok(sealed) => sealed,
            Err(error) => return format!("{name}\n  refused: {error}"),
        };
        let again = parse(sealed.text.reveal()).unwrap();
        assert_eq!(
            summary(&again),
            "ACCEPTED encrypted=true security_configuration=\"acme-sc\" ami=\"5.29.0\"",
            "{name}"
        );
        assert_eq!(again.ambiguities, [], "{name}: the sealed form has one meaning");
        assert!(!sealed.text.reveal().contains("<%"));
        let ambiguities: Vec<String> = config
            .ambiguities
            .iter()
            .map(|it| {
                format!("\n  {}: {} (Ruby takes {}, not {})", it.key, it.what, it.wins, it.loses)
            })
            .collect();
        format!("{name}\n  {}\n  sealed{}", summary(&config), ambiguities.concat())
    }

    #[test]
    fn a_config_that_tries_to_get_past_the_seal_is_sealed_or_refused() {
        let with = |from: &str, to: &str| {
            assert!(recorded_config().contains(from), "{from}");
            recorded_config().replacen(from, to, 1)
        };
        let blank = "    security_configuration:\n";
        let off = "      encrypted: false\n";
        let cases = [
            (
                "ERB that prints a second security_configuration",
                with("    placement:\n", "    placement: <%= ENV['TWO_LINES'] %>\n"),
            ),
            (
                "a twin of `aws` as a symbol",
                with("collectors:\n", ":aws: {emr: {security_configuration: evil}}\ncollectors:\n"),
            ),
            (
                "a twin of `encrypted` as a symbol",
                with(off, "      encrypted: true\n      :encrypted: false\n"),
            ),
            (
                "a merge below its key",
                format!(
                    "x: &x\n  encrypted: false\n{}",
                    with(off, "      encrypted: true\n      <<: *x\n")
                ),
            ),
            (
                "a merge in quotes",
                format!(
                    "x: &x\n  security_configuration: evil\n{}",
                    with(blank, "    security_configuration: acme-sc\n    \"<<\": *x\n")
                ),
            ),
            (
                "a second document",
                format!(
                    "{}---\naws: {{emr: {{security_configuration: evil}}}}\n",
                    recorded_config()
                ),
            ),
            (
                "a parent that stands twice",
                with(
                    "collectors:\n",
                    "aws:\n  s3:\n    buckets:\n      encrypted: false\ncollectors:\n",
                ),
            ),
            ("encrypted as text", with(off, "      encrypted: \"true\"\n")),
            ("encrypted as a symbol", with(off, "      encrypted: :true\n")),
            (
                "security_configuration as a date",
                with(blank, "    security_configuration: 2020-01-01\n"),
            ),
            (
                "an anchor redefined",
                format!("x: &x true\ny: &x false\n{}", with(off, "      encrypted: *x\n")),
            ),
            ("an alias to the whole emr map", with("  emr:\n", "  emr: &emr\n") + "other: *emr\n"),
            (
                "the emr map by an alias",
                format!(
                    "x: &emr\n{}\n{}",
                    emr_block(),
                    recorded_config().replace(&format!("  emr:\n{}", emr_block()), "  emr: *emr\n")
                ),
            ),
            ("a tag that makes a boolean", with(off, "      encrypted: !!bool \"false\"\n")),
            ("an object", with(blank, "    security_configuration: !ruby/object:Object {}\n")),
        ];
        let shown: Vec<String> =
            cases.iter().map(|(name, text)| sealed_or_refused(name, text)).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    /// The lines below `emr:` in the recorded config.
    fn emr_block() -> String {
        let (_, rest) = recorded_config().split_once("  emr:\n").unwrap();
        let (block, _) = rest.split_once("collectors:").unwrap();
        block.to_owned()
    }

    #[test]
    fn what_the_sealed_form_cannot_carry_is_refused_where_the_seal_does_not_replace_it() {
        let text = recorded_config().replace("collectors:", "x: [.inf]\ncollectors:");
        let refusal = parse(&text).unwrap().seal(&seal()).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "config.yml:62:5: Ruby reads this value as a special number; put it in quotes to keep \
             it as text"
        );
    }

    /// The sealed text of the recorded config with `more` before it.
    fn sealed_with(more: &str) -> String {
        let config = parse(&format!("{more}\n{}", recorded_config())).unwrap();
        config.seal(&seal()).unwrap().text.reveal().clone()
    }

    #[test]
    fn a_date_under_an_unknown_key_stays_a_date() {
        assert!(sealed_with("created: 2020-01-31").starts_with("{\"created\": 2020-01-31,\n"));
        assert!(
            sealed_with("x: [2020-1-1, \"2020-01-01\"]")
                .starts_with("{\"x\": [2020-1-1, \"2020-01-01\"],\n")
        );
    }

    /// Row 7 of the Ruby edge cases: these load in both parsers, and are not merges.
    #[test]
    fn a_map_that_keeps_a_real_merge_key_is_sealed_with_it() {
        for (text, kept) in [
            (
                "b: &B {a: 1}\nl: &L [*B]\nx: {<<: *L}",
                "\"x\": {!!str \"\\u003c\\u003c\": [{\"a\": 1}]}",
            ),
            ("b: &B {a: 1}\nx:\n  :<<: *B", "\"x\": {!!str \"\\u003c\\u003c\": {\"a\": 1}}"),
            ("b: &B {a: 1}\nx: {!!str <<: *B}", "\"x\": {!!str \"\\u003c\\u003c\": {\"a\": 1}}"),
            ("x: {<<: text}", "\"x\": {!!str \"\\u003c\\u003c\": \"text\"}"),
        ] {
            let sealed = sealed_with(text);
            assert!(sealed.contains(kept), "{text}: {sealed}");
        }
    }

    /// No reader finds the colon after a longer key in plain notation.
    #[test]
    fn a_long_key_is_sealed_as_one() {
        for key in ["k".repeat(1000), "<".repeat(400), "é".repeat(500), "\u{200b}".repeat(300)] {
            let sealed = sealed_with(&format!("x: {{{key}: {{a: b}}}}"));
            assert!(sealed.starts_with("{\"x\": {? \""), "{sealed}");
        }
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_dropped_as_jruby_drops_it() {
        let config = parse(&format!("\u{feff}{}", recorded_config())).unwrap();
        assert!(config.seal(&seal()).unwrap().text.reveal().starts_with("{\"aws\""));
        let refusal = parse(&format!("# \u{feff}\n{}", recorded_config())).unwrap_err();
        assert!(refusal.contains("there is a byte order mark (U+FEFF) here"), "{refusal}");
    }

    #[test]
    fn a_release_with_a_suffix_is_handed_on_as_it_is_written() {
        let text =
            recorded_config().replace("ami_version: 5.29.0", "ami_version: \"5.29.0-latest\"");
        let config = parse(&text).unwrap();
        assert_eq!(config.release.value.to_string(), "emr-5.29.0-latest");
        let sealed = config.seal(&seal()).unwrap();
        assert!(sealed.text.reveal().contains("\"ami_version\": \"5.29.0-latest\""));
    }

    /// Row 8: an alias is a reference, in Ruby and here.
    #[test]
    fn a_large_text_that_many_aliases_name_is_one_text_until_it_is_written_out() {
        let text = format!("x: &x \"{}\"\ny: [{}]", "k".repeat(20_000), vec!["*x"; 90].join(", "));
        assert!(sealed_with(&text).len() > 90 * 20_000);
        let text =
            format!("x: &x \"{}\"\ny: [{}]", "k".repeat(100_000), vec!["*x"; 1000].join(", "));
        let refusal = parse(&format!("{text}\n{}", recorded_config())).unwrap_err();
        assert!(refusal.contains("bytes of text, aliases written out"), "{refusal}");
    }

    #[test]
    fn no_error_shows_a_credential() {
        let text = recorded_config().replace("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "[hunter2]");
        let refusal = parse(&text).unwrap_err();
        assert!(!refusal.contains("hunter2"), "{refusal}");
        assert!(
            !format!("{:?}", parse(recorded_config()).unwrap().credentials).contains("AKIAFAKE")
        );
    }

    /// Neither a secret under a key with a secret's name, nor a text that looks like a secret under
    /// any other key, is in any error.
    #[test]
    fn no_error_shows_a_secret_wherever_it_was_put() {
        const LOOKS: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let misplaced = [
            ("ami_version: 5.29.0", "ami_version: SECRET"),
            ("ami_version: 5.29.0", "ami_version: emr-SECRET"),
            ("processing: s3://acme-etl/processing", "processing: SECRET"),
            ("processing: s3://acme-etl/processing", "processing: s3://:SECRET"),
            ("core_instance_count: 2", "core_instance_count: SECRET"),
            ("encrypted: false", "encrypted: false\n      consolidate_shredded_output: SECRET"),
            ("output_compression: \"GZIP\"", "output_compression: SECRET"),
            ("tags: {}", "tags: {SECRET: [1]}"),
            ("tags: {}", "tags: {a: [SECRET]}"),
            ("    configuration:", "    configuration: SECRET\n    x:"),
            ("collectors:", "x: *SECRET\ncollectors:"),
            ("collectors:", "x: !ruby/SECRET {}\ncollectors:"),
            ("    buckets:", "    bucket: {password: SECRET}\n    bucketz:"),
            ("collectors:", "SECRET: 1\n? [SECRET]\n: 2\ncollectors:"),
        ];
        let mut shown = Vec::new();
        for (from, to) in misplaced {
            for secret in [LOOKS, "AKIAIOSFODNN7EXAMPLE", "hunter2hunter2"] {
                // A text that does not look like a secret is still known if it also occurs under a
                // secret's key.
                let text = format!("{}password: {secret}\n", recorded_config());
                assert!(text.contains(from), "{from}");
                let text = text.replacen(from, &to.replace("SECRET", secret), 1);
                let Err(refusal) = parse(&text) else { panic!("{to} is accepted") };
                assert!(!refusal.contains(secret), "{refusal}");
                shown.push(refusal);
            }
        }
        assert!(shown.iter().any(|refusal| refusal.contains("(masked)")), "{shown:?}");
    }

    #[test]
    fn what_a_key_that_takes_no_such_text_holds_is_not_repeated() {
        for (from, to) in [
            ("ami_version: 5.29.0", "ami_version: hunter2"),
            ("processing: s3://acme-etl/processing", "processing: hunter2"),
            ("core_instance_count: 2", "core_instance_count: hunter2"),
            ("output_compression: \"GZIP\"", "output_compression: hunter2"),
            ("job_name: Snowplow ETL", "job_name: 8412345678"),
            ("job_name: Snowplow ETL", "job_name: :hunter2"),
            ("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "[hunter2, 8412345678]"),
            ("collectors:", "secret_key: {a: hunter2}\ncollectors: hunter2"),
        ] {
            let refusal = parse(&recorded_config().replace(from, to)).unwrap_err();
            assert!(!refusal.contains("hunter2") && !refusal.contains("8412"), "{refusal}");
        }
    }

    #[test]
    fn the_masked_seal_shows_no_secret_by_key_place_form_or_variable() {
        let more = concat!(
            "warehouse: \
             {password: hunter2, Pwd: 12345678, user: etl, tokens: [one-token, {x: two-token}]}\n",
            "url: jdbc:postgresql://host/db?user=etl&password=hunter3\n",
            "note: \"see <%= ENV['LOADER_TOKEN'] %> there\"\n",
            "AKIAIOSFODNN7EXAMPLE: x\n",
            "ASIAIOSFODNN7EXAMPLE: y\n",
            "empty: {password: '', secret: ~, token: true}\n",
        );
        let env = |name: &str| match name {
            "LOADER_TOKEN" => Some("loader-hunter4".into()),
            other => env(other),
        };
        let text = format!("{}{more}", recorded_config());
        let config = RunnerConfig::parse("config.yml", text.as_bytes(), &env).unwrap();
        let masked = config.seal_masked(&seal()).unwrap().text;
        let masked = masked.reveal();
        let (_, shown) = masked.split_once("\"warehouse\"").unwrap();
        insta::assert_snapshot!(shown, @r#"
        : {"password": "(masked)",
        "Pwd": "(masked)",
        "user": "etl",
        "tokens": ["(masked)", {"x": "(masked)"}]},
        "url": "(masked)",
        "note": "(masked)",
        "(masked)": "x",
        "(masked) 2": "y",
        "empty": {"password": "",
        "secret": null,
        "token": true}}
        "#);
        for secret in ["hunter", "12345678", "one-token", "two-token", "AKIA", "ASIA", "\"fake\""] {
            assert!(!masked.contains(secret), "{secret}: {masked}");
        }
        // The runner gets the unmasked values.
        assert!(config.seal(&seal()).unwrap().text.reveal().contains("hunter4"));
    }

    #[test]
    fn what_the_seal_replaced_is_not_shown_where_it_is_a_secret() {
        let text = recorded_config().replace(
            "    security_configuration:\n",
            "    security_configuration: AKIAIOSFODNN7EXAMPLE\n",
        );
        let sealed = parse(&text).unwrap().seal(&seal()).unwrap();
        assert_eq!(sealed.changes[0].before.as_deref(), Some("(masked)"));
    }

    mod laws {
        use std::sync::Arc;

        use super::*;
        use proptest::prelude::*;

        fn any_value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::Bool),
                any::<i64>().prop_map(Value::Integer),
                (-1_000_000_i32..1_000_000)
                    .prop_map(|number| Value::Float(f64::from(number) / 1000.0)),
                any_text().prop_map(|text| Value::Text(text.into())),
                (1583..=9999_u16, 1..=12_u8, 1..=28_u8).prop_map(|(year, month, day)| {
                    Value::Other {
                        kind: scalar::DATE,
                        text: format!("{year}-{month}-{day}").into(),
                    }
                }),
            ];
            leaf.prop_recursive(4, 32, 4, |inner| {
                let node = inner.prop_map(|value| YamlNode { value, at: ConfigPosition::START });
                prop_oneof![
                    prop::collection::vec(node.clone(), 0..4)
                        .prop_map(|items| Value::List(Arc::new(items))),
                    prop::collection::btree_map(any_key(), node, 0..4).prop_map(|map| Value::Map(
                        Arc::new(
                            map.into_iter()
                                .map(|(key, node)| (yaml_value::YamlKey::new(&key), node))
                                .collect()
                        )
                    )),
                ]
            })
        }

        /// Texts that YAML, ERB and JSON each misread easily, and arbitrary ones.
        fn any_text() -> impl Strategy<Value = String> {
            let tricky = [
                "yes",
                "~",
                "",
                "5.10",
                "0755",
                "12:30:00",
                ":sym",
                "<%= 1 %>",
                "<%%",
                "%>",
                "a: b",
                "# x",
                "\u{2028}\u{feff}\u{85}\u{7f}",
                "\\u003c",
                "😀",
                "<<",
                "\t\r\n ",
            ];
            prop_oneof![
                prop::sample::select(tricky.to_vec()).prop_map(str::to_owned),
                any::<String>()
            ]
        }

        fn any_key() -> impl Strategy<Value = String> {
            prop_oneof![
                9 => any_text(),
                1 => (any_text(), 1..60_usize).prop_map(|(text, times)| text.repeat(times)),
            ]
            .prop_filter("more than any key may have", |key| key.len() < 300)
        }

        proptest! {
            #[test]
            fn what_is_written_loads_as_what_was_meant(value in any_value()) {
                let mut text = String::new();
                seal::write(&value, &mut text);
                let rendered = erb::render(&text, &|_| None).unwrap();
                prop_assert_eq!(&rendered.text, &text);
                prop_assert_eq!(psych::load(&rendered).unwrap().root.value, value);
            }

            #[test]
            fn what_loads_is_sealed_whole(value in any_value()) {
                let root = YamlNode { value, at: ConfigPosition::START };
                prop_assert!(seal::survives(&root).unwrap());
            }
        }
    }
}
