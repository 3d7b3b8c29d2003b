//! The text and the commands of a fix: the catalogue's template, filled in for one subject and for
//! the environment in which the commands will be pasted.

use crate::{
    base::{
        names::{ClusterId, partition},
        printable::{Printable, printable},
        text::shell_word,
    },
    settings::aws_options::CredentialSource,
};

/// The values that make the commands of a fix complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandContext {
    /// The region of clusters, keys and networks; empty if unknown.
    pub region: String,
    /// The region of the buckets; empty if unknown.
    pub s3_region: String,
    /// The AWS profile that the guard itself was started with.
    pub profile: Option<String>,
    /// The settings file, if it is not the default one.
    pub settings: Option<String>,
    /// The runner's arguments for its config and its resolver; none if no file is named.
    pub runner: Option<Vec<String>>,
    /// Whether the guard's own credentials are those of the runner config.
    pub runner_credentials: bool,
}

impl CommandContext {
    /// One region for everything; all other values are unknown.
    #[must_use]
    pub fn in_region(region: &str) -> Self {
        Self { region: region.to_owned(), s3_region: region.to_owned(), ..Self::default() }
    }

    /// The profile that commands must name to use the guard's own credentials, which come from
    /// `source`. In the SDK, keys in the environment take precedence over a profile; in the AWS
    /// CLI, `--profile` takes precedence over these keys.
    #[must_use]
    pub fn profile_of(
        source: CredentialSource,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        match source {
            CredentialSource::RunnerConfig => None,
            CredentialSource::Chain => {
                set("AWS_PROFILE").filter(|_| set("AWS_ACCESS_KEY_ID").is_none())
            }
        }
    }

    /// The options to insert after the first three words of each AWS CLI command.
    pub(crate) fn options(&self, service: &str) -> String {
        let region = if service.starts_with("s3") { &self.s3_region } else { &self.region };
        let mut options = String::new();
        if !region.is_empty() {
            options = format!(" --region {}", shell_word(region));
        }
        if let Some(profile) = &self.profile {
            options = format!("{options} --profile {}", shell_word(profile));
        }
        options
    }

    /// The guard's own command that continues an open run.
    pub(crate) fn resume(&self) -> String {
        let words = if self.runner_credentials { self.runner.as_deref() } else { None };
        own_command("watch", "--resume", self.settings.as_deref(), words)
    }

    /// The guard's own command that watches these clusters to their end.
    pub(crate) fn watch<'a>(&self, clusters: impl IntoIterator<Item = &'a ClusterId>) -> String {
        let ids: Vec<&str> = clusters.into_iter().map(ClusterId::as_str).collect();
        own_command("watch", &ids.join(" "), self.settings.as_deref(), self.runner.as_deref())
    }

    /// The value of `placeholder` in every template.
    fn value(&self, placeholder: &str) -> Option<String> {
        Some(match placeholder {
            "region" => shell_word(&self.region),
            "partition" => partition(&self.s3_region).to_owned(),
            // CreateBucket rejects us-east-1 as a location constraint, and requires one everywhere
            // else.
            "create-in" if matches!(self.s3_region.as_str(), "" | "us-east-1") => String::new(),
            "create-in" => format!(
                " --create-bucket-configuration LocationConstraint={}",
                shell_word(&self.s3_region)
            ),
            _ => return None,
        })
    }
}

/// Example values of the placeholders, for the catalogue and for findings without own values.
const EXAMPLES: [(&str, &str); 6] = [
    ("subject", "NAME"),
    ("key", "NAME"),
    ("domain", "DOMAIN"),
    ("locations", "s3://BUCKET/PREFIX"),
    ("buckets", ""),
    (
        "encryption",
        r#"'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'"#,
    ),
];

/// The beginning of the guard's own command for encrypting objects in place.
const REENCRYPT: &str = "emr-etl-guard reencrypt ";

/// A fix before it is filled in: a sentence with its commands between backticks, and placeholders
/// `{name}`. Each value is one or several shell words.
#[derive(Clone, Debug)]
pub(crate) struct FixTemplate {
    text: &'static str,
    values: Vec<(&'static str, Printable)>,
    /// The shell lines that carry out the fix, if they are more than its commands.
    script: Vec<Printable>,
}

/// A fix as text for people, with the parts that a shell can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilledFix {
    /// One line.
    pub(crate) text: Printable,
    /// Its commands, in order.
    pub(crate) commands: Vec<Printable>,
    /// The shell lines that carry out the fix, if they are more than those commands.
    pub(crate) script: Vec<Printable>,
}

