//! The command `setup`: what encryption needs in AWS, as a plan, as infrastructure code, or made
//! live.
//!
//! ```text
//! config ─► facts ─► findings ─┬► plan ─► text, JSON, Terraform, CloudFormation
//!                    state ────┘      └─► apply ─► report
//! ```

mod applying;
mod code_file;
mod files;
pub(crate) mod flags;
mod later;
mod look;
mod report_file;
mod sentinel;

use nix::sys::signal::Signal;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::{
    aws::{ca_certificates, clients::Aws},
    base::{
        json::pretty,
        names::AccountId,
        outcome::Outcome,
        printable::{Printable, printable},
    },
    commands::{
        cli::SetupArguments,
        error::GuardError,
        read_config::{self, read_config},
        run::guarded_run::Run,
        setup::look::{Survey, account_to_change, options, survey},
    },
    permissions,
    report::{
        caller::LocalCaller,
        options::CheckOptions,
        reporter::Report,
        setup_document::{PlannedStep, SetupMode, SetupReport, VERSION},
        setup_text,
    },
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError, RunInvocation},
    },
    settings::resolve::Settings,
    setup::{
        error::SetupError,
        journal::SetupIdentity,
        options::SetupOptions,
        record::{SetupRecord, UndoneStep},
    },
    system::{
        output::out,
        signals::{self, Caught, stop_signal},
    },
};

/// The command.
pub(crate) async fn setup(
    arguments: &SetupArguments,
    settings: &Settings,
) -> Result<Outcome, GuardError> {
    if arguments.flags.sentinel {
        let report = Report::open(&settings.report, &CheckOptions::default());
        return sentinel::write(&arguments.flags, settings, &report.map_err(GuardError::Report)?);
    }
    let options = options(arguments)?;
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    let check = CheckOptions { json: arguments.flags.json, ..CheckOptions::default() };
    let report = Report::open(&settings.report, &check).map_err(GuardError::Report)?;
    let invocation = invocation(arguments)?;
    let config = read_config(&invocation, settings, &mut caught).await?;
    if arguments.flags.permissions {
        let cluster = config.cluster_spec();
        let launch = read_config::launch_scope(Some(&config), Some(&cluster));
        let policy = pretty(&permissions::setup::policy(launch, &options.name));
        out(&format!("{}\n", policy.map_err(anyhow::Error::from)?));
        return Ok(Outcome::Ended(0));
    }
    ca_certificates::check_ca_certificates()?;
    let started = OffsetDateTime::now_utc();
    let caught = Mutex::new(caught);
    let work =
        SetupWork { arguments, settings, report, options, invocation, config, started, caught };
    work.keeps_record()?;
    Box::pin(work.run()).await
}

/// The runner's arguments, which must be those of a run.
fn invocation(arguments: &SetupArguments) -> Result<RunInvocation, InvocationError> {
    match Invocation::parse(&arguments.launch.arguments)? {
        Invocation::Run(invocation) => Ok(invocation),
        Invocation::NoLaunch => {
            let why = if arguments.launch.arguments.is_empty() {
                "no runner config was given, and setup makes what one needs; fix: emr-etl-guard \
                 setup config.yml -r resolver.json"
            } else {
                "these launch no cluster, so there is nothing to set up; expected `run -c \
                 config.yml …`"
            };
            Err(InvocationError::Rejected(why.to_owned()))
        }
    }
}

/// The data of one call of the command.
struct SetupWork<'a> {
    arguments: &'a SetupArguments,
    settings: &'a Settings,
    report: Report,
    options: SetupOptions,
    invocation: RunInvocation,
    config: RunnerConfig,
    started: OffsetDateTime,
    caught: Mutex<Caught>,
}

/// How the command ends.
struct SetupEnd<'a> {
    mode: SetupMode,
    account: &'a AccountId,
    /// What was looked at for a plan; none where nothing was planned.
    survey: Option<&'a Survey>,
    record: Option<SetupRecord>,
    taken_back: Vec<UndoneStep>,
    outcome: Outcome,
}

/// The end of a look that is stopped by `signal`.
fn nothing_changed(signal: Signal) -> SetupError {
    SetupError::Stopped { signal, left: "nothing was changed".to_owned() }
}

