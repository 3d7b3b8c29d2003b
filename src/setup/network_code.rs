//! What the templates say of the cluster's network. `setup` itself never changes one.
//!
//! What is wrong is what the checks `vpc-dns` and `vpc-dhcp` find. Nothing is generated for what
//! could not be read: that is said in a comment.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        lookup::Lookup,
        printable::{Printable, printable},
        text::shell_word,
    },
    checks::{
        finding::{Finding, Status},
        node_names::{DhcpOptions, covers, dhcp_domain, regional_domain, values},
    },
    facts::{ec2::NetworkFacts, gather::Facts},
    setup::{
        piece::Piece,
        plan::{SetupPlan, StepAction},
    },
};

/// The resolver of a VPC, by its name in DHCP options.
pub(super) const AMAZON_PROVIDED_DNS: &str = "AmazonProvidedDNS";

/// What the templates add to a network that exists, and what they say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkCode {
    /// The VPC of the cluster's subnet; empty if it is not known, and then nothing is added.
    pub(super) vpc: String,
    /// The attributes of the VPC to turn on.
    pub(super) turned_on: BTreeSet<DnsAttribute>,
    /// The DHCP options that the VPC gets.
    pub(super) dhcp: Option<NewDhcpOptions>,
    /// What is not generated, with the reasons.
    pub(super) left_out: Vec<Printable>,
}

/// An attribute of a VPC that nodes need in order to find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DnsAttribute {
    /// The VPC's resolver answers. Host names need it, so it comes first.
    Support,
    /// Instances get names.
    Hostnames,
}

/// A new DHCP option set for a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewDhcpOptions {
    /// The domain name, which the certificates cover.
    pub(super) domain: String,
    /// Options of the present set that stay, by EC2's name: those of [`KEPT`].
    pub(super) kept: BTreeMap<&'static str, Vec<String>>,
    /// What the change means, in lines of a comment.
    pub(super) reasons: Vec<Printable>,
}

/// The options, besides domain and resolvers, that a set can have. Source: Amazon EC2 API
/// reference, CreateDhcpOptions.
const KEPT: [&str; 4] = [
    "ipv6-address-preferred-lease-time",
    "netbios-name-servers",
    "netbios-node-type",
    "ntp-servers",
];

impl DnsAttribute {
    const ALL: [Self; 2] = [Self::Support, Self::Hostnames];

    /// What it is, in words.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Support => "DNS support",
            Self::Hostnames => "DNS host names",
        }
    }

    /// The argument of Terraform's `aws_vpc`.
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Support => "enable_dns_support",
            Self::Hostnames => "enable_dns_hostnames",
        }
    }

    const fn of(self, facts: &NetworkFacts) -> &Lookup<bool> {
        match self {
            Self::Support => &facts.dns_support,
            Self::Hostnames => &facts.dns_hostnames,
        }
    }

    /// The command that turns it on.
    pub(super) fn command(self, vpc: &str, region: &str) -> String {
        let option = self.argument().replace('_', "-");
        format!(
            "aws ec2 modify-vpc-attribute --region {} --vpc-id {} --{option} '{{\"Value\":true}}'",
            shell_word(region),
            shell_word(vpc)
        )
    }
}

impl NetworkCode {
    /// What has to be added for the checks on the subnet's VPC to pass once `plan` is carried out.
    /// `findings` are those of `check` on the account as it is.
    pub(crate) fn of(facts: &Facts, findings: &[Finding], plan: &SetupPlan, region: &str) -> Self {
        let names = if makes_configuration(plan) { Vec::new() } else { certificate_names(facts) };
        Self::by(facts.network.as_ref(), findings, region, &names, makes_configuration(plan))
    }

