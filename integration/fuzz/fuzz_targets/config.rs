//! Fuzzes ERB, YAML, the contract and the seal: any bytes as a config.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::config(bytes));
