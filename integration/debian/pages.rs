//! Writes what the Debian package takes from the program's own definition, so that it cannot differ
//! from it: manual pages, completions, `guard.yml`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a package that cannot be made whole must not be made"
)]

use std::{fmt::Write as _, fs, path::Path};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};
use emr_etl_guard::{
    commands::cli::Cli,
    settings::resolve::{Options, Settings},
};

const NAME: &str = "emr-etl-guard";
/// The manual page of `guard.yml`.
const SETTINGS_PAGE: &str = "emr-etl-guard.yml";

/// Characters in a line of text of `guard.yml`.
const WIDTH: usize = 98;

/// Values to begin with, for settings whose default is none, or is no value that could be written
/// down. Others need none: theirs is shown empty.
const EXAMPLES: [(&str, &str); 14] = [
    ("runner", "/opt/snowplow/snowplow-emr-etl-runner-1.0.4.jar"),
    ("security_configuration", "acme-end-to-end"),
    ("report", "/var/log/emr-etl-guard/report.json"),
    ("state_dir", "/var/lib/emr-etl-guard"),
    ("alert_sns", "arn:aws:sns:eu-west-1:123456789012:etl-alerts"),
    ("alert_webhook", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXX"),
    ("alert_command", "/usr/local/bin/page"),
    ("metrics_file", "/var/lib/prometheus/node-exporter/emr-etl-guard.prom"),
    ("otlp_endpoint", "http://127.0.0.1:4318"),
    ("metrics_labels", "{pipeline: acme}"),
    ("prices", "{write-STANDARD: 0.0055, kms: 0.03}"),
    ("event_queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/emr-etl-guard-events"),
    (
        "exceptions",
        "\n  - check: bucket-default-encryption\n    subject: acme-legacy-*\n    reason: moved by the end of the quarter, OPS-123\n    expires: 2999-12-31",
    ),
    (
        "locked",
        "[policy, security_configuration, allow_endpoints, allow_roots, credentials, exit_codes, run_tag, judge_within, on_unjudged, terminate_adopted, evidence, sign_key]",
    ),
];

/// What is to be said of settings that only the file has, and that the command line does not
/// describe therefore.
const FILE_ONLY: [(&str, &str); 2] = [
    (
        "exceptions",
        "What is excepted: a check (`emr-etl-guard explain` lists them), a subject as the report names it (a trailing `*` fits any ending), the \
     reason, and the last day it holds. One that has expired is an error",
    ),
    (
        "locked",
        "Settings that this file alone decides: by their names, `policy` (require, accept_encryption, expected_keys, external_buckets, advise, enforce, \
     certificate_days, data_objects, confirm_objects, on_unencrypted, exceptions), or `all`. Where a flag, a variable of the environment or another settings \
     file sets one of them, nothing is launched (64). As /etc/emr-etl-guard/guard.yml this file holds what it locks even where another one is named. Only \
     its owner may be able to write it",
    ),
];

fn main() {
    let folder = std::env::args_os().nth(1).expect("usage: pages FOLDER");
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();

    let mut command = Cli::command();
    for (shell, file) in [
        (Shell::Bash, "completion.bash"),
        (Shell::Zsh, "completion.zsh"),
        (Shell::Fish, "completion.fish"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, NAME, &mut text);
        // For bash, clap_complete 4.6 takes a `-` in a program's name for a step down to a
        // subcommand, and then finds no options for any.
        let text = String::from_utf8(text)
            .unwrap()
            .replace("emr__subcmd__etl__subcmd__guard", "emr__etl__guard");
        fs::write(folder.join(file), text).unwrap();
    }

    command.build();
    let settings = settings(&command);
    fs::write(folder.join("guard.yml"), guard_yml(&settings)).unwrap();
    fs::write(folder.join(format!("{SETTINGS_PAGE}.5")), settings_page(&settings)).unwrap();
    fs::write(folder.join(format!("{NAME}.1")), command_page(&command, &command)).unwrap();
    for sub in subcommands(&command) {
        fs::write(folder.join(format!("{NAME}-{}.1", sub.get_name())), command_page(sub, &command))
            .unwrap();
    }
}

/// The commands that somebody wrote; clap adds `help`.
fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help")
}

