//! Owns the managed policies of AWS that the simulator knows, shortened to what matters to a
//! cluster's encryption and its launch.

use serde_json::{Value, json};

use crate::partition::partition_of_arn;

/// The document of one of AWS' managed policies; none: there is no such policy.
#[must_use]
pub fn managed_policy(arn: &str) -> Option<Value> {
    let partition = partition_of_arn(arn)?;
    let path = arn.strip_prefix(&format!("arn:{partition}:iam::aws:policy/"))?;
    let document = match path {
        "service-role/AmazonElasticMapReduceRole" => service_role(),
        "service-role/AmazonElasticMapReduceforEC2Role" => instance_role(),
        "service-role/AmazonEMRServicePolicy_v2" => service_policy_v2(partition),
        "AmazonEMRFullAccessPolicy_v2" => full_access(partition),
        "AmazonElasticMapReduceFullAccess" => everything(&["elasticmapreduce:*", "s3:*"]),
        "AdministratorAccess" => everything(&["*"]),
        "ReadOnlyAccess" => everything(&["*:Describe*", "*:Get*", "*:List*"]),
        _ => return None,
    };
    Some(document)
}

fn everything(actions: &[&str]) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    })
}

/// Grants nothing on KMS keys.
fn service_role() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Resource": "*",
            "Action": [
                "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CancelSpotInstanceRequests", "ec2:CreateFleet", "ec2:CreateLaunchTemplate",
                "ec2:CreateNetworkInterface", "ec2:CreateSecurityGroup", "ec2:CreateTags",
                "ec2:DeleteLaunchTemplate", "ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup",
                "ec2:DeleteTags", "ec2:DescribeAvailabilityZones", "ec2:DescribeAccountAttributes",
                "ec2:DescribeDhcpOptions", "ec2:DescribeImages", "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstances", "ec2:DescribeKeyPairs", "ec2:DescribeLaunchTemplates",
                "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces",
                "ec2:DescribePrefixLists", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotInstanceRequests", "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcAttribute",
                "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcEndpointServices", "ec2:DescribeVpcs",
                "ec2:DetachNetworkInterface", "ec2:ModifyImageAttribute",
                "ec2:ModifyInstanceAttribute", "ec2:RequestSpotInstances",
                "ec2:RevokeSecurityGroupEgress", "ec2:RunInstances", "ec2:TerminateInstances",
                "ec2:DeleteVolume", "ec2:DescribeVolumeStatus", "ec2:DescribeVolumes",
                "ec2:DetachVolume", "iam:GetRole", "iam:GetRolePolicy", "iam:ListInstanceProfiles",
                "iam:ListRolePolicies", "iam:PassRole", "s3:CreateBucket", "s3:Get*", "s3:List*",
                "sdb:BatchPutAttributes", "sdb:Select", "sqs:CreateQueue", "sqs:Delete*",
                "sqs:GetQueue*", "sqs:PurgeQueue", "sqs:ReceiveMessage",
                "cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms",
                "cloudwatch:DeleteAlarms", "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:PutScalingPolicy",
                "application-autoscaling:DeleteScalingPolicy",
                "application-autoscaling:Describe*",
            ],
        }],
    })
}

/// Grants nothing on KMS keys.
fn instance_role() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Resource": "*",
            "Action": [
                "cloudwatch:*", "dynamodb:*", "ec2:Describe*", "elasticmapreduce:Describe*",
                "elasticmapreduce:ListBootstrapActions", "elasticmapreduce:ListClusters",
                "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances",
                "elasticmapreduce:ListSteps", "kinesis:CreateStream", "kinesis:DeleteStream",
                "kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator",
                "kinesis:MergeShards", "kinesis:PutRecord", "kinesis:SplitShard",
                "rds:Describe*", "s3:*", "sdb:*", "sns:*", "sqs:*", "glue:CreateDatabase",
                "glue:UpdateDatabase", "glue:DeleteDatabase", "glue:GetDatabase",
                "glue:GetDatabases", "glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable",
                "glue:GetTable", "glue:GetTables", "glue:GetPartition", "glue:GetPartitions",
            ],
        }],
    })
}

/// Only for what carries the tag `for-use-with-amazon-emr-managed-policies`.
fn service_policy_v2(partition: &str) -> Value {
    let tag = "for-use-with-amazon-emr-managed-policies";
    let resource_tag = json!({"StringEquals": {format!("aws:ResourceTag/{tag}"): "true"}});
    let request_tag = json!({"StringEquals": {format!("aws:RequestTag/{tag}"): "true"}});
    let ec2 = |kind: &str| format!("arn:{partition}:ec2:*:*:{kind}/*");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "CreateInNetwork", "Effect": "Allow",
                "Action": [
                    "ec2:CreateNetworkInterface", "ec2:RunInstances", "ec2:CreateFleet",
                    "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion",
                ],
                "Resource": [ec2("subnet"), ec2("security-group")],
                "Condition": resource_tag,
            },
            {
                "Sid": "CreateFleetInstances", "Effect": "Allow",
                "Action": ["ec2:CreateFleet", "ec2:RunInstances"],
                "Resource": [ec2("instance"), ec2("volume"), ec2("network-interface")],
                "Condition": request_tag,
            },
            {
                "Sid": "ManageEMRResources", "Effect": "Allow",
                "Action": [
                    "ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate",
                    "ec2:DeleteNetworkInterface", "ec2:ModifyInstanceAttribute",
                    "ec2:TerminateInstances",
                ],
                "Resource": "*",
                "Condition": resource_tag,
            },
            {
                "Sid": "ListActionsForEC2Resources", "Effect": "Allow",
                "Action": ["ec2:Describe*"],
                "Resource": "*",
            },
        ],
    })
}

fn full_access(partition: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ElasticMapReduceActions", "Effect": "Allow",
                "Action": ["elasticmapreduce:*"], "Resource": "*",
            },
            {
                "Sid": "PassRoleForElasticMapReduce", "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": [format!("arn:{partition}:iam::*:role/EMR_DefaultRole_V2")],
                "Condition": {"StringLike": {
                    "iam:PassedToService": "elasticmapreduce.amazonaws.com*"
                }},
            },
        ],
    })
}
