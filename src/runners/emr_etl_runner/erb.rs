//! ERB as EmrEtlRunner applies it, for the templates that can be rendered without running Ruby.
//!
//! EmrEtlRunner renders the whole text, comments included, with `ERB.new(text).result(binding)`: no
//! trim mode, arbitrary Ruby. This module renders literal text, `<%# comment %>`, the escape `<%%`,
//! and `<%= … %>` with variables, their defaults and literals. Every other tag is rejected with its
//! position, because a guess about what Ruby would print is a guess about what runs.

use crate::{
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        erb_expression::{BLANK, Expression, Literal},
    },
    system::locale,
};

/// The size limit of a rendered config in bytes (the real one has 2 KiB).
pub(super) const LARGEST: usize = 2 << 20;
/// The longest run of literal text in bytes. A position is found by scanning one run.
const LONGEST_RUN: usize = 128;

/// A tag that printed nothing because of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmptyTag {
    /// The position of the tag.
    pub(crate) at: ConfigPosition,
    /// The variable's name.
    pub(crate) variable: String,
    /// Whether the variable is set, to an empty value.
    pub(crate) is_set: bool,
}

/// The rendered text, and the source position of each run of its bytes.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Tags that printed nothing, in their order.
    pub(crate) empty_tags: Vec<EmptyTag>,
    /// `(first rendered byte, source position, is literal)`, ascending.
    runs: Vec<(usize, ConfigPosition, bool)>,
}

impl Rendered {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), empty_tags: Vec::new(), runs: Vec::new() }
    }

    /// The source position of the rendered byte at `index` (from 0), in the parser's counting.
    ///
    /// For text that a tag printed, it is the position of the tag, since that is what must be
    /// edited.
    pub(crate) fn source(&self, index: usize) -> ConfigPosition {
        let run = self.runs.partition_point(|(start, _, _)| *start <= index).saturating_sub(1);
        let Some(&(start, position, literal)) = self.runs.get(run) else {
            return ConfigPosition::START;
        };
        if !literal {
            return position;
        }
        let mut place = position;
        let end = index.min(self.text.len());
        place.advance_all(self.text.get(start..end).unwrap_or_default());
        place
    }
}

impl Rendered {
    /// Text that another program rendered: its positions are those of the rendered text.
    ///
    /// # Errors
    /// [`ConfigError`] when it is larger than any config.
    pub(crate) fn from_rendered(text: &str) -> Result<Self, ConfigError> {
        let text = without_mark(text);
        let mut rendered = Self::with_capacity(text.len());
        rendered.copy(text, ConfigPosition::START);
        rendered.check_size(ConfigPosition::START)?;
        Ok(rendered)
    }

    /// Adds source text at `place`; returns the position after it. A run is at most a line, or a
    /// piece of a long line, so that a look-up scans no further.
    fn copy(&mut self, literal: &str, mut place: ConfigPosition) -> ConfigPosition {
        for mut line in literal.split_inclusive('\n') {
            while !line.is_empty() {
                let (run, rest) = line.split_at(line.floor_char_boundary(LONGEST_RUN));
                self.runs.push((self.text.len(), place, true));
                self.text.push_str(run);
                place.advance_all(run);
                line = rest;
            }
        }
        place
    }

    /// # Errors
    /// [`ConfigError`] at `place` when the text has grown larger than any config.
    fn check_size(&self, place: ConfigPosition) -> Result<(), ConfigError> {
        if self.text.len() > LARGEST {
            return Err(ConfigError::at(
                place,
                format!(
                    "the rendered config has more than {LARGEST} bytes; this is no EmrEtlRunner \
                     config"
                ),
            ));
        }
        Ok(())
    }

    /// Adds what the tag at `place` printed.
    fn print(&mut self, value: &str, place: ConfigPosition) {
        if !value.is_empty() {
            self.runs.push((self.text.len(), place, false));
            self.text.push_str(value);
        }
    }
}

