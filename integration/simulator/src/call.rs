//! Owns the parsing of one HTTP request: service, operation, caller, subject.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use emr_world::ids::DEFAULT_REGION;
use emr_world::subject::Subject;

/// The services, which differ in the format of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Emr,
    Kms,
    Iam,
    Sts,
    Ec2,
    Sqs,
    S3,
    /// S3's control plane: signed as S3, with other requests.
    S3Control,
    Sns,
    Events,
    CloudWatch,
}

impl Service {
    /// The name in a `SigV4` credential scope.
    pub(crate) fn signing_name(self) -> &'static str {
        match self {
            Self::Emr => "elasticmapreduce",
            Self::Kms => "kms",
            Self::Iam => "iam",
            Self::Sts => "sts",
            Self::Ec2 => "ec2",
            Self::Sqs => "sqs",
            Self::S3 | Self::S3Control => "s3",
            Self::Sns => "sns",
            Self::Events => "events",
            Self::CloudWatch => "monitoring",
        }
    }

    /// The prefix of its actions in policies.
    pub(crate) fn action_prefix(self) -> &'static str {
        match self {
            Self::CloudWatch => "cloudwatch",
            other => other.signing_name(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Emr,
            Self::Kms,
            Self::Iam,
            Self::Sts,
            Self::Ec2,
            Self::Sqs,
            Self::S3,
            Self::Sns,
            Self::Events,
            Self::CloudWatch,
        ];
        all.into_iter().find(|service| service.signing_name() == name)
    }
}

/// The parameters of requests for later pages.
const MARKERS: [&str; 6] =
    ["continuation-token", "key-marker", "version-id-marker", "Marker", "NextToken", "nextToken"];

