//! Supervision of the runner: signals to it, its output through to ours, its end to our exit. One
//! loop sees every event; what each event leads to is a plain function, tested without processes.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::ChildStderr,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    base::{names::ClusterId, outcome::Outcome},
    evidence::timeline::GuardAction,
    report::reporter::Report,
    system::{
        process::Running,
        screen::{self, Stream},
        signals::{self, Caught},
    },
    watch::events::{self, Hint},
};

/// How the runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunnerExit {
    /// Its own code or signal.
    pub(crate) outcome: Outcome,
    /// Whether it was told to stop, by a signal to the guard or because of an unsafe cluster.
    pub(crate) stopped: bool,
    /// When the guard must be gone, where a signal told it to stop.
    pub(crate) stop_by: Option<Instant>,
}

/// What can happen while the runner runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SupervisorEvent {
    Signal(Signal),
    UnsafeCluster,
    Deadline,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SupervisorAction {
    Send(Signal),
    ArmDeadline,
    Nothing,
}

/// What the supervisor remembers between events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SupervisorState {
    stopping: bool,
}

impl SupervisorState {
    /// The next actions, in order. A first request to stop is passed on and starts the clock; a
    /// second one, or the clock, kills.
    fn on(&mut self, event: SupervisorEvent) -> [SupervisorAction; 2] {
        match event {
            SupervisorEvent::Signal(signal) if !signals::asks_to_stop(signal) => {
                [SupervisorAction::Send(signal), SupervisorAction::Nothing]
            }
            SupervisorEvent::Signal(_) if self.stopping => {
                [SupervisorAction::Send(Signal::SIGKILL), SupervisorAction::Nothing]
            }
            SupervisorEvent::Signal(signal) => {
                self.stopping = true;
                [SupervisorAction::Send(signal), SupervisorAction::ArmDeadline]
            }
            SupervisorEvent::UnsafeCluster if self.stopping => [SupervisorAction::Nothing; 2],
            SupervisorEvent::UnsafeCluster => {
                self.stopping = true;
                [SupervisorAction::Send(Signal::SIGTERM), SupervisorAction::ArmDeadline]
            }
            SupervisorEvent::Deadline => {
                [SupervisorAction::Send(Signal::SIGKILL), SupervisorAction::Nothing]
            }
        }
    }
}

/// Runs the loop until the runner has ended and its output is through. `journal` is called before a
/// stop is passed on.
///
/// # Errors
/// When the operating system does not give the runner's status, which is a bug.
pub(crate) async fn supervise(
    mut running: Running,
    caught: &mut Caught,
    events: &mut mpsc::UnboundedReceiver<events::WatchEvent>,
    hints: mpsc::UnboundedSender<Hint>,
    stop_timeout: Duration,
    journal: &dyn Fn(),
    report: &Report,
) -> anyhow::Result<RunnerExit> {
    let group = running.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let stderr = running.stderr.map(ChildStderr::into_owned_fd).transpose()?;
    let mut output = std::pin::pin!(output(running.stdout.into_owned_fd()?, stderr, hints)?);
    let mut state = SupervisorState::default();
    let (mut deadline, mut stop_by) = (None, None);
    let status = loop {
        let event = tokio::select! {
            status = running.child.wait() => break status?,
            Some(signal) = caught.recv() => {
                report.timeline.note(format!("the guard got {signal}"));
                SupervisorEvent::Signal(signal)
            }
            Some(event) = events.recv() => {
                event.tell(report);
                if !matches!(event, events::WatchEvent::Unsafe(..)) {
                    continue;
                }
                SupervisorEvent::UnsafeCluster
            }
            () = until(deadline) => {
                deadline = None;
                SupervisorEvent::Deadline
            }
        };
        // From the first signal on the guard itself has a time to be gone by, also where the runner
        // is being stopped already.
        if matches!(event, SupervisorEvent::Signal(signal) if signals::asks_to_stop(signal))
            && stop_by.is_none()
        {
            journal();
            stop_by = Some(Instant::now() + stop_timeout);
        }
        for action in state.on(event) {
            match action {
                SupervisorAction::Send(signal) => send(group, signal, report),
                // After a signal the run's clusters need the rest of the time.
                SupervisorAction::ArmDeadline if stop_by.is_some() => {
                    deadline = Some(Instant::now() + stop_timeout / 2);
                }
                SupervisorAction::ArmDeadline => deadline = Some(Instant::now() + stop_timeout),
                SupervisorAction::Nothing => {}
            }
        }
    };
    report.timeline.note(format!("the runner ended: {status}"));
    // What the runner started may hold its output open. A run that ended by itself waits for it, as
    // a shell's pipe would, until it is told to stop; one that was stopped does not wait for ever.
    while !state.stopping {
        tokio::select! {
            () = &mut output => break,
            Some(signal) = caught.recv() => if signals::asks_to_stop(signal) {
                journal();
                (state.stopping, stop_by) = (true, Some(Instant::now() + stop_timeout));
            },
            Some(event) = events.recv() => {
                event.tell(report);
                state.stopping |= matches!(event, events::WatchEvent::Unsafe(..));
            }
        }
    }
    if state.stopping {
        send(group, Signal::SIGKILL, report);
        let _ = tokio::time::timeout(stop_timeout / 4, &mut output).await;
    }
    Ok(RunnerExit { outcome: outcome(status), stopped: state.stopping, stop_by })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn send(group: Option<Pid>, signal: Signal, report: &Report) {
    let Some(group) = group else { return };
    let sent = killpg(group, signal);
    if sent != Err(nix::errno::Errno::ESRCH) {
        report.timeline.did(
            GuardAction::SignalRunner,
            &signal,
            &sent.map_err(|error| error.to_string()),
        );
    }
    match sent {
        Ok(()) => report.timeline.note(format!("sent {signal} to the runner's process group")),
        // It has ended already.
        Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%signal, %error, "a signal could not be sent to the runner"),
    }
}

