//! The seal: both encryption settings (and the run's tag) are set in the runner config. The result
//! is written so that Ruby has nothing to reinterpret, and is verified by loading it again.
//!
//! The sealed form is JSON, which is also YAML. The exceptions are dates, keys of more than half a
//! thousand bytes and the key `<<`, which JSON cannot express for YAML. Every text is quoted, so no
//! parser can read one as a boolean, a number or a symbol. `<` is written as an escape, so that the
//! runner's own ERB pass finds no tag.

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

/// The values that the seal sets.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Goes to `aws.emr.security_configuration`.
    pub security_configuration: String,
    /// Added to `monitoring.tags`, as key and value, when the settings allow it.
    pub tag: Option<(String, String)>,
}

/// The sealed config, verified to equal the original except for the sealed keys.
#[derive(Debug)]
pub struct Sealed {
    /// The runner's standard input. It contains the credentials.
    pub text: Secret,
    /// What was set, in a fixed order.
    pub changes: Vec<SealChange>,
    /// SHA-256 of `text`, in hexadecimal.
    pub digest: String,
}

/// The keys that the seal sets: path of the map, key in it.
pub(super) const SECURITY_CONFIGURATION: (&[&str], &str) =
    (&["aws", "emr"], "security_configuration");
pub(super) const ENCRYPTED: (&[&str], &str) = (&["aws", "s3", "buckets"], "encrypted");
const TAGS: &[&str] = &["monitoring", "tags"];

/// Seals `original`.
///
/// # Errors
/// [`ConfigError`] when a parent of a sealed key is missing or not a map, or when the result does
/// not load as intended.
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

/// Rejects values that the sealed form does not support: symbols, times, special numbers. It
/// contains a date as written.
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
        // `"true"` is not a boolean, and the runner would not start with it.
        if node.value != meant && before == after {
            format!("{before} ({})", node.value.kind())
        } else {
            before
        }
    });
    Ok(SealChange { key: format!("{dotted}.{key}"), before, after })
}

/// A value for a report: only the sealed keys are shown this way.
pub(super) fn shown(value: &Value) -> String {
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

/// What Ruby will load from the text that [`write()`] made; `None` where its ERB would change it.
fn reloaded(text: &str) -> Result<Option<YamlNode>, ConfigError> {
    let rendered = erb::render(text, &|_| None)?;
    if rendered.text != text {
        return Ok(None);
    }
    Ok(Some(psych::load(&rendered)?.root))
}

/// Whether `root` is unchanged after its sealed form is loaded, without any sealed value.
///
/// # Errors
/// [`ConfigError`] when a value is not supported, or the form does not load.
pub(super) fn survives(root: &YamlNode) -> Result<bool, ConfigError> {
    carriable(root)?;
    let mut text = String::new();
    write(&root.value, &mut text);
    Ok(reloaded(&text)?.is_some_and(|again| again == *root))
}

/// Loads `text` as the runner will, removes the sealed keys from both, and compares.
fn prove(original: &YamlNode, text: &str, seal: &Seal) -> Result<(), ConfigError> {
    let broken = |what: &str| {
        ConfigError::at(
            ConfigPosition::START,
            format!("the sealed config failed its proof: {what}; please report this"),
        )
    };
    let loaded = reloaded(text)?.ok_or_else(|| broken("ERB would change it"))?;
    if let Some(what) = wrong_encryption(&loaded, &seal.security_configuration) {
        return Err(broken(what));
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

/// Which of the two encryption settings `loaded` does not have, if one is wrong; the security
/// configuration should be `name`.
pub(super) fn wrong_encryption(loaded: &YamlNode, name: &str) -> Option<&'static str> {
    let is = |path: &[&str], key: &str, value: Value| {
        loaded.find(path).and_then(|map| map.get(key)).is_some_and(|node| node.value == value)
    };
    if !is(SECURITY_CONFIGURATION.0, SECURITY_CONFIGURATION.1, Value::Text(name.into())) {
        return Some("aws.emr.security_configuration is not the sealed name");
    }
    if !is(ENCRYPTED.0, ENCRYPTED.1, Value::Bool(true)) {
        return Some("aws.s3.buckets.encrypted is not true");
    }
    None
}

/// Whether the two differ in nothing but the encryption settings.
pub(super) fn differ_only_in_encryption(one: &YamlNode, other: &YamlNode) -> bool {
    let own = [SECURITY_CONFIGURATION, ENCRYPTED];
    without(one, &own) == without(other, &own)
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

/// Writes `value` as JSON that every YAML 1.1 parser and ERB read literally.
pub(super) fn write(value: &Value, out: &mut String) {
    use std::fmt::Write as _;
    let written = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(yes) => write!(out, "{yes}"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{}", scalar::write_float(*number)),
        // A date. Anything else is rejected before it is written for the runner; for people it is
        // shown as written.
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

/// The longest key in plain notation, as written and in bytes. A longer one gets an explicit key
/// marker: no parser looks for the colon after a key further than 1,024 characters.
const LONGEST_UNMARKED_KEY: usize = 512;

/// Writes a key, and the colon after it.
fn write_key(key: &str, out: &mut String) {
    let start = out.len();
    // Psych also merges the value of `"<<"`, unless a tag marks the key as text.
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
            // `<` so that no ERB tag can start; the others because YAML treats them as unprintable
            // or as line breaks, or because they would be invisible in the sealed config. This
            // escape has four digits; characters that need more are not control characters.
            '<' => out.push_str("\\u003c"),
            unseen if is_invisible(unseen) && unseen <= '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(unseen));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
