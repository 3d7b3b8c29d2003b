//! AWS is called over TLS, and only with a certificate from a public authority, or from one that
//! the settings allow.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use emr_simulator::{ClusterState, Timings};
use serde_json::Value;

use crate::{
    settings::guard_yml,
    support::{Authority, Stage, isolated_guard, under_way_for, wait_until},
};

/// Every endpoint that the report names.
fn endpoints(report: &Value) -> Vec<&str> {
    let endpoints = report["facts"]["endpoints"].as_array().unwrap();
    endpoints.iter().map(|endpoint| endpoint["url"].as_str().unwrap()).collect()
}

/// Digest and trust of each authority in a report.
fn roots(report: &Value) -> Vec<(&str, &str)> {
    let roots = report["connections"]["roots"].as_array().unwrap();
    roots
        .iter()
        .map(|root| (root["sha256"].as_str().unwrap(), root["standing"].as_str().unwrap()))
        .collect()
}

/// A proxy that connects every tunnel to one port of this machine, whatever the requested host.
struct Proxy {
    url: String,
    state: Arc<Mutex<ProxyState>>,
}

#[derive(Default)]
struct ProxyState {
    port: u16,
    asked: Vec<String>,
    tunnels: Vec<TcpStream>,
}

impl Proxy {
    fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        proxy.lead_to(url);
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                thread::spawn(move || tunnel(client, &state));
            }
        });
        proxy
    }

    /// Connects to this URL from now on, and closes every open tunnel.
    fn lead_to(&self, url: &str) {
        let mut state = self.state.lock().unwrap();
        state.port = url.rsplit(':').next().unwrap().parse().unwrap();
        for tunnel in state.tunnels.drain(..) {
            let _ = tunnel.shutdown(Shutdown::Both);
        }
    }

    /// The first line of each tunnel request, and its credentials.
    fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

fn tunnel(mut client: TcpStream, state: &Mutex<ProxyState>) -> Option<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(client.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        let line = line.trim().to_owned();
        if head.is_empty() || line.to_ascii_lowercase().starts_with("proxy-authorization:") {
            head.push(line);
        }
    }
    let server = {
        let mut state = state.lock().unwrap();
        state.asked.push(head.join("\n"));
        let server = TcpStream::connect(("127.0.0.1", state.port)).ok()?;
        state.tunnels.extend([client.try_clone().ok()?, server.try_clone().ok()?]);
        server
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut server = server;
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    Some(())
}

#[test]
fn over_tls_a_check_and_a_run_pass_where_the_authority_is_allowed() {
    let stage = Stage::acme().over_tls();
    for played in [stage.check(), stage.run()] {
        played.expect_code(0);
        let endpoints = endpoints(&played.report);
        assert!(!endpoints.is_empty());
        assert!(endpoints.iter().all(|url| url.starts_with("https://")), "{endpoints:?}");
        assert_eq!(roots(&played.report), [(Authority::of_stages().digest.as_str(), "allowed")]);
        assert_eq!(played.report["connections"]["roots"][0]["hosts"][0], "127.0.0.1");
        let found = played.findings("aws-trust-store");
        assert_eq!(found.values().collect::<Vec<_>>(), ["passed"], "{found:?}");
        let found = played.findings("runner-route");
        assert_eq!(found.values().collect::<Vec<_>>(), ["passed"], "{found:?}");
    }
}

#[test]
fn the_document_of_an_audit_tells_who_vouched_for_aws() {
    let stage = Stage::acme().over_tls().env("AWS_REGION", "eu-west-1");
    let mut command = isolated_guard();
    command.args(["audit", "s3://acme-archive", "--json"]);
    stage.prepare(&mut command);
    let played = stage.play(command);
    let document: Value = serde_json::from_str(&played.stdout).unwrap();
    assert_eq!(roots(&document), [(Authority::of_stages().digest.as_str(), "allowed")]);
}

