//! Owns the tests of EMR's operations.

use emr_simulator::{
    Command, NextCluster, PutSecurityConfiguration, StartCluster, Termination, UpdateCluster,
};
use serde_json::{Value, json};

use crate::support::{Client, Got, run_job_flow, stepped};

fn describe(client: &Client, id: &str) -> Value {
    client.emr("DescribeCluster", &json!({"ClusterId": id})).json()["Cluster"].clone()
}

fn refused(got: &Got, code: &str, message: &str) {
    let json = got.json();
    let said = json.get("Message").or_else(|| json.get("message")).cloned().unwrap_or_default();
    assert_eq!((got.status, json["__type"].clone(), said), (400, json!(code), json!(message)));
}

#[test]
fn a_security_configuration_is_returned_to_the_letter() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let text = "{ \"EncryptionConfiguration\" :  {\"EnableAtRestEncryption\":\"false\"}}\n";
    let made = guard
        .emr("CreateSecurityConfiguration", &json!({"Name": "odd", "SecurityConfiguration": text}))
        .json();
    let read = guard.emr("DescribeSecurityConfiguration", &json!({"Name": "odd"})).json();
    assert_eq!(read["SecurityConfiguration"], text);
    assert_eq!(read["CreationDateTime"], made["CreationDateTime"]);
    assert!(read["CreationDateTime"].is_f64());
}

#[test]
fn a_security_configuration_that_is_not_there_or_there_already_is_an_invalid_request() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let message = "Security configuration with name 'x' does not exist.";
    for operation in ["DescribeSecurityConfiguration", "DeleteSecurityConfiguration"] {
        refused(&guard.emr(operation, &json!({"Name": "x"})), "InvalidRequestException", message);
    }
    let again = guard.emr(
        "CreateSecurityConfiguration",
        &json!({"Name": "acme-sc", "SecurityConfiguration": "{}"}),
    );
    refused(
        &again,
        "InvalidRequestException",
        "Security configuration with name 'acme-sc' already exists.",
    );
}

#[test]
fn a_swapped_security_configuration_has_new_content_and_a_new_creation_time() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let look = || guard.emr("DescribeSecurityConfiguration", &json!({"Name": "acme-sc"})).json();
    let before = look();
    sim.advance(std::time::Duration::from_millis(1500));
    let swap = PutSecurityConfiguration {
        name: "acme-sc".to_owned(),
        content: json!({}),
        ..Default::default()
    };
    sim.apply(Command::PutSecurityConfiguration(swap)).unwrap();
    let after = look();
    assert_eq!(after["SecurityConfiguration"], "{}");
    let gone =
        after["CreationDateTime"].as_f64().unwrap() - before["CreationDateTime"].as_f64().unwrap();
    assert!((gone - 1.5).abs() < 0.002, "{gone}");
}

#[test]
fn a_security_configuration_in_use_cannot_be_deleted_until_its_cluster_is_over() {
    let sim = stepped();
    let guard = Client::new(&sim);
    run_job_flow(&guard);
    let delete = || guard.emr("DeleteSecurityConfiguration", &json!({"Name": "acme-sc"}));
    let message = "Security configuration 'acme-sc' cannot be deleted because it is in use by \
        active clusters.";
    refused(&delete(), "InvalidRequestException", message);
    assert_eq!(delete().json()["ErrorCode"], "SECURITY_CONFIGURATION_IN_USE");
    sim.advance(std::time::Duration::from_hours(24));
    assert_eq!(delete().status, 200);
}

#[test]
fn a_cluster_naming_an_unknown_security_configuration_is_refused() {
    let sim = stepped();
    let body = json!({"Name": "x", "Instances": {}, "SecurityConfiguration": ""});
    let got = Client::new(&sim).emr("RunJobFlow", &body);
    refused(&got, "ValidationException", "Security configuration with name '' does not exist.");
    assert!(sim.with_world(|world| world.clusters.is_empty()));
}

