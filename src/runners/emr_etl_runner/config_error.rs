//! Errors in a runner config, each with its position.

use std::fmt;

use crate::base::printable::Printable;

/// A line and column of the runner config, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigPosition {
    line: usize,
    column: usize,
}

impl ConfigPosition {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn advance(&mut self, character: char) {
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    /// The line.
    pub(super) const fn line(self) -> usize {
        self.line
    }

    /// Whether it is on the same line as `other`, at the same column or after it.
    pub(super) fn is_behind_on_line(self, other: Self) -> bool {
        self.line == other.line && self.column >= other.column
    }

    pub(crate) fn advance_all(&mut self, text: &str) {
        text.chars().for_each(|character| self.advance(character));
    }
}

impl fmt::Display for ConfigPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a runner config cannot be evaluated: the positions, and what to do. Never contains a value
/// of the config that could be secret.
#[derive(Debug)]
pub struct ConfigError {
    /// Each `file:line:column` (without the file until it is known), and the problem there. Never
    /// empty.
    pub(crate) problems: Vec<(String, String)>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        f.write_str(&lines.iter().map(Printable::as_str).collect::<Vec<_>>().join("\n"))
    }
}

impl ConfigError {
    /// The messages, one line for each position.
    pub(crate) fn lines(&self) -> Vec<Printable> {
        let said = self.problems.iter();
        said.map(|(place, message)| format!("{place}: {message}").into()).collect()
    }

    pub(crate) fn at(position: ConfigPosition, message: impl Into<String>) -> Self {
        Self::of(&position.to_string(), message)
    }

    pub(crate) fn of(place: &str, message: impl Into<String>) -> Self {
        Self { problems: vec![(place.to_owned(), message.into())] }
    }

    /// The same, with each message changed by `change`.
    pub(crate) fn map(self, change: impl Fn(&str) -> String) -> Self {
        let changed =
            self.problems.into_iter().map(|(place, message)| (place, change(&message))).collect();
        Self { problems: changed }
    }

    pub(crate) fn within(self, file: &str) -> Self {
        Self {
            problems: self
                .problems
                .into_iter()
                .map(|(place, message)| (format!("{file}:{place}"), message))
                .collect(),
        }
    }
}
