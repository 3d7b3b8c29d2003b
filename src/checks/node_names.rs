//! The names that nodes get from their network, and whether the names in the certificates for
//! traffic between nodes cover them.
//!
//! A wildcard matches one label: `*.acme.internal` covers `ip-10-0-0-1.acme.internal`, and no name
//! below `eu.acme.internal`. Source: RFC 6125, section 6.4.3.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    base::{aws_calls, lookup::Lookup},
    checks::{
        case::Case,
        finding::{Check, Level, Stage},
    },
};

pub(super) static VPC_DHCP: Check = Check {
    name: "vpc-dhcp",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "In a domain that the certificates' names do not cover, the nodes refuse each other. A \
        domain of one's own is right where the certificates are made for it.",
    looks_at: "ec2:DescribeVpcs and DescribeDhcpOptions: domain-name against the names of the \
        certificates (those of the PEM archive, or those that EMR gives its own), and \
        domain-name-servers.",
    asks: &[&aws_calls::DESCRIBE_VPCS, &aws_calls::DESCRIBE_DHCP_OPTIONS],
    fix: "give {subject} DHCP options with the domain name wanted and AmazonProvidedDNS: `aws ec2 \
        associate-dhcp-options --vpc-id {subject} --dhcp-options-id \"$(aws ec2 \
        create-dhcp-options --dhcp-configurations Key=domain-name,Values={domain} \
        Key=domain-name-servers,Values=AmazonProvidedDNS --query DhcpOptions.DhcpOptionsId \
        --output text)\"`; or make the certificates for the VPC's own domain (WildcardDnsSuffix, \
        where EMR makes them)",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit; \
        Amazon VPC user guide, DHCP option sets; Amazon DNS server",
};

/// The name of the VPC's own resolver in DHCP options.
const AMAZON_PROVIDED: &str = "AmazonProvidedDNS";
/// The link-local addresses of that resolver. Source: Amazon VPC user guide, Amazon DNS server.
const RESOLVER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253)),
];

/// The default domain of instances in a region.
pub(crate) fn regional_domain(region: &str) -> String {
    if region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{region}.compute.internal")
    }
}

/// Whether two domains are the same. Case and a final dot do not matter.
pub(super) fn is_same_domain(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

/// Whether one of a certificate's names covers every host directly below `domain`.
pub(crate) fn covers(names: &[String], domain: &str) -> bool {
    names
        .iter()
        .filter_map(|name| name.strip_prefix("*."))
        .any(|suffix| is_same_domain(suffix, domain))
}

/// The DHCP options of a VPC.
pub(crate) type DhcpOptions = BTreeMap<String, BTreeSet<String>>;

/// The values of one DHCP option.
pub(crate) fn values<'a>(options: &'a DhcpOptions, key: &str) -> Vec<&'a str> {
    options.get(key).into_iter().flatten().map(String::as_str).collect()
}

/// The domain in the DHCP options; none if they have no domain, or several.
pub(crate) fn dhcp_domain(options: &DhcpOptions) -> Option<&str> {
    match values(options, "domain-name").as_slice() {
        [domain] => Some(domain),
        _ => None,
    }
}

/// Whether `server` is AWS's resolver for a VPC whose primary IPv4 block is `cidr`, by its name or
/// by one of its addresses.
pub(super) fn is_amazon_resolver(server: &str, cidr: Option<&str>) -> bool {
    server == AMAZON_PROVIDED
        || server.parse::<IpAddr>().is_ok_and(|address| {
            RESOLVER.contains(&address)
                || cidr.and_then(resolver_within).is_some_and(|within| address == within)
        })
}

/// The resolver's address within a VPC: the base of its primary IPv4 block plus two.
fn resolver_within(cidr: &str) -> Option<Ipv4Addr> {
    let (base, length) = cidr.split_once('/')?;
    let length = length.parse::<u32>().ok().filter(|length| *length <= 30)?;
    let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some(Ipv4Addr::from((base & mask) + 2))
}

