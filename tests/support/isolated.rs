//! `isolated PROGRAM ARGUMENT…`: becomes a program in the state that every child of the tests
//! begins in.
//!
//! A test's process is large, and a fork copies its page tables; what is set between a fork and an
//! exec forbids the cheaper way (`vfork`). A tenth of all the processor time of the black-box tests
//! went there (measured on 29 November 2026). Started by this program, the guard needs no fork.

#![expect(clippy::expect_used, reason = "a test's own program fails by a panic")]

use std::{io::ErrorKind, os::unix::process::CommandExt as _, process::Command};

#[path = "children.rs"]
#[expect(dead_code, reason = "what the tests themselves start programs with")]
mod children;

fn main() {
    children::reset().expect("the state of a login");
    let mut words = std::env::args_os().skip(1);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    loop {
        let error = command.exec();
        // A process between its fork and its exec still holds open what a test has just written.
        assert_eq!(error.kind(), ErrorKind::ExecutableFileBusy, "{command:?}: {error}");
        std::thread::yield_now();
    }
}
