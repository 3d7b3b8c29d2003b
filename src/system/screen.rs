//! The terminal while something stands on it that changes: whatever else is written there goes
//! above that, whole and in order.
//!
//! All writing to the terminal takes one lock for as long as what changes is away. Where a line is
//! still open (a runner prints dots, or half a line arrives), it stays away until the line has
//! ended, or clearing it would clear the runner's own words.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::unistd::{getpgrp, tcgetpgrp};
use terminal_size::{Height, Width, terminal_size_of};

use crate::base::printable::neutralised;

/// Whether a stop by the terminal is heard of, so that whatever stands on it can go first.
pub(super) static HEARS_STOPS: AtomicBool = AtomicBool::new(false);

/// As above.
pub(crate) fn hears_stops() -> bool {
    HEARS_STOPS.load(Ordering::Acquire)
}

/// Which of our streams is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What stands on the terminal.
#[derive(Debug)]
struct Screen {
    rows: Vec<String>,
    /// Those that are shown now, by their lengths. The cursor rests below them, at the beginning of
    /// a line: what the terminal echoes there, such as ^Z, changes none.
    shown: Vec<usize>,
    /// The streams that lead to it.
    here: &'static [Stream],
    /// The last line that was written above has not ended.
    line_is_open: bool,
    /// The process is being stopped, or was.
    is_paused: bool,
}

static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

fn screen() -> MutexGuard<'static, Option<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error is a terminal that can show what changes.
fn can_show() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stderr().is_terminal() && !is_dumb
}

/// In the background the terminal is somebody else's to draw on. One that is not the process' own
/// has no such ground.
fn is_in_front() -> bool {
    tcgetpgrp(io::stderr()).map_or(true, |group| group == getpgrp())
}

/// Columns and rows of the terminal, as it is now.
fn size() -> (usize, usize) {
    terminal_size_of(io::stderr()).map_or((80, 24), |(Width(columns), Height(rows))| {
        (usize::from(columns).max(2), usize::from(rows).max(2))
    })
}

/// Takes the terminal, if there is one that can show what changes and nobody has it already; gives
/// whether it did.
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

/// Gives the terminal back as it was.
pub(crate) fn release() {
    if let Some(mut screen) = screen().take() {
        screen.hide();
    }
}

/// Whether somebody has the terminal, so that whatever writes to it must do so through here.
pub(crate) fn is_taken() -> bool {
    screen().is_some()
}

/// Shows `rows`, in the place of those before.
pub(crate) fn show(rows: &[String]) {
    if let Some(screen) = screen().as_mut() {
        // A row is one line, and nothing in it moves the cursor.
        screen.rows = rows.iter().map(|row| neutralised(row).into_owned()).collect();
        screen.draw();
    }
}

/// The process is about to be stopped: whoever has the terminal next finds it as it was.
pub(crate) fn pause() {
    if let Some(screen) = screen().as_mut() {
        screen.hide();
        screen.is_paused = true;
    }
}

/// The process goes on.
pub(crate) fn resume() {
    if let Some(screen) = screen().as_mut() {
        screen.is_paused = false;
        screen.draw();
    }
}

/// Writes `bytes` to `to` by `write`, above what stands on the terminal, if anything does.
pub(crate) fn above<T>(to: Stream, bytes: &[u8], write: impl FnOnce() -> T) -> T {
    let mut guard = screen();
    let Some(screen) = guard.as_mut().filter(|screen| screen.here.contains(&to)) else {
        // Where the terminal is nobody's, or what is written does not go there, nobody need wait
        // for anybody.
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

    /// What takes away the rows that are shown. A terminal that has become narrower since has
    /// broken them into more.
    fn away(&self) -> String {
        let (columns, _) = size();
        match self.shown.iter().map(|length| length.div_ceil(columns).max(1)).sum::<usize>() {
            0 => String::new(),
            rows => format!("\r\x1b[{rows}A\x1b[J"),
        }
    }

    /// Draws the rows as they are now, where they may be shown.
    fn draw(&mut self) {
        if !self.may_show() {
            return self.hide();
        }
        let (columns, rows) = size();
        let mut text = self.away();
        self.shown.clear();
        // A row that is as wide as the terminal is two, to some; and what does not fit on it could
        // not be taken away.
        for row in self.rows.iter().take(rows - 1) {
            let row: String = row.chars().take(columns - 1).collect();
            text.push_str(&row);
            text.push_str("\r\n");
            self.shown.push(row.chars().count());
        }
        put(&text);
    }
}

/// A terminal that is gone shows nothing anyway.
fn put(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Standard error, above what stands on the terminal, for lines of the log: each is written at once,
/// and is one line whatever its fields hold.
#[derive(Debug)]
pub(crate) struct AboveLiveView;

impl Write for AboveLiveView {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = format!("{}\n", neutralised(text.strip_suffix('\n').unwrap_or(&text)));
        above(Stream::Err, line.as_bytes(), || io::stderr().lock().write_all(line.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
