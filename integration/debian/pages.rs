//! Generates the files of the Debian package from the program's own definitions, so that they
//! cannot differ: manual pages, completions, `guard.yml`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a package that cannot be made whole must not be made"
)]

use std::{fmt::Write as _, fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;
use emr_etl_guard::{
    commands::{
        cli::Cli,
        manual::{self, NAME, SETTINGS_PAGE, Setting},
    },
    settings::resolve::{Options, Settings, SettingsProvenance},
};

/// Characters in a line of text of `guard.yml`.
const WIDTH: usize = 98;

/// Example values, for settings without a default or with one that cannot be written down. Settings
/// without an example are shown empty.
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
        "\n  - check: bucket-default-encryption\n    subject: acme-legacy-*\n    reason: moved by \
         the end of the quarter, OPS-123\n    expires: 2999-12-31",
    ),
    (
        "locked",
        "[policy, security_configuration, allow_endpoints, allow_roots, credentials, exit_codes, \
         run_tag, judge_within, on_unjudged, terminate_adopted, evidence, sign_key]",
    ),
];

fn main() {
    let folder = std::env::args_os().nth(1).expect("usage: pages FOLDER");
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();

    for (shell, file) in [
        (Shell::Bash, "completion.bash"),
        (Shell::Zsh, "completion.zsh"),
        (Shell::Fish, "completion.fish"),
    ] {
        fs::write(folder.join(file), manual::completions(shell)).unwrap();
    }
    let page = |name: &str| manual::page(name).unwrap().unwrap();
    fs::write(folder.join("guard.yml"), guard_yml(&settings())).unwrap();
    fs::write(folder.join(format!("{SETTINGS_PAGE}.5")), page(SETTINGS_PAGE)).unwrap();
    fs::write(folder.join(format!("{NAME}.1")), page(NAME)).unwrap();
    for name in manual::names() {
        fs::write(folder.join(format!("{NAME}-{name}.1")), page(&name)).unwrap();
    }
}

/// A setting with its value in `guard.yml`.
struct FileSetting {
    setting: Setting,
    value: String,
    /// Whether that value is the default, and not an example.
    is_default: bool,
}

/// All settings, those of the command line first.
fn settings() -> Vec<FileSetting> {
    let mut command = Cli::command();
    command.build();
    let settings: Vec<FileSetting> =
        manual::settings(&command).into_iter().map(with_value).collect();

    // The parser's error lists the keys that the file may contain.
    let refusal = serde_yaml::from_str::<Options>("no-such-key: 1").unwrap_err().to_string();
    let (_, known) = refusal
        .split_once("expected one of ")
        .expect("an unknown key is answered with those that are known");
    let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let mut ours: Vec<&str> = settings.iter().map(|one| one.setting.key.as_str()).collect();
    known.sort_unstable();
    ours.sort_unstable();
    let defaults = settings.iter().filter(|one| one.is_default).count();
    assert!(defaults > 20, "only {defaults} settings are shown with their default");
    assert_eq!(ours, known, "guard.yml has other keys than the command line and FILE_ONLY");
    settings
}

/// The default value of a setting, or else an example.
fn with_value(setting: Setting) -> FileSetting {
    let all: Vec<&str> = setting.values.iter().map(|(value, _)| value.as_str()).collect();
    // The default in words, or all values, or none: the one that the settings themselves treat as
    // the default.
    let candidates = [
        setting.default.clone().unwrap_or_default(),
        format!("[{}]", all.join(", ")),
        "[]".to_owned(),
        "{}".to_owned(),
    ];
    let is_file_only = setting.variable.is_none();
    let default = candidates
        .into_iter()
        .filter(|value| !is_file_only && !value.is_empty())
        .find(|value| is_default(&format!("{}: {value}", setting.key)));
    let is_default = default.is_some();
    let example = || EXAMPLES.iter().find(|(key, _)| *key == setting.key);
    let example = || example().map(|(_, example)| (*example).to_owned());
    let value = default.or_else(example).unwrap_or_default();
    FileSetting { setting, value, is_default }
}

/// The settings of a file, or the error.
fn resolve(text: &str) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    // The file's name and its lines are not settings.
    let text = |mut settings: Settings| {
        settings.file = None;
        settings.provenance = SettingsProvenance::default();
        format!("{settings:?}")
    };
    Settings::resolve(Options::default(), Some(file.path()))
        .map(text)
        .map_err(|error| error.to_string())
}

/// Whether this line of `guard.yml` states the default.
fn is_default(line: &str) -> bool {
    resolve(line).is_ok_and(|settings| settings == resolve("").unwrap())
}

/// The default `guard.yml`: every setting, commented out.
fn guard_yml(settings: &[FileSetting]) -> String {
    let header = [
        format!("Settings of emr-etl-guard; {SETTINGS_PAGE}(5) has more on each."),
        "As it is shipped this file sets nothing: each line that begins with `#` and a key shows \
         a setting with its default, or with an example where it says so. \
         Take the `#` away to set it. A key that is not known is an error. Environment variables \
         override this file, and flags override both, except for what `locked` names."
            .to_owned(),
    ];
    let mut text = header
        .map(|paragraph| format!("# {}\n", wrapped(&paragraph, WIDTH).join("\n# ")))
        .join("#\n");
    for FileSetting { setting, value: yaml, is_default } in settings {
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
        if !is_default {
            writeln!(
                text,
                "# Default: {}. An example:",
                setting.default.as_deref().unwrap_or("none")
            )
            .unwrap();
        }
        let line = format!("{}: {yaml}", setting.key);
        writeln!(text, "#{}", line.trim_end().replace(": \n", ":\n").replace('\n', "\n#")).unwrap();
    }
    assert_eq!(resolve(&text), resolve(""), "guard.yml as it is shipped sets something");
    // A comment has one blank after its `#`; a setting has none, and its further lines have more.
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
