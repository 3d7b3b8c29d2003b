//! Closes runs that an earlier guard left unfinished because it was killed, its machine died, or
//! its time to stop ran out. Their clusters are found, judged by what was verified then, and
//! terminated if necessary, before anything new is launched.

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::{clients::Aws, region::Regions},
    base::{
        lookup::Lookup, names::ClusterId, outcome::Outcome, printable::printable, reason::Reason,
    },
    checks::{finding::Finding, fix::CommandContext},
    commands::{
        error::GuardError,
        run::guarded_run::{commands_of, names, undelivered},
        run::output_verification::{OutputVerification, OutputVerificationResult},
    },
    evidence::{
        chain::ChainLink,
        delivery::ReportDelivery,
        journal::{Output, StateDir, UnfinishedRun},
        signed_report::SignedReport,
    },
    facts::{
        sts::{self, NoAccess},
        written::OutputSurvey,
    },
    report::{
        json::{self, Record},
        live_view::Live,
        notify,
        reporter::Report,
        reporter::document,
    },
    runners::emr_etl_runner::config::RunnerConfig,
    settings::{aws_options::CredentialSource, resolve::Settings},
    system::orphaned_processes,
    watch::{
        confirm::{self, Confirmation},
        driver::{self, ActiveWatch, WatchPlan},
        events::WatchEvent,
        records::{ClusterRecord, ClusterVerdict, WatchResult},
    },
};

/// Closes every unfinished run. Returns the worst outcome that forbids to continue, if there is
/// one.
///
/// `config` is used only for credentials, if the settings say that the runner's must be used.
///
/// # Errors
/// [`GuardError`] when the state directory cannot be used, or the watch panics, which is a bug.
pub(crate) async fn close_unfinished(
    state: &StateDir,
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
) -> Result<Option<Outcome>, GuardError> {
    let mut worst: Option<Outcome> = None;
    for run in state.unfinished()? {
        report.say(format!("run {} was left open; closing it", run.prepared.run));
        let outcome = close(state, &run, settings, config, report).await?;
        worst = worst.into_iter().chain(outcome).max_by_key(|outcome| severity(*outcome));
    }
    Ok(worst)
}

/// Exit code 71 takes precedence over 76, and 76 over all others.
fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::UnsafeClusterAlive => 2,
        Outcome::UnsafeClusterTerminated => 1,
        _ => 0,
    }
}

/// Gives alerts the data of the run that is being closed.
fn know(report: &Report, run: &UnfinishedRun) {
    report.know(|known| {
        let of = &run.prepared;
        (known.run, known.account, known.region) = (
            Some((&of.run).into()),
            of.account.as_ref().map(Into::into),
            Some((&of.region).into()),
        );
    });
}

