//! A fast client for a very large number of S3 HEAD requests.
//!
//! The SDK resolves endpoint, credentials, retries and signature for each call, which costs several
//! times as much as the call itself. This client does that once. It learns the route to a bucket
//! (its address, its signing scope, its time limits) from a call that the SDK has signed. Each HEAD
//! is then one signature and one request, on this module's own connections, or on the SDK's if a
//! proxy is configured. Any unusual answer is left to the SDK: see `facts::heads`.

mod connections;
mod signature;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::{
    config::{ConfigBag, Credentials},
    primitives::{ByteStream, SdkBody},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::AuthSchemeId,
        http::{HttpClient as _, HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
        identity::ResolveCachedIdentity as _,
        interceptors::{
            Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint,
        },
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::{GetIdentityResolver as _, RuntimeComponents},
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::{
    aws::{
        answer_form::{REQUEST_IDS, S3_REQUEST_ID},
        fast_s3::{
            connections::{Connection, Connections, RequestError, Unread},
            signature::{NOTHING, Signing},
        },
        log::CallLog,
        trust::AwsTrust,
    },
    base::errors::innermost,
};

/// The characters that S3 expects unescaped in a path and in a query. Source: Amazon S3 API
/// reference, Authenticating Requests (AWS Signature Version 4), UriEncode.
pub(crate) const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const QUERY: &AsciiSet = &PATH.add(b'/');
/// From this difference on, in seconds, S3's clock is used instead of this machine's. S3 refuses
/// requests that are signed for a time more than 15 minutes away.
const CLOCK_IS_OFF: i64 = 240;
const AGENT: &str = concat!("emr-etl-guard/", env!("CARGO_PKG_VERSION"));
const LATE: &str = "no answer within the time limit";

/// A client for one bucket. It has a route after it has learnt one.
#[derive(Debug)]
pub(crate) struct FastS3Client {
    route: OnceLock<Route>,
    /// Whether HEAD requests are recorded in the log of requests.
    is_logged: bool,
}

/// The maximum time to wait for surplus bytes after the last answer, even if answers took longer.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);
/// For a request repeated alone on its connection: the time without a second answer after which the
/// first is trusted.
const SETTLING_ALONE: Duration = Duration::from_secs(1);

/// The result of a request.
pub(crate) type SendResult<'a> = Result<Answer<'a>, SendError>;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum SendError {
    /// A later attempt may succeed.
    Trouble(String),
    /// A surplus answer came on a connection that served only this request.
    Unasked(String),
}

impl FastS3Client {
    /// `is_logged`: whether HEAD requests are recorded in the log. If no report shows them,
    /// millions of them need not be kept.
    pub(crate) fn new(is_logged: bool) -> Self {
        Self { route: OnceLock::new(), is_logged }
    }

    /// An interceptor that learns the route from an SDK call to the bucket, such as ListObjects.
    pub(crate) fn learn(self: &Arc<Self>) -> Learner {
        Learner(Arc::clone(self))
    }

    /// A session for requests that are made one after the other.
    pub(crate) fn line(&self) -> FastS3Session<'_> {
        FastS3Session {
            wire: self,
            connection: None,
            asking: Asking::Held,
            is_in_doubt: false,
            signing: None,
            target: String::new(),
            request: Vec::new(),
        }
    }

    /// The body of a list of the bucket, requested once; none if no route is known or the answer is
    /// unusual. `parameters` are sorted by name.
    pub(crate) async fn list(
        &self,
        operation: &'static str,
        bucket: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> Option<String> {
        let route = self.route.get()?;
        let now = route.now();
        let signing = route.signing(now).await?;
        let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let query: Vec<String> = given
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        let request =
            route.request("GET", &signing, &format!("{}?{}", route.path, query.join("&")))?;
        let prefix = parameters
            .iter()
            .find(|(name, _)| *name == "prefix")
            .and_then(|(_, value)| *value)
            .unwrap_or_default();
        let mut record =
            self.log().map(|log| log.begin(operation, format!("s3://{bucket}/{prefix}")));
        let answering = async {
            let answer = by_sdk(&route.connector, request, None).await.ok()?;
            if let Some(record) = &mut record {
                record.answered(answer.status().as_u16(), answer.headers().get(S3_REQUEST_ID));
            }
            if answer.status().as_u16() != 200 {
                return None;
            }
            let body = ByteStream::new(answer.into_body()).collect().await.ok()?;
            String::from_utf8(body.into_bytes().into()).ok()
        };
        match route.time_limit {
            Some(limit) => tokio::time::timeout(limit, answering).await.ok().flatten(),
            None => answering.await,
        }
    }

    fn log(&self) -> Option<&CallLog> {
        self.route.get().and_then(|route| route.log.as_ref()).filter(|_| self.is_logged)
    }

    /// The time limit of one call, all attempts together, from the SDK's settings.
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.route.get().and_then(|route| route.whole_limit)
    }

    /// Whether an answer shows that this machine's clock was wrong when the request was signed. The
    /// difference is then used for later requests.
    pub(crate) fn learns_the_time(&self, answer: &Answer<'_>) -> bool {
        let Some(route) = self.route.get() else { return false };
        let date =
            answer.header("date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        // Many requests are already under way when the first answer shows it.
        let Some(date) = date
            .map(OffsetDateTime::unix_timestamp)
            .filter(|date| (date - answer.signed).abs() >= CLOCK_IS_OFF)
        else {
            return false;
        };
        route
            .clock_is_off
            .store(date - OffsetDateTime::now_utc().unix_timestamp(), Ordering::Relaxed);
        true
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    headers: Headers<'a>,
    /// The second, since 1970, for which the request was signed.
    signed: i64,
}

#[derive(Debug)]
enum Headers<'a> {
    /// The received bytes with the status line. They were parsed successfully before.
    Ours(&'a [u8]),
    Sdks(Box<HttpResponse>),
}

impl Answer<'_> {
    /// Whether it has a request id, as all answers of AWS have.
    pub(crate) fn has_request_id(&self) -> bool {
        REQUEST_IDS.iter().any(|name| self.header(name).is_some())
    }

    /// A header, if it is there and is text. `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        match &self.headers {
            Headers::Ours(lines) => lines.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
                let (known, value) =
                    (line.get(..name.len())?, line.get(name.len()..)?.strip_prefix(b":")?);
                if known.eq_ignore_ascii_case(name.as_bytes()) {
                    std::str::from_utf8(value).ok().map(str::trim)
                } else {
                    None
                }
            }),
            Headers::Sdks(answer) => answer.headers().get(name),
        }
    }
}

