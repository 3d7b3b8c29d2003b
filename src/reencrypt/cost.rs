//! What a repair costs, before and after: how many requests of which kind, and what they would be at AWS's list prices.
//!
//! The prices are those of us-east-1 and change; every sum is an estimate, and is called one. This table is the only place that knows them.

use std::collections::BTreeMap;

use super::method::{Choice, Method};

/// The month of the prices, and where they stand.
const SOURCE: &str = "list prices of us-east-1 as of January 2025, aws.amazon.com/s3/pricing and /kms/pricing; look up those of your region";

/// A thousandth of a millionth of a US dollar.
type Nano = u64;

/// What a storage class asks for a write (PUT, COPY, POST), for reading a GiB, and for keeping a GiB for a month; and for how many days at least.
struct Class {
    name: &'static str,
    write: Nano,
    read_gib: Nano,
    month: Nano,
    least_days: u64,
}

const CLASSES: [Class; 8] = [
    Class { name: "STANDARD", write: 5_000, read_gib: 0, month: 23_000_000, least_days: 0 },
    Class { name: "INTELLIGENT_TIERING", write: 5_000, read_gib: 0, month: 23_000_000, least_days: 0 },
    Class { name: "STANDARD_IA", write: 10_000, read_gib: 10_000_000, month: 12_500_000, least_days: 30 },
    Class { name: "ONEZONE_IA", write: 10_000, read_gib: 10_000_000, month: 10_000_000, least_days: 30 },
    Class { name: "GLACIER_IR", write: 20_000, read_gib: 30_000_000, month: 4_000_000, least_days: 90 },
    Class { name: "GLACIER", write: 30_000, read_gib: 0, month: 3_600_000, least_days: 90 },
    Class { name: "DEEP_ARCHIVE", write: 50_000, read_gib: 0, month: 990_000, least_days: 180 },
    Class { name: "REDUCED_REDUNDANCY", write: 5_000, read_gib: 0, month: 24_000_000, least_days: 0 },
];
/// A GET, HEAD and all else that only reads.
const READ: Nano = 400;
/// A call to KMS.
const KMS: Nano = 3_000;
/// A restore by the standard tier: the request, and each GiB.
const RESTORE: Nano = 50_000;
const RESTORE_GIB: Nano = 10_000_000;
/// S3 Batch Operations: a job, and each of its objects.
const JOB: Nano = 250_000_000;
const JOB_OBJECT: Nano = 1_000;

const GIB: u64 = 1024 * 1024 * 1024;
const PART: u64 = 512 * 1024 * 1024;

/// A sum that grows, object by object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Writes by storage class.
    writes: BTreeMap<String, u64>,
    reads: u64,
    kms: u64,
    restores: u64,
    restored_bytes: u64,
    retrieval: Nano,
    early_objects: u64,
    early: Nano,
    jobs: u64,
    job_objects: u64,
}

/// What of an object its cost depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs<'a> {
    pub(crate) size: u64,
    pub(crate) storage_class: &'a str,
    /// Days since it was written.
    pub(crate) age_days: u64,
    /// It is under a KMS key now.
    pub(crate) from_kms: bool,
    /// It will be under one.
    pub(crate) to_kms: bool,
    /// The bucket keeps versions: what is copied is not deleted.
    pub(crate) versioned: bool,
}

fn class(name: &str) -> &'static Class {
    CLASSES.iter().find(|class| class.name == name).unwrap_or(&CLASSES[0])
}

impl Cost {
    /// Looking at an object in a list of a thousand costs a HEAD, and its share of the list.
    pub(crate) fn look(&mut self) {
        self.reads += 1;
    }

    /// A job of S3 Batch Operations over so many objects.
    pub(crate) fn job(&mut self, objects: u64) {
        self.jobs += 1;
        self.job_objects += objects;
    }

    /// What is done about an object.
    pub(crate) fn add(&mut self, choice: Choice, object: Costs<'_>) {
        let write = |cost: &mut Self, number| *cost.writes.entry(class(object.storage_class).name.to_owned()).or_default() += number;
        match choice {
            Choice::Nothing | Choice::Leave(_) => {}
            Choice::Do(method) => {
                // Looks before and after, with tags.
                self.reads += 4;
                self.kms += u64::from(object.from_kms) + u64::from(object.to_kms);
                match method {
                    Method::Update => write(self, 1),
                    Method::Copy => write(self, 1),
                    Method::CopyInParts => {
                        let parts = object.size.div_ceil(PART);
                        write(self, parts + 2);
                        self.kms += parts * (u64::from(object.from_kms) + u64::from(object.to_kms));
                    }
                }
                if method != Method::Update {
                    let nano = u128::from(object.size) * u128::from(class(object.storage_class).read_gib) / u128::from(GIB);
                    self.retrieval = self.retrieval.saturating_add(u64::try_from(nano).unwrap_or(u64::MAX));
                    if !object.versioned {
                        self.delete_early(object);
                    }
                }
            }
            Choice::Restore => {
                self.restores += 1;
                self.restored_bytes += object.size;
            }
            // Deletions are free, but for the days that were promised.
            Choice::Purge => {
                self.reads += 3;
                self.delete_early(object);
            }
        }
    }

