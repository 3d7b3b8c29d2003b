//! Dispatch from the parsed command line to the command.

use std::{collections::BTreeSet, ffi::OsString};

use crate::{
    base::{
        json,
        names::PrincipalPattern,
        outcome::{ExitCodes, Outcome},
        printable::{Printable, printable},
    },
    checks::{catalogue, finding},
    commands::{
        audit,
        cli::{CheckArguments, Cli, CliCommand, Launch, SentinelArguments, WatchArguments},
        controls_page,
        error::GuardError,
        explain, manual,
        read_config::launch_scope,
        reencrypt, report,
        run::{attach, line::resume_only},
        seal, sentinel, sentinel_policy, settings_page, setup,
    },
    permissions::{
        policy::{self, PermissionOptions},
        service_control::{self, ServiceControlScope},
    },
    report::{notice::Notice, notify::Notify, options::CheckOptions},
    runners::emr_etl_runner::{config::RunnerConfig, invocation::Invocation},
    settings::resolve::{Settings, SettingsError, SettingsProvenance},
    system::{core_dumps, output},
};

/// Runs the command, and returns the exit code. `line` is the function with the steps of a run.
pub(crate) fn command<L>(cli: Cli, line: &L) -> u8
where
    L: AsyncFn(
        &[OsString],
        &Settings,
        Option<&CheckOptions>,
        &Notify,
    ) -> Result<Outcome, GuardError>,
{
    match cli.command {
        CliCommand::Run(launch) => {
            with_settings("run", &launch, None, &async |settings, notify| {
                Box::pin(line(&launch.arguments, settings, None, notify)).await
            })
        }
        CliCommand::Check(CheckArguments { check, launch, .. }) => {
            with_settings("check", &launch, Some(&check), &async |settings, notify| {
                Box::pin(line(&launch.arguments, settings, Some(&check), notify)).await
            })
        }
        CliCommand::Watch(WatchArguments { launch, resume: true, .. }) => {
            with_settings("watch", &launch, None, &async |settings, notify| {
                Box::pin(resume_only(&launch.arguments, settings, notify)).await
            })
        }
        CliCommand::Watch(WatchArguments { launch, clusters, until_idle, .. }) => {
            with_settings("watch", &launch, None, &async |settings, notify| {
                Box::pin(attach::watch(&clusters, &launch.arguments, settings, until_idle, notify))
                    .await
            })
        }
        CliCommand::Sentinel(SentinelArguments { probe: Some(kind), launch, .. }) => {
            let probed = settings_of("sentinel", &launch)
                .and_then(|settings| sentinel::probe(kind, &settings));
            finish(probed, &ExitCodes::default())
        }
        CliCommand::Sentinel(arguments) => {
            with_settings("sentinel", &arguments.launch, None, &async |settings, notify| {
                Box::pin(sentinel::sentinel(&arguments, settings, notify)).await
            })
        }
        CliCommand::Audit(arguments) => {
            with_settings("audit", &arguments.launch, None, &async |settings, _| {
                Box::pin(audit::audit(&arguments, settings)).await
            })
        }
        CliCommand::Setup(arguments) => {
            with_settings("setup", &arguments.launch, None, &async |settings, _| {
                Box::pin(setup::setup(&arguments, settings)).await
            })
        }
        CliCommand::Seal(arguments) => {
            let sealed = settings_of("seal", &arguments.launch)
                .and_then(|settings| seal::seal(&arguments, &settings));
            finish(sealed, &ExitCodes::default())
        }
        CliCommand::Report { command } => report::command(&command).code(),
        CliCommand::Reencrypt(arguments) => {
            with_settings("reencrypt", &arguments.launch, None, &async |settings, _| {
                Box::pin(reencrypt::reencrypt(&arguments, settings)).await
            })
        }
        CliCommand::Explain { permissions: true, sentinel: true, account, .. } => {
            let printed = settings_of("sentinel", &Launch::without_flags())
                .and_then(|settings| sentinel_policy::print(&settings, account.as_ref()));
            finish(printed, &ExitCodes::default())
        }
        CliCommand::Explain { permissions: true, audit, arguments, .. } => {
            finish(print_permissions(&arguments, audit), &ExitCodes::default())
        }
        CliCommand::Explain { scp: true, launcher, admin, arguments, .. } => {
            finish(print_service_control(&arguments, &launcher, &admin), &ExitCodes::default())
        }
        CliCommand::Explain { controls: true, .. } => controls_page::print().code(),
        CliCommand::Explain { settings: true, .. } => settings_page::print().code(),
        CliCommand::Explain { markdown: true, .. } => explain::markdown().code(),
        CliCommand::Completions { shell } => manual::print_completions(shell).code(),
        CliCommand::Man { page } => manual::print_page(page.as_deref()).code(),
        CliCommand::Explain { check, .. } => explain::explain(check.as_deref()).code(),
    }
}

