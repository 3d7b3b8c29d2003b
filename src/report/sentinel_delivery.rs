//! The delivery of a sentinel's reports. Each is on the disk before anything else is done with it;
//! then it has its place in the sentinel's own chain, is signed, and is delivered.
//!
//! The chain is that of the folder `sentinel` in the state directory: runs with the same state
//! directory have another one.
//!
//! Since when something was seen that no report has is on the disk, too: the first report of a
//! later sentinel begins there.

use std::{cell::RefCell, path::PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    aws::clients::Aws,
    base::{digest::sha256, json::pretty, outcome::Outcome},
    evidence::{
        chain::{BegunRun, ChainLink},
        delivery::ReportDelivery,
        journal::{StateDir, StateError},
        retention,
        signed_report::SignedReport,
        timeline::Timeline,
    },
    report::{
        metrics,
        sentinel_document::{ReportCause, SentinelPeriod, SentinelReport},
    },
    settings::{destination::Retention, evidence_options::EvidenceOptions, policy::Policy},
    system::{
        output::{probe, write_whole},
        private_dir::{PrivateDir, PrivateDirError},
    },
};

/// The folder of the reports in the sentinel's state directory. All of them stay there, as long as
/// the setting `retention` allows: pages and the quarterly list are made from them.
const FOLDER: &str = "reports";
/// The file with the time since which no report has what was seen. There is none while no sentinel
/// runs, unless one has ended without its last report.
const UNREPORTED: &str = "unreported.json";

/// The content of [`UNREPORTED`].
#[derive(Debug, Serialize, Deserialize)]
struct UnreportedTime {
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

/// When the period of a report ended.
#[derive(Debug, Deserialize)]
struct ReportEnd {
    #[serde(with = "time::serde::rfc3339")]
    ended: OffsetDateTime,
}

/// Where the reports of one sentinel go.
#[derive(Debug)]
pub(crate) struct SentinelReports<'a> {
    state: &'a StateDir,
    root: PrivateDir,
    folder: PrivateDir,
    /// The id and the place in the chain that were taken for a report that could not be written:
    /// the next one has them, so that none is missing in the chain.
    taken: RefCell<Option<(String, ChainLink)>>,
    options: &'a EvidenceOptions,
    delivery: ReportDelivery<'a>,
    /// The setting `report`: the last report is here, too.
    file: Option<PathBuf>,
}

