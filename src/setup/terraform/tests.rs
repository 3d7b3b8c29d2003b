//! The Terraform code of plans: read back, held against the provider's documentation, and against
//! the rules of `terraform fmt`.

use std::collections::{BTreeMap, BTreeSet};

use hcl::{
    Attribute, Block, Expression as ParsedExpression, Structure, Value as HclValue,
    eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    facts::{
        account_state::{BucketEncryptionSettings, PolicyHolder, PublicAccessBlockSettings},
        object_lock::DefaultRetention,
    },
    setup::{
        piece::{
            AlertTopic, Bucket, BucketEncryption, BucketObjectLock, BucketPolicy, BucketVersioning,
            EventQueue, EventRule, InlinePolicy, InstanceProfile, Key, KeyPolicy, KeyRotation,
            MADE_KEY, NamedConfiguration, PublicAccessBlock, RULE_DESCRIPTION, Role,
        },
        samples::{KEY, SamplePlan, any_plan, as_text, samples, wanted},
    },
};

/// The arguments that the code may write for a type of resource.
struct Documented {
    kind: &'static str,
    /// The page of the provider's documentation: `website/docs/r/PAGE.html.markdown` in
    /// hashicorp/terraform-provider-aws.
    page: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

/// Everything that the code may write. Arguments of blocks have the block's name before them.
const DOCUMENTED: [Documented; 25] = [
    Documented {
        kind: "aws_iam_role",
        page: "iam_role",
        required: &["assume_role_policy"],
        optional: &["name"],
    },
    Documented {
        kind: "aws_iam_role_policy_attachment",
        page: "iam_role_policy_attachment",
        required: &["role", "policy_arn"],
        optional: &[],
    },
    Documented {
        kind: "aws_iam_instance_profile",
        page: "iam_instance_profile",
        required: &[],
        optional: &["name", "role"],
    },
    Documented {
        kind: "aws_iam_role_policy",
        page: "iam_role_policy",
        required: &["policy", "role"],
        optional: &["name"],
    },
    Documented {
        kind: "aws_iam_user_policy",
        page: "iam_user_policy",
        required: &["policy", "user"],
        optional: &["name"],
    },
    Documented {
        kind: "aws_kms_key",
        page: "kms_key",
        required: &[],
        optional: &["description", "enable_key_rotation", "deletion_window_in_days", "policy"],
    },
    Documented {
        kind: "aws_kms_alias",
        page: "kms_alias",
        required: &["target_key_id"],
        optional: &["name"],
    },
    Documented {
        kind: "aws_kms_key_policy",
        page: "kms_key_policy",
        required: &["key_id", "policy"],
        optional: &[],
    },
    Documented {
        kind: "aws_s3_bucket",
        page: "s3_bucket",
        required: &[],
        optional: &["bucket", "region", "object_lock_enabled"],
    },
    Documented {
        kind: "aws_s3_bucket_versioning",
        page: "s3_bucket_versioning",
        required: &["bucket", "versioning_configuration.status"],
        optional: &["region"],
    },
    Documented {
        kind: "aws_s3_bucket_object_lock_configuration",
        page: "s3_bucket_object_lock_configuration",
        required: &["bucket"],
        optional: &[
            "region",
            "rule.default_retention.mode",
            "rule.default_retention.days",
            "rule.default_retention.years",
        ],
    },
    Documented {
        kind: "aws_s3_bucket_server_side_encryption_configuration",
        page: "s3_bucket_server_side_encryption_configuration",
        required: &["bucket", "rule.apply_server_side_encryption_by_default.sse_algorithm"],
        optional: &[
            "region",
            "rule.bucket_key_enabled",
            "rule.blocked_encryption_types",
            "rule.apply_server_side_encryption_by_default.kms_master_key_id",
        ],
    },
    Documented {
        kind: "aws_s3_bucket_public_access_block",
        page: "s3_bucket_public_access_block",
        required: &["bucket"],
        optional: &[
            "region",
            "block_public_acls",
            "block_public_policy",
            "ignore_public_acls",
            "restrict_public_buckets",
        ],
    },
    Documented {
        kind: "aws_s3_bucket_policy",
        page: "s3_bucket_policy",
        required: &["bucket", "policy"],
        optional: &["region"],
    },
    Documented {
        kind: "aws_emr_security_configuration",
        page: "emr_security_configuration",
        required: &["configuration"],
        optional: &["name"],
    },
    Documented {
        kind: "aws_sns_topic",
        page: "sns_topic",
        required: &[],
        optional: &["name", "kms_master_key_id"],
    },
    Documented {
        kind: "aws_sns_topic_policy",
        page: "sns_topic_policy",
        required: &["arn", "policy"],
        optional: &[],
    },
    Documented {
        kind: "aws_sqs_queue",
        page: "sqs_queue",
        required: &[],
        optional: &[
            "name",
            "kms_master_key_id",
            "message_retention_seconds",
            "sqs_managed_sse_enabled",
        ],
    },
    Documented {
        kind: "aws_sqs_queue_policy",
        page: "sqs_queue_policy",
        required: &["policy", "queue_url"],
        optional: &[],
    },
    Documented {
        kind: "aws_cloudwatch_event_rule",
        page: "cloudwatch_event_rule",
        required: &[],
        optional: &["name", "description", "event_pattern"],
    },
    Documented {
        kind: "aws_cloudwatch_event_target",
        page: "cloudwatch_event_target",
        required: &["arn", "rule"],
        optional: &["target_id"],
    },
    Documented {
        kind: "aws_vpc",
        page: "vpc",
        required: &[],
        optional: &["enable_dns_support", "enable_dns_hostnames"],
    },
    Documented {
        kind: "aws_vpc_dhcp_options",
        page: "vpc_dhcp_options",
        required: &[],
        optional: &[
            "domain_name",
            "domain_name_servers",
            "ipv6_address_preferred_lease_time",
            "netbios_name_servers",
            "netbios_node_type",
            "ntp_servers",
        ],
    },
    Documented {
        kind: "aws_vpc_dhcp_options_association",
        page: "vpc_dhcp_options_association",
        required: &["vpc_id", "dhcp_options_id"],
        optional: &[],
    },
    // Of every resource: the language's own "The lifecycle Meta-Argument" and "The depends_on
    // Meta-Argument".
    Documented {
        kind: "*",
        page: "",
        required: &[],
        optional: &[
            "lifecycle.create_before_destroy",
            "lifecycle.prevent_destroy",
            "lifecycle.ignore_changes",
            "depends_on",
        ],
    },
];

/// What `ignore_changes` may name: arguments of the same pages that the code does not write.
const IGNORED: [(&str, &[&str]); 7] = [
    (
        "aws_iam_role",
        &[
            "description",
            "max_session_duration",
            "path",
            "permissions_boundary",
            "tags",
            "tags_all",
        ],
    ),
    ("aws_iam_instance_profile", &["path", "tags", "tags_all"]),
    (
        "aws_vpc",
        &[
            "assign_generated_ipv6_cidr_block",
            "cidr_block",
            "enable_dns_hostnames",
            "enable_dns_support",
            "enable_network_address_usage_metrics",
            "instance_tenancy",
            "ipv4_ipam_pool_id",
            "ipv4_netmask_length",
            "ipv6_cidr_block",
            "ipv6_cidr_block_network_border_group",
            "ipv6_ipam_pool_id",
            "ipv6_netmask_length",
            "tags",
            "tags_all",
        ],
    ),
    (
        "aws_kms_key",
        &[
            "bypass_policy_lockout_safety_check",
            "custom_key_store_id",
            "deletion_window_in_days",
            "description",
            "is_enabled",
            "multi_region",
            "policy",
            "rotation_period_in_days",
            "tags",
            "tags_all",
            "xks_key_id",
        ],
    ),
    ("aws_sns_topic", &["delivery_policy", "display_name", "policy", "tags", "tags_all"]),
    (
        "aws_sqs_queue",
        &[
            "delay_seconds",
            "kms_data_key_reuse_period_seconds",
            "max_message_size",
            "message_retention_seconds",
            "policy",
            "receive_wait_time_seconds",
            "redrive_allow_policy",
            "redrive_policy",
            "tags",
            "tags_all",
            "visibility_timeout_seconds",
        ],
    ),
    ("aws_cloudwatch_event_rule", &["description", "role_arn", "state", "tags", "tags_all"]),
];

/// The code of a plan, parsed.
struct ReadCode {
    blocks: Vec<Block>,
}

impl ReadCode {
    fn of(sample: &SamplePlan) -> Self {
        let files = terraform(&sample.plan, &sample.context());
        let mut blocks = Vec::new();
        for (name, text) in &files {
            let body = hcl::parse(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            for structure in body {
                match structure {
                    Structure::Block(block) => blocks.push(block),
                    Structure::Attribute(attribute) => panic!("{name}: {attribute:?}"),
                }
            }
        }
        Self { blocks }
    }

    /// The blocks of a kind with this first label, with their last labels.
    fn labelled<'a>(
        &'a self,
        kind: &'a str,
        label: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Block)> {
        self.blocks
            .iter()
            .filter(move |block| block.identifier() == kind)
            .filter(move |block| label.is_none_or(|label| block.labels()[0].as_str() == label))
            .map(|block| (block.labels().last().map_or("", |label| label.as_str()), block))
    }

