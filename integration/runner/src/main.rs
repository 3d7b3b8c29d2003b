//! Owns the process: its arguments, environment and signals. The logic is in the library.

use std::io;
use std::process::exit;

use standin_runner::journal::Journal;
use standin_runner::knobs::Knobs;
use standin_runner::{MISCONFIGURED, Process, run, signals};

fn main() {
    let env = |name: &str| std::env::var(name).ok();
    let knobs = match Knobs::from_env(&env) {
        Ok(knobs) => knobs,
        Err(why) => {
            eprintln!("standin-runner: {why}");
            exit(MISCONFIGURED);
        }
    };
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let journal = Journal::new(knobs.journal.clone());
    if let Err(error) = signals::install(journal.clone(), knobs.misbehave.ignore_sigterm) {
        eprintln!("standin-runner: signals: {error}");
        exit(MISCONFIGURED);
    }
    journal.spawned(&arguments);
    let process = Process {
        arguments,
        env: &env,
        stdin: &mut io::stdin(),
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
    };
    exit(run(process, &knobs, &journal));
}
