//! The fixes of a check's findings as one shell script, to be reviewed and then run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    path::Path,
};

use crate::{
    base::printable::Printable,
    checks::{
        catalogue::CATALOGUE,
        finding::{Finding, Level, Status},
    },
    system::{marked_file::MarkedFile, output::draft},
};

/// The second line of every script that the guard writes; a file with it may be overwritten.
const MARK: &str = "# Written by `emr-etl-guard check --fix-script`.";
/// Scripts are for their owner alone.
const SCRIPT: MarkedFile = MarkedFile { mark: MARK, line: 1, mode: 0o700, others: not_own };

/// The error for a file that the guard has not written.
fn not_own() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "it exists, and the guard did not write it; expected: a new name, or an earlier \
        script of the guard; fix: give another name, or remove the file",
    )
}

/// Commands that are written as comments, because their effects cannot be undone.
const BY_HAND: [&str; 3] =
    ["aws emr terminate-clusters ", "aws kms create-key ", "aws ec2 associate-dhcp-options "];

/// Checks that a script can be written to `file`.
///
/// # Errors
/// When it cannot be created, or when a file exists that the guard has not written.
pub(crate) fn probe(file: &Path) -> io::Result<()> {
    draft(file, 0o600)?;
    SCRIPT.exists(file).map(drop)
}

/// Writes the script, with permissions for its owner alone.
///
/// # Errors
/// As [`probe`].
pub(crate) fn write(file: &Path, findings: &[Finding]) -> io::Result<()> {
    SCRIPT.write(file, &script(findings))
}

/// The whole script. All foreign text is printable, so it contains no newline and cannot end a
/// comment. Commands contain such text only as quoted words.
fn script(findings: &[Finding]) -> String {
    let mut text = format!(
        "#!/bin/sh\n{MARK}\n# Version {}. Read it before you run it: each block is about one \
         finding, in the order of the checks.\nset -eu\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut written = BTreeSet::new();
    let in_order = |open: &dyn Fn(&&Finding) -> bool| -> Vec<&Finding> {
        let of_check = CATALOGUE
            .iter()
            .flat_map(|check| findings.iter().filter(|finding| finding.check.name == check.name));
        of_check.filter(open).collect()
    };
    for finding in in_order(&|finding| finding.is_open() && finding.waits_for.is_none()) {
        block(&mut text, finding, &mut written);
    }
    let waiting = asked_next(findings);
    if !waiting.is_empty() {
        text.push('\n');
    }
    for line in waiting {
        let _ = writeln!(text, "# {line}");
    }
    if findings.iter().all(|finding| !finding.is_open()) {
        text.push_str("\n# No finding is open: there is nothing to fix.\n");
    }
    text
}

fn block<'a>(text: &mut String, finding: &'a Finding, written: &mut BTreeSet<&'a str>) {
    let status = match finding.status {
        Status::Unknown => "unknown",
        _ => "failed",
    };
    let level = match finding.level {
        Level::Required => "required",
        Level::Advisory => "advisory",
    };
    let at = finding.at.as_ref().map_or_else(String::new, |at| format!(" ({at})"));
    let _ = writeln!(text, "\n# {}: {}", finding.check.name, finding.subject);
    let _ = writeln!(text, "#   {status}, {level}");
    let _ = writeln!(text, "#   seen:     {}{at}", finding.saw);
    let _ = writeln!(text, "#   expected: {}", finding.wanted);
    if let Some(fix) = &finding.fix {
        let _ = writeln!(text, "#   fix:      {fix}");
    }
    if finding.commands.is_empty() {
        text.push_str("# No command can do this: follow the fix above.\n");
    }
    for command in finding.commands.iter().map(Printable::as_str) {
        if finding.has_script {
            let _ = writeln!(text, "{command}");
        } else if !written.insert(command) {
            text.push_str("# The command of this fix is above already.\n");
        } else if BY_HAND.iter().any(|start| command.starts_with(start)) {
            text.push_str("# Decide about this one, and run it by hand:\n");
            let _ = writeln!(text, "# {command}");
        } else {
            let _ = writeln!(text, "{command}");
        }
    }
}

