//! The plan: what should be, against what is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    base::{
        lookup::Lookup,
        names::{BucketName, S3Object},
        printable::{Printable, printable},
    },
    facts::{
        account_state::{AccountState, AccountStateQuery, PolicyHolder},
        emr::{Content, S3AtRest},
    },
    setup::{
        bucket_steps::{self, BucketUsers, PlannedBucket, Readers},
        configuration_steps::{self, Configured},
        desired::{SetupInputs, holder},
        guard_steps, key_steps, needs, notification_steps, object_lock_steps,
        options::SetupPart,
        piece::{MADE_KEY, Piece},
        plan::{Advice, SetupPlan, Step, StepAction},
        planning::Availability,
        role_steps::{self, PlannedRoles},
    },
    spec::data_paths::DataLocation,
};

impl SetupInputs<'_> {
    /// What has to be looked at before [`Self::plan`].
    pub(crate) fn query(&self) -> AccountStateQuery {
        let service = self.role_arn(self.service_role());
        let instances = self.role_arn(self.instance_profile());
        self.query_of(&service, (self.instance_profile(), &instances), None)
    }

    /// The second query, if the first answers show that it has to ask otherwise: the instance
    /// profile holds a role of another name, a role has a path, or the key's ARN is known.
    pub(crate) fn query_again(&self, state: &AccountState) -> Option<AccountStateQuery> {
        let arn_of = |name: &str| {
            let found = state.roles.get(name).and_then(Lookup::found);
            found.map_or_else(|| self.role_arn(name), |role| role.arn.clone())
        };
        let held = state.instance_profile.found().and_then(|profile| profile.role.clone());
        let (name, instances) = held.unwrap_or_else(|| {
            let name = self.instance_profile();
            (name.to_owned(), arn_of(name))
        });
        let service = arn_of(self.service_role());
        let key = state.key.found().map(|key| key.arn.as_str());
        let again = self.query_of(&service, (&name, &instances), key);
        (again != self.query()).then_some(again)
    }

    fn query_of(
        &self,
        service: &str,
        (instance_role, instances): (&str, &str),
        key: Option<&str>,
    ) -> AccountStateQuery {
        let archive = self.archive();
        let of_launcher = self.launcher_holder();
        let of_instances = PolicyHolder::Role(instance_role.to_owned());
        let mut needs = Vec::new();
        let mut inline_policies = BTreeSet::from([(of_instances.clone(), self.inline_policy())]);
        needs.extend(
            needs::of_instances(self).iter().map(|need| need.asked(&of_instances, instances)),
        );
        if let Some((holder, arn)) = &of_launcher {
            let of_launcher = needs::of_launcher(self, service, instances);
            needs.extend(of_launcher.iter().map(|need| need.asked(holder, arn)));
            inline_policies.insert((holder.clone(), self.inline_policy()));
        }
        let mut security_configurations: BTreeSet<String> =
            configuration_steps::possible_names(self, key).into_iter().collect();
        let configured = self.configured.filter(|name| !name.is_empty());
        security_configurations.extend(configured.map(str::to_owned));
        if let Some((holder, arn)) = self.guard_holder().filter(|_| guard_steps::is_on(self)) {
            needs.extend(guard_steps::asked(self, &holder, arn));
            inline_policies.insert((holder, self.guard_policy()));
        }
        let locks: BTreeSet<BucketName> = self.evidence_bucket().into_iter().collect();
        let mut buckets = self.own_buckets();
        buckets.extend(locks.iter().cloned());
        buckets.extend(archive.as_ref().map(|archive| archive.bucket.clone()));
        AccountStateQuery {
            account: self.account.clone(),
            region: self.region().to_owned(),
            buckets,
            key: self.key(),
            instance_profile: self.instance_profile().to_owned(),
            service_role: self.service_role().to_owned(),
            security_configurations,
            certificates: archive,
            inline_policies,
            needs,
            locks,
            notifications: notification_steps::query(self),
        }
    }

    /// The buckets of the config that the run touches and that are the account's own.
    fn own_buckets(&self) -> BTreeSet<BucketName> {
        let buckets = self.touched().map(DataLocation::bucket);
        buckets.filter(|bucket| !self.policy.is_external(bucket.as_str())).cloned().collect()
    }

    /// The plan by what [`Self::query`] found.
    pub(crate) fn plan(&self, state: &AccountState) -> SetupPlan {
        let mut advice = Vec::new();
        let roles = role_steps::roles(self, state);
        let key_plan = key_steps::key(self, state, &roles);
        let key = &key_plan.key;
        let mut buckets: Vec<PlannedBucket> = self
            .own_buckets()
            .iter()
            .map(|name| bucket_steps::bucket(self, state, name, key))
            .collect();
        let defaults: Vec<(BucketName, _)> =
            buckets.iter().map(|bucket| (bucket.bucket.clone(), bucket.default.clone())).collect();
        let defaults: Vec<_> =
            defaults.iter().map(|(bucket, default)| (bucket, default.as_ref())).collect();
        let s3_by_key = configuration_steps::s3_by_key(self, &defaults);
        let configured =
            configuration_steps::configured(self, state, key, &defaults, &roles.instances);
        let archive = self.archive_of(&configured);
        let mut only_readers = Readers::Any;
        if let Some(archive) = &archive
            && !buckets.iter().any(|bucket| bucket.bucket == archive.bucket)
        {
            let planned = bucket_steps::bucket(self, state, &archive.bucket, key);
            if self.certificate_bucket().as_ref() == Some(&archive.bucket) {
                only_readers = self.readers(&roles);
            }
            buckets.push(planned);
        }
        let steps = self.bucket_settings(
            state,
            &buckets,
            &BucketContext {
                roles: &roles,
                s3_by_key,
                key,
                archive: archive.as_ref(),
                only_readers,
            },
        );
        let certificates = archive.as_ref().map(|archive| {
            let of_bucket = buckets.iter().find(|bucket| bucket.bucket == archive.bucket);
            let missing = Availability::Missing("its bucket is not planned".into());
            let bucket = of_bucket.map_or(&missing, |bucket| &bucket.availability);
            let reader = roles.instances.there().map(|role| role.arn.as_str());
            configuration_steps::certificates(self, state, archive, bucket, key, reader)
        });
        let of_archive = certificates.as_ref().map(|step| Availability::of(&step.action, ()));
        let keys_elsewhere = self.keys_elsewhere(&configured, &buckets, key);
        let (configuration, name) = if configuration_steps::is_on(self) {
            let (step, name) = configuration_steps::security_configuration(
                self,
                state,
                configured,
                &defaults,
                key,
                of_archive.as_ref(),
                configuration_steps::undecided(self, &buckets).as_ref(),
            );
            (Some(step), name)
        } else {
            (None, None)
        };
        let instance_policy = role_steps::instance_policy(self, state, &roles.instances);
        let launcher_policy = role_steps::launcher_policy(self, state, &roles, &mut advice);
        let guard_policy = guard_steps::guard_policy(self, state, &mut advice);
        let evidence = self.evidence(state, &buckets, &roles, key);
        let mut plan: Vec<Step> = roles.steps;
        let rest: Vec<Step> = [instance_policy, launcher_policy, guard_policy]
            .into_iter()
            .flatten()
            .chain(steps)
            .chain(certificates)
            .chain(configuration)
            .chain(evidence)
            .collect();
        plan.extend(key_plan.steps.into_iter().filter(|step| {
            let is_new_key =
                step.action == StepAction::Create && matches!(step.piece, Piece::Key(_));
            !is_new_key || rest.iter().any(needs_key)
        }));
        plan.extend(rest);
        let (notifications, about_them) = notification_steps::plan(self, &state.notifications);
        plan.extend(notifications);
        advice.extend(keys_elsewhere);
        advice.extend(about_them);
        advice.extend(self.advice(state, &plan));
        SetupPlan { steps: plan, security_configuration: name, advice }
    }

    /// The archive that the plan looks after: none if a configuration that is kept names another.
    fn archive_of(&self, configured: &Configured) -> Option<S3Object> {
        let planned = self.archive().filter(|_| self.makes(SetupPart::Certificates))?;
        match configured {
            Configured::Keeps { archive, .. } => {
                (archive.as_ref() == Some(&planned)).then_some(planned)
            }
            Configured::Refused { .. } => None,
            Configured::Replaced(_) | Configured::Unknown(..) => Some(planned),
        }
    }

    /// Who alone may read the certificates.
    fn readers(&self, roles: &PlannedRoles) -> Readers {
        let what = "the role of the instances, which alone reads the certificates";
        match (&roles.instances, self.guard.filter(|arn| holder(arn, self.account).is_some())) {
            (Availability::There(instances), Some(guard)) => {
                Readers::Only(BTreeSet::from([instances.arn.clone(), guard.to_owned()]))
            }
            (Availability::There(_), None) => Readers::NoGuard,
            (role, _) => role.obstacle(what).map_or(Readers::Any, Readers::Obstacle),
        }
    }

    fn bucket_settings(
        &self,
        state: &AccountState,
        buckets: &[PlannedBucket],
        context: &BucketContext<'_>,
    ) -> Vec<Step> {
        let is_own_archive = |bucket: &PlannedBucket| {
            let archive = context.archive.map(|archive| &archive.bucket);
            let own = self.own_buckets();
            archive == Some(&bucket.bucket) && !own.contains(&bucket.bucket)
        };
        // The bucket of an archive that the user names is the user's, unless it is made.
        let is_left = |bucket: &PlannedBucket| {
            is_own_archive(bucket)
                && self.certificate_bucket().as_ref() != Some(&bucket.bucket)
                && !bucket.is_new
        };
        let mut steps: Vec<Step> =
            buckets.iter().filter_map(|bucket| bucket.step.clone()).collect();
        let set = || buckets.iter().filter(|bucket| !is_left(bucket));
        steps.extend(set().filter_map(|bucket| bucket.encryption.clone()));
        steps.extend(
            set().filter_map(|bucket| bucket_steps::public_access_block(self, state, bucket)),
        );
        steps.extend(set().filter_map(|bucket| {
            let users = BucketUsers {
                instances: context.roles.instances.there(),
                s3_by_key: context.s3_by_key,
                key: context.key.there().map(String::as_str),
                readers: if is_own_archive(bucket) { &context.only_readers } else { &Readers::Any },
            };
            bucket_steps::bucket_policy(self, state, bucket, &users)
        }));
        steps
    }

    /// The bucket for evidence, if it is asked for: it is made and set up as every other one, and
    /// has Object Lock besides.
    fn evidence(
        &self,
        state: &AccountState,
        buckets: &[PlannedBucket],
        roles: &PlannedRoles,
        key: &Availability<String>,
    ) -> Vec<Step> {
        let Some(name) = self.evidence_bucket() else { return Vec::new() };
        if let Some(planned) = buckets.iter().find(|bucket| bucket.bucket == name) {
            return object_lock_steps::object_lock(self, state, planned);
        }
        let planned = [bucket_steps::bucket(self, state, &name, key)];
        let context = BucketContext {
            roles,
            s3_by_key: false,
            key,
            archive: None,
            only_readers: Readers::Any,
        };
        let mut steps = self.bucket_settings(state, &planned, &context);
        for step in &mut steps {
            step.checks = object_lock_steps::ASKED_BY.to_vec();
        }
        let [planned] = planned;
        steps.extend(object_lock_steps::object_lock(self, state, &planned));
        steps
    }

    /// Advice on keys that the plan leaves in use and does not look at: it looks at one key.
    fn keys_elsewhere(
        &self,
        configured: &Configured,
        buckets: &[PlannedBucket],
        key: &Availability<String>,
    ) -> Vec<Advice> {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if let Configured::Keeps { name, content, .. } = configured {
            let content = Content::read(content);
            let of_disk = content.local_disk.iter().filter_map(|disk| disk.key.as_ref());
            for key in of_disk.chain(content.s3.iter().flat_map(S3AtRest::keys)) {
                named.entry(key.to_string()).or_default().push(name.clone());
            }
        }
        for bucket in buckets {
            let key = bucket.default.as_ref().and_then(|default| default.key.clone());
            if let Some(key) = key {
                named.entry(key).or_default().push(format!("the default of {}", bucket.bucket));
            }
        }
        let is_elsewhere = |named: &str| {
            named != self.key().as_str()
                && !key.there().is_some_and(|arn| bucket_steps::is_same_key(named, arn))
        };
        let elsewhere = named.into_iter().filter(|(named, _)| is_elsewhere(named));
        let advice = elsewhere.map(|(named, mut users)| {
            users.dedup();
            let named = Printable::from(&named);
            Advice {
                check: Some("jobflow-role-may-use-key"),
                saw: printable!(
                    "{named}, which this plan does not look at, is the key of {}",
                    Printable::from(users.join(", "))
                ),
                fix: printable!(
                    "`emr-etl-guard check` judges it; to have it in the plan, add `--key {named}`"
                ),
            }
        });
        advice.collect()
    }

    /// What only a person can do or decide.
    fn advice(&self, state: &AccountState, plan: &[Step]) -> Vec<Advice> {
        let mut advice = Vec::new();
        let external: BTreeSet<&str> = self
            .touched()
            .map(|location| location.bucket().as_str())
            .filter(|bucket| self.policy.is_external(bucket))
            .collect();
        if !external.is_empty() {
            let all = external.into_iter().collect::<Vec<_>>().join(", ");
            advice.push(Advice {
                check: Some("bucket-owner"),
                saw: printable!("external by policy, and not touched: {}", Printable::from(&all)),
                fix: "ask their owners how they are encrypted, and whether the cluster's role may \
                      read them"
                    .into(),
            });
        }
        let old = state.buckets.values().any(|bucket| bucket.ours.found() == Some(&true));
        if old && plan.iter().any(|step| matches!(step.piece, Piece::BucketEncryption(_))) {
            advice.push(Advice {
                check: Some("data-encrypted"),
                saw: "a default encryption is for new objects; those that are there already stay \
                      as they are"
                    .into(),
                fix: "`emr-etl-guard audit` counts those that are not encrypted as required, and \
                      `emr-etl-guard reencrypt` encrypts them in place"
                    .into(),
            });
        }
        advice.push(Advice {
            check: Some("organization-allows"),
            saw: "policies of an organisation can deny what this plan allows, and IAM simulates \
                  them in part only"
                .into(),
            fix: "where the account is in an organisation, ask the owner of its policies".into(),
        });
        advice
    }
}

/// What the settings of buckets depend on.
struct BucketContext<'a> {
    roles: &'a PlannedRoles,
    s3_by_key: bool,
    key: &'a Availability<String>,
    archive: Option<&'a S3Object>,
    only_readers: Readers,
}

/// Whether a step needs the key: its piece names it, or it waits for it.
fn needs_key(step: &Step) -> bool {
    fn names_key(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains(MADE_KEY),
            Value::Array(items) => items.iter().any(names_key),
            Value::Object(fields) => fields.values().any(names_key),
            _ => false,
        }
    }
    let waits = match &step.action {
        StepAction::Refuse { saw, .. } => saw.starts_with("it needs the KMS key"),
        StepAction::Unknown { error } => error.message.starts_with("it needs the KMS key"),
        StepAction::Create | StepAction::Change { .. } | StepAction::Keep => false,
    };
    waits || serde_json::to_value(&step.piece).is_ok_and(|piece| names_key(&piece))
}
