//! An audit's HEAD requests use connections of the guard's own, and listings those of the SDK:
//! faults of these connections lose no object, and only S3 is called on them. A minimal server
//! plays S3, because the faults are in the connections, which the AWS simulator does not model.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822, macros::format_description};

use crate::support::{Played, Stage, digest, isolated_guard};

/// More than the concurrent requests, so that connections are reused.
const OBJECTS: usize = 200;
/// The objects on a page of the listing. The first listing, which splits the location, is a single
/// page.
const PAGE: usize = 50;

/// A HEAD as it came in.
#[derive(Clone, Debug)]
struct Head {
    /// The connection, and the number of the request on it.
    connection: usize,
    nth: usize,
    /// The number in the object's key.
    object: usize,
    /// How often it was requested before.
    before: usize,
    /// Whether it is not from the SDK.
    is_ours: bool,
    date: String,
}

/// The answer to a request.
enum Reply {
    Encrypted,
    /// An answer after which the connection is closed without notice, as after an idle timeout.
    EncryptedThenEnd,
    /// This status, and these headers.
    Status(u16, String),
    /// Never anything.
    Silence,
    /// The connection is closed instead.
    End,
    /// These bytes, in one piece.
    Bytes(String),
    /// These bytes, and then the second ones repeatedly with a pause between, without end.
    Endless(&'static str, &'static str, Duration),
}

/// A bucket whose objects are all encrypted.
struct Bucket {
    port: u16,
    heads: Arc<Mutex<Vec<Head>>>,
    /// For each listing, whether it is not from the SDK.
    lists: Arc<Mutex<Vec<bool>>>,
    /// Received data that are not HTTP over the right transport.
    strange: Arc<Mutex<Vec<String>>>,
}

impl Bucket {
    fn start(
        tls: Option<ServerConfig>,
        reply: impl Fn(&Head) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with_pages(tls, reply, str::to_owned)
    }

    /// A bucket that changes the pages that the guard requests without the SDK.
    fn with_pages(
        tls: Option<ServerConfig>,
        reply: impl Fn(&Head) -> Reply + Send + Sync + 'static,
        pages: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, strange, lists) = (Arc::default(), Arc::default(), Arc::default());
        let serve = Serve {
            heads: Arc::clone(&heads),
            reply: Box::new(reply),
            lists: Arc::clone(&lists),
            pages: Box::new(pages),
        };
        let (tls, kept, serve): (_, Arc<Mutex<Vec<String>>>, _) =
            (tls.map(Arc::new), Arc::clone(&strange), Arc::new(serve));
        std::thread::spawn(move || {
            // It lives as long as the test's process; nothing joins it.
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (tls, kept, serve) = (tls.clone(), Arc::clone(&kept), Arc::clone(&serve));
                std::thread::spawn(move || match tls {
                    None => serve
                        .connection(number, stream, |stream| drop(stream.shutdown(Shutdown::Both))),
                    Some(tls) => {
                        let mut first = [0];
                        // A TLS handshake record begins like this; an HTTP request does not.
                        if stream.peek(&mut first).is_ok_and(|read| read == 1) && first[0] != 0x16 {
                            kept.lock().unwrap().push(format!("plain text on connection {number}"));
                            return;
                        }
                        let end = |stream: &mut StreamOwned<ServerConnection, TcpStream>| {
                            drop(stream.sock.shutdown(Shutdown::Both));
                        };
                        serve.connection(
                            number,
                            StreamOwned::new(ServerConnection::new(tls).unwrap(), stream),
                            end,
                        );
                    }
                });
            }
        });
        Self { port, heads, lists, strange }
    }

    fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap().clone()
    }

    fn audit(&self, scheme: &str, env: &[(&str, &str)]) -> (Played, Value) {
        audit(&format!("{scheme}://localhost:{}", self.port), env)
    }
}

