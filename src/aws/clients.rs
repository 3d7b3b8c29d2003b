//! Access to AWS: clients, regions, time limits and the endpoint rule.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region,
    identity::IdentityCache,
    retry::RetryConfig,
    sts::{AssumeRoleProvider, AssumeRoleProviderBuilder},
    timeout::TimeoutConfig,
};
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_s3control::config::endpoint::{EndpointFuture, ResolveEndpoint};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
};
use aws_types::SdkConfig;
use tokio::sync::watch;

use crate::{
    aws::{
        answer_form::AnswerForm,
        cloudwatch::CloudWatch,
        ec2_query::Ec2,
        endpoint::{
            EndpointOverride, NOTIFICATIONS, S3_CONTROL, SERVICES, endpoint, endpoints, is_aws,
        },
        iam_query::Iam,
        log::CallLog,
        observers::{ServiceClock, Throttled},
        own_account::{OwnAccountPin, PinnedCredentials},
        patience::Patience,
        read_memory::ReadMemory,
        region::Regions,
        shared_client,
        sns_query::Sns,
        trust::{AwsConnections, AwsTrust},
    },
    base::{
        lookup::Lookup,
        names::{AccountId, BucketName},
        secret::RunnerCredentials,
    },
    settings::aws_options::{AwsOptions, CredentialSource},
    spec::observations::LauncherRoute,
};

/// A client that few runs use. It is created on first use, so that it costs no time and memory
/// before.
pub(crate) type Lazy<C> = Arc<LazyLock<C, Box<dyn FnOnce() -> C + Send>>>;

fn lazy<C>(make: impl FnOnce() -> C + Send + 'static) -> Lazy<C> {
    Arc::new(LazyLock::new(Box::new(make)))
}

/// A copy of such a client, which is created on first use, too.
fn lazy_copy<C: Send + Sync + 'static>(
    of: &Lazy<C>,
    copy: impl FnOnce(&C) -> C + Send + 'static,
) -> Lazy<C> {
    let of = Arc::clone(of);
    lazy(move || copy(&of))
}

/// Copies a client and makes the copy wait while AWS throttles.
macro_rules! patient {
    ($client:expr, $service:ident, $patience:expr) => {{
        let config = $client.config();
        let limits = $patience.limits(config.timeout_config());
        let config = config
            .to_builder()
            .timeout_config(limits)
            .retry_partition(Patience::partition())
            .interceptor($patience.clone());
        $service::Client::from_conf(patient!(@classified $service, config).build())
    }};
    (@classified aws_sdk_s3, $config:expr) => { $config.retry_classifier(SlowDown) };
    (@classified $service:ident, $config:expr) => { $config };
}

/// Copies a client and makes the copy ask `$memory` before it sends a read.
macro_rules! remembering {
    ($client:expr, $service:ident, $memory:expr) => {{
        let config = $client.config();
        let http_client = config.http_client().map(|client| $memory.before(client));
        let mut config = config.to_builder();
        config.set_http_client(http_client);
        $service::Client::from_conf(config.build())
    }};
}

/// A client that is created on first use, with the log of requests and the check of answers.
macro_rules! lazy_logged {
    ($base:expr, $calls:expr, $service:ident) => {{
        let (base, calls) = ($base.clone(), $calls.clone());
        lazy(move || {
            let config = $service::config::Builder::from(&base);
            let config = config.interceptor(calls).interceptor(AnswerForm);
            $service::Client::from_conf(config.build())
        })
    }};
}

/// The clients of one run. EMR, KMS and EC2 are called in the cluster's region, S3 in the buckets'
/// region.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(crate) emr: aws_sdk_emr::Client,
    /// The time by AWS's clock, for comparison with the dates of clusters. It is read from the
    /// answers of EMR, and of STS, which is called first.
    pub(crate) emr_clock: ServiceClock,
    /// How many times EMR has asked to slow down.
    pub(crate) emr_throttled: Throttled,
    pub(crate) sqs: Lazy<aws_sdk_sqs::Client>,
    /// SQS, SNS and EventBridge for `setup`.
    pub(crate) queues: Lazy<aws_sdk_sqs::Client>,
    pub(crate) topics: Lazy<Sns>,
    pub(crate) event_rules: Lazy<aws_sdk_eventbridge::Client>,
    /// CloudWatch for `setup`.
    pub(crate) cloudwatch: Lazy<CloudWatch>,
    pub(crate) s3: aws_sdk_s3::Client,
    /// S3 for bulk requests. If S3 asks to slow down, all of them do.
    pub(crate) s3_bulk: aws_sdk_s3::Client,
    /// The time by S3's clock.
    pub(crate) s3_clock: ServiceClock,
    /// S3's control plane.
    pub(crate) s3control: Lazy<aws_sdk_s3control::Client>,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) iam: Iam,
    pub(crate) ec2: Ec2,
    pub(crate) sts: aws_sdk_sts::Client,
    /// STS with the runner's own keys: gives the account in which clusters will be launched.
    pub(crate) runner_sts: aws_sdk_sts::Client,
    /// The log of all requests of these clients.
    pub(crate) calls: CallLog,
    /// Which authorities are trusted for AWS, and which ones the connections used.
    trust: AwsTrust,
    /// Every endpoint override for the services that a run calls.
    pub endpoints: Vec<EndpointOverride>,
    /// The override for S3's control plane.
    pub(crate) control_endpoint: Option<EndpointOverride>,
    /// The overrides for SNS, SQS, EventBridge and CloudWatch.
    notification_endpoints: Vec<EndpointOverride>,
}