    fn delete_early(&mut self, object: Costs<'_>) {
        let class = class(object.storage_class);
        let days = class.least_days.saturating_sub(object.age_days);
        if days > 0 {
            self.early_objects += 1;
            let nano = u128::from(object.size) * u128::from(class.month) * u128::from(days) / 30 / u128::from(GIB);
            self.early = self.early.saturating_add(u64::try_from(nano).unwrap_or(u64::MAX));
        }
    }

    fn nano(&self) -> Nano {
        let writes: Nano = self.writes.iter().map(|(name, number)| class(name).write.saturating_mul(*number)).sum();
        let restored = u128::from(self.restored_bytes) * u128::from(RESTORE_GIB) / u128::from(GIB);
        let parts = [
            writes,
            self.reads.saturating_mul(READ),
            self.kms.saturating_mul(KMS),
            self.restores.saturating_mul(RESTORE),
            u64::try_from(restored).unwrap_or(u64::MAX),
            self.retrieval,
            self.early,
            self.jobs.saturating_mul(JOB),
            self.job_objects.saturating_mul(JOB_OBJECT),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// The whole in words: `12 writes, 48 reads, … : about $0.01 (…)`.
    pub(crate) fn shown(&self) -> String {
        let mut parts: Vec<String> = self.writes.iter().map(|(class, number)| format!("{number} writes in {class}")).collect();
        let numbers = [
            (self.reads, "reads"),
            (self.kms, "KMS calls without bucket keys"),
            (self.restores, "restores"),
            (self.early_objects, "objects deleted before their storage class's least time"),
            (self.jobs, "batch jobs"),
            (self.job_objects, "objects in batch jobs"),
        ];
        parts.extend(numbers.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")));
        if parts.is_empty() {
            return "nothing".to_owned();
        }
        format!("{}: about {} ({SOURCE})", parts.join(", "), dollars(self.nano()))
    }
}

/// In cents, rounded up: an estimate that is too small misleads.
fn dollars(nano: Nano) -> String {
    let cents = nano.div_ceil(10_000_000);
    format!("${}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(storage_class: &str, age_days: u64) -> Costs<'_> {
        Costs { size: 10 * GIB, storage_class, age_days, from_kms: false, to_kms: true, versioned: false }
    }

    #[test]
    fn a_million_copies_cost_what_the_price_list_says() {
        let mut cost = Cost::default();
        for _ in 0..1_000_000 {
            cost.add(Choice::Do(Method::Copy), Costs { size: 1, ..object("STANDARD", 1) });
        }
        // $5.00 for the copies, $1.60 for four looks each, $3.00 for KMS.
        assert_eq!(dollars(cost.nano()), "$9.60");
        assert!(
            cost.shown().starts_with("1000000 writes in STANDARD, 4000000 reads, 1000000 KMS calls without bucket keys: about $9.60 (list prices")
        );
    }

    #[test]
    fn what_is_deleted_before_its_time_costs_the_rest_of_it() {
        let cost = |object| {
            let mut cost = Cost::default();
            cost.add(Choice::Do(Method::Copy), object);
            cost.early
        };
        // 10 GiB for 60 of 90 days at $0.0036 a month.
        assert_eq!(cost(object("GLACIER", 30)), 72_000_000);
        assert_eq!(cost(object("GLACIER", 90)), 0);
        assert_eq!(cost(object("STANDARD", 0)), 0);
        assert_eq!(cost(Costs { versioned: true, ..object("GLACIER", 30) }), 0, "the old version stays");
    }

    #[test]
    fn a_copy_reads_what_a_rare_class_charges_for_reading_and_an_update_does_not() {
        let cost = |method| {
            let mut cost = Cost::default();
            cost.add(Choice::Do(method), object("GLACIER_IR", 100));
            cost.retrieval
        };
        assert_eq!((cost(Method::Copy), cost(Method::Update)), (300_000_000, 0));
    }

    #[test]
    fn nothing_costs_nothing_and_cents_are_rounded_up() {
        assert_eq!(Cost::default().shown(), "nothing");
        assert_eq!((dollars(0), dollars(1), dollars(10_000_001)), ("$0.00".to_owned(), "$0.01".to_owned(), "$0.02".to_owned()));
    }
}
