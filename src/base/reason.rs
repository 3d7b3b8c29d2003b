//! Why a run ends as it does, as data: what happened, what to do about it, and which clusters it is
//! about.

use crate::base::{
    names::ClusterId,
    printable::{Printable, printable},
};

/// One reason. Each part is a single line, whatever text of others it was made from: what an error
/// message or an object key says can look like neither a part of its own nor an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    headline: Printable,
    end_now: Option<Printable>,
    details: Vec<Printable>,
    fixes: Vec<Printable>,
    clusters: Vec<ClusterId>,
}

impl Reason {
    /// A reason that `headline` tells.
    pub(crate) fn new(headline: impl Into<Printable>) -> Self {
        Self {
            headline: headline.into(),
            end_now: None,
            details: Vec::new(),
            fixes: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// The same as a call to end a cluster at once by `command`: that stands in the headline, because
    /// nothing else may be read.
    pub(crate) fn end_now(mut self, command: impl Into<Printable>) -> Self {
        self.end_now = Some(command.into());
        self
    }

    /// The same with one more line about it.
    pub(crate) fn detail(mut self, detail: impl Into<Printable>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// The same with what to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<Printable>) -> Self {
        self.fixes.push(fix.into());
        self
    }

    /// The same about a cluster.
    pub(crate) fn about(mut self, cluster: &ClusterId) -> Self {
        self.clusters.push(cluster.clone());
        self
    }

    /// The same, whose headline begins with `context`.
    pub(crate) fn within(mut self, context: impl Into<Printable>) -> Self {
        self.headline = printable!("{}: {}", context.into(), self.headline);
        self
    }

    /// What happened; where a cluster is to be ended at once, with the command.
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
