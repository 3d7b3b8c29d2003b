//! The steps of a run in their order. `lib.rs` combines them.

use std::{ffi::OsString, iter, time::Duration};

use time::OffsetDateTime;

use crate::{
    aws::{ca_certificates, clients::Aws},
    base::{
        lookup::{Lookup, LookupError, LookupErrorKind},
        outcome::Outcome,
        printable::printable,
        reason::Reason,
    },
    checks::{
        catalogue,
        finding::{Finding, Level},
        residual_risks::{self, ResidualRisk},
        verdict::Verdict,
    },
    commands::{
        error::GuardError,
        read_config::{self, read_config},
        run::{
            guarded_run::{Run, RunEnding, names, share_causes_of},
            output_verification::OutputVerification,
            resume,
            stop_time::StopTime,
            supervise,
        },
    },
    evidence::{
        chain::ChainLink,
        delivery::ReportDelivery,
        journal::{Journal, JournalEntry, StateDir, state_dir},
        timeline::GuardAction,
    },
    facts::gather::{self, Facts},
    report::{
        fix_script, json, judged::Judged, live_view::Live, notify::Notify, options::CheckOptions,
        reporter::Report,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError, RunInvocation},
        version,
    },
    settings::{resolve::Settings, watch_options::OnStop},
    spec::observations::RunnerVersion,
    system::{
        output,
        process::{self, LaunchError, Program, Running},
        signals::{self, Caught, stop_signal, wait_for_shutdown},
    },
    watch::{
        confirm::{self, Confirmation},
        driver::{self, ActiveWatch},
        records::WatchResult,
    },
};

/// The maximum time for which a launch waits for the delivery of earlier runs' reports.
const EARLIER_REPORTS: Duration = Duration::from_secs(120);

/// How a step ends the line early: with an outcome, or with an error.
#[derive(Debug)]
pub(crate) enum LineEnd {
    /// Nothing more must be done.
    Outcome(Outcome),
    /// The command cannot continue.
    Error(GuardError),
}

impl<E: Into<GuardError>> From<E> for LineEnd {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl LineEnd {
    /// The result of the command, at whichever step it ended.
    pub(crate) fn of(line: Result<Outcome, Self>) -> Result<Outcome, GuardError> {
        match line {
            Ok(outcome) | Err(Self::Outcome(outcome)) => Ok(outcome),
            Err(Self::Error(error)) => Err(error),
        }
    }
}

/// The shared data of all steps.
pub(crate) struct LineSession<'a> {
    settings: &'a Settings,
    /// The options of `check`; none for `run`.
    check: Option<&'a CheckOptions>,
    invocation: RunInvocation,
    report: Report,
    evidence: ReportDelivery<'a>,
    caught: Caught,
}

/// What the runner would do, and what the launch needs.
pub(crate) struct PlannedLaunch<'a> {
    run: Run<'a>,
    aws: Aws,
    /// None for `check`.
    state: Option<StateDir>,
    /// None if `check` finds no runner.
    program: Option<Program>,
}

/// The facts from AWS and the runner.
pub(crate) struct LaunchFacts {
    facts: Facts,
    runner: Option<json::RunnerProgram>,
    chain: Option<ChainLink>,
}

/// The findings of the checks before the launch.
pub(crate) struct PreFlight {
    findings: Vec<Finding>,
    residual_risks: Vec<ResidualRisk>,
    verdict: Verdict,
}

/// A runner that was started, with the watch on its clusters.
pub(crate) struct StartedRun {
    running: Running,
    watching: ActiveWatch,
    journal: Journal,
    live: Option<Live>,
    /// The time by S3's clock before the launch.
    launched_at: Option<OffsetDateTime>,
}

/// A run whose runner has ended, and whose clusters were followed to their end.
pub(crate) struct WatchedRun {
    runner: Outcome,
    watched: WatchResult,
    confirmation: Confirmation,
    stop: StopTime,
    journal: Journal,
    live: Option<Live>,
    launched_at: Option<OffsetDateTime>,
}

