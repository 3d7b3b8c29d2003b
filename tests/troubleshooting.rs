//! Holds docs/troubleshooting.md against the code: each message with which a command can fail, or
//! that it says of a run on standard error, is in a line of the page, and each word of such a line
//! is a message of the code.
//!
//! **What a message is.** A string literal in a place where a message is made ([`MAKERS`]): the
//! format of a `#[error("…")]`, and what is given to `Err(…)`, `ok_or(…)`, `map_err(…)`, to the
//! constructors of an error, a `Reason` or a `Notice`, and to `complain`, `tell`, `warning` and
//! their like; also where it comes there through a constant, a closure or a variable of the same
//! file. Only what makes it a message counts: the text up to `;` or `fix:`, with its placeholders
//! as wildcards. What has hardly a letter of its own (`{0}: {1}`) says nothing and is none.
//!
//! **What a line of the page is.** A line of a block ```` ```text ````, as it is printed, with its
//! variable parts in CAPITALS. A message is in a line if it is found in it, so that a line can be
//! made of several messages: `settings: {0}` and `{file}: cannot be read: {source}`.
//!
//! **When a message changes**, the test prints the message and where it is made: put it into the
//! line of its entry. The line with the old words is printed, too.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use regex::Regex;

/// Functions, methods and macros whose arguments are messages.
const MAKERS: [&str; 17] = [
    "cannot",
    "Err",
    "ok_or",
    "ok_or_else",
    "map_err",
    "bail",
    "anyhow",
    "context",
    "with_context",
    "complain",
    "tell",
    "warning",
    "alarm",
    "trouble",
    "may_be_running",
    "Warning",
    "error",
];

/// Types of which each constructor (`Type::new(…)`, `Type::Variant(…)`) makes a message, and each
/// function that returns one; and all whose name ends with `Error`.
const MAKING_TYPES: [&str; 3] = ["Reason", "Notice", "Explanation"];

/// Folders and files whose messages are only ever printed as a part of another one, which has an
/// entry in their place.
const PARTS: [(&str, &str); 10] = [
    // The checks' page explains them: what a finding saw, and what facts said.
    ("src/checks", "REFUSED, nothing was launched"),
    ("src/facts", "an answer to OPERATION came, but PROBLEM"),
    // Readers of inventories say what is broken in a file.
    ("src/audit/inventory/columns", "the inventory cannot be used: FILE"),
    ("src/audit/inventory/kinds", "the inventory cannot be used: FILE"),
    ("src/audit/inventory/limits", "the inventory cannot be used: FILE"),
    ("src/audit/inventory/orc_limits", "the inventory cannot be used: FILE"),
    ("src/audit/inventory/parquet_limits", "the inventory cannot be used: FILE"),
    ("src/audit/inventory/read", "is not an inventory manifest: PROBLEM"),
    ("src/audit/inventory/text", "the inventory cannot be used: FILE"),
    ("src/report/html", "FILE: cannot be written: CAUSE"),
];

/// Below [`PARTS`], but printed as they are.
const NO_PART: &str = "src/facts/scan";

/// What each line of standard error begins with.
const PREFIX: &str = "emr-etl-guard: ";

/// How many letters a message has outside its placeholders, at least.
const LEAST_LETTERS: usize = 8;

/// The same of one that only says what the rest is about.
const LEAST_LABEL: usize = 5;

/// A message of the code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    /// The parts between its placeholders, up to `;`: by these it is known.
    parts: Vec<String>,
    /// The same up to `fix:`.
    whole: Vec<String>,
}

impl Message {
    /// From the value of a literal; none where it says nothing by itself.
    fn of(format: &str) -> Option<Self> {
        static FIX: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"(?s)[;.,]? *\bfix: .*|\n.*").unwrap());
        let format = FIX.replace(format.trim_start(), "");
        let whole = format.strip_prefix(PREFIX).unwrap_or(&format);
        // What begins so is added to a message.
        if whole.starts_with(';') {
            return None;
        }
        let first = whole.split("; ").next().unwrap_or_default();
        let message = |text| Self { parts: parts(text), whole: parts(whole) };
        [first, whole].map(message).into_iter().find(Self::says_much)
    }

    /// Whether it has words of its own: one is enough where it only says what the rest is about,
    /// as in `settings: {0}`.
    fn says_much(&self) -> bool {
        let has_words = self.parts.iter().any(|part| part.trim().contains(' '));
        let is_label = self.parts.len() == 2
            && self.parts[0].trim_end().ends_with(':')
            && self.parts[1].is_empty();
        self.letters() >= if is_label { LEAST_LABEL } else { LEAST_LETTERS }
            && (has_words || is_label)
    }

    fn letters(&self) -> usize {
        self.parts.iter().flat_map(|part| part.chars()).filter(|it| it.is_alphabetic()).count()
    }

    fn shown(&self) -> String {
        self.parts.join("{}")
    }
}

