//! Notifies others of a run, besides its terminal or log: alerts if it failed, and metrics in any
//! case. Collects their content while the run goes on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use crate::{
    base::{outcome::Outcome, printable::Printable},
    checks::{
        finding::{Finding, Level, Status},
        fix::CommandContext,
    },
    evidence::timeline::Timeline,
    report::{
        alerts::{
            Alerts,
            message::{AlertContext, AlertKind, Message},
        },
        metrics::{self, Measured, MetricCounts, send::Metrics},
        notice::Notice,
    },
    settings::{alert_channels::Channels, notify_options::NotifyOptions},
    system::{output, signals},
};

/// The notifications of one run. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Notify {
    options: Arc<NotifyOptions>,
    pub(crate) timeline: Timeline,
    alerts: Alerts,
    command: &'static str,
    /// The AWS profile that the guard itself was started with.
    profile: Option<String>,
    /// Whether the guard's own lines may be printed on standard output.
    may_say: bool,
    began: Instant,
    news: Arc<Mutex<News>>,
}

#[derive(Debug, Default)]
struct News {
    known: AlertContext,
    /// The paragraphs of standard error that explain the outcome.
    said: Vec<(Outcome, Notice)>,
    /// The fixes for findings on unsafe clusters.
    unsafe_fixes: Vec<Printable>,
    /// The outcome that was already sent as an alert.
    told: Option<Outcome>,
    counts: Option<MetricCounts>,
}

/// The fraction of a stop's time that is reserved for alerts.
const OF_A_STOP: u32 = 4;

/// The part of `stop_timeout` that is left besides alerts.
pub(crate) fn time_to_stop(stop_timeout: Duration, alerts: &Channels) -> Duration {
    if alerts.is_empty() { stop_timeout } else { stop_timeout / OF_A_STOP * (OF_A_STOP - 1) }
}

