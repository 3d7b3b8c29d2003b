//! Owns who exists in IAM, as far as policies may name them.

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use crate::partition::partition_of_arn;
use crate::policy::{self, Context};
use crate::policy_document::rename_principal;
use crate::world::{Caller, Role, World};

impl World {
    /// The user of that name.
    #[must_use]
    pub fn user(&self, account: &str, name: &str) -> Option<&Role> {
        self.users.iter().find(|user| user.account == account && user.name == name)
    }

    /// From when on other services know a principal that is created now.
    #[must_use]
    pub fn visible_from(&self) -> Option<OffsetDateTime> {
        let delay = Duration::try_from_secs_f64(self.principal_delay).ok();
        delay.filter(|it| !it.is_zero()).map(|delay| self.now + delay)
    }

    /// Whether other services than IAM know by now what is visible from this time on.
    #[must_use]
    pub fn is_visible(&self, from: Option<OffsetDateTime>) -> bool {
        from.is_none_or(|from| from <= self.now)
    }

    /// Whether a resource's policy may name this principal: a kind, such as `AWS` or `Service`, and
    /// a name. Other accounts than those with access keys, roles or users here are taken to have
    /// every principal.
    #[must_use]
    pub fn knows_principal(&self, kind: &str, name: &str, partition: &str) -> bool {
        match kind {
            "Service" => name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn"),
            "AWS" => self.knows_aws_principal(name, partition),
            _ => true,
        }
    }

    fn knows_aws_principal(&self, name: &str, partition: &str) -> bool {
        if name == "*" || is_account(name) {
            return true;
        }
        if let Some((kind, all)) = [("AROA", &self.roles), ("AIDA", &self.users)]
            .into_iter()
            .find(|(prefix, _)| name.starts_with(prefix))
        {
            return all.iter().any(|it| it.id == name && it.id.starts_with(kind));
        }
        let parts: Vec<&str> = name.splitn(6, ':').collect();
        let ["arn", of, service, "", account, resource] = parts.as_slice() else { return false };
        if *of != partition || !is_account(account) {
            return false;
        }
        match (*service, resource.split_once('/')) {
            ("iam", None) => *resource == "root",
            ("iam", Some(("role", _))) => self.has(&self.roles, account, name),
            ("iam", Some(("user", _))) => self.has(&self.users, account, name),
            ("sts", Some(("assumed-role", session))) => {
                let role = session.split('/').next().unwrap_or_default();
                !self.knows_account(account)
                    || self.role(account, role).is_some_and(|it| self.is_visible(it.visible_from))
            }
            ("sts", Some(("federated-user", _))) => true,
            _ => false,
        }
    }

    fn has(&self, all: &[Role], account: &str, name: &str) -> bool {
        let is_it = |it: &&Role| it.arn() == name || it.user_arn() == name;
        match all.iter().find(is_it) {
            Some(found) => self.is_visible(found.visible_from),
            // A caller exists, even where nothing but its access key was put.
            None => {
                !self.knows_account(account)
                    || self.access_keys.values().any(|caller| caller.arn == name)
            }
        }
    }

    fn knows_account(&self, account: &str) -> bool {
        self.access_keys.values().any(|caller| caller.account == account)
            || self.roles.iter().chain(&self.users).any(|it| it.account == account)
    }

    /// The user or role behind a caller: a role with its path, which the ARNs of its sessions lack.
    #[must_use]
    pub fn iam_arn(&self, arn: &str, account: &str) -> String {
        let role = policy::role_of_session(arn);
        let name = role.rsplit('/').next().unwrap_or_default();
        match self.role(account, name) {
            Some(found) if role != arn => found.arn(),
            _ => role,
        }
    }

    /// The context of a caller's requests.
    #[must_use]
    pub fn context_of(&self, arn: &str, account: &str) -> Context {
        let mut context = policy::base_context(arn, account);
        context.insert("aws:PrincipalArn".to_owned(), vec![self.iam_arn(arn, account)]);
        context
    }

    /// Whether the policy of this key lets this caller change it.
    #[must_use]
    pub fn may_change_policy(&self, document: &Value, key: &str, caller: &Caller) -> bool {
        let context = self.context_of(&caller.arn, &caller.account);
        let ask = policy::Ask { action: "kms:PutKeyPolicy", resource: key, context: &context };
        policy::evaluate_resource(document, &ask, &caller.arn, &caller.account)
            == policy::Decision::Allowed
    }

    /// In the policies of resources, a principal that was deleted is named by its id from then on.
    pub fn forget_principal(&mut self, arn: &str, id: &str) {
        let buckets = self.buckets.values_mut().filter_map(|it| it.policy.as_mut());
        let keys = self.keys.iter_mut().map(|it| &mut it.policy);
        let trusts = self.roles.iter_mut().map(|it| &mut it.trust);
        let topics = self.topic_settings.values_mut().filter_map(|it| it.policy.as_mut());
        for document in buckets.chain(keys).chain(trusts).chain(topics) {
            rename_principal(document, arn, id);
        }
    }

    /// The partition of an account: that of its callers, roles and users; otherwise `aws`.
    #[must_use]
    pub fn partition_of_account(&self, account: &str) -> String {
        let callers = self.access_keys.values().filter(|it| it.account == account);
        let mut partitions = callers.filter_map(|it| partition_of_arn(&it.arn));
        partitions.next().unwrap_or("aws").to_owned()
    }
}

fn is_account(name: &str) -> bool {
    name.len() == 12 && name.chars().all(|it| it.is_ascii_digit())
}
