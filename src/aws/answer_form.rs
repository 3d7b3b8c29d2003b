//! Verifies that an answer has the form of AWS's answers. If not, it describes what was received:
//! an empty body, a proxy's page, a body of another kind.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept, context::AfterDeserializationInterceptorContextRef, dyn_dispatch_hint,
        },
        orchestrator::{HttpResponse, Metadata},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

use crate::base::{aws_calls::Call, printable::is_invisible};

/// The header with S3's request id.
pub(super) const S3_REQUEST_ID: &str = "x-amz-request-id";
/// The headers with AWS's request ids. Each family of services uses one of them, and sets it in
/// every answer. Source: AWS general reference, and each service's API reference, Common response
/// headers.
pub(super) const REQUEST_IDS: [&str; 3] = [S3_REQUEST_ID, "x-amzn-requestid", "x-amzn-request-id"];
/// How many characters of an unexpected answer are shown; enough for a page's title.
const SHOWN: usize = 100;

/// Rejects a successful answer that is empty or has the wrong type of body. The SDK reads an empty
/// body as a document without fields, so that a list without a body would become an empty list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerForm;

/// Why an answer is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum FormFault {
    #[error("it is empty")]
    Empty,
    #[error("it is no {0}")]
    Other(&'static str),
    #[error("it has no request id, which every answer of AWS has")]
    NoRequestId,
}

#[dyn_dispatch_hint]
impl Intercept for AnswerForm {
    fn name(&self) -> &'static str {
        "AnswerForm"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let Some(operation) = config.load::<Metadata>() else { return Ok(()) };
        if !response.status().is_success() || context.output_or_error().is_err() {
            return Ok(());
        }
        if operation.name().starts_with("Head") {
            return if has_request_id(response) {
                Ok(())
            } else {
                Err(FormFault::NoRequestId.into())
            };
        }
        // A body that is not loaded yet is an object's content.
        let Some(body) = response.body().bytes() else { return Ok(()) };
        match fault(operation.service(), operation.name(), body) {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }
}

/// The fault in the body of a successful answer. A call that changes something may have an empty
/// body.
fn fault(service: &str, operation: &str, body: &[u8]) -> Option<FormFault> {
    let asks = ["Get", "List", "Describe", "Simulate"];
    if !asks.iter().any(|verb| operation.starts_with(verb)) {
        return None;
    }
    let body = body.trim_ascii_start();
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let (first, form) = if is_json(service, operation) { (b'{', "JSON") } else { (b'<', "XML") };
    match body.first() {
        None => Some(FormFault::Empty),
        Some(byte) if *byte == first => None,
        Some(_) => Some(FormFault::Other(form)),
    }
}

/// Whether AWS answers a call in JSON rather than in XML. `service` may be the SDK's name or the
/// permission prefix.
fn is_json(service: &str, operation: &str) -> bool {
    const JSON: [&str; 8] =
        ["EMR", "elasticmapreduce", "KMS", "kms", "SQS", "sqs", "EventBridge", "events"];
    JSON.contains(&service) || operation == "GetBucketPolicy"
}

pub(super) fn has_request_id(response: &HttpResponse) -> bool {
    REQUEST_IDS.iter().any(|name| response.headers().get(*name).is_some())
}

/// Whether an error answer does not come from AWS: it has no request id, and no AWS error in its
/// body either.
pub(super) fn is_foreign(response: &HttpResponse, code: Option<&str>) -> bool {
    let is_empty = response.body().bytes().is_none_or(<[u8]>::is_empty);
    // For a HEAD request the SDK itself makes up a code.
    !has_request_id(response) && (is_empty || code.is_none())
}

/// Describes what was received, as far as it may be shown: status, type, size and beginning.
pub(super) fn what_came(response: &HttpResponse) -> String {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").unwrap_or("of no type");
    let kind = one_line(kind, SHOWN / 2);
    let body = response.body().bytes().unwrap_or_default();
    let begins = match beginning(body) {
        Some(text) => format!(": `{text}`"),
        None => String::new(),
    };
    format!("an answer came (HTTP {status}, {kind}, {} bytes{begins})", body.len())
}

