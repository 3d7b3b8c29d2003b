//! Terminates clusters in AWS: the requests, their responses, and the texts for people. The state
//! machine decides which cluster may be terminated, and the order of the requests.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{
    aws::clients::Aws,
    base::{
        aws_calls,
        lookup::{Lookup, LookupErrorKind},
        names::ClusterId,
        reason::Reason,
    },
    checks::fix::CommandContext,
    evidence::timeline::{GuardAction, Timeline},
    facts::emr::{self, ClusterFacts, ClusterState},
    settings::watch_options::{OnOrphan, OnStop, OnUnjudged, TerminationRules, WatchLimits},
    watch::machine::{
        conclusion::{EndResult, Obstacle},
        ending::{Ending, Move},
        event::{AwsAnswer, Described, Refusal, RefusalKind},
        ownership::{Evidence, Ownership, RunTag},
        plan::Rules,
        state::State,
        termination::Decision,
        time::{AwsTime, Moment},
    },
};

/// The settings, in the state machine's types.
pub(crate) fn rules(settings: TerminationRules) -> Rules {
    Rules {
        on_stop: settings.on_stop == OnStop::Terminate,
        on_orphan: settings.on_orphan == OnOrphan::Terminate,
        on_unjudged: settings.on_unjudged == OnUnjudged::Terminate,
        adopted: settings.adopted,
        attached: settings.attached,
        untagged: settings.untagged,
        account: false,
    }
}

/// The result of a termination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "End")]
pub enum TerminationResult {
    /// EMR reports that the cluster is over.
    Confirmed,
    /// It may still run; the text says what prevented its end.
    Unconfirmed(String),
}

impl TerminationResult {
    /// In words; `limit` is how long the end was awaited.
    pub(crate) fn of(end: &EndResult, limit: Duration) -> Self {
        let waited = humantime::format_duration(limit);
        match end {
            EndResult::Confirmed => Self::Confirmed,
            EndResult::Unconfirmed(Obstacle::NotFollowed) => {
                Self::Unconfirmed(said(&Obstacle::NotFollowed))
            }
            EndResult::Unconfirmed(obstacle @ Obstacle::NotPermitted(_)) => Self::Unconfirmed(
                format!("{}, and it was not terminated within {waited}", said(obstacle)),
            ),
            EndResult::Unconfirmed(obstacle) => {
                Self::Unconfirmed(format!("after {waited}: {}", said(obstacle)))
            }
        }
    }
}

/// An obstacle, in words.
pub(crate) fn said(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NotPermitted(whose) => not_permitted_reason(*whose).to_owned(),
        Obstacle::Said(text) => text.clone(),
        Obstacle::Accepted(state) => {
            format!("EMR accepted the termination, but the cluster is {}", name(*state))
        }
        Obstacle::Unknown => "EMR does not know it any more".to_owned(),
        Obstacle::Terminating => "still terminating".to_owned(),
        Obstacle::NotFollowed => "its termination was not followed to the end".to_owned(),
    }
}

/// Why the guard does not terminate a cluster itself.
pub(crate) fn not_permitted_reason(whose: Ownership) -> &'static str {
    match whose {
        Ownership::Ours | Ownership::NotOurs => "it is not this guard's to end",
        Ownership::Presumed => {
            "it has no run's tag, so that it can only be presumed to be this run's, and the guard \
             may not end it (setting `terminate_untagged`)"
        }
        Ownership::Adopted => {
            "it was there before the run, and the guard may not end it (setting \
             `terminate_adopted`)"
        }
        Ownership::Named => "the guard only watches it (setting `terminate_attached`)",
        Ownership::Account => "the sentinel's rule for it only alerts (setting `on_unsafe`)",
    }
}

/// A state, with EMR's name.
fn name(state: State) -> &'static str {
    match state {
        State::Starting => "STARTING",
        State::Bootstrapping => "BOOTSTRAPPING",
        State::Running => "RUNNING",
        State::Waiting => "WAITING",
        State::Terminating => "TERMINATING",
        State::Over => "TERMINATED",
        State::Unknown => "in a state that is not known",
    }
}

/// A state, in the state machine's type.
pub(crate) fn state(state: ClusterState) -> State {
    match state {
        ClusterState::Starting => State::Starting,
        ClusterState::Bootstrapping => State::Bootstrapping,
        ClusterState::Running => State::Running,
        ClusterState::Waiting => State::Waiting,
        ClusterState::Terminating => State::Terminating,
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => State::Over,
        ClusterState::Unknown => State::Unknown,
    }
}

