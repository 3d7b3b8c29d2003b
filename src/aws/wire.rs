//! The cheap way to ask S3 for a great many heads.
//!
//! The SDK resolves endpoint, credentials, retries and signature anew for each call, which costs several times as much as the call itself. Here that is done once: the
//! route to a bucket is learnt from a call that the SDK has signed (its address, its signing scope, its HTTP client with TLS, proxies and open connections), and each head
//! is then one signature and one request. Whatever is not a plain answer goes back to the SDK: see `facts::heads`.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_config::timeout::TimeoutConfig;
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use aws_sdk_s3::{
    config::{ConfigBag, Credentials},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::AuthSchemeId,
        http::{HttpClient as _, HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
        identity::ResolveCachedIdentity as _,
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::{GetIdentityResolver as _, RuntimeComponents},
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, format_description::well_known::Rfc2822, macros::format_description};

use super::{innermost, log::CallLog};
use crate::digest::hex;

/// What S3 expects unescaped: in a path, and in a query. Source: Amazon S3 API reference, Authenticating Requests (AWS Signature Version 4), UriEncode.
pub(crate) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const QUERY: &AsciiSet = &PATH.add(b'/');
/// SHA-256 of nothing, which is what a head sends.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// S3 refuses what is signed for another time than within 15 minutes; a clock this far off is told from S3's own.
const CLOCK_IS_OFF: i64 = 240;

/// The way to one bucket, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Wire(OnceLock<Route>);

/// How a request on the wire ended.
pub(crate) type Sent = Result<HttpResponse, String>;

impl Wire {
    /// What learns the way from a call to the bucket itself, such as a list of it.
    pub(crate) fn learn(self: &Arc<Self>) -> Learner {
        Learner(Arc::clone(self))
    }

    /// Asks for the head of an object, once; none where no way is known.
    pub(crate) async fn head(&self, key: &str, version: Option<&str>) -> Option<Sent> {
        let route = self.0.get()?;
        let signing = route.signing().await?;
        let request = route.request(&signing, key, version)?;
        let record = route.log.as_ref().map(|log| log.begin("S3", "HeadObject", &request));
        let answer = route.connector.call(request);
        let result = match route.time_limit {
            Some(limit) => match tokio::time::timeout(limit, answer).await {
                Ok(result) => result,
                Err(_) => return Some(Err("no answer within the time limit".to_owned())),
            },
            None => answer.await,
        };
        if let (Some(record), Ok(answer)) = (&record, &result) {
            record.answered(answer);
        }
        Some(result.map_err(|error| {
            if error.is_timeout() { "no answer within the time limit".to_owned() } else { format!("cannot be reached: {}", innermost(&error)) }
        }))
    }

    /// How long one question may take, all of its attempts together, by the SDK's own setting.
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.0.get().and_then(|route| route.whole_limit)
    }

    /// Whether an answer shows that this machine's clock is off; it is then known for what follows.
    pub(crate) fn learns_the_time(&self, answer: &HttpResponse) -> bool {
        let Some(route) = self.0.get() else { return false };
        let date = answer.headers().get("date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        let Some(date) = date else { return false };
        let off = date.unix_timestamp() - (OffsetDateTime::now_utc().unix_timestamp() + route.clock_is_off.load(Ordering::Relaxed));
        if off.abs() < CLOCK_IS_OFF {
            return false;
        }
        route.clock_is_off.fetch_add(off, Ordering::Relaxed);
        *route.signing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        true
    }
}

/// Learns the way to a bucket from a call that the SDK makes to it.
#[derive(Debug)]
pub(crate) struct Learner(Arc<Wire>);

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
        if self.0.0.get().is_none()
            && let Some(route) = Route::of(context.request(), components, config)
        {
            // Where two calls learn it at once, they learn the same.
            let _ = self.0.0.set(route);
        }
        Ok(())
    }
}

