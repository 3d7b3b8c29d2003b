//! The HTTP client of all clients for AWS. Clients with the same time limits share one connection
//! pool. All share one set of trusted authorities, which is loaded for the first request.
//!
//! By default, each of the SDK's clients has its own pool, and loads all authorities when it is
//! created and again when it is used. For ten clients that takes longer than everything else before
//! a launch.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connector_metadata::ConnectorMetadata,
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        result::ConnectorError,
        runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use http_body_util::Limited;

use crate::aws::{http_connector::AwsConnector, trust::AwsTrust};

/// The maximum size of a body, in bytes. A longer one is not read to its end, because the SDK keeps
/// all of it in memory. A page of a list, the largest that the guard requests, has about one
/// megabyte.
const LONGEST_BODY: usize = 32 << 20;
/// The SDK puts this into the URL of GetObject, the one call whose body is streamed. The callers of
/// GetObject limit what they read.
const IN_PIECES: &str = "x-id=GetObject";

/// Whether a request to `uri` is for an object's content.
pub(super) fn is_in_pieces(uri: &str) -> bool {
    let query = uri.split_once('?').map(|(_, query)| query);
    query.is_some_and(|query| query.split('&').any(|parameter| parameter == IN_PIECES))
}

/// A client that several of the SDK's clients share.
pub(super) fn shared_client(trust: &AwsTrust) -> SharedHttpClient {
    SharedHttpClient::new(AwsHttpClient { trust: trust.clone(), connectors: Mutex::default() })
}

/// The time limits for connecting, and until an answer begins.
type TimeLimits = (Option<Duration>, Option<Duration>);

/// Creates a connector for each pair of time limits, when the first request needs it.
struct AwsHttpClient {
    trust: AwsTrust,
    connectors: Mutex<HashMap<TimeLimits, SharedHttpConnector>>,
}

impl fmt::Debug for AwsHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsHttpClient")
    }
}

impl HttpClient for AwsHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limits = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(limits).or_insert_with(|| {
            match AwsConnector::new(&self.trust, limits.0, limits.1) {
                Ok(connector) => {
                    SharedHttpConnector::new(Bounded(SharedHttpConnector::new(connector)))
                }
                Err(error) => SharedHttpConnector::new(NoTls(error)),
            }
        });
        connector.clone()
    }

    /// Nothing to validate. The SDK's own client creates a connector here and drops it again.
    fn validate_base_client_config(
        &self,
        _: &RuntimeComponentsBuilder,
        _: &ConfigBag,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

/// Fails every request with the reason why there is no TLS.
#[derive(Debug)]
struct NoTls(rustls::Error);

impl HttpConnector for NoTls {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}

/// Limits the size of bodies.
#[derive(Debug)]
struct Bounded(SharedHttpConnector);

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_in_pieces = is_in_pieces(request.uri());
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(if is_in_pieces {
                answer
            } else {
                answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, LONGEST_BODY)))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_types::byte_stream::ByteStream;

    use super::*;

    /// Answers every request with one byte more than the limit.
    #[derive(Debug)]
    struct Endless;

    impl HttpConnector for Endless {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let body = SdkBody::from(vec![b'x'; LONGEST_BODY + 1]);
            let status =
                200.try_into().map_err(|error| ConnectorError::other(Box::new(error), None));
            HttpConnectorFuture::ready(status.map(|status| HttpResponse::new(status, body)))
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_kept_unless_it_comes_in_pieces() {
        let bounded = Bounded(SharedHttpConnector::new(Endless));
        let length = async |uri: &str| {
            let mut request = HttpRequest::new(SdkBody::empty());
            request.set_uri(uri).unwrap();
            let answer = bounded.call(request).await.unwrap();
            let body = ByteStream::new(answer.into_body()).collect().await;
            body.map(|body| body.into_bytes().len()).map_err(|error| format!("{error:?}"))
        };
        for uri in [
            "https://s3.example/acme?list-type=2",
            "https://s3.example/x-id=GetObject",
            "https://s3.example/acme?prefix=x-id%3DGetObject",
        ] {
            let refused = length(uri).await.unwrap_err();
            assert!(refused.contains("LengthLimitError"), "{uri}: {refused}");
        }
        let whole = length("https://s3.example/acme/key?versionId=x&x-id=GetObject").await;
        assert_eq!(whole, Ok(LONGEST_BODY + 1));
    }
}