impl Aws {
    /// Creates the clients. Makes no call yet, but the first call may fetch credentials.
    ///
    /// Without `runner`, the runner's credentials are unknown, and so is its account. Such clients
    /// serve only for looking at clusters.
    pub async fn connect(
        regions: &Regions,
        runner: Option<&RunnerCredentials>,
        options: &AwsOptions,
    ) -> Self {
        let runner = runner.map(static_credentials);
        let trust = AwsTrust::new(&options.allow_roots);
        let base = load(&regions.emr, options, runner.as_ref(), &trust).await;
        Self::of(&base, regions, runner, options, trust)
    }

    /// Creates the clients from `base`.
    fn of(
        base: &SdkConfig,
        regions: &Regions,
        runner: Option<Credentials>,
        options: &AwsOptions,
        trust: AwsTrust,
    ) -> Self {
        let control_endpoint = endpoint(base, S3_CONTROL, &options.allow_endpoints);
        let notification_endpoints =
            endpoints(base, NOTIFICATIONS.into_iter(), &options.allow_endpoints);
        // The endpoint of a service that is not called does not matter.
        let services = SERVICES.into_iter().chain(options.event_queue.as_ref().map(|_| "SQS"));
        let endpoints = endpoints(base, services, &options.allow_endpoints);
        let stand_in = |service: &str| {
            endpoints
                .iter()
                .any(|endpoint| endpoint.service == service && !is_aws(service, &endpoint.url))
        };
        let s3 = aws_sdk_s3::config::Builder::from(base)
            .region(Region::new(regions.s3.clone()))
            // A local stand-in for AWS has no wildcard DNS for bucket names.
            .force_path_style(stand_in("S3"))
            .build();
        let s3_clock = ServiceClock::of_s3();
        let calls = CallLog::default();
        let s3 = s3
            .to_builder()
            .interceptor(s3_clock.clone())
            .interceptor(calls.clone())
            .interceptor(AnswerForm)
            .interceptor(trust.clone())
            .build();
        let s3_bulk = bulk(&s3, options.confirm_timeout);
        let s3control = {
            let (base, region, endpoint, calls) =
                (base.clone(), regions.s3.clone(), control_endpoint.clone(), calls.clone());
            lazy(move || s3control(&base, &region, endpoint.as_ref(), &calls))
        };
        let sqs = {
            let base = base.clone();
            lazy(move || aws_sdk_sqs::Client::from_conf(waiting(&base)))
        };
        let queues = lazy_logged!(base, calls, aws_sdk_sqs);
        let event_rules = lazy_logged!(base, calls, aws_sdk_eventbridge);
        macro_rules! lazy_query {
            ($client:ident, $service:literal) => {{
                let (base, calls) = (base.clone(), calls.clone());
                let configured = configured(&notification_endpoints, $service);
                lazy(move || $client::new(&base, configured, &calls))
            }};
        }
        let topics = lazy_query!(Sns, "SNS");
        let cloudwatch = lazy_query!(CloudWatch, "CLOUDWATCH");
        let runner_sts = aws_sdk_sts::config::Builder::from(base)
            .interceptor(calls.clone())
            .interceptor(AnswerForm);
        let runner_sts = match runner {
            Some(runner) => runner_sts.credentials_provider(runner).build(),
            None => runner_sts.build(),
        };
        let emr_throttled = Throttled::default();
        let emr_clock = ServiceClock::default();
        let emr = aws_sdk_emr::config::Builder::from(base)
            .interceptor(emr_throttled.clone())
            .interceptor(emr_clock.clone())
            .interceptor(calls.clone())
            .interceptor(AnswerForm)
            .build();
        let kms = aws_sdk_kms::config::Builder::from(base)
            .interceptor(calls.clone())
            .interceptor(AnswerForm)
            .build();
        let iam = Iam::new(base, configured(&endpoints, "IAM"), &calls);
        let ec2 = Ec2::new(base, configured(&endpoints, "EC2"), &calls);
        let sts = aws_sdk_sts::config::Builder::from(base)
            .interceptor(emr_clock.clone())
            .interceptor(calls.clone())
            .interceptor(AnswerForm)
            .build();
        Self {
            emr: aws_sdk_emr::Client::from_conf(emr),
            emr_clock,
            emr_throttled,
            sqs,
            queues,
            topics,
            event_rules,
            cloudwatch,
            s3: aws_sdk_s3::Client::from_conf(s3),
            s3_bulk: aws_sdk_s3::Client::from_conf(s3_bulk),
            s3_clock,
            s3control,
            kms: aws_sdk_kms::Client::from_conf(kms),
            iam,
            ec2,
            sts: aws_sdk_sts::Client::from_conf(sts),
            runner_sts: aws_sdk_sts::Client::from_conf(runner_sts),
            calls,
            trust,
            endpoints,
            control_endpoint,
            notification_endpoints,
        }
    }

