//! Owns the plain HTTP client of these tests, with the part of the signature that the simulator
//! reads.

use std::time::Duration;

use emr_simulator::{ClockMode, Command, SetClock, Simulator, Switch};
use serde_json::Value;
use ureq::http::{HeaderMap, Request};

/// The guard's access key in the scene `acme`.
pub(crate) const GUARD: &str = "AKIAGUARD";
/// A second, within which all expected events have happened.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The scene `acme` with a clock stepped by hand and no quotas.
pub(crate) fn stepped() -> Simulator {
    let sim = Simulator::acme().unwrap();
    sim.apply(Command::SetClock(SetClock { mode: ClockMode::Stepped, at: None })).unwrap();
    sim.apply(Command::SetQuotas(Switch { on: false })).unwrap();
    sim
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The text of the first element of this name.
    pub(crate) fn xml(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    }

    /// Status and AWS's error code.
    pub(crate) fn error(&self) -> (u16, String) {
        let code = match serde_json::from_str::<Value>(&self.body) {
            Ok(json) => json["__type"].as_str().unwrap_or_default().to_owned(),
            Err(_) => self.xml("Code").unwrap_or_default().to_owned(),
        };
        (self.status, code)
    }
}

/// The caller, and the region.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    pub(crate) key: Option<&'static str>,
    pub(crate) region: &'static str,
}

impl Client {
    /// The guard in eu-west-1.
    pub(crate) fn new(sim: &Simulator) -> Self {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.into(), url: sim.url(), key: Some(GUARD), region: "eu-west-1" }
    }

    pub(crate) fn as_key(&self, key: &'static str) -> Self {
        Self { key: Some(key), ..self.clone() }
    }

    pub(crate) fn unsigned(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    pub(crate) fn in_region(&self, region: &'static str) -> Self {
        Self { region, ..self.clone() }
    }

    /// Gives up after this long.
    pub(crate) fn patient_for(&self, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(patience));
        Self { agent: config.build().into(), ..self.clone() }
    }

    pub(crate) fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Got, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = self.key {
            let scope = format!("{key}/20261122/{}/{service}/aws4_request", self.region);
            let value =
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
            request = request.header("authorization", value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body.to_owned()).unwrap())?;
        Ok(Got {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string()?,
        })
    }

    pub(crate) fn try_emr(&self, operation: &str, body: &str) -> Result<Got, ureq::Error> {
        let target = format!("ElasticMapReduce.{operation}");
        let headers =
            [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
        self.send("elasticmapreduce", "POST", "/", &headers, body)
    }

    pub(crate) fn emr(&self, operation: &str, body: &Value) -> Got {
        self.try_emr(operation, &body.to_string()).unwrap()
    }

    pub(crate) fn kms(&self, operation: &str, body: &Value) -> Got {
        let target = format!("TrentService.{operation}");
        let headers =
            [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
        self.send("kms", "POST", "/", &headers, &body.to_string()).unwrap()
    }

    pub(crate) fn sqs(&self, operation: &str, body: &Value) -> Got {
        let target = format!("AmazonSQS.{operation}");
        let headers =
            [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.0")];
        self.send("sqs", "POST", "/", &headers, &body.to_string()).unwrap()
    }

    pub(crate) fn events(&self, operation: &str, body: &Value) -> Got {
        let target = format!("AWSEvents.{operation}");
        let headers =
            [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.1")];
        self.send("events", "POST", "/", &headers, &body.to_string()).unwrap()
    }

    /// IAM, STS, EC2, SNS or CloudWatch: parameters as in a form.
    pub(crate) fn form(&self, service: &str, parameters: &str) -> Got {
        let version = match service {
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            "sns" => "2010-03-31",
            "monitoring" => "2010-08-01",
            _ => "2016-11-15",
        };
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        self.send(service, "POST", "/", &headers, &format!("{parameters}&Version={version}"))
            .unwrap()
    }

    pub(crate) fn s3(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send("s3", method, path, headers, "").unwrap()
    }

    pub(crate) fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        self.send("s3", "PUT", path, headers, body).unwrap()
    }

    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> Got {
        self.send("none", method, &format!("/_control/{path}"), &[], body).unwrap()
    }
}

/// `RunJobFlow`'s body exactly as the real runner (through Elasticity) wrote it.
pub(crate) const RUN_JOB_FLOW: &str = include_str!("data/run-job-flow.json");

/// Sends that body and returns the new cluster's id.
pub(crate) fn run_job_flow(client: &Client) -> String {
    let got = client.try_emr("RunJobFlow", RUN_JOB_FLOW).unwrap();
    assert_eq!(got.status, 200, "{got:?}");
    got.json()["JobFlowId"].as_str().unwrap().to_owned()
}
