//! Owns S3 Batch Operations: jobs, the work of their tasks, and the completion report.

use std::fmt::Write as _;

use bytes::Bytes;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;

use crate::api::s3;
use crate::call::Call;
use crate::xml;
use emr_world::job::{Job, JobTask, TaskOutcome};
use emr_world::object::Older;
use emr_world::policy::{self, Ask, Decision};
use emr_world::s3write::{self, Write};
use emr_world::sse::Sse;
use emr_world::values::hex;
use emr_world::world::{Caller, World};

/// The number of tasks that are done between two requests about a job.
const TASKS_A_LOOK: usize = 50;
/// The encoding of keys in manifests and reports.
const KEY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Bucket and key of an object's ARN.
fn of_arn(arn: &str) -> Option<(&str, &str)> {
    arn.rsplit_once(":::").and_then(|(_, rest)| rest.split_once('/'))
}

/// Advances a job by one step per request.
pub(crate) fn step(world: &mut World, index: usize) {
    let status = match world.jobs[index].status.as_str() {
        "New" => "Preparing".to_owned(),
        "Preparing" => match prepare(world, index) {
            Ok(tasks) => {
                world.jobs[index].tasks = tasks;
                let waits =
                    inside(&world.jobs[index].request, "ConfirmationRequired") == Some("true");
                if waits { "Suspended" } else { "Ready" }.to_owned()
            }
            Err((code, reason)) => {
                world.jobs[index].failure = Some((code, reason));
                "Failed".to_owned()
            }
        },
        "Ready" => "Active".to_owned(),
        "Active" => work(world, index).to_owned(),
        other => other.to_owned(),
    };
    world.jobs[index].status = status;
}

fn inside<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    xml::inside(document, name)
}

fn text(document: &str, name: &str) -> Option<String> {
    xml::text(document, name)
}

/// Whether the job's role may do this, by its own policies.
fn allowed(world: &World, job: &Job, action: &str, resource: &str) -> bool {
    let Some(role) = world.roles.iter().find(|role| role.arn() == job.role) else { return false };
    let trusts = role.trust.to_string().contains("batchoperations.s3.amazonaws.com");
    let context = policy::base_context(&job.role, &job.account);
    let ask = Ask { action, resource, context: &context };
    let documents = role.policies.iter().chain(&role.attached).map(|(_, document)| document);
    let decision = documents
        .map(|document| policy::evaluate_identity(document, &ask))
        .fold(Decision::ImplicitDeny, Decision::and);
    trusts && decision == Decision::Allowed
}

/// The tasks of a job: from its manifest, or from the bucket if S3 generates the list.
fn prepare(world: &mut World, index: usize) -> Result<Vec<JobTask>, (String, String)> {
    let job = world.jobs[index].clone();
    let failed = |code: &str, reason: String| (code.to_owned(), reason);
    if !world.roles.iter().any(|role| {
        role.arn() == job.role
            && role.trust.to_string().contains("batchoperations.s3.amazonaws.com")
    }) {
        return Err(failed(
            "InvalidRole",
            format!("The role {} cannot be assumed by S3 Batch Operations", job.role),
        ));
    }
    if let Some(generator) = inside(&job.request, "S3JobManifestGenerator") {
        return generate(world, &job, generator);
    }
    let manifest = inside(&job.request, "Manifest").unwrap_or_default();
    let arn = text(manifest, "ObjectArn").unwrap_or_default();
    let etag = text(manifest, "ETag").unwrap_or_default();
    if !allowed(world, &job, "s3:GetObject", &arn) {
        return Err(failed(
            "AccessDenied",
            format!("The job's role may not read the manifest {arn}"),
        ));
    }
    let object = of_arn(&arn).and_then(|(bucket, key)| world.object(bucket, key));
    let object = object.filter(|object| object.etag == etag.trim_matches('"'));
    let body = object
        .and_then(|object| object.body.clone())
        .ok_or_else(|| failed("ManifestNotFound", format!("There is no such manifest: {arn}")))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let tasks: Option<Vec<JobTask>> =
        body.lines().filter(|line| !line.is_empty()).map(line_of_manifest).collect();
    tasks.ok_or_else(|| {
        failed("InvalidManifest", "A line of the manifest cannot be read".to_owned())
    })
}

fn line_of_manifest(line: &str) -> Option<JobTask> {
    let mut fields = line.split(',').map(|field| field.trim_matches('"'));
    let (bucket, key) = (fields.next()?.to_owned(), fields.next()?);
    let key = percent_decode_str(key).decode_utf8().ok()?.into_owned();
    Some(JobTask {
        bucket,
        key,
        version: fields.next().filter(|it| !it.is_empty()).map(str::to_owned),
    })
}

