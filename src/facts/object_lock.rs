//! Object Lock of a bucket: its versioning, and the retention that new objects get.
//!
//! Source: Amazon S3 API reference, GetObjectLockConfiguration, GetBucketVersioning,
//! DefaultRetention.

use std::fmt;

use aws_sdk_s3::types::{self, ObjectLockRetentionMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    aws::bucket_region::is_code,
    base::{
        aws_calls,
        lookup::Lookup,
        names::{AccountId, BucketName},
    },
};

/// The status of a bucket that keeps versions.
pub(crate) const VERSIONING_ON: &str = "Enabled";
/// The days of a year, as S3 counts a retention in years.
const DAYS_OF_A_YEAR: u32 = 365;

/// Who can delete an object before its retention ends. The second is the stronger one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum RetentionMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody, not even the root user; nor can anybody shorten the retention.
    Compliance,
}

impl RetentionMode {
    /// S3's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// How long objects are kept: S3 has one of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetentionPeriod {
    Days(u32),
    Years(u32),
}

impl RetentionPeriod {
    /// In days.
    pub(crate) const fn days(self) -> u32 {
        match self {
            Self::Days(days) => days,
            Self::Years(years) => years.saturating_mul(DAYS_OF_A_YEAR),
        }
    }

    /// S3's name of the unit, and the number of it.
    pub(crate) const fn parts(self) -> (&'static str, u32) {
        match self {
            Self::Days(days) => ("Days", days),
            Self::Years(years) => ("Years", years),
        }
    }
}

impl fmt::Display for RetentionPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, number) = self.parts();
        let unit = unit.trim_end_matches('s').to_ascii_lowercase();
        write!(f, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

/// The retention of every new object of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DefaultRetention {
    /// Who can delete an object before it ends.
    pub(crate) mode: RetentionMode,
    /// How long it is.
    #[serde(flatten)]
    pub(crate) period: RetentionPeriod,
}

impl DefaultRetention {
    /// The weakest retention that is weaker than neither.
    pub(crate) fn and(self, other: Self) -> Self {
        let period =
            if other.period.days() > self.period.days() { other.period } else { self.period };
        Self { mode: self.mode.max(other.mode), period }
    }
}

/// What is known about Object Lock of a bucket of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockState {
    /// The status of its versioning; `Absent` if it never had any, or if there is no bucket.
    pub(crate) versioning: Lookup<String>,
    /// The retention of new objects, if it has one; `Absent` if the bucket has no Object Lock, or
    /// if there is no bucket.
    pub(crate) lock: Lookup<Option<DefaultRetention>>,
}

impl LockState {
    /// What is known if nothing can be asked.
    pub(crate) fn not_asked(why: &str) -> Self {
        Self {
            versioning: Lookup::not_asked(&aws_calls::GET_BUCKET_VERSIONING, why),
            lock: Lookup::not_asked(&aws_calls::GET_OBJECT_LOCK_CONFIGURATION, why),
        }
    }
}

/// Both, of a bucket of the account.
pub(crate) async fn lock_state(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> LockState {
    let (versioning, lock) =
        tokio::join!(versioning(s3, account, bucket), lock(s3, account, bucket));
    LockState { versioning, lock }
}

/// The status of a bucket's versioning; `Absent` if it never had any.
pub(crate) async fn versioning(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> Lookup<String> {
    let request = s3.get_bucket_versioning().bucket(bucket.as_str());
    let result = request.expected_bucket_owner(account.as_str()).send().await;
    let answer = Lookup::from_call(&aws_calls::GET_BUCKET_VERSIONING, &["NoSuchBucket"], result);
    answer.and_then(|answer| match answer.status {
        Some(status) => Lookup::Found(status.as_str().to_owned()),
        None => Lookup::Absent,
    })
}

/// The retention of new objects; `Absent` if the bucket has no Object Lock.
pub(crate) async fn lock(
    s3: &aws_sdk_s3::Client,
    account: &AccountId,
    bucket: &BucketName,
) -> Lookup<Option<DefaultRetention>> {
    let request = s3.get_object_lock_configuration().bucket(bucket.as_str());
    let result = request.expected_bucket_owner(account.as_str()).send().await;
    // The SDK does not model this code.
    if result.as_ref().is_err_and(|error| is_code(error, "ObjectLockConfigurationNotFoundError")) {
        return Lookup::Absent;
    }
    let call = &aws_calls::GET_OBJECT_LOCK_CONFIGURATION;
    Lookup::from_call(call, &["NoSuchBucket"], result).and_then(|answer| {
        let rule = answer.object_lock_configuration.and_then(|lock| lock.rule);
        match rule.and_then(|rule| rule.default_retention) {
            None => Lookup::Found(None),
            Some(retention) => match read(&retention) {
                Some(retention) => Lookup::Found(Some(retention)),
                None => Lookup::unusable(call, "its retention has no known mode and period"),
            },
        }
    })
}

fn read(retention: &types::DefaultRetention) -> Option<DefaultRetention> {
    let mode = match retention.mode.as_ref()? {
        ObjectLockRetentionMode::Governance => RetentionMode::Governance,
        ObjectLockRetentionMode::Compliance => RetentionMode::Compliance,
        _ => return None,
    };
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let period = match (number(retention.days), number(retention.years)) {
        (Some(days), None) => RetentionPeriod::Days(days),
        (None, Some(years)) => RetentionPeriod::Years(years),
        _ => return None,
    };
    Some(DefaultRetention { mode, period })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_retention_is_written_in_words_that_s3_has() {
        let retention = |mode, period| json!(DefaultRetention { mode, period });
        assert_eq!(
            retention(RetentionMode::Governance, RetentionPeriod::Days(30)),
            json!({"mode": "GOVERNANCE", "days": 30})
        );
        assert_eq!(
            retention(RetentionMode::Compliance, RetentionPeriod::Years(1)),
            json!({"mode": "COMPLIANCE", "years": 1})
        );
        assert_eq!(RetentionPeriod::Days(30).to_string(), "30 days");
        assert_eq!(RetentionPeriod::Years(1).to_string(), "1 year");
    }

    fn any_retention() -> impl Strategy<Value = DefaultRetention> {
        let modes = vec![RetentionMode::Governance, RetentionMode::Compliance];
        let period = prop_oneof![
            (1u32..800).prop_map(RetentionPeriod::Days),
            (1u32..3).prop_map(RetentionPeriod::Years),
        ];
        (prop::sample::select(modes), period)
            .prop_map(|(mode, period)| DefaultRetention { mode, period })
    }

    proptest! {
        #[test]
        fn what_two_retentions_ask_for_is_weaker_than_neither(
            one in any_retention(),
            other in any_retention(),
        ) {
            let both = one.and(other);
            for part in [one, other] {
                prop_assert!(both.mode >= part.mode);
                prop_assert!(both.period.days() >= part.period.days());
            }
            prop_assert!(both.mode == one.mode || both.mode == other.mode);
            prop_assert!(both.period == one.period || both.period == other.period);
            prop_assert_eq!(one.and(one), one);
        }
    }
}
