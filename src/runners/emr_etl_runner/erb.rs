//! ERB as EmrEtlRunner applies it, for the templates that can be judged without running Ruby.
//!
//! EmrEtlRunner renders the whole text, comments included, with `ERB.new(text).result(binding)`: no
//! trim mode, arbitrary Ruby. This module renders literal text, `<%# comment %>`, the escape `<%%`,
//! and `<%= … %>` with variables, their defaults and literals. Every other tag is refused with its
//! place, because a guess about what Ruby would print is a guess about what runs.

use crate::runners::emr_etl_runner::config_error::{ConfigError, ConfigPosition};

/// A rendered config larger than this is refused, in bytes (the real one has 2 KiB).
pub(super) const LARGEST: usize = 2 << 20;
/// A place is looked up by walking through a run of literal text, which has at most so many bytes.
const LONGEST_RUN: usize = 128;

/// The rendered text, and for each run of its bytes where in the source it came from.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// `(first rendered byte, source position, is literal)`, ascending.
    runs: Vec<(usize, ConfigPosition, bool)>,
}

impl Rendered {
    /// The place in the source of the rendered byte at `index` (from 0), as the parser counts.
    ///
    /// Text that a tag printed points at the tag, since that is where an editor must go.
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
    /// Text that something else has rendered: its places are those of the rendered text.
    ///
    /// # Errors
    /// [`ConfigError`] when it is larger than any config.
    pub(crate) fn from_rendered(text: &str) -> Result<Self, ConfigError> {
        let mut rendered = Self { text: String::with_capacity(text.len()), runs: Vec::new() };
        rendered.copy(text, ConfigPosition::START);
        rendered.check_size(ConfigPosition::START)?;
        Ok(rendered)
    }

