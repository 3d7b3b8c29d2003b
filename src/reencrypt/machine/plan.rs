//! The inputs of the decision about one object, apart from the object.

#[cfg(feature = "mutants")]
use crate::reencrypt::machine::mutants::RepairMutant;
use crate::reencrypt::machine::{
    choice::RequestedEncryption, state::TargetEncryption, versioning::Versioning,
};

/// The inputs of the decision about one object, apart from the object.
#[derive(Clone, Debug)]
pub struct ObjectPlan {
    /// The encryption that it gets.
    pub target: TargetEncryption,
    /// The options.
    pub wish: RequestedEncryption,
    /// The versioning of its bucket.
    pub versioning: Versioning,
    /// The deliberate fault.
    #[cfg(feature = "mutants")]
    pub mutant: Option<RepairMutant>,
}