/// The list that S3 generates. For a bucket with versioning it contains all versions, as
/// replication needs; the filters are those of the API reference's `JobManifestGeneratorFilter`, at
/// most one by encryption.
fn generate(
    world: &mut World,
    job: &Job,
    generator: &str,
) -> Result<Vec<JobTask>, (String, String)> {
    let failed = |code: &str, reason: String| Err((code.to_owned(), reason));
    let bucket = text(generator, "SourceBucket").unwrap_or_default();
    let bucket = bucket.rsplit(":::").next().unwrap_or_default().to_owned();
    for action in ["s3:PutInventoryConfiguration", "s3:ListBucket"] {
        if !allowed(world, job, action, &format!("arn:aws:s3:::{bucket}")) {
            return failed("AccessDenied", format!("The job's role may not {action} on {bucket}"));
        }
    }
    let Some(found) = world.buckets.get(&bucket) else {
        return failed("NoSuchBucket", format!("There is no bucket {bucket}"));
    };
    if text(generator, "ExpectedBucketOwner").is_some_and(|owner| owner != found.account) {
        return failed("AccessDenied", format!("{bucket} is another account's"));
    }
    let filter = inside(generator, "Filter").unwrap_or_default();
    let prefixes =
        inside(filter, "MatchAnyPrefix").map(|list| xml::texts(list, "member")).unwrap_or_default();
    let classes = inside(filter, "MatchAnyStorageClass")
        .map(|list| xml::texts(list, "member"))
        .unwrap_or_default();
    let number = |name: &str| text(filter, name).and_then(|it| it.parse::<u64>().ok());
    let (more, less) = (number("ObjectSizeGreaterThanBytes"), number("ObjectSizeLessThanBytes"));
    let encryption = inside(filter, "MatchAnyObjectEncryption");
    let wanted = |key: &str, object: &emr_world::object::Object| {
        (prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())))
            && (classes.is_empty() || classes.contains(&object.storage_class))
            && more.is_none_or(|more| object.size > more)
            && less.is_none_or(|less| object.size < less)
            && encryption.is_none_or(|filter| is_encrypted_so(filter, &object.sse))
    };
    let keys: std::collections::BTreeSet<&String> =
        found.objects.keys().chain(found.older.keys()).collect();
    let versions = keys
        .into_iter()
        .flat_map(|key| found.versions(key).map(move |version| (key.clone(), version)));
    let tasks: Vec<JobTask> = versions
        .filter_map(|(key, version)| match version {
            Older::Object(object) if wanted(&key, &object) => {
                Some(JobTask { bucket: bucket.clone(), key, version: object.version })
            }
            Older::Object(_) | Older::DeleteMarker { .. } => None,
        })
        .collect();
    if text(generator, "EnableManifestOutput").as_deref() == Some("true") {
        keep_generated(
            world,
            job,
            inside(generator, "ManifestOutputLocation").unwrap_or_default(),
            &tasks,
        )?;
    }
    Ok(tasks)
}

/// Whether the filter by encryption matches.
fn is_encrypted_so(filter: &str, sse: &Sse) -> bool {
    let named = |name: &str| xml::has(filter, name);
    match sse {
        Sse::None => named("NOT-SSE"),
        Sse::Aes256 => named("SSE-S3"),
        Sse::Kms { key } => {
            named("SSE-KMS")
                && text(filter, "KmsKeyArn")
                    .is_none_or(|wanted| key.as_deref() == Some(wanted.as_str()))
        }
        Sse::Dsse { .. } => named("DSSE-KMS"),
        Sse::Customer => named("SSE-C"),
    }
}

