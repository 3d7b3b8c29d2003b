//! Checks on the certificates for traffic between nodes: those in the PEM archive that the security
//! configuration names, and the validity of those that EMR creates.

use time::{Duration, OffsetDateTime};

use crate::{
    base::{aws_calls, text::shown, time_format::days_in_words},
    checks::{
        case::Case,
        finding::{Check, CheckSubject, Finding, Level, Stage},
        fix::FixTemplate,
        node_names::{self, VPC_DHCP},
        security_configuration,
    },
    facts::{
        certificate_archive::{Certificate, Material},
        emr::{SecurityConfiguration, Tls},
        gather::Facts,
    },
    settings::policy::Protection,
};

pub(super) static OBJECT: Check = Check {
    name: "certificate-object",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Every node fetches the archive while it starts; without it, or with other members in \
        it, the cluster fails after minutes.",
    looks_at: "s3:GetObject on the S3Object of TLSCertificateConfiguration, and the archive's \
        members. The private key is looked at in memory and never kept.",
    asks: &[&aws_calls::DESCRIBE_SECURITY_CONFIGURATION, &aws_calls::GET_OBJECT],
    fix: "zip privateKey.pem, certificateChain.pem and perhaps trustedCertificates.pem, with no \
        folders, and put the archive at {subject}",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit \
        with Amazon EMR encryption",
};

pub(super) static KEY: Check = Check {
    name: "certificate-key",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A key with a passphrase, or one that belongs to another certificate, lets no node talk \
        to another: the cluster does not start.",
    looks_at: "privateKey.pem against the first certificate of certificateChain.pem.",
    asks: &[&aws_calls::GET_OBJECT],
    fix: "take the passphrase off (`openssl pkey -in privateKey.pem -out plain.pem`), or use the \
        key that the certificate was made for",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit \
        with Amazon EMR encryption",
};

pub(super) static CHAIN: Check = Check {
    name: "certificate-chain",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Nodes verify each other along the chain, from their own certificate on; in another \
        order, or with a gap, they refuse each other.",
    looks_at: "Issuer and signature of each certificate in certificateChain.pem, against the next \
        one.",
    asks: &[&aws_calls::GET_OBJECT],
    fix: "write the nodes' certificate first, then each issuer behind what it signed",
    source: "RFC 5280, section 6; RFC 8446, section 4.4.2",
};

pub(super) static VALIDITY: Check = Check {
    name: "certificate-validity",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "A certificate that has expired ends all traffic between nodes; one that is about to \
        will do so on some night soon.",
    looks_at: "notBefore and notAfter of each certificate, or, where EMR makes them, \
        ValidityInDays from the creation of the security configuration on; against the setting \
        `certificate_days`.",
    asks: &[&aws_calls::GET_OBJECT],
    fix: "make a new certificate and replace the archive; running clusters keep the old one",
    source: "RFC 5280, section 4.1.2.5; Amazon EMR management guide, Create a security \
        configuration (ValidityInDays)",
};

pub(super) static NAMES: Check = Check {
    name: "certificate-names",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Nodes find each other by names such as ip-10-0-0-1.eu-west-1.compute.internal, which \
        the certificate must cover by a wildcard.",
    looks_at: "The common name and alternative names of the first certificate, against the domain \
        of the region, or the one that DHCP gives the VPC's instances.",
    asks: &[&aws_calls::GET_OBJECT],
    fix: "make the certificate for the wildcard wanted: `openssl req -x509 -newkey rsa:2048 \
        -nodes -days 365 -subj '/CN=*.{domain}' -keyout privateKey.pem -out certificateChain.pem`",
    source: "Amazon EMR management guide, Providing certificates for encrypting data in transit \
        with Amazon EMR encryption",
};

