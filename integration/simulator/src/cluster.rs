//! Owns what is known of one cluster: its request, state, steps, instances and volumes.

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::command::{NextCluster, Timings};
use crate::life::Next;
use crate::world::World;

/// The states of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterState {
    /// Asked for; no instance yet.
    Starting,
    /// Instances exist and run bootstrap actions.
    Bootstrapping,
    /// A step runs or is about to.
    Running,
    /// Idle and kept alive.
    Waiting,
    /// On its way out.
    Terminating,
    /// Ended as asked or after its steps.
    Terminated,
    /// Ended by a failure.
    TerminatedWithErrors,
}

impl ClusterState {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Bootstrapping => "BOOTSTRAPPING",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Terminating => "TERMINATING",
            Self::Terminated => "TERMINATED",
            Self::TerminatedWithErrors => "TERMINATED_WITH_ERRORS",
        }
    }

    /// Terminated, with errors or without.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::TerminatedWithErrors)
    }

    /// Terminating or terminated.
    #[must_use]
    pub fn is_ending(self) -> bool {
        self.is_over() || self == Self::Terminating
    }
}

/// The states of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Ended well.
    Completed,
    /// Never ran, or was stopped with its cluster.
    Cancelled,
    /// Ended badly.
    Failed,
}

impl StepState {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        }
    }
}

/// A step of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// `s-…`
    pub id: String,
    /// Its name.
    pub name: String,
    /// `TERMINATE_JOB_FLOW`, `CANCEL_AND_WAIT`, `CONTINUE`, …
    pub action_on_failure: String,
    /// The jar.
    pub jar: String,
    /// The jar's main class, if named.
    pub main_class: Option<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Java properties.
    pub properties: Map<String, Value>,
    /// Where it is.
    pub state: StepState,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// Why it failed.
    pub failure: Option<String>,
    /// `s3://…` of every object it wrote, logs left out.
    pub written: Vec<String>,
}

/// An instance group.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceGroup {
    /// `ig-…`
    pub id: String,
    /// `MASTER`, `CORE` or `TASK`.
    pub role: String,
    /// As requested, in `RunJobFlow`'s form.
    pub request: Value,
    /// Its own `Configurations`; they may change while the cluster runs.
    pub configurations: Value,
}

/// An instance of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// `ci-…`
    pub id: String,
    /// `i-…`
    pub ec2_id: String,
    /// Its group's id.
    pub group: String,
    /// `MASTER`, `CORE` or `TASK`.
    pub role: String,
    /// `m4.large`, …
    pub kind: String,
    /// Last two numbers of its private address.
    pub address: (u8, u8),
    /// Root volume first.
    pub volumes: Vec<Volume>,
}

/// An EBS volume.
#[derive(Debug, Clone, Serialize)]
pub struct Volume {
    /// `vol-…`
    pub id: String,
    /// `/dev/xvda` is the root.
    pub device: String,
    /// GiB.
    pub size: u64,
    /// `gp2`, …
    pub kind: String,
    /// By EBS; LUKS does not show.
    pub encrypted: bool,
    /// ARN of the key if it is.
    pub key: Option<String>,
}

/// A cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    /// `j-…`
    pub id: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// `RunJobFlow`'s body, or what stands for it.
    pub request: Value,
    /// The name `DescribeCluster` gives.
    pub security_configuration: Option<String>,
    /// Content of the security configuration as it was when the cluster was asked for: what it
    /// really lives by.
    pub security: Value,
    /// The cluster's `Configurations`.
    pub configurations: Value,
    /// Where it is.
    pub state: ClusterState,
    /// Code and message of the last change, where there is one.
    pub reason: Option<(String, String)>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When its bootstrap actions were done.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ready: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// Key and value.
    pub tags: Vec<(String, String)>,
    /// Termination protection.
    pub termination_protected: bool,
    /// It waits when it has no more steps.
    pub keep_alive: bool,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// Its instance groups.
    pub groups: Vec<InstanceGroup>,
    /// Its instances; none while STARTING.
    pub instances: Vec<Instance>,
    /// How many times `TerminateJobFlows` named it with success.
    pub terminations: u32,
    /// Its special fate.
    pub fate: NextCluster,
    /// The state that was last put into queues.
    #[serde(skip)]
    pub(crate) told: Option<ClusterState>,
    #[serde(skip)]
    pub(crate) timings: Timings,
    #[serde(skip)]
    pub(crate) next: Option<(OffsetDateTime, Next)>,
}

