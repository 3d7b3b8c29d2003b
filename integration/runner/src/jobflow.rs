//! Owns the body of `RunJobFlow`: a cluster as the configuration describes it, key for key as
//! Elasticity sends it.

use serde_json::{Map, Value, json};

use crate::config::{Config, Ebs, JobFlow, VolumeType};
use crate::misbehave::Misbehaviour;
use crate::selection::Selection;
use crate::steps::{ENCRYPT, Step, standard_assets};

/// The inputs of the body.
#[derive(Debug)]
pub struct Request<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The parts of the run, which determine the applications.
    pub selection: &'a Selection,
    /// `--debug`: one more step.
    pub debug: bool,
    /// A persistent cluster is kept alive and starts without steps.
    pub persistent: bool,
    /// The steps of a transient cluster.
    pub steps: &'a [Step],
}

/// The region a cluster is started in: a placement's own, or else the configured one.
#[must_use]
pub fn region(config: &Config) -> &str {
    let emr = &config.aws.emr;
    let of_placement = emr
        .placement
        .as_deref()
        .and_then(|zone| zone.strip_suffix(|letter: char| letter.is_ascii_lowercase()));
    of_placement.unwrap_or(&emr.region)
}

impl Request<'_> {
    /// The body.
    #[must_use]
    pub fn body(&self) -> Value {
        let emr = &self.config.aws.emr;
        let mut steps: Vec<Value> = Vec::new();
        if self.debug {
            steps.push(debugging_step(region(self.config)));
        }
        if !self.persistent {
            steps.extend(self.steps.iter().map(|step| step.to_request("TERMINATE_JOB_FLOW")));
        }
        let tags: Vec<Value> = self
            .config
            .monitoring
            .tags
            .0
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();

        let mut body = Map::new();
        let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
        set("Name", json!(emr.jobflow.job_name));
        set("VisibleToAllUsers", json!(true));
        set("Instances", self.instances());
        set("ReleaseLabel", json!(format!("emr-{}", emr.ami_version)));
        set("Steps", json!(steps));
        set("LogUri", json!(self.config.aws.s3.buckets.log));
        set("Tags", json!(tags));
        set("JobFlowRole", json!(emr.jobflow_role));
        set("ServiceRole", json!(emr.service_role));
        if let Some(info) = &emr.additional_info {
            set("AdditionalInfo", json!(info));
        }
        if let Some(name) = &emr.security_configuration {
            set("SecurityConfiguration", json!(name));
        }
        set("BootstrapActions", json!(self.bootstrap_actions()));
        set("Applications", json!(self.applications()));
        let configurations = self.configurations();
        if !configurations.is_empty() {
            set("Configurations", json!(configurations));
        }
        Value::Object(body)
    }

    fn instances(&self) -> Value {
        let emr = &self.config.aws.emr;
        let mut instances = Map::new();
        instances.insert("KeepJobFlowAliveWhenNoSteps".to_owned(), json!(self.persistent));
        instances.insert("InstanceGroups".to_owned(), json!(groups(&emr.jobflow)));
        match &emr.ec2_subnet_id {
            Some(subnet) => instances.insert("Ec2SubnetId".to_owned(), json!(subnet)),
            None => {
                instances.insert("Placement".to_owned(), json!({"AvailabilityZone": emr.placement}))
            }
        };
        instances.insert("Ec2KeyName".to_owned(), json!(emr.ec2_key_name));
        Value::Object(instances)
    }

    fn bootstrap_actions(&self) -> Vec<Value> {
        let emr = &self.config.aws.emr;
        let major = emr.ami_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let script = match major {
            Some(4) => "snowplow-ami4-bootstrap-0.2.0.sh",
            _ => "snowplow-ami5-bootstrap-0.1.0.sh",
        };
        let snowplow = format!("{}common/emr/{script}", standard_assets(&emr.region));
        let mut actions: Vec<Value> =
            emr.bootstrap.iter().flatten().map(|path| bootstrap_action(path, None)).collect();
        // commons-codec 1.10 is needed by every Spark Enrich; older jobs are not supported.
        actions.push(bootstrap_action(&snowplow, Some("1.10")));
        if emr.software.hbase.is_some() {
            let path =
                format!("s3://{}.elasticmapreduce/bootstrap-actions/setup-hbase", emr.region);
            actions.push(bootstrap_action(&path, None));
        }
        if let Some(lingual) = &emr.software.lingual {
            let path = format!(
                "s3://files.concurrentinc.com/lingual/{lingual}/lingual-client/install-lingual-client.sh"
            );
            actions.push(bootstrap_action(&path, None));
        }
        actions
    }

    /// Each Spark job requests Spark, so it may be listed twice.
    fn applications(&self) -> Vec<Value> {
        let mut names = vec!["Hadoop"];
        names.extend(
            [self.selection.enrich, self.selection.shred]
                .into_iter()
                .filter(|job| *job)
                .map(|_| "Spark"),
        );
        names.into_iter().map(|name| json!({"Name": name})).collect()
    }

    fn configurations(&self) -> Vec<Value> {
        let classification = |name: &str, properties: Value| {
            json!({
                "Classification": name, "Properties": properties
            })
        };
        let mut all = Vec::new();
        if self.config.collector_format() == Some("thrift") {
            all.push(classification("core-site", json!({"io.file.buffer.size": "65536"})));
            all.push(classification(
                "mapred-site",
                json!({"mapreduce.user.classpath.first": "true"}),
            ));
        }
        for (name, properties) in
            self.config.aws.emr.configuration.iter().flat_map(|pairs| &pairs.0)
        {
            let properties: Map<String, Value> =
                properties.0.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            all.push(classification(name, Value::Object(properties)));
        }
        all
    }
}

