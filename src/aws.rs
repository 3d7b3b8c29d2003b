//! The way to AWS: clients, region, time limits, the endpoint rule, and `Lookup<T>`: the four
//! things that asking can end in.

pub mod calls;
pub(crate) mod log;
mod shared_client;
pub(crate) mod wire;

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_s3control::config::endpoint::{EndpointFuture, ResolveEndpoint};
use aws_sdk_sts::{config::Credentials, error::ProvideErrorMetadata};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                AfterDeserializationInterceptorContextRef,
                BeforeDeserializationInterceptorContextRef, InterceptorContext,
            },
            dyn_dispatch_hint,
        },
        orchestrator::HttpResponse,
        result::SdkError,
        retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
        runtime_components::RuntimeComponents,
    },
};
use aws_types::{SdkConfig, service_config::ServiceConfigKey};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::{
    aws::{calls::Call, log::CallLog},
    names::BucketName,
    runner_config::{RunnerConfig, RunnerCredentials},
    settings::{CredentialSource, Settings},
    watch::queue::LONGEST_WAIT,
};

/// What asking for a fact came to. These four never merge: only `Found` can prove anything, only
/// `Absent` means "not there".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup<T> {
    /// AWS answered.
    Found(T),
    /// AWS answered that there is no such thing.
    Absent,
    /// AWS refused to say.
    Denied(Obstacle),
    /// No usable answer came: network, time limit, throttling, a server error, or an answer without
    /// the fact in it.
    Unreachable(Obstacle),
}

/// What stood in the way of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
pub struct Obstacle {
    /// The permission that allows the call, such as `kms:DescribeKey`.
    pub operation: String,
    /// What AWS or the network said.
    pub message: String,
}

impl Obstacle {
    /// Whether AWS has asked to slow down.
    pub(crate) fn is_throttling(&self) -> bool {
        THROTTLING.iter().any(|code| self.message.starts_with(code))
    }
}

/// Error codes by which AWS services ask to slow down.
const THROTTLING: [&str; 5] = [
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
];

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)
    }
}

impl<T> Lookup<T> {
    /// A fact that was not asked for, because something else must be known or mended first.
    pub fn not_asked(call: &Call, why: &str) -> Self {
        Self::Unreachable(Obstacle {
            operation: call.permission.to_owned(),
            message: why.to_owned(),
        })
    }

    /// The fact, if it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }

    /// The fact itself, if it was found.
    pub fn into_found(self) -> Option<T> {
        match self {
            Self::Found(fact) => Some(fact),
            Self::Absent | Self::Denied(_) | Self::Unreachable(_) => None,
        }
    }

    /// Applies `f` to a fact that was found.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(fact) => Lookup::Found(f(fact)),
            Self::Absent => Lookup::Absent,
            Self::Denied(obstacle) => Lookup::Denied(obstacle),
            Self::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// Continues with `f` where an answer came; an answer without the expected part is
    /// `Unreachable`.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Lookup<U>) -> Lookup<U> {
        match self.map(f) {
            Lookup::Found(inner) => inner,
            Lookup::Absent => Lookup::Absent,
            Lookup::Denied(obstacle) => Lookup::Denied(obstacle),
            Lookup::Unreachable(obstacle) => Lookup::Unreachable(obstacle),
        }
    }

    /// `Found` when `answer` holds the fact, else `Unreachable`: an answer that lacks what was
    /// asked for proves nothing.
    pub fn expect_in_answer(call: &Call, answer: Option<T>) -> Self {
        answer.map_or_else(
            || Self::not_asked(call, "the answer does not hold what was asked for"),
            Self::Found,
        )
    }

    /// Sorts an SDK call's result; `absent` are the error codes with which this call says "no such
    /// thing".
    pub(crate) fn from_call<E>(
        call: &Call,
        absent: &[&str],
        result: Result<T, SdkError<E, HttpResponse>>,
    ) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let error = match result {
            Ok(answer) => return Self::Found(answer),
            Err(error) => error,
        };
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        let status = error.raw_response().map(|response| response.status().as_u16());
        let obstacle =
            Obstacle { operation: call.permission.to_owned(), message: describe(&error) };
        if code.is_some_and(|code| absent.contains(&code))
            || (status == Some(404) && absent.contains(&"404"))
        {
            Self::Absent
        } else if code.is_some_and(is_denial)
            || (code.is_none() && matches!(status, Some(401 | 403)))
        {
            Self::Denied(obstacle)
        } else {
            Self::Unreachable(obstacle)
        }
    }
}

