//! Checks on existing data: the objects that this run will read, and the versions that a bucket
//! keeps of them.

use crate::{
    base::{aws_calls, names::S3Location},
    checks::{
        buckets,
        case::Case,
        finding::{Check, Finding, Level, Stage, Status},
        stored::{self, Standard},
    },
    spec::data_paths::DataLocation,
};

pub(super) static ENCRYPTED: Check = Check {
    name: "data-encrypted",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A bucket's default encryption is not retroactive: objects from before it stay as they \
        were written, and the run would read, copy and load them.",
    looks_at: "s3:ListObjectsV2 on each location that this run reads data from, and s3:HeadObject \
        on its objects: all of them up to the setting `data_objects`, an even sample beyond it.",
    asks: &[&aws_calls::LIST_OBJECTS, &aws_calls::HEAD_OBJECT],
    fix: "encrypt them in place (without --apply: a dry run): `emr-etl-guard reencrypt --apply \
        {locations}`",
    source: "Setup guide, Setting up end to end encryption, S3 buckets (\"not retroactive\"); \
        Amazon S3 user guide, Setting default server-side encryption",
};

pub(super) static VERSIONS: Check = Check {
    name: "no-earlier-versions",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "A versioned bucket keeps what is overwritten or deleted: unencrypted objects stay \
        readable as earlier versions after they were copied in place, and staged raw data stays \
        after it was moved.",
    looks_at: "s3:GetBucketVersioning on each bucket of the run.",
    asks: &[&aws_calls::GET_BUCKET_VERSIONING],
    fix: "look for them (`aws s3api list-object-versions --bucket {subject} --max-items 100`), \
        and have a lifecycle rule with NoncurrentVersionExpiration remove them",
    source: "Amazon S3 user guide, Retaining multiple versions of objects with S3 Versioning",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let roles = case.paths.plan.reads_data_from();
    let locations: Vec<&DataLocation> = case
        .paths
        .locations
        .iter()
        .filter(|location| roles.contains(&location.role.as_str()))
        .collect();
    if locations.is_empty() {
        findings.push(
            ENCRYPTED
                .on("locations", "encrypted objects")
                .not_applicable("this run reads no data from S3"),
        );
    }
    let mut judged: Vec<Finding> =
        locations.iter().map(|location| encrypted(case, location)).collect();
    // One command fixes all of them, because they have one cause.
    let wrong: Vec<&S3Location> = locations
        .iter()
        .zip(&judged)
        .filter(|(_, finding)| finding.status == Status::Failed)
        .map(|(location, _)| &location.location)
        .collect();
    let fix = stored::reencrypt(&ENCRYPTED, &Standard::of(case.policy, case.facts), &wrong);
    for finding in judged.iter_mut().filter(|finding| finding.status == Status::Failed) {
        *finding = finding.clone().with_fix(fix.clone());
    }
    findings.extend(judged);
    for (bucket, facts) in &case.facts.buckets {
        let at = case
            .paths
            .locations
            .iter()
            .find(|location| location.bucket() == bucket)
            .map(|location| location.at.as_str());
        let subject = VERSIONS.on(bucket.as_str(), "not versioned").at(at);
        findings.push(subject.by_existing(
            &buckets::EXISTS,
            &facts.versioning,
            |subject, versioning| match versioning {
                None => subject.passed("never versioned"),
                Some(status) => subject.failed(format!(
                    "versioning {status}: earlier versions may be there, which were not looked at"
                )),
            },
        ));
    }
}

fn encrypted(case: &Case<'_>, location: &DataLocation) -> Finding {
    let standard = Standard::of(case.policy, case.facts);
    let subject =
        ENCRYPTED.on(location.role.as_str(), stored::wanted(&standard)).at(Some(&location.at));
    if case.policy.data_objects == 0 {
        return subject.not_applicable("switched off by policy (`data_objects: 0`)");
    }
    if !case.facts.buckets.contains_key(location.bucket()) {
        return subject.not_applicable("external by policy");
    }
    match case.facts.data.get(&location.role) {
        None => subject.waiting_for(&buckets::EXISTS),
        Some(lookup) => subject.by_existing(&buckets::EXISTS, lookup, |subject, survey| {
            stored::judge(&standard, subject, survey, |subject| subject.passed("nothing there yet"))
        }),
    }
}
