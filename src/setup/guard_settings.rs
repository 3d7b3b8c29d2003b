//! The settings file `guard.yml` for what `setup` decided. A file is written again only as long as
//! it is unchanged: its last line has the digest of the others. Everywhere else the lines to add
//! are given.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;
use serde_json::{Value, json};

use crate::{
    base::{
        digest::sha256,
        printable::{Printable, is_invisible, printable},
    },
    settings::{
        locks,
        policy::{EncryptionKind, HOSTED_ASSETS, Policy, Protection},
    },
    setup::piece::MADE_KEY,
    system::{
        output::write_new_readable,
        replace_file::{ReplaceFileError, replace_file},
    },
};

/// The start of the file.
const HEAD: &str = "\
# Settings of emr-etl-guard, written by `emr-etl-guard setup`. It writes this file again only as
# long as nobody has changed it, which the last line tells. All settings: `emr-etl-guard explain
# --settings`.
";
/// The start of the last line, before the digest.
const LAST: &str = "# Written by emr-etl-guard setup. SHA-256 of the lines above: ";
/// The section for the command `sentinel`, and its key with the queues.
const SENTINEL: &str = "sentinel";
const QUEUES: &str = "queues";
/// The default of `certificate_days`.
const CERTIFICATE_DAYS: u16 = 30;
/// The size limit of a file that is read, as of every settings file.
const LARGEST: u64 = 128 << 10;

/// The settings that `setup` decides. One that is none, or an empty list, is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuardSettings {
    /// `security_configuration`.
    pub(crate) security_configuration: Option<String>,
    /// `require`.
    pub(crate) require: Vec<Protection>,
    /// `accept_encryption`.
    pub(crate) accept_encryption: Vec<EncryptionKind>,
    /// `expected_keys`.
    pub(crate) expected_keys: Vec<String>,
    /// `external_buckets`, without Snowplow's hosted assets.
    pub(crate) external_buckets: Vec<String>,
    /// `certificate_days`.
    pub(crate) certificate_days: Option<u16>,
    /// `run_tag`.
    pub(crate) run_tag: Option<bool>,
    /// `event_queue`: a URL.
    pub(crate) event_queue: Option<String>,
    /// `evidence`: destinations.
    pub(crate) evidence: Vec<String>,
    /// `alert_sns`: an ARN.
    pub(crate) alert_sns: Option<String>,
    /// `sentinel.queues`: URLs.
    pub(crate) sentinel_queues: Vec<String>,
}

/// A setting as it is written.
struct Entry {
    key: &'static str,
    /// What it means here.
    comment: &'static str,
    value: Value,
}

impl GuardSettings {
    /// The requirements of `policy`, where they are not the defaults.
    pub(crate) fn of_policy(policy: &Policy) -> Self {
        fn unless_all<T: Copy + PartialEq>(chosen: &[T], all: &[T]) -> Vec<T> {
            let is_all = all.iter().all(|one| chosen.contains(one));
            if is_all { Vec::new() } else { chosen.to_vec() }
        }
        let external = policy.external_buckets.iter();
        let external = external.filter(|bucket| !HOSTED_ASSETS.contains(&bucket.as_str()));
        let days = Some(policy.certificate_days).filter(|days| *days != CERTIFICATE_DAYS);
        Self {
            require: unless_all(&policy.require, Protection::value_variants()),
            accept_encryption: unless_all(
                &policy.accept_encryption,
                EncryptionKind::value_variants(),
            ),
            expected_keys: policy.expected_keys.clone(),
            external_buckets: external.cloned().collect(),
            certificate_days: days,
            ..Self::default()
        }
    }

    /// The section `sentinel`, as far as it is decided here; null if nothing of it is.
    fn section(&self) -> Value {
        match self.sentinel_queues.as_slice() {
            [] => Value::Null,
            queues => json!({ QUEUES: queues }),
        }
    }

