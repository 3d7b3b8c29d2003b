//! The contract: the types that EmrEtlRunner demands of its config, checked before its JVM has even
//! started, and said in plain words.
//!
//! Source: `ConfigHash` in `lib/snowplow-emr-etl-runner/contracts.rb` of EmrEtlRunner 1.0.4. Keys
//! that it does not name may hold anything.

use crate::runners::emr_etl_runner::{
    config_error::ConfigPosition,
    secrets::names_secret,
    yaml_value::{Value, YamlNode},
};

/// What a key must hold.
#[derive(Clone, Copy, Debug)]
enum KeyRequirement {
    Text,
    Boolean,
    Number,
    PositiveInteger,
    OneOf(&'static [&'static str]),
    Texts,
    TextMap,
    TextMaps,
    Map(&'static [(&'static str, KeyRequirement)]),
    /// Nothing, or what is inside.
    Maybe(&'static KeyRequirement),
    /// The seal sets it right, whatever stands there.
    Sealed,
}

const MAYBE_TEXT: KeyRequirement = KeyRequirement::Maybe(&KeyRequirement::Text);

/// `ConfigHash`, key by key.
const CONFIG: KeyRequirement = KeyRequirement::Map(&[
    (
        "aws",
        KeyRequirement::Map(&[
            ("access_key_id", KeyRequirement::Text),
            ("secret_access_key", KeyRequirement::Text),
            (
                "s3",
                KeyRequirement::Map(&[
                    ("region", KeyRequirement::Text),
                    ("buckets", KeyRequirement::Map(BUCKETS)),
                    ("consolidate_shredded_output", KeyRequirement::Boolean),
                ]),
            ),
            ("emr", KeyRequirement::Map(EMR)),
        ]),
    ),
    (
        "collectors",
        KeyRequirement::Maybe(&KeyRequirement::Map(&[("format", KeyRequirement::Text)])),
    ),
    (
        "enrich",
        KeyRequirement::Map(&[
            (
                "versions",
                KeyRequirement::Maybe(&KeyRequirement::Map(&[(
                    "spark_enrich",
                    KeyRequirement::Text,
                )])),
            ),
            ("continue_on_unexpected_error", KeyRequirement::Maybe(&KeyRequirement::Boolean)),
            ("output_compression", KeyRequirement::OneOf(&["NONE", "GZIP"])),
        ]),
    ),
    (
        "storage",
        KeyRequirement::Map(&[(
            "versions",
            KeyRequirement::Map(&[
                ("rdb_shredder", KeyRequirement::Text),
                ("hadoop_elasticsearch", KeyRequirement::Text),
                ("rdb_loader", KeyRequirement::Text),
            ]),
        )]),
    ),
    (
        "monitoring",
        KeyRequirement::Map(&[
            ("tags", KeyRequirement::TextMap),
            ("logging", KeyRequirement::Map(&[("level", KeyRequirement::Text)])),
            (
                "snowplow",
                KeyRequirement::Maybe(&KeyRequirement::Map(&[
                    ("method", KeyRequirement::Text),
                    ("collector", KeyRequirement::Text),
                    ("app_id", KeyRequirement::Text),
                ])),
            ),
        ]),
    ),
]);

const BUCKETS: &[(&str, KeyRequirement)] = &[
    ("assets", KeyRequirement::Text),
    ("jsonpath_assets", MAYBE_TEXT),
    ("log", KeyRequirement::Text),
    ("encrypted", KeyRequirement::Sealed),
    (
        "raw",
        KeyRequirement::Maybe(&KeyRequirement::Map(&[
            ("in", KeyRequirement::Texts),
            ("processing", KeyRequirement::Text),
            ("archive", KeyRequirement::Text),
        ])),
    ),
    (
        "enriched",
        KeyRequirement::Map(&[
            ("good", KeyRequirement::Text),
            ("bad", MAYBE_TEXT),
            ("errors", MAYBE_TEXT),
            ("archive", MAYBE_TEXT),
            ("stream", MAYBE_TEXT),
        ]),
    ),
    (
        "shredded",
        KeyRequirement::Map(&[
            ("good", KeyRequirement::Text),
            ("bad", KeyRequirement::Text),
            ("errors", MAYBE_TEXT),
            ("archive", MAYBE_TEXT),
        ]),
    ),
];

