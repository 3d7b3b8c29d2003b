//! A minimal S3 server for any number of objects: listings and HEAD responses, generated on
//! request, so that the clients are what is measured.

use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The bucket that it serves.
pub(crate) const BUCKET: &str = "acme-bench";
/// The number of folders.
const FOLDERS: u64 = 16;
const PAGE: u64 = 1000;

/// The number of HEAD requests; `/heads` returns it, which reveals a client that sends fewer than
/// it should.
static HEADS: AtomicU64 = AtomicU64::new(0);

/// The key of an object, by its number; keys are in the order of the numbers.
pub(crate) fn key(object: u64, objects: u64) -> String {
    format!("data/run={:02}/part-{object:08}", object / objects.div_ceil(FOLDERS).max(1))
}

/// The number of the first object whose key comes after `after`.
fn first_behind(after: &str, objects: u64) -> u64 {
    let (mut low, mut high) = (0, objects);
    while low < high {
        let middle = u64::midpoint(low, high);
        if key(middle, objects).as_str() > after {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Serves on a loopback port, which it returns.
pub(crate) async fn respond(objects: u64, delay: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
    let port = listener.local_addr().expect("it is bound").port();
    // Every eighth object is not encrypted, so that there is something to find.
    let head = |sse: &str| {
        Arc::new(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 4096\r\ncontent-type: \
             binary/octet-stream\r\nlast-modified: Wed, 25 Nov 2026 15:02:00 GMT\r\n\
             etag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\naccept-ranges: bytes\r\nserver: \
             AmazonS3\r\nx-amz-request-id: 4442587FB7D0A2F9\r\n{sse}date: {{DATE}}\r\n\r\n"
        ))
    };
    let heads = [head("x-amz-server-side-encryption: AES256\r\n"), head("")];
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, objects, delay, heads.clone()));
        }
    });
    port
}

async fn serve(
    mut stream: TcpStream,
    objects: u64,
    delay: Duration,
    heads: [Arc<String>; 2],
) -> Option<Infallible> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    // Some clients doubt their own clock when the date is far off.
    let heads = heads.map(|head| head.replace("{DATE}", &now()));
    loop {
        buffer.clear();
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let line = buffer.split(|byte| *byte == b'\r').next()?;
        let target = line.split(|byte| *byte == b' ').nth(1)?;
        if line.starts_with(b"HEAD ") {
            HEADS.fetch_add(1, Ordering::Relaxed);
            let number =
                target.split(|byte| *byte == b'?').next()?.rsplit(|byte| *byte == b'-').next()?;
            let is_plain = number.last().is_some_and(|digit| digit % 8 == 0);
            stream.write_all(heads[usize::from(is_plain)].as_bytes()).await.ok()?;
        } else {
            let target = std::str::from_utf8(target).ok()?;
            let body = if target == "/heads" {
                HEADS.load(Ordering::Relaxed).to_string()
            } else {
                page(target, objects)
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\nserver: \
                 AmazonS3\r\nx-amz-request-id: 4442587FB7D0A2F9\r\ndate: {}\r\ncontent-length: \
                 {}\r\n\r\n",
                now(),
                body.len()
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(body.as_bytes()).await.ok()?;
        }
    }
}

fn now() -> String {
    let now = time::OffsetDateTime::now_utc();
    now.format(&time::format_description::well_known::Rfc2822)
        .unwrap_or_default()
        .replace("+0000", "GMT")
}

/// The page of the listing for a request.
fn page(target: &str, objects: u64) -> String {
    let parameter = |name: &str| {
        let value = target
            .split(['?', '&'])
            .skip(1)
            .find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    if target.split(['?', '&']).any(|parameter| parameter == "location" || parameter == "location=")
    {
        return "<LocationConstraint \
            xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">eu-west-1</LocationConstraint>"
            .to_owned();
    }
    let prefix = parameter("prefix").unwrap_or_default();
    let after = parameter("continuation-token")
        .or_else(|| parameter("start-after"))
        .or_else(|| parameter("marker"));
    let first = after.map_or(0, |after| first_behind(&after, objects)).max(if prefix.is_empty() {
        0
    } else {
        first_behind(&prefix, objects)
    });
    let limit =
        parameter("max-keys").and_then(|number| number.parse().ok()).unwrap_or(PAGE).min(PAGE);
    let mut text = String::with_capacity(256 << 10);
    let mut next = None;
    let mut entries = String::with_capacity(256 << 10);
    let (mut count, mut object) = (0, first);
    let delimiter = parameter("delimiter").filter(|delimiter| !delimiter.is_empty());
    while object < objects {
        let name = key(object, objects);
        if !name.starts_with(&prefix) {
            break;
        }
        if count == limit {
            next = Some(key(object - 1, objects));
            break;
        }
        count += 1;
        let folder = delimiter.as_deref().and_then(|delimiter| {
            name[prefix.len()..]
                .split_once(delimiter)
                .map(|(folder, _)| format!("{prefix}{folder}{delimiter}"))
        });
        if let Some(folder) = folder {
            let _ = write!(
                entries,
                "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                folder.replace('=', "%3D")
            );
            object = first_behind(&format!("{folder}\u{10ffff}"), objects);
            continue;
        }
        let _ = write!(
            entries,
            "<Contents><Key>{name}</Key><LastModified>2026-11-25T15:02:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
        );
        object += 1;
    }
    // Keys are encoded only on request; for the keys here this changes only `=`.
    if parameter("encoding-type").is_some() {
        entries = entries.replace("run=", "run%3D");
    } else {
        entries = entries.replace("run%3D", "run=");
    }
    let _ = write!(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>{limit}</MaxKeys>{}<IsTruncated>{}</IsTruncated>",
        parameter("encoding-type")
            .map_or(String::new(), |kind| format!("<EncodingType>{kind}</EncodingType>")),
        next.is_some()
    );
    if let Some(next) = next {
        let _ = write!(
            text,
            "<NextContinuationToken>{next}</NextContinuationToken><NextMarker>{next}</NextMarker>"
        );
    }
    text.push_str(&entries);
    text.push_str("</ListBucketResult>");
    text
}

/// A client that only sends HEAD requests over this number of connections and checks the responses,
/// as fast as possible.
pub(crate) async fn bare(port: u16, objects: u64, connections: u64) -> u64 {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::{Request, client::conn::http1};
    use hyper_util::rt::TokioIo;

    let tasks: Vec<_> = (0..connections)
        .map(|connection| {
            tokio::spawn(async move {
                let stream =
                    TcpStream::connect(("127.0.0.1", port)).await.expect("the responder listens");
                stream.set_nodelay(true).expect("TCP");
                let (mut sender, connected) =
                    http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
                tokio::spawn(connected);
                let mut encrypted = 0;
                for object in
                    (connection..objects).step_by(usize::try_from(connections).expect("a few"))
                {
                    let request = Request::head(format!("/{BUCKET}/{}", key(object, objects)))
                        .header("host", "127.0.0.1");
                    let response = sender
                        .send_request(request.body(Empty::<Bytes>::new()).expect("a request"))
                        .await
                        .expect("a response");
                    assert_eq!(response.status(), 200);
                    encrypted +=
                        u64::from(response.headers().contains_key("x-amz-server-side-encryption"));
                }
                encrypted
            })
        })
        .collect();
    let mut encrypted = 0;
    for task in tasks {
        encrypted += task.await.expect("all of them were answered");
    }
    encrypted
}
