//! Owns the creation of clusters, their steps, instances and volumes.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::cluster::{
    Cluster, ClusterState, Instance, InstanceGroup, Next, Step, StepState, Volume,
};
use crate::fate::NextCluster;
use crate::values::{seconds, strings, tags, text, truthy};
use crate::world::{Key, World};

/// The request of a cluster: its caller, place and time, and the world's decisions about it.
pub struct Birth {
    /// `j-…`; absent: made up.
    pub id: Option<String>,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// `RunJobFlow`'s body.
    pub request: Value,
    /// When it was asked for.
    pub at: OffsetDateTime,
}

/// Makes a cluster in state STARTING and gives its index.
pub fn create(world: &mut World, birth: Birth) -> usize {
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
pub fn add_steps(
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

/// Instance groups in `RunJobFlow`'s form, from any way of asking for instances.
fn groups(world: &mut World, instances: &Value) -> Vec<InstanceGroup> {
    if let Some(fleets) = instances["InstanceFleets"].as_array().filter(|it| !it.is_empty()) {
        return fleets.iter().map(|request| fleet(world, request.clone())).collect();
    }
    let mut asked: Vec<Value> = instances["InstanceGroups"].as_array().cloned().unwrap_or_default();
    if asked.is_empty() {
        let count = instances["InstanceCount"].as_u64().unwrap_or(1);
        let master = text(instances, "MasterInstanceType").unwrap_or("m4.large");
        asked.push(json!({
            "InstanceRole": "MASTER", "InstanceType": master, "InstanceCount": 1,
            "Market": "ON_DEMAND"
        }));
        if count > 1 {
            let slave = text(instances, "SlaveInstanceType").unwrap_or(master);
            asked.push(json!({
                "InstanceRole": "CORE", "InstanceType": slave, "InstanceCount": count - 1,
                "Market": "ON_DEMAND",
            }));
        }
    }
    asked.into_iter().map(|request| group(world, request)).collect()
}

fn fleet(world: &mut World, request: Value) -> InstanceGroup {
    let first = &request["InstanceTypeConfigs"][0];
    InstanceGroup {
        id: world.emr_id("if-", 13),
        role: text(&request, "InstanceFleetType").unwrap_or("CORE").to_owned(),
        configurations: first.get("Configurations").cloned().unwrap_or_else(|| json!([])),
        request,
    }
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
pub fn add_groups(world: &mut World, index: usize, groups: &Value) -> Vec<String> {
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
pub fn resize(world: &mut World, index: usize, number: usize, count: u64) {
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

/// How many instances it has: of a fleet as many of its first type as its capacity takes.
fn instance_count(group: &InstanceGroup) -> u64 {
    if group.is_fleet() {
        let capacity = |name: &str| group.request[name].as_u64().unwrap_or(0);
        let weight = group.request["InstanceTypeConfigs"][0]["WeightedCapacity"].as_u64();
        let all = capacity("TargetOnDemandCapacity") + capacity("TargetSpotCapacity");
        return all.div_ceil(weight.unwrap_or(1).max(1));
    }
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
    let key = world.key(&cluster.account, &cluster.region, &name).map_or(name, Key::arn);
    let asked =
        if group.is_fleet() { &group.request["InstanceTypeConfigs"][0] } else { &group.request };
    let root = cluster.request["EbsRootVolumeSize"].as_u64().unwrap_or(10);
    for _ in 0..count {
        let mut volumes = vec![("/dev/xvda".to_owned(), root, "gp2".to_owned(), root_encrypted)];
        volumes.extend(
            data_volumes(asked)
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
            kind: text(asked, "InstanceType").unwrap_or("m4.large").to_owned(),
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
