//! The regions that clients call.

use aws_config::BehaviorVersion;

use crate::aws::{shared_client, trust::AwsTrust};

/// The regions to call: the cluster's, and the buckets'.
#[derive(Clone, Debug)]
pub struct Regions {
    /// `aws.emr.region`.
    pub emr: String,
    /// `aws.s3.region`.
    pub s3: String,
}

impl Regions {
    /// One region for all.
    pub(crate) fn all(region: String) -> Self {
        Self { emr: region.clone(), s3: region }
    }

    /// The region from the environment or the profile. If there is none, the region that can give
    /// the region of every bucket.
    pub(crate) async fn of_environment() -> Self {
        Self::all(region().await.unwrap_or_else(|_| "us-east-1".to_owned()))
    }
}

/// No region is configured.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no region: AWS_REGION, the AWS profile and the command line name none")]
pub struct NoRegion;

impl NoRegion {
    /// What to do about it, one line each.
    pub(crate) const FIXES: [&str; 2] = [
        "export AWS_REGION=REGION    # the one that the clusters are in",
        "or put `-- run -c config.yml -r resolver.json` behind the cluster ids: then \
         `aws.emr.region` of the runner config counts",
    ];
}

/// The region from the environment, the profile or the instance.
///
/// # Errors
/// [`NoRegion`].
pub(crate) async fn region() -> Result<String, NoRegion> {
    // The instance's metadata service is called over HTTP, without TLS.
    let client = shared_client::shared_client(&AwsTrust::new(&[]));
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(client);
    config.load().await.region().map(ToString::to_string).ok_or(NoRegion)
}