fn groups(jobflow: &JobFlow) -> Vec<Value> {
    let group = |role: &str, count: &Value, kind: &str, bid: Option<String>| {
        let market = if bid.is_some() { "SPOT" } else { "ON_DEMAND" };
        let mut group = Map::new();
        group.insert("Market".to_owned(), json!(market));
        group.insert("InstanceCount".to_owned(), count.clone());
        group.insert("InstanceType".to_owned(), json!(kind));
        group.insert("InstanceRole".to_owned(), json!(role));
        if let Some(bid) = bid {
            group.insert("BidPrice".to_owned(), json!(bid));
        }
        group
    };
    let price = |bid: &Option<serde_json::Number>| bid.as_ref().map(ToString::to_string);
    let master = group("MASTER", &json!(1), &jobflow.master_instance_type, None);
    let mut core = group(
        "CORE",
        &json!(jobflow.core_instance_count),
        &jobflow.core_instance_type,
        price(&jobflow.core_instance_bid),
    );
    if let Some(disks) = &jobflow.core_instance_ebs {
        core.insert("EbsConfiguration".to_owned(), ebs(disks));
    }
    let mut groups = vec![json!(master), json!(core)];
    if jobflow.task_instance_count.as_f64().is_some_and(|count| count > 0.0) {
        groups.push(json!(group(
            "TASK",
            &json!(jobflow.task_instance_count),
            &jobflow.task_instance_type,
            price(&jobflow.task_instance_bid),
        )));
    }
    groups
}

fn ebs(disks: &Ebs) -> Value {
    let mut volume = Map::new();
    volume.insert("VolumeType".to_owned(), json!(disks.volume_type));
    volume.insert("SizeInGB".to_owned(), json!(disks.volume_size));
    if disks.volume_type == VolumeType::Io1 {
        volume.insert("Iops".to_owned(), json!(disks.volume_iops));
    }
    json!({
        "EbsOptimized": disks.ebs_optimized.unwrap_or(true),
        "EbsBlockDeviceConfigs": [{"VolumeSpecification": volume, "VolumesPerInstance": 1}],
    })
}

fn bootstrap_action(path: &str, argument: Option<&str>) -> Value {
    let mut script = Map::new();
    script.insert("Path".to_owned(), json!(path));
    if let Some(argument) = argument {
        script.insert("Args".to_owned(), json!([argument]));
    }
    json!({"Name": "Elasticity Bootstrap Action", "ScriptBootstrapAction": script})
}

fn debugging_step(region: &str) -> Value {
    let libs = format!("s3://{region}.elasticmapreduce/libs");
    json!({
        "ActionOnFailure": "TERMINATE_JOB_FLOW",
        "HadoopJarStep": {
            "Jar": format!("{libs}/script-runner/script-runner.jar"),
            "Args": [format!("{libs}/state-pusher/0.1/fetch")],
        },
        "Name": "Elasticity Setup Hadoop Debugging",
    })
}

/// Breaks a body as the test requests.
pub fn spoil(body: &mut Value, misbehave: &Misbehaviour) {
    if let Value::Object(keys) = body {
        if misbehave.drop_security_configuration {
            keys.shift_remove("SecurityConfiguration");
        }
        if misbehave.drop_tags {
            keys.insert("Tags".to_owned(), json!([]));
        }
    }
}

/// Breaks the steps as the test requests: the nth s3-dist-cp step, counted from 1, loses its
/// encryption.
pub fn spoil_steps(steps: &mut [Step], misbehave: &Misbehaviour) {
    if let Some(nth) = misbehave.drop_flag
        && let Some(step) = steps.iter_mut().filter(|step| step.is_dist_cp()).nth(nth - 1)
    {
        step.args.retain(|arg| arg != ENCRYPT);
    }
}
