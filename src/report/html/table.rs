//! Tables of the pages.

use maud::{Markup, html};

/// The head of a table's column; its kind is the class of its style.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
    Date(&'static str),
}

/// A table with these columns, which becomes cards on a narrow screen. `bodies`: its `tbody`
/// elements.
pub(super) fn table(columns: &[Column], bodies: &Markup) -> Markup {
    let heads = columns.iter().map(|column| match column {
        Column::Text(head) => (None, head),
        Column::Number(head) => (Some("number"), head),
        Column::Date(head) => (Some("date"), head),
    });
    html! {
        div.table {
            table.cards {
                thead { tr { @for (class, head) in heads { th class=[class] scope="col" { (head) } } } }
                (bodies)
            }
        }
    }
}