/// Where the parts of a message are in a line: one after the other, with anything between them.
/// None where it is not there.
fn find(parts: &[String], line: &str) -> Option<Vec<Range<usize>>> {
    let mut at = 0;
    let find_next = |part: &String| {
        let start = at + line[at..].find(part.as_str())?;
        at = start + part.len();
        Some(start..at)
    };
    parts.iter().map(find_next).collect()
}

/// The names of the variables that a format shows.
fn placeholders(format: &str) -> Vec<String> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{([a-z_][a-z_0-9]*)[:}]").unwrap());
    NAME.captures_iter(format).map(|found| found[1].to_owned()).collect()
}

/// What is between the placeholders of a format.
fn parts(format: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' | '}' if characters.peek() == Some(&character) => {
                characters.next();
                parts.last_mut().unwrap().push(character);
            }
            '{' => {
                characters.by_ref().find(|character| *character == '}');
                parts.push(String::new());
            }
            other => parts.last_mut().unwrap().push(other),
        }
    }
    // At its ends, blanks are not seen.
    let last = parts.len() - 1;
    parts[0] = parts[0].trim_start().to_owned();
    parts[last] = parts[last].trim_end().to_owned();
    parts
}

/// The messages of a source file, each with its line.
fn messages(source: &str) -> BTreeSet<(usize, Message)> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let stream: TokenStream = source.parse().unwrap();
    let mut file = SourceFile::default();
    file.functions(&stream);
    file.walk(&stream, &mut Scope::default());
    file.found
}

/// What a constant, a closure or a variable is made of.
type Bound = BTreeMap<String, Vec<TokenStream>>;

/// A function's body while it is read, or what is outside of functions.
#[derive(Default)]
struct Scope {
    bound: Bound,
    /// Names that stand where a message is made.
    named: BTreeSet<String>,
    /// Closures that make a message of what they are given.
    makers: BTreeSet<String>,
}

/// One source file while it is read.
#[derive(Default)]
struct SourceFile {
    constants: Bound,
    /// The bodies of functions that return text.
    texts: Bound,
    /// Functions that make a message of what they are given.
    makers: BTreeSet<String>,
    found: BTreeSet<(usize, Message)>,
}

