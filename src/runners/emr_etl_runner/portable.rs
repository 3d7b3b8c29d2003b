//! Rejects YAML that libyaml, used by most Ruby versions, and JRuby's parser read differently,
//! because the runner is shipped with the one and may run on the other.
//!
//! Each of these was found by comparing both on thousands of configs, and is kept as a test case
//! there.

use std::ops::Range;

use libyaml_safer::{Event, ScalarStyle};

use crate::runners::emr_etl_runner::{config_error::ConfigError, erb::Rendered};

/// The maximum number of lines that begin with `%`, and the maximum length of one in bytes (a real
/// config has none).
const MOST_DIRECTIVES: usize = 16;
const LONGEST_DIRECTIVE: usize = 256;

/// Checks a document while it is parsed.
pub(super) struct Portable<'a> {
    rendered: &'a Rendered,
    /// The ranges of quoted scalars and block scalars, as bytes of the rendered text, ascending.
    quoted: Vec<Range<usize>>,
}

impl<'a> Portable<'a> {
    /// # Errors
    /// [`ConfigError`] when the text contains a byte order mark after its start, or more or longer
    /// directives than any config has.
    pub(super) fn of(rendered: &'a Rendered) -> Result<Self, ConfigError> {
        if let Some(index) = rendered.text.find('\u{feff}') {
            return Err(ConfigError::at(
                rendered.source(index),
                "there is a byte order mark (U+FEFF) here, which programs read in different ways; \
                 remove it",
            ));
        }
        refuse_directives(rendered)?;
        Ok(Self { rendered, quoted: Vec::new() })
    }

    /// Checks the source of a scalar, which is within brackets or braces when `in_flow`.
    ///
    /// # Errors
    /// [`ConfigError`] for a notation that not every parser accepts.
    pub(super) fn scalar(
        &mut self,
        event: &Event,
        style: ScalarStyle,
        value: &str,
        in_flow: bool,
    ) -> Result<(), ConfigError> {
        let place =
            |index: u64| usize::try_from(index).unwrap_or(usize::MAX).min(self.rendered.text.len());
        let range = place(event.start_mark.index)..place(event.end_mark.index);
        let refuse =
            |message: &str| Err(ConfigError::at(self.rendered.source(range.start), message));
        let text = self.rendered.text.get(range.clone()).unwrap_or_default();
        // An anchor and a tag may come before it, and are not part of the quoted text.
        let content = text.get(Properties::of(text).length..).unwrap_or_default();
        let range = range.end - content.len()..range.end;
        match style {
            ScalarStyle::Plain if in_flow && value.contains('?') => {
                return refuse(
                    "JRuby's parser does not allow `?` here between brackets or braces; put the \
                     value in quotes",
                );
            }
            ScalarStyle::Plain => return Ok(()),
            ScalarStyle::DoubleQuoted if has_escape(content, '/') => {
                return refuse("the escape `\\/` is not known to every reader; write `/`");
            }
            ScalarStyle::DoubleQuoted if has_escape(content, '\t') => {
                return refuse(
                    "a backslash before a tab is not known to every reader; write `\\t` for a tab",
                );
            }
            ScalarStyle::Literal | ScalarStyle::Folded if !has_plain_header(content) => {
                return refuse(
                    "not every parser accepts what follows `|` or `>` here; put a space before a \
                     comment, and no tab",
                );
            }
            _ => {}
        }
        self.quoted.push(range);
        Ok(())
    }

    /// Checks the notation of an event's tag, and returns whether there is one: a bare `!` leaves
    /// no trace in the event.
    ///
    /// # Errors
    /// [`ConfigError`] for a handle that JRuby's parser rejects: between `!` and the next one, it
    /// allows only letters, digits, `-` and `_`.
    pub(super) fn has_tag(&self, event: &Event) -> Result<bool, ConfigError> {
        let start = usize::try_from(event.start_mark.index).unwrap_or(usize::MAX);
        let text = self.rendered.text.get(start..).unwrap_or_default();
        let Some(tag) = Properties::of(text).tag else { return Ok(false) };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let handle = tag[1..].split_once('!').map_or("", |(handle, _)| handle);
        if tag.starts_with("!<") || handle.bytes().all(is_word) {
            return Ok(true);
        }
        Err(ConfigError::at(
            self.rendered.source(start),
            "this tag is read differently by different readers; write the value without it",
        ))
    }

