//! The tests themselves: their child processes do not depend on how the tests were started.

use std::path::Path;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use crate::support::hermetic_command;

#[test]
#[expect(unsafe_code, reason = "a signal's disposition is the whole process's")]
fn a_child_finds_no_signal_ignored_or_blocked_the_usual_umask_and_a_session_of_its_own() {
    // SIGURG is ignored by default, so other tests are not affected; the mask is this thread's.
    // SAFETY: SIG_IGN runs no code of this program.
    unsafe { signal(Signal::SIGURG, SigHandler::SigIgn) }.unwrap();
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]).thread_block().unwrap();
    // `cat` instead of the shell, which has its own mask and handlers.
    let output = hermetic_command("cat").arg("/proc/self/status").output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    // Signals 32 and 33 are reserved by the C library: no program can change them, so they stay as
    // in the parent session.
    let own = !(0b11_u64 << 31);
    let signals = |name: &str| u64::from_str_radix(of(name), 16).unwrap() & own;
    assert_eq!((signals("SigBlk:"), signals("SigIgn:"), of("Umask:")), (0, 0, "0022"));
    assert_eq!(of("NSsid:"), of("NSpid:"), "it leads its session");
    let output = hermetic_command("env").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "PATH=/usr/bin:/bin\n");
}

#[test]
fn no_test_starts_a_program_in_another_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In two pieces, so that this line itself is not found.
    let (other_way, mut files) = (["Command::", "new("].concat(), 0);
    for folder in
        ["tests/black_box", "integration/runner/tests", "integration/simulator/tests/simulator"]
    {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(
                !text.contains(&other_way),
                "{} starts a program without support::hermetic_command",
                file.display()
            );
        }
    }
    assert!(files > 40, "{files} files were looked at");
}
