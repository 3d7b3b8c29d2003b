//! The cost of a repair, before and after, in one form: the number of requests of each kind, and
//! their cost at list prices. Every sum is an estimate, and is labelled as one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        prices::{self, NanoUsd, Prices},
        text::size,
    },
    reencrypt::machine::choice::{Choice, RepairMethod},
};

/// The estimated cost of an operation, at list prices.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Bill")]
pub(crate) struct CostEstimate {
    /// The billed items.
    pub(crate) items: Vec<Item>,
    /// Bytes that S3 copies.
    pub(crate) bytes_copied: u64,
    /// The total, in US dollars.
    pub(crate) usd: f64,
    /// Which price list this is.
    pub(crate) prices: String,
    /// Prices that are overridden by the settings.
    pub(crate) changed_prices: Vec<String>,
}

/// One billed item.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Item {
    /// The item.
    pub(crate) what: Paid,
    /// The storage class, where the price depends on it.
    pub(crate) storage_class: Option<String>,
    /// The quantity: a count, or bytes.
    pub(crate) number: u64,
    /// In US dollars.
    pub(crate) usd: f64,
}

/// The kinds of billed items.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Paid {
    /// PUT, COPY and POST requests, including parts and updates of the encryption.
    Writes,
    /// LIST requests.
    Lists,
    /// GET, HEAD and all other requests.
    Reads,
    /// Bytes read from a storage class with a retrieval fee.
    BytesRead,
    /// Calls to KMS, without bucket keys.
    KmsCalls,
    /// Requests to restore.
    Restores,
    /// Bytes that are restored.
    BytesRestored,
    /// Bytes that are deleted before the minimum storage duration of their class.
    BytesDeletedEarly,
    /// Jobs of S3 Batch Operations.
    BatchJobs,
    /// Their objects.
    BatchObjects,
    /// Objects that S3 lists to generate a manifest.
    ManifestObjects,
}

/// The size of a part of a multipart copy, unless that would give too many parts.
pub(crate) const PART: u64 = 512 * 1024 * 1024;

/// A running total over objects: quantities by kind, and by storage class where the price depends
/// on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    numbers: BTreeMap<(Paid, String), u64>,
    /// Early deletions: bytes and remaining days, by storage class.
    early: BTreeMap<(String, u64), u64>,
    bytes_copied: u64,
}

/// The properties of an object that its cost depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostInputs<'a> {
    pub(crate) size: u64,
    pub(crate) storage_class: &'a str,
    /// Days since it was written.
    pub(crate) age_days: u64,
    /// It is encrypted with a KMS key now.
    pub(crate) from_kms: bool,
    /// It will be encrypted with a KMS key.
    pub(crate) to_kms: bool,
    /// The bucket keeps versions: a copy deletes nothing.
    pub(crate) versioned: bool,
    /// The number of requests of one look-up of it.
    pub(crate) look: u64,
}

impl Cost {
    fn count(&mut self, what: Paid, class: &str, number: u64) {
        if number > 0 {
            *self.numbers.entry((what, class.to_owned())).or_default() += number;
        }
    }

    /// Adds one page of a listing.
    pub(crate) fn list(&mut self) {
        self.count(Paid::Lists, "", 1);
    }

    /// Adds requests that only read.
    pub(crate) fn read(&mut self, storage_class: &str, number: u64) {
        self.count(Paid::Reads, prices::class(storage_class), number);
    }

    /// Requests that write.
    pub(crate) fn write(&mut self, storage_class: &str, number: u64) {
        self.count(Paid::Writes, prices::class(storage_class), number);
    }

    /// Adds a requested restore.
    pub(crate) fn restore(&mut self, storage_class: &str, bytes: u64) {
        self.count(Paid::Restores, prices::class(storage_class), 1);
        self.count(Paid::BytesRestored, prices::class(storage_class), bytes);
    }

    /// Adds a job of S3 Batch Operations over this number of objects.
    pub(crate) fn job(&mut self, objects: u64) {
        self.count(Paid::BatchJobs, "", 1);
        self.count(Paid::BatchObjects, "", objects);
    }

    /// Adds objects that S3 lists to generate a manifest.
    pub(crate) fn manifest(&mut self, objects: u64) {
        self.count(Paid::ManifestObjects, "", objects);
    }

    /// Adds the change of an object: all its requests, and its other costs.
    pub(crate) fn add(&mut self, choice: Choice, object: CostInputs<'_>) {
        match choice {
            Choice::Nothing | Choice::Leave(_) => {}
            Choice::Do(method) => {
                // One look-up before, and one after.
                self.read(object.storage_class, 2 * object.look);
                self.write(object.storage_class, writes(method, object.size));
                self.came_with(method, object);
            }
            Choice::Restore => {
                self.read(object.storage_class, object.look);
                self.restore(object.storage_class, object.size);
            }
            // Deletions are free, except for the remaining minimum storage duration.
            Choice::Purge => {
                self.read(object.storage_class, 3);
                self.delete_early(object);
            }
        }
    }