    /// The same from the parts of the facts that decide. `names` are those of the certificates that
    /// stay; where the plan `makes_configuration`, the certificates are for the region's domain.
    fn by(
        facts: Option<&NetworkFacts>,
        findings: &[Finding],
        region: &str,
        names: &[String],
        makes_configuration: bool,
    ) -> Self {
        let mut code = Self::default();
        let no_endpoint = "Whether the subnet has a route to S3 is not looked at, and no endpoint \
                           for S3 is in this code.";
        code.left_out.push(no_endpoint.into());
        let Some(facts) = facts else {
            code.left_out
                .push("subnet-set: the config names no subnet, so no VPC is known.".into());
            return code;
        };
        match &facts.vpc {
            Lookup::Found(vpc) => code.vpc.clone_from(vpc),
            Lookup::Absent => {
                let line = "subnet-exists: the subnet does not exist, so no VPC is known.";
                code.left_out.push(line.into());
                return code;
            }
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let error = Printable::from(error.to_string());
                let line =
                    printable!("subnet-exists: the VPC of the subnet is not known: {error}.");
                code.left_out.push(line);
                return code;
            }
        }
        let open = |check: &str| {
            findings.iter().find(|finding| finding.check.name == check && finding.is_open())
        };
        if open("vpc-dns").is_some() {
            code.add_dns(facts);
        }
        if let Some(finding) = open("vpc-dhcp") {
            code.add_dhcp(facts, finding, region, names, makes_configuration);
        }
        code
    }

    fn add_dns(&mut self, facts: &NetworkFacts) {
        for attribute in DnsAttribute::ALL {
            let why = match attribute.of(facts) {
                Lookup::Found(true) => continue,
                Lookup::Found(false) => {
                    self.turned_on.insert(attribute);
                    continue;
                }
                Lookup::Absent => Printable::from("it does not exist"),
                Lookup::Denied(error) | Lookup::Unreachable(error) => error.to_string().into(),
            };
            let vpc = Printable::from(&self.vpc);
            self.left_out.push(printable!(
                "vpc-dns: it is not known whether {vpc} has {}, and this code does not change it: \
                 {why}.",
                attribute.what()
            ));
        }
    }

    fn add_dhcp(
        &mut self,
        facts: &NetworkFacts,
        finding: &Finding,
        region: &str,
        names: &[String],
        makes_configuration: bool,
    ) {
        let vpc = Printable::from(&self.vpc);
        let options = match &facts.dhcp {
            Lookup::Found(options) => options,
            Lookup::Absent => {
                self.left_out
                    .push(printable!("vpc-dhcp: the DHCP options of {vpc} do not exist any more."));
                return;
            }
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let error = Printable::from(error.to_string());
                self.left_out.push(printable!(
                    "vpc-dhcp: the DHCP options of {vpc} are not known, and this code does not \
                     change them: {error}."
                ));
                return;
            }
        };
        // What it waits for is what the plan makes.
        let waits_for_plan = makes_configuration && finding.waits_for.is_some();
        if finding.status != Status::Failed && !waits_for_plan {
            self.left_out.push(printable!(
                "vpc-dhcp: it is not known yet which domain the certificates need, and this code \
                 does not change the DHCP options of {vpc}. Seen: {}. Plan again once {} passes.",
                finding.saw,
                finding.waits_for.unwrap_or("certificate-names")
            ));
            return;
        }
        self.dhcp = Some(NewDhcpOptions::instead_of(options, &self.vpc, region, names));
    }

    /// Whether anything is added.
    pub(super) fn is_empty(&self) -> bool {
        self.turned_on.is_empty() && self.dhcp.is_none()
    }

    /// What people have to know before they apply the code, which is `in_terraform` or a template
    /// alone: a line for each part.
    pub(crate) fn warnings(&self, in_terraform: bool) -> Vec<Printable> {
        let vpc = Printable::from(&self.vpc);
        let mut lines: Vec<Printable> = self.dhcp_warning().into_iter().collect();
        let what: Vec<&str> = self.turned_on.iter().map(|it| it.what()).collect();
        let what = what.join(" and ");
        if !self.turned_on.is_empty() {
            lines.push(if in_terraform {
                printable!("the Terraform code turns on {what} of {vpc} (vpc-dns)")
            } else {
                printable!(
                    "the commands that turn on {what} of {vpc} (vpc-dns) are in the first comment \
                     of the template"
                )
            });
        }
        if self.is_empty() {
            lines.push("the code changes nothing of the network".into());
        }
        lines
    }

    /// What new DHCP options mean for others.
    pub(super) fn dhcp_warning(&self) -> Option<Printable> {
        let vpc = Printable::from(&self.vpc);
        self.dhcp.as_ref().map(|_| {
            printable!(
                "the code gives {vpc} new DHCP options (vpc-dhcp): that touches every instance in \
                 it, not only those of EMR"
            )
        })
    }
}

