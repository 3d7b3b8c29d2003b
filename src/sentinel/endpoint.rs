//! The pages of the sentinel's HTTP endpoint: liveness, readiness, metrics. None has a secret, and
//! none changes anything.

use std::{io, net::SocketAddr, time::Instant};

use http::StatusCode;
use tokio::sync::watch;

use crate::{
    sentinel::health::SentinelHealth,
    system::http_endpoint::{HttpAnswer, HttpEndpoint},
};

/// The path that answers 200 while the sentinel's loop turns.
pub(crate) const LIVENESS: &str = "/livez";
/// The path that answers 200 while every place is listed in time.
pub(crate) const READINESS: &str = "/readyz";
/// The path of the metrics.
pub(crate) const METRICS: &str = "/metrics";

/// The endpoint could not be started.
#[derive(Debug, thiserror::Error)]
#[error("nothing is watched: cannot listen on {address}: {source}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl ListenError {
    /// What to do about it.
    pub(crate) const FIX: &str = "set `sentinel.listen` in guard.yml to an address of this machine \
        with a free port above 1023, such as 127.0.0.1:9477, or remove it: no probes, no metrics";
}

/// Starts the endpoint. `metrics` gives the text of all metrics with its media type, from memory.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn start(
    address: SocketAddr,
    health: watch::Receiver<SentinelHealth>,
    metrics: impl Fn() -> MetricsPage + Send + Sync + 'static,
) -> Result<HttpEndpoint, ListenError> {
    let page = move |path: &str| match path {
        LIVENESS => Some(probe(health.borrow().live(Instant::now()))),
        READINESS => Some(probe(health.borrow().ready(Instant::now()))),
        METRICS => {
            let MetricsPage { content_type, text } = metrics();
            Some(HttpAnswer { status: StatusCode::OK, content_type, text })
        }
        _ => None,
    };
    HttpEndpoint::start(address, page).map_err(|source| ListenError { address, source })
}

/// All metrics, as a scraper reads them.
#[derive(Clone, Debug)]
pub(crate) struct MetricsPage {
    /// The media type.
    pub(crate) content_type: &'static str,
    /// The text.
    pub(crate) text: String,
}

fn probe(result: Result<(), String>) -> HttpAnswer {
    match result {
        Ok(()) => HttpAnswer::plain(StatusCode::OK, "ok\n"),
        Err(why) => HttpAnswer::plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}
