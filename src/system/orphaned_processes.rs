//! Orphaned processes of a run whose guard died. The kernel kills the runner together with its
//! guard, but not the processes that the runner started, such as the JVM behind a wrapper script.
//! They are identified by a variable in their environment.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};

/// Set for the runner of a run to the run's id. All its child processes inherit it.
pub(crate) const VARIABLE: &str = "EMR_ETL_GUARD_RUN";

/// How long a process may take to die after SIGKILL. It dies at once, unless it is in a system call
/// that cannot be interrupted.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may be in execve before it counts as undecided. Between creating the new
/// program's memory and filling it, the kernel shows no environment. That takes microseconds,
/// unless a disk does not answer.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Kills the processes of `run` that are left on this machine, and waits until they are gone.
/// Returns how many there were.
///
/// # Errors
/// When /proc cannot be read, when a process does not die, or when it is unknown whether a process
/// belongs to the run.
pub(crate) fn end(run: &str) -> io::Result<usize> {
    let (mut killed, deadline) = (BTreeSet::new(), Instant::now() + PATIENCE);
    loop {
        let left = RunProcesses::find(run)?;
        if left.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, left.complaint(run)));
        }
        for pid in left.found {
            // The process is gone, or it belongs to another user; the deadline covers the second
            // case.
            let _ = kill(pid, Signal::SIGKILL);
            killed.insert(pid);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether any process of `run` is left on this machine, or may be.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn are_left(run: &str) -> io::Result<bool> {
    Ok(!RunProcesses::find(run)?.is_empty())
}

/// The processes with a run's variable in their environment.
#[derive(Debug, Default)]
struct RunProcesses {
    found: Vec<Pid>,
    /// They were in execve until the deadline, so their environment is unknown. They are waited
    /// for, and never killed.
    undecided: Vec<Pid>,
}

impl RunProcesses {
    /// Searches /proc. Processes of other users cannot be read and are left out.
    fn find(run: &str) -> io::Result<Self> {
        let wanted = format!("{VARIABLE}={run}");
        let deadline = Instant::now() + START_PATIENCE;
        let mut processes = Self::default();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let pid = Pid::from_raw(id);
            if pid == getpid() {
                continue;
            }
            match Environment::of(pid, deadline) {
                Environment::Known(variables) => {
                    let mut variables = variables.split(|byte| *byte == 0);
                    if variables.any(|variable| variable == wanted.as_bytes()) {
                        processes.found.push(pid);
                    }
                }
                Environment::None => {}
                Environment::Undecided => processes.undecided.push(pid),
            }
        }
        Ok(processes)
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty() && self.undecided.is_empty()
    }

    fn complaint(&self, run: &str) -> String {
        match (self.found.first(), self.undecided.first()) {
            (Some(pid), _) => format!("process {pid} of run {run} does not die"),
            (None, Some(pid)) => format!(
                "process {pid} is starting a program and shows no environment: whether it belongs \
                 to run {run} is unknown"
            ),
            (None, None) => format!("processes of run {run} do not die"),
        }
    }
}

/// The environment that a process was started with.
#[derive(Debug)]
enum Environment {
    /// The variables; each ends with a zero byte.
    Known(Vec<u8>),
    /// It has none, has ended, is a kernel thread, or belongs to another user.
    None,
    /// It was in execve until the deadline.
    Undecided,
}

