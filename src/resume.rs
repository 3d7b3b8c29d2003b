//! Closing runs that an earlier guard could not: it was killed, its machine died, or its time to stop ran out. Their clusters are found, judged by what was verified
//! then, and ended where they must be, before anything new is launched.

use crate::{
    GuardError,
    aws::{Aws, Lookup, Regions},
    checks::{Finding, clusters::ExpectedEnd},
    exit::Outcome,
    facts::sts,
    journal::{StateDir, Unfinished},
    names::ClusterId,
    progress::Live,
    report::Report,
    runner_config::RunnerConfig,
    settings::{CredentialSource, Settings},
    survivors,
    terminate::End,
    watch::{self, Finish, Watched},
};

/// Closes every unfinished run; gives the worst outcome that forbids to go on, if any does.
///
/// `config` is only asked for credentials, where the settings say that those of the runner are to be used.
///
/// # Errors
/// [`GuardError`] when the state directory stands in the way, or the watch dies, which is a bug.
pub(crate) async fn close_unfinished(
    state: &StateDir,
    settings: &Settings,
    config: Option<&RunnerConfig>,
    report: &Report,
) -> Result<Option<Outcome>, GuardError> {
    let mut worst: Option<Outcome> = None;
    for run in state.unfinished()? {
        report.say(&format!("run {} was left open; closing it", run.prepared.run));
        let outcome = close(&run, settings, config, report).await?;
        worst = worst.into_iter().chain(outcome).max_by_key(|outcome| gravity(*outcome));
    }
    Ok(worst)
}

/// 71 beats 76 beats the rest.
fn gravity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::UnsafeClusterAlive => 2,
        Outcome::UnsafeClusterTerminated => 1,
        _ => 0,
    }
}

async fn close(run: &Unfinished, settings: &Settings, config: Option<&RunnerConfig>, report: &Report) -> Result<Option<Outcome>, GuardError> {
    let id = &run.prepared.run;
    report.know(|known| {
        let of = &run.prepared;
        (known.run, known.account, known.region) = (Some(of.run.clone()), of.account.clone(), Some(of.region.clone()));
    });
    // A runner that lives could still launch something.
    match survivors::end(id) {
        Ok(0) => {}
        Ok(several) => report.say(&format!("run {id}: ended {several} processes that it had left behind")),
        Err(error) => {
            report.trouble(
                Outcome::FactsUnknown,
                &[format!("run {id} was left open, and what is left of its runner cannot be ended, so nothing new was launched: {error}")],
            );
            return Ok(Some(Outcome::FactsUnknown));
        }
    }
    if settings.credentials == CredentialSource::RunnerConfig && config.is_none() {
        let why = format!(
            "run {id} was left open, and the runner config, whose credentials the settings ask for, cannot be had; mend it, or set `credentials: chain`"
        );
        report.trouble(Outcome::FactsUnknown, &[why]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    let regions = Regions { emr: run.prepared.region.clone(), s3: run.prepared.region.clone() };
    let aws = Aws::connect(&regions, config.map(|config| &config.credentials), settings).await;
    if let Some(endpoint) = aws.refused_endpoints().next() {
        let why = format!(
            "run {id} was left open, and the endpoint {} may not be asked about it; allow it in `allow_endpoints`, or unset it",
            endpoint.url
        );
        report.trouble(Outcome::FactsUnknown, &[why]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    if let Some(why) = other_account(run, &aws).await {
        report.trouble(Outcome::FactsUnknown, &[why]);
        return Ok(Some(Outcome::FactsUnknown));
    }
    let plan = watch::Plan::resumed(run, settings);
    let watching = watch::start(aws, plan, run.reopen()?, report.timeline.clone());
    let live = Live::open(settings, format!("run {id}, which was left open"));
    if let Some(live) = &live {
        live.clusters(watching.seen.clone());
    }
    let finish = Finish { expected: ExpectedEnd::Failed, settle: Some(settings.stop_timeout / 3), terminate: run.terminate };
    // A stop meanwhile ends the guard at once: the run stays open.
    let watched = watching.finish(finish, std::future::pending).await?;
    drop(live);
    let (outcome, reasons) = judge(run, &watched);
    for record in watched.clusters.iter().filter(|record| !record.is_unsafe) {
        let end = record.findings.last().map_or("", |finding| finding.saw.as_str());
        report.say(&format!("run {id}: cluster {} was what was verified; {end}", record.id));
    }
    if let Some(outcome) = outcome {
        report.trouble(outcome, &reasons);
    }
    if watched.is_closed() {
        run.close();
        report.say(&format!("run {id} is closed"));
    }
    Ok(outcome)
}

/// Why the guard's credentials cannot see the run's clusters, if they cannot: in another account it would find nothing, and take that for the end.
async fn other_account(run: &Unfinished, aws: &Aws) -> Option<String> {
    let wanted = run.prepared.account.as_deref()?;
    let id = &run.prepared.run;
    let seen = match sts::identity(&aws.sts).await {
        Lookup::Found(identity) if identity.account.as_str() == wanted => return None,
        Lookup::Found(identity) => format!("the guard's credentials are of account {}", identity.account),
        Lookup::Absent => "nobody says whose the guard's credentials are".to_owned(),
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => format!("{}: {}", obstacle.operation, obstacle.message),
    };
    Some(format!("run {id} was left open in account {wanted} and cannot be closed yet, so nothing new was launched: {seen}"))
}

/// What an unfinished run came to, and why.
fn judge(run: &Unfinished, watched: &Watched) -> (Option<Outcome>, Vec<String>) {
    let id = &run.prepared.run;
    let alive: Vec<String> = watched
        .clusters
        .iter()
        .filter(|record| record.must_end() && record.end != Some(End::Confirmed))
        .map(|record| {
            format!(
                "cluster {} of run {id}, which was left open, must end and MAY STILL BE RUNNING: {}",
                record.id,
                Finding::open_in_brief(&record.findings)
            )
        })
        .collect();
    if !alive.is_empty() {
        return (Some(Outcome::UnsafeClusterAlive), alive);
    }
    let ended: Vec<String> = watched
        .clusters
        .iter()
        .filter(|record| record.is_unsafe)
        .map(|record| {
            format!(
                "cluster {} of run {id}, which was left open, was unsafe; its end is confirmed, nothing new was launched; {}",
                record.id,
                Finding::open_in_brief(&record.findings)
            )
        })
        .collect();
    if !ended.is_empty() {
        return (Some(Outcome::UnsafeClusterTerminated), ended);
    }
    if watched.is_closed() {
        return (None, Vec::new());
    }
    let trouble = watched.search_trouble.clone().unwrap_or_else(|| "its clusters could not be described".to_owned());
    let why = format!("run {} was left open and cannot be closed yet, so nothing new was launched: {trouble}", run.prepared.run);
    let clusters: Vec<&str> = run.clusters.iter().map(ClusterId::as_str).collect();
    let known = if clusters.is_empty() { "it knows of no cluster yet".to_owned() } else { format!("it knows of {}", clusters.join(", ")) };
    let way_out = format!(
        "to do: try again, or give what is denied; where somebody has made sure that its clusters are over ({known}), remove {}",
        run.path.display()
    );
    (Some(Outcome::FactsUnknown), vec![why, way_out])
}
