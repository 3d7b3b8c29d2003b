//! Connections to one host, each for one HEAD request at a time: the small part of HTTP/1.1 that
//! requests and answers without bodies need.
//!
//! A caller has a connection to itself. Unused connections wait in a pool; the one used last is
//! taken first. Proxies and everything else that is not a plain connection are left to the SDK: see
//! `fast_s3`.
//!
//! `hyper::client::conn::http1` would also work, but costs more. Measured on 29 November 2026, an
//! optimised build: a client that sends 60,000 HEADs over 128 connections to the responder of the
//! audit benchmark takes 8.0 microseconds of processor time for each over these connections, and
//! 12.2 over hyper's, driven in the same way without tasks of their own (median of 7 runs in turn;
//! the benchmark's bare client, which is hyper with a task for each connection, takes 10.8). An
//! audit takes 12 to 14 for each in all; with hyper it would reach 0.59 to 0.67 of the bare client,
//! where it reaches 0.77 to 0.90.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::poll_fn;
use hyper_util::client::proxy::matcher::Matcher;
use nix::sys::socket::{MsgFlags, recv};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    aws::trust::{AwsTrust, RefusedRoot},
    base::errors::innermost,
};

/// After this time without use a connection may be dead, because networks drop idle connections
/// without notice. S3 closes them after about as long.
const STALE: Duration = Duration::from_secs(20);
/// The minimum time for which each of several addresses is tried.
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// The maximum size of an answer to a HEAD, in bytes. A usual one takes a few hundred.
pub(super) const BUFFER: usize = 2 << 10;
const LONGEST: usize = 64 << 10;
const HEADERS: usize = 64;
/// The maximum number of interim answers, such as 100 Continue, before the final one.
const INTERIM: usize = 8;
/// The beginning of an answer that only reports that the connection was idle for too long. Source:
/// RFC 9110, section 15.5.9.
const GOODBYE: &[u8] = b"HTTP/1.1 408";

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// The connection could not be made.
    Unconnected(String),
    /// The connection broke before the answer.
    Broken(String),
    /// The received bytes are not an answer.
    Garbled,
    /// No answer came in time.
    Late,
    /// More than one answer came; which part is the right one is unknown.
    Surplus,
}

/// The connections to one host.
pub(crate) struct Connections {
    host: String,
    port: u16,
    /// The name that its certificate must have, and the trusted authorities; none for plain text.
    tls: Option<(ServerName<'static>, AwsTrust)>,
    /// The time limit for connecting.
    limit: Option<Duration>,
    idle: Mutex<Vec<Connection>>,
}

impl Connections {
    /// Connections to the host of a URL; none if they would not be plain ones.
    pub(crate) fn to(url: &str, limit: Option<Duration>, trust: &AwsTrust) -> Option<Self> {
        let uri: ::http::Uri = url.parse().ok()?;
        // The same rules and variables as in the SDK's own client.
        if Matcher::from_env().intercept(&uri).is_some() {
            return None;
        }
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, default_port) = match uri.scheme_str()? {
            "http" => (None, 80),
            "https" => (Some((ServerName::try_from(host.clone()).ok()?, trust.clone())), 443),
            _ => return None,
        };
        Some(Self {
            port: uri.port_u16().unwrap_or(default_port),
            host,
            tls,
            limit,
            idle: Mutex::default(),
        })
    }

