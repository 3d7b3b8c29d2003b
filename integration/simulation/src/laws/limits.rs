//! Every run ends.

use crate::{
    guard::{IN_FLIGHT, JUDGE_WITHIN, TERMINATION},
    history::{History, Life, LifeEnd, clock},
    laws::{bounds::AT_ONCE, facts::Facts},
    scenario::{MINUTE, Ms},
    watch::machine::{event::Force, plan::WatchMode},
};

/// Law (e).
pub(super) fn every_run_ends(history: &History, facts: &Facts) -> Result<(), String> {
    for (number, life) in history.lives.iter().enumerate() {
        if !matches!(life.end, Some((_, LifeEnd::Finished(_) | LifeEnd::Crashed))) {
            return Err(format!("guard {number} does not end"));
        }
        let end = life.ended();
        let asleep: Ms = life.slept.iter().map(|(from, until)| until - from).sum();
        let stop = history.scenario.settings.stop;
        if let Some(asked) = life.stops.first()
            && end > asked + stop + AT_ONCE + asleep
        {
            return Err(format!(
                "guard {number} was told to stop at {} and ended at {}, {} s later",
                clock(*asked),
                clock(end),
                (end - asked) / 1_000
            ));
        }
        runner_stops(history, facts, number, asleep)?;
        if let Some(limit) = last_looks_end(history, life)
            && end > limit + asleep
        {
            return Err(format!(
                "guard {number} should have ended by {}, and ended at {}",
                clock(limit),
                clock(end)
            ));
        }
    }
    Ok(())
}

/// When the final polls must be over.
fn last_looks_end(history: &History, life: &Life) -> Option<Ms> {
    let from = match life.mode {
        WatchMode::Run => {
            let (ended, _) = life.runner_end?;
            let survivor = history.scenario.survivor.as_ref();
            // Orphaned processes have the time of a stop, are killed, and checked every 5 s.
            let left = survivor.map_or(0, |survivor| {
                survivor.dies_within + history.scenario.settings.stop + MINUTE
            });
            ended.max(life.output_end?) + left + IN_FLIGHT
        }
        WatchMode::Resume => life.open_until.max(life.start),
        WatchMode::Attach => return None,
    };
    Some(from + JUDGE_WITHIN + TERMINATION + 3 * MINUTE)
}

/// A runner that was asked to stop is killed when its time is over, or at the second request.
fn runner_stops(history: &History, facts: &Facts, number: usize, asleep: Ms) -> Result<(), String> {
    let life = &history.lives[number];
    let Some((ended, _)) = history.runner_ended else { return Ok(()) };
    let of_life = || facts.stops.iter().filter(|(_, of, _)| *of == number);
    let stop = history.scenario.settings.stop;
    if let Some((asked, ..)) = of_life().find(|(.., force)| *force == Force::Ask) {
        let limit = asked + stop + AT_ONCE + asleep;
        if ended > limit && life.ended() > limit {
            return Err(format!(
                "the runner was asked to stop at {} and lives at {}",
                clock(*asked),
                clock(limit)
            ));
        }
    }
    if let [_, second, ..] = life.stops[..] {
        let limit = second + AT_ONCE;
        if life.mode == WatchMode::Run && ended > limit && life.ended() > limit {
            return Err(format!(
                "the guard was stopped a second time at {}, and the runner lives at {}",
                clock(second),
                clock(limit)
            ));
        }
    }
    Ok(())
}