/// A status as the runner would have given it to its own parent.
fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Ended(u8::try_from(code).unwrap_or(1)),
        (None, Some(signal)) => Outcome::Signalled(u8::try_from(signal).unwrap_or_default()),
        (None, None) => Outcome::Bug,
    }
}

/// Copies the runner's output to ours until its end: what it says on standard error too, where that
/// comes through us.
fn output(
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    hints: mpsc::UnboundedSender<Hint>,
) -> io::Result<impl Future<Output = ()>> {
    let mut scanner = Scanner::default();
    let out = pump("runner-output", stdout, Stream::Out, move |read| {
        scanner.scan(read, |hint| {
            let _ = hints.send(hint);
        });
    })?;
    let err =
        stderr.map(|stderr| pump("runner-errors", stderr, Stream::Err, |_| ())).transpose()?;
    Ok(async move {
        let _ = out.await;
        if let Some(err) = err {
            let _ = err.await;
        }
    })
}

/// Copies one stream of the runner's to ours on a thread of its own: every byte as it comes,
/// back-pressure included. The receiver wakes at its end.
fn pump(
    name: &str,
    from: OwnedFd,
    stream: Stream,
    mut seen: impl FnMut(&[u8]) + Send + 'static,
) -> io::Result<oneshot::Receiver<()>> {
    let mut from = File::from(from);
    let to: OwnedFd = match stream {
        Stream::Out => io::stdout().as_fd().try_clone_to_owned()?,
        Stream::Err => io::stderr().as_fd().try_clone_to_owned()?,
    };
    let mut to = Some(File::from(to));
    let (done, end) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => &chunk[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            // When our reader is gone the runner carries on, as it would without us; its output is
            // drained and still read for hints.
            if let Some(file) = &mut to
                && let Err(error) = screen::above(stream, read, || write_all(file, read))
            {
                tracing::warn!(%error, "the runner's output cannot be passed on");
                to = None;
            }
            seen(read);
        }
        let _ = done.send(());
    })?;
    Ok(end)
}

