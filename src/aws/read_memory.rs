//! Sends each read of one look at the account once: a read that equals an earlier one gets the same
//! answer, and one that equals a read under way waits for it. So everything that is judged in one
//! look is judged by the same answers.
//!
//! It works on requests as they are sent, because the parts of a look ask through different types.
//! Clients with a memory must only read.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connector_metadata::ConnectorMetadata,
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    },
    http::{Headers, StatusCode},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream, config_bag::ConfigBag};

use crate::aws::shared_client::is_in_pieces;

/// The number of the attempt, in the header of every request of the SDK.
const ATTEMPT: &str = "amz-sdk-request";
/// Headers that differ in equal requests, or are secret. The credential is added to the key.
const VARYING: [&str; 8] = [
    ATTEMPT,
    "amz-sdk-invocation-id",
    "authorization",
    "user-agent",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-user-agent",
    "x-amzn-trace-id",
];

/// The answers of one look. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct ReadMemory(Arc<Mutex<HashMap<Vec<u8>, KeptRead>>>);

/// The answer to one read. It is locked while the read is under way.
type KeptRead = Arc<tokio::sync::Mutex<Option<KeptAnswer>>>;

impl fmt::Debug for ReadMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadMemory")
    }
}

impl ReadMemory {
    /// The same client, with this memory.
    pub(super) fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(RememberingClient { client, memory: self.clone() })
    }

    fn of(&self, key: Vec<u8>) -> KeptRead {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reads.entry(key).or_default())
    }
}

/// A whole answer.
#[derive(Clone)]
struct KeptAnswer {
    status: StatusCode,
    headers: Headers,
    body: Vec<u8>,
}

impl KeptAnswer {
    async fn read(answer: HttpResponse) -> Result<Self, ConnectorError> {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = ByteStream::new(answer.into_body()).collect().await;
        let body = body.map_err(|error| ConnectorError::io(error.into()))?.to_vec();
        Ok(Self { status, headers, body })
    }

    /// Whether the same request would be answered so again. Throttled and failed ones are sent
    /// again.
    fn is_final(&self) -> bool {
        !self.status.is_server_error() && self.status.as_u16() != 429
    }

    fn answer(self) -> HttpResponse {
        let mut answer = HttpResponse::new(self.status, SdkBody::from(self.body));
        *answer.headers_mut() = self.headers;
        answer
    }

    /// The same for a later request. Its date would be taken for the present time.
    fn again(mut self) -> HttpResponse {
        self.headers.remove("date");
        self.answer()
    }
}

