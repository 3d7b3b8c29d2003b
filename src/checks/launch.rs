//! Checks on the launch: the runner, its credentials, the AWS endpoints, and the environment.

use std::collections::BTreeSet;

use crate::{
    aws::{
        endpoint::EndpointOverride,
        trust::{AwsRoot, RootStanding},
    },
    base::{access::AccessCause, aws_calls, lookup::Lookup},
    checks::{
        case::Case,
        finding::{Check, Finding, Level, Stage},
    },
    facts::gather::Facts,
    spec::observations::RunnerVersion,
};

pub(super) static AWS_ENDPOINT: Check = Check {
    name: "aws-endpoint",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "An endpoint override can make the guard look at one AWS while the runner launches in \
        another: everything would be verified in the wrong account.",
    looks_at: "AWS_ENDPOINT_URL, its per-service forms, and the profile's endpoint_url, as the \
        AWS SDK resolves them.",
    asks: &[],
    fix: "unset the override, or allow it by its origin in the setting `allow_endpoints`",
    source: "AWS SDKs and tools reference guide, service-specific endpoints",
};

pub(super) static AWS_TRUST_STORE: Check = Check {
    name: "aws-trust-store",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A holder of the key of a certificate authority that this machine trusts can answer in \
        AWS's name, and forge everything that the guard sees. A public authority signs AWS's \
        names for AWS alone.",
    looks_at: "Which authority each TLS connection to AWS chained to, and whether that is in the \
        public set (Mozilla's, by the crate webpki-roots) or in the setting `allow_roots`. To a \
        server of any other nothing is sent.",
    asks: &[],
    fix: "find out who put {subject} among the authorities of this machine (SSL_CERT_FILE, \
        SSL_CERT_DIR, ca-certificates) and who answers in AWS's place; if it is your company's \
        own inspecting proxy, allow it in `allow_roots` by the digest",
    source: "RFC 5280, section 6; Mozilla Root Store Policy",
};

pub(super) static AWS_PROXY: Check = Check {
    name: "aws-proxy",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "A proxy sees which servers of AWS are asked, and can hold answers back. What they say \
        it can neither read nor change, unless an authority of its own is believed \
        (aws-trust-store) or an endpoint is in plain text.",
    looks_at: "Through which proxy each server of AWS was asked, by HTTPS_PROXY, HTTP_PROXY, \
        ALL_PROXY and NO_PROXY.",
    asks: &[],
    fix: "where no proxy is meant to be, unset the variables for proxies, or put `.amazonaws.com` \
        into NO_PROXY",
    source: "hyper-util, client::proxy::matcher, which goes by the same variables as curl",
};

pub(super) static RUNNER_ROUTE: Check = Check {
    name: "runner-route",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The runner makes connections of its own. Where it uses another proxy than the guard, or \
        trusts other authorities, it is not known who answers it.",
    looks_at: "The variables for proxies as Ruby reads them; Java's options for proxies and trust \
        stores; the authorities in SSL_CERT_FILE and SSL_CERT_DIR that are neither public nor \
        allowed.",
    asks: &[],
    fix: "give guard and runner one way to AWS: unset {subject}, or set it for both",
    source: "Ruby, URI::Generic#find_proxy; JDK, networking properties; JSSE reference guide",
};

pub(super) static RUNNER_VERSION: Check = Check {
    name: "runner-version",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "EmrEtlRunner before 0.33.0 (R108) knows neither aws.emr.security_configuration nor \
        aws.s3.buckets.encrypted and ignores both silently.",
    looks_at: "The sources within the runner's jar, or, where these do not say it, \
        `snowplow-emr-etl-runner --version`; remembered by the file's identity.",
    asks: &[],
    fix: "install EmrEtlRunner 0.33.0 or later",
    source: "Snowplow R108 release notes; setup guide, Setting up end to end encryption",
};

pub(super) static WATCHABLE: Check = Check {
    name: "clusters-can-be-listed",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "At INFO the runner prints no cluster id: without elasticmapreduce:ListClusters the \
        guard could not find what it must watch.",
    looks_at: "elasticmapreduce:ListClusters of the last hour, which also distinguishes this \
        run's clusters from earlier ones.",
    asks: &[&aws_calls::LIST_CLUSTERS],
    fix: "allow elasticmapreduce:ListClusters to the guard's credentials",
    source: "EmrEtlRunner, emr_job.rb (the id is logged at DEBUG only); Amazon EMR API reference, \
        ListClusters",
};

