//! The IAM client: roles, instance profiles, inline policies and the policy simulator, over the
//! Query protocol. `tests/recorded.json` holds what the SDK's client, which it has replaced, sent
//! and read.

pub(crate) mod answers;
mod hosts;
pub(crate) mod simulation;
#[cfg(test)]
mod tests;

use aws_types::SdkConfig;

use crate::{
    aws::{
        log::CallLog,
        patience::Patience,
        query_protocol::{
            Acknowledged, Called, CreatedArn, Form, QueryClient, QueryService, ServiceHosts,
        },
        read_memory::ReadMemory,
        whole_list::whole_list,
    },
    base::{
        aws_calls::{self, Call},
        lookup::Lookup,
    },
};
use answers::{IamInstanceProfile, IamPage, IamRole};
use simulation::{EvaluationResult, SimulationRequest};

/// How IAM is called.
pub(super) static IAM: QueryService = QueryService {
    id: "IAM",
    name: "iam",
    prefix: "iam",
    hosts: ServiceHosts::Global(hosts::of_partition),
    version: "2010-05-08",
};

/// The error codes for something that does not exist.
pub(crate) const NO_ENTITY: &[&str] = &["NoSuchEntity", "NoSuchEntityException"];

/// All items of a list of names or ARNs. `ask` requests the page after a marker.
pub(crate) async fn whole_iam_list<F>(
    call: &Call,
    ask: impl Fn(Option<String>) -> F,
) -> Lookup<Vec<String>>
where
    F: Future<Output = Called<IamPage<String>>>,
{
    let pages = whole_list(
        call,
        NO_ENTITY,
        ask,
        |page| page.marker.as_deref(),
        |page| Some(page.items.iter().map(String::as_str).collect()),
    );
    pages.await.map(|pages| pages.into_iter().flat_map(|page| page.items).collect())
}

/// The client. Its lists are read page by page: each method takes the marker of its page, which is
/// none for the first one.
#[derive(Clone, Debug)]
pub(crate) struct Iam(QueryClient);

impl Iam {
    /// A client for the partition of `base`'s region; `calls` records its requests. `configured` is
    /// the endpoint from the environment or the profile.
    pub(super) fn new(base: &SdkConfig, configured: Option<String>, calls: &CallLog) -> Self {
        Self(QueryClient::new(&IAM, base, configured, calls))
    }

    /// A copy of the client that waits while AWS throttles.
    pub(super) fn patient(&self, patience: &Patience) -> Self {
        Self(self.0.patient(patience))
    }

    /// A copy of the client that asks `memory` before it sends a read.
    pub(super) fn remembering(&self, memory: &ReadMemory) -> Self {
        Self(self.0.remembering(memory))
    }

    /// A copy of the client that sends each call once.
    pub(crate) fn without_retries(&self) -> Self {
        Self(self.0.without_retries())
    }

    pub(crate) async fn instance_profile(&self, name: &str) -> Called<IamInstanceProfile> {
        let form = form(&aws_calls::GET_INSTANCE_PROFILE).with("InstanceProfileName", name);
        self.0.call(form, answers::instance_profile).await
    }

    pub(crate) async fn role(&self, name: &str) -> Called<IamRole> {
        let form = form(&aws_calls::GET_ROLE).with("RoleName", name);
        self.0.call(form, answers::role).await
    }

    /// The ARNs of the managed policies of a role.
    pub(crate) async fn attached_policies(
        &self,
        role: &str,
        marker: Option<String>,
    ) -> Called<IamPage<String>> {
        let form = form(&aws_calls::LIST_ATTACHED_ROLE_POLICIES).with("RoleName", role);
        self.0.call(page_of(form, marker), answers::attached_policies).await
    }

    /// The names of the inline policies of a role.
    pub(crate) async fn role_policies(
        &self,
        role: &str,
        marker: Option<String>,
    ) -> Called<IamPage<String>> {
        let form = form(&aws_calls::LIST_ROLE_POLICIES).with("RoleName", role);
        self.0.call(page_of(form, marker), answers::role_policies).await
    }

    /// The names of the instance profiles that hold a role.
    pub(crate) async fn instance_profiles_of(
        &self,
        role: &str,
        marker: Option<String>,
    ) -> Called<IamPage<String>> {
        let form = form(&aws_calls::LIST_INSTANCE_PROFILES_FOR_ROLE).with("RoleName", role);
        self.0.call(page_of(form, marker), answers::instance_profiles).await
    }

    /// An inline policy of a role: JSON, encoded as a part of a URL.
    pub(crate) async fn role_policy(&self, role: &str, policy: &str) -> Called<String> {
        let form = of_role_policy(&aws_calls::GET_ROLE_POLICY, role, policy);
        self.0.call(form, |answer| answers::policy(answer, "GetRolePolicyResult")).await
    }

    /// The same of a user.
    pub(crate) async fn user_policy(&self, user: &str, policy: &str) -> Called<String> {
        let form = of_user_policy(&aws_calls::GET_USER_POLICY, user, policy);
        self.0.call(form, |answer| answers::policy(answer, "GetUserPolicyResult")).await
    }

