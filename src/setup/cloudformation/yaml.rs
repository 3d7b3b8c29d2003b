//! YAML with CloudFormation's short tags (`!Sub`), printed with comments.

use serde_json::Value;

use crate::setup::code::wrapped;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TemplateNode {
    /// A text, quoted where YAML would read something else.
    Text(String),
    /// A number or truth value.
    Raw(String),
    /// A mapping.
    Map(Vec<TemplateEntry>),
    /// A sequence.
    List(Vec<TemplateNode>),
    /// A tag with its value: `!Sub text`.
    Tagged(&'static str, Box<TemplateNode>),
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TemplateEntry {
    /// The comment above it: lines that are wrapped.
    pub(super) comment: Vec<String>,
    /// Its key.
    pub(super) key: String,
    /// Its value.
    pub(super) value: TemplateNode,
}

impl TemplateNode {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A mapping without comments.
    pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| TemplateEntry::new(key, value)).collect())
    }

    /// `!Ref name`.
    pub(super) fn reference(name: impl Into<String>) -> Self {
        Self::Tagged("!Ref", Box::new(Self::text(name)))
    }

    /// `!GetAtt name.attribute`.
    pub(super) fn attribute(name: &str, attribute: &str) -> Self {
        Self::Tagged("!GetAtt", Box::new(Self::text(format!("{name}.{attribute}"))))
    }

    /// A JSON value, with `text` for its texts.
    pub(super) fn of_json(value: &Value, text: &dyn Fn(&str) -> Self) -> Self {
        match value {
            Value::Null => Self::Raw("null".to_owned()),
            Value::Bool(value) => Self::Raw(value.to_string()),
            Value::Number(number) => Self::Raw(number.to_string()),
            Value::String(value) => text(value),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::of_json(item, text)).collect())
            }
            Value::Object(fields) => Self::Map(
                fields
                    .iter()
                    .map(|(key, value)| TemplateEntry::new(key, Self::of_json(value, text)))
                    .collect(),
            ),
        }
    }

    /// It in the rest of a line, if it fits into one.
    fn inline(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(scalar(text)),
            Self::Raw(text) => Some(text.clone()),
            Self::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
            Self::List(items) => items.is_empty().then(|| "[]".to_owned()),
            Self::Tagged(tag, value) => value.inline().map(|value| format!("{tag} {value}")),
        }
    }

    /// Writes it after a key and `:`, or after `-`.
    fn write_value(&self, indent: usize, out: &mut String) {
        if let Some(line) = self.inline() {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
            return;
        }
        let mut node = self;
        while let Self::Tagged(tag, value) = node {
            out.push(' ');
            out.push_str(tag);
            node = value;
        }
        out.push('\n');
        node.write_block(indent, out);
    }

    fn write_block(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(entries) => entries.iter().for_each(|entry| entry.write(indent, out)),
            Self::List(items) => items.iter().for_each(|item| {
                pad(indent, out);
                out.push('-');
                let starts_here = match item {
                    Self::Map(entries) => entries.first().is_some_and(|e| e.comment.is_empty()),
                    Self::List(items) => !items.is_empty(),
                    _ => false,
                };
                if starts_here {
                    // The first entry stands in the line of the dash.
                    let mut block = String::new();
                    item.write_block(indent + 2, &mut block);
                    out.push(' ');
                    out.push_str(block.trim_start_matches(' '));
                } else {
                    item.write_value(indent + 2, out);
                }
            }),
            _ => {}
        }
    }
}

impl TemplateEntry {
    /// An entry without a comment.
    pub(super) fn new(key: impl Into<String>, value: TemplateNode) -> Self {
        Self { comment: vec![], key: key.into(), value }
    }

    fn write(&self, indent: usize, out: &mut String) {
        write_comment(&self.comment, indent, out);
        pad(indent, out);
        out.push_str(&scalar(&self.key));
        out.push(':');
        self.value.write_value(indent + 2, out);
    }
}

/// A document: a comment, and the sections with empty lines between them; the entries of
/// `Resources` are set apart in the same way.
pub(super) fn document(header: &[String], sections: &[TemplateEntry]) -> String {
    let mut out = String::new();
    write_comment(header, 0, &mut out);
    for section in sections {
        out.push('\n');
        match &section.value {
            TemplateNode::Map(entries) if section.key == "Resources" => {
                out.push_str("Resources:\n");
                for (nth, entry) in entries.iter().enumerate() {
                    if nth > 0 {
                        out.push('\n');
                    }
                    entry.write(2, &mut out);
                }
            }
            _ => section.write(0, &mut out),
        }
    }
    out
}

fn write_comment(lines: &[String], indent: usize, out: &mut String) {
    for line in lines {
        // A command stands in one line, so that it can be copied.
        let lines =
            if line.starts_with("  ") { vec![line.clone()] } else { wrapped(line, indent + 2) };
        for line in lines {
            pad(indent, out);
            out.push_str(format!("# {line}").trim_end());
            out.push('\n');
        }
    }
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// A scalar: plain where every YAML parser reads it as the same text, else in double quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            other => {
                let code = u32::from(other);
                let escaped =
                    if code > 0xffff { format!("\\U{code:08x}") } else { format!("\\u{code:04x}") };
                out.push_str(&escaped);
            }
        }
    }
    out.push('"');
    out
}

/// Whether a text may stand without quotes. Words that YAML 1.1 reads as truth values, and texts
/// that begin like a number or date, are quoted.
fn is_plain(text: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let safe = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '+')
    };
    // A colon is safe between two other characters, and a blank, too.
    let inner = |character: char| {
        safe(character) || matches!(character, ':' | ' ' | ',' | '=' | '@' | '*' | '(' | ')')
    };
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.ends_with(safe)
        && text.chars().all(inner)
        && !text.contains(": ")
        && !words.contains(&text.to_ascii_lowercase().as_str())
}