impl NewDhcpOptions {
    /// The set that takes the place of `present`.
    fn instead_of(present: &DhcpOptions, vpc: &str, region: &str, names: &[String]) -> Self {
        let covered = dhcp_domain(present).filter(|domain| covers(names, domain));
        let domain = covered.map_or_else(|| regional_domain(region), str::to_owned);
        let vpc = Printable::from(vpc);
        let mut reasons = vec![
            printable!(
                "DHCP options of {vpc}: made, and associated with it. Asked for by vpc-dhcp. \
                 Source: Amazon VPC user guide, DHCP option sets."
            ),
            printable!(
                "NOTE: this touches EVERY INSTANCE IN {vpc}, and not only those of EMR. Each takes \
                 the new options when it renews its lease: it looks up host names without a domain \
                 in {}, and asks the VPC's own resolver.",
                Printable::from(&domain)
            ),
        ];
        let shown = |(key, values): (&String, &BTreeSet<String>)| {
            format!("{key} {}", values.iter().cloned().collect::<Vec<_>>().join(" "))
        };
        let all: Vec<String> = present.iter().map(shown).collect();
        reasons.push(if all.is_empty() {
            printable!("Present: none.")
        } else {
            let all = Printable::from(all.join(", "));
            printable!("Present: {all}. The present set is not deleted.")
        });
        let mut kept = BTreeMap::new();
        for key in KEPT {
            let values = values(present, key);
            if !values.is_empty() && values.iter().all(|value| is_kept(key, value)) {
                kept.insert(key, values.into_iter().map(str::to_owned).collect());
            }
        }
        let is_new = |key: &&String| {
            ["domain-name", "domain-name-servers"].contains(&key.as_str())
                || kept.contains_key(key.as_str())
        };
        let lost: Vec<String> = present.keys().filter(|key| !is_new(key)).cloned().collect();
        if !lost.is_empty() {
            let lost = Printable::from(lost.join(", "));
            reasons
                .push(printable!("NOT IN THE NEW SET: {lost}. Add them here, if you need them."));
        }
        Self { domain, kept, reasons }
    }
}

#[cfg(test)]
impl NetworkCode {
    /// One with everything that code can have.
    pub(super) fn sample() -> Self {
        let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let present: DhcpOptions = [
            ("domain-name", set(&["acme.internal"])),
            ("domain-name-servers", set(&["10.20.0.53"])),
            ("ipv6-address-preferred-lease-time", set(&["300"])),
            ("netbios-name-servers", set(&["10.20.0.54"])),
            ("netbios-node-type", set(&["2"])),
            ("ntp-servers", set(&["10.20.0.55", "169.254.169.123"])),
            ("something-new", set(&["${file(\"/etc/passwd\")}"])),
        ]
        .map(|(key, values)| (key.to_owned(), values))
        .into();
        let vpc = "vpc-0123456789abcdef0".to_owned();
        Self {
            turned_on: DnsAttribute::ALL.into(),
            dhcp: Some(NewDhcpOptions::instead_of(&present, &vpc, "eu-west-1", &[])),
            left_out: vec!["Whether something else is right is not looked at.".into()],
            vpc,
        }
    }
}

/// Whether the value of an option is one that templates can hold: an address or a number.
fn is_kept(key: &str, value: &str) -> bool {
    if is_number(key) {
        value.parse::<u32>().is_ok()
    } else {
        value.parse::<std::net::IpAddr>().is_ok()
    }
}

/// Whether an option's value is one number.
pub(super) fn is_number(key: &str) -> bool {
    matches!(key, "ipv6-address-preferred-lease-time" | "netbios-node-type")
}

/// Whether the plan makes a security configuration. Its certificates are for the region's domain.
fn makes_configuration(plan: &SetupPlan) -> bool {
    plan.steps.iter().any(|step| {
        matches!(step.piece, Piece::SecurityConfiguration(_)) && step.action == StepAction::Create
    })
}

