//! `emr-etl-guard` stands where Snowplow's EmrEtlRunner stood, and makes sure that no batch run
//! starts, or goes on, without the end-to-end encryption its owner requires.
//!
//! One straight line, each word a module:
//!
//! ```text
//! argv ─► invocation ─► runner_config ─► facts ─► verdict ─► launch ─► watch ─► confirm ─► report
//! ```
//!
//! `guard` below is that line. Side effects live in `facts`, `launch`, `watch` (with `supervise`
//! and `terminate`) and `report`; all else is plain functions.

mod afterwards;
mod alerts;
mod attach;
pub mod audit;
pub mod aws;
mod bar;
mod certificate;
pub mod checks;
pub mod cli;
mod confirm;
mod digest;
mod evidence;
pub mod exit;
mod explain;
pub mod facts;
mod gaps;
mod heap;
mod http;
mod iam_policy;
pub mod invocation;
mod journal;
pub mod launch;
mod markdown;
mod metrics;
pub mod names;
mod notify;
mod permissions;
pub mod plan;
pub mod prices;
mod progress;
mod reap;
mod reencrypt;
pub mod report;
mod resume;
mod run;
pub mod runner_config;
mod screen;
mod seal_command;
pub mod settings;
mod signals;
mod step_arguments;
mod supervise;
mod survivors;
mod terminate;
mod timeline;
pub mod verdict;
mod watch;
mod weakening;

use std::{cell::Cell, ffi::OsString, path::PathBuf, process::ExitCode};

use nix::sys::signal::Signal;
use tokio::time::Instant;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    afterwards::{Afterwards, Confirmed},
    aws::{Aws, Lookup, NoRegion, NoTrust, Regions},
    checks::Finding,
    cli::{CheckArguments, CheckOptions, Cli, Command, Launch, WatchArguments},
    evidence::Evidence,
    exit::{ExitCodes, Outcome},
    gaps::Gap,
    invocation::{Invocation, InvocationError, RunInvocation},
    journal::{Entry, StateDir, StateError},
    launch::{LaunchError, Program},
    notify::Notify,
    plan::{DocumentError, NeverStarts},
    progress::Live,
    report::Report,
    run::{Judged, Run},
    runner_config::{ConfigError, RunnerConfig},
    settings::{OnStop, Settings, SettingsError},
    signals::Caught,
    timeline::Deed,
    verdict::Verdict,
};

