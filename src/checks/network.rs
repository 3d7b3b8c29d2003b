//! Checks on what the cluster will be: an EMR release that can do what is required, in a subnet.

use crate::{
    base::{aws_calls, names::ReleaseLabel},
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
        release_support::{FIRST_WITH_SECURITY_CONFIGURATIONS, needed},
        security_configuration,
    },
    settings::policy::Protection,
};

pub(super) static RELEASE: Check = Check {
    name: "release-supports-encryption",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An EMR release older than a feature of the security configuration ignores it or does not start.",
    looks_at: "aws.emr.ami_version, against what the security configuration uses.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION],
    fix: "raise aws.emr.ami_version to the release named",
    source: "Amazon EMR release guide: security configurations 4.8.0, EBS encryption 5.24.0, EMR-managed certificates 7.11.0",
};

pub(super) static SUBNET: Check = Check {
    name: "subnet-set",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Encryption in transit needs a VPC: the certificates are made for names such as *.ec2.internal.",
    looks_at: "aws.emr.ec2_subnet_id.",
    asks: &[],
    fix: "set aws.emr.ec2_subnet_id to a subnet of the VPC",
    source: "Amazon EMR management guide, Encryption in transit; setup guide, Setting up end to end encryption",
};

pub(super) static SUBNET_EXISTS: Check = Check {
    name: "subnet-exists",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A subnet that does not exist fails the run after minutes; which network it lies in decides whether encryption in transit can work.",
    looks_at: "ec2:DescribeSubnets on aws.emr.ec2_subnet_id.",
    asks: &[&aws_calls::DESCRIBE_SUBNETS],
    fix: "name a subnet of aws.emr.region; list them with: aws ec2 describe-subnets --query 'Subnets[].[SubnetId,VpcId]'",
    source: "Amazon EC2 API reference, DescribeSubnets",
};

pub(super) static VPC_DNS: Check = Check {
    name: "vpc-dns",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Nodes find and verify each other by the names that the certificates are made for; a VPC without DNS support or host names gives them none.",
    looks_at: "ec2:DescribeVpcAttribute: enableDnsSupport and enableDnsHostnames.",
    asks: &[&aws_calls::DESCRIBE_VPC_ATTRIBUTE],
    fix: "aws ec2 modify-vpc-attribute --vpc-id {subject} --enable-dns-hostnames (and --enable-dns-support)",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit; Amazon VPC user guide, DNS attributes for your VPC",
};

pub(super) static VPC_DHCP: Check = Check {
    name: "vpc-dhcp",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "With another domain name the nodes' names do not fit the certificates' wildcard, and they refuse each other.",
    looks_at: "ec2:DescribeVpcs and DescribeDhcpOptions: domain-name and domain-name-servers.",
    asks: &[&aws_calls::DESCRIBE_VPCS, &aws_calls::DESCRIBE_DHCP_OPTIONS],
    fix: "give {subject} DHCP options with the domain name wanted and AmazonProvidedDNS: aws ec2 create-dhcp-options, then associate-dhcp-options",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit; Amazon VPC user guide, DHCP option sets",
};

pub(super) static INSTANCE_TYPES: Check = Check {
    name: "instance-types",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Instances of the Nitro System encrypt their local NVMe disks in hardware, and many encrypt the traffic between them; older ones do neither by themselves.",
    looks_at: "The instance types below aws.emr.jobflow, against the families from before the Nitro System.",
    asks: &[],
    fix: "use a current family in place of {subject}, such as m5 or r5",
    source: "Amazon EC2 user guide, Instances built on the AWS Nitro System; Data protection in Amazon EC2 (encryption in transit)",
};

pub(super) static EBS_BY_DEFAULT: Check = Check {
    name: "ebs-encryption-by-default",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "LUKS leaves the root volumes as they are: without EnableEbsEncryption only the account's own default encrypts them, with whatever a step leaves in /tmp.",
    looks_at: "ec2:GetEbsEncryptionByDefault in the cluster's region, where the security configuration does not encrypt EBS volumes itself.",
    asks: &[&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT],
    fix: "aws ec2 enable-ebs-encryption-by-default, or a new security configuration with EnableEbsEncryption (EMR 5.24.0 and later)",
    source: "Amazon EMR management guide, Encryption options: Local disk encryption; Amazon EBS user guide, Enable encryption by default",
};

/// Instance families from before the Nitro System. Of a family that is not here nothing is said.
const BEFORE_NITRO: [&str; 26] = [
    "m1", "m2", "m3", "m4", "c1", "c3", "c4", "cc2", "cg1", "cr1", "d2", "f1", "g2", "g3", "h1",
    "hi1", "hs1", "i2", "p2", "p3", "r3", "r4", "t1", "t2", "x1", "x1e",
];

/// The domain that instances of a region are named in, which the certificates' wildcard must cover.
pub(super) fn internal_domain(region: &str) -> String {
    if region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{region}.compute.internal")
    }
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    findings.push(release(case));

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
    let domain = internal_domain(&case.cluster.region.value);
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
    findings.push(dhcp.by(&network.dhcp, "no such DHCP options", |subject, options| {
        let values = |key: &str| {
            options
                .get(key)
                .map(|values| values.iter().map(String::as_str).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let (names, servers) = (values("domain-name"), values("domain-name-servers"));
        let shown =
            |values: &[&str]| if values.is_empty() { "none".to_owned() } else { values.join(" ") };
        let holds = names == [domain.as_str()] && servers.contains(&"AmazonProvidedDNS");
        subject.decided(
            holds,
            format!("domain-name {}, domain-name-servers {}", shown(&names), shown(&servers)),
        )
    }));
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

/// What the security configuration uses decides from which release on it works.
fn release(case: &Case<'_>) -> Finding {
    let release = &case.cluster.release;
    let decide = |first: ReleaseLabel, feature: &str| {
        let subject = RELEASE
            .on("aws.emr.ami_version", format!("{first} or later, for {feature}"))
            .at(Some(&release.at));
        subject.decided(release.value >= first, release.value.to_string())
    };
    match &case.facts.security_configuration {
        // Too old for any security configuration is too old for this one, whatever is in it.
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
