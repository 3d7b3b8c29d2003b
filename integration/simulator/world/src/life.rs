//! Owns the life of clusters on the clock: the next change, and its effect.

use serde_json::json;
use time::OffsetDateTime;

use crate::clock::iso_seconds;
use crate::cluster::{ClusterState, Next, StepState};
use crate::fate::{StartState, Termination};
use crate::ids::uuid;
use crate::provisioning;
use crate::steps;
use crate::values::seconds;
use crate::world::World;

impl World {
    /// When the next change of any cluster is due, or the next event comes.
    pub fn next_change(&self) -> Option<OffsetDateTime> {
        let changes = self.clusters.iter().filter_map(|cluster| cluster.next).map(|(at, _)| at);
        changes.chain(self.next_event()).min()
    }

    /// Performs all changes that are due until `now`, in the order of their time.
    pub fn catch_up(&mut self, now: OffsetDateTime) {
        loop {
            let due = self
                .clusters
                .iter()
                .enumerate()
                .filter_map(|(index, cluster)| cluster.next.map(|(at, next)| (at, index, next)))
                .filter(|(at, ..)| *at <= now)
                .min_by_key(|(at, index, _)| (*at, *index));
            let Some((at, index, next)) = due else { break };
            self.deliver_until(at);
            self.now = at;
            self.clusters[index].next = None;
            happen(self, index, next, at);
            self.tell_change(index);
        }
        self.deliver_until(now);
        self.now = now;
        self.keys.retain(|key| key.deletion.is_none_or(|at| at > now));
        self.tell();
    }

    /// Delivers the events that come until then, each at its time.
    fn deliver_until(&mut self, until: OffsetDateTime) {
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.deliver_due();
        }
    }

    /// Sends the changes of clusters' states to EventBridge.
    pub fn tell(&mut self) {
        for index in 0..self.clusters.len() {
            self.tell_change(index);
        }
        self.deliver_due();
    }

    /// Sends an event if the state of this cluster has changed to one that EMR tells. Source:
    /// Amazon EMR management guide, Monitoring Amazon EMR events with CloudWatch, "Amazon EMR
    /// cluster events": there is none for BOOTSTRAPPING and TERMINATING.
    fn tell_change(&mut self, index: usize) {
        let cluster = &mut self.clusters[index];
        let state = cluster.state;
        if cluster.told.replace(state) == Some(state) || self.queues.is_empty() {
            return;
        }
        let who = format!("{} ({})", cluster.id, cluster.name);
        let time = iso_seconds(self.now);
        let (code, reason) = cluster.reason.clone().unwrap_or_default();
        let (severity, message) = match state {
            ClusterState::Starting => {
                ("INFO", format!("cluster {who} was requested at {time} and is being created."))
            }
            ClusterState::Running => {
                ("INFO", format!("cluster {who} began running steps at {time}."))
            }
            ClusterState::Waiting if cluster.steps.is_empty() => {
                ("INFO", format!("cluster {who} was created at {time} and is ready for use."))
            }
            ClusterState::Waiting => {
                ("INFO", format!("cluster {who} finished running all pending steps at {time}."))
            }
            ClusterState::Terminated => {
                ("INFO", format!("Cluster {who} has terminated at {time} with a reason of {code}."))
            }
            ClusterState::TerminatedWithErrors => (
                "CRITICAL",
                format!(
                    "Cluster {who} has terminated with errors at {time} with a reason of {code}."
                ),
            ),
            ClusterState::Bootstrapping | ClusterState::Terminating => return,
        };
        let event = json!({
            "version": "0",
            "id": uuid(&mut self.random),
            "detail-type": "EMR Cluster State Change",
            "source": "aws.emr",
            "account": cluster.account,
            "time": time,
            "region": cluster.region,
            "resources": [],
            "detail": {
                "severity": severity,
                "stateChangeReason": json!({"code": code, "message": reason}).to_string(),
                "name": cluster.name,
                "clusterId": cluster.id,
                "state": state.name(),
                "message": format!("Amazon EMR {message}"),
            },
        });
        self.publish(&event, self.now + seconds(self.event_delivery.delay));
    }
}

fn happen(world: &mut World, index: usize, next: Next, at: OffsetDateTime) {
    match next {
        Next::Bootstrap => {
            provisioning::provision(world, index);
            let cluster = &mut world.clusters[index];
            cluster.state = ClusterState::Bootstrapping;
            cluster.next = Some((at + seconds(cluster.timings.bootstrapping), Next::Ready));
        }
        Next::Ready => ready(world, index, at),
        Next::StartStep(number) => {
            let cluster = &mut world.clusters[index];
            let step = &mut cluster.steps[number];
            step.state = StepState::Running;
            step.started = Some(at);
            let special =
                cluster.timings.steps.iter().find(|(part, _)| step.name.contains(part.as_str()));
            let length = special.map_or(cluster.timings.step, |(_, length)| *length);
            cluster.next = Some((at + seconds(length), Next::EndStep(number)));
        }
        Next::EndStep(number) => end_step(world, index, number, at),
        Next::End { failed } => {
            steps::write_node_logs(world, index);
            let cluster = &mut world.clusters[index];
            cluster.state =
                if failed { ClusterState::TerminatedWithErrors } else { ClusterState::Terminated };
            cluster.ended = Some(at);
        }
    }
}

