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
mod live;
mod look;
mod report_file;
mod sentinel;
mod taking_back;

use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::{
    aws::{ca_certificates, clients::Aws},
    base::{
        json::pretty,
        outcome::Outcome,
        printable::{Printable, printable},
    },
    commands::{
        cli::SetupArguments,
        error::GuardError,
        read_config::{self, read_config},
        run::guarded_run::Run,
        setup::{
            live::{LiveSetup, SetupEnd, nothing_changed},
            look::{Survey, account_to_change, options, survey},
        },
    },
    permissions,
    report::{options::CheckOptions, reporter::Report, setup_document::SetupMode, setup_text},
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{Invocation, InvocationError, RunInvocation},
    },
    settings::resolve::Settings,
    setup::{journal::SetupIdentity, options::SetupOptions},
    system::{
        output::out,
        signals::{self, Caught},
    },
};

/// The command.
pub(crate) async fn setup(
    arguments: &SetupArguments,
    settings: &Settings,
) -> Result<Outcome, GuardError> {
    if arguments.flags.sentinel {
        return Box::pin(sentinel::setup(&arguments.flags, settings)).await;
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
    work.live().keeps_record()?;
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

impl SetupWork<'_> {
    /// What it changes an account by.
    fn live(&self) -> LiveSetup<'_> {
        LiveSetup {
            flags: &self.arguments.flags,
            settings: self.settings,
            report: &self.report,
            name: &self.options.name,
            region: &self.config.emr_region.value,
            config: &self.config.origin,
            started: self.started,
            caught: &self.caught,
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
        let mut survey = self.live().unless_stopped(look).await.map_err(nothing_changed)??;
        if flags.rotate_certificates {
            survey.plan = self.rotation(&survey)?;
        }
        if flags.apply {
            return Box::pin(self.apply(&aws, survey)).await;
        }
        self.show(&survey);
        self.write_code(&survey)?;
        let outcome = outcome(&survey);
        self.live().say_end_of_plan(&survey.plan, outcome, "setup makes");
        self.write_files_of_plan(&survey)?;
        let end = SetupEnd {
            mode: SetupMode::Plan,
            account: &survey.account,
            plan: Some(&survey.plan),
            left: setup_text::required_left(&survey.plan, &survey.findings),
            record: None,
            taken_back: Vec::new(),
            outcome,
        };
        self.live().write_report(&aws, end)?;
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
        let live = self.live();
        let account = live.unless_stopped(account).await.map_err(nothing_changed)??;
        Ok(live.identity(account))
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
