//! Metrics by OTLP over HTTP to an OpenTelemetry collector. Blocks, and must not be called on a
//! tokio thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};

use crate::{report::metrics::Metric, system::http};

const PATH: &str = "/v1/metrics";
/// The instrumentation scope: this program.
const SCOPE: &str = env!("CARGO_PKG_NAME");
/// Longer than the remaining time of any run: it exports only once, at shutdown.
const NEVER: Duration = Duration::from_hours(24);

/// The variables that name a collector, in order of precedence, and whether they are for all
/// signals (then the path is appended).
///
/// Source: OpenTelemetry specification, OTLP exporter configuration.
const ENDPOINTS: [(&str, bool); 2] =
    [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", false), ("OTEL_EXPORTER_OTLP_ENDPOINT", true)];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The destination: from the settings, or else from OpenTelemetry's own variables, unless these
/// disable it.
pub(crate) fn endpoint(
    named: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let below = |base: &str| {
        if base.ends_with(PATH) {
            base.to_owned()
        } else {
            format!("{}{PATH}", base.trim_end_matches('/'))
        }
    };
    if let Some(named) = named {
        return Ok(Some(below(named.trim())));
    }
    let is_off = variable("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_METRICS_EXPORTER")
            .is_some_and(|value| !value.split(',').any(|exporter| exporter.trim() == "otlp"));
    if is_off {
        return Ok(None);
    }
    let Some((base, all)) = ENDPOINTS.iter().find_map(|(name, all)| Some((variable(name)?, *all)))
    else {
        return Ok(None);
    };
    match PROTOCOLS.iter().find_map(|name| variable(name)) {
        Some(other) if other != "http/protobuf" => Err(format!(
            "OTLP: `{other}` is asked for, only http/protobuf is spoken; set `otlp_endpoint`, or \
             OTEL_METRICS_EXPORTER=none"
        )),
        _ => Ok(Some(if all { below(&base) } else { base })),
    }
}

/// Sends `metrics` to `endpoint`. OpenTelemetry's variables for headers and time limits apply.
pub(crate) fn send(endpoint: &str, metrics: &[Metric]) -> Result<(), String> {
    let url: reqwest::Url =
        endpoint.parse().map_err(|error| format!("OTLP: {endpoint} is not a URL: {error}"))?;
    let millis = TIMEOUTS.iter().find_map(|name| variable(name)?.trim().parse().ok());
    let limit = millis
        .map_or(crate::report::metrics::LIMIT / 2, Duration::from_millis)
        .min(crate::report::metrics::LIMIT);
    let trouble = |error: String| format!("OTLP: {}: {error}", url.origin().ascii_serialization());

    let tls = http::tls().map_err(|error| trouble(error.to_string()))?;
    let mut client = reqwest::blocking::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limit);
    if http::is_loopback(&url) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| trouble(http::describe(error)))?;
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(endpoint)
        .with_timeout(limit);
    let exporter = exporter.build().map_err(|error| trouble(error.to_string()))?;

    let failure = Arc::default();
    let reader =
        PeriodicReader::builder(RecordingExporter { exporter, failure: Arc::clone(&failure) })
            .with_interval(NEVER)
            .build();
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    // The variable for the service name takes precedence.
    let resource = if variable("OTEL_SERVICE_NAME").is_none() {
        resource.with_service_name(SCOPE)
    } else {
        resource
    };
    let provider =
        SdkMeterProvider::builder().with_resource(resource.build()).with_reader(reader).build();
    let meter = provider.meter(SCOPE);
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        // Counters are sent as gauges, too: each export has a provider of its own, and a collector
        // would take the beginning of each for a reset of the count.
        let instrument = meter
            .f64_gauge(metric.otel)
            .with_unit(metric.unit)
            .with_description(metric.help)
            .build();
        for (labels, value) in &metric.samples {
            let attributes: Vec<KeyValue> = labels
                .iter()
                .map(|(name, value)| KeyValue::new(name.clone(), value.clone()))
                .collect();
            instrument.record(*value, &attributes);
        }
    }
    // The shutdown exports; a flush before it would send everything twice.
    let sent = provider.shutdown();
    let said = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (sent, said) {
        (Ok(()), None) => Ok(()),
        (_, Some(said)) => Err(trouble(said.replace(endpoint, "the collector"))),
        (Err(error), None) => Err(trouble(error.to_string())),
    }
}

/// An exporter that keeps its error: the reader reports only that there was one.
#[derive(Debug)]
struct RecordingExporter {
    exporter: MetricExporter,
    failure: Arc<Mutex<Option<String>>>,
}

impl PushMetricExporter for RecordingExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let exported = self.exporter.export(metrics).await;
        if let Err(error) = &exported {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        exported
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_settings_beat_the_variables_and_these_have_the_meaning_that_opentelemetry_gives_them() {
        let at = |named: Option<&str>, variables: &[(&str, &str)]| {
            let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
            endpoint(named, &|name| variables.get(name).map(ToString::to_string))
        };
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318/x");
        assert_eq!(at(None, &[]), Ok(None));
        assert_eq!(
            at(Some("http://c:4318/"), &[all]),
            Ok(Some("http://c:4318/v1/metrics".to_owned()))
        );
        assert_eq!(
            at(Some("http://c:4318/v1/metrics"), &[]),
            Ok(Some("http://c:4318/v1/metrics".to_owned()))
        );
        assert_eq!(at(None, &[all]), Ok(Some("http://collector:4318/v1/metrics".to_owned())));
        assert_eq!(at(None, &[all, own]), Ok(Some("http://collector:4318/x".to_owned())));
        assert_eq!(at(None, &[all, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(at(None, &[all, ("OTEL_METRICS_EXPORTER", "none")]), Ok(None));
        assert!(
            at(None, &[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err().contains("grpc")
        );
    }
}
