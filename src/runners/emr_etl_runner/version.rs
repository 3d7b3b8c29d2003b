//! The runner's version: read from its own files if possible, otherwise from `--version`, which
//! takes 17 s on JRuby. It is cached by the file's identity.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    base::lookup::{Lookup, LookupError, LookupErrorKind},
    runners::emr_etl_runner::packaged_version,
    spec::observations::RunnerVersion,
    system::{
        held_file::FileIdentity,
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
    /// Finds `1.0.4` in `snowplow-emr-etl-runner 1.0.4`; a suffix such as `-rc1` is ignored.
    fn find(output: &str) -> Option<Self> {
        let words =
            output.lines().find_map(|line| line.strip_prefix("snowplow-emr-etl-runner "))?;
        Self::parse(words.split_whitespace().next()?.split('-').next()?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CachedVersion {
    identity: FileIdentity,
    version: RunnerVersion,
}

/// The version of `program`: from the cache, from its files, or from `--version` within `limit`.
pub(crate) async fn version(program: &Program, limit: Duration) -> Lookup<RunnerVersion> {
    let memory = Memory::default_place();
    let before = program.file().identity();
    if let Some(version) = memory.as_ref().and_then(|memory| memory.recall(&program.path, before)) {
        return Lookup::Found(version);
    }
    let (path, file) = (program.path.clone(), Arc::clone(program.file()));
    let read = tokio::task::spawn_blocking(move || packaged_version::read(&path, &file)).await;
    let answer = match read {
        Ok(Some(version)) => Lookup::Found(version),
        Ok(None) | Err(_) => ask(program, limit).await,
    };
    if let (Lookup::Found(version), Some(memory)) = (&answer, memory)
        // If the file was replaced meanwhile, the result must not be cached under the new file's
        // identity.
        && FileIdentity::of(&program.path).is_ok_and(|after| after == before)
    {
        memory.keep(&program.path, CachedVersion { identity: before, version: *version });
    }
    answer
}

/// SHA-256 of the program's file.
pub(crate) async fn digest(program: &Program) -> Lookup<String> {
    let file = Arc::clone(program.file());
    let error = match tokio::task::spawn_blocking(move || file.sha256()).await {
        Ok(Ok(digest)) => return Lookup::Found(digest),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Lookup::Unreachable(LookupError::new(
        format!("reading {}", program.path.display()),
        LookupErrorKind::Other,
        error,
    ))
}

async fn ask(program: &Program, limit: Duration) -> Lookup<RunnerVersion> {
    let trouble = |message: String| {
        Lookup::Unreachable(LookupError::new(
            format!("{} --version", program.path.display()),
            LookupErrorKind::Other,
            message,
        ))
    };
    let mut command = match program.command() {
        Ok(command) => command,
        Err(error) => return trouble(error.to_string()),
    };
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
            let mut lines = complaint.lines().skip_while(|line| line.trim().is_empty());
            let first = lines.next().map_or_else(String::new, |line| format!(": {}", line.trim()));
            // Another guard in the runner's place wraps long lines.
            let rest = lines.next().filter(|line| line.starts_with("  ") && first.len() > 80);
            let rest = rest.map_or_else(String::new, |line| format!(" {}", line.trim()));
            let complaint = format!("{first}{rest}");
            trouble(format!("printed no version ({}){complaint}", output.status))
        }
    }
}

/// The folder with the version cache. Losing it costs one `--version` call, so problems with it are
/// not errors, and a file that others could have written is not trusted.
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

    fn recall(&self, program: &Path, identity: FileIdentity) -> Option<RunnerVersion> {
        let remembered = self.all().remove(program)?;
        (identity == remembered.identity).then_some(remembered.version)
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
        let recall = || memory.recall(&program, FileIdentity::of(&program).unwrap());
        memory.keep(
            &program,
            CachedVersion {
                identity: FileIdentity::of(&program).unwrap(),
                version: RunnerVersion(1, 0, 4),
            },
        );
        assert_eq!(recall(), Some(RunnerVersion(1, 0, 4)));
        std::fs::write(&program, "other").unwrap();
        assert_eq!(recall(), None);
    }
}
