//! The side effects of changes: notifications, replication, lifecycle, storage classes. Updates in
//! place have none: S3 has no event for them, and they keep dates and tiers. Source: Amazon S3 user
//! guide, Supported event types; API reference, UpdateObjectEncryption.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;

use crate::{
    base::{lookup::Lookup, prices},
    facts::s3_configurations::{
        BucketConfigurations, BucketNotifications, LifecycleSchedule, NotificationReceiver,
        NotificationRule,
    },
    reencrypt::{
        error::in_words,
        ledger::{Ledger, LedgerError, PAGE},
        machine::versioning::Versioning,
        machine::{
            choice::{Choice, RepairMethod},
            state::RepairState,
        },
        place::{ObjectId, shown},
        plan::{BucketPlan, BucketReactions},
        scope::RepairScope,
        survey::PlaceSurvey,
    },
};

/// A kind of change that a bucket can react to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChangeKind {
    Copy,
    CopyInParts,
    Restore,
    /// A version is permanently removed.
    Removal,
}

/// The planned changes in one location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlannedChanges {
    kinds: BTreeSet<ChangeKind>,
    /// The storage classes of the copied objects.
    classes: BTreeSet<String>,
}

/// The changes of a run, by index of the scope's locations.
pub(crate) type ChangesByPlace = BTreeMap<usize, PlannedChanges>;

/// The side effects of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideEffects {
    /// The effects, as messages.
    pub(crate) said: Vec<String>,
    /// Effects that must be acknowledged first, and how.
    pub(crate) to_acknowledge: Vec<String>,
    /// Objections to the changes, whatever was acknowledged.
    pub(crate) refused: Vec<String>,
}

impl SideEffects {
    /// Why no change may be made; empty where it may.
    pub(crate) fn objections(&self, acknowledged: bool) -> Vec<String> {
        let open = self.to_acknowledge.iter().filter(|_| !acknowledged);
        self.refused.iter().chain(open).cloned().collect()
    }
}

impl PlannedChanges {
    /// Copies of objects in a storage class.
    pub(crate) fn of_copies(class: &str) -> Self {
        Self { kinds: [ChangeKind::Copy].into(), classes: [class.to_owned()].into() }
    }

    /// The changes that a survey plans in one location. `purge`: replaced versions are removed
    /// afterwards.
    pub(crate) fn of_survey(found: &PlaceSurvey, purge: bool, versioning: Versioning) -> Self {
        let mut changes = Self::default();
        for (choice, group) in &found.groups {
            match choice {
                Choice::Do(method) => {
                    if changes.add(*method) {
                        changes.classes.extend(group.classes.iter().cloned());
                        if purge && versioning.has_versions() {
                            changes.kinds.insert(ChangeKind::Removal);
                        }
                    }
                }
                Choice::Restore => {
                    changes.kinds.insert(ChangeKind::Restore);
                }
                Choice::Purge => {
                    changes.kinds.insert(ChangeKind::Removal);
                }
                Choice::Nothing | Choice::Leave(_) => {}
            }
        }
        changes
    }

    /// The part that a job of S3 Batch Operations does: copies, where there are no versions.
    pub(crate) fn of_a_job(mut self, versioning: Versioning) -> Self {
        self.kinds.retain(|kind| *kind == ChangeKind::Copy && !versioning.has_versions());
        self
    }

    /// Takes others in.
    pub(crate) fn join(&mut self, other: Self) {
        self.kinds.extend(other.kinds);
        self.classes.extend(other.classes);
    }

    /// Whether it is a copy.
    fn add(&mut self, method: RepairMethod) -> bool {
        match method {
            RepairMethod::Update => return false,
            RepairMethod::Copy => self.kinds.insert(ChangeKind::Copy),
            RepairMethod::CopyInParts => self.kinds.insert(ChangeKind::CopyInParts),
        };
        true
    }

    fn copies(&self) -> bool {
        self.kinds.contains(&ChangeKind::Copy) || self.kinds.contains(&ChangeKind::CopyInParts)
    }

    /// Whether these changes cause an event of this type.
    fn fire(&self, event: &str) -> bool {
        let by: &[ChangeKind] = match event {
            "s3:ObjectCreated:*" => &[ChangeKind::Copy, ChangeKind::CopyInParts],
            "s3:ObjectCreated:Copy" => &[ChangeKind::Copy],
            "s3:ObjectCreated:CompleteMultipartUpload" => &[ChangeKind::CopyInParts],
            "s3:ObjectRestore:*" | "s3:ObjectRestore:Post" | "s3:ObjectRestore:Completed" => {
                &[ChangeKind::Restore]
            }
            "s3:ObjectRemoved:*" | "s3:ObjectRemoved:Delete" => &[ChangeKind::Removal],
            _ => &[],
        };
        by.iter().any(|kind| self.kinds.contains(kind))
    }
}

