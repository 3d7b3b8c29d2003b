//! A paragraph of standard error as data: alerts tell the same lines, and know which of them are
//! actions and which clusters they are about.

use crate::base::{names::ClusterId, text::one_line};

/// One line of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeLine {
    /// As it is shown.
    pub(crate) text: String,
    /// What to do, where the line says that.
    pub(crate) fix: Option<String>,
}

impl NoticeLine {
    /// A line that only tells.
    pub(crate) fn telling(text: impl AsRef<str>) -> Self {
        Self { text: one_line(text.as_ref()), fix: None }
    }

    /// A line that says what to do: `label` and `fix`.
    pub(crate) fn fixing(label: &str, fix: impl AsRef<str>) -> Self {
        let fix = one_line(fix.as_ref());
        Self { text: format!("{label}{fix}"), fix: Some(fix) }
    }
}

/// What is said at once: its first line says it all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) lines: Vec<NoticeLine>,
    /// The clusters that it is about.
    pub(crate) clusters: Vec<ClusterId>,
}

impl Notice {
    /// One that is a single line.
    pub(crate) fn new(headline: impl AsRef<str>) -> Self {
        Self { lines: vec![NoticeLine::telling(headline)], clusters: Vec::new() }
    }

    /// One of the lines of `text`, none of which is an action.
    pub(crate) fn of_text(text: &str) -> Self {
        let lines = text.trim().lines().map(NoticeLine::telling).collect();
        Self { lines, clusters: Vec::new() }
    }

    /// The same about a cluster.
    pub(crate) fn about(mut self, cluster: &ClusterId) -> Self {
        self.clusters.push(cluster.clone());
        self
    }

    /// As it stands on standard error.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }
}
