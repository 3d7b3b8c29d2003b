//! The command `report`.

use crate::{
    base::outcome::Outcome,
    commands::cli::ReportCommand,
    evidence::verify::verify,
    report::{
        asff,
        document::AnyReport,
        html::{self, audit, reencrypt},
        junit, markdown, render, sarif, schema,
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
        ReportCommand::Html(arguments) => render::render_any(arguments, |document| {
            Ok(match document {
                AnyReport::Run(document) => html::page(&document),
                AnyReport::Audit(document) => audit::page(&document),
                AnyReport::Reencrypt(document) => reencrypt::page(&document),
            })
        }),
        ReportCommand::Markdown(arguments) => {
            render::render(arguments, |document| Ok(markdown::markdown(document)))
        }
        ReportCommand::Junit(arguments) => {
            render::render(arguments, |document| Ok(junit::junit(document)?))
        }
        ReportCommand::Sarif(arguments) => {
            render::render(arguments, |document| Ok(sarif::sarif(document)?))
        }
        ReportCommand::Asff(arguments) => render::render(&arguments.render, |document| {
            asff::asff(document, arguments.region.as_deref())
        }),
    }
}
