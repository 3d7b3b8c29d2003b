//! The decisions of one history, all drawn before it starts. Only the latency of each response is
//! drawn while it runs, so that removing decisions makes a history simpler.

use crate::{
    model::faults::Fault,
    watch::machine::{event::RunnerEnd, plan::Rules},
};

/// Milliseconds of the simulated world; 0 is the launch of the run.
pub type Ms = i64;

/// One second.
pub const SECOND: Ms = 1_000;
/// One minute.
pub const MINUTE: Ms = 60 * SECOND;
/// One hour.
pub const HOUR: Ms = 60 * MINUTE;

/// All decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The seed for the latency of each response.
    pub noise: u64,
    /// The guard's settings.
    pub settings: Settings,
    /// The runner; none: a person watches clusters of others by their names.
    pub runner: Option<Runner>,
    /// The runner's orphaned process.
    pub survivor: Option<Survivor>,
    /// Clusters of others.
    pub others: Vec<Other>,
    /// The faults of AWS.
    pub faults: Vec<Fault>,
    /// The events of each guard, in order; later guards have none.
    pub lives: Vec<GuardLife>,
    /// Log lines with clusters that are not the runner's.
    pub forged: Vec<Forged>,
    /// After this time a person manually terminates what the guard asks for.
    pub person: Option<Ms>,
    /// EMR's events reach the guard.
    pub pushes: bool,
}

/// The guard's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which clusters may be terminated.
    pub rules: Rules,
    /// `stop_timeout`.
    pub stop: Ms,
    /// Encrypted volumes are required.
    pub volumes: bool,
    /// A watch on named clusters ends once they are idle.
    pub until_idle: bool,
}

/// A defect of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// It has no security configuration. DescribeCluster shows it.
    NoSecurityConfiguration,
    /// Its security configuration was replaced under its name. DescribeSecurityConfiguration shows
    /// it.
    Replaced,
    /// A step copies without the flag for encryption. ListSteps shows it.
    Step,
    /// Its volumes are not encrypted. They show it while it has instances.
    Volumes,
    /// The same for instances that are added while it works.
    AddedVolumes,
}

/// The properties of a cluster's life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Traits {
    /// The duration of STARTING.
    pub starting: Ms,
    /// The duration of BOOTSTRAPPING.
    pub bootstrapping: Ms,
    /// And fails.
    pub bootstrap_fails: bool,
    /// The duration of each of its steps.
    pub steps: Vec<Ms>,
    /// This step fails, and the cluster with it.
    pub failing_step: Option<usize>,
    /// The duration of TERMINATING.
    pub terminating: Ms,
    /// How long after STARTING its instances become visible.
    pub instances: Ms,
    /// What is wrong with it.
    pub defect: Option<Defect>,
    /// DescribeCluster permanently masks a value of its configuration, so it is unknown whether
    /// that is as verified.
    pub masked: bool,
    /// It has termination protection.
    pub protected: bool,
    /// Somebody sets it again after it was lifted.
    pub protected_again: bool,
    /// The delay with which ListClusters shows it, and every change of its state.
    pub list_lag: Ms,
    /// It is persistent: it stays when its steps are done.
    pub stays: bool,
}

/// One RunJobFlow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The time from the request until the cluster is created; none: never.
    pub effect: Option<Ms>,
    /// The response to the runner.
    pub answer: RequestAnswer,
    /// It has the run's tag.
    pub tagged: bool,
    /// It is the request that this runner would send.
    pub matches: bool,
    /// The cluster.
    pub traits: Traits,
}

/// The response to RunJobFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAnswer {
    /// The cluster's id, after this time.
    Id(Ms),
    /// A server error, after this time.
    ServerError(Ms),
    /// Nothing.
    Nothing,
}

/// The runner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Runner {
    /// It uses a persistent cluster: a WAITING one, or a new one.
    pub persistent: bool,
    /// Its start-up time.
    pub start: Ms,
    /// It ends then, without a request.
    pub nothing: Option<RunnerEnd>,
    /// Its requests: the next is sent when the last one got no response, or its cluster failed to
    /// bootstrap.
    pub requests: Vec<Request>,
    /// The pause after a failed bootstrap.
    pub retry: Ms,
    /// The durations of the steps that it adds to a WAITING cluster.
    pub steps: Vec<Ms>,
    /// One of these is not as verified.
    pub bad_step: bool,
    /// Its log names the clusters.
    pub debug_log: bool,
    /// It ends then, whatever it does.
    pub crash: Option<(Ms, RunnerEnd)>,
    /// It reports success as soon as it has a cluster.
    pub false_success: bool,
    /// The time until it ends after a request to stop; none: it does not.
    pub on_ask: Option<Ms>,
    /// Its poll interval.
    pub poll: Ms,
    /// The delay of its log lines.
    pub log: Ms,
    /// The time from its end until its output ends.
    pub output: Ms,
}

/// An orphaned process of the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// It holds the runner's output open.
    pub holds_output: bool,
    /// The time from the runner's end until it launches a cluster.
    pub launch: Option<(Ms, Request)>,
    /// The time from the runner's end until it ends by itself.
    pub ends: Ms,
    /// The time until it dies after a kill.
    pub dies_within: Ms,
}

/// A cluster of another launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Other {
    /// When it is created; before 0: it exists before the launch.
    pub at: Ms,
    /// It has the name of the run's clusters.
    pub job_name: bool,
    /// It has the tag of another run.
    pub tagged: bool,
    /// Its request is like this run's.
    pub matches: bool,
    /// It is named to `watch`.
    pub named: bool,
    /// The cluster.
    pub traits: Traits,
}

/// Log lines with clusters that are not the runner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged {
    /// When.
    pub at: Ms,
    /// So many lines.
    pub lines: u32,
    /// They name this cluster of others; none: clusters that do not exist.
    pub other: Option<usize>,
}

/// The events of one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardLife {
    /// How it ends early.
    pub crash: Option<Crash>,
    /// The requests to stop, counted from its start.
    pub stops: Vec<Ms>,
    /// A suspend of the machine: its start, counted from the guard's start; its duration; and
    /// whether the guard's clock counts that time.
    pub sleep: Option<(Ms, Ms, bool)>,
    /// The time from the end of this guard to the start of the next one, if the run is open.
    pub next: Ms,
}

/// How a guard ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// When.
    pub when: CrashTime,
    /// The whole machine goes down.
    pub power: bool,
}

/// When a guard ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashTime {
    /// So long after its start.
    After(Ms),
    /// After this number of its actions.
    Actions(u32),
}

impl Defect {
    /// Whether it is visible only while the cluster has instances.
    #[must_use]
    pub fn passes_away(self) -> bool {
        matches!(self, Self::Volumes | Self::AddedVolumes)
    }
}

impl GuardLife {
    /// A guard without events.
    pub const QUIET: Self = Self { crash: None, stops: Vec::new(), sleep: None, next: HOUR };
}
