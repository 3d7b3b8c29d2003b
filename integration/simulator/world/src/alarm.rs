//! Owns CloudWatch's alarms on metrics.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use crate::partition::partition_of;

/// An alarm. Nothing is measured: its state never changes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// Its settings as `PutMetricAlarm` sent them, by the names of its form: `Threshold`,
    /// `Dimensions.member.1.Name`.
    pub settings: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// From when on it is in that state.
    #[serde(with = "time::serde::rfc3339")]
    pub state_since: OffsetDateTime,
    /// When its settings were last sent.
    #[serde(with = "time::serde::rfc3339")]
    pub configured: OffsetDateTime,
}

impl Alarm {
    /// The alarm's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let Self { account, region, name, .. } = self;
        format!("arn:{}:cloudwatch:{region}:{account}:alarm:{name}", partition_of(region))
    }
}
