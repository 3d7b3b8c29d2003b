//! The reports of the sentinel: each period becomes one, which is chained to the one before, signed
//! and delivered.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    sync::atomic::Ordering,
};

use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};

use crate::{
    aws::clients::Aws,
    base::{names::AccountId, outcome::Outcome, printable::Printable, reason::Reason},
    commands::sentinel::call::SentinelCommand,
    report::{
        sentinel_delivery::{SentinelReports, WrittenReport},
        sentinel_document::{
            ReportCause, ReportedMoment, RuleInForce, SentinelPeriod, SentinelSettingsInForce,
            UnsafeConsequence, UnseenTime, judged_outcome,
        },
    },
    sentinel::period::{LostSight, PeriodEnd, PlaceSight, WatchedPeriod},
    settings::{
        digest::settings_digest,
        sentinel_options::SentinelOptions,
        sentinel_rules::{OnUnsafe, RoleName, RuleMatch, SentinelRule, SubnetId},
    },
    system::signals,
};

/// Writes the reports of one sentinel.
pub(super) struct PeriodReports<'a> {
    reports: SentinelReports<'a>,
    command: &'a SentinelCommand<'a>,
    /// The sentinel's id.
    sentinel: String,
    /// The number of the last report.
    sequence: Cell<u64>,
    /// The period whose report could not be written: the next report has it, too.
    unwritten: RefCell<Option<UnwrittenPeriod>>,
    /// It was said that the reports take much space.
    is_size_told: Cell<bool>,
    /// The identity of the sentinel's own credentials, if STS names it.
    principal: Option<String>,
    /// The clients by these credentials.
    aws: Aws,
}

/// A period whose report could not be written.
#[derive(Debug)]
struct UnwrittenPeriod {
    period: WatchedPeriod,
    /// What happened besides.
    timeline: Vec<ReportedMoment>,
    /// When that is tried again.
    retry: Instant,
}

/// A report that could not be written is tried again after so many intervals: ten minutes, with the
/// default of 30 s.
const RETRY_INTERVALS: u32 = 20;
/// From this size on of all reports, a message says that nothing removes them.
const LARGE: u64 = 1024 * 1024 * 1024;

impl<'a> PeriodReports<'a> {
    /// The reports of a sentinel that starts now.
    pub(super) fn new(
        reports: SentinelReports<'a>,
        command: &'a SentinelCommand<'a>,
        principal: Option<String>,
        aws: Aws,
    ) -> Self {
        let sentinel = uuid::Uuid::now_v7().to_string();
        let (sequence, unwritten) = (Cell::new(0), RefCell::default());
        let is_size_told = Cell::new(false);
        let reports =
            Self { reports, command, sentinel, sequence, unwritten, is_size_told, principal, aws };
        reports.measure();
        reports
    }

    /// Delivers the report of a period of a sentinel that goes on.
    pub(super) async fn deliver_next(&self, period: WatchedPeriod) {
        let unwritten = self.with_unwritten(period);
        self.write(unwritten, None).await;
    }

    /// Delivers the report of a period at whose end the sentinel ended like this, or would have.
    /// Returns whether it is everywhere where it must be.
    pub(super) async fn deliver(&self, period: WatchedPeriod, outcome: Outcome) -> bool {
        let unwritten = self.with_unwritten(period);
        self.write(unwritten, Some(outcome)).await
    }

    /// Returns when a report that could not be written is to be tried again. It may be dropped
    /// before that.
    pub(super) async fn retry_due(&self) {
        let retry = self.unwritten.borrow().as_ref().map(|unwritten| unwritten.retry);
        match retry {
            Some(retry) => sleep_until(retry).await,
            None => pending().await,
        }
    }

    /// Tries again to write the report that could not be written.
    pub(super) async fn retry(&self) {
        let unwritten = self.unwritten.take();
        if let Some(unwritten) = unwritten {
            self.write(unwritten, None).await;
        }
    }

    /// A period, with the one before it if that has no report, and with what happened besides.
    fn with_unwritten(&self, period: WatchedPeriod) -> UnwrittenPeriod {
        let (mut timeline, period) = match self.unwritten.take() {
            Some(earlier) => (earlier.timeline, period.with_earlier(earlier.period)),
            None => (Vec::new(), period),
        };
        let moments = self.command.notify.timeline.take_moments().into_iter();
        timeline.extend(
            moments.map(|moment| ReportedMoment { at: moment.at, what: moment.what.to_string() }),
        );
        UnwrittenPeriod { period, timeline, retry: Instant::now() }
    }