    /// Adds the costs of a change other than its requests: KMS calls, bytes copied and read, and
    /// early deletion.
    pub(crate) fn came_with(&mut self, method: RepairMethod, object: CostInputs<'_>) {
        let keys = u64::from(object.from_kms) + u64::from(object.to_kms);
        self.count(
            Paid::KmsCalls,
            "",
            keys * if method == RepairMethod::CopyInParts {
                1 + object.size.div_ceil(PART)
            } else {
                1
            },
        );
        if method != RepairMethod::Update {
            self.bytes_copied = self.bytes_copied.saturating_add(object.size);
            if matches!(object.storage_class, "STANDARD_IA" | "ONEZONE_IA" | "GLACIER_IR") {
                self.count(Paid::BytesRead, object.storage_class, object.size);
            }
            if !object.versioned {
                self.delete_early(object);
            }
        }
    }

    /// Adds an object's deletion before the minimum storage duration of its class.
    pub(crate) fn delete_early(&mut self, object: CostInputs<'_>) {
        let days = prices::days_left(object.storage_class, object.age_days);
        if days > 0 {
            *self.early.entry((object.storage_class.to_owned(), days)).or_default() += object.size;
        }
    }

    /// Adds another total.
    pub(crate) fn join(&mut self, other: &Self) {
        for ((what, class), number) in &other.numbers {
            self.count(*what, class, *number);
        }
        for (key, bytes) in &other.early {
            *self.early.entry(key.clone()).or_default() += bytes;
        }
        self.bytes_copied = self.bytes_copied.saturating_add(other.bytes_copied);
    }

    /// Every billed item, with its cost in thousandths of millionths of a dollar.
    fn items(&self, prices: &Prices) -> Vec<(Paid, &str, u64, NanoUsd)> {
        let cost_of = |what: Paid, class: &str, number: u64| match what {
            Paid::Writes => prices.of(&format!("write-{class}"), number),
            Paid::Reads => prices.of(&format!("read-{class}"), number),
            Paid::Lists => prices.of("list", number),
            Paid::BytesRead => prices.of_bytes(&format!("read-gb-{class}"), number, None),
            Paid::KmsCalls => prices.of("kms", number),
            Paid::Restores => prices.of(&format!("restore-{class}"), number),
            Paid::BytesRestored => prices.of_bytes(&format!("restore-gb-{class}"), number, None),
            Paid::BatchJobs => prices.of("batch-job", number),
            Paid::BatchObjects => prices.of("batch-objects", number),
            Paid::ManifestObjects => prices.of("manifest-objects", number),
            Paid::BytesDeletedEarly => 0,
        };
        let mut items: Vec<_> = self
            .numbers
            .iter()
            .map(|((what, class), number)| {
                (*what, class.as_str(), *number, cost_of(*what, class, *number))
            })
            .collect();
        let mut early: BTreeMap<&str, (u64, NanoUsd)> = BTreeMap::new();
        for ((class, days), bytes) in &self.early {
            let of_class = early.entry(class).or_default();
            of_class.0 += bytes;
            of_class.1 += prices.of_bytes(&format!("month-{class}"), *bytes, Some(*days));
        }
        items.extend(
            early
                .into_iter()
                .map(|(class, (bytes, nano))| (Paid::BytesDeletedEarly, class, bytes, nano)),
        );
        items
    }

    fn nano(&self, prices: &Prices) -> NanoUsd {
        self.items(prices).iter().map(|(.., nano)| *nano).fold(0, u64::saturating_add)
    }

    /// The total in words: `12 writes in STANDARD, 48 reads, …: about $0.01 (…)`.
    pub(crate) fn shown(&self, prices: &Prices) -> String {
        let mut parts = Vec::new();
        for (what, class, number, _) in self.items(prices) {
            let of_class = if class.is_empty() { String::new() } else { format!(" in {class}") };
            parts.push(match what {
                Paid::Writes => format!("{number} writes{of_class}"),
                Paid::Reads => format!("{number} reads{of_class}"),
                Paid::Lists => format!("{number} lists"),
                Paid::BytesRead => format!("{} read{of_class}", size(number)),
                Paid::KmsCalls => format!("{number} KMS calls without bucket keys"),
                Paid::Restores => format!("{number} restores{of_class}"),
                Paid::BytesRestored => format!("{} restored{of_class}", size(number)),
                Paid::BytesDeletedEarly => {
                    format!("{}{of_class} deleted before its least time", size(number))
                }
                Paid::BatchJobs => format!("{number} batch jobs"),
                Paid::BatchObjects => format!("{number} objects in batch jobs"),
                Paid::ManifestObjects => format!("{number} objects looked at for a manifest"),
            });
        }
        if parts.is_empty() {
            return "nothing".to_owned();
        }
        if self.bytes_copied > 0 {
            parts.push(format!("{} copied", size(self.bytes_copied)));
        }
        format!("{}: about {} ({})", parts.join(", "), dollars(self.nano(prices)), prices::SOURCE)
    }

