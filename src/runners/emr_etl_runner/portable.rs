//! What libyaml, below most Rubies, and the parser below JRuby read differently: it is refused,
//! because the runner ships on the one and may run on the other.
//!
//! Each of these was found by holding both against thousands of configs, and is kept as a case
//! there.

use std::ops::Range;

use libyaml_safer::{Event, ScalarStyle};

use crate::runners::emr_etl_runner::{config_error::ConfigError, erb::Rendered};

/// Looks at a document while it is read.
pub(super) struct Portable<'a> {
    rendered: &'a Rendered,
    /// Where scalars in quotes and block scalars stand, as bytes of the rendered text, ascending.
    quoted: Vec<Range<usize>>,
}

impl<'a> Portable<'a> {
    /// # Errors
    /// [`ConfigError`] when the text holds a byte order mark.
    pub(super) fn of(rendered: &'a Rendered) -> Result<Self, ConfigError> {
        match rendered.text.find('\u{feff}') {
            None => Ok(Self { rendered, quoted: Vec::new() }),
            Some(index) => Err(ConfigError::at(
                rendered.source(index),
                "a byte order mark (U+FEFF) stands here, which readers take for different things; remove it",
            )),
        }
    }

    /// Looks at the source of a scalar, which stands within brackets or braces when `in_flow`.
    ///
    /// # Errors
    /// [`ConfigError`] for a spelling that not every reader takes.
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
        match style {
            ScalarStyle::Plain if in_flow && value.contains('?') => {
                return refuse(
                    "JRuby's parser does not allow `?` here between brackets or braces; put the value in quotes",
                );
            }
            ScalarStyle::Plain => return Ok(()),
            ScalarStyle::DoubleQuoted if has_escaped_slash(text) => {
                return refuse("the escape `\\/` is not known to every reader; write `/`");
            }
            ScalarStyle::Literal | ScalarStyle::Folded if !has_plain_header(text) => {
                return refuse(
                    "not every reader takes what stands behind `|` or `>` here; leave a blank before a comment",
                );
            }
            _ => {}
        }
        self.quoted.push(range);
        Ok(())
    }

    /// JRuby's parser allows no tab as blank; libyaml, below other Rubies, does. In quotes, block
    /// scalars and comments a tab is a tab to both. The document ends at `end`.
    pub(super) fn refuse_tabs(&self, end: usize) -> Result<(), ConfigError> {
        let text = &self.rendered.text;
        for (index, _) in text.match_indices('\t').take_while(|(index, _)| *index < end) {
            let before = self.quoted.partition_point(|range| range.start <= index);
            let last = before.checked_sub(1).and_then(|last| self.quoted.get(last));
            if last.is_some_and(|range| range.contains(&index)) {
                continue;
            }
            let line = text[..index].rfind('\n').map_or(0, |newline| newline + 1);
            let from = line.max(last.map_or(0, |range| range.end));
            let blank_before = |at: usize| at == line || text[..at].ends_with([' ', '\t']);
            let in_comment = text
                .get(from..index)
                .unwrap_or_default()
                .match_indices('#')
                .any(|(at, _)| blank_before(from + at));
            if !in_comment {
                return Err(ConfigError::at(
                    self.rendered.source(index),
                    "a tab stands here, which JRuby's parser does not allow; use blanks",
                ));
            }
        }
        Ok(())
    }
}

/// Whether the source of a block scalar starts with `|` or `>`, its indicators, and then nothing or
/// a blank.
fn has_plain_header(text: &str) -> bool {
    let header =
        text.split_once(['|', '>']).map_or("", |(_, rest)| rest).lines().next().unwrap_or_default();
    let rest =
        header.trim_start_matches(['+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    rest.is_empty() || rest.starts_with(' ')
}

/// Whether the source of a scalar in double quotes holds `\/` (and not `\\/`).
fn has_escaped_slash(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next() == Some('/') {
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
    fn a_comment_right_behind_a_block_indicator_is_refused() {
        assert!(loaded("a: |#\n  b\n").unwrap_err().contains("leave a blank before a comment"));
        for text in ["a: | # c\n  b\n", "a: |-\n  b\n", "a: >2-\n    b\n", "a: &x |\n  b\n"] {
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

    #[test]
    fn escapes_that_only_some_readers_know_are_refused() {
        assert!(loaded(r#"a: "x\/y""#).unwrap_err().contains("the escape `\\/`"));
        assert!(loaded(r#"a: "x\\/y""#).is_ok());
    }
}
