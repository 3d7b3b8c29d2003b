//! The delivery of a sentinel's reports. Each is on the disk before anything else is done with it;
//! then it has its place in the sentinel's own chain, is signed, and is delivered.
//!
//! The chain is that of the folder `sentinel` in the state directory: runs with the same state
//! directory have another one.

use std::path::PathBuf;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    aws::clients::Aws,
    base::{digest::sha256, json::pretty, outcome::Outcome},
    evidence::{
        chain::BegunRun,
        delivery::ReportDelivery,
        journal::{StateDir, StateError},
        retention,
        signed_report::SignedReport,
        timeline::Timeline,
    },
    report::{
        metrics,
        sentinel_document::{SentinelPeriod, SentinelReport},
    },
    settings::{evidence_options::EvidenceOptions, policy::Policy},
    system::{
        output::{probe, write_whole},
        private_dir::PrivateDir,
    },
};

/// The folder of the reports in the sentinel's state directory. All of them stay there, as long as
/// the setting `retention` allows: pages and the quarterly list are made from them.
const FOLDER: &str = "reports";

/// Where the reports of one sentinel go.
#[derive(Debug)]
pub(crate) struct SentinelReports<'a> {
    state: &'a StateDir,
    folder: PrivateDir,
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
        let folder = PrivateDir::create(state.path())
            .and_then(|root| root.create_below(FOLDER))
            .map_err(|error| error.to_string())?;
        let delivery = ReportDelivery::open(options, Some(state.path()), false)?;
        Ok(Self { state, folder, options, delivery, file })
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
        let (run, started) = (Uuid::now_v7().to_string(), period.started);
        let chain = self.state.next_in_chain(&run, |begun| self.digest_of(begun))?;
        let report = SentinelReport::new(period, run.clone(), Some(chain.clone()), end);
        let document = format!("{}\n", pretty(&report)?);
        let mut parcel = SignedReport::new(&run, started, end.1, Some(&chain), document);
        self.keep(&format!("{}.json", parcel.name), &parcel.document)?;
        let mut troubles = Vec::new();
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
