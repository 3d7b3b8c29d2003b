//! ERB rendered by a real Ruby, for configs that the guard cannot render itself. It is rendered
//! once, here; the rendered text is checked, sealed and passed on, so nothing is evaluated twice.

use std::{
    fmt,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    runners::emr_etl_runner::{
        config_error::{ConfigError, ConfigPosition},
        erb,
    },
    settings::resolve::ErbEngine,
    system::{
        process::{LaunchError, Program, RUNNER_NAME},
        runner_environment::GUARD_SECRETS,
    },
};

impl Program {
    /// The Ruby of `engine`; `None` where the guard renders itself. `named` is the runner, for the
    /// one within its jar.
    ///
    /// # Errors
    /// [`LaunchError`] when the runner's jar is required and there is no runner.
    pub fn ruby(engine: ErbEngine, named: Option<&Path>) -> Result<Option<Ruby>, LaunchError> {
        Ok(match engine {
            ErbEngine::Native => None,
            ErbEngine::Ruby => Some(Ruby::Program("ruby")),
            ErbEngine::Jruby => Some(Ruby::Program("jruby")),
            ErbEngine::RunnerJar => Some(Ruby::Jar(Self::find(named)?.path)),
        })
    }
}

/// The Ruby that renders.
#[derive(Clone, Debug)]
pub enum Ruby {
    /// A program on PATH: `ruby`, `jruby`.
    Program(&'static str),
    /// The JRuby within the runner's own jar.
    Jar(PathBuf),
}

impl fmt::Display for Ruby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) => write!(f, "`{program}`"),
            Self::Jar(jar) => write!(f, "the JRuby in {}", jar.display()),
        }
    }
}

/// The child's script: EmrEtlRunner's own line around `ERB`, in the same module and method, with
/// the libraries that the runner has loaded by then.
const SCRIPT: &str = include_str!("render.rb");

/// The maximum of a config's output that is kept, in bytes, for standard output and for standard
/// error.
const MOST_PRINTED: usize = 1 << 20;
/// The maximum of the script's output that is read, in bytes: the rendered config, what it printed,
/// and the last line.
const LONGEST_OUTPUT: u64 = (erb::LARGEST + 2 * MOST_PRINTED) as u64 + 512;

/// What a config printed while Ruby rendered it: the runner would have printed it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrintedByConfig {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// A config that Ruby has rendered.
#[derive(Debug)]
pub(super) struct RubyRendered {
    pub(super) text: String,
    pub(super) printed: PrintedByConfig,
}

/// The variables of the runner that the config's ERB can read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RubyBinding<'a> {
    /// The config's path as given, or `-`.
    pub(super) config_file: &'a str,
}

/// Renders `text` with `ruby`, in this environment.
///
/// # Errors
/// [`ConfigError`] when there is no such Ruby, or the config's own code raised or exited. Its
/// message never repeats Ruby's output, which could contain a secret.
pub(super) fn render(
    ruby: &Ruby,
    text: &str,
    binding: RubyBinding<'_>,
) -> Result<RubyRendered, ConfigError> {
    match ruby {
        Ruby::Program(program) => run(Command::new(program), ruby, text, binding),
        Ruby::Jar(jar) => {
            let unpacked = tempfile::Builder::new()
                .prefix("emr-etl-guard-jruby.")
                .tempdir()
                .map_err(|error| refuse(format!("no folder for {ruby} can be made: {error}")))?;
            unpack(jar, unpacked.path()).map_err(|reason| {
                refuse(format!(
                    "{ruby}, which the setting `erb` asks for, cannot be used: {reason}"
                ))
            })?;
            run(java(unpacked.path()), ruby, text, binding)
        }
    }
}

fn refuse(message: String) -> ConfigError {
    ConfigError::at(ConfigPosition::START, message)
}

/// Where the runner's build (Warbler) stores the jars that its own start unpacks in the same way.
const LIBRARIES: &str = "META-INF/lib/";

