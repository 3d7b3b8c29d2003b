//! Owns the runner's configuration: from text (YAML or JSON) through ERB and YAML to the types of
//! the contract.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Number, Value};

use crate::argv::{Options, RESUMABLES, SKIPPABLES};
use crate::erb;

/// The whole configuration. Unknown keys are ignored, as in the real program.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Everything about Amazon.
    pub aws: Aws,
    /// The collector; absent in stream-enrich mode.
    pub collectors: Option<Collectors>,
    /// Enrichment.
    pub enrich: Enrich,
    /// Storage.
    pub storage: Storage,
    /// Tags and logging.
    pub monitoring: Monitoring,
    /// The configuration as a tree, which is an argument of RDB Loader's step (without its
    /// credentials).
    #[serde(skip)]
    pub tree: Value,
}

/// `aws`.
#[derive(Clone, Deserialize)]
pub struct Aws {
    /// Static credentials; the real program supports no others.
    pub access_key_id: String,
    /// The secret that belongs to it.
    pub secret_access_key: String,
    /// `aws.s3`.
    pub s3: S3,
    /// `aws.emr`.
    pub emr: Emr,
}

impl fmt::Debug for Aws {
    /// Leaves the credentials out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Aws")
            .field("s3", &self.s3)
            .field("emr", &self.emr)
            .finish_non_exhaustive()
    }
}

/// `aws.s3`.
#[derive(Debug, Clone, Deserialize)]
pub struct S3 {
    /// The buckets' region.
    pub region: String,
    /// `aws.s3.buckets`.
    pub buckets: Buckets,
    /// Whether the shredder's output files are merged.
    pub consolidate_shredded_output: bool,
}

/// `aws.s3.buckets`; once loaded, every path ends in a slash.
#[derive(Debug, Clone, Deserialize)]
pub struct Buckets {
    /// Where the jars come from.
    pub assets: String,
    /// Only read by RDB Loader.
    pub jsonpath_assets: Option<String>,
    /// EMR's `LogUri`.
    pub log: String,
    /// Puts `--s3ServerSideEncryption` on every s3-dist-cp step.
    pub encrypted: bool,
    /// Absent in stream-enrich mode.
    pub raw: Option<Raw>,
    /// `aws.s3.buckets.enriched`.
    pub enriched: Enriched,
    /// `aws.s3.buckets.shredded`.
    pub shredded: Shredded,
}

/// `aws.s3.buckets.raw`.
#[derive(Debug, Clone, Deserialize)]
pub struct Raw {
    /// The collectors' output.
    #[serde(rename = "in")]
    pub inputs: Vec<String>,
    /// Staging.
    pub processing: String,
    /// The destination of staged files.
    pub archive: String,
}

/// `aws.s3.buckets.enriched`.
#[derive(Debug, Clone, Deserialize)]
pub struct Enriched {
    /// Good rows.
    pub good: String,
    /// Bad rows.
    pub bad: Option<String>,
    /// Only for legacy jobs.
    pub errors: Option<String>,
    /// The destination of good rows.
    pub archive: Option<String>,
    /// Stream Enrich's output; if present, this is stream-enrich mode.
    pub stream: Option<String>,
}

/// `aws.s3.buckets.shredded`.
#[derive(Debug, Clone, Deserialize)]
pub struct Shredded {
    /// Good rows.
    pub good: String,
    /// Bad rows.
    pub bad: String,
    /// Only for legacy jobs.
    pub errors: Option<String>,
    /// The destination of good rows.
    pub archive: Option<String>,
}

/// `aws.emr`.
#[derive(Debug, Clone, Deserialize)]
pub struct Emr {
    /// The release without its `emr-`.
    pub ami_version: String,
    /// The cluster's region.
    pub region: String,
    /// The instance profile's role.
    pub jobflow_role: String,
    /// EMR's own role.
    pub service_role: String,
    /// An availability zone, for clusters outside a VPC.
    pub placement: Option<String>,
    /// A subnet; displaces `placement`.
    pub ec2_subnet_id: Option<String>,
    /// The ssh key's name.
    pub ec2_key_name: String,
    /// Sent unless it is nil; an empty string is sent.
    pub security_configuration: Option<String>,
    /// Scripts to run on each node.
    pub bootstrap: Option<Vec<String>>,
    /// Extra software.
    pub software: Software,
    /// `aws.emr.jobflow`.
    pub jobflow: JobFlow,
    /// Sent unchanged.
    pub additional_info: Option<String>,
    /// The number of clusters to start before a bootstrap failure is final.
    pub bootstrap_failure_tries: Number,
    /// Classifications with their properties, in the order they are written.
    pub configuration: Option<Pairs<Pairs<String>>>,
}

