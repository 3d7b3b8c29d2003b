//! What is special to a service that speaks the Query protocol.

use crate::aws::query_protocol::partition::Partition;

/// A service.
#[derive(Debug)]
pub(in crate::aws) struct QueryService {
    /// Its name in the SDK and in the log of requests.
    pub(in crate::aws) id: &'static str,
    /// Its name in the user agent and in the name of the shared retry budget.
    pub(in crate::aws) name: &'static str,
    /// Its name in signatures, and the start of a regional service's host names.
    pub(in crate::aws) prefix: &'static str,
    pub(in crate::aws) hosts: ServiceHosts,
    /// The API version, which every request names.
    pub(in crate::aws) version: &'static str,
}

/// The hosts on which AWS offers a service.
#[derive(Debug)]
pub(in crate::aws) enum ServiceHosts {
    /// Each region has its own.
    Regional {
        /// Whether dual-stack FIPS endpoints in GovCloud have `-fips` in their names, as elsewhere.
        has_gov_fips_prefix: bool,
    },
    /// All regions of a partition have the same.
    Global(fn(Partition) -> GlobalHosts),
}

/// The hosts of a global service in one partition.
#[derive(Debug)]
pub(in crate::aws) struct GlobalHosts {
    /// The region for which requests to them are signed.
    pub(in crate::aws) signing_region: &'static str,
    pub(in crate::aws) plain: &'static str,
    pub(in crate::aws) fips: &'static str,
    pub(in crate::aws) dual_stack: &'static str,
    pub(in crate::aws) dual_stack_fips: &'static str,
}