pub(super) static STRENGTH: Check = Check {
    name: "certificate-strength",
    stage: Stage::PreFlight,
    level: Level::Required,
    why: "Short keys and old hashes can be broken; then the traffic between nodes is as good as \
        clear.",
    looks_at: "Key sizes and signature algorithms of the chain: RSA of 2048 bits, elliptic curves \
        of 256, no MD5 and no SHA-1.",
    asks: &[&aws_calls::GET_OBJECT],
    fix: "make a new certificate with RSA of 2048 bits or P-256, and SHA-256",
    source: "NIST SP 800-131A Rev. 2",
};

/// The default validity of EMR's certificates: 20 years, counted without leap days. Source: Amazon
/// EMR management guide, Create a security configuration, `ValidityInDays`.
const DEFAULT_VALIDITY_IN_DAYS: u32 = 20 * 365;

/// The fix for certificates of EMR that expire.
const MAKE_ANEW: &str = "make a new security configuration with ValidityInDays as long as needed, \
    and name it in place of this one, because EMR renews no certificates; the present one is \
    printed by `aws emr describe-security-configuration --name {subject}`";

static ALL: [&Check; 6] = [&OBJECT, &KEY, &CHAIN, &VALIDITY, &NAMES, &STRENGTH];

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let not_applicable = |why: &str| {
        ALL.map(|check| check.on("certificates", "usable certificates").not_applicable(why))
    };
    if !case.policy.requires(Protection::InTransit) {
        findings.extend(not_applicable("encryption in transit is not required by policy"));
        return;
    }
    let Some(configuration) =
        case.facts.security_configuration.as_ref().and_then(|lookup| lookup.found())
    else {
        findings.extend(ALL.map(|check| {
            check
                .on("certificates", "usable certificates")
                .waiting_for(&security_configuration::EXISTS)
        }));
        return;
    };
    let content = &configuration.content;
    if let Some(tls) =
        content.tls.as_ref().filter(|tls| content.in_transit_enabled && tls.is_by_emr())
    {
        findings.extend(ALL.map(|check| {
            if check.name == VALIDITY.name {
                managed_validity(case, configuration, tls)
            } else {
                let why = "EMR makes the certificates; no PEM archive is named";
                check.on("certificates", "usable certificates").not_applicable(why)
            }
        }));
        return;
    }
    let tls = content.tls.as_ref().filter(|tls| tls.provider == "PEM");
    let Some(uri) = tls.and_then(|tls| tls.s3_object.as_deref()) else {
        findings.extend(not_applicable("no PEM archive is named"));
        return;
    };
    let Some(lookup) = &case.facts.certificates else {
        findings
            .push(OBJECT.on(uri, "an object in S3").failed("neither s3://bucket/key nor its ARN"));
        findings.extend(
            ALL.iter()
                .skip(1)
                .map(|check| check.on(uri, "usable certificates").waiting_for(&OBJECT)),
        );
        return;
    };
    findings.push(OBJECT.on(uri, "a zip archive with exactly the members that EMR reads").by(
        lookup,
        "no such object",
        |subject, read| match read {
            Ok(material) => subject.passed(format!(
                "a key and a chain of {}{}",
                material.chain.len(),
                if material.trusted { ", with trusted certificates" } else { "" }
            )),
            Err(wrong) => subject.failed(wrong.clone()),
        },
    ));
    let Some(Ok(material)) = lookup.found() else {
        findings.extend(
            ALL.iter()
                .skip(1)
                .map(|check| check.on(uri, "usable certificates").waiting_for(&OBJECT)),
        );
        return;
    };
    findings.push(match &material.key {
        Ok(()) => KEY.on(uri, "a key without passphrase, of the first certificate").passed("it is"),
        Err(wrong) => {
            KEY.on(uri, "a key without passphrase, of the first certificate").failed(wrong.clone())
        }
    });
    findings.push(chain(CHAIN.on(uri, "each certificate signed by the next"), material));
    findings.push(validity(case, VALIDITY.on(uri, wanted_validity(case)), material));
    findings.push(names(case, uri, material));
    let weak: Vec<String> = material
        .chain
        .iter()
        .filter_map(|certificate| {
            Some(format!("{}: {}", certificate.subject, certificate.weak.as_ref()?))
        })
        .collect();
    let saw = if weak.is_empty() { "nothing weak".to_owned() } else { weak.join("; ") };
    findings.push(
        STRENGTH
            .on(uri, "RSA of 2048 bits or P-256, and SHA-256, or better")
            .decided(weak.is_empty(), saw),
    );
}

