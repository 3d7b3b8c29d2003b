//! Owns the command line of the simulator's program.

use std::io::Write as _;
use std::process::ExitCode;

use emr_simulator::{ClockMode, Command, Seed, SetClock, Simulator};

const USAGE: &str = "usage: emr-simulator [--port N] [--scene acme|empty] [--speed N]
Plays EMR, S3, KMS, IAM, STS and EC2 on 127.0.0.1 until killed. The first line of its output is \
its URL.
  --port N     listen on this port (default: a free one)
  --scene S    begin with this scene (acme, empty); default: an empty world
  --speed N    let simulated time pass N times as fast (default: 1)";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("emr-simulator: {message}");
            ExitCode::from(64)
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<(), String> {
    let mut port = 0;
    let mut commands = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--port" => port = value()?.parse().map_err(|error| format!("--port: {error}"))?,
            "--scene" => commands.push(Command::Seed(Seed { scene: value()?, region: None })),
            "--speed" => {
                let speed = value()?.parse().map_err(|error| format!("--speed: {error}"))?;
                commands
                    .push(Command::SetClock(SetClock { mode: ClockMode::Scaled(speed), at: None }));
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    let simulator = Simulator::start_on(port).map_err(|error| error.to_string())?;
    for command in commands {
        simulator.apply(command).map_err(|error| error.to_string())?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", simulator.url())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())?;
    loop {
        std::thread::park();
    }
}
