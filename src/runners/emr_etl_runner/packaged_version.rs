//! The runner's version as its own files tell it, without starting it, which takes a JVM many
//! seconds.
//!
//! EmrEtlRunner is published as one executable: a start script of eight lines, and behind it the
//! jar that Warbler makes of its sources. `--version` prints a constant of one of these. Anything
//! that does not look exactly so is not judged here: the program is asked. Sources: EmrEtlRunner's
//! Rakefile, config/warble.rb, bin/jarx-stub.sh and lib/snowplow-emr-etl-runner.rb; Warbler 2.0.5,
//! traits/jar.rb and traits/nogemspec.rb.

use std::{
    io::{BufReader, Read as _, Seek as _},
    path::Path,
};

use regex_lite::Regex;

use crate::{spec::observations::RunnerVersion, system::held_file::HeldFile};

/// The lines of the start script that are no comments.
const START_SCRIPT: [&str; 8] = [
    r#"MYSELF=`which "$0" 2>/dev/null`"#,
    r#"[ $? -gt 0 -a -f "$0" ] && MYSELF="./$0""#,
    "java=java",
    r#"if test -n "$JAVA_HOME"; then"#,
    r#"    java="$JAVA_HOME/bin/java""#,
    "fi",
    r#"exec "$java" $java_args -jar $MYSELF "$@""#,
    "exit 1",
];
/// The real one has 1,095 bytes.
const LONGEST_SCRIPT: u64 = 16 * 1024;
/// The real ones have 40 MB.
const LARGEST_FILE: u64 = 1024 * 1024 * 1024;
/// The real one has 2 KB.
const LONGEST_SOURCE: u64 = 64 * 1024;
/// What Warbler starts, and what that starts.
const STARTS: [&str; 2] = ["JarMain.class", "META-INF/main.rb"];
/// Where the sources' own `lib/snowplow-emr-etl-runner.rb` lies.
const SOURCE: &str = "snowplow-emr-etl-runner/lib/snowplow-emr-etl-runner.rb";

/// The version of the runner in `file`, which is found at `path`; none where the file is not what is
/// published, or does not tell it beyond doubt.
pub(super) fn read(path: &Path, file: &HeldFile) -> Option<RunnerVersion> {
    let mut reader = file.reader().ok()?;
    if reader.seek(std::io::SeekFrom::End(0)).ok()? > LARGEST_FILE {
        return None;
    }
    let mut archive = zip::ZipArchive::new(BufReader::new(file.reader().ok()?)).ok()?;
    if !is_start_script(path, file, archive.offset())? {
        return None;
    }
    if !STARTS.iter().all(|name| archive.index_for_name(name).is_some()) {
        return None;
    }
    let mut sources = (0..archive.len()).filter(|&index| {
        let name = archive.name_for_index(index);
        matches!(name, Some(Ok(name)) if name.replace("/./", "/") == SOURCE)
    });
    let (index, another) = (sources.next()?, sources.next());
    if another.is_some() {
        return None;
    }
    let mut text = String::new();
    let source = archive.by_index(index).ok()?;
    // The size that the archive states need not be the true one.
    source.take(LONGEST_SOURCE + 1).read_to_string(&mut text).ok()?;
    if text.len() as u64 > LONGEST_SOURCE {
        return None;
    }
    version_in(&text)
}

/// Whether nothing but the published start script stands in the first `length` bytes; a jar alone
/// has nothing there.
fn is_start_script(path: &Path, file: &HeldFile, length: u64) -> Option<bool> {
    if length == 0 {
        return Some(path.extension().is_some_and(|extension| extension == "jar"));
    }
    if length > LONGEST_SCRIPT {
        return Some(false);
    }
    let mut text = String::new();
    file.reader().ok()?.take(length).read_to_string(&mut text).ok()?;
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Some(text.starts_with("#!/bin/sh\n") && lines.eq(START_SCRIPT))
}

