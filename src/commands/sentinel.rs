//! The command `sentinel`: judges every cluster of the accounts, whoever launched it, until it is
//! stopped; with `--once`, each cluster that lives, once.

mod call;
mod metrics_page;
mod period_reports;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use nix::sys::signal::Signal;
use time::OffsetDateTime;

use crate::{
    aws::{
        ca_certificates,
        clients::{Aws, SharedAccess},
        region::Regions,
    },
    base::{
        names::{AccountId, endpoint_domain, partition},
        outcome::Outcome,
        printable::{Printable, printable},
        reason::Reason,
    },
    commands::{
        cli::SentinelArguments,
        error::GuardError,
        run::guarded_run::commands_of,
        sentinel::{
            call::{DeliveryNumbers, OwnAccount, SentinelCommand},
            metrics_page::{export_metrics, metrics_page},
            period_reports::PeriodReports,
        },
    },
    evidence::journal::{self, StateDir},
    facts::sts::{self, NoAccess},
    report::{
        alerts::message::AlertKind,
        notice::Notice,
        notify::Notify,
        options::CheckOptions,
        reporter::Report,
        sentinel_alerts::{SentinelAlert, SentinelAlerts},
        sentinel_delivery::SentinelReports,
        sentinel_notices::{self, NoticeContext},
    },
    runners::emr_etl_runner::invocation::InvocationError,
    sentinel::{
        driver::{self, ActiveSentinel, SentinelEnd, SentinelNotice, SentinelPlan},
        endpoint,
        health::SentinelHealth,
        judge::JudgeOptions,
        ledger::SentinelLedger,
        period::WatchedPeriod,
        places::{AccountRegion, WatchedPlaces, account_in_words},
        probe::{self, ProbeKind},
        pulse::Pulse,
        queue::SentinelQueue,
    },
    settings::{
        aws_options::AwsOptions,
        resolve::{Settings, SettingsError},
        sentinel_options::SentinelOptions,
    },
    system::{
        output,
        service_manager::ServiceManager,
        signals::{self, Caught, stop_signal},
    },
    watch::machine::account::{event::AccountVerdict, plan::AccountLimits},
};

/// How many intervals a cluster goes on without its steps, groups and volumes being looked at
/// again.
const DRIFT_INTERVALS: u32 = 10;
/// What is not done if AWS cannot be called.
const NOTHING_WATCHED: &str = "nothing is watched";

/// The command.
pub(crate) async fn sentinel(
    arguments: &SentinelArguments,
    settings: &Settings,
    notify: &Notify,
) -> Result<Outcome, GuardError> {
    let mut caught = signals::catch().map_err(anyhow::Error::from)?;
    // A full pipe must not stop the judging of clusters and the alerts. With `--once`, the process
    // waits until its output is read, as other commands do.
    if !arguments.once {
        output::write_in_background();
    }
    if !arguments.launch.arguments.is_empty() {
        let why = "`sentinel` launches nothing and takes no arguments of the runner";
        return Err(InvocationError::Rejected(why.to_owned()).into());
    }
    let mut options = settings.sentinel_options()?;
    if !arguments.regions.is_empty() {
        options.regions.clone_from(&arguments.regions);
    }
    let report = Report::open(&settings.report, &CheckOptions::default())
        .map_err(GuardError::Report)?
        .with(notify);
    let path = journal::state_dir(settings.state_dir.as_deref())?;
    let ledger = SentinelLedger::open(&path, OffsetDateTime::now_utc())?;
    let state = StateDir::take(&path.join("sentinel"))?;
    let file = settings.report.file.clone();
    let reports =
        SentinelReports::open(&settings.evidence, &state, file).map_err(GuardError::Evidence)?;
    let health = SentinelHealth::starting(options.interval, Instant::now());
    let (pulse, view) = Pulse::new(health, ServiceManager::of_environment());
    let delivery = Arc::new(DeliveryNumbers::default());
    // One that judges once ends by itself, and may run beside one that does not.
    let listen = options.listen.filter(|_| !arguments.once);
    let endpoint = listen.map(|address| {
        let (view, labels) = (view.clone(), settings.metrics.labels.clone());
        let delivery = Arc::clone(&delivery);
        let health = view.health.clone();
        endpoint::start(address, health, move || metrics_page(&view, &labels, &delivery))
    });
    let endpoint = endpoint.transpose()?;
    if let Some(endpoint) = &endpoint {
        report.say(format!("probes and metrics are at http://{}/", endpoint.address()));
    }
    ca_certificates::check_ca_certificates()?;
    let alerts = SentinelAlerts::new(notify.clone());
    let once = arguments.once;
    let sentinel = SentinelCommand { settings, options, report, notify, alerts, delivery, once };
    let outcome = tokio::select! {
        outcome = Box::pin(sentinel.run(ledger, reports, pulse, &mut caught)) => outcome,
        never = export_metrics(&view, &settings.metrics, &sentinel.delivery) => match never {},
    };
    sentinel.alerts.release();
    outcome
}

