//! HCL, printed as `terraform fmt` prints it.
//!
//! The rules are those of `hclwrite` (hashicorp/hcl, `hclwrite/format.go`): two blanks for each
//! line that opens brackets; the `=` of attributes in consecutive lines are aligned, unless the
//! value goes on in the next line; a comment or an empty line ends such a group.

use serde_json::Value;

use crate::setup::code::wrapped;

/// The longest list that stands in one line, in characters with its indentation.
const WIDTH: usize = 100;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HclExpression {
    /// A quoted text, in parts.
    Text(Vec<TemplatePart>),
    /// A number, a truth value, `null`, or a reference such as `aws_kms_key.etl.arn`.
    Raw(String),
    /// A list.
    List(Vec<HclExpression>),
    /// An object.
    Object(Vec<(String, HclExpression)>),
    /// `jsonencode(…)`.
    Json(Box<HclExpression>),
}

/// A part of a quoted text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TemplatePart {
    /// Text as it is.
    Fixed(String),
    /// An expression; its value is inserted.
    Inserted(String),
}

/// What stands in a file or block.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HclBody(Vec<Item>);

/// One item of a body.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Comment(String),
    Blank,
    Attribute(String, HclExpression),
    Block(String, HclBody),
}

impl HclExpression {
    /// A text without references.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(vec![TemplatePart::Fixed(text.into())])
    }

    /// A reference or another expression as it is.
    pub(super) fn raw(text: impl Into<String>) -> Self {
        Self::Raw(text.into())
    }

    /// A JSON value, with `text` for its texts.
    pub(super) fn of_json(value: &Value, text: &dyn Fn(&str) -> Self) -> Self {
        match value {
            Value::Null => Self::raw("null"),
            Value::Bool(value) => Self::raw(value.to_string()),
            Value::Number(number) => Self::raw(number.to_string()),
            Value::String(value) => text(value),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::of_json(item, text)).collect())
            }
            Value::Object(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::of_json(value, text)))
                    .collect(),
            ),
        }
    }

    /// It in one line, if it is one that stands in a line.
    fn inline(&self) -> Option<String> {
        match self {
            Self::Text(parts) => Some(quoted(parts)),
            Self::Raw(text) => Some(text.clone()),
            Self::List(items) => {
                let scalar = |item: &Self| {
                    matches!(item, Self::Text(_) | Self::Raw(_)).then(|| item.inline())
                };
                let items: Option<Vec<String>> =
                    items.iter().map(|item| scalar(item).flatten()).collect();
                items.map(|items| format!("[{}]", items.join(", ")))
            }
            Self::Object(fields) => fields.is_empty().then(|| "{}".to_owned()),
            Self::Json(value) => value.inline().map(|value| format!("jsonencode({value})")),
        }
    }

    /// It in one line, if it then ends before the margin when it starts at `column`.
    fn short(&self, column: usize) -> Option<String> {
        let inline = self.inline()?;
        let fits = !matches!(self, Self::List(items) if items.len() > 1)
            || column + inline.chars().count() <= WIDTH;
        fits.then_some(inline)
    }

    /// Writes it at `column` of a line that is indented by `indent`.
    fn write(&self, indent: usize, column: usize, out: &mut String) {
        if let Some(line) = self.short(column) {
            out.push_str(&line);
            return;
        }
        match self {
            Self::Text(parts) => out.push_str(&quoted(parts)),
            Self::Raw(text) => out.push_str(text),
            Self::List(items) => {
                out.push_str("[\n");
                for item in items {
                    pad(indent + 2, out);
                    item.write(indent + 2, indent + 2, out);
                    out.push_str(",\n");
                }
                pad(indent, out);
                out.push(']');
            }
            Self::Object(fields) => {
                out.push_str("{\n");
                let named: Vec<_> = fields.iter().map(|(name, value)| (key(name), value)).collect();
                let lines: Vec<_> =
                    named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
                write_attributes(&lines, indent + 2, out);
                pad(indent, out);
                out.push('}');
            }
            Self::Json(value) => {
                out.push_str("jsonencode(");
                value.write(indent, column + "jsonencode(".len(), out);
                out.push(')');
            }
        }
    }
}

impl HclBody {
    /// Adds an attribute.
    pub(super) fn attribute(&mut self, name: &str, value: HclExpression) -> &mut Self {
        self.0.push(Item::Attribute(name.to_owned(), value));
        self
    }

    /// Adds a comment: one or more lines.
    pub(super) fn comment(&mut self, text: &str) -> &mut Self {
        self.0.push(Item::Comment(text.to_owned()));
        self
    }

    /// Adds an empty line, unless the body is empty or ends with one.
    pub(super) fn blank(&mut self) -> &mut Self {
        if !matches!(self.0.last(), None | Some(Item::Blank)) {
            self.0.push(Item::Blank);
        }
        self
    }

