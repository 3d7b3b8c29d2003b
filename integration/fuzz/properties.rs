//! Properties that must hold for any bytes, shared by the fuzz targets and the bounded run in
//! `cargo test`: no panic, no hang, and the sealed config means what was sealed.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::unix::ffi::OsStrExt as _,
};

use emr_etl_guard::{
    audit::inventory::read::count_rows,
    runners::emr_etl_runner::{
        config::RunnerConfig,
        invocation::{ConfigSource, Invocation},
        seal::Seal,
    },
};

/// A config of any bytes is rejected, or sealed into one that loads as sealed and needs no further
/// change.
pub(crate) fn config(bytes: &[u8]) {
    let env = |name: &str| (name != "UNSET").then(|| OsString::from("value"));
    let Ok(config) = RunnerConfig::parse("config.yml", bytes, &env) else { return };
    let seal = Seal {
        security_configuration: "sealed".to_owned(),
        tag: Some(("run".to_owned(), "1".to_owned())),
    };
    let Ok(sealed) = config.seal(&seal) else { return };
    let text = sealed.text.reveal();
    assert!(!text.contains("<%"), "the runner's ERB would find a tag");
    let Ok(again) = RunnerConfig::parse("sealed", text.as_bytes(), &|_| None) else {
        panic!("the sealed config does not load")
    };
    assert_eq!(
        again.security_configuration.map(|located| located.value).as_deref(),
        Some("sealed")
    );
    assert!(again.ambiguities.is_empty());
}

/// Any arguments are rejected, passed through, or parsed. Parsed ones are passed on with standard
/// input as the only config.
pub(crate) fn argv(bytes: &[u8]) {
    let words: Vec<OsString> =
        bytes.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let Ok(Invocation::Run(run)) = Invocation::parse(&words) else { return };
    let Ok(Invocation::Run(sealed)) = Invocation::parse(&run.sealed_argv) else {
        panic!("the sealed arguments are not understood: {:?}", run.sealed_argv)
    };
    assert_eq!(sealed.config, ConfigSource::Stdin);
    assert_eq!(sealed.persistent, run.persistent);
    assert_eq!(sealed.sealed_argv, run.sealed_argv);
}

/// The CSV fields of the corpus.
pub(crate) const SCHEMA: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, \
    LastModifiedDate, ETag, StorageClass, EncryptionStatus";

/// A file of an inventory is read to its end, or rejected with a short error.
fn inventory(format: &str, bytes: &[u8]) {
    let mut file = tempfile();
    file.write_all(bytes).expect("room on the disk");
    file.rewind().expect("a file");
    if let Err(why) = count_rows(format, file, SCHEMA) {
        assert!(!why.is_empty() && why.len() < 4096, "{} bytes: {why:.4000}", why.len());
    }
}

fn tempfile() -> File {
    tempfile::tempfile().expect("room on the disk")
}

/// Any text, compressed, and the same bytes uncompressed.
pub(crate) fn inventory_csv(bytes: &[u8]) {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast())
        .read_to_end(&mut packed)
        .expect("it comes from memory");
    inventory("CSV", &packed);
    inventory("CSV", bytes);
}

pub(crate) fn inventory_orc(bytes: &[u8]) {
    inventory("ORC", bytes);
}

pub(crate) fn inventory_parquet(bytes: &[u8]) {
    inventory("Parquet", bytes);
}
