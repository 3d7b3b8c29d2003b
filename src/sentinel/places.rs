//! The places that are watched: the regions of the accounts, and the access to each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    aws::clients::{Aws, SharedAccess},
    base::{
        aws_calls,
        lookup::{Lookup, LookupError, LookupErrorKind},
        names::{AccountId, ClusterId},
        printable::{Printable, printable},
        reason::Reason,
    },
    facts::{ec2, sts},
    settings::sentinel_options::{SentinelOptions, WatchedAccount},
};

/// One region of one account. Lists, quotas and ids of clusters are per place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct AccountRegion {
    /// The account's twelve digits.
    pub(crate) account: String,
    /// The region's name.
    pub(crate) region: String,
}

impl AccountRegion {
    /// In words, as messages name it.
    pub(crate) fn in_words(&self) -> Printable {
        let (region, account) = (Printable::from(&self.region), Printable::from(&self.account));
        printable!("{region} of account {account}")
    }
}

/// A cluster of a place.
pub(crate) type ClusterKey = (AccountRegion, ClusterId);

/// All places, each with its clients.
#[derive(Debug, Default)]
pub(crate) struct WatchedPlaces {
    /// The places that are watched.
    pub(crate) watched: BTreeMap<AccountRegion, Aws>,
    /// The accounts whose regions could not be found out, and why.
    pub(crate) unseen: Vec<UnseenAccount>,
}

/// An account that is to be watched and cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnseenAccount {
    /// The account.
    pub(crate) account: AccountId,
    /// Why.
    pub(crate) why: Printable,
}

impl UnseenAccount {
    /// The message about it.
    pub(crate) fn reason(&self) -> Reason {
        let account = Printable::from(self.account.as_str());
        Reason::new(printable!("account {account} is NOT watched: {}", self.why))
            .detail("the other accounts are watched")
            .fix(printable!(
                "let the role in that account trust this program and allow ec2:DescribeRegions, or \
                 name its regions in the settings, under `sentinel`; then restart the sentinel"
            ))
    }
}

impl WatchedPlaces {
    /// Finds the places: the accounts and regions that the options name; without accounts, that of
    /// the sentinel's own credentials; without regions, all that are enabled. `own` are the clients
    /// of `access` in the region of the environment.
    ///
    /// # Errors
    /// When the account of the own credentials is needed, and unknown.
    pub(crate) async fn find(
        access: &SharedAccess,
        own: &Aws,
        options: &SentinelOptions,
    ) -> Result<Self, LookupError> {
        let mut places = Self::default();
        if options.accounts.is_empty() {
            let account = own_account(own).await?;
            places.add(&account, access, own, &options.regions).await;
        }
        for watched in &options.accounts {
            let WatchedAccount { id, role, external_id, regions } = watched;
            let assumed = access.assuming(role.as_str(), external_id.as_deref()).await;
            let region = own.emr.config().region().map(ToString::to_string).unwrap_or_default();
            let regions = if regions.is_empty() { &options.regions } else { regions };
            places.add(id, &assumed, &assumed.clients(&region), regions).await;
        }
        Ok(places)
    }

    /// Adds the `regions` of an account; all that are enabled, if there are none. `some` are
    /// clients of any of its regions.
    async fn add(
        &mut self,
        account: &AccountId,
        access: &SharedAccess,
        some: &Aws,
        regions: &[String],
    ) {
        let regions = match regions {
            [] => ec2::enabled_regions(&some.ec2).await,
            named => Lookup::Found(named.to_vec()),
        };
        match regions {
            Lookup::Found(regions) => {
                for region in regions {
                    let clients = access.clients(&region);
                    let place = AccountRegion { account: account.to_string(), region };
                    self.watched.insert(place, clients);
                }
            }
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let why = Printable::from(error.to_string());
                let why = printable!("its regions are unknown: {why}");
                self.unseen.push(UnseenAccount { account: account.clone(), why });
            }
            Lookup::Absent => {
                let why = "EC2 names no region of it".into();
                self.unseen.push(UnseenAccount { account: account.clone(), why });
            }
        }
    }
}

/// The account of the sentinel's own credentials.
async fn own_account(own: &Aws) -> Result<AccountId, LookupError> {
    match sts::identity(&own.sts).await {
        Lookup::Found(identity) => Ok(identity.account),
        Lookup::Denied(error) | Lookup::Unreachable(error) => Err(error),
        Lookup::Absent => Err(LookupError::new(
            aws_calls::GET_CALLER_IDENTITY.permission,
            LookupErrorKind::UnreadableAnswer,
            "STS names no account",
        )),
    }
}
