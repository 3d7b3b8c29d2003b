//! Owns IAM's instance profiles.

use super::request::{IamRequest, delete_conflict, exists, limit_exceeded, no_such, write_tags};
use super::roles::write_role;
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::clock::iso_seconds;
use emr_world::world::{InstanceProfile, World};

impl IamRequest<'_> {
    pub(super) fn get_profile(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let name = self.name("InstanceProfileName")?;
        let profile =
            world.instance_profile(self.account, name).ok_or_else(|| no_such_profile(name))?;
        write_profile(xml, "InstanceProfile", world, profile);
        Ok(())
    }

    /// The instance profiles that hold a role, on one page.
    pub(super) fn list_profiles(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let role = &self.role(world)?.name;
        let holds = |profile: &&InstanceProfile| {
            profile.account == self.account && profile.roles.contains(role)
        };
        xml.element("InstanceProfiles", |xml| {
            for profile in world.instance_profiles.iter().filter(holds) {
                write_profile(xml, "member", world, profile);
            }
        });
        xml.text("IsTruncated", "false");
        Ok(())
    }

    pub(super) fn create_profile(&self, world: &mut World, xml: &mut Xml) -> Result<(), Failure> {
        let name = self.new_name("InstanceProfileName", 128)?;
        let path = self.path()?;
        let is_taken = |it: &InstanceProfile| {
            it.account == self.account && it.name.eq_ignore_ascii_case(&name)
        };
        if world.instance_profiles.iter().any(is_taken) {
            return Err(exists(format!("Instance Profile {name} already exists.")));
        }
        let profile = InstanceProfile {
            id: world.emr_id("AIPA", 17),
            name,
            partition: self.partition.clone(),
            account: self.account.to_owned(),
            path,
            roles: Vec::new(),
            tags: self.tags(),
            created: world.now,
            visible_from: world.visible_from(),
        };
        write_profile(xml, "InstanceProfile", world, &profile);
        world.instance_profiles.push(profile);
        Ok(())
    }

    pub(super) fn add_role(&self, world: &mut World) -> Result<(), Failure> {
        let role = self.role(world)?.name.clone();
        let profile = self.profile_mut(world)?;
        if !profile.roles.is_empty() {
            return Err(limit_exceeded(
                "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
            ));
        }
        profile.roles.push(role);
        Ok(())
    }

    pub(super) fn remove_role(&self, world: &mut World) -> Result<(), Failure> {
        let role = self.role(world)?.name.clone();
        let profile = self.profile_mut(world)?;
        if !profile.roles.contains(&role) {
            return Err(no_such(format!(
                "Role {role} in Instance Profile {} cannot be found.",
                profile.name
            )));
        }
        profile.roles.retain(|it| *it != role);
        Ok(())
    }

    pub(super) fn delete_profile(&self, world: &mut World) -> Result<(), Failure> {
        let profile = self.profile_mut(world)?;
        if !profile.roles.is_empty() {
            return Err(delete_conflict(
                "Cannot delete entity, must remove roles from instance profile first.",
            ));
        }
        let name = profile.name.clone();
        world.instance_profiles.retain(|it| !(it.account == self.account && it.name == name));
        Ok(())
    }

    fn profile_mut<'w>(&self, world: &'w mut World) -> Result<&'w mut InstanceProfile, Failure> {
        let name = self.name("InstanceProfileName")?;
        let found = world
            .instance_profiles
            .iter_mut()
            .find(|it| it.account == self.account && it.name == name);
        found.ok_or_else(|| no_such_profile(name))
    }
}

fn no_such_profile(name: &str) -> Failure {
    no_such(format!("Instance Profile {name} cannot be found."))
}

fn write_profile(xml: &mut Xml, element: &str, world: &World, profile: &InstanceProfile) {
    xml.element(element, |xml| {
        xml.text("Path", &profile.path)
            .text("InstanceProfileName", &profile.name)
            .text("InstanceProfileId", &profile.id)
            .text("Arn", profile.arn())
            .text("CreateDate", iso_seconds(profile.created));
        xml.element("Roles", |xml| {
            let roles = profile.roles.iter().filter_map(|name| world.role(&profile.account, name));
            for role in roles {
                xml.element("member", |xml| write_role(xml, role));
            }
        });
        write_tags(xml, &profile.tags);
    });
}
