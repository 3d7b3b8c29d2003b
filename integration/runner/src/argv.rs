//! Owns the command line: the runner's arguments, as Ruby's `OptionParser` parses them in `order!`
//! mode.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// The name the real program gives itself.
pub const NAME: &str = "snowplow-emr-etl-runner";

/// The command of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `--version`: print the version, exit 0.
    Version,
    /// `--help`: print this text, exit 0.
    Help(String),
    /// `run`.
    Run(Options),
    /// `lint resolver`, `lint enrichments` or `lint all`; the text is the whole command's name.
    Lint(String, Options),
    /// `generate emr-config`, `generate emr-playbook` or `generate all`.
    Generate(String, Options),
}

/// The options of all commands. Where an option is repeated, the last one applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-c`: a path, or `-` for standard input.
    pub config: Option<String>,
    /// `-n`: a folder of JSON files.
    pub enrichments: Option<String>,
    /// `-r`: a path.
    pub resolver: Option<String>,
    /// `-t`: a folder of JSON files.
    pub targets: Option<String>,
    /// `-d`: adds a debugging step.
    pub debug: bool,
    /// `-f`: the step to start with.
    pub resume_from: Option<String>,
    /// `-x`: steps to leave out.
    pub skip: Vec<String>,
    /// `-i`: extra steps of RDB Loader.
    pub include: Vec<String>,
    /// `-l`: the path of the lock file.
    pub lock: Option<String>,
    /// `--ignore-lock-on-start`.
    pub ignore_lock_on_start: bool,
    /// `--consul`: address of a Consul server that holds the lock.
    pub consul: Option<String>,
    /// `--use-persistent-jobflow`.
    pub use_persistent_jobflow: bool,
    /// `--persistent-jobflow-duration`, such as `1d12h`.
    pub persistent_jobflow_duration: Option<String>,
    /// The command's usage text, which several messages end with.
    pub usage: String,
}

/// Why a command line is rejected: the exit code is 1 each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Printed on standard error.
    Stderr(String),
    /// Printed on standard output: no command, or none of that name.
    Stdout(String),
}

/// The steps that `-f` accepts.
pub const RESUMABLES: [&str; 9] = [
    "enrich",
    "shred",
    "elasticsearch",
    "archive_raw",
    "rdb_load",
    "analyze",
    "archive_enriched",
    "archive_shredded",
    "staging_stream_enrich",
];

/// The steps that `-x` accepts.
pub const SKIPPABLES: [&str; 12] = [
    "staging",
    "enrich",
    "shred",
    "elasticsearch",
    "archive_raw",
    "rdb_load",
    "consistency_check",
    "analyze",
    "load_manifest_check",
    "archive_enriched",
    "archive_shredded",
    "staging_stream_enrich",
];

/// One option of a command: its short letter, long name, argument as the usage shows it, and help
/// text.
#[derive(Debug, Clone, Copy)]
struct Switch {
    id: Id,
    short: Option<char>,
    long: &'static str,
    argument: Option<&'static str>,
    help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Config,
    Enrichments,
    Resolver,
    Targets,
    Debug,
    ResumeFrom,
    Skip,
    Include,
    Lock,
    IgnoreLock,
    Consul,
    Persistent,
    Duration,
    Filename,
    Schemaver,
    Version,
    Help,
}

const fn switch(
    id: Id,
    short: Option<char>,
    long: &'static str,
    argument: Option<&'static str>,
    help: &'static str,
) -> Switch {
    Switch { id, short, long, argument, help }
}

const CONFIG: Switch =
    switch(Id::Config, Some('c'), "config", Some(" CONFIG"), "configuration file");
const ENRICHMENTS: Switch = switch(
    Id::Enrichments,
    Some('n'),
    "enrichments",
    Some(" ENRICHMENTS"),
    "enrichments directory",
);
const RESOLVER: Switch =
    switch(Id::Resolver, Some('r'), "resolver", Some(" RESOLVER"), "Iglu resolver file");
