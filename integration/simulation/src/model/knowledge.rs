//! What a guard knows of one cluster from the answers so far, and what the checks say of it. This
//! stands in for the guard's own checks.

use crate::{
    model::cluster::Cluster,
    scenario::{Defect, Ms},
    watch::machine::{
        event::{AwsAnswer, Described, Judgement, Look, Work},
        state::State,
    },
};

/// The last answer to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seen<T> {
    /// It was never answered.
    #[default]
    Never,
    /// It failed; what an earlier answer told.
    Failed(Option<T>),
    /// It told this.
    Told(T),
}

impl<T: Clone> Seen<T> {
    fn take(&mut self, answer: Option<T>) {
        *self = match (answer, std::mem::take(self)) {
            (Some(told), _) => Self::Told(told),
            (None, Self::Told(told)) => Self::Failed(Some(told)),
            (None, Self::Failed(told)) => Self::Failed(told),
            (None, Self::Never) => Self::Failed(None),
        };
    }

    fn latest(&self) -> Option<T> {
        match self {
            Self::Told(told) | Self::Failed(Some(told)) => Some(told.clone()),
            Self::Never | Self::Failed(None) => None,
        }
    }

    fn is_told(&self) -> bool {
        matches!(self, Self::Told(_))
    }
}

/// What ListSteps told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepsTold {
    /// What became of them.
    pub work: Work,
    /// One is not what was verified.
    pub bad: bool,
    /// There are some of this run.
    pub of_run: bool,
}

/// What DescribeCluster shows of a cluster's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// It is not what was verified.
    pub bad: bool,
    /// A value of it is masked.
    pub masked: bool,
}

/// What one look told, part by part; the outer option: whether it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawLook {
    /// DescribeCluster: the cluster, and what it shows of it; none: there is none.
    pub describe: Option<Result<Option<(Described, Shown)>, String>>,
    /// ListSteps.
    pub steps: Option<Option<StepsTold>>,
    /// DescribeSecurityConfiguration: whether it is not what was verified.
    pub security: Option<Option<bool>>,
}

/// What one look at what is asked less often told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawDetails {
    /// ListBootstrapActions was asked, and answered.
    pub bootstrap: Option<bool>,
    /// ListInstanceGroups was asked, and answered.
    pub groups: Option<bool>,
    /// The volumes were asked for: none: not told; else whether there were any, and whether one is
    /// not encrypted.
    pub volumes: Option<Option<(bool, bool)>>,
}

/// What a guard knows of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Knowledge {
    described: Seen<Described>,
    /// What DescribeCluster shows.
    shown: Shown,
    security: Seen<bool>,
    steps: Seen<StepsTold>,
    bootstrap: bool,
    groups: bool,
    volumes_seen: bool,
    bad_volume: bool,
    volumes_failed: bool,
}

/// A cluster as DescribeCluster shows it.
#[must_use]
pub fn shown(cluster: &Cluster) -> Shown {
    Shown {
        bad: cluster.traits.defect == Some(Defect::NoSecurityConfiguration),
        masked: cluster.traits.masked,
    }
}

/// What ListSteps tells of it now.
#[must_use]
pub fn steps_told(cluster: &Cluster, now: Ms, adopted: bool) -> StepsTold {
    let shown = cluster.steps.iter().filter(|step| step.added <= now && (!adopted || step.of_run));
    let (mut bad, mut any) = (false, false);
    for step in shown {
        bad |= step.bad;
        any = true;
    }
    StepsTold { work: cluster.work(now, adopted), bad, of_run: any }
}

impl Knowledge {
    /// Its security configuration must be asked for.
    #[must_use]
    pub fn wants_security(&self) -> bool {
        !self.security.is_told()
    }

    /// Its bootstrap actions must be asked for.
    #[must_use]
    pub fn wants_bootstrap(&self) -> bool {
        !self.bootstrap
    }

    /// A list has told its state.
    pub fn listed(&mut self, state: State) {
        match &mut self.described {
            Seen::Told(described) | Seen::Failed(Some(described)) => described.state = state,
            Seen::Never | Seen::Failed(None) => {}
        }
    }

    /// Takes what a look told.
    pub fn look(&mut self, raw: RawLook, volumes_required: bool) -> Look {
        let mut absent = false;
        let mut failed = None;
        match raw.describe {
            Some(Ok(Some((described, shown)))) => {
                self.described.take(Some(described));
                self.shown = shown;
            }
            Some(Ok(None)) => absent = true,
            Some(Err(why)) => {
                self.described.take(None);
                failed = Some(why);
            }
            None => {}
        }
        let steps_told = matches!(raw.steps, Some(Some(_)));
        if let Some(steps) = raw.steps {
            self.steps.take(steps);
        }
        if let Some(security) = raw.security {
            self.security.take(security);
        }
        let described = match (absent, failed, &self.described) {
            (true, ..) => AwsAnswer::Absent,
            (_, Some(why), _) => AwsAnswer::Failed(why),
            (_, None, Seen::Told(described)) => {
                let mut described = described.clone();
                described.evidence.has_new_steps =
                    self.steps.latest().is_some_and(|steps| steps.of_run);
                AwsAnswer::Found(described)
            }
            (_, None, Seen::Never | Seen::Failed(_)) => {
                AwsAnswer::Failed("it could not be described".to_owned())
            }
        };
        Look { described, judgement: self.judge(volumes_required), steps_told }
    }

    /// Takes what a look at what is asked less often told.
    pub fn details(&mut self, raw: RawDetails, volumes_required: bool) -> Judgement {
        self.bootstrap |= raw.bootstrap == Some(true);
        self.groups |= raw.groups == Some(true);
        match raw.volumes {
            Some(Some((any, bad))) => {
                self.volumes_failed = false;
                self.volumes_seen |= any;
                self.bad_volume |= bad;
            }
            Some(None) => self.volumes_failed = true,
            None => {}
        }
        self.judge(volumes_required)
    }

    /// What the checks say.
    #[must_use]
    pub fn judge(&self, volumes_required: bool) -> Judgement {
        let steps = self.steps.latest();
        let unseen = volumes_required && !self.volumes_seen;
        Judgement {
            failed: self.shown.bad
                || self.security.latest() == Some(true)
                || steps.is_some_and(|steps| steps.bad)
                || (volumes_required && self.bad_volume),
            unknown: !self.described.is_told()
                || !self.security.is_told()
                || !self.steps.is_told()
                || !self.bootstrap
                || !self.groups
                || (volumes_required && self.volumes_failed),
            unseen,
            hidden: self.shown.masked,
            awaits_instances: unseen || (volumes_required && self.volumes_failed),
            details_known: self.bootstrap && self.groups,
            groups_known: self.groups,
            steps_known: self.steps.is_told(),
            work: steps.map(|steps| steps.work).unwrap_or_default(),
        }
    }
}