    /// Simulates actions of a role or user.
    pub(crate) async fn simulate(
        &self,
        request: &SimulationRequest<'_>,
        marker: Option<String>,
    ) -> Called<IamPage<EvaluationResult>> {
        let mut form = form(&aws_calls::SIMULATE_PRINCIPAL_POLICY);
        simulation::add_request(&mut form, request);
        self.0.call(page_of(form, marker), simulation::results).await
    }

    /// Makes a role, below `path` if there is one. `trust` is its trust policy.
    pub(crate) async fn create_role(
        &self,
        name: &str,
        path: Option<&str>,
        trust: &str,
    ) -> Called<CreatedArn> {
        let mut form = form(&aws_calls::CREATE_ROLE);
        if let Some(path) = path {
            form.add("Path", path);
        }
        let form = form.with("RoleName", name).with("AssumeRolePolicyDocument", trust);
        self.0.created(form, answers::created_role).await
    }

    /// Attaches the managed policy with this ARN.
    pub(crate) async fn attach_role_policy(
        &self,
        role: &str,
        policy: &str,
    ) -> Called<Acknowledged> {
        let form = form(&aws_calls::ATTACH_ROLE_POLICY).with("RoleName", role);
        self.0.acknowledged(form.with("PolicyArn", policy)).await
    }

    /// Detaches the managed policy with this ARN.
    pub(crate) async fn detach_role_policy(
        &self,
        role: &str,
        policy: &str,
    ) -> Called<Acknowledged> {
        let form = form(&aws_calls::DETACH_ROLE_POLICY).with("RoleName", role);
        self.0.acknowledged(form.with("PolicyArn", policy)).await
    }

    pub(crate) async fn delete_role(&self, name: &str) -> Called<Acknowledged> {
        self.0.acknowledged(form(&aws_calls::DELETE_ROLE).with("RoleName", name)).await
    }

    pub(crate) async fn create_instance_profile(&self, name: &str) -> Called<CreatedArn> {
        let form = form(&aws_calls::CREATE_INSTANCE_PROFILE).with("InstanceProfileName", name);
        self.0.created(form, answers::created_instance_profile).await
    }

    /// Puts a role into an instance profile.
    pub(crate) async fn add_role(&self, profile: &str, role: &str) -> Called<Acknowledged> {
        let form =
            form(&aws_calls::ADD_ROLE_TO_INSTANCE_PROFILE).with("InstanceProfileName", profile);
        self.0.acknowledged(form.with("RoleName", role)).await
    }

    /// Takes a role out of an instance profile.
    pub(crate) async fn remove_role(&self, profile: &str, role: &str) -> Called<Acknowledged> {
        let form = form(&aws_calls::REMOVE_ROLE_FROM_INSTANCE_PROFILE)
            .with("InstanceProfileName", profile);
        self.0.acknowledged(form.with("RoleName", role)).await
    }

    pub(crate) async fn delete_instance_profile(&self, name: &str) -> Called<Acknowledged> {
        let form = form(&aws_calls::DELETE_INSTANCE_PROFILE).with("InstanceProfileName", name);
        self.0.acknowledged(form).await
    }

    /// Makes an inline policy of a role, or overwrites it.
    pub(crate) async fn put_role_policy(
        &self,
        role: &str,
        policy: &str,
        document: &str,
    ) -> Called<Acknowledged> {
        let form = of_role_policy(&aws_calls::PUT_ROLE_POLICY, role, policy);
        self.0.acknowledged(form.with("PolicyDocument", document)).await
    }

    /// Makes an inline policy of a user, or overwrites it.
    pub(crate) async fn put_user_policy(
        &self,
        user: &str,
        policy: &str,
        document: &str,
    ) -> Called<Acknowledged> {
        let form = of_user_policy(&aws_calls::PUT_USER_POLICY, user, policy);
        self.0.acknowledged(form.with("PolicyDocument", document)).await
    }

    pub(crate) async fn delete_role_policy(
        &self,
        role: &str,
        policy: &str,
    ) -> Called<Acknowledged> {
        let form = of_role_policy(&aws_calls::DELETE_ROLE_POLICY, role, policy);
        self.0.acknowledged(form).await
    }

    pub(crate) async fn delete_user_policy(
        &self,
        user: &str,
        policy: &str,
    ) -> Called<Acknowledged> {
        let form = of_user_policy(&aws_calls::DELETE_USER_POLICY, user, policy);
        self.0.acknowledged(form).await
    }
}

fn form(call: &Call) -> Form {
    Form::of(&IAM, call)
}

/// The request for one page of a list.
fn page_of(mut form: Form, marker: Option<String>) -> Form {
    if let Some(marker) = marker {
        form.add("Marker", &marker);
    }
    form
}

/// The form of a call for an inline policy of a role.
fn of_role_policy(call: &Call, role: &str, policy: &str) -> Form {
    form(call).with("RoleName", role).with("PolicyName", policy)
}

/// The form of a call for an inline policy of a user.
fn of_user_policy(call: &Call, user: &str, policy: &str) -> Form {
    form(call).with("UserName", user).with("PolicyName", policy)
}
