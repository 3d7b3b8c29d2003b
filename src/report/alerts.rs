//! Alerts: notifies operators, besides the terminal or log, that a run was refused, that a cluster
//! is unsafe, or that a run could not be confirmed.
//!
//! Alerts are sent in the background, by all channels concurrently. Only the guard's own exit waits
//! for them, for a limited time.

mod command;
pub(crate) mod message;
mod sns;
mod webhook;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use crate::{
    evidence::timeline::Timeline,
    report::alerts::message::Message,
    settings::{
        alert_channels::{Channel, Channels},
        aws_options::AwsOptions,
    },
    system::output,
};

impl Channel {
    async fn send(
        &self,
        message: &Message,
        aws: &AwsOptions,
        limit: Duration,
    ) -> Result<(), String> {
        match self {
            Self::Sns(topic) => sns::send(topic, message, aws, limit).await,
            Self::Webhook(webhook) => webhook::send(webhook, message, limit).await,
            Self::Command(program) => command::send(program, message).await,
        }
    }
}

/// An alert that is being sent by one channel: the channel's name, and its task.
type PendingAlert = (String, JoinHandle<()>);

/// Alerts that are being sent. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    channels: Arc<Channels>,
    aws: Arc<AwsOptions>,
    timeline: Timeline,
    under_way: Arc<Mutex<Vec<PendingAlert>>>,
}

impl Alerts {
    pub(crate) fn new(channels: Channels, aws: AwsOptions, timeline: Timeline) -> Self {
        Self {
            channels: Arc::new(channels),
            aws: Arc::new(aws),
            timeline,
            under_way: Arc::default(),
        }
    }

    /// Sends `message` by every channel, in the background.
    pub(crate) fn send(&self, message: Message) {
        let (message, limit) = (Arc::new(message), self.channels.limit);
        for channel in self.channels.channels.clone() {
            let label = format!("{} to {}", message.kind(), channel.name());
            let (alerts, message, name) = (self.clone(), Arc::clone(&message), label.clone());
            let task = tokio::spawn(async move {
                let sent = timeout(limit, channel.send(&message, &alerts.aws, limit)).await;
                let waited =
                    || Err(format!("not through after {}", humantime::format_duration(limit)));
                match sent.unwrap_or_else(|_| waited()) {
                    Ok(()) => alerts.timeline.note(format!("alert sent: {name}")),
                    Err(why) => alerts.failed(&name, &why),
                }
            });
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            // A sentinel sends alerts for months; those that are sent need no memory.
            under_way.retain(|(_, task)| !task.is_finished());
            under_way.push((label, task));
        }
    }

    /// Reports a failed alert on standard error. Alerts are only sent when the run has failed, so
    /// standard error need not stay empty.
    fn failed(&self, name: &str, why: &str) {
        self.timeline.note(format!("alert NOT sent: {name}: {why}"));
        output::complain(&format!("an alert was not sent ({name}): {why}").into());
    }

    /// Waits until all of them are sent or have failed. One that is still being sent when `cut`
    /// completes is dropped.
    pub(crate) async fn settle(&self, cut: impl Future<Output = ()>) {
        let mut under_way =
            std::mem::take(&mut *self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            for (name, task) in &mut under_way {
                // The task catches its own failures, so an error here is a bug.
                if task.await.is_err() {
                    self.failed(name, "a bug in emr-etl-guard");
                }
            }
        };
        let is_cut = tokio::select! {
            () = all => false,
            () = cut => true,
        };
        for (name, task) in under_way.into_iter().filter(|(_, task)| is_cut && !task.is_finished())
        {
            task.abort();
            self.failed(&name, "the guard had to stop");
        }
    }
}
