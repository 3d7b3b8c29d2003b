//! Ruby's `OptionParser#order!`, for parsers whose options take either no value or a required one.
//!
//! Measured on Ruby 3.1.7 and JRuby 9.3.9, which agree on every case in the tests here. Ruby
//! versions before 2.7 do not read `_` in a long name as `-`, and non-ASCII letters fold
//! differently by locale. Such names are ambiguous, because the runner's jar may contain any of
//! these versions.

use std::{collections::VecDeque, ffi::OsString};

/// One option of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch<T> {
    pub(super) id: T,
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) takes_value: bool,
}

/// The options that every `OptionParser` has besides its own; each of them prints and exits.
const OFFICIAL: &[(&str, bool)] =
    &[("help", false), ("version", true), ("*-completion-bash", true), ("*-completion-zsh", true)];

/// The words up to the first that is not an option.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ordered<T> {
    /// The options in their order, with their values.
    pub(super) given: Vec<(T, OsString)>,
    /// All words as typed, except that the values of the option to replace are replaced.
    pub(super) words: Vec<OsString>,
}

/// Why parsing ended before the options did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Help, a version or completions are printed, then the program exits.
    Exits,
    /// `OptionParser` raises.
    Fails(OptionError),
    /// Ruby versions disagree, or this parser does not cover it.
    Doubt(String),
}

/// The error that `OptionParser` raises about a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// `InvalidOption`.
    #[error("`{0}` is not an option of `run`")]
    Unknown(String),
    /// `AmbiguousOption`.
    #[error("`{word}` could be {}; write it out", candidates.join(" or "))]
    Ambiguous {
        /// As typed.
        word: String,
        /// In full, with hyphens.
        candidates: Vec<String>,
    },
    /// `NeedlessArgument`.
    #[error("`{option}` takes no value, found `{word}`")]
    Needless {
        /// In full, with hyphens.
        option: String,
        /// As typed.
        word: String,
    },
    /// `MissingArgument`.
    #[error("`{0}` needs a value")]
    NoValue(String),
}

/// The meaning of a name.
enum Meaning<T: 'static> {
    Own(&'static Switch<T>),
    Official { name: &'static str, takes_value: bool },
}

/// Reads `words` as `order!` does. If the option `replaced.0` has a value, the returned words
/// contain `replaced.1` instead.
pub(super) fn order<T: Copy + PartialEq + 'static>(
    switches: &'static [Switch<T>],
    words: impl IntoIterator<Item = OsString>,
    replaced: (T, &str),
) -> Result<Ordered<T>, Stopped> {
    let mut reader = OptionReader {
        switches,
        rest: words.into_iter().collect(),
        replaced,
        given: Vec::new(),
        words: Vec::new(),
    };
    while let Some(word) = reader.rest.pop_front() {
        let Some(text) = word.to_str() else {
            // Ruby's patterns raise on such a word, even where it is not an option.
            return Err(Stopped::Doubt(format!("`{}` is not valid UTF-8", word.display())));
        };
        if text == "--" || !text.starts_with('-') || text == "-" {
            reader.words.push(word);
            break;
        }
        match text.strip_prefix("--") {
            Some(long) => reader.long(text, long)?,
            None => reader.short(text)?,
        }
    }
    reader.words.extend(reader.rest);
    Ok(Ordered { given: reader.given, words: reader.words })
}

struct OptionReader<'a, T: 'static> {
    switches: &'static [Switch<T>],
    rest: VecDeque<OsString>,
    replaced: (T, &'a str),
    given: Vec<(T, OsString)>,
    words: Vec<OsString>,
}

impl<T: Copy + PartialEq + 'static> OptionReader<'_, T> {
    fn long(&mut self, word: &str, long: &str) -> Result<(), Stopped> {
        let (name, glued) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        match self.by_long_name(name, word)? {
            Meaning::Official { takes_value: false, name } if glued.is_some() => {
                Err(needless(name, word))
            }
            // A missing required value ends the program just as the option itself does, so the
            // difference does not matter here.
            Meaning::Official { .. } => Err(Stopped::Exits),
            Meaning::Own(Switch { takes_value: false, long, .. }) if glued.is_some() => {
                Err(needless(long, word))
            }
            Meaning::Own(Switch { takes_value: false, id, .. }) => {
                self.given.push((*id, OsString::new()));
                self.words.push(word.into());
                Ok(())
            }
            Meaning::Own(switch) => match glued {
                Some(value) => {
                    self.glued(switch, &format!("--{name}="), value);
                    Ok(())
                }
                None => self.next_word(switch, word, word),
            },
        }
    }

    /// `-c FILE`, `-cFILE`, `-dcFILE`. After a letter without a value, the rest is read as a word
    /// of its own, with all its leading hyphens replaced by one.
    fn short(&mut self, word: &str) -> Result<(), Stopped> {
        let mut read = 1;
        while let Some(letter) = word[read..].chars().next() {
            let after = read + letter.len_utf8();
            let glued = Some(&word[after..]).filter(|glued| !glued.is_empty());
            let seen = format!("-{}", &word[read..]);
            match self.by_letter(letter, &seen)? {
                Meaning::Official { takes_value: false, name }
                    if glued.is_some_and(|glued| glued.starts_with('=')) =>
                {
                    return Err(needless(name, &seen));
                }
                Meaning::Official { .. } => return Err(Stopped::Exits),
                Meaning::Own(switch) if switch.takes_value => {
                    return match glued {
                        Some(value) => {
                            self.glued(switch, &word[..after], value);
                            Ok(())
                        }
                        None => self.next_word(switch, word, &seen),
                    };
                }
                Meaning::Own(switch) => {
                    if glued.is_some_and(|glued| glued.starts_with('=')) {
                        return Err(needless(switch.long, &seen));
                    }
                    self.given.push((switch.id, OsString::new()));
                    read =
                        after + word[after..].len() - word[after..].trim_start_matches('-').len();
                }
            }
        }
        self.words.push(word.into());
        Ok(())
    }