const DEBUG: Switch = switch(Id::Debug, Some('d'), "debug", None, "enable EMR Job Flow debugging");
const RESUME_FROM: Switch = switch(
    Id::ResumeFrom,
    Some('f'),
    "resume-from",
    Some(
        " {enrich,shred,elasticsearch,archive_raw,rdb_load,analyze,archive_enriched,archive_shredded,staging_stream_enrich}",
    ),
    "resume from the specified step",
);
const SKIP: Switch = switch(
    Id::Skip,
    Some('x'),
    "skip",
    Some(
        " {staging,enrich,shred,elasticsearch,archive_raw,rdb_load,consistency_check,analyze,load_manifest_check,archive_enriched,archive_shredded,staging_stream_enrich}",
    ),
    "skip the specified step(s)",
);
const INCLUDE: Switch =
    switch(Id::Include, Some('i'), "include", Some(" {vacuum}"), "include additional step(s)");
const SCHEMAVER: Switch = switch(
    Id::Schemaver,
    Some('s'),
    "schemaver",
    Some(" VERSION"),
    "the version of the Avro schema to use",
);

const RUN: &[Switch] = &[
    CONFIG,
    ENRICHMENTS,
    RESOLVER,
    switch(Id::Targets, Some('t'), "targets", Some(" TARGETS"), "targets directory"),
    DEBUG,
    RESUME_FROM,
    SKIP,
    INCLUDE,
    switch(Id::Lock, Some('l'), "lock", Some(" PATH"), "where to store the lock"),
    switch(
        Id::IgnoreLock,
        None,
        "ignore-lock-on-start",
        None,
        "ignore the lock if it is set when starting",
    ),
    switch(Id::Consul, None, "consul", Some(" ADDRESS"), "address to the Consul server"),
    switch(
        Id::Persistent,
        None,
        "use-persistent-jobflow",
        None,
        "discovers and uses a persistent cluster for steps",
    ),
    switch(
        Id::Duration,
        None,
        "persistent-jobflow-duration",
        Some(" DURATION"),
        "the length of time a persistent cluster can run for before being terminated (e.g. 1d12h)",
    ),
];
const LINT_RESOLVER: &[Switch] = &[RESOLVER];
const LINT_ALL: &[Switch] = &[RESOLVER, ENRICHMENTS];
const GENERATE_CONFIG: &[Switch] = &[
    CONFIG,
    RESOLVER,
    switch(
        Id::Filename,
        Some('f'),
        "filename",
        Some(" FILENAME"),
        "the name of the file to generate",
    ),
    SCHEMAVER,
];
const GENERATE_PLAYBOOK: &[Switch] = &[
    CONFIG,
    ENRICHMENTS,
    RESOLVER,
    DEBUG,
    SKIP,
    INCLUDE,
    switch(
        Id::Filename,
        Some('o'),
        "filename",
        Some(" FILENAME"),
        "the name of the file to generate",
    ),
    SCHEMAVER,
];
const GENERATE_ALL: &[Switch] = &[CONFIG, ENRICHMENTS, RESOLVER, DEBUG, RESUME_FROM];
const GLOBAL: &[Switch] = &[switch(Id::Version, Some('v'), "version", None, "Show version")];
/// Every Ruby parser has these two besides its own, which have precedence.
const OFFICIOUS: &[Switch] =
    &[switch(Id::Help, None, "help", None, ""), switch(Id::Version, None, "version", None, "")];

const COMMANDS: &[(&str, &str, &[Switch])] = &[
    ("run", "Run the Snowplow pipeline on EMR", RUN),
    (
        "generate emr-config",
        "Generate a Dataflow Runner EMR config which can be used with dataflow-runner up",
        GENERATE_CONFIG,
    ),
    (
        "generate emr-playbook",
        "Generate a Dataflow Runner Playbook config which can be used with dataflow-runner run",
        GENERATE_PLAYBOOK,
    ),
    (
        "generate all",
        "Generate both a Dataflow Runner EMR (as emr-config.json) and Playbook (as \
         emr-playbook.json) configs",
        GENERATE_ALL,
    ),
    (
        "lint resolver",
        "Lint an Iglu resolver config to check if it is valid with respect to its schema",
        LINT_RESOLVER,
    ),
    (
        "lint enrichments",
        "Lint enrichments to check if they are valid with respect to their schemas",
        LINT_ALL,
    ),
    (
        "lint all",
        "Lint both Iglu resolver config and enrichments to check if they are valid with respect \
         to their schemas",
        LINT_ALL,
    ),
];