/// Makes requests one after the other on its own connection, and returns the connection to the pool
/// afterwards.
///
/// In HTTP/1.1 only the position on the connection tells which request an answer belongs to. So a
/// connection must be empty before each request. If it is not, or if more than one answer came, all
/// answers on it in this session are in doubt. They must be requested again, on connections that
/// serve one request each.
pub(crate) struct FastS3Session<'a> {
    wire: &'a FastS3Client,
    connection: Option<Connection>,
    asking: Asking,
    /// Whether an answer that was returned may belong to another request.
    is_in_doubt: bool,
    signing: Option<Arc<Signing>>,
    /// Path and query of the last request, and its complete text.
    target: String,
    request: Vec<u8>,
}

/// Which connections a session uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// One connection, kept from request to request.
    Held,
    /// A new connection for each request.
    Alone,
}

impl FastS3Session<'_> {
    /// Ends a series of requests. Returns whether each answer belongs to its request. If not, all
    /// of them must be requested again, and the session then uses a new connection for each.
    ///
    /// After a surplus answer, each later answer belongs to the request before, and the answer to
    /// the last request is still to come. So this waits for it, as long as answers take on this
    /// connection.
    pub(crate) async fn settle(&mut self) -> bool {
        if let Some(mut connection) = self.connection.take()
            && self.asking == Asking::Held
        {
            if connection.answers() > 0 {
                tokio::time::sleep(connection.slowest().min(LONGEST_SETTLING)).await;
            }
            match connection.unread() {
                Unread::Something => self.is_in_doubt |= connection.answers() > 0,
                Unread::Ended => {}
                // Only a free connection is kept.
                Unread::Nothing => {
                    let route = self.wire.route.get();
                    if let Some(connections) = route.and_then(|route| route.connections.as_ref())
                        && !self.is_in_doubt
                    {
                        connections.keep(connection);
                    }
                }
            }
        }
        let was_sound = !std::mem::take(&mut self.is_in_doubt);
        if !was_sound {
            self.asking = Asking::Alone;
        }
        was_sound
    }

    /// Sends a HEAD request for an object in `bucket`, once; none if no route is known.
    pub(crate) async fn head(
        &mut self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Option<SendResult<'_>> {
        let route = self.wire.route.get()?;
        let now = route.now();
        let signing = match &self.signing {
            Some(signing) if signing.second == now => signing,
            _ => self.signing.insert(route.signing(now).await?),
        };
        let mut record =
            self.wire.log().map(|log| log.begin("HeadObject", format!("s3://{bucket}/{key}")));
        route.target(key, version, &mut self.target);
        let sent = match &route.connections {
            Some(connections) => {
                route.head(signing, &self.target, &mut self.request);
                let asking = Ask {
                    connections,
                    held: &mut self.connection,
                    asking: &mut self.asking,
                    is_in_doubt: &mut self.is_in_doubt,
                };
                let sent = asking.ask(&self.request, route.time_limit).await;
                sent.map(|(status, headers)| Answer {
                    status,
                    headers: Headers::Ours(headers),
                    signed: now,
                })
            }
            None => {
                let sent = by_sdk(
                    &route.connector,
                    route.request("HEAD", signing, &self.target)?,
                    route.time_limit,
                )
                .await
                .map_err(SendError::Trouble);
                sent.map(|answer| Answer {
                    status: answer.status().as_u16(),
                    headers: Headers::Sdks(Box::new(answer)),
                    signed: now,
                })
            }
        };
        if let (Some(record), Ok(answer)) = (&mut record, &sent) {
            record.answered(answer.status, answer.header(S3_REQUEST_ID));
        }
        Some(sent)
    }
}

