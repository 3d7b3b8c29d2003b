//! Untrusted text, in the only form in which it may be shown: object keys, names, tags, and
//! messages of AWS, of the runner and of files.
//!
//! Whoever can write an object, tag a cluster or answer a request chooses such text. Shown
//! unchanged, it could control a terminal, forge a line of the guard's output, or reverse the order
//! in which a line is read. Therefore every invisible character is written as `\u{…}` with its code
//! point in hexadecimal digits. A backslash before an existing `u{` is written as `\u{5c}`, so that
//! the original text can always be restored.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    ops::Deref,
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

/// The maximum number of characters in the first line of a message on standard error. It is used as
/// the subject of an e-mail and as a line of a log.
pub(crate) const FIRST_LINE: usize = 119;

/// Text in one line that holds only visible characters and blanks.
///
/// It is made from other text in two ways. [`From`] is for text from outside: it escapes
/// everything, including text that looks like an escape. [`Printable::compose`] is for a sentence
/// whose parts are printable already: it leaves their escapes unchanged. Neither lets a control
/// character through.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Printable(String);

/// Makes a [`Printable`] like `format!`, from parts that are printable already.
macro_rules! printable {
    ($($argument:tt)*) => {
        $crate::base::printable::Printable::compose(format_args!($($argument)*))
    };
}
pub(crate) use printable;

/// Adds a line to a text like `writeln!`, from parts that may be untrusted.
macro_rules! write_escaped_line {
    ($text:expr, $($argument:tt)*) => {{
        let text: &mut String = $text;
        text.push_str(&$crate::base::printable::Printable::from(format!($($argument)*)));
        text.push('\n');
    }};
}
pub(crate) use write_escaped_line;

impl Printable {
    /// A sentence made from parts that are printable already, or that are the program's own.
    #[must_use]
    pub fn compose(sentence: fmt::Arguments<'_>) -> Self {
        Self(match neutralised(&sentence.to_string()) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits a text longer than [`FIRST_LINE`] into two lines. The first ends at a clause, or else
    /// at a word. A command in backticks stays in one line, unless it begins the text.
    pub(crate) fn broken(&self) -> Option<(Self, Self)> {
        let (start, rest) = broken(self)?;
        // Both are parts of a text that is printable already.
        Some((printable!("{start}"), printable!("{rest}")))
    }

    /// Joins several texts with `separator` between them.
    pub(crate) fn joined<'a>(
        parts: impl IntoIterator<Item = &'a Self>,
        separator: &'static str,
    ) -> Self {
        let parts: Vec<&str> = parts.into_iter().map(Self::as_str).collect();
        Self::compose(format_args!("{}", parts.join(separator)))
    }
}

impl From<&str> for Printable {
    fn from(raw: &str) -> Self {
        if is_plain(raw) && !raw.contains('\\') {
            return Self(raw.to_owned());
        }
        let mut text = String::with_capacity(raw.len());
        for (place, letter) in raw.char_indices() {
            let looks_like_an_escape = letter == '\\' && raw[place + 1..].starts_with("u{");
            put(&mut text, letter, is_invisible(letter) || looks_like_an_escape);
        }
        Self(text)
    }
}

impl From<String> for Printable {
    fn from(raw: String) -> Self {
        Self::from(raw.as_str())
    }
}

impl From<&String> for Printable {
    fn from(raw: &String) -> Self {
        Self::from(raw.as_str())
    }
}

impl From<Cow<'_, str>> for Printable {
    fn from(raw: Cow<'_, str>) -> Self {
        Self::from(raw.as_ref())
    }
}

