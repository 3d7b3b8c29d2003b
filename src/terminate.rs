//! Ending an unsafe cluster: lift its protection, terminate it, and wait until EMR confirms that it is over.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    aws::{Aws, Lookup, calls, describe},
    facts::emr,
    names::ClusterId,
    timeline::{Deed, Timeline},
};

/// How a termination went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// EMR says that the cluster is over.
    Confirmed,
    /// It may still run; the text says what stood in the way.
    Unconfirmed(String),
}

/// Terminates `cluster` and waits for its end, at most `limit`.
///
/// The request to terminate goes out first, since every second counts; protection is lifted when the cluster is known to have it, or when EMR refuses.
/// What is done, and the states that the cluster is seen in, go on `timeline`. Looks for the end are `pace` apart, doubling up to 30 s, so that they fit EMR's quotas.
pub(crate) async fn terminate(aws: &Aws, cluster: &ClusterId, protected: bool, pace: Duration, limit: Duration, timeline: &Timeline) -> End {
    let end = end(aws, cluster, protected, pace, limit, timeline).await;
    timeline.did(
        Deed::AwaitEnd,
        cluster,
        &match &end {
            End::Confirmed => Ok(()),
            End::Unconfirmed(obstacle) => Err(obstacle.clone()),
        },
    );
    end
}

async fn end(aws: &Aws, cluster: &ClusterId, protected: bool, pace: Duration, limit: Duration, timeline: &Timeline) -> End {
    let deadline = Instant::now() + limit;
    let mut pause = pace;
    let mut accepted = false;
    let mut lift = protected;
    let mut obstacle = String::new();
    loop {
        if !accepted {
            if lift && let Err(reason) = lift_protection(aws, cluster, timeline).await {
                obstacle = reason;
            }
            match request(aws, cluster, timeline).await {
                Ok(()) => accepted = true,
                Err(reason) => {
                    tracing::debug!(%cluster, reason, "termination refused");
                    obstacle = reason;
                    // Whatever the reason was: protection is the common one, and lifting it twice does no harm.
                    if !std::mem::replace(&mut lift, true) {
                        continue;
                    }
                }
            }
        }
        let seen = emr::cluster(&aws.emr, cluster).await;
        if let Some(facts) = seen.found() {
            timeline.saw(cluster, &facts.status);
        }
        match seen {
            Lookup::Found(facts) if facts.status.state.is_over() => return End::Confirmed,
            // Somebody may lift or set protection meanwhile; EMR having accepted once is no promise.
            Lookup::Found(facts) if accepted && facts.status.state != emr::ClusterState::Terminating => {
                obstacle = format!("EMR accepted the termination, but the cluster is {}", facts.status.state);
                accepted = false;
            }
            Lookup::Found(facts) => tracing::debug!(%cluster, state = %facts.status.state, "not over yet"),
            Lookup::Absent => obstacle = "EMR does not know it any more".to_owned(),
            Lookup::Denied(reason) | Lookup::Unreachable(reason) => obstacle = format!("{}: {}", reason.operation, reason.message),
        }
        if Instant::now() + pause > deadline {
            let waited = humantime::format_duration(limit);
            let obstacle = if obstacle.is_empty() { "still terminating".to_owned() } else { obstacle };
            return End::Unconfirmed(format!("after {waited}: {obstacle}"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn request(aws: &Aws, cluster: &ClusterId, timeline: &Timeline) -> Result<(), String> {
    let result = aws.emr.terminate_job_flows().job_flow_ids(cluster.as_str()).send().await;
    let result = result.map(drop).map_err(|error| format!("{}: {}", calls::TERMINATE_JOB_FLOWS.permission, describe(&error)));
    timeline.did(Deed::Terminate, cluster, &result);
    result
}

async fn lift_protection(aws: &Aws, cluster: &ClusterId, timeline: &Timeline) -> Result<(), String> {
    let result = aws.emr.set_termination_protection().job_flow_ids(cluster.as_str()).termination_protected(false).send().await;
    let result = result.map(drop).map_err(|error| format!("{}: {}", calls::SET_TERMINATION_PROTECTION.permission, describe(&error)));
    timeline.did(Deed::LiftProtection, cluster, &result);
    result
}
