//! What the sentinel tells people at once: paragraphs on standard error, which are alerts too, and
//! lines on standard output.

use std::time::Duration;

use crate::{
    base::{
        names::AccountId,
        outcome::Outcome,
        printable::{Printable, printable},
        reason::Reason,
    },
    checks::fix::CommandContext,
    report::{alerts::message::AlertKind, notice::Notice, terminal},
    sentinel::{
        driver::{SentinelNotice, UnsafeNotice},
        places::{AccountRegion, UnseenAccount},
        record::{OpenFinding, SentinelCluster, SentinelVerdict},
    },
    watch::terminate::manual_termination_commands,
};

/// The most findings of one cluster that are given in full.
const FINDINGS_TOLD: usize = 5;

/// A paragraph for standard error and for alerts.
#[derive(Clone, Debug)]
pub(crate) struct SentinelParagraph {
    /// The kind of its alert.
    pub(crate) kind: AlertKind,
    /// The outcome of a sentinel that judges once and finds nothing worse.
    pub(crate) outcome: Outcome,
    /// Its text.
    pub(crate) notice: Notice,
    /// The place that it is about; none: all of them.
    pub(crate) place: Option<AccountRegion>,
}

/// What the texts depend on besides the notices.
#[derive(Clone, Debug)]
pub(crate) struct NoticeContext {
    /// What completes commands, but for the region.
    pub(crate) commands: CommandContext,
    /// The time limit in which every cluster must be judged.
    pub(crate) judge_within: Duration,
    /// How many clusters may be terminated within an hour.
    pub(crate) terminations_per_hour: u32,
}

impl NoticeContext {
    /// The paragraph for a notice; none: people need not be notified at once.
    pub(crate) fn paragraph(&self, notice: &SentinelNotice) -> Option<SentinelParagraph> {
        use SentinelNotice as Told;
        Some(match notice {
            Told::Unsafe(told) if told.may_end => self.unsafe_ending(told),
            Told::Unsafe(told) => self.unsafe_alive(told),
            Told::Unjudged(told) => self.unjudged(told),
            Told::Limited(cluster) => self.limited(cluster),
            Told::Help(cluster, obstacle) => {
                let what = printable!("{} must be terminated by hand", subject(cluster));
                let reason = self.end_now(what, cluster).detail(obstacle.as_str());
                act_now(&reason, cluster)
            }
            Told::EndConfirmed(cluster) => {
                let what =
                    printable!("{} was terminated, and its end is confirmed", subject(cluster));
                let reason = Reason::new(what).about(&cluster.id);
                paragraph(AlertKind::UnsafeOver, Outcome::UnsafeClusterTerminated, &reason)
                    .about(cluster)
            }
            Told::EndUnconfirmed(cluster, why) => {
                let what = printable!("the end of {} is NOT confirmed", subject(cluster));
                act_now(&self.end_now(what, cluster).detail(why.as_str()), cluster)
            }
            Told::SightLost(place, why) => sight_lost(place, why),
            Told::RegionGone(place, clusters) => region_gone(place, *clusters),
            Told::RegionsUnknown(unseen) => regions_unknown(unseen),
            Told::LedgerFailed(error) => {
                let reason = Reason::new(error.to_string())
                    .detail("nothing is terminated until it can be written");
                paragraph(AlertKind::Unconfirmed, Outcome::Unconfirmed, &reason)
            }
            Told::Passed(_)
            | Told::Cleared(_)
            | Told::Ending(_)
            | Told::Over(_)
            | Told::SightBack(_)
            | Told::RegionsFound(..)
            | Told::QueueFailed(..)
            | Told::Period(_) => return None,
        })
    }

    /// An unsafe cluster that the sentinel only reports.
    fn unsafe_alive(&self, told: &UnsafeNotice) -> SentinelParagraph {
        let cluster = &told.cluster;
        let what = printable!(
            "{} is UNSAFE: {}; nothing terminates it",
            subject(cluster),
            open_checks(cluster)
        );
        act_now(&with_findings(self.end_now(what, cluster), cluster), cluster)
    }

