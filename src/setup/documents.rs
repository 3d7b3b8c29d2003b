//! The policy documents of `setup`: trust policies, key policies, inline policies, and the
//! statements for buckets. Every statement has an id that begins as [`SID_START`] says.
//!
//! The end of an id is a digest of the setup's name and of the statement. Two setups that share a
//! key or a bucket have statements side by side, and a statement is replaced only by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};

use crate::{
    base::{digest::sha256, names::BucketName},
    facts::{
        emr::canonical,
        iam_policy::{AccessRequest, PolicyDecision, decide},
        kms::ViaService,
    },
    setup::{
        desired::SetupInputs,
        merge::{self, MergeError, SID_START},
        needs::Need,
        options::SetupExtra,
    },
};

/// A statement of `setup`, with its id.
pub(super) fn statement(name: &str, purpose: &str, mut statement: Value) -> Value {
    let digest = sha256(format!("{name}\n{}", canonical(&statement)));
    let sid = format!("{SID_START}{purpose}{}", &digest[..8]);
    if let Some(fields) = statement.as_object_mut() {
        fields.shift_insert(0, "Sid".to_owned(), Value::String(sid));
    }
    statement
}

/// A document of these statements.
pub(super) fn of(statements: &[Value]) -> Value {
    merge::unsized_document(statements)
}

/// The service that assumes a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrustedService {
    /// The EMR service.
    Emr,
    /// EC2, for the instances.
    Ec2,
}

impl TrustedService {
    const fn name(self) -> &'static str {
        match self {
            Self::Emr => "elasticmapreduce",
            Self::Ec2 => "ec2",
        }
    }

    /// Its name in a trust policy.
    pub(super) fn principal(self, inputs: &SetupInputs<'_>) -> String {
        format!("{}.{}", self.name(), inputs.domain())
    }

    /// The trust policy of a new role. EMR may assume it only for this account, as AWS recommends;
    /// for any region, because roles have none. EC2 sends no such context. Source: Amazon EMR
    /// management guide, Service role for Amazon EMR (EMR role).
    pub(super) fn trust(self, inputs: &SetupInputs<'_>) -> Value {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": {"Service": self.principal(inputs)},
            "Action": "sts:AssumeRole",
        });
        if self == Self::Emr {
            let account = inputs.account.as_str();
            let arn = format!("arn:{}:elasticmapreduce:*:{account}:*", inputs.partition());
            statement["Condition"] = json!({
                "StringEquals": {"aws:SourceAccount": account},
                "ArnLike": {"aws:SourceArn": arn},
            });
        }
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    /// Whether a trust policy lets the service assume the role, as far as that can be seen.
    pub(super) fn is_trusted(self, inputs: &SetupInputs<'_>, trust: &Value) -> bool {
        let Ok(statements) = merge::statements(trust) else { return false };
        // In China, AWS accepts both forms.
        let names = [self.principal(inputs), format!("{}.amazonaws.com", self.name())];
        statements.into_iter().any(|statement| {
            let services = texts(&statement["Principal"]["Service"]);
            let actions = texts(&statement["Action"]);
            statement["Effect"] == "Allow"
                && services.iter().any(|service| names.iter().any(|name| name == service))
                && actions.iter().any(|action| {
                    action.eq_ignore_ascii_case("sts:AssumeRole")
                        || *action == "*"
                        || action.eq_ignore_ascii_case("sts:*")
                })
        })
    }
}

/// One text, or a list of texts.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The statements that allow `needs`, as far as `lacks` holds for the action and resource.
pub(super) fn allowing(
    name: &str,
    needs: &[Need],
    lacks: impl Fn(&str, &str) -> bool,
) -> Vec<Value> {
    let mut statements = Vec::new();
    for need in needs {
        let mut grouped: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
        for resource in &need.resources {
            let lacking: BTreeSet<&str> =
                need.actions.iter().copied().filter(|action| lacks(action, resource)).collect();
            if !lacking.is_empty() {
                grouped.entry(lacking).or_default().insert(resource);
            }
        }
        for (actions, resources) in grouped {
            let mut allows = json!({
                "Effect": "Allow",
                "Action": actions,
                "Resource": resources,
            });
            if !need.context.is_empty() {
                let equals: BTreeMap<_, _> = need.context.iter().cloned().collect();
                allows["Condition"] = json!({"StringEquals": equals});
            }
            statements.push(statement(name, need.purpose, allows));
        }
    }
    statements
}

/// A user of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyUser {
    pub(super) kind: KeyUserKind,
    /// The ARN of the role or user.
    pub(super) arn: String,
}

