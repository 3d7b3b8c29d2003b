//! An AWS on loopback: EMR, S3 (with its control plane), KMS, IAM, STS, EC2, SNS, SQS, EventBridge
//! and CloudWatch as a guard (AWS SDK for Rust) and a runner (raw HTTP) use them.
//!
//! ```
//! use emr_simulator::{Command, ClusterState, Simulator, StartCluster};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sim = Simulator::acme()?;
//! // Point clients at `sim.url()`, path-style for S3, with the access key id AKIAGUARD or AKIAFAKE
//! // and any secret.
//! let started = sim.apply(Command::StartCluster(StartCluster::default()))?;
//! let id = started.id.unwrap_or_default();
//! let waiting = sim.wait_until(
//!     |world| world.cluster(&id).is_some_and(|it| it.state == ClusterState::Waiting),
//!     Duration::from_secs(1),
//! );
//! assert!(waiting && sim.requests().is_empty());
//! # Ok(()) }
//! ```
//!
//! - **Who asks.** The access key id in a `SigV4` credential names the caller; signatures are **not
//!   checked**. Unknown ids and unsigned requests get each service's own error; unsigned reads of
//!   public buckets work. Callers may do everything in their own account: refusals come from bucket
//!   and key policies and from [`Fault`]s.
//! - **Time.** Clusters live on a clock that is real, scaled or stepped by hand ([`SetClock`]);
//!   what is due happens, in order, whenever somebody looks. With the stepped clock everything is
//!   deterministic.
//! - **Quotas** of EMR are on from the start; [`Command::SetQuotas`] switches them off.
//! - **Setting up** is done by [`Command`]s, from Rust or as JSON by `POST /_control/apply`.

mod api;
mod call;
mod control;
mod http_date;
mod record;
mod reply;
mod rounds;
mod server;
mod state;
mod transport;
mod xml;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

pub use emr_world::access_block::PublicAccessBlock;
pub use emr_world::alarm::Alarm;
pub use emr_world::clock::ClockMode;
pub use emr_world::cluster::{
    Cluster, ClusterState, Instance, InstanceGroup, Step, StepState, Volume,
};
pub use emr_world::command::{
    AccountBlock, Advance, Applied, AttachedPolicy, ChangeObject, Command, CommandError, Hook,
    LaunchedBy, Moment, Named, ObjectName, ObjectVersion, PrincipalDelay, PutAccessKey, PutAlarm,
    PutBucket, PutDhcp, PutHistory, PutInstanceProfile, PutKey, PutObject, PutRole,
    PutSecurityConfiguration, PutSubnet, PutUpload, PutUser, PutVpc, Rounds, Seed, SendMessage,
    SetClock, SetLatency, SetOrganization, SetRegion, StartCluster, Switch, UpdateCluster,
};
pub use emr_world::fate::{EventDelivery, NextCluster, StartState, Termination, Timings};
pub use emr_world::faults::{Calls, Fault, FaultKind};
pub use emr_world::ids::{DEFAULT_ACCOUNT, DEFAULT_REGION};
pub use emr_world::job::Job;
pub use emr_world::object::{
    AclGrant, Attributes, Checksum, Extent, Object, Older, Retention, Upload,
};
pub use emr_world::partition::partition_of;
pub use emr_world::policy;
pub use emr_world::scene::certificates;
pub use emr_world::sse::{BucketEncryption, Sse};
pub use emr_world::subject::{ANY_WRITE, Subject};
pub use emr_world::world::{
    Bucket, BucketConfigurations, Caller, DhcpOptions, Grant, InstanceProfile, Key, Message,
    Publication, QueueSettings, Role, SecurityConfiguration, Session, Subnet, TopicSettings, Vpc,
    World,
};
pub use record::Recorded;

use state::{Shared, State};

