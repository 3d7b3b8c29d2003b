//! YAML as Ruby's Psych loads it: YAML 1.1, for the documents whose reading is beyond doubt.
//!
//! Events come from a port of libyaml, the parser below Psych; what a plain scalar means is decided here by the expressions
//! of Psych's own `ScalarTokenizer`. Where Ruby makes something surprising of a value (a date, a symbol, an octal number), and for anchors, tags,
//! merges, duplicate keys and further documents, loading stops with an error that says what Ruby would read and how to write it plainly.

use std::sync::LazyLock;

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};
use regex::Regex;

use super::{ConfigError, Position, erb::Rendered};

/// Nested deeper than this, a config is refused (the real one has five levels).
const DEEPEST: usize = 32;

/// A value and where it stands in the source.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
}

/// What Ruby holds after loading, as far as a runner config needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Value {
    /// The kind in the words of an error message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Positions do not count: two nodes are equal when Ruby would hold equal values.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// The node under `key`, when this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The node at the end of `path`.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Sets `key` in this map, which must be one; gives back what stood there.
    pub(crate) fn set(&mut self, key: &str, value: Value) -> Result<Option<Self>, ConfigError> {
        let at = self.at;
        let Value::Map(entries) = &mut self.value else {
            return Err(ConfigError::at(at, format!("expected a map here, to set `{key}` in it")));
        };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, node)) => {
                let node_at = node.at;
                Ok(Some(std::mem::replace(node, Self { value, at: node_at })))
            }
            None => {
                entries.push((key.to_owned(), Self { value, at }));
                Ok(None)
            }
        }
    }

    /// The node at the end of `path`, to change it.
    pub(crate) fn find_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, wanted| {
            let Value::Map(entries) = &mut node.value else { return None };
            entries.iter_mut().find(|(name, _)| name == wanted).map(|(_, node)| node)
        })
    }
}

/// Loads the only document of `rendered`.
///
/// # Errors
/// [`ConfigError`] with the place in the source for anything whose reading by Ruby is not plain.
pub(crate) fn load(rendered: &Rendered) -> Result<Node, ConfigError> {
    let mut bytes = rendered.text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut loader = Loader { parser, rendered };
    let first = loader.next()?;
    debug_assert!(matches!(first.data, EventData::StreamStart { .. }));
    let start = loader.next()?;
    if matches!(start.data, EventData::StreamEnd) {
        return Err(ConfigError::at(Position::START, "the config is empty"));
    }
    let event = loader.next()?;
    let root = loader.node(&event, 0)?;
    loader.next()?;
    let end = loader.next()?;
    if !matches!(end.data, EventData::StreamEnd) {
        return Err(loader.refuse(&end, "a second document starts here, which Ruby would silently ignore; remove it"));
    }
    Ok(root)
}

struct Loader<'r, 'b> {
    parser: Parser<&'r mut &'b [u8]>,
    rendered: &'b Rendered,
}

impl Loader<'_, '_> {
    fn next(&mut self) -> Result<Event, ConfigError> {
        self.parser.parse().map_err(|error| {
            let index = error.problem_mark().or_else(|| error.context_mark()).map_or(0, |mark| mark.index);
            let context = error.context().map_or_else(String::new, |context| format!(" {context}"));
            ConfigError::at(self.source(index), format!("not valid YAML: {}{context}", error.problem()))
        })
    }

    fn source(&self, index: u64) -> Position {
        self.rendered.source(usize::try_from(index).unwrap_or(usize::MAX))
    }

