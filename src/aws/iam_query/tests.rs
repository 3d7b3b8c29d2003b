//! Compares the client with what the SDK's client for IAM sent and read, as stored in
//! `tests/recorded.json`. That was recorded once, from the answers of `tests/contracts` and some
//! others, before the SDK's client was removed.

use aws_config::Region;
use aws_smithy_runtime_api::client::endpoint::{EndpointResolverParams, ResolveEndpoint as _};
use aws_smithy_types::Document;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{simulation::ContextValue, *};
use crate::{
    aws::query_protocol::{
        EndpointSettings,
        tap::{RecordedCall, Tap, config, read_as_recorded},
        xml::Element,
    },
    base::lookup::{Lookup, LookupErrorKind},
};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<RecordedCall>,
    /// Region, FIPS, dual-stack, and the resulting endpoint with the region of its signatures.
    endpoints: Vec<(String, bool, bool, String, String)>,
    /// Region, FIPS, dual-stack, the configured endpoint, and the region of the signature.
    signed: Vec<(String, bool, bool, Option<String>, String)>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("tests/recorded.json")).unwrap()
}

/// Cases in which this client is stricter than the SDK's, which reads something incomplete or gives
/// an error without a code.
const STRICTER: [&str; 11] = [
    "a page that is not the last, without a marker",
    "without a list",
    "a decision that is none",
    "no role",
    "a role without an ARN",
    "no policy",
    "a created role without an ARN",
    "no XML",
    "no body",
    "cut off",
    "the answer to another call",
];

fn read<T: Serialize>(answer: Called<T>) -> Value {
    read_as_recorded(answer, |found| serde_json::to_value(found).unwrap())
}

fn done(answer: Called<Acknowledged>) -> Value {
    read_as_recorded(answer, |_| Value::Null)
}

fn created(answer: Called<CreatedArn>) -> Value {
    read_as_recorded(answer, |created| created.arn.into())
}

async fn simulated(iam: &Iam, about: &Value, marker: Option<String>) -> Value {
    let texts = |texts: &Value| -> Vec<String> { serde_json::from_value(texts.clone()).unwrap() };
    let context = about["context"].as_array().unwrap().iter().map(|it| {
        let (key, values) = (it["key"].as_str().unwrap(), texts(&it["values"]));
        match it["kind"].as_str().unwrap() {
            "string" => ContextValue::text(key, &values[0]),
            "boolean" => ContextValue::truth(key, values[0] == "true"),
            _ => ContextValue::texts(key, values),
        }
    });
    let (actions, resources) = (texts(&about["actions"]), texts(&about["resources"]));
    let request = SimulationRequest {
        principal: about["principal"].as_str().unwrap(),
        actions: &actions.iter().map(String::as_str).collect::<Vec<_>>(),
        resources: &resources.iter().map(String::as_str).collect::<Vec<_>>(),
        context: &context.collect::<Vec<_>>(),
    };
    read(iam.simulate(&request, marker).await)
}