    /// Adds text of the source that stands at `place`; gives the place behind it. A run is at most
    /// a line, and of a long line a piece, so that a look-up scans no further.
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
                    "the rendered config has more than {LARGEST} bytes; this is no EmrEtlRunner config"
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

/// Renders `source` with the values that `env` gives.
///
/// # Errors
/// [`ConfigError`] with line and column for a tag that is not understood, a tag that never ends, or a value that is not UTF-8.
pub(crate) fn render(
    source: &str,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Rendered, ConfigError> {
    let mut rendered = Rendered { text: String::with_capacity(source.len()), runs: Vec::new() };
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
        // The end is looked for behind the opening: `<%>` opens a tag and does not close it.
        let Some(length) = tag[2..].find("%>") else {
            return Err(ConfigError::at(
                place,
                "an ERB tag starts here and never ends; close it with `%>`, or write `<%%` for a literal `<%`",
            ));
        };
        let (whole, after) = tag.split_at(2 + length + 2);
        rendered.print(&evaluate(&whole[2..2 + length], place, env)?, place);
        rendered.check_size(place)?;
        place.advance_all(whole);
        rest = after;
    }
    rendered.copy(rest, place);
    Ok(rendered)
}

/// What one tag prints; `inner` is the text between `<%` and `%>`.
fn evaluate(
    inner: &str,
    place: ConfigPosition,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<String, ConfigError> {
    // `%%>` would be a literal `%>` inside the tag, and the tag would go on.
    if !inner.ends_with('%') {
        if inner.starts_with('#') || (!inner.is_empty() && inner.trim_matches(BLANK).is_empty()) {
            return Ok(String::new());
        }
        // A line break may end an expression, depending on what stands around it.
        if let Some(alternatives) = inner
            .strip_prefix('=')
            .filter(|expression| !expression.contains(['\n', '\r']))
            .and_then(Expression::parse)
        {
            return value(&alternatives, place, env);
        }
    }
    Err(ConfigError::at(
        place,
        format!(
            "the ERB expression `<%{}%>` cannot be judged without running Ruby; write <%= ENV['NAME'] %>, <%= ENV.fetch('NAME', 'default') %> or a plain value, or name a Ruby in the setting `erb`",
            masked(inner)
        ),
    ))
}

/// What Ruby takes for a blank within a line; any other blank of Unicode is a letter to it.
const BLANK: [char; 2] = [' ', '\t'];

/// One operand of an expression in a tag.
#[derive(Debug, PartialEq, Eq)]
enum Expression<'a> {
    /// `ENV['X']`: nil when unset.
    Variable(&'a str),
    /// `ENV.fetch('X')`, perhaps with a default behind it or in a block: raises when unset and
    /// there is none.
    Fetch(&'a str, Option<&'a str>),
    /// `'text'`.
    Literal(&'a str),
}

impl<'a> Expression<'a> {
    /// Operands joined by `||` or `or`; `None` for anything else that Ruby could mean.
    fn parse(text: &'a str) -> Option<Vec<Self>> {
        let mut rest = text.trim_matches(BLANK);
        let mut operands = Vec::new();
        loop {
            let (operand, after) = Self::operand(rest)?;
            operands.push(operand);
            rest = after.trim_start_matches(BLANK);
            while let Some(after) = rest.strip_prefix(".to_s") {
                // `nil.to_s` is no longer nil; behind it an alternative would never be reached.
                let after = after.trim_start_matches(BLANK);
                if !after.is_empty() {
                    return None;
                }
                rest = after;
            }
            if rest.is_empty() {
                return Some(operands);
            }
            // `or` binds weaker than `||`, which makes no difference among operands that all are
            // alternatives.
            let spelled = after
                .strip_prefix(BLANK)
                .and(rest.strip_prefix("or"))
                .filter(|after| after.starts_with(BLANK));
            rest = rest.strip_prefix("||").or(spelled)?.trim_start_matches(BLANK);
        }
    }

    fn operand(text: &'a str) -> Option<(Self, &'a str)> {
        if let Some(rest) = text.strip_prefix("ENV[") {
            let (name, rest) = literal(rest.trim_start_matches(BLANK))?;
            return Some((
                Self::Variable(variable_name(name)?),
                rest.trim_start_matches(BLANK).strip_prefix(']')?,
            ));
        }
        if let Some(rest) = text.strip_prefix("ENV.fetch(") {
            let (name, rest) = literal(rest.trim_start_matches(BLANK))?;
            let name = variable_name(name)?;
            let rest = rest.trim_start_matches(BLANK);
            if let Some(rest) = rest.strip_prefix(')') {
                let Some(block) = rest.trim_start_matches(BLANK).strip_prefix('{') else {
                    return Some((Self::Fetch(name, None), rest));
                };
                let (default, rest) = literal(block.trim_start_matches(BLANK))?;
                return Some((
                    Self::Fetch(name, Some(default)),
                    rest.trim_start_matches(BLANK).strip_prefix('}')?,
                ));
            }
            let (default, rest) = literal(rest.strip_prefix(',')?.trim_start_matches(BLANK))?;
            return Some((
                Self::Fetch(name, Some(default)),
                rest.trim_start_matches(BLANK).strip_prefix(')')?,
            ));
        }
        literal(text).map(|(text, rest)| (Self::Literal(text), rest))
    }
}

/// A text in quotes that Ruby takes as it stands (no escapes, nothing interpolated), and what
/// follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (inside, rest) = text[1..].split_once(quote)?;
    let plain = !inside.contains(['\\', '\n', '\r']) && (quote == '\'' || !inside.contains('#'));
    // Two texts side by side are one text to Ruby.
    (plain && !rest.trim_start_matches(BLANK).starts_with(['\'', '"'])).then_some((inside, rest))
}

fn variable_name(name: &str) -> Option<&str> {
    (!name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_'))
    .then_some(name)
}

/// Whether the environment asks for UTF-8, by the variables in the order that counts.
fn has_utf8_locale(env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let set = |name: &&str| env(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(set)
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The first operand that is not nil, as `||` chooses; nil prints as nothing.
fn value(
    operands: &[Expression<'_>],
    place: ConfigPosition,
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<String, ConfigError> {
    let text = |name: &str, value: std::ffi::OsString| {
        let refuse =
            |why: &str| ConfigError::at(place, format!("the environment variable {name} {why}"));
        let value = value.into_string().map_err(|_| refuse("is not valid UTF-8"))?;
        // JRuby turns such letters into question marks where the locale cannot hold them, which is
        // how cron starts it.
        if value.is_ascii() || has_utf8_locale(env) {
            Ok(value)
        } else {
            Err(refuse("holds letters that the locale cannot: set LC_ALL=C.UTF-8"))
        }
    };
    for operand in operands {
        match operand {
            Expression::Literal(literal) => return Ok((*literal).to_owned()),
            Expression::Variable(name) => {
                if let Some(value) = env(name) {
                    return text(name, value);
                }
            }
            Expression::Fetch(name, default) => match (env(name), default) {
                (Some(value), _) => return text(name, value),
                (None, Some(default)) => return Ok((*default).to_owned()),
                (None, None) => {
                    return Err(ConfigError::at(
                        place,
                        format!(
                            "ENV.fetch: the environment variable {name} is not set; EmrEtlRunner would stop here"
                        ),
                    ));
                }
            },
        }
    }
    Ok(String::new())
}

/// An expression for an error message: texts in quotes are masked, because a default may be a
/// secret; names of variables stay.
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
            "refused: 2:1: ENV.fetch: the environment variable UNSET is not set; EmrEtlRunner would stop here"
        );
        assert_eq!(rendered("a<% %>b"), "ab");
        assert!(rendered("<%= 'a' %%>b' %>").starts_with("refused"));
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

    #[test]
    fn letters_that_the_locale_cannot_hold_are_refused() {
        let with = |locale: Option<&'static str>| {
            let env = move |name: &str| match name {
                "X" => Some("é".into()),
                "LANG" => locale.map(Into::into),
                _ => None,
            };
            render("<%= ENV['X'] %>", &env)
                .map(|rendered| rendered.text)
                .map_err(|error| error.to_string())
        };
        assert_eq!(with(Some("en_GB.UTF-8")).unwrap(), "é");
        assert_eq!(
            with(None).unwrap_err(),
            "1:1: the environment variable X holds letters that the locale cannot: set LC_ALL=C.UTF-8"
        );
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
