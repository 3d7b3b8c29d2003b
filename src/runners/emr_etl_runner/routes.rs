//! The runner's connection to AWS where it differs from the guard's: a proxy, or trusted
//! authorities, that only the runner uses.
//!
//! The guard's own connections show their proxy and the authority of the server. The runner's
//! connections cannot be observed; they are derived from its environment. Sources: Ruby 2.6,
//! `URI::Generic#find_proxy` and `use_proxy?`, which `Net::HTTP` and rest-client use; hyper-util,
//! `client::proxy::matcher`, for the guard; the JDK's networking properties and JSSE reference
//! guide.

use std::ffi::{OsStr, OsString};

use hyper_util::client::proxy::matcher::Matcher;

use crate::{
    base::{
        names::{endpoint_domain, partition},
        printable::Printable,
    },
    runners::emr_etl_runner::environment::quoted_words,
    spec::observations::{LauncherRoute, RouteKind},
    system::http::proxy_address,
};

/// A process's environment.
type Environment = [(OsString, OsString)];

/// The variables from which a JVM takes options.
const JAVA_VARIABLES: [&str; 8] = [
    "java_args",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "OPENJ9_JAVA_OPTIONS",
    "IBM_JAVA_OPTIONS",
    "JRUBY_OPTS",
];
/// Prefixes of the Java properties that change the connection, and their kinds.
const JAVA_PROPERTIES: [(&str, RouteKind); 6] = [
    ("https.proxyHost=", RouteKind::Proxy),
    ("http.proxyHost=", RouteKind::Proxy),
    ("socksProxyHost=", RouteKind::Proxy),
    ("java.net.useSystemProxies=true", RouteKind::Proxy),
    ("javax.net.ssl.trustStore=", RouteKind::Authorities),
    ("javax.net.ssl.trustStoreProvider=", RouteKind::Authorities),
];
const JAVA: &str = "JDK, networking properties; JSSE reference guide";
const RUBY: &str = "Ruby, URI::Generic#find_proxy";

/// The connection settings to EMR in `region` of a runner with the environment `runner` that a
/// guard with the environment `guard` does not use.
#[must_use]
pub fn routes(guard: &Environment, runner: &Environment, region: &str) -> Vec<LauncherRoute> {
    let mut routes = Vec::new();
    let host = &format!("elasticmapreduce.{region}.{}", endpoint_domain(partition(region)));
    let (own, rubys) = (guards_proxy(guard, host), rubys_proxy(runner, host));
    if own != rubys {
        let by = |proxy: &Option<String>| match proxy {
            Some(proxy) => format!("through the proxy {proxy}"),
            None => "without a proxy".to_owned(),
        };
        routes.push(LauncherRoute {
            name: "https_proxy".to_owned(),
            kind: RouteKind::Proxy,
            what: Printable::from(format!(
                "by its variables for proxies the runner reaches {host} {}, and the guard {}",
                by(&rubys),
                by(&own)
            )),
            source: RUBY,
        });
    }
    for (name, value) in runner {
        let Some(name) = JAVA_VARIABLES.iter().find(|known| name == *known) else { continue };
        for word in quoted_words(&value.to_string_lossy()) {
            // JRuby passes on to Java what follows `-J`.
            let word = word.strip_prefix("-J").unwrap_or(&word);
            let Some(property) = word.strip_prefix("-D") else { continue };
            let known = JAVA_PROPERTIES.iter().find(|(start, _)| property.starts_with(start));
            let Some((_, kind)) = known else { continue };
            let (property, value) = property.split_once('=').unwrap_or((property, ""));
            routes.push(LauncherRoute {
                name: (*name).to_owned(),
                kind: *kind,
                what: Printable::from(format!("has Java go by {property}={value}")),
                source: JAVA,
            });
        }
    }
    routes
}

/// The first of `names` that is set, to any value.
fn first<'a>(environment: &'a Environment, names: [&str; 2]) -> Option<&'a OsStr> {
    names.iter().find_map(|wanted| {
        let found = environment.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_os_str())
    })
}

fn guards_proxy(environment: &Environment, host: &str) -> Option<String> {
    // If this variable of CGI programs is set, none of these is used.
    if environment.iter().any(|(name, _)| name == "REQUEST_METHOD") {
        return None;
    }
    // The guard ignores a value that is not text.
    let value =
        |names| first(environment, names).and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let matcher = Matcher::builder()
        .all(value(["ALL_PROXY", "all_proxy"]))
        .https(value(["HTTPS_PROXY", "https_proxy"]))
        .no(value(["NO_PROXY", "no_proxy"]))
        .build();
    let server: http::Uri = format!("https://{host}").parse().ok()?;
    proxy_address(matcher.intercept(&server)?.uri())
}

