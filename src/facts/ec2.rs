//! What EC2 says of the network that the cluster will live in.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, VpcAttributeName};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{aws_calls, lookup::Lookup};

/// The subnet's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NetworkFacts {
    /// The VPC that the subnet lies in; `Absent` when there is no such subnet.
    pub vpc: Lookup<String>,
    /// Whether the VPC resolves names at all.
    pub dns_support: Lookup<bool>,
    /// Whether it gives names to instances.
    pub dns_hostnames: Lookup<bool>,
    /// Its DHCP options: `domain-name`, `domain-name-servers`, ….
    pub dhcp: Lookup<BTreeMap<String, BTreeSet<String>>>,
}

impl NetworkFacts {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            vpc: Lookup::not_asked(&aws_calls::DESCRIBE_SUBNETS, why),
            dns_support: Lookup::not_asked(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, why),
            dns_hostnames: Lookup::not_asked(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, why),
            dhcp: Lookup::not_asked(&aws_calls::DESCRIBE_DHCP_OPTIONS, why),
        }
    }
}

/// An EBS volume of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Volume {
    /// `vol-…`.
    pub(crate) id: String,
    /// The instance that it is attached to.
    pub(crate) instance: String,
    /// As what: `/dev/xvda`.
    pub(crate) device: String,
    /// Whether EBS encrypts it; LUKS does not show.
    pub(crate) encrypted: bool,
    /// By which key: its ARN.
    pub(crate) key: Option<String>,
}

/// So many values one filter takes. Source: Amazon EC2 API reference, DescribeVolumes.
const FILTER_VALUES: usize = 200;

/// Every EBS volume attached to one of `instances`, root volumes included.
pub(crate) async fn volumes(
    ec2: &aws_sdk_ec2::Client,
    instances: &[String],
) -> Lookup<Vec<Volume>> {
    let of_some = |some: &[String]| {
        let filter = Filter::builder()
            .name("attachment.instance-id")
            .set_values(Some(some.to_vec()))
            .build();
        ec2.describe_volumes()
            .filters(filter)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
    };
    let answers = try_join_all(instances.chunks(FILTER_VALUES).map(of_some)).await;
    Lookup::from_call(&aws_calls::DESCRIBE_VOLUMES, &[], answers).and_then(|answers| {
        let volumes = answers.into_iter().flatten().map(|volume| volume_of(volume, instances));
        Lookup::expect_in_answer(&aws_calls::DESCRIBE_VOLUMES, volumes.collect())
    })
}

fn volume_of(volume: aws_sdk_ec2::types::Volume, instances: &[String]) -> Option<Volume> {
    let of_ours = |instance: &Option<String>| {
        instance.as_ref().is_some_and(|instance| instances.contains(instance))
    };
    let attachment =
        volume.attachments?.into_iter().find(|attachment| of_ours(&attachment.instance_id))?;
    Some(Volume {
        id: volume.volume_id?,
        instance: attachment.instance_id?,
        device: attachment.device.unwrap_or_default(),
        encrypted: volume.encrypted?,
        key: volume.kms_key_id,
    })
}

/// Asks about the network of `subnet`.
pub(super) async fn network(ec2: &aws_sdk_ec2::Client, subnet: &str) -> NetworkFacts {
    let vpc = vpc_of(ec2, subnet).await;
    let Some(id) = vpc.found() else {
        return NetworkFacts { vpc, ..NetworkFacts::not_asked("the subnet is not known") };
    };
    let (dns_support, dns_hostnames, dhcp) = tokio::join!(
        attribute(ec2, id, VpcAttributeName::EnableDnsSupport),
        attribute(ec2, id, VpcAttributeName::EnableDnsHostnames),
        dhcp(ec2, id)
    );
    NetworkFacts { vpc, dns_support, dns_hostnames, dhcp }
}

/// Whether the account encrypts new EBS volumes of the region, whoever makes them.
pub(super) async fn encrypts_by_default(ec2: &aws_sdk_ec2::Client) -> Lookup<bool> {
    let result = ec2.get_ebs_encryption_by_default().send().await;
    Lookup::from_call(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, &[], result).and_then(|answer| {
        Lookup::expect_in_answer(
            &aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT,
            answer.ebs_encryption_by_default,
        )
    })
}

async fn vpc_of(ec2: &aws_sdk_ec2::Client, subnet: &str) -> Lookup<String> {
    let result = ec2.describe_subnets().subnet_ids(subnet).send().await;
    Lookup::from_call(
        &aws_calls::DESCRIBE_SUBNETS,
        &["InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "InvalidSubnetId.Malformed"],
        result,
    )
    .and_then(|answer| {
        let found = answer
            .subnets
            .unwrap_or_default()
            .into_iter()
            .find(|found| found.subnet_id.as_deref() == Some(subnet));
        Lookup::expect_in_answer(
            &aws_calls::DESCRIBE_SUBNETS,
            found.and_then(|subnet| subnet.vpc_id),
        )
    })
}

async fn attribute(ec2: &aws_sdk_ec2::Client, vpc: &str, name: VpcAttributeName) -> Lookup<bool> {
    let result = ec2.describe_vpc_attribute().vpc_id(vpc).attribute(name.clone()).send().await;
    Lookup::from_call(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, &[], result).and_then(|answer| {
        let value = if name == VpcAttributeName::EnableDnsSupport {
            answer.enable_dns_support
        } else {
            answer.enable_dns_hostnames
        };
        Lookup::expect_in_answer(
            &aws_calls::DESCRIBE_VPC_ATTRIBUTE,
            value.and_then(|value| value.value),
        )
    })
}

async fn dhcp(ec2: &aws_sdk_ec2::Client, vpc: &str) -> Lookup<BTreeMap<String, BTreeSet<String>>> {
    let result = ec2.describe_vpcs().vpc_ids(vpc).send().await;
    let id = Lookup::from_call(&aws_calls::DESCRIBE_VPCS, &[], result).and_then(|answer| {
        let found = answer
            .vpcs
            .unwrap_or_default()
            .into_iter()
            .find(|found| found.vpc_id.as_deref() == Some(vpc));
        Lookup::expect_in_answer(
            &aws_calls::DESCRIBE_VPCS,
            found.and_then(|vpc| vpc.dhcp_options_id),
        )
    });
    let id = match id {
        // EC2's word for a VPC that has no set of options.
        Lookup::Found(none) if none == "default" => return Lookup::Found(BTreeMap::new()),
        Lookup::Found(id) => id,
        other => return other.map(|_| BTreeMap::new()),
    };
    let result = ec2.describe_dhcp_options().dhcp_options_ids(&id).send().await;
    Lookup::from_call(&aws_calls::DESCRIBE_DHCP_OPTIONS, &[], result).and_then(|answer| {
        let found = answer
            .dhcp_options
            .unwrap_or_default()
            .into_iter()
            .find(|found| found.dhcp_options_id.as_ref() == Some(&id));
        Lookup::expect_in_answer(&aws_calls::DESCRIBE_DHCP_OPTIONS, found).map(|set| {
            let options = set.dhcp_configurations.unwrap_or_default().into_iter();
            let option = |option: aws_sdk_ec2::types::DhcpConfiguration| {
                let values =
                    option.values.unwrap_or_default().into_iter().filter_map(|value| value.value);
                // One value may hold several names with blanks between them.
                let words: BTreeSet<String> = values
                    .flat_map(|value| {
                        value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
                    })
                    .collect();
                Some((option.key?, words))
            };
            options.filter_map(option).collect()
        })
    })
}
