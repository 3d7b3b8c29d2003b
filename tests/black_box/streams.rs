//! The runner's output through the guard: every byte, at any length, whatever the reader does.

use std::{
    io::Read as _,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::{Stage, hermetic_command, wait_until};

/// The maximum memory of the pass-through, whatever passes; most of it is the unoptimised guard
/// itself.
const MEMORY_KIB: u64 = 96 * 1024;

/// Both streams of a guard around `script`, with a quiet guard.
fn both_streams(stage: &Stage, command: &mut Command) -> (Vec<u8>, Vec<u8>) {
    command.env("EMR_ETL_GUARD_QUIET", "true");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stage.path("runner").exists());
    (output.stdout, output.stderr)
}

/// Reads the guard's output to its end without storing it. Returns its length, the number of bytes
/// that differ from `pattern` repeated, and the guard's peak memory in KiB.
fn drain(child: &mut Child, pattern: &[u8]) -> (u64, u64, u64) {
    const CHUNK: usize = 1 << 20;
    let (mut stdout, status) =
        (child.stdout.take().unwrap(), format!("/proc/{}/status", child.id()));
    let all_expected = pattern.repeat(CHUNK / pattern.len() + 2);
    let mut chunk = vec![0; CHUNK];
    let (mut length, mut others, mut memory) = (0_usize, 0, 0);
    loop {
        let read = stdout.read(&mut chunk).unwrap();
        if read == 0 {
            return (length as u64, others, memory);
        }
        let expected = &all_expected[length % pattern.len()..][..read];
        length += read;
        // Two slices are compared at once; bytes one by one take long where nothing is optimised.
        if chunk[..read] != *expected {
            let pairs = chunk[..read].iter().zip(expected);
            others += pairs.filter(|(byte, expected)| byte != expected).count() as u64;
        }
        // The high-water mark never falls, so the last value is the peak.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        memory = mark.unwrap_or(memory);
    }
}

#[test]
fn both_streams_pass_byte_for_byte_although_they_are_no_text() {
    // Every byte value, with NUL and incomplete characters, with and without a newline at the end.
    let script = r#"cat > /dev/null
i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; printf "\\$(printf %03o $((255 - i)))" >&2; i=$((i + 1)); done
printf '\n\303\n'; printf 'EMR jobflow \377 started' >&2
exit 3"#;
    let stage = Stage::acme().scripted(script);
    let guarded = both_streams(&stage, &mut stage.command("run"));
    let mut bare = hermetic_command(stage.path("runner"));
    stage.prepare(&mut bare);
    let bare = both_streams(&stage, &mut bare);
    assert_eq!(bare.0.len(), 259);
    assert_eq!(guarded, bare);
}

#[test]
fn a_line_of_a_hundred_megabytes_passes_in_constant_memory() {
    let stage = Stage::acme()
        .scripted("cat > /dev/null\nhead -c 100000000 /dev/zero | tr '\\0' x\necho\nexit 3")
        .option("--quiet");
    let mut child = stage.command("run").spawn().unwrap();
    let (length, others, memory) = drain(&mut child, b"x");
    assert_eq!((length, others), (100_000_001, 1), "the newline at its end");
    assert!(memory < MEMORY_KIB, "{memory} KiB");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_gigabyte_of_lines_passes_in_constant_memory() {
    let line = format!("{}\n", "x".repeat(119));
    let stage = Stage::acme()
        .scripted(&format!(
            "cat > /dev/null\nyes '{}' | head -c 1080000000\nexit 3",
            line.trim_end()
        ))
        .option("--quiet");
    let mut child = stage.command("run").spawn().unwrap();
    let (length, others, memory) = drain(&mut child, line.as_bytes());
    assert_eq!((length, others), (1_080_000_000, 0), "each line as it was written");
    assert!(memory < MEMORY_KIB, "{memory} KiB");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_reader_that_stalls_holds_the_runner_back_and_loses_nothing() {
    // It records its progress. Two pipes and a buffer hold a few hundred kilobytes; a runner
    // without backpressure would write all of it.
    let script = "cat > /dev/null\ni=0\nwhile [ $i -lt 100 ]; do head -c 100000 /dev/zero | tr \
        '\\0' x; i=$((i + 1)); echo $i > written; done\nexit 3";
    let stage = Stage::acme().scripted(script).option("--quiet");
    let mut child = stage.command("run").spawn().unwrap();
    let written = || {
        std::fs::read_to_string(stage.path("written"))
            .unwrap_or_default()
            .trim()
            .parse::<u32>()
            .unwrap_or_default()
    };
    let runner_blocks = || {
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).is_ok()
            && blocked_writers(child.id())
    };
    wait_until("the runner is held back", || written() > 0 && runner_blocks());
    assert!(written() < 20, "{} of 100 written with nobody reading", written());
    let (length, others, _) = drain(&mut child, b"x");
    assert_eq!((length, others), (10_000_000, 0));
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// Whether the guard's thread for the runner's output sleeps within a write to a full pipe.
fn blocked_writers(guard: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{guard}/task"))
        .unwrap()
        .filter_map(Result::ok)
        .map(|thread| thread.path());
    let of_output = |thread: &std::path::PathBuf| {
        std::fs::read_to_string(thread.join("comm"))
            .is_ok_and(|name| name.trim() == "runner-output")
    };
    // The system call's number comes first: 1 is `write` on x86-64, 64 on AArch64.
    let number = if cfg!(target_arch = "aarch64") { "64 " } else { "1 " };
    threads.filter(of_output).any(|thread| {
        std::fs::read_to_string(thread.join("syscall")).is_ok_and(|call| call.starts_with(number))
    })
}

#[test]
fn a_reader_that_leaves_early_costs_the_run_nothing() {
    let script = "cat > /dev/null\nhead -c 50000000 /dev/zero || exit 9\n: > done\nexit 3";
    let stage = Stage::acme().scripted(script).option("--quiet");
    let mut child = stage.command("run").spawn().unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(stage.path("done").exists(), "the runner came to its end");
}

#[test]
fn an_output_that_does_not_block_gets_every_byte_all_the_same() {
    let script = "cat > /dev/null\nhead -c 20000000 /dev/zero | tr '\\0' x\nexit 3";
    let stage = Stage::acme().scripted(script).option("--quiet");
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut command = stage.command("run");
    let mut child = command.stdout(writer).spawn().unwrap();
    // With its own end of the pipe.
    drop(command);
    let (length, others) = {
        let mut all = Vec::new();
        let mut reader = reader;
        reader.read_to_end(&mut all).unwrap();
        (all.len(), all.iter().filter(|byte| **byte != b'x').count())
    };
    assert_eq!((length, others), (20_000_000, 0));
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_run_without_any_output_at_all_keeps_its_code() {
    let stage = Stage::acme().scripted("cat > /dev/null\necho lost\necho lost >&2\nexit 3");
    let command = stage.bare_command("run");
    let mut closed = hermetic_command("sh");
    closed
        .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    stage.prepare(&mut closed);
    closed.stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(closed.status().unwrap().code(), Some(3));
}
