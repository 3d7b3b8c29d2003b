//! The contract: the types that EmrEtlRunner demands of its config, checked before its JVM has even
//! started, and said in plain words.
//!
//! Source: `ConfigHash` in `lib/snowplow-emr-etl-runner/contracts.rb` of EmrEtlRunner 1.0.4. Keys
//! that it does not name may hold anything.

use crate::runners::emr_etl_runner::{
    config_error::Position,
    yaml_value::{Node, Value},
};

/// What a key must hold.
#[derive(Clone, Copy, Debug)]
enum Want {
    Text,
    Boolean,
    Number,
    PositiveInteger,
    OneOf(&'static [&'static str]),
    Texts,
    TextMap,
    TextMaps,
    Map(&'static [(&'static str, Want)]),
    /// Nothing, or what is inside.
    Maybe(&'static Want),
    /// The seal sets it right, whatever stands there.
    Sealed,
}

const MAYBE_TEXT: Want = Want::Maybe(&Want::Text);

/// `ConfigHash`, key by key.
const CONFIG: Want = Want::Map(&[
    (
        "aws",
        Want::Map(&[
            ("access_key_id", Want::Text),
            ("secret_access_key", Want::Text),
            (
                "s3",
                Want::Map(&[
                    ("region", Want::Text),
                    ("buckets", Want::Map(BUCKETS)),
                    ("consolidate_shredded_output", Want::Boolean),
                ]),
            ),
            ("emr", Want::Map(EMR)),
        ]),
    ),
    ("collectors", Want::Maybe(&Want::Map(&[("format", Want::Text)]))),
    (
        "enrich",
        Want::Map(&[
            ("versions", Want::Maybe(&Want::Map(&[("spark_enrich", Want::Text)]))),
            ("continue_on_unexpected_error", Want::Maybe(&Want::Boolean)),
            ("output_compression", Want::OneOf(&["NONE", "GZIP"])),
        ]),
    ),
    (
        "storage",
        Want::Map(&[(
            "versions",
            Want::Map(&[
                ("rdb_shredder", Want::Text),
                ("hadoop_elasticsearch", Want::Text),
                ("rdb_loader", Want::Text),
            ]),
        )]),
    ),
    (
        "monitoring",
        Want::Map(&[
            ("tags", Want::TextMap),
            ("logging", Want::Map(&[("level", Want::Text)])),
            (
                "snowplow",
                Want::Maybe(&Want::Map(&[
                    ("method", Want::Text),
                    ("collector", Want::Text),
                    ("app_id", Want::Text),
                ])),
            ),
        ]),
    ),
]);

const BUCKETS: &[(&str, Want)] = &[
    ("assets", Want::Text),
    ("jsonpath_assets", MAYBE_TEXT),
    ("log", Want::Text),
    ("encrypted", Want::Sealed),
    (
        "raw",
        Want::Maybe(&Want::Map(&[
            ("in", Want::Texts),
            ("processing", Want::Text),
            ("archive", Want::Text),
        ])),
    ),
    (
        "enriched",
        Want::Map(&[
            ("good", Want::Text),
            ("bad", MAYBE_TEXT),
            ("errors", MAYBE_TEXT),
            ("archive", MAYBE_TEXT),
            ("stream", MAYBE_TEXT),
        ]),
    ),
    (
        "shredded",
        Want::Map(&[
            ("good", Want::Text),
            ("bad", Want::Text),
            ("errors", MAYBE_TEXT),
            ("archive", MAYBE_TEXT),
        ]),
    ),
];

const EMR: &[(&str, Want)] = &[
    ("ami_version", Want::Text),
    ("region", Want::Text),
    ("jobflow_role", Want::Text),
    ("service_role", Want::Text),
    ("placement", MAYBE_TEXT),
    ("ec2_subnet_id", MAYBE_TEXT),
    ("ec2_key_name", Want::Text),
    ("security_configuration", Want::Sealed),
    ("bootstrap", Want::Maybe(&Want::Texts)),
    ("software", Want::Map(&[("hbase", MAYBE_TEXT), ("lingual", MAYBE_TEXT)])),
    (
        "jobflow",
        Want::Map(&[
            ("job_name", Want::Text),
            ("master_instance_type", Want::Text),
            ("core_instance_count", Want::Number),
            ("core_instance_type", Want::Text),
            ("core_instance_bid", Want::Maybe(&Want::Number)),
            (
                "core_instance_ebs",
                Want::Maybe(&Want::Map(&[
                    ("volume_size", Want::PositiveInteger),
                    ("volume_type", Want::OneOf(&["standard", "gp2", "io1"])),
                    ("volume_iops", Want::Maybe(&Want::PositiveInteger)),
                    ("ebs_optimized", Want::Maybe(&Want::Boolean)),
                ])),
            ),
            ("task_instance_count", Want::Number),
            ("task_instance_type", Want::Text),
            ("task_instance_bid", Want::Maybe(&Want::Number)),
        ]),
    ),
    ("additional_info", MAYBE_TEXT),
    ("bootstrap_failure_tries", Want::Number),
    ("configuration", Want::Maybe(&Want::TextMaps)),
];