/// Extracts the jars within `jar` to `folder`. The shell script before the archive in the runner's
/// executable does not matter.
fn unpack(jar: &Path, folder: &Path) -> Result<(), String> {
    let shown = |error: &dyn fmt::Display| format!("{error}");
    let file = std::fs::File::open(jar).map_err(|error| shown(&error))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|_| "it is no jar; set `erb` to ruby or jruby".to_owned())?;
    let mut has_jruby = false;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| shown(&error))?;
        let name = entry.name().map_err(|error| shown(&error))?.into_owned();
        let library = name
            .strip_prefix(LIBRARIES)
            .and_then(|below| Path::new(below).file_name())
            .and_then(|file| file.to_str());
        let Some(library) = library.filter(|library| {
            Path::new(library).extension().is_some_and(|extension| extension == "jar")
        }) else {
            continue;
        };
        has_jruby |= library.starts_with("jruby-core") || library.starts_with("jruby-complete");
        let mut unpacked =
            std::fs::File::create(folder.join(library)).map_err(|error| shown(&error))?;
        std::io::copy(&mut entry, &mut unpacked).map_err(|error| shown(&error))?;
    }
    if has_jruby {
        Ok(())
    } else {
        Err(format!("there is no jruby-core*.jar in its {LIBRARIES}; set `erb` to ruby or jruby"))
    }
}

/// JRuby's own command line, from the jars in `folder`, with the Java that the runner's start
/// script would use.
fn java(folder: &Path) -> Command {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let mut command = Command::new(
        home.map_or_else(|| PathBuf::from("java"), |home| Path::new(&home).join("bin/java")),
    );
    let options = std::env::var("JAVA_OPTS").unwrap_or_default();
    // Its standard library is in one of the jars.
    command
        .args(options.split_whitespace())
        .arg("-Djruby.home=uri:classloader://META-INF/jruby.home")
        .arg("-cp")
        .arg(folder.join("*"))
        .arg("org.jruby.Main");
    command
}

fn run(
    mut command: Command,
    ruby: &Ruby,
    text: &str,
    binding: RubyBinding<'_>,
) -> Result<RubyRendered, ConfigError> {
    GUARD_SECRETS.iter().for_each(|secret| {
        command.env_remove(secret);
    });
    let mut child = command
        .args(["-e", SCRIPT, "--", binding.config_file, RUNNER_NAME])
        .arg(MOST_PRINTED.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| {
            refuse(format!("{ruby}, which the setting `erb` names, cannot be run: {error}"))
        })?;
    // Ruby reads all its input before it writes anything, so this order cannot deadlock.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let mut output = Vec::new();
    let read = child.stdout.take().map(|out| out.take(LONGEST_OUTPUT).read_to_end(&mut output));
    if output.len() as u64 == LONGEST_OUTPUT {
        // An error is ignored: the process may have ended already.
        let _ = child.kill();
    }
    let status =
        child.wait().map_err(|error| refuse(format!("{ruby} cannot be waited for: {error}")))?;
    if output.len() as u64 == LONGEST_OUTPUT {
        return Err(refuse(format!(
            "the config, rendered by Ruby, has more than {} bytes; this is no EmrEtlRunner config",
            erb::LARGEST
        )));
    }
    if !matches!((written, read), (Some(Ok(())), Some(Ok(_)))) {
        return Err(refuse(format!("{ruby} did not read the config ({status})")));
    }
    let ended = || refuse(format!("the config's ERB ended Ruby ({status}) before it was rendered"));
    // The last line describes the output before it.
    let split = output.iter().rposition(|byte| *byte == 0).ok_or_else(ended)?;
    let said = String::from_utf8_lossy(&output[split + 1..]).into_owned();
    output.truncate(split);
    let words: Vec<&str> = said.split(' ').collect();
    match words.as_slice() {
        ["rendered", lengths @ ..] => understood(output, lengths).ok_or_else(ended)?,
        ["raised", class, line, variable] => Err(raised(class, line, variable)),
        _ => Err(ended()),
    }
}

/// The rendered config and what it printed, which are concatenated; `lengths` are their sizes in
/// bytes. `None` if the sizes do not match.
fn understood(mut output: Vec<u8>, lengths: &[&str]) -> Option<Result<RubyRendered, ConfigError>> {
    let lengths: Vec<usize> =
        lengths.iter().map(|length| length.parse().ok()).collect::<Option<_>>()?;
    let &[rendered, stdout, stderr] = lengths.as_slice() else { return None };
    if rendered.checked_add(stdout)?.checked_add(stderr)? != output.len() {
        return None;
    }
    let stderr = output.split_off(rendered + stdout);
    let stdout = output.split_off(rendered);
    let text = String::from_utf8(output)
        .map_err(|_| refuse("the config, rendered by Ruby, is not valid UTF-8".to_owned()));
    Some(text.map(|text| RubyRendered { text, printed: PrintedByConfig { stdout, stderr } }))
}

