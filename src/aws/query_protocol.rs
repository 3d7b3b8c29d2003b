//! The Query protocol of AWS: forms in, XML out. CloudWatch, EC2, IAM and SNS
//! are called by it.
//!
//! The SDK's clients for these services have hundreds of operations, and would take much of the
//! time of a release build. The clients here use the same runtime and parts as the SDK's other
//! clients: credentials and their cache, the Signature Version 4 signer, retries, time limits,
//! clock-skew correction, the shared HTTP client and the log of requests. Only the parts specific
//! to the protocol are written here: the endpoint, the request's form, and the answer's XML.
//!
//! EC2's variant differs in three points. Its lists are `Name.1` and `<item>`, not `Name.member.1`
//! and `<member>`; its results are in the answer's root, not in a `<…Result>`; and its errors are
//! in `<Response><Errors>`, not in an `<ErrorResponse>`. The clients know which lists and results
//! they ask for; errors are read in both forms.

mod endpoint;
mod partition;
mod service;
#[cfg(test)]
pub(crate) mod tap;
#[cfg(test)]
mod tests;
pub(in crate::aws) mod xml;

use std::{collections::BTreeSet, fmt};

use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig, SigningOptions,
        sigv4::{SCHEME_ID, SigV4AuthScheme},
    },
    invocation_id::InvocationIdInterceptor,
    recursion_detection::RecursionDetectionInterceptor,
    request_info::RequestInfoInterceptor,
    retries::classifiers::AwsErrorCodeClassifier,
    service_clock_skew::{
        DisableClockSkewCorrection, ServiceClockSkewClassifier, ServiceClockSkewInterceptor,
    },
    user_agent::{ApiMetadata, UserAgentInterceptor},
};
use aws_sdk_sts::{
    config::retry::RetryConfig,
    error::{ErrorMetadata, ProvideErrorMetadata},
};
use aws_smithy_runtime::client::{
    defaults::{DefaultPluginParams, default_plugins},
    http::connection_poisoning::ConnectionPoisoningInterceptor,
    orchestrator::invoke,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
    stalled_stream_protection::StalledStreamProtectionInterceptor,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::{AuthSchemeOptionResolverParams, static_resolver::StaticAuthSchemeOptionResolver},
        endpoint::EndpointResolverParams,
        http::SharedHttpClient,
        interceptors::context::{Error, Input, Output},
        orchestrator::{HttpRequest, HttpResponse, Metadata, OrchestratorError},
        result::SdkError,
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::{RuntimePlugins, StaticRuntimePlugin},
        ser_de::{
            DeserializeResponse, SerializeRequest, SharedRequestSerializer,
            SharedResponseDeserializer,
        },
    },
};
use aws_smithy_types::{
    body::SdkBody,
    config_bag::{ConfigBag, FrozenLayer, Layer},
    timeout::TimeoutConfig,
};
use aws_types::{
    SdkConfig, SigningName,
    region::SigningRegion,
    request_id::{RequestId, apply_request_id},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    aws::{answer_form::AnswerForm, log::CallLog, patience::Patience, read_memory::ReadMemory},
    base::aws_calls::Call,
};
pub(in crate::aws) use endpoint::EndpointSettings;
pub(in crate::aws) use partition::Partition;
pub(in crate::aws) use service::{GlobalHosts, QueryService, ServiceHosts};
use xml::{AnswerError, Element};

/// The maximum number of pages in a list. One call requests the volumes of 200 instances or 100
/// alarms, so a longer list would never end.
const MOST_PAGES: usize = 1000;
/// The characters that a form leaves unescaped.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The client of one service.
#[derive(Clone, Debug)]
pub(in crate::aws) struct QueryClient {
    service: &'static QueryService,
    plugins: RuntimePlugins,
    limits: Option<TimeoutConfig>,
    http_client: Option<SharedHttpClient>,
}

/// The result of a call.
pub(in crate::aws) type Called<T> = Result<T, SdkError<QueryError, HttpResponse>>;

