//! Detects secrets in a runner config by key, place or format, and masks them in output for people
//! and in errors.
//!
//! A mask too many hides a name from a reader. A mask too few shows a key to whoever reads a log.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    ffi::OsString,
    ops::Range,
    sync::Arc,
};

use aho_corasick::AhoCorasick;

use crate::runners::emr_etl_runner::yaml_value::{Value, YamlKey, YamlNode};

/// The replacement for a secret.
pub(super) const MASK: &str = "(masked)";

/// Parts of a key's name, in lower case and without separators, that mark its value as a secret.
const PARTS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "privatekey",
    "apikey",
    "accesskey",
    "signingkey",
    "masterkey",
    "encryptionkey",
    "authorization",
    "bearer",
    "cookie",
    "webhook",
    "connectionstring",
];
/// Whole words of a key's name that mark its value as a secret.
const WORDS: [&str; 8] = ["pwd", "pass", "auth", "pin", "dsn", "sas", "jwt", "creds"];
/// The recognisable prefixes of issued secrets. Sources: AWS IAM user guide, IAM identifiers;
/// GitHub, GitLab, Slack and Stripe on the formats of their tokens; RFC 7519.
const STARTS: [&str; 14] = [
    "AKIA",
    "ASIA",
    "ABIA",
    "ACCA",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "rk_live_",
    "eyJ",
];
/// A text that contains one of these is a secret.
const HOLDS: [&str; 3] = ["PRIVATE KEY-----", "hooks.slack.com/services/", "X-Amz-Signature"];
/// The minimum length of random letters and digits to count as a secret.
const SHORTEST_RANDOM: usize = 20;
/// A known secret shorter than this may occur within an ordinary word.
const SHORTEST_PART: usize = 4;
/// The same for a map's key, which values are found by.
const SHORTEST_KEY: usize = 8;

/// Whether the value of `key`, or of a variable with that name, is a secret by its name.
pub(super) fn names_secret(key: &str) -> bool {
    let joined: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let mut words = key.split(|character: char| !character.is_ascii_alphanumeric());
    PARTS.iter().any(|part| joined.contains(part))
        || words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Whether `text` looks like a secret, at any place.
pub(super) fn looks_secret(text: &str) -> bool {
    let is_assigned = |(name, value): (&str, &str)| {
        let name = name.rsplit(|character: char| !is_name(character)).next().unwrap_or_default();
        !name.is_empty() && !value.is_empty() && names_secret(name)
    };
    HOLDS.iter().any(|part| text.contains(part))
        || has_user_info(text)
        // `…?password=…`, `…;pwd=…`, `--token=…`
        || text.split(['?', '&', ';', ',', ' ']).any(|part| part.split_once('=').is_some_and(is_assigned))
        || text
            .split(|character: char| !is_name(character))
            .any(|word| word.len() >= 8 && STARTS.iter().any(|start| word.starts_with(start)))
        || text
            .split(|character: char| !(character.is_ascii_alphanumeric() || "/+=".contains(character)))
            .any(is_random)
}

/// Whether it is a placeholder where no secret was filled in yet.
fn is_placeholder(text: &str) -> bool {
    text.is_empty() || text.contains("ADD HERE") || matches!(text, "iam" | "env" | "default")
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// `https://user:password@host`
fn has_user_info(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Whether capitals, small letters and digits are mixed as in no word, as in a secret access key.
fn is_random(word: &str) -> bool {
    let kinds: Vec<u8> = word
        .bytes()
        .filter_map(|byte| match byte {
            b'a'..=b'z' => Some(1),
            b'A'..=b'Z' => Some(2),
            b'0'..=b'9' => Some(3),
            // Separators in a path are not significant.
            _ => None,
        })
        .collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    kinds.len() >= SHORTEST_RANDOM
        && (1..=3).all(|kind| kinds.contains(&kind))
        && changes * 3 >= kinds.len()
}

/// The secrets of one config, as far as key, place or variable show them.
#[derive(Clone, Default)]
pub(super) struct KnownSecrets {
    texts: BTreeSet<String>,
    /// Finds all of them that are long enough in one pass: a config can have thousands of secrets
    /// and thousands of texts. Built on first use; none where it would be too large.
    finder: OnceCell<Option<AhoCorasick>>,
}

impl std::fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.texts.len())
    }
}