/// Error codes by which AWS services refuse a caller.
fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "AuthFailure"
            | "AuthorizationError"
            | "Forbidden"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "AllAccessDisabled"
            | "OptInRequired"
    )
}

/// One line of what went wrong, without the SDK's internal vocabulary.
pub(crate) fn describe<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            match (service.err().code(), service.err().message()) {
                (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
                (Some(code), _) => format!("{code} (HTTP {status})"),
                (None, _) => format!("HTTP {status}"),
            }
        }
        SdkError::TimeoutError(_) => "no answer within the time limit".to_owned(),
        SdkError::DispatchFailure(failure) => {
            if failure.is_timeout() {
                return "no answer within the time limit".to_owned();
            }
            let cause = failure.as_connector_error().map_or_else(
                || "the request could not be sent".to_owned(),
                |error| innermost(error),
            );
            format!("cannot be reached: {cause}")
        }
        SdkError::ResponseError(response) => {
            format!("the answer (HTTP {}) cannot be read", response.raw().status().as_u16())
        }
        SdkError::ConstructionFailure(_) => "the request could not be made".to_owned(),
        _ => "the call failed".to_owned(),
    }
}

/// The last cause in an error's chain: for a connection that is the operating system's word.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// An endpoint that something made the SDK use instead of AWS's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Endpoint {
    /// The service.
    pub service: String,
    /// The URL.
    pub url: String,
    /// Whether it is AWS's own, or allowed by the settings.
    pub accepted: bool,
}

impl Endpoint {
    /// Why nothing is asked there.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "the endpoint {} is not AWS's; allow it in `allow_endpoints`, or unset it",
            self.url
        )
    }
}

/// The services, as the SDK names them in variables and profiles.
const SERVICES: [&str; 6] = ["S3", "EMR", "KMS", "IAM", "EC2", "STS"];
/// S3's control plane, which has Batch Operations; a run asks it only where a bucket's own public
/// access block is not whole, and takes no answer from an endpoint that is not accepted.
const S3_CONTROL: &str = "S3_CONTROL";

/// Where the clients ask: the cluster's region, and the buckets'.
#[derive(Clone, Debug)]
pub struct Regions {
    /// `aws.emr.region`.
    pub emr: String,
    /// `aws.s3.region`.
    pub s3: String,
}

impl Regions {
    /// What a runner config names.
    pub(crate) fn of(config: &RunnerConfig) -> Self {
        Self { emr: config.emr_region.value.clone(), s3: config.s3_region.value.clone() }
    }

    /// One region for all.
    pub(crate) fn all(region: String) -> Self {
        Self { emr: region.clone(), s3: region }
    }

    /// What the config names; without one, what environment or profile name, and where neither
    /// does, the region where every bucket's own can be asked.
    pub(crate) async fn of_config_or_default(config: Option<&RunnerConfig>) -> Self {
        match config {
            Some(config) => Self::of(config),
            None => Self::all(region().await.unwrap_or_else(|_| "us-east-1".to_owned())),
        }
    }
}

/// A client that few runs use: what nobody asks costs no time before a launch, and no memory.
pub(crate) type MadeWhenUsed<C> = Arc<LazyLock<C, Box<dyn FnOnce() -> C + Send>>>;

fn made_when_used<C>(make: impl FnOnce() -> C + Send + 'static) -> MadeWhenUsed<C> {
    Arc::new(LazyLock::new(Box::new(make)))
}

