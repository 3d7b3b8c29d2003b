//! Owns the subjects of calls.

use serde::Serialize;

/// The subject of a call, for faults, hooks and filters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Subject {
    /// The service's signing name: `elasticmapreduce`, `s3`, `kms`, `iam`, `sts`, `ec2`, `sns`.
    pub service: String,
    /// The operation as AWS names it.
    pub operation: String,
    /// The first cluster id in the request.
    pub cluster_id: Option<String>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The object's key, or the KMS key as it was named.
    pub key: Option<String>,
    /// A security configuration's, role's, policy's, subnet's or topic's name.
    pub name: Option<String>,
}

impl Subject {
    pub(crate) fn matches(
        &self,
        service: Option<&str>,
        operation: &str,
        matching: Option<&str>,
    ) -> bool {
        service.is_none_or(|service| service == self.service)
            && (operation == "*" || operation == self.operation)
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
