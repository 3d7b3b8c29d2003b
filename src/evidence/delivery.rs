//! The delivery of a run's report. It gets its place in the chain, is signed, and is delivered. If
//! it cannot be delivered, it is kept and sent at the next start.

use std::{path::Path, time::Duration};

use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    base::{digest::sha256, json, time_format::rfc3339},
    evidence::{
        chain::ChainLink,
        destination::{DestinationAccess, RequiredEncryption},
        dsse::{self, BEGUN_PREDICATE, Predicate, Statement},
        journal::{StateDir, StateError},
        keys::Signer,
        outbox::{Outbox, PendingReports},
        retention,
        signed_report::SignedReport,
        timeline::{GuardAction, Timeline},
    },
    facts::gather::Facts,
    settings::{
        destination::Destination, evidence_options::EvidenceOptions, policy::Policy,
        sign_key::KeyName,
    },
};

/// Who signs reports and where they are delivered, from the settings.
#[derive(Debug)]
pub(crate) struct ReportDelivery<'a> {
    options: &'a EvidenceOptions,
    outbox: Option<Outbox>,
    /// Whether the report is written to standard output anyway.
    told_there: bool,
    /// The key, if one is set, or why it cannot be used.
    signer: Option<Result<Signer, String>>,
    /// The access to AWS, and the encryption that reports need there; none if AWS must not be
    /// called.
    way: Option<(Aws, RequiredEncryption)>,
}

/// A run before its launch.
pub(crate) struct RunStart<'a> {
    pub(crate) run: &'a str,
    pub(crate) started: OffsetDateTime,
    /// The digest of the sealed config.
    pub(crate) sealed_sha256: &'a str,
    pub(crate) chain: Option<&'a ChainLink>,
}

