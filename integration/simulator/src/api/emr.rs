//! Owns EMR's operations.

mod configuration_check;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use emr_world::clock::epoch_seconds;
use emr_world::cloudtrail::Launch;
use emr_world::cluster::{Cluster, ClusterState, Instance, InstanceGroup, Step};
use emr_world::fate::Termination;
use emr_world::life;
use emr_world::partition::internal_domain;
use emr_world::provisioning::{self, Birth};
use emr_world::values::{strings, tags, text, truthy};
use emr_world::world::{Caller, SecurityConfiguration, World};

/// Clusters or steps on one page.
const PAGE: usize = 50;

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    if !call.json.is_object() {
        return Err(Failure::new(
            400,
            "SerializationException",
            "Start of structure or map found where not expected.",
        ));
    }
    let mut emr = Emr { world, account: &caller.account, region: &call.region, input: &call.json };
    let output = match call.subject.operation.as_str() {
        "CreateSecurityConfiguration" => emr.create_security_configuration(),
        "DescribeSecurityConfiguration" => emr.describe_security_configuration(),
        "DeleteSecurityConfiguration" => emr.delete_security_configuration(),
        "ListSecurityConfigurations" => emr.list_security_configurations(),
        "RunJobFlow" => {
            let output = emr.run_job_flow();
            record_launch(world, call, caller, &output);
            output
        }
        "AddJobFlowSteps" => emr.add_job_flow_steps(),
        "AddInstanceGroups" => emr.add_instance_groups(),
        "ModifyInstanceGroups" => emr.modify_instance_groups(),
        "ListClusters" => emr.list_clusters(),
        "DescribeCluster" => emr.describe_cluster(),
        "ListSteps" => emr.list_steps(),
        "DescribeStep" => emr.describe_step(),
        "ListInstances" => emr.list_instances(),
        "ListInstanceGroups" => emr.list_instance_groups(),
        "ListInstanceFleets" => emr.list_instance_fleets(),
        "ListBootstrapActions" => emr.list_bootstrap_actions(),
        "SetTerminationProtection" => emr.set_termination_protection(),
        "TerminateJobFlows" => emr.terminate_job_flows(),
        "AddTags" => emr.add_tags(),
        other => return Err(Failure::not_modelled(Service::Emr, other)),
    }?;
    Ok(Reply::json(&output))
}

/// Writes CloudTrail's record of a launch, whether or not it succeeded.
fn record_launch(world: &mut World, call: &Call, caller: &Caller, output: &Output) {
    let at = world.now;
    world.record_launch(&Launch {
        caller,
        access_key: call.access_key.as_deref().unwrap_or_default(),
        address: "127.0.0.1",
        agent: call.header("user-agent").unwrap_or_default(),
        invoked_by: None,
        region: &call.region,
        at,
        request: &call.json,
        result: output.as_ref().map_err(|it| (it.code.as_str(), it.message.as_str())),
    });
}

struct Emr<'a> {
    world: &'a mut World,
    account: &'a str,
    region: &'a str,
    input: &'a Value,
}

type Output = Result<Value, Failure>;

