//! Owns the application of commands.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::access_block::PublicAccessBlock;
use crate::alarm::Alarm;
use crate::cloudtrail::Launch;
use crate::cluster::Cluster;
use crate::command::{
    Applied, ChangeObject, Command, CommandError, LaunchedBy, Named, ObjectVersion, PutAccessKey,
    PutAlarm, PutBucket, PutDhcp, PutHistory, PutInstanceProfile, PutKey, PutObject, PutRole,
    PutSecurityConfiguration, PutSubnet, PutUpload, PutUser, PutVpc, SendMessage, SetRegion,
    StartCluster, UpdateCluster,
};
use crate::ids::{DEFAULT_ACCOUNT, DEFAULT_REGION, iam_id, uuid};
use crate::life;
use crate::object::{self, Attributes, DefaultRetention, Object, Upload};
use crate::partition::partition_of;
use crate::policy;
use crate::provisioning::{self, Birth};
use crate::regions::needs_opt_in;
use crate::s3write;
use crate::signing;
use crate::sse::Sse;
use crate::values::seconds;
use crate::world::{
    Bucket, Caller, DhcpOptions, InstanceProfile, Key, Message, Role, SecurityConfiguration,
    Subnet, Vpc, World,
};

impl World {
    /// Applies a command that changes the world; others have no effect here.
    ///
    /// # Errors
    /// When the command names something that does not exist, or a policy that cannot be evaluated.
    pub fn apply(&mut self, command: Command) -> Result<Applied, CommandError> {
        match command {
            Command::PutAccessKey(put) => self.put_access_key(put),
            Command::PutBucket(put) => self.put_bucket(put)?,
            Command::DeleteBucket(named) => drop(self.buckets.remove(&named.name)),
            Command::PutObject(put) => self.put_object(put)?,
            Command::DeleteObject(object) => {
                self.delete_object(&object.bucket, &object.key);
            }
            Command::DeleteObjectVersion(version) => self.delete_object_version(&version)?,
            Command::ChangeObject(change) => self.change_object(change)?,
            Command::PutUpload(put) => return self.put_upload(&put),
            Command::SetAccountPublicAccessBlock(set) => {
                let (account, _) = place(set.account.as_ref(), None);
                match set.settings.or_else(|| set.on.map(PublicAccessBlock::all)) {
                    Some(block) => drop(self.account_blocks.insert(account, block)),
                    None => drop(self.account_blocks.remove(&account)),
                }
            }
            Command::PutSecurityConfiguration(put) => self.put_security_configuration(put),
            Command::DeleteSecurityConfiguration(named) => {
                let (account, region) = place(named.account.as_ref(), named.region.as_ref());
                self.security_configurations.retain(|it| {
                    !(it.account == account && it.region == region && it.name == named.name)
                });
            }
            Command::PutKey(put) => return self.put_key(put),
            Command::PutTopic(named) => {
                let (account, region) = place(named.account.as_ref(), named.region.as_ref());
                let partition = partition_of(&region);
                let arn = format!("arn:{partition}:sns:{region}:{account}:{}", named.name);
                self.topics.entry(arn).or_default();
            }
            Command::PutAlarm(put) => self.put_alarm(put),
            Command::SetEbsEncryptionByDefault(switch) => {
                self.ebs_encryption_by_default = switch.on;
            }
            Command::DeleteKey(named) => self.delete_key(&named),
            Command::PutRole(put) => self.put_role(put)?,
            Command::DeleteRole(named) => {
                let (account, _) = place(named.account.as_ref(), None);
                self.roles.retain(|it| !(it.account == account && it.name == named.name));
            }
            Command::PutUser(put) => self.put_user(put)?,
            Command::SetOrganization(set) => {
                if let Some(problem) = set.policies.iter().find_map(policy::unsupported) {
                    return Err(CommandError(format!("policy of an organisation: {problem}")));
                }
                let (account, _) = place(set.account.as_ref(), None);
                self.organizations.insert(account, set.policies);
            }
            Command::SetPrincipalDelay(delay) => self.principal_delay = delay.seconds,
            Command::PutInstanceProfile(put) => self.put_instance_profile(put),
            Command::DeleteInstanceProfile(named) => {
                let (account, _) = place(named.account.as_ref(), None);
                self.instance_profiles
                    .retain(|it| !(it.account == account && it.name == named.name));
            }
            Command::PutSubnet(put) => self.put_subnet(put),
            Command::PutVpc(put) => self.put_vpc(put),
            Command::PutDhcp(put) => self.put_dhcp(put),
            Command::PutQueue(named) => drop(self.queues.entry(named.name).or_default()),
            Command::SendMessage(SendMessage { queue, body }) => {
                let id = uuid(&mut self.random);
                let messages = self
                    .queues
                    .get_mut(&queue)
                    .ok_or_else(|| CommandError(format!("there is no queue {queue}")))?;
                messages.push(Message { id, body, receipt: None, hidden_until: None });
            }
            Command::SetEvents(delivery) => self.event_delivery = delivery,
            Command::ExpireSessions => self.expire_sessions(),
            Command::SetRegion(set) => self.set_region(set)?,
            Command::PutHistory(put) => self.put_history(&put),
            Command::StartCluster(start) => return self.start_cluster(start),
            Command::UpdateCluster(update) => self.update_cluster(update)?,
            Command::SetTimings(timings) => self.timings = timings,
            Command::SetNextCluster(fate) => self.next_clusters.push_back(fate),
            // All others affect the clock, the rules, or the server.
            _ => {}
        }
        Ok(Applied::default())
    }

