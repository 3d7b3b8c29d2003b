//! What a sentinel needs: planned for what exists, carried out against the simulator where calls
//! get no answer or die, and taken back.

use emr_simulator::{Fault, FaultKind};

use super::*;
use crate::setup::{
    record::UndoResult,
    sentinel_parts::{SentinelParts, tests::samples},
    sentinel_steps::{SentinelInputs, SentinelState},
};

/// The calls that make everything, in order.
const CALLS: [&str; 7] = [
    "CreateRole",
    "PutRolePolicy",
    "CreateQueue",
    "PutRule",
    "PutTargets",
    "PutMetricAlarm",
    "PutMetricAlarm",
];

fn own() -> SentinelParts {
    let [own, _] = samples();
    own
}

/// The plan for what the simulator has.
async fn planned(account: &Account) -> SetupPlan {
    let (parts, id) = (own(), AccountId::new(ACCOUNT));
    let inputs = SentinelInputs { parts: &parts, account: &id, region: REGION, topic: None };
    inputs.plan(&Box::pin(SentinelState::look(&account.aws, &inputs)).await)
}

fn is_in_place(plan: &SetupPlan) -> bool {
    plan.steps.iter().all(|step| step.action == StepAction::Keep)
}

/// What the simulator has of the kinds that are made.
fn made(account: &Account) -> Value {
    account.simulator.with_world(|world| {
        without_ids(json!({
            "roles": world.roles, "queues": world.queue_settings, "rules": world.event_rules,
            "alarms": world.alarms.iter().map(|alarm| &alarm.settings).collect::<Vec<_>>(),
        }))
    })
}

#[tokio::test]
async fn an_empty_account_gets_everything_and_all_of_it_is_taken_back() {
    let account = Account::empty();
    let before = made(&account);
    let plan = planned(&account).await;
    insta::assert_snapshot!("sentinel-plan", serde_json::to_string_pretty(&plan).unwrap());
    let (result, steps) = account.apply(&plan).await;
    result.unwrap();
    assert!(steps.iter().flat_map(|step| &step.calls).all(|call| call.request.is_some()));
    assert_eq!(account.writes(), CALLS);
    assert!(is_in_place(&planned(&account).await));
    account.journal().reported().unwrap();
    let undone = account.undo(&record(steps)).await;
    let results: Vec<&UndoResult> = undone.iter().map(|step| &step.result).collect();
    assert_eq!(results, [&UndoResult::Undone { stays: None }; 6]);
    assert_eq!(made(&account), before);
}

#[tokio::test]
async fn a_call_without_an_answer_is_not_made_again_and_a_refused_one_ends_it_there() {
    let mut numbers = std::collections::BTreeMap::<&str, u64>::new();
    for (index, call) in CALLS.into_iter().enumerate() {
        let number = numbers.entry(call).or_default();
        *number += 1;
        for kind in [FaultKind::AppliedThen5xx { status: 500 }, FaultKind::AppliedThenReset] {
            let account = Account::empty();
            account.fault(Fault::nth(call, *number, kind.clone()));
            let plan = planned(&account).await;
            let (result, _) = account.apply(&plan).await;
            result.unwrap_or_else(|error| panic!("{call}, {kind:?}: {error}"));
            assert_eq!(account.writes(), CALLS, "{call}, {kind:?}");
        }
        let account = Account::empty();
        account.fault(Fault::nth(call, *number, FaultKind::AccessDenied));
        let plan = planned(&account).await;
        let error = account.apply(&plan).await.0.unwrap_err().to_string();
        assert!(error.contains(call) && error.contains("run the same command again"), "{error}");
        account.command(json!("clear_faults"));
        account.apply(&plan).await.0.unwrap();
        assert_eq!(account.writes()[index + 1..], CALLS[index..], "{call}");
    }
}

#[tokio::test]
async fn one_that_dies_at_any_write_is_continued_without_making_anything_twice() {
    let whole = Account::empty();
    let plan = planned(&whole).await;
    whole.apply(&plan).await.0.unwrap();
    for nth in 1..=CALLS.len() {
        for kind in [FaultKind::Hang, FaultKind::AppliedThenHang] {
            let account = Account::empty();
            let before = made(&account);
            let plan = planned(&account).await;
            cut_off::dies_at(&account, &plan, nth, kind.clone()).await;
            let (result, steps) = account.apply(&plan).await;
            result.unwrap_or_else(|error| panic!("{nth}, {kind:?}: {error}"));
            assert_eq!(made(&account), made(&whole), "{nth}, {kind:?}");
            account.journal().reported().unwrap();
            account.undo(&record(steps)).await;
            assert_eq!(made(&account), before, "{nth}, {kind:?}");
        }
    }
}
