//! Where each key and value of a runner config stands in its file, for changes in place.
//!
//! ERB tags stay in the file, so their positions must not move: each is masked by as many bytes
//! that are plain text. Whether this changes the structure is found out by a comparison with the
//! rendered config.

use std::ops::Range;

use libyaml_safer::{Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::system::quietly::quietly;

/// The maximum depth. The loader of configs allows less.
const DEEPEST: usize = 48;

/// A text with masked ERB tags.
#[derive(Debug)]
pub(super) struct MaskedTags {
    /// The text, of the same length.
    pub(super) text: String,
    /// The ranges of the tags, ascending.
    pub(super) tags: Vec<Range<usize>>,
    /// The first tag that runs code and prints nothing, such as `<% if … %>`.
    pub(super) control: Option<usize>,
}

impl MaskedTags {
    /// Masks the tags of `source`. A tag without an end reaches to the end of the text.
    pub(super) fn of(source: &str) -> Self {
        let mut masked =
            Self { text: String::with_capacity(source.len()), tags: Vec::new(), control: None };
        let mut rest = source;
        while let Some(start) = rest.find("<%") {
            let (literal, tag) = rest.split_at(start);
            masked.text.push_str(literal);
            let begin = masked.text.len();
            let (length, mask) = if tag.starts_with("<%%") {
                ("<%%".len(), 'x')
            } else {
                let length = tag[2..].find("%>").map_or(tag.len(), |end| end + 4);
                let prints = tag.starts_with("<%=");
                if !prints && !tag.starts_with("<%#") {
                    masked.control.get_or_insert(begin);
                }
                (length, if prints { 'x' } else { ' ' })
            };
            let (tag, after) = tag.split_at(length);
            for byte in tag.bytes() {
                let is_break = matches!(byte, b'\n' | b'\r');
                masked.text.push(if is_break { char::from(byte) } else { mask });
            }
            masked.tags.push(begin..begin + length);
            rest = after;
        }
        masked.text.push_str(rest);
        masked
    }

    /// Whether a tag is within `range`, or partly.
    pub(super) fn touches(&self, range: &Range<usize>) -> bool {
        self.tags.iter().any(|tag| tag.start < range.end && range.start < tag.end)
    }
}

/// A node, with its range in bytes.
#[derive(Debug)]
pub(super) struct LayoutNode {
    pub(super) kind: LayoutKind,
    /// From its anchor or tag on, if it has one. Of a block collection only the start means
    /// anything.
    pub(super) range: Range<usize>,
    /// Whether it has an anchor or a tag.
    pub(super) is_marked: bool,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum LayoutKind {
    Scalar { text: String, style: ScalarStyle },
    Alias,
    List { flow: bool, items: Vec<LayoutNode> },
    Map { flow: bool, entries: Vec<LayoutEntry> },
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct LayoutEntry {
    pub(super) key: LayoutNode,
    pub(super) value: LayoutNode,
}

impl LayoutEntry {
    /// The key's name, without the colon of a symbol; none for a key that is no scalar.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.key.kind {
            LayoutKind::Scalar { text, style: ScalarStyle::Plain } => {
                let symbol = text.strip_prefix(':').filter(|name| !name.is_empty());
                Some(symbol.unwrap_or(text))
            }
            LayoutKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    fn difference(&self, other: &Self) -> Option<usize> {
        if self.name() != other.name() {
            return Some(self.key.range.start);
        }
        self.key.difference(&other.key).or_else(|| self.value.difference(&other.value))
    }

    /// Whether it merges another map into this one.
    pub(super) fn is_merge(&self) -> bool {
        matches!(&self.key.kind, LayoutKind::Scalar { text, .. } if text == "<<")
    }
}

impl LayoutNode {
    /// The start of the first node that `other` does not have in the same form; `None` if both have
    /// the same structure: kinds, keys, and numbers of items.
    pub(super) fn difference(&self, other: &Self) -> Option<usize> {
        let here = Some(self.range.start);
        if self.is_marked != other.is_marked {
            return here;
        }
        match (&self.kind, &other.kind) {
            (LayoutKind::Scalar { .. }, LayoutKind::Scalar { .. })
            | (LayoutKind::Alias, LayoutKind::Alias) => None,
            (LayoutKind::List { items, .. }, LayoutKind::List { items: others, .. }) => items
                .iter()
                .zip(others)
                .find_map(|(item, other)| item.difference(other))
                .or(here.filter(|_| items.len() != others.len())),
            (LayoutKind::Map { entries, .. }, LayoutKind::Map { entries: others, .. }) => entries
                .iter()
                .zip(others)
                .find_map(|(entry, other)| entry.difference(other))
                .or(here.filter(|_| entries.len() != others.len())),
            _ => here,
        }
    }
}

/// The layout of a text.
#[derive(Debug)]
pub(super) struct Layout {
    /// The first document.
    pub(super) root: LayoutNode,
    /// The start of the second document, if there is one.
    pub(super) second: Option<usize>,
}

/// The layout of `text`; `None` if it is not valid YAML, or empty.
pub(super) fn layout(text: &str) -> Option<Layout> {
    quietly(|| LayoutReader::new(text).document()).flatten()
}

struct LayoutReader<'a> {
    parser: Parser<&'a [u8]>,
    length: usize,
}

impl<'a> LayoutReader<'a> {
    fn new(text: &'a str) -> Self {
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes());
        Self { parser, length: text.len() }
    }

    fn next(&mut self) -> Option<Event> {
        self.parser.parse().ok()
    }

    fn index(&self, index: u64) -> usize {
        usize::try_from(index).unwrap_or(usize::MAX).min(self.length)
    }

    fn document(&mut self) -> Option<Layout> {
        self.next()?;
        self.next()?;
        let event = self.next()?;
        let root = self.node(event, 0)?;
        self.next()?;
        let after = self.next()?;
        let is_end = matches!(after.data, EventData::StreamEnd);
        let second = (!is_end).then(|| self.index(after.start_mark.index));
        Some(Layout { root, second })
    }

    fn node(&mut self, event: Event, depth: usize) -> Option<LayoutNode> {
        if depth > DEEPEST {
            return None;
        }
        let start = self.index(event.start_mark.index);
        let mut end = self.index(event.end_mark.index);
        let (kind, is_marked) = match event.data {
            EventData::Scalar { anchor, tag, value, style, .. } => {
                (LayoutKind::Scalar { text: value, style }, anchor.is_some() || tag.is_some())
            }
            EventData::Alias { .. } => (LayoutKind::Alias, false),
            EventData::SequenceStart { anchor, tag, style, .. } => {
                let mut items = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::SequenceEnd) {
                        end = self.index(event.end_mark.index);
                        break;
                    }
                    items.push(self.node(event, depth + 1)?);
                }
                let flow = style == SequenceStyle::Flow;
                (LayoutKind::List { flow, items }, anchor.is_some() || tag.is_some())
            }
            EventData::MappingStart { anchor, tag, style, .. } => {
                let mut entries = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::MappingEnd) {
                        end = self.index(event.end_mark.index);
                        break;
                    }
                    let key = self.node(event, depth + 1)?;
                    let event = self.next()?;
                    entries.push(LayoutEntry { key, value: self.node(event, depth + 1)? });
                }
                let flow = style == MappingStyle::Flow;
                (LayoutKind::Map { flow, entries }, anchor.is_some() || tag.is_some())
            }
            _ => return None,
        };
        Some(LayoutNode { kind, range: start..end.max(start), is_marked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_text_is_as_long_and_has_the_same_lines() {
        let text = "a: <%= ENV['Ä'] %> # <%# b\nc %>\r\nd: <%% <% if x %>e";
        let masked = MaskedTags::of(text);
        assert_eq!(
            masked.text,
            format!(
                "a: {} #{}\n{}\r\nd: xxx {}e",
                "x".repeat(16),
                " ".repeat(6),
                " ".repeat(4),
                " ".repeat(10)
            )
        );
        assert_eq!(masked.text.len(), text.len());
        assert_eq!(masked.tags.len(), 4);
        assert_eq!(masked.control, text.find("<% if"));
        assert!(masked.touches(&(0..4)) && !masked.touches(&(0..3)));
    }

    #[test]
    fn ranges_are_those_of_the_text() {
        let text = "é: 'x'\n\"b\": {c: [d]} # e\n:f:\n";
        let layout = layout(text).unwrap();
        let LayoutKind::Map { flow: false, entries } = &layout.root.kind else { panic!() };
        let at = |node: &LayoutNode| text[node.range.clone()].to_owned();
        let all: Vec<(String, String)> =
            entries.iter().map(|entry| (at(&entry.key), at(&entry.value))).collect();
        let wanted = [("é", "'x'"), ("\"b\"", "{c: [d]}"), (":f", "")];
        assert_eq!(all, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(entries[2].name(), Some("f"));
        assert_eq!(layout.second, None);
        let two = super::layout("a: b\n---\nc: d\n").unwrap();
        assert_eq!(two.second, Some(5));
    }

    #[test]
    fn the_structure_is_compared_and_values_are_not() {
        let difference = |one: &str, other: &str| {
            layout(one).unwrap().root.difference(&layout(other).unwrap().root)
        };
        for (one, other) in [("a: b\n", "a: 'c d'\n"), ("a: x\n", "a:\n"), (":a: 1", "a: 2")] {
            assert_eq!(difference(one, other), None, "{one}");
        }
        for (other, place) in [
            ("b: b\nc: d", 0),
            ("a: [b]\nc: d", 3),
            ("a: {b: c}\nc: d", 3),
            ("a: &b b\nc: d", 3),
            ("a: b\nd: d", 5),
            ("a: b", 0),
            ("- a", 0),
        ] {
            assert_eq!(difference("a: b\nc: d\n", other), Some(place), "{other}");
        }
        assert!(layout("a: [").is_none() && layout("").is_none() && layout("{!,").is_none());
    }
}
