//! Where reports are delivered, how long they are kept, and what signs them.

use crate::settings::{
    destination::{Destination, Retention},
    sign_key::KeyName,
};

/// The settings for the delivery of reports.
#[derive(Clone, Debug, Default)]
pub struct EvidenceOptions {
    /// Where documents go.
    pub destinations: Vec<Destination>,
    /// How long they are kept in folders.
    pub retention: Retention,
    /// The signing key.
    pub sign_key: Option<KeyName>,
}
