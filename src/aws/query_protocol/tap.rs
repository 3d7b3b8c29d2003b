//! An HTTP client for tests: it records requests, and answers from a list.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_sts::{
    config::{Credentials, SharedCredentialsProvider},
    error::ProvideErrorMetadata as _,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_types::SdkConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::aws::query_protocol::Called;

/// What a client over `tap` is made of.
pub(in crate::aws) fn config(tap: &Tap) -> SdkConfig {
    let credentials =
        Credentials::new("AKIAGUARD", "secret", Some("a token".to_owned()), None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(tap.clone())
        .retry_config(RetryConfig::standard().with_max_backoff(Duration::from_millis(1)))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_timeout(Duration::from_secs(30))
                .operation_attempt_timeout(Duration::from_secs(10))
                .build(),
        )
        .build()
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::aws) struct Exchange {
    pub(in crate::aws) method: String,
    pub(in crate::aws) path: String,
    pub(in crate::aws) headers: Vec<String>,
    pub(in crate::aws) body: String,
    pub(in crate::aws) status: u16,
    pub(in crate::aws) answer: String,
}

/// What the SDK's client for a service sent and read in one call.
#[derive(Deserialize)]
pub(in crate::aws) struct RecordedCall {
    pub(in crate::aws) name: String,
    pub(in crate::aws) operation: String,
    pub(in crate::aws) about: Value,
    pub(in crate::aws) exchanges: Vec<Exchange>,
    /// See [`read_as_recorded`].
    pub(in crate::aws) read: Value,
}

/// The result of a call, in the form of the recorded ones: what was found, the error, or
/// `unreadable`.
pub(in crate::aws) fn read_as_recorded<T>(
    result: Called<T>,
    found: impl FnOnce(T) -> Value,
) -> Value {
    match result {
        Ok(answer) => json!({"found": found(answer)}),
        Err(error) => match error.as_service_error() {
            Some(error) => json!({"error": {"code": error.code(), "message": error.message()}}),
            None => json!("unreadable"),
        },
    }
}

/// The client.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Tap {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Tap {
    /// A client that gives these answers (status and body), each once.
    pub(in crate::aws) fn answering(answers: &[(u16, &str)]) -> Self {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        Self { answers: Arc::new(Mutex::new(answers)), exchanges: Arc::default() }
    }

    /// A client that gives the answers of these exchanges again.
    pub(in crate::aws) fn replaying(exchanges: &[Exchange]) -> Self {
        let answers: Vec<(u16, &str)> =
            exchanges.iter().map(|it| (it.status, it.answer.as_str())).collect();
        Self::answering(&answers)
    }

    /// The requests and answers so far.
    pub(in crate::aws) fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap().clone()
    }
}

impl HttpClient for Tap {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector(self.clone()))
    }
}

#[derive(Debug)]
struct Connector(Tap);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut exchange = sent(&request);
        let answer = self.0.answers.lock().unwrap().pop_front();
        let exchanges = Arc::clone(&self.0.exchanges);
        HttpConnectorFuture::new(async move {
            let (status, body) = answer.ok_or_else(|| ConnectorError::io("used up".into()))?;
            exchange.status = status;
            exchange.answer.clone_from(&body);
            exchanges.lock().unwrap().push(exchange);
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

/// The parts of a request that are the same each time.
fn sent(request: &HttpRequest) -> Exchange {
    let path =
        request.uri().split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let mut headers: Vec<String> = request
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(*name, "user-agent" | "x-amz-user-agent" | "host"))
        .map(|(name, value)| format!("{name}: {}", steady(name, value)))
        .collect();
    headers.sort();
    Exchange {
        method: request.method().to_owned(),
        path: path.unwrap_or_default().to_owned(),
        headers,
        body: String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap(),
        status: 0,
        answer: String::new(),
    }
}

/// A header's value without the parts that change each time.
fn steady(name: &str, value: &str) -> String {
    let parts = |from: &str| {
        value
            .split(from)
            .map(|part| match part.split_once('=') {
                Some(("Signature" | "ttl", _)) => part.split('=').next().unwrap().to_owned(),
                Some(("AWS4-HMAC-SHA256 Credential", scope)) => {
                    let scope: Vec<&str> = scope.split('/').collect();
                    format!(
                        "AWS4-HMAC-SHA256 Credential={}/DATE/{}",
                        scope[0],
                        scope[2..].join("/")
                    )
                }
                _ => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join(from)
    };
    match name {
        "x-amz-date" | "amz-sdk-invocation-id" => String::new(),
        "authorization" => parts(", "),
        "amz-sdk-request" => parts("; "),
        _ => value.to_owned(),
    }
}
