//! A paragraph of standard error as data: alerts contain the same lines, and know which of them are
//! actions and which clusters they concern.

use crate::{
    base::{
        names::ClusterId,
        printable::{Printable, printable},
    },
    system::output,
};

/// One line of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeLine {
    /// As it is shown.
    pub(crate) text: Printable,
    /// What to do, if the line says that.
    pub(crate) fix: Option<Printable>,
}

impl NoticeLine {
    /// A line without an action.
    pub(crate) fn telling(text: impl Into<Printable>) -> Self {
        Self { text: text.into(), fix: None }
    }

    /// A line with an action: `label` and `fix`.
    pub(crate) fn fixing(label: &'static str, fix: impl Into<Printable>) -> Self {
        let fix = fix.into();
        Self { text: printable!("{label}{fix}"), fix: Some(fix) }
    }
}

/// `text` in at most `limit` characters. Longer text is cut at a word, and ends with `...`.
pub(crate) fn shortened(text: &Printable, limit: usize) -> Printable {
    const CUT: &str = " ...";
    if text.chars().count() <= limit {
        return text.clone();
    }
    let kept: String = text.chars().take(limit.saturating_sub(CUT.len())).collect();
    // A word longer than half of the line is cut itself.
    let end = kept.rfind(' ').filter(|end| *end > kept.len() / 2).unwrap_or(kept.len());
    let kept = kept[..end].trim_end_matches([' ', ':', ';', ',', '(']);
    printable!("{kept}{CUT}")
}

/// A message; its first line is the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) lines: Vec<NoticeLine>,
    /// The clusters that it concerns.
    pub(crate) clusters: Vec<ClusterId>,
}

impl Notice {
    /// A message of a single line.
    pub(crate) fn new(headline: impl Into<Printable>) -> Self {
        Self { lines: vec![NoticeLine::telling(headline)], clusters: Vec::new() }
    }

    /// A message of `lines`, none of which is an action; the first one is the summary.
    pub(crate) fn of_lines(lines: &[Printable]) -> Self {
        let told = lines.iter().enumerate().map(|(index, line)| {
            NoticeLine::telling(if index == 0 {
                printable!("emr-etl-guard: {line}")
            } else {
                line.clone()
            })
        });
        Self { lines: told.collect(), clusters: Vec::new() }
    }

    /// Adds a cluster that it concerns.
    pub(crate) fn about(mut self, cluster: &ClusterId) -> Self {
        self.clusters.push(cluster.clone());
        self
    }

    /// The same with a short first line: a long one continues on the second line, split after a
    /// clause or a word. A command that terminates an unsafe cluster stays complete, because
    /// readers may see only the first line.
    pub(crate) fn bounded(mut self) -> Self {
        let Some(first) = self.lines.first_mut().filter(|first| first.fix.is_none()) else {
            return self;
        };
        if let Some((start, rest)) = first.text.broken() {
            first.text = start;
            self.lines.insert(1, NoticeLine::telling(printable!("  {rest}")));
        }
        self
    }

    /// Prints it on standard error. A first line that is too long continues on the next line; a
    /// command that ends an unsafe cluster stays in the first.
    pub(crate) fn print(&self) {
        let has_fix = self.lines.first().is_some_and(|first| first.fix.is_some());
        if has_fix { output::err_unbroken(&self.text()) } else { output::err(&self.text()) }
    }

    /// As it is printed on standard error.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::printable::FIRST_LINE;

    #[test]
    fn a_first_line_that_is_too_long_goes_on_in_the_second_one() {
        let long = format!("nothing was launched: {}", "a reason that goes on; ".repeat(9));
        let notice = Notice::of_lines(&[long.as_str().into(), "  details".into()]).bounded();
        let lines: Vec<&str> = notice.lines.iter().map(|line| line.text.as_str()).collect();
        assert!(lines[0].ends_with("a reason that goes on;"), "{}", lines[0]);
        assert_eq!(
            format!("{} {}", lines[0], lines[1].trim_start()),
            format!("emr-etl-guard: {long}")
        );
        assert_eq!(lines[2..], ["  details"]);

        let short = Notice::new("emr-etl-guard: all of it");
        assert_eq!(short.clone().bounded(), short);
        for text in [
            "x".repeat(500),
            "\u{e9}".repeat(500),
            format!("a {}", "y".repeat(500)),
            format!("a: {}", "word ".repeat(100)),
            "x".repeat(FIRST_LINE + 1),
        ] {
            let lines = Notice::new(text.as_str()).bounded().lines;
            assert_eq!(lines.len(), 2, "{text}");
            assert!(lines[0].text.chars().count() <= FIRST_LINE, "{}", lines[0].text);
            let [start, rest] = [&lines[0].text, &lines[1].text].map(|line| line.trim_start());
            let whole = [format!("{start} {rest}"), format!("{start}{rest}")];
            assert!(whole.contains(&text), "{whole:?}");
            let cut = shortened(&text.into(), 50);
            assert!(cut.chars().count() <= 50 && cut.ends_with(" ..."), "{cut}");
        }
        let exact = Notice::new("x".repeat(FIRST_LINE));
        assert_eq!(exact.clone().bounded(), exact);
    }
}
