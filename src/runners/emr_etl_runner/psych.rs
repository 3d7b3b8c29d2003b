//! YAML as Ruby's Psych loads it, with the keys symbolised as EmrEtlRunner does afterwards.
//!
//! Events come from a port of libyaml, the parser below Psych. What they become follows
//! `lib/psych/visitors/to_ruby.rb` of psych 3.3.2 and 4.0.3 (which agree): duplicate keys, merges
//! in the order they stand, aliases, tags. What would build Ruby objects is refused. Where the
//! reading is definite but misleads people, it is noted as an [`YamlAmbiguity`].

use std::{borrow::Cow, collections::HashMap};

use libyaml_safer::{Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::{
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        erb::Rendered,
        portable::Portable,
        scalar::{RAISES, tokenize},
        yaml_value::{Value, YamlKey, YamlNode},
    },
    system::quietly::quietly,
};

/// Nested deeper than this, a config is refused (the real one has five levels).
const DEEPEST: usize = 32;
/// A config with more values than this, aliases written out, is refused (the real one has sixty).
const MOST: usize = 20_000;

/// A place where Ruby's reading is definite, but not what a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlAmbiguity {
    /// The key's path, with dots.
    pub(crate) path: String,
    /// What happens there.
    pub(crate) what: &'static str,
    /// The place that loses.
    pub(crate) loses: ConfigPosition,
    /// The place that wins.
    pub(crate) wins: ConfigPosition,
}

impl YamlAmbiguity {
    /// Whether it touches a judged key or one of its parents; the whole of `aws` and `monitoring`
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
}

/// Loads the first document of `rendered`, which is all that Ruby loads.
///
/// # Errors
/// [`ConfigError`] with the place in the source for what is no YAML, what MRI's and JRuby's parsers read differently, what builds Ruby objects, or what exceeds a limit.
pub(crate) fn load(rendered: &Rendered) -> Result<Loaded, ConfigError> {
    // The parser has places where it panics on broken input (an unfinished tag is one); that is an
    // answer too, and no reason to end the guard.
    quietly(|| load_document(rendered)).unwrap_or_else(|| {
        Err(ConfigError::at(
            ConfigPosition::START,
            "not valid YAML: the parser gave up on it; look for an unfinished tag (`!`)",
        ))
    })
}

fn load_document(rendered: &Rendered) -> Result<Loaded, ConfigError> {
    let portable = Portable::of(rendered)?;
    // The parser loses its footing on a block scalar that the text's end cuts off; with a newline
    // behind it, it cannot be cut off.
    let text: Cow<'_, str> = if rendered.text.ends_with('\n') {
        Cow::Borrowed(&rendered.text)
    } else {
        Cow::Owned(format!("{}\n", rendered.text))
    };
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut loader = Loader {
        parser,
        rendered,
        anchors: HashMap::new(),
        openings: 0,
        size: 0,
        path: Vec::new(),
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
    let mut path = Vec::new();
    symbolize(&mut root, &mut path, &mut loader.ambiguities);
    Ok(Loaded { root, ambiguities: loader.ambiguities })
}

/// What an anchor stands for.
enum Anchor {
    /// A collection that is still being read; the number tells openings of one name apart.
    Open(usize),
    Closed(YamlNode),
}

struct Loader<'r, 'b> {
    parser: Parser<&'r mut &'b [u8]>,
    rendered: &'b Rendered,
    anchors: HashMap<String, Anchor>,
    openings: usize,
    size: usize,
    path: Vec<String>,
    ambiguities: Vec<YamlAmbiguity>,
    portable: Portable<'b>,
    /// How many brackets and braces are open.
    flow: usize,
}

/// An entry of a map being read.
struct MapEntry {
    key: YamlKey,
    node: YamlNode,
    key_at: ConfigPosition,
    merged: bool,
}

impl Loader<'_, '_> {
    fn next(&mut self) -> Result<Event, ConfigError> {
        self.parser.parse().map_err(|error| {
            let index =
                error.problem_mark().or_else(|| error.context_mark()).map_or(0, |mark| mark.index);
            let context = error.context().map_or_else(String::new, |context| format!(" {context}"));
            ConfigError::at(
                self.source(index),
                format!("not valid YAML: {}{context}", error.problem()),
            )
        })
    }

