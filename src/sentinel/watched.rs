//! A cluster that is watched: what is known of it, and its record for reports.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::{
    base::names::ClusterId,
    checks::finding::{Finding, Status},
    facts::emr::{ClusterFacts, ClusterListing},
    sentinel::{
        judge::{ClusterKnowledge, JudgedCluster, open_findings},
        places::AccountRegion,
        record::{
            Launcher, OpenFinding, SentinelAct, SentinelActKind, SentinelCluster, SentinelVerdict,
        },
    },
    spec::cluster_spec::RUN_TAG,
    watch::machine::{account::event::AccountVerdict, event::Judgement},
};

/// A cluster that is watched.
#[derive(Clone, Debug)]
pub(crate) struct WatchedCluster {
    /// What is known of it.
    pub(crate) knowledge: ClusterKnowledge,
    /// The record of it.
    pub(crate) record: SentinelCluster,
    /// What applies to it says that it is terminated if it is unsafe.
    pub(crate) may_end: bool,
    /// The watcher watches it. Others are only looked at to find out what they are.
    pub(crate) is_found: bool,
    /// This sentinel has judged it; its verdict may be from an earlier one before.
    is_judged: bool,
    /// The verdicts under which it was counted since the start.
    counted: BTreeSet<SentinelVerdict>,
}

impl WatchedCluster {
    /// A cluster of which only its id is known.
    pub(crate) fn new(place: &AccountRegion, id: &ClusterId, now: OffsetDateTime) -> Self {
        let record = SentinelCluster {
            id: id.clone(),
            account: place.account.clone(),
            region: place.region.clone(),
            name: String::new(),
            created: now,
            first_seen: now,
            last_seen: now,
            state: String::new(),
            release: None,
            security_configuration: None,
            launcher: None,
            run: None,
            rule: None,
            verdict: SentinelVerdict::Unjudged,
            judged: None,
            open: Vec::new(),
            acts: Vec::new(),
        };
        Self { is_found: false, ..Self::from_record(record) }
    }

    /// A cluster that an earlier sentinel has recorded: the watcher watches it from the start.
    pub(crate) fn from_record(record: SentinelCluster) -> Self {
        Self {
            knowledge: ClusterKnowledge::default(),
            record,
            may_end: false,
            is_found: true,
            is_judged: false,
            counted: BTreeSet::new(),
        }
    }

    /// Its verdict, once this sentinel has decided about it.
    pub(crate) fn decided(&self) -> Option<SentinelVerdict> {
        let verdict = Some(self.record.verdict);
        verdict.filter(|verdict| self.is_judged && *verdict != SentinelVerdict::Unjudged)
    }

    /// Counts it under a verdict. Returns whether it is watched, and counts there for the first
    /// time since the start.
    pub(crate) fn count(&mut self, verdict: SentinelVerdict) -> bool {
        self.is_found && self.counted.insert(verdict)
    }

    /// A list showed it.
    pub(crate) fn listed(&mut self, listing: &ClusterListing, now: OffsetDateTime) {
        let record = &mut self.record;
        record.name.clone_from(&listing.name);
        record.created = listing.status.created;
        record.state = listing.status.state.to_string();
        record.last_seen = now;
    }

    /// It was described.
    pub(crate) fn described(&mut self, now: OffsetDateTime) {
        let Some(facts) = self.knowledge.facts() else { return };
        let record = &mut self.record;
        let ClusterFacts { name, status, release, security_configuration, tags, .. } = facts;
        record.name.clone_from(name);
        record.created = status.created;
        record.state = status.state.to_string();
        record.release.clone_from(release);
        record.security_configuration.clone_from(security_configuration);
        record.run = tags.get(RUN_TAG).cloned();
        record.last_seen = now;
    }

    /// CloudTrail showed who launched it. The first record of its launch counts.
    pub(crate) fn launched_by(&mut self, launcher: Launcher) {
        self.record.launcher.get_or_insert(launcher);
    }

    /// Stores a judgement. The findings on an unsafe cluster stay once it ends, since not all facts
    /// can be read again then.
    pub(crate) fn judged(&mut self, judged: &JudgedCluster, now: OffsetDateTime) {
        let Some(applied) = &judged.applied else { return };
        self.is_judged = true;
        let record = &mut self.record;
        record.rule.clone_from(&applied.rule);
        let ends = matches!(
            record.state.as_str(),
            "TERMINATING" | "TERMINATED" | "TERMINATED_WITH_ERRORS"
        );
        if record.verdict == SentinelVerdict::Unsafe && ends {
            return;
        }
        let open = open_findings(&judged.findings);
        record.open = open.iter().map(|finding| open_finding(finding)).collect();
        record.verdict = verdict(judged.judgement, &judged.findings);
        if record.verdict != SentinelVerdict::Unjudged {
            record.judged.get_or_insert(now);
        }
    }

    /// Adds something that the sentinel did.
    pub(crate) fn did(&mut self, what: SentinelActKind, detail: &str, now: OffsetDateTime) {
        self.record.acts.push(SentinelAct { at: now, what, detail: detail.to_owned() });
    }

    /// The final verdict.
    pub(crate) fn conclude(&mut self, verdict: AccountVerdict) {
        let has_exception =
            self.record.open.iter().any(|finding| finding.status == status_name(Status::Excepted));
        self.record.verdict = match verdict {
            AccountVerdict::Unsafe => SentinelVerdict::Unsafe,
            AccountVerdict::Unjudged => SentinelVerdict::Unjudged,
            AccountVerdict::Passed if has_exception => SentinelVerdict::Excepted,
            AccountVerdict::Passed => SentinelVerdict::Passed,
        };
    }
}

/// The verdict of a judgement.
fn verdict(judgement: Judgement, findings: &[Finding]) -> SentinelVerdict {
    if judgement.failed {
        SentinelVerdict::Unsafe
    } else if !judgement.passed() {
        SentinelVerdict::Unjudged
    } else if findings.iter().any(|finding| finding.status == Status::Excepted) {
        SentinelVerdict::Excepted
    } else {
        SentinelVerdict::Passed
    }
}

fn open_finding(finding: &Finding) -> OpenFinding {
    OpenFinding {
        check: finding.check.name.to_owned(),
        subject: finding.subject.to_string(),
        status: status_name(finding.status).to_owned(),
        seen: finding.saw.to_string(),
        expected: finding.wanted.to_string(),
    }
}

/// The name of a status in records.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::Passed => "passed",
        Status::Failed => "failed",
        Status::Unknown => "unknown",
        Status::NotApplicable => "not-applicable",
        Status::Excepted => "excepted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_counts_once_under_each_verdict_that_it_has_had_since_the_start() {
        let place = AccountRegion { account: "1".to_owned(), region: "eu-west-1".to_owned() };
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut cluster = WatchedCluster::new(&place, &"j-1".parse().unwrap(), now);
        cluster.record.verdict = SentinelVerdict::Passed;
        assert_eq!(cluster.decided(), None, "an earlier sentinel has judged it");
        assert!(!cluster.count(SentinelVerdict::Passed), "it is not watched");
        cluster.is_found = true;
        cluster.is_judged = true;
        assert_eq!(cluster.decided(), Some(SentinelVerdict::Passed));
        let verdicts = [
            SentinelVerdict::Passed,
            SentinelVerdict::Unsafe,
            SentinelVerdict::Passed,
            SentinelVerdict::Unsafe,
            SentinelVerdict::Unjudged,
        ];
        assert_eq!(
            verdicts.map(|verdict| cluster.count(verdict)),
            [true, true, false, false, true]
        );
    }
}