/// The beginning of a body; none if nothing may be shown.
///
/// A document of AWS can hold secrets, such as a step's arguments. If the body may be such a
/// document, only its outermost name is shown.
fn beginning(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(8 * SHOWN)]);
    let text = text.trim_start_matches('\u{feff}').trim();
    let lower = text.to_ascii_lowercase();
    let is_page = lower.starts_with("<!doctype html") || lower.starts_with("<html");
    let shown = if is_page {
        text
    } else if text.starts_with(['{', '[']) {
        &text[..text.find(':').map_or(1, |colon| colon + 1)]
    } else if text.starts_with('<') {
        let root = text.find("?>").map_or(0, |end| end + 2);
        let end = text[root..].find('>').map_or(text.len(), |end| root + end + 1);
        &text[..end]
    } else {
        text
    };
    let line = one_line(shown, SHOWN);
    let is_cut = line.len() < text.len();
    (!line.is_empty()).then(|| if is_cut { format!("{line}…") } else { line })
}

/// The first `most` characters of a text, in one line and without invisible characters.
fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown = |letter| if is_invisible(letter) { char::REPLACEMENT_CHARACTER } else { letter };
    words.join(" ").chars().map(shown).take(most).collect()
}

/// Describes the answer that AWS gives to a call.
pub(super) fn expected(call: &Call) -> String {
    let operation = call.operation;
    let service = call.permission.split(':').next().unwrap_or_default();
    match service {
        "s3" if operation.starts_with("Head") => {
            format!("AWS answers {operation} with headers, a request id among them")
        }
        _ if is_json(service, operation) => format!("AWS answers {operation} in JSON"),
        "iam" | "sts" | "sns" | "ec2" | "cloudwatch" => {
            format!("AWS answers {operation} in XML, with a <{operation}Response>")
        }
        _ => format!("AWS answers {operation} in XML"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_to_a_question_is_none_in_any_protocol_and_one_to_a_change_may_be() {
        let json = ("{\"Clusters\":[]}", "<html>", FormFault::Other("JSON"));
        let xml = ("<?xml version=\"1.0\"?><a/>", "{}", FormFault::Other("XML"));
        for (service, operation, (good, other, wrong)) in [
            ("EMR", "ListClusters", json),
            ("KMS", "DescribeKey", json),
            ("S3", "GetBucketPolicy", json),
            ("IAM", "SimulatePrincipalPolicy", xml),
            ("STS", "GetCallerIdentity", xml),
            ("S3", "GetBucketVersioning", xml),
            ("S3 Control", "ListJobs", xml),
            ("EC2", "DescribeVolumes", xml),
        ] {
            let judged = |body: &str| fault(service, operation, body.as_bytes());
            assert_eq!(judged(good), None, "{operation}");
            assert_eq!(judged(&format!("\u{feff}{good}")), None, "{operation}");
            assert_eq!(judged(" \n"), Some(FormFault::Empty), "{operation}");
            assert_eq!(judged(other), Some(wrong), "{operation}");
        }
        for (service, operation) in
            [("EMR", "TerminateJobFlows"), ("S3", "AbortMultipartUpload"), ("S3", "PutObject")]
        {
            assert_eq!(fault(service, operation, b""), None, "{operation}");
        }
    }

    #[test]
    fn what_came_is_shown_short_printable_and_without_what_a_document_of_aws_may_hold() {
        let long = format!("<html><title>{}", "x".repeat(200));
        for (body, shown) in [
            ("", None),
            (
                "<!DOCTYPE html>\n<html>\r\n<b>blocked\u{1b}[2J</b>",
                Some("<!DOCTYPE html> <html> <b>blocked\u{fffd}[2J</b>"),
            ),
            ("Bad\u{202e} gateway", Some("Bad\u{fffd} gateway")),
            ("{\"Steps\":[{\"Args\":[\"secret\"]}]", Some("{\"Steps\":…")),
            ("{}", Some("{…")),
            (
                "<?xml version=\"1.0\"?>\n<Policy><a>secret</a></Policy>",
                Some("<?xml version=\"1.0\"?> <Policy>…"),
            ),
            (&long, Some(&*format!("<html><title>{}…", "x".repeat(87)))),
        ] {
            assert_eq!(beginning(body.as_bytes()).as_deref(), shown, "{body}");
        }
    }
}
