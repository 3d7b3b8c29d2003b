//! Text for Markdown, shown as it stands: only what stands between backticks is code. Text that
//! others have written steers nothing: no markup, no HTML, and no code that ends elsewhere than here.

/// Text that stays within its cell of a table, or within its line.
pub(crate) fn cell(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // Backticks that do not pair are not ours: they are shown, and make nothing code. Nor are several
    // in a row, which a reader of Markdown would pair otherwise than this does. Source: CommonMark
    // 0.31, Code spans.
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

/// A name as code; as plain text where code could not show it.
pub(crate) fn name(text: &str) -> String {
    if text.is_empty() || text.contains('`') { cell(text) } else { format!("`{}`", code(text)) }
}

/// Within code only the cell's own border and the line's end matter.
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
        // By CommonMark, a row of three backticks that nothing closes is text, and the tag is HTML.
        assert_eq!(cell("```<img src=x>`"), r"\`\`\`&lt;img src=x>\`");
        assert_eq!(cell("``<b>``"), r"\`\`&lt;b>\`\`");
        assert_eq!(name("a`<b>`c.yml"), "a`<b>`c.yml");
        assert_eq!(name("a`b"), r"a\`b");
        assert_eq!(name("config|x.yml"), r"`config\|x.yml`");
    }
}