    fn source(&self, index: u64) -> ConfigPosition {
        self.rendered.source(usize::try_from(index).unwrap_or(usize::MAX))
    }

    fn refuse(&self, event: &Event, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.source(event.start_mark.index), message)
    }

    fn count(&mut self, event: &Event, more: usize) -> Result<(), ConfigError> {
        self.size += more;
        if self.size > MOST {
            return Err(self.refuse(
                event,
                format!("the config has more than {MOST} values, aliases written out"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: &Event, depth: usize) -> Result<YamlNode, ConfigError> {
        let at = self.source(event.start_mark.index);
        if depth > DEEPEST {
            return Err(ConfigError::at(at, format!("nested more than {DEEPEST} levels deep")));
        }
        self.count(event, 1)?;
        match &event.data {
            EventData::Scalar { anchor, tag, value, quoted_implicit, style, .. } => {
                self.portable.scalar(event, *style, value, self.flow > 0)?;
                // Whether such a scalar ends in a newline is then for the added one to say, and it
                // must not.
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block && event.end_mark.index > self.rendered.text.len() as u64 {
                    return Err(ConfigError::at(
                        at,
                        "this block of text ends the config without a newline; end the config with one",
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
                // The alias' own place is where an editor must go.
                Some(Anchor::Closed(node)) => {
                    let node = YamlNode { value: node.value.clone(), at };
                    self.count(event, node.size())?;
                    Ok(node)
                }
                Some(Anchor::Open(_)) => Err(ConfigError::at(
                    at,
                    format!(
                        "the alias `*{anchor}` stands inside what it names; Ruby would never end"
                    ),
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
        match tag {
            // A bare `!` leaves no trace in the event but the place it starts at, and readers
            // differ on it.
            None if self.starts_with_bang(event) => {
                Err(self.refuse(event, "the tag `!` is read differently by different readers; write the value without it"))
            }
            None if plain => self.tokenized(event, value),
            None if quoted_implicit => Ok(Value::Text(value.to_owned())),
            None => Err(self.refuse(event, "this value's tag is read differently by different readers; write the value without it")),
            Some("tag:yaml.org,2002:str" | "!str") => Ok(Value::Text(value.to_owned())),
            Some("tag:yaml.org,2002:float" | "!float") => Ok(match tokenize(value) {
                Value::Float(number) => Value::Float(number),
                _ => return Err(self.refuse(event, "not a plain decimal number, which its tag asks for")),
            }),
            Some(tag) if builds_an_object(tag) => {
                Err(self.refuse(event, format!("the tag `{tag}` makes Ruby build an object; write the value without it")))
            }
            // Psych does not look at any other tag.
            Some(_) => self.tokenized(event, value),
        }
    }

    fn starts_with_bang(&self, event: &Event) -> bool {
        let index = usize::try_from(event.start_mark.index).unwrap_or(usize::MAX);
        // A quoted or plain scalar cannot start with `!` by itself; an anchor before the tag hides
        // it, so that is looked past.
        let start = self.rendered.text.get(index..).unwrap_or_default();
        let after_anchor = if start.starts_with('&') {
            start.split_once([' ', '\n', '\t']).map_or("", |(_, rest)| rest.trim_start())
        } else {
            start
        };
        after_anchor.starts_with('!')
    }

    /// What Psych makes of a plain scalar. One that it raises on ends the load, even where a later
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

    /// Binds the anchor, unless something inside has taken its name since.
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
                return Ok(Value::List(items));
            }
            self.path.push(format!("[{}]", items.len()));
            items.push(self.node(&event, depth + 1)?);
            self.path.pop();
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ConfigError> {
        let mut entries: Vec<MapEntry> = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                return Ok(Value::Map(
                    entries.into_iter().map(|entry| (entry.key, entry.node)).collect(),
                ));
            }
            let key_at = self.source(event.start_mark.index);
            let key = self.node(&event, depth + 1)?;
            let is_tagged_text = matches!(&event.data, EventData::Scalar { tag: Some(tag), .. } if tag == "tag:yaml.org,2002:str");
            let key = as_key(key.value).map_err(|kind| {
                ConfigError::at(
                    key_at,
                    format!("Ruby reads this key as {kind}, not as text; put it in quotes"),
                )
            })?;
            let event = self.next()?;
            self.path.push(key.name.clone());
            let node = self.node(&event, depth + 1)?;
            self.path.pop();
            let is_merge = key.name == "<<" && !key.symbol && !is_tagged_text;
            match merged_entries(&event, &node).filter(|_| is_merge) {
                Some(merged) => {
                    for (key, node) in merged {
                        self.insert(&mut entries, MapEntry { key, node, key_at, merged: true });
                    }
                }
                None => self.insert(&mut entries, MapEntry { key, node, key_at, merged: false }),
            }
        }
    }

    /// Ruby's `hash[key] = value`: the last value wins, at the first one's place.
    fn insert(&mut self, entries: &mut Vec<MapEntry>, entry: MapEntry) {
        let Some(known) = entries.iter_mut().find(|known| known.key == entry.key) else {
            entries.push(entry);
            return;
        };
        // A key of its own after a merge is what merges are for; everything else surprises.
        let what = match (known.merged, entry.merged) {
            (true, _) => None,
            (false, true) => Some("a merge that overrides the key before it"),
            (false, false) => Some("a key that stands twice"),
        };
        if let Some(what) = what {
            let path =
                self.path.iter().chain([&entry.key.name]).cloned().collect::<Vec<_>>().join(".");
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

/// What `<<: value` merges: the entries of a map, or of a list of maps, the first of which wins.
/// `None` where Ruby keeps `<<` as a key.
fn merged_entries(event: &Event, node: &YamlNode) -> Option<Vec<(YamlKey, YamlNode)>> {
    match (&event.data, &node.value) {
        (EventData::Alias { .. } | EventData::MappingStart { .. }, Value::Map(entries)) => {
            Some(entries.clone())
        }
        (EventData::SequenceStart { .. }, Value::List(items)) => {
            let mut merged: Vec<(YamlKey, YamlNode)> = Vec::new();
            for item in items.iter().rev() {
                let Value::Map(entries) = &item.value else { return None };
                for (key, node) in entries {
                    match merged.iter_mut().find(|(known, _)| known == key) {
                        Some((_, known)) => *known = node.clone(),
                        None => merged.push((key.clone(), node.clone())),
                    }
                }
            }
            Some(merged)
        }
        _ => None,
    }
}

/// A loaded key; the error is the kind of what is no key here.
fn as_key(value: Value) -> Result<YamlKey, &'static str> {
    match value {
        Value::Text(name) => Ok(YamlKey { name, symbol: false }),
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
fn symbolize(node: &mut YamlNode, path: &mut Vec<String>, ambiguities: &mut Vec<YamlAmbiguity>) {
    match &mut node.value {
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(format!("[{index}]"));
                symbolize(item, path, ambiguities);
                path.pop();
            }
        }
        Value::Map(entries) => {
            let mut symbolized: Vec<(YamlKey, YamlNode)> = Vec::with_capacity(entries.len());
            for (key, mut child) in std::mem::take(entries) {
                path.push(key.name.clone());
                symbolize(&mut child, path, ambiguities);
                let key = YamlKey { symbol: true, ..key };
                match symbolized.iter_mut().find(|(known, _)| *known == key) {
                    None => symbolized.push((key, child)),
                    Some((_, known)) => {
                        let what = "a key that stands once as text and once as a symbol";
                        ambiguities.push(YamlAmbiguity {
                            path: path.join("."),
                            what,
                            loses: known.at,
                            wins: child.at,
                        });
                        *known = child;
                    }
                }
                path.pop();
            }
            *entries = symbolized;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<YamlNode, String> {
        load(&Rendered::from_rendered(text))
            .map(|loaded| loaded.root)
            .map_err(|error| error.to_string())
    }

    fn text_at(text: &str, path: &[&str]) -> String {
        match loaded(text).unwrap().find(path).map(|node| &node.value) {
            Some(Value::Text(text)) => text.clone(),
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
        // An inner anchor of the same name outlives the outer one, which Ruby has registered first.
        assert_eq!(text_at("a: &x {b: &x inner}\nc: *x\n", &["c"]), "inner");
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
