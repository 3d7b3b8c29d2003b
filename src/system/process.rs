//! Finds the real runner, and starts it with the sealed config on its standard input.

use std::{
    ffi::OsString,
    io::{self, BufRead as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Pid, getpid, getppid, gettid},
};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStderr, ChildStdout, Command},
};

use crate::{
    base::secret::Secret,
    system::{
        core_dumps,
        held_file::{FileIdentity, HeldFile, PathCheck},
        orphaned_processes,
        reap::Reaper,
        runner_environment::{self, GUARD_SECRETS},
        screen,
        signals::JobControl,
    },
};

/// The name of the runner. When the guard is called by this name, it behaves as the runner.
pub const RUNNER_NAME: &str = "snowplow-emr-etl-runner";

/// The real runner: a program, or a jar for `java -jar`. Its file is held open.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    file: Arc<HeldFile>,
    /// What `path` must lead to when the runner is started.
    identity: FileIdentity,
    /// Whether its environment contains only the variables of the allow-list.
    clean_environment: bool,
}

/// Why the runner cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is none.
    #[error("EmrEtlRunner was not found: {0}")]
    NotFound(String),
    /// It cannot be executed, or must not be.
    #[error("EmrEtlRunner cannot be executed: {path}: {reason}")]
    NotExecutable {
        /// Its file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// It is not the file that was checked.
    #[error(
        "EmrEtlRunner was not started: {path} is not the file that was looked at: {seen}; \
         expected: the same file with the same content; fix: see who replaces it, and start again \
         when that is done"
    )]
    Changed {
        /// Its file.
        path: String,
        /// What differs.
        seen: String,
    },
}

impl Program {
    /// The runner that the settings name, or the next [`RUNNER_NAME`] on PATH that is not this
    /// program itself.
    ///
    /// # Errors
    /// [`LaunchError`] when there is none, or it cannot be executed.
    pub fn find(named: Option<&Path>) -> Result<Self, LaunchError> {
        let path = match named {
            Some(path) if path.components().count() > 1 => path.to_owned(),
            Some(name) => on_path(name)?,
            None => on_path(Path::new(RUNNER_NAME))?,
        };
        check(&path)?;
        let file = HeldFile::open(&path).map_err(|error| LaunchError::NotExecutable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let identity = file.identity();
        Ok(Self { path, file: Arc::new(file), identity, clean_environment: false })
    }

    /// The same, started with the clean environment of the allow-list if `clean`.
    #[must_use]
    pub fn with_clean_environment(self, clean: bool) -> Self {
        Self { clean_environment: clean, ..self }
    }

    /// Its file, in the state in which it was found.
    pub(crate) fn file(&self) -> &Arc<HeldFile> {
        &self.file
    }

    /// The same program, if its path still leads to the file that was found, and if the content
    /// still has the hash `sha256` (none where the file could not be read).
    ///
    /// The path is checked once more just before the start. One risk remains: an interpreter (a
    /// shell, java) opens the file again by its path after that, and reads from it while it runs. A
    /// user who may write to the file or its directory can use that.
    ///
    /// # Errors
    /// [`LaunchError::Changed`] if not.
    pub(crate) fn confirm(&self, sha256: Option<&str>) -> Result<Self, LaunchError> {
        let changed = |seen: String| self.changed(seen);
        let before = self.file.identity();
        let now = FileIdentity::of(&self.path).map_err(|error| changed(error.to_string()))?;
        if !now.is_same_file(&before) {
            return Err(changed("another file has its name".to_owned()));
        }
        match sha256 {
            Some(expected) => {
                let found = self.file.sha256().map_err(|error| changed(error.to_string()))?;
                if found != expected {
                    return Err(changed(format!("its SHA-256 was {expected}, and is {found}")));
                }
            }
            None if now != before => return Err(changed("it was written to".to_owned())),
            None => {}
        }
        // This identity is from before the content was read, so that every later write is detected.
        Ok(Self { identity: now, ..self.clone() })
    }

    fn changed(&self, seen: String) -> LaunchError {
        LaunchError::Changed { path: self.path.display().to_string(), seen }
    }

    /// Why the start failed.
    fn refusal(&self, error: &io::Error) -> LaunchError {
        let path = self.path.display().to_string();
        match error.kind() {
            _ if error.raw_os_error() == Some(PathCheck::CHANGED as i32) => {
                self.changed("it was replaced or written to just before its start".to_owned())
            }
            io::ErrorKind::NotFound => LaunchError::NotFound(format!("{path}: {error}")),
            _ => LaunchError::NotExecutable { path, reason: error.to_string() },
        }
    }

    fn is_jar(&self) -> bool {
        is_jar(&self.path)
    }

    /// A command that starts it, without arguments yet. It starts nothing if the program's path
    /// leads to another file by then.
    ///
    /// # Errors
    /// When its path is not valid.
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = if self.is_jar() {
            let mut java = Command::new("java");
            if !self.clean_environment {
                let options = std::env::var("JAVA_OPTS").unwrap_or_default();
                java.args(options.split_whitespace());
            }
            java.arg("-jar").arg(&self.path);
            java
        } else {
            Command::new(&self.path)
        };
        if self.clean_environment {
            command.env_clear().envs(runner_environment::inherited(true));
        } else {
            GUARD_SECRETS.iter().for_each(|secret| {
                command.env_remove(secret);
            });
        }
        command.env(MARK, std::env::current_exe().unwrap_or_default());
        check_before_exec(&mut command, PathCheck::new(&self.path, self.identity)?);
        Ok(command)
    }
}

