//! The live view, read from a real terminal by a terminal emulator: what it shows, that it
//! disappears when it must, and that it never changes a line of the runner's.

use std::num::NonZero;

use emr_simulator::{ClockMode, Command as Set, Fault, FaultKind, SetClock, Timings};
use nix::sys::signal::{Signal, kill};

use crate::{
    support::{Stage, hermetic_command, runner_pid, wait_until},
    terminal::Terminal,
};

/// So many rows that nothing scrolls out of view.
const SIZE: (u16, u16) = (400, 160);

fn stage() -> Stage {
    // The table before the launch has colours, and the live view must have none here.
    Stage::acme().env("TERM", "xterm").env("NO_COLOR", "1")
}

fn run(stage: &Stage) -> Terminal {
    Terminal::start_sized(stage, &stage.bare_command("run"), SIZE)
}

/// The current content of the terminal, without the empty lines at its end.
fn screen(terminal: &Terminal) -> String {
    let [rows, columns] = [SIZE.0, SIZE.1].map(|size| NonZero::new(size).unwrap());
    let mut parser = vt100::Parser::new(rows, columns, 0);
    parser.process(terminal.shown().as_bytes());
    parser.screen().contents().trim_end().to_owned()
}

/// The rows of the live view in that content.
fn view(terminal: &Terminal) -> Vec<String> {
    let screen = screen(terminal);
    let lines: Vec<&str> = screen.lines().collect();
    let head = regex::Regex::new(r"^emr-etl-guard \d+:\d\d:\d\d  ").unwrap();
    let first = lines.iter().position(|line| head.is_match(line));
    first.map_or_else(Vec::new, |first| lines[first..].iter().map(ToString::to_string).collect())
}

/// Types a line once the shell prompts for one: earlier input may be discarded, with the terminal's
/// modes. Waits until the line is shown, so that this prompt is not taken for the next one.
#[track_caller]
fn type_at_prompt(terminal: &mut Terminal, line: &str) {
    let prompt = regex::Regex::new(r"^bash-[0-9.]+[#$]$").unwrap();
    wait_until("the shell asks", || {
        screen(terminal).lines().last().is_some_and(|last| prompt.is_match(last))
    });
    let typed = |screen: &str| screen.lines().filter(|shown| shown.ends_with(line)).count();
    let before = typed(&screen(terminal));
    terminal.press(&format!("{line}\n"));
    wait_until("it is typed", || typed(&screen(terminal)) > before);
}

/// Waits until a line is shown on its own, such as a shell's output.
#[track_caller]
fn wait_for_line(terminal: &Terminal, wanted: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !screen(terminal).lines().any(|line| line == wanted) {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain for `{wanted}`:\n{}",
            screen(terminal)
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[track_caller]
fn wait_for(terminal: &Terminal, what: &str, mut is_there: impl FnMut(&[String]) -> bool) {
    wait_until(&format!("the view shows {what}"), || is_there(&view(terminal)));
}

#[track_caller]
fn wait_for_text(terminal: &Terminal, text: &str) {
    wait_for(terminal, text, |rows| rows.join("\n").contains(text));
}

/// A run that cannot end before [`hurry`].
fn slow(stage: &Stage) {
    stage.set(Set::SetTimings(Timings {
        starting: 6.0,
        bootstrapping: 6.0,
        ..Timings::all(600.0)
    }));
}

fn hurry(stage: &Stage) {
    stage.set(Set::SetClock(SetClock { mode: ClockMode::Scaled(6000.0), at: None }));
}

#[test]
fn a_terminal_shows_each_cluster_while_it_is_watched_and_nothing_of_it_at_the_end() {
    let stage = stage();
    slow(&stage);
    let mut terminal = run(&stage);
    wait_for_text(&terminal, "watching 1 cluster");
    wait_for_text(&terminal, "  RUNNING  steps 0 of 13  ");
    wait_for_text(&terminal, " passed");
    let id = stage.sim.with_world(|world| world.clusters[0].id.clone());
    let rows = view(&terminal);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0].contains("  run 0"), "{rows:?}");
    assert!(rows[1].starts_with(&format!("  {id}  ")), "{rows:?}");
    hurry(&stage);
    assert_eq!(terminal.exit_code(), Some(0), "{}", terminal.shown());
    let colours = regex::Regex::new("\x1b\\[[1-9][0-9;]*m").unwrap();
    assert!(!colours.is_match(&terminal.shown()), "NO_COLOR");

    // The same run without the view leaves the same content on the terminal.
    let plain = self::stage().option("--progress=false");
    slow(&plain);
    let mut other = run(&plain);
    wait_until("it runs", || plain.sim.requests_for("RunJobFlow").len() == 1);
    hurry(&plain);
    assert_eq!(other.exit_code(), Some(0));
    assert!(!other.shown().contains('\x1b'), "{:?}", other.shown());
    let told = |terminal: &Terminal| {
        let ids = regex::Regex::new(r"\d+ objects").unwrap();
        let text =
            crate::support::redact_times(&screen(terminal)).replace("TERMINATED,", "TERMINATING,");
        ids.replace_all(&text, "N objects").into_owned()
    };
    assert_eq!(told(&terminal), told(&other));
}

