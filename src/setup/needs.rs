//! What the role of the instances and the launcher need in a run: each action on each resource.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::{
        names::{BucketName, S3Object, partition},
        wildcard::fits,
    },
    facts::account_state::{AccessNeed, PolicyHolder},
    setup::{certificates, desired::SetupInputs},
    spec::data_paths::{Access, Actor},
};

/// Actions on resources, with what a statement on them is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The part of the statement id that says what it is for.
    pub(super) purpose: &'static str,
    pub(super) actions: BTreeSet<&'static str>,
    pub(super) resources: BTreeSet<String>,
    /// Condition keys of such a request, with their values. A statement gets them as a condition.
    pub(super) context: Vec<(&'static str, String)>,
}

impl Need {
    fn new(purpose: &'static str, actions: &[&'static str], resources: BTreeSet<String>) -> Self {
        Self { purpose, actions: actions.iter().copied().collect(), resources, context: Vec::new() }
    }

    /// The need as a question about `holder`.
    pub(super) fn asked(&self, holder: &PolicyHolder, arn: &str) -> AccessNeed {
        AccessNeed {
            holder: holder.clone(),
            arn: arn.to_owned(),
            actions: self.actions.iter().map(ToString::to_string).collect(),
            resources: self.resources.iter().cloned().collect(),
            context: self
                .context
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        }
    }
}

/// The actions of every access to the objects of a location. EMRFS and s3-dist-cp write parts,
/// look whether an object exists, and rename by copying and deleting. Source: Amazon EMR management
/// guide, Service role for cluster EC2 instances (reading and writing data using EMRFS; archiving
/// log files).
fn object_actions(access: Access, actor: Actor) -> &'static [&'static str] {
    match (access, actor) {
        (Access::List, _) => &[],
        (Access::Read, _) => &["s3:GetObject"],
        (Access::Delete, _) => &["s3:DeleteObject", "s3:GetObject"],
        (Access::Write, Actor::Emr | Actor::RdbLoader | Actor::Runner) => {
            &["s3:AbortMultipartUpload", "s3:PutObject"]
        }
        (Access::Write, Actor::S3DistCp | Actor::Spark | Actor::Scalding) => &[
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        ],
    }
}

/// Whether an actor writes through EMRFS, which puts empty objects that end in `_$folder$` beside
/// each folder.
const fn marks_folders(access: Access, actor: Actor) -> bool {
    matches!(access, Access::Write)
        && matches!(actor, Actor::S3DistCp | Actor::Spark | Actor::Scalding)
}

