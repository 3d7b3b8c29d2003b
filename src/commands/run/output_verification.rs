//! Verifies the output after a run's clusters have ended: the written objects, and the current
//! settings of their buckets. Terminates clusters if the policy requires it. Used for a run, for an
//! unfinished run, and for a watch on other clusters.

use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};

use crate::{
    aws::clients::Aws,
    base::{
        names::{ClusterId, S3Location},
        outcome::Outcome,
    },
    checks::{
        case::Case,
        fix::CommandContext,
        outputs,
        residual_risks::{self, ResidualRisk},
        stored::Standard,
        written as checks_written,
        written::OutputCheck,
    },
    commands::run::stop_time::Stop,
    evidence::journal::{Journal, JournalEntry},
    facts::{
        s3,
        written::{self, Logging, OutputLocation, OutputSurvey, WriteLocations},
    },
    report::{
        live_view::{Live, SurveyedObjects},
        reporter::Report,
    },
    settings::{
        policy::{OnUnencrypted, Policy},
        resolve::Settings,
    },
    spec::data_paths::DataLocation,
    watch::{
        confirm::{self, Confirmation},
        machine::{
            ownership::Ownership,
            termination::{self, EndReason},
        },
        records::{ClusterRecord, WatchResult},
        terminate::{self, ClusterTermination, TerminationResult},
    },
};

/// The subject and the requirements of the verification.
pub(crate) struct OutputVerification<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) settings: &'a Settings,
    /// The run's own policy, which may differ from the current settings.
    pub(crate) policy: &'a Policy,
    /// The values that complete the commands of fixes.
    pub(crate) commands: &'a CommandContext,
    pub(crate) report: &'a Report,
    pub(crate) writes: &'a WriteLocations,
    pub(crate) standard: &'a Standard,
    /// The positions of locations in the config, if there is one.
    pub(crate) locations: &'a [DataLocation],
    /// Objects older than this time, by S3's clock, are not the run's.
    pub(crate) since: Option<OffsetDateTime>,
    /// The input of the checks before the launch, for judging the buckets again; none if it is not
    /// known any more.
    pub(crate) before: Option<Case<'a>>,
    /// The display of progress.
    pub(crate) live: Option<&'a Live>,
}

/// The result.
pub(crate) struct OutputVerificationResult {
    pub(crate) confirmation: Confirmation,
    /// How the objects were to be verified.
    pub(crate) objects: OutputCheck,
    pub(crate) written: Vec<OutputSurvey>,
    /// The clusters that were terminated because of the written objects, and the results.
    pub(crate) ends: Vec<(ClusterId, TerminationResult)>,
    /// The remaining risks.
    pub(crate) residual_risks: Vec<ResidualRisk>,
    /// Whether nothing must be done about the run's clusters any more.
    pub(crate) is_closed: bool,
}

