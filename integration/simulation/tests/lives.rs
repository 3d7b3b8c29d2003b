//! The simulation's clusters have the same life as those of the simulated AWS.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use emr_simulation::{
    model::{
        cluster::{Id, Launcher},
        emr::{Emr, Origin},
    },
    random::Random,
    scenario::{Ms, SECOND, Traits},
    watch::machine::{ownership::RunTag, state::State},
};
use emr_world::{
    clock::ClockMode,
    cluster::ClusterState,
    command::{Advance, Command, SetClock, StartCluster},
    fate::{NextCluster, StartState, Timings},
    simulation::Simulation,
};
use serde_json::json;

/// A life in whole seconds, the step of the simulated AWS.
fn traits(random: &mut Random) -> Traits {
    let count = random.between(1, 4);
    Traits {
        starting: random.between(1, 200) * SECOND,
        bootstrapping: random.between(1, 100) * SECOND,
        bootstrap_fails: random.chance(15),
        steps: (0..count).map(|_| random.between(1, 90) * SECOND).collect(),
        failing_step: random.chance(25).then_some(0),
        terminating: random.between(1, 60) * SECOND,
        instances: 0,
        defect: None,
        masked: false,
        protected: false,
        protected_again: false,
        list_lag: 0,
        stays: random.chance(30),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of one life")]
fn seconds(span: Ms) -> f64 {
    (span / SECOND) as f64
}

fn simulated_aws(traits: &Traits) -> Simulation {
    let mut aws = Simulation::new();
    aws.apply(Command::SetClock(SetClock { mode: ClockMode::Stepped, at: None })).unwrap();
    let steps = traits.steps.iter().enumerate();
    let timings = Timings {
        starting: seconds(traits.starting),
        bootstrapping: seconds(traits.bootstrapping),
        step_start: 5.0,
        step: 0.0,
        steps: steps
            .clone()
            .map(|(number, length)| (format!("step {number}"), seconds(*length)))
            .collect(),
        terminating: seconds(traits.terminating),
    };
    aws.apply(Command::SetNextCluster(NextCluster {
        bootstrap_failure: traits.bootstrap_fails,
        fail_step: traits.failing_step.map(|step| step + 1),
        timings: Some(timings),
        ..NextCluster::default()
    }))
    .unwrap();
    let steps: Vec<_> = steps
        .map(|(number, _)| {
            json!({
                "Name": format!("step {number}"),
                "ActionOnFailure": "TERMINATE_JOB_FLOW",
                "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]},
            })
        })
        .collect();
    let request = json!({
        "Instances": {"KeepJobFlowAliveWhenNoSteps": traits.stays},
        "Steps": steps,
    });
    let state = StartState::Starting;
    let start = StartCluster { state, request, ..StartCluster::default() };
    aws.apply(Command::StartCluster(start)).unwrap();
    aws
}

fn as_here(state: ClusterState) -> State {
    match state {
        ClusterState::Starting => State::Starting,
        ClusterState::Bootstrapping => State::Bootstrapping,
        ClusterState::Running => State::Running,
        ClusterState::Waiting => State::Waiting,
        ClusterState::Terminating => State::Terminating,
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => State::Over,
    }
}

#[test]
fn a_cluster_has_the_same_state_at_every_second_in_both_worlds() {
    let mut random = Random::new(1);
    for number in 0..60 {
        let traits = traits(&mut random);
        let mut aws = simulated_aws(&traits);
        let mut emr = Emr::default();
        let (launcher, tag) = (Launcher::Runner, RunTag::This);
        let origin = Origin { launcher, tag, job_name: true, matches: true };
        let id: Id = emr.create(0, origin, traits.clone());
        let cluster = emr.cluster(id).unwrap();
        for second in 1..700 {
            aws.apply(Command::Advance(Advance { seconds: 1.0 })).unwrap();
            let there = as_here(aws.world.clusters[0].state);
            let here = cluster.state(second * SECOND);
            assert_eq!(here, there, "life {number}, second {second}: {traits:?}");
        }
    }
}
