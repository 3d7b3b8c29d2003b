//! Where an audit's objects come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Where the facts came from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[schemars(rename = "Source")]
pub(crate) enum FactSource {
    /// S3 itself, object by object.
    Live {
        /// Whether old versions were scanned, too.
        versions: bool,
        /// How often S3 asked to slow down.
        slowed_down: usize,
    },
    /// Inventories that S3 has made.
    Inventory {
        /// Each of them.
        inventories: Vec<InventorySource>,
        /// Rows of objects outside all locations.
        outside: u64,
    },
}

/// An inventory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InventorySource {
    /// Its manifest, as it was named.
    pub(crate) manifest: String,
    /// `CSV`, `ORC` or `Parquet`.
    pub(crate) format: String,
    /// The bucket whose objects it lists.
    pub(crate) bucket: String,
    /// When S3 made it.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub(crate) created: OffsetDateTime,
    /// How old it was when it was read.
    pub(crate) age_seconds: i64,
    /// How many rows it has.
    pub(crate) rows: u64,
}