impl KnownSecrets {
    /// The values in `root` under keys with a secret's name, at any place.
    pub(super) fn of(root: &YamlNode) -> Self {
        let mut found = Self::default();
        found.collect(root, false);
        found
    }

    /// The secrets of a text that is not YAML, as far as its lines show them.
    pub(super) fn of_text(text: &str) -> Self {
        let entry = |part: &str| {
            let (key, value) = part.split_once(':')?;
            let value = value.trim().trim_matches(['"', '\'']);
            (names_secret(key) && !is_placeholder(value)).then(|| value.to_owned())
        };
        Self::default().with(text.split(['\n', ',', '{', '}']).filter_map(entry))
    }

    /// The same, with `others` added.
    pub(super) fn with(mut self, others: impl IntoIterator<Item = String>) -> Self {
        self.texts.extend(others.into_iter().filter(|secret| !secret.trim().is_empty()));
        self.finder = OnceCell::new();
        self
    }

    fn collect(&mut self, node: &YamlNode, is_secret: bool) {
        match &node.value {
            Value::Text(text) | Value::Other { text, .. } if is_secret => {
                let secret = text.trim();
                self.texts.extend((!is_placeholder(secret)).then(|| secret.to_owned()));
            }
            Value::Integer(number) if is_secret => drop(self.texts.insert(number.to_string())),
            Value::Float(number) if is_secret => drop(self.texts.insert(number.to_string())),
            Value::List(items) => items.iter().for_each(|item| self.collect(item, is_secret)),
            Value::Map(entries) => entries
                .iter()
                .for_each(|(key, child)| self.collect(child, is_secret || names_secret(&key.name))),
            _ => {}
        }
    }

    fn holds(&self, text: &str, shortest: usize) -> bool {
        self.texts.contains(text)
            || self.places(text).any(|place| place.len() >= shortest)
            || looks_secret(text)
    }

