//! Survivors: processes of a run whose guard died. The kernel kills the runner with its guard, but
//! not what the runner itself has started, such as the JVM behind a wrapper script. They are known
//! by a variable in their environment.

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

/// Set for the runner of a run, to the run's id; whatever it starts inherits it.
pub(crate) const VARIABLE: &str = "EMR_ETL_GUARD_RUN";

/// How long processes may take to die of SIGKILL, which is nothing but for one in the middle of a
/// system call that cannot be broken off.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may be starting a program before it counts as undecided. The kernel shows no
/// environment between giving it the new program's memory and filling that: microseconds, but for
/// a disk that does not answer.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Kills what is left of `run` on this machine, and waits until it is gone; gives how many
/// processes that were.
///
/// # Errors
/// When /proc cannot be read, or something does not die or cannot be told from a process of the
/// run.
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
            // Gone meanwhile, or another user's, which the deadline tells.
            let _ = kill(pid, Signal::SIGKILL);
            killed.insert(pid);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether anything is left of `run` on this machine, or may be.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn are_left(run: &str) -> io::Result<bool> {
    Ok(!RunProcesses::find(run)?.is_empty())
}

/// The processes that bear a run's mark.
#[derive(Debug, Default)]
struct RunProcesses {
    found: Vec<Pid>,
    /// They were starting a program for so long that nobody knows whether they bear it. They are
    /// waited for, and never killed.
    undecided: Vec<Pid>,
}

impl RunProcesses {
    /// Looks through /proc. Another user's processes cannot be read, and are left out.
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

/// The variables that a process was started with.
#[derive(Debug)]
enum Environment {
    /// Each ends with a zero byte.
    Known(Vec<u8>),
    /// It has none, has ended, is a thread of the kernel or another user's.
    None,
    /// It was starting a program until the deadline.
    Undecided,
}

impl Environment {
    /// Reads it; waits, until `deadline` at the most, while the process starts a program.
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
                // While the kernel fills it, it looks empty, too: it has to be so twice.
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

/// Reads a file by a single call: a process that starts another program between two calls gives an
/// end of the file for the second.
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

/// What `/proc/PID/stat` tells of the memory that holds the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryState {
    /// The process has ended, or is a thread of the kernel.
    None,
    /// It is starting a program: the memory is there, and nothing in it yet.
    Filling,
    NoVariables,
    /// The start of a program has ended since the variables were read.
    Filled,
}

impl MemoryState {
    /// Source: proc_pid_stat(5), fields 3 (state), 9 (flags), 50 (env_start) and 51 (env_end);
    /// Linux, `include/linux/sched.h` (`PF_KTHREAD`), and `fs/binfmt_elf.c`, `create_elf_tables`,
    /// which sets the last two.
    fn parse(stat: &str) -> Self {
        const KERNEL_THREAD: u64 = 0x0020_0000;
        // The second field is the program's name in parentheses, which may hold any character.
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
        // Once its own child is there, both are to be found.
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
    /// Each program of the chain starts the next in its own place, as a wrapper script does, and
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
        // A child has its parent's variables until its first program is there.
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
        // Ended, and not waited for: a zombie.
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
