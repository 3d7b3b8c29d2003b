//! Reads the runner's version from its own files, without starting it, which takes a JVM many
//! seconds.
//!
//! EmrEtlRunner is published as one executable: a start script of eight lines, followed by the jar
//! that Warbler builds from its sources. `--version` prints a constant from one of these. A file
//! that differs from this form is not evaluated here: then the program is run. Sources:
//! EmrEtlRunner's Rakefile, config/warble.rb, bin/jarx-stub.sh and lib/snowplow-emr-etl-runner.rb;
//! Warbler 2.0.5, traits/jar.rb and traits/nogemspec.rb.

use std::{
    io::{BufReader, Read as _, Seek as _},
    path::Path,
};

use regex_lite::Regex;

use crate::{spec::observations::RunnerVersion, system::held_file::HeldFile};

/// The lines of the start script that are not comments.
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
/// The class that Warbler starts, and the file that this class starts.
const STARTS: [&str; 2] = ["JarMain.class", "META-INF/main.rb"];
/// The path of the sources' own `lib/snowplow-emr-etl-runner.rb`.
const SOURCE: &str = "snowplow-emr-etl-runner/lib/snowplow-emr-etl-runner.rb";

/// The version of the runner in `file`, which was found at `path`; none if the file differs from
/// the published form, or the version is not certain.
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
    // The size in the archive's directory may be wrong.
    source.take(LONGEST_SOURCE + 1).read_to_string(&mut text).ok()?;
    if text.len() as u64 > LONGEST_SOURCE {
        return None;
    }
    version_in(&text)
}

/// Whether the first `length` bytes contain only the published start script; a jar alone has none.
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
    // A suffix such as `-rc1` is ignored, as in the program's output.
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
        // Concatenated as with `cat`: the archive's offsets count from its own beginning.
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