    /// An unsafe cluster that will be terminated.
    fn unsafe_ending(&self, told: &UnsafeNotice) -> SentinelParagraph {
        let cluster = &told.cluster;
        let what = printable!(
            "{} is UNSAFE: {}; it will be looked at again, and terminated if that fails, too",
            subject(cluster),
            open_checks(cluster)
        );
        let reason = with_findings(Reason::new(what).about(&cluster.id), cluster);
        let reason = reason.detail(rule_in_words(cluster)).fix(self.ending_commands(cluster));
        paragraph(AlertKind::Unsafe, Outcome::UnsafeClusterTerminated, &reason).about(cluster)
    }

    fn unjudged(&self, told: &UnsafeNotice) -> SentinelParagraph {
        let cluster = &told.cluster;
        let what = printable!(
            "{} could not be judged within {}, and goes on",
            subject(cluster),
            humantime::format_duration(self.judge_within)
        );
        let reason = with_findings(Reason::new(what).about(&cluster.id), cluster);
        paragraph(AlertKind::Unconfirmed, Outcome::Unconfirmed, &reason).about(cluster)
    }

    fn limited(&self, cluster: &SentinelCluster) -> SentinelParagraph {
        let what = printable!(
            "{} is UNSAFE and is not terminated: {} were terminated within an hour, which is the \
             limit",
            subject(cluster),
            self.terminations_per_hour
        );
        act_now(&self.end_now(what, cluster), cluster)
    }

    /// A call to terminate a cluster by hand.
    fn end_now(&self, what: Printable, cluster: &SentinelCluster) -> Reason {
        Reason::new(what).end_now(self.ending_commands(cluster)).about(&cluster.id)
    }

    fn ending_commands(&self, cluster: &SentinelCluster) -> String {
        let region = &cluster.region;
        let commands = CommandContext {
            region: region.clone(),
            s3_region: region.clone(),
            ..self.commands.clone()
        };
        manual_termination_commands(&cluster.id, &commands)
    }
}

impl SentinelParagraph {
    fn about(self, cluster: &SentinelCluster) -> Self {
        let (account, region) = (cluster.account.clone(), cluster.region.clone());
        Self { place: Some(AccountRegion { account, region }), ..self }
    }
}

fn paragraph(kind: AlertKind, outcome: Outcome, reason: &Reason) -> SentinelParagraph {
    let notice = terminal::trouble(outcome, std::slice::from_ref(reason));
    SentinelParagraph { kind, outcome, notice, place: None }
}

fn act_now(reason: &Reason, cluster: &SentinelCluster) -> SentinelParagraph {
    paragraph(AlertKind::UnsafeAlive, Outcome::UnsafeClusterAlive, reason).about(cluster)
}

/// The paragraph about a place whose clusters are not known any more.
fn sight_lost(place: &AccountRegion, why: &str) -> SentinelParagraph {
    let what = printable!("the clusters in {} cannot be listed", place.in_words());
    let reason = Reason::new(what)
        .detail(why)
        .detail("the other places are watched; this one is tried again")
        .fix("allow elasticmapreduce:ListClusters there, or name only other regions in `sentinel`");
    SentinelParagraph {
        place: Some(place.clone()),
        ..paragraph(AlertKind::Unseen, Outcome::Unconfirmed, &reason)
    }
}

/// The paragraph about a region that cannot be used any more.
fn region_gone(place: &AccountRegion, clusters: usize) -> SentinelParagraph {
    let what =
        printable!("{} is not enabled any more, and not watched from now on", place.in_words());
    let reason = Reason::new(what)
        .detail(printable!("clusters that lived there when they were last seen: {clusters}"))
        .detail("what goes on there can be seen only once the region is enabled again")
        .fix("enable the region again, if clusters may live there");
    SentinelParagraph {
        place: Some(place.clone()),
        ..paragraph(AlertKind::Unseen, Outcome::Unconfirmed, &reason)
    }
}

/// The paragraph about an account that is watched, and whose regions may be others by now.
fn regions_unknown(unseen: &UnseenAccount) -> SentinelParagraph {
    let account = Printable::from(unseen.account.as_str());
    let what = printable!("it is unknown whether account {account} has other regions by now");
    let reason = Reason::new(what)
        .detail(unseen.why.clone())
        .detail("the regions that are known are watched; it is asked again")
        .fix("allow ec2:DescribeRegions there, or name its regions in the settings");
    paragraph(AlertKind::Unseen, Outcome::Unconfirmed, &reason)
}

