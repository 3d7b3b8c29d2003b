//! The form of an answer: each field by its path, with its values. Values that differ from call to
//! call (ids, times, accounts) are replaced by their kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};
use regex::Regex;
use serde_json::Value;

use crate::contracts::proxy::Answer;

/// Fields by path. All items of a list share one path.
pub(super) type Form = BTreeMap<String, BTreeSet<String>>;

/// Headers that every answer of a service has; they carry no facts.
const OF_EVERY_ANSWER: [&str; 3] = ["x-amz-request-id", "x-amz-id-2", "x-amzn-requestid"];

/// The form of an answer. Headers are included if S3 puts facts in them, or if `named` lists them.
///
/// # Panics
/// When the body is neither JSON nor XML.
pub(super) fn form(answer: &Answer, named: &BTreeMap<String, String>, is_content: bool) -> Form {
    let mut form = Form::new();
    add(&mut form, "status", answer.status.to_string());
    for (name, value) in &answer.headers {
        let has_facts = name.starts_with("x-amz-") && !OF_EVERY_ANSWER.contains(&name.as_str());
        if has_facts || named.contains_key(name) {
            add(&mut form, &format!("header {name}"), kind(value));
        }
    }
    let text = std::str::from_utf8(&answer.body).unwrap();
    if is_content {
        add(&mut form, "content", text.to_owned());
    } else if matches!(text, "" | "{}") {
        // Parsed recordings do not show which kind of empty body it was.
        add(&mut form, "body", "empty".to_owned());
    } else if text.starts_with('<') {
        of_xml(&mut form, text);
    } else if text.starts_with(['{', '[']) {
        of_json(&mut form, "", &serde_json::from_str(text).unwrap());
    } else {
        // GetBucketPolicy answers with the policy itself.
        panic!("neither JSON nor XML: {text}");
    }
    form
}

/// The form of facts that the guard has read.
pub(super) fn of_facts(facts: &Value) -> Form {
    let mut form = Form::new();
    of_json(&mut form, "", facts);
    // The number of digits in a time does not matter here.
    for values in form.values_mut() {
        if values.remove("a time with milliseconds") {
            values.insert("a time".to_owned());
        }
    }
    form
}

fn add(form: &mut Form, path: &str, value: String) {
    form.entry(path.to_owned()).or_default().insert(value);
}

fn of_json(form: &mut Form, path: &str, value: &Value) {
    match value {
        Value::Object(fields) if fields.is_empty() => add(form, path, "{}".to_owned()),
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                of_json(form, &format!("{path}{dot}{name}"), field);
            }
        }
        Value::Array(items) if items.is_empty() => add(form, path, "[]".to_owned()),
        Value::Array(items) => {
            for item in items {
                of_json(form, &format!("{path}[]"), item);
            }
        }
        // EMR and KMS write times as seconds since 1970, in fields of such names.
        Value::Number(number)
            if is_date(path) || number.as_i64().is_some_and(|it| it > 1 << 32) =>
        {
            add(form, path, "a time in seconds".to_owned());
        }
        Value::Number(number) => add(form, path, format!("the number {number}")),
        Value::Bool(truth) => add(form, path, format!("the truth {truth}")),
        Value::Null => add(form, path, "null".to_owned()),
        Value::String(text) => add(form, path, kind(text)),
    }
}

fn is_date(path: &str) -> bool {
    ["DateTime", "Date"].iter().any(|end| path.ends_with(end))
}

/// Adds the element that opens here, with its attributes as fields.
fn opened(form: &mut Form, above: &str, start: &BytesStart<'_>) -> String {
    let name = String::from_utf8(start.name().into_inner().to_vec()).unwrap();
    let path = format!("{above}/{name}");
    for attribute in start.attributes().map(Result::unwrap) {
        let key = std::str::from_utf8(attribute.key.into_inner()).unwrap();
        let value = std::str::from_utf8(&attribute.value).unwrap();
        add(form, &format!("{path}@{key}"), value.to_owned());
    }
    path
}

fn of_xml(form: &mut Form, text: &str) {
    let mut reader = Reader::from_str(text);
    // For each open element: its path, its text so far, and whether it has a child element.
    let mut open: Vec<(String, String, bool)> = Vec::new();
    loop {
        let above = open.last().map_or("", |(path, ..)| path.as_str()).to_owned();
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                let path = opened(form, &above, &start);
                if let Some((.., has_elements)) = open.last_mut() {
                    *has_elements = true;
                }
                open.push((path, String::new(), false));
            }
            Event::Empty(start) => {
                let path = opened(form, &above, &start);
                if let Some((.., has_elements)) = open.last_mut() {
                    *has_elements = true;
                }
                add(form, &path, "empty".to_owned());
            }
            Event::Text(piece) => text_of(&mut open).push_str(&piece.xml10_content().unwrap()),
            Event::GeneralRef(reference) => {
                let name = reference.decode().unwrap();
                let text = text_of(&mut open);
                match reference.resolve_char_ref().unwrap() {
                    Some(letter) => text.push(letter),
                    None => text.push_str(resolve_predefined_entity(&name).unwrap()),
                }
            }
            Event::End(_) => {
                let (path, text, has_elements) = open.pop().unwrap();
                match text.trim() {
                    "" if has_elements => {}
                    "" => add(form, &path, "empty".to_owned()),
                    _ if ["RequestId", "HostId", "requestId"]
                        .iter()
                        .any(|it| path.ends_with(it)) =>
                    {
                        add(form, &path, "an id of a request".to_owned());
                    }
                    text => add(form, &path, kind(text)),
                }
            }
            Event::Eof => return,
            _ => {}
        }
    }
}

