//! The data of a run that stay the same from its first check to its report: its id, its inputs, the
//! sealed config.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    pin::pin,
    time::Duration,
};

use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::{access::CredentialOrigin, clients::Aws},
    base::{
        digest::sha256,
        lookup::Lookup,
        names::{AccountId, KeyReference},
        outcome::Outcome,
        printable::{Printable, printable},
        reason::Reason,
        secret::RunnerCredentials,
    },
    checks::{
        blocked::share_causes,
        case::Case,
        catalogue::not_enforced,
        finding::{Check, Finding, Status},
        fix::CommandContext,
        residual_risks::ResidualRisk,
        stored::Standard,
        verified::VerifiedConfiguration,
    },
    commands::{
        error::GuardError,
        run::output_verification::{OutputVerification, OutputVerificationResult},
    },
    evidence::{
        chain::ChainLink,
        delivery::RunStart,
        journal::{ClusterSelector, Output, Prepared},
        signed_report::SignedReport,
    },
    facts::{
        emr::SecurityConfiguration,
        gather::{Facts, FactsQuery},
        guard_rights::GuardRightsQuery,
        written::WriteLocations,
    },
    permissions::policy::PermissionOptions,
    report::{
        json::{self, Record},
        judged::Judged,
        notify,
        options::CheckOptions,
        reporter::Report,
        reporter::document,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        environment,
        invocation::{ConfigSource, RunInvocation},
        plan::plan_inputs,
        routes,
        ruby::PrintedByConfig,
        seal::{Seal, Sealed},
    },
    settings::{
        aws_options::CredentialSource,
        digest::settings_digest,
        resolve::{DEFAULT_FILE, Settings},
    },
    setup::{desired::SetupInputs, options::SetupOptions},
    spec::{
        cluster_spec::{ClusterSpec, RUN_TAG},
        data_paths::{DataPaths, LaunchPlan},
        observations::{Observations, RunnerDocuments},
    },
    system::runner_environment,
    watch::{
        confirm::tells_what_goes_on, driver::WatchPlan, machine::plan::WatchMode,
        records::WatchResult,
    },
};

