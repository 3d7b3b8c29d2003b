//! The partitions of AWS: groups of regions with accounts and host names of their own. Source: the
//! partitions file of the AWS SDKs.

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::aws) enum Partition {
    Aws,
    China,
    GovCloud,
    Iso,
    IsoB,
    IsoE,
    IsoF,
    EuropeanSovereign,
}

impl Partition {
    /// All except `aws`.
    const OTHERS: [Self; 7] = [
        Self::China,
        Self::GovCloud,
        Self::Iso,
        Self::IsoB,
        Self::IsoE,
        Self::IsoF,
        Self::EuropeanSovereign,
    ];

    /// The partition of a region; `aws` for the region of no other one.
    pub(super) fn of_region(region: &str) -> Self {
        let has_region =
            |partition: &Self| partition.prefixes().iter().any(|prefix| region.starts_with(prefix));
        Self::OTHERS.into_iter().find(has_region).unwrap_or(Self::Aws)
    }

    /// How the names of its regions start.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Aws => &[],
            Self::China => &["cn-", "aws-cn-"],
            Self::GovCloud => &["us-gov-", "aws-us-gov-"],
            Self::Iso => &["us-iso-", "aws-iso-global"],
            Self::IsoB => &["us-isob-", "aws-iso-b-"],
            Self::IsoE => &["eu-isoe-", "aws-iso-e-"],
            Self::IsoF => &["us-isof-", "aws-iso-f-"],
            Self::EuropeanSovereign => &["eusc-"],
        }
    }

    /// How its host names end.
    pub(super) fn suffix(self, dual_stack: bool) -> &'static str {
        let (plain, of_dual_stack) = match self {
            Self::Aws | Self::GovCloud => ("amazonaws.com", "api.aws"),
            Self::China => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
            Self::Iso => ("c2s.ic.gov", "api.aws.ic.gov"),
            Self::IsoB => ("sc2s.sgov.gov", "api.aws.scloud"),
            Self::IsoE => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
            Self::IsoF => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
            Self::EuropeanSovereign => ("amazonaws.eu", "api.amazonwebservices.eu"),
        };
        if dual_stack { of_dual_stack } else { plain }
    }
}
