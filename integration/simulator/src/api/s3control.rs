//! Owns the operations of S3's control plane: Batch Operations jobs, and accounts' public access
//! blocks.

mod batch;

use crate::call::{Call, Service};
use crate::reply::{Answer, Failure, Reply};
use crate::xml::{self, Xml};
use emr_world::clock::iso;
use emr_world::ids::uuid;
use emr_world::job::Job;
use emr_world::world::{Caller, World};

const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";

pub(super) fn answer(world: &mut World, call: &Call, caller: &Caller) -> Answer {
    let account = call
        .header("x-amz-account-id")
        .ok_or_else(|| Failure::new(400, "InvalidRequest", "Missing account id"))?;
    if account != caller.account {
        return Err(Failure::new(403, "AccessDenied", "Access Denied"));
    }
    match call.subject.operation.as_str() {
        "GetPublicAccessBlock" => public_access_block(world, account),
        "CreateJob" => create(world, call, account),
        "DescribeJob" => {
            let index = find(world, call, account)?;
            batch::step(world, index);
            Ok(describe(&world.jobs[index]))
        }
        "ListJobs" => Ok(list(world, account)),
        "UpdateJobStatus" => update(world, call, account),
        other => Err(Failure::not_modelled(Service::S3Control, other)),
    }
}

