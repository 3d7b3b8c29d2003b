//! Reports as JSON and every form made from them; terminal text, alerts and metrics.

mod alerts;
pub(crate) mod asff;
mod audit_document;
pub(crate) mod audited;
mod conclusion;
pub(crate) mod document;
pub(crate) mod html;
pub mod json;
pub(crate) mod judged;
pub(crate) mod junit;
pub(crate) mod live_view;
pub(crate) mod markdown;
mod metrics;
pub(crate) mod notice;
pub(crate) mod notify;
pub(crate) mod ocsf;
pub mod options;
mod path;
pub(crate) mod reencrypt_document;
pub mod render;
pub mod reporter;
pub(crate) mod sarif;
pub(crate) mod schema;
pub(crate) mod signature;
pub(crate) mod summary;
mod terminal;
mod watch_events;
