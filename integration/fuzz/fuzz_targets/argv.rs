//! Fuzzes the runner's arguments: any bytes, split at newlines.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../properties.rs"]
#[expect(dead_code, reason = "the other target needs the other property")]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::argv(bytes));
