//! The two encryption settings, written into the runner's config file itself. Comments, layout,
//! line endings and everything else stay as they are.
//!
//! The positions come from the parser that also loads the config. The result is loaded again, and
//! must hold these two values, and otherwise the same. Where a change of one line could mean more
//! than that (ERB on the line, anchors, merges, a key that is there twice), nothing is changed, and
//! the lines to change by hand are given.

use std::{ffi::OsString, fmt, ops::Range, path::Path};

use libyaml_safer::ScalarStyle;

use crate::{
    base::{
        digest::sha256,
        printable::{Printable, printable},
        secret::Secret,
    },
    runners::emr_etl_runner::{
        config::{self, RunnerConfig},
        config_error::{ConfigError, ConfigPosition},
        erb::{self, Rendered},
        psych,
        ruby::{self, Ruby, RubyBinding},
        scalar,
        seal::{self, ENCRYPTED, SECURITY_CONFIGURATION},
        secrets::{KnownSecrets, SecretVariables},
        yaml_layout::{Layout, LayoutEntry, LayoutKind, LayoutNode, MaskedTags, layout},
        yaml_value::{Value, YamlNode},
    },
    system::replace_file::{ReplaceFileError, replace_file},
};

/// A byte order mark, which stays where it is.
const MARK: char = '\u{feff}';

/// The keys before each of the two in Snowplow's sample config, the nearest first: a missing key is
/// inserted after one of them. Source: EmrEtlRunner 1.0.4, config.yml.sample.
const BEFORE_SECURITY_CONFIGURATION: &[&str] = &[
    "ec2_key_name",
    "ec2_subnet_id",
    "placement",
    "service_role",
    "jobflow_role",
    "region",
    "ami_version",
];
const BEFORE_ENCRYPTED: &[&str] = &["log", "jsonpath_assets", "assets"];

/// A line that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineEdit {
    /// Its number afterwards, from 1.
    pub(crate) line: usize,
    /// What it was, secrets masked; none if the line is added.
    pub(crate) before: Option<Printable>,
    /// What it is afterwards, secrets masked.
    pub(crate) after: Printable,
}

/// A line that has to be changed by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineByHand {
    /// The line, from 1. Of a missing key: a line of the map that it goes into.
    pub(crate) line: usize,
    /// The map of the key, with dots.
    pub(crate) map: String,
    /// The line as it is, secrets masked; none if the key is missing.
    pub(crate) seen: Option<Printable>,
    /// The key with the value that it should have.
    pub(crate) new: Printable,
}

/// What has to be changed by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EditByHand {
    /// `file:line:column` of what is in the way.
    pub(crate) at: String,
    /// What is in the way.
    pub(crate) why: &'static str,
    /// The lines, in their order.
    pub(crate) lines: Vec<LineByHand>,
}

impl EditByHand {
    /// The message, one line for each position.
    pub(crate) fn lines(&self) -> Vec<Printable> {
        let mut lines =
            vec![printable!("{}: {}; nothing was changed", Printable::from(&self.at), self.why)];
        lines.extend(self.lines.iter().map(|LineByHand { line, map, seen, new }| match seen {
            Some(seen) => printable!("fix: write `{new}` in line {line}, where `{seen}` is"),
            None => printable!("fix: add `{new}` to `{map}` (line {line})"),
        }));
        lines
    }
}

/// Why a config file is not edited.
#[derive(Debug)]
pub(crate) enum ConfigEditError {
    /// It cannot be read or loaded.
    Config(ConfigError),
    /// The change has to be made by hand.
    ByHand(EditByHand),
}

impl std::error::Error for ConfigEditError {}