impl SourceFile {
    /// Notes the file's constants, and the functions that return a message.
    fn functions(&mut self, stream: &TokenStream) {
        let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let before = &tokens[..at];
                    if let Some((name, returned)) = function(before, group) {
                        let has = |words: &[&str]| {
                            returned.iter().any(|name| words.contains(&name.as_str()))
                        };
                        let is_one = !has(&["Result", "Vec", "impl"]);
                        let returns_message = returned.iter().any(|name| is_making_type(name));
                        if LISTS.contains(&name.as_str()) || (is_one && returns_message) {
                            self.makers.insert(name);
                        } else if is_one && has(&["String", "str", "Printable"]) {
                            self.texts.entry(name).or_default().push(group.stream());
                        }
                    }
                    self.functions(&group.stream());
                }
                _ => bind("const", &tokens[at..], &mut self.constants),
            }
        }
    }

    /// Looks for the places where messages are made.
    fn walk(&mut self, stream: &TokenStream, scope: &mut Scope) {
        let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            bind("let", &tokens[at..], &mut scope.bound);
            let group = match token {
                TokenTree::Group(group) => group,
                TokenTree::Literal(literal) if literal.to_string().contains(PREFIX) => {
                    self.note(literal);
                    continue;
                }
                _ => continue,
            };
            let before = &tokens[..at];
            if group.delimiter() == Delimiter::Bracket && before.last().is_some_and(is_hash) {
                self.attribute(group);
            } else if let Some((name, _)) = function(before, group) {
                let mut inner = Scope::of_body(&group.stream());
                if self.makers.contains(&name) {
                    self.collect(&group.stream(), &mut inner);
                }
                self.walk(&group.stream(), &mut inner);
                self.resolve(&inner);
            } else if self.is_made_here(before, group, scope) {
                self.collect(&group.stream(), scope);
            } else {
                self.walk(&group.stream(), scope);
            }
        }
    }

    /// `#[error("…", …)]`.
    fn attribute(&mut self, group: &Group) {
        let mut tokens = group.stream().into_iter();
        let is_error = tokens.next().is_some_and(|token| is_word(&token, "error"));
        if let (true, Some(TokenTree::Group(arguments))) = (is_error, tokens.next()) {
            let mut scope = Scope::default();
            self.collect(&arguments.stream(), &mut scope);
            self.resolve(&scope);
        }
    }

    /// All literals and names in what a message is made of.
    fn collect(&mut self, stream: &TokenStream, scope: &mut Scope) {
        let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let last = tokens[..at].iter().rfind(|token| !is_punct(token, '!'));
            match token {
                TokenTree::Literal(literal) => {
                    self.note(literal);
                    scope.named.extend(placeholders(&literal.to_string()));
                }
                TokenTree::Group(group) => {
                    // What is added to a message, and attributes, are none.
                    let is_added = last.is_some_and(|last| {
                        is_hash(last) || ADDED.iter().any(|name| is_word(last, name))
                    });
                    if !is_added {
                        self.collect(&group.stream(), scope);
                    }
                }
                TokenTree::Ident(name) if !last.is_some_and(|last| is_punct(last, '.')) => {
                    scope.named.insert(name.to_string());
                }
                _ => {}
            }
        }
    }

    /// Collects from what the names are bound to, until nothing is new.
    fn resolve(&mut self, scope: &Scope) {
        let mut done = BTreeSet::new();
        let mut inner = Scope { named: scope.named.clone(), ..Scope::default() };
        while let Some(name) = inner.named.difference(&done).next().cloned() {
            let bound = [&scope.bound, &self.constants, &self.texts]
                .into_iter()
                .find_map(|bound| bound.get(&name));
            for value in bound.cloned().unwrap_or_default() {
                self.collect(&value, &mut inner);
            }
            done.insert(name);
        }
    }

    fn note(&mut self, literal: &proc_macro2::Literal) {
        if let Some(message) = value(&literal.to_string()).as_deref().and_then(Message::of) {
            self.found.insert((literal.span().start().line, message));
        }
    }

    /// Whether `group`, after `before`, holds what a message is made of.
    fn is_made_here(&self, before: &[TokenTree], group: &Group, scope: &Scope) -> bool {
        makes_message(before, group)
            || called(before).is_some_and(|(name, _)| {
                self.makers.contains(&name) || scope.makers.contains(&name)
            })
    }
}

impl Scope {
    /// With the closures of a function that make messages.
    fn of_body(body: &TokenStream) -> Self {
        let mut scope = Self::default();
        let mut streams = vec![body.clone()];
        while let Some(stream) = streams.pop() {
            let tokens: Vec<TokenTree> = stream.into_iter().collect();
            for (at, token) in tokens.iter().enumerate() {
                bind("let", &tokens[at..], &mut scope.bound);
                if let TokenTree::Group(group) = token {
                    streams.push(group.stream());
                }
            }
        }
        let is_closure = |value: &TokenStream| {
            let mut tokens = value.clone().into_iter().skip(1).skip_while(|it| is_word(it, "move"));
            tokens.next().is_some_and(|token| is_punct(&token, '|'))
        };
        scope.makers = scope
            .bound
            .iter()
            .filter(|(_, values)| values.iter().any(|it| is_closure(it) && makes_messages(it)))
            .map(|(name, _)| name.clone())
            .collect();
        scope
    }
}

/// Variables that collect messages, and functions that return such a collection.
const LISTS: [&str; 3] = ["refusals", "troubles", "reasons"];

/// Methods that add a line to a message, or a command, or take something away, and lists of
/// commands: not its first line.
const ADDED: [&str; 7] = ["detail", "fix", "about", "end_now", "vec", "strip_suffix", "replace"];

