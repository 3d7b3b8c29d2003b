//! The log of a run's AWS requests: which operation, when, on which subject, and with which AWS
//! request id. Its size is bounded, however many requests there are.
//!
//! A fact has no direct reference to its request. Both have the operation and the subject (a
//! bucket, a key, a cluster), by which they can be matched.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_sts::config::ConfigBag;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
                FinalizerInterceptorContextRef,
            },
            dyn_dispatch_hint,
        },
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::aws::answer_form::REQUEST_IDS;

/// How many requests of one operation are kept from the beginning; before a launch that is all of
/// them.
const FIRST: usize = 64;
/// How many are kept from the end.
const LAST: usize = 16;
/// How many failed ones are kept in addition.
const FAILED: usize = 64;

/// One request, its retries included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Request")]
pub struct LoggedRequest {
    /// When it was started, by this machine's clock.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "crate::base::time_format::Rfc3339")]
    pub started: OffsetDateTime,
    /// Its subject: a bucket or an object (`s3://…`), a cluster, a key, a role.
    pub subject: Option<String>,
    /// AWS's id of the last attempt.
    pub request_id: Option<String>,
    /// The HTTP status of the last answer; none if there was no answer.
    pub status: Option<u16>,
    /// How many times it was sent.
    pub attempts: u32,
}

impl LoggedRequest {
    fn answered(&mut self, response: &HttpResponse) {
        self.status = Some(response.status().as_u16());
        self.request_id = request_id(response);
    }

    fn failed(&self) -> bool {
        self.status.is_none_or(|status| status >= 400)
    }
}

/// The requests of one operation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Calls")]
pub struct OperationCalls {
    /// The service, as the SDK names it: `S3`, `EMR`.
    pub service: String,
    /// The operation, such as `GetBucketEncryption`.
    pub operation: String,
    /// How many requests there were.
    pub count: u64,
    /// How many of them got no answer or an error. `Absent` is an error in HTTP.
    pub failed: u64,
    /// How many times they were sent, all together.
    pub attempts: u64,
    /// The first ones, the last ones, and failed ones, each up to a limit.
    pub kept: Vec<LoggedRequest>,
}

#[derive(Debug, Default)]
struct CallTally {
    count: u64,
    failed: u64,
    attempts: u64,
    first: Vec<LoggedRequest>,
    failures: Vec<LoggedRequest>,
    last: VecDeque<LoggedRequest>,
}

impl CallTally {
    fn add(&mut self, request: LoggedRequest) {
        self.count += 1;
        self.attempts += u64::from(request.attempts);
        let failed = request.failed();
        self.failed += u64::from(failed);
        if self.first.len() < FIRST {
            self.first.push(request);
            return;
        }
        self.last.push_back(request);
        if self.last.len() > LAST
            && let Some(request) = self.last.pop_front()
            && request.failed()
            && self.failures.len() < FAILED
        {
            self.failures.push(request);
        }
    }

    fn kept(&self) -> Vec<LoggedRequest> {
        let mut kept: Vec<LoggedRequest> =
            self.first.iter().chain(&self.failures).chain(&self.last).cloned().collect();
        kept.sort_by_key(|request| request.started);
        kept
    }
}

/// Service and operation.
type Name = (Cow<'static, str>, Cow<'static, str>);

/// The services by their names in the SDK, with the prefixes of their permissions.
const PREFIXES: [(&str, &str); 5] =
    [("EC2", "ec2"), ("EMR", "elasticmapreduce"), ("IAM", "iam"), ("KMS", "kms"), ("S3", "s3")];

/// The log. Clones share one list. A clone is an interceptor in each client whose requests it
/// records.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallLog(Arc<Mutex<BTreeMap<Name, CallTally>>>);