/// What a user of the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyUserKind {
    /// The role of the instances.
    Instances,
    /// The service role.
    Service,
    /// The runner's user or role.
    Launcher,
    /// The guard's user or role.
    Guard,
}

/// The actions of the console's "key users". Source: AWS KMS developer guide, Default key policy;
/// Amazon EMR management guide, Create keys and certificates for data encryption.
const USE: [&str; 5] =
    ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"];

/// What S3 needs of the key for a new object.
const WRITE: &str = "kms:GenerateDataKey";

/// The actions of an administrator who cannot use the key. `kms:CreateGrant` is not among them,
/// because a grant gives its use.
const ADMINISTRATION: [&str; 20] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
];

impl KeyUser {
    /// What it may do: a part of the statement id, the actions, and the condition.
    fn allowances(
        &self,
        inputs: &SetupInputs<'_>,
    ) -> Vec<(&'static str, Vec<&'static str>, Value)> {
        let s3 = ViaService::S3.endpoint(inputs.s3_region());
        let by_s3 = json!({"StringEquals": {"kms:ViaService": s3}});
        let for_aws = json!({"Bool": {"kms:GrantIsForAWSResource": "true"}});
        match self.kind {
            KeyUserKind::Instances => vec![("InstanceRole", USE.to_vec(), Value::Null)],
            KeyUserKind::Service => vec![
                ("ServiceRole", USE.to_vec(), Value::Null),
                ("ServiceRoleGrants", vec!["kms:CreateGrant"], for_aws),
            ],
            KeyUserKind::Launcher => {
                vec![("Launcher", vec!["kms:Decrypt", "kms:GenerateDataKey"], by_s3)]
            }
            KeyUserKind::Guard => {
                let looks = vec![
                    "kms:DescribeKey",
                    "kms:GetKeyPolicy",
                    "kms:GetKeyRotationStatus",
                    "kms:ListGrants",
                ];
                let mut all = vec![
                    ("Guard", looks, Value::Null),
                    ("GuardReads", vec!["kms:Decrypt"], by_s3.clone()),
                ];
                // The bucket for evidence has this key as its default.
                if inputs.makes_extra(SetupExtra::EvidenceBucket) {
                    all.push(("GuardWrites", vec![WRITE], by_s3));
                }
                all
            }
        }
    }

    /// The requests by which it is found out whether a policy allows what it needs: the action, and
    /// the service that asks on its behalf.
    fn requests(&self, inputs: &SetupInputs<'_>) -> Vec<(&'static str, ViaService)> {
        let through = |via: ViaService, actions: &[&'static str]| {
            actions.iter().map(|action| (*action, via)).collect::<Vec<_>>()
        };
        let uses = [
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
            "kms:GenerateDataKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:DescribeKey",
        ];
        match self.kind {
            KeyUserKind::Instances => {
                let mut all = through(ViaService::Itself, &uses);
                all.extend(through(ViaService::S3, &["kms:GenerateDataKey", "kms:Decrypt"]));
                all
            }
            KeyUserKind::Service => {
                let mut all = through(ViaService::Ec2, &uses);
                all.extend(through(ViaService::Ec2, &["kms:CreateGrant"]));
                all
            }
            KeyUserKind::Launcher => {
                through(ViaService::S3, &["kms:Decrypt", "kms:GenerateDataKey"])
            }
            KeyUserKind::Guard => {
                let looks = [
                    "kms:DescribeKey",
                    "kms:GetKeyPolicy",
                    "kms:GetKeyRotationStatus",
                    "kms:ListGrants",
                ];
                let mut all = through(ViaService::Itself, &looks);
                all.extend(through(ViaService::S3, &["kms:Decrypt"]));
                if inputs.makes_extra(SetupExtra::EvidenceBucket) {
                    all.extend(through(ViaService::S3, &[WRITE]));
                }
                all
            }
        }
    }

    /// The decision of a key policy about one of its requests.
    fn decision(
        &self,
        inputs: &SetupInputs<'_>,
        policy: &str,
        (action, via): (&str, ViaService),
    ) -> PolicyDecision {
        let region = match via {
            ViaService::S3 => inputs.s3_region(),
            ViaService::Itself | ViaService::Ec2 => inputs.region(),
        };
        let endpoint = via.endpoint(region);
        let context = BTreeMap::from([
            ("kms:calleraccount", Some(inputs.account.as_str())),
            ("kms:viaservice", endpoint.as_deref()),
            ("kms:grantisforawsresource", (action == "kms:CreateGrant").then_some("true")),
            ("aws:principalaccount", Some(inputs.account.as_str())),
            ("aws:principalarn", Some(self.arn.as_str())),
            ("aws:requestedregion", Some(inputs.region())),
            ("aws:securetransport", Some("true")),
        ]);
        decide(policy, &AccessRequest { caller: &self.arn, action, resource: None, context })
    }

