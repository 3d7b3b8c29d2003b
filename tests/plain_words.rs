//! Checks what users read against words that the project does not use: strings of the program, its
//! help, and its documentation are in plain, standard English.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Literal, TokenStream, TokenTree};
use regex::Regex;

/// Words to avoid, with replacements. They are matched as whole words, in any case.
const NOT_SAID: [(&str, &str); 26] = [
    ("mend|mends|mended|mending", "fix"),
    ("refuted?|refutes", "failed"),
    ("excused|excuses", "excepted"),
    ("advised", "advisory"),
    ("lies there|lie there", "exists"),
    ("become of|becomes of", "happens to"),
    ("to be had|be had", "available"),
    ("it came to|what it came to", "actual cost"),
    ("of no chain", "not in a chain"),
    ("hears of|hear of", "is notified of"),
    ("guard may not look|may not look", "access denied"),
    ("stands before", "blocked by"),
    ("nobody's word", "not verified"),
    ("left over is", "unfinished work"),
    ("cannot be told|could not be told", "is unknown"),
    ("nobody (?:can|could) (?:tell|see)", "is unknown"),
    ("tells? nothing", "gives nothing"),
    ("told to (?:stop|terminate)", "stopped, terminated"),
    ("vouch|vouches|vouched", "sign"),
    ("anew", "again"),
    ("stands twice|stand twice", "is there twice"),
    ("stands (?:here|there)|stand (?:here|there)", "is here"),
    ("lest|amid|thereof|whereof|hence", "a plainer word"),
    ("for want of", "without"),
    ("speaks against", "contradicts"),
    ("strangers?", "unrelated"),
];

/// Names that cannot change: of files, in the settings, in older reports.
const NAMES: [&str; 7] = [
    r#""refuted""#,
    r#""excused""#,
    r#""advised""#,
    r#""mend""#,
    r#""refuse-refuted""#,
    "Proved, refuted",
    "--refuted",
];

/// More words that comments do not use, although messages and pages may.
const NOT_IN_COMMENTS: [(&str, &str); 10] = [
    (
        "nobody's|nobody (?:asks|asked|hears|knows|notices|says|said|sees|saw|wants)",
        "unknown, unused",
    ),
    ("told", "gets, receives; unknown"),
    ("hears?|heard", "is notified, receives"),
    ("stood|stands? (?:for|before|there|here|at|by|behind|between)", "is, replaces, is stored"),
    ("comes? to|came to", "results in, reaches"),
    ("whom", "who, or another sentence"),
    ("lies|lying", "is, is stored"),
    ("wish|wishes|wished", "request"),
    ("became of", "happened to"),
    ("knows? of", "knows, has"),
];

/// The folders whose comments are verified.
const PLAIN_COMMENTS: [&str; 4] = ["benches", "integration", "src", "tests"];

/// The width of a line, including its indentation. rustfmt does not wrap comments.
const WIDTH: usize = 100;

