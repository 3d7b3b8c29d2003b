//! Owns a run from its first log line to its last: lock, cluster, steps, waiting, and the result.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::thread;
use std::time::Duration;

use time::OffsetDateTime;

use crate::argv::Options;
use crate::aws::Aws;
use crate::config::Config;
use crate::documents::Documents;
use crate::emr::{ClusterStatus, Emr, StepStatus, whole_seconds};
use crate::jobflow::{self, Request};
use crate::knobs::Knobs;
use crate::lock::Lock;
use crate::log::{Level, Logger, format_line};
use crate::misbehave::Second;
use crate::s3::{Keys, S3, Storage};
use crate::selection::Selection;
use crate::steps::{Plan, Step};
use crate::stop::{Fatal, Stop};

/// Everything a run needs, read and checked.
pub struct Run<'a, 'out> {
    /// The configuration.
    pub config: &'a Config,
    /// The options.
    pub options: &'a Options,
    /// The other files.
    pub documents: &'a Documents,
    /// The settings from the environment.
    pub knobs: &'a Knobs,
    /// The stand-in AWS.
    pub aws: &'a Aws,
    /// Standard output.
    pub logger: &'a RefCell<Logger<'out>>,
}

/// One attempt at a run: a cluster and its steps.
struct Job<'a, 'out> {
    run: &'a Run<'a, 'out>,
    emr: Emr<'a, 'out>,
    selection: &'a Selection,
    steps: Vec<Step>,
    run_at: OffsetDateTime,
    loader_log_base: String,
    found: Option<String>,
    /// Not an attempt after a bootstrap failure.
    first: bool,
}

/// The result of a batch of steps.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    successful: bool,
    bootstrap_failure: bool,
    loader: Option<Level>,
}

impl Run<'_, '_> {
    /// Runs the pipeline.
    ///
    /// # Errors
    /// Any end other than success.
    pub fn execute(&self) -> Result<(), Stop> {
        let level = &self.config.monitoring.logging.level;
        let level = Level::from_name(level).ok_or_else(|| {
            let name = level.to_uppercase();
            Stop::crash("NameError", format!("uninitialized constant Logger::{name}"))
        })?;
        self.logger.borrow_mut().set_level(level);
        self.documents.check()?;
        self.make_noise();

        let stream = self.config.aws.s3.buckets.enriched.stream.is_some();
        let selection = Selection::new(self.options, stream);
        let lock = Lock::from_options(self.options)?;
        if let Some(lock) = &lock
            && !self.options.ignore_lock_on_start
        {
            lock.take()?;
        }
        let release = || lock.as_ref().map_or(Ok(()), Lock::release);
        let mut tries_left =
            self.config.aws.emr.bootstrap_failure_tries.as_f64().unwrap_or_default();
        let mut again = false;
        loop {
            tries_left -= 1.0;
            let first = !std::mem::replace(&mut again, true);
            match self.once(&selection, first) {
                Ok(()) => break,
                Err(Stop::BootstrapFailure(fatal)) => {
                    self.warn(&format!("Job failed. {tries_left} tries left..."));
                    if tries_left <= 0.0 {
                        return Err(Stop::BootstrapFailure(fatal));
                    }
                    let pause = self
                        .knobs
                        .bootstrap_retry
                        .unwrap_or_else(|| Duration::from_secs(fastrand::u64(1..=600)));
                    let seconds = whole_seconds(pause);
                    self.warn(&format!(
                        "Bootstrap failure detected, retrying in {seconds} seconds..."
                    ));
                    thread::sleep(pause);
                }
                Err(stop @ (Stop::NotEmpty(_) | Stop::NoData(_) | Stop::ClusterBusy(_))) => {
                    release()?;
                    return Err(stop);
                }
                // The lock is kept: a person should look first.
                Err(stop) => return Err(stop),
            }
        }
        release()?;
        self.info("Completed successfully");
        Ok(())
    }

    fn once(&self, selection: &Selection, first: bool) -> Result<(), Stop> {
        let job = Job::prepare(self, selection, first)?;
        if self.options.use_persistent_jobflow { job.run_persistent() } else { job.run_transient() }
    }