impl<'a> LineSession<'a> {
    /// Opens a session from the arguments. Runner commands that launch no cluster are executed
    /// directly, and end here.
    pub(crate) async fn open(
        arguments: &[OsString],
        settings: &'a Settings,
        check: Option<&'a CheckOptions>,
        notify: &Notify,
    ) -> Result<Self, LineEnd> {
        process::reject_nested_guard()?;
        let mut caught = signals::catch().map_err(anyhow::Error::from)?;
        let Invocation::Run(invocation) = Invocation::parse(arguments)? else {
            let passed =
                run_without_launch(arguments, settings, check.is_none(), &mut caught).await;
            return Err(passed.map_or_else(LineEnd::Error, LineEnd::Outcome));
        };
        let report = Report::open(&settings.report, check.unwrap_or(&CheckOptions::default()))
            .map_err(GuardError::Report)?
            .with(notify);
        let evidence = ReportDelivery::open(
            &settings.evidence,
            state_dir(settings.state_dir.as_deref()).ok().as_deref(),
            check.is_some_and(|check| check.json),
        )
        .map_err(GuardError::Evidence)?;
        evidence.check_outbox()?;
        Ok(Self { settings, check, invocation, report, evidence, caught })
    }

    /// Reads what the runner would do. Runs that an earlier guard left unfinished are closed first.
    pub(crate) async fn plan(&mut self) -> Result<PlannedLaunch<'a>, LineEnd> {
        let Self { settings, check, invocation, report, caught, .. } = self;
        let (settings, check): (&'a Settings, Option<&'a CheckOptions>) = (settings, *check);
        let config = read_config(invocation, settings, caught).await;
        if let Err(GuardError::Stopped(signal)) = config {
            return Err(GuardError::Stopped(signal).into());
        }
        ca_certificates::check_ca_certificates()?;
        let state = if check.is_none() {
            Some(StateDir::take(&state_dir(settings.state_dir.as_deref())?)?)
        } else {
            None
        };
        // Earlier runs are closed even if this run's own config cannot be used.
        if let Some(state) = &state
            && let Some(outcome) =
                resume(state, settings, config.as_ref().ok(), report, caught).await?
        {
            return Err(LineEnd::Outcome(outcome));
        }
        let config = config?;
        if !check.is_some_and(|check| check.config_alone) {
            invocation.check_resolver()?;
        }
        let program = match Program::find(settings.runner.as_deref()) {
            // A `check` needs no runner: the launch may be planned for another machine.
            Err(LaunchError::NotFound(_)) if check.is_some() && settings.runner.is_none() => None,
            found => Some(found?.with_clean_environment(settings.clean_environment)),
        };
        let run = Run::new(&config, settings, invocation, check)?;
        run.introduce(report);
        let regions = read_config::regions(&config);
        let aws = Aws::connect(&regions, Some(&config.credentials), &settings.aws).await;
        if config.depends_on_version() {
            let version = tokio::select! {
                version = runner_version(program.as_ref(), &aws, settings.version_timeout) => version,
                signal = stop_signal(caught) => return Err(GuardError::Stopped(signal).into()),
            };
            config.hold_to(version.as_ref().and_then(Lookup::found).copied())?;
        }
        Ok(PlannedLaunch { run, aws, state, program })
    }

    /// Looks up all facts from AWS and the runner at once, and sends reports that earlier runs
    /// could not deliver.
    pub(crate) async fn ask(
        &mut self,
        launch: &PlannedLaunch<'a>,
    ) -> Result<LaunchFacts, GuardError> {
        let Self { settings, invocation, report, evidence, caught, .. } = self;
        let PlannedLaunch { run, aws, state, program } = launch;
        let question = run.question(invocation.persistent);
        let digest = async { Some((program.as_ref()?, version::digest(program.as_ref()?).await)) };
        let version = runner_version(program.as_ref(), aws, settings.version_timeout);
        let (mut facts, digest, runner_version) = tokio::select! {
            known = async { tokio::join!(gather::gather(aws, question), digest, version) } => known,
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
        };
        facts.runner_version = runner_version;
        report.know(|known| {
            known.account = facts.launch_account().map(|account| account.as_str().into());
        });
        let runner = digest.zip(facts.runner_version.clone());
        let runner = runner.map(|((program, sha256), version)| json::RunnerProgram {
            path: program.path.display().to_string(),
            sha256,
            version,
        });
        tokio::select! {
            () = async {
                evidence.connect(aws, &settings.policy, Some(&facts)).await;
                if state.is_some() && facts.total_cause().is_none() {
                    let limit = settings.pre_flight_timeout.min(EARLIER_REPORTS);
                    evidence.send_earlier(limit, &report.timeline, &|line| report.say(line)).await;
                }
            } => {}
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
        }
        let chain =
            state.as_ref().map(|state| evidence.next_in_chain(state, &run.id)).transpose()?;
        Ok(LaunchFacts { facts, runner, chain })
    }

    /// The verdict. A refusal ends the line, and so does a `check`.
    pub(crate) async fn judge(
        &mut self,
        launch: &PlannedLaunch<'a>,
        known: &LaunchFacts,
    ) -> Result<PreFlight, LineEnd> {
        let Self { settings, check, report, evidence, caught, .. } = self;
        let case = launch.run.case(&known.facts);
        let mut findings = catalogue::pre_flight(&case);
        let idle = catalogue::unused_exceptions(&findings, &settings.policy);
        let only = check.map_or(&[][..], |check| check.only.as_slice());
        if !only.is_empty() {
            findings = catalogue::only(findings, only);
        }
        share_causes_of(&mut findings, &known.facts, &launch.aws, settings).await;
        let residual_risks = residual_risks::residual_risks(&case);
        let verdict = Verdict::of(&findings);
        let pre_flight = PreFlight { findings, residual_risks, verdict };
        report.timeline.note(format!("verdict: {}", verdict.word()));
        let shown =
            report.findings(&pre_flight.findings, &pre_flight.residual_risks, check.is_some());
        for exception in idle {
            report.say(format!(
                "the exception for {} {} covers nothing; remove it from the settings",
                exception.check, exception.subject
            ));
        }
        let lowered = names(&catalogue::not_enforced(&settings.policy));
        if !lowered.is_empty() {
            report.say(format!(
                "a run is not enforced: the settings lower {} to advice",
                lowered.join(", ")
            ));
        }
        if let Some(file) = check.and_then(|check| check.fix_script.as_deref()) {
            fix_script::write(file, &pre_flight.findings)
                .map_err(|error| GuardError::Report(format!("{}: {error}", file.display())))?;
            report.say(format!("the fixes are in {}", file.display()));
        }
        let outcome = if let Some(outcome) = verdict.refusal() {
            report.refusal(outcome, &pre_flight.findings, shown);
            report.alert(outcome).await;
            outcome
        } else if check.is_some() {
            let config_alone = check.is_some_and(|check| check.config_alone);
            report.say(match (only.is_empty(), config_alone) {
                (true, is_alone) => would_launch(&pre_flight.findings, is_alone),
                (false, _) => {
                    "the named checks have passed; the other checks were not evaluated".to_owned()
                }
            });
            Outcome::Ended(0)
        } else {
            return Ok(pre_flight);
        };
        let judged = judged(evidence, launch, known, &pre_flight);
        let ended =
            launch.run.end(report, &judged, None, outcome, wait_for_shutdown(caught)).await?;
        Err(LineEnd::Outcome(ended))
    }

    /// Starts the runner with the sealed config, and starts watching.
    pub(crate) async fn launch(
        &mut self,
        launch: &PlannedLaunch<'a>,
        known: &LaunchFacts,
        pre_flight: &PreFlight,
    ) -> Result<StartedRun, LineEnd> {
        let Self { settings, invocation, report, evidence, caught, .. } = self;
        let PlannedLaunch { run, aws, state, program } = launch;
        let judged = judged(evidence, launch, known, pre_flight);
        // If the policy makes the checks on the security configuration advisory, there may be none
        // here. Then nothing can be sealed, and clusters cannot be compared with anything.
        let (Some(state), Some(program), Some(sealed), Some(Lookup::Found(found))) =
            (state, program, &run.sealed, &known.facts.security_configuration)
        else {
            let why = "nothing was launched: there is no security configuration to seal";
            let ended = not_launched(run, report, &judged, &[why.into()], caught).await?;
            return Err(LineEnd::Outcome(ended));
        };
        let beginning = run.beginning(sealed, known.chain.as_ref());
        let begun = tokio::select! {
            begun = evidence.begin(&beginning, &report.timeline) => begun,
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal).into()),
        };
        if let Err(troubles) = begun {
            let why = "nothing was launched: the evidence of this run could not be kept";
            let reasons: Vec<Reason> = iter::once(why)
                .chain(troubles.iter().map(String::as_str))
                .map(Reason::new)
                .collect();
            let ended = not_launched(run, report, &judged, &reasons, caught).await?;
            return Err(LineEnd::Outcome(ended));
        }
        let program = match confirmed(program, known.runner.as_ref()).await {
            Ok(program) => program,
            Err(GuardError::Launch(error)) => {
                let ended = not_launched(run, report, &judged, &[changed(&error)], caught).await?;
                return Err(LineEnd::Outcome(ended));
            }
            Err(error) => return Err(error.into()),
        };
        run.announce(report, sealed);
        output::pass_on(&run.printed_by_config.stdout, &run.printed_by_config.stderr);
        let launched_at = aws.s3_clock.last();
        let launched = aws.emr_clock.last();
        let plan = run.watch_plan(found, &known.facts, launched, invocation.persistent);
        let journal = state.begin(run.prepared(&plan, &known.facts, launched_at))?;
        let live = Live::open(&settings.report, format!("run {}", run.id));
        let started = process::start(&program, &invocation.sealed_argv, &sealed.text, &run.id);
        let running = match started {
            Ok(running) => running,
            Err(error @ LaunchError::Changed { .. }) => {
                journal.close();
                let ended = not_launched(run, report, &judged, &[changed(&error)], caught).await?;
                return Err(LineEnd::Outcome(ended));
            }
            Err(error) => {
                journal.close();
                return Err(error.into());
            }
        };
        report.timeline.did(GuardAction::StartRunner, &program.path.display(), &Ok(()));
        report.timeline.note("the runner was started");
        let watching =
            driver::start(aws.clone(), plan, Some(journal.clone()), report.timeline.clone());
        if let Some(live) = &live {
            live.clusters(watching.seen.clone());
        }
        Ok(StartedRun { running, watching, journal, live, launched_at })
    }

    /// Forwards the runner's output until it ends, and follows its clusters to their end.
    pub(crate) async fn watch(
        &mut self,
        launch: &PlannedLaunch<'a>,
        started: StartedRun,
    ) -> Result<WatchedRun, GuardError> {
        let Self { settings, invocation, report, caught, .. } = self;
        let StartedRun { running, watching, journal, live, launched_at } = started;
        let terminate = settings.termination.on_stop == OnStop::Terminate;
        let limit = launch.run.time_to_stop();
        let (ended, watched) =
            supervise::supervise(running, caught, watching, limit, report).await?;
        let expected = confirm::expected_end(ended.outcome, invocation.persistent);
        let stop = StopTime::new(limit, terminate, ended.stop_by);
        let watched = watched.with_remediation(launch.run.commands());
        let confirmation =
            confirm::confirm(ended.outcome, expected, launch.run.has_steps(), &watched);
        let runner = ended.outcome;
        Ok(WatchedRun { runner, watched, confirmation, stop, journal, live, launched_at })
    }

    /// Verifies the output, reports the result and writes the report.
    pub(crate) async fn confirm(
        &mut self,
        launch: &PlannedLaunch<'a>,
        known: &LaunchFacts,
        pre_flight: &PreFlight,
        run: WatchedRun,
    ) -> Result<Outcome, GuardError> {
        let Self { report, evidence, caught, .. } = self;
        let WatchedRun { runner, watched, confirmation, stop, journal, live, launched_at } = run;
        let judged = judged(evidence, launch, known, pre_flight);
        let (writes, standard) = (launch.run.writes(), launch.run.standard(&known.facts));
        let after = launch.run.output_verification(
            &launch.aws,
            &judged,
            &writes,
            &standard,
            launched_at,
            report,
        );
        let is_stopped = stop.asked().is_some();
        let mut stopped = async || {
            let stop = stop.next(caught).await;
            journal.note(&JournalEntry::Stopped { terminate: stop.terminate });
            stop
        };
        let confirmed = OutputVerification { live: live.as_ref(), ..after }
            .confirm(runner, confirmation, &watched, Some(&journal), (is_stopped, &mut stopped))
            .await;
        drop(live);
        if confirmed.is_closed {
            journal.close();
        } else if watched.is_closed()
            || matches!(
                confirmed.confirmation.outcome,
                Outcome::UnsafeClusterAlive | Outcome::UnsafeClusterTerminated
            )
        {
            // Otherwise the message about running clusters contains it.
            report.say(format!(
                "the run stays open; the next start, or `{}`, continues from here",
                launch.run.commands().resume()
            ));
        }
        let findings =
            judged.findings.iter().chain(&confirmed.confirmation.findings).cloned().collect();
        let cut = stop.over(caught);
        let watched = (watched, RunEnding { runner, stopped: stop.signal() });
        launch.run.conclude(report, &judged, watched, (confirmed, findings), cut).await
    }
}

