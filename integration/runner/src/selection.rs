//! Owns the selection of the parts of a run, from `--skip`, `--resume-from` and the kind of
//! enrichment.

use crate::argv::Options;

/// The parts of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each part that can be left out")]
pub struct Selection {
    /// Moves raw files into the processing folder.
    pub staging: bool,
    /// Spark Enrich.
    pub enrich: bool,
    /// Moves Stream Enrich's files into the enriched folder.
    pub staging_stream_enrich: bool,
    /// RDB Shredder.
    pub shred: bool,
    /// Moves raw files into their archive.
    pub archive_raw: bool,
    /// RDB Loader.
    pub rdb_load: bool,
    /// RDB Loader's own steps to leave out.
    pub loader_skips: Vec<&'static str>,
    /// Moves enriched files into their archive.
    pub archive_enriched: Archive,
    /// Moves shredded files into their archive.
    pub archive_shredded: Archive,
}

/// How an archive step finds its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// There is no such step.
    Skip,
    /// The folder of this run.
    Pipeline,
    /// The last run's folder.
    Recover,
}

/// The parts to resume from, in the order of the pipeline. Each part still runs when resuming from
/// a name up to its own.
const ORDER: [&str; 8] = [
    "enrich",
    "shred",
    "elasticsearch",
    "archive_raw",
    "rdb_load",
    "consistency_check",
    "analyze",
    "archive_enriched",
];

impl Selection {
    /// Selects the parts; `stream` is true in stream-enrich mode.
    #[must_use]
    pub fn new(options: &Options, stream: bool) -> Self {
        let resume = options.resume_from.as_deref();
        let kept = |part: &str| !options.skip.iter().any(|skipped| skipped == part);
        // Starting at the beginning, or at one of the parts up to and including the named one.
        let from = |last: &str| match resume {
            None => true,
            Some(resume) => ORDER
                .iter()
                .take_while(|part| **part != last)
                .chain([&last])
                .any(|part| *part == resume),
        };
        let staging = !stream && resume.is_none() && kept("staging");
        let enrich = !stream && from("enrich") && kept("enrich");
        let staging_stream_enrich = stream && resume.is_none() && kept("staging_stream_enrich");
        let shred = from("shred") && kept("shred");
        let archive =
            |part: &str, chosen: bool, in_pipeline: bool| match (chosen && kept(part), in_pipeline)
            {
                (false, _) => Archive::Skip,
                (true, true) => Archive::Pipeline,
                (true, false) => Archive::Recover,
            };
        let mut loader_skips = Vec::new();
        if !(from("analyze") && kept("analyze")) {
            loader_skips.push("analyze");
        }
        if !(from("consistency_check") && kept("consistency_check")) {
            loader_skips.push("consistency_check");
        }
        if !(from("rdb_load") && kept("load_manifest_check")) {
            loader_skips.push("load_manifest_check");
        }
        Self {
            staging,
            enrich,
            staging_stream_enrich,
            shred,
            archive_raw: !stream && from("archive_raw") && kept("archive_raw"),
            rdb_load: from("rdb_load") && kept("rdb_load"),
            loader_skips,
            archive_enriched: archive(
                "archive_enriched",
                from("archive_enriched"),
                enrich || staging_stream_enrich,
            ),
            archive_shredded: archive("archive_shredded", true, shred),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, Selection};
    use crate::argv::Options;

    fn resuming(step: &str) -> Selection {
        let options = Options { resume_from: Some(step.to_owned()), ..Options::default() };
        Selection::new(&options, false)
    }

    #[test]
    fn a_whole_run_archives_its_own_folders() {
        let all = Selection::new(&Options::default(), false);
        assert!(all.staging && all.enrich && all.shred && all.archive_raw && all.rdb_load);
        assert_eq!(
            (all.archive_enriched, all.archive_shredded, all.loader_skips.len()),
            (Archive::Pipeline, Archive::Pipeline, 0)
        );
        assert!(!all.staging_stream_enrich);
    }

    #[test]
    fn resuming_from_shred_leaves_out_what_comes_before_and_recovers_the_enriched_folder() {
        let rest = resuming("shred");
        assert!(!rest.staging && !rest.enrich && rest.shred && rest.archive_raw);
        assert_eq!(rest.archive_enriched, Archive::Recover);
        assert_eq!(rest.archive_shredded, Archive::Pipeline);
    }

    #[test]
    fn resuming_from_the_last_part_leaves_only_that() {
        let last = resuming("archive_shredded");
        assert!(!last.shred && !last.rdb_load && !last.archive_raw);
        assert_eq!(last.archive_enriched, Archive::Skip);
        assert_eq!(last.archive_shredded, Archive::Recover);
    }

    #[test]
    fn stream_enrich_mode_has_its_own_staging_and_no_raw_files() {
        let stream = Selection::new(&Options::default(), true);
        assert!(stream.staging_stream_enrich && stream.shred);
        assert!(!stream.staging && !stream.enrich && !stream.archive_raw);
        assert_eq!(stream.archive_enriched, Archive::Pipeline);
    }
}