    /// The runner's clock, to the millisecond, which is the precision of EMR's times.
    fn now(&self) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc() + time::Duration::milliseconds(self.knobs.clock_offset);
        now - time::Duration::nanoseconds(i64::from(now.nanosecond() % 1_000_000))
    }

    fn debug(&self, message: &str) {
        self.logger.borrow_mut().debug(message);
    }

    fn info(&self, message: &str) {
        self.logger.borrow_mut().info(message);
    }

    fn warn(&self, message: &str) {
        self.logger.borrow_mut().warn(message);
    }

    /// A DEBUG line with a job flow id, unless the test forbids all ids.
    fn debug_id(&self, message: &str) {
        if !self.knobs.misbehave.no_id {
            self.debug(message);
        }
    }

    /// The floods and raw bytes that a test may request.
    fn make_noise(&self) {
        let mut logger = self.logger.borrow_mut();
        if self.knobs.misbehave.invalid_utf8 {
            logger.raw(b"\xff\xfe not UTF-8: \xc3\x28\n");
        }
        let bytes = self.knobs.misbehave.flood.unwrap_or_default();
        let line = |process| {
            format_line(Level::Debug, OffsetDateTime::now_utc(), process, &"flood ".repeat(20))
        };
        // The same number of lines whatever the process id is: if the id's digits counted, two runs
        // would print a different number of lines.
        let lines = bytes.div_ceil(line(0).len());
        let line = line(std::process::id());
        for _ in 0..lines {
            logger.raw(line.as_bytes());
        }
    }
}

impl<'a, 'out> Job<'a, 'out> {
    /// Finds the cluster, if it is a persistent one, and creates the steps.
    fn prepare(
        run: &'a Run<'a, 'out>,
        selection: &'a Selection,
        first: bool,
    ) -> Result<Self, Stop> {
        run.debug("Initializing EMR jobflow");
        if let Some(foreign) = &run.knobs.misbehave.forge_id {
            let line = format!("EMR jobflow {foreign} started, waiting for jobflow to complete...");
            let line = format_line(Level::Debug, run.now(), std::process::id(), &line);
            run.logger.borrow_mut().raw(line.as_bytes());
        }
        let run_at = run.now();
        let found = if run.options.use_persistent_jobflow { find_persistent(run)? } else { None };
        let plan = Plan {
            config: run.config,
            documents: run.documents,
            selection,
            include: &run.options.include,
            run_at,
            found_persistent: found.is_some(),
        };
        let mut storage = S3::new(run.aws, &run.config.aws.s3.region);
        let mut steps = plan.steps(&mut storage)?;
        jobflow::spoil_steps(&mut steps, &run.knobs.misbehave);
        Ok(Self {
            run,
            emr: Emr::new(run.aws, jobflow::region(run.config), run.knobs.retry, run.logger),
            selection,
            loader_log_base: plan.loader_log_base(),
            steps,
            run_at,
            found,
            first,
        })
    }

    /// All steps are part of the cluster's request; the cluster ends by itself.
    fn run_transient(&self) -> Result<(), Stop> {
        let method = "run_transient_mode";
        for step in &self.steps {
            self.run.debug(&format!("Added step to EMR jobflow: {}", step.name));
        }
        let id = self.start_cluster()?;
        self.run.debug_id(&format!("EMR jobflow {id} started, waiting for jobflow to complete..."));
        if self.abandon() {
            return Ok(());
        }
        let outcome = self.wait_for(&id, self.run_at)?;
        self.loader_logs(outcome, &self.steps, 0)?;
        let cluster = self.emr.describe_cluster(&id)?;
        let steps = self.steps_since(&id, self.run_at)?;
        if outcome.bootstrap_failure {
            return Err(bootstrap_failure(self.failure_details(&id, &cluster, steps), method));
        }
        if !outcome.successful {
            return Err(Stop::execution(self.failure_details(&id, &cluster, steps), method));
        }
        self.emr.terminate(&id)
    }

