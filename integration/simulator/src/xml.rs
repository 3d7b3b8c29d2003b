//! Owns writing and reading the simple XML of the services.

use std::fmt::Write as _;

/// A document under construction.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `<name>text</name>`, text escaped.
    pub(crate) fn text(&mut self, name: &str, text: impl AsRef<str>) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        self.0.push_str(&escape(text.as_ref()));
        self.close(name)
    }

    /// `<name>text</name>` if there is a text.
    pub(crate) fn optional(&mut self, name: &str, text: Option<impl AsRef<str>>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    /// `<name>…</name>` around what `inside` writes.
    pub(crate) fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        inside(self);
        self.close(name)
    }

    /// A root element with its namespace.
    pub(crate) fn root(
        &mut self,
        name: &str,
        namespace: &str,
        inside: impl FnOnce(&mut Self),
    ) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(
            self.0,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name} xmlns=\"{namespace}\">"
        );
        inside(self);
        self.close(name)
    }

    /// Text that is XML already.
    pub(crate) fn raw(&mut self, document: &str) -> &mut Self {
        self.0.push_str(document);
        self
    }

    /// `<tag>`: a name with its attributes, left open.
    pub(crate) fn open(&mut self, tag: &str) -> &mut Self {
        let _ = write!(self.0, "<{tag}>");
        self
    }

    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.0, "</{name}>");
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The texts of all elements of this name, at any depth. Enough for the flat documents of requests.
pub(crate) fn texts(document: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((inside, tail)) = after.split_once(&close) else { break };
        found.push(unescape(inside));
        rest = tail;
    }
    found
}

/// The content of the first element of this name, unchanged.
pub(crate) fn inside<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = document.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

/// Whether there is an element of this name.
pub(crate) fn has(document: &str, name: &str) -> bool {
    [format!("<{name}>"), format!("<{name}/>")].iter().any(|tag| document.contains(tag))
}

/// The text of the first element of this name.
pub(crate) fn text(document: &str, name: &str) -> Option<String> {
    texts(document, name).into_iter().next()
}

fn unescape(text: &str) -> String {
    text.trim()
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}
