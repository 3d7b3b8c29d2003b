//! The outbox: documents that were written and are not delivered yet. Each is on the disk before
//! anything is tried with it, and goes when all is done.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    base::digest::sha256,
    evidence::{
        chain::{BegunRun, write_atomically},
        signed_report::SignedReport,
    },
    settings::destination::Destination,
};

/// The outbox of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(PathBuf);

/// What waits in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingReports {
    /// The document.
    pub(crate) parcel: SignedReport,
    /// Whether it is still to be signed.
    pub(crate) unsigned: bool,
    /// Where it has not been delivered to.
    pub(crate) to: Vec<Destination>,
}

impl Outbox {
    pub(crate) fn of(state_dir: &std::path::Path) -> Self {
        Self(state_dir.join("outbox"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn file(&self, parcel: &SignedReport) -> PathBuf {
        self.0.join(format!("{}.json", parcel.name))
    }

    /// Keeps a document, in place of what was kept of it before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, waiting: &PendingReports) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        write_atomically(&self.file(&waiting.parcel), &serde_json::to_vec(waiting)?)
    }

    /// Lets go of a document.
    pub(crate) fn done(&self, parcel: &SignedReport) {
        if let Err(error) = fs::remove_file(self.file(parcel))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(name = parcel.name, %error, "the outbox cannot let go of a document");
        }
    }

    /// What waits, oldest first. What cannot be read stays where it is, and is named.
    pub(crate) fn waiting(&self) -> Vec<Result<PendingReports, String>> {
        let Ok(folder) = fs::read_dir(&self.0) else { return Vec::new() };
        let mut files: Vec<PathBuf> =
            folder.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        // Names begin with the time.
        files.sort();
        files
            .into_iter()
            .map(|file| {
                let read = fs::read(&file).map_err(|error| error.to_string());
                let read = read.and_then(|bytes| {
                    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
                });
                read.map_err(|error| format!("{} cannot be read: {error}", file.display()))
            })
            .collect()
    }

    /// The digest of the document that has this place in the chain, where it waits here.
    pub(crate) fn digest_of(&self, begun: &BegunRun) -> Option<String> {
        let is_its = |parcel: &SignedReport| {
            parcel.run == begun.run
                && parcel.said.chain.as_ref().is_some_and(|chain| chain.sequence == begun.sequence)
        };
        let waiting = self
            .waiting()
            .into_iter()
            .filter_map(Result::ok)
            .find(|waiting| is_its(&waiting.parcel))?;
        Some(sha256(waiting.parcel.document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_waits_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::of(folder.path());
        assert!(outbox.waiting().is_empty());
        let parcel = |run: &str| {
            let chain = crate::evidence::chain::ChainLink {
                id: String::new(),
                sequence: 7,
                previous: None,
                unrecorded: Vec::new(),
            };
            let parcel = SignedReport::new(
                run,
                time::OffsetDateTime::UNIX_EPOCH,
                0,
                Some(&chain),
                format!("document {run}\n"),
            );
            SignedReport { name: format!("name-{run}"), ..parcel }
        };
        for run in ["2", "1"] {
            outbox
                .keep(&PendingReports {
                    parcel: parcel(run),
                    unsigned: true,
                    to: vec![Destination::Stdout],
                })
                .unwrap();
        }
        fs::write(outbox.path().join("name-0.json"), "{").unwrap();
        let waiting = outbox.waiting();
        assert!(waiting[0].as_ref().unwrap_err().contains("name-0.json cannot be read"));
        assert_eq!(waiting[1].as_ref().unwrap().parcel.document, "document 1\n");
        let begun = |run: &str, sequence| BegunRun { run: run.to_owned(), sequence };
        assert_eq!(outbox.digest_of(&begun("2", 7)), Some(sha256("document 2\n")));
        assert_eq!(outbox.digest_of(&begun("2", 6)), None);
        assert_eq!(outbox.digest_of(&begun("3", 7)), None);
        outbox.done(&parcel("1"));
        outbox.done(&parcel("1"));
        assert_eq!(outbox.waiting().len(), 2);
    }
}