    /// A connection from the pool that is still alive, if there is one.
    pub(crate) fn waiting(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            // Its answers have been verified. Bytes that came since then were not requested.
            if connection.used.elapsed() < STALE && connection.unread() == Unread::Nothing {
                return Some(connection);
            }
        }
    }

    /// Puts a connection back into the pool.
    pub(crate) fn keep(&self, mut connection: Connection) {
        if connection.is_free {
            connection.used = Instant::now();
            connection.answers = 0;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    /// Opens a new connection.
    pub(crate) async fn open(&self) -> Result<Connection, RequestError> {
        let opening = self.dial();
        let stream = match self.limit {
            Some(limit) => timeout(limit, opening).await.map_err(|_| RequestError::Late)?,
            None => opening.await,
        };
        let stream = stream.map_err(|error| {
            let refused = RefusedRoot::find(&error).map(ToString::to_string);
            RequestError::Unconnected(refused.unwrap_or_else(|| innermost(&error)))
        })?;
        Ok(Connection {
            stream,
            input: Vec::with_capacity(BUFFER),
            alarm: None,
            is_free: true,
            used: Instant::now(),
            answers: 0,
            slowest: Duration::ZERO,
        })
    }

    async fn dial(&self) -> io::Result<Box<dyn Duplex>> {
        let stream = self.tcp().await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((name, trust)) => {
                let tls = trust.tls().map_err(io::Error::other)?;
                Box::new(TlsConnector::from(tls).connect(name.clone(), stream).await?)
            }
        })
    }

    /// Connects to the first of the host's addresses that accepts.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let start = Instant::now();
        let addresses: Vec<_> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for (index, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let connecting = TcpStream::connect(address);
            // An address that drops all packets must not use up the time of the others.
            let result = match self
                .limit
                .filter(|_| left > 1)
                .map(|limit| limit.saturating_sub(start.elapsed()) / left)
            {
                Some(share) => timeout(share.max(SHORTEST_TRY), connecting)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                None => connecting.await,
            };
            match result {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A byte stream, with or without TLS.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether bytes have arrived that were not read. It asks the kernel, because tokio learns of
    /// new bytes only when its driver runs.
    fn unread(&mut self) -> Unread;
}

/// What has arrived on a connection without a pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Nothing,
    /// Bytes that were not requested.
    Something,
    /// The server has closed it, silently or with a 408 answer.
    Ended,
}

impl Unread {
    fn of(first: &[u8]) -> Self {
        match first {
            [] => Self::Ended,
            first if first.starts_with(GOODBYE) => Self::Ended,
            _ => Self::Something,
        }
    }
}

/// Reads the bytes that the kernel has, without waiting.
struct Arrived<'a>(BorrowedFd<'a>, MsgFlags);

impl io::Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, self.1 | MsgFlags::MSG_DONTWAIT)?)
    }
}

impl Duplex for TcpStream {
    fn unread(&mut self) -> Unread {
        let mut first = [0; GOODBYE.len()];
        match io::Read::read(&mut Arrived(self.as_fd(), MsgFlags::MSG_PEEK), &mut first) {
            Ok(length) => Unread::of(&first[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::Ended,
        }
    }
}

impl Duplex for TlsStream<TcpStream> {
    /// Messages of TLS itself, such as a session ticket, do not count.
    fn unread(&mut self) -> Unread {
        let (socket, session) = self.get_mut();
        loop {
            match session.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => {
                    let mut first = [0; GOODBYE.len()];
                    let length = io::Read::read(&mut session.reader(), &mut first).unwrap_or(0);
                    return Unread::of(&first[..length]);
                }
                Ok(state) if state.peer_has_closed() => return Unread::Ended,
                Ok(_) => {}
                Err(_) => return Unread::Ended,
            }
            match session.read_tls(&mut Arrived(socket.as_fd(), MsgFlags::empty())) {
                Ok(0) => return Unread::Ended,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Unread::Nothing,
                Err(_) => return Unread::Ended,
            }
        }
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    /// The bytes of the last answer, so far.
    input: Vec<u8>,
    /// The timer for the answer's deadline. It may fire earlier, because it is not reset for each
    /// request.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether it is open and no request is pending.
    is_free: bool,
    used: Instant,
    /// How many answers have come since it was last pooled, and the time that the slowest of all
    /// took.
    answers: usize,
    slowest: Duration,
}

impl Connection {
    /// Whether another request can be sent.
    pub(crate) fn is_free(&self) -> bool {
        self.is_free
    }

    /// Whether bytes have arrived that were not requested.
    pub(crate) fn unread(&mut self) -> Unread {
        self.stream.unread()
    }

    /// How many answers have come since it was last pooled.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }

    /// The time that the slowest of its answers took. Surplus bytes arrive within about that time.
    pub(crate) fn slowest(&self) -> Duration {
        self.slowest
    }

    /// Sends a HEAD, and waits for the answer's status. The headers are then in `headers`.
    pub(crate) async fn send(
        &mut self,
        request: &[u8],
        limit: Option<Duration>,
    ) -> Result<u16, RequestError> {
        // If the caller gives up, the connection is left in the middle of an answer.
        self.is_free = false;
        let start = Instant::now();
        let deadline = limit.map(|limit| start + limit);
        self.input.clear();
        let Self { stream, input, alarm, is_free, .. } = self;
        let mut exchange = pin!(exchange(stream, request, input));
        let (status, stays) =
            poll_fn(|context| match (exchange.as_mut().poll(context), deadline) {
                (Poll::Pending, Some(deadline)) if rings(alarm, deadline, context) => {
                    Poll::Ready(Err(RequestError::Late))
                }
                (answer, _) => answer,
            })
            .await?;
        *is_free = stays;
        self.answers += 1;
        self.slowest = self.slowest.max(start.elapsed());
        Ok(status)
    }

    /// The status line and headers of the last answer.
    pub(crate) fn headers(&self) -> &[u8] {
        &self.input
    }
}

/// A request and its answer: the status, and whether the connection stays open.
async fn exchange(
    stream: &mut Box<dyn Duplex>,
    request: &[u8],
    input: &mut Vec<u8>,
) -> Result<(u16, bool), RequestError> {
    let broken = |error: io::Error| RequestError::Broken(innermost(&error));
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut interim = 0;
    loop {
        if input.len() >= LONGEST {
            return Err(RequestError::Garbled);
        }
        if stream.read_buf(input).await.map_err(broken)? == 0 {
            return Err(RequestError::Broken(
                "the connection was closed before an answer".to_owned(),
            ));
        }
        while let Some((status, length, stays)) = parsed(input)? {
            // Interim answers such as 100 Continue.
            if (100..200).contains(&status) {
                interim += 1;
                if interim > INTERIM {
                    return Err(RequestError::Garbled);
                }
                input.drain(..length);
                continue;
            }
            // The answer to a HEAD has no body, so there is a surplus, and any part may be the
            // answer.
            if input.len() > length {
                return Err(RequestError::Surplus);
            }
            return Ok((status, stays));
        }
    }
}

/// Status and length of an answer, and whether the connection stays open; none while it is
/// incomplete.
fn parsed(input: &[u8]) -> Result<Option<(u16, usize, bool)>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(RequestError::Garbled),
    };
    let ends = answer.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("connection")
            && header.value.eq_ignore_ascii_case(b"close")
    });
    let (Some(status), Some(version)) = (answer.code, answer.version) else {
        return Err(RequestError::Garbled);
    };
    Ok(Some((status, length, version == 1 && !ends)))
}