impl fmt::Display for ConfigEditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::ByHand(by_hand) => {
                let lines = by_hand.lines();
                f.write_str(&lines.iter().map(Printable::as_str).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl From<ConfigError> for ConfigEditError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// An edited config. It contains the credentials.
#[derive(Debug)]
pub(crate) struct EditedConfig {
    before: Secret<Vec<u8>>,
    /// The text afterwards.
    pub(crate) text: Secret,
    /// What is changed, in the order of the file. None: both values were there.
    pub(crate) changes: Vec<LineEdit>,
}

impl EditedConfig {
    /// SHA-256 of the bytes that were read, in hexadecimal: that of [`RunnerConfig::digest`], if
    /// both read the same.
    pub(crate) fn digest_before(&self) -> String {
        sha256(self.before.reveal())
    }

    /// Replaces the content of the file at `path`, from which it was read. A symbolic link is
    /// followed.
    ///
    /// # Errors
    /// [`ReplaceFileError`] when the file has changed since it was read, or cannot be replaced with
    /// the same mode and owner.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ReplaceFileError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        replace_file(path, self.before.reveal(), self.text.reveal().as_bytes())
    }
}

/// Where variables come from, and what renders ERB.
#[derive(Clone, Copy)]
pub(crate) struct ConfigRendering<'a> {
    /// The Ruby that renders; none: the guard itself.
    pub(crate) ruby: Option<&'a Ruby>,
    /// The environment that the runner will have.
    pub(crate) env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Reads the config file at `path`, and sets `aws.emr.security_configuration` to `name` and
/// `aws.s3.buckets.encrypted` to true.
///
/// # Errors
/// [`ConfigEditError`] when it cannot be read or loaded, or has to be changed by hand.
pub(crate) fn edit_file(
    path: &Path,
    name: &str,
    rendering: ConfigRendering<'_>,
) -> Result<EditedConfig, ConfigEditError> {
    let bytes = config::read_file(path)?;
    with_encryption(&path.display().to_string(), bytes, name, rendering)
}

/// Sets the two values in the config `bytes`, read from the file `origin`.
///
/// # Errors
/// As [`edit_file`].
pub(crate) fn with_encryption(
    origin: &str,
    bytes: Vec<u8>,
    name: &str,
    rendering: ConfigRendering<'_>,
) -> Result<EditedConfig, ConfigEditError> {
    if bytes.len() as u64 > config::LARGEST {
        let what = format!("larger than {} bytes; this is no EmrEtlRunner config", config::LARGEST);
        return Err(ConfigError::of(origin, what).into());
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(ConfigError::of(origin, "not valid UTF-8").into());
    };
    let variables = SecretVariables::default();
    let loaded = load(origin, text, rendering, &variables);
    let known = KnownSecrets::default().with(variables.into_values());
    let loaded = loaded.map_err(|error| {
        let known = KnownSecrets::of_text(text).with(known.clone());
        error.map(|message| known.masked(message)).within(origin)
    })?;
    let editing = Editing {
        origin,
        name,
        body: text.strip_prefix(MARK).unwrap_or(text),
        known: KnownSecrets::of(&loaded.root).with(known),
        root: loaded.root,
    };
    let (body, changes) = editing.edited(&loaded.rendered).map_err(ConfigEditError::ByHand)?;
    let text = if text.starts_with(MARK) { format!("{MARK}{body}") } else { body };
    if !changes.is_empty() {
        let again = load(origin, &text, rendering, &SecretVariables::default());
        let is_proved = again.is_ok_and(|again| {
            seal::wrong_encryption(&again.root, name).is_none()
                && seal::differ_only_in_encryption(&editing.root, &again.root)
                && again.ambiguities == loaded.ambiguities
        });
        if !is_proved {
            return Err(ConfigEditError::ByHand(editing.by_hand(None, UNPROVED)));
        }
    }
    Ok(EditedConfig { before: Secret::new(bytes), text: Secret::new(text), changes })
}

/// What has to be changed by hand in a config that came from standard input.
pub(crate) fn by_hand_for_stdin(config: &RunnerConfig, name: &str) -> EditByHand {
    let settings = settings(name);
    let lines = settings.iter().filter(|setting| !setting.is_in(config.root()));
    let lines = lines.map(|setting| {
        let (line, seen) = setting.loaded(config.root());
        let seen = seen.map(|seen| {
            let shown = match seen {
                Value::Null => String::new(),
                seen => format!(" {}", config.masked(&seal::shown(seen))),
            };
            Printable::from(format!("{}:{shown}", setting.key))
        });
        setting.by_hand(line, seen)
    });
    EditByHand {
        at: config.origin.clone(),
        why: "a config on standard input cannot be changed in place",
        lines: in_order(lines.collect()),
    }
}

/// The lines by their numbers.
fn in_order(mut lines: Vec<LineByHand>) -> Vec<LineByHand> {
    lines.sort_by_key(|line| line.line);
    lines
}

/// A config as it is loaded.
struct LoadedConfig {
    root: YamlNode,
    rendered: String,
    /// The number of places that people may misread.
    ambiguities: usize,
}

fn load(
    origin: &str,
    text: &str,
    rendering: ConfigRendering<'_>,
    variables: &SecretVariables,
) -> Result<LoadedConfig, ConfigError> {
    let noting = |name: &str| {
        let value = (rendering.env)(name);
        variables.note(name, value.as_ref());
        value
    };
    let rendered = match rendering.ruby {
        None => erb::render(text, &noting)?,
        Some(ruby) => {
            let by_ruby = ruby::render(ruby, text, RubyBinding { config_file: origin })?;
            Rendered::from_rendered(&by_ruby.text)?
        }
    };
    let loaded = psych::load(&rendered)?;
    Ok(LoadedConfig {
        root: loaded.root,
        rendered: rendered.text,
        ambiguities: loaded.ambiguities.len(),
    })
}

const UNPROVED: &str = "the changed config would not load as it should";
const CODE: &str = "this ERB tag decides what the config has";
const STRUCTURE: &str = "ERB tags decide which keys this config has";
const ERB: &str = "there is an ERB tag on this line";
const DOCUMENTS: &str = "there is a second document, which Ruby ignores";
const BREAKS: &str = "a line ends here in a form that only some programs know";
const NOT_A_MAP: &str = "there is no map of the keys above the setting";
const ALIAS: &str = "this is an alias, so the value is that of another place";
const MARKED: &str = "there is an anchor or a tag here, so other places may depend on it";
const MERGE: &str = "a merge (`<<`) puts keys of another map here";
const TWICE: &str = "this key is there twice";
const LINES: &str = "this value is not one value on the line of its key";
const NO_PLACE: &str = "the keys of this map do not begin their lines";

/// One of the two settings.
struct Setting<'a> {
    path: &'static [&'static str],
    key: &'static str,
    value: Value,
    /// How the value is written, if it is quoted as `style`.
    written: Box<dyn Fn(ScalarStyle) -> String + 'a>,
    before: &'static [&'static str],
}

fn settings(name: &str) -> [Setting<'_>; 2] {
    let named = move |style| match style {
        ScalarStyle::SingleQuoted if is_plain(name) => format!("'{name}'"),
        ScalarStyle::Plain if is_plain(name) => name.to_owned(),
        _ => {
            let mut quoted = String::new();
            seal::write(&Value::Text(name.into()), &mut quoted);
            quoted
        }
    };
    let (path, key) = SECURITY_CONFIGURATION;
    let (encrypted_path, encrypted) = ENCRYPTED;
    [
        Setting {
            path,
            key,
            value: Value::Text(name.into()),
            written: Box::new(named),
            before: BEFORE_SECURITY_CONFIGURATION,
        },
        Setting {
            path: encrypted_path,
            key: encrypted,
            value: Value::Bool(true),
            written: Box::new(|_| "true".to_owned()),
            before: BEFORE_ENCRYPTED,
        },
    ]
}

/// Whether YAML reads `name` as this text without quotes.
fn is_plain(name: &str) -> bool {
    let letters =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(letters)
        && scalar::tokenize(name) == Value::Text(name.into())
}

impl Setting<'_> {
    /// Whether `root` has it with this value.
    fn is_in(&self, root: &YamlNode) -> bool {
        let node = root.find(self.path).and_then(|map| map.get(self.key));
        node.is_some_and(|node| node.value == self.value)
    }

    /// The line of its present value, and the value; without one, the line of the nearest map.
    fn loaded<'a>(&self, root: &'a YamlNode) -> (usize, Option<&'a Value>) {
        let map = root.find(self.path);
        if let Some(node) = map.and_then(|map| map.get(self.key)) {
            return (node.at.line(), Some(&node.value));
        }
        let nearest = (0..=self.path.len()).rev().find_map(|depth| root.find(&self.path[..depth]));
        (nearest.map_or(1, |node| node.at.line()), None)
    }

    fn by_hand(&self, line: usize, seen: Option<Printable>) -> LineByHand {
        let new = Printable::from(self.line(""));
        LineByHand { line, map: self.path.join("."), seen, new }
    }

    /// `key: value`, with `colon` before the key.
    fn line(&self, colon: &str) -> String {
        format!("{colon}{}: {}", self.key, (self.written)(ScalarStyle::Plain))
    }
}

