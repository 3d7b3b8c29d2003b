//! Black-box tests: the built binary between a simulated AWS and a stand-in runner, checked by its
//! exit code, its streams, its report, and the requests that AWS received.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/inventories.rs"]
mod inventories;

mod alerts;
mod attach;
mod audit;
mod catalogue;
mod check_command;
mod command_line;
mod cost;
mod documentation;
mod drop_in;
mod emr_certificates;
mod evaluated_by_aws;
mod evidence;
mod faults;
mod first_hour;
mod fixes;
mod getting_started;
mod good_runs;
mod guard_rights;
mod hermetic;
mod hostile_text;
mod init;
mod lists;
mod live_view;
mod metrics;
mod networks;
mod newer_releases;
mod one_cause;
mod outcome;
mod ownership;
mod pages;
mod parity;
mod permissions;
mod queue;
mod receiver;
mod reencrypt;
mod reencrypt_documents;
mod reencrypt_jobs;
mod reencrypt_loses_nothing;
mod reencrypt_properties;
mod reencrypt_races;
mod reencrypt_reactions;
mod reencrypt_trust;
mod refusals;
mod resume;
mod runbook;
mod runner_process;
mod search;
mod secrets;
mod sentinel;
mod sentinel_accounts;
mod sentinel_endpoint;
mod sentinel_permissions;
mod sentinel_reports;
mod sentinel_settings;
mod settings;
mod setup;
mod setup_calls;
mod setup_code;
mod setup_network;
mod setup_notifications;
mod setup_sentinel;
mod setup_states;
mod setup_stopped;
mod setup_two_operators;
mod shown_by_aws;
mod signals;
mod state_directory;
mod streams;
mod terminal;
mod throttling;
mod tls;
mod unjudged;
mod unsafe_clusters;
mod wire;
mod written;