/// Whether `deadline` has passed. If not, the task is woken at that time or earlier.
fn rings(
    alarm: &mut Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    context: &mut Context<'_>,
) -> bool {
    let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    // The timer was set for an earlier request. It is later than this deadline only if that request
    // had more time.
    if alarm.deadline() > deadline {
        alarm.as_mut().reset(deadline);
    }
    while alarm.as_mut().poll(context).is_ready() {
        if deadline <= Instant::now() {
            return true;
        }
        alarm.as_mut().reset(deadline);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ClientConfig;

    use super::*;

    /// The stream for the tests of `exchange`, which do not check whether it is empty.
    impl Duplex for tokio::io::DuplexStream {
        fn unread(&mut self) -> Unread {
            Unread::Nothing
        }
    }

    /// Waits until the kernel has bytes, and returns what they are. No other task runs meanwhile.
    fn arrived(connection: &mut dyn Duplex) -> Unread {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match connection.unread() {
                Unread::Nothing if Instant::now() < deadline => std::thread::yield_now(),
                unread => return unread,
            }
        }
    }

    /// A connection to a test server, and the server's end of it.
    async fn connected() -> (Connection, TcpStream) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Connections {
            host: "127.0.0.1".to_owned(),
            port: url.parse::<::http::Uri>().unwrap().port_u16().unwrap(),
            tls: None,
            limit: None,
            idle: Mutex::default(),
        };
        let (opened, accepted) = tokio::join!(connections.open(), listener.accept());
        (opened.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn what_nobody_asked_for_is_seen_as_soon_as_the_kernel_has_it() {
        let (mut connection, theirs) = connected().await;
        assert_eq!(connection.unread(), Unread::Nothing);
        // Written without tokio, and checked without a run of tokio's driver.
        let mut theirs = theirs.into_std().unwrap();
        io::Write::write_all(&mut theirs, b"H").unwrap();
        assert_eq!(arrived(&mut *connection.stream), Unread::Something);
        assert_eq!(connection.unread(), Unread::Something, "it is still there");

        let (mut connection, theirs) = connected().await;
        drop(theirs.into_std().unwrap());
        assert_eq!(arrived(&mut *connection.stream), Unread::Ended);

        let (mut connection, theirs) = connected().await;
        let mut theirs = theirs.into_std().unwrap();
        io::Write::write_all(&mut theirs, b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        assert_eq!(arrived(&mut *connection.stream), Unread::Ended);
    }

    /// Both ends of a connection over TLS.
    async fn over_tls() -> (TlsStream<TcpStream>, tokio_rustls::server::TlsStream<TcpStream>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connecting = async {
            let socket = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap()
        };
        let accepting = async {
            let (socket, _) = listener.accept().await.unwrap();
            tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(socket).await.unwrap()
        };
        tokio::join!(connecting, accepting)
    }

    #[tokio::test]
    async fn over_tls_only_what_is_said_in_it_was_not_asked_for() {
        let (mut ours, mut theirs) = over_tls().await;
        theirs.flush().await.unwrap();
        assert_eq!(ours.unread(), Unread::Nothing, "tickets for later sessions are nothing");
        theirs.write_all(b"H").await.unwrap();
        theirs.flush().await.unwrap();
        assert_eq!(arrived(&mut ours), Unread::Something);

        // A part of it was read, and the rest was decrypted with it.
        let (mut ours, mut theirs) = over_tls().await;
        theirs.write_all(b"HTTP").await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(arrived(&mut ours), Unread::Something);

        let (mut ours, mut theirs) = over_tls().await;
        theirs.shutdown().await.unwrap();
        assert_eq!(arrived(&mut ours), Unread::Ended);
    }

    #[tokio::test]
    async fn an_answer_comes_in_any_pieces_and_what_comes_around_it_ends_the_connection_or_is_left_out()
     {
        let answered = async |text: &str| {
            let pieces: Vec<String> = text.split('|').map(str::to_owned).collect();
            let (mine, mut theirs) = tokio::io::duplex(1 << 20);
            let mut stream: Box<dyn Duplex> = Box::new(mine);
            let playing = async move {
                theirs.read_exact(&mut [0; 8]).await.unwrap();
                for piece in pieces {
                    theirs.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let mut input = Vec::new();
            let (result, ()) =
                tokio::join!(exchange(&mut stream, b"HEAD / x", &mut input), playing);
            result.map(|(status, stays)| (status, stays, String::from_utf8(input).unwrap()))
        };
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n";
        let whole = |stays| Ok((200, stays, plain.to_owned()));
        assert_eq!(answered(plain).await, whole(true));
        assert_eq!(
            answered("HTTP/1.1 2|00 OK\r\ncontent-length: 4096\r|\n\r\n").await,
            whole(true)
        );
        assert_eq!(answered(&format!("HTTP/1.1 100 Continue\r\n\r\n|{plain}")).await, whole(true));
        assert_eq!(answered(&format!("HTTP/1.1 100 Continue\r\n\r\n{plain}")).await, whole(true));
        assert_eq!(answered(&format!("{plain}<Error>")).await, Err(RequestError::Surplus));
        assert_eq!(answered(&format!("{plain}{plain}")).await, Err(RequestError::Surplus));
        let interim = "HTTP/1.1 102 Processing\r\n\r\n";
        assert_eq!(answered(&format!("{}{plain}", interim.repeat(INTERIM))).await, whole(true));
        assert_eq!(answered(&interim.repeat(INTERIM + 1)).await, Err(RequestError::Garbled));
        let last = "HTTP/1.1 404 Not Found\r\nConnection: Close\r\n\r\n";
        assert_eq!(answered(last).await, Ok((404, false, last.to_owned())));
        let old = "HTTP/1.0 200 OK\r\n\r\n";
        assert_eq!(answered(old).await, Ok((200, false, old.to_owned())));
        assert_eq!(answered("SSH-2.0-OpenSSH_9.2\r\n").await, Err(RequestError::Garbled));
        assert_eq!(
            answered(&format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(LONGEST))).await,
            Err(RequestError::Garbled)
        );
        let broken = RequestError::Broken("the connection was closed before an answer".to_owned());
        assert_eq!(answered("HTTP/1.1 200 OK\r\n").await, Err(broken));
    }

    #[tokio::test]
    async fn an_alarm_that_was_set_for_an_earlier_request_rings_for_a_later_one_and_not_before_its_time()
     {
        let mut alarm = None;
        for limit in [3_600_000, 7_200_000, 1_800_000] {
            let deadline = Instant::now() + Duration::from_millis(limit);
            assert!(!poll_fn(|context| Poll::Ready(rings(&mut alarm, deadline, context))).await);
        }
        for limit in [10, 30, 20] {
            let deadline = Instant::now() + Duration::from_millis(limit);
            poll_fn(|context| {
                if rings(&mut alarm, deadline, context) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            assert!(Instant::now() >= deadline);
        }
    }
}
