//! Owns IAM's roles and users themselves.

use super::documents;
use super::request::{IamRequest, delete_conflict, encoded, exists, invalid, no_such, write_tags};
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::clock::iso_seconds;
use emr_world::world::{Role, World};

impl IamRequest<'_> {
    pub(super) fn get_role(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let role = self.role(world)?;
        xml.element("Role", |xml| {
            write_role(xml, role);
            write_tags(xml, &role.tags);
            xml.text("MaxSessionDuration", "3600").text("RoleLastUsed", "");
        });
        Ok(())
    }

    pub(super) fn create_role(&self, world: &mut World, xml: &mut Xml) -> Result<(), Failure> {
        let name = self.new_name("RoleName", 64)?;
        let path = self.path()?;
        let trust = self.parameter("AssumeRolePolicyDocument")?;
        let trust = documents::trust(world, &self.partition, trust)?;
        // Names differ in more than upper and lower case.
        let is_taken =
            |it: &Role| it.account == self.account && it.name.eq_ignore_ascii_case(&name);
        if world.roles.iter().any(is_taken) {
            return Err(exists(format!("Role with name {name} already exists.")));
        }
        let role = Role {
            id: world.emr_id("AROA", 17),
            name,
            partition: self.partition.clone(),
            account: self.account.to_owned(),
            path,
            trust,
            policies: Vec::new(),
            attached: Vec::new(),
            boundary: None,
            description: self.optional("Description").map(str::to_owned),
            tags: self.tags(),
            created: world.now,
            visible_from: world.visible_from(),
        };
        xml.element("Role", |xml| {
            write_role(xml, &role);
            write_tags(xml, &role.tags);
        });
        world.roles.push(role);
        Ok(())
    }

    pub(super) fn delete_role(&self, world: &mut World) -> Result<(), Failure> {
        let role = self.role(world)?;
        let (arn, id, name) = (role.arn(), role.id.clone(), role.name.clone());
        let in_profile = world
            .instance_profiles
            .iter()
            .any(|it| it.account == self.account && it.roles.contains(&name));
        if in_profile {
            return Err(delete_conflict(
                "Cannot delete entity, must remove roles from instance profile first.",
            ));
        }
        if !role.attached.is_empty() {
            return Err(delete_conflict("Cannot delete entity, must detach all policies first."));
        }
        if !role.policies.is_empty() {
            return Err(delete_conflict("Cannot delete entity, must delete policies first."));
        }
        world.roles.retain(|it| !(it.account == self.account && it.name == name));
        world.forget_principal(&arn, &id);
        Ok(())
    }

    /// Without a name, the user that calls.
    pub(super) fn get_user(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let own = self.caller.arn.split_once(":user/").map(|(_, path)| path);
        let name = match self.optional("UserName") {
            Some(_) => self.name("UserName")?,
            None => own.and_then(|path| path.rsplit('/').next()).ok_or_else(|| {
                invalid("Must specify userName when calling with non-User credentials")
            })?,
        };
        let user = world.user(self.account, name).ok_or_else(|| no_such_user(name))?;
        xml.element("User", |xml| {
            xml.text("Path", &user.path)
                .text("UserName", &user.name)
                .text("UserId", &user.id)
                .text("Arn", user.user_arn())
                .text("CreateDate", iso_seconds(user.created));
            write_tags(xml, &user.tags);
        });
        Ok(())
    }
}

pub(super) fn no_such_user(name: &str) -> Failure {
    no_such(format!("The user with name {name} cannot be found."))
}

pub(super) fn write_role(xml: &mut Xml, role: &Role) {
    xml.text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", &role.id)
        .text("Arn", role.arn())
        .text("CreateDate", iso_seconds(role.created))
        .text("AssumeRolePolicyDocument", encoded(&role.trust))
        .optional("Description", role.description.as_deref());
    if role.boundary.is_some() {
        xml.element("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy").text(
                "PermissionsBoundaryArn",
                format!("arn:{}:iam::{}:policy/boundary", role.partition, role.account),
            );
        });
    }
}
