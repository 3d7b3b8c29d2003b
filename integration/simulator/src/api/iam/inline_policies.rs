//! Owns the inline policies of IAM's roles and users.

use super::documents;
use super::request::{IamRequest, encoded, limit_exceeded, no_such, write_page_end};
use super::roles::no_such_user;
use crate::reply::Failure;
use crate::xml::Xml;
use emr_world::policy_document::counted_length;
use emr_world::world::{Role, World};

/// The kind of holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HolderKind {
    Role,
    User,
}

impl HolderKind {
    fn word(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
        }
    }

    /// The sum of all policies of one holder, in characters without white space.
    fn largest(self) -> usize {
        match self {
            Self::Role => 10_240,
            Self::User => 2_048,
        }
    }
}

impl IamRequest<'_> {
    fn holder<'w>(&self, world: &'w World, kind: HolderKind) -> Result<&'w Role, Failure> {
        if kind == HolderKind::Role {
            return self.role(world);
        }
        let name = self.name("UserName")?;
        world.user(self.account, name).ok_or_else(|| no_such_user(name))
    }

    fn holder_mut<'w>(
        &self,
        world: &'w mut World,
        kind: HolderKind,
    ) -> Result<&'w mut Role, Failure> {
        if kind == HolderKind::Role {
            return self.role_mut(world);
        }
        let name = self.name("UserName")?;
        let found = world.users.iter_mut().find(|it| it.account == self.account && it.name == name);
        found.ok_or_else(|| no_such_user(name))
    }

    pub(super) fn put_inline(&self, world: &mut World, kind: HolderKind) -> Result<(), Failure> {
        let name = self.new_name("PolicyName", 128)?;
        let document = documents::identity(self.parameter("PolicyDocument")?)?;
        let holder = self.holder_mut(world, kind)?;
        let others = holder.policies.iter().filter(|(it, _)| *it != name);
        let length: usize = others.map(|(_, it)| counted_length(it)).sum();
        if length + counted_length(&document) > kind.largest() {
            return Err(limit_exceeded(format!(
                "Maximum policy size of {} bytes exceeded for {} {}",
                kind.largest(),
                kind.word(),
                holder.name
            )));
        }
        match holder.policies.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = document,
            None => holder.policies.push((name, document)),
        }
        Ok(())
    }

    pub(super) fn get_inline(
        &self,
        world: &World,
        kind: HolderKind,
        xml: &mut Xml,
    ) -> Result<(), Failure> {
        let holder = self.holder(world, kind)?;
        let name = self.parameter("PolicyName")?;
        let found = holder.policies.iter().find(|(it, _)| it == name);
        let (_, document) = found.ok_or_else(|| no_such_policy(kind, name))?;
        let holder_name = if kind == HolderKind::Role { "RoleName" } else { "UserName" };
        xml.text(holder_name, &holder.name)
            .text("PolicyName", name)
            .text("PolicyDocument", encoded(document));
        Ok(())
    }

    pub(super) fn list_inline(
        &self,
        world: &World,
        kind: HolderKind,
        xml: &mut Xml,
    ) -> Result<(), Failure> {
        let holder = self.holder(world, kind)?;
        let (page, marker) = self.page(&holder.policies);
        xml.element("PolicyNames", |xml| {
            for (name, _) in page {
                xml.text("member", name);
            }
        });
        write_page_end(xml, marker);
        Ok(())
    }

    pub(super) fn delete_inline(&self, world: &mut World, kind: HolderKind) -> Result<(), Failure> {
        let name = self.parameter("PolicyName")?;
        let holder = self.holder_mut(world, kind)?;
        let before = holder.policies.len();
        holder.policies.retain(|(it, _)| it != name);
        if holder.policies.len() == before {
            return Err(no_such_policy(kind, name));
        }
        Ok(())
    }
}

fn no_such_policy(kind: HolderKind, name: &str) -> Failure {
    no_such(format!("The {} policy with name {name} cannot be found.", kind.word()))
}
