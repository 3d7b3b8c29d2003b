//! The cluster's network as CloudFormation resources.

use serde_json::json;

use crate::setup::network_code::{AMAZON_PROVIDED_DNS, is_number};

use super::{
    CloudFormationCode,
    yaml::{TemplateEntry, TemplateNode},
};

impl CloudFormationCode<'_> {
    /// The DHCP options, and their association with the VPC.
    pub(super) fn network_resources(&self) -> Vec<TemplateEntry> {
        let Some(network) = self.context.network else { return Vec::new() };
        let Some(dhcp) = &network.dhcp else { return Vec::new() };
        let list =
            |values: &[String]| TemplateNode::List(values.iter().map(TemplateNode::text).collect());
        let mut properties = vec![
            TemplateEntry::new("DomainName", TemplateNode::text(&dhcp.domain)),
            TemplateEntry::new("DomainNameServers", list(&[AMAZON_PROVIDED_DNS.to_owned()])),
        ];
        for (key, values) in &dhcp.kept {
            let value = match values.first() {
                Some(number) if is_number(key) => TemplateNode::Raw(number.clone()),
                _ => list(values),
            };
            properties.push(TemplateEntry::new(property(key), value));
        }
        let reasons = dhcp.reasons.iter().map(ToString::to_string).collect();
        let metadata = json!({ "EmrEtlGuard": {
            "Checks": ["vpc-dhcp"], "Sources": ["Amazon VPC user guide, DHCP option sets"],
        } });
        let association = vec![
            TemplateEntry::new("DhcpOptionsId", TemplateNode::reference("DhcpOptions")),
            TemplateEntry::new("VpcId", TemplateNode::text(&network.vpc)),
        ];
        let kind = "AWS::EC2::VPCDHCPOptionsAssociation";
        let comment = vec!["The options take effect in the VPC.".to_owned()];
        vec![
            self.entry(
                "DhcpOptions".to_owned(),
                "AWS::EC2::DHCPOptions",
                true,
                reasons,
                Some(&metadata),
                properties,
            ),
            self.entry("DhcpOptionsOfVpc".to_owned(), kind, true, comment, None, association),
        ]
    }

    /// What the template says of the network in its first comment.
    pub(super) fn network_lines(&self) -> Vec<String> {
        let Some(network) = self.context.network else { return Vec::new() };
        let mut lines = Vec::new();
        if !network.turned_on.is_empty() {
            lines.push(String::new());
            lines.push(
                "By hand (vpc-dns): CloudFormation cannot adopt the attributes of a VPC that it did \
                 not make. These commands turn them on:"
                    .to_owned(),
            );
            lines.extend(network.turned_on.iter().map(|attribute| {
                format!("  {}", attribute.command(&network.vpc, self.context.region))
            }));
        }
        lines.push(String::new());
        lines.push(
            "The network of the cluster's subnet, which `setup --apply` never changes:".into(),
        );
        lines.push(match network.dhcp_warning() {
            Some(line) => format!("- {line}."),
            None => "- Nothing of it is changed here.".to_owned(),
        });
        lines.extend(network.left_out.iter().map(|line| format!("- {line}")));
        lines
    }
}

/// The property of an option: `ntp-servers` is `NtpServers`.
fn property(key: &str) -> String {
    super::words(key)
}
