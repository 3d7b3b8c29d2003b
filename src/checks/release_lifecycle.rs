//! The check on AWS's support for the release, by a table that was read on a given date.

use time::{Date, macros::date};

use crate::{
    base::names::ReleaseLabel,
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
};

pub(super) static SUPPORTED: Check = Check {
    name: "release-supported",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "From the end of its support on, a release gets no security fixes, and AWS takes no \
        questions about it; from the end of its life on, AWS may take it away.",
    looks_at: "The release in aws.emr.ami_version on the day of the look, against AWS's table of \
        supported periods as it stood in September 2026.",
    asks: &[],
    fix: "raise aws.emr.ami_version to a release that AWS supports, once the pipeline was tested \
        on it; {subject} is not one",
    source: "Amazon EMR release guide, Amazon EMR standard support (Releases and supported \
        periods)",
};

/// When the table was read.
const TABLE_OF: &str = "September 2026";

/// The fix if the table does not have the release.
const LOOK_UP: &str = "look the release up in \
    https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-standard-support.html, or take a \
    newer emr-etl-guard";

/// The fix during extended support.
const ASK: &str = "raise aws.emr.ami_version to a release in standard support; or ask AWS Support \
    for the extension, with a migration plan, if that was not done yet";

/// The support period of some releases.
#[derive(Debug)]
struct SupportPeriod {
    /// Whether these are releases of the runtime for Apache Spark only, `emr-spark-…`.
    spark: bool,
    /// Major and minor number of the first release.
    first: (u32, u32),
    /// Major and minor number of the last release.
    last: (u32, u32),
    /// The last day of standard (before: bridge) support.
    standard: Date,
    /// The end of extended support, which accounts get on request.
    extended: Option<Date>,
    /// The first day on which AWS may remove the release.
    end_of_life: Date,
}

/// A row for one or more releases other than `emr-spark`.
const fn emr(
    first: (u32, u32),
    last: (u32, u32),
    standard: Date,
    extended: Option<Date>,
    end_of_life: Date,
) -> SupportPeriod {
    SupportPeriod { spark: false, first, last, standard, extended, end_of_life }
}

/// The end of bridge support, for releases from before 25 July 2024.
const BRIDGE: Date = date!(2026 - 08 - 31);
/// The end of extended support of 5.36 and 6.6 to 6.15: critical security fixes only.
const CRITICAL_FIXES: Date = date!(2027 - 06 - 30);
/// The end of extended support of 7.0 to 7.10: all of standard support.
const IN_FULL: Date = date!(2027 - 08 - 31);

/// Source: Amazon EMR release guide, "Amazon EMR standard support", [`TABLE_OF`]. For emr-spark-8.0
/// that release's own page has other dates, a year earlier; the table is newer.
static TABLE: [SupportPeriod; 17] = [
    emr((4, 0), (5, 35), BRIDGE, None, date!(2027 - 09 - 01)),
    emr((5, 36), (5, 36), BRIDGE, Some(CRITICAL_FIXES), date!(2028 - 07 - 01)),
    emr((6, 0), (6, 5), BRIDGE, None, date!(2027 - 09 - 01)),
    emr((6, 6), (6, 15), BRIDGE, Some(CRITICAL_FIXES), date!(2028 - 07 - 01)),
    emr((7, 0), (7, 2), BRIDGE, Some(IN_FULL), date!(2028 - 08 - 31)),
    extended_in_full(3, date!(2026 - 10 - 16)),
    extended_in_full(4, date!(2026 - 11 - 13)),
    extended_in_full(5, date!(2026 - 11 - 21)),
    extended_in_full(6, date!(2027 - 01 - 10)),
    extended_in_full(7, date!(2027 - 02 - 06)),
    extended_in_full(8, date!(2027 - 03 - 07)),
    extended_in_full(9, date!(2027 - 05 - 19)),
    extended_in_full(10, date!(2027 - 08 - 15)),
    emr((7, 11), (7, 11), date!(2027 - 11 - 03), None, date!(2028 - 11 - 04)),
    emr((7, 12), (7, 12), date!(2027 - 11 - 21), None, date!(2028 - 11 - 22)),
    emr((7, 13), (7, 13), date!(2028 - 04 - 20), None, date!(2029 - 04 - 21)),
    SupportPeriod {
        spark: true,
        ..emr((8, 0), (8, 0), date!(2028 - 05 - 20), None, date!(2029 - 05 - 21))
    },
];

/// A row for one of the releases 7.3 to 7.10.
const fn extended_in_full(minor: u32, standard: Date) -> SupportPeriod {
    emr((7, minor), (7, minor), standard, Some(IN_FULL), date!(2028 - 08 - 31))
}

/// The support of a release on a given day.
#[derive(Debug, PartialEq, Eq)]
enum Support {
    /// In full.
    Standard,
    /// For accounts that have requested it. Whether this account has is unknown.
    OnRequest,
    /// None.
    Ended,
}

