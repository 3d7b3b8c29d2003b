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
    facts::{ec2, sts::CallerIdentity},
    sentinel::health::in_short,
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
        if self.region == ALL_REGIONS {
            return printable!("the regions of account {account}");
        }
        printable!("{region} of account {account}")
    }
}

/// A cluster of a place.
pub(crate) type ClusterKey = (AccountRegion, ClusterId);

/// The name in reports of all regions of an account, where it is unknown which these are.
pub(crate) const ALL_REGIONS: &str = "*";

/// All places, each with its clients.
#[derive(Debug, Default)]
pub(crate) struct WatchedPlaces {
    /// The places that are watched.
    pub(crate) watched: BTreeMap<AccountRegion, Aws>,
    /// The accounts whose regions could not be found out, and why.
    pub(crate) unseen: Vec<UnseenAccount>,
    /// The accounts whose regions the settings do not name, seen or not.
    pub(crate) discovered: Vec<DiscoveredAccount>,
}

/// An account that is to be watched and cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnseenAccount {
    /// The account.
    pub(crate) account: AccountId,
    /// Why.
    pub(crate) why: Printable,
    /// The operation and the error code alone.
    pub(crate) problem: String,
}

impl UnseenAccount {
    /// The message about it. `once`: it is not tried again.
    pub(crate) fn reason(&self, once: bool) -> Reason {
        let account = Printable::from(self.account.as_str());
        let again = if once {
            "the other accounts are judged"
        } else {
            "the other accounts are watched; this one is tried again, and watched from then on"
        };
        Reason::new(printable!("account {account} is NOT watched: {}", self.why)).detail(again).fix(
            "let the role in that account trust this program and allow ec2:DescribeRegions, or \
             name its regions in the settings, under `sentinel`, and restart the sentinel",
        )
    }
}

/// An account whose regions the settings do not name: all that are enabled are watched.
#[derive(Clone, Debug)]
pub(crate) struct DiscoveredAccount {
    /// The account.
    pub(crate) account: AccountId,
    access: SharedAccess,
    /// Clients of any of its regions.
    some: Aws,
}

impl DiscoveredAccount {
    /// The regions that are enabled, at least one.
    ///
    /// # Errors
    /// When they are unknown.
    pub(crate) async fn regions(&self) -> Result<Vec<String>, UnseenAccount> {
        let unseen = |why: Printable, problem: String| UnseenAccount {
            account: self.account.clone(),
            why,
            problem,
        };
        match ec2::enabled_regions(&self.some.ec2).await {
            Lookup::Found(regions) if !regions.is_empty() => Ok(regions),
            Lookup::Found(_) | Lookup::Absent => {
                let problem = "EC2 names no region of it";
                Err(unseen(problem.into(), problem.to_owned()))
            }
            Lookup::Denied(error) | Lookup::Unreachable(error) => {
                let why = Printable::from(error.to_string());
                Err(unseen(printable!("its regions are unknown: {why}"), in_short(&error)))
            }
        }
    }

    /// One of its places, with clients.
    pub(crate) fn place(&self, region: String) -> (AccountRegion, Aws) {
        let clients = self.access.clients(&region);
        (AccountRegion { account: self.account.to_string(), region }, clients)
    }
}

impl WatchedPlaces {
    /// Finds the places: the accounts and regions that the options name; without accounts, that of
    /// the sentinel's own credentials, which STS has named; without regions, all that are enabled.
    /// `own` are the clients of `access` in the region of the environment.
    ///
    /// # Errors
    /// When the account of the own credentials is needed, and unknown.
    pub(crate) async fn find(
        access: &SharedAccess,
        own: &Aws,
        identity: &Lookup<CallerIdentity>,
        options: &SentinelOptions,
    ) -> Result<Self, LookupError> {
        let mut places = Self::default();
        if options.accounts.is_empty() {
            let account = own_account(identity)?;
            let own = DiscoveredAccount { account, access: access.clone(), some: own.clone() };
            places.add(own, &options.regions).await;
        }
        for watched in &options.accounts {
            let WatchedAccount { id, role, external_id, regions } = watched;
            let access = access.assuming(role.as_str(), external_id.as_deref()).await;
            let region = own.emr.config().region().map(ToString::to_string).unwrap_or_default();
            let some = access.clients(&region);
            let regions = if regions.is_empty() { &options.regions } else { regions };
            let account = DiscoveredAccount { account: id.clone(), access, some };
            places.add(account, regions).await;
        }
        Ok(places)
    }

    /// Adds the `regions` of an account; all that are enabled, if there are none.
    async fn add(&mut self, account: DiscoveredAccount, regions: &[String]) {
        if !regions.is_empty() {
            self.watched.extend(regions.iter().map(|region| account.place(region.clone())));
            return;
        }
        match account.regions().await {
            Ok(regions) => {
                self.watched.extend(regions.into_iter().map(|region| account.place(region)));
            }
            Err(unseen) => self.unseen.push(unseen),
        }
        self.discovered.push(account);
    }
}

/// The name under which an account whose regions are unknown is not ready.
pub(crate) fn account_in_words(account: &str) -> String {
    format!("account {account}")
}

/// The account of the sentinel's own credentials.
fn own_account(identity: &Lookup<CallerIdentity>) -> Result<AccountId, LookupError> {
    match identity {
        Lookup::Found(identity) => Ok(identity.account.clone()),
        Lookup::Denied(error) | Lookup::Unreachable(error) => Err(error.clone()),
        Lookup::Absent => Err(LookupError::new(
            aws_calls::GET_CALLER_IDENTITY.permission,
            LookupErrorKind::UnreadableAnswer,
            "STS names no account",
        )),
    }
}
