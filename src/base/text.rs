//! Numbers, sizes and times in words.

use std::fmt::Display;

use time::OffsetDateTime;

/// A time for people: UTC, to the second.
pub(crate) fn shown(time: OffsetDateTime) -> String {
    let (date, time) = (time.date(), time.time());
    format!("{date}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

/// A word for a shell's command line: unchanged, or quoted if the shell would read it differently.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The maximum number of edits between a mistyped name and the intended one.
const LARGEST_TYPO: usize = 2;

/// The name in `known` of which `name` is probably a misspelling.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    // Computing the distance takes the product of both lengths, so names of other lengths are
    // skipped.
    let near = known.into_iter().filter(|known| known.len().abs_diff(name.len()) <= LARGEST_TYPO);
    let nearest = near.map(|known| (distance(&known), known)).min_by_key(|(edits, _)| *edits);
    nearest.filter(|(edits, _)| (1..=LARGEST_TYPO).contains(edits)).map(|(_, known)| known)
}

/// The text `; did you mean `x`?`, if `name` is probably a misspelling of one of `known`; else
/// empty.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 object`, `1,234 objects`.
pub(crate) fn grouped_count(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A size such as `1.5 GB`, in powers of ten as S3's consoles and bills show it.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub(crate) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in units {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1 object`, `2 objects`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_at_most_two_edits_away() {
        let known = ["require", "report", "bucket-exists", "quiet"];
        for (name, meant) in [
            ("requre", Some("require")),
            ("reprot", Some("report")),
            ("bucket-exist", Some("bucket-exists")),
            ("bucket", None),
            ("require", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
        assert_eq!(did_you_mean("quite", known), "; did you mean `quiet`?");
        assert_eq!(did_you_mean("x", known), "");
    }

    #[test]
    fn a_word_of_a_shell_is_in_quotes_only_where_the_shell_would_read_something_else() {
        for plain in ["eu-west-1", "j-1ABC", "s3://bucket/a_b.c"] {
            assert_eq!(shell_word(plain), plain);
        }
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a b;$(c)"), "'a b;$(c)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
