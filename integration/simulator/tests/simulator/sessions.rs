//! Owns the tests of sessions of roles in other accounts, and of regions that an account can or
//! cannot use.

use std::time::Duration;

use emr_simulator::{Command, PutHistory, PutRole, SetRegion, Simulator, StartCluster};
use serde_json::{Value, json};

use crate::support::{Client, Got, stepped};

const OTHER: &str = "210987654321";
const ROLE: &str = "arn:aws:iam::210987654321:role/sentinel";

/// A role in another account that the guard may assume with an external id.
fn role(sim: &Simulator) {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/etl/emr-etl-guard"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "acme"}},
    }]});
    let put = PutRole {
        name: "sentinel".to_owned(),
        account: Some(OTHER.to_owned()),
        trust: Some(trust),
        ..PutRole::default()
    };
    sim.apply(Command::PutRole(put)).unwrap();
}

fn assume(client: &Client, more: &str) -> Got {
    let parameters =
        format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=emr-etl-guard{more}");
    client.form("sts", &parameters)
}

/// Calls of a session, by its credentials.
struct Session {
    client: Client,
    token: String,
}

impl Session {
    fn of(client: &Client, got: &Got) -> Self {
        let key = got.xml("AccessKeyId").unwrap().to_owned();
        // Tests are short: a key for the rest of the program's life is no leak that matters.
        let client = client.as_key(Box::leak(key.into_boxed_str()));
        Self { client, token: got.xml("SessionToken").unwrap().to_owned() }
    }

    fn emr(&self, operation: &str, body: &Value) -> Got {
        let target = format!("ElasticMapReduce.{operation}");
        let headers = [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-security-token", &self.token),
        ];
        self.client.send("elasticmapreduce", "POST", "/", &headers, &body.to_string()).unwrap()
    }
}

