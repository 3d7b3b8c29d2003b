//! Owns the steps of a run: which ones, in which order, with which arguments, and the S3 queries
//! between them.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::config::{Compression, Config, Raw};
use crate::documents::{Documents, to_base64};
use crate::s3::{Keys, Storage, run_id};
use crate::selection::{Archive, Selection};
use crate::stop::Stop;

/// The argument that makes s3-dist-cp encrypt its output.
pub const ENCRYPT: &str = "--s3ServerSideEncryption";

const RAW_HDFS: &str = "hdfs:///local/snowplow/raw-events/";
const ENRICHED_HDFS: &str = "hdfs:///local/snowplow/enriched-events/";
const SHREDDED_HDFS: &str = "hdfs:///local/snowplow/shredded-events/";
const HOSTED_ASSETS: &str = "s3://snowplow-hosted-assets";
const DIST_CP: &str = "/usr/share/aws/emr/s3-dist-cp/lib/s3-dist-cp.jar";

/// One step of a job flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As EMR shows it.
    pub name: String,
    /// The jar of the step.
    pub jar: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Spark steps have another key order in the request.
    pub spark: bool,
    /// Whether the step is added to a persistent cluster again after it failed.
    pub retry_on_fail: bool,
    /// For RDB Loader: the target's name and the S3 path of its log.
    pub loader_log: Option<(String, String)>,
}

impl Step {
    /// The step in the form of a request.
    #[must_use]
    pub fn to_request(&self, action_on_failure: &str) -> Value {
        let mut jar = Map::new();
        jar.insert("Jar".to_owned(), json!(self.jar));
        if !self.args.is_empty() {
            jar.insert("Args".to_owned(), json!(self.args));
        }
        if self.spark {
            json!({"Name": self.name, "ActionOnFailure": action_on_failure, "HadoopJarStep": jar})
        } else {
            json!({"ActionOnFailure": action_on_failure, "HadoopJarStep": jar, "Name": self.name})
        }
    }

    /// Whether s3-dist-cp runs it.
    #[must_use]
    pub fn is_dist_cp(&self) -> bool {
        self.jar == DIST_CP
    }

    fn custom(name: impl Into<String>, jar: impl Into<String>, args: &[&str]) -> Self {
        Self {
            name: name.into(),
            jar: jar.into(),
            args: owned(args),
            spark: false,
            retry_on_fail: true,
            loader_log: None,
        }
    }
}

/// The inputs of the steps.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The other files.
    pub documents: &'a Documents,
    /// The parts of this run.
    pub selection: &'a Selection,
    /// RDB Loader's extra steps.
    pub include: &'a [String],
    /// The start of this run, by the runner's clock.
    pub run_at: OffsetDateTime,
    /// Whether the steps go to an existing persistent cluster.
    pub found_persistent: bool,
}

