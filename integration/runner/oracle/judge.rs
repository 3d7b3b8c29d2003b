//! The rule of the differential test: the guard agrees with every Ruby asked, or refuses.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use emr_etl_guard::runners::emr_etl_runner::{
    config::{self, RunnerConfig},
    invocation::{ConfigSource, Invocation, RunInvocation},
    seal::Seal,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The number of characters of a Ruby's error that distinguish kinds of disagreement.
const ERROR: usize = 80;

/// One question to guard and Rubies, in the form in which regressions are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Question {
    /// A whole config, and the environment of its ERB.
    Config { config: String, env: BTreeMap<String, String> },
    /// The words after the runner's name.
    Command { argv: Vec<String> },
}

/// The guard's answer to a question.
pub(crate) enum Answer {
    /// The value that it expects Ruby to hold, and the text it would pass on, unless the runner's
    /// contract rejects it.
    Loaded {
        loaded: Value,
        sealed: Option<String>,
    },
    Run(RunInvocation),
    NoLaunch,
    /// With the reason.
    Refused(String),
    /// It panicked: a bug, whatever the Rubies answer.
    Panicked(String),
}

/// How the guard's answer compares with those of the Rubies.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// `handed_over`: Ruby also read the text that the guard would pass to the runner.
    Agreed {
        handed_over: bool,
    },
    Refused {
        reason: String,
        rubies: Accepting,
    },
    /// Which Ruby, and how: two disagreements of one kind may be one bug.
    Disagreed(Disagreement),
}

/// The Rubies' answers to a question that the guard refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    /// All accept and hold the same value.
    All,
    /// They differ, so refusing is the only right answer.
    Divided,
    None,
}

#[derive(Debug)]
pub(crate) struct Disagreement {
    pub(crate) kind: String,
    pub(crate) guard: String,
    /// Each Ruby's name and answer.
    pub(crate) rubies: Vec<(String, String)>,
}

