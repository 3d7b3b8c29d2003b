//! Tests of the checker on small generated crates.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use module_order::{Error, Layout, Rule, Violation, list, repeated_types};
use tempfile::TempDir;

const ROWS: &[&str] = &["low", "high", "lib"];

fn source(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn try_check(rows: &[&str], files: &[(&str, &str)]) -> Result<Vec<Violation>, Error> {
    let folder = source(files);
    Layout { crate_name: "made_up", source: folder.path(), rows }.violations()
}

/// A crate with the modules `low` and `high`, and its violations.
fn check(low: &str, high: &str) -> String {
    let files = [("lib.rs", "mod low; mod high;"), ("low.rs", low), ("high.rs", high)];
    list(&try_check(ROWS, &files).unwrap())
}

const UPWARD: &str = "imports `crate::high::Top`, but `high` comes after `low`\n";

#[test]
fn an_import_of_a_row_before_is_no_violation() {
    assert_eq!(check("pub struct Base;", "use crate::low::Base; pub struct Top(Base);"), "");
}

#[test]
fn an_import_of_a_row_after_is_reported_with_its_line() {
    let found = check("//! First.\n\nuse crate::high::Top;", "pub struct Top;");
    assert_eq!(found, format!("low.rs:3: {UPWARD}"));
}

#[test]
fn a_path_in_an_expression_counts_as_an_import() {
    let found = check("fn it() {\n let _ = crate::high::Top::new();\n}", "pub struct Top;");
    assert_eq!(found, "low.rs:2: imports `crate::high::Top::new`, but `high` comes after `low`\n");
}

#[test]
fn a_path_in_a_type_a_pattern_a_bound_or_a_generic_counts_as_an_import() {
    for code in [
        "struct It { it: crate::high::Top }",
        "fn it(it: &It) { match it { crate::high::Top => {} } }",
        "fn it<T: crate::high::Top>() {}",
        "fn it() -> Option<Vec<crate::high::Top>> { None }",
        "impl crate::high::Top for u8 {}",
        "const IT: u8 = if let Some(crate::high::Top { .. }) = it { 1 } else { 2 };",
    ] {
        assert_eq!(check(code, ""), format!("low.rs:1: {UPWARD}"), "{code}");
    }
}

#[test]
fn a_path_in_a_macro_call_or_a_macro_rule_counts_as_an_import() {
    for code in [
        "fn it() { println!(\"{}\", [crate::high::Top].len()); }",
        "macro_rules! it { ($x:expr) => { $crate::high::Top } }",
        "macro_rules! it { () => { use $crate::high::{Top}; } }",
        "thread_local! { static IT: u8 = f(<u8>::default(), crate::high::Top); }",
    ] {
        assert_eq!(check(code, ""), format!("low.rs:1: {UPWARD}"), "{code}");
    }
}

#[test]
fn a_path_in_the_text_of_an_attribute_counts_and_one_in_a_doc_comment_does_not() {
    let attribute = "struct It {\n#[serde(with = \"crate::high::Top\")]\nit: u8 }";
    assert_eq!(check(attribute, ""), format!("low.rs:2: {UPWARD}"));
    assert_eq!(check("/// [it](crate::high::Top)\nstruct It;", ""), "");
    assert_eq!(check("pub(in crate::high) struct It;", ""), "");
}

#[test]
fn every_leaf_of_a_nested_use_is_an_import_of_its_own() {
    let low = "use \
        crate::{\n    high::{\n        self as other,\n        part::{Renamed as Name, *},\n    \
        },\n};";
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", low),
        ("high.rs", "pub mod part;"),
        ("high/part.rs", ""),
    ];
    let found = list(&try_check(ROWS, &files).unwrap());
    assert_eq!(
        found,
        "low.rs:3: imports `crate::high`, but `high` comes after `low`\n\
         low.rs:4: imports `crate::high::part`, but `high` comes after `low`\n\
         low.rs:4: imports `crate::high::part::Renamed`, but `high` comes after `low`\n"
    );
}

#[test]
fn a_path_that_starts_with_an_imported_module_leads_below_that_module() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "pub mod part;"),
        ("low/part.rs", "use crate::low as own;\nfn it() { own::other::it(); }"),
        ("low/other.rs", "fn it() { super::part::it(); }"),
        ("high.rs", ""),
    ];
    let mut with_other = files;
    with_other[1].1 = "pub mod part; pub mod other;";
    let found = try_check(ROWS, &with_other).unwrap();
    let rules: Vec<Rule> = found.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [Rule::ThroughParent, Rule::Cycle], "{}", list(&found));
}

#[test]
fn a_path_through_a_glob_import_leads_to_the_module_it_names() {
    let low = "use crate::*;\nfn it() { high::it(); }";
    let found = check(low, "");
    assert_eq!(
        found,
        "low.rs:1: imports `crate`, but `lib` comes after `low`\n\
         low.rs:2: imports `high::it`, but `high` comes after `low`\n"
    );
}

