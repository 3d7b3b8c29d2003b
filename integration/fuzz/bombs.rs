//! Configs that are built to exhaust resources: small to write, and large or slow for a parser that
//! copies aliased values or compares each value with all others. Shared by `tests/fuzz.rs`, which
//! checks that each is loaded or rejected, and by the benchmark `config_bombs`, which measures time
//! and memory.

use std::ffi::OsString;

use emr_etl_guard::runners::emr_etl_runner::{config::RunnerConfig, seal::Seal};

/// The size limit of a config in bytes.
const LARGEST: usize = 1 << 20;
/// A valid config, for bombs that take effect after the load.
const RECORDED: &str = include_str!("../../tests/recordings/config.yml");

/// The expected result of a bomb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BombEnd {
    /// It is large, but within all limits.
    Sealed,
    Refused,
}

/// A config that is built to exhaust resources.
#[derive(Debug)]
pub(crate) struct Bomb {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) end: BombEnd,
}

/// The environment for the ERB of the bombs.
#[expect(clippy::unnecessary_wraps, reason = "the form that the config's loader asks for")]
fn env(name: &str) -> Option<OsString> {
    Some(if name == "LONG" { "x".repeat(100_000) } else { "value".to_owned() }.into())
}

/// Loads and seals it; returns the result, and the first line of an error.
pub(crate) fn explode(bomb: &Bomb) -> (BombEnd, String) {
    let seal = Seal {
        security_configuration: "sealed".to_owned(),
        tag: Some(("run".to_owned(), "1".to_owned())),
    };
    let sealed = RunnerConfig::parse("config.yml", bomb.text.as_bytes(), &env)
        .and_then(|config| config.seal(&seal));
    match sealed {
        Ok(sealed) => (BombEnd::Sealed, format!("{} bytes", sealed.text.reveal().len())),
        Err(error) => {
            let refusal = error.to_string();
            (BombEnd::Refused, refusal.lines().next().unwrap_or_default().to_owned())
        }
    }
}

/// The recorded config with more lines at its end.
fn recorded(more: &str) -> String {
    format!("{RECORDED}\n{more}\n")
}

fn repeated(piece: &str, number: usize) -> String {
    piece.repeat(number)
}

fn numbered(number: usize, piece: impl Fn(usize) -> String) -> String {
    (0..number).map(piece).collect()
}

/// All of them.
pub(crate) fn bombs() -> Vec<Bomb> {
    let refused = refused().into_iter().map(|(name, text)| {
        // A directive must come first.
        let text = if text.starts_with('%') { text } else { recorded(&text) };
        Bomb { name, text, end: BombEnd::Refused }
    });
    let sealed = sealed().into_iter().map(|(name, text)| Bomb {
        name,
        text: recorded(&text),
        end: BombEnd::Sealed,
    });
    refused.chain(sealed).collect()
}

/// The remaining size of a config beside the recorded one.
fn room() -> usize {
    LARGEST - RECORDED.len() - 200
}

/// The bombs that exceed a limit.
fn refused() -> Vec<(&'static str, String)> {
    let laughs = numbered(30, |n| format!("b{0}: &b{0} [*b{n}, *b{n}, *b{n}]\n", n + 1));
    let room = room();
    vec![
        (
            "a text aliased many times",
            format!("a: &a \"{}\"\nb: [{}]", "x".repeat(50_000), repeated("*a, ", 14_000)),
        ),
        (
            "a key aliased many times",
            format!("a: &a \"{}\"\nb: {{{}}}", "x".repeat(50_000), repeated("? *a : 1, ", 5000)),
        ),
        (
            "a key that is there twice, below a long one",
            format!("? {}\n: {{{}}}", "x".repeat(500_000), repeated("a: 1, ", 9000)),
        ),
        (
            "a long text in each entry of a list of merges",
            format!(
                "a: &a {{k: \"{}\"}}\nb: [{}]",
                "x".repeat(50_000),
                repeated("{<<: *a}, ", 6000)
            ),
        ),
        ("lists of lists of aliases", format!("b0: &b0 x\n{laughs}")),
        ("a list on one line", format!("a: [{}]", repeated("x, ", room / 3))),
        ("a list of 52 bytes each", format!("a: [{}]", numbered(20_000, |n| format!("{n:050}, ")))),
        ("many %TAG", numbered(60_000, |n| format!("%TAG !{n}! t:\n")) + "---\na: b"),
        (
            "a %TAG with a long prefix",
            format!("%TAG !a! {}\n---\na: [{}]", "x".repeat(400_000), repeated("!a!x y, ", 19_000)),
        ),
        ("a variable printed many times", repeated("a: <%= ENV['LONG'] %>\n", 40_000)),
        ("tags that print nothing and never end", repeated("<%# x %>", 120_000) + "<%"),
        ("brackets", repeated("[", room)),
        ("braces", repeated("{a: ", room / 4)),
        ("dashes", repeated("- ", room / 2)),
        ("questions", repeated("? ", room / 2)),
        ("keys within keys", repeated("a: ", room / 3)),
        ("a comment of tabs, and one outside", format!("# {}\na:\tb", "\t".repeat(room))),
    ]
}

/// The bombs that are within all limits.
fn sealed() -> Vec<(&'static str, String)> {
    let room = room();
    let nested = numbered(25, |n| format!("&n{n} ["));
    vec![
        (
            "a list on one line, within the limits",
            format!("a: [{}]", numbered(19_000, |n| format!("{n:050}, "))),
        ),
        ("anchors on one line", format!("a: [{}]", numbered(19_000, |n| format!("&{n:040},")))),
        (
            "anchors around anchors around a long text",
            format!("a: {nested}\"{}\"{}", "x".repeat(900_000), "]".repeat(25)),
        ),
        (
            "a long text aliased as often as it may be",
            format!("a: &a \"{}\"\nb: [*a, *a, *a]", "x".repeat(500_000)),
        ),
        (
            "a long text that the seal has to escape",
            format!("a: &a \"{}\"\nb: *a", "<".repeat(room - 100)),
        ),
        (
            "one map of many keys",
            format!("a: {{{}}}", numbered(9500, |n| format!("{n:060}k: 1, "))),
        ),
        (
            "keys that stand twice",
            format!("a: {{{}}}", numbered(9500, |n| format!("k{}: 1, ", n % 4000))),
        ),
        (
            "merges",
            format!(
                "x: &x {{{}}}\ny: {{{}}}",
                numbered(2000, |n| format!("k{n}: 1, ")),
                repeated("<<: *x, ", 6)
            ),
        ),
        (
            "a merge of many maps",
            format!("x: &x {{a: 1, b: 2}}\ny: {{<<: [{}]}}", repeated("*x, ", 4000)),
        ),
        ("a number of many digits", format!("a: x{}", "1".repeat(room - 100))),
        ("a plain text of many words", format!("a: x{}", " 1_1".repeat(room / 4 - 100))),
        ("a comment of tabs", format!("# {}", "\t".repeat(room))),
        ("a comment of tabs and marks", format!("# {}", "\t#".repeat(room / 2 - 10))),
        ("blank lines", "\n".repeat(room)),
        ("escapes of ERB", format!("# {}", "<%% ".repeat(room / 4))),
        ("tags of ERB", format!("# {}", "<%='x'%>".repeat(room / 8))),
    ]
}
