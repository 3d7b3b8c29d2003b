//! The endpoint of a service: the configured one, else the regional one of the partition.
//!
//! The rules are those of the SDK's clients. `ec2_query/tests/recorded.json` holds the endpoints
//! that its client for EC2 used for regions of all partitions, with FIPS and dual-stack, and
//! `cloudwatch/tests/recorded.json` those that botocore has for CloudWatch.

use aws_smithy_runtime_api::client::endpoint::{
    EndpointFuture, EndpointResolverParams, ResolveEndpoint,
};
use aws_smithy_types::endpoint::Endpoint;

use crate::aws::query_protocol::service::QueryService;

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

/// A group of regions whose host names have the same suffix.
struct Partition {
    /// The prefixes of the regions' names.
    prefixes: &'static [&'static str],
    suffix: &'static str,
    dual_stack_suffix: &'static str,
}

/// All partitions except `aws`, which applies if no prefix matches. Source: the partitions file of
/// the AWS SDKs.
const PARTITIONS: [Partition; 6] = [
    Partition {
        prefixes: &["cn-", "aws-cn-"],
        suffix: "amazonaws.com.cn",
        dual_stack_suffix: "api.amazonwebservices.com.cn",
    },
    Partition { prefixes: &["us-iso-"], suffix: "c2s.ic.gov", dual_stack_suffix: "api.aws.ic.gov" },
    Partition {
        prefixes: &["us-isob-"],
        suffix: "sc2s.sgov.gov",
        dual_stack_suffix: "api.aws.scloud",
    },
    Partition {
        prefixes: &["eu-isoe-"],
        suffix: "cloud.adc-e.uk",
        dual_stack_suffix: "api.cloud-aws.adc-e.uk",
    },
    Partition {
        prefixes: &["us-isof-"],
        suffix: "csp.hci.ic.gov",
        dual_stack_suffix: "api.aws.hci.ic.gov",
    },
    Partition {
        prefixes: &["eusc-"],
        suffix: "amazonaws.eu",
        dual_stack_suffix: "api.amazonwebservices.eu",
    },
];
const AWS: Partition =
    Partition { prefixes: &[], suffix: "amazonaws.com", dual_stack_suffix: "api.aws" };

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
        if let Some(configured) = &self.configured {
            return match (self.fips, self.dual_stack) {
                (true, _) => Err(EndpointError::FipsConfigured),
                (false, true) => Err(EndpointError::DualStackConfigured),
                (false, false) => Ok(configured.clone()),
            };
        }
        let region = self.region.as_deref().ok_or(EndpointError::NoRegion)?;
        if !is_host_label(region) {
            return Err(EndpointError::InvalidRegion);
        }
        let has_region = |partition: &&Partition| {
            partition.prefixes.iter().any(|prefix| region.starts_with(prefix))
        };
        let partition = PARTITIONS.iter().find(has_region).unwrap_or(&AWS);
        let suffix = if self.dual_stack { partition.dual_stack_suffix } else { partition.suffix };
        // GovCloud's plain endpoints are FIPS endpoints.
        let is_plain_fips =
            region.starts_with("us-gov-") && !(self.dual_stack && self.service.has_gov_fips_prefix);
        let fips = if self.fips && !is_plain_fips { "-fips" } else { "" };
        Ok(format!("https://{}{fips}.{region}.{suffix}", self.service.prefix))
    }
}

impl ResolveEndpoint for EndpointSettings {
    fn resolve_endpoint<'a>(&'a self, _: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        let endpoint = self.url().map(|url| Endpoint::builder().url(url).build());
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