    /// Clients for the simulator at `url`, in its region and with its key for the guard. No call is
    /// retried.
    #[cfg(test)]
    pub(crate) fn for_tests(url: &str) -> Self {
        let options = AwsOptions {
            allow_endpoints: vec![url.to_owned()],
            allow_roots: Vec::new(),
            credentials: CredentialSource::Chain,
            timeout: Duration::from_mins(1),
            confirm_timeout: Duration::from_mins(1),
            event_queue: Some(url.to_owned()),
        };
        let trust = AwsTrust::new(&[]);
        let credentials = Credentials::new("AKIAGUARD", "secret", None, None, "test");
        let base = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .endpoint_url(url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(shared_client::shared_client(&trust))
            .retry_config(RetryConfig::disabled())
            .build();
        Self::of(&base, &Regions::all("eu-west-1".to_owned()), None, &options, trust)
    }

    /// The authorities that only the launcher trusts.
    pub(crate) fn private_authorities(&self) -> Option<LauncherRoute> {
        self.trust.private_authorities()
    }

    /// See [`CallLog::denies_as_a_whole`].
    pub(crate) fn denies_as_a_whole(&self, permission: &str) -> Option<&'static str> {
        self.calls.denies_as_a_whole(permission)
    }

    /// See [`CallLog::denying_services`].
    pub(crate) fn denying_services(&self) -> Vec<&'static str> {
        self.calls.denying_services()
    }

    /// The authorities of AWS's servers so far, and the proxies that were used.
    pub(crate) fn connections(&self) -> AwsConnections {
        self.trust.connections()
    }

    /// The same clients, but the calls before a launch wait while AWS throttles. Calls for the
    /// objects that a run reads do not: S3's limits for them are very high, and HEAD requests have
    /// their own rate control.
    pub(crate) fn patient(&self, patience: &Patience) -> Self {
        macro_rules! lazy_patient {
            ($client:expr) => {{
                let patience = patience.clone();
                lazy_copy(&$client, move |client| client.patient(&patience))
            }};
            ($client:expr, $service:ident) => {{
                let patience = patience.clone();
                lazy_copy(&$client, move |client| patient!(client, $service, patience))
            }};
        }
        Self {
            queues: lazy_patient!(self.queues, aws_sdk_sqs),
            topics: lazy_patient!(self.topics),
            cloudwatch: lazy_patient!(self.cloudwatch),
            event_rules: lazy_patient!(self.event_rules, aws_sdk_eventbridge),
            emr: patient!(self.emr, aws_sdk_emr, patience),
            s3: patient!(self.s3, aws_sdk_s3, patience),
            s3control: lazy_patient!(self.s3control, aws_sdk_s3control),
            kms: patient!(self.kms, aws_sdk_kms, patience),
            iam: self.iam.patient(patience),
            ec2: self.ec2.patient(patience),
            sts: patient!(self.sts, aws_sdk_sts, patience),
            runner_sts: patient!(self.runner_sts, aws_sdk_sts, patience),
            ..self.clone()
        }
    }

    /// The same clients for one look, of which each read is sent once. They must not be used for
    /// changes, nor to look at something until it changes. EC2 and CloudWatch are not among them:
    /// what they are asked is asked once.
    pub(crate) fn remembering(&self, memory: &ReadMemory) -> Self {
        macro_rules! lazy_remembering {
            ($client:expr) => {{
                let memory = memory.clone();
                lazy_copy(&$client, move |client| client.remembering(&memory))
            }};
            ($client:expr, $service:ident) => {{
                let memory = memory.clone();
                lazy_copy(&$client, move |client| remembering!(client, $service, memory))
            }};
        }
        Self {
            queues: lazy_remembering!(self.queues, aws_sdk_sqs),
            topics: lazy_remembering!(self.topics),
            event_rules: lazy_remembering!(self.event_rules, aws_sdk_eventbridge),
            emr: remembering!(self.emr, aws_sdk_emr, memory),
            s3: remembering!(self.s3, aws_sdk_s3, memory),
            s3control: lazy_remembering!(self.s3control, aws_sdk_s3control),
            kms: remembering!(self.kms, aws_sdk_kms, memory),
            iam: self.iam.remembering(memory),
            sts: remembering!(self.sts, aws_sdk_sts, memory),
            runner_sts: remembering!(self.runner_sts, aws_sdk_sts, memory),
            ..self.clone()
        }
    }

    /// The bulk client for one bucket, in the bucket's region, or in the client's own if S3 does
    /// not give it; and what S3 said about the region.
    pub(crate) async fn s3_of(&self, bucket: &BucketName) -> (aws_sdk_s3::Client, Lookup<String>) {
        let own = self.s3_bulk.config().region();
        let region = crate::aws::bucket_region::region(&self.s3, bucket).await;
        let client = match &region {
            Lookup::Found(region) if own.is_none_or(|own| own.as_ref() != region) => {
                let config = self.s3_bulk.config().to_builder().region(Region::new(region.clone()));
                aws_sdk_s3::Client::from_conf(config.build())
            }
            _ => self.s3_bulk.clone(),
        };
        (client, region)
    }

    /// Why the service of notifications with this name, as the SDK names it in variables, must not
    /// be called; none if it may.
    pub(crate) fn notification_refusal(&self, service: &str) -> Option<String> {
        let is_it =
            |endpoint: &&EndpointOverride| endpoint.service == service && !endpoint.accepted;
        self.notification_endpoints.iter().find(is_it).map(EndpointOverride::refusal)
    }

    /// The endpoints that must not be called.
    pub fn refused_endpoints(&self) -> impl Iterator<Item = &EndpointOverride> {
        self.endpoints.iter().filter(|endpoint| !endpoint.accepted)
    }
}

