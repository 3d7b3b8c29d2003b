//! `setup --sentinel`: what a sentinel needs in AWS, as a plan, as infrastructure code, or made
//! live in one region. It needs no runner config.

use std::{fs, path::Path};

use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::{
    aws::{
        ca_certificates,
        clients::Aws,
        region::{self, Regions},
    },
    base::{
        json::pretty,
        lookup::Lookup,
        names::{AccountId, partition},
        outcome::Outcome,
        printable::{Printable, printable},
    },
    commands::{
        error::GuardError,
        sentinel_policy,
        setup::{
            code_file::write_marked,
            flags::SetupFlags,
            live::{LiveSetup, SetupEnd, nothing_changed},
            look::check_name,
            report_file::record_in,
        },
    },
    facts::sts::{self, NoAccess},
    permissions,
    report::{options::CheckOptions, reporter::Report, setup_document::SetupMode, setup_text},
    settings::{alert_channels::Topic, resolve::Settings, sentinel_options::SentinelOptions},
    setup::{
        cloudformation::sentinel::sentinel_template,
        error::SetupError,
        guard_settings::{self, GuardSettings},
        journal::SetupJournal,
        plan::SetupPlan,
        sentinel_parts::SentinelParts,
        sentinel_steps::{SentinelInputs, SentinelState},
        terraform::sentinel::sentinel_terraform,
    },
    system::{
        output::out,
        signals::{self, Caught},
    },
};

/// The name of the file with Terraform code.
const TERRAFORM: &str = "sentinel.tf";

/// The command with `--sentinel`.
pub(super) async fn setup(flags: &SetupFlags, settings: &Settings) -> Result<Outcome, GuardError> {
    check_name(&flags.name)?;
    let check = CheckOptions { json: flags.json, ..CheckOptions::default() };
    let report = Report::open(&settings.report, &check).map_err(GuardError::Report)?;
    let options = settings.sentinel_options()?;
    if flags.permissions {
        return print_permissions(flags, settings, &options);
    }
    if flags.terraform.is_some() || flags.cloudformation.is_some() {
        return write(flags, settings, &options, &report);
    }
    let caught = signals::catch().map_err(anyhow::Error::from)?;
    ca_certificates::check_ca_certificates()?;
    let region = region(flags).await?;
    let work = SentinelWork {
        flags,
        settings,
        options,
        report,
        region,
        started: OffsetDateTime::now_utc(),
        caught: Mutex::new(caught),
    };
    Box::pin(work.run()).await
}

/// The region in which queue, rule and alarms are made.
async fn region(flags: &SetupFlags) -> Result<String, SetupError> {
    if let Some(region) = &flags.region {
        return Ok(region.clone());
    }
    region::region().await.map_err(|_| {
        SetupError::Usage(
            "--sentinel: no region; expected one in --region, AWS_REGION or the AWS profile; fix: \
             emr-etl-guard setup --sentinel --trust ecs-tasks --region eu-west-1"
                .to_owned(),
        )
    })
}

/// Prints the policy for these flags.
fn print_permissions(
    flags: &SetupFlags,
    settings: &Settings,
    options: &SentinelOptions,
) -> Result<Outcome, GuardError> {
    let name = SentinelParts::name_of(&flags.name);
    let role = match &flags.account {
        None => name.clone(),
        Some(id) => {
            let account = sentinel_policy::watched(settings, options, id)?;
            let arn = account.role.as_str();
            arn.split_once(":role/").map_or(arn, |(_, role)| role).to_owned()
        }
    };
    let (region, partition) = match &flags.region {
        Some(region) => (region.as_str(), partition(region)),
        None => ("*", permissions::sentinel::partition_of(options)),
    };
    let account = flags.account.as_ref().map_or("*", AccountId::as_str);
    let policy = permissions::setup::of_sentinel((partition, region, account), &name, &role);
    out(&format!("{}\n", pretty(&policy).map_err(anyhow::Error::from)?));
    Ok(Outcome::Ended(0))
}

