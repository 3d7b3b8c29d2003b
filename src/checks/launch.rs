//! Checks on what will launch: the runner, whose credentials, against which AWS, in which
//! environment.

use crate::{
    aws::endpoint::EndpointOverride,
    base::aws_calls,
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    spec::observations::RunnerVersion,
};

pub(super) static AWS_ENDPOINT: Check = Check {
    name: "aws-endpoint",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An endpoint override can make the guard look at one AWS while the runner launches in another: everything would be proved about the wrong account.",
    looks_at: "AWS_ENDPOINT_URL, its per-service forms, and the profile's endpoint_url, as the AWS SDK resolves them.",
    asks: &[],
    fix: "unset the override, or allow it by its origin in the setting `allow_endpoints`",
    source: "AWS SDKs and tools reference guide, service-specific endpoints",
};

pub(super) static RUNNER_VERSION: Check = Check {
    name: "runner-version",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EmrEtlRunner before 0.33.0 (R108) knows neither aws.emr.security_configuration nor aws.s3.buckets.encrypted and ignores both silently.",
    looks_at: "The sources within the runner's jar, or, where these do not tell it, `snowplow-emr-etl-runner --version`; remembered by the file's identity.",
    asks: &[],
    fix: "install EmrEtlRunner 0.33.0 or later",
    source: "Snowplow R108 release notes; setup guide, Setting up end to end encryption",
};

pub(super) static WATCHABLE: Check = Check {
    name: "clusters-can-be-listed",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "At INFO the runner prints no cluster id: without elasticmapreduce:ListClusters the guard could not find what it must watch.",
    looks_at: "elasticmapreduce:ListClusters of the last hour, which also tells this run's clusters from earlier ones.",
    asks: &[&aws_calls::LIST_CLUSTERS],
    fix: "allow elasticmapreduce:ListClusters to the guard's credentials",
    source: "EmrEtlRunner, emr_job.rb (the id is logged at DEBUG only); Amazon EMR API reference, ListClusters",
};

pub(super) static REPLACED: Check = Check {
    name: "environment-replaces-runner",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The runner inherits the environment: a variable can have another program run in its place, give everybody of the machine the means to put one there, or let a debugger in. Then nothing that was looked at is what will run.",
    looks_at: "JAVA_OPTS and java_args, where they name a program; Java's options for a debugger; LD_AUDIT; the folders of PATH and JAVA_HOME, where everybody may write to them or they depend on the working directory. docs/environment.md has them all.",
    asks: &[],
    fix: "take what it names out of {subject} where the guard is started; of PATH and JAVA_HOME, keep folders that only root or the guard's user may write to; or set `clean_environment: true`",
    source: "EmrEtlRunner, bin/jarx-stub.sh; java(1); ld.so(8)",
};

pub(super) static ENVIRONMENT: Check = Check {
    name: "environment-loads-code",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The runner inherits the environment: a library or an agent that a variable loads into it can change what it sends to EMR.",
    looks_at: "The variables of the dynamic linker, of shells, of Ruby, RubyGems, Bundler and JRuby, and of Java, in the environment that the runner gets; and whether another user owns a folder of PATH or JAVA_HOME. docs/environment.md has them all.",
    asks: &[],
    fix: "unset {subject} where the guard is started, unless you know what it loads; or set `clean_environment: true`",
    source: "ld.so(8); bash(1); ruby(1); JRuby, bin/jruby.sh; java(1); JVM Tool Interface, JAVA_TOOL_OPTIONS",
};

pub(super) static SAME_ACCOUNT: Check = Check {
    name: "same-account",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The guard looks with its own credentials and the runner launches with the keys of its config. If these belong to two accounts, nothing that was looked at is what will run.",
    looks_at: "sts:GetCallerIdentity under both sets of credentials.",
    asks: &[&aws_calls::GET_CALLER_IDENTITY],
    fix: "give the guard credentials of the account that the runner config's keys belong to, or set `credentials: runner-config`",
    source: "AWS STS API reference, GetCallerIdentity",
};

pub(super) fn endpoints(case: &Case<'_>) -> Vec<Finding> {
    let finding = |endpoint: &EndpointOverride| {
        let subject = AWS_ENDPOINT
            .on(endpoint.service.clone(), "AWS's own endpoint, or one that the settings allow");
        subject.decided(endpoint.accepted, endpoint.url.clone())
    };
    if case.facts.endpoints.is_empty() {
        return vec![
            AWS_ENDPOINT
                .on("all services", "AWS's own endpoints")
                .passed("no endpoint override is in force"),
        ];
    }
    case.facts.endpoints.iter().map(finding).collect()
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let subject =
        RUNNER_VERSION.on("the runner", format!("{} or later", RunnerVersion::FIRST_ENCRYPTING));
    findings.push(match &case.facts.runner_version {
        Some(lookup) => subject.by(lookup, "no version", |subject, version| {
            subject.decided(*version >= RunnerVersion::FIRST_ENCRYPTING, version.to_string())
        }),
        None => {
            subject.not_applicable("no runner on this machine; `run` asks the one that it launches")
        }
    });
    findings.push(same_account(case));
    findings.push(WATCHABLE.on("elasticmapreduce:ListClusters", "an answer").by(
        &case.facts.earlier_clusters,
        "no list",
        |subject, earlier| subject.passed(format!("{} of the last hour", earlier.len())),
    ));
    environment(case, findings);
}

fn environment(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let set = &case.facts.environment;
    let wanted = "nothing that puts another program in the runner's place";
    let replaced: Vec<Finding> = set
        .iter()
        .filter(|variable| variable.replaces_runner)
        .map(|variable| {
            let saw =
                format!("another program can run in the runner's place by it: {}", variable.source);
            REPLACED.on(variable.name, wanted).failed(saw)
        })
        .collect();
    if replaced.is_empty() {
        let saw = "no variable puts another program in the runner's place";
        findings.push(REPLACED.on("the environment", wanted).passed(saw));
    }
    findings.extend(replaced);
    if set.is_empty() {
        findings.push(
            ENVIRONMENT
                .on("the environment", "nothing that loads code into the runner")
                .passed("none of these variables is set"),
        );
    }
    for variable in set {
        let saw = if variable.loads_code {
            format!("is set, and loads code: {}", variable.source)
        } else {
            "is set, with options that load no code".to_owned()
        };
        findings.push(
            ENVIRONMENT
                .on(variable.name, "nothing that loads code into the runner")
                .decided(!variable.loads_code, saw),
        );
    }
}

fn same_account(case: &Case<'_>) -> Finding {
    let subject = SAME_ACCOUNT.on("guard and runner", "one account");
    subject.by(&case.facts.guard, "no identity", |subject, guard| {
        subject.by(&case.facts.runner, "no identity", |subject, runner| {
            let same = guard.account == runner.account;
            let saw = if same {
                format!("both in {}", guard.account)
            } else {
                format!("the guard in {}, the runner in {}", guard.account, runner.account)
            };
            subject.decided(same, saw)
        })
    })
}
