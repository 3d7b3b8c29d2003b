//! Metrics as a file for node_exporter's textfile collector, replaced atomically.
//!
//! The file contains one state per command, so that a `check` does not remove the results of the
//! last `run`. The time of the last success is kept through later failures.

use std::{collections::BTreeMap, fs::File, io, path::Path, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    report::metrics::{Metric, MetricKind, SUCCESS, SampleLabels},
    system::output::{open_own, write_whole},
};

/// Labels, as the client library takes them.
type FamilyLabels = Vec<(String, String)>;

/// Writes `gauges` of `command` to `file`; keeps the samples of other commands.
pub(crate) fn write(file: &Path, mut gauges: Vec<Metric>, command: &str) -> io::Result<()> {
    // A file that does not exist, or that another user could have written, has nothing to keep.
    let before = open_own(file, File::options().read(true)).and_then(io::read_to_string);
    keep(&mut gauges, &before.unwrap_or_default(), command);
    let text = render(&gauges).map_err(io::Error::other)?;
    // The collector reads only files ending in .prom, so it never reads a partial file.
    write_whole(file, &text)
}

/// Copies from `before` the samples of other commands, and this command's last success if it has
/// not succeeded now.
fn keep(gauges: &mut [Metric], before: &str, command: &str) {
    // Every run has a duration, whose labels are the common ones.
    let own: SampleLabels = gauges
        .iter()
        .flat_map(|gauge| &gauge.samples)
        .map(|(labels, _)| labels.clone())
        .next()
        .unwrap_or_default();
    for (name, labels, value) in before.lines().filter_map(parse) {
        let Some(gauge) = gauges.iter_mut().find(|gauge| gauge.prometheus == name) else {
            continue;
        };
        let of = labels.get("command").map(String::as_str);
        if of == Some(command) {
            if name == SUCCESS.0 && !gauge.samples.iter().any(|(known, _)| *known == own) {
                gauge.samples.push((own.clone(), value));
            }
        } else if of.is_some() && !gauge.samples.iter().any(|(known, _)| *known == labels) {
            gauge.samples.push((labels, value));
        }
    }
}

/// The metrics in the text form that Prometheus reads.
pub(super) fn render(metrics: &[Metric]) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        let labelled = metric
            .samples
            .iter()
            .map(|(labels, value)| (labels.clone().into_iter().collect::<FamilyLabels>(), *value));
        match metric.kind {
            MetricKind::Gauge => {
                let family: Family<FamilyLabels, Gauge<f64, AtomicU64>> = Family::default();
                labelled.for_each(|(labels, value)| {
                    family.get_or_create(&labels).set(value);
                });
                registry.register(metric.prometheus, metric.help, family);
            }
            MetricKind::Counter => {
                let family: Family<FamilyLabels, Counter<f64, AtomicU64>> = Family::default();
                labelled.for_each(|(labels, value)| {
                    family.get_or_create(&labels).inc_by(value);
                });
                registry.register(metric.prometheus, metric.help, family);
            }
        }
    }
    let mut text = String::new();
    text::encode_registry(&mut text, &registry)?;
    // The sample order is free; a sorted file without changes stays identical and is easier to
    // read.
    let mut blocks: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut block = 0;
    for line in text.lines() {
        block += usize::from(line.starts_with("# HELP"));
        blocks.entry(block).or_default().push(line);
    }
    for lines in blocks.values_mut() {
        lines.sort_by_key(|line| (!line.starts_with("# HELP"), !line.starts_with('#'), *line));
    }
    Ok(blocks.into_values().flatten().fold(String::new(), |text, line| text + line + "\n"))
}

