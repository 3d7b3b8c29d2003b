//! What does not depend on the service: configured endpoints, regions, documents, errors.

use super::{
    endpoint::EndpointError,
    tap::{Tap, config},
    *,
};
use crate::base::{aws_calls, lookup::Lookup};

static SERVICE: QueryService = QueryService {
    id: "A Service",
    name: "aservice",
    prefix: "service",
    hosts: ServiceHosts::Regional { has_gov_fips_prefix: true },
    version: "2026-01-01",
};

fn settings(region: Option<&str>, fips: bool, dual_stack: bool) -> EndpointSettings {
    let region = region.map(str::to_owned);
    EndpointSettings { service: &SERVICE, region, fips, dual_stack, configured: None }
}

#[test]
fn a_configured_endpoint_is_taken_unless_fips_or_dual_stack_ask_for_another() {
    let url = |fips, dual_stack| {
        let configured = Some("http://127.0.0.1:5000".to_owned());
        EndpointSettings { configured, ..settings(None, fips, dual_stack) }.url()
    };
    assert_eq!(url(false, false).as_deref(), Ok("http://127.0.0.1:5000"));
    assert_eq!(url(true, false), Err(EndpointError::FipsConfigured));
    assert_eq!(url(false, true), Err(EndpointError::DualStackConfigured));
}

#[test]
fn a_region_that_would_lead_to_another_host_has_no_endpoint() {
    for region in ["evil.example/", "a.b", "x@evil.example", "", "-", "a#", "a b"] {
        let settings = settings(Some(region), false, false);
        assert_eq!(settings.url(), Err(EndpointError::InvalidRegion), "{region}");
    }
    assert_eq!(settings(None, false, false).url(), Err(EndpointError::NoRegion));
}

#[test]
fn what_is_no_document_of_one_root_is_an_error() {
    let deep = format!("{}{}", "<a>".repeat(65), "</a>".repeat(65));
    for (text, wanted) in [
        ("", "the answer is not XML: it is empty"),
        ("<a/><b/>", "the answer is not XML: it has two roots"),
        ("<a></a><b></b>", "the answer is not XML: it has two roots"),
        ("<a/>b", "the answer is not XML: text outside of the root"),
        ("<!DOCTYPE a><a/>", "the answer is not XML: it has a document type"),
        ("<a>&nbsp;</a>", "the answer is not XML: an unknown entity"),
        ("<a><b>", "the answer is cut off"),
        (deep.as_str(), "the answer is nested too deeply"),
    ] {
        assert_eq!(Element::parse(text.as_bytes()).unwrap_err().to_string(), wanted, "{text}");
    }
}

/// A call that is answered with these statuses and bodies.
async fn answered(answers: &[(u16, &str)]) -> (Called<Acknowledged>, usize) {
    let tap = Tap::answering(answers);
    let client = QueryClient::new(&SERVICE, &config(&tap), None, &CallLog::default());
    let result = client.acknowledged(Form::of(&SERVICE, &aws_calls::DELETE_ALARMS)).await;
    (result, tap.exchanges().len())
}

#[tokio::test]
async fn an_error_is_read_in_the_form_of_ec2_and_in_that_of_the_other_services() {
    let of_ec2 = "<Response><Errors><Error><Code>A.Code</Code><Message>Why</Message></Error>\
                  </Errors><RequestID>1</RequestID></Response>";
    let of_others = "<ErrorResponse><Error><Type>Sender</Type><Code>A.Code</Code>\
                     <Message>Why</Message></Error><RequestId>1</RequestId></ErrorResponse>";
    for body in [of_ec2, of_others] {
        let (result, sent) = answered(&[(400, body)]).await;
        let error = result.unwrap_err();
        let error = error.as_service_error().unwrap();
        assert_eq!((error.code(), error.message()), (Some("A.Code"), Some("Why")), "{body}");
        assert_eq!(sent, 1);
    }
}

#[tokio::test]
async fn throttling_is_waited_for_whichever_of_its_codes_comes() {
    let done = "<DeleteAlarmsResponse><ResponseMetadata/></DeleteAlarmsResponse>";
    for code in ["Throttling", "ThrottlingException", "RequestLimitExceeded"] {
        let error = format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
        let (result, sent) = answered(&[(400, &error), (400, &error), (200, done)]).await;
        assert!(result.is_ok(), "{code}: {result:?}");
        assert_eq!(sent, 3, "{code}");
    }
}

#[tokio::test]
async fn a_client_without_retries_sends_a_call_once() {
    let error = "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>";
    let tap = Tap::answering(&[(400, error), (400, error)]);
    let client = QueryClient::new(&SERVICE, &config(&tap), None, &CallLog::default());
    let form = Form::of(&SERVICE, &aws_calls::DELETE_ALARMS);
    let result = client.without_retries().acknowledged(form).await;
    let lookup = Lookup::from_call(&aws_calls::DELETE_ALARMS, &[], result);
    let Lookup::Unreachable(error) = lookup else { panic!("{lookup:?}") };
    assert_eq!(error.code.as_deref(), Some("Throttling"));
    assert_eq!(tap.exchanges().len(), 1);
}

#[tokio::test]
async fn an_answer_to_another_call_acknowledges_nothing() {
    for body in ["<PutMetricAlarmResponse/>", "<DeleteAlarmsResponse>", "", "{}"] {
        let (result, _) = answered(&[(200, body)]).await;
        assert!(result.is_err(), "{body}");
    }
}
