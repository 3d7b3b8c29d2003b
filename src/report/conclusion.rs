//! The conclusion of a report: a title and one sentence, for readers who read nothing else.

pub(super) use crate::base::text::counted;
use crate::report::document::{
    CallToAct, RecordedFinding, RecordedLevel, RecordedOutcome, RecordedStatus, RecordedVerdict,
    RunReport,
};

/// The tone of a conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// All that was required has passed.
    Good,
    /// Something required failed or is unknown.
    Bad,
    /// It is unknown.
    Unsure,
    /// The run ended in a way that says nothing about its encryption.
    Plain,
}

/// A title and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    pub(super) tone: Tone,
    pub(super) title: &'static str,
    pub(super) sentence: String,
}

impl Conclusion {
    fn new(tone: Tone, title: &'static str, sentence: impl Into<String>) -> Self {
        Self { tone, title, sentence: sentence.into() }
    }

    pub(super) fn of(document: &RunReport) -> Self {
        let failed = || {
            let failed =
                open_required(document).filter(|finding| finding.status == RecordedStatus::Failed);
            counted(failed.count(), "required check")
        };
        let open = || {
            let open = open_required(document).count();
            format!("{} {}", counted(open, "required check"), is(open))
        };
        match (document.verdict, document.outcome) {
            (_, RecordedOutcome::UnsafeClusterAlive) => Self::new(
                Tone::Bad,
                "Act now",
                format!("An unsafe cluster may still be running: {}.", alive(document)),
            ),
            (_, RecordedOutcome::UnsafeClusterTerminated)
                if document.clusters().iter().any(|cluster| cluster.is_unsafe) =>
            {
                Self::new(
                    Tone::Bad,
                    "Unsafe cluster ended",
                    "A cluster of this run was not what was verified before the launch. It is \
                     over, and its end is confirmed; what it wrote until then is suspect.",
                )
            }
            (_, RecordedOutcome::UnsafeClusterTerminated) => Self::new(
                Tone::Bad,
                "Unsafe run ended",
                "The run wrote objects that are not encrypted as required, which the policy \
                 counts as unsafe. Its clusters are over.",
            ),
            (_, RecordedOutcome::Unconfirmed) => {
                let open = open_required(document).count();
                let why = if open == 0 {
                    "what it did is unknown".to_owned()
                } else {
                    format!("{} open", counted(open, "required check"))
                };
                let tone = if open_required(document)
                    .any(|finding| finding.status == RecordedStatus::Failed)
                {
                    Tone::Bad
                } else {
                    Tone::Unsure
                };
                Self::new(
                    tone,
                    "Not confirmed",
                    format!("The run ended, but its encryption could not be confirmed: {why}."),
                )
            }
            (Some(RecordedVerdict::RefuseFailed), _) => Self::new(
                Tone::Bad,
                "Refused",
                format!(
                    "Nothing was launched, because encryption is not as required: {} failed.",
                    failed()
                ),
            ),
            (Some(RecordedVerdict::RefuseUnknown), _) => Self::new(
                Tone::Unsure,
                "Refused",
                format!(
                    "Nothing was launched, because facts could not be established: {} open.",
                    open()
                ),
            ),
            (_, outcome) if document.command == "check" => checked(document, outcome),
            (Some(RecordedVerdict::Launch), outcome) => ended(document, outcome),
            (None, outcome) => closed(document, outcome),
        }
    }
}

/// The conclusion of a check without objections.
fn checked(document: &RunReport, outcome: RecordedOutcome) -> Conclusion {
    match outcome {
        RecordedOutcome::Ended(0) if document.only => Conclusion::new(
            Tone::Good,
            "What was asked for holds",
            "Only some checks were asked for. They hold; nothing is said of the others.",
        ),
        RecordedOutcome::Ended(0) => Conclusion::new(
            Tone::Good,
            "Would launch",
            format!(
                "Everything that is required has passed{}, as far as it can be checked before a \
                 launch. Nothing was launched.{}",
                except_excepted(document),
                not_enforced(document).map_or_else(String::new, |why| format!(
                    " A run would not be enforced: {why}."
                ))
            ),
        ),
        other => Conclusion::new(
            Tone::Unsure,
            "No verdict",
            format!("The check ended too early: {}.", in_words(other)),
        ),
    }
}

