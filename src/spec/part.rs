//! The parts of a run that `--skip` and `--resume-from` name.

use schemars::JsonSchema;
use serde::Serialize;

/// A part of the pipeline, with the name that the runner's options use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Part")]
pub enum PipelinePart {
    /// Moves raw files into the processing folder.
    Staging,
    /// Batch enrichment.
    Enrich,
    /// Shredding.
    Shred,
    /// Loads bad rows into Elasticsearch.
    Elasticsearch,
    /// Moves raw files into their archive.
    ArchiveRaw,
    /// RDB Loader.
    RdbLoad,
    /// RDB Loader's own check that S3 lists all files.
    ConsistencyCheck,
    /// RDB Loader's own `ANALYZE`.
    Analyze,
    /// RDB Loader's own check whether a folder was loaded before.
    LoadManifestCheck,
    /// Moves enriched files into their archive.
    ArchiveEnriched,
    /// Moves shredded files into their archive.
    ArchiveShredded,
    /// Moves the files of Stream Enrich into the enriched folder.
    StagingStreamEnrich,
}

impl PipelinePart {
    /// The values that `--skip` accepts, in the order of the runner's usage text.
    pub const SKIPPABLE: [Self; 12] = [
        Self::Staging,
        Self::Enrich,
        Self::Shred,
        Self::Elasticsearch,
        Self::ArchiveRaw,
        Self::RdbLoad,
        Self::ConsistencyCheck,
        Self::Analyze,
        Self::LoadManifestCheck,
        Self::ArchiveEnriched,
        Self::ArchiveShredded,
        Self::StagingStreamEnrich,
    ];

    /// The values that `--resume-from` accepts, in the order of the runner's usage text.
    pub const RESUMABLE: [Self; 9] = [
        Self::Enrich,
        Self::Shred,
        Self::Elasticsearch,
        Self::ArchiveRaw,
        Self::RdbLoad,
        Self::Analyze,
        Self::ArchiveEnriched,
        Self::ArchiveShredded,
        Self::StagingStreamEnrich,
    ];

    /// The runner's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Enrich => "enrich",
            Self::Shred => "shred",
            Self::Elasticsearch => "elasticsearch",
            Self::ArchiveRaw => "archive_raw",
            Self::RdbLoad => "rdb_load",
            Self::ConsistencyCheck => "consistency_check",
            Self::Analyze => "analyze",
            Self::LoadManifestCheck => "load_manifest_check",
            Self::ArchiveEnriched => "archive_enriched",
            Self::ArchiveShredded => "archive_shredded",
            Self::StagingStreamEnrich => "staging_stream_enrich",
        }
    }

    /// The part of `among` with the name `name`. The runner accepts no abbreviation here and
    /// compares case.
    pub(crate) fn named(name: &str, among: &[Self]) -> Option<Self> {
        among.iter().copied().find(|part| part.name() == name)
    }
}

impl std::fmt::Display for PipelinePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