/// Writes the code that `flags` ask for, and asks AWS nothing.
///
/// # Errors
/// Wrong flags or settings, or a file that cannot be written.
fn write(
    flags: &SetupFlags,
    settings: &Settings,
    options: &SentinelOptions,
    report: &Report,
) -> Result<Outcome, GuardError> {
    if flags.apply || flags.undo.is_some() || flags.write_settings.is_some() {
        return Err(SetupError::Usage(
            "--sentinel writes code, or makes the same live; seen: --terraform or --cloudformation \
             with --apply, --undo or --write-settings; fix: call it once for each"
                .to_owned(),
        )
        .into());
    }
    let parts = parts(flags, settings, options, permissions::sentinel::partition_of(options))?;
    let failed = |file: &Path, error: std::io::Error| {
        SetupError::File(format!("{}: {error}", file.display()))
    };
    if let Some(folder) = &flags.terraform {
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let file = folder.join(TERRAFORM);
        write_marked(&file, &sentinel_terraform(&parts))?;
        report.say(printable!(
            "what a sentinel needs as Terraform code is in {}",
            Printable::from(file.display().to_string())
        ));
    }
    if let Some(file) = &flags.cloudformation {
        write_marked(file, &sentinel_template(&parts))?;
        report.say(printable!(
            "what a sentinel needs as a CloudFormation template is in {}",
            Printable::from(file.display().to_string())
        ));
    }
    Ok(Outcome::Ended(0))
}

/// What is made, for the sentinel itself or for an account.
fn parts(
    flags: &SetupFlags,
    settings: &Settings,
    options: &SentinelOptions,
    partition: &str,
) -> Result<SentinelParts, GuardError> {
    let Some(trust) = &flags.trust else {
        let why = "--sentinel needs --trust: who may assume the role that is made; expected `ec2`, \
                   `ecs-tasks`, `eks-pods`, `lambda`, or the ARN of a role or user";
        return Err(SetupError::Usage(why.to_owned()).into());
    };
    let Some(id) = &flags.account else {
        let delivery = sentinel_policy::delivery(settings);
        return Ok(SentinelParts::of_sentinel(&flags.name, trust, options, delivery, partition));
    };
    let account = sentinel_policy::watched(settings, options, id)?;
    Ok(SentinelParts::of_account(&flags.name, trust, options, account))
}

/// The data of one call that looks at an account.
struct SentinelWork<'a> {
    flags: &'a SetupFlags,
    settings: &'a Settings,
    options: SentinelOptions,
    report: Report,
    region: String,
    started: OffsetDateTime,
    caught: Mutex<Caught>,
}