impl Emr<'_> {
    fn required(&self, member: &str) -> Result<&str, Failure> {
        text(self.input, member).filter(|it| !it.is_empty()).ok_or_else(|| {
            validation(format!(
                "1 validation error detected: Value null at '{member}' failed to \
                satisfy constraint: Member must not be null"
            ))
        })
    }

    /// Index of the caller's cluster of this id.
    fn index(&self, id: &str) -> Option<usize> {
        self.world
            .clusters
            .iter()
            .position(|it| it.id == id && it.account == self.account && it.region == self.region)
    }

    fn cluster(&self) -> Result<&Cluster, Failure> {
        let id = self.required("ClusterId")?;
        let index = self.index(id).ok_or_else(|| {
            invalid(format!("Cluster id '{id}' is not valid.")).with("ErrorCode", "NoSuchCluster")
        })?;
        Ok(&self.world.clusters[index])
    }

    fn create_security_configuration(&mut self) -> Output {
        let name = self.required("Name")?.to_owned();
        let content = self.required("SecurityConfiguration")?.to_owned();
        configuration_check::check(&content).map_err(invalid)?;
        if self.world.security_configuration(self.account, self.region, &name).is_some() {
            return Err(invalid(format!(
                "Security configuration with name '{name}' already exists."
            )));
        }
        let created = self.world.now;
        self.world.security_configurations.push(SecurityConfiguration {
            account: self.account.to_owned(),
            region: self.region.to_owned(),
            name: name.clone(),
            content,
            created,
        });
        Ok(json!({"Name": name, "CreationDateTime": epoch_seconds(created)}))
    }

    fn describe_security_configuration(&self) -> Output {
        let name = self.required("Name")?;
        let found = self.world.security_configuration(self.account, self.region, name).ok_or_else(
            || invalid(format!("Security configuration with name '{name}' does not exist.")),
        )?;
        // EMR guarantees no order of keys: a configuration in use is returned reordered.
        let used = self.mine().any(|it| it.security_configuration.as_deref() == Some(name));
        let text = if used { reordered(&found.content) } else { found.content.clone() };
        Ok(json!({
            "Name": found.name,
            "SecurityConfiguration": text,
            "CreationDateTime": epoch_seconds(found.created),
        }))
    }

    fn delete_security_configuration(&mut self) -> Output {
        let name = self.required("Name")?.to_owned();
        if self.world.security_configuration(self.account, self.region, &name).is_none() {
            return Err(invalid(format!(
                "Security configuration with name '{name}' does not exist."
            )));
        }
        let used = self
            .mine()
            .any(|it| !it.state.is_over() && it.security_configuration.as_deref() == Some(&name));
        if used {
            let message = format!(
                "Security configuration '{name}' cannot be deleted because it is in use by active \
                 clusters."
            );
            return Err(invalid(message).with("ErrorCode", "SECURITY_CONFIGURATION_IN_USE"));
        }
        let (account, region) = (self.account, self.region);
        self.world
            .security_configurations
            .retain(|it| !(it.account == account && it.region == region && it.name == name));
        Ok(json!({}))
    }

    fn list_security_configurations(&self) -> Output {
        let found: Vec<&SecurityConfiguration> = self
            .world
            .security_configurations
            .iter()
            .filter(|it| it.account == self.account && it.region == self.region)
            .collect();
        let (page, marker) = self.page(&found, |it| it.name.clone())?;
        let page: Vec<Value> = page
            .iter()
            .map(|it| json!({"Name": it.name, "CreationDateTime": epoch_seconds(it.created)}))
            .collect();
        Ok(with_marker(json!({"SecurityConfigurations": page}), marker))
    }

    fn run_job_flow(&mut self) -> Output {
        self.required("Name")?;
        if !self.input["Instances"].is_object() {
            return Err(validation("Instances is required"));
        }
        // An empty name counts as a name, and no configuration has it.
        if let Some(name) = text(self.input, "SecurityConfiguration")
            && self.world.security_configuration(self.account, self.region, name).is_none()
        {
            return Err(validation(format!(
                "Security configuration with name '{name}' does not exist."
            )));
        }
        self.check_visible()?;
        if self.input["Steps"].as_array().is_some_and(|steps| steps.len() > 256) {
            return Err(validation("Maximum number of steps for job flow exceeded"));
        }
        let birth = Birth {
            id: None,
            account: self.account.to_owned(),
            region: self.region.to_owned(),
            request: self.input.clone(),
            at: self.world.now,
        };
        let index = provisioning::create(self.world, birth);
        let cluster = &self.world.clusters[index];
        Ok(json!({"JobFlowId": cluster.id, "ClusterArn": cluster.arn()}))
    }

    /// An instance profile or role that was created a moment ago is unknown to EMR.
    fn check_visible(&self) -> Result<(), Failure> {
        let named = |member: &str| {
            text(self.input, member).map(|it| it.rsplit('/').next().unwrap_or_default())
        };
        let profile = named("JobFlowRole")
            .and_then(|name| self.world.instance_profile(self.account, name))
            .filter(|it| !self.world.is_visible(it.visible_from));
        if let Some(profile) = profile {
            return Err(validation(format!("Invalid InstanceProfile: {}.", profile.name)));
        }
        let role = named("ServiceRole")
            .and_then(|name| self.world.role(self.account, name))
            .filter(|it| !self.world.is_visible(it.visible_from));
        match role {
            Some(role) => Err(validation(format!("Invalid ServiceRole: {}.", role.name))),
            None => Ok(()),
        }
    }

    fn add_job_flow_steps(&mut self) -> Output {
        let id = self.required("JobFlowId")?;
        let index = self.index(id).ok_or_else(no_such_job_flow)?;
        if self.world.clusters[index].state.is_ending() {
            return Err(validation(
                "A job flow that is shutting down, terminated, or finished may not be modified.",
            ));
        }
        let now = self.world.now;
        let steps = provisioning::add_steps(self.world, index, &self.input["Steps"], now);
        if self.world.clusters[index].state == ClusterState::Waiting {
            life::next_step(self.world, index, now);
        }
        Ok(json!({"StepIds": steps}))
    }

    fn add_instance_groups(&mut self) -> Output {
        let id = self.required("JobFlowId")?;
        let index = self.index(id).ok_or_else(no_such_job_flow)?;
        if self.world.clusters[index].state.is_ending() {
            return Err(validation(
                "A job flow that is shutting down, terminated, or finished may not be modified.",
            ));
        }
        let asked = &self.input["InstanceGroups"];
        if asked
            .as_array()
            .into_iter()
            .flatten()
            .any(|group| text(group, "InstanceRole") != Some("TASK"))
        {
            return Err(validation(
                "Only TASK instance groups can be added to a running job flow.",
            ));
        }
        let ids = provisioning::add_groups(self.world, index, asked);
        let cluster = &self.world.clusters[index];
        Ok(json!({"JobFlowId": cluster.id, "InstanceGroupIds": ids, "ClusterArn": cluster.arn()}))
    }

    fn modify_instance_groups(&mut self) -> Output {
        let id = self.required("ClusterId")?;
        let index = self.index(id).ok_or_else(no_such_job_flow)?;
        if self.world.clusters[index].state.is_ending() {
            return Err(validation(
                "A job flow that is shutting down, terminated, or finished may not be modified.",
            ));
        }
        for asked in self.input["InstanceGroups"].as_array().into_iter().flatten() {
            let group = text(asked, "InstanceGroupId").unwrap_or_default();
            let number = self.world.clusters[index].groups.iter().position(|it| it.id == group);
            let number = number
                .ok_or_else(|| invalid(format!("Instance group id '{group}' is not valid.")))?;
            if let Some(count) = asked["InstanceCount"].as_u64() {
                if self.world.clusters[index].groups[number].role == "MASTER" {
                    return Err(validation("Master instance group can not be resized."));
                }
                provisioning::resize(self.world, index, number, count);
            }
            if let Some(configurations) = asked.get("Configurations") {
                self.world.clusters[index].groups[number].configurations = configurations.clone();
            }
        }
        Ok(json!({}))
    }

    fn mine(&self) -> impl Iterator<Item = &Cluster> {
        self.world
            .clusters
            .iter()
            .filter(|it| it.account == self.account && it.region == self.region)
    }

    fn list_clusters(&self) -> Output {
        let states = strings(&self.input["ClusterStates"]);
        let after = self.input["CreatedAfter"].as_f64().unwrap_or(f64::MIN);
        let before = self.input["CreatedBefore"].as_f64().unwrap_or(f64::MAX);
        let mut found: Vec<&Cluster> = self
            .mine()
            .filter(|it| states.is_empty() || states.iter().any(|state| state == it.state_name()))
            .filter(|it| {
                let created = epoch_seconds(it.created).as_f64().unwrap_or_default();
                created >= after && created <= before
            })
            .collect();
        // Newest first; of clusters created together, the one that came later.
        found.reverse();
        found.sort_by_key(|it| std::cmp::Reverse(it.created));
        let (page, marker) = self.page(&found, |it| it.id.clone())?;
        let clusters: Vec<Value> = page
            .iter()
            .map(|it| {
                json!({
                    "Id": it.id,
                    "Name": it.name,
                    "Status": status(it),
                    "NormalizedInstanceHours": 0,
                    "ClusterArn": it.arn(),
                })
            })
            .collect();
        Ok(with_marker(json!({"Clusters": clusters}), marker))
    }

    /// One page of a list, starting after the item of the request's marker, and the next marker.
    fn page<'t, T>(
        &self,
        all: &'t [T],
        id: impl Fn(&T) -> String,
    ) -> Result<(&'t [T], Option<String>), Failure> {
        let start = match text(self.input, "Marker") {
            None => 0,
            Some(marker) => {
                let last = marker.strip_prefix("marker-").unwrap_or_default();
                1 + all
                    .iter()
                    .position(|it| id(it) == last)
                    .ok_or_else(|| invalid(format!("Marker '{marker}' is not valid.")))?
            }
        };
        let end = (start + PAGE).min(all.len());
        let page = &all[start..end];
        let marker =
            page.last().filter(|_| end < all.len()).map(|last| format!("marker-{}", id(last)));
        Ok((page, marker))
    }

    fn describe_cluster(&self) -> Output {
        Ok(json!({"Cluster": description(self.world, self.cluster()?)}))
    }

    fn list_steps(&self) -> Output {
        let cluster = self.cluster()?;
        let states = strings(&self.input["StepStates"]);
        let ids = strings(&self.input["StepIds"]);
        if !states.is_empty() && !ids.is_empty() {
            return Err(invalid("Cannot specify both StepStates and StepIds."));
        }
        if ids.len() > 10 {
            return Err(invalid("Only up to 10 step IDs can be specified."));
        }
        let found: Vec<&Step> = cluster
            .steps
            .iter()
            .rev()
            .filter(|it| states.is_empty() || states.iter().any(|state| state == it.state.name()))
            .filter(|it| ids.is_empty() || ids.contains(&it.id))
            .collect();
        let (page, marker) = self.page(&found, |it| it.id.clone())?;
        let steps: Vec<Value> = page.iter().map(|it| step(cluster, it)).collect();
        Ok(with_marker(json!({"Steps": steps}), marker))
    }

    fn describe_step(&self) -> Output {
        let cluster = self.cluster()?;
        let id = self.required("StepId")?;
        let found = cluster
            .steps
            .iter()
            .find(|it| it.id == id)
            .ok_or_else(|| invalid(format!("Step id '{id}' is not valid.")))?;
        Ok(json!({"Step": step(cluster, found)}))
    }

    fn list_instances(&self) -> Output {
        let cluster = self.cluster()?;
        let types = strings(&self.input["InstanceGroupTypes"]);
        let group = text(self.input, "InstanceGroupId");
        let states = strings(&self.input["InstanceStates"]);
        let state = instance_state(cluster);
        let found: Vec<&Instance> = cluster
            .instances
            .iter()
            .filter(|it| types.is_empty() || types.contains(&it.role))
            .filter(|it| group.is_none_or(|group| group == it.group))
            .filter(|_| states.is_empty() || states.iter().any(|it| it == state))
            .collect();
        let (page, marker) = self.page(&found, |it| it.id.clone())?;
        let page: Vec<Value> = page.iter().map(|it| instance(cluster, it, state)).collect();
        Ok(with_marker(json!({"Instances": page}), marker))
    }

    fn list_instance_fleets(&self) -> Output {
        let cluster = self.cluster()?;
        if !cluster.has_fleets() {
            return Err(invalid(
                "Instance fleets and instance groups are mutually exclusive. The EMR cluster \
                 specified in the request uses instance groups. The ListInstanceFleets operation \
                 does not support clusters that use instance groups. Use the ListInstanceGroups \
                 operation instead.",
            ));
        }
        let state = group_state(cluster);
        let found: Vec<Value> = cluster
            .groups
            .iter()
            .map(|fleet| {
                let asked = &fleet.request;
                let target = |name: &str| asked[name].as_u64().unwrap_or(0);
                let provisioned = |name: &str| if state == "RUNNING" { target(name) } else { 0 };
                let types = asked["InstanceTypeConfigs"].as_array().into_iter().flatten();
                let types: Vec<Value> = types
                    .enumerate()
                    .map(|(number, kind)| {
                        let own = if number == 0 { &fleet.configurations } else { &kind["Configurations"] };
                        without_nulls(json!({
                            "InstanceType": kind["InstanceType"],
                            "WeightedCapacity": kind["WeightedCapacity"].as_u64().unwrap_or(1),
                            "BidPriceAsPercentageOfOnDemandPrice": kind.get("BidPriceAsPercentageOfOnDemandPrice"),
                            "Configurations": shown_configurations(own, &cluster.fate.masked),
                            "EbsBlockDevices": block_devices(cluster, &fleet.id),
                            "CustomAmiId": kind.get("CustomAmiId"),
                        }))
                    })
                    .collect();
                without_nulls(json!({
                    "Id": fleet.id,
                    "Name": text(asked, "Name").unwrap_or(&fleet.role),
                    "Status": {
                        "State": state,
                        "StateChangeReason": {"Message": ""},
                        "Timeline": timeline(Some(cluster.created), "ReadyDateTime", cluster.ready, cluster.ended),
                    },
                    "InstanceFleetType": fleet.role,
                    "TargetOnDemandCapacity": target("TargetOnDemandCapacity"),
                    "TargetSpotCapacity": target("TargetSpotCapacity"),
                    "ProvisionedOnDemandCapacity": provisioned("TargetOnDemandCapacity"),
                    "ProvisionedSpotCapacity": provisioned("TargetSpotCapacity"),
                    "InstanceTypeSpecifications": types,
                    "LaunchSpecifications": asked.get("LaunchSpecifications"),
                }))
            })
            .collect();
        Ok(json!({"InstanceFleets": found}))
    }

    fn list_instance_groups(&self) -> Output {
        let cluster = self.cluster()?;
        if cluster.has_fleets() {
            let message = "Instance fleets and instance groups are mutually exclusive. The EMR \
                cluster specified in the request uses instance fleets. The ListInstanceGroups \
                operation does not support clusters that use instance fleets. Use the \
                ListInstanceFleets operation instead.";
            return Err(
                invalid(message).with("ErrorCode", "API_DOES_NOT_SUPPORT_INSTANCE_FLEET_CLUSTERS")
            );
        }
        let state = group_state(cluster);
        let found: Vec<Value> = cluster
            .groups
            .iter()
            .map(|group| {
                let asked = &group.request;
                let running = if state == "RUNNING" { asked["InstanceCount"].clone() } else { json!(0) };
                without_nulls(json!({
                    "Id": group.id,
                    "Name": text(asked, "Name").unwrap_or(&group.role),
                    "Market": text(asked, "Market").unwrap_or("ON_DEMAND"),
                    "InstanceGroupType": group.role,
                    "BidPrice": asked.get("BidPrice"),
                    "InstanceType": asked["InstanceType"],
                    "RequestedInstanceCount": asked["InstanceCount"],
                    "RunningInstanceCount": running,
                    "Status": {
                        "State": state,
                        "StateChangeReason": {"Message": ""},
                        "Timeline": timeline(Some(cluster.created), "ReadyDateTime", cluster.ready, cluster.ended),
                    },
                    "Configurations": shown_configurations(&group.configurations, &cluster.fate.masked),
                    "ConfigurationsVersion": 0,
                    "LastSuccessfullyAppliedConfigurations": [],
                    "LastSuccessfullyAppliedConfigurationsVersion": 0,
                    "EbsBlockDevices": block_devices(cluster, &group.id),
                    "EbsOptimized": asked["EbsConfiguration"].get("EbsOptimized"),
                    "CustomAmiId": asked.get("CustomAmiId"),
                    "ShrinkPolicy": {},
                }))
            })
            .collect();
        Ok(json!({"InstanceGroups": found}))
    }

    fn list_bootstrap_actions(&self) -> Output {
        let cluster = self.cluster()?;
        let found: Vec<Value> = cluster.request["BootstrapActions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| {
                let script = &it["ScriptBootstrapAction"];
                json!({
                    "Name": it["Name"], "ScriptPath": script["Path"],
                    "Args": strings(&script["Args"])
                })
            })
            .collect();
        Ok(json!({"BootstrapActions": found}))
    }

    /// Indices of the clusters of `JobFlowIds`: all of them or an error.
    fn job_flows(&self) -> Result<Vec<usize>, Failure> {
        let ids = strings(&self.input["JobFlowIds"]);
        if ids.is_empty() {
            return Err(validation("JobFlowIds is required"));
        }
        if ids.len() > 10 {
            return Err(validation(
                "1 validation error detected: Value at 'jobFlowIds' failed to satisfy constraint: \
                 Member must have length less than or equal to 10",
            ));
        }
        ids.iter().map(|id| self.index(id).ok_or_else(no_such_job_flow)).collect()
    }

    fn set_termination_protection(&mut self) -> Output {
        let Some(on) = self.input["TerminationProtected"].as_bool() else {
            return Err(validation("TerminationProtected is required"));
        };
        for index in self.job_flows()? {
            self.world.clusters[index].termination_protected = on;
        }
        Ok(json!({}))
    }

    fn terminate_job_flows(&mut self) -> Output {
        let indices = self.job_flows()?;
        let protected = indices.iter().map(|index| &self.world.clusters[*index]).any(|it| {
            !it.state.is_over()
                && (it.termination_protected || it.fate.termination == Termination::Refused)
        });
        if protected {
            return Err(validation(
                "Could not shut down one or more job flows since they are termination protected.",
            ));
        }
        let now = self.world.now;
        for index in indices {
            self.world.clusters[index].terminations += 1;
            if !self.world.clusters[index].state.is_ending() {
                life::terminate(
                    self.world,
                    index,
                    now,
                    "USER_REQUEST",
                    "Terminated by user request",
                    false,
                );
            }
        }
        Ok(json!({}))
    }

    fn add_tags(&mut self) -> Output {
        let id = self.required("ResourceId")?.to_owned();
        let index =
            self.index(&id).ok_or_else(|| invalid(format!("Cluster id '{id}' is not valid.")))?;
        for (key, value) in tags(self.input.get("Tags")) {
            let all = &mut self.world.clusters[index].tags;
            all.retain(|(name, _)| *name != key);
            all.push((key, value));
        }
        Ok(json!({}))
    }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, "InvalidRequestException", message)
}

