//! What is special to a service that speaks the Query protocol.

/// A service.
#[derive(Debug)]
pub(in crate::aws) struct QueryService {
    /// Its name in the SDK and in the log of requests.
    pub(in crate::aws) id: &'static str,
    /// Its name in the user agent and in the name of the shared retry budget.
    pub(in crate::aws) name: &'static str,
    /// The start of its host names, and its name in signatures.
    pub(in crate::aws) prefix: &'static str,
    /// Whether its dual-stack FIPS endpoints in GovCloud have `-fips` in their names, as elsewhere.
    pub(in crate::aws) has_gov_fips_prefix: bool,
    /// The API version, which every request names.
    pub(in crate::aws) version: &'static str,
}