pub(super) static REPLACED: Check = Check {
    name: "environment-replaces-runner",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The runner inherits the environment: a variable can have another program run in its \
        place, give everybody of the machine the means to put one there, or let a debugger in. \
        Then nothing that was looked at is what will run.",
    looks_at: "JAVA_OPTS and java_args, where they name a program; Java's options for a debugger; \
        LD_AUDIT; the folders of PATH and JAVA_HOME, where everybody may write to them or they \
        depend on the working directory. docs/environment.md has them all.",
    asks: &[],
    fix: "take what it names out of {subject} where the guard is started; of PATH and JAVA_HOME, \
        keep folders that only root or the guard's user may write to; or set `clean_environment: \
        true`",
    source: "EmrEtlRunner, bin/jarx-stub.sh; java(1); ld.so(8)",
};

pub(super) static ENVIRONMENT: Check = Check {
    name: "environment-loads-code",
    stage: Stage::PreFlight,
    level: Level::Advisory,
    why: "The runner inherits the environment: a library or an agent that a variable loads into \
        it can change what it sends to EMR.",
    looks_at: "The variables of the dynamic linker, of shells, of Ruby, RubyGems, Bundler and \
        JRuby, and of Java, in the environment that the runner gets; and whether another user \
        owns a folder of PATH or JAVA_HOME. docs/environment.md has them all.",
    asks: &[],
    fix: "unset {subject} where the guard is started, unless you know what it loads; or set \
        `clean_environment: true`",
    source: "ld.so(8); bash(1); ruby(1); JRuby, bin/jruby.sh; java(1); JVM Tool Interface, \
        JAVA_TOOL_OPTIONS",
};

pub(super) static SAME_ACCOUNT: Check = Check {
    name: "same-account",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "The guard looks with its own credentials and the runner launches with the keys of its \
        config. If these belong to two accounts, nothing that was looked at is what will run.",
    looks_at: "sts:GetCallerIdentity under both sets of credentials.",
    asks: &[&aws_calls::GET_CALLER_IDENTITY],
    fix: "give the guard credentials of the account that the runner config's keys belong to, or \
        set `credentials: runner-config`",
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

/// The findings on certificate authorities and proxies of AWS's servers.
pub(super) fn connections(case: &Case<'_>) -> Vec<Finding> {
    let wanted = "a public authority, or one that the settings allow";
    let root = |root: &AwsRoot| {
        let subject = AWS_TRUST_STORE.on(root.subject.clone(), wanted);
        let hosts = hosts(&root.hosts);
        let digest = match &root.sha256 {
            Some(sha256) => format!(" (SHA-256 {sha256})"),
            None => String::new(),
        };
        match root.standing {
            RootStanding::Public => subject.passed(format!("a public authority, for {hosts}")),
            RootStanding::Allowed => {
                subject.passed(format!("an allowed authority{digest}, for {hosts}"))
            }
            RootStanding::Refused => subject.failed(format!(
                "an authority that is neither public nor allowed{digest}, for {hosts}; nothing \
                 was asked there"
            )),
        }
    };
    let Facts { connections, launcher_routes, .. } = case.facts;
    let mut findings: Vec<Finding> = connections.roots.iter().map(root).collect();
    if connections.roots.is_empty() {
        let subject = AWS_TRUST_STORE.on("AWS", wanted);
        findings.push(subject.not_applicable("no server of AWS was asked over TLS"));
    }
    let wanted = "no proxy between the guard and AWS";
    if connections.proxies.is_empty() {
        findings.push(AWS_PROXY.on("AWS", wanted).passed("no proxy"));
    }
    findings.extend(connections.proxies.iter().map(|proxy| {
        let subject = AWS_PROXY.on(proxy.proxy.clone(), wanted);
        subject.failed(format!("a proxy, through which was asked: {}", hosts(&proxy.hosts)))
    }));
    let wanted = "the guard's own way to AWS";
    if launcher_routes.is_empty() {
        findings.push(RUNNER_ROUTE.on("the runner", wanted).passed("nothing gives it another"));
    }
    findings.extend(
        launcher_routes
            .iter()
            .map(|route| RUNNER_ROUTE.on(route.name.clone(), wanted).failed(route.what.clone())),
    );
    findings
}

/// The first of several hosts, and the number of the others.
fn hosts(hosts: &BTreeSet<String>) -> String {
    let first: Vec<&str> = hosts.iter().take(3).map(String::as_str).collect();
    match hosts.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
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

pub(super) fn same_account(case: &Case<'_>) -> Finding {
    let subject = SAME_ACCOUNT.on("guard and runner", "one account");
    if let (Lookup::Found(_), Lookup::Denied(error) | Lookup::Unreachable(error)) =
        (&case.facts.guard, &case.facts.runner)
        && error.cause.as_ref().is_some_and(AccessCause::blocks_everything)
    {
        let saw = format!("AWS refuses the keys of the runner config: {}", error.message);
        let fix = "put a working key pair into `aws.access_key_id` and `aws.secret_access_key` of \
            the runner config; `aws iam list-access-keys` lists those of a user";
        return subject.unknown(saw, fix);
    }
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
