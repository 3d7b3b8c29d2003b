//! The fuzz targets' properties on a bounded number of inputs: the recorded configs and command
//! lines, and mutations of them with a fixed seed.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot be staged has nothing else to say"
)]

#[path = "../integration/fuzz/bombs.rs"]
mod bombs;
#[path = "support/inventories.rs"]
#[expect(dead_code, reason = "other tests need the manifests")]
mod inventories;
#[path = "../integration/fuzz/properties.rs"]
mod properties;

use inventories::{Form, Line};

/// A small generator (SplitMix64), so that a run can be repeated by its seed alone.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }
}

/// Pieces with a meaning for ERB, YAML and OptionParser.
const PIECES: [&str; 40] = [
    "<%=",
    "%>",
    "<%",
    "<%#",
    "<%%",
    "%%>",
    "ENV['X']",
    "ENV.fetch('UNSET')",
    "||",
    "'",
    "\"",
    "\\",
    ": ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "\"<<\": ",
    "!!str ",
    "!ruby/object:Object ",
    "! ",
    "|\n",
    ">-\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    ":a",
    "~",
    "2020-01-01",
];

/// One to eight changes: a byte, a piece, a removed part, a duplicated part, a part of another
/// input.
fn mutate(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(8) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(40)).min(bytes.len());
        match dice.below(5) {
            0 if at < bytes.len() => bytes[at] = dice.next().to_le_bytes()[0],
            1 => drop(bytes.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(200)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// `FUZZ_ROUNDS` and `FUZZ_SEED` change the length and the seed of the run.
fn run(corpus: &[Vec<u8>], rounds: usize, seed: u64, property: fn(&[u8])) {
    let wish = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds =
        wish("FUZZ_ROUNDS").and_then(|rounds| usize::try_from(rounds).ok()).unwrap_or(rounds);
    let mut dice = Dice(wish("FUZZ_SEED").unwrap_or(seed));
    for input in corpus {
        property(input);
    }
    for _ in 0..rounds {
        let (input, other) = (dice.below(corpus.len()), dice.below(corpus.len()));
        let mutated = mutate(&corpus[input], &corpus[other], &mut dice);
        // A failing property reports its input.
        let held = std::panic::catch_unwind(|| property(&mutated));
        assert!(held.is_ok(), "fails on: {}", String::from_utf8_lossy(&mutated).escape_debug());
    }
}

#[test]
fn no_config_panics_hangs_or_is_misread_after_sealing() {
    let cases = include_str!("recordings/config-loading.jsonl")
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let corpus: Vec<Vec<u8>> =
        cases.filter_map(|case| Some(case["config"].as_str()?.as_bytes().to_vec())).collect();
    assert!(corpus.len() > 100);
    run(&corpus, 6000, 1, properties::config);
}

#[test]
fn no_command_line_panics_or_is_misread_after_sealing() {
    let rows = include_str!("recordings/argv.tsv")
        .lines()
        .skip(1)
        .filter_map(|row| row.split('\t').nth(1));
    let corpus: Vec<Vec<u8>> =
        rows.map(|arguments| arguments.replace(' ', "\n").into_bytes()).collect();
    assert!(corpus.len() > 40);
    run(&corpus, 50_000, 2, properties::argv);
}

#[test]
fn a_config_built_to_exhaust_is_refused_early() {
    let laughs: Vec<String> =
        (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let laughs = laughs.concat();
    for text in [
        format!("a0: &a0 x\n{laughs}"),
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "a: ".repeat(100_000),
        format!("a: {}", "x".repeat(2_000_000)),
        "- ".repeat(400_000),
        "<%".repeat(400_000),
        format!("x: <%= ENV['X'] {} %>", "|| 'a' ".repeat(100_000)),
    ] {
        properties::config(text.as_bytes());
    }
}

#[test]
fn each_bomb_is_sealed_or_refused_as_its_limits_say() {
    for bomb in bombs::bombs() {
        assert!(bomb.text.len() <= 1 << 20, "{}: {} bytes", bomb.name, bomb.text.len());
        let (end, said) = bombs::explode(&bomb);
        let said: String = said.chars().take(200).collect();
        assert_eq!(end, bomb.end, "{}: {said}", bomb.name);
    }
}

/// Files of an inventory of two sizes, as S3 writes them.
fn inventory_files(form: Form) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let file = |rows: usize| {
        let lines: Vec<Line> = (0..rows)
            .map(|row| {
                let kind = ["SSE-S3", "SSE-KMS", "NOT-SSE"][row % 3];
                Line::new(&format!("data/run={}/part-{row:05}", row / 7), 4096, kind)
            })
            .collect();
        let path = folder.path().join(rows.to_string());
        inventories::file(&path, form, "acme-old", "", [lines].into_iter());
        std::fs::read(path).unwrap()
    };
    vec![file(3), file(300)]
}

/// The peak resident memory of this process, in kilobytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap()
}

#[test]
fn no_inventory_panics_hangs_or_takes_all_memory() {
    let mut text = String::new();
    for packed in inventory_files(Form::Csv) {
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text)
            .unwrap();
    }
    let packed = inventory_files(Form::Csv).into_iter();
    let corpus: Vec<Vec<u8>> = packed.chain([text.into_bytes()]).collect();
    run(&corpus, 2000, 3, properties::inventory_csv);
    run(&inventory_files(Form::Orc), 2000, 4, properties::inventory_orc);
    run(&inventory_files(Form::Parquet), 2000, 5, properties::inventory_parquet);
    assert!(peak() < 1 << 20, "{} kB", peak());
}
