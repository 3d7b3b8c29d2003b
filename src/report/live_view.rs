//! The live view on a terminal: the run's clusters while they are watched, and the objects that it
//! wrote while they are looked up. It only displays.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    settings::report_options::ReportOptions, system::screen, watch::records::ClusterSummary,
};

/// The refresh interval.
const PACE: Duration = Duration::from_millis(250);
/// The number of clusters with a row of their own.
const ROWS: usize = 8;

/// The progress of looking up objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SurveyedObjects {
    pub(crate) looked_at: u64,
    /// The number of objects to look up, of those listed so far.
    pub(crate) listed: u64,
    /// How long that took.
    pub(crate) took: Duration,
}

impl SurveyedObjects {
    /// A bar, the count, and the rate.
    fn line(self) -> String {
        const WIDTH: u64 = 30;
        let full = (self.looked_at * WIDTH).checked_div(self.listed).unwrap_or_default().min(WIDTH);
        let count = |number: u64| usize::try_from(number).unwrap_or_default();
        let bar = format!("{}{}", "=".repeat(count(full)), " ".repeat(count(WIDTH - full)));
        let rate = u128::from(self.looked_at) * 1000 / self.took.as_millis().max(1);
        format!("  [{bar}] {} of {} objects listed so far, {rate}/s", self.looked_at, self.listed)
    }
}

/// The content that is shown.
#[derive(Debug)]
enum Phase {
    Waiting,
    Clusters(watch::Receiver<Vec<ClusterSummary>>),
    Objects(watch::Receiver<SurveyedObjects>),
}

/// A live view; it is shown as long as this value exists.
#[derive(Debug)]
pub(crate) struct Live {
    phase: Arc<Mutex<Phase>>,
    /// Dropped to end the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Takes the terminal for a view of `what`, if there is one and the settings allow it.
    pub(crate) fn open(options: &ReportOptions, what: String) -> Option<Self> {
        if !options.progress || options.quiet || !screen::take() {
            return None;
        }
        let phase = Arc::new(Mutex::new(Phase::Waiting));
        let (stop, stopped) = mpsc::channel();
        let shown = Arc::clone(&phase);
        let thread = std::thread::Builder::new()
            .name("live-view".to_owned())
            .spawn(move || run(&what, &shown, &stopped))
            .ok();
        Some(Self { phase, stop: Some(stop), thread })
    }

    /// Shows the observed clusters.
    pub(crate) fn clusters(&self, seen: watch::Receiver<Vec<ClusterSummary>>) {
        self.turn(Phase::Clusters(seen));
    }

    /// Shows how many objects were looked up.
    pub(crate) fn objects(&self, looked: watch::Receiver<SurveyedObjects>) {
        self.turn(Phase::Objects(looked));
    }

    fn turn(&self, to: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        screen::release();
    }
}

fn run(what: &str, phase: &Mutex<Phase>, stopped: &mpsc::Receiver<()>) {
    let began = Instant::now();
    loop {
        let rows =
            rows(what, began.elapsed(), &phase.lock().unwrap_or_else(PoisonError::into_inner));
        screen::show(&rows);
        match stopped.recv_timeout(PACE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn rows(what: &str, since: Duration, phase: &Phase) -> Vec<String> {
    let seconds = since.as_secs();
    let clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let head = |now: &str| format!("emr-etl-guard {clock}  {what}: {now}");
    match phase {
        Phase::Waiting => vec![head("starting the runner")],
        Phase::Clusters(seen) => {
            let seen = seen.borrow();
            let mut rows = vec![match seen.len() {
                0 => head("no cluster yet"),
                1 => head("watching 1 cluster"),
                several => head(&format!("watching {several} clusters")),
            }];
            // The latest clusters matter most, and unsafe ones always.
            let (worst, rest): (Vec<&ClusterSummary>, Vec<&ClusterSummary>) =
                seen.iter().partition(|glance| glance.is_unsafe);
            let all: Vec<&ClusterSummary> =
                worst.into_iter().chain(rest.into_iter().rev()).collect();
            rows.extend(all.iter().take(ROWS).map(|glance| glance.line()));
            if all.len() > ROWS {
                rows.push(format!("  and {} more", all.len() - ROWS));
            }
            rows
        }
        Phase::Objects(looked) => vec![head("looking at what was written"), looked.borrow().line()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(phase: &Phase) -> String {
        let rows = rows("run 0190", Duration::from_secs(3725), phase);
        rows.join("\n") + "\n"
    }

    fn glance(id: &str) -> ClusterSummary {
        ClusterSummary {
            id: id.to_owned(),
            state: Some("RUNNING".to_owned()),
            steps: Some((3, 13)),
            passed: 8,
            required: 9,
            ..ClusterSummary::default()
        }
    }

    #[test]
    fn each_cluster_has_a_line_that_says_where_it_is_what_is_proved_and_what_is_awaited() {
        let (clusters, seen) = watch::channel(Vec::new());
        let phase = Phase::Clusters(seen);
        let mut said = text(&phase);
        clusters.send_replace(vec![
            ClusterSummary { id: "j-1".to_owned(), ..ClusterSummary::default() },
            ClusterSummary { awaited: vec!["cluster-volumes"], ..glance("j-2") },
            ClusterSummary {
                is_unsafe: true,
                failed: vec!["cluster-roles", "cluster-ami"],
                ..glance("j-3")
            },
            ClusterSummary { is_unsafe: true, end: Some("its end is confirmed"), ..glance("j-4") },
        ]);
        said += &text(&phase);
        clusters.send_replace((0..10).map(|number| glance(&format!("j-{number}"))).collect());
        said += &text(&phase);
        let (_looked, seen) = watch::channel(SurveyedObjects {
            looked_at: 120,
            listed: 300,
            took: Duration::from_millis(1500),
        });
        said += &text(&Phase::Objects(seen));
        insta::assert_snapshot!(said);
    }
}
