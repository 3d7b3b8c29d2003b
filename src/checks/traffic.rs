//! Checks on data that leaves the cluster or the runner by other ways than S3: storage targets,
//! enrichments' sources, and the runner's own reports about its jobs.

use crate::{
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    spec::observations::{Database, EnrichmentSource, StorageTarget, Store},
};

pub(super) static TARGET_TLS: Check = Check {
    name: "target-tls",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "Loaded events and bad rows travel from the cluster to the storage target; without TLS \
        they do so in clear, whatever the security configuration says.",
    looks_at: "jdbc.ssl, jdbc.sslMode or sslMode of each file in the runner's --targets folder.",
    asks: &[],
    fix: "set sslMode to VERIFY_FULL (Redshift schema 3-0-0 and later: jdbc.ssl true with sslMode \
        verify-full) in {subject}",
    source: "Iglu Central, com.snowplowanalytics.snowplow.storage; RDB Loader, configuration; \
        Amazon Redshift management guide, Configuring security options for connections",
};

pub(super) static ENRICHMENT_SOURCES: Check = Check {
    name: "enrichment-sources",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "An enrichment that asks a server over plain http sends it parts of events in clear, and \
        believes whatever comes back.",
    looks_at: "Everything called `uri` in the enabled files of the runner's --enrichments folder.",
    asks: &[],
    fix: "use https in {subject}",
    source: "Snowplow documentation, Configurable enrichments (API request enrichment, IP lookups)",
};

pub(super) static MONITORING_TLS: Check = Check {
    name: "monitoring-tls",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The runner reports each job and step, with S3 paths in their names, to \
        monitoring.snowplow.collector; its default protocol is http.",
    looks_at: "monitoring.snowplow.protocol.",
    asks: &[],
    fix: "set monitoring.snowplow.protocol to https (and port to 443)",
    source: "EmrEtlRunner, monitoring/snowplow.rb (@@protocol = \"http\")",
};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if case.observed.documents.targets.is_empty() {
        findings.push(TARGET_TLS.on("storage targets", "TLS").not_applicable("the run has none"));
    }
    findings.extend(case.observed.documents.targets.iter().map(target));
    enrichments(case, findings);
    findings.push(monitoring(case));
}

fn target(target: &StorageTarget) -> Finding {
    let on =
        |wanted: &'static str| TARGET_TLS.on(target.file.as_str(), wanted).at(Some(&target.file));
    match &target.store {
        Store::Redshift(database) | Store::Postgres(database) => {
            let tunnel = database.bastion.as_ref().map_or_else(String::new, |bastion| {
                format!(", through an SSH tunnel to {bastion}")
            });
            let (holds, saw) = tls(database);
            on("TLS to the database").decided(holds, format!("{saw}{tunnel}"))
        }
        Store::Elasticsearch { host, port, .. } => on("TLS to Elasticsearch")
            .failed(format!("{host}:{port}, and this target's schema has no setting for TLS")),
        Store::DynamoDb { table, .. } => {
            on("TLS to DynamoDB").passed(format!("table {table}, over AWS's own TLS"))
        }
    }
}

/// Whether the loader requires TLS from the database, and which properties of the server it
/// verifies.
fn tls(database: &Database) -> (bool, String) {
    let mode = database.ssl_mode.as_deref().map(|mode| mode.to_ascii_uppercase().replace('-', "_"));
    match (mode.as_deref(), database.ssl) {
        (Some("DISABLE"), _) => (false, "sslMode DISABLE".to_owned()),
        (_, Some(false)) => (false, "jdbc.ssl false".to_owned()),
        (Some("VERIFY_FULL"), _) => {
            (true, "TLS, the server's name and certificate verified".to_owned())
        }
        (Some("VERIFY_CA"), _) => {
            (true, "TLS, the server's certificate verified but not its name".to_owned())
        }
        (Some("REQUIRE"), _) => (true, "TLS, the server's certificate not verified".to_owned()),
        (None, Some(true)) => (true, "TLS, by the driver's default verification".to_owned()),
        (Some(_), _) => (
            false,
            "an sslMode that is none of DISABLE, REQUIRE, VERIFY_CA, VERIFY_FULL".to_owned(),
        ),
        (None, None) => (false, "neither jdbc.ssl nor sslMode".to_owned()),
    }
}

fn enrichments(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let enabled = || {
        case.observed
            .documents
            .enrichments
            .iter()
            .filter(|enrichment| enrichment.enabled != Some(false))
    };
    if !case.paths.plan.enriches() || enabled().next().is_none() {
        let why = if case.paths.plan.enriches() {
            "no enrichment is enabled"
        } else {
            "this run does not enrich"
        };
        findings.push(ENRICHMENT_SOURCES.on("enrichments", "https").not_applicable(why));
        return;
    }
    for enrichment in enabled() {
        let subject = ENRICHMENT_SOURCES
            .on(enrichment.file.as_str(), "no source over http")
            .at(Some(&enrichment.file));
        let shown = |source: &EnrichmentSource| match source {
            EnrichmentSource::S3(uri) => uri.clone(),
            EnrichmentSource::Server(server) => server.clone(),
            EnrichmentSource::Other => "a URI of another kind".to_owned(),
        };
        let clear: Vec<String> = enrichment
            .sources
            .iter()
            .filter(
                |source| matches!(source, EnrichmentSource::Server(server) if server.starts_with("http://")),
            )
            .map(shown)
            .collect();
        let all: Vec<String> = enrichment.sources.iter().map(shown).collect();
        findings.push(match (clear.is_empty(), all.is_empty()) {
            (false, _) => subject.failed(clear.join(", ")),
            (true, true) => subject.passed("no source outside"),
            (true, false) => subject.passed(all.join(", ")),
        });
    }
}

fn monitoring(case: &Case<'_>) -> Finding {
    let Some(tracking) = &case.observed.tracking else {
        return MONITORING_TLS
            .on("monitoring.snowplow", "https")
            .not_applicable("the runner reports to no collector");
    };
    let protocol = tracking.protocol.as_ref();
    let subject =
        MONITORING_TLS.on(format!("monitoring.snowplow to {}", tracking.collector.value), "https");
    let subject =
        subject.at(Some(protocol.map_or(&tracking.collector.at, |protocol| &protocol.at)));
    match protocol.map(|protocol| protocol.value.to_ascii_lowercase()) {
        Some(protocol) => subject.decided(protocol == "https", protocol),
        None => subject.failed("no protocol, for which the runner takes http"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_tls_to_a_database() {
        let database = |ssl: Option<bool>, mode: Option<&str>| Database {
            host: "db".to_owned(),
            port: 5439,
            database: "snowplow".to_owned(),
            ssl,
            ssl_mode: mode.map(str::to_owned),
            bastion: None,
            role_arn: None,
            manifest_table: None,
        };
        for (ssl, mode, holds) in [
            (None, Some("DISABLE"), false),
            (None, Some("REQUIRE"), true),
            (None, Some("VERIFY_CA"), true),
            (Some(true), Some("verify-full"), true),
            (Some(true), None, true),
            (Some(false), Some("verify-full"), false),
            (None, Some("prefer"), false),
            (None, None, false),
        ] {
            assert_eq!(tls(&database(ssl, mode)).0, holds, "{ssl:?} {mode:?}");
        }
    }
}
