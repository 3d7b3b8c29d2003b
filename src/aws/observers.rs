//! What is read from every answer: the service's clock, and requests to slow down.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
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

    pub(crate) fn hear(&self, date: &str) {
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
