//! Why a run ends with its outcome, as data: what happened, how to fix it, and which clusters are
//! affected.

use crate::base::{
    names::ClusterId,
    printable::{Printable, printable},
};

/// One reason. Each part is a single line, even if it contains untrusted text: an error message or
/// an object key can look neither like another part nor like an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    headline: Printable,
    end_now: Option<Printable>,
    details: Vec<Printable>,
    fixes: Vec<Printable>,
    clusters: Vec<ClusterId>,
}

impl Reason {
    /// A reason with this headline.
    pub(crate) fn new(headline: impl Into<Printable>) -> Self {
        Self {
            headline: headline.into(),
            end_now: None,
            details: Vec::new(),
            fixes: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// Adds a call to terminate a cluster at once with `command`. The command is part of the
    /// headline, because a reader may see nothing else.
    pub(crate) fn end_now(mut self, command: impl Into<Printable>) -> Self {
        self.end_now = Some(command.into());
        self
    }

    /// Adds one more line of detail.
    pub(crate) fn detail(mut self, detail: impl Into<Printable>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Adds how to fix it.
    pub(crate) fn fix(mut self, fix: impl Into<Printable>) -> Self {
        self.fixes.push(fix.into());
        self
    }

    /// Adds a cluster that it is about.
    pub(crate) fn about(mut self, cluster: &ClusterId) -> Self {
        self.clusters.push(cluster.clone());
        self
    }

    /// Puts `context` before the headline.
    pub(crate) fn within(mut self, context: impl Into<Printable>) -> Self {
        self.headline = printable!("{}: {}", context.into(), self.headline);
        self
    }

    /// What happened. If a cluster must be terminated at once, this includes the command.
    pub(crate) fn headline(&self) -> Printable {
        match &self.end_now {
            Some(command) => printable!("{}: end it now: {command}", self.headline),
            None => self.headline.clone(),
        }
    }

    /// The command in the headline.
    pub(crate) fn command(&self) -> Option<&Printable> {
        self.end_now.as_ref()
    }

    pub(crate) fn details(&self) -> &[Printable] {
        &self.details
    }

    pub(crate) fn fixes(&self) -> &[Printable] {
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

impl From<Printable> for Reason {
    fn from(headline: Printable) -> Self {
        Self::new(headline)
    }
}

impl From<&str> for Reason {
    fn from(headline: &str) -> Self {
        Self::new(headline)
    }
}
