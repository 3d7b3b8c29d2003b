//! Work that was not done, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::lookup::LookupError;

/// Objects that were not changed, for one reason.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Left")]
pub(crate) struct SkippedObjects {
    /// The reason, and what to do about it.
    pub(crate) why: String,
    /// The number of objects; none where the reason does not concern objects.
    pub(crate) objects: Option<u64>,
    /// The first of them.
    pub(crate) first: Option<String>,
}

/// Work that was not done: its message, and the message's parts.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) line: String,
    pub(crate) left: SkippedObjects,
}

impl Leftover {
    /// Objects, of which the first is named.
    pub(crate) fn of_objects(line: String, why: &str, objects: u64, first: &str) -> Self {
        Self {
            line,
            left: SkippedObjects {
                why: why.to_owned(),
                objects: Some(objects),
                first: Some(first.to_owned()),
            },
        }
    }

    /// Work without objects that could be named.
    pub(crate) fn other(line: String) -> Self {
        Self { left: SkippedObjects { why: line.clone(), objects: None, first: None }, line }
    }
}

/// Why a look-up failed.
pub(crate) fn unseen(obstacle: &LookupError) -> String {
    format!("could not be looked at: {} ({})", obstacle.message, obstacle.operation)
}
