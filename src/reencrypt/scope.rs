//! Where a repair may work, the target of the objects, and the objections.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_emr::types::ClusterState;

use crate::{
    aws::{bucket_region, clients::Aws},
    base::{
        aws_calls,
        lookup::Lookup,
        names::{BucketName, KeyReference, S3Location},
    },
    checks::stored::Standard,
    facts::{
        emr::{self, SecurityConfiguration},
        kms,
        s3::{self, DefaultEncryption},
        s3_configurations::{self, BucketConfigurations},
        sts,
    },
    reencrypt::{
        error::ReencryptError,
        machine::{job::place_around, versioning::Versioning},
        options::{PipelineConfig, ScopeOptions},
        place::ObjectId,
        plan::{BucketPlan, BucketReactions, RepairPlan},
        snapshot::HiddenMetadata,
        target::{self, Criterion, RepairTarget, RequestedTarget, UnresolvedTarget},
    },
    spec::data_paths::DataLocation,
};

/// A location to work in.
#[derive(Clone, Debug)]
pub(crate) struct RepairLocation {
    /// The key below `aws.s3.buckets`; none: it is from the command line.
    pub(crate) role: Option<String>,
    pub(crate) location: S3Location,
}

impl RepairLocation {
    /// Whether a run in progress moves, deletes or writes objects there. Archives are only added
    /// to.
    pub(crate) fn is_in_use(&self) -> bool {
        self.role.as_deref().is_some_and(|role| {
            !role.ends_with(".archive") && role != "assets" && role != "jsonpath_assets"
        })
    }
}

impl std::fmt::Display for RepairLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.role {
            Some(role) => write!(f, "{role} {}", self.location),
            None => self.location.fmt(f),
        }
    }
}

/// Everything that is known before the first object is looked up.
#[derive(Debug)]
pub(crate) struct RepairScope {
    pub(crate) aws: Aws,
    /// The account of the credentials.
    pub(crate) account: String,
    /// The buckets' region.
    pub(crate) region: String,
    /// None is within another.
    pub(crate) wanted: Vec<RepairLocation>,
    pub(crate) plan: RepairPlan,
    /// What each bucket does by itself.
    pub(crate) reactions: BTreeMap<String, BucketReactions>,
    /// The reasons of the safety switch.
    pub(crate) refusals: Vec<String>,
    /// The name of the pipeline's clusters; none: no config was given.
    pipeline: Option<String>,
    notes: Vec<String>,
}

/// The locations: those of the command line, or else those of the config that are not in other
/// parties' buckets.
///
/// # Errors
/// [`ReencryptError::Usage`] when one is not an S3 URI.
pub(crate) fn wanted(
    options: &ScopeOptions<'_>,
    pipeline: Option<&PipelineConfig<'_>>,
) -> Result<Vec<RepairLocation>, ReencryptError> {
    let of_config = pipeline.map_or(&[][..], |pipeline| pipeline.locations);
    let named: Result<Vec<RepairLocation>, ReencryptError> = options
        .locations
        .iter()
        .map(|text| match S3Location::parse(text) {
            Ok(location) => Ok(RepairLocation { role: role_of(&location, of_config), location }),
            Err(error) => Err(ReencryptError::Usage(
                no_bucket(text).unwrap_or_else(|| format!("{text}: {error}")),
            )),
        })
        .collect();
    let mut wanted = named?;
    if wanted.is_empty() {
        let ours =
            of_config.iter().filter(|it| !options.policy.is_external(it.location.bucket.as_str()));
        wanted = ours
            .map(|it| RepairLocation { role: Some(it.role.clone()), location: it.location.clone() })
            .collect();
    }
    match wanted.iter().find_map(|it| no_bucket(&it.location.to_string())) {
        Some(why) => Err(ReencryptError::Usage(why)),
        None => Ok(outermost(wanted)),
    }
}

