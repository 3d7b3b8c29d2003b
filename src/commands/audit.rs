//! The command `audit`: existing objects in S3, location by location, and their encryption.
//!
//! The steps: the scope; the objects (from S3 itself or from an inventory); the counts and the list
//! of offenders; the report. Nothing is changed.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    audit::{
        accepted::accepted_encryption,
        by_inventory::read_inventories,
        error::{AuditError, NOTHING_SEEN},
        inputs::AuditInputs,
        inventory::error::InventoryError,
        offenders::Offenders,
        options::AuditScanOptions,
        result::AuditResult,
        scan::{LiveScan, ScanEnd},
        scope::{self, AuditTarget, ScopeError},
        tally::AuditTally,
    },
    aws::{ca_certificates, clients::Aws},
    base::{outcome::Outcome, text},
    commands::{
        cli::{AuditArguments, AuditOptions},
        error::GuardError,
        read_config::{read_config, regions_or_default},
    },
    evidence::journal::state_dir,
    facts::sts::{self, NoAccess},
    report::{audited::Audited, notice::Notice, options::CheckOptions, reporter::Report},
    runners::emr_etl_runner::{config::RunnerConfig, invocation::Invocation},
    settings::{policy::Policy, resolve::Settings},
    system::{
        output::{complain, err},
        signals::{self, Caught},
    },
};

/// The command.
pub(crate) async fn audit(
    arguments: &AuditArguments,
    settings: &Settings,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let options = &arguments.audit;
    let report = Report::open(
        &settings.report,
        &CheckOptions { json: options.json, ..CheckOptions::default() },
    )
    .map_err(GuardError::Report)?;
    let config = match arguments.launch.arguments.as_slice() {
        [] => None,
        words => match Invocation::parse(words)? {
            Invocation::Run(invocation) => {
                Some(read_config(&invocation, settings, &mut caught).await?)
            }
            Invocation::NoLaunch => None,
        },
    };
    let targets = targets(arguments, config.as_ref(), &settings.policy)?;
    ca_certificates::check_ca_certificates()?;
    let gathered = async {
        let aws = connect(config.as_ref(), settings).await?;
        let wanted = accepted_encryption(&aws, &settings.policy, settings.aws.credentials).await?;
        Ok::<_, AuditError>((aws, wanted))
    };
    let (aws, wanted) = tokio::select! {
        gathered = gathered => gathered?,
        signal = signals::stop_signal(&mut caught) => return Ok(stopped(&report, signal, " before \
            it began")),
    };
    let inputs = AuditInputs {
        aws,
        wanted,
        targets,
        options: scan_options(options, settings.report.quiet),
        started: OffsetDateTime::now_utc(),
    };
    if options.inventory.is_empty() {
        let folder =
            if options.resume { Some(state_dir(settings.state_dir.as_deref())?) } else { None };
        live(&inputs, folder.as_deref(), settings, &report, &mut caught).await
    } else {
        by_inventory(&inputs, options, settings, &report, &mut caught).await
    }
}

fn scan_options(options: &AuditOptions, quiet: bool) -> AuditScanOptions {
    AuditScanOptions {
        versions: options.versions,
        inventories: options.inventory.clone(),
        offenders: options.offenders.clone(),
        offenders_format: options.offenders_format,
        quiet: quiet || options.json,
    }
}

/// Reports that a signal stopped the audit.
fn stopped(report: &Report, signal: Signal, how_far: &str) -> Outcome {
    let outcome = Outcome::Signalled(u8::try_from(signal as i32).unwrap_or_default());
    report.trouble(outcome, &[format!("the audit was stopped by {signal}{how_far}").into()]);
    outcome
}

fn targets(
    arguments: &AuditArguments,
    config: Option<&RunnerConfig>,
    policy: &Policy,
) -> Result<Vec<AuditTarget>, AuditError> {
    match (config, arguments.locations.as_slice()) {
        (Some(_), [_, ..]) => Err(AuditError::Usage(
            "give either locations or the runner's arguments, not both".to_owned(),
        )),
        (Some(config), []) => Ok(scope::of_config(&config.locations, policy)?),
        (None, []) if !arguments.audit.inventory.is_empty() => Ok(Vec::new()),
        (None, []) => Err(ScopeError::Nothing.into()),
        (None, locations) => Ok(scope::named(locations)?),
    }
}

async fn connect(config: Option<&RunnerConfig>, settings: &Settings) -> Result<Aws, AuditError> {
    let regions = regions_or_default(config).await;
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), &settings.aws).await;
    if let Some(endpoint) = aws.refused_endpoints().next() {
        return Err(AuditError::Unusable(format!(
            "the endpoint of {} is {}, which is not AWS's; what it says proves nothing (allow it \
             by name in the setting `allow_endpoints`)",
            endpoint.service, endpoint.url
        )));
    }
    Ok(aws)
}

