//! The environment variables that change what the runner does before it reads its arguments: they
//! can load a library, an agent or another program into it, or replace it.
//!
//! `POSIXLY_CORRECT` is not included: it changes `OptionParser#parse!`, and the runner uses
//! `order!`. `docs/environment.md` has this table with the reasons for each level.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use crate::{
    spec::observations::Variable,
    system::writers::{Writers, writers},
};

/// The kind of a variable's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VariableKind {
    /// Options of `ruby`.
    RubyOptions,
    /// Options of `jruby`, some of which are passed to `java`.
    JrubyOptions,
    /// Options of `java`, split at blanks except within quotes.
    JavaOptions,
    /// The same, but split by a program that does not support quotes. Unlike the others, they can
    /// name another program to run.
    JavaWords,
    /// Code, or a path that code is loaded from.
    Code,
    /// Many set it to something else (`production`), but a shell reads it as a file's name.
    CodeIfPath,
    /// Text that a shell expands.
    Prompt,
    /// Code that observes everything the runner does, and that is not set in ordinary environments.
    Audit,
    /// A folder with programs in `bin`.
    Home,
    /// Folders in which programs are searched.
    ProgramPath,
}

/// A variable, the kind of its value, and the documentation.
#[derive(Clone, Copy, Debug)]
struct CodeVariable(&'static str, VariableKind, &'static str);

const LD_SO: &str = "ld.so(8)";
const START_SCRIPT: &str = "EmrEtlRunner, bin/jarx-stub.sh";
const RUBY: &str = "ruby(1)";
const RUBYGEMS: &str = "RubyGems, rubygems.rb";
const BUNDLER: &str = "bundle-config(1)";
const JRUBY: &str = "JRuby, bin/jruby.sh and ArgumentProcessor.java";
const JAVA: &str = "java(1)";
const JVMTI: &str = "JVM Tool Interface specification, JAVA_TOOL_OPTIONS";
const HOTSPOT: &str = "OpenJDK, arguments.cpp";
const OPENJ9: &str = "Eclipse OpenJ9 user guide, Specifying command-line options";
const BASH: &str = "bash(1)";

/// All variables; a `*` at a name's end matches any ending.
const VARIABLES: &[CodeVariable] = &[
    CodeVariable("PATH", VariableKind::ProgramPath, START_SCRIPT),
    CodeVariable("JAVA_HOME", VariableKind::Home, START_SCRIPT),
    CodeVariable("java_args", VariableKind::JavaWords, START_SCRIPT),
    CodeVariable("JAVA_OPTS", VariableKind::JavaWords, "emr-etl-guard, setting `runner`"),
    CodeVariable("JAVA_TOOL_OPTIONS", VariableKind::JavaOptions, JVMTI),
    CodeVariable("JDK_JAVA_OPTIONS", VariableKind::JavaOptions, JAVA),
    CodeVariable("_JAVA_OPTIONS", VariableKind::JavaOptions, HOTSPOT),
    CodeVariable("OPENJ9_JAVA_OPTIONS", VariableKind::JavaOptions, OPENJ9),
    CodeVariable("IBM_JAVA_OPTIONS", VariableKind::JavaOptions, OPENJ9),
    CodeVariable("CLASSPATH", VariableKind::Code, JAVA),
    CodeVariable("LD_AUDIT", VariableKind::Audit, LD_SO),
    CodeVariable("LD_PRELOAD", VariableKind::Code, LD_SO),
    CodeVariable("LD_LIBRARY_PATH", VariableKind::Code, LD_SO),
    CodeVariable("GCONV_PATH", VariableKind::Code, "environ(7)"),
    CodeVariable("BASH_ENV", VariableKind::Code, BASH),
    CodeVariable("BASH_FUNC_*", VariableKind::Code, BASH),
    CodeVariable("ENV", VariableKind::CodeIfPath, "dash(1); POSIX, sh"),
    CodeVariable("PS4", VariableKind::Prompt, BASH),
    CodeVariable("RUBYOPT", VariableKind::RubyOptions, RUBY),
    CodeVariable("RUBYLIB", VariableKind::Code, RUBY),
    CodeVariable("GEM_HOME", VariableKind::Code, RUBYGEMS),
    CodeVariable("GEM_PATH", VariableKind::Code, RUBYGEMS),
    CodeVariable("RUBYGEMS_GEMDEPS", VariableKind::Code, RUBYGEMS),
    CodeVariable("BUNDLER_SETUP", VariableKind::Code, RUBYGEMS),
    CodeVariable("BUNDLE_GEMFILE", VariableKind::Code, BUNDLER),
    CodeVariable("BUNDLE_PATH", VariableKind::Code, BUNDLER),
    CodeVariable("JRUBY_OPTS", VariableKind::JrubyOptions, JRUBY),
    CodeVariable("JRUBY_HOME", VariableKind::Code, JRUBY),
    CodeVariable("JRUBY_PARENT_CLASSPATH", VariableKind::Code, JRUBY),
    CodeVariable("JAVACMD", VariableKind::Code, JRUBY),
];

