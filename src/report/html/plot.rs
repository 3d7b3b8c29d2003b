//! The plot of a run over time: the states of its clusters as bars, the guard's notes and actions
//! as numbered points. The list below the plot contains the same in words.

use maud::{Markup, html};
use time::{Duration, OffsetDateTime};

use crate::report::{
    document::RunReport,
    html::{marks::Mark, times::clock},
};

const WIDTH: f64 = 1148.0;
/// Left of this are the names of the lanes.
const LEFT: f64 = 164.0;
const RIGHT: f64 = WIDTH - 14.0;
/// Points closer than this are placed below each other.
const APART: f64 = 24.0;
const LANE: f64 = 34.0;

/// A point of the plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlotEvent {
    pub(super) at: OffsetDateTime,
    pub(super) kind: EventKind,
    pub(super) what: String,
}

/// The kind of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EventKind {
    /// A note of the guard.
    Noted,
    /// An action of the guard.
    Did,
    /// An action of the guard that failed.
    Failed,
}

impl EventKind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Did => "did",
            Self::Failed => "failed",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Did => "did",
            Self::Failed => "failed",
        }
    }
}

/// The display name of an action in the report.
fn action_name(action: &str) -> &str {
    match action {
        "start-runner" => "started the runner",
        "signal-runner" => "sent the runner a signal",
        "lift-protection" => "lifted the termination protection of",
        "terminate" => "asked EMR to terminate",
        "await-end" => "waited for the end of",
        "probe" => "tried whether it can use",
        "deliver-earlier" => "delivered an earlier document",
        other => other,
    }
}

/// All events, in order.
pub(super) fn events(document: &RunReport) -> Vec<PlotEvent> {
    let noted = document.timeline.iter().map(|moment| PlotEvent {
        at: moment.at,
        kind: EventKind::Noted,
        what: moment.what.clone(),
    });
    let did = document.actions.iter().map(|action| {
        let said = format!("{} {}", action_name(&action.action), action.subject);
        match &action.error {
            None => PlotEvent { at: action.at, kind: EventKind::Did, what: said },
            Some(error) => PlotEvent {
                at: action.at,
                kind: EventKind::Failed,
                what: format!("{said}: {error}"),
            },
        }
    });
    let mut events: Vec<PlotEvent> = noted.chain(did).collect();
    events.sort_by_key(|event| (event.at, event.kind));
    events
}

/// A time interval in a cluster's lane.
struct PlotInterval {
    from: OffsetDateTime,
    to: OffsetDateTime,
    state: String,
    reason: Option<String>,
}

/// The states of each cluster over time. Reports of version 1 contain only the times at which the
/// guard mentioned a cluster.
fn lanes(document: &RunReport) -> Vec<(String, Vec<PlotInterval>)> {
    let mut ids: Vec<&String> = document.clusters().iter().map(|cluster| &cluster.id).collect();
    ids.extend(
        document
            .states
            .iter()
            .map(|change| &change.cluster)
            .filter(|id| !document.clusters().iter().any(|cluster| cluster.id == **id)),
    );
    ids.dedup();
    let stretches = |id: &String| {
        let changes: Vec<_> =
            document.states.iter().filter(|change| change.cluster == *id).collect();
        if changes.is_empty() {
            let spoken = || {
                document
                    .timeline
                    .iter()
                    .filter(|moment| moment.what.contains(id.as_str()))
                    .map(|moment| moment.at)
            };
            let known = spoken().min().map(|from| PlotInterval {
                from,
                to: document.ended,
                state: "followed".to_owned(),
                reason: None,
            });
            return known.into_iter().collect();
        }
        let ends = changes.iter().skip(1).map(|change| change.seen).chain([document.ended]);
        changes
            .iter()
            .zip(ends)
            .map(|(change, to)| PlotInterval {
                from: change.seen,
                to,
                state: change.state.clone(),
                reason: change.reason.clone(),
            })
            .collect()
    };
    ids.into_iter().map(|id| (id.clone(), stretches(id))).collect()
}

/// The scale from time to picture units.
#[derive(Clone, Copy)]
struct Scale {
    from: OffsetDateTime,
    span: Duration,
}

impl Scale {
    fn x(self, at: OffsetDateTime) -> f64 {
        let share = (at - self.from).as_seconds_f64() / self.span.as_seconds_f64();
        LEFT + 12.0 + (RIGHT - LEFT - 24.0) * share.clamp(0.0, 1.0)
    }

    /// Round intervals, at most eight.
    fn ticks(self) -> Vec<Duration> {
        const STEPS: [i64; 19] = [
            100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
            600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000,
        ];
        let step = STEPS
            .into_iter()
            .map(Duration::milliseconds)
            .find(|step| *step * 8 >= self.span)
            .unwrap_or(Duration::DAY);
        std::iter::successors(Some(Duration::ZERO), |tick| Some(*tick + step))
            .take_while(|tick| *tick <= self.span)
            .take(64)
            .collect()
    }
}