/// Everything that can end a run before there is a verdict, or break it.
#[derive(Debug, thiserror::Error)]
enum GuardError {
    #[error("settings: {0}")]
    Settings(#[from] SettingsError),
    #[error("the report cannot be written: {0}")]
    Report(String),
    #[error("the evidence could not be kept: {0}")]
    Evidence(String),
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("{0}")]
    NoRegion(#[from] NoRegion),
    #[error("EmrEtlRunner would stop before it launches anything: {0}")]
    NeverStarts(#[from] NeverStarts),
    #[error("{0}")]
    Launch(#[from] LaunchError),
    #[error("nothing was started: {0}")]
    OldRunner(String),
    #[error("stopped by {0} before anything was launched")]
    Stopped(Signal),
    #[error("{0}")]
    NoTrust(#[from] NoTrust),
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{0}")]
    Audit(#[from] audit::AuditError),
    #[error("{0}")]
    Reencrypt(#[from] reencrypt::ReencryptError),
    #[error("a bug in emr-etl-guard: {0:#}")]
    Bug(#[from] anyhow::Error),
}

impl GuardError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Settings(_) | Self::Report(_) | Self::Evidence(_) | Self::NoRegion(_) => {
                Outcome::BadUsage
            }
            Self::Invocation(_) | Self::Config(_) | Self::Document(_) | Self::NeverStarts(_) => {
                Outcome::BadConfig
            }
            Self::OldRunner(_) => Outcome::Refused,
            Self::NoTrust(_) | Self::State(_) => Outcome::FactsUnknown,
            Self::Audit(error) => error.outcome(),
            Self::Launch(LaunchError::NotFound(_)) => Outcome::RunnerNotFound,
            Self::Launch(LaunchError::NotExecutable { .. }) => Outcome::RunnerNotExecutable,
            Self::Stopped(signal) => {
                Outcome::Signalled(u8::try_from(*signal as i32).unwrap_or_default())
            }
            Self::Reencrypt(error) => error.outcome(),
            Self::Bug(_) => Outcome::Bug,
        }
    }
}

/// The program: from the process' arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    heap::share();
    start_log();
    if let Err(error) = signals::keep_child_status() {
        tracing::error!(%error, "the ends of child processes may be missed");
    }
    let code = match Cli::parse_from_process(std::env::args_os()) {
        Ok(cli) => command(cli),
        Err(error) => {
            // Help and version are asked for; everything else is a usage error.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if let Some(options) = Cli::run_without_flags(std::env::args_os()) {
                tell_of_settings(
                    &options,
                    "run",
                    error.to_string().lines().next().unwrap_or_default(),
                );
            }
            Outcome::BadUsage.code()
        }
    };
    ExitCode::from(code)
}

/// A log for those who debug the guard itself; silent unless asked for, since cron mails whatever
/// reaches standard error.
fn start_log() {
    let log = tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(|| screen::Above));
    match EnvFilter::try_from_env("EMR_ETL_GUARD_LOG") {
        Ok(filter) => log.with(filter).init(),
        // The same as `emr_etl_guard=error`, without the machinery that reads such words.
        Err(_) => log.with(Targets::new().with_target("emr_etl_guard", Level::ERROR)).init(),
    }
}

fn command(cli: Cli) -> u8 {
    match cli.command {
        Command::Run(launch) => with_settings("run", &launch, None, &async |settings, notify| {
            Box::pin(guard(&launch.arguments, settings, None, notify)).await
        }),
        Command::Check(CheckArguments { check, launch }) => {
            with_settings("check", &launch, Some(&check), &async |settings, notify| {
                Box::pin(guard(&launch.arguments, settings, Some(&check), notify)).await
            })
        }
        Command::Watch(WatchArguments { launch, resume: true, .. }) => {
            with_settings("watch", &launch, None, &async |settings, notify| {
                Box::pin(resume_only(&launch.arguments, settings, notify)).await
            })
        }
        Command::Watch(WatchArguments { launch, clusters, until_idle, .. }) => {
            with_settings("watch", &launch, None, &async |settings, notify| {
                Box::pin(attach::watch(&clusters, &launch.arguments, settings, until_idle, notify))
                    .await
            })
        }
        Command::Audit(arguments) => {
            with_settings("audit", &arguments.launch, None, &async |settings, _| {
                Box::pin(audit::audit(&arguments, settings)).await
            })
        }
        Command::Seal(arguments) => {
            let sealed = settings_of(&arguments.launch)
                .and_then(|settings| seal_command::seal(&arguments, &settings));
            finish(sealed, &ExitCodes::default())
        }
        Command::Report { command } => report::command(&command).code(),
        Command::Reencrypt(arguments) => {
            with_settings("reencrypt", &arguments.launch, None, &async |settings, _| {
                Box::pin(reencrypt::reencrypt(&arguments, settings)).await
            })
        }
        Command::Explain { permissions: true, audit, arguments, .. } => {
            finish(print_permissions(&arguments, audit), &ExitCodes::default())
        }
        Command::Explain { markdown: true, .. } => explain::markdown().code(),
        Command::Explain { check, .. } => explain::explain(check.as_deref()).code(),
    }
}

/// The policy that the guard needs, for the runner config that `arguments` name, if they name one.
fn print_permissions(arguments: &[OsString], audit: bool) -> Result<Outcome, GuardError> {
    // Settings may ask for more than checks do; here they come from the environment and the
    // settings file alone.
    let launch = Launch::without_flags();
    let settings = Settings::resolve(launch.options, launch.settings.as_deref())?;
    let config = match arguments {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => Some(RunnerConfig::read(&invocation.config, None)?),
            Invocation::NoLaunch => None,
        },
    };
    let policy = if audit {
        permissions::audit_policy(config.as_ref())
    } else {
        permissions::policy(config.as_ref(), Some(&settings))
    };
    println!("{policy:#}");
    Ok(Outcome::Ended(0))
}

fn settings_of(launch: &Launch) -> Result<Settings, GuardError> {
    let settings = Settings::resolve(launch.options.clone(), launch.settings.as_deref())?;
    let policy = &settings.policy;
    let excepted = policy.exceptions.iter().map(|exception| &exception.check);
    if let Some(name) = excepted
        .clone()
        .find(|name| checks::find(name).is_none_or(|check| check.stage != checks::Stage::PreFlight))
    {
        let message = format!(
            "exceptions: `{name}` is no check before the launch; what is found on a running cluster cannot be excused"
        );
        return Err(SettingsError::Value(message).into());
    }
    match policy.advise.iter().chain(&policy.enforce).find(|name| checks::find(name).is_none()) {
        Some(name) => Err(SettingsError::Value(format!(
            "advise, enforce: there is no check `{name}`; `emr-etl-guard explain` lists them"
        ))
        .into()),
        None => Ok(settings),
    }
}