async fn close(
    state: &StateDir,
    run: &UnfinishedRun,
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
) -> Result<Option<Outcome>, GuardError> {
    let id = &run.prepared.run;
    know(report, run);
    // A runner that is still alive could launch a cluster.
    match orphaned_processes::end(id) {
        Ok(0) => {}
        Ok(several) => {
            report.say(format!("run {id}: ended {several} processes that it had left running"));
        }
        Err(error) => {
            report.trouble(
                Outcome::FactsUnknown,
                &[format!(
                    "run {id} was left open, and what is left of its runner cannot be \
                    ended, so nothing new was launched: {error}"
                )
                .into()],
            );
            return Ok(Some(Outcome::FactsUnknown));
        }
    }
    if settings.aws.credentials == CredentialSource::RunnerConfig && config.is_none() {
        let why = format!(
            "run {id} was left open, and the runner config, whose credentials the settings \
             require, cannot be loaded; fix it, or set `credentials: chain`"
        );
        report.trouble(Outcome::FactsUnknown, &[why.into()]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    let output = run.prepared.output.as_ref();
    let regions = Regions {
        emr: run.prepared.region.clone(),
        s3: output.map_or(&run.prepared.region, |output| &output.region).clone(),
    };
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), &settings.aws).await;
    if let Some(endpoint) = aws.refused_endpoints().next() {
        let why = format!(
            "run {id} was left open, and the endpoint {} may not be asked about it; allow it in \
             `allow_endpoints`, or unset it",
            endpoint.url
        );
        report.trouble(Outcome::FactsUnknown, &[why.into()]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    if let Some(why) = other_account(run, &aws, settings).await {
        report.trouble(Outcome::FactsUnknown, &[why]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    let limit = notify::time_to_stop(settings.stop_timeout, &settings.alerts);
    let now = aws.emr_clock.now();
    let plan = WatchPlan::resumed(run, now, settings.watch, limit, settings.termination);
    let mut evidence = ReportDelivery::open(&settings.evidence, Some(state.path()), false)
        .map_err(GuardError::Evidence)?;
    evidence.connect(&aws, &settings.policy, None).await;
    let chain = evidence.next_in_chain(state, id)?;
    let started = OffsetDateTime::now_utc();
    let watching = driver::start(aws.clone(), plan, Some(run.reopen()?), report.timeline.clone());
    let live = Live::open(&settings.report, format!("run {id}, which was left open"));
    let commands = commands_of_run(run, settings);
    if let Some(live) = &live {
        live.clusters(watching.seen.clone());
    }
    let ActiveWatch { inputs: _inputs, mut events, seen, mut task } = watching;
    // The live view has its own receiver.
    drop(seen);
    // A stop ends the guard at once, and the run stays unfinished.
    let watched = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                if !matches!(event, WatchEvent::Unsafe(..)) {
                    event.tell(report);
                }
            }
            watched = &mut task => break watched.map_err(anyhow::Error::from)?,
        }
    }
    .with_remediation(&commands);
    drop(live);
    let cause = match &watched.search_obstacle {
        Some(obstacle) => NoAccess::by(obstacle, &aws, settings.aws.credentials).await,
        None => None,
    };
    let (outcome, reasons) = judge(run, &watched, cause);
    say_ends(id, &watched, report);
    let closing = match (outcome, output) {
        // The output is verified even if the clusters could not be confirmed.
        (None | Some(Outcome::Unconfirmed), Some(output)) => {
            let written = verify_output(run, output, &aws, &watched, settings, report).await?;
            let outcome = written.outcome.or(outcome);
            ClosedRun { outcome, reasons: [reasons, written.reasons].concat(), ..written }
        }
        _ => ClosedRun {
            outcome,
            reasons,
            is_closed: watched.is_closed(),
            findings: Vec::new(),
            written: Vec::new(),
        },
    };
    let outcome = closing.outcome;
    if let Some(outcome) = outcome {
        report.trouble(outcome, &closing.reasons);
    }
    report.warn_of_advice(&watched.failed_advice(&closing.findings));
    if closing.is_closed {
        run.close();
        report.say(format!("run {id} is closed"));
    }
    let told = ResumeReport { run, started, chain: &chain, aws: &aws, evidence: &evidence };
    let troubles = told.document(state, settings, &watched, &closing, report).await?;
    if troubles.is_empty() {
        return Ok(outcome);
    }
    // The missing delivery does not forbid the next run. If the next run's report could not be
    // delivered either, its own checks find that before the launch.
    report.trouble(Outcome::Undelivered, &[undelivered(&run.prepared.run, &troubles, &commands)]);
    Ok(outcome)
}

/// The result of closing a run.
struct ClosedRun {
    /// The outcome that forbids to continue, if there is one, and the reasons.
    outcome: Option<Outcome>,
    reasons: Vec<Reason>,
    /// Whether nothing must be done about the run any more.
    is_closed: bool,
    /// The findings on its output.
    findings: Vec<Finding>,
    written: Vec<OutputSurvey>,
}

/// The parts of a closed run's report that do not come from the watch.
struct ResumeReport<'a> {
    run: &'a UnfinishedRun,
    started: OffsetDateTime,
    chain: &'a ChainLink,
    aws: &'a Aws,
    evidence: &'a ReportDelivery<'a>,
}