/// `2026-11-22-08-34-15`: the name of a run.
#[must_use]
pub fn run_name(at: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}-{:02}-{:02}-{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

impl Plan<'_> {
    /// The folder for the logs of this run's RDB Loader.
    #[must_use]
    pub fn loader_log_base(&self) -> String {
        format!("{}rdb-loader/{}/", self.config.aws.s3.buckets.log, run_name(self.run_at))
    }

    /// Creates the steps, with S3 queries in the real program's order.
    ///
    /// # Errors
    /// No data, a folder that is not empty, a configuration that does not fit the steps, S3's own
    /// errors.
    pub fn steps(&self, storage: &mut dyn Storage) -> Result<Vec<Step>, Stop> {
        let mut steps = Vec::new();
        if self.found_persistent {
            steps.push(self.remove_step(
                "[cleanup] Empty Snowplow HDFS",
                &[RAW_HDFS, ENRICHED_HDFS, SHREDDED_HDFS],
            ));
            steps.push(Step::custom(
                "[cleanup] Empty HDFS trash",
                "command-runner.jar",
                &["hdfs", "dfs", "-expunge"],
            ));
        }
        if self.selection.staging {
            self.staging(storage, &mut steps)?;
        }
        if let Some(hbase) = &self.config.aws.emr.software.hbase
            && !self.found_persistent
        {
            steps.push(Step {
                retry_on_fail: false,
                ..Step::custom(
                    format!("Start HBase {hbase}"),
                    format!("/home/hadoop/lib/hbase-{hbase}.jar"),
                    &["emr.hbase.backup.Main", "--start-master"],
                )
            });
        }
        if self.selection.enrich {
            self.enrich(storage, &mut steps)?;
        }
        if self.selection.staging_stream_enrich {
            self.staging_stream_enrich(storage, &mut steps)?;
        }
        if self.selection.shred {
            self.shred(storage, &mut steps)?;
        }
        if self.selection.archive_raw {
            let raw = self.raw()?;
            steps.push(self.dist_cp(
                "[archive_raw] s3-dist-cp: Raw Staging S3 -> Raw Archive S3",
                &raw.processing,
                &self.by_run(&raw.archive),
                &["--s3Endpoint", &self.s3_endpoint(), "--deleteOnSuccess"],
            ));
        }
        if self.selection.rdb_load {
            steps.extend(self.rdb_load());
        }
        self.archives(storage, &mut steps)?;
        Ok(steps)
    }

    fn staging(&self, storage: &mut dyn Storage, steps: &mut Vec<Step>) -> Result<(), Stop> {
        let raw = self.raw()?;
        let tomcat = self.config.collector_format() == Some("clj-tomcat");
        if !storage.is_empty(&raw.processing, Keys::Files)? {
            return Err(Stop::NotEmpty(format!(
                "Cannot safely add staging step to jobflow, {} is not empty",
                raw.processing
            )));
        }
        let (keys, pattern) = if tomcat {
            (Keys::TomcatLogs, r".*localhost\_access\_log.*\.txt.*")
        } else {
            (Keys::Files, ".+")
        };
        let mut found = false;
        for input in &raw.inputs {
            if storage.is_empty(input, keys)? {
                continue;
            }
            found = true;
            let endpoint = self.s3_endpoint();
            let mut args =
                vec!["--s3Endpoint", &endpoint, "--srcPattern", pattern, "--deleteOnSuccess"];
            if tomcat {
                args.extend(["--groupBy", ".*/_*(.+)"]);
            }
            let name = format!("[staging] s3-dist-cp: Raw {input} -> Raw Staging S3");
            steps.push(self.dist_cp(&name, input, &raw.processing, &args));
        }
        if found {
            Ok(())
        } else {
            Err(Stop::NoData("No Snowplow logs to process since last run".to_owned()))
        }
    }

    fn enrich(&self, storage: &mut dyn Storage, steps: &mut Vec<Step>) -> Result<(), Stop> {
        let raw = self.raw()?;
        let enriched = &self.config.aws.s3.buckets.enriched;
        let format = self.config.collector_format().unwrap_or_default();
        let endpoint = self.s3_endpoint();
        if !self.selection.staging && storage.is_empty(&raw.processing, Keys::Files)? {
            return Err(Stop::NoData(format!(
                "No Snowplow logs in {}, can't resume from enrich",
                raw.processing
            )));
        }
        let airship = format.starts_with("ndjson/com.urbanairship.connect/");
        let cloudfront =
            format == "cloudfront" || format.starts_with("tsv/com.amazon.aws.cloudfront/");
        let mut args = vec!["--s3Endpoint", &endpoint];
        if airship || cloudfront {
            // In the real program's Ruby source the first pattern's \w lacks its backslash.
            let group_by = if airship { ".*/(w+)/.*" } else { ".*([0-9]+-[0-9]+-[0-9]+)-[0-9]+.*" };
            args.extend(["--groupBy", group_by, "--targetSize", "128", "--outputCodec", "lzo"]);
        }
        if format == "clj-tomcat" {
            args.extend(["--outputCodec", "none"]);
        }
        steps.push(self.dist_cp(
            "[enrich] s3-dist-cp: Raw S3 -> Raw HDFS",
            &raw.processing,
            RAW_HDFS,
            &args,
        ));

        let Some(versions) = &self.config.enrich.versions else {
            return Err(Stop::config(
                "Cannot add enrich step as spark_enrich version is not configured",
            ));
        };
        let version = &versions.spark_enrich;
        let [major, minor, _] = version_of(version, "enrich")?;
        if major < 1 || minor < 9 {
            return Err(unplayed(&format!("spark_enrich {version}")));
        }
        let tstamp = (self.run_at.unix_timestamp_nanos() / 1_000_000).to_string();
        steps.push(spark(
            "[enrich] spark: Enrich Raw Events",
            "enrich.spark.EnrichJob",
            &format!("{}3-enrich/spark-enrich/snowplow-spark-enrich-{version}.jar", self.assets()),
            &[
                "--input-format",
                format,
                "--etl-timestamp",
                &tstamp,
                "--iglu-config",
                &self.documents.resolver_base64(),
                "--enrichments",
                &self.documents.enrichments_base64(),
                "--input-folder",
                "hdfs:///local/snowplow/raw-events/*",
                "--output-folder",
                ENRICHED_HDFS,
                "--bad-folder",
                &self.by_run(enriched.bad.as_deref().unwrap_or_default()),
            ],
            true,
        ));
        if !storage.is_empty(&enriched.good, Keys::Files)? {
            return Err(Stop::NotEmpty(format!(
                "Cannot safely add enrichment step to jobflow, {} is not empty",
                enriched.good
            )));
        }
        let output = self.by_run(&enriched.good);
        steps.push(self.gather(
            "[enrich] spark: Enriched HDFS -> S3",
            ENRICHED_HDFS,
            &output,
            r".*(part-)\d+-(.*)",
        ));
        steps.push(self.success_file(
            "[enrich] spark: Enriched HDFS _SUCCESS -> S3",
            ENRICHED_HDFS,
            &output,
        ));
        Ok(())
    }

    fn staging_stream_enrich(
        &self,
        storage: &mut dyn Storage,
        steps: &mut Vec<Step>,
    ) -> Result<(), Stop> {
        let enriched = &self.config.aws.s3.buckets.enriched;
        let stream = enriched.stream.as_deref().unwrap_or_default();
        if !storage.is_empty(&enriched.good, Keys::Files)? {
            return Err(Stop::NotEmpty(format!(
                "Cannot safely add stream staging step to jobflow, {} is not empty",
                enriched.good
            )));
        }
        if storage.is_empty(stream, Keys::StreamEnriched)? {
            return Err(Stop::NoData(
                "No Snowplow enriched stream logs to process since last run".to_owned(),
            ));
        }
        steps.push(self.dist_cp(
            &format!(
                "[staging_stream_enrich] s3-dist-cp: Stream Enriched {stream} -> Enriched \
                Staging S3"
            ),
            stream,
            &self.by_run(&enriched.good),
            &["--s3Endpoint", &self.s3_endpoint(), "--srcPattern", ".*.gz", "--deleteOnSuccess"],
        ));
        Ok(())
    }

    fn shred(&self, storage: &mut dyn Storage, steps: &mut Vec<Step>) -> Result<(), Stop> {
        let good = &self.config.aws.s3.buckets.shredded.good;
        let version = &self.config.storage.versions.rdb_shredder;
        let parsed = version_of(version, "shred")?;
        if parsed[1] < 12 {
            return Err(unplayed(&format!("rdb_shredder {version}")));
        }
        let tabular = parsed >= [0, 16, 0];
        steps.push(self.before_shredding());
        steps.push(self.shred_job(tabular));
        if !storage.is_empty(good, Keys::Files)? {
            return Err(Stop::NotEmpty(format!(
                "Cannot safely add shredding step to jobflow, {good} is not empty"
            )));
        }
        steps.extend(self.shredded_to_s3(tabular));
        steps.push(self.success_file(
            "[shred] s3-dist-cp: Shredded HDFS _SUCCESS -> S3",
            SHREDDED_HDFS,
            &self.by_run(good),
        ));
        Ok(())
    }

    /// Frees space on HDFS after enriching, or else copies the enriched files there.
    fn before_shredding(&self) -> Step {
        let buckets = &self.config.aws.s3.buckets;
        if self.selection.enrich {
            self.remove_step("[cleanup] Empty Raw HDFS", &[RAW_HDFS])
        } else {
            let source = if self.selection.staging_stream_enrich {
                self.by_run(&buckets.enriched.good)
            } else {
                buckets.enriched.good.clone()
            };
            let pattern = if buckets.enriched.stream.is_some() { ".*.gz" } else { ".*part-.*" };
            self.dist_cp(
                "[shred] s3-dist-cp: Enriched S3 -> HDFS",
                &source,
                ENRICHED_HDFS,
                &[
                    "--srcPattern",
                    pattern,
                    "--outputCodec",
                    "none",
                    "--s3Endpoint",
                    &self.s3_endpoint(),
                ],
            )
        }
    }

    /// RDB Shredder; `tabular` is true for versions that can write TSV.
    fn shred_job(&self, tabular: bool) -> Step {
        let version = &self.config.storage.versions.rdb_shredder;
        let resolver = self.documents.resolver_base64();
        let bad = self.by_run(&self.config.aws.s3.buckets.shredded.bad);
        let duplicates = self.documents.targets("DUPLICATE_TRACKING").next().map(to_base64);
        let redshift = self.documents.redshift_target();
        let target = redshift.filter(|_| tabular).map(to_base64);
        let mut args = vec!["--iglu-config", resolver.as_str()];
        if let Some(table) = &duplicates {
            args.extend(["--duplicate-storage-config", table]);
        }
        if let Some(target) = &target {
            args.extend(["--target", target]);
        }
        args.extend([
            "--input-folder",
            "hdfs:///local/snowplow/enriched-events/*",
            "--output-folder",
            SHREDDED_HDFS,
            "--bad-folder",
            &bad,
        ]);
        spark(
            "[shred] spark: Shred Enriched Events",
            "storage.spark.ShredJob",
            &format!("{}4-storage/rdb-shredder/snowplow-rdb-shredder-{version}.jar", self.assets()),
            &args,
            false,
        )
    }

    /// Copies the shredder's files, merged if the configuration says so.
    fn shredded_to_s3(&self, tabular: bool) -> Vec<Step> {
        let output = self.by_run(&self.config.aws.s3.buckets.shredded.good);
        let redshift = self.documents.redshift_target();
        let mut steps = Vec::new();
        if self.config.aws.s3.consolidate_shredded_output {
            let types = |kind: &str| {
                format!(r".*/{kind}/vendor=(.+)/name=(.+)/.+/version=(.+)/(part-)\d+-(.*)")
            };
            let blacklist =
                redshift.and_then(|target| target["data"]["blacklistTabular"].as_array());
            steps.push(self.gather(
                "[shred] s3-dist-cp: Shredded atomic events HDFS -> S3",
                SHREDDED_HDFS,
                &output,
                r".*/atomic-events/(part-)\d+-(.*)",
            ));
            if !tabular || blacklist.is_none_or(|list| !list.is_empty()) {
                steps.push(self.gather(
                    "[shred] s3-dist-cp: Shredded JSON types HDFS -> S3",
                    SHREDDED_HDFS,
                    &output,
                    &types("shredded-types"),
                ));
            }
            if tabular && blacklist.is_some() {
                steps.push(self.gather(
                    "[shred] s3-dist-cp: Shredded TSV types HDFS -> S3",
                    SHREDDED_HDFS,
                    &output,
                    &types("shredded-tsv"),
                ));
            }
        } else {
            let endpoint = self.s3_endpoint();
            let mut args = vec!["--srcPattern", ".*part-.*", "--s3Endpoint", &endpoint];
            args.extend(self.output_codec());
            steps.push(self.dist_cp(
                "[shred] s3-dist-cp: Shredded HDFS -> S3",
                SHREDDED_HDFS,
                &output,
                &args,
            ));
        }
        steps
    }

    /// One step for each storage target, with all its inputs in base64.
    fn rdb_load(&self) -> Vec<Step> {
        let stream = self.config.aws.s3.buckets.enriched.stream.is_some();
        let loader = &self.config.storage.versions.rdb_loader;
        let mut skips = self.selection.loader_skips.clone();
        let manifests = version_of(loader, "load").is_ok_and(|version| version >= [0, 15, 0]);
        if stream && manifests {
            skips.push("load_manifest");
        }
        let mut clean = self.config.tree.clone();
        for key in ["access_key_id", "secret_access_key"] {
            clean["aws"][key] = json!("");
        }
        let config = to_base64(&clean);
        let resolver = self.documents.resolver_base64();
        self.documents
            .targets("ENRICHED_EVENTS")
            .map(|target| {
                let name = target["data"]["name"].as_str().unwrap_or_default();
                let log = format!("{}{:032x}", self.loader_log_base(), fastrand::u128(..));
                let target = to_base64(target);
                let skipped = skips.join(",");
                let included = self.include.join(",");
                let mut args = vec![
                    "--config",
                    &config,
                    "--resolver",
                    &resolver,
                    "--logkey",
                    &log,
                    "--target",
                    &target,
                ];
                if !skipped.is_empty() {
                    args.extend(["--skip", &skipped]);
                }
                if !included.is_empty() {
                    args.extend(["--include", &included]);
                }
                Step {
                    retry_on_fail: false,
                    loader_log: Some((name.to_owned(), log.clone())),
                    ..Step::custom(
                        format!("[rdb_load] Load {name} Storage Target"),
                        format!(
                            "{}4-storage/rdb-loader/snowplow-rdb-loader-{loader}.jar",
                            self.assets()
                        ),
                        &args,
                    )
                }
            })
            .collect()
    }

    fn archives(&self, storage: &mut dyn Storage, steps: &mut Vec<Step>) -> Result<(), Stop> {
        let buckets = &self.config.aws.s3.buckets;
        let all = [
            (
                self.selection.archive_enriched,
                &buckets.enriched.good,
                &buckets.enriched.archive,
                ("archive_enriched", "Enriched", ""),
            ),
            (
                self.selection.archive_shredded,
                &buckets.shredded.good,
                &buckets.shredded.archive,
                ("archive_shredded", "Shredded", "atomic-events"),
            ),
        ];
        for (how, good, archive, (part, what, suffix)) in all {
            let (run, destination) = match how {
                Archive::Skip => continue,
                Archive::Pipeline => (run_name(self.run_at), format!("{what} Archive S3")),
                Archive::Recover => {
                    (latest_run(storage, good, suffix)?, format!("S3 {what} Archive"))
                }
            };
            let Some(archive) = archive else {
                return Err(Stop::crash(
                    "ParamContractError",
                    format!("no archive folder for {part}"),
                ));
            };
            steps.push(self.dist_cp(
                &format!("[{part}] s3-dist-cp: {what} S3 -> {destination}"),
                &format!("{good}run={run}/"),
                &format!("{archive}run={run}/"),
                &["--s3Endpoint", &self.s3_endpoint(), "--deleteOnSuccess"],
            ));
        }
        Ok(())
    }

    /// An s3-dist-cp step; encryption is its last argument.
    fn dist_cp(&self, name: &str, source: &str, destination: &str, rest: &[&str]) -> Step {
        let mut args = vec!["--src", source, "--dest", destination];
        args.extend_from_slice(rest);
        if self.config.aws.s3.buckets.encrypted {
            args.push(ENCRYPT);
        }
        Step::custom(name, DIST_CP, &args)
    }

    /// An s3-dist-cp step that merges small files.
    fn gather(&self, name: &str, source: &str, destination: &str, group_by: &str) -> Step {
        let endpoint = self.s3_endpoint();
        let mut args = vec!["--groupBy", group_by, "--targetSize", "24", "--s3Endpoint", &endpoint];
        args.extend(self.output_codec());
        self.dist_cp(name, source, destination, &args)
    }

    fn success_file(&self, name: &str, source: &str, destination: &str) -> Step {
        let endpoint = self.s3_endpoint();
        self.dist_cp(
            name,
            source,
            destination,
            &["--srcPattern", ".*_SUCCESS", "--s3Endpoint", &endpoint],
        )
    }

    fn remove_step(&self, name: &str, folders: &[&str]) -> Step {
        let region = &self.config.aws.emr.region;
        let script = format!(
            "{}common/emr/snowplow-hadoop-fs-rmr-0.2.0.sh",
            hosted_assets(HOSTED_ASSETS, region)
        );
        let mut args = vec![script.as_str()];
        args.extend_from_slice(folders);
        Step::custom(
            name,
            format!("s3://{region}.elasticmapreduce/libs/script-runner/script-runner.jar"),
            &args,
        )
    }

    fn raw(&self) -> Result<&Raw, Stop> {
        self.config
            .aws
            .s3
            .buckets
            .raw
            .as_ref()
            .ok_or_else(|| Stop::crash("NoMethodError", "undefined method `[]' for nil:NilClass"))
    }

    fn by_run(&self, folder: &str) -> String {
        format!("{folder}run={}/", run_name(self.run_at))
    }

    fn s3_endpoint(&self) -> String {
        match self.config.aws.s3.region.as_str() {
            "us-east-1" => "s3.amazonaws.com".to_owned(),
            region => format!("s3-{region}.amazonaws.com"),
        }
    }

    fn output_codec(&self) -> &'static [&'static str] {
        match self.config.enrich.output_compression {
            Compression::Gzip => &["--outputCodec", "gz"],
            Compression::None => &[],
        }
    }

    fn assets(&self) -> String {
        hosted_assets(&self.config.aws.s3.buckets.assets, &self.config.aws.emr.region)
    }
}

