//! Values of a YAML document, as Psych loads them.

use std::{ops::AddAssign, sync::Arc};

use crate::runners::emr_etl_runner::config_error::{ConfigError, ConfigPosition};

/// A value and its source position.
#[derive(Clone, Debug)]
pub(crate) struct YamlNode {
    pub(crate) value: Value,
    pub(crate) at: ConfigPosition,
}

/// What Ruby holds after loading, as far as a runner config needs it. Texts, lists and maps are
/// shared: a clone, for example for an alias, is a reference, and shared data is copied only when
/// one of its holders changes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Arc<str>),
    /// A date, a symbol, …: allowed only where the seal replaces it. `kind` continues the phrase
    /// "Ruby reads this value as".
    Other {
        kind: &'static str,
        text: Arc<str>,
    },
    List(Arc<Vec<YamlNode>>),
    Map(Arc<Vec<(YamlKey, YamlNode)>>),
}

/// A key of a map. Before symbolising, `a` and `:a` are two keys; after it, all are symbols.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct YamlKey {
    pub(crate) name: String,
    pub(crate) symbol: bool,
}

impl YamlKey {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), symbol: true }
    }
}

impl Value {
    /// The kind, for an error message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Other { kind, .. } => kind,
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Positions are ignored: two nodes are equal when Ruby would hold equal values.
impl PartialEq for YamlNode {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl YamlNode {
    /// The node under `key`, if this is a map with that key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(known, _)| known.name == key).map(|(_, node)| node)
    }

    /// The node at the end of `path`.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Sets `key` in this node, which must be a map; returns the previous value.
    pub(crate) fn set(&mut self, key: &str, value: Value) -> Result<Option<Self>, ConfigError> {
        let at = self.at;
        let Value::Map(entries) = &mut self.value else {
            return Err(ConfigError::at(
                at,
                format!("expected a map here, to set `{key}` in it; found {}", self.value.kind()),
            ));
        };
        let entries = Arc::make_mut(entries);
        match entries.iter_mut().find(|(known, _)| known.name == key) {
            Some((_, node)) => {
                let node_at = node.at;
                Ok(Some(std::mem::replace(node, Self { value, at: node_at })))
            }
            None => {
                entries.push((YamlKey::new(key), Self { value, at }));
                Ok(None)
            }
        }
    }

    /// The node at the end of `path`, for changes.
    pub(crate) fn find_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, wanted| {
            let Value::Map(entries) = &mut node.value else { return None };
            Arc::make_mut(entries)
                .iter_mut()
                .find(|(known, _)| known.name == *wanted)
                .map(|(_, node)| node)
        })
    }

    /// The number of values and bytes, itself included and aliases expanded.
    pub(crate) fn weight(&self) -> Weight {
        let mut weight = Weight { values: 1, bytes: 0 };
        match &self.value {
            Value::Text(text) | Value::Other { text, .. } => weight.bytes = text.len(),
            Value::List(items) => items.iter().for_each(|item| weight += item.weight()),
            Value::Map(entries) => {
                for (key, node) in entries.iter() {
                    weight.bytes += key.name.len();
                    weight += node.weight();
                }
            }
            _ => {}
        }
        weight
    }
}

/// The size of a part of a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// How many values.
    pub(crate) values: usize,
    /// Of their texts and keys, in UTF-8.
    pub(crate) bytes: usize,
}

impl AddAssign for Weight {
    fn add_assign(&mut self, more: Self) {
        self.values += more.values;
        self.bytes += more.bytes;
    }
}
