//! `sentinel --probe`: asks a running sentinel's HTTP endpoint, for container health checks in an
//! image without an HTTP client.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::sentinel::endpoint::{LIVENESS, READINESS};

/// The time to connect, and to wait for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read, in bytes: a line for each place.
const LONGEST_ANSWER: u64 = 256 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ProbeKind {
    /// Whether the sentinel's loop turns.
    Live,
    /// Whether every region of every account was listed in time.
    Ready,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The sentinel answered that it is not.
    #[error("the sentinel at {address} is not {}", kind.word())]
    Not {
        /// What was asked.
        kind: ProbeKind,
        /// Who answered.
        address: SocketAddr,
        /// Its reasons, one a line.
        why: String,
    },
    /// Nothing answered, or not a sentinel.
    #[error("no sentinel answers at {address}: {source}")]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl ProbeError {
    /// What the sentinel says about it, line by line.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Not { why, .. } => why.lines(),
            Self::NoAnswer { .. } => "".lines(),
        }
    }
}

impl ProbeKind {
    fn path(self) -> &'static str {
        match self {
            Self::Live => LIVENESS,
            Self::Ready => READINESS,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Live => "alive",
            Self::Ready => "ready",
        }
    }
}

/// Asks the sentinel that listens on `listen`, the setting `sentinel.listen`.
///
/// # Errors
/// When it does not answer, or answers that it is not alive or not ready.
pub(crate) fn probe(listen: SocketAddr, kind: ProbeKind) -> Result<(), ProbeError> {
    let address = reachable(listen);
    let no_answer = |source| ProbeError::NoAnswer { address, source };
    let bytes = ask(address, kind.path()).map_err(no_answer)?;
    let (status, text) = parse(&bytes)
        .ok_or_else(|| no_answer(io::Error::new(io::ErrorKind::InvalidData, "it is no HTTP")))?;
    match status {
        200 => Ok(()),
        503 => Err(ProbeError::Not { kind, address, why: text }),
        status => {
            let cause = format!("{} is answered with status {status}", kind.path());
            Err(no_answer(io::Error::other(cause)))
        }
    }
}

/// The address by which this machine reaches itself: a sentinel that listens on all addresses also
/// listens on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let host = match listen.ip() {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    SocketAddr::new(host, listen.port())
}

fn ask(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status and the text of an answer; none: it is no HTTP.
fn parse(bytes: &[u8]) -> Option<(u16, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(bytes).ok()? else { return None };
    let text = String::from_utf8_lossy(bytes.get(start..)?).into_owned();
    Some((response.code?, text))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use tokio::sync::watch;

    use super::*;
    use crate::{
        sentinel::{
            endpoint::{MetricsPage, start},
            health::SentinelHealth,
        },
        system::http_endpoint::HttpEndpoint,
    };

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    const PLACE: &str = "eu-west-1 of account 123456789012";

    /// An endpoint on all addresses, with the sender of its state.
    fn sentinel() -> (HttpEndpoint, watch::Sender<SentinelHealth>) {
        let mut health = SentinelHealth::starting(Duration::from_secs(30), Instant::now());
        health.set_places([PLACE.to_owned()], Instant::now());
        let (sender, receiver) = watch::channel(health);
        let metrics = || MetricsPage { content_type: "text/plain", text: "a 1\n".to_owned() };
        (start(ANY_PORT, receiver, metrics).unwrap(), sender)
    }

    /// The error and its reasons, one a line, without the port.
    fn message(result: Result<(), ProbeError>, port: u16) -> String {
        let error = result.unwrap_err();
        let first = error.to_string().replace(&format!(":{port}"), ":PORT");
        std::iter::once(&*first).chain(error.reasons()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_sentinel_is_alive_at_once_and_ready_when_its_places_are_listed() {
        let (endpoint, health) = sentinel();
        let address = endpoint.address();
        assert!(probe(address, ProbeKind::Live).is_ok());
        assert_eq!(
            message(probe(address, ProbeKind::Ready), address.port()),
            "the sentinel at 127.0.0.1:PORT is not ready\n\
             eu-west-1 of account 123456789012: not listed yet"
        );
        health.send_modify(|health| health.listed(PLACE, Instant::now()));
        assert!(probe(address, ProbeKind::Ready).is_ok());
    }

    #[test]
    fn a_loop_that_hangs_is_seen_while_the_endpoint_answers() {
        let (endpoint, health) = sentinel();
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(100)) else {
            // This machine has been running for less than that.
            return;
        };
        health.send_modify(|health| health.turned(long_ago));
        let port = endpoint.address().port();
        let said = message(probe(endpoint.address(), ProbeKind::Live), port);
        let start = "the sentinel at 127.0.0.1:PORT is not alive\nthe sentinel's loop has not \
            turned for 1";
        assert!(said.starts_with(start), "{said}");
    }

    #[test]
    fn metrics_are_given_as_they_are_with_their_media_type() {
        let (endpoint, _health) = sentinel();
        let answer = ask(reachable(endpoint.address()), "/metrics").unwrap();
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(head.contains("\r\ncontent-type: text/plain\r\n"), "{head}");
        assert_eq!(parse(&answer), Some((200, "a 1\n".to_owned())));
    }

    #[test]
    fn what_does_not_answer_as_a_sentinel_is_said_to_be_none() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answers = ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-x\r\n"];
        let other = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                // What is left unread would reset the connection, and the answer with it.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut some = [0; 1024];
                    let count = stream.read(&mut some).unwrap();
                    assert_ne!(count, 0, "the request has no end");
                    request.extend(&some[..count]);
                }
                assert!(request.starts_with(b"GET /livez HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let said = [(); 2].map(|()| message(probe(address, ProbeKind::Live), address.port()));
        other.join().unwrap();
        assert_eq!(
            said,
            [
                "no sentinel answers at 127.0.0.1:PORT: /livez is answered with status 404",
                "no sentinel answers at 127.0.0.1:PORT: it is no HTTP",
            ]
        );
        // Its listener is gone.
        assert_eq!(
            message(probe(address, ProbeKind::Live), address.port()),
            "no sentinel answers at 127.0.0.1:PORT: Connection refused (os error 111)"
        );
    }

    #[test]
    fn an_address_that_cannot_be_listened_on_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let (_sender, receiver) =
            watch::channel(SentinelHealth::starting(Duration::ZERO, Instant::now()));
        let metrics = || MetricsPage { content_type: "text/plain", text: String::new() };
        let error = start(address, receiver, metrics).unwrap_err();
        assert_eq!(
            error.to_string().replace(&address.to_string(), "ADDRESS"),
            "nothing is watched: cannot listen on ADDRESS: Address already in use (os error 98)"
        );
    }
}
