//! Sorts the result of an SDK call into a `Lookup`.

use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

use crate::base::{
    aws_calls::Call,
    errors::innermost,
    lookup::{Lookup, Obstacle},
};

impl<T> Lookup<T> {
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