    /// Adds steps to a persistent cluster; it is terminated only when it outlived its allotted
    /// time.
    fn run_persistent(&self) -> Result<(), Stop> {
        let id = match &self.found {
            Some(id) => id.clone(),
            None => self.start_cluster()?,
        };
        self.run.debug_id(&format!("EMR jobflow {id} started"));
        match self.batches(&id) {
            Ok(()) => self.terminate_expired(&id),
            Err(stop @ (Stop::Fatal(_) | Stop::BootstrapFailure(_))) => {
                // The first error is the one that is reported.
                let _ = self.terminate_expired(&id);
                Err(stop)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Submits all steps, then again those from the first failed one on, as long as that may help.
    fn batches(&self, id: &str) -> Result<(), Stop> {
        let method = "run_persistent_mode";
        let mut batch = &self.steps[..];
        let mut retries = 0;
        loop {
            let since = self.run.now();
            for step in batch {
                self.add_step(id, step)?;
            }
            if self.abandon() {
                return Ok(());
            }
            let outcome = self.wait_for(id, since)?;
            self.loader_logs(outcome, batch, retries)?;
            let cluster = self.emr.describe_cluster(id)?;
            let statuses = self.steps_since(id, since)?;
            if outcome.successful {
                return Ok(());
            }
            let failed =
                statuses.iter().find(|step| step.state == "FAILED").map(|step| step.name.clone());
            let details = self.failure_details(id, &cluster, statuses);
            if outcome.bootstrap_failure {
                return Err(bootstrap_failure(details, method));
            }
            let Some(failed) = failed else {
                return Err(Stop::execution(details, method));
            };
            self.run.debug(&format!("EMR step failed: {failed}"));
            let again = batch.iter().position(|step| step.name == failed);
            let Some(first) = again.filter(|first| batch[*first].retry_on_fail) else {
                return Err(Stop::execution(details, method));
            };
            retries = if first == 0 { retries + 1 } else { 1 };
            if retries >= 3 {
                return Err(Stop::execution(details, method));
            }
            batch = &batch[first..];
            self.run.warn(&details);
            self.run.info("Failed and cancelled steps will be resubmitted");
        }
    }

    fn start_cluster(&self) -> Result<String, Stop> {
        let emr = &self.run.config.aws.emr;
        let major = emr.ami_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 4) {
            return Err(Stop::crash(
                "RuntimeError",
                "Please use an EMR release_label not ami_version",
            ));
        }
        let request = Request {
            config: self.run.config,
            selection: self.selection,
            debug: self.run.options.debug,
            persistent: self.run.options.use_persistent_jobflow,
            steps: &self.steps,
        };
        let mut body = request.body();
        jobflow::spoil(&mut body, &self.run.knobs.misbehave);
        let id = self.emr.run_job_flow(&body)?;
        if let Some(second) = self.run.knobs.misbehave.second_cluster.filter(|_| self.first) {
            if let (Second::Unsafe, Some(keys)) = (second, body.as_object_mut()) {
                keys.shift_remove("SecurityConfiguration");
            }
            // The result is ignored and not reported.
            let _ = self.emr.run_job_flow(&body);
        }
        Ok(id)
    }

    fn add_step(&self, id: &str, step: &Step) -> Result<(), Stop> {
        let request = step.to_request("CANCEL_AND_WAIT");
        match self.emr.add_step(id, &request) {
            Ok(()) => {
                self.run.debug(&format!("Added step to EMR jobflow: {}", step.name));
                Ok(())
            }
            Err(Stop::Crash(_, message)) => Err(Stop::execution(
                format!(
                    "Can't add step [{}] to jobflow [{}] (retried 3 times). Error: [{message}].",
                    step.name,
                    self.shown(id)
                ),
                "add_step_to_jobflow",
            )),
            Err(other) => Err(other),
        }
    }

    /// For a misbehaving run: hangs forever, or returns that the cluster is to be left running as
    /// after a success.
    fn abandon(&self) -> bool {
        if self.run.knobs.misbehave.hang {
            loop {
                thread::park();
            }
        }
        if self.run.knobs.misbehave.leave_running {
            self.run.info("No RDB Loader logs");
        }
        self.run.knobs.misbehave.leave_running
    }

    /// Polls the steps until none is pending or running. Steps older than `since` belong to earlier
    /// runs.
    fn wait_for(&self, id: &str, since: OffsetDateTime) -> Result<Outcome, Stop> {
        loop {
            let statuses = self.steps_since(id, since)?;
            let in_state =
                |states: &[&str]| statuses.iter().any(|step| states.contains(&step.state.as_str()));
            if in_state(&["WAITING", "RUNNING", "PENDING", "SHUTTING_DOWN"]) {
                thread::sleep(self.run.knobs.poll);
                continue;
            }
            let loader = |state: &str| {
                statuses
                    .iter()
                    .any(|step| step.state == state && step.name.contains("Storage Target"))
            };
            let successful = !in_state(&["FAILED", "CANCELLED"]);
            return Ok(Outcome {
                successful,
                bootstrap_failure: self.bootstrap_failed(id, &statuses)?,
                loader: if successful {
                    Some(Level::Info)
                } else if loader("CANCELLED") {
                    Some(Level::Warn)
                } else if loader("FAILED") {
                    Some(Level::Error)
                } else {
                    None
                },
            });
        }
    }

    fn bootstrap_failed(&self, id: &str, steps: &[StepStatus]) -> Result<bool, Stop> {
        const SIGNS: [&str; 3] =
            ["BOOTSTRAP_FAILURE", "bootstrap action", "Master instance startup failed"];
        if steps.iter().any(|step| step.state != "CANCELLED") {
            return Ok(false);
        }
        let reason = self.emr.describe_cluster(id)?.reason.unwrap_or_default();
        Ok(SIGNS.iter().any(|sign| reason.contains(sign)))
    }

    /// This batch's steps, oldest first.
    fn steps_since(&self, id: &str, since: OffsetDateTime) -> Result<Vec<StepStatus>, Stop> {
        let mut steps = self.emr.list_steps(id)?;
        steps.retain(|step| step.created_at.is_some_and(|created| created >= since));
        steps.sort_by_key(|step| step.created_at);
        Ok(steps)
    }

    fn terminate_expired(&self, id: &str) -> Result<(), Stop> {
        let allotted =
            self.run.options.persistent_jobflow_duration.as_deref().map_or(0, parse_duration);
        let cluster = self.emr.describe_cluster(id)?;
        let expired = cluster
            .created_at
            .is_some_and(|created| created + time::Duration::seconds(allotted) < self.run.now());
        if allotted > 0 && expired {
            self.run.debug("EMR jobflow has expired and will be shutdown.");
            self.emr.terminate(id)?;
        }
        Ok(())
    }

    /// Prints the logs that RDB Loader left in S3, and moves them so that they do not affect a
    /// second attempt.
    fn loader_logs(&self, outcome: Outcome, batch: &[Step], attempt: u32) -> Result<(), Stop> {
        let Some(level) = outcome.loader else {
            return Ok(());
        };
        let logs: Vec<_> = batch.iter().filter_map(|step| step.loader_log.as_ref()).collect();
        let mut s3 = S3::new(self.run.aws, &self.run.config.aws.s3.region);
        if logs.is_empty() || s3.is_empty(&self.loader_log_base, Keys::Files)? {
            self.run.info("No RDB Loader logs");
            return Ok(());
        }
        self.run.info("RDB Loader logs");
        for (name, location) in logs {
            self.run.debug(&format!("Downloading {location} to memory"));
            let moved = s3.get(location).and_then(|text| {
                let mut logger = self.run.logger.borrow_mut();
                logger.line(level, name);
                logger.line(level, &String::from_utf8_lossy(&text));
                drop(logger);
                s3.copy(location, &format!("{location}.{attempt}"))?;
                s3.delete(location)
            });
            if let Err(Stop::Crash(_, message)) = moved {
                let mut logger = self.run.logger.borrow_mut();
                logger.line(Level::Error, &format!("Error while downloading RDB log {location}"));
                logger.line(Level::Error, &message);
            }
        }
        Ok(())
    }

    fn failure_details(
        &self,
        id: &str,
        cluster: &ClusterStatus,
        mut steps: Vec<StepStatus>,
    ) -> String {
        steps.sort_by(|left, right| match (left.started_at, right.started_at) {
            (Some(left), Some(right)) => left.cmp(&right),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        });
        let id = self.shown(id);
        let mut lines = vec![
            format!(
                "EMR jobflow {id} failed, check Amazon EMR console and Hadoop logs for details \
                 (help: https://github.com/snowplow/snowplow/wiki/Troubleshooting-jobs-on-Elastic-MapReduce). Data files not archived."
            ),
            format!(
                "{id}: {} [{}] ~ {}",
                cluster.state,
                cluster.reason.as_deref().unwrap_or_default(),
                span(cluster.ready_at, cluster.ended_at)
            ),
        ];
        lines.extend(steps.iter().enumerate().map(|(index, step)| {
            let span = span(step.started_at, step.ended_at);
            format!(" - {}. {}: {} ~ {span}", index + 1, step.name, step.state)
        }));
        lines.join("\n")
    }

    /// An id as texts may show it.
    fn shown<'id>(&self, id: &'id str) -> &'id str {
        if self.run.knobs.misbehave.no_id { "(withheld)" } else { id }
    }
}

