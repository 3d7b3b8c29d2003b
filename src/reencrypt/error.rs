//! Why nothing, or not everything, was reencrypted.

use nix::sys::signal::Signal;

use crate::{
    base::{
        lookup::{LookupError, LookupErrorKind},
        outcome::Outcome,
    },
    facts::sts::NoAccess,
    reencrypt::ledger::LedgerError,
};

/// Why there was no repair, or only a partial one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReencryptError {
    /// The command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// The safety switch.
    #[error("refused, nothing was changed: {0}")]
    Refused(String),
    /// The safety switch refused, after the changes that an earlier run had started were finished.
    #[error("refused, nothing more was changed: {0}")]
    RefusedMore(String),
    /// A fact that must be known before any change is unknown.
    #[error("nothing was changed: {0}")]
    Unseen(String),
    /// The same, because AWS did not answer a request.
    #[error("nothing was changed: {what} could not be seen: {}", in_words(.obstacle))]
    Obstructed {
        /// What was requested.
        what: String,
        obstacle: Box<LookupError>,
    },
    /// No request to AWS is possible.
    #[error("nothing was changed: {0}")]
    NoAccess(#[from] NoAccess),
    /// The ledger.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// A file could not be written.
    #[error("{0}")]
    File(String),
    /// A signal.
    #[error("stopped by {0}; the next run continues from here")]
    Stopped(Signal),
}

/// What AWS or the network said, and which permission it is about.
pub(super) fn in_words(obstacle: &LookupError) -> String {
    let LookupError { message, operation, .. } = obstacle;
    match obstacle.kind {
        LookupErrorKind::Denied => format!("{message}; allow {operation}"),
        _ => format!("{message} ({operation})"),
    }
}

impl ReencryptError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File(_) => Outcome::BadUsage,
            Self::Refused(_) | Self::RefusedMore(_) => Outcome::Refused,
            Self::Unseen(_) | Self::Obstructed { .. } | Self::NoAccess(_) | Self::Ledger(_) => {
                Outcome::FactsUnknown
            }
            Self::Stopped(signal) => {
                Outcome::Signalled(u8::try_from(*signal as i32).unwrap_or_default())
            }
        }
    }
}
