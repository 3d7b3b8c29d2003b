//! Every call that the guard makes to AWS, and the permission that allows it. Checks name their
//! calls from it, and `explain --permissions` lists it.

use serde::Serialize;

/// One kind of call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// The API's name of the call, `GetBucketEncryption`.
    pub operation: &'static str,
    /// The IAM action that allows it, `s3:GetEncryptionConfiguration`. Some actions have another
    /// name than the call.
    pub permission: &'static str,
    /// The resource type to which a policy can limit that action.
    pub on: Resource,
}

/// The resource type to which an IAM action can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// None: the action has no resource type, so a policy must say `*`.
    Any,
    /// A bucket.
    Bucket,
    /// An object in a bucket.
    Object,
    /// A KMS key.
    Key,
    /// An instance profile.
    InstanceProfile,
    /// A role.
    Role,
    /// A role or a user.
    Principal,
    /// An EMR cluster.
    Cluster,
    /// An SNS topic.
    Topic,
    /// An SQS queue.
    Queue,
    /// A rule of EventBridge.
    EventRule,
    /// An alarm of CloudWatch.
    Alarm,
}

const fn call(operation: &'static str, permission: &'static str, on: Resource) -> Call {
    Call { operation, permission, on }
}

pub(crate) static GET_CALLER_IDENTITY: Call =
    call("GetCallerIdentity", "sts:GetCallerIdentity", Resource::Any);

pub(crate) static HEAD_BUCKET: Call = call("HeadBucket", "s3:ListBucket", Resource::Bucket);
pub(crate) static GET_BUCKET_ENCRYPTION: Call =
    call("GetBucketEncryption", "s3:GetEncryptionConfiguration", Resource::Bucket);

pub(crate) static GET_BUCKET_POLICY: Call =
    call("GetBucketPolicy", "s3:GetBucketPolicy", Resource::Bucket);
pub(crate) static GET_BUCKET_POLICY_STATUS: Call =
    call("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", Resource::Bucket);
pub(crate) static GET_PUBLIC_ACCESS_BLOCK: Call =
    call("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", Resource::Bucket);

/// The same call to S3's control plane, for an account.
pub(crate) static GET_ACCOUNT_PUBLIC_ACCESS_BLOCK: Call =
    call("GetPublicAccessBlock", "s3:GetAccountPublicAccessBlock", Resource::Any);

pub(crate) static GET_BUCKET_VERSIONING: Call =
    call("GetBucketVersioning", "s3:GetBucketVersioning", Resource::Bucket);

pub(crate) static LIST_OBJECTS: Call = call("ListObjectsV2", "s3:ListBucket", Resource::Bucket);
pub(crate) static LIST_OBJECT_VERSIONS: Call =
    call("ListObjectVersions", "s3:ListBucketVersions", Resource::Bucket);
pub(crate) static HEAD_OBJECT: Call = call("HeadObject", "s3:GetObject", Resource::Object);
/// The same call for a version of an object, which needs another permission.
pub(crate) static HEAD_VERSION: Call = call("HeadObject", "s3:GetObjectVersion", Resource::Object);
pub(crate) static GET_VERSION: Call = call("GetObject", "s3:GetObjectVersion", Resource::Object);
pub(crate) static GET_OBJECT: Call = call("GetObject", "s3:GetObject", Resource::Object);

pub(crate) static GET_OBJECT_TAGGING: Call =
    call("GetObjectTagging", "s3:GetObjectTagging", Resource::Object);
pub(crate) static GET_OBJECT_ACL: Call = call("GetObjectAcl", "s3:GetObjectAcl", Resource::Object);
pub(crate) static GET_BUCKET_WEBSITE: Call =
    call("GetBucketWebsite", "s3:GetBucketWebsite", Resource::Bucket);
pub(crate) static GET_BUCKET_NOTIFICATION_CONFIGURATION: Call =
    call("GetBucketNotificationConfiguration", "s3:GetBucketNotification", Resource::Bucket);
pub(crate) static GET_BUCKET_REPLICATION: Call =
    call("GetBucketReplication", "s3:GetReplicationConfiguration", Resource::Bucket);
