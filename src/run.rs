//! What stays the same from the first look at a run to the record of it: its id, its inputs, what is sealed.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::{
    GuardError,
    aws::Lookup,
    checks::{Case, Finding, clusters::Verified},
    cli::CheckOptions,
    exit::Outcome,
    facts::{
        Facts, Question, SecurityConfiguration, Written,
        written::{self, Logging, Place},
    },
    gaps::Gap,
    invocation::RunInvocation,
    journal::Prepared,
    launch::Program,
    names::{KeyReference, S3Location},
    plan::{Circumstances, Documents, Plan, targets::Purpose},
    report::{self, Record, Report},
    runner_config::{RunnerConfig, Seal, Sealed},
    settings::Settings,
    verdict::Verdict,
    watch::{self, Pursuit, Watched},
};

/// The key of the tag that the seal adds.
pub(crate) const RUN_TAG: &str = "emr-etl-guard-run";

/// What the plan needs to know of the config and the targets.
pub(crate) fn circumstances(config: &RunnerConfig, documents: &Documents) -> Circumstances {
    Circumstances {
        locations: config.locations.iter().map(|location| location.role.clone()).collect(),
        collector_format: config.collector_format.clone(),
        spark_enrich: config.spark_enrich.clone(),
        rdb_shredder: config.rdb_shredder.clone(),
        continue_on_unexpected_error: config.continue_on_unexpected_error,
        loads: documents.has(Purpose::EnrichedEvents),
        indexes: documents.has(Purpose::FailedEvents),
        job_name: config.job_name.clone(),
    }
}

/// All that the verdict rests on, and the verdict.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) findings: &'a [Finding],
    pub(crate) gaps: &'a [Gap],
    pub(crate) verdict: Verdict,
    /// What was found of the objects that the run wrote; nothing before it has ended.
    pub(crate) written: &'a [Written],
}