/// The effect of a value on the runner. Ordered: later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    None,
    LoadsCode,
    ReplacesRunner,
}

impl Effect {
    fn code_if(loads: bool) -> Self {
        if loads { Self::LoadsCode } else { Self::None }
    }
}

/// The variables of `environment` that are set, in the order of the table. `PATH` and `JAVA_HOME`,
/// which every good environment has, are included only if they are unsafe.
#[must_use]
pub fn code_loading_variables(environment: &[(OsString, OsString)]) -> Vec<Variable> {
    let value = |name: &str| {
        let found = environment.iter().find(|(known, _)| match name.strip_suffix('*') {
            Some(start) => known.as_encoded_bytes().starts_with(start.as_bytes()),
            None => known == name,
        });
        found.map(|(_, value)| value.as_os_str()).filter(|value| !is_blank(value))
    };
    let variable = |CodeVariable(name, kind, source): &CodeVariable| {
        let effect = match kind {
            // An empty entry means the runner's working directory.
            VariableKind::ProgramPath => program_path(
                environment.iter().find(|(known, _)| known == name)?.1.as_os_str(),
                value("JAVA_HOME").is_some(),
            ),
            _ => kind.effect(value(name)?),
        };
        let is_place = matches!(kind, VariableKind::ProgramPath | VariableKind::Home);
        (effect != Effect::None || !is_place).then_some(Variable {
            name,
            loads_code: effect >= Effect::LoadsCode,
            replaces_runner: effect == Effect::ReplacesRunner,
            source,
        })
    };
    VARIABLES.iter().filter_map(variable).collect()
}

fn is_blank(value: &OsStr) -> bool {
    value.as_encoded_bytes().iter().all(u8::is_ascii_whitespace)
}

impl VariableKind {
    fn effect(self, value: &OsStr) -> Effect {
        let text = value.to_string_lossy();
        let worst = |words: Vec<String>| java_options(words.iter().map(String::as_str), self);
        match self {
            Self::Code => Effect::LoadsCode,
            Self::Audit => Effect::ReplacesRunner,
            Self::CodeIfPath => Effect::code_if(text.contains(['/', '$', '`'])),
            Self::Prompt => Effect::code_if(text.contains(['$', '`'])),
            Self::JavaOptions => worst(quoted_words(&text)),
            Self::JavaWords => worst(text.split_whitespace().map(str::to_owned).collect()),
            Self::RubyOptions => ruby_options(&text, false),
            Self::JrubyOptions => ruby_options(&text, true),
            Self::Home => {
                let home = Path::new(value);
                by_writers(writers(home).max(writers(&home.join("bin/java"))))
            }
            Self::ProgramPath => program_path(value, false),
        }
    }
}