    fn glued(&mut self, switch: &Switch<T>, before: &str, value: &str) {
        let handed = if switch.id == self.replaced.0 { self.replaced.1 } else { value };
        self.words.push(format!("{before}{handed}").into());
        self.given.push((switch.id, value.into()));
    }

    /// The value is the next word, whatever it is.
    fn next_word(&mut self, switch: &Switch<T>, word: &str, seen: &str) -> Result<(), Stopped> {
        let Some(value) = self.rest.pop_front() else {
            return Err(Stopped::Fails(OptionError::NoValue(seen.to_owned())));
        };
        if value.to_str().is_none() {
            return Err(Stopped::Doubt(format!("the value of `{seen}` is not valid UTF-8")));
        }
        self.words.push(word.into());
        self.words.push(if switch.id == self.replaced.0 {
            self.replaced.1.into()
        } else {
            value.clone()
        });
        self.given.push((switch.id, value));
        Ok(())
    }

    /// A letter that is not a short option may begin a long one: `-u` is
    /// `--use-persistent-jobflow`.
    fn by_letter(&self, letter: char, seen: &str) -> Result<Meaning<T>, Stopped> {
        match self.switches.iter().find(|switch| switch.short == Some(letter)) {
            Some(switch) => Ok(Meaning::Own(switch)),
            None => self.complete(&letter.to_string(), seen, false),
        }
    }

    fn by_long_name(&self, name: &str, word: &str) -> Result<Meaning<T>, Stopped> {
        if !name.is_ascii() {
            return Err(Stopped::Doubt(format!(
                "`{word}`: letters beyond ASCII in an option's name; write the name out"
            )));
        }
        if name.is_empty() {
            // `--` with a value: Ruby's own option with the empty name takes none.
            return Err(needless("", word));
        }
        match self.complete(name, word, true) {
            Err(Stopped::Fails(_)) if name.contains('_') => {
                // If the newer Ruby versions, which read these as hyphens, find nothing, all
                // versions agree.
                match self.complete(&name.replace('_', "-"), word, true) {
                    Ok(_) => Err(Stopped::Doubt(format!(
                        "`{word}`: not every Ruby reads `_` as `-` in an option's name; write it \
                         with hyphens"
                    ))),
                    Err(stopped) => Err(stopped),
                }
            }
            known => known,
        }
    }

    /// The option that `typed` names or abbreviates: the parser's own have precedence over the
    /// official ones.
    fn complete(&self, typed: &str, word: &str, any_case: bool) -> Result<Meaning<T>, Stopped> {
        if let Some(switch) = self.switches.iter().find(|switch| switch.long == typed) {
            return Ok(Meaning::Own(switch));
        }
        if let Some((name, takes_value)) = OFFICIAL.iter().find(|(name, _)| *name == typed) {
            return Ok(Meaning::Official { name, takes_value: *takes_value });
        }
        let typed = if any_case { typed.to_ascii_lowercase() } else { typed.to_owned() };
        let own: Vec<&Switch<T>> =
            self.switches.iter().filter(|switch| abbreviates(&typed, switch.long)).collect();
        let official: Vec<&(&str, bool)> =
            OFFICIAL.iter().filter(|(name, _)| abbreviates(&typed, name)).collect();
        match (own.as_slice(), official.as_slice()) {
            ([switch], _) => Ok(Meaning::Own(switch)),
            ([], [(name, takes_value)]) => {
                Ok(Meaning::Official { name, takes_value: *takes_value })
            }
            ([], []) => Err(Stopped::Fails(OptionError::Unknown(word.to_owned()))),
            ([], several) => Err(ambiguous(word, several.iter().map(|(name, _)| *name))),
            (several, _) => Err(ambiguous(word, several.iter().map(|switch| switch.long))),
        }
    }
}

/// Whether `typed` abbreviates `name`: each part between hyphens may be shortened, so `u-p` is
/// `use-persistent-jobflow`.
fn abbreviates(typed: &str, name: &str) -> bool {
    let mut parts = name.split('-');
    let mut typed_parts = typed.split('-').peekable();
    while let Some(typed_part) = typed_parts.next() {
        let fits = match parts.next() {
            None => false,
            // Only the last part may be empty: any other empty part matches no letters in Ruby's
            // pattern.
            Some(part) => {
                part.starts_with(typed_part)
                    && (!typed_part.is_empty() || typed_parts.peek().is_none())
            }
        };
        if !fits {
            return false;
        }
    }
    true
}

fn needless(name: &str, word: &str) -> Stopped {
    Stopped::Fails(OptionError::Needless { option: format!("--{name}"), word: word.to_owned() })
}

fn ambiguous<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Stopped {
    Stopped::Fails(OptionError::Ambiguous {
        word: word.to_owned(),
        candidates: candidates.map(|name| format!("--{name}")).collect(),
    })
}