/// A request, understood.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) subject: Subject,
    /// The access key id; none: the request is unsigned.
    pub(crate) access_key: Option<String>,
    pub(crate) region: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) form: BTreeMap<String, String>,
    pub(crate) json: Value,
    pub(crate) headers: HeaderMap,
    /// The payload, without chunk framing.
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(parts: Parts, raw: &Bytes) -> Self {
        let headers = parts.headers;
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let scope = Scope::of(&headers, &query);
        let target = text(&headers, "x-amz-target").unwrap_or_default();
        let is_form = text(&headers, "content-type")
            .is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { pairs(raw) } else { BTreeMap::new() };
        let service = scope
            .as_ref()
            .and_then(|scope| Service::named(&scope.service))
            .unwrap_or_else(|| unsigned_service(target, &form));
        let body = unchunk(&headers, raw);
        let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
        // No bucket's name begins like this date.
        let service = if service == Service::S3 && path.starts_with(S3_CONTROL) {
            Service::S3Control
        } else {
            service
        };
        let mut call = Self {
            service,
            subject: Subject { service: service.signing_name().to_owned(), ..Subject::default() },
            region: scope
                .as_ref()
                .map_or_else(|| DEFAULT_REGION.to_owned(), |scope| scope.region.clone()),
            access_key: scope.map(|scope| scope.access_key),
            method: parts.method.as_str().to_owned(),
            path,
            query,
            form,
            json: Value::Null,
            body,
            headers,
        };
        call.understand();
        call
    }

    /// The same call for the first page, where this one is for a later page of a list.
    pub(crate) fn for_first_page(&self) -> Option<Self> {
        let mut first = self.clone();
        let mut is_later = false;
        for marker in MARKERS {
            is_later |= first.query.remove(marker).is_some() | first.form.remove(marker).is_some();
            if let Some(json) = first.json.as_object_mut() {
                is_later |= json.remove(marker).is_some();
            }
        }
        is_later.then_some(first)
    }

    fn understand(&mut self) {
        match self.service {
            Service::Emr | Service::Kms | Service::Sqs | Service::Events => {
                let target = self.header("x-amz-target").unwrap_or_default().to_owned();
                target
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .clone_into(&mut self.subject.operation);
                self.json = serde_json::from_slice(&self.body).unwrap_or_default();
                self.understand_json();
            }
            Service::Iam | Service::Sts | Service::Ec2 | Service::Sns | Service::CloudWatch => {
                self.subject.operation = self.form.get("Action").cloned().unwrap_or_default();
                let names = [
                    "RoleArn",
                    "RoleName",
                    "UserName",
                    "InstanceProfileName",
                    "PolicyArn",
                    "PolicySourceArn",
                    "SubnetId.1",
                    "VpcId",
                    "VpcId.1",
                    "DhcpOptionsId.1",
                    "InstanceId.1",
                    "VolumeId.1",
                    "Filter.1.Value.1",
                    "TopicArn",
                    "AlarmName",
                    "AlarmNames.member.1",
                    "Name",
                ];
                self.subject.name = names.iter().find_map(|name| self.form.get(*name)).cloned();
            }
            Service::S3Control => {
                let rest = self.path.strip_prefix(S3_CONTROL).unwrap_or_default().to_owned();
                let words: Vec<&str> = rest.split('/').collect();
                let (operation, name) = match (self.method.as_str(), words.as_slice()) {
                    ("POST", ["jobs"]) => ("CreateJob", None),
                    ("GET", ["jobs"]) => ("ListJobs", None),
                    ("GET", ["jobs", id]) => ("DescribeJob", Some(*id)),
                    ("POST", ["jobs", id, "status"]) => ("UpdateJobStatus", Some(*id)),
                    ("GET", ["configuration", "publicAccessBlock"]) => {
                        ("GetPublicAccessBlock", text(&self.headers, "x-amz-account-id"))
                    }
                    _ => ("", None),
                };
                operation.clone_into(&mut self.subject.operation);
                self.subject.name = name.map(str::to_owned);
            }
            Service::S3 => {
                let rest = self.path.trim_start_matches('/').to_owned();
                let (bucket, key) = match rest.split_once('/') {
                    Some((bucket, key)) => (bucket, Some(key).filter(|key| !key.is_empty())),
                    None => (rest.as_str(), None),
                };
                self.subject.bucket = Some(bucket.to_owned()).filter(|it| !it.is_empty());
                self.subject.key = key.map(str::to_owned);
                self.subject.operation = self.s3_operation();
            }
        }
        self.subject.writes = self.writes();
    }

    /// Whether the operation can change something in AWS.
    fn writes(&self) -> bool {
        const READS: [&str; 8] =
            ["Assume", "Describe", "Get", "Head", "List", "Receive", "Sign", "Simulate"];
        match self.service {
            Service::S3 => !matches!(self.method.as_str(), "GET" | "HEAD"),
            _ => !READS.iter().any(|verb| self.subject.operation.starts_with(verb)),
        }
    }

    fn understand_json(&mut self) {
        let string = |name: &str| self.json.get(name).and_then(Value::as_str).map(str::to_owned);
        if self.service == Service::Kms {
            self.subject.key = string("KeyId").or_else(|| string("TargetKeyId"));
            self.subject.name = string("AliasName");
            return;
        }
        if self.service == Service::Sqs {
            self.subject.name = string("QueueUrl").or_else(|| string("QueueName"));
            return;
        }
        if self.service == Service::Events {
            self.subject.name = string("Name").or_else(|| string("Rule"));
            return;
        }
        let first = self.json.get("JobFlowIds").and_then(|ids| ids.get(0)).and_then(Value::as_str);
        self.subject.cluster_id = string("ClusterId")
            .or_else(|| string("JobFlowId"))
            .or_else(|| string("ResourceId"))
            .or_else(|| first.map(str::to_owned));
        self.subject.name = string("Name");
    }

    fn s3_operation(&self) -> String {
        // SDKs repeat the operation's name in `x-id`.
        let what = self
            .query
            .keys()
            .map(String::as_str)
            .find(|name| S3_SUBRESOURCES.contains(name))
            .unwrap_or_default();
        let method = self.method.as_str();
        let known = if self.subject.bucket.is_none() {
            match method {
                "GET" => "ListBuckets",
                _ => "",
            }
        } else if self.subject.key.is_none() {
            match (method, what) {
                ("HEAD", "") => "HeadBucket",
                ("PUT", "") => "CreateBucket",
                ("DELETE", "") => "DeleteBucket",
                ("GET", "") if self.query.get("list-type").is_some_and(|it| it == "2") => {
                    "ListObjectsV2"
                }
                ("GET", "") => "ListObjects",
                ("GET", "encryption") => "GetBucketEncryption",
                ("PUT", "encryption") => "PutBucketEncryption",
                ("GET", "location") => "GetBucketLocation",
                ("GET", "policy") => "GetBucketPolicy",
                ("DELETE", "encryption") => "DeleteBucketEncryption",
                ("PUT", "policy") => "PutBucketPolicy",
                ("DELETE", "policy") => "DeleteBucketPolicy",
                ("GET", "policyStatus") => "GetBucketPolicyStatus",
                ("GET", "publicAccessBlock") => "GetPublicAccessBlock",
                ("PUT", "publicAccessBlock") => "PutPublicAccessBlock",
                ("DELETE", "publicAccessBlock") => "DeletePublicAccessBlock",
                ("GET", "versioning") => "GetBucketVersioning",
                ("PUT", "versioning") => "PutBucketVersioning",
                ("GET", "tagging") => "GetBucketTagging",
                ("PUT", "tagging") => "PutBucketTagging",
                ("DELETE", "tagging") => "DeleteBucketTagging",
                ("GET", "website") => "GetBucketWebsite",
                ("GET", "notification") => "GetBucketNotificationConfiguration",
                ("GET", "replication") => "GetBucketReplication",
                ("GET", "lifecycle") => "GetBucketLifecycleConfiguration",
                ("GET", "requestPayment") => "GetBucketRequestPayment",
                ("GET", "versions") => "ListObjectVersions",
                ("GET", "uploads") => "ListMultipartUploads",
                ("GET", "ownershipControls") => "GetBucketOwnershipControls",
                ("GET", "object-lock") => "GetObjectLockConfiguration",
                ("PUT", "object-lock") => "PutObjectLockConfiguration",
                _ => "",
            }
        } else {
            match (method, what) {
                ("HEAD", "") => "HeadObject",
                ("GET", "tagging") => "GetObjectTagging",
                ("PUT", "tagging") => "PutObjectTagging",
                ("GET", "acl") => "GetObjectAcl",
                ("GET", "retention") => "GetObjectRetention",
                ("GET", "legal-hold") => "GetObjectLegalHold",
                ("GET", "annotation") => "ListObjectAnnotations",
                ("PUT", "encryption") => "UpdateObjectEncryption",
                ("POST", "restore") => "RestoreObject",
                ("POST", "uploads") => "CreateMultipartUpload",
                ("PUT", "uploadId") if self.headers.contains_key("x-amz-copy-source") => {
                    "UploadPartCopy"
                }
                ("GET", "uploadId") => "ListParts",
                ("POST", "uploadId") => "CompleteMultipartUpload",
                ("DELETE", "uploadId") => "AbortMultipartUpload",
                ("GET", "") => "GetObject",
                ("PUT", "") if self.headers.contains_key("x-amz-copy-source") => "CopyObject",
                ("PUT", "") => "PutObject",
                ("DELETE", "") => "DeleteObject",
                _ => "",
            }
        };
        if known.is_empty() { format!("{method} ?{what}") } else { known.to_owned() }
    }

    /// The token of a session's credentials.
    pub(crate) fn session_token(&self) -> Option<&str> {
        let query = self.query.get("X-Amz-Security-Token").map(String::as_str);
        self.header("x-amz-security-token").or(query)
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// Values of `name.1`, `name.2`, … or `name.member.1`, ….
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        (1..)
            .map_while(|number| {
                self.form
                    .get(&format!("{name}.{number}"))
                    .or_else(|| self.form.get(&format!("{name}.member.{number}")))
                    .cloned()
            })
            .collect()
    }

    /// The body in the form of the record.
    pub(crate) fn recorded_body(&self) -> Value {
        if !self.json.is_null() {
            return self.json.clone();
        }
        if !self.form.is_empty() {
            return serde_json::to_value(&self.form).unwrap_or_default();
        }
        match std::str::from_utf8(&self.body) {
            Ok(text) if !text.is_empty() && text.len() <= 65_536 => Value::String(text.to_owned()),
            _ => Value::Null,
        }
    }

    /// The headers in the form of the record: without the signature.
    pub(crate) fn recorded_headers(&self) -> BTreeMap<String, String> {
        self.headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                let value = match name.as_str() {
                    "authorization" => value.split(',').next().unwrap_or_default().to_owned(),
                    _ => value.into_owned(),
                };
                (name.as_str().to_owned(), value)
            })
            .collect()
    }
}