    fn resources<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Block)> {
        self.labelled("resource", Some(kind))
    }

    /// Every `to` or `from` of blocks of a kind, as text.
    fn addresses(&self, kind: &str, attribute: &str) -> Vec<String> {
        self.labelled(kind, None)
            .map(|(_, block)| {
                hcl::format::to_string(expression(block, attribute).unwrap()).unwrap()
            })
            .collect()
    }

    /// The values that expressions refer to: what Terraform would know once everything is made.
    fn context(&self, sample: &SamplePlan) -> Context<'static> {
        let mut context = Context::new();
        let params = [ParamType::Any];
        context.declare_func("jsonencode", FuncDef::new(json_text, params));
        let variables: hcl::Map<String, HclValue> = self
            .labelled("variable", None)
            .map(|(name, block)| {
                let default =
                    expression(block, "default").map(|default| default.evaluate(&context).unwrap());
                (name.to_owned(), default.unwrap_or_else(|| only_key(name)))
            })
            .collect();
        context.declare_var("var", HclValue::Object(variables));
        let (partition, account) = (crate::base::names::partition(sample.region), &sample.account);
        let named = |kind: &str, argument: &str, attributes: &dyn Fn(&str) -> Value| {
            let made: serde_json::Map<String, Value> = self
                .resources(kind)
                .map(|(label, block)| {
                    let name = expression(block, argument).unwrap().evaluate(&context).unwrap();
                    (label.to_owned(), attributes(name.as_str().unwrap()))
                })
                .collect();
            hcl::to_value(Value::Object(made)).unwrap()
        };
        let roles = named(
            "aws_iam_role",
            "name",
            &|name| json!({ "name": name, "arn": format!("arn:{partition}:iam::{account}:role/{name}") }),
        );
        let buckets = named(
            "aws_s3_bucket",
            "bucket",
            &|name| json!({ "bucket": name, "arn": format!("arn:{partition}:s3:::{name}") }),
        );
        context.declare_var("aws_iam_role", roles);
        context.declare_var("aws_s3_bucket", buckets);
        let key = json!({ "etl": { "arn": MADE_KEY, "key_id": "made" } });
        context.declare_var("aws_kms_key", hcl::to_value(key).unwrap());
        for (kind, label, service, resource) in [
            ("aws_sns_topic", "alerts", "sns", ""),
            ("aws_sqs_queue", "emr_events", "sqs", ""),
            ("aws_cloudwatch_event_rule", "emr_events", "events", "rule/"),
        ] {
            let region = sample.region;
            let made = self.resources(kind).next().map(|(found, block)| {
                assert_eq!(found, label);
                let name = expression(block, "name").unwrap().evaluate(&context).unwrap();
                let name = name.as_str().unwrap();
                let arn = format!("arn:{partition}:{service}:{region}:{account}:{resource}{name}");
                let url = format!("https://sqs.{region}.amazonaws.com/{account}/{name}");
                json!({ label: { "arn": arn, "name": name, "url": url } })
            });
            let made = made.unwrap_or_else(|| json!({}));
            context.declare_var(kind, hcl::to_value(made).unwrap());
        }
        let configuration = json!({ "emr": { "name": "<configuration>" } });
        context
            .declare_var("aws_emr_security_configuration", hcl::to_value(configuration).unwrap());
        context
    }

    /// The pieces that the code describes.
    fn pieces(&self, sample: &SamplePlan) -> Vec<Piece> {
        let context = self.context(sample);
        let mut pieces = Vec::new();
        for (_, block) in self.labelled("resource", None) {
            let get = |name: &str| -> Value {
                let body =
                    name.rsplit_once('.').map_or(Some(block), |(path, _)| within(block, path));
                let argument = name.rsplit('.').next().unwrap();
                let Some(expression) = body.and_then(|block| expression(block, argument)) else {
                    return Value::Null;
                };
                serde_json::to_value(expression.evaluate(&context).unwrap()).unwrap()
            };
            let text = |name: &str| get(name).as_str().map(str::to_owned).unwrap_or_default();
            let document = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap();
            let bucket = || text("bucket").parse().unwrap();
            pieces.extend(match block.labels()[0].as_str() {
                "aws_iam_role" => Some(Piece::Role(Role {
                    name: text("name"),
                    path: Role::NO_PATH.to_owned(),
                    trust: document("assume_role_policy"),
                    attached: self.attached(&context, &text("name")),
                })),
                "aws_iam_instance_profile" => Some(Piece::InstanceProfile(InstanceProfile {
                    name: text("name"),
                    role: text("role"),
                })),
                "aws_iam_role_policy" => Some(Piece::InlinePolicy(InlinePolicy {
                    holder: PolicyHolder::Role(text("role")),
                    name: text("name"),
                    policy: document("policy"),
                })),
                "aws_iam_user_policy" => Some(Piece::InlinePolicy(InlinePolicy {
                    holder: PolicyHolder::User(text("user")),
                    name: text("name"),
                    policy: document("policy"),
                })),
                "aws_kms_key" if block.labels()[1].as_str() == "etl" => {
                    assert_eq!(get("enable_key_rotation"), json!(true));
                    let (_, alias) = self.resources("aws_kms_alias").next().unwrap();
                    let target = expression(alias, "target_key_id").unwrap().evaluate(&context);
                    assert_eq!(target.unwrap().as_str(), Some("made"));
                    let alias = expression(alias, "name").unwrap().evaluate(&context).unwrap();
                    Some(Piece::Key(Key {
                        alias: alias.as_str().unwrap().to_owned(),
                        policy: document("policy"),
                    }))
                }
                "aws_kms_key" => {
                    assert_eq!(get("enable_key_rotation"), json!(true));
                    assert_eq!(get("policy"), Value::Null);
                    Some(Piece::KeyRotation(KeyRotation { key: self.imported_key(block) }))
                }
                "aws_kms_key_policy" => {
                    assert!(KEY.ends_with(&format!(":key/{}", text("key_id"))));
                    let key = self.imported_key(block);
                    Some(Piece::KeyPolicy(KeyPolicy { key, policy: document("policy") }))
                }
                "aws_s3_bucket" => Some(Piece::Bucket(Bucket {
                    bucket: bucket(),
                    region: get("region").as_str().unwrap_or(sample.region).to_owned(),
                    object_lock: get("object_lock_enabled") == json!(true),
                })),
                "aws_s3_bucket_versioning" => {
                    assert_eq!(get("versioning_configuration.status"), json!("Enabled"));
                    Some(Piece::BucketVersioning(BucketVersioning { bucket: bucket() }))
                }
                "aws_s3_bucket_object_lock_configuration" => {
                    Some(Piece::ObjectLock(BucketObjectLock {
                        bucket: bucket(),
                        retention: default_retention(&get),
                    }))
                }
                "aws_s3_bucket_server_side_encryption_configuration" => {
                    let rule = "rule.apply_server_side_encryption_by_default";
                    let kind = match text(&format!("{rule}.sse_algorithm")).as_str() {
                        "AES256" => json!("SSE-S3"),
                        "aws:kms" => json!("SSE-KMS"),
                        "aws:kms:dsse" => json!("DSSE-KMS"),
                        other => panic!("{other}"),
                    };
                    let settings = BucketEncryptionSettings {
                        kind: serde_json::from_value(kind).unwrap(),
                        key: get(&format!("{rule}.kms_master_key_id")).as_str().map(str::to_owned),
                        bucket_key: get("rule.bucket_key_enabled").as_bool().unwrap(),
                        blocks_sse_c: match get("rule.blocked_encryption_types") {
                            Value::Null => false,
                            kinds => {
                                assert_eq!(kinds, json!(["SSE-C"]));
                                true
                            }
                        },
                    };
                    Some(Piece::BucketEncryption(BucketEncryption { bucket: bucket(), settings }))
                }
                "aws_s3_bucket_public_access_block" => {
                    let flag = |name: &str| get(name).as_bool().unwrap();
                    let settings = PublicAccessBlockSettings {
                        block_public_acls: flag("block_public_acls"),
                        ignore_public_acls: flag("ignore_public_acls"),
                        block_public_policy: flag("block_public_policy"),
                        restrict_public_buckets: flag("restrict_public_buckets"),
                    };
                    Some(Piece::PublicAccessBlock(PublicAccessBlock { bucket: bucket(), settings }))
                }
                "aws_s3_bucket_policy" => Some(Piece::BucketPolicy(BucketPolicy {
                    bucket: bucket(),
                    policy: document("policy"),
                })),
                "aws_emr_security_configuration" => {
                    Some(Piece::SecurityConfiguration(NamedConfiguration {
                        name: text("name"),
                        content: document("configuration"),
                    }))
                }
                "aws_kms_alias" | "aws_iam_role_policy_attachment" => None,
                // Of no piece: src/setup/network_code.rs.
                kind if kind.starts_with("aws_vpc") => None,
                kind => self.notification(sample, &context, kind, &get),
            });
        }
        pieces
    }

    /// The piece of a resource for notifications: the second of two, of which the first is a part.
    fn notification(
        &self,
        sample: &SamplePlan,
        context: &Context<'_>,
        kind: &str,
        get: &dyn Fn(&str) -> Value,
    ) -> Option<Piece> {
        let text = |name: &str| get(name).as_str().map(str::to_owned).unwrap_or_default();
        let document = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap();
        let (region, account) = (sample.region, &sample.account);
        let partition = crate::base::names::partition(region);
        match kind {
            "aws_sns_topic" | "aws_sqs_queue" | "aws_cloudwatch_event_rule" => None,
            "aws_sns_topic_policy" => Some(Piece::AlertTopic(AlertTopic {
                arn: text("arn"),
                key: self.of_first(context, "aws_sns_topic", "kms_master_key_id").unwrap(),
                policy: document("policy"),
            })),
            "aws_sqs_queue_policy" => {
                let url = text("queue_url");
                let name = url.rsplit('/').next().unwrap();
                let key = self.of_first(context, "aws_sqs_queue", "kms_master_key_id");
                let by_sqs = self.of_first(context, "aws_sqs_queue", "sqs_managed_sse_enabled");
                assert_eq!(by_sqs.as_deref(), key.is_none().then_some("true"));
                let arn = format!("arn:{partition}:sqs:{region}:{account}:{name}");
                // That of a queue that exists stays.
                let retention = self
                    .of_first(context, "aws_sqs_queue", "message_retention_seconds")
                    .map_or(EventQueue::RETENTION, |text| text.parse().unwrap());
                let policy = document("policy");
                Some(Piece::EventQueue(EventQueue { arn, key, policy, retention }))
            }
            "aws_cloudwatch_event_target" => {
                assert_eq!(text("target_id"), EventRule::TARGET);
                let pattern = self.of_first(context, "aws_cloudwatch_event_rule", "event_pattern");
                let name = text("rule");
                Some(Piece::EventRule(EventRule {
                    arn: format!("arn:{partition}:events:{region}:{account}:rule/{name}"),
                    pattern: serde_json::from_str(&pattern.unwrap()).unwrap(),
                    queue: text("arn"),
                    description: self
                        .of_first(context, "aws_cloudwatch_event_rule", "description")
                        .unwrap_or_else(|| RULE_DESCRIPTION.to_owned()),
                }))
            }
            other => panic!("{other}"),
        }
    }

    /// An attribute of the only resource of a kind, as text.
    fn of_first(&self, context: &Context<'_>, kind: &str, name: &str) -> Option<String> {
        let (_, block) = self.resources(kind).next().unwrap();
        let value = expression(block, name)?.evaluate(context).unwrap();
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// The policies attached to a role.
    fn attached(&self, context: &Context<'_>, role: &str) -> Vec<String> {
        let of = |block: &Block, name: &str| {
            let value = expression(block, name).unwrap().evaluate(context).unwrap();
            value.as_str().unwrap().to_owned()
        };
        self.resources("aws_iam_role_policy_attachment")
            .filter(|(_, block)| of(block, "role") == role)
            .map(|(_, block)| of(block, "policy_arn"))
            .collect()
    }

    /// The key of a resource that exists: the one that its import names.
    fn imported_key(&self, block: &Block) -> String {
        let address = format!("{}.{}", block.labels()[0].as_str(), block.labels()[1].as_str());
        let import = self.labelled("import", None).map(|(_, import)| import).find(|import| {
            hcl::format::to_string(expression(import, "to").unwrap()).unwrap() == address
        });
        let id = expression(import.unwrap_or_else(|| panic!("{address} is not imported")), "id");
        let ParsedExpression::String(id) = id.unwrap() else { panic!("{id:?}") };
        let arn = KEY.rsplit_once('/').unwrap().0;
        format!("{arn}/{id}")
    }
}