    /// The ranges in a text of those with at least [`SHORTEST_PART`] bytes; they can overlap. In
    /// the order of their ends.
    fn places<'a>(&'a self, text: &'a str) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
        let long = || self.texts.iter().filter(|secret| secret.len() >= SHORTEST_PART);
        match self.finder.get_or_init(|| AhoCorasick::new(long()).ok()) {
            Some(finder) => Box::new(finder.find_overlapping_iter(text).map(|found| found.range())),
            // Mask the whole text rather than too little of it.
            None => Box::new(
                long().any(|secret| text.contains(secret)).then_some(0..text.len()).into_iter(),
            ),
        }
    }

    /// Masks in `root` each value that is a secret by its key, place or format, or that contains
    /// one of these; and each such key of a map.
    pub(super) fn mask(&self, root: &mut YamlNode) {
        self.mask_node(root, false);
    }

    fn mask_node(&self, node: &mut YamlNode, is_secret: bool) {
        match &mut node.value {
            Value::Text(text)
                if !text.is_empty() && (is_secret || self.holds(text, SHORTEST_PART)) =>
            {
                *text = MASK.into();
            }
            Value::Integer(_) | Value::Float(_) if is_secret => {
                node.value = Value::Text(MASK.into());
            }
            Value::List(items) => {
                Arc::make_mut(items).iter_mut().for_each(|item| self.mask_node(item, is_secret));
            }
            Value::Map(entries) => {
                let mut masked = 0;
                for (key, child) in Arc::make_mut(entries) {
                    self.mask_node(child, is_secret || names_secret(&key.name));
                    if key.name.len() >= SHORTEST_KEY && self.holds(&key.name, SHORTEST_KEY) {
                        masked += 1;
                        // Two equal masked keys would become one key.
                        *key = YamlKey::new(&match masked {
                            1 => MASK.to_owned(),
                            more => format!("{MASK} {more}"),
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// `text`, for people, with a mask for each secret in it.
    pub(super) fn masked(&self, text: &str) -> String {
        // Overlapping or adjacent ranges become one: the rest of one may be a part of another.
        let mut places: Vec<Range<usize>> = self.places(text).collect();
        places.sort_by_key(|place| place.start);
        let (mut shown, mut end) = (String::new(), 0);
        for place in places {
            if place.start > end || (place.start == 0 && end == 0) {
                shown.push_str(&text[end..place.start]);
                shown.push_str(MASK);
            }
            end = end.max(place.end);
        }
        shown.push_str(&text[end..]);
        let text = shown;
        // Quoted parts of messages are between backquotes.
        let quoted = |(index, part): (usize, &str)| {
            if index % 2 == 1 && self.holds(part, SHORTEST_PART) {
                MASK.to_owned()
            } else {
                part.to_owned()
            }
        };
        let text = text.split('`').enumerate().map(quoted).collect::<Vec<_>>().join("`");
        let word = |word: &str| if looks_secret(word) { MASK.to_owned() } else { word.to_owned() };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}

impl IntoIterator for KnownSecrets {
    type Item = String;
    type IntoIter = std::collections::btree_set::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.texts.into_iter()
    }
}

/// The values of the variables that a config used and whose names mark them as secrets.
#[derive(Default)]
pub(super) struct SecretVariables(RefCell<Vec<String>>);

impl SecretVariables {
    /// Stores `value` of the variable `name`, if it is a secret.
    pub(super) fn note(&self, name: &str, value: Option<&OsString>) {
        if let Some(value) = value.filter(|_| names_secret(name)) {
            self.0.borrow_mut().push(value.to_string_lossy().into_owned());
        }
    }

    pub(super) fn into_values(self) -> Vec<String> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_a_secret_by_its_parts_or_its_words() {
        for key in [
            "secret_access_key",
            "access_key_id",
            "aws_session_token",
            "javax.jdo.option.ConnectionPassword",
            "fs.s3a.secret.key",
            "DB_PWD",
            "api-key",
            "privateKey",
            "basic.auth",
        ] {
            assert!(names_secret(key), "{key}");
        }
        for key in ["ec2_key_name", "app_id", "author", "compass", "master_instance_type", "tags"] {
            assert!(!names_secret(key), "{key}");
        }
    }

    #[test]
    fn a_text_looks_like_a_secret_by_its_form() {
        for text in [
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AKIAIOSFODNN7EXAMPLE",
            "prefix AKIAFAKE00",
            "jdbc:postgresql://host/db?user=u&password=hunter2",
            "https://user:hunter2@host/path",
            "-----BEGIN RSA PRIVATE KEY-----",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "x --token=hunter2",
        ] {
            assert!(looks_secret(text), "{text}");
        }
        for text in [
            "s3://acme-archive/Raw/2020/run=2020-01-01-00-00-00/",
            "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
            "EMR_EC2_DefaultRole",
            "SnowplowEnrichR108Production",
            "subnet-0a1b2c3d4e5f60718",
            "https://host/path?page=1",
            "user@example.com",
        ] {
            assert!(!looks_secret(text), "{text}");
        }
    }

    #[test]
    fn a_message_keeps_everything_but_the_secret() {
        let known = KnownSecrets::default().with(["hunter2".to_owned(), "ab".to_owned()]);
        assert_eq!(
            known.masked("holds `hunter2`, and `AKIAIOSFODNN7EXAMPLE x`; about ab"),
            "holds `(masked)`, and `(masked)`; about ab"
        );
    }

    #[test]
    fn secrets_that_overlap_or_hold_each_other_leave_nothing_of_any() {
        let of = |secrets: &[&str]| {
            KnownSecrets::default().with(secrets.iter().map(|secret| (*secret).to_owned()))
        };
        for (secrets, text, masked) in [
            (&["hunter2", "hunt"][..], "a hunter2 b", "a (masked) b"),
            (&["abcdef", "defghi"], "x abcdefghi y", "x (masked) y"),
            (&["abcd", "efgh"], "abcdefgh z", "(masked) z"),
            (&["geheim"], "geheim", "(masked)"),
            (&["geheim"], "nothing", "nothing"),
            (&["pässwörd"], "das pässwörd hier", "das (masked) hier"),
        ] {
            assert_eq!(of(secrets).masked(text), masked, "{secrets:?} in {text}");
        }
    }

    #[test]
    fn thousands_of_secrets_are_looked_for_in_one_pass() {
        let secrets = (0..20_000).map(|number| format!("hidden-{number:05}"));
        let known = KnownSecrets::default().with(secrets);
        for number in 0..20_000 {
            assert!(known.holds(&format!("x hidden-{number:05} y"), SHORTEST_KEY));
        }
        assert!(!known.holds("x hidden-2000 y", SHORTEST_KEY));
    }
}