/// The clients of one run. EMR, KMS and EC2 are asked in the cluster's region, S3 in the buckets'.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(crate) emr: aws_sdk_emr::Client,
    /// How often EMR has asked to slow down.
    pub(crate) emr_throttled: Throttled,
    pub(crate) sqs: MadeWhenUsed<aws_sdk_sqs::Client>,
    pub(crate) s3: aws_sdk_s3::Client,
    /// S3 for very many calls: where S3 asks to slow down, all of them do.
    pub(crate) s3_bulk: aws_sdk_s3::Client,
    /// What S3 says the time is.
    pub(crate) s3_clock: ServiceClock,
    /// S3's control plane.
    pub(crate) s3control: MadeWhenUsed<aws_sdk_s3control::Client>,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    /// STS under the runner's own keys: says in which account clusters will be launched.
    pub(crate) runner_sts: aws_sdk_sts::Client,
    /// Every request of these clients.
    pub(crate) calls: CallLog,
    /// Every endpoint override in force, of what a run asks.
    pub endpoints: Vec<Endpoint>,
    /// That of S3's control plane.
    pub(crate) control_endpoint: Option<Endpoint>,
}

impl Aws {
    /// Makes the clients; asks nothing yet (but credentials may be fetched by the first call).
    ///
    /// Without `runner`, whose credentials are then not known, nobody can tell who the runner is:
    /// such a client is for looking at clusters alone.
    pub async fn connect(
        regions: &Regions,
        runner: Option<&RunnerCredentials>,
        settings: &Settings,
    ) -> Self {
        let runner = runner.map(static_credentials);
        let base = load(&regions.emr, settings, runner.as_ref()).await;
        let control_endpoint = endpoint(&base, S3_CONTROL, &settings.allow_endpoints);
        // A service that is not asked may be anywhere.
        let services = SERVICES.into_iter().chain(settings.event_queue.as_ref().map(|_| "SQS"));
        let endpoints = endpoints(&base, services, &settings.allow_endpoints);
        let stand_in = |service: &str| {
            endpoints.iter().any(|endpoint| endpoint.service == service && !is_aws(&endpoint.url))
        };
        let s3 = aws_sdk_s3::config::Builder::from(&base)
            .region(Region::new(regions.s3.clone()))
            // A stand-in has no wildcard DNS for bucket names.
            .force_path_style(stand_in("S3"))
            .build();
        let s3_clock = ServiceClock::default();
        let calls = CallLog::default();
        let s3 = s3.to_builder().interceptor(s3_clock.clone()).interceptor(calls.clone()).build();
        let s3_bulk = bulk(&s3, settings.confirm_timeout);
        let s3control = {
            let (base, region, endpoint, calls) =
                (base.clone(), regions.s3.clone(), control_endpoint.clone(), calls.clone());
            made_when_used(move || s3control(&base, &region, endpoint.as_ref(), &calls))
        };
        let sqs = {
            let base = base.clone();
            made_when_used(move || aws_sdk_sqs::Client::from_conf(waiting(&base)))
        };
        let runner_sts = aws_sdk_sts::config::Builder::from(&base).interceptor(calls.clone());
        let runner_sts = match runner {
            Some(runner) => runner_sts.credentials_provider(runner).build(),
            None => runner_sts.build(),
        };
        let emr_throttled = Throttled::default();
        let emr = aws_sdk_emr::config::Builder::from(&base)
            .interceptor(emr_throttled.clone())
            .interceptor(calls.clone())
            .build();
        let kms = aws_sdk_kms::config::Builder::from(&base).interceptor(calls.clone()).build();
        let iam = aws_sdk_iam::config::Builder::from(&base).interceptor(calls.clone()).build();
        let ec2 = aws_sdk_ec2::config::Builder::from(&base).interceptor(calls.clone()).build();
        let sts = aws_sdk_sts::config::Builder::from(&base).interceptor(calls.clone()).build();
        Self {
            emr: aws_sdk_emr::Client::from_conf(emr),
            emr_throttled,
            sqs,
            s3: aws_sdk_s3::Client::from_conf(s3),
            s3_bulk: aws_sdk_s3::Client::from_conf(s3_bulk),
            s3_clock,
            s3control,
            kms: aws_sdk_kms::Client::from_conf(kms),
            iam: aws_sdk_iam::Client::from_conf(iam),
            ec2: aws_sdk_ec2::Client::from_conf(ec2),
            sts: aws_sdk_sts::Client::from_conf(sts),
            runner_sts: aws_sdk_sts::Client::from_conf(runner_sts),
            calls,
            endpoints,
            control_endpoint,
        }
    }