/// The prefix of paths of S3's control plane.
const S3_CONTROL: &str = "/v20180820/";

/// Query parameters that make another operation of the same path.
const S3_SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

struct Scope {
    access_key: String,
    region: String,
    service: String,
}

impl Scope {
    /// From the `Authorization` header, or a presigned URL's query. Only `SigV4` counts as signed.
    fn of(headers: &HeaderMap, query: &BTreeMap<String, String>) -> Option<Self> {
        let credential = match text(headers, "authorization") {
            Some(header) => header
                .strip_prefix("AWS4-HMAC-SHA256")?
                .split(',')
                .find_map(|part| part.trim().strip_prefix("Credential="))?,
            None => query.get("X-Amz-Credential")?,
        };
        let mut parts = credential.split('/');
        let (access_key, _date, region, service) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            access_key: access_key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

fn unsigned_service(target: &str, form: &BTreeMap<String, String>) -> Service {
    if target.starts_with("ElasticMapReduce.") {
        return Service::Emr;
    }
    if target.starts_with("TrentService.") {
        return Service::Kms;
    }
    if target.starts_with("AmazonSQS.") {
        return Service::Sqs;
    }
    if target.starts_with("AWSEvents.") {
        return Service::Events;
    }
    match form.get("Version").map(String::as_str) {
        Some("2010-05-08") => Service::Iam,
        Some("2011-06-15") => Service::Sts,
        Some("2016-11-15") => Service::Ec2,
        Some("2010-03-31") => Service::Sns,
        Some("2010-08-01") => Service::CloudWatch,
        _ => Service::S3,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn pairs(encoded: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// Removes the `aws-chunked` framing in which SDKs send payloads with trailing checksums.
fn unchunk(headers: &HeaderMap, raw: &Bytes) -> Bytes {
    if !text(headers, "x-amz-content-sha256").is_some_and(|it| it.starts_with("STREAMING-")) {
        return raw.clone();
    }
    let mut payload = Vec::new();
    let mut rest: &[u8] = raw;
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let line = String::from_utf8_lossy(&rest[..end]);
        let size =
            usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        let start = end + 2;
        if size == 0 || rest.len() < start + size {
            break;
        }
        payload.extend_from_slice(&rest[start..start + size]);
        rest = rest.get(start + size + 2..).unwrap_or_default();
    }
    payload.into()
}