/// A lookup, in the state machine's type.
pub(crate) fn answer<T, U>(lookup: &Lookup<T>, of: impl FnOnce(&T) -> U) -> AwsAnswer<U> {
    match lookup {
        Lookup::Found(found) => AwsAnswer::Found(of(found)),
        Lookup::Absent => AwsAnswer::Absent,
        Lookup::Denied(error) | Lookup::Unreachable(error) => AwsAnswer::Failed(error.to_string()),
    }
}

/// An AWS time, in the state machine's type.
pub(crate) fn aws_time(time: time::OffsetDateTime) -> AwsTime {
    AwsTime(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

/// EMR's response to a request, in the state machine's type.
pub(crate) fn refusal(answer: &Lookup<()>) -> Result<(), Refusal> {
    let (kind, error) = match answer {
        Lookup::Found(()) | Lookup::Absent => return Ok(()),
        Lookup::Denied(error) => (RefusalKind::Denied, error),
        Lookup::Unreachable(error) if error.kind == LookupErrorKind::Throttled => {
            (RefusalKind::Throttled, error)
        }
        Lookup::Unreachable(error) => (RefusalKind::Other, error),
    };
    Err(Refusal { kind, text: error.to_string() })
}

/// Sends TerminateJobFlows.
pub(crate) async fn request(aws: &Aws, cluster: &ClusterId, timeline: &Timeline) -> Lookup<()> {
    let result = aws.emr.terminate_job_flows().job_flow_ids(cluster.as_str()).send().await;
    let answer = Lookup::from_call(&aws_calls::TERMINATE_JOB_FLOWS, &[], result).map(drop);
    timeline.did(GuardAction::Terminate, cluster, &accepted(&answer));
    answer
}

/// Lifts termination protection.
pub(crate) async fn lift_protection(
    aws: &Aws,
    cluster: &ClusterId,
    timeline: &Timeline,
) -> Lookup<()> {
    let result = aws
        .emr
        .set_termination_protection()
        .job_flow_ids(cluster.as_str())
        .termination_protected(false)
        .send()
        .await;
    let answer = Lookup::from_call(&aws_calls::SET_TERMINATION_PROTECTION, &[], result).map(drop);
    timeline.did(GuardAction::LiftProtection, cluster, &accepted(&answer));
    answer
}

fn accepted(answer: &Lookup<()>) -> Result<(), String> {
    refusal(answer).map_err(|refusal| refusal.text)
}

/// The termination of one cluster outside a watch.
pub(crate) struct ClusterTermination<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) cluster: &'a ClusterId,
    pub(crate) whose: Ownership,
    /// It is known to have termination protection.
    pub(crate) protected: bool,
    pub(crate) limits: WatchLimits,
    /// Records the actions.
    pub(crate) timeline: &'a Timeline,
}

impl ClusterTermination<'_> {
    /// Performs the decision, and waits for the end. `help` is called when only a person can
    /// terminate it.
    pub(crate) async fn follow(
        &self,
        decision: Decision,
        help: &(dyn Fn(&str) + Sync),
    ) -> TerminationResult {
        let &Self { aws, cluster, whose, protected, limits, timeline } = self;
        let began = Instant::now();
        let now = || Moment(began.elapsed());
        let (interval, limit) = (limits.interval, limits.termination);
        let (mut ending, first) =
            Ending::begin(decision, whose, protected, now(), (interval, limit));
        let mut moves = std::collections::VecDeque::from(first);
        loop {
            let Some(next) = moves.pop_front() else {
                let Some(due) = ending.due() else { break };
                sleep_until(began + due.0).await;
                moves.extend(ending.woke(now()));
                continue;
            };
            match next {
                Move::Unprotect => {
                    let answer = lift_protection(aws, cluster, timeline).await;
                    moves.extend(ending.protection_answered(refusal(&answer)));
                }
                Move::Terminate => {
                    let answer = request(aws, cluster, timeline).await;
                    moves.extend(ending.termination_answered(refusal(&answer)));
                }
                Move::Look => {
                    let seen = emr::cluster(&aws.emr, cluster).await;
                    if let Some(facts) = seen.found() {
                        timeline.saw(cluster, &facts.status);
                    }
                    moves.extend(ending.looked(now(), &answer(&seen, described_state)));
                }
                Move::Help(obstacle) => help(&said(&obstacle)),
                // The reason for it does not change here.
                Move::LetLive => {}
                Move::Over(end) => {
                    let end = TerminationResult::of(&end, limit);
                    if decision == Decision::End {
                        note_end(timeline, cluster, &end);
                    }
                    return end;
                }
            }
        }
        TerminationResult::Unconfirmed(said(&Obstacle::NotFollowed))
    }
}

