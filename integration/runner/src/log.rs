//! Owns standard output's log lines, in the format of Ruby's Logger.

use std::io::Write;

use time::OffsetDateTime;

/// The severity of a line; a logger drops lines below its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `D, … DEBUG`.
    Debug,
    /// `I, …  INFO`.
    Info,
    /// `W, …  WARN`.
    Warn,
    /// `E, … ERROR`.
    Error,
    /// `F, … FATAL`.
    Fatal,
    /// Only as a threshold: nothing the runner prints has this severity.
    Unknown,
}

impl Level {
    /// The level a configuration names, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal, Self::Unknown]
            .into_iter()
            .find(|level| level.name() == name.to_uppercase())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Writes log lines and plain lines to one place, each flushed at once as Ruby's `$stdout.sync =
/// true` does.
pub struct Logger<'a> {
    out: &'a mut dyn Write,
    level: Level,
    pid: u32,
}

impl<'a> Logger<'a> {
    /// A logger that lets everything through until [`Logger::set_level`].
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, level: Level::Debug, pid: std::process::id() }
    }

    /// Drops lines below `level` from now on.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Writes one line, if its level is high enough.
    pub fn line(&mut self, level: Level, message: &str) {
        if level >= self.level {
            let text = format_line(level, OffsetDateTime::now_utc(), self.pid, message);
            self.raw(text.as_bytes());
        }
    }

    /// A DEBUG line.
    pub fn debug(&mut self, message: &str) {
        self.line(Level::Debug, message);
    }

    /// An INFO line.
    pub fn info(&mut self, message: &str) {
        self.line(Level::Info, message);
    }

    /// A WARN line.
    pub fn warn(&mut self, message: &str) {
        self.line(Level::Warn, message);
    }

    /// Writes text unchanged, whatever the level.
    pub fn raw(&mut self, bytes: &[u8]) {
        // A closed pipe is no reason to stop: Ruby's Logger ignores it too.
        let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
    }
}

/// One line: `D, [2026-11-22T08:34:15.528240 #13595] DEBUG -- : message`.
#[must_use]
pub fn format_line(level: Level, at: OffsetDateTime, pid: u32, message: &str) -> String {
    let name = level.name();
    let initial = &name[..1];
    format!(
        "{initial}, [{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06} #{pid}] {name:>5} -- : {message}\n",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Level, Logger, format_line};
    use time::{Duration, OffsetDateTime};

    #[test]
    fn a_line_looks_like_rubys_logger() {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(1_795_336_455_528_240);
        assert_eq!(
            format_line(Level::Debug, at, 13595, "Initializing EMR jobflow"),
            "D, [2026-11-22T08:34:15.528240 #13595] DEBUG -- : Initializing EMR jobflow\n"
        );
        assert_eq!(
            format_line(Level::Info, at, 7, "x"),
            "I, [2026-11-22T08:34:15.528240 #7]  INFO -- : x\n"
        );
    }

    #[test]
    fn a_line_below_the_level_is_dropped_and_plain_text_never_is() {
        let mut out = Vec::new();
        let mut logger = Logger::new(&mut out);
        logger.set_level(Level::Info);
        logger.debug("no");
        logger.raw(b"plain\n");
        assert_eq!(out, b"plain\n");
    }

    #[test]
    fn a_level_is_known_by_its_name_in_any_case() {
        assert_eq!(Level::from_name("debug"), Some(Level::Debug));
        assert_eq!(Level::from_name("Warn"), Some(Level::Warn));
        assert_eq!(Level::from_name("loud"), None);
    }
}
