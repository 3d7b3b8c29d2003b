//! The simulator's modules keep their order, and its types have names of their own.

use std::path::Path;

use module_order::Layout;

/// HTTP's formats and transport; calls and replies; common parts of servers; services; the servers.
const ROWS: &[&str] = &[
    "http_date",
    "xml",
    "transport",
    "call",
    "reply",
    "record",
    "rounds",
    "state",
    "api",
    "control",
    "server",
    "lib",
    "main",
];

#[test]
fn modules_import_only_from_modules_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layout = Layout { crate_name: "emr_simulator", source: &source, rows: ROWS };
    let violations = layout.violations().unwrap();
    assert!(violations.is_empty(), "{}", module_order::list(&violations));
}

#[test]
fn no_two_public_types_of_the_simulator_and_its_world_share_a_name() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (server, world) = (here.join("src"), here.join("world/src"));
    assert_eq!(module_order::repeated_types(&[&server, &world]).unwrap(), []);
}