/// An audit of the bucket at this address.
fn audit(endpoint: &str, env: &[(&str, &str)]) -> (Played, Value) {
    let mut stage = Stage::acme()
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("EMR_ETL_GUARD_ALLOW_ENDPOINTS", endpoint)
        .env("AWS_REGION", "eu-west-1");
    for (name, value) in env {
        stage = stage.env(name, value);
    }
    let mut command = isolated_guard();
    command.args(["audit", "s3://acme-old/data", "--json"]);
    stage.prepare(&mut command);
    let played = stage.play(command);
    let document = serde_json::from_str(&played.stdout)
        .unwrap_or_else(|_| panic!("no document:\n{}\n{}", played.stdout, played.stderr));
    (played, document)
}

/// Every object was seen, and each is encrypted.
#[track_caller]
fn expect_all((played, document): &(Played, Value)) {
    played.expect_code(0);
    assert_eq!(document["totals"]["objects"], OBJECTS, "{document:#}");
}

struct Serve {
    heads: Arc<Mutex<Vec<Head>>>,
    reply: Box<dyn Fn(&Head) -> Reply + Send + Sync>,
    lists: Arc<Mutex<Vec<bool>>>,
    pages: Box<dyn Fn(&str) -> String + Send + Sync>,
}

impl Serve {
    fn connection<S: Read + Write>(&self, number: usize, stream: S, end: impl Fn(&mut S)) {
        let mut stream = BufReader::new(stream);
        let mut nth = 0;
        while let Some((request, headers)) = read(&mut stream) {
            nth += 1;
            let header = |name: &str| {
                headers
                    .iter()
                    .find(|(known, _)| known == name)
                    .map_or("", |(_, value)| value.as_str())
            };
            // A proxy gets the whole address.
            let target = request.split(' ').nth(1).unwrap().split("//").last().unwrap();
            let target = target.split_once('/').map_or("", |(_, path)| path);
            let object =
                target.rsplit_once("/part-").and_then(|(_, number)| number.parse::<usize>().ok());
            let is_ours = header("user-agent").starts_with("emr-etl-guard/");
            let (Some(object), true) = (object, request.starts_with("HEAD ")) else {
                let body = if request.starts_with("HEAD ") {
                    String::new()
                } else {
                    self.list(target, is_ours)
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\n{ID}date: {}\r\nx-amz-bucket-region: \
                     eu-west-1\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n",
                    date(OffsetDateTime::now_utc()),
                    body.len()
                );
                if stream.get_mut().write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
                continue;
            };
            let head = {
                let mut heads = self.heads.lock().unwrap();
                let before = heads.iter().filter(|head| head.object == object).count();
                heads.push(Head {
                    connection: number,
                    nth,
                    object,
                    before,
                    is_ours,
                    date: header("x-amz-date").to_owned(),
                });
                heads.last().unwrap().clone()
            };
            let (answer, ends) = match (self.reply)(&head) {
                Reply::Encrypted => (encrypted(), false),
                Reply::EncryptedThenEnd => (encrypted(), true),
                Reply::Status(status, headers) => {
                    (format!("HTTP/1.1 {status} Said\r\n{ID}{headers}\r\n"), false)
                }
                Reply::Silence => {
                    std::thread::sleep(Duration::from_secs(3600));
                    return;
                }
                Reply::End => (String::new(), true),
                Reply::Bytes(bytes) => (bytes, false),
                Reply::Endless(start, piece, pause) => {
                    let mut sent = stream.get_mut().write_all(start.as_bytes());
                    while sent.is_ok() {
                        sent = stream.get_mut().write_all(piece.as_bytes());
                        std::thread::sleep(pause);
                    }
                    return;
                }
            };
            if stream.get_mut().write_all(answer.as_bytes()).is_err()
                || stream.get_mut().flush().is_err()
            {
                return;
            }
            if ends {
                return end(stream.get_mut());
            }
        }
    }
}

impl Serve {
    fn list(&self, target: &str, is_ours: bool) -> String {
        let number = {
            let mut lists = self.lists.lock().unwrap();
            lists.push(is_ours);
            lists.len()
        };
        if number == 1 {
            return list(0..OBJECTS, None);
        }
        let from = target.split_once("continuation-token=from%20").map_or(0, |(_, token)| {
            let (from, rest) =
                token.split_once("%2F%2B").expect("a token comes back as it was given");
            assert!(rest.is_empty() || rest.starts_with('&'), "{target}");
            from.parse().unwrap()
        });
        let next = Some(from + PAGE).filter(|next| *next < OBJECTS);
        let page = list(from..from + PAGE, next);
        if is_ours { (self.pages)(&page) } else { page }
    }
}