#[test]
fn the_real_runners_own_body_starts_a_cluster_that_describes_what_was_asked_for() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    let cluster = describe(&guard, &id);
    assert_eq!(cluster["SecurityConfiguration"], "acme-sc");
    assert_eq!(cluster["Status"]["State"], "STARTING");
    assert_eq!(cluster["LogUri"], "s3://acme-log/emr/");
    assert_eq!(cluster["ReleaseLabel"], "emr-5.29.0");
    assert_eq!(
        (&cluster["AutoTerminate"], &cluster["TerminationProtected"]),
        (&json!(true), &json!(false))
    );
    let attributes = &cluster["Ec2InstanceAttributes"];
    assert_eq!(attributes["RequestedEc2SubnetIds"], json!(["subnet-0123456789abcdef0"]));
    assert_eq!(attributes.get("Ec2SubnetId"), None, "it shows once there are instances");
    assert_eq!(cluster["Ec2InstanceAttributes"]["IamInstanceProfile"], "EMR_EC2_DefaultRole");
    assert_eq!(cluster["ServiceRole"], "EMR_DefaultRole");
    assert_eq!(
        cluster["Configurations"][1]["Properties"]["yarn.resourcemanager.am.max-attempts"],
        "1"
    );
    let steps = guard.emr("ListSteps", &json!({"ClusterId": id})).json();
    let steps = steps["Steps"].as_array().unwrap();
    assert_eq!(steps.len(), 13);
    assert_eq!(
        steps[0]["Name"],
        "[archive_shredded] s3-dist-cp: Shredded S3 -> Shredded Archive S3"
    );
    assert_eq!(
        steps[0]["Config"]["Args"].as_array().unwrap().last().unwrap(),
        "--s3ServerSideEncryption"
    );
    assert_eq!(steps[12]["Status"]["State"], "PENDING");
    let one = guard.emr("DescribeStep", &json!({"ClusterId": id, "StepId": steps[3]["Id"]})).json();
    assert_eq!(one["Step"], steps[3]);
    let actions = guard.emr("ListBootstrapActions", &json!({"ClusterId": id})).json();
    assert_eq!(actions["BootstrapActions"][0]["Args"], json!(["1.10"]));
    let groups = guard.emr("ListInstanceGroups", &json!({"ClusterId": id})).json();
    assert_eq!(groups["InstanceGroups"][1]["BidPrice"], "0.015");
}

#[test]
fn clusters_are_listed_newest_first_in_pages_of_fifty() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for number in 0..120 {
        let start = StartCluster {
            age_seconds: f64::from(number),
            request: json!({"Name": format!("n{number}")}),
            ..Default::default()
        };
        sim.apply(Command::StartCluster(start)).unwrap();
    }
    let mut names = Vec::new();
    let mut sizes = Vec::new();
    let mut input = json!({});
    loop {
        let page = guard.emr("ListClusters", &input).json();
        let clusters = page["Clusters"].as_array().unwrap();
        sizes.push(clusters.len());
        names.extend(clusters.iter().map(|it| it["Name"].as_str().unwrap().to_owned()));
        match page.get("Marker") {
            Some(marker) => input = json!({"Marker": marker}),
            None => break,
        }
    }
    assert_eq!(sizes, [50, 50, 20]);
    assert_eq!(names, (0..120).map(|number| format!("n{number}")).collect::<Vec<_>>());
}

#[test]
fn clusters_are_filtered_by_state_and_by_time_of_creation() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let young = run_job_flow(&guard);
    let old = StartCluster { age_seconds: 3600.0, ..Default::default() };
    let old = sim.apply(Command::StartCluster(old)).unwrap().id.unwrap();
    let ids = |input: Value| -> Vec<String> {
        let listed = guard.emr("ListClusters", &input).json();
        listed["Clusters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["Id"].as_str().unwrap().to_owned())
            .collect()
    };
    let created =
        describe(&guard, &young)["Status"]["Timeline"]["CreationDateTime"].as_f64().unwrap();
    assert_eq!(ids(json!({"ClusterStates": ["WAITING", "RUNNING"]})), [old.as_str()]);
    assert_eq!(ids(json!({"CreatedAfter": created - 60.0})), [young.as_str()]);
    assert_eq!(ids(json!({"CreatedBefore": created - 60.0})), [old.as_str()]);
    assert_eq!(ids(json!({})), [young, old]);
}