    /// What a key policy says about all of its requests.
    pub(super) fn standing(&self, inputs: &SetupInputs<'_>, policy: &Value) -> KeyStanding {
        let text = policy.to_string();
        let mut standing = KeyStanding::Allowed;
        for request in self.requests(inputs) {
            match self.decision(inputs, &text, request) {
                PolicyDecision::Denies(statement) => {
                    return KeyStanding::Denied { action: request.0, statement };
                }
                PolicyDecision::AllowsCaller => {}
                // What the guard may do is in the policy that `explain --permissions` prints.
                PolicyDecision::DelegatesToAccount
                    if self.kind == KeyUserKind::Guard && request.0 != WRITE => {}
                PolicyDecision::Unclear(statement) => {
                    standing = KeyStanding::Unclear { statement };
                }
                PolicyDecision::DelegatesToAccount | PolicyDecision::Silent => {
                    if standing == KeyStanding::Allowed {
                        standing = KeyStanding::Lacking;
                    }
                }
            }
        }
        standing
    }

    /// The statements that allow all of it.
    pub(super) fn statements(&self, inputs: &SetupInputs<'_>) -> Vec<Value> {
        let allowed = self.allowances(inputs).into_iter();
        let made = allowed.map(|(purpose, actions, condition)| {
            let mut allows = json!({
                "Effect": "Allow",
                "Principal": {"AWS": self.arn},
                "Action": actions,
                "Resource": "*",
            });
            if !condition.is_null() {
                allows["Condition"] = condition;
            }
            statement(&inputs.options.name, purpose, allows)
        });
        made.collect()
    }
}

/// What a key policy says about a user of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyStanding {
    /// It allows all that is needed.
    Allowed,
    /// It does not allow all of it.
    Lacking,
    /// A statement may apply, but has parts that are not evaluated.
    Unclear { statement: String },
    /// A statement denies it.
    Denied { action: &'static str, statement: String },
}

/// The policy of a new key: the account administers it, so that nobody is locked out, and only its
/// users use it.
pub(super) fn key_policy(inputs: &SetupInputs<'_>, users: &[KeyUser]) -> Result<Value, MergeError> {
    let administration = json!({
        "Effect": "Allow",
        "Principal": {"AWS": inputs.root()},
        "Action": ADMINISTRATION,
        "Resource": "*",
    });
    let mut statements = vec![statement(&inputs.options.name, "Administration", administration)];
    statements.extend(users.iter().flat_map(|user| user.statements(inputs)));
    merge::fresh(merge::DocumentKind::Key, &statements)
}

/// The statement that denies every request to a bucket without TLS. It is the same for every setup,
/// so that a bucket gets it once.
pub(super) fn tls_only(inputs: &SetupInputs<'_>, bucket: &BucketName) -> Value {
    let arn = inputs.bucket_arn(bucket);
    json!({
        "Sid": format!("{SID_START}TlsOnly"),
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, format!("{arn}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

/// The id of the statement that keeps others from the certificates.
pub(super) const CERTIFICATES_SID: &str = "EmrEtlGuardCertificates";

/// The statement that denies reading the bucket of the certificates to all but `readers`, the ARNs
/// of roles and users.
pub(super) fn certificates_only(
    inputs: &SetupInputs<'_>,
    bucket: &BucketName,
    readers: &BTreeSet<String>,
) -> Value {
    json!({
        "Sid": CERTIFICATES_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": format!("{}/*", inputs.bucket_arn(bucket)),
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": readers}},
    })
}

/// The readers that the statement on certificates excepts in a policy that exists.
pub(super) fn excepted_readers(policy: &Value) -> BTreeSet<String> {
    let Ok(statements) = merge::statements(policy) else { return BTreeSet::new() };
    let of_setup = |statement: &&&Value| statement["Sid"] == CERTIFICATES_SID;
    let excepted = statements
        .iter()
        .filter(of_setup)
        .flat_map(|statement| texts(&statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]));
    excepted.map(str::to_owned).collect()
}

/// The ids of statements, for messages.
pub(super) fn ids(statements: &[Value]) -> String {
    let mut text = String::new();
    for id in statements.iter().filter_map(|statement| statement["Sid"].as_str()) {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{id}");
    }
    text
}
