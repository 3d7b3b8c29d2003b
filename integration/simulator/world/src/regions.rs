//! Owns the regions, and which of them an account has to switch on before it can use them.

use crate::partition::partition_of;

/// Whether an account can use a region, as `DescribeRegions` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptInStatus {
    /// Every account can.
    NotRequired,
    /// It was switched on.
    OptedIn,
    /// It was not: no credentials of the account are valid there.
    NotOptedIn,
}

impl OptInStatus {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotRequired => "opt-in-not-required",
            Self::OptedIn => "opted-in",
            Self::NotOptedIn => "not-opted-in",
        }
    }

    /// Whether the account can use the region.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        self != Self::NotOptedIn
    }
}

/// The regions that every account of their partition can use. Source: AWS Account Management
/// reference guide, Enable or disable AWS Regions in your account.
const ALWAYS: [&str; 22] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// The regions that an account has to switch on. Source: as above.
const OPT_IN: [&str; 17] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
];

/// Whether an account has to switch a region on.
#[must_use]
pub fn needs_opt_in(region: &str) -> bool {
    OPT_IN.contains(&region)
}

/// All regions of the partition of this region, by name.
#[must_use]
pub fn regions_beside(region: &str) -> Vec<&'static str> {
    let partition = partition_of(region);
    let mut all: Vec<&str> =
        ALWAYS.into_iter().chain(OPT_IN).filter(|it| partition_of(it) == partition).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::{needs_opt_in, regions_beside};

    #[test]
    fn a_partition_has_its_own_regions() {
        assert_eq!(regions_beside("cn-north-1"), ["cn-north-1", "cn-northwest-1"]);
        assert_eq!(regions_beside("us-gov-west-1"), ["us-gov-east-1", "us-gov-west-1"]);
        let all = regions_beside("eu-west-1");
        assert_eq!((all.len(), all.iter().filter(|it| needs_opt_in(it)).count()), (34, 17));
    }
}
