//! Self-describing JSON files in a folder, and reading single fields of them without keeping or
//! showing anything else.

use std::path::Path;

use serde_json::{Map, Value};

use crate::spec::observations::SchemaKey;

/// The size limit of a file in bytes.
const LARGEST: u64 = 1 << 20;

/// Why a file or a folder of targets or enrichments cannot be evaluated. It shows no value of a
/// file other than the schema's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct DocumentError {
    /// The folder's or the file's path.
    pub place: String,
    /// What was seen, and what was expected.
    pub message: String,
}

impl DocumentError {
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// The files in `folder` whose names end in `.json`, read, in the order of their names.
///
/// # Errors
/// [`DocumentError`] when the folder or one of them cannot be read.
pub(super) fn read_folder(
    folder: &Path,
    takes: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, DocumentError> {
    let shown = folder.display().to_string();
    let trouble = |place: &str, error: &std::io::Error| {
        DocumentError::new(place, format!("cannot be read: {error}"))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| trouble(&shown, &error))? {
        let name = entry.map_err(|error| trouble(&shown, &error))?.file_name();
        if name.as_encoded_bytes().ends_with(b".json") {
            let Some(name) = name.to_str() else {
                return Err(DocumentError::new(
                    shown,
                    format!("the file name `{}` is not valid UTF-8", name.display()),
                ));
            };
            if takes(name) {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    let read = |name: &String| {
        let path = folder.join(name);
        let place = path.display().to_string();
        let data = std::fs::metadata(&path).map_err(|error| trouble(&place, &error))?;
        if !data.is_file() {
            return Err(DocumentError::new(place, "is not a file"));
        }
        if data.len() > LARGEST {
            return Err(DocumentError::new(place, format!("larger than {LARGEST} bytes")));
        }
        let bytes = std::fs::read(&path).map_err(|error| trouble(&place, &error))?;
        Ok((place, bytes))
    };
    names.iter().map(read).collect()
}

/// One self-describing JSON document: its schema and its data.
pub(super) struct SelfDescribingJson<'a> {
    file: &'a str,
    pub(super) schema: SchemaKey,
    data: Map<String, Value>,
}

impl<'a> SelfDescribingJson<'a> {
    /// # Errors
    /// [`DocumentError`] when it is not JSON, or not self-describing.
    pub(super) fn parse(file: &'a str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let error = |message: String| DocumentError::new(file, message);
        // serde_json's messages about syntax contain positions and punctuation, never values.
        let root: Value = serde_json::from_slice(bytes)
            .map_err(|found| error(format!("not JSON (comments are not): {found}")))?;
        let Value::Object(mut root) = root else {
            return Err(error(format!(
                "must be an object with `schema` and `data`; found {}",
                kind(&root)
            )));
        };
        let schema = match root.get("schema") {
            Some(Value::String(text)) => SchemaKey::parse(text),
            other => {
                return Err(error(format!(
                    "`schema` must be text; found {}",
                    other.map_or("nothing", kind)
                )));
            }
        };
        let schema = schema.ok_or_else(|| {
            error("`schema` must be such as iglu:vendor/name/jsonschema/1-0-0".to_owned())
        })?;
        match root.remove("data") {
            Some(Value::Object(data)) => Ok(Self { file, schema, data }),
            other => Err(error(format!(
                "`data` must be an object; found {}",
                other.as_ref().map_or("nothing", kind)
            ))),
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> DocumentError {
        DocumentError::new(self.file, message)
    }

    pub(super) fn file(&self) -> String {
        self.file.to_owned()
    }

    /// The value at `path` below `data`; null counts as missing.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.data.get(*first)?, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        path: &[&str],
        wanted: &str,
        take: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, DocumentError> {
        let Some(value) = self.get(path) else { return Ok(None) };
        take(value).map(Some).ok_or_else(|| {
            self.error(format!("`data.{}` must be {wanted}; found {}", path.join("."), kind(value)))
        })
    }

    pub(super) fn text(&self, path: &[&str]) -> Result<Option<String>, DocumentError> {
        self.typed(path, "text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&self, path: &[&str]) -> Result<Option<bool>, DocumentError> {
        self.typed(path, "true or false", Value::as_bool)
    }

    pub(super) fn port(&self, path: &[&str]) -> Result<Option<u16>, DocumentError> {
        self.typed(path, "a whole number from 0 to 65535", |value| {
            value.as_u64().and_then(|port| port.try_into().ok())
        })
    }

    /// # Errors
    /// [`DocumentError`] when it is missing.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, DocumentError> {
        value.ok_or_else(|| self.error(format!("`data.{key}` is missing")))
    }
}

/// The kind of a value, for messages that must not show it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