/// Something in the way: the offset, and what it is.
type Obstacle = (usize, &'static str);

/// A replacement of a range of the text.
struct Splice {
    range: Range<usize>,
    text: String,
    /// Whether a line is added, and none is changed.
    adds_line: bool,
}

/// A config file that is being edited.
struct Editing<'a> {
    origin: &'a str,
    name: &'a str,
    /// The text, without the byte order mark.
    body: &'a str,
    root: YamlNode,
    known: KnownSecrets,
}

impl Editing<'_> {
    /// The text afterwards, and what changes.
    fn edited(&self, rendered: &str) -> Result<(String, Vec<LineEdit>), EditByHand> {
        let settings = settings(self.name);
        let masked = MaskedTags::of(self.body);
        let unchanged = || Ok((self.body.to_owned(), Vec::new()));
        let layout = match self.layout(&masked, rendered) {
            Ok(layout) => layout,
            Err(_) if masked.tags.is_empty() && settings.iter().all(|it| it.is_in(&self.root)) => {
                return unchanged();
            }
            Err((place, why)) => return Err(self.by_hand(Some(place), why)),
        };
        let mut splices = Vec::new();
        for setting in &settings {
            let found = self.place(&layout.root, &masked, setting);
            match (found, setting.is_in(&self.root)) {
                (Ok(_), true) => {}
                (Err(_), true) if masked.tags.is_empty() => {}
                (Ok(splice), false) => splices.push(splice),
                (Err((place, why)), _) => return Err(self.by_hand(Some(place), why)),
            }
        }
        splices.sort_by_key(|splice| splice.range.start);
        Ok(self.spliced(splices))
    }

    /// The text with `splices` in it, in their order, and the lines that they change.
    fn spliced(&self, splices: Vec<Splice>) -> (String, Vec<LineEdit>) {
        let mut text = String::new();
        let mut places: Vec<(usize, Option<&str>)> = Vec::new();
        let mut end = 0;
        for Splice { range, text: new, adds_line } in splices {
            text.push_str(self.body.get(end..range.start).unwrap_or_default());
            let ending =
                if adds_line { new.len() - new.trim_start_matches(['\r', '\n']).len() } else { 0 };
            let before = (!adds_line).then(|| line_of(self.body, range.start));
            places.push((text.len() + ending, before));
            text.push_str(&new);
            end = range.end;
        }
        text.push_str(self.body.get(end..).unwrap_or_default());
        let changes = places.into_iter().map(|(place, before)| LineEdit {
            line: line_number(&text, place),
            before: before.map(|before| self.shown(before)),
            after: self.shown(line_of(&text, place)),
        });
        let mut changes: Vec<LineEdit> = changes.collect();
        // Both may be on one line.
        changes.dedup();
        (text, changes)
    }

    fn shown(&self, line: &str) -> Printable {
        Printable::from(self.known.masked(line.trim()))
    }

    /// The layout, if it is that of the rendered config.
    fn layout(&self, masked: &MaskedTags, rendered: &str) -> Result<Layout, Obstacle> {
        if let Some(place) = masked.control {
            return Err((place, CODE));
        }
        // The parser ends lines at these, and other programs do not.
        let is_odd = |(index, letter): &(usize, char)| match letter {
            '\r' => !self.body[index + 1..].starts_with('\n'),
            letter => matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}'),
        };
        if let Some((place, _)) = self.body.char_indices().find(is_odd) {
            return Err((place, BREAKS));
        }
        let first_tag = masked.tags.first().map_or(0, |tag| tag.start);
        let found = layout(&masked.text).ok_or((first_tag, STRUCTURE))?;
        if let Some(place) = found.second {
            return Err((place, DOCUMENTS));
        }
        if !masked.tags.is_empty() {
            let meant = layout(rendered).filter(|meant| meant.second.is_none());
            let meant = meant.ok_or((first_tag, STRUCTURE))?;
            if let Some(place) = found.root.difference(&meant.root) {
                return Err((place, STRUCTURE));
            }
        }
        Ok(found)
    }

    /// Where and how `setting` is written.
    fn place(
        &self,
        root: &LayoutNode,
        masked: &MaskedTags,
        setting: &Setting<'_>,
    ) -> Result<Splice, Obstacle> {
        let mut node = root;
        for key in setting.path {
            let entry = entry(node, key)?.ok_or((node.range.start, NOT_A_MAP))?;
            node = &entry.value;
        }
        match entry(node, setting.key)? {
            Some(entry) => self.replacement(entry, masked, setting),
            None => self.addition(node, masked, setting),
        }
    }

    /// The value of `entry`, replaced.
    fn replacement(
        &self,
        entry: &LayoutEntry,
        masked: &MaskedTags,
        setting: &Setting<'_>,
    ) -> Result<Splice, Obstacle> {
        let LayoutEntry { key, value } = entry;
        let line = self.line_range(key.range.start);
        if masked.touches(&line) {
            return Err((key.range.start, ERB));
        }
        let style = match &value.kind {
            LayoutKind::Alias => return Err((value.range.start, ALIAS)),
            _ if value.is_marked => return Err((value.range.start, MARKED)),
            LayoutKind::Scalar { style, .. } => *style,
            _ => return Err((value.range.start, LINES)),
        };
        let not_here = (key.range.start, LINES);
        let behind = self.body.get(key.range.end..line.end).ok_or(not_here)?;
        let colon = behind.find(|letter| letter != ' ').filter(|at| behind[*at..].starts_with(':'));
        let colon = key.range.end + colon.ok_or(not_here)? + 1;
        let written = (setting.written)(style);
        let is_blank = value.range.is_empty() && style == ScalarStyle::Plain;
        if is_blank {
            let rest = &self.body[colon..line.end];
            let end = if rest.trim_matches(' ').is_empty() { line.end } else { colon };
            return Ok(Splice { range: colon..end, text: format!(" {written}"), adds_line: false });
        }
        let between = self.body.get(colon..value.range.start).ok_or(not_here)?;
        let is_here = between.trim_matches(' ').is_empty()
            && value.range.end <= line.end
            && matches!(
                style,
                ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
            )
            // The tag `!` leaves no other trace.
            && !self.body[value.range.clone()].starts_with('!');
        if !is_here {
            return Err(not_here);
        }
        Ok(Splice { range: value.range.clone(), text: written, adds_line: false })
    }

    /// The setting, added to the map `node`.
    fn addition(
        &self,
        node: &LayoutNode,
        masked: &MaskedTags,
        setting: &Setting<'_>,
    ) -> Result<Splice, Obstacle> {
        let LayoutKind::Map { flow, entries } = &node.kind else {
            return Err((node.range.start, NOT_A_MAP));
        };
        if *flow {
            return self.flow_addition(node, entries, masked, setting);
        }
        let no_place = (node.range.start, NO_PLACE);
        let named = |name: &&&str| entries.iter().find(|entry| entry.name() == Some(name));
        let nearest = setting.before.iter().filter_map(|name| named(&name));
        if let Some(entry) = nearest.chain(entries).find(|entry| self.is_line(entry)) {
            let line = self.line_range(entry.key.range.start);
            let indent = &self.body[line.start..entry.key.range.start];
            let added = format!("{indent}{}", entry_of(setting, &entry.key));
            let ends = self.ending(line.end);
            return Ok(match ends {
                Some(ending) => {
                    let next = line.end + ending.len();
                    Splice { range: next..next, text: format!("{added}{ending}"), adds_line: true }
                }
                None => Splice {
                    range: line.end..line.end,
                    text: format!("{}{added}", self.usual_ending()),
                    adds_line: true,
                },
            });
        }
        let first = entries.first().ok_or(no_place)?;
        let line = self.line_range(first.key.range.start);
        let indent = self.indent(first).ok_or(no_place)?;
        let ending = self.ending(line.end).unwrap_or_else(|| self.usual_ending());
        let added = format!("{indent}{}{ending}", entry_of(setting, &first.key));
        Ok(Splice { range: line.start..line.start, text: added, adds_line: true })
    }

    /// The setting, added to a map in braces.
    fn flow_addition(
        &self,
        node: &LayoutNode,
        entries: &[LayoutEntry],
        masked: &MaskedTags,
        setting: &Setting<'_>,
    ) -> Result<Splice, Obstacle> {
        let Some(first) = entries.first() else {
            let inner = node.range.start + 1..node.range.end.saturating_sub(1);
            let is_empty = self
                .body
                .get(inner.clone())
                .is_some_and(|inner| inner.trim_matches(' ').is_empty());
            if masked.touches(&self.line_range(node.range.start)) {
                return Err((node.range.start, ERB));
            }
            if !is_empty {
                return Err((node.range.start, NO_PLACE));
            }
            return Ok(Splice { range: inner, text: setting.line(""), adds_line: false });
        };
        let start = first.key.range.start;
        let line = self.line_range(start);
        let added = entry_of(setting, &first.key);
        if let Some(indent) = self.indent(first) {
            let ending = self.ending(line.end).unwrap_or_else(|| self.usual_ending());
            let added = format!("{indent}{added},{ending}");
            return Ok(Splice { range: line.start..line.start, text: added, adds_line: true });
        }
        if masked.touches(&line) {
            return Err((start, ERB));
        }
        Ok(Splice { range: start..start, text: format!("{added}, "), adds_line: false })
    }

    /// Whether `entry` is one whole line of a block map.
    fn is_line(&self, entry: &LayoutEntry) -> bool {
        let line = self.line_range(entry.key.range.start);
        let is_block = matches!(
            entry.value.kind,
            LayoutKind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }
                | LayoutKind::Map { flow: false, .. }
                | LayoutKind::List { flow: false, .. }
        );
        let is_key = matches!(entry.key.kind, LayoutKind::Scalar { .. }) && !entry.key.is_marked;
        // A blank value stands wherever the parser noticed that there is none.
        let is_here = entry.value.range.is_empty()
            || (entry.value.range.start >= entry.key.range.end
                && entry.value.range.end <= line.end);
        let behind = self.body.get(entry.key.range.end..line.end).unwrap_or_default();
        is_key
            && !is_block
            && is_here
            && !(entry.value.is_marked && entry.value.range.is_empty())
            && behind.trim_start_matches(' ').starts_with(':')
            && self.indent(entry).is_some()
    }

    /// The blanks before a key, if nothing else is before it on its line.
    fn indent(&self, entry: &LayoutEntry) -> Option<&str> {
        let start = entry.key.range.start;
        let before = self.body.get(self.line_range(start).start..start)?;
        before.trim_matches(' ').is_empty().then_some(before)
    }

    /// The line around `place`, without its ending.
    fn line_range(&self, place: usize) -> Range<usize> {
        let start = self.body[..place].rfind('\n').map_or(0, |index| index + 1);
        let end = self.body[place..].find('\n').map_or(self.body.len(), |index| place + index);
        let has_return = end > place && self.body[place..end].ends_with('\r');
        start..end - usize::from(has_return)
    }

    /// The line ending at `place`; none at the end of the text.
    fn ending(&self, place: usize) -> Option<&'static str> {
        ["\r\n", "\n"].into_iter().find(|ending| self.body[place..].starts_with(ending))
    }

    /// The ending of the first line.
    fn usual_ending(&self) -> &'static str {
        self.body
            .find('\n')
            .and_then(|end| self.ending(end - usize::from(self.body[..end].ends_with('\r'))))
            .unwrap_or("\n")
    }

    /// What has to be changed by hand, because of what is at `place`.
    fn by_hand(&self, place: Option<usize>, why: &'static str) -> EditByHand {
        let at = match place {
            Some(place) => {
                let mut at = ConfigPosition::START;
                at.advance_all(self.body.get(..place).unwrap_or_default());
                format!("{}:{at}", self.origin)
            }
            None => self.origin.to_owned(),
        };
        let masked = MaskedTags::of(self.body);
        let layout = layout(&masked.text);
        let line_of_setting = |setting: &Setting<'_>| {
            // Where it is written: not where an alias or a merge leads to.
            let written = layout.as_ref().and_then(|layout| written_at(&layout.root, setting));
            match written {
                Some((place, has_key)) => (line_number(self.body, place), has_key),
                None => {
                    let (line, value) = setting.loaded(&self.root);
                    (line, value.is_some())
                }
            }
        };
        let edit = |setting: &Setting<'_>| {
            let (line, has_key) = line_of_setting(setting);
            let seen = self.body.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            setting.by_hand(line, has_key.then(|| self.shown(seen)))
        };
        // A value that is right by ERB may be another one in another environment.
        let is_right = |setting: &&Setting<'_>| {
            let has_tag = edit(setting).seen.is_some_and(|seen| seen.as_str().contains("<%"));
            setting.is_in(&self.root) && !has_tag
        };
        let settings = settings(self.name);
        let wrong: Vec<LineByHand> =
            settings.iter().filter(|setting| !is_right(setting)).map(edit).collect();
        let all = || settings.iter().map(edit).collect();
        let lines = in_order(if wrong.is_empty() { all() } else { wrong });
        EditByHand { at, why, lines }
    }
}