/// A header of every S3 response.
const ID: &str = "x-amz-request-id: 5E1EC7ED\r\n";

fn encrypted() -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{ID}content-length: 4096\r\ndate: {}\r\nx-amz-server-side-encryption: \
         AES256\r\netag: \"x\"\r\n\r\n",
        date(OffsetDateTime::now_utc())
    )
}

fn date(time: OffsetDateTime) -> String {
    time.format(&Rfc2822).unwrap().replace("+0000", "GMT")
}

/// Some of the objects, and the position of the next page.
fn list(objects: Range<usize>, next: Option<usize>) -> String {
    let entry = |object| {
        format!(
            "<Contents><Key>data%2Fpart-{object:04}</Key><LastModified>2026-11-25T15:02:00.000Z</LastModified><Size>4096</Size></Contents>"
        )
    };
    let entries: String = objects.map(entry).collect();
    let goes_on = next.map_or(String::new(), |next| {
        format!("<NextContinuationToken>from {next}/+</NextContinuationToken>")
    });
    format!(
        "<ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><EncodingType>url</EncodingType><IsTruncated>{}</IsTruncated>{goes_on}{entries}</ListBucketResult>",
        next.is_some()
    )
}

/// A request without a body.
fn read(from: &mut impl BufReadLines) -> Option<(String, Vec<(String, String)>)> {
    let request = from.text()?;
    let mut headers = Vec::new();
    loop {
        let text = from.text()?;
        match text.split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => return Some((request, headers)),
        }
    }
}

trait BufReadLines {
    fn text(&mut self) -> Option<String>;
}

impl<R: Read> BufReadLines for BufReader<R> {
    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        self.read_line(&mut text).ok().filter(|read| *read > 0).map(|_| text.trim_end().to_owned())
    }
}

#[test]
fn connections_that_end_between_two_heads_or_instead_of_an_answer_cost_no_object() {
    let bucket = Bucket::start(None, |head| match (head.nth % 5, head.before) {
        (3, _) => Reply::EncryptedThenEnd,
        (2, 0) if head.object % 2 == 0 => Reply::End,
        _ => Reply::Encrypted,
    });
    expect_all(&bucket.audit("http", &[]));
    let heads = bucket.heads();
    assert!(heads.iter().all(|head| head.is_ours), "nothing of this needs the SDK");
    let ended = heads
        .iter()
        .filter(|head| head.nth % 5 == 2 && head.before == 0 && head.object % 2 == 0)
        .count();
    assert!(ended > 0 && heads.iter().any(|head| head.before > 0), "some were asked again");
    assert!(heads.iter().any(|head| head.nth == 3), "connections are used again");
}

#[test]
fn connections_are_used_again_as_long_as_they_stand() {
    let bucket = Bucket::start(None, |_| Reply::Encrypted);
    expect_all(&bucket.audit("http", &[]));
    let heads = bucket.heads();
    let connections: BTreeSet<usize> = heads.iter().map(|head| head.connection).collect();
    assert_eq!(heads.len(), OBJECTS, "each object is asked once");
    assert!(
        connections.len() <= 64,
        "no more connections than heads at once: {}",
        connections.len()
    );
}

#[test]
fn what_follows_on_a_lists_first_page_is_asked_without_the_sdk_as_long_as_it_is_plain() {
    let ours_and_sdks = |pages: fn(&str) -> String| {
        let bucket = Bucket::with_pages(None, |_| Reply::Encrypted, pages);
        expect_all(&bucket.audit("http", &[]));
        assert_eq!(bucket.heads().len(), OBJECTS, "each is asked once");
        let lists = bucket.lists.lock().unwrap();
        (
            lists.iter().filter(|is_ours| **is_ours).count(),
            lists.iter().filter(|is_ours| !**is_ours).count(),
        )
    };
    // One listing splits the location, and its first page is the SDK's.
    assert_eq!(ours_and_sdks(str::to_owned), (3, 2));
    assert_eq!(
        ours_and_sdks(|page| page.replace("</ListBucketResult>", "")),
        (3, 5),
        "a page that is cut off is asked again"
    );
    assert_eq!(ours_and_sdks(|page| page.to_owned() + &" ".repeat(33 << 20)), (3, 5));
    assert_eq!(ours_and_sdks(|_| "<Error><Code>InternalError</Code></Error>".to_owned()), (3, 5));
}