impl FixTemplate {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, values: Vec::new(), script: Vec::new() }
    }

    /// Sets `{name}` to a single shell word.
    pub(crate) fn word(self, name: &'static str, value: &str) -> Self {
        self.words(name, shell_word(value))
    }

    /// Sets `{name}` to words that are already quoted. An earlier value of that name is kept.
    pub(crate) fn words(mut self, name: &'static str, value: impl Into<Printable>) -> Self {
        self.values.push((name, value.into()));
        self
    }

    pub(crate) fn script(self, script: Vec<Printable>) -> Self {
        Self { script, ..self }
    }

    pub(crate) fn fill(&self, context: &CommandContext) -> FilledFix {
        let value = |name: &str| {
            let own = self.values.iter().find(|(own, _)| *own == name);
            let example = || EXAMPLES.iter().find(|(example, _)| *example == name);
            own.map(|(_, value)| value.to_string())
                .or_else(|| context.value(name))
                .or_else(|| example().map(|(_, value)| (*value).to_owned()))
        };
        let mut text = String::new();
        let mut commands = Vec::new();
        // The template is split at its backticks before any value is inserted.
        for (index, part) in self.text.split('`').enumerate() {
            let is_code = index % 2 == 1;
            if !(is_code && is_command(part)) {
                let filled = replaced(part, &value);
                let shown = if is_code { format!("`{filled}`") } else { filled };
                text.push_str(&shown);
                continue;
            }
            let command = match part.strip_prefix(REENCRYPT) {
                Some(rest) => reencrypt(&replaced(rest, &value), &value, context),
                None => with_options(part, context, &value),
            };
            // A fix that is only a command can be pasted as a complete line.
            let alone = self.text.len() == part.len() + 2;
            let shown = if alone { command.clone() } else { format!("`{command}`") };
            text.push_str(&shown);
            commands.push(printable!("{command}"));
        }
        FilledFix { text: printable!("{text}"), commands, script: self.script.clone() }
    }
}

/// A template of the catalogue for people, without a finding.
#[must_use]
pub(crate) fn example(text: &'static str) -> String {
    FixTemplate::new(text).fill(&CommandContext::in_region("REGION")).text.into()
}

/// Whether this part of a template is a shell command.
fn is_command(code: &str) -> bool {
    code.starts_with("aws ") || code.starts_with(REENCRYPT)
}