/// Why a location is not in a general purpose bucket, the only kind that this program supports;
/// `None` where it may be. S3 reserves these name endings. Source: Amazon S3 user guide, General
/// purpose bucket naming rules.
fn no_bucket(text: &str) -> Option<String> {
    let scheme = ["s3://", "s3n://", "s3a://"].iter().find_map(|it| text.strip_prefix(it));
    let rest = scheme.unwrap_or(text);
    let what = if rest.starts_with("arn:") {
        if rest.contains(":::") && !rest.contains(":accesspoint") {
            return Some(format!("{text}: this is an ARN; write the place as s3://bucket/prefix"));
        }
        "an access point"
    } else {
        let bucket = rest.split('/').next().unwrap_or_default();
        let endings = [
            ("-s3alias", "the alias of an access point"),
            ("--ol-s3", "the alias of an Object Lambda access point"),
            (".mrap", "a Multi-Region Access Point"),
            ("--op-s3", "the alias of an access point on Outposts"),
            ("--xa-s3", "an access point of a directory bucket"),
            ("--x-s3", "a directory bucket"),
            ("--table-s3", "a table bucket"),
        ];
        endings.iter().find(|(ending, _)| bucket.ends_with(ending))?.1
    };
    Some(if what.ends_with("directory bucket") || what.ends_with("table bucket") {
        format!(
            "{text}: this is {what}, in which nothing can be re-encrypted in place; only general \
             purpose buckets are supported"
        )
    } else {
        format!(
            "{text}: this is {what}, which is not supported; name the bucket behind it: \
             s3://bucket/prefix"
        )
    })
}

/// The role of a location from the command line: that of the config's innermost location that
/// contains it, or of one within it that is in use.
fn role_of(location: &S3Location, of_config: &[DataLocation]) -> Option<String> {
    let all = of_config.iter().filter(|it| it.location.bucket == location.bucket);
    let touching = all.filter(|it| {
        it.location.prefix.starts_with(&location.prefix)
            || location.prefix.starts_with(&it.location.prefix)
    });
    let roles: Vec<RepairLocation> = touching
        .map(|it| RepairLocation { role: Some(it.role.clone()), location: it.location.clone() })
        .collect();
    roles.iter().find(|it| it.is_in_use()).or_else(|| roles.first()).and_then(|it| it.role.clone())
}

/// The locations without those within others, so that no object comes twice. One that is in use
/// keeps its role.
fn outermost(mut wanted: Vec<RepairLocation>) -> Vec<RepairLocation> {
    wanted.sort_by(|a, b| (&a.location, !a.is_in_use()).cmp(&(&b.location, !b.is_in_use())));
    let mut kept: Vec<RepairLocation> = Vec::new();
    for one in wanted {
        let holder = kept.iter_mut().find(|it| {
            it.location.bucket == one.location.bucket
                && one.location.prefix.starts_with(&it.location.prefix)
        });
        match holder {
            Some(holder) if one.is_in_use() && !holder.is_in_use() => holder.role = one.role,
            Some(_) => {}
            None => kept.push(one),
        }
    }
    kept
}

/// The facts on a bucket.
struct KnownBucket {
    ours: bool,
    default: DefaultEncryption,
    /// Its rule makes objects use a bucket key.
    bucket_key: bool,
    versioning: Versioning,
    mfa_delete: bool,
    carries: HiddenMetadata,
    configurations: BucketConfigurations,
}