/// Notes `let NAME … = VALUE;` at the beginning of `tokens`.
fn bind(how: &str, tokens: &[TokenTree], bound: &mut Bound) {
    let [first, TokenTree::Ident(name), rest @ ..] = tokens else { return };
    if is_word(first, how) {
        let ends = |token: &TokenTree| is_punct(token, ';') || is_word(token, "else");
        let value = rest
            .iter()
            .take_while(|token| !ends(token))
            .skip_while(|token| !is_punct(token, '='))
            .cloned();
        bound.entry(name.to_string()).or_default().push(value.collect());
    }
}

/// The name of the function whose body `group` is, and the names in what it returns.
fn function(before: &[TokenTree], group: &Group) -> Option<(String, Vec<String>)> {
    if group.delimiter() != Delimiter::Brace {
        return None;
    }
    let ends = |token: &TokenTree| {
        is_punct(token, ';')
            || matches!(token, TokenTree::Group(it) if it.delimiter() == Delimiter::Brace)
    };
    let start = before.iter().rposition(ends).map_or(0, |at| at + 1);
    let head = &before[start..];
    let at = head.iter().position(|token| is_word(token, "fn"))?;
    let name = head.get(at + 1)?.to_string();
    let arrow = head.windows(2).position(|two| is_punct(&two[0], '-') && is_punct(&two[1], '>'));
    let returned = head[arrow.unwrap_or(head.len())..].iter();
    Some((name, returned.map(ToString::to_string).collect()))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(name) if name == word)
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == punct)
}

fn is_hash(token: &TokenTree) -> bool {
    is_punct(token, '#')
}

/// Words before a name that is not called there.
const NOT_CALLED: [&str; 5] = ["fn", "enum", "struct", "impl", "for"];

/// The function, method, macro or type that `before` calls with the group that follows, and the
/// type that it is of.
fn called(before: &[TokenTree]) -> Option<(String, Option<String>)> {
    let [rest @ .., last] = before else { return None };
    let (rest, last) = match rest {
        [rest @ .., name] if is_punct(last, '!') => (rest, name),
        _ => (rest, last),
    };
    let TokenTree::Ident(name) = last else { return None };
    if rest.last().is_some_and(|token| NOT_CALLED.iter().any(|word| is_word(token, word))) {
        return None;
    }
    let of = match rest {
        [.., TokenTree::Ident(of), one, two] if is_punct(one, ':') && is_punct(two, ':') => {
            Some(of.to_string())
        }
        _ => None,
    };
    Some((name.to_string(), of))
}

/// Whether `group`, after `before`, holds what a message is made of, whatever the file has of its
/// own.
fn makes_message(before: &[TokenTree], group: &Group) -> bool {
    called(before).is_some_and(|(name, of)| {
        let is_call = group.delimiter() == Delimiter::Parenthesis;
        (is_call && MAKERS.contains(&name.as_str()))
            || (is_call
                && name == "push"
                && pushed_to(before).is_some_and(|it| LISTS.contains(&it.as_str())))
            || of.is_some_and(|of| is_making_type(&of))
            || (is_call && is_making_type(&name))
    })
}

/// The variable to which the method that ends `before` adds something.
fn pushed_to(before: &[TokenTree]) -> Option<String> {
    let [.., TokenTree::Ident(list), _, _] = before else { return None };
    Some(list.to_string())
}

fn is_making_type(name: &str) -> bool {
    name.ends_with("Error") || MAKING_TYPES.contains(&name)
}

/// Whether something in it makes a message.
fn makes_messages(stream: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Group(group) => {
            makes_message(&tokens[..at], group) || makes_messages(&group.stream())
        }
        _ => false,
    })
}

/// The text of a string literal; none of another.
fn value(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        return Some(raw.get(hashes + 1..raw.len() - hashes - 1)?.to_owned());
    }
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('\n')) => while characters.next_if(|it| it.is_whitespace()).is_some() {},
            ('\\', Some('n')) => value.extend(characters.next().map(|_| '\n')),
            ('\\', Some('t')) => value.extend(characters.next().map(|_| '\t')),
            ('\\', Some('u')) => {
                let digits: String =
                    characters.by_ref().skip(2).take_while(|it| *it != '}').collect();
                value.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            ('\\', Some(_)) => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    Some(value)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program's source files: without tests.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    let mut of_tests = BTreeSet::new();
    let test_module =
        Regex::new(r"#\[cfg\(test\)\]\s+(?:pub\(crate\) )?mod ([a-z_0-9]+);").unwrap();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_top = ["lib.rs", "main.rs"].iter().any(|top| path.ends_with(top));
                let below = if is_top { folder.clone() } else { path.with_extension("") };
                for [name] in test_module
                    .captures_iter(&fs::read_to_string(&path).unwrap())
                    .map(|it| it.extract().1)
                {
                    of_tests.insert(below.join(name));
                }
                files.push(path);
            }
        }
    }
    files.retain(|file| !of_tests.iter().any(|tests| file.with_extension("").starts_with(tests)));
    files.sort();
    files
}

