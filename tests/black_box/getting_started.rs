//! `docs/getting-started.md`, followed literally: all its commands are read from the page itself,
//! and run one after the other in one account, as a newcomer would.

use emr_simulator::Sse;

use crate::{
    documentation::{self, Marker, Shown, blocks, is_as_shown},
    setup::events,
    support::{Played, SECRET, Stage, hermetic_command, programs},
};

const PAGE: &str = include_str!("../../docs/getting-started.md");

/// The page's reader: an empty account, a profile with the guard's credentials, and both programs
/// where a shell finds them.
fn newcomer() -> Stage {
    let stage = documentation::stage("empty account")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .without_env("EMR_ETL_GUARD_RUNNER");
    let folder = |name: &str| std::fs::create_dir(stage.path(name)).unwrap();
    folder(".aws");
    folder("bin");
    let profile = "[snowplow]\naws_access_key_id = AKIAGUARD\naws_secret_access_key = secret\n";
    stage.write(".aws/credentials", profile);
    let links =
        [("emr-etl-guard", &programs().guard), ("snowplow-emr-etl-runner", &programs().runner)];
    for (name, program) in links {
        std::os::unix::fs::symlink(program, stage.path("bin").join(name)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", stage.path("bin").display());
    stage.env("PATH", &path)
}

/// Runs a command as it is printed, in a shell in which those before it that export something were
/// run, and compares its exit code and its output with the page.
fn follow(stage: &Stage, exported: &mut String, line: usize, shown: &Shown) -> Played {
    let mut shell = hermetic_command("sh");
    shell.args(["-ec", &format!("{exported}{}", shown.command)]);
    stage.prepare(&mut shell);
    let played = stage.play(shell);
    let printed = format!("{}{}", played.stdout, played.stderr);
    let place = format!("docs/getting-started.md:{line}: $ {}", shown.command);
    assert_eq!(played.code, Some(shown.code()), "{place}\n{printed}");
    assert!(is_as_shown(&shown.output, &printed), "{place}\nprinted:\n{printed}");
    if shown.command.starts_with("export ") {
        exported.push_str(&shown.command);
        exported.push('\n');
    }
    played
}

#[test]
fn the_page_leads_from_an_empty_account_to_a_confirmed_run() {
    let stage = newcomer();
    assert!(stage.config.contains("encrypted: false"), "the config is unencrypted");
    let (mut exported, mut followed) = (String::new(), 0);
    let mut last = None;
    for block in blocks(PAGE) {
        let line = block.line;
        match &block.marker {
            Marker::World(world) if world == "empty account" && last.is_none() => {}
            Marker::Then(None) if last.is_some() => {}
            Marker::Then(Some(what)) if what == "events have arrived" => events(&stage),
            // Only what installs the guard.
            Marker::NotRun(_) if !block.commands.iter().any(Shown::is_the_guards) => continue,
            other => panic!("line {line}: {other:?} is no part of one path"),
        }
        for shown in &block.commands {
            // What a command prints is shown, and what shows nothing prints nothing.
            let played = follow(&stage, &mut exported, line, shown);
            assert!(!played.runner_started() || shown.command.contains(" run -- run "));
            last = Some((shown.command.clone(), played));
            followed += 1;
        }
    }
    let (command, run) = last.unwrap();
    assert_eq!(command, "emr-etl-guard run -- run -c config.yml -r resolver.json");
    assert!(run.runner_started() && run.code == Some(0), "{}", run.transcript());
    assert!(followed >= 10, "{followed}");
    assert!(!run.transcript().contains(SECRET));
    // What the page's reader ends with: one cluster, under the security configuration that was
    // made, and nothing in the pipeline's buckets that is not under the key that was made.
    stage.sim.with_world(|world| {
        let [cluster] = world.clusters.as_slice() else { panic!("{:?}", world.clusters) };
        let [made] = world.security_configurations.as_slice() else { panic!("more than one") };
        assert_eq!(cluster.security_configuration.as_ref(), Some(&made.name));
        let [key] = world.keys.as_slice() else { panic!("more than one key") };
        let own = world.buckets.values().filter(|bucket| bucket.account == key.account);
        let objects: Vec<_> = own.flat_map(|bucket| bucket.objects.values()).collect();
        assert!(objects.len() > 40, "{}", objects.len());
        for object in objects.iter().filter(|object| object.size > 0) {
            let is_under_the_key = matches!(&object.sse, Sse::Kms { key: Some(of), .. }
                if of.ends_with(&key.id));
            assert!(is_under_the_key, "{object:?}");
        }
    });
}