impl RepairScope {
    /// Looks up all facts on the locations `wanted`, whose buckets are in `region`.
    pub(crate) async fn find(
        aws: Aws,
        region: String,
        wanted: Vec<RepairLocation>,
        options: &ScopeOptions<'_>,
        pipeline: Option<&PipelineConfig<'_>>,
    ) -> Result<Self, ReencryptError> {
        if let Some(endpoint) = aws
            .refused_endpoints()
            .chain(aws.control_endpoint.iter().filter(|endpoint| !endpoint.accepted))
            .next()
        {
            let message = format!(
                "{} is to be asked at {}, which is not AWS's; allow it by its origin in the \
                 setting `allow_endpoints`",
                endpoint.service, endpoint.url
            );
            return Err(ReencryptError::Refused(message));
        }
        let ScopeOptions { asked, policy, .. } = options;
        let buckets: BTreeSet<&BucketName> = wanted.iter().map(|it| &it.location.bucket).collect();
        let account = found(sts::identity(&aws.sts).await, "whose credentials these are")?.account;
        let known = buckets.iter().map(async |bucket| {
            Ok((*bucket, Box::pin(known(&aws, bucket, &account, &region)).await?))
        });
        let (known, configuration, clusters) = tokio::join!(
            futures_util::future::join_all(known),
            configuration(&aws, pipeline, asked),
            alive(&aws, pipeline.map(|pipeline| pipeline.job_name)),
        );
        let known: BTreeMap<&BucketName, KnownBucket> =
            known.into_iter().collect::<Result<_, ReencryptError>>()?;
        let configuration = configuration?;
        let clusters = clusters?;
        let criterion = Criterion {
            explicit: asked.is_explicit(),
            standard: Standard::with_arns(policy, arns(&aws, &policy.expected_keys).await?),
        };
        let mut plans = BTreeMap::new();
        let mut reactions = BTreeMap::new();
        let mut refusals = refusals(options.buckets, pipeline, &wanted, &clusters);
        for (bucket, known) in known {
            let named = target::decide(
                bucket.as_str(),
                asked,
                &policy.expected_keys,
                configuration.as_ref(),
                &known.default,
            );
            let target = resolve(
                &aws,
                named.map_err(ReencryptError::Usage)?,
                known.ours.then_some(account.as_str()),
                known.bucket_key,
            )
            .await?;
            if !criterion.accepts_target(&target) {
                let message = format!(
                    "{bucket}: objects would get {target}, which the policy does not accept; see \
                     accept_encryption and expected_keys in the settings, or name another by \
                     --encryption and --kms-key"
                );
                return Err(ReencryptError::Usage(message));
            }
            let purges = options.purge_old_versions || options.purge_overwritten_versions;
            if purges && known.mfa_delete {
                refusals.push(format!(
                    "MFA delete is on for the bucket {bucket}: S3 removes none of its versions \
                     without a code of its owner's MFA device, which this program cannot give; \
                     run this without --purge-old-versions and --purge-overwritten-versions, or \
                     have the owner switch MFA delete off meanwhile"
                ));
            }
            let carries = known.carries;
            plans.insert(
                bucket.as_str().to_owned(),
                BucketPlan { target, carries, versioning: known.versioning },
            );
            reactions.insert(
                bucket.as_str().to_owned(),
                BucketReactions { ours: known.ours, configurations: known.configurations },
            );
        }
        let notes = if pipeline.is_none() {
            vec![
                "no runner config was named: it was not checked whether a cluster is using these \
                 locations"
                    .to_owned(),
            ]
        } else {
            Vec::new()
        };
        let account = account.as_str().to_owned();
        Ok(Self {
            aws,
            account,
            region,
            wanted,
            plan: RepairPlan {
                buckets: plans,
                criterion,
                restore: options.restore,
                restore_days: options.restore_days,
                purge: options.purge_old_versions,
                purge_overwritten: options.purge_overwritten_versions,
            },
            reactions,
            refusals,
            pipeline: pipeline.map(|pipeline| pipeline.job_name.to_owned()),
            notes,
        })
    }

    /// The clusters of this pipeline that are alive now.
    ///
    /// # Errors
    /// [`ReencryptError::Unseen`] when they could not be listed.
    pub(crate) async fn clusters(&self) -> Result<Vec<String>, ReencryptError> {
        alive(&self.aws, self.pipeline.as_deref()).await
    }

    /// Whether an object is in one of the locations.
    pub(crate) fn holds(&self, place: &ObjectId) -> bool {
        self.place_of(place).is_some()
    }

    /// The index of the location of an object.
    pub(crate) fn place_of(&self, place: &ObjectId) -> Option<usize> {
        self.place_around(&place.bucket, &place.key)
    }

    /// The index of the location that holds every key with this `prefix`, if there is one.
    pub(crate) fn place_around(&self, bucket: &str, prefix: &str) -> Option<usize> {
        place_around(self.place_names(), bucket, prefix)
    }

    /// Bucket and prefix of each location.
    pub(crate) fn place_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let locations = self.wanted.iter().map(|it| &it.location);
        locations.map(|it| (it.bucket.as_str(), it.prefix.as_str()))
    }

    /// The lines that are printed before the scan.
    pub(crate) fn lines(&self) -> Vec<String> {
        let targets = self
            .plan
            .buckets
            .iter()
            .map(|(bucket, plan)| format!("objects in s3://{bucket} get {}", plan.target));
        targets.chain(self.notes.iter().cloned()).collect()
    }
}

