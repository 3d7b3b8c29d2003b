//! Owns the calls to EMR: one JSON request each, repeated after transient failures.

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::aws::{Answer, Aws, Failure};
use crate::log::Logger;
use crate::stop::Stop;

/// How often a failed call is sent again.
pub const RESENDS: u32 = 3;

/// EMR in one region, as Elasticity calls it.
pub struct Emr<'a, 'out> {
    aws: &'a Aws,
    region: String,
    retry: Option<Duration>,
    logger: &'a RefCell<Logger<'out>>,
}

/// A cluster in the response of `ListClusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `j-…`
    pub id: String,
    /// `WAITING` or `RUNNING`.
    pub state: String,
}

/// A cluster in the response of `DescribeCluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Such as `TERMINATING`.
    pub state: String,
    /// The code of the last change of state.
    pub reason: Option<String>,
    /// When it was requested.
    pub created_at: Option<OffsetDateTime>,
    /// When it could take steps.
    pub ready_at: Option<OffsetDateTime>,
    /// When it was gone.
    pub ended_at: Option<OffsetDateTime>,
}

/// A step in the response of `ListSteps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// Its name; ids do not matter here.
    pub name: String,
    /// Such as `PENDING`.
    pub state: String,
    /// When it was submitted.
    pub created_at: Option<OffsetDateTime>,
    /// When it began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// A failed attempt, by Ruby's exceptions.
struct Trouble {
    /// Its name in the log.
    description: &'static str,
    class: &'static str,
    message: String,
    passing: bool,
}

impl<'a, 'out> Emr<'a, 'out> {
    /// A client for `region`; `retry` replaces the pauses of 34, 46 and 94 seconds.
    #[must_use]
    pub fn new(
        aws: &'a Aws,
        region: &str,
        retry: Option<Duration>,
        logger: &'a RefCell<Logger<'out>>,
    ) -> Self {
        Self { aws, region: region.to_owned(), retry, logger }
    }

    /// The WAITING and RUNNING clusters of that name, all pages.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn clusters_named(&self, name: &str) -> Result<Vec<Listed>, Stop> {
        let mut found = Vec::new();
        let mut body = json!({"ClusterStates": ["WAITING", "RUNNING"]});
        loop {
            let page = self.call("ListClusters", "", &body)?;
            for cluster in page["Clusters"].as_array().into_iter().flatten() {
                if cluster["Name"] == name {
                    found.push(Listed {
                        id: text(&cluster["Id"]),
                        state: text(&cluster["Status"]["State"]),
                    });
                }
            }
            // The real program loops forever here, because it keeps the last marker it saw.
            match page.get("Marker") {
                Some(marker) => body["Marker"] = marker.clone(),
                None => return Ok(found),
            }
        }
    }

    /// Starts a cluster and returns its id.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn run_job_flow(&self, body: &Value) -> Result<String, Stop> {
        Ok(text(&self.call("RunJobFlow", "", body)?["JobFlowId"]))
    }

    /// Adds one step to a running cluster.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn add_step(&self, id: &str, step: &Value) -> Result<(), Stop> {
        self.call("AddJobFlowSteps", id, &json!({"JobFlowId": id, "Steps": [step]}))?;
        Ok(())
    }

    /// The first page of a cluster's steps, newest first: the real program never requests another
    /// page.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn list_steps(&self, id: &str) -> Result<Vec<StepStatus>, Stop> {
        let answer = self.call("ListSteps", id, &json!({"ClusterId": id}))?;
        let steps = answer["Steps"].as_array().into_iter().flatten();
        Ok(steps
            .map(|step| {
                let timeline = &step["Status"]["Timeline"];
                StepStatus {
                    name: text(&step["Name"]),
                    state: text(&step["Status"]["State"]),
                    created_at: moment(&timeline["CreationDateTime"]),
                    started_at: moment(&timeline["StartDateTime"]),
                    ended_at: moment(&timeline["EndDateTime"]),
                }
            })
            .collect())
    }

    /// A cluster's state.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn describe_cluster(&self, id: &str) -> Result<ClusterStatus, Stop> {
        let answer = self.call("DescribeCluster", id, &json!({"ClusterId": id}))?;
        let status = &answer["Cluster"]["Status"];
        let timeline = &status["Timeline"];
        Ok(ClusterStatus {
            state: text(&status["State"]),
            reason: status["StateChangeReason"]["Code"].as_str().map(str::to_owned),
            created_at: moment(&timeline["CreationDateTime"]),
            ready_at: moment(&timeline["ReadyDateTime"]),
            ended_at: moment(&timeline["EndDateTime"]),
        })
    }

    /// Terminates a cluster.
    ///
    /// # Errors
    /// A crash, where EMR responds with an error.
    pub fn terminate(&self, id: &str) -> Result<(), Stop> {
        self.call("TerminateJobFlows", id, &json!({"JobFlowIds": [id]}))?;
        Ok(())
    }

    /// One call, repeated up to [`RESENDS`] times; `subject` is for the journal.
    ///
    /// # Errors
    /// A crash with the exception of the last attempt.
    fn call(&self, operation: &str, subject: &str, body: &Value) -> Result<Value, Stop> {
        let mut attempt = 1;
        loop {
            let trouble = match self.attempt(operation, subject, body, attempt) {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            if !trouble.passing || attempt > RESENDS {
                return Err(Stop::crash(trouble.class, trouble.message));
            }
            let pause = self.retry.unwrap_or_else(|| Duration::from_secs(4_u64.pow(attempt) + 30));
            self.logger.borrow_mut().warn(&format!(
                "Got {} {}, waiting {} seconds before trying again",
                trouble.description,
                trouble.message,
                whole_seconds(pause)
            ));
            thread::sleep(pause);
            attempt += 1;
        }
    }

    fn attempt(
        &self,
        operation: &str,
        subject: &str,
        body: &Value,
        attempt: u32,
    ) -> Result<Value, Trouble> {
        let target = format!("ElasticMapReduce.{operation}");
        let headers = [
            ("accept", "*/*; q=0.5, application/xml"),
            ("content-type", "application/x-amz-json-1.1"),
            ("user-agent", "elasticity/6.0.14"),
            ("x-amz-target", target.as_str()),
        ];
        let journal = &self.aws.journal;
        journal.request("elasticmapreduce", operation, subject, attempt);
        let sent = self.aws.send(
            "elasticmapreduce",
            &self.region,
            "POST",
            "/",
            &headers,
            body.to_string().as_bytes(),
        );
        let status = sent.as_ref().ok().map(|answer| answer.status);
        let result = match sent {
            Ok(answer) => understand(&answer),
            Err(failure) => Err(lost(failure)),
        };
        let id = result.as_ref().ok().and_then(|answer| answer["JobFlowId"].as_str());
        journal.answer(operation, status, id);
        result
    }
}

