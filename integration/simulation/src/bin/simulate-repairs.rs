//! `simulate-repairs [--seeds FROM..TO] [--mutant NAME] [--history SEED [--simpler NUMBERS]]
//! [--mutants COUNT]`: runs histories of repairs, prints the laws that failed with a simple history
//! of each, and the coverage. Exit code 1 if a law fails, or something expected never occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    command_line::{Request, catch_mutants, conclude, exit_code},
    objects::{
        engine::{RepairHistory, RepairOptions, live_through},
        laws,
        scenario::{RepairScenario, draw},
        sweep::{catch, sweep},
    },
    reencrypt::machine::mutants::RepairMutant,
};

fn main() -> ExitCode {
    let request = match Request::of_process("simulate-repairs", "machine", RepairMutant::ALL) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let options = RepairOptions { mutant: request.mutant, ..RepairOptions::default() };
    let traced = RepairOptions { traced: true, ..options };
    match request {
        Request { history: Some(seed), .. } => match request.decisions(draw(seed)) {
            Ok(scenario) => report(&live_through(scenario, traced)),
            Err(code) => code,
        },
        Request { mutants: Some(count), .. } => {
            let law = |mutant, seeds| catch(mutant, seeds).map(|(seed, (law, _))| (seed, law));
            catch_mutants(RepairMutant::ALL, count, law)
        }
        Request { ref seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds.clone(), options);
            let spent = began.elapsed();
            for (what, count) in &found.occurred {
                println!("{count:>10}  {what}");
            }
            println!(
                "{} histories with {} calls in {:.1} s",
                found.histories,
                found.calls,
                spent.as_secs_f64()
            );
            let why = |scenario: &RepairScenario, law: &str| {
                let broken = laws::check(&live_through(scenario.clone(), options));
                broken.into_iter().find(|(broken, _)| *broken == law).map(|(_, why)| why)
            };
            let text = |scenario| live_through(scenario, traced).trace.join("\n");
            request.explain(&found.failures, draw, why, text);
            conclude(&found.missing(), &found.failures, &found.failures_text())
        }
    }
}

fn report(history: &RepairHistory) -> ExitCode {
    println!("{}", history.trace.join("\n"));
    let broken = laws::check(history);
    for (law, why) in &broken {
        println!("{law}: {why}");
    }
    exit_code(broken.is_empty())
}