/// The retention in a resource, by its arguments.
fn default_retention(get: &dyn Fn(&str) -> Value) -> DefaultRetention {
    let mut retention = json!({"mode": get("rule.default_retention.mode")});
    for unit in ["days", "years"] {
        let number = get(&format!("rule.default_retention.{unit}"));
        if !number.is_null() {
            retention[unit] = number;
        }
    }
    serde_json::from_value(retention).unwrap()
}

/// The only variable without a default is the key that another plan makes.
fn only_key(name: &str) -> HclValue {
    assert_eq!(name, "kms_key_arn");
    HclValue::from(MADE_KEY)
}

#[expect(clippy::needless_pass_by_value, reason = "the form of functions in HCL's evaluation")]
fn json_text(arguments: FuncArgs) -> Result<HclValue, String> {
    let value = &arguments[0];
    let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
    Ok(HclValue::from(value.to_string()))
}

fn expression<'a>(block: &'a Block, name: &str) -> Option<&'a ParsedExpression> {
    block.body().attributes().find(|attribute| attribute.key() == name).map(Attribute::expr)
}

/// The block at a path of names.
fn within<'a>(block: &'a Block, path: &str) -> Option<&'a Block> {
    path.split('.').try_fold(block, |block, name| {
        block.body().blocks().find(|inner| inner.identifier() == name)
    })
}

