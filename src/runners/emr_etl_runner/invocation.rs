//! The invocation: the runner's own argv, read the way Ruby's `OptionParser` reads it (`order!`),
//! so that guard and runner agree on the config and on what the run will do.
//!
//! Evidence: the command lines and exit codes in `tests/recordings/argv.tsv`.

use std::{collections::VecDeque, ffi::OsString, path::PathBuf};

use crate::{
    base::text,
    runners::emr_etl_runner::option_parser::{OptionError, Stopped, Switch, order},
    spec::part::PipelinePart,
};

/// Where the runner would read its config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// `--config -`.
    Stdin,
    /// A file, relative to the working directory as given.
    File(PathBuf),
}

/// A command line of the runner, with what the guard does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a process has one invocation")]
pub enum Invocation {
    /// `run`: the command that launches clusters.
    Run(RunInvocation),
    /// A command that launches no cluster (`lint`, `generate`, `--version`, help), or one that the
    /// runner itself rejects at once.
    NoLaunch,
}

/// A command line of the runner, as EmrEtlRunner 1.0.4 parses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// `run`, with valid options; the config and the files they name can still be invalid.
    Run(RunInvocation),
    /// `lint …` or `generate …`, with the command's whole name. Neither launches anything, whatever
    /// its options.
    Other(&'static str),
    /// Prints help, a version or shell completions, and exits.
    Exits,
    /// The runner rejects it with exit code 1, before it calls AWS.
    Fails(CommandLineError),
}

/// The `run` command's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInvocation {
    /// The last `--config`.
    pub config: ConfigSource,
    /// `--use-persistent-jobflow`.
    pub persistent: bool,
    /// `--persistent-jobflow-duration` as typed, such as `1d12h`.
    pub persistent_duration: Option<String>,
    /// The last `--skip`.
    pub skip: Vec<PipelinePart>,
    /// The last `--resume-from`.
    pub resume_from: Option<PipelinePart>,
    /// `--include vacuum`, the only part that can be included.
    pub vacuum: bool,
    /// The last `--targets`: a folder.
    pub targets: Option<PathBuf>,
    /// The last `--enrichments`: a folder.
    pub enrichments: Option<PathBuf>,
    /// The last `--resolver`: a file. [`RunInvocation::check_resolver`] requires it.
    pub resolver: Option<PathBuf>,
    /// `--lock`.
    pub lock: Option<RunLock>,
    /// `--debug`: adds a step, EMR's own debugging.
    pub debug: bool,
    /// The argv for the runner: the same words, but with `-` as the config.
    pub sealed_argv: Vec<OsString>,
}

/// The lock that prevents concurrent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLock {
    /// `--lock`: a file's path, or a key in Consul.
    pub path: String,
    /// `--consul`: a Consul server's address.
    pub consul: Option<String>,
    /// `--ignore-lock-on-start`.
    pub ignore_on_start: bool,
}

/// Why EmrEtlRunner 1.0.4 would reject a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// No words, or none after `--`.
    #[error("there is no command; expected `run -c config.yml …`")]
    NoCommand,
    /// Neither the first word nor the first two are a command.
    #[error("`{0}` is not a command of the runner; expected `run -c config.yml …`")]
    UnknownCommand(String),
    /// The runner's early versions (before 0.24.0) had no commands, and launched on such a line.
    #[error("`{0}` is before the command; expected `run -c config.yml …`")]
    OptionBeforeCommand(String),
    /// `OptionParser` raises.
    #[error(transparent)]
    Misuse(OptionError),
    /// `run` without `--config`.
    #[error("`run` needs a config: add `-c config.yml`, or `-c -` for standard input")]
    NoConfig,
    /// `--skip`, `--resume-from` or `--include` with an unknown part.
    #[error("`{option}` knows {}; found `{found}`", known.join(", "))]
    UnknownPart {
        /// In full, with hyphens.
        option: &'static str,
        /// What it was given.
        found: String,
        /// The accepted values.
        known: Vec<&'static str>,
    },
    /// Both `--resume-from` and `--skip`.
    #[error("`--resume-from` and `--skip` exclude each other")]
    ResumeAndSkip,
}