const EMR: &[(&str, KeyRequirement)] = &[
    ("ami_version", KeyRequirement::Text),
    ("region", KeyRequirement::Text),
    ("jobflow_role", KeyRequirement::Text),
    ("service_role", KeyRequirement::Text),
    ("placement", MAYBE_TEXT),
    ("ec2_subnet_id", MAYBE_TEXT),
    ("ec2_key_name", KeyRequirement::Text),
    ("security_configuration", KeyRequirement::Sealed),
    ("bootstrap", KeyRequirement::Maybe(&KeyRequirement::Texts)),
    ("software", KeyRequirement::Map(&[("hbase", MAYBE_TEXT), ("lingual", MAYBE_TEXT)])),
    (
        "jobflow",
        KeyRequirement::Map(&[
            ("job_name", KeyRequirement::Text),
            ("master_instance_type", KeyRequirement::Text),
            ("core_instance_count", KeyRequirement::Number),
            ("core_instance_type", KeyRequirement::Text),
            ("core_instance_bid", KeyRequirement::Maybe(&KeyRequirement::Number)),
            (
                "core_instance_ebs",
                KeyRequirement::Maybe(&KeyRequirement::Map(&[
                    ("volume_size", KeyRequirement::PositiveInteger),
                    ("volume_type", KeyRequirement::OneOf(&["standard", "gp2", "io1"])),
                    ("volume_iops", KeyRequirement::Maybe(&KeyRequirement::PositiveInteger)),
                    ("ebs_optimized", KeyRequirement::Maybe(&KeyRequirement::Boolean)),
                ])),
            ),
            ("task_instance_count", KeyRequirement::Number),
            ("task_instance_type", KeyRequirement::Text),
            ("task_instance_bid", KeyRequirement::Maybe(&KeyRequirement::Number)),
        ]),
    ),
    ("additional_info", MAYBE_TEXT),
    ("bootstrap_failure_tries", KeyRequirement::Number),
    ("configuration", KeyRequirement::Maybe(&KeyRequirement::TextMaps)),
];

/// Everything in `root` that breaks the contract, with its place, in the order of the contract.
pub(super) fn breaches(root: &YamlNode) -> Vec<(ConfigPosition, String)> {
    let mut found = Vec::new();
    if root.get("aws").is_none() && (root.get("s3").is_some() || root.get("emr").is_some()) {
        let hint = "`s3` and `emr` stand at the top here, which is the layout of very old EmrEtlRunner releases; today they stand under `aws`";
        return vec![(root.at, hint.to_owned())];
    }
    Walk { found: &mut found }.check(root, CONFIG, &mut Vec::new());
    found
}

struct Walk<'a> {
    found: &'a mut Vec<(ConfigPosition, String)>,
}

