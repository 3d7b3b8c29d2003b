//! EC2's answers about the cluster's network and volumes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    aws::ec2_query::{
        Ec2,
        answers::{Ec2DhcpOption, Ec2Volume, VpcAttribute},
    },
    base::{aws_calls, lookup::Lookup},
};

/// The subnet's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NetworkFacts {
    /// The VPC of the subnet; `Absent` if the subnet does not exist.
    pub vpc: Lookup<String>,
    /// Whether the VPC has DNS resolution.
    pub dns_support: Lookup<bool>,
    /// Whether it gives DNS host names to instances.
    pub dns_hostnames: Lookup<bool>,
    /// Its primary IPv4 block, such as `10.0.0.0/16`. Not recorded: findings that depend on it name
    /// it.
    #[serde(skip)]
    pub cidr: Lookup<String>,
    /// Its DHCP options: `domain-name`, `domain-name-servers`, ….
    pub dhcp: Lookup<BTreeMap<String, BTreeSet<String>>>,
}

impl NetworkFacts {
    pub(super) fn not_asked(why: &str) -> Self {
        Self {
            vpc: Lookup::not_asked(&aws_calls::DESCRIBE_SUBNETS, why),
            dns_support: Lookup::not_asked(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, why),
            dns_hostnames: Lookup::not_asked(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, why),
            cidr: Lookup::not_asked(&aws_calls::DESCRIBE_VPCS, why),
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
    /// The device name, such as `/dev/xvda`.
    pub(crate) device: String,
    /// Whether EBS encrypts it. Encryption by LUKS is not visible here.
    pub(crate) encrypted: bool,
    /// The ARN of its key.
    pub(crate) key: Option<String>,
}

/// The maximum number of values in one filter. Source: Amazon EC2 API reference, DescribeVolumes.
const FILTER_VALUES: usize = 200;

/// Every EBS volume attached to one of `instances`, root volumes included.
pub(crate) async fn volumes(ec2: &Ec2, instances: &[String]) -> Lookup<Vec<Volume>> {
    let answers = instances.chunks(FILTER_VALUES).map(|some| ec2.volumes_attached_to(some));
    let answers = try_join_all(answers).await;
    Lookup::from_call(&aws_calls::DESCRIBE_VOLUMES, &[], answers).and_then(|answers| {
        let volumes = answers.into_iter().flatten().map(|volume| volume_of(volume, instances));
        Lookup::expect_in_answer(&aws_calls::DESCRIBE_VOLUMES, volumes.collect())
    })
}

fn volume_of(volume: Ec2Volume, instances: &[String]) -> Option<Volume> {
    let of_ours = |instance: &Option<String>| {
        instance.as_ref().is_some_and(|instance| instances.contains(instance))
    };
    let attachment =
        volume.attachments.into_iter().find(|attachment| of_ours(&attachment.instance))?;
    Some(Volume {
        id: volume.id?,
        instance: attachment.instance?,
        device: attachment.device.unwrap_or_default(),
        encrypted: volume.encrypted?,
        key: volume.key,
    })
}

/// Looks up the network of `subnet`.
pub(super) async fn network(ec2: &Ec2, subnet: &str) -> NetworkFacts {
    let vpc = vpc_of(ec2, subnet).await;
    let Some(id) = vpc.found() else {
        return NetworkFacts { vpc, ..NetworkFacts::not_asked("the subnet is not known") };
    };
    let (dns_support, dns_hostnames, (cidr, dhcp)) = tokio::join!(
        attribute(ec2, id, VpcAttribute::DnsSupport),
        attribute(ec2, id, VpcAttribute::DnsHostnames),
        cidr_and_dhcp(ec2, id)
    );
    NetworkFacts { vpc, dns_support, dns_hostnames, cidr, dhcp }
}

/// Whether the account encrypts all new EBS volumes in the region.
pub(super) async fn encrypts_by_default(ec2: &Ec2) -> Lookup<bool> {
    let result = ec2.ebs_encryption_by_default().await;
    Lookup::from_call(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, &[], result).and_then(|answer| {
        Lookup::expect_in_answer(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT, answer)
    })
}

async fn vpc_of(ec2: &Ec2, subnet: &str) -> Lookup<String> {
    Lookup::from_call(
        &aws_calls::DESCRIBE_SUBNETS,
        &["InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "InvalidSubnetId.Malformed"],
        ec2.subnets(subnet).await,
    )
    .and_then(|subnets| {
        let found = subnets.into_iter().find(|found| found.id.as_deref() == Some(subnet));
        Lookup::expect_in_answer(&aws_calls::DESCRIBE_SUBNETS, found.and_then(|subnet| subnet.vpc))
    })
}

async fn attribute(ec2: &Ec2, vpc: &str, attribute: VpcAttribute) -> Lookup<bool> {
    let result = ec2.vpc_attribute(vpc, attribute).await;
    Lookup::from_call(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, &[], result)
        .and_then(|value| Lookup::expect_in_answer(&aws_calls::DESCRIBE_VPC_ATTRIBUTE, value))
}

/// The primary IPv4 block of a VPC, and its DHCP options.
async fn cidr_and_dhcp(
    ec2: &Ec2,
    id: &str,
) -> (Lookup<String>, Lookup<BTreeMap<String, BTreeSet<String>>>) {
    let call = &aws_calls::DESCRIBE_VPCS;
    let vpc = Lookup::from_call(call, &[], ec2.vpcs(id).await).and_then(|vpcs| {
        let found = vpcs.into_iter().find(|found| found.id.as_deref() == Some(id));
        Lookup::expect_in_answer(call, found)
    });
    let cidr = vpc.clone().and_then(|vpc| Lookup::expect_in_answer(call, vpc.cidr));
    let options = vpc.and_then(|vpc| Lookup::expect_in_answer(call, vpc.dhcp_options));
    (cidr, dhcp(ec2, options).await)
}

/// The regions that are enabled for the account of the client's credentials.
pub(crate) async fn enabled_regions(ec2: &Ec2) -> Lookup<Vec<String>> {
    let call = &aws_calls::DESCRIBE_REGIONS;
    Lookup::from_call(call, &[], ec2.enabled_regions().await)
        .and_then(|names| Lookup::expect_in_answer(call, names.into_iter().collect()))
}

async fn dhcp(ec2: &Ec2, id: Lookup<String>) -> Lookup<BTreeMap<String, BTreeSet<String>>> {
    let id = match id {
        // EC2's word for a VPC without a DHCP option set. The default set has an id of its own.
        Lookup::Found(none) if none == "default" => return Lookup::Found(BTreeMap::new()),
        Lookup::Found(id) => id,
        other => return other.map(|_| BTreeMap::new()),
    };
    let result = ec2.dhcp_options(&id).await;
    Lookup::from_call(&aws_calls::DESCRIBE_DHCP_OPTIONS, &[], result).and_then(|sets| {
        let found = sets.into_iter().find(|found| found.id.as_ref() == Some(&id));
        Lookup::expect_in_answer(&aws_calls::DESCRIBE_DHCP_OPTIONS, found).map(|set| {
            let option = |option: Ec2DhcpOption| {
                // One value may hold several names, separated by blanks.
                let words = option.values.iter().flat_map(|value| value.split_whitespace());
                (option.key, words.map(str::to_owned).collect())
            };
            set.options.into_iter().map(option).collect()
        })
    })
}