pub(crate) static GET_BUCKET_LIFECYCLE_CONFIGURATION: Call =
    call("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", Resource::Bucket);
pub(crate) static GET_BUCKET_REQUEST_PAYMENT: Call =
    call("GetBucketRequestPayment", "s3:GetBucketRequestPayment", Resource::Bucket);
pub(crate) static GET_BUCKET_OWNERSHIP_CONTROLS: Call =
    call("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", Resource::Bucket);
pub(crate) static GET_OBJECT_LOCK_CONFIGURATION: Call =
    call("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", Resource::Bucket);
pub(crate) static GET_OBJECT_RETENTION: Call =
    call("GetObjectRetention", "s3:GetObjectRetention", Resource::Object);
pub(crate) static GET_OBJECT_LEGAL_HOLD: Call =
    call("GetObjectLegalHold", "s3:GetObjectLegalHold", Resource::Object);
pub(crate) static COPY_OBJECT: Call = call("CopyObject", "s3:PutObject", Resource::Object);
pub(crate) static UPDATE_OBJECT_ENCRYPTION: Call =
    call("UpdateObjectEncryption", "s3:UpdateObjectEncryption", Resource::Object);
pub(crate) static CREATE_MULTIPART_UPLOAD: Call =
    call("CreateMultipartUpload", "s3:PutObject", Resource::Object);
pub(crate) static UPLOAD_PART_COPY: Call = call("UploadPartCopy", "s3:PutObject", Resource::Object);
pub(crate) static COMPLETE_MULTIPART_UPLOAD: Call =
    call("CompleteMultipartUpload", "s3:PutObject", Resource::Object);
pub(crate) static ABORT_MULTIPART_UPLOAD: Call =
    call("AbortMultipartUpload", "s3:AbortMultipartUpload", Resource::Object);
pub(crate) static LIST_PARTS: Call =
    call("ListParts", "s3:ListMultipartUploadParts", Resource::Object);
pub(crate) static LIST_MULTIPART_UPLOADS: Call =
    call("ListMultipartUploads", "s3:ListBucketMultipartUploads", Resource::Bucket);
pub(crate) static LIST_OBJECT_ANNOTATIONS: Call =
    call("ListObjectAnnotations", "s3:ListObjectAnnotations", Resource::Object);
pub(crate) static RESTORE_OBJECT: Call =
    call("RestoreObject", "s3:RestoreObject", Resource::Object);
pub(crate) static DELETE_OBJECT_VERSION: Call =
    call("DeleteObject", "s3:DeleteObjectVersion", Resource::Object);
pub(crate) static PUT_OBJECT: Call = call("PutObject", "s3:PutObject", Resource::Object);

pub(crate) static CREATE_JOB: Call = call("CreateJob", "s3:CreateJob", Resource::Any);
pub(crate) static DESCRIBE_JOB: Call = call("DescribeJob", "s3:DescribeJob", Resource::Any);
pub(crate) static LIST_JOBS: Call = call("ListJobs", "s3:ListJobs", Resource::Any);
pub(crate) static UPDATE_JOB_STATUS: Call =
    call("UpdateJobStatus", "s3:UpdateJobStatus", Resource::Any);

pub(crate) static DESCRIBE_KEY: Call = call("DescribeKey", "kms:DescribeKey", Resource::Key);
pub(crate) static GET_KEY_ROTATION_STATUS: Call =
    call("GetKeyRotationStatus", "kms:GetKeyRotationStatus", Resource::Key);
pub(crate) static LIST_GRANTS: Call = call("ListGrants", "kms:ListGrants", Resource::Key);
pub(crate) static GET_KEY_POLICY: Call = call("GetKeyPolicy", "kms:GetKeyPolicy", Resource::Key);

pub(crate) static GET_PUBLIC_KEY: Call = call("GetPublicKey", "kms:GetPublicKey", Resource::Key);
pub(crate) static SIGN: Call = call("Sign", "kms:Sign", Resource::Key);

pub(crate) static GET_INSTANCE_PROFILE: Call =
    call("GetInstanceProfile", "iam:GetInstanceProfile", Resource::InstanceProfile);