fn public_access_block(world: &World, account: &str) -> Answer {
    let Some(block) = world.account_blocks.get(account) else {
        return Err(Failure::new(
            404,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
        .with("AccountId", account));
    };
    let mut xml = Xml::new();
    xml.root("PublicAccessBlockConfiguration", NAMESPACE, |xml| {
        for (setting, on) in block.settings() {
            xml.text(setting, on.to_string());
        }
    });
    Ok(Reply::xml(xml))
}

fn find(world: &World, call: &Call, account: &str) -> Result<usize, Failure> {
    let id = call.subject.name.as_deref().unwrap_or_default();
    let found = world.jobs.iter().position(|job| job.id == id && job.account == account);
    found.ok_or_else(|| Failure::new(404, "NoSuchJob", format!("There is no job {id}")))
}

fn create(world: &mut World, call: &Call, account: &str) -> Answer {
    let request = String::from_utf8_lossy(&call.body).into_owned();
    let text = |name: &str| xml::text(&request, name).unwrap_or_default();
    let token = text("ClientRequestToken");
    for name in ["Operation", "Report", "Priority", "RoleArn", "ClientRequestToken"] {
        if xml::inside(&request, name).is_none() {
            return Err(Failure::new(
                400,
                "InvalidRequest",
                format!("Missing required element {name}"),
            ));
        }
    }
    if !request.contains("<Manifest>") && !request.contains("<ManifestGenerator>") {
        return Err(Failure::new(
            400,
            "InvalidRequest",
            "A job needs a manifest or a manifest generator",
        ));
    }
    let filter = xml::inside(&request, "MatchAnyObjectEncryption").unwrap_or_default();
    let kinds = ["NOT-SSE", "SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C"];
    if kinds.iter().filter(|kind| xml::has(filter, kind)).count() > 1 {
        return Err(Failure::new(
            400,
            "InvalidRequest",
            "MatchAnyObjectEncryption takes one filter",
        ));
    }
    // The same request again is the same job.
    let id = match world.jobs.iter().find(|job| job.token == token && job.account == account) {
        Some(job) => job.id.clone(),
        None => {
            let id = uuid(&mut world.random);
            let job = Job {
                id: id.clone(),
                account: account.to_owned(),
                status: "New".to_owned(),
                token,
                description: text("Description"),
                priority: text("Priority").parse().unwrap_or(0),
                role: text("RoleArn"),
                created: world.now,
                failure: None,
                tasks: Vec::new(),
                done: Vec::new(),
                request,
            };
            world.jobs.push(job);
            id
        }
    };
    let mut xml = Xml::new();
    xml.root("CreateJobResult", NAMESPACE, |xml| {
        xml.text("JobId", &id);
    });
    Ok(Reply::xml(xml))
}

fn summary(xml: &mut Xml, job: &Job) {
    xml.element("ProgressSummary", |xml| {
        let succeeded = job.done.iter().filter(|outcome| outcome.is_success()).count();
        xml.text("TotalNumberOfTasks", job.tasks.len().to_string())
            .text("NumberOfTasksSucceeded", succeeded.to_string())
            .text("NumberOfTasksFailed", (job.done.len() - succeeded).to_string());
    });
}

fn describe(job: &Job) -> Reply {
    let mut xml = Xml::new();
    xml.root("DescribeJobResult", NAMESPACE, |xml| {
        xml.element("Job", |xml| {
            xml.text("JobId", &job.id)
                .text("JobArn", format!("arn:aws:s3:eu-west-1:{}:job/{}", job.account, job.id))
                .text("Description", &job.description)
                .text("Status", &job.status)
                .text("Priority", job.priority.to_string())
                .text("RoleArn", &job.role)
                .text("CreationTime", iso(job.created));
            summary(xml, job);
            if job.status == "Suspended" {
                xml.text("SuspendedCause", "AwaitingConfirmation");
            }
            if let Some((code, reason)) = &job.failure {
                xml.element("FailureReasons", |xml| {
                    xml.element("member", |xml| {
                        xml.text("FailureCode", code).text("FailureReason", reason);
                    });
                });
            }
            // The request's parts are returned unchanged.
            for part in ["Manifest", "Operation", "ManifestGenerator"] {
                if let Some(asked) = xml::inside(&job.request, part) {
                    xml.element(part, |xml| {
                        xml.raw(asked);
                    });
                }
            }
            if let Some(place) = batch::generated_manifest(job) {
                xml.element("GeneratedManifestDescriptor", |xml| {
                    xml.text("Format", "S3InventoryReport_CSV_20211130").element(
                        "Location",
                        |xml| {
                            xml.text("ObjectArn", place).text("ETag", "generated");
                        },
                    );
                });
            }
            if let Some(report) = xml::inside(&job.request, "Report") {
                let (bucket, prefix) = (xml::text(report, "Bucket"), xml::text(report, "Prefix"));
                xml.element("Report", |xml| {
                    xml.optional("Bucket", bucket)
                        .text("Format", "Report_CSV_20180820")
                        .text("Enabled", "true")
                        .optional("Prefix", prefix)
                        .text("ReportScope", "AllTasks");
                });
            }
        });
    });
    Reply::xml(xml)
}

fn list(world: &World, account: &str) -> Reply {
    let mut xml = Xml::new();
    xml.root("ListJobsResult", NAMESPACE, |xml| {
        xml.element("Jobs", |xml| {
            for job in world.jobs.iter().rev().filter(|job| job.account == account) {
                xml.element("member", |xml| {
                    xml.text("JobId", &job.id)
                        .text("Description", &job.description)
                        .text("Priority", job.priority.to_string())
                        .text("Status", &job.status)
                        .text("CreationTime", iso(job.created));
                    summary(xml, job);
                });
            }
        });
    });
    Reply::xml(xml)
}

fn update(world: &mut World, call: &Call, account: &str) -> Answer {
    let index = find(world, call, account)?;
    let wanted = call.query.get("requestedJobStatus").cloned().unwrap_or_default();
    let job = &mut world.jobs[index];
    let may = match wanted.as_str() {
        "Ready" => job.status == "Suspended",
        "Cancelled" => !matches!(job.status.as_str(), "Complete" | "Failed" | "Cancelled"),
        _ => false,
    };
    if !may {
        let message = format!("Job {} is {}; it cannot be {wanted}", job.id, job.status);
        return Err(Failure::new(400, "JobStatusException", message));
    }
    job.status.clone_from(&wanted);
    let mut xml = Xml::new();
    xml.root("UpdateJobStatusResult", NAMESPACE, |xml| {
        xml.text("JobId", &job.id).text("Status", &job.status);
    });
    Ok(Reply::xml(xml))
}