/// Text between the root and the end of the document is white space.
fn text_of(open: &mut Vec<(String, String, bool)>) -> &mut String {
    if open.is_empty() {
        open.push((String::new(), String::new(), true));
    }
    &mut open.last_mut().unwrap().1
}

/// The kind of a text that differs by account or call; otherwise the text itself.
fn kind(text: &str) -> String {
    static KINDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let kinds = [
            (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", "a time with milliseconds"),
            (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", "a time"),
            (r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", "a date of HTTP"),
            (r"^\d{12}$", "an account"),
            (r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "a UUID"),
            (r#"^"?[0-9a-f]{32}"?$"#, "an MD5"),
            (r#"^"?[0-9a-f]{32}-\d+"?$"#, "an MD5 of parts"),
            (r"^(sha256:)?[0-9a-f]{64}$", "a digest or canonical user"),
            (r"^(j|s|ig|if|ci)-[0-9A-Z]+$", "an id of EMR"),
            (r"^(i|vol|snap|vpc|subnet|dopt|sg)-[0-9a-f]{8,17}$", "an id of EC2"),
            (r"^A(ROA|IPA|IDA|KIA|GPA)[0-9A-Z]{12,}(:.*)?$", "a unique id of IAM"),
            (r"^(\d{1,3}\.){3}\d{1,3}$", "an address"),
            (r"^(ip|ec2)(-\d{1,3}){4}\..*$", "the name of an instance"),
            (r"^[A-Za-z0-9+/]{6}==$", "a CRC32"),
            (r"^[A-Za-z0-9+/]{11}=$", "a CRC64"),
            (r"^https?://[^ ]*amazonaws.com/[^ ]*key$", "a URL"),
        ];
        kinds.map(|(pattern, kind)| (Regex::new(pattern).unwrap(), kind)).into()
    });
    static ARN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^arn:aws:([a-z0-9\-]+):[a-z0-9\-]*:(\d*):([a-z\-]+[:/])?").unwrap()
    });
    if let Some(parts) = ARN.captures(text) {
        let kind = parts.get(3).map_or("", |kind| kind.as_str().trim_end_matches([':', '/']));
        return format!("an ARN of {} {kind}", &parts[1]).trim_end().to_owned();
    }
    match KINDS.iter().find(|(pattern, _)| pattern.is_match(text)) {
        Some((_, kind)) => (*kind).to_owned(),
        None if is_opaque(text) => "an opaque id".to_owned(),
        None => text.to_owned(),
    }
}

/// Whether this is an opaque id (a version, an upload, a receipt): long, of digits and letters.
fn is_opaque(text: &str) -> bool {
    text.len() >= 24
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-+/=".contains(&it))
        && text.bytes().any(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Form {
        of_facts(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn ids_and_times_are_alike_and_all_else_is_compared_to_the_letter() {
        let one =
            json(r#"{"Id":"j-1OBEPJWLJBMDO","CreationDateTime":1674076072.54,"State":"WAITING"}"#);
        let same =
            json(r#"{"Id":"j-2AXXXXXXGAPLF","CreationDateTime":1700000000,"State":"WAITING"}"#);
        assert_eq!(one, same);
        for other in [
            r#"{"Id":"j-2AXXXXXXGAPLF","CreationDateTime":1700000000,"State":"RUNNING"}"#,
            r#"{"Id":"j-2AXXXXXXGAPLF","CreationDateTime":"2023-01-18","State":"WAITING"}"#,
            r#"{"Id":"cluster","CreationDateTime":1700000000,"State":"WAITING"}"#,
            r#"{"Id":"j-2AXXXXXXGAPLF","CreationDateTime":1700000000}"#,
            r#"{"Id":"j-2A","CreationDateTime":1700000000,"State":"WAITING","Tags":[]}"#,
        ] {
            assert_ne!(one, json(other), "{other}");
        }
    }

    #[test]
    fn elements_attributes_and_entities_of_xml_are_fields() {
        let mut form = Form::new();
        of_xml(&mut form, "<a xmlns='urn:x'><b t='1'>x &amp; y</b><b/><c><d>1</d></c></a>\n");
        let fields: Vec<String> =
            form.iter().map(|(path, values)| format!("{path}: {values:?}")).collect();
        assert_eq!(
            fields,
            [
                r#"/a/b: {"empty", "x & y"}"#,
                r#"/a/b@t: {"1"}"#,
                r#"/a/c/d: {"1"}"#,
                r#"/a@xmlns: {"urn:x"}"#,
            ]
        );
    }
}
