//! The check on the objects that a run has written: it verifies the actual encryption, whatever was
//! found before the launch.

use crate::{
    base::{aws_calls, lookup::Lookup, names::S3Location},
    checks::{
        finding::{Check, Finding, Level, Stage, Status, apply_policy},
        fix::CommandContext,
        stored::{self, Standard},
    },
    facts::written::{LOG, OutputSurvey},
    settings::policy::Policy,
    spec::data_paths::DataLocation,
};

/// What to do with the objects that a run wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputCheck {
    /// They are read.
    Look,
    /// The policy switches reading them off.
    SwitchedOff,
    /// They are not read, for this reason, which is reported.
    Leave(&'static str),
    /// There are none.
    None,
}

pub(crate) static OBJECTS: Check = Check {
    name: "written-objects",
    stage: Stage::Confirm,
    level: Level::Required,
    why: "What was configured is a promise; what lies in S3 is the fact. A bucket's default that \
        somebody changed meanwhile, or a writer with settings of its own, shows only in the \
        objects.",
    looks_at: "s3:ListObjectsV2 on the folders that the run's own steps and clusters write to, \
        and s3:HeadObject on each object that is not from before the launch: all of them, or an \
        even sample where the setting `confirm_objects` names a limit.",
    asks: &[&aws_calls::LIST_OBJECTS, &aws_calls::HEAD_OBJECT],
    fix: "encrypt them in place (without --apply: a dry run): `emr-etl-guard reencrypt --apply \
        {locations}`; then find out what wrote them without encryption",
    source: "Amazon S3 API reference, HeadObject (x-amz-server-side-encryption); Amazon S3 user \
        guide, Specifying server-side encryption",
};

/// Judges the written objects location by location; one finding for all if they were not read.
/// `locations` give the positions in the config.
pub(crate) fn judge(
    standard: &Standard,
    (policy, commands): (&Policy, &CommandContext),
    locations: &[DataLocation],
    objects: OutputCheck,
    written: &[OutputSurvey],
) -> Vec<Finding> {
    let all = || OBJECTS.on("locations", stored::wanted(standard));
    let mut findings = match objects {
        OutputCheck::None => Vec::new(),
        OutputCheck::SwitchedOff => {
            vec![all().not_applicable("switched off by policy (`confirm_objects: 0`)")]
        }
        OutputCheck::Leave(why) => {
            vec![all().unknown(format!("nothing: {why}"), "look at what the run wrote by hand")]
        }
        OutputCheck::Look => {
            written.iter().map(|written| judge_one(standard, locations, written)).collect()
        }
    };
    if objects == OutputCheck::Look {
        // One command fixes all of them, because they have one cause.
        let is_wrong = |finding: &Finding| finding.status == Status::Failed;
        let wrong = findings.iter().zip(written).filter(|(finding, _)| is_wrong(finding));
        let folders: Vec<&S3Location> = wrong.flat_map(|(_, survey)| &survey.folders).collect();
        let fix = stored::reencrypt(&OBJECTS, standard, &folders);
        for finding in findings.iter_mut().filter(|finding| is_wrong(finding)) {
            *finding = finding.clone().with_fix(fix.clone());
        }
    }
    apply_policy(&mut findings, policy);
    findings.iter_mut().for_each(|finding| finding.complete_fix(commands));
    findings
}

fn judge_one(standard: &Standard, locations: &[DataLocation], written: &OutputSurvey) -> Finding {
    let at = locations
        .iter()
        .find(|location| location.role == written.role)
        .map(|location| location.at.as_str());
    let subject = || OBJECTS.on(written.role.as_str(), stored::wanted(standard)).at(at);
    if written.folders.is_empty() {
        return subject().not_applicable("no step of the run names it");
    }
    let finding = stored::judge(standard, subject(), &written.survey, |subject| {
        subject.not_applicable(if written.role == LOG {
            "no logs of the run are there yet; EMR brings them up to some minutes after a \
             cluster's end"
        } else {
            "nothing of the run is there, or not any more"
        })
    });
    // A failure counts even if the survey is incomplete. Otherwise an incomplete survey is Unknown.
    if finding.status == Status::Failed {
        return finding;
    }
    match (&written.look, written.cut_short) {
        (Lookup::Found(()), None) => finding,
        (Lookup::Found(()), Some(why)) => subject().unknown(
            format!(
                "{} of the {} objects found so far: \
                {why}",
                written.survey.looked_at, written.survey.objects
            ),
            "give it more time (setting `confirm_timeout`), or set `confirm_objects` to look at a \
             sample",
        ),
        (Lookup::Absent, _) => subject().unknown(
            "no such bucket any more",
            "find out who removed \
            it",
        ),
        (Lookup::Denied(obstacle), _) => subject().denied(obstacle),
        (Lookup::Unreachable(obstacle), _) => subject().unreachable(obstacle),
    }
}
