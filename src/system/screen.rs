//! The terminal while the live view is on it. All other output is written above the live view,
//! complete and in order.
//!
//! Every write takes one lock while the live view is cleared. While a line is incomplete (a runner
//! prints dots, or half a line arrives), the live view stays hidden until the line ends: clearing
//! it would also clear the runner's own output.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::unistd::{getpgrp, tcgetpgrp};
use terminal_size::{Height, Width, terminal_size_of};

use crate::{
    base::printable::neutralised,
    system::background_output::{self, Stream},
};

/// Whether SIGTSTP (a stop by the terminal) is handled, so that the live view can be cleared before
/// the stop.
pub(super) static HEARS_STOPS: AtomicBool = AtomicBool::new(false);

/// Whether SIGTSTP is handled.
pub(crate) fn hears_stops() -> bool {
    HEARS_STOPS.load(Ordering::Acquire)
}

/// The state of the terminal.
#[derive(Debug)]
struct Screen {
    rows: Vec<String>,
    /// The lengths of the rows that are shown now. The cursor is below them, at the beginning of a
    /// line, so echoed characters such as ^Z do not change them.
    shown: Vec<usize>,
    /// The streams that are connected to this terminal.
    here: &'static [Stream],
    /// The last line that was written above is incomplete.
    line_is_open: bool,
    /// The process is about to be stopped, or was stopped.
    is_paused: bool,
}

static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

fn screen() -> MutexGuard<'static, Option<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error is a terminal that supports a live view.
fn can_show() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !is_dumb
}

/// A background process must not draw on the terminal. A terminal that does not control this
/// process has no foreground group.
fn is_in_front() -> bool {
    tcgetpgrp(io::stderr()).map_or(true, |group| group == getpgrp())
}

/// Columns and rows of the terminal, as it is now.
fn size() -> (usize, usize) {
    terminal_size_of(io::stderr()).map_or((80, 24), |(Width(columns), Height(rows))| {
        (usize::from(columns).max(2), usize::from(rows).max(2))
    })
}

/// Takes the terminal for the live view, if it supports one and is not taken yet. Returns whether
/// it did.
pub(crate) fn take() -> bool {
    let mut screen = screen();
    if screen.is_some() || !can_show() {
        return false;
    }
    let here: &[Stream] =
        if io::stdout().is_terminal() { &[Stream::Err, Stream::Out] } else { &[Stream::Err] };
    *screen = Some(Screen {
        rows: Vec::new(),
        shown: Vec::new(),
        here,
        line_is_open: false,
        is_paused: false,
    });
    true
}

/// Releases the terminal in its original state.
pub(crate) fn release() {
    if let Some(mut screen) = screen().take() {
        screen.hide();
    }
}

/// Whether the live view has the terminal, so that all output must go through this module.
pub(crate) fn is_taken() -> bool {
    screen().is_some()
}

/// Shows `rows` instead of the previous ones.
pub(crate) fn show(rows: &[String]) {
    if let Some(screen) = screen().as_mut() {
        // A row is one line without characters that move the cursor.
        screen.rows = rows.iter().map(|row| neutralised(row).into_owned()).collect();
        screen.draw();
    }
}

/// Called before the process is stopped: clears the live view for the next foreground program.
pub(crate) fn pause() {
    if let Some(screen) = screen().as_mut() {
        screen.hide();
        screen.is_paused = true;
    }
}

/// Called after the process was continued.
pub(crate) fn resume() {
    if let Some(screen) = screen().as_mut() {
        screen.is_paused = false;
        screen.draw();
    }
}

/// Writes `bytes` to the stream `to` with `write`, above the live view if there is one.
pub(crate) fn above<T>(to: Stream, bytes: &[u8], write: impl FnOnce() -> T) -> T {
    let mut guard = screen();
    let Some(screen) = guard.as_mut().filter(|screen| screen.here.contains(&to)) else {
        // Without a live view, or when the stream is not the terminal, no write needs to wait for
        // another.
        drop(guard);
        return write();
    };
    screen.hide();
    let written = write();
    if let Some(last) = bytes.last() {
        screen.line_is_open = *last != b'\n';
    }
    screen.draw();
    written
}

impl Screen {
    fn may_show(&self) -> bool {
        !self.line_is_open && !self.is_paused && hears_stops() && is_in_front()
    }

    fn hide(&mut self) {
        put(&self.away());
        self.shown.clear();
    }

    /// The escape sequence that clears the shown rows. A terminal that has become narrower has
    /// wrapped them over more lines.
    fn away(&self) -> String {
        let (columns, _) = size();
        match self.shown.iter().map(|length| length.div_ceil(columns).max(1)).sum::<usize>() {
            0 => String::new(),
            rows => format!("\r\x1b[{rows}A\x1b[J"),
        }
    }

    /// Draws the current rows, if they may be shown.
    fn draw(&mut self) {
        if !self.may_show() {
            return self.hide();
        }
        let (columns, rows) = size();
        let mut text = self.away();
        self.shown.clear();
        // Some terminals wrap a row that is exactly as wide as they are; and rows beyond the screen
        // could not be cleared.
        for row in self.rows.iter().take(rows - 1) {
            let row: String = row.chars().take(columns - 1).collect();
            text.push_str(&row);
            text.push_str("\r\n");
            self.shown.push(row.chars().count());
        }
        put(&text);
    }
}

/// Errors are ignored: a terminal that is gone shows nothing.
fn put(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Standard error for log lines, above the live view. Each record is written at once, as one line
/// whatever its fields contain.
#[derive(Debug)]
pub(crate) struct AboveLiveView;

impl Write for AboveLiveView {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = format!("{}\n", neutralised(text.strip_suffix('\n').unwrap_or(&text)));
        if !background_output::take(Stream::Err, line.as_bytes()) {
            above(Stream::Err, line.as_bytes(), || io::stderr().lock().write_all(line.as_bytes()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