/// A sample's name, labels and value, from a line that [`render`] wrote; `None` for any other line.
fn parse(line: &str) -> Option<(&str, SampleLabels, f64)> {
    let (name, mut rest) = line.split_once('{')?;
    let mut labels = SampleLabels::new();
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        labels.insert(label.trim_start_matches(',').to_owned(), value);
        rest = &after[end..];
    }
    Some((name, labels, rest.strip_prefix('}')?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::metrics::{Measured, MetricCounts, gauges},
        settings::metrics_targets::Labels,
    };
    use proptest::prelude::*;
    use std::fs;
    use std::time::Duration;
    use time::OffsetDateTime;

    fn measured(command: &'static str, succeeded: bool, at: i64) -> Measured {
        Measured {
            command,
            exit_code: if succeeded { 0 } else { 77 },
            succeeded,
            took: Duration::from_millis(61_250),
            ended: OffsetDateTime::from_unix_timestamp(at).unwrap(),
            counts: Some(MetricCounts {
                findings: BTreeMap::from([
                    (("passed", "required"), 12),
                    (("failed", "advisory"), 1),
                ]),
                clusters: BTreeMap::from([("verified", 1)]),
                objects: BTreeMap::from([("SSE-KMS", 120), ("unseen", 0)]),
                certificates_expire: OffsetDateTime::from_unix_timestamp(1_795_536_000).ok(),
            }),
        }
    }

    fn of(measured: &Measured) -> Vec<Metric> {
        gauges(measured, &"pipeline=acme".parse().unwrap())
    }

    #[test]
    fn the_file_is_what_prometheus_reads() {
        insta::assert_snapshot!(render(&of(&measured("run", true, 1_764_000_000))).unwrap());
    }

    #[test]
    fn a_failure_keeps_the_last_success_and_another_commands_state_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.prom");
        for (command, succeeded, at) in [
            ("run", true, 1000),
            ("check", true, 2000),
            ("run", false, 3000),
            ("check", false, 4000),
        ] {
            write(&file, of(&measured(command, succeeded, at)), command).unwrap();
        }
        let text = fs::read_to_string(&file).unwrap();
        let samples: Vec<(&str, SampleLabels, f64)> = text.lines().filter_map(parse).collect();
        let value = |name: &str, command: &str| {
            let of = samples
                .iter()
                .filter(|(known, labels, _)| *known == name && labels["command"] == command);
            let values: Vec<f64> = of.map(|(_, _, value)| *value).collect();
            assert_eq!(values.len(), 1, "{name} {command}\n{text}");
            values[0].to_string()
        };
        assert_eq!(value(SUCCESS.0, "run"), "1000");
        assert_eq!(value(SUCCESS.0, "check"), "2000");
        assert_eq!(value("emr_etl_guard_run_end_timestamp_seconds", "run"), "3000");
        assert_eq!(value("emr_etl_guard_run_exit_code", "check"), "77");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn what_somebody_else_has_written_is_replaced() {
        let mut gauges = of(&measured("run", false, 1));
        let before = gauges.clone();
        keep(
            &mut gauges,
            "node_load1 \
             0.5\nemr_etl_guard_findings{command=\"check\"\n# half a line\nother{command=\"check\"} 1\n",
            "run",
        );
        assert_eq!(gauges, before);
    }

    proptest! {
        #[test]
        fn whatever_a_label_holds_is_read_again_as_it_was(values in prop::collection::btree_map("[a-z]{1,5}", ".{0,8}", 1..4), value in 0_u32..1000) {
            let labels: SampleLabels = values.into_iter().collect();
            let gauge = Metric { kind: MetricKind::Gauge, prometheus: "x", otel: "x", unit: "1", help: "x", samples: vec![(labels.clone(), f64::from(value))] };
            let text = render(&[gauge]).unwrap();
            // Only Rust's `lines` also treats a carriage return as part of the line end.
            let line = text.split('\n').find(|line| line.starts_with("x{")).unwrap();
            prop_assert_eq!(parse(line), Some(("x", labels, f64::from(value))));
        }
    }

    #[test]
    fn a_label_of_the_metrics_own_cannot_be_given_again() {
        assert!(
            "command=x".parse::<Labels>().is_err()
                && "9x=1".parse::<Labels>().is_err()
                && "x".parse::<Labels>().is_err()
        );
    }
}
