//! Sends the metrics: to a file, and to an OpenTelemetry collector.

use tokio::{sync::oneshot, time::timeout};

use crate::{
    report::metrics::{LIMIT, Measured, Metric, gauges, otlp, prometheus},
    sentinel::numbers::SentinelNumbers,
    settings::metrics_targets::Targets,
};

/// The metrics of one run, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    targets: Targets,
    command: &'static str,
    gauges: Vec<Metric>,
}

impl Metrics {
    pub(crate) fn new(targets: Targets, measured: &Measured) -> Self {
        Self { gauges: gauges(measured, &targets.labels), command: measured.command, targets }
    }

    /// Writes the file, if one is configured.
    pub(crate) async fn write(&self) -> Result<(), String> {
        let Some(file) = self.targets.file.clone() else { return Ok(()) };
        let (gauges, command) = (self.gauges.clone(), self.command);
        apart(move || {
            prometheus::write(&file, gauges, command)
                .map_err(|error| format!("{}: cannot be written: {error}", file.display()))
        })
        .await
    }

    /// Sends them to the collector, if one is configured.
    pub(crate) async fn send(&self) -> Result<(), String> {
        export(&self.targets, self.gauges.clone()).await
    }
}

/// Sends the numbers of a sentinel to the collector, if one is configured.
///
/// # Errors
/// What the collector answered, or that it did not answer within [`LIMIT`].
pub(crate) async fn send_of_sentinel(
    targets: &Targets,
    numbers: &SentinelNumbers,
) -> Result<(), String> {
    let sent = timeout(LIMIT, export(targets, numbers.metrics(&targets.labels)));
    let late = |_| Err(format!("OTLP: not through after {}", humantime::format_duration(LIMIT)));
    sent.await.unwrap_or_else(late)
}

async fn export(targets: &Targets, metrics: Vec<Metric>) -> Result<(), String> {
    let Some(endpoint) = otlp::endpoint(targets.otlp.as_deref(), &otlp::variable)? else {
        return Ok(());
    };
    apart(move || otlp::send(&endpoint, &metrics)).await
}

/// Runs blocking work on a thread of its own, so that a caller can stop waiting for it.
async fn apart(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let (done, end) = oneshot::channel();
    let work = move || {
        let _ = done.send(work());
    };
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(work)
        .map_err(|error| error.to_string())?;
    end.await.unwrap_or_else(|_| Err("a bug in emr-etl-guard".to_owned()))
}