/// Prints the policy that the guard needs, limited to the runner config in `arguments`, if there is
/// one.
fn print_permissions(arguments: &[OsString], audit: bool) -> Result<Outcome, GuardError> {
    // Some settings need more permissions than the checks. Here they come only from the environment
    // and the settings file.
    let launch = Launch::without_flags();
    let settings = Settings::resolve(launch.options, launch.settings.as_deref())?;
    let config = config_of(arguments)?;
    let cluster = config.as_ref().map(RunnerConfig::cluster_spec);
    let launch = launch_scope(config.as_ref(), cluster.as_ref());
    let policy = if audit {
        policy::audit_policy(launch)
    } else {
        let options = PermissionOptions {
            topic: settings.alerts.topic(),
            queue: settings.aws.event_queue.as_deref(),
            evidence: &settings.evidence,
            expected_keys: &settings.policy.expected_keys,
        };
        policy::policy(launch, Some(options))
    };
    output::out(&format!("{}\n", json::pretty(&policy).map_err(anyhow::Error::from)?));
    Ok(Outcome::Ended(0))
}

/// Prints the service control policy on standard output, and the limits of its statements on
/// standard error.
fn print_service_control(
    arguments: &[OsString],
    launchers: &[PrincipalPattern],
    admins: &[PrincipalPattern],
) -> Result<Outcome, GuardError> {
    let config = config_of(arguments)?;
    let cluster = config.as_ref().map(RunnerConfig::cluster_spec);
    let partitions: BTreeSet<&str> =
        launchers.iter().chain(admins).map(PrincipalPattern::partition).collect();
    if partitions.len() > 1 {
        let all = partitions.into_iter().collect::<Vec<_>>().join(", ");
        return Err(SettingsError::Value(format!(
            "--launcher and --admin name several partitions ({all}); an organisation is in one; \
             fix: print one policy for each"
        ))
        .into());
    }
    let scope = ServiceControlScope { launchers, admins, cluster: cluster.as_ref() };
    let statements = service_control::statements(scope);
    let document = service_control::document(&statements);
    output::out(&format!("{}\n", json::pretty(&document).map_err(anyhow::Error::from)?));
    for deny in &statements {
        let sid = Printable::from(deny.sid());
        for (what, list) in
            [("does not stop", deny.does_not_stop), ("also denies", deny.also_denies)]
        {
            for item in list {
                output::complain(&printable!("{sid} {what}: {item}"));
            }
        }
    }
    Ok(Outcome::Ended(0))
}

/// The runner config in `arguments`, if there is one.
fn config_of(arguments: &[OsString]) -> Result<Option<RunnerConfig>, GuardError> {
    Ok(match arguments {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => Some(RunnerConfig::read(&invocation.config, None)?),
            Invocation::NoLaunch => None,
        },
    })
}

fn settings_of(command: &str, launch: &Launch) -> Result<Settings, GuardError> {
    let mut settings = Settings::resolve(launch.options.clone(), launch.settings.as_deref())?;
    if launch.verbose {
        be_verbose(&mut settings)?;
    }
    if settings.core_dumps
        && let Err(error) = core_dumps::allow()
    {
        tracing::error!(%error, "core dumps stay switched off");
    }
    let policy = &settings.policy;
    let mut excepted = policy.exceptions.iter().map(|exception| &exception.check);
    // The sentinel is the one command that excepts what is found on a running cluster: without an
    // exception it would report the same cluster at each start.
    let may_except = |stage: finding::Stage| match stage {
        finding::Stage::PreFlight => true,
        finding::Stage::Watch => command == "sentinel",
        finding::Stage::Confirm => false,
    };
    if let Some(name) =
        excepted.find(|name| catalogue::find(name).is_none_or(|check| !may_except(check.stage)))
    {
        let what = match catalogue::find(name) {
            Some(_) => format!(
                "`{name}` is no check before the launch; an exception cannot cover what is found \
                 on a running cluster"
            ),
            None => catalogue::no_such_check(name),
        };
        return Err(wrong_value(&settings, "exceptions", &what));
    }
    for (setting, names) in [("advise", &policy.advise), ("enforce", &policy.enforce)] {
        if let Some(name) = names.iter().find(|name| catalogue::find(name).is_none()) {
            return Err(wrong_value(&settings, setting, &catalogue::no_such_check(name)));
        }
    }
    for (index, rule) in settings.sentinel.rules().iter().enumerate() {
        for (key, names) in [("advise", &rule.advise), ("enforce", &rule.enforce)] {
            let unknown = |name: &&String| catalogue::find(name).is_none();
            if let Some(name) = names.iter().flatten().find(unknown) {
                let setting = format!("sentinel.rules[{index}].{key}");
                return Err(wrong_value(&settings, &setting, &catalogue::no_such_check(name)));
            }
        }
    }
    Ok(settings)
}