/// The conclusion of a launched run whose outcome is not overridden.
fn ended(document: &RunReport, outcome: RecordedOutcome) -> Conclusion {
    if let Some(why) = not_enforced(document)
        && matches!(
            outcome,
            RecordedOutcome::Ended(_)
                | RecordedOutcome::Signalled(_)
                | RecordedOutcome::Undelivered
        )
    {
        let end = in_words(outcome);
        return Conclusion::new(
            Tone::Unsure,
            NOT_ENFORCED,
            format!("{}, but {why}.", capitalised(&end)),
        );
    }
    match outcome {
        RecordedOutcome::Ended(0) => {
            let objects: u64 =
                document.written.iter().map(|written| written.survey.looked_at).sum();
            let seen = if objects == 0 {
                String::new()
            } else {
                format!(
                    ", and on {} that it wrote",
                    counted(usize::try_from(objects).unwrap_or(usize::MAX), "object")
                )
            };
            let clusters = document.clusters().len();
            let on = if clusters == 0 {
                String::new()
            } else {
                format!(", on {}", counted(clusters, "cluster"))
            };
            Conclusion::new(
                Tone::Good,
                "Encryption confirmed",
                format!(
                    "The run did its work, and everything that is required has passed{}: before \
                     the launch{on}{seen}.",
                    except_excepted(document)
                ),
            )
        }
        RecordedOutcome::Ended(_)
        | RecordedOutcome::Signalled(_)
        | RecordedOutcome::Undelivered => Conclusion::new(
            Tone::Plain,
            "The run did not finish",
            format!(
                "Everything that is required has passed, and nothing since contradicts it; but {}.",
                in_words(outcome)
            ),
        ),
        other => Conclusion::new(
            Tone::Unsure,
            "Not launched",
            format!("Nothing was launched: {}.", in_words(other)),
        ),
    }
}

/// The conclusion of a run of which only the clusters were watched: an earlier guard left it open,
/// or no guard launched it.
fn closed(document: &RunReport, outcome: RecordedOutcome) -> Conclusion {
    let clusters = counted(document.clusters().len(), "cluster");
    if let Some(why) = not_enforced(document)
        && outcome == RecordedOutcome::Ended(0)
    {
        let sentence = format!("{clusters} looked at, but {why}.");
        return Conclusion::new(Tone::Unsure, NOT_ENFORCED, sentence);
    }
    match outcome {
        RecordedOutcome::Ended(0) => Conclusion::new(
            Tone::Good,
            "Nothing is left open",
            format!("What was looked at, {clusters}, is what it must be."),
        ),
        other => Conclusion::new(
            Tone::Unsure,
            "Left open",
            format!("{clusters} looked at, but {}.", in_words(other)),
        ),
    }
}

const NOT_ENFORCED: &str = "Not enforced";

/// Why the run must not be called verified, if so: the relevant checks are lowered to advisory, or
/// nothing is required at all.
fn not_enforced(document: &RunReport) -> Option<String> {
    let lowered = document.not_enforced();
    let requires_nothing =
        document.inputs.as_ref().is_some_and(|inputs| inputs.policy.require.is_empty());
    if lowered.is_empty() && !requires_nothing {
        return None;
    }
    if lowered.is_empty() {
        return Some("the settings require no protection of it (`require: []`)".to_owned());
    }
    let failed = document.all_findings().filter(|finding| {
        finding.status == RecordedStatus::Failed && lowered.contains(&finding.check.as_str())
    });
    let failed = failed.count();
    let failed = if failed == 0 {
        String::new()
    } else {
        format!("; {} failed", counted(failed, "finding"))
    };
    Some(format!(
        "the settings lower required checks on it to advice: {}{failed}",
        lowered.join(", ")
    ))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(characters).collect()
}

/// Appended wherever everything is called passed.
fn except_excepted(document: &RunReport) -> String {
    let advice = match document.open_advice() {
        0 => String::new(),
        open => format!(", but for {} that the settings lower to advice", counted(open, "finding")),
    };
    let excepted = match document
        .all_findings()
        .filter(|finding| {
            finding.level == RecordedLevel::Required && finding.status == RecordedStatus::Excepted
        })
        .count()
    {
        0 => String::new(),
        excepted => format!(", but for {} that an exception covers", counted(excepted, "finding")),
    };
    format!("{excepted}{advice}")
}

fn in_words(outcome: RecordedOutcome) -> String {
    match outcome {
        RecordedOutcome::Ended(0) => "the runner has done its work".to_owned(),
        RecordedOutcome::Ended(3) => "the runner found no data to process".to_owned(),
        RecordedOutcome::Ended(4) => "the runner found an earlier run unfinished".to_owned(),
        RecordedOutcome::Ended(17) => "the runner found its lock held".to_owned(),
        RecordedOutcome::Ended(18) => "the runner found the cluster busy".to_owned(),
        RecordedOutcome::Ended(code) => format!("the runner ended with code {code}"),
        RecordedOutcome::Signalled(signal) => format!("the runner was ended by signal {signal}"),
        RecordedOutcome::BadUsage => "the settings are wrong".to_owned(),
        RecordedOutcome::BadConfig => "the runner's config cannot be used".to_owned(),
        RecordedOutcome::FactsUnknown => "facts could not be established".to_owned(),
        RecordedOutcome::Bug => "a bug in the guard".to_owned(),
        RecordedOutcome::RunnerNotExecutable => "the runner cannot be executed".to_owned(),
        RecordedOutcome::RunnerNotFound => "the runner was not found".to_owned(),
        RecordedOutcome::Undelivered => "its document could not be delivered everywhere".to_owned(),
        RecordedOutcome::Refused => "a required check failed".to_owned(),
        RecordedOutcome::Unconfirmed => "encryption could not be confirmed".to_owned(),
        RecordedOutcome::UnsafeClusterAlive => "an unsafe cluster may still be running".to_owned(),
        RecordedOutcome::UnsafeClusterTerminated => "an unsafe cluster was ended".to_owned(),
    }
}

