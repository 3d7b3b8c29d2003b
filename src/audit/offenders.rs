//! The list of offenders: every object that is not encrypted as the policy requires. It is written
//! as JSON lines, as a table, or for S3 Batch Operations.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use crate::{
    audit::object_row::SeenObject,
    aws::fast_s3::PATH,
    base::{json::compact, printable::Printable, text::shown},
    facts::stored::StoredEncryption,
    settings::policy::EncryptionKind,
    system::output,
};

/// The formats of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OffendersFormat {
    /// One JSON object per line.
    Jsonl,
    /// A table with a header line.
    Csv,
    /// The input of S3 Batch Operations: bucket, key (and version), no header line.
    Manifest,
}

impl OffendersFormat {
    /// The format for a file name's ending.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let endings = [
            ("manifest.csv", Self::Manifest),
            (".manifest", Self::Manifest),
            (".jsonl", Self::Jsonl),
            (".ndjson", Self::Jsonl),
            (".csv", Self::Csv),
        ];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

/// A list that is being written. It is a draft beside its final path, and is renamed when it is
/// complete, so that a part of it is never mistaken for the whole.
#[derive(Debug)]
pub(crate) struct Offenders {
    place: PathBuf,
    draft: PathBuf,
    format: OffendersFormat,
    versions: bool,
    file: BufWriter<File>,
    bytes: u64,
}

/// One offender in JSON.
#[derive(Serialize)]
struct OffenderLine<'a> {
    bucket: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    is_latest: bool,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    encryption: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<&'a str>,
    role: &'a str,
}

impl Offenders {
    /// Starts a list, or continues one. `kept`: how many bytes to keep, and the draft's name.
    ///
    /// # Errors
    /// Why the list cannot be written, with its name.
    pub(crate) fn open(
        place: &Path,
        format: Option<OffendersFormat>,
        versions: bool,
        kept: Option<(u64, Option<&str>)>,
    ) -> Result<Self, String> {
        let Some(format) = format.or_else(|| OffendersFormat::of(place)) else {
            let place = place.display();
            return Err(format!(
                "{place}: which form? End the name in .jsonl, .csv or .manifest, or give \
                 --offenders-format"
            ));
        };
        let (bytes, draft, mut file) = match kept {
            Some((bytes, name)) if bytes > 0 => {
                let (draft, file) = kept_draft(place, name)?;
                (bytes, draft, file)
            }
            _ => {
                let named = |error: io::Error| format!("{}: {error}", place.display());
                let draft = output::draft(place, 0o644).map_err(named)?.keep();
                let (file, draft) = draft.map_err(|error| named(error.error))?;
                (0, draft, file)
            }
        };
        let named = |error: io::Error| format!("{}: {error}", draft.display());
        if file.metadata().map_err(named)?.len() < bytes {
            return Err(format!(
                "{}: is shorter than the state of the scan says; start again without --resume",
                draft.display()
            ));
        }
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes))).map_err(named)?;
        let mut list = Self {
            place: place.to_owned(),
            format,
            versions,
            bytes,
            file: BufWriter::with_capacity(1 << 16, file),
            draft: draft.clone(),
        };
        if bytes == 0 && format == OffendersFormat::Csv {
            list.write("bucket,key,version_id,is_latest,size,modified,storage_class,etag,encryption,kms_key,role\n".as_bytes()).map_err(named)?;
        }
        Ok(list)
    }

    /// Adds an object.
    pub(crate) fn add(&mut self, object: &SeenObject<'_>, role: &str) -> io::Result<()> {
        let (encryption, kms_key) = kind_name(object.stored);
        let modified = object.modified.map(shown);
        let line = match self.format {
            OffendersFormat::Jsonl => {
                let SeenObject {
                    bucket,
                    key,
                    version_id,
                    is_latest,
                    size,
                    etag,
                    storage_class,
                    ..
                } = *object;
                let line = OffenderLine {
                    bucket,
                    key,
                    version_id,
                    is_latest,
                    size,
                    modified,
                    storage_class,
                    etag,
                    encryption,
                    kms_key,
                    role,
                };
                let mut line = compact(&line)?;
                line.push('\n');
                line.into_bytes()
            }
            OffendersFormat::Csv => {
                let (latest, size) = (object.is_latest.to_string(), object.size.to_string());
                let cells = [
                    object.bucket,
                    object.key,
                    object.version_id.unwrap_or_default(),
                    &latest,
                    &size,
                    modified.as_deref().unwrap_or_default(),
                    object.storage_class.unwrap_or_default(),
                    object.etag.unwrap_or_default(),
                    encryption,
                    kms_key.unwrap_or_default(),
                    role,
                ];
                fields(&cells.map(cell))?
            }
            OffendersFormat::Manifest => {
                // The keys of a manifest are URL-encoded. Source: Amazon S3 user guide, Specifying
                // a manifest.
                let key = manifest_key(object.key);
                match object.version_id.filter(|_| self.versions) {
                    Some(version) => fields(&[object.bucket, &key, version])?,
                    None => fields(&[object.bucket, &key])?,
                }
            }
        };
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The name of the draft file, while the list is not complete.
    pub(crate) fn draft_name(&self) -> Option<String> {
        Some(self.draft.file_name()?.to_str()?.to_owned())
    }

    /// Flushes the list to the disk. Returns its length in bytes.
    pub(crate) fn sync(&mut self) -> io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        Ok(self.bytes)
    }

    /// Completes the list, and returns its path.
    pub(crate) fn finish(mut self) -> io::Result<PathBuf> {
        self.sync()?;
        std::fs::rename(&self.draft, &self.place)?;
        Ok(self.place)
    }

    /// Gives up the list, and deletes its draft.
    pub(crate) fn abandon(self) {
        let _ = std::fs::remove_file(&self.draft);
    }
}