/// Why the arguments cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The runner would stop with a usage message; so does the guard.
    #[error("the runner's arguments: {0}")]
    Rejected(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    PersistentDuration,
}

const fn switch(short: Option<char>, long: &'static str, takes_value: bool, id: Id) -> Switch<Id> {
    Switch { id, short, long, takes_value }
}

/// The options of `run` in 1.0.4. Versions since 0.33.0, the first with encryption, differ only by
/// lacking the last two.
const RUN: &[Switch<Id>] = &[
    switch(Some('c'), "config", true, Id::Config),
    switch(Some('n'), "enrichments", true, Id::Enrichments),
    switch(Some('r'), "resolver", true, Id::Resolver),
    switch(Some('t'), "targets", true, Id::Targets),
    switch(Some('d'), "debug", false, Id::Debug),
    switch(Some('f'), "resume-from", true, Id::ResumeFrom),
    switch(Some('x'), "skip", true, Id::Skip),
    switch(Some('i'), "include", true, Id::Include),
    switch(Some('l'), "lock", true, Id::Lock),
    switch(None, "ignore-lock-on-start", false, Id::IgnoreLock),
    switch(None, "consul", true, Id::Consul),
    switch(None, "use-persistent-jobflow", false, Id::Persistent),
    switch(None, "persistent-jobflow-duration", true, Id::PersistentDuration),
];

/// The commands besides `run`. Each can be given as two words or, quoted, as one.
const OTHER_COMMANDS: &[&str] = &[
    "generate emr-config",
    "generate emr-playbook",
    "generate all",
    "lint resolver",
    "lint enrichments",
    "lint all",
];

impl Invocation {
    /// Parses `argv`, the words after the runner's own name.
    ///
    /// An invalid command line is rejected here, and not passed to the runner, because it is
    /// verified for 1.0.4 only that nothing is launched: another version of the runner may launch
    /// on it. [`CommandLine::read`] distinguishes the two for callers that know the version.
    ///
    /// # Errors
    /// [`InvocationError`] for command lines that the runner rejects with a usage message after
    /// seconds of start-up, and for ambiguous ones.
    pub fn parse(argv: &[OsString]) -> Result<Self, InvocationError> {
        match CommandLine::read(argv)? {
            CommandLine::Run(run) => Ok(Self::Run(run)),
            CommandLine::Exits | CommandLine::Other(_) => Ok(Self::NoLaunch),
            CommandLine::Fails(complaint) if complaint.no_version_launches(argv) => {
                Ok(Self::NoLaunch)
            }
            CommandLine::Fails(complaint) => {
                Err(InvocationError::Rejected(format!("{complaint}{}", complaint.did_you_mean())))
            }
        }
    }
}

impl CommandLineError {
    /// The most similar name, as the end of a sentence; empty if none is similar.
    fn did_you_mean(&self) -> String {
        match self {
            Self::Misuse(OptionError::Unknown(word)) => {
                let name = word.split('=').next().unwrap_or_default();
                let long = RUN.iter().map(|switch| format!("--{}", switch.long));
                let long: Vec<String> = long.collect();
                text::did_you_mean(name, long.iter().map(String::as_str))
            }
            Self::UnknownPart { found, known, .. } => {
                text::did_you_mean(found, known.iter().copied())
            }
            _ => String::new(),
        }
    }

    /// Whether no version of the runner launches on this command line: every version needs a config
    /// for that, which only an option can name.
    fn no_version_launches(&self, argv: &[OsString]) -> bool {
        let any_option = argv.iter().any(|word| word.as_encoded_bytes().starts_with(b"-"));
        matches!(self, Self::NoCommand | Self::UnknownCommand(_)) && !any_option
    }
}

