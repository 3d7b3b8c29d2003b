//! The runner config: EmrEtlRunner's `config.yml` as the runner itself would load it, and the parts of it that a verdict needs.
//!
//! The contract on types is `ConfigHash` of EmrEtlRunner 1.0.4 (`lib/snowplow-emr-etl-runner/contracts.rb`), for the keys read here.

mod erb;
mod psych;
mod seal;

use std::{fmt, io::Read as _, path::Path};

pub use seal::{Change, Seal, Sealed};

use crate::{
    digest::sha256,
    invocation::ConfigSource,
    names::{BucketName, ReleaseLabel, S3Location},
};
use psych::{Node, Value};

/// A config larger than this is refused (the real one has 2 KiB), in bytes.
const LARGEST: u64 = 1 << 20;

/// A line and column of the runner config, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    line: usize,
    column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    fn advance(&mut self, character: char) {
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    fn advance_all(&mut self, text: &str) {
        text.chars().for_each(|character| self.advance(character));
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a runner config cannot be judged: the place, and what to do. Never holds a value of the config that could be secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// `file:line:column`, or `line:column` before the file is known.
    place: String,
    message: String,
}

impl ConfigError {
    fn at(position: Position, message: impl Into<String>) -> Self {
        Self { place: position.to_string(), message: message.into() }
    }

    fn of(file: &str, message: impl Into<String>) -> Self {
        Self { place: file.to_owned(), message: message.into() }
    }

    fn within(self, file: &str) -> Self {
        Self { place: format!("{file}:{}", self.place), message: self.message }
    }
}

/// Something that must not be shown: `Debug` prints a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    pub(crate) fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A value, with the place it stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// `file:line:column`.
    pub at: String,
}

/// The static credentials the runner uses; it knows no others, and no session token.
#[derive(Clone, Debug)]
pub struct RunnerCredentials {
    /// `aws.access_key_id`.
    pub access_key_id: Secret,
    /// `aws.secret_access_key`.
    pub secret_access_key: Secret,
}

/// One S3 location of the config, by the role it plays for the runner.
#[derive(Clone, Debug)]
pub struct Location {
    /// The key below `aws.s3.buckets`, such as `raw.in[0]` or `enriched.good`.
    pub role: String,
    /// Where it points.
    pub location: S3Location,
    /// `file:line:column`.
    pub at: String,
}

/// What the runner would run with.
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
    /// `aws.emr.ami_version`, with the `emr-` that the runner puts before it.
    pub release: Located<ReleaseLabel>,
    /// `aws.emr.jobflow_role`: an instance profile's name.
    pub jobflow_role: Located<String>,
    /// `aws.emr.ec2_subnet_id`.
    pub subnet: Option<Located<String>>,
    /// `aws.emr.security_configuration` as it stood before sealing, when it is text.
    pub security_configuration: Option<Located<String>>,
    /// `aws.emr.jobflow.job_name`: the cluster's name.
    pub job_name: String,
    /// Every S3 location, in the order of the config.
    pub locations: Vec<Location>,
    /// The whole config, credentials included.
    root: Secret<Node>,
}

