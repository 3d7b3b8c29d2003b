//! The CloudWatch client: the three calls for alarms on metrics, over the Query protocol.
//!
//! Today's SDKs speak CBOR to CloudWatch, which still answers the Query protocol.
//! `tests/recorded.json` holds what an SDK sent in that protocol, and what CloudWatch answered.

pub(crate) mod alarm;
mod answers;
mod members;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_types::SdkConfig;

use crate::{
    aws::{
        log::CallLog,
        patience::Patience,
        query_protocol::{Acknowledged, Called, Form, QueryClient, QueryService, ServiceHosts},
    },
    base::aws_calls::{self, Call},
};
use alarm::{AlarmDefinition, MetricAlarm};

/// How CloudWatch is called.
pub(super) static CLOUDWATCH: QueryService = QueryService {
    id: "CloudWatch",
    name: "cloudwatch",
    prefix: "monitoring",
    hosts: ServiceHosts::Regional { has_gov_fips_prefix: false },
    version: "2010-08-01",
};
/// How many alarms one call can name, and how many are on a page.
pub(crate) const MOST_NAMES: usize = 100;

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct CloudWatch(QueryClient);

impl CloudWatch {
    /// A client for the region of `base`; `calls` records its requests. `configured` is the
    /// endpoint from the environment or the profile.
    pub(super) fn new(base: &SdkConfig, configured: Option<String>, calls: &CallLog) -> Self {
        Self(QueryClient::new(&CLOUDWATCH, base, configured, calls))
    }

    /// A copy of the client that waits while AWS throttles.
    pub(super) fn patient(&self, patience: &Patience) -> Self {
        Self(self.0.patient(patience))
    }

    /// A copy of the client that sends each call once.
    pub(crate) fn without_retries(&self) -> Self {
        Self(self.0.without_retries())
    }

    /// The alarms on metrics with these names, at most 100. The answer leaves out those that do
    /// not exist.
    pub(crate) async fn alarms(&self, names: &[String]) -> Called<Vec<MetricAlarm>> {
        let mut form = form(&aws_calls::DESCRIBE_ALARMS);
        form.add_list("AlarmNames", names);
        form.add("MaxRecords", &MOST_NAMES.to_string());
        self.0.pages(form, answers::alarm_page).await
    }

    /// Makes the alarm, or overwrites the one with its name. `tags` are set only on a new alarm,
    /// and need the permission `cloudwatch:TagResource` too.
    pub(crate) async fn put_alarm(
        &self,
        alarm: &AlarmDefinition,
        tags: &BTreeMap<String, String>,
    ) -> Called<Acknowledged> {
        let mut form = form(&aws_calls::PUT_METRIC_ALARM);
        members::add_alarm(&mut form, alarm);
        members::add_pairs(&mut form, "Tags", ["Key", "Value"], tags);
        self.0.acknowledged(form).await
    }

    /// Deletes the alarm with this name. CloudWatch also acknowledges the deletion of an alarm that
    /// does not exist.
    pub(crate) async fn delete_alarm(&self, name: &str) -> Called<Acknowledged> {
        let form = form(&aws_calls::DELETE_ALARMS).with("AlarmNames.member.1", name);
        self.0.acknowledged(form).await
    }
}

fn form(call: &Call) -> Form {
    Form::of(&CLOUDWATCH, call)
}
