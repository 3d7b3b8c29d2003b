//! The plan: what a run will access, as plain data derived from its arguments and a few facts of
//! its config.
//!
//! The rules are those of EmrEtlRunner 1.0.4: `Cli.validate_and_coalesce`, `Runner.get_steps` and
//! `EmrJob#initialize`. Nothing here reads S3, so a planned run can still end early without data
//! (exit code 3) or because a folder is not empty (4).

use std::collections::BTreeSet;

use crate::{
    runners::emr_etl_runner::{
        config::RunnerConfig, documents::DocumentError, invocation::RunInvocation,
    },
    spec::{
        data_paths::{Access, Actor, ArchiveFolder, ClusterUse, DataAccess, LaunchPlan},
        observations::{Enrichment, Purpose, RunnerDocuments, StorageTarget},
        part::PipelinePart,
    },
};

impl RunnerDocuments {
    /// Reads the folders that `run` names; without the option there are none, as in the runner.
    ///
    /// # Errors
    /// [`DocumentError`] for the first file that cannot be read or parsed.
    pub fn read(run: &RunInvocation) -> Result<Self, DocumentError> {
        Ok(Self {
            targets: run
                .targets
                .as_deref()
                .map(StorageTarget::read_all)
                .transpose()?
                .unwrap_or_default(),
            enrichments: run
                .enrichments
                .as_deref()
                .map(Enrichment::read_all)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

/// The plan's inputs from the runner config and the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanInputs {
    /// The keys below `aws.s3.buckets` that name a location: `raw.in[0]`, `enriched.good`.
    pub locations: Vec<String>,
    /// `collectors.format`.
    pub collector_format: Option<String>,
    /// `enrich.versions.spark_enrich`.
    pub spark_enrich: Option<String>,
    /// `storage.versions.rdb_shredder`.
    pub rdb_shredder: String,
    /// `enrich.continue_on_unexpected_error`.
    pub continue_on_unexpected_error: bool,
    /// Whether a target takes enriched events.
    pub loads: bool,
    /// Whether a target takes failed events.
    pub indexes: bool,
    /// `aws.emr.jobflow.job_name`.
    pub job_name: String,
}

impl PlanInputs {
    /// Stream-enrich mode: `enriched.stream` is set.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.has("enriched.stream")
    }

    fn has(&self, role: &str) -> bool {
        self.locations.iter().any(|location| location == role)
    }
}

/// Why the runner would stop, with exit code 1, before it calls EMR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunnerStartError {
    /// An argument that is invalid in stream-enrich mode, or valid only in that mode.
    #[error("{argument} {} stream-enrich mode (`aws.s3.buckets.enriched.stream` is \
        {})", if *stream { "cannot be used \
        in" } else { "needs" }, if *stream { "set" } else { "not set" })]
    Mode {
        /// As it would be typed: `--skip staging`.
        argument: String,
        /// Whether the config is in stream-enrich mode.
        stream: bool,
    },
    /// A part that runs needs a location that the config lacks.
    #[error("{part} needs `aws.s3.buckets.{role}`, which is not set")]
    NoLocation {
        /// The part.
        part: PipelinePart,
        /// The key below `aws.s3.buckets`.
        role: &'static str,
    },
    /// Enriching needs a version.
    #[error("enrich needs `enrich.versions.spark_enrich`, which is not set")]
    NoEnrichVersion,
    /// A version from which the runner cannot derive the kind of job.
    #[error("`{key}` must be three numbers; found `{found}`")]
    Version {
        /// The key in the config.
        key: &'static str,
        /// The value in the config.
        found: String,
    },
    /// A collector format that the runner does not know.
    #[error(
        "`collectors.format` knows cloudfront, clj-tomcat, thrift, json/…/…, tsv/…/… and \
         ndjson/…/…; found `{0}`"
    )]
    CollectorFormat(String),
}

