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
    call("ReceiveMessage", "sqs:ReceiveMessage", Resource::Any);
/// Also for the event queue: a message is deleted after it was read.
pub(crate) static DELETE_MESSAGE: Call = call("DeleteMessage", "sqs:DeleteMessage", Resource::Any);

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

pub(crate) static PUBLISH: Call = call("Publish", "sns:Publish", Resource::Topic);