/// Everything in `root` that breaks the contract, with its place, in the order of the contract.
pub(super) fn breaches(root: &Node) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    if root.get("aws").is_none() && (root.get("s3").is_some() || root.get("emr").is_some()) {
        let hint = "`s3` and `emr` stand at the top here, which is the layout of very old EmrEtlRunner releases; today they stand under `aws`";
        return vec![(root.at, hint.to_owned())];
    }
    Walk { found: &mut found }.check(root, CONFIG, &mut Vec::new());
    found
}

struct Walk<'a> {
    found: &'a mut Vec<(Position, String)>,
}

impl Walk<'_> {
    fn breach(&mut self, node: &Node, path: &[String], wanted: &str) {
        let key = if path.is_empty() { "the config".to_owned() } else { path.join(".") };
        let secret = path.iter().any(|key| key.contains("access_key"));
        let found = if secret { node.value.kind().to_owned() } else { shown(&node.value) };
        let quotes = match (&node.value, wanted) {
            (
                Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Other { .. },
                "text",
            ) => "; put it in quotes to keep it as it is written",
            (Value::Text(_), "a number" | "true or false" | "a whole number above 0") => {
                "; leave the quotes out"
            }
            _ => "",
        };
        self.found.push((node.at, format!("{key} must be {wanted}; found {found}{quotes}")));
    }

    fn check(&mut self, node: &Node, want: Want, path: &mut Vec<String>) {
        match (want, &node.value) {
            (Want::Sealed, _) | (Want::Maybe(_), Value::Null) => {}
            (Want::Maybe(inner), _) => self.check(node, *inner, path),
            (Want::Text, Value::Text(text)) if text.contains("ADD HERE") => {
                self.found.push((
                    node.at,
                    format!(
                        "{} still holds the sample's `ADD HERE`; put your own value there",
                        path.join(".")
                    ),
                ));
            }
            (Want::Text, Value::Text(_))
            | (Want::Boolean, Value::Bool(_))
            | (Want::Number, Value::Integer(_) | Value::Float(_)) => {}
            (Want::PositiveInteger, Value::Integer(number)) if *number > 0 => {}
            (Want::OneOf(choices), Value::Text(text)) if choices.contains(&text.as_str()) => {}
            (Want::Texts, Value::List(items)) => {
                self.each(
                    items.iter().enumerate().map(|(index, item)| (format!("[{index}]"), item)),
                    Want::Text,
                    path,
                );
            }
            (Want::TextMap, Value::Map(entries)) => self.each(
                entries.iter().map(|(key, child)| (key.name.clone(), child)),
                Want::Text,
                path,
            ),
            (Want::TextMaps, Value::Map(entries)) => self.each(
                entries.iter().map(|(key, child)| (key.name.clone(), child)),
                Want::TextMap,
                path,
            ),
            (Want::Map(keys), Value::Map(_)) => self.map(node, keys, path),
            (Want::Text, _) => self.breach(node, path, "text"),
            (Want::Boolean, _) => self.breach(node, path, "true or false"),
            (Want::Number, _) => self.breach(node, path, "a number"),
            (Want::PositiveInteger, _) => self.breach(node, path, "a whole number above 0"),
            (Want::OneOf(choices), _) => {
                self.breach(node, path, &format!("one of {}", choices.join(", ")))
            }
            (Want::Texts, _) => self.breach(node, path, "a list of texts"),
            (Want::TextMap, _) => self.breach(node, path, "a map of texts"),
            (Want::TextMaps, _) => self.breach(node, path, "a map of maps of texts"),
            (Want::Map(_), _) => self.breach(node, path, "a map"),
        }
    }

    fn each<'n>(
        &mut self,
        children: impl Iterator<Item = (String, &'n Node)>,
        want: Want,
        path: &mut Vec<String>,
    ) {
        for (name, child) in children {
            path.push(name);
            self.check(child, want, path);
            path.pop();
        }
    }

    fn map(&mut self, node: &Node, keys: &'static [(&'static str, Want)], path: &mut Vec<String>) {
        for (name, want) in keys {
            path.push((*name).to_owned());
            match node.get(name) {
                Some(child) => self.check(child, *want, path),
                None if matches!(want, Want::Maybe(_) | Want::Sealed) => {}
                None => {
                    let hint = near_miss(node, name, keys)
                        .map_or_else(String::new, |(near, at)| {
                            format!("; did you mean it by `{near}` ({at})?")
                        });
                    self.found.push((node.at, format!("{} is missing{hint}", path.join("."))));
                }
            }
            path.pop();
        }
    }
}

/// A key of `node` that nobody asked for and that looks like `wanted`.
fn near_miss<'n>(
    node: &'n Node,
    wanted: &str,
    keys: &[(&str, Want)],
) -> Option<(&'n str, Position)> {
    let Value::Map(entries) = &node.value else { return None };
    let strangers =
        entries.iter().filter(|(key, _)| !keys.iter().any(|(known, _)| *known == key.name));
    let (distance, key, child) = strangers
        .map(|(key, child)| (strsim::damerau_levenshtein(&key.name, wanted), key, child))
        .min_by_key(|(distance, ..)| *distance)?;
    (distance <= wanted.len() / 3 || key.name.starts_with(wanted) || wanted.starts_with(&key.name))
        .then_some((key.name.as_str(), child.at))
}

/// A value for an error message, when it is no secret.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(yes) => format!("the boolean {yes}"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Text(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
        Value::Other { kind, text } => {
            format!("`{text}`, which Ruby reads as {}", kind.trim_end_matches(','))
        }
        other => other.kind().to_owned(),
    }
}
