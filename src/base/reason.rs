//! Why a run ends as it does, as data: what happened, what to do about it, and which clusters it is
//! about.

use crate::base::{names::ClusterId, text::one_line};

/// One reason. Each part is a single line, whatever text of others it was made from: what an error
/// message or an object key says can look like neither a part of its own nor an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    headline: String,
    end_now: Option<String>,
    details: Vec<String>,
    fixes: Vec<String>,
    clusters: Vec<ClusterId>,
}

impl Reason {
    /// A reason that `headline` tells.
    pub(crate) fn new(headline: impl AsRef<str>) -> Self {
        Self {
            headline: one_line(headline.as_ref()),
            end_now: None,
            details: Vec::new(),
            fixes: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// The same as a call to end a cluster at once by `command`: that stands in the headline, because
    /// nothing else may be read.
    pub(crate) fn end_now(mut self, command: impl AsRef<str>) -> Self {
        self.end_now = Some(one_line(command.as_ref()));
        self
    }

    /// The same with one more line about it.
    pub(crate) fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.details.push(one_line(detail.as_ref()));
        self
    }

    /// The same with what to do about it.
    pub(crate) fn fix(mut self, fix: impl AsRef<str>) -> Self {
        self.fixes.push(one_line(fix.as_ref()));
        self
    }

    /// The same about a cluster.
    pub(crate) fn about(mut self, cluster: &ClusterId) -> Self {
        self.clusters.push(cluster.clone());
        self
    }

    /// The same, whose headline begins with `context`.
    pub(crate) fn within(mut self, context: &str) -> Self {
        self.headline = format!("{}: {}", one_line(context), self.headline);
        self
    }

    /// What happened; where a cluster is to be ended at once, with the command.
    pub(crate) fn headline(&self) -> String {
        match &self.end_now {
            Some(command) => format!("{}: end it now: {command}", self.headline),
            None => self.headline.clone(),
        }
    }

    /// The command in the headline.
    pub(crate) fn command(&self) -> Option<&str> {
        self.end_now.as_deref()
    }

    pub(crate) fn details(&self) -> &[String] {
        &self.details
    }

    pub(crate) fn fixes(&self) -> &[String] {
        &self.fixes
    }

    pub(crate) fn clusters(&self) -> &[ClusterId] {
        &self.clusters
    }
}

impl From<String> for Reason {
    fn from(headline: String) -> Self {
        Self::new(headline)
    }
}

impl From<&str> for Reason {
    fn from(headline: &str) -> Self {
        Self::new(headline)
    }
}