#[test]
fn an_unsafe_cluster_stands_there_as_what_it_is() {
    let stage = stage().misbehave("drop-security-configuration");
    stage.set(Set::SetTimings(Timings { terminating: 600.0, ..Timings::all(60.0) }));
    let mut terminal = run(&stage);
    wait_for_text(&terminal, "UNSAFE, its end is awaited  ");
    assert!(
        screen(&terminal)
            .contains(" is unsafe and is being terminated: cluster-security-configuration")
    );
    hurry(&stage);
    assert_eq!(terminal.exit_code(), Some(76), "{}", terminal.shown());
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
}

#[test]
fn both_streams_of_the_runner_stand_above_it_whole_and_in_order() {
    // One by one, with incomplete lines that are completed later; then both in bursts.
    let script = r#"cat > /dev/null
i=0; while [ $i -lt 30 ]; do
  printf 'out %s begins' $i; [ $((i % 5)) = 0 ] && sleep 0.05
  printf ' and ends\n'
  i=$((i + 1))
done
sleep 0.5
i=0; while [ $i -lt 60 ]; do
  [ $i -ge 30 ] && echo "out $i begins and ends"
  echo "err $i" >&2
  i=$((i + 1))
done
: > done
while [ ! -e go ]; do sleep 0.05; done
exit 3"#;
    let stage = stage().scripted(script);
    let mut terminal = run(&stage);
    wait_until("all is written", || stage.path("done").exists());
    wait_for_text(&terminal, "no cluster yet");
    let check = |terminal: &Terminal| {
        let screen = screen(terminal);
        let of = |start: &str| {
            screen
                .lines()
                .filter(|line| line.starts_with(start))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("out "),
            (0..60).map(|number| format!("out {number} begins and ends")).collect::<Vec<_>>(),
            "{screen}"
        );
        assert_eq!(
            of("err "),
            (0..60).map(|number| format!("err {number}")).collect::<Vec<_>>(),
            "{screen}"
        );
    };
    wait_until("all has passed", || {
        screen(&terminal).contains("out 59 begins and ends") && screen(&terminal).contains("err 59")
    });
    check(&terminal);
    stage.write("go", "");
    assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.shown());
    check(&terminal);
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
}

#[test]
fn while_a_line_of_the_runners_is_open_nothing_is_drawn_on_it() {
    let stage = stage().scripted(
        "cat > /dev/null\necho first\nwhile [ ! -e shown ]; do sleep \
        0.05; done\nprintf 'half a line' >&2\n: > half\nwhile [ ! -e go ]; do sleep 0.05; \
        done\necho ' and the rest' >&2\nwhile [ ! -e end ]; do sleep 0.05; done\nexit 3",
    );
    let mut terminal = run(&stage);
    // The two streams have separate pipes: what is written later may arrive first.
    wait_for_line(&terminal, "first");
    stage.write("shown", "");
    wait_until("half a line is there", || {
        stage.path("half").exists() && screen(&terminal).ends_with("half a line")
    });
    // Several times the view's refresh interval: it would have reappeared by now.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(screen(&terminal).ends_with("\nhalf a line"), "{}", screen(&terminal));
    stage.write("go", "");
    wait_for_text(&terminal, "no cluster yet");
    assert!(
        screen(&terminal).contains("\nhalf a line and the rest\nemr-etl-guard 0:"),
        "{}",
        screen(&terminal)
    );
    stage.write("end", "");
    assert_eq!(terminal.exit_code(), Some(3));
}

#[test]
fn ctrl_z_takes_it_away_and_fg_brings_it_back() {
    let stage = stage();
    slow(&stage);
    let command = stage.bare_command("run");
    let mut shell = hermetic_command("bash");
    shell.args(["--norc", "--noprofile", "--noediting", "-i"]);
    let mut terminal = Terminal::start_sized(&stage, &shell, SIZE);
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.display()));
    terminal.press(&format!("{}\n", words.collect::<Vec<_>>().join(" ")));
    wait_for_text(&terminal, "watching 1 cluster");

    terminal.press("\x1a");
    terminal.wait_for("Stopped");
    type_at_prompt(&mut terminal, "echo \"stopped with $?\"");
    wait_for_line(&terminal, "stopped with 147");
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));

    type_at_prompt(&mut terminal, "fg");
    wait_for_text(&terminal, "watching 1 cluster");
    assert!(
        screen(&terminal).lines().any(|line| line == "stopped with 147"),
        "it takes away no line but its own: {}",
        screen(&terminal)
    );

    // While the guard is in the background, the terminal belongs to the shell.
    terminal.press("\x1a");
    wait_until("it is stopped again", || screen(&terminal).matches("Stopped").count() == 2);
    type_at_prompt(&mut terminal, "bg");
    type_at_prompt(&mut terminal, "echo in the background");
    wait_for_line(&terminal, "in the background");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
    type_at_prompt(&mut terminal, "fg");
    wait_for_text(&terminal, "watching 1 cluster");
    hurry(&stage);
    type_at_prompt(&mut terminal, "echo \"ended with $?\"");
    wait_for_line(&terminal, "ended with 0");
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
    type_at_prompt(&mut terminal, "exit");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn a_stop_takes_it_away_by_a_signal_or_by_the_keyboard() {
    let interrupted = stage().misbehave("hang");
    let mut terminal = run(&interrupted);
    wait_for_text(&terminal, "watching 1 cluster");
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130), "{}", terminal.shown());
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let stage = stage().misbehave("hang");
        let mut terminal = run(&stage);
        wait_for_text(&terminal, "watching 1 cluster");
        let guard =
            std::fs::read_to_string(format!("/proc/{}/status", runner_pid(&stage))).unwrap();
        let guard =
            guard.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
        kill(nix::unistd::Pid::from_raw(guard), signal).unwrap();
        assert_eq!(terminal.exit_code(), Some(128 + signal as i32), "{}", terminal.shown());
        assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
    }
}