/// Scans S3 itself. `state_dir`: the folder for the state, so that a later audit can continue.
async fn live(
    inputs: &AuditInputs,
    state_dir: Option<&Path>,
    settings: &Settings,
    report: &Report,
    caught: &mut Caught,
) -> Result<Outcome, GuardError> {
    let mut scan = LiveScan::open(inputs, state_dir)?;
    if let Some(began) = scan.resumed_from() {
        report.say(format!("going on with the audit that began at {}", text::shown(began)));
    }
    match scan.run(caught).await? {
        ScanEnd::Stopped { signal, can_resume } => {
            let how_far = if can_resume {
                "; its progress is kept, and --resume continues from there"
            } else {
                "; --resume would have kept its progress"
            };
            Ok(stopped(report, signal, how_far))
        }
        ScanEnd::Finished { result, can_resume } => {
            let cause = why_nothing_was_listed(&result, inputs, settings).await;
            if can_resume {
                report.say("some of it could not be listed; --resume tries that part again");
            }
            finish(result, cause.as_ref(), inputs, settings, report)
        }
    }
}

/// The one cause for which nothing at all could be listed, where there is one. A good audit asks
/// nothing but S3; whether it is the credentials, one question says.
async fn why_nothing_was_listed(
    result: &AuditResult,
    inputs: &AuditInputs,
    settings: &Settings,
) -> Option<NoAccess> {
    if !result.tallies.iter().all(AuditTally::nothing_was_listed) {
        return None;
    }
    let (aws, source) = (&inputs.aws, settings.aws.credentials);
    let obstacles = result.tallies.iter().flat_map(|tally| &tally.unlisted);
    let mut obstacles = obstacles.map(|unlisted| &unlisted.obstacle);
    if let Some(first) = obstacles.next()
        && obstacles.all(|other| first.is_same_cause(other))
        && let Some(cause) = NoAccess::by(first, aws, source).await
    {
        return Some(cause);
    }
    sts::probe(aws, source).await.err()
}

/// Reads inventories.
async fn by_inventory(
    inputs: &AuditInputs,
    options: &AuditOptions,
    settings: &Settings,
    report: &Report,
    caught: &mut Caught,
) -> Result<Outcome, GuardError> {
    if options.resume || options.versions {
        let what = if options.resume {
            "--resume works only without --inventory; an inventory is always read from its start"
        } else {
            "an inventory has the versions that it has; leave --versions out"
        };
        return Err(AuditError::Usage(what.to_owned()).into());
    }
    let read = tokio::select! {
        read = read_inventories(inputs) => read,
        signal = signals::stop_signal(caught) => return Ok(stopped(report, signal, " before the \
            inventory was read to its end")),
    };
    let error = match read {
        Ok(result) => return finish(result, None, inputs, settings, report),
        Err(error) => error,
    };
    if let AuditError::Inventory(InventoryError::Fetch { place, obstacle: Some(obstacle), .. }) =
        &error
        && let Some(cause) = NoAccess::by(obstacle, &inputs.aws, settings.aws.credentials).await
    {
        return Err(AuditError::NoAccess(cause.unseen(place)).into());
    }
    Err(error.into())
}

/// Reports the result; `cause` is why nothing could be listed, if so.
fn finish(
    result: AuditResult,
    cause: Option<&NoAccess>,
    inputs: &AuditInputs,
    settings: &Settings,
    report: &Report,
) -> Result<Outcome, GuardError> {
    let AuditResult { started, source, targets, tallies, mut offenders } = result;
    // An empty list would say that there are none.
    if cause.is_some()
        && let Some(offenders) = offenders.take()
    {
        offenders.abandon();
    }
    let wanted = &inputs.wanted;
    let audited = Audited {
        started,
        ended: OffsetDateTime::now_utc(),
        source,
        targets: &targets,
        tallies,
        wanted,
        connections: inputs.aws.connections(),
    };
    let outcome = audited.outcome();
    let list: Option<PathBuf> = offenders
        .map(Offenders::finish)
        .transpose()
        .map_err(|error| AuditError::Offenders(error.to_string()))?;
    if cause.is_none() {
        report.show(&audited.table());
        report.say(audited.source_line());
    }
    let listed = list
        .as_deref()
        .map_or_else(String::new, |list| format!("; they are listed in {}", list.display()));
    let verdict = audited.verdict(&wanted.in_words());
    match (cause, outcome) {
        (Some(cause), _) => Notice::of_lines(&cause.lines(NOTHING_SEEN)).print(),
        (None, Outcome::Ended(_)) => report.say(&verdict),
        (None, Outcome::Refused) => {
            complain(&format!("{verdict}{listed}").into());
            err(&format!("  fix: {}\n", fix(list.as_deref())));
        }
        (None, _) => complain(&verdict.into()),
    }
    let code = outcome.exit_code(&settings.exit_codes);
    report.write_document(&audited.document(
        &settings.policy,
        list.as_deref(),
        outcome,
        code,
    )?)?;
    Ok(outcome)
}

/// How to fix offenders.
fn fix(list: Option<&Path>) -> String {
    let list = if list.is_some() { "" } else { "name them with --offenders FILE; " };
    format!(
        "{list}encrypt them in place with `emr-etl-guard reencrypt` (a dry run first); only their \
         writer can rewrite SSE-C objects"
    )
}
