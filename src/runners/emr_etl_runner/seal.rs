//! The seal: both encryption settings (and the run's tag) set in the runner config, written so that
//! Ruby has nothing to reinterpret, and proved by loading the result again.
//!
//! The sealed form is JSON, which is YAML, but for dates, keys of more than half a thousand bytes and
//! the key `<<`, which JSON cannot write so that YAML reads them: every text is quoted, so no reader can turn one into a
//! boolean, a number or a symbol. `<` is written as an escape, so that the runner's own ERB pass
//! finds no tag.

use std::sync::Arc;

use crate::{
    base::{digest::sha256, printable::is_invisible, secret::Secret},
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        erb, psych, scalar,
        yaml_value::{Value, YamlNode},
    },
    spec::observations::SealChange,
};

/// What the seal sets.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Goes to `aws.emr.security_configuration`.
    pub security_configuration: String,
    /// Goes to `monitoring.tags`, as key and value, when the settings allow it.
    pub tag: Option<(String, String)>,
}

/// The sealed config, proved equal to the original but for the sealed keys.
#[derive(Debug)]
pub struct Sealed {
    /// What the runner gets on standard input. It holds the credentials.
    pub text: Secret,
    /// What was set, in a fixed order.
    pub changes: Vec<SealChange>,
    /// SHA-256 of `text`, in hexadecimal.
    pub digest: String,
}

/// The keys the seal owns: path of the map, key in it.
const SECURITY_CONFIGURATION: (&[&str], &str) = (&["aws", "emr"], "security_configuration");
const ENCRYPTED: (&[&str], &str) = (&["aws", "s3", "buckets"], "encrypted");
const TAGS: &[&str] = &["monitoring", "tags"];

/// Seals `original`.
///
/// # Errors
/// [`ConfigError`] when a parent of a sealed key is missing or no map, or when the result does not load as what was meant.
pub(super) fn seal(original: &YamlNode, seal: &Seal) -> Result<Sealed, ConfigError> {
    let mut sealed = original.clone();
    let mut changes = vec![
        set(
            &mut sealed,
            SECURITY_CONFIGURATION.0,
            SECURITY_CONFIGURATION.1,
            Value::Text(seal.security_configuration.as_str().into()),
        )?,
        set(&mut sealed, ENCRYPTED.0, ENCRYPTED.1, Value::Bool(true))?,
    ];
    if let Some((key, value)) = &seal.tag {
        changes.push(set(&mut sealed, TAGS, key, Value::Text(value.as_str().into()))?);
    }
    carriable(&sealed)?;
    let mut text = String::new();
    write(&sealed.value, &mut text);
    text.push('\n');
    prove(original, &text, seal)?;
    let digest = sha256(&text);
    Ok(Sealed { text: Secret::new(text), changes, digest })
}

/// Refuses what the sealed form cannot carry: symbols, times, special numbers. A date stands in it as
/// it was written.
pub(super) fn carriable(node: &YamlNode) -> Result<(), ConfigError> {
    match &node.value {
        Value::Other { kind: scalar::DATE, .. } => Ok(()),
        Value::Other { kind, .. } => Err(ConfigError::at(
            node.at,
            format!("Ruby reads this value as {kind}; put it in quotes to keep it as text"),
        )),
        Value::List(items) => items.iter().try_for_each(carriable),
        Value::Map(entries) => entries.iter().try_for_each(|(_, child)| carriable(child)),
        _ => Ok(()),
    }
}

fn set(
    root: &mut YamlNode,
    path: &[&str],
    key: &str,
    value: Value,
) -> Result<SealChange, ConfigError> {
    let dotted = path.join(".");
    let (meant, after) = (value.clone(), shown(&value));
    let nearest = (0..path.len())
        .rev()
        .find_map(|depth| root.find(&path[..depth]))
        .map_or(ConfigPosition::START, |node| node.at);
    let parent = root.find_mut(path).ok_or_else(|| {
        ConfigError::at(
            nearest,
            format!(
                "`{dotted}` is missing; EmrEtlRunner 0.33.0 and later \
            need it, and the seal sets `{key}` in it"
            ),
        )
    })?;
    let before = parent.set(key, value)?.map(|node| {
        let before = shown(&node.value);
        // `"true"` is no boolean, and the runner would not start with it.
        if node.value != meant && before == after {
            format!("{before} ({})", node.value.kind())
        } else {
            before
        }
    });
    Ok(SealChange { key: format!("{dotted}.{key}"), before, after })
}

