//! A receiver on loopback: accepts any HTTP POST, stores it, and answers as configured.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::support::wait_until;

/// The answer to one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With this status, and these headers.
    Status(u16, &'static str),
    /// Never.
    Silence,
    /// By closing the connection.
    Reset,
}

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The first line: method, path, version.
    pub(crate) request: String,
    /// Header names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub(crate) struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers the first requests with these, and all later ones with the last.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            // It lives as long as the test's process; nothing joins it.
            for connection in listener.incoming().flatten() {
                let (kept, answers) = (Arc::clone(&kept), answers.clone());
                std::thread::spawn(move || serve(connection, &kept, &answers));
            }
        });
        Self { port, received }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, requests: usize) {
        wait_until(&format!("{requests} requests have come"), || self.requests().len() >= requests);
    }
}

/// Serves one connection, request by request.
fn serve(connection: TcpStream, kept: &Mutex<Vec<Received>>, answers: &[Answer]) {
    let mut to = connection.try_clone().expect("a socket of one's own");
    let mut from = BufReader::new(connection);
    while let Some(request) = read(&mut from) {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push(request);
            kept.len()
        };
        match answers.get(number - 1).or(answers.last()) {
            Some(Answer::Status(status, headers)) => {
                let answer =
                    format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n{headers}\r\n");
                if to.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Some(Answer::Silence) => std::thread::sleep(Duration::from_secs(3600)),
            Some(Answer::Reset) | None => return,
        }
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = || {
        let mut text = String::new();
        from.read_line(&mut text).ok().filter(|read| *read > 0).map(|_| text.trim_end().to_owned())
    };
    let request = line()?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Received { request, headers, body, at: Instant::now() })
}
