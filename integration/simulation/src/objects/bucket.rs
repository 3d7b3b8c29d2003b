//! A bucket as in S3: versions, delete markers, `null` versions, multipart uploads, and the effect
//! of each call on them. Every write of this program is checked at the moment of its effect,
//! against the truth at that time.

use std::collections::BTreeMap;

use crate::reencrypt::machine::{
    choice::ArchiveState,
    event::CopyOrder,
    snapshot::{Checksum, NULL, ObjectLock, Snapshot},
    versioning::Versioning,
};

/// S3's time, in milliseconds since 1970.
pub type Time = i64;

/// When histories begin.
pub const START: Time = 1_700_000_000_000;
/// The bucket's name.
pub const BUCKET: &str = "bucket";
/// Too large for a single copy.
pub const LARGE: u64 = 6 * 1024 * 1024 * 1024;
/// The target's key.
pub const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1";

/// Who wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// This program: the number of its run.
    Guard(usize),
    /// Anybody else.
    Other,
}

/// What an object's copy by this program lacked or changed when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defect {
    /// Properties of the overwritten object that the copy lacks: its own metadata, lock, ….
    pub lost: Vec<String>,
    /// Everybody can read it, while the previous current object was private; or it is current,
    /// while there was no current object.
    pub exposed: bool,
}

/// A version, or a delete marker.
#[derive(Clone, Debug)]
pub struct Version {
    /// The number of its write.
    pub serial: u64,
    /// A delete marker.
    pub marker: bool,
    /// Its bytes, by a number.
    pub content: u32,
    /// All other properties, including the version's id.
    pub snapshot: Snapshot,
    /// Who wrote it.
    pub author: Author,
    /// The write that is its source.
    pub source: Option<u64>,
    /// Its defects when it was made.
    pub defect: Defect,
    /// Somebody else has changed it since.
    pub touched: bool,
    /// A writer wrote it with all properties of the current object.
    pub equal: bool,
}

impl Version {
    /// An object of another writer, without defects.
    fn written(serial: u64, content: u32, snapshot: Snapshot) -> Self {
        Self {
            serial,
            marker: false,
            content,
            snapshot,
            author: Author::Other,
            source: None,
            defect: Defect::default(),
            touched: false,
            equal: false,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.snapshot.id()
    }

    /// Everybody may read it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.snapshot.grants.iter().any(|(who, _)| who == "uri=AllUsers")
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        if self.marker {
            return format!("{} delete marker", self.id());
        }
        let Snapshot { algorithm, metadata, tags, headers, storage_class, lock, .. } =
            &self.snapshot;
        let who = match self.author {
            Author::Guard(run) => format!(" made by run {run}"),
            Author::Other => String::new(),
        };
        format!(
            "{} content {} {} {} meta {:?} tags {:?}{}{}{}{}{}",
            self.id(),
            self.content,
            algorithm.as_deref().unwrap_or("unencrypted"),
            if self.is_public() { "PUBLIC" } else { "private" },
            metadata.values().collect::<Vec<_>>(),
            tags.values().collect::<Vec<_>>(),
            headers.get("website-redirect").map(|to| format!(" to {to}")).unwrap_or_default(),
            if storage_class == "STANDARD" { String::new() } else { format!(" {storage_class}") },
            if *lock == ObjectLock::default() { "" } else { " locked" },
            if self.snapshot.size >= LARGE { " large" } else { "" },
            who
        )
    }
}

/// An unfinished multipart upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The key's number.
    pub key: usize,
    /// When it began.
    pub initiated: Time,
    /// Its author.
    pub author: Author,
    /// The host of the run that created it.
    pub host: usize,
    /// Its parameters, and the bytes of its parts.
    pub order: Option<CopyOrder>,
    /// The bytes of its parts.
    pub content: Option<(u32, u64)>,
}

/// A law that a call of this program has broken.
pub type Broken = (&'static str, String);

/// What a job's copy may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Nothing.
    Nothing,
    /// ACL, redirect, class and lock, if somebody changed them since the object was looked up.
    AttributesChangedSince,
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its versioning.
    pub versioning: Versioning,
    /// The versions of each key, the newest first.
    pub keys: Vec<Vec<Version>>,
    /// The unfinished uploads.
    pub uploads: Vec<Upload>,
    /// S3's time.
    pub now: Time,
    /// Whether the target is SSE-KMS, which decides which objects fail.
    pub kms: bool,
    serial: u64,
    /// The version that the last copy was made from.
    pub copied: Option<String>,
}