impl LaunchPlan {
    /// Derives what `run` will do.
    ///
    /// # Errors
    /// [`RunnerStartError`] when the runner stops before it launches anything.
    pub fn of(run: &RunInvocation, plan_inputs: &PlanInputs) -> Result<Self, RunnerStartError> {
        let stream = plan_inputs.stream();
        fits_mode(run, stream)?;
        if let Some(format) =
            plan_inputs.collector_format.as_deref().filter(|format| !is_collector_format(format))
        {
            return Err(RunnerStartError::CollectorFormat(format.to_owned()));
        }
        let parts: BTreeSet<PipelinePart> =
            PipelinePart::SKIPPABLE.into_iter().filter(|part| runs(*part, run, stream)).collect();
        let archive = |part, in_pipeline| match (parts.contains(&part), in_pipeline) {
            (false, _) => ArchiveFolder::Skip,
            (true, true) => ArchiveFolder::Pipeline,
            (true, false) => ArchiveFolder::Recover,
        };
        let enriches = parts.contains(&PipelinePart::Enrich)
            || parts.contains(&PipelinePart::StagingStreamEnrich);
        let mut plan = Self {
            archive_enriched: archive(PipelinePart::ArchiveEnriched, enriches),
            archive_shredded: archive(
                PipelinePart::ArchiveShredded,
                parts.contains(&PipelinePart::Shred),
            ),
            touches: Vec::new(),
            cluster: if run.persistent {
                ClusterUse::NamedOrNew(plan_inputs.job_name.clone())
            } else {
                ClusterUse::New(plan_inputs.job_name.clone())
            },
            clojure_collector: parts.contains(&PipelinePart::Staging)
                && plan_inputs.collector_format.as_deref() == Some("clj-tomcat"),
            parts,
        };
        let engines = Engines::of(plan_inputs)?;
        plan.has_its_locations(plan_inputs)?;
        plan.touches = plan.touch(plan_inputs, engines);
        Ok(plan)
    }

