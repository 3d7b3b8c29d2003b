//! Clusters that a guard found before it died are found again.

use crate::{
    history::{History, LifeEnd},
    laws::facts::Facts,
    scenario::Defect,
    watch::machine::{
        conclusion::{Cause, Doubt, Open},
        event::WatchNotice,
        plan::WatchMode,
    },
};

/// Law (f).
pub(super) fn same_verdict(history: &History, facts: &Facts) -> Result<(), String> {
    let crashed = |number: usize| matches!(history.lives[number].end, Some((_, LifeEnd::Crashed)));
    for (_, number, notice) in facts.notices.iter().filter(|(_, number, _)| crashed(*number)) {
        let WatchNotice::Unsafe(id, Cause::Failed, _) = notice else { continue };
        let Some(cluster) = history.cluster(*id) else { continue };
        let mut later = history.lives[number + 1..].iter().filter_map(|life| life.conclusion());
        // Volumes can only be observed while they exist.
        let passes_away = cluster.traits.defect.is_some_and(Defect::passes_away);
        let stands = later.clone().any(|conclusion| {
            let is_unsafe = conclusion
                .clusters
                .iter()
                .any(|(of, end)| of == id && end.cause == Some(Cause::Failed));
            let is_doubted = conclusion.doubts.iter().any(|doubt| {
                matches!(
                    doubt,
                    Doubt::Unseen(of) | Doubt::Unknown(of) | Doubt::GoesOn(of)
                        if of == id
                )
            });
            let is_unseen = conclusion.clusters.iter().any(|(of, end)| of == id && end.unseen);
            // A watch on named clusters has no journal; a restarted one may not see the defect.
            let may_be_doubted = passes_away || history.lives[*number].mode == WatchMode::Attach;
            is_unsafe || (may_be_doubted && is_doubted) || (passes_away && is_unseen)
        });
        let is_closed = later.any(|conclusion| {
            !conclusion.open.iter().any(|open| {
                matches!(open, Open::Unjudged(of) | Open::Living(of) if of == id)
                    || matches!(open, Open::Search)
            }) && conclusion.open.is_empty()
        });
        if is_closed && !stands {
            return Err(format!(
                "guard {number} found {id} unsafe and died; those that followed closed the run \
                 without a word of it"
            ));
        }
    }
    Ok(())
}