impl RunnerConfig {
    /// Reads and loads the config that the invocation names, with the environment as the runner will see it.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, is no plain YAML, or breaks the runner's contract.
    pub fn read(source: &ConfigSource) -> Result<Self, ConfigError> {
        let (origin, bytes) = match source {
            ConfigSource::Stdin => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .lock()
                    .take(LARGEST + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| ConfigError::of("<stdin>", format!("cannot be read: {error}")))?;
                ("<stdin>".to_owned(), bytes)
            }
            ConfigSource::File(path) => (path.display().to_string(), read_file(path)?),
        };
        Self::parse(&origin, &bytes, &|name| std::env::var_os(name))
    }

    /// Loads `bytes`, naming `origin` in every error.
    ///
    /// # Errors
    /// As [`RunnerConfig::read`].
    pub fn parse(origin: &str, bytes: &[u8], env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > LARGEST {
            return Err(ConfigError::of(origin, format!("larger than {LARGEST} bytes; this is no EmrEtlRunner config")));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let mut place = Position::START;
            place.advance_all(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
            ConfigError::at(place, "not valid UTF-8").within(origin)
        })?;
        if text.starts_with('\u{feff}') {
            return Err(ConfigError::at(
                Position::START,
                "starts with a byte order mark, which some Rubies read as part of the first key; remove it",
            )
            .within(origin));
        }
        let digest = sha256(bytes);
        Self::understand(origin, digest, text, env).map_err(|error| error.within(origin))
    }

    fn understand(origin: &str, digest: String, text: &str, env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, ConfigError> {
        let rendered = erb::render(text, env)?;
        let root = psych::load(&rendered)?;
        let reader = Reader { origin, root: &root };
        let credentials = RunnerCredentials {
            access_key_id: reader.secret(&["aws", "access_key_id"])?,
            secret_access_key: reader.secret(&["aws", "secret_access_key"])?,
        };
        let release = reader.text(&["aws", "emr", "ami_version"])?;
        let release = Located {
            value: ReleaseLabel::from_ami_version(&release.value)
                .map_err(|reason| ConfigError::at(reader.position(&["aws", "emr", "ami_version"]), format!("aws.emr.ami_version {reason}")))?,
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
            subnet: reader.optional_text(&["aws", "emr", "ec2_subnet_id"])?,
            // Whatever stands here is replaced by the seal, so a wrong type is not an error of its own.
            security_configuration: reader.optional_text(&["aws", "emr", "security_configuration"]).ok().flatten(),
            job_name: reader.text(&["aws", "emr", "jobflow", "job_name"])?.value,
            locations: reader.locations()?,
            root: Secret::new(root.clone()),
        })
    }

    /// Sets the keys of `seal` and proves that nothing else changed.
    ///
    /// # Errors
    /// [`ConfigError`] when there is no place to set them, or the proof fails.
    pub fn seal(&self, seal: &Seal) -> Result<Sealed, ConfigError> {
        seal::seal(self.root.reveal(), seal).map_err(|error| error.within(&self.origin))
    }

    /// The sealed text with the credentials' values replaced, for eyes and logs.
    ///
    /// # Errors
    /// As [`RunnerConfig::seal`].
    pub fn seal_masked(&self, seal: &Seal) -> Result<Sealed, ConfigError> {
        let mut masked = self.root.reveal().clone();
        if let Some(aws) = masked.find_mut(&["aws"]) {
            for key in ["access_key_id", "secret_access_key"] {
                aws.set(key, Value::Text("(masked)".to_owned()))?;
            }
        }
        seal::seal(&masked, seal).map_err(|error| error.within(&self.origin))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| ConfigError::of(&name, format!("cannot be read: {error}"));
    // The runner's own test is `File.file?`: it follows links and refuses a FIFO.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(ConfigError::of(&name, "not a regular file; EmrEtlRunner takes a file, or `-` for standard input"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(unreadable)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Takes typed values out of the loaded tree, with errors that name place and key.
struct Reader<'a> {
    origin: &'a str,
    root: &'a Node,
}

