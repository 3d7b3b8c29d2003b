//! Generated command lines: the runner's own options in every spelling OptionParser knows, and some
//! that it does not.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::{config_cases::Generated, judge::Question, pools::pick};

/// Letter, long name, whether it takes a value.
const OPTIONS: &[(Option<char>, &str, bool)] = &[
    (Some('c'), "config", true),
    (Some('n'), "enrichments", true),
    (Some('r'), "resolver", true),
    (Some('t'), "targets", true),
    (Some('d'), "debug", false),
    (Some('f'), "resume-from", true),
    (Some('x'), "skip", true),
    (Some('i'), "include", true),
    (Some('l'), "lock", true),
    (None, "ignore-lock-on-start", false),
    (None, "consul", true),
    (None, "use-persistent-jobflow", false),
    (None, "persistent-jobflow-duration", true),
];

const VALUES: &str = "config.yml¦-¦a b¦¦-x¦--skip¦--¦resolver.json¦shred¦enrich¦staging,enrich¦staging,,enrich¦,¦nope¦vacuum¦1d12h¦x=y¦=¦=x¦é¦run\
        ¦a\nb¦./c¦/etc/c¦-c¦--config=other.yml¦rdb_load,¦SHRED¦\u{1f600}¦c.yml ¦'c.yml'¦staging_stream_enrich¦--no-skip¦-d\
        ¦archive_enriched¦analyze";

/// Words that are not options of the runner, and what they are.
const ODD: &[(&str, &str)] = &[
    ("stray word", "stray¦run¦config.yml¦é¦¦a=b¦c"),
    ("end of options", "--"),
    ("lone hyphen", "-"),
    (
        "help or version",
        "-h¦--help¦--hel¦--h¦--HELP¦-v¦--version¦--vers¦-V¦--v¦-hx¦-vx¦--help=x¦--version=1¦-h=¦--ver¦--no-help¦--no-version",
    ),
    (
        "completion",
        "--*-completion-bash=x¦--*-completion-zsh¦--*-completion-bash¦--*-completion-bash=--¦--*-completion-zsh=x¦--*¦--*-c¦-*",
    ),
    (
        "unknown option",
        "--nonsense¦-z¦--con-fig¦-1¦--config-¦--=x¦---config¦-=¦--é¦-é¦--configs¦--[no-]debug¦-C¦-D¦- c¦--con fig¦--debug ¦-\u{0}¦--\n\
        ¦-c\n¦--config\n=x¦--no¦--no-¦--not¦-n-¦-?",
    ),
    (
        "one hyphen, long name",
        "-config¦-use-persistent-jobflow¦-use¦-debug¦-resolver¦-skip¦-u¦-p¦-s¦-con¦-per=1d¦-ignore¦-u=¦-use-p¦-ux¦-k¦-e",
    ),
];

/// One command line from `rng`.
pub(crate) fn generate(rng: &mut Rng) -> Generated {
    let mut draft = Draft { rng, words: Vec::new(), constructs: BTreeSet::new() };
    if draft.chance(12) {
        draft.used("before the command");
        draft.anything();
    }
    draft.command();
    if draft.chance(3) {
        // Most of the runner's users write just this; the rest is inserted into it, before or after
        // it.
        draft.words.extend(["-c", "config.yml", "-r", "resolver.json"].map(str::to_owned));
    } else {
        draft.spell("config", Some("config.yml"));
        draft.spell("resolver", Some("resolver.json"));
    }
    for _ in 0..draft.rng.usize(0..5) {
        draft.anything();
    }
    if draft.chance(4) && draft.words.len() > 2 {
        draft.used("words moved");
        let word = draft.words.remove(draft.rng.usize(1..draft.words.len()));
        let place = draft.rng.usize(0..=draft.words.len());
        draft.words.insert(place, word);
    }
    if draft.chance(10) {
        draft.used("a word missing");
        let gone = draft.rng.usize(0..draft.words.len());
        draft.words.remove(gone);
    }
    if draft.constructs.is_empty() {
        draft.used("plain");
    }
    let single = draft.constructs.len() == 1;
    Generated {
        question: Question::Command { argv: draft.words },
        constructs: draft.constructs,
        single,
    }
}

struct Draft<'r> {
    rng: &'r mut Rng,
    words: Vec<String>,
    constructs: BTreeSet<&'static str>,
}

