//! Metrics: the file that Prometheus reads and what a collector of OpenTelemetry receives, after
//! good, refused and unsafe runs.

use std::collections::BTreeMap;

use emr_simulator::{Command as Set, Fault, FaultKind};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{metric::Data, number_data_point},
};
use prost::Message as _;

use crate::{
    receiver::{Answer, Receiver},
    support::Stage,
};

const OK: Answer = Answer::Status(200, "");

fn to_file(stage: Stage) -> Stage {
    stage
        .env("EMR_ETL_GUARD_METRICS_FILE", "guard.prom")
        .env("EMR_ETL_GUARD_METRICS_LABELS", "pipeline=acme")
}

fn refused() -> Stage {
    Stage::acme().option("--accept-encryption=SSE-KMS,DSSE-KMS")
}

/// The samples of the file: the text before the value, and the value.
fn samples(stage: &Stage) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(stage.path("guard.prom")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn the_file_tells_of_a_good_run() {
    let stage = to_file(Stage::acme());
    let began = now();
    let played = stage.run();
    played.expect_code(0);
    let samples = samples(&stage);
    let own =
        |name: &str| samples[&format!("emr_etl_guard_{name}{{command=\"run\",pipeline=\"acme\"}}")];
    assert!(own("run_exit_code").abs() < f64::EPSILON);
    assert!(own("run_duration_seconds") > 0.0 && own("run_duration_seconds") < now() - began + 1.0);
    assert!((began - 1.0..=now()).contains(&own("run_last_success_timestamp_seconds")));
    // The certificates of the stage are valid for long.
    assert!(own("certificate_expiry_timestamp_seconds") > now() + 31.0 * 86_400.0);
    let kind = |name: &str, label: &str| {
        samples[&format!("emr_etl_guard_{name}{{command=\"run\",{label},pipeline=\"acme\"}}")]
    };
    assert!(
        (kind("clusters", "judgement=\"verified\"") - 1.0).abs() < f64::EPSILON
            && kind("clusters", "judgement=\"unsafe\"").abs() < f64::EPSILON
    );
    let looked_at: f64 = played.report["written"]
        .as_array()
        .unwrap()
        .iter()
        .map(|written| written["survey"]["looked_at"].as_f64().unwrap())
        .sum();
    let counted: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("emr_etl_guard_objects"))
        .map(|(_, value)| value)
        .sum();
    assert!(
        looked_at > 0.0 && (counted - looked_at).abs() < f64::EPSILON,
        "{counted} of {looked_at}"
    );
    let findings = played.report["findings"].as_array().unwrap().len()
        + played.report["watched"]["clusters"][0]["findings"].as_array().unwrap().len();
    let counted: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("emr_etl_guard_findings"))
        .map(|(_, value)| value)
        .sum();
    assert!(
        (counted - f64::from(u32::try_from(findings).unwrap())).abs() < f64::EPSILON,
        "{counted} of {findings}"
    );
}

#[test]
fn a_check_a_refusal_and_an_error_count_and_take_nothing_from_what_the_last_success_left() {
    let stage = to_file(Stage::acme());
    stage.run().expect_code(0);
    let before = samples(&stage);
    let success = |samples: &BTreeMap<String, f64>, command: &str| {
        samples.get(&format!("emr_etl_guard_run_last_success_timestamp_seconds{{command=\"{command}\",pipeline=\"acme\"}}")).copied()
    };
    stage.check().expect_code(0);
    let with_check = samples(&stage);
    assert!(success(&with_check, "check").is_some());
    assert_eq!(
        with_check.iter().filter(|(name, _)| name.contains("\"run\"")).count(),
        before.len(),
        "the run's samples are all there"
    );

    let stage = stage.option("--accept-encryption=DSSE-KMS");
    stage.run().expect_code(77);
    let code_of = |stage: &Stage| {
        samples(stage)["emr_etl_guard_run_exit_code{command=\"run\",pipeline=\"acme\"}"].to_string()
    };
    assert_eq!(code_of(&stage), "77");
    let failed = samples(&stage)["emr_etl_guard_findings{command=\"run\",level=\"required\",pipeline=\"acme\",status=\"failed\"}"];
    assert!(failed >= 6.0, "{failed}");
    let stage = stage.argument("--nonsense");
    stage.run().expect_code(65);
    assert_eq!(code_of(&stage), "65");
    assert_eq!(
        success(&samples(&stage), "run"),
        success(&before, "run"),
        "the last success outlives the failures after it"
    );
}

#[test]
fn an_unsafe_cluster_counts_as_one() {
    let stage = to_file(Stage::acme().misbehave("drop-security-configuration"));
    stage.run().expect_code(76);
    let unsafe_ones = samples(&stage)["emr_etl_guard_clusters{command=\"run\",judgement=\"unsafe\",pipeline=\"acme\"}"];
    assert!((unsafe_ones - 1.0).abs() < f64::EPSILON);
}