impl QueryClient {
    /// A client for the region of `base`; `calls` records its requests. `configured` is the
    /// endpoint from the environment or the profile.
    pub(in crate::aws) fn new(
        service: &'static QueryService,
        base: &SdkConfig,
        configured: Option<String>,
        calls: &CallLog,
    ) -> Self {
        let region = base.region().map(ToString::to_string);
        // The clients of one partition share their retry budget, as the SDK's do.
        let partition = region
            .as_ref()
            .map_or_else(|| service.name.to_owned(), |region| format!("{}-{region}", service.name));
        let mut defaults =
            DefaultPluginParams::new().with_retry_partition_name(partition).with_is_aws_sdk(true);
        if let Some(version) = base.behavior_version() {
            defaults = defaults.with_behavior_version(version);
        }
        let endpoint = EndpointSettings {
            service,
            region,
            fips: base.use_fips().unwrap_or_default(),
            dual_stack: base.use_dual_stack().unwrap_or_default(),
            configured,
        };
        let plugin = StaticRuntimePlugin::new()
            .with_config(configuration(service, base))
            .with_runtime_components(components(service, base, endpoint, calls));
        let plugins = RuntimePlugins::new()
            .with_client_plugins(default_plugins(defaults))
            .with_client_plugin(plugin);
        let (limits, http_client) = (base.timeout_config().cloned(), base.http_client());
        Self { service, plugins, limits, http_client }
    }

    /// A copy of the client that waits while AWS throttles.
    pub(in crate::aws) fn patient(&self, patience: &Patience) -> Self {
        let mut layer = Layer::new("patience");
        layer.store_put(patience.limits(self.limits.as_ref()));
        layer.store_put(Patience::partition());
        let components =
            RuntimeComponentsBuilder::new("patience").with_interceptor(patience.clone());
        let plugin = StaticRuntimePlugin::new()
            .with_config(layer.freeze())
            .with_runtime_components(components);
        self.with(plugin)
    }

    /// A copy of the client that sends each call once.
    pub(in crate::aws) fn without_retries(&self) -> Self {
        let mut layer = Layer::new("sent once");
        layer.store_put(RetryConfig::disabled());
        self.with(StaticRuntimePlugin::new().with_config(layer.freeze()))
    }

    /// A copy of the client that asks `memory` before it sends a read.
    pub(in crate::aws) fn remembering(&self, memory: &ReadMemory) -> Self {
        let http_client = self.http_client.clone().map(|client| memory.before(client));
        let components = RuntimeComponentsBuilder::new("memory").with_http_client(http_client);
        self.with(StaticRuntimePlugin::new().with_runtime_components(components))
    }

    fn with(&self, plugin: StaticRuntimePlugin) -> Self {
        Self { plugins: self.plugins.clone().with_client_plugin(plugin), ..self.clone() }
    }

    /// Makes a call and reads its answer, from the root element on.
    pub(in crate::aws) async fn call<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        form: Form,
        read: impl Fn(&Element) -> Result<T, AnswerError> + Send + Sync + 'static,
    ) -> Called<T> {
        self.send(form, move |answer, _| read(answer)).await
    }

    /// Makes a call whose answer says no more than that the call succeeded.
    pub(in crate::aws) async fn acknowledged(&self, form: Form) -> Called<Acknowledged> {
        let read = |_: &Element, response: &HttpResponse| {
            Ok(Acknowledged { request_id: response.request_id().map(str::to_owned) })
        };
        self.send(form, read).await
    }

    /// Makes a call that makes something, of which `arn` reads the ARN.
    pub(in crate::aws) async fn created(
        &self,
        form: Form,
        arn: impl Fn(&Element) -> Result<String, AnswerError> + Send + Sync + 'static,
    ) -> Called<CreatedArn> {
        let read = move |answer: &Element, response: &HttpResponse| {
            let request_id = response.request_id().map(str::to_owned);
            Ok(CreatedArn { arn: arn(answer)?, request_id })
        };
        self.send(form, read).await
    }

    /// Reads a list to its end. `read` returns a page's items and the token for the next page.
    pub(in crate::aws) async fn pages<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        form: Form,
        read: impl Fn(&Element) -> Result<(Vec<T>, Option<String>), AnswerError>
        + Copy
        + Send
        + Sync
        + 'static,
    ) -> Called<Vec<T>> {
        let (mut items, mut tokens, mut token) = (Vec::new(), BTreeSet::new(), None::<String>);
        loop {
            let mut form = form.clone();
            if let Some(token) = &token {
                form.add("NextToken", token);
            }
            let seen = tokens.clone();
            let page = self.call(form, move |answer| {
                let (items, next) = read(answer)?;
                match next.filter(|token| !token.is_empty()) {
                    // The list would never end, or would be incomplete.
                    Some(token) if seen.contains(&token) => Err(AnswerError::RepeatedToken),
                    Some(_) if seen.len() == MOST_PAGES => Err(AnswerError::Endless),
                    next => Ok((items, next)),
                }
            });
            let (page, next) = page.await?;
            items.extend(page);
            let Some(next) = next else { return Ok(items) };
            tokens.insert(next.clone());
            token = Some(next);
        }
    }

    async fn send<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        form: Form,
        read: impl Fn(&Element, &HttpResponse) -> Result<T, AnswerError> + Send + Sync + 'static,
    ) -> Called<T> {
        let operation = form.operation;
        let mut layer = Layer::new(operation);
        layer.store_put(SharedRequestSerializer::new(FormSerializer));
        layer.store_put(SharedResponseDeserializer::new(AnswerReader { operation, read }));
        layer.store_put(Metadata::new(operation, self.service.id));
        let plugin = StaticRuntimePlugin::new().with_config(layer.freeze());
        let plugins = self.plugins.clone().with_operation_plugin(plugin);
        let output = invoke(self.service.id, operation, Input::erase(form), &plugins)
            .await
            .map_err(|error| error.map_service_error(QueryError::restored))?;
        // All outputs come from this call's `AnswerReader`, so they have this type.
        output.downcast().map_err(|_| SdkError::construction_failure("an output of another type"))
    }
}