impl Draft<'_> {
    fn chance(&mut self, one_in: u8) -> bool {
        self.rng.u8(0..one_in) == 0
    }

    fn used(&mut self, construct: &'static str) {
        self.constructs.insert(construct);
    }

    fn one_of<'a>(&mut self, pool: &'a str) -> &'a str {
        pick(self.rng, pool)
    }

    fn command(&mut self) {
        if self.rng.u8(0..10) > 0 {
            self.words.push("run".to_owned());
            return;
        }
        self.used("another command");
        let command = self.one_of(
            "Run¦ru¦¦lint¦lint all¦lint resolver¦lint enrichments¦generate emr-config¦generate emr-playbook¦generate all¦generate\
        ¦frobnicate¦run run¦run all¦generate run¦lint run¦\"run\"¦run ¦generate  all",
        );
        if command.ends_with(' ') {
            self.words.push(command.to_owned());
        } else {
            self.words.extend(command.split(' ').map(str::to_owned));
        }
    }

    fn anything(&mut self) {
        if self.rng.u8(0..4) == 0 {
            let (construct, words) = ODD[self.rng.usize(0..ODD.len())];
            self.used(construct);
            let word = self.one_of(words);
            self.words.push(word.to_owned());
            return;
        }
        let (_, name, takes_value) = OPTIONS[self.rng.usize(0..OPTIONS.len())];
        let value = takes_value.then(|| self.one_of(VALUES));
        self.spell(name, value);
    }

    /// The option `name` in one of its spellings.
    fn spell(&mut self, name: &str, value: Option<&str>) {
        let Some((letter, name, _)) = OPTIONS.iter().find(|(_, known, _)| *known == name).copied()
        else {
            return;
        };
        let form = self.rng.u8(0..24);
        if let Some(letter) = letter.filter(|_| form < 12) {
            return self.short(letter, value, form);
        }
        let mut long = name.to_owned();
        if self.chance(3) {
            self.used("abbreviation");
            long.truncate(self.rng.usize(1..=name.len()));
        }
        if self.chance(6) {
            self.used("other case");
            long = long
                .chars()
                .map(|letter| if self.rng.bool() { letter.to_ascii_uppercase() } else { letter })
                .collect();
        }
        if self.chance(16) {
            self.used("--no- form");
            long = format!("{}{long}", self.one_of("no-¦no¦NO-¦no-no-¦n¦No-"));
        }
        if self.chance(24) {
            self.used("underscore for hyphen");
            long = long.replace('-', "_");
        }
        match (value, form) {
            (Some(value), 0..=17) => self.words.extend([format!("--{long}"), value.to_owned()]),
            (Some(value), 18..=22) => {
                self.used("value behind =");
                self.words.push(format!("--{long}={value}"));
            }
            (Some(_), _) => {
                self.used("value missing");
                self.words.push(format!("--{long}"));
            }
            (None, 23) => {
                self.used("value not wanted");
                let value = self.one_of("true¦¦false¦x");
                self.words.push(format!("--{long}={value}"));
            }
            (None, _) => self.words.push(format!("--{long}")),
        }
    }

    fn short(&mut self, letter: char, value: Option<&str>, form: u8) {
        let bundle = if self.chance(5) {
            self.used("bundle");
            self.one_of("d¦dd¦dv¦dz¦d-¦h¦cd¦dé¦du").to_owned()
        } else {
            String::new()
        };
        match (value, form) {
            (Some(value), 0..=6) => {
                self.words.extend([format!("-{bundle}{letter}"), value.to_owned()]);
            }
            (Some(value), 7..=9) => {
                self.used("glued value");
                self.words.push(format!("-{bundle}{letter}{value}"));
            }
            (Some(value), 10) => {
                self.used("letter with =");
                self.words.push(format!("-{bundle}{letter}={value}"));
            }
            (Some(_), _) => {
                self.used("value missing");
                self.words.push(format!("-{bundle}{letter}"));
            }
            (None, 10) => {
                self.used("letter with =");
                let value = self.one_of("¦x¦-¦c");
                self.words.push(format!("-{bundle}{letter}={value}"));
            }
            (None, _) => self.words.push(format!("-{bundle}{letter}")),
        }
    }
}
