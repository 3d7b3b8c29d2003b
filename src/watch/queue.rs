//! The queue: EMR's EventBridge events, which a rule sends to an SQS queue, make the watch poll
//! sooner. Polling continues as usual, so nothing depends on the queue: an event is never trusted,
//! only a reason to poll, and any problem with the queue is a warning.
//!
//! Several guards can share one queue: a message stays visible to the others while it is read, and
//! only messages about the run's own clusters are deleted.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    aws::clients::{Aws, LONGEST_WAIT},
    base::{aws_calls, lookup::Lookup, names::ClusterId},
    watch::events::{Hint, Input, WatchEvent},
};

/// The longest pause while the queue contains messages of others.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// The number of messages per request, the maximum of SQS.
const AT_ONCE: i32 = 10;

/// How long messages of a shared queue are hidden from its other readers, in seconds.
const SHARED: i32 = 0;

/// The part of an EventBridge event from EMR that is used. Source: Amazon EMR management guide,
/// Monitoring Amazon EMR events with CloudWatch.
#[derive(Debug, Deserialize)]
struct EmrNotification {
    source: String,
    #[serde(rename = "detail-type")]
    kind: String,
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(rename = "clusterId")]
    cluster: String,
    /// The name of the cluster, or of the step.
    name: Option<String>,
}

/// The clusters whose events matter.
#[derive(Debug)]
pub(super) struct EventFilter {
    /// The name of the run's clusters; none if the clusters are named individually.
    pub(super) job_name: Option<String>,
    pub(super) clusters: BTreeSet<ClusterId>,
}

impl EventFilter {
    /// The cluster of a message, if it is one of the watched ones. Events of clusters contain the
    /// cluster's name; events of steps contain only the step's name.
    fn of(&mut self, message: &str) -> Option<ClusterId> {
        let told: EmrNotification = serde_json::from_str(message).ok()?;
        let id: ClusterId =
            told.detail.cluster.parse().ok().filter(|_| told.source == "aws.emr")?;
        let named = told.kind == "EMR Cluster State Change"
            && self.job_name.is_some()
            && told.detail.name == self.job_name;
        if named {
            self.clusters.insert(id.clone());
        }
        self.clusters.contains(&id).then_some(id)
    }
}

/// Listens until it is aborted: sends hints to `inputs`, and the first error to `events`.
pub(super) async fn listen(
    aws: Aws,
    queue: String,
    mut interest: EventFilter,
    pause: Duration,
    inputs: mpsc::UnboundedSender<Input>,
    events: mpsc::UnboundedSender<WatchEvent>,
) {
    let mut warned = false;
    loop {
        let asked = Instant::now();
        let mut rest = Duration::ZERO;
        match receive(&aws, &queue, SHARED).await {
            Lookup::Found(messages) => {
                // Messages that others have not deleted are returned again at once: without a pause
                // this loop would spin.
                let (mut own, mut quick) = (false, asked.elapsed() < Duration::from_secs(1));
                for (body, receipt) in messages {
                    let Some(id) = interest.of(&body) else { continue };
                    own = true;
                    let _ = inputs.send(Input::Hint(Hint::Event(id)));
                    delete(&aws, &queue, &receipt).await;
                }
                quick &= !own;
                if quick {
                    rest = pause.min(LONGEST_REST);
                }
            }
            Lookup::Absent => rest = warn(&mut warned, "there is no such queue", pause, &events),
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                rest = warn(&mut warned, &obstacle.to_string(), pause, &events);
            }
        }
        sleep(rest).await;
    }
}

/// Reports the first error, and returns the time until the next try.
fn warn(
    warned: &mut bool,
    what: &str,
    pause: Duration,
    events: &mpsc::UnboundedSender<WatchEvent>,
) -> Duration {
    if !std::mem::replace(warned, true) {
        let _ = events.send(WatchEvent::Warning(format!(
            "the event queue (setting `event_queue`) \
            gives no events, so only polling watches: {what}"
        )));
    }
    (pause * 12).min(LONGEST_REST * 12)
}

/// The messages that are available, or that arrive within the longest wait, each as body and
/// receipt handle. Others do not see them for `hidden_for`, in seconds.
pub(crate) async fn receive(
    aws: &Aws,
    queue: &str,
    hidden_for: i32,
) -> Lookup<Vec<(String, String)>> {
    let request = aws
        .sqs
        .receive_message()
        .queue_url(queue)
        .max_number_of_messages(AT_ONCE)
        .visibility_timeout(hidden_for);
    let result = request.wait_time_seconds(i32::from(LONGEST_WAIT)).send().await;
    Lookup::from_call(
        &aws_calls::RECEIVE_MESSAGE,
        &["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"],
        result,
    )
    .map(|answer| {
        let messages = answer.messages.unwrap_or_default().into_iter();
        messages.filter_map(|message| message.body.zip(message.receipt_handle)).collect()
    })
}

/// A message that remains is read again and does no harm, so a failure is ignored.
pub(crate) async fn delete(aws: &Aws, queue: &str, receipt: &str) {
    let result = aws.sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await;
    if let Err(error) = result {
        tracing::debug!(
            call = aws_calls::DELETE_MESSAGE.operation,
            error = crate::aws::answer::describe(&error),
            "a message could not be deleted"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in AWS's own example of a state change event.
    fn message(kind: &str, cluster: &str, name: &str) -> String {
        serde_json::json!({"version": "0", "id": "999cccaa-eaaa-0000-1111-123456789012", "detail-type": kind, "source": "aws.emr",
            "account": "123456789012", "time": "2016-12-16T20:43:05Z", "region": "us-east-1",
            "resources": [],
            "detail": {"severity": "INFO", "stateChangeReason": "{\"code\":\"\"}", "name": name, "clusterId": cluster, "state": "STARTING",
                "message": "Amazon EMR cluster was requested"}})
        .to_string()
    }

    #[test]
    fn an_event_matters_when_it_is_about_a_cluster_of_the_runs_name_or_one_that_was_named() {
        let mut interest = EventFilter {
            job_name: Some("Snowplow ETL".to_owned()),
            clusters: BTreeSet::from(["j-NAMED".parse().unwrap()]),
        };
        let (state, step) = ("EMR Cluster State Change", "EMR Step Status Change");
        for (kind, cluster, name, matters) in [
            (step, "j-1", "Snowplow ETL", false),
            (state, "j-1", "Payroll", false),
            (state, "j-1", "Snowplow ETL", true),
            (step, "j-1", "[enrich] spark", true),
            (step, "j-NAMED", "x", true),
            (state, "rm -rf", "Snowplow ETL", false),
        ] {
            assert_eq!(
                interest.of(&message(kind, cluster, name)).is_some(),
                matters,
                "{kind} {cluster} {name}"
            );
        }
        assert_eq!(interest.of("hello"), None);
        assert_eq!(
            interest.of(&message(state, "j-1", "Snowplow ETL").replace("aws.emr", "acme.forged")),
            None
        );
    }
}
