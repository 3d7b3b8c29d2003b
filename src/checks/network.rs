//! Checks on the cluster's EMR release, which must support what is required, and on its subnet.

use std::net::Ipv4Addr;

use crate::{
    base::{aws_calls, lookup::Lookup, names::ReleaseLabel},
    checks::{
        case::Case,
        certificates,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        node_names::{self, CertificateNames, DhcpOptions, VPC_DHCP},
        release_lifecycle,
        release_support::{FIRST_WITH_SECURITY_CONFIGURATIONS, needed},
        security_configuration,
    },
    facts::ec2::NetworkFacts,
    settings::policy::Protection,
};

pub(super) static RELEASE: Check = Check {
    name: "release-supports-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An EMR release older than a feature of the security configuration ignores it or does \
        not start.",
    looks_at: "aws.emr.ami_version, against what the security configuration uses.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "raise aws.emr.ami_version to the release named",
    source: "Amazon EMR release guide: security configurations 4.8.0, EBS encryption 5.24.0, \
        EMR-managed certificates 7.11.0",
};

pub(super) static SUBNET: Check = Check {
    name: "subnet-set",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Encryption in transit needs a VPC: the certificates are made for names such as \
        *.ec2.internal.",
    looks_at: "aws.emr.ec2_subnet_id.",
    asks: &[],
    fix: "set aws.emr.ec2_subnet_id to a subnet of the VPC",
    source: "Amazon EMR management guide, Encryption in transit; setup guide, Setting up end to \
        end encryption",
};

pub(super) static SUBNET_EXISTS: Check = Check {
    name: "subnet-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A subnet that does not exist fails the run after minutes; which network it lies in \
        decides whether encryption in transit can work.",
    looks_at: "ec2:DescribeSubnets on aws.emr.ec2_subnet_id.",
    asks: &[&aws_calls::DESCRIBE_SUBNETS],
    fix: "name a subnet of aws.emr.region; list them with: `aws ec2 describe-subnets --query \
        'Subnets[].[SubnetId,VpcId]'`",
    source: "Amazon EC2 API reference, DescribeSubnets",
};

pub(super) static VPC_DNS: Check = Check {
    name: "vpc-dns",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Nodes find and verify each other by the names that the certificates are made for; a VPC \
        without DNS support or host names gives them none.",
    looks_at: "ec2:DescribeVpcAttribute: enableDnsSupport and enableDnsHostnames.",
    asks: &[&aws_calls::DESCRIBE_VPC_ATTRIBUTE],
    fix: "turn both on: `aws ec2 modify-vpc-attribute --vpc-id {subject} --enable-dns-support \
        '{\"Value\":true}'`, then `aws ec2 modify-vpc-attribute --vpc-id {subject} \
        --enable-dns-hostnames '{\"Value\":true}'`",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit; \
        Amazon VPC user guide, DNS attributes for your VPC",
};

pub(super) static INSTANCE_TYPES: Check = Check {
    name: "instance-types",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Instances of the Nitro System encrypt their local NVMe disks in hardware, and many \
        encrypt the traffic between them; older ones do neither by themselves.",
    looks_at: "The instance types below aws.emr.jobflow, against the families from before the \
        Nitro System.",
    asks: &[],
    fix: "use a current family in place of {subject}, such as m5 or r5",
    source: "Amazon EC2 user guide, Instances built on the AWS Nitro System; Data protection in \
        Amazon EC2 (encryption in transit)",
};

pub(super) static EBS_BY_DEFAULT: Check = Check {
    name: "ebs-encryption-by-default",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "LUKS leaves the root volumes as they are: without EnableEbsEncryption only the \
        account's own default encrypts them, with whatever a step leaves in /tmp.",
    looks_at: "ec2:GetEbsEncryptionByDefault in the cluster's region, where the security \
        configuration does not encrypt EBS volumes itself.",
    asks: &[&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT],
    fix: "`aws ec2 enable-ebs-encryption-by-default`, or a new security configuration with \
        EnableEbsEncryption (EMR 5.24.0 and later)",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption; Amazon EBS \
        user guide, Enable encryption by default",
};

/// Instance families that are older than the Nitro System. A family that is not listed is not
/// judged.
const BEFORE_NITRO: [&str; 26] = [
    "m1", "m2", "m3", "m4", "c1", "c3", "c4", "cc2", "cg1", "cr1", "d2", "f1", "g2", "g3", "h1",
    "hi1", "hs1", "i2", "p2", "p3", "r3", "r4", "t1", "t2", "x1", "x1e",
];

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    findings.push(release(case));
    findings.push(release_lifecycle::supported(case));

    let subnet = case.cluster.subnet.as_ref();
    let subject =
        SUBNET.on("aws.emr.ec2_subnet_id", "a subnet").at(subnet.map(|subnet| subnet.at.as_str()));
    findings.push(if case.policy.requires(Protection::InTransit) {
        match subnet {
            Some(subnet) if !subnet.value.trim().is_empty() => subject.passed(subnet.value.clone()),
            _ => subject.failed("blank"),
        }
    } else {
        subject.not_applicable("encryption in transit is not required by policy")
    });
    vpc(case, findings);
    findings.push(ebs_by_default(case));
    instance_types(case, findings);
}