impl From<&Self> for Printable {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl From<Printable> for String {
    fn from(text: Printable) -> Self {
        text.0
    }
}

impl Deref for Printable {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Printable {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PartialEq<str> for Printable {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for Printable {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for Printable {
    /// Keeps text that was escaped when it was written. Invisible characters that were added since
    /// are escaped.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::compose(format_args!("{text}")))
    }
}

impl JsonSchema for Printable {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Splits `text` like [`Printable::broken`].
fn broken(text: &str) -> Option<(&str, &str)> {
    /// A first line shorter than this would be too short to be useful.
    const LEAST: usize = FIRST_LINE / 2;
    let (end, _) = text.char_indices().nth(FIRST_LINE)?;
    let spaces: Vec<usize> =
        text.match_indices(' ').map(|(at, _)| at).take_while(|at| *at <= end).collect();
    let in_a_command = |at: usize| text[..at].matches('`').count() % 2 == 1;
    let ends_a_part = |at: usize| text[..at].ends_with([':', ';', ',']);
    let begins_the_fix = |at: usize| text[at..].starts_with(" fix: ");
    let last = |is_good: &dyn Fn(usize) -> bool| spaces.iter().copied().rfind(|at| is_good(*at));
    let at = last(&|at| at > LEAST && begins_the_fix(at))
        .or_else(|| last(&|at| at > LEAST && ends_a_part(at) && !in_a_command(at)))
        .or_else(|| last(&|at| at > LEAST && !in_a_command(at)))
        .or_else(|| last(&|at| at > LEAST / 2 && !in_a_command(at)))
        .or_else(|| last(&|at| at > LEAST));
    Some(at.map_or_else(|| text.split_at(end), |at| (&text[..at], &text[at + 1..])))
}

/// `text` with each of its lines that begins with `prefix` broken as [`Printable::broken`] does it;
/// the rest is a line of its own, indented by two blanks.
pub(crate) fn with_bounded_lines(text: &str, prefix: &str) -> String {
    let mut bounded = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        match broken(line.trim_end_matches('\n')).filter(|_| line.starts_with(prefix)) {
            Some((start, _)) => {
                let rest = line[start.len()..].trim_start_matches(' ');
                let _ = write!(bounded, "{start}\n  {rest}");
            }
            None => bounded.push_str(line),
        }
    }
    bounded
}

/// Whether a character is invisible: a control character, the end of a line or paragraph, or one
/// that changes how others are shown, such as a bidirectional control.
///
/// Source: Unicode 16, the general categories Cc, Zl and Zp (UnicodeData.txt), the property
/// Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the interlinear annotations.
pub(crate) const fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `text` in one line without invisible characters. Existing escapes stay unchanged, so that
/// applying it twice changes nothing. For text that should be printable already.
pub(crate) fn neutralised(text: &str) -> Cow<'_, str> {
    without(text, is_invisible)
}

/// The same for a text of several lines.
pub(crate) fn neutralised_lines(text: &str) -> Cow<'_, str> {
    without(text, |letter| letter != '\n' && is_invisible(letter))
}

/// Whether a text holds only letters of ASCII that are visible, and blanks: most texts do.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn without(text: &str, is_unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(&is_unwanted) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        put(&mut shown, letter, is_unwanted(letter));
    }
    Cow::Owned(shown)
}

