//! Asks again which regions the accounts have whose regions the settings do not name: soon for an
//! account that could not be seen, and now and then for regions that are enabled or disabled.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use crate::sentinel::places::{DiscoveredAccount, UnseenAccount};

/// The regions are asked again after so many intervals: an hour, with the default of 30 s.
const REFRESH_INTERVALS: u32 = 120;
/// An account that does not answer is asked again after one interval, then after twice as long each
/// time, up to so many: ten minutes.
const LONGEST_PAUSE_INTERVALS: u32 = 20;

/// An answer about the regions of an account.
#[derive(Debug)]
pub(crate) enum RegionsEvent {
    /// These are enabled.
    Enabled(Arc<DiscoveredAccount>, Vec<String>),
    /// They are unknown, so many times in a row.
    Unknown(UnseenAccount, u32),
}

/// When the regions of accounts are asked again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionsPace {
    /// The interval of the settings.
    pub(crate) interval: Duration,
}

impl RegionsPace {
    /// The pause after so many failures in a row.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return self.interval * REFRESH_INTERVALS;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(LONGEST_PAUSE_INTERVALS);
        self.interval * factor.min(LONGEST_PAUSE_INTERVALS)
    }
}

/// Asks for the regions of `accounts`, again and again, until the receiver is dropped. `unseen`:
/// the accounts that did not answer at the start.
pub(crate) fn follow(
    accounts: Vec<DiscoveredAccount>,
    unseen: &[UnseenAccount],
    pace: RegionsPace,
) -> mpsc::Receiver<RegionsEvent> {
    let (sender, receiver) = mpsc::channel(1);
    for account in accounts {
        let is_unseen = unseen.iter().any(|one| one.account == account.account);
        tokio::spawn(ask(Arc::new(account), u32::from(is_unseen), pace, sender.clone()));
    }
    receiver
}

async fn ask(
    account: Arc<DiscoveredAccount>,
    mut failures: u32,
    pace: RegionsPace,
    events: mpsc::Sender<RegionsEvent>,
) {
    loop {
        tokio::select! {
            () = sleep(pace.pause(failures)) => {}
            () = events.closed() => return,
        }
        let event = match account.regions().await {
            Ok(regions) => {
                failures = 0;
                RegionsEvent::Enabled(Arc::clone(&account), regions)
            }
            Err(unseen) => {
                failures = failures.saturating_add(1);
                RegionsEvent::Unknown(unseen, failures)
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_asked_again_soon_then_more_and_more_rarely_and_hourly_once_it_answers() {
        let pace = RegionsPace { interval: Duration::from_secs(30) };
        let pauses =
            [1, 2, 3, 4, 5, 6, 33, u32::MAX].map(|failures| pace.pause(failures).as_secs());
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(pace.pause(0), Duration::from_hours(1));
    }
}