/// The copies in the locations that an earlier run started, and that this run continues.
///
/// # Errors
/// [`LedgerError`] when the ledger cannot be read.
pub(crate) fn begun(scope: &RepairScope, ledger: &Ledger) -> Result<ChangesByPlace, LedgerError> {
    let mut changes = ChangesByPlace::new();
    let mut after: Option<ObjectId> = None;
    loop {
        let page = ledger
            .page(after.as_ref(), PAGE, |state| matches!(state, RepairState::Begun { .. }))?;
        let Some((last, _)) = page.last() else { return Ok(changes) };
        after = Some(last.clone());
        for (place, state) in &page {
            if let (Some(index), RepairState::Begun { method, before, .. }) =
                (scope.place_of(place), state)
            {
                let of_place = changes.entry(index).or_default();
                if of_place.add(*method) {
                    of_place.classes.insert(before.storage_class.clone());
                }
            }
        }
    }
}

/// The side effects of changes in the scope's locations.
pub(crate) fn side_effects(scope: &RepairScope, changes: &ChangesByPlace) -> SideEffects {
    side_effects_given(scope, &scope.reactions, changes)
}

/// The same, with newly read reactions of the buckets.
pub(crate) fn side_effects_given(
    scope: &RepairScope,
    reactions: &BTreeMap<String, BucketReactions>,
    changes: &ChangesByPlace,
) -> SideEffects {
    let mut effects = SideEffects::default();
    for (bucket, plan) in &scope.plan.buckets {
        let Some(reactions) = reactions.get(bucket) else { continue };
        let within: Vec<(&str, &PlannedChanges)> = scope
            .wanted
            .iter()
            .enumerate()
            .filter(|(_, wanted)| wanted.location.bucket.as_str() == bucket)
            .filter_map(|(index, wanted)| {
                Some((wanted.location.prefix.as_str(), changes.get(&index)?))
            })
            .filter(|(_, changes)| !changes.kinds.is_empty())
            .collect();
        if !within.is_empty() {
            of_bucket((bucket, plan), reactions, &within, &mut effects);
        }
    }
    effects
}

fn of_bucket(
    (bucket, plan): (&str, &BucketPlan),
    reactions: &BucketReactions,
    within: &[(&str, &PlannedChanges)],
    effects: &mut SideEffects,
) {
    let copied = || within.iter().filter(|(_, changes)| changes.copies());
    if copied().next().is_some() && !reactions.ours && plan.carries.acls {
        effects.refused.push(format!(
            "the bucket {bucket} belongs to another account, and its objects have owners of their \
             own: copies would belong to this account; run this with credentials of the account \
             that owns them, or have the bucket's object ownership set to BucketOwnerEnforced"
        ));
    }
    let BucketConfigurations { notifications, replication, lifecycle } = &reactions.configurations;
    match notifications {
        Lookup::Found(notifications) => of_notifications(bucket, notifications, within, effects),
        other => {
            let what = unseen(
                bucket,
                "whether a Lambda function, queue or topic is notified of changes",
                other,
            );
            effects.to_acknowledge.push(format!("{what}, or add --despite notifications"));
            effects.said.push(what);
        }
    }
    if copied().next().is_none() {
        return;
    }
    match replication {
        Lookup::Found(routes) => {
            let reached =
                routes.iter().filter(|it| copied().any(|(place, _)| overlap(&it.prefix, place)));
            effects.said.extend(reached.map(|it| {
                format!(
                    "s3://{bucket}: every copy is replicated once more to {} (rule {})",
                    shown(&it.destination),
                    named(&it.id)
                )
            }));
        }
        other => effects.said.push(unseen(bucket, "whether copies are replicated", other)),
    }
    match lifecycle {
        Lookup::Found(rules) => {
            let reached =
                rules.iter().filter(|it| copied().any(|(place, _)| overlap(&it.prefix, place)));
            effects.said.extend(reached.flat_map(|rule| of_rule(bucket, plan, rule)));
        }
        other => {
            effects.said.push(unseen(bucket, "which lifecycle rules hold for copies", other));
        }
    }
    let classes: BTreeSet<&String> = copied().flat_map(|(_, changes)| &changes.classes).collect();
    for class in classes {
        if class == "INTELLIGENT_TIERING" {
            effects.said.push(format!(
                "s3://{bucket}: what is copied in INTELLIGENT_TIERING starts again in its \
                 frequent access tier"
            ));
        } else if prices::days_left(class, 0) > 0 {
            effects.said.push(format!(
                "s3://{bucket}: the minimum storage duration of {class}, {} days, begins again \
                 for what is copied",
                prices::days_left(class, 0)
            ));
        }
    }
}

fn of_notifications(
    bucket: &str,
    notifications: &BucketNotifications,
    within: &[(&str, &PlannedChanges)],
    effects: &mut SideEffects,
) {
    for rule in &notifications.rules {
        let fired: Vec<&str> = rule
            .events
            .iter()
            .map(String::as_str)
            .filter(|event| {
                within
                    .iter()
                    .any(|(place, changes)| changes.fire(event) && overlap(&rule.prefix, place))
            })
            .collect();
        if fired.is_empty() {
            continue;
        }
        let receiver = match rule.receiver {
            NotificationReceiver::Lambda => "the Lambda function",
            NotificationReceiver::Queue => "the queue",
            NotificationReceiver::Topic => "the topic",
        };
        let what = format!(
            "s3://{bucket}: {receiver} {} is notified of what is changed ({}{})",
            shown(&rule.arn),
            fired.join(", "),
            filter(rule)
        );
        effects.to_acknowledge.push(format!(
            "{what}; switch this notification off meanwhile, or add --despite notifications"
        ));
        effects.said.push(what);
    }
    if notifications.event_bridge {
        effects.said.push(format!(
            "s3://{bucket}: EventBridge gets an event of everything that is changed; its rules \
             may start something"
        ));
    }
}