    /// JRuby's parser does not accept a tab as a blank; libyaml, used by other Ruby versions, does.
    /// In quotes, block scalars and comments both accept it. The document ends at `end`.
    pub(super) fn refuse_tabs(&self, end: usize) -> Result<(), ConfigError> {
        let mut quoted = self.quoted.iter().peekable();
        let mut in_comment = false;
        let mut before = '\n';
        for (index, character) in self.rendered.text.char_indices() {
            if index >= end {
                break;
            }
            while quoted.next_if(|range| range.end <= index).is_some() {}
            if quoted.peek().is_some_and(|range| range.contains(&index)) {
                in_comment = false;
            } else {
                match character {
                    '#' => in_comment |= matches!(before, ' ' | '\t' | '\n'),
                    '\t' if !in_comment => {
                        return Err(ConfigError::at(
                            self.rendered.source(index),
                            "there is a tab here, which JRuby's parser does not allow; use spaces",
                        ));
                    }
                    _ => {}
                }
            }
            in_comment &= character != '\n';
            before = character;
        }
        Ok(())
    }
}

/// Rejects more directives (`%YAML`, `%TAG`) than any config has, and longer ones: the parser
/// compares each with all others, and writes its prefix before each tag that uses it.
fn refuse_directives(rendered: &Rendered) -> Result<(), ConfigError> {
    let text = &rendered.text;
    // The parser's line breaks.
    let is_break =
        |character| matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let begins_line = |index: &usize| text[..*index].chars().next_back().is_none_or(is_break);
    let lines = text.match_indices('%').map(|(index, _)| index).filter(begins_line);
    for (number, index) in lines.enumerate() {
        let length = text[index..].find(is_break).unwrap_or(text.len() - index);
        if number == MOST_DIRECTIVES || length > LONGEST_DIRECTIVE {
            return Err(ConfigError::at(
                rendered.source(index),
                format!(
                    "more than {MOST_DIRECTIVES} directives (`%TAG`), or one of more than \
                     {LONGEST_DIRECTIVE} bytes; a runner config needs none"
                ),
            ));
        }
    }
    Ok(())
}

/// The properties before a value: its anchor and its tag.
struct Properties<'a> {
    tag: Option<&'a str>,
    /// The offset of the value itself, in bytes.
    length: usize,
}

impl<'a> Properties<'a> {
    /// The properties at the start of `text`, in either order, with blanks, line breaks and
    /// comments between them.
    fn of(text: &'a str) -> Self {
        let mut tag = None;
        let mut rest = text;
        while rest.starts_with(['&', '!']) {
            // Only a tag within `<>` may contain a character that ends an item of a list or a map.
            // Without these ends, each item of one long line would be scanned to the end of the
            // line.
            let is_end = |character: char| character.is_whitespace() || ",[]{}".contains(character);
            let length = match rest.strip_prefix("!<") {
                Some(verbatim) => verbatim.find('>').map(|end| end + "!<>".len()),
                None => rest.find(is_end),
            };
            let (property, after) = rest.split_at(length.unwrap_or(rest.len()));
            // A second one belongs to the first key of the map that has the first one.
            if property.starts_with('!') && tag.is_none() {
                tag = Some(property);
            }
            rest = after.trim_start();
            while rest.starts_with('#') {
                rest = rest.split_once('\n').map_or("", |(_, below)| below).trim_start();
            }
        }
        Self { tag, length: text.len() - rest.len() }
    }
}