#[test]
fn what_the_root_exports_again_is_an_import_of_the_root() {
    let files = [
        ("lib.rs", "mod low; mod high; pub use high::Top;"),
        ("low.rs", "use crate::Top;"),
        ("high.rs", "pub struct Top;"),
    ];
    let found = list(&try_check(ROWS, &files).unwrap());
    assert_eq!(found, "low.rs:1: imports `crate::Top`, but `lib` comes after `low`\n");
}

#[test]
fn super_and_self_are_followed_from_the_module_that_has_them() {
    let low = "mod inner \
        {\n use super::super::high::Top;\n mod deep { use super::super::super::high::It; }\n}\nuse self::inner::X;";
    assert_eq!(
        check(low, ""),
        "low.rs:2: imports `super::super::high::Top`, but `high` comes after `low`\n\
         low.rs:3: imports `super::super::super::high::It`, but `high` comes after `low`\n"
    );
}

#[test]
fn other_crates_local_names_and_generic_types_are_no_imports() {
    let low = "use std::high::Top; use ::high::Top as X; use serde;\n\
        fn it<T>() { T::high(); Self::high(); high::it(); serde::high::it(); }";
    assert_eq!(check(low, ""), "");
}

#[test]
fn imports_of_tests_do_not_count() {
    for low in [
        "#[cfg(test)] mod tests { use crate::high::Top; }",
        "#[cfg(test)] use crate::high::Top;",
        "#[cfg(all(unix, test))] fn it() { crate::high::it(); }",
        "#[test] fn it() { crate::high::it(); }",
        "struct It; impl It { #[cfg(test)] fn it() { crate::high::it(); } }",
    ] {
        assert_eq!(check(low, ""), "", "{low}");
    }
    for low in [
        "#[cfg(not(test))] use crate::high::Top;",
        "#[cfg(any(test, unix))] use crate::high::Top;",
        "#[cfg(unix)] use crate::high::Top;",
    ] {
        assert_eq!(check(low, ""), format!("low.rs:1: {UPWARD}"), "{low}");
    }
}

#[test]
fn the_file_of_a_test_module_and_the_files_below_it_do_not_count() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "#[cfg(test)] mod tests;"),
        ("low/tests.rs", "mod part; use crate::high::Top;"),
        ("low/tests/part.rs", "use crate::high::Top;"),
        ("high.rs", ""),
    ];
    assert_eq!(try_check(ROWS, &files).unwrap(), []);
}

#[test]
fn a_cycle_between_files_of_one_row_is_reported_with_its_imports() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "mod a; mod b; mod c; mod d;"),
        ("low/a.rs", "use super::b::B;"),
        ("low/b.rs", "use crate::low::c::C;"),
        ("low/c.rs", "\nfn it() { super::a::it() }"),
        ("low/d.rs", "use super::a::A;"),
        ("high.rs", ""),
    ];
    let found = try_check(ROWS, &files).unwrap();
    assert_eq!(
        list(&found),
        "low/a.rs: is in a cycle: low/a.rs:1 imports `super::b::B` of low/b.rs, \
         low/b.rs:1 imports `crate::low::c::C` of low/c.rs, \
         low/c.rs:2 imports `super::a::it` of low/a.rs\n"
    );
    assert_eq!(found[0].rule, Rule::Cycle);
}

#[test]
fn two_cycles_are_reported_as_two() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "mod a; mod b; mod c; mod d;"),
        ("low/a.rs", "use super::b::B; use super::c::C;"),
        ("low/b.rs", "use super::a::A;"),
        ("low/c.rs", "use super::d::D;"),
        ("low/d.rs", "use super::c::C;"),
        ("high.rs", ""),
    ];
    let found = try_check(ROWS, &files).unwrap();
    assert_eq!(found.len(), 2, "{}", list(&found));
    assert!(found[0].message.contains("low/b.rs") && found[1].message.contains("low/d.rs"));
}

#[test]
fn a_parent_with_code_and_its_child_that_import_each_other_are_a_cycle() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "mod part;\npub struct Shared;\nfn it() { part::it() }"),
        ("low/part.rs", "use super::Shared;"),
        ("high.rs", ""),
    ];
    let found = list(&try_check(ROWS, &files).unwrap());
    assert_eq!(
        found,
        "low/part.rs: is in a cycle: low/part.rs:1 imports `super::Shared` of low.rs, \
         low.rs:3 imports `part::it` of low/part.rs\n"
    );
}

#[test]
fn a_parent_that_only_declares_a_child_does_not_import_it() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low/mod.rs", "mod part; pub struct Shared;"),
        ("low/part.rs", "use super::Shared;"),
        ("high.rs", ""),
    ];
    assert_eq!(try_check(ROWS, &files).unwrap(), []);
}