/// Whether `path` is a program or a jar that can be the runner.
fn check(path: &Path) -> Result<(), LaunchError> {
    let shown = path.display().to_string();
    let refuse = |reason: &str| LaunchError::NotExecutable {
        path: shown.clone(),
        reason: reason.to_owned(),
    };
    let data = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            LaunchError::NotFound(format!("{shown} does not exist (setting `runner`)"))
        }
        _ => refuse(&error.to_string()),
    })?;
    if !data.is_file() {
        return Err(refuse("not a file"));
    }
    if is_this_program(path) {
        return Err(refuse(
            "this is the guard itself; name the real runner in the setting `runner`",
        ));
    }
    if is_jar(path) && on_path(Path::new("java")).is_err() {
        return Err(LaunchError::NotFound(format!("`java`, which runs {shown}, is not on PATH")));
    }
    if !is_jar(path) && data.permissions().mode() & 0o111 == 0 {
        return Err(refuse("not executable"));
    }
    Ok(())
}

fn is_jar(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jar"))
}

/// Set for everything that a guard starts as the runner, to the guard's own program file.
const MARK: &str = "EMR_ETL_GUARD_INSIDE";

/// Refuses to run as the runner of another guard. Device, inode and content identify a copy of this
/// program, but not another build of it; two such builds on PATH would start each other forever.
///
/// # Errors
/// [`LaunchError::NotExecutable`] when another guard has started this one.
pub(crate) fn reject_nested_guard() -> Result<(), LaunchError> {
    let Some(outer) = std::env::var_os(MARK) else { return Ok(()) };
    let this = std::env::current_exe().unwrap_or_default();
    let reason = format!(
        "this is emr-etl-guard, which {} has started in the runner's place; name the real runner \
         in the setting `runner` or EMR_ETL_GUARD_RUNNER",
        Path::new(&outer).display()
    );
    Err(LaunchError::NotExecutable { path: this.display().to_string(), reason })
}

fn on_path(name: &Path) -> Result<PathBuf, LaunchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            let executable = std::fs::metadata(file)
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
            executable && !is_this_program(file)
        })
        .ok_or_else(|| {
            LaunchError::NotFound(format!(
                "no `{}` on PATH; name it in the setting `runner` or EMR_ETL_GUARD_RUNNER",
                name.display()
            ))
        })
}

/// Whether `file` is the program that runs now, under whatever name: the same device and inode, or
/// an identical copy.
fn is_this_program(file: &Path) -> bool {
    let Ok(this) = std::env::current_exe() else { return false };
    let (Ok(own), Ok(other)) = (std::fs::metadata(&this), std::fs::metadata(file)) else {
        return false;
    };
    (own.dev(), own.ino()) == (other.dev(), other.ino())
        || own.len() == other.len() && same_bytes(&this, file).unwrap_or(false)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let open =
        |path| io::Result::Ok(io::BufReader::with_capacity(1 << 20, std::fs::File::open(path)?));
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let both = left.len().min(right.len());
        if left[..both] != right[..both] {
            return Ok(false);
        }
        if both == 0 {
            return Ok(left.len() == right.len());
        }
        one.consume(both);
        other.consume(both);
    }
}

/// A runner that has been started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: ChildStdout,
    /// Its standard error, where it goes through the guard.
    pub(crate) stderr: Option<ChildStderr>,
}