fn by_writers(writers: Writers) -> Effect {
    match writers {
        Writers::Own => Effect::None,
        Writers::Another => Effect::LoadsCode,
        Writers::Everybody => Effect::ReplacesRunner,
    }
}

/// The folders of PATH, up to the one with the last of the programs that the runner's start script
/// uses.
fn program_path(path: &OsStr, has_java_home: bool) -> Effect {
    let mut wanted = vec!["which", "java"];
    wanted.retain(|program| *program != "java" || !has_java_home);
    let mut worst = Effect::None;
    for folder in std::env::split_paths(path) {
        if wanted.is_empty() {
            break;
        }
        worst = worst.max(by_writers(writers(&folder)));
        wanted.retain(|program| !folder.join(program).is_file());
    }
    worst
}

/// Splits at blanks, except within quotes, and removes the quotes, as HotSpot and the launcher do.
pub(super) fn quoted_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in text.chars() {
        match quote {
            Some(end) if character == end => quote = None,
            Some(_) => word.get_or_insert_default().push(character),
            None if character.is_ascii_whitespace() => words.extend(word.take()),
            None if matches!(character, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            None => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Prefixes of `java` options that load no code: sizes, logs, assertions, and options that open
/// packages of the JDK to each other. Every other option is assumed to load code. Source: java(1)
/// of JDK 8, 11, 17 and 21.
const HARMLESS_JAVA: &[&str] = &[
    "-Xmx",
    "-Xms",
    "-Xmn",
    "-Xss",
    "-Xlog",
    "-Xint",
    "-Xmixed",
    "-Xcomp",
    "-Xbatch",
    "-Xrs",
    "-Xnoclassgc",
    "-Xshare:",
    "-Xcheck:jni",
    "-Xverify",
    "-XshowSettings",
    "-Xdiag",
    "-Xgcpolicy:",
    "-Xquickstart",
    "-server",
    "-client",
    "-d64",
    "-ea",
    "-da",
    "-esa",
    "-dsa",
    "-enableassertions",
    "-disableassertions",
    "-enablesystemassertions",
    "-disablesystemassertions",
    "-verbose",
    "-showversion",
    "--show-version",
    "--add-opens=",
    "--add-exports=",
    "--add-reads=",
    "--illegal-access=",
    "--enable-native-access=",
    "--sun-misc-unsafe-memory-access=",
    "--enable-preview",
];

/// Those of them that may have their value in the next word.
const HARMLESS_JAVA_PAIRS: &[&str] =
    &["--add-opens", "--add-exports", "--add-reads", "--enable-native-access"];

/// Prefixes of system properties with which the JDK or JRuby loads code, or lets others load it.
/// Sources: the JDK's `System.getProperties` and networking guides; JDK 8 guide, The Extension
/// Mechanism; Monitoring and Management guide; JRuby, `--properties`.
const CODE_PROPERTIES: &[&str] = &[
    "java.ext.dirs",
    "java.endorsed.dirs",
    "java.system.class.loader",
    "java.class.path",
    "java.library.path",
    "java.home",
    "java.security.manager",
    "java.security.properties",
    "java.rmi.server.codebase",
    "java.locale.providers",
    "java.util.prefs.PreferencesFactory",
    "sun.boot.",
    "jdk.module.",
    "jdk.upgrade.",
    "jna.",
    "jffi.",
    "com.sun.management.jmxremote",
    "com.sun.management.agent",
    "jruby.home",
    "jruby.lib",
    "jruby.script",
    "jruby.shell",
    "jruby.cext",
    "jruby.management",
    "jruby.gem",
];

/// Options that let a debugger in, whose code is in no file.
const DEBUGGERS: &[&str] = &["-Xrunjdwp", "-agentlib:jdwp"];

/// The worst effect of `words`, options of `java` before the runner's own.
fn java_options<'a>(words: impl Iterator<Item = &'a str>, kind: VariableKind) -> Effect {
    let names_program = kind == VariableKind::JavaWords;
    let (mut worst, mut is_value) = (Effect::None, false);
    for word in words {
        let effect = match word {
            _ if is_value => Effect::None,
            _ if starts(word, DEBUGGERS) => Effect::ReplacesRunner,
            "-jar" | "-m" | "--module" | "--source" if names_program => Effect::ReplacesRunner,
            // The first word that is not an option names what `java` starts.
            _ if !word.starts_with(['-', '@']) && names_program => Effect::ReplacesRunner,
            _ => Effect::code_if(!is_harmless_java(word)),
        };
        is_value = !is_value && HARMLESS_JAVA_PAIRS.contains(&word);
        worst = worst.max(effect);
    }
    worst
}

fn starts(word: &str, with: &[&str]) -> bool {
    with.iter().any(|start| word.starts_with(start))
}

fn is_harmless_java(word: &str) -> bool {
    if let Some(property) = word.strip_prefix("-D") {
        return !starts(property, CODE_PROPERTIES);
    }
    match word.strip_prefix("-XX:") {
        // Harmless: switches and numbers, which name neither a file nor a command.
        Some(flag) => {
            let is_number = flag.split_once('=').is_some_and(|(_, value)| {
                let digits = value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', '%']);
                !digits.is_empty()
                    && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            });
            flag.starts_with(['+', '-']) || is_number
        }
        None => starts(word, HARMLESS_JAVA) || HARMLESS_JAVA_PAIRS.contains(&word),
    }
}

/// Prefixes of long options of `ruby` and `jruby` that load no code. Every other option is assumed
/// to load code. Sources: ruby(1); JRuby's `--help`.
const HARMLESS_RUBY: &[&str] = &[
    "--disable",
    "--enable",
    "--encoding",
    "--external-encoding",
    "--internal-encoding",
    "--jit",
    "--yjit",
    "--rjit",
    "--mjit",
    "--debug",
    "--verbose",
    "--backtrace-limit",
    "--parser",
    "--dev",
    "--client",
    "--server",
    "--headless",
    "--fast",
    "--1.8",
    "--1.9",
    "--2.0",
];

/// Those of them that may have their value in the next word.
const HARMLESS_RUBY_PAIRS: &[&str] = &[
    "--disable",
    "--enable",
    "--encoding",
    "--external-encoding",
    "--internal-encoding",
    "--backtrace-limit",
    "--parser",
    "-E",
];

/// Prefixes of settings of JRuby's `-X` that load no code.
const HARMLESS_JRUBY: &[&str] = &[
    "+C",
    "-C",
    "+O",
    "-O",
    "compile.",
    "jit.",
    "invokedynamic.",
    "ir.",
    "native.enabled",
    "thread",
];

/// The worst effect of options of `ruby` or `jruby`. An option needs no dash; MRI 3.1.2 and JRuby's
/// ArgumentProcessor agree on that.
fn ruby_options(text: &str, jruby: bool) -> Effect {
    let (mut worst, mut is_value) = (Effect::None, false);
    for word in text.split_whitespace() {
        let effect = match word.strip_prefix("-J") {
            _ if is_value => Effect::None,
            Some(java) if jruby => java_options([java].into_iter(), VariableKind::JavaOptions),
            _ => Effect::code_if(!is_harmless_ruby(word, jruby)),
        };
        is_value = !is_value && HARMLESS_RUBY_PAIRS.contains(&word);
        worst = worst.max(effect);
    }
    worst
}

fn is_harmless_ruby(word: &str, jruby: bool) -> bool {
    if word.starts_with("--") {
        return starts(word, HARMLESS_RUBY);
    }
    let mut switches = word.trim_start_matches('-');
    if let Some(setting) = switches.strip_prefix('X').filter(|_| jruby) {
        return starts(setting, HARMLESS_JRUBY);
    }
    // Switches may be bundled: `-wrset` loads `set`.
    while let Some(switch) = switches.chars().next() {
        let rest = &switches[switch.len_utf8()..];
        switches = match switch {
            'd' | 'v' | 'w' | 'U' => rest,
            // A warning category or an encoding extends to the end of the word.
            'W' if rest.starts_with(':') => "",
            'E' => "",
            'W' | 'T' => rest.trim_start_matches(|digit: char| digit.is_ascii_digit()),
            'K' => rest.get(1..).unwrap_or_default(),
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn effect(name: &str, value: &str) -> Option<Effect> {
        let found = code_loading_variables(&[(name.into(), value.into())]);
        found.first().map(|variable| match (variable.loads_code, variable.replaces_runner) {
            (false, false) => Effect::None,
            (true, false) => Effect::LoadsCode,
            (true, true) => Effect::ReplacesRunner,
            (false, true) => panic!("{variable:?}"),
        })
    }

    #[track_caller]
    fn assert_all(wanted: Effect, values: &[(&str, &str)]) {
        for (name, value) in values {
            assert_eq!(effect(name, value), Some(wanted), "{name}={value}");
        }
    }

    #[test]
    fn heap_sizes_warnings_and_proxies_load_no_code() {
        assert_all(
            Effect::None,
            &[
                ("JAVA_TOOL_OPTIONS", "-Xmx2g -Dhttps.proxyHost=proxy -XX:+UseG1GC"),
                ("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75.0 -XX:MaxMetaspaceSize=256m"),
                ("JAVA_TOOL_OPTIONS", "'-Dname=a -javaagent:no.jar' -Dfile.encoding=UTF-8"),
                ("JDK_JAVA_OPTIONS", "--add-opens java.base/java.util=ALL-UNNAMED -Xss4m"),
                ("JAVA_OPTS", "-Xms256m -Xmx512m"),
                ("java_args", "-Xmx1g"),
                ("RUBYOPT", "-W0"),
                ("RUBYOPT", "-W:no-deprecated -EUTF-8 -Ku"),
                ("RUBYOPT", "--disable=gems"),
                ("RUBYOPT", "--disable gems -dvwU"),
                ("JRUBY_OPTS", "-J-Xmx2g --dev -Xcompile.invokedynamic=false -X-C"),
                ("ENV", "production"),
                ("PS4", "+ "),
            ],
        );
    }

    #[test]
    fn agents_libraries_and_paths_load_code() {
        assert_all(
            Effect::LoadsCode,
            &[
                ("JAVA_TOOL_OPTIONS", "-Xmx2g -javaagent:/opt/agent.jar"),
                ("JAVA_TOOL_OPTIONS", "-Xmx2g '-javaagent:/opt/agent.jar'"),
                ("JAVA_TOOL_OPTIONS", "\"-java\"agent:/opt/agent.jar"),
                ("JAVA_TOOL_OPTIONS", "-Djava.ext.dirs=/tmp/ext"),
                ("JAVA_TOOL_OPTIONS", "-XX:OnError='touch x'"),
                ("JAVA_TOOL_OPTIONS", "-XX:SharedArchiveFile=/tmp/x.jsa"),
                ("JAVA_TOOL_OPTIONS", "-Dcom.sun.management.jmxremote.port=9010"),
                ("JAVA_TOOL_OPTIONS", "-agentpath:/opt/x.so"),
                ("JAVA_TOOL_OPTIONS", "-XX:VMOptionsFile=/tmp/options"),
                ("JAVA_OPTS", "-cp"),
                ("_JAVA_OPTIONS", "-Xbootclasspath/p:/tmp"),
                ("OPENJ9_JAVA_OPTIONS", "-agentlib:x"),
                ("JDK_JAVA_OPTIONS", "@/etc/java.opts"),
                ("RUBYOPT", "-wrset"),
                ("RUBYOPT", "-W0 r/path"),
                ("RUBYOPT", "-W1r/path"),
                ("RUBYOPT", "-Kur/path"),
                ("RUBYOPT", "r/path"),
                ("RUBYOPT", "-I/path"),
                ("RUBYOPT", "--disable gems -r/path"),
                ("RUBYOPT", "--crash-report=|sh"),
                ("JRUBY_OPTS", "-J-javaagent:x.jar"),
                ("JRUBY_OPTS", "-Xhome=/tmp"),
                ("JRUBY_OPTS", "-G"),
                ("GEM_PATH", "/opt/gems"),
                ("LD_PRELOAD", "libjemalloc.so.2"),
                ("LD_LIBRARY_PATH", "/opt/lib"),
                ("BASH_ENV", "/root/.bashrc"),
                ("BASH_FUNC_which%%", "() { echo /tmp/evil; }"),
                ("ENV", "/tmp/.shrc"),
                ("ENV", "$HOME/.shrc"),
                ("PS4", "$(touch /tmp/x)"),
            ],
        );
    }

    #[test]
    fn what_names_another_program_or_lets_a_debugger_in_replaces_the_runner() {
        assert_all(
            Effect::ReplacesRunner,
            &[
                ("JAVA_OPTS", "-jar x"),
                ("JAVA_OPTS", "-Xmx1g Evil"),
                ("JAVA_OPTS", "--module evil/Main"),
                ("java_args", "-jar /tmp/evil.jar"),
                ("JAVA_TOOL_OPTIONS", "-Xrunjdwp:transport=dt_socket,server=y"),
                ("JAVA_TOOL_OPTIONS", "'-agentlib:jdwp=transport=dt_socket,server=y'"),
                ("JRUBY_OPTS", "-J-agentlib:jdwp=server=y"),
                ("LD_AUDIT", "/tmp/audit.so"),
                ("PATH", ".:/usr/bin"),
                ("PATH", ""),
                ("PATH", ":/usr/bin"),
                ("JAVA_HOME", "jdk"),
            ],
        );
        // Java does not start with these values, whoever set them.
        assert_all(Effect::LoadsCode, &[("JDK_JAVA_OPTIONS", "-jar x"), ("_JAVA_OPTIONS", "Evil")]);
    }

    #[test]
    fn the_java_of_an_image_and_its_path_are_as_they_should_be() {
        let java = tempfile::tempdir().unwrap();
        std::fs::create_dir(java.path().join("bin")).unwrap();
        std::fs::write(java.path().join("bin/java"), "").unwrap();
        let home = java.path().display().to_string();
        assert_eq!(effect("JAVA_HOME", &home), None);
        assert_eq!(effect("PATH", &format!("{home}/bin:/usr/bin:/bin")), None);
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(java.path().join("bin"), everybody).unwrap();
        assert_eq!(effect("JAVA_HOME", &home), Some(Effect::ReplacesRunner));
        let path = format!("{home}/bin:/usr/bin:/bin");
        assert_eq!(effect("PATH", &path), Some(Effect::ReplacesRunner));
    }

    #[test]
    fn folders_of_the_path_behind_all_that_is_looked_up_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["which", "java"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        let folder = folder.path().display();
        assert_eq!(effect("PATH", &format!("{folder}:.")), None);
        assert_eq!(effect("PATH", &format!(".:{folder}")), Some(Effect::ReplacesRunner));
    }

    #[test]
    fn what_is_not_set_or_blank_is_not_named() {
        assert_eq!(effect("POSIXLY_CORRECT", "1"), None);
        assert_eq!(effect("RUBYOPT", " "), None);
        assert_eq!(code_loading_variables(&[]), []);
    }

    #[test]
    fn the_page_on_the_environment_has_every_variable_and_its_source() {
        let page = include_str!("../../../docs/environment.md");
        for CodeVariable(name, _, source) in VARIABLES {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            assert!(row.is_some_and(|row| row.contains(source)), "{name}: {source}");
        }
    }
}