fn vpc(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let at = case.cluster.subnet.as_ref().map(|subnet| subnet.at.as_str());
    let Some(network) = &case.facts.network else {
        for check in [&SUBNET_EXISTS, &VPC_DNS, &VPC_DHCP] {
            let subject = check.on("aws.emr.ec2_subnet_id", "a subnet").at(at);
            findings.push(if case.policy.requires(Protection::InTransit) {
                subject.waiting_for(&SUBNET)
            } else {
                subject.not_applicable("no subnet is set")
            });
        }
        return;
    };
    let subnet = case.cluster.subnet.as_ref().map_or("", |subnet| subnet.value.as_str());
    findings.push(SUBNET_EXISTS.on(subnet, "the subnet").at(at).by(
        &network.vpc,
        "no such subnet",
        |subject, vpc| subject.passed(format!("in {vpc}")),
    ));
    let vpc = network.vpc.found().map_or(subnet, String::as_str);
    let domain = node_names::regional_domain(&case.cluster.region.value);
    let dns = VPC_DNS.on(vpc, "DNS support and DNS host names").at(at);
    let dhcp = VPC_DHCP
        .on(vpc, format!("domain-name {domain}, domain-name-servers AmazonProvidedDNS"))
        .at(at);
    if !case.policy.requires(Protection::InTransit) {
        let why = "encryption in transit is not required by policy";
        findings.extend([dns.not_applicable(why), dhcp.not_applicable(why)]);
        return;
    }
    if network.vpc.found().is_none() {
        findings.extend([dns.waiting_for(&SUBNET_EXISTS), dhcp.waiting_for(&SUBNET_EXISTS)]);
        return;
    }
    findings.push(dns.by(&network.dns_support, "no such VPC", |subject, support| {
        subject.by(&network.dns_hostnames, "no such VPC", |subject, names| {
            let shown = |on: bool| if on { "on" } else { "off" };
            subject.decided(
                *support && *names,
                format!("DNS support {}, DNS host names {}", shown(*support), shown(*names)),
            )
        })
    }));
    let dhcp = dhcp.by(&network.dhcp, "no such DHCP options", |subject, options| {
        by_options(case, network, subject, options)
    });
    findings.push(dhcp.with_value("domain", &domain));
}

/// Whether the VPC's resolver gives nodes names that their certificates cover.
fn by_options(
    case: &Case<'_>,
    network: &NetworkFacts,
    subject: CheckSubject,
    options: &DhcpOptions,
) -> Finding {
    let shown =
        |values: &[&str]| if values.is_empty() { "none".to_owned() } else { values.join(" ") };
    let domains = node_names::values(options, "domain-name");
    let servers = node_names::values(options, "domain-name-servers");
    let saw = format!("domain-name {}, domain-name-servers {}", shown(&domains), shown(&servers));
    let cidr = network.cidr.found().map(String::as_str);
    if !servers.iter().any(|server| node_names::is_amazon_resolver(server, cidr)) {
        // One of the addresses may be the resolver's, but the VPC's address block is unknown.
        let may_be = servers.iter().any(|server| server.parse::<Ipv4Addr>().is_ok());
        return match &network.cidr {
            Lookup::Denied(obstacle) if may_be => subject.denied(obstacle),
            Lookup::Unreachable(obstacle) if may_be => subject.unreachable(obstacle),
            _ => subject.failed(saw),
        };
    }
    let regional = node_names::regional_domain(&case.cluster.region.value);
    let Some(domain) = node_names::dhcp_domain(options) else { return subject.failed(saw) };
    if node_names::is_same_domain(domain, &regional) {
        return subject.passed(saw);
    }
    match node_names::certificate_names(case) {
        CertificateNames::Known(names) if node_names::covers(&names, domain) => {
            subject.passed(format!("{saw}; the certificates are for {}", names.join(", ")))
        }
        // If the certificate is neither for this domain nor for the region's, the certificate must
        // be fixed.
        CertificateNames::Known(names) if !node_names::covers(&names, &regional) => {
            subject.waiting_for(&certificates::NAMES)
        }
        CertificateNames::Known(names) => {
            subject.failed(format!("{saw}; the certificates are for {}", names.join(", ")))
        }
        CertificateNames::MadeBy(class) => subject.unknown(
            format!("{saw}; the names of the certificates that {class} makes cannot be read"),
            format!(
                "look whether {class} makes them for *.{domain}; if so, say that in an exception \
                 for vpc-dhcp in the settings"
            ),
        ),
        CertificateNames::NoConfiguration => subject.waiting_for(&security_configuration::EXISTS),
        CertificateNames::NoProvider => subject.waiting_for(&security_configuration::IN_TRANSIT),
        CertificateNames::NoArchive => subject.waiting_for(&certificates::OBJECT),
    }
}

