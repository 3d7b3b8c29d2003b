//! How a sentinel that runs shows that it works: its HTTP endpoint, `--probe`, and what it tells a
//! service manager.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Child, Stdio},
    time::Duration,
};

use emr_simulator::{Command as Set, Fault, FaultKind, StartCluster, StartState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Played, Stage, wait_until};

/// Writes the settings of a sentinel that listens there.
fn listen(stage: &Stage, address: &str) {
    stage.write(
        "guard.yml",
        &format!("sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n  listen: {address}\n"),
    );
}

/// A sentinel with an endpoint.
struct Listening {
    child: Child,
    port: u16,
}

impl Listening {
    /// Starts it on a port that the system chooses, and puts that port into the settings, for
    /// `--probe`.
    fn start(stage: &Stage) -> Self {
        listen(stage, "127.0.0.1:0");
        let mut child = stage.sentinel(&[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = "probes and metrics are at http://127.0.0.1:";
        let line = lines.find_map(|line| Some(line.unwrap().split_once(said)?.1.to_owned()));
        let port = line.unwrap().trim_end_matches('/').parse().unwrap();
        // It must never wait for a pipe that is not read.
        std::thread::spawn(move || lines.count());
        listen(stage, &format!("127.0.0.1:{port}"));
        Self { child, port }
    }

    /// Status and text of a page.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), text.to_owned())
    }

    /// Stops it, as a service manager does; returns its exit code.
    fn stop(&mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn probe(stage: &Stage, what: &str) -> Played {
    stage.play(stage.sentinel(&["--probe", what]))
}

#[test]
fn it_answers_probes_and_scrapes_until_it_is_stopped() {
    let stage = Stage::acme();
    let request = json!({"Name": "theirs", "ReleaseLabel": "emr-6.15.0",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": true}});
    stage.set(Set::StartCluster(StartCluster {
        id: Some("j-THEIRS".to_owned()),
        state: StartState::Waiting,
        request,
        ..Default::default()
    }));
    let mut sentinel = Listening::start(&stage);
    wait_until("it is ready", || sentinel.get("/readyz") == (200, "ok\n".to_owned()));
    assert_eq!(sentinel.get("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(sentinel.get("/").0, 404);
    let unsafe_one = "emr_etl_guard_sentinel_living_clusters{account=\"123456789012\",\
                      region=\"eu-west-1\",verdict=\"unsafe\"} 1.0\n";
    wait_until("the metrics count it", || sentinel.get("/metrics").1.contains(unsafe_one));
    let (_, metrics) = sentinel.get("/metrics");
    for line in [
        "emr_etl_guard_sentinel_clusters_seen_total 1.0\n",
        "emr_etl_guard_sentinel_clusters_judged_total{verdict=\"unsafe\"} 1.0\n",
        "emr_etl_guard_sentinel_terminations_total 0.0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");

    for what in ["live", "ready"] {
        let probed = probe(&stage, what);
        probed.expect_code(0);
        assert_eq!((&*probed.stdout, &*probed.stderr), ("", ""), "{what}");
    }
    assert_eq!(sentinel.stop(), Some(0));
    let probed = probe(&stage, "live");
    probed.expect_code(69);
    let gone = format!(
        "emr-etl-guard: no sentinel answers at 127.0.0.1:{}: Connection refused (os error 111)\n",
        sentinel.port
    );
    assert_eq!(probed.stderr, gone);
}

#[test]
fn a_region_that_is_denied_makes_it_not_ready_and_leaves_it_alive() {
    let stage = Stage::acme();
    stage.set(Set::AddFault(Fault::every("ListClusters", FaultKind::AccessDenied)));
    let sentinel = Listening::start(&stage);
    let why = "eu-west-1 of account 123456789012: not listed yet; \
               elasticmapreduce:ListClusters: AccessDeniedException";
    wait_until("it says why", || sentinel.get("/readyz") == (503, format!("{why}\n")));
    probe(&stage, "live").expect_code(0);
    let probed = probe(&stage, "ready");
    probed.expect_code(69);
    let not_ready = format!(
        "emr-etl-guard: the sentinel at 127.0.0.1:{} is not ready\n  {why}\n",
        sentinel.port
    );
    assert_eq!(probed.stderr, not_ready);
    stage.set(Set::ClearFaults);
    wait_until("it is ready", || sentinel.get("/readyz").0 == 200);
}

#[test]
fn an_address_that_is_taken_is_an_error_of_the_settings_before_anything_is_watched() {
    let stage = Stage::acme();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    listen(&stage, &address);
    let played = stage.play(stage.sentinel(&[]));
    played.expect_code(64);
    assert_eq!(
        played.stderr.replace(&address, "ADDRESS"),
        "emr-etl-guard: nothing is watched: cannot listen on ADDRESS: Address already in use (os \
         error 98)\n  fix: set `sentinel.listen` in guard.yml to an address of \
         this machine with a free port above 1023, such as 127.0.0.1:9477, or remove it: no \
         probes, no metrics\n"
    );
    assert_eq!(stage.sim.requests_for("ListClusters").len(), 0);
    // One that judges once opens none, and can run beside one that does.
    stage.play(stage.sentinel(&["--once"])).expect_code(0);
}

#[test]
fn a_probe_needs_an_address_and_excludes_what_only_a_sentinel_does() {
    let stage = Stage::acme();
    stage.write("guard.yml", "sentinel:\n  regions: [eu-west-1]\n");
    let probed = probe(&stage, "ready");
    probed.expect_code(64);
    assert!(probed.stderr.contains("`sentinel.listen` is not set"), "{}", probed.transcript());
    stage.play(stage.sentinel(&["--once", "--probe", "live"])).expect_code(64);
}

#[test]
fn a_service_manager_is_told_that_it_is_ready_that_it_works_and_that_it_stops() {
    let stage = Stage::acme();
    let path = stage.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stage.write("guard.yml", "sentinel:\n  regions: [eu-west-1]\n  interval: 100ms\n");
    let mut child = stage.sentinel(&[]).env("NOTIFY_SOCKET", &path).spawn().unwrap();
    let next = || {
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!([next(), next(), next()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    while next() != "STOPPING=1" {}
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