    /// The bulk client for one bucket, in the region where the bucket is; in the client's own,
    /// where S3 does not say.
    pub(crate) async fn s3_of(&self, bucket: &BucketName) -> aws_sdk_s3::Client {
        let own = self.s3_bulk.config().region();
        match crate::facts::s3::region(&self.s3, bucket).await {
            Lookup::Found(region) if own.is_none_or(|own| own.as_ref() != region) => {
                aws_sdk_s3::Client::from_conf(
                    self.s3_bulk.config().to_builder().region(Region::new(region)).build(),
                )
            }
            _ => self.s3_bulk.clone(),
        }
    }

    /// The endpoints that must not be talked to.
    pub fn refused_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|endpoint| !endpoint.accepted)
    }
}

/// The control plane's client. AWS's own endpoints bear the account before their names; a stand-in
/// has no wildcard DNS for that, and is asked at its plain address.
fn s3control(
    base: &SdkConfig,
    region: &str,
    endpoint: Option<&Endpoint>,
    calls: &CallLog,
) -> aws_sdk_s3control::Client {
    let config = aws_sdk_s3control::config::Builder::from(base)
        .region(Region::new(region.to_owned()))
        .interceptor(calls.clone());
    let config = match endpoint.filter(|endpoint| !is_aws(&endpoint.url)) {
        Some(endpoint) => config.endpoint_resolver(PlainAddress(endpoint.url.clone())),
        None => config,
    };
    aws_sdk_s3control::Client::from_conf(config.build())
}

/// Resolves every call to one address.
#[derive(Debug)]
struct PlainAddress(String);

impl ResolveEndpoint for PlainAddress {
    fn resolve_endpoint<'a>(
        &'a self,
        _: &'a aws_sdk_s3control::config::endpoint::Params,
    ) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(aws_sdk_s3control::config::endpoint::Endpoint::builder()
            .url(self.0.clone())
            .build()))
    }
}

/// `config` for very many calls that have `limit` together: each is tried until that is over or it
/// has failed ten times, and they share one rate, which falls whenever S3 asks for that. The SDK's
/// budget for retries is for a few calls that fail; here the rate is what spares S3.
fn bulk(config: &aws_sdk_s3::Config, limit: Duration) -> aws_sdk_s3::Config {
    let partition = RetryPartition::custom("bulk").token_bucket(TokenBucket::unlimited()).build();
    let limits = config
        .timeout_config()
        .map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder)
        .operation_timeout(limit);
    config
        .to_builder()
        .retry_config(
            RetryConfig::adaptive().with_max_attempts(10).with_max_backoff(Duration::from_secs(5)),
        )
        .retry_partition(partition)
        .retry_classifier(SlowDown)
        .timeout_config(limits.build())
        .build()
}

/// SQS for requests that wait for messages: that takes longer than an answer may otherwise take.
fn waiting(base: &SdkConfig) -> aws_sdk_sqs::Config {
    let wait = Duration::from_secs(u64::from(LONGEST_WAIT));
    let config = aws_sdk_sqs::config::Builder::from(base);
    let limits =
        base.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let attempt =
        base.timeout_config().and_then(TimeoutConfig::operation_attempt_timeout).unwrap_or(wait)
            + wait;
    config
        .timeout_config(
            limits.operation_attempt_timeout(attempt).operation_timeout(attempt * 2).build(),
        )
        .build()
}

/// Tells S3's wish to slow down by the status alone: the answer to a HEAD has no body, where the
/// error's code would stand, and the SDK slows down for codes only.
#[derive(Debug)]
struct SlowDown;