impl CallLog {
    /// The requests so far, by service and operation.
    pub(crate) fn calls(&self) -> Vec<OperationCalls> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies
            .iter()
            .map(|((service, operation), tally)| OperationCalls {
                service: service.to_string(),
                operation: operation.to_string(),
                count: tally.count,
                failed: tally.failed,
                attempts: tally.attempts,
                kept: tally.kept(),
            })
            .collect()
    }

    /// The services whose calls so far were all answered with a status of denial, by the prefix of
    /// their permissions. Only the errors' codes show whether it was a denial.
    pub(crate) fn denying_services(&self) -> Vec<&'static str> {
        let calls = self.calls();
        let denies = |service: &str| {
            let mut of_service = calls.iter().filter(|calls| calls.service == service).peekable();
            of_service.peek().is_some()
                && of_service.all(|calls| {
                    calls.kept.iter().all(|call| matches!(call.status, Some(400 | 403)))
                })
        };
        let denying = PREFIXES.into_iter().filter(|(service, _)| denies(service));
        denying.map(|(_, prefix)| prefix).collect()
    }

    /// The service of a denied permission, if it has denied every call so far, of two operations at
    /// least: one operation alone proves nothing about the others.
    pub(crate) fn denies_as_a_whole(&self, permission: &str) -> Option<&'static str> {
        let (service, prefix) = PREFIXES
            .into_iter()
            .find(|(_, prefix)| permission.split(':').next() == Some(prefix))?;
        let kinds = self.calls().iter().filter(|calls| calls.service == service).count();
        (kinds > 1 && self.denying_services().contains(&prefix)).then_some(prefix)
    }

    /// The log in which a client records its requests.
    pub(super) fn of(cfg: &ConfigBag) -> Option<Self> {
        cfg.load::<Pending>().map(|pending| pending.log.clone())
    }

    /// Starts the record of a request to S3 that is sent without an SDK client.
    pub(super) fn begin(&self, operation: &'static str, subject: String) -> PendingS3Request<'_> {
        let request = LoggedRequest {
            started: OffsetDateTime::now_utc(),
            subject: Some(subject),
            request_id: None,
            status: None,
            attempts: 1,
        };
        PendingS3Request { log: self, operation, request: Some(request) }
    }

    fn add(&self, name: Name, request: LoggedRequest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().add(request);
    }
}

/// A pending request. It is recorded when it is dropped, since a cancelled request ends in no other
/// way.
#[derive(Debug)]
pub(super) struct Pending {
    log: CallLog,
    state: Mutex<(Name, LoggedRequest)>,
}

impl Storable for Pending {
    type Storer = StoreReplace<Self>;
}

impl Drop for Pending {
    fn drop(&mut self) {
        let (name, request) = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).clone();
        self.log.add(name, request);
    }
}

/// A pending request to S3, recorded when it is dropped, like a `Pending`. It is cheaper, because
/// there are very many of them.
pub(super) struct PendingS3Request<'a> {
    log: &'a CallLog,
    operation: &'static str,
    request: Option<LoggedRequest>,
}

impl PendingS3Request<'_> {
    /// Notes the answer.
    pub(super) fn answered(&mut self, status: u16, request_id: Option<&str>) {
        if let Some(request) = &mut self.request {
            request.status = Some(status);
            request.request_id = request_id.map(str::to_owned);
        }
    }
}

impl Drop for PendingS3Request<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.log.add((Cow::Borrowed("S3"), Cow::Borrowed(self.operation)), request);
        }
    }
}

impl Pending {
    fn change(cfg: &ConfigBag, change: impl FnOnce(&mut LoggedRequest)) {
        if let Some(pending) = cfg.load::<Self>() {
            change(&mut pending.state.lock().unwrap_or_else(PoisonError::into_inner).1);
        }
    }
}

#[dyn_dispatch_hint]
impl Intercept for CallLog {
    fn name(&self) -> &'static str {
        "CallLog"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = LoggedRequest {
            started: OffsetDateTime::now_utc(),
            subject: None,
            request_id: None,
            status: None,
            attempts: 0,
        };
        cfg.interceptor_state().store_put(Pending {
            log: self.clone(),
            state: Mutex::new((Name::default(), request)),
        });
        Ok(())
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The operation is known only now.
        if let (Some(pending), Some(metadata)) = (cfg.load::<Pending>(), cfg.load::<Metadata>()) {
            pending.state.lock().unwrap_or_else(PoisonError::into_inner).0 =
                (metadata.service().to_owned().into(), metadata.name().to_owned().into());
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Pending::change(cfg, |request| {
            request.attempts += 1;
            request.status = None;
            request.request_id = None;
            if request.subject.is_none() {
                request.subject = subject(context.request());
            }
        });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Pending::change(cfg, |request| {
            if let Some(response) = context.response() {
                request.answered(response);
            }
        });
        Ok(())
    }
}

/// AWS's id of a request.
fn request_id(response: &HttpResponse) -> Option<String> {
    REQUEST_IDS.iter().find_map(|name| response.headers().get(*name)).map(ToOwned::to_owned)
}

/// The members of a request that name its subject. A request without any of them has no subject.
const MEMBERS: [&str; 14] = [
    "ClusterId",
    "JobFlowIds",
    "KeyId",
    "Name",
    "RoleName",
    "InstanceProfileName",
    "PolicySourceArn",
    "SubnetId",
    "VpcId",
    "DhcpOptionsId",
    "TopicArn",
    "QueueUrl",
    "AlarmName",
    "AlarmNames",
];