impl Reader<'_> {
    /// Where `path` stands, or the deepest parent of it that exists.
    fn position(&self, path: &[&str]) -> Position {
        let mut node = self.root;
        for key in path {
            match node.get(key) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.at
    }

    fn located<T>(&self, node: &Node, value: T) -> Located<T> {
        Located { value, at: format!("{}:{}", self.origin, node.at) }
    }

    fn text(&self, path: &[&str]) -> Result<Located<String>, ConfigError> {
        self.optional_text(path)?
            .filter(|text| !text.value.is_empty())
            .ok_or_else(|| ConfigError::at(self.position(path), format!("{} is missing or blank; EmrEtlRunner needs text there", path.join("."))))
    }

    fn optional_text(&self, path: &[&str]) -> Result<Option<Located<String>>, ConfigError> {
        match self.root.find(path) {
            None | Some(Node { value: Value::Null, .. }) => Ok(None),
            Some(node) => self.as_text(node, &path.join(".")).map(Some),
        }
    }

    fn as_text(&self, node: &Node, key: &str) -> Result<Located<String>, ConfigError> {
        match &node.value {
            Value::Text(text) => Ok(self.located(node, text.clone())),
            other => Err(ConfigError::at(node.at, format!("{key} must be text; found {} (put it in quotes)", other.kind()))),
        }
    }

    fn secret(&self, path: &[&str]) -> Result<Secret, ConfigError> {
        let text = self.text(path)?;
        let key = path.join(".");
        // The two values that people leave in a config believing that an instance role would be used; this runner cannot.
        if matches!(text.value.as_str(), "iam" | "env" | "default") || text.value.contains("ADD HERE") {
            return Err(ConfigError::at(self.position(path), format!("{key} holds a placeholder; EmrEtlRunner 1.0.4 takes static credentials only")));
        }
        Ok(Secret::new(text.value))
    }

    /// Every S3 location below `aws.s3.buckets`, lists unfolded.
    fn locations(&self) -> Result<Vec<Location>, ConfigError> {
        let path = ["aws", "s3", "buckets"];
        let Some(buckets) = self.root.find(&path) else {
            return Err(ConfigError::at(self.position(&path), "aws.s3.buckets is missing"));
        };
        let mut locations = Vec::new();
        self.collect(buckets, "", &mut locations)?;
        if locations.is_empty() {
            return Err(ConfigError::at(buckets.at, "aws.s3.buckets names no location"));
        }
        Ok(locations)
    }

    fn collect(&self, node: &Node, role: &str, locations: &mut Vec<Location>) -> Result<(), ConfigError> {
        match &node.value {
            // `encrypted` is no location, and sealed anyway.
            _ if role == "encrypted" => {}
            Value::Null => {}
            Value::Map(entries) => {
                for (key, child) in entries {
                    let role = if role.is_empty() { key.clone() } else { format!("{role}.{key}") };
                    self.collect(child, &role, locations)?;
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(item, &format!("{role}[{index}]"), locations)?;
                }
            }
            _ => {
                let key = format!("aws.s3.buckets.{role}");
                let text = self.as_text(node, &key)?;
                let location = S3Location::parse(&text.value).map_err(|reason| ConfigError::at(node.at, format!("{key} {reason}")))?;
                locations.push(Location { role: role.to_owned(), location, at: text.at });
            }
        }
        Ok(())
    }
}

impl Location {
    /// The bucket this location lies in.
    #[must_use]
    pub fn bucket(&self) -> &BucketName {
        &self.location.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        include_str!("../tests/recordings/config.yml")
    }

    fn parse(text: &str) -> Result<RunnerConfig, String> {
        RunnerConfig::parse("config.yml", text.as_bytes(), &env).map_err(|error| error.to_string())
    }

    fn seal() -> Seal {
        Seal { security_configuration: "acme-sc".to_owned(), tag: Some(("run".to_owned(), "1".to_owned())) }
    }