/// A running simulator. It has threads of its own, so it serves tests with and without a runtime;
/// it stops on drop.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts with an empty world on a free port of 127.0.0.1. There are no access keys yet.
    ///
    /// # Errors
    /// When no port or thread is available.
    pub fn start() -> io::Result<Self> {
        Self::start_on(0)
    }

    /// As [`start`](Self::start), on this port; 0 means a free one.
    ///
    /// # Errors
    /// When the port or a thread is not available.
    pub fn start_on(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new());
        let (stop, stopped) = watch::channel(false);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let serving = Arc::clone(&shared);
        let handle = runtime.handle().clone();
        let thread =
            std::thread::Builder::new().name("emr-simulator".to_owned()).spawn(move || {
                runtime.block_on(async {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => server::serve(listener, None, serving, stopped).await,
                        Err(error) => eprintln!("emr-simulator: {error}"),
                    }
                });
                // Connections that hang on purpose end here.
                runtime.shutdown_background();
            })?;
        Ok(Self { address, shared, stop, runtime: handle, thread: Some(thread) })
    }

    /// Starts with the scene `acme` in place.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn acme() -> io::Result<Self> {
        Self::with_scene(Seed { scene: "acme".to_owned(), region: None })
    }

    /// Starts with the scene `empty` in this region: an account in which nothing is set up.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn empty_account(region: &str) -> io::Result<Self> {
        Self::with_scene(Seed { scene: "empty".to_owned(), region: Some(region.to_owned()) })
    }

    fn with_scene(seed: Seed) -> io::Result<Self> {
        let simulator = Self::start()?;
        simulator.apply(Command::Seed(seed)).map_err(io::Error::other)?;
        Ok(simulator)
    }

    /// `http://127.0.0.1:PORT`: every service's endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves the same world over TLS, too, on another free port of 127.0.0.1, with a certificate
    /// chain and a key as PEM. Returns `https://127.0.0.1:PORT`.
    ///
    /// # Errors
    /// When chain or key is invalid, or no port is available.
    pub fn serve_tls(&self, chain: &str, key: &str) -> io::Result<String> {
        let tls = transport::acceptor(chain, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let within = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(within);
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.subscribe());
        self.runtime.spawn(server::serve(listener, Some(tls), shared, stop));
        Ok(format!("https://{address}"))
    }

    /// How many connections clients have opened so far, including those without a request.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Changes the world, or its behaviour.
    ///
    /// # Errors
    /// When the command names something that does not exist, or a policy the simulator cannot
    /// evaluate.
    pub fn apply(&self, command: Command) -> Result<Applied, CommandError> {
        let applied = self.shared.lock().apply(command);
        self.shared.notify();
        applied
    }

    /// Advances the simulated time.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = self.shared.lock();
            state.simulation.clock.advance(by);
            state.simulation.catch_up();
        }
        self.shared.notify();
    }

    /// Every request so far, in the order of arrival. Control requests are not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().requests.clone()
    }

    /// The requests for one operation so far.
    #[must_use]
    pub fn requests_for(&self, operation: &str) -> Vec<Recorded> {
        let state = self.shared.lock();
        state.requests.iter().filter(|it| it.subject.operation == operation).cloned().collect()
    }

    /// The public half of an asymmetric KMS key of the default account and region, by its id or
    /// alias: SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_key(&self, name: &str) -> Option<Vec<u8>> {
        self.with_world(|world| {
            let key = world.key(DEFAULT_ACCOUNT, DEFAULT_REGION, name)?;
            emr_world::signing::public(&key.spec, key.material.as_deref()?)
        })
    }

    /// How many rounds were released since rounds mode was switched on.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.shared.lock().rounds.done()
    }

    /// Looks at the world as it is now.
    pub fn with_world<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        let mut state = self.shared.lock();
        state.simulation.catch_up();
        look(&state.simulation.world)
    }

    /// Changes the world as somebody else does, who leaves no request.
    pub fn change_world<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut state = self.shared.lock();
        state.simulation.catch_up();
        change(&mut state.simulation.world)
    }

    /// Waits until the world meets the condition, for at most this long in real time; false if it
    /// did not. This blocks the thread: within a runtime of one thread, call it by
    /// `spawn_blocking`.
    #[must_use]
    pub fn wait_until(&self, mut wish: impl FnMut(&World) -> bool, at_most: Duration) -> bool {
        self.wait_for(at_most, |state| wish(&state.simulation.world).then_some(())).is_some()
    }

    /// Waits for a request of this kind, past or to come, for at most this long in real time.
    #[must_use]
    pub fn wait_for_request(
        &self,
        mut wanted: impl FnMut(&Recorded) -> bool,
        at_most: Duration,
    ) -> Option<Recorded> {
        self.wait_for(at_most, |state| state.requests.iter().find(|it| wanted(it)).cloned())
    }

    fn wait_for<T>(
        &self,
        at_most: Duration,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + at_most;
        let mut state = self.shared.lock();
        loop {
            state.simulation.catch_up();
            if let Some(found) = look(&state) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            // The world also changes by itself: wake up at the next change.
            let next = state
                .simulation
                .world
                .next_change()
                .and_then(|at| state.simulation.clock.real_wait(at));
            let pause = next.map_or(left, |next| left.min(next + Duration::from_micros(100)));
            state = self.shared.wait(state, pause);
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The receiver is gone only if the thread is.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