#[test]
fn where_it_is_not_wanted_or_cannot_be_shown_there_is_no_escape_and_no_pipe() {
    let script = "cat > /dev/null\n[ -t 2 ] && echo 'standard error is the terminal'\necho second \
        >&2\nexit 3";
    let plain = |stage: Stage| {
        let mut terminal = run(&stage);
        assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.shown());
        assert!(!terminal.shown().contains('\x1b'), "{:?}", terminal.shown());
        assert!(
            terminal.shown().contains("standard error is the terminal"),
            "as it is without us: {}",
            terminal.shown()
        );
    };
    plain(stage().scripted(script).option("--progress=false"));
    plain(stage().scripted(script).option("--quiet"));
    plain(stage().scripted(script).env("TERM", "dumb"));
    plain(stage().scripted(script).without_env("TERM"));

    // Standard error goes elsewhere.
    let stage = stage().scripted("cat > /dev/null\necho out\necho err >&2\nexit 3");
    let command = stage.bare_command("run");
    let mut shell = hermetic_command("sh");
    shell
        .args(["-c", "exec \"$@\" 2> errors", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let mut terminal = Terminal::start_sized(&stage, &shell, SIZE);
    assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.shown());
    assert_eq!(std::fs::read_to_string(stage.path("errors")).unwrap(), "err\n");
    assert!(
        screen(&terminal).contains("\nout") && view(&terminal).is_empty(),
        "{}",
        screen(&terminal)
    );
}

#[test]
fn standard_output_that_goes_elsewhere_is_byte_for_byte_the_runners_while_the_terminal_shows_the_view()
 {
    let stage = stage().scripted(
        "cat > /dev/null\nprintf '\\377\\000 no newline'\nwhile [ ! -e \
        go ]; do sleep 0.05; done\nexit 3",
    );
    let command = stage.bare_command("run");
    let mut shell = hermetic_command("sh");
    shell
        .args(["-c", "exec \"$@\" > output", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let mut terminal = Terminal::start_sized(&stage, &shell, SIZE);
    wait_for_text(&terminal, "no cluster yet");
    stage.write("go", "");
    assert_eq!(terminal.exit_code(), Some(3), "{}", terminal.shown());
    let output = std::fs::read(stage.path("output")).unwrap();
    assert!(output.ends_with(b"\xff\x00 no newline"), "{}", String::from_utf8_lossy(&output));
    assert!(!output.contains(&0x1b));
    assert!(screen(&terminal).is_empty(), "{}", screen(&terminal));
}

#[test]
fn what_was_written_is_counted_while_it_is_looked_at() {
    let stage = stage();
    // Each object is slow.
    stage.set(Set::AddFault(Fault::every("HeadObject", FaultKind::Latency { ms: 300 })));
    let mut terminal = run(&stage);
    wait_for_text(&terminal, "looking at what was written");
    let bar = regex::Regex::new(r"^  \[[= ]{30}\] \d+ of [1-9]\d* objects listed so far, \d+/s$")
        .unwrap();
    wait_for(&terminal, "a bar", |rows| rows.iter().any(|row| bar.is_match(row)));
    assert_eq!(terminal.exit_code(), Some(0), "{}", terminal.shown());
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
}

#[test]
fn a_run_that_was_left_open_is_shown_while_it_is_closed() {
    let stage = stage();
    slow(&stage);
    let mut child = stage.command("run").spawn().unwrap();
    wait_until("the guard knows the cluster", || {
        let journals = std::fs::read_dir(stage.path("state/runs")).into_iter().flatten().flatten();
        journals
            .filter_map(|journal| std::fs::read_to_string(journal.path()).ok())
            .any(|text| text.contains("j-"))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // After it is described, its groups are requested.
    let slowly = FaultKind::Latency { ms: 1500 };
    stage.set(Set::AddFault(Fault::every("ListInstanceGroups", slowly)));
    let mut terminal = Terminal::start_sized(&stage, &stage.watch_resume(), SIZE);
    wait_for_text(&terminal, "which was left open: watching 1 cluster");
    hurry(&stage);
    assert_eq!(terminal.exit_code(), Some(0), "{}", terminal.shown());
    assert!(view(&terminal).is_empty(), "{}", screen(&terminal));
}