pub(crate) static GET_ROLE: Call = call("GetRole", "iam:GetRole", Resource::Role);
pub(crate) static LIST_ATTACHED_ROLE_POLICIES: Call =
    call("ListAttachedRolePolicies", "iam:ListAttachedRolePolicies", Resource::Role);
pub(crate) static GET_ROLE_POLICY: Call =
    call("GetRolePolicy", "iam:GetRolePolicy", Resource::Role);
pub(crate) static GET_USER_POLICY: Call =
    call("GetUserPolicy", "iam:GetUserPolicy", Resource::Principal);
pub(crate) static SIMULATE_PRINCIPAL_POLICY: Call =
    call("SimulatePrincipalPolicy", "iam:SimulatePrincipalPolicy", Resource::Principal);

pub(crate) static DESCRIBE_SECURITY_CONFIGURATION: Call = call(
    "DescribeSecurityConfiguration",
    "elasticmapreduce:DescribeSecurityConfiguration",
    Resource::Any,
);
pub(crate) static LIST_CLUSTERS: Call =
    call("ListClusters", "elasticmapreduce:ListClusters", Resource::Any);
pub(crate) static DESCRIBE_CLUSTER: Call =
    call("DescribeCluster", "elasticmapreduce:DescribeCluster", Resource::Cluster);
pub(crate) static TERMINATE_JOB_FLOWS: Call =
    call("TerminateJobFlows", "elasticmapreduce:TerminateJobFlows", Resource::Cluster);
pub(crate) static SET_TERMINATION_PROTECTION: Call = call(
    "SetTerminationProtection",
    "elasticmapreduce:SetTerminationProtection",
    Resource::Cluster,
);
pub(crate) static LIST_INSTANCE_GROUPS: Call =
    call("ListInstanceGroups", "elasticmapreduce:ListInstanceGroups", Resource::Cluster);
/// The same for clusters with instance fleets, for which EMR rejects `ListInstanceGroups`.
pub(crate) static LIST_INSTANCE_FLEETS: Call =
    call("ListInstanceFleets", "elasticmapreduce:ListInstanceFleets", Resource::Cluster);
pub(crate) static LIST_BOOTSTRAP_ACTIONS: Call =
    call("ListBootstrapActions", "elasticmapreduce:ListBootstrapActions", Resource::Cluster);
pub(crate) static LIST_INSTANCES: Call =
    call("ListInstances", "elasticmapreduce:ListInstances", Resource::Cluster);
pub(crate) static LIST_STEPS: Call =
    call("ListSteps", "elasticmapreduce:ListSteps", Resource::Cluster);

/// Needed only if the setting `event_queue` names a queue; integration/aws/README.md has the policy
/// for it.
pub(crate) static RECEIVE_MESSAGE: Call =
    call("ReceiveMessage", "sqs:ReceiveMessage", Resource::Queue);
/// Also for the event queue: a message is deleted after it was read.
pub(crate) static DELETE_MESSAGE: Call =
    call("DeleteMessage", "sqs:DeleteMessage", Resource::Queue);

pub(crate) static GET_EBS_ENCRYPTION_BY_DEFAULT: Call =
    call("GetEbsEncryptionByDefault", "ec2:GetEbsEncryptionByDefault", Resource::Any);
pub(crate) static DESCRIBE_SUBNETS: Call =
    call("DescribeSubnets", "ec2:DescribeSubnets", Resource::Any);
pub(crate) static DESCRIBE_VOLUMES: Call =
    call("DescribeVolumes", "ec2:DescribeVolumes", Resource::Any);
pub(crate) static DESCRIBE_VPCS: Call = call("DescribeVpcs", "ec2:DescribeVpcs", Resource::Any);
pub(crate) static DESCRIBE_VPC_ATTRIBUTE: Call =
    call("DescribeVpcAttribute", "ec2:DescribeVpcAttribute", Resource::Any);
pub(crate) static DESCRIBE_DHCP_OPTIONS: Call =
    call("DescribeDhcpOptions", "ec2:DescribeDhcpOptions", Resource::Any);

/// Only for `sentinel`, where no regions are named.
pub(crate) static DESCRIBE_REGIONS: Call =
    call("DescribeRegions", "ec2:DescribeRegions", Resource::Any);

pub(crate) static PUBLISH: Call = call("Publish", "sns:Publish", Resource::Topic);