#[test]
fn steps_are_listed_newest_first_in_pages_of_fifty_and_by_state_or_id() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let step =
        |number: usize| json!({"Name": format!("s{number}"), "HadoopJarStep": {"Jar": "x.jar"}});
    let steps: Vec<Value> = (0..60).map(step).collect();
    let start = StartCluster {
        state: emr_simulator::StartState::Running,
        request: json!({"Steps": steps}),
        ..Default::default()
    };
    let id = sim.apply(Command::StartCluster(start)).unwrap().id.unwrap();
    let first = guard.emr("ListSteps", &json!({"ClusterId": id})).json();
    assert_eq!(
        (first["Steps"].as_array().unwrap().len(), &first["Steps"][0]["Name"]),
        (50, &json!("s59"))
    );
    let second =
        guard.emr("ListSteps", &json!({"ClusterId": id, "Marker": first["Marker"]})).json();
    assert_eq!((second["Steps"].as_array().unwrap().len(), second.get("Marker")), (10, None));
    let running =
        guard.emr("ListSteps", &json!({"ClusterId": id, "StepStates": ["RUNNING"]})).json();
    assert_eq!(
        (running["Steps"].as_array().unwrap().len(), &running["Steps"][0]["Name"]),
        (1, &json!("s0"))
    );
    let wanted = &first["Steps"][7]["Id"];
    let chosen = guard.emr("ListSteps", &json!({"ClusterId": id, "StepIds": [wanted]})).json();
    assert_eq!(chosen["Steps"], json!([first["Steps"][7]]));
}

#[test]
fn a_protected_cluster_is_not_terminated_until_its_protection_is_lifted() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let fate = NextCluster { termination_protected: Some(true), ..Default::default() };
    sim.apply(Command::SetNextCluster(fate)).unwrap();
    let id = run_job_flow(&guard);
    assert_eq!(describe(&guard, &id)["TerminationProtected"], true);
    let terminate = || guard.emr("TerminateJobFlows", &json!({"JobFlowIds": [id]}));
    let message = "Could not shut down one or more job flows since they are termination protected.";
    refused(&terminate(), "ValidationException", message);
    guard.emr(
        "SetTerminationProtection",
        &json!({"JobFlowIds": [id], "TerminationProtected": false}),
    );
    assert_eq!(terminate().status, 200);
    assert_eq!(describe(&guard, &id)["Status"]["State"], "TERMINATING");
    sim.advance(std::time::Duration::from_mins(1));
    let status = describe(&guard, &id)["Status"].clone();
    assert_eq!(
        (&status["State"], &status["StateChangeReason"]["Code"]),
        (&json!("TERMINATED"), &json!("USER_REQUEST"))
    );
}

#[test]
fn terminating_more_than_ten_clusters_at_once_or_an_unknown_one_is_refused() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let many = guard.emr("TerminateJobFlows", &json!({"JobFlowIds": vec!["j-X"; 11]}));
    assert_eq!(many.error(), (400, "ValidationException".to_owned()));
    let none = guard.emr("TerminateJobFlows", &json!({"JobFlowIds": ["j-X"]}));
    refused(&none, "ValidationException", "Specified job flow ID not valid.");
}

#[test]
fn a_cluster_can_refuse_to_be_terminated_or_hang_in_terminating_for_ever() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let started = |termination| {
        sim.apply(Command::SetNextCluster(NextCluster { termination, ..Default::default() }))
            .unwrap();
        run_job_flow(&guard)
    };
    let refusing = started(Termination::Refused);
    let stuck = started(Termination::Stuck);
    let terminate = |id: &str| guard.emr("TerminateJobFlows", &json!({"JobFlowIds": [id]})).status;
    assert_eq!((terminate(&refusing), terminate(&stuck)), (400, 200));
    sim.advance(std::time::Duration::from_mins(20));
    assert_eq!(describe(&guard, &stuck)["Status"]["State"], "TERMINATING");
    assert_eq!(describe(&guard, &refusing)["Status"]["State"], "RUNNING");
}

#[test]
fn steps_can_be_added_to_a_waiting_cluster_but_not_to_an_ending_one() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = sim.apply(Command::StartCluster(StartCluster::default())).unwrap().id.unwrap();
    let step = json!({"JobFlowId": id, "Steps": [{
        "Name": "one", "ActionOnFailure": "CANCEL_AND_WAIT",
        "HadoopJarStep": {"Jar": "x.jar", "Args": ["a"]},
    }]});
    assert_eq!(guard.emr("AddJobFlowSteps", &step).json()["StepIds"].as_array().unwrap().len(), 1);
    assert_eq!(describe(&guard, &id)["Status"]["State"], "RUNNING");
    sim.advance(std::time::Duration::from_hours(1));
    assert_eq!(describe(&guard, &id)["Status"]["State"], "WAITING");
    guard.emr("TerminateJobFlows", &json!({"JobFlowIds": [id]}));
    let message = "A job flow that is shutting down, terminated, or finished may not be modified.";
    refused(&guard.emr("AddJobFlowSteps", &step), "ValidationException", message);
}