/// Every argument of a block, with the names of the blocks it is in.
fn arguments(block: &Block, prefix: &str, found: &mut BTreeSet<String>) {
    for attribute in block.body().attributes() {
        found.insert(format!("{prefix}{}", attribute.key()));
    }
    for inner in block.body().blocks() {
        arguments(inner, &format!("{prefix}{}.", inner.identifier()), found);
    }
}

/// That the code says what the plan says, and only what is documented.
fn hold(sample: &SamplePlan) {
    let code = ReadCode::of(sample);
    let found: BTreeSet<String> = code.pieces(sample).iter().map(as_text).collect();
    assert_eq!(found, wanted(&sample.plan));
    hold_documented(&code);
    hold_addresses(&code);
    for (name, text) in terraform(&sample.plan, &sample.context()) {
        assert_eq!(format_faults(&text), Vec::<String>::new(), "{name}\n{text}");
    }
}

fn hold_documented(code: &ReadCode) {
    let everywhere = DOCUMENTED.iter().find(|entry| entry.kind == "*").unwrap().optional;
    for (label, block) in code.labelled("resource", None) {
        let kind = block.labels()[0].as_str();
        let documented = DOCUMENTED.iter().find(|entry| entry.kind == kind);
        let documented = documented.unwrap_or_else(|| panic!("{kind} is not in the table"));
        let mut found = BTreeSet::new();
        arguments(block, "", &mut found);
        for argument in &found {
            let known = [documented.required, documented.optional, everywhere].concat();
            assert!(known.contains(&argument.as_str()), "{kind}.{label}: {argument}");
        }
        for argument in documented.required {
            assert!(found.contains(*argument), "{kind}.{label} lacks {argument}");
        }
        let ignored =
            within(block, "lifecycle").and_then(|block| expression(block, "ignore_changes"));
        if let Some(ParsedExpression::Array(names)) = ignored {
            let known = IGNORED.iter().find(|(of, _)| *of == kind).unwrap().1;
            for name in names {
                let name = hcl::format::to_string(name).unwrap();
                assert!(known.contains(&name.as_str()), "{kind}.{label}: {name}");
            }
        }
    }
}