fn rubys_proxy(environment: &Environment, host: &str) -> Option<String> {
    let value = |names| first(environment, names).map(OsStr::to_string_lossy);
    let proxy = value(["https_proxy", "HTTPS_PROXY"]).filter(|proxy| !proxy.is_empty())?;
    if let Some(exceptions) = value(["no_proxy", "NO_PROXY"])
        && is_excepted(&exceptions, host)
    {
        return None;
    }
    proxy_address(&proxy.parse().ok()?)
}

/// Whether Ruby uses no proxy for port 443 of a host. The exceptions are names, each with an
/// optional leading dot and an optional port.
fn is_excepted(exceptions: &str, host: &str) -> bool {
    let words = exceptions.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let host = host.to_ascii_lowercase();
    words.into_iter().any(|word| {
        let (name, port) = word.split_once(':').unwrap_or((word, ""));
        let name = name.to_ascii_lowercase();
        (port.is_empty() || port == "443")
            && (host == name || host.ends_with(&format!(".{}", name.trim_start_matches('.'))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "elasticmapreduce.eu-west-1.amazonaws.com";

    fn environment(of: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn same(of: &[(&str, &str)]) -> Vec<LauncherRoute> {
        let environment = environment(of);
        routes(&environment, &environment, "eu-west-1")
    }

    #[test]
    fn a_proxy_that_both_go_through_is_no_way_of_the_runners_own() {
        for variables in [
            &[][..],
            &[("HTTPS_PROXY", "http://proxy:3128")],
            &[("https_proxy", "http://user:secret@proxy:3128/")],
            &[("https_proxy", "proxy:3128"), ("NO_PROXY", "amazonaws.com")],
            &[("https_proxy", "http://proxy:3128"), ("no_proxy", "localhost, .amazonaws.com")],
            &[("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", "s3.amazonaws.com")],
            &[("HTTP_PROXY", "http://proxy:3128")],
        ] {
            assert_eq!(same(variables), [], "{variables:?}");
        }
    }

    #[test]
    fn a_proxy_that_only_one_of_them_goes_through_is_told_without_its_password() {
        for (variables, runner, guard) in [
            (
                &[("ALL_PROXY", "http://u:hidden@proxy:1")][..],
                "without a proxy",
                "through the proxy http://proxy:1",
            ),
            (
                &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://u:hidden@b:2")],
                "through the proxy http://b:2",
                "through the proxy http://a:1",
            ),
            // Ruby does not support `*`.
            (
                &[("https_proxy", "http://b:2"), ("no_proxy", "*")],
                "through the proxy http://b:2",
                "without a proxy",
            ),
            (
                &[("HTTPS_PROXY", "http://b:2"), ("REQUEST_METHOD", "GET")],
                "through the proxy http://b:2",
                "without a proxy",
            ),
        ] {
            let routes = same(variables);
            let [route] = routes.as_slice() else { panic!("{variables:?}: {routes:?}") };
            let what = format!(
                "by its variables for proxies the runner reaches {HOST} {runner}, and the guard \
                 {guard}"
            );
            assert_eq!(route.what.as_str(), what, "{variables:?}");
            assert_eq!(route.kind, RouteKind::Proxy);
        }
    }

    #[test]
    fn what_a_clean_environment_leaves_out_is_no_proxy_of_the_runners() {
        let guard = environment(&[("ALL_PROXY", "http://proxy:1")]);
        let routes = routes(&guard, &[], "eu-west-1");
        assert_eq!(routes.len(), 1, "{routes:?}");
    }

    #[test]
    fn javas_own_proxies_and_authorities_are_told() {
        let routes = same(&[
            (
                "JAVA_OPTS",
                "-Xmx1g -Dhttps.proxyHost=proxy -Dhttps.proxyPort=1 -Dfile.encoding=UTF-8",
            ),
            ("JRUBY_OPTS", "-J-Djavax.net.ssl.trustStore=/etc/corp.jks --dev"),
            ("JAVA_TOOL_OPTIONS", "'-Djavax.net.ssl.trustStore=/a b.jks'"),
            ("SOMETHING", "-Dhttps.proxyHost=proxy"),
        ]);
        let told: Vec<_> = routes
            .iter()
            .map(|route| (route.name.as_str(), route.kind, route.what.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("JAVA_OPTS", RouteKind::Proxy, "has Java go by https.proxyHost=proxy"),
                (
                    "JRUBY_OPTS",
                    RouteKind::Authorities,
                    "has Java go by javax.net.ssl.trustStore=/etc/corp.jks"
                ),
                (
                    "JAVA_TOOL_OPTIONS",
                    RouteKind::Authorities,
                    "has Java go by javax.net.ssl.trustStore=/a b.jks"
                ),
            ]
        );
    }
}