fn understand(answer: &Answer) -> Result<Value, Trouble> {
    let trouble = |description, class, message: String, passing| Trouble {
        description,
        class,
        message,
        passing,
    };
    let body = serde_json::from_slice::<Value>(&answer.body);
    match answer.status {
        // Some operations have an empty response.
        200..300 if answer.body.is_empty() => Ok(Value::Null),
        200..300 => body.map_err(|_| {
            let message = "unexpected token in EMR's answer".to_owned();
            trouble("", "JSON::ParserError", message, false)
        }),
        400 => {
            let body = body.unwrap_or_default();
            let kind = text(&body["__type"]);
            let words = body.get("message").or_else(|| body.get("Message"));
            let message =
                format!("AWS EMR API Error ({kind}): {}", words.map(text).unwrap_or_default());
            Err(if kind.ends_with("ThrottlingException") {
                trouble(
                    "Elasticity throttling exception",
                    "Elasticity::ThrottlingException",
                    message,
                    true,
                )
            } else {
                trouble("Elasticity argument error", "ArgumentError", message, true)
            })
        }
        500 => Err(trouble(
            "internal server error",
            "RestClient::InternalServerError",
            "500 Internal Server Error".to_owned(),
            true,
        )),
        status @ 501.. => Err(trouble(
            "RestClient::ServiceUnavailable",
            "RestClient::ServiceUnavailable",
            format!("{status} Service Unavailable"),
            true,
        )),
        status => Err(trouble(
            "",
            "RestClient::RequestFailed",
            format!("HTTP status code {status}"),
            false,
        )),
    }
}

fn lost(failure: Failure) -> Trouble {
    let (description, class, message) = match failure {
        Failure::TimedOut => (
            "RestClient::RequestTimeout",
            "RestClient::RequestTimeout",
            "Request Timeout".to_owned(),
        ),
        Failure::ConnectionRefused(message) => {
            ("connection refused", "Errno::ECONNREFUSED", message)
        }
        Failure::ConnectionReset(message) => ("connection reset", "Errno::ECONNRESET", message),
        Failure::Other(message) => ("socket error", "SocketError", message),
    };
    Trouble { description, class, message, passing: true }
}

/// A pause as in a log line: rounded up.
#[must_use]
pub fn whole_seconds(pause: Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Seconds since 1970, with a fraction, to the millisecond.
fn moment(value: &Value) -> Option<OffsetDateTime> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds since 1970 fit an i128 many times over"
    )]
    let millis = (value.as_f64()? * 1000.0).round() as i128;
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).ok()
}
