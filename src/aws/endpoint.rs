//! The endpoint rule: whether an address is AWS's own, or allowed by the settings.

use aws_types::{SdkConfig, service_config::ServiceConfigKey};
use schemars::JsonSchema;
use serde::Serialize;

/// An endpoint that something made the SDK use instead of AWS's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
pub struct EndpointOverride {
    /// The service.
    pub service: String,
    /// The URL.
    pub url: String,
    /// Whether it is AWS's own, or allowed by the settings.
    pub accepted: bool,
}

impl EndpointOverride {
    /// Why nothing is asked there.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "the endpoint {} is not AWS's; allow it in `allow_endpoints`, or unset it",
            self.url
        )
    }
}

/// The services, as the SDK names them in variables and profiles.
pub(super) const SERVICES: [&str; 6] = ["S3", "EMR", "KMS", "IAM", "EC2", "STS"];
/// S3's control plane, which has Batch Operations; a run asks it only where a bucket's own public
/// access block is not whole, and takes no answer from an endpoint that is not accepted.
pub(super) const S3_CONTROL: &str = "S3_CONTROL";

/// The endpoint overrides that environment and profile put in force, per service.
pub(super) fn endpoints(
    base: &SdkConfig,
    services: impl Iterator<Item = &'static str>,
    allowed: &[String],
) -> Vec<EndpointOverride> {
    services.filter_map(|service| endpoint(base, service, allowed)).collect()
}

/// The endpoint override that is in force for one service.
pub(super) fn endpoint(
    base: &SdkConfig,
    service: &str,
    allowed: &[String],
) -> Option<EndpointOverride> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let own = base.service_config().and_then(|config| config.load_config(key));
    let url = own.or_else(|| base.endpoint_url().map(ToOwned::to_owned))?;
    let accepted = is_aws(&url) || allowed.iter().any(|origin| same_origin(origin, &url));
    Some(EndpointOverride { service: service.to_owned(), url, accepted })
}

/// `scheme://host[:port]` of a URL, in lower case.
fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // `user@` before the host could make a foreign host look like an allowed one.
    (!authority.is_empty() && !authority.contains('@'))
        .then(|| (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

pub(super) fn same_origin(a: &str, b: &str) -> bool {
    matches!((origin(a), origin(b)), (Some(a), Some(b)) if a == b)
}

/// Whether a URL is one of AWS's own, over TLS (private endpoints lie below the same names).
pub(super) fn is_aws(url: &str) -> bool {
    let Some((scheme, authority)) = origin(url) else { return false };
    let host = authority.strip_suffix(":443").unwrap_or(&authority);
    scheme == "https"
        && [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
            .iter()
            .any(|suffix| host.ends_with(suffix))
}