/// The safety switch: buckets that were not named, and locations that a cluster of this pipeline
/// uses.
fn refusals(
    buckets: &[String],
    pipeline: Option<&PipelineConfig<'_>>,
    wanted: &[RepairLocation],
    clusters: &[String],
) -> Vec<String> {
    let in_config = |bucket: &BucketName| {
        pipeline.is_some_and(|it| it.locations.iter().any(|it| it.location.bucket == *bucket))
    };
    let unnamed: BTreeSet<&str> = wanted
        .iter()
        .map(|it| &it.location.bucket)
        .filter(|bucket| {
            !in_config(bucket) && !buckets.iter().any(|named| named == bucket.as_str())
        })
        .map(BucketName::as_str)
        .collect();
    let mut refusals: Vec<String> = unnamed
        .into_iter()
        .map(|bucket| {
            format!("no runner config names the bucket {bucket}; repeat it by --bucket {bucket}")
        })
        .collect();
    let in_use: Vec<String> =
        wanted.iter().filter(|it| it.is_in_use()).map(ToString::to_string).collect();
    if !clusters.is_empty() && !in_use.is_empty() {
        let message = format!(
            "{} of this pipeline runs, and may use {}; wait for its end, or name other places \
             (archives are only added to)",
            clusters.join(", "),
            in_use.join(", ")
        );
        refusals.push(message);
    }
    refusals
}

/// The live clusters of this pipeline, by the runner's name for them.
async fn alive(aws: &Aws, job_name: Option<&str>) -> Result<Vec<String>, ReencryptError> {
    let Some(job_name) = job_name else { return Ok(Vec::new()) };
    let states = [
        ClusterState::Starting,
        ClusterState::Bootstrapping,
        ClusterState::Running,
        ClusterState::Waiting,
        ClusterState::Terminating,
    ];
    let clusters = found(emr::list(&aws.emr, None, &states).await, "which clusters run")?;
    Ok(clusters
        .into_iter()
        .filter(|it| it.name == job_name)
        .map(|it| format!("cluster {}", it.id))
        .collect())
}

/// The security configuration of the config or the settings, where it matters.
async fn configuration(
    aws: &Aws,
    pipeline: Option<&PipelineConfig<'_>>,
    asked: &RequestedTarget,
) -> Result<Option<SecurityConfiguration>, ReencryptError> {
    let Some(name) = pipeline.and_then(|pipeline| pipeline.security_configuration) else {
        return Ok(None);
    };
    if asked.is_explicit() {
        return Ok(None);
    }
    match emr::security_configuration(&aws.emr, name).await {
        Lookup::Absent => Ok(None),
        lookup => found(lookup, &format!("what the security configuration {name} says")).map(Some),
    }
}

async fn known(
    aws: &Aws,
    bucket: &BucketName,
    account: &crate::base::names::AccountId,
    region: &str,
) -> Result<KnownBucket, ReencryptError> {
    let s3 = &aws.s3;
    let (where_it_is, ours, default, versioning, acls, locks, configurations) = tokio::join!(
        bucket_region::region(s3, bucket),
        s3::ours(s3, bucket, Some(account)),
        s3::encryption_rule(s3, bucket),
        s3_configurations::versioning_status(s3, bucket),
        acls(s3, bucket),
        locks(s3, bucket),
        s3_configurations::configurations(s3, bucket),
    );
    let about = |what: &str| format!("{what} of the bucket {bucket}");
    // Requests of the bucket's owner are always paid by the owner.
    if ours != Lookup::Found(true)
        && s3_configurations::requester_pays(s3, bucket).await == Lookup::Found(true)
    {
        return Err(ReencryptError::Refused(format!(
            "the bucket {bucket} belongs to another account, and the requester pays for it \
             (requester pays), which is not supported; run this with credentials of the account \
             that owns it"
        )));
    }
    let hint = match &where_it_is {
        Lookup::Denied(_) => {
            " (S3 also refuses where the bucket belongs to another account and is requester pays, \
             which is not supported)"
        }
        _ => "",
    };
    let is_in = found(where_it_is, &format!("{}{hint}", about("the region")))?;
    if is_in != region {
        return Err(ReencryptError::Usage(format!(
            "the bucket {bucket} is in {is_in}, not in {region}; run this for that region \
             (AWS_REGION, or aws.s3.region)"
        )));
    }
    let (versioning, mfa_delete) = match versioning {
        // With an unreadable response, versioning is assumed: listing versions, and naming them,
        // works in every bucket.
        Lookup::Unreachable(obstacle) => {
            tracing::warn!(%bucket, message = obstacle.message, "its versioning is unknown; it is \
                treated as if it were on");
            (Versioning::Enabled, false)
        }
        other => {
            let found = found(other, &about("the versioning"))?;
            (Versioning::of_status(found.status.as_deref()), found.mfa_delete)
        }
    };
    let rule = found(default, &about("the default encryption"))?;
    Ok(KnownBucket {
        ours: found(ours, &about("the owner"))?,
        default: rule.default,
        bucket_key: rule.bucket_key,
        versioning,
        mfa_delete,
        configurations,
        carries: HiddenMetadata {
            acls: found(acls, &about("the object ownership"))?,
            locks: found(locks, &about("the Object Lock configuration"))?,
        },
    })
}

