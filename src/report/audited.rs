//! The output of an audit: the table for people, the report for programs, and the first line of a
//! refusal's mail.

use std::path::Path;

use time::OffsetDateTime;

use crate::{
    audit::{
        offenders::kind_name,
        scope::AuditTarget,
        source::{FactSource, InventorySource},
        tally::{AuditTally, ObjectCounts, ObjectJudgement, UncheckedObjects},
    },
    aws::trust::AwsConnections,
    base::{
        outcome::Outcome,
        printable::write_escaped_line,
        text::{grouped, grouped_count, size},
    },
    checks::stored::Standard,
    facts::stored::StoredEncryption,
    report::{
        audit_document::{AuditReport, AuditedEncryption, AuditedLocation, Totals, VERSION},
        caller::LocalCaller,
    },
    settings::policy::Policy,
};

/// The complete result.
#[derive(Debug)]
pub(crate) struct Audited<'a> {
    pub(crate) started: OffsetDateTime,
    pub(crate) ended: OffsetDateTime,
    pub(crate) source: FactSource,
    pub(crate) targets: &'a [AuditTarget],
    pub(crate) tallies: Vec<AuditTally>,
    pub(crate) wanted: &'a Standard,
    pub(crate) connections: AwsConnections,
}

impl Audited<'_> {
    fn tells_keys(&self) -> bool {
        matches!(self.source, FactSource::Live { .. })
    }

    fn judge(&self, stored: &StoredEncryption) -> ObjectJudgement {
        ObjectJudgement::of(self.wanted, stored, self.tells_keys())
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for tally in &self.tallies {
            totals.empty += tally.empty;
            totals.delete_markers += tally.delete_markers;
            totals.unseen += tally.hidden();
            for row in &tally.rows {
                totals.objects += row.counts.objects;
                totals.bytes += row.counts.bytes;
                match self.judge(&row.stored) {
                    ObjectJudgement::Accepted => {}
                    ObjectJudgement::Offender => {
                        totals.offenders += row.counts.objects;
                        totals.offending_bytes += row.counts.bytes;
                    }
                    ObjectJudgement::Untold => totals.unseen += row.counts.objects,
                }
            }
        }
        totals
    }

    fn is_complete(&self) -> bool {
        let untold = self
            .tallies
            .iter()
            .flat_map(|tally| &tally.rows)
            .any(|row| self.judge(&row.stored) == ObjectJudgement::Untold);
        !untold && self.tallies.iter().all(AuditTally::is_complete)
    }

    /// The outcome: failing objects take precedence over unseen ones, and those over success.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.totals().offenders {
            0 if self.is_complete() => Outcome::Ended(0),
            0 => Outcome::FactsUnknown,
            _ => Outcome::Refused,
        }
    }

    /// The report; `offenders` is the file that lists the failing objects.
    pub(crate) fn document(
        &self,
        policy: &Policy,
        offenders: Option<&Path>,
        outcome: Outcome,
        exit_code: u8,
    ) -> anyhow::Result<String> {
        let location = |(target, tally): (&AuditTarget, &AuditTally)| AuditedLocation {
            roles: target.roles.clone(),
            location: target.location.to_string(),
            kinds: sorted(tally)
                .map(|row| {
                    let (encryption, kms_key) = kind_name(&row.stored);
                    let kms_key = kms_key.map(str::to_owned);
                    AuditedEncryption {
                        encryption: encryption.to_owned(),
                        kms_key,
                        judgement: self.judge(&row.stored),
                        counts: row.counts,
                    }
                })
                .collect(),
            empty: tally.empty,
            delete_markers: tally.delete_markers,
            vanished: tally.vanished,
            unseen: tally.unseen.clone(),
            unlisted: tally.unlisted.clone(),
            no_bucket: tally.no_bucket,
        };
        let document = AuditReport {
            version: VERSION,
            guard: env!("CARGO_PKG_VERSION").to_owned(),
            command: "audit".to_owned(),
            started: self.started,
            ended: self.ended,
            who: Some(LocalCaller::of_this_process()),
            source: self.source.clone(),
            policy: policy.clone(),
            locations: self.targets.iter().zip(&self.tallies).map(location).collect(),
            totals: self.totals(),
            offenders_file: offenders.map(|file| file.display().to_string()),
            connections: self.connections.clone(),
            complete: self.is_complete(),
            outcome,
            exit_code,
        };
        Ok(format!("{}\n", crate::base::json::pretty(&document)?))
    }

    /// The table: a paragraph for each location, and in it a row for each kind of encryption.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (target, tally) in self.targets.iter().zip(&self.tallies) {
            if target.roles.is_empty() {
                write_escaped_line!(&mut text, "{}", target.location);
            } else {
                write_escaped_line!(&mut text, "{}  {}", target.name(), target.location);
            }
            if tally.no_bucket {
                write_escaped_line!(&mut text, "  UNKNOWN    no such bucket");
            }
            for row in sorted(tally) {
                let (encryption, key) = kind_name(&row.stored);
                let badge = match self.judge(&row.stored) {
                    ObjectJudgement::Accepted => "ok",
                    ObjectJudgement::Offender => "OFFENDER",
                    ObjectJudgement::Untold => "UNKNOWN",
                };
                let ObjectCounts { objects, bytes, noncurrent, .. } = row.counts;
                let old = if noncurrent == 0 {
                    String::new()
                } else {
                    format!(", {} of them old versions", grouped(noncurrent))
                };
                write_escaped_line!(
                    &mut text,
                    "  {badge:<10} {encryption:<9} {:>15} {:>10}  {}{old}{}",
                    grouped_count(objects, "object"),
                    size(bytes),
                    period(&row.counts),
                    key.map_or_else(String::new, |key| format!("  {key}"))
                );
            }
            for hidden in &tally.unseen {
                let first = hidden.first.as_deref().unwrap_or_default();
                write_escaped_line!(
                    &mut text,
                    "  UNKNOWN    {}, the first {first}: {}",
                    grouped_count(hidden.objects, "object"),
                    in_words(hidden)
                );
            }
            for hidden in &tally.unlisted {
                write_escaped_line!(
                    &mut text,
                    "  UNKNOWN    not listed to the end: {}",
                    in_words(hidden)
                );
            }
            if tally.vanished > 0 {
                write_escaped_line!(
                    &mut text,
                    "  -          {}: listed, and gone when asked",
                    grouped_count(tally.vanished, "object")
                );
            }
            let nothing: Vec<String> =
                [(tally.empty, "empty object"), (tally.delete_markers, "delete marker")]
                    .into_iter()
                    .filter(|(number, _)| *number > 0)
                    .map(|(number, what)| grouped_count(number, what))
                    .collect();
            if !nothing.is_empty() {
                write_escaped_line!(
                    &mut text,
                    "  -          {}: nothing in them to encrypt",
                    nothing.join(", ")
                );
            } else if tally.rows.is_empty() && tally.is_complete() {
                write_escaped_line!(&mut text, "  -          nothing there");
            }
        }
        text
    }

    /// The source in words.
    pub(crate) fn source_line(&self) -> String {
        match &self.source {
            FactSource::Live { versions, .. } => {
                if *versions {
                    "asked S3, all versions".to_owned()
                } else {
                    "asked S3, current versions (old ones: --versions)".to_owned()
                }
            }
            FactSource::Inventory { inventories, outside } => {
                let one = |inventory: &InventorySource| {
                    let InventorySource { format, bucket, created, age_seconds, rows, .. } =
                        inventory;
                    let (rows, created, age) = (
                        grouped_count(*rows, "row"),
                        crate::base::text::shown(*created),
                        age(*age_seconds),
                    );
                    format!("an inventory of {bucket} ({format}, {rows}) from {created}, {age} old")
                };
                let all: Vec<String> = inventories.iter().map(one).collect();
                let outside = if *outside == 0 {
                    String::new()
                } else {
                    format!("; {} in none of the locations", grouped_count(*outside, "row"))
                };
                format!(
                    "read {}; what was written since, and what its configuration leaves out, is \
                     not in it{outside}",
                    all.join(" and ")
                )
            }
        }
    }

    /// The one-line summary.
    pub(crate) fn verdict(&self, wanted: &str) -> String {
        let totals = self.totals();
        let seen = format!("{} ({})", grouped_count(totals.objects, "object"), size(totals.bytes));
        let unseen = self.unseen_in_words(&totals);
        match self.outcome() {
            Outcome::Refused => {
                let verb = if totals.offenders == 1 { "is" } else { "are" };
                let more =
                    if unseen.is_empty() { String::new() } else { format!("; besides, {unseen}") };
                format!(
                    "OFFENDERS: {} ({}) of {seen} {verb} not encrypted as required ({wanted}): \
                     {}{more}",
                    grouped_count(totals.offenders, "object"),
                    size(totals.offending_bytes),
                    self.offending_in_words()
                )
            }
            Outcome::FactsUnknown => format!(
                "NOT ALL WAS SEEN: {unseen}; what was seen, {seen}, is encrypted as required \
                 ({wanted})"
            ),
            _ => format!(
                "audit: {seen} in {} encrypted as required ({wanted})",
                grouped_count(self.targets.len() as u64, "location")
            ),
        }
    }

    fn offending_in_words(&self) -> String {
        let of_targets = self.targets.iter().zip(&self.tallies).filter_map(|(target, tally)| {
            let rows =
                sorted(tally).filter(|row| self.judge(&row.stored) == ObjectJudgement::Offender);
            let kinds: Vec<String> = rows
                .map(|row| format!("{} {}", grouped(row.counts.objects), described(&row.stored)))
                .collect();
            (!kinds.is_empty()).then(|| format!("{} {}", target.name(), kinds.join(" and ")))
        });
        of_targets.collect::<Vec<_>>().join("; ")
    }

    fn unseen_in_words(&self, totals: &Totals) -> String {
        let mut parts = Vec::new();
        if totals.unseen > 0 {
            parts.push(format!("{} could not be judged", grouped_count(totals.unseen, "object")));
        }
        let hidden =
            self.tallies.iter().flat_map(|tally| tally.unseen.iter().chain(&tally.unlisted));
        let mut reasons: Vec<String> = hidden.map(in_words).collect();
        reasons.sort();
        reasons.dedup();
        if self.tallies.iter().any(|tally| !tally.unlisted.is_empty()) {
            parts.push("a list could not be read to its end".to_owned());
        }
        for (target, _) in
            self.targets.iter().zip(&self.tallies).filter(|(_, tally)| tally.no_bucket)
        {
            parts.push(format!("there is no bucket {}", target.location.bucket));
        }
        if self
            .tallies
            .iter()
            .flat_map(|tally| &tally.rows)
            .any(|row| self.judge(&row.stored) == ObjectJudgement::Untold)
        {
            reasons.push(
                "an inventory has no KMS keys, and the policy expects one: audit these \
                without --inventory"
                    .to_owned(),
            );
        }
        let reasons =
            if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        format!("{}{reasons}", parts.join(", "))
    }
}