#[test]
fn what_goes_wrong_with_metrics_is_said_and_changes_nothing() {
    let nowhere =
        |stage: Stage| stage.env("EMR_ETL_GUARD_METRICS_FILE", "no/such/folder/guard.prom");
    let played = nowhere(Stage::acme()).run();
    played.expect_code(0);
    assert_eq!(played.stderr, "", "a good run stays silent there");
    let line = "emr-etl-guard: metrics: no/such/folder/guard.prom: cannot be written: No such \
        file or directory (os error 2)\n";
    assert!(played.stdout.ends_with(line), "{}", played.stdout);
    let played = nowhere(refused()).run();
    played.expect_code(77);
    assert!(played.stderr.ends_with(line), "{}", played.stderr);
    assert!(!nowhere(Stage::acme()).option("--quiet").run().stdout.contains("metrics: "));
    let json = nowhere(Stage::acme()).option("--json").check();
    json.expect_code(0);
    serde_json::from_str::<serde_json::Value>(&json.stdout).expect("nothing but JSON");
}

/// The content of an export: the resource's attributes, and each gauge's unit and points.
type Exported =
    (BTreeMap<String, String>, BTreeMap<String, (String, Vec<(BTreeMap<String, String>, f64)>)>);

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn decoded(body: &[u8]) -> Exported {
    let request = ExportMetricsServiceRequest::decode(body).expect("OTLP");
    assert_eq!(request.resource_metrics.len(), 1);
    let of = &request.resource_metrics[0];
    assert_eq!(of.scope_metrics[0].scope.as_ref().unwrap().name, "emr-etl-guard");
    let gauges = of.scope_metrics[0].metrics.iter().map(|metric| {
        let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
        let points = gauge.data_points.iter().map(|point| {
            let Some(number_data_point::Value::AsDouble(value)) = point.value else {
                panic!("{point:?}")
            };
            (attributes(&point.attributes), value)
        });
        (metric.name.clone(), (metric.unit.clone(), points.collect()))
    });
    (attributes(&of.resource.as_ref().unwrap().attributes), gauges.collect())
}

#[test]
fn a_collector_receives_the_same_numbers_by_opentelemetrys_names() {
    let receiver = Receiver::start(vec![OK]);
    let stage = to_file(Stage::acme())
        .env("EMR_ETL_GUARD_OTLP_ENDPOINT", &receiver.url(""))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    stage.run().expect_code(0);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].request, "POST /v1/metrics HTTP/1.1");
    assert_eq!(requests[0].header("content-type"), Some("application/x-protobuf"));
    assert_eq!(requests[0].header("authorization"), Some("Bearer token"));
    let (resource, gauges) = decoded(&requests[0].body);
    assert_eq!(resource["service.name"], "emr-etl-guard");
    assert_eq!(resource["deployment.environment.name"], "test");
    let in_file = samples(&stage);
    let mut compared = 0;
    for (name, (unit, points)) in &gauges {
        let base = name.replace('.', "_");
        let name = if unit == "s" { format!("{base}_seconds") } else { base };
        for (labels, value) in points {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let sample = format!("{name}{{{}}}", labels.join(","));
            assert!((in_file[&sample] - value).abs() < 1e-6, "{sample}");
            compared += 1;
        }
    }
    assert_eq!(compared, in_file.len());
    let units: BTreeMap<&str, &str> =
        gauges.iter().map(|(name, (unit, _))| (name.as_str(), unit.as_str())).collect();
    assert_eq!(units["emr_etl_guard.run.duration"], "s");
    assert_eq!(units["emr_etl_guard.objects"], "{object}");
}

#[test]
fn opentelemetrys_own_variables_name_the_collector_and_switch_it_off() {
    let receiver = Receiver::start(vec![OK]);
    let stage = refused()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url("/base"))
        .env("OTEL_SERVICE_NAME", "nightly");
    stage.run().expect_code(77);
    let requests = receiver.requests();
    assert_eq!(requests[0].request, "POST /base/v1/metrics HTTP/1.1");
    let (resource, gauges) = decoded(&requests[0].body);
    assert_eq!(resource["service.name"], "nightly");
    assert_eq!(gauges["emr_etl_guard.run.exit_code"].1[0].1.to_string(), "77");
    assert!(!gauges.contains_key("emr_etl_guard.run.last_success_timestamp"));
    stage.env("OTEL_SDK_DISABLED", "true").run().expect_code(77);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_collector_that_is_broken_costs_a_run_a_few_seconds_at_most() {
    let broken = |answer: Answer, why: &str| {
        let receiver = Receiver::start(vec![answer]);
        let stage = Stage::acme()
            .env("EMR_ETL_GUARD_OTLP_ENDPOINT", &receiver.url(""))
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
        let played = stage.run();
        played.expect_code(0);
        assert_eq!(played.stderr, "");
        let said = played.stdout.lines().last().unwrap();
        assert!(said.starts_with("emr-etl-guard: metrics: OTLP: http://127.0.0.1:"), "{said}");
        assert!(said.contains(why), "{said}");
    };
    broken(Answer::Status(400, ""), "400");
    broken(Answer::Silence, "");
    broken(Answer::Reset, "");
    let stage = Stage::acme()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert!(stage.run().stdout.ends_with("set `otlp_endpoint`, or OTEL_METRICS_EXPORTER=none\n"));
}

#[test]
fn a_run_that_cannot_tell_is_counted_as_it_is() {
    let stage = to_file(Stage::acme());
    stage.set(Set::AddFault(Fault::every("DescribeSubnets", FaultKind::AccessDenied)));
    stage.run().expect_code(69);
    let unknown = samples(&stage)["emr_etl_guard_findings{command=\"run\",level=\"required\",pipeline=\"acme\",status=\"unknown\"}"];
    assert!(unknown >= 1.0);
}