    /// Adds a block: `header` is its type with its labels.
    pub(super) fn block(&mut self, header: impl Into<String>, body: Self) -> &mut Self {
        self.0.push(Item::Block(header.into(), body));
        self
    }

    /// A whole file.
    pub(super) fn file(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn write(&self, indent: usize, out: &mut String) {
        let mut attributes: Vec<(&str, &HclExpression)> = Vec::new();
        for item in &self.0 {
            if let Item::Attribute(name, value) = item {
                attributes.push((name, value));
                continue;
            }
            write_attributes(&attributes, indent, out);
            attributes.clear();
            match item {
                Item::Comment(text) => {
                    for line in wrapped(text, indent + 2) {
                        pad(indent, out);
                        out.push_str(format!("# {line}").trim_end());
                        out.push('\n');
                    }
                }
                Item::Block(header, body) if body.0.is_empty() => {
                    pad(indent, out);
                    out.push_str(header);
                    out.push_str(" {}\n");
                }
                Item::Block(header, body) => {
                    pad(indent, out);
                    out.push_str(header);
                    out.push_str(" {\n");
                    body.write(indent + 2, out);
                    pad(indent, out);
                    out.push_str("}\n");
                }
                Item::Blank => out.push('\n'),
                Item::Attribute(..) => {}
            }
        }
        write_attributes(&attributes, indent, out);
    }
}

/// Attributes in consecutive lines, aligned.
fn write_attributes(attributes: &[(&str, &HclExpression)], indent: usize, out: &mut String) {
    let width = |name: &str| name.chars().count();
    // Whether a value ends in the line where it begins decides on the alignment, which decides on
    // the column. The widest name of all is the latest column there can be.
    let widest = attributes.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    let column = indent + widest + 3;
    let mut rest = attributes;
    while let Some((name, value)) = rest.first() {
        let group = rest.iter().take_while(|(_, value)| value.short(column).is_some()).count();
        if group == 0 {
            pad(indent, out);
            out.push_str(name);
            out.push_str(" = ");
            // As if it began at the column where it did not fit.
            value.write(indent, column, out);
            out.push('\n');
            rest = &rest[1..];
            continue;
        }
        let (lines, others) = rest.split_at(group);
        let widest = lines.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
        for (name, value) in lines {
            pad(indent, out);
            out.push_str(name);
            pad(widest - width(name), out);
            out.push_str(" = ");
            value.write(indent, column, out);
            out.push('\n');
        }
        rest = others;
    }
}

fn pad(columns: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// An object's key: bare where HCL reads it as a name and nothing else.
fn key(name: &str) -> String {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let goes_on = |next: char| next.is_ascii_alphanumeric() || next == '_' || next == '-';
    let word = matches!(name, "for" | "if" | "in" | "true" | "false" | "null");
    if starts && characters.all(goes_on) && !word {
        return name.to_owned();
    }
    quoted(&[TemplatePart::Fixed(name.to_owned())])
}

/// A quoted text. `${` and `%{` of fixed text are escaped.
fn quoted(parts: &[TemplatePart]) -> String {
    let mut out = String::from('"');
    for (index, part) in parts.iter().enumerate() {
        match part {
            TemplatePart::Inserted(expression) => {
                out.push_str("${");
                out.push_str(expression);
                out.push('}');
            }
            TemplatePart::Fixed(text) => {
                let inserts_next = matches!(parts.get(index + 1), Some(TemplatePart::Inserted(_)));
                escape(text, inserts_next, &mut out);
            }
        }
    }
    out.push('"');
    out
}

/// Escapes a fixed text that comes before an inserted one if `inserts_next`.
///
/// A single `$` or `%` before `{` is doubled. Parsers differ in how they read longer runs, and one
/// before an insertion would be read as its escape: these are inserted as texts of their own.
fn escape(text: &str, inserts_next: bool, out: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|next| matches!(next, '$' | '%')).count();
        if run > 0 {
            let (marks, after) = rest.split_at(run);
            let opens = after.starts_with('{');
            if (opens && run > 1) || (after.is_empty() && inserts_next) {
                out.push_str("${\"");
                out.push_str(marks);
                out.push_str("\"}");
            } else if opens {
                out.push_str(marks);
                out.push_str(marks);
            } else {
                out.push_str(marks);
            }
            rest = after;
            continue;
        }
        match first {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if is_invisible(other) => push_code_point(other, out),
            other => out.push(other),
        }
        rest = &rest[first.len_utf8()..];
    }
}

/// Whether a character would show as nothing, or change how its line is read.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

fn push_code_point(character: char, out: &mut String) {
    let code = u32::from(character);
    let text = if code > 0xffff { format!("\\U{code:08x}") } else { format!("\\u{code:04x}") };
    out.push_str(&text);
}