impl Cluster {
    /// The state's name in the API.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// The cluster's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:elasticmapreduce:{}:{}:cluster/{}", self.region, self.account, self.id)
    }

    /// `RunJobFlow`'s field of this name.
    #[must_use]
    pub fn requested(&self, pointer: &str) -> Option<&str> {
        self.request.pointer(pointer).and_then(Value::as_str)
    }

    /// The part of the security configuration that encrypts, if it has that part and switches it
    /// on.
    fn at_rest(&self, part: &str) -> Option<&Value> {
        let encryption = self.security.get("EncryptionConfiguration")?;
        if !truthy(encryption.get("EnableAtRestEncryption")) {
            return None;
        }
        encryption.get("AtRestEncryptionConfiguration")?.get(part)
    }

    /// Whether EBS encryption is on, and with which key.
    pub(crate) fn ebs_key(&self) -> Option<&str> {
        let disk = self.at_rest("LocalDiskEncryptionConfiguration")?;
        if !truthy(disk.get("EnableEbsEncryption")) {
            return None;
        }
        disk.get("AwsKmsKey").and_then(Value::as_str)
    }

    /// EMRFS mode and key for a bucket, by the security configuration.
    pub(crate) fn s3_mode(&self, bucket: &str) -> Option<(&str, Option<&str>)> {
        let s3 = self.at_rest("S3EncryptionConfiguration")?;
        let overrides = s3.get("Overrides").and_then(Value::as_array);
        let special = overrides
            .into_iter()
            .flatten()
            .find(|it| it.get("BucketName").and_then(Value::as_str) == Some(bucket));
        let chosen = special.unwrap_or(s3);
        let mode = chosen.get("EncryptionMode").and_then(Value::as_str)?;
        Some((mode, chosen.get("AwsKmsKey").and_then(Value::as_str)))
    }

    /// A property of the cluster's `Configurations`, top level only.
    pub(crate) fn property(&self, classification: &str, property: &str) -> Option<&str> {
        self.configurations
            .as_array()?
            .iter()
            .filter(|it| it.get("Classification").and_then(Value::as_str) == Some(classification))
            .find_map(|it| it.get("Properties")?.get(property)?.as_str())
    }
}

/// `true`, or the string AWS's own examples write.
pub(crate) fn truthy(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// Who asks for a cluster, where and when, and what the world decided about it.
pub(crate) struct Birth {
    pub(crate) id: Option<String>,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) request: Value,
    pub(crate) at: OffsetDateTime,
}

/// Makes a cluster in state STARTING and gives its index.
pub(crate) fn create(world: &mut World, birth: Birth) -> usize {
    let Birth { id, account, region, request, at } = birth;
    let fate = take_fate(world);
    let asked = request.get("SecurityConfiguration").and_then(Value::as_str);
    let given = fate.security_configuration.as_deref().or(asked);
    let security_configuration = given.filter(|name| !name.is_empty()).map(str::to_owned);
    let security = security_configuration
        .as_deref()
        .and_then(|name| world.security_configuration(&account, &region, name))
        .and_then(|it| serde_json::from_str(&it.content).ok())
        .unwrap_or(Value::Null);
    let instances = &request["Instances"];
    let timings = fate.timings.clone().unwrap_or_else(|| world.timings.clone());
    let steps = request.get("Steps").cloned().unwrap_or_default();
    let cluster = Cluster {
        id: id.unwrap_or_else(|| world.emr_id("j-", 13)),
        name: text(&request, "Name").unwrap_or("cluster").to_owned(),
        security_configuration,
        security,
        configurations: request.get("Configurations").cloned().unwrap_or_else(|| json!([])),
        state: ClusterState::Starting,
        reason: None,
        created: at,
        ready: None,
        ended: None,
        tags: tags(request.get("Tags")),
        termination_protected: fate
            .termination_protected
            .unwrap_or_else(|| truthy(instances.get("TerminationProtected"))),
        keep_alive: truthy(instances.get("KeepJobFlowAliveWhenNoSteps")),
        steps: Vec::new(),
        groups: groups(world, instances),
        instances: Vec::new(),
        terminations: 0,
        told: None,
        next: Some((at + seconds(timings.starting), Next::Bootstrap)),
        timings,
        fate,
        account,
        region,
        request,
    };
    world.clusters.push(cluster);
    let index = world.clusters.len() - 1;
    add_steps(world, index, &steps, at);
    index
}