impl ResumeReport<'_> {
    /// Writes the report that the run's own guard could not write, and delivers it. Returns the
    /// obstacles. The report of this start belongs to the next run and is not written here.
    async fn document(
        &self,
        state: &StateDir,
        settings: &Settings,
        watched: &WatchResult,
        closing: &ClosedRun,
        report: &Report,
    ) -> Result<Vec<String>, GuardError> {
        let id = &self.run.prepared.run;
        let findings: Vec<&Finding> = watched
            .clusters
            .iter()
            .flat_map(|record| &record.findings)
            .chain(&closing.findings)
            .collect();
        let outcome = closing.outcome.unwrap_or(Outcome::Ended(0));
        let exit_code = outcome.exit_code(&settings.exit_codes);
        let (timeline, started) = (&report.timeline, self.started);
        let command = json::ReportedCommand::Resume;
        let record = Record {
            chain: Some(self.chain.clone()),
            findings,
            not_enforced: names(&watched.not_enforced),
            watched: Some(watched),
            written: &closing.written,
            objects: json::ObjectSummary::of(&closing.written),
            calls: self.aws.calls.calls(),
            connections: self.aws.connections(),
            ..Record::of_run(id, command, started, timeline, outcome, exit_code)
        };
        let mut parcel =
            SignedReport::new(id, self.started, exit_code, Some(self.chain), document(&record)?);
        let mut troubles = Vec::new();
        // A stop ends the guard at once. The report then waits in the outbox.
        self.evidence.secure(&mut parcel, Some(state), &mut troubles, std::future::pending()).await;
        self.evidence.deliver(&parcel, &mut troubles, std::future::pending()).await;
        Ok(troubles)
    }
}

/// How a runner ends when its guard is killed: the kernel sends it this signal.
const KILLED: Outcome = Outcome::Signalled(Signal::SIGKILL as u8);

/// Verifies the output of a run whose clusters match what was verified. Returns the outcome, the
/// reasons, and whether the run is closed.
async fn verify_output(
    run: &UnfinishedRun,
    output: &Output,
    aws: &Aws,
    watched: &WatchResult,
    settings: &Settings,
    report: &Report,
) -> Result<ClosedRun, GuardError> {
    let id = &run.prepared.run;
    if let Some((cluster, ..)) = watched.clusters.iter().find_map(ClusterRecord::living) {
        report.say(format!(
            "run {id}: what it writes is not looked at, because its cluster {cluster} continues"
        ));
        return Ok(ClosedRun {
            outcome: None,
            reasons: Vec::new(),
            is_closed: watched.is_closed(),
            findings: Vec::new(),
            written: Vec::new(),
        });
    }
    let after = OutputVerification {
        aws,
        settings,
        policy: &run.prepared.selector.policy,
        commands: &commands_of_run(run, settings),
        report,
        writes: &output.writes,
        standard: &output.standard,
        locations: &[],
        since: output.since,
        // The journal does not have the buckets' settings before the launch.
        before: None,
        live: None,
    };
    let journal = run.reopen()?;
    let none = Confirmation { outcome: KILLED, reasons: Vec::new(), findings: Vec::new() };
    let OutputVerificationResult { confirmation, written, is_closed, .. } = after
        .confirm(KILLED, none, watched, Some(&journal), (false, &mut std::future::pending))
        .await;
    let findings = confirmation.findings;
    if confirmation.reasons.is_empty() {
        if written.iter().any(|written| written.survey.looked_at > 0) {
            report.confirmed_objects(&written, watched.enforces_objects());
        }
        return Ok(ClosedRun { outcome: None, reasons: Vec::new(), is_closed, findings, written });
    }
    let reasons = confirmation
        .reasons
        .into_iter()
        .map(|reason| reason.within(format!("run {id}, which was left open")))
        .collect();
    Ok(ClosedRun { outcome: Some(confirmation.outcome), reasons, is_closed, findings, written })
}

/// The values that make the commands of fixes complete.
fn commands_of_run(run: &UnfinishedRun, settings: &Settings) -> CommandContext {
    let region = &run.prepared.region;
    let output = run.prepared.output.as_ref();
    CommandContext {
        region: region.clone(),
        s3_region: output.map_or(region, |output| &output.region).clone(),
        ..commands_of(settings)
    }
}