fn find_persistent(run: &Run<'_, '_>) -> Result<Option<String>, Stop> {
    let emr_config = &run.config.aws.emr;
    let name = &emr_config.jobflow.job_name;
    let emr = Emr::new(run.aws, &emr_config.region, run.knobs.retry, run.logger);
    let mut found = emr.clusters_named(name)?;
    if found.len() > 1 {
        return Err(Stop::Fatal(Fatal {
            class: "EmrDiscoveryError",
            message: format!(
                "EMR Cluster name must be unique for safe discovery - found {} with name {name}",
                found.len()
            ),
            raised_in: "get_emr_jobflow_id",
        }));
    }
    let Some(cluster) = found.pop() else {
        return Ok(None);
    };
    if cluster.state == "RUNNING" {
        return Err(Stop::ClusterBusy(
            "EMR Cluster must be in WAITING state before new job steps \
            can be submitted - found RUNNING"
                .to_owned(),
        ));
    }
    // Elasticity searches for steps that install something; the response changes nothing here.
    emr.list_steps(&cluster.id)?;
    Ok(Some(cluster.id))
}

fn bootstrap_failure(message: String, method: &'static str) -> Stop {
    Stop::BootstrapFailure(Fatal { class: "BootstrapFailureError", message, raised_in: method })
}