/// A certificate for the region's default domain fits any VPC without its own DHCP options. Any
/// other certificate must be for the domain that this VPC gives its instances.
fn names(case: &Case<'_>, uri: &str, material: &Material) -> Finding {
    let names = material.names();
    let shown = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    let regional = node_names::regional_domain(&case.cluster.region.value);
    if node_names::covers(names, &regional) {
        return NAMES.on(uri, format!("*.{regional}")).passed(shown);
    }
    match case.facts.network.as_ref().and_then(|network| network.dhcp.found()) {
        Some(options) => {
            let domain = node_names::dhcp_domain(options).unwrap_or(&regional);
            let holds = node_names::covers(names, domain);
            let finding = NAMES.on(uri, format!("*.{domain}")).decided(holds, shown);
            finding.with_value("domain", domain)
        }
        None => NAMES.on(uri, "the wildcard of the VPC's domain").waiting_for(&VPC_DHCP),
    }
}

fn chain(subject: CheckSubject, material: &Material) -> Finding {
    match material.chain.iter().find(|certificate| !certificate.signed_by_next) {
        None => subject.passed(
            material
                .chain
                .iter()
                .map(|certificate| certificate.subject.as_str())
                .collect::<Vec<_>>()
                .join(" < "),
        ),
        Some(broken) => {
            subject.failed(format!("`{}` is not signed by what follows it", broken.subject))
        }
    }
}

fn wanted_validity(case: &Case<'_>) -> String {
    format!("valid now and for {} days more", case.policy.certificate_days)
}

/// The end of the certificates that EMR has created. It is computed, because the certificates
/// cannot be read before a cluster runs.
fn managed_validity(case: &Case<'_>, found: &SecurityConfiguration, tls: &Tls) -> Finding {
    let subject = VALIDITY.on(found.name.as_str(), wanted_validity(case));
    let days = match validity_in_days(tls) {
        Ok(days) => days,
        Err(saw) => return subject.unknown_with(saw, make_anew(found)),
    };
    let now = case.facts.asked_at;
    let ends = managed_end(found, days);
    let in_days = days_in_words(ends, now);
    let made = format!("EMR made the certificates at {}, for {days} days", shown(found.created));
    let wanted_until = now.saturating_add(Duration::days(i64::from(case.policy.certificate_days)));
    if ends >= wanted_until {
        return subject.passed(format!("until {}, {in_days}, by ValidityInDays", shown(ends)));
    }
    let expiry = if ends < now { "expired" } else { "expire" };
    let failed = subject.failed(format!("{made}: they {expiry} at {}, {in_days}", shown(ends)));
    failed.with_fix(make_anew(found))
}

/// `ValidityInDays`, or its default.
///
/// # Errors
/// What it is, if it is no number.
fn validity_in_days(tls: &Tls) -> Result<u32, String> {
    tls.validity_in_days.as_ref().map_or(Ok(DEFAULT_VALIDITY_IN_DAYS), |days| {
        days.parse().map_err(|_| format!("ValidityInDays is `{days}`, no number of days"))
    })
}

fn managed_end(found: &SecurityConfiguration, days: u32) -> OffsetDateTime {
    found.created.saturating_add(Duration::days(i64::from(days)))
}

