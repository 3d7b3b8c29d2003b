//! Makes one AWS call of this module, by AWS's name of the operation, for the contract tests.

use serde_json::{Value, json};

use crate::{
    aws::clients::Aws,
    base::names::ClusterId,
    contracts::about::About,
    evidence::timeline::Timeline,
    watch::{queue, terminate},
};

/// The result of the call; `None` if this module does not make it.
pub(crate) async fn ask(aws: &Aws, operation: &str, about: About<'_>) -> Option<Value> {
    let id = || about.text("cluster").parse::<ClusterId>().unwrap();
    let timeline = Timeline::default();
    match operation {
        "TerminateJobFlows" => Some(json!(terminate::request(aws, &id(), &timeline).await)),
        "SetTerminationProtection" => {
            Some(json!(terminate::lift_protection(aws, &id(), &timeline).await))
        }
        "ReceiveMessage" => Some(json!(queue::receive(aws, about.text("queue"), 0).await)),
        "DeleteMessage" => {
            queue::delete(aws, about.text("queue"), about.text("receipt")).await;
            Some(Value::Null)
        }
        _ => None,
    }
}