/// `aws.emr.software`.
#[derive(Debug, Clone, Deserialize)]
pub struct Software {
    /// `HBase`'s version.
    pub hbase: Option<String>,
    /// Lingual's version.
    pub lingual: Option<String>,
}

/// `aws.emr.jobflow`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobFlow {
    /// The cluster's name.
    pub job_name: String,
    /// EC2 instance type.
    pub master_instance_type: String,
    /// Core nodes.
    pub core_instance_count: Number,
    /// EC2 instance type.
    pub core_instance_type: String,
    /// US dollars an hour; if present, they are spot instances.
    pub core_instance_bid: Option<Number>,
    /// Disks of the core nodes.
    pub core_instance_ebs: Option<Ebs>,
    /// Task nodes; none at 0.
    pub task_instance_count: Number,
    /// EC2 instance type.
    pub task_instance_type: String,
    /// US dollars an hour; if present, they are spot instances.
    pub task_instance_bid: Option<Number>,
}

/// `aws.emr.jobflow.core_instance_ebs`.
#[derive(Debug, Clone, Deserialize)]
pub struct Ebs {
    /// Gigabytes.
    pub volume_size: std::num::NonZeroU64,
    /// Kind of volume.
    pub volume_type: VolumeType,
    /// Only for `io1`.
    pub volume_iops: Option<std::num::NonZeroU64>,
    /// True when left out.
    pub ebs_optimized: Option<bool>,
}

/// The kinds of volume that the contract accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// Magnetic.
    Standard,
    /// General purpose.
    Gp2,
    /// Provisioned.
    Io1,
}

/// `collectors`.
#[derive(Debug, Clone, Deserialize)]
pub struct Collectors {
    /// `thrift`, `clj-tomcat`, `cloudfront`, `tsv/…`, `json/…`, `ndjson/…`.
    pub format: String,
}

/// `enrich`.
#[derive(Debug, Clone, Deserialize)]
pub struct Enrich {
    /// Absent in stream-enrich mode.
    pub versions: Option<EnrichVersions>,
    /// Only for legacy jobs.
    pub continue_on_unexpected_error: Option<bool>,
    /// Of the files written to S3.
    pub output_compression: Compression,
}

/// `enrich.versions`.
#[derive(Debug, Clone, Deserialize)]
pub struct EnrichVersions {
    /// Spark Enrich's version.
    pub spark_enrich: String,
}

/// The compressions that the contract accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Compression {
    /// Plain files.
    None,
    /// `--outputCodec gz`.
    Gzip,
}

/// `storage`.
#[derive(Debug, Clone, Deserialize)]
pub struct Storage {
    /// `storage.versions`.
    pub versions: StorageVersions,
}

/// `storage.versions`.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageVersions {
    /// RDB Shredder's version.
    pub rdb_shredder: String,
    /// The Elasticsearch job's version.
    pub hadoop_elasticsearch: String,
    /// RDB Loader's version.
    pub rdb_loader: String,
}

/// `monitoring`.
#[derive(Debug, Clone, Deserialize)]
pub struct Monitoring {
    /// The cluster's tags.
    pub tags: Pairs<String>,
    /// `monitoring.logging`.
    pub logging: Logging,
}

/// `monitoring.logging`.
#[derive(Debug, Clone, Deserialize)]
pub struct Logging {
    /// Name of a level of Ruby's Logger, in any case.
    pub level: String,
}