async fn ask(iam: &Iam, operation: &str, about: &Value) -> Value {
    let of = |name: &str| about[name].as_str().unwrap_or_else(|| panic!("{operation}: {name}"));
    let marker = about["marker"].as_str().map(str::to_owned);
    match operation {
        "GetInstanceProfile" => read(iam.instance_profile(of("profile")).await),
        "GetRole" => read(iam.role(of("role")).await),
        "ListAttachedRolePolicies" => read(iam.attached_policies(of("role"), marker).await),
        "ListRolePolicies" => read(iam.role_policies(of("role"), marker).await),
        "ListInstanceProfilesForRole" => read(iam.instance_profiles_of(of("role"), marker).await),
        "GetRolePolicy" => read(iam.role_policy(of("role"), of("policy")).await),
        "GetUserPolicy" => read(iam.user_policy(of("user"), of("policy")).await),
        "SimulatePrincipalPolicy" => simulated(iam, about, marker).await,
        "CreateRole" => {
            created(iam.create_role(of("role"), about["path"].as_str(), of("trust")).await)
        }
        "AttachRolePolicy" => done(iam.attach_role_policy(of("role"), of("policy")).await),
        "DetachRolePolicy" => done(iam.detach_role_policy(of("role"), of("policy")).await),
        "DeleteRole" => done(iam.delete_role(of("role")).await),
        "CreateInstanceProfile" => created(iam.create_instance_profile(of("profile")).await),
        "AddRoleToInstanceProfile" => done(iam.add_role(of("profile"), of("role")).await),
        "RemoveRoleFromInstanceProfile" => done(iam.remove_role(of("profile"), of("role")).await),
        "DeleteInstanceProfile" => done(iam.delete_instance_profile(of("profile")).await),
        "PutRolePolicy" => {
            done(iam.put_role_policy(of("role"), of("policy"), of("document")).await)
        }
        "PutUserPolicy" => {
            done(iam.put_user_policy(of("user"), of("policy"), of("document")).await)
        }
        "DeleteRolePolicy" => done(iam.delete_role_policy(of("role"), of("policy")).await),
        "DeleteUserPolicy" => done(iam.delete_user_policy(of("user"), of("policy")).await),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn it_sends_and_reads_what_the_sdks_client_sent_and_read() {
    for case in recorded().cases {
        let tap = Tap::replaying(&case.exchanges);
        let calls = CallLog::default();
        let read = ask(&Iam::new(&config(&tap), None, &calls), &case.operation, &case.about).await;
        let wanted = if STRICTER.contains(&&*case.name) { json!("unreadable") } else { case.read };
        assert_eq!(read, wanted, "{}", case.name);
        assert_eq!(tap.exchanges(), case.exchanges, "{}", case.name);
        // The log has every attempt, under the SDK's name of the service. It names no users.
        let logged = calls.calls().remove(0);
        let is_of_user = case.about.get("user").is_some();
        assert_eq!(logged.kept[0].subject.is_none(), is_of_user, "{}", case.name);
        let attempts = case.exchanges.len() as u64;
        let logged = (logged.service.as_str(), logged.operation, logged.attempts);
        assert_eq!(logged, ("IAM", case.operation, attempts), "{}", case.name);
    }
}

#[tokio::test]
async fn each_region_has_the_endpoint_and_the_signing_region_that_the_sdk_has_for_it() {
    let endpoints = recorded().endpoints;
    assert!(endpoints.len() > 100);
    for (region, fips, dual_stack, url, signing_region) in endpoints {
        let settings = EndpointSettings::regional(&IAM, &region, fips, dual_stack);
        let endpoint = settings.resolve_endpoint(&EndpointResolverParams::new(())).await.unwrap();
        assert_eq!(endpoint.url(), url, "{settings:?}");
        let scheme = endpoint.auth_schemes().first().unwrap();
        let region = scheme.get("signingRegion").and_then(Document::as_string);
        assert_eq!((scheme.name(), region), ("sigv4", Some(&*signing_region)), "{settings:?}");
    }
}

#[tokio::test]
async fn requests_are_signed_for_the_region_for_which_the_sdk_signs_them() {
    for (region, fips, dual_stack, configured, wanted) in recorded().signed {
        let tap = Tap::answering(&[(200, "<DeleteRoleResponse/>")]);
        let base = config(&tap).into_builder().region(Region::new(region.clone()));
        let base = base.use_fips(fips).use_dual_stack(dual_stack).build();
        let iam = Iam::new(&base, configured, &CallLog::default());
        assert!(iam.delete_role("nodes").await.is_ok());
        let scope = format!("/DATE/{wanted}/iam/aws4_request,");
        let headers = tap.exchanges().remove(0).headers;
        assert!(headers.iter().any(|it| it.contains(&scope)), "{region}: {headers:?}");
    }
}

#[tokio::test]
async fn a_list_that_goes_round_in_a_circle_is_an_error() {
    let page = "<ListRolePoliciesResponse><ListRolePoliciesResult><PolicyNames/><IsTruncated>true\
                </IsTruncated><Marker>a</Marker></ListRolePoliciesResult>\
                </ListRolePoliciesResponse>";
    let tap = Tap::answering(&[(200, page); 3]);
    let iam = Iam::new(&config(&tap), None, &CallLog::default());
    let call = &aws_calls::LIST_ROLE_POLICIES;
    let names = whole_iam_list(call, |marker| iam.role_policies("nodes", marker));
    let Lookup::Unreachable(error) = names.await else { panic!("it was read") };
    assert_eq!(error.kind, LookupErrorKind::UnreadableAnswer);
    assert_eq!(tap.exchanges().len(), 2);
}

#[tokio::test]
async fn a_client_with_a_memory_sends_equal_reads_once() {
    let recorded = recorded();
    let case = recorded.cases.iter().find(|case| case.operation == "GetRole").unwrap();
    let answer = (200, case.exchanges[0].answer.as_str());
    let tap = Tap::answering(&[answer, answer]);
    let iam = Iam::new(&config(&tap), None, &CallLog::default());
    let memory = ReadMemory::default();
    for role in ["nodes", "nodes", "service", "nodes"] {
        assert!(iam.remembering(&memory).role(role).await.is_ok(), "{role}");
    }
    let sent = tap.exchanges();
    let bodies: Vec<&str> = sent.iter().map(|it| it.body.split('&').next_back().unwrap()).collect();
    assert_eq!(bodies, ["RoleName=nodes", "RoleName=service"]);
}

proptest! {
    #[test]
    fn an_answer_that_is_cut_off_anywhere_is_an_error(at in any::<prop::sample::Index>()) {
        let recorded = recorded();
        let case = recorded.cases.iter().find(|it| it.name == "results of resources").unwrap();
        let whole = &case.exchanges[0].answer;
        let cut = &whole.as_bytes()[..at.index(whole.len())];
        prop_assert!(Element::parse(cut).and_then(|root| simulation::results(&root)).is_err());
    }
}
