//! Watches whole accounts: every cluster is judged, whoever launched it.

pub(crate) mod accounts;
pub(crate) mod driver;
pub(crate) mod endpoint;
pub(crate) mod health;
pub(crate) mod judge;
pub(crate) mod ledger;
pub(crate) mod numbers;
pub(crate) mod period;
pub(crate) mod places;
pub(crate) mod probe;
pub(crate) mod pulse;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod regions;
pub(crate) mod rules;
pub(crate) mod watched;