fn validation(message: impl Into<String>) -> Failure {
    Failure::new(400, "ValidationException", message)
}

fn no_such_job_flow() -> Failure {
    validation("Specified job flow ID not valid.")
}

fn with_marker(mut output: Value, marker: Option<String>) -> Value {
    if let Some(marker) = marker {
        output["Marker"] = Value::String(marker);
    }
    output
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

fn timeline(
    created: Option<OffsetDateTime>,
    middle_name: &str,
    middle: Option<OffsetDateTime>,
    ended: Option<OffsetDateTime>,
) -> Value {
    let mut timeline = Map::new();
    for (name, at) in [("CreationDateTime", created), (middle_name, middle), ("EndDateTime", ended)]
    {
        if let Some(at) = at {
            timeline.insert(name.to_owned(), Value::Number(epoch_seconds(at)));
        }
    }
    Value::Object(timeline)
}

fn status(cluster: &Cluster) -> Value {
    let reason = match &cluster.reason {
        None => json!({}),
        Some((code, message)) if code.is_empty() => json!({"Message": message}),
        Some((code, message)) => json!({"Code": code, "Message": message}),
    };
    json!({
        "State": cluster.state_name(),
        "StateChangeReason": reason,
        "Timeline": timeline(Some(cluster.created), "ReadyDateTime", cluster.ready, cluster.ended),
    })
}

fn description(world: &World, cluster: &Cluster) -> Value {
    let asked = &cluster.request;
    let instances = &asked["Instances"];
    let mut requested: Vec<String> =
        text(instances, "Ec2SubnetId").map(str::to_owned).into_iter().collect();
    requested.extend(strings(&instances["Ec2SubnetIds"]));
    // The chosen one is visible once there are instances.
    let subnet = requested.first().filter(|_| cluster.state != ClusterState::Starting);
    let zone = world.subnets.iter().find(|it| Some(&it.id) == subnet).map_or('a', |it| it.zone);
    let applications: Vec<Value> = asked["Applications"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| {
            let mut shown = json!({"Name": it["Name"]});
            if it["Args"].is_array() {
                shown["Args"] = json!(strings(&it["Args"]));
            }
            shown
        })
        .collect();
    let tags: Vec<Value> =
        cluster.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let master = cluster.instances.iter().find(|it| it.role == "MASTER");
    let attributes = without_nulls(json!({
        "Ec2KeyName": instances.get("Ec2KeyName"),
        "Ec2SubnetId": subnet,
        "RequestedEc2SubnetIds": requested,
        "Ec2AvailabilityZone": subnet.map(|_| format!("{}{zone}", cluster.region)),
        "RequestedEc2AvailabilityZones": [],
        "IamInstanceProfile": asked.get("JobFlowRole"),
        "EmrManagedMasterSecurityGroup": instances.get("EmrManagedMasterSecurityGroup"),
        "EmrManagedSlaveSecurityGroup": instances.get("EmrManagedSlaveSecurityGroup"),
        "ServiceAccessSecurityGroup": instances.get("ServiceAccessSecurityGroup"),
        "AdditionalMasterSecurityGroups": strings(&instances["AdditionalMasterSecurityGroups"]),
        "AdditionalSlaveSecurityGroups": strings(&instances["AdditionalSlaveSecurityGroups"]),
    }));
    without_nulls(json!({
        "Id": cluster.id,
        "Name": cluster.name,
        "Status": status(cluster),
        "Ec2InstanceAttributes": attributes,
        "InstanceCollectionType": if cluster.has_fleets() { "INSTANCE_FLEET" } else { "INSTANCE_GROUP" },
        "LogUri": asked.get("LogUri"),
        "LogEncryptionKmsKeyId": asked.get("LogEncryptionKmsKeyId"),
        "RequestedAmiVersion": asked.get("AmiVersion"),
        "RunningAmiVersion": asked.get("AmiVersion"),
        "ReleaseLabel": asked.get("ReleaseLabel"),
        "AutoTerminate": !cluster.keep_alive,
        "TerminationProtected": cluster.termination_protected,
        "VisibleToAllUsers": asked.get("VisibleToAllUsers").is_none_or(|it| truthy(Some(it))),
        "Applications": applications,
        "Tags": tags,
        "ServiceRole": asked.get("ServiceRole"),
        "NormalizedInstanceHours": 0,
        "MasterPublicDnsName": master.map(|it| private_name(cluster, it)),
        "Configurations": shown_configurations(&cluster.configurations, &cluster.fate.masked),
        "SecurityConfiguration": cluster.security_configuration,
        "AutoScalingRole": asked.get("AutoScalingRole"),
        "ScaleDownBehavior": asked.get("ScaleDownBehavior"),
        "CustomAmiId": asked.get("CustomAmiId"),
        "EbsRootVolumeSize": asked.get("EbsRootVolumeSize"),
        "KerberosAttributes": asked.get("KerberosAttributes").cloned().unwrap_or_else(|| json!({})),
        "ClusterArn": cluster.arn(),
        "StepConcurrencyLevel": asked.get("StepConcurrencyLevel").cloned().unwrap_or_else(|| json!(1)),
        "PlacementGroups": [],
    }))
}

/// Configurations in EMR's response: in another order, without the annotation of secrets, and with
/// asterisks for the values of the `masked` properties.
fn shown_configurations(configurations: &Value, masked: &[String]) -> Value {
    let of_one = |one: &Value| {
        let properties = one["Properties"].as_object().into_iter().flatten();
        let properties: Map<String, Value> = properties
            .map(|(name, value)| {
                let name = name.strip_prefix("EMR.secret@").unwrap_or(name);
                let is_masked = masked.iter().any(|it| it == name);
                (name.to_owned(), if is_masked { "********".into() } else { value.clone() })
            })
            .rev()
            .collect();
        let nested = one.get("Configurations").map(|it| shown_configurations(it, masked));
        without_nulls(json!({
            "Classification": one["Classification"],
            "Properties": properties,
            "Configurations": nested,
        }))
    };
    configurations.as_array().into_iter().flatten().rev().map(of_one).collect()
}

/// The same JSON with the keys of each object in reverse order; text that is not JSON is unchanged.
fn reordered(text: &str) -> String {
    fn reversed(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.into_iter().rev();
                Value::Object(members.map(|(key, value)| (key, reversed(value))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(reversed).collect()),
            other => other,
        }
    }
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| reversed(value).to_string())
}