/// A copy's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The number of the write.
    Made(u64),
    /// A precondition failed.
    Precondition,
    /// S3 refuses it.
    Refused(&'static str),
    /// The upload does not exist.
    NoUpload,
}

impl Bucket {
    /// An empty one.
    #[must_use]
    pub fn new(versioning: Versioning, keys: usize, kms: bool) -> Self {
        Self {
            versioning,
            keys: vec![Vec::new(); keys],
            uploads: Vec::new(),
            now: START,
            kms,
            serial: 0,
            copied: None,
        }
    }

    /// The algorithm of the target.
    #[must_use]
    pub fn target(&self) -> &'static str {
        if self.kms { "aws:kms" } else { "AES256" }
    }

    /// Whether an object is not encrypted as required.
    #[must_use]
    pub fn offends(&self, snapshot: &Snapshot) -> bool {
        match snapshot.algorithm.as_deref() {
            None => true,
            Some("AES256") => self.kms,
            Some(_) => false,
        }
    }

    /// The object that a request for the key returns.
    #[must_use]
    pub fn current(&self, key: usize) -> Option<&Version> {
        self.keys[key].first().filter(|version| !version.marker)
    }

    /// A version by its id; none: the current object.
    #[must_use]
    pub fn find(&self, key: usize, id: Option<&str>) -> Option<&Version> {
        match id {
            None => self.current(key),
            Some(id) => self.keys[key].iter().find(|version| version.id() == id && !version.marker),
        }
    }

    fn stamp(&mut self) -> u64 {
        self.serial += 1;
        self.now += 1700;
        self.serial
    }

    /// The id of the next write.
    fn next_id(&self, serial: u64) -> Option<String> {
        match self.versioning {
            Versioning::Unversioned => None,
            Versioning::Enabled => Some(format!("v{serial}")),
            Versioning::Suspended => Some(NULL.to_owned()),
        }
    }

    /// Puts a version on top. Returns the version with the same id that it replaces.
    fn put_on_top(&mut self, key: usize, version: Version) -> Option<Version> {
        let versions = &mut self.keys[key];
        let same = versions.iter().position(|other| other.id() == version.id());
        let gone = same.map(|index| versions.remove(index));
        versions.insert(0, version);
        gone
    }

    /// Another writer writes.
    pub fn write(&mut self, key: usize, content: u32, template: &Snapshot) -> u64 {
        let serial = self.stamp();
        let mut snapshot = template.clone();
        snapshot.version = self.next_id(serial);
        snapshot.modified = self.now;
        snapshot.etag = etag(serial, content, &snapshot, snapshot.size >= LARGE, 2);
        let version = Version::written(serial, content, snapshot);
        self.put_on_top(key, version);
        serial
    }

    /// Another writer deletes the key: with versions, this creates a delete marker.
    pub fn delete(&mut self, key: usize) {
        if self.versioning == Versioning::Unversioned {
            self.keys[key].clear();
            return;
        }
        let serial = self.stamp();
        let snapshot =
            Snapshot { version: self.next_id(serial), modified: self.now, ..template(0, None) };
        let version = Version { marker: true, ..Version::written(serial, 0, snapshot) };
        self.put_on_top(key, version);
    }

    /// Whether a version is under Object Lock.
    #[must_use]
    pub fn is_locked(&self, version: &Version) -> bool {
        version.snapshot.lock.protects(self.now)
    }

    /// `CopyObject` by this program.
    pub fn copy(
        &mut self,
        key: usize,
        order: &CopyOrder,
        by: usize,
        overwrites: bool,
    ) -> (Copied, Vec<Broken>) {
        let etag = &order.before.etag;
        let matches = |version: Option<&Version>| {
            version.is_some_and(|version| version.snapshot.etag == *etag)
        };
        let source = self.find(key, order.source.as_deref()).cloned();
        if !matches(source.as_ref()) || (order.if_match && !matches(self.current(key))) {
            return (Copied::Precondition, Vec::new());
        }
        let Some(source) = source else { return (Copied::Precondition, Vec::new()) };
        let mut snapshot = source.snapshot.clone();
        restate(&mut snapshot, order);
        let broken = self.make(key, snapshot, &source, by, 0, overwrites);
        (Copied::Made(self.serial), broken)
    }

    /// A copy by a job of S3 Batch Operations: without preconditions, from the current state of
    /// `source`, and checked at once. It keeps metadata and tags, but neither ACL, redirect nor
    /// lock.
    pub fn copy_by_job(
        &mut self,
        key: usize,
        source: &Version,
        class: &str,
        tolerance: Tolerance,
    ) -> Vec<Broken> {
        let serial = self.stamp();
        let mut snapshot = source.snapshot.clone();
        snapshot.grants.truncate(1);
        snapshot.headers.remove("website-redirect");
        class.clone_into(&mut snapshot.storage_class);
        snapshot.lock = ObjectLock::default();
        snapshot.version = self.next_id(serial);
        snapshot.modified = self.now;
        snapshot.algorithm = Some(self.target().to_owned());
        snapshot.key = self.kms.then(|| KEY.to_owned());
        snapshot.etag = etag(serial, source.content, &snapshot, false, 0);
        // For the program it is another writer's object.
        let mut made = Version::written(serial, source.content, snapshot);
        let under = self.keys[key].first().cloned();
        let Defect { mut lost, exposed } = self.defect(under.as_ref(), &made);
        made.equal = lost.is_empty();
        let mut broken = Vec::new();
        if exposed {
            let what = format!("a job made {} current, and showed what was not", made.text());
            broken.push((B, what));
        }
        if tolerance == Tolerance::AttributesChangedSince {
            lost.retain(|it| !["ACL", "headers", "class", "lock"].contains(&it.as_str()));
        }
        if !lost.is_empty() {
            broken.push((A, format!("a job made {} without {lost:?}", made.text())));
        }
        let gone = self.put_on_top(key, made);
        let is_other = |gone: &Version| under.is_none_or(|under| under.serial != gone.serial);
        if let Some(gone) = gone.filter(is_other) {
            broken.push((A, format!("a job has overwritten the version {}", gone.text())));
        }
        broken
    }

    /// `CreateMultipartUpload` by this program.
    pub fn create_upload(
        &mut self,
        key: usize,
        order: &CopyOrder,
        by: usize,
        host: usize,
    ) -> String {
        let id = format!("u{}", self.stamp());
        self.uploads.push(Upload {
            id: id.clone(),
            key,
            initiated: self.now,
            author: Author::Guard(by),
            host,
            order: Some(order.clone()),
            content: None,
        });
        id
    }

    /// Another writer creates one.
    pub fn begin_foreign_upload(&mut self, key: usize) {
        let id = format!("w{}", self.stamp());
        self.uploads.push(Upload {
            id,
            key,
            initiated: self.now,
            author: Author::Other,
            host: 0,
            order: None,
            content: None,
        });
    }

    /// `UploadPartCopy` of every part.
    pub fn copy_parts(&mut self, upload: &str, order: &CopyOrder) -> Copied {
        let Some(index) = self.uploads.iter().position(|it| it.id == upload) else {
            return Copied::NoUpload;
        };
        let key = self.uploads[index].key;
        match self.find(key, order.source.as_deref()) {
            Some(source) if source.snapshot.etag == order.before.etag => {
                let content = Some((source.content, source.serial));
                self.uploads[index].content = content;
                Copied::Made(0)
            }
            _ => Copied::Precondition,
        }
    }

    /// `CompleteMultipartUpload` by this program.
    pub fn complete(
        &mut self,
        upload: &str,
        order: &CopyOrder,
        with_parts: bool,
        by: usize,
        overwrites: bool,
    ) -> (Copied, Vec<Broken>) {
        let Some(index) = self.uploads.iter().position(|it| it.id == upload) else {
            return (Copied::NoUpload, Vec::new());
        };
        let key = self.uploads[index].key;
        let is_same =
            self.current(key).is_some_and(|version| version.snapshot.etag == order.before.etag);
        if order.if_match && !is_same {
            return (Copied::Precondition, Vec::new());
        }
        let begun = self.uploads[index].order.clone();
        let (Some(begun), Some((content, source))) = (begun, self.uploads[index].content) else {
            return (Copied::Refused("InvalidPart"), Vec::new());
        };
        if begun.before.checksum.as_ref().is_some_and(|it| !it.full) && !with_parts {
            return (Copied::Refused("InvalidRequest: a part lacks its checksum"), Vec::new());
        }
        self.uploads.remove(index);
        let mut snapshot = (*begun.before).clone();
        restate(&mut snapshot, &begun);
        let source = Version::written(source, content, snapshot.clone());
        let broken = self.make(key, snapshot, &source, by, 7, overwrites);
        (Copied::Made(self.serial), broken)
    }

    /// Stores an object that this program writes, and checks it at once.
    fn make(
        &mut self,
        key: usize,
        mut snapshot: Snapshot,
        source: &Version,
        by: usize,
        parts: u32,
        overwrites: bool,
    ) -> Vec<Broken> {
        let mut broken = Vec::new();
        let serial = self.stamp();
        snapshot.version = self.next_id(serial);
        snapshot.modified = self.now;
        snapshot.algorithm = Some(self.target().to_owned());
        snapshot.key = self.kms.then(|| KEY.to_owned());
        snapshot.etag = etag(serial, source.content, &snapshot, parts > 0, parts);
        let mut version = Version {
            author: Author::Guard(by),
            source: Some(source.serial),
            ..Version::written(serial, source.content, snapshot)
        };
        let tells = parts == 0 && self.versioning != Versioning::Unversioned;
        self.copied = tells.then(|| source.id().to_owned());
        let under = self.keys[key].first().cloned();
        version.defect = self.defect(under.as_ref(), &version);
        let gone = self.put_on_top(key, version);
        if let Some(gone) = gone
            && under.as_ref().is_none_or(|under| under.serial != gone.serial)
            && !overwrites
        {
            broken.push((A, format!("a copy has overwritten the version {}", gone.text())));
        }
        broken
    }

    /// The defects of a copy, compared with the previous current object.
    #[must_use]
    pub fn defect(&self, under: Option<&Version>, made: &Version) -> Defect {
        let Some(under) = under.filter(|under| !under.marker) else {
            return Defect { lost: vec!["a deletion".to_owned()], exposed: true };
        };
        let mut lost = Vec::new();
        let (old, new) = (&under.snapshot, &made.snapshot);
        let mut same = |what: &str, equal: bool| {
            if !equal {
                lost.push(what.to_owned());
            }
        };
        same("bytes", under.content == made.content);
        same("metadata", old.metadata == new.metadata);
        same("tags", old.tags == new.tags);
        same("ACL", old.grants == new.grants);
        same("headers", old.headers == new.headers);
        same("class", old.storage_class == new.storage_class);
        same("lock", old.lock.in_force(self.now) == new.lock.in_force(self.now));
        let algorithm = |it: &Snapshot| it.checksum.as_ref().map(|it| it.algorithm.clone());
        same("checksum", algorithm(old).is_none() || algorithm(old) == algorithm(new));
        Defect { lost, exposed: made.is_public() && !under.is_public() }
    }

    /// `UpdateObjectEncryption`. False: the version does not exist.
    pub fn update(&mut self, key: usize, id: Option<&str>) -> Copied {
        let kms = self.kms;
        let now = self.now;
        let is_current = id.is_none();
        let found = self.keys[key]
            .iter_mut()
            .enumerate()
            .find(|(index, it)| if is_current { *index == 0 } else { Some(it.id()) == id })
            .map(|(_, it)| it)
            .filter(|it| !it.marker);
        let Some(version) = found else { return Copied::Precondition };
        if version.snapshot.lock.protects(now) {
            return Copied::Refused("AccessDenied: Object Lock");
        }
        if !kms || !version.snapshot.has_data_key() {
            return Copied::Refused("InvalidRequest");
        }
        version.snapshot.algorithm = Some("aws:kms".to_owned());
        version.snapshot.key = Some(KEY.to_owned());
        Copied::Made(version.serial)
    }

    /// `DeleteObject` of a version by this program, checked against what it may remove.
    pub fn remove(
        &mut self,
        key: usize,
        id: &str,
        (purge, overwritten): (bool, bool),
    ) -> (Copied, Vec<Broken>) {
        let Some(index) = self.keys[key].iter().position(|it| it.id() == id) else {
            return (Copied::Made(0), Vec::new());
        };
        let version = self.keys[key][index].clone();
        if self.is_locked(&version) {
            return (Copied::Refused("AccessDenied: Object Lock"), Vec::new());
        }
        let mut broken = Vec::new();
        if id == NULL {
            broken.push((A, "a version with the id null was deleted".to_owned()));
        }
        let is_own = version.author != Author::Other;
        if is_own {
            // A copy is removed while the same bytes still exist.
            let source = self.keys[key]
                .iter()
                .any(|it| it.serial != version.serial && it.content == version.content);
            if version.touched || !source {
                let text = version.text();
                broken.push((A, format!("{text} was removed, and is not what was copied")));
            }
        } else {
            let newer = &self.keys[key][..index];
            let proven = purge
                && newer.iter().any(|it| {
                    // A writer's object with the same properties, and encrypted as requested,
                    // cannot be distinguished from a copy whose response was lost; it contains
                    // everything that is removed.
                    (it.equal || it.author != Author::Other)
                        && it.content == version.content
                        && self.defect(Some(&version), it) == Defect::default()
                });
            let other = overwritten
                && self.offends(&version.snapshot)
                && newer.iter().any(|it| !it.marker && !self.offends(&it.snapshot));
            if index == 0 {
                broken.push((B, format!("the current version {} was deleted", version.text())));
            } else if !proven && !other {
                broken.push((A, format!("{} was deleted without a proof", version.text())));
            }
        }
        self.keys[key].remove(index);
        (Copied::Made(0), broken)
    }

    /// The bucket as text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![format!("  {:?}, target {}", self.versioning, self.target())];
        for (number, versions) in self.keys.iter().enumerate() {
            let versions: Vec<String> = versions.iter().map(Version::text).collect();
            lines.push(format!("  key {number}: {}", versions.join("\n         ")));
        }
        for upload in &self.uploads {
            lines.push(format!(
                "  upload {} of key {} by {:?}",
                upload.id, upload.key, upload.author
            ));
        }
        lines.join("\n")
    }
}