#[test]
fn tags_come_from_the_request_and_from_add_tags() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let start = StartCluster {
        request: json!({"Tags": [{"Key": "a", "Value": "1"}]}),
        ..Default::default()
    };
    let id = sim.apply(Command::StartCluster(start)).unwrap().id.unwrap();
    guard.emr(
        "AddTags",
        &json!({
            "ResourceId": id,
            "Tags": [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}]
        }),
    );
    let expected = json!([{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}]);
    assert_eq!(describe(&guard, &id)["Tags"], expected);
}

#[test]
fn a_cluster_can_be_given_another_security_configuration_than_it_asked_for() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let fate = NextCluster { security_configuration: Some(String::new()), ..Default::default() };
    sim.apply(Command::SetNextCluster(fate)).unwrap();
    let (stripped, whole) = (run_job_flow(&guard), run_job_flow(&guard));
    assert_eq!(describe(&guard, &stripped).get("SecurityConfiguration"), None);
    assert_eq!(describe(&guard, &whole)["SecurityConfiguration"], "acme-sc");
}

#[test]
fn a_running_clusters_configurations_can_change_behind_its_back() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    let weak = json!([{
        "Classification": "core-site",
        "Properties": {"hadoop.rpc.protection": "authentication"}
    }]);
    let update = UpdateCluster {
        id: id.clone(),
        group_configurations: Some(weak.clone()),
        ..Default::default()
    };
    sim.apply(Command::UpdateCluster(update)).unwrap();
    let groups = guard.emr("ListInstanceGroups", &json!({"ClusterId": id})).json();
    assert_eq!(groups["InstanceGroups"][0]["Configurations"], weak);
}

/// A cluster of instance fleets, with configurations of one of its types.
fn with_fleets() -> Value {
    json!({"Name": "fleets", "ReleaseLabel": "emr-6.15.0", "Instances": {
        "KeepJobFlowAliveWhenNoSteps": true,
        "Ec2SubnetIds": ["subnet-0123456789abcdef0", "subnet-2"],
        "InstanceFleets": [
            {
                "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1,
                "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]
            },
            {"Name": "cores", "InstanceFleetType": "CORE", "TargetOnDemandCapacity": 1, "TargetSpotCapacity": 4, "InstanceTypeConfigs": [
                {
                    "InstanceType": "r5.xlarge", "WeightedCapacity": 2, "CustomAmiId": "ami-1",
                    "Configurations": [{"Classification": "core-site", "Properties": {"a": "b"}}]
                },
                {"InstanceType": "r5.2xlarge", "WeightedCapacity": 4}]}]}})
}

