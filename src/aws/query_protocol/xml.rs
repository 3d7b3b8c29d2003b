//! Reads the XML of an answer, strictly: an answer that is cut off, is not XML or repeats a
//! unique element is an error, never an empty list.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

/// The maximum depth that is read. The answers to the guard's calls have at most seven levels.
const MAX_DEPTH: usize = 64;

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::aws) enum AnswerError {
    #[error("the answer is not XML: {0}")]
    NotXml(String),
    #[error("the answer is cut off")]
    Truncated,
    #[error("the answer is nested too deeply")]
    TooDeep,
    #[error("the answer is a <{0}>")]
    WrongRoot(String),
    #[error("<{0}> is missing")]
    Missing(&'static str),
    #[error("<{0}> is given twice")]
    Repeated(&'static str),
    #[error("<{0}> holds something unexpected")]
    Unexpected(&'static str),
    #[error("the list's pages go round in a circle")]
    RepeatedToken,
    #[error("the list has too many pages")]
    Endless,
}

/// An element without its namespace and attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::aws) struct Element {
    pub(in crate::aws) name: String,
    /// Its own text, including CDATA sections, with entities resolved.
    pub(in crate::aws) text: String,
    pub(in crate::aws) children: Vec<Element>,
}

impl Element {
    /// Parses a complete document into its root element.
    pub(in crate::aws) fn parse(body: &[u8]) -> Result<Self, AnswerError> {
        let text = std::str::from_utf8(body).map_err(not_xml)?;
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let (mut open, mut root) = (Vec::<Self>::new(), None);
        loop {
            match reader.read_event().map_err(not_xml)? {
                Event::Start(start) => {
                    if root.is_some() {
                        return Err(not_xml("it has two roots"));
                    }
                    if open.len() == MAX_DEPTH {
                        return Err(AnswerError::TooDeep);
                    }
                    open.push(Self::named(&start)?);
                }
                Event::Empty(start) => {
                    if root.is_some() {
                        return Err(not_xml("it has two roots"));
                    }
                    close(Self::named(&start)?, &mut open, &mut root);
                }
                // quick-xml has verified that it closes the open element.
                Event::End(_) => {
                    let element = open.pop().ok_or_else(|| not_xml("an end without a start"))?;
                    close(element, &mut open, &mut root);
                }
                Event::Text(piece) => add(&piece.xml10_content().map_err(not_xml)?, &mut open)?,
                Event::CData(piece) => add(&piece.decode().map_err(not_xml)?, &mut open)?,
                Event::GeneralRef(reference) => {
                    let letter = reference.resolve_char_ref().map_err(not_xml)?;
                    let name = reference.decode().map_err(not_xml)?;
                    match (letter, resolve_predefined_entity(&name)) {
                        (Some(letter), _) => add(letter.encode_utf8(&mut [0; 4]), &mut open)?,
                        (None, Some(text)) => add(text, &mut open)?,
                        (None, None) => return Err(not_xml("an unknown entity")),
                    }
                }
                Event::Eof if open.is_empty() => {
                    return root.ok_or_else(|| not_xml("it is empty"));
                }
                Event::Eof => return Err(AnswerError::Truncated),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                // A document type could define entities; AWS sends none.
                Event::DocType(_) => return Err(not_xml("it has a document type")),
            }
        }
    }

    fn named(start: &BytesStart<'_>) -> Result<Self, AnswerError> {
        let name = std::str::from_utf8(start.local_name().into_inner()).map_err(not_xml)?;
        Ok(Self { name: name.to_owned(), ..Self::default() })
    }

    /// The child with this name.
    ///
    /// # Errors
    /// When there is more than one.
    pub(in crate::aws) fn child(&self, name: &'static str) -> Result<Option<&Self>, AnswerError> {
        let mut named = self.children.iter().filter(|child| child.name == name);
        let first = named.next();
        if named.next().is_some() { Err(AnswerError::Repeated(name)) } else { Ok(first) }
    }

    /// The child with this name, which every answer of AWS has.
    pub(in crate::aws) fn required(&self, name: &'static str) -> Result<&Self, AnswerError> {
        self.child(name)?.ok_or(AnswerError::Missing(name))
    }

    /// The text of the child with this name.
    pub(in crate::aws) fn text(&self, name: &'static str) -> Result<Option<String>, AnswerError> {
        match self.child(name)? {
            Some(child) if !child.children.is_empty() => Err(AnswerError::Unexpected(name)),
            child => Ok(child.map(|child| child.text.clone())),
        }
    }

    /// The text of the child with this name, which has one in every answer of AWS.
    pub(in crate::aws) fn required_text(&self, name: &'static str) -> Result<String, AnswerError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or(AnswerError::Missing(name))
    }

    /// The text of an element without children. `name` is its name.
    pub(in crate::aws) fn leaf(&self, name: &'static str) -> Result<String, AnswerError> {
        if self.children.is_empty() {
            Ok(self.text.clone())
        } else {
            Err(AnswerError::Unexpected(name))
        }
    }

    /// The boolean in the child with this name.
    pub(in crate::aws) fn flag(&self, name: &'static str) -> Result<Option<bool>, AnswerError> {
        self.text(name)?
            .map(|text| text.parse().map_err(|_| AnswerError::Unexpected(name)))
            .transpose()
    }

    /// The items of the list with this name, which are elements `item`, each read by `read`.
    ///
    /// # Errors
    /// Also when there is no such list: AWS always answers a list call with a list, which may be
    /// empty.
    pub(in crate::aws) fn list<T>(
        &self,
        name: &'static str,
        item: &str,
        read: impl Fn(&Self) -> Result<T, AnswerError>,
    ) -> Result<Vec<T>, AnswerError> {
        self.required(name)?.items(name, item, read)
    }

    /// The same for a list inside an item, which may be absent if it is empty.
    pub(in crate::aws) fn inner_list<T>(
        &self,
        name: &'static str,
        item: &str,
        read: impl Fn(&Self) -> Result<T, AnswerError>,
    ) -> Result<Vec<T>, AnswerError> {
        self.child(name)?.map_or_else(|| Ok(Vec::new()), |list| list.items(name, item, read))
    }

    fn items<T>(
        &self,
        name: &'static str,
        item: &str,
        read: impl Fn(&Self) -> Result<T, AnswerError>,
    ) -> Result<Vec<T>, AnswerError> {
        if self.children.iter().any(|child| child.name != item) || !self.text.trim().is_empty() {
            return Err(AnswerError::Unexpected(name));
        }
        self.children.iter().map(read).collect()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn not_xml(why: impl ToString) -> AnswerError {
    AnswerError::NotXml(why.to_string())
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn add(text: &str, open: &mut [Element]) -> Result<(), AnswerError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        // Only white space may come between the declaration and the root, and after the root.
        None if text.trim().is_empty() => {}
        None => return Err(not_xml("text outside of the root")),
    }
    Ok(())
}
