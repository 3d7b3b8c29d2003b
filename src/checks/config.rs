//! Checks on the runner config itself.

use crate::checks::{
    case::Case,
    finding::{Check, Finding, Level, Stage},
};

pub(super) static AMBIGUOUS: Check = Check {
    name: "config-ambiguous",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "A key that is there twice, once as `a` and once as `:a`, or that a merge below it \
        overrides, means one thing to Ruby and another to the person who reads the file.",
    looks_at: "Duplicate keys, symbol twins, late merges and further documents in the runner \
        config, where they touch `aws` or `monitoring`.",
    asks: &[],
    fix: "leave one of the two places, with the value that is meant",
    source: "psych, lib/psych/visitors/to_ruby.rb; EmrEtlRunner, cli.rb (recursive_symbolize_keys)",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.observed.ambiguities.is_empty() {
        findings.push(
            AMBIGUOUS
                .on("the runner config", "one place for each key")
                .passed("one place for each key"),
        );
    }
    for found in &case.observed.ambiguities {
        let subject = AMBIGUOUS.on(found.key.as_str(), "one place").at(Some(&found.loses));
        findings
            .push(subject.failed(format!("{}: Ruby takes the one at {}", found.what, found.wins)));
    }
}
