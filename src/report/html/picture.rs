//! The picture of the data's path: stations as boxes, hops as numbered arrows. Each kind of station
//! has a fixed place, so that two runs can be compared.

use maud::{Markup, html};

use crate::report::{
    html::marks::Mark,
    path::{DataPath, Hop, Proof, Station, StationKind},
};

/// A rectangle, in units of the picture.
#[derive(Clone, Copy)]
struct Frame {
    x: u16,
    y: u16,
    width: u16,
    height: u16,
}

impl Frame {
    const fn new(x: u16, y: u16, width: u16, height: u16) -> Self {
        Self { x, y, width, height }
    }

    const fn middle(self) -> (u16, u16) {
        (self.x + self.width / 2, self.y + self.height / 2)
    }
}

const WIDTH: u16 = 1148;

/// The place of a station: from left to right raw, cluster, enriched and shredded, and the outputs.
const fn frame(kind: StationKind) -> Frame {
    match kind {
        StationKind::Input => Frame::new(0, 48, 188, 112),
        StationKind::Processing => Frame::new(236, 48, 188, 112),
        StationKind::RawArchive => Frame::new(236, 216, 188, 100),
        StationKind::Logs => Frame::new(236, 384, 188, 100),
        StationKind::Cluster => Frame::new(472, 48, 204, 436),
        StationKind::Enriched => Frame::new(724, 48, 188, 112),
        StationKind::Shredded => Frame::new(724, 216, 188, 112),
        StationKind::Bad => Frame::new(724, 384, 188, 100),
        StationKind::EnrichedArchive => Frame::new(960, 48, 188, 100),
        StationKind::Warehouse => Frame::new(960, 160, 188, 100),
        StationKind::ShreddedArchive => Frame::new(960, 272, 188, 100),
        StationKind::Index => Frame::new(960, 384, 188, 100),
        StationKind::Tracking => Frame::new(472, 532, 204, 84),
    }
}

/// The line of a hop, with its end point, its direction, and the place of its number.
struct Route {
    line: String,
    head: (u16, u16),
    towards: Direction,
    number: (u16, u16),
}

#[derive(Clone, Copy)]
enum Direction {
    Right,
    Left,
    Down,
}

fn across(from: u16, to: u16, y: u16) -> Route {
    let towards = if to > from { Direction::Right } else { Direction::Left };
    Route {
        line: format!("M{from} {y}H{to}"),
        head: (to, y),
        towards,
        number: (u16::midpoint(from, to), y),
    }
}

fn down(x: u16, from: u16, to: u16) -> Route {
    Route {
        line: format!("M{x} {from}V{to}"),
        head: (x, to),
        towards: Direction::Down,
        number: (x, u16::midpoint(from, to)),
    }
}

/// A line to the right, up or down, and on to the right.
fn bent(from: (u16, u16), to: (u16, u16)) -> Route {
    let turn = u16::midpoint(from.0, to.0);
    Route {
        line: format!("M{} {}H{turn}V{}H{}", from.0, from.1, to.1, to.0),
        head: to,
        towards: Direction::Right,
        number: (turn, u16::midpoint(from.1, to.1)),
    }
}

fn route(from: StationKind, to: StationKind) -> Route {
    match (from, to) {
        (StationKind::Input, StationKind::Processing) => across(188, 236, 104),
        (StationKind::Processing, StationKind::Cluster) => across(424, 472, 104),
        (StationKind::Processing, StationKind::RawArchive) => down(330, 160, 216),
        // Stream Enrich's files bypass the cluster's processing: s3-dist-cp copies them from bucket
        // to bucket.
        (StationKind::Input, StationKind::Enriched) => Route {
            line: "M94 48V16H818V48".to_owned(),
            head: (818, 48),
            towards: Direction::Down,
            number: (456, 16),
        },
        (StationKind::Cluster, StationKind::Logs) => across(472, 424, 434),
        (StationKind::Cluster, StationKind::Enriched) => across(676, 724, 86),
        (StationKind::Enriched, StationKind::Cluster) => across(724, 676, 126),
        (StationKind::Cluster, StationKind::Shredded) => across(676, 724, 272),
        (StationKind::Cluster, StationKind::Bad) => across(676, 724, 434),
        (StationKind::Cluster, StationKind::Tracking) => down(574, 484, 532),
        (StationKind::Enriched, StationKind::EnrichedArchive) => across(912, 960, 98),
        (StationKind::Enriched, StationKind::Warehouse) => bent((912, 136), (960, 196)),
        (StationKind::Shredded, StationKind::Warehouse) => bent((912, 250), (960, 222)),
        (StationKind::Shredded, StationKind::ShreddedArchive) => bent((912, 296), (960, 326)),
        (StationKind::Bad, StationKind::Index) => across(912, 960, 434),
        (from, to) => {
            let (start, end) = (frame(from).middle(), frame(to).middle());
            bent(start, end)
        }
    }
}

