//! Every pre-flight check in each of its states, generated from the catalogue. A check fails here
//! if it does not pass on a good stage, if nothing makes it fail, or if a denied or missing
//! response does not make it Unknown. A new check needs an entry in `refuting`, and in `good` when
//! the ordinary scene does not run it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use emr_etl_guard::checks::{
    catalogue::CATALOGUE,
    finding::{Check, Level, Stage as When},
};
use emr_simulator::{
    BucketEncryption, Command as Set, Fault, FaultKind, Named, PutBucket, PutDhcp, PutKey,
    PutObject, PutRole, PutSecurityConfiguration, PutVpc, Sse, Switch,
};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::{
    good_runs::waiting_cluster,
    support::{Played, Stage},
};

const KEY_ID: &str = "11111111-1111-1111-1111-111111111111";
/// A key of another account.
pub(crate) const OTHER_KEY: &str =
    "arn:aws:kms:eu-west-1:999999999999:key/22222222-2222-2222-2222-222222222222";

/// The stage on which `check` passes, if it needs one of its own.
fn own_stage(check: &str) -> Option<Stage> {
    let stage = match check {
        "persistent-cluster" | "persistent-cluster-configuration" | "persistent-cluster-is-one" => {
            let stage = Stage::acme().argument("--use-persistent-jobflow");
            stage.set(waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
            if check == "persistent-cluster-configuration" {
                // It stays STARTING during the whole test.
                stage.set(Set::SetTimings(emr_simulator::Timings::all(36_000.0)));
                stage.set(starting_cluster_of_fleets());
                stage.set(Set::SetTimings(emr_simulator::Timings::all(6.0)));
            }
            stage
        }
        "guard-may-end-clusters" => {
            let stage = Stage::acme();
            stage.set(waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"})));
            stage
        }
        "runner-may-tag-clusters" => {
            let stage = Stage::acme();
            runner_as_role(&stage, "elasticmapreduce:*");
            stage
        }
        "clojure-collector-bucket" => Stage::acme().replace("format: thrift", "format: clj-tomcat"),
        "security-configuration-overrides" => with_override(
            Stage::acme(),
            &json!({"BucketName": "acme-out", "EncryptionMode": "SSE-S3"}),
        ),
        "custom-provider-object" => {
            with_custom_provider(Stage::acme(), "s3://acme-etl/certs/emr.zip")
        }
        "mapped-role-may-use-key" => {
            with_mapped_role(Stage::acme(), &json!(["kms:GenerateDataKey", "kms:Decrypt"]))
        }
        "ebs-encryption-by-default" => {
            let stage = with_s3_part(Stage::acme(), &json!({}));
            stage.set(Set::SetEbsEncryptionByDefault(Switch { on: true }));
            stage
        }
        "local-disk-key" => Stage::acme()
            .option("--expected-keys=alias/acme-etl")
            .option("--advise=data-encrypted,written-encryption,bucket-default-encryption"),
        "instance-types" => Stage::acme().replace("m4.large", "m5.large"),
        "target-tls" => with_target(Stage::acme(), "REQUIRE"),
        "enrichment-sources" => with_enrichment(Stage::acme(), "s3://acme-assets/maxmind"),
        "monitoring-tls" => with_tracking(Stage::acme(), "HTTPS"),
        _ => return None,
    };
    Some(stage)
}

/// The stage on which `check` passes.
fn good(check: &str) -> Stage {
    own_stage(check).unwrap_or_else(Stage::acme)
}

/// The stage on which `check` failed.
pub(crate) fn refuting(check: &str) -> Stage {
    let stage = good(check);
    match check {
        "config-ambiguous" => stage.replace("aws:\n", "aws: {}\n:aws:\n"),
        "aws-endpoint" => stage.env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", ""),
        "aws-trust-store" => stage.over_tls().without_env("EMR_ETL_GUARD_ALLOW_ROOTS"),
        "aws-proxy" => {
            let url = stage.sim.url();
            stage.env("HTTP_PROXY", &url)
        }
        "runner-route" => stage.env("JAVA_OPTS", "-Dhttps.proxyHost=proxy.example"),
        "runner-version" => stage.env("STANDIN_VERSION", "0.32.0"),
        "same-account" => stage.env("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        "guard-may-end-clusters" => {
            crate::guard_rights::allow(&stage, &json!(["elasticmapreduce:DescribeCluster"]));
            stage
        }
        "runner-may-tag-clusters" => {
            runner_as_role(&stage, "elasticmapreduce:RunJobFlow");
            stage
        }
        "persistent-cluster" => {
            let stage = Stage::acme().argument("--use-persistent-jobflow");
            stage.set(waiting_cluster(&json!({})));
            stage
        }
        "persistent-cluster-configuration" => {
            let stage = Stage::acme().argument("--use-persistent-jobflow");
            let weak = json!([{
                "Classification": "hdfs-site",
                "Properties": {"dfs.encrypt.data.transfer": "false"}
            }]);
            stage.set(waiting_cluster(
                &json!({"SecurityConfiguration": "acme-sc", "Configurations": weak}),
            ));
            stage
        }
        "persistent-cluster-is-one" => {
            let Set::StartCluster(cluster) =
                waiting_cluster(&json!({"SecurityConfiguration": "acme-sc"}))
            else {
                unreachable!()
            };
            stage.set(Set::StartCluster(emr_simulator::StartCluster {
                id: Some("j-OTHER".to_owned()),
                ..cluster
            }));
            stage
        }
        "bucket-exists" => stage.replace("s3://acme-archive/raw", "s3://acme-archve/raw"),
        "bucket-owner" => {
            stage.set(bucket(PutBucket {
                name: "theirs".to_owned(),
                account: Some("999999999999".to_owned()),
                public: true,
                ..Default::default()
            }));
            stage.replace("s3://acme-log/emr", "s3://theirs/emr")
        }
        "bucket-region" => {
            stage.set(bucket(PutBucket {
                name: "acme-far".to_owned(),
                region: Some("us-east-1".to_owned()),
                ..Default::default()
            }));
            stage.replace("s3://acme-log/emr", "s3://acme-far/emr")
        }
        "bucket-default-encryption" => {
            let none = BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..Default::default() };
            stage.set(bucket(PutBucket {
                name: "acme-out".to_owned(),
                default_encryption: Some(none),
                ..Default::default()
            }));
            stage
        }
        "bucket-tls-only" => {
            stage.set(bucket(PutBucket {
                name: "acme-out".to_owned(),
                default_encryption: Some(BucketEncryption::aes256()),
                ..Default::default()
            }));
            stage
        }
        "bucket-public-access-block" => {
            stage.set(bucket(PutBucket {
                name: "acme-out".to_owned(),
                public_access_block: Some(false),
                ..Default::default()
            }));
            stage
        }
        "clojure-collector-bucket" => {
            let none = BucketEncryption { blocked: vec!["SSE-C".to_owned()], ..Default::default() };
            stage.set(bucket(PutBucket {
                name: "acme-raw-in".to_owned(),
                default_encryption: Some(none),
                ..Default::default()
            }));
            stage
        }
        "written-encryption" => stage.option("--expected-keys=alias/acme-etl"),
        "no-silent-downgrade" => {
            let kms =
                BucketEncryption::kms(&format!("arn:aws:kms:eu-west-1:123456789012:key/{KEY_ID}"));
            stage.set(bucket(PutBucket {
                name: "acme-out".to_owned(),
                default_encryption: Some(kms),
                ..Default::default()
            }));
            stage
        }
        "bucket-policy-clash" => {
            let policy = json!({"Version": "2012-10-17", "Statement": [{"Sid": "DemandKms", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::acme-out/*",
                "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}]});
            stage.set(bucket(PutBucket {
                name: "acme-out".to_owned(),
                policy: Some(policy),
                ..Default::default()
            }));
            stage
        }
        "security-configuration-overrides" => {
            with_override(stage, &json!({"BucketName": "acme-out", "EncryptionMode": "SSE-KMS"}))
        }
        "data-encrypted" => {
            let old = PutObject {
                bucket: "acme-raw-in".to_owned(),
                key: "logs/2016-01-01-raw.lzo".to_owned(),
                body: Some("old".to_owned()),
                sse: Some(Sse::None),
                ..Default::default()
            };
            stage.set(Set::PutObject(old));
            stage
        }
        "no-earlier-versions" => {
            let versioned = PutBucket {
                name: "acme-raw-in".to_owned(),
                versioning: Some("Enabled".to_owned()),
                default_encryption: Some(BucketEncryption::aes256()),
                ..Default::default()
            };
            stage.set(bucket(versioned));
            stage
        }
        "security-configuration-exists" => {
            stage.set(Set::DeleteSecurityConfiguration(Named {
                name: "acme-sc".to_owned(),
                ..Default::default()
            }));
            stage
        }
        "s3-at-rest" | "local-disk-at-rest" | "in-transit" => {
            stage.set(security_configuration(json!({"EncryptionConfiguration": {
                "EnableAtRestEncryption": true, "EnableInTransitEncryption": true
            }})));
            stage
        }
        "kms-key-exists" => with_s3_key(
            stage,
            "arn:aws:kms:eu-west-1:123456789012:key/22222222-2222-2222-2222-222222222222",
        ),
        "kms-key-region" => with_s3_key(
            stage,
            "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111",
        ),
        "kms-key-enabled" => {
            with_key(stage, PutKey { state: Some("Disabled".to_owned()), ..Default::default() })
        }
        "kms-key-symmetric" => {
            with_key(stage, PutKey { spec: Some("RSA_2048".to_owned()), ..Default::default() })
        }
        "kms-key-rotation" => with_key(stage, PutKey { rotation: false, ..Default::default() }),
        "local-disk-key" => Stage::acme().option(&format!("--expected-keys={OTHER_KEY}")),
        "custom-provider-object" => {
            with_custom_provider(Stage::acme(), "s3://acme-etl/nowhere.jar")
        }
        "jobflow-role-may-read-object" => {
            let keys_only = json!({
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]
            });
            stage.set(Set::PutRole(PutRole {
                name: "EMR_EC2_DefaultRole".to_owned(),
                policies: vec![keys_only],
                instance_profile: Some("EMR_EC2_DefaultRole".to_owned()),
                ..Default::default()
            }));
            stage
        }
        "mapped-role-may-use-key" => with_mapped_role(Stage::acme(), &json!(["kms:Decrypt"])),
        "kms-key-customer-managed" => with_key(
            stage,
            PutKey { manager: Some("AWS".to_owned()), rotation: true, ..Default::default() },
        ),
        "ebs-encryption-by-default" => {
            stage.set(Set::SetEbsEncryptionByDefault(Switch { on: false }));
            stage
        }
        "jobflow-role-exists" => {
            stage.replace("jobflow_role: EMR_EC2_DefaultRole", "jobflow_role: No_Such_Profile")
        }
        "service-role-exists" => {
            stage.replace("service_role: EMR_DefaultRole", "service_role: No_Such_Role")
        }
        "service-role-may-use-key" => {
            stage.set(Set::PutRole(PutRole {
                name: "EMR_DefaultRole".to_owned(),
                policies: vec![json!({
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Effect": "Allow", "Action": ["ec2:*", "kms:Encrypt", "kms:Decrypt"],
                        "Resource": "*"
                    }]
                })],
                ..Default::default()
            }));
            stage
        }
        "jobflow-role-may-use-key" => {
            stage.set(Set::PutRole(PutRole {
                name: "EMR_EC2_DefaultRole".to_owned(),
                policies: vec![json!({
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
                })],
                instance_profile: Some("EMR_EC2_DefaultRole".to_owned()),
                ..Default::default()
            }));
            stage
        }
        "release-supports-encryption" => stage.replace("5.29.0", "5.9.0"),
        // Its support is over, whatever the day is.
        "release-supported" => stage,
        "subnet-set" => stage.replace("ec2_subnet_id: subnet-0123456789abcdef0", "ec2_subnet_id:"),
        "kerberos-not-configured" => with_s3_part(
            stage,
            &json!({"AuthenticationConfiguration": {"KerberosConfiguration": {"Provider": "ClusterDedicatedKdc"}}}),
        ),
        "instance-metadata-v2" => with_s3_part(
            stage,
            &json!({"InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": 1}}),
        ),
        "certificate-object" => with_archive(stage, b"hello".to_vec()),
        "certificate-key" => {
            with_archive(stage, archive(&KeyPair::generate().unwrap(), &certificate(365).0))
        }
        "certificate-chain" => {
            let ((own, key), (other, _)) = (certificate(365), certificate(365));
            with_archive(stage, archive(&key, &format!("{own}{other}")))
        }
        "certificate-validity" => {
            let (own, key) = certificate(10);
            with_archive(stage, archive(&key, &own))
        }
        "certificate-names" => with_archive(stage, emr_simulator::certificates("*.ec2.internal")),
        "certificate-strength" => with_archive(
            stage,
            archive(&KeyPair::generate().unwrap(), include_str!("../certificates/weak.pem")),
        ),
        "subnet-exists" => stage.replace(
            "ec2_subnet_id: subnet-0123456789abcdef0",
            "ec2_subnet_id: subnet-00000000000000000",
        ),
        "vpc-dns" => {
            stage.set(Set::PutVpc(PutVpc {
                id: "vpc-0123456789abcdef0".to_owned(),
                dhcp_options: "dopt-0123456789abcdef0".to_owned(),
                dns_hostnames: false,
                ..Default::default()
            }));
            stage
        }
        "vpc-dhcp" => {
            let options =
                BTreeMap::from([("domain-name".to_owned(), vec!["corp.example".to_owned()])]);
            stage.set(Set::PutDhcp(PutDhcp {
                id: "dopt-0123456789abcdef0".to_owned(),
                options,
                ..Default::default()
            }));
            stage
        }
        "instance-types" => Stage::acme(),
        "configuration-weakens-encryption" => {
            with_property(stage, "hdfs-site: {dfs.encrypt.data.transfer: \"false\"}")
        }
        "configuration-review" => {
            with_property(stage, "emrfs-site: {fs.s3n.endpoint: \"http://evil.example\"}")
        }
        "bootstrap-actions" => {
            stage.replace("    bootstrap: []\n", "    bootstrap: [\"http://evil.example/x.sh\"]\n")
        }
        "additional-info" => {
            stage.replace("    additional_info:\n", "    additional_info: \"{}\"\n")
        }
        "environment-replaces-runner" => stage.env("JAVA_OPTS", "-jar /tmp/other.jar"),
        "environment-loads-code" => {
            stage.env("JAVA_TOOL_OPTIONS", "-Xmx1g -javaagent:/opt/agent.jar")
        }
        "target-tls" => with_target(Stage::acme(), "DISABLE"),
        "enrichment-sources" => with_enrichment(Stage::acme(), "http://api.acme.com/x"),
        "monitoring-tls" => with_tracking(Stage::acme(), "http"),
        other => panic!("no stage refutes `{other}`; add one here"),
    }
}

/// Why a check cannot fail: any response makes it pass, and without one it is Unknown.
pub(crate) fn cannot_be_failed(check: &str) -> bool {
    matches!(check, "clusters-can-be-listed" | "organization-allows")
}

/// A second cluster with the name, of instance fleets, which the runner cannot adopt yet.
fn starting_cluster_of_fleets() -> Set {
    let fleets = json!([{
        "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]
    }]);
    let request = json!({
        "Name": "Snowplow ETL",
        "SecurityConfiguration": "acme-sc",
        "Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0", "InstanceFleets": fleets},
    });
    Set::StartCluster(emr_simulator::StartCluster {
        id: Some("j-STARTING".to_owned()),
        state: emr_simulator::StartState::Starting,
        request,
        ..Default::default()
    })
}

/// Makes the runner's credentials those of a session of a role with this permission.
fn runner_as_role(stage: &Stage, action: &str) {
    stage.set(Set::PutAccessKey(emr_simulator::PutAccessKey {
        id: "AKIAFAKE".to_owned(),
        arn: "arn:aws:sts::123456789012:assumed-role/etl-runner/session".to_owned(),
        ..Default::default()
    }));
    stage.set(Set::PutRole(PutRole {
        name: "etl-runner".to_owned(),
        path: Some("/etl/".to_owned()),
        policies: vec![
            json!({"Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}),
        ],
        ..Default::default()
    }));
}

fn bucket(bucket: PutBucket) -> Set {
    Set::PutBucket(bucket)
}

fn security_configuration(content: Value) -> Set {
    Set::PutSecurityConfiguration(PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content,
        ..Default::default()
    })
}

fn with_s3_key(stage: Stage, key: &str) -> Stage {
    stage.set(security_configuration(json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}}}})));
    stage
}

/// The S3 part of the security configuration alone, with an override.
fn with_override(stage: Stage, other: &Value) -> Stage {
    stage.set(security_configuration(json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3", "Overrides": [other]}}}})));
    stage.option("--require=s3-at-rest")
}

/// A security configuration with only its S3 part, and `more` added.
pub(crate) fn with_s3_part(stage: Stage, more: &Value) -> Stage {
    let mut content = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}}}});
    for (key, value) in more.as_object().unwrap() {
        content[key] = value.clone();
    }
    stage.set(security_configuration(content));
    stage.option("--require=s3-at-rest")
}

/// A custom key provider for the local disks, with its jar at `uri`.
fn with_custom_provider(stage: Stage, uri: &str) -> Stage {
    stage.set(security_configuration(json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true, "AtRestEncryptionConfiguration": {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
        "LocalDiskEncryptionConfiguration": {
            "EncryptionKeyProviderType": "Custom", "S3Object": uri,
            "EncryptionKeyProviderClass": "com.acme.Keys"
        }}}})));
    stage.option("--require=s3-at-rest,local-disk")
}

/// Users whose requests to S3, with a KMS key, EMRFS makes with another role, which is allowed
/// `actions`.
fn with_mapped_role(stage: Stage, actions: &Value) -> Stage {
    let key = format!("arn:aws:kms:eu-west-1:123456789012:key/{KEY_ID}");
    stage.set(Set::PutRole(PutRole {
        name: "emrfs-analysts".to_owned(),
        policies: vec![json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": key}]
        })],
        ..Default::default()
    }));
    stage.set(security_configuration(json!({
    "EncryptionConfiguration": {
        "EnableAtRestEncryption": true,
        "AtRestEncryptionConfiguration": {"S3EncryptionConfiguration": {
            "EncryptionMode": "SSE-KMS", "AwsKmsKey": key
        }}
    },
    "AuthorizationConfiguration": {"EmrFsConfiguration": {"RoleMappings": [
        {
            "Role": "arn:aws:iam::123456789012:role/emrfs-analysts", "IdentifierType": "User",
            "Identifiers": ["analyst"]
        }]}}})));
    stage.option("--require=s3-at-rest")
}

fn with_key(stage: Stage, key: PutKey) -> Stage {
    stage.set(Set::PutKey(PutKey { id: KEY_ID.to_owned(), ..key }));
    stage
}

fn with_target(stage: Stage, ssl_mode: &str) -> Stage {
    std::fs::create_dir(stage.path("targets")).unwrap();
    let target = json!({"schema": "iglu:com.snowplowanalytics.snowplow.storage/postgresql_config/jsonschema/1-0-0", "data": {
        "name": "warehouse", "host": "db.acme.com", "port": 5432, "database": "snowplow",
        "sslMode": ssl_mode, "schema": "atomic", "username": "loader",
        "password": "hunter2", "purpose": "ENRICHED_EVENTS"}});
    stage.write("targets/warehouse.json", &target.to_string());
    stage.argument("-t").argument("targets")
}

fn with_enrichment(stage: Stage, uri: &str) -> Stage {
    std::fs::create_dir(stage.path("enrichments")).unwrap();
    let enrichment = json!({"schema": "iglu:com.snowplowanalytics.snowplow/ip_lookups/jsonschema/2-0-0", "data": {
        "name": "ip_lookups", "vendor": "com.snowplowanalytics.snowplow", "enabled": true,
        "parameters": {"geo": {"database": "x.mmdb", "uri": uri}}}});
    stage.write("enrichments/ip_lookups.json", &enrichment.to_string());
    stage.argument("-n").argument("enrichments")
}

fn with_property(stage: Stage, classification: &str) -> Stage {
    stage.replace("    configuration:\n", &format!("    configuration:\n      {classification}\n"))
}

fn with_archive(stage: Stage, bytes: Vec<u8>) -> Stage {
    stage.set(Set::PutObject(PutObject {
        bucket: "acme-etl".to_owned(),
        key: "certs/emr.zip".to_owned(),
        bytes: Some(bytes),
        ..Default::default()
    }));
    stage
}

/// A certificate for the scene's instances that ends in so many days, and its key.
fn certificate(days: i64) -> (String, KeyPair) {
    let name = "*.eu-west-1.compute.internal";
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key)
}

fn archive(key: &KeyPair, chain: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (member, text) in
        [("privateKey.pem", key.serialize_pem().as_str()), ("certificateChain.pem", chain)]
    {
        archive.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn with_tracking(stage: Stage, protocol: &str) -> Stage {
    stage.replace(
        "  tags: {}\n",
        &format!(
            "  tags: {{}}\n  snowplow: {{method: get, collector: \
        c.acme.com, app_id: etl, protocol: {protocol}}}\n"
        ),
    )
}

pub(crate) fn pre_flight() -> Vec<&'static Check> {
    CATALOGUE.iter().copied().filter(|check| check.stage == When::PreFlight).collect()
}

/// Evaluates every case, several concurrently (most of their time is waiting), and panics with all
/// failures.
pub(crate) fn for_each<T: Sync>(cases: &[T], judge: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(message) = judge(case) {
                        wrong.lock().unwrap().push(message);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn statuses(played: &Played, check: &Check) -> BTreeMap<String, String> {
    played.findings(check.name)
}

fn said(check: &Check, what: &str, played: &Played) -> String {
    format!(
        "{}, {what}: exit {:?}, findings {:?}\n{}",
        check.name,
        played.code,
        statuses(played, check),
        played.stderr
    )
}

/// Whether no stage passes at all times, because the result for a release changes with the date.
/// That it can pass is tested with fixed dates, in src/checks/release_lifecycle.rs.
fn depends_on_the_day(check: &str) -> bool {
    check == "release-supported"
}

#[test]
fn every_check_is_well_when_all_is_well_and_says_so() {
    for_each(&pre_flight(), |check| {
        if depends_on_the_day(check.name) {
            return Ok(());
        }
        let played = good(check.name).check();
        let statuses = statuses(&played, check);
        let well =
            statuses.values().all(|status| matches!(status.as_str(), "passed" | "not-applicable"));
        let speaks = !statuses.is_empty();
        if well && speaks && played.code == Some(0) {
            Ok(())
        } else {
            Err(said(check, "all well", &played))
        }
    });
}

#[test]
fn every_check_can_fail_and_refuses_if_it_is_required() {
    for_each(&pre_flight(), |check| {
        if cannot_be_failed(check.name) {
            return Ok(());
        }
        let stage = refuting(check.name);
        let stage = if check.level == Level::Advisory {
            stage.option(&format!("--enforce={}", check.name))
        } else {
            stage
        };
        let played = stage.run();
        let failed = statuses(&played, check).values().any(|status| status == "failed");
        let launched = played.runner_started()
            || !stage.sim.requests_for("RunJobFlow").is_empty()
            || !stage.sim.requests_for("AddJobFlowSteps").is_empty();
        if failed && !launched && played.code == Some(77) {
            Ok(())
        } else {
            Err(said(check, "failed", &played))
        }
    });
}

/// Makes every call that decides a check fail in turn; the check must then be Unknown, and must
/// refuse the launch if it is required. Checks that need no stage of their own share one for each
/// call.
fn unknown_by(what: &str, kind: &FaultKind) {
    let mut shared: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
    let mut cases: Vec<(Vec<&Check>, &str)> = Vec::new();
    for check in pre_flight() {
        let is_own = own_stage(check.name).is_some();
        for call in check.asks {
            if is_own {
                cases.push((vec![check], call.operation));
            } else {
                shared.entry(call.operation).or_default().push(check);
            }
        }
    }
    cases.extend(shared.into_iter().map(|(operation, checks)| (checks, operation)));
    assert!(!cases.is_empty());
    for_each(&cases, |(checks, operation)| {
        let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
        let stage = good(names[0])
            .option(&format!("--enforce={}", names.join(",")))
            .env("EMR_ETL_GUARD_AWS_TIMEOUT", "3s");
        stage.set(Set::AddFault(Fault::every(operation, kind.clone())));
        let played = stage.run();
        let refused = played.code == Some(69) && !played.runner_started();
        let wrong: Vec<String> = checks
            .iter()
            .filter(|check| {
                let statuses = statuses(&played, check);
                let unknown = statuses.values().any(|status| status == "unknown")
                    && statuses.values().all(|status| status != "failed");
                !(unknown && refused)
            })
            .map(|check| said(check, &format!("{operation} {what}"), &played))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
}

#[test]
fn every_check_is_unknown_when_a_call_that_decides_it_is_denied() {
    unknown_by("denied", &FaultKind::AccessDenied);
}

#[test]
fn every_check_is_unknown_when_a_call_that_decides_it_is_never_answered() {
    unknown_by("never answered", &FaultKind::Hang);
}