/// The way to one bucket.
struct Route {
    connector: SharedHttpConnector,
    components: RuntimeComponents,
    /// Where the SDK records its requests.
    log: Option<CallLog>,
    time_limit: Option<Duration>,
    whole_limit: Option<Duration>,
    /// The address of the bucket, which a key completes, and the path in it.
    base: String,
    base_path: usize,
    host: String,
    region: String,
    service: String,
    /// By so many seconds S3's clock is ahead of this machine's.
    clock_is_off: AtomicI64,
    signing: Mutex<Option<Arc<Signing>>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route to {}", self.base)
    }
}

impl Route {
    /// The way that `request`, which names no object, takes; none where it is not signed in the plain way.
    fn of(request: &HttpRequest, components: &RuntimeComponents, config: &ConfigBag) -> Option<Self> {
        let headers = request.headers();
        let scope = headers.get("authorization")?.strip_prefix("AWS4-HMAC-SHA256 Credential=")?.split(',').next()?;
        // A session of a directory bucket is another kind of credential.
        if headers.get("x-amz-s3session-token").is_some() {
            return None;
        }
        let mut scope = scope.rsplit('/').skip(1);
        let (service, region) = (scope.next()?.to_owned(), scope.next()?.to_owned());
        let uri = request.uri();
        let address = uri.split('?').next()?.trim_end_matches('/');
        let (scheme, rest) = address.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let limits = config.load::<TimeoutConfig>();
        let settings = HttpConnectorSettings::builder();
        // The same as the SDK's, so that the connections are the same.
        let settings = match limits.and_then(TimeoutConfig::connect_timeout) {
            Some(limit) => settings.connect_timeout(limit),
            None => settings,
        };
        let settings = match limits.and_then(TimeoutConfig::read_timeout) {
            Some(limit) => settings.read_timeout(limit),
            None => settings,
        };
        Some(Self {
            connector: components.http_client()?.http_connector(&settings.build(), components),
            time_limit: limits.and_then(TimeoutConfig::operation_attempt_timeout),
            whole_limit: limits.and_then(TimeoutConfig::operation_timeout),
            base: format!("{address}/"),
            base_path: address.len() - path.len() - usize::from(!path.is_empty()),
            host: host.strip_suffix(default_port).unwrap_or(host).to_owned(),
            components: components.clone(),
            log: CallLog::of(config),
            region,
            service,
            clock_is_off: AtomicI64::new(0),
            signing: Mutex::new(None),
        })
    }

    /// What this second's requests are signed with. Credentials come from the SDK's cache, which fetches new ones before the old ones expire.
    async fn signing(&self) -> Option<Arc<Signing>> {
        let now = OffsetDateTime::now_utc().unix_timestamp() + self.clock_is_off.load(Ordering::Relaxed);
        if let Some(signing) = self.signing.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && signing.second == now
        {
            return Some(Arc::clone(signing));
        }
        let resolver = self.components.identity_resolver(AuthSchemeId::from("sigv4"))?;
        let config = ConfigBag::base();
        let identity = self.components.identity_cache();
        let identity = identity.resolve_cached_identity(resolver, &self.components, &config).await.ok()?;
        let credentials = identity.data::<Credentials>()?;
        let signing = Arc::new(Signing::new(credentials, now, &self.region, &self.service)?);
        *self.signing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&signing));
        Some(signing)
    }

    fn request(&self, signing: &Signing, key: &str, version: Option<&str>) -> Option<HttpRequest> {
        let mut uri = String::with_capacity(self.base.len() + key.len() + 64);
        uri.push_str(&self.base);
        // Writing to a string cannot fail.
        let _ = write!(uri, "{}", utf8_percent_encode(key, PATH));
        let path = uri.len();
        if let Some(version) = version {
            let _ = write!(uri, "?versionId={}", utf8_percent_encode(version, QUERY));
        }
        let query = uri.get(path + 1..).unwrap_or_default();
        let authorization = signing.authorization("HEAD", &uri[self.base_path..path], query, &self.host);
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_method("HEAD").ok()?;
        let headers = request.headers_mut();
        headers.insert("user-agent", concat!("emr-etl-guard/", env!("CARGO_PKG_VERSION")));
        headers.insert("x-amz-content-sha256", NOTHING);
        headers.try_insert("x-amz-date", signing.date.clone()).ok()?;
        if let Some(token) = &signing.token {
            headers.try_insert("x-amz-security-token", token.clone()).ok()?;
        }
        headers.try_insert("authorization", authorization).ok()?;
        request.set_uri(uri).ok()?;
        Some(request)
    }
}