    /// The total for the JSON report.
    pub(crate) fn bill(&self, prices: &Prices) -> CostEstimate {
        let item = |(what, class, number, nano): (Paid, &str, u64, NanoUsd)| Item {
            what,
            storage_class: (!class.is_empty()).then(|| class.to_owned()),
            number,
            usd: usd(nano),
        };
        CostEstimate {
            items: self.items(prices).into_iter().map(item).collect(),
            bytes_copied: self.bytes_copied,
            usd: usd(self.nano(prices)),
            prices: prices::SOURCE.to_owned(),
            changed_prices: prices.changed(),
        }
    }
}

/// The number of requests that rewrite an object.
pub(crate) fn writes(method: RepairMethod, size: u64) -> u64 {
    match method {
        RepairMethod::Update | RepairMethod::Copy => 1,
        // Plus the requests that create and complete the upload.
        RepairMethod::CopyInParts => size.div_ceil(PART) + 2,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn usd(nano: NanoUsd) -> f64 {
    nano as f64 / 1e9
}

/// Rounded up to cents: an estimate that is too low misleads.
fn dollars(nano: NanoUsd) -> String {
    let cents = nano.div_ceil(10_000_000);
    format!("${}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prices::PriceChanges;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn prices() -> Prices {
        Prices::with(&PriceChanges::default())
    }

    fn object(storage_class: &str, age_days: u64) -> CostInputs<'_> {
        CostInputs {
            size: 10 * GIB,
            storage_class,
            age_days,
            from_kms: false,
            to_kms: true,
            versioned: false,
            look: 2,
        }
    }

    fn of(choice: Choice, object: CostInputs<'_>) -> Cost {
        let mut cost = Cost::default();
        cost.add(choice, object);
        cost
    }

    #[test]
    fn a_million_copies_cost_what_the_price_list_says() {
        let mut cost = Cost::default();
        for _ in 0..1_000_000 {
            cost.add(
                Choice::Do(RepairMethod::Copy),
                CostInputs { size: 1, ..object("STANDARD", 1) },
            );
        }
        // $5.00 for the copies, $1.60 for two look-ups of two requests each, $3.00 for KMS.
        assert_eq!(dollars(cost.nano(&prices())), "$9.60");
        let shown = cost.shown(&prices());
        assert!(
            shown.starts_with(
                "1000000 writes in STANDARD, 4000000 reads in STANDARD, 1000000 KMS \
                calls without bucket keys, 1.0 MB copied: about $9.60 (list prices of us-east-1"
            ),
            "{shown}"
        );
        let bill = cost.bill(&prices());
        assert!((bill.usd - 9.6).abs() < 1e-9 && bill.items.len() == 3, "{bill:?}");
    }

    #[test]
    fn what_is_deleted_before_its_time_costs_the_rest_of_it() {
        let early = |object| {
            let cost = of(Choice::Do(RepairMethod::Copy), object);
            let item =
                cost.items(&prices()).into_iter().find(|item| item.0 == Paid::BytesDeletedEarly);
            item.map(|(_, class, bytes, nano)| (class.to_owned(), bytes, nano))
        };
        // 10 GiB for 60 of 90 days at $0.0036 a month.
        assert_eq!(
            early(object("GLACIER", 30)),
            Some(("GLACIER".to_owned(), 10 * GIB, 72_000_000))
        );
        assert_eq!(early(object("GLACIER", 90)), None);
        assert_eq!(early(object("STANDARD", 0)), None);
        assert_eq!(
            early(CostInputs { versioned: true, ..object("GLACIER", 30) }),
            None,
            "the old version stays"
        );
    }

    #[test]
    fn a_copy_reads_what_a_rare_class_charges_for_reading_and_an_update_does_not() {
        let read = |method| {
            of(Choice::Do(method), object("GLACIER_IR", 100))
                .numbers
                .get(&(Paid::BytesRead, "GLACIER_IR".to_owned()))
                .copied()
        };
        assert_eq!((read(RepairMethod::Copy), read(RepairMethod::Update)), (Some(10 * GIB), None));
    }

    #[test]
    fn a_restore_costs_by_its_class() {
        let nano =
            |class| of(Choice::Restore, CostInputs { look: 0, ..object(class, 0) }).nano(&prices());
        assert_eq!((nano("GLACIER"), nano("DEEP_ARCHIVE")), (100_050_000, 200_100_000));
    }

    #[test]
    fn nothing_costs_nothing_cents_are_rounded_up_and_sums_add_up() {
        assert_eq!(Cost::default().shown(&prices()), "nothing");
        assert_eq!(
            (dollars(0), dollars(1), dollars(10_000_001)),
            ("$0.00".to_owned(), "$0.01".to_owned(), "$0.02".to_owned())
        );
        let one = of(Choice::Do(RepairMethod::Copy), object("GLACIER", 30));
        let mut two = one.clone();
        two.join(&one);
        assert_eq!(two.nano(&prices()), 2 * one.nano(&prices()));
    }
}
