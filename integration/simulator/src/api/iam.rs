//! Owns IAM's operations.

mod documents;
mod inline_policies;
mod instance_profiles;
mod managed;
mod request;
mod roles;
mod simulation;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::Xml;
use emr_world::world::{Caller, World};

use inline_policies::HolderKind;
use request::IamRequest;

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let partition = world.partition_of_account(&caller.account);
    let request = IamRequest { call, caller, account: &caller.account, partition };
    let operation = &call.subject.operation;
    let mut result = Xml::new();
    write_result(&request, world, &mut result)?;
    let result = result.finish();
    let mut document = Xml::new();
    document.root(&format!("{operation}Response"), NAMESPACE, |xml| {
        if !result.is_empty() {
            xml.element(&format!("{operation}Result"), |xml| {
                xml.raw(&result);
            });
        }
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "00000000-0000-4000-8000-000000000000");
        });
    });
    Ok(Reply::xml(document))
}

fn write_result(request: &IamRequest<'_>, world: &mut World, xml: &mut Xml) -> Result<(), Failure> {
    match request.call.subject.operation.as_str() {
        "GetRole" => request.get_role(world, xml),
        "CreateRole" => request.create_role(world, xml),
        "DeleteRole" => request.delete_role(world),
        "GetUser" => request.get_user(world, xml),
        "ListRolePolicies" => request.list_inline(world, HolderKind::Role, xml),
        "GetRolePolicy" => request.get_inline(world, HolderKind::Role, xml),
        "PutRolePolicy" => request.put_inline(world, HolderKind::Role),
        "DeleteRolePolicy" => request.delete_inline(world, HolderKind::Role),
        "ListUserPolicies" => request.list_inline(world, HolderKind::User, xml),
        "GetUserPolicy" => request.get_inline(world, HolderKind::User, xml),
        "PutUserPolicy" => request.put_inline(world, HolderKind::User),
        "DeleteUserPolicy" => request.delete_inline(world, HolderKind::User),
        "ListAttachedRolePolicies" => request.list_attached(world, xml),
        "AttachRolePolicy" => request.attach(world),
        "DetachRolePolicy" => request.detach(world),
        "GetPolicy" => request.get_policy(world, xml),
        "GetPolicyVersion" => request.get_policy_version(world, xml),
        "GetInstanceProfile" => request.get_profile(world, xml),
        "CreateInstanceProfile" => request.create_profile(world, xml),
        "DeleteInstanceProfile" => request.delete_profile(world),
        "ListInstanceProfilesForRole" => request.list_profiles(world, xml),
        "AddRoleToInstanceProfile" => request.add_role(world),
        "RemoveRoleFromInstanceProfile" => request.remove_role(world),
        "SimulatePrincipalPolicy" => request.simulate(world, xml),
        other => Err(Failure::not_modelled(Service::Iam, other)),
    }
}
