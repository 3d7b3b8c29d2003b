//! The service control policy that `explain --scp` prints: what an AWS organisation can deny beside
//! the guard. IAM sees neither a security configuration nor whether something is in use, so each
//! statement has a list of what it does not stop.
//!
//! Source of the actions, resources and condition keys: AWS, "Service Authorization Reference",
//! Amazon EMR and Amazon EC2.

use serde_json::{Value, json};

use crate::{base::names::PrincipalPattern, spec::cluster_spec::ClusterSpec};

/// Who is exempt from which statement, and what they are limited to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceControlScope<'a> {
    /// The roles and users that may start clusters.
    pub(crate) launchers: &'a [PrincipalPattern],
    /// The roles and users that may make and delete security configurations.
    pub(crate) admins: &'a [PrincipalPattern],
    /// The cluster of a runner config: its service role starts the instances.
    pub(crate) cluster: Option<&'a ClusterSpec>,
}

/// A statement of the policy, and its limits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DenyStatement {
    /// The statement.
    pub(crate) statement: Value,
    /// What it does not stop.
    pub(crate) does_not_stop: &'static [&'static str],
    /// What it denies although it is safe.
    pub(crate) also_denies: &'static [&'static str],
}

impl DenyStatement {
    /// The statement's id.
    pub(crate) fn sid(&self) -> &str {
        self.statement["Sid"].as_str().unwrap_or_default()
    }
}

/// The statements, in order.
pub(crate) fn statements(scope: ServiceControlScope<'_>) -> Vec<DenyStatement> {
    vec![launches(scope), security_configurations(scope), volumes(scope), ebs_default(scope)]
}