struct Words(Vec<(Regex, &'static str)>);

impl Words {
    fn new() -> Self {
        Self::of(&NOT_SAID)
    }

    /// Each word to avoid in `text`: its line, the word, and a better one.
    fn found(&self, text: &str) -> Vec<(usize, String, &'static str)> {
        let masked = NAMES
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(name, &" ".repeat(name.len())));
        let mut found: Vec<_> = self
            .0
            .iter()
            .flat_map(|(word, better)| {
                word.find_iter(&masked).map(|hit| {
                    let line = masked[..hit.start()].matches('\n').count() + 1;
                    (line, hit.as_str().to_owned(), *better)
                })
            })
            .collect();
        found.sort();
        found
    }

    fn of_comments() -> Self {
        Self::of(&[&NOT_SAID[..], &NOT_IN_COMMENTS].concat())
    }

    fn of(list: &[(&str, &'static str)]) -> Self {
        // A line may end within an expression.
        let regex = |words: &str| {
            Regex::new(&format!(r"(?i)\b(?:{})\b", words.replace(' ', r"\s+"))).unwrap()
        };
        Self(list.iter().map(|(words, better)| (regex(words), *better)).collect())
    }
}

/// The string literals of a Rust file, each on its line, and nothing else. Comments are left out,
/// and so are the tests at the file's end.
fn strings(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut literals = Vec::new();
    collect(source.parse().unwrap(), &mut literals);
    let mut text = String::new();
    let mut line = 1;
    for literal in literals {
        let start = literal.span().start().line;
        text.push_str(&"\n".repeat(start - line));
        let literal = literal.to_string();
        line = start + literal.matches('\n').count();
        text.push_str(&literal);
        text.push(' ');
    }
    text
}

fn collect(tokens: TokenStream, literals: &mut Vec<Literal>) {
    // `/// text` arrives as `#[doc = "text"]`.
    let mut is_doc = false;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => is_doc = name == "doc",
            TokenTree::Punct(_) => {}
            TokenTree::Literal(literal) => {
                if !is_doc && literal.to_string().contains('"') {
                    literals.push(literal);
                }
                is_doc = false;
            }
            TokenTree::Group(group) => {
                collect(group.stream(), literals);
                is_doc = false;
            }
        }
    }
}

/// The comments of a Rust file, each in its line, without code in backticks.
fn comments(source: &str) -> String {
    let mut literals = Vec::new();
    collect(source.parse().unwrap(), &mut literals);
    // A string may contain the beginning of a comment.
    let mut code = source.as_bytes().to_vec();
    for literal in literals {
        code[literal.span().byte_range()]
            .iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
    }
    let code = String::from_utf8(code).unwrap();
    let mut found = String::new();
    let mut is_open = false;
    for line in code.lines() {
        let mut rest = line;
        loop {
            if !is_open {
                let Some(start) = rest.find("//").into_iter().chain(rest.find("/*")).min() else {
                    break;
                };
                rest = &rest[start..];
                if rest.starts_with("//") {
                    found.push_str(rest.trim_start_matches(['/', '!']));
                    break;
                }
                is_open = true;
                rest = &rest[2..];
            }
            let end = rest.find("*/");
            found.push_str(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { break };
            is_open = false;
            rest = &rest[end + 2..];
        }
        found.push('\n');
    }
    let in_backticks = Regex::new("`[^`\n]*`").unwrap();
    in_backticks.replace_all(&found, "``").into_owned()
}

/// The lines of a Rust file that are longer than [`WIDTH`] and hold only a comment.
fn long_comments(source: &str) -> Vec<usize> {
    let is_long = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > WIDTH;
    source.lines().zip(1..).filter(|(line, _)| is_long(line)).map(|(_, number)| number).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with("snapshots") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(path: &Path, found: Vec<(usize, String, &'static str)>) -> Vec<String> {
    let path = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let said = |(line, word, better)| format!("{path}:{line}: `{word}`; say: {better}");
    found.into_iter().map(said).collect()
}

#[test]
fn no_string_of_the_program_has_a_word_that_the_project_does_not_use() {
    let words = Words::new();
    let sources = files(&root().join("src"), "rs");
    assert!(sources.len() > 300, "{}", sources.len());
    let found: Vec<String> = sources
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .flat_map(|path| report(path, words.found(&strings(&fs::read_to_string(path).unwrap()))))
        .collect();
    assert!(found.is_empty(), "{}\n{} places", found.join("\n"), found.len());
}

#[test]
fn no_help_has_a_word_that_the_project_does_not_use() {
    let words = Words::new();
    let program = env!("CARGO_BIN_EXE_emr-etl-guard");
    let help = |arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = ["run", "check", "watch", "audit", "seal", "report", "reencrypt", "explain"];
    let found: Vec<String> = [vec!["--help"]]
        .into_iter()
        .chain(commands.map(|command| vec![command, "--help"]))
        .flat_map(|arguments| {
            let text = help(&arguments);
            assert!(text.len() > 300, "{arguments:?}: {text}");
            report(Path::new(&arguments.join(" ")), words.found(&text))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_page_of_the_documentation_has_a_word_that_the_project_does_not_use() {
    let words = Words::new();
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(files(&root().join("integration"), "md"));
    pages.extend(files(&root().join("src"), "md"));
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        pages.push(root().join(name));
    }
    assert!(pages.len() > 20, "{}", pages.len());
    let found: Vec<String> = pages
        .iter()
        // The changelog may quote earlier words.
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .flat_map(|path| report(path, words.found(&fs::read_to_string(path).unwrap())))
        .collect();
    assert!(found.is_empty(), "{}\n{} places", found.join("\n"), found.len());
}

#[test]
fn words_are_found_where_they_are_and_only_whole_and_only_in_strings() {
    let words = Words::new();
    let source = "let mend = 'm'; // mend\nlet x = \"a \\\" mend\"; let y = r#\"\nexcused\"#;\n";
    let found = words.found(&strings(source));
    assert_eq!(found, [(2, "mend".to_owned(), "fix"), (3, "excused".to_owned(), "excepted")]);
    assert_eq!(words.found("to amend, recommended"), []);
    assert_eq!(words.found(&strings("#[serde(alias = \"mend\")]")), []);
}

#[test]
fn comments_have_no_word_that_the_project_does_not_use_and_end_at_the_width() {
    let words = Words::of_comments();
    let mut found = Vec::new();
    for place in PLAIN_COMMENTS {
        let place = root().join(place);
        let sources = files(&place, "rs");
        assert!(sources.len() > 5, "{}", place.display());
        for path in &sources {
            let source = fs::read_to_string(path).unwrap();
            assert!(source.starts_with("//! "), "{}: says not what it owns", path.display());
            found.extend(report(path, words.found(&comments(&source))));
            let long = |line| (line, format!("a line over {WIDTH}"), "wrap it");
            found.extend(report(path, long_comments(&source).into_iter().map(long).collect()));
        }
    }
    assert!(found.is_empty(), "{}\n{} places", found.join("\n"), found.len());
}

#[test]
fn words_in_comments_are_found_of_every_kind_and_not_in_strings_or_code() {
    let words = Words::of_comments();
    let source = "\
//! Nobody knows, in a module's comment.
/// An item that was
/// told; `nobody knows` is code.
fn nobody_knows(text: &str) {
    let url = \"https://nobody knows\"; // It comes
    // to an end; a stand-in is fine.
    let open = r#\"/* nobody knows\"#; /* stands for */ told(); /* lies
    here */ wishes();
}
";
    let found: Vec<(usize, String)> =
        words.found(&comments(source)).into_iter().map(|(line, word, _)| (line, word)).collect();
    let wanted =
        [(1, "Nobody knows"), (3, "told"), (5, "comes\n to"), (7, "lies"), (7, "stands for")];
    assert_eq!(found, wanted.map(|(line, word)| (line, word.to_owned())));
    let long = format!("// {}\n    /// {}\nlet x = 1; // short\n", "a".repeat(98), "ä".repeat(92));
    assert_eq!(long_comments(&long), [1]);
}