/// The subject of a request. S3 has it in the path, the other services in the body.
fn subject(request: &HttpRequest) -> Option<String> {
    let uri = request.uri();
    let (_, rest) = uri.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let body = request.body().bytes().unwrap_or_default();
    if let Some(form) = std::str::from_utf8(body).ok().filter(|body| body.starts_with("Action=")) {
        return of_form(form);
    }
    if request.headers().get("x-amz-target").is_some() {
        return of_json(body);
    }
    of_path(authority, path)
}

fn of_form(form: &str) -> Option<String> {
    let members = || form.split('&').filter_map(|pair| pair.split_once('='));
    let named = |name: &str| {
        members()
            .find(|(key, _)| key.split('.').next() == Some(name))
            .map(|(_, value)| decoded(value))
    };
    MEMBERS.iter().find_map(|name| named(name))
}

fn of_json(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    MEMBERS.iter().find_map(|name| match body.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(several) => {
            Some(several.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    })
}

/// The subject `s3://bucket/key`, or `s3://bucket/prefix` for a list.
fn of_path(authority: &str, path_and_query: &str) -> Option<String> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = path.trim_start_matches('/');
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let is_aws = [".amazonaws.com", ".amazonaws.eu"].iter().any(|name| authority.contains(name));
    let place = match authority.split_once(".s3").filter(|_| is_aws) {
        Some((bucket, _)) => format!("{bucket}/{path}"),
        None => path.to_owned(),
    };
    let place =
        if prefix.is_empty() { place } else { format!("{}/{prefix}", place.trim_end_matches('/')) };
    (!place.trim_matches('/').is_empty()).then(|| format!("s3://{}", decoded(&place)))
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(second: i64, status: Option<u16>) -> LoggedRequest {
        let started = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
        LoggedRequest { started, subject: None, request_id: None, status, attempts: 2 }
    }

    #[test]
    fn a_hundred_thousand_requests_take_no_more_room_than_a_hundred_and_their_failures_stay() {
        let log = CallLog::default();
        let name = (Cow::Borrowed("S3"), Cow::Borrowed("HeadObject"));
        for second in 0..100_000 {
            let status = match second {
                50_000 => Some(403),
                60_000 => None,
                _ => Some(200),
            };
            log.add(name.clone(), request(second, status));
        }
        let calls = log.calls();
        assert_eq!((calls[0].count, calls[0].failed, calls[0].attempts), (100_000, 2, 200_000));
        let kept: Vec<i64> =
            calls[0].kept.iter().map(|request| request.started.unix_timestamp()).collect();
        let wanted: Vec<i64> = (0..64).chain([50_000, 60_000]).chain(99_984..100_000).collect();
        assert_eq!(kept, wanted);
        // Even if all requests fail.
        for second in 0..100_000 {
            log.add(name.clone(), request(second, Some(503)));
        }
        assert_eq!(log.calls()[0].kept.len(), FIRST + FAILED + LAST);
    }

    #[test]
    fn what_a_request_is_about_is_told_by_path_form_or_body() {
        for (authority, path, wanted) in [
            ("acme.s3.eu-west-1.amazonaws.com", "/?encryption", Some("s3://acme/")),
            ("acme.s3.eu-west-1.amazonaws.com", "/a/b%20c", Some("s3://acme/a/b c")),
            (
                "acme.s3.eu-west-1.amazonaws.com",
                "/?list-type=2&prefix=logs%2F",
                Some("s3://acme/logs/"),
            ),
            ("s3.eu-west-1.amazonaws.com", "/a.s3.b/key", Some("s3://a.s3.b/key")),
            ("127.0.0.1:5000", "/acme/?list-type=2&prefix=x", Some("s3://acme/x")),
            ("127.0.0.1:5000", "/", None),
        ] {
            assert_eq!(of_path(authority, path).as_deref(), wanted, "{authority}{path}");
        }
        assert_eq!(
            of_form("Action=DescribeSubnets&Version=1&SubnetId.1=subnet-1").as_deref(),
            Some("subnet-1")
        );
        assert_eq!(of_form("Action=GetRole&RoleName=a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(of_form("Action=GetCallerIdentity&Version=1"), None);
        assert_eq!(of_json(br#"{"JobFlowIds": ["j-1", "j-2"]}"#).as_deref(), Some("j-1 j-2"));
        assert_eq!(of_json(br#"{"Message": "secret"}"#), None);
    }

    #[test]
    fn text_that_is_not_percent_encoded_stays() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%41"), "%zzA");
    }
}