/// The names in the certificates, as far as they are known before a launch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CertificateNames {
    /// All of them.
    Known(Vec<String>),
    /// A class of the user creates the certificates on the nodes. They cannot be read before.
    MadeBy(String),
    /// The security configuration is unknown.
    NoConfiguration,
    /// The security configuration names no usable provider of certificates.
    NoProvider,
    /// The certificate archive was not read.
    NoArchive,
}

/// The names in the certificates that the security configuration's provider gives to nodes.
pub(super) fn certificate_names(case: &Case<'_>) -> CertificateNames {
    use CertificateNames::{Known, MadeBy, NoArchive, NoConfiguration, NoProvider};
    let Some(found) = case.facts.security_configuration.as_ref().and_then(Lookup::found) else {
        return NoConfiguration;
    };
    let Some(tls) = found.content.tls.as_ref().filter(|_| found.content.in_transit_enabled) else {
        return NoProvider;
    };
    match tls.provider.as_str() {
        // Without its object, the provider cannot give any certificate.
        "PEM" | "Custom" if tls.s3_object.is_none() => NoProvider,
        "PEM" => match case.facts.certificates.as_ref().and_then(Lookup::found) {
            Some(Ok(material)) => Known(material.names().to_vec()),
            _ => NoArchive,
        },
        // The region's own domain is always among the names. Source: Amazon EMR management guide,
        // Create a security configuration, WildcardDnsSuffix.
        "EMR" => {
            let region = regional_domain(&case.cluster.region.value);
            let domains = [Some(region), tls.wildcard_dns_suffix.clone()];
            Known(domains.into_iter().flatten().map(|domain| format!("*.{domain}")).collect())
        }
        "Custom" => tls.provider_class.clone().map_or(NoProvider, MadeBy),
        _ => NoProvider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_of_a_vpc_is_known_by_its_name_and_by_its_addresses() {
        let cidr = Some("10.20.0.0/16");
        for server in [
            "AmazonProvidedDNS",
            "169.254.169.253",
            "fd00:ec2::253",
            "fd00:0ec2:0:0:0:0:0:0253",
            "10.20.0.2",
        ] {
            assert!(is_amazon_resolver(server, cidr), "{server}");
        }
        for server in ["10.20.0.3", "10.21.0.2", "8.8.8.8", "169.254.169.254", "", "resolver"] {
            assert!(!is_amazon_resolver(server, cidr), "{server}");
        }
        // The third address of the block, even if the block's address is not its base.
        assert!(is_amazon_resolver("10.0.4.2", Some("10.0.4.7/28")));
        assert!(is_amazon_resolver("10.0.4.18", Some("10.0.4.16/28")));
        for cidr in [None, Some("10.20.0.0"), Some("10.20.0.0/33"), Some("x/16"), Some("")] {
            assert!(!is_amazon_resolver("10.20.0.2", cidr), "{cidr:?}");
            assert!(is_amazon_resolver("169.254.169.253", cidr), "{cidr:?}");
        }
    }

    #[test]
    fn a_wildcard_covers_the_hosts_of_one_domain_and_no_deeper() {
        let names = ["*.acme.internal".to_owned(), "host.other.internal".to_owned()];
        for domain in ["acme.internal", "ACME.Internal", "acme.internal."] {
            assert!(covers(&names, domain), "{domain}");
        }
        for domain in ["eu.acme.internal", "internal", "other.internal", "xacme.internal", ""] {
            assert!(!covers(&names, domain), "{domain}");
        }
    }

    #[test]
    fn dhcp_options_name_one_domain_or_none() {
        let options = |domains: &[&str]| -> DhcpOptions {
            let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
            BTreeMap::from([("domain-name".to_owned(), domains)])
        };
        assert_eq!(dhcp_domain(&options(&["a.internal"])), Some("a.internal"));
        assert_eq!(dhcp_domain(&options(&["a.internal", "b.internal"])), None);
        assert_eq!(dhcp_domain(&options(&[])), None);
        assert_eq!(dhcp_domain(&DhcpOptions::new()), None);
    }
}