/// The last line of a check that found nothing against a launch. It counts the advisory findings,
/// so that they need not be searched for in the table.
fn would_launch(findings: &[Finding], config_alone: bool) -> String {
    let is_advice = |finding: &&Finding| finding.level == Level::Advisory && finding.is_open();
    let advice = match findings.iter().filter(is_advice).count() {
        0 => String::new(),
        1 => ", 1 advisory finding".to_owned(),
        several => format!(", {several} advisory findings"),
    };
    if config_alone {
        format!(
            "would launch with a resolver{advice}: add `-r resolver.json`, as `run` needs it too"
        )
    } else {
        format!("would launch{advice}")
    }
}

/// Everything on which the verdict depends, for the report.
fn judged<'b>(
    evidence: &'b ReportDelivery<'_>,
    launch: &'b PlannedLaunch<'_>,
    known: &'b LaunchFacts,
    pre_flight: &'b PreFlight,
) -> Judged<'b> {
    Judged {
        facts: &known.facts,
        findings: &pre_flight.findings,
        residual_risks: &pre_flight.residual_risks,
        verdict: pre_flight.verdict,
        written: &[],
        aws: &launch.aws,
        runner: known.runner.as_ref(),
        evidence,
        chain: launch.state.as_ref().zip(known.chain.as_ref()),
    }
}