    /// Writes and delivers a report. Without an outcome, it is that of a sentinel that would end
    /// now. What cannot be written is kept for the next report.
    async fn write(&self, of: UnwrittenPeriod, outcome: Option<Outcome>) -> bool {
        let unseen = of.period.places.values().any(|sight| !sight.lost.is_empty());
        let outcome = outcome.unwrap_or_else(|| judged_outcome(&of.period.clusters, unseen));
        let settings = self.command.settings;
        let end = (outcome, outcome.exit_code(&settings.exit_codes));
        let cut = signals::wait_for_stop_deadline(settings.stop_timeout);
        let written = self.reports.write(self.period(&of), end, cut).await;
        let delivery = &self.command.delivery;
        delivery.undelivered.store(self.reports.undelivered(), Ordering::Relaxed);
        let mut reason = Reason::new("the sentinel's report is not everywhere where it must be");
        let troubles = match written {
            Ok(WrittenReport { report, troubles }) => {
                delivery.unwritten.store(0, Ordering::Relaxed);
                self.sequence.set(report.sequence);
                self.measure();
                if troubles.is_empty() {
                    let (number, clusters) = (report.sequence, report.counts.clusters.total());
                    let line = format!("report {number} is written; clusters: {clusters}");
                    self.command.report.say(line);
                    return true;
                }
                troubles
            }
            Err(error) => {
                delivery.unwritten.fetch_add(1, Ordering::Relaxed);
                let is_last = of.period.cause == PeriodEnd::End;
                let retry = Instant::now() + self.command.options.interval * RETRY_INTERVALS;
                self.unwritten.replace(Some(UnwrittenPeriod { retry, ..of }));
                reason = reason.detail(if is_last {
                    "the first report of the next sentinel has what this one was to have"
                } else {
                    "it is tried again; the next report has what this one was to have"
                });
                vec![error.to_string()]
            }
        };
        let reason = reason
            .detail(format!("reports that wait to be delivered: {}", self.reports.undelivered()))
            .fix("emr-etl-guard sentinel --once    # sends what waits, once the cause is gone");
        let troubles = troubles.into_iter().map(Printable::from);
        self.command.report.trouble(Outcome::Undelivered, &[troubles.fold(reason, Reason::detail)]);
        false
    }

    /// Counts what the reports take on the disk, and says once that it is much.
    fn measure(&self) {
        let bytes = self.reports.stored_bytes();
        self.command.delivery.stored_bytes.store(bytes, Ordering::Relaxed);
        if bytes >= LARGE
            && let Some(folder) = self.reports.kept_for_ever()
            && !self.is_size_told.replace(true)
        {
            self.command.report.warning(format!(
                "the sentinel's state takes {} MiB, and nothing removes old reports in {folder}: \
                 move those of past quarters elsewhere, or set `evidence_keep` or `evidence_days`",
                bytes / (1024 * 1024)
            ));
        }
    }

    /// What the report tells of.
    fn period(&self, of: &UnwrittenPeriod) -> SentinelPeriod {
        let WatchedPeriod { began, ended, cause, places, clusters, emr_calls, throttled } =
            of.period.clone();
        let places = places.into_iter().map(|(place, sight)| {
            let PlaceSight { last_list, lost } = sight;
            let unseen = lost.into_iter().map(|lost| unseen_time(lost, last_list)).collect();
            ((place.account, place.region), (last_list, unseen))
        });
        SentinelPeriod {
            sentinel: self.sentinel.clone(),
            sequence: self.sequence.get() + 1,
            started: began,
            ended,
            cause: match cause {
                PeriodEnd::Termination => ReportCause::Termination,
                PeriodEnd::Schedule => ReportCause::Schedule,
                PeriodEnd::End => ReportCause::End,
            },
            once: self.command.once,
            principal: self.principal.clone(),
            settings: self.settings(),
            places: places.collect(),
            clusters,
            emr_calls,
            throttled,
            timeline: of.timeline.clone(),
            connections: self.aws.connections(),
        }
    }

    fn settings(&self) -> SentinelSettingsInForce {
        let SentinelCommand { settings, options, .. } = self.command;
        SentinelSettingsInForce {
            file: settings.file.as_ref().map(|file| file.path.display().to_string()),
            sha256: settings_digest(settings),
            rules: options.rules.rules.iter().map(|rule| rule_in_force(rule, options)).collect(),
            policy: options.policy.clone(),
            on_unsafe: consequence(options.rules.otherwise),
            terminations_per_hour: options.terminations_per_hour,
        }
    }
}

/// A time at which a place was not seen. What was created meanwhile is listed once it is seen
/// again.
fn unseen_time(lost: LostSight, last_list: Option<OffsetDateTime>) -> UnseenTime {
    let LostSight { from, until, why, is_relisted } = lost;
    let is_listed = until.is_some() && last_list.is_some_and(|at| Some(at) >= until);
    let listed_afterwards = is_listed && is_relisted;
    UnseenTime { from, until, why, listed_afterwards }
}

fn consequence(on_unsafe: OnUnsafe) -> UnsafeConsequence {
    match on_unsafe {
        OnUnsafe::Alert => UnsafeConsequence::Alert,
        OnUnsafe::Terminate => UnsafeConsequence::Terminate,
    }
}

/// A rule, with the policy's requirements where it has none.
fn rule_in_force(rule: &SentinelRule, options: &SentinelOptions) -> RuleInForce {
    let require = rule.require.as_ref().unwrap_or(&options.policy.require);
    let expected_keys = rule.expected_keys.as_ref().unwrap_or(&options.policy.expected_keys);
    RuleInForce {
        name: rule.name.as_str().to_owned(),
        conditions: conditions(&rule.matches),
        require: require.iter().map(|protection| protection.name().to_owned()).collect(),
        expected_keys: expected_keys.clone(),
        on_unsafe: consequence(rule.on_unsafe.unwrap_or_default()),
    }
}

/// The conditions of a rule, in words.
fn conditions(matches: &RuleMatch) -> Vec<String> {
    let RuleMatch { name, tags, accounts, roles, subnet } = matches;
    let one_of = |what: &str, names: Vec<&str>| {
        (!names.is_empty()).then(|| format!("{what} {}", names.join(" or ")))
    };
    let name = name.iter().map(|name| format!("name {name}"));
    let tags = tags.iter().map(|(key, value)| format!("tag {key}={value}"));
    let lists = [
        one_of("account", accounts.iter().map(AccountId::as_str).collect()),
        one_of("role", roles.iter().map(RoleName::as_str).collect()),
        one_of("subnet", subnet.iter().map(SubnetId::as_str).collect()),
    ];
    name.chain(tags).chain(lists.into_iter().flatten()).collect()
}
