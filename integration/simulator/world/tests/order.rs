//! The world's modules keep their order, and the world does not use HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use module_order::Layout;

/// Modules independent of the world; its content; its changes; its setup and control.
const ROWS: &[&str] = &[
    "values",
    "ids",
    "clock",
    "partition",
    "regions",
    "policy",
    "policy_document",
    "access_block",
    "managed_policies",
    "signing",
    "quota",
    "sse",
    "object",
    "fate",
    "cluster",
    "job",
    "alarm",
    "world",
    "principals",
    "sessions",
    "events",
    "cloudtrail",
    "versions",
    "s3write",
    "provisioning",
    "steps",
    "life",
    "subject",
    "faults",
    "command",
    "hooks",
    "apply",
    "scene",
    "simulation",
    "lib",
];

#[test]
fn modules_import_only_from_modules_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layout = Layout { crate_name: "emr_world", source: &source, rows: ROWS };
    let violations = layout.violations().unwrap();
    assert!(violations.is_empty(), "{}", module_order::list(&violations));
}

/// Each package of the lock file, and the names of its dependencies.
fn dependencies(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = "));
        let name = name.unwrap_or_default().trim_matches('"').to_owned();
        // ` "syn 2.0.119",` if there are several versions.
        let entries = package.lines().filter_map(|line| line.strip_prefix(" \""));
        let names = entries.filter_map(|it| it.split([' ', '"']).next()).map(str::to_owned);
        found.entry(name).or_default().extend(names);
    }
    found
}

/// All direct and indirect dependencies of a package.
fn closure(dependencies: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        for next in dependencies.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn the_world_depends_on_nothing_that_speaks_http_or_opens_sockets() {
    const NETWORK: &[&str] =
        &["http", "http-body", "httparse", "hyper", "mio", "reqwest", "socket2", "tokio", "ureq"];
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(here.join("../../../Cargo.lock")).unwrap();
    let dependencies = dependencies(&lock);
    let network = |name: &str| -> Vec<String> {
        let all = closure(&dependencies, name);
        all.into_iter().filter(|it| NETWORK.contains(&it.as_str())).collect()
    };
    assert_eq!(network("emr-world"), [] as [&str; 0]);
    // The same check finds them where they are.
    assert!(network("emr-simulator").contains(&"hyper".to_owned()));
    for entry in fs::read_dir(here.join("src")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("std::net"), "{} uses std::net", path.display());
    }
}