impl ClassifyRetry for SlowDown {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().map(|response| response.status().as_u16()) {
            Some(429 | 503) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "SlowDown"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::http_status_code_classifier())
    }
}

/// A service's clock, as the `Date` of its answers tells it. Objects are dated by that clock, so
/// that only it can say which are from before a moment: this machine's own may be off by any
/// amount.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceClock(Arc<Mutex<Option<OffsetDateTime>>>);

impl ServiceClock {
    /// The latest time that an answer bore, to the second; none before the first answer.
    pub(crate) fn last(&self) -> Option<OffsetDateTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, date: &str) {
        let Ok(date) = OffsetDateTime::parse(date, &Rfc2822) else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // `None` is before every time.
        *last = (*last).max(Some(date));
    }
}

#[dyn_dispatch_hint]
impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut aws_sdk_s3::config::ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.hear(date);
        }
        Ok(())
    }
}

/// How often a service has asked to slow down, each attempt counted: the SDK tries again by itself,
/// so that a call can succeed and still have been throttled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Throttled(Arc<AtomicU64>);

impl Throttled {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Throttled {
    fn name(&self) -> &'static str {
        "Throttled"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut aws_sdk_s3::config::ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default();
        let says = |code: &&str| body.windows(code.len()).any(|window| window == code.as_bytes());
        // An answer of this kind is short; data of anybody's own is only in those that went well.
        if !response.status().is_success() && THROTTLING.iter().any(says) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Nothing on this machine says which certificate authorities to trust.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "nothing was launched: AWS cannot be asked, because this machine has no CA certificates; install the package ca-certificates, or name a bundle in SSL_CERT_FILE"
)]
pub struct NoTrust;

/// Nobody says in which region to ask.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no region: name the clusters' region in AWS_REGION or in the AWS profile, or give a runner config behind `--`"
)]
pub struct NoRegion;

/// The region that environment, profile or instance name.
///
/// # Errors
/// [`NoRegion`].
pub(crate) async fn region() -> Result<String, NoRegion> {
    let region = aws_config::meta::region::RegionProviderChain::default_provider().region().await;
    region.map(|region| region.to_string()).ok_or(NoRegion)
}

/// Whether there is anything to know AWS by: without it every call would fail, in words that do not
/// help.
///
/// # Errors
/// [`NoTrust`].
pub fn has_trust() -> Result<(), NoTrust> {
    // The first certificate of one file tells nearly everywhere; the hundreds of others are read
    // once, when they are needed.
    let bundle =
        openssl_probe::probe().cert_file.filter(|_| std::env::var_os("SSL_CERT_DIR").is_none());
    let is_one = |bundle| {
        CertificateDer::pem_file_iter(bundle)
            .is_ok_and(|mut certificates| certificates.any(|certificate| certificate.is_ok()))
    };
    if bundle.is_some_and(is_one) || !rustls_native_certs::load_native_certs().certs.is_empty() {
        Ok(())
    } else {
        Err(NoTrust)
    }
}

async fn load(region: &str, settings: &Settings, runner: Option<&Credentials>) -> SdkConfig {
    let operation = settings.aws_timeout;
    let limits = TimeoutConfig::builder()
        .connect_timeout((operation / 4).min(Duration::from_secs(3)))
        // Three attempts must fit, or a single lost packet would use the whole time up.
        .operation_attempt_timeout(operation / 3)
        .operation_timeout(operation)
        .build();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(shared_client::shared_client())
        .region(Region::new(region.to_owned()))
        .timeout_config(limits)
        .retry_config(RetryConfig::standard().with_max_backoff(operation / 6));
    match (settings.credentials, runner) {
        (CredentialSource::RunnerConfig, Some(runner)) => {
            loader.credentials_provider(runner.clone()).load().await
        }
        (CredentialSource::Chain | CredentialSource::RunnerConfig, _) => loader.load().await,
    }
}