/// When the first of the certificates for traffic between nodes expires, as far as it is known:
/// those of the PEM archive, or those that EMR makes.
pub(crate) fn first_expiry(facts: &Facts) -> Option<OffsetDateTime> {
    let configuration = facts.security_configuration.as_ref()?.found()?;
    let content = &configuration.content;
    let tls = content.tls.as_ref().filter(|_| content.in_transit_enabled)?;
    if tls.is_by_emr() {
        return Some(managed_end(configuration, validity_in_days(tls).ok()?));
    }
    facts.certificates.as_ref()?.found()?.as_ref().ok()?.first_expiry()
}

fn make_anew(found: &SecurityConfiguration) -> FixTemplate {
    FixTemplate::new(MAKE_ANEW).word("subject", &found.name)
}

fn validity(case: &Case<'_>, subject: CheckSubject, material: &Material) -> Finding {
    let now = case.facts.asked_at;
    let end = |time: OffsetDateTime| format!("{}, {}", shown(time), days_in_words(time, now));
    let wrong = |certificate: &Certificate| {
        if certificate.not_before > now {
            Some(format!(
                "`{}` is valid only from {}",
                certificate.subject,
                shown(certificate.not_before)
            ))
        } else if certificate.not_after < now {
            Some(format!("`{}` expired at {}", certificate.subject, end(certificate.not_after)))
        } else if certificate.not_after
            < now.saturating_add(Duration::days(i64::from(case.policy.certificate_days)))
        {
            Some(format!("`{}` expires at {}", certificate.subject, end(certificate.not_after)))
        } else {
            None
        }
    };
    match material.chain.iter().find_map(wrong) {
        Some(wrong) => subject.failed(wrong),
        None => {
            let first = material.first_expiry();
            subject.passed(first.map_or_else(String::new, |first| format!("until {}", end(first))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{lookup::Lookup, names::KeyReference},
        checks::{
            finding::Status::{self, Failed, NotApplicable, Passed, Unknown},
            properties::World,
        },
        facts::kms::KeyFacts,
    };

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/99999999-9999-9999-9999-999999999999";

    /// A correct world in which EMR created the certificates `age` days ago.
    fn world(age: i64, tls: Tls) -> World {
        let mut world = World::new(false, false);
        let created = world.facts.asked_at - Duration::days(age);
        let Some(Lookup::Found(found)) = &mut world.facts.security_configuration else {
            unreachable!()
        };
        found.created = created;
        found.content.tls = Some(tls);
        world.facts.certificates = None;
        world.cluster.release.value = "emr-7.11.0".parse().unwrap();
        world
    }

    fn valid_for(days: &str) -> Tls {
        Tls { validity_in_days: Some(days.to_owned()), ..Tls::for_tests("EMR") }
    }

    fn status(world: &World, check: &str) -> Status {
        let findings = world.of_check(check);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings[0].0
    }

    #[test]
    fn emr_certificates_end_by_the_age_of_the_security_configuration() {
        // The policy requires 30 days more.
        for (age, tls, wanted) in [
            (0, valid_for("31"), Passed),
            (1, valid_for("31"), Passed),
            (2, valid_for("31"), Failed),
            (31, valid_for("31"), Failed),
            (400, valid_for("31"), Failed),
            (0, valid_for("365"), Passed),
            (7000, Tls::for_tests("EMR"), Passed),
            (7290, Tls::for_tests("EMR"), Failed),
            (0, valid_for("4294967295"), Passed),
            (0, valid_for("4294967296"), Unknown),
            (0, valid_for("-1"), Unknown),
            (0, valid_for("soon"), Unknown),
        ] {
            let world = world(age, tls.clone());
            assert_eq!(status(&world, "certificate-validity"), wanted, "{age} {tls:?}");
        }
        let saw =
            |age: i64| world(age, valid_for("31")).of_check("certificate-validity").remove(0).1;
        assert!(saw(32).contains("they expired at "), "{}", saw(32));
        assert!(saw(2).contains("they expire at "), "{}", saw(2));
        for check in ["certificate-object", "certificate-key", "certificate-names"] {
            assert_eq!(status(&world(0, Tls::for_tests("EMR")), check), NotApplicable, "{check}");
        }
    }

    #[test]
    fn the_days_that_are_left_are_told_and_the_end_is_a_fact() {
        let managed = world(1, valid_for("365"));
        let saw = managed.of_check("certificate-validity").remove(0).1;
        assert!(saw.ends_with("Z, in 364 days, by ValidityInDays"), "{saw}");
        let asked = managed.facts.asked_at;
        assert_eq!(first_expiry(&managed.facts), Some(asked + Duration::days(364)));

        let mut world = World::new(false, false);
        let ends = world.facts.asked_at + Duration::days(40) + Duration::HOUR;
        let Some(Lookup::Found(Ok(material))) = &mut world.facts.certificates else {
            unreachable!()
        };
        let mut root = material.chain[0].clone();
        root.not_after = ends;
        material.chain.push(root);
        assert_eq!(first_expiry(&world.facts), Some(ends));
        let saw = world.of_check("certificate-validity").remove(0).1;
        assert!(saw.ends_with("Z, in 40 days"), "{saw}");
        world.facts.asked_at += Duration::days(41);
        let saw = world.of_check("certificate-validity").remove(0).1;
        assert!(saw.contains("` expired at ") && saw.ends_with("less than a day ago"), "{saw}");

        // What is not used, or is not known, has no end.
        let unknown = self::world(0, valid_for("soon"));
        assert_eq!(first_expiry(&unknown.facts), None);
        let Some(Lookup::Found(found)) = &mut world.facts.security_configuration else {
            unreachable!()
        };
        found.content.in_transit_enabled = false;
        assert_eq!(first_expiry(&world.facts), None);
        world.facts.certificates = Some(Lookup::Absent);
        assert_eq!(first_expiry(&world.facts), None);
    }

    #[test]
    fn emr_certificates_have_a_key_that_is_judged_and_that_no_role_of_the_cluster_uses() {
        let tls = Tls { secret_key: Some(KeyReference::new(KEY)), ..Tls::for_tests("EMR") };
        let mut world = world(0, tls);
        let other = world.facts.keys.values().next().unwrap().clone();
        let mut disabled = other.description.found().unwrap().clone();
        disabled.arn = crate::base::names::KeyArn::new(KEY);
        disabled.state = "Disabled".to_owned();
        // Its policy cannot be read, which does not matter for this check.
        let facts = KeyFacts {
            description: Lookup::Found(disabled),
            policy: Lookup::not_asked(&aws_calls::GET_KEY_POLICY, "a test"),
            identity: std::collections::BTreeMap::new(),
            ..other
        };
        world.facts.keys.insert(KeyReference::new(KEY), facts);
        let of_key = |check: &str| {
            let findings = world.findings(&crate::checks::properties::strict(), &world.facts);
            let of_key = findings
                .into_iter()
                .find(|finding| finding.check.name == check && finding.subject.contains(KEY));
            let finding = of_key.unwrap();
            (finding.status, finding.saw.to_string())
        };
        assert_eq!(of_key("kms-key-enabled").0, Failed);
        let exists = of_key("kms-key-exists");
        assert!(exists.1.ends_with("for the secret of EMR's certificates"), "{exists:?}");
        assert_eq!(of_key("jobflow-role-may-use-key").0, NotApplicable);
    }

    #[test]
    fn emr_certificates_leave_open_what_nobody_looked_at() {
        let tls = Tls {
            secret: Some("arn:aws:secretsmanager:eu-west-1:123456789012:secret:emr-ca".to_owned()),
            secret_tags: ["team".to_owned()].into(),
            ..Tls::for_tests("EMR")
        };
        let risk = |world: &World| {
            world.residual_risks().into_iter().find(|risk| risk.name == "emr-managed-certificates")
        };
        let what = risk(&world(0, tls)).unwrap().what;
        assert!(what.contains(":secret:emr-ca") && what.contains("tags (team)"), "{what}");
        assert_eq!(risk(&World::new(false, false)), None);
    }
}
