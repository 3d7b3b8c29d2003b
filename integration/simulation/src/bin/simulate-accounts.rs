//! `simulate-accounts [--seeds FROM..TO] [--mutant NAME] [--history SEED [--simpler NUMBERS]]
//! [--mutants COUNT]`: runs histories of the sentinel, prints the laws that failed with a simple
//! history of each, and the coverage. Exit code 1 if a law fails, or something expected never
//! occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    accounts::{
        engine::live_through,
        history::AccountHistory,
        laws,
        scenario::{AccountScenario, draw},
        sentinel::AccountOptions,
        sweep::{catch, sweep},
    },
    command_line::{Request, catch_mutants, conclude, exit_code},
    watch::machine::account::mutants::AccountMutant,
};

fn main() -> ExitCode {
    let request = match Request::of_process("simulate-accounts", "machine", AccountMutant::ALL) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let options = AccountOptions { mutant: request.mutant };
    match request {
        Request { history: Some(seed), .. } => match request.decisions(draw(seed)) {
            Ok(scenario) => report(&live_through(scenario, options)),
            Err(code) => code,
        },
        Request { mutants: Some(count), .. } => {
            let law = |mutant, seeds| catch(mutant, seeds).map(|(seed, (law, _))| (seed, law));
            catch_mutants(AccountMutant::ALL, count, law)
        }
        Request { ref seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds.clone(), options);
            let spent = began.elapsed();
            for (what, count) in &found.occurred {
                println!("{count:>10}  {what}");
            }
            println!(
                "{} histories with {} records in {:.1} s",
                found.histories,
                found.records,
                spent.as_secs_f64()
            );
            let why = |scenario: &AccountScenario, law: &str| {
                laws::broken(&live_through(scenario.clone(), options), law)
            };
            let text = |scenario| live_through(scenario, options).text();
            request.explain(&found.failures, draw, why, text);
            conclude(&found.missing(), &found.failures, &found.failures_text())
        }
    }
}

fn report(history: &AccountHistory) -> ExitCode {
    println!("{}", history.text());
    let broken = laws::check(history);
    for (law, why) in &broken {
        println!("{law}: {why}");
    }
    exit_code(broken.is_empty())
}
