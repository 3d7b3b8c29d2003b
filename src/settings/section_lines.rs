//! The lines of the keys within a section of a settings file, so that errors can name them.

use libyaml_safer::{Event, EventData, Parser};

/// A mapping or list that is open, and the current position in it.
enum OpenNode {
    /// A mapping, with the current key; none: the next node is a key.
    Mapping(Option<String>),
    /// A list, with the index of the current item.
    List(usize),
}

/// The keys and items below the top-level key `section` of `text`, which is known to be YAML: paths
/// such as `sentinel.rules[1].match`, each with its line from 1.
pub(super) fn lines(text: &str, section: &str) -> Vec<(String, u64)> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut lines = Vec::new();
    let mut open: Vec<OpenNode> = Vec::new();
    while let Ok(Event { data, start_mark, .. }) = parser.parse() {
        if matches!(data, EventData::StreamEnd) {
            break;
        }
        let is_end = matches!(data, EventData::MappingEnd | EventData::SequenceEnd);
        if is_end {
            open.pop();
        }
        let is_key = matches!(open.last(), Some(OpenNode::Mapping(None)));
        if let (Some(OpenNode::Mapping(key @ None)), EventData::Scalar { value, .. }) =
            (open.last_mut(), &data)
        {
            *key = Some(value.clone());
        }
        let is_item = matches!(open.last(), Some(OpenNode::List(_)));
        if (is_key || is_item)
            && !is_end
            && let Some(path) = path(&open).filter(|path| is_within(path, section))
        {
            lines.push((path, start_mark.line + 1));
        }
        match data {
            EventData::MappingStart { .. } => open.push(OpenNode::Mapping(None)),
            EventData::SequenceStart { .. } => open.push(OpenNode::List(0)),
            _ if is_key => {}
            _ => match open.last_mut() {
                Some(OpenNode::Mapping(key)) => *key = None,
                Some(OpenNode::List(index)) => *index += 1,
                None => {}
            },
        }
    }
    lines
}

/// The path of the current node; none where a key is no text.
fn path(open: &[OpenNode]) -> Option<String> {
    let mut path = String::new();
    for node in open {
        match node {
            OpenNode::Mapping(Some(key)) if path.is_empty() => path.push_str(key),
            OpenNode::Mapping(Some(key)) => path.extend([".", key]),
            OpenNode::Mapping(None) => return None,
            OpenNode::List(index) => path.extend(["[", &index.to_string(), "]"]),
        }
    }
    Some(path)
}

fn is_within(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `path` and the paths of what it is in, the closest first.
pub(super) fn and_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|end| &path[..end]))
}

/// The line of `path` among `lines`, or of the closest that it is in and that has one.
pub(super) fn line_of(lines: &[(String, u64)], path: &str) -> u64 {
    let found = and_above(path).find_map(|path| lines.iter().find(|(known, _)| known == path));
    found.map_or(1, |(_, line)| *line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_item_of_the_section_has_its_line_however_it_is_written() {
        let text = "quiet: true\nsentinel:\n  regions: [a,\n    b]\n  rules:\n    - name: x\n\
                    \x20     match: {tags: {t: v},\n        name: n}\n    - &a\n      name: y\n\
                    \x20   - *a\nother: {sentinel: {rules: 1}}\n";
        let found = lines(text, "sentinel");
        let wanted = [
            ("sentinel", 2),
            ("sentinel.regions", 3),
            ("sentinel.regions[0]", 3),
            ("sentinel.regions[1]", 4),
            ("sentinel.rules", 5),
            ("sentinel.rules[0]", 6),
            ("sentinel.rules[0].name", 6),
            ("sentinel.rules[0].match", 7),
            ("sentinel.rules[0].match.tags", 7),
            ("sentinel.rules[0].match.tags.t", 7),
            ("sentinel.rules[0].match.name", 8),
            ("sentinel.rules[1]", 9),
            ("sentinel.rules[1].name", 10),
            ("sentinel.rules[2]", 11),
        ];
        assert_eq!(found, wanted.map(|(path, line)| (path.to_owned(), line)));
        // What is written by an alias is where the alias is.
        assert_eq!(line_of(&found, "sentinel.rules[2].match.name"), 11);
        assert_eq!(line_of(&found, "sentinel.rules[0].match.name"), 8);
        assert_eq!(line_of(&[], "sentinel"), 1);
        assert_eq!(lines("[sentinel]\n", "sentinel"), []);
    }
}