/// A time since the start, for the axis.
fn since(offset: Duration) -> String {
    let (hours, minutes, seconds) =
        (offset.whole_hours(), offset.whole_minutes() % 60, offset.whole_seconds() % 60);
    let tenths = offset.subsec_milliseconds() / 100;
    match (hours, offset.whole_minutes(), tenths) {
        (0, 0, 0) => format!("+{seconds} s"),
        (0, 0, tenths) => format!("+{seconds}.{tenths} s"),
        (0, _, _) => format!("+{minutes}:{seconds:02}"),
        _ => format!("+{hours}:{minutes:02}:{seconds:02}"),
    }
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// The plot of a report's run.
pub(super) fn plot(document: &RunReport, events: &[PlotEvent]) -> Markup {
    let moments = || events.iter().map(|event| event.at).chain([document.started, document.ended]);
    let from = moments().min().unwrap_or(document.started);
    let span = (moments().max().unwrap_or(document.ended) - from).max(Duration::milliseconds(100));
    let scale = Scale { from, span };
    let lanes = lanes(document);
    let placed = placed(events, scale);
    let rows = placed.iter().map(|(_, row)| row + 1).max().unwrap_or(1);
    let points_at = 30.0 + LANE * small(lanes.len());
    let height = points_at + 24.0 * small(rows) + 18.0;
    html! {
        svg.plot viewBox={ "-2 \
            0 " (WIDTH + 4.0) " " (number(height)) } role="img" aria-labelledby="plot-title \
            plot-text" {
            title id="plot-title" { "The run over time" }
            desc id="plot-text" {
                "From " (clock(document.started)) " to " (clock(document.ended)) ": a bar for \
                 each cluster's states, and " (events.len()) " numbered points, which the list \
                 below explains."
            }
            @for tick in scale.ticks() {
                @let x = number(scale.x(scale.from + tick));
                path class="tick" d={ "M" (x) " 22V" (number(height - 6.0)) } {}
                text class="axis" x=(x) y="14" { (since(tick)) }
            }
            @for (index, (id, stretches)) in lanes.iter().enumerate() {
                (lane(id, stretches, 30.0 + LANE * small(index), scale))
            }
            text class="lane-name" x="0" y=(number(points_at + 16.0)) { "the guard" }
            @for (index, (event, (x, row))) in events.iter().zip(&placed).enumerate() {
                @let y = points_at + 12.0 + 24.0 * small(*row);
                g class={ "point " (event.kind.class()) } transform={ "translate(" (number(*x)) " " (number(y)) ")" } {
                    @if event.kind == EventKind::Failed { (Mark::Failed.badge(index + 1)) } @else {
                        @if event.kind == EventKind::Did {
                            rect class="body" x="-10" y="-10" width="20" height="20" rx="3" {}
                        } @else {
                            circle class="body" r="10.5" {}
                        }
                        text class="number" y="4" { (index + 1) }
                    }
                }
            }
        }
    }
}

/// The counts in a picture are small enough to be exact in a float.
pub(super) fn small(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The place of each point: its time, and the first row with room for it.
fn placed(events: &[PlotEvent], scale: Scale) -> Vec<(f64, usize)> {
    let mut ends: Vec<f64> = Vec::new();
    let place = |event: &PlotEvent| {
        let x = scale.x(event.at);
        let row = ends.iter().position(|end| x - end >= APART).unwrap_or_else(|| {
            ends.push(f64::MIN);
            ends.len() - 1
        });
        ends[row] = x;
        (x, row)
    };
    events.iter().map(place).collect()
}

fn lane(id: &str, stretches: &[PlotInterval], y: f64, scale: Scale) -> Markup {
    html! {
        text class="lane-name mono" x="0" y=(number(y + 17.0)) { (id) }
        @for stretch in stretches {
            @let (from, to) = (scale.x(stretch.from), scale.x(stretch.to));
            @let width = (to - from).max(3.0);
            rect class={ "stretch " (kind_of_state(&stretch.state)) } x=(number(from)) y=(number(y)) width=(number(width)) height="24" rx="3" {
                title { (stretch.state) ", \
                    from " (clock(stretch.from)) @if let Some(reason) = &stretch.reason { ": " (reason) } }
            }
            @if width > 8.0 * small(stretch.state.chars().count()) + 10.0 {
                text class="state" x=(number(from + 8.0)) y=(number(y + 16.5)) {
                    (stretch.state.to_lowercase().replace('_', " "))
                }
            }
        }
    }
}

fn kind_of_state(state: &str) -> &'static str {
    match state {
        "STARTING" | "BOOTSTRAPPING" => "begins",
        "RUNNING" | "WAITING" => "runs",
        "TERMINATING" => "ends",
        "TERMINATED" | "TERMINATED_WITH_ERRORS" => "over",
        _ => "runs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(milliseconds)
    }

    #[test]
    fn points_that_would_hide_each_other_stand_one_below_the_other() {
        let scale = Scale { from: at(0), span: Duration::seconds(100) };
        let event = |milliseconds| PlotEvent {
            at: at(milliseconds),
            kind: EventKind::Noted,
            what: String::new(),
        };
        let placed = placed(&[event(0), event(1), event(2), event(50_000), event(50_001)], scale);
        assert_eq!(placed.iter().map(|(_, row)| *row).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        for (index, (x, row)) in placed.iter().enumerate() {
            for (other_x, other_row) in &placed[index + 1..] {
                assert!(row != other_row || other_x - x >= APART);
            }
        }
    }

    #[test]
    fn the_axis_has_a_few_round_steps_for_any_run() {
        for seconds in [0.1, 1.0, 2.4, 59.0, 600.0, 5_000.0, 80_000.0, 400_000.0] {
            let ticks = Scale { from: at(0), span: Duration::seconds_f64(seconds) }.ticks();
            assert!((2..=9).contains(&ticks.len()), "{seconds} s: {} ticks", ticks.len());
        }
        let said: Vec<String> = [500, 4_000, 90_000, 3_725_000]
            .map(|milliseconds| since(Duration::milliseconds(milliseconds)))
            .to_vec();
        assert_eq!(said, ["+0.5 s", "+4 s", "+1:30", "+1:02:05"]);
    }
}
