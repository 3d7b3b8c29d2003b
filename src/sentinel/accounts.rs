//! What is known of the accounts whose regions are asked again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::sentinel::{
    judge::PlaceAccess,
    places::{ALL_REGIONS, AccountRegion, ClusterKey, DiscoveredAccount, UnseenAccount},
    record::SentinelCluster,
    regions::{self, RegionsEvent, RegionsPace},
    watched::WatchedCluster,
};

/// What is known of the accounts whose regions are asked again.
#[derive(Debug)]
pub(crate) struct AskedAccounts {
    discovered: Vec<DiscoveredAccount>,
    /// Those whose regions are unknown.
    pub(crate) unseen: BTreeMap<String, UnseenAccount>,
    pace: RegionsPace,
    /// When the regions of each were last known; of one that was not seen, when the sentinel
    /// started.
    pub(crate) known: BTreeMap<String, OffsetDateTime>,
    /// The accounts of which it was reported that their regions are unknown by now.
    pub(crate) told: BTreeSet<String>,
    /// When the sentinel started.
    pub(crate) started: OffsetDateTime,
    /// What is known of the clusters in places that are gone, or are not found yet.
    pub(crate) clusters: BTreeMap<ClusterKey, WatchedCluster>,
    /// The access to these places.
    pub(crate) gone: Vec<Arc<PlaceAccess>>,
}

impl AskedAccounts {
    /// `clusters`: what an earlier sentinel has recorded of clusters in places that are not
    /// watched.
    pub(crate) fn new(
        unseen: &[UnseenAccount],
        discovered: Vec<DiscoveredAccount>,
        interval: Duration,
        started: OffsetDateTime,
        clusters: BTreeMap<ClusterKey, WatchedCluster>,
    ) -> Self {
        let unseen = unseen.iter().map(|one| (one.account.to_string(), one.clone()));
        Self {
            discovered,
            unseen: unseen.collect(),
            pace: RegionsPace { interval },
            known: BTreeMap::new(),
            told: BTreeSet::new(),
            started,
            clusters,
            gone: Vec::new(),
        }
    }

    /// Begins to ask.
    pub(crate) fn ask(&mut self) -> mpsc::Receiver<RegionsEvent> {
        let unseen: Vec<UnseenAccount> = self.unseen.values().cloned().collect();
        regions::follow(std::mem::take(&mut self.discovered), &unseen, self.pace)
    }

    /// The accounts whose regions are unknown.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &str> {
        self.unseen.keys().map(String::as_str)
    }

    /// Whether the regions of an account are unknown.
    pub(crate) fn is_unseen(&self, account: &str) -> bool {
        self.unseen.contains_key(account)
    }

    /// The clusters of places that are not watched, if they were seen since a time.
    pub(crate) fn last_seen_in(&self, since: OffsetDateTime) -> Vec<SentinelCluster> {
        let clusters = self.clusters.values().map(|cluster| &cluster.record);
        clusters.filter(|record| record.last_seen >= since).cloned().collect()
    }
}

/// All regions of an account, where it is unknown which these are.
pub(crate) fn all_regions(account: &str) -> AccountRegion {
    AccountRegion { account: account.to_owned(), region: ALL_REGIONS.to_owned() }
}
