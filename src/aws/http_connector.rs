//! The HTTP/1.1 connector of the SDK's clients: hyper's client with its connection pool, TLS by
//! rustls, and the proxy from the environment.
//!
//! The SDK's own connector is made of the same parts, but hides its TLS: a caller can neither see
//! nor decide which authority is trusted for a server ([`AwsTrust`]).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connection::{CaptureSmithyConnection, ConnectionMetadata},
        http::{HttpConnector, HttpConnectorFuture},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        retries::ErrorKind,
    },
};
use aws_smithy_types::body::SdkBody;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Uri, header::PROXY_AUTHORIZATION};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::{
            self, Client,
            connect::{
                CaptureConnection, Connected, Connection, HttpConnector as TcpConnector, HttpInfo,
                capture_connection, proxy::Tunnel,
            },
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use crate::{
    aws::trust::{AwsTrust, RefusedRoot},
    base::errors::find,
    system::http as machine_http,
};

/// TCP, or TLS over it.
type DirectStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// One client, with its time limits.
#[derive(Debug)]
pub(super) struct AwsConnector {
    client: Client<Dialer, SdkBody>,
    proxies: Arc<Matcher>,
    /// The time limit for the beginning of an answer.
    read_limit: Option<Duration>,
}

impl AwsConnector {
    /// Creates a connector.
    ///
    /// # Errors
    /// When TLS cannot be set up: see [`AwsTrust::tls`].
    pub(super) fn new(
        trust: &AwsTrust,
        connect_limit: Option<Duration>,
        read_limit: Option<Duration>,
    ) -> Result<Self, rustls::Error> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let proxies = Arc::new(Matcher::from_env());
        let dialer = Dialer {
            tcp,
            tls: trust.tls()?,
            trust: trust.clone(),
            proxies: Arc::clone(&proxies),
            limit: connect_limit,
        };
        // The timer closes idle connections.
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(dialer);
        Ok(Self { client, proxies, read_limit })
    }

    /// The credentials for a proxy to which the whole request is sent (plain HTTP).
    fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let is_shown = uri.scheme_str() == Some("http");
        is_shown.then(|| self.proxies.intercept(uri)?.basic_auth().cloned()).flatten()
    }
}

