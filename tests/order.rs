//! The order of the modules: each imports only from those before it, and no files of a module form
//! a cycle.

use std::path::Path;

use module_order::{Layout, list, repeated_types};

/// The modules in their order, as in the architecture page.
const MODULES: &[&str] = &[
    "base",
    "system",
    "settings",
    "spec",
    "runners",
    "aws",
    "facts",
    "checks",
    "evidence",
    "watch",
    "audit",
    "reencrypt",
    "permissions",
    "setup",
    "sentinel",
    "report",
    "commands",
    "lib",
    "main",
    "build",
];

fn violations(rows: &[&str]) -> Result<String, module_order::Error> {
    let layout = Layout { crate_name: "emr_etl_guard", source: Path::new("src"), rows };
    Ok(list(&layout.violations()?))
}

#[test]
fn a_module_imports_only_from_those_before_it_and_no_files_import_each_other_in_a_circle() {
    assert_eq!(violations(MODULES).unwrap(), "");
}

#[test]
fn only_commands_imports_the_runners() {
    let mut rows: Vec<&str> = MODULES.iter().copied().filter(|row| *row != "runners").collect();
    let commands = rows.iter().position(|row| *row == "commands").unwrap();
    rows.insert(commands, "runners");
    assert_eq!(violations(&rows).unwrap(), "");
    // The same check finds that `commands` does.
    rows.swap(commands, commands + 1);
    assert!(violations(&rows).unwrap().contains("`crate::runners::"));
}

#[test]
fn no_type_with_any_pub_shares_its_name_with_another() {
    assert_eq!(repeated_types(&[Path::new("src")]).unwrap(), []);
}
