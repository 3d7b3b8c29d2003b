//! `setup --network`: the code for what is wrong with the cluster's VPC, which is never changed
//! live.

use std::collections::BTreeMap;

use emr_simulator::{Command as Set, Fault, FaultKind, PutDhcp, PutVpc};
use serde_json::Value;

use crate::{
    setup::{empty_account, setup, writes},
    support::Stage,
};

const VPC: &str = "vpc-0123456789abcdef0";
const OPTIONS: [&str; 3] = ["--network", "--terraform=terraform", "--cloudformation=setup.yml"];

/// An empty account whose VPC has this domain and resolver, and gives no host names.
fn with_network(domain: &str, server: &str) -> Stage {
    let stage = empty_account("eu-west-1");
    let option = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
    stage.set(Set::PutDhcp(PutDhcp {
        id: "dopt-7a8b9c2d".to_owned(),
        options: BTreeMap::from([
            option("domain-name", domain),
            option("domain-name-servers", server),
            option("ntp-servers", "169.254.169.123"),
        ]),
        ..PutDhcp::default()
    }));
    stage.set(Set::PutVpc(PutVpc {
        id: VPC.to_owned(),
        dhcp_options: "dopt-7a8b9c2d".to_owned(),
        dns_hostnames: false,
        ..PutVpc::default()
    }));
    stage
}

fn networks(stage: &Stage) -> Value {
    stage.sim.with_world(|world| serde_json::json!([world.vpcs, world.dhcp_options]))
}

/// The files of the code, with their names.
fn code(stage: &Stage) -> [String; 4] {
    ["terraform/network.tf", "terraform/imports.tf", "terraform/removed.tf", "setup.yml"]
        .map(|file| std::fs::read_to_string(stage.path(file)).unwrap())
}

/// The text in one line, without the marks of comments.
fn unbroken(text: &str) -> String {
    text.replace("\n# ", " ").replace("\n  # ", " ")
}

#[test]
fn what_is_wrong_with_a_network_is_in_the_code_and_nothing_is_changed_live() {
    // The wrong resolver fails at once; a wrong domain waits for the certificates, which the plan
    // makes.
    for (domain, server) in [("acme.internal", "10.9.9.9"), ("acme.internal", "AmazonProvidedDNS")]
    {
        let mut stage = with_network(domain, server);
        let before = networks(&stage);
        let played = setup(&mut stage, &OPTIONS);
        played.expect_code(77);
        assert_eq!((writes(&stage), networks(&stage)), (Vec::new(), before));
        assert!(played.stdout.contains(&format!("gives {VPC} new DHCP options")));

        let [network, imports, removed, template] = code(&stage);
        for line in [
            "resource \"aws_vpc\" \"emr\" {\n  enable_dns_hostnames = true\n",
            "  domain_name         = \"eu-west-1.compute.internal\"\n",
            "  domain_name_servers = [\"AmazonProvidedDNS\"]\n",
            "  ntp_servers         = [\"169.254.169.123\"]\n",
            "  vpc_id          = \"vpc-0123456789abcdef0\"\n",
            "  dhcp_options_id = aws_vpc_dhcp_options.emr.id\n",
        ] {
            assert!(network.contains(line), "{line}: {network}");
        }
        // What is as it should be is not managed.
        assert!(!network.contains("enable_dns_support ="), "{network}");
        assert!(network.contains("ignore_changes"), "{network}");
        assert!(unbroken(&network).contains(&format!("touches EVERY INSTANCE IN {VPC}")));
        assert!(imports.contains("  to = aws_vpc.emr\n  id = \"vpc-0123456789abcdef0\"\n"));
        assert!(!removed.contains("aws_vpc"), "{removed}");

        assert!(template.contains(&format!(
            "#   aws ec2 modify-vpc-attribute --region eu-west-1 --vpc-id {VPC} \
             --enable-dns-hostnames '{{\"Value\":true}}'\n"
        )));
        let yaml: serde_yaml::Value = serde_yaml::from_str(&template).unwrap();
        let resource = |id: &str| &yaml["Resources"][id];
        let options = resource("DhcpOptions");
        assert_eq!(options["Type"], "AWS::EC2::DHCPOptions");
        assert_eq!(options["Properties"]["DomainName"], "eu-west-1.compute.internal");
        assert_eq!(options["Properties"]["NtpServers"][0], "169.254.169.123");
        let association = resource("DhcpOptionsOfVpc");
        assert_eq!(association["Type"], "AWS::EC2::VPCDHCPOptionsAssociation");
        assert_eq!(association["Properties"]["VpcId"], VPC);
    }
}

#[test]
fn a_network_that_cannot_be_read_or_was_not_asked_for_is_said_and_is_in_no_code() {
    let mut stage = with_network("acme.internal", "10.9.9.9");
    for operation in ["DescribeDhcpOptions", "DescribeVpcAttribute"] {
        stage.set(Set::AddFault(Fault::every(operation, FaultKind::AccessDenied)));
    }
    setup(&mut stage, &OPTIONS).expect_code(69);
    let [network, imports, removed, template] = code(&stage);
    for text in [&network, &template] {
        let text = unbroken(text);
        assert!(text.contains(&format!("the DHCP options of {VPC} are not known")), "{text}");
        assert!(text.contains(&format!("not known whether {VPC} has DNS host names")), "{text}");
    }
    assert!(!network.contains("resource ") && !template.contains("AWS::EC2"), "{network}");
    assert!(!imports.contains("aws_vpc"), "{imports}");
    // What an earlier code has made is forgotten, and stays.
    for kind in ["aws_vpc", "aws_vpc_dhcp_options", "aws_vpc_dhcp_options_association"] {
        assert!(removed.contains(&format!("from = {kind}.emr\n")), "{removed}");
    }

    stage.set(Set::ClearFaults);
    setup(&mut stage, &OPTIONS[1..]).expect_code(77);
    let [network, _, removed, template] = code(&stage);
    assert!(network.contains("It was not asked for"), "{network}");
    assert!(removed.contains("aws_vpc.emr") && !template.contains("AWS::EC2"));
}

#[test]
fn a_network_is_never_changed_live() {
    let mut stage = with_network("acme.internal", "10.9.9.9");
    for options in [&["--network"][..], &["--network", "--apply"]] {
        let played = setup(&mut stage, options);
        played.expect_code(64);
        assert!(played.unbroken().contains("--network: seen neither --terraform nor"));
    }
    assert_eq!(writes(&stage), [] as [&str; 0]);
    // With code it is, and the rest is made.
    let before = networks(&stage);
    setup(&mut stage, &[&OPTIONS[..], &["--apply"]].concat());
    assert!(!writes(&stage).is_empty());
    assert_eq!(networks(&stage), before);
}
