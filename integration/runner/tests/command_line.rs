//! Owns the comparison of command lines with the real program's results.

use standin_runner::argv::{Command, Options, Refusal, parse};

const RECORDED: &str = include_str!("recorded/argv.tsv");

fn options(line: &str) -> Options {
    match parse(line.split_whitespace()) {
        Ok(Command::Run(options)) => options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_recorded_command_line_is_refused_exactly_where_the_real_parser_refused_it() {
    // The command line alone made these end with 1; others with that code were rejected later.
    let refused = [
        "unknown-option",
        "noargs",
        "run-version",
        "badcmd",
        "badcmd2",
        "lint",
        "con-ambiguous",
        "missing-arg",
        "no-debug",
        "needless-arg",
        "enr-abbrev",
    ];
    let mut seen = 0;
    for row in RECORDED.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let outcome = parse(columns[1].split_whitespace());
        let expected = refused.contains(&columns[0]);
        assert_eq!(outcome.is_err(), expected, "{row}: {outcome:?}");
        if expected {
            assert_eq!(columns[2], "1", "{row}");
            seen += 1;
        }
    }
    assert_eq!(seen, refused.len());
}

#[test]
fn values_may_be_glued_and_names_cut_short_in_any_case() {
    for line in [
        "run -c a -r b",
        "run -ca -rb",
        "run --config=a --resolver=b",
        "run --conf a --reso b",
        "run --CONFIG a --ReSo=b",
    ] {
        let options = options(line);
        assert_eq!(options.config.as_deref(), Some("a"), "{line}");
        assert_eq!(options.resolver.as_deref(), Some("b"), "{line}");
    }
}

#[test]
fn the_last_config_wins_and_a_hyphen_is_a_value() {
    let options = options("run -c nope.yml -r r -c -");
    assert_eq!(options.config.as_deref(), Some("-"));
}

#[test]
fn letters_may_be_bundled_until_one_takes_a_value() {
    let options = options("run -dc a");
    assert!(options.debug);
    assert_eq!(options.config.as_deref(), Some("a"));
}

#[test]
fn a_single_hyphen_before_a_long_name_is_a_letter_with_its_value_glued() {
    assert_eq!(options("run -config a").config.as_deref(), Some("onfig"));
}

#[test]
fn options_end_at_a_stray_word_or_two_hyphens() {
    assert_eq!(options("run stray -c a").config, None);
    assert!(!options("run -c a -- --use-persistent-jobflow").use_persistent_jobflow);
}

#[test]
fn lists_are_cut_at_commas() {
    assert_eq!(options("run -x staging,enrich").skip, ["staging", "enrich"]);
}

#[test]
fn a_letter_without_an_option_of_its_own_begins_a_long_one() {
    assert!(matches!(parse(["-h"]), Ok(Command::Help(_))));
    assert!(options("run -u").use_persistent_jobflow);
    assert!(matches!(parse(["-v", "run"]), Ok(Command::Version)));
}

#[test]
fn an_unknown_option_is_answered_with_the_recorded_text() {
    let refusal =
        parse(["run", "-c", "config.yml", "-r", "resolver.json", "--nonsense"]).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Stderr(include_str!("recorded/b16-unknown-option.stderr").to_owned())
    );
}
