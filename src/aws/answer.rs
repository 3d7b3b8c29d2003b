//! Converts the result of an SDK call into a `Lookup`.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::{
    aws::{
        answer_form::{expected, is_foreign, what_came},
        http_connector::NoConnection,
        trust::RefusedRoot,
    },
    base::{
        access::AccessCause,
        aws_calls::Call,
        errors::{find, innermost},
        lookup::{Lookup, LookupError, LookupErrorKind, THROTTLING},
    },
};

impl<T> Lookup<T> {
    /// Converts an SDK call's result. `absent` are the error codes by which this call says that the
    /// thing does not exist.
    pub(crate) fn from_call<E>(
        call: &Call,
        absent: &[&str],
        result: Result<T, SdkError<E, HttpResponse>>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = match result {
            Ok(answer) => return Self::Found(answer),
            Err(error) => error,
        };
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = kind(&error);
        let is_none = kind == LookupErrorKind::UnreadableAnswer;
        if !is_none
            && (code.is_some_and(|code| absent.contains(&code))
                || (status == Some(404) && absent.contains(&"404")))
        {
            return Self::Absent;
        }
        let expected = if is_none { format!("; {}", expected(call)) } else { String::new() };
        let error = LookupError {
            operation: call.permission.to_owned(),
            code: code.map(str::to_owned),
            kind,
            cause: cause(&error),
            message: format!("{}{expected}", describe(&error)),
        };
        if error.kind == LookupErrorKind::Denied {
            Self::Denied(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

/// The kind of failure: first by what prevented an answer, then by the error code and the HTTP
/// status.
pub(crate) fn kind<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> LookupErrorKind {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let status = error.raw_response().map(|response| response.status().as_u16());
    if is_none_of_aws(error) {
        return LookupErrorKind::UnreadableAnswer;
    }
    match (code, status) {
        (Some(code), _) if is_denial(code) => return LookupErrorKind::Denied,
        (None, Some(401 | 403)) => return LookupErrorKind::Denied,
        (Some(code), _) if THROTTLING.contains(&code) => return LookupErrorKind::Throttled,
        (_, Some(429)) => return LookupErrorKind::Throttled,
        _ => {}
    }
    match error {
        SdkError::ServiceError(_) if status.is_some_and(|status| status >= 500) => {
            LookupErrorKind::ServerError
        }
        SdkError::TimeoutError(_) => LookupErrorKind::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => LookupErrorKind::TimedOut,
        SdkError::DispatchFailure(_) => LookupErrorKind::Connection,
        SdkError::ResponseError(_) => LookupErrorKind::UnreadableAnswer,
        SdkError::ConstructionFailure(_) => LookupErrorKind::NotAsked,
        _ => LookupErrorKind::Other,
    }
}

/// Why AWS cannot be called at all, if that is the failure. It is recognised by the type of the
/// error that prevented sending, by the error code, and by the answer's headers.
pub(crate) fn cause<E>(error: &SdkError<E, HttpResponse>) -> Option<AccessCause>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match find::<CredentialsError>(error) {
        Some(CredentialsError::CredentialsNotLoaded(_)) => return Some(AccessCause::NoCredentials),
        Some(_) => return Some(AccessCause::CredentialsFailed),
        None => {}
    }
    if let Some(failed) = find::<NoConnection>(error) {
        return match &failed.proxy {
            // `RefusedRoot` is a check of its own, which names the authority.
            _ if RefusedRoot::find(error).is_some() => None,
            _ if find::<rustls::Error>(error).is_some() => Some(AccessCause::Untrusted),
            Some(proxy) => Some(AccessCause::Proxy(proxy.clone())),
            None => Some(AccessCause::Unreachable(failed.host.clone())),
        };
    }
    let response = error.raw_response()?;
    let header = |name| response.headers().get(name);
    let minutes_ahead = header("date")
        .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
        .map(|date| (OffsetDateTime::now_utc() - date).whole_minutes());
    let region = header("x-amz-bucket-region");
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some(code) => AccessCause::of_code(code, minutes_ahead, region),
        // S3 answers a HEAD request without an error code.
        None if response.status().as_u16() == 301 && region.is_some() => {
            Some(AccessCause::WrongRegion(region.map(str::to_owned)))
        }
        None => None,
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether the answer is not a valid answer of AWS: it reports success and cannot be read, or it
/// comes from another server, such as a proxy's page.
fn is_none_of_aws<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match error {
        SdkError::ServiceError(service) => {
            let is_well = is_success(service.raw().status().as_u16());
            (is_well && code.is_none()) || (!is_well && is_foreign(service.raw(), code))
        }
        SdkError::ResponseError(_) => true,
        _ => false,
    }
}

/// Describes the invalid answer, and why it is invalid if that is known.
fn no_answer(response: &HttpResponse, why: Option<String>) -> String {
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    format!("{}, but it does not answer such a request{why}", what_came(response))
}

/// Whether this is an error code by which AWS services deny access.
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

/// The fix for a certificate of an unknown authority.
const UNKNOWN_ISSUER: &str = " (no CA certificate on this machine has signed it; if one should \
    have, name a bundle with it in SSL_CERT_FILE)";

/// The message if no source has credentials. The SDK's own message is a list of the sources.
const NO_CREDENTIALS: &str = "the request could not be signed: no credentials in the environment, \
    a profile, a container or an instance";

/// Why AWS could not be reached, and the fix if the operator can apply one.
fn on_the_way(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(refused) = RefusedRoot::find(error) {
        return refused.to_string();
    }
    if let Some(missing) = find::<CredentialsError>(error) {
        if matches!(missing, CredentialsError::CredentialsNotLoaded(_)) {
            return NO_CREDENTIALS.to_owned();
        }
        return format!("the request could not be signed: {}", innermost(missing));
    }
    let is_unknown = matches!(
        find(error),
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
    );
    let hint = if is_unknown { UNKNOWN_ISSUER } else { "" };
    format!("cannot be reached: {}{hint}", innermost(error))
}

/// Describes the failure in one line, without the SDK's internal terms.
pub(crate) fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) if is_none_of_aws(error) => no_answer(service.raw(), None),
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
            let Some(error) = failure.as_connector_error() else {
                return "cannot be reached: the request could not be sent".to_owned();
            };
            on_the_way(error)
        }
        SdkError::ResponseError(response) => {
            no_answer(response.raw(), std::error::Error::source(error).map(innermost))
        }
        SdkError::ConstructionFailure(_) => "the request could not be made".to_owned(),
        _ => "the call failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
    use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;
    use crate::base::aws_calls;

