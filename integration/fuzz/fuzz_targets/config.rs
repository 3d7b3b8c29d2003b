//! Fuzzes ERB, YAML, the contract and the seal: any bytes as a config.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../properties.rs"]
#[expect(dead_code, reason = "the other target needs the other property")]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::config(bytes));