/// Applies `--verbose`: it overrides the setting `quiet`, unless a flag sets that, too, or a file
/// locks it.
fn be_verbose(settings: &mut Settings) -> Result<(), GuardError> {
    let SettingsProvenance { overrides, locks, .. } = &settings.provenance;
    if overrides.iter().any(|one| one.setting == "quiet" && one.by == "--quiet") {
        let message = "--verbose and --quiet exclude each other; fix: remove one of them";
        return Err(SettingsError::Value(message.to_owned()).into());
    }
    let is_locked = locks.iter().any(|lock| lock.covers("quiet"));
    settings.report.verbose = true;
    settings.report.quiet &= is_locked;
    Ok(())
}

/// An error about a setting's value, with the source of the value.
fn wrong_value(settings: &Settings, setting: &str, what: &str) -> GuardError {
    let source = settings.provenance.source(setting);
    SettingsError::Value(format!("{source}: {what}")).into()
}

/// Verifies that `--only` names existing pre-flight checks.
fn names_checks(check: Option<&CheckOptions>) -> Result<(), GuardError> {
    let unknown = |name: &&String| {
        catalogue::find(name).is_none_or(|check| check.stage != finding::Stage::PreFlight)
    };
    match check.and_then(|check| check.only.iter().find(unknown)) {
        Some(name) if catalogue::find(name).is_some() => Err(SettingsError::Value(format!(
            "--only: there is no check `{name}` before a launch; `emr-etl-guard explain` lists them"
        ))
        .into()),
        Some(name) => {
            Err(SettingsError::Value(format!("--only: {}", catalogue::no_such_check(name))).into())
        }
        None => Ok(()),
    }
}

/// Runs the line on its own runtime. A panic is a bug with its own exit code; unwinding stops the
/// runner first.
///
/// `check` are the options of that command; none for other commands.
fn with_settings(
    command: &'static str,
    launch: &Launch,
    check: Option<&CheckOptions>,
    line: &impl AsyncFn(&Settings, &Notify) -> Result<Outcome, GuardError>,
) -> u8 {
    let settings = match settings_of(command, launch)
        .and_then(|settings| names_checks(check).map(|()| settings))
    {
        Ok(settings) => settings,
        Err(error) => {
            alert_settings_error(launch, command, &error.to_string().into());
            return finish(Err(error), &ExitCodes::default());
        }
    };
    let notify = Notify::new(
        (&settings).into(),
        command,
        !settings.report.quiet && !check.is_some_and(|check| check.json),
    );
    let run = || {
        let runtime = runtime()?;
        let outcome = runtime.block_on(async {
            let outcome = told(line(&settings, &notify).await, &notify);
            notify.conclude(outcome).await;
            outcome
        });
        // Tasks that still run in the background are not needed any more.
        runtime.shutdown_background();
        Ok(outcome)
    };
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
            if let Ok(runtime) = runtime() {
                notify.said(
                    Outcome::Bug,
                    Notice::new("emr-etl-guard: a bug in emr-etl-guard: its log has the place"),
                );
                runtime.block_on(notify.conclude(Outcome::Bug));
            }
            Ok(Outcome::Bug)
        });
    finish(outcome, &settings.exit_codes)
}

/// One thread drives all AWS calls, so that no answer has to move from the connection's thread to
/// the caller's. A single core makes more requests per second than S3 answers. It is not the main
/// thread, which may block on a terminal or a pipe that is not read, while the watch must continue.
fn runtime() -> Result<tokio::runtime::Runtime, GuardError> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?)
}

/// Reports the error if the guard itself failed. Returns the outcome.
fn told(result: Result<Outcome, GuardError>, notify: &Notify) -> Outcome {
    result.unwrap_or_else(|error| {
        let (outcome, notice) = (error.outcome(), Notice::of_lines(&error.lines()).bounded());
        notice.print();
        notify.said(outcome, notice);
        outcome
    })
}

/// Sends an alert that the settings cannot be used, if at least the settings for alerts can.
pub(crate) fn alert_settings_error(launch: &Launch, command: &'static str, why: &Printable) {
    let Some(settings) =
        Settings::for_alerts(launch.options.options.clone(), launch.settings.as_deref())
    else {
        return;
    };
    let notify = Notify::new((&settings).into(), command, false);
    let notice = Notice::of_lines(&[printable!("nothing was launched: {why}")]).bounded();
    notify.said(Outcome::BadUsage, notice);
    if let Ok(runtime) = runtime() {
        runtime.block_on(notify.alert(Outcome::BadUsage));
    }
}

/// Reports the error if the guard itself failed. Returns the exit code.
pub(super) fn finish(result: Result<Outcome, GuardError>, remap: &ExitCodes) -> u8 {
    let outcome = result.unwrap_or_else(|error| {
        Notice::of_lines(&error.lines()).print();
        error.outcome()
    });
    outcome.exit_code(remap)
}
