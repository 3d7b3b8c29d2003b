//! Owns the output of a completed step in S3.

use regex_lite::Regex;

use crate::cluster::Cluster;
use crate::partition::partition_of;
use crate::s3write::{self, Write};
use crate::sse::Sse;
use crate::world::World;

/// Runs a step to its end: the `s3://…` of its output, or why it failed.
pub(crate) fn run(world: &mut World, index: usize, number: usize) -> Result<Vec<String>, String> {
    let step = &world.clusters[index].steps[number];
    let args = Args(step.args.clone());
    let main = step.main_class.clone().unwrap_or_default();
    let dist_cp =
        step.jar.contains("s3-dist-cp") || args.0.first().is_some_and(|it| it == "s3-dist-cp");
    let spark = args.0.first().is_some_and(|it| it == "spark-submit") || main.contains("spark");
    if dist_cp {
        return dist_copy(world, index, number, &args);
    }
    let mut written = Vec::new();
    if spark {
        for option in ["--output-folder", "--bad-folder"] {
            if let Some(location) = args.value(option).as_deref().and_then(Location::parse) {
                let sse = emrfs(&world.clusters[index], &location.bucket);
                let names = ["part-00000-5cf2b1f2.txt", "_SUCCESS"];
                for name in names {
                    let size = if name == "_SUCCESS" { 0 } else { 1024 };
                    written.push(put(
                        world,
                        index,
                        number,
                        &location.join(name),
                        size,
                        sse.clone(),
                    )?);
                }
            }
        }
    }
    // RDB Loader contains its own S3 client, which does not use the cluster's settings.
    if let Some(location) = args.value("--logkey").as_deref().and_then(Location::parse) {
        written.push(put(world, index, number, &location, 256, None)?);
    }
    Ok(written)
}

/// A step's arguments; an option's value is the next word or follows `=`.
struct Args(Vec<String>);

impl Args {
    fn value(&self, option: &str) -> Option<String> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let rest = word.strip_prefix(option)?;
            if rest.is_empty() {
                return self.0.get(at + 1).cloned();
            }
            rest.strip_prefix('=').map(str::to_owned)
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }
}

/// A place in S3.
#[derive(Debug, Clone)]
struct Location {
    bucket: String,
    key: String,
}

