//! Ending clusters: who may be ended, in which order the requests go, and what is done about one
//! that is refused. The end counts when EMR confirms it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    aws::clients::Aws,
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::ClusterId,
        reason::Reason,
        text::shell_word,
    },
    evidence::timeline::{GuardAction, Timeline},
    facts::emr,
    settings::watch_options::{OnOrphan, OnStop, TerminationRules},
    watch::ownership::Ownership,
};

/// Why a cluster should be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminationReason {
    /// It is not what was verified, or could not be judged for too long.
    Unsafe,
    /// Nobody could judge it yet, and nobody will watch it any more.
    Unjudged,
    /// It wrote what is not encrypted as required, and by policy that makes it unsafe.
    Wrote,
    /// It is what was verified, and the guard was told to stop.
    Stopped,
    /// It is what was verified, and goes on although nobody waits for it.
    Orphaned,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminationDecision {
    /// It is terminated.
    End,
    /// A person must end it: it is only looked at until it is over.
    Ask,
    /// It goes on.
    Leave,
}

/// The table of who may be ended. README.md shows it.
pub(crate) fn decide(
    whose: Ownership,
    why: TerminationReason,
    rules: TerminationRules,
) -> TerminationDecision {
    let end_if = |allowed, otherwise| if allowed { TerminationDecision::End } else { otherwise };
    match (whose, why) {
        (
            Ownership::Run,
            TerminationReason::Unsafe | TerminationReason::Unjudged | TerminationReason::Wrote,
        ) => TerminationDecision::End,
        (Ownership::Run, TerminationReason::Stopped) => {
            end_if(rules.on_stop == OnStop::Terminate, TerminationDecision::Leave)
        }
        (Ownership::Run, TerminationReason::Orphaned) => {
            end_if(rules.on_orphan == OnOrphan::Terminate, TerminationDecision::Leave)
        }
        (
            Ownership::Adopted,
            TerminationReason::Unsafe | TerminationReason::Unjudged | TerminationReason::Wrote,
        ) => end_if(rules.adopted, TerminationDecision::Ask),
        (Ownership::Attached, TerminationReason::Unsafe | TerminationReason::Wrote) => {
            end_if(rules.attached, TerminationDecision::Ask)
        }
        // Whoever ends a watch on a cluster of theirs does not thereby end the cluster.
        (Ownership::Attached, TerminationReason::Unjudged) => TerminationDecision::Leave,
        // Others work with it: that this run is over is no reason to end it.
        (
            Ownership::Adopted | Ownership::Attached,
            TerminationReason::Stopped | TerminationReason::Orphaned,
        ) => TerminationDecision::Leave,
    }
}

/// How a termination went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "End")]
pub enum TerminationResult {
    /// EMR says that the cluster is over.
    Confirmed,
    /// It may still run; the text says what stood in the way.
    Unconfirmed(String),
}

/// How EMR refuses to terminate a cluster, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Throttled,
    Denied,
    Other,
}

/// What comes after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Protection is lifted, and the request sent again at once.
    Lift,
    /// The request is sent again after the pause, which grows.
    Again,
    /// A person is told at once; the request is sent again all the same, for they may give the
    /// permission.
    Help,
}

/// The table of refusals; `lifted` is whether protection was lifted already, with success.
fn after(refusal: Refusal, lifted: bool) -> Next {
    match (refusal, lifted) {
        // EMR has no error code of its own for a cluster under termination protection: protection
        // is lifted whatever it was.
        (Refusal::Other, false) => Next::Lift,
        // Somebody sets it again and again, or it is something else: both take time.
        (Refusal::Other, true) => Next::Again,
        (Refusal::Throttled, _) => Next::Again,
        (Refusal::Denied, _) => Next::Help,
    }
}

fn refusal<T>(answer: &Lookup<T>) -> Option<(Refusal, &LookupError)> {
    match answer {
        Lookup::Found(_) | Lookup::Absent => None,
        Lookup::Denied(error) => Some((Refusal::Denied, error)),
        Lookup::Unreachable(error) if error.kind == LookupErrorKind::Throttled => {
            Some((Refusal::Throttled, error))
        }
        Lookup::Unreachable(error) => Some((Refusal::Other, error)),
    }
}

/// The longest pause between two looks at a cluster that should end: so that they fit EMR's quotas.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The end of one cluster, and how it is brought about.
pub(crate) struct ClusterTermination<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) cluster: &'a ClusterId,
    pub(crate) whose: Ownership,
    /// It is known to have termination protection.
    pub(crate) protected: bool,
    /// Looks for the end are so far apart at first, doubling up to [`LONGEST_PAUSE`].
    pub(crate) pace: Duration,
    /// The end is waited for so long.
    pub(crate) limit: Duration,
    /// Gets what is done.
    pub(crate) timeline: &'a Timeline,
}

