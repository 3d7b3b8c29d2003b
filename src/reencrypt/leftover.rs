//! What is not done, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::lookup::LookupError;

/// What is not done, for one reason.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Left")]
pub(crate) struct SkippedObjects {
    /// Why, and what to do about it.
    pub(crate) why: String,
    /// How many objects; none where that is not about objects.
    pub(crate) objects: Option<u64>,
    /// The first of them.
    pub(crate) first: Option<String>,
}

/// Something that is not done: the line that says so, and its parts.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) line: String,
    pub(crate) left: SkippedObjects,
}

impl Leftover {
    /// Some objects, of which the first is named.
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

    /// Something that is not about objects that could be named.
    pub(crate) fn other(line: String) -> Self {
        Self { left: SkippedObjects { why: line.clone(), objects: None, first: None }, line }
    }
}

/// Why something could not be looked at.
pub(crate) fn unseen(obstacle: &LookupError) -> String {
    format!("could not be looked at: {} ({})", obstacle.message, obstacle.operation)
}