    /// The settings that are written, in the order of the file.
    fn entries(&self) -> Vec<Entry> {
        let text = |text: &Option<String>| json!(text);
        let all = [
            (
                "security_configuration",
                "The security configuration that every run's cluster gets.",
                text(&self.security_configuration),
            ),
            ("require", "The protections that it must give.", json!(self.require)),
            (
                "accept_encryption",
                "The kinds of default encryption that buckets may have.",
                json!(self.accept_encryption),
            ),
            (
                "expected_keys",
                "The KMS keys, one of which must encrypt what is written.",
                json!(self.expected_keys),
            ),
            (
                "external_buckets",
                "Buckets of other owners that runs only read.",
                json!(self.external_buckets),
            ),
            (
                "certificate_days",
                "The days for which certificates must still be valid.",
                json!(self.certificate_days),
            ),
            (
                "run_tag",
                "Whether the clusters of a run are tagged, to tell them from others.",
                json!(self.run_tag),
            ),
            ("event_queue", "The SQS queue with the events of EMR.", text(&self.event_queue)),
            ("evidence", "Where the report of each run goes.", json!(self.evidence)),
            ("alert_sns", "The SNS topic for alerts.", text(&self.alert_sns)),
            (SENTINEL, "What the sentinel reads.", self.section()),
        ];
        let is_set =
            |value: &Value| !value.is_null() && value.as_array().is_none_or(|it| !it.is_empty());
        all.into_iter()
            .filter(|(.., value)| is_set(value))
            .map(|(key, comment, value)| Entry { key, comment, value })
            .collect()
    }

    /// The whole file.
    pub(crate) fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for Entry { key, comment, value } in self.entries() {
            let _ = write!(text, "\n# {comment}\n{key}:");
            match value {
                Value::Array(items) => {
                    for item in &items {
                        let _ = write!(text, "\n  - {}", scalar(item));
                    }
                    text.push('\n');
                }
                Value::Object(fields) => {
                    for (name, value) in &fields {
                        let _ = write!(text, "\n  {name}: {}", inline(value));
                    }
                    text.push('\n');
                }
                value => {
                    let _ = writeln!(text, " {}", scalar(&value));
                }
            }
        }
        text.push('\n');
        let digest = sha256(&text);
        text + LAST + &digest + "\n"
    }

    /// What `present` lacks of these settings.
    fn missing_in(&self, present: &str) -> Vec<SettingByHand> {
        let known: Value = serde_yaml::from_str(present).unwrap_or_default();
        let places = locks::places(present).settings;
        let entries =
            self.entries().into_iter().filter(|entry| !has(known.get(entry.key), &entry.value));
        let by_hand = entries.map(|Entry { key, value, .. }| {
            let line = places.iter().find(|(known, _)| known == key).map(|(_, line)| *line);
            match &value {
                // A section has more than what is decided here.
                Value::Object(fields) if line.is_some() => {
                    let new =
                        fields.iter().map(|(name, value)| format!("{name}: {}", inline(value)));
                    let new = Printable::from(new.collect::<Vec<_>>().join(", "));
                    SettingByHand { line, section: Some(key), new }
                }
                value => {
                    let new = Printable::from(format!("{key}: {}", inline(value)));
                    SettingByHand { line, section: None, new }
                }
            }
        });
        by_hand.collect()
    }
}

/// Whether settings have a value; of a section, what is decided here.
fn has(known: Option<&Value>, value: &Value) -> bool {
    match (known, value) {
        (Some(Value::Object(known)), Value::Object(fields)) => {
            fields.iter().all(|(name, value)| known.get(name) == Some(value))
        }
        (known, value) => known == Some(value),
    }
}

/// A value in one line of YAML.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", inline(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        value => scalar(value),
    }
}

/// A value as YAML. Texts are quoted, so that none is read as something else.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if is_invisible(letter) => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether `setup` has written this text, and nobody has changed it.
fn is_unchanged(text: &str) -> bool {
    text.rfind(LAST).is_some_and(|at| {
        let (above, last) = text.split_at(at);
        last.strip_prefix(LAST) == Some(&format!("{}\n", sha256(above)))
    })
}

