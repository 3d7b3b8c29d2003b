//! The locks of a settings file: settings that neither a flag, the environment nor another settings
//! file may set.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use libyaml_safer::{Event, EventData, Parser};

/// The settings in the group `policy`: what is required, accepted and excepted.
pub(crate) const POLICY: [&str; 12] = [
    "require",
    "accept_encryption",
    "expected_keys",
    "external_buckets",
    "advise",
    "enforce",
    "certificate_days",
    "data_objects",
    "confirm_objects",
    "on_unencrypted",
    "exceptions",
    "sentinel",
];

/// Permission to write for the group or for others. Source: inode(7).
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A lock, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLock {
    /// The name of a setting, or of a group: `policy` or `all`.
    pub setting: String,
    /// The file that locks it.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: u64,
}

impl SettingLock {
    /// Whether it locks the setting `key`.
    pub(crate) fn covers(&self, key: &str) -> bool {
        match self.setting.as_str() {
            "all" => true,
            "policy" => POLICY.contains(&key),
            setting => setting == key,
        }
    }
}

impl std::fmt::Display for SettingLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}: `{}`", self.file.display(), self.line, self.setting)
    }
}

/// The lock of the setting `key`, if there is one.
pub(crate) fn lock_of<'a>(locks: &'a [SettingLock], key: &str) -> Option<&'a SettingLock> {
    locks.iter().find(|lock| lock.covers(key))
}

/// The locks `names` of `file`, whose content is `text`; `keys` are all settings.
///
/// # Errors
/// A name that is neither a setting nor a group, with its line.
pub(crate) fn locks(
    names: &[String],
    file: &Path,
    text: &str,
    keys: &[String],
) -> Result<Vec<SettingLock>, String> {
    let lines = places(text).locks;
    let mut locks = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let line = lines.get(index).or(lines.last()).copied().unwrap_or(1);
        if !matches!(name.as_str(), "all" | "policy") && !keys.contains(name) {
            return Err(format!(
                "{}: `locked` names `{name}` (line {line}), which is not a setting; expected \
                 settings, `policy` (what is required, accepted and excepted) or `all`",
                file.display()
            ));
        }
        locks.push(SettingLock { setting: name.clone(), file: file.to_owned(), line });
    }
    Ok(locks)
}

/// The positions in a settings file; lines count from 1.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The settings, each with its line.
    pub(crate) settings: Vec<(String, u64)>,
    /// The lines of the names in the list `locked`.
    locks: Vec<u64>,
}

/// The positions in `text`, which is known to be YAML with a mapping of settings at its top.
pub(crate) fn places(text: &str) -> Places {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut places = Places::default();
    // The number of open mappings and lists, and whether the next top-level node is a key.
    let (mut depth, mut is_key, mut in_list) = (0_u32, true, false);
    while let Ok(Event { data, start_mark, .. }) = parser.parse() {
        let line = start_mark.line + 1;
        match data {
            EventData::StreamEnd => break,
            EventData::MappingStart { .. } | EventData::SequenceStart { .. } => depth += 1,
            EventData::MappingEnd | EventData::SequenceEnd => {
                depth = depth.saturating_sub(1);
                if depth == 1 {
                    (is_key, in_list) = (true, false);
                }
            }
            EventData::Scalar { value, .. } if depth == 1 => {
                in_list = is_key && value == "locked";
                if is_key {
                    places.settings.push((value, line));
                }
                is_key = !is_key;
            }
            EventData::Alias { .. } if depth == 1 => is_key = !is_key,
            EventData::Scalar { .. } | EventData::Alias { .. } if depth == 2 && in_list => {
                places.locks.push(line);
            }
            _ => {}
        }
    }
    places
}

/// Checks that nobody except its owner may write the `file` that locks something: anyone who may
/// write could remove the lock. The owner is not checked: it is root or whoever runs the guard.
///
/// # Errors
/// Why the file does not protect its locks.
pub(crate) fn check_protected(
    file: &Path,
    opened: &std::fs::File,
) -> io::Result<Result<(), String>> {
    let mode = opened.metadata()?.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS == 0 {
        return Ok(Ok(()));
    }
    let file = file.display();
    Ok(Err(format!(
        "{file}: `locked` protects nothing, because others may write the file (mode {mode:04o}); \
         fix: chmod go-w {file}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        places(text).locks
    }

    #[test]
    fn the_line_of_each_lock_is_found_however_it_is_written() {
        assert_eq!(lines("locked: [policy, exit_codes]\n"), [1, 1]);
        assert_eq!(lines("# one\nquiet: true\nlocked:\n  - policy\n\n  - exit_codes\n"), [4, 6]);
        assert_eq!(lines("\"locked\": [\n  a,\n  'b']\n"), [2, 3]);
        // Elsewhere the key has no meaning.
        assert_eq!(
            lines("metrics_labels: {locked: x}\nexceptions:\n  - {check: locked, subject: [a]}\n"),
            [] as [u64; 0]
        );
        assert_eq!(lines("advise: [locked]\nrunner: locked\nquiet: true\n"), [] as [u64; 0]);
        assert_eq!(lines(""), [] as [u64; 0]);
        let text = "advise: &a [x]\nenforce: *a\nlocked: [policy]\n";
        assert_eq!(lines(text), [3]);
        let settings = places(text).settings;
        let wanted = [("advise", 1), ("enforce", 2), ("locked", 3)];
        assert_eq!(settings, wanted.map(|(name, line)| (name.to_owned(), line)));
    }

    #[test]
    fn a_group_covers_its_settings_and_a_setting_itself() {
        let lock = |setting: &str| SettingLock {
            setting: setting.to_owned(),
            file: "guard.yml".into(),
            line: 1,
        };
        assert!(lock("policy").covers("advise") && !lock("policy").covers("exit_codes"));
        assert!(lock("all").covers("exit_codes") && lock("quiet").covers("quiet"));
        assert!(!lock("quiet").covers("progress"));
    }
}