impl CommandLine {
    /// Parses `argv`, the words after the runner's own name.
    ///
    /// # Errors
    /// [`InvocationError`] where Ruby versions disagree on the meaning.
    pub fn read(argv: &[OsString]) -> Result<Self, InvocationError> {
        let mut words: VecDeque<OsString> = argv.iter().cloned().collect();
        let mut read = Vec::new();
        if words.front().is_some_and(|word| word == "--") {
            read.extend(words.pop_front());
        } else if let Some(word) =
            words.front().filter(|word| word.len() > 1 && word.as_encoded_bytes().starts_with(b"-"))
        {
            // The only non-official global option is `-v`, which exits just as the official
            // `--version` does.
            const NONE: &[Switch<()>] = &[];
            return Ok(match order(NONE, [word.clone()], ((), "")) {
                Err(Stopped::Exits) => Self::Exits,
                _ => Self::Fails(CommandLineError::OptionBeforeCommand(word.display().to_string())),
            });
        }
        let Some(command) = words.pop_front() else {
            return Ok(Self::Fails(CommandLineError::NoCommand));
        };
        if command == "run" {
            read.push(command);
            return Self::read_run(read, words);
        }
        let known = |name: &str| OTHER_COMMANDS.iter().copied().find(|known| *known == name);
        let mut name = command.display().to_string();
        if known(&name).is_none()
            && let Some(second) = words.pop_front()
        {
            name = format!("{name} {}", second.display());
        }
        Ok(known(&name)
            .map_or_else(|| Self::Fails(CommandLineError::UnknownCommand(name)), Self::Other))
    }

    fn read_run(
        mut argv: Vec<OsString>,
        words: VecDeque<OsString>,
    ) -> Result<Self, InvocationError> {
        let ordered = match order(RUN, words, (Id::Config, "-")) {
            Ok(ordered) => ordered,
            Err(Stopped::Exits) => return Ok(Self::Exits),
            Err(Stopped::Fails(misuse)) => {
                return Ok(Self::Fails(CommandLineError::Misuse(misuse)));
            }
            Err(Stopped::Doubt(doubt)) => return Err(InvocationError::Rejected(doubt)),
        };
        argv.extend(ordered.words);
        Ok(RunInvocation::new(&GivenOptions(ordered.given), argv)
            .map_or_else(Self::Fails, Self::Run))
    }
}

/// The options of `run`, in their order.
struct GivenOptions(Vec<(Id, OsString)>);

impl GivenOptions {
    fn has(&self, id: Id) -> bool {
        self.0.iter().any(|(given, _)| *given == id)
    }

    /// The last one applies.
    fn value(&self, id: Id) -> Option<&OsString> {
        self.0.iter().rfind(|(given, _)| *given == id).map(|(_, value)| value)
    }

    fn path(&self, id: Id) -> Option<PathBuf> {
        self.value(id).map(PathBuf::from)
    }

    fn text(&self, id: Id) -> Option<String> {
        self.value(id).map(|value| value.to_string_lossy().into_owned())
    }

    /// An option of Ruby's type `Array`: `split(',')` drops trailing empty items, and turns others
    /// into `nil`.
    fn list(&self, id: Id) -> Vec<String> {
        let text = self.text(id).unwrap_or_default();
        let text = text.trim_end_matches(',');
        if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
    }
}