/// The settings that the SDK's client would take from `base`.
fn configuration(service: &QueryService, base: &SdkConfig) -> FrozenLayer {
    let mut layer = Layer::new(service.id);
    layer.store_put(ApiMetadata::new(service.name, env!("CARGO_PKG_VERSION")));
    layer.store_put(SigningName::from_static(service.prefix));
    if let Some(region) = base.region() {
        layer.store_put(region.clone());
        layer.store_put(SigningRegion::from(region.clone()));
    }
    if let Some(retries) = base.retry_config() {
        layer.store_put(retries.clone());
    }
    if let Some(limits) = base.timeout_config() {
        layer.store_put(limits.clone());
    }
    if let Some(protection) = base.stalled_stream_protection() {
        layer.store_put(protection);
    }
    if let Some(is_disabled) = base.disable_clock_skew_correction() {
        layer.store_put(DisableClockSkewCorrection::from(is_disabled));
    }
    if let Some(name) = base.app_name() {
        layer.store_put(name.clone());
    }
    let mut signing_options = SigningOptions::default();
    signing_options.double_uri_encode = true;
    signing_options.content_sha256_header = false;
    signing_options.normalize_uri_path = true;
    layer.store_put(SigV4OperationSigningConfig { signing_options, ..Default::default() });
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(EndpointResolverParams::new(()));
    layer.freeze()
}

/// The parts that the SDK gives its clients.
fn components(
    service: &QueryService,
    base: &SdkConfig,
    endpoint: EndpointSettings,
    calls: &CallLog,
) -> RuntimeComponentsBuilder {
    let mut components = RuntimeComponentsBuilder::new(service.id)
        .with_http_client(base.http_client())
        .with_sleep_impl(base.sleep_impl())
        .with_time_source(Some(base.time_source().unwrap_or_default()))
        .with_endpoint_resolver(Some(endpoint))
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
            SCHEME_ID,
        ])))
        .with_interceptor(ConnectionPoisoningInterceptor::new())
        .with_interceptor(ServiceClockSkewInterceptor::new())
        .with_interceptor(RequestInfoInterceptor::new())
        .with_interceptor(UserAgentInterceptor::new())
        .with_interceptor(InvocationIdInterceptor::new())
        .with_interceptor(RecursionDetectionInterceptor::new())
        .with_interceptor(StalledStreamProtectionInterceptor::default())
        .with_interceptor(calls.clone())
        .with_interceptor(AnswerForm)
        .with_retry_classifier(HttpStatusCodeClassifier::default())
        .with_retry_classifier(TransientErrorClassifier::<QueryError>::new())
        .with_retry_classifier(AwsErrorCodeClassifier::<QueryError>::new())
        .with_retry_classifier(ServiceClockSkewClassifier::<QueryError>::new());
    if let Some(credentials) = base.credentials_provider() {
        components = components.with_identity_resolver(SCHEME_ID, credentials);
    }
    if let Some(cache) = base.identity_cache() {
        components = components.with_identity_cache(Some(cache));
    }
    components
}