/// Parses a command line (without the program's own name).
///
/// # Errors
/// A [`Refusal`] with the text the real program prints; its exit code is 1.
pub fn parse<I>(arguments: I) -> Result<Command, Refusal>
where
    I: IntoIterator,
    I::Item: Into<String>,
{
    let mut rest: VecDeque<String> = arguments.into_iter().map(Into::into).collect();
    let global = order(&mut rest, GLOBAL).map_err(|error| error.refusal(""))?;
    match global.first() {
        Some((Id::Version, _)) => return Ok(Command::Version),
        Some(_) => return Ok(Command::Help(global_usage())),
        None => {}
    }
    let Some(mut name) = rest.pop_front() else {
        return Err(invalid("Empty command!"));
    };
    let mut command = lookup(&name);
    if command.is_none()
        && let Some(second) = rest.pop_front()
    {
        name = format!("{name} {second}");
        command = lookup(&name);
    }
    let Some(switches) = command else {
        return Err(invalid(&format!("Invalid command: {name}")));
    };
    let usage = usage(&name, switches);
    let mut options = Options { usage: usage.clone(), ..Options::default() };
    for (id, value) in order(&mut rest, switches).map_err(|error| error.refusal(&usage))? {
        let value = value.unwrap_or_default();
        match id {
            Id::Help => return Ok(Command::Help(usage)),
            Id::Version => return Err(Refusal::Stderr(format!("{NAME}: version unknown\n"))),
            Id::Config => options.config = Some(value),
            Id::Enrichments => options.enrichments = Some(value),
            Id::Resolver => options.resolver = Some(value),
            Id::Targets => options.targets = Some(value),
            Id::Debug => options.debug = true,
            Id::ResumeFrom => options.resume_from = Some(value),
            Id::Skip => options.skip = list(&value),
            Id::Include => options.include = list(&value),
            Id::Lock => options.lock = Some(value),
            Id::IgnoreLock => options.ignore_lock_on_start = true,
            Id::Consul => options.consul = Some(value),
            Id::Persistent => options.use_persistent_jobflow = true,
            Id::Duration => options.persistent_jobflow_duration = Some(value),
            // The stand-in never writes these files.
            Id::Filename | Id::Schemaver => {}
        }
    }
    Ok(if name == "run" {
        Command::Run(options)
    } else if name.starts_with("lint") {
        Command::Lint(name, options)
    } else {
        Command::Generate(name, options)
    })
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

fn lookup(name: &str) -> Option<&'static [Switch]> {
    COMMANDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, switches)| *switches)
}

fn invalid(message: &str) -> Refusal {
    Refusal::Stdout(format!("{message}\n{}", global_usage()))
}

fn global_usage() -> String {
    let mut text =
        format!("Usage {NAME} [options] [command [options]]\n\nAvailable commands are:\n");
    for (name, description, _) in COMMANDS {
        let _ = writeln!(text, "{name}: {description}");
    }
    text.push_str("\nGlobal options are:\n");
    summarize(&mut text, &GLOBAL[0]);
    text
}

fn usage(name: &str, switches: &[Switch]) -> String {
    let mut text = format!("Usage: {name} [options]\n");
    for switch in switches {
        summarize(&mut text, switch);
    }
    text
}

