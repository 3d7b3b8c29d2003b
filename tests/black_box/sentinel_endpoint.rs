//! How a sentinel that runs shows that it works: its HTTP endpoint, `--probe`, and what it tells a
//! service manager.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use emr_simulator::{
    Command as Set, Fault, FaultKind, PutAccessKey, SetRegion, StartCluster, StartState,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    attach::start,
    sentinel::{self, once, without_configuration},
    sentinel_accounts::start_unsafe,
    support::{Played, Stage, wait_until},
};

/// The settings of one region.
const IRELAND: &str = "  regions: [eu-west-1]\n  interval: 100ms\n";

/// Writes the settings of a sentinel that listens there.
fn listen(stage: &Stage, section: &str, address: &str) {
    stage.write("guard.yml", &format!("sentinel:\n{section}  listen: {address}\n"));
}

/// A sentinel with an endpoint.
pub(crate) struct Listening {
    child: Child,
    port: u16,
}

impl Listening {
    /// Starts one of one region.
    fn start(stage: &Stage) -> Self {
        Self::with(stage, IRELAND)
    }

    /// Starts it on a port that the system chooses, and puts that port into the settings, for
    /// `--probe`. `section`: the other lines of the section.
    pub(crate) fn with(stage: &Stage, section: &str) -> Self {
        listen(stage, section, "127.0.0.1:0");
        let mut child = stage.sentinel(&[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = "probes and metrics are at http://127.0.0.1:";
        let line = lines.find_map(|line| Some(line.unwrap().split_once(said)?.1.to_owned()));
        let port = line.unwrap().trim_end_matches('/').parse().unwrap();
        // It must never wait for a pipe that is not read.
        std::thread::spawn(move || lines.count());
        listen(stage, section, &format!("127.0.0.1:{port}"));
        Self { child, port }
    }

    /// Status and text of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), text.to_owned())
    }

    /// Whether the page of metrics has this text.
    pub(crate) fn counts(&self, text: &str) -> bool {
        self.get("/metrics").1.contains(text)
    }

    /// Stops it, as a service manager does; returns its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Kills it; returns what it has printed on standard error.
    pub(crate) fn kill(&mut self) -> String {
        self.child.kill().unwrap();
        self.errors()
    }

    /// What it has printed on standard error, once it has ended.
    pub(crate) fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.child.wait().unwrap();
        errors
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
    listen(&stage, IRELAND, &address);
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

#[test]
fn an_account_whose_regions_are_unknown_is_tried_again_and_watched_from_then_on() {
    let stage = Stage::acme();
    let denied = Fault::every("DescribeRegions", FaultKind::AccessDenied);
    stage.set(Set::AddFault(denied));
    let mut sentinel = Listening::with(&stage, "  interval: 100ms\n");
    let unseen = "emr_etl_guard_sentinel_account_unseen{account=\"123456789012\"}";
    wait_until("the metrics say it", || sentinel.counts(&format!("{unseen} 1.0\n")));
    let (code, why) = sentinel.get("/readyz");
    let start = "account 123456789012: not listed yet; ec2:DescribeRegions: ";
    assert!(code == 503 && why.starts_with(start), "{code} {why}");
    assert_eq!(sentinel.get("/livez").0, 200);
    let tries = || stage.sim.requests_for("DescribeRegions").len();
    wait_until("it is tried again and again", || tries() >= 4);
    stage.set(Set::ClearFaults);
    wait_until("it is seen", || sentinel.counts(&format!("{unseen} 0.0\n")));
    let seen = "emr_etl_guard_sentinel_place_unseen{account=\"123456789012\",\
                region=\"eu-west-1\"} 0.0\n";
    wait_until("its regions are listed", || sentinel.counts(seen));
    wait_until("the account is not missing any more", || {
        !sentinel.get("/readyz").1.contains("account 123456789012: not")
    });
    assert_eq!(sentinel.stop(), Some(0));
    let errors = sentinel.errors();
    assert_eq!(errors.matches("is NOT watched").count(), 1, "{errors}");
}

#[test]
fn a_region_that_is_enabled_later_is_watched_and_one_that_is_disabled_is_not_missed_for_ever() {
    let stage = sentinel::stage("");
    let section = "  interval: 20ms\n  judge_within: 1h\n";
    let mut sentinel = Listening::with(&stage, section);
    wait_until("it lists", || !stage.sim.requests_for("ListClusters").is_empty());
    let set = |opted_in: bool| {
        let (name, account) = ("af-south-1".to_owned(), None);
        stage.set(Set::SetRegion(SetRegion { name, account, opted_in }));
    };
    set(true);
    start_unsafe(&stage, "j-AFRICA", None, "af-south-1");
    let living = "emr_etl_guard_sentinel_living_clusters{account=\"123456789012\",\
                  region=\"af-south-1\",verdict=\"unsafe\"} 1.0\n";
    wait_until("its cluster is judged", || sentinel.counts(living));
    set(false);
    wait_until("it is not watched any more", || !sentinel.counts("af-south-1"));
    assert!(!sentinel.get("/readyz").1.contains("af-south-1"));
    set(true);
    wait_until("it is watched again", || sentinel.counts(living));
    assert_eq!(sentinel.stop(), Some(0));
    let errors = sentinel.errors();
    let gone = "af-south-1 of account 123456789012 is not enabled any more";
    assert_eq!(errors.matches(gone).count(), 1, "{errors}");
    assert_eq!(errors.matches("is UNSAFE").count(), 1, "it is reported once: {errors}");
}

/// The reports of a stage's sentinel, by their places in the chain.
fn reports(stage: &Stage) -> Vec<Value> {
    let files = std::fs::read_dir(stage.path("state/sentinel/reports")).into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let mut all: Vec<Value> =
        files.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect();
    all.sort_by_key(|report| report["chain"]["sequence"].as_u64());
    all
}

/// What a report says was done about a cluster.
fn acts(report: &Value, id: &str) -> Vec<String> {
    let clusters = report["clusters"].as_array().unwrap();
    let cluster = clusters.iter().find(|cluster| cluster["id"] == id);
    let acts = cluster.map(|cluster| cluster["acts"].as_array().unwrap().clone());
    let names = acts.unwrap_or_default().into_iter();
    names.map(|act| act["what"].as_str().unwrap().to_owned()).collect()
}

/// A sentinel that has terminated `j-BAD` and cannot write the report about it.
fn unwritten(stage: &Stage) -> Listening {
    let section = format!("{IRELAND}  on_unsafe: terminate\n");
    let sentinel = Listening::with(stage, &section);
    wait_until("it lists", || !stage.sim.requests_for("ListClusters").is_empty());
    // The next place in the chain can neither be read nor taken.
    std::fs::create_dir(stage.path("state/sentinel/chain.json")).unwrap();
    start(stage, "j-BAD", without_configuration);
    wait_until("the report cannot be written", || {
        sentinel.counts("reports_unwritten") && !sentinel.counts("reports_unwritten 0.0")
    });
    sentinel
}

const ENDED: [&str; 3] = ["told-unsafe", "terminated", "end-confirmed"];

#[test]
fn a_report_that_could_not_be_written_is_written_later_with_all_that_it_was_to_have() {
    let stage = sentinel::stage("");
    let mut sentinel = unwritten(&stage);
    assert_eq!(reports(&stage), [0; 0]);
    std::fs::remove_dir(stage.path("state/sentinel/chain.json")).unwrap();
    wait_until("it is written", || !reports(&stage).is_empty());
    wait_until("it counts as written", || sentinel.counts("reports_unwritten 0.0"));
    assert_eq!(sentinel.stop(), Some(0));
    let reports = reports(&stage);
    assert_eq!(acts(&reports[0], "j-BAD"), ENDED);
    let numbers: Vec<(&Value, &Value)> =
        reports.iter().map(|report| (&report["sequence"], &report["chain"]["sequence"])).collect();
    assert_eq!(numbers, [(&json!(1), &json!(1)), (&json!(2), &json!(2))]);
    assert_eq!(reports[1]["started"], reports[0]["ended"], "no time is missing");
}

#[test]
fn what_a_sentinel_that_was_killed_could_not_report_is_in_the_first_report_of_the_next() {
    let stage = sentinel::stage("");
    let mut sentinel = unwritten(&stage);
    let errors = sentinel.kill();
    assert!(errors.contains("the next report has what this one was to have"), "{errors}");
    std::fs::remove_dir(stage.path("state/sentinel/chain.json")).unwrap();
    let section = "  regions: [eu-west-1]\n  interval: 100ms\n";
    stage.write("guard.yml", &format!("sentinel:\n{section}"));
    once(&stage).expect_code(0);
    let reports = reports(&stage);
    assert_eq!(reports.len(), 1);
    assert_eq!(acts(&reports[0], "j-BAD"), ENDED);
    let started = reports[0]["started"].as_str().unwrap();
    assert!(started < reports[0]["clusters"][0]["created"].as_str().unwrap(), "{started}");
    let unseen = &reports[0]["places"][0]["unseen"][0];
    assert_eq!((&unseen["from"], &unseen["listed_afterwards"]), (&json!(started), &json!(true)));
    // All of it is reported now.
    once(&stage).expect_code(0);
    let last = self::reports(&stage).pop().unwrap();
    assert_eq!(acts(&last, "j-BAD"), [""; 0]);
    assert_eq!(last["places"][0]["unseen"], json!([]));
}

/// Gives credentials with this access key, as a container's agent does. They have expired, so that
/// they are asked for before each request.
fn credentials_source(key: &Arc<Mutex<&'static str>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/credentials", listener.local_addr().unwrap());
    let key = Arc::clone(key);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            // A client that has gone away needs no answer.
            let _ = stream.read(&mut request);
            let body = json!({"AccessKeyId": *key.lock().unwrap(), "SecretAccessKey": "secret",
                "Token": "token", "Expiration": "2020-01-01T00:00:00Z"})
            .to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

#[test]
fn credentials_of_another_account_are_refused_and_nothing_is_said_of_its_clusters() {
    let key = Arc::new(Mutex::new("AKIAGUARD"));
    let use_key = |id| *key.lock().unwrap() = id;
    let source = credentials_source(&key);
    let stage = sentinel::stage("")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &source);
    stage.set(Set::PutAccessKey(PutAccessKey {
        id: "AKIAOTHER".to_owned(),
        account: Some("210987654321".to_owned()),
        arn: "arn:aws:iam::210987654321:user/other".to_owned(),
    }));
    start_unsafe(&stage, "j-THEIRS", Some("210987654321"), "eu-west-1");
    let mut sentinel = Listening::with(&stage, &format!("{IRELAND}  on_unsafe: terminate\n"));
    wait_until("it is ready", || sentinel.get("/readyz").0 == 200);
    use_key("AKIAOTHER");
    let why = "the credentials are of account 210987654321 now, not of the one of the start\n";
    wait_until("it says why it is not ready", || sentinel.get("/readyz").1.contains(why));
    let asked = |operation: &str| {
        let requests = stage.sim.requests();
        let by_other = requests.iter().filter(|one| one.access_key.as_deref() == Some("AKIAOTHER"));
        by_other.filter(|one| one.operation() == operation || operation == "*").count()
    };
    wait_until("it asks again", || asked("GetCallerIdentity") >= 3);
    use_key("AKIAGUARD");
    wait_until("it is ready again", || sentinel.get("/readyz").0 == 200);
    assert_eq!(asked("*"), asked("GetCallerIdentity"), "it only asks whose they are");
    assert!(!sentinel.counts("210987654321"));
    assert_eq!(sentinel.stop(), Some(0));
    let errors = sentinel.errors();
    let said = "the sentinel's credentials are of account 210987654321 now";
    assert_eq!(errors.matches(said).count(), 1, "{errors}");
    assert!(!errors.contains("j-THEIRS"), "{errors}");
}