/// The picture. Its title and description are for screen readers; the tables after it on the page
/// contain the same in full.
pub(super) fn picture(path: &DataPath) -> Markup {
    let height = path
        .stations
        .iter()
        .map(|station| frame(station.kind))
        .map(|frame| frame.y + frame.height)
        .max()
        .unwrap_or_default()
        + 4;
    // The lane above the stations is used by one hop only.
    let top = if path
        .hops
        .iter()
        .any(|hop| (hop.from, hop.to) == (StationKind::Input, StationKind::Enriched))
    {
        0
    } else {
        40
    };
    let among = |proof: Proof| path.hops.iter().filter(|hop| hop.protection.proof == proof).count();
    let told: Vec<String> = Proof::ALL
        .into_iter()
        .filter(|proof| among(*proof) > 0)
        .map(|proof| format!("{} {}", among(proof), proof.word()))
        .collect();
    html! {
        svg.picture viewBox={ "-2 " (top) " " (WIDTH + 4) " " (height - top) } role="img" aria-labelledby="picture-title picture-text" {
            title id="picture-title" { "The data's path through this run" }
            desc id="picture-text" {
                "Boxes are where data \
                 lies: " (path.stations.iter().map(|station| station.kind.title()).collect::<Vec<_>>().join(", ")) ". "
                "Arrows are the ways between them, numbered as in the table \
                 below: " (told.join(", ")) "."
            }
            @for hop in &path.hops { (line(hop)) }
            @for station in &path.stations { (stand(station)) }
            @for (index, hop) in path.hops.iter().enumerate() {
                @let (x, y) = route(hop.from, hop.to).number;
                g class={ "badge " (Mark::from(hop.protection.proof).class()) } transform={ "translate(" (x) " " (y) ")" } {
                    (Mark::from(hop.protection.proof).badge(index + 1))
                }
            }
            (legend())
        }
    }
}

fn line(hop: &Hop) -> Markup {
    let route = route(hop.from, hop.to);
    let (x, y) = route.head;
    let turn = match route.towards {
        Direction::Right => 0,
        Direction::Down => 90,
        Direction::Left => 180,
    };
    html! {
        g class={ "way " (Mark::from(hop.protection.proof).class()) } {
            path class="line" d=(route.line) {}
            path class="head" d="M0 0-8-4.5V4.5Z" transform={ "translate(" (x) " " (y) ") \
                rotate(" (turn) ")" } {}
        }
    }
}

/// The box of a station.
fn stand(station: &Station) -> Markup {
    let frame = frame(station.kind);
    let class = if station.kind == StationKind::Cluster {
        "cluster"
    } else {
        Mark::from(station.proof()).class()
    };
    html! {
        g class={ "station " (class) } transform={ "translate(" (frame.x) " " (frame.y) ")" } {
            rect class="box" width=(frame.width) height=(frame.height) rx="6" {}
            @if station.kind != StationKind::Cluster { path class="edge" d={ "M6 \
                0H" (frame.width - 6) } {} }
            text class="name" x="12" y="24" { (station.kind.title()) }
            @if station.kind == StationKind::Cluster {
                (cluster(station, frame))
            } @else {
                (parts(station, frame))
            }
        }
    }
}

/// The locations of a station, and the protection of the worst one.
fn parts(station: &Station, frame: Frame) -> Markup {
    let names: Vec<&str> = station.parts.iter().map(|part| part.name.as_str()).collect();
    // The first of the worst ones.
    let worst = station.parts.iter().rev().max_by_key(|part| part.protection.proof);
    let lines = usize::from((frame.height - 58) / 15);
    html! {
        text class="place" x="12" y="41" { (fold(&names.join(", "), 26, 1).join("")) }
        @if let Some(part) = worst {
            @let mark = Mark::from(part.protection.proof);
            g class=(mark.class()) transform="translate(12 52)" { (mark.shape()) }
            @for (index, line) in fold(&part.protection.what, 20, lines).into_iter().enumerate() {
                text class="what" x="34" y=(64 + 15 * index) { (line) }
            }
        }
    }
}