#[test]
fn an_answer_that_never_comes_is_waited_for_no_longer_than_the_time_limit() {
    let bucket = Bucket::start(None, |head| match head.object {
        3 => Reply::Silence,
        5 if head.before == 0 => Reply::Silence,
        _ => Reply::Encrypted,
    });
    let (played, document) = bucket.audit(
        "http",
        &[("EMR_ETL_GUARD_AWS_TIMEOUT", "6s"), ("EMR_ETL_GUARD_CONFIRM_TIMEOUT", "10s")],
    );
    played.expect_code(69);
    assert_eq!(document["totals"]["objects"], OBJECTS - 1, "{document:#}");
    let unseen = &document["locations"][0]["unseen"][0];
    assert_eq!(
        (unseen["objects"].as_u64(), unseen["first"].as_str()),
        (Some(1), Some("data/part-0003")),
        "{document:#}"
    );
    assert!(unseen.to_string().contains("no answer within the time limit"), "{unseen}");
    let heads = bucket.heads();
    let of = |object| {
        heads
            .iter()
            .filter(|head| head.object == object)
            .map(|head| head.connection)
            .collect::<Vec<_>>()
    };
    assert!(of(3).len() > 1 && of(5).len() == 2, "{:?} {:?}", of(3), of(5));
    assert_ne!(of(5)[0], of(5)[1], "a connection that owes an answer is not used again");
}

/// Half of the objects are unencrypted; the response for each, in `bytes` or more.
fn half_encrypted(object: usize, bytes: usize) -> String {
    let kind =
        if object.is_multiple_of(2) { "x-amz-server-side-encryption: AES256\r\n" } else { "" };
    let frame = |filling: &str| {
        format!("HTTP/1.1 200 OK\r\n{ID}content-length: 4096\r\n{kind}x: {filling}\r\n\r\n")
    };
    let filling = bytes.saturating_sub(frame("").len());
    frame(&"y".repeat(filling))
}

/// The number of bytes that the guard reads at once: the rest is read next time.
const READ_AT_ONCE: usize = 2048;

/// Some responses are followed by an unrequested one that claims encryption: in the same packet, or
/// in the next one.
fn unasked_now_and_then(head: &Head) -> Reply {
    Reply::Bytes(match (head.is_ours, head.nth, head.connection % 2) {
        (true, 2, 0) => half_encrypted(head.object, 0) + &encrypted(),
        (true, 2, _) => half_encrypted(head.object, READ_AT_ONCE) + &encrypted(),
        _ => half_encrypted(head.object, 0),
    })
}

#[track_caller]
fn expect_each_as_it_is((_, document): &(Played, Value)) {
    assert_eq!(document["totals"]["objects"], OBJECTS, "{document:#}");
    assert_eq!(document["totals"]["offenders"], OBJECTS / 2, "{document:#}");
    assert_eq!(document["locations"][0]["unseen"], serde_json::json!([]), "{document:#}");
}

#[test]
fn an_answer_that_nobody_asked_for_is_taken_for_that_of_no_object() {
    let bucket = Bucket::start(None, unasked_now_and_then);
    expect_each_as_it_is(&bucket.audit("http", &[]));
    assert!(bucket.heads().len() > OBJECTS, "what was in doubt was asked again");
}

#[test]
fn an_answer_that_nobody_asked_for_is_taken_for_that_of_no_object_over_tls_either() {
    let (known, certificate) = authority("known");
    let bucket =
        Bucket::start(Some(tls(Arc::clone(&certificate), certificate)), unasked_now_and_then);
    expect_each_as_it_is(&bucket.audit("https", &known.env()));
    assert!(bucket.heads().len() > OBJECTS, "what was in doubt was asked again");
}