impl Question {
    /// The guard's answer.
    pub(crate) fn answer(&self) -> Answer {
        std::panic::catch_unwind(|| self.ask_guard()).unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Answer::Panicked(message.unwrap_or("without a message").to_owned())
        })
    }

    fn ask_guard(&self) -> Answer {
        match self {
            Self::Config { config, env } => {
                match config::dump(config, &|name| env.get(name).map(OsString::from)) {
                    Ok(loaded) => {
                        Answer::Loaded { loaded: in_order(loaded), sealed: sealed(config, env) }
                    }
                    // Refused, but for no reason that a person could fix.
                    Err(reason) if reason.ends_with(config::LOST) => Answer::Panicked(reason),
                    Err(reason) => Answer::Refused(reason),
                }
            }
            Self::Command { argv } => {
                let words: Vec<OsString> = argv.iter().map(OsString::from).collect();
                match Invocation::parse(&words) {
                    Ok(Invocation::Run(run)) => Answer::Run(run),
                    Ok(Invocation::NoLaunch) => Answer::NoLaunch,
                    Err(error) => Answer::Refused(error.to_string()),
                }
            }
        }
    }

    /// The requests to the oracle: the question itself and, if accepted, the command line or the
    /// sealed config that the guard passes on.
    pub(crate) fn requests(&self, answer: &Answer) -> Vec<Value> {
        let mut requests = vec![json!(self)];
        match answer {
            Answer::Run(run) => requests.push(json!({"argv": run
                .sealed_argv
                .iter()
                .map(|word| word.to_string_lossy())
                .collect::<Vec<_>>()})),
            Answer::Loaded { sealed: Some(sealed), .. } => {
                requests.push(json!({"config": sealed, "env": {}}));
            }
            _ => {}
        }
        requests
    }

    /// Compares the guard's answer with each Ruby's answers to [`Question::requests`].
    pub(crate) fn judge(&self, answer: &Answer, rubies: Vec<(&str, Vec<Value>)>) -> Judgement {
        let rubies: Vec<(&str, Vec<Value>)> = rubies
            .into_iter()
            .map(|(name, answers)| (name, answers.into_iter().map(in_order).collect()))
            .collect();
        if let Answer::Refused(reason) = answer {
            return Judgement::Refused { reason: reason.clone(), rubies: self.accepting(&rubies) };
        }
        for (name, answers) in &rubies {
            let complaint = match (answer, answers.as_slice()) {
                // After a byte order mark MRI loads only the first key, and the contract then
                // rejects the config. The guard reads on, as JRuby does, which the runner is
                // shipped with.
                (Answer::Loaded { loaded, .. }, [_, rest @ ..])
                    if self.begins_with_a_mark() && !name.contains("jruby") =>
                {
                    rest.first().and_then(|sealed| handed_over(loaded, sealed))
                }
                (Answer::Panicked(_), _) => {
                    Some("could answer what makes the guard panic".to_owned())
                }
                (Answer::Loaded { loaded, sealed: None }, [own]) => loading(loaded, own),
                (Answer::Loaded { loaded, .. }, [own, sealed]) => {
                    loading(loaded, own).or_else(|| handed_over(loaded, sealed))
                }
                (Answer::Run(run), [own, sealed]) => {
                    running(run, own).or_else(|| sealing(own, sealed))
                }
                (Answer::NoLaunch, [own]) => would_run(own).then(|| "would run".to_owned()),
                _ => Some("gave too few answers".to_owned()),
            };
            if let Some(complaint) = complaint {
                return Judgement::Disagreed(Disagreement {
                    kind: match answers[0]["error"].as_str() {
                        Some(error) => format!(
                            "{name} {complaint}: {}",
                            gist(error).chars().take(ERROR).collect::<String>()
                        ),
                        None => format!("{name} {complaint}"),
                    },
                    guard: answer.to_string(),
                    rubies: rubies
                        .iter()
                        .map(|(name, answers)| ((*name).to_owned(), json!(answers).to_string()))
                        .collect(),
                });
            }
        }
        Judgement::Agreed { handed_over: rubies.iter().all(|(_, answers)| answers.len() == 2) }
    }

    fn begins_with_a_mark(&self) -> bool {
        matches!(self, Self::Config { config, .. } if config.starts_with('\u{feff}'))
    }

    fn accepting(&self, rubies: &[(&str, Vec<Value>)]) -> Accepting {
        let accepted = |answers: &Vec<Value>| match self {
            Self::Config { .. } => answers[0].get("ok").is_some(),
            Self::Command { .. } => would_run(&answers[0]),
        };
        let yes = rubies.iter().filter(|(_, answers)| accepted(answers)).count();
        let same = rubies.windows(2).all(|pair| pair[0].1[0].get("ok") == pair[1].1[0].get("ok"));
        match yes {
            0 => Accepting::None,
            _ if same => Accepting::All,
            _ => Accepting::Divided,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { loaded, .. } => write!(f, "{loaded}"),
            Self::Run(run) => write!(f, "{run:?}"),
            Self::NoLaunch => f.write_str("launches nothing"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

const SEALED_NAME: &str = "the-sealed-name";
const TAG: (&str, &str) = ("emr-etl-guard-run", "the-run");

/// The text that the guard would pass to the runner.
fn sealed(config: &str, env: &BTreeMap<String, String>) -> Option<String> {
    let config = RunnerConfig::parse("config.yml", config.as_bytes(), &|name| {
        env.get(name).map(OsString::from)
    })
    .ok()?;
    let seal = Seal {
        security_configuration: SEALED_NAME.to_owned(),
        tag: Some((TAG.0.to_owned(), TAG.1.to_owned())),
    };
    config.seal(&seal).ok().map(|sealed| sealed.text.reveal().clone())
}

/// Ruby's value of the sealed text must be its value of the original, with the sealed keys set.
fn handed_over(loaded: &Value, sealed: &Value) -> Option<String> {
    let mut wanted = loaded.clone();
    set(&mut wanted, &["aws", "emr", "security_configuration"], json!({"text": SEALED_NAME}));
    set(&mut wanted, &["aws", "s3", "buckets", "encrypted"], json!(true));
    set(&mut wanted, &["monitoring", "tags", TAG.0], json!({"text": TAG.1}));
    loading(&in_order(wanted), sealed)
        .map(|complaint| format!("{complaint} (of the sealed config)"))
}

/// Sets the value at `path` in a dump. A missing path is not created; the comparison then fails.
fn set(dump: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *dump = value;
        return;
    };
    let key = json!({"symbol": first});
    let Some(entries) = dump["map"].as_array_mut() else { return };
    match entries.iter_mut().find(|entry| entry[0] == key) {
        Some(entry) => set(&mut entry[1], rest, value),
        None if rest.is_empty() => entries.push(json!([key, value])),
        None => {}
    }
}

fn loading(loaded: &Value, own: &Value) -> Option<String> {
    match own.get("ok") {
        None => Some("raises where the guard loads".to_owned()),
        Some(ok) => {
            (ok != loaded).then(|| format!("holds something else: {}", difference(loaded, ok)))
        }
    }
}

/// The first difference between two dumps, in a few words: two with the same words may be one bug.
fn difference(guard: &Value, ruby: &Value) -> String {
    if let (Some(one), Some(two)) = (guard["map"].as_array(), ruby["map"].as_array()) {
        return match one.iter().zip(two).find(|(one, two)| one != two) {
            Some((one, two)) if one[0] == two[0] => difference(&one[1], &two[1]),
            Some((one, two)) => format!("{} key for {} key", kind(&one[0]), kind(&two[0])),
            None => "a key more or less".to_owned(),
        };
    }
    if let (Some(one), Some(two)) = (guard["list"].as_array(), ruby["list"].as_array()) {
        return one
            .iter()
            .zip(two)
            .find(|(one, two)| one != two)
            .map_or_else(|| "an item more or less".to_owned(), |(one, two)| difference(one, two));
    }
    format!("{} for {}", kind(guard), kind(ruby))
}

fn kind(dump: &Value) -> String {
    match dump {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => other.to_string(),
    }
}

fn running(run: &RunInvocation, own: &Value) -> Option<String> {
    let options = &own["ok"]["options"];
    if own["ok"]["command"] != "run" {
        return Some("would not run".to_owned());
    }
    let config = match &run.config {
        ConfigSource::Stdin => json!("-"),
        ConfigSource::File(path) => json!(path),
    };
    let lock = run.lock.as_ref();
    let understood = [
        ("config_file", config),
        ("use_persistent_jobflow", json!(run.persistent)),
        ("persistent_jobflow_duration", json!(run.persistent_duration.as_deref().unwrap_or("0m"))),
        ("skip", json!(run.skip)),
        ("resume_from", json!(run.resume_from)),
        ("targets_directory", json!(run.targets)),
        ("enrichments_directory", json!(run.enrichments)),
        ("resolver_file", json!(run.resolver)),
        ("debug", json!(run.debug)),
        ("lock", json!(lock.map(|lock| &lock.path))),
        // These two have no effect without a lock, and the guard then leaves them out.
        ("consul", lock.map_or_else(|| options["consul"].clone(), |lock| json!(lock.consul))),
        (
            "ignore_lock_on_start",
            lock.map_or_else(
                || options["ignore_lock_on_start"].clone(),
                |lock| json!(lock.ignore_on_start),
            ),
        ),
    ];
    if let Some((name, _)) = understood.iter().find(|(name, value)| options[name] != *value) {
        return Some(format!("sees another {name}"));
    }
    let included = options["include"].as_array().is_some_and(|included| !included.is_empty());
    (included != run.vacuum).then(|| "sees another include".to_owned())
}

/// The sealed arguments mean the same, except for the config.
fn sealing(own: &Value, sealed: &Value) -> Option<String> {
    let mut meant = own["ok"]["options"].clone();
    meant["config_file"] = json!("-");
    (sealed["ok"]["command"] != "run" || sealed["ok"]["options"] != meant)
        .then(|| "reads the sealed words otherwise".to_owned())
}

fn would_run(own: &Value) -> bool {
    own.get("ok").is_some_and(|ok| ok["command"] == "run" && ok["stops"].is_null())
}

/// The same dump with the entries of every map in one fixed order: Ruby's order is not compared.
fn in_order(dump: Value) -> Value {
    match dump {
        Value::Array(items) => Value::Array(items.into_iter().map(in_order).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let mut value = in_order(value);
                    if name == "map"
                        && let Value::Array(entries) = &mut value
                    {
                        entries.sort_by_cached_key(ToString::to_string);
                    }
                    (name, value)
                })
                .collect(),
        ),
        other => other,
    }
}

/// A reason without the parts that differ between cases: positions and quoted parts.
pub(crate) fn gist(reason: &str) -> String {
    let mut gist = String::new();
    let mut quoted = false;
    for letter in reason.chars() {
        match letter {
            '`' => {
                quoted = !quoted;
                gist.push_str(if quoted { "`…" } else { "`" });
            }
            _ if quoted => {}
            '0'..='9' => {
                if !gist.ends_with('N') {
                    gist.push('N');
                }
            }
            '\n' => break,
            _ => gist.push(letter),
        }
    }
    gist
}