/// `--probe`: asks the sentinel that runs on this machine.
pub(crate) fn probe(kind: ProbeKind, settings: &Settings) -> Result<Outcome, GuardError> {
    let Some(listen) = settings.sentinel_options()?.listen else {
        let why = "--probe: `sentinel.listen` is not set, so no sentinel can be asked; fix: set it \
            in guard.yml, such as to 127.0.0.1:9477";
        return Err(SettingsError::Value(why.to_owned()).into());
    };
    probe::probe(listen, kind)?;
    Ok(Outcome::Ended(0))
}

impl SentinelCommand<'_> {
    async fn run(
        &self,
        ledger: SentinelLedger,
        mut reports: SentinelReports<'_>,
        pulse: Pulse,
        caught: &mut Caught,
    ) -> Result<Outcome, GuardError> {
        let region = match self.options.regions.first() {
            Some(region) => region.clone(),
            None => Regions::of_environment().await.emr,
        };
        let aws_options = AwsOptions {
            event_queue: self.options.queues.first().cloned(),
            ..self.settings.aws.clone()
        };
        let access = SharedAccess::load(&region, &aws_options).await;
        let own = access.clients(&region);
        if let Some(endpoint) = own.refused_endpoints().next() {
            let why = printable!("{NOTHING_WATCHED}: {}", Printable::from(endpoint.refusal()));
            return Ok(self.cannot(Reason::new(why)));
        }
        let found = async {
            let identity = sts::identity(&own.sts).await;
            let places = WatchedPlaces::find(&access, &own, &identity, &self.options).await;
            (identity.into_found(), places)
        };
        let (identity, places) = tokio::select! {
            found = found => found,
            signal = stop_signal(caught) => return self.stopped_early(signal),
        };
        let places = match places {
            Ok(places) => places,
            Err(error) => {
                let source = self.settings.aws.credentials;
                return Ok(self.cannot(match NoAccess::by(&error, &own, source).await {
                    Some(cause) => cause.reason(NOTHING_WATCHED),
                    None => Reason::new(printable!(
                        "{NOTHING_WATCHED}: {}",
                        Printable::from(error.to_string())
                    )),
                }));
            }
        };
        let unseen: Vec<Reason> =
            places.unseen.iter().map(|account| account.reason(self.once)).collect();
        if !unseen.is_empty() {
            self.report.alarm(&unseen);
        }
        if places.watched.is_empty() && self.once {
            return Ok(Outcome::FactsUnknown);
        }
        self.say_places(&places);
        let other_account = identity.as_ref().map(|identity| access.pin(&identity.account));
        reports.connect(&own, &self.options.policy).await;
        let say = |line: &str| self.report.say(line);
        reports.send_waiting(&self.notify.timeline, &say).await;
        let names = places.watched.keys().map(|place| place.in_words().to_string());
        let missing = places.unseen.iter().map(|one| account_in_words(one.account.as_str()));
        let names: Vec<String> = names.chain(missing).collect();
        pulse.health.send_modify(|health| {
            health.set_places(names, Instant::now());
            for unseen in &places.unseen {
                health.unknown(&account_in_words(unseen.account.as_str()), &unseen.problem);
            }
        });
        let unreported_since = reports
            .begin(OffsetDateTime::now_utc())
            .map_err(|error| GuardError::Evidence(error.to_string()))?;
        let own_account =
            OwnAccount { identity, other: other_account, health: pulse.health.clone() };
        let active = driver::start(SentinelPlan {
            queues: self.queues(&access, &own),
            places,
            judge: self.judge_options(),
            limits: self.limits(),
            once: self.once,
            report_every: self.options.report_every,
            ledger,
            unreported_since,
            pulse,
        });
        let principal = own_account.identity.as_ref().map(|identity| identity.arn.clone());
        let reports = PeriodReports::new(reports, self, principal, own);
        let (end, stopped) = self.follow(active, &reports, own_account, caught).await?;
        let outcome = self.outcome(&end, stopped, !unseen.is_empty());
        let is_delivered = reports.deliver(end.period, outcome).await;
        Ok(if is_delivered { outcome } else { outcome.undelivered(&self.settings.exit_codes) })
    }

    /// A stop before the watch has begun. One that goes on until it is stopped has nothing left to
    /// do.
    fn stopped_early(&self, signal: Signal) -> Result<Outcome, GuardError> {
        if self.once {
            return Err(GuardError::Stopped(signal));
        }
        self.report.say(format!("stopped by {signal} before the watch began"));
        Ok(Outcome::Ended(0))
    }

    /// Reports why nothing can be watched.
    fn cannot(&self, why: Reason) -> Outcome {
        self.report.trouble(Outcome::FactsUnknown, &[why]);
        Outcome::FactsUnknown
    }

    fn say_places(&self, places: &WatchedPlaces) {
        let all: Vec<Printable> = places.watched.keys().map(AccountRegion::in_words).collect();
        self.report.say(if all.is_empty() {
            "watching nothing yet".into()
        } else {
            printable!("watching {}", Printable::joined(&all, ", "))
        });
    }

    fn queues(&self, access: &SharedAccess, own: &Aws) -> Vec<SentinelQueue> {
        let of_guards = self.settings.aws.event_queue.as_ref();
        let queue = |url: &String| SentinelQueue {
            aws: region_of(url).map_or_else(|| own.clone(), |region| access.clients(region)),
            is_shared: of_guards == Some(url),
            url: url.clone(),
        };
        self.options.queues.iter().map(queue).collect()
    }

    fn judge_options(&self) -> JudgeOptions {
        JudgeOptions {
            rules: self.options.rules.clone(),
            policy: self.options.policy.clone(),
            time_limit: self.settings.pre_flight_timeout,
            commands: commands_of(self.settings),
        }
    }

    fn limits(&self) -> AccountLimits {
        let SentinelOptions { interval, judge_within, termination, terminations_per_hour, .. } =
            self.options;
        let drift: Duration = interval * DRIFT_INTERVALS;
        AccountLimits { interval, judge_within, termination, drift, terminations_per_hour }
    }

    fn context(&self) -> NoticeContext {
        NoticeContext {
            commands: commands_of(self.settings),
            judge_within: self.options.judge_within,
            terminations_per_hour: self.options.terminations_per_hour,
        }
    }

    /// Tells people what they must know, until the sentinel ends; and the signal that stopped it,
    /// if one did.
    async fn follow(
        &self,
        active: ActiveSentinel,
        reports: &PeriodReports<'_>,
        mut own_account: OwnAccount,
        caught: &mut Caught,
    ) -> Result<(SentinelEnd, Option<Signal>), GuardError> {
        let ActiveSentinel { mut stop, mut notices, mut task } = active;
        let context = self.context();
        let mut stopped = None;
        // One report after the other is delivered, and people are notified of clusters meanwhile.
        let mut periods: VecDeque<WatchedPeriod> = VecDeque::new();
        let mut delivering: Option<LocalBoxFuture<'_, ()>> = None;
        loop {
            if delivering.is_none()
                && let Some(period) = periods.pop_front()
            {
                delivering = Some(Box::pin(reports.deliver_next(period)));
            }
            tokio::select! {
                biased;
                Some(notice) = notices.recv() => match notice {
                    SentinelNotice::Period(period) => periods.push_back(*period),
                    notice => self.tell(&notice, &context),
                },
                () = end_of(&mut delivering), if delivering.is_some() => delivering = None,
                () = reports.retry_due(), if delivering.is_none() => {
                    delivering = Some(Box::pin(reports.retry()));
                }
                other = own_account.changed() => self.tell_account(&own_account, other),
                end = &mut task => {
                    // What it said last.
                    while let Ok(notice) = notices.try_recv() {
                        match notice {
                            SentinelNotice::Period(period) => periods.push_back(*period),
                            notice => self.tell(&notice, &context),
                        }
                    }
                    end_of(&mut delivering).await;
                    for period in periods {
                        reports.deliver_next(period).await;
                    }
                    return Ok((end.map_err(anyhow::Error::from)?, stopped));
                }
                signal = stop_signal(caught) => {
                    stopped.get_or_insert(signal);
                    if let Some(stop) = stop.take() {
                        // Fails only if it has ended by itself.
                        let _ = stop.send(());
                    }
                }
            }
        }
    }

    fn tell(&self, notice: &SentinelNotice, context: &NoticeContext) {
        if let Some(told) = context.paragraph(notice) {
            told.notice.print();
            let (kind, notice, place) = (told.kind, told.notice.clone(), told.place.clone());
            self.alerts.send(SentinelAlert { kind, notice, place });
            if self.once {
                self.notify.said(told.outcome, told.notice);
            }
        } else if let Some(line) = sentinel_notices::line(notice) {
            match notice {
                SentinelNotice::SightBack(place) => {
                    self.alert_seen_again(&line, Some(place.clone()));
                }
                SentinelNotice::RegionsFound(..) => self.alert_seen_again(&line, None),
                _ => {}
            }
            self.report.say(line);
        }
        if let SentinelNotice::QueueFailed(url, why) = notice {
            let (url, why) = (Printable::from(url), Printable::from(why));
            self.report.warning(printable!(
                "the queue {url} gives no events, so only lists find clusters: {why}"
            ));
        }
    }
}