/// The keys that a rule applies to, as the end of a sentence.
fn filter(rule: &NotificationRule) -> String {
    let starts = (!rule.prefix.is_empty()).then(|| format!("start with {}", shown(&rule.prefix)));
    let ends = (!rule.suffix.is_empty()).then(|| format!("end with {}", shown(&rule.suffix)));
    let parts: Vec<String> = starts.into_iter().chain(ends).collect();
    if parts.is_empty() { String::new() } else { format!("; keys that {}", parts.join(" and ")) }
}

fn of_rule(bucket: &str, plan: &BucketPlan, rule: &LifecycleSchedule) -> Vec<String> {
    let id = named(&rule.id);
    let anew = match (rule.transitions, rule.expires) {
        (true, true) => Some("transition and expiration"),
        (true, false) => Some("transition"),
        (false, true) => Some("expiration"),
        (false, false) => None,
    };
    let anew = anew.map(|what| {
        format!(
            "s3://{bucket}: the days until {what} by lifecycle rule {id} begin again for what \
            is copied"
        )
    });
    let replaced = rule.noncurrent_days.filter(|_| plan.versioning.has_versions()).map(|days| {
        format!(
            "s3://{bucket}: lifecycle rule {id} removes what copies replace, {days} days after them"
        )
    });
    anew.into_iter().chain(replaced).collect()
}

/// Whether keys can match both a rule's prefix, which may be percent-encoded, and a location.
fn overlap(rule: &str, place: &str) -> bool {
    let decoded = percent_decode_str(rule).decode_utf8_lossy();
    [rule, &decoded].iter().any(|rule| rule.starts_with(place) || place.starts_with(*rule))
}

fn named(id: &str) -> String {
    if id.is_empty() { "without a name".to_owned() } else { format!("`{}`", shown(id)) }
}

/// A failed look-up is never taken for an empty result.
fn unseen<T>(bucket: &str, what: &str, lookup: &Lookup<T>) -> String {
    match lookup {
        Lookup::Denied(obstacle) | Lookup::Unreachable(obstacle) => {
            format!("s3://{bucket}: {what} could not be seen: {}", in_words(obstacle))
        }
        Lookup::Found(_) | Lookup::Absent => {
            format!("s3://{bucket}: {what} could not be seen: there is no such bucket any more")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(kinds: &[ChangeKind]) -> PlannedChanges {
        PlannedChanges { kinds: kinds.iter().copied().collect(), classes: BTreeSet::new() }
    }

    #[test]
    fn each_kind_of_change_fires_its_own_events_and_updates_fire_none() {
        use ChangeKind::{Copy, CopyInParts, Removal, Restore};
        let table: [(&str, &[ChangeKind]); 14] = [
            ("s3:ObjectCreated:*", &[Copy, CopyInParts]),
            ("s3:ObjectCreated:Copy", &[Copy]),
            ("s3:ObjectCreated:CompleteMultipartUpload", &[CopyInParts]),
            ("s3:ObjectCreated:Put", &[]),
            ("s3:ObjectCreated:Post", &[]),
            ("s3:ObjectRemoved:*", &[Removal]),
            ("s3:ObjectRemoved:Delete", &[Removal]),
            ("s3:ObjectRemoved:DeleteMarkerCreated", &[]),
            ("s3:ObjectRestore:*", &[Restore]),
            ("s3:ObjectRestore:Post", &[Restore]),
            ("s3:ObjectRestore:Completed", &[Restore]),
            ("s3:ObjectTagging:*", &[]),
            ("s3:LifecycleTransition", &[]),
            ("s3:ObjectAcl:Put", &[]),
        ];
        for (event, by) in table {
            for kind in [Copy, CopyInParts, Removal, Restore] {
                assert_eq!(changes(&[kind]).fire(event), by.contains(&kind), "{event} {kind:?}");
            }
            assert!(!changes(&[]).fire(event), "{event}");
        }
        let mut updates = PlannedChanges::default();
        assert!(!updates.add(RepairMethod::Update) && updates == PlannedChanges::default());
    }

    #[test]
    fn a_rule_reaches_a_place_above_it_below_it_and_as_it_is_written() {
        for (rule, place, reaches) in [
            ("", "in/", true),
            ("in/", "", true),
            ("in/2026", "in/", true),
            ("in/", "in/2026/", true),
            ("out/", "in/", false),
            ("in/a", "in/b/", false),
            ("in%2F", "in/", true),
            ("a%20b/", "a b/", true),
        ] {
            assert_eq!(overlap(rule, place), reaches, "{rule} {place}");
        }
    }
}
