//! The connector that the cluster's programs use to reach S3. Its settings decide how objects are
//! encrypted.
//!
//! Source: Amazon EMR release guide, "Migration Guide: EMRFS to S3A Filesystem" and the release
//! notes of emr-spark-8.0.0.

use crate::base::names::ReleaseLabel;

/// From this release on, S3A is the connector for s3://, s3n:// and s3a:// alike.
const FIRST_WITH_S3A: ReleaseLabel = ReleaseLabel::new(7, 10, 0);

const EMRFS_CLASS: &str = "com.amazon.ws.emr.hadoop.fs.EmrFileSystem";
const S3A_CLASS: &str = "org.apache.hadoop.fs.s3a.S3AFileSystem";

/// Whether S3A reads the settings of EMRFS where it has none of its own; on by default.
const COMPATIBILITY: &str = "fs.s3a.emrfs.compatibility.enable";

/// The connector behind `s3://` and `s3n://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum S3Connector {
    /// EMR's own connector, which encrypts as the security configuration or `emrfs-site` says.
    Emrfs,
    /// Hadoop's connector, as EMR ships it, for at least one scheme or program.
    S3a {
        /// Whether settings of EMRFS also apply to it.
        maps_emrfs: bool,
    },
    /// Another class, for at least one scheme or program.
    Other,
}

impl S3Connector {
    /// The connector of a cluster of `release` with these properties: classification, name and
    /// value.
    pub(crate) fn of<'a>(
        release: &ReleaseLabel,
        properties: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Self {
        let mut maps_emrfs = true;
        // The classes for s3:// and s3n://: from core-site, and from Spark's own settings where
        // they differ.
        let mut classes: [[Option<&str>; 2]; 2] = [[None; 2]; 2];
        for (classification, name, value) in properties {
            let (by, name) = match (classification, name.strip_prefix("spark.hadoop.")) {
                ("core-site", _) => (0, name),
                ("spark-defaults" | "spark", Some(name)) => (1, name),
                _ => continue,
            };
            match name.strip_prefix("EMR.secret@").unwrap_or(name) {
                "fs.s3.impl" => classes[by][0] = Some(value),
                "fs.s3n.impl" => classes[by][1] = Some(value),
                COMPATIBILITY => maps_emrfs &= value.trim().eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        let has_s3a = release.is_spark() || *release >= FIRST_WITH_S3A;
        let s3a = Self::S3a { maps_emrfs };
        let of_class = |class: &str| match class.trim() {
            // The Spark-only releases no longer ship EMRFS.
            EMRFS_CLASS if !release.is_spark() => Self::Emrfs,
            S3A_CLASS => s3a,
            _ => Self::Other,
        };
        let by_default = if has_s3a { s3a } else { Self::Emrfs };
        let of_scheme = |by: usize, scheme: usize| {
            classes[by][scheme].or(classes[0][scheme]).map_or(by_default, of_class)
        };
        // Take the connector of the four that is known least about.
        let all = [of_scheme(0, 0), of_scheme(0, 1), of_scheme(1, 0), of_scheme(1, 1)];
        if all.contains(&Self::Other) {
            Self::Other
        } else if all.contains(&s3a) {
            s3a
        } else {
            Self::Emrfs
        }
    }

    /// Why the security configuration alone does not show how this connector's requests encrypt;
    /// `None` if it does.
    pub(crate) fn untold(self) -> Option<&'static str> {
        match self {
            Self::Emrfs | Self::S3a { maps_emrfs: true } => None,
            Self::S3a { maps_emrfs: false } => Some(
                "S3A writes to S3, and fs.s3a.emrfs.compatibility.enable is off: nothing says \
                 that the security configuration and --s3ServerSideEncryption reach it then",
            ),
            Self::Other => Some(
                "fs.s3.impl or fs.s3n.impl has something else write to S3 than EMRFS or S3A: \
                 nothing says how that encrypts",
            ),
        }
    }

    /// Whether the settings of S3A decide how objects are encrypted.
    pub(crate) fn is_s3a(self) -> bool {
        matches!(self, Self::S3a { .. } | Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        S3Connector::{Emrfs, Other, S3a},
        *,
    };

    #[test]
    fn newer_releases_the_connector_follows_from_the_release_and_the_properties() {
        let on = S3a { maps_emrfs: true };
        let off = S3a { maps_emrfs: false };
        let emrfs = |scheme| ("core-site", scheme, EMRFS_CLASS);
        let compatibility = |value| ("core-site", COMPATIBILITY, value);
        for (release, properties, wanted) in [
            ("emr-5.29.0", vec![], Emrfs),
            ("emr-7.9.0", vec![], Emrfs),
            ("emr-7.10.0", vec![], on),
            ("emr-7.13.0-latest", vec![], on),
            ("emr-spark-8.0.0", vec![], on),
            // Back to EMRFS, for both schemes.
            ("emr-7.10.0", vec![emrfs("fs.s3.impl"), emrfs("fs.s3n.impl")], Emrfs),
            // As older AWS pages describe it: S3A remains for s3n://.
            ("emr-7.10.0", vec![emrfs("fs.s3.impl")], on),
            ("emr-spark-8.0.0", vec![emrfs("fs.s3.impl"), emrfs("fs.s3n.impl")], Other),
            ("emr-7.9.0", vec![emrfs("fs.s3.impl")], Emrfs),
            (
                "emr-6.15.0",
                vec![
                    ("core-site", "fs.s3.impl", S3A_CLASS),
                    ("core-site", "fs.s3n.impl", S3A_CLASS),
                ],
                on,
            ),
            ("emr-7.12.0", vec![("core-site", "fs.s3.impl", "com.acme.Fs")], Other),
            ("emr-7.12.0", vec![("core-site", "EMR.secret@fs.s3.impl", "arn:x")], Other),
            // Only Spark has another setting.
            ("emr-7.12.0", vec![("spark-defaults", "spark.hadoop.fs.s3.impl", EMRFS_CLASS)], on),
            (
                "emr-7.12.0",
                vec![("spark-defaults", "spark.hadoop.fs.s3.impl", "com.acme.Fs")],
                Other,
            ),
            ("emr-7.9.0", vec![("spark-defaults", "spark.hadoop.fs.s3.impl", S3A_CLASS)], on),
            // In another classification, or with another name, the property has no effect.
            ("emr-7.12.0", vec![("hdfs-site", "fs.s3.impl", EMRFS_CLASS)], on),
            ("emr-7.12.0", vec![("spark-defaults", "fs.s3.impl", EMRFS_CLASS)], on),
            ("emr-7.12.0", vec![compatibility("true")], on),
            ("emr-7.12.0", vec![compatibility(" TRUE ")], on),
            ("emr-7.12.0", vec![compatibility("false")], off),
            ("emr-5.29.0", vec![compatibility("false")], Emrfs),
        ] {
            let label = release.parse().unwrap();
            let seen = S3Connector::of(&label, properties.iter().copied());
            assert_eq!(seen, wanted, "{release} {properties:?}");
        }
        assert!(on.untold().is_none() && Emrfs.untold().is_none());
        assert!(off.untold().is_some() && Other.untold().is_some());
        assert!(on.is_s3a() && off.is_s3a() && Other.is_s3a() && !Emrfs.is_s3a());
    }
}
