//! Fuzzes the reader of inventories in Parquet: any bytes as a file of one.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../properties.rs"]
#[expect(dead_code, reason = "the other targets need the other properties")]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::inventory_parquet(bytes));
