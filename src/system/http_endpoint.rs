//! A small HTTP/1.1 server for probes and metrics: it answers GET and HEAD with texts that are
//! computed from memory, and it cannot be kept busy by clients that send nothing.
//!
//! It runs on a thread of its own, so that it still answers when the rest of the process hangs, and
//! no number of requests takes time from the rest.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread,
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};

/// The limits of an endpoint.
#[derive(Clone, Copy, Debug)]
struct EndpointLimits {
    /// Connections at the same time. One more closes the oldest: a client with a request is
    /// answered at once, so the oldest are those that send nothing or read nothing.
    connections: usize,
    /// Headers of a request.
    headers: usize,
    /// The request line and the headers, in bytes.
    header_bytes: usize,
    /// The time for the request to arrive.
    request: Duration,
    /// The time for a connection as a whole. Each serves one request.
    connection: Duration,
}

const LIMITS: EndpointLimits = EndpointLimits {
    connections: 128,
    headers: 64,
    header_bytes: 8 * 1024,
    request: Duration::from_secs(5),
    connection: Duration::from_secs(10),
};

/// The pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct HttpAnswer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Its text.
    pub(crate) text: String,
}

impl HttpAnswer {
    /// An answer in plain text.
    pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: PLAIN_TEXT, text: text.into() }
    }
}

/// A running endpoint; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct HttpEndpoint {
    address: SocketAddr,
    /// Its thread ends when this is dropped.
    _running: oneshot::Sender<Infallible>,
}

impl HttpEndpoint {
    /// Listens on `address` and answers requests by `answer`, which gets the path without the query
    /// and returns none for a path that does not exist. `answer` must not block.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the system allows no further thread.
    pub(crate) fn start(
        address: SocketAddr,
        answer: impl Fn(&str) -> Option<HttpAnswer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(LIMITS, address, answer)
    }

    fn start_with(
        limits: EndpointLimits,
        address: SocketAddr,
        answer: impl Fn(&str) -> Option<HttpAnswer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (running, stopped) = oneshot::channel();
        thread::Builder::new().name("http-endpoint".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = accept_all(limits, listener, Arc::new(answer)) => match never {},
                }
            });
        })?;
        Ok(Self { address, _running: running })
    }

    /// The address it listens on, with the port that the system chose where port 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept_all<A>(limits: EndpointLimits, listener: TcpListener, answer: Arc<A>) -> Infallible
where
    A: Fn(&str) -> Option<HttpAnswer> + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= limits.connections
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(serve(limits, stream, Arc::clone(&answer))));
        // The connections have their turn, however many more wait to be accepted.
        tokio::task::yield_now().await;
    }
}

/// Answers the one request of a connection.
async fn serve<A>(limits: EndpointLimits, stream: TcpStream, answer: Arc<A>)
where
    A: Fn(&str) -> Option<HttpAnswer>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(2 * limits.header_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(|request| respond(&request, &*answer)));
    // A client that breaks off, sends no HTTP or takes too long has no consequence here.
    let _ = tokio::time::timeout(limits.connection, connection).await;
}