/// Every address is made once, is either made or forgotten, and only what is made is imported.
fn hold_addresses(code: &ReadCode) {
    let made: Vec<String> = code
        .labelled("resource", None)
        .map(|(label, block)| format!("{}.{label}", block.labels()[0].as_str()))
        .collect();
    let once: BTreeSet<String> = made.iter().cloned().collect();
    assert_eq!(once.len(), made.len(), "{made:?}");
    let forgotten: BTreeSet<String> = code.addresses("removed", "from").into_iter().collect();
    assert!(forgotten.is_disjoint(&once), "{forgotten:?}");
    let imported = code.addresses("import", "to");
    let imported_once: BTreeSet<String> = imported.iter().cloned().collect();
    assert_eq!(imported_once.len(), imported.len(), "{imported:?}");
    assert!(imported_once.is_subset(&once), "{imported:?}");
    for (label, block) in code.labelled("resource", None) {
        let address = format!("{}.{label}", block.labels()[0].as_str());
        let kept =
            within(block, "lifecycle").and_then(|block| expression(block, "prevent_destroy"));
        // An attachment holds nothing of its own.
        if imported_once.contains(&address) && !address.contains("_policy_attachment.") {
            assert_eq!(kept, Some(&ParsedExpression::Bool(true)), "{address}");
        }
    }
    let variables: Vec<_> = code.labelled("variable", None).map(|(name, _)| name).collect();
    let variables_once: BTreeSet<_> = variables.iter().copied().collect();
    assert_eq!(variables.len(), variables_once.len(), "{variables:?}");
}

