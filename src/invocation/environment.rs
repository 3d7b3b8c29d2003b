//! Which variables of the environment change what the runner does before it reads a single argument.
//!
//! `POSIXLY_CORRECT` is not among them: it changes `OptionParser#parse!`, and the runner uses `order!`.

/// Variables by which code or options get into a Ruby or a Java program.
pub const THAT_LOAD_CODE: &[&str] = &[
    "RUBYOPT",
    "RUBYLIB",
    "JRUBY_OPTS",
    "GEM_HOME",
    "GEM_PATH",
    "BUNDLE_GEMFILE",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "CLASSPATH",
];

/// Those of [`THAT_LOAD_CODE`] that `is_set` finds. They are common for good reasons (heap sizes, proxies), so this is something to note, not to refuse.
#[must_use]
pub fn that_load_code(is_set: impl Fn(&str) -> bool) -> Vec<&'static str> {
    THAT_LOAD_CODE.iter().copied().filter(|name| is_set(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_load_code_are_named() {
        let set = ["RUBYOPT", "POSIXLY_CORRECT", "_JAVA_OPTIONS"];
        assert_eq!(that_load_code(|name| set.contains(&name)), ["RUBYOPT", "_JAVA_OPTIONS"]);
        assert!(that_load_code(|_| false).is_empty());
    }
}
