//! YAML as Ruby's Psych loads it, with the keys symbolised as EmrEtlRunner does afterwards.
//!
//! The events come from a port of libyaml, the parser that Psych uses. Their conversion follows
//! `lib/psych/visitors/to_ruby.rb` of psych 3.3.2 and 4.0.3 (which agree): duplicate keys, merges
//! in document order, aliases, tags. Tags that would build Ruby objects are rejected. Where the
//! result is definite but misleads people, it is recorded as an [`YamlAmbiguity`].

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    io::BufReader,
    sync::Arc,
};

use libyaml_safer::{Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::{
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        erb::{EmptyTag, Rendered},
        mistakes,
        portable::Portable,
        scalar::{RAISES, tokenize},
        yaml_value::{Value, Weight, YamlKey, YamlNode},
    },
    system::quietly::quietly,
};

/// The maximum depth of a config (the real one has five levels).
const DEEPEST: usize = 32;
/// The maximum number of values in a config, aliases expanded (the real one has sixty).
const MOST: usize = 20_000;
/// The maximum number of bytes of texts and keys in a config, aliases expanded (the real one has 2
/// KiB): the sealed form has no aliases.
const MOST_BYTES: usize = 2 << 20;
/// The maximum total length of the keys above a value in bytes (the real ones have forty).
const LONGEST_PATH: usize = 1024;
/// The parser stores its input as characters of four bytes each; this is the number of bytes that
/// it gets at once.
const INPUT_AT_ONCE: usize = 8 << 10;

/// A place that a person is likely to read differently than Ruby does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlAmbiguity {
    /// The key's path, with dots.
    pub(crate) path: String,
    /// What the parser does there.
    pub(crate) what: &'static str,
    /// The position of the dropped value.
    pub(crate) loses: ConfigPosition,
    /// The position of the effective value.
    pub(crate) wins: ConfigPosition,
}

impl YamlAmbiguity {
    /// Whether it affects a checked key or one of its parents; the whole of `aws` and `monitoring`
    /// counts.
    pub(crate) fn is_judged(&self) -> bool {
        matches!(self.path.split('.').next(), None | Some("" | "aws" | "monitoring"))
    }
}

/// A loaded document.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) root: YamlNode,
    pub(crate) ambiguities: Vec<YamlAmbiguity>,
    /// Tags of its ERB that printed nothing.
    pub(crate) empty_tags: Vec<EmptyTag>,
}

/// Loads the first document of `rendered`, which is all that Ruby loads.
///
/// # Errors
/// [`ConfigError`] with the source position for invalid YAML, for YAML that MRI's and JRuby's
/// parsers read differently, for tags that build Ruby objects, and for exceeded limits.
pub(crate) fn load(rendered: &Rendered) -> Result<Loaded, ConfigError> {
    // The parser panics on some invalid input (such as an unfinished tag). That counts as an error,
    // and must not end the guard.
    quietly(|| load_document(rendered)).unwrap_or_else(|| {
        Err(ConfigError::at(
            ConfigPosition::START,
            "not valid YAML: the parser gave up on it; look for an unfinished tag (`!`)",
        ))
    })
}

fn load_document(rendered: &Rendered) -> Result<Loaded, ConfigError> {
    let portable = Portable::of(rendered)?;
    // The parser fails on a block scalar that the end of the text cuts off; an added newline
    // prevents that.
    let text: Cow<'_, str> = if rendered.text.ends_with('\n') {
        Cow::Borrowed(&rendered.text)
    } else {
        Cow::Owned(format!("{}\n", rendered.text))
    };
    let mut parser = Parser::new();
    parser.set_input(BufReader::with_capacity(INPUT_AT_ONCE, text.as_bytes()));
    let mut loader = Loader {
        parser,
        rendered,
        anchors: HashMap::new(),
        openings: 0,
        weight: Weight::default(),
        path: KeyPath::default(),
        ambiguities: Vec::new(),
        portable,
        flow: 0,
    };
    loader.next()?;
    let start = loader.next()?;
    if matches!(start.data, EventData::StreamEnd) {
        return Err(ConfigError::at(ConfigPosition::START, "the config is empty"));
    }
    let event = loader.next()?;
    let mut root = loader.node(&event, 0)?;
    // The end of the document.
    loader.next()?;
    let after = loader.next()?;
    let mut end = rendered.text.len();
    if !matches!(after.data, EventData::StreamEnd) {
        end = usize::try_from(after.start_mark.index).unwrap_or(usize::MAX).min(end);
        let loses = loader.source(after.start_mark.index);
        loader.ambiguities.push(YamlAmbiguity {
            path: String::new(),
            what: "a second document, which Ruby ignores",
            loses,
            wins: root.at,
        });
    }
    loader.portable.refuse_tabs(end)?;
    symbolize(&mut root, &mut KeyPath::default(), &mut loader.ambiguities)?;
    Ok(Loaded { root, ambiguities: loader.ambiguities, empty_tags: rendered.empty_tags.clone() })
}