/// Whether the source of a block scalar starts with `|` or `>`, its indicators, and then only
/// blanks, possibly with a comment.
fn has_plain_header(text: &str) -> bool {
    let header =
        text.split_once(['|', '>']).map_or("", |(_, rest)| rest).lines().next().unwrap_or_default();
    let rest =
        header.trim_start_matches(['+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    // JRuby's parser accepts no tab here, not even before a comment.
    let behind = rest.trim_start_matches(' ');
    behind.is_empty() || (behind.len() < rest.len() && behind.starts_with('#'))
}

/// Whether the source of a double-quoted scalar contains an unescaped backslash before `escaped`.
fn has_escape(text: &str, escaped: char) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next() == Some(escaped) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::runners::emr_etl_runner::{erb, psych};

    fn loaded(text: &str) -> Result<(), String> {
        let rendered = erb::render(text, &|_| None).map_err(|error| error.to_string())?;
        psych::load(&rendered).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_tab_is_refused_where_jruby_refuses_it() {
        for text in [
            "a:\tb\n",
            "a: b\t\n",
            "a: b\n\t\n",
            "a: [b,\tc]\n",
            "---\t\na: b\n",
            "a: \"x\"\t\n",
            "a: '#'\t\n",
        ] {
            let refusal = loaded(text).unwrap_err();
            assert!(refusal.contains("a tab"), "{text:?}: {refusal}");
        }
        for text in
            ["a: \"b\tc\"\n", "a: 'b\tc'\n", "a: |\n  b\tc\n", "a: b # c\td\n", "# a\tb\na: b\n"]
        {
            assert!(loaded(text).is_ok(), "{text:?}: {:?}", loaded(text));
        }
    }

    #[test]
    fn directives_are_few_and_short() {
        let directives = |number: usize| {
            let lines: Vec<String> =
                (0..number).map(|it| format!("%TAG !t{it}! tag:x,2000:\n")).collect();
            lines.concat()
        };
        assert!(loaded(&format!("{}---\na: b\n", directives(16))).is_ok());
        let refusal = loaded(&format!("{}---\na: b\n", directives(17))).unwrap_err();
        assert!(refusal.starts_with("17:1: more than 16 directives"), "{refusal}");
        let long = format!("%TAG !t! {}\n---\na: b\n", "x".repeat(300));
        assert!(loaded(&long).unwrap_err().starts_with("1:1: more than 16 directives"));
        assert!(loaded(&"a: 100 %\n".repeat(17)).is_ok(), "only at the start of a line");
    }

    #[test]
    fn a_comment_right_behind_a_block_indicator_is_refused() {
        assert!(loaded("a: |#\n  b\n").unwrap_err().contains("put a space before a comment"));
        for text in ["a: | \t\n  b\n", "a: |\t\n  b\n", "a: > \t# c\n  b\n"] {
            assert!(loaded(text).unwrap_err().contains("follows `|` or `>`"), "{text:?}");
        }
        for text in [
            "a: | # c\td\n  b\n",
            "a: | # c\n  b\n",
            "a: |-\n  b\n",
            "a: >2-\n    b\n",
            "a: &x |\n  b\n",
        ] {
            assert!(loaded(text).is_ok(), "{text:?}: {:?}", loaded(text));
        }
    }

    #[test]
    fn a_question_mark_between_brackets_is_refused_unless_quoted() {
        for text in ["[a?]", "{a: b?}", "a: [b, [c?d]]"] {
            assert!(loaded(text).unwrap_err().contains("`?`"), "{text}");
        }
        for text in ["['a?']", "a: b?", "? a\n: b\n"] {
            assert!(loaded(text).is_ok(), "{text}");
        }
    }

    /// Row 5 of the Ruby edge cases.
    #[test]
    fn a_tab_behind_a_backslash_an_anchor_or_a_tag_is_refused() {
        let refusal = loaded("a: \"x\\\ty\"\n").unwrap_err();
        assert!(refusal.contains("a backslash before a tab"), "{refusal}");
        for text in [
            "a: &x\t\"b\"\n",
            "a: !!str\t'b'\n",
            "a: &x\t|\n  b\n",
            "a: &x !!str\t>\n  b\n",
            "a: !!str &x\t\"b\"\n",
        ] {
            let refusal = loaded(text).unwrap_err();
            assert!(refusal.contains("there is a tab here"), "{text:?}: {refusal}");
        }
        for text in ["a: &x \"b\tc\"\n", "a: !!str 'b\tc'\n", "a: &x |\n  b\tc\n"] {
            assert!(loaded(text).is_ok(), "{text:?}: {:?}", loaded(text));
        }
    }

    /// Row 5, too.
    #[test]
    fn a_tags_handle_holds_letters_digits_and_hyphens_only() {
        for text in ["a: !a.b!c v\n", "a: !a.b!c {b: c}\n", "a: &x !a.b!c [b]\n", "!.!\n!str : a\n"]
        {
            let refusal = loaded(text).unwrap_err();
            assert!(refusal.contains("read differently by different readers"), "{text}: {refusal}");
        }
        for text in ["a: !a.b v\n", "a: !<a.b!c> v\n", "a: !!str v!w\n"] {
            assert!(loaded(text).is_ok(), "{text:?}: {:?}", loaded(text));
        }
    }

    #[test]
    fn escapes_that_only_some_readers_know_are_refused() {
        assert!(loaded(r#"a: "x\/y""#).unwrap_err().contains("the escape `\\/`"));
        assert!(loaded(r#"a: "x\\/y""#).is_ok());
    }
}