/// Why the guard's credentials cannot see the run's clusters, if so: in another account it would
/// find no clusters, and wrongly conclude that they have ended.
async fn other_account(run: &UnfinishedRun, aws: &Aws, settings: &Settings) -> Option<Reason> {
    let wanted = run.prepared.account.as_deref()?;
    let id = &run.prepared.run;
    let seen = match sts::identity(&aws.sts).await {
        Lookup::Found(identity) if identity.account.as_str() == wanted => return None,
        Lookup::Found(identity) => {
            format!("the guard's credentials are of account {}", identity.account)
        }
        Lookup::Absent => "the owner of the guard's credentials is unknown".to_owned(),
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
            if let Some(cause) = NoAccess::by(&obstacle, aws, settings.aws.credentials).await {
                let reason = cause.reason(NOTHING_CLOSED);
                return Some(reason.detail(format!(
                    "run {id} was left open in account {wanted} and stays open; nothing new was \
                     launched"
                )));
            }
            obstacle.to_string()
        }
    };
    let why = format!(
        "run {id} was left open in account {wanted} and cannot be closed yet, so nothing new was \
         launched: {seen}"
    );
    Some(why.into())
}

/// Reports how the clusters ended that are not unsafe.
fn say_ends(id: &str, watched: &WatchResult, report: &Report) {
    for record in watched.clusters.iter().filter(|record| !record.is_unsafe) {
        let end = record.findings.last().map_or("", |finding| finding.saw.as_str());
        report.say(match watched.verified_in_words(&record.id) {
            ClusterVerdict::Verified(words) => printable!("run {id}: {words}; {end}"),
            ClusterVerdict::NotEnforced(words) => {
                printable!("run {id}: not enforced: {words}; {end}")
            }
        });
        if let Some(line) = record.orphan_line() {
            report.say(&line);
        }
    }
}

/// What is not done if AWS cannot be called.
const NOTHING_CLOSED: &str = "an open run could not be closed";

/// The outcome of an unfinished run, and the reasons; `cause` is why its clusters could not be
/// listed, if other calls share it.
fn judge(
    run: &UnfinishedRun,
    watched: &WatchResult,
    cause: Option<NoAccess>,
) -> (Option<Outcome>, Vec<Reason>) {
    let id = &run.prepared.run;
    if let Some((outcome, reasons)) = confirm::of_unsafe(
        watched,
        true,
        &format!(" of run {id}, which was left open,"),
        ", nothing new was launched",
    ) {
        return (Some(outcome), reasons);
    }
    if watched.is_closed() {
        // The same judgement for live and resumed runs: only what was seen can pass.
        let reasons = confirm::doubts(watched);
        let outcome = (!reasons.is_empty()).then_some(Outcome::Unconfirmed);
        let within = |reason: Reason| reason.within(format!("run {id}, which was left open"));
        return (outcome, reasons.into_iter().map(within).collect());
    }
    let trouble = watched
        .search_trouble
        .clone()
        .unwrap_or_else(|| "its clusters could not be described".to_owned());
    let why = format!(
        "run {} was left open and cannot be closed yet, so nothing new was launched: {trouble}",
        run.prepared.run
    );
    let clusters: Vec<&str> = run.clusters.iter().map(ClusterId::as_str).collect();
    let known = if clusters.is_empty() {
        "it knows of no cluster yet".to_owned()
    } else {
        format!("it knows of {}", clusters.join(", "))
    };
    let way_out = format!(
        "if you have made sure that its clusters have ended ({known}), remove {}",
        run.path().display()
    );
    if let Some(cause) = cause {
        let reason = cause
            .reason(NOTHING_CLOSED)
            .fix(way_out)
            .detail(format!("run {id} was left open and stays open; nothing new was launched"));
        let reason = run.clusters.iter().fold(reason, Reason::about);
        return (Some(Outcome::FactsUnknown), vec![reason]);
    }
    let way_out = format!("try again, or give what is denied; {way_out}");
    let reason = run.clusters.iter().fold(Reason::new(why).fix(way_out), Reason::about);
    (Some(Outcome::FactsUnknown), vec![reason])
}