/// Whether `--only` names checks that there are before a launch.
fn names_checks(check: Option<&CheckOptions>) -> Result<(), GuardError> {
    let unknown = |name: &&String| {
        checks::find(name).is_none_or(|check| check.stage != checks::Stage::PreFlight)
    };
    match check.and_then(|check| check.only.iter().find(unknown)) {
        Some(name) => Err(SettingsError::Value(format!(
            "--only: there is no check `{name}` before a launch; `emr-etl-guard explain` lists them"
        ))
        .into()),
        None => Ok(()),
    }
}

/// Runs the line on its own runtime. A panic is a bug with an exit code of its own; unwinding stops
/// the runner first.
///
/// `check` are the options of that command, where it is the one.
fn with_settings(
    command: &'static str,
    launch: &Launch,
    check: Option<&CheckOptions>,
    line: &impl AsyncFn(&Settings, &Notify) -> Result<Outcome, GuardError>,
) -> u8 {
    let settings =
        match settings_of(launch).and_then(|settings| names_checks(check).map(|()| settings)) {
            Ok(settings) => settings,
            Err(error) => {
                tell_of_settings(launch, command, &error.to_string());
                return finish(Err(error), &ExitCodes::default());
            }
        };
    let notify =
        Notify::new(&settings, command, !settings.quiet && !check.is_some_and(|check| check.json));
    let run = || {
        let runtime = runtime()?;
        let outcome = runtime.block_on(async {
            let outcome = told(line(&settings, &notify).await, &notify);
            notify.conclude(outcome).await;
            outcome
        });
        // Whatever still runs in the background has nothing left to do.
        runtime.shutdown_background();
        Ok(outcome)
    };
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
            if let Ok(runtime) = runtime() {
                notify.said(
                    Outcome::Bug,
                    "emr-etl-guard: a bug in emr-etl-guard: its log has the place",
                    &[],
                );
                runtime.block_on(notify.conclude(Outcome::Bug));
            }
            Ok(Outcome::Bug)
        });
    finish(outcome, &settings.exit_codes)
}

/// One thread drives what is asked of AWS: that spares every answer the way from the thread of its
/// connection to that of its question, and a single core asks S3 for more objects a second than S3
/// answers. It is not the main thread, which may be held up by a terminal or a pipe that nobody
/// reads while the watch must go on.
fn runtime() -> Result<tokio::runtime::Runtime, GuardError> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?)
}

/// Says why, if the guard itself failed, and gives the outcome.
fn told(result: Result<Outcome, GuardError>, notify: &Notify) -> Outcome {
    result.unwrap_or_else(|error| {
        let (outcome, line) = (error.outcome(), format!("emr-etl-guard: {error}\n"));
        report::err(&line);
        notify.said(outcome, &line, &[]);
        outcome
    })
}

/// Tells whoever can be told that there are no settings to go by.
fn tell_of_settings(launch: &Launch, command: &'static str, why: &str) {
    let Some(settings) = Settings::for_alerts(launch.options.clone(), launch.settings.as_deref())
    else {
        return;
    };
    let notify = Notify::new(&settings, command, false);
    notify.said(Outcome::BadUsage, &format!("emr-etl-guard: nothing was launched: {why}"), &[]);
    if let Ok(runtime) = runtime() {
        runtime.block_on(notify.alert(Outcome::BadUsage));
    }
}

/// Says why, if the guard itself failed, and gives the exit code.
fn finish(result: Result<Outcome, GuardError>, remap: &ExitCodes) -> u8 {
    let outcome = result.unwrap_or_else(|error| {
        eprintln!("emr-etl-guard: {error}");
        error.outcome()
    });
    outcome.exit_code(remap)
}

