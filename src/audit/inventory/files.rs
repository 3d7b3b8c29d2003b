//! An inventory's files, from S3 or from beside a local manifest. A file is given only if it is
//! complete and matches the manifest's checksum.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use md5::{Digest as _, Md5};

use crate::{
    audit::inventory::{
        error::{FetchFailure, InventoryError},
        manifest::{InventoryLocation, LARGEST_MANIFEST, Listed},
    },
    aws::clients::Aws,
    base::{
        aws_calls,
        digest::hex,
        lookup::Lookup,
        names::{BucketName, S3Object},
    },
};

/// A checksum file has 32 digits.
const LARGEST_CHECKSUM: u64 = 4 << 10;
/// How many times the rest of a file is requested after a connection broke.
const ATTEMPTS: u32 = 5;

/// A file whose checksum was verified.
#[derive(Debug)]
pub(super) struct VerifiedFile(File);

impl VerifiedFile {
    pub(super) fn into_file(self) -> File {
        self.0
    }
}

/// The manifest's bytes, compared with its own checksum file if there is one.
pub(super) async fn manifest(
    aws: &Aws,
    name: &str,
) -> Result<(Vec<u8>, InventoryLocation), InventoryError> {
    let fetch = |why: String| InventoryError::fetch(name.to_owned(), why);
    let unseen = |why: FetchFailure| InventoryError::fetch(name.to_owned(), why);
    let (bytes, checksum, place) = if name.contains("://") {
        let object = S3Object::parse(name).ok_or_else(|| {
            fetch("expected s3://bucket/…/manifest.json, or a local file".to_owned())
        })?;
        let (s3, region) = aws.s3_of(&object.bucket).await;
        if let Some(error) = region.never_reached() {
            return Err(unseen(error.clone().into()));
        }
        let bytes = small(&s3, &object)
            .await
            .map_err(unseen)?
            .ok_or_else(|| fetch("there is no such object".to_owned()))?;
        let sibling = S3Object { key: sibling(&object.key), ..object };
        let checksum = small(&s3, &sibling).await.map_err(unseen)?;
        (bytes, checksum, InventoryLocation::S3)
    } else {
        let file = File::open(name).map_err(|error| fetch(error.to_string()))?;
        let bytes = at_most(file, LARGEST_MANIFEST).map_err(fetch)?;
        let checksum = File::open(sibling(name)).ok();
        let checksum = checksum.map(|file| at_most(file, LARGEST_CHECKSUM)).transpose();
        (bytes, checksum.map_err(fetch)?, InventoryLocation::Local(PathBuf::from(name)))
    };
    if let Some(checksum) = checksum {
        check(name, &hex(&Md5::digest(&bytes)), String::from_utf8_lossy(&checksum).trim())?;
    }
    Ok((bytes, place))
}

/// The path `…/manifest.checksum` beside `…/manifest.json`.
fn sibling(manifest: &str) -> String {
    format!("{}.checksum", manifest.strip_suffix(".json").unwrap_or(manifest))
}