impl HttpConnector for AwsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        if let Some(credentials) = self.proxy_authorization(request.uri()) {
            request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert(credentials);
        }
        let captured = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || metadata(&captured));
        }
        let answer = self.client.request(request);
        let read_limit = self.read_limit;
        HttpConnectorFuture::new(async move {
            let answer = match read_limit {
                Some(limit) => timeout(limit, answer)
                    .await
                    .map_err(|late| ConnectorError::timeout(late.into()))?,
                None => answer.await,
            };
            let answer = answer.map_err(classified)?.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(answer)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The connection's metadata for the SDK, which drops a connection after a server error.
fn metadata(captured: &CaptureConnection) -> Option<ConnectionMetadata> {
    let connected = captured.connection_metadata();
    let connected = connected.as_ref()?;
    let mut extensions = http::Extensions::new();
    connected.get_extras(&mut extensions);
    let addresses = extensions.get::<HttpInfo>();
    let captured = captured.clone();
    let mut metadata =
        ConnectionMetadata::builder().proxied(connected.is_proxied()).poison_fn(move || {
            if let Some(connected) = captured.connection_metadata().as_ref() {
                connected.poison();
            }
        });
    metadata
        .set_local_addr(addresses.map(HttpInfo::local_addr))
        .set_remote_addr(addresses.map(HttpInfo::remote_addr));
    Some(metadata.build())
}

/// The error in the class by which the SDK decides on a retry.
fn classified(error: legacy::Error) -> ConnectorError {
    if find::<tokio::time::error::Elapsed>(&error).is_some() {
        return ConnectorError::timeout(error.into());
    }
    // A refused authority stays refused, so there is no retry.
    if RefusedRoot::find(&error).is_some() {
        return ConnectorError::user(error.into());
    }
    if let Some(cause) = find::<hyper::Error>(&error) {
        return match cause {
            cause if cause.is_timeout() => ConnectorError::timeout(error.into()),
            cause if cause.is_user() => ConnectorError::user(error.into()),
            cause if cause.is_closed() || cause.is_canceled() => ConnectorError::io(error.into()),
            cause if find::<io::Error>(cause).is_some() => ConnectorError::io(error.into()),
            // S3 closes connections in this way.
            cause if cause.is_incomplete_message() => {
                ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
            }
            _ => ConnectorError::other(error.into(), None),
        };
    }
    if error.is_connect() || find::<io::Error>(&error).is_some() {
        return ConnectorError::io(error.into());
    }
    ConnectorError::other(error.into(), None)
}

/// No connection to a server could be made. Its message is that of its source.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(super) struct NoConnection {
    /// The server's name.
    pub(super) host: String,
    /// The proxy's address, if one is used.
    pub(super) proxy: Option<String>,
    source: BoxError,
}

/// Makes connections: directly to the server, or through the proxy that the environment names for
/// it.
#[derive(Clone, Debug)]
struct Dialer {
    tcp: TcpConnector,
    tls: Arc<ClientConfig>,
    trust: AwsTrust,
    proxies: Arc<Matcher>,
    limit: Option<Duration>,
}

impl Dialer {
    async fn dial(self, server: Uri) -> Result<ServerStream, BoxError> {
        let Some(route) = self.proxies.intercept(&server) else {
            let stream = HttpsConnector::from((self.tcp, self.tls)).call(server).await?;
            return Ok(ServerStream { stream: stream.into(), is_forwarded: false });
        };
        self.trust.note_proxy(server.host().unwrap_or_default(), &route);
        let proxy = route.uri().clone();
        if !matches!(proxy.scheme_str(), Some("http" | "https")) {
            let scheme = proxy.scheme_str().unwrap_or_default();
            return Err(format!("a proxy of the kind {scheme}:// cannot be used").into());
        }
        // A proxy is not a server of AWS, so every authority that this machine trusts may sign its
        // certificate.
        let mut to_proxy = HttpsConnector::from((self.tcp, machine_http::tls()?));
        if server.scheme_str() == Some("http") {
            let stream = to_proxy.call(proxy).await?;
            return Ok(ServerStream { stream: stream.into(), is_forwarded: true });
        }
        let tunnel = Tunnel::new(proxy, to_proxy);
        let tunnel = match route.basic_auth() {
            Some(credentials) => tunnel.with_auth(credentials.clone()),
            None => tunnel,
        };
        let stream = HttpsConnector::from((tunnel, self.tls)).call(server).await?;
        Ok(ServerStream { stream, is_forwarded: false })
    }
}

impl Service<Uri> for Dialer {
    type Response = ServerStream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<ServerStream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let limit = self.limit;
        let route = self.proxies.intercept(&server);
        let proxy = route.and_then(|route| machine_http::proxy_address(route.uri()));
        let host = server.host().unwrap_or_default().to_owned();
        let dialing = self.clone().dial(server);
        async move {
            let dialed = match limit {
                Some(limit) => {
                    timeout(limit, dialing).await.unwrap_or_else(|late| Err(late.into()))
                }
                None => dialing.await,
            };
            dialed.map_err(|source| NoConnection { host, proxy, source }.into())
        }
        .boxed()
    }
}

/// A connection to a server of AWS, or to the proxy that forwards to it.
#[derive(Debug)]
struct ServerStream {
    /// The outer layer is TLS to the server, the inner one TLS to a proxy.
    stream: MaybeHttpsStream<DirectStream>,
    /// Whether it ends at a forwarding proxy, which needs the absolute URL.
    is_forwarded: bool,
}

impl Connection for ServerStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_forwarded)
    }
}

impl Read for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
