//! Owns managed policies, and their attachment to roles.

use serde_json::Value;

use super::request::{
    IamRequest, encoded, invalid, last_part, limit_exceeded, no_such, write_page_end,
};
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::clock::iso_seconds;
use emr_world::managed_policies::managed_policy;
use emr_world::world::World;

/// How many managed policies a role can have.
const PER_ROLE: usize = 10;

impl IamRequest<'_> {
    pub(super) fn attach(&self, world: &mut World) -> Result<(), Failure> {
        self.role(world)?;
        let (arn, document) = self.managed_policy(world)?;
        let role = self.role_mut(world)?;
        if role.attached.iter().any(|(it, _)| *it == arn) {
            return Ok(());
        }
        if role.attached.len() == PER_ROLE {
            return Err(limit_exceeded(format!(
                "Cannot exceed quota for PoliciesPerRole: {PER_ROLE}"
            )));
        }
        role.attached.push((arn, document));
        Ok(())
    }

    pub(super) fn detach(&self, world: &mut World) -> Result<(), Failure> {
        let arn = self.policy_arn()?;
        let role = self.role_mut(world)?;
        let before = role.attached.len();
        role.attached.retain(|(it, _)| it != arn);
        if role.attached.len() == before {
            return Err(no_such(format!("Policy {arn} was not found.")));
        }
        Ok(())
    }

    pub(super) fn list_attached(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let role = self.role(world)?;
        let (page, marker) = self.page(&role.attached);
        xml.element("AttachedPolicies", |xml| {
            for (arn, _) in page {
                xml.element("member", |xml| {
                    xml.text("PolicyName", last_part(arn)).text("PolicyArn", arn);
                });
            }
        });
        write_page_end(xml, marker);
        Ok(())
    }

    pub(super) fn get_policy(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let (arn, _) = self.managed_policy(world)?;
        let attachments =
            world.roles.iter().flat_map(|it| &it.attached).filter(|(it, _)| *it == arn).count();
        xml.element("Policy", |xml| {
            xml.text("PolicyName", last_part(&arn))
                .text("PolicyId", "ANPASIMULATEDPOLICY00")
                .text("Arn", &arn)
                .text("Path", "/")
                .text("DefaultVersionId", "v1")
                .text("AttachmentCount", attachments.to_string())
                .text("PermissionsBoundaryUsageCount", "0")
                .text("IsAttachable", "true")
                .text("CreateDate", iso_seconds(world.now))
                .text("UpdateDate", iso_seconds(world.now));
        });
        Ok(())
    }

    pub(super) fn get_policy_version(&self, world: &World, xml: &mut Xml) -> Result<(), Failure> {
        let (arn, document) = self.managed_policy(world)?;
        if self.parameter("VersionId")? != "v1" {
            return Err(no_such(format!(
                "Policy {arn} version does not exist or is not attachable."
            )));
        }
        xml.element("PolicyVersion", |xml| {
            xml.text("Document", encoded(&document))
                .text("VersionId", "v1")
                .text("IsDefaultVersion", "true")
                .text("CreateDate", iso_seconds(world.now));
        });
        Ok(())
    }

    /// ARN and document of a managed policy. Of an account's own policies, only those attached to a
    /// role exist.
    fn managed_policy(&self, world: &World) -> Result<(String, Value), Failure> {
        let arn = self.policy_arn()?;
        let attached = world.roles.iter().flat_map(|role| &role.attached);
        let of_partition = arn.starts_with(&format!("arn:{}:", self.partition));
        let found = attached
            .filter(|(it, _)| it == arn)
            .map(|(_, document)| document.clone())
            .next()
            .or_else(|| managed_policy(arn).filter(|_| of_partition));
        match found {
            Some(document) => Ok((arn.to_owned(), document)),
            None => Err(no_such(format!("Policy {arn} does not exist or is not attachable."))),
        }
    }

    fn policy_arn(&self) -> Result<&str, Failure> {
        let arn = self.parameter("PolicyArn")?;
        if arn.starts_with("arn:") && arn.contains(":policy/") {
            return Ok(arn);
        }
        Err(invalid("Invalid ARN:  Could not be parsed!"))
    }
}
