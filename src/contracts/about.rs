//! The subject of a call, as a fixture names it.

use serde_json::Value;

/// A JSON object of texts and lists of texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a>(pub(crate) &'a Value);

impl<'a> About<'a> {
    /// The text with this name; empty if there is none.
    pub(crate) fn text(self, name: &str) -> &'a str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub(crate) fn texts(self, name: &str) -> Vec<String> {
        let all = self.0[name].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