/// Stores the generated manifest: a list in the form of inventories, and the file that refers to
/// it.
fn keep_generated(
    world: &mut World,
    job: &Job,
    place: &str,
    tasks: &[JobTask],
) -> Result<(), (String, String)> {
    let bucket = text(place, "Bucket")
        .unwrap_or_default()
        .rsplit(":::")
        .next()
        .unwrap_or_default()
        .to_owned();
    let folder = format!(
        "{}/job-{}",
        text(place, "ManifestPrefix").unwrap_or_default().trim_end_matches('/'),
        job.id
    );
    let key = format!("{folder}/manifest.csv");
    if !allowed(world, job, "s3:PutObject", &format!("arn:aws:s3:::{bucket}/{key}")) {
        return Err((
            "AccessDenied".to_owned(),
            format!("The job's role may not write the manifest to {bucket}"),
        ));
    }
    let lines = tasks.iter().fold(String::new(), |mut lines, task| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            lines,
            "\"{}\",\"{}\",\"{}\"",
            task.bucket,
            utf8_percent_encode(&task.key, KEY),
            task.version.as_deref().unwrap_or_default()
        );
        lines
    });
    let header = xml::has(place, "SSE-S3").then_some(Sse::Aes256);
    put_under(world, job, (&bucket, &key), lines, header)
        .map_err(|reason| ("ManifestOutputFailed".to_owned(), reason))
}

/// The location of a job's generated manifest.
pub(crate) fn generated_manifest(job: &Job) -> Option<String> {
    let place = inside(&job.request, "ManifestOutputLocation")
        .filter(|_| !matches!(job.status.as_str(), "New" | "Preparing"))?;
    let folder = text(place, "ManifestPrefix").unwrap_or_default();
    Some(format!(
        "{}/{}/job-{}/manifest.csv",
        text(place, "Bucket")?,
        folder.trim_end_matches('/'),
        job.id
    ))
}

/// Does the next tasks; with the last one, writes the report.
fn work(world: &mut World, index: usize) -> &'static str {
    let job = world.jobs[index].clone();
    let next = job.done.len();
    for task in job.tasks.iter().skip(next).take(TASKS_A_LOOK) {
        let outcome = perform(world, &job, task);
        world.jobs[index].done.push(outcome);
    }
    if world.jobs[index].done.len() < job.tasks.len() {
        return "Active";
    }
    match report(world, index) {
        Ok(()) => "Complete",
        Err(reason) => {
            world.jobs[index].failure = Some(("ReportFailed".to_owned(), reason));
            "Failed"
        }
    }
}

/// One task, as S3's request with the job's role.
fn perform(world: &mut World, job: &Job, task: &JobTask) -> TaskOutcome {
    let arn = format!("arn:aws:s3:::{}/{}", task.bucket, task.key);
    let operation = inside(&job.request, "Operation").unwrap_or_default();
    let version =
        task.version.as_deref().map_or_else(String::new, |version| format!("?versionId={version}"));
    let path = format!("/{}/{}", task.bucket, utf8_percent_encode(&task.key, KEY));
    let copy = inside(operation, "S3PutObjectCopy");
    let update = inside(operation, "S3UpdateObjectEncryption");
    let needed: &[&str] = if copy.is_some() {
        &["s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging"]
    } else if update.is_some() {
        &["s3:UpdateObjectEncryption"]
    } else {
        &["s3:RestoreObject"]
    };
    if let Some(action) = needed.iter().find(|action| !allowed(world, job, action, &arn)) {
        return TaskOutcome(403, "AccessDenied".to_owned(), format!("{action} is not allowed"));
    }
    let mut request = hyper::Request::builder();
    let mut body = String::new();
    if let Some(copy) = copy {
        request = request
            .method("PUT")
            .uri(&path)
            .header("x-amz-copy-source", format!("{path}{version}"));
        match text(copy, "SSEAlgorithm").as_deref() {
            Some("KMS") => request = request.header("x-amz-server-side-encryption", "aws:kms"),
            Some(other) => request = request.header("x-amz-server-side-encryption", other),
            None => {}
        }
        let headers = [
            ("SSEAwsKmsKeyId", "x-amz-server-side-encryption-aws-kms-key-id"),
            ("StorageClass", "x-amz-storage-class"),
            ("MetadataDirective", "x-amz-metadata-directive"),
            ("BucketKeyEnabled", "x-amz-server-side-encryption-bucket-key-enabled"),
            ("ChecksumAlgorithm", "x-amz-checksum-algorithm"),
        ];
        for (element, header) in headers {
            if let Some(value) = text(copy, element) {
                request = request.header(header, value);
            }
        }
    } else if let Some(update) = update {
        let separator =
            if version.is_empty() { String::new() } else { format!("&{}", &version[1..]) };
        request = request.method("PUT").uri(format!("{path}?encryption{separator}"));
        update.clone_into(&mut body);
    } else {
        let restore = inside(operation, "S3InitiateRestoreObject").unwrap_or_default();
        request = request.method("POST").uri(format!("{path}?restore"));
        body = format!(
            "<RestoreRequest><Days>{}</Days></RestoreRequest>",
            text(restore, "ExpirationInDays").unwrap_or_default()
        );
    }
    let region =
        world.buckets.get(&task.bucket).map_or_else(String::new, |bucket| bucket.region.clone());
    let credential = format!("AWS4-HMAC-SHA256 Credential=BATCH/20261122/{region}/s3/aws4_request");
    let Ok(request) = request.header("authorization", credential).body(()) else {
        return TaskOutcome(400, "InvalidRequest".to_owned(), "The key cannot be sent".to_owned());
    };
    let call = Call::new(request.into_parts().0, &Bytes::from(body));
    let name = job.role.rsplit('/').next().unwrap_or_default();
    let arn = format!("arn:aws:sts::{}:assumed-role/{name}/s3-batch-operations", job.account);
    let caller = Caller { account: job.account.clone(), arn, user_id: "AROABATCH:job".to_owned() };
    match s3::answer(world, &call, Some(&caller)) {
        Ok(_) => TaskOutcome(200, String::new(), "Successful".to_owned()),
        Err(failure) => TaskOutcome(failure.status, failure.code, failure.message),
    }
}

