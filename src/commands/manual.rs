//! The commands `completions` and `man`: shell completions and manual pages, made from the
//! definition of the command line. The Debian package also takes its files from here.

use std::io;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

use crate::{
    base::{outcome::Outcome, text},
    commands::cli::{Cli, CompletionShell},
    system::output::{complain, out},
};

/// The program.
pub const NAME: &str = "emr-etl-guard";
/// The manual page of the settings file, in section 5.
pub const SETTINGS_PAGE: &str = "emr-etl-guard.yml";
/// Another name of that page for `man`.
const SETTINGS_FILE: &str = "guard.yml";

/// Settings that only the file can set, and that the command line therefore does not describe.
const FILE_ONLY: [(&str, &str); 3] = [
    (
        "exceptions",
        "Exceptions: each has a check (`emr-etl-guard explain` lists them), a subject as the \
         report names it (a `*` at the end matches any ending), the reason, and the last day it \
         holds. \
         One that has expired is an error",
    ),
    (
        "sentinel",
        "What the command `sentinel` watches, and how: accounts (each with id, role, and if need \
         be external_id and regions), regions, queues, rules (each with name, match, and what \
         applies: require, expected_keys, advise, enforce, on_unsafe), on_unsafe where no rule \
         matches (alert or terminate; default: alert), terminations_per_hour (5), interval (30s), \
         judge_within (15m), report_every (24h) and listen",
    ),
    (
        "locked",
        "Settings that only this file may set: their names, `policy` (require, accept_encryption, \
         expected_keys, external_buckets, advise, enforce, certificate_days, data_objects, \
         confirm_objects, on_unencrypted, exceptions, sentinel), or `all`. Where a flag, an environment \
         variable or another settings file sets one of them, nothing is launched (64). In \
         /etc/emr-etl-guard/guard.yml this holds even where another file is named. Only the owner \
         of the file may be able to write to it",
    ),
];

/// A setting of the settings file.
pub struct Setting {
    /// Its key.
    pub key: String,
    /// Its heading in the help; none if it is a common setting, or can be set only in the file.
    pub group: Option<String>,
    /// Its description.
    pub help: String,
    /// The default, in words.
    pub default: Option<String>,
    /// The environment variable that sets it.
    pub variable: Option<String>,
    /// The possible values with their meaning; empty if any value is possible.
    pub values: Vec<(String, String)>,
}

/// The command `completions`.
pub(crate) fn print_completions(shell: CompletionShell) -> Outcome {
    out(&completions(match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    }));
    Outcome::Ended(0)
}

/// The command `man`.
pub(crate) fn print_page(name: Option<&str>) -> Outcome {
    let names = names();
    match page(name.unwrap_or(NAME)) {
        Ok(Some(text)) => {
            out(&String::from_utf8_lossy(&text));
            Outcome::Ended(0)
        }
        Ok(None) => {
            let name = name.unwrap_or(NAME);
            let known = || names.iter().map(String::as_str).chain([SETTINGS_FILE]);
            let meant = match text::nearest(name, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("expected one of {}", known().collect::<Vec<_>>().join(", ")),
            };
            complain(&format!("there is no manual page `{name}`; {meant}").into());
            Outcome::BadUsage
        }
        Err(error) => {
            complain(&format!("a bug in emr-etl-guard: {error}").into());
            Outcome::Bug
        }
    }
}

/// The completions for `shell`.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    // For bash, clap_complete 4.6 treats a `-` in a program's name as the start of a subcommand,
    // and then finds no options.
    String::from_utf8_lossy(&text).replace("emr__subcmd__etl__subcmd__guard", "emr__etl__guard")
}

/// The names of all commands.
#[must_use]
pub fn names() -> Vec<String> {
    subcommands(&Cli::command()).map(|sub| sub.get_name().to_owned()).collect()
}

/// A manual page in troff format: of the program, of the command with this name, or of the settings
/// file. None if there is no such command.
///
/// # Errors
/// None in practice: the page is written to memory.
pub fn page(name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut whole = Cli::command();
    whole.build();
    if [SETTINGS_PAGE, SETTINGS_FILE].contains(&name) {
        return settings_page(&settings(&whole)).map(Some);
    }
    if name == NAME {
        return command_page(&whole, &whole).map(Some);
    }
    let found = subcommands(&whole).find(|sub| sub.get_name() == name);
    found.map(|sub| command_page(sub, &whole)).transpose()
}

