//! Recognises common mistakes in configs where the parser or the contract rejects them: a missing
//! blank after a colon, a tab as indentation, an unrendered template.

/// The number of non-empty lines that are searched: the parser stops at the line of the mistake, or
/// after it.
const LINES: usize = 3;
/// The maximum length of a placeholder's name that is shown, in bytes.
const LONGEST_NAME: usize = 64;

/// A mistake in a text.
pub(super) struct Mistake {
    /// The byte offset in the text.
    pub(super) index: usize,
    /// A description and the fix, as a clause.
    pub(super) what: String,
}

/// The mistake that made a parser stop at `index` of `text`, if it is a known one.
pub(super) fn at(text: &str, index: usize) -> Option<Mistake> {
    let index = text.floor_char_boundary(index.min(text.len()));
    let end = text[index..].find('\n').map_or(text.len(), |length| index + length);
    let mut line_end = end;
    let mut lines = Vec::new();
    while lines.len() < LINES {
        let start = text[..line_end].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &text[start..line_end];
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            lines.push((start, line));
        }
        let Some(before) = start.checked_sub(1) else { break };
        line_end = before;
    }
    let on_line = |find: fn(&str) -> Option<(usize, String)>| {
        lines.iter().find_map(|(start, line)| {
            let (place, what) = find(line)?;
            Some(Mistake { index: start + place, what })
        })
    };
    // The certain ones come first.
    on_line(unrendered_on_line).or_else(|| on_line(tab)).or_else(|| on_line(missing_blank_on_line))
}

/// A template's placeholder in `text`, such as `{{NAME}}` or `${NAME}`, as written.
pub(super) fn placeholder(text: &str) -> Option<(usize, &str)> {
    [("{{", "}}"), ("${", "}")].into_iter().find_map(|(opening, closing)| {
        let start = text.find(opening)?;
        let length = text[start + opening.len()..].find(closing)?;
        let name = &text[start + opening.len()..start + opening.len() + length];
        let is_name = name.len() <= LONGEST_NAME
            && name.chars().any(char::is_alphanumeric)
            && name.chars().all(|character| {
                character.is_alphanumeric() || matches!(character, ' ' | '_' | '-' | '.' | '$')
            });
        is_name.then(|| (start, &text[start..start + opening.len() + length + closing.len()]))
    })
}

/// The message about a placeholder.
pub(super) fn unrendered(placeholder: &str) -> String {
    format!(
        "`{placeholder}` is here, which looks like a template's placeholder that was not filled \
         in; render the template first, or write <%= ENV['NAME'] %> in its place"
    )
}

/// The key in `text`, if it is a key and a value without a blank after the colon: YAML reads that
/// as a text.
pub(super) fn missing_blank(text: &str) -> Option<&str> {
    let text = text.lines().next().unwrap_or_default();
    let name = text.strip_prefix(':').unwrap_or(text);
    let length = name.find(|character: char| {
        !character.is_ascii_alphanumeric() && !matches!(character, '_' | '-')
    })?;
    let value = name[length..].strip_prefix(':')?;
    let is_key = name.starts_with(|first: char| first.is_ascii_alphabetic())
        // `s3://…`, `a::b` and `12:30` do not contain a key.
        && !value.starts_with([' ', '\t', ':', '/'])
        && !value.is_empty();
    is_key.then(|| &text[..text.len() - value.len()])
}

fn unrendered_on_line(line: &str) -> Option<(usize, String)> {
    placeholder(line).map(|(place, placeholder)| (place, unrendered(placeholder)))
}

fn tab(line: &str) -> Option<(usize, String)> {
    let indentation = line.len() - line.trim_start().len();
    let place = line[..indentation].find('\t')?;
    Some((place, "a tab indents this line, which YAML does not allow; use blanks".to_owned()))
}

fn missing_blank_on_line(line: &str) -> Option<(usize, String)> {
    let inside = line.trim_start_matches([' ', '-']);
    let key = missing_blank(inside)?;
    Some((
        line.len() - inside.len() + key.len(),
        format!("a space is missing after `{key}` here; without it, YAML reads the line as text"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_told_from_braces_that_mean_something() {
        for (text, found) in [
            ("{{SC}}", Some("{{SC}}")),
            ("s3://{{ .Values.bucket }}/x", Some("{{ .Values.bucket }}")),
            ("${ENV_NAME}-x", Some("${ENV_NAME}")),
            ("{a: {b: c}}", None),
            ("{{}}", None),
            ("{{a: b}}", None),
            ("$x {y}", None),
            ("{{", None),
        ] {
            assert_eq!(placeholder(text).map(|(_, placeholder)| placeholder), found, "{text}");
        }
    }

    #[test]
    fn a_missing_blank_is_told_from_addresses_times_and_symbols() {
        for (text, key) in [
            ("region:eu-west-1", Some("region:")),
            (":region:eu-west-1", Some(":region:")),
            ("tags:{}", Some("tags:")),
            ("level:DEBUG logging", Some("level:")),
            ("s3://acme/x", None),
            ("12:30:00", None),
            ("a::b", None),
            ("region:", None),
            ("region: x", None),
            ("two words:x", None),
        ] {
            assert_eq!(missing_blank(text), key, "{text}");
        }
    }
}