/// The target of an anchor.
enum Anchor {
    /// A collection that is still being read; the number distinguishes anchors with the same name.
    Open(usize),
    Closed(YamlNode),
}

/// The keys above a value.
#[derive(Debug, Default)]
struct KeyPath {
    keys: Vec<String>,
    bytes: usize,
}

impl KeyPath {
    /// Enters a key at position `at`.
    ///
    /// # Errors
    /// [`ConfigError`] when the keys have more than [`LONGEST_PATH`] bytes.
    fn push(&mut self, key: String, at: ConfigPosition) -> Result<(), ConfigError> {
        self.bytes += key.len();
        if self.bytes > LONGEST_PATH {
            return Err(ConfigError::at(
                at,
                format!("the keys above this value have more than {LONGEST_PATH} bytes together"),
            ));
        }
        self.keys.push(key);
        Ok(())
    }

    fn pop(&mut self) {
        self.bytes -= self.keys.pop().map_or(0, |key| key.len());
    }

    /// With dots.
    fn dotted(&self) -> String {
        self.keys.join(".")
    }
}

/// The entries of a map in Ruby's order, each found by its key.
struct Entries<E> {
    entries: Vec<E>,
    places: HashMap<YamlKey, usize>,
}

impl<E> Entries<E> {
    fn new() -> Self {
        Self { entries: Vec::new(), places: HashMap::new() }
    }

    /// Adds an entry; if the key exists already, returns the existing entry and the new one.
    fn add(&mut self, key: &YamlKey, entry: E) -> Option<(&mut E, E)> {
        match self.places.entry(key.clone()) {
            Entry::Occupied(place) => Some((&mut self.entries[*place.get()], entry)),
            Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push(entry);
                None
            }
        }
    }
}

struct Loader<'b> {
    parser: Parser<BufReader<&'b [u8]>>,
    rendered: &'b Rendered,
    anchors: HashMap<String, Anchor>,
    openings: usize,
    weight: Weight,
    path: KeyPath,
    ambiguities: Vec<YamlAmbiguity>,
    portable: Portable<'b>,
    /// The number of open brackets and braces.
    flow: usize,
}

/// An entry of a map while it is read.
struct MapEntry {
    key: YamlKey,
    node: YamlNode,
    key_at: ConfigPosition,
    merged: bool,
}