/// A value for a report: only the sealed keys are ever shown this way.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(blank)".to_owned(),
        Value::Text(text) => text.to_string(),
        other => {
            let mut text = String::new();
            write(other, &mut text);
            text
        }
    }
}

/// What Ruby will hold of the text that [`write()`] made; `None` where its ERB would change it.
fn reloaded(text: &str) -> Result<Option<YamlNode>, ConfigError> {
    let rendered = erb::render(text, &|_| None)?;
    if rendered.text != text {
        return Ok(None);
    }
    Ok(Some(psych::load(&rendered)?.root))
}

/// Whether `root` loads as itself from its sealed form, with nothing sealed in it.
///
/// # Errors
/// [`ConfigError`] when it cannot be carried, or the form does not load.
pub(super) fn survives(root: &YamlNode) -> Result<bool, ConfigError> {
    carriable(root)?;
    let mut text = String::new();
    write(&root.value, &mut text);
    Ok(reloaded(&text)?.is_some_and(|again| again == *root))
}

/// Loads `text` as the runner will, takes the sealed keys out of both, and compares.
fn prove(original: &YamlNode, text: &str, seal: &Seal) -> Result<(), ConfigError> {
    let broken = |what: &str| {
        ConfigError::at(
            ConfigPosition::START,
            format!("the sealed config failed its proof: {what}; please report this"),
        )
    };
    let loaded = reloaded(text)?.ok_or_else(|| broken("ERB would change it"))?;
    let is = |path: &[&str], key: &str, value: Value| {
        loaded.find(path).and_then(|map| map.get(key)).is_some_and(|node| node.value == value)
    };
    if !is(
        SECURITY_CONFIGURATION.0,
        SECURITY_CONFIGURATION.1,
        Value::Text(seal.security_configuration.as_str().into()),
    ) {
        return Err(broken("aws.emr.security_configuration is not the sealed name"));
    }
    if !is(ENCRYPTED.0, ENCRYPTED.1, Value::Bool(true)) {
        return Err(broken("aws.s3.buckets.encrypted is not true"));
    }
    let mut own = vec![SECURITY_CONFIGURATION, ENCRYPTED];
    if let Some((key, _)) = &seal.tag {
        own.push((TAGS, key));
    }
    if without(original, &own) != without(&loaded, &own) {
        return Err(broken("something else than the sealed keys differs"));
    }
    Ok(())
}

fn without(root: &YamlNode, keys: &[(&[&str], &str)]) -> YamlNode {
    let mut copy = root.clone();
    for (path, key) in keys {
        if let Some(YamlNode { value: Value::Map(entries), .. }) = copy.find_mut(path) {
            Arc::make_mut(entries).retain(|(known, _)| known.name != *key);
        }
    }
    copy
}

/// Writes `value` as JSON that every YAML 1.1 reader and ERB take literally.
pub(super) fn write(value: &Value, out: &mut String) {
    use std::fmt::Write as _;
    let written = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(yes) => write!(out, "{yes}"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{}", scalar::write_float(*number)),
        // A date; anything else is refused before it is written for the runner, and for people it
        // reads as it stood.
        Value::Other { text, .. } => write!(out, "{text}"),
        Value::Text(text) => {
            write_text(text, out);
            Ok(())
        }
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write(&item.value, out);
            }
            out.push(']');
            Ok(())
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ",\n" });
                write_key(&key.name, out);
                write(&item.value, out);
            }
            out.push('}');
            Ok(())
        }
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

/// A key that is longer than this, as it is written and in bytes, is marked as one: no reader looks
/// for the colon behind a key further than 1,024 characters.
const LONGEST_UNMARKED_KEY: usize = 512;

/// Writes a key, and the colon behind it.
fn write_key(key: &str, out: &mut String) {
    let start = out.len();
    // Psych merges what stands behind `"<<"`, too, unless a tag says that it is text.
    if key == "<<" {
        out.push_str("!!str ");
    }
    write_text(key, out);
    if out.len() - start > LONGEST_UNMARKED_KEY {
        out.insert_str(start, "? ");
        out.push(' ');
    }
    out.push_str(": ");
}

fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // `<` so that no ERB tag can start; the others because YAML calls them unprintable or
            // line breaks, or because whoever looks at the sealed config would not see them. This
            // form has four digits; what needs more is no control character.
            '<' => out.push_str("\\u003c"),
            unseen if is_invisible(unseen) && unseen <= '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(unseen));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