fn take_fate(world: &mut World) -> NextCluster {
    let Some(first) = world.next_clusters.front_mut() else {
        return NextCluster::default();
    };
    let fate = first.clone();
    first.count = first.count.saturating_sub(1);
    if first.count == 0 {
        world.next_clusters.pop_front();
    }
    fate
}

/// Adds steps in `RunJobFlow`'s form and gives their ids.
pub(crate) fn add_steps(
    world: &mut World,
    index: usize,
    steps: &Value,
    at: OffsetDateTime,
) -> Vec<String> {
    let mut ids = Vec::new();
    for step in steps.as_array().into_iter().flatten() {
        let id = world.emr_id("s-", 13);
        let jar = &step["HadoopJarStep"];
        let mut properties = Map::new();
        for pair in jar["Properties"].as_array().into_iter().flatten() {
            if let Some(key) = text(pair, "Key") {
                properties.insert(key.to_owned(), pair["Value"].clone());
            }
        }
        world.clusters[index].steps.push(Step {
            id: id.clone(),
            name: text(step, "Name").unwrap_or_default().to_owned(),
            action_on_failure: text(step, "ActionOnFailure").unwrap_or("CONTINUE").to_owned(),
            jar: text(jar, "Jar").unwrap_or_default().to_owned(),
            main_class: text(jar, "MainClass").map(str::to_owned),
            args: strings(&jar["Args"]),
            properties,
            state: StepState::Pending,
            created: at,
            started: None,
            ended: None,
            failure: None,
            written: Vec::new(),
        });
        ids.push(id);
    }
    ids
}

/// Instance groups in `RunJobFlow`'s form, from either way of asking for instances.
fn groups(world: &mut World, instances: &Value) -> Vec<InstanceGroup> {
    let mut asked: Vec<Value> = instances["InstanceGroups"].as_array().cloned().unwrap_or_default();
    if asked.is_empty() {
        let count = instances["InstanceCount"].as_u64().unwrap_or(1);
        let master = text(instances, "MasterInstanceType").unwrap_or("m4.large");
        asked.push(json!({"InstanceRole": "MASTER", "InstanceType": master, "InstanceCount": 1, "Market": "ON_DEMAND"}));
        if count > 1 {
            let slave = text(instances, "SlaveInstanceType").unwrap_or(master);
            asked.push(json!({
                "InstanceRole": "CORE", "InstanceType": slave, "InstanceCount": count - 1, "Market": "ON_DEMAND",
            }));
        }
    }
    asked.into_iter().map(|request| group(world, request)).collect()
}

fn group(world: &mut World, request: Value) -> InstanceGroup {
    InstanceGroup {
        id: world.emr_id("ig-", 13),
        role: text(&request, "InstanceRole").unwrap_or("CORE").to_owned(),
        configurations: request.get("Configurations").cloned().unwrap_or_else(|| json!([])),
        request,
    }
}

/// Adds instance groups in `AddInstanceGroups`' form and gives their ids; where the cluster's
/// instances exist already, theirs join at once.
pub(crate) fn add_groups(world: &mut World, index: usize, groups: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    for request in groups.as_array().into_iter().flatten() {
        let group = group(world, request.clone());
        ids.push(group.id.clone());
        if !world.clusters[index].instances.is_empty() {
            add_instances(world, index, &group, instance_count(&group));
        }
        world.clusters[index].groups.push(group);
    }
    ids
}