/// A command of the AWS CLI, with region and profile inserted after each `aws SERVICE OPERATION`.
fn with_options(
    command: &str,
    context: &CommandContext,
    value: &impl Fn(&str) -> Option<String>,
) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut service: Option<(usize, &str)> = None;
    for word in command.split(' ') {
        words.push(replaced(word, value));
        service = match service {
            Some((0, _)) => Some((1, word)),
            Some((1, service)) => {
                words.push(context.options(service).trim_start().to_owned());
                None
            }
            _ if word == "aws" || word.ends_with("$(aws") => Some((0, "")),
            other => other,
        };
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The guard's own command, with this run's settings and runner config. Without a config the
/// buckets are named, because the command changes only what is named.
fn reencrypt(
    arguments: &str,
    value: &impl Fn(&str) -> Option<String>,
    context: &CommandContext,
) -> String {
    let (settings, runner) = (context.settings.as_deref(), context.runner.as_deref());
    let command = own_command("reencrypt", arguments, settings, runner);
    match value("buckets").filter(|buckets| runner.is_none() && !buckets.is_empty()) {
        Some(buckets) => format!("{command} {buckets}"),
        None => command,
    }
}

/// A command of the guard's own: `arguments` are words of a shell already, `settings` is a file
/// that is not the default one, `runner` are the runner's arguments.
fn own_command(
    command: &str,
    arguments: &str,
    settings: Option<&str>,
    runner: Option<&[String]>,
) -> String {
    let mut words = vec!["emr-etl-guard".to_owned(), command.to_owned()];
    if let Some(settings) = settings {
        words.extend(["--settings".to_owned(), shell_word(settings)]);
    }
    words.push(arguments.to_owned());
    if let Some(runner) = runner {
        words.push("--".to_owned());
        words.extend(runner.iter().map(|word| shell_word(word)));
    }
    words.join(" ")
}

/// Replaces each known `{name}` in `text`, in one pass: a placeholder inside a value is not
/// replaced.
fn replaced(text: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        filled += before;
        let found = from.find('}').and_then(|end| Some((end, value(&from[1..end])?)));
        if let Some((end, value)) = found {
            filled += &value;
            rest = &from[end + 1..];
        } else {
            filled.push('{');
            rest = &from[1..];
        }
    }
    filled + rest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A context in which every value is known, and all are different.
    pub(in crate::checks) fn context() -> CommandContext {
        CommandContext {
            region: "eu-west-1".to_owned(),
            s3_region: "eu-central-1".to_owned(),
            profile: Some("night run".to_owned()),
            settings: Some("my guard.yml".to_owned()),
            runner: Some(["run", "-c", "config.yml", "-r", "resolver.json"].map(Into::into).into()),
            runner_credentials: false,
        }
    }

    #[test]
    fn commands_on_buckets_name_the_buckets_region_and_all_others_that_of_the_clusters() {
        let fill = |text| FixTemplate::new(text).word("subject", "acme-out").fill(&context());
        let s3 = fill("`aws s3api create-bucket --bucket {subject}{create-in}`");
        assert_eq!(
            s3.text,
            "aws s3api create-bucket --region eu-central-1 --profile 'night run' --bucket \
             acme-out --create-bucket-configuration LocationConstraint=eu-central-1"
        );
        assert_eq!(s3.commands, std::slice::from_ref(&s3.text));
        let nested = fill("do: `aws ec2 a-b --x \"$(aws ec2 c-d --y)\"`, then look");
        assert_eq!(
            nested.text,
            "do: `aws ec2 a-b --region eu-west-1 --profile 'night run' --x \"$(aws ec2 c-d \
             --region eu-west-1 --profile 'night run' --y)\"`, then look"
        );
        let us = CommandContext::in_region("us-east-1");
        let text = "`aws s3api create-bucket --bucket b{create-in}`";
        assert_eq!(
            FixTemplate::new(text).fill(&us).text,
            "aws s3api create-bucket --region us-east-1 --bucket b"
        );
    }

    #[test]
    fn reencrypt_names_the_config_of_the_run_or_else_the_buckets() {
        let template = FixTemplate::new("`emr-etl-guard reencrypt --apply {locations}`")
            .words("locations", "s3://acme-in/a/ s3://acme-out/")
            .words("buckets", "--bucket acme-in --bucket acme-out");
        assert_eq!(
            template.fill(&context()).text,
            "emr-etl-guard reencrypt --settings 'my guard.yml' --apply s3://acme-in/a/ \
             s3://acme-out/ -- run -c config.yml -r resolver.json"
        );
        assert_eq!(
            template.fill(&CommandContext::default()).text,
            "emr-etl-guard reencrypt --apply s3://acme-in/a/ s3://acme-out/ --bucket acme-in \
             --bucket acme-out"
        );
    }

    #[test]
    fn the_guards_own_commands_name_the_settings_and_the_config_where_they_need_it() {
        let (here, nowhere) = (context(), CommandContext::default());
        let arguments = " -- run -c config.yml -r resolver.json";
        assert_eq!(here.resume(), "emr-etl-guard watch --settings 'my guard.yml' --resume");
        let by_keys = CommandContext { runner_credentials: true, ..context() };
        assert_eq!(by_keys.resume(), format!("{}{arguments}", here.resume()));
        assert_eq!(nowhere.resume(), "emr-etl-guard watch --resume");
        let ids: [ClusterId; 2] = ["j-1", "j-2"].map(|id| id.parse().unwrap());
        assert_eq!(nowhere.watch(&ids), "emr-etl-guard watch j-1 j-2");
        assert_eq!(
            here.watch(&ids[..1]),
            format!("emr-etl-guard watch --settings 'my guard.yml' j-1{arguments}")
        );
    }

    #[test]
    fn a_profile_is_named_only_where_the_guard_goes_by_it() {
        let of_source = |source, set: &[(&str, &str)]| {
            CommandContext::profile_of(source, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let of = |set: &[(&str, &str)]| of_source(CredentialSource::Chain, set);
        let nightly = [("AWS_PROFILE", "nightly")];
        assert_eq!(of_source(CredentialSource::RunnerConfig, &nightly), None);
        assert_eq!(of(&[("AWS_PROFILE", "nightly")]).as_deref(), Some("nightly"));
        assert_eq!(of(&[("AWS_PROFILE", "nightly"), ("AWS_ACCESS_KEY_ID", "AKIA")]), None);
        assert_eq!(of(&[("AWS_PROFILE", "")]), None);
        assert_eq!(of(&[]), None);
    }
}
