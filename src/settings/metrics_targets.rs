//! The destinations of metrics, and their labels.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use serde::Deserialize;

use crate::base::printable::{Printable, is_invisible};

/// Labels of all metrics, written as `pipeline=acme,stage=prod` or as a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Name and value of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Labels that the metrics have by themselves.
const OWN_LABELS: [&str; 5] = ["command", "status", "level", "judgement", "encryption"];

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = String;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, String> {
        let is_name = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
                && !OWN_LABELS.contains(&name)
        };
        let unseen = |value: &&String| value.contains(is_invisible);
        if let Some((name, value)) = labels.iter().find(|(_, value)| unseen(value)) {
            return Err(format!(
                "the value `{}` of the label `{name}` holds a character that shows nothing; leave \
                 it out",
                Printable::from(value)
            ));
        }
        match labels.keys().find(|name| !is_name(name)) {
            Some(name) => Err(format!(
                "`{name}` cannot be a label: letters, digits and `_`, and not one of {}",
                OWN_LABELS.join(", ")
            )),
            None => Ok(Self(labels)),
        }
    }
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let labels = parts.map(|part| {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not of the form pipeline=acme"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        labels.collect::<Result<BTreeMap<_, _>, String>>()?.try_into()
    }
}

/// Where metrics go.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) file: Option<PathBuf>,
    pub(crate) otlp: Option<String>,
    pub(crate) labels: Labels,
}
