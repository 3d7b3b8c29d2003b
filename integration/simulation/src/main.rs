//! `simulate [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]`: runs
//! histories, prints the laws that failed with a simple history of each, and the coverage. Exit
//! code 1 if a law fails, or something expected never occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    command_line::{Request, catch_mutants, conclude, exit_code},
    draw::draw,
    history::History,
    laws,
    run::{Options, live_through, run},
    shrink::shrink,
    sweep::{Sweep, catch, sweep},
    watch::machine::mutants::Mutant,
};

fn main() -> ExitCode {
    let request = match Request::of_process("simulate", "watcher", Mutant::ALL) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let options = Options { mutant: request.mutant };
    match request {
        Request { history: Some(seed), .. } => {
            let history = run(seed, options);
            println!("{}", history.text());
            report(&history)
        }
        Request { mutants: Some(count), .. } => {
            let law =
                |mutant, seeds| catch(mutant, seeds).map(|(seed, violation)| (seed, violation.law));
            catch_mutants(Mutant::ALL, count, law)
        }
        Request { seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds, options);
            let spent = began.elapsed();
            println!("{}", found.coverage.text());
            println!(
                "{} histories in {:.1} s; the median has {} events",
                found.histories,
                spent.as_secs_f64(),
                found.median_events()
            );
            println!(
                "{} good runs, each {} ms longer than its runner on average",
                found.longer.1,
                found.average_longer()
            );
            explain(&found, options)
        }
    }
}

fn report(history: &History) -> ExitCode {
    let violations = laws::check(history);
    for violation in &violations {
        println!("{}: {}", violation.law, violation.why);
    }
    exit_code(violations.is_empty())
}

/// Shows a simple history for each law that failed.
fn explain(found: &Sweep, options: Options) -> ExitCode {
    for (law, failures) in found.failures.iter() {
        let Some((seed, _)) = failures.examples.first() else { continue };
        let (scenario, violation) = shrink(draw(*seed), law, options);
        println!("\n=== {law}\n=== seed {seed}, made simpler:\n");
        println!("{}", live_through(scenario, options).text());
        println!("{}", violation.map(|violation| violation.why).unwrap_or_default());
    }
    conclude(&found.coverage.missing(), &found.failures, &found.failures_text())
}