fn respond(
    request: &Request<Incoming>,
    answer: &impl Fn(&str) -> Option<HttpAnswer>,
) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let given = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        HttpAnswer::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD work\n")
    } else if !request.body().is_end_stream() {
        HttpAnswer::plain(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n")
    } else {
        answer(request.uri().path())
            .unwrap_or_else(|| HttpAnswer::plain(StatusCode::NOT_FOUND, "there is no such page\n"))
    };
    let mut response = Response::new(Full::new(Bytes::from(given.text)));
    *response.status_mut() = given.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(given.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if given.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    ready(Ok(response))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpStream as StdStream},
        time::Instant,
    };

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    /// A time limit of the tests alone: whatever takes longer hangs.
    const HANGS: Duration = Duration::from_secs(60);

    /// An endpoint whose only page is `/page`.
    fn endpoint(limits: EndpointLimits) -> HttpEndpoint {
        let page =
            |path: &str| (path == "/page").then(|| HttpAnswer::plain(StatusCode::OK, "the page\n"));
        HttpEndpoint::start_with(limits, ANY_PORT, page).unwrap()
    }

    fn connect(endpoint: &HttpEndpoint) -> StdStream {
        let stream = StdStream::connect(endpoint.address()).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        stream
    }

    /// Everything that the endpoint sends until it closes the connection. A connection that is
    /// reset after the answer, because the client has sent more than was read, gives what came
    /// before.
    fn all(mut stream: StdStream) -> String {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the connection was not closed: {error}"),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// The answer to these bytes, without the date.
    fn exchange(endpoint: &HttpEndpoint, request: &[u8]) -> String {
        let mut stream = connect(endpoint);
        // The endpoint may close the connection before it has read all of it.
        let _ = stream.write_all(request);
        let answer = all(stream);
        let lines = answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
        lines.collect()
    }

    const PAGE: &str = "HTTP/1.1 200 OK\r\n\
        content-type: text/plain; charset=utf-8\r\n\
        cache-control: no-store\r\n\
        connection: close\r\n\
        content-length: 9\r\n\
        \r\n\
        the page\n";

    #[test]
    fn get_gives_a_page_and_head_its_headers_alone() {
        let endpoint = endpoint(LIMITS);
        let get = exchange(&endpoint, b"GET /page?x=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(get, PAGE);
        let head = exchange(&endpoint, b"HEAD /page HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(head, PAGE.strip_suffix("the page\n").unwrap());
    }

    #[test]
    fn another_path_is_404_another_method_405_and_a_body_413() {
        let endpoint = endpoint(LIMITS);
        let status = |request: &str| {
            let answer = exchange(&endpoint, request.as_bytes());
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let allow = head.lines().find(|line| line.starts_with("allow: "));
            format!("{} | {} | {body}", head.lines().next().unwrap(), allow.unwrap_or_default())
        };
        assert_eq!(
            [
                status("GET /other HTTP/1.1\r\n\r\n"),
                status("GET //page HTTP/1.1\r\n\r\n"),
                status("DELETE /page HTTP/1.1\r\n\r\n"),
                status("POST /page HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"),
                status("GET /page HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"),
                status(
                    "GET /page HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
                ),
            ],
            [
                "HTTP/1.1 404 Not Found |  | there is no such page\n",
                "HTTP/1.1 404 Not Found |  | there is no such page\n",
                "HTTP/1.1 405 Method Not Allowed | allow: GET, HEAD | only GET and HEAD work\n",
                "HTTP/1.1 405 Method Not Allowed | allow: GET, HEAD | only GET and HEAD work\n",
                "HTTP/1.1 413 Payload Too Large |  | a request has no body here\n",
                "HTTP/1.1 413 Payload Too Large |  | a request has no body here\n",
            ]
        );
    }

    #[test]
    fn what_is_no_http_is_refused_and_the_next_client_served() {
        let endpoint = endpoint(LIMITS);
        let garbage: [&[u8]; 4] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\0\0\0\0\r\n\r\n",
            b"GET /page\r\n\r\n",
            b"GET /page HTTP/1.1\r\nno colon\r\n\r\n",
        ];
        for request in garbage {
            let answer = exchange(&endpoint, request);
            let status = answer.lines().next().unwrap_or_default();
            assert_eq!(status, "HTTP/1.1 400 Bad Request", "{request:?}");
        }
        // Whoever speaks HTTP/2 could not read an answer in HTTP/1.1.
        assert_eq!(exchange(&endpoint, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
        assert_eq!(exchange(&endpoint, b"GET /page HTTP/1.1\r\n\r\n"), PAGE);
    }

    #[test]
    fn headers_that_are_too_long_or_too_many_are_431() {
        let endpoint = endpoint(LIMITS);
        let long = format!("GET /page HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(9000));
        let many = format!("GET /page HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(65));
        for request in [long, many] {
            let answer = exchange(&endpoint, request.as_bytes());
            let status = answer.lines().next().unwrap_or_default();
            assert_eq!(status, "HTTP/1.1 431 Request Header Fields Too Large");
        }
        let allowed = format!("GET /page HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(64));
        assert_eq!(exchange(&endpoint, allowed.as_bytes()), PAGE);
    }

    #[test]
    fn a_connection_serves_one_request_however_many_are_sent() {
        let endpoint = endpoint(LIMITS);
        let request = "GET /page HTTP/1.1\r\nconnection: keep-alive\r\n\r\n";
        assert_eq!(exchange(&endpoint, request.repeat(3).as_bytes()), PAGE);
    }

    #[test]
    fn a_client_that_sends_no_full_request_in_time_is_disconnected() {
        let limits = EndpointLimits { request: Duration::from_millis(50), ..LIMITS };
        let endpoint = endpoint(limits);
        assert_eq!(all(connect(&endpoint)), "");
        let mut slow = connect(&endpoint);
        slow.write_all(b"GET /page HTTP/1.1\r\n").unwrap();
        assert_eq!(all(slow), "");
    }

    #[test]
    fn a_client_that_does_not_read_is_disconnected() {
        // More than the buffers of two sockets hold, so that the answer never is sent as a whole.
        let huge = |_: &str| Some(HttpAnswer::plain(StatusCode::OK, "x".repeat(64 << 20)));
        let limits = EndpointLimits { connection: Duration::from_millis(200), ..LIMITS };
        let endpoint = HttpEndpoint::start_with(limits, ANY_PORT, huge).unwrap();
        let mut stream = connect(&endpoint);
        stream.write_all(b"GET /page HTTP/1.1\r\n\r\n").unwrap();
        // A write fails once the other side is gone; until then it reads nothing.
        let start = Instant::now();
        while stream.write_all(b"x").is_ok() {
            assert!(start.elapsed() < HANGS, "it is still connected");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_thousand_clients_that_send_nothing_keep_nobody_out() {
        // A stuck client has more time than the whole test takes: only its age disconnects it.
        let limits = EndpointLimits { request: 10 * HANGS, connection: 10 * HANGS, ..LIMITS };
        let endpoint = endpoint(limits);
        let mut stuck = VecDeque::new();
        for number in 0..1000 {
            stuck.push_back(connect(&endpoint));
            // Fewer than the process may have open; each that ends here was closed there first.
            if stuck.len() > limits.connections {
                assert_eq!(all(stuck.pop_front().unwrap()), "", "client {number}");
            }
        }
        assert_eq!(exchange(&endpoint, b"GET /page HTTP/1.1\r\n\r\n"), PAGE);
    }

    #[test]
    fn a_thousand_clients_at_once_are_all_answered() {
        let endpoint = endpoint(LIMITS);
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(exchange(&endpoint, b"GET /page HTTP/1.1\r\n\r\n"), PAGE);
                    }
                });
            }
        });
    }

    #[test]
    fn an_address_in_use_is_an_error_and_is_free_again_when_the_endpoint_is_dropped() {
        let first = endpoint(LIMITS);
        let address = first.address();
        let start = |address| HttpEndpoint::start(address, |_: &str| None);
        assert_eq!(start(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let since = Instant::now();
        while start(address).is_err() {
            assert!(since.elapsed() < HANGS, "it still listens");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
