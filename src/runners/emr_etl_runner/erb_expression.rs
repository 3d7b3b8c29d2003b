//! The Ruby expressions in ERB tags that are supported: environment variables, literals, and
//! alternatives of these.

/// The characters that Ruby treats as blanks within a line; any other Unicode blank is a letter to
/// it.
pub(super) const BLANK: [char; 2] = [' ', '\t'];
/// The maximum number of digits of a supported integer: Ruby prints these unchanged.
const MOST_DIGITS: usize = 18;
/// The maximum number of decimals of a supported float: Ruby prints smaller ones with an exponent.
const MOST_DECIMALS: usize = 4;

/// A literal in Ruby source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal<'a> {
    /// `'text'`.
    Text(&'a str),
    /// `2`, `-0.5`: a number that Ruby prints as it is written.
    Number(&'a str),
    True,
    False,
    Nil,
}

impl<'a> Literal<'a> {
    /// What `<%= … %>` prints for it.
    pub(super) fn printed(&self) -> &'a str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
            Self::True => "true",
            Self::False => "false",
            Self::Nil => "",
        }
    }

    /// Whether `||` stops at it.
    pub(super) fn is_truthy(&self) -> bool {
        !matches!(self, Self::False | Self::Nil)
    }

    /// A literal, and the text after it.
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        if text.starts_with(['\'', '"']) {
            return quoted(text).map(|(text, rest)| (Self::Text(text), rest));
        }
        let words = [("true", Self::True), ("false", Self::False), ("nil", Self::Nil)];
        for (word, literal) in words {
            if let Some(rest) = text.strip_prefix(word) {
                // `true?` and `nil_x` are other identifiers.
                let goes_on = |next: char| {
                    next.is_alphanumeric()
                        || !next.is_ascii()
                        || matches!(next, '_' | '?' | '!' | ':')
                };
                return (!rest.starts_with(goes_on)).then_some((literal, rest));
            }
        }
        number(text).map(|(number, rest)| (Self::Number(number), rest))
    }
}

/// One operand of an expression in a tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression<'a> {
    /// `ENV['X']`: nil when unset.
    Variable(&'a str),
    /// `ENV.fetch('X')`, possibly with a default as argument or in a block; without one it raises
    /// when unset.
    Fetch(&'a str, Option<Literal<'a>>),
    /// `'text'`, `2`, `true`.
    Literal(Literal<'a>),
}

impl<'a> Expression<'a> {
    /// Operands joined by `||` or `or`; `None` for any other expression.
    pub(super) fn parse(text: &'a str) -> Option<Vec<Self>> {
        let mut rest = text.trim_matches(BLANK);
        let mut operands = Vec::new();
        loop {
            let (operand, after) = Self::operand(rest)?;
            operands.push(operand);
            rest = after.trim_start_matches(BLANK);
            while let Some(after) = rest.strip_prefix(".to_s") {
                // `nil.to_s` is no longer nil; an alternative after it would never be reached.
                let after = after.trim_start_matches(BLANK);
                if !after.is_empty() {
                    return None;
                }
                rest = after;
            }
            if rest.is_empty() {
                return Some(operands);
            }
            // `or` binds weaker than `||`, which makes no difference among alternatives only.
            let spelled = after
                .strip_prefix(BLANK)
                .and(rest.strip_prefix("or"))
                .filter(|after| after.starts_with(BLANK));
            rest = rest.strip_prefix("||").or(spelled)?.trim_start_matches(BLANK);
        }
    }

    fn operand(text: &'a str) -> Option<(Self, &'a str)> {
        if let Some(rest) = text.strip_prefix("ENV[") {
            let (name, rest) = quoted(rest.trim_start_matches(BLANK))?;
            return Some((
                Self::Variable(variable_name(name)?),
                rest.trim_start_matches(BLANK).strip_prefix(']')?,
            ));
        }
        if let Some(rest) = text.strip_prefix("ENV.fetch(") {
            let (name, rest) = quoted(rest.trim_start_matches(BLANK))?;
            let name = variable_name(name)?;
            let rest = rest.trim_start_matches(BLANK);
            if let Some(rest) = rest.strip_prefix(')') {
                let Some(block) = rest.trim_start_matches(BLANK).strip_prefix('{') else {
                    return Some((Self::Fetch(name, None), rest));
                };
                let (default, rest) = Literal::parse(block.trim_start_matches(BLANK))?;
                return Some((
                    Self::Fetch(name, Some(default)),
                    rest.trim_start_matches(BLANK).strip_prefix('}')?,
                ));
            }
            let (default, rest) =
                Literal::parse(rest.strip_prefix(',')?.trim_start_matches(BLANK))?;
            return Some((
                Self::Fetch(name, Some(default)),
                rest.trim_start_matches(BLANK).strip_prefix(')')?,
            ));
        }
        Literal::parse(text).map(|(literal, rest)| (Self::Literal(literal), rest))
    }
}

/// A quoted text that Ruby reads literally (no escapes, no interpolation), and the text after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (inside, rest) = text[1..].split_once(quote)?;
    let plain = !inside.contains(['\\', '\n', '\r']) && (quote == '\'' || !inside.contains('#'));
    // Ruby concatenates two adjacent texts.
    (plain && !rest.trim_start_matches(BLANK).starts_with(['\'', '"'])).then_some((inside, rest))
}

/// A number that Ruby prints as it is written, and the text after it. `0755`, `1_000`, `1.50` and
/// `1e3` are printed differently.
fn number(text: &str) -> Option<(&str, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(unsigned);
    let mut end = whole;
    let fraction = unsigned[whole..].strip_prefix('.').map_or(0, digits);
    if fraction > 0 {
        end += 1 + fraction;
    }
    let (number, rest) = unsigned.split_at(end);
    let is_canonical = whole > 0
        && whole + fraction <= MOST_DIGITS
        && (whole == 1 || !number.starts_with('0'))
        && (fraction == 0 || fraction <= MOST_DECIMALS)
        && (fraction <= 1 || !number.ends_with('0'))
        // `-0` is printed as `0`.
        && !(text.starts_with('-') && number.bytes().all(|byte| byte == b'0'));
    let goes_on = |next: char| next.is_alphanumeric() || !next.is_ascii() || next == '_';
    if !is_canonical || rest.starts_with(goes_on) {
        return None;
    }
    Some((&text[..text.len() - rest.len()], rest))
}

fn variable_name(name: &str) -> Option<&str> {
    (!name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_'))
    .then_some(name)
}