/// One run.
pub(crate) struct Run<'a> {
    cluster: ClusterSpec,
    paths: DataPaths,
    observed: Observations,
    /// The runner's own credentials; none for a watch without a runner config.
    credentials: Option<RunnerCredentials>,
    pub(crate) settings: &'a Settings,
    /// The options of `check`; none for `run`.
    check: Option<&'a CheckOptions>,
    /// Whether it watches clusters that are already running.
    attached: bool,
    pub(crate) id: String,
    started: OffsetDateTime,
    pub(crate) security_configuration: Option<String>,
    pub(crate) sealed: Option<Sealed>,
    /// The output that the runner would have printed while reading its config.
    pub(crate) printed_by_config: PrintedByConfig,
    /// The values that complete the commands of fixes.
    commands: CommandContext,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        config: &RunnerConfig,
        settings: &'a Settings,
        invocation: &RunInvocation,
        check: Option<&'a CheckOptions>,
    ) -> Result<Self, GuardError> {
        let id = uuid::Uuid::now_v7().to_string();
        let seal = seal_of(config, settings, &id);
        let documents = RunnerDocuments::read(invocation)?;
        let plan = LaunchPlan::of(invocation, &plan_inputs(config, &documents))?;
        Ok(Self {
            cluster: config.cluster_spec(),
            paths: DataPaths {
                region: config.s3_region.clone(),
                locations: config.locations.clone(),
                plan,
            },
            observed: Observations {
                ambiguities: config.ambiguities.clone(),
                tracking: config.tracking.clone(),
                documents,
            },
            credentials: Some(config.credentials.clone()),
            settings,
            check,
            attached: false,
            started: OffsetDateTime::now_utc(),
            sealed: seal.as_ref().map(|seal| config.seal(seal)).transpose()?,
            security_configuration: seal.map(|seal| seal.security_configuration),
            printed_by_config: config.printed.clone(),
            commands: CommandContext {
                region: config.emr_region.value.clone(),
                s3_region: config.s3_region.value.clone(),
                runner: runner_arguments(invocation),
                ..commands_of(settings)
            },
            id,
        })
    }

    /// A watch on running clusters, with the properties of one of them.
    pub(crate) fn of_cluster(cluster: ClusterSpec, settings: &'a Settings) -> Self {
        Self {
            paths: DataPaths::of_running(&cluster),
            observed: Observations::default(),
            credentials: None,
            settings,
            check: None,
            attached: true,
            id: uuid::Uuid::now_v7().to_string(),
            started: OffsetDateTime::now_utc(),
            security_configuration: cluster
                .security_configuration
                .as_ref()
                .map(|located| located.value.clone()),
            sealed: None,
            printed_by_config: PrintedByConfig::default(),
            commands: CommandContext {
                region: cluster.region.value.clone(),
                s3_region: cluster.region.value.clone(),
                ..commands_of(settings)
            },
            cluster,
        }
    }

    /// Whether the run gives the cluster any step.
    pub(crate) fn has_steps(&self) -> bool {
        self.paths.plan.has_steps()
    }

    /// The same run, as a watch on running clusters.
    pub(crate) fn attached(self) -> Self {
        Self { attached: true, ..self }
    }

    /// What its clusters must be, if the security configuration was found.
    pub(crate) fn verified(&self, facts: &Facts) -> Option<VerifiedConfiguration> {
        let found = facts.security_configuration.as_ref().and_then(Lookup::found)?;
        Some(VerifiedConfiguration::of(found, &self.cluster, facts))
    }

    /// The values that complete the commands of fixes.
    pub(crate) fn commands(&self) -> &CommandContext {
        &self.commands
    }

    /// Gives alerts and metrics the data of this run.
    pub(crate) fn introduce(&self, report: &Report) {
        report.know(|known| {
            known.run = Some((&self.id).into());
            known.region = Some((&self.cluster.region.value).into());
            known.config = Some((&self.cluster.origin).into());
            known.runner.clone_from(&self.credentials);
        });
    }

    pub(crate) fn question(&self, persistent: bool) -> FactsQuery {
        let touched =
            self.paths.locations.iter().filter(|location| self.paths.plan.touches(&location.role));
        let buckets = touched.map(|location| location.bucket().clone());
        let policy = &self.settings.policy;
        let roles = self.paths.plan.reads_data_from();
        let own: Vec<_> = std::env::vars_os().collect();
        let inherited = runner_environment::inherited(self.settings.clean_environment);
        let data = self.paths.locations.iter().filter(|location| {
            roles.contains(&location.role.as_str())
                && !policy.is_external(location.bucket().as_str())
        });
        FactsQuery {
            buckets: buckets.filter(|bucket| !policy.is_external(bucket.as_str())).collect(),
            data: data
                .filter(|_| policy.data_objects > 0)
                .map(|location| (location.role.clone(), location.location.clone()))
                .collect(),
            data_objects: policy.data_objects,
            security_configuration: self.security_configuration.clone(),
            region: self.cluster.region.value.clone(),
            instance_profile: self.cluster.instance_profile.value.clone(),
            service_role: self.cluster.service_role.value.clone(),
            subnet: self.cluster.named_subnet(),
            expected_keys: self
                .settings
                .policy
                .expected_keys
                .iter()
                .map(|key| KeyReference::new(key))
                .collect(),
            adopt: (persistent && !self.attached).then(|| self.cluster.name.clone()),
            earlier_clusters: true,
            guard_rights: (!self.attached).then(|| GuardRightsQuery {
                tag: self.settings.run_tag.then(|| (RUN_TAG.to_owned(), self.id.clone())),
                runner_tags: self.cluster.tags.clone(),
            }),
            time_limit: self.settings.pre_flight_timeout,
            environment: environment::code_loading_variables(&inherited),
            launcher_routes: routes::routes(&own, &inherited, &self.cluster.region.value),
        }
    }

    /// The input of the checks.
    pub(crate) fn case<'b>(&'b self, facts: &'b Facts) -> Case<'b> {
        Case {
            cluster: &self.cluster,
            paths: &self.paths,
            observed: &self.observed,
            security_configuration: self.security_configuration.as_deref(),
            policy: &self.settings.policy,
            facts,
            commands: &self.commands,
        }
    }

    /// The input of a plan of `setup` for this run. `guard` and `launcher` are the ARNs of the
    /// roles or users of both credentials.
    pub(crate) fn setup_inputs<'b>(
        &'b self,
        options: &'b SetupOptions,
        account: &'b AccountId,
        guard: Option<&'b str>,
        launcher: Option<&'b str>,
    ) -> SetupInputs<'b> {
        SetupInputs {
            cluster: &self.cluster,
            paths: &self.paths,
            policy: &self.settings.policy,
            permissions: PermissionOptions {
                topic: self.settings.alerts.topic(),
                queue: self.settings.aws.event_queue.as_deref(),
                evidence: &self.settings.evidence,
                expected_keys: &self.settings.policy.expected_keys,
            },
            options,
            account,
            guard,
            launcher,
            configured: self.security_configuration.as_deref(),
        }
    }

    /// Where the run can write.
    pub(crate) fn writes(&self) -> WriteLocations {
        WriteLocations::of(&self.paths.locations, &self.paths.plan)
    }

    /// The encryption that all written objects must have.
    pub(crate) fn standard(&self, facts: &Facts) -> Standard {
        Standard::of(&self.settings.policy, facts)
    }

    /// The input for verifying the output after its clusters have ended.
    pub(crate) fn output_verification<'b>(
        &'b self,
        aws: &'b Aws,
        judged: &Judged<'b>,
        writes: &'b WriteLocations,
        standard: &'b Standard,
        since: Option<OffsetDateTime>,
        report: &'b Report,
    ) -> OutputVerification<'b> {
        OutputVerification {
            aws,
            settings: self.settings,
            policy: &self.settings.policy,
            commands: &self.commands,
            report,
            writes,
            standard,
            locations: &self.paths.locations,
            since,
            before: Some(self.case(judged.facts)),
            live: None,
        }
    }

    /// Reports what the seal replaced. The tag is not reported, since it is always new.
    pub(crate) fn announce(&self, report: &Report, sealed: &Sealed) {
        for change in sealed
            .changes
            .iter()
            .filter(|change| change.replaced() && !change.key.ends_with(RUN_TAG))
        {
            let before = change.before.as_deref().unwrap_or("(missing)");
            report.say(format!("sealed {}: {before} -> {}", change.key, change.after));
        }
        report.say(format!("launching (run {})", self.id));
    }

    pub(crate) fn watch_plan(
        &self,
        found: &SecurityConfiguration,
        facts: &Facts,
        launched: Option<OffsetDateTime>,
        persistent: bool,
    ) -> WatchPlan {
        let adopted = facts
            .adoptable
            .as_ref()
            .and_then(Lookup::found)
            .into_iter()
            .flat_map(|persistent| &persistent.clusters);
        let adopted = adopted
            .map(|adoptable| (adoptable.cluster.id.clone(), adoptable.earlier_steps.clone()))
            .collect();
        let log = self.paths.locations.iter().find(|location| location.role == "log");
        WatchPlan {
            selector: ClusterSelector {
                verified: VerifiedConfiguration::of(found, &self.cluster, facts),
                policy: self.settings.policy.clone(),
                job_name: self.cluster.name.clone(),
                persistent,
                tag: self.settings.run_tag.then(|| (RUN_TAG.to_owned(), self.id.clone())),
                earlier_clusters: facts.earlier_clusters.found().cloned().unwrap_or_default(),
                adopted,
                log_location: log.map(|log| log.location.to_string()),
                launched,
            },
            account: facts.launch_account().map(ToString::to_string),
            run: Some(self.id.clone()),
            mode: WatchMode::Run,
            known: BTreeSet::new(),
            until: None,
            open_for: Duration::ZERO,
            stopped_to_end: false,
            has_steps: self.has_steps(),
            limits: self.settings.watch,
            stop_limit: self.time_to_stop(),
            rules: self.settings.termination,
            attached: BTreeMap::new(),
            queue: self.settings.aws.event_queue.clone(),
            until_idle: false,
        }
    }

    /// The time limit of a stop, without the share that alerts need.
    pub(crate) fn time_to_stop(&self) -> Duration {
        notify::time_to_stop(self.settings.stop_timeout, &self.settings.alerts)
    }

    /// The statement about the run before its launch.
    pub(crate) fn beginning<'b>(
        &'b self,
        sealed: &'b Sealed,
        chain: Option<&'b ChainLink>,
    ) -> RunStart<'b> {
        RunStart { run: &self.id, started: self.started, sealed_sha256: &sealed.digest, chain }
    }

    /// The data that a later guard needs if this one dies before the run ends.
    pub(crate) fn prepared(
        &self,
        plan: &WatchPlan,
        facts: &Facts,
        since: Option<OffsetDateTime>,
    ) -> Prepared {
        Prepared {
            run: self.id.clone(),
            started: self.started,
            account: facts.launch_account().map(ToString::to_string),
            region: self.cluster.region.value.clone(),
            config: self.cluster.origin.clone(),
            selector: plan.selector.clone(),
            output: Some(Output {
                region: self.paths.region.value.clone(),
                writes: self.writes(),
                standard: self.standard(facts),
                since,
            }),
        }
    }

    /// The end of every watch: reports the result and writes the report. `runner` is how the runner
    /// ended; `findings` are those of the run, in their order in the report.
    pub(crate) async fn conclude(
        &self,
        report: &Report,
        judged: &Judged<'_>,
        (watched, ending): (WatchResult, RunEnding),
        (confirmed, findings): (OutputVerificationResult, Vec<Finding>),
        cut: impl Future<Output = ()>,
    ) -> Result<Outcome, GuardError> {
        let OutputVerificationResult {
            confirmation, objects, written, ends, residual_risks, ..
        } = confirmed;
        let watched = watched.with_ends(&ends, &self.commands);
        let RunEnding { runner, stopped } = ending;
        let is_told = tells_what_goes_on(runner, confirmation.outcome, stopped.is_some(), &watched);
        let what_goes_on = is_told.then(|| {
            let reason = watched.what_goes_on(&self.commands);
            match stop_cause(runner, stopped) {
                Some(cause) => reason.within(cause),
                None => reason,
            }
        });
        report.confirmation(&confirmation, &watched, (objects, &written), what_goes_on.as_ref());
        let residual_risks: Vec<ResidualRisk> =
            judged.residual_risks.iter().cloned().chain(residual_risks).collect();
        let judged = Judged {
            findings: &findings,
            residual_risks: &residual_risks,
            written: &written,
            ..*judged
        };
        report.alert(confirmation.outcome).await;
        self.end(report, &judged, Some(&watched), confirmation.outcome, cut).await
    }

    /// Writes the report, signs and delivers it until `cut`. Returns the outcome.
    pub(crate) async fn end(
        &self,
        report: &Report,
        judged: &Judged<'_>,
        watched: Option<&WatchResult>,
        outcome: Outcome,
        cut: impl Future<Output = ()>,
    ) -> Result<Outcome, GuardError> {
        report.count(judged, watched);
        let findings: Vec<&Finding> = judged.findings.iter().collect();
        let policy = &self.settings.policy;
        let exit_code = outcome.exit_code(&self.settings.exit_codes);
        let command = match self.check {
            Some(_) => json::ReportedCommand::Check,
            None if self.attached => json::ReportedCommand::Watch,
            None => json::ReportedCommand::Run,
        };
        let (timeline, started) = (&report.timeline, self.started);
        let record = Record {
            only: self.check.is_some_and(|check| !check.only.is_empty()),
            who: json::RunCaller::of(Some(&judged.facts.guard), Some(&judged.facts.runner)),
            chain: judged.chain.map(|(_, chain)| chain.clone()),
            inputs: Some(json::RunInputs {
                config: &self.cluster.origin,
                config_sha256: &self.cluster.digest,
                sealed_sha256: self.sealed.as_ref().map(|sealed| sealed.digest.as_str()),
                sealed: self.sealed.as_ref().map_or(&[], |sealed| sealed.changes.as_slice()),
                runner: judged.runner,
                settings: json::SettingsUsed::of(
                    self.settings.file.as_ref(),
                    &self.settings.provenance,
                    settings_digest(self.settings),
                ),
                policy,
                policy_sha256: sha256(serde_json::to_vec(policy).map_err(anyhow::Error::from)?),
                documents: &self.observed.documents,
                plan: &self.paths.plan,
            }),
            facts: Some(judged.facts),
            exceptions: json::used_exceptions(policy, &findings),
            findings,
            residual_risks: judged.residual_risks,
            verdict: Some(judged.verdict),
            not_enforced: names(&not_enforced(policy)),
            watched,
            written: judged.written,
            objects: json::ObjectSummary::of(judged.written),
            calls: judged.aws.calls.calls(),
            connections: judged.aws.connections(),
            ..Record::of_run(&self.id, command, started, timeline, outcome, exit_code)
        };
        let (state, chain) = judged.chain.unzip();
        let mut parcel =
            SignedReport::new(&self.id, self.started, exit_code, chain, document(&record)?);
        let (mut troubles, mut cut) = (Vec::new(), pin!(cut));
        judged.evidence.secure(&mut parcel, state, &mut troubles, cut.as_mut()).await;
        report.write(&record, &parcel, &mut troubles)?;
        judged.evidence.deliver(&parcel, &mut troubles, cut).await;
        if troubles.is_empty() {
            return Ok(outcome);
        }
        report.trouble(Outcome::Undelivered, &[undelivered(&self.id, &troubles, &self.commands)]);
        let end = outcome.undelivered(&self.settings.exit_codes);
        // If the runner's own failure has precedence, no alert about the delivery would follow.
        if let Outcome::Ended(_) = end {
            report.alert_undelivered(end).await;
        }
        Ok(end)
    }
}

