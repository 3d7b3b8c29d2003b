//! The parts of EC2's answers that the guard reads.

use crate::aws::query_protocol::xml::{AnswerError, Element};

/// The name of the items of lists.
const ITEM: &str = "item";

/// One page of DescribeVolumes.
#[derive(Debug)]
pub(super) struct VolumePage {
    pub(super) volumes: Vec<Ec2Volume>,
    /// The token for the next page; none on the last page.
    pub(super) next_token: Option<String>,
}

/// An EBS volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2Volume {
    pub(crate) id: Option<String>,
    pub(crate) encrypted: Option<bool>,
    /// The key's ARN.
    pub(crate) key: Option<String>,
    pub(crate) attachments: Vec<Ec2Attachment>,
}

/// An attachment of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2Attachment {
    pub(crate) instance: Option<String>,
    pub(crate) device: Option<String>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2Subnet {
    pub(crate) id: Option<String>,
    pub(crate) vpc: Option<String>,
}

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2Vpc {
    pub(crate) id: Option<String>,
    /// Its primary IPv4 block.
    pub(crate) cidr: Option<String>,
    pub(crate) dhcp_options: Option<String>,
}

/// A DHCP option set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2DhcpOptions {
    pub(crate) id: Option<String>,
    pub(crate) options: Vec<Ec2DhcpOption>,
}

/// One DHCP option.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Ec2DhcpOption {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

/// A VPC attribute that DescribeVpcAttribute returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VpcAttribute {
    DnsSupport,
    DnsHostnames,
}

impl VpcAttribute {
    /// Its name in requests and in answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DnsSupport => "enableDnsSupport",
            Self::DnsHostnames => "enableDnsHostnames",
        }
    }
}

pub(super) fn volume_page(answer: &Element) -> Result<VolumePage, AnswerError> {
    Ok(VolumePage {
        volumes: answer.list("volumeSet", ITEM, volume)?,
        next_token: answer.text("nextToken")?.filter(|token| !token.is_empty()),
    })
}

fn volume(item: &Element) -> Result<Ec2Volume, AnswerError> {
    let attachment = |item: &Element| {
        Ok(Ec2Attachment { instance: item.text("instanceId")?, device: item.text("device")? })
    };
    Ok(Ec2Volume {
        id: item.text("volumeId")?,
        encrypted: item.flag("encrypted")?,
        key: item.text("kmsKeyId")?,
        attachments: item.inner_list("attachmentSet", ITEM, attachment)?,
    })
}

pub(super) fn subnets(answer: &Element) -> Result<Vec<Ec2Subnet>, AnswerError> {
    let subnet =
        |item: &Element| Ok(Ec2Subnet { id: item.text("subnetId")?, vpc: item.text("vpcId")? });
    answer.list("subnetSet", ITEM, subnet)
}

pub(super) fn regions(answer: &Element) -> Result<Vec<Option<String>>, AnswerError> {
    answer.list("regionInfo", ITEM, |item: &Element| item.text("regionName"))
}

pub(super) fn vpcs(answer: &Element) -> Result<Vec<Ec2Vpc>, AnswerError> {
    let vpc = |item: &Element| {
        Ok(Ec2Vpc {
            id: item.text("vpcId")?,
            cidr: item.text("cidrBlock")?,
            dhcp_options: item.text("dhcpOptionsId")?,
        })
    };
    answer.list("vpcSet", ITEM, vpc)
}

pub(super) fn vpc_attribute(
    answer: &Element,
    attribute: VpcAttribute,
) -> Result<Option<bool>, AnswerError> {
    answer.child(attribute.name())?.map_or(Ok(None), |attribute| attribute.flag("value"))
}

pub(super) fn dhcp_options(answer: &Element) -> Result<Vec<Ec2DhcpOptions>, AnswerError> {
    let value = |item: &Element| item.text("value")?.ok_or(AnswerError::Missing("value"));
    let option = |item: &Element| {
        Ok(Ec2DhcpOption {
            key: item.text("key")?.ok_or(AnswerError::Missing("key"))?,
            values: item.inner_list("valueSet", ITEM, value)?,
        })
    };
    let set = |item: &Element| {
        Ok(Ec2DhcpOptions {
            id: item.text("dhcpOptionsId")?,
            options: item.inner_list("dhcpConfigurationSet", ITEM, option)?,
        })
    };
    answer.list("dhcpOptionsSet", ITEM, set)
}

pub(super) fn ebs_encryption_by_default(answer: &Element) -> Result<Option<bool>, AnswerError> {
    answer.flag("ebsEncryptionByDefault")
}