/// The endpoint overrides that environment and profile put in force, per service.
fn endpoints(
    base: &SdkConfig,
    services: impl Iterator<Item = &'static str>,
    allowed: &[String],
) -> Vec<Endpoint> {
    services.filter_map(|service| endpoint(base, service, allowed)).collect()
}

/// The endpoint override that is in force for one service.
fn endpoint(base: &SdkConfig, service: &str, allowed: &[String]) -> Option<Endpoint> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let own = base.service_config().and_then(|config| config.load_config(key));
    let url = own.or_else(|| base.endpoint_url().map(ToOwned::to_owned))?;
    let accepted = is_aws(&url) || allowed.iter().any(|origin| same_origin(origin, &url));
    Some(Endpoint { service: service.to_owned(), url, accepted })
}

/// A client for SNS in `region`, each of whose calls may take `limit`. Apart from the others:
/// alerts go out where there are no clients yet, or no runner config.
///
/// # Errors
/// When an endpoint is in force that is neither AWS's nor allowed.
pub(crate) async fn sns(
    region: &str,
    settings: &Settings,
    runner: Option<&RunnerCredentials>,
    limit: Duration,
) -> Result<aws_sdk_sns::Client, String> {
    let limits = Settings { aws_timeout: limit, ..settings.clone() };
    let base = load(region, &limits, runner.map(static_credentials).as_ref()).await;
    match endpoint(&base, "SNS", &settings.allow_endpoints) {
        Some(refused) if !refused.accepted => Err(refused.refusal()),
        _ => Ok(aws_sdk_sns::Client::new(&base)),
    }
}

fn static_credentials(runner: &RunnerCredentials) -> Credentials {
    Credentials::new(
        runner.access_key_id.reveal().clone(),
        runner.secret_access_key.reveal().clone(),
        None,
        None,
        "runner-config",
    )
}

/// `scheme://host[:port]` of a URL, in lower case.
fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // `user@` before the host could make a foreign host look like an allowed one.
    (!authority.is_empty() && !authority.contains('@'))
        .then(|| (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

fn same_origin(a: &str, b: &str) -> bool {
    matches!((origin(a), origin(b)), (Some(a), Some(b)) if a == b)
}

/// Whether a URL is one of AWS's own, over TLS (private endpoints lie below the same names).
fn is_aws(url: &str) -> bool {
    let Some((scheme, authority)) = origin(url) else { return false };
    let host = authority.strip_suffix(":443").unwrap_or(&authority);
    scheme == "https"
        && [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
            .iter()
            .any(|suffix| host.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aws_over_tls_counts_as_aws() {
        for url in [
            "https://s3.eu-west-1.amazonaws.com",
            "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com/",
            "https://kms.eu-west-1.api.aws:443",
        ] {
            assert!(is_aws(url), "{url}");
        }
        for url in [
            "http://s3.amazonaws.com",
            "https://amazonaws.com.evil.example",
            "https://evil.example/.amazonaws.com",
            "https://x@evil.example#.amazonaws.com",
            "s3.amazonaws.com",
        ] {
            assert!(!is_aws(url), "{url}");
        }
    }

    #[test]
    fn a_services_clock_is_the_latest_date_it_told() {
        let clock = ServiceClock::default();
        assert_eq!(clock.last(), None);
        for date in ["Wed, 25 Nov 2026 15:02:07 GMT", "Wed, 25 Nov 2026 15:02:05 GMT", "yesterday"]
        {
            clock.hear(date);
        }
        assert_eq!(clock.last(), Some(time::macros::datetime!(2026-11-25 15:02:07 UTC)));
    }

    #[test]
    fn an_endpoint_is_allowed_by_its_whole_origin() {
        assert!(same_origin("http://127.0.0.1:5000", "http://127.0.0.1:5000/path"));
        for other in [
            "http://127.0.0.1:5001",
            "https://127.0.0.1:5000",
            "http://127.0.0.1:5000@evil.example/",
        ] {
            assert!(!same_origin("http://127.0.0.1:5000", other), "{other}");
        }
    }
}
