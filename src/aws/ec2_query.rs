//! The EC2 client: seven read calls over EC2's Query protocol.
//!
//! The SDK's client for EC2 has more than seven hundred operations, and took a quarter of the time
//! of a release build. This client uses the same runtime and parts as the SDK's other clients:
//! credentials and their cache, the Signature Version 4 signer, retries, time limits, clock-skew
//! correction, the shared HTTP client and the log of requests. Only the parts specific to EC2 are
//! written here: the endpoint, the request's form, and the answer's XML. `tests/recorded.json`
//! holds what the SDK's client sent and read.

pub(crate) mod answers;
mod endpoint;
#[cfg(test)]
mod tests;
mod xml;

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
use aws_sdk_sts::error::{ErrorMetadata, ProvideErrorMetadata};
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
use aws_types::{SdkConfig, SigningName, region::SigningRegion, request_id::apply_request_id};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    aws::{answer_form::AnswerForm, log::CallLog, patience::Patience},
    base::aws_calls::{self, Call},
};
use answers::{Ec2DhcpOptions, Ec2Subnet, Ec2Volume, Ec2Vpc, VpcAttribute};
pub(super) use endpoint::EndpointSettings;
use xml::{AnswerError, Element};

/// The service's name in variables, profiles and the log of requests.
const SERVICE: &str = "EC2";
/// The API version, which every request names.
const VERSION: &str = "2016-11-15";
/// The maximum number of pages in a list. One call requests the volumes of 200 instances, so a
/// longer list would never end.
const MOST_PAGES: usize = 1000;
/// The characters that a form leaves unescaped.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct Ec2 {
    plugins: RuntimePlugins,
    limits: Option<TimeoutConfig>,
}

/// The result of a call.
type Called<T> = Result<T, SdkError<Ec2Error, HttpResponse>>;

impl Ec2 {
    /// A client for the region of `base`; `calls` records its requests. `configured` is the
    /// endpoint from the environment or the profile.
    pub(super) fn new(base: &SdkConfig, configured: Option<String>, calls: &CallLog) -> Self {
        let region = base.region().map(ToString::to_string);
        // The clients of one partition share their retry budget, as the SDK's do.
        let partition =
            region.as_ref().map_or_else(|| "ec2".to_owned(), |region| format!("ec2-{region}"));
        let mut defaults =
            DefaultPluginParams::new().with_retry_partition_name(partition).with_is_aws_sdk(true);
        if let Some(version) = base.behavior_version() {
            defaults = defaults.with_behavior_version(version);
        }
        let endpoint = EndpointSettings {
            region,
            fips: base.use_fips().unwrap_or_default(),
            dual_stack: base.use_dual_stack().unwrap_or_default(),
            configured,
        };
        let plugin = StaticRuntimePlugin::new()
            .with_config(configuration(base))
            .with_runtime_components(components(base, endpoint, calls));
        let plugins = RuntimePlugins::new()
            .with_client_plugins(default_plugins(defaults))
            .with_client_plugin(plugin);
        Self { plugins, limits: base.timeout_config().cloned() }
    }

    /// A copy of the client that waits while AWS throttles.
    pub(super) fn patient(&self, patience: &Patience) -> Self {
        let mut layer = Layer::new("patience");
        layer.store_put(patience.limits(self.limits.as_ref()));
        layer.store_put(Patience::partition());
        let components =
            RuntimeComponentsBuilder::new("patience").with_interceptor(patience.clone());
        let plugin = StaticRuntimePlugin::new()
            .with_config(layer.freeze())
            .with_runtime_components(components);
        Self {
            plugins: self.plugins.clone().with_client_plugin(plugin),
            limits: self.limits.clone(),
        }
    }

    /// Every volume attached to one of `instances`; one call takes 200 instances.
    pub(crate) async fn volumes_attached_to(&self, instances: &[String]) -> Called<Vec<Ec2Volume>> {
        let mut form = Form::of(&aws_calls::DESCRIBE_VOLUMES);
        form.add("Filter.1.Name", "attachment.instance-id");
        for (index, instance) in instances.iter().enumerate() {
            form.add(&format!("Filter.1.Value.{}", index + 1), instance);
        }
        let (mut volumes, mut tokens, mut token) = (Vec::new(), BTreeSet::new(), None::<String>);
        loop {
            let mut form = form.clone();
            if let Some(token) = &token {
                form.add("NextToken", token);
            }
            let seen = tokens.clone();
            let page = self.call(form, move |answer| {
                let page = answers::volume_page(answer)?;
                match &page.next_token {
                    // The list would never end, or would be incomplete.
                    Some(token) if seen.contains(token) => Err(AnswerError::RepeatedToken),
                    Some(_) if seen.len() == MOST_PAGES => Err(AnswerError::Endless),
                    _ => Ok(page),
                }
            });
            let page = page.await?;
            volumes.extend(page.volumes);
            match page.next_token {
                Some(next) => {
                    tokens.insert(next.clone());
                    token = Some(next);
                }
                None => return Ok(volumes),
            }
        }
    }

    /// The subnet of this id.
    pub(crate) async fn subnets(&self, id: &str) -> Called<Vec<Ec2Subnet>> {
        let form = Form::of(&aws_calls::DESCRIBE_SUBNETS).with("SubnetId.1", id);
        self.call(form, answers::subnets).await
    }