/// Law (a).
pub const A: &str = "(a) all that others left is still there";
/// Law (b).
pub const B: &str = "(b) nothing becomes visible, current or public that was not";

/// The properties that S3 takes from a copy's request and not from its source.
fn restate(snapshot: &mut Snapshot, order: &CopyOrder) {
    snapshot.grants = order.before.grants.clone();
    snapshot.storage_class = order.before.storage_class.clone();
    snapshot.lock = order.lock.clone();
    match order.before.headers.get("website-redirect") {
        Some(to) => snapshot.headers.insert("website-redirect".to_owned(), to.clone()),
        None => snapshot.headers.remove("website-redirect"),
    };
}

fn etag(serial: u64, content: u32, snapshot: &Snapshot, in_parts: bool, parts: u32) -> String {
    match (snapshot.algorithm.as_deref(), in_parts) {
        (Some("aws:kms"), _) => format!("\"k{serial}\""),
        (_, true) => format!("\"c{content}-{parts}\""),
        (_, false) => format!("\"c{content}\""),
    }
}

/// An ordinary object.
#[must_use]
pub fn template(size: u64, algorithm: Option<&str>) -> Snapshot {
    Snapshot {
        size,
        etag: String::new(),
        modified: 0,
        version: None,
        algorithm: algorithm.map(str::to_owned),
        key: (algorithm == Some("aws:kms")).then(|| KEY.to_owned()),
        bucket_key: false,
        storage_class: "STANDARD".to_owned(),
        headers: BTreeMap::new(),
        metadata: BTreeMap::new(),
        missing_metadata: 0,
        tags: BTreeMap::new(),
        grants: vec![("id=owner".to_owned(), "FULL_CONTROL".to_owned())],
        lock: ObjectLock::default(),
        checksum: None,
        archive: ArchiveState::No,
    }
}

/// A checksum of the whole content, or of its parts.
#[must_use]
pub fn checksum(content: u32, full: bool) -> Checksum {
    Checksum { algorithm: "CRC32".to_owned(), value: format!("{content}"), full }
}
