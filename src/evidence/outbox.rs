//! The outbox: reports that were written and are not delivered yet. Each report is written to the
//! disk before anything else is done with it, and removed after everything is done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    base::digest::sha256,
    evidence::{
        chain::{self, BegunRun},
        dsse::Statement,
        retention,
        signed_report::SignedReport,
    },
    settings::destination::Destination,
    system::private_dir::{PrivateDir, PrivateDirError},
};

/// The outbox of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    state_dir: PathBuf,
    path: PathBuf,
}

/// A report in the outbox.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingReports {
    /// The report.
    pub(crate) parcel: SignedReport,
    /// Whether it must still be signed.
    pub(crate) unsigned: bool,
    /// The destinations that do not have it yet.
    pub(crate) to: Vec<Destination>,
}

/// The digests of the statements that the guard itself put here to be signed. No other statement is
/// signed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsignedStatements {
    sha256: Vec<String>,
}

/// The folder of the outbox in the state directory.
const FOLDER: &str = "outbox";
/// The extension of its files.
const ENDING: &str = ".json";
const UNSIGNED: &str = "unsigned.json";
/// Locked while [`UNSIGNED`] is changed: a `check` or a `watch` may run at the same time as a run.
const UNSIGNED_LOCK: &str = "unsigned.lock";

impl Outbox {
    pub(crate) fn of(state_dir: &std::path::Path) -> Self {
        Self { state_dir: state_dir.to_owned(), path: state_dir.join(FOLDER) }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Verifies that no other user can have put anything into it.
    ///
    /// # Errors
    /// [`PrivateDirError`] if another user could have.
    pub(crate) fn check(&self) -> Result<(), PrivateDirError> {
        let Some(state_dir) = PrivateDir::existing(&self.state_dir)? else { return Ok(()) };
        state_dir.check(UNSIGNED)?;
        let Some(folder) = state_dir.existing_below(FOLDER)? else { return Ok(()) };
        let names = folder.names()?;
        names.iter().filter(|name| name.ends_with(ENDING)).try_for_each(|name| folder.check(name))
    }

    /// Saves a report of this guard. It replaces an earlier copy of the same report.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, waiting: &PendingReports) -> Result<(), PrivateDirError> {
        let state_dir = PrivateDir::create(&self.state_dir)?;
        if waiting.unsigned {
            self.change_unsigned(&state_dir, |unsigned| {
                let sha256 = statement_digest(&waiting.parcel);
                let is_new = !unsigned.contains(&sha256);
                unsigned.extend(is_new.then_some(sha256));
            })?;
        }
        self.update(waiting)
    }

