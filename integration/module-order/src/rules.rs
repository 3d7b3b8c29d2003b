//! Checks the imports of a crate against its order of modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::graph::{self, Edges};
use crate::tree::Tree;

/// A place in the sources that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The file, below the source folder.
    pub file: PathBuf,
    /// The line; 0 for the whole file, or a missing one.
    pub line: usize,
    /// A description.
    pub message: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A module imports only from itself and from the rows before it.
    Order,
    /// No files of one row import each other in a cycle.
    Cycle,
    /// Every file belongs to a row and is declared; every row has a file.
    Known,
    /// A module below a façade (a parent that holds `mod` and `use` lines only) imports its
    /// siblings by their own paths.
    ThroughParent,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// An import from one file of another.
struct Import {
    from: usize,
    to: usize,
    line: usize,
    path: String,
}

/// All violations, in the order of files and lines; cycles come last.
pub(crate) fn check(tree: &Tree, rows: &[&str]) -> Vec<Violation> {
    let row_of: Vec<Option<usize>> =
        tree.files.iter().map(|file| row(rows, &file.name())).collect();
    let mut violations = unknown(tree, rows, &row_of);
    let mut inside: BTreeMap<(usize, usize), Import> = BTreeMap::new();
    for import in imports(tree) {
        let (Some(from), Some(to)) = (row_of[import.from], row_of[import.to]) else { continue };
        let violation = |rule, message| Violation {
            rule,
            file: tree.files[import.from].path.clone(),
            line: import.line,
            message,
        };
        if to > from {
            let message = format!(
                "imports `{}`, but `{}` comes after `{}`",
                import.path, rows[to], rows[from]
            );
            violations.push(violation(Rule::Order, message));
        } else if is_through_parent(tree, &import) {
            let message = format!(
                "imports `{}` through {}, a façade above it: import it by its own path",
                import.path,
                tree.files[import.to].path.display()
            );
            violations.push(violation(Rule::ThroughParent, message));
        } else if from == to {
            inside.entry((import.from, import.to)).or_insert(import);
        }
    }
    violations.extend(cycles(tree, &inside));
    violations
}

/// The row of a module: the longest that is the module or one above it.
fn row(rows: &[&str], module: &str) -> Option<usize> {
    let has = |row: &str| {
        module.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    (0..rows.len()).filter(|&number| has(rows[number])).max_by_key(|&number| rows[number].len())
}

fn unknown(tree: &Tree, rows: &[&str], row_of: &[Option<usize>]) -> Vec<Violation> {
    let known =
        |file: PathBuf, message: String| Violation { rule: Rule::Known, file, line: 0, message };
    let mut violations = Vec::new();
    for (file, row) in tree.files.iter().zip(row_of) {
        if row.is_none() {
            let message = format!("the module `{}` is in no row of the order", file.name());
            violations.push(known(file.path.clone(), message));
        } else if !file.is_known {
            let message = "no `mod` line declares this file".to_owned();
            violations.push(known(file.path.clone(), message));
        }
    }
    for (number, row) in rows.iter().enumerate() {
        if !row_of.contains(&Some(number)) {
            violations
                .push(known(PathBuf::from(row), "this row of the order has no file".to_owned()));
        }
    }
    violations
}

/// All imports of other files: the first line of each path, without paths that start with a name
/// whose `use` is listed already.
fn imports(tree: &Tree) -> Vec<Import> {
    let mut imports = Vec::new();
    for (from, file) in tree.files.iter().enumerate() {
        let mut seen = BTreeMap::new();
        let mut by_use = BTreeSet::new();
        let (uses, others): (Vec<_>, Vec<_>) =
            file.collected.mentions.iter().partition(|mention| mention.binding.is_some());
        for mention in uses.into_iter().chain(others) {
            let Some(to) = tree.file_of(mention).filter(|&to| to != from) else { continue };
            let is_use = mention.binding.is_some();
            if is_use {
                by_use.insert(to);
            } else if !mention.is_anchored() && by_use.contains(&to) {
                continue;
            }
            let line = seen.entry((mention.segments.join("::"), to)).or_insert(mention.line);
            *line = mention.line.min(*line);
        }
        let mut found: Vec<Import> =
            seen.into_iter().map(|((path, to), line)| Import { from, to, line, path }).collect();
        found.sort_by_key(|import| import.line);
        imports.extend(found);
    }
    imports
}

fn is_through_parent(tree: &Tree, import: &Import) -> bool {
    let (child, parent) = (&tree.files[import.from], &tree.files[import.to]);
    // Imports through the root are checked with the root's row.
    !parent.module.is_empty()
        && parent.collected.is_facade
        && child.module.starts_with(&parent.module)
}

fn cycles(tree: &Tree, imports: &BTreeMap<(usize, usize), Import>) -> Vec<Violation> {
    let mut edges = Edges::new();
    for (from, to) in imports.keys() {
        edges.entry(*from).or_default().insert(*to);
    }
    graph::cycles(&edges)
        .into_iter()
        .map(|cycle| {
            let steps: Vec<String> = (0..cycle.len())
                .filter_map(|at| imports.get(&(cycle[at], cycle[(at + 1) % cycle.len()])))
                .map(|import| {
                    let (from, to) = (&tree.files[import.from], &tree.files[import.to]);
                    format!(
                        "{}:{} imports `{}` of {}",
                        from.path.display(),
                        import.line,
                        import.path,
                        to.path.display()
                    )
                })
                .collect();
            Violation {
                rule: Rule::Cycle,
                file: tree.files[cycle[0]].path.clone(),
                line: 0,
                message: format!("is in a cycle: {}", steps.join(", ")),
            }
        })
        .collect()
}