// The changes of the command `setup`, and what it looks at to take them back.

pub(crate) static CREATE_ROLE: Call = call("CreateRole", "iam:CreateRole", Resource::Role);
pub(crate) static ATTACH_ROLE_POLICY: Call =
    call("AttachRolePolicy", "iam:AttachRolePolicy", Resource::Role);
pub(crate) static DETACH_ROLE_POLICY: Call =
    call("DetachRolePolicy", "iam:DetachRolePolicy", Resource::Role);
pub(crate) static DELETE_ROLE: Call = call("DeleteRole", "iam:DeleteRole", Resource::Role);
pub(crate) static LIST_ROLE_POLICIES: Call =
    call("ListRolePolicies", "iam:ListRolePolicies", Resource::Role);
pub(crate) static LIST_INSTANCE_PROFILES_FOR_ROLE: Call =
    call("ListInstanceProfilesForRole", "iam:ListInstanceProfilesForRole", Resource::Role);
pub(crate) static PUT_ROLE_POLICY: Call =
    call("PutRolePolicy", "iam:PutRolePolicy", Resource::Role);
pub(crate) static DELETE_ROLE_POLICY: Call =
    call("DeleteRolePolicy", "iam:DeleteRolePolicy", Resource::Role);
pub(crate) static PUT_USER_POLICY: Call =
    call("PutUserPolicy", "iam:PutUserPolicy", Resource::Principal);
pub(crate) static DELETE_USER_POLICY: Call =
    call("DeleteUserPolicy", "iam:DeleteUserPolicy", Resource::Principal);
pub(crate) static CREATE_INSTANCE_PROFILE: Call =
    call("CreateInstanceProfile", "iam:CreateInstanceProfile", Resource::InstanceProfile);
pub(crate) static ADD_ROLE_TO_INSTANCE_PROFILE: Call =
    call("AddRoleToInstanceProfile", "iam:AddRoleToInstanceProfile", Resource::InstanceProfile);
pub(crate) static REMOVE_ROLE_FROM_INSTANCE_PROFILE: Call = call(
    "RemoveRoleFromInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile",
    Resource::InstanceProfile,
);
pub(crate) static DELETE_INSTANCE_PROFILE: Call =
    call("DeleteInstanceProfile", "iam:DeleteInstanceProfile", Resource::InstanceProfile);

pub(crate) static CREATE_KEY: Call = call("CreateKey", "kms:CreateKey", Resource::Any);
pub(crate) static CREATE_ALIAS: Call = call("CreateAlias", "kms:CreateAlias", Resource::Key);
pub(crate) static ENABLE_KEY_ROTATION: Call =
    call("EnableKeyRotation", "kms:EnableKeyRotation", Resource::Key);
pub(crate) static DISABLE_KEY_ROTATION: Call =
    call("DisableKeyRotation", "kms:DisableKeyRotation", Resource::Key);
pub(crate) static PUT_KEY_POLICY: Call = call("PutKeyPolicy", "kms:PutKeyPolicy", Resource::Key);
pub(crate) static LIST_KEYS: Call = call("ListKeys", "kms:ListKeys", Resource::Any);
pub(crate) static LIST_RESOURCE_TAGS: Call =
    call("ListResourceTags", "kms:ListResourceTags", Resource::Key);

pub(crate) static CREATE_BUCKET: Call = call("CreateBucket", "s3:CreateBucket", Resource::Bucket);
pub(crate) static PUT_BUCKET_VERSIONING: Call =
    call("PutBucketVersioning", "s3:PutBucketVersioning", Resource::Bucket);
/// `CreateBucket` needs this permission and the one above as well, for a bucket with Object Lock.
pub(crate) static PUT_OBJECT_LOCK_CONFIGURATION: Call =
    call("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", Resource::Bucket);
pub(crate) static DELETE_BUCKET: Call = call("DeleteBucket", "s3:DeleteBucket", Resource::Bucket);
pub(crate) static PUT_BUCKET_ENCRYPTION: Call =
    call("PutBucketEncryption", "s3:PutEncryptionConfiguration", Resource::Bucket);
