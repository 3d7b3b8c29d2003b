//! Generated configs: the recorded config of a real runner, changed in a few places the way people,
//! templates and attackers do.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use fastrand::Rng;

use crate::{
    judge::Question,
    pools::{
        BACKS, BLOCKS, COMMENTS, ENCODINGS, ENV_VALUES, ERB, ESCAPES, FLOW_LISTS, FLOW_MAPS,
        FRONTS, JUDGED, LETTERS, LOCALES, MERGES, NESTS, NOISE, PROPERTIES, SCALARS, SPELLINGS,
        TAGS, TOKENS, pick,
    },
};

/// A question, and the constructs in it.
pub(crate) struct Generated {
    pub(crate) question: Question,
    pub(crate) constructs: BTreeSet<&'static str>,
    /// Whether only one place was changed, so that the result can be attributed to its constructs.
    pub(crate) single: bool,
}

/// A change of the whole text.
type Rewrite = fn(&mut Rng, String) -> String;
/// One of the ways to change a draft.
type Change<Draft> = fn(&mut Draft);

/// The config while it is generated: lines, and the changes of the text at the end.
struct Draft<'r> {
    rng: &'r mut Rng,
    lines: Vec<String>,
    constructs: BTreeSet<&'static str>,
    /// Applied to the whole text, in order.
    last: Vec<Rewrite>,
}

/// One config from `rng`, based on `base`.
pub(crate) fn generate(rng: &mut Rng, base: &str) -> Generated {
    let mut draft = Draft {
        rng,
        lines: base.lines().map(str::to_owned).collect(),
        constructs: BTreeSet::new(),
        last: Vec::new(),
    };
    // A whole config keeps the cases realistic; a part of one keeps them fast and makes changes
    // interact.
    if draft.rng.u8(0..10) < 7 {
        draft.trim();
    }
    let changes = [1, 1, 1, 1, 2, 2, 3, 4][draft.rng.usize(0..8)];
    for _ in 0..changes {
        draft.change();
    }
    let Draft { rng, lines, constructs, last, .. } = draft;
    let mut text = lines.join("\n");
    text.push('\n');
    let text = last.into_iter().fold(text, |text, change| change(rng, text));
    Generated {
        question: Question::Config { config: text, env: environment(rng) },
        constructs,
        single: changes == 1,
    }
}