fn ebs_by_default(case: &Case<'_>) -> Finding {
    let subject = EBS_BY_DEFAULT.on(case.cluster.region.value.as_str(), "on");
    let content = case
        .facts
        .security_configuration
        .as_ref()
        .and_then(|lookup| lookup.found())
        .map(|found| &found.content);
    if content.and_then(|content| content.local_disk.as_ref()).is_some_and(|disk| disk.ebs) {
        return subject.not_applicable("the security configuration encrypts EBS volumes itself");
    }
    subject.by(&case.facts.ebs_by_default, "no answer", |subject, on| {
        subject.decided(*on, if *on { "on" } else { "off" })
    })
}

fn instance_types(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let mut seen = std::collections::BTreeSet::new();
    for kind in case.cluster.instance_types.iter().filter(|kind| seen.insert(&kind.value)) {
        let family = kind.value.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let subject = INSTANCE_TYPES
            .on(kind.value.as_str(), "a family of the Nitro System")
            .at(Some(&kind.at));
        findings.push(if BEFORE_NITRO.contains(&family.as_str()) {
            subject.failed(format!("{family}, a family from before it"))
        } else {
            subject.passed(format!("{family}, no family from before it"))
        });
    }
}

/// The minimum release depends on the features in the security configuration.
fn release(case: &Case<'_>) -> Finding {
    let release = &case.cluster.release;
    let decide = |first: ReleaseLabel, feature: &str| {
        let subject = RELEASE
            .on("aws.emr.ami_version", format!("{first} or later, for {feature}"))
            .at(Some(&release.at));
        subject.decided(release.value >= first, release.value.to_string())
    };
    match &case.facts.security_configuration {
        // A release that supports no security configuration at all is too old, whatever the
        // configuration contains.
        Some(lookup) if release.value >= FIRST_WITH_SECURITY_CONFIGURATIONS => {
            let subject = RELEASE
                .on("aws.emr.ami_version", "the release that the security configuration needs")
                .at(Some(&release.at));
            subject.after(&security_configuration::EXISTS, lookup, |_, found| {
                let (first, feature) = needed(&found.content);
                decide(first, feature)
            })
        }
        _ => decide(FIRST_WITH_SECURITY_CONFIGURATIONS, "security configurations"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        checks::{
            finding::Status::{self, Failed, Passed, Unknown},
            properties::World,
        },
        facts::emr::Tls,
    };

    const REGIONAL: &str = "eu-west-1.compute.internal";

    /// A correct world whose VPC has this domain and resolver, and whose certificates have these
    /// names.
    fn world(domain: &str, server: &str, names: &[&str]) -> World {
        let mut world = World::new(false, false);
        let option = |key: &str, value: &str| (key.to_owned(), BTreeSet::from([value.to_owned()]));
        let options = [option("domain-name", domain), option("domain-name-servers", server)];
        let network = world.facts.network.as_mut().unwrap();
        network.dhcp = Lookup::Found(BTreeMap::from(options));
        let Some(Lookup::Found(Ok(material))) = &mut world.facts.certificates else {
            unreachable!()
        };
        material.chain[0].names = names.iter().map(|name| (*name).to_owned()).collect();
        world
    }

    /// The same with another provider of certificates.
    fn with_provider(mut world: World, tls: Option<Tls>) -> World {
        let Some(Lookup::Found(found)) = &mut world.facts.security_configuration else {
            unreachable!()
        };
        found.content.tls = tls;
        world.facts.certificates = None;
        world
    }

    /// The status of a check's only finding, and the check that it waits for.
    fn status(world: &World, check: &str) -> (Status, Option<&'static str>) {
        let findings = world.of_check(check);
        assert_eq!(findings.len(), 1, "{check}: {findings:?}");
        (findings[0].0, findings[0].2)
    }

    #[test]
    fn networks_a_domain_of_its_own_is_right_where_the_certificates_names_cover_it() {
        let own = "*.acme.internal";
        for (domain, names, dhcp, certificate) in [
            (REGIONAL, vec!["*.eu-west-1.compute.internal"], (Passed, None), (Passed, None)),
            ("acme.internal", vec![own], (Passed, None), (Passed, None)),
            ("Acme.Internal.", vec!["cluster", own], (Passed, None), (Passed, None)),
            // One cause, one message: the certificate is for the region's domain, so the options
            // are wrong.
            ("acme.internal", vec!["*.eu-west-1.compute.internal"], (Failed, None), (Passed, None)),
            (
                "acme.internal",
                vec![own, "*.eu-west-1.compute.internal"],
                (Passed, None),
                (Passed, None),
            ),
            // The certificate is for neither domain, so the certificate is wrong.
            (
                "acme.internal",
                vec!["*.other.internal"],
                (Unknown, Some("certificate-names")),
                (Failed, None),
            ),
            (REGIONAL, vec![own], (Passed, None), (Failed, None)),
            ("eu.acme.internal", vec![own], (Unknown, Some("certificate-names")), (Failed, None)),
        ] {
            let world = world(domain, "AmazonProvidedDNS", &names);
            assert_eq!(status(&world, "vpc-dhcp"), dhcp, "{domain} {names:?}");
            assert_eq!(status(&world, "certificate-names"), certificate, "{domain} {names:?}");
        }
    }

    #[test]
    fn networks_the_resolver_of_the_vpc_passes_by_name_and_by_address() {
        for (server, wanted) in [
            ("AmazonProvidedDNS", Passed),
            ("169.254.169.253", Passed),
            ("fd00:ec2::253", Passed),
            ("10.0.0.2", Passed),
            ("10.0.0.3", Failed),
            ("8.8.8.8", Failed),
        ] {
            let world = world(REGIONAL, server, &["*.eu-west-1.compute.internal"]);
            assert_eq!(status(&world, "vpc-dhcp"), (wanted, None), "{server}");
        }
        // Without the address block, it is unknown whose address this is.
        let mut world = world(REGIONAL, "10.0.0.2", &["*.eu-west-1.compute.internal"]);
        world.facts.network.as_mut().unwrap().cidr =
            Lookup::not_asked(&aws_calls::DESCRIBE_VPCS, "a test");
        assert_eq!(status(&world, "vpc-dhcp"), (Unknown, None));
    }

    #[test]
    fn networks_names_that_could_not_be_read_are_unknown_and_never_failed() {
        let own = || world("acme.internal", "AmazonProvidedDNS", &["*.acme.internal"]);
        let custom = Tls {
            s3_object: Some("s3://acme-etl/certs/provider.jar".to_owned()),
            provider_class: Some("com.acme.Certificates".to_owned()),
            ..Tls::for_tests("Custom")
        };
        let made = with_provider(own(), Some(custom.clone()));
        assert_eq!(status(&made, "vpc-dhcp"), (Unknown, None));
        assert!(made.of_check("vpc-dhcp")[0].1.contains("com.acme.Certificates"));
        // AWS requires the region's own domain, whoever creates the certificates.
        let regional = world(REGIONAL, "AmazonProvidedDNS", &[]);
        let regional = with_provider(regional, Some(custom));
        assert_eq!(status(&regional, "vpc-dhcp"), (Passed, None));

        let mut unread = own();
        unread.facts.certificates = Some(Lookup::not_asked(&aws_calls::GET_OBJECT, "a test"));
        assert_eq!(status(&unread, "vpc-dhcp"), (Unknown, Some("certificate-object")));
        let mut unseen = own();
        unseen.facts.security_configuration =
            Some(Lookup::not_asked(&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, "a test"));
        let waits = Some("security-configuration-exists");
        assert_eq!(status(&unseen, "vpc-dhcp"), (Unknown, waits));
        for tls in [None, Some(Tls::for_tests("Magic")), Some(Tls::for_tests("PEM"))] {
            let without = with_provider(own(), tls);
            assert_eq!(status(&without, "vpc-dhcp"), (Unknown, Some("in-transit")));
        }
        // The opposite case: the VPC's domain is unknown.
        let mut untold = own();
        untold.facts.network.as_mut().unwrap().dhcp =
            Lookup::not_asked(&aws_calls::DESCRIBE_DHCP_OPTIONS, "a test");
        assert_eq!(status(&untold, "certificate-names"), (Unknown, Some("vpc-dhcp")));
    }

    #[test]
    fn networks_emrs_own_certificates_are_for_the_region_and_for_the_suffix() {
        let suffix = |suffix: &str| {
            Some(Tls { wildcard_dns_suffix: Some(suffix.to_owned()), ..Tls::for_tests("EMR") })
        };
        for (domain, tls, wanted) in [
            (REGIONAL, Some(Tls::for_tests("EMR")), Passed),
            (REGIONAL, suffix("acme.internal"), Passed),
            ("acme.internal", suffix("acme.internal"), Passed),
            ("acme.internal", suffix("other.internal"), Failed),
            ("acme.internal", Some(Tls::for_tests("EMR")), Failed),
        ] {
            let world = with_provider(world(domain, "AmazonProvidedDNS", &[]), tls.clone());
            assert_eq!(status(&world, "vpc-dhcp"), (wanted, None), "{domain} {tls:?}");
        }
    }
}
