//! Typed values from the loaded tree, with errors that name position and key.

use std::sync::Arc;

use crate::{
    base::{names::S3Location, secret::Secret},
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        contract,
        erb::EmptyTag,
        psych,
        secrets::looks_secret,
        yaml_value::{Value, YamlNode},
    },
    spec::{
        cluster_spec::Property,
        data_paths::DataLocation,
        located::Located,
        observations::{ConfigAmbiguity, Tracking},
    },
};

/// Reads typed values from the loaded tree, with errors that name position and key.
pub(super) struct ConfigReader<'a> {
    pub(super) origin: &'a str,
    pub(super) root: &'a YamlNode,
    /// Tags of its ERB that printed nothing.
    pub(super) empty_tags: &'a [EmptyTag],
}

impl ConfigReader<'_> {
    /// The position of `path`, or of its deepest existing parent.
    pub(super) fn position(&self, path: &[&str]) -> ConfigPosition {
        let mut node = self.root;
        for key in path {
            match node.get(key) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.at
    }

    fn located<T>(&self, node: &YamlNode, value: T) -> Located<T> {
        Located { value, at: format!("{}:{}", self.origin, node.at) }
    }

    pub(super) fn text(&self, path: &[&str]) -> Result<Located<String>, ConfigError> {
        self.optional_text(path)?.filter(|text| !text.value.is_empty()).ok_or_else(|| {
            let at = self.position(path);
            let empty = contract::unset(self.empty_tags, at);
            let key = path.join(".");
            let what = format!("{key} is missing or blank; EmrEtlRunner needs text there{empty}");
            ConfigError::at(at, what)
        })
    }

    pub(super) fn optional_text(
        &self,
        path: &[&str],
    ) -> Result<Option<Located<String>>, ConfigError> {
        match self.root.find(path) {
            None | Some(YamlNode { value: Value::Null, .. }) => Ok(None),
            Some(node) => self.as_text(node, &path.join(".")).map(Some),
        }
    }

    fn as_text(&self, node: &YamlNode, key: &str) -> Result<Located<String>, ConfigError> {
        match &node.value {
            Value::Text(text) => Ok(self.located(node, text.to_string())),
            other => Err(ConfigError::at(
                node.at,
                format!("{key} must be text; found {} (put it in quotes)", other.kind()),
            )),
        }
    }

    pub(super) fn secret(&self, path: &[&str]) -> Result<Secret, ConfigError> {
        let text = self.text(path)?;
        let key = path.join(".");
        // Values that people leave in a config in the belief that an instance role is used, which
        // this runner does not support. (The contract has rejected `ADD HERE` before.)
        if matches!(text.value.as_str(), "iam" | "env" | "default") {
            return Err(ConfigError::at(
                self.position(path),
                format!(
                    "{key} holds a placeholder; EmrEtlRunner 1.0.4 takes static credentials only"
                ),
            ));
        }
        Ok(Secret::new(text.value))
    }

    pub(super) fn ambiguity(&self, found: &psych::YamlAmbiguity) -> ConfigAmbiguity {
        ConfigAmbiguity {
            key: if found.path.is_empty() { "the document".to_owned() } else { found.path.clone() },
            what: found.what,
            wins: format!("{}:{}", self.origin, found.wins),
            loses: format!("{}:{}", self.origin, found.loses),
        }
    }

    /// Every S3 location below `aws.s3.buckets`, lists expanded.
    pub(super) fn locations(&self) -> Result<Vec<DataLocation>, ConfigError> {
        let path = ["aws", "s3", "buckets"];
        let Some(buckets) = self.root.find(&path) else {
            return Err(ConfigError::at(self.position(&path), "aws.s3.buckets is missing"));
        };
        let mut locations = Vec::new();
        self.collect(buckets, "", &mut locations)?;
        if locations.is_empty() {
            return Err(ConfigError::at(buckets.at, "aws.s3.buckets names no location"));
        }
        Ok(locations)
    }

    fn collect(
        &self,
        node: &YamlNode,
        role: &str,
        locations: &mut Vec<DataLocation>,
    ) -> Result<(), ConfigError> {
        match &node.value {
            // `encrypted` is not a location, and is sealed anyway.
            _ if role == "encrypted" => {}
            Value::Null => {}
            Value::Map(entries) => {
                for (key, child) in entries.iter() {
                    let role = if role.is_empty() {
                        key.name.clone()
                    } else {
                        format!("{role}.{}", key.name)
                    };
                    self.collect(child, &role, locations)?;
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(item, &format!("{role}[{index}]"), locations)?;
                }
            }
            _ => {
                let key = format!("aws.s3.buckets.{role}");
                let text = self.as_text(node, &key)?;
                let location = S3Location::parse(&text.value).map_err(|reason| {
                    // A misplaced password has neither, an AWS key has both.
                    let reason = if text.value.contains([':', '/']) && !looks_secret(&text.value) {
                        reason.to_string()
                    } else {
                        "must be an S3 location such as s3://bucket/folder; found text".to_owned()
                    };
                    let empty = contract::unset(self.empty_tags, node.at);
                    ConfigError::at(node.at, format!("{key} {reason}{empty}"))
                })?;
                locations.push(DataLocation { role: role.to_owned(), location, at: text.at });
            }
        }
        Ok(())
    }

    /// `aws.emr.configuration`: classification, property and value, each property with its
    /// position. The contract has checked the types.
    pub(super) fn properties(&self) -> Vec<Property> {
        let entries = |node: Option<&YamlNode>| match node.map(|node| node.value.clone()) {
            Some(Value::Map(entries)) => entries,
            _ => Arc::default(),
        };
        let mut properties = Vec::new();
        for (classification, of_it) in
            entries(self.root.find(&["aws", "emr", "configuration"])).iter()
        {
            for (name, node) in entries(Some(of_it)).iter() {
                let Value::Text(value) = &node.value else { continue };
                properties.push(Property {
                    classification: classification.name.clone(),
                    name: name.name.clone(),
                    value: value.to_string(),
                    at: format!("{}:{}", self.origin, node.at),
                });
            }
        }
        properties
    }

    /// The texts of a list.
    pub(super) fn texts(&self, path: &[&str]) -> Result<Vec<Located<String>>, ConfigError> {
        match self.root.find(path).map(|node| &node.value) {
            Some(Value::List(items)) => {
                items.iter().map(|item| self.as_text(item, &path.join("."))).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    /// `monitoring.tags`, which the runner sends as the cluster's tags. The contract has checked
    /// the types.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        let Some(Value::Map(entries)) =
            self.root.find(&["monitoring", "tags"]).map(|node| &node.value)
        else {
            return Vec::new();
        };
        let tags = entries.iter().filter_map(|(key, node)| match &node.value {
            Value::Text(value) => Some((key.name.clone(), value.to_string())),
            _ => None,
        });
        tags.collect()
    }

    /// Where the runner reports its jobs to, if it does.
    pub(super) fn tracking(&self) -> Result<Option<Tracking>, ConfigError> {
        let path = ["monitoring", "snowplow"];
        if !matches!(self.root.find(&path).map(|node| &node.value), Some(Value::Map(_))) {
            return Ok(None);
        }
        Ok(Some(Tracking {
            collector: self.text(&["monitoring", "snowplow", "collector"])?,
            protocol: self.optional_text(&["monitoring", "snowplow", "protocol"])?,
        }))
    }

    /// The instance types of the groups that the runner will start.
    pub(super) fn instance_types(&self) -> Result<Vec<Located<String>>, ConfigError> {
        let counted = |group: &str| {
            !matches!(
                self.root.find(&["aws", "emr", "jobflow", &format!("{group}_instance_count")]),
                Some(YamlNode { value: Value::Integer(0), .. })
            )
        };
        let groups = ["master", "core", "task"]
            .into_iter()
            .filter(|group| *group == "master" || counted(group));
        groups
            .map(|group| self.text(&["aws", "emr", "jobflow", &format!("{group}_instance_type")]))
            .collect()
    }
}