fn ready(world: &mut World, index: usize, at: OffsetDateTime) {
    let cluster = &mut world.clusters[index];
    if cluster.fate.bootstrap_failure {
        let master = cluster.instances.first().map_or("", |it| it.ec2_id.as_str());
        let message = format!(
            "On the master instance ({master}), bootstrap action 1 returned a non-zero return code"
        );
        return terminate(world, index, at, "BOOTSTRAP_FAILURE", &message, true);
    }
    cluster.ready = Some(at);
    cluster.state = ClusterState::Running;
    next_step(world, index, at);
}

/// Continues with the next pending step, or with the end of the steps.
pub fn next_step(world: &mut World, index: usize, at: OffsetDateTime) {
    let cluster = &mut world.clusters[index];
    let pending = cluster.steps.iter().position(|step| step.state == StepState::Pending);
    if let Some(number) = pending {
        cluster.state = ClusterState::Running;
        cluster.reason = None;
        cluster.next = Some((at + seconds(cluster.timings.step_start), Next::StartStep(number)));
    } else if cluster.keep_alive {
        cluster.state = ClusterState::Waiting;
        let message = if cluster.steps.is_empty() {
            "Cluster ready to run steps."
        } else {
            "Cluster ready after last step completed."
        };
        cluster.reason = Some((String::new(), message.to_owned()));
    } else {
        terminate(world, index, at, "ALL_STEPS_COMPLETED", "Steps completed", false);
    }
}

fn end_step(world: &mut World, index: usize, number: usize, at: OffsetDateTime) {
    let cluster = &world.clusters[index];
    let outcome = if cluster.fate.fail_step == Some(number + 1) {
        Err("Exception in thread \"main\" java.lang.RuntimeException: Error running job".to_owned())
    } else {
        steps::run(world, index, number)
    };
    let cluster = &mut world.clusters[index];
    let step = &mut cluster.steps[number];
    step.ended = Some(at);
    match outcome {
        Ok(written) => {
            step.state = StepState::Completed;
            step.written = written;
            steps::write_step_logs(world, index, number);
            next_step(world, index, at);
        }
        Err(failure) => {
            step.state = StepState::Failed;
            step.failure = Some(failure);
            steps::write_step_logs(world, index, number);
            after_failure(world, index, number, at);
        }
    }
}

/// Honours a failed step's `ActionOnFailure`. A protected, kept-alive cluster waits instead of
/// terminating.
fn after_failure(world: &mut World, index: usize, number: usize, at: OffsetDateTime) {
    let cluster = &mut world.clusters[index];
    let action = cluster.steps[number].action_on_failure.as_str();
    let terminates = matches!(action, "TERMINATE_JOB_FLOW" | "TERMINATE_CLUSTER");
    let shielded = cluster.termination_protected && cluster.keep_alive;
    if terminates && !shielded {
        return terminate(world, index, at, "STEP_FAILURE", "Shut down as step failed", true);
    }
    if terminates || action == "CANCEL_AND_WAIT" {
        cancel_steps(world, index, at);
    }
    next_step(world, index, at);
}

fn cancel_steps(world: &mut World, index: usize, at: OffsetDateTime) {
    for step in &mut world.clusters[index].steps {
        match step.state {
            StepState::Running => {
                step.state = StepState::Cancelled;
                step.ended = Some(at);
            }
            StepState::Pending => step.state = StepState::Cancelled,
            StepState::Completed | StepState::Cancelled | StepState::Failed => {}
        }
    }
}

/// Starts a cluster's termination; unfinished steps are cancelled.
pub fn terminate(
    world: &mut World,
    index: usize,
    at: OffsetDateTime,
    code: &str,
    message: &str,
    failed: bool,
) {
    cancel_steps(world, index, at);
    let cluster = &mut world.clusters[index];
    cluster.state = ClusterState::Terminating;
    cluster.reason = Some((code.to_owned(), message.to_owned()));
    cluster.next = match cluster.fate.termination {
        Termination::Stuck if code == "USER_REQUEST" => None,
        _ => Some((at + seconds(cluster.timings.terminating), Next::End { failed })),
    };
}

/// Puts a new cluster into a later state, as if it had passed the earlier ones.
pub(crate) fn fast_forward(
    world: &mut World,
    index: usize,
    state: StartState,
    now: OffsetDateTime,
) {
    if state == StartState::Starting {
        world.clusters[index].next =
            Some((now + seconds(world.clusters[index].timings.starting), Next::Bootstrap));
        return;
    }
    happen(world, index, Next::Bootstrap, now);
    if state == StartState::Bootstrapping {
        return;
    }
    let cluster = &mut world.clusters[index];
    cluster.keep_alive |= state == StartState::Waiting;
    let early = cluster.timings.starting + cluster.timings.bootstrapping;
    cluster.ready = Some((cluster.created + seconds(early)).min(now));
    cluster.state = ClusterState::Running;
    cluster.next = None;
    next_step(world, index, now);
    if state == StartState::Running
        && let Some((_, next @ Next::StartStep(_))) = world.clusters[index].next
    {
        happen(world, index, next, now);
    }
}
