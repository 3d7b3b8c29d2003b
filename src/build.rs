//! The build script: how the program is linked.

use std::{env, process::Command};

/// From this version on, the C library can read packed (RELR) relocations.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|set| set == value);
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    // At each start, over a hundred thousand addresses are relocated. Packed, their table takes
    // tens of kilobytes of the file; unpacked, it takes megabytes, all of which stay resident.
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is_native
        && library() >= Some(PACKED_SINCE)
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // In a debug build there are 390,000 of them, and the tests start thousands of guards. Linked
    // for a fixed address, none is left: a start takes 4 ms of processor time instead of 10
    // (measured on 29 November 2026).
    if is("PROFILE", "debug") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

/// The version of this machine's C library, from the output of `getconf`: `glibc 2.36`.
fn library() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = version.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
