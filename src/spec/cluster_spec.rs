//! What a cluster is started with.

/// A property of `aws.emr.configuration`, which the runner turns into the cluster's
/// `Configurations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// `core-site`, `spark-defaults`, ….
    pub classification: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `file:line:column` of the value.
    pub at: String,
}