fn environment(rng: &mut Rng) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [
        ("ENC", "true"),
        ("SC", "acme-sc"),
        ("AWS_SNOWPLOW_ACCESS_KEY", "AKIAFAKE"),
        ("AWS_SNOWPLOW_SECRET_KEY", "fake"),
        ("EMPTY", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if rng.u8(0..4) > 0 {
        env.insert("X".to_owned(), pick(rng, ENV_VALUES).to_owned());
    }
    // Cron sets no locale at all.
    if rng.u8(0..3) > 0 {
        env.insert("LC_ALL".to_owned(), pick(rng, LOCALES).to_owned());
    }
    if rng.bool() {
        env.insert("LETTERS".to_owned(), "é".to_owned());
    }
    if rng.u8(0..10) == 0 {
        env.insert("SC".to_owned(), pick(rng, ENV_VALUES).to_owned());
    }
    env
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Indentation, key and rest of a line of the recorded config.
fn entry(line: &str) -> Option<(usize, &str, &str)> {
    let (key, value) = line.split_once(':')?;
    let plain = key.trim_start_matches(' ');
    let simple = !plain.is_empty()
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    simple.then_some((key.len() - plain.len(), plain, value.strip_prefix(' ').unwrap_or(value)))
}

impl Draft<'_> {
    fn chance(&mut self, one_in: u8) -> bool {
        self.rng.u8(0..one_in) == 0
    }

    fn used(&mut self, construct: &'static str) {
        self.constructs.insert(construct);
    }

    /// The line at `at`, and the lines below it that belong to it.
    fn subtree(&self, at: usize) -> Range<usize> {
        let own = indent(&self.lines[at]);
        let end = self.lines[at + 1..]
            .iter()
            .position(|line| indent(line) <= own)
            .map_or(self.lines.len(), |more| at + 1 + more);
        at..end
    }

    /// A line that is an entry of a map, preferably one that is checked; `matching` narrows the
    /// choice.
    fn pick_entry(&mut self, matching: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.lines.len())
            .filter(|at| entry(&self.lines[*at]).is_some() && matching(self, *at))
            .collect();
        let judged: Vec<usize> = all
            .iter()
            .copied()
            .filter(|at| {
                entry(&self.lines[*at])
                    .is_some_and(|(_, key, _)| JUDGED.split('¦').any(|judged| judged == key))
            })
            .collect();
        let from = if judged.is_empty() || self.chance(3) { all } else { judged };
        (!from.is_empty()).then(|| from[self.rng.usize(0..from.len())])
    }

    fn is_leaf(&self, at: usize) -> bool {
        self.subtree(at).len() == 1
    }

    fn is_map(&self, at: usize) -> bool {
        self.lines
            .get(at + 1)
            .is_some_and(|next| indent(next) > indent(&self.lines[at]) && entry(next).is_some())
    }

    fn trim(&mut self) {
        for _ in 0..self.rng.usize(2..14) {
            let at = self.rng.usize(0..self.lines.len());
            let gone = self.subtree(at);
            if gone.len() < self.lines.len() / 2
                || self.lines.len() < 12 && gone.len() < self.lines.len()
            {
                self.lines.drain(gone);
            }
        }
    }

    fn change(&mut self) {
        let changes: [(u8, Change<Self>); 20] = [
            (22, Self::other_value),
            (8, Self::erb),
            (8, Self::duplicate),
            (5, Self::other_key),
            (10, Self::merge),
            (7, Self::alias),
            (8, Self::flow),
            (5, Self::comment),
            (5, Self::document),
            (4, Self::text),
            (4, Self::layout),
            (5, Self::noise),
            (3, Self::nest),
            (6, Self::tag),
            (6, Self::soup),
            (6, Self::properties),
            (4, Self::encoding),
            (4, Self::letters),
            (4, Self::unknown_key),
            (5, Self::mutation),
        ];
        let total = changes.iter().map(|(weight, _)| *weight).sum();
        let mut chosen = self.rng.u8(0..total);
        for (weight, change) in changes {
            if chosen < weight {
                return change(self);
            }
            chosen -= weight;
        }
    }

    fn scalar(&mut self) -> String {
        if self.chance(6) {
            self.used("plain from the letters of numbers");
            let letters: Vec<char> = "0123456789017.,_:+-eExbo-:_.TZ ~=infa".chars().collect();
            let length = self.rng.usize(1..9);
            return (0..length)
                .map(|_| letters[self.rng.usize(0..letters.len())])
                .collect::<String>()
                .trim()
                .to_owned();
        }
        let (construct, pool) = SCALARS[self.rng.usize(0..SCALARS.len())];
        self.used(construct);
        let scalar = pick(self.rng, pool).to_owned();
        if self.chance(12) && scalar.is_ascii() && !scalar.is_empty() {
            // A variation of the pool: one character more, less or twice.
            self.used("plain with one letter changed");
            let at = self.rng.usize(0..scalar.len());
            let mut changed = scalar.clone();
            match self.rng.u8(0..3) {
                0 => drop(changed.remove(at)),
                1 => changed.insert(at, scalar.as_bytes()[self.rng.usize(0..scalar.len())].into()),
                _ => changed.insert(at, ['0', '_', '.', ':', '-', ' '][self.rng.usize(0..6)]),
            }
            return changed;
        }
        scalar
    }

    /// A value for after `key:` at `depth` spaces, in any shape that YAML allows; may be several
    /// lines.
    fn value(&mut self, depth: usize) -> String {
        let inner = " ".repeat(depth + [2, 2, 2, 1, 4][self.rng.usize(0..5)]);
        let scalar = self.scalar();
        match self.rng.u8(0..20) {
            0..=8 => scalar,
            9..=12 => self.quoted(&inner, &scalar),
            13 => {
                self.used("plain over lines");
                let gap = pick(self.rng, "\n¦\n\n¦ \n¦\n\n\n¦ # c\n¦\t\n¦\n\t");
                let first = pick(self.rng, "one¦true¦1¦null¦¦:a¦12:30¦2020-01-01");
                let second = pick(self.rng, "two¦true¦2¦# two¦- two¦'two'¦&a two¦two: 2");
                format!("{first}{gap}{inner}{second}")
            }
            14 | 15 => self.block(&inner, &scalar),
            16 | 17 => self.in_flow(&inner, &scalar),
            18 => {
                self.used("comment behind");
                let comment = pick(
                    self.rng,
                    " # c¦ #¦# c¦  # it's¦ # \"¦\t# c¦ # a: b¦ # <%= ENV['X'] %>¦ # é¦ #: &a",
                );
                format!("{scalar}{comment}")
            }
            _ => {
                self.used("blanks around");
                let before = pick(self.rng, "¦ ¦   ¦\t¦ \t¦\n      ¦\n");
                let after = pick(self.rng, "¦ ¦  ¦\t¦ \t ");
                format!("{before}{scalar}{after}")
            }
        }
    }

    fn quoted(&mut self, inner: &str, scalar: &str) -> String {
        match self.rng.u8(0..4) {
            0 => {
                self.used("single-quoted");
                format!("'{}'", scalar.replace('\'', "''"))
            }
            1 => {
                self.used("double-quoted");
                format!("\"{}\"", scalar.replace('\\', "\\\\").replace('"', "\\\""))
            }
            2 => {
                self.used("double-quoted escapes");
                let escape = pick(self.rng, ESCAPES);
                format!("\"a{escape}b\"")
            }
            _ => {
                self.used("quoted over lines");
                let quote = pick(self.rng, "'¦\"");
                let gap = pick(self.rng, "\n¦\n\n¦ \n¦\n\n\n¦\t\n¦\\\n¦\n#x\n");
                format!("{quote}one{gap}{inner}two{quote}")
            }
        }
    }

    fn in_flow(&mut self, inner: &str, scalar: &str) -> String {
        let (construct, shapes) =
            if self.rng.bool() { ("flow list", FLOW_LISTS) } else { ("flow map", FLOW_MAPS) };
        self.used(construct);
        let other = self.scalar();
        pick(self.rng, shapes).replace('›', inner).replace('§', scalar).replace('¤', &other)
    }

    fn block(&mut self, inner: &str, scalar: &str) -> String {
        self.used("block scalar");
        let style = pick(self.rng, "|¦>");
        let header = pick(self.rng, "¦¦-¦+¦2¦1¦-2¦2-¦+4¦ # c¦-+¦0¦9¦x¦ ¦-1");
        let body = pick(self.rng, BLOCKS).replace('›', inner).replace('§', scalar);
        format!("{style}{header}\n{inner}{body}")
    }

    fn other_value(&mut self) {
        let Some(at) = self.pick_entry(Self::is_leaf) else { return };
        let Some((depth, key, _)) = entry(&self.lines[at]) else { return };
        let key = key.to_owned();
        let value = self.value(depth);
        let space = if value.is_empty() { "" } else { " " };
        self.lines[at] = format!("{}{key}:{space}{value}", " ".repeat(depth));
    }

    fn erb(&mut self) {
        let (construct, pool) = ERB[self.rng.usize(0..ERB.len())];
        self.used(construct);
        let tag = pick(self.rng, pool);
        match self.rng.u8(0..10) {
            0 => {
                self.used("ERB in a comment");
                let at = self.rng.usize(0..=self.lines.len());
                self.lines.insert(at, format!("# {tag}"));
            }
            1 => {
                self.used("ERB in a key");
                let Some(at) = self.pick_entry(|_, _| true) else { return };
                let Some((depth, key, value)) = entry(&self.lines[at]) else { return };
                self.lines[at] = format!(
                    "{}{}: {value}",
                    " ".repeat(depth),
                    if construct == "ERB comment tag" {
                        format!("{key}{tag}")
                    } else {
                        tag.to_owned()
                    }
                );
            }
            2 => {
                self.used("ERB on a line of its own");
                let at = self.rng.usize(0..=self.lines.len());
                self.lines.insert(at, tag.to_owned());
            }
            _ => {
                let Some(at) = self.pick_entry(Self::is_leaf) else { return };
                let Some((depth, key, _)) = entry(&self.lines[at]) else { return };
                self.lines[at] = format!("{}{key}: {tag}", " ".repeat(depth));
            }
        }
    }

    /// The same key again in the same map: plain, as a symbol, or quoted; with another value, a
    /// part of a subtree, or the same.
    fn duplicate(&mut self) {
        let Some(at) = self.pick_entry(|_, _| true) else { return };
        let Some((depth, key, _)) = entry(&self.lines[at]) else { return };
        let key = key.to_owned();
        let spelt = self.spelling(&key);
        self.used(if spelt == key { "duplicate key" } else { "twin of a key" });
        let pad = " ".repeat(depth);
        let range = self.subtree(at);
        let mut copy: Vec<String> = self.lines[range.clone()].to_vec();
        if range.len() == 1 || self.chance(3) {
            copy = vec![format!("{pad}{spelt}: {}", self.value(depth))];
        } else {
            copy[0] = copy[0].replacen(&key, &spelt, 1);
            while copy.len() > 2 && self.rng.bool() {
                let gone = self.rng.usize(1..copy.len());
                copy.remove(gone);
            }
        }
        let place = match self.rng.u8(0..3) {
            0 => at,
            1 => range.end,
            // After the siblings, at the end of the map.
            _ => (range.end..self.lines.len())
                .find(|next| indent(&self.lines[*next]) < depth)
                .unwrap_or(self.lines.len()),
        };
        self.lines.splice(place..place, copy);
    }

    fn spelling(&mut self, key: &str) -> String {
        let form = pick(self.rng, SPELLINGS);
        if form.starts_with("\"\\x") {
            let mut letters = key.chars();
            return letters.next().map_or_else(String::new, |first| {
                format!("\"\\x{:02x}{}\"", u32::from(first), letters.as_str())
            });
        }
        form.replace('K', key).replace('I', "")
    }

    fn other_key(&mut self) {
        let Some(at) = self.pick_entry(|_, _| true) else { return };
        let Some((depth, key, value)) = entry(&self.lines[at]) else { return };
        let (key, value) = (key.to_owned(), value.to_owned());
        let pad = " ".repeat(depth);
        self.lines[at] = match self.rng.u8(0..6) {
            0 => {
                self.used("explicit key");
                format!("{pad}? {key}\n{pad}: {value}")
            }
            1 | 2 => {
                self.used("key that is no text");
                let scalar = self.scalar();
                format!("{pad}{scalar}: {value}")
            }
            3 => {
                self.used("odd colon");
                let colon = pick(self.rng, " : ¦:\t¦:¦:  ¦ :¦: - ¦: a: ¦::¦: : ¦:\n");
                format!("{pad}{key}{colon}{value}")
            }
            4 => {
                self.used("collection as key");
                let odd = pick(
                    self.rng,
                    "[a, b]¦{a: b}¦? - a\n? - b\n¦? [a]¦? {a: b}¦[]¦? |\n  a\n¦*k¦? ¦\"a\nb\"¦- a",
                );
                format!("{pad}{odd}: {value}")
            }
            _ => {
                self.used("key spelt otherwise");
                let spelt = self.spelling(&key);
                format!("{pad}{spelt}: {value}")
            }
        };
    }

    fn merge(&mut self) {
        self.used("merge");
        let Some(at) = self.pick_entry(Self::is_map) else { return };
        let depth = indent(&self.lines[at + 1]);
        let pad = " ".repeat(depth);
        let own = entry(&self.lines[at + 1]).map_or("region", |(_, key, _)| key).to_owned();
        let one = format!("{own}: {}", self.scalar());
        let judged = pick(self.rng, JUDGED).to_owned();
        let two = format!("{judged}: {}", self.scalar());
        let sources = [
            format!(
                "one: &one\n  {one}\ntwo: &two\n  {two}\nlist: &list [a, b]\nword: &word \
                 text\nnothing: &nothing"
            ),
            format!(
                "one: &one {{{one}}}\ntwo: &two {{{one}, {two}}}\nlist: &list\n- *one\n- \
                 *two\nword: &word"
            ),
            format!(
                "one: &one\n  <<: {{{two}}}\n  {one}\ntwo: &two\n  {two}\n  <<: *one\nlist: &list \
                 []\nword: &word 1"
            ),
            format!(
                "one: &one\n  :{one}\ntwo: &two\n  {one}\nlist: &list [*one]\nword: &word [*two]"
            ),
        ];
        let source = sources[self.rng.usize(0..sources.len())].clone();
        let form = pick(self.rng, MERGES).replace('›', &pad);
        let children: Vec<usize> =
            self.subtree(at).skip(1).filter(|child| indent(&self.lines[*child]) == depth).collect();
        let place = match self.rng.u8(0..3) {
            0 => at + 1,
            1 => self.subtree(at).end,
            _ => children[self.rng.usize(0..children.len())],
        };
        if self.chance(3) {
            self.used("merge over own keys");
        } else if self.rng.bool() && self.lines.len() > at + 2 {
            self.lines.retain({
                let gone = self.lines[at + 1].clone();
                let mut first = self.is_leaf(at + 1);
                move |line| {
                    let keep = !first || *line != gone;
                    first &= keep;
                    keep
                }
            });
        }
        let place = place.min(self.lines.len());
        self.lines.insert(place, format!("{pad}{form}"));
        let top = if self.chance(8) { self.lines.len() } else { 0 };
        self.lines.insert(top, source);
    }

    fn alias(&mut self) {
        let (Some(from), Some(to)) = (self.pick_entry(|_, _| true), self.pick_entry(|_, _| true))
        else {
            return;
        };
        let (from, to) = if from > to && !self.chance(6) { (to, from) } else { (from, to) };
        self.used(if self.is_map(from) { "alias of a map" } else { "alias" });
        let name = pick(self.rng, "a¦a¦x-1¦A_b¦1¦é¦a:b¦a.b");
        let mark = |line: &str, anchor: &str| {
            line.split_once(':').map(|(key, value)| format!("{key}: {anchor}{value}"))
        };
        if let Some(marked) = mark(&self.lines[from], &format!("&{name}")) {
            self.lines[from] = marked;
        }
        if from == to {
            return;
        }
        if from < to && self.chance(4) {
            self.used("anchor redefined");
            let between = self.rng.usize(from + 1..=to);
            if let Some(marked) = mark(&self.lines[between], &format!("&{name}")) {
                self.lines[between] = marked;
            }
        }
        if let Some((depth, key, _)) = entry(&self.lines[to]) {
            let key = key.to_owned();
            let alias = match self.rng.u8(0..8) {
                0 => format!("[*{name}, *{name}]"),
                1 => format!("{{a: *{name}}}"),
                2 => format!("*{name} # c"),
                3 => format!("&b *{name}"),
                4 => format!("*{name} x"),
                5 => "*nope".to_owned(),
                _ => format!("*{name}"),
            };
            let line = if self.chance(10) {
                format!("{}*{name} : {key}", " ".repeat(depth))
            } else {
                format!("{}{key}: {alias}", " ".repeat(depth))
            };
            let gone = self.subtree(to);
            self.lines.splice(gone, [line]);
        }
    }

    fn flow(&mut self) {
        let Some(at) = self.pick_entry(|draft, at| !draft.is_leaf(at)) else { return };
        self.used("subtree in flow style");
        let range = self.subtree(at);
        let compact = self.rng.bool();
        let json = self.rng.bool();
        let flow = flowing(&self.lines[range.start + 1..range.end], compact, json);
        let head = self.lines[at].clone();
        self.lines.splice(range, [format!("{head} {flow}")]);
    }

    fn comment(&mut self) {
        self.used("comment line");
        let at = self.rng.usize(0..=self.lines.len());
        let pad = " ".repeat(self.rng.usize(0..9));
        let comment = pick(self.rng, COMMENTS);
        self.lines.insert(at, format!("{pad}{comment}"));
    }

    fn document(&mut self) {
        self.used("document marker");
        let front = pick(self.rng, FRONTS);
        let back = pick(self.rng, BACKS);
        match self.rng.u8(0..3) {
            0 => self.lines.insert(0, front.to_owned()),
            1 => self.lines.push(back.to_owned()),
            _ => {
                self.lines.insert(0, front.to_owned());
                self.lines.push(back.to_owned());
            }
        }
    }

    /// A change of the whole text by an editor or a transfer.
    fn text(&mut self) {
        const WHOLE: &[(&str, Rewrite)] = &[
            ("CRLF", |_, text| text.replace('\n', "\r\n")),
            ("CRLF", |rng, text| {
                text.split_inclusive('\n')
                    .map(
                        |line| {
                            if rng.bool() { line.replace('\n', "\r\n") } else { line.to_owned() }
                        },
                    )
                    .collect()
            }),
            ("CR only", |_, text| text.replace('\n', "\r")),
            ("byte order mark", |_, text| format!("\u{feff}{text}")),
            ("no newline at the end", |_, text| text.trim_end().to_owned()),
            ("blank lines at the end", |_, text| format!("{text}\n \n\t\n")),
            ("tabs for spaces", |_, text| text.replacen("  ", "\t", 1)),
            ("blanks at line ends", |_, text| text.replace('\n', " \n")),
            ("tabs at line ends", |rng, text| {
                text.split_inclusive('\n')
                    .map(|line| {
                        if rng.u8(0..9) == 0 { line.replace('\n', "\t\n") } else { line.to_owned() }
                    })
                    .collect()
            }),
            ("unusual line break", |rng, text| {
                text.replacen(
                    '\n',
                    pick(rng, "\u{85}¦\u{2028}¦\u{2029}¦\u{c}¦\u{b}"),
                    1 + rng.usize(0..4),
                )
            }),
            ("indented as a whole", |_, text| format!(" {}", text.trim_end().replace('\n', "\n "))),
            ("cut off", |rng, text| {
                let mut at = rng.usize(0..=text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                text[..at].to_owned()
            }),
        ];
        let (construct, change) = WHOLE[self.rng.usize(0..WHOLE.len())];
        self.used(construct);
        self.last.push(change);
    }

    fn layout(&mut self) {
        let at = self.rng.usize(0..self.lines.len());
        match self.rng.u8(0..5) {
            0 => {
                self.used("list as deep as its key");
                let Some(at) =
                    (1..self.lines.len()).find(|at| self.lines[*at].trim_start().starts_with("- "))
                else {
                    return;
                };
                let own = indent(&self.lines[at]);
                let parent = indent(&self.lines[at - 1]);
                for line in &mut self.lines[at..] {
                    if indent(line) != own || !line.trim_start().starts_with("- ") {
                        break;
                    }
                    *line = format!("{}{}", " ".repeat(parent), line.trim_start());
                }
            }
            1 => {
                self.used("subtree moved right");
                let range = self.subtree(at);
                let more = " ".repeat(self.rng.usize(1..4));
                for line in self.lines[range].iter_mut().skip(1) {
                    *line = format!("{more}{line}");
                }
            }
            2 => {
                self.used("one line moved");
                let line = self.lines[at].clone();
                self.lines[at] = if self.rng.bool() {
                    format!(" {line}")
                } else {
                    line.strip_prefix(' ').unwrap_or(&line).to_owned()
                };
            }
            3 => {
                self.used("subtree elsewhere");
                let moved: Vec<String> = self.lines.drain(self.subtree(at)).collect();
                let place = self.rng.usize(0..=self.lines.len());
                self.lines.splice(place..place, moved);
            }
            _ => {
                self.used("line gone");
                self.lines.remove(at);
                if self.lines.is_empty() {
                    self.lines.push(String::new());
                }
            }
        }
    }

    fn noise(&mut self) {
        self.used("noise");
        let at = self.rng.usize(0..self.lines.len());
        let mut letters: Vec<char> = self.lines[at].chars().collect();
        let place = self.rng.usize(0..=letters.len());
        if self.chance(4) && place < letters.len() {
            letters.remove(place);
        } else {
            let noise: Vec<char> = pick(self.rng, NOISE).chars().collect();
            letters.splice(place..place, noise);
        }
        self.lines[at] = letters.into_iter().collect();
    }

    /// A line or a value of random tokens: parsers differ where nobody expects it.
    fn soup(&mut self) {
        self.used("soup of tokens");
        let soup: String = (0..self.rng.usize(2..10)).map(|_| pick(self.rng, TOKENS)).collect();
        if self.rng.bool() {
            let at = self.rng.usize(0..=self.lines.len());
            let pad = " ".repeat(2 * self.rng.usize(0..5));
            self.lines.insert(at, format!("{pad}{soup}"));
        } else if let Some(at) = self.pick_entry(Self::is_leaf)
            && let Some((depth, key, _)) = entry(&self.lines[at])
        {
            self.lines[at] = format!("{}{key}: {soup}", " ".repeat(depth));
        }
    }

    /// An anchor, a tag, or both before a value of any shape, and the text between them.
    fn properties(&mut self) {
        self.used("anchor or tag before a value");
        let Some(at) = self.pick_entry(|_, _| true) else { return };
        let leaf = self.is_leaf(at);
        let Some((depth, key, value)) = entry(&self.lines[at]) else { return };
        let (key, mut value) = (key.to_owned(), value.to_owned());
        let inner = " ".repeat(depth + 2);
        if leaf && !self.chance(3) {
            let scalar = self.scalar();
            value = match self.rng.u8(0..3) {
                0 => self.block(&inner, &scalar),
                1 => self.quoted(&inner, &scalar),
                _ => self.in_flow(&inner, &scalar),
            };
        }
        let properties = pick(self.rng, PROPERTIES).replace('›', &inner);
        self.lines[at] = format!("{}{key}: {properties}{value}", " ".repeat(depth));
    }

    /// A comment of ERB at the very start, which may name an encoding.
    fn encoding(&mut self) {
        self.used("encoding in a comment");
        self.lines.insert(0, pick(self.rng, LETTERS).to_owned());
        self.last.push(|rng, text| format!("{}{text}", pick(rng, ENCODINGS)));
    }

    fn letters(&mut self) {
        self.used("letters that are not ASCII");
        let line = pick(self.rng, LETTERS).to_owned();
        let at = if self.rng.bool() { 0 } else { self.lines.len() };
        self.lines.insert(at, line);
    }

    /// An unknown key, at any depth: its value must be kept unchanged.
    fn unknown_key(&mut self) {
        self.used("unknown key");
        let Some(at) = self.pick_entry(|_, _| true) else { return };
        let depth = indent(&self.lines[at]);
        let pad = " ".repeat(depth);
        let line = match self.rng.u8(0..6) {
            0 => format!(
                "{pad}created: {}",
                pick(self.rng, "2020-01-31¦2020-1-1¦1582-10-10¦0001-01-01¦9999-12-31¦2019-02-29")
            ),
            1 => format!("{pad}? {}\n{pad}: x", "k<é".repeat(self.rng.usize(1..320))),
            2 => format!(
                "{pad}large: &large {}\n{pad}many: [{}]",
                "large".repeat(400),
                vec!["*large"; self.rng.usize(1..30)].join(", ")
            ),
            _ => format!("{pad}unknown: {}", self.value(depth)),
        };
        self.lines.insert(at, line);
    }

    /// A change of the text at a random place.
    fn mutation(&mut self) {
        const MUTATIONS: &[(&str, Rewrite)] = &[
            ("tab for a blank", |rng, text| at_one(rng, &text, " ", "\t")),
            ("tab before a line break", |rng, text| at_one(rng, &text, "\n", "\t\n")),
            ("tab behind a colon", |rng, text| at_one(rng, &text, ": ", ":\t")),
            ("tab besides a blank", |rng, text| at_one(rng, &text, ": ", ": \t")),
            ("no blank behind a colon", |rng, text| at_one(rng, &text, ": ", ":")),
            ("anchor behind a colon", |rng, text| at_one(rng, &text, ": ", ": &m ")),
            ("anchor at a line's end", |rng, text| at_one(rng, &text, ":\n", ": &m\n")),
            ("tag behind a colon", |rng, text| {
                let tag = format!(": {} ", pick(rng, TAGS));
                at_one(rng, &text, ": ", &tag)
            }),
            ("tag at a line's end", |rng, text| {
                let tag = format!(": {}\n", pick(rng, TAGS));
                at_one(rng, &text, ":\n", &tag)
            }),
            ("tag before an item", |rng, text| {
                let tag = format!("- {} ", pick(rng, TAGS));
                at_one(rng, &text, "- ", &tag)
            }),
            ("quote doubled", |rng, text| at_one(rng, &text, "\"", "\"\"")),
            ("comment sign", |rng, text| at_one(rng, &text, " ", " #")),
            ("line break for a blank", |rng, text| at_one(rng, &text, " ", "\n")),
            ("blank before a colon", |rng, text| at_one(rng, &text, ":", " :")),
            ("comma for a line break", |rng, text| at_one(rng, &text, "\n", ",")),
        ];
        let (construct, change) = MUTATIONS[self.rng.usize(0..MUTATIONS.len())];
        self.used(construct);
        self.last.push(change);
    }

    /// A list or map instead of a leaf, in block style.
    fn nest(&mut self) {
        self.used("block collection for a leaf");
        let Some(at) = self.pick_entry(Self::is_leaf) else { return };
        let Some((depth, key, _)) = entry(&self.lines[at]) else { return };
        let key = key.to_owned();
        let (one, two) = (self.scalar(), self.value(depth + 2));
        let pad = " ".repeat(depth);
        let shape = pick(self.rng, NESTS).replace('›', &pad).replace('§', &one).replace('¤', &two);
        self.lines[at] = format!("{pad}{key}:{shape}");
        if self.chance(12) {
            self.used("deep nesting");
            let levels = self.rng.usize(10..60);
            self.lines[at] = format!("{pad}{key}: {}x{}", "[".repeat(levels), "]".repeat(levels));
        }
    }

    fn tag(&mut self) {
        let Some(at) = self.pick_entry(|_, _| true) else { return };
        let tag = pick(self.rng, TAGS);
        self.used(if tag.contains("ruby") { "ruby tag" } else { "tag" });
        let leaf = self.is_leaf(at);
        let Some((depth, key, value)) = entry(&self.lines[at]) else { return };
        let (key, mut value) = (key.to_owned(), value.to_owned());
        if leaf && self.rng.bool() {
            value = self.value(depth);
        }
        let anchor = if self.chance(6) { "&t " } else { "" };
        self.lines[at] = format!("{}{key}: {anchor}{tag} {value}", " ".repeat(depth))
            .trim_end_matches(' ')
            .to_owned();
    }
}

/// `text` with one occurrence of `from` replaced by `to`.
fn at_one(rng: &mut Rng, text: &str, from: &str, to: &str) -> String {
    let places: Vec<usize> = text.match_indices(from).map(|(place, _)| place).collect();
    if places.is_empty() {
        return text.to_owned();
    }
    let place = places[rng.usize(0..places.len())];
    format!("{}{to}{}", &text[..place], &text[place + from.len()..])
}

/// Lines of block style as a flow collection; for lines that are not plain entries, any text.
fn flowing(lines: &[String], compact: bool, json: bool) -> String {
    let Some(depth) = lines.first().map(|line| indent(line)) else { return "{}".to_owned() };
    let comma = if compact { "," } else { ", " };
    let mut items = Vec::new();
    let mut list = false;
    let mut at = 0;
    while at < lines.len() {
        let end = lines[at + 1..]
            .iter()
            .position(|line| indent(line) <= depth)
            .map_or(lines.len(), |more| at + 1 + more);
        let quoted = |text: &str| if json { format!("\"{text}\"") } else { text.to_owned() };
        if let Some(item) = lines[at].trim_start().strip_prefix("- ") {
            list = true;
            items.push(quoted(item));
        } else if let Some((_, key, value)) = entry(&lines[at]) {
            let value = if end > at + 1 {
                flowing(&lines[at + 1..end], compact, json)
            } else {
                value.to_owned()
            };
            let colon = if compact && json { ":" } else { ": " };
            items.push(format!("{}{colon}{value}", quoted(key)));
        } else {
            items.push(lines[at].trim().to_owned());
        }
        at = end;
    }
    let inside = items.join(comma);
    if list { format!("[{inside}]") } else { format!("{{{inside}}}") }
}