#[test]
fn a_cluster_of_instance_fleets_has_no_groups_and_emr_says_which_call_to_use() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let started = guard.emr("RunJobFlow", &with_fleets()).json();
    let id = json!({"ClusterId": started["JobFlowId"]});
    let groups = guard.emr("ListInstanceGroups", &id);
    assert_eq!(groups.error(), (400, "InvalidRequestException".to_owned()));
    assert_eq!(groups.json()["ErrorCode"], "API_DOES_NOT_SUPPORT_INSTANCE_FLEET_CLUSTERS");
    let fleets = guard.emr("ListInstanceFleets", &id).json()["InstanceFleets"].clone();
    assert_eq!(
        (&fleets[0]["InstanceFleetType"], &fleets[0]["ProvisionedOnDemandCapacity"]),
        (&json!("MASTER"), &json!(0))
    );
    let cores = &fleets[1]["InstanceTypeSpecifications"][0];
    assert_eq!(
        (&cores["InstanceType"], &cores["CustomAmiId"]),
        (&json!("r5.xlarge"), &json!("ami-1"))
    );
    assert_eq!(cores["Configurations"][0]["Properties"], json!({"a": "b"}));
    sim.advance(std::time::Duration::from_secs(600));
    let cluster = guard.emr("DescribeCluster", &id).json()["Cluster"].clone();
    assert_eq!(cluster["InstanceCollectionType"], "INSTANCE_FLEET");
    assert_eq!(cluster["Ec2InstanceAttributes"]["Ec2SubnetId"], "subnet-0123456789abcdef0");
    let instances = guard.emr("ListInstances", &id).json()["Instances"].clone();
    let instances = instances.as_array().unwrap();
    // One master, and as many of the first type as the capacity of 5 allows.
    assert_eq!(instances.len(), 4);
    assert!(instances.iter().all(|it| it.get("InstanceGroupId").is_none()));
    assert_eq!(instances[1]["InstanceFleetId"], fleets[1]["Id"]);
    assert!(fleets[1]["Id"].as_str().unwrap().starts_with("if-"));
    assert_eq!(instances[1]["EbsVolumes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_cluster_of_instance_groups_has_no_fleets() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    assert_eq!(describe(&guard, &id)["InstanceCollectionType"], "INSTANCE_GROUP");
    let fleets = guard.emr("ListInstanceFleets", &json!({"ClusterId": id}));
    assert_eq!(fleets.error(), (400, "InvalidRequestException".to_owned()));
}

#[test]
fn groups_that_join_a_cluster_or_grow_bring_instances_and_volumes_of_their_own() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    let instances = || {
        guard.emr("ListInstances", &json!({"ClusterId": id})).json()["Instances"]
            .as_array()
            .unwrap()
            .len()
    };
    let task = json!([{
        "InstanceRole": "TASK", "InstanceType": "m4.large", "InstanceCount": 2,
        "Market": "ON_DEMAND"
    }]);
    let added =
        guard.emr("AddInstanceGroups", &json!({"JobFlowId": id, "InstanceGroups": task})).json();
    assert_eq!(instances(), 0, "it is STARTING");
    sim.advance(std::time::Duration::from_secs(200));
    let before = instances();
    let group = added["InstanceGroupIds"][0].clone();
    let count = |count: u64| {
        let modified = guard.emr(
            "ModifyInstanceGroups",
            &json!({
                "ClusterId": id,
                "InstanceGroups": [{"InstanceGroupId": group, "InstanceCount": count}]
            }),
        );
        assert_eq!(modified.status, 200);
    };
    count(5);
    assert_eq!(instances(), before + 3);
    count(1);
    assert_eq!(instances(), before - 1);
    let update = UpdateCluster {
        id: id.clone(),
        ebs_encrypted: Some(false),
        add_groups: task,
        ..Default::default()
    };
    sim.apply(Command::UpdateCluster(update)).unwrap();
    assert_eq!(instances(), before + 1);
    let volumes = |encrypted: bool| {
        let query =
            format!("Action=DescribeVolumes&Filter.1.Name=encrypted&Filter.1.Value.1={encrypted}");
        guard.form("ec2", &query).body.matches("<item><volumeId>").count()
    };
    assert!(
        volumes(true) > 0 && volumes(false) > 0,
        "only those that joined last are not encrypted"
    );
    let master = guard.emr("ListInstanceGroups", &json!({"ClusterId": id})).json()["InstanceGroups"][0]["Id"].clone();
    let resize = json!({
        "ClusterId": id,
        "InstanceGroups": [{"InstanceGroupId": master, "InstanceCount": 2}]
    });
    refused(
        &guard.emr("ModifyInstanceGroups", &resize),
        "ValidationException",
        "Master instance group can not be resized.",
    );
}

/// Creates a security configuration of this name and content.
fn create(client: &Client, name: &str, content: &Value) -> Got {
    let body = json!({"Name": name, "SecurityConfiguration": content.to_string()});
    client.emr("CreateSecurityConfiguration", &body)
}

