//! Checks that the modules of a crate import each other in one order only, and that no files of a
//! module form a cycle.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use module_order::Layout;
//!
//! # fn main() -> Result<(), module_order::Error> {
//! let layout = Layout {
//!     crate_name: "emr_etl_guard",
//!     source: Path::new("src"),
//!     rows: &["base", "system", "settings", "lib", "main"],
//! };
//! let violations = layout.violations()?;
//! assert!(violations.is_empty(), "{}", module_order::list(&violations));
//! # Ok(()) }
//! ```
//!
//! A row is the path of a module below the source folder, with `/` between its parts: `base` means
//! `base.rs` and all of `base/`; `lib` means `lib.rs`. Where rows are nested (`report` and
//! `report/json`), a file belongs to the longest. A file may import only from its own row and from
//! the rows before it. A file that is a crate of its own (`main.rs`, `build.rs`, `bin/x.rs`) is a
//! row, too, and may use the library by its name.
//!
//! What counts as an import: every `use`, every path in code, types, patterns and attributes
//! (`#[serde(with = "crate::time_format")]`), and whatever looks like a path inside of a macro's
//! argument. A `mod` line alone is no import. What is compiled for tests only (`#[cfg(test)]`,
//! `#[test]`) is left out, with the files of such modules.

mod collect;
mod graph;
mod rules;
mod sources;
mod tree;
mod type_names;

use std::path::Path;

pub use rules::{Rule, Violation};
pub use sources::Error;
pub use type_names::{RepeatedType, repeated_types};

/// The modules of a crate in their order.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The name by which binaries of the package use the library, with underscores.
    pub crate_name: &'a str,
    /// The folder of `lib.rs`, or of `main.rs` where there is no library.
    pub source: &'a Path,
    /// Modules, the ones that import nothing first.
    pub rows: &'a [&'a str],
}

impl Layout<'_> {
    /// Everything in the sources that breaks a rule, in the order of the files.
    ///
    /// # Errors
    /// When a file cannot be read, is not Rust, or has a `#[path]` attribute, which is not
    /// supported.
    pub fn violations(&self) -> Result<Vec<Violation>, Error> {
        let files = sources::read(self.source)?;
        let tree = tree::Tree::new(self.crate_name, self.rows, &files)?;
        Ok(rules::check(&tree, self.rows))
    }
}

/// The violations as lines of text.
#[must_use]
pub fn list(violations: &[Violation]) -> String {
    violations.iter().fold(String::new(), |list, it| list + &it.to_string() + "\n")
}