/// Reads a whole file of at most `most` bytes.
fn at_most(file: File, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

fn too_large(most: u64) -> String {
    format!("is larger than {most} bytes, which no manifest is")
}

/// Reads a small object as a whole; none if it does not exist.
async fn small(
    s3: &aws_sdk_s3::Client,
    object: &S3Object,
) -> Result<Option<Vec<u8>>, FetchFailure> {
    let result = s3.get_object().bucket(object.bucket.as_str()).key(&object.key).send().await;
    match Lookup::from_call(&aws_calls::GET_OBJECT, &["NoSuchKey"], result) {
        Lookup::Found(answer)
            if answer
                .content_length
                .is_some_and(|length| length.unsigned_abs() > LARGEST_MANIFEST) =>
        {
            Err(too_large(LARGEST_MANIFEST).into())
        }
        Lookup::Found(mut answer) => {
            let mut bytes = Vec::new();
            while let Some(piece) = answer.body.next().await {
                let piece = piece.map_err(|error| format!("ended too early: {error}"))?;
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > LARGEST_MANIFEST {
                    return Err(too_large(LARGEST_MANIFEST).into());
                }
            }
            Ok(Some(bytes))
        }
        Lookup::Absent => Ok(None),
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => Err(obstacle.into()),
    }
}

/// Brings a file of the inventory to the disk, and verifies it.
pub(super) async fn fetch(
    aws: &Aws,
    place: &InventoryLocation,
    destination: &str,
    listed: &Listed,
) -> Result<VerifiedFile, InventoryError> {
    match place {
        InventoryLocation::Local(manifest) => local(manifest, listed),
        InventoryLocation::S3 => {
            let named = destination.rsplit(":::").next().unwrap_or(destination);
            let failed =
                |why: String| InventoryError::fetch(format!("s3://{named}/{}", listed.key), why);
            let bucket: BucketName = named
                .parse()
                .map_err(|error| failed(format!("the manifest's destinationBucket {error}")))?;
            let (s3, _) = aws.s3_of(&bucket).await;
            download(&s3, &S3Object { bucket, key: listed.key.clone() }, listed).await
        }
    }
}

/// Finds a file in S3's own layout, or in a copy of it, on the local disk.
fn local(manifest: &Path, listed: &Listed) -> Result<VerifiedFile, InventoryError> {
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let name = Path::new(&listed.key).file_name().map_or(Path::new(&listed.key), Path::new);
    let places = [
        folder.join(name),
        folder.join("data").join(name),
        folder.join("../data").join(name),
        folder.join("files").join(name),
        folder.join(&listed.key),
    ];
    let failed = |why: String| InventoryError::fetch(listed.key.clone(), why);
    let Some(mut file) = places.iter().find_map(|place| File::open(place).ok()) else {
        return Err(failed(format!(
            "is not beside the manifest: looked for it in {}, and in data/ and ../data/ there",
            folder.display()
        )));
    };
    let mut digest = Md5::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(|error| failed(error.to_string()))? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    check(&listed.key, &hex(&digest.finalize()), &listed.md5)?;
    file.seek(SeekFrom::Start(0)).map_err(|error| failed(error.to_string()))?;
    Ok(VerifiedFile(file))
}

/// Downloads an object into an unnamed temporary file. After a broken connection it requests the
/// rest.
async fn download(
    s3: &aws_sdk_s3::Client,
    object: &S3Object,
    listed: &Listed,
) -> Result<VerifiedFile, InventoryError> {
    let place = || format!("s3://{}/{}", object.bucket, object.key);
    let failed = |why: String| InventoryError::fetch(place(), why);
    let mut file = tempfile::tempfile()
        .map_err(|error| failed(format!("there is no place to bring it to: {error}")))?;
    let mut digest = Md5::new();
    let mut length = 0;
    let mut trouble = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(1 << (attempt - 1))).await;
        }
        let range = (length > 0).then(|| format!("bytes={length}-"));
        let result = s3
            .get_object()
            .bucket(object.bucket.as_str())
            .key(&object.key)
            .set_range(range)
            .send()
            .await;
        let answer = match Lookup::from_call(&aws_calls::GET_OBJECT, &["NoSuchKey"], result) {
            Lookup::Found(answer) => answer,
            Lookup::Absent => {
                return Err(failed(
                    "the manifest lists it, but there is no such object".to_owned(),
                ));
            }
            Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
                return Err(InventoryError::fetch(place(), obstacle));
            }
        };
        match append(answer.body, &mut file, &mut digest, &mut length, listed.size).await {
            Ok(()) if length > listed.size => {
                return Err(failed(format!(
                    "more came than the {} bytes that the manifest names",
                    listed.size
                )));
            }
            Ok(()) if length == listed.size => {
                check(&listed.key, &hex(&digest.finalize()), &listed.md5)?;
                file.seek(SeekFrom::Start(0)).map_err(|error| failed(error.to_string()))?;
                return Ok(VerifiedFile(file));
            }
            Ok(()) => trouble = format!("only {length} of {} bytes came", listed.size),
            Err(why) => trouble = why,
        }
    }
    Err(failed(trouble))
}

async fn append(
    mut body: ByteStream,
    file: &mut File,
    digest: &mut Md5,
    length: &mut u64,
    most: u64,
) -> Result<(), String> {
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| format!("ended too early: {error}"))?;
        // A body longer than the listed size is not read on: it may never end.
        if *length + bytes.len() as u64 > most {
            *length = most + 1;
            return Ok(());
        }
        file.write_all(&bytes).map_err(|error| format!("cannot be kept on the disk: {error}"))?;
        digest.update(&bytes);
        *length += bytes.len() as u64;
    }
    Ok(())
}

fn check(file: &str, seen: &str, wanted: &str) -> Result<(), InventoryError> {
    if seen.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(InventoryError::Checksum {
        file: file.to_owned(),
        seen: seen.to_owned(),
        wanted: wanted.to_owned(),
    })
}
