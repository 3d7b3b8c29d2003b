//! Watches clusters that are already running, whoever started them, like a run's own clusters. With
//! a runner config, they are judged as if it had started them; without one, by the requirements of
//! the settings. Then they are followed to their end, and their output is verified.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    time::Duration,
};

use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::{
    aws::{
        ca_certificates,
        clients::Aws,
        region::{self, Regions},
    },
    base::{lookup::Lookup, names::ClusterId, outcome::Outcome, reason::Reason},
    checks::{
        catalogue,
        clusters::ExpectedEnd,
        finding::{Finding, Level},
        residual_risks::{self, ResidualRisk},
        verdict::Verdict,
        verified::VerifiedConfiguration,
    },
    commands::{
        error::GuardError,
        read_config,
        run::{
            guarded_run::{Run, RunEnding, share_causes_of},
            output_verification::OutputVerification,
            stop_time::StopTime,
        },
    },
    evidence::{delivery::ReportDelivery, journal::ClusterSelector},
    facts::{
        cluster_spec,
        emr::{self, ClusterFacts},
        gather::{self, Facts},
        sts::NoAccess,
        written::WriteLocations,
    },
    report::{
        judged::Judged,
        live_view::Live,
        notify::{self, Notify},
        options::CheckOptions,
        reporter::Report,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError, RunInvocation},
    },
    settings::resolve::Settings,
    system::signals::{self, Caught, stop_signal},
    watch::{
        confirm,
        driver::{self, ActiveWatch, WatchPlan},
        events::Input,
        machine::plan::WatchMode,
        records::WatchResult,
    },
};

/// Objects older than the clusters by this much are certainly not their output: the clocks of EMR
/// and S3 differ by less.
const SURELY_BEFORE: time::Duration = time::Duration::minutes(5);

/// Watches `ids`. `arguments` are the runner's, if there is a config to judge by.
pub(crate) async fn watch(
    ids: &[ClusterId],
    arguments: &[OsString],
    settings: &Settings,
    until_idle: bool,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let report = Report::open(&settings.report, &CheckOptions::default())
        .map_err(GuardError::Report)?
        .with(notify);
    let mut evidence = ReportDelivery::open(
        &settings.evidence,
        crate::evidence::journal::state_dir(settings.state_dir.as_deref()).ok().as_deref(),
        false,
    )
    .map_err(GuardError::Evidence)?;
    evidence.check_outbox()?;
    let given = match arguments {
        [] => None,
        arguments => match Invocation::parse(arguments)? {
            Invocation::Run(invocation) => {
                let config = read_config::read_config(&invocation, settings, &mut caught).await?;
                Some((invocation, config))
            }
            Invocation::NoLaunch => {
                let why = "these launch no cluster, so there is nothing to compare with; expected \
                    `run -c config.yml …`";
                return Err(InvocationError::Rejected(why.to_owned()).into());
            }
        },
    };
    ca_certificates::check_ca_certificates()?;
    let regions = match &given {
        Some((_, config)) => read_config::regions(config),
        None => Regions::all(region::region().await?),
    };
    let aws = Aws::connect(
        &regions,
        given.as_ref().map(|(_, config)| &config.credentials),
        &settings.aws,
    )
    .await;
    if let Some(endpoint) = aws.refused_endpoints().next() {
        return Ok(cannot(
            &report,
            format!(
                "the endpoint {} may not be asked; allow it in `allow_endpoints`, or unset it",
                endpoint.url
            )
            .into(),
        ));
    }
    let looks = join_all(ids.iter().map(async |id| (id, emr::cluster(&aws.emr, id).await)));
    let looks = tokio::select! {
        looks = looks => looks,
        signal = stop_signal(&mut caught) => return Err(GuardError::Stopped(signal)),
    };
    let mut clusters = Vec::new();
    for (id, look) in looks {
        match look {
            Lookup::Found(cluster) => clusters.push(cluster),
            Lookup::Absent => {
                return Ok(cannot(
                    &report,
                    Reason::new(format!("there is no cluster {id}")).about(id),
                ));
            }
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                let source = settings.aws.credentials;
                let why = match NoAccess::by(&obstacle, &aws, source).await {
                    Some(cause) => cause.reason(NOTHING_WATCHED),
                    None => Reason::new(format!(
                        "nothing can be learnt of the cluster {id}: {obstacle}"
                    )),
                };
                return Ok(cannot(&report, why.about(id)));
            }
        }
    }
    report.know(|known| known.region = Some((&regions.emr).into()));
    evidence.connect(&aws, &settings.policy, None).await;
    let attaching = AttachContext {
        aws: &aws,
        settings,
        report: &report,
        evidence: &evidence,
        clusters: &clusters,
    };
    match &given {
        Some((invocation, config)) => {
            Box::pin(attaching.by_config(config, invocation, until_idle, &mut caught)).await
        }
        None => Box::pin(attaching.by_settings(&regions.emr, until_idle, &mut caught)).await,
    }
}

/// What is not done if AWS cannot be called.
const NOTHING_WATCHED: &str = "nothing was watched";