impl Loader<'_> {
    fn next(&mut self) -> Result<Event, ConfigError> {
        self.parser.parse().map_err(|error| {
            let index =
                error.problem_mark().or_else(|| error.context_mark()).map_or(0, |mark| mark.index);
            let context = error.context().map_or_else(String::new, |context| format!(" {context}"));
            let problem = format!("{}{context}", error.problem());
            let place = usize::try_from(index).unwrap_or(usize::MAX);
            // The parser stops after many a mistake, not at it.
            match mistakes::at(&self.rendered.text, place) {
                Some(mistake) => ConfigError::at(
                    self.rendered.source(mistake.index),
                    format!(
                        "{} (not valid YAML at {}: {problem})",
                        mistake.what,
                        self.source(index)
                    ),
                ),
                None => ConfigError::at(self.source(index), format!("not valid YAML: {problem}")),
            }
        })
    }

    fn source(&self, index: u64) -> ConfigPosition {
        self.rendered.source(usize::try_from(index).unwrap_or(usize::MAX))
    }

    fn refuse(&self, event: &Event, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.source(event.start_mark.index), message)
    }

    fn count(&mut self, at: ConfigPosition, more: Weight) -> Result<(), ConfigError> {
        self.weight += more;
        if self.weight.values > MOST {
            return Err(ConfigError::at(
                at,
                format!("the config has more than {MOST} values, aliases written out"),
            ));
        }
        if self.weight.bytes > MOST_BYTES {
            return Err(ConfigError::at(
                at,
                format!("the config has more than {MOST_BYTES} bytes of text, aliases written out"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: &Event, depth: usize) -> Result<YamlNode, ConfigError> {
        let at = self.source(event.start_mark.index);
        if depth > DEEPEST {
            return Err(ConfigError::at(at, format!("nested more than {DEEPEST} levels deep")));
        }
        self.count(at, Weight { values: 1, bytes: 0 })?;
        match &event.data {
            EventData::Scalar { anchor, tag, value, quoted_implicit, style, .. } => {
                self.count(at, Weight { values: 0, bytes: value.len() })?;
                self.portable.scalar(event, *style, value, self.flow > 0)?;
                // Whether such a scalar ends in a newline would depend on the added one, which must
                // not be.
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block && event.end_mark.index > self.rendered.text.len() as u64 {
                    return Err(ConfigError::at(
                        at,
                        "this block of text ends the config without a newline; end the config \
                         with one",
                    ));
                }
                let value = self.scalar(
                    event,
                    tag.as_deref(),
                    value,
                    *style == ScalarStyle::Plain,
                    *quoted_implicit,
                )?;
                let node = YamlNode { value, at };
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor.clone(), Anchor::Closed(node.clone()));
                }
                Ok(node)
            }
            EventData::SequenceStart { anchor, tag, style, .. } => {
                self.plain_tag(event, tag.as_deref())?;
                let opening = self.open(anchor.as_ref());
                let flow = usize::from(*style == SequenceStyle::Flow);
                self.flow += flow;
                let node = YamlNode { value: self.list(depth)?, at };
                self.flow -= flow;
                self.close(anchor.as_ref(), opening, &node);
                Ok(node)
            }
            EventData::MappingStart { anchor, tag, style, .. } => {
                self.plain_tag(event, tag.as_deref())?;
                let opening = self.open(anchor.as_ref());
                let flow = usize::from(*style == MappingStyle::Flow);
                self.flow += flow;
                let node = YamlNode { value: self.map(depth)?, at };
                self.flow -= flow;
                self.close(anchor.as_ref(), opening, &node);
                Ok(node)
            }
            EventData::Alias { anchor } => match self.anchors.get(anchor) {
                // The position of the alias itself is what must be edited.
                Some(Anchor::Closed(node)) => {
                    let node = YamlNode { value: node.value.clone(), at };
                    self.count(at, node.weight())?;
                    Ok(node)
                }
                Some(Anchor::Open(_)) => Err(ConfigError::at(
                    at,
                    format!("the alias `*{anchor}` is inside what it names; Ruby would never end"),
                )),
                None => Err(ConfigError::at(
                    at,
                    format!("the alias `*{anchor}` names no anchor before it"),
                )),
            },
            other => Err(ConfigError::at(at, format!("unexpected YAML event {other:?}"))),
        }
    }

    fn scalar(
        &self,
        event: &Event,
        tag: Option<&str>,
        value: &str,
        plain: bool,
        quoted_implicit: bool,
    ) -> Result<Value, ConfigError> {
        let has_bang = self.portable.has_tag(event)?;
        match tag {
            // A bare `!` leaves no trace in the event except its start position, and parsers differ
            // on it.
            None if has_bang => Err(self.refuse(
                event,
                "the tag `!` is read differently by different readers; \
                    write the value without it",
            )),
            None if plain => self.tokenized(event, value),
            None if quoted_implicit => Ok(Value::Text(value.into())),
            None => Err(self.refuse(
                event,
                "this value's tag is read differently by different \
                readers; write the value without it",
            )),
            Some("tag:yaml.org,2002:str" | "!str") => Ok(Value::Text(value.into())),
            Some("tag:yaml.org,2002:float" | "!float") => Ok(match tokenize(value) {
                Value::Float(number) => Value::Float(number),
                _ => {
                    return Err(self.refuse(
                        event,
                        "not a plain decimal number, which its tag \
                    asks for",
                    ));
                }
            }),
            Some(tag) if builds_an_object(tag) => Err(self.refuse(
                event,
                format!(
                    "the tag `{tag}` makes Ruby build an object; write \
                    the value without it"
                ),
            )),
            // Psych ignores any other tag.
            Some(_) => self.tokenized(event, value),
        }
    }

    /// What Psych converts a plain scalar to. One that it raises on ends the load, even if a later
    /// key would replace it.
    fn tokenized(&self, event: &Event, value: &str) -> Result<Value, ConfigError> {
        match tokenize(value) {
            Value::Other { kind, .. } if kind == RAISES => Err(self.refuse(
                event,
                "Ruby takes this for a number, and then cannot read it; put it in quotes",
            )),
            value => Ok(value),
        }
    }

    fn plain_tag(&self, event: &Event, tag: Option<&str>) -> Result<(), ConfigError> {
        self.portable.has_tag(event)?;
        match tag {
            Some(tag)
                if builds_an_object(tag) || matches!(tag, "tag:yaml.org,2002:str" | "!str") =>
            {
                Err(self.refuse(
                    event,
                    format!(
                        "the tag `{tag}` makes Ruby build an object; write the value without it"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, anchor: Option<&String>) -> usize {
        self.openings += 1;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), Anchor::Open(self.openings));
        }
        self.openings
    }

    /// Binds the anchor, unless an inner one has the same name.
    fn close(&mut self, anchor: Option<&String>, opening: usize, node: &YamlNode) {
        let Some(anchor) = anchor else { return };
        if matches!(self.anchors.get(anchor), Some(Anchor::Open(open)) if *open == opening) {
            self.anchors.insert(anchor.clone(), Anchor::Closed(node.clone()));
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Ok(Value::List(Arc::new(items)));
            }
            let at = self.source(event.start_mark.index);
            self.path.push(format!("[{}]", items.len()), at)?;
            items.push(self.node(&event, depth + 1)?);
            self.path.pop();
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ConfigError> {
        let mut entries = Entries::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                let entries =
                    entries.entries.into_iter().map(|entry: MapEntry| (entry.key, entry.node));
                return Ok(Value::Map(Arc::new(entries.collect())));
            }
            let key_at = self.source(event.start_mark.index);
            let key = self.node(&event, depth + 1)?;
            let is_tagged_text = matches!(
                &event.data,
                EventData::Scalar { tag: Some(tag), .. } if tag == "tag:yaml.org,2002:str"
            );
            let key = as_key(key.value).map_err(|kind| {
                let start = usize::try_from(event.start_mark.index).unwrap_or(usize::MAX);
                // `{{NAME}}` is a map with a map as key.
                let outer = self.rendered.text.get(start.saturating_sub(1)..).unwrap_or_default();
                let placeholder = mistakes::placeholder(outer.lines().next().unwrap_or_default());
                let what = match placeholder.filter(|(place, _)| *place == 0) {
                    Some((_, placeholder)) => mistakes::unrendered(placeholder),
                    None => format!("Ruby reads this key as {kind}, not as text; put it in quotes"),
                };
                ConfigError::at(key_at, what)
            })?;
            let event = self.next()?;
            self.path.push(key.name.clone(), key_at)?;
            let node = self.node(&event, depth + 1)?;
            self.path.pop();
            let is_merge = key.name == "<<" && !key.symbol && !is_tagged_text;
            match merged_entries(&event, &node).filter(|_| is_merge) {
                Some(merged) => {
                    for (key, node) in merged.iter().cloned() {
                        self.insert(&mut entries, MapEntry { key, node, key_at, merged: true });
                    }
                }
                None => self.insert(&mut entries, MapEntry { key, node, key_at, merged: false }),
            }
        }
    }

    /// Ruby's `hash[key] = value`: the last value wins, in the first one's place.
    fn insert(&mut self, entries: &mut Entries<MapEntry>, entry: MapEntry) {
        let key = entry.key.clone();
        let Some((known, entry)) = entries.add(&key, entry) else { return };
        // A key after a merge is the purpose of merges; every other duplicate is surprising.
        let what = match (known.merged, entry.merged) {
            (true, _) => None,
            (false, true) => Some("a merge that overrides the key before it"),
            (false, false) => Some("a key that is there twice"),
        };
        if let Some(what) = what {
            let above = self.path.dotted();
            let path = if above.is_empty() { key.name } else { format!("{above}.{}", key.name) };
            self.ambiguities.push(YamlAmbiguity {
                path,
                what,
                loses: known.key_at,
                wins: entry.key_at,
            });
        }
        *known = entry;
    }
}

/// The entries that `<<: value` merges: those of a map, or of a list of maps, the first of which
/// wins. `None` where Ruby keeps `<<` as a key.
fn merged_entries(event: &Event, node: &YamlNode) -> Option<Arc<Vec<(YamlKey, YamlNode)>>> {
    match (&event.data, &node.value) {
        (EventData::Alias { .. } | EventData::MappingStart { .. }, Value::Map(entries)) => {
            Some(Arc::clone(entries))
        }
        (EventData::SequenceStart { .. }, Value::List(items)) => {
            let mut merged = Entries::new();
            for item in items.iter().rev() {
                let Value::Map(entries) = &item.value else { return None };
                for (key, node) in entries.iter() {
                    if let Some((known, entry)) = merged.add(key, (key.clone(), node.clone())) {
                        *known = entry;
                    }
                }
            }
            Some(Arc::new(merged.entries))
        }
        _ => None,
    }
}

/// A loaded key; the error is the kind of an unsupported key.
fn as_key(value: Value) -> Result<YamlKey, &'static str> {
    match value {
        Value::Text(name) => Ok(YamlKey { name: name.as_ref().to_owned(), symbol: false }),
        // `:"a b"` has rules of its own.
        Value::Other { kind: "a symbol", text } if !text.contains(['"', '\'']) => {
            Ok(YamlKey { name: text.strip_prefix(':').unwrap_or(&text).to_owned(), symbol: true })
        }
        other => Err(other.kind()),
    }
}

/// Tags for which Psych does more than read the value.
fn builds_an_object(tag: &str) -> bool {
    tag.starts_with("!ruby/")
        || tag.starts_with("!str:")
        || tag.starts_with("!map:")
        || tag.starts_with("!seq:")
        || tag.starts_with("tag:ruby")
        || matches!(
            tag,
            "!binary"
                | "tag:yaml.org,2002:binary"
                | "!set"
                | "tag:yaml.org,2002:set"
                | "!omap"
                | "tag:yaml.org,2002:omap"
                | "!struct"
                | "tag:yaml.org,2002:merge"
        )
}

/// `recursive_symbolize_keys`: `a` and `:a` become one key; the later of the two wins.
///
/// # Errors
/// [`ConfigError`] when an alias has put a value below more keys than may stand above one.
fn symbolize(
    node: &mut YamlNode,
    path: &mut KeyPath,
    ambiguities: &mut Vec<YamlAmbiguity>,
) -> Result<(), ConfigError> {
    match &mut node.value {
        Value::List(items) => {
            for (index, item) in Arc::make_mut(items).iter_mut().enumerate() {
                path.push(format!("[{index}]"), item.at)?;
                symbolize(item, path, ambiguities)?;
                path.pop();
            }
        }
        Value::Map(entries) => {
            let mut symbolized = Entries::new();
            for (key, mut child) in std::mem::take(Arc::make_mut(entries)) {
                path.push(key.name.clone(), child.at)?;
                symbolize(&mut child, path, ambiguities)?;
                let key = YamlKey { symbol: true, ..key };
                let symbol = key.clone();
                if let Some(((_, known), (_, child))) = symbolized.add(&symbol, (key, child)) {
                    let what = "a key that stands once as text and once as a symbol";
                    ambiguities.push(YamlAmbiguity {
                        path: path.dotted(),
                        what,
                        loses: known.at,
                        wins: child.at,
                    });
                    *known = child;
                }
                path.pop();
            }
            *entries = Arc::new(symbolized.entries);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<YamlNode, String> {
        Rendered::from_rendered(text)
            .and_then(|rendered| load(&rendered))
            .map(|loaded| loaded.root)
            .map_err(|error| error.to_string())
    }

    fn text_at(text: &str, path: &[&str]) -> String {
        match loaded(text).unwrap().find(path).map(|node| &node.value) {
            Some(Value::Text(text)) => text.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_merge_takes_effect_where_it_stands_and_the_first_of_several_wins() {
        assert_eq!(
            text_at("x: &x {a: x}\ny: &y {a: y, b: y}\nm: {<<: [*x, *y]}\n", &["m", "a"]),
            "x"
        );
        assert_eq!(
            text_at("x: &x {a: x}\ny: &y {a: y, b: y}\nm: {<<: [*x, *y]}\n", &["m", "b"]),
            "y"
        );
        assert_eq!(text_at("x: &x {a: x}\nm: {a: own, <<: *x}\n", &["m", "a"]), "x");
        assert_eq!(text_at("x: &x {a: x}\nm: {<<: *x, a: own}\n", &["m", "a"]), "own");
        assert_eq!(text_at("m: {<<: text}\n", &["m", "<<"]), "text");
        assert_eq!(text_at("m: {<<: {a: x}}\n", &["m", "a"]), "x");
    }

    #[test]
    fn an_anchor_means_what_it_meant_last() {
        assert_eq!(text_at("a: &x one\nb: *x\nc: &x two\nd: *x\n", &["b"]), "one");
        assert_eq!(text_at("a: &x one\nb: *x\nc: &x two\nd: *x\n", &["d"]), "two");
        // An inner anchor of the same name takes precedence over the outer one, which Ruby
        // registers first.
        assert_eq!(text_at("a: &x {b: &x inner}\nc: *x\n", &["c"]), "inner");
    }

    #[test]
    fn an_alias_is_a_reference_to_what_its_anchor_named() {
        let root = loaded("a: &x [&t text]\nb: *x\nc: {<<: {k: *x}}\nd: *t\n").unwrap();
        let list = |path: &[&str]| match root.find(path).map(|node| &node.value) {
            Some(Value::List(items)) => Arc::clone(items),
            other => panic!("{other:?}"),
        };
        let text = |node: &YamlNode| match &node.value {
            Value::Text(text) => Arc::clone(text),
            other => panic!("{other:?}"),
        };
        let named = text(&list(&["a"])[0]);
        for path in [&["b"][..], &["c", "k"]] {
            assert!(Arc::ptr_eq(&text(&list(path)[0]), &named), "{path:?}");
        }
        assert!(Arc::ptr_eq(&text(root.find(&["d"]).unwrap()), &named));
    }

    #[test]
    fn values_and_texts_are_counted_with_their_aliases_written_out() {
        let refusal = |text: String| loaded(&text).unwrap_err();
        let aliases = |number| vec!["*x"; number].join(", ");
        assert_eq!(
            refusal(format!("a: &x \"{}\"\nb: [{}]\n", "x".repeat(50_000), aliases(41))),
            "2:165: the config has more than 2097152 bytes of text, aliases written out"
        );
        assert!(
            loaded(&format!("a: &x \"{}\"\nb: [{}]\n", "x".repeat(50_000), aliases(40))).is_ok()
        );
        assert_eq!(
            refusal(format!("a: &x [1, 2]\nb: [{}]\n", aliases(7000))),
            "2:19997: the config has more than 20000 values, aliases written out"
        );
        assert_eq!(
            refusal(format!("a: &x {{? {} : 1}}\nb: [*x]\n", "k".repeat(1023))),
            "1:1036: the keys above this value have more than 1024 bytes together"
        );
        // An alias puts its value below other keys than the anchor did.
        let half = "k".repeat(600);
        assert_eq!(
            refusal(format!("x: &x {{{half}: 1}}\ny: {{{half}: *x}}\n")),
            "1:610: the keys above this value have more than 1024 bytes together"
        );
    }

    #[test]
    fn an_anchor_is_no_tag_for_what_stands_behind_its_value() {
        let root = loaded("[&a, b, &c d]").unwrap();
        let Value::List(items) = root.value else { panic!() };
        assert_eq!(items.len(), 3);
    }

    #[test]
    fn only_one_colon_makes_a_symbol() {
        let root = loaded("::: x\n:a: y\n").unwrap();
        let Value::Map(entries) = root.value else { panic!() };
        let names: Vec<&str> = entries.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, [":", "a"]);
    }

    #[test]
    fn what_the_parser_panics_on_is_refused() {
        for text in ["{!,", "[!!str, a]", "!a%ff b", "a: !x, b\n"] {
            drop(loaded(text));
        }
        assert!(loaded("[!!str, a]").unwrap_err().contains("the parser gave up"));
    }
}
