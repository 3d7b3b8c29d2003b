//! `simulate-repairs [--seeds FROM..TO] [--mutant NAME] [--history SEED] [--mutants COUNT]`: runs
//! histories of repairs, prints the laws that failed with a simple history of each, and the
//! coverage. Exit code 1 if a law fails, or something expected never occurred.

use std::{process::ExitCode, time::Instant};

use emr_simulation::{
    command_line::{Request, catch_mutants, conclude, exit_code},
    objects::{
        engine::{RepairHistory, RepairOptions, live_through, run},
        laws,
        scenario::draw,
        shrink::shrink,
        sweep::{RepairSweep, catch, sweep},
    },
    reencrypt::machine::mutants::RepairMutant,
};

fn main() -> ExitCode {
    let request = match Request::of_process("simulate-repairs", "machine", RepairMutant::ALL) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let options = RepairOptions { mutant: request.mutant, ..RepairOptions::default() };
    match request {
        Request { history: Some(seed), .. } => {
            report(&run(seed, RepairOptions { traced: true, ..options }))
        }
        Request { mutants: Some(count), .. } => {
            let law = |mutant, seeds| catch(mutant, seeds).map(|(seed, (law, _))| (seed, law));
            catch_mutants(RepairMutant::ALL, count, law)
        }
        Request { seeds, .. } => {
            let began = Instant::now();
            let found = sweep(seeds, options);
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
            explain(&found, options)
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

/// Shows a simple history for each law that failed.
fn explain(found: &RepairSweep, options: RepairOptions) -> ExitCode {
    for (law, failures) in found.failures.iter() {
        let Some((seed, _)) = failures.examples.first() else { continue };
        let (scenario, why) = shrink(draw(*seed), law, options);
        println!("\n=== {law}\n=== seed {seed}, made simpler:\n");
        let traced = RepairOptions { traced: true, ..options };
        println!("{}\n{why}", live_through(scenario, traced).trace.join("\n"));
    }
    conclude(&found.missing(), &found.failures, &found.failures_text())
}