/// The runner, if it is still the program that was verified.
async fn confirmed(
    program: &Program,
    known: Option<&json::RunnerProgram>,
) -> Result<Program, GuardError> {
    let program = program.clone();
    let sha256 = known.and_then(|runner| runner.sha256.found().cloned());
    let confirmed = tokio::task::spawn_blocking(move || program.confirm(sha256.as_deref()));
    Ok(confirmed.await.map_err(anyhow::Error::from)??)
}

/// Why nothing was launched if the runner has changed since it was verified.
fn changed(error: &LaunchError) -> Reason {
    Reason::new(format!("nothing was launched: {error}"))
}

/// Reports why a run with a good verdict was not launched.
async fn not_launched(
    run: &Run<'_>,
    report: &Report,
    judged: &Judged<'_>,
    reasons: &[Reason],
    caught: &mut Caught,
) -> Result<Outcome, GuardError> {
    report.trouble(Outcome::FactsUnknown, reasons);
    report.alert(Outcome::FactsUnknown).await;
    run.end(report, judged, None, Outcome::FactsUnknown, wait_for_shutdown(caught)).await
}

/// The version of the runner, if there is one. It is not read if an endpoint is refused.
async fn runner_version(
    program: Option<&Program>,
    aws: &Aws,
    limit: Duration,
) -> Option<Lookup<RunnerVersion>> {
    let program = program?;
    if aws.refused_endpoints().next().is_none() {
        return Some(version::version(program, limit).await);
    }
    Some(Lookup::Unreachable(LookupError::new(
        "--version",
        LookupErrorKind::NotAsked,
        gather::ENDPOINT_REFUSED,
    )))
}

