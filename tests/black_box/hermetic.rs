//! The tests themselves: what they start does not depend on how they were started.

use std::path::Path;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use crate::support::hermetic_command;

#[test]
#[expect(unsafe_code, reason = "a signal's disposition is the whole process's")]
fn a_child_finds_no_signal_ignored_or_blocked_the_usual_umask_and_a_session_of_its_own() {
    // Nobody feels this one, so that the other tests do not care; the mask is this thread's.
    // SAFETY: SIG_IGN is no function of ours.
    unsafe { signal(Signal::SIGURG, SigHandler::SigIgn) }.unwrap();
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]).thread_block().unwrap();
    // `cat` in the shell's place: a shell has a mask and handlers of its own.
    let output = hermetic_command("cat").arg("/proc/self/status").output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    // Signals 32 and 33 are the C library's own: it lets no program change them, so that they are
    // as the session was started with.
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
    // In two pieces, or this very line would be found.
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