    /// What the recordings print of a loaded config.
    fn summary(config: &RunnerConfig) -> String {
        let shown = |path: &[&str]| match config.root.reveal().find(path).map(|node| &node.value) {
            None => "nil (no key)".to_owned(),
            Some(Value::Null) => "nil".to_owned(),
            // As Ruby's `inspect` shows it.
            Some(Value::Text(text)) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
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
        for line in include_str!("../tests/recordings/config-loading.jsonl").lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| case[key].as_str().unwrap_or_default();
            match RunnerConfig::parse("config.yml", text("config").as_bytes(), &env) {
                Err(_) => refused.push(text("name").to_owned()),
                Ok(config) => {
                    let ours = summary(&config);
                    let theirs = [text("result"), text("result_mri")];
                    // What the runner itself rejects (by its contract on types) it will reject under the guard too; only what it accepts must be the same.
                    let accepted = theirs.iter().any(|result| result.starts_with("ACCEPTED"));
                    assert!(!accepted || theirs.contains(&ours.as_str()), "{}: ours {ours}, Ruby's {theirs:?}", text("name"));
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
        let shown: Vec<String> = sealed.changes.iter().map(|change| format!("{}: {:?} -> {}", change.key, change.before, change.after)).collect();
        assert_eq!(
            shown,
            [
                "aws.emr.security_configuration: Some(\"(blank)\") -> acme-sc",
                "aws.s3.buckets.encrypted: Some(\"false\") -> true",
                "monitoring.tags.run: None -> 1"
            ]
        );
        let loaded = parse(sealed.text.reveal()).unwrap();
        assert_eq!(summary(&loaded), "ACCEPTED encrypted=true security_configuration=\"acme-sc\" ami=\"5.29.0\"");
    }

    #[test]
    fn whatever_stood_at_the_two_keys_is_replaced() {
        for (before, shown) in [("\"true\"", "true"), ("1", "1"), ("[true]", "[true]"), ("no", "false"), ("", "(blank)")] {
            let text = recorded_config().replace("encrypted: false", &format!("encrypted: {before}"));
            let sealed = parse(&text).unwrap().seal(&seal()).unwrap();
            assert_eq!(sealed.changes[1].before.as_deref(), Some(shown), "{before}");
        }
        let missing = recorded_config().replace("      encrypted: false\n", "").replace("    security_configuration:\n", "");
        let sealed = parse(&missing).unwrap().seal(&seal()).unwrap();
        assert!(sealed.changes.iter().all(|change| change.before.is_none() && change.replaced()));
    }

    #[test]
    fn errors_name_the_place_the_key_and_what_to_do() {
        let refusal = |from: &str, to: &str| parse(&recorded_config().replace(from, to)).unwrap_err();
        let cases = [
            refusal("ami_version: 5.29.0", "ami_version: 5.10"),
            refusal("ami_version: 5.29.0", "ami_version: emr-5.29.0"),
            refusal("region: eu-west-1\n    jobflow_role", "jobflow_role"),
            refusal("processing: s3://acme-etl/processing", "processing: /var/data"),
            refusal("    job_name: Snowplow ETL", "    job_name: 2020-01-01"),
            refusal("jobflow_role: EMR_EC2_DefaultRole", "jobflow_role: <%= ENV.fetch('ROLE') %>"),
            refusal("tags: {}", "tags: &tags {}"),
            refusal("<%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>", "<%= ENV['UNSET'] %>"),
            refusal("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "ADD HERE"),
            refusal("      encrypted: false", "      encrypted: true\n      encrypted: false"),
            parse("---\n").unwrap_err(),
            parse("").unwrap_err(),
            parse("aws: [").unwrap_err(),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }

    #[test]
    fn no_error_shows_a_credential() {
        let text = recorded_config().replace("<%= ENV['AWS_SNOWPLOW_SECRET_KEY'] %>", "[hunter2]");
        let refusal = parse(&text).unwrap_err();
        assert!(!refusal.contains("hunter2"), "{refusal}");
        assert!(!format!("{:?}", parse(recorded_config()).unwrap().credentials).contains("AKIAFAKE"));
    }

    mod laws {
        use super::*;
        use proptest::prelude::*;

        fn any_value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::Bool),
                any::<i64>().prop_map(Value::Integer),
                (-1_000_000_i32..1_000_000).prop_map(|number| Value::Float(f64::from(number) / 1000.0)),
                any_text().prop_map(Value::Text),
            ];
            leaf.prop_recursive(4, 32, 4, |inner| {
                let node = inner.prop_map(|value| Node { value, at: Position::START });
                prop_oneof![
                    prop::collection::vec(node.clone(), 0..4).prop_map(Value::List),
                    prop::collection::btree_map(any_key(), node, 0..4).prop_map(|map| Value::Map(map.into_iter().collect())),
                ]
            })
        }

        /// Texts that YAML, ERB and JSON each like to misread, and any others.
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
            prop_oneof![prop::sample::select(tricky.to_vec()).prop_map(str::to_owned), any::<String>()]
        }

        fn any_key() -> impl Strategy<Value = String> {
            any_text().prop_filter("merges are refused", |key| key != "<<")
        }

        proptest! {
            #[test]
            fn what_is_written_loads_as_what_was_meant(value in any_value()) {
                let mut text = String::new();
                seal::write(&value, &mut text);
                let rendered = erb::render(&text, &|_| None).unwrap();
                prop_assert_eq!(&rendered.text, &text);
                prop_assert_eq!(psych::load(&rendered).unwrap().value, value);
            }
        }
    }
}