/// Groups the findings that are Unknown by one cause: one of them names it.
pub(super) async fn share_causes_of(
    findings: &mut [Finding],
    facts: &Facts,
    aws: &Aws,
    settings: &Settings,
) {
    if findings.iter().any(|finding| finding.status == Status::Unknown) {
        let origin = CredentialOrigin::read(settings.aws.credentials).await;
        share_causes(findings, facts.total_cause(), &aws.denying_services(), &origin);
    }
}

/// The reason that a run's report was not delivered. The first cause is in the first line.
pub(super) fn undelivered(run: &str, troubles: &[String], commands: &CommandContext) -> Reason {
    let (first, others) = troubles.split_first().unzip();
    let cause = first.map_or("is not where it must be", String::as_str);
    // Causes begin with "it", because in further lines they refer to the report in the first line.
    let cause = cause.strip_prefix("it ").unwrap_or(cause);
    let reason = Reason::new(printable!("the report {}", Printable::from(cause)));
    let others = others.into_iter().flatten().map(Printable::from);
    let reason = others.fold(reason, Reason::detail);
    reason
        .detail(printable!("it is the report of run {run}; the next start sends it, or now:"))
        .fix(commands.resume())
}

/// What ended the run before its time: a signal to the guard, or one to the runner alone.
fn stop_cause(runner: Outcome, stopped: Option<Signal>) -> Option<String> {
    if let Some(signal) = stopped {
        return Some(format!("stopped by {signal}"));
    }
    let Outcome::Signalled(number) = runner else { return None };
    let name = Signal::try_from(i32::from(number))
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
    Some(format!("the runner was ended by {name}"))
}