impl Walk<'_> {
    fn breach(&mut self, node: &YamlNode, path: &[String], wanted: &str) {
        let key = if path.is_empty() { "the config".to_owned() } else { path.join(".") };
        let secret = path.iter().any(|key| names_secret(key));
        let found = if secret { node.value.kind().to_owned() } else { shown(&node.value, wanted) };
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

    fn check(&mut self, node: &YamlNode, want: KeyRequirement, path: &mut Vec<String>) {
        match (want, &node.value) {
            (KeyRequirement::Sealed, _) | (KeyRequirement::Maybe(_), Value::Null) => {}
            (KeyRequirement::Maybe(inner), _) => self.check(node, *inner, path),
            (KeyRequirement::Text, Value::Text(text)) if text.contains("ADD HERE") => {
                self.found.push((
                    node.at,
                    format!(
                        "{} still holds the sample's `ADD HERE`; put your own value there",
                        path.join(".")
                    ),
                ));
            }
            (KeyRequirement::Text, Value::Text(_))
            | (KeyRequirement::Boolean, Value::Bool(_))
            | (KeyRequirement::Number, Value::Integer(_) | Value::Float(_)) => {}
            (KeyRequirement::PositiveInteger, Value::Integer(number)) if *number > 0 => {}
            (KeyRequirement::OneOf(choices), Value::Text(text))
                if choices.contains(&text.as_ref()) => {}
            (KeyRequirement::Texts, Value::List(items)) => {
                self.each(
                    items.iter().enumerate().map(|(index, item)| (format!("[{index}]"), item)),
                    KeyRequirement::Text,
                    path,
                );
            }
            (KeyRequirement::TextMap, Value::Map(entries)) => self.each(
                entries.iter().map(|(key, child)| (key.name.clone(), child)),
                KeyRequirement::Text,
                path,
            ),
            (KeyRequirement::TextMaps, Value::Map(entries)) => self.each(
                entries.iter().map(|(key, child)| (key.name.clone(), child)),
                KeyRequirement::TextMap,
                path,
            ),
            (KeyRequirement::Map(keys), Value::Map(_)) => self.map(node, keys, path),
            (KeyRequirement::Text, _) => self.breach(node, path, "text"),
            (KeyRequirement::Boolean, _) => self.breach(node, path, "true or false"),
            (KeyRequirement::Number, _) => self.breach(node, path, "a number"),
            (KeyRequirement::PositiveInteger, _) => {
                self.breach(node, path, "a whole number above 0");
            }
            (KeyRequirement::OneOf(choices), _) => {
                self.breach(node, path, &format!("one of {}", choices.join(", ")));
            }
            (KeyRequirement::Texts, _) => self.breach(node, path, "a list of texts"),
            (KeyRequirement::TextMap, _) => self.breach(node, path, "a map of texts"),
            (KeyRequirement::TextMaps, _) => self.breach(node, path, "a map of maps of texts"),
            (KeyRequirement::Map(_), _) => self.breach(node, path, "a map"),
        }
    }

    fn each<'n>(
        &mut self,
        children: impl Iterator<Item = (String, &'n YamlNode)>,
        want: KeyRequirement,
        path: &mut Vec<String>,
    ) {
        for (name, child) in children {
            path.push(name);
            self.check(child, want, path);
            path.pop();
        }
    }

    fn map(
        &mut self,
        node: &YamlNode,
        keys: &'static [(&'static str, KeyRequirement)],
        path: &mut Vec<String>,
    ) {
        for (name, want) in keys {
            path.push((*name).to_owned());
            match node.get(name) {
                Some(child) => self.check(child, *want, path),
                None if matches!(want, KeyRequirement::Maybe(_) | KeyRequirement::Sealed) => {}
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
    node: &'n YamlNode,
    wanted: &str,
    keys: &[(&str, KeyRequirement)],
) -> Option<(&'n str, ConfigPosition)> {
    let Value::Map(entries) = &node.value else { return None };
    let unrelated_clusters =
        entries.iter().filter(|(key, _)| !keys.iter().any(|(known, _)| *known == key.name));
    // Of a longer one the distance is too large anyway, and costs the product of both lengths; a
    // character has at most four bytes.
    let near =
        |key: &str| key.len() <= 4 * (wanted.len() + wanted.len() / 3) || key.starts_with(wanted);
    let (distance, key, child) = unrelated_clusters
        .filter(|(key, _)| near(&key.name))
        .map(|(key, child)| (strsim::damerau_levenshtein(&key.name, wanted), key, child))
        .min_by_key(|(distance, ..)| *distance)?;
    (distance <= wanted.len() / 3 || key.name.starts_with(wanted) || wanted.starts_with(&key.name))
        .then_some((key.name.as_str(), child.at))
}

/// A value for an error message, when it cannot be a secret that somebody has put in the wrong
/// place: what is near to what is wanted, short numbers, dates.
fn shown(value: &Value, wanted: &str) -> String {
    let is_short = |number: &str| number.len() <= LONGEST_NUMBER;
    match value {
        Value::Bool(yes) => format!("the boolean {yes}"),
        Value::Integer(number) if is_short(&number.to_string()) => format!("the number {number}"),
        Value::Float(number) if is_short(&number.to_string()) => format!("the number {number}"),
        Value::Text(text) if is_near(text, wanted) => format!("the text `{text}`"),
        Value::Other { kind, text } if !text.contains(char::is_alphabetic) => {
            format!("`{text}`, which Ruby reads as {}", kind.trim_end_matches(','))
        }
        other => other.kind().to_owned(),
    }
}

/// A longer one can be an account or a password.
const LONGEST_NUMBER: usize = 8;

/// Whether `text` is what is wanted in another spelling: in quotes, with other capitals, with a
/// letter too many.
fn is_near(text: &str, wanted: &str) -> bool {
    let is_switch = ["true", "false", "yes", "no", "on", "off"]
        .iter()
        .any(|switch| text.eq_ignore_ascii_case(switch));
    let is_number = text.len() <= LONGEST_NUMBER && text.parse::<f64>().is_ok();
    let is_choice = wanted.strip_prefix("one of ").is_some_and(|choices| {
        choices.split(", ").any(|choice| {
            let (text, choice) = (text.to_ascii_lowercase(), choice.to_ascii_lowercase());
            strsim::damerau_levenshtein(&text, &choice) <= 2
        })
    });
    is_switch || is_number || is_choice
}