impl SetupWork<'_> {
    /// The result of `work`, unless a request to stop comes first. What is under way then is
    /// dropped; what was asked of AWS may take effect nevertheless.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Signal> {
        let stopped = async { stop_signal(&mut *self.caught.lock().await).await };
        tokio::select! {
            result = work => Ok(result),
            signal = stopped => Err(signal),
        }
    }

    async fn run(&self) -> Result<Outcome, GuardError> {
        let regions = read_config::regions(&self.config);
        let aws = Aws::connect(&regions, Some(&self.config.credentials), &self.settings.aws).await;
        let flags = &self.arguments.flags;
        if let Some(file) = &flags.undo {
            return Box::pin(self.undo(&aws, file)).await;
        }
        if let Some(name) = &flags.retire {
            return Box::pin(self.retire(&aws, name)).await;
        }
        let look = Box::pin(self.survey(&aws, None));
        let mut survey = self.unless_stopped(look).await.map_err(nothing_changed)??;
        if flags.rotate_certificates {
            survey.plan = self.rotation(&survey)?;
        }
        if flags.apply {
            return Box::pin(self.apply(&aws, survey)).await;
        }
        self.show(&survey);
        self.write_code(&survey)?;
        let outcome = outcome(&survey);
        self.say_end_of_plan(&survey, outcome);
        self.write_files_of_plan(&survey)?;
        let end = SetupEnd {
            mode: SetupMode::Plan,
            account: &survey.account,
            survey: Some(&survey),
            record: None,
            taken_back: Vec::new(),
            outcome,
        };
        self.write_report(&aws, end)?;
        Ok(outcome)
    }

    /// What exists in the account, and the plan. `security_configuration`: the one that a run will
    /// use, if it is not the config's.
    async fn survey(
        &self,
        aws: &Aws,
        security_configuration: Option<&str>,
    ) -> Result<Survey, GuardError> {
        let mut settings = self.settings.clone();
        if let Some(name) = security_configuration {
            settings.security_configuration = Some(name.to_owned());
        }
        let check = CheckOptions::default();
        let run = Run::new(&self.config, &settings, &self.invocation, Some(&check))?;
        survey(aws, &run, &settings, &self.options).await
    }

    /// Which setup it is, once nothing forbids a change in the account.
    async fn identity(&self, aws: &Aws) -> Result<SetupIdentity, GuardError> {
        let check = CheckOptions::default();
        let run = Run::new(&self.config, self.settings, &self.invocation, Some(&check))?;
        let account = Box::pin(account_to_change(aws, &run, self.settings));
        let account = self.unless_stopped(account).await.map_err(nothing_changed)??;
        Ok(self.identity_in(account))
    }

    fn identity_in(&self, account: AccountId) -> SetupIdentity {
        let (name, region) = (self.options.name.clone(), self.config.emr_region.value.clone());
        SetupIdentity { name, account, region }
    }

    /// The plan, for people.
    fn show(&self, survey: &Survey) {
        let Survey { account, findings, plan, unseen, .. } = survey;
        let report = &self.report;
        report.say(printable!(
            "setup for {} in account {account}, region {}",
            Printable::from(&self.config.origin),
            Printable::from(&self.config.emr_region.value)
        ));
        report.show(&setup_text::steps(plan, findings));
        report.show(&setup_text::left_to_people(plan, findings));
        for line in unseen {
            report.say(line);
        }
        report.say(setup_text::counts(plan));
    }

    /// The result of a plan, and what to do next.
    fn say_end_of_plan(&self, survey: &Survey, outcome: Outcome) {
        let report = &self.report;
        if survey.plan.changes().next().is_none() && outcome == Outcome::Ended(0) {
            report.say("everything that setup makes is in place; nothing was changed");
            return;
        }
        let flags = &self.arguments.flags;
        let has_code = flags.terraform.is_some() || flags.cloudformation.is_some();
        report.say(match outcome {
            Outcome::Ended(0) if has_code => {
                "nothing was changed; apply the code, or leave it and add --apply and --report FILE \
                 to make the plan live"
            }
            Outcome::Ended(0) => {
                "nothing was changed; add --apply to make it live, and --report FILE, which --undo \
                 needs"
            }
            Outcome::FactsUnknown => {
                "nothing was changed; not everything could be looked at: see UNKNOWN and `by hand` \
                 above"
            }
            _ => {
                "nothing was changed; not everything that is required can be made: see REFUSED and \
                 `by hand` above"
            }
        });
    }

    /// Writes the report.
    fn write_report(&self, aws: &Aws, end: SetupEnd<'_>) -> Result<(), GuardError> {
        let (plan, left) = match end.survey {
            Some(Survey { plan, findings, .. }) => (
                PlannedStep::all(plan).map_err(anyhow::Error::from)?,
                setup_text::required_left(plan, findings),
            ),
            None => (Vec::new(), Vec::new()),
        };
        let configuration =
            end.survey.and_then(|survey| survey.plan.security_configuration.clone());
        let document = SetupReport {
            version: VERSION,
            guard: env!("CARGO_PKG_VERSION").to_owned(),
            command: "setup".to_owned(),
            mode: end.mode,
            started: self.started,
            ended: OffsetDateTime::now_utc(),
            who: LocalCaller::of_this_process(),
            config: self.config.origin.clone(),
            account: end.account.to_string(),
            region: self.config.emr_region.value.clone(),
            plan,
            record: end.record,
            taken_back: end.taken_back,
            security_configuration: configuration,
            left,
            connections: aws.connections(),
            outcome: end.outcome,
            exit_code: end.outcome.exit_code(&self.settings.exit_codes),
        };
        let text = pretty(&document).map_err(anyhow::Error::from)?;
        Ok(self.report.write_document(&format!("{text}\n"))?)
    }
}

/// How a plan ends: whether it is complete, and nothing that is required is left to people.
fn outcome(survey: &Survey) -> Outcome {
    let Survey { findings, plan, .. } = survey;
    if plan.is_unknown() {
        Outcome::FactsUnknown
    } else if plan.obstacles().next().is_some() {
        Outcome::Refused
    } else {
        setup_text::refusal_by_left(plan, findings).unwrap_or(Outcome::Ended(0))
    }
}