/// The line.
async fn guard(
    arguments: &[OsString],
    settings: &Settings,
    check: Option<&CheckOptions>,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    launch::not_inside_a_guard()?;
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let invocation = match Invocation::parse(arguments)? {
        Invocation::Run(invocation) => invocation,
        Invocation::NoLaunch => {
            return launches_nothing(arguments, settings, check.is_none(), &mut caught).await;
        }
    };
    let report = Report::open(settings, check.unwrap_or(&CheckOptions::default()))
        .map_err(GuardError::Report)?
        .with(notify);
    let mut evidence = Evidence::open(
        settings,
        state_dir(settings).ok().as_deref(),
        check.is_some_and(|check| check.json),
    )
    .map_err(GuardError::Evidence)?;
    let config = read_config(&invocation, settings, &mut caught).await;
    if let Err(GuardError::Stopped(signal)) = config {
        return Err(GuardError::Stopped(signal));
    }
    aws::has_trust()?;
    let state = if check.is_none() { Some(StateDir::take(&state_dir(settings)?)?) } else { None };
    // What an earlier guard left open comes first, even where this run's own config cannot be used.
    if let Some(state) = &state
        && let Some(outcome) =
            resume(state, settings, config.as_ref().ok(), &report, &mut caught).await?
    {
        return Ok(outcome);
    }
    let config = config?;
    let program = match Program::find(settings.runner.as_deref()) {
        // What would be launched elsewhere can be checked where there is no runner.
        Err(LaunchError::NotFound(_)) if check.is_some() && settings.runner.is_none() => None,
        found => Some(found?),
    };
    let run_of = Run::new(&config, settings, &invocation, check)?;
    run_of.introduce(&report);

    let regions = Regions::of(&config);
    let aws = Aws::connect(&regions, Some(&config.credentials), settings).await;
    let question = run_of.question(invocation.persistent, program.as_ref());
    let digest =
        async { Some((program.as_ref()?, facts::runner::digest(program.as_ref()?).await)) };
    let (facts, digest) = tokio::select! {
        known = async { tokio::join!(facts::gather(&aws, question), digest) } => known,
        signal = stop_signal(&mut caught) => return Err(GuardError::Stopped(signal)),
    };
    report.know(|known| known.account = facts.launch_account().map(ToString::to_string));
    let runner = digest.zip(facts.runner_version.clone());
    let runner = runner.map(|((program, sha256), version)| report::Runner {
        path: program.path.display().to_string(),
        sha256,
        version,
    });
    tokio::select! {
        () = async {
            evidence.connect(&aws, Some(&facts)).await;
            if state.is_some() {
                evidence.send_earlier(settings.pre_flight_timeout, &report).await;
            }
        } => {}
        signal = stop_signal(&mut caught) => return Err(GuardError::Stopped(signal)),
    }
    let chain =
        state.as_ref().map(|state| evidence.next_in_chain(state, &run_of.id)).transpose()?;
    let case = run_of.case(&facts);
    let mut findings = checks::pre_flight(&case);
    let idle = checks::idle_exceptions(&findings, &settings.policy);
    let only = check.map_or(&[][..], |check| check.only.as_slice());
    if !only.is_empty() {
        findings = checks::only(findings, only);
    }
    let gaps = gaps::gaps(&case);
    let verdict = Verdict::of(&findings);
    let judged = Judged {
        facts: &facts,
        findings: &findings,
        gaps: &gaps,
        verdict,
        written: &[],
        calls: &aws.calls,
        runner: runner.as_ref(),
        evidence: &evidence,
        chain: state.as_ref().zip(chain.as_ref()),
    };
    report.timeline.note(format!("verdict: {verdict:?}"));
    let shown = report.findings(&findings, &gaps, check.is_some());
    for exception in idle {
        report.say(&format!(
            "the exception for {} {} excused nothing; remove it from the settings",
            exception.check, exception.subject
        ));
    }

    if let Some(outcome) = verdict.refusal() {
        report.refusal(outcome, &findings, shown);
        report.alert(outcome).await;
        return run_of.end(&report, &judged, None, outcome, told_to_stop(&mut caught)).await;
    }
    if check.is_some() {
        report.say(if only.is_empty() {
            "would launch"
        } else {
            "what was asked for holds; nothing is said of the other checks"
        });
        return run_of
            .end(&report, &judged, None, Outcome::Ended(0), told_to_stop(&mut caught))
            .await;
    }
    let launching = Launching {
        state: state.as_ref(),
        program: program.as_ref(),
        aws: aws.clone(),
        invocation: &invocation,
    };
    launched(&run_of, launching, &judged, &mut caught, &report).await
}

/// What a launch needs besides a verdict.
struct Launching<'a> {
    state: Option<&'a StateDir>,
    program: Option<&'a Program>,
    aws: Aws,
    invocation: &'a RunInvocation,
}