/// The parts that a session needs for requests on its own connections.
struct Ask<'a> {
    connections: &'a Connections,
    held: &'a mut Option<Connection>,
    asking: &'a mut Asking,
    is_in_doubt: &'a mut bool,
}

impl<'a> Ask<'a> {
    /// A connection from the pool that is empty.
    fn used(&mut self) -> Option<Connection> {
        let held = self.held.take();
        if *self.asking == Asking::Alone {
            return None;
        }
        if let Some(mut held) = held {
            match held.unread() {
                Unread::Nothing if held.is_free() => return Some(held),
                Unread::Nothing | Unread::Ended => {}
                Unread::Something => *self.is_in_doubt |= held.answers() > 0,
            }
        }
        self.connections.waiting()
    }

    /// Sends a request, and keeps the connection afterwards.
    async fn ask(
        mut self,
        request: &[u8],
        limit: Option<Duration>,
    ) -> Result<(u16, &'a [u8]), SendError> {
        let trouble = |why| SendError::Trouble(in_words(why));
        loop {
            let used = self.used();
            let was_used = used.is_some();
            let mut connection = match used {
                Some(used) => used,
                None => self.connections.open().await.map_err(trouble)?,
            };
            // Bytes before the first request are not its answer.
            let sent = match connection.unread() {
                Unread::Something => Err(RequestError::Surplus),
                _ => connection.send(request, limit).await,
            };
            let sent = match sent {
                Ok(status) if *self.asking == Asking::Alone => {
                    tokio::time::sleep(SETTLING_ALONE).await;
                    match connection.unread() {
                        Unread::Something => Err(RequestError::Surplus),
                        Unread::Nothing | Unread::Ended => Ok(status),
                    }
                }
                sent => sent,
            };
            match sent {
                Ok(status) => {
                    let held = self.held;
                    return Ok((status, held.insert(connection).headers()));
                }
                // The server may have closed the connection just before. A HEAD can be repeated, at
                // the latest on a new connection.
                Err(RequestError::Broken(_)) if was_used => {}
                // Repeat it once on a connection that serves no other request.
                Err(RequestError::Surplus) if *self.asking == Asking::Held => {
                    *self.is_in_doubt |= connection.answers() > 0;
                    *self.asking = Asking::Alone;
                }
                Err(why @ RequestError::Surplus) => return Err(SendError::Unasked(in_words(why))),
                Err(why) => return Err(trouble(why)),
            }
        }
    }
}

