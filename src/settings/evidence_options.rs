//! Where reports are delivered, how long they are kept, and what signs them.

use crate::settings::{
    destination::{Destination, Retention},
    sign_key::KeyName,
};

/// What the delivery of reports needs of the settings.
#[derive(Clone, Debug)]
pub struct EvidenceOptions {
    /// Where documents go.
    pub destinations: Vec<Destination>,
    /// How long they stay in folders.
    pub retention: Retention,
    /// What signs them.
    pub sign_key: Option<KeyName>,
}