    fn has_its_locations(&self, plan_inputs: &PlanInputs) -> Result<(), RunnerStartError> {
        let needs: [(PipelinePart, &'static str); 6] = [
            (PipelinePart::Staging, "raw.processing"),
            (PipelinePart::Enrich, "raw.processing"),
            (PipelinePart::ArchiveRaw, "raw.processing"),
            (PipelinePart::ArchiveRaw, "raw.archive"),
            (PipelinePart::ArchiveEnriched, "enriched.archive"),
            (PipelinePart::ArchiveShredded, "shredded.archive"),
        ];
        if let Some((part, role)) = needs
            .into_iter()
            .find(|(part, role)| self.parts.contains(part) && !plan_inputs.has(role))
        {
            return Err(RunnerStartError::NoLocation { part, role });
        }
        if self.parts.contains(&PipelinePart::Enrich) && plan_inputs.spark_enrich.is_none() {
            return Err(RunnerStartError::NoEnrichVersion);
        }
        Ok(())
    }

    fn touch(&self, plan_inputs: &PlanInputs, engines: Engines) -> Vec<DataAccess> {
        use crate::spec::data_paths::Access::{Delete, List, Read, Write};
        use crate::spec::data_paths::Actor::{Emr, RdbLoader, Runner, S3DistCp, Scalding};

        let mut touches = Touches { plan_inputs, part: None, list: Vec::new() };
        touches.add(Emr, "log", &[Write]);
        let enriches = self.parts.contains(&PipelinePart::Enrich);
        let shreds = self.parts.contains(&PipelinePart::Shred);
        for part in PIPELINE.into_iter().filter(|part| self.parts.contains(part)) {
            touches.part = Some(part);
            match part {
                PipelinePart::Staging => {
                    touches.add(Runner, "raw.processing", &[List]);
                    touches.add(Runner, "raw.in", &[List]);
                    touches.add(S3DistCp, "raw.in", &[Read, Delete]);
                    touches.add(S3DistCp, "raw.processing", &[Write]);
                }
                PipelinePart::Enrich => {
                    if !self.parts.contains(&PipelinePart::Staging) {
                        touches.add(Runner, "raw.processing", &[List]);
                    }
                    touches.add(S3DistCp, "raw.processing", &[Read]);
                    touches.add(engines.enrich, "assets", &[Read]);
                    touches.add(engines.enrich, "enriched.bad", &[Write]);
                    if engines.enrich == Scalding && plan_inputs.continue_on_unexpected_error {
                        touches.add(Scalding, "enriched.errors", &[Write]);
                    }
                    touches.add(Runner, "enriched.good", &[List]);
                    touches.add(S3DistCp, "enriched.good", &[Write]);
                }
                PipelinePart::StagingStreamEnrich => {
                    touches.add(Runner, "enriched.good", &[List]);
                    touches.add(Runner, "enriched.stream", &[List]);
                    touches.add(S3DistCp, "enriched.stream", &[Read, Delete]);
                    touches.add(S3DistCp, "enriched.good", &[Write]);
                }
                PipelinePart::Shred => {
                    // Right after enriching, the enriched files are still on HDFS.
                    if !enriches {
                        touches.add(S3DistCp, "enriched.good", &[Read]);
                    }
                    touches.add(engines.shred, "assets", &[Read]);
                    touches.add(engines.shred, "shredded.bad", &[Write]);
                    if engines.shred == Scalding && plan_inputs.continue_on_unexpected_error {
                        touches.add(Scalding, "shredded.errors", &[Write]);
                    }
                    touches.add(Runner, "shredded.good", &[List]);
                    touches.add(S3DistCp, "shredded.good", &[Write]);
                }
                PipelinePart::Elasticsearch if plan_inputs.indexes && (enriches || shreds) => {
                    touches.add(Scalding, "assets", &[Read]);
                    if enriches {
                        touches.add(Scalding, "enriched.bad", &[Read]);
                    }
                    if shreds {
                        touches.add(Scalding, "shredded.bad", &[Read]);
                    }
                }
                PipelinePart::ArchiveRaw => {
                    touches.add(S3DistCp, "raw.processing", &[Read, Delete]);
                    touches.add(S3DistCp, "raw.archive", &[Write]);
                }
                PipelinePart::RdbLoad if plan_inputs.loads => {
                    touches.add(RdbLoader, "assets", &[Read]);
                    touches.add(RdbLoader, "shredded.good", &[List, Read]);
                    touches.add(RdbLoader, "jsonpath_assets", &[Read]);
                    touches.add(RdbLoader, "log", &[Write]);
                    // The runner prints the loader's log, then copies it to another name.
                    touches.add(Runner, "log", &[List, Read, Write, Delete]);
                }
                PipelinePart::ArchiveEnriched => {
                    touches.archive(self.archive_enriched, "enriched.good", "enriched.archive");
                }
                PipelinePart::ArchiveShredded => {
                    touches.archive(self.archive_shredded, "shredded.good", "shredded.archive");
                }
                PipelinePart::Elasticsearch
                | PipelinePart::RdbLoad
                | PipelinePart::ConsistencyCheck
                | PipelinePart::Analyze
                | PipelinePart::LoadManifestCheck => {}
            }
        }
        touches.list
    }
}

/// The order in which the runner creates its steps.
const PIPELINE: [PipelinePart; 9] = [
    PipelinePart::Staging,
    PipelinePart::Enrich,
    PipelinePart::StagingStreamEnrich,
    PipelinePart::Shred,
    PipelinePart::Elasticsearch,
    PipelinePart::ArchiveRaw,
    PipelinePart::RdbLoad,
    PipelinePart::ArchiveEnriched,
    PipelinePart::ArchiveShredded,
];

struct Touches<'a> {
    plan_inputs: &'a PlanInputs,
    part: Option<PipelinePart>,
    list: Vec<DataAccess>,
}

impl Touches<'_> {
    /// Adds the accesses of `actor` to a location, or to each location of a list; a location that
    /// is not set is not accessed.
    fn add(&mut self, actor: Actor, key: &str, accesses: &[Access]) {
        let named = |role: &&String| {
            *role == key || role.strip_prefix(key).is_some_and(|index| index.starts_with('['))
        };
        for role in self.plan_inputs.locations.iter().filter(named) {
            for access in accesses {
                self.list.push(DataAccess {
                    role: role.clone(),
                    access: *access,
                    actor,
                    part: self.part,
                });
            }
        }
    }

    fn archive(&mut self, how: ArchiveFolder, good: &str, archive: &str) {
        if how == ArchiveFolder::Recover {
            self.add(Actor::Runner, good, &[Access::List]);
        }
        self.add(Actor::S3DistCp, good, &[Access::Read, Access::Delete]);
        self.add(Actor::S3DistCp, archive, &[Access::Write]);
    }
}

/// The kinds of jobs that enrich and shred: the runner derives them from the version.
#[derive(Clone, Copy)]
struct Engines {
    enrich: Actor,
    shred: Actor,
}

