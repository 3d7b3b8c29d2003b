//! Every crate that the program depends on is listed, with its reason, in `docs/dependencies.md`.

use std::collections::BTreeSet;

/// The names in a manifest's `[dependencies]`.
fn of_manifest(manifest: &str) -> BTreeSet<&str> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .filter(|name| !name.starts_with('#'))
        .map(|name| name.split_once('.').map_or(name, |(name, _)| name))
        .collect()
}

/// The names in the first column of a table, and those of them without a reason.
fn of_table(page: &str) -> (BTreeSet<&str>, Vec<&str>) {
    let (mut names, mut unexplained) = (BTreeSet::new(), Vec::new());
    for line in page.lines() {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(first), Some(reason)) = (cells.next(), cells.next()) else { continue };
        for name in first.split(", ") {
            let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
                continue;
            };
            names.insert(name);
            if reason.is_empty() {
                unexplained.push(name);
            }
        }
    }
    (names, unexplained)
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = include_str!("../Cargo.toml");
    let page = include_str!("../docs/dependencies.md");
    let wanted = of_manifest(manifest);
    assert!(wanted.contains("tokio") && wanted.len() > 40, "{wanted:?}");
    let (listed, unexplained) = of_table(page);
    let missing: Vec<_> = wanted.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&wanted).collect();
    assert!(missing.is_empty(), "not in docs/dependencies.md: {missing:?}");
    assert!(gone.is_empty(), "in docs/dependencies.md, and no dependency: {gone:?}");
    assert!(unexplained.is_empty(), "without a reason: {unexplained:?}");
}

#[test]
fn the_lists_are_read_as_they_are_written() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# a = 1\nb = \"1\"\nc.workspace = \
        true\n\n[dev-dependencies]\nd = \"1\"\n";
    assert_eq!(of_manifest(manifest), BTreeSet::from(["b", "c"]));
    let page = "| Crate | Why |\n|---|---|\n| `b`, `c` | a reason |\n| `d` | |\n";
    let (names, unexplained) = of_table(page);
    assert_eq!(names, BTreeSet::from(["b", "c", "d"]));
    assert_eq!(unexplained, ["d"]);
}