#[test]
fn a_server_that_no_trusted_authority_vouches_for_is_asked_nothing_and_the_message_says_why() {
    let stage = Stage::acme().over_tls();
    stage.write("authority.pem", &Authority::new().pem);
    let why = "cannot be reached: invalid peer certificate: UnknownIssuer (no CA certificate on \
        this machine has signed it; if one should have, name a bundle with it in SSL_CERT_FILE)";
    for played in [stage.check(), stage.run()] {
        played.expect_code(69);
        let first = "emr-etl-guard: REFUSED, nothing was launched: no CA certificate on this \
            machine signed the server's certificate";
        assert_eq!(played.stderr.lines().next(), Some(first));
        assert!(played.stderr.contains(&format!("(sts:GetCallerIdentity: {why})")));
        assert!(!played.runner_started());
    }
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn a_server_whose_authority_is_neither_public_nor_allowed_is_asked_nothing_and_that_is_all_that_is_said()
 {
    let stage = Stage::acme().over_tls().without_env("EMR_ETL_GUARD_ALLOW_ROOTS");
    let digest = &Authority::of_stages().digest;
    for played in [stage.check(), stage.run()] {
        played.expect_code(77);
        let first = played.stderr.lines().next().unwrap();
        assert!(
            first.starts_with(
                "emr-etl-guard: REFUSED, nothing was launched: aws-trust-store CN=authority "
            ),
            "{first}"
        );
        assert!(
            played.stderr.contains(&format!("neither public nor allowed (SHA-256 {digest})"))
                || played.stdout.contains(&format!("(SHA-256 {digest})")),
            "{first}"
        );
        assert!(!played.stderr.contains("same-account"), "{}", played.stderr);
        let said = format!("{}{}", played.stdout, played.stderr);
        assert!(said.contains("allow it in `allow_roots`"), "{}", played.transcript());
        assert_eq!(roots(&played.report), [(digest.as_str(), "refused")]);
        assert!(!played.runner_started());
    }
    // No policy compensates for it.
    let advisory = Stage::acme()
        .over_tls()
        .without_env("EMR_ETL_GUARD_ALLOW_ROOTS")
        .option("--advise=aws-trust-store");
    advisory.run().expect_code(77);
    assert_eq!(stage.sim.requests().len() + advisory.sim.requests().len(), 0);
}

#[test]
fn no_command_asks_a_server_whose_authority_is_neither_public_nor_allowed() {
    let stage = Stage::acme()
        .over_tls()
        .without_env("EMR_ETL_GUARD_ALLOW_ROOTS")
        .env("AWS_REGION", "eu-west-1");
    let why = "is signed by the authority \"CN=authority ";
    for arguments in [
        &["audit", "s3://acme-old/data"][..],
        &["reencrypt", "s3://acme-old/data"],
        &["watch", "j-1ABCDEFGHIJKL"],
    ] {
        let mut command = isolated_guard();
        command.args(arguments);
        stage.prepare(&mut command);
        let played = stage.play(command);
        assert_ne!(played.code, Some(0), "{arguments:?}\n{}", played.transcript());
        assert!(played.stderr.contains(why), "{arguments:?}\n{}", played.transcript());
        assert!(played.stderr.contains(&Authority::of_stages().digest), "{}", played.stderr);
    }
    assert_eq!(stage.sim.requests().len(), 0);
}

#[test]
fn through_a_proxy_aws_is_known_by_its_own_certificate_and_the_proxy_is_told() {
    let stage = Stage::acme().over_tls();
    let proxy = Proxy::to(&stage.tls_url());
    let with_password = proxy.url.replace("http://", "http://user:PROXYSECRET@");
    let stage = stage.env("HTTPS_PROXY", &with_password);
    let played = stage.run();
    played.expect_code(0);
    let asked = proxy.asked();
    let server = stage.tls_url().replace("https://", "");
    assert!(!asked.is_empty());
    for request in &asked {
        let (line, credentials) = request.split_once('\n').unwrap();
        assert_eq!(line, format!("CONNECT {server} HTTP/1.1"));
        assert!(credentials.to_lowercase().starts_with("proxy-authorization: basic "), "{request}");
    }
    assert_eq!(played.report["connections"]["proxies"][0]["proxy"], proxy.url.as_str());
    assert_eq!(roots(&played.report), [(Authority::of_stages().digest.as_str(), "allowed")]);
    let found = played.findings("aws-proxy");
    assert_eq!(found.get(&proxy.url).map(String::as_str), Some("failed"), "{found:?}");
    for text in [&played.stdout, &played.stderr, &played.report.to_string()] {
        assert!(!text.contains("PROXYSECRET"), "{text}");
    }
}

#[test]
fn whoever_answers_in_awss_place_during_the_watch_is_not_believed() {
    let stage = Stage::acme().over_tls();
    let (own, other) = (Authority::of_stages(), Authority::new());
    stage.write("authority.pem", &format!("{}{}", own.pem, other.pem));
    let in_between = other.serve(&stage.sim);
    let proxy = Proxy::to(&stage.tls_url());
    let stage = stage
        .env("HTTPS_PROXY", &proxy.url)
        .env("EMR_ETL_GUARD_JUDGE_WITHIN", "3s")
        .env("EMR_ETL_GUARD_ON_UNJUDGED", "alert")
        .env("EMR_ETL_GUARD_AWS_TIMEOUT", "2s");
    let child = under_way_for(&stage, Timings { bootstrapping: 36.0, ..Timings::all(120.0) });
    let tunnels = proxy.asked().len();
    proxy.lead_to(&in_between);
    wait_until("the other is asked for", || proxy.asked().len() > tunnels + 3);
    let before = stage.sim.requests().len();
    let played = stage.finish(child);
    played.expect_code(75);
    assert!(played.stderr.contains("\"CN=authority "), "{}", played.stderr);
    assert!(played.stderr.contains(&other.digest), "{}", played.stderr);
    let mut roots = roots(&played.report);
    roots.sort_by_key(|(_, standing)| standing.to_owned());
    assert_eq!(roots, [(own.digest.as_str(), "allowed"), (other.digest.as_str(), "refused")]);
    // The runner still calls the simulator in plain text; the guard gets no responses any more.
    let by_guard = stage.sim.requests()[before..]
        .iter()
        .filter(|request| request.access_key.as_deref() == Some("AKIAGUARD"))
        .count();
    assert_eq!(by_guard, 0);
    let states: Vec<ClusterState> =
        stage.sim.with_world(|world| world.clusters.iter().map(|cluster| cluster.state).collect());
    assert_eq!(states.len(), 1, "{states:?}");
}

#[test]
fn a_way_to_aws_that_only_the_runner_takes_is_said() {
    let other = Authority::new();
    let stage = Stage::acme().env("JAVA_OPTS", "-Dhttps.proxyHost=proxy.example -Xmx256m");
    stage.write("authority.pem", &format!("{}{}", Authority::of_stages().pem, other.pem));
    let played = stage.check();
    played.expect_code(0);
    let found = played.findings("runner-route");
    assert_eq!(
        found.iter().map(|(name, status)| (name.as_str(), status.as_str())).collect::<Vec<_>>(),
        [("JAVA_OPTS", "failed"), ("SSL_CERT_FILE", "failed")]
    );
    let text = played.report["findings"].to_string();
    assert!(text.contains("has Java go by https.proxyHost=proxy.example"), "{text}");
    assert!(
        text.contains(
            "has the runner believe an authority that is neither public nor \
        allowed, and whom the guard refuses"
        ),
        "{text}"
    );
}

#[test]
fn what_is_no_digest_is_refused_with_what_to_give() {
    let stage = Stage::acme().env("EMR_ETL_GUARD_ALLOW_ROOTS", "/etc/ssl/corp.pem");
    let played = stage.check();
    played.expect_code(64);
    assert!(played.stderr.contains("is no SHA-256 digest of a certificate"), "{}", played.stderr);
    let stage = Stage::acme().without_env("EMR_ETL_GUARD_ALLOW_ROOTS");
    guard_yml(&stage, "run_tag: true\nallow_roots: [corp.pem]\n");
    let played = stage.env("EMR_ETL_GUARD_SETTINGS", "guard.yml").check();
    played.expect_code(64);
    assert!(played.stderr.contains("guard.yml:2:14: "), "{}", played.stderr);
}
