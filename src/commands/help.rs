//! The parts of the help that are not options: examples, exit codes, and their order.

/// The order of a command's help: purpose, examples, usage, options.
pub(super) const TEMPLATE: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

pub(super) const MORE: &str = "All options and exit codes: --help";

pub(super) const PROGRAM_EXAMPLES: &str = "\
Examples:
  emr-etl-guard check config.yml -r resolver.json
  emr-etl-guard run -- run -c config.yml -r resolver.json
  emr-etl-guard audit config.yml";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  emr-etl-guard run -- run -c config.yml -r resolver.json
  emr-etl-guard run --report=report.json -- run -c config.yml -r resolver.json -x rdb_load
  emr-etl-guard run --quiet -- run -c - -r resolver.json < config.yml";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  emr-etl-guard check config.yml -r resolver.json
  emr-etl-guard check --only=bucket-default-encryption,kms-key-enabled config.yml
  emr-etl-guard check --json -- run -c config.yml -r resolver.json -t targets -x rdb_load";

pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  emr-etl-guard watch j-1ABCDEFGHIJKL
  emr-etl-guard watch j-1ABCDEFGHIJKL -- run -c config.yml -r resolver.json
  emr-etl-guard watch --resume";

pub(super) const SENTINEL_EXAMPLES: &str = "\
Examples:
  emr-etl-guard sentinel
  emr-etl-guard sentinel --settings=guard.yml --region=eu-west-1 --region=us-east-1
  emr-etl-guard sentinel --once --region=eu-west-1";

pub(super) const AUDIT_EXAMPLES: &str = "\
Examples:
  emr-etl-guard audit config.yml
  emr-etl-guard audit s3://bucket/folder --offenders=offenders.csv
  emr-etl-guard audit --inventory=s3://bucket/inventory/manifest.json";

pub(super) const SETUP_EXAMPLES: &str = "\
Examples:
  emr-etl-guard setup config.yml -r resolver.json
  emr-etl-guard setup --terraform=terraform config.yml
  emr-etl-guard setup --apply --report=setup.json --write-config config.yml";

pub(super) const SEAL_EXAMPLES: &str = "\
Examples:
  emr-etl-guard seal config.yml
  emr-etl-guard seal --diff config.yml
  emr-etl-guard seal --diff --security-configuration=acme-sc -- run -c config.yml";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  emr-etl-guard report html report.json --out=report.html
  emr-etl-guard report junit report.json
  emr-etl-guard report verify --key=public.pem report.json";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  emr-etl-guard report verify --key=public.pem report.json
  emr-etl-guard report verify --key=public.pem --chain=ID reports/*.json
  openssl pkey -in key.pem -pubout -out public.pem    # the public key of a key file";

pub(super) const QUARTER_EXAMPLES: &str = "\
Examples:
  emr-etl-guard report quarter 2026Q4 --key=public.pem state/sentinel/reports --out=2026Q4.csv
  emr-etl-guard report quarter 2026Q4 --format=json reports/*.json";

pub(super) const REENCRYPT_EXAMPLES: &str = "\
Examples:
  emr-etl-guard reencrypt config.yml
  emr-etl-guard reencrypt --apply config.yml
  emr-etl-guard reencrypt --apply --bucket=archive --kms-key=alias/etl s3://archive/2025";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  emr-etl-guard explain
  emr-etl-guard explain bucket-default-encryption
  emr-etl-guard explain --permissions -- run -c config.yml -r resolver.json";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(emr-etl-guard completions bash)
  emr-etl-guard completions zsh > ~/.zfunc/_emr-etl-guard
  emr-etl-guard completions fish > ~/.config/fish/completions/emr-etl-guard.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  emr-etl-guard man | man -l -
  emr-etl-guard man check | man -l -
  emr-etl-guard man guard.yml | man -l -";

pub(super) const REENCRYPT_CODES: &str = "\
Exit codes:
  0   every object that was looked at is encrypted as required
  64  the command line or the settings are wrong
  65  the runner's config or arguments are not understood
  69  something could not be looked at, or the ledger cannot be used
  75  something is left to do: found by a dry run, failed, or to be done by hand
  77  refused: a bucket that was not named, or a location that a running cluster uses
  128+n  stopped by signal n; the next run continues";

pub(super) const EXIT_CODES: &str = "\
Exit codes: those of the runner pass through (0 done, 1 error, 3 no data, 4 earlier run unfinished,
17 lock held, 18 cluster busy).
  64  the guard's command line or settings are wrong
  65  the runner's config or arguments are not understood
  69  facts could not be established (AWS unreachable, access denied), or the state directory
      cannot be used: refused
  70  a bug in the guard
  71  an unsafe cluster may still be running: act now
  74  the run ended, but its report could not be delivered everywhere, or not be signed
  75  the run ended, but encryption could not be confirmed
  76  an unsafe cluster was found, and its termination is confirmed
  77  refused: a required check failed
  126, 127  the runner cannot be executed, or was not found
  128+n  ended by signal n";