impl RunInvocation {
    /// Requires the Iglu resolver that every launch needs. EmrEtlRunner reads it after its config.
    /// Source: `Cli.load_resolver` of EmrEtlRunner 1.0.4.
    ///
    /// # Errors
    /// [`InvocationError`] where the runner would stop: no `--resolver`, or a file that cannot be
    /// read.
    pub fn check_resolver(&self) -> Result<(), InvocationError> {
        let Some(resolver) = &self.resolver else {
            return Err(InvocationError::Rejected(
                "EmrEtlRunner would stop with `Missing option: resolver`; fix: add `-r \
                 resolver.json`"
                    .to_owned(),
            ));
        };
        let seen = match std::fs::metadata(resolver) {
            Ok(data) if data.is_file() => match std::fs::File::open(resolver) {
                Ok(_) => return Ok(()),
                Err(error) => format!("cannot be read: {error}"),
            },
            Ok(_) => "is not a regular file".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        Err(InvocationError::Rejected(format!("the resolver {} {seen}", resolver.display())))
    }

    /// The checks are in the runner's order, so that the first error is the same.
    fn new(given: &GivenOptions, sealed_argv: Vec<OsString>) -> Result<Self, CommandLineError> {
        let Some(config) = given.value(Id::Config) else { return Err(CommandLineError::NoConfig) };
        let part = |option, found: &str, known: &[PipelinePart]| {
            PipelinePart::named(found, known).ok_or_else(|| CommandLineError::UnknownPart {
                option,
                found: found.to_owned(),
                known: known.iter().map(|part| part.name()).collect(),
            })
        };
        let resume_from = given
            .text(Id::ResumeFrom)
            .map(|found| part("--resume-from", &found, &PipelinePart::RESUMABLE))
            .transpose()?;
        let skip: Vec<PipelinePart> = given
            .list(Id::Skip)
            .iter()
            .map(|found| part("--skip", found, &PipelinePart::SKIPPABLE))
            .collect::<Result<_, _>>()?;
        if resume_from.is_some() && !skip.is_empty() {
            return Err(CommandLineError::ResumeAndSkip);
        }
        let included = given.list(Id::Include);
        if let Some(found) = included.iter().find(|found| *found != "vacuum") {
            return Err(CommandLineError::UnknownPart {
                option: "--include",
                found: found.clone(),
                known: vec!["vacuum"],
            });
        }
        Ok(Self {
            config: if config == "-" {
                ConfigSource::Stdin
            } else {
                ConfigSource::File(config.into())
            },
            persistent: given.has(Id::Persistent),
            persistent_duration: given.text(Id::PersistentDuration),
            skip,
            resume_from,
            vacuum: !included.is_empty(),
            targets: given.path(Id::Targets),
            enrichments: given.path(Id::Enrichments),
            resolver: given.path(Id::Resolver),
            lock: given.text(Id::Lock).map(|path| RunLock {
                path,
                consul: given.text(Id::Consul),
                ignore_on_start: given.has(Id::IgnoreLock),
            }),
            debug: given.has(Id::Debug),
            sealed_argv,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy as _;

    use super::*;

    fn parse(line: &str) -> Result<Invocation, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::parse(&words).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> RunInvocation {
        match parse(line) {
            Ok(Invocation::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn sealed(line: &str) -> String {
        run(line)
            .sealed_argv
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn every_way_to_name_the_config_is_understood_and_handed_over_as_standard_input() {
        for (line, handed) in [
            ("run -c config.yml -r r", "run -c - -r r"),
            ("run -cconfig.yml -rr", "run -c- -rr"),
            ("run --config=config.yml --resolver=r", "run --config=- --resolver=r"),
            ("run --CONF config.yml -r r", "run --CONF - -r r"),
            ("run -dc config.yml", "run -dc -"),
            ("run -dcconfig.yml", "run -dc-"),
            ("run -d--cconfig.yml", "run -d--c-"),
            ("-- run -c config.yml", "-- run -c -"),
            ("run -c nope.yml -r r -c config.yml", "run -c - -r r -c -"),
        ] {
            let invocation = run(line);
            assert_eq!(invocation.config, ConfigSource::File("config.yml".into()), "{line}");
            assert_eq!(sealed(line), handed, "{line}");
        }
        assert_eq!(run("run -c - -r r").config, ConfigSource::Stdin);
        assert_eq!(
            run("run -c - -r r -c config.yml").config,
            ConfigSource::File("config.yml".into())
        );
    }

    #[test]
    fn what_stands_behind_a_stray_word_or_two_hyphens_is_not_read_but_handed_over() {
        assert!(!run("run -c c -r r -- --use-persistent-jobflow").persistent);
        assert!(!run("run -c c stray --use-persistent-jobflow").persistent);
        assert_eq!(sealed("run -c c -- -c d"), "run -c - -- -c d");
        assert!(parse("run stray -c c").is_err());
    }

    #[test]
    fn the_persistent_mode_is_seen_through_any_abbreviation() {
        for line in ["run -c c --use-persistent-jobflow", "run -c c --use", "run --u -c c"] {
            assert!(run(line).persistent, "{line}");
        }
        assert!(!run("run -c c --persistent-jobflow-duration 1d").persistent);
    }

    #[test]
    fn what_the_runner_rejects_is_rejected_before_it_starts() {
        for (line, message) in [
            (
                "run -r r",
                "the runner's arguments: `run` needs a config: add `-c config.yml`, or `-c -` for \
                 standard input",
            ),
            ("run -r r -c", "the runner's arguments: `-c` needs a value"),
            (
                "run --con config.yml",
                "the runner's arguments: `--con` could be --config or --consul; write it out",
            ),
            (
                "run -c c --nonsense",
                "the runner's arguments: `--nonsense` is not an option of `run`",
            ),
            (
                "run -c c --use-persistent-jobflow=false",
                "the runner's arguments: `--use-persistent-jobflow` takes no value, found \
                 `--use-persistent-jobflow=false`",
            ),
        ] {
            assert_eq!(parse(line), Err(message.to_owned()), "{line}");
        }
    }

    #[test]
    fn commands_that_launch_nothing_are_told_apart() {
        for line in [
            "",
            "--version",
            "-v run -c c",
            "lint all",
            "generate all -c c",
            "run --help",
            "run -c c -h",
            "frobnicate",
        ] {
            assert_eq!(parse(line), Ok(Invocation::NoLaunch), "{line}");
        }
    }

    /// The parsed options, on one line.
    fn said(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match CommandLine::read(&words) {
            Ok(CommandLine::Run(run)) => {
                let path = |name: &str, path: &Option<PathBuf>| {
                    path.as_ref().map(|path| format!("{name} {}", path.display()))
                };
                let text =
                    |name: &str, text: Option<&str>| text.map(|text| format!("{name} {text}"));
                let flag = |name: &str, set: bool| set.then(|| name.to_owned());
                let lock = run.lock.as_ref();
                let skip: Vec<&str> = run.skip.iter().map(|part| part.name()).collect();
                let config = match run.config {
                    ConfigSource::Stdin => "stdin".to_owned(),
                    ConfigSource::File(path) => path.display().to_string(),
                };
                let all = [
                    Some(config),
                    path("resolver", &run.resolver),
                    path("targets", &run.targets),
                    path("enrichments", &run.enrichments),
                    (!skip.is_empty()).then(|| format!("skip {}", skip.join(","))),
                    text("resume", run.resume_from.map(PipelinePart::name)),
                    flag("vacuum", run.vacuum),
                    flag("persistent", run.persistent),
                    text("for", run.persistent_duration.as_deref()),
                    text("lock", lock.map(|lock| lock.path.as_str())),
                    text("consul", lock.and_then(|lock| lock.consul.as_deref())),
                    flag("unlocked", lock.is_some_and(|lock| lock.ignore_on_start)),
                    flag("debug", run.debug),
                ];
                all.into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
            Ok(CommandLine::Other(name)) => format!("({name})"),
            Ok(CommandLine::Exits) => "(exits)".to_owned(),
            Ok(CommandLine::Fails(complaint)) => format!("(fails) {complaint}"),
            Err(error) => format!("(refused) {error}"),
        }
    }

    /// Each measured on `OptionParser` of Ruby 3.1.7 and of JRuby 9.3.9.
    #[test]
    fn options_mean_what_ruby_makes_of_them() {
        for (line, meaning) in [
            // Values: attached, after `=` (which short options keep), or the next word, whatever it
            // is.
            ("run -cc -rr -tt -nn", "c; resolver r; targets t; enrichments n"),
            ("run -c=c", "=c"),
            ("run --config=a=b", "a=b"),
            ("run -c -- -r r", "--; resolver r"),
            ("run -c - - -r r", "stdin"),
            ("run --config= -c c", "c"),
            ("run -c c -l l --consul h --ignore", "c; lock l; consul h; unlocked"),
            ("run -c c --consul h --ignore", "c"),
            // Bundled short options; hyphens within a bundle are lost.
            ("run -d-c c", "c; debug"),
            ("run -dd -dddc c", "c; debug"),
            ("run -d- -c c", "c; debug"),
            ("run -d--config c", "onfig; debug"),
            ("run -config c", "onfig"),
            // A letter that is not a short option begins a long one.
            ("run -u -c c", "c; persistent"),
            ("run -ud -c c", "c; persistent; debug"),
            ("run -uxstaging -c c", "c; skip staging; persistent"),
            (
                "run -use -c c",
                "(fails) `--skip` knows staging, enrich, shred, elasticsearch, archive_raw, \
                 rdb_load, consistency_check, analyze, \
                load_manifest_check, archive_enriched, archive_shredded, staging_stream_enrich; \
                found `e`",
            ),
            ("run -p1d -c c", "c; for 1d"),
            ("run -sstaging,enrich -c c", "c; skip staging,enrich"),
            ("run -e dir -c c", "c; enrichments dir"),
            // Abbreviations: each part between hyphens, in any case; single letters only in their
            // own case.
            ("run --i-l -l l -c c", "c; lock l; unlocked"),
            ("run --u-p -c c", "c; persistent"),
            ("run --u- -c c", "c; persistent"),
            ("run --USE-Persistent -c c", "c; persistent"),
            ("run --r-f shred -c c", "c; resume shred"),
            ("run --resu shred -c c", "c; resume shred"),
            ("run --reso r -c c", "c; resolver r"),
            ("run --i--l -c c", "(fails) `--i--l` is not an option of `run`"),
            ("run -U -c c", "(fails) `-U` is not an option of `run`"),
            (
                "run --res r -c c",
                "(fails) `--res` could be --resolver or --resume-from; write it out",
            ),
            ("run --c c", "(fails) `--c` could be --config or --consul; write it out"),
            (
                "run -* -c c",
                "(fails) `-*` could be --*-completion-bash or --*-completion-zsh; write it out",
            ),
            // No option can be negated.
            ("run --no-debug -c c", "(fails) `--no-debug` is not an option of `run`"),
            (
                "run --no-use-persistent-jobflow -c c",
                "(fails) `--no-use-persistent-jobflow` is not an option of `run`",
            ),
            ("run ---config c", "(fails) `---config` is not an option of `run`"),
            ("run -d=x -c c", "(fails) `--debug` takes no value, found `-d=x`"),
            ("run --debug= -c c", "(fails) `--debug` takes no value, found `--debug=`"),
            ("run --=x -c c", "(fails) `--` takes no value, found `--=x`"),
            ("run -dc", "(fails) `-c` needs a value"),
            // Lists: the last one applies; trailing empty items are dropped, others are not.
            ("run -c c -x staging -x enrich", "c; skip enrich"),
            ("run -c c -x staging -x ,", "c"),
            ("run -c c --skip=", "c"),
            ("run -c c -x shred,,", "c; skip shred"),
            ("run -c c -i vacuum,vacuum", "c; vacuum"),
            ("run -c c -i analyze", "(fails) `--include` knows vacuum; found `analyze`"),
            (
                "run -c c -x shred -f shred",
                "(fails) `--resume-from` and `--skip` exclude each other",
            ),
            ("run -c c -x , -f shred", "c; resume shred"),
            // Options that print and exit.
            ("run -h", "(exits)"),
            ("run -hx -c c", "(exits)"),
            ("run -vfoo", "(exits)"),
            ("run --version=x", "(exits)"),
            ("run --*-completion-bash=--c", "(exits)"),
            ("run --*-completion-z", "(exits)"),
            ("run --help=x", "(fails) `--help` takes no value, found `--help=x`"),
            ("run --nonsense --help", "(fails) `--nonsense` is not an option of `run`"),
            // Words before the command, and other commands.
            ("-- run -c c", "c"),
            (
                "-- -- run -c c",
                "(fails) `-- run` is not a command of the runner; expected `run -c config.yml …`",
            ),
            ("--", "(fails) there is no command; expected `run -c config.yml …`"),
            ("--ver run -c c", "(exits)"),
            ("-x run -c c", "(fails) `-x` is before the command; expected `run -c config.yml …`"),
            ("--= run -c c", "(fails) `--=` is before the command; expected `run -c config.yml …`"),
            (
                "- run -c c",
                "(fails) `- run` is not a command of the runner; expected `run -c config.yml …`",
            ),
            (
                "RUN -c c",
                "(fails) `RUN -c` is not a command of the runner; expected `run -c config.yml …`",
            ),
            ("generate all --nonsense", "(generate all)"),
            // Ruby versions disagree: before 2.7, `_` is not read as a hyphen, and a long s may be
            // read as an s.
            (
                "run --use_persistent_jobflow -c c",
                "(refused) the runner's arguments: `--use_persistent_jobflow`: not every Ruby \
                 reads `_` as `-` in an option's name; write it with hyphens",
            ),
            ("run --no_such -c c", "(fails) `--no_such` is not an option of `run`"),
            (
                "run --\u{17f}kip staging -c c",
                "(refused) the runner's arguments: `--\u{17f}kip`: letters beyond ASCII in an \
                 option's name; write the name out",
            ),
        ] {
            assert_eq!(said(line), meaning, "{line}");
        }
    }

    #[test]
    fn a_mistyped_option_or_part_is_answered_with_the_one_that_was_meant() {
        let said = |line: &str| parse(line).unwrap_err();
        assert_eq!(
            said("run -c c --skp=shred"),
            "the runner's arguments: `--skp=shred` is not an option of `run`; did you mean \
             `--skip`?"
        );
        assert!(said("run -c c -f enrch").ends_with("; found `enrch`; did you mean `enrich`?"));
        assert!(said("run -c c --nonsense").ends_with("`--nonsense` is not an option of `run`"));
    }

    #[test]
    fn a_word_that_is_not_utf_8_is_refused_where_it_would_be_read_and_handed_over_where_not() {
        use std::os::unix::ffi::OsStringExt as _;
        let latin = || OsString::from_vec(b"-\xe9".to_vec());
        let parse = |words: Vec<OsString>| Invocation::parse(&words);
        assert!(parse(vec!["run".into(), latin(), "-c".into(), "c".into()]).is_err());
        assert!(parse(vec!["run".into(), "-c".into(), latin()]).is_err());
        assert!(
            parse(vec![
                "run".into(),
                "-c".into(),
                "c".into(),
                OsString::from_vec(b"\xe9".to_vec())
            ])
            .is_err()
        );
        let Ok(Invocation::Run(run)) =
            parse(vec!["run".into(), "-c".into(), "c".into(), "--".into(), latin()])
        else {
            panic!("not run")
        };
        assert_eq!(run.sealed_argv.last(), Some(&latin()));
    }

    #[test]
    fn a_line_on_which_an_older_runner_could_launch_is_never_passed_through() {
        for line in [
            "-c config.yml -r r",
            "frobnicate -c config.yml",
            "lint -c config.yml",
            "-x run -c c",
            "run -c c --start 2020-01-01",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in ["frobnicate", "frobnicate it", "lint"] {
            assert_eq!(parse(line), Ok(Invocation::NoLaunch), "{line}");
        }
    }

    /// The guard's result for a recorded command line.
    #[derive(Debug, PartialEq)]
    enum RecordedLineResult {
        /// A run; its exit code was decided by S3, EMR or the lock.
        Run,
        /// A run that fails for a reason outside of the command line: the config, a file, EMR.
        RunThatFails,
        PassedThrough,
        Rejected,
    }

    #[test]
    fn every_recorded_command_line_is_understood_as_its_exit_code_shows() {
        use RecordedLineResult::{PassedThrough, Rejected, Run, RunThatFails};
        let expected = [
            ("nodata", Run),
            ("processing-notempty", Run),
            ("shredded-notempty", Run),
            ("lock-ok", Run),
            ("lock-held-ignored", Run),
            ("lock-nodata", Run),
            ("persistent-running", Run),
            ("persistent-two", RunThatFails),
            ("no-config", Rejected),
            ("config-missing-file", RunThatFails),
            ("unknown-option", Rejected),
            ("version", PassedThrough),
            ("noargs", PassedThrough),
            ("help", PassedThrough),
            ("run-help", PassedThrough),
            ("run-version", PassedThrough),
            ("badcmd", PassedThrough),
            ("badcmd2", PassedThrough),
            ("lint", PassedThrough),
            ("lint-resolver", PassedThrough),
            ("lint-resolver-notjson", PassedThrough),
            ("lint-resolver-missing", PassedThrough),
            ("generate-emr-config", PassedThrough),
            ("generate-all", PassedThrough),
            ("stdin", Run),
            ("stdin-empty", RunThatFails),
            ("config-eq", Run),
            ("c-glued", Run),
            ("repeat-c-lastwins", Run),
            ("con-ambiguous", Rejected),
            ("bundled-dc", Run),
            ("positional-stops", Rejected),
            ("double-dash", Run),
            ("missing-arg", Rejected),
            ("resume-invalid", Rejected),
            ("resume-and-skip", Rejected),
            ("no-debug", Rejected),
            ("use-abbrev", Run),
            ("single-dash-long", RunThatFails),
            ("skip-everything", Run),
            ("c-relative-dir", RunThatFails),
            ("creds-unset", RunThatFails),
            ("stdin-then-file", Run),
            ("fifo", RunThatFails),
            ("targets-missing-dir", RunThatFails),
            ("target-unsupported", RunThatFails),
            ("reso", Run),
            ("needless-arg", Rejected),
            ("double-space-cmd", Run),
            ("env-in-config-path", RunThatFails),
            ("global-v-then-run", PassedThrough),
            ("enr-abbrev", Rejected),
        ];
        let recorded: Vec<Vec<&str>> = include_str!("../../../tests/recordings/argv.tsv")
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect())
            .collect();
        let names: Vec<&str> = recorded.iter().map(|row| row[0]).collect();
        assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (row, (name, expected)) in recorded.iter().zip(expected) {
            let code: u8 = row[2].parse().unwrap();
            let seen = match (parse(row[1]), code) {
                (Ok(Invocation::Run(_)), 0 | 3 | 4 | 18) => Run,
                (Ok(Invocation::Run(_)), 1) => RunThatFails,
                (Ok(Invocation::NoLaunch), 0 | 1) => PassedThrough,
                (Err(_), 1) => Rejected,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(seen, expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn sealing_changes_only_where_the_config_comes_from(
            words in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::sample::select(vec![
                        "-c", "c", "-", "--", "-dc", "-cc", "-d--c", "--config", "--conf=", "--config=x", "-r", "-x", "shred", "-u", "-l", "--i-l", "-f=",
                    ])
                    .prop_map(str::to_owned),
                    "-{0,3}[a-z=_*-]{0,4}",
                    "\\PC{0,6}",
                ],
                0..7,
            )
        ) {
            let words: Vec<OsString> = ["run".to_owned()].into_iter().chain(words).map(OsString::from).collect();
            if let Ok(CommandLine::Run(run)) = CommandLine::read(&words) {
                proptest::prop_assert_eq!(run.sealed_argv.len(), words.len());
                let expected = RunInvocation { config: ConfigSource::Stdin, ..run.clone() };
                proptest::prop_assert_eq!(CommandLine::read(&run.sealed_argv).unwrap(), CommandLine::Run(expected));
            }
        }
    }
}