    fn refuse(&self, event: &Event, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.source(event.start_mark.index), message)
    }

    fn plain_node(&self, event: &Event, anchor: Option<&String>, tag: Option<&String>) -> Result<(), ConfigError> {
        if let Some(anchor) = anchor {
            return Err(self.refuse(event, format!("the anchor `&{anchor}` is not supported yet; write the value out")));
        }
        if let Some(tag) = tag {
            return Err(self.refuse(event, format!("the tag `{tag}` is not supported; write the value without it")));
        }
        Ok(())
    }

    fn node(&mut self, event: &Event, depth: usize) -> Result<Node, ConfigError> {
        let at = self.source(event.start_mark.index);
        if depth > DEEPEST {
            return Err(ConfigError::at(at, format!("nested more than {DEEPEST} levels deep")));
        }
        let value = match &event.data {
            EventData::Scalar { anchor, tag, value, style, .. } => {
                self.plain_node(event, anchor.as_ref(), tag.as_ref())?;
                if *style == ScalarStyle::Plain {
                    resolve(value)
                        .map_err(|surprise| self.refuse(event, format!("Ruby reads this value as {surprise}; put it in quotes to keep it as text")))?
                } else {
                    Value::Text(value.clone())
                }
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                self.plain_node(event, anchor.as_ref(), tag.as_ref())?;
                self.list(depth)?
            }
            EventData::MappingStart { anchor, tag, .. } => {
                self.plain_node(event, anchor.as_ref(), tag.as_ref())?;
                self.map(depth)?
            }
            EventData::Alias { anchor } => {
                return Err(self.refuse(event, format!("the alias `*{anchor}` is not supported yet; write the value out")));
            }
            other => return Err(self.refuse(event, format!("unexpected YAML event {other:?}"))),
        };
        Ok(Node { value, at })
    }

    fn list(&mut self, depth: usize) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(&event, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ConfigError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                return Ok(Value::Map(entries));
            }
            let key_event_index = event.start_mark.index;
            let key = self.node(&event, depth + 1)?;
            let place = self.source(key_event_index);
            let Value::Text(name) = key.value else {
                return Err(ConfigError::at(place, format!("Ruby reads this key as {}, not as text; put it in quotes", key.value.kind())));
            };
            if name == "<<" {
                return Err(ConfigError::at(place, "the merge `<<` is not supported yet; write the keys out"));
            }
            if let Some((_, earlier)) = entries.iter().find(|(known, _)| *known == name) {
                return Err(ConfigError::at(
                    place,
                    format!("the key `{name}` stands twice in this map (first at {}); Ruby would take the last; remove one", earlier.at),
                ));
            }
            let event = self.next()?;
            let node = self.node(&event, depth + 1)?;
            entries.push((name, node));
        }
    }
}

/// What Psych makes of a plain scalar; the error names the surprising thing it would become.
///
/// Source: `Psych::ScalarTokenizer#tokenize`, and the recorded cases in `tests/recordings/config-loading.jsonl`.
fn resolve(text: &str) -> Result<Value, &'static str> {
    static SURPRISES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
        [
            (r"^-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d", "a time"),
            (r"^\d{4}-\d{1,2}-\d{1,2}$", "a date"),
            (r"(?i)^[-+]?\.(inf|nan)$", "a special number"),
            (r"^:.", "a symbol"),
            (r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$", "a number to base 60"),
            (r"^[-+]?0[0-7_,]+$", "an octal number"),
            (r"^[-+]?0x[0-9a-fA-F_,]+$", "a hexadecimal number"),
            (r"^[-+]?0b[01_,]+$", "a binary number"),
            (r"^[-+]?[0-9][0-9_,]*[_,][0-9_,]*$", "a number"),
            (r"^[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][+-][0-9]+)?$", "a number"),
            (r"^[-+]?[0-9][0-9_,]*(\.[0-9_,]*)?([eE][-+]?[0-9]+)$", "a number in some versions of Ruby"),
        ]
        .into_iter()
        .filter_map(|(expression, name)| Some((Regex::new(expression).ok()?, name)))
        .collect()
    });

    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "" | "~" | "null" => return Ok(Value::Null),
        "yes" | "true" | "on" => return Ok(Value::Bool(true)),
        "no" | "false" | "off" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if decimal(digits) && (digits == "0" || !digits.starts_with('0')) {
        return text.parse().map(Value::Integer).map_err(|_| "a number too large to judge");
    }
    if let Some((whole, fraction)) = digits.split_once('.')
        && decimal(whole)
        && decimal(fraction)
    {
        return text.parse().map(Value::Float).map_err(|_| "a number");
    }
    match SURPRISES.iter().find(|(expression, _)| expression.is_match(text)) {
        Some((_, surprise)) => Err(surprise),
        None => Ok(Value::Text(text.to_owned())),
    }
}
