//! The page for auditors, `docs/controls.md`: the controls for which each check is evidence.

use std::fmt::Write as _;

use crate::{
    base::{
        markdown::{cell, name},
        outcome::Outcome,
    },
    checks::controls::{self, Control, ControlStandard, ROWS, UNMAPPED},
    system::output::out,
};

const HEAD: &str = "# Controls

Generated from the code by `emr-etl-guard explain --controls`; a test fails when this file is stale.

This page maps each check of the guard to controls of published standards, for auditors. A passed
finding is evidence for the controls beside it, on the subject and on the day that the report names.
It is never the whole of a control: what it does not prove is said beside it. Procedures, training,
access reviews and all systems other than the batch run are outside the guard.

Reports hold the findings; `emr-etl-guard report verify` checks their signatures and that none of a
chain is missing. `report asff` and `report ocsf` carry the controls with each finding. The reports
are records of what the guard saw and did; controls on audit logs (NIST AU-2, AU-12, 45 CFR
164.312(b)) ask for records of the systems that hold the data, and no check proves those.

What a control asks is given in brief, in our words. The publication alone is binding. NIST leaves
parts of a control to each organization: which information, which media, which kinds of cryptography
and of key management. The guard does not know these choices; its checks are evidence for encryption
as the settings require it. `source` names what was read for this table. PCI DSS itself was not: its
wording is from public transcriptions of v4.0, its numbers in v4.0.1 from AWS's lists.
";

/// Prints the page.
pub(crate) fn print() -> Outcome {
    out(&page());
    Outcome::Ended(0)
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n## From controls to checks\n");
    for standard in ControlStandard::ALL {
        let _ = write!(
            text,
            "\n### {}\n\n| control | asks | checks | source |\n|---|---|---|---|\n",
            standard.title()
        );
        for control in controls::all().filter(|control| control.standard == standard) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                control.id,
                cell(control.asks),
                checks(control),
                cell(control.source)
            );
        }
    }
    text.push_str(
        "\n## From checks to controls\n\n| check | evidence for | does not prove \
         |\n|---|---|---|\n",
    );
    for row in ROWS {
        let controls: Vec<String> =
            row.controls.iter().map(|control| cell(&control.requirement())).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            name(row.check.name),
            controls.join("; "),
            cell(row.limits)
        );
    }
    text.push_str("\n## Checks without a control\n\n| check | why none fits |\n|---|---|\n");
    for other in UNMAPPED {
        let _ = writeln!(text, "| {} | {} |", name(other.check.name), cell(other.reason));
    }
    text
}

fn checks(control: &Control) -> String {
    controls::evidence_for(control).map(|check| name(check.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_that_of_the_code() {
        let stale = "docs/controls.md is stale: cargo run -- explain --controls > docs/controls.md";
        assert!(page() == include_str!("../../docs/controls.md"), "{stale}");
    }
}