/// A map in the order it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
            type Value = Pairs<V>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// Why a configuration is rejected. The text goes to standard error, the exit code is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl Config {
    /// Loads a configuration: ERB, YAML (which includes JSON), then the contract on types.
    ///
    /// Of YAML 1.1 only the part that YAML 1.2 shares is supported: `yes` is a string here and a
    /// boolean to the real program.
    ///
    /// # Errors
    /// A [`Refusal`]; it repeats none of the configuration's values.
    pub fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let rendered = erb::render(text, env).map_err(|tag| {
            Refusal(format!("standin-runner: only <%= ENV['X'] %> is played, not {tag}\n"))
        })?;
        let mut documents = serde_yaml::Deserializer::from_str(&rendered);
        let tree = match documents.next().map(Value::deserialize) {
            Some(Ok(tree)) => tree,
            Some(Err(error)) => return Err(unreadable(&error)),
            None => Value::Bool(false),
        };
        let mut config: Self = serde_path_to_error::deserialize(&tree)
            .map_err(|error| contract(&error.path().to_string(), &error.inner().to_string()))?;
        for path in config.aws.s3.buckets.paths() {
            if path.is_empty() {
                return Err(Refusal(
                    "NoMethodError: undefined method `chr' for nil:NilClass\n".to_owned(),
                ));
            }
            if !path.ends_with('/') {
                path.push('/');
            }
        }
        config.tree = tree;
        Ok(config)
    }

    /// The collector's format, if there is a collector.
    #[must_use]
    pub fn collector_format(&self) -> Option<&str> {
        self.collectors.as_ref().map(|collectors| collectors.format.as_str())
    }

    /// Checks the options against each other and against the configuration.
    ///
    /// # Errors
    /// A [`Refusal`] in the real program's words.
    pub fn agree_with(&self, options: &Options) -> Result<(), Refusal> {
        let refuse = |message: &str| Err(Refusal(format!("{message}\n")));
        if let Some(step) = &options.resume_from
            && !RESUMABLES.contains(&step.as_str())
        {
            return refuse(&format!(
                "Invalid option: resume-from can be {} not '{step}'",
                RESUMABLES.join(", ")
            ));
        }
        for step in &options.skip {
            if !SKIPPABLES.contains(&step.as_str()) {
                return refuse(&format!(
                    "Invalid option: skip can be {} not '{step}'",
                    SKIPPABLES.join(", ")
                ));
            }
        }
        let resume = options.resume_from.as_deref();
        let skips = |step: &str| options.skip.iter().any(|skipped| skipped == step);
        if resume.is_some() && !options.skip.is_empty() {
            return refuse("resume-from and skip are mutually exclusive");
        }
        if self.aws.s3.buckets.enriched.stream.is_none() {
            if resume == Some("staging_stream_enrich") {
                return refuse(
                    "staging_stream_enrich is invalid step to resume from without \
                     aws.s3.buckets.enriched.stream settings",
                );
            }
        } else {
            if resume == Some("enrich") {
                return refuse("cannot resume from enrich in stream enrich mode");
            }
            if skips("staging") || skips("enrich") {
                return refuse(
                    "cannot skip staging nor enrich in stream enrich mode. Either skip \
                     staging_stream_enrich or resume from shred",
                );
            }
            if skips("archive_raw") || resume == Some("archive_raw") {
                return refuse("cannot skip nor resume from archive_raw in stream enrich mode");
            }
        }
        for step in &options.include {
            if step != "vacuum" {
                return refuse(&format!("Invalid option: include can be vacuum not '{step}'"));
            }
        }
        if let Some(format) = self.collector_format()
            && !known_format(format)
        {
            return refuse(&format!("collector_format '{format}' not supported"));
        }
        Ok(())
    }
}

impl Buckets {
    /// All paths.
    fn paths(&mut self) -> impl Iterator<Item = &mut String> {
        let raw = self
            .raw
            .iter_mut()
            .flat_map(|raw| raw.inputs.iter_mut().chain([&mut raw.processing, &mut raw.archive]));
        let enriched = &mut self.enriched;
        let shredded = &mut self.shredded;
        [&mut self.assets, &mut self.log, &mut enriched.good, &mut shredded.good, &mut shredded.bad]
            .into_iter()
            .chain(
                [
                    &mut self.jsonpath_assets,
                    &mut enriched.bad,
                    &mut enriched.errors,
                    &mut enriched.archive,
                    &mut enriched.stream,
                    &mut shredded.errors,
                    &mut shredded.archive,
                ]
                .into_iter()
                .flatten(),
            )
            .chain(raw)
    }
}

fn known_format(format: &str) -> bool {
    matches!(format, "cloudfront" | "clj-tomcat" | "thrift")
        || matches!(
            format.splitn(3, '/').collect::<Vec<_>>()[..],
            ["json" | "tsv" | "ndjson", vendor, rest] if !vendor.is_empty() && !rest.is_empty()
        )
}

fn unreadable(error: &serde_yaml::Error) -> Refusal {
    // The parser's message may quote the configuration, so only the position is used.
    let place = error.location().map_or_else(String::new, |location| {
        format!(" at line {} column {}", location.line(), location.column())
    });
    Refusal(format!("Psych::SyntaxError: (<unknown>): could not parse the configuration{place}\n"))
}

/// The beginning and the end of the contracts library's message, without the two long lines
/// between.
fn contract(path: &str, why: &str) -> Refusal {
    // Only a missing key's name is taken from serde's message: the rest may quote a value, which
    // may be a secret.
    let missing = why.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let key = match missing {
        Some(field) if path == "." => field.to_owned(),
        Some(field) => format!("{path}.{field}"),
        None => path.to_owned(),
    };
    Refusal(format!(
        "ReturnContractError: Contract violation for return value:
        Expected: another type or value at {key} (the stand-in shortens this)
        Actual: (not repeated here)
        Value guarded in: Snowplow::EmrEtlRunner::Cli::load_config
        With Contract: Maybe, String, Bool => Maybe
        At: :211 \n"
    ))
}
