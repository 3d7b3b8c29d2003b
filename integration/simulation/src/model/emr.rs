//! EMR: all clusters, its responses, and the effects of requests.

use crate::{
    model::cluster::{Cluster, Id, Launcher},
    scenario::{Defect, HOUR, Ms, Traits},
    watch::machine::{
        event::{Described, ListedCluster},
        ownership::{Evidence, RunTag},
        time::AwsTime,
    },
};

/// AWS's time at the launch, in milliseconds since 1970.
pub const LAUNCH: i64 = 1_795_900_000_000;

/// A time in AWS's form.
#[must_use]
pub fn aws_time(at: Ms) -> AwsTime {
    AwsTime(LAUNCH + at)
}

/// Ids from here on do not exist.
pub const NO_CLUSTER: u32 = 1_000_000;

/// The origin of a new cluster.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Its creator.
    pub launcher: Launcher,
    /// Its tag.
    pub tag: RunTag,
    /// It has the name of the run's clusters.
    pub job_name: bool,
    /// Its request is the one this run's runner would send.
    pub matches: bool,
}

/// All clusters.
#[derive(Clone, Debug, Default)]
pub struct Emr {
    /// By id, from 1 on.
    pub clusters: Vec<Cluster>,
}

/// EMR's reaction to a termination request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// It is accepted.
    Accepted,
    /// Termination protection is on.
    Protected,
}

impl Emr {
    /// The cluster of that id.
    #[must_use]
    pub fn cluster(&self, id: Id) -> Option<&Cluster> {
        self.clusters.get(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    /// The same, for changes.
    pub fn cluster_mut(&mut self, id: Id) -> Option<&mut Cluster> {
        self.clusters.get_mut(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    /// A new cluster.
    pub fn create(&mut self, at: Ms, origin: Origin, traits: Traits) -> Id {
        let id = Id(u32::try_from(self.clusters.len() + 1).unwrap_or(u32::MAX));
        let of_run = origin.launcher != Launcher::Other;
        let mut cluster = Cluster {
            id,
            launcher: origin.launcher,
            tag: origin.tag,
            job_name: origin.job_name,
            matches: origin.matches,
            created: at,
            protected: traits.protected,
            steps: Vec::new(),
            terminated: None,
            terminated_by_guard: false,
            traits,
        };
        for (index, length) in cluster.traits.steps.clone().into_iter().enumerate() {
            let bad = index == 0 && cluster.traits.defect == Some(Defect::Step);
            cluster.add_step(at, length, of_run, bad);
        }
        self.clusters.push(cluster);
        id
    }

    /// ListClusters: all that were created since an hour before the launch.
    #[must_use]
    pub fn list(&self, now: Ms) -> Vec<ListedCluster<Id>> {
        self.clusters
            .iter()
            .filter(|cluster| cluster.created >= -HOUR)
            .filter_map(|cluster| {
                let state = cluster.listed(now)?;
                Some(ListedCluster { id: cluster.id, has_job_name: cluster.job_name, state })
            })
            .collect()
    }

    /// DescribeCluster; none: the cluster does not exist.
    #[must_use]
    pub fn describe(&self, id: Id, now: Ms) -> Option<Described> {
        let cluster = self.cluster(id).filter(|cluster| cluster.created <= now)?;
        Some(Described {
            state: cluster.state(now),
            evidence: Evidence {
                tag: cluster.tag,
                created: aws_time(cluster.created),
                matches_request: cluster.matches && cluster.job_name,
                has_new_steps: false,
            },
            protected: cluster.protected,
            was_ready: cluster.was_ready(now),
        })
    }

    /// TerminateJobFlows.
    pub fn terminate(&mut self, id: Id, now: Ms, has_effect: bool) -> Termination {
        let Some(cluster) = self.cluster_mut(id) else { return Termination::Accepted };
        if cluster.protected && cluster.ends().is_none_or(|ends| now < ends) {
            return Termination::Protected;
        }
        if has_effect && cluster.ends().is_none_or(|ends| now < ends) {
            cluster.terminated = Some(now);
            cluster.terminated_by_guard = true;
        }
        Termination::Accepted
    }

    /// SetTerminationProtection, off.
    pub fn unprotect(&mut self, id: Id) {
        if let Some(cluster) = self.cluster_mut(id) {
            cluster.protected = false;
        }
    }
}
