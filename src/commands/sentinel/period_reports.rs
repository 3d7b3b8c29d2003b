//! The reports of the sentinel: each period becomes one, which is chained to the one before, signed
//! and delivered.

use std::{cell::Cell, sync::atomic::Ordering};

use time::OffsetDateTime;

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
    /// The identity of the sentinel's own credentials, if STS names it.
    principal: Option<String>,
    /// The clients by these credentials.
    aws: Aws,
}

impl<'a> PeriodReports<'a> {
    /// The reports of a sentinel that starts now.
    pub(super) fn new(
        reports: SentinelReports<'a>,
        command: &'a SentinelCommand<'a>,
        principal: Option<String>,
        aws: Aws,
    ) -> Self {
        let sentinel = uuid::Uuid::now_v7().to_string();
        Self { reports, command, sentinel, sequence: Cell::new(0), principal, aws }
    }

    /// Delivers the report of a period of a sentinel that goes on.
    pub(super) async fn deliver_next(&self, period: WatchedPeriod) {
        let unseen = period.places.values().any(|sight| !sight.lost.is_empty());
        let outcome = judged_outcome(&period.clusters, unseen);
        self.deliver(period, outcome).await;
    }

    /// Delivers the report of a period at whose end the sentinel ended like this, or would have.
    /// Returns whether it is everywhere where it must be.
    pub(super) async fn deliver(&self, period: WatchedPeriod, outcome: Outcome) -> bool {
        let settings = self.command.settings;
        let end = (outcome, outcome.exit_code(&settings.exit_codes));
        let cut = signals::wait_for_stop_deadline(settings.stop_timeout);
        let written = self.reports.write(self.period(period), end, cut).await;
        self.command.undelivered.store(self.reports.undelivered(), Ordering::Relaxed);
        let troubles = match written {
            Ok(WrittenReport { report, troubles }) if troubles.is_empty() => {
                let (number, clusters) = (report.sequence, report.counts.clusters.total());
                self.command
                    .report
                    .say(format!("report {number} is written; clusters: {clusters}"));
                return true;
            }
            Ok(written) => written.troubles,
            Err(error) => vec![error.to_string()],
        };
        let reason = Reason::new("the sentinel's report is not everywhere where it must be")
            .detail(format!("reports that wait to be delivered: {}", self.reports.undelivered()))
            .fix("emr-etl-guard sentinel --once    # sends what waits, once the cause is gone");
        let troubles = troubles.into_iter().map(Printable::from);
        self.command.report.trouble(Outcome::Undelivered, &[troubles.fold(reason, Reason::detail)]);
        false
    }

    /// What the report tells of.
    fn period(&self, period: WatchedPeriod) -> SentinelPeriod {
        let WatchedPeriod { began, ended, cause, places, clusters, emr_calls, throttled } = period;
        self.sequence.set(self.sequence.get() + 1);
        let places = places.into_iter().map(|(place, sight)| {
            let PlaceSight { last_list, lost } = sight;
            let unseen = lost.into_iter().map(|lost| unseen_time(lost, last_list)).collect();
            ((place.account, place.region), (last_list, unseen))
        });
        let moments = self.command.notify.timeline.take_moments().into_iter();
        SentinelPeriod {
            sentinel: self.sentinel.clone(),
            sequence: self.sequence.get(),
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
            timeline: moments
                .map(|moment| ReportedMoment { at: moment.at, what: moment.what.to_string() })
                .collect(),
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
    let LostSight { from, until, why } = lost;
    let listed_afterwards = until.is_some() && last_list.is_some_and(|at| Some(at) >= until);
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