impl ClusterTermination<'_> {
    /// Does what was decided, and waits for the end. `help` is called once, when only a person can
    /// bring it about.
    pub(crate) async fn follow(
        &self,
        decision: TerminationDecision,
        help: &(dyn Fn(&str) + Sync),
    ) -> TerminationResult {
        match decision {
            TerminationDecision::End => {
                let end = self.terminate(help).await;
                let result = match &end {
                    TerminationResult::Confirmed => Ok(()),
                    TerminationResult::Unconfirmed(obstacle) => Err(obstacle.clone()),
                };
                self.timeline.did(GuardAction::AwaitEnd, self.cluster, &result);
                end
            }
            TerminationDecision::Ask | TerminationDecision::Leave => {
                let why = not_permitted_reason(self.whose);
                help(why);
                self.await_end(why).await
            }
        }
    }

    /// Terminates it. The request goes out first, since every second counts; protection is lifted
    /// when the cluster is known to have it, or when EMR refuses.
    async fn terminate(&self, help: &(dyn Fn(&str) + Sync)) -> TerminationResult {
        let &Self { aws, cluster, protected, pace, limit, timeline, .. } = self;
        let deadline = Instant::now() + limit;
        let (mut pause, mut accepted, mut helped) = (pace, false, false);
        let (mut lift, mut lifted, mut at_once) = (protected, false, true);
        let mut obstacle = String::new();
        loop {
            if !accepted {
                if lift {
                    let answer = lift_protection(aws, cluster, timeline).await;
                    lifted = answer.found().is_some();
                    if let Some((_, why)) = refusal(&answer) {
                        obstacle = why.to_string();
                    }
                }
                let answer = request(aws, cluster, timeline).await;
                accepted = answer.found().is_some();
                if let Some((refusal, why)) = refusal(&answer) {
                    obstacle = why.to_string();
                    tracing::debug!(%cluster, obstacle, "termination refused");
                    match after(refusal, lifted) {
                        Next::Lift => {
                            lift = true;
                            // Once: where lifting does not help, or is refused, the pauses hold.
                            if std::mem::take(&mut at_once) {
                                continue;
                            }
                        }
                        Next::Help if !std::mem::replace(&mut helped, true) => help(&obstacle),
                        Next::Help | Next::Again => {}
                    }
                }
            }
            let seen = emr::cluster(&aws.emr, cluster).await;
            if let Some(facts) = seen.found() {
                timeline.saw(cluster, &facts.status);
            }
            match seen {
                Lookup::Found(facts) if facts.status.state.is_over() => {
                    return TerminationResult::Confirmed;
                }
                // Somebody may lift or set protection meanwhile; EMR having accepted once is no
                // promise.
                Lookup::Found(facts)
                    if accepted && facts.status.state != emr::ClusterState::Terminating =>
                {
                    obstacle = format!(
                        "EMR accepted the termination, but the cluster is {}",
                        facts.status.state
                    );
                    accepted = false;
                }
                Lookup::Found(facts) => {
                    tracing::debug!(%cluster, state = %facts.status.state, "not over yet");
                }
                Lookup::Absent => obstacle = "EMR does not know it any more".to_owned(),
                Lookup::Denied(reason) | Lookup::Unreachable(reason) => {
                    obstacle = reason.to_string();
                }
            }
            if Instant::now() + pause > deadline {
                let waited = humantime::format_duration(limit);
                let obstacle =
                    if obstacle.is_empty() { "still terminating".to_owned() } else { obstacle };
                return TerminationResult::Unconfirmed(format!("after {waited}: {obstacle}"));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits for the end that only a person may bring about.
    async fn await_end(&self, why: &str) -> TerminationResult {
        let deadline = Instant::now() + self.limit;
        let mut pause = self.pace;
        loop {
            if emr::cluster(&self.aws.emr, self.cluster)
                .await
                .found()
                .is_some_and(|facts| facts.status.state.is_over())
            {
                return TerminationResult::Confirmed;
            }
            if Instant::now() + pause > deadline {
                return TerminationResult::Unconfirmed(format!(
                    "{why}, and nobody ended it within {}",
                    humantime::format_duration(self.limit)
                ));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Why the guard does not end a cluster by itself.
pub(crate) fn not_permitted_reason(whose: Ownership) -> &'static str {
    match whose {
        Ownership::Run => "it is not this guard's to end",
        Ownership::Adopted => {
            "it was there before the run, and the guard may not end it (setting `terminate_adopted`)"
        }
        Ownership::Attached => "the guard only watches it (setting `terminate_attached`)",
    }
}

async fn request(aws: &Aws, cluster: &ClusterId, timeline: &Timeline) -> Lookup<()> {
    let result = aws.emr.terminate_job_flows().job_flow_ids(cluster.as_str()).send().await;
    let answer = Lookup::from_call(&aws_calls::TERMINATE_JOB_FLOWS, &[], result).map(drop);
    timeline.did(GuardAction::Terminate, cluster, &accepted(&answer));
    answer
}

async fn lift_protection(aws: &Aws, cluster: &ClusterId, timeline: &Timeline) -> Lookup<()> {
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

/// What EMR said to a request, or what stood in its way.
fn accepted(answer: &Lookup<()>) -> Result<(), String> {
    refusal(answer).map_or(Ok(()), |(_, why)| Err(why.to_string()))
}

/// What a person is asked to do about a cluster, while the guard still tries or waits.
pub(crate) fn operator_instructions(
    id: &ClusterId,
    is_unsafe: bool,
    region: Option<&str>,
    obstacle: &str,
) -> Reason {
    let what = if is_unsafe { UNSAFE } else { "must end" };
    Reason::new(may_be_running(&id.to_string(), what))
        .end_now(manual_termination_commands(id, region))
        .detail(obstacle)
        .about(id)
}

/// What an unsafe cluster is, for [`may_be_running`].
pub(crate) const UNSAFE: &str = "is UNSAFE";

/// What a cluster is whose run wrote unencrypted objects, where the policy counts that as unsafe.
pub(crate) const WROTE: &str =
    "is UNSAFE, because the run wrote objects that are not encrypted as required,";

/// What everybody must know first about a cluster of which nobody has seen the end.
pub(crate) fn may_be_running(cluster: &str, what: &str) -> String {
    format!("cluster {cluster} {what} and MAY STILL BE RUNNING")
}

/// The commands that end a cluster, as a person can paste them into a shell. Termination protection
/// is lifted first: that changes nothing where there is none, and where it is refused the second
/// command is sent all the same.
pub(crate) fn manual_termination_commands(id: &ClusterId, region: Option<&str>) -> String {
    let region =
        region.map_or_else(String::new, |region| format!(" --region {}", shell_word(region)));
    format!(
        "aws emr modify-cluster-attributes{region} --cluster-id {id} --no-termination-protected; aws emr terminate-clusters{region} --cluster-ids {id}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::resolve::{Options, Settings};

    #[test]
    fn the_commands_lift_protection_first_and_name_the_region_as_one_word_of_a_shell() {
        let id = "j-1".parse().unwrap();
        assert_eq!(
            manual_termination_commands(&id, Some("eu-west-1")),
            "aws emr modify-cluster-attributes --region eu-west-1 --cluster-id j-1 --no-termination-protected; aws emr terminate-clusters --region eu-west-1 --cluster-ids j-1"
        );
        let odd = manual_termination_commands(&id, Some("eu'; reboot"));
        assert_eq!(odd.matches(r"--region 'eu'\''; reboot' ").count(), 2, "{odd}");
        assert!(!manual_termination_commands(&id, None).contains("--region"));
    }

    const WHOSE: [(Ownership, &str); 3] = [
        (Ownership::Run, "started by this run"),
        (Ownership::Adopted, "there before, used by the runner"),
        (Ownership::Attached, "named to `watch`"),
    ];
    const WHY: [(TerminationReason, &str); 5] = [
        (TerminationReason::Unsafe, "unsafe"),
        (TerminationReason::Unjudged, "not judged, and nobody watches any more"),
        (TerminationReason::Wrote, "wrote unencrypted objects (`on_unencrypted: unsafe`)"),
        (TerminationReason::Stopped, "verified, the guard is stopped"),
        (TerminationReason::Orphaned, "verified, nobody waits for it"),
    ];

    fn every_rule() -> impl Iterator<Item = TerminationRules> {
        let bit = |bits: u8, at: u8| bits >> at & 1 == 1;
        (0..16).map(move |bits| TerminationRules {
            on_stop: if bit(bits, 0) { OnStop::Terminate } else { OnStop::Leave },
            on_orphan: if bit(bits, 1) { OnOrphan::Terminate } else { OnOrphan::Leave },
            adopted: bit(bits, 2),
            attached: bit(bits, 3),
        })
    }

    type Setting = (&'static str, fn(&mut TerminationRules));

    /// A cell of the table in README.md: what is decided by default, and which setting turns it
    /// into what.
    fn cell(whose: Ownership, why: TerminationReason) -> String {
        let name = |decision| match decision {
            TerminationDecision::End => "ends",
            TerminationDecision::Ask => "a person is asked: 71",
            TerminationDecision::Leave => "goes on",
        };
        let settings: [Setting; 4] = [
            ("`on_stop: terminate`", |rules| rules.on_stop = OnStop::Terminate),
            ("`on_orphan: terminate`", |rules| rules.on_orphan = OnOrphan::Terminate),
            ("`terminate_adopted: false`", |rules| rules.adopted = false),
            ("`terminate_attached: true`", |rules| rules.attached = true),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        let default = Settings::resolve(Options::default(), Some(file.path())).unwrap().termination;
        let by_default = decide(whose, why, default);
        let others = settings.iter().filter_map(|(text, set)| {
            let mut rules = default;
            set(&mut rules);
            let decision = decide(whose, why, rules);
            (decision != by_default).then(|| format!("; {text}: {}", name(decision)))
        });
        format!("{}{}", name(by_default), others.collect::<String>())
    }

    #[test]
    fn the_readme_shows_the_table_of_who_may_be_ended() {
        let heads: Vec<&str> = WHOSE.iter().map(|(_, text)| *text).collect();
        let row = |(why, text): (TerminationReason, &str)| {
            let cells: Vec<String> = WHOSE.iter().map(|(whose, _)| cell(*whose, why)).collect();
            format!("| {text} | {} |\n", cells.join(" | "))
        };
        let table = format!(
            "| a cluster that is | {} |\n|---|---|---|---|\n{}",
            heads.join(" | "),
            WHY.map(row).concat()
        );
        assert!(
            include_str!("../../README.md").contains(&table),
            "README.md should hold this table:\n{table}"
        );
    }

    #[test]
    fn an_unsafe_cluster_is_never_left_alone_and_one_of_others_never_ended_unasked() {
        for rules in every_rule() {
            for (whose, _) in WHOSE {
                for why in [TerminationReason::Unsafe, TerminationReason::Wrote] {
                    assert_ne!(
                        decide(whose, why, rules),
                        TerminationDecision::Leave,
                        "{whose:?} {why:?} {rules:?}"
                    );
                }
                for why in [TerminationReason::Stopped, TerminationReason::Orphaned] {
                    assert_ne!(
                        decide(whose, why, rules),
                        TerminationDecision::Ask,
                        "what is well needs no person"
                    );
                }
            }
            for (why, _) in WHY {
                let ended = |whose| decide(whose, why, rules) == TerminationDecision::End;
                assert!(!ended(Ownership::Adopted) || rules.adopted, "{why:?} {rules:?}");
                assert!(!ended(Ownership::Attached) || rules.attached, "{why:?} {rules:?}");
            }
            for why in
                [TerminationReason::Unsafe, TerminationReason::Unjudged, TerminationReason::Wrote]
            {
                assert_eq!(decide(Ownership::Run, why, rules), TerminationDecision::End);
            }
            assert_eq!(
                decide(Ownership::Run, TerminationReason::Stopped, rules)
                    == TerminationDecision::End,
                rules.on_stop == OnStop::Terminate
            );
            assert_eq!(
                decide(Ownership::Run, TerminationReason::Orphaned, rules)
                    == TerminationDecision::End,
                rules.on_orphan == OnOrphan::Terminate
            );
            assert_eq!(
                decide(Ownership::Attached, TerminationReason::Unjudged, rules),
                TerminationDecision::Leave
            );
        }
    }

    #[test]
    fn every_refusal_has_its_answer() {
        use crate::watch::terminate::Next::{Again, Help, Lift};
        use crate::watch::terminate::Refusal::{Denied, Other, Throttled};
        for (refusal, before, lifted) in
            [(Other, Lift, Again), (Throttled, Again, Again), (Denied, Help, Help)]
        {
            assert_eq!(
                (after(refusal, false), after(refusal, true)),
                (before, lifted),
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_kind_whatever_its_message_says() {
        use crate::watch::terminate::Next::{Again, Help, Lift};
        let next = |answer: &Lookup<()>| refusal(answer).map(|(refusal, _)| after(refusal, false));
        let unreachable =
            |kind, message: &str| Lookup::Unreachable(LookupError::new("x", kind, message));
        // What EMR answers for a cluster under termination protection.
        let protected = "ValidationException: Could not shut down one or more job flows since they are termination protected.";
        assert_eq!(next(&unreachable(LookupErrorKind::Other, protected)), Some(Lift));
        assert_eq!(
            next(&unreachable(LookupErrorKind::Other, "ThrottlingException: not so")),
            Some(Lift)
        );
        assert_eq!(next(&unreachable(LookupErrorKind::Throttled, protected)), Some(Again));
        assert_eq!(
            next(&unreachable(LookupErrorKind::TimedOut, "no answer within the time limit")),
            Some(Lift)
        );
        assert_eq!(
            next(&Lookup::Denied(LookupError::new("x", LookupErrorKind::Denied, protected))),
            Some(Help)
        );
        assert_eq!(next(&Lookup::Found(())), None);
    }
}