impl SentinelCommand<'_> {
    fn alert_seen_again(&self, line: &Printable, place: Option<AccountRegion>) {
        let notice = Notice::new(printable!("emr-etl-guard: {line}"));
        self.alerts.send(SentinelAlert { kind: AlertKind::SeenAgain, notice, place });
    }

    /// The own credentials belong to another account than at the start; none: they do not any more.
    fn tell_account(&self, own: &OwnAccount, other: Option<AccountId>) {
        let name = other.as_ref().map(ToString::to_string);
        own.health.send_modify(|health| health.set_other_account(name));
        let Some(expected) = own.identity.as_ref().map(|identity| &identity.account) else {
            return;
        };
        let Some(other) = other else {
            let account = Printable::from(expected.as_str());
            let line = printable!("the sentinel's credentials are of account {account} again");
            self.alert_seen_again(&line, None);
            self.report.say(line);
            return;
        };
        let told = sentinel_notices::other_account(&other, expected);
        told.notice.print();
        if self.once {
            self.notify.said(told.outcome, told.notice.clone());
        }
        self.alerts.send(SentinelAlert { kind: told.kind, notice: told.notice, place: None });
    }

    /// How the command ends. A sentinel that goes on until it is stopped has reported everything
    /// already.
    fn outcome(&self, end: &SentinelEnd, stopped: Option<Signal>, missing: bool) -> Outcome {
        if !self.once {
            return Outcome::Ended(0);
        }
        self.tell_untold(end);
        let verdicts =
            || end.conclusion.clusters.iter().map(|(_, verdict, over)| (*verdict, *over));
        let is_open = !end.conclusion.unseen.is_empty() || missing;
        let outcome = if verdicts().any(|it| it == (AccountVerdict::Unsafe, false)) {
            Outcome::UnsafeClusterAlive
        } else if verdicts().any(|(verdict, _)| verdict == AccountVerdict::Unsafe) {
            Outcome::UnsafeClusterTerminated
        } else if let Some(signal) = stopped {
            Outcome::Signalled(u8::try_from(signal as i32).unwrap_or_default())
        } else if is_open || verdicts().any(|(verdict, _)| verdict == AccountVerdict::Unjudged) {
            Outcome::Unconfirmed
        } else {
            Outcome::Ended(0)
        };
        let count = |of: AccountVerdict| verdicts().filter(|(verdict, _)| *verdict == of).count();
        self.report.say(format!(
            "{} as required, {} unsafe, {} not judged",
            count(AccountVerdict::Passed),
            count(AccountVerdict::Unsafe),
            count(AccountVerdict::Unjudged)
        ));
        outcome
    }

    /// Tells what a sentinel that judges once could not find out, where it has not said so yet.
    fn tell_untold(&self, end: &SentinelEnd) {
        let context = self.context();
        let untold = |(place, _): &&(AccountRegion, String)| !end.is_told_lost(place);
        for (place, why) in end.conclusion.unseen.iter().filter(untold) {
            self.tell(&SentinelNotice::SightLost(place.clone(), why.clone()), &context);
        }
        let unjudged =
            end.conclusion.clusters.iter().filter(|(key, verdict, _)| {
                *verdict == AccountVerdict::Unjudged && !end.is_told(key)
            });
        for (key, _, _) in unjudged {
            if let Some(told) = end.unjudged_notice(key) {
                self.tell(&SentinelNotice::Unjudged(Box::new(told)), &context);
            }
        }
    }
}

/// Waits for the end of what is under way, if something is.
async fn end_of(under_way: &mut Option<LocalBoxFuture<'_, ()>>) {
    if let Some(under_way) = under_way {
        under_way.await;
    }
}

/// The region in a queue's URL, if AWS serves it.
fn region_of(queue: &str) -> Option<&str> {
    let host = queue.strip_prefix("https://sqs.")?.split('/').next()?;
    let (region, domain) = host.split_once('.')?;
    (domain == endpoint_domain(partition(region))).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_asked_in_the_region_of_its_url() {
        for (queue, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", Some("eu-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", Some("cn-north-1")),
            ("https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/q", Some("eusc-de-east-1")),
            ("https://sqs.eu-west-1.amazonaws.eu/123456789012/q", None),
            ("http://127.0.0.1:4566/123456789012/q", None),
        ] {
            assert_eq!(region_of(queue), region, "{queue}");
        }
    }
}