impl Notify {
    pub(crate) fn new(options: NotifyOptions, command: &'static str, may_say: bool) -> Self {
        let timeline = Timeline::default();
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let news = News {
            known: AlertContext {
                command,
                host: host.map(Printable::from),
                ..AlertContext::default()
            },
            ..News::default()
        };
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            profile: CommandContext::profile_of(options.aws.credentials, variable),
            alerts: Alerts::new(options.alerts.clone(), options.aws.clone(), timeline.clone()),
            options: Arc::new(options),
            timeline,
            command,
            may_say,
            began: Instant::now(),
            news: Arc::new(Mutex::new(news)),
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the context of the run.
    pub(crate) fn know(&self, tell: impl FnOnce(&mut AlertContext)) {
        tell(&mut self.news().known);
    }

    /// Stores a paragraph of standard error that explains the outcome.
    pub(crate) fn said(&self, outcome: Outcome, notice: Notice) {
        let said = &mut self.news().said;
        // Messages about a cluster from before its end are out of date now.
        if outcome == Outcome::UnsafeClusterAlive {
            said.retain(|(of, earlier)| {
                let is_told_anew = earlier.clusters.iter().all(|id| notice.clusters.contains(id));
                *of != outcome || earlier.clusters.is_empty() || !is_told_anew
            });
        }
        said.push((outcome, notice));
    }

    /// The values for commands about the run's clusters: their region, once it is known, and the
    /// guard's own profile.
    pub(crate) fn commands(&self) -> CommandContext {
        let region = self.news().known.region.clone().map(String::from).unwrap_or_default();
        CommandContext { profile: self.profile.clone(), ..CommandContext::in_region(&region) }
    }

    /// An unsafe cluster was found: sends an alert at once.
    pub(crate) fn unsafe_cluster(&self, notice: &Notice, findings: &[Finding]) {
        let fixes = fixes(findings);
        self.tell(AlertKind::Unsafe, std::slice::from_ref(notice), &fixes, None);
        self.news().unsafe_fixes.extend(fixes);
    }

    /// Something must be checked while the run goes on: sends an alert at once.
    pub(crate) fn alarm(&self, notice: &Notice) {
        self.tell(AlertKind::Unconfirmed, std::slice::from_ref(notice), &[], None);
    }

    /// Something must be known while the process goes on, in a place (account and region) if it is
    /// about one: sends an alert at once.
    pub(crate) fn at_once(&self, kind: AlertKind, notice: &Notice, place: Option<(&str, &str)>) {
        let mut known = self.news().known.clone();
        if let Some((account, region)) = place {
            known.account = Some(account.into());
            known.region = Some(region.into());
        }
        self.alerts.send(Message::new(kind, std::slice::from_ref(notice), &[], None, known));
    }

    /// Stores the counts for the metrics.
    pub(crate) fn counted(&self, counts: MetricCounts) {
        self.news().counts = Some(counts);
    }

    fn tell(
        &self,
        kind: AlertKind,
        notices: &[Notice],
        fixes: &[Printable],
        exit_code: Option<u8>,
    ) {
        // The other commands stop nothing, and their callers read the result.
        if !matches!(self.command, "run" | "watch" | "sentinel") {
            return;
        }
        let known = self.news().known.clone();
        self.alerts.send(Message::new(kind, notices, fixes, exit_code, known));
    }

    /// Sends an alert about the final outcome, if it needs one and none was sent yet, and waits
    /// until alerts are sent; after a stop they get the remaining time.
    pub(crate) async fn alert(&self, outcome: Outcome) {
        self.alert_of(outcome, outcome).await;
    }

    /// The same about `outcome`, for a run that ends with `end`.
    pub(crate) async fn alert_of(&self, outcome: Outcome, end: Outcome) {
        if let Some(kind) = AlertKind::of(outcome) {
            let news = {
                let mut news = self.news();
                let is_new = news.told.replace(outcome) != Some(outcome);
                // The reasons of this outcome come first; other problems stay included. Clusters
                // whose end is confirmed by now need no action.
                let holds = |of: Outcome| of == outcome || of != Outcome::UnsafeClusterAlive;
                let (first, rest): (Vec<_>, Vec<_>) = news
                    .said
                    .iter()
                    .filter(|(of, _)| holds(*of))
                    .cloned()
                    .partition(|(of, _)| *of == outcome);
                is_new.then(|| {
                    first.into_iter().chain(rest).map(|(_, notice)| notice).collect::<Vec<_>>()
                })
            };
            if let Some(said) = news {
                let of_clusters = if matches!(kind, AlertKind::UnsafeAlive | AlertKind::UnsafeOver)
                {
                    self.news().unsafe_fixes.clone()
                } else {
                    Vec::new()
                };
                let exit_code = end.exit_code(&self.options.exit_codes);
                self.tell(kind, &said, &of_clusters, Some(exit_code));
            }
        }
        self.alerts.settle(signals::wait_for_stop_deadline(self.options.stop_timeout)).await;
    }

    /// The end of the run: sends all notifications before the process exits.
    pub(crate) async fn conclude(&self, outcome: Outcome) {
        // Commands on existing objects are not runs, and must not overwrite a run's metrics.
        if matches!(self.command, "audit" | "reencrypt") {
            return;
        }
        tokio::join!(self.alert(outcome), self.measure(outcome));
    }

    /// Writes and sends the metrics. Errors do not affect the run.
    async fn measure(&self, outcome: Outcome) {
        let measured = Measured {
            command: self.command,
            exit_code: outcome.exit_code(&self.options.exit_codes),
            succeeded: outcome == Outcome::Ended(0),
            took: self.began.elapsed(),
            ended: OffsetDateTime::now_utc(),
            counts: self.news().counts.clone(),
        };
        let metrics = Metrics::new(self.options.metrics.clone(), &measured);
        let late =
            || Err(format!("not through after {}", humantime::format_duration(metrics::LIMIT)));
        let write =
            async { timeout(metrics::LIMIT, metrics.write()).await.unwrap_or_else(|_| late()) };
        let send = async {
            tokio::select! {
                biased;
                sent = timeout(metrics::LIMIT, metrics.send()) => sent.unwrap_or_else(|_| late()),
                () = signals::wait_for_stop_deadline(self.options.stop_timeout) => Err("OTLP: the \
                    guard had to stop".to_owned()),
            }
        };
        let told: [Result<(), String>; 2] = tokio::join!(write, send).into();
        let troubles = told.into_iter().filter_map(Result::err);
        for trouble in troubles {
            tracing::warn!(trouble, "metrics are not sent");
            // A good run prints nothing on standard error.
            if outcome != Outcome::Ended(0) {
                output::complain(&format!("metrics: {trouble}").into());
            } else if self.may_say {
                output::say(&format!("metrics: {trouble}").into());
            }
        }
    }
}

/// The fixes for the open ones of `findings`; if some failed, only theirs.
fn fixes(findings: &[Finding]) -> Vec<Printable> {
    let open = || {
        findings.iter().filter(|finding| {
            finding.is_open() && finding.level == Level::Required && finding.waits_for.is_none()
        })
    };
    let failed = open().any(|finding| finding.status == Status::Failed);
    let told = open().filter(|finding| !failed || finding.status == Status::Failed);
    told.filter_map(|finding| finding.fix.clone()).collect()
}
