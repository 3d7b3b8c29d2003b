//! What a run has written to S3: the locations that its steps write to, and the encryption of each
//! object there.
//!
//! A run's objects are in the folders that its own steps name (`run=…`, or the location itself if
//! it has no such layout), in the log folders of its own clusters, and in its own folder of RDB
//! Loader's logs, and are not older than the launch. The time of the launch is read from S3's own
//! clock, which also dates the objects; the clock of this machine or of another service could
//! differ. Objects that later steps moved are read at their new location.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::{
    aws::clients::Aws,
    base::{
        lookup::Lookup,
        names::{BucketName, ClusterId, S3Location},
    },
    facts::objects::{self, LocationSurvey, SurveyProgress, SurveyQuery},
    settings::policy::fits,
    spec::data_paths::{Access, Actor, DataLocation, LaunchPlan},
};

/// The key of the location for logs of EMR and RDB Loader.
pub(crate) const LOG: &str = "log";

/// A location that the run writes to, and the folders in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLocation {
    /// The key below `aws.s3.buckets`.
    pub role: String,
    /// The run's own folders; empty if none of its steps writes there.
    pub folders: Vec<S3Location>,
}

/// The run's objects in one location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Written")]
pub struct OutputSurvey {
    /// The key below `aws.s3.buckets`.
    pub role: String,
    /// The folders that were read.
    pub folders: Vec<S3Location>,
    /// The counts, even if the survey did not finish.
    pub survey: LocationSurvey,
    /// How the survey ended.
    pub look: Lookup<()>,
    /// Why it was stopped early, if it was. Then the counts are incomplete.
    pub cut_short: Option<&'static str>,
}

/// A cluster of the run: its id, and its log location if EMR gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) id: ClusterId,
    pub(crate) log: Option<S3Location>,
}

/// Where a run can write: all data that a survey of its output needs, even by a later guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WriteLocations {
    /// From its config and plan.
    Planned {
        /// Every location of the config, by its key. An object belongs to the innermost location.
        locations: Vec<(String, S3Location)>,
        /// The keys of the locations that the run writes to.
        written: BTreeSet<String>,
        /// Whether RDB Loader writes logs.
        loads: bool,
    },
    /// There is no config: any location that the steps name, since objects that are only read there
    /// are older than the cluster. Buckets of other owners are excluded.
    Named {
        /// Name patterns of these buckets, from the policy.
        external: Vec<String>,
    },
}

impl WriteLocations {
    pub(crate) fn of(locations: &[DataLocation], plan: &LaunchPlan) -> Self {
        Self::Planned {
            locations: locations
                .iter()
                .map(|location| (location.role.clone(), location.location.clone()))
                .collect(),
            written: plan.roles(Access::Write).into_iter().map(str::to_owned).collect(),
            loads: plan.writers(LOG).contains(&Actor::RdbLoader),
        }
    }

    /// The locations to survey, from the locations that the run's steps name.
    pub(crate) fn places(&self, named: &[S3Location], clusters: &[Logging]) -> Vec<OutputLocation> {
        match self {
            Self::Planned { locations, written, loads } => {
                let written = locations.iter().filter(|(role, _)| written.contains(role));
                written
                    .map(|(role, location)| OutputLocation {
                        role: role.clone(),
                        folders: planned(role, location, locations, *loads, named, clusters),
                    })
                    .collect()
            }
            Self::Named { external } => by_bucket(external, named, clusters),
        }
    }
}

/// The run's own folders in the location `role` at `location`.
fn planned(
    role: &str,
    location: &S3Location,
    locations: &[(String, S3Location)],
    loads: bool,
    named: &[S3Location],
    clusters: &[Logging],
) -> Vec<S3Location> {
    // Locations may contain each other. An object belongs to the innermost one.
    let inner: Vec<&S3Location> = locations
        .iter()
        .map(|(_, other)| other)
        .filter(|other| starts_with(other, location) && *other != location)
        .collect();
    let own = named.iter().filter(|place| {
        starts_with(place, location) && !inner.iter().any(|inner| starts_with(place, inner))
    });
    let folders: Vec<S3Location> = if role == LOG {
        let of_emr = clusters
            .iter()
            .map(|cluster| below(cluster.log.as_ref().unwrap_or(location), cluster.id.as_str()));
        let of_loader = own.filter_map(|place| loader_folder(location, place));
        of_emr.chain(of_loader.filter(|_| loads)).collect()
    } else {
        own.map(|place| run_folder(location, place)).collect()
    };
    without_inner(folders)
}

