//! Text for Markdown that is shown literally; only text between backticks becomes code. Untrusted
//! text can add no markup and no HTML, and cannot end a code span early.

/// Text for a table's cell or for one line. It cannot end the cell or the line.
pub(crate) fn cell(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // Unpaired backticks are shown as they are and start no code. The same holds for several in a
    // row, which a Markdown reader could pair differently. Source: CommonMark 0.31, Code spans.
    let in_a_row = text.contains("``");
    if in_a_row || parts.len().is_multiple_of(2) {
        return parts.into_iter().map(plain).collect::<Vec<_>>().join("\\`");
    }
    let shown = |(index, part): (usize, &str)| {
        if index % 2 == 1 { format!("`{}`", code(part)) } else { plain(part) }
    };
    parts.into_iter().enumerate().map(shown).collect()
}

fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '*' | '_' | '[' | ']' | '~' | '$' | '\\' => safe.extend(['\\', character]),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// A name as code, or as plain text if it cannot be shown as code.
pub(crate) fn name(text: &str) -> String {
    if text.is_empty() || text.contains('`') { cell(text) } else { format!("`{}`", code(text)) }
}

/// Within code only the cell's border and the line's end need escapes.
fn code(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_cell() {
        assert_eq!(
            cell("a|b\n<script> `x_y|z` *y* s3_key"),
            "a\\|b &lt;script> `x_y\\|z` \\*y\\* s3\\_key"
        );
        assert_eq!(cell("one ` alone"), "one \\` alone");
        assert_eq!(cell("~~gone~~ $x$"), "\\~\\~gone\\~\\~ \\$x\\$");
    }

    #[test]
    fn no_backticks_of_others_let_html_out_of_code() {
        // In CommonMark, an unclosed row of three backticks is text, and the tag would be HTML.
        assert_eq!(cell("```<img src=x>`"), r"\`\`\`&lt;img src=x>\`");
        assert_eq!(cell("``<b>``"), r"\`\`&lt;b>\`\`");
        assert_eq!(name("a`<b>`c.yml"), "a`<b>`c.yml");
        assert_eq!(name("a`b"), r"a\`b");
        assert_eq!(name("config|x.yml"), r"`config\|x.yml`");
    }
}
