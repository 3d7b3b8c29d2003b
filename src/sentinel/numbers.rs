//! The numbers of a sentinel while it works, for metrics.

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use crate::sentinel::record::SentinelVerdict;

/// The numbers of a sentinel at one time. Those that count begin at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentinelNumbers {
    /// When it started.
    pub(crate) started: OffsetDateTime,
    /// Each place, by account and region.
    pub(crate) places: BTreeMap<(String, String), PlaceNumbers>,
    /// The accounts that are to be watched, and whether it is unknown which regions one has.
    pub(crate) accounts: BTreeMap<String, bool>,
    /// How many clusters have had each verdict. A cluster counts once under each verdict that it
    /// has had; as unjudged only if it was not judged in time, or before its end.
    pub(crate) judged: BTreeMap<SentinelVerdict, u64>,
    /// How many clusters were seen for the first time.
    pub(crate) seen: u64,
    /// How many terminations were requested.
    pub(crate) terminations: u64,
    /// How many were requested within the last hour, by earlier sentinels too.
    pub(crate) terminations_last_hour: u64,
    /// How many are allowed within an hour.
    pub(crate) terminations_per_hour: u32,
    /// How many clusters that were to be terminated wait, because the limit is reached.
    pub(crate) limited: u64,
    /// The calls to EMR, by operation.
    pub(crate) emr_calls: BTreeMap<String, u64>,
    /// How many of them were throttled.
    pub(crate) throttled: u64,
    /// How many reports wait to be delivered.
    pub(crate) undelivered: u64,
    /// How many times in a row the report of a period could not be written.
    pub(crate) unwritten: u64,
    /// How many bytes the reports and the files of the quarters take on the disk.
    pub(crate) stored_bytes: u64,
}

impl SentinelNumbers {
    /// The numbers at the start, when nothing is known.
    pub(crate) fn at_start(started: OffsetDateTime, terminations_per_hour: u32) -> Self {
        Self {
            started,
            places: BTreeMap::new(),
            accounts: BTreeMap::new(),
            judged: BTreeMap::new(),
            seen: 0,
            terminations: 0,
            terminations_last_hour: 0,
            terminations_per_hour,
            limited: 0,
            emr_calls: BTreeMap::new(),
            throttled: 0,
            undelivered: 0,
            unwritten: 0,
            stored_bytes: 0,
        }
    }
}

/// The numbers of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceNumbers {
    /// The clusters that live there, by verdict.
    pub(crate) living: BTreeMap<SentinelVerdict, u64>,
    /// The time since its last complete list; before the first one, since the sentinel's start.
    pub(crate) list_age: Duration,
    /// Whether it is unknown at present which clusters there are.
    pub(crate) is_unseen: bool,
}
