//! Owns EMR's request quotas: a token bucket for each account, region and call.

use std::collections::HashMap;

use time::OffsetDateTime;

/// Burst and refill per second, from AWS's documentation. Other calls have no quota here.
fn limits(operation: &str) -> Option<(f64, f64)> {
    match operation {
        "DescribeCluster" | "ListInstanceGroups" | "ListBootstrapActions" => Some((10.0, 1.0)),
        "ListSteps" | "DescribeStep" | "ListInstances" | "RunJobFlow" | "TerminateJobFlows" => {
            Some((10.0, 0.5))
        }
        "ListClusters" => Some((20.0, 0.5)),
        "DescribeSecurityConfiguration" => Some((5.0, 0.5)),
        "SetTerminationProtection" => Some((5.0, 0.2)),
        _ => None,
    }
}

/// The buckets.
#[derive(Debug, Default)]
pub struct Quotas {
    buckets: HashMap<(String, String, String), (f64, OffsetDateTime)>,
}

impl Quotas {
    /// Takes a token; false when there is none.
    pub fn take(
        &mut self,
        account: &str,
        region: &str,
        operation: &str,
        now: OffsetDateTime,
    ) -> bool {
        let Some((burst, refill)) = limits(operation) else { return true };
        let name = (account.to_owned(), region.to_owned(), operation.to_owned());
        let (tokens, since) = self.buckets.entry(name).or_insert((burst, now));
        let passed = (now - *since).as_seconds_f64().max(0.0);
        *tokens = (*tokens + passed * refill).min(burst);
        *since = now;
        // Sums of fractions may be slightly less than a whole token.
        if *tokens < 1.0 - 1e-9 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}