/// Actions by the resource that they are needed on.
#[derive(Default)]
struct ByResource(BTreeMap<String, BTreeSet<&'static str>>);

impl ByResource {
    fn add(&mut self, resource: String, actions: &[&'static str]) {
        if !actions.is_empty() {
            self.0.entry(resource).or_default().extend(actions);
        }
    }

    /// One need for each set of actions. A resource that a pattern covers with the same actions is
    /// left out.
    fn needs(self, purpose: &'static str) -> Vec<Need> {
        let is_covered = |resource: &str, actions: &BTreeSet<&'static str>| {
            self.0.iter().any(|(pattern, allowed)| {
                pattern != resource
                    && pattern.ends_with('*')
                    && fits(pattern, resource)
                    && allowed.is_superset(actions)
            })
        };
        let mut grouped: BTreeMap<BTreeSet<&'static str>, BTreeSet<String>> = BTreeMap::new();
        for (resource, actions) in &self.0 {
            if !is_covered(resource, actions) {
                grouped.entry(actions.clone()).or_default().insert(resource.clone());
            }
        }
        let need = |(actions, resources)| Need { purpose, actions, resources, context: Vec::new() };
        grouped.into_iter().map(need).collect()
    }
}

/// What the actors that `acts` selects need on S3, by the paths of the run.
fn on_s3(inputs: &SetupInputs<'_>, acts: impl Fn(Actor) -> bool) -> (ByResource, ByResource) {
    let (mut buckets, mut objects) = (ByResource::default(), ByResource::default());
    let touches = inputs.paths.plan.touches.iter().filter(|touch| acts(touch.actor));
    for touch in touches {
        let named = |location: &&_| {
            let location: &crate::spec::data_paths::DataLocation = location;
            location.role == touch.role
        };
        for location in inputs.paths.locations.iter().filter(named) {
            let bucket = inputs.bucket_arn(location.bucket());
            let prefix = &location.location.prefix;
            let actions = object_actions(touch.access, touch.actor);
            objects.add(format!("{bucket}/{prefix}*"), actions);
            // Writing logs needs no list. Source: as above, archiving log files.
            let only_puts = touch.access == Access::Write
                && matches!(touch.actor, Actor::Emr | Actor::RdbLoader | Actor::Runner);
            if !only_puts {
                buckets.add(bucket.clone(), &["s3:ListBucket"]);
            }
            if marks_folders(touch.access, touch.actor) {
                buckets.add(bucket.clone(), &["s3:ListBucketMultipartUploads"]);
                let folders = prefix.match_indices('/').map(|(at, _)| &prefix[..at]);
                for folder in folders.filter(|folder| !folder.is_empty()) {
                    objects.add(
                        format!("{bucket}/{folder}_$folder$"),
                        &["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                    );
                }
            }
        }
    }
    (buckets, objects)
}

/// What the role of the cluster's instances needs: the data as the run's steps use them, EMR's own
/// programs, bootstrap scripts, and the certificates.
pub(super) fn of_instances(inputs: &SetupInputs<'_>) -> Vec<Need> {
    let (buckets, mut objects) = on_s3(inputs, |actor| actor != Actor::Runner);
    let region = inputs.region();
    let partition = inputs.partition();
    // Script runner, state pusher and EMR's own bootstrap scripts are in a public bucket of AWS.
    objects.add(format!("arn:{partition}:s3:::{region}.elasticmapreduce/*"), &["s3:GetObject"]);
    let scripts = inputs.cluster.bootstrap_actions.iter().map(|script| script.value.as_str());
    let scripts =
        scripts.chain(inputs.cluster.additions.bootstrap_actions.iter().map(String::as_str));
    for script in scripts.filter_map(|script| script.split_whitespace().next()) {
        let object = ["s3://", "s3n://", "s3a://"]
            .iter()
            .find_map(|scheme| script.strip_prefix(scheme))
            .filter(|object| is_object(object));
        if let Some(object) = object {
            objects.add(format!("arn:{partition}:s3:::{object}"), &["s3:GetObject"]);
        }
    }
    if let Some(archive) = inputs.archive() {
        objects.add(archive_arn(inputs, &archive), &["s3:GetObject"]);
        objects.add(archive_arn(inputs, &certificates::rotated(&archive)), &["s3:GetObject"]);
    }
    let mut needs = buckets.needs("Buckets");
    needs.extend(objects.needs("Objects"));
    needs
}

/// Whether text behind `s3://` is a bucket and a key.
fn is_object(text: &str) -> bool {
    text.split_once('/').is_some_and(|(bucket, key)| {
        !key.is_empty() && bucket.parse::<BucketName>().is_ok() && !key.contains("${")
    })
}

/// The ARN of the certificate archive.
pub(super) fn archive_arn(inputs: &SetupInputs<'_>, archive: &S3Object) -> String {
    archive.arn(partition(inputs.s3_region()))
}

/// What the runner's user or role needs: the calls of EmrEtlRunner 1.0.4. `service_role` and
/// `instance_role` are the ARNs of the roles that it passes to EMR.
pub(super) fn of_launcher(
    inputs: &SetupInputs<'_>,
    service_role: &str,
    instance_role: &str,
) -> Vec<Need> {
    let (buckets, objects) = on_s3(inputs, |actor| actor == Actor::Runner);
    let clusters = format!(
        "arn:{}:elasticmapreduce:{}:{}:cluster/*",
        inputs.partition(),
        inputs.region(),
        inputs.account
    );
    let domain = inputs.domain();
    let pass = |purpose, role: &str, service: &str| Need {
        context: vec![("iam:PassedToService", format!("{service}.{domain}"))],
        ..Need::new(purpose, &["iam:PassRole"], [role.to_owned()].into())
    };
    let mut needs = vec![
        // These two have no resource.
        Need::new(
            "Launch",
            &["elasticmapreduce:ListClusters", "elasticmapreduce:RunJobFlow"],
            ["*".to_owned()].into(),
        ),
        Need::new(
            "Clusters",
            &[
                "elasticmapreduce:AddJobFlowSteps",
                "elasticmapreduce:AddTags",
                "elasticmapreduce:DescribeCluster",
                "elasticmapreduce:ListSteps",
                "elasticmapreduce:TerminateJobFlows",
            ],
            [clusters].into(),
        ),
        pass("PassServiceRole", service_role, "elasticmapreduce"),
        pass("PassInstanceRole", instance_role, "ec2"),
    ];
    needs.extend(buckets.needs("Buckets"));
    needs.extend(objects.needs("Objects"));
    needs
}

/// Whether the launcher itself reads or writes objects, and not only lists them.
pub(super) fn launcher_uses_objects(inputs: &SetupInputs<'_>) -> bool {
    inputs.paths.plan.touches.iter().any(|touch| {
        touch.actor == Actor::Runner && matches!(touch.access, Access::Read | Access::Write)
    })
}
