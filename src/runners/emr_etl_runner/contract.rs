//! The contract: the types that EmrEtlRunner requires of its config, checked before its JVM has
//! even started, with messages in plain words.
//!
//! Source: `ConfigHash` in `lib/snowplow-emr-etl-runner/contracts.rb` of EmrEtlRunner, in each
//! release from 0.33.0 to 1.0.4. Keys that it does not name may have any value.

use crate::{
    runners::emr_etl_runner::{
        config_error::ConfigPosition,
        erb::EmptyTag,
        mistakes,
        secrets::names_secret,
        yaml_value::{Value, YamlNode},
    },
    spec::observations::RunnerVersion,
};

/// The required value of a key.
#[derive(Clone, Copy, Debug)]
enum KeyRequirement {
    Text,
    /// Text that AWS can accept as a name, an address or a version.
    Name,
    Boolean,
    Number,
    PositiveInteger,
    OneOf(&'static [&'static str]),
    Texts,
    TextMap,
    TextMaps,
    Map(&'static [(&'static str, KeyRequirement)]),
    /// Nothing, or the inner requirement.
    Maybe(&'static KeyRequirement),
    /// Anything: the seal replaces the value.
    Sealed,
    /// The inner requirement, from this version on. Earlier ones ignore the key.
    Since(RunnerVersion, &'static KeyRequirement),
}

/// A key that breaks the contract.
#[derive(Clone, Debug)]
pub(super) struct Breach {
    pub(super) at: ConfigPosition,
    pub(super) message: String,
    /// The first version of the runner with this requirement.
    pub(super) since: RunnerVersion,
}

const MAYBE_TEXT: KeyRequirement = KeyRequirement::Maybe(&KeyRequirement::Text);
const MAYBE_NAME: KeyRequirement = KeyRequirement::Maybe(&KeyRequirement::Name);
/// Snowplow's issue 3940.
const CONSOLIDATES: RunnerVersion = RunnerVersion(0, 34, 1);
/// Snowplow's issue 3487.
const BIDS_FOR_CORE_INSTANCES: RunnerVersion = RunnerVersion(0, 36, 0);

/// `ConfigHash`, key by key.
const CONFIG: KeyRequirement = KeyRequirement::Map(&[
    (
        "aws",
        KeyRequirement::Map(&[
            ("access_key_id", KeyRequirement::Name),
            ("secret_access_key", KeyRequirement::Name),
            (
                "s3",
                KeyRequirement::Map(&[
                    ("region", KeyRequirement::Name),
                    ("buckets", KeyRequirement::Map(BUCKETS)),
                    (
                        "consolidate_shredded_output",
                        KeyRequirement::Since(CONSOLIDATES, &KeyRequirement::Boolean),
                    ),
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
    ("assets", KeyRequirement::Name),
    ("jsonpath_assets", MAYBE_NAME),
    ("log", KeyRequirement::Name),
    ("encrypted", KeyRequirement::Sealed),
    (
        "raw",
        KeyRequirement::Maybe(&KeyRequirement::Map(&[
            ("in", KeyRequirement::Texts),
            ("processing", KeyRequirement::Name),
            ("archive", KeyRequirement::Name),
        ])),
    ),
    (
        "enriched",
        KeyRequirement::Map(&[
            ("good", KeyRequirement::Name),
            ("bad", MAYBE_NAME),
            ("errors", MAYBE_NAME),
            ("archive", MAYBE_NAME),
            ("stream", MAYBE_NAME),
        ]),
    ),
    (
        "shredded",
        KeyRequirement::Map(&[
            ("good", KeyRequirement::Name),
            ("bad", KeyRequirement::Name),
            ("errors", MAYBE_NAME),
            ("archive", MAYBE_NAME),
        ]),
    ),
];

const EMR: &[(&str, KeyRequirement)] = &[
    ("ami_version", KeyRequirement::Name),
    ("region", KeyRequirement::Name),
    ("jobflow_role", KeyRequirement::Name),
    ("service_role", KeyRequirement::Name),
    ("placement", MAYBE_NAME),
    ("ec2_subnet_id", MAYBE_NAME),
    ("ec2_key_name", KeyRequirement::Name),
    ("security_configuration", KeyRequirement::Sealed),
    ("bootstrap", KeyRequirement::Maybe(&KeyRequirement::Texts)),
    ("software", KeyRequirement::Map(&[("hbase", MAYBE_TEXT), ("lingual", MAYBE_TEXT)])),
    (
        "jobflow",
        KeyRequirement::Map(&[
            ("job_name", KeyRequirement::Text),
            ("master_instance_type", KeyRequirement::Name),
            ("core_instance_count", KeyRequirement::Number),
            ("core_instance_type", KeyRequirement::Name),
            (
                "core_instance_bid",
                KeyRequirement::Since(
                    BIDS_FOR_CORE_INSTANCES,
                    &KeyRequirement::Maybe(&KeyRequirement::Number),
                ),
            ),
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
            ("task_instance_type", KeyRequirement::Name),
            ("task_instance_bid", KeyRequirement::Maybe(&KeyRequirement::Number)),
        ]),
    ),
    ("additional_info", MAYBE_TEXT),
    ("bootstrap_failure_tries", KeyRequirement::Number),
    ("configuration", KeyRequirement::Maybe(&KeyRequirement::TextMaps)),
];

/// Every breach of the contract of any version in `root`, with its position, in the order of the
/// contract. `empty_tags` are the ERB tags that printed nothing.
pub(super) fn breaches(root: &YamlNode, empty_tags: &[EmptyTag]) -> Vec<Breach> {
    let mut found = Vec::new();
    if let Some(message) = old_layout(root) {
        return vec![Breach { at: root.at, message, since: RunnerVersion::FIRST_ENCRYPTING }];
    }
    Walk { found: &mut found, empty_tags, since: RunnerVersion::FIRST_ENCRYPTING }.check(
        root,
        CONFIG,
        &mut Vec::new(),
    );
    found
}

/// The message about the config layout before release 66 of Snowplow (2015): the keys below `aws`
/// of today were beside it.
fn old_layout(root: &YamlNode) -> Option<String> {
    let moved: Vec<&str> = ["s3", "emr"]
        .into_iter()
        .filter(|key| {
            root.get(key).is_some() && root.get("aws").and_then(|aws| aws.get(key)).is_none()
        })
        .collect();
    let (verb, keys) = match moved.as_slice() {
        [] => return None,
        [key] => ("stands", format!("`{key}`")),
        keys => ("stand", format!("`{}`", keys.join("` and `"))),
    };
    Some(format!(
        "{keys} {verb} at the top here, which is the layout of very old EmrEtlRunner releases; \
         today {} under `aws`, beside `access_key_id`, and more keys have moved: start from the \
         config.yml.sample of your runner's release",
        if moved.len() == 1 { "it stands" } else { "they stand" }
    ))
}

/// The names of today's keys in older releases.
const FORMER_NAMES: [(&str, &str); 3] = [
    ("spark_enrich", "hadoop_enrich"),
    ("rdb_shredder", "hadoop_shred"),
    ("ami_version", "hadoop_version"),
];

struct Walk<'a> {
    found: &'a mut Vec<Breach>,
    empty_tags: &'a [EmptyTag],
    /// The first version that checks the current key.
    since: RunnerVersion,
}

impl Walk<'_> {
    fn find(&mut self, at: ConfigPosition, message: String) {
        let since = self.since;
        let message = if since == RunnerVersion::FIRST_ENCRYPTING {
            message
        } else {
            format!("{message} (EmrEtlRunner {since} and later ask for it)")
        };
        self.found.push(Breach { at, message, since });
    }

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
        let blank = match &node.value {
            Value::Text(text) if !secret => mistakes::missing_blank(text),
            _ => None,
        };
        let blank = blank.map_or_else(String::new, |inner| {
            format!(
                "; a space is missing after `{inner}` here; without it, YAML reads this as text"
            )
        });
        let empty = unset(self.empty_tags, node.at);
        self.find(node.at, format!("{key} must be {wanted}; found {found}{quotes}{blank}{empty}"));
    }

    fn check(&mut self, node: &YamlNode, want: KeyRequirement, path: &mut Vec<String>) {
        match (want, &node.value) {
            (KeyRequirement::Sealed, _) | (KeyRequirement::Maybe(_), Value::Null) => {}
            (KeyRequirement::Maybe(inner), _) => self.check(node, *inner, path),
            (KeyRequirement::Since(version, inner), _) => {
                let before = std::mem::replace(&mut self.since, version);
                self.check(node, *inner, path);
                self.since = before;
            }
            (KeyRequirement::Text | KeyRequirement::Name, Value::Text(text))
                if text.contains("ADD HERE") =>
            {
                self.find(
                    node.at,
                    format!(
                        "{} still holds the sample's `ADD HERE`; put your own value there",
                        path.join(".")
                    ),
                );
            }
            (KeyRequirement::Name, Value::Text(text)) => {
                if let Some((_, placeholder)) = mistakes::placeholder(text) {
                    let what = mistakes::unrendered(placeholder);
                    self.find(node.at, format!("{}: {what}", path.join(".")));
                }
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
                    KeyRequirement::Name,
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
            (KeyRequirement::Text | KeyRequirement::Name, _) => self.breach(node, path, "text"),
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
                None if may_be_absent(*want) => {}
                None => {
                    let hint = near_miss(node, name, keys)
                        .map_or_else(String::new, |(near, at)| {
                            format!("; did you mean it by `{near}` ({at})?")
                        });
                    let before = self.since;
                    if let KeyRequirement::Since(version, _) = want {
                        self.since = *version;
                    }
                    self.find(node.at, format!("{} is missing{hint}", path.join(".")));
                    self.since = before;
                }
            }
            path.pop();
        }
    }
}

fn may_be_absent(want: KeyRequirement) -> bool {
    match want {
        KeyRequirement::Maybe(_) | KeyRequirement::Sealed => true,
        KeyRequirement::Since(_, inner) => may_be_absent(*inner),
        _ => false,
    }
}

/// The message about the unset variables of a value at `at`.
pub(super) fn unset(empty_tags: &[EmptyTag], at: ConfigPosition) -> String {
    let mut said = String::new();
    for tag in empty_tags.iter().filter(|tag| tag.at.is_behind_on_line(at)) {
        let state = if tag.is_set { "empty" } else { "not set" };
        said.push_str("; the environment variable ");
        said.push_str(&tag.variable);
        said.push_str(" is ");
        said.push_str(state);
    }
    said
}

/// A key of `node` that the contract does not know and that is similar to `wanted`.
fn near_miss<'n>(
    node: &'n YamlNode,
    wanted: &str,
    keys: &[(&str, KeyRequirement)],
) -> Option<(&'n str, ConfigPosition)> {
    let Value::Map(entries) = &node.value else { return None };
    let unrelated_clusters =
        entries.iter().filter(|(key, _)| !keys.iter().any(|(known, _)| *known == key.name));
    let mut former = FORMER_NAMES.iter().filter(|(today, _)| *today == wanted);
    if let Some((_, name)) = former.find(|(_, name)| node.get(name).is_some()) {
        return node.get(name).map(|child| (*name, child.at));
    }
    // For a longer key the distance is too large in any case, and its cost is the product of both
    // lengths. A character has at most four bytes.
    let near =
        |key: &str| key.len() <= 4 * (wanted.len() + wanted.len() / 3) || key.starts_with(wanted);
    let (distance, key, child) = unrelated_clusters
        .filter(|(key, _)| near(&key.name))
        .map(|(key, child)| (strsim::damerau_levenshtein(&key.name, wanted), key, child))
        .min_by_key(|(distance, ..)| *distance)?;
    (distance <= wanted.len() / 3 || key.name.starts_with(wanted) || wanted.starts_with(&key.name))
        .then_some((key.name.as_str(), child.at))
}

/// A value for an error message, if it cannot be a misplaced secret: one similar to the wanted
/// value, a short number, or a date.
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

/// A longer number can be an account or a password.
const LONGEST_NUMBER: usize = 8;

/// Whether `text` is the wanted value in another spelling: in quotes, with other capitals, or with
/// an extra letter.
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
