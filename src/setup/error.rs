//! Why `setup` did nothing, or not everything.

use nix::sys::signal::Signal;

use crate::{
    base::{
        lookup::{LookupError, LookupErrorKind},
        outcome::Outcome,
    },
    facts::sts::NoAccess,
    setup::{apply::ApplyError, journal::SetupJournalError, retire::RetireError, undo::UndoError},
};

/// Why there was no plan, or why it was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// Something forbids any change.
    #[error("refused, nothing was changed: {0}")]
    Refused(String),
    /// Something that matters for a change is unknown.
    #[error("nothing was changed: {0}")]
    NotSeen(String),
    /// A fact that must be known before there is a plan is unknown.
    #[error("nothing was changed: {what} could not be seen: {}", in_words(.error))]
    Unseen {
        /// What was requested.
        what: &'static str,
        error: Box<LookupError>,
    },
    /// No request to AWS is possible.
    #[error("nothing was changed: {0}")]
    NoAccess(#[from] NoAccess),
    /// A file could not be read or written.
    #[error("{0}")]
    File(String),
    /// A file has to be changed by hand; one line for each place.
    #[error("{0}")]
    ByHand(String),
    /// The plan was not carried out to its end.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// Nothing could be taken back.
    #[error("{0}")]
    Undo(#[from] UndoError),
    /// A security configuration was not deleted.
    #[error("{0}")]
    Retire(#[from] RetireError),
    /// The journal.
    #[error("{0}")]
    Journal(#[from] SetupJournalError),
    /// A signal.
    #[error("stopped by {signal}: {left}")]
    Stopped {
        /// Which one.
        signal: Signal,
        /// What was done until then, and how to go on.
        left: String,
    },
    /// What was made is no longer there when everything was done.
    #[error(
        "the {first}{} is no longer as planned, although it was made or found in place: somebody \
         else, such as another setup, changed it meanwhile, or AWS does not show it everywhere yet; \
         see the lines above; fix: find out who else works on it, wait a minute, then run the same \
         command again", and_others(*.others)
    )]
    Lost {
        /// The first of these pieces.
        first: String,
        /// How many more there are.
        others: usize,
    },
}

fn and_others(number: usize) -> String {
    if number == 0 { String::new() } else { format!(" (and {number} more)") }
}

/// What AWS or the network said, and which permission it is about.
fn in_words(error: &LookupError) -> String {
    let LookupError { message, operation, .. } = error;
    match error.kind {
        LookupErrorKind::Denied => format!("{message}; fix: allow {operation}"),
        _ => format!("{message} ({operation})"),
    }
}

impl SetupError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File(_) => Outcome::BadUsage,
            Self::Retire(
                RetireError::Journal(_)
                | RetireError::Endpoint(_)
                | RetireError::Unknown { .. }
                | RetireError::NotVerified { .. },
            ) => Outcome::FactsUnknown,
            Self::Refused(_) | Self::ByHand(_) | Self::Retire(_) => Outcome::Refused,
            Self::NotSeen(_)
            | Self::Unseen { .. }
            | Self::NoAccess(_)
            | Self::Apply(_)
            | Self::Undo(_)
            | Self::Journal(_)
            | Self::Lost { .. } => Outcome::FactsUnknown,
            Self::Stopped { signal, .. } => {
                Outcome::Signalled(u8::try_from(*signal as i32).unwrap_or_default())
            }
        }
    }
}