/// A tally's rows, in the order of the kinds.
fn sorted(tally: &AuditTally) -> impl Iterator<Item = &crate::audit::tally::TallyRow> {
    let mut rows: Vec<_> = tally.rows.iter().collect();
    rows.sort_by(|a, b| a.stored.cmp(&b.stored));
    rows.into_iter()
}

fn described(stored: &StoredEncryption) -> String {
    match (stored, kind_name(stored)) {
        (StoredEncryption::Unencrypted, _) => "unencrypted".to_owned(),
        (_, (kind, Some(key))) => format!("{kind} under {key}"),
        (_, (kind, None)) => kind.to_owned(),
    }
}

fn in_words(hidden: &UncheckedObjects) -> String {
    let UncheckedObjects { obstacle, denied, .. } = hidden;
    if *denied {
        format!("denied: {}; allow {}", obstacle.message, obstacle.operation)
    } else {
        format!("no answer: {}", obstacle.message)
    }
}

fn period(counts: &ObjectCounts) -> String {
    match (counts.oldest, counts.newest) {
        (Some(oldest), Some(newest)) if oldest.date() == newest.date() => {
            format!("{}", oldest.date())
        }
        (Some(oldest), Some(newest)) => format!("{} to {}", oldest.date(), newest.date()),
        _ => "undated".to_owned(),
    }
}

fn age(seconds: i64) -> String {
    let hours = seconds.max(0) / 3600;
    match hours {
        0 => "less than an hour".to_owned(),
        1..48 => format!("{hours} h"),
        _ => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 5_368_709_120].map(size),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "5.4 GB"]
        );
        assert_eq!(
            [-5, 3599, 7200, 200_000].map(age),
            ["less than an hour", "less than an hour", "2 h", "2 days"]
        );
    }
}