/// Writes all of `bytes`, waiting as long as it takes: whoever gave us our output may have made it
/// one that does not block, for its own use of it.
fn write_all(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(to.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the runner's log for hints, line by line, in constant memory. Most of it gives none, and
/// costs one look at each end of a chunk.
#[derive(Debug, Default)]
struct Scanner {
    /// The line that the last chunk broke off in.
    line: Vec<u8>,
    too_long: bool,
}

impl Scanner {
    /// The runner's own lines are short; the rest of a longer one is skipped.
    const LONGEST: usize = 4096;

    fn scan(&mut self, chunk: &[u8], mut found: impl FnMut(Hint)) {
        let Some(end) = position(chunk, b'\n') else { return self.keep(chunk) };
        self.keep(&chunk[..end]);
        if !self.too_long
            && let Some(hint) = hint(&self.line)
        {
            found(hint);
        }
        self.line.clear();
        self.too_long = false;

        let rest = &chunk[end + 1..];
        let (lines, begun) =
            rest.split_at(rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        self.keep(begun);
        // Only a line with this letter can hold what a hint begins with, and few lines do.
        let mut from = 0;
        while let Some(at) = position(&lines[from..], HINT[RARE]).map(|passed| from + passed) {
            from = at + 1;
            if lines[..at].ends_with(&HINT[..RARE]) && lines[at..].starts_with(&HINT[RARE..]) {
                let start = lines[..at]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |newline| newline + 1);
                let end = position(&lines[at..], b'\n').map_or(lines.len(), |length| at + length);
                let line = &lines[start..end];
                if line.len() <= Self::LONGEST
                    && let Some(hint) = hint(line)
                {
                    found(hint);
                }
                from = end;
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if !self.too_long && self.line.len() + piece.len() <= Self::LONGEST {
            self.line.extend_from_slice(piece);
        } else {
            self.too_long = true;
        }
    }
}

/// What every line with a hint holds, and where the letter is in it that is rarest in a log.
const HINT: &[u8] = b"EMR jobflow";
const RARE: usize = 4;

/// Where `byte` is. As fast as the C library finds it, which an iterator's `position` is not; this
/// looks at every byte of the output.
fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    let passed = (&mut &*bytes).skip_until(byte).unwrap_or_default();
    passed.checked_sub(1).filter(|last| bytes[*last] == byte)
}

/// What one line of the log suggests.
///
/// Lines: `… DEBUG -- : EMR jobflow j-X started, waiting …`, `… : Added step to EMR jobflow: …`,
/// and failures that name the id.
fn hint(line: &[u8]) -> Option<Hint> {
    let line = String::from_utf8_lossy(line);
    let (_, rest) = line.split_once("EMR jobflow")?;
    let word = rest
        .trim_start()
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
        .next()?;
    match word.parse::<ClusterId>() {
        Ok(id) => Some(Hint::Cluster(id)),
        Err(_) if line.contains("Added step to EMR jobflow:") => Some(Hint::Activity),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_passed_on_once_and_the_second_one_or_the_clock_kills() {
        let mut state = SupervisorState::default();
        assert_eq!(
            state.on(SupervisorEvent::Signal(Signal::SIGUSR1)),
            [SupervisorAction::Send(Signal::SIGUSR1), SupervisorAction::Nothing]
        );
        assert_eq!(
            state.on(SupervisorEvent::Signal(Signal::SIGTERM)),
            [SupervisorAction::Send(Signal::SIGTERM), SupervisorAction::ArmDeadline]
        );
        assert_eq!(state.on(SupervisorEvent::UnsafeCluster), [SupervisorAction::Nothing; 2]);
        assert_eq!(
            state.on(SupervisorEvent::Signal(Signal::SIGQUIT)),
            [SupervisorAction::Send(Signal::SIGQUIT), SupervisorAction::Nothing]
        );
        assert_eq!(
            state.on(SupervisorEvent::Signal(Signal::SIGINT)),
            [SupervisorAction::Send(Signal::SIGKILL), SupervisorAction::Nothing]
        );
        assert_eq!(
            state.on(SupervisorEvent::Deadline),
            [SupervisorAction::Send(Signal::SIGKILL), SupervisorAction::Nothing]
        );
    }

    #[test]
    fn an_unsafe_cluster_stops_the_runner_with_sigterm() {
        let mut state = SupervisorState::default();
        assert_eq!(
            state.on(SupervisorEvent::UnsafeCluster),
            [SupervisorAction::Send(Signal::SIGTERM), SupervisorAction::ArmDeadline]
        );
        assert_eq!(state.on(SupervisorEvent::UnsafeCluster), [SupervisorAction::Nothing; 2]);
    }

    fn hints(chunks: &[&[u8]]) -> Vec<Hint> {
        let mut found = Vec::new();
        let mut scanner = Scanner::default();
        for chunk in chunks {
            scanner.scan(chunk, |hint| found.push(hint));
        }
        found
    }

    #[test]
    fn the_id_is_found_however_the_output_is_cut() {
        let line = b"D, [2026-11-22T08:34:18.016163 #13595] DEBUG -- : EMR jobflow j-I74A0YS9V8WSO started, waiting for jobflow to complete...\n";
        let wanted = vec![Hint::Cluster("j-I74A0YS9V8WSO".parse().unwrap())];
        for cut in 0..line.len() {
            assert_eq!(hints(&[&line[..cut], &line[cut..]]), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn other_lines_and_very_long_ones_give_no_hint() {
        assert_eq!(hints(&[b"Initializing EMR jobflow\n", b"EMR jobflow \xff started\n"]), []);
        assert_eq!(hints(&[b"D -- : Added step to EMR jobflow: [enrich] x\n"]), [Hint::Activity]);
        let long = vec![b'x'; Scanner::LONGEST];
        assert_eq!(
            hints(&[&long, b" EMR jobflow j-A started\n", b"EMR jobflow j-B failed\n"]),
            [Hint::Cluster("j-B".parse().unwrap())]
        );
        let in_one =
            [b"first\n", long.as_slice(), b" EMR jobflow j-A started\njj j EMR jobflow j-B EMR jobflow j-C\nEMR jobflow j-D\nlast j"].concat();
        assert_eq!(hints(&[&in_one]), ["j-B", "j-D"].map(|id| Hint::Cluster(id.parse().unwrap())));
    }
}
