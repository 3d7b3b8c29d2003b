//! Checks on the data that is there already: what this run will read, object by object, and what a bucket keeps of it.

use super::{Case, Check, Finding, Level, Stage, Subject, buckets};
use crate::{
    aws::calls,
    facts::{Stored, Survey, Tally},
    names::KeyReference,
    runner_config::Location,
};

pub(super) static ENCRYPTED: Check = Check {
    name: "data-encrypted",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A bucket's default encryption is not retroactive: objects from before it stay as they were written, and the run would read, copy and load them.",
    looks_at: "s3:ListObjectsV2 on each location that this run reads data from, and s3:HeadObject on its objects: all of them up to the setting `data_objects`, an even sample beyond it.",
    asks: &[&calls::LIST_OBJECTS, &calls::HEAD_OBJECT],
    mend: "copy them in place: aws s3 cp --recursive --sse AES256 (or --sse aws:kms --sse-kms-key-id KEY_ARN) s3://BUCKET/PREFIX s3://BUCKET/PREFIX",
    source: "Setup guide, Setting up end to end encryption, S3 buckets (\"not retroactive\"); Amazon S3 user guide, Setting default server-side encryption",
};

pub(super) static VERSIONS: Check = Check {
    name: "no-earlier-versions",
    stage: Stage::PreFlight,
    level: Level::Advised,
    why: "A versioned bucket keeps what is overwritten or deleted: unencrypted objects stay readable as earlier versions after they were copied in place, and staged raw data stays after it was moved.",
    looks_at: "s3:GetBucketVersioning on each bucket of the run.",
    asks: &[&calls::GET_BUCKET_VERSIONING],
    mend: "look for them (aws s3api list-object-versions --bucket {subject}), and have a lifecycle rule with NoncurrentVersionExpiration remove them",
    source: "Amazon S3 user guide, Retaining multiple versions of objects with S3 Versioning",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let roles = case.plan.reads_data_from();
    let locations: Vec<&Location> = case.config.locations.iter().filter(|location| roles.contains(&location.role.as_str())).collect();
    if locations.is_empty() {
        findings.push(ENCRYPTED.on("locations", "encrypted objects").not_applicable("this run reads no data from S3"));
    }
    findings.extend(locations.iter().map(|location| encrypted(case, location)));
    for (bucket, facts) in &case.facts.buckets {
        let at = case.config.locations.iter().find(|location| location.bucket() == bucket).map(|location| location.at.as_str());
        let subject = VERSIONS.on(bucket.as_str(), "not versioned").at(at);
        findings.push(subject.by_existing(&buckets::EXISTS, &facts.versioning, |subject, versioning| match versioning {
            None => subject.proved("never versioned"),
            Some(status) => subject.refuted(format!("versioning {status}: earlier versions may be there, which were not looked at")),
        }));
    }
}

fn encrypted(case: &Case<'_>, location: &Location) -> Finding {
    let keys = &case.policy.expected_keys;
    let under = if keys.is_empty() { String::new() } else { format!(", under {}", keys.join(" or ")) };
    let subject = ENCRYPTED
        .on(location.role.as_str(), format!("every object {}{under}", buckets::accepted(&case.policy.accept_encryption)))
        .at(Some(&location.at));
    if case.policy.data_objects == 0 {
        return subject.not_applicable("switched off by policy (`data_objects: 0`)");
    }
    if !case.facts.buckets.contains_key(location.bucket()) {
        return subject.not_applicable("external by policy");
    }
    match case.facts.data.get(&location.role) {
        None => subject.waiting_for(&buckets::EXISTS),
        Some(lookup) => subject.by_existing(&buckets::EXISTS, lookup, |subject, survey| judge(case, subject, survey)),
    }
}

fn judge(case: &Case<'_>, subject: Subject, survey: &Survey) -> Finding {
    let accepted = |stored: &Stored| match stored {
        Stored::Kind(kind, key) => {
            let key = key.as_deref().map(KeyReference::new);
            case.policy.accept_encryption.contains(kind) && buckets::is_expected(case, key.as_ref())
        }
        Stored::Unencrypted | Stored::CustomerKey | Stored::Other(_) => false,
    };
    let wrong: Vec<String> = survey.kinds.iter().filter(|tally| !accepted(&tally.stored)).map(offenders).collect();
    let seen = if survey.looked_at < survey.objects {
        format!("an even sample of {} of {} objects", survey.looked_at, survey.objects)
    } else {
        format!("all {} objects", survey.objects)
    };
    if !wrong.is_empty() {
        return subject.refuted(format!("{}, of {seen}", wrong.join("; ")));
    }
    match survey.unseen.as_ref().map(|unseen| (unseen.objects, unseen.obstacle())) {
        Some((objects, Some((obstacle, denied)))) => {
            let obstacle = crate::aws::Obstacle { message: format!("{objects} objects: {}", obstacle.message), ..obstacle.clone() };
            if denied { subject.denied(&obstacle) } else { subject.unreachable(&obstacle) }
        }
        Some((objects, None)) => subject.unknown(format!("{objects} objects could not be looked at"), "try again"),
        None if survey.objects == 0 => subject.proved("nothing there yet"),
        None => {
            let kinds: Vec<String> = survey.kinds.iter().map(|tally| shown(&tally.stored)).collect();
            subject.proved(format!("{seen}: {}", kinds.join(", ")))
        }
    }
}

/// `2 objects (1024 bytes) unencrypted: logs/a, logs/b`.
fn offenders(tally: &Tally) -> String {
    let more = if tally.objects > tally.first.len() as u64 { ", …" } else { "" };
    format!("{} objects ({} bytes) {}: {}{more}", tally.objects, tally.bytes, shown(&tally.stored), tally.first.join(", "))
}

fn shown(stored: &Stored) -> String {
    match stored {
        Stored::Unencrypted => "unencrypted".to_owned(),
        Stored::Kind(kind, None) => buckets::kind_name(*kind).to_owned(),
        Stored::Kind(kind, Some(key)) => format!("{} under {key}", buckets::kind_name(*kind)),
        Stored::CustomerKey => "SSE-C, under a key that the run does not have".to_owned(),
        Stored::Other(kind) => format!("of the unknown kind `{kind}`"),
    }
}