/// Changes the number of a group's instances, where they exist already.
pub(crate) fn resize(world: &mut World, index: usize, number: usize, count: u64) {
    let cluster = &mut world.clusters[index];
    cluster.groups[number].request["InstanceCount"] = json!(count);
    let group = cluster.groups[number].clone();
    let mut there = 0;
    let exist = !cluster.instances.is_empty();
    cluster.instances.retain(|instance| {
        there += u64::from(instance.group == group.id);
        instance.group != group.id || there <= count
    });
    if exist {
        add_instances(world, index, &group, count.saturating_sub(there));
    }
}

fn instance_count(group: &InstanceGroup) -> u64 {
    group.request["InstanceCount"].as_u64().unwrap_or(1)
}

/// Makes a cluster's instances and volumes.
pub(crate) fn provision(world: &mut World, index: usize) {
    for group in world.clusters[index].groups.clone() {
        add_instances(world, index, &group, instance_count(&group));
    }
}

/// Makes instances of a group, with their volumes.
fn add_instances(world: &mut World, index: usize, group: &InstanceGroup, count: u64) {
    let cluster = &world.clusters[index];
    let key = cluster.fate.ebs_key.clone().or_else(|| cluster.ebs_key().map(str::to_owned));
    let encrypted = cluster.fate.ebs_encrypted.unwrap_or(key.is_some());
    let root_encrypted = cluster.fate.ebs_root_encrypted.unwrap_or(encrypted);
    let name = key.unwrap_or_else(|| "alias/aws/ebs".to_owned());
    let key =
        world.key(&cluster.account, &cluster.region, &name).map_or(name, crate::world::Key::arn);
    let root = cluster.request["EbsRootVolumeSize"].as_u64().unwrap_or(10);
    for _ in 0..count {
        let mut volumes = vec![("/dev/xvda".to_owned(), root, "gp2".to_owned(), root_encrypted)];
        volumes.extend(
            data_volumes(&group.request)
                .into_iter()
                .map(|(device, size, kind)| (device, size, kind, encrypted)),
        );
        let volumes = volumes
            .into_iter()
            .map(|(device, size, kind, encrypted)| {
                let key = encrypted.then(|| key.clone());
                Volume { id: world.ec2_id("vol-"), device, size, kind, encrypted, key }
            })
            .collect();
        let instance = Instance {
            id: world.emr_id("ci-", 13),
            ec2_id: world.ec2_id("i-"),
            group: group.id.clone(),
            role: group.role.clone(),
            kind: text(&group.request, "InstanceType").unwrap_or("m4.large").to_owned(),
            address: (world.random.u8(..), world.random.u8(4..254)),
            volumes,
        };
        world.clusters[index].instances.push(instance);
    }
}

/// Device, size in GiB and type of the data volumes of one instance; EMR adds one where none is
/// asked for.
fn data_volumes(group: &Value) -> Vec<(String, u64, String)> {
    let mut specifications = Vec::new();
    for device in
        group["EbsConfiguration"]["EbsBlockDeviceConfigs"].as_array().into_iter().flatten()
    {
        let volume = &device["VolumeSpecification"];
        let size = volume["SizeInGB"].as_u64().unwrap_or(32);
        let kind = text(volume, "VolumeType").unwrap_or("gp2").to_owned();
        for _ in 0..device["VolumesPerInstance"].as_u64().unwrap_or(1) {
            specifications.push((size, kind.clone()));
        }
    }
    if specifications.is_empty() {
        specifications.push((32, "gp2".to_owned()));
    }
    specifications
        .into_iter()
        .zip('b'..='z')
        .map(|((size, kind), letter)| (format!("/dev/sd{letter}"), size, kind))
        .collect()
}

/// Tags in the API's form as pairs.
pub(crate) fn tags(value: Option<&Value>) -> Vec<(String, String)> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|tag| {
            Some((text(tag, "Key")?.to_owned(), text(tag, "Value").unwrap_or_default().to_owned()))
        })
        .collect()
}

/// The string member of an object.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

/// The strings of an array.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Simulated seconds as a duration; nonsense is none.
pub(crate) fn seconds(seconds: f64) -> std::time::Duration {
    std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
