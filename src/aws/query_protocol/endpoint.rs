//! The endpoint of a service: the configured one, else the one of the region or of its partition.
//!
//! The rules are those of the SDK's clients. The file `tests/recorded.json` of each client here
//! holds the endpoints that the SDK's client, or botocore, has for regions of all partitions, with
//! FIPS and dual-stack.

use aws_runtime::auth::sigv4::SCHEME_ID;
use aws_smithy_runtime_api::client::endpoint::{
    EndpointFuture, EndpointResolverParams, ResolveEndpoint,
};
use aws_smithy_types::endpoint::{Endpoint, EndpointAuthScheme};

use crate::aws::query_protocol::{
    partition::Partition,
    service::{GlobalHosts, QueryService, ServiceHosts},
};

/// The settings that decide on the endpoint.
#[derive(Clone, Debug)]
pub(in crate::aws) struct EndpointSettings {
    pub(in crate::aws) service: &'static QueryService,
    pub(in crate::aws) region: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT` or `use_fips_endpoint`.
    pub(in crate::aws) fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT` or `use_dualstack_endpoint`.
    pub(in crate::aws) dual_stack: bool,
    /// The endpoint from the environment or the profile.
    pub(in crate::aws) configured: Option<String>,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::aws) enum EndpointError {
    #[error("no region is set")]
    NoRegion,
    #[error("the region is not a valid name")]
    InvalidRegion,
    #[error("FIPS and a configured endpoint exclude each other")]
    FipsConfigured,
    #[error("dual-stack and a configured endpoint exclude each other")]
    DualStackConfigured,
}

/// An endpoint.
struct ServiceEndpoint {
    url: String,
    /// The region for which requests are signed, if it is not the client's.
    signing_region: Option<&'static str>,
}

impl From<String> for ServiceEndpoint {
    fn from(url: String) -> Self {
        Self { url, signing_region: None }
    }
}

impl EndpointSettings {
    /// Those of a region in which no endpoint is configured.
    pub(in crate::aws) fn regional(
        service: &'static QueryService,
        region: &str,
        fips: bool,
        dual_stack: bool,
    ) -> Self {
        Self { service, region: Some(region.to_owned()), fips, dual_stack, configured: None }
    }

    /// The endpoint's URL.
    pub(in crate::aws) fn url(&self) -> Result<String, EndpointError> {
        self.endpoint().map(|endpoint| endpoint.url)
    }

    fn endpoint(&self) -> Result<ServiceEndpoint, EndpointError> {
        if let Some(configured) = &self.configured {
            return match (self.fips, self.dual_stack) {
                (true, _) => Err(EndpointError::FipsConfigured),
                (false, true) => Err(EndpointError::DualStackConfigured),
                (false, false) => Ok(configured.clone().into()),
            };
        }
        let region = self.region.as_deref().ok_or(EndpointError::NoRegion)?;
        if !is_host_label(region) {
            return Err(EndpointError::InvalidRegion);
        }
        let partition = Partition::of_region(region);
        Ok(match self.service.hosts {
            ServiceHosts::Global(hosts) => self.global(&hosts(partition)),
            ServiceHosts::Regional { has_gov_fips_prefix } => {
                // GovCloud's plain endpoints are FIPS endpoints.
                let is_plain_fips =
                    region.starts_with("us-gov-") && !(self.dual_stack && has_gov_fips_prefix);
                let fips = if self.fips && !is_plain_fips { "-fips" } else { "" };
                let (prefix, suffix) = (self.service.prefix, partition.suffix(self.dual_stack));
                format!("https://{prefix}{fips}.{region}.{suffix}").into()
            }
        })
    }

    fn global(&self, hosts: &GlobalHosts) -> ServiceEndpoint {
        let host = match (self.fips, self.dual_stack) {
            (false, false) => hosts.plain,
            (true, false) => hosts.fips,
            (false, true) => hosts.dual_stack,
            (true, true) => hosts.dual_stack_fips,
        };
        let signing_region = Some(hosts.signing_region);
        ServiceEndpoint { url: format!("https://{host}"), signing_region }
    }
}

impl ResolveEndpoint for EndpointSettings {
    fn resolve_endpoint<'a>(&'a self, _: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        let endpoint = self.endpoint().map(|ServiceEndpoint { url, signing_region }| {
            let endpoint = Endpoint::builder().url(url);
            match signing_region {
                Some(region) => {
                    let scheme = EndpointAuthScheme::with_capacity(SCHEME_ID.inner().to_owned(), 1);
                    endpoint.auth_scheme(scheme.put("signingRegion", region)).build()
                }
                None => endpoint.build(),
            }
        });
        EndpointFuture::ready(endpoint.map_err(Into::into))
    }
}

/// Whether a region is a valid label of a host name.
fn is_host_label(region: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = region.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}
