//! A value with its place in a file.

/// A value, with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// `file:line:column`.
    pub at: String,
}
