//! Where IAM is: one service for all regions of a partition. Source: the endpoint rules of the
//! SDK's client for IAM, whose results are in `tests/recorded.json`.

use crate::aws::query_protocol::{GlobalHosts, Partition};

pub(super) fn of_partition(partition: Partition) -> GlobalHosts {
    match partition {
        Partition::Aws => GlobalHosts {
            signing_region: "us-east-1",
            plain: "iam.amazonaws.com",
            fips: "iam-fips.amazonaws.com",
            dual_stack: "iam.global.api.aws",
            dual_stack_fips: "iam-fips.global.api.aws",
        },
        Partition::China => GlobalHosts {
            signing_region: "cn-north-1",
            plain: "iam.cn-north-1.amazonaws.com.cn",
            fips: "iam-fips.amazonaws.com.cn",
            dual_stack: "iam.global.api.amazonwebservices.com.cn",
            dual_stack_fips: "iam-fips.api.amazonwebservices.com.cn",
        },
        Partition::GovCloud => GlobalHosts {
            signing_region: "us-gov-west-1",
            plain: "iam.us-gov.amazonaws.com",
            fips: "iam.us-gov.amazonaws.com",
            dual_stack: "iam.us-gov.api.aws",
            dual_stack_fips: "iam.us-gov.api.aws",
        },
        Partition::Iso => GlobalHosts {
            signing_region: "us-iso-east-1",
            plain: "iam.us-iso-east-1.c2s.ic.gov",
            fips: "iam-fips.us-iso-east-1.c2s.ic.gov",
            dual_stack: "iam.api.aws.ic.gov",
            dual_stack_fips: "iam-fips.api.aws.ic.gov",
        },
        Partition::IsoB => GlobalHosts {
            signing_region: "us-isob-east-1",
            plain: "iam.us-isob-east-1.sc2s.sgov.gov",
            fips: "iam-fips.us-isob-east-1.sc2s.sgov.gov",
            dual_stack: "iam.api.aws.scloud",
            dual_stack_fips: "iam-fips.api.aws.scloud",
        },
        Partition::IsoE => GlobalHosts {
            signing_region: "eu-isoe-west-1",
            plain: "iam.eu-isoe-west-1.cloud.adc-e.uk",
            fips: "iam-fips.cloud.adc-e.uk",
            dual_stack: "iam.api.cloud-aws.adc-e.uk",
            dual_stack_fips: "iam-fips.api.cloud-aws.adc-e.uk",
        },
        Partition::IsoF => GlobalHosts {
            signing_region: "us-isof-south-1",
            plain: "iam.us-isof-south-1.csp.hci.ic.gov",
            fips: "iam-fips.csp.hci.ic.gov",
            dual_stack: "iam.api.aws.hci.ic.gov",
            dual_stack_fips: "iam-fips.api.aws.hci.ic.gov",
        },
        Partition::EuropeanSovereign => GlobalHosts {
            signing_region: "eusc-de-east-1",
            plain: "iam.eusc-de-east-1.amazonaws.eu",
            fips: "iam-fips.amazonaws.eu",
            dual_stack: "iam.global.api.amazonwebservices.eu",
            dual_stack_fips: "iam-fips.api.amazonwebservices.eu",
        },
    }
}