#[test]
fn a_child_of_a_facade_imports_its_siblings_by_their_own_path() {
    let files = [
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "//! Façade.\nmod a; mod b;\npub use a::A;\n#[cfg(test)] fn it() {}"),
        ("low/a.rs", "pub struct A;"),
        ("low/b.rs", "use super::A;\nuse super::a::A as Same;"),
        ("high.rs", "use crate::low::A;"),
    ];
    let found = try_check(ROWS, &files).unwrap();
    assert_eq!(
        list(&found),
        "low/b.rs:1: imports `super::A` through low.rs, a façade above it: import it by its own \
         path\n"
    );
    assert_eq!(found[0].rule, Rule::ThroughParent);
}

#[test]
fn a_module_without_a_row_a_row_without_a_module_and_a_file_nobody_declares_are_reported() {
    let files = [
        ("lib.rs", "mod low; mod other;"),
        ("low.rs", "mod a;"),
        ("low/a.rs", ""),
        ("low/forgotten.rs", ""),
        ("other.rs", "use crate::low::X;"),
    ];
    let found = try_check(ROWS, &files).unwrap();
    assert_eq!(
        list(&found),
        "low/forgotten.rs: no `mod` line declares this file\n\
         other.rs: the module `other` is in no row of the order\n\
         high: this row of the order has no file\n"
    );
    assert!(found.iter().all(|it| it.rule == Rule::Known));
}

#[test]
fn a_name_that_only_starts_like_a_row_is_not_in_the_row() {
    let files = [
        ("lib.rs", "mod low; mod lower; mod high;"),
        ("low.rs", ""),
        ("lower.rs", ""),
        ("high.rs", ""),
    ];
    let found = list(&try_check(ROWS, &files).unwrap());
    assert_eq!(found, "lower.rs: the module `lower` is in no row of the order\n");
}

#[test]
fn a_file_belongs_to_the_longest_of_nested_rows() {
    let files = [
        ("lib.rs", "mod top;"),
        ("top.rs", "mod first; mod last;"),
        ("top/first.rs", "use super::last::It;"),
        ("top/last.rs", ""),
    ];
    let rows = &["top/first", "top/last", "top", "lib"];
    let found = list(&try_check(rows, &files).unwrap());
    assert_eq!(
        found,
        "top/first.rs:1: imports `super::last::It`, but `top/last` comes after `top/first`\n"
    );
}

#[test]
fn a_program_uses_the_library_by_its_name() {
    let mut files = vec![
        ("lib.rs", "mod low; pub mod high;"),
        ("low.rs", ""),
        ("high.rs", ""),
        ("main.rs", "use made_up::high::it;\nfn main() { made_up::run(); crate::own(); }"),
        ("build.rs", "fn main() {}"),
    ];
    let rows = &["build", "low", "high", "lib", "main"];
    assert_eq!(try_check(rows, &files).unwrap(), []);
    let early = &["build", "low", "main", "high", "lib"];
    assert_eq!(
        list(&try_check(early, &files).unwrap()),
        "main.rs:1: imports `made_up::high::it`, but `high` comes after `main`\n\
         main.rs:2: imports `made_up::run`, but `lib` comes after `main`\n"
    );
    // A crate without a library has its modules below the program.
    files.drain(..1);
    files[2].1 = "mod low; mod high; fn main() { high::it() }";
    files[0].1 = "use crate::high::Top;";
    assert_eq!(
        list(&try_check(&["build", "low", "high", "lib"], &files).unwrap()),
        format!("low.rs:1: {UPWARD}")
    );
}

#[test]
fn a_file_that_is_not_rust_and_a_module_elsewhere_are_errors() {
    let broken = [("lib.rs", "mod low;"), ("low.rs", "fn")];
    assert!(matches!(try_check(ROWS, &broken), Err(Error::Parse { .. })));
    let elsewhere = [("lib.rs", "#[path = \"x.rs\"] mod low;"), ("x.rs", "")];
    assert!(matches!(try_check(ROWS, &elsewhere), Err(Error::PathAttribute { line: 1, .. })));
    let nowhere = Layout { crate_name: "it", source: Path::new("/nonexistent"), rows: ROWS };
    assert!(matches!(nowhere.violations(), Err(Error::Read { .. })));
}

#[test]
fn types_with_any_pub_that_share_a_name_are_found_across_folders() {
    let one = source(&[
        ("lib.rs", "mod a; pub struct Twice; struct Private; pub struct Once;"),
        ("a.rs", "pub(crate) enum Twice {} pub(super) type Private = u8;\n#[cfg(test)] mod tests;"),
        ("a/tests.rs", "pub struct Once;"),
    ]);
    let two = source(&[("lib.rs", "pub mod inner {\n pub trait Twice {}\n}")]);
    let found = repeated_types(&[one.path(), two.path()]).unwrap();
    let places: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.places.clone())).collect();
    let expected = vec![
        (one.path().join("a.rs"), 1),
        (one.path().join("lib.rs"), 1),
        (two.path().join("lib.rs"), 2),
    ];
    assert_eq!(places, [("Twice", expected)]);
}
