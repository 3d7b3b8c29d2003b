//! The cluster's network as Terraform resources.

use crate::setup::network_code::{AMAZON_PROVIDED_DNS, DnsAttribute, NetworkCode, is_number};

use super::{
    TerraformCode,
    printer::{HclBody, HclExpression},
    resources::with_lifecycle,
};

/// The label of the VPC and of its DHCP options.
const NETWORK_LABEL: &str = "emr";
/// The resources that the code can have.
const KINDS: [&str; 3] = ["aws_vpc", "aws_vpc_dhcp_options", "aws_vpc_dhcp_options_association"];
/// What is not managed of a VPC that is imported.
const UNMANAGED: [&str; 12] = [
    "assign_generated_ipv6_cidr_block",
    "cidr_block",
    "enable_network_address_usage_metrics",
    "instance_tenancy",
    "ipv4_ipam_pool_id",
    "ipv4_netmask_length",
    "ipv6_cidr_block",
    "ipv6_cidr_block_network_border_group",
    "ipv6_ipam_pool_id",
    "ipv6_netmask_length",
    "tags",
    "tags_all",
];

impl TerraformCode<'_> {
    /// The file of the network.
    pub(super) fn network(&self) -> HclBody {
        let mut file = HclBody::default();
        file.comment("The network of the cluster's subnet. `setup --apply` never changes it.");
        let Some(network) = self.context.network else {
            file.blank().comment("It was not asked for: `--network` adds what checks find wrong.");
            return file;
        };
        if network.is_empty() {
            file.blank().comment("Nothing of it is changed here.");
        }
        for line in &network.left_out {
            file.blank().comment(line);
        }
        if !network.turned_on.is_empty() {
            vpc(network, &mut file);
        }
        dhcp(network, &mut file);
        file
    }

    /// The addresses of what the code manages of the network, and of what it can manage.
    pub(super) fn network_addresses(&self) -> [Vec<String>; 2] {
        let address = |kind: &str| format!("{kind}.{NETWORK_LABEL}");
        let all: Vec<String> = KINDS.iter().map(|kind| address(kind)).collect();
        let is_managed = |network: &NetworkCode, address: &str| {
            if address.starts_with("aws_vpc.") {
                !network.turned_on.is_empty()
            } else {
                network.dhcp.is_some()
            }
        };
        let managed = all.iter().filter(|address| {
            self.context.network.is_some_and(|network| is_managed(network, address))
        });
        [managed.cloned().collect(), all]
    }

    /// The VPC's address and id, if it is imported.
    pub(super) fn network_import(&self) -> Option<(String, String)> {
        let network = self.context.network.filter(|network| !network.turned_on.is_empty())?;
        Some((format!("aws_vpc.{NETWORK_LABEL}"), network.vpc.clone()))
    }
}

fn vpc(network: &NetworkCode, file: &mut HclBody) {
    let what: Vec<&str> = network.turned_on.iter().map(|it| it.what()).collect();
    file.blank().comment(&format!(
        "The VPC: {} turned on. Asked for by vpc-dns. Source: Amazon VPC user guide, DNS \
         attributes for your VPC.",
        what.join(" and ")
    ));
    file.comment(
        "It exists, and is imported: from then on Terraform's state has the whole VPC. Nothing but \
         the arguments below is changed, as long as `ignore_changes` names all others; \
         `prevent_destroy` keeps it. Import it only if no other code of Terraform's manages it: \
         else set these arguments there, and remove it here and in imports.tf.",
    );
    let mut body = HclBody::default();
    let mut unmanaged: Vec<&str> = UNMANAGED.to_vec();
    for attribute in [DnsAttribute::Support, DnsAttribute::Hostnames] {
        if network.turned_on.contains(&attribute) {
            body.attribute(attribute.argument(), HclExpression::raw("true"));
        } else {
            unmanaged.push(attribute.argument());
        }
    }
    unmanaged.sort_unstable();
    let body = with_lifecycle(body, &unmanaged, true);
    file.block(format!("resource \"aws_vpc\" \"{NETWORK_LABEL}\""), body);
}

fn dhcp(network: &NetworkCode, file: &mut HclBody) {
    let Some(dhcp) = &network.dhcp else { return };
    file.blank();
    for line in &dhcp.reasons {
        file.comment(line);
    }
    let mut body = HclBody::default();
    body.attribute("domain_name", HclExpression::text(&dhcp.domain));
    let servers = HclExpression::List(vec![HclExpression::text(AMAZON_PROVIDED_DNS)]);
    body.attribute("domain_name_servers", servers);
    for (key, values) in &dhcp.kept {
        let mut values = values.iter().map(HclExpression::text);
        let value = if is_number(key) {
            values.next().unwrap_or_else(|| HclExpression::text(""))
        } else {
            HclExpression::List(values.collect())
        };
        body.attribute(&key.replace('-', "_"), value);
    }
    file.block(
        format!("resource \"aws_vpc_dhcp_options\" \"{NETWORK_LABEL}\""),
        with_lifecycle(body, &[], true),
    );
    let mut body = HclBody::default();
    body.attribute("vpc_id", HclExpression::text(&network.vpc));
    let options = HclExpression::raw(format!("aws_vpc_dhcp_options.{NETWORK_LABEL}.id"));
    body.attribute("dhcp_options_id", options);
    file.blank().comment(
        "Without this resource, the VPC would get EC2's default options: what was there before \
         does not come back by itself.",
    );
    file.block(
        format!("resource \"aws_vpc_dhcp_options_association\" \"{NETWORK_LABEL}\""),
        with_lifecycle(body, &[], true),
    );
}