/// The completion report: a CSV file for each kind of result, and a manifest that lists them.
fn report(world: &mut World, index: usize) -> Result<(), String> {
    let job = world.jobs[index].clone();
    let wish = inside(&job.request, "Report").unwrap_or_default().to_owned();
    if text(&wish, "Enabled").as_deref() != Some("true") {
        return Ok(());
    }
    let bucket = text(&wish, "Bucket")
        .unwrap_or_default()
        .rsplit(":::")
        .next()
        .unwrap_or_default()
        .to_owned();
    let folder = match text(&wish, "Prefix") {
        Some(prefix) if !prefix.is_empty() => {
            format!("{}/job-{}", prefix.trim_end_matches('/'), job.id)
        }
        _ => format!("job-{}", job.id),
    };
    if !allowed(
        world,
        &job,
        "s3:PutObject",
        &format!("arn:aws:s3:::{bucket}/{folder}/manifest.json"),
    ) {
        return Err(format!("The job's role may not write the report to {bucket}"));
    }
    let all = text(&wish, "ReportScope").as_deref() != Some("FailedTasksOnly");
    let mut results = Vec::new();
    for (status, success) in [("succeeded", true), ("failed", false)] {
        let mut csv = String::new();
        for (task, outcome) in
            job.tasks.iter().zip(&job.done).filter(|(_, outcome)| outcome.is_success() == success)
        {
            let key = utf8_percent_encode(&task.key, KEY);
            let (code, message) = (&outcome.1, outcome.2.replace('"', "'"));
            let version = task.version.as_deref().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(
                csv,
                "\"{}\",\"{key}\",\"{version}\",\"{status}\",\"{code}\",\"{}\",\"{message}\"",
                task.bucket, outcome.0
            );
        }
        if csv.is_empty() || (success && !all) {
            continue;
        }
        let key =
            format!("{folder}/results/{}.csv", hex(&Md5::digest(format!("{} {status}", job.id))));
        results.push(json!({
            "TaskExecutionStatus": status, "Bucket": bucket, "MD5Checksum": hex(&Md5::digest(&csv)),
            "Key": key
        }));
        put(world, &job, &bucket, &key, csv)?;
    }
    let manifest = json!({
        "Format": "Report_CSV_20180820",
        "ReportCreationDate": emr_world::clock::iso(world.now),
        "Results": results,
        "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, \
         ResultMessage",
    });
    put(world, &job, &bucket, &format!("{folder}/manifest.json"), manifest.to_string())
}

fn put(world: &mut World, job: &Job, bucket: &str, key: &str, body: String) -> Result<(), String> {
    put_under(world, job, (bucket, key), body, None)
}

fn put_under(
    world: &mut World,
    job: &Job,
    (bucket, key): (&str, &str),
    body: String,
    header: Option<Sse>,
) -> Result<(), String> {
    let write = Write {
        bucket,
        key,
        header,
        size: body.len() as u64,
        body: Some(body.into_bytes()),
        extents: None,
        attributes: emr_world::object::Attributes::default(),
        parts: None,
        content_type: "application/octet-stream".to_owned(),
        metadata: std::collections::BTreeMap::new(),
        storage_class: "STANDARD".to_owned(),
        principal: &job.role,
        account: &job.account,
        written_by: format!("job {}", job.id),
    };
    s3write::write(world, write)
        .map(|_| ())
        .map_err(|(_, code, message)| format!("{code}: {message}"))
}