/// A token of a line, as far as its form matters.
#[derive(PartialEq)]
enum Mark {
    Open,
    Close,
    Equals,
    Comment,
    Other,
}

/// The column of the quote that ends the text that begins at `start`.
fn text_end(characters: &[char], start: usize) -> usize {
    let mut at = start + 1;
    let mut inserted = false;
    loop {
        match characters[at] {
            '"' if inserted => at = text_end(characters, at) + 1,
            '"' => return at,
            '\\' => at += 2,
            '}' if inserted => (inserted, at) = (false, at + 1),
            '$' if characters[at + 1..].starts_with(&['$', '{']) => at += 3,
            '$' if characters[at + 1] == '{' => (inserted, at) = (true, at + 2),
            _ => at += 1,
        }
    }
}

/// The marks of a line with their columns, without what stands in texts.
fn marks(line: &str) -> Vec<(usize, Mark)> {
    let mut marks = Vec::new();
    let characters: Vec<char> = line.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        let mark = match characters[at] {
            ' ' => None,
            '#' => {
                marks.push((at, Mark::Comment));
                break;
            }
            '"' => {
                marks.push((at, Mark::Other));
                at = text_end(&characters, at);
                None
            }
            '{' | '[' | '(' => Some(Mark::Open),
            '}' | ']' | ')' => Some(Mark::Close),
            '=' => Some(Mark::Equals),
            _ => Some(Mark::Other),
        };
        if let Some(mark) = mark {
            marks.push((at, mark));
        }
        at += 1;
    }
    marks
}

