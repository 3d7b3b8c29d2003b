//! The command `report`.

use crate::{
    base::outcome::Outcome,
    commands::cli::ReportCommand,
    evidence::verify::verify,
    report::{
        asff,
        document::AnyReport,
        html::{self, audit, reencrypt, sentinel, setup},
        junit, markdown, ocsf, render, sarif, schema,
        sentinel_history::SentinelHistory,
        sentinel_quarter,
        signature::ReportSignature,
        summary::ReportSummary,
    },
    system::output::{complain, err, out},
};

/// The command `report`.
pub(crate) fn command(command: &ReportCommand) -> Outcome {
    match command {
        ReportCommand::Schema(arguments) => match schema::text(arguments.of) {
            Ok(text) => {
                out(&text);
                Outcome::Ended(0)
            }
            Err(error) => {
                complain(&format!("a bug in emr-etl-guard: {error:#}").into());
                Outcome::Bug
            }
        },
        ReportCommand::Verify(arguments) => {
            let (mut told, mut troubles) = (String::new(), String::new());
            let outcome = verify(arguments, &mut told, &mut troubles);
            out(&told);
            err(&troubles);
            outcome
        }
        ReportCommand::Html(arguments) => render::render_html(
            arguments,
            |document, file| {
                let signature = ReportSignature::beside(file);
                Ok(match document {
                    AnyReport::Run(report) => html::page(&report, &signature),
                    AnyReport::Audit(document) => audit::page(&document, &signature),
                    AnyReport::Reencrypt(document) => reencrypt::page(&document, &signature),
                    AnyReport::Setup(document) => setup::page(&document, &signature),
                    AnyReport::Sentinel(document) => {
                        sentinel::page(&SentinelHistory::of([*document])?, &[signature])
                    }
                })
            },
            |history, files| {
                let signatures: Vec<ReportSignature> =
                    files.iter().map(|file| ReportSignature::beside(file)).collect();
                sentinel::page(history, &signatures)
            },
        ),
        ReportCommand::Markdown(arguments) => render::render_any(arguments, |report| {
            Ok(markdown::markdown(&ReportSummary::of(&report)))
        }),
        ReportCommand::Junit(arguments) => {
            render::render_any(arguments, |report| Ok(junit::junit(&ReportSummary::of(&report))?))
        }
        ReportCommand::Sarif(arguments) => {
            render::render_any(arguments, |report| Ok(sarif::sarif(&ReportSummary::of(&report))?))
        }
        ReportCommand::Ocsf(arguments) => {
            render::render_any(arguments, |report| Ok(ocsf::ocsf(&ReportSummary::of(&report))?))
        }
        ReportCommand::Asff(arguments) => render::render(&arguments.render, |document| {
            asff::asff(document, arguments.region.as_deref())
        }),
        ReportCommand::Quarter(arguments) => sentinel_quarter::quarter(arguments),
    }
}