/// One option's lines of a usage text, laid out as Ruby does: 4 columns indent, 32 for the option,
/// then the help.
fn summarize(text: &mut String, switch: &Switch) {
    const WIDTH: usize = 32;
    let argument = switch.argument.unwrap_or_default();
    let long = format!("--{}", switch.long);
    let lines = match switch.short {
        Some(short) if 2 + long.len() + argument.len() < WIDTH - 1 => {
            vec![format!("-{short}, {long}{argument}")]
        }
        Some(short) => vec![format!("-{short}{argument},"), format!("    {long}")],
        None => vec![format!("    {long}{argument}")],
    };
    let mut help = Some(switch.help);
    for line in lines {
        match help {
            Some(words) if line.len() <= WIDTH => {
                let _ = writeln!(text, "    {line:WIDTH$} {words}");
                help = None;
            }
            _ => {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    if let Some(words) = help {
        let _ = writeln!(text, "    {:WIDTH$} {words}", "");
    }
}

/// An error that `OptionParser` raises.
#[derive(Debug)]
enum Complaint {
    Invalid(String),
    Missing(String),
    Ambiguous(String),
    Needless(String),
}

impl Complaint {
    /// The real program catches the first two and adds its usage; the others escape as Ruby
    /// exceptions.
    fn refusal(self, usage: &str) -> Refusal {
        Refusal::Stderr(match self {
            Self::Invalid(option) => format!("invalid option: {option}\n{usage}"),
            Self::Missing(option) => format!("missing argument: {option}\n{usage}"),
            Self::Ambiguous(option) => {
                format!("OptionParser::AmbiguousOption: ambiguous option: {option}\n")
            }
            Self::Needless(option) => {
                format!("OptionParser::NeedlessArgument: needless argument: {option}\n")
            }
        })
    }
}

/// Takes options off the front until the first word that is not an option (which stays) or `--`
/// (which is removed).
fn order(
    rest: &mut VecDeque<String>,
    switches: &'static [Switch],
) -> Result<Vec<(Id, Option<String>)>, Complaint> {
    let mut found = Vec::new();
    while let Some(word) = rest.pop_front() {
        if word == "--" {
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, glued) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let switch = complete_long(name, &word, switches)?;
            found.push((switch.id, take(switch, glued, &word, rest)?));
        } else if word.len() > 1 && word.starts_with('-') {
            found.push(short(&word, rest, switches)?);
        } else {
            rest.push_front(word);
            break;
        }
    }
    Ok(found)
}

/// A word such as `-c`, `-cFILE` or `-dc`: a letter, then its value or, where it takes none, more
/// letters.
fn short(
    word: &str,
    rest: &mut VecDeque<String>,
    switches: &'static [Switch],
) -> Result<(Id, Option<String>), Complaint> {
    let mut letters = word.chars().skip(1);
    let letter = letters.next().unwrap_or('-');
    let glued: String = letters.collect();
    let switch = match switches.iter().find(|switch| switch.short == Some(letter)) {
        Some(switch) => switch,
        // Ruby tries a lone letter as the beginning of a long option: -h is --help.
        None => complete_long(&letter.to_string(), word, switches)?,
    };
    if glued.is_empty() {
        return Ok((switch.id, take(switch, None, word, rest)?));
    }
    if switch.argument.is_some() {
        return Ok((switch.id, Some(glued)));
    }
    if glued.starts_with('=') {
        return Err(Complaint::Needless(word.to_owned()));
    }
    rest.push_front(format!("-{glued}"));
    Ok((switch.id, None))
}

fn take(
    switch: &Switch,
    glued: Option<String>,
    word: &str,
    rest: &mut VecDeque<String>,
) -> Result<Option<String>, Complaint> {
    match (switch.argument, glued) {
        (Some(_), Some(value)) => Ok(Some(value)),
        (Some(_), None) => match rest.pop_front() {
            Some(value) => Ok(Some(value)),
            None => Err(Complaint::Missing(word.to_owned())),
        },
        (None, Some(_)) => Err(Complaint::Needless(word.to_owned())),
        (None, None) => Ok(None),
    }
}

/// A long option by its name or any unambiguous beginning, in any case.
fn complete_long(
    name: &str,
    word: &str,
    switches: &'static [Switch],
) -> Result<&'static Switch, Complaint> {
    let name = name.to_lowercase();
    for table in [switches, OFFICIOUS] {
        if let Some(exact) = table.iter().find(|switch| switch.long == name) {
            return Ok(exact);
        }
        let mut candidates = table.iter().filter(|switch| switch.long.starts_with(&name));
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => return Ok(only),
            (Some(_), Some(_)) => return Err(Complaint::Ambiguous(word.to_owned())),
            (None, _) => {}
        }
    }
    Err(Complaint::Invalid(word.to_owned()))
}
