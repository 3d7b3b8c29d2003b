//! The endpoint rule: whether an address is AWS's own, or allowed by the settings.

use aws_types::{SdkConfig, service_config::ServiceConfigKey};
use futures_util::FutureExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use crate::aws::{
    cloudwatch::CLOUDWATCH, ec2_query::EC2, iam_query::IAM, query_protocol::EndpointSettings,
    sns_query::SNS,
};

/// An endpoint that the SDK was configured to use instead of AWS's own.
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
    /// Why it is not called.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "the endpoint {} is not AWS's; allow it in `allow_endpoints`, or unset it",
            self.url
        )
    }
}

/// The services, as the SDK names them in variables and profiles.
pub(super) const SERVICES: [&str; 6] = ["S3", "EMR", "KMS", "IAM", "EC2", "STS"];
/// S3's control plane, which includes Batch Operations. A run calls it only if a bucket's own
/// public access block is incomplete, and accepts no answer from an endpoint that is not accepted.
pub(super) const S3_CONTROL: &str = "S3_CONTROL";
/// The services of notifications, which only `setup` and what is set by it use.
pub(super) const NOTIFICATIONS: [&str; 4] = ["SNS", "SQS", "EVENTBRIDGE", "CLOUDWATCH"];

/// The endpoint overrides from the environment and the profile, per service.
pub(super) fn endpoints(
    base: &SdkConfig,
    services: impl Iterator<Item = &'static str>,
    allowed: &[String],
) -> Vec<EndpointOverride> {
    services.filter_map(|service| endpoint(base, service, allowed)).collect()
}

/// The endpoint override of one service.
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
    let accepted = is_aws(service, &url) || allowed.iter().any(|origin| same_origin(origin, &url));
    Some(EndpointOverride { service: service.to_owned(), url, accepted })
}

