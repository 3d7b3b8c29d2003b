//! What decides about one object, besides the object.

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::reencrypt::machine::{
    choice::RequestedEncryption, state::TargetEncryption, versioning::Versioning,
};

/// What decides about one object, besides the object.
#[derive(Clone, Debug)]
pub struct ObjectPlan {
    /// The encryption that it gets.
    pub target: TargetEncryption,
    /// What was allowed.
    pub wish: RequestedEncryption,
    /// How its bucket keeps versions.
    pub versioning: Versioning,
    /// The deliberate fault.
    #[cfg(feature = "mutants")]
    pub mutant: Option<RepairMutant>,
}
