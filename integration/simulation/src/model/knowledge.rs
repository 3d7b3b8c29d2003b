//! A guard's knowledge of one cluster from the responses so far, and the checks' result on it. This
//! replaces the guard's own checks.

use crate::{
    model::cluster::Cluster,
    scenario::{Defect, Ms},
    watch::machine::{
        event::{AwsAnswer, Described, Judgement, Look, Work},
        state::State,
    },
};

/// The last response to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seen<T> {
    /// There was no response.
    #[default]
    Never,
    /// It failed; with the value of an earlier response.
    Failed(Option<T>),
    /// The value.
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

/// The content of ListSteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepsTold {
    /// Their state.
    pub work: Work,
    /// One is not as verified.
    pub bad: bool,
    /// Some are this run's.
    pub of_run: bool,
}

/// A cluster's configuration in DescribeCluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// It is not as verified.
    pub bad: bool,
    /// A value of it is masked.
    pub masked: bool,
}

/// The responses of one poll, part by part; the outer option: whether it was requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawLook {
    /// DescribeCluster: the cluster and its configuration; none: it does not exist.
    pub describe: Option<Result<Option<(Described, Shown)>, String>>,
    /// ListSteps.
    pub steps: Option<Option<StepsTold>>,
    /// DescribeSecurityConfiguration: whether it is not as verified.
    pub security: Option<Option<bool>>,
}

/// The responses of one detailed poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawDetails {
    /// ListBootstrapActions was called, and answered.
    pub bootstrap: Option<bool>,
    /// ListInstanceGroups was called, and answered.
    pub groups: Option<bool>,
    /// The volumes were requested: none: no response; otherwise whether there were any, and whether
    /// one is unencrypted.
    pub volumes: Option<Option<(bool, bool)>>,
}

/// A guard's knowledge of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Knowledge {
    described: Seen<Described>,
    /// The configuration in DescribeCluster.
    shown: Shown,
    security: Seen<bool>,
    steps: Seen<StepsTold>,
    bootstrap: bool,
    groups: bool,
    volumes_seen: bool,
    bad_volume: bool,
    volumes_failed: bool,
}

/// A cluster's configuration in DescribeCluster.
#[must_use]
pub fn shown(cluster: &Cluster) -> Shown {
    Shown {
        bad: cluster.traits.defect == Some(Defect::NoSecurityConfiguration),
        masked: cluster.traits.masked,
    }
}

/// The content of its ListSteps now.
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
    /// Whether its security configuration must be requested.
    #[must_use]
    pub fn wants_security(&self) -> bool {
        !self.security.is_told()
    }

    /// Whether its bootstrap actions must be requested.
    #[must_use]
    pub fn wants_bootstrap(&self) -> bool {
        !self.bootstrap
    }

    /// Stores the state from a list.
    pub fn listed(&mut self, state: State) {
        match &mut self.described {
            Seen::Told(described) | Seen::Failed(Some(described)) => described.state = state,
            Seen::Never | Seen::Failed(None) => {}
        }
    }

    /// Stores the responses of a poll.
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

    /// Stores the responses of a detailed poll.
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

    /// The checks' result.
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
