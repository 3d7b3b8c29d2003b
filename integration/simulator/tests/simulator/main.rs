//! Owns the list of the simulator's tests, all of them over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod account;
mod alarms;
mod bucket_writes;
mod callers;
#[path = "../../../../tests/support/children.rs"]
mod children;
mod control;
mod emr;
mod events;
mod facts;
mod faults;
mod iam_writes;
mod kms_writes;
mod life;
mod objects;
mod quotas;
mod s3;
mod sessions;
mod sns;
mod support;
mod uploads;
mod versions;