/// Why a report was not written, so that what it says is not reported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteReportError {
    /// The state directory cannot be written.
    #[error("the sentinel's report cannot be written: {0}")]
    State(#[from] StateError),
    /// It has no JSON form.
    #[error("a bug in emr-etl-guard: the sentinel's report cannot be written: {0}")]
    Bug(#[from] serde_json::Error),
}

/// A report that is on the disk.
#[derive(Debug)]
pub(crate) struct WrittenReport {
    /// The report.
    pub(crate) report: SentinelReport,
    /// Why it is not signed, or not everywhere where it must be; empty if it is. What can be tried
    /// again, [`SentinelReports::send_waiting`] does.
    pub(crate) troubles: Vec<String>,
}

impl<'a> SentinelReports<'a> {
    /// Opens what the settings name, for a sentinel with the locked state directory `state`, which
    /// is the folder `sentinel` of the setting `state_dir`. The key, the folders and `file` are
    /// tried now, so that no evidence is lost later.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) fn open(
        options: &'a EvidenceOptions,
        state: &'a StateDir,
        file: Option<PathBuf>,
    ) -> Result<Self, String> {
        if let Some(file) = &file {
            probe(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let open = || {
            let root = PrivateDir::create(state.path())?;
            let folder = root.create_below(FOLDER)?;
            Ok::<_, PrivateDirError>((root, folder))
        };
        let (root, folder) = open().map_err(|error| error.to_string())?;
        let delivery = ReportDelivery::open(options, Some(state.path()), false)?;
        let taken = RefCell::default();
        Ok(Self { state, root, folder, taken, options, delivery, file })
    }

    /// The watch begins at `now`. Returns since when an earlier sentinel has seen what no report
    /// has; none: all of it is in a report.
    ///
    /// # Errors
    /// When the state directory cannot be read or written.
    pub(crate) fn begin(&self, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, StateError> {
        let marked: Option<UnreportedTime> = self.root.read_json(UNREPORTED)?;
        // An earlier sentinel may have been killed between its last report and this file.
        let last = self.last_end().unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let since = marked.map(|marked| marked.since.max(last).min(now));
        self.reported_until(since.unwrap_or(now))?;
        Ok(since)
    }

    /// When the period of the last report ended, if it can be read.
    fn last_end(&self) -> Option<OffsetDateTime> {
        let names = self.folder.names().ok()?;
        let last = names.into_iter().filter(|name| retention::is_report(name)).max()?;
        let bytes = self.folder.read(&last).ok()??;
        serde_json::from_slice(&bytes).ok().map(|ReportEnd { ended }| ended)
    }

    fn reported_until(&self, since: OffsetDateTime) -> Result<(), PrivateDirError> {
        self.root.replace_json(UNREPORTED, &UnreportedTime { since })
    }

    /// The bytes that the reports and the other files of the sentinel's state take.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let of_folder = |folder: &PrivateDir| -> u64 {
            let names = folder.names().unwrap_or_default();
            let files =
                names.iter().filter_map(|name| folder.path_of(name).symlink_metadata().ok());
            files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
        };
        of_folder(&self.root) + of_folder(&self.folder)
    }

    /// The folder of the reports, if nothing removes one: no setting says how many are kept.
    pub(crate) fn kept_for_ever(&self) -> Option<String> {
        let is_kept = self.options.retention == Retention::default();
        is_kept.then(|| self.folder.path().display().to_string())
    }

    /// Finds the key in KMS and the buckets, with the sentinel's own credentials.
    pub(crate) async fn connect(&mut self, aws: &Aws, policy: &Policy) {
        self.delivery.connect(aws, policy, None).await;
    }

    /// Writes the report of `period`, gives it its place in the chain, signs it and delivers it,
    /// until `cut`. It is on the disk when this returns: only then may what it says count as
    /// reported. `end` is how the sentinel ends, or would end, with the exit code of that.
    ///
    /// # Errors
    /// [`WriteReportError`] when it is not on the disk. The period then goes on: the next report
    /// must have what this one was to have, and until then no other cluster may be terminated.
    pub(crate) async fn write(
        &self,
        period: SentinelPeriod,
        end: (Outcome, u8),
        cut: impl Future<Output = ()>,
    ) -> Result<WrittenReport, WriteReportError> {
        let mut cut = std::pin::pin!(cut);
        let (started, ended, cause) = (period.started, period.ended, period.cause);
        let taken = self.taken.take();
        let (run, chain) = match taken {
            Some(taken) => taken,
            None => {
                let run = Uuid::now_v7().to_string();
                let chain = self.state.next_in_chain(&run, |begun| self.digest_of(begun))?;
                (run, chain)
            }
        };
        // Taken again by the next report, unless this one is on the disk.
        self.taken.replace(Some((run.clone(), chain.clone())));
        let report = SentinelReport::new(period, run.clone(), Some(chain.clone()), end);
        let document = format!("{}\n", pretty(&report)?);
        let mut parcel = SignedReport::new(&run, started, end.1, Some(&chain), document);
        self.keep(&format!("{}.json", parcel.name), &parcel.document)?;
        self.taken.take();
        let mut troubles = Vec::new();
        let noted = match cause {
            ReportCause::End => self.root.remove(UNREPORTED),
            ReportCause::Termination | ReportCause::Schedule => self.reported_until(ended),
        };
        if let Err(error) = noted {
            troubles.push(format!("the next start reports what it says once more: {error}"));
        }
        self.delivery.secure(&mut parcel, Some(self.state), &mut troubles, cut.as_mut()).await;
        if let Some(envelope) = &parcel.envelope
            && let Err(error) = self.keep(&format!("{}.json.dsse", parcel.name), envelope)
        {
            troubles.push(format!("its signature cannot be kept: {error}"));
        }
        if let Some(file) = &self.file
            && let Err(error) = write_whole(file, &parcel.document)
        {
            troubles.push(format!("{}: cannot be written: {error}", file.display()));
        }
        self.delivery.deliver(&parcel, &mut troubles, cut).await;
        let now = OffsetDateTime::now_utc();
        if let Err(error) = retention::apply(self.folder.path(), self.options.retention, now) {
            let folder = self.folder.path().display();
            troubles.push(format!("old documents in {folder} cannot be removed: {error}"));
        }
        Ok(WrittenReport { report, troubles })
    }

    fn keep(&self, name: &str, text: &str) -> Result<(), StateError> {
        Ok(self.folder.replace(name, text.as_bytes())?)
    }

    /// The digest of a report that was written, but whose place in the chain was not recorded,
    /// because its guard died between the two steps.
    fn digest_of(&self, begun: &BegunRun) -> Option<String> {
        let names = self.folder.names().ok()?;
        let name = names.iter().find(|name| {
            retention::is_report(name) && retention::run_of(name) == Some(&begun.run)
        })?;
        Some(sha256(self.folder.read(name).ok()??))
    }

    /// The number of reports that wait to be delivered.
    pub(crate) fn undelivered(&self) -> u64 {
        self.delivery.undelivered() as u64
    }

    /// Sends reports that could not be delivered, for a limited time. `tell` gets a message about
    /// each of them.
    pub(crate) async fn send_waiting(&self, timeline: &Timeline, tell: &impl Fn(&str)) {
        self.delivery.send_earlier(metrics::LIMIT, timeline, tell).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::pending, path::Path};

    use super::*;
    use crate::{
        evidence::verify::whole_chain,
        report::{
            render::{report_files, sentinel_reports},
            sentinel_document::tests::period,
            sentinel_history::SentinelHistory,
        },
        settings::destination::Destination,
    };

    const GOOD: (Outcome, u8) = (Outcome::Ended(0), 0);

    fn reports(folder: &Path) -> Vec<PathBuf> {
        report_files(&[folder.join(FOLDER)]).unwrap()
    }

    #[tokio::test]
    async fn each_report_is_on_the_disk_and_names_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let options = EvidenceOptions::default();
        let last = folder.path().join("last.json");
        let of_one = SentinelReports::open(&options, &state, Some(last.clone())).unwrap();
        for number in 1..=3 {
            let written = of_one.write(period(number), GOOD, pending()).await.unwrap();
            assert_eq!(written.troubles, Vec::<String>::new());
        }
        let files = reports(folder.path());
        assert_eq!(files.len(), 3);
        assert_eq!(fs::read(&last).unwrap(), fs::read(&files[2]).unwrap());
        let chain = whole_chain(&files, None).unwrap();
        let numbers: Vec<u64> = chain.reports.iter().map(|(number, ..)| *number).collect();
        assert_eq!((numbers, chain.unwritten), (vec![1, 2, 3], Vec::new()));
        let history = SentinelHistory::of(sentinel_reports(&files).unwrap()).unwrap();
        assert_eq!(history.reports().len(), 3);
    }

    #[tokio::test]
    async fn a_report_that_was_written_before_its_guard_died_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let options = EvidenceOptions::default();
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        of_one.write(period(1), GOOD, pending()).await.unwrap();
        // It dies after the file was written, and before the chain has it.
        let before = fs::read(folder.path().join("chain.json")).unwrap();
        let second = of_one.write(period(2), GOOD, pending()).await.unwrap().report;
        let begun = String::from_utf8(before).unwrap();
        let mut state_of_chain: serde_json::Value = serde_json::from_str(&begun).unwrap();
        state_of_chain["sequence"] = 2.into();
        state_of_chain["begun"] = serde_json::json!([{"run": second.run, "sequence": 2}]);
        fs::write(folder.path().join("chain.json"), state_of_chain.to_string()).unwrap();
        let third = of_one.write(period(3), GOOD, pending()).await.unwrap().report;
        let previous = third.chain.unwrap().previous.unwrap();
        assert_eq!((previous.sequence, previous.run), (2, second.run));
        assert_eq!(whole_chain(&reports(folder.path()), None).unwrap().unwritten.len(), 0);
    }

    #[tokio::test]
    async fn a_report_that_cannot_be_delivered_waits_and_is_sent_later() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(&folder.path().join("state")).unwrap();
        let target = folder.path().join("evidence");
        fs::create_dir(&target).unwrap();
        let options = EvidenceOptions {
            destinations: vec![Destination::Folder(target.clone())],
            ..EvidenceOptions::default()
        };
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        fs::remove_dir(&target).unwrap();
        fs::write(&target, "in the way").unwrap();
        let written = of_one.write(period(1), GOOD, pending()).await.unwrap();
        assert!(written.troubles[0].starts_with("it was not delivered to "), "{written:?}");
        assert_eq!((of_one.undelivered(), reports(state.path()).len()), (1, 1));
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        of_one.send_waiting(&Timeline::default(), &|_| {}).await;
        assert_eq!((of_one.undelivered(), fs::read_dir(&target).unwrap().count()), (0, 1));
    }

    #[tokio::test]
    async fn the_place_of_a_report_that_could_not_be_written_is_that_of_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let options = EvidenceOptions::default();
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        of_one.write(period(1), GOOD, pending()).await.unwrap();
        // Without its folder it cannot be written, and its place in the chain is taken.
        fs::rename(folder.path().join(FOLDER), folder.path().join("elsewhere")).unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        fs::remove_dir(folder.path().join(FOLDER)).unwrap();
        let error = of_one.write(period(2), GOOD, pending()).await.unwrap_err();
        assert!(matches!(error, WriteReportError::State(_)), "{error}");
        fs::rename(folder.path().join("elsewhere"), folder.path().join(FOLDER)).unwrap();
        let again = SentinelReports {
            taken: of_one.taken.clone(),
            ..SentinelReports::open(&options, &state, None).unwrap()
        };
        again.write(period(2), GOOD, pending()).await.unwrap();
        again.write(period(3), GOOD, pending()).await.unwrap();
        let chain = whole_chain(&reports(folder.path()), None).unwrap();
        let numbers: Vec<u64> = chain.reports.iter().map(|(number, ..)| *number).collect();
        assert_eq!((numbers, chain.unwritten), (vec![1, 2, 3], Vec::new()));
    }

    #[tokio::test]
    async fn a_later_sentinel_knows_since_when_nothing_was_reported() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let options = EvidenceOptions::default();
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        let mut one = period(1);
        let (began, later) = (one.started, one.ended + time::Duration::HOUR);
        assert_eq!(of_one.begin(began).unwrap(), None);
        assert_eq!(of_one.begin(later).unwrap(), Some(began), "the first one was killed");
        one.cause = ReportCause::Schedule;
        let ended = one.ended;
        of_one.write(one.clone(), GOOD, pending()).await.unwrap();
        assert_eq!(of_one.begin(later).unwrap(), Some(ended));
        // The file is older than the last report.
        of_one.reported_until(began).unwrap();
        assert_eq!(of_one.begin(later).unwrap(), Some(ended));
        one.cause = ReportCause::End;
        of_one.write(one, GOOD, pending()).await.unwrap();
        assert_eq!(of_one.begin(later).unwrap(), None, "all of it is reported");
        assert!(of_one.stored_bytes() > 1_000);
        assert!(of_one.kept_for_ever().is_some());
    }

    #[tokio::test]
    async fn a_report_that_is_not_on_the_disk_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::take(folder.path()).unwrap();
        let options = EvidenceOptions::default();
        let of_one = SentinelReports::open(&options, &state, None).unwrap();
        fs::write(folder.path().join("chain.json"), "{").unwrap();
        let error = of_one.write(period(1), GOOD, pending()).await.unwrap_err();
        assert!(matches!(error, WriteReportError::State(_)), "{error}");
        assert_eq!(reports(folder.path()).len(), 0);
    }
}