/// Where a text differs from what `terraform fmt` would print: the rules of hclwrite's `format.go`
/// for the forms that occur here, each line by itself and in its group.
fn format_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.is_empty() && !text.ends_with('\n') {
        faults.push("no end of line at the end".to_owned());
    }
    let mut depths: Vec<usize> = Vec::new();
    // The names' ends and the columns of `=` in the present group.
    let mut group: Vec<(usize, usize)> = Vec::new();
    let close_group = |group: &mut Vec<(usize, usize)>, faults: &mut Vec<String>, line: usize| {
        let widest = group.iter().map(|(end, _)| *end).max().unwrap_or_default();
        if group.iter().any(|(_, equals)| *equals != widest + 1) {
            faults.push(format!("the `=` before line {line} are not aligned: {group:?}"));
        }
        group.clear();
    };
    for (nth, line) in text.lines().enumerate() {
        if line.trim_end() != line {
            faults.push(format!("blanks at the end of line {nth}"));
        }
        let marks = marks(line);
        let (opens, closes) = marks.iter().fold((0, 0), |(opens, closes), (_, mark)| match mark {
            Mark::Open => (opens + 1, closes),
            Mark::Close => (opens, closes + 1),
            _ => (opens, closes),
        });
        // A line that opens several brackets indents once, and the line that closes them ends it.
        if closes > opens {
            let opened = depths.pop();
            if opened != Some(closes - opens) {
                faults.push(format!("line {nth} closes {closes}, and {opened:?} were opened"));
            }
        }
        let indent = line.chars().take_while(|character| *character == ' ').count();
        if !line.is_empty() && indent != depths.len() * 2 {
            faults.push(format!(
                "line {nth} is indented by {indent}, and not by {}",
                depths.len() * 2
            ));
        }
        if opens > closes {
            depths.push(opens - closes);
        }
        let equals = marks.iter().find(|(_, mark)| *mark == Mark::Equals).map(|(at, _)| *at);
        match equals.filter(|_| opens == closes) {
            Some(equals) => {
                let before: String = line.chars().take(equals).collect();
                group.push((before.trim_end().chars().count(), equals));
                if line.chars().nth(equals + 1) != Some(' ')
                    || line.chars().nth(equals + 2) == Some(' ')
                {
                    faults.push(format!("line {nth}: not one blank after `=`"));
                }
            }
            None => {
                close_group(&mut group, &mut faults, nth);
                if let Some(equals) = equals {
                    let around: String = line.chars().skip(equals - 2).take(5).collect();
                    if around.starts_with("  ") || !around[1..].starts_with(" = ") {
                        faults.push(format!("line {nth}: not one blank around `=`"));
                    }
                }
            }
        }
    }
    close_group(&mut group, &mut faults, text.lines().count());
    if !depths.is_empty() {
        faults.push("a bracket is not closed".to_owned());
    }
    faults
}