/// The form-encoded body of a request.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Form {
    operation: &'static str,
    text: String,
}

impl Form {
    /// The form of a call without members.
    pub(in crate::aws) fn of(service: &QueryService, call: &Call) -> Self {
        let text = format!("Action={}&Version={}", call.operation, service.version);
        Self { operation: call.operation, text }
    }

    pub(in crate::aws) fn add(&mut self, name: &str, value: &str) {
        self.text.extend(["&", name, "="]);
        self.text.extend(utf8_percent_encode(value, FORM));
    }

    pub(in crate::aws) fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    /// Adds a list of texts, in the form that all services but EC2 have.
    pub(in crate::aws) fn add_list(
        &mut self,
        name: &str,
        texts: impl IntoIterator<Item = impl AsRef<str>>,
    ) {
        for (index, text) in texts.into_iter().enumerate() {
            self.add(&format!("{name}.member.{}", index + 1), text.as_ref());
        }
    }
}

#[derive(Debug)]
struct FormSerializer;

impl SerializeRequest for FormSerializer {
    fn serialize_input(&self, input: Input, _: &mut ConfigBag) -> Result<HttpRequest, BoxError> {
        let form: Form = input.downcast().map_err(|_| "an input that is no form")?;
        let length = form.text.len().to_string();
        let mut request = HttpRequest::new(SdkBody::from(form.text));
        request.set_method("POST")?;
        request.set_uri("/")?;
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");
        request.headers_mut().insert("content-length", length);
        Ok(request)
    }
}

/// Reads the answers to one call.
struct AnswerReader<F> {
    operation: &'static str,
    read: F,
}

impl<F> fmt::Debug for AnswerReader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerReader").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl<F, T> DeserializeResponse for AnswerReader<F>
where
    F: Fn(&Element, &HttpResponse) -> Result<T, AnswerError> + Send + Sync,
    T: fmt::Debug + Send + Sync + 'static,
{
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        if !response.status().is_success() {
            return Err(OrchestratorError::operation(Error::erase(QueryError::read(response))));
        }
        let body = response.body().bytes().unwrap_or_default();
        let answer = Element::parse(body).and_then(|root| {
            if root.name.strip_suffix("Response") == Some(self.operation) {
                (self.read)(&root, response)
            } else {
                Err(AnswerError::WrongRoot(root.name))
            }
        });
        answer.map(Output::erase).map_err(OrchestratorError::other)
    }
}

/// The answer to a call that succeeded and returns nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    request_id: Option<String>,
}

impl RequestId for Acknowledged {
    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

/// The answer to a call that made something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatedArn {
    pub(crate) arn: String,
    request_id: Option<String>,
}

impl RequestId for CreatedArn {
    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

/// An error answer: code, message and request id, as far as they are there.
#[derive(Debug)]
pub(crate) struct QueryError(ErrorMetadata);

impl QueryError {
    fn read(response: &HttpResponse) -> Self {
        let mut metadata = ErrorMetadata::builder();
        let body = response.body().bytes().unwrap_or_default();
        let root = Element::parse(body).unwrap_or_default();
        // EC2 has a list of errors, the others have one error.
        let listed = root.children.iter().filter(|child| child.name == "Errors");
        let mut each = root.children.iter().chain(listed.flat_map(|errors| &errors.children));
        if let Some(error) = each.find(|child| child.name == "Error") {
            if let Ok(Some(code)) = error.text("Code") {
                metadata = metadata.code(code);
            }
            if let Ok(Some(message)) = error.text("Message") {
                metadata = metadata.message(message);
            }
        }
        Self(apply_request_id(metadata, response.headers()).build())
    }

    /// Restores the error type that the runtime erased.
    fn restored(error: Error) -> Self {
        error.downcast().unwrap_or_else(|_| Self(ErrorMetadata::builder().build()))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for QueryError {}

impl ProvideErrorMetadata for QueryError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}