/// Closes runs that an earlier guard left unfinished, unless a stop comes first: then they stay
/// unfinished.
async fn resume(
    state: &StateDir,
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
    caught: &mut Caught,
) -> Result<Option<Outcome>, GuardError> {
    tokio::select! {
        outcome = Box::pin(resume::close_unfinished(state, settings, config, report)) => outcome,
        signal = stop_signal(caught) => {
            for run in state.unfinished()? {
                report.tell(printable!("stopped by {signal}: {}", run.what_stays_open()));
            }
            Err(GuardError::Stopped(signal))
        }
    }
}

/// The command `watch --resume`: closes unfinished runs, and launches nothing.
pub(crate) async fn resume_only(
    arguments: &[OsString],
    settings: &Settings,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    signals::JobControl::new().map_err(anyhow::Error::from)?.share_with(None);
    let report = Report::open(&settings.report, &CheckOptions::default())
        .map_err(GuardError::Report)?
        .with(notify);
    let config = match arguments {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => {
                Some(read_config(&invocation, settings, &mut caught).await?)
            }
            Invocation::NoLaunch => None,
        },
    };
    ca_certificates::check_ca_certificates()?;
    let state = StateDir::take(&state_dir(settings.state_dir.as_deref())?)?;
    if state.unfinished()?.is_empty() {
        report.say("no run is open");
    }
    let outcome = resume(&state, settings, config.as_ref(), &report, &mut caught).await?;
    if let Some(outcome) = outcome {
        return Ok(outcome);
    }
    tokio::select! {
        sent = send_undelivered(settings, config.as_ref(), &report) => sent,
        signal = stop_signal(&mut caught) => Err(GuardError::Stopped(signal)),
    }
}