/// Records the result of a termination that the guard requested.
pub(super) fn note_end(timeline: &Timeline, cluster: &ClusterId, end: &TerminationResult) {
    let result = match end {
        TerminationResult::Confirmed => Ok(()),
        TerminationResult::Unconfirmed(obstacle) => Err(obstacle.clone()),
    };
    timeline.did(GuardAction::AwaitEnd, cluster, &result);
}

/// A cluster whose ownership is known.
fn described_state(facts: &ClusterFacts) -> Described {
    Described {
        state: state(facts.status.state),
        evidence: Evidence {
            tag: RunTag::None,
            created: aws_time(facts.status.created),
            matches_request: false,
            has_new_steps: false,
        },
        protected: facts.termination_protected,
        was_ready: facts.was_ready,
    }
}

/// What a person is asked to do about a cluster while the guard still tries or waits.
pub(crate) fn operator_instructions(
    id: &ClusterId,
    is_unsafe: bool,
    context: &CommandContext,
    obstacle: &str,
) -> Reason {
    let what = if is_unsafe { UNSAFE } else { "must end" };
    Reason::new(may_be_running(&id.to_string(), what))
        .end_now(manual_termination_commands(id, context))
        .detail(obstacle)
        .about(id)
}

/// The description of an unsafe cluster for [`may_be_running`].
pub(crate) const UNSAFE: &str = "is UNSAFE";

/// The description of a cluster whose run wrote unencrypted objects, if the policy counts that as
/// unsafe.
pub(crate) const WROTE: &str =
    "is UNSAFE, because the run wrote objects that are not encrypted as required,";

/// The first line about a cluster whose end was not observed.
pub(crate) fn may_be_running(cluster: &str, what: &str) -> String {
    format!("cluster {cluster} {what} and MAY STILL BE RUNNING")
}

