//! Sends the metrics: to a file, and to an OpenTelemetry collector.

use tokio::sync::oneshot;

use crate::{
    report::metrics::{Gauge, Measured, gauges, otlp, prometheus},
    settings::metrics_targets::Targets,
};

/// The metrics of one run, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    targets: Targets,
    command: &'static str,
    gauges: Vec<Gauge>,
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
        let Some(endpoint) = otlp::endpoint(self.targets.otlp.as_deref(), &otlp::variable)? else {
            return Ok(());
        };
        let gauges = self.gauges.clone();
        apart(move || otlp::send(&endpoint, &gauges)).await
    }
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