/// Reports why nothing can be watched.
fn cannot(report: &Report, why: Reason) -> Outcome {
    report.trouble(Outcome::FactsUnknown, &[why]);
    Outcome::FactsUnknown
}

/// The facts and requirements by which clusters are judged.
struct Baseline {
    facts: Facts,
    /// The findings of the checks before a launch.
    findings: Vec<Finding>,
    residual_risks: Vec<ResidualRisk>,
    verified: BTreeMap<ClusterId, VerifiedConfiguration>,
    writes: WriteLocations,
}

struct AttachContext<'a> {
    aws: &'a Aws,
    settings: &'a Settings,
    report: &'a Report,
    evidence: &'a ReportDelivery<'a>,
    clusters: &'a [ClusterFacts],
}

impl AttachContext<'_> {
    /// By a runner config: each cluster must match what a run would have started.
    async fn by_config(
        &self,
        config: &RunnerConfig,
        invocation: &RunInvocation,
        until_idle: bool,
        caught: &mut Caught,
    ) -> Result<Outcome, GuardError> {
        let run = Run::new(config, self.settings, invocation, None)?.attached();
        let facts = gathered(self.aws, &run, caught).await?;
        if let Some(why) = self.cannot_tell(&facts).await {
            return Ok(cannot(self.report, why));
        }
        let case = run.case(&facts);
        let (mut findings, residual_risks) =
            (catalogue::pre_flight(&case), residual_risks::residual_risks(&case));
        share_causes_of(&mut findings, &facts, self.aws, self.settings).await;
        let verified = run.verified(&facts).unwrap_or_else(VerifiedConfiguration::nothing);
        let verified =
            self.clusters.iter().map(|cluster| (cluster.id.clone(), verified.clone())).collect();
        let writes = run.writes();
        let standing = Baseline { facts, findings, residual_risks, verified, writes };
        Box::pin(self.follow(&run, standing, until_idle || invocation.persistent, caught)).await
    }

    /// By the settings alone: each cluster's own properties must meet the requirements.
    async fn by_settings(
        &self,
        region: &str,
        until_idle: bool,
        caught: &mut Caught,
    ) -> Result<Outcome, GuardError> {
        let mut all: Option<Baseline> = None;
        let mut specs = Vec::new();
        for cluster in self.clusters {
            match cluster_spec::of(cluster, region) {
                Ok(spec) => specs.push(spec),
                Err(error) => {
                    let why = format!("it cannot be judged: the cluster {}: {error}", cluster.id);
                    return Ok(cannot(self.report, Reason::new(why).about(&cluster.id)));
                }
            }
        }
        for (cluster, spec) in self.clusters.iter().zip(&specs) {
            let run = Run::of_cluster(spec.clone(), self.settings);
            let facts = gathered(self.aws, &run, caught).await?;
            if let Some(why) = self.cannot_tell(&facts).await {
                return Ok(cannot(self.report, why));
            }
            let case = run.case(&facts);
            let (mut findings, residual_risks) =
                (catalogue::of_cluster(&case), residual_risks::residual_risks(&case));
            share_causes_of(&mut findings, &facts, self.aws, self.settings).await;
            let verified = VerifiedConfiguration::of_running(&facts, spec);
            let standing = all.get_or_insert_with(|| Baseline {
                facts: facts.clone(),
                findings: Vec::new(),
                residual_risks,
                verified: BTreeMap::new(),
                writes: WriteLocations::Named {
                    external: self.settings.policy.external_buckets.clone(),
                },
            });
            standing.findings.extend(findings);
            standing.verified.insert(cluster.id.clone(), verified);
            // The report has all facts of the first cluster, and those of the others that it lacks.
            standing.facts.keys.extend(facts.keys);
            standing.facts.node_objects.extend(facts.node_objects);
        }
        let (Some(standing), Some(spec)) = (all, specs.into_iter().next()) else {
            return Ok(Outcome::Ended(0));
        };
        let run = Run::of_cluster(spec, self.settings);
        Box::pin(self.follow(&run, standing, until_idle, caught)).await
    }

    /// Why clusters cannot be compared with anything, if so: without the security configuration any
    /// judgement would be a guess.
    async fn cannot_tell(&self, facts: &Facts) -> Option<Reason> {
        let what = "the security configuration";
        match facts.security_configuration.as_ref()? {
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                let source = self.settings.aws.credentials;
                Some(match NoAccess::by(obstacle, self.aws, source).await {
                    Some(cause) => cause.unseen(what).reason(NOTHING_WATCHED),
                    None => Reason::new(format!("{what} cannot be looked at: {obstacle}")),
                })
            }
            Lookup::Found(_) | Lookup::Absent => None,
        }
    }

    /// Watches the clusters to their end, or until the guard is stopped, and verifies their output.
    async fn follow(
        &self,
        run: &Run<'_>,
        standing: Baseline,
        until_idle: bool,
        caught: &mut Caught,
    ) -> Result<Outcome, GuardError> {
        let Self { aws, settings, report, evidence, clusters } = *self;
        report.findings(&standing.findings, &standing.residual_risks, false);
        report.say(format!(
            "watching {}",
            clusters.iter().map(|cluster| cluster.id.as_str()).collect::<Vec<_>>().join(", ")
        ));
        let plan = self.plan(&standing, until_idle);
        let watching = driver::start(aws.clone(), plan, None, report.timeline.clone());
        let live = Live::open(&settings.report, "clusters that ran already".to_owned());
        if let Some(live) = &live {
            live.clusters(watching.seen.clone());
        }
        let stop = StopTime::new(run.time_to_stop(), false, None);
        let ActiveWatch { inputs, mut events, seen, mut task } = watching;
        // The live view has its own receiver.
        drop(seen);
        let mut stopped_by = None;
        let watched = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => event.tell(report),
                watched = &mut task => break watched.map_err(anyhow::Error::from)?,
                signal = stop_signal(caught) => {
                    stop.ask(signal);
                    stopped_by.get_or_insert(signal);
                    let _ = inputs.send(Input::StopAsked);
                }
            }
        };
        let expected = match (stopped_by, until_idle) {
            (Some(_), _) => ExpectedEnd::Failed,
            (None, true) => ExpectedEnd::Persistent,
            (None, false) => ExpectedEnd::Finished,
        };
        let mut stopped = async || stop.next(caught).await;
        let watched = watched.with_remediation(run.commands());
        let ended = stopped_by.map_or_else(
            || equivalent_runner_exit(&watched),
            |signal| Outcome::Signalled(u8::try_from(signal as i32).unwrap_or_default()),
        );

        let has_steps = watched
            .clusters
            .iter()
            .any(|record| record.steps.found().is_none_or(|steps| !steps.is_empty()));
        let required = standing
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Required)
            .cloned()
            .collect();
        let confirmation =
            confirm::confirm(ended, expected, has_steps, &watched).with_objects(ended, required);
        let standard = run.standard(&standing.facts);
        let since = clusters
            .iter()
            .map(|cluster| cluster.status.created)
            .min()
            .map(|created: OffsetDateTime| created - SURELY_BEFORE);
        let judged = Judged {
            facts: &standing.facts,
            findings: &[],
            residual_risks: &standing.residual_risks,
            verdict: Verdict::of(&standing.findings),
            written: &[],
            aws,
            runner: None,
            evidence,
            chain: None,
        };
        let after: OutputVerification<'_> =
            run.output_verification(aws, &judged, &standing.writes, &standard, since, report);
        let after = OutputVerification { live: live.as_ref(), ..after };
        let is_stopped = stop.asked().is_some();
        let confirmed =
            after.confirm(ended, confirmation, &watched, None, (is_stopped, &mut stopped)).await;
        drop(live);
        // Required findings are in the confirmation already, in their order.
        let advisory =
            standing.findings.iter().filter(|finding| finding.level == Level::Advisory).cloned();
        let findings = confirmed.confirmation.findings.iter().cloned().chain(advisory).collect();
        let watched = (watched, RunEnding { runner: ended, stopped: stop.signal() });
        let cut = stop.over(caught);
        run.conclude(report, &judged, watched, (confirmed, findings), cut).await
    }

    fn plan(&self, standing: &Baseline, until_idle: bool) -> WatchPlan {
        WatchPlan {
            selector: ClusterSelector {
                verified: standing
                    .verified
                    .values()
                    .next()
                    .cloned()
                    .unwrap_or_else(VerifiedConfiguration::nothing),
                policy: self.settings.policy.clone(),
                job_name: String::new(),
                persistent: false,
                tag: None,
                earlier_clusters: BTreeSet::new(),
                adopted: BTreeMap::new(),
                log_location: None,
                launched: None,
            },
            account: None,
            run: None,
            mode: WatchMode::Attach,
            known: BTreeSet::new(),
            until: None,
            open_for: Duration::ZERO,
            stopped_to_end: false,
            has_steps: false,
            limits: self.settings.watch,
            stop_limit: notify::time_to_stop(self.settings.stop_timeout, &self.settings.alerts),
            rules: self.settings.termination,
            attached: standing.verified.clone(),
            queue: self.settings.aws.event_queue.clone(),
            until_idle,
        }
    }
}

async fn gathered(aws: &Aws, run: &Run<'_>, caught: &mut Caught) -> Result<Facts, GuardError> {
    let question = run.question(false);
    tokio::select! {
        facts = Box::pin(gather::gather(aws, question)) => Ok(facts),
        signal = stop_signal(caught) => Err(GuardError::Stopped(signal)),
    }
}

/// The exit code that a runner would have for the clusters' end: 0 if all their steps completed,
/// else 1.
fn equivalent_runner_exit(watched: &WatchResult) -> Outcome {
    let done = watched.clusters.iter().all(|record| {
        let state = record.cluster.found().map(|cluster| cluster.status.state);
        let completed = record
            .steps
            .found()
            .is_some_and(|steps| steps.iter().all(|step| step.state == "COMPLETED"));
        completed && state != Some(emr::ClusterState::TerminatedWithErrors)
    });
    Outcome::Ended(u8::from(!done))
}
