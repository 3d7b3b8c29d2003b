//! A simulated AWS without HTTP: accounts, buckets, keys, roles, networks and EMR clusters, which
//! live on a clock of their own.
//!
//! ```
//! use emr_world::clock::ClockMode;
//! use emr_world::cluster::ClusterState;
//! use emr_world::command::{Advance, Command, Seed, SetClock, StartCluster};
//! use emr_world::fate::StartState;
//! use emr_world::simulation::Simulation;
//!
//! # fn main() -> Result<(), emr_world::command::CommandError> {
//! let mut simulation = Simulation::new();
//! simulation.apply(Command::SetClock(SetClock { mode: ClockMode::Stepped, at: None }))?;
//! simulation.apply(Command::Seed(Seed { scene: "acme".to_owned(), region: None }))?;
//! let start = StartCluster { state: StartState::Starting, ..StartCluster::default() };
//! simulation.apply(Command::StartCluster(start))?;
//! simulation.apply(Command::Advance(Advance { seconds: 300.0 }))?;
//! assert_eq!(simulation.world.clusters[0].state, ClusterState::Waiting);
//! # Ok(()) }
//! ```
//!
//! The modules, in their order; each imports only from those before it:
//!
//! - [`values`], [`ids`], [`clock`], [`partition`], [`regions`], [`policy`], [`policy_document`],
//!   [`access_block`], [`managed_policies`], [`signing`], [`quota`]: what knows nothing of the
//!   world;
//! - [`sse`], [`object`], [`fate`], [`cluster`], [`job`], [`alarm`], [`world`]: what the world
//!   holds;
//! - [`principals`], [`sessions`], [`events`], [`cloudtrail`], [`versions`], [`s3write`],
//!   [`provisioning`], `steps`, [`life`]: how it changes;
//! - [`subject`], [`faults`], [`command`], [`hooks`], `apply`, [`scene`]: how it is set up and
//!   steered;
//! - [`simulation`]: all of it.

pub mod access_block;
pub mod alarm;
pub mod apply;
pub mod clock;
pub mod cloudtrail;
pub mod cluster;
pub mod command;
pub mod events;
pub mod fate;
pub mod faults;
pub mod hooks;
pub mod ids;
pub mod job;
pub mod life;
pub mod managed_policies;
pub mod object;
pub mod partition;
pub mod policy;
pub mod policy_document;
pub mod principals;
pub mod provisioning;
pub mod quota;
pub mod regions;
pub mod s3write;
pub mod scene;
pub mod sessions;
pub mod signing;
pub mod simulation;
pub mod sse;
mod steps;
pub mod subject;
pub mod values;
pub mod versions;
pub mod world;