#[test]
fn a_security_configuration_is_checked_against_a_schema() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let good = json!({"EncryptionConfiguration": {
        "EnableInTransitEncryption": true,
        "EnableAtRestEncryption": true,
        "InTransitEncryptionConfiguration": {"TLSCertificateConfiguration": {
            "CertificateProviderType": "PEM", "S3Object": "s3://acme-etl/certs/emr.zip",
        }},
        "AtRestEncryptionConfiguration": {
            "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": "k"},
            "LocalDiskEncryptionConfiguration": {
                "EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": "k",
                "EnableEbsEncryption": true,
            },
        },
    }});
    assert_eq!(create(&guard, "good", &good).status, 200);
    let emr = json!({"CertificateProviderType": "EMR", "WildcardDnsSuffix": "ec2.internal"});
    let mut by_emr = good.clone();
    let in_transit = "/EncryptionConfiguration/InTransitEncryptionConfiguration";
    *by_emr.pointer_mut(&format!("{in_transit}/TLSCertificateConfiguration")).unwrap() = emr;
    assert_eq!(create(&guard, "by-emr", &by_emr).status, 200);
    let disks = "/EncryptionConfiguration/AtRestEncryptionConfiguration\
        /LocalDiskEncryptionConfiguration";
    let s3 = "/EncryptionConfiguration/AtRestEncryptionConfiguration/S3EncryptionConfiguration";
    let tls = format!("{in_transit}/TLSCertificateConfiguration");
    let encryption = "/EncryptionConfiguration".to_owned();
    let metadata = json!({"MinimumInstanceMetadataServiceVersion": 3});
    let bad = [
        (disks.to_owned(), "Type", json!("AwsKms"), "object has invalid properties: [Type]."),
        (
            disks.to_owned(),
            "EncryptionKeyProviderType",
            json!("Aws"),
            "EncryptionKeyProviderType 'Aws' is not one of [AwsKms, Custom].",
        ),
        (
            disks.to_owned(),
            "AwsKmsKey",
            Value::Null,
            "object has missing required properties: [AwsKmsKey].",
        ),
        (
            s3.to_owned(),
            "EncryptionMode",
            json!("SSE-C"),
            "EncryptionMode 'SSE-C' is not one of [SSE-S3, SSE-KMS, CSE-KMS, CSE-Custom].",
        ),
        (tls.clone(), "S3Object", json!("acme-etl"), "S3Object 'acme-etl' is not valid"),
        (
            tls,
            "CertificateProviderType",
            json!("ACM"),
            "CertificateProviderType 'ACM' is not one of [PEM, Custom, EMR].",
        ),
        (
            encryption,
            "EnableAtRestEncryption",
            json!(1),
            "EnableAtRestEncryption must be a boolean",
        ),
        (
            String::new(),
            "InstanceMetadataServiceConfiguration",
            metadata,
            "MinimumInstanceMetadataServiceVersion must be 1 or 2",
        ),
    ];
    for (place, member, value, message) in bad {
        let mut content = good.clone();
        content.pointer_mut(&place).unwrap()[member] = value;
        let message = format!("Invalid security configuration; {message}");
        refused(&create(&guard, "bad", &content), "InvalidRequestException", &message);
    }
    let part = json!({"EncryptionConfiguration": {"EnableAtRestEncryption": true}});
    let message = "Invalid security configuration; object has missing required properties: \
        [AtRestEncryptionConfiguration].";
    refused(&create(&guard, "bad", &part), "InvalidRequestException", message);
}

#[test]
fn security_configurations_are_listed_in_pages() {
    let sim = stepped();
    let guard = Client::new(&sim);
    for number in 0..60 {
        assert_eq!(create(&guard, &format!("sc-{number}"), &json!({})).status, 200);
    }
    let first = guard.emr("ListSecurityConfigurations", &json!({})).json();
    let next = json!({"Marker": first["Marker"]});
    let second = guard.emr("ListSecurityConfigurations", &next).json();
    let length = |page: &Value| page["SecurityConfigurations"].as_array().unwrap().len();
    assert_eq!((length(&first), length(&second)), (50, 11));
    assert_eq!(second["Marker"], Value::Null);
    let other = guard.in_region("us-east-1").emr("ListSecurityConfigurations", &json!({})).json();
    assert_eq!(length(&other), 0);
}

#[test]
fn a_security_configuration_is_deleted_when_no_cluster_uses_it_any_more() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let id = run_job_flow(&guard);
    let delete = || guard.emr("DeleteSecurityConfiguration", &json!({"Name": "acme-sc"}));
    let got = delete();
    assert_eq!(got.error(), (400, "InvalidRequestException".to_owned()));
    assert_eq!(got.json()["ErrorCode"], "SECURITY_CONFIGURATION_IN_USE");
    guard.emr("TerminateJobFlows", &json!({"JobFlowIds": [id]}));
    sim.advance(std::time::Duration::from_hours(1));
    assert_eq!(delete().status, 200);
}
