//! JSON as the program writes it: the data are exact, and the text holds no invisible characters,
//! so that it is safe to display.

use std::fmt::Write as _;

use serde::Serialize;

use crate::base::printable::is_invisible;

/// `value` as JSON in one line.
///
/// # Errors
/// When it cannot be written as JSON, which is a bug.
pub(crate) fn compact(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(escaped)
}

/// `value` as JSON with line breaks and indentation, for people.
///
/// # Errors
/// When it cannot be written as JSON, which is a bug.
pub(crate) fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(escaped)
}

/// JSON in which only line ends are invisible characters. Invisible characters occur only in
/// strings, where a JSON escape replaces each of them.
fn escaped(json: String) -> String {
    let is_unwanted = |letter: char| letter != '\n' && is_invisible(letter);
    if !json.contains(is_unwanted) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 64);
    for letter in json.chars() {
        if is_unwanted(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_text_holds_nothing_invisible_and_the_data_are_the_same() {
        let value = json!({"k\u{202e}": ["a\u{1b}\u{7f}\u{9b}\u{e0041}\n\\u{1b}\u{feff}é🦀", 1]});
        for json in [compact(&value).unwrap(), pretty(&value).unwrap()] {
            assert!(!json.contains(|letter| letter != '\n' && is_invisible(letter)), "{json}");
            assert!(json.contains(r"\u202e") && json.contains(r"\udb40\udc41"), "{json}");
            assert!(json.contains("é🦀"), "{json}");
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
        assert_eq!(compact(&value).unwrap().lines().count(), 1);
    }
}