/// Shell commands that terminate a cluster. They lift termination protection first: this changes
/// nothing where there is none, and if it is refused the second command is sent anyway.
pub(crate) fn manual_termination_commands(id: &ClusterId, context: &CommandContext) -> String {
    let options = context.options("emr");
    format!(
        "aws emr modify-cluster-attributes{options} --cluster-id {id} --no-termination-protected; \
         aws emr terminate-clusters{options} --cluster-ids {id}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::lookup::LookupError,
        settings::resolve::{Options, Settings},
        watch::machine::{
            ownership::ownership,
            plan::Standing,
            termination::{EndReason as Why, decide},
        },
    };

    #[test]
    fn the_commands_lift_protection_first_and_name_region_and_profile_as_words_of_a_shell() {
        let id = "j-1".parse().unwrap();
        let region = CommandContext::in_region;
        assert_eq!(
            manual_termination_commands(&id, &region("eu-west-1")),
            "aws emr modify-cluster-attributes --region eu-west-1 --cluster-id j-1 \
             --no-termination-protected; aws emr terminate-clusters --region eu-west-1 \
             --cluster-ids j-1"
        );
        let odd = manual_termination_commands(&id, &region("eu'; reboot"));
        assert_eq!(odd.matches(r"--region 'eu'\''; reboot' ").count(), 2, "{odd}");
        let unknown = manual_termination_commands(&id, &CommandContext::default());
        assert!(!unknown.contains("--region") && !unknown.contains("--profile"), "{unknown}");
        let profile = Some("night run".to_owned());
        let of_profile = CommandContext { profile, ..region("eu-west-1") };
        let with = manual_termination_commands(&id, &of_profile);
        assert_eq!(with.matches(" --region eu-west-1 --profile 'night run' ").count(), 2, "{with}");
    }

    const WHOSE: [(Ownership, &str); 6] = [
        (Ownership::Ours, "ours: it has the run's tag"),
        (Ownership::Presumed, "presumed: no tag, but as the run would request it"),
        (Ownership::Adopted, "adopted: there before, used by the runner"),
        (Ownership::Named, "named to `watch`"),
        (Ownership::Account, "in the account of a sentinel"),
        (Ownership::NotOurs, "any other"),
    ];
    const WHY: [(Why, &str); 5] = [
        (Why::Unsafe, "unsafe"),
        (Why::Unjudged, "not judged within `judge_within`"),
        (Why::Wrote, "wrote unencrypted objects (`on_unencrypted: unsafe`)"),
        (Why::Stopped, "not unsafe, the guard is stopped"),
        (Why::Orphaned, "verified, nothing waits for it"),
    ];

    fn every_rule() -> impl Iterator<Item = Rules> {
        let bit = |bits: u8, at: u8| bits >> at & 1 == 1;
        (0..128).map(move |bits| Rules {
            on_stop: bit(bits, 0),
            on_orphan: bit(bits, 1),
            on_unjudged: bit(bits, 2),
            adopted: bit(bits, 3),
            attached: bit(bits, 4),
            untagged: bit(bits, 5),
            account: bit(bits, 6),
        })
    }

    type Setting = (&'static str, fn(&mut Rules));

    /// A cell of the table in docs/ownership.md: the default decision, and the settings that change
    /// it.
    fn cell(whose: Ownership, why: Why) -> String {
        let name = |decision| match decision {
            Decision::End => "ends",
            Decision::Ask => "a person is asked: 71",
            Decision::Leave => "goes on",
        };
        let settings: [Setting; 9] = [
            ("`on_stop: terminate`", |rules| rules.on_stop = true),
            ("`on_orphan: terminate`", |rules| rules.on_orphan = true),
            ("`on_unjudged: alert`", |rules| rules.on_unjudged = false),
            ("`terminate_adopted: false`", |rules| rules.adopted = false),
            ("`terminate_attached: true`", |rules| rules.attached = true),
            ("`terminate_untagged: true`", |rules| rules.untagged = true),
            ("`on_unsafe: terminate`", |rules| rules.account = true),
            ("`terminate_untagged: true` with `on_stop: terminate`", |rules| {
                (rules.untagged, rules.on_stop) = (true, true);
            }),
            ("`terminate_untagged: true` with `on_orphan: terminate`", |rules| {
                (rules.untagged, rules.on_orphan) = (true, true);
            }),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        let settled = Settings::resolve(Options::default(), Some(file.path())).unwrap();
        let default = rules(settled.termination);
        let by_default = decide(whose, why, true, default);
        let mut told = String::new();
        for (text, set) in settings {
            let mut changed = default;
            set(&mut changed);
            let decision = decide(whose, why, true, changed);
            // Two settings are listed only where one alone changes nothing.
            let alone = told.contains("terminate_untagged: true`:") || told.contains("`on_");
            if decision != by_default && !(text.contains("with") && alone) {
                told.extend(["; ", text, ": ", name(decision)]);
            }
        }
        format!("{}{told}", name(by_default))
    }

    #[test]
    fn the_docs_show_the_table_of_who_may_be_terminated() {
        let heads: Vec<&str> = WHOSE.iter().map(|(_, text)| *text).collect();
        let row = |(why, text): (Why, &str)| {
            let cells: Vec<String> = WHOSE.iter().map(|(whose, _)| cell(*whose, why)).collect();
            format!("| {text} | {} |\n", cells.join(" | "))
        };
        let table = format!(
            "| a cluster that is | {} |\n|---|---|---|---|---|---|---|\n{}",
            heads.join(" | "),
            WHY.map(row).concat()
        );
        assert!(
            include_str!("../../docs/ownership.md").contains(&table),
            "docs/ownership.md should hold this table:\n{table}"
        );
    }

    #[test]
    fn the_docs_show_the_table_of_ownership() {
        let plan = crate::watch::driver::plan_for_tests();
        let case = |tag, (named, earlier, adoptable), (matches_request, created)| {
            let created = AwsTime(created);
            let evidence = Evidence { tag, created, matches_request, has_new_steps: false };
            let standing = Standing { named, earlier, adoptable };
            ownership(&evidence, standing, plan.until, &plan)
        };
        // Cases within the run's time, which is from 1000 to 2000.
        let (fresh, used, left) =
            ((false, false, false), (false, true, true), (false, true, false));
        let tags = [RunTag::This, RunTag::Other, RunTag::None];
        for tag in tags {
            for request in [(true, 1500), (false, 1500), (true, 500), (true, 2500)] {
                for standing in [(true, false, false), (true, true, false), (true, true, true)] {
                    assert_eq!(case(tag, standing, request), Ownership::Named);
                }
                let (is_ours, others) = (tag == RunTag::This, |whose| {
                    if tag == RunTag::This { Ownership::Ours } else { whose }
                });
                assert_eq!(case(tag, used, request), others(Ownership::Adopted));
                assert_eq!(case(tag, left, request), others(Ownership::NotOurs));
                let presumed = tag == RunTag::None && request == (true, 1500);
                let whose = if presumed { Ownership::Presumed } else { Ownership::NotOurs };
                assert_eq!(case(tag, fresh, request), others(whose), "{is_ours} {request:?}");
            }
        }
        let docs = include_str!("../../docs/ownership.md");
        let code = include_str!("machine/ownership.rs");
        let rows: Vec<&str> = code.lines().filter_map(|line| line.strip_prefix("/// | ")).collect();
        assert_eq!(rows.len(), 8);
        let docs: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("| ")).collect();
        // The header rows differ in one name.
        assert_eq!(rows[1..], docs[1..rows.len()]);
    }

    #[test]
    fn an_unsafe_cluster_is_never_left_alone_and_one_of_others_never_ended_unasked() {
        for rules in every_rule() {
            let ended = |whose, why| decide(whose, why, true, rules) == Decision::End;
            for (whose, _) in WHOSE {
                for why in [Why::Unsafe, Why::Wrote] {
                    let left = decide(whose, why, true, rules) == Decision::Leave;
                    assert_eq!(left, whose == Ownership::NotOurs, "{whose:?} {why:?} {rules:?}");
                }
                for why in [Why::Unjudged, Why::Stopped, Why::Orphaned] {
                    let asked = decide(whose, why, true, rules) == Decision::Ask;
                    assert!(!asked, "what is not known to be unsafe needs no person");
                }
            }
            for (why, _) in WHY {
                assert!(!ended(Ownership::NotOurs, why), "{why:?} {rules:?}");
                assert!(!ended(Ownership::Adopted, why) || rules.adopted, "{why:?} {rules:?}");
                assert!(!ended(Ownership::Named, why) || rules.attached, "{why:?} {rules:?}");
                assert!(!ended(Ownership::Account, why) || rules.account, "{why:?} {rules:?}");
                assert!(!ended(Ownership::Presumed, why) || rules.untagged, "{why:?} {rules:?}");
                let unused = decide(Ownership::Adopted, why, false, rules);
                assert_ne!(unused, Decision::End, "the run put no step on it: {why:?} {rules:?}");
            }
            let others =
                [Ownership::Presumed, Ownership::Adopted, Ownership::Named, Ownership::Account];
            for whose in others {
                assert!(!ended(whose, Why::Unjudged), "what was not seen ends no {whose:?}");
            }
            for why in [Why::Unsafe, Why::Wrote] {
                assert!(ended(Ownership::Ours, why));
            }
            assert_eq!(ended(Ownership::Ours, Why::Unjudged), rules.on_unjudged);
            assert_eq!(ended(Ownership::Ours, Why::Stopped), rules.on_stop);
            assert_eq!(ended(Ownership::Ours, Why::Orphaned), rules.on_orphan);
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_kind_whatever_its_message_says() {
        let kind = |answer: &Lookup<()>| refusal(answer).err().map(|refusal| refusal.kind);
        let unreachable =
            |kind, message: &str| Lookup::Unreachable(LookupError::new("x", kind, message));
        // EMR's response for a cluster with termination protection.
        let protected = "ValidationException: Could not shut down one or more job flows since \
            they are termination protected.";
        let other = Some(RefusalKind::Other);
        assert_eq!(kind(&unreachable(LookupErrorKind::Other, protected)), other);
        assert_eq!(
            kind(&unreachable(LookupErrorKind::Other, "ThrottlingException: not so")),
            other
        );
        assert_eq!(
            kind(&unreachable(LookupErrorKind::Throttled, protected)),
            Some(RefusalKind::Throttled)
        );
        assert_eq!(kind(&unreachable(LookupErrorKind::TimedOut, "no answer")), other);
        assert_eq!(
            kind(&Lookup::Denied(LookupError::new("x", LookupErrorKind::Denied, protected))),
            Some(RefusalKind::Denied)
        );
        assert_eq!(kind(&Lookup::Found(())), None);
    }
}