/// The offset of the key of `setting`, or of the map in which it is missing, and whether it is
/// there; `None` where the map itself is missing.
fn written_at(root: &LayoutNode, setting: &Setting<'_>) -> Option<(usize, bool)> {
    // Of two, Ruby takes the last.
    let last = |node: &LayoutNode, key: &str| match &node.kind {
        LayoutKind::Map { entries, .. } => {
            entries.iter().rposition(|entry| entry.name() == Some(key))
        }
        _ => None,
    };
    let (mut node, mut at) = (root, root.range.start);
    for key in setting.path.iter().chain([&setting.key]) {
        let Some(index) = last(node, key) else {
            let is_map = matches!(node.kind, LayoutKind::Map { .. });
            return (is_map && *key == setting.key).then_some((at, false));
        };
        let LayoutKind::Map { entries, .. } = &node.kind else { return None };
        let entry = &entries[index];
        (node, at) = (&entry.value, entry.key.range.start);
    }
    Some((at, true))
}

/// The entry of `key` in the map `node`; none if there is no such key.
fn entry<'a>(node: &'a LayoutNode, key: &str) -> Result<Option<&'a LayoutEntry>, Obstacle> {
    let at = node.range.start;
    let entries = match &node.kind {
        LayoutKind::Alias => return Err((at, ALIAS)),
        _ if node.is_marked => return Err((at, MARKED)),
        LayoutKind::Map { entries, .. } => entries,
        _ => return Err((at, NOT_A_MAP)),
    };
    if let Some(merge) = entries.iter().find(|entry| entry.is_merge()) {
        return Err((merge.key.range.start, MERGE));
    }
    let mut found = entries.iter().filter(|entry| entry.name() == Some(key));
    let Some(entry) = found.next() else { return Ok(None) };
    match found.next() {
        Some(second) => Err((second.key.range.start, TWICE)),
        None if entry.key.is_marked => Err((entry.key.range.start, MARKED)),
        None => Ok(Some(entry)),
    }
}

