//! The queues: events of EMR and of CloudTrail make the sentinel look at a cluster sooner, and tell
//! who launched it. Nothing else depends on them: an event is never believed about a cluster's
//! state, and lists find every cluster without any event.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    aws::clients::Aws,
    base::{lookup::Lookup, names::ClusterId},
    sentinel::{places::AccountRegion, record::Launcher},
    watch::queue::{delete, receive},
};

/// How long a message is hidden from other readers while it is handled, in seconds.
const HIDDEN_FOR: i32 = 30;
/// The pause after a request that failed.
const PAUSE: Duration = Duration::from_mins(1);
/// The pause after messages that this program leaves in a queue.
const SHORT_PAUSE: Duration = Duration::from_secs(5);
/// How many events may wait for the driver. Whoever fills a queue makes its reader wait.
const WAITING: usize = 256;
/// The longest text that is taken from an event, in bytes.
const LONGEST_TEXT: usize = 512;

/// What a message tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueEvent {
    /// Something happened to a cluster; who launched it, if the event tells that.
    Cluster(AccountRegion, ClusterId, Option<Launcher>),
    /// A queue gives no events; why. It is tried again.
    Failed(String, String),
    /// It gives events again.
    Works(String),
}

/// A queue to listen to.
#[derive(Clone, Debug)]
pub(crate) struct SentinelQueue {
    /// Its URL.
    pub(crate) url: String,
    /// Clients in its region.
    pub(crate) aws: Aws,
    /// Whether the guards of runs read it, too. Messages of a shared queue stay in it.
    pub(crate) is_shared: bool,
}