impl Engines {
    /// Both versions are checked even where neither part runs, as in the runner.
    fn of(plan_inputs: &PlanInputs) -> Result<Self, RunnerStartError> {
        let spark = |spark| if spark { Actor::Spark } else { Actor::Scalding };
        let enrich = match plan_inputs.spark_enrich.as_deref() {
            Some(version) => {
                let [major, minor] = major_minor(version, "enrich.versions.spark_enrich")?;
                spark(major >= 1 && minor >= 9)
            }
            None => Actor::Spark,
        };
        let [_, minor] = major_minor(&plan_inputs.rdb_shredder, "storage.versions.rdb_shredder")?;
        Ok(Self { enrich, shred: spark(minor >= 12) })
    }
}

fn major_minor(version: &str, key: &'static str) -> Result<[u64; 2], RunnerStartError> {
    let broken = || RunnerStartError::Version { key, found: version.to_owned() };
    let parts: Vec<&str> = version.split('.').collect();
    let &[major, minor, _] = parts.as_slice() else { return Err(broken()) };
    let number = |part: &str| part.parse().map_err(|_| broken());
    Ok([number(major)?, number(minor)?])
}

/// `Runner.get_steps`, for one part. The parts to resume from, and the parts that then still run,
/// do not follow one order: each line has its own list.
fn runs(part: PipelinePart, run: &RunInvocation, stream: bool) -> bool {
    use crate::spec::part::PipelinePart::{
        Analyze, ArchiveEnriched, ArchiveRaw, ConsistencyCheck, Elasticsearch, Enrich,
        LoadManifestCheck, RdbLoad, Shred,
    };

    let resumed =
        |from: &[PipelinePart]| run.resume_from.is_none_or(|resumed| from.contains(&resumed));
    let reached = match part {
        PipelinePart::Staging => !stream && resumed(&[]),
        PipelinePart::StagingStreamEnrich => stream && resumed(&[]),
        Enrich => !stream && resumed(&[Enrich]),
        Shred => resumed(&[Enrich, Shred]),
        Elasticsearch => resumed(&[Enrich, Shred, Elasticsearch]),
        ArchiveRaw => !stream && resumed(&[Enrich, Shred, Elasticsearch, ArchiveRaw]),
        RdbLoad | LoadManifestCheck => {
            resumed(&[Enrich, Shred, Elasticsearch, ArchiveRaw, RdbLoad])
        }
        ConsistencyCheck => {
            resumed(&[Enrich, Shred, Elasticsearch, ArchiveRaw, RdbLoad, ConsistencyCheck])
        }
        Analyze => resumed(&[
            Enrich,
            Shred,
            Elasticsearch,
            ArchiveRaw,
            RdbLoad,
            ConsistencyCheck,
            LoadManifestCheck,
            Analyze,
        ]),
        ArchiveEnriched => resumed(&[
            Enrich,
            Shred,
            Elasticsearch,
            ArchiveRaw,
            RdbLoad,
            ConsistencyCheck,
            Analyze,
            ArchiveEnriched,
        ]),
        PipelinePart::ArchiveShredded => true,
    };
    reached && !run.skip.contains(&part)
}

/// The part of `Cli.validate_and_coalesce` that needs arguments and config.
fn fits_mode(run: &RunInvocation, stream: bool) -> Result<(), RunnerStartError> {
    let resumed = run.resume_from.filter(|part| match part {
        PipelinePart::StagingStreamEnrich => !stream,
        PipelinePart::Enrich | PipelinePart::ArchiveRaw => stream,
        _ => false,
    });
    let skipped = run.skip.iter().find(|part| {
        stream
            && matches!(
                part,
                PipelinePart::Staging | PipelinePart::Enrich | PipelinePart::ArchiveRaw
            )
    });
    let argument = match (resumed, skipped) {
        (Some(part), _) => format!("`--resume-from {part}`"),
        (None, Some(part)) => format!("`--skip {part}`"),
        (None, None) => return Ok(()),
    };
    Err(RunnerStartError::Mode { argument, stream })
}

/// `COLLECTOR_FORMAT_REGEX`; its anchors match at each line, not only at the ends of the text.
fn is_collector_format(format: &str) -> bool {
    format.split('\n').any(|line| match line.split_once('/') {
        None => matches!(line, "cloudfront" | "clj-tomcat" | "thrift"),
        Some(("json" | "tsv" | "ndjson", rest)) => {
            rest.char_indices().any(|(at, letter)| letter == '/' && at > 0 && at + 1 < rest.len())
        }
        Some(_) => false,
    })
}