fn step(cluster: &Cluster, step: &Step) -> Value {
    let config = without_nulls(json!({
        "Jar": step.jar,
        "Properties": step.properties,
        "MainClass": step.main_class,
        "Args": step.args,
    }));
    let mut status = json!({
        "State": step.state.name(),
        "StateChangeReason": {},
        "Timeline": timeline(Some(step.created), "StartDateTime", step.started, step.ended),
    });
    if let Some(failure) = &step.failure {
        let log = cluster.requested("/LogUri").unwrap_or_default();
        status["FailureDetails"] = json!({
            "Reason": "Unknown Error.",
            "Message": failure,
            "LogFile": format!("{log}{}/steps/{}/stderr.gz", cluster.id, step.id),
        });
    }
    json!({
        "Id": step.id,
        "Name": step.name,
        "Config": config,
        "ActionOnFailure": step.action_on_failure,
        "Status": status,
    })
}

fn group_state(cluster: &Cluster) -> &'static str {
    match cluster.state {
        ClusterState::Starting => "PROVISIONING",
        ClusterState::Bootstrapping => "BOOTSTRAPPING",
        ClusterState::Running | ClusterState::Waiting => "RUNNING",
        ClusterState::Terminating => "TERMINATING",
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => "TERMINATED",
    }
}