/// The policy document.
pub(crate) fn document(statements: &[DenyStatement]) -> Value {
    let statements: Vec<&Value> = statements.iter().map(|deny| &deny.statement).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// RunJobFlow has no condition key for security configurations, so only its caller can be limited.
fn launches(scope: ServiceControlScope<'_>) -> DenyStatement {
    DenyStatement {
        statement: json!({
            "Sid": "OnlyLaunchersStartClusters",
            "Effect": "Deny",
            "Action": ["elasticmapreduce:RunJobFlow"],
            "Resource": ["*"],
            "Condition": not_by(scope.launchers),
        }),
        does_not_stop: &[
            "a launcher that starts a cluster without a security configuration, or with a weak \
             one: no condition key shows it; the guard does",
            "steps, instances and bootstrap scripts that are added to clusters that run already",
            "Amazon EMR on EKS and EMR Serverless, which have actions of their own",
        ],
        also_denies: &[
            "launches by people and services that are not in the list, encrypted or not",
        ],
    }
}

fn security_configurations(scope: ServiceControlScope<'_>) -> DenyStatement {
    DenyStatement {
        statement: json!({
            "Sid": "OnlyAdminsChangeSecurityConfigurations",
            "Effect": "Deny",
            "Action": [
                "elasticmapreduce:CreateSecurityConfiguration",
                "elasticmapreduce:DeleteSecurityConfiguration",
            ],
            "Resource": ["*"],
            "Condition": not_by(scope.admins),
        }),
        does_not_stop: &[
            "an administrator who deletes one that is in use, or makes another one of its name: \
             these actions have no resources and no condition keys, so IAM cannot tell one \
             configuration from another",
            "changes of the KMS keys and certificates that a configuration names",
        ],
        also_denies: &["`emr-etl-guard setup --apply` by others"],
    }
}

fn volumes(scope: ServiceControlScope<'_>) -> DenyStatement {
    let mut condition = json!({"Bool": {"ec2:Encrypted": "false"}});
    if let Some(cluster) = scope.cluster {
        let role = &cluster.service_role.value;
        let roles = if role.starts_with("arn:") {
            vec![role.clone()]
        } else {
            // The name does not show the path that the role may have.
            let name = role.rsplit('/').next().unwrap_or(role);
            let any = format!("arn:{}:iam::*:role/", partition(scope));
            vec![format!("{any}{name}"), format!("{any}*/{name}")]
        };
        condition["ArnLike"] = json!({"aws:PrincipalArn": roles});
    }
    DenyStatement {
        statement: json!({
            "Sid": "OnlyEncryptedVolumes",
            "Effect": "Deny",
            "Action": ["ec2:RunInstances", "ec2:CreateVolume"],
            "Resource": [format!("arn:{}:ec2:*:*:volume/*", partition(scope))],
            "Condition": condition,
        }),
        does_not_stop: &[
            "disks of the instance type itself (instance store), which are no EBS volumes",
            "traffic between nodes, HDFS and S3 without encryption",
        ],
        also_denies: &[
            "volumes that EMR encrypts with LUKS alone, which are not encrypted for EC2: \
             first switch on EBS encryption, in the security configuration or by default, and try \
             it in a test account",
        ],
    }
}

fn ebs_default(scope: ServiceControlScope<'_>) -> DenyStatement {
    DenyStatement {
        statement: json!({
            "Sid": "OnlyAdminsSwitchOffEbsEncryption",
            "Effect": "Deny",
            "Action": ["ec2:DisableEbsEncryptionByDefault"],
            "Resource": ["*"],
            "Condition": not_by(scope.admins),
        }),
        does_not_stop: &[
            "regions in which encryption by default was never switched on",
            "another default key: `ec2:ModifyEbsDefaultKmsKeyId` stays allowed",
        ],
        also_denies: &[],
    }
}

/// Holds for every caller but these. `aws:PrincipalArn` is the role's ARN for sessions of a role.
fn not_by(principals: &[PrincipalPattern]) -> Value {
    let arns: Vec<&str> = principals.iter().map(PrincipalPattern::as_str).collect();
    json!({"ArnNotLike": {"aws:PrincipalArn": arns}})
}

fn partition(scope: ServiceControlScope<'_>) -> &str {
    scope.launchers.first().map_or("aws", PrincipalPattern::partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::emr_etl_runner::config::RunnerConfig;

    fn principals(all: &[&str]) -> Vec<PrincipalPattern> {
        all.iter().map(|arn| arn.parse().unwrap()).collect()
    }

    #[test]
    fn the_policy_of_the_recorded_config_is_scoped_to_its_service_role() {
        let env = |name: &str| name.starts_with("AWS_").then(|| "AKIAFAKE".into());
        let recorded = include_bytes!("../../tests/recordings/config.yml");
        let config = RunnerConfig::parse("config.yml", recorded, &env).unwrap();
        let cluster = config.cluster_spec();
        let launchers = principals(&["arn:aws:iam::123456789012:role/etl"]);
        let admins = principals(&["arn:aws:iam::*:role/platform/*"]);
        let mut scope =
            ServiceControlScope { launchers: &launchers, admins: &admins, cluster: Some(&cluster) };
        let of_config = statements(scope);
        insta::assert_snapshot!(serde_json::to_string_pretty(&document(&of_config)).unwrap());
        scope.cluster = None;
        let of_all = statements(scope);
        assert_eq!(of_all[2].statement["Condition"], json!({"Bool": {"ec2:Encrypted": "false"}}));
        // Only that one depends on a config.
        for (one, other) in of_config.iter().zip(&of_all) {
            assert_eq!(one == other, one.sid() != "OnlyEncryptedVolumes");
        }
    }

    #[test]
    fn each_statement_denies_and_says_what_it_does_not_stop() {
        let some = principals(&["arn:aws-us-gov:iam::123456789012:user/etl"]);
        let scope = ServiceControlScope { launchers: &some, admins: &some, cluster: None };
        let statements = statements(scope);
        for deny in &statements {
            assert_eq!(deny.statement["Effect"], "Deny");
            assert!(!deny.sid().is_empty() && !deny.does_not_stop.is_empty());
        }
        // AWS, "Quotas for AWS Organizations": 5,120 characters, without white space.
        assert!(document(&statements).to_string().len() < 5_120);
        assert_eq!(statements[2].statement["Resource"], json!(["arn:aws-us-gov:ec2:*:*:volume/*"]));
    }
}