    fn put_alarm(&mut self, put: PutAlarm) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        let alarm = Alarm {
            account,
            region,
            name: put.name,
            settings: put.settings,
            tags: BTreeMap::new(),
            state: put.state.unwrap_or_else(|| "INSUFFICIENT_DATA".to_owned()),
            state_since: self.now,
            configured: self.now,
        };
        self.alarms.retain(|it| it.arn() != alarm.arn());
        self.alarms.push(alarm);
    }

    fn put_access_key(&mut self, put: PutAccessKey) {
        let (account, _) = place(put.account.as_ref(), None);
        let user_id = user_id(&put.arn);
        self.access_keys.insert(put.id, Caller { account, arn: put.arn, user_id });
    }

    fn put_bucket(&mut self, put: PutBucket) -> Result<(), CommandError> {
        if let Some(problem) = put.policy.as_ref().and_then(policy::unsupported) {
            return Err(CommandError(format!("bucket policy of {}: {problem}", put.name)));
        }
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        let old = self.buckets.remove(&put.name);
        let (objects, older, created, tags) = old.map_or_else(
            || (BTreeMap::new(), BTreeMap::new(), self.now, Vec::new()),
            |old| (old.objects, old.older, old.created, old.tags),
        );
        let bucket = Bucket {
            name: put.name.clone(),
            region,
            account,
            default_encryption: put.default_encryption,
            policy: put.policy,
            public: put.public,
            versioning: put.versioning,
            public_access_block: (!put.configurations.no_public_access_block).then(|| {
                let all = PublicAccessBlock::all(put.public_access_block.unwrap_or(!put.public));
                put.public_access_settings.unwrap_or(all)
            }),
            default_retention: put.object_lock_days.map(|days| DefaultRetention {
                mode: "COMPLIANCE".to_owned(),
                unit: "Days".to_owned(),
                number: days,
            }),
            created,
            ownership: put.ownership.unwrap_or_else(|| "BucketOwnerEnforced".to_owned()),
            object_lock: put.object_lock || put.object_lock_days.is_some(),
            website: put.website,
            configurations: put.configurations,
            tags,
            objects,
            older,
        };
        self.buckets.insert(put.name, bucket);
        Ok(())
    }

    fn put_object(&mut self, put: PutObject) -> Result<(), CommandError> {
        let bucket = self
            .buckets
            .get(&put.bucket)
            .ok_or_else(|| CommandError(format!("there is no bucket {}", put.bucket)))?;
        let (account, region) = (bucket.account.clone(), bucket.region.clone());
        let sse = match put.sse.unwrap_or_else(|| s3write::default_of(self, &put.bucket)) {
            Sse::Kms { key } => Sse::Kms { key: Some(self.stored_key(&account, &region, key)) },
            Sse::Dsse { key } => Sse::Dsse { key: Some(self.stored_key(&account, &region, key)) },
            other => other,
        };
        let body = put.bytes.or(put.body.map(String::into_bytes));
        let size = put.size.unwrap_or_else(|| body.as_ref().map_or(0, |body| body.len() as u64));
        let mut attributes = put.attributes;
        let extents = object::extents(&put.bucket, &put.key, size, body.is_none());
        if let Some(checksum) = &mut attributes.checksum {
            let content = (body.as_deref(), extents.as_slice());
            checksum.value = object::stored_checksum(checksum, content, size, put.parts);
        }
        let object = Object {
            size,
            etag: object::etag(body.as_deref(), &extents, &sse, put.parts),
            sse,
            last_modified: self.now - seconds(put.age_seconds),
            storage_class: put.storage_class.unwrap_or_else(|| "STANDARD".to_owned()),
            content_type: put.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned()),
            metadata: put.metadata,
            written_by: "command".to_owned(),
            body,
            extents,
            version: None,
            owner: account,
            attributes,
            restore: None,
        };
        self.store_object(&put.bucket, &put.key, object);
        Ok(())
    }

    fn delete_object_version(&mut self, named: &ObjectVersion) -> Result<(), CommandError> {
        let missing = || {
            let ObjectVersion { bucket, key, version } = named;
            CommandError(format!("there is no version {version} of {bucket}/{key}"))
        };
        let bucket = self.buckets.get_mut(&named.bucket).ok_or_else(missing)?;
        bucket.version(&named.key, &named.version).ok_or_else(missing)?;
        bucket.remove_version(&named.key, &named.version);
        Ok(())
    }

    fn change_object(&mut self, change: ChangeObject) -> Result<(), CommandError> {
        let object = self
            .buckets
            .get_mut(&change.bucket)
            .and_then(|bucket| bucket.object_mut(&change.key, change.version.as_deref()));
        let object = object.ok_or_else(|| {
            CommandError(format!("there is no object {}/{}", change.bucket, change.key))
        })?;
        let attributes = &mut object.attributes;
        if let Some(tags) = change.tags {
            attributes.tags = tags;
        }
        if let Some(grants) = change.grants {
            attributes.grants = grants;
        }
        if let Some(retention) = change.retention {
            attributes.retention = Some(retention);
        }
        if let Some(on) = change.legal_hold {
            attributes.legal_hold = on;
        }
        Ok(())
    }

    fn put_upload(&mut self, put: &PutUpload) -> Result<Applied, CommandError> {
        let bucket = self
            .buckets
            .get(&put.bucket)
            .ok_or_else(|| CommandError(format!("there is no bucket {}", put.bucket)))?;
        let owner = bucket.account.clone();
        let sse = s3write::default_of(self, &put.bucket);
        let begun = self.now - seconds(put.age_seconds);
        let content = |size: u64| object::extents(&put.bucket, &put.key, size, true);
        let object = |size: u64| Object {
            size,
            etag: object::etag(None, &content(size), &sse, None),
            sse: sse.clone(),
            last_modified: begun,
            storage_class: "STANDARD".to_owned(),
            content_type: "binary/octet-stream".to_owned(),
            metadata: BTreeMap::new(),
            written_by: "command".to_owned(),
            body: None,
            extents: content(size),
            version: None,
            owner: owner.clone(),
            attributes: Attributes::default(),
            restore: None,
        };
        let initiator =
            put.initiator.clone().unwrap_or_else(|| format!("arn:aws:iam::{owner}:user/writer"));
        let upload = Upload {
            id: format!("upload-{:032x}", self.random.u128(..)),
            bucket: put.bucket.clone(),
            key: put.key.clone(),
            initiator,
            object: object(0),
            wish: None,
            parts: (1..).zip(put.parts.iter().map(|size| object(*size))).collect(),
        };
        let id = Some(upload.id.clone());
        self.uploads.push(upload);
        Ok(Applied { id })
    }

    /// The ARN that an object stores: a key that does not exist (any more) stays as it was named.
    fn stored_key(&mut self, account: &str, region: &str, key: Option<String>) -> String {
        match key {
            None => self.managed_s3_key(account, region),
            Some(name) => self.key(account, region, &name).map_or(name, Key::arn),
        }
    }

    fn put_security_configuration(&mut self, put: PutSecurityConfiguration) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        self.security_configurations
            .retain(|it| !(it.account == account && it.region == region && it.name == put.name));
        let content = match put.content {
            Value::String(text) => text,
            json => json.to_string(),
        };
        self.security_configurations.push(SecurityConfiguration {
            account,
            region,
            name: put.name,
            content,
            created: put.created.unwrap_or(self.now),
        });
    }

    fn put_key(&mut self, put: PutKey) -> Result<Applied, CommandError> {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        if let Some(problem) = put.policy.as_ref().and_then(policy::unsupported) {
            return Err(CommandError(format!("key policy of {}: {problem}", put.id)));
        }
        let text =
            |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
        self.keys.retain(|it| !(it.account == account && it.region == region && it.id == put.id));
        let is_pending = put.state.as_deref() == Some("PendingDeletion");
        let deletion = is_pending.then(|| self.now + Duration::from_hours(30 * 24));
        let key = Key {
            id: put.id,
            aliases: put.aliases,
            state: text(put.state, "Enabled"),
            spec: text(put.spec, "SYMMETRIC_DEFAULT"),
            usage: text(put.usage, "ENCRYPT_DECRYPT"),
            manager: text(put.manager, "CUSTOMER"),
            multi_region: put.multi_region,
            rotation: put.rotation,
            description: String::new(),
            policy: put.policy.unwrap_or_else(|| delegating(&account, partition_of(&region))),
            grants: put.grants,
            tags: Vec::new(),
            deletion,
            material: None,
            created: self.now,
            account,
            region,
        };
        let key = Key { material: signing::generate(&key.spec).map_err(CommandError)?, ..key };
        let id = Some(key.arn());
        self.keys.push(key);
        Ok(Applied { id })
    }

    fn delete_key(&mut self, named: &Named) {
        let (account, region) = place(named.account.as_ref(), named.region.as_ref());
        self.keys
            .retain(|it| !(it.account == account && it.region == region && it.id == named.name));
    }

    fn put_role(&mut self, put: PutRole) -> Result<(), CommandError> {
        let (account, _) = place(put.account.as_ref(), None);
        let documents = put
            .policies
            .iter()
            .chain(put.attached.iter().map(|it| &it.document))
            .chain(&put.boundary);
        for document in documents {
            if let Some(problem) = policy::unsupported(document) {
                return Err(CommandError(format!("policy of role {}: {problem}", put.name)));
            }
        }
        if let Some(profile) = put.instance_profile {
            self.put_instance_profile(PutInstanceProfile {
                name: profile,
                account: Some(account.clone()),
                partition: put.partition.clone(),
                path: put.path.clone(),
                roles: vec![put.name.clone()],
            });
        }
        self.roles.retain(|it| !(it.account == account && it.name == put.name));
        let policies = put.policies.into_iter().zip(1..);
        let partition = put.partition.unwrap_or_else(|| self.partition_of_account(&account));
        self.roles.push(Role {
            id: iam_id("AROA", &format!("{account} {}", put.name)),
            name: put.name,
            partition,
            account,
            path: put.path.unwrap_or_else(|| "/".to_owned()),
            trust: put.trust.unwrap_or_else(|| trusting("ec2.amazonaws.com")),
            policies: policies
                .map(|(document, number)| (format!("inline-{number}"), document))
                .collect(),
            attached: put.attached.into_iter().map(|it| (it.arn, it.document)).collect(),
            boundary: put.boundary,
            description: None,
            tags: Vec::new(),
            created: self.now,
            visible_from: None,
        });
        Ok(())
    }

    fn put_user(&mut self, put: PutUser) -> Result<(), CommandError> {
        let (account, _) = place(put.account.as_ref(), None);
        if let Some(problem) = put.policies.iter().find_map(policy::unsupported) {
            return Err(CommandError(format!("policy of user {}: {problem}", put.name)));
        }
        self.users.retain(|it| !(it.account == account && it.name == put.name));
        let policies = put.policies.into_iter().zip(1..);
        let partition = put.partition.unwrap_or_else(|| self.partition_of_account(&account));
        self.users.push(Role {
            id: iam_id("AIDA", &format!("{account} {}", put.name)),
            name: put.name,
            partition,
            account,
            path: "/".to_owned(),
            trust: Value::Null,
            policies: policies
                .map(|(document, number)| (format!("inline-{number}"), document))
                .collect(),
            attached: Vec::new(),
            boundary: None,
            description: None,
            tags: Vec::new(),
            created: self.now,
            visible_from: None,
        });
        Ok(())
    }

    fn put_instance_profile(&mut self, put: PutInstanceProfile) {
        let (account, _) = place(put.account.as_ref(), None);
        self.instance_profiles.retain(|it| !(it.account == account && it.name == put.name));
        let partition = put.partition.unwrap_or_else(|| self.partition_of_account(&account));
        self.instance_profiles.push(InstanceProfile {
            id: iam_id("AIPA", &format!("{account} {}", put.name)),
            name: put.name,
            partition,
            account,
            path: put.path.unwrap_or_else(|| "/".to_owned()),
            roles: put.roles,
            tags: Vec::new(),
            created: self.now,
            visible_from: None,
        });
    }

    fn put_subnet(&mut self, put: PutSubnet) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        self.subnets
            .retain(|it| !(it.account == account && it.region == region && it.id == put.id));
        self.subnets.push(Subnet { id: put.id, account, region, vpc: put.vpc, zone: 'a' });
    }

    fn put_vpc(&mut self, put: PutVpc) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        self.vpcs.retain(|it| !(it.account == account && it.region == region && it.id == put.id));
        self.vpcs.push(Vpc {
            id: put.id,
            account,
            region,
            dhcp_options: put.dhcp_options,
            cidr: put.cidr.unwrap_or_else(|| "172.31.0.0/16".to_owned()),
            dns_support: put.dns_support,
            dns_hostnames: put.dns_hostnames,
        });
    }

    fn put_dhcp(&mut self, put: PutDhcp) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        self.dhcp_options
            .retain(|it| !(it.account == account && it.region == region && it.id == put.id));
        self.dhcp_options.push(DhcpOptions { id: put.id, account, region, options: put.options });
    }

    fn start_cluster(&mut self, start: StartCluster) -> Result<Applied, CommandError> {
        let (account, region) = place(start.account.as_ref(), start.region.as_ref());
        if start.id.as_deref().is_some_and(|id| self.cluster(id).is_some()) {
            return Err(CommandError("there is a cluster of that id".to_owned()));
        }
        let mut request = json!({
            "Name": "Snowplow ETL",
            "ReleaseLabel": "emr-5.29.0",
            "Instances": {
                "KeepJobFlowAliveWhenNoSteps": true, "InstanceCount": 1,
                "MasterInstanceType": "m4.large"
            },
            "JobFlowRole": "EMR_EC2_DefaultRole",
            "ServiceRole": "EMR_DefaultRole",
        });
        match start.request {
            Value::Null => {}
            Value::Object(given) => {
                for (member, value) in given {
                    request[member] = value;
                }
            }
            _ => return Err(CommandError("request must be an object".to_owned())),
        }
        let now = self.now;
        let at = now - seconds(start.age_seconds);
        let index =
            provisioning::create(self, Birth { id: start.id, account, region, request, at });
        life::fast_forward(self, index, start.state, now);
        self.record_start(index, start.launcher);
        Ok(Applied { id: Some(self.clusters[index].id.clone()) })
    }

    /// Writes CloudTrail's record of a cluster that a command started.
    fn record_start(&mut self, index: usize, by: LaunchedBy) {
        let cluster = &self.clusters[index];
        let (account, region) = (cluster.account.clone(), cluster.region.clone());
        let partition = partition_of(&region);
        let arn = by.arn.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:user/somebody"));
        let caller = Caller { user_id: user_id(&arn), account, arn };
        let (request, at) = (cluster.request.clone(), cluster.created);
        let answer = json!({"JobFlowId": cluster.id, "ClusterArn": cluster.arn()});
        self.record_launch(&Launch {
            caller: &caller,
            access_key: "ASIASOMEBODY",
            address: by.address.as_deref().unwrap_or("203.0.113.7"),
            agent: by.agent.as_deref().unwrap_or("elasticmapreduce.aws.com"),
            invoked_by: by.invoked_by.as_deref(),
            region: &region,
            at,
            request: &request,
            result: Ok(&answer),
        });
    }

    fn put_history(&mut self, put: &PutHistory) {
        let (account, region) = place(put.account.as_ref(), put.region.as_ref());
        let interval = put.within_seconds / f64::from(put.count.max(1));
        let mut over = Vec::new();
        for number in 0..put.count {
            let ago = put.within_seconds - interval * f64::from(number);
            let created = self.now - seconds(ago);
            let id = self.emr_id("j-", 13);
            let ended = created + seconds(interval / 2.0);
            let name = format!("history {number}");
            over.push(Cluster::over(id, name, (account.clone(), region.clone()), (created, ended)));
        }
        // The oldest are first.
        self.clusters.splice(0..0, over);
    }

    fn set_region(&mut self, set: SetRegion) -> Result<(), CommandError> {
        if !needs_opt_in(&set.name) {
            let problem = format!("{} is no region that an account switches on or off", set.name);
            return Err(CommandError(problem));
        }
        let (account, _) = place(set.account.as_ref(), None);
        let regions = self.opted_in.entry(account).or_default();
        if set.opted_in {
            regions.insert(set.name);
        } else {
            regions.remove(&set.name);
        }
        Ok(())
    }

    fn update_cluster(&mut self, update: UpdateCluster) -> Result<(), CommandError> {
        let index = match update.id.as_str() {
            "" => self.clusters.len().checked_sub(1),
            id => self.clusters.iter().position(|it| it.id == id),
        };
        let index =
            index.ok_or_else(|| CommandError(format!("there is no cluster {}", update.id)))?;
        let now = self.now;
        provisioning::add_steps(self, index, &update.add_steps, now);
        if update.ebs_encrypted.is_some() {
            self.clusters[index].fate.ebs_encrypted = update.ebs_encrypted;
        }
        provisioning::add_groups(self, index, &update.add_groups);
        if let Some(count) = update.resize {
            for number in 0..self.clusters[index].groups.len() {
                if self.clusters[index].groups[number].role == "CORE" {
                    provisioning::resize(self, index, number, count);
                }
            }
        }
        let cluster = &mut self.clusters[index];
        for (member, value) in update.request.as_object().into_iter().flatten() {
            cluster.request[member] = value.clone();
        }
        if let Some(on) = update.termination_protected {
            cluster.termination_protected = on;
        }
        if let Some(name) = update.security_configuration {
            cluster.security_configuration = Some(name).filter(|name| !name.is_empty());
        }
        if let Some(configurations) = update.configurations {
            cluster.configurations = configurations;
        }
        if let Some(configurations) = update.group_configurations {
            for group in &mut cluster.groups {
                group.configurations = configurations.clone();
            }
        }
        if let Some(termination) = update.termination {
            cluster.fate.termination = termination;
        }
        Ok(())
    }
}

/// The unique id of a user or of a role session.
fn user_id(arn: &str) -> String {
    match arn.rsplit_once('/').filter(|_| arn.contains(":assumed-role/")) {
        Some((_, session)) => format!("AROASIMULATEDROLE0000:{session}"),
        None => "AIDASIMULATEDUSER0000".to_owned(),
    }
}

/// Account and region, filled in where absent.
fn place(account: Option<&String>, region: Option<&String>) -> (String, String) {
    let or = |given: Option<&String>, default: &str| {
        given.cloned().unwrap_or_else(|| default.to_owned())
    };
    (or(account, DEFAULT_ACCOUNT), or(region, DEFAULT_REGION))
}

/// The default key policy: the account's IAM policies decide.
#[must_use]
pub fn delegating(account: &str, partition: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:{partition}:iam::{account}:root")},
            "Action": "kms:*",
            "Resource": "*",
        }],
    })
}

/// A trust policy for one service.
pub(crate) fn trusting(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole"
        }],
    })
}
