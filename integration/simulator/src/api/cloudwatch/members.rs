//! Owns the reading of the members of a form: `Metrics.member.1.MetricStat.Period`.

use std::collections::BTreeMap;

use crate::reply::Failure;

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, "ValidationError", message)
}

/// The members of a form whose names start in one way.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    form: &'a BTreeMap<String, String>,
    prefix: String,
}

impl<'a> Members<'a> {
    /// All of a form.
    pub(super) fn of(form: &'a BTreeMap<String, String>) -> Self {
        Self { form, prefix: String::new() }
    }

    /// The member with this name, if it is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.form.get(&format!("{}{name}", self.prefix))?;
        Some(text.as_str()).filter(|text| !text.is_empty())
    }

    /// The number with this name.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let read = |text: &str| {
            text.parse().map_err(|_| invalid(format!("Value '{text}' of {name} is no number")))
        };
        self.text(name).map(read).transpose()
    }

    /// The members of the structure with this name.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { form: self.form, prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether there is a member, list or structure with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let (whole, start) = (format!("{}{name}", self.prefix), format!("{}{name}.", self.prefix));
        self.form.keys().any(|key| *key == whole || key.starts_with(&start))
    }

    /// The structures of a list.
    pub(super) fn items(&self, list: &str) -> Vec<Self> {
        (1..)
            .map_while(|number| {
                let item = format!("{list}.member.{number}");
                self.has(&item).then(|| self.below(&item))
            })
            .collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, list: &str) -> Vec<&'a str> {
        (1..).map_while(|number| self.text(&format!("{list}.member.{number}"))).collect()
    }
}
