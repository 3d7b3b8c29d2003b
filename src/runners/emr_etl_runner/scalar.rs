//! Psych's conversion of a plain scalar: the expressions of its own `ScalarScanner`, in its own
//! order.
//!
//! Source: `lib/psych/scalar_scanner.rb` of psych 3.3.2 (JRuby 9.3) and 4.0.3 (Ruby 3.1). Where the
//! two differ, and where the sealed form does not support a value (a date, a symbol), the result is
//! [`Value::Other`], which is rejected wherever it would be passed on.

use std::{
    num::{IntErrorKind, ParseIntError},
    sync::LazyLock,
};

use regex_lite::Regex;
use time::{Date, Month};

use crate::runners::emr_etl_runner::yaml_value::Value;

/// The kind of a text that Ruby reads as a date. The sealed form contains it as written.
pub(super) const DATE: &str = "a date";
/// For earlier years the Ruby versions use different calendars.
const FIRST_GREGORIAN_YEAR: i32 = 1583;
/// The kind of a text that Ruby reads as a number and raises on.
pub(super) const RAISES: &str = "a number that it cannot read";

/// Compiles an expression of this module; all of them are constants, and a test compiles each.
fn expression(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

macro_rules! expressions {
    ($($name:ident = $text:literal;)*) => {
        $(static $name: LazyLock<Option<Regex>> = LazyLock::new(|| expression($text));)*

        #[cfg(test)]
        const ALL: &[(&str, &LazyLock<Option<Regex>>)] = &[$((stringify!($name), &$name)),*];
    };
}

expressions! {
    WORD = r"^[^0-9.:-]?[A-Za-z_ \t\r\n\x0b\x0c!@\#$%^&*(){}<>|/\\~;=]+";
    TIME = r"^-?[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9][0-9]:[0-9][0-9](?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}:?(?:[0-9][0-9])?))?$";
    DATE_FORM = r"^[0-9]{4}-(?:1[012]|0[0-9]|[0-9])-(?:[12][0-9]|3[01]|0[0-9]|[0-9])$";
    SPECIAL = r"(?i)^(?:[-+]?\.inf|\.nan)$";
    SEXAGESIMAL = r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}$";
    SEXAGESIMAL_FLOAT = r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}\.[0-9_]*$";
    FLOAT = r"^[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][-+][0-9]+)?$";
    INTEGER = r"^(?:[-+]?0b[01_,]+|[-+]?0[0-7_,]+|[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0x[0-9a-fA-F_,]+)$";
    // Additional numbers of psych before 4.
    OLD_INTEGER = r"^[-+]?[1-9][0-9_,]*$";
}

fn fits(expression: &LazyLock<Option<Regex>>, text: &str) -> bool {
    expression.as_ref().is_some_and(|expression| expression.is_match(text))
}

fn other(kind: &'static str, text: &str) -> Value {
    Value::Other { kind, text: text.into() }
}

/// What Psych loads for the plain scalar `text`.
pub(super) fn tokenize(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    if text.contains('\n') {
        // In a text of up to five characters Psych looks for a boolean on each line.
        return if text.chars().count() > 5 {
            Value::Text(text.into())
        } else {
            other("something of its own, line by line,", text)
        };
    }
    if fits(&WORD, text) {
        return word(text);
    }
    if fits(&TIME, text) {
        other("a time", text)
    } else if fits(&DATE_FORM, text) {
        date(text)
    } else if fits(&SPECIAL, text) {
        // JRuby's own Psych raises on the sign.
        other(if text.starts_with('+') { RAISES } else { "a special number" }, text)
    } else if text.len() > 1 && text.starts_with(':') {
        other("a symbol", text)
    } else if fits(&SEXAGESIMAL, text) {
        sexagesimal(text).map_or_else(|| other("a number to base 60", text), Value::Integer)
    } else if fits(&SEXAGESIMAL_FLOAT, text) {
        other("a number to base 60", text)
    } else if fits(&FLOAT, text) {
        float(text)
    } else if fits(&INTEGER, text) {
        match integer(text) {
            Ok(number) => Value::Integer(number),
            Err(error)
                if matches!(
                    error.kind(),
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow
                ) =>
            {
                other("a number too large to judge", text)
            }
            Err(_) => other(RAISES, text),
        }
    } else if fits(&OLD_INTEGER, text) {
        other("a number, in some versions of Ruby,", text)
    } else {
        Value::Text(text.into())
    }
}

fn word(text: &str) -> Value {
    if text.chars().count() > 5 {
        return Value::Text(text.into());
    }
    match text.to_ascii_lowercase().as_str() {
        "~" | "null" => Value::Null,
        "yes" | "true" | "on" => Value::Bool(true),
        "no" | "false" | "off" => Value::Bool(false),
        _ => Value::Text(text.into()),
    }
}

fn date(text: &str) -> Value {
    match calendar_date(text) {
        Some(date) if date.year() >= FIRST_GREGORIAN_YEAR => other(DATE, text),
        Some(_) => other("a date of an old calendar", text),
        None if text < "1583" => other("a date of an old calendar", text),
        // A day that does not exist in the calendar stays text.
        None => Value::Text(text.into()),
    }
}