impl<'a> ReportDelivery<'a> {
    /// Opens what the settings name. The key and the folders are tried now: if one cannot be used,
    /// the launch must be refused, so that no evidence is lost later.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) fn open(
        options: &'a EvidenceOptions,
        state_dir: Option<&Path>,
        told_there: bool,
    ) -> Result<Self, String> {
        for destination in &options.destinations {
            destination.probe_here()?;
        }
        let signer = match &options.sign_key {
            Some(KeyName::File(file)) => Some(Ok(Signer::local(file)
                .map_err(|error| format!("{} {error} (setting `sign_key`)", file.display()))?)),
            Some(KeyName::Kms(key)) => Some(Err(format!("{key}: AWS was not asked"))),
            None => None,
        };
        Ok(Self { options, outbox: state_dir.map(Outbox::of), told_there, signer, way: None })
    }

    /// Finds the key in KMS, if one is set. `policy` and `facts` give the keys that must encrypt
    /// the written reports. If an endpoint is refused, AWS is not called.
    pub(crate) async fn connect(&mut self, aws: &Aws, policy: &Policy, facts: Option<&Facts>) {
        if aws.refused_endpoints().next().is_some() {
            return;
        }
        self.way = Some((aws.clone(), RequiredEncryption::of(policy, facts)));
        if let Some(KeyName::Kms(key)) = &self.options.sign_key {
            self.signer =
                Some(Signer::kms(&aws.kms, key).await.map_err(|error| format!("{key}: {error}")));
        }
    }

    fn way(&self) -> Option<DestinationAccess<'_>> {
        self.way.as_ref().map(|(aws, protection)| DestinationAccess { aws, protection })
    }

    /// Verifies that no other user can have put reports into the outbox.
    ///
    /// # Errors
    /// [`StateError`] if another user could have.
    pub(crate) fn check_outbox(&self) -> Result<(), StateError> {
        match &self.outbox {
            Some(outbox) if !self.options.destinations.is_empty() => Ok(outbox.check()?),
            Some(_) | None => Ok(()),
        }
    }

    async fn sign(&self, statement: &Statement) -> Result<Option<String>, String> {
        match &self.signer {
            None => Ok(None),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(signer)) => match dsse::sign(statement, signer).await {
                Ok(envelope) => Ok(Some(envelope)),
                Err(error) => Err(format!("{}: {error}", self.key_name())),
            },
        }
    }

    fn key_name(&self) -> String {
        self.options.sign_key.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Signs that the run begins, and writes that to the reports' locations in S3. If one of these
    /// fails now, it would also fail after the run.
    ///
    /// # Errors
    /// Every obstacle.
    pub(crate) async fn begin(
        &self,
        beginning: &RunStart<'_>,
        timeline: &Timeline,
    ) -> Result<(), Vec<String>> {
        let name = retention::name(beginning.started, beginning.run);
        let (run, chain) = (beginning.run.to_owned(), beginning.chain.cloned());
        let predicate =
            Predicate { run, started: rfc3339(beginning.started), chain, exit_code: None };
        let statement = Statement::new(
            BEGUN_PREDICATE,
            "sealed config",
            beginning.sealed_sha256.to_owned(),
            predicate,
        );
        let signed = self.sign(&statement).await;
        if self.signer.is_some() {
            timeline.did(
                GuardAction::Probe,
                &self.key_name(),
                &signed.as_ref().map(drop).map_err(Clone::clone),
            );
        }
        let note = match signed {
            Ok(Some(envelope)) => envelope,
            Ok(None) => format!("{}\n", json::compact(&statement).unwrap_or_default()),
            Err(error) => {
                return Err(vec![format!(
                    "documents cannot be signed: {error} (setting `sign_key`)"
                )]);
            }
        };
        let mut obstacles = Vec::new();
        for destination in self
            .options
            .destinations
            .iter()
            .filter(|destination| matches!(destination, Destination::S3(_)))
        {
            let result =
                destination.probe_there(&format!("{name}.begun.json"), &note, self.way()).await;
            timeline.did(
                GuardAction::Probe,
                destination,
                &result.as_ref().map(drop).map_err(Clone::clone),
            );
            match result {
                Ok(Some(kept)) => timeline.note(format!("{destination}: {kept}")),
                Ok(None) => {}
                Err(error) => obstacles.push(format!(
                    "documents cannot be delivered to {destination}: {error} (setting `evidence`)"
                )),
            }
        }
        if obstacles.is_empty() { Ok(()) } else { Err(obstacles) }
    }

    /// Takes the next place in the chain for `run`.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be saved.
    pub(crate) fn next_in_chain(
        &self,
        state: &StateDir,
        run: &str,
    ) -> Result<ChainLink, StateError> {
        state.next_in_chain(run, |begun| self.outbox.as_ref()?.digest_of(begun))
    }

    /// Saves a report on the disk, signs it, and gives it its place in the chain. Obstacles are
    /// added to `troubles`.
    pub(crate) async fn secure(
        &self,
        parcel: &mut SignedReport,
        state: Option<&StateDir>,
        troubles: &mut Vec<String>,
        cut: impl Future<Output = ()>,
    ) {
        let unsigned = self.signer.is_some();
        if !self.options.destinations.is_empty() {
            self.keep(
                &PendingReports {
                    parcel: parcel.clone(),
                    unsigned,
                    to: self.options.destinations.clone(),
                },
                troubles,
            );
        }
        if let Some((state, chain)) = state.zip(parcel.said.chain.as_ref())
            && let Err(error) = state.recorded(chain, &parcel.run, &sha256(&parcel.document))
        {
            troubles.push(format!("its place in the chain of documents is lost: {error}"));
        }
        let statement = parcel.statement();
        let signed = tokio::select! {
            biased;
            signed = self.sign(&statement) => signed,
            () = cut => Err(TOLD_TO_STOP.to_owned()),
        };
        match signed {
            Ok(envelope) => parcel.envelope = envelope,
            Err(error) => troubles.push(format!("it is not signed: {error}")),
        }
    }

    fn keep(&self, waiting: &PendingReports, troubles: &mut Vec<String>) {
        match &self.outbox {
            None => tracing::debug!("there is no state directory to keep the document in"),
            Some(outbox) => {
                if let Err(error) = outbox.keep(waiting) {
                    troubles
                        .push(format!("it cannot be kept in {}: {error}", outbox.path().display()));
                }
            }
        }
    }

    /// Delivers a report to every destination, until `cut`. Undelivered destinations stay in the
    /// outbox. Obstacles are added to `troubles`.
    pub(crate) async fn deliver(
        &self,
        parcel: &SignedReport,
        troubles: &mut Vec<String>,
        cut: impl Future<Output = ()>,
    ) {
        let unsigned = self.signer.is_some() && parcel.envelope.is_none();
        let mut waiting = PendingReports {
            parcel: parcel.clone(),
            unsigned,
            to: self.options.destinations.clone(),
        };
        if waiting.to.is_empty() {
            return;
        }
        // An unsigned report is not delivered, because a delivered report is never overwritten.
        if !unsigned {
            let was_cut = tokio::select! {
                biased;
                () = self.send(&mut waiting, troubles) => false,
                () = cut => true,
            };
            if was_cut {
                troubles.push(format!(
                    "it was not delivered to all of its destinations: {TOLD_TO_STOP}"
                ));
            }
        }
        match (waiting.to.is_empty(), &self.outbox) {
            (true, Some(outbox)) => outbox.done(parcel),
            (true, None) => {}
            (false, Some(outbox)) => {
                self.keep(&waiting, troubles);
                troubles.push(format!(
                    "it waits in {}, and is sent at the next start",
                    outbox.path().display()
                ));
            }
            (false, None) => troubles.push(
                "there is no state directory to keep it in; name one in the setting `state_dir`"
                    .to_owned(),
            ),
        }
        self.retain(troubles);
    }

    /// Sends a waiting report to each of its destinations. Destinations that have it are removed
    /// from the list.
    async fn send(&self, waiting: &mut PendingReports, troubles: &mut Vec<String>) {
        for destination in waiting.to.clone() {
            // The outbox names the destination, and the settings decide whether it is still wanted.
            if !self.options.destinations.contains(&destination) {
                troubles.push(format!(
                    "it is not sent to {destination}, which the setting `evidence` does not name \
                     (any more)"
                ));
                continue;
            }
            if self.told_there && destination == Destination::Stdout {
                crate::system::output::out(waiting.parcel.envelope.as_deref().unwrap_or_default());
                waiting.to.retain(|other| *other != destination);
                continue;
            }
            match destination.deliver(&waiting.parcel, self.way()).await {
                Ok(()) => waiting.to.retain(|other| *other != destination),
                Err(error) => {
                    troubles.push(format!("it was not delivered to {destination}: {error}"));
                }
            }
        }
    }

    fn retain(&self, troubles: &mut Vec<String>) {
        for destination in &self.options.destinations {
            if let Destination::Folder(folder) = destination
                && let Err(error) =
                    retention::apply(folder, self.options.retention, OffsetDateTime::now_utc())
            {
                troubles.push(format!(
                    "old documents in {} cannot be removed: {error}",
                    folder.display()
                ));
            }
        }
    }

    /// The number of earlier runs' reports that wait to be delivered.
    pub(crate) fn undelivered(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.waiting().len())
    }

    /// Sends reports that earlier runs could not deliver, for at most `limit`. A failure is no
    /// reason to refuse this run. `tell` gets a message about each report.
    pub(crate) async fn send_earlier(
        &self,
        limit: Duration,
        timeline: &Timeline,
        tell: &impl Fn(&str),
    ) {
        let Some(outbox) = &self.outbox else { return };
        let work = async {
            for waiting in outbox.waiting() {
                match waiting {
                    Ok(waiting) => self.send_one_earlier(outbox, waiting, timeline, tell).await,
                    Err(error) => tell(&format!("the outbox: {error}")),
                }
            }
        };
        if tokio::time::timeout(limit, work).await.is_err() {
            tell(&format!(
                "the outbox: not all was sent within {}",
                humantime::format_duration(limit)
            ));
        }
    }

    /// Signs a report that waits to be signed, if the guard itself put it there.
    async fn sign_earlier(
        &self,
        outbox: &Outbox,
        waiting: &mut PendingReports,
    ) -> Result<(), String> {
        if !waiting.unsigned {
            return Ok(());
        }
        if !outbox.may_sign(&waiting.parcel).map_err(|error| error.to_string())? {
            return Err(UNKNOWN.to_owned());
        }
        waiting.parcel.envelope = self.sign(&waiting.parcel.statement()).await?;
        waiting.unsigned = waiting.parcel.envelope.is_none();
        if waiting.unsigned {
            return Err("it was to be signed; set `sign_key` as it was then".to_owned());
        }
        Ok(())
    }

    async fn send_one_earlier(
        &self,
        outbox: &Outbox,
        mut waiting: PendingReports,
        timeline: &Timeline,
        tell: &impl Fn(&str),
    ) {
        let run = waiting.parcel.run.clone();
        let mut troubles = Vec::new();
        match self.sign_earlier(outbox, &mut waiting).await {
            Ok(()) => self.send(&mut waiting, &mut troubles).await,
            Err(error) => troubles.push(error),
        }
        let result = if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) };
        timeline.did(GuardAction::DeliverEarlier, &waiting.parcel.name, &result);
        match result {
            Ok(()) => {
                outbox.done(&waiting.parcel);
                tell(&format!(
                    "the document of run {run}, which waited in the outbox, is delivered"
                ));
            }
            Err(error) => {
                if let Err(error) = outbox.update(&waiting) {
                    tell(&format!("the outbox: {error}"));
                }
                tell(&format!("the document of run {run} still waits in the outbox: {error}"));
            }
        }
    }
}

const UNKNOWN: &str = "it is not signed, because it is not in the chain of this state directory; \
    fix: find out where it comes from, and move it away";
const TOLD_TO_STOP: &str = "the guard was stopped";