/// The parts of an EventBridge event that are used. Sources: Amazon EMR management guide,
/// Monitoring Amazon EMR events with CloudWatch; Amazon EventBridge user guide, Events from AWS
/// services via CloudTrail.
#[derive(Debug, Deserialize)]
struct BusEvent {
    source: String,
    account: String,
    region: String,
    detail: BusDetail,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BusDetail {
    /// Of EMR's events.
    cluster_id: Option<String>,
    /// Of CloudTrail's events.
    event_name: Option<String>,
    event_source: Option<String>,
    user_identity: Option<UserIdentity>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    user_agent: Option<String>,
    response_elements: Option<ResponseElements>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity {
    arn: Option<String>,
    invoked_by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseElements {
    job_flow_id: Option<String>,
}

/// Starts to listen to `queues`, each until the receiver is dropped.
pub(crate) fn listen(queues: Vec<SentinelQueue>) -> mpsc::Receiver<QueueEvent> {
    let (sender, events) = mpsc::channel(WAITING);
    for queue in queues {
        tokio::spawn(listen_to(queue, sender.clone()));
    }
    events
}

async fn listen_to(queue: SentinelQueue, events: mpsc::Sender<QueueEvent>) {
    let hidden_for = if queue.is_shared { 0 } else { HIDDEN_FOR };
    let mut failed = false;
    while !events.is_closed() {
        let asked = Instant::now();
        let received = receive(&queue.aws, &queue.url, hidden_for).await;
        let messages = match received {
            Lookup::Found(messages) => messages,
            other => {
                if !std::mem::replace(&mut failed, true) {
                    let _ = events.send(QueueEvent::Failed(queue.url.clone(), why(&other))).await;
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        if std::mem::take(&mut failed) {
            let _ = events.send(QueueEvent::Works(queue.url.clone())).await;
        }
        for event in messages.iter().filter_map(|(body, _)| event_of(body)) {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if queue.is_shared {
            // What stays is returned again at once: without a pause this loop would spin.
            sleep(SHORT_PAUSE.saturating_sub(asked.elapsed())).await;
        } else {
            // Forged and foreign messages go, too: they would fill the queue.
            let receipts = messages.iter().map(|(_, receipt)| receipt);
            join_all(receipts.map(|receipt| delete(&queue.aws, &queue.url, receipt))).await;
        }
    }
}

/// Why a queue gave no messages.
fn why<T>(received: &Lookup<T>) -> String {
    match received {
        Lookup::Denied(error) | Lookup::Unreachable(error) => error.to_string(),
        Lookup::Found(_) | Lookup::Absent => "there is no such queue".to_owned(),
    }
}

/// The event in a message, if it is one about a cluster.
fn event_of(message: &str) -> Option<QueueEvent> {
    let BusEvent { source, account, region, detail } = serde_json::from_str(message).ok()?;
    let place = AccountRegion { account, region };
    match source.as_str() {
        "aws.emr" => {
            let id = detail.cluster_id?.parse().ok()?;
            Some(QueueEvent::Cluster(place, id, None))
        }
        "aws.elasticmapreduce" => {
            let is_launch = detail.event_name.as_deref() == Some("RunJobFlow")
                && detail.event_source.as_deref() == Some("elasticmapreduce.amazonaws.com");
            let id = detail.response_elements.as_ref()?.job_flow_id.as_deref()?.parse().ok()?;
            is_launch.then(|| QueueEvent::Cluster(place, id, launcher_of(detail)))
        }
        _ => None,
    }
}

/// Who launched a cluster, by CloudTrail's record of the call.
fn launcher_of(detail: BusDetail) -> Option<Launcher> {
    let short = |text: Option<String>| text.filter(|text| text.len() <= LONGEST_TEXT);
    let identity = detail.user_identity?;
    Some(Launcher {
        arn: short(identity.arn)?,
        program: short(identity.invoked_by).or(short(detail.user_agent)),
        address: short(detail.source_ip_address),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place() -> AccountRegion {
        AccountRegion { account: "123456789012".to_owned(), region: "eu-west-1".to_owned() }
    }

    #[test]
    fn an_event_of_emr_names_a_cluster_of_its_account_and_region() {
        let event = |source: &str, id: &str| {
            json!({"source": source, "detail-type": "EMR Cluster State Change",
                "account": "123456789012", "region": "eu-west-1",
                "detail": {"clusterId": id, "state": "STARTING", "name": "x"}})
            .to_string()
        };
        let id: ClusterId = "j-1ABC".parse().unwrap();
        let wanted = QueueEvent::Cluster(place(), id, None);
        assert_eq!(event_of(&event("aws.emr", "j-1ABC")), Some(wanted));
        assert_eq!(event_of(&event("acme.forged", "j-1ABC")), None);
        assert_eq!(event_of(&event("aws.emr", "rm -rf")), None);
        assert_eq!(event_of("no JSON"), None);
    }

    #[test]
    fn a_launch_in_cloudtrail_tells_who_launched() {
        let event = |name: &str, response: serde_json::Value| {
            json!({"source": "aws.elasticmapreduce", "detail-type": "AWS API Call via CloudTrail",
                "account": "123456789012", "region": "eu-west-1",
                "detail": {"eventSource": "elasticmapreduce.amazonaws.com", "eventName": name,
                    "userIdentity": {"arn": "arn:aws:sts::123456789012:assumed-role/air/flow"},
                    "sourceIPAddress": "192.0.2.7", "userAgent": "Boto3/1.34",
                    "responseElements": response}})
            .to_string()
        };
        let launcher = Launcher {
            arn: "arn:aws:sts::123456789012:assumed-role/air/flow".to_owned(),
            program: Some("Boto3/1.34".to_owned()),
            address: Some("192.0.2.7".to_owned()),
        };
        let id: ClusterId = "j-1ABC".parse().unwrap();
        let told = event_of(&event("RunJobFlow", json!({"jobFlowId": "j-1ABC"})));
        assert_eq!(told, Some(QueueEvent::Cluster(place(), id, Some(launcher))));
        let refused = event_of(&event("RunJobFlow", serde_json::Value::Null));
        assert_eq!(refused, None, "a call that EMR refused launched nothing");
        let other = event_of(&event("AddJobFlowSteps", json!({"jobFlowId": "j-1ABC"})));
        assert_eq!(other, None);
    }
}
