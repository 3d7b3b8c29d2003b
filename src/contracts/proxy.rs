//! A proxy before the simulator on loopback. It answers one call from a fixture, forwards all
//! others, and keeps the simulator's answer to that one call.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use emr_simulator::Simulator;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinHandle,
};

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// The call that is answered from a fixture, or whose answer is kept.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// AWS's name.
    pub(super) operation: String,
    /// A part of the request line or the body, where several requests are for that operation.
    pub(super) request: String,
    /// The answer to give; none: the simulator's.
    pub(super) answer: Option<Answer>,
}

/// A proxy. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Answer>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(simulator: Arc<Simulator>, wanted: Vec<Wanted>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (wanted, keeps) = (Arc::new(wanted), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (simulator, wanted, seen) =
                    (Arc::clone(&simulator), Arc::clone(&wanted), Arc::clone(&keeps));
                // An error ends this client's connection only.
                tokio::spawn(async move { serve(stream, &simulator, &wanted, &seen).await });
            }
        });
        Self { url, seen, task }
    }

    /// The simulator's answer to the first wanted call.
    pub(super) async fn of_simulator(&self) -> Option<Answer> {
        self.seen.lock().await.first().cloned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    simulator: &Simulator,
    wanted: &[Wanted],
    seen: &Mutex<Vec<Answer>>,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let request = Message::read(&mut client, &mut buffer).await?;
        let (operation, said) = {
            // One request at a time, so that the simulator's last record belongs to this request.
            let mut seen = seen.lock().await;
            let said = forward(simulator, &request).await?;
            let operation = simulator.requests().last()?.operation().to_owned();
            let is_wanted =
                |wanted: &Wanted| wanted.operation == operation && request.holds(&wanted.request);
            if wanted.first().is_some_and(is_wanted) {
                seen.push(said.clone());
            }
            (operation, said)
        };
        let instead = wanted
            .iter()
            .find(|it| it.operation == operation && request.holds(&it.request))
            .and_then(|wanted| wanted.answer.clone());
        let is_head = request.start.starts_with("HEAD ");
        client.write_all(&written(instead.as_ref().unwrap_or(&said), is_head)).await.ok()?;
    }
}

async fn forward(simulator: &Simulator, request: &Message) -> Option<Answer> {
    let address = simulator.url();
    let mut stream = TcpStream::connect(address.strip_prefix("http://")?).await.ok()?;
    let headers: String = request
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "connection" | "expect"))
        .fold(String::new(), |all, (name, value)| all + name + ": " + value + "\r\n");
    let head = format!("{}\r\n{headers}connection: close\r\n\r\n", request.start);
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&request.body).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let head = Head::of(&answer)?;
    let status = head.start.split(' ').nth(1)?.parse().ok()?;
    let headers = head.headers.into_iter().collect();
    Some(Answer { status, headers, body: answer[head.length..].to_vec() })
}

fn written(answer: &Answer, is_head: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        // The `connection` header is for one hop only.
        if name != "connection" && (is_head || name != "content-length") {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    if !is_head && answer.status != 204 {
        let _ = write!(head, "content-length: {}\r\n", answer.body.len());
    }
    let mut bytes = (head + "\r\n").into_bytes();
    if !is_head {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
}

/// A request.
struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// Reads the next message; `buffer` keeps the bytes after it.
    async fn read(client: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Self> {
        let Head { start, headers, length: end } = loop {
            if let Some(head) = Head::of(buffer) {
                break head;
            }
            if client.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        let header = |wanted: &str| {
            headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        if header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        let length = header("content-length").map_or(Some(0), |it| it.parse::<usize>().ok())?;
        while buffer.len() < end + length {
            if client.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        let body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        Some(Self { start, headers, body })
    }

    fn holds(&self, text: &str) -> bool {
        self.start.contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }
}

/// Everything before the body.
struct Head {
    /// The first line.
    start: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// The length of the head in bytes; the body begins there.
    length: usize,
}

impl Head {
    /// Parses a head; none while it is incomplete.
    fn of(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { start, headers: headers.collect(), length: end + 4 })
    }
}
