//! Combines findings that are Unknown for one cause: one of them names the cause, and the others
//! wait for it.

use std::collections::BTreeSet;

use crate::{
    aws::access::{self, CredentialOrigin, Explanation},
    base::{
        access::AccessCause,
        aws_calls,
        lookup::{LookupError, LookupErrorKind},
        printable::{Printable, printable},
    },
    checks::{
        buckets::REGION,
        finding::{Finding, Level, SharedCause, Status},
    },
};

/// If at least this many findings were denied, and a service has denied every call, the service
/// counts as one cause.
const FEWEST_DENIED: usize = 2;

/// A cause that several findings may share.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shared {
    /// A recognised cause of failed calls.
    Access(AccessCause),
    /// Every call of a service was denied. The service is given by the prefix of its permissions.
    Denied(&'static str),
}

impl Shared {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Access(one), Self::Access(other)) => one.is_same(other),
            (one, other) => one == other,
        }
    }
}

/// Combines findings that are Unknown for one cause. `total` is the cause if no AWS call was
/// possible. `denied` are the services that have denied every call, by the prefixes of their
/// permissions.
pub(crate) fn share_causes(
    findings: &mut [Finding],
    total: Option<&AccessCause>,
    denied: &[&'static str],
    origin: &CredentialOrigin,
) {
    for cause in causes(findings, total, denied) {
        let mut members: Vec<usize> = (0..findings.len())
            .filter(|index| {
                let finding = &findings[*index];
                is_unsettled(finding) && is_of(finding, &cause, total.is_some())
            })
            .collect();
        // The finding that names the cause: preferably one about the credentials, and a required
        // one.
        members.sort_by_key(|index| {
            let finding = &findings[*index];
            let asks_sts = finding
                .check
                .asks
                .iter()
                .any(|call| call.operation == aws_calls::GET_CALLER_IDENTITY.operation);
            (
                finding.level != Level::Required,
                finding.waits_for.is_some(),
                total.is_some() && !asks_sts,
                *index,
            )
        });
        let Some((&first, others)) = members.split_first() else { continue };
        if others.is_empty() && matches!(cause, Shared::Denied(_)) {
            continue;
        }
        let mut explained = explain(findings, &members, &cause, origin);
        if let Shared::Access(AccessCause::WrongRegion(Some(region))) = &cause
            && let Some((seen, what)) = buckets_elsewhere(findings, region)
        {
            explained.what = what;
            settle(findings, seen[0], &members, &explained);
            seen[1..].iter().for_each(|index| findings[*index].counted = true);
            continue;
        }
        settle(findings, first, others, &explained);
    }
}

/// The causes among the findings, each once, in the order of the findings.
fn causes(
    findings: &[Finding],
    total: Option<&AccessCause>,
    denied: &[&'static str],
) -> Vec<Shared> {
    if let Some(total) = total {
        return vec![Shared::Access(total.clone())];
    }
    let mut causes: Vec<Shared> = Vec::new();
    for finding in findings.iter().filter(|finding| is_unsettled(finding)) {
        let Some(obstacle) = &finding.obstacle else { continue };
        let cause = match &obstacle.cause {
            Some(cause) => Some(Shared::Access(cause.clone())),
            None if obstacle.kind == LookupErrorKind::Denied => {
                let service = service(&obstacle.operation);
                denied.iter().find(|denied| **denied == service).map(|it| Shared::Denied(it))
            }
            None => None,
        };
        let is_known = |cause: &Shared| causes.iter().any(|known| known.is_same(cause));
        if let Some(cause) = cause.filter(|cause| !is_known(cause)) {
            causes.push(cause);
        }
    }
    causes.retain(|cause| match cause {
        Shared::Denied(_) => {
            findings.iter().filter(|finding| is_of(finding, cause, false)).count() >= FEWEST_DENIED
        }
        Shared::Access(_) => true,
    });
    causes
}

/// The service of a permission: `kms` of `kms:DescribeKey`.
fn service(permission: &str) -> &str {
    permission.split(':').next().unwrap_or_default()
}

fn is_unsettled(finding: &Finding) -> bool {
    finding.status == Status::Unknown && finding.cause.is_none() && !finding.counted
}

/// Whether a finding is Unknown for this cause.
fn is_of(finding: &Finding, cause: &Shared, is_total: bool) -> bool {
    if is_total {
        // No AWS call was made, so every finding that depends on AWS is Unknown for this cause.
        return !finding.check.asks.is_empty() || finding.waits_for.is_some();
    }
    let Some(obstacle) = &finding.obstacle else { return false };
    match cause {
        Shared::Access(cause) => obstacle.cause.as_ref().is_some_and(|other| other.is_same(cause)),
        Shared::Denied(denied) => {
            obstacle.cause.is_none()
                && obstacle.kind == LookupErrorKind::Denied
                && service(&obstacle.operation) == *denied
        }
    }
}

fn explain(
    findings: &[Finding],
    members: &[usize],
    cause: &Shared,
    origin: &CredentialOrigin,
) -> Explanation {
    let obstacles = members.iter().filter_map(|index| findings[*index].obstacle.as_ref());
    match cause {
        Shared::Access(cause) => {
            let host = |obstacle: &LookupError| match &obstacle.cause {
                Some(AccessCause::Unreachable(host)) => Some(host.clone()),
                _ => None,
            };
            let hosts: BTreeSet<String> = obstacles.filter_map(host).collect();
            access::explain(cause, &hosts, origin)
        }
        Shared::Denied(service) => {
            let actions = obstacles.map(|obstacle| obstacle.operation.as_str()).collect();
            access::denied(service, &actions)
        }
    }
}

/// The findings that buckets are in `region` rather than in the region of the runner config, and a
/// short description; none if no bucket is there.
fn buckets_elsewhere(findings: &[Finding], region: &str) -> Option<(Vec<usize>, Printable)> {
    let is_there = |finding: &Finding| {
        finding.check.name == REGION.name
            && finding.status == Status::Failed
            && finding.saw.as_str() == region
    };
    let seen: Vec<usize> = (0..findings.len()).filter(|it| is_there(&findings[*it])).collect();
    let first = &findings[*seen.first()?];
    let wanted = &first.wanted;
    let what = match seen.len() {
        1 => printable!("the bucket {} is in {}, not in {wanted}", first.subject, first.saw),
        several => printable!("{several} buckets are in {}, not in {wanted}", first.saw),
    };
    Some((seen, what))
}

/// Makes the first finding name the cause. The others wait for it, and so do the findings that
/// waited for them.
fn settle(findings: &mut [Finding], first: usize, others: &[usize], explained: &Explanation) {
    let check = findings[first].check;
    let mut members: BTreeSet<usize> = others.iter().copied().collect();
    loop {
        let open = |name: &str| {
            let of_check = |(index, finding): (usize, &Finding)| {
                (finding.check.name == name && finding.is_open()).then_some(index)
            };
            findings.iter().enumerate().filter_map(of_check).collect::<Vec<_>>()
        };
        let is_in = |index: &usize| *index == first || members.contains(index);
        let waiting: Vec<usize> = (0..findings.len())
            .filter(|index| !is_in(index) && is_unsettled(&findings[*index]))
            .filter(|index| {
                findings[*index].waits_for.is_some_and(|name| {
                    let blocking = open(name);
                    !blocking.is_empty() && blocking.iter().all(is_in)
                })
            })
            .collect();
        if waiting.is_empty() {
            break;
        }
        members.extend(waiting);
    }
    for index in &members {
        let finding = &mut findings[*index];
        finding.saw = printable!("not known: {}", explained.what);
        finding.fix = Some(printable!("fix {} first", check.name));
        finding.waits_for = Some(check.name);
        finding.counted = true;
    }
    let finding = &mut findings[first];
    let fixes = explained.fixes.clone();
    let said = finding.obstacle.as_ref().map(|obstacle| Printable::from(obstacle.to_string()));
    finding.saw = match said {
        Some(said) => printable!("{} ({said})", explained.what),
        None => explained.what.clone(),
    };
    finding.fix = Some(Printable::joined(&fixes, "; "));
    finding.waits_for = None;
    finding.cause = Some(SharedCause {
        name: explained.name,
        blocks: members.len(),
        what: explained.what.clone(),
        fixes,
    });
}
