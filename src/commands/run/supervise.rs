//! Supervises the runner: forwards signals to it and its output to ours, and waits for its end. One
//! loop handles every event. The watch decides about the effects of a stop or of an unsafe cluster.

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
    time::Instant,
};

use crate::{
    base::{names::ClusterId, outcome::Outcome},
    evidence::timeline::GuardAction,
    report::reporter::Report,
    system::{
        background_output::Stream,
        process::Running,
        screen,
        signals::{self, Caught},
    },
    watch::{
        confirm,
        driver::ActiveWatch,
        events::{Hint, Input, WatchEvent},
        machine::event::Force,
        records::WatchResult,
    },
};

/// How the runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunnerExit {
    /// Its own code or signal.
    pub(crate) outcome: Outcome,
    /// Whether it was stopped, by a signal to the guard or because of an unsafe cluster.
    pub(crate) stopped: bool,
    /// The guard's own deadline, if a signal stopped it, and the first such signal.
    pub(crate) stop_by: Option<(Instant, Signal)>,
}

/// Runs the loop until the runner has ended, all of its output was forwarded, and the watch on its
/// clusters is over. The watch decides about the effects of a stop, and when to kill a runner that
/// does not stop.
///
/// # Errors
/// When the operating system does not give the runner's status, or the watch panicked, which is a
/// bug.
pub(crate) async fn supervise(
    mut running: Running,
    caught: &mut Caught,
    watching: ActiveWatch,
    stop_timeout: Duration,
    report: &Report,
) -> anyhow::Result<(RunnerExit, WatchResult)> {
    let group = running.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let stderr = running.stderr.map(ChildStderr::into_owned_fd).transpose()?;
    let ActiveWatch { inputs, mut events, seen, mut task } = watching;
    // The live view has its own receiver.
    drop(seen);
    let mut output =
        std::pin::pin!(output(running.stdout.into_owned_fd()?, stderr, inputs.clone())?);
    // After the watch has ended, its input is not needed any more.
    let tell = |input| {
        let _ = inputs.send(input);
    };
    let mut exit: Option<RunnerExit> = None;
    let (mut asked, mut is_through) = (None, false);
    let (mut stop_by, mut stopped) = (None, false);
    let watched = loop {
        tokio::select! {
            status = running.child.wait(), if exit.is_none() => {
                let status = status?;
                report.timeline.note(format!("the runner ended: {status}"));
                let outcome = outcome(status);
                exit = Some(RunnerExit { outcome, stopped: false, stop_by: None });
                tell(Input::RunnerEnded(confirm::runner_end(outcome)));
                if is_through {
                    tell(Input::OutputEnded);
                }
            }
            () = &mut output, if !is_through => {
                is_through = true;
                // The runner may close its output long before it ends.
                if exit.is_some() {
                    tell(Input::OutputEnded);
                }
            }
            Some(signal) = caught.recv() => {
                report.timeline.note(format!("the guard got {signal}"));
                if signals::asks_to_stop(signal) {
                    // The guard's own deadline starts with the first signal, even if the runner is
                    // being stopped already.
                    stop_by.get_or_insert_with(|| (Instant::now() + stop_timeout, signal));
                    asked = Some(signal);
                    tell(Input::StopAsked);
                } else if exit.is_none() {
                    send(group, signal, report);
                }
            }
            Some(event) = events.recv() => match event {
                WatchEvent::StopRunner(Force::Ask) => {
                    stopped = true;
                    if exit.is_none() {
                        send(group, asked.unwrap_or(Signal::SIGTERM), report);
                    }
                }
                WatchEvent::StopRunner(Force::Kill) => {
                    stopped = true;
                    send(group, Signal::SIGKILL, report);
                }
                // After the runner has ended, its end is reported instead.
                event if exit.is_none() || !matches!(event, WatchEvent::Unsafe(..)) => {
                    event.tell(report);
                }
                _ => {}
            },
            watched = &mut task => break watched?,
        }
    };
    while let Ok(event) = events.try_recv() {
        if !matches!(event, WatchEvent::Unsafe(..) | WatchEvent::StopRunner(_)) {
            event.tell(report);
        }
    }
    if !is_through {
        send(group, Signal::SIGKILL, report);
        let _ = tokio::time::timeout(stop_timeout / 4, &mut output).await;
    }
    // A runner that did not stop within the time limit was killed.
    let killed = Outcome::Signalled(u8::try_from(Signal::SIGKILL as i32).unwrap_or_default());
    let exit = exit.map_or(killed, |exit| exit.outcome);
    Ok((RunnerExit { outcome: exit, stopped, stop_by }, watched))
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

/// The status as the runner's own parent would see it.
fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Ended(u8::try_from(code).unwrap_or(1)),
        (None, Some(signal)) => Outcome::Signalled(u8::try_from(signal).unwrap_or_default()),
        (None, None) => Outcome::Bug,
    }
}

/// Copies the runner's output to ours until its end, including its standard error if that is piped
/// through the guard.
fn output(
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    inputs: mpsc::UnboundedSender<Input>,
) -> io::Result<impl Future<Output = ()>> {
    let mut scanner = Scanner::default();
    let out = pump("runner-output", stdout, Stream::Out, move |read| {
        scanner.scan(read, |hint| {
            let _ = inputs.send(Input::Hint(hint));
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

/// Copies one stream of the runner to ours on its own thread: every byte as it comes, with
/// back-pressure. The receiver is notified at its end.
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
            // If our reader is gone, the runner continues, as it would without the guard. Its
            // output is still read for hints.
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

/// Writes all of `bytes`, and waits as long as it takes: the process that gave us the stream may
/// have made it non-blocking for its own use.
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

/// Reads the runner's log for hints, line by line, in constant memory. Most chunks contain none,
/// and cost only one search at each end.
#[derive(Debug, Default)]
struct Scanner {
    /// The incomplete last line of the previous chunk.
    line: Vec<u8>,
    too_long: bool,
}

impl Scanner {
    /// The limit on a line's length in bytes. The runner's own lines are short; longer ones are
    /// ignored.
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
        // Every hint contains this letter, and few lines do.
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

/// The text that every line with a hint contains, and the position of its letter that is rarest in
/// a log.
const HINT: &[u8] = b"EMR jobflow";
const RARE: usize = 4;

/// The position of `byte`. It uses `skip_until`, which is much faster than an iterator's
/// `position`, because it searches the whole output.
fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    let passed = (&mut &*bytes).skip_until(byte).unwrap_or_default();
    passed.checked_sub(1).filter(|last| bytes[*last] == byte)
}

/// The hint in one line of the log.
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
        let line = b"D, [2026-11-22T08:34:18.016163 #13595] DEBUG -- : EMR jobflow \
            j-I74A0YS9V8WSO started, waiting for jobflow to complete...\n";
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
        let in_one = [
            b"first\n",
            long.as_slice(),
            b" EMR jobflow j-A started\njj j EMR jobflow j-B EMR \
                jobflow j-C\nEMR jobflow j-D\nlast j",
        ]
        .concat();
        assert_eq!(hints(&[&in_one]), ["j-B", "j-D"].map(|id| Hint::Cluster(id.parse().unwrap())));
    }
}