fn put(text: &mut String, letter: char, is_escaped: bool) {
    if is_escaped {
        let _ = write!(text, "\\u{{{:x}}}", u32::from(letter));
    } else {
        text.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The original text, restored from the shown one.
    fn restored(shown: &str) -> String {
        let mut text = String::new();
        let mut rest = shown;
        while let Some((before, escape)) = rest.split_once("\\u{") {
            let (digits, after) = escape.split_once('}').unwrap();
            text.push_str(before);
            text.push(char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap());
            rest = after;
        }
        text + rest
    }

    #[test]
    fn a_command_is_not_cut_where_a_first_line_ends() {
        let command =
            "`aws emr terminate-clusters --region eu-west-1 --cluster-ids j-1 --profile prod`";
        let cases = [
            format!("{}: it goes on: {command}", "x".repeat(50)),
            format!("{}: terminate it by {command}, and look", "word ".repeat(9)),
            format!("by {command}: {}", "word ".repeat(20)),
        ];
        for text in cases {
            let (start, rest) = broken(&text).unwrap();
            assert!(start.contains(command) || rest.contains(command), "{start}\n{rest}");
            assert!(start.chars().count() <= FIRST_LINE, "{start}");
            assert_eq!(format!("{start} {rest}"), text);
        }
    }

    #[test]
    fn each_message_of_a_text_is_broken_and_what_stands_below_it_is_not() {
        let (long, details) = ("word ".repeat(30), "x".repeat(200));
        let text = format!("guard: {long}\n  {details}\nguard: short\nguard: {long}");
        let bounded = with_bounded_lines(&text, "guard: ");
        let lines: Vec<&str> = bounded.lines().collect();
        assert_eq!(lines.len(), 6, "{bounded}");
        assert!(lines.iter().all(|line| line.chars().count() <= FIRST_LINE || line.contains('x')));
        assert_eq!(lines[2..4], [format!("  {details}"), "guard: short".to_owned()]);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&bounded), words(&text));
        assert_eq!(with_bounded_lines("guard: a\n", "guard: "), "guard: a\n");
    }

    #[test]
    fn ordinary_text_stays_as_it_is_in_any_language() {
        for text in [
            "s3://acme/logs/part-0.gz (é, ß, 日本語, עברית, العربية, हिन्दी, 🦀)",
            r"C:\temp\users 'it'\''s' \n \x1b \u1b",
            "",
            "a \u{301} b",
        ] {
            assert_eq!(Printable::from(text), text);
        }
    }

    #[test]
    fn what_is_invisible_is_shown_by_its_code_point() {
        let osc = Printable::from("\u{1b}]0;x\u{7}\u{9b}2J\r\nemr-etl-guard: confirmed\u{2028}");
        assert_eq!(osc, r"\u{1b}]0;x\u{7}\u{9b}2J\u{d}\u{a}emr-etl-guard: confirmed\u{2028}");
        assert_eq!(Printable::from("gpj\u{202e}.exe\u{2069}"), r"gpj\u{202e}.exe\u{2069}");
        assert_eq!(Printable::from("a\u{e0041}\u{200b}\u{feff}"), r"a\u{e0041}\u{200b}\u{feff}");
    }

    #[test]
    fn what_only_looks_like_an_escape_can_be_told_from_one() {
        assert_eq!(Printable::from(r"\u{1b}"), r"\u{5c}u{1b}");
        assert_eq!(Printable::from(r"\\u{1b}"), r"\\u{5c}u{1b}");
        let inner = Printable::from("\u{1b}");
        assert_eq!(printable!("key {inner}\n"), r"key \u{1b}\u{a}");
    }

    #[test]
    fn what_is_read_back_is_what_was_written_and_holds_nothing_invisible_either() {
        let text = Printable::from("a\u{1b}b\\u{1b}");
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<Printable>(&json).unwrap(), text);
        assert_eq!(serde_json::from_str::<Printable>(r#""a\n\u001b""#).unwrap(), r"a\u{a}\u{1b}");
    }

    proptest! {
        #[test]
        fn nothing_invisible_is_left_and_everything_can_be_restored(
            raw in r"(\PC|\pC|[\\u{}1b\n]){0,40}"
        ) {
            let shown = Printable::from(raw.as_str());
            prop_assert!(!shown.contains(is_invisible));
            prop_assert!(!shown.contains(char::is_control));
            prop_assert_eq!(restored(&shown), raw.as_str());
            let neutral = neutralised(&raw).into_owned();
            prop_assert!(!neutral.contains(is_invisible));
            prop_assert_eq!(neutralised(&neutral), neutral.as_str());
            prop_assert_eq!(neutralised(&shown), shown.as_str());
            let lines = neutralised_lines(&raw);
            prop_assert_eq!(lines.matches('\n').count(), raw.matches('\n').count());
        }
    }
}
