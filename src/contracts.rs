//! Contract tests with AWS: answers recorded from real AWS are given to the guard's own calls, and
//! compared with what the simulator answers in the same state.

pub(crate) mod about;
mod calls;
mod fixture;
mod form;
mod proxy;
mod table;

use std::sync::Arc;

use emr_simulator::Simulator;
use serde_json::{Value, json};

use crate::{
    aws::{answer::describe, clients::Aws, sns_query::TopicMessage},
    contracts::{
        about::About,
        fixture::Fixture,
        form::of_facts,
        proxy::{Answer, Proxy},
    },
    evidence, facts, reencrypt, setup, watch,
};

/// The result of a call.
struct Asked {
    facts: Value,
    /// The simulator's answer to it.
    simulated: Answer,
}

/// Puts the simulator into the fixture's state and makes the guard's call. If `is_answered`, the
/// call gets AWS's recorded answer instead of the simulator's.
async fn ask(fixture: &Fixture, others: &[Fixture], is_answered: bool) -> Asked {
    let simulator = Arc::new(Simulator::acme().unwrap());
    for command in &fixture.world {
        simulator.apply(command.clone()).unwrap();
    }
    let with = others.iter().filter(|it| fixture.with.contains(&it.name));
    let mut wanted = vec![fixture.wanted(is_answered)];
    wanted.extend(with.filter(|_| is_answered).map(|it| it.wanted(true)));
    let proxy = Proxy::start(Arc::clone(&simulator), wanted).await;
    let aws = Aws::for_tests(&proxy.url);
    let (about, operation, on) = (About(&fixture.about), &fixture.operation, &fixture.permission);
    let facts = match fixture.about["of"].as_str() {
        Some("reencrypt") => reencrypt::contracts::ask(&aws, operation, about).await,
        Some("watch") => watch::contracts::ask(&aws, operation, about).await,
        Some("evidence") => evidence::contracts::ask(&aws, operation, about).await,
        Some("setup") => Box::pin(setup::contracts::ask(&aws, operation, about)).await,
        Some("report") => Some(publish(&aws).await),
        _ => Box::pin(facts::contracts::ask(&aws, operation, on, about)).await,
    };
    let facts = facts.unwrap_or_else(|| panic!("{}: the guard makes no such call", fixture.name));
    let simulated = proxy.of_simulator().await;
    let simulated = simulated.unwrap_or_else(|| panic!("{}: it was not asked", fixture.name));
    Asked { facts, simulated }
}

/// Publishes as `report::alerts::sns` does.
async fn publish(aws: &Aws) -> Value {
    let message = TopicMessage {
        topic: "arn:aws:sns:eu-west-1:123456789012:etl-alerts",
        subject: "A subject",
        by_protocol: "{\"default\": \"text\"}",
        kind: "refused",
        fifo: None,
    };
    match aws.topics.publish(&message).await {
        Ok(id) => json!({"found": !id.is_empty()}),
        Err(error) => describe(&error).into(),
    }
}

#[tokio::test]
async fn the_facts_of_an_answer_of_awss_are_those_that_it_tells() {
    let fixtures = Fixture::all();
    for fixture in &fixtures {
        let asked = Box::pin(ask(fixture, &fixtures, true)).await;
        assert_eq!(asked.facts, fixture.expect, "{}", fixture.name);
    }
}

#[tokio::test]
async fn the_simulator_answers_in_the_same_state_as_aws_was_recorded_to() {
    let fixtures = Fixture::all();
    let mut found = Vec::new();
    for fixture in &fixtures {
        let asked = Box::pin(ask(fixture, &fixtures, false)).await;
        for difference in fixture.differences(&asked.simulated) {
            found.push(format!("{}: {difference}", fixture.name));
        }
        // The parts that the guard reads must be there: both answers give the same facts.
        let (ours, real) = (of_facts(&asked.facts), of_facts(&fixture.expect));
        if ours != real {
            found.push(format!("{}: the facts are {ours:?}, not {real:?}", fixture.name));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_difference_is_found_whatever_it_is_and_a_reason_that_nothing_needs_is_told() {
    let mut fixture = Fixture::all().into_iter().find(|it| it.body.starts_with('{')).unwrap();
    fixture.not_simulated.clear();
    fixture.only_simulated.clear();
    fixture.differs.clear();
    assert_eq!(fixture.differences(&fixture.answer()), Vec::<String>::new());
    let mut other = fixture.answer();
    other.status += 1;
    assert_eq!(fixture.differences(&other).len(), 1);
    let mut body: Value = serde_json::from_slice(&fixture.answer().body).unwrap();
    body["New"] = true.into();
    let added = Answer { body: body.to_string().into_bytes(), ..fixture.answer() };
    assert_eq!(fixture.differences(&added), ["New: Some({\"the truth true\"}) is not AWS's"]);
    fixture.only_simulated.insert("New".to_owned(), "a reason".to_owned());
    assert_eq!(fixture.differences(&added), Vec::<String>::new());
    assert_eq!(
        fixture.differences(&fixture.answer()),
        ["New: a reason is given, and nothing differs"]
    );
}