/// A Spark job; each is a class in one of Snowplow's jars.
fn spark(name: &str, class: &str, jar: &str, application: &[&str], retry: bool) -> Step {
    let class = format!("com.snowplowanalytics.snowplow.{class}");
    let mut args = vec!["spark-submit", "--class", &class];
    args.extend(["--master", "yarn", "--deploy-mode", "cluster", jar]);
    args.extend_from_slice(application);
    Step { spark: true, retry_on_fail: retry, ..Step::custom(name, "command-runner.jar", &args) }
}

/// Snowplow's own bucket has a copy in each region; any other is used unchanged.
fn hosted_assets(bucket: &str, region: &str) -> String {
    let bucket = bucket.trim_end_matches('/');
    if bucket == HOSTED_ASSETS && region != "eu-west-1" {
        format!("{bucket}-{region}/")
    } else {
        format!("{bucket}/")
    }
}

/// The folder with the scripts that run on every node.
#[must_use]
pub fn standard_assets(region: &str) -> String {
    hosted_assets(HOSTED_ASSETS, region)
}

fn latest_run(storage: &mut dyn Storage, good: &str, suffix: &str) -> Result<String, Stop> {
    let key = storage.last_key(good, Keys::InRunFolder)?.unwrap_or_default();
    let Some(run) = run_id(&key) else {
        return Err(Stop::Fatal(crate::stop::Fatal {
            class: "UnexpectedStateError",
            message: format!("No run folders in [{good}] found"),
            raised_in: "get_latest_run_id",
        }));
    };
    let path = format!("{good}run={run}/{suffix}");
    if storage.is_empty(&path, Keys::Files)? {
        return Err(Stop::NoData(format!("Cannot archive {path}, no data found")));
    }
    Ok(run.to_owned())
}

/// The three numbers of a version; a suffix after a hyphen is ignored.
fn version_of(version: &str, job: &str) -> Result<[u32; 3], Stop> {
    let parts: Vec<u32> = version
        .split('-')
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or_default())
        .collect();
    parts.try_into().map_err(|_| {
        Stop::crash("ArgumentError", format!("The {job} job version could not be parsed"))
    })
}

fn unplayed(what: &str) -> Stop {
    Stop::Refused(format!("standin-runner: the legacy job {what} is not played\n"))
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}