/// Sends reports that earlier runs could not deliver, and reports how many are still waiting.
async fn send_undelivered(
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let state_dir = state_dir(settings.state_dir.as_deref())?;
    let mut evidence = ReportDelivery::open(&settings.evidence, Some(&state_dir), false)
        .map_err(GuardError::Evidence)?;
    evidence.check_outbox()?;
    if evidence.undelivered() == 0 {
        return Ok(Outcome::Ended(0));
    }
    let regions = read_config::regions_or_default(config).await;
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), &settings.aws).await;
    evidence.connect(&aws, &settings.policy, None).await;
    evidence.send_earlier(EARLIER_REPORTS, &report.timeline, &|line| report.say(line)).await;
    let left = evidence.undelivered();
    if left == 0 {
        return Ok(Outcome::Ended(0));
    }
    let what = if left == 1 { "report still waits" } else { "reports still wait" };
    let reason = Reason::new(format!("{left} {what} to be delivered; the log says why"));
    report.trouble(Outcome::Undelivered, &[reason]);
    Ok(Outcome::Undelivered)
}

/// Executes the runner's commands that launch no cluster directly.
async fn run_without_launch(
    arguments: &[OsString],
    settings: &Settings,
    run: bool,
    caught: &mut Caught,
) -> Result<Outcome, GuardError> {
    if !run {
        let why = if arguments.is_empty() {
            "none were given; fix: emr-etl-guard check config.yml -r resolver.json"
        } else {
            "these launch no cluster, so there is nothing to check; expected `run -c config.yml …`"
        };
        return Err(InvocationError::Rejected(why.to_owned()).into());
    }
    let program = Program::find(settings.runner.as_deref())?
        .with_clean_environment(settings.clean_environment);
    // Runners from before 2017 have no commands, and launch with almost any arguments. Asking for
    // version or help is safe with all runners.
    let asks_only = matches!(arguments, [word] if matches!(word.to_str(), Some("-v" | "--version" | "-h" | "--help")));
    if !asks_only {
        let version = tokio::select! {
            version = version::version(&program, settings.version_timeout) => version,
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
        };
        if version.found().is_none_or(|version| *version < RunnerVersion::FIRST_ENCRYPTING) {
            let seen = match version {
                Lookup::Found(version) => version.to_string(),
                Lookup::Denied(trouble) | Lookup::Unreachable(trouble) => {
                    format!("of an unknown version ({})", trouble.message)
                }
                Lookup::Absent => "of an unknown version".to_owned(),
            };
            return Err(GuardError::OldRunner(format!(
                "the runner is {seen}; from {} on, it is known which commands launch nothing",
                RunnerVersion::FIRST_ENCRYPTING
            )));
        }
    }
    Err(process::become_runner(&program, arguments).into())
}