/// The second half of the line: from the launch to the outcome of the run.
async fn launched(
    run: &Run<'_>,
    launching: Launching<'_>,
    judged: &Judged<'_>,
    caught: &mut Caught,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let settings = run.settings;
    let Launching { state, program, aws, invocation } = launching;
    // A policy that only advises the checks on the security configuration may get here without one;
    // then there is nothing to seal or to compare clusters with.
    let (Some(state), Some(program), Some(sealed), Some(Lookup::Found(found))) =
        (state, program, &run.sealed, &judged.facts.security_configuration)
    else {
        report.trouble(
            Outcome::FactsUnknown,
            &["nothing was launched: there is no security configuration to seal".to_owned()],
        );
        report.alert(Outcome::FactsUnknown).await;
        return run.end(report, judged, None, Outcome::FactsUnknown, told_to_stop(caught)).await;
    };
    let beginning = run.beginning(sealed, judged.chain.map(|(_, chain)| chain));
    let begun = tokio::select! {
        begun = judged.evidence.begin(&beginning, &report.timeline) => begun,
        signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
    };
    if let Err(mut obstacles) = begun {
        obstacles.insert(
            0,
            "nothing was launched: the evidence of this run could not be kept".to_owned(),
        );
        report.trouble(Outcome::FactsUnknown, &obstacles);
        report.alert(Outcome::FactsUnknown).await;
        return run.end(report, judged, None, Outcome::FactsUnknown, told_to_stop(caught)).await;
    }
    run.announce(report, sealed);

    let plan = run.watch_plan(found, judged.facts, invocation.persistent);
    let (writes, standard) = (run.writes(), run.standard(judged.facts));
    let launched_at = aws.s3_clock.last();
    let journal = state.begin(run.prepared(&plan, judged.facts, launched_at))?;
    let live = Live::open(settings, format!("run {}", run.id));
    let running = match launch::start(program, &invocation.sealed_argv, &sealed.text, &run.id) {
        Ok(running) => running,
        Err(error) => {
            journal.close();
            return Err(error.into());
        }
    };
    report.timeline.did(Deed::StartRunner, &program.path.display(), &Ok(()));
    report.timeline.note("the runner was started");
    let mut watching =
        watch::start(aws.clone(), plan, Some(journal.clone()), report.timeline.clone());
    let hints = watching.hints.clone();
    if let Some(live) = &live {
        live.clusters(watching.seen.clone());
    }
    let terminate = settings.on_stop == OnStop::Terminate;
    let time_to_stop = notify::time_to_stop(settings);
    let note_stop = || journal.note(&Entry::Stopped { terminate });
    let ended = supervise::supervise(
        running,
        caught,
        &mut watching.events,
        hints,
        time_to_stop,
        &note_stop,
        report,
    )
    .await?;

    let settle =
        (ended.stopped || confirm::may_have_left_one(ended.outcome)).then_some(time_to_stop / 3);
    let expected = confirm::expected_end(ended.outcome, invocation.persistent);
    watching.stop.send_replace(ended.stop_by.map(|by| watch::Stop { by, terminate }));
    let stop = Cell::new(ended.stop_by);
    let mut stopped = async || {
        stop_signal(caught).await;
        note_stop();
        let by = stop.get().unwrap_or_else(|| Instant::now() + time_to_stop);
        stop.set(Some(by));
        watch::Stop { by, terminate }
    };
    let finish = watch::Finish { expected, settle, terminate: false };
    let watched =
        watching.finish(finish, &mut stopped, |event| resume::tell_help(event, report)).await?;
    watched
        .clusters
        .iter()
        .filter_map(watch::ClusterRecord::orphan_line)
        .for_each(|line| report.say(&line));

    let confirmation = confirm::confirm(ended.outcome, expected, run.plan.has_steps(), &watched);
    let after = run.afterwards(&aws, judged, &writes, &standard, launched_at, report);
    let is_stopped = stop.get().is_some();
    let Confirmed { confirmation, written, gaps, is_closed } =
        Afterwards { live: live.as_ref(), ..after }
            .confirm(
                ended.outcome,
                confirmation,
                &watched,
                Some(&journal),
                (is_stopped, &mut stopped),
            )
            .await;
    let gaps: Vec<Gap> = judged.gaps.iter().cloned().chain(gaps).collect();
    drop(live);
    if is_closed {
        journal.close();
    } else {
        report.say("the run stays open; the next start, or `emr-etl-guard watch --resume`, goes on from here");
    }
    report.confirmation(&confirmation, &watched, &written);
    let findings: Vec<Finding> =
        judged.findings.iter().cloned().chain(confirmation.findings).collect();
    let judged = Judged { findings: &findings, gaps: &gaps, written: &written, ..*judged };
    report.alert(confirmation.outcome).await;
    let by = stop.get();
    let cut = async {
        match by {
            Some(stop) => tokio::time::sleep_until(stop).await,
            None => told_to_stop(caught).await,
        }
    };
    run.end(report, &judged, Some(&watched), confirmation.outcome, cut).await
}