/// Whether a source file is `folder` (its name without ending), or in that folder.
fn is_below(file: &Path, folder: &str) -> bool {
    file.with_extension("").starts_with(root().join(folder))
}

/// Each message of the program, with the places where it is made.
fn messages_of_the_program() -> BTreeMap<Message, Vec<String>> {
    let mut all: BTreeMap<Message, Vec<String>> = BTreeMap::new();
    let is_part = |file: &&PathBuf| {
        PARTS.iter().any(|(folder, _)| is_below(file, folder)) && !is_below(file, NO_PART)
    };
    for file in sources().iter().filter(|file| !is_part(file)) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        for (line, message) in messages(&fs::read_to_string(file).unwrap()) {
            all.entry(message).or_default().push(format!("{name}:{line}"));
        }
    }
    all
}

/// A line of the page that shows a message.
#[derive(Debug, PartialEq, Eq)]
struct EntryLine {
    /// From 1.
    number: usize,
    text: String,
}

/// The lines of a page's blocks of `text`.
fn entry_lines(page: &str) -> Vec<EntryLine> {
    let mut is_message = false;
    let mut lines = Vec::new();
    for (index, line) in page.lines().enumerate() {
        match line {
            "```text" => is_message = true,
            "```" => is_message = false,
            _ if is_message => lines.push(EntryLine { number: index + 1, text: line.to_owned() }),
            _ => {}
        }
    }
    lines
}

/// The messages that are in no line.
fn without_entry<'a>(
    messages: impl IntoIterator<Item = &'a Message>,
    lines: &[EntryLine],
) -> Vec<&'a Message> {
    let is_missing =
        |message: &&Message| !lines.iter().any(|line| find(&message.parts, &line.text).is_some());
    messages.into_iter().filter(is_missing).collect()
}

/// The words of a line that are of no message, and not in CAPITALS.
fn not_of_the_code<'a, 'm>(
    line: &'a str,
    messages: impl IntoIterator<Item = &'m Message>,
) -> Vec<&'a str> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w+").unwrap());
    let mut is_of_the_code = vec![false; line.len()];
    for message in messages {
        for parts in [&message.parts, &message.whole] {
            for range in find(parts, line).into_iter().flatten() {
                is_of_the_code[range].fill(true);
            }
        }
    }
    WORD.find_iter(line)
        .filter(|word| {
            let is_of_the_code = word.range().all(|at| is_of_the_code[at]);
            let is_part = |letter: char| letter.is_uppercase() || !letter.is_alphabetic();
            let is_form = word.as_str() == "fix";
            !is_of_the_code && !is_form && !word.as_str().chars().all(is_part)
        })
        .map(|word| word.as_str())
        .collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap()
}

#[test]
fn each_message_has_an_entry() {
    let all = messages_of_the_program();
    assert!(all.len() > 400, "{}", all.len());
    let found: Vec<String> = without_entry(all.keys(), &entry_lines(&page()))
        .into_iter()
        .map(|message| format!("{}: {}", all[message].join(", "), message.shown()))
        .collect();
    assert!(
        found.is_empty(),
        "docs/troubleshooting.md has no entry for:\n{}\n{} messages",
        found.join("\n"),
        found.len()
    );
}

#[test]
fn each_word_of_an_entry_is_of_a_message() {
    let all = messages_of_the_program();
    let lines = entry_lines(&page());
    assert!(lines.len() > 300, "{}", lines.len());
    let found: Vec<String> = lines
        .iter()
        .filter_map(|EntryLine { number, text }| {
            let text = text.strip_prefix(PREFIX).unwrap_or(text);
            let words = not_of_the_code(text, all.keys());
            (!words.is_empty()).then(|| {
                format!("docs/troubleshooting.md:{number}: {}\n    {text}", words.join(" "))
            })
        })
        .collect();
    assert!(
        found.is_empty(),
        "words that no message has (write variable parts in CAPITALS):\n{}\n{} lines",
        found.join("\n"),
        found.len()
    );
}