/// The plan's inputs from the config and the targets.
pub(crate) fn plan_inputs(config: &RunnerConfig, documents: &RunnerDocuments) -> PlanInputs {
    PlanInputs {
        locations: config.locations.iter().map(|location| location.role.clone()).collect(),
        collector_format: config.collector_format.clone(),
        spark_enrich: config.spark_enrich.clone(),
        rdb_shredder: config.rdb_shredder.clone(),
        continue_on_unexpected_error: config.continue_on_unexpected_error,
        loads: documents.has(Purpose::EnrichedEvents),
        indexes: documents.has(Purpose::FailedEvents),
        job_name: config.job_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::emr_etl_runner::invocation::Invocation;
    use crate::spec::data_paths::WriteProtection;

    const BATCH: &[&str] = &[
        "assets",
        "jsonpath_assets",
        "log",
        "raw.in[0]",
        "raw.in[1]",
        "raw.processing",
        "raw.archive",
        "enriched.good",
        "enriched.bad",
        "enriched.errors",
        "enriched.archive",
        "shredded.good",
        "shredded.bad",
        "shredded.errors",
        "shredded.archive",
    ];

    fn plan_inputs(stream: bool) -> PlanInputs {
        let mut locations: Vec<String> = BATCH.iter().map(|role| (*role).to_owned()).collect();
        if stream {
            locations.retain(|role| !role.starts_with("raw."));
            locations.push("enriched.stream".to_owned());
        }
        PlanInputs {
            locations,
            collector_format: (!stream).then(|| "thrift".to_owned()),
            spark_enrich: Some("1.18.0".to_owned()),
            rdb_shredder: "0.16.0".to_owned(),
            continue_on_unexpected_error: true,
            loads: true,
            indexes: true,
            job_name: "Snowplow ETL".to_owned(),
        }
    }

    fn run(options: &str) -> RunInvocation {
        let words: Vec<_> =
            "run -c c -r r".split(' ').chain(options.split_whitespace()).map(Into::into).collect();
        match Invocation::parse(&words) {
            Ok(Invocation::Run(run)) => run,
            other => panic!("{options}: {other:?}"),
        }
    }

    fn plan(options: &str, stream: bool) -> LaunchPlan {
        LaunchPlan::of(&run(options), &plan_inputs(stream)).unwrap()
    }

    fn parts(options: &str, stream: bool) -> String {
        let plan = plan(options, stream);
        let names: Vec<&str> = plan.parts.iter().map(|part| part.name()).collect();
        format!("{}; {:?} {:?}", names.join(" "), plan.archive_enriched, plan.archive_shredded)
    }

    /// The accesses of a plan, one line each.
    fn touches(plan: &LaunchPlan) -> Vec<String> {
        let line = |touch: &DataAccess| {
            let part = touch.part.map_or("cluster", PipelinePart::name);
            format!("{part}: {:?} {:?} {}", touch.actor, touch.access, touch.role)
        };
        plan.touches.iter().map(line).collect()
    }

    const WHOLE: &str = "staging enrich shred elasticsearch archive_raw rdb_load \
        consistency_check analyze load_manifest_check archive_enriched archive_shredded";

    #[test]
    fn each_resumable_part_leaves_what_the_runner_leaves() {
        for (options, expected) in [
            ("", format!("{WHOLE}; Pipeline Pipeline")),
            (
                "-f enrich",
                format!("{}; Pipeline Pipeline", WHOLE.strip_prefix("staging ").unwrap()),
            ),
            (
                "-f shred",
                format!("{}; Recover Pipeline", WHOLE.strip_prefix("staging enrich ").unwrap()),
            ),
            (
                "-f elasticsearch",
                format!(
                    "{}; Recover Recover",
                    WHOLE.strip_prefix("staging enrich shred ").unwrap()
                ),
            ),
            (
                "-f archive_raw",
                format!(
                    "{}; Recover Recover",
                    WHOLE.strip_prefix("staging enrich shred elasticsearch ").unwrap()
                ),
            ),
            (
                "-f rdb_load",
                format!(
                    "{}; Recover Recover",
                    WHOLE.strip_prefix("staging enrich shred elasticsearch archive_raw ").unwrap()
                ),
            ),
            ("-f analyze", "analyze archive_enriched archive_shredded; Recover Recover".to_owned()),
            (
                "-f archive_enriched",
                "archive_enriched archive_shredded; Recover Recover".to_owned(),
            ),
            ("-f archive_shredded", "archive_shredded; Skip Recover".to_owned()),
        ] {
            assert_eq!(parts(options, false), expected, "{options}");
        }
        let names: Vec<&str> = PipelinePart::RESUMABLE.iter().map(|part| part.name()).collect();
        assert_eq!(
            names.len(),
            9,
            "each resumable part but staging_stream_enrich stands above: {names:?}"
        );
    }

    #[test]
    fn each_skippable_part_is_left_out_and_changes_how_archives_find_their_folder() {
        for part in PipelinePart::SKIPPABLE {
            let rest: Vec<&str> = WHOLE.split(' ').filter(|name| *name != part.name()).collect();
            let archives = match part {
                PipelinePart::Enrich => "Recover Pipeline",
                PipelinePart::Shred => "Pipeline Recover",
                PipelinePart::ArchiveEnriched => "Skip Pipeline",
                PipelinePart::ArchiveShredded => "Pipeline Skip",
                _ => "Pipeline Pipeline",
            };
            assert_eq!(
                parts(&format!("-x {part}"), false),
                format!("{}; {archives}", rest.join(" ")),
                "{part}"
            );
        }
    }

    #[test]
    fn in_stream_enrich_mode_there_are_no_raw_files_and_resuming_at_staging_does_nearly_nothing() {
        let rest = "shred elasticsearch rdb_load consistency_check analyze load_manifest_check \
            archive_enriched archive_shredded";
        for (options, expected) in [
            ("", format!("{rest} staging_stream_enrich; Pipeline Pipeline")),
            ("-x staging_stream_enrich", format!("{rest}; Recover Pipeline")),
            ("-f shred", format!("{rest}; Recover Pipeline")),
            (
                "-f elasticsearch",
                format!("{}; Recover Recover", rest.strip_prefix("shred ").unwrap()),
            ),
            (
                "-f rdb_load",
                format!("{}; Recover Recover", rest.strip_prefix("shred elasticsearch ").unwrap()),
            ),
            (
                "-f archive_enriched",
                "archive_enriched archive_shredded; Recover Recover".to_owned(),
            ),
            // The name suggests more: `get_steps` runs staging only when nothing is resumed.
            ("-f staging_stream_enrich", "archive_shredded; Skip Recover".to_owned()),
        ] {
            assert_eq!(parts(options, true), expected, "{options}");
        }
    }

    #[test]
    fn what_does_not_fit_the_mode_or_the_config_never_starts() {
        let said = |options: &str, stream: bool, change: &dyn Fn(&mut PlanInputs)| {
            let mut plan_inputs = plan_inputs(stream);
            change(&mut plan_inputs);
            LaunchPlan::of(&run(options), &plan_inputs).unwrap_err().to_string()
        };
        let same = |_: &mut PlanInputs| {};
        for (options, stream, message) in [
            (
                "-f enrich",
                true,
                "`--resume-from enrich` cannot be used in stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is set)",
            ),
            (
                "-f archive_raw",
                true,
                "`--resume-from archive_raw` cannot be used in stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is set)",
            ),
            (
                "-x staging",
                true,
                "`--skip staging` cannot be used in stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is set)",
            ),
            (
                "-x shred,enrich",
                true,
                "`--skip enrich` cannot be used in stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is set)",
            ),
            (
                "-x archive_raw",
                true,
                "`--skip archive_raw` cannot be used in stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is set)",
            ),
            (
                "-f staging_stream_enrich",
                false,
                "`--resume-from staging_stream_enrich` needs stream-enrich mode \
                 (`aws.s3.buckets.enriched.stream` is not set)",
            ),
        ] {
            assert_eq!(said(options, stream, &same), message);
        }
        let lacks = |role: &'static str| {
            move |plan_inputs: &mut PlanInputs| plan_inputs.locations.retain(|found| found != role)
        };
        assert_eq!(
            said("", false, &lacks("enriched.archive")),
            "archive_enriched needs `aws.s3.buckets.enriched.archive`, which is not set"
        );
        assert_eq!(
            said("", false, &lacks("raw.processing")),
            "staging needs `aws.s3.buckets.raw.processing`, which is not set"
        );
        assert_eq!(
            said("", false, &|found| found.spark_enrich = None),
            "enrich needs `enrich.versions.spark_enrich`, which is not set"
        );
        assert_eq!(
            said("", false, &|found| found.rdb_shredder = "0.16".to_owned()),
            "`storage.versions.rdb_shredder` must be three numbers; found `0.16`"
        );
        assert!(
            said("", false, &|found| found.collector_format = Some("kafka".to_owned()))
                .ends_with("found `kafka`")
        );
        let mut lean = plan_inputs(false);
        lacks("enriched.archive")(&mut lean);
        assert!(LaunchPlan::of(&run("-x archive_enriched"), &lean).is_ok());
    }

    #[test]
    fn a_whole_run_touches_every_location_in_the_runners_order() {
        assert_eq!(
            touches(&plan("", false)),
            [
                "cluster: Emr Write log",
                "staging: Runner List raw.processing",
                "staging: Runner List raw.in[0]",
                "staging: Runner List raw.in[1]",
                "staging: S3DistCp Read raw.in[0]",
                "staging: S3DistCp Delete raw.in[0]",
                "staging: S3DistCp Read raw.in[1]",
                "staging: S3DistCp Delete raw.in[1]",
                "staging: S3DistCp Write raw.processing",
                "enrich: S3DistCp Read raw.processing",
                "enrich: Spark Read assets",
                "enrich: Spark Write enriched.bad",
                "enrich: Runner List enriched.good",
                "enrich: S3DistCp Write enriched.good",
                "shred: Spark Read assets",
                "shred: Spark Write shredded.bad",
                "shred: Runner List shredded.good",
                "shred: S3DistCp Write shredded.good",
                "elasticsearch: Scalding Read assets",
                "elasticsearch: Scalding Read enriched.bad",
                "elasticsearch: Scalding Read shredded.bad",
                "archive_raw: S3DistCp Read raw.processing",
                "archive_raw: S3DistCp Delete raw.processing",
                "archive_raw: S3DistCp Write raw.archive",
                "rdb_load: RdbLoader Read assets",
                "rdb_load: RdbLoader List shredded.good",
                "rdb_load: RdbLoader Read shredded.good",
                "rdb_load: RdbLoader Read jsonpath_assets",
                "rdb_load: RdbLoader Write log",
                "rdb_load: Runner List log",
                "rdb_load: Runner Read log",
                "rdb_load: Runner Write log",
                "rdb_load: Runner Delete log",
                "archive_enriched: S3DistCp Read enriched.good",
                "archive_enriched: S3DistCp Delete enriched.good",
                "archive_enriched: S3DistCp Write enriched.archive",
                "archive_shredded: S3DistCp Read shredded.good",
                "archive_shredded: S3DistCp Delete shredded.good",
                "archive_shredded: S3DistCp Write shredded.archive",
            ]
        );
    }

    #[test]
    fn what_is_written_follows_from_the_parts_that_run() {
        for (options, stream, written) in [
            (
                "",
                false,
                "log raw.processing enriched.bad enriched.good shredded.bad shredded.good \
                 raw.archive enriched.archive shredded.archive",
            ),
            (
                "",
                true,
                "log enriched.good shredded.bad shredded.good enriched.archive shredded.archive",
            ),
            ("-f archive_enriched", false, "log enriched.archive shredded.archive"),
            ("-f archive_shredded", true, "log shredded.archive"),
            ("-f rdb_load", false, "log enriched.archive shredded.archive"),
            (
                "-x shred,rdb_load,archive_shredded",
                false,
                "log raw.processing enriched.bad enriched.good raw.archive enriched.archive",
            ),
        ] {
            assert_eq!(plan(options, stream).roles(Access::Write).join(" "), written, "{options}");
        }
        // Resuming from shred copies the enriched files back from S3.
        assert!(
            touches(&plan("-f shred", false))
                .contains(&"shred: S3DistCp Read enriched.good".to_owned())
        );
        assert!(
            touches(&plan("-f shred", false))
                .contains(&"archive_enriched: Runner List enriched.good".to_owned())
        );
    }

    #[test]
    fn a_run_that_skips_everything_still_launches_a_cluster_that_writes_its_log() {
        let all: Vec<&str> = WHOLE.split(' ').collect();
        let plan = plan(&format!("-x {}", all.join(",")), false);
        assert!(plan.parts.is_empty());
        assert_eq!(touches(&plan), ["cluster: Emr Write log"]);
        assert_eq!(plan.cluster, ClusterUse::New("Snowplow ETL".to_owned()));
    }

    #[test]
    fn without_targets_nothing_is_loaded_or_indexed() {
        let mut plan_inputs = plan_inputs(false);
        (plan_inputs.loads, plan_inputs.indexes) = (false, false);
        let plan = LaunchPlan::of(&run(""), &plan_inputs).unwrap();
        assert!(
            plan.parts.contains(&PipelinePart::RdbLoad),
            "the part is chosen; it just has no steps"
        );
        assert!(plan.touches.iter().all(|touch| touch.actor != Actor::RdbLoader
            && touch.part != Some(PipelinePart::Elasticsearch)));
    }

    #[test]
    fn legacy_jobs_are_told_by_their_versions_and_write_their_errors_only_if_they_go_on_after_one()
    {
        let mut plan_inputs = plan_inputs(false);
        plan_inputs.spark_enrich = Some("1.8.0".to_owned());
        plan_inputs.rdb_shredder = "0.11.0".to_owned();
        let legacy = LaunchPlan::of(&run(""), &plan_inputs).unwrap();
        for role in ["enriched.bad", "enriched.errors", "shredded.bad", "shredded.errors"] {
            assert_eq!(legacy.writers(role), BTreeSet::from([Actor::Scalding]), "{role}");
        }
        plan_inputs.continue_on_unexpected_error = false;
        let strict = LaunchPlan::of(&run(""), &plan_inputs).unwrap();
        assert!(
            strict.writers("enriched.errors").is_empty()
                && strict.writers("shredded.errors").is_empty()
        );
    }

    #[test]
    fn only_s3_dist_cp_asks_for_encryption_itself() {
        let plan = plan("", false);
        let unflagged: Vec<&str> = plan
            .roles(Access::Write)
            .into_iter()
            .filter(|role| {
                plan.writers(role).iter().any(|actor| actor.protection() != WriteProtection::Flag)
            })
            .collect();
        assert_eq!(unflagged, ["log", "enriched.bad", "shredded.bad"]);
        assert!(
            plan.writers("log")
                .iter()
                .all(|actor| actor.protection() == WriteProtection::BucketDefault)
        );
        assert_eq!(
            plan.writers("enriched.bad").iter().map(|actor| actor.protection()).collect::<Vec<_>>(),
            [WriteProtection::SecurityConfiguration]
        );
    }

    #[test]
    fn persistent_mode_looks_for_a_cluster_by_its_name() {
        assert_eq!(
            plan("--use-persistent-jobflow", false).cluster,
            ClusterUse::NamedOrNew("Snowplow ETL".to_owned())
        );
        assert_eq!(plan("-u", true).cluster.name(), "Snowplow ETL");
        assert_eq!(plan("-- -u", true).cluster, ClusterUse::New("Snowplow ETL".to_owned()));
    }

    #[test]
    fn the_clojure_collectors_logs_are_marked_only_where_they_are_staged() {
        let mut plan_inputs = plan_inputs(false);
        plan_inputs.collector_format = Some("clj-tomcat".to_owned());
        assert!(LaunchPlan::of(&run(""), &plan_inputs).unwrap().clojure_collector);
        assert!(!LaunchPlan::of(&run("-f enrich"), &plan_inputs).unwrap().clojure_collector);
        assert!(!plan("", false).clojure_collector);
    }

    /// Row 6 of the Ruby edge cases.
    #[test]
    fn collector_formats_are_the_runners() {
        for (format, known) in [
            ("thrft", false),
            ("tsv/com.amazon.aws.cloudfront", false),
            ("cloudfront", true),
            ("clj-tomcat", true),
            ("thrift", true),
            ("json/com.acme/v1", true),
            ("ndjson/com.urbanairship.connect/v1", true),
            ("tsv/com.amazon.aws.cloudfront/wd_access_log", true),
            ("json/com.acme", false),
            ("json//v1", false),
            ("json/com.acme/", false),
            ("Thrift", false),
            ("", false),
            ("anything\nthrift", true),
        ] {
            assert_eq!(is_collector_format(format), known, "{format:?}");
        }
    }
}
