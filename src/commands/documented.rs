//! Command lines in the documentation: each is one that the program accepts.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::cli::Cli;

/// The pages, from the repository's root.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let mut folders = vec![root.join("docs"), root.join("integration"), root.join("docker")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The command lines of the guard in a page, each with its line: in blocks of a shell or a crontab,
/// and in the text between backticks.
fn command_lines(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some("console" | "sh" | "crontab")) => {
                found.extend(after_name(line).map(|command| (index + 1, command)));
            }
            (None, None) => {
                let quoted = line.split('`').skip(1).step_by(2);
                let commands = quoted.filter(|text| text.starts_with("emr-etl-guard "));
                found.extend(commands.filter_map(after_name).map(|command| (index + 1, command)));
            }
            (None, Some(_)) => {}
        }
    }
    found
}

/// The command line of the guard in a line of a shell, without what the shell does with it.
fn after_name(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // There it is a name of something.
    if words.iter().find(|word| **word != "$") == Some(&"aws") {
        return None;
    }
    // `sudo -u emr-etl-guard emr-etl-guard …`
    let start = words.iter().rposition(|word| *word == "emr-etl-guard")?;
    // `docker run --entrypoint emr-etl-guard IMAGE …`
    if start > 0 && words[start - 1] == "--entrypoint" {
        return None;
    }
    let is_shell = |word: &&&str| ["#", "|", ">", "<", "&&", "||", "&", ";"].contains(*word);
    let command: Vec<&str> =
        words[start..].iter().take_while(|word| !is_shell(word)).copied().collect();
    // Alone it is the name of the program, of a user or of a unit.
    (command.len() > 1).then(|| command.join(" "))
}

/// Why the program does not accept a command line; none where it does, or shows its help, or where
/// only something is left out, as a text does that names a command.
fn refused(command: &str) -> Option<String> {
    let words = command.trim_end_matches(';').split(' ').map(OsString::from);
    let error = Cli::parse_from_process(words).err()?;
    let is_incomplete = error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
    (error.use_stderr() && !is_incomplete).then(|| error.to_string())
}

#[test]
fn each_command_line_of_the_documentation_is_accepted() {
    let mut wrong = Vec::new();
    let mut number = 0;
    for path in pages() {
        for (line, command) in command_lines(&fs::read_to_string(&path).unwrap()) {
            number += 1;
            // A placeholder of several arguments, or of any command.
            if ["…", "|", "COMMAND"].iter().any(|open| command.contains(open)) {
                continue;
            }
            if let Some(why) = refused(&command) {
                let why = why.lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}:{line}: {command}: {why}", path.display()));
            }
        }
    }
    assert!(number > 60, "{number} command lines were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn command_lines_are_found_and_a_wrong_flag_is_refused() {
    let page = "Say `emr-etl-guard check --only NAME`, or `check`:\n\n```console\n\
                $ emr-etl-guard audit --requre x config.yml > list    # no\n$ ls | emr-etl-guard\n\
                $ aws x --name emr-etl-guard --y\n```\n\
                ```text\nemr-etl-guard: error: PROBLEM\n```\n";
    let found = command_lines(page);
    assert_eq!(
        found,
        [
            (1, "emr-etl-guard check --only NAME".to_owned()),
            (4, "emr-etl-guard audit --requre x config.yml".to_owned()),
        ]
    );
    assert_eq!(refused(&found[0].1), None);
    assert!(refused(&found[1].1).unwrap().contains("--requre"));
}
