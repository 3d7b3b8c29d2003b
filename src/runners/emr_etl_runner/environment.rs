//! Which variables of the environment change what the runner does before it reads a single
//! argument.
//!
//! `POSIXLY_CORRECT` is not among them: it changes `OptionParser#parse!`, and the runner uses
//! `order!`.

use crate::spec::observations::Variable;

#[derive(Clone, Copy)]
enum VariableKind {
    /// Options of `ruby` or `jruby`.
    RubyOptions,
    /// Options of `java`.
    JavaOptions,
    /// A place that code is loaded from.
    Path,
}

const VARIABLES: [(&str, VariableKind); 11] = [
    ("RUBYOPT", VariableKind::RubyOptions),
    ("JRUBY_OPTS", VariableKind::RubyOptions),
    ("RUBYLIB", VariableKind::Path),
    ("GEM_HOME", VariableKind::Path),
    ("GEM_PATH", VariableKind::Path),
    ("BUNDLE_GEMFILE", VariableKind::Path),
    ("CLASSPATH", VariableKind::Path),
    ("JAVA_TOOL_OPTIONS", VariableKind::JavaOptions),
    ("JDK_JAVA_OPTIONS", VariableKind::JavaOptions),
    ("_JAVA_OPTIONS", VariableKind::JavaOptions),
    ("JAVA_OPTS", VariableKind::JavaOptions),
];

/// Options of `java` that load code, run a command, or read further options from a file. Source:
/// the manual of `java`, JDK 17.
const JAVA: [&str; 16] = [
    "-javaagent",
    "-agentlib",
    "-agentpath",
    "-Xbootclasspath",
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--patch-module",
    "@",
    "-XX:VMOptionsFile",
    "-XX:Flags",
    "-XX:OnError",
    "-XX:OnOutOfMemoryError",
    "-Djava.system.class.loader",
];

/// Those that are set, by `value`.
#[must_use]
pub fn code_loading_variables(value: impl Fn(&str) -> Option<String>) -> Vec<Variable> {
    let set = VARIABLES.iter().filter_map(|(name, kind)| {
        Some((*name, *kind, value(name).filter(|value| !value.trim().is_empty())?))
    });
    set.map(|(name, kind, value)| Variable { name, loads_code: kind.loads_code(&value) }).collect()
}

impl VariableKind {
    fn loads_code(self, value: &str) -> bool {
        match self {
            Self::Path => true,
            Self::JavaOptions => value.split_whitespace().any(is_java_code),
            Self::RubyOptions => {
                value.split_whitespace().any(|word| match word.strip_prefix("-J") {
                    Some(java) => is_java_code(java),
                    // Switches may be bundled: `-wrset` loads `set`.
                    None => word.strip_prefix('-').is_some_and(|switches| {
                        !switches.starts_with('-') && switches.contains(['r', 'I', 'e', 'S'])
                    }),
                })
            }
        }
    }
}

fn is_java_code(word: &str) -> bool {
    JAVA.iter().any(|option| word.starts_with(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads_code(name: &str, value: &str) -> Option<bool> {
        code_loading_variables(|asked| (asked == name).then(|| value.to_owned()))
            .first()
            .map(|variable| variable.loads_code)
    }

    #[test]
    fn heap_sizes_and_warnings_load_no_code() {
        for (name, value) in [
            ("JAVA_TOOL_OPTIONS", "-Xmx2g -Dhttps.proxyHost=proxy -XX:+UseG1GC"),
            ("RUBYOPT", "-W0"),
            ("RUBYOPT", "--disable=gems"),
            ("JRUBY_OPTS", "-J-Xmx2g --dev"),
        ] {
            assert_eq!(loads_code(name, value), Some(false), "{name}={value}");
        }
    }

    #[test]
    fn agents_libraries_and_paths_load_code() {
        for (name, value) in [
            ("JAVA_TOOL_OPTIONS", "-Xmx2g -javaagent:/opt/agent.jar"),
            ("_JAVA_OPTIONS", "-Xbootclasspath/p:/tmp"),
            ("JDK_JAVA_OPTIONS", "@/etc/java.opts"),
            ("JAVA_TOOL_OPTIONS", "-XX:VMOptionsFile=/tmp/options"),
            ("RUBYOPT", "-wrset"),
            ("JRUBY_OPTS", "-J-javaagent:x.jar"),
            ("GEM_PATH", "/opt/gems"),
        ] {
            assert_eq!(loads_code(name, value), Some(true), "{name}={value}");
        }
    }

    #[test]
    fn what_is_not_set_or_blank_is_not_named() {
        assert_eq!(loads_code("POSIXLY_CORRECT", "1"), None);
        assert_eq!(loads_code("RUBYOPT", " "), None);
    }
}