/// The checks that can only run after others have passed: one line for each of those.
pub(crate) fn asked_next(findings: &[Finding]) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.is_open() && !finding.counted) {
        let Some(first) = finding.waits_for else { continue };
        let names = next.entry(first).or_default();
        if !names.contains(&finding.check.name) {
            names.push(finding.check.name);
        }
    }
    let first_in_order = CATALOGUE.iter().filter_map(|check| next.get_key_value(check.name));
    first_in_order
        .map(|(first, names)| format!("Asked next, once {first} passes: {}", names.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;
    use crate::checks::{catalogue::find, fix::CommandContext};

    const EVIL: &str = "x\n$(touch ran); `touch ran`\r'; touch ran #\u{2028}\\";

    fn failed(check: &str, subject: &str) -> Finding {
        let mut finding = find(check).unwrap().on(subject, EVIL).at(Some(EVIL)).failed(EVIL);
        finding.complete_fix(&CommandContext {
            profile: Some("night run".to_owned()),
            ..CommandContext::in_region("eu-west-1")
        });
        finding
    }

    fn all() -> Vec<Finding> {
        let waiting = find("s3-at-rest").unwrap().on("sc", "configured");
        vec![
            failed("kms-key-rotation", EVIL).with_value("key", EVIL),
            failed("bucket-public-access-block", EVIL),
            failed("bucket-public-access-block", "acme-out"),
            failed("bucket-public-access-block", "acme-out"),
            failed("persistent-cluster", "j-1"),
            failed("subnet-set", "aws.emr.ec2_subnet_id"),
            waiting.waiting_for(find("security-configuration-exists").unwrap()),
        ]
    }

    #[test]
    fn the_script_runs_the_commands_of_the_fixes_and_nothing_that_others_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fix.sh");
        let mut findings = all();
        for finding in &mut findings {
            finding.complete_fix(&CommandContext {
                profile: Some("night run".to_owned()),
                ..CommandContext::in_region("eu-west-1")
            });
        }
        write(&file, &findings).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Command::new("sh").arg("-n").arg(&file).status().unwrap().success());
        // Another process writes it: a file that is open for writing in this process cannot be
        // executed.
        let stub = r#"printf '#!/bin/sh\nprintf "<%%s>" "$@" >> called\necho >> called\n' > aws; chmod 700 aws"#;
        let made = Command::new("sh").args(["-c", stub]).current_dir(folder.path()).status();
        assert!(made.unwrap().success());
        let status = Command::new("sh")
            .arg(&file)
            .current_dir(folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .status()
            .unwrap();
        assert!(status.success());
        let called = fs::read_to_string(folder.path().join("called")).unwrap();
        let shown = Printable::from(EVIL);
        let at = "<--region><eu-west-1><--profile><night run>";
        let block = "<--public-access-block-configuration><BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true>";
        assert_eq!(
            called,
            format!(
                "<s3api><put-public-access-block>{at}<--bucket><{shown}>{block}\n\
                 <s3api><put-public-access-block>{at}<--bucket><acme-out>{block}\n\
                 <kms><enable-key-rotation>{at}<--key-id><{shown}>\n"
            )
        );
        assert!(!folder.path().join("ran").exists());
        insta::assert_snapshot!(script(&findings).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn only_a_script_of_the_guard_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fix.sh");
        for _ in 0..2 {
            probe(&file).unwrap();
            write(&file, &all()).unwrap();
        }
        for text in ["", "#!/bin/sh\nrm -r /\n", "something"] {
            fs::write(&file, text).unwrap();
            for refused in [probe(&file), write(&file, &all())] {
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{text}");
            }
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let link = folder.path().join("link.sh");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(probe(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