#[test]
fn where_more_than_was_asked_for_comes_each_time_no_object_is_seen() {
    let bucket =
        Bucket::start(None, |head| Reply::Bytes(half_encrypted(head.object, 0) + &encrypted()));
    let (played, document) = bucket.audit("http", &[]);
    played.expect_code(69);
    assert_eq!(document["totals"]["objects"], 0, "{document:#}");
    let unseen = &document["locations"][0]["unseen"][0];
    assert_eq!(unseen["objects"].as_u64(), u64::try_from(OBJECTS).ok(), "{document:#}");
    assert!(unseen.to_string().contains("more arrived than the answer to the request"), "{unseen}");
}

#[test]
fn answers_that_have_no_end_are_given_up() {
    let bucket = Bucket::start(None, |head| match head.object {
        3 => Reply::Endless("HTTP/1.1 200 OK\r\n", "x: yyyyyyyyyyyyyyyy\r\n", Duration::ZERO),
        4 => Reply::Endless("", "HTTP/1.1 102 Processing\r\n\r\n", Duration::ZERO),
        5 => Reply::Endless("HTTP/1.1 200 OK\r\nx: ", "y", Duration::from_millis(100)),
        _ => Reply::Encrypted,
    });
    let limits = [("EMR_ETL_GUARD_AWS_TIMEOUT", "6s"), ("EMR_ETL_GUARD_CONFIRM_TIMEOUT", "10s")];
    let (played, document) = bucket.audit("http", &limits);
    played.expect_code(69);
    assert_eq!(document["totals"]["objects"], OBJECTS - 3, "{document:#}");
    let unseen = document["locations"][0]["unseen"].to_string();
    assert!(unseen.contains("what arrived is not an HTTP answer"), "{unseen}");
    assert!(unseen.contains("no answer within the time limit"), "{unseen}");
}

#[test]
fn where_a_proxy_stands_between_heads_go_through_it_too() {
    // Only the proxy can resolve this host.
    let bucket = Bucket::start(None, |_| Reply::Encrypted);
    let proxy = format!("http://127.0.0.1:{}", bucket.port);
    expect_all(&audit("http://s3.acme.invalid", &[("HTTP_PROXY", &proxy)]));
    assert!(
        bucket.heads().iter().all(|head| head.is_ours),
        "they are ours, on the SDK's connections"
    );
}

#[test]
fn what_is_no_plain_answer_is_asked_again_through_the_sdk() {
    for status in [301, 307, 400, 418] {
        let bucket = Bucket::start(None, move |head| match head.object {
            7 if head.is_ours => Reply::Status(status, "content-length: 0\r\n".to_owned()),
            _ => Reply::Encrypted,
        });
        expect_all(&bucket.audit("http", &[]));
        let of_seven: Vec<bool> = bucket
            .heads()
            .iter()
            .filter(|head| head.object == 7)
            .map(|head| head.is_ours)
            .collect();
        assert_eq!(of_seven, [true, false], "HTTP {status}");
    }
}

#[test]
fn a_refusal_is_one_and_is_not_asked_again() {
    let bucket = Bucket::start(None, |head| match head.object {
        7 => Reply::Status(403, format!("date: {}\r\n", date(OffsetDateTime::now_utc()))),
        _ => Reply::Encrypted,
    });
    let (played, document) = bucket.audit("http", &[]);
    played.expect_code(69);
    assert_eq!(document["locations"][0]["unseen"][0]["denied"], true, "{document:#}");
    assert_eq!(bucket.heads().len(), OBJECTS);
}