/// The paragraph about own credentials that are of another account than expected.
pub(crate) fn other_account(other: &AccountId, expected: &AccountId) -> SentinelParagraph {
    let [other, expected] = [other, expected].map(|account| Printable::from(account.as_str()));
    let what = printable!(
        "the sentinel's credentials are of account {other} now, and those of account {expected} \
         are expected, as at its start"
    );
    let reason = Reason::new(what)
        .detail("nothing is asked of AWS and nothing is terminated with them")
        .fix(printable!("give it credentials of account {expected} again, or restart it"));
    paragraph(AlertKind::Unseen, Outcome::Unconfirmed, &reason)
}

/// A cluster with what identifies it.
pub(crate) fn subject(cluster: &SentinelCluster) -> Printable {
    let SentinelCluster { id, name, region, account, .. } = cluster;
    let [name, region, account] = [name, region, account].map(Printable::from);
    printable!("cluster {id} `{name}` ({region}, account {account})")
}

/// The open findings that explain a verdict: those that failed; without any, those that are
/// unknown.
fn explaining(cluster: &SentinelCluster) -> Vec<&OpenFinding> {
    let having = |status: &str| -> Vec<&OpenFinding> {
        cluster.open.iter().filter(|finding| finding.status == status).collect()
    };
    let failed = having("failed");
    if failed.is_empty() { having("unknown") } else { failed }
}

/// The names of their checks.
fn open_checks(cluster: &SentinelCluster) -> Printable {
    let mut names: Vec<&str> =
        explaining(cluster).into_iter().map(|finding| finding.check.as_str()).collect();
    names.dedup();
    printable!("{}", names.join(", "))
}

/// Adds what was seen and expected.
fn with_findings(reason: Reason, cluster: &SentinelCluster) -> Reason {
    let told = explaining(cluster);
    let in_brief = |finding: &&OpenFinding| {
        // The texts of findings are printable already.
        let OpenFinding { check, seen, expected, .. } = finding;
        printable!("{check}: seen {seen}, expected {expected}")
    };
    let reason = told.iter().take(FINDINGS_TOLD).map(in_brief).fold(reason, Reason::detail);
    match told.len().saturating_sub(FINDINGS_TOLD) {
        0 => reason,
        more => reason.detail(printable!("and {more} more; the report has them")),
    }
}

/// The rule that applies to a cluster.
fn rule_in_words(cluster: &SentinelCluster) -> Printable {
    match &cluster.rule {
        Some(rule) => printable!("by the rule `{}`", Printable::from(rule)),
        None => "by the setting `on_unsafe`".into(),
    }
}

/// The line on standard output for a notice that is no paragraph.
pub(crate) fn line(notice: &SentinelNotice) -> Option<Printable> {
    use SentinelNotice as Told;
    Some(match notice {
        Told::Passed(cluster) => printable!("{} is as required", subject(cluster)),
        Told::Cleared(cluster) => {
            printable!("{} shows no failed check any more", subject(cluster))
        }
        Told::Ending(cluster) => {
            printable!("terminating {}: {}", subject(cluster), rule_in_words(cluster))
        }
        Told::Over(cluster) => {
            printable!("{} is over: {}", subject(cluster), verdict_in_words(cluster.verdict))
        }
        Told::SightBack(place) => {
            printable!("the clusters in {} can be listed again", place.in_words())
        }
        Told::RegionsFound(account, places) => {
            let places: Vec<Printable> = places.iter().map(AccountRegion::in_words).collect();
            let account = Printable::from(account);
            if places.is_empty() {
                printable!("the regions of account {account} are known again")
            } else {
                printable!("watching {}, too", Printable::joined(&places, ", "))
            }
        }
        Told::Unsafe(_)
        | Told::Unjudged(_)
        | Told::Limited(_)
        | Told::Help(..)
        | Told::EndConfirmed(_)
        | Told::EndUnconfirmed(..)
        | Told::SightLost(..)
        | Told::RegionGone(..)
        | Told::RegionsUnknown(_)
        | Told::QueueFailed(..)
        | Told::LedgerFailed(_)
        | Told::Period(_) => return None,
    })
}

fn verdict_in_words(verdict: SentinelVerdict) -> &'static str {
    match verdict {
        SentinelVerdict::Unsafe => "it was UNSAFE",
        SentinelVerdict::Unjudged => "it could not be judged",
        SentinelVerdict::Excepted => "it was as required, with an exception",
        SentinelVerdict::Passed => "it was as required",
    }
}
