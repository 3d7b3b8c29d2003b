//! Owns the tests' common parts: the recordings, and the normalisation of ids and times in texts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::path::PathBuf;

/// The path of a recording of the real program.
pub(crate) fn recorded_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
}

/// The text of a recording of the real program.
pub(crate) fn recorded(name: &str) -> String {
    std::fs::read_to_string(recorded_path(name)).unwrap()
}

/// The recorded configuration with changes: each pair is a line's old and new text.
pub(crate) fn config_with(changes: &[(&str, &str)]) -> String {
    let mut text = recorded("config.yml");
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in the configuration");
        text = text.replacen(old, new, 1);
    }
    text
}

/// The changes of the configuration in the encrypted recordings.
pub(crate) const ENCRYPTED: [(&str, &str); 2] = [
    ("encrypted: false", "encrypted: true"),
    ("security_configuration:\n", "security_configuration: acme-sc\n"),
];

/// A text with run names, job flow ids, pids, times and durations replaced by words.
pub(crate) fn normalised(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let known = token(rest);
        let length = known.map_or(letter.len_utf8(), |(length, _)| length);
        match known {
            Some((_, word)) => out.push_str(word),
            None => out.push(letter),
        }
        rest = &rest[length..];
    }
    out
}

/// The token at the beginning of a text that differs between runs, if there is one: its length and
/// its replacement.
fn token(text: &str) -> Option<(usize, &'static str)> {
    const SHAPES: [(&str, &str); 6] = [
        ("9999-99-99T99:99:99.999999", "TIME"),
        ("9999-99-99 99:99:99 +0000", "TIME"),
        ("9999-99-99-99-99-99", "RUN"),
        ("99:99:99", "ELAPSED"),
        ("elapsed time n/a", "ELAPSED"),
        ("\"9999999999999\"", "\"TSTAMP\""),
    ];
    for (shape, word) in SHAPES {
        let mut letters = text.chars();
        let fits = shape.chars().all(|wanted| match (wanted, letters.next()) {
            ('9', Some(letter)) => letter.is_ascii_digit(),
            (wanted, Some(letter)) => wanted == letter,
            (_, None) => false,
        });
        if fits {
            return Some((shape.len(), word));
        }
    }
    let run = |rest: &str, fits: fn(&char) -> bool| rest.chars().take_while(fits).count();
    if let Some(rest) = text.strip_prefix("j-") {
        let length = run(rest, |letter| letter.is_ascii_uppercase() || letter.is_ascii_digit());
        return (length >= 8).then_some((2 + length, "j-ID"));
    }
    if let Some(rest) = text.strip_prefix('#') {
        return Some((1 + run(rest, char::is_ascii_digit), "#PID"));
    }
    if let Some(rest) = text.strip_prefix("retrying in ") {
        return Some((12 + run(rest, char::is_ascii_digit), "retrying in N"));
    }
    if text.starts_with("\"ewog") || text.starts_with("\"eyJ") {
        let length = run(&text[1..], |letter| *letter != '"');
        return Some((2 + length, "\"BASE64\""));
    }
    None
}
