//! The regions that clients ask in.

use aws_config::BehaviorVersion;

use crate::aws::{shared_client, trust::AwsTrust};

/// Where the clients ask: the cluster's region, and the buckets'.
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

    /// What environment or profile name; where neither does, the region where every bucket's own can
    /// be asked.
    pub(crate) async fn of_environment() -> Self {
        Self::all(region().await.unwrap_or_else(|_| "us-east-1".to_owned()))
    }
}

/// Nobody says in which region to ask.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no region: name the clusters' region in AWS_REGION or in the AWS profile, or give a runner \
     config behind `--`"
)]
pub struct NoRegion;

/// The region that environment, profile or instance name.
///
/// # Errors
/// [`NoRegion`].
pub(crate) async fn region() -> Result<String, NoRegion> {
    // An instance is asked over HTTP, without TLS.
    let client = shared_client::shared_client(&AwsTrust::new(&[]));
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(client);
    config.load().await.region().map(ToString::to_string).ok_or(NoRegion)
}
