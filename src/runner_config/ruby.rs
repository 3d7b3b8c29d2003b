//! ERB rendered by a real Ruby, for configs that hold more than the guard judges by itself. It is rendered once, here; the rendered text is what is judged, sealed and
//! handed over, so nothing is evaluated twice.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{ConfigError, Position};

/// What the child runs: EmrEtlRunner's own line around `ERB`, with the names that stand in its binding there.
///
/// Whatever the config prints or runs goes to /dev/null; the rendered text is framed by a zero byte and a word, so that a config which ends Ruby half-way
/// (`exit 0`) cannot pass for one that was rendered.
const SCRIPT: &str = "\
require 'erb'
out = $stdout.dup
$stdout.reopen('/dev/null')
$stderr.reopen('/dev/null')
[$stdin, out].each { |stream| stream.set_encoding('UTF-8') }
config_file = '-'
is_required = true
config = $stdin.readlines.join
begin
  rendered = ERB.new(config).result(binding)
  out.write(rendered, \"\\0rendered\")
rescue Exception => error
  out.write(\"\\0\", error.class.name)
end
out.flush
";

/// Renders `text` by `program` (`ruby` or `jruby`), in this environment.
///
/// # Errors
/// [`ConfigError`] when there is no such program, or the config's Ruby raised or ended. Its message never repeats what Ruby said, which could hold a secret.
pub(super) fn render(program: &str, text: &str) -> Result<String, ConfigError> {
    let refuse = |message: String| ConfigError::at(Position::START, message);
    let mut child = Command::new(program)
        .args(["-e", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| refuse(format!("`{program}`, which the setting `erb` names, cannot be run: {error}")))?;
    // Ruby reads all before it writes anything, so one after the other cannot block.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| refuse(format!("`{program}` cannot be waited for: {error}")))?;
    if !matches!(written, Some(Ok(()))) {
        return Err(refuse(format!("`{program}` did not read the config ({})", output.status)));
    }
    let answer = String::from_utf8(output.stdout).map_err(|_| refuse("the config, rendered by Ruby, is not valid UTF-8".to_owned()))?;
    match answer.rsplit_once('\0') {
        Some((rendered, "rendered")) => Ok(rendered.to_owned()),
        Some((_, class)) => Err(refuse(format!("the config's ERB raised {class}; EmrEtlRunner would stop here"))),
        None => Err(refuse(format!("the config's ERB ended Ruby ({}) before it was rendered", output.status))),
    }
}