    /// The VPC of this id.
    pub(crate) async fn vpcs(&self, id: &str) -> Called<Vec<Ec2Vpc>> {
        let form = Form::of(&aws_calls::DESCRIBE_VPCS).with("VpcId.1", id);
        self.call(form, answers::vpcs).await
    }

    /// An attribute of a VPC; none if the answer lacks it.
    pub(crate) async fn vpc_attribute(
        &self,
        vpc: &str,
        attribute: VpcAttribute,
    ) -> Called<Option<bool>> {
        let form = Form::of(&aws_calls::DESCRIBE_VPC_ATTRIBUTE)
            .with("Attribute", attribute.name())
            .with("VpcId", vpc);
        self.call(form, move |answer| answers::vpc_attribute(answer, attribute)).await
    }

    /// The DHCP option set with this id.
    pub(crate) async fn dhcp_options(&self, id: &str) -> Called<Vec<Ec2DhcpOptions>> {
        let form = Form::of(&aws_calls::DESCRIBE_DHCP_OPTIONS).with("DhcpOptionsId.1", id);
        self.call(form, answers::dhcp_options).await
    }

    /// Whether the account encrypts new volumes in the region; none if the answer lacks it.
    pub(crate) async fn ebs_encryption_by_default(&self) -> Called<Option<bool>> {
        let form = Form::of(&aws_calls::GET_EBS_ENCRYPTION_BY_DEFAULT);
        self.call(form, answers::ebs_encryption_by_default).await
    }

    /// The names of the regions that are enabled for the account.
    pub(crate) async fn enabled_regions(&self) -> Called<Vec<Option<String>>> {
        self.call(Form::of(&aws_calls::DESCRIBE_REGIONS), answers::regions).await
    }

    async fn call<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        form: Form,
        read: impl Fn(&Element) -> Result<T, AnswerError> + Send + Sync + 'static,
    ) -> Called<T> {
        let operation = form.operation;
        let mut layer = Layer::new(operation);
        layer.store_put(SharedRequestSerializer::new(FormSerializer));
        layer.store_put(SharedResponseDeserializer::new(AnswerReader { operation, read }));
        layer.store_put(Metadata::new(operation, SERVICE));
        let plugin = StaticRuntimePlugin::new().with_config(layer.freeze());
        let plugins = self.plugins.clone().with_operation_plugin(plugin);
        let output = invoke(SERVICE, operation, Input::erase(form), &plugins)
            .await
            .map_err(|error| error.map_service_error(Ec2Error::restored))?;
        // All outputs come from this call's `AnswerReader`, so they have this type.
        output.downcast().map_err(|_| SdkError::construction_failure("an output of another type"))
    }
}

/// The settings that the SDK's client would take from `base`.
fn configuration(base: &SdkConfig) -> FrozenLayer {
    let mut layer = Layer::new(SERVICE);
    layer.store_put(ApiMetadata::new("ec2", env!("CARGO_PKG_VERSION")));
    layer.store_put(SigningName::from_static("ec2"));
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
    base: &SdkConfig,
    endpoint: EndpointSettings,
    calls: &CallLog,
) -> RuntimeComponentsBuilder {
    let mut components = RuntimeComponentsBuilder::new(SERVICE)
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
        .with_retry_classifier(TransientErrorClassifier::<Ec2Error>::new())
        .with_retry_classifier(AwsErrorCodeClassifier::<Ec2Error>::new())
        .with_retry_classifier(ServiceClockSkewClassifier::<Ec2Error>::new());
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
struct Form {
    operation: &'static str,
    text: String,
}

impl Form {
    fn of(call: &Call) -> Self {
        let text = format!("Action={}&Version={VERSION}", call.operation);
        Self { operation: call.operation, text }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.text.extend(["&", name, "="]);
        self.text.extend(utf8_percent_encode(value, FORM));
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
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
    F: Fn(&Element) -> Result<T, AnswerError> + Send + Sync,
    T: fmt::Debug + Send + Sync + 'static,
{
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        if !response.status().is_success() {
            return Err(OrchestratorError::operation(Error::erase(Ec2Error::read(response))));
        }
        let body = response.body().bytes().unwrap_or_default();
        let answer = Element::parse(body).and_then(|root| {
            if root.name.strip_suffix("Response") == Some(self.operation) {
                (self.read)(&root)
            } else {
                Err(AnswerError::WrongRoot(root.name))
            }
        });
        answer.map(Output::erase).map_err(OrchestratorError::other)
    }
}

/// An error answer of EC2: code, message and request id, as far as they are there.
#[derive(Debug)]
pub(crate) struct Ec2Error(ErrorMetadata);

impl Ec2Error {
    fn read(response: &HttpResponse) -> Self {
        let mut metadata = ErrorMetadata::builder();
        let body = response.body().bytes().unwrap_or_default();
        let root = Element::parse(body).unwrap_or_default();
        let errors = root.children.iter().filter(|child| child.name == "Errors");
        let mut each = errors.flat_map(|errors| &errors.children);
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

impl fmt::Display for Ec2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Ec2Error {}

impl ProvideErrorMetadata for Ec2Error {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}