/// What the clients of several accounts and regions share: credentials, connections and options. No
/// region needs a connection pool or a copy of the trusted authorities of its own.
#[derive(Clone, Debug)]
pub(crate) struct SharedAccess {
    config: SdkConfig,
    options: AwsOptions,
    trust: AwsTrust,
    /// The account of the guard's own credentials.
    pin: OwnAccountPin,
}

impl SharedAccess {
    /// The access by the guard's own credentials. `region` is where STS is called for roles.
    pub(crate) async fn load(region: &str, options: &AwsOptions) -> Self {
        let trust = AwsTrust::new(&options.allow_roots);
        let config = load(region, options, None, &trust).await;
        let pin = OwnAccountPin::none();
        let config = match config.credentials_provider() {
            Some(own) => {
                let own = PinnedCredentials::new(own, config.clone(), pin.clone());
                let own = SharedCredentialsProvider::new(own);
                config.to_builder().credentials_provider(own).build()
            }
            None => config,
        };
        Self { config, options: options.clone(), trust, pin }
    }

    /// Lets the guard's own credentials be of this account alone from now on. Where their source
    /// gives those of another account, no request is sent with them, and the receiver has that
    /// account.
    pub(crate) fn pin(&self, account: &AccountId) -> watch::Receiver<Option<AccountId>> {
        self.pin.set(account)
    }

    /// The access by the credentials of `role` (an ARN), which are renewed before they expire.
    /// Nothing is called yet.
    pub(crate) async fn assuming(&self, role: &str, external_id: Option<&str>) -> Self {
        let role = AssumeRoleProvider::builder(role).session_name(ROLE_SESSION);
        let role = external_id.into_iter().fold(role, AssumeRoleProviderBuilder::external_id);
        let provider = role.configure(&self.config).build().await;
        let config = self
            .config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(provider))
            .identity_cache(IdentityCache::lazy().build())
            .build();
        let (trust, pin) = (self.trust.clone(), self.pin.clone());
        Self { config, options: self.options.clone(), trust, pin }
    }

    /// The clients of one region.
    pub(crate) fn clients(&self, region: &str) -> Aws {
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        let regions = Regions::all(region.to_owned());
        Aws::of(&config, &regions, None, &self.options, self.trust.clone())
    }
}

