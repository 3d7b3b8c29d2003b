//! `simulate-accounts [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]`: runs
//! histories of the sentinel, prints the laws that failed with a simple history of each, and the
//! coverage. Exit code 1 if a law fails, or something expected never occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    accounts::{
        engine::run,
        history::AccountHistory,
        laws,
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
        Request { history: Some(seed), .. } => report(&run(seed, options)),
        Request { mutants: Some(count), .. } => {
            let law = |mutant, seeds| catch(mutant, seeds).map(|(seed, (law, _))| (seed, law));
            catch_mutants(AccountMutant::ALL, count, law)
        }
        Request { seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds, options);
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