/// `key: value` in the style of the key beside it.
fn entry_of(setting: &Setting<'_>, beside: &LayoutNode) -> String {
    match &beside.kind {
        LayoutKind::Scalar { style: ScalarStyle::DoubleQuoted, .. } => {
            format!("\"{}\": {}", setting.key, (setting.written)(ScalarStyle::DoubleQuoted))
        }
        LayoutKind::Scalar { text, style: ScalarStyle::Plain } if text.starts_with(':') => {
            setting.line(":")
        }
        _ => setting.line(""),
    }
}

/// The line of `text` around `place`, without its ending.
fn line_of(text: &str, place: usize) -> &str {
    let start = text[..place].rfind('\n').map_or(0, |index| index + 1);
    text[start..].lines().next().unwrap_or_default()
}

fn line_number(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<OsString> {
        let value = match name {
            "ENC" => "true",
            "SC" => "acme-sc",
            "AWS_SNOWPLOW_ACCESS_KEY" => "AKIAFAKE",
            "AWS_SNOWPLOW_SECRET_KEY" => "fake",
            _ => return None,
        };
        Some(value.into())
    }

    const RENDERING: ConfigRendering<'static> = ConfigRendering { ruby: None, env: &env };

    fn edit(text: &str, name: &str) -> Result<EditedConfig, ConfigEditError> {
        with_encryption("config.yml", text.as_bytes().to_vec(), name, RENDERING)
    }

    fn refused(text: &str) -> String {
        match edit(text, "acme-1a2b") {
            Ok(edited) => panic!("{}", edited.text.reveal()),
            Err(error) => error.to_string(),
        }
    }

    fn tree(text: &str) -> YamlNode {
        load("config.yml", text, RENDERING, &SecretVariables::default()).unwrap().root
    }

    /// What `before` is with the two values set, by the tree's own functions.
    fn meant(before: &YamlNode, name: &str) -> Option<YamlNode> {
        let mut meant = before.clone();
        meant
            .find_mut(SECURITY_CONFIGURATION.0)?
            .set(SECURITY_CONFIGURATION.1, Value::Text(name.into()))
            .ok()?;
        meant.find_mut(ENCRYPTED.0)?.set(ENCRYPTED.1, Value::Bool(true)).ok()?;
        Some(meant)
    }

    /// The same maps, whatever the order of their keys.
    fn same(one: &YamlNode, other: &YamlNode) -> bool {
        match (&one.value, &other.value) {
            (Value::Map(one), Value::Map(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(key, node)| {
                        let found = other.iter().find(|(known, _)| known == key);
                        found.is_some_and(|(_, found)| same(node, found))
                    })
            }
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other.iter()).all(|(a, b)| same(a, b))
            }
            (one, other) => one == other,
        }
    }

    /// Holds an edit against every promise of this file.
    fn hold(text: &str, name: &str, done: &EditedConfig) -> Result<(), TestCaseError> {
        let after = done.text.reveal();
        let wanted = meant(&tree(text), name);
        prop_assert!(wanted.is_some_and(|wanted| same(&wanted, &tree(after))), "{text}\n{after}");
        let mut old = text.split_inclusive('\n');
        let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
        for (index, line) in after.split_inclusive('\n').enumerate() {
            let change = done.changes.iter().find(|change| change.line == index + 1);
            if change.is_some_and(|change| change.before.is_none()) {
                continue;
            }
            let was = old.next().unwrap_or_default();
            if change.is_some() {
                prop_assert_ne!(was, line, "\n{}\n{}", text, after);
            } else if was.ends_with('\n') || line == was {
                prop_assert_eq!(was, line, "\n{}\n{}", text, after);
            } else {
                // The last line had no ending, and one was added after it.
                prop_assert_eq!(&format!("{was}{ending}"), line, "\n{}\n{}", text, after);
                prop_assert!(done.changes.iter().any(|change| change.line == index + 2));
            }
        }
        prop_assert_eq!(old.next(), None);
        prop_assert_eq!(after.starts_with(MARK), text.starts_with(MARK));
        let again = edit(after, name);
        let again = again.map_err(|error| TestCaseError::fail(format!("{error}\n{after}")))?;
        prop_assert_eq!(again.text.reveal(), after);
        prop_assert!(again.changes.is_empty());
        Ok(())
    }

    fn recorded() -> &'static str {
        include_str!("../../../tests/recordings/config.yml")
    }

    fn check(text: &str) -> String {
        let done = edit(text, "acme-1a2b").unwrap_or_else(|error| panic!("{error}\n{text}"));
        hold(text, "acme-1a2b", &done).unwrap();
        done.text.reveal().clone()
    }

    #[test]
    fn in_snowplows_sample_two_lines_change() {
        let wanted = recorded()
            .replace("      encrypted: false\n", "      encrypted: true\n")
            .replace("    security_configuration:\n", "    security_configuration: acme-1a2b\n");
        assert_eq!(check(recorded()), wanted);
        let done = edit(recorded(), "acme-1a2b").unwrap();
        let shown: Vec<String> = done
            .changes
            .iter()
            .map(|change| format!("{} {:?} -> {}", change.line, change.before, change.after))
            .collect();
        assert_eq!(
            shown,
            [
                "10 Some(Printable(\"encrypted: false\")) -> encrypted: true",
                "36 Some(Printable(\"security_configuration:\")) -> security_configuration: \
                 acme-1a2b"
            ]
        );
        assert!(!format!("{done:?}").contains("AWS_SNOWPLOW"));
    }

    #[test]
    fn every_config_of_this_repository_is_edited() {
        for text in [
            include_str!("../../../docker/rehearsal/config.yml"),
            include_str!("../../../integration/runner/tests/recorded/config.yml"),
            recorded(),
            &recorded().replace('\n', "\r\n"),
            &format!("{MARK}{}", recorded()),
            recorded().trim_end(),
        ] {
            check(text);
        }
    }

    /// Every recorded oddity of YAML is edited so that all promises hold, or refused.
    #[test]
    fn every_recorded_config_is_edited_rightly_or_refused() {
        let (mut done, mut refusals) = (0, std::collections::BTreeSet::new());
        for line in include_str!("../../../tests/recordings/config-loading.jsonl").lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["config"].as_str().unwrap();
            match edit(text, "acme-1a2b") {
                Ok(edited) => {
                    hold(text, "acme-1a2b", &edited).unwrap();
                    done += 1;
                }
                Err(ConfigEditError::Config(_)) => {}
                Err(ConfigEditError::ByHand(by_hand)) => {
                    assert!(!by_hand.lines.is_empty());
                    refusals.insert(by_hand.why);
                }
            }
        }
        assert!(done > 60, "{done}");
        assert!(!refusals.contains(UNPROVED), "{refusals:?}");
        insta::assert_snapshot!(refusals.into_iter().collect::<Vec<_>>().join("\n"));
    }

    /// A small config, with the lines of `emr` and `buckets`.
    fn small(emr: &str, buckets: &str) -> String {
        format!("aws:\n  s3:\n    buckets:\n{buckets}  emr:\n{emr}")
    }

    #[test]
    fn a_value_is_replaced_in_its_own_style_and_what_is_behind_it_stays() {
        for (before, after) in [
            (" false", " true"),
            (" false # not yet", " true # not yet"),
            ("   'no'   # x", "   true   # x"),
            ("", " true"),
            ("  ", " true"),
            (" # soon", " true # soon"),
            ("   # soon", " true   # soon"),
            (" \"true\"", " true"),
            (" 2020-01-01", " true"),
        ] {
            let text = |value: &str| {
                let encrypted = format!("      encrypted:{value}\n");
                small("    security_configuration: acme-1a2b\n", &encrypted)
            };
            assert_eq!(check(&text(before)), text(after), "{before}");
        }
        for (before, after) in [
            ("old", "acme-1a2b"),
            ("'old'", "'acme-1a2b'"),
            ("\"old\" # x", "\"acme-1a2b\" # x"),
            ("1.5", "acme-1a2b"),
            ("~", "acme-1a2b"),
        ] {
            let text = |value: &str| {
                small(&format!("    security_configuration: {value}\n"), "      encrypted: true\n")
            };
            assert_eq!(check(&text(before)), text(after), "{before}");
        }
    }

    #[test]
    fn a_name_is_quoted_where_yaml_needs_it() {
        for (name, written) in [
            ("acme", "acme"),
            ("true", "\"true\""),
            ("No", "\"No\""),
            ("1e3", "\"1e3\""),
            ("a: b #c", "\"a: b #c\""),
            ("x<%= 1 %>", "\"x\\u003c%= 1 %>\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("*a", "\"*a\""),
            ("~", "\"~\""),
            ("ä", "\"ä\""),
        ] {
            let text = small("    security_configuration:\n", "      encrypted: true\n");
            let done = edit(&text, name).unwrap();
            let wanted = small(
                &format!("    security_configuration: {written}\n"),
                "      encrypted: true\n",
            );
            assert_eq!(done.text.reveal(), &wanted);
            hold(&text, name, &done).unwrap();
        }
    }

    #[test]
    fn missing_keys_are_added_in_the_files_own_form() {
        let after = check(&small(
            "    region: x # where\n    ec2_key_name: 'k'\n\n    # jobs\n    jobflow: {a: b}\n",
            "      log: s3://l\n      raw:\n        in: [s3://i]\n",
        ));
        assert_eq!(
            after,
            small(
                "    region: x # where\n    ec2_key_name: 'k'\n    security_configuration: \
                 acme-1a2b\n\n    # jobs\n    jobflow: {a: b}\n",
                "      log: s3://l\n      encrypted: true\n      raw:\n        in: [s3://i]\n",
            )
        );
        let symbols = ":aws:\r\n    :s3:\r\n        :buckets:\r\n            :raw:\r\n\
            \x20               :in: x\r\n    :emr:\r\n        :region: x";
        assert_eq!(
            check(symbols),
            ":aws:\r\n    :s3:\r\n        :buckets:\r\n            :encrypted: true\r\n            \
             :raw:\r\n                :in: x\r\n    :emr:\r\n        :region: x\r\n        \
             :security_configuration: acme-1a2b"
        );
        assert_eq!(
            check("{\"aws\": {\"s3\": {\"buckets\": {\"log\": 1}}, \"emr\": {\"a\":1}}}"),
            "{\"aws\": {\"s3\": {\"buckets\": {\"encrypted\": true, \"log\": 1}}, \"emr\": \
             {\"security_configuration\": \"acme-1a2b\", \"a\":1}}}"
        );
        assert_eq!(
            check("aws:\n  s3:\n    buckets: { }\n  emr: {\n    region: x }\n"),
            "aws:\n  s3:\n    buckets: {encrypted: true}\n  emr: {\n    security_configuration: \
             acme-1a2b,\n    region: x }\n"
        );
        assert_eq!(
            check("aws: {s3: {buckets: {encrypted: , log: x}}, emr: {security_configuration: }}\n"),
            "aws: {s3: {buckets: {encrypted: true , log: x}}, emr: {security_configuration: \
             acme-1a2b }}\n"
        );
    }

    #[test]
    fn erb_on_other_lines_stays_as_it_is() {
        let text = format!("# <%# <aws> %> of <%= ENV['SC'] %>\n{}", recorded());
        let after = check(&text);
        assert!(after.contains("access_key_id: <%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>\n"));
        let unset =
            recorded().replace("ec2_key_name: acme-key", "ec2_key_name: <%= ENV['UNSET'] %>");
        let unset = unset.replace("    security_configuration:\n", "");
        assert!(check(&unset).contains(
            "    ec2_key_name: <%= ENV['UNSET'] %>\n    security_configuration: acme-1a2b\n"
        ));
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_the_lines_to_change_by_hand() {
        let with = |from: &str, to: &str| {
            let text = recorded().replace(from, to);
            assert_ne!(text, recorded(), "{from}");
            refused(&text)
        };
        let cases = [
            with("encrypted: false", "encrypted: <%= ENV['ENC'] %>"),
            with("encrypted: false", "encrypted: false # <%= ENV['ENC'] %>"),
            with("security_configuration:", "security_configuration: <%= ENV['SC'] %>"),
            with("  emr:\n", "  <%= 'emr' %>:\n"),
            with("  emr:\n", "  emr: &emr\n"),
            with("  emr:\n", "  emr: !x\n"),
            with("    ami_version: 5.29.0\n", "    ami_version: 5.29.0\n    <<: {a: b}\n"),
            with("encrypted: false", "encrypted: &no false"),
            with("encrypted: false", "encrypted: false\n      encrypted: false"),
            with("encrypted: false", "encrypted: false\n      :encrypted: true"),
            with("encrypted: false", "encrypted:\n        false"),
            with("encrypted: false", "encrypted: [true]"),
            with("encrypted: false", "encrypted: |\n        true"),
            with("encrypted: false", "? encrypted\n      : false"),
            with("encrypted: false", "encrypted: \"fal\\\n        se\""),
            refused(&format!("{}---\nx: y\n", recorded())),
            refused(&format!("{}# a\u{2028}b\n", recorded())),
            refused(
                &recorded()
                    .replace("log: s3", "log: &l s3")
                    .replace("encrypted: false", "encrypted: *l"),
            ),
            refused(
                "aws: {s3: {region: <%= ENV['SC'] %>, buckets: {encrypted: false}}, emr: {}}\n",
            ),
            refused("aws:\n  s3: {buckets: {log: x}}\n  emr:\n"),
            refused("x: &b {log: y}\naws:\n  s3: {buckets: *b}\n  emr: {a: b}\n"),
        ];
        insta::assert_snapshot!(cases.join("\n\n"));
    }

    #[test]
    fn a_tab_or_yaml_that_does_not_load_is_an_error_of_the_config() {
        for text in [
            recorded().replace("encrypted: false", "encrypted:\tfalse"),
            recorded().replace("encrypted: false", "encrypted: [false"),
            recorded().replace("encrypted: false", "encrypted: <%= `date` %>"),
        ] {
            let error = edit(&text, "acme").unwrap_err();
            assert!(matches!(error, ConfigEditError::Config(_)), "{error}");
        }
        let bytes = with_encryption("config.yml", b"a: \xff\n".to_vec(), "acme", RENDERING);
        assert_eq!(bytes.unwrap_err().to_string(), "config.yml: not valid UTF-8");
    }

    #[test]
    fn a_line_with_a_secret_is_shown_with_a_mask() {
        let text = "aws: {secret_access_key: kd8sKe83mxKd9, s3: {buckets: {encrypted: no}}, \
            emr: {a: b}}\n";
        let done = edit(text, "acme").unwrap();
        let shown = format!("{:?}", done.changes);
        assert!(!shown.contains("kd8sKe83mxKd9") && shown.contains("(masked)"), "{shown}");
        assert_eq!(done.changes.len(), 1, "{shown}");
        let twice = text.replace("encrypted: no", "encrypted: no, encrypted: no");
        let shown = refused(&twice);
        assert!(!shown.contains("kd8sKe83mxKd9") && shown.contains("(masked)"), "{shown}");
    }

    #[test]
    fn a_config_on_standard_input_has_its_lines_told() {
        let config = RunnerConfig::parse("<stdin>", recorded().as_bytes(), &env).unwrap();
        let lines = by_hand_for_stdin(&config, "acme-1a2b").lines();
        insta::assert_snapshot!(lines.iter().map(Printable::as_str).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn the_file_is_replaced_unless_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, recorded()).unwrap();
        let done = edit_file(&file, "acme", RENDERING).unwrap();
        let config = RunnerConfig::parse("config.yml", recorded().as_bytes(), &env).unwrap();
        assert_eq!(done.digest_before(), config.digest);
        done.write(&file).unwrap();
        assert_eq!(&std::fs::read_to_string(&file).unwrap(), done.text.reveal());
        let refused = done.write(&file).unwrap_err();
        assert!(matches!(refused, ReplaceFileError::Changed { .. }), "{refused}");
        edit_file(&file, "acme", RENDERING).unwrap().write(&file).unwrap();
    }

    /// The form of a generated config.
    #[derive(Clone, Debug)]
    #[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
    struct Form {
        colon: bool,
        quoted: bool,
        indent: usize,
        ending: &'static str,
        mark: bool,
        last_ending: bool,
        flow_emr: bool,
        flow_buckets: bool,
    }

    fn forms() -> impl Strategy<Value = Form> {
        let flags = prop::collection::vec(any::<bool>(), 6);
        (flags, 1_usize..5, any::<bool>()).prop_map(|(flags, indent, crlf)| Form {
            colon: flags[0],
            quoted: flags[1] && !flags[0],
            indent,
            ending: if crlf { "\r\n" } else { "\n" },
            mark: flags[2],
            last_ending: flags[3],
            flow_emr: flags[4],
            flow_buckets: flags[5],
        })
    }

    fn entries(
        own: &'static str,
        values: &'static [&'static str],
        others: &'static [&'static str],
    ) -> impl Strategy<Value = Vec<String>> {
        let value = prop::option::of(prop::sample::select(values));
        let others = prop::sample::subsequence(others, 1..=others.len());
        let all = (value, others).prop_map(move |(value, others)| {
            let own_entry = value.map(|value| format!("{own}:{value}"));
            others.into_iter().map(str::to_owned).chain(own_entry).collect::<Vec<_>>()
        });
        all.prop_shuffle()
    }

    /// A block map with comments and blank lines between its entries, or a flow map.
    fn block(form: &Form, depth: usize, entries: &[String], comments: &[u8]) -> String {
        let key = |entry: &String| {
            let (name, value) = entry.split_once(':').unwrap();
            let name = match form {
                Form { colon: true, .. } => format!(":{name}"),
                Form { quoted: true, .. } => format!("\"{name}\""),
                _ => name.to_owned(),
            };
            format!("{name}:{value}")
        };
        let pad = " ".repeat(form.indent * depth);
        let mut text = String::new();
        for (index, entry) in entries.iter().enumerate() {
            text += match comments.get(index).copied().unwrap_or_default() % 4 {
                1 => "# a comment: [with] 'signs' {{ \"\n",
                2 => "\n",
                3 => "      # <%# x %> indented\n",
                _ => "",
            };
            text.extend([pad.as_str(), &key(entry), "\n"]);
        }
        text
    }

    fn flow(entries: &[String]) -> String {
        // libyaml reads a colon only before a blank.
        let entries: Vec<String> = entries
            .iter()
            .map(|entry| if entry.ends_with(':') { format!("{entry} ") } else { entry.clone() })
            .collect();
        format!(" {{{}}}", entries.join(", "))
    }

    proptest! {
        #[test]
        fn any_plain_config_gets_the_two_values_and_nothing_else(
            form in forms(),
            emr in entries(
                "security_configuration",
                &["", " old", " 'x y'", " \"\"", " ~", " acme-1a2b"],
                &[
                    "region: eu-west-1",
                    "ec2_key_name:",
                    "jobflow: {a: b, c: [d]}",
                    "ami_version: '5.29'",
                ],
            ),
            buckets in entries(
                "encrypted",
                &["", " false", " 'no'", " true", " yes", " 0"],
                &[
                    "log: s3://l",
                    "assets: \"s3://a # b\"",
                    "raw: {in: [s3://i]}",
                    "jsonpath_assets:",
                ],
            ),
            comments in prop::collection::vec(any::<u8>(), 16),
            emr_first in any::<bool>(),
        ) {
            let one = |entry: &str| vec![entry.to_owned()];
            let emr_text = if form.flow_emr {
                block(&form, 1, &one(&format!("emr:{}", flow(&emr))), &comments)
            } else {
                block(&form, 1, &one("emr:"), &comments) + &block(&form, 2, &emr, &comments[1..])
            };
            let buckets_text = if form.flow_buckets {
                block(&form, 2, &one(&format!("buckets:{}", flow(&buckets))), &comments)
            } else {
                block(&form, 2, &one("buckets:"), &comments)
                    + &block(&form, 3, &buckets, &comments[6..])
            };
            let s3_text = block(&form, 1, &one("s3:"), &comments[3..]) + &buckets_text;
            let (first, second) = if emr_first { (emr_text, s3_text) } else { (s3_text, emr_text) };
            let key = one("access_key_id: <%= ENV['AWS_SNOWPLOW_ACCESS_KEY'] %>");
            let text = block(&form, 0, &one("aws:"), &comments)
                + &block(&form, 1, &key, &comments[2..])
                + &first
                + &second;
            let text = if form.last_ending { text.as_str() } else { text.trim_end() };
            let mark = if form.mark { "\u{feff}" } else { "" };
            let text = format!("{mark}{}", text.replace('\n', form.ending));
            let done = edit(&text, "acme-1a2b");
            let done = done.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            hold(&text, "acme-1a2b", &done)?;
        }

        #[test]
        fn whatever_is_changed_in_a_config_it_is_edited_rightly_or_refused(
            places in prop::collection::vec(
                (0_usize..2000, 0_usize..20, "[ \\n:#&*!<>%{}\\[\\]'\"|?a-c-]{0,4}"),
                1..4,
            ),
        ) {
            let mut text = recorded().to_owned();
            for (place, length, new) in places {
                let place = place.min(text.len());
                let end = (place + length).min(text.len());
                text.replace_range(place..end, &new);
            }
            if let Ok(done) = edit(&text, "acme-1a2b") {
                hold(&text, "acme-1a2b", &done)?;
            }
        }
    }
}