/// A setting that has to be written by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingByHand {
    /// The line of the present value that it replaces, from 1; none: it is added.
    pub(crate) line: Option<u64>,
    /// The section that begins in that line, and to which it is added.
    pub(crate) section: Option<&'static str>,
    /// The line to write.
    pub(crate) new: Printable,
}

/// What was done about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SettingsWrite {
    /// It was created.
    Created,
    /// An earlier one of `setup` was replaced.
    Replaced,
    /// It has all of these settings already.
    Unchanged,
    /// It belongs to somebody else, and was not touched.
    ByHand(Vec<SettingByHand>),
}

impl SettingsWrite {
    /// What to tell about the file.
    pub(crate) fn lines(&self, file: &Path) -> Vec<Printable> {
        let file = Printable::from(file.display().to_string());
        let settings = match self {
            Self::Created => return vec![printable!("{file}: written")],
            Self::Replaced => {
                return vec![printable!("{file}: replaced, because nobody had changed it")];
            }
            Self::Unchanged => return vec![printable!("{file}: has these settings already")],
            Self::ByHand(settings) => settings,
        };
        let mut lines =
            vec![printable!("{file}: somebody else wrote or changed it; nothing was changed")];
        lines.extend(settings.iter().map(|SettingByHand { line, section, new }| match line {
            Some(line) if section.is_some() => printable!(
                "fix: write `{new}` in the section `{}`, which begins in line {line}",
                section.unwrap_or_default()
            ),
            Some(line) => printable!("fix: write `{new}` in place of the setting in line {line}"),
            None => printable!("fix: add `{new}`"),
        }));
        lines
    }
}

/// Why the file cannot be written. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsWriteError {
    /// A setting names a key that does not exist yet.
    #[error("the settings name a KMS key that is not made yet; fix: run `setup --apply` first")]
    KeyUnknown,
    /// The file cannot be read or created.
    #[error("{}: cannot be written: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An earlier file of `setup` cannot be replaced.
    #[error(transparent)]
    Replace(#[from] ReplaceFileError),
}