/// The configured endpoint of a service.
fn configured(endpoints: &[EndpointOverride], service: &str) -> Option<String> {
    let endpoint = endpoints.iter().find(|endpoint| endpoint.service == service);
    endpoint.map(|endpoint| endpoint.url.clone())
}

/// The name of the sessions in which the guard acts in other accounts. It is shown in CloudTrail.
const ROLE_SESSION: &str = "emr-etl-guard-sentinel";

/// The control plane's client. AWS puts the account before the host name; a local stand-in has no
/// wildcard DNS for that, and is called at its plain address.
fn s3control(
    base: &SdkConfig,
    region: &str,
    endpoint: Option<&EndpointOverride>,
    calls: &CallLog,
) -> aws_sdk_s3control::Client {
    let config = aws_sdk_s3control::config::Builder::from(base)
        .region(Region::new(region.to_owned()))
        .interceptor(calls.clone())
        .interceptor(AnswerForm);
    let config = match endpoint.filter(|endpoint| !is_aws(S3_CONTROL, &endpoint.url)) {
        Some(endpoint) => config.endpoint_resolver(PlainAddress(endpoint.url.clone())),
        None => config,
    };
    aws_sdk_s3control::Client::from_conf(config.build())
}

/// Resolves every call to the same address.
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

/// `config` for bulk requests that share the time `limit`. Each is tried until the time is over or
/// ten attempts have failed. All share one rate, which falls whenever S3 asks to slow down; this
/// limits the load on S3. The SDK's retry budget is meant for a few failing calls, and is not used.
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

/// SQS for long polling, which takes longer than the usual time limit for an answer.
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

/// Recognises S3's request to slow down by the status alone. The answer to a HEAD request has no
/// body with an error code, and the SDK slows down only for codes.
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

async fn load(
    region: &str,
    options: &AwsOptions,
    runner: Option<&Credentials>,
    trust: &AwsTrust,
) -> SdkConfig {
    let operation = options.timeout;
    let limits = TimeoutConfig::builder()
        .connect_timeout((operation / 4).min(Duration::from_secs(3)))
        // Three attempts must fit into the time. Otherwise a single lost packet would use all of
        // it.
        .operation_attempt_timeout(operation / 3)
        .operation_timeout(operation)
        .build();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(shared_client::shared_client(trust))
        .region(Region::new(region.to_owned()))
        .timeout_config(limits)
        .retry_config(RetryConfig::standard().with_max_backoff(operation / 6));
    match (options.credentials, runner) {
        (CredentialSource::RunnerConfig, Some(runner)) => {
            loader.credentials_provider(runner.clone()).load().await
        }
        (CredentialSource::Chain | CredentialSource::RunnerConfig, _) => loader.load().await,
    }
}

/// A client for SNS in `region`; each call may take `limit`. It is separate from the others,
/// because alerts are also sent when there are no clients yet, or no runner config.
///
/// # Errors
/// When an endpoint override is neither AWS's nor allowed.
pub(crate) async fn sns(
    region: &str,
    options: &AwsOptions,
    runner: Option<&RunnerCredentials>,
    limit: Duration,
) -> Result<Sns, String> {
    let options = AwsOptions { timeout: limit, ..options.clone() };
    let trust = AwsTrust::new(&options.allow_roots);
    let base = load(region, &options, runner.map(static_credentials).as_ref(), &trust).await;
    match endpoint(&base, "SNS", &options.allow_endpoints) {
        Some(refused) if !refused.accepted => Err(refused.refusal()),
        endpoint => {
            let configured = endpoint.map(|endpoint| endpoint.url);
            Ok(Sns::new(&base, configured, &CallLog::default()))
        }
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

/// The longest time that SQS lets a request wait for messages, in seconds.
pub(crate) const LONGEST_WAIT: u16 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_clock_is_the_latest_date_it_told() {
        let clock = ServiceClock::default();
        assert_eq!(clock.last(), None);
        for date in ["Wed, 25 Nov 2026 15:02:07 GMT", "Wed, 25 Nov 2026 15:02:05 GMT", "yesterday"]
        {
            clock.observe_date(date);
        }
        assert_eq!(clock.last(), Some(time::macros::datetime!(2026-11-25 15:02:07 UTC)));
    }
}