fn instance_state(cluster: &Cluster) -> &'static str {
    match cluster.state {
        ClusterState::Starting => "PROVISIONING",
        ClusterState::Bootstrapping => "BOOTSTRAPPING",
        ClusterState::Running | ClusterState::Waiting | ClusterState::Terminating => "RUNNING",
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => "TERMINATED",
    }
}

/// `ip-172-31-4-5.eu-west-1.compute.internal`
fn private_name(cluster: &Cluster, instance: &Instance) -> String {
    let (third, fourth) = instance.address;
    let suffix = internal_domain(&cluster.region);
    format!("ip-172-31-{third}-{fourth}.{suffix}")
}

fn instance(cluster: &Cluster, instance: &Instance, state: &str) -> Value {
    let group = cluster.groups.iter().find(|it| it.id == instance.group);
    let (third, fourth) = instance.address;
    // It is unknown whether real EMR lists the root volume here; leaving it out is the harder case.
    let volumes: Vec<Value> = instance
        .volumes
        .iter()
        .skip(1)
        .map(|it| json!({"Device": it.device, "VolumeId": it.id}))
        .collect();
    let is_fleet = group.is_some_and(InstanceGroup::is_fleet);
    without_nulls(json!({
        "Id": instance.id,
        "Ec2InstanceId": instance.ec2_id,
        "PublicDnsName": "",
        "PrivateDnsName": private_name(cluster, instance),
        "PrivateIpAddress": format!("172.31.{third}.{fourth}"),
        "Status": {
            "State": state,
            "StateChangeReason": {},
            "Timeline": timeline(Some(cluster.created), "ReadyDateTime", cluster.ready, cluster.ended),
        },
        "InstanceGroupId": (!is_fleet).then_some(&instance.group),
        "InstanceFleetId": is_fleet.then_some(&instance.group),
        "Market": group.and_then(|it| text(&it.request, "Market")).unwrap_or("ON_DEMAND"),
        "InstanceType": instance.kind,
        "EbsVolumes": volumes,
    }))
}

fn block_devices(cluster: &Cluster, group: &str) -> Value {
    let first = cluster.instances.iter().find(|it| it.group == group);
    first
        .into_iter()
        .flat_map(|it| it.volumes.iter().skip(1))
        .map(|it| {
            json!({
                "VolumeSpecification": {"VolumeType": it.kind, "SizeInGB": it.size},
                "Device": it.device
            })
        })
        .collect()
}
