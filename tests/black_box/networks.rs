//! Networks as real accounts have them: a VPC with a domain of its own is accepted where the
//! certificates are for it, and its resolver is also known by address.

use std::collections::BTreeMap;

use emr_simulator::{Command as Set, PutDhcp, PutObject, PutSecurityConfiguration, PutVpc};
use serde_json::{Value, json};

use crate::support::Stage;

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111";

/// A stage whose VPC gives its instances this domain and these resolvers, with a DHCP option set
/// that has an id, as EC2's default set has.
fn with_network(domain: &str, servers: &[&str]) -> Stage {
    let stage = Stage::acme();
    let servers = servers.iter().map(|server| (*server).to_owned()).collect();
    stage.set(Set::PutDhcp(PutDhcp {
        id: "dopt-7a8b9c2d".to_owned(),
        options: BTreeMap::from([
            ("domain-name".to_owned(), vec![domain.to_owned()]),
            ("domain-name-servers".to_owned(), servers),
        ]),
        ..Default::default()
    }));
    stage.set(Set::PutVpc(PutVpc {
        id: "vpc-0123456789abcdef0".to_owned(),
        dhcp_options: "dopt-7a8b9c2d".to_owned(),
        cidr: Some("10.20.0.0/16".to_owned()),
        ..Default::default()
    }));
    stage
}

/// The same with PEM certificates for `name`.
fn with_certificate(stage: Stage, name: &str) -> Stage {
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-etl".to_owned(),
        key: "certs/emr.zip".to_owned(),
        bytes: Some(emr_simulator::certificates(name)),
        ..Default::default()
    }));
    stage
}

/// A security configuration with all protections, with certificates from this provider.
pub(crate) fn content(tls: &Value) -> Value {
    json!({"EncryptionConfiguration": {
        "EnableAtRestEncryption": true, "EnableInTransitEncryption": true,
        "AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
            "LocalDiskEncryptionConfiguration": {
                "EncryptionKeyProviderType": "AwsKms",
                "AwsKmsKey": KEY,
                "EnableEbsEncryption": true,
            },
        },
        "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": tls},
    }})
}

/// The same with another provider of certificates.
fn with_provider(stage: Stage, tls: &Value) -> Stage {
    stage.set(Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: content(tls),
        ..Default::default()
    }));
    stage
}

#[test]
fn networks_a_vpc_with_a_domain_of_its_own_and_a_certificate_for_it_is_not_refused() {
    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let played = with_certificate(stage, "*.acme.internal").run();
    played.expect_code(0);
    assert!(played.runner_started());
    for check in ["vpc-dhcp", "certificate-names"] {
        assert_eq!(played.finding(check)["status"], "passed", "{}", played.transcript());
    }
}

#[test]
fn networks_a_vpc_with_a_domain_that_no_name_covers_is_refused() {
    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let played = with_certificate(stage, "*.eu-west-1.compute.internal").run();
    played.expect_code(77);
    assert!(!played.runner_started());
    let dhcp = played.finding("vpc-dhcp");
    assert_eq!(dhcp["status"], "failed");
    assert_eq!(
        dhcp["seen"],
        "domain-name acme.internal, domain-name-servers AmazonProvidedDNS; the certificates are \
         for *.eu-west-1.compute.internal, *.eu-west-1.compute.internal"
    );

    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let played = with_certificate(stage, "*.other.internal").run();
    played.expect_code(77);
    let names = played.finding("certificate-names");
    assert_eq!(
        (&names["status"], &names["expected"]),
        (&"failed".into(), &"*.acme.internal".into())
    );
    assert_eq!(played.finding("vpc-dhcp")["waits_for"], "certificate-names");
}

#[test]
fn networks_the_resolver_given_by_address_passes() {
    for server in ["169.254.169.253", "fd00:ec2::253", "10.20.0.2"] {
        let played = with_network("eu-west-1.compute.internal", &[server]).run();
        played.expect_code(0);
        assert_eq!(played.finding("vpc-dhcp")["status"], "passed", "{server}");
    }
    let played = with_network("eu-west-1.compute.internal", &["172.31.0.2"]).run();
    played.expect_code(77);
    assert_eq!(played.finding("vpc-dhcp")["status"], "failed");
}

#[test]
fn networks_certificates_that_emr_makes_are_compared_by_their_suffix_and_no_archive_is_asked_for() {
    let emr = |suffix: &str| json!({"CertificateProviderType": "EMR", "WildcardDnsSuffix": suffix});
    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let stage = with_provider(stage, &emr("acme.internal")).replace("5.29.0", "7.11.0");
    let played = stage.run();
    played.expect_code(0);
    assert_eq!(played.finding("vpc-dhcp")["status"], "passed");
    assert_eq!(played.finding("certificate-object")["status"], "not-applicable");
    let archive = |request: &&emr_simulator::Recorded| request.path.contains("certs/emr.zip");
    assert_eq!(stage.sim.requests_for("GetObject").iter().filter(archive).count(), 0);

    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let played = with_provider(stage, &emr("other.internal")).replace("5.29.0", "7.11.0").run();
    played.expect_code(77);
    assert_eq!(played.finding("vpc-dhcp")["status"], "failed");
}

#[test]
fn networks_names_that_a_custom_provider_makes_are_unknown() {
    let custom = json!({
        "CertificateProviderType": "Custom", "S3Object": "s3://acme-etl/certs/emr.zip",
        "CertificateProviderClass": "com.acme.Certificates"
    });
    let stage = with_network("acme.internal", &["AmazonProvidedDNS"]);
    let played = with_provider(stage, &custom).run();
    played.expect_code(69);
    let dhcp = played.finding("vpc-dhcp");
    assert_eq!(dhcp["status"], "unknown");
    assert!(dhcp["seen"].as_str().unwrap().contains("com.acme.Certificates"), "{dhcp}");

    let stage = with_network("eu-west-1.compute.internal", &["AmazonProvidedDNS"]);
    let played = with_provider(stage, &custom).run();
    played.expect_code(0);
}
