//! Reports the events of the watch to people.

use crate::{
    base::{names::ClusterId, reason::Reason},
    checks::finding::Finding,
    report::reporter::Report,
    watch::events::WatchEvent,
};

impl WatchEvent {
    /// Reports what a person must know.
    pub(crate) fn tell(&self, report: &Report) {
        match self {
            Self::Unsafe(id, findings, ends) => report.unsafe_cluster(id, findings, *ends),
            Self::Help(id, is_unsafe, obstacle) => report.help_needed(id, *is_unsafe, obstacle),
            // The supervisor stops the runner.
            Self::Done | Self::StopRunner(_) => {}
            Self::Blind(why) => report.alarm(&[Reason::new(format!(
                "the run's clusters could not be searched for within the time limit (setting \
                 `judge_within`), so it is unknown whether one is unsafe; the runner is stopped: \
                 {why}"
            ))
            .fix(format!(
                "give the guard what is denied (`emr-etl-guard explain --permissions`), or look \
                 at the account's clusters yourself: aws emr list-clusters{} --active",
                report.commands().options("emr")
            ))]),
            Self::Unjudged(id, findings) => report.alarm(&[Reason::new(format!(
                "cluster {id} could not be judged within the time limit (setting `judge_within`), \
                 and goes on; the runner is stopped"
            ))
            .detail(Finding::open_in_brief(findings))
            .about(id)]),
            Self::SightLost(Some(id)) => report.alarm(&[Reason::new(format!(
                "cluster {id} was what was verified, but AWS no longer shows whether it still is; \
                 the run continues"
            ))
            .about(id)]),
            Self::SightLost(None) => report.alarm(&[Reason::new(
                "EMR does not list clusters any more, so that another cluster of the run would \
                 not be seen; the run goes on",
            )]),
            Self::Twice(ids) => {
                let ids: Vec<&str> = ids.iter().map(ClusterId::as_str).collect();
                report.warning(format!(
                    "{} clusters of this run ran the same steps ({}): a RunJobFlow whose answer \
                     was lost was sent again; look for events that were loaded twice",
                    ids.len(),
                    ids.join(", ")
                ));
            }
            Self::Warning(what) => report.say(what),
        }
    }
}
