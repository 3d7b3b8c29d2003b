//! Waits while AWS throttles the calls before a launch. Pipelines of one account often start in the
//! same second (cron, `0 4 * * *`) and share EMR's small quotas, so a call may succeed only after a
//! while.
//!
//! Only throttling codes lead to more attempts. All other failures are retried as often as by any
//! other client.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::FinalizerInterceptorContextRef, dyn_dispatch_hint},
        orchestrator::{HttpResponse, Metadata},
        retries::RequestAttempts,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{
    config_bag::{ConfigBag, Storable, StoreReplace},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};

use crate::aws::observers::error_code;

/// The limit of the first pause. It doubles with each pause. The length of a pause is random
/// between zero and its limit ("full jitter"), so that guards which started together do not retry
/// together.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The limit of all pauses. A longer pause could miss the time when quota is available again.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How many times and since when AWS has throttled one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThrottledCall {
    /// How many answers asked to slow down.
    pub(crate) answers: u32,
    /// When the first of them came.
    pub(crate) since: Instant,
}

/// Waits while AWS throttles, until a deadline. Clones share their counts.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    deadline: Instant,
    /// By the operation's name.
    throttled: Arc<Mutex<BTreeMap<String, ThrottledCall>>>,
}

impl Patience {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, throttled: Arc::default() }
    }

    /// How AWS has throttled `operation`; none if it never did.
    pub(crate) fn throttled(&self, operation: &str) -> Option<ThrottledCall> {
        self.throttled.lock().unwrap_or_else(PoisonError::into_inner).get(operation).copied()
    }

    /// The time limits of a client that waits. Each attempt keeps its limit. A whole call is
    /// limited by its caller, at the deadline.
    pub(super) fn limits(&self, limits: Option<&TimeoutConfig>) -> TimeoutConfig {
        let of_operation = limits.and_then(TimeoutConfig::operation_timeout).unwrap_or_default();
        let left = self.deadline.saturating_duration_since(Instant::now());
        limits
            .map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder)
            .operation_timeout(left + of_operation)
            .build()
    }

    /// The retry budget of a client that waits. The SDK's own budget, ten throttled answers for all
    /// calls of a service, is meant for clients that retry at once.
    pub(super) fn partition() -> RetryPartition {
        RetryPartition::custom("pre-flight").token_bucket(TokenBucket::unlimited()).build()
    }

    fn count(&self, operation: Option<&str>) {
        let Some(operation) = operation else { return };
        let mut throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        throttled
            .entry(operation.to_owned())
            .or_insert_with(|| ThrottledCall { answers: 0, since: Instant::now() })
            .answers += 1;
    }

    /// The limit of the pause after so many throttled answers; none if the deadline is too near.
    fn longest_pause(&self, answers: u32, now: Instant) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now);
        // Pauses that shrink with the remaining time would end in a burst of requests.
        if left < FIRST_PAUSE {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << answers.saturating_sub(1).min(16));
        Some(doubled.min(LONGEST_PAUSE).min(left))
    }
}

/// How the attempts of one call ended.
#[derive(Clone, Debug)]
struct CallAttempts {
    throttled: u32,
    failed: u32,
    /// The client's own retry settings.
    retries: RetryConfig,
}

impl Storable for CallAttempts {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Patience {
    fn name(&self) -> &'static str {
        "Patience"
    }

    // After this hook, the SDK decides about the next attempt by the current `RetryConfig`.
    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let earlier = cfg.load::<CallAttempts>().cloned().or_else(|| {
            let retries = cfg.load::<RetryConfig>()?.clone();
            Some(CallAttempts { throttled: 0, failed: 0, retries })
        });
        let Some(mut attempts) = earlier else { return Ok(()) };
        let service = cfg.load::<Metadata>().map(Metadata::service);
        let made = cfg.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        let retries = attempts.retries.clone();
        let (another, none) = (made.saturating_add(1), 1);
        let next = if context.response().is_some_and(|response| is_throttled(service, response)) {
            attempts.throttled += 1;
            self.count(cfg.load::<Metadata>().map(Metadata::name));
            match self.longest_pause(attempts.throttled, Instant::now()) {
                Some(longest) => retries
                    .with_max_attempts(another)
                    .with_initial_backoff(longest)
                    .with_max_backoff(longest),
                None => retries.with_max_attempts(none),
            }
        } else {
            attempts.failed += 1;
            let is_over = attempts.failed >= retries.max_attempts();
            retries.with_max_attempts(if is_over { none } else { another })
        };
        cfg.interceptor_state().store_put(attempts);
        cfg.interceptor_state().store_put(next);
        Ok(())
    }
}

/// Whether AWS asks to slow down: by the SDK's throttling codes, and for S3 also by the status,
/// since the answer to a HEAD has no body with a code.
fn is_throttled(service: Option<&str>, response: &HttpResponse) -> bool {
    let status = response.status();
    if status.is_success() {
        return false;
    }
    if service == Some("S3") && matches!(status.as_u16(), 429 | 503) {
        return true;
    }
    let body = response.body().bytes().unwrap_or_default();
    error_code(response.headers().get("x-amzn-errortype"), body)
        .is_some_and(|code| is_throttling(&code))
}

/// Whether an error code asks to slow down. KMS says by `LimitExceededException`, which the SDK
/// takes for throttling, that a quota of keys, aliases or grants is used up. Source: AWS KMS API
/// reference, CreateKey (Errors); AWS KMS developer guide, Throttling requests.
pub(crate) fn is_throttling(code: &str) -> bool {
    THROTTLING_ERRORS.contains(&code) && code != "LimitExceededException"
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_cap_and_end_with_the_deadline() {
        let now = Instant::now();
        let patience = Patience::until(now + Duration::from_secs(100));
        let longest = |answers, after| {
            patience.longest_pause(answers, now + Duration::from_secs(after)).map(|p| p.as_secs())
        };
        let bounds: Vec<_> = (1..8).map(|answers| longest(answers, 0)).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 20, 20].map(Some));
        assert_eq!(longest(u32::MAX, 0), Some(20));
        assert_eq!(longest(9, 93), Some(7));
        assert_eq!(longest(1, 99), Some(1));
        assert_eq!((longest(1, 100), longest(1, 101)), (None, None));
    }

    #[test]
    fn only_an_answer_with_a_throttling_code_is_throttled_and_s3s_503_to_a_head() {
        let answer = |status: u16, body: &'static str| {
            HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
        };
        let slow = "<Error><Code>SlowDown</Code></Error>";
        let limit = "<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>";
        for (service, response, wanted) in [
            ("EMR", answer(400, r#"{"__type":"ThrottlingException","message":"x"}"#), true),
            (
                "EMR",
                answer(400, r#"{"__type":"ValidationException","message":"Throttling"}"#),
                false,
            ),
            ("EMR", answer(503, r#"{"__type":"ServiceUnavailable"}"#), false),
            ("EMR", answer(500, ""), false),
            ("EMR", answer(200, r#"{"__type":"ThrottlingException"}"#), false),
            ("EC2", answer(503, limit), true),
            ("KMS", answer(400, r#"{"__type":"LimitExceededException","message":"x"}"#), false),
            ("S3", answer(503, slow), true),
            ("S3", answer(503, ""), true),
            ("S3", answer(500, ""), false),
        ] {
            assert_eq!(is_throttled(Some(service), &response), wanted, "{service} {response:?}");
        }
    }
}
