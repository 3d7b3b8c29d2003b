//! The decisions of one history, all drawn before it begins. What is left to chance while it goes
//! on is only how long each answer takes; so that a history becomes simpler by taking decisions
//! away.

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
    /// What decides the length of each answer.
    pub noise: u64,
    /// The guard's settings.
    pub settings: Settings,
    /// The runner; none: a person watches clusters of others by their names.
    pub runner: Option<Runner>,
    /// What the runner leaves behind.
    pub survivor: Option<Survivor>,
    /// Clusters of others.
    pub others: Vec<Other>,
    /// What goes wrong at AWS.
    pub faults: Vec<Fault>,
    /// What happens to each guard, one after the other; those that follow are left in peace.
    pub lives: Vec<GuardLife>,
    /// Lines of the log that name clusters which are not the runner's.
    pub forged: Vec<Forged>,
    /// After so long a person ends by hand what the guard asks for.
    pub person: Option<Ms>,
    /// EMR's events reach the guard.
    pub pushes: bool,
}

/// The guard's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What may be ended.
    pub rules: Rules,
    /// `stop_timeout`.
    pub stop: Ms,
    /// Encrypted volumes are required.
    pub volumes: bool,
    /// A watch on named clusters is over once they are idle.
    pub until_idle: bool,
}

/// What is wrong with a cluster.
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
    /// The same of instances that are added while it works.
    AddedVolumes,
}

/// How a cluster lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Traits {
    /// STARTING takes so long.
    pub starting: Ms,
    /// BOOTSTRAPPING takes so long.
    pub bootstrapping: Ms,
    /// And fails.
    pub bootstrap_fails: bool,
    /// Its steps take so long each.
    pub steps: Vec<Ms>,
    /// This step fails, and the cluster with it.
    pub failing_step: Option<usize>,
    /// TERMINATING takes so long.
    pub terminating: Ms,
    /// Its instances show so long after STARTING is over.
    pub instances: Ms,
    /// What is wrong with it.
    pub defect: Option<Defect>,
    /// DescribeCluster masks a value of its configuration, for good: whether that is what was
    /// verified nobody can tell.
    pub masked: bool,
    /// It has termination protection.
    pub protected: bool,
    /// Somebody sets it once again when it was lifted.
    pub protected_again: bool,
    /// ListClusters shows it so late, and every change of its state.
    pub list_lag: Ms,
    /// It stays when its steps are done.
    pub stays: bool,
}

/// One RunJobFlow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The cluster comes into being so long after the request was sent; never: none.
    pub effect: Option<Ms>,
    /// What the runner hears.
    pub answer: RequestAnswer,
    /// It bears the run's tag.
    pub tagged: bool,
    /// It is what this runner would request.
    pub matches: bool,
    /// The cluster.
    pub traits: Traits,
}

/// What the runner hears of RunJobFlow.
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
    /// It uses a cluster that stays: one that waits, or a new one.
    pub persistent: bool,
    /// It starts so long until it does something.
    pub start: Ms,
    /// It ends then, without a request.
    pub nothing: Option<RunnerEnd>,
    /// Its requests: the next is sent when the last one was not answered, or its cluster failed to
    /// bootstrap.
    pub requests: Vec<Request>,
    /// The pause after a failed bootstrap.
    pub retry: Ms,
    /// Steps that it puts on a cluster that waits take so long each.
    pub steps: Vec<Ms>,
    /// One of these is not what was verified.
    pub bad_step: bool,
    /// Its log names the clusters.
    pub debug_log: bool,
    /// It ends then, whatever it does.
    pub crash: Option<(Ms, RunnerEnd)>,
    /// It says that it has succeeded as soon as it has a cluster.
    pub false_success: bool,
    /// It ends so long after it was asked to; none: it does not.
    pub on_ask: Option<Ms>,
    /// It looks at its cluster so often.
    pub poll: Ms,
    /// Its lines take so long to the guard.
    pub log: Ms,
    /// Its output ends so long after it.
    pub output: Ms,
}

/// A process that the runner has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// It holds the runner's output open.
    pub holds_output: bool,
    /// It launches a cluster so long after the runner's end.
    pub launch: Option<(Ms, Request)>,
    /// It ends by itself so long after the runner's end.
    pub ends: Ms,
    /// It takes so long to die when it is killed.
    pub dies_within: Ms,
}

/// A cluster of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Other {
    /// It comes into being then; before 0: it is there before the launch.
    pub at: Ms,
    /// It has the name of the run's clusters.
    pub job_name: bool,
    /// It has the tag of another run.
    pub tagged: bool,
    /// It is requested like this run's.
    pub matches: bool,
    /// A person names it to `watch`.
    pub named: bool,
    /// The cluster.
    pub traits: Traits,
}

/// Lines of the log that name clusters which are not the runner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged {
    /// When.
    pub at: Ms,
    /// So many lines.
    pub lines: u32,
    /// They name this cluster of others; none: clusters that do not exist.
    pub other: Option<usize>,
}

/// What happens to one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardLife {
    /// How it ends before its time.
    pub crash: Option<Crash>,
    /// It is told to stop then, counted from its start.
    pub stops: Vec<Ms>,
    /// The machine sleeps then, counted from the guard's start; for so long; and the guard's clock
    /// counts that time.
    pub sleep: Option<(Ms, Ms, bool)>,
    /// The next guard starts so long after the end of this one, where the run is open.
    pub next: Ms,
}

/// How a guard ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// When.
    pub when: CrashTime,
    /// The whole machine goes down.
    pub power: bool,
}

/// When a guard ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashTime {
    /// So long after its start.
    After(Ms),
    /// Behind so many of its actions.
    Actions(u32),
}

impl Defect {
    /// It shows only while the cluster has instances.
    #[must_use]
    pub fn passes_away(self) -> bool {
        matches!(self, Self::Volumes | Self::AddedVolumes)
    }
}

impl GuardLife {
    /// A guard that is left in peace.
    pub const QUIET: Self = Self { crash: None, stops: Vec::new(), sleep: None, next: HOUR };
}
