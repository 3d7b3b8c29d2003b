//! Retention: which reports in a folder are old enough to be removed. It depends on names only,
//! matches only the guard's own files, and always keeps the newest report.

use std::{collections::BTreeMap, io, path::Path};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::stat::{Mode, SFlag, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use time::{Duration, OffsetDateTime, PrimitiveDateTime, macros::format_description};

use crate::settings::destination::Retention;

/// The prefix of the guard's own files. The run's time, its id and one of [`ENDINGS`] follow.
pub(crate) const START: &str = "emr-etl-guard-";
/// The extensions of those files.
const ENDINGS: [&str; 2] = [".json", ".json.dsse"];

/// The name of a report's file, without its extension.
pub(crate) fn name(started: OffsetDateTime, run: &str) -> String {
    let time = started
        .to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year][month][day]T[hour][minute][second]Z"));
    format!("{START}{}-{run}", time.unwrap_or_default())
}

/// The time in the name of one of the guard's own files, and that name without its extension.
fn ours(file: &str) -> Option<(OffsetDateTime, &str)> {
    let name = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending))?;
    let (time, run) = name.strip_prefix(START)?.split_once('-')?;
    let time = PrimitiveDateTime::parse(
        time,
        format_description!("[year][month][day]T[hour][minute][second]Z"),
    )
    .ok()?;
    run.parse::<uuid::Uuid>().ok()?;
    Some((time.assume_utc(), name))
}

/// The id of the run in the name of one of the guard's own files.
pub(crate) fn run_of(file: &str) -> Option<&str> {
    let (_, name) = ours(file)?;
    name.strip_prefix(START)?.split_once('-').map(|(_, run)| run)
}

/// Whether a file with this name is a report.
pub(crate) fn is_report(file: &str) -> bool {
    file.strip_suffix(ENDINGS[0]).is_some() && run_of(file).is_some()
}

/// The names of the files in `folder` that may be removed.
fn old<'a>(files: &'a [String], retention: Retention, now: OffsetDateTime) -> Vec<&'a str> {
    let mut runs: BTreeMap<(OffsetDateTime, &str), Vec<&'a str>> = BTreeMap::new();
    for file in files {
        if let Some(run) = ours(file) {
            runs.entry(run).or_default().push(file);
        }
    }
    let newest_first = runs.into_iter().rev().enumerate();
    let goes = |place: usize, started: OffsetDateTime| {
        let too_many =
            retention.keep.is_some_and(|keep| place >= usize::try_from(keep).unwrap_or(usize::MAX));
        let too_old =
            retention.days.is_some_and(|days| started < now - Duration::days(i64::from(days)));
        place > 0 && (too_many || too_old)
    };
    newest_first
        .filter(|(place, ((started, _), _))| goes(*place, *started))
        .flat_map(|(_, (_, files))| files)
        .collect()
}

/// Removes files that are old enough. Returns how many were removed.
///
/// # Errors
/// For the first file that cannot be removed.
pub(crate) fn apply(folder: &Path, retention: Retention, now: OffsetDateTime) -> io::Result<usize> {
    if retention == Retention::default() {
        return Ok(0);
    }
    let how = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder = Dir::open(folder, how, Mode::empty())?;
    let mut files = Vec::new();
    for entry in folder.iter() {
        files.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    let is_file = |file: &String| {
        fstatat(&folder, file.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|status| {
            SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
        })
    };
    files.retain(|file| ours(file).is_some() && is_file(file));
    let old = old(&files, retention, now);
    for file in &old {
        // The file is removed relative to the folder's descriptor: if another folder takes the path
        // meanwhile, its files are kept.
        match unlinkat(&folder, *file, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-25 16:00 UTC);

    fn run(days_ago: u32) -> String {
        name(NOW - Duration::days(i64::from(days_ago)), "01932c5e-0000-7000-8000-000000000000")
    }

    #[test]
    fn a_name_says_when_and_which_run() {
        assert_eq!(run(0), "emr-etl-guard-20261125T160000Z-01932c5e-0000-7000-8000-000000000000");
        assert_eq!(ours(&format!("{}.json.dsse", run(1))).unwrap().0, NOW - Duration::days(1));
    }

    #[test]
    fn count_and_age_decide_document_and_signature_go_together_and_strangers_stay() {
        let files: Vec<String> = (0..4)
            .flat_map(|days| [format!("{}.json", run(days)), format!("{}.json.dsse", run(days))])
            .collect();
        let unrelated_clusters = [
            "report.json",
            "emr-etl-guard-x.json",
            "emr-etl-guard-20200101T000000Z-no-run.json",
            "emr-etl-guard-20200101T000000Z-01932c5e-0000-7000-8000-000000000000.txt",
        ];
        let all: Vec<String> =
            files.iter().cloned().chain(unrelated_clusters.map(str::to_owned)).collect();
        let gone = |keep, days| old(&all, Retention { keep, days }, NOW).len();
        assert_eq!(gone(None, None), 0);
        assert_eq!(gone(Some(3), None), 2);
        assert_eq!(gone(None, Some(1)), 4);
        assert_eq!(gone(Some(1), Some(9)), 6);
        assert_eq!(gone(Some(0), Some(0)), 6, "the newest stays");
        // The newest is kept, however old it is.
        assert_eq!(old(&files[6..], Retention { keep: Some(0), days: Some(0) }, NOW).len(), 0);
    }

    #[test]
    fn what_goes_goes_from_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        for days in 0..3 {
            fs::write(folder.path().join(format!("{}.json", run(days))), "").unwrap();
        }
        fs::create_dir(folder.path().join(format!("{}.json", run(9)))).unwrap();
        assert_eq!(apply(folder.path(), Retention { keep: Some(1), days: None }, NOW).unwrap(), 2);
        assert_eq!(apply(folder.path(), Retention::default(), NOW).unwrap(), 0);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "the newest, and what is no file"
        );
        // A link with such a name is not a report, and its target stays.
        let link = folder.path().join(format!("{}.json", run(8)));
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        assert_eq!(apply(folder.path(), Retention { keep: Some(1), days: None }, NOW).unwrap(), 0);
        assert!(link.symlink_metadata().is_ok());
        assert!(
            apply(&folder.path().join("none"), Retention { keep: Some(1), days: None }, NOW)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn the_newest_never_goes_and_nothing_that_is_not_ours(ages in proptest::collection::vec(0_u32..1000, 1..20), keep in proptest::option::of(0_u32..5), days in proptest::option::of(0_u32..1000), stranger in "[a-z0-9.-]{1,40}") {
            let mut files: Vec<String> = ages.iter().map(|age| format!("{}.json", run(*age))).collect();
            files.push(stranger.clone());
            let newest = format!("{}.json", run(*ages.iter().min().unwrap()));
            let gone = old(&files, Retention { keep, days }, NOW);
            prop_assert!(!gone.contains(&newest.as_str()));
            prop_assert!(!gone.contains(&stranger.as_str()));
        }
    }
}
