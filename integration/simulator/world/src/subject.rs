//! Owns the subjects of calls.

use serde::Serialize;

/// In faults and hooks, the operation that matches every call that can change something.
pub const ANY_WRITE: &str = "any write";

/// The subject of a call, for faults, hooks and filters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Subject {
    /// The service's signing name: `elasticmapreduce`, `s3`, `kms`, `iam`, `sts`, `ec2`, `sns`,
    /// `monitoring`.
    pub service: String,
    /// The operation as AWS names it.
    pub operation: String,
    /// The first cluster id in the request.
    pub cluster_id: Option<String>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The object's key, or the KMS key as it was named.
    pub key: Option<String>,
    /// A security configuration's, role's, user's, policy's, alias', subnet's, topic's or alarm's
    /// name.
    pub name: Option<String>,
    /// Whether it can change something.
    pub writes: bool,
}

impl Subject {
    pub(crate) fn matches(
        &self,
        service: Option<&str>,
        operation: &str,
        matching: Option<&str>,
    ) -> bool {
        service.is_none_or(|service| service == self.service)
            && (operation == "*"
                || operation == self.operation
                || (operation == ANY_WRITE && self.writes))
            && matching.is_none_or(|wanted| {
                [&self.cluster_id, &self.bucket, &self.key, &self.name]
                    .into_iter()
                    .flatten()
                    .any(|it| it == wanted)
                    || match (&self.bucket, &self.key) {
                        (Some(bucket), Some(key)) => {
                            wanted
                                .strip_prefix(bucket.as_str())
                                .and_then(|rest| rest.strip_prefix('/'))
                                == Some(key)
                        }
                        _ => false,
                    }
            })
    }
}
