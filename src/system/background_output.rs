//! Writing to standard output and standard error in the background. A long-running process must
//! not stop when its output is not read: a suspended pager, or a log driver that cannot reach its
//! service, leaves the pipe full, and every write to it blocks.
//!
//! Until [`start`] is called, each message is written by its caller.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

/// Which of this process's streams is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// The size of the queue, in bytes. When it is full, further messages are dropped, and counted.
const MOST_WAITING: usize = 1 << 20;
/// How long the process waits at its end until the queue is empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// The writer of this process, once there is one.
static WRITER: OnceLock<&BackgroundWriter> = OnceLock::new();

/// From now on, a thread writes all messages with `write`, in order.
///
/// # Errors
/// When the thread cannot be started. Messages are then written as before.
pub(super) fn start(write: fn(Stream, &[u8])) -> io::Result<()> {
    if WRITER.get().is_none() {
        let writer: &BackgroundWriter = Box::leak(Box::default());
        thread::Builder::new().name("output".to_owned()).spawn(move || writer.run(write))?;
        // Fails only if there is one by now; then this one has nothing to do.
        let _ = WRITER.set(writer);
    }
    Ok(())
}

/// Queues a message for the background writer. Returns false if there is none.
pub(super) fn take(to: Stream, message: &[u8]) -> bool {
    WRITER.get().is_some_and(|writer| {
        writer.add(to, message);
        true
    })
}

/// Waits until all queued messages are written, for a limited time.
pub(crate) fn finish() {
    if let Some(writer) = WRITER.get() {
        writer.finish(PATIENCE);
    }
}

/// The queue of messages that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
    /// How many messages were dropped since the last one that was queued.
    dropped: u64,
    /// One is being written.
    is_writing: bool,
}

impl Waiting {
    /// Queues a warning with the number of messages that were dropped here, if any were.
    fn warn_of_dropped(&mut self) {
        let count = mem::take(&mut self.dropped);
        if count > 0 {
            let line = format!(
                "emr-etl-guard: warning: {count} messages were dropped here: standard output and \
                 standard error were not read\n"
            );
            self.push(Stream::Err, line.as_bytes());
        }
    }

    fn push(&mut self, to: Stream, message: &[u8]) {
        self.bytes += message.len();
        self.messages.push_back((to, message.to_vec()));
    }
}

#[derive(Debug, Default)]
struct BackgroundWriter {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl BackgroundWriter {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, to: Stream, message: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.bytes + message.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        waiting.warn_of_dropped();
        waiting.push(to, message);
        self.changed.notify_all();
    }

    /// Writes every message, for ever.
    fn run(&self, write: impl Fn(Stream, &[u8])) {
        loop {
            let (to, message) = self.next();
            write(to, &message);
        }
    }

    /// The next message, once there is one. The one before is written.
    fn next(&self) -> (Stream, Vec<u8>) {
        let mut waiting = self.waiting();
        waiting.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some((to, message)) = waiting.messages.pop_front() {
                waiting.bytes -= message.len();
                waiting.is_writing = true;
                return (to, message);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, patience: Duration) {
        let mut waiting = self.waiting();
        waiting.warn_of_dropped();
        self.changed.notify_all();
        let is_unfinished =
            |waiting: &mut Waiting| waiting.is_writing || !waiting.messages.is_empty();
        // What is not written by then is lost.
        drop(self.changed.wait_timeout_while(waiting, patience, is_unfinished));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// A writer whose thread sends each message to a channel, and blocks until it is received.
    fn writer() -> (Arc<BackgroundWriter>, mpsc::Receiver<String>) {
        let (sender, written) = mpsc::sync_channel(0);
        let writer = Arc::new(BackgroundWriter::default());
        let own = Arc::clone(&writer);
        thread::spawn(move || {
            own.run(|to, message| {
                let text = String::from_utf8_lossy(message).into_owned();
                let _ = sender.send(format!("{to:?} {text}"));
            });
        });
        (writer, written)
    }

    #[test]
    fn callers_do_not_block_and_messages_beyond_the_limit_are_dropped_and_counted() {
        let (writer, written) = writer();
        let large = vec![b'x'; MOST_WAITING / 2];
        writer.add(Stream::Err, b"first");
        while !writer.waiting().is_writing {
            thread::yield_now();
        }
        for message in [&large[..], &large, &large, b"small"] {
            writer.add(Stream::Out, message);
        }
        assert_eq!(written.recv().unwrap(), "Err first");
        assert!(written.recv().unwrap().starts_with("Out xxx"));
        writer.add(Stream::Out, b"last");
        assert!(written.recv().unwrap().starts_with("Out xxx"));
        assert_eq!(
            written.recv().unwrap(),
            "Err emr-etl-guard: warning: 2 messages were dropped here: standard output and \
             standard error were not read\n"
        );
        assert_eq!(written.recv().unwrap(), "Out last");
        writer.finish(Duration::from_secs(60));
        assert!(!writer.waiting().is_writing);
    }

    #[test]
    fn the_end_waits_for_queued_messages_but_not_for_ever() {
        let (writer, written) = writer();
        writer.add(Stream::Out, b"one");
        writer.add(Stream::Err, b"two");
        let reader = thread::spawn(move || {
            let lines: Vec<String> = written.iter().take(2).collect();
            (lines, written)
        });
        writer.finish(Duration::from_secs(60));
        let (lines, _written) = reader.join().unwrap();
        assert_eq!(lines, ["Out one", "Err two"]);
        writer.add(Stream::Out, b"unread");
        writer.finish(Duration::from_millis(1));
        assert!(writer.waiting().is_writing || !writer.waiting().messages.is_empty());
    }
}