/// AWS Signature Version 4 with one key, at one second. Source: Amazon S3 API reference, Signature Calculations for the Authorization Header.
struct Signing {
    second: i64,
    /// `20261125T150200Z`.
    date: String,
    /// `20261125/eu-west-1/s3/aws4_request`.
    scope: String,
    access_key: String,
    token: Option<String>,
    key: hmac::Key,
}

impl Signing {
    fn new(credentials: &Credentials, second: i64, region: &str, service: &str) -> Option<Self> {
        let date = OffsetDateTime::from_unix_timestamp(second).ok()?;
        let date = date.format(format_description!("[year][month][day]T[hour][minute][second]Z")).ok()?;
        let day = &date[..8];
        let next = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let key = next(format!("AWS4{}", credentials.secret_access_key()).as_bytes(), day);
        let key = [region, service, "aws4_request"].into_iter().fold(key, |key, text| next(key.as_ref(), text));
        Some(Self {
            second,
            scope: format!("{day}/{region}/{service}/aws4_request"),
            access_key: credentials.access_key_id().to_owned(),
            token: credentials.session_token().map(str::to_owned),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            date,
        })
    }

    fn authorization(&self, method: &str, path: &str, query: &str, host: &str) -> String {
        let (token, signed_token) = match &self.token {
            Some(token) => (format!("x-amz-security-token:{token}\n"), ";x-amz-security-token"),
            None => (String::new(), ""),
        };
        let Self { date, scope, access_key, .. } = self;
        let signed = format_args!("host;x-amz-content-sha256;x-amz-date{signed_token}").to_string();
        let canonical =
            format!("{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{NOTHING}\nx-amz-date:{date}\n{token}\n{signed}\n{NOTHING}");
        let canonical = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let signature = hex(hmac::sign(&self.key, format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}").as_bytes()).as_ref());
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sigv4::{
        http_request::{PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign},
        sign::v4::SigningParams,
    };
    use aws_smithy_runtime_api::client::identity::Identity;
    use proptest::prelude::*;
    use std::time::SystemTime;

    proptest! {
        #[test]
        fn a_signature_is_what_the_sdk_makes_of_the_same_request(
            key in "[ -~äß€]{1,40}", version in prop::option::of("[A-Za-z0-9._/+=-]{1,32}"), token in prop::option::of("[A-Za-z0-9+/=]{1,40}"), second in 0_i64..4_000_000_000,
        ) {
            let credentials = Credentials::new("AKIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token.clone(), None, "test");
            let signing = Signing::new(&credentials, second, "eu-west-1", "s3").unwrap();
            let path = format!("/{}", utf8_percent_encode(&key, PATH));
            let query = version.map_or_else(String::new, |version| format!("versionId={}", utf8_percent_encode(&version, QUERY)));
            let ours = signing.authorization("HEAD", &path, &query, "acme.s3.eu-west-1.amazonaws.com");

            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            let identity: Identity = credentials.into();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(second).unwrap());
            let parameters =
                SigningParams::builder().identity(&identity).region("eu-west-1").name("s3").time(time).settings(settings).build().unwrap().into();
            let uri = format!("https://acme.s3.eu-west-1.amazonaws.com{path}{}{query}", if query.is_empty() { "" } else { "?" });
            let request = SignableRequest::new("HEAD", &uri, std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
            let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
            let theirs = instructions.headers().find(|(name, _)| *name == "authorization").unwrap().1.to_owned();
            prop_assert_eq!(ours, theirs);
        }
    }
}
