//! Owns the comparison of requests to EMR with those of the real program: the same keys, in the
//! same order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standin_runner::argv::Options;
use standin_runner::config::Config;
use standin_runner::documents::Documents;
use standin_runner::jobflow::{Request, spoil, spoil_steps};
use standin_runner::misbehave::Misbehaviour;
use standin_runner::s3::{Keys, Storage};
use standin_runner::selection::Selection;
use standin_runner::steps::{ENCRYPT, Plan, Step};
use standin_runner::stop::Stop;
use support::{ENCRYPTED, config_with, normalised, recorded, recorded_path};
use time::{Duration, OffsetDateTime};

/// Buckets in memory, and every query of them.
#[derive(Default)]
struct Buckets {
    keys: Vec<&'static str>,
    looks: Vec<String>,
}

impl Buckets {
    fn with(keys: &[&'static str]) -> Self {
        Self { keys: keys.to_vec(), looks: Vec::new() }
    }

    fn acme() -> Self {
        Self::with(&[
            "s3://acme-raw-in/logs/2020-08-21-raw.lzo",
            "s3://acme-raw-in/logs/_Tomcat_localhost_access_log.2020-08-21.txt.gz",
            "s3://acme-stream/enriched/2020-08-21-part-0000.gz",
        ])
    }
}

impl Storage for Buckets {
    fn is_empty(&mut self, location: &str, keys: Keys) -> Result<bool, Stop> {
        self.looks.push(location.to_owned());
        let counts = |key: &&str| key.starts_with(location) && keys.include(key);
        Ok(!self.keys.iter().any(counts))
    }

    fn last_key(&mut self, location: &str, keys: Keys) -> Result<Option<String>, Stop> {
        self.looks.push(location.to_owned());
        let below = self.keys.iter().filter(|key| key.starts_with(location) && keys.include(key));
        Ok(below.max().map(|key| (*key).to_owned()))
    }
}

struct Scene {
    config: Config,
    documents: Documents,
    options: Options,
    selection: Selection,
}

impl Scene {
    fn new(changes: &[(&str, &str)], options: Options) -> Self {
        let env = |name: &str| name.starts_with("AWS_SNOWPLOW").then(|| "fake".to_owned());
        let config = Config::load(&config_with(changes), &env).unwrap();
        let resolver = recorded_path("resolver.json").to_string_lossy().into_owned();
        let options = Options { resolver: Some(resolver), ..options };
        Self {
            documents: Documents::load(&options).unwrap(),
            selection: Selection::new(&options, config.aws.s3.buckets.enriched.stream.is_some()),
            config,
            options,
        }
    }

    fn encrypted() -> Self {
        Self::new(&ENCRYPTED, Options::default())
    }

    fn steps(&self, buckets: &mut Buckets, found_persistent: bool) -> Result<Vec<Step>, Stop> {
        Plan {
            config: &self.config,
            documents: &self.documents,
            selection: &self.selection,
            include: &self.options.include,
            run_at: OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(1_795_336_455_575),
            found_persistent,
        }
        .steps(buckets)
    }

    fn body(&self, persistent: bool, steps: &[Step]) -> Value {
        Request {
            config: &self.config,
            selection: &self.selection,
            debug: self.options.debug,
            persistent,
            steps,
        }
        .body()
    }

