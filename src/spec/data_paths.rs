//! Which S3 locations a run touches: who reads, writes or deletes what.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::names::{BucketName, S3Location},
    spec::{cluster_spec::ClusterSpec, located::Located, part::PipelinePart},
};

/// One S3 location of the config, with its role for the runner.
#[derive(Clone, Debug)]
pub struct DataLocation {
    /// The key below `aws.s3.buckets`, such as `raw.in[0]` or `enriched.good`.
    pub role: String,
    /// Where it points.
    pub location: S3Location,
    /// `file:line:column`.
    pub at: String,
}

impl DataLocation {
    /// The bucket of this location.
    #[must_use]
    pub fn bucket(&self) -> &BucketName {
        &self.location.bucket
    }
}

/// Every S3 location of a launch, and how each one is accessed.
#[derive(Clone, Debug)]
pub struct DataPaths {
    /// The region of the buckets.
    pub region: Located<String>,
    /// The locations that the launcher's config names, in its order.
    pub locations: Vec<DataLocation>,
    /// Who reads, writes or deletes what.
    pub plan: LaunchPlan,
}

impl DataPaths {
    /// Those of a cluster that runs already: of what its launcher reads and writes, nothing is
    /// known.
    pub(crate) fn of_running(cluster: &ClusterSpec) -> Self {
        Self {
            region: cluster.region.clone(),
            locations: Vec::new(),
            plan: LaunchPlan::of_nothing(&cluster.name),
        }
    }
}

/// What a run will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub struct LaunchPlan {
    /// The parts that run.
    pub parts: BTreeSet<PipelinePart>,
    /// How the archive step for enriched files finds its folder.
    pub archive_enriched: ArchiveFolder,
    /// How the archive step for shredded files finds its folder.
    pub archive_shredded: ArchiveFolder,
    /// Each access to an S3 location, with its actor, in the order of the pipeline.
    pub touches: Vec<DataAccess>,
    /// Which cluster the steps run on.
    pub cluster: ClusterUse,
    /// Whether staging reads the logs of the Clojure Collector. Elastic Beanstalk writes those
    /// logs, so only the bucket's default encryption protected them.
    pub clojure_collector: bool,
}

/// How an archive step finds its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Archive")]
pub enum ArchiveFolder {
    /// There is no such step.
    Skip,
    /// The folder that this run writes.
    Pipeline,
    /// The last folder that an earlier run left; the runner looks it up in S3.
    Recover,
}

/// Which cluster a run uses. A run with a new cluster can start more: one for each bootstrap
/// failure, and one for each `RunJobFlow` whose response was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Cluster")]
pub enum ClusterUse {
    /// Always a new cluster with this name. This is so even when no step is left (measured), and
    /// whatever other clusters exist.
    New(String),
    /// Persistent mode: the one cluster of this name in state WAITING; a new one only when none is
    /// in WAITING or RUNNING.
    NamedOrNew(String),
}

impl ClusterUse {
    /// The name of the cluster, existing or planned.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::New(name) | Self::NamedOrNew(name) => name,
        }
    }
}

/// One access of a run to a location.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "Touch")]
pub struct DataAccess {
    /// The key below `aws.s3.buckets`.
    pub role: String,
    /// The kind of access.
    pub access: Access,
    /// The actor.
    pub actor: Actor,
    /// The part of the pipeline; none for what the cluster does apart from the steps.
    pub part: Option<PipelinePart>,
}

/// The kind of access to a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Keys are listed.
    List,
    /// Objects are read.
    Read,
    /// Objects are written.
    Write,
    /// Objects are deleted once they are copied.
    Delete,
}

/// The program that accesses a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The runner itself, with its static credentials.
    Runner,
    /// s3-dist-cp on the cluster.
    S3DistCp,
    /// A Spark job on the cluster.
    Spark,
    /// A Scalding (Hadoop) job on the cluster.
    Scalding,
    /// RDB Loader on the cluster, and the database that loads on its command.
    RdbLoader,
    /// The EMR service.
    Emr,
}

/// What encrypts the objects that an actor writes, if the runner config has `encrypted: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Protection")]
pub enum WriteProtection {
    /// `--s3ServerSideEncryption`: the request asks for encryption.
    Flag,
    /// EMRFS: the S3 part of the security configuration, or else the bucket's default.
    SecurityConfiguration,
    /// Only the bucket's default.
    BucketDefault,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Runner => "the runner",
            Self::S3DistCp => "s3-dist-cp",
            Self::Spark => "Spark",
            Self::Scalding => "Scalding",
            Self::RdbLoader => "RDB Loader",
            Self::Emr => "EMR",
        })
    }
}

impl Actor {
    /// What encrypts the objects that this actor writes.
    #[must_use]
    pub const fn protection(self) -> WriteProtection {
        match self {
            Self::S3DistCp => WriteProtection::Flag,
            Self::Spark | Self::Scalding => WriteProtection::SecurityConfiguration,
            Self::Runner | Self::RdbLoader | Self::Emr => WriteProtection::BucketDefault,
        }
    }
}

impl LaunchPlan {
    /// A plan without steps, for a cluster that exists already and whose purpose is unknown.
    pub(crate) fn of_nothing(cluster: &str) -> Self {
        Self {
            parts: BTreeSet::new(),
            archive_enriched: ArchiveFolder::Skip,
            archive_shredded: ArchiveFolder::Skip,
            touches: Vec::new(),
            cluster: ClusterUse::New(cluster.to_owned()),
            clojure_collector: false,
        }
    }

    /// The locations with this kind of access, each once, in the order of the pipeline.
    #[must_use]
    pub fn roles(&self, access: Access) -> Vec<&str> {
        let mut roles = Vec::new();
        for touch in self.touches.iter().filter(|touch| touch.access == access) {
            if !roles.contains(&touch.role.as_str()) {
                roles.push(&touch.role);
            }
        }
        roles
    }

    /// The locations that events are read from. Jars, scripts, schemas and logs are left out.
    #[must_use]
    pub fn reads_data_from(&self) -> Vec<&str> {
        let others = ["assets", "jsonpath_assets", "log"];
        self.roles(Access::Read).into_iter().filter(|role| !others.contains(role)).collect()
    }

    /// Whether the run accesses a location at all.
    #[must_use]
    pub fn touches(&self, role: &str) -> bool {
        self.touches.iter().any(|touch| touch.role == role)
    }

    /// Whether raw events are enriched.
    #[must_use]
    pub fn enriches(&self) -> bool {
        self.parts.contains(&PipelinePart::Enrich)
    }

    /// Whether the cluster gets any step.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        self.touches.iter().any(|touch| touch.part.is_some())
    }

    /// The actors that write to a location.
    #[must_use]
    pub fn writers(&self, role: &str) -> BTreeSet<Actor> {
        self.touches
            .iter()
            .filter(|touch| touch.role == role && touch.access == Access::Write)
            .map(|touch| touch.actor)
            .collect()
    }
}
