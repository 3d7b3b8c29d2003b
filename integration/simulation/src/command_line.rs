//! The command line that the programs of all simulations have.

use std::{fmt::Debug, ops::Range, process::ExitCode};

use crate::{
    many::FailedLaws,
    shrink::{Decisions, replay, shrink},
};

/// The requested action. `M` names a deliberate fault.
#[derive(Debug)]
pub struct Request<M> {
    /// The program's name.
    pub program: &'static str,
    /// The seeds of the histories.
    pub seeds: Range<u64>,
    /// Print the history of this seed.
    pub history: Option<u64>,
    /// The changes that make that history simpler, by their numbers.
    pub simpler: Vec<usize>,
    /// Find the law that catches each deliberate fault, in so many histories.
    pub mutants: Option<u64>,
    /// The deliberate fault that is switched on.
    pub mutant: Option<M>,
}

impl<M: Copy + Debug> Request<M> {
    /// Reads the arguments of this process. `program` is its name, `machine` what is simulated.
    ///
    /// # Errors
    /// What is wrong with them was printed; the exit code.
    pub fn of_process(program: &'static str, machine: &str, all: &[M]) -> Result<Self, ExitCode> {
        let help = format!(
            "{program} [--seeds FROM..TO] [--mutant NAME] [--history SEED [--simpler NUMBERS]] [--mutants COUNT]

  --seeds FROM..TO  the histories of these seeds; without it: 0..20000
  --mutant NAME     with this deliberate fault in the {machine}
  --history SEED    prints the history of one seed, and the laws that fail in it
  --simpler NUMBERS makes that history simpler, as a run of many histories says of a law that failed
  --mutants COUNT   prints which law catches each deliberate fault, in so many histories"
        );
        Self::parse(program, std::env::args().skip(1), &help, all).map_err(|problem| {
            eprintln!("{problem}");
            ExitCode::from(64)
        })
    }

    fn parse(
        program: &'static str,
        mut arguments: impl Iterator<Item = String>,
        help: &str,
        all: &[M],
    ) -> Result<Self, String> {
        let mut request = Self {
            program,
            seeds: 0..20_000,
            history: None,
            simpler: Vec::new(),
            mutants: None,
            mutant: None,
        };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| help.to_owned())?;
            let number =
                |text: &str| text.parse().map_err(|_| format!("{text} is no seed\n\n{help}"));
            match flag.as_str() {
                "--seeds" => {
                    let (from, to) = value.split_once("..").ok_or_else(|| help.to_owned())?;
                    request.seeds = number(from)?..number(to)?;
                }
                "--mutants" => request.mutants = Some(number(&value)?),
                "--history" => request.history = Some(number(&value)?),
                "--simpler" => {
                    let numbers = value.split(',').map(|number| {
                        number.parse().map_err(|_| format!("{number} is no number\n\n{help}"))
                    });
                    request.simpler = numbers.collect::<Result<_, _>>()?;
                }
                "--mutant" => {
                    let mutant = all.iter().find(|mutant| format!("{mutant:?}") == value);
                    let known = format!("{value} is none of {all:?}");
                    request.mutant = Some(*mutant.ok_or(known)?);
                }
                _ => return Err(help.to_owned()),
            }
        }
        Ok(request)
    }

    /// The decisions of a history of this seed, as simple as is asked for.
    ///
    /// # Errors
    /// There is no such change, which was printed; the exit code.
    pub fn decisions<D: Decisions>(&self, drawn: D) -> Result<D, ExitCode> {
        replay(drawn, &self.simpler).ok_or_else(|| {
            eprintln!("{:?} are not changes of this history", self.simpler);
            ExitCode::from(64)
        })
    }

    /// Prints a simple history of each law that failed, and the command that prints it again. `why`
    /// is how a history violates the law of that name, if it does; `text` is all of a history.
    pub fn explain<D: Decisions>(
        &self,
        failures: &FailedLaws,
        draw: impl Fn(u64) -> D,
        why: impl Fn(&D, &str) -> Option<String>,
        text: impl Fn(D) -> String,
    ) {
        for (law, failures) in failures.iter() {
            let Some((seed, _)) = failures.examples.first() else { continue };
            let Some(shrunk) = shrink(draw(*seed), |decisions| why(decisions, law)) else {
                continue;
            };
            println!("\n=== {law}\n=== seed {seed}, made simpler:\n");
            println!("{}\n{}", text(shrunk.decisions), shrunk.violation);
            println!("again: {}", self.again(*seed, &shrunk.path));
        }
    }

    /// The command that prints a history that was made simpler.
    fn again(&self, seed: u64, path: &[usize]) -> String {
        let numbers: Vec<String> = path.iter().map(ToString::to_string).collect();
        let simpler = if numbers.is_empty() {
            String::new()
        } else {
            format!(" --simpler {}", numbers.join(","))
        };
        let mutant = self.mutant.map_or_else(String::new, |mutant| format!(" --mutant {mutant:?}"));
        format!("{} --history {seed}{simpler}{mutant}", self.program)
    }
}

/// Prints the law that detects each deliberate fault, which `catch` finds with its seed.
pub fn catch_mutants<M: Copy + Debug>(
    all: &[M],
    count: u64,
    catch: impl Fn(M, Range<u64>) -> Option<(u64, &'static str)>,
) -> ExitCode {
    let mut survivors = 0;
    for mutant in all {
        match catch(*mutant, 0..count) {
            Some((seed, law)) => println!("{mutant:?}: {law} (seed {seed})"),
            None => {
                survivors += 1;
                println!("{mutant:?}: NOT CAUGHT in {count} histories");
            }
        }
    }
    println!("{} deliberate faults, {survivors} not caught", all.len());
    exit_code(survivors == 0)
}

/// Prints what never occurred, and the `text` about the laws that failed, at the end of a sweep.
pub fn conclude(missing: &[&str], failures: &FailedLaws, text: &str) -> ExitCode {
    if !missing.is_empty() {
        println!("never occurred: {missing:?}");
    }
    println!("{text}");
    exit_code(failures.is_empty() && missing.is_empty())
}

/// Success, or failure.
#[must_use]
pub fn exit_code(is_success: bool) -> ExitCode {
    if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