impl SupportPeriod {
    fn of(release: &ReleaseLabel) -> Option<&'static Self> {
        let (major, minor, _) = release.version();
        let of_release = |period: &&Self| {
            period.spark == release.is_spark()
                && (period.first..=period.last).contains(&(major, minor))
        };
        TABLE.iter().find(of_release)
    }

    /// The first day without support: the end of extended support that AWS names, if there is one,
    /// else the day after the last one of standard support.
    fn end_of_support(&self) -> Date {
        self.extended.or(self.standard.next_day()).unwrap_or(self.standard)
    }

    fn on(&self, day: Date) -> Support {
        if day >= self.end_of_support() {
            Support::Ended
        } else if day > self.standard && self.extended.is_some() {
            Support::OnRequest
        } else {
            Support::Standard
        }
    }

    /// Its dates. It does not say which are over, so the text stays true.
    fn in_words(&self) -> String {
        let extended = self.extended.map_or_else(String::new, |day| {
            format!(", extended support until {day} for accounts that ask for it")
        });
        format!(
            "standard support until {}{extended}, end of support from {} on, end of life from {} \
             on",
            self.standard,
            self.end_of_support(),
            self.end_of_life
        )
    }
}

pub(super) fn supported(case: &Case<'_>) -> Finding {
    let release = &case.cluster.release;
    let subject = SUPPORTED
        .on(release.value.to_string(), "a release that AWS supports")
        .at(Some(&release.at));
    let Some(period) = SupportPeriod::of(&release.value) else {
        return subject.unknown(format!("AWS's table of {TABLE_OF} does not have it"), LOOK_UP);
    };
    let saw = period.in_words();
    match period.on(case.facts.asked_at.to_offset(time::UtcOffset::UTC).date()) {
        Support::Standard => subject.passed(saw),
        Support::OnRequest => {
            subject.unknown(format!("{saw}; whether this account did cannot be seen"), ASK)
        }
        Support::Ended => subject.failed(saw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{finding::Status, properties::World};

    #[test]
    fn newer_releases_each_is_supported_until_its_day() {
        use Support::{Ended, OnRequest, Standard};
        for (release, day, wanted) in [
            ("emr-5.29.0", date!(2026 - 08 - 31), Some(Standard)),
            ("emr-5.29.0", date!(2026 - 09 - 01), Some(Ended)),
            ("emr-4.9.6", date!(2027 - 09 - 01), Some(Ended)),
            ("emr-5.35.0", date!(2026 - 09 - 01), Some(Ended)),
            ("emr-5.36.2", date!(2026 - 09 - 01), Some(OnRequest)),
            ("emr-5.36.2", date!(2027 - 06 - 29), Some(OnRequest)),
            ("emr-5.36.2", date!(2027 - 06 - 30), Some(Ended)),
            ("emr-6.5.0", date!(2026 - 11 - 28), Some(Ended)),
            ("emr-6.15.0", date!(2026 - 11 - 28), Some(OnRequest)),
            ("emr-7.2.0", date!(2026 - 11 - 28), Some(OnRequest)),
            ("emr-7.5.0", date!(2026 - 11 - 21), Some(Standard)),
            ("emr-7.5.0", date!(2026 - 11 - 22), Some(OnRequest)),
            ("emr-7.10.0-latest", date!(2027 - 08 - 31), Some(Ended)),
            ("emr-7.13.0", date!(2028 - 04 - 20), Some(Standard)),
            ("emr-7.13.0", date!(2028 - 04 - 21), Some(Ended)),
            ("emr-spark-8.0.0", date!(2026 - 11 - 28), Some(Standard)),
            ("emr-spark-8.0.0", date!(2028 - 05 - 21), Some(Ended)),
            // Not in the table.
            ("emr-5.37.0", date!(2026 - 11 - 28), None),
            ("emr-7.14.0", date!(2026 - 11 - 28), None),
            ("emr-8.0.0", date!(2026 - 11 - 28), None),
            ("emr-spark-8.1.0", date!(2026 - 11 - 28), None),
            ("emr-spark-7.13.0", date!(2026 - 11 - 28), None),
        ] {
            let label = release.parse().unwrap();
            let seen = SupportPeriod::of(&label).map(|period| period.on(day));
            assert_eq!(seen, wanted, "{release} on {day}");
        }
    }

    #[test]
    fn newer_releases_the_table_has_no_release_twice_and_its_days_are_in_order() {
        for (index, period) in TABLE.iter().enumerate() {
            assert!(period.first <= period.last, "{period:?}");
            let days = [period.standard, period.end_of_support(), period.end_of_life];
            assert!(days.is_sorted(), "{period:?}");
            assert!(period.extended.is_none_or(|day| day <= period.end_of_support()));
            for other in &TABLE[..index] {
                let apart = other.spark != period.spark || other.last < period.first;
                assert!(apart, "{other:?} {period:?}");
            }
        }
    }

    #[test]
    fn newer_releases_one_that_the_table_does_not_have_is_not_judged() {
        let mut world = World::new(false, false);
        let mut judged = |release: &str| {
            world.cluster.release.value = release.parse().unwrap();
            let mut findings = world.of_check("release-supported");
            assert_eq!(findings.len(), 1);
            let (status, saw, _) = findings.remove(0);
            (status, saw)
        };
        // The date of this world is in 2024.
        assert_eq!(
            judged("emr-5.29.0"),
            (
                Status::Passed,
                "standard support until 2026-08-31, end of support from 2026-09-01 on, end of \
                 life from 2027-09-01 on"
                    .to_owned()
            )
        );
        assert_eq!(
            judged("emr-9.0.0"),
            (Status::Unknown, "AWS's table of September 2026 does not have it".to_owned())
        );
    }
}