#[test]
fn where_this_machines_clock_is_off_s3s_own_counts() {
    let hours = time::Duration::hours(5);
    let bucket = Bucket::start(None, move |head| {
        let now = OffsetDateTime::now_utc() + hours;
        let signed = time::PrimitiveDateTime::parse(
            &head.date,
            format_description!("[year][month][day]T[hour][minute][second]Z"),
        )
        .unwrap()
        .assume_utc();
        // As S3 does.
        if head.is_ours && (signed - now).abs() > time::Duration::minutes(15) {
            return Reply::Status(403, format!("date: {}\r\n", date(now)));
        }
        Reply::Encrypted
    });
    expect_all(&bucket.audit("http", &[]));
    let refused = bucket.heads().iter().filter(|head| head.before == 0).count();
    assert!(bucket.heads().len() > refused, "some were refused first");
}

#[test]
fn where_s3_asks_to_slow_down_fewer_are_asked_and_every_object_is_seen() {
    // So few that even in sequence they cannot make it pause for long.
    let bucket = Bucket::start(None, |head| match head.object {
        20..=23 if head.before == 0 => Reply::Status(503, "content-length: 0\r\n".to_owned()),
        _ => Reply::Encrypted,
    });
    let (played, document) = bucket.audit("http", &[]);
    expect_all(&(played, document.clone()));
    assert!(bucket.heads().iter().all(|head| head.is_ours));
    assert!(document["source"]["slowed_down"].as_u64() > Some(0), "{document:#}");
}

/// An authority with this name, as PEM and with its digest, and a server certificate from it.
fn authority(name: &str) -> (Known, Arc<CertifiedKey>) {
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.distinguished_name.push(DnType::CommonName, name);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(own, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let signer = aws_lc_rs::sign::any_supported_type(&private).unwrap();
    let known = Known { bundle: bundle(&issuer.pem()), digest: digest(issuer.der()) };
    (known, Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)))
}

/// An authority that an audit is to trust.
struct Known {
    bundle: tempfile::NamedTempFile,
    digest: String,
}

impl Known {
    fn env(&self) -> [(&str, &str); 2] {
        [
            ("SSL_CERT_FILE", self.bundle.path().to_str().unwrap()),
            ("EMR_ETL_GUARD_ALLOW_ROOTS", &self.digest),
        ]
    }
}

/// Presents one certificate on the first connection, which is the SDK's, and another one on all
/// others.
#[derive(Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    others: Arc<CertifiedKey>,
    shown: AtomicUsize,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_first = self.shown.fetch_add(1, Ordering::Relaxed) == 0;
        Some(Arc::clone(if is_first { &self.first } else { &self.others }))
    }
}

/// TLS with two certificates, without session resumption.
fn tls(first: Arc<CertifiedKey>, others: Arc<CertifiedKey>) -> ServerConfig {
    let certificates = Certificates { first, others, shown: AtomicUsize::new(0) };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config
}

/// A file with the trusted authorities.
fn bundle(pem: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

#[test]
fn over_tls_heads_are_asked_of_whom_the_named_authorities_vouch_for() {
    let (known, certificate) = authority("known");
    let bucket =
        Bucket::start(Some(tls(Arc::clone(&certificate), certificate)), |_| Reply::Encrypted);
    expect_all(&bucket.audit("https", &known.env()));
    assert_eq!(bucket.heads().len(), OBJECTS);
    assert!(bucket.strange.lock().unwrap().is_empty());
}

#[test]
fn a_server_that_nobody_trusts_is_not_asked_neither_over_tls_nor_in_plain_text() {
    let ((known, trusted), (_, unknown)) = (authority("known"), authority("unknown"));
    let bucket = Bucket::start(Some(tls(trusted, unknown)), |_| Reply::Encrypted);
    let [file, root] = known.env();
    let (played, document) =
        bucket.audit("https", &[file, root, ("EMR_ETL_GUARD_CONFIRM_TIMEOUT", "4s")]);
    played.expect_code(69);
    assert_eq!(document["totals"]["objects"], 0, "{document:#}");
    let unseen = &document["locations"][0]["unseen"][0];
    assert_eq!(unseen["objects"].as_u64(), u64::try_from(OBJECTS).ok(), "{document:#}");
    assert!(unseen.to_string().contains("invalid peer certificate: UnknownIssuer"), "{unseen}");
    assert_eq!(
        (bucket.heads().len(), bucket.strange.lock().unwrap().len()),
        (0, 0),
        "no question came through"
    );
}