    type Error = SdkError<GetCallerIdentityError, HttpResponse>;

    fn response(status: u16) -> HttpResponse {
        let mut response =
            HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        response.headers_mut().insert("x-amzn-requestid", "1");
        response
    }

    /// An answer that a proxy gives in place of AWS.
    fn page(status: u16, body: &'static str) -> Error {
        let mut response =
            HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
        response.headers_mut().insert("content-type", "text/html");
        let error = GetCallerIdentityError::generic(ErrorMetadata::builder().build());
        SdkError::service_error(error, response)
    }

    fn answered(status: u16, code: Option<&str>, message: &str) -> Error {
        let mut meta = ErrorMetadata::builder().message(message);
        if let Some(code) = code {
            meta = meta.code(code);
        }
        SdkError::service_error(GetCallerIdentityError::generic(meta.build()), response(status))
    }

    #[test]
    fn an_error_is_sorted_by_code_and_status_whatever_its_message_says() {
        use LookupErrorKind::{
            Connection, Denied, NotAsked, Other, ServerError, Throttled, TimedOut, UnreadableAnswer,
        };
        let dispatched = SdkError::dispatch_failure;
        for (error, wanted) in [
            (answered(400, Some("AccessDeniedException"), "x"), Denied),
            (answered(403, None, ""), Denied),
            (answered(403, Some("RequestTimeTooSkewed"), "x"), Other),
            (answered(400, Some("ThrottlingException"), "Rate exceeded"), Throttled),
            (answered(503, Some("SlowDown"), "x"), Throttled),
            (answered(429, None, ""), Throttled),
            (
                answered(400, Some("ValidationException"), "ThrottlingException: AccessDenied"),
                Other,
            ),
            (answered(500, Some("InternalFailure"), "SlowDown"), ServerError),
            (answered(503, None, ""), ServerError),
            (SdkError::timeout_error("x"), TimedOut),
            (dispatched(ConnectorError::timeout("x".into())), TimedOut),
            (dispatched(ConnectorError::io("AccessDenied".into())), Connection),
            (SdkError::response_error("x", response(200)), UnreadableAnswer),
            (answered(200, None, ""), UnreadableAnswer),
            (answered(200, Some("InternalError"), ""), Other),
            (SdkError::construction_failure("x"), NotAsked),
            (page(200, "<html>"), UnreadableAnswer),
            (page(302, "<html>"), UnreadableAnswer),
            (page(403, "<html>"), UnreadableAnswer),
            (page(403, ""), UnreadableAnswer),
            (page(404, ""), UnreadableAnswer),
            (page(502, "<html>"), UnreadableAnswer),
        ] {
            assert_eq!(kind(&error), wanted, "{error:?}");
        }
    }

    #[test]
    fn a_proxys_page_is_neither_a_denial_nor_an_absence_and_says_what_came_and_what_was_expected() {
        let call = &aws_calls::HEAD_BUCKET;
        let answer: Lookup<()> = Lookup::from_call(call, &["404"], Err(page(404, "")));
        let Lookup::Unreachable(error) = answer else { panic!("{answer:?}") };
        assert_eq!(
            error.to_string(),
            "s3:ListBucket: an answer came (HTTP 404, text/html, 0 bytes), but it does not answer \
             such a request; AWS answers HeadBucket with headers, a request id among them"
        );
        let call = &aws_calls::GET_CALLER_IDENTITY;
        let answer: Lookup<()> =
            Lookup::from_call(call, &[], Err(page(403, "<html><h1>Blocked</h1>")));
        let Lookup::Unreachable(error) = answer else { panic!("{answer:?}") };
        assert_eq!(
            error.to_string(),
            "sts:GetCallerIdentity: an answer came (HTTP 403, text/html, 22 bytes: \
             `<html><h1>Blocked</h1>`), but it does not answer such a request; AWS answers \
             GetCallerIdentity in XML, with a <GetCallerIdentityResponse>"
        );
    }

    #[test]
    fn a_lookup_error_keeps_the_code_beside_the_message() {
        let error = answered(400, Some("InvalidRequestException"), "Cluster id is not valid.");
        let answer: Lookup<()> = Lookup::from_call(&aws_calls::DESCRIBE_CLUSTER, &[], Err(error));
        assert_eq!(
            answer,
            Lookup::Unreachable(LookupError {
                operation: "elasticmapreduce:DescribeCluster".to_owned(),
                code: Some("InvalidRequestException".to_owned()),
                kind: LookupErrorKind::Other,
                cause: None,
                message: "InvalidRequestException: Cluster id is not valid.".to_owned(),
            })
        );
    }
}
