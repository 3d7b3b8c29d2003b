//! Encryption settings in a step's arguments: those for Spark (`--conf`) and Hadoop (`-D`), which
//! override the cluster's own.
//!
//! Arguments may contain passwords, so only those are kept that are known to weaken encryption.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    facts::weakening::{self, Weakening, WeakeningSeverity},
    spec::s3_connector::S3Connector,
};

/// An argument of a step that weakens encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Argued")]
pub struct WeakeningArgument {
    /// The setting, and its effect.
    pub what: String,
    /// Whether documentation says so. If not, a person should review it.
    pub weakens: bool,
    /// The same if S3A writes to S3. Not recorded: the finding about it is.
    #[serde(skip)]
    pub weakens_s3a: bool,
}

/// Options that read settings from a file, which the guard cannot read.
const FILES: &[(&str, &str)] = &[
    (
        "--properties-file",
        "spark-submit reads that file instead of the cluster's spark-defaults.conf",
    ),
    ("-conf", "Hadoop reads settings from that file"),
];

/// The settings against encryption in `arguments`, and in the step's Java properties.
pub(crate) fn judge<'a>(
    arguments: &'a [String],
    properties: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<WeakeningArgument> {
    let mut found: Vec<WeakeningArgument> =
        properties.into_iter().filter_map(|(name, value)| setting(name, value)).collect();
    // One argument may hold a whole command line, as with `bash -c`, or several options, as with
    // extraJavaOptions.
    let words: Vec<&str> = arguments
        .iter()
        .flat_map(|argument| argument.split_whitespace())
        .map(|word| word.trim_matches(['"', '\'']))
        .collect();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).copied();
        if let Some((option, effect)) = FILES.iter().find(|(option, _)| {
            word == option || word.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))
        }) {
            found.push(WeakeningArgument {
                what: format!("{option}: {effect}"),
                weakens: true,
                weakens_s3a: true,
            });
        }
        let pair = match *word {
            "--conf" | "-c" | "-D" => next,
            word => word.strip_prefix("--conf=").or_else(|| word.strip_prefix("-D")),
        };
        found.extend(pair.into_iter().flat_map(of_pair));
    }
    found
}

/// Judges `name=value`. The value may hold such a pair again:
/// `spark.driver.extraJavaOptions=-Dspark.authenticate=false`.
fn of_pair(pair: &str) -> Vec<WeakeningArgument> {
    let Some((name, value)) = pair.split_once('=') else { return Vec::new() };
    let inner = value.trim_matches(['"', '\'']).strip_prefix("-D").map(of_pair).unwrap_or_default();
    setting(name, value).into_iter().chain(inner).collect()
}

fn setting(name: &str, value: &str) -> Option<WeakeningArgument> {
    let value = value.trim_matches(['"', '\'']);
    let found = weakening::judge_by_name(name, value)?;
    let Weakening { weight, effect, .. } = found;
    let on_s3a = found.on(S3Connector::S3a { maps_emrfs: true }).weight;
    let is_shown = !weakening::is_masked(value);
    Some(WeakeningArgument {
        what: format!("{name}={}: {effect}", weakening::shown(name, value)),
        // A value that AWS masks must be reviewed by a person.
        weakens: weight == WeakeningSeverity::Weakens && is_shown,
        weakens_s3a: on_s3a == WeakeningSeverity::Weakens && is_shown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(arguments: &[&str]) -> Vec<(String, bool)> {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| (*argument).to_owned()).collect();
        judge(&arguments, [])
            .into_iter()
            .map(|argued| (argued.what.split(':').next().unwrap().to_owned(), argued.weakens))
            .collect()
    }

    fn one(what: &str, weakens: bool) -> Vec<(String, bool)> {
        vec![(what.to_owned(), weakens)]
    }

    #[test]
    fn newer_releases_what_a_step_tells_s3a_weighs_where_s3a_writes() {
        let arguments = ["--conf", "spark.hadoop.fs.s3a.encryption.key=k"].map(str::to_owned);
        let found = judge(&arguments, []);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].weakens && found[0].weakens_s3a, "{found:?}");
        assert!(found[0].what.contains("(not shown)"), "{found:?}");
    }

    #[test]
    fn every_way_to_pass_a_setting_is_understood() {
        let off = one("spark.authenticate=false", true);
        for arguments in [
            &["spark-submit", "--conf", "spark.authenticate=false", "x.jar"][..],
            &["spark-submit", "--conf=spark.authenticate=false"],
            &["spark-submit", "-c", "spark.authenticate=false"],
            &["spark-submit", "--driver-java-options", "-Dspark.authenticate=false"],
            &["spark-submit", "--conf", "spark.driver.extraJavaOptions=-Dspark.authenticate=false"],
            &[
                "spark-submit",
                "--conf",
                "spark.driver.extraJavaOptions=-Xmx1g -Dspark.authenticate=false",
            ],
            &["bash", "-c", "spark-submit --conf 'spark.authenticate=false' x.jar"],
        ] {
            assert_eq!(judged(arguments), off, "{arguments:?}");
        }
        for arguments in
            [&["-Ddfs.encrypt.data.transfer=false"][..], &["-D", "dfs.encrypt.data.transfer=false"]]
        {
            assert_eq!(
                judged(arguments),
                one("dfs.encrypt.data.transfer=false", true),
                "{arguments:?}"
            );
        }
        assert_eq!(
            judged(&["--conf", "spark.hadoop.dfs.encrypt.data.transfer=false"]),
            one("spark.hadoop.dfs.encrypt.data.transfer=false", false)
        );
        assert_eq!(
            judged(&["--properties-file", "s3://acme/x.conf"]),
            one("--properties-file", true)
        );
        assert_eq!(judged(&["-conf", "/tmp/core-site.xml"]), one("-conf", true));
    }

    #[test]
    fn what_weakens_nothing_leaves_no_trace_and_a_secret_is_never_kept() {
        assert_eq!(
            judged(&[
                "--conf",
                "spark.authenticate=true",
                "-Dfs.s3.enableServerSideEncryption=true",
                "--conf",
                "spark.executor.memory=8G"
            ]),
            []
        );
        assert_eq!(
            judged(&[
                "--src",
                "s3://acme-raw-in/",
                "--srcPattern",
                ".+",
                "--targetSize",
                "24",
                "--conf"
            ]),
            []
        );
        let argued = judge(&["--conf".to_owned(), "spark.ssl.keyPassword=hunter2".to_owned()], []);
        assert_eq!(argued.len(), 1);
        assert!(!argued[0].what.contains("hunter2"), "{}", argued[0].what);
    }

    #[test]
    fn java_properties_of_a_step_count_too() {
        let (name, value) = ("hadoop.rpc.protection".to_owned(), "authentication".to_owned());
        assert!(judge(&[], [(&name, &value)])[0].weakens);
    }
}
