//! All errors that end a command early, each with its outcome.

use nix::sys::signal::Signal;

use crate::{
    audit::error::{self, NOTHING_SEEN},
    aws::{ca_certificates::MissingCaCertificates, region::NoRegion},
    base::{
        outcome::Outcome,
        printable::{Printable, printable},
    },
    evidence::journal::StateError,
    reencrypt::error as reencrypt_error,
    runners::emr_etl_runner::{
        config_error::ConfigError, documents::DocumentError, invocation::InvocationError,
        plan::RunnerStartError,
    },
    sentinel::{endpoint::ListenError, ledger::SentinelLedgerError, probe::ProbeError},
    settings::resolve::SettingsError,
    setup::error::SetupError,
    system::process::LaunchError,
};

/// An error that ends a run before its verdict, or interrupts it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error("settings: {0}")]
    Settings(#[from] SettingsError),
    #[error("the report cannot be written: {0}")]
    Report(String),
    #[error("the evidence could not be kept: {0}")]
    Evidence(String),
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("{0}")]
    NoRegion(#[from] NoRegion),
    #[error("EmrEtlRunner would stop before it launches anything: {0}")]
    NeverStarts(#[from] RunnerStartError),
    #[error("{0}")]
    Launch(#[from] LaunchError),
    #[error("nothing was started: {0}")]
    OldRunner(String),
    #[error("stopped by {0} before anything was launched")]
    Stopped(Signal),
    #[error("{0}")]
    NoTrust(#[from] MissingCaCertificates),
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{0}")]
    Audit(#[from] error::AuditError),
    #[error("{0}")]
    Reencrypt(#[from] reencrypt_error::ReencryptError),
    #[error("nothing is watched: {0}")]
    SentinelLedger(#[from] SentinelLedgerError),
    #[error("{0}")]
    Endpoint(#[from] ListenError),
    #[error("{0}")]
    Probe(#[from] ProbeError),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("a bug in emr-etl-guard: {0:#}")]
    Bug(#[from] anyhow::Error),
}

impl GuardError {
    /// Its message: one line, or one for each faulty position in the runner config.
    pub(crate) fn lines(&self) -> Vec<Printable> {
        match self {
            Self::Config(error) => error.lines(),
            Self::Audit(error::AuditError::NoAccess(error)) => error.lines(NOTHING_SEEN),
            Self::Reencrypt(reencrypt_error::ReencryptError::NoAccess(error)) => {
                error.lines("nothing was changed")
            }
            Self::Setup(SetupError::NoAccess(error)) => error.lines("nothing was changed"),
            Self::Setup(SetupError::ByHand(lines)) => {
                lines.lines().map(|line| printable!("{line}")).collect()
            }
            Self::NoRegion(error) => {
                let fixes = NoRegion::FIXES.into_iter().map(|fix| printable!("  fix: {fix}"));
                std::iter::once(error.to_string().into()).chain(fixes).collect()
            }
            Self::Endpoint(error) => {
                vec![error.to_string().into(), printable!("  fix: {}", ListenError::FIX)]
            }
            Self::Probe(error) => {
                let reasons = error.reasons().map(|line| printable!("  {}", Printable::from(line)));
                std::iter::once(error.to_string().into()).chain(reasons).collect()
            }
            // The keys in its message are escaped already.
            Self::Reencrypt(error) => vec![printable!("{error}")],
            error => vec![error.to_string().into()],
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Settings(_)
            | Self::Report(_)
            | Self::Evidence(_)
            | Self::NoRegion(_)
            | Self::Endpoint(_) => Outcome::BadUsage,
            Self::Invocation(_) | Self::Config(_) | Self::Document(_) | Self::NeverStarts(_) => {
                Outcome::BadConfig
            }
            Self::OldRunner(_) => Outcome::Refused,
            Self::NoTrust(_)
            | Self::State(_)
            | Self::SentinelLedger(_)
            | Self::Probe(_)
            | Self::Launch(LaunchError::Changed { .. }) => Outcome::FactsUnknown,
            Self::Audit(error) => error.outcome(),
            Self::Launch(LaunchError::NotFound(_)) => Outcome::RunnerNotFound,
            Self::Launch(LaunchError::NotExecutable { .. }) => Outcome::RunnerNotExecutable,
            Self::Stopped(signal) => {
                Outcome::Signalled(u8::try_from(*signal as i32).unwrap_or_default())
            }
            Self::Reencrypt(error) => error.outcome(),
            Self::Setup(error) => error.outcome(),
            Self::Bug(_) => Outcome::Bug,
        }
    }
}