/// The part `scheme://host[:port]` of a URL, in lower case.
fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // A `user@` before the host could make a foreign host look like an allowed one.
    (!authority.is_empty() && !authority.contains('@'))
        .then(|| (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

fn same_origin(a: &str, b: &str) -> bool {
    matches!((origin(a), origin(b)), (Some(a), Some(b)) if a == b)
}

/// A region of each partition. Where a service has one name for all regions of a partition, as IAM
/// has, any of them gives it.
const A_REGION_OF_EACH: [&str; 8] = [
    "us-east-1",
    "cn-north-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eu-isoe-west-1",
    "us-isof-south-1",
    "eusc-de-east-1",
];

/// Whether a URL is an endpoint of AWS for this service, over TLS: one that the SDK's own rules
/// give for some region, with or without FIPS and IPv6, or an interface endpoint of that service.
///
/// A name below `amazonaws.com` is not enough. Any customer's function (`execute-api`), load
/// balancer (`elb`), website (`s3-website`) or endpoint service (`vpce-svc`) has such a name.
pub(super) fn is_aws(service: &str, url: &str) -> bool {
    let Some((scheme, authority)) = origin(url) else { return false };
    let host = authority.strip_suffix(":443").unwrap_or(&authority);
    let regions = host.split('.').filter(|label| label.contains('-')).chain(A_REGION_OF_EACH);
    scheme == "https"
        && regions.into_iter().any(|region| {
            [(false, false), (true, false), (false, true), (true, true)]
                .into_iter()
                .flat_map(|(fips, dual_stack)| own_hosts(service, region, fips, dual_stack))
                .any(|own| host == own || is_interface_endpoint(host, region, &own))
        })
}

/// The hosts that the SDK's rules give.
fn own_hosts(service: &str, region: &str, fips: bool, dual_stack: bool) -> Vec<String> {
    /// The host that a service's resolver gives for these parameters.
    macro_rules! resolved {
        ($service:ident $(, $name:ident = $value:expr)*) => {{
            use $service::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
            let parameters = Params::builder()
                .region(region)
                .use_fips(fips)
                .use_dual_stack(dual_stack)
                $(.$name($value))*
                .build();
            parameters.ok().and_then(|parameters| {
                let resolved = DefaultResolver::new().resolve_endpoint(&parameters).now_or_never()?;
                Some(resolved.ok()?.url().to_owned())
            })
        }};
    }
    let of_query =
        |service| EndpointSettings::regional(service, region, fips, dual_stack).url().ok();
    let urls = match service {
        "CLOUDWATCH" => vec![of_query(&CLOUDWATCH)],
        "EC2" => vec![of_query(&EC2)],
        "EMR" => vec![resolved!(aws_sdk_emr)],
        "EVENTBRIDGE" => vec![resolved!(aws_sdk_eventbridge)],
        "IAM" => vec![of_query(&IAM)],
        "KMS" => vec![resolved!(aws_sdk_kms)],
        "S3" => vec![resolved!(aws_sdk_s3), resolved!(aws_sdk_s3, use_global_endpoint = true)],
        S3_CONTROL => vec![resolved!(aws_sdk_s3control, requires_account_id = false)],
        "SNS" => vec![of_query(&SNS)],
        "SQS" => vec![resolved!(aws_sdk_sqs)],
        "STS" => vec![resolved!(aws_sdk_sts), resolved!(aws_sdk_sts, use_global_endpoint = true)],
        _ => Vec::new(),
    };
    let hosts = urls.into_iter().flatten();
    hosts.filter_map(|url| Some(url.strip_prefix("https://")?.to_owned())).collect()
}

/// Whether a host is a VPC's interface endpoint for the service whose regional host is `own`:
/// `vpce-….kms.eu-west-1.vpce.amazonaws.com`. S3 has one more label before that. Source: AWS
/// PrivateLink guide, Access an AWS service; Amazon S3 user guide, AWS PrivateLink for Amazon S3.
fn is_interface_endpoint(host: &str, region: &str, own: &str) -> bool {
    let Some((name, suffix)) = own.split_once(&format!(".{region}.")) else { return false };
    let name = if name == "s3-control" { "s3" } else { name };
    let Some(before) = host.strip_suffix(&format!(".{name}.{region}.vpce.{suffix}")) else {
        return false;
    };
    let words = if name == "s3" { &["bucket.", "control."][..] } else { &[] };
    let id = words.iter().find_map(|word| before.strip_prefix(word)).unwrap_or(before);
    id.starts_with("vpce-") && !id.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_services_own_hosts_count_as_aws() {
        for (service, host) in [
            ("S3", "s3.eu-west-1.amazonaws.com"),
            ("S3", "s3.amazonaws.com"),
            ("S3", "s3.dualstack.eu-west-1.amazonaws.com:443"),
            ("S3", "s3-fips.us-east-1.amazonaws.com"),
            ("S3", "s3.cn-north-1.amazonaws.com.cn"),
            ("S3", "bucket.vpce-0a1b-2c.s3.eu-west-1.vpce.amazonaws.com"),
            ("S3", "vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            (S3_CONTROL, "s3-control.eu-west-1.amazonaws.com"),
            (S3_CONTROL, "control.vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            ("KMS", "kms.eu-west-1.amazonaws.com"),
            ("KMS", "kms.eu-west-1.api.aws"),
            ("KMS", "KMS-FIPS.us-gov-west-1.amazonaws.com"),
            ("KMS", "vpce-0a1b-2c-eu-west-1a.kms.eu-west-1.vpce.amazonaws.com"),
            ("EMR", "elasticmapreduce.eu-west-1.amazonaws.com"),
            ("EMR", "vpce-0a1b.elasticmapreduce.eu-west-1.vpce.amazonaws.com"),
            ("S3", "s3.eusc-de-east-1.amazonaws.eu"),
            ("KMS", "kms.eusc-de-east-1.amazonaws.eu"),
            ("EMR", "elasticmapreduce.eusc-de-east-1.amazonaws.eu"),
            ("IAM", "iam.amazonaws.com"),
            ("IAM", "iam.eusc-de-east-1.amazonaws.eu"),
            ("IAM", "iam.us-gov.amazonaws.com"),
            ("IAM", "iam.us-gov.api.aws"),
            ("IAM", "iam-fips.amazonaws.com.cn"),
            ("IAM", "iam.global.api.amazonwebservices.eu"),
            ("STS", "sts.amazonaws.com"),
            ("STS", "sts.eu-west-1.amazonaws.com"),
            ("EC2", "ec2.eu-west-1.amazonaws.com"),
            ("SQS", "sqs.eu-west-1.amazonaws.com"),
            ("SNS", "sns.eu-west-1.amazonaws.com"),
            ("EVENTBRIDGE", "events.eu-west-1.amazonaws.com"),
            ("EVENTBRIDGE", "vpce-0a1b.events.eu-west-1.vpce.amazonaws.com"),
            ("CLOUDWATCH", "monitoring.eu-west-1.amazonaws.com"),
            ("CLOUDWATCH", "monitoring.eu-west-1.api.aws"),
            ("CLOUDWATCH", "monitoring-fips.us-east-1.amazonaws.com"),
            ("CLOUDWATCH", "monitoring.us-gov-west-1.amazonaws.com"),
            ("CLOUDWATCH", "monitoring.cn-north-1.amazonaws.com.cn"),
            ("CLOUDWATCH", "vpce-0a1b.monitoring.eu-west-1.vpce.amazonaws.com"),
        ] {
            assert!(is_aws(service, &format!("https://{host}/")), "{service} {host}");
        }
    }

    #[test]
    fn what_anybody_can_have_below_amazonaws_com_is_not_aws() {
        for (service, url) in [
            ("S3", "https://0a1b2c3d4e.execute-api.eu-west-1.amazonaws.com"),
            ("S3", "https://bucket.s3-website-eu-west-1.amazonaws.com"),
            ("S3", "https://bucket.s3-website.eu-west-1.amazonaws.com"),
            ("S3", "https://bucket.s3.eu-west-1.amazonaws.com"),
            ("S3", "https://s3.eu-west-1.amazonaws.com:8443"),
            ("S3", "https://lb-1.elb.eu-west-1.amazonaws.com"),
            ("KMS", "https://ec2-1-2-3-4.compute-1.amazonaws.com"),
            ("KMS", "https://vpce-1-2.vpce-svc-3.eu-west-1.vpce.amazonaws.com"),
            ("KMS", "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            ("KMS", "https://evil.vpce-1.kms.eu-west-1.vpce.amazonaws.com"),
            ("KMS", "https://x.lambda-url.eu-west-1.on.aws"),
            // Another service's host does not answer this service's calls.
            ("EMR", "https://s3.eu-west-1.amazonaws.com"),
            ("EMR", "https://eu-west-1.elasticmapreduce.amazonaws.com"),
            ("CLOUDWATCH", "https://cloudwatch.eu-west-1.amazonaws.com"),
            ("CLOUDWATCH", "https://events.eu-west-1.amazonaws.com"),
            ("KMS", "http://kms.eu-west-1.amazonaws.com"),
            ("KMS", "https://kms.eu-west-1.amazonaws.com.evil.example"),
            ("KMS", "https://evil.example/kms.eu-west-1.amazonaws.com"),
            ("KMS", "https://x@evil.example#.amazonaws.com"),
            ("KMS", "kms.eu-west-1.amazonaws.com"),
            ("KMS", "https://kms.evil-1.example"),
        ] {
            assert!(!is_aws(service, url), "{service} {url}");
        }
    }

    #[test]
    fn an_endpoint_is_allowed_by_its_whole_origin() {
        assert!(same_origin("http://127.0.0.1:5000", "http://127.0.0.1:5000/path"));
        for other in [
            "http://127.0.0.1:5001",
            "https://127.0.0.1:5000",
            "http://127.0.0.1:5000@evil.example/",
        ] {
            assert!(!same_origin("http://127.0.0.1:5000", other), "{other}");
        }
    }
}