/// A setting, as `guard.yml` has it.
struct Setting {
    key: String,
    help: String,
    /// In words.
    default: Option<String>,
    variable: Option<String>,
    /// What stands behind the key.
    value: String,
    /// Whether that value is the default, and not an example.
    is_default: bool,
    /// Value, and what it means.
    values: Vec<(String, String)>,
}

/// All settings: those of the command line, in its order, and those that only the file has.
fn settings(command: &Command) -> Vec<Setting> {
    let run = command.find_subcommand("run").unwrap();
    let flags = run
        .get_arguments()
        .filter(|arg| arg.get_env().is_some() && arg.get_id() != "settings")
        .map(setting);
    let file_only = FILE_ONLY.map(|(key, help)| Setting {
        key: key.to_owned(),
        help: help.to_owned(),
        default: None,
        variable: None,
        value: String::new(),
        is_default: false,
        values: Vec::new(),
    });
    let mut settings: Vec<Setting> = flags.chain(file_only).collect();
    for setting in &mut settings {
        if !setting.is_default
            && let Some((_, example)) = EXAMPLES.iter().find(|(key, _)| *key == setting.key)
        {
            setting.value = (*example).to_owned();
        }
    }

    // What the file may hold is said by the reader of it.
    let refusal = serde_yaml::from_str::<Options>("no-such-key: 1").unwrap_err().to_string();
    let (_, known) = refusal
        .split_once("expected one of ")
        .expect("an unknown key is answered with those that are known");
    let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let mut ours: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
    known.sort_unstable();
    ours.sort_unstable();
    assert_eq!(
        ours, known,
        "guard.yml has other keys than the command line; add them to FILE_ONLY"
    );
    settings
}

fn setting(arg: &Arg) -> Setting {
    let key = arg.get_id().to_string();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let values: Vec<(String, String)> = arg
        .get_possible_values()
        .iter()
        .map(|value| {
            (
                value.get_name().to_owned(),
                value.get_help().map(ToString::to_string).unwrap_or_default(),
            )
        })
        .collect();
    let all: Vec<&str> = values.iter().map(|(value, _)| value.as_str()).collect();
    // The default in words, or everything there is, or nothing: whichever the settings themselves
    // take for the default.
    let candidates = [
        default.clone().unwrap_or_default(),
        format!("[{}]", all.join(", ")),
        "[]".to_owned(),
        "{}".to_owned(),
    ];
    let value = candidates
        .into_iter()
        .filter(|value| !value.is_empty())
        .find(|value| is_default(&format!("{key}: {value}")));
    Setting {
        is_default: value.is_some(),
        value: value.unwrap_or_default(),
        variable: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
        key,
        help,
        default,
        values,
    }
}

/// The settings of a file, or why there are none.
fn resolve(text: &str) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    // Which file it was is no setting.
    let text = |mut settings: Settings| {
        settings.file = None;
        format!("{settings:?}")
    };
    Settings::resolve(Options::default(), Some(file.path()))
        .map(text)
        .map_err(|error| error.to_string())
}

/// Whether this line of `guard.yml` says what holds without it.
fn is_default(line: &str) -> bool {
    resolve(line).is_ok_and(|settings| settings == resolve("").unwrap())
}