/// Where the journal is kept.
fn state_dir(settings: &Settings) -> Result<PathBuf, StateError> {
    match &settings.state_dir {
        Some(named) => Ok(named.clone()),
        None => {
            journal::default_place(nix::unistd::geteuid().is_root(), |name| std::env::var_os(name))
        }
    }
}

/// Closes what an earlier guard left open, unless a stop comes first: then that stays as it is.
async fn resume(
    state: &StateDir,
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
    caught: &mut Caught,
) -> Result<Option<Outcome>, GuardError> {
    tokio::select! {
        outcome = resume::close_unfinished(state, settings, config, report) => outcome,
        signal = stop_signal(caught) => Err(GuardError::Stopped(signal)),
    }
}

/// The command `watch --resume`: closes what was left open, and launches nothing.
async fn resume_only(
    arguments: &[OsString],
    settings: &Settings,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    signals::JobControl::new().map_err(anyhow::Error::from)?.share_with(None);
    let report =
        Report::open(settings, &CheckOptions::default()).map_err(GuardError::Report)?.with(notify);
    let config = match arguments {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => {
                Some(read_config(&invocation, settings, &mut caught).await?)
            }
            Invocation::NoLaunch => None,
        },
    };
    aws::has_trust()?;
    let state = StateDir::take(&state_dir(settings)?)?;
    if state.unfinished()?.is_empty() {
        report.say("no run is open");
    }
    Ok(resume(&state, settings, config.as_ref(), &report, &mut caught)
        .await?
        .unwrap_or(Outcome::Ended(0)))
}

/// Reads the config on a thread of its own, because standard input may come late or never, and a
/// stop must not wait for it.
async fn read_config(
    invocation: &RunInvocation,
    settings: &Settings,
    caught: &mut Caught,
) -> Result<RunnerConfig, GuardError> {
    let (source, ruby) =
        (invocation.config.clone(), Program::ruby(settings.erb, settings.runner.as_deref())?);
    tokio::select! {
        config = tokio::task::spawn_blocking(move || RunnerConfig::read(&source, ruby.as_ref())) => Ok(config.map_err(anyhow::Error::from)??),
        signal = stop_signal(caught) => Err(GuardError::Stopped(signal)),
    }
}

/// The runner's commands that launch no cluster go straight through.
async fn launches_nothing(
    arguments: &[OsString],
    settings: &Settings,
    run: bool,
    caught: &mut Caught,
) -> Result<Outcome, GuardError> {
    if !run {
        return Err(InvocationError::Rejected(
            "these launch no cluster, so there is nothing to check; expected `run -c config.yml …`"
                .to_owned(),
        )
        .into());
    }
    let program = Program::find(settings.runner.as_deref())?;
    // A runner from before 2017 knows no commands and launches on almost anything; asking for its
    // version or help is safe with all of them.
    let asks_only = matches!(arguments, [word] if matches!(word.to_str(), Some("-v" | "--version" | "-h" | "--help")));
    if !asks_only {
        let version = tokio::select! {
            version = facts::runner::version(&program, settings.version_timeout) => version,
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
        };
        if version.found().is_none_or(|version| *version < facts::RunnerVersion::FIRST_ENCRYPTING) {
            let seen = match version {
                Lookup::Found(version) => version.to_string(),
                Lookup::Denied(trouble) | Lookup::Unreachable(trouble) => {
                    format!("of a version that could not be told ({})", trouble.message)
                }
                Lookup::Absent => "of a version that could not be told".to_owned(),
            };
            return Err(GuardError::OldRunner(format!(
                "the runner is {seen}; from {} on, it is known which commands launch nothing",
                facts::RunnerVersion::FIRST_ENCRYPTING
            )));
        }
    }
    Err(launch::become_runner(&program, arguments).into())
}

/// The same, where it does not matter which.
async fn told_to_stop(caught: &mut Caught) {
    stop_signal(caught).await;
}

/// The next signal that asks for an end.
async fn stop_signal(caught: &mut Caught) -> Signal {
    loop {
        match caught.recv().await {
            Some(signal) if signals::asks_to_stop(signal) => return signal,
            Some(_) => {}
            None => return std::future::pending().await,
        }
    }
}