    fn transient_body(&self) -> Value {
        self.body(false, &self.steps(&mut Buckets::acme(), false).unwrap())
    }
}

fn assert_recorded(body: &Value, name: &str) {
    let sent = normalised(&format!("{body:#}\n"));
    assert_eq!(sent, recorded(name), "{name}");
}

#[test]
fn a_plain_run_sends_what_the_real_program_sent() {
    assert_recorded(
        &Scene::new(&[], Options::default()).transient_body(),
        "a01-plain.run-job-flow.json",
    );
}

#[test]
fn an_encrypted_run_sends_what_the_real_program_sent() {
    assert_recorded(&Scene::encrypted().transient_body(), "a02-encrypted-sc.run-job-flow.json");
}

#[test]
fn a_stream_enrich_run_sends_what_the_real_program_sent() {
    let changes = [
        ENCRYPTED[0],
        ENCRYPTED[1],
        (
            "      raw:\n        in:\n          - s3://acme-raw-in\n          - \
             s3://acme-raw-in2/sub\n        processing: s3://acme-etl/processing\n        \
             archive: s3://acme-archive/raw\n",
            "",
        ),
        ("      enriched:\n", "      enriched:\n        stream: s3://acme-stream/enriched\n"),
        ("collectors:\n  format: thrift\n", ""),
    ];
    let scene = Scene::new(&changes, Options::default());
    assert_recorded(&scene.transient_body(), "a05-stream.run-job-flow.json");
}

#[test]
fn a_clj_tomcat_run_sends_what_the_real_program_sent() {
    let changes = [ENCRYPTED[0], ENCRYPTED[1], ("format: thrift", "format: clj-tomcat")];
    let scene = Scene::new(&changes, Options::default());
    assert_recorded(&scene.transient_body(), "a06-clj-tomcat.run-job-flow.json");
}

#[test]
fn a_new_persistent_cluster_starts_without_steps_and_is_kept_alive() {
    let scene = Scene::encrypted();
    let steps = scene.steps(&mut Buckets::acme(), false).unwrap();
    assert_recorded(&scene.body(true, &steps), "a04-persistent-none.run-job-flow.json");
    assert_steps_recorded(&steps, "a04-persistent-none.add-job-flow-steps.json");
}

#[test]
fn an_existing_persistent_cluster_is_cleaned_and_then_given_each_step() {
    let steps = Scene::encrypted().steps(&mut Buckets::acme(), true).unwrap();
    assert_steps_recorded(&steps, "a03-persistent-existing.add-job-flow-steps.json");
}

fn assert_steps_recorded(steps: &[Step], name: &str) {
    let sent: Vec<Value> = steps
        .iter()
        .map(|step| json!({"JobFlowId": "j-ID", "Steps": [step.to_request("CANCEL_AND_WAIT")]}))
        .collect();
    let recording: Value = serde_json::from_str(&recorded(name)).unwrap();
    let sent = normalised(&format!("{:#}", json!(sent)));
    assert_eq!(sent, format!("{recording:#}"), "{name}");
}

#[test]
fn looks_into_s3_come_in_the_real_programs_order() {
    let mut buckets = Buckets::acme();
    Scene::encrypted().steps(&mut buckets, false).unwrap();
    assert_eq!(
        buckets.looks,
        [
            "s3://acme-etl/processing/",
            "s3://acme-raw-in/",
            "s3://acme-raw-in2/sub/",
            "s3://acme-out/enriched/good/",
            "s3://acme-out/shredded/good/",
        ]
    );
}

#[test]
fn without_input_there_is_no_data_and_with_leftovers_the_folder_is_not_empty() {
    let scene = Scene::encrypted();
    assert_eq!(
        scene.steps(&mut Buckets::default(), false),
        Err(Stop::NoData("No Snowplow logs to process since last run".to_owned()))
    );
    let leftovers = [
        (
            "s3://acme-etl/processing/a",
            "Cannot safely add staging step to jobflow, s3://acme-etl/processing/ is not empty",
        ),
        (
            "s3://acme-out/enriched/good/a",
            "Cannot safely add enrichment step to jobflow, s3://acme-out/enriched/good/ is not \
             empty",
        ),
        (
            "s3://acme-out/shredded/good/a",
            "Cannot safely add shredding step to jobflow, s3://acme-out/shredded/good/ is not \
             empty",
        ),
    ];
    for (key, message) in leftovers {
        let mut buckets = Buckets::with(&["s3://acme-raw-in/a", key]);
        assert_eq!(scene.steps(&mut buckets, false), Err(Stop::NotEmpty(message.to_owned())));
    }
}

#[test]
fn every_input_that_is_not_empty_is_staged_by_a_step_of_its_own() {
    let mut buckets = Buckets::with(&["s3://acme-raw-in/a", "s3://acme-raw-in2/sub/b"]);
    let steps = Scene::encrypted().steps(&mut buckets, false).unwrap();
    let staging = steps.iter().filter(|step| step.name.starts_with("[staging]"));
    assert_eq!(staging.count(), 2);
}

#[test]
fn resuming_from_shred_brings_the_enriched_files_back_and_archives_the_last_run() {
    let options = Options { resume_from: Some("shred".to_owned()), ..Options::default() };
    let scene = Scene::new(&ENCRYPTED, options);
    let mut buckets =
        Buckets::with(&["s3://acme-out/enriched/good/run=2026-11-22-08-34-15/part-0"]);
    let steps = scene.steps(&mut buckets, false).unwrap();
    assert_eq!(steps[0].name, "[shred] s3-dist-cp: Enriched S3 -> HDFS");
    assert_eq!(steps[0].args[1], "s3://acme-out/enriched/good/");
    let archive = steps.iter().find(|step| step.name.starts_with("[archive_enriched]")).unwrap();
    assert_eq!(archive.name, "[archive_enriched] s3-dist-cp: Enriched S3 -> S3 Enriched Archive");
    assert_eq!(archive.args[1], "s3://acme-out/enriched/good/run=2026-11-22-08-34-15/");
    assert_eq!(archive.args.last().unwrap(), ENCRYPT);
}

#[test]
fn skipping_every_part_leaves_no_step() {
    let skip =
        "staging,enrich,shred,elasticsearch,archive_raw,rdb_load,archive_enriched,archive_shredded";
    let options =
        Options { skip: skip.split(',').map(str::to_owned).collect(), ..Options::default() };
    let steps = Scene::new(&ENCRYPTED, options).steps(&mut Buckets::acme(), false);
    assert_eq!(steps, Ok(Vec::new()));
}

#[test]
fn tags_additional_info_placement_and_task_nodes_are_sent_where_they_are_configured() {
    let changes = [
        ("  tags: {}\n", "  tags:\n    team: data\n    guard-run: \"42\"\n"),
        ("    additional_info:\n", "    additional_info: '{\"a\":1}'\n"),
        (
            "    placement:\n    ec2_subnet_id: subnet-0123456789abcdef0\n",
            "    placement: eu-west-1b\n    ec2_subnet_id:\n",
        ),
        ("task_instance_count: 0", "task_instance_count: 3"),
    ];
    let body = Scene::new(&changes, Options::default()).transient_body();
    assert_eq!(
        body["Tags"],
        json!([{"Key": "team", "Value": "data"}, {"Key": "guard-run", "Value": "42"}])
    );
    assert_eq!(body["AdditionalInfo"], "{\"a\":1}");
    assert_eq!(body["Instances"]["Placement"]["AvailabilityZone"], "eu-west-1b");
    assert_eq!(
        body["Instances"]["InstanceGroups"][2],
        json!({
            "Market": "SPOT", "InstanceCount": 3, "InstanceType": "m4.large",
            "InstanceRole": "TASK", "BidPrice": "0.015"
        })
    );
}

#[test]
fn an_empty_security_configuration_is_sent_and_a_missing_one_is_not() {
    let empty = [("security_configuration:\n", "security_configuration: \"\"\n")];
    assert_eq!(
        Scene::new(&empty, Options::default()).transient_body()["SecurityConfiguration"],
        ""
    );
    let none = Scene::new(&[], Options::default()).transient_body();
    assert_eq!(none.get("SecurityConfiguration"), None);
}

#[test]
fn json_and_yaml_of_the_same_configuration_send_the_same() {
    let yaml = config_with(&ENCRYPTED);
    let tree = tree_of(&yaml);
    let from_json = Config::load(&format!("{tree:#}"), &|_| None).unwrap();
    let mut scene = Scene::encrypted();
    let sent = scene.transient_body();
    scene.config = from_json;
    assert_eq!(normalised(&scene.transient_body().to_string()), normalised(&sent.to_string()));
}

fn tree_of(text: &str) -> Value {
    let env = |name: &str| name.starts_with("AWS_SNOWPLOW").then(|| "fake".to_owned());
    Config::load(text, &env).unwrap().tree
}

#[test]
fn a_redshift_target_becomes_a_load_step_without_the_runners_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let target = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow.storage/redshift_config/jsonschema/4-0-0",
        "data": {"name": "acme-dw", "purpose": "ENRICHED_EVENTS", "blacklistTabular": []},
    });
    std::fs::write(folder.path().join("redshift.json"), target.to_string()).unwrap();
    let options = Options {
        targets: Some(folder.path().to_string_lossy().into_owned()),
        ..Options::default()
    };
    let steps = Scene::new(&ENCRYPTED, options).steps(&mut Buckets::acme(), false).unwrap();
    let load = steps.iter().find(|step| step.name.starts_with("[rdb_load]")).unwrap();
    assert_eq!(load.name, "[rdb_load] Load acme-dw Storage Target");
    assert_eq!(load.args[0], "--config");
    let config: Value = serde_json::from_slice(&STANDARD.decode(&load.args[1]).unwrap()).unwrap();
    assert_eq!(
        (&config["aws"]["access_key_id"], &config["aws"]["secret_access_key"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(config["aws"]["emr"]["ec2_key_name"], "acme-key");
    let log = &load.loader_log.as_ref().unwrap().1;
    assert!(log.starts_with("s3://acme-log/emr/rdb-loader/2026-11-22-08-34-15/"), "{log}");
    assert!(steps.iter().any(|step| step.name.contains("TSV types")));
    assert!(!steps.iter().any(|step| step.name.contains("JSON types")));
}

#[test]
fn misbehaviour_drops_exactly_what_it_names() {
    let misbehave =
        Misbehaviour::parse("drop-flag=2,drop-security-configuration,drop-tags").unwrap();
    let scene = Scene::encrypted();
    let mut steps = scene.steps(&mut Buckets::acme(), false).unwrap();
    spoil_steps(&mut steps, &misbehave);
    let without: Vec<&str> = steps
        .iter()
        .filter(|step| step.is_dist_cp() && !step.args.iter().any(|arg| arg == ENCRYPT))
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(without, ["[enrich] s3-dist-cp: Raw S3 -> Raw HDFS"]);
    let mut body = scene.body(false, &steps);
    spoil(&mut body, &misbehave);
    assert_eq!(body.get("SecurityConfiguration"), None);
    assert_eq!(body["Tags"], json!([]));
    assert_eq!(body["JobFlowRole"], "EMR_EC2_DefaultRole");
}

#[test]
fn debugging_adds_a_first_step() {
    let options = Options { debug: true, ..Options::default() };
    let body = Scene::new(&[], options).transient_body();
    assert_eq!(body["Steps"][0]["Name"], "Elasticity Setup Hadoop Debugging");
}
