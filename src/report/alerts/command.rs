//! Alerts to a command: a program of the operator, with the alert as JSON on its standard input and
//! its parts in its environment.

use std::{convert::Infallible, future::pending, io, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStderr, Command},
    time::{sleep, timeout},
};

use crate::{
    report::alerts::message::Message,
    system::{reap, runner_environment::GUARD_SECRETS},
};

/// The exit code with which a command asks to be run again later. Source: sysexits.h, EX_TEMPFAIL.
const TRY_AGAIN: i32 = 75;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The number of bytes that are kept from the end of its standard error.
const WORDS: usize = 4096;

/// Runs it, again if it asks for that. The caller's time limit ends it; then all its processes are
/// killed.
pub(crate) async fn send(program: &Path, message: &Message) -> Result<(), String> {
    let json = message.json()?;
    let mut pause = FIRST_PAUSE;
    loop {
        match once(program, message, &json).await.map_err(|error| error.to_string())? {
            Ok(()) => return Ok(()),
            Err((Some(TRY_AGAIN), _)) => {}
            Err((_, why)) => return Err(why),
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Its exit code, if it has one, and the reason of the failure.
type Failure = (Option<i32>, String);

async fn once(program: &Path, message: &Message, json: &str) -> io::Result<Result<(), Failure>> {
    let mut command = Command::new(program);
    // Other channels' secrets.
    GUARD_SECRETS.iter().for_each(|secret| {
        command.env_remove(secret);
    });
    command
        .envs(message.variables())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A process group of its own: a terminal's Ctrl-C must not reach it, and a kill must reach
        // its child processes.
        .process_group(0);
    let (mut child, _own) = reap::start(&mut command)?;
    let group = ProcessGroup(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input may still work from its environment.
            let _ = stdin.write_all(json.as_bytes()).await;
        }
    };
    let mut tail = Vec::new();
    let status = {
        let mut reading = std::pin::pin!(read(stderr, &mut tail));
        let ended = async { tokio::join!(child.wait(), write).0 };
        tokio::select! {
            status = ended => {
                // A background process of the command may hold its standard error open for ever.
                let _ = timeout(Duration::from_millis(200), reading).await;
                status
            }
            never = &mut reading => match never {},
        }
    }?;
    // The command ended by itself; background processes that it started are not killed.
    group.leave();
    if status.success() {
        return Ok(Ok(()));
    }
    let words = String::from_utf8_lossy(&tail);
    let last = words
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .map(|line| format!(": {line}"))
        .unwrap_or_default();
    Ok(Err((status.code(), format!("it ended with {status}{last}"))))
}

/// Reads its standard error to the end, and keeps the last part in `tail`.
async fn read(stderr: Option<ChildStderr>, tail: &mut Vec<u8>) -> Infallible {
    let mut chunk = [0; 1024];
    if let Some(mut stderr) = stderr {
        while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
            tail.extend_from_slice(&chunk[..read]);
            tail.drain(..tail.len().saturating_sub(WORDS));
        }
    }
    pending().await
}

/// The command's process group, which is killed when the command is no longer waited for.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