/// `00:00:01 [2026-11-22 08:41:07 +0000 - 2026-11-22 08:41:08 +0000]`
fn span(start: Option<OffsetDateTime>, end: Option<OffsetDateTime>) -> String {
    let elapsed = match (start, end) {
        (Some(start), Some(end)) => {
            let seconds = (end - start).whole_seconds().abs();
            format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        _ => "elapsed time n/a".to_owned(),
    };
    let show = |at: Option<OffsetDateTime>| {
        at.map_or_else(String::new, |at| {
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02} +0000",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second()
            )
        })
    };
    format!("{elapsed} [{} - {}]", show(start), show(end))
}

/// The seconds in `1d12h`; parts without a known unit count as zero.
fn parse_duration(text: &str) -> i64 {
    let mut total = 0;
    let mut amount = 0;
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            amount = amount * 10 + i64::from(digit);
            continue;
        }
        total += amount
            * match letter {
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                'w' => 604_800,
                _ => 0,
            };
        amount = 0;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, span};
    use time::{Duration, OffsetDateTime};

    #[test]
    fn a_duration_adds_up_its_pieces() {
        assert_eq!(parse_duration("1d12h"), 129_600);
        assert_eq!(parse_duration("5h 10m"), 18_600);
        assert_eq!(parse_duration("0m"), 0);
    }

    #[test]
    fn a_span_of_time_is_told_as_ruby_tells_it() {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_795_336_867);
        assert_eq!(
            span(Some(start), Some(start + Duration::seconds(3_725))),
            "01:02:05 [2026-11-22 08:41:07 +0000 - 2026-11-22 09:43:12 +0000]"
        );
        assert_eq!(span(None, None), "elapsed time n/a [ - ]");
    }
}