/// The locations that steps name and the clusters' logs, grouped by bucket.
fn by_bucket(
    external: &[String],
    named: &[S3Location],
    clusters: &[Logging],
) -> Vec<OutputLocation> {
    let mut buckets: BTreeMap<&BucketName, Vec<S3Location>> = BTreeMap::new();
    for place in named
        .iter()
        .filter(|place| !external.iter().any(|pattern| fits(pattern, place.bucket.as_str())))
    {
        buckets.entry(&place.bucket).or_default().push(place.clone());
    }
    let of_steps = buckets.into_iter().map(|(bucket, folders)| OutputLocation {
        role: format!("s3://{bucket}"),
        folders: without_inner(folders),
    });
    let logs: Vec<S3Location> = clusters
        .iter()
        .filter_map(|cluster| Some(below(cluster.log.as_ref()?, cluster.id.as_str())))
        .collect();
    let logs = (!logs.is_empty())
        .then(|| OutputLocation { role: LOG.to_owned(), folders: without_inner(logs) });
    of_steps.chain(logs).collect()
}

/// Removes duplicates, and folders inside others, which are read there already.
fn without_inner(mut folders: Vec<S3Location>) -> Vec<S3Location> {
    folders.sort();
    folders.dedup();
    let all = folders.clone();
    folders.retain(|folder| !all.iter().any(|other| other != folder && starts_with(folder, other)));
    folders
}

fn starts_with(place: &S3Location, location: &S3Location) -> bool {
    place.bucket == location.bucket && place.prefix.starts_with(&location.prefix)
}

fn below(location: &S3Location, folder: &str) -> S3Location {
    S3Location { bucket: location.bucket.clone(), prefix: format!("{}{folder}/", location.prefix) }
}

/// The folder `run=…` of `location` that contains `place`; the whole location if there is none.
fn run_folder(location: &S3Location, place: &S3Location) -> S3Location {
    let rest = &place.prefix[location.prefix.len()..];
    match rest.split_once('/') {
        Some((run, _)) if run.starts_with("run=") => below(location, run),
        _ => location.clone(),
    }
}

/// The folder `rdb-loader/RUN` that contains a loader's log.
fn loader_folder(location: &S3Location, place: &S3Location) -> Option<S3Location> {
    let (run, _) =
        place.prefix[location.prefix.len()..].strip_prefix("rdb-loader/")?.split_once('/')?;
    Some(below(location, &format!("rdb-loader/{run}")))
}

/// How often progress is reported.
const PACE: Duration = Duration::from_millis(200);

