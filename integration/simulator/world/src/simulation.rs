//! Owns the simulated AWS as a whole: the world, its clock, its quotas, and its faults.

use crate::clock::Clock;
use crate::command::{Applied, Command, CommandError, Seed};
use crate::faults::Faults;
use crate::hooks::Hooks;
use crate::quota::Quotas;
use crate::scene;
use crate::values::seconds;
use crate::world::World;

/// The world, its clock, and the rules by which calls are denied, fail or change something.
#[derive(Debug)]
pub struct Simulation {
    /// The world, as it was at the last look.
    pub world: World,
    /// Its time.
    pub clock: Clock,
    /// EMR's request quotas, unless they are off.
    pub quotas: Option<Quotas>,
    /// The rules that make calls fail.
    pub faults: Faults,
    /// The commands that wait for a certain call.
    pub hooks: Hooks,
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulation {
    /// An empty world on the real clock, with quotas.
    #[must_use]
    pub fn new() -> Self {
        let clock = Clock::new();
        Self {
            world: World::new(clock.now()),
            clock,
            quotas: Some(Quotas::default()),
            faults: Faults::default(),
            hooks: Hooks::default(),
        }
    }

    /// Advances the world to the present.
    pub fn catch_up(&mut self) {
        let now = self.clock.now();
        self.world.catch_up(now);
    }

    /// Applies a command. Those for a server (latency, rounds, recorded requests) have no effect
    /// here.
    ///
    /// # Errors
    /// When the command names something that does not exist, or a policy that cannot be evaluated.
    pub fn apply(&mut self, command: Command) -> Result<Applied, CommandError> {
        self.catch_up();
        match command {
            Command::AddFault(fault) => self.faults.add(fault),
            Command::ClearFaults => self.faults.clear(),
            Command::Release(operation) => self.faults.release(&operation.name),
            Command::AddHook(hook) => self.hooks.add(hook),
            Command::ClearHooks => self.hooks.clear(),
            Command::SetClock(set) => self.clock.set(set.mode, set.at),
            Command::Advance(advance) => self.clock.advance(seconds(advance.seconds)),
            Command::SetQuotas(switch) => self.quotas = switch.on.then(Quotas::default),
            Command::Reset => *self = Self::new(),
            Command::Seed(seed) => {
                let commands = scene::commands(&seed).ok_or_else(|| {
                    let Seed { scene, .. } = &seed;
                    CommandError(format!("there is no scene {scene:?}; there are: acme, empty"))
                })?;
                for command in commands {
                    self.apply(command)?;
                }
            }
            other => return self.world.apply(other),
        }
        self.catch_up();
        Ok(Applied::default())
    }
}