impl Environment {
    /// Reads the environment. While the process is in execve, waits until `deadline` at most.
    fn of(pid: Pid, deadline: Instant) -> Self {
        let mut was_empty = false;
        loop {
            let Ok(variables) = read_at_once(&format!("/proc/{pid}/environ")) else {
                return Self::None;
            };
            if !variables.is_empty() {
                return Self::Known(variables);
            }
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            match MemoryState::parse(&stat) {
                MemoryState::None => return Self::None,
                // The environment also looks empty while the kernel fills it, so it must be empty
                // twice.
                MemoryState::NoVariables if was_empty => return Self::None,
                MemoryState::NoVariables => was_empty = true,
                MemoryState::Filling | MemoryState::Filled => was_empty = false,
            }
            if Instant::now() > deadline {
                return Self::Undecided;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads a file with one call. If the process starts another program between two calls, the second
/// call returns end of file.
fn read_at_once(path: &str) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = File::open(path)?.read(&mut buffer)?;
        if length < buffer.len() {
            buffer.truncate(length);
            return Ok(buffer);
        }
        buffer.resize(2 * length, 0);
    }
}

/// The state of the memory that holds the environment, from `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryState {
    /// The process has ended, or is a kernel thread.
    None,
    /// The process is in execve: the memory exists and is still empty.
    Filling,
    NoVariables,
    /// An execve has ended since the environment was read.
    Filled,
}

impl MemoryState {
    /// Source: proc_pid_stat(5), fields 3 (state), 9 (flags), 50 (env_start) and 51 (env_end);
    /// Linux, `include/linux/sched.h` (`PF_KTHREAD`), and `fs/binfmt_elf.c`, `create_elf_tables`,
    /// which sets the last two.
    fn parse(stat: &str) -> Self {
        const KERNEL_THREAD: u64 = 0x0020_0000;
        // The second field is the program's name in parentheses, which may contain any character.
        let Some((_, fields)) = stat.rsplit_once(") ") else { return Self::None };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3).and_then(|it| it.parse::<u64>().ok());
        let has_ended = fields.first().is_none_or(|state| matches!(*state, "Z" | "X" | "x"));
        match (number(9), number(50), number(51)) {
            _ if has_ended => Self::None,
            (Some(flags), ..) if flags & KERNEL_THREAD != 0 => Self::None,
            (_, Some(_), Some(0)) => Self::Filling,
            (_, Some(from), Some(to)) if from == to => Self::NoVariables,
            (_, Some(_), Some(_)) => Self::Filled,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    #[test]
    fn only_processes_of_the_run_are_ended_and_those_that_they_started() {
        crate::system::signals::keep_child_status().unwrap();
        let sleeper = |run: &str| {
            Command::new("/bin/sh")
                .args(["-c", "sleep 600 & wait"])
                .env(VARIABLE, run)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let found = |run: &str| RunProcesses::find(run).unwrap().found.len();
        let (run, other) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
        let (mut ours, mut others) = (sleeper(&run), sleeper(&other));
        // Once its own child has started, both are found.
        while found(&run) < 2 || found(&other) < 2 {
            std::thread::yield_now();
        }
        assert!(end(&run).unwrap() >= 2);
        assert!(ours.wait().unwrap().code().is_none());
        assert!(others.try_wait().unwrap().is_none());
        assert_eq!(end(&run).unwrap(), 0);
        end(&other).unwrap();
        others.wait().unwrap();
    }
    /// Each program of the chain replaces itself with the next one, as a wrapper script does. It
    /// shows no environment while the kernel does that.
    #[test]
    fn a_process_that_starts_programs_all_the_time_is_never_missed() {
        let run = uuid::Uuid::now_v7().to_string();
        let chain =
            "i=$1; [ \"$i\" -eq 0 ] && exec sleep 600; exec /bin/sh -c \"$0\" \"$0\" $((i - 1))";
        let mut child = Command::new("/bin/sh")
            .args(["-c", chain, chain, "400"])
            .env(VARIABLE, &run)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_sleep = || {
            std::fs::read_to_string(format!("/proc/{}/comm", child.id()))
                .is_ok_and(|name| name.trim() == "sleep")
        };
        // A child has the environment of its parent until its first execve.
        while RunProcesses::find(&run).unwrap().found.is_empty() {
            std::thread::yield_now();
        }
        let (mut looks, mut missed) = (0, 0);
        while !is_sleep() {
            looks += 1;
            missed += u32::from(!are_left(&run).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(looks > 0);
        assert_eq!(missed, 0, "of {looks} looks");
    }

    #[test]
    fn a_process_without_variables_is_none_of_a_run_and_holds_nothing_up() {
        let mut child = Command::new("/bin/sleep")
            .arg0("a ) 0 (b")
            .arg("600")
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let environment = Environment::of(pid, Instant::now() + START_PATIENCE);
        child.kill().unwrap();
        // The process has ended and was not waited for: a zombie.
        while std::fs::read(format!("/proc/{pid}/maps")).is_ok_and(|maps| !maps.is_empty()) {
            std::thread::yield_now();
        }
        let ended = Environment::of(pid, Instant::now() + START_PATIENCE);
        child.wait().unwrap();
        let gone = Environment::of(pid, Instant::now() + START_PATIENCE);
        assert!(matches!(environment, Environment::None), "{environment:?}");
        assert!(matches!(ended, Environment::None), "{ended:?}");
        assert!(matches!(gone, Environment::None), "{gone:?}");
    }

    #[test]
    fn what_the_kernel_says_of_a_processes_variables() {
        let stat = |state: &str, flags: u64, start: u64, end: u64| {
            let unused = "0 ".repeat(40);
            format!("7 (a ) S (b) {state} 1 7 7 0 -1 {flags} {unused}{start} {end} 0\n")
        };
        let table = [
            (stat("R", 0x400_000, 0, 0), MemoryState::Filling),
            (stat("R", 0x400_000, 10, 0), MemoryState::Filling),
            (stat("S", 0x400_000, 10, 10), MemoryState::NoVariables),
            (stat("S", 0x400_000, 10, 20), MemoryState::Filled),
            (stat("I", 0x0020_8040, 0, 0), MemoryState::None),
            (stat("Z", 0x400_000, 0, 0), MemoryState::None),
            (stat("X", 0x400_000, 0, 0), MemoryState::None),
            (String::new(), MemoryState::None),
            ("7 (a) S 1 7".to_owned(), MemoryState::None),
        ];
        for (stat, wanted) in table {
            assert_eq!(MemoryState::parse(&stat), wanted, "{stat}");
        }
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(MemoryState::parse(&own), MemoryState::Filled, "{own}");
    }
}