fn in_words(trouble: RequestError) -> String {
    match trouble {
        RequestError::Unconnected(why) | RequestError::Broken(why) => {
            format!("cannot be reached: {why}")
        }
        RequestError::Garbled => "what arrived is not an HTTP answer".to_owned(),
        RequestError::Late => LATE.to_owned(),
        RequestError::Surplus => {
            "more arrived than the answer to the request, so the answer is unknown".to_owned()
        }
    }
}

/// Sends a request through the SDK's HTTP client.
async fn by_sdk(
    connector: &SharedHttpConnector,
    request: HttpRequest,
    limit: Option<Duration>,
) -> Result<HttpResponse, String> {
    let answer = connector.call(request);
    let result = match limit {
        Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| LATE.to_owned())?,
        None => answer.await,
    };
    result.map_err(|error| {
        if error.is_timeout() {
            LATE.to_owned()
        } else {
            format!("cannot be reached: {}", innermost(&error))
        }
    })
}

/// An interceptor that learns the route to a bucket from an SDK call to it.
#[derive(Debug)]
pub(crate) struct Learner(Arc<FastS3Client>);

#[dyn_dispatch_hint]
impl Intercept for Learner {
    fn name(&self) -> &'static str {
        "Learner"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.route.get().is_none()
            && let Some(route) = Route::of(context.request(), components, config)
        {
            // If two calls learn it at once, both learn the same.
            let _ = self.0.route.set(route);
        }
        Ok(())
    }
}

/// The route to one bucket.
struct Route {
    /// This module's connections; none if a proxy is used, which only the SDK's client supports.
    connections: Option<Connections>,
    /// The SDK's client.
    connector: SharedHttpConnector,
    components: RuntimeComponents,
    /// The log of the SDK's requests.
    log: Option<CallLog>,
    time_limit: Option<Duration>,
    whole_limit: Option<Duration>,
    /// The address `https://host`, and the bucket's path there; a key is appended to it.
    origin: String,
    path: String,
    host: String,
    region: String,
    service: String,
    /// The difference of S3's clock to this machine's, in seconds; positive if S3's is ahead.
    clock_is_off: AtomicI64,
    signing: Mutex<Option<Arc<Signing>>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route to {}{}", self.origin, self.path)
    }
}

