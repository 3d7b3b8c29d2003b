//! The reasons why an audit cannot be made.

use crate::{
    audit::{inventory::error::InventoryError, scope::ScopeError, state::AuditStateError},
    base::outcome::Outcome,
    facts::sts::NoAccess,
};

/// What is not done where AWS cannot be asked.
pub(crate) const NOTHING_SEEN: &str = "nothing was looked at";

/// Why an audit has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("audit: {0}")]
    Scope(#[from] ScopeError),
    #[error("audit: {0}")]
    Usage(String),
    #[error("{0}")]
    State(#[from] AuditStateError),
    #[error("the list of offenders cannot be written: {0}")]
    Offenders(String),
    #[error("the inventory cannot be used: {0}")]
    Inventory(#[from] InventoryError),
    #[error("nothing was looked at: {0}")]
    Unusable(String),
    #[error("nothing was looked at: {0}")]
    NoAccess(#[from] NoAccess),
}

impl AuditError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Scope(_) | Self::Usage(_) | Self::Offenders(_) => Outcome::BadUsage,
            Self::State(_) | Self::Inventory(_) | Self::Unusable(_) | Self::NoAccess(_) => {
                Outcome::FactsUnknown
            }
        }
    }
}