/// What makes requests equal; none if a request is not remembered: its body is a stream, or that of
/// its answer.
fn key(request: &HttpRequest) -> Option<Vec<u8>> {
    let body = request.body().bytes()?;
    if is_in_pieces(request.uri()) {
        return None;
    }
    let headers = request.headers();
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !VARYING.contains(name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    // Who asks, on which day, in which region; the signature is behind it.
    let credential = headers.get("authorization").and_then(|value| value.split(',').next());
    lines.push(credential.unwrap_or_default().to_owned());
    let head = format!("{} {}\n{}\n\n", request.method(), request.uri(), lines.join("\n"));
    Some([head.as_bytes(), body].concat())
}

/// Whether the SDK sends the request for the first time. A retry is because of the answer that is
/// remembered, or because there was none.
fn is_first_attempt(request: &HttpRequest) -> bool {
    let attempt = request.headers().get(ATTEMPT);
    attempt.is_none_or(|attempt| attempt.split(';').next() == Some("attempt=1"))
}

#[derive(Debug)]
struct RememberingClient {
    client: SharedHttpClient,
    memory: ReadMemory,
}

impl HttpClient for RememberingClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(RememberingConnector {
            connector: self.client.http_connector(settings, components),
            memory: self.memory.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.client, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}

#[derive(Debug)]
struct RememberingConnector {
    connector: SharedHttpConnector,
    memory: ReadMemory,
}

impl HttpConnector for RememberingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(key) = key(&request) else { return self.connector.call(request) };
        let (connector, kept) = (self.connector.clone(), self.memory.of(key));
        HttpConnectorFuture::new(async move {
            let mut kept = kept.lock().await;
            if let Some(answer) = kept.clone().filter(|_| is_first_attempt(&request)) {
                return Ok(answer.again());
            }
            let answer = KeptAnswer::read(connector.call(request).await?).await?;
            *kept = Some(answer.clone()).filter(KeptAnswer::is_final);
            Ok(answer.answer())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers with the number of the request.
    #[derive(Clone, Debug, Default)]
    struct Counting {
        sent: Arc<AtomicUsize>,
        status: Arc<Mutex<u16>>,
    }

    impl HttpConnector for Counting {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
            let status = StatusCode::try_from(*self.status.lock().unwrap()).unwrap();
            HttpConnectorFuture::new(async move {
                tokio::task::yield_now().await;
                let mut answer = HttpResponse::new(status, SdkBody::from(number.to_string()));
                answer.headers_mut().insert("date", "Mon, 30 Nov 2026 12:00:00 GMT");
                Ok(answer)
            })
        }
    }

    fn request(uri: &str, body: &str, headers: &[(&'static str, &'static str)]) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_uri(uri).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, *value);
        }
        request
    }

    fn remembering(status: u16) -> (RememberingConnector, Counting) {
        let counting = Counting { status: Arc::new(Mutex::new(status)), ..Counting::default() };
        let connector = SharedHttpConnector::new(counting.clone());
        (RememberingConnector { connector, memory: ReadMemory::default() }, counting)
    }

    async fn sent(connector: &RememberingConnector, request: HttpRequest) -> String {
        let answer = connector.call(request).await.unwrap();
        let body = ByteStream::new(answer.into_body()).collect().await.unwrap();
        String::from_utf8(body.into_bytes().to_vec()).unwrap()
    }

    const POLICY: &str = "https://s3.example/acme?policy";
    const BY_A: (&str, &str) = ("authorization", "Credential=A/1/eu-west-1, Signature=1");

    #[tokio::test]
    async fn equal_reads_are_sent_once_also_at_the_same_time() {
        let (connector, counting) = remembering(200);
        let read = |date| request(POLICY, "", &[BY_A, ("x-amz-date", date)]);
        let both =
            tokio::join!(sent(&connector, read("12:00:00")), sent(&connector, read("12:00:01")));
        assert_eq!((both.0.as_str(), both.1.as_str()), ("1", "1"));
        assert_eq!(sent(&connector, read("12:00:02")).await, "1");
        let again = connector.call(read("12:00:03")).await.unwrap();
        assert!(again.headers().get("date").is_none(), "it is not the present time");
        assert_eq!(counting.sent.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_differs_in_anything_that_matters_is_sent() {
        let (connector, _) = remembering(200);
        let owner = ("x-amz-expected-bucket-owner", "123456789012");
        let by_b = ("authorization", "Credential=B/1/eu-west-1, Signature=1");
        let object = "https://s3.example/acme/key?x-id=GetObject";
        for (number, request) in [
            request(POLICY, "", &[BY_A]),
            request("https://s3.example/other?policy", "", &[BY_A]),
            request(POLICY, "Action=GetRole", &[BY_A]),
            request(POLICY, "", &[BY_A, owner]),
            request(POLICY, "", &[by_b]),
            request(object, "", &[BY_A]),
            request(object, "", &[BY_A]),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(sent(&connector, request).await, (number + 1).to_string());
        }
    }

    #[tokio::test]
    async fn a_retry_and_what_follows_a_failure_are_sent_and_a_refusal_is_remembered() {
        let attempt = |number| request(POLICY, "", &[BY_A, (ATTEMPT, number)]);
        let (connector, _) = remembering(403);
        assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "1");
        assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "1");
        assert_eq!(sent(&connector, attempt("attempt=2; max=3")).await, "2");
        assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "2");
        for status in [429, 500, 503] {
            let (connector, counting) = remembering(status);
            assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "1");
            *counting.status.lock().unwrap() = 200;
            assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "2");
            assert_eq!(sent(&connector, attempt("attempt=1; max=3")).await, "2");
        }
    }
}