impl Route {
    /// The route of `request`, which names no object; none if it is not signed with the plain
    /// method.
    fn of(
        request: &HttpRequest,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Option<Self> {
        let headers = request.headers();
        let scope = headers
            .get("authorization")?
            .strip_prefix("AWS4-HMAC-SHA256 Credential=")?
            .split(',')
            .next()?;
        // The session of a directory bucket is another kind of credential.
        if headers.get("x-amz-s3session-token").is_some() {
            return None;
        }
        let mut scope = scope.rsplit('/').skip(1);
        let (service, region) = (scope.next()?.to_owned(), scope.next()?.to_owned());
        let address = request.uri().split('?').next()?.trim_end_matches('/');
        let (scheme, rest) = address.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let limits = config.load::<TimeoutConfig>();
        let (connect, read) = (
            limits.and_then(TimeoutConfig::connect_timeout),
            limits.and_then(TimeoutConfig::read_timeout),
        );
        let attempt = limits.and_then(TimeoutConfig::operation_attempt_timeout);
        // The same settings as the SDK's, so that the same connections are used.
        let mut settings = HttpConnectorSettings::builder();
        settings.set_connect_timeout(connect).set_read_timeout(read);
        Some(Self {
            connections: Connections::to(address, connect, &AwsTrust::of(config)?),
            connector: components.http_client()?.http_connector(&settings.build(), components),
            time_limit: attempt.into_iter().chain(read).min(),
            whole_limit: limits.and_then(TimeoutConfig::operation_timeout),
            origin: format!("{scheme}://{host}"),
            path: if path.is_empty() { "/".to_owned() } else { format!("/{path}/") },
            host: host.strip_suffix(default_port).unwrap_or(host).to_owned(),
            components: components.clone(),
            log: CallLog::of(config),
            region,
            service,
            clock_is_off: AtomicI64::new(0),
            signing: Mutex::new(None),
        })
    }

    /// The time in seconds since 1970, by S3's clock.
    fn now(&self) -> i64 {
        OffsetDateTime::now_utc().unix_timestamp() + self.clock_is_off.load(Ordering::Relaxed)
    }

    /// The signing data for the current second. Credentials come from the SDK's cache, which renews
    /// them before they expire.
    async fn signing(&self, now: i64) -> Option<Arc<Signing>> {
        if let Some(signing) = self.signing.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && signing.second == now
        {
            return Some(Arc::clone(signing));
        }
        let resolver = self.components.identity_resolver(AuthSchemeId::from("sigv4"))?;
        let config = ConfigBag::base();
        let identity = self.components.identity_cache();
        let identity =
            identity.resolve_cached_identity(resolver, &self.components, &config).await.ok()?;
        let credentials = identity.data::<Credentials>()?;
        let signing =
            Arc::new(Signing::new(credentials, now, &self.region, &self.service, &self.host)?);
        *self.signing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&signing));
        Some(signing)
    }

    /// Sets `target` to an object's path and query.
    fn target(&self, key: &str, version: Option<&str>, target: &mut String) {
        target.clear();
        target.push_str(&self.path);
        target.extend(utf8_percent_encode(key, PATH));
        if let Some(version) = version {
            target.push_str("?versionId=");
            target.extend(utf8_percent_encode(version, QUERY));
        }
    }

    /// Sets `request` to the complete request for this module's own connections.
    fn head(&self, signing: &Signing, target: &str, request: &mut Vec<u8>) {
        request.clear();
        for part in ["HEAD ", target, " HTTP/1.1\r\nhost: ", &self.host] {
            request.extend_from_slice(part.as_bytes());
        }
        let mut header = |name: &str, value: &str| {
            for part in ["\r\n", name, ": ", value] {
                request.extend_from_slice(part.as_bytes());
            }
        };
        Self::headers(signing, &mut header);
        request.extend_from_slice(b"\r\nauthorization: ");
        Self::authorize("HEAD", signing, target, request);
        request.extend_from_slice(b"\r\n\r\n");
    }

    /// The same for a connection of the SDK's, which adds the host header itself.
    fn request(&self, method: &str, signing: &Signing, target: &str) -> Option<HttpRequest> {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_method(method).ok()?;
        let (mut header, mut well) = (Vec::new(), true);
        Self::headers(signing, &mut |name, value| {
            well &= request.headers_mut().try_insert(name.to_owned(), value.to_owned()).is_ok();
        });
        Self::authorize(method, signing, target, &mut header);
        request.headers_mut().try_insert("authorization", String::from_utf8(header).ok()?).ok()?;
        request.set_uri(format!("{}{target}", self.origin)).ok()?;
        well.then_some(request)
    }

    /// The headers other than host and signature.
    fn headers(signing: &Signing, header: &mut impl FnMut(&str, &str)) {
        header("user-agent", AGENT);
        header("x-amz-content-sha256", NOTHING);
        header("x-amz-date", &signing.date);
        if let Some(token) = &signing.token {
            header("x-amz-security-token", token);
        }
    }

    fn authorize(method: &str, signing: &Signing, target: &str, header: &mut Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        signing.authorize(method, path, query, header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    const REQUEST: &[u8] = b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A server whose answers depend on the numbers of the connection and the request. The answer
    /// to request 0 is sent before any request.
    async fn server(answer: fn(usize, usize) -> &'static str) -> Connections {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, number, answer));
            }
        });
        Connections::to(&url, None, &AwsTrust::new(&[])).unwrap()
    }

    async fn serve(mut stream: TcpStream, number: usize, answer: fn(usize, usize) -> &'static str) {
        let mut request = vec![0; REQUEST.len()];
        for nth in 0.. {
            if stream.write_all(answer(number, nth).as_bytes()).await.is_err()
                || stream.read_exact(&mut request).await.is_err()
            {
                return;
            }
        }
    }

    /// Sends two requests. Before the second, it waits until the unrequested bytes have arrived.
    async fn asked_twice(
        connections: &Connections,
        first: Option<Connection>,
        waits: bool,
    ) -> (Vec<String>, bool) {
        let (mut held, mut asking, mut is_in_doubt) = (first, Asking::Held, false);
        let mut answers = Vec::new();
        for _ in 0..2 {
            while waits && held.as_mut().is_some_and(|held| held.unread() == Unread::Nothing) {
                tokio::task::yield_now().await;
            }
            let ask = Ask {
                connections,
                held: &mut held,
                asking: &mut asking,
                is_in_doubt: &mut is_in_doubt,
            };
            answers.push(match ask.ask(REQUEST, None).await {
                Ok((status, _)) => status.to_string(),
                Err(SendError::Trouble(why) | SendError::Unasked(why)) => why,
            });
        }
        (answers, is_in_doubt)
    }

    const FOUND: &str = "HTTP/1.1 200 OK\r\n\r\n";
    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\n\r\n";

    #[tokio::test]
    async fn what_comes_before_the_first_question_answers_none() {
        let connections = server(|connection, nth| match (connection, nth) {
            (0, 0) => FOUND,
            (_, 0) => "",
            _ => ABSENT,
        })
        .await;
        let early = connections.open().await.unwrap();
        let (answers, is_in_doubt) = asked_twice(&connections, Some(early), false).await;
        // Either the surplus was seen before the request, or more than one answer came.
        assert_eq!(answers[1], "404", "{answers:?}");
        assert!(answers[0] == "404" || is_in_doubt, "{answers:?}");
    }

    #[tokio::test]
    async fn an_answer_to_no_question_puts_those_before_it_in_doubt_and_is_none_to_the_next_one() {
        // The surplus comes in one piece with an answer: the request is repeated on its own
        // connection.
        let connections = server(|connection, nth| match (connection, nth) {
            (_, 0) => "",
            (0, 1) => "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            _ => ABSENT,
        })
        .await;
        let (answers, _) = asked_twice(&connections, None, false).await;
        assert_eq!(answers, ["404", "404"]);

        // The surplus comes behind the answer, in a piece that is not read yet: the answer fills
        // the buffer.
        let connections = server(|connection, nth| match (connection, nth) {
            (_, 0) => "",
            (0, 1) => long_and_unasked(),
            _ => ABSENT,
        })
        .await;
        let (answers, is_in_doubt) = asked_twice(&connections, None, true).await;
        assert_eq!((answers, is_in_doubt), (vec!["200".to_owned(), "404".to_owned()], true));
    }

    /// An answer that fills the read buffer, followed by a surplus answer.
    fn long_and_unasked() -> &'static str {
        static BOTH: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            let frame = "HTTP/1.1 200 OK\r\nx: \r\n\r\n";
            let filling = "y".repeat(connections::BUFFER - frame.len());
            format!("HTTP/1.1 200 OK\r\nx: {filling}\r\n\r\n{FOUND}")
        });
        &BOTH
    }

    #[tokio::test]
    async fn a_server_that_always_says_more_than_it_was_asked_is_believed_nothing() {
        let connections = server(|_, nth| match nth {
            0 => "",
            _ => "HTTP/1.1 200 OK\r\n\r\n<Error/>",
        })
        .await;
        let (answers, _) = asked_twice(&connections, None, false).await;
        for answer in answers {
            assert!(answer.starts_with("more arrived than the answer"), "{answer}");
        }
    }

    #[test]
    fn headers_are_found_by_their_whole_name_in_any_case() {
        let lines = b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 15:02:00 \
            GMT\r\nX-Amz-Server-Side-Encryption-Aws-Kms-Key-Id: \
            arn:x\r\nx-amz-server-side-encryption:aws:kms \r\nodd: \xff\r\n\r\n";
        let answer = Answer { status: 200, headers: Headers::Ours(lines), signed: 0 };
        assert_eq!(answer.header("date"), Some("Wed, 25 Nov 2026 15:02:00 GMT"));
        assert_eq!(answer.header("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(answer.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("arn:x"));
        assert_eq!(
            [answer.header("x-amz"), answer.header("odd"), answer.header("http/1.1 200 ok")],
            [None; 3]
        );
    }
}