impl Location {
    fn parse(uri: &str) -> Option<Self> {
        let rest = uri
            .strip_prefix("s3://")
            .or_else(|| uri.strip_prefix("s3n://"))
            .or_else(|| uri.strip_prefix("s3a://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self { bucket: bucket.to_owned(), key: key.trim_end_matches('*').to_owned() })
    }

    /// The object of this name in the folder.
    fn join(&self, name: &str) -> Self {
        let key = match self.key.trim_end_matches('/') {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        Self { bucket: self.bucket.clone(), key }
    }

    fn uri(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }
}

/// EMRFS's headers for a write to this bucket: from the security configuration's mode, or else
/// emrfs-site's.
fn emrfs(cluster: &Cluster, bucket: &str) -> Option<Sse> {
    match cluster.s3_mode(bucket) {
        Some(("SSE-S3", _)) => Some(Sse::Aes256),
        Some(("SSE-KMS", key)) => Some(Sse::Kms { key: key.map(str::to_owned) }),
        None if cluster.property("emrfs-site", "fs.s3.enableServerSideEncryption")
            == Some("true") =>
        {
            let key = cluster.property("emrfs-site", "fs.s3.serverSideEncryption.kms.keyId");
            Some(key.map_or(Sse::Aes256, |key| Sse::Kms { key: Some(key.to_owned()) }))
        }
        // With client-side modes and with none, S3 uses the bucket's default.
        Some(_) | None => None,
    }
}

/// s3-dist-cp's headers: none without its flag; otherwise SSE-KMS if that is the mode for the
/// bucket, or else SSE-S3.
fn dist_cp_sse(cluster: &Cluster, bucket: &str, flagged: bool) -> Option<Sse> {
    if !flagged {
        return None;
    }
    match emrfs(cluster, bucket) {
        Some(kms @ Sse::Kms { .. }) => Some(kms),
        _ => Some(Sse::Aes256),
    }
}

fn dist_copy(
    world: &mut World,
    index: usize,
    number: usize,
    args: &Args,
) -> Result<Vec<String>, String> {
    let source = args.value("--src").ok_or("--src is required")?;
    let target = args.value("--dest").ok_or("--dest is required")?;
    let pattern = match args.value("--srcPattern") {
        Some(pattern) => {
            Some(Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?)
        }
        None => None,
    };
    let wanted = |path: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(path));
    let from = Location::parse(&source);
    let files = match &from {
        Some(from) => s3_files(world, from, wanted)?,
        None => {
            let group = args.value("--groupBy").unwrap_or_default();
            let success_only =
                args.value("--srcPattern").is_some_and(|pattern| pattern.contains("_SUCCESS"));
            hdfs_files(&group, success_only)
        }
    };
    let mut written = Vec::new();
    if let Some(to) = Location::parse(&target) {
        let sse =
            dist_cp_sse(&world.clusters[index], &to.bucket, args.has("--s3ServerSideEncryption"));
        for file in &files {
            written.push(put(world, index, number, &to.join(&file.name), file.size, sse.clone())?);
        }
    }
    if args.has("--deleteOnSuccess")
        && let Some(from) = from
    {
        for key in files.into_iter().filter_map(|file| file.key) {
            world.delete_object(&from.bucket, &key);
        }
    }
    Ok(written)
}

/// A file to copy.
struct File {
    /// Relative to the source.
    name: String,
    /// Bytes.
    size: u64,
    /// Its key, for a source in S3.
    key: Option<String>,
}

/// The objects of a folder with its address; without folder markers.
fn s3_files(
    world: &World,
    from: &Location,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<File>, String> {
    let bucket = world
        .buckets
        .get(&from.bucket)
        .ok_or_else(|| format!("The specified bucket does not exist: {}", from.bucket))?;
    let files = bucket
        .objects
        .range(from.key.clone()..)
        .map_while(|(key, object)| Some((key, key.strip_prefix(&from.key)?, object)))
        .filter(|(key, ..)| !key.ends_with('/') && !key.ends_with("_$folder$"))
        .filter(|(key, ..)| wanted(&format!("s3://{}/{key}", from.bucket)))
        .map(|(key, name, object)| File {
            name: name.trim_start_matches('/').to_owned(),
            size: object.size,
            key: Some(key.clone()),
        })
        .collect();
    Ok(files)
}

/// The files of a Snowplow folder in HDFS.
fn hdfs_files(group: &str, success_only: bool) -> Vec<File> {
    let file = |name: String, size| File { name, size, key: None };
    if success_only {
        return vec![file("_SUCCESS".to_owned(), 0)];
    }
    let folder = if group.contains("atomic-events") {
        "atomic-events/"
    } else if group.contains("shredded-tsv") {
        "shredded-tsv/vendor=com.acme/name=basket/format=tsv/version=1/"
    } else if group.contains("shredded-types") {
        "shredded-types/vendor=com.acme/name=basket/format=jsonschema/version=1-0-0/"
    } else {
        ""
    };
    let parts = ["part-00000-8b2c.txt.gz", "part-00001-8b2c.txt.gz"];
    parts.into_iter().map(|part| file(format!("{folder}{part}"), 4096)).collect()
}

fn put(
    world: &mut World,
    index: usize,
    number: usize,
    to: &Location,
    size: u64,
    sse: Option<Sse>,
) -> Result<String, String> {
    let cluster = &world.clusters[index];
    let by = format!("{} {}", cluster.id, cluster.steps[number].id);
    let fate = cluster.fate.objects.clone();
    store(world, index, to, size, sse, by)?;
    if let Some(sse) = fate
        && let Some(bucket) = world.buckets.get_mut(&to.bucket)
        && let Some(object) = bucket.objects.get_mut(&to.key)
    {
        object.sse = sse;
    }
    Ok(to.uri())
}

fn store(
    world: &mut World,
    index: usize,
    to: &Location,
    size: u64,
    header: Option<Sse>,
    written_by: String,
) -> Result<(), String> {
    let cluster = &world.clusters[index];
    let account = cluster.account.clone();
    let partition = partition_of(&cluster.region);
    let profile = cluster.requested("/JobFlowRole").unwrap_or("EMR_EC2_DefaultRole").to_owned();
    let role = world
        .instance_profiles
        .iter()
        .find(|it| it.account == account && it.name == profile)
        .and_then(|it| it.roles.first())
        .cloned()
        .unwrap_or(profile);
    let write = Write {
        bucket: &to.bucket,
        key: &to.key,
        header,
        size,
        body: None,
        content_type: "application/octet-stream".to_owned(),
        metadata: std::collections::BTreeMap::new(),
        storage_class: "STANDARD".to_owned(),
        extents: None,
        attributes: crate::object::Attributes::default(),
        parts: None,
        principal: &format!("arn:{partition}:sts::{account}:assumed-role/{role}/i-0"),
        account: &account,
        written_by,
    };
    s3write::write(world, write).map(|_| ()).map_err(|(status, code, message)| {
        format!("{message} (Service: Amazon S3; Status Code: {status}; Error Code: {code})")
    })
}

/// EMR's own log files of a step. They have no encryption header; a refused write is ignored.
pub(crate) fn write_step_logs(world: &mut World, index: usize, number: usize) {
    let step = world.clusters[index].steps[number].id.clone();
    for file in ["controller.gz", "stderr.gz", "syslog.gz"] {
        write_log(world, index, &format!("steps/{step}/{file}"));
    }
}

/// EMR's own log files of a cluster's nodes.
pub(crate) fn write_node_logs(world: &mut World, index: usize) {
    let nodes: Vec<String> =
        world.clusters[index].instances.iter().map(|it| it.ec2_id.clone()).collect();
    for node in nodes {
        write_log(world, index, &format!("node/{node}/daemons/setup-dns.log.gz"));
    }
}

fn write_log(world: &mut World, index: usize, name: &str) {
    let cluster = &world.clusters[index];
    let Some(folder) = cluster.requested("/LogUri").and_then(Location::parse) else { return };
    let key = cluster.requested("/LogEncryptionKmsKeyId");
    let header = key.map(|key| Sse::Kms { key: Some(key.to_owned()) });
    let by = format!("{} logs", cluster.id);
    let to = folder.join(&format!("{}/{name}", cluster.id));
    drop(store(world, index, &to, 512, header, by));
}