/// One run.
pub(crate) struct Run<'a> {
    config: &'a RunnerConfig,
    pub(crate) settings: &'a Settings,
    /// The options of `check`; none for `run`.
    check: Option<&'a CheckOptions>,
    pub(crate) id: String,
    started: OffsetDateTime,
    pub(crate) documents: Documents,
    pub(crate) plan: Plan,
    pub(crate) security_configuration: Option<String>,
    pub(crate) sealed: Option<Sealed>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        config: &'a RunnerConfig,
        settings: &'a Settings,
        invocation: &RunInvocation,
        check: Option<&'a CheckOptions>,
    ) -> Result<Self, GuardError> {
        let id = uuid::Uuid::now_v7().to_string();
        let seal = seal_of(config, settings, &id);
        let documents = Documents::read(invocation)?;
        Ok(Self {
            config,
            settings,
            check,
            started: OffsetDateTime::now_utc(),
            plan: Plan::of(invocation, &circumstances(config, &documents))?,
            documents,
            sealed: seal.as_ref().map(|seal| config.seal(seal)).transpose()?,
            security_configuration: seal.map(|seal| seal.security_configuration),
            id,
        })
    }

    /// Says who this is, for whoever else hears of it.
    pub(crate) fn introduce(&self, report: &Report) {
        report.know(|known| {
            known.run = Some(self.id.clone());
            known.region = Some(self.config.emr_region.value.clone());
            known.config = Some(self.config.origin.clone());
            known.runner = Some(self.config.credentials.clone());
        });
    }

    pub(crate) fn question(&self, invocation: &RunInvocation, program: Option<&Program>) -> Question {
        let touched = self.config.locations.iter().filter(|location| self.plan.touches(&location.role));
        let buckets = touched.map(|location| location.bucket().clone());
        let policy = &self.settings.policy;
        let roles = self.plan.reads_data_from();
        let data = self
            .config
            .locations
            .iter()
            .filter(|location| roles.contains(&location.role.as_str()) && !policy.is_external(location.bucket().as_str()));
        Question {
            buckets: buckets.filter(|bucket| !policy.is_external(bucket.as_str())).collect(),
            data: data.filter(|_| policy.data_objects > 0).map(|location| (location.role.clone(), location.location.clone())).collect(),
            data_objects: policy.data_objects,
            security_configuration: self.security_configuration.clone(),
            region: self.config.emr_region.value.clone(),
            instance_profile: self.config.jobflow_role.value.clone(),
            service_role: self.config.service_role.value.clone(),
            subnet: self.config.subnet.as_ref().map(|subnet| subnet.value.clone()).filter(|subnet| !subnet.trim().is_empty()),
            expected_keys: self.settings.policy.expected_keys.iter().map(|key| KeyReference::new(key)).collect(),
            adopt: invocation.persistent.then(|| self.config.job_name.clone()),
            time_limit: self.settings.pre_flight_timeout,
            runner: program.cloned(),
            version_timeout: self.settings.version_timeout,
        }
    }

    /// What the checks look at, once there are facts.
    pub(crate) fn case<'b>(&'b self, facts: &'b Facts) -> Case<'b> {
        Case {
            config: self.config,
            plan: &self.plan,
            documents: &self.documents,
            security_configuration: self.security_configuration.as_deref(),
            policy: &self.settings.policy,
            facts,
        }
    }

    /// Where the run has written, by its clusters and their steps.
    pub(crate) fn places(&self, watched: &Watched) -> Vec<Place> {
        let steps = watched.clusters.iter().filter_map(|record| record.steps.found()).flatten();
        let named: Vec<S3Location> = steps.flat_map(|step| step.places.iter().cloned()).collect();
        let clusters: Vec<Logging> = watched
            .clusters
            .iter()
            .map(|record| {
                let log = record.cluster.found().and_then(|cluster| S3Location::parse(cluster.log_location.as_deref()?).ok());
                Logging { id: record.id.clone(), log }
            })
            .collect();
        written::places(&self.config.locations, &self.plan, &named, &clusters)
    }

    /// Says what the seal replaced; the tag, which is always new, goes without saying.
    pub(crate) fn announce(&self, report: &Report, sealed: &Sealed) {
        for change in sealed.changes.iter().filter(|change| change.replaced() && !change.key.ends_with(RUN_TAG)) {
            let before = change.before.as_deref().unwrap_or("(missing)");
            report.say(&format!("sealed {}: {before} -> {}", change.key, change.after));
        }
        report.say(&format!("launching (run {})", self.id));
    }

    pub(crate) fn watch_plan(&self, found: &SecurityConfiguration, facts: &Facts, persistent: bool) -> watch::Plan {
        let adopted = facts.adoptable.as_ref().and_then(Lookup::found).into_iter().flat_map(|persistent| &persistent.clusters);
        let adopted = adopted.map(|adoptable| (adoptable.cluster.id.clone(), adoptable.earlier_steps.clone())).collect();
        watch::Plan {
            pursuit: Pursuit {
                verified: Verified::of(found, self.config, facts),
                policy: self.settings.policy.clone(),
                job_name: self.config.job_name.clone(),
                persistent,
                tag: self.settings.run_tag.then(|| (RUN_TAG.to_owned(), self.id.clone())),
                earlier_clusters: facts.earlier_clusters.found().cloned().unwrap_or_default(),
                adopted,
            },
            known: BTreeSet::new(),
            since: None,
            limits: self.settings.into(),
        }
    }

    /// What a later guard must know, should this one not live to the end.
    pub(crate) fn prepared(&self, plan: &watch::Plan, facts: &Facts) -> Prepared {
        Prepared {
            run: self.id.clone(),
            started: self.started,
            account: facts.launch_account().map(ToString::to_string),
            region: self.config.emr_region.value.clone(),
            config: self.config.origin.clone(),
            pursuit: plan.pursuit.clone(),
        }
    }

    /// Writes the record and gives the outcome.
    pub(crate) fn end(&self, report: &Report, judged: &Judged<'_>, watched: Option<&Watched>, outcome: Outcome) -> Result<Outcome, GuardError> {
        report.count(judged, watched);
        report.write(&Record {
            version: report::VERSION,
            guard: env!("CARGO_PKG_VERSION"),
            run: &self.id,
            command: if self.check.is_some() { "check" } else { "run" },
            only: self.check.is_some_and(|check| !check.only.is_empty()),
            started: self.started,
            ended: OffsetDateTime::now_utc(),
            inputs: report::Inputs {
                config: &self.config.origin,
                config_sha256: &self.config.digest,
                sealed_sha256: self.sealed.as_ref().map(|sealed| sealed.digest.as_str()),
                sealed: self.sealed.as_ref().map_or(&[], |sealed| sealed.changes.as_slice()),
                policy: &self.settings.policy,
                documents: &self.documents,
                plan: &self.plan,
            },
            facts: judged.facts,
            findings: judged.findings.iter().collect(),
            gaps: judged.gaps,
            verdict: judged.verdict,
            watched,
            written: judged.written,
            timeline: report.timeline.moments(),
            outcome,
            exit_code: outcome.exit_code(&self.settings.exit_codes),
        })?;
        Ok(outcome)
    }
}

/// The seal for a run: the settings' security configuration, else the one that the runner config names.
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
