//! `simulate [--seeds FROM..TO] [--mutant NAME] [--history SEED [--simpler NUMBERS]]
//! [--mutants COUNT]`: runs histories, prints the laws that failed with a simple history of each,
//! and the coverage. Exit code 1 if a law fails, or something expected never occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    command_line::{Request, catch_mutants, conclude, exit_code},
    draw::draw,
    history::History,
    laws,
    run::{Options, live_through},
    scenario::Scenario,
    sweep::{catch, sweep},
    watch::machine::mutants::Mutant,
};

fn main() -> ExitCode {
    let request = match Request::of_process("simulate", "watcher", Mutant::ALL) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let options = Options { mutant: request.mutant };
    match request {
        Request { history: Some(seed), .. } => match request.decisions(draw(seed)) {
            Ok(scenario) => report(&live_through(scenario, options)),
            Err(code) => code,
        },
        Request { mutants: Some(count), .. } => {
            let law =
                |mutant, seeds| catch(mutant, seeds).map(|(seed, violation)| (seed, violation.law));
            catch_mutants(Mutant::ALL, count, law)
        }
        Request { ref seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds.clone(), options);
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
            let why = |scenario: &Scenario, law: &str| {
                let violations = laws::check(&live_through(scenario.clone(), options));
                violations.into_iter().find(|violation| violation.law == law).map(|it| it.why)
            };
            let text = |scenario| live_through(scenario, options).text();
            request.explain(&found.failures, draw, why, text);
            conclude(&found.coverage.missing(), &found.failures, &found.failures_text())
        }
    }
}

fn report(history: &History) -> ExitCode {
    println!("{}", history.text());
    let violations = laws::check(history);
    for violation in &violations {
        println!("{}: {}", violation.law, violation.why);
    }
    exit_code(violations.is_empty())
}