/// Opens the draft of a list that is continued, by its name. Older versions had a fixed name.
fn kept_draft(place: &Path, name: Option<&str>) -> Result<(PathBuf, File), String> {
    let older = || {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        name
    };
    let name = name.map_or_else(older, OsString::from);
    let draft = place.with_file_name(&name);
    if draft.file_name() != Some(name.as_os_str()) {
        return Err(format!(
            "{} is no name of a draft; start again without --resume",
            draft.display()
        ));
    }
    let file = output::open_own(&draft, File::options().read(true).write(true));
    Ok((draft.clone(), file.map_err(|error| format!("{}: {error}", draft.display()))?))
}

/// The text of a table's cell. Spreadsheet programs read a cell that begins with one of these
/// characters as a formula. An apostrophe before it marks it as text. A cell that already begins
/// with an apostrophe gets another one, so that the marking can be undone. Source: OWASP, CSV
/// Injection.
fn cell(text: &str) -> String {
    let shown = Printable::from(text);
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) {
        format!("'{shown}")
    } else {
        shown.into()
    }
}

/// A key as a manifest writes it. A first character that a spreadsheet program would take for a
/// formula is encoded, too; S3 decodes it to the same key.
fn manifest_key(key: &str) -> String {
    let encoded = utf8_percent_encode(key, PATH).to_string();
    match encoded.as_bytes().first() {
        Some(first @ (b'=' | b'+' | b'-' | b'@')) => format!("%{first:02X}{}", &encoded[1..]),
        _ => encoded,
    }
}

fn fields(fields: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
    let mut line = csv::Writer::from_writer(Vec::with_capacity(256));
    line.write_record(fields)?;
    line.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// The name of S3's encryption in the settings, and the key.
pub(crate) fn kind_name(stored: &StoredEncryption) -> (&str, Option<&str>) {
    match stored {
        StoredEncryption::Unencrypted => ("none", None),
        StoredEncryption::Kind(kind, key) => (
            match kind {
                EncryptionKind::SseS3 => "SSE-S3",
                EncryptionKind::SseKms => "SSE-KMS",
                EncryptionKind::DsseKms => "DSSE-KMS",
            },
            key.as_deref(),
        ),
        StoredEncryption::CustomerKey => ("SSE-C", None),
        StoredEncryption::Other(kind) => (kind, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    fn open(place: &Path, kept: Option<(u64, Option<&str>)>) -> Result<Offenders, String> {
        Offenders::open(place, None, false, kept)
    }

    #[test]
    fn a_list_goes_on_in_its_own_draft_and_in_that_of_an_older_version() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("list.jsonl");
        let mut list = open(&place, None).unwrap();
        list.write(b"one\ntwo\n").unwrap();
        list.sync().unwrap();
        let name = list.draft_name().unwrap();
        assert!(
            name.starts_with(".list.jsonl.")
                && Path::new(&name).extension() == Some("part".as_ref()),
            "{name}"
        );
        drop(list);
        fs::copy(folder.path().join(&name), folder.path().join("list.jsonl.part")).unwrap();
        for (kept, end) in [(Some(name.as_str()), "three\n"), (None, "four\n")] {
            let mut list = open(&place, Some((4, kept))).unwrap();
            list.write(end.as_bytes()).unwrap();
            list.finish().unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), format!("one\n{end}"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = open(&place, Some((4, Some(&name)))).unwrap_err();
        assert!(error.ends_with("No such file or directory (os error 2)"), "{error}");
        // The list was empty: it starts again.
        open(&place, Some((0, Some(&name)))).unwrap().abandon();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_list_does_not_go_on_in_what_others_could_have_written() {
        let folder = tempfile::tempdir().unwrap();
        let (place, draft) = (folder.path().join("o.csv"), folder.path().join("o.csv.part"));
        let victim = folder.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        symlink(&victim, &draft).unwrap();
        assert!(open(&place, Some((4, None))).is_err());
        let error = open(&place, Some((4, Some("x/../victim")))).unwrap_err();
        assert!(error.contains("is no name of a draft"), "{error}");
        fs::remove_file(&draft).unwrap();
        fs::write(&draft, "planted").unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o666)).unwrap();
        let error = open(&place, Some((4, None))).unwrap_err();
        assert!(error.contains("o.csv.part may be written by every user"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "victim");
        assert_eq!(fs::read_to_string(&draft).unwrap(), "planted");
    }
}