/// The checks' names.
pub(crate) fn names(checks: &[&'static Check]) -> Vec<&'static str> {
    checks.iter().map(|check| check.name).collect()
}

/// How a run ended, apart from its clusters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunEnding {
    /// How the runner ended.
    pub(crate) runner: Outcome,
    /// The first signal that asked the guard to stop, if one did.
    pub(crate) stopped: Option<Signal>,
}

/// The part of the commands' context that does not depend on a run.
pub(crate) fn commands_of(settings: &Settings) -> CommandContext {
    let file = settings.file.as_ref().map(|file| file.path.as_path());
    let named = file.filter(|path| *path != Path::new(DEFAULT_FILE));
    CommandContext {
        profile: CommandContext::profile_of(settings.aws.credentials, |name| {
            std::env::var(name).ok()
        }),
        settings: named.map(|path| path.to_string_lossy().into_owned()),
        runner_credentials: settings.aws.credentials == CredentialSource::RunnerConfig,
        ..CommandContext::default()
    }
}

/// The arguments for another command of the guard to find the same config; none if it came from
/// standard input, which can be read only once.
fn runner_arguments(invocation: &RunInvocation) -> Option<Vec<String>> {
    let ConfigSource::File(config) = &invocation.config else { return None };
    let mut words = vec!["run".to_owned(), "-c".to_owned(), config.to_string_lossy().into_owned()];
    if let Some(resolver) = &invocation.resolver {
        words.extend(["-r".to_owned(), resolver.to_string_lossy().into_owned()]);
    }
    Some(words)
}

/// The seal for a run, with the security configuration of the settings, else with the one that the
/// runner config names.
pub(crate) fn seal_of(config: &RunnerConfig, settings: &Settings, run: &str) -> Option<Seal> {
    let named = config
        .security_configuration
        .as_ref()
        .map(|located| located.value.clone())
        .filter(|name| !name.trim().is_empty() && !name.contains("ADD HERE"));
    Some(Seal {
        security_configuration: settings.security_configuration.clone().or(named)?,
        tag: settings.run_tag.then(|| (RUN_TAG.to_owned(), run.to_owned())),
    })
}