/// `class` is that of Ruby's exception; `line` is of the config, or 0; `variable` is the one that
/// `ENV.fetch` did not find, or `-`.
fn raised(class: &str, line: &str, variable: &str) -> ConfigError {
    let what = match variable {
        "-" => format!("the config's ERB raised {class}"),
        variable => format!("ENV.fetch: the environment variable {variable} is not set"),
    };
    let lines = line.parse::<usize>().unwrap_or_default().saturating_sub(1);
    let mut place = ConfigPosition::START;
    place.advance_all(&"\n".repeat(lines.min(erb::LARGEST)));
    ConfigError::at(place, format!("{what}; EmrEtlRunner would stop here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_last_line_is_told_apart_by_its_lengths() {
        let found = |lengths: &[&str]| understood(b"textoutERR".to_vec(), lengths);
        let whole = found(&["4", "3", "3"]).unwrap().unwrap();
        assert_eq!(whole.text, "text");
        assert_eq!(whole.printed.stdout, b"out");
        assert_eq!(whole.printed.stderr, b"ERR");
        for lengths in [&["4", "3", "4"][..], &["4", "3"], &["4", "3", "x"], &["10", "0", "0", "0"]]
        {
            assert!(found(lengths).is_none(), "{lengths:?}");
        }
        assert!(understood(vec![0xff], &["1", "0", "0"]).unwrap().is_err());
    }

    #[test]
    fn a_variable_that_fetch_did_not_find_is_named_with_its_line() {
        assert_eq!(
            raised("KeyError", "12", "ROLE").to_string(),
            "12:1: ENV.fetch: the environment variable ROLE is not set; EmrEtlRunner would stop \
             here"
        );
        assert_eq!(
            raised("RuntimeError", "0", "-").to_string(),
            "1:1: the config's ERB raised RuntimeError; EmrEtlRunner would stop here"
        );
    }

    fn jar(folder: &Path, entries: &[&str]) -> PathBuf {
        use std::io::Write as _;
        let path = folder.join("snowplow-emr-etl-runner");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"#!/bin/sh\nexec java -jar \"$0\" \"$@\"\nexit 1\n").unwrap();
        let mut archive = zip::ZipWriter::new(file);
        for entry in entries {
            archive.start_file(*entry, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(entry.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        path
    }

    #[test]
    fn the_jars_within_the_runners_executable_are_unpacked_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [
            "META-INF/main.rb",
            "META-INF/lib/jruby-core-9.3.9.0-complete.jar",
            "META-INF/lib/jruby-stdlib-9.3.9.0.jar",
            "gems/x/../../META-INF/lib/evil.jar",
        ];
        let jar = jar(folder.path(), &entries);
        let unpacked = folder.path().join("unpacked");
        std::fs::create_dir(&unpacked).unwrap();
        unpack(&jar, &unpacked).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&unpacked)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["jruby-core-9.3.9.0-complete.jar", "jruby-stdlib-9.3.9.0.jar"]);
        assert_eq!(std::fs::read_to_string(unpacked.join(&names[0])).unwrap(), entries[1]);
    }

    #[test]
    fn a_runner_that_is_no_jar_or_has_no_jruby_in_it_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let said = |jar: PathBuf| {
            render(&Ruby::Jar(jar.clone()), "", RubyBinding { config_file: "-" })
                .unwrap_err()
                .to_string()
                .replace(&jar.display().to_string(), "RUNNER")
        };
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(
            said(script),
            "1:1: the JRuby in RUNNER, which the setting `erb` asks for, cannot be used: it is no \
             jar; set `erb` to ruby or jruby"
        );
        let said = said(jar(folder.path(), &["META-INF/main.rb"]));
        assert_eq!(
            said,
            "1:1: the JRuby in RUNNER, which the setting `erb` asks for, cannot be used: there is \
             no jruby-core*.jar in its META-INF/lib/; set `erb` to ruby or jruby"
        );
    }
}