    /// Saves the new state of a waiting report.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn update(&self, waiting: &PendingReports) -> Result<(), PrivateDirError> {
        let folder = PrivateDir::create(&self.state_dir)?.create_below(FOLDER)?;
        folder.replace_json(&format!("{}{ENDING}", waiting.parcel.name), waiting)
    }

    /// Removes a report.
    pub(crate) fn done(&self, parcel: &SignedReport) {
        let work = || {
            let Some(state_dir) = PrivateDir::existing(&self.state_dir)? else { return Ok(()) };
            if let Some(folder) = state_dir.existing_below(FOLDER)? {
                folder.remove(&format!("{}{ENDING}", parcel.name))?;
            }
            self.change_unsigned(&state_dir, |unsigned| {
                let sha256 = statement_digest(parcel);
                unsigned.retain(|known| *known != sha256);
            })
        };
        if let Err(error) = work() {
            tracing::error!(name = parcel.name, %error, "the outbox cannot let go of a document");
        }
    }

    /// Whether the guard itself put a report here to be signed.
    ///
    /// # Errors
    /// When the state directory cannot be read or written.
    pub(crate) fn may_sign(&self, parcel: &SignedReport) -> Result<bool, PrivateDirError> {
        let Some(state_dir) = PrivateDir::existing(&self.state_dir)? else { return Ok(false) };
        let mut is_known = false;
        self.change_unsigned(&state_dir, |unsigned| {
            is_known = unsigned.contains(&statement_digest(parcel));
        })?;
        Ok(is_known)
    }

    /// Changes the list of statements to be signed.
    ///
    /// Older versions did not keep that list. If there is no list yet, the waiting reports whose
    /// place the chain has given are taken as the older version's, once.
    fn change_unsigned(
        &self,
        state_dir: &PrivateDir,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<(), PrivateDirError> {
        let _lock = state_dir.lock_briefly(UNSIGNED_LOCK)?;
        let before: Option<UnsignedStatements> = state_dir.read_json(UNSIGNED)?;
        let mut unsigned = match &before {
            Some(noted) => noted.sha256.clone(),
            None => self.unsigned_of_older_versions(state_dir)?,
        };
        change(&mut unsigned);
        if before.is_some_and(|before| before.sha256 == unsigned) {
            return Ok(());
        }
        state_dir.replace_json(UNSIGNED, &UnsignedStatements { sha256: unsigned })
    }

    fn unsigned_of_older_versions(
        &self,
        state_dir: &PrivateDir,
    ) -> Result<Vec<String>, PrivateDirError> {
        let mut unsigned = Vec::new();
        for waiting in self.waiting().into_iter().flatten().filter(|waiting| waiting.unsigned) {
            if let Some(place) = &waiting.parcel.said.chain
                && chain::gave(state_dir, place)?
            {
                unsigned.push(statement_digest(&waiting.parcel));
            }
        }
        Ok(unsigned)
    }

    /// The waiting reports, oldest first. A file that cannot be read stays where it is; its name is
    /// in the error.
    pub(crate) fn waiting(&self) -> Vec<Result<PendingReports, String>> {
        let names = || {
            let Some(state_dir) = PrivateDir::existing(&self.state_dir)? else { return Ok(None) };
            let Some(folder) = state_dir.existing_below(FOLDER)? else { return Ok(None) };
            // Names begin with the time, so they sort by time.
            folder.names().map(|names| Some((folder, names)))
        };
        let (folder, names) = match names() {
            Ok(Some(found)) => found,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![Err(PrivateDirError::to_string(&error))],
        };
        let files = names.into_iter().filter(|name| name.ends_with(ENDING));
        files
            .map(|name| {
                let path = folder.path_of(&name);
                let unreadable = |why: String| format!("{} cannot be read: {why}", path.display());
                let read = folder.read_json::<PendingReports>(&name);
                let waiting = read.map_err(|error| error.to_string())?;
                let waiting = waiting.ok_or_else(|| unreadable("it has gone".to_owned()))?;
                is_own_name(&name, &waiting.parcel).map_err(unreadable)?;
                Ok(waiting)
            })
            .collect()
    }

    /// The digest of the report with this place in the chain, if it is waiting here.
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

/// Whether a file in the outbox has the name that the guard gives to its content.
fn is_own_name(name: &str, parcel: &SignedReport) -> Result<(), String> {
    if retention::run_of(name) != Some(parcel.run.as_str()) {
        return Err(format!(
            "its name is not one that emr-etl-guard gives a report of run {:?}",
            parcel.run
        ));
    }
    if name.strip_suffix(ENDING) != Some(parcel.name.as_str()) {
        return Err(format!("it holds a report of another name, {:?}", parcel.name));
    }
    Ok(())
}

/// SHA-256 of everything that a signature would say about a report.
fn statement_digest(parcel: &SignedReport) -> String {
    let statement: Statement = parcel.statement();
    // The statement holds only texts and numbers, which always convert to JSON.
    sha256(serde_json::to_vec(&statement).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};
    use time::OffsetDateTime;

    use crate::evidence::chain::ChainLink;

    /// The id of run `n`.
    fn id(n: u32) -> String {
        format!("00000000-0000-7000-8000-{n:012}")
    }

    fn parcel(run: u32, chain: Option<&ChainLink>) -> SignedReport {
        let document = format!("document {run}\n");
        SignedReport::new(&id(run), OffsetDateTime::UNIX_EPOCH, 0, chain, document)
    }

    fn unsigned(parcel: SignedReport) -> PendingReports {
        PendingReports { parcel, unsigned: true, to: vec![Destination::Stdout] }
    }

    #[test]
    fn what_is_kept_waits_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::of(folder.path());
        assert!(outbox.waiting().is_empty());
        let chain =
            ChainLink { id: String::new(), sequence: 7, previous: None, unrecorded: Vec::new() };
        for run in [2, 1] {
            outbox.keep(&unsigned(parcel(run, Some(&chain)))).unwrap();
        }
        let broken = outbox.path().join(format!("{}.json", parcel(0, None).name));
        fs::write(&broken, "{").unwrap();
        let waiting = outbox.waiting();
        assert!(waiting[0].as_ref().unwrap_err().contains(&broken.display().to_string()));
        assert_eq!(waiting[1].as_ref().unwrap().parcel.document, "document 1\n");
        let begun = |run, sequence| BegunRun { run: id(run), sequence };
        assert_eq!(outbox.digest_of(&begun(2, 7)), Some(sha256("document 2\n")));
        assert_eq!(outbox.digest_of(&begun(2, 6)), None);
        assert_eq!(outbox.digest_of(&begun(3, 7)), None);
        outbox.done(&parcel(1, Some(&chain)));
        outbox.done(&parcel(1, Some(&chain)));
        assert_eq!(outbox.waiting().len(), 2);
    }

    #[test]
    fn only_what_was_kept_to_be_signed_may_be_signed_and_only_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::of(folder.path());
        outbox.keep(&unsigned(parcel(1, None))).unwrap();
        outbox.update(&unsigned(parcel(2, None))).unwrap();
        let may_sign = |parcel: &SignedReport| outbox.may_sign(parcel).unwrap();
        assert!(may_sign(&parcel(1, None)));
        assert!(!may_sign(&parcel(2, None)), "it was put there, and not by `keep`");
        let mut changed = parcel(1, None);
        changed.said.exit_code = 76;
        assert!(!may_sign(&changed), "what a signature says counts as well as the document");
        outbox.done(&parcel(1, None));
        assert!(!may_sign(&parcel(1, None)));
    }

    #[test]
    fn what_an_older_version_left_to_be_signed_is_signed_if_the_chain_gave_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = PrivateDir::create(folder.path()).unwrap();
        let place = chain::begin(&state_dir, &id(1), |_| None).unwrap();
        let outbox = Outbox::of(folder.path());
        let later = ChainLink { sequence: 2, ..place.clone() };
        let other = ChainLink { id: "another".to_owned(), ..place.clone() };
        let parcels = [
            (parcel(1, Some(&place)), true),
            (parcel(2, Some(&later)), false),
            (parcel(3, Some(&other)), false),
            (parcel(4, None), false),
        ];
        for (parcel, _) in &parcels {
            outbox.update(&unsigned(parcel.clone())).unwrap();
        }
        for (parcel, expected) in &parcels {
            assert_eq!(outbox.may_sign(parcel).unwrap(), *expected, "{}", parcel.run);
        }
        // From then on, there is a list of the statements to be signed.
        outbox.update(&unsigned(parcel(5, Some(&place)))).unwrap();
        assert!(!outbox.may_sign(&parcel(5, Some(&place))).unwrap());
    }

    #[test]
    fn a_name_that_is_none_of_the_guards_or_of_another_report_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::of(folder.path());
        outbox.keep(&unsigned(parcel(1, None))).unwrap();
        let own = outbox.path().join(format!("{}.json", parcel(1, None).name));
        let content = fs::read_to_string(&own).unwrap();
        fs::remove_file(&own).unwrap();
        let refused = |file: &str, content: &str, why: &str| {
            let file = outbox.path().join(file);
            fs::write(&file, content).unwrap();
            let [waiting] = &outbox.waiting()[..] else { panic!("one waits") };
            let error = waiting.as_ref().unwrap_err();
            assert!(error.contains(why), "{error}");
            fs::remove_file(file).unwrap();
        };
        let file = own.file_name().unwrap().to_str().unwrap();
        refused("x.json", &content, "its name is not one that emr-etl-guard gives a report of run");
        let other = format!("{}.json", parcel(2, None).name);
        refused(&other, &content, "its name is not one that emr-etl-guard gives a report of run");
        let escaping = content.replace(&parcel(1, None).name, "../../victim");
        assert_ne!(escaping, content);
        refused(file, &escaping, "it holds a report of another name, \"../../victim\"");
        // The temporary file of a guard that died while writing is not a report.
        fs::write(outbox.path().join(format!(".{file}.0.part")), "{").unwrap();
        assert_eq!(outbox.waiting().len(), 0);
    }

    #[test]
    fn one_that_others_may_write_to_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::of(folder.path());
        outbox.check().unwrap();
        outbox.keep(&unsigned(parcel(1, None))).unwrap();
        outbox.check().unwrap();
        let file = outbox.path().join(format!("{}.json", parcel(1, None).name));
        for path in [file.as_path(), outbox.path(), folder.path()] {
            let mode = |bits| fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
            mode(0o777);
            assert!(outbox.check().is_err(), "{}", path.display());
            assert!(outbox.waiting()[0].is_err());
            mode(0o700);
        }
        assert!(outbox.waiting()[0].is_ok());
    }
}