/// Surveys the objects in `places` since `since`: at most `limit` objects in each, or all of them.
/// If `cut` returns a reason, the survey stops. `tell` gets the progress: how many objects were
/// read, and how many of the objects listed so far will be read.
pub async fn look(
    aws: &Aws,
    places: Vec<OutputLocation>,
    since: Option<OffsetDateTime>,
    limit: Option<usize>,
    tell: impl Fn(u64, u64),
    cut: impl Future<Output = &'static str>,
) -> Vec<OutputSurvey> {
    let looks: Vec<_> = places
        .into_iter()
        .map(|place| (place, SurveyProgress::default(), Mutex::new(None)))
        .collect();
    let crew = objects::crew();
    let counted = join_all(looks.iter().map(async |(place, counting, end)| {
        let question = SurveyQuery { folders: &place.folders, since, limit };
        let look = objects::count(&aws.s3_bulk, &crew, &question, counting).await;
        *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }));
    let telling = async {
        loop {
            let far = looks.iter().map(|(_, counting, _)| counting.far(limit));
            let (looked_at, listed) = far.fold((0, 0), |sum, far| (sum.0 + far.0, sum.1 + far.1));
            tell(looked_at, listed);
            sleep(PACE).await;
        }
    };
    let cut_short = tokio::select! {
        never = telling => never,
        _ = counted => None,
        why = cut => Some(why),
    };
    looks
        .into_iter()
        .map(|(place, counting, end)| {
            let end = end.into_inner().unwrap_or_else(PoisonError::into_inner);
            OutputSurvey {
                role: place.role,
                folders: place.folders,
                survey: counting.end(),
                cut_short: cut_short.filter(|_| end.is_none()),
                look: end.unwrap_or(Lookup::Found(())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        runners::emr_etl_runner::{
            config::RunnerConfig,
            invocation::{Invocation, RunInvocation},
            plan::PlanInputs,
        },
        spec::observations::RunnerDocuments,
    };
    use proptest::prelude::*;

    fn config() -> RunnerConfig {
        let env = |name: &str| name.starts_with("AWS_").then(|| "AKIAFAKE".into());
        RunnerConfig::parse("config.yml", include_bytes!("../../tests/recordings/config.yml"), &env)
            .unwrap()
    }

    fn plan(config: &RunnerConfig, loads: bool) -> LaunchPlan {
        let arguments = ["run", "-c", "config.yml", "-r", "resolver.json"].map(Into::into);
        let Invocation::Run(run) = Invocation::parse(&arguments).unwrap() else { unreachable!() };
        let run: RunInvocation = run;
        LaunchPlan::of(
            &run,
            &PlanInputs {
                loads,
                ..crate::runners::emr_etl_runner::plan::plan_inputs(
                    config,
                    &RunnerDocuments::default(),
                )
            },
        )
        .unwrap()
    }

    fn at(text: &str) -> S3Location {
        S3Location::parse(text).unwrap()
    }

    fn folders(
        role: &str,
        named: &[&str],
        clusters: &[(&str, Option<&str>)],
        loads: bool,
    ) -> Vec<String> {
        let config = config();
        let named: Vec<S3Location> = named.iter().map(|place| at(place)).collect();
        let clusters: Vec<Logging> = clusters
            .iter()
            .map(|(id, log)| Logging { id: id.parse().unwrap(), log: log.map(at) })
            .collect();
        let places =
            WriteLocations::of(&config.locations, &plan(&config, loads)).places(&named, &clusters);
        let place = places.into_iter().find(|place| place.role == role).unwrap();
        place.folders.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_folders_of_a_run_are_those_that_its_steps_name() {
        let run = "run=2026-11-25-15-02-00";
        let named = [
            "s3://acme-etl/processing/".to_owned(),
            format!("s3n://acme-out/enriched/bad/{run}/"),
            format!("s3://acme-out/enriched/good/{run}/"),
            format!("s3://acme-archive/enriched/{run}/"),
            "s3://snowplow-hosted-assets/3-enrich/x.jar".to_owned(),
        ];
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let of = |role| folders(role, &named, &[], false);
        assert_eq!(of("raw.processing"), ["s3://acme-etl/processing/"]);
        assert_eq!(of("enriched.bad"), [format!("s3://acme-out/enriched/bad/{run}/")]);
        assert_eq!(of("enriched.archive"), [format!("s3://acme-archive/enriched/{run}/")]);
        assert!(of("shredded.archive").is_empty(), "no step writes there");
    }

    #[test]
    fn logs_are_those_of_the_runs_clusters_and_of_its_own_loader() {
        let clusters = [("j-A", None), ("j-B", Some("s3n://acme-other/logs/"))];
        let loader = [
            "s3://acme-log/emr/rdb-loader/2026-11-25-15-02-00/5f",
            "s3://acme-log/emr/rdb-loader/2026-11-25-15-02-00/6a",
        ];
        assert_eq!(
            folders("log", &loader, &clusters, true),
            [
                "s3://acme-log/emr/j-A/",
                "s3://acme-log/emr/rdb-loader/2026-11-25-15-02-00/",
                "s3://acme-other/logs/j-B/"
            ]
        );
        assert_eq!(
            folders("log", &loader, &clusters[..1], false),
            ["s3://acme-log/emr/j-A/"],
            "nothing is loaded"
        );
    }

    #[test]
    fn without_a_config_every_place_that_a_step_names_counts_but_not_in_buckets_of_others() {
        let writes = WriteLocations::Named { external: vec!["snowplow-*".to_owned()] };
        let named = [
            "s3://acme-out/good/",
            "s3://acme-out/good/run=1/",
            "s3://acme-in/x/",
            "s3://snowplow-hosted-assets/x.jar",
        ]
        .map(at);
        let clusters = [
            Logging { id: "j-A".parse().unwrap(), log: Some(at("s3://acme-log/emr/")) },
            Logging { id: "j-B".parse().unwrap(), log: None },
        ];
        let places = writes.places(&named, &clusters);
        let shown: Vec<String> = places
            .iter()
            .map(|place| {
                format!(
                    "{}: {}",
                    place.role,
                    place.folders.iter().map(ToString::to_string).collect::<String>()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "s3://acme-in: s3://acme-in/x/",
                "s3://acme-out: s3://acme-out/good/",
                "log: s3://acme-log/emr/j-A/"
            ]
        );
    }

    proptest! {
        #[test]
        fn a_runs_folder_lies_in_its_location_and_holds_the_place_that_was_named(
            location in "([a-z]{1,3}/){0,2}", run in "(run=)?[a-z0-9-]{0,4}", rest in "(/[a-z]{0,3}){0,3}",
        ) {
            let location = at(&format!("s3://bucket/{location}"));
            let place = at(&format!("{location}{run}{rest}"));
            let folder = run_folder(&location, &place);
            prop_assert!(starts_with(&folder, &location) && starts_with(&place, &folder), "{folder} for {place} in {location}");
            let own = folder.prefix[location.prefix.len()..].to_owned();
            prop_assert!(own.is_empty() || (own.starts_with("run=") && own.matches('/').count() == 1));
        }
    }
}