/// Whether a bucket has ACLs enabled. A bucket without ownership controls has.
pub(super) async fn acls(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<bool> {
    let result = s3.get_bucket_ownership_controls().bucket(bucket.as_str()).send().await;
    if result
        .as_ref()
        .is_err_and(|error| bucket_region::is_code(error, "OwnershipControlsNotFoundError"))
    {
        return Lookup::Found(true);
    }
    Lookup::from_call(&aws_calls::GET_BUCKET_OWNERSHIP_CONTROLS, &["NoSuchBucket"], result).map(
        |answer| {
            let rules =
                answer.ownership_controls.map(|controls| controls.rules).unwrap_or_default();
            !rules.iter().any(|rule| {
                rule.object_ownership == aws_sdk_s3::types::ObjectOwnership::BucketOwnerEnforced
            })
        },
    )
}

/// Whether a bucket has Object Lock.
pub(super) async fn locks(s3: &aws_sdk_s3::Client, bucket: &BucketName) -> Lookup<bool> {
    let result = s3.get_object_lock_configuration().bucket(bucket.as_str()).send().await;
    if result
        .as_ref()
        .is_err_and(|error| bucket_region::is_code(error, "ObjectLockConfigurationNotFoundError"))
    {
        return Lookup::Found(false);
    }
    Lookup::from_call(&aws_calls::GET_OBJECT_LOCK_CONFIGURATION, &["NoSuchBucket"], result)
        .map(|_| true)
}

/// The keys that the policy expects, by ARN.
async fn arns(aws: &Aws, keys: &[String]) -> Result<Vec<String>, ReencryptError> {
    let mut arns = Vec::new();
    for key in keys {
        let described = kms::describe(&aws.kms, &KeyReference::new(key)).await;
        arns.push(
            found(described, &format!("the key {key} (setting expected_keys)"))?
                .arn
                .as_str()
                .to_owned(),
        );
    }
    Ok(arns)
}

/// The target with its key's ARN. `owner`: the bucket's account, if it is that of the credentials.
async fn resolve(
    aws: &Aws,
    named: UnresolvedTarget,
    owner: Option<&str>,
    bucket_key: bool,
) -> Result<RepairTarget, ReencryptError> {
    let UnresolvedTarget { kind, key, by } = named;
    let plain = |key| RepairTarget { kind, key, updatable: false, bucket_key, by };
    if kind == crate::settings::policy::EncryptionKind::SseS3 {
        return Ok(plain(None));
    }
    let Some(reference) = key else {
        // AWS creates its own key for S3 at the first use.
        return match kms::describe(&aws.kms, &KeyReference::new("alias/aws/s3")).await {
            Lookup::Absent => Ok(plain(None)),
            lookup => Ok(plain(Some(
                found(lookup, "the key that AWS manages for S3")?.arn.as_str().to_owned(),
            ))),
        };
    };
    let key = found(kms::describe(&aws.kms, &reference).await, &format!("the key {reference}"))?;
    if !key.is_enabled() || !key.is_symmetric() {
        return Err(ReencryptError::Usage(format!(
            "the key {} cannot encrypt objects: it must be enabled, symmetric, and for encryption",
            key.arn
        )));
    }
    let arn = key.arn.as_str().to_owned();
    let updatable = !key.aws_managed
        && owner.is_some_and(|owner| {
            KeyReference::new(&arn).region_and_account().is_some_and(|(_, of)| of == owner)
        });
    Ok(RepairTarget { kind, key: Some(arn), updatable, bucket_key, by })
}

/// Unwraps a fact without which no change may be made.
fn found<T>(lookup: Lookup<T>, what: &str) -> Result<T, ReencryptError> {
    match lookup {
        Lookup::Found(fact) => Ok(fact),
        Lookup::Absent => {
            Err(ReencryptError::Usage(format!("{what}: AWS says that there is no such thing")))
        }
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
            Err(ReencryptError::Obstructed { what: what.to_owned(), obstacle: Box::new(obstacle) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::resolve::{Options, Settings};

    fn at(role: &str, uri: &str) -> RepairLocation {
        RepairLocation { role: Some(role.to_owned()), location: S3Location::parse(uri).unwrap() }
    }

    #[test]
    fn places_within_others_are_left_out_and_what_is_in_use_stays_known() {
        let kept = outermost(vec![
            at("enriched.good", "s3://bkt/enriched/good"),
            at("enriched.archive", "s3://bkt/enriched/"),
            at("raw.archive", "s3://other/raw"),
            at("raw.archive", "s3://other/raw"),
        ]);
        let shown: Vec<String> = kept.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["enriched.good s3://bkt/enriched/", "raw.archive s3://other/raw/"]);
    }

    #[test]
    fn places_that_are_named_replace_the_pipelines_and_others_buckets_count_only_when_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut policy = Settings::resolve(Options::default(), Some(file.path())).unwrap().policy;
        policy.external_buckets = vec!["theirs".to_owned()];
        let location = |role: &str, uri: &str| DataLocation {
            role: role.to_owned(),
            location: S3Location::parse(uri).unwrap(),
            at: "config.yml:1:1".to_owned(),
        };
        let locations =
            [location("raw.in[0]", "s3://theirs/in"), location("raw.archive", "s3://ours/archive")];
        let pipeline = PipelineConfig {
            locations: &locations,
            job_name: "Snowplow ETL",
            security_configuration: None,
        };
        let shown = |named: &[&str], pipeline| {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            let options = ScopeOptions {
                locations: &named,
                buckets: &[],
                asked: RequestedTarget::default(),
                restore: false,
                restore_days: 7,
                purge_old_versions: false,
                purge_overwritten_versions: false,
                policy: &policy,
            };
            wanted(&options, pipeline)
                .map(|places| places.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(shown(&[], Some(&pipeline)).unwrap(), ["raw.archive s3://ours/archive/"]);
        let named = ["s3://theirs/in/2026", "s3://elsewhere/"];
        assert_eq!(
            shown(&named, Some(&pipeline)).unwrap(),
            ["s3://elsewhere/", "raw.in[0] s3://theirs/in/2026/"]
        );
        assert_eq!(shown(&["s3://ours/"], None).unwrap(), ["s3://ours/"]);
        assert!(shown(&["ours"], None).unwrap_err().contains("ours: "));
    }

    #[test]
    fn what_is_no_general_purpose_bucket_is_refused_with_a_word_that_says_what_it_is() {
        let table = [
            ("arn:aws:s3:::old/in", Some("write the place as s3://bucket/prefix")),
            (
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/in",
                Some("an access point,"),
            ),
            ("arn:aws:s3::123456789012:accesspoint/abc.mrap", Some("an access point,")),
            ("s3://mine-abc123-s3alias/in", Some("the alias of an access point,")),
            ("s3://mine-abc123--ol-s3/", Some("an Object Lambda access point,")),
            ("s3a://old--euw1-az1--x-s3/in", Some("a directory bucket,")),
            ("s3://mine--euw1-az1--xa-s3", Some("an access point of a directory bucket,")),
            ("s3://old--table-s3/", Some("a table bucket,")),
            ("s3://old/--x-s3/", None),
            ("s3://x-s3/", None),
            ("s3://olds3alias/arn:aws", None),
        ];
        for (text, word) in table {
            match (no_bucket(text), word) {
                (Some(said), Some(word)) => assert!(said.contains(word), "{said}"),
                (said, word) => assert_eq!(said.as_deref(), word, "{text}"),
            }
        }
    }

    #[test]
    fn archives_and_assets_are_not_in_use_and_all_else_is() {
        for role in [
            "raw.in[0]",
            "raw.processing",
            "enriched.good",
            "enriched.bad",
            "shredded.errors",
            "log",
            "enriched.stream",
        ] {
            assert!(at(role, "s3://bkt").is_in_use(), "{role}");
        }
        for role in
            ["raw.archive", "enriched.archive", "shredded.archive", "assets", "jsonpath_assets"]
        {
            assert!(!at(role, "s3://bkt").is_in_use(), "{role}");
        }
    }
}
