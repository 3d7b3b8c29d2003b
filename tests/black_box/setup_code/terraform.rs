//! Terraform code as Terraform would read it.

use std::path::Path;

use hcl::{
    Block, Body, Expression, Value as HclValue,
    eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType},
};
use serde_json::{Map, Value, json};

use super::account::{NEW_KEY, Resource};

/// The code of a folder.
pub(crate) struct Code {
    blocks: Vec<Block>,
    region: String,
    partition: &'static str,
    /// Variables with another value than their default.
    given: Vec<(String, Value)>,
}

impl Code {
    /// Reads the files of a folder.
    pub(crate) fn read(folder: &Path, region: &str, partition: &'static str) -> Self {
        let mut blocks = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            blocks.extend(hcl::parse(&text).unwrap().into_blocks());
        }
        Self { blocks, region: region.to_owned(), partition, given: Vec::new() }
    }

    /// Gives a variable a value.
    pub(crate) fn give(&mut self, name: &str, value: Value) {
        self.given.push((name.to_owned(), value));
    }

    /// The resources, with their references resolved.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let context = self.context();
        let imports = self.imports(&context);
        self.of("resource")
            .map(|block| {
                let labels: Vec<&str> =
                    block.labels().iter().map(hcl::BlockLabel::as_str).collect();
                let (kind, id) = (labels[0].to_owned(), labels.join("."));
                let arguments = arguments(block.body(), &context);
                let import = imports.iter().find(|(to, _)| *to == id);
                let imported = import.map(|(_, of)| identity(&kind, of));
                Resource { id, kind, imported, arguments }
            })
            .collect()
    }

    /// Where the code expects the certificates.
    pub(crate) fn certificates(&self) -> Option<String> {
        let mut variables = self.of("variable");
        let is_it = |block: &&Block| block.labels()[0].as_str() == "certificate_archive";
        let default = expression(variables.find(is_it)?.body(), "default")?;
        Some(default.evaluate(&Context::new()).unwrap().as_str().unwrap().to_owned())
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.identifier() == kind)
    }

    /// The addresses of what is imported, with the ids.
    fn imports(&self, context: &Context<'_>) -> Vec<(String, String)> {
        self.of("import")
            .map(|block| {
                let to = expression(block.body(), "to").unwrap();
                let id = expression(block.body(), "id").unwrap().evaluate(context).unwrap();
                (hcl::format::to_string(to).unwrap(), id.as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// What expressions can refer to.
    fn context(&self) -> Context<'static> {
        let mut context = Context::new();
        context.declare_func("jsonencode", FuncDef::new(json_text, [ParamType::Any]));
        let variables = self.of("variable").filter_map(|block| {
            let name = block.labels()[0].as_str().to_owned();
            if let Some((_, value)) = self.given.iter().find(|(given, _)| *given == name) {
                return Some((name, hcl::to_value(value.clone()).unwrap()));
            }
            let default = expression(block.body(), "default")?;
            Some((name, default.evaluate(&context).unwrap()))
        });
        let variables = variables.collect();
        context.declare_var("var", HclValue::Object(variables));
        let Self { region, partition, .. } = self;
        let account = "123456789012";
        let named = |kind: &str, argument: &str, of: &dyn Fn(&str) -> Value| {
            let made = self.of("resource").filter(|block| block.labels()[0].as_str() == kind);
            let made = made.map(|block| {
                let name = expression(block.body(), argument).unwrap();
                let name = name.evaluate(&context).unwrap();
                let value = of(name.as_str().unwrap());
                // One of several is known by its number.
                let is_counted = expression(block.body(), "count").is_some();
                let value = if is_counted { json!([value]) } else { value };
                (block.labels()[1].as_str().to_owned(), value)
            });
            hcl::to_value(Value::Object(made.collect())).unwrap()
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
        let arn = |service: &str, name: &str| {
            format!("arn:{partition}:{service}:{region}:{account}:{name}")
        };
        let topics = named("aws_sns_topic", "name", &|name| json!({ "arn": arn("sns", name) }));
        let queues = named("aws_sqs_queue", "name", &|name| {
            let url = format!("https://sqs.{region}.amazonaws.com/{account}/{name}");
            json!({ "arn": arn("sqs", name), "name": name, "url": url })
        });
        let event_rules = named(
            "aws_cloudwatch_event_rule",
            "name",
            &|name| json!({ "name": name, "arn": arn("events", &format!("rule/{name}")) }),
        );
        context.declare_var("aws_iam_role", roles);
        context.declare_var("aws_s3_bucket", buckets);
        let arn = format!("arn:{partition}:kms:{region}:{account}:key/{NEW_KEY}");
        let key = json!({ "etl": { "arn": arn, "key_id": NEW_KEY } });
        context.declare_var("aws_kms_key", hcl::to_value(key).unwrap());
        context.declare_var("aws_sns_topic", topics);
        context.declare_var("aws_sqs_queue", queues);
        context.declare_var("aws_cloudwatch_event_rule", event_rules);
        context
    }
}

/// The arguments that an import id consists of, by the page of each type in the provider's
/// documentation, section "Import".
fn identity(kind: &str, id: &str) -> Map<String, Value> {
    let (arguments, parts): (&[&str], Vec<&str>) = match kind {
        "aws_iam_role" | "aws_iam_instance_profile" | "aws_emr_security_configuration" => {
            (&["name"], vec![id])
        }
        "aws_iam_role_policy_attachment" => {
            let (role, arn) = id.split_once('/').unwrap();
            (&["role", "policy_arn"], vec![role, arn])
        }
        "aws_iam_role_policy" => (&["role", "name"], id.split(':').collect()),
        "aws_iam_user_policy" => (&["user", "name"], id.split(':').collect()),
        "aws_kms_key" => (&["KeyId"], vec![id]),
        "aws_kms_key_policy" => (&["key_id"], vec![id]),
        kind if kind.starts_with("aws_s3_bucket") => match id.split_once('@') {
            Some((bucket, region)) => (&["bucket", "region"], vec![bucket, region]),
            None => (&["bucket"], vec![id]),
        },
        other => panic!("{other}"),
    };
    assert_eq!(arguments.len(), parts.len(), "{kind} {id}");
    let names = arguments.iter().map(|name| (*name).to_owned());
    names.zip(parts.into_iter().map(|part| json!(part))).collect()
}

fn expression<'a>(body: &'a Body, name: &str) -> Option<&'a Expression> {
    body.attributes().find(|attribute| attribute.key() == name).map(hcl::Attribute::expr)
}

/// The arguments of a body, and those of its blocks. Documents are read.
fn arguments(body: &Body, context: &Context<'_>) -> Map<String, Value> {
    let mut arguments = Map::new();
    // An order of work is no value.
    for attribute in body.attributes().filter(|attribute| attribute.key() != "depends_on") {
        let is_document = ["policy", "assume_role_policy", "configuration", "event_pattern"]
            .contains(&attribute.key());
        let mut value = serde_json::to_value(attribute.expr().evaluate(context).unwrap()).unwrap();
        if is_document {
            value = serde_json::from_str(value.as_str().unwrap()).unwrap();
        }
        arguments.insert(attribute.key().to_owned(), value);
    }
    // What `ignore_changes` names is no value.
    for block in body.blocks().filter(|block| block.identifier() != "lifecycle") {
        let within = Value::Object(self::arguments(block.body(), context));
        if block.identifier() == "metric_query" {
            let queries = arguments.entry(block.identifier()).or_insert_with(|| json!([]));
            queries.as_array_mut().unwrap().push(within);
            continue;
        }
        let other = arguments.insert(block.identifier().to_owned(), within);
        assert!(other.is_none(), "two blocks of a kind");
    }
    arguments
}

#[expect(clippy::needless_pass_by_value, reason = "the form of functions in HCL's evaluation")]
fn json_text(arguments: FuncArgs) -> Result<HclValue, String> {
    let value = serde_json::to_value(&arguments[0]).map_err(|error| error.to_string())?;
    Ok(value.to_string().into())
}