/// The same permission allows the deletion, which makes SSE-S3 the default again.
pub(crate) static DELETE_BUCKET_ENCRYPTION: Call =
    call("DeleteBucketEncryption", "s3:PutEncryptionConfiguration", Resource::Bucket);
pub(crate) static PUT_PUBLIC_ACCESS_BLOCK: Call =
    call("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", Resource::Bucket);
/// The same permission allows the deletion.
pub(crate) static DELETE_PUBLIC_ACCESS_BLOCK: Call =
    call("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock", Resource::Bucket);
pub(crate) static PUT_BUCKET_POLICY: Call =
    call("PutBucketPolicy", "s3:PutBucketPolicy", Resource::Bucket);
pub(crate) static DELETE_BUCKET_POLICY: Call =
    call("DeleteBucketPolicy", "s3:DeleteBucketPolicy", Resource::Bucket);
pub(crate) static DELETE_OBJECT: Call = call("DeleteObject", "s3:DeleteObject", Resource::Object);

pub(crate) static CREATE_SECURITY_CONFIGURATION: Call = call(
    "CreateSecurityConfiguration",
    "elasticmapreduce:CreateSecurityConfiguration",
    Resource::Any,
);
pub(crate) static DELETE_SECURITY_CONFIGURATION: Call = call(
    "DeleteSecurityConfiguration",
    "elasticmapreduce:DeleteSecurityConfiguration",
    Resource::Any,
);
pub(crate) static LIST_SECURITY_CONFIGURATIONS: Call = call(
    "ListSecurityConfigurations",
    "elasticmapreduce:ListSecurityConfigurations",
    Resource::Any,
);

pub(crate) static CREATE_TOPIC: Call = call("CreateTopic", "sns:CreateTopic", Resource::Topic);
pub(crate) static GET_TOPIC_ATTRIBUTES: Call =
    call("GetTopicAttributes", "sns:GetTopicAttributes", Resource::Topic);
pub(crate) static SET_TOPIC_ATTRIBUTES: Call =
    call("SetTopicAttributes", "sns:SetTopicAttributes", Resource::Topic);
pub(crate) static DELETE_TOPIC: Call = call("DeleteTopic", "sns:DeleteTopic", Resource::Topic);

pub(crate) static CREATE_QUEUE: Call = call("CreateQueue", "sqs:CreateQueue", Resource::Queue);
pub(crate) static GET_QUEUE_URL: Call = call("GetQueueUrl", "sqs:GetQueueUrl", Resource::Queue);
pub(crate) static GET_QUEUE_ATTRIBUTES: Call =
    call("GetQueueAttributes", "sqs:GetQueueAttributes", Resource::Queue);
pub(crate) static SET_QUEUE_ATTRIBUTES: Call =
    call("SetQueueAttributes", "sqs:SetQueueAttributes", Resource::Queue);
pub(crate) static DELETE_QUEUE: Call = call("DeleteQueue", "sqs:DeleteQueue", Resource::Queue);

pub(crate) static PUT_RULE: Call = call("PutRule", "events:PutRule", Resource::EventRule);
pub(crate) static DESCRIBE_RULE: Call =
    call("DescribeRule", "events:DescribeRule", Resource::EventRule);
pub(crate) static PUT_TARGETS: Call = call("PutTargets", "events:PutTargets", Resource::EventRule);
pub(crate) static LIST_TARGETS_BY_RULE: Call =
    call("ListTargetsByRule", "events:ListTargetsByRule", Resource::EventRule);
pub(crate) static REMOVE_TARGETS: Call =
    call("RemoveTargets", "events:RemoveTargets", Resource::EventRule);
pub(crate) static DELETE_RULE: Call = call("DeleteRule", "events:DeleteRule", Resource::EventRule);

pub(crate) static DESCRIBE_ALARMS: Call =
    call("DescribeAlarms", "cloudwatch:DescribeAlarms", Resource::Alarm);
pub(crate) static PUT_METRIC_ALARM: Call =
    call("PutMetricAlarm", "cloudwatch:PutMetricAlarm", Resource::Alarm);
pub(crate) static DELETE_ALARMS: Call =
    call("DeleteAlarms", "cloudwatch:DeleteAlarms", Resource::Alarm);
