//! The HTTP client of all clients for AWS: one pool of connections and one set of authorities to
//! trust, made when the first request needs them.
//!
//! Left to itself, each of the SDK's clients has a pool of its own, and reads all the authorities
//! when it is made and once more when it is used: for ten of them that takes longer than everything
//! else before a launch.

use std::fmt;

use aws_smithy_http_client::{
    Builder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{self, TlsContext, TrustStore},
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
        runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::Limited;
use rustls::{RootCertStore, pki_types::CertificateDer};

use crate::system::http::authorities;

/// An answer with a longer body, in bytes, is not read to its end: the SDK keeps the whole of it. A
/// page of a list, the longest that the guard asks for, has about one megabyte.
const LONGEST_BODY: usize = 32 << 20;
/// What the SDK writes into the address of the one call whose answer it hands on in pieces; whoever
/// asks for an object bounds what is read of it.
const IN_PIECES: &str = "x-id=GetObject";

/// A client as the SDK makes it by default, for as many of its clients as wish: TLS by rustls,
/// proxies by the environment.
pub(super) fn shared_client() -> SharedHttpClient {
    let client = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        if let Ok(context) = TlsContext::builder().with_trust_store(trust_store()).build() {
            connector.set_tls_context(context);
        }
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    });
    SharedHttpClient::new(Unvalidated(client))
}

/// The guard's own authorities. Left to itself the SDK would read them a second time.
fn trust_store() -> TrustStore {
    TrustStore::empty().with_pem_certificate(pem(authorities()))
}

/// As PEM, which is what the SDK takes. It panics where one cannot be parsed, which is no reason to
/// do without the others.
fn pem(authorities: &[CertificateDer<'_>]) -> String {
    let mut pem = String::new();
    for authority in authorities {
        if RootCertStore::empty().add(authority.clone()).is_ok() {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            BASE64_STANDARD.encode_string(authority, &mut pem);
            pem.push_str("\n-----END CERTIFICATE-----\n");
        }
    }
    pem
}

/// Reads no answer without an end.
#[derive(Debug)]
struct Bounded(SharedHttpConnector);

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_in_pieces = request
            .uri()
            .split_once('?')
            .is_some_and(|(_, query)| query.split('&').any(|parameter| parameter == IN_PIECES));
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

/// Makes no connector but for a request.
struct Unvalidated(SharedHttpClient);

impl fmt::Debug for Unvalidated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unvalidated")
    }
}

impl HttpClient for Unvalidated {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }

    /// Nothing to look at: the default one makes a connector here and throws it away.
    fn validate_base_client_config(
        &self,
        _: &RuntimeComponentsBuilder,
        _: &ConfigBag,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::ConnectorError};
    use aws_smithy_types::byte_stream::ByteStream;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// Answers everything with one byte more than may be kept.
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

    #[test]
    fn the_sdk_is_given_every_authority_that_can_be_parsed() {
        let authority = |name: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().clone()
        };
        let (first, last) = (authority("first"), authority("last"));
        let unreadable = CertificateDer::from(b"no certificate".to_vec());
        let given = pem(&[first.clone(), unreadable, last.clone()]);
        let given: Vec<_> =
            CertificateDer::pem_slice_iter(given.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(given, [first, last]);
    }
}