fn clusters(got: &Got) -> Vec<String> {
    let json = got.json();
    let list = json["Clusters"].as_array().unwrap().iter();
    list.map(|it| it["Id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_role_is_assumed_by_those_it_trusts_and_its_session_acts_in_its_account() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(assume(&guard, "&ExternalId=acme").error(), denied, "there is no such role");
    role(&sim);
    assert_eq!(assume(&guard, "").error(), denied, "without the external id");
    assert_eq!(assume(&guard, "&ExternalId=other").error(), denied, "with another one");
    let stranger = guard.as_key("AKIAFAKE");
    assert_eq!(assume(&stranger, "&ExternalId=acme").error(), denied, "another caller");
    let invalid = (400, "ValidationError".to_owned());
    let long = "&ExternalId=acme&DurationSeconds=7200";
    assert_eq!(assume(&guard, long).error(), invalid, "a role's session assumes for an hour");
    let got = assume(&guard, "&ExternalId=acme&DurationSeconds=900");
    assert_eq!(got.status, 200, "{got:?}");
    let arn = "arn:aws:sts::210987654321:assumed-role/sentinel/emr-etl-guard";
    assert_eq!(got.xml("Arn"), Some(arn));

    for (account, id) in [(None, "j-MINE"), (Some(OTHER.to_owned()), "j-THEIRS")] {
        let id = Some(id.to_owned());
        sim.apply(Command::StartCluster(StartCluster { id, account, ..StartCluster::default() }))
            .unwrap();
    }
    let session = Session::of(&guard, &got);
    assert_eq!(clusters(&guard.emr("ListClusters", &json!({}))), ["j-MINE"]);
    assert_eq!(clusters(&session.emr("ListClusters", &json!({}))), ["j-THEIRS"]);
    let recorded = sim.requests_for("ListClusters").pop().unwrap();
    assert_eq!(recorded.account.as_deref(), Some(OTHER));

    let unknown = (400, "UnrecognizedClientException".to_owned());
    let without_token = session.client.emr("ListClusters", &json!({}));
    assert_eq!(without_token.error(), unknown);
    sim.advance(Duration::from_mins(15));
    let expired = session.emr("ListClusters", &json!({}));
    assert_eq!(expired.error(), (400, "ExpiredTokenException".to_owned()));
    let again = Session::of(&guard, &assume(&guard, "&ExternalId=acme"));
    assert_eq!(again.emr("ListClusters", &json!({})).status, 200);
    sim.apply(Command::ExpireSessions).unwrap();
    assert_eq!(again.emr("ListClusters", &json!({})).error().1, "ExpiredTokenException");
}

#[test]
fn a_region_that_the_account_has_not_switched_on_knows_none_of_its_credentials() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let names = |parameters: &str| {
        let body = guard.form("ec2", &format!("Action=DescribeRegions{parameters}")).body;
        let names = body.split("<regionName>").skip(1);
        names.map(|it| it.split('<').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").len(), 17);
    assert_eq!(names("&AllRegions=true").len(), 34);
    let waiting = "&AllRegions=true&Filter.1.Name=opt-in-status&Filter.1.Value.1=not-opted-in";
    assert_eq!(names(waiting).len(), 17);
    assert!(names(waiting).contains(&"me-south-1".to_owned()));
    let far = guard.in_region("me-south-1");
    let lists = || far.emr("ListClusters", &json!({})).error();
    assert_eq!(lists(), (400, "UnrecognizedClientException".to_owned()));
    let identity = far.form("sts", "Action=GetCallerIdentity");
    assert_eq!(identity.error(), (403, "InvalidClientTokenId".to_owned()));
    let subnets = far.form("ec2", "Action=DescribeSubnets");
    assert_eq!(subnets.error(), (401, "AuthFailure".to_owned()));
    let set = |name: &str, opted_in: bool| {
        let name = name.to_owned();
        sim.apply(Command::SetRegion(SetRegion { name, account: None, opted_in }))
    };
    set("me-south-1", true).unwrap();
    assert_eq!(lists(), (200, String::new()));
    assert_eq!(names("").len(), 18);
    let opted = "&Filter.1.Name=opt-in-status&Filter.1.Value.1=opted-in";
    assert_eq!(names(opted), ["me-south-1"]);
    set("me-south-1", false).unwrap();
    assert_eq!(lists().0, 400);
    assert!(set("eu-west-1", true).is_err(), "a region that every account can use");
}

#[test]
fn each_region_of_each_account_has_its_own_clusters_and_quotas() {
    let sim = Simulator::acme().unwrap();
    let guard = Client::new(&sim);
    let started = StartCluster {
        id: Some("j-PARIS".to_owned()),
        region: Some("eu-west-3".to_owned()),
        ..StartCluster::default()
    };
    sim.apply(Command::StartCluster(started)).unwrap();
    let paris = guard.in_region("eu-west-3");
    let list = |client: &Client| client.emr("ListClusters", &json!({}));
    assert_eq!(clusters(&list(&paris)), ["j-PARIS"]);
    assert_eq!(clusters(&list(&guard)), Vec::<String>::new());
    let throttled = (400, "ThrottlingException".to_owned());
    assert!((0..25).any(|_| list(&guard).error() == throttled));
    assert_eq!(list(&paris).status, 200);
}

#[test]
fn clusters_of_the_past_are_listed_by_page_and_by_the_time_of_their_creation() {
    let sim = stepped();
    let guard = Client::new(&sim);
    let living = sim.apply(Command::StartCluster(StartCluster::default())).unwrap().id.unwrap();
    let put = PutHistory { count: 10_000, within_seconds: 1_000_000.0, ..PutHistory::default() };
    sim.apply(Command::PutHistory(put)).unwrap();
    let alive = json!({"ClusterStates": ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]});
    let got = guard.emr("ListClusters", &alive);
    assert_eq!((clusters(&got), &got.json()["Marker"]), (vec![living], &Value::Null));
    let now = sim.with_world(|world| world.now.unix_timestamp());
    let mut body = json!({"CreatedAfter": now - 10_000});
    let mut all = Vec::new();
    loop {
        let got = guard.emr("ListClusters", &body);
        all.extend(clusters(&got));
        match got.json()["Marker"].clone() {
            Value::Null => break,
            marker => body["Marker"] = marker,
        }
    }
    let pages = sim.requests_for("ListClusters").len() - 1;
    assert_eq!((all.len(), pages), (101, 3), "one every hundred seconds, and the living one");
    let described = guard.emr("DescribeCluster", &json!({"ClusterId": all[100]})).json();
    assert_eq!(described["Cluster"]["Status"]["State"], "TERMINATED");
}