#[test]
fn each_frame_of_messages_that_are_parts_has_an_entry() {
    let lines = entry_lines(&page());
    for (folder, frame) in PARTS {
        assert!(lines.iter().any(|line| line.text.contains(frame)), "{frame}");
        let is_there = sources().iter().any(|file| is_below(file, folder));
        assert!(is_there, "nothing is below {folder}");
    }
}

#[test]
fn each_entry_shows_a_message_and_says_when_it_is_printed() {
    let page = page();
    let mut sections = page.split("\n## ").skip(1).filter(|it| it.contains("\n### ")).peekable();
    assert!(sections.peek().is_some());
    for section in sections {
        let (intro, _) = section.split_once("\n### ").unwrap();
        for entry in section.split("\n### ").skip(1) {
            let title = entry.lines().next().unwrap_or_default();
            assert!(entry.contains("\n```text\n"), "{title}: no message");
            let says_when = [intro, entry].iter().any(|it| it.to_lowercase().contains("exit"));
            assert!(says_when, "{title}: no exit code");
        }
    }
}

/// A source with one message of each kind, and texts that are none.
const MADE_UP: &str = r#"
/// `Err("a comment")` is no message.
const LOST: &str = "nothing was found in it; fix: look again";
const OTHER: &str = "this text is never a message";

#[derive(Debug, thiserror::Error)]
enum OneError {
    /// A comment of its own.
    #[error("the file {file} is broken; see {file}")]
    Broken { file: String },
    #[error("{0}: {1}")]
    Hollow(String, String),
    #[error("{}", in_words(.0))]
    InWords(u8),
}

fn in_words(number: &u8) -> String {
    format!("there are {number} of them")
}

fn because(what: &str) -> OneError {
    OneError::Broken { file: format!("what was said of \"{what}\"") }
}

fn work(report: &Report) -> Result<(), OneError> {
    let no_message = "a value of its own";
    let part = "a part that it shows";
    let said = format!("told by a variable {{}} {part}");
    let wrong = |what: &str| OneError::Hollow(what.to_owned(), String::new());
    report.warning(said);
    report.say("what is said on standard output");
    if true {
        return Err(wrong("given to a closure"));
    }
    refusals.push("refused for a reason".to_owned());
    Reason::new("the first line").detail("not the first line").fix("a command");
    Err(because("given to \
        a function"))?;
    Err(OneError::from(LOST))
}

#[cfg(test)]
mod tests {
    fn none() { complain("a message of a test"); }
}
"#;

#[test]
fn messages_are_found_where_they_are_made_and_nowhere_else() {
    let found: Vec<(usize, String)> =
        messages(MADE_UP).into_iter().map(|(line, it)| (line, it.shown())).collect();
    let expected = [
        (3, "nothing was found in it"),
        (9, "the file {} is broken"),
        (18, "there are {} of them"),
        (22, "what was said of \"{}\""),
        (27, "a part that it shows"),
        (28, "told by a variable {} {}"),
        (33, "given to a closure"),
        (35, "refused for a reason"),
        (36, "the first line"),
        (37, "given to a function"),
    ];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn a_message_without_an_entry_is_missed_and_an_entry_without_a_message_too() {
    let page = "# Page\n\nno entry: given to a closure\n\n```text\nthe file FILE is broken\n\
                TEXT: told by a variable {} NAME\nthe line that was first\n```\n";
    let lines = entry_lines(page);
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [6, 7, 8]);
    let all: BTreeSet<Message> = messages(MADE_UP).into_iter().map(|(_, it)| it).collect();
    let missing: Vec<String> =
        without_entry(&all, &lines).into_iter().map(Message::shown).collect();
    assert_eq!(missing.len(), all.len() - 2, "{missing:?}");
    assert!(missing.contains(&"the first line".to_owned()));
    assert!(missing.contains(&"given to a closure".to_owned()));

    assert_eq!(not_of_the_code("the file FILE is broken", &all), Vec::<&str>::new());
    assert_eq!(not_of_the_code("the file of FILE is broken", &all), ["of"]);
    assert_eq!(not_of_the_code("the file FILE is damaged", &all), ["the", "file", "is", "damaged"]);
}
