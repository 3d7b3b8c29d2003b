//! The runner's version: read from its own files where these tell it, else asked by `--version`,
//! which takes 17 s on JRuby. It is remembered by the file's identity.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    base::lookup::{Lookup, LookupError, LookupErrorKind},
    runners::emr_etl_runner::packaged_version,
    spec::observations::RunnerVersion,
    system::{
        private_dir::{PrivateDir, PrivateDirError},
        process::Program,
    },
};

impl From<RunnerVersion> for String {
    fn from(version: RunnerVersion) -> Self {
        version.to_string()
    }
}

impl RunnerVersion {
    /// Finds `1.0.4` in `snowplow-emr-etl-runner 1.0.4`; a suffix such as `-rc1` does not count.
    fn find(output: &str) -> Option<Self> {
        let words =
            output.lines().find_map(|line| line.strip_prefix("snowplow-emr-etl-runner "))?;
        Self::parse(words.split_whitespace().next()?.split('-').next()?)
    }
}

/// What makes a program's file the same file as before: where it is, and that nobody wrote to it
/// since.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        Some(Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CachedVersion {
    identity: FileIdentity,
    version: RunnerVersion,
}

/// The version of `program`: remembered, read from its files, or asked within `limit`.
pub(crate) async fn version(program: &Program, limit: Duration) -> Lookup<RunnerVersion> {
    let memory = Memory::default_place();
    if let Some(version) = memory.as_ref().and_then(|memory| memory.recall(&program.path)) {
        return Lookup::Found(version);
    }
    let before = FileIdentity::of(&program.path);
    let path = program.path.clone();
    let read = tokio::task::spawn_blocking(move || packaged_version::read(&path)).await;
    let answer = match read {
        Ok(Some(version)) => Lookup::Found(version),
        Ok(None) | Err(_) => ask(program, limit).await,
    };
    if let (Lookup::Found(version), Some(memory), Some(before)) = (&answer, memory, before)
        // A file replaced while it was read or asked must not be remembered under the new one's identity.
        && FileIdentity::of(&program.path).as_ref() == Some(&before)
    {
        memory.keep(&program.path, CachedVersion { identity: before, version: *version });
    }
    answer
}

/// SHA-256 of the program's file.
pub(crate) async fn digest(program: &Program) -> Lookup<String> {
    let path = program.path.clone();
    let operation = format!("reading {}", path.display());
    match tokio::task::spawn_blocking(move || crate::base::digest::sha256_of_file(&path)).await {
        Ok(Ok(digest)) => Lookup::Found(digest),
        Ok(Err(error)) => Lookup::Unreachable(LookupError::new(
            operation,
            LookupErrorKind::Other,
            error.to_string(),
        )),
        Err(error) => Lookup::Unreachable(LookupError::new(
            operation,
            LookupErrorKind::Other,
            error.to_string(),
        )),
    }
}

async fn ask(program: &Program, limit: Duration) -> Lookup<RunnerVersion> {
    let trouble = |message: String| {
        Lookup::Unreachable(LookupError::new(
            format!("{} --version", program.path.display()),
            LookupErrorKind::Other,
            message,
        ))
    };
    let mut command = program.command();
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(limit, command.output()).await {
        Err(_) => {
            return trouble(format!("no answer within {}", humantime::format_duration(limit)));
        }
        Ok(Err(error)) => return trouble(error.to_string()),
        Ok(Ok(output)) => output,
    };
    match RunnerVersion::find(&String::from_utf8_lossy(&output.stdout)) {
        Some(version) => Lookup::Found(version),
        None => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let complaint = complaint
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .map_or_else(String::new, |line| format!(": {line}"));
            trouble(format!("printed no version ({}){complaint}", output.status))
        }
    }
}

/// The folder with the file that versions are remembered in. Losing it costs one question; so trouble
/// with it is no error, and what others could have written there is not believed.
struct Memory {
    folder: PathBuf,
}

const FILE: &str = "runner-versions.json";

impl Memory {
    fn default_place() -> Option<Self> {
        let absolute =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Some(Self { folder: cache.join("emr-etl-guard") })
    }

    fn all(&self) -> BTreeMap<PathBuf, CachedVersion> {
        let read = || PrivateDir::existing(&self.folder)?.map_or(Ok(None), |it| it.read_json(FILE));
        let read = read().inspect_err(|error: &PrivateDirError| {
            tracing::debug!(%error, "what is remembered of the runner's version is not believed");
        });
        read.ok().flatten().unwrap_or_default()
    }

    fn recall(&self, program: &Path) -> Option<RunnerVersion> {
        let remembered = self.all().remove(program)?;
        (FileIdentity::of(program)? == remembered.identity).then_some(remembered.version)
    }

    fn keep(&self, program: &Path, remembered: CachedVersion) {
        let mut all = self.all();
        all.insert(program.to_owned(), remembered);
        let written =
            PrivateDir::create(&self.folder).and_then(|folder| folder.replace_json(FILE, &all));
        if let Err(error) = written {
            tracing::debug!(%error, "the runner's version could not be remembered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_among_other_lines() {
        assert_eq!(
            RunnerVersion::find("warning: x\nsnowplow-emr-etl-runner 1.0.4\n"),
            Some(RunnerVersion(1, 0, 4))
        );
        assert_eq!(
            RunnerVersion::find("snowplow-emr-etl-runner 0.33.0-rc1"),
            Some(RunnerVersion(0, 33, 0))
        );
        assert_eq!(RunnerVersion::find("some other program 1.0.4"), None);
    }

    #[test]
    fn a_remembered_version_is_forgotten_when_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("runner");
        std::fs::write(&program, "one").unwrap();
        let memory = Memory { folder: folder.path().join("cache/guard") };
        memory.keep(
            &program,
            CachedVersion {
                identity: FileIdentity::of(&program).unwrap(),
                version: RunnerVersion(1, 0, 4),
            },
        );
        assert_eq!(memory.recall(&program), Some(RunnerVersion(1, 0, 4)));
        std::fs::write(&program, "other").unwrap();
        assert_eq!(memory.recall(&program), None);
    }
}