/// The default `guard.yml`: every setting, commented out.
fn guard_yml(settings: &[Setting]) -> String {
    let header = [
        format!("Settings of emr-etl-guard; {SETTINGS_PAGE}(5) has more on each."),
        "As it is shipped this file sets nothing: each line that begins with `#` and a key shows a setting with its default, or with an example where it says so. \
         Take the `#` away to set it. A key that is not known is an error. Environment variables beat this file, and flags beat both, but for what `locked` names."
            .to_owned(),
    ];
    let mut text = header
        .map(|paragraph| format!("# {}\n", wrapped(&paragraph, WIDTH).join("\n# ")))
        .join("#\n");
    for setting in settings {
        text.push('\n');
        for line in wrapped(&format!("{}.", setting.help.trim_end_matches('.')), WIDTH) {
            writeln!(text, "# {line}").unwrap();
        }
        let several =
            setting.values.len() > 1 && setting.values.iter().any(|(_, help)| !help.is_empty());
        for (value, help) in setting.values.iter().filter(|_| several) {
            for (number, line) in wrapped(&format!("{value}: {help}"), WIDTH - 2).iter().enumerate()
            {
                writeln!(text, "# {} {line}", if number == 0 { "-" } else { "." }).unwrap();
            }
        }
        if !setting.is_default {
            writeln!(
                text,
                "# Default: {}. An example:",
                setting.default.as_deref().unwrap_or("none")
            )
            .unwrap();
        }
        let line = format!("{}: {}", setting.key, setting.value);
        writeln!(text, "#{}", line.trim_end().replace(": \n", ":\n").replace('\n', "\n#")).unwrap();
    }
    assert_eq!(resolve(&text), resolve(""), "guard.yml as it is shipped sets something");
    // A comment has one blank behind its `#`; a setting has none, and its further lines have more.
    let is_comment = |line: &&str| {
        *line == "#" || line.strip_prefix("# ").is_some_and(|rest| !rest.starts_with(' '))
    };
    let set: Vec<&str> = text
        .lines()
        .filter(|line| !is_comment(line))
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .collect();
    resolve(&set.join("\n")).expect("every setting of guard.yml can be set as it stands there");
    text
}

/// Lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn version() -> String {
    format!("{NAME} {}", env!("CARGO_PKG_VERSION"))
}

fn finished(roff: &Roff) -> Vec<u8> {
    let mut text = Vec::new();
    roff.to_writer(&mut text).unwrap();
    text
}

/// The manual page of the program or of one of its commands.
fn command_page(command: &Command, whole: &Command) -> Vec<u8> {
    let mut command = command.clone();
    let exit_codes = whole.get_after_help().map(ToString::to_string).unwrap_or_default();
    if command.get_name() != NAME {
        let name = format!("{NAME}-{}", command.get_name());
        command = command.display_name(name);
    }
    // The usage as `--help` has it is shorter than every option there is, and right about the
    // runner's arguments.
    let usage = command.render_usage().to_string();
    command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let page = Man::new(command.clone())
        .title(command.get_display_name().unwrap_or(NAME))
        .date(" ")
        .source(version())
        .manual("User Commands");
    let mut text = Vec::new();
    page.render_title(&mut text).unwrap();
    page.render_name_section(&mut text).unwrap();
    page.render_synopsis_section(&mut text).unwrap();
    page.render_description_section(&mut text).unwrap();
    page.render_options_section(&mut text).unwrap();
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text).unwrap();
    }

    let mut roff = Roff::new();
    if command.get_name() == NAME {
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
    roff.control("SH", ["EXIT STATUS"]);
    let mut lines = exit_codes.lines();
    roff.text([roman(lines.next().unwrap_or_default().trim_start_matches("Exit codes: "))]);
    for line in lines {
        let (codes, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
        roff.control("TP", []);
        roff.text([bold(codes)]);
        roff.text([roman(meaning)]);
    }
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
        Some(other.as_str()) != command.get_display_name()
            && !(other == NAME && command.get_name() == NAME)
    });
    let mut words = Vec::new();
    for other in others {
        words.extend([bold(other), roman("(1), ")]);
    }
    words.extend([bold(SETTINGS_PAGE), roman("(5)")]);
    roff.text(words);
    text.extend(finished(&roff));
    text
}

/// The manual page of `guard.yml`.
fn settings_page(settings: &[Setting]) -> Vec<u8> {
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
        roman(". Flags beat environment variables, these beat the file, and the file beats the defaults. What a file locks (see "),
        bold("locked"),
        roman("), none of them beats. A key that is not known is an error. "),
        roman("In variables and flags, lists are separated by commas."),
    ]);
    roff.control("SH", ["SETTINGS"]);
    for setting in settings {
        roff.control("TP", []);
        let default = if setting.is_default {
            setting.value.clone()
        } else {
            setting.default.clone().unwrap_or_else(|| "none".to_owned())
        };
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