/// The names in the certificates, as far as they are known.
fn certificate_names(facts: &Facts) -> Vec<String> {
    let archive = facts.certificates.as_ref().and_then(Lookup::found);
    let mut names: Vec<String> = match archive {
        Some(Ok(material)) => material.names().to_vec(),
        _ => Vec::new(),
    };
    let configuration = facts.security_configuration.as_ref().and_then(Lookup::found);
    let suffix = configuration
        .and_then(|found| found.content.tls.as_ref())
        .filter(|tls| tls.provider == "EMR")
        .and_then(|tls| tls.wildcard_dns_suffix.as_ref());
    names.extend(suffix.map(|suffix| format!("*.{suffix}")));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::aws_calls,
        checks::properties::{World, strict},
    };

    const REGION: &str = "eu-west-1";
    const REGIONAL: &str = "eu-west-1.compute.internal";

    fn facts(domain: &str, servers: &str) -> NetworkFacts {
        let of = |key: &str, value: &str| (key.to_owned(), BTreeSet::from([value.to_owned()]));
        NetworkFacts {
            vpc: Lookup::Found("vpc-1".to_owned()),
            dns_support: Lookup::Found(true),
            dns_hostnames: Lookup::Found(true),
            cidr: Lookup::Found("10.0.0.0/16".to_owned()),
            dhcp: Lookup::Found(BTreeMap::from([
                of("domain-name", domain),
                of("domain-name-servers", servers),
            ])),
        }
    }

    /// What the checks find on a network whose certificates are for the region, and the code.
    fn code(network: NetworkFacts, names: &[&str], makes_configuration: bool) -> NetworkCode {
        let mut world = World::new(false, false);
        world.facts.network = Some(network);
        let findings = world.findings(&strict(), &world.facts);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        NetworkCode::by(
            world.facts.network.as_ref(),
            &findings,
            REGION,
            &names,
            makes_configuration,
        )
    }

    fn denied<T>() -> Lookup<T> {
        Lookup::not_asked(&aws_calls::DESCRIBE_DHCP_OPTIONS, "a test")
    }

    #[test]
    fn a_network_that_passes_is_left_alone() {
        let code = code(facts(REGIONAL, "AmazonProvidedDNS"), &[], false);
        assert!(code.is_empty());
        assert_eq!(code.left_out.len(), 1);
    }

    #[test]
    fn each_attribute_is_turned_on_only_where_it_is_known_to_be_off() {
        let off = || Lookup::Found(false);
        for (support, names, wanted, unknown) in [
            (off(), off(), vec![DnsAttribute::Support, DnsAttribute::Hostnames], 0),
            (Lookup::Found(true), off(), vec![DnsAttribute::Hostnames], 0),
            (off(), denied(), vec![DnsAttribute::Support], 1),
            (denied(), off(), vec![DnsAttribute::Hostnames], 1),
            (denied(), denied(), vec![], 2),
        ] {
            let network = NetworkFacts {
                dns_support: support,
                dns_hostnames: names,
                ..facts(REGIONAL, "AmazonProvidedDNS")
            };
            let code = code(network, &[], false);
            assert_eq!(code.turned_on.iter().copied().collect::<Vec<_>>(), wanted);
            assert_eq!(code.left_out.len(), 1 + unknown, "{:?}", code.left_out);
            assert_eq!(code.dhcp, None);
        }
    }

    #[test]
    fn the_domain_is_the_one_that_the_certificates_cover() {
        let domain = |network, names: &[&str]| code(network, names, false).dhcp.map(|it| it.domain);
        let regional = Some(REGIONAL.to_owned());
        assert_eq!(domain(facts("acme.internal", "AmazonProvidedDNS"), &[]), regional);
        assert_eq!(domain(facts(REGIONAL, "10.9.9.9"), &[]), regional);
        // Only the resolver is wrong.
        let own = domain(facts("acme.internal", "10.9.9.9"), &["*.acme.internal"]);
        assert_eq!(own.as_deref(), Some("acme.internal"));
    }

    #[test]
    fn what_is_not_known_is_said_and_nothing_is_generated_for_it() {
        let network = NetworkFacts { dhcp: denied(), ..facts("", "") };
        let code = code(network, &[], true);
        assert!(code.is_empty());
        assert!(code.left_out[1].starts_with("vpc-dhcp: the DHCP options of vpc-1 are not known"));
        let unknown = NetworkFacts {
            vpc: Lookup::not_asked(&aws_calls::DESCRIBE_SUBNETS, "a test"),
            ..facts("", "")
        };
        for (network, line) in [
            (None, "subnet-set: "),
            (Some(NetworkFacts { vpc: Lookup::Absent, ..unknown.clone() }), "subnet-exists: the s"),
            (Some(unknown), "subnet-exists: the VPC of the subnet is not known"),
        ] {
            let code = NetworkCode::by(network.as_ref(), &[], REGION, &[], true);
            assert!(code.is_empty());
            assert!(code.left_out[1].starts_with(line), "{:?}", code.left_out);
        }
    }

    #[test]
    fn options_that_stay_are_in_the_new_set_and_others_are_named() {
        let mut network = facts("acme.internal", "10.9.9.9");
        let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        if let Lookup::Found(options) = &mut network.dhcp {
            options.insert("ntp-servers".to_owned(), set(&["169.254.169.123"]));
            options.insert("netbios-node-type".to_owned(), set(&["two"]));
            options.insert("something-new".to_owned(), set(&["1"]));
        }
        let new = code(network, &[], false).dhcp.unwrap();
        assert_eq!(new.kept.keys().copied().collect::<Vec<_>>(), ["ntp-servers"]);
        let last = new.reasons.last().unwrap();
        assert!(
            last.starts_with("NOT IN THE NEW SET: netbios-node-type, something-new."),
            "{last}"
        );
        assert!(new.reasons.iter().any(|line| line.contains("EVERY INSTANCE IN vpc-1")));
    }
}