impl SentinelWork<'_> {
    async fn run(&self) -> Result<Outcome, GuardError> {
        let name = SentinelParts::name_of(&self.flags.name);
        let live = LiveSetup {
            flags: self.flags,
            settings: self.settings,
            report: &self.report,
            name: &name,
            region: &self.region,
            config: "",
            started: self.started,
            caught: &self.caught,
        };
        live.keeps_record()?;
        let record = self.flags.undo.as_deref().map(record_in).transpose()?;
        let parts = match &record {
            Some(_) => None,
            None => Some(self.parts()?),
        };
        let regions = Regions::all(self.region.clone());
        let aws = Aws::connect(&regions, None, &self.settings.aws).await;
        let account = Box::pin(self.account(&aws));
        let account = live.unless_stopped(account).await.map_err(nothing_changed)??;
        if let Some(record) = &record {
            return Box::pin(live.undo(&aws, live.identity(account), record)).await;
        }
        let Some(parts) = &parts else { return Ok(Outcome::Ended(0)) };
        let inputs =
            SentinelInputs { parts, account: &account, region: &self.region, topic: self.topic() };
        let look = Box::pin(self.plan(&aws, &inputs));
        let plan = live.unless_stopped(look).await.map_err(nothing_changed)?;
        if self.flags.apply {
            return Box::pin(self.apply(&live, &aws, &inputs, plan)).await;
        }
        self.show(&account, &plan);
        let outcome = outcome(&plan);
        live.say_end_of_plan(&plan, outcome, "a sentinel needs");
        if self.flags.write_settings.is_some() {
            if plan.changes().next().is_none() && outcome == Outcome::Ended(0) {
                self.write_settings(&inputs)?;
            } else {
                self.report.say(
                    "the guard's settings were not written: they would name a queue that does not \
                     exist yet; --apply makes it, and writes them",
                );
            }
        }
        let end = SetupEnd {
            mode: SetupMode::Plan,
            account: &account,
            plan: Some(&plan),
            left: Vec::new(),
            record: None,
            taken_back: Vec::new(),
            outcome,
        };
        live.write_report(&aws, end)?;
        Ok(outcome)
    }

    /// What is made, once the settings are of the partition of the region.
    fn parts(&self) -> Result<SentinelParts, GuardError> {
        let (options, region) = (&self.options, &self.region);
        let wanted = partition(region);
        let usage = |message: String| GuardError::from(SetupError::Usage(message));
        let names_places = !options.accounts.is_empty() || !options.regions.is_empty();
        let watched = permissions::sentinel::partition_of(options);
        if names_places && watched != wanted {
            return Err(usage(format!(
                "--sentinel: the section `sentinel` of the settings watches the partition \
                 {watched}, and {region} is in {wanted}; expected one partition; fix: name a \
                 region of {watched}"
            )));
        }
        let trusted = self.flags.trust.as_ref().and_then(|trust| trust.partition());
        if let Some(trusted) = trusted.filter(|trusted| *trusted != wanted) {
            return Err(usage(format!(
                "--trust: the role or user is in the partition {trusted}, and {region} is in \
                 {wanted}; expected one partition; fix: name a role or user of {wanted}"
            )));
        }
        if let Some(arn) = &self.flags.alarm_topic
            && !arn.parse::<Topic>().is_ok_and(|topic| topic.region == *region)
        {
            return Err(usage(format!(
                "--alarm-topic: seen `{arn}`; expected the ARN of a topic in {region}, because \
                 alarms publish to no other region; fix: arn:{wanted}:sns:{region}:ACCOUNT:NAME"
            )));
        }
        parts(self.flags, self.settings, options, wanted)
    }

    /// The topic for the alarms.
    fn topic(&self) -> Option<&str> {
        self.flags.alarm_topic.as_deref().or_else(|| self.settings.alerts.topic())
    }

    /// The account of the credentials, which must be the one that is asked for.
    async fn account(&self, aws: &Aws) -> Result<AccountId, GuardError> {
        if let Some(refused) = aws.refused_endpoints().next() {
            return Err(SetupError::Refused(refused.refusal()).into());
        }
        let account = match sts::identity(&aws.sts).await {
            Lookup::Found(identity) => identity.account,
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let cause = NoAccess::by(&error, aws, self.settings.aws.credentials).await;
                let unseen = || SetupError::Unseen {
                    what: "the account of the credentials",
                    error: Box::new(error.clone()),
                };
                return Err(cause.map_or_else(unseen, SetupError::NoAccess).into());
            }
            Lookup::Absent => {
                let why = "the account of the credentials does not exist";
                return Err(SetupError::Refused(why.to_owned()).into());
            }
        };
        match &self.flags.account {
            Some(expected) if *expected != account => Err(SetupError::Refused(format!(
                "--account: the credentials are of account {account}; expected: {expected}; fix: \
                 use credentials of that account (AWS_PROFILE), or leave --account out for the \
                 sentinel's own"
            ))
            .into()),
            _ => Ok(account),
        }
    }

    /// The plan for what is there now.
    async fn plan(&self, aws: &Aws, inputs: &SentinelInputs<'_>) -> SetupPlan {
        inputs.plan(&Box::pin(SentinelState::look(aws, inputs)).await)
    }

    /// The plan, for people.
    fn show(&self, account: &AccountId, plan: &SetupPlan) {
        self.report.say(printable!(
            "setup for a sentinel in account {account}, region {}",
            Printable::from(&self.region)
        ));
        self.report.show(&setup_text::steps(plan, &[]));
        self.report.show(&setup_text::left_to_people(plan, &[]));
        self.report.say(setup_text::counts(plan));
    }

    /// Carries the plan out.
    async fn apply(
        &self,
        live: &LiveSetup<'_>,
        aws: &Aws,
        inputs: &SentinelInputs<'_>,
        mut plan: SetupPlan,
    ) -> Result<Outcome, GuardError> {
        let mut journal = live.journal(live.identity(inputs.account.clone()))?;
        let work = Box::pin(self.go_on(live, aws, inputs, &mut plan, &mut journal));
        let carried_out = live.unless_stopped(work).await;
        let is_complete = matches!(carried_out, Ok(Ok(())));
        let verify = Box::pin(self.verify(aws, inputs));
        let result = live.verified(carried_out, verify, &journal).await;
        let outcome = result.as_ref().map_or_else(GuardError::outcome, |outcome| *outcome);
        let end = SetupEnd {
            mode: SetupMode::Apply,
            account: inputs.account,
            plan: Some(&plan),
            left: Vec::new(),
            record: Some(live.record(inputs.account, &plan, &journal)),
            taken_back: Vec::new(),
            outcome,
        };
        live.report_applied(aws, &mut journal, end, is_complete)?;
        result
    }

    /// Completes what an earlier setup was cut off in, then carries out the plan.
    async fn go_on(
        &self,
        live: &LiveSetup<'_>,
        aws: &Aws,
        inputs: &SentinelInputs<'_>,
        plan: &mut SetupPlan,
        journal: &mut SetupJournal,
    ) -> Result<(), GuardError> {
        let (is_changed, recovered) = live.recover(aws, journal).await;
        if recovered.is_ok() && is_changed {
            *plan = self.plan(aws, inputs).await;
        }
        self.show(inputs.account, plan);
        recovered?;
        live.carry_out(aws, plan, journal, "").await
    }

    /// Looks at everything again, and writes the settings.
    async fn verify(&self, aws: &Aws, inputs: &SentinelInputs<'_>) -> Result<Outcome, GuardError> {
        let after = self.plan(aws, inputs).await;
        let outcome = outcome(&after);
        if after.changes().next().is_some() || outcome != Outcome::Ended(0) {
            self.report.show(&setup_text::steps(&after, &[]));
            self.report
                .say("not everything is in place: see above, then run the same command again");
            return Ok(if outcome == Outcome::Ended(0) { Outcome::FactsUnknown } else { outcome });
        }
        let url = Printable::from(inputs.queue_url());
        self.report.say(printable!(
            "everything that a sentinel needs is in place: its role is {}",
            Printable::from(inputs.role_arn())
        ));
        if self.flags.write_settings.is_some() {
            self.write_settings(inputs)?;
        } else if !self.options.queues.iter().any(|queue| queue == url.as_str()) {
            self.report.say(printable!(
                "next: add {url} to `sentinel.queues` in guard.yml (--write-settings FILE does it)"
            ));
        }
        Ok(outcome)
    }

    /// Writes the guard's settings with the queue, if that was asked for.
    fn write_settings(&self, inputs: &SentinelInputs<'_>) -> Result<(), SetupError> {
        let Some(file) = &self.flags.write_settings else { return Ok(()) };
        let mut queues = self.options.queues.clone();
        let url = inputs.queue_url();
        if !queues.contains(&url) {
            queues.push(url);
        }
        let settings = self.settings;
        let evidence = settings.evidence.destinations.iter().map(ToString::to_string);
        let decided = GuardSettings {
            security_configuration: settings.security_configuration.clone(),
            evidence: evidence.collect(),
            event_queue: settings.aws.event_queue.clone(),
            alert_sns: settings.alerts.topic().map(str::to_owned),
            sentinel_queues: queues,
            ..GuardSettings::of_policy(&settings.policy)
        };
        let written = guard_settings::write(file, &decided)
            .map_err(|error| SetupError::File(error.to_string()))?;
        for line in written.lines(file) {
            self.report.say(line);
        }
        Ok(())
    }
}

/// How a plan ends.
fn outcome(plan: &SetupPlan) -> Outcome {
    if plan.is_unknown() {
        Outcome::FactsUnknown
    } else if plan.obstacles().next().is_some() {
        Outcome::Refused
    } else {
        Outcome::Ended(0)
    }
}