/// The day of `2020-1-31`, if it exists.
pub(super) fn calendar_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let mut next = || parts.next()?.parse::<u16>().ok();
    let (year, month, day) = (next()?, u8::try_from(next()?).ok()?, u8::try_from(next()?).ok()?);
    Date::from_calendar_date(year.into(), Month::try_from(month).ok()?, day).ok()
}

/// Psych's own sum: the first part counts 3600, the second 60 and the third 1, even when there are
/// only two.
fn sexagesimal(text: &str) -> Option<i64> {
    [3600, 60, 1].iter().zip(text.split(':')).try_fold(0_i64, |sum, (weight, part)| {
        let part: i64 = part.parse().ok()?;
        sum.checked_add(part.checked_mul(*weight)?)
    })
}

fn float(text: &str) -> Value {
    let unsigned = text.trim_start_matches(['-', '+']);
    if unsigned == "." {
        return Value::Text(text.into());
    }
    if unsigned.starts_with(".e") || unsigned.starts_with(".E") {
        return other(RAISES, text);
    }
    match text.replace([',', '_'], "").parse::<f64>() {
        Ok(number) if number.is_finite() => Value::Float(number),
        Ok(_) => other("a number too large to judge", text),
        Err(_) => other(RAISES, text),
    }
}

fn integer(text: &str) -> Result<i64, ParseIntError> {
    let clean = text.replace([',', '_'], "");
    let (sign, digits) = match clean.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", clean.strip_prefix('+').unwrap_or(&clean)),
    };
    let (radix, digits) = if let Some(binary) = digits.strip_prefix("0b") {
        (2, binary)
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        (16, hexadecimal)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    i64::from_str_radix(&format!("{sign}{digits}"), radix)
}

/// A float that Psych reads back: with a point, and a sign in the exponent.
pub(super) fn write_float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{mantissa}{point}e{sign}{exponent}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_compiles() {
        for (name, expression) in ALL {
            assert!(expression.is_some(), "{name}");
        }
    }

    #[test]
    fn numbers_are_read_as_yaml_1_1() {
        for (text, number) in [
            ("0755", 493),
            ("0x1F", 31),
            ("0b101", 5),
            ("1_000", 1000),
            ("1,000", 1000),
            ("-0755", -493),
            ("12:30:00", 45000),
            ("1:30", 5400),
            ("0", 0),
            ("+7", 7),
            ("0_", 0),
        ] {
            assert_eq!(tokenize(text), Value::Integer(number), "{text}");
        }
        for (text, number) in [
            ("5.10", 5.1),
            (".5", 0.5),
            ("1.", 1.0),
            ("1.5e+3", 1500.0),
            ("1,000.5", 1000.5),
            ("-1.e-2", -0.01),
        ] {
            assert_eq!(tokenize(text), Value::Float(number), "{text}");
        }
        for text in [
            "1e3",
            "5.29.0",
            ".",
            "0o17",
            "08",
            "1:99",
            "0b2",
            "é5",
            "2020-13-01",
            "-",
            "1-2",
            "2020-02-30",
            "2019-2-29",
        ] {
            assert_eq!(tokenize(text), Value::Text(text.into()), "{text}");
        }
    }

    #[test]
    fn words_are_booleans_and_nulls_in_any_case_and_only_whole() {
        assert_eq!(tokenize("oN"), Value::Bool(true));
        assert_eq!(tokenize("FaLsE"), Value::Bool(false));
        assert_eq!(tokenize("nUlL"), Value::Null);
        for text in ["y", "n", "yess", "nulls", "true false"] {
            assert_eq!(tokenize(text), Value::Text(text.into()), "{text}");
        }
    }

    #[test]
    fn what_the_sealed_form_cannot_carry_or_versions_read_differently_is_named() {
        for (text, kind) in [
            ("2020-01-01", "a date"),
            ("2020-1-1", "a date"),
            ("1582-12-31", "a date of an old calendar"),
            ("0000-02-30", "a date of an old calendar"),
            ("2020-01-01 00:00:00", "a time"),
            (":sym", "a symbol"),
            (".inf", "a special number"),
            ("1__0", "a number, in some versions of Ruby,"),
            ("99999999999999999999", "a number too large to judge"),
            (".e+3", RAISES),
            ("+.inf", RAISES),
            ("0b_", RAISES),
            ("1:30.5", "a number to base 60"),
        ] {
            assert!(
                matches!(tokenize(text), Value::Other { kind: seen, .. } if seen == kind),
                "{text}: {:?}",
                tokenize(text)
            );
        }
    }

    #[test]
    fn a_float_is_written_as_it_is_read() {
        for number in [0.0, -0.5, 5.1, 1e16, 1.5e300, 1e-7, f64::MAX, f64::MIN_POSITIVE, 0.015] {
            assert_eq!(tokenize(&write_float(number)), Value::Float(number), "{number}");
        }
    }
}