/// Starts `program` with `argv`. Its standard input is the sealed config; its standard error is
/// that of the guard. While the guard draws on the terminal, both output streams of the runner go
/// through the guard.
///
/// The config is passed through a pipe only: it is never on disk, in argv or in the environment.
///
/// # Errors
/// [`LaunchError`] when the program cannot be executed.
pub(crate) fn start(
    program: &Program,
    argv: &[OsString],
    sealed: &Secret,
    run: &str,
) -> Result<Running, LaunchError> {
    let refuse = |error: io::Error| program.refusal(&error);
    let mut command = program.command().map_err(refuse)?;
    command
        .args(argv)
        .env(orphaned_processes::VARIABLE, run)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(if screen::is_taken() { Stdio::piped() } else { Stdio::inherit() })
        // The runner gets its own process group: a stop must reach the processes that it started,
        // and Ctrl-C must reach it only once.
        .process_group(0)
        .kill_on_drop(true);
    kill_with_parent(&mut command);
    // These start before the runner, so that no event of it is missed.
    let (reaper, job_control) =
        (Reaper::new().map_err(refuse)?, JobControl::new().map_err(refuse)?);
    let mut child = command.spawn().map_err(refuse)?;
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) {
        reaper.reap_all_but(pid);
        job_control.share_with(Some(pid));
    }
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(refuse(io::Error::other("its standard streams could not be connected")));
    };
    let text = sealed.clone();
    tokio::spawn(async move {
        // A runner that ends without reading its config reports that by its own exit status. The
        // broken pipe here adds nothing.
        if let Err(error) = stdin.write_all(text.reveal().as_bytes()).await {
            tracing::debug!(%error, "the runner did not read its config to the end");
        }
    });
    let stderr = child.stderr.take();
    Ok(Running { child, stdout, stderr })
}

/// Replaces this process with a runner command that launches no cluster. It stays the same process,
/// so streams, terminal and signals behave as without the guard.
///
/// Returns only when the program cannot be executed.
pub(crate) fn become_runner(program: &Program, argv: &[OsString]) -> LaunchError {
    let mut command = match program.command() {
        Ok(command) => command.into_std(),
        Err(error) => return program.refusal(&error),
    };
    let error = command.args(argv).exec();
    match program.refusal(&error) {
        LaunchError::NotFound(_) => LaunchError::NotExecutable {
            path: program.path.display().to_string(),
            reason: error.to_string(),
        },
        refusal => refusal,
    }
}

/// Makes `command` start only if `path` passes its check, and with the core dump limit that the
/// guard was given.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
fn check_before_exec(command: &mut Command, path: PathCheck) {
    let limit = core_dumps::inherited_limit();
    // SAFETY: between fork and exec only async-signal-safe functions may be called, and no memory
    // may be allocated. The closure makes two plain system calls (setrlimit, stat), compares, and
    // builds errors from a number, on values that were moved into it before.
    unsafe {
        command.pre_exec(move || {
            core_dumps::restore_limit(limit)?;
            Ok(path.check()?)
        });
    }
}

/// Makes the kernel kill the child of `command` when this process dies, even by SIGKILL.
///
/// The kernel ties this to the *thread* that starts the child, and would kill the runner when that
/// thread ends. So only the main thread may start it: it drives the guard's main task
/// (`Runtime::block_on`), and the process ends with it. A program that changes its user
/// (set-user-ID) is not killed.
#[expect(unsafe_code, reason = "what is set between fork and exec cannot be set any other way")]
fn kill_with_parent(command: &mut Command) {
    let guard = getpid();
    debug_assert_eq!(guard, gettid(), "the runner's life is tied to the main thread's");
    // SAFETY: between fork and exec only async-signal-safe functions may be called, and no memory
    // may be allocated. The closure makes two plain system calls (prctl, getppid) and builds errors
    // from a number, on a value that was copied into it before.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // If the guard died before the prctl call, the kernel sends no signal.
            if getppid() == guard { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_never_taken_for_the_runner() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join(RUNNER_NAME);
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &link).unwrap();
        let refusal = Program::find(Some(&link)).unwrap_err().to_string();
        assert!(
            refusal.ends_with(
                "this is the guard itself; name the real runner in the setting `runner`"
            ),
            "{refusal}"
        );
    }

    #[test]
    fn nor_is_a_copy_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(RUNNER_NAME);
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        assert!(is_this_program(&copy));
        let mut bytes = std::fs::read(&copy).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&copy, bytes).unwrap();
        assert!(!is_this_program(&copy), "another program of the same size");
    }

    #[test]
    fn a_missing_runner_and_one_without_the_executable_bit_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runner");
        assert!(matches!(Program::find(Some(&file)), Err(LaunchError::NotFound(_))));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Program::find(Some(&file)), Err(LaunchError::NotExecutable { .. })));
    }
}
