//! Reads from every answer the service's clock, and counts requests to slow down.

use std::{
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                AfterDeserializationInterceptorContextRef,
                BeforeDeserializationInterceptorContextRef,
            },
            dyn_dispatch_hint,
        },
        runtime_components::RuntimeComponents,
    },
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::base::lookup::THROTTLING;

/// A service's clock, from the `Date` header of its answers. Objects are dated by that clock, so
/// only that clock can be compared with their dates. This machine's clock may be wrong by any
/// amount.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceClock(Arc<Mutex<Option<(OffsetDateTime, Instant)>>>);

/// S3's clock, set by the answers to all S3 clients.
static S3: LazyLock<ServiceClock> = LazyLock::new(ServiceClock::default);

impl ServiceClock {
    /// S3's clock. The whole process uses a single one; it decides what an Object Lock still
    /// protects.
    pub(crate) fn of_s3() -> Self {
        S3.clone()
    }

    /// The current time by this clock; before the first answer, by this machine's clock.
    pub(crate) fn now_or_own(&self) -> OffsetDateTime {
        self.now().unwrap_or_else(OffsetDateTime::now_utc)
    }

    /// The same in milliseconds since 1970.
    pub(crate) fn now_or_own_millis(&self) -> i64 {
        i64::try_from(self.now_or_own().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }

    /// The latest time in an answer, to the second; none before the first answer.
    pub(crate) fn last(&self) -> Option<OffsetDateTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|(date, _)| date)
    }

    /// The current time by this clock, or up to a second later; none before the first answer.
    pub(crate) fn now(&self) -> Option<OffsetDateTime> {
        let (date, told) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(date + told.elapsed() + Duration::from_secs(1))
    }

    pub(crate) fn observe_date(&self, date: &str) {
        let Ok(date) = OffsetDateTime::parse(date, &Rfc2822) else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|(known, _)| known < date) {
            *last = Some((date, Instant::now()));
        }
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
            self.observe_date(date);
        }
        Ok(())
    }
}

/// How many times a service has asked to slow down. Each attempt counts: the SDK retries by itself,
/// so a successful call may have been throttled before.
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
        let code = || error_code(response.headers().get("x-amzn-errortype"), body);
        if !response.status().is_success()
            && code().is_some_and(|code| THROTTLING.contains(&code.as_str()))
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// AWS's error code in an error answer of any AWS protocol: a header, `<Code>` in XML, `__type` or
/// `code` in JSON. The SDK has parsed it by then, but into a type that differs by operation.
/// Sources: Smithy's protocols, awsJson1_1, restJson1, restXml, ec2Query.
pub(super) fn error_code(header: Option<&str>, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let named = match header {
        Some(header) => header.to_owned(),
        None if text.trim_start().starts_with('<') => {
            let (_, rest) = text.split_once("<Code>")?;
            rest.split('<').next()?.to_owned()
        }
        None => {
            let answer: serde_json::Value = serde_json::from_str(text).ok()?;
            answer.get("__type").or_else(|| answer.get("code"))?.as_str()?.to_owned()
        }
    };
    // A namespace may come before it, and a URI after it.
    let code = named.split(':').next()?;
    code.rsplit('#').next().map(|code| code.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::error_code;

    #[test]
    fn an_error_code_is_read_where_each_protocol_has_it_and_never_in_a_message() {
        let json = r#"{"__type":"com.amazonaws.emr#ThrottlingException","message":"SlowDown"}"#;
        let xml =
            "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>x</Message></Error>";
        let ec2 = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>x</Message></Error></Errors></Response>";
        for (header, body, code) in [
            (None, json, Some("ThrottlingException")),
            (None, r#"{"code":"AccessDenied","message":"SlowDown"}"#, Some("AccessDenied")),
            (None, xml, Some("SlowDown")),
            (None, ec2, Some("RequestLimitExceeded")),
            (Some("Throttling:http://internal.amazon.com/"), "{}", Some("Throttling")),
            (None, "SlowDown", None),
            (None, "", None),
        ] {
            assert_eq!(error_code(header, body.as_bytes()).as_deref(), code, "{body}");
        }
    }
}
