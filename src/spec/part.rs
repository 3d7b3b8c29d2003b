//! The parts of a run that `--skip` and `--resume-from` name.

use schemars::JsonSchema;
use serde::Serialize;

/// A part of the pipeline, by the name that the runner's options give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Part")]
pub enum PipelinePart {
    /// Raw files into the processing folder.
    Staging,
    /// Batch enrichment.
    Enrich,
    /// Shredding.
    Shred,
    /// Bad rows into Elasticsearch.
    Elasticsearch,
    /// Raw files into their archive.
    ArchiveRaw,
    /// RDB Loader.
    RdbLoad,
    /// RDB Loader's own look whether S3 shows all files.
    ConsistencyCheck,
    /// RDB Loader's own `ANALYZE`.
    Analyze,
    /// RDB Loader's own look whether a folder was loaded before.
    LoadManifestCheck,
    /// Enriched files into their archive.
    ArchiveEnriched,
    /// Shredded files into their archive.
    ArchiveShredded,
    /// Stream Enrich's files into the enriched folder.
    StagingStreamEnrich,
}

impl PipelinePart {
    /// What `--skip` takes, in the order of the runner's usage text.
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

    /// What `--resume-from` takes, in the order of the runner's usage text.
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

    /// The one of `among` that is called `name`; the runner knows no abbreviations here, and no
    /// other case.
    pub(crate) fn named(name: &str, among: &[Self]) -> Option<Self> {
        among.iter().copied().find(|part| part.name() == name)
    }
}

impl std::fmt::Display for PipelinePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
