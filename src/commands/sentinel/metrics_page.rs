//! The sentinel's numbers: as the page `/metrics` of its HTTP endpoint, and for a collector.

use std::{
    convert::Infallible,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    commands::sentinel::call::DeliveryNumbers,
    report::metrics::{send::send_of_sentinel, sentinel::CONTENT_TYPE},
    sentinel::{
        endpoint::MetricsPage, numbers::SentinelNumbers, places::AccountRegion, pulse::SentinelView,
    },
    settings::metrics_targets::{Labels, Targets},
};

/// How often the numbers are sent to a collector: the default of OpenTelemetry's
/// `OTEL_METRIC_EXPORT_INTERVAL`.
const EXPORT_EVERY: Duration = Duration::from_mins(1);

/// The numbers as of now; none before the watch has begun. `delivery`: those of the reports.
fn numbers_now(view: &SentinelView, delivery: &DeliveryNumbers) -> Option<SentinelNumbers> {
    let mut numbers = view.numbers.borrow().clone()?;
    let (health, now) = (view.health.borrow(), Instant::now());
    // Counted here, so that it grows also when the sentinel's loop hangs.
    for ((account, region), place) in &mut numbers.places {
        let (account, region) = (account.clone(), region.clone());
        let name = AccountRegion { account, region }.in_words();
        place.list_age = health.list_age(name.as_str(), now);
    }
    numbers.undelivered = delivery.undelivered.load(Ordering::Relaxed);
    numbers.unwritten = delivery.unwritten.load(Ordering::Relaxed);
    numbers.stored_bytes = delivery.stored_bytes.load(Ordering::Relaxed);
    Some(numbers)
}

/// The page, as of now. Before the watch has begun it has no number.
pub(super) fn metrics_page(
    view: &SentinelView,
    labels: &Labels,
    delivery: &DeliveryNumbers,
) -> MetricsPage {
    let text = match numbers_now(view, delivery) {
        None => "# EOF\n".to_owned(),
        Some(numbers) => numbers.text(labels).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics have no text");
            "# EOF\n".to_owned()
        }),
    };
    MetricsPage { content_type: CONTENT_TYPE, text }
}

/// Sends the numbers to the collector of the settings, if there is one, until this is dropped.
pub(super) async fn export_metrics(
    view: &SentinelView,
    targets: &Targets,
    delivery: &DeliveryNumbers,
) -> Infallible {
    loop {
        sleep(EXPORT_EVERY).await;
        if let Some(numbers) = numbers_now(view, delivery)
            && let Err(trouble) = send_of_sentinel(targets, &numbers).await
        {
            tracing::warn!(trouble, "metrics are not sent");
        }
    }
}
