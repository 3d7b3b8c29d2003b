//! The line of a run: from the arguments to the outcome.

use std::{cell::Cell, ffi::OsString, iter};

use tokio::time::Instant;

use crate::{
    aws::{ca_certificates, clients::Aws, region::Regions},
    base::{lookup::Lookup, outcome::Outcome, reason::Reason},
    checks::{
        catalogue,
        finding::Finding,
        residual_risks::{self, Gap},
        verdict::Verdict,
    },
    commands::{
        error::GuardError,
        read_config::read_config,
        run::{
            output_verification::{Afterwards, Confirmed},
            resume,
            run::Run,
            supervise,
        },
    },
    evidence::{
        delivery::Evidence,
        journal::{Entry, StateDir, state_dir},
        timeline::Deed,
    },
    facts::gather,
    report::{
        json,
        judged::Judged,
        live_view::Live,
        notify::{self, Notify},
        options::CheckOptions,
        reporter::Report,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError, RunInvocation},
        version,
    },
    settings::resolve::{OnStop, Settings},
    spec::observations,
    system::{
        process::{self, LaunchError, Program},
        signals::{self, Caught, stop_signal, told_to_stop},
    },
    watch::{confirm, records, watcher},
};

/// The line.
pub(crate) async fn guard(
    arguments: &[OsString],
    settings: &Settings,
    check: Option<&CheckOptions>,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    process::not_inside_a_guard()?;
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
    ca_certificates::has_trust()?;
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
    let digest = async { Some((program.as_ref()?, version::digest(program.as_ref()?).await)) };
    let (facts, digest) = tokio::select! {
        known = async { tokio::join!(gather::gather(&aws, question), digest) } => known,
        signal = stop_signal(&mut caught) => return Err(GuardError::Stopped(signal)),
    };
    report.know(|known| known.account = facts.launch_account().map(ToString::to_string));
    let runner = digest.zip(facts.runner_version.clone());
    let runner = runner.map(|((program, sha256), version)| json::Runner {
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
    let mut findings = catalogue::pre_flight(&case);
    let idle = catalogue::idle_exceptions(&findings, &settings.policy);
    let only = check.map_or(&[][..], |check| check.only.as_slice());
    if !only.is_empty() {
        findings = catalogue::only(findings, only);
    }
    let gaps = residual_risks::gaps(&case);
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
            &["nothing was launched: there is no security configuration to seal".into()],
        );
        report.alert(Outcome::FactsUnknown).await;
        return run.end(report, judged, None, Outcome::FactsUnknown, told_to_stop(caught)).await;
    };
    let beginning = run.beginning(sealed, judged.chain.map(|(_, chain)| chain));
    let begun = tokio::select! {
        begun = judged.evidence.begin(&beginning, &report.timeline) => begun,
        signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
    };
    if let Err(obstacles) = begun {
        let first = "nothing was launched: the evidence of this run could not be kept";
        let reasons: Vec<Reason> = iter::once(first)
            .chain(obstacles.iter().map(String::as_str))
            .map(Reason::new)
            .collect();
        report.trouble(Outcome::FactsUnknown, &reasons);
        report.alert(Outcome::FactsUnknown).await;
        return run.end(report, judged, None, Outcome::FactsUnknown, told_to_stop(caught)).await;
    }
    run.announce(report, sealed);

    let plan = run.watch_plan(found, judged.facts, invocation.persistent);
    let (writes, standard) = (run.writes(), run.standard(judged.facts));
    let launched_at = aws.s3_clock.last();
    let journal = state.begin(run.prepared(&plan, judged.facts, launched_at))?;
    let live = Live::open(settings, format!("run {}", run.id));
    let running = match process::start(program, &invocation.sealed_argv, &sealed.text, &run.id) {
        Ok(running) => running,
        Err(error) => {
            journal.close();
            return Err(error.into());
        }
    };
    report.timeline.did(Deed::StartRunner, &program.path.display(), &Ok(()));
    report.timeline.note("the runner was started");
    let mut watching =
        watcher::start(aws.clone(), plan, Some(journal.clone()), report.timeline.clone());
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
    watching.stop.send_replace(ended.stop_by.map(|by| watcher::Stop { by, terminate }));
    let stop = Cell::new(ended.stop_by);
    let mut stopped = async || {
        stop_signal(caught).await;
        note_stop();
        let by = stop.get().unwrap_or_else(|| Instant::now() + time_to_stop);
        stop.set(Some(by));
        watcher::Stop { by, terminate }
    };
    let finish = watcher::Finish { expected, settle, terminate: false };
    let watched =
        watching.finish(finish, &mut stopped, |event| resume::tell_help(event, report)).await?;
    watched
        .clusters
        .iter()
        .filter_map(records::ClusterRecord::orphan_line)
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
pub(crate) async fn resume_only(
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
    ca_certificates::has_trust()?;
    let state = StateDir::take(&state_dir(settings)?)?;
    if state.unfinished()?.is_empty() {
        report.say("no run is open");
    }
    Ok(resume(&state, settings, config.as_ref(), &report, &mut caught)
        .await?
        .unwrap_or(Outcome::Ended(0)))
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
            version = version::version(&program, settings.version_timeout) => version,
            signal = stop_signal(caught) => return Err(GuardError::Stopped(signal)),
        };
        if version
            .found()
            .is_none_or(|version| *version < observations::RunnerVersion::FIRST_ENCRYPTING)
        {
            let seen = match version {
                Lookup::Found(version) => version.to_string(),
                Lookup::Denied(trouble) | Lookup::Unreachable(trouble) => {
                    format!("of a version that could not be told ({})", trouble.message)
                }
                Lookup::Absent => "of a version that could not be told".to_owned(),
            };
            return Err(GuardError::OldRunner(format!(
                "the runner is {seen}; from {} on, it is known which commands launch nothing",
                observations::RunnerVersion::FIRST_ENCRYPTING
            )));
        }
    }
    Err(process::become_runner(&program, arguments).into())
}
