//! The EC2 client: seven read calls over EC2's variant of the Query protocol. `tests/recorded.json`
//! holds what the SDK's client, which it has replaced, sent and read.

pub(crate) mod answers;
#[cfg(test)]
mod tests;

use aws_types::SdkConfig;

use crate::{
    aws::{
        log::CallLog,
        patience::Patience,
        query_protocol::{Called, Form, QueryClient, QueryService, ServiceHosts},
    },
    base::aws_calls::{self, Call},
};
use answers::{Ec2DhcpOptions, Ec2Subnet, Ec2Volume, Ec2Vpc, VpcAttribute};

/// How EC2 is called.
pub(super) static EC2: QueryService = QueryService {
    id: "EC2",
    name: "ec2",
    prefix: "ec2",
    hosts: ServiceHosts::Regional { has_gov_fips_prefix: true },
    version: "2016-11-15",
};

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct Ec2(QueryClient);

impl Ec2 {
    /// A client for the region of `base`; `calls` records its requests. `configured` is the
    /// endpoint from the environment or the profile.
    pub(super) fn new(base: &SdkConfig, configured: Option<String>, calls: &CallLog) -> Self {
        Self(QueryClient::new(&EC2, base, configured, calls))
    }

    /// A copy of the client that waits while AWS throttles.
    pub(super) fn patient(&self, patience: &Patience) -> Self {
        Self(self.0.patient(patience))
    }

    /// Every volume attached to one of `instances`; one call takes 200 instances.
    pub(crate) async fn volumes_attached_to(&self, instances: &[String]) -> Called<Vec<Ec2Volume>> {
        let mut form = form(&aws_calls::DESCRIBE_VOLUMES);
        form.add("Filter.1.Name", "attachment.instance-id");
        for (index, instance) in instances.iter().enumerate() {
            form.add(&format!("Filter.1.Value.{}", index + 1), instance);
        }
        let pages = self.0.pages(form, |answer| {
            let page = answers::volume_page(answer)?;
            Ok((page.volumes, page.next_token))
        });
        pages.await
    }

    /// The subnet of this id.
    pub(crate) async fn subnets(&self, id: &str) -> Called<Vec<Ec2Subnet>> {
        let form = form(&aws_calls::DESCRIBE_SUBNETS).with("SubnetId.1", id);
        self.0.call(form, answers::subnets).await
    }

    /// The VPC of this id.
    pub(crate) async fn vpcs(&self, id: &str) -> Called<Vec<Ec2Vpc>> {
        let form = form(&aws_calls::DESCRIBE_VPCS).with("VpcId.1", id);
        self.0.call(form, answers::vpcs).await
    }

    /// An attribute of a VPC; none if the answer lacks it.
    pub(crate) async fn vpc_attribute(
        &self,
        vpc: &str,
        attribute: VpcAttribute,
    ) -> Called<Option<bool>> {
        let form = form(&aws_calls::DESCRIBE_VPC_ATTRIBUTE)
            .with("Attribute", attribute.name())
            .with("VpcId", vpc);
        self.0.call(form, move |answer| answers::vpc_attribute(answer, attribute)).await
    }

    /// The DHCP option set with this id.
    pub(crate) async fn dhcp_options(&self, id: &str) -> Called<Vec<Ec2DhcpOptions>> {
        let form = form(&aws_calls::DESCRIBE_DHCP_OPTIONS).with("DhcpOptionsId.1", id);
        self.0.call(form, answers::dhcp_options).await
    }

    /// Whether the account encrypts new volumes in the region; none if the answer lacks it.
    pub(crate) async fn ebs_encryption_by_default(&self) -> Called<Option<bool>> {
        let form = form(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT);
        self.0.call(form, answers::ebs_encryption_by_default).await
    }

    /// The names of the regions that are enabled for the account.
    pub(crate) async fn enabled_regions(&self) -> Called<Vec<Option<String>>> {
        self.0.call(form(&aws_calls::DESCRIBE_REGIONS), answers::regions).await
    }
}

fn form(call: &Call) -> Form {
    Form::of(&EC2, call)
}