impl OutputVerification<'_> {
    /// Verifies the output, and adds the findings to `confirmation`. `stopped` returns stop signals
    /// that come meanwhile; `is_stopped`: whether there was one already.
    pub(crate) async fn confirm(
        &self,
        runner: Outcome,
        mut confirmation: Confirmation,
        watched: &WatchResult,
        journal: Option<&Journal>,
        (is_stopped, stopped): (bool, &mut impl AsyncFnMut() -> Stop),
    ) -> OutputVerificationResult {
        let objects = confirm::objects(runner, &confirmation, watched, self.policy, is_stopped);
        let mut findings = Vec::new();
        if let Some(before) = self
            .before
            .as_ref()
            .filter(|_| matches!(objects, OutputCheck::Look | OutputCheck::SwitchedOff))
        {
            let now = s3::fetch_write_defaults(&self.aws.s3, &outputs::buckets(before)).await;
            findings.extend(outputs::judge(before, &now));
        }
        let mut written = Vec::new();
        if objects == OutputCheck::Look {
            self.report.timeline.note("looking at what was written");
            let cut = async {
                tokio::select! {
                    () = tokio::time::sleep(self.settings.aws.confirm_timeout) => "the time limit \
                        was over (setting `confirm_timeout`)",
                    _ = stopped() => confirm::STOPPED,
                }
            };
            let (looked, seen) = tokio::sync::watch::channel(SurveyedObjects::default());
            if let Some(live) = self.live {
                live.objects(seen);
            }
            let began = Instant::now();
            let tell = |looked_at, listed| {
                looked.send_replace(SurveyedObjects { looked_at, listed, took: began.elapsed() });
            };
            written = written::look(
                self.aws,
                self.places(watched),
                self.since,
                self.policy.confirm_objects,
                tell,
                cut,
            )
            .await;
        }
        let of_objects = checks_written::judge(
            self.standard,
            (self.policy, self.commands),
            self.locations,
            objects,
            &written,
        );
        let unsafe_by_policy = self.policy.on_unencrypted == OnUnencrypted::Unsafe
            && confirm::wrote_unencrypted(&of_objects);
        findings.extend(of_objects);
        confirmation = confirmation.with_objects(runner, findings);
        let mut is_closed = watched.is_closed();
        let mut ends = Vec::new();
        if unsafe_by_policy {
            // If this guard dies before they have ended, the next one terminates them.
            if let Some(journal) = journal {
                journal.note(&JournalEntry::Stopped { terminate: true });
            }
            ends = self.end_all(watched, stopped).await;
            is_closed &= ends.iter().all(|(_, end)| *end == TerminationResult::Confirmed);
            confirmation = confirmation.by_policy_unsafe(&ends, self.commands);
        }
        OutputVerificationResult {
            confirmation,
            residual_risks: residual_risks::after_the_run(objects, &written).collect(),
            objects,
            written,
            ends,
            is_closed,
        }
    }

    /// The locations that the run has written to, by its clusters and their steps.
    fn places(&self, watched: &WatchResult) -> Vec<OutputLocation> {
        let steps = watched.clusters.iter().filter_map(|record| record.steps.found()).flatten();
        let named: Vec<S3Location> = steps.flat_map(|step| step.places.iter().cloned()).collect();
        let logging = |record: &ClusterRecord| {
            let log = record
                .cluster
                .found()
                .and_then(|cluster| S3Location::parse(cluster.log_location.as_deref()?).ok());
            Logging { id: record.id.clone(), log }
        };
        self.writes.places(&named, &watched.clusters.iter().map(logging).collect::<Vec<_>>())
    }

    /// Terminates the run's clusters that are still alive, and returns the results. If a stop comes
    /// meanwhile, it may take the remaining time of the stop.
    async fn end_all(
        &self,
        watched: &WatchResult,
        stopped: &mut impl AsyncFnMut() -> Stop,
    ) -> Vec<(ClusterId, TerminationResult)> {
        let living: Vec<(ClusterId, bool, Ownership)> =
            watched.clusters.iter().filter_map(ClusterRecord::living).collect();
        let rules = terminate::rules(self.settings.termination);
        let ends = join_all(living.iter().map(async |(id, protected, whose)| {
            let tell = |obstacle: &str| self.report.help_needed(id, true, obstacle);
            let ending = ClusterTermination {
                aws: self.aws,
                cluster: id,
                whose: *whose,
                protected: *protected,
                limits: self.settings.watch,
                timeline: &self.report.timeline,
            };
            let used = watched
                .record(id)
                .and_then(|record| record.steps.found())
                .is_some_and(|steps| !steps.is_empty());
            let decision = termination::decide(*whose, EndReason::Wrote, used, rules);
            let end = ending.follow(decision, &tell).await;
            (id.clone(), end)
        }));
        tokio::select! {
            ends = ends => ends,
            () = async { sleep_until(stopped().await.by).await } => {
                let end = TerminationResult::Unconfirmed("its termination was not followed to the \
                    end, because the guard was stopped".to_owned());
                living.into_iter().map(|(id, ..)| (id, end.clone())).collect()
            }
        }
    }
}