/// All files as one text.
fn whole(sample: &SamplePlan) -> String {
    let files = terraform(&sample.plan, &sample.context());
    files.iter().fold(String::new(), |all, (name, text)| all + "==> " + name + " <==\n" + text)
}

#[test]
fn the_code_of_each_sample_is_what_is_committed_and_says_what_its_plan_says() {
    for sample in samples() {
        hold(&sample);
        insta::assert_snapshot!(format!("terraform-{}", sample.name), whole(&sample));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_code_of_any_plan_says_what_the_plan_says(sample in any_plan()) {
        hold(&sample);
    }
}

#[test]
fn every_entry_of_the_table_is_written_for_some_sample_and_has_its_page() {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in samples() {
        for (_, block) in ReadCode::of(&sample).labelled("resource", None) {
            let kind = block.labels()[0].as_str().to_owned();
            arguments(block, "", written.entry(kind).or_default());
        }
    }
    let all: BTreeSet<String> = written.values().flatten().cloned().collect();
    for entry in DOCUMENTED {
        if entry.kind != "*" {
            assert_eq!(entry.kind.strip_prefix("aws_"), Some(entry.page));
        }
        let written = written.get(entry.kind).unwrap_or(&all);
        for argument in entry.required.iter().chain(entry.optional) {
            assert!(written.contains(*argument), "{}: {argument}", entry.kind);
        }
    }
}

#[test]
fn what_exists_and_is_changed_is_imported_by_the_documented_id() {
    let sample = samples().into_iter().find(|sample| sample.name == "existing").unwrap();
    let code = ReadCode::of(&sample);
    let ids: Vec<String> = code
        .labelled("import", None)
        .map(|(_, block)| {
            let text = |name| hcl::format::to_string(expression(block, name).unwrap()).unwrap();
            format!("{} {}", text("to"), text("id"))
        })
        .collect();
    insta::assert_snapshot!("terraform-imports", ids.join("\n"));
}

#[test]
fn what_is_not_in_terraforms_form_is_found() {
    let faults = |text: &str| format_faults(text).len();
    assert_eq!(faults("a = 1\nbcd = 2\n"), 1);
    assert_eq!(faults("a   = 1\nbcd = 2\n"), 0);
    assert_eq!(faults("a   = 1\n# why\nbcd = 2\n"), 1);
    assert_eq!(faults("a = {\n  b = 1\n}\n"), 0);
    assert_eq!(faults("a = {\n b = 1\n}\n"), 1);
    assert_eq!(faults("a  = {\n  b = 1\n}\n"), 1);
    assert_eq!(faults("a = f({\n  b = \"x = {\"\n})\n"), 0);
    assert_eq!(faults("a = 1 \n"), 1);
    assert_eq!(faults("a =  1\n"), 1);
    assert_eq!(faults("a = 1"), 1);
}
