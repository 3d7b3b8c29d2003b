//! A paragraph of standard error as data: alerts tell the same lines, and know which of them are
//! actions and which clusters they are about.

use crate::base::{
    names::ClusterId,
    printable::{Printable, printable},
};

/// One line of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeLine {
    /// As it is shown.
    pub(crate) text: Printable,
    /// What to do, where the line says that.
    pub(crate) fix: Option<Printable>,
}

impl NoticeLine {
    /// A line that only tells.
    pub(crate) fn telling(text: impl Into<Printable>) -> Self {
        Self { text: text.into(), fix: None }
    }

    /// A line that says what to do: `label` and `fix`.
    pub(crate) fn fixing(label: &'static str, fix: impl Into<Printable>) -> Self {
        let fix = fix.into();
        Self { text: printable!("{label}{fix}"), fix: Some(fix) }
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
    pub(crate) fn new(headline: impl Into<Printable>) -> Self {
        Self { lines: vec![NoticeLine::telling(headline)], clusters: Vec::new() }
    }

    /// One of `lines`, none of which is an action; the first one says it all.
    pub(crate) fn of_lines(lines: &[Printable]) -> Self {
        let told = lines.iter().enumerate().map(|(index, line)| {
            NoticeLine::telling(if index == 0 {
                printable!("emr-etl-guard: {line}")
            } else {
                line.clone()
            })
        });
        Self { lines: told.collect(), clusters: Vec::new() }
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