/// `text` without a leading byte order mark, as JRuby reads it, which the runner is shipped with.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Renders `source` with the variables of `env`.
///
/// # Errors
/// [`ConfigError`] with line and column for a tag that is not supported, a tag that never ends, or
/// a value that is not UTF-8.
pub(crate) fn render(
    source: &str,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Rendered, ConfigError> {
    let source = without_mark(source);
    refuse_encoding(source)?;
    let mut rendered = Rendered::with_capacity(source.len());
    let mut place = ConfigPosition::START;
    let mut rest = source;
    while let Some(start) = rest.find("<%") {
        let (literal, tag) = rest.split_at(start);
        place = rendered.copy(literal, place);
        if let Some(after) = tag.strip_prefix("<%%") {
            rendered.print("<%", place);
            place.advance_all("<%%");
            rest = after;
            continue;
        }
        // The end is searched after the opening: `<%>` opens a tag and does not close it.
        let Some(length) = tag[2..].find("%>") else {
            return Err(ConfigError::at(
                place,
                "an ERB tag starts here and never ends; close it with `%>`, or write `<%%` for a \
                 literal `<%`",
            ));
        };
        let (whole, after) = tag.split_at(2 + length + 2);
        let printed = evaluate(&whole[2..2 + length], place, env)?;
        rendered.print(&printed.text, place);
        if printed.text.is_empty() {
            let empty = |(variable, is_set)| EmptyTag { at: place, variable, is_set };
            rendered.empty_tags.extend(printed.variables.into_iter().map(empty));
        }
        rendered.check_size(place)?;
        place.advance_all(whole);
        rest = after;
    }
    rendered.copy(rest, place);
    Ok(rendered)
}

/// Rejects a comment at the very start that names an encoding other than UTF-8: ERB would use that
/// encoding, and raises if Ruby does not know the name.
///
/// Source: `ERB::Compiler#detect_magic_comment` of Ruby 2.6 and 3.1.
fn refuse_encoding(source: &str) -> Result<(), ConfigError> {
    let mut place = ConfigPosition::START;
    let mut rest = source;
    while let Some((comment, after)) = rest.strip_prefix("<%#").and_then(|tag| tag.split_once("%>"))
    {
        // Ruby uses one of several; which one depends on markers around it. Here all must be UTF-8.
        let mut names = comment.match_indices("coding").filter_map(|(index, word)| {
            let value = comment[index + word.len()..].trim_start();
            value.strip_prefix([':', '=']).map(str::trim_start)
        });
        let is_other = |value: &str| {
            let is_end =
                |character: char| !character.is_alphanumeric() && !matches!(character, '-' | '_');
            let name = value.split(is_end).next().unwrap_or_default();
            !name.eq_ignore_ascii_case("utf-8")
        };
        if names.any(is_other) {
            return Err(ConfigError::at(
                place,
                "this comment names an encoding, in which ERB would read the whole config; remove \
                 it, and keep the config in UTF-8",
            ));
        }
        place.advance_all(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    Ok(())
}

/// What a tag printed.
#[derive(Default)]
struct Printed {
    text: String,
    /// The variables without a value, and whether each is set.
    variables: Vec<(String, bool)>,
}

/// The output of one tag; `inner` is the text between `<%` and `%>`.
fn evaluate(
    inner: &str,
    place: ConfigPosition,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Printed, ConfigError> {
    // `%%>` would be a literal `%>` inside the tag, which would continue.
    if !inner.ends_with('%') {
        if inner.starts_with('#') || (!inner.is_empty() && inner.trim_matches(BLANK).is_empty()) {
            return Ok(Printed::default());
        }
        // A line break may end an expression, depending on the context.
        if let Some(alternatives) = inner
            .strip_prefix('=')
            .filter(|expression| !expression.contains(['\n', '\r']))
            .and_then(Expression::parse)
        {
            // ERB converts the tag to Ruby source, in the encoding of the locale.
            if !inner.is_ascii() {
                let what = "this tag holds letters that are not ASCII";
                has_utf8_locale(env)
                    .map_err(|why| ConfigError::at(place, format!("{what}{why}")))?;
            }
            return value(&alternatives, place, env);
        }
    }
    Err(ConfigError::at(
        place,
        format!(
            "the ERB expression `<%{}%>` cannot be judged without running Ruby; write <%= \
             ENV['NAME'] %>, <%= ENV.fetch('NAME', 'default') %> or a plain value, or name a Ruby \
             in the setting `erb`",
            masked(inner)
        ),
    ))
}

/// Checks that the locale of this environment is UTF-8.
///
/// # Errors
/// The end of a sentence about non-ASCII letters, if it is not, or is unknown.
fn has_utf8_locale(env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<(), String> {
    match locale::charset(env) {
        Ok(charset) if charset.eq_ignore_ascii_case("utf-8") => Ok(()),
        Ok(charset) => {
            // The variable's value is no evidence: the locale may not be installed.
            let named = locale::named(env).map_or_else(
                || "no variable names a locale".to_owned(),
                |(variable, name)| format!("{variable} is `{name}`"),
            );
            Err(format!(
                ", which the locale cannot hold ({named}, and the C library's character set is \
                 {charset}): set LC_ALL=C.UTF-8, or another locale of UTF-8 that is installed"
            ))
        }
        Err(error) => Err(format!(
            ", and whether the locale can hold them is not known ({error}): use letters of ASCII"
        )),
    }
}

/// The first operand that is neither nil nor false, as `||` chooses, or else the last.
fn value(
    operands: &[Expression<'_>],
    place: ConfigPosition,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Printed, ConfigError> {
    let text = |name: &str, value: std::ffi::OsString| {
        let refuse =
            |why: &str| ConfigError::at(place, format!("the environment variable {name} {why}"));
        let value = value.into_string().map_err(|_| refuse("is not valid UTF-8"))?;
        // JRuby replaces such letters with question marks if the locale does not support them, as
        // under cron.
        if !value.is_ascii() {
            let what = "holds letters that are not ASCII";
            has_utf8_locale(env).map_err(|why| refuse(&format!("{what}{why}")))?;
        }
        Ok(value)
    };
    let mut printed = Printed::default();
    for operand in operands {
        let (name, default) = match operand {
            Expression::Literal(literal) => {
                printed.text = literal.printed().to_owned();
                if literal.is_truthy() {
                    break;
                }
                continue;
            }
            Expression::Variable(name) => (name, Some(&Literal::Nil)),
            Expression::Fetch(name, default) => (name, default.as_ref()),
        };
        match (env(name), default) {
            (Some(value), _) => {
                printed.text = text(name, value)?;
                if printed.text.is_empty() {
                    printed.variables.push(((*name).to_owned(), true));
                }
                break;
            }
            (None, Some(default)) => {
                default.printed().clone_into(&mut printed.text);
                if default.is_truthy() {
                    break;
                }
                printed.variables.push(((*name).to_owned(), false));
            }
            (None, None) => {
                return Err(ConfigError::at(
                    place,
                    format!(
                        "ENV.fetch: the environment variable {name} is not set; EmrEtlRunner \
                         would stop here"
                    ),
                ));
            }
        }
    }
    Ok(printed)
}

/// An expression for an error message: quoted texts are masked, because a default may be a secret;
/// names of variables are kept.
fn masked(expression: &str) -> String {
    let mut shown = String::new();
    let mut quote = None;
    for character in expression.chars() {
        match quote {
            None => {
                let names_a_variable =
                    ["ENV[", "ENV.fetch("].iter().any(|before| shown.ends_with(before));
                shown.push(character);
                if matches!(character, '\'' | '"' | '`') {
                    quote = Some((character, names_a_variable));
                }
            }
            Some((end, _)) if character == end => {
                shown.push(character);
                quote = None;
            }
            Some((_, true)) => shown.push(character),
            Some((_, false)) if shown.ends_with('…') => {}
            Some((_, false)) => shown.push('…'),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<std::ffi::OsString> {
        (name == "X").then(|| "value".into())
    }

    fn rendered(source: &str) -> String {
        render(source, &env)
            .map_or_else(|error| format!("refused: {error}"), |rendered| rendered.text)
    }

    #[test]
    fn a_place_is_looked_up_within_a_few_bytes_however_long_the_line() {
        let line = format!("a: [{}]", "é, ".repeat(10_000));
        let rendered = render(&line, &env).unwrap();
        let ends = rendered.runs[1..].iter().map(|run| run.0).chain([rendered.text.len()]);
        let longest = rendered.runs.iter().zip(ends).map(|(run, end)| end - run.0).max();
        assert!(longest <= Some(LONGEST_RUN), "{longest:?}");
        for (index, column) in [(0, 1), (4, 5), (4 + 4 * 9_000, 5 + 3 * 9_000)] {
            let place = rendered.source(index);
            assert_eq!(place.to_string(), format!("1:{column}"));
        }
    }

    #[test]
    fn what_tags_print_has_a_limit() {
        let long = |_: &str| Some(std::ffi::OsString::from("x".repeat(100_000)));
        let text = "a: <%= ENV['X'] %>\n".repeat(40);
        let refusal = render(&text, &long).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "21:4: the rendered config has more than 2097152 bytes; this is no EmrEtlRunner config"
        );
    }

    #[test]
    fn values_come_from_the_environment_and_an_unset_one_is_empty() {
        assert_eq!(
            rendered("a: <%= ENV['X'] %>\nb: <%=ENV[\"X\"]%>\nc: <%= ENV['UNSET'] %>."),
            "a: value\nb: value\nc: ."
        );
    }

    #[test]
    fn defaults_are_taken_as_ruby_takes_them() {
        for (tag, printed) in [
            ("ENV.fetch('X')", "value"),
            ("ENV.fetch( \"X\" , 'd' )", "value"),
            ("ENV.fetch('UNSET', 'd')", "d"),
            ("ENV['UNSET'] || 'd'", "d"),
            ("ENV['UNSET']||ENV['X'] || 'd'", "value"),
            ("ENV.fetch('UNSET') { \"d\" }", "d"),
            ("ENV.fetch('X'){'d'}", "value"),
            ("ENV['UNSET'] or 'd'", "d"),
            ("ENV['UNSET'] || ENV['X'] or 'd'", "value"),
            ("ENV['UNSET'].to_s", ""),
            ("'yes'.to_s", "yes"),
            (" \"a b\" ", "a b"),
        ] {
            assert_eq!(rendered(&format!("<%={tag}%>")), printed, "{tag}");
        }
        assert_eq!(
            rendered("x\n<%= ENV.fetch('UNSET') %>"),
            "refused: 2:1: ENV.fetch: the environment variable UNSET is not set; EmrEtlRunner \
             would stop here"
        );
        assert_eq!(rendered("a<% %>b"), "ab");
        assert!(rendered("<%= 'a' %%>b' %>").starts_with("refused"));
    }

    /// Row 10.
    #[test]
    fn a_default_that_is_no_text_is_printed_as_ruby_prints_it() {
        for (tag, printed) in [
            ("ENV['UNSET'] || 2", "2"),
            ("ENV['UNSET'] || -0.5", "-0.5"),
            ("ENV['UNSET'] || 0.015", "0.015"),
            ("ENV['UNSET'] || true", "true"),
            ("ENV['UNSET'] || false", "false"),
            ("ENV['UNSET'] || false || nil || 'd'", "d"),
            ("ENV['UNSET'] || nil", ""),
            ("ENV['X'] || 2", "value"),
            ("ENV.fetch('UNSET', 2)", "2"),
            ("ENV.fetch('UNSET', false) || 3", "3"),
            ("ENV.fetch('UNSET') { 2 }", "2"),
            ("ENV.fetch('UNSET') { nil } || 'd'", "d"),
            ("ENV['UNSET'] || 2.to_s", "2"),
            ("true", "true"),
            ("nil", ""),
            ("42", "42"),
        ] {
            assert_eq!(rendered(&format!("<%= {tag} %>")), printed, "{tag}");
        }
    }

    #[test]
    fn comments_vanish_and_the_escape_stays() {
        assert_eq!(rendered("a<%# ENV['X'] %>b <%% x %>"), "ab <% x %>");
    }

    #[test]
    fn anything_cleverer_is_refused_with_its_place() {
        for clever in [
            "raise 'x'",
            "ENV['X' ] + ''",
            "ENV['#{1}']",
            "ENV[\"A#{1}\"]",
            "'a' 'b'",
            "ENV['X'].to_s || 'y'",
            "ENV.fetch('X') { |name| name }",
            "ENV['X'] or'd'",
            "ENV['X'] order",
            "'it\\'s'",
            "x",
            "0755",
            "1_000",
            "1.50",
            "0.00001",
            "1e3",
            "-0",
            "2r",
            "1..2",
            "true?",
            "nil_x",
            "nil.to_a",
            "2 'x'",
            "- 1",
            "+1",
            ":sym",
        ] {
            let answer = rendered(&format!("one\n  <%= {clever} %>"));
            assert!(answer.starts_with("refused: 2:3: the ERB expression"), "{answer}");
        }
        assert!(rendered("x <% if true %>").starts_with("refused: 1:3:"));
        for endless in ["x <%= ENV['X']", "x <%>", "x <%>\n"] {
            assert!(
                rendered(endless)
                    .starts_with("refused: 1:3: an ERB tag starts here and never ends"),
                "{endless}"
            );
        }
    }

    #[test]
    fn an_error_shows_the_expression_but_no_text_that_could_be_a_secret() {
        let answer =
            rendered("<%= ENV['X'] || \"hunter2\" + `cat key` + ENV.fetch('Y', 'hunter3') %>");
        assert!(
            answer.contains("`<%= ENV['X'] || \"…\" + `…` + ENV.fetch('Y', '…') %>`"),
            "{answer}"
        );
    }

    /// The result for `text` where X is `é` and LC_ALL as given.
    fn in_locale(text: &str, locale: Option<&'static str>) -> Result<String, String> {
        let env = move |name: &str| match name {
            "X" => Some("é".into()),
            "LC_ALL" => locale.map(Into::into),
            _ => None,
        };
        render(text, &env).map(|rendered| rendered.text).map_err(|error| error.to_string())
    }

    /// Row 2 of the Ruby edge cases: `LC_ALL=en_US.UTF-8` in a slim image.
    #[test]
    fn a_locale_that_is_named_but_not_installed_holds_no_letters() {
        assert_eq!(in_locale("<%= ENV['X'] %>", Some("C.UTF-8")).unwrap(), "é");
        for (locale, named) in [
            (None, "no variable names a locale"),
            (Some("C"), "LC_ALL is `C`"),
            (Some("xx_YY.UTF-8"), "LC_ALL is `xx_YY.UTF-8`"),
        ] {
            let refusal = in_locale("<%= ENV['X'] %>", locale).unwrap_err();
            let before = "1:1: the environment variable X holds letters that are not ASCII, which \
                the locale cannot hold";
            assert!(refusal.starts_with(&format!("{before} ({named}, ")), "{refusal}");
            assert!(refusal.contains("set LC_ALL=C.UTF-8"), "{refusal}");
        }
    }

    /// Row 3.
    #[test]
    fn a_literal_in_a_tag_that_is_not_ascii_needs_a_locale_of_utf_8() {
        assert_eq!(in_locale("<%= 'é' %>", Some("C.UTF-8")).unwrap(), "é");
        for locale in [None, Some("C"), Some("xx_YY.UTF-8")] {
            let refusal = in_locale("a\n  <%= 'é' %>", locale).unwrap_err();
            assert!(
                refusal.starts_with("2:3: this tag holds letters that are not ASCII, which"),
                "{refusal}"
            );
            // Outside of Ruby source the locale does not matter, in either Ruby.
            assert_eq!(in_locale("é<%# é %>", locale).unwrap(), "é");
        }
    }

    /// Row 1.
    #[test]
    fn a_comment_at_the_start_that_names_an_encoding_is_refused_unless_it_is_utf_8() {
        for text in [
            "<%# coding: latin1 %>a: b",
            "<%# Encoding: none %>\na: b",
            "<%# coding: iso-8859-1 %>a: Zoë",
            "<%#coding=us-ascii%>a: b",
            "<%# -*- coding: latin1 -*- %>a: b",
            "<%# vim: set fileencoding=cp1252 : %>a: b",
            "<%# coding: utf-8 -*- coding: latin1 -*- %>a: b",
        ] {
            let refusal = rendered(text);
            assert!(
                refusal.starts_with("refused: 1:1: this comment names an encoding"),
                "{text}: {refusal}"
            );
        }
        assert!(
            rendered("<%# x\n %><%# coding: none %>").starts_with("refused: 2:4: this comment")
        );
        for text in [
            "<%# coding: utf-8 %>a: Zoë",
            "<%# -*- coding: UTF-8 -*- %>a: Zoë",
            "<%# coding %>a: Zoë",
            "<%# no encoding here %>a: Zoë",
            "a: Zoë<%# coding: latin1 %>",
            "# coding: latin1\na: Zoë",
        ] {
            assert!(rendered(text).ends_with("a: Zoë"), "{text}: {}", rendered(text));
        }
    }

    #[test]
    fn a_tag_that_printed_nothing_names_its_variable() {
        let env = |name: &str| (name == "EMPTY").then(|| "".into());
        let text = "a: <%= ENV['EMPTY'] %>\nb: <%= ENV['N'] || ENV['M'] %><%= 'x' %><%= nil %>\n";
        let found = render(text, &env).unwrap().empty_tags;
        let shown: Vec<String> =
            found.iter().map(|tag| format!("{} {} {}", tag.at, tag.variable, tag.is_set)).collect();
        assert_eq!(shown, ["1:4 EMPTY true", "2:4 N false", "2:4 M false"]);
    }

    #[test]
    fn a_byte_order_mark_before_the_text_is_dropped() {
        assert_eq!(rendered("\u{feff}a: b"), "a: b");
        assert_eq!(rendered("a: \u{feff}b"), "a: \u{feff}b");
    }

    #[test]
    fn a_place_in_the_rendered_text_leads_back_to_the_source() {
        let source = "a: <%= ENV['X'] %> b\nc: d";
        let rendered = render(source, &env).unwrap();
        let of = |needle: &str| {
            let index = rendered.text.find(needle).unwrap();
            rendered.source(index).to_string()
        };
        assert_eq!(of("value"), "1:4");
        assert_eq!(of("b"), "1:20");
        assert_eq!(of("d"), "2:4");
        let wide = render("é: 😀 <%= ENV['X'] %>é x", &env).unwrap();
        assert_eq!(wide.source(wide.text.find('x').unwrap()).to_string(), "1:23");
    }
}
