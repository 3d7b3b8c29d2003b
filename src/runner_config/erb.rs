//! ERB as EmrEtlRunner applies it, for the templates that can be judged without running Ruby.
//!
//! EmrEtlRunner renders the whole text, comments included, with `ERB.new(text).result(binding)`: no trim mode, arbitrary Ruby.
//! This module renders literal text, `<%# comment %>`, the escape `<%%`, and `<%= ENV['X'] %>`. Every other tag is refused with
//! its place, because a guess about what Ruby would print is a guess about what runs.

use super::{ConfigError, Position};

/// The rendered text, and for each run of its characters where in the source it came from.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// `(first rendered character, source position, is literal)`, ascending.
    runs: Vec<(usize, Position, bool)>,
}

impl Rendered {
    /// The place in the source of the rendered character at `index`, `line` and `column` (all from 0).
    ///
    /// Text that a tag printed points at the tag, since that is where an editor must go.
    pub(crate) fn source(&self, index: usize) -> Position {
        let run = self.runs.partition_point(|(start, _, _)| *start <= index).saturating_sub(1);
        let Some(&(start, position, literal)) = self.runs.get(run) else { return Position::START };
        if !literal {
            return position;
        }
        let mut place = position;
        for character in self.text.chars().skip(start).take(index - start) {
            place.advance(character);
        }
        place
    }
}

/// Renders `source` with the values that `env` gives.
///
/// # Errors
/// [`ConfigError`] with line and column for a tag that is not understood, a tag that never ends, or a value that is not UTF-8.
pub(crate) fn render(source: &str, env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<Rendered, ConfigError> {
    let mut text = String::with_capacity(source.len());
    let mut runs = Vec::new();
    let mut rendered_characters = 0;
    let mut place = Position::START;
    let mut rest = source;

    let mut push = |text: &mut String, piece: &str, at: Position, literal: bool| {
        if !piece.is_empty() {
            runs.push((rendered_characters, at, literal));
            rendered_characters += piece.chars().count();
            text.push_str(piece);
        }
    };

    while let Some(start) = rest.find("<%") {
        let (literal, tag) = rest.split_at(start);
        push(&mut text, literal, place, true);
        place.advance_all(literal);
        if let Some(after) = tag.strip_prefix("<%%") {
            push(&mut text, "<%", place, false);
            place.advance_all("<%%");
            rest = after;
            continue;
        }
        let Some(end) = tag.find("%>") else {
            return Err(ConfigError::at(place, "an ERB tag starts here and never ends; close it with `%>`, or write `<%%` for a literal `<%`"));
        };
        let (whole, after) = tag.split_at(end + 2);
        let value = evaluate(&whole[2..end], place, env)?;
        push(&mut text, &value, place, false);
        place.advance_all(whole);
        rest = after;
    }
    push(&mut text, rest, place, true);
    Ok(Rendered { text, runs })
}

/// What one tag prints; `inner` is the text between `<%` and `%>`.
fn evaluate(inner: &str, place: Position, env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<String, ConfigError> {
    if inner.starts_with('#') {
        return Ok(String::new());
    }
    let Some(name) = inner.strip_prefix('=').and_then(environment_variable) else {
        return Err(ConfigError::at(
            place,
            format!("the ERB expression `<%{}%>` cannot be judged without running Ruby; write <%= ENV['NAME'] %>, or a plain value", masked(inner)),
        ));
    };
    match env(name) {
        None => Ok(String::new()),
        Some(value) => value.into_string().map_err(|_| ConfigError::at(place, format!("the environment variable {name} is not valid UTF-8"))),
    }
}

/// An expression for an error message: texts in quotes are masked, because a default may be a secret; names of variables stay.
fn masked(expression: &str) -> String {
    let mut shown = String::new();
    let mut quote = None;
    for character in expression.chars() {
        match quote {
            None => {
                let names_a_variable = ["ENV[", "ENV.fetch("].iter().any(|before| shown.ends_with(before));
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

/// `X` of `ENV['X']` or `ENV["X"]`, with blanks around it.
fn environment_variable(expression: &str) -> Option<&str> {
    let inside = expression.trim().strip_prefix("ENV[")?.strip_suffix(']')?.trim();
    let name = ['\'', '"'].iter().find_map(|quote| inside.strip_prefix(*quote)?.strip_suffix(*quote))?;
    let plain = !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<std::ffi::OsString> {
        (name == "X").then(|| "value".into())
    }

    fn rendered(source: &str) -> String {
        render(source, &env).map_or_else(|error| format!("refused: {error}"), |rendered| rendered.text)
    }

    #[test]
    fn values_come_from_the_environment_and_an_unset_one_is_empty() {
        assert_eq!(rendered("a: <%= ENV['X'] %>\nb: <%=ENV[\"X\"]%>\nc: <%= ENV['UNSET'] %>."), "a: value\nb: value\nc: .");
    }

    #[test]
    fn comments_vanish_and_the_escape_stays() {
        assert_eq!(rendered("a<%# ENV['X'] %>b <%% x %>"), "ab <% x %>");
    }

    #[test]
    fn anything_cleverer_is_refused_with_its_place() {
        for clever in ["ENV.fetch('X')", "ENV['X'] || 'y'", "raise 'x'", "ENV['X' ] + ''", "ENV['#{1}']"] {
            let answer = rendered(&format!("one\n  <%= {clever} %>"));
            assert!(answer.starts_with("refused: 2:3: the ERB expression"), "{answer}");
        }
        assert!(rendered("x <% if true %>").starts_with("refused: 1:3:"));
        assert!(rendered("x <%= ENV['X']").starts_with("refused: 1:3: an ERB tag starts here and never ends"));
    }

    #[test]
    fn an_error_shows_the_expression_but_no_text_that_could_be_a_secret() {
        let answer = rendered("<%= ENV['X'] || \"hunter2\" + `cat key` + ENV.fetch('Y', 'hunter3') %>");
        assert!(answer.contains("`<%= ENV['X'] || \"…\" + `…` + ENV.fetch('Y', '…') %>`"), "{answer}");
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
    }
}