/// The layers of the cluster.
fn cluster(station: &Station, frame: Frame) -> Markup {
    html! {
        @for (index, part) in station.parts.iter().enumerate() {
            @let mark = Mark::from(part.protection.proof);
            g class={ "layer " (mark.class()) } transform={ "translate(10 " (40 + 98 * index) ")" } {
                rect class="tint" width=(frame.width - 20) height="90" rx="4" {}
                g transform="translate(9 9)" { (mark.shape()) }
                text class="layer-name" x="32" y="21" { (part.name) }
                @for (index, line) in fold(&part.protection.what, 24, 4).into_iter().enumerate() {
                    text class="what" x="10" y=(39 + 14 * index) { (line) }
                }
            }
        }
    }
}

/// The legend, in the corner without stations.
fn legend() -> Markup {
    html! {
        g class="legend" transform="translate(0 216)" {
            @for (index, proof) in Proof::ALL.into_iter().enumerate() {
                @let mark = Mark::from(proof);
                g transform={ "translate(0 " (54 * index) ")" } {
                    g class=(mark.class()) { (mark.shape()) }
                    text class="layer-name" x="24" y="13" { (proof.word()) }
                    @for (index, line) in fold(proof.meaning(), 28, 2).into_iter().enumerate() {
                        text class="what" x="24" y=(28 + 14 * index) { (line) }
                    }
                }
            }
        }
    }
}

/// Text in at most `lines` lines of at most `width` characters; longer text is visibly cut.
fn fold(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut folded: Vec<String> = Vec::new();
    // Backticks mark code, which the picture does not highlight.
    let mut words: Vec<String> =
        text.replace('`', "").split_whitespace().map(str::to_owned).collect();
    words.reverse();
    while let Some(word) = words.pop() {
        let length = word.chars().count();
        let room = folded.last().map_or(0, |line| width.saturating_sub(line.chars().count() + 1));
        match folded.last_mut() {
            Some(line) if length <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ if length > width => {
                // A name longer than a line is broken anywhere.
                let head: String = word.chars().take(width).collect();
                words.push(word.chars().skip(width).collect());
                folded.push(head);
            }
            _ => folded.push(word),
        }
    }
    if folded.len() > lines {
        folded.truncate(lines);
        if let Some(last) = folded.last_mut() {
            *last = last
                .chars()
                .take(width.saturating_sub(1))
                .collect::<String>()
                .trim_end()
                .to_owned();
            last.push('…');
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_between_words_and_what_is_cut_shows() {
        assert_eq!(
            fold("SSE-S3, by its request, s3-dist-cp", 16, 3),
            ["SSE-S3, by its", "request,", "s3-dist-cp"]
        );
        assert_eq!(fold("s3://a-very-long-bucket-name/x", 10, 2), ["s3://a-ver", "y-long-bu…"]);
        assert_eq!(fold("", 10, 2), Vec::<String>::new());
        assert_eq!(
            fold("äöüäöüäöü äöü", 9, 2),
            ["äöüäöüäöü", "äöü"],
            "characters are counted, not bytes"
        );
    }

    #[test]
    fn no_two_stations_and_no_station_and_the_legend_lie_in_each_other() {
        let kinds = [
            StationKind::Input,
            StationKind::Processing,
            StationKind::Cluster,
            StationKind::Enriched,
            StationKind::Shredded,
            StationKind::Bad,
            StationKind::RawArchive,
            StationKind::EnrichedArchive,
            StationKind::ShreddedArchive,
            StationKind::Logs,
            StationKind::Warehouse,
            StationKind::Index,
            StationKind::Tracking,
        ];
        let mut frames: Vec<Frame> = kinds.into_iter().map(frame).collect();
        frames.push(Frame::new(0, 216, 188, 270));
        for (index, one) in frames.iter().enumerate() {
            assert!(one.x + one.width <= WIDTH);
            for other in &frames[index + 1..] {
                let apart = one.x + one.width <= other.x
                    || other.x + other.width <= one.x
                    || one.y + one.height <= other.y
                    || other.y + other.height <= one.y;
                assert!(apart, "{}/{} and {}/{}", one.x, one.y, other.x, other.y);
            }
        }
    }
}