/// Writes `settings` to `file`, unless somebody else's settings are there.
///
/// # Errors
/// [`SettingsWriteError`].
pub(crate) fn write(
    file: &Path,
    settings: &GuardSettings,
) -> Result<SettingsWrite, SettingsWriteError> {
    let text = settings.text();
    if text.contains(MADE_KEY) {
        return Err(SettingsWriteError::KeyUnknown);
    }
    let failed = |source| SettingsWriteError::Io { file: file.to_owned(), source };
    let present = match read(file) {
        Ok(present) => present,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new_readable(file, text.as_bytes()).map_err(failed)?;
            return Ok(SettingsWrite::Created);
        }
        Err(error) => return Err(failed(error)),
    };
    if present == text {
        return Ok(SettingsWrite::Unchanged);
    }
    if is_unchanged(&present) {
        replace_file(file, present.as_bytes(), text.as_bytes())?;
        return Ok(SettingsWrite::Replaced);
    }
    let missing = settings.missing_in(&present);
    Ok(if missing.is_empty() { SettingsWrite::Unchanged } else { SettingsWrite::ByHand(missing) })
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!(
            "larger than {LARGEST} bytes; this is no settings file"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::settings::resolve::{Options, Settings};

    fn decided() -> GuardSettings {
        GuardSettings {
            security_configuration: Some("acme-0a1b2c3d".to_owned()),
            require: vec![Protection::S3AtRest, Protection::LocalDisk, Protection::InTransit],
            accept_encryption: vec![EncryptionKind::SseKms, EncryptionKind::DsseKms],
            expected_keys: vec!["arn:aws:kms:eu-west-1:123456789012:key/1-2".to_owned()],
            external_buckets: vec!["partner-*".to_owned()],
            certificate_days: Some(45),
            run_tag: Some(false),
            event_queue: Some("https://sqs.eu-west-1.amazonaws.com/123456789012/emr".to_owned()),
            evidence: vec!["s3://acme-evidence/runs/".to_owned(), "/var/log/runs".to_owned()],
            alert_sns: Some("arn:aws:sns:eu-west-1:123456789012:alerts".to_owned()),
            sentinel_queues: vec![
                "https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-sentinel".to_owned(),
            ],
        }
    }

    /// What the guard's own loader makes of a file.
    fn loaded(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.yml");
        fs::write(&file, text).unwrap();
        Settings::resolve(Options::default(), Some(&file))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The decided settings, of loaded ones.
    fn of(settings: &Settings) -> GuardSettings {
        let policy = &settings.policy;
        let external =
            policy.external_buckets.iter().filter(|name| !HOSTED_ASSETS.contains(&name.as_str()));
        GuardSettings {
            security_configuration: settings.security_configuration.clone(),
            require: policy.require.clone(),
            accept_encryption: policy.accept_encryption.clone(),
            expected_keys: policy.expected_keys.clone(),
            external_buckets: external.cloned().collect(),
            certificate_days: Some(policy.certificate_days),
            run_tag: Some(settings.run_tag),
            event_queue: settings.aws.event_queue.clone(),
            evidence: settings.evidence.destinations.iter().map(ToString::to_string).collect(),
            alert_sns: None,
            sentinel_queues: settings.sentinel_options().unwrap().queues,
        }
    }

    #[test]
    fn the_guards_own_loader_reads_what_was_decided() {
        let settings = decided();
        insta::assert_snapshot!(settings.text());
        let settings = loaded(&settings.text());
        assert_eq!(of(&settings), GuardSettings { alert_sns: None, ..decided() });
        assert!(!settings.alerts.is_empty());
        // One that is not decided keeps its default.
        let few = GuardSettings {
            security_configuration: Some("acme".to_owned()),
            ..GuardSettings::default()
        };
        assert!(!few.text().contains("run_tag") && !few.text().contains("[]"));
        let defaults = of(&loaded(""));
        assert_eq!(
            of(&loaded(&few.text())),
            GuardSettings { security_configuration: few.security_configuration, ..defaults }
        );
        assert_eq!(of(&loaded(&GuardSettings::default().text())), of(&loaded("")));
    }

    #[test]
    fn what_the_policy_requires_beyond_the_defaults_is_kept() {
        let defaults = GuardSettings::of_policy(&loaded("").policy);
        assert_eq!(defaults, GuardSettings::default());
        let text = "require: [in-transit]\naccept_encryption: [DSSE-KMS, SSE-KMS]\nexpected_keys: \
                    [alias/a]\nexternal_buckets: [x]\ncertificate_days: 7\n";
        let policy = loaded(text).policy;
        let kept = GuardSettings::of_policy(&policy);
        assert_eq!((kept.certificate_days, kept.require.len()), (Some(7), 1));
        assert_eq!(of(&loaded(&kept.text())), of(&loaded(text)));
    }

    #[test]
    fn a_file_is_written_again_until_somebody_changes_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.yml");
        let settings = decided();
        assert_eq!(write(&file, &settings).unwrap(), SettingsWrite::Created);
        assert_ne!(fs::metadata(&file).unwrap().permissions().mode() & 0o400, 0);
        assert_eq!(write(&file, &settings).unwrap(), SettingsWrite::Unchanged);
        let next = GuardSettings {
            security_configuration: Some("acme-ffffffff".to_owned()),
            external_buckets: Vec::new(),
            ..decided()
        };
        assert_eq!(write(&file, &next).unwrap(), SettingsWrite::Replaced);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, next.text());
        for changed in [
            text.replace("run_tag: false", "run_tag: true"),
            text.replace('\n', "\r\n"),
            format!("{text}# mine\n"),
            text.replacen('#', "# ", 1),
            text.trim_end().to_owned(),
            String::new(),
        ] {
            fs::write(&file, &changed).unwrap();
            let done = write(&file, &settings).unwrap();
            assert!(matches!(done, SettingsWrite::ByHand(_)), "{done:?}\n{changed}");
            assert_eq!(fs::read_to_string(&file).unwrap(), changed);
        }
    }

    #[test]
    fn settings_of_somebody_else_get_the_lines_that_they_lack() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.yml");
        let own = "# ours\nexpected_keys: [alias/old]\nrun_tag: false\n\
            security_configuration: 'acme-0a1b2c3d'\n";
        fs::write(&file, own).unwrap();
        let settings = GuardSettings {
            evidence: Vec::new(),
            alert_sns: None,
            sentinel_queues: Vec::new(),
            ..decided()
        };
        let done = write(&file, &settings).unwrap();
        let lines = done.lines(Path::new("guard.yml"));
        insta::assert_snapshot!(lines.iter().map(Printable::as_str).collect::<Vec<_>>().join("\n"));
        assert_eq!(fs::read_to_string(&file).unwrap(), own);
        let SettingsWrite::ByHand(by_hand) = done else { panic!() };
        let added: Vec<&str> = by_hand
            .iter()
            .filter(|setting| setting.line.is_none())
            .map(|setting| setting.new.as_str())
            .collect();
        let added = added.join("\n");
        let followed = format!(
            "{}{added}\n",
            own.replace(
                "expected_keys: [alias/old]",
                by_hand.iter().find(|it| it.line == Some(2)).unwrap().new.as_str()
            )
        );
        fs::write(&file, &followed).unwrap();
        assert_eq!(write(&file, &settings).unwrap(), SettingsWrite::Unchanged);
        assert_eq!(of(&loaded(&followed)), settings);
    }

    #[test]
    fn queues_are_added_to_a_section_that_somebody_else_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.yml");
        let settings = GuardSettings {
            sentinel_queues: decided().sentinel_queues,
            ..GuardSettings::default()
        };
        let lines = |own: &str| {
            fs::write(&file, own).unwrap();
            let done = write(&file, &settings).unwrap();
            let lines = done.lines(Path::new("guard.yml"));
            lines.iter().map(Printable::as_str).collect::<Vec<_>>().join("\n")
        };
        let said = ["quiet: true\nsentinel:\n  regions: [eu-west-1]\n", "quiet: true\n"].map(lines);
        insta::assert_snapshot!(said.join("\n\n"));
        let queue = &settings.sentinel_queues[0];
        fs::write(&file, format!("sentinel:\n  regions: [eu-west-1]\n  queues: ['{queue}']\n"))
            .unwrap();
        assert_eq!(write(&file, &settings).unwrap(), SettingsWrite::Unchanged);
    }

    #[test]
    fn what_cannot_be_read_or_is_not_known_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let settings = decided();
        let error = |file: &Path| write(file, &settings).unwrap_err().to_string();
        let none = folder.path().join("no/guard.yml");
        assert!(error(&none).contains("cannot be written: No such file"), "{}", error(&none));
        assert!(error(folder.path()).contains("cannot be written: "), "{}", error(folder.path()));
        let dangling = folder.path().join("link");
        symlink("nowhere", &dangling).unwrap();
        assert!(error(&dangling).contains("cannot be written: "), "{}", error(&dangling));
        assert!(!folder.path().join("nowhere").exists());
        let unknown = GuardSettings { expected_keys: vec![MADE_KEY.to_owned()], ..decided() };
        let refused = write(&folder.path().join("guard.yml"), &unknown).unwrap_err();
        assert!(matches!(refused, SettingsWriteError::KeyUnknown), "{refused}");
    }

    proptest! {
        #[test]
        fn whatever_a_name_holds_it_is_read_again_as_it_was(
            name in "\\PC{0,8}[^\\s]\\PC{0,8}",
            other in any::<String>(),
        ) {
            let settings = GuardSettings {
                security_configuration: Some(format!("{name}{other}")),
                expected_keys: vec![name.clone(), format!("x{other}")],
                ..GuardSettings::default()
            };
            let text = settings.text();
            prop_assert!(is_unchanged(&text));
            let read = of(&loaded(&text));
            prop_assert_eq!(read.security_configuration, settings.security_configuration);
            prop_assert_eq!(read.expected_keys, settings.expected_keys);
        }
    }
}