/// The commands of this program, without clap's own `help`.
fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help")
}

/// All settings: first those of the command line in its order, then those that only the file can
/// set.
#[must_use]
pub fn settings(whole: &Command) -> Vec<Setting> {
    let run = whole.find_subcommand("run");
    let flags = run.into_iter().flat_map(Command::get_arguments);
    let flags = flags.filter(|arg| arg.get_env().is_some() && arg.get_id() != "settings");
    let file_only = FILE_ONLY.map(|(key, help)| Setting {
        key: key.to_owned(),
        group: None,
        help: help.to_owned(),
        default: None,
        variable: None,
        values: Vec::new(),
    });
    flags.map(setting).chain(file_only).collect()
}

fn setting(arg: &Arg) -> Setting {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let values = arg.get_possible_values();
    let values = values.iter().map(|value| {
        let meaning = value.get_help().map(ToString::to_string).unwrap_or_default();
        (value.get_name().to_owned(), meaning)
    });
    Setting {
        key: arg.get_id().to_string(),
        group: arg.get_help_heading().map(ToOwned::to_owned),
        help,
        default,
        variable: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
        values: values.collect(),
    }
}

fn version() -> String {
    format!("{NAME} {}", env!("CARGO_PKG_VERSION"))
}

fn finished(roff: &Roff) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// The manual page of the program or of one of its commands.
fn command_page(command: &Command, whole: &Command) -> io::Result<Vec<u8>> {
    let mut command = command.clone();
    let is_program = command.get_name() == NAME;
    let codes = command.get_after_long_help().or(whole.get_after_long_help());
    let codes = codes.map(ToString::to_string).unwrap_or_default();
    let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    if !is_program {
        let name = format!("{NAME}-{}", command.get_name());
        command = command.display_name(name);
    }
    // The usage line of `--help` is shorter than a list of all options, and shows the runner's
    // arguments correctly.
    let usage = command.render_usage().to_string();
    command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    // clap_mangen omits the text of options that the short help hides.
    command = command.mut_args(|arg| arg.hide_short_help(false));
    let page = Man::new(command.clone())
        .title(command.get_display_name().unwrap_or(NAME))
        .date(" ")
        .source(version())
        .manual("User Commands");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    text.extend(finished(&examples_section(&examples))?);
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    if is_program {
        roff.control("SH", ["DROP-IN"]);
        roff.text([
            roman("Called by the name "),
            bold("snowplow-emr-etl-runner"),
            roman(", by a link or as a copy, it takes all arguments for the runner's own, as "),
            bold("emr-etl-guard run --"),
            roman(" does. Settings then come from the environment and from "),
            italic("guard.yml"),
            roman(" only."),
        ]);
    }
    exit_status(&mut roff, &codes);
    roff.control("SH", ["FILES"]);
    for (file, what) in [
        (
            "/etc/emr-etl-guard/guard.yml",
            "Settings, where no other file is named; what it locks holds in any case.",
        ),
        ("/etc/emr-etl-guard/environment", "Variables for runs that systemd or cron start."),
    ] {
        roff.control("TP", []);
        roff.text([italic(file)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut others: Vec<String> =
        subcommands(whole).map(|sub| format!("{NAME}-{}", sub.get_name())).collect();
    others.insert(0, NAME.to_owned());
    others.retain(|other| {
        Some(other.as_str()) != command.get_display_name() && !(other == NAME && is_program)
    });
    let mut words = Vec::new();
    for other in others {
        words.extend([bold(other), roman("(1), ")]);
    }
    words.extend([bold(SETTINGS_PAGE), roman("(5)")]);
    roff.text(words);
    text.extend(finished(&roff)?);
    Ok(text)
}

/// `examples`: a heading, then one command per line.
fn examples_section(examples: &str) -> Roff {
    let mut roff = Roff::new();
    let lines: Vec<&str> = examples.lines().skip(1).map(str::trim).collect();
    if !lines.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in lines {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}

/// `codes`: the text in the help.
fn exit_status(roff: &mut Roff, codes: &str) {
    roff.control("SH", ["EXIT STATUS"]);
    let (mut intro, mut entries) = (Vec::new(), Vec::<(String, String)>::new());
    for line in codes.lines() {
        match (line.trim().split_once("  "), entries.last_mut()) {
            (Some((code, meaning)), _) if !line.starts_with("   ") => {
                entries.push((code.to_owned(), meaning.trim().to_owned()));
            }
            (_, Some((_, meaning))) => {
                meaning.push(' ');
                meaning.push_str(line.trim());
            }
            (_, None) => intro.push(line.trim_start_matches("Exit codes:").trim()),
        }
    }
    roff.text([roman(intro.join(" "))]);
    for (code, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(meaning)]);
    }
}

/// The manual page of the settings file.
fn settings_page(settings: &[Setting]) -> io::Result<Vec<u8>> {
    let mut roff = Roff::new();
    roff.control("TH", [SETTINGS_PAGE, "5", " ", &version(), "File Formats"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{SETTINGS_PAGE} - settings of {NAME}"))]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("A YAML file, found by the flag "),
        bold("--settings"),
        roman(", then by the variable "),
        bold("EMR_ETL_GUARD_SETTINGS"),
        roman(", then as "),
        italic("/etc/emr-etl-guard/guard.yml"),
        roman(
            ". Flags override environment variables, these override the file, and the file \
             overrides the defaults. What a file locks (see ",
        ),
        bold("locked"),
        roman("), nothing overrides. A key that is not known is an error. "),
        roman("In variables and flags, lists are separated by commas."),
    ]);
    roff.control("SH", ["SETTINGS"]);
    for setting in settings {
        roff.control("TP", []);
        let default = setting.default.as_deref().unwrap_or("none");
        roff.text([bold(setting.key.as_str()), roman(format!(" (default: {default})"))]);
        roff.text([roman(format!("{}.", setting.help.trim_end_matches('.')))]);
        for (value, help) in setting.values.iter().filter(|(_, help)| !help.is_empty()) {
            roff.control("RS", []);
            roff.text([italic(value.as_str()), roman(format!(": {help}"))]);
            roff.control("RE", []);
        }
        if let Some(variable) = &setting.variable {
            roff.control("RS", []);
            roff.text([roman("Variable: "), bold(variable.as_str())]);
            roff.control("RE", []);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(NAME), roman("(1)")]);
    finished(&roff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples_and_exit_codes() {
        let names = names();
        assert!(names.contains(&"check".to_owned()) && names.len() >= 10, "{names:?}");
        for name in names.iter().map(String::as_str).chain([NAME]) {
            let page = String::from_utf8(page(name).unwrap().unwrap()).unwrap();
            assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{name}: {page}");
            assert!(page.contains(r"\fB64\fR"), "{name}: {page}");
            assert!(page.contains(r"emr\-etl\-guard"), "{name}: {page}");
        }
        assert_eq!(page("frobnicate").unwrap(), None);
    }

    #[test]
    fn options_that_the_short_help_leaves_out_are_explained_as_well() {
        let page = String::from_utf8(page("check").unwrap().unwrap()).unwrap();
        for text in ["Write the findings as JUnit XML", "Time limit of one AWS call"] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn the_page_of_the_settings_has_every_one_of_them() {
        let page = String::from_utf8(page(SETTINGS_FILE).unwrap().unwrap()).unwrap();
        for key in ["require", "locked", "exceptions", "exit_codes"] {
            assert!(page.contains(&format!(r"\fB{key}\fR")), "{key}: {page}");
        }
    }

    #[test]
    fn an_exit_code_that_takes_two_lines_is_one_entry() {
        let mut roff = Roff::new();
        exit_status(&mut roff, "Exit codes: a\nb.\n  64  one\n      two\n  128+n  three");
        let text = String::from_utf8(finished(&roff).unwrap()).unwrap();
        assert!(
            text.contains("a b.\n.TP\n\\fB64\\fR\none two\n.TP\n\\fB128+n\\fR\nthree"),
            "{text}"
        );
    }

    #[test]
    fn completions_know_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completions(shell);
            for name in names() {
                assert!(text.contains(&name), "{shell}: {name}");
            }
        }
    }
}
