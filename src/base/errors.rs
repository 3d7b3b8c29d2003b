//! Causes of errors.

/// The last cause in an error's chain: for a connection that is the operating system's word.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