/// The constant that `--version` prints, where there is exactly one.
fn version_in(source: &str) -> Option<RunnerVersion> {
    let constant = |name: &str| {
        let pattern = format!(r#"(?m)^\s*{name}\s*=\s*(?:"([^"\\#]*)"|'([^'\\]*)')\s*$"#);
        let pattern = Regex::new(&pattern).ok()?;
        let mut found = pattern.captures_iter(source);
        let (first, another) = (found.next()?, found.next());
        let value = first.get(1).or_else(|| first.get(2))?.as_str();
        another.is_none().then_some(value)
    };
    if constant("NAME")? != "snowplow-emr-etl-runner" || source.matches("VERSION").count() != 1 {
        return None;
    }
    // A suffix such as `-rc1` does not count, as in what the program prints.
    RunnerVersion::parse(constant("VERSION")?.split('-').next()?)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    const SCRIPT: &str = "#!/bin/sh\n\n# Copyright\n\nMYSELF=`which \"$0\" 2>/dev/null`\n[ $? -gt \
        0 -a -f \"$0\" ] && MYSELF=\"./$0\"\njava=java\nif test -n \"$JAVA_HOME\"; then\n    \
        java=\"$JAVA_HOME/bin/java\"\nfi\nexec \"$java\" $java_args -jar $MYSELF \"$@\"\nexit 1\n";
    const MAIN: (&str, &str) = ("JarMain.class", "");
    const START: (&str, &str) = ("META-INF/main.rb", "load 'x'");

    fn source(version: &str) -> String {
        format!(
            "# VERSIONS are told below\nrequire_relative 'x'\nmodule Snowplow\n  module \
             EmrEtlRunner\n    NAME    = \"snowplow-emr-etl-runner\"\n    {version}\n  end\nend\n"
        )
        .replace("VERSIONS", "Versions")
    }

    fn told(before: &str, entries: &[(&str, &str)]) -> Option<RunnerVersion> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snowplow-emr-etl-runner");
        let mut file = File::create(&path).unwrap();
        file.write_all(before.as_bytes()).unwrap();
        let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, text) in entries {
            jar.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            jar.write_all(text.as_bytes()).unwrap();
        }
        // As `cat` does it: what the archive says of places counts from its own beginning.
        file.write_all(&jar.finish().unwrap().into_inner()).unwrap();
        drop(file);
        read(&path, &HeldFile::open(&path).unwrap())
    }

    #[test]
    fn the_published_form_tells_its_version() {
        let wanted = Some(RunnerVersion(1, 0, 4));
        let text = source("VERSION = \"1.0.4\"");
        assert_eq!(told(SCRIPT, &[MAIN, START, (SOURCE, &text)]), wanted);
        let dotted = "snowplow-emr-etl-runner/./lib/snowplow-emr-etl-runner.rb";
        assert_eq!(told(SCRIPT, &[MAIN, START, (dotted, &text)]), wanted);
        let candidate = source("VERSION = '1.0.4-rc3'");
        assert_eq!(told(SCRIPT, &[MAIN, START, (SOURCE, &candidate)]), wanted);
    }

    #[test]
    fn what_is_not_exactly_the_published_form_tells_nothing() {
        let text = source("VERSION = \"1.0.4\"");
        let one = (SOURCE, text.as_str());
        let other_script = SCRIPT.replace("-jar $MYSELF", "-jar /opt/other.jar");
        let longer = format!("{SCRIPT}{}", "#\n".repeat(10_000));
        let dotted = "snowplow-emr-etl-runner/./lib/snowplow-emr-etl-runner.rb";
        for (before, entries, what) in [
            (other_script.as_str(), vec![MAIN, START, one], "a script that starts another jar"),
            ("", vec![MAIN, START, one], "an archive whose name is no jar's"),
            (longer.as_str(), vec![MAIN, START, one], "a long script"),
            (SCRIPT, vec![START, one], "nothing of Warbler's"),
            (SCRIPT, vec![MAIN, START], "no source"),
            (SCRIPT, vec![MAIN, START, one, (dotted, &text)], "two sources"),
            (SCRIPT, vec![MAIN, START, ("lib/snowplow-emr-etl-runner.rb", &text)], "another place"),
        ] {
            assert_eq!(told(before, &entries), None, "{what}");
        }
        let too_long = format!("{text}{}", "#\n".repeat(40_000));
        for source in [
            source("VERSION = \"1.0\""),
            source("VERSION = \"1.0.x\""),
            source("VERSION = \"#{1}.0.4\""),
            source("VERSION = ENV['V']"),
            source("VERSION = \"1.0.4\"\n    VERSION = \"0.1.0\""),
            source("VERSION = \"1.0.4\"; VERSION = \"0.1.0\""),
            text.replace("snowplow-emr-etl-runner\"", "another\""),
            too_long,
        ] {
            assert_eq!(told(SCRIPT, &[MAIN, START, (SOURCE, &source)]), None, "{source:.300}");
        }
    }

    #[test]
    fn a_file_that_is_no_archive_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner.jar");
        for bytes in [b"".as_slice(), b"#!/bin/sh\n", b"PK\x03\x04", b"PK\x05\x06\0\0\0\0"] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path, &HeldFile::open(&path).unwrap()), None, "{bytes:?}");
        }
    }
}
