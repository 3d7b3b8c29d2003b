//! The scope of an audit: which locations, in which roles. Each object is counted once, in the
//! innermost location that contains it.

use crate::{
    base::names::{BucketName, S3Location},
    settings::policy::Policy,
    spec::data_paths::DataLocation,
};

/// A location to audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditTarget {
    /// The keys below `aws.s3.buckets` that name it. Empty if it was named on the command line.
    pub(crate) roles: Vec<String>,
    pub(crate) location: S3Location,
    /// Locations inside it that are counted separately.
    pub(crate) except: Vec<S3Location>,
}

impl AuditTarget {
    /// The names of its roles; its address if it has none.
    pub(crate) fn name(&self) -> String {
        if self.roles.is_empty() { self.location.to_string() } else { self.roles.join(", ") }
    }

    fn holds(&self, bucket: &str, key: &str) -> bool {
        self.location.bucket.as_str() == bucket && key.starts_with(&self.location.prefix)
    }
}

/// Why no location can be audited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeError {
    #[error(
        "nothing to audit was named; fix: name locations such as s3://bucket/folder, or a runner \
         config such as config.yml"
    )]
    Nothing,
    #[error("`{0}` {1}")]
    Location(String, String),
    #[error("every location of the config is another's (setting `external_buckets`)")]
    AllExternal,
}

/// The targets for locations named by the user.
pub(crate) fn named(locations: &[String]) -> Result<Vec<AuditTarget>, ScopeError> {
    let parsed = locations.iter().map(|text| {
        let location = S3Location::parse(text).map_err(|error| {
            ScopeError::Location(text.clone(), format!("cannot be audited: it {error}"))
        })?;
        Ok((Vec::new(), location))
    });
    Ok(targets(parsed.collect::<Result<_, _>>()?))
}

/// The targets of a runner config: all of its locations, except those of other owners that the run
/// only reads.
pub(crate) fn of_config(
    locations: &[DataLocation],
    policy: &Policy,
) -> Result<Vec<AuditTarget>, ScopeError> {
    let own = locations.iter().filter(|location| !policy.is_external(location.bucket().as_str()));
    let targets = targets(
        own.map(|location| (vec![location.role.clone()], location.location.clone())).collect(),
    );
    if targets.is_empty() { Err(ScopeError::AllExternal) } else { Ok(targets) }
}

/// The targets for whole buckets.
pub(crate) fn buckets<'a>(buckets: impl Iterator<Item = &'a BucketName>) -> Vec<AuditTarget> {
    targets(
        buckets
            .map(|bucket| {
                (Vec::new(), S3Location { bucket: bucket.clone(), prefix: String::new() })
            })
            .collect(),
    )
}

fn targets(locations: Vec<(Vec<String>, S3Location)>) -> Vec<AuditTarget> {
    let mut targets: Vec<AuditTarget> = Vec::new();
    for (roles, location) in locations {
        match targets.iter_mut().find(|target| target.location == location) {
            Some(same) => same.roles.extend(roles),
            None => targets.push(AuditTarget { roles, location, except: Vec::new() }),
        }
    }
    let all: Vec<S3Location> = targets.iter().map(|target| target.location.clone()).collect();
    for target in &mut targets {
        let inner = all.iter().filter(|other| {
            **other != target.location && target.holds(other.bucket.as_str(), &other.prefix)
        });
        target.except = inner.cloned().collect();
    }
    targets
}

/// The target in which an object is counted.
pub(crate) fn target_of(targets: &[AuditTarget], bucket: &str, key: &str) -> Option<usize> {
    let holding = targets.iter().enumerate().filter(|(_, target)| target.holds(bucket, key));
    holding.max_by_key(|(_, target)| target.location.prefix.len()).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_location_within_another_counts_for_itself_and_one_that_is_named_twice_counts_once() {
        let config = [
            ("log", "s3://bucket/"),
            ("raw.archive", "s3://bucket/archive/"),
            ("raw.in[0]", "s3://bucket/in/"),
            ("enriched.stream", "s3://bucket/in/"),
        ];
        let targets = targets(
            config
                .map(|(role, at)| (vec![role.to_owned()], S3Location::parse(at).unwrap()))
                .to_vec(),
        );
        let names: Vec<String> = targets.iter().map(AuditTarget::name).collect();
        assert_eq!(names, ["log", "raw.archive", "raw.in[0], enriched.stream"]);
        assert_eq!(
            targets[0].except.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["s3://bucket/archive/", "s3://bucket/in/"]
        );
    }

    proptest! {
        #[test]
        fn every_object_counts_for_the_target_that_scans_it_and_for_no_other(
            locations in prop::collection::vec("s3://(abc|xyz)/(([ab]{1,2}/){0,3})", 1..6), key in "([ab]{1,2}/){0,4}[ab]",
        ) {
            let targets = named(&locations).unwrap();
            for bucket in ["abc", "xyz"] {
                let scans = |target: &AuditTarget| target.holds(bucket, &key) && !target.except.iter().any(|inner| key.starts_with(&inner.prefix));
                let scanned: Vec<usize> = targets.iter().enumerate().filter(|(_, target)| scans(target)).map(|(index, _)| index).collect();
                prop_assert_eq!(scanned, target_of(&targets, bucket, &key).into_iter().collect::<Vec<_>>());
            }
        }
    }
}