/// Why it is unknown whether the unsafe clusters are over.
fn alive(document: &RunReport) -> String {
    let calls = document.calls_to_act();
    let of = |call: &CallToAct<'_>| format!("{} ({})", call.cluster, call.obstacle);
    if calls.is_empty() {
        "it is named among the run's clusters".to_owned()
    } else {
        calls.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

/// The objections to the run: open findings of required checks, without those that only wait for
/// another.
fn open_required(document: &RunReport) -> impl Iterator<Item = &RecordedFinding> {
    document.all_findings().filter(|finding| {
        finding.level == RecordedLevel::Required
            && finding.is_open()
            && finding.waits_for.is_none()
            && !finding.not_there
    })
}

pub(super) fn is(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{RecordedTermination, tests::recorded};

    fn concluded(name: &str, change: impl FnOnce(&mut RunReport)) -> String {
        let mut document = recorded(name);
        change(&mut document);
        let Conclusion { tone, title, sentence } = Conclusion::of(&document);
        format!("{tone:?}: {title}: {sentence}")
    }

    #[test]
    fn every_end_has_a_title_and_a_sentence() {
        let ended = |document: &mut RunReport, outcome| {
            document.outcome = outcome;
            document.verdict = Some(RecordedVerdict::Launch);
        };
        let advise = |document: &mut RunReport, check: &str| {
            document.inputs.as_mut().unwrap().policy.advise.push(check.to_owned());
        };
        let all_proved = |document: &mut RunReport| {
            document.findings.retain(|finding| !finding.is_open());
            ended(document, RecordedOutcome::Ended(0));
        };
        let said = [
            concluded("unsafe-v2", |_| {}),
            concluded("unsafe-v2", |document| {
                document.outcome = RecordedOutcome::UnsafeClusterAlive;
                document.watched.as_mut().unwrap().clusters[0].end =
                    Some(RecordedTermination::Unconfirmed("AccessDenied".to_owned()));
            }),
            concluded("unsafe-v2", |document| {
                document.watched.as_mut().unwrap().clusters[0].is_unsafe = false;
            }),
            concluded("unencrypted-v1", |_| {}),
            concluded("unencrypted-v1", |document| {
                document.findings.retain(|finding| finding.status != RecordedStatus::Failed);
            }),
            concluded("unencrypted-v1", all_proved),
            concluded("unencrypted-v1", |document| ended(document, RecordedOutcome::Ended(3))),
            concluded("unencrypted-v1", |document| ended(document, RecordedOutcome::Signalled(15))),
            concluded("unencrypted-v1", |document| ended(document, RecordedOutcome::FactsUnknown)),
            concluded("refused-v2", |_| {}),
            concluded("refused-v2", |document| {
                document.verdict = Some(RecordedVerdict::RefuseUnknown);
            }),
            concluded("refused-v2", |document| ended(document, RecordedOutcome::Ended(0))),
            concluded("refused-v2", |document| {
                ended(document, RecordedOutcome::Ended(0));
                document.only = true;
            }),
            concluded("unsafe-v2", |document| {
                document.command = "resume".to_owned();
                document.verdict = None;
                document.outcome = RecordedOutcome::Ended(0);
            }),
            // Lowered checks, as reports of older guards state them, too.
            concluded("unencrypted-v1", |document| {
                all_proved(document);
                advise(document, "cluster-security-configuration");
            }),
            concluded("unencrypted-v1", |document| {
                ended(document, RecordedOutcome::Ended(3));
                advise(document, "written-objects");
            }),
            concluded("unencrypted-v1", |document| {
                all_proved(document);
                advise(document, "cluster-ami");
                document.inputs.as_mut().unwrap().policy.enforce = vec!["cluster-ami".to_owned()];
            }),
            concluded("unencrypted-v1", |document| {
                all_proved(document);
                document.inputs.as_mut().unwrap().policy.require.clear();
            }),
            concluded("unsafe-v2", |document| {
                document.command = "resume".to_owned();
                (document.verdict, document.inputs) = (None, None);
                document.outcome = RecordedOutcome::Ended(0);
                document.not_enforced = vec!["cluster-security-configuration".to_owned()];
            }),
            concluded("refused-v2", |document| {
                ended(document, RecordedOutcome::Ended(0));
                advise(document, "cluster-roles");
            }),
            // A check that was lowered before the launch is no verification either.
            concluded("refused-v2", |document| {
                ended(document, RecordedOutcome::Ended(0));
                let open: Vec<String> = document
                    .findings
                    .iter()
                    .filter(|it| it.is_open())
                    .map(|it| it.check.clone())
                    .collect();
                document.findings.iter_mut().for_each(|it| it.level = RecordedLevel::Advisory);
                open.iter().for_each(|check| advise(document, check));
            }),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
