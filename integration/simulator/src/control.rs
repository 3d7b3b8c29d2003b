//! Owns the control interface over HTTP: commands in, records and the world out.

use std::collections::BTreeMap;

use hyper::http::request::Parts;
use serde_json::{Value, json};

use crate::record::Recorded;
use crate::reply::Reply;
use crate::state::Shared;
use emr_world::command::Command;

/// Answers `GET /_control/{state,requests,rounds}` and `POST /_control/{apply,reset}`.
pub(crate) fn answer(shared: &Shared, parts: &Parts, body: &[u8]) -> Reply {
    let reply = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/_control/state") => {
            let mut state = shared.lock();
            state.simulation.catch_up();
            let mut dump = serde_json::to_value(&state.simulation.world).unwrap_or_default();
            dump["clock"] = json!(state.simulation.clock.mode());
            Reply::json(&dump)
        }
        ("GET", "/_control/requests") => {
            let query = parts.uri.query().unwrap_or_default();
            let filters: BTreeMap<String, String> =
                form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let state = shared.lock();
            let found: Vec<&Recorded> =
                state.requests.iter().filter(|it| passes(it, &filters)).collect();
            Reply::json(&json!(found))
        }
        ("GET", "/_control/rounds") => Reply::json(&json!({"rounds": shared.lock().rounds.done()})),
        ("POST", "/_control/reset") => apply(shared, vec![Command::Reset]),
        ("POST", "/_control/apply") => match parse(body) {
            Ok(commands) => apply(shared, commands),
            Err(error) => problem(400, &error.to_string()),
        },
        (method, path) => problem(404, &format!("there is no {method} {path}")),
    };
    shared.notify();
    reply
}

/// One command or a list of them.
fn parse(body: &[u8]) -> Result<Vec<Command>, serde_json::Error> {
    match serde_json::from_slice(body)? {
        Value::Array(list) => list.into_iter().map(serde_json::from_value).collect(),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}

fn apply(shared: &Shared, commands: Vec<Command>) -> Reply {
    let mut state = shared.lock();
    let mut applied = Vec::new();
    for command in commands {
        match state.apply(command) {
            Ok(done) => applied.push(done),
            Err(error) => return problem(400, &error.to_string()),
        }
    }
    Reply::json(&json!(applied))
}

fn problem(status: u16, message: &str) -> Reply {
    Reply { status, ..Reply::json(&json!({"error": message})) }
}

fn passes(record: &Recorded, filters: &BTreeMap<String, String>) -> bool {
    let subject = &record.subject;
    filters.iter().all(|(name, wanted)| {
        let present = match name.as_str() {
            "service" => Some(&subject.service),
            "operation" => Some(&subject.operation),
            "cluster_id" => subject.cluster_id.as_ref(),
            "bucket" => subject.bucket.as_ref(),
            "key" => subject.key.as_ref(),
            "name" => subject.name.as_ref(),
            "access_key" => record.access_key.as_ref(),
            "region" => Some(&record.region),
            _ => None,
        };
        present == Some(wanted)
    })
}
