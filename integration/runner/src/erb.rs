//! Owns the one piece of ERB that the stand-in supports: `<%= ENV['X'] %>`, which is empty for an
//! unset variable.

/// Replaces every `<%= ENV['X'] %>` or `<%= ENV["X"] %>` of the whole text, comments included, as
/// ERB does.
///
/// # Errors
/// The text of the first tag of another kind. The real program would run it as Ruby.
pub fn render(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from_tag)) = rest.split_once("<%") {
        rendered.push_str(before);
        if let Some(after) = from_tag.strip_prefix('%') {
            rendered.push_str("<%");
            rest = after;
            continue;
        }
        let Some((tag, after)) = from_tag.split_once("%>") else {
            return Err(format!("<%{from_tag}"));
        };
        if !tag.starts_with('#') {
            let name = variable(tag).ok_or_else(|| format!("<%{tag}%>"))?;
            rendered.push_str(&env(name).unwrap_or_default());
        }
        rest = after;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

/// The name in `= ENV['NAME'] `.
fn variable(tag: &str) -> Option<&str> {
    let quoted = tag.strip_prefix('=')?.trim().strip_prefix("ENV[")?.strip_suffix(']')?.trim();
    ['\'', '"'].into_iter().find_map(|quote| {
        let name = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        plain.then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::render;

    fn env(name: &str) -> Option<String> {
        (name == "SC").then(|| "acme-sc".to_owned())
    }

    #[test]
    fn a_set_variable_gives_its_value_and_an_unset_one_nothing() {
        let text = "a: <%= ENV['SC'] %> # <%=ENV[\"X\"]%>\n";
        assert_eq!(render(text, &env), Ok("a: acme-sc # \n".to_owned()));
    }

    #[test]
    fn an_erb_comment_vanishes_and_a_doubled_percent_sign_is_literal() {
        assert_eq!(render("a<%# no %>b <%% c", &env), Ok("ab <% c".to_owned()));
    }

    #[test]
    fn any_other_ruby_is_refused() {
        for tag in ["<%= ENV.fetch('SC') %>", "<% abort %>", "<%= ENV['SC'] || 'x' %>"] {
            assert_eq!(render(&format!("a: {tag}"), &env), Err(tag.to_owned()));
        }
    }
}
