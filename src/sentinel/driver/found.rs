//! Accounts whose regions are found out, and places that are found or cannot be used any more.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::{
    aws::clients::Aws,
    sentinel::{
        accounts::all_regions,
        driver::{SentinelDriver, SentinelNotice},
        judge::PlaceAccess,
        period::PlaceSight,
        places::{AccountRegion, ClusterKey, DiscoveredAccount, UnseenAccount},
        regions::RegionsEvent,
    },
    watch::{machine::account::event::AccountEvent, terminate},
};

/// After so many failures in a row it is reported that the regions of an account that is watched
/// are unknown by now.
const FAILURES_TOLD: u32 = 3;
/// Clusters of a place that is found are listed from so long before it was looked for in vain:
/// EMR's clock may differ from this machine's.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(10);
/// Why a region that was enabled later was not seen before.
const FOUND_LATER: &str = "the region was not among those that were enabled when the account's \
    regions were asked last";
/// Why a region is not seen any more.
const DISABLED: &str = "the region is not enabled any more";

impl SentinelDriver {
    pub(super) fn regions_answered(&mut self, event: RegionsEvent) {
        match event {
            RegionsEvent::Enabled(account, regions) => self.regions_known(&account, &regions),
            RegionsEvent::Unknown(unseen, failures) => self.regions_unknown(unseen, failures),
        }
    }

    /// The regions of an account are unknown. Those that were known go on.
    fn regions_unknown(&mut self, unseen: UnseenAccount, failures: u32) {
        let account = unseen.account.to_string();
        tracing::warn!(account, failures, why = %unseen.why, "the regions are unknown");
        if let Some(known) = self.accounts.unseen.get_mut(&account) {
            self.pulse.account(&account, Some(&unseen.problem));
            *known = unseen;
        } else if failures >= FAILURES_TOLD && self.accounts.told.insert(account) {
            self.say(SentinelNotice::RegionsUnknown(unseen));
        }
    }

    /// These regions of an account are enabled now.
    fn regions_known(&mut self, account: &DiscoveredAccount, regions: &[String]) {
        let name = account.account.to_string();
        let now = OffsetDateTime::now_utc();
        let known = self.accounts.known.insert(name.clone(), now);
        let known = known.unwrap_or(self.accounts.started);
        let was_told = self.accounts.told.remove(&name);
        let unseen = self.accounts.unseen.remove(&name).map(|unseen| {
            self.pulse.account(&name, None);
            let sight = self.sight.remove(&all_regions(&name));
            let lost = sight.and_then(|sight| sight.lost.into_iter().next());
            (lost.map_or(known, |lost| lost.from), unseen.why.to_string())
        });
        let is_back = was_told || unseen.is_some();
        let (from, why) =
            unseen.unwrap_or_else(|| (known.max(self.period_began), FOUND_LATER.to_owned()));
        let of_account = |place: &&AccountRegion| place.account == name;
        let gone = self.places.keys().filter(of_account);
        let gone: Vec<AccountRegion> =
            gone.filter(|place| !regions.contains(&place.region)).cloned().collect();
        for place in gone {
            self.place_gone(&place);
        }
        let mut found = Vec::new();
        for region in regions {
            let place = AccountRegion { account: name.clone(), region: region.clone() };
            if !self.places.contains_key(&place) {
                let (place, aws) = account.place(region.clone());
                let is_relisted = from >= known || self.is_relisted(&place);
                let sight = PlaceSight::unseen(from, &why, is_relisted);
                self.place_found(&place, aws, known, sight);
                found.push(place);
            }
        }
        if !found.is_empty() || is_back {
            self.say(SentinelNotice::RegionsFound(name, found));
        }
    }

    /// A place is watched from now on. It may have been there, unseen, since `known`.
    fn place_found(
        &mut self,
        place: &AccountRegion,
        aws: Aws,
        known: OffsetDateTime,
        sight: PlaceSight,
    ) {
        self.places.insert(place.clone(), Arc::new(PlaceAccess::new(aws, place.clone())));
        self.sight.insert(place.clone(), sight);
        self.pulse.found(place);
        let here = |(of, _): &ClusterKey| of == place;
        let keys: Vec<ClusterKey> =
            self.accounts.clusters.keys().filter(|key| here(key)).cloned().collect();
        for key in keys {
            if let Some(cluster) = self.accounts.clusters.remove(&key) {
                self.clusters.insert(key, cluster);
            }
        }
        let since = terminate::aws_time(known - CLOCKS_DIFFER);
        self.tell(AccountEvent::PlaceFound(place.clone(), Some(since)));
    }

    /// A place cannot be used any more.
    fn place_gone(&mut self, place: &AccountRegion) {
        self.tell(AccountEvent::PlaceGone(place.clone()));
        self.accounts.gone.extend(self.places.remove(place));
        self.throttled.remove(place);
        let is_relisted = self.is_relisted(place);
        let sight = self.sight.entry(place.clone()).or_default();
        let from = sight.last_list.unwrap_or(self.period_began);
        sight.lose(from, DISABLED.to_owned(), is_relisted);
        self.pulse.gone(place);
        let keys: Vec<ClusterKey> =
            self.clusters.keys().filter(|(of, _)| of == place).cloned().collect();
        let mut lived = 0;
        for key in keys {
            if let Some(cluster) = self.clusters.remove(&key)
                && cluster.is_found
            {
                lived += 1;
                self.accounts.clusters.insert(key, cluster);
            }
        }
        self.say(SentinelNotice::RegionGone(place.clone(), lived));
    }
}
