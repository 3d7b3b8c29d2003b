//! The differential test: compares the guard's reading of configs and command lines with Ruby's
//! own, on recorded, remembered and generated cases. The guard must agree with every Ruby asked, or
//! refuse; the exit code is 1 where it does neither.

mod argv_cases;
mod config_cases;
mod judge;
mod locales;
mod pools;
mod recordings;
mod ruby;
mod shrink;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;
use fastrand::Rng;
use serde_json::Value;

use config_cases::Generated;
use judge::{Accepting, Answer, Disagreement, Judgement, Question, gist};
use ruby::Oracle;

/// The number of questions that go to the Rubies at once.
const BATCH: usize = 500;
/// The number of disagreements of one kind that are shrunk: more of them add little.
const OF_A_KIND: usize = 4;
/// Reasons for refusing that are printed.
const REASONS: usize = 15;

/// Holds the guard's reading of configs and arguments against Ruby's.
#[derive(Parser)]
struct Options {
    /// How many configs to generate.
    #[arg(long, default_value_t = 20_000)]
    configs: usize,
    /// How many command lines to generate.
    #[arg(long, default_value_t = 5_000)]
    commands: usize,
    /// The same seed generates the same cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A Ruby to ask; may be given several times, and then the guard has to agree with each.
    #[arg(long, default_values_t = ["ruby".to_owned()])]
    ruby: Vec<String>,
    /// Only compare the oracles with the recordings of the real runner.
    #[arg(long)]
    recordings: bool,
    /// Disagreements to shrink and print; the others are counted.
    #[arg(long, default_value_t = 40)]
    show: usize,
    /// Add shrunk disagreements to the regression cases.
    #[arg(long)]
    keep: bool,
    /// Print this many generated cases and what came of them, to judge the generator by.
    #[arg(long, default_value_t = 0)]
    print: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    // A panic of the guard is a result here, and printed with its question.
    std::panic::set_hook(Box::new(|_| {}));
    let mut configs = Panel::new(&options.ruby, "config.rb");
    let mut commands = Panel::new(&options.ruby, "argv.rb");
    for (config, command) in configs.oracles.iter_mut().zip(&mut commands.oracles) {
        let (loaded, parsed) = recordings::check(config, command)?;
        println!(
            "{}: the oracles agree with {loaded} recorded configs and {parsed} recorded command \
             lines",
            config.ruby
        );
    }
    if options.recordings {
        return Ok(ExitCode::SUCCESS);
    }

    let mut found = Vec::new();
    for (oracles, questions) in locales::cases(&options.ruby) {
        let cases = questions.into_iter().map(|question| Generated {
            question,
            constructs: ["locale"].into(),
            single: true,
        });
        found.extend(Panel { oracles }.hold("configs in a locale", &options, cases)?);
    }

    let regressions = regressions()?;
    let (old_configs, old_commands): (Vec<Generated>, Vec<Generated>) =
        regressions.into_iter().partition(|case| matches!(case.question, Question::Config { .. }));
    let base = include_str!("../../../tests/recordings/config.yml");
    let mut rng = Rng::with_seed(options.seed);
    let new_configs =
        std::iter::repeat_with(|| config_cases::generate(&mut rng, base)).take(options.configs);
    found.extend(configs.hold("configs", &options, old_configs.into_iter().chain(new_configs))?);
    let mut rng = Rng::with_seed(options.seed);
    let new_commands =
        std::iter::repeat_with(|| argv_cases::generate(&mut rng)).take(options.commands);
    found.extend(commands.hold(
        "command lines",
        &options,
        old_commands.into_iter().chain(new_commands),
    )?);

    if options.keep {
        keep(&found)?;
    }
    println!(
        "\nseed {}: {}",
        options.seed,
        if found.is_empty() { "zero disagreements" } else { "DISAGREEMENTS" }
    );
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The Rubies that get the same questions.
struct Panel {
    oracles: Vec<Oracle>,
}

/// Questions, the guard's answers, and the requests for the Rubies.
struct Asked {
    questions: Vec<Question>,
    answers: Vec<Answer>,
    requests: Vec<Vec<Value>>,
}

impl Asked {
    fn new(questions: Vec<Question>) -> Self {
        let answers: Vec<Answer> = questions.iter().map(Question::answer).collect();
        let requests = questions
            .iter()
            .zip(&answers)
            .map(|(question, answer)| question.requests(answer))
            .collect();
        Self { questions, answers, requests }
    }
}

/// Cases that go to the Rubies at once.
struct Batch {
    made_of: Vec<(BTreeSet<&'static str>, bool)>,
    asked: Asked,
}

impl Batch {
    /// The next cases, unless there are none left.
    fn of(cases: &mut impl Iterator<Item = Generated>) -> Option<Self> {
        let (made_of, questions): (Vec<_>, Vec<_>) =
            cases.take(BATCH).map(|case| ((case.constructs, case.single), case.question)).unzip();
        (!questions.is_empty()).then(|| Self { made_of, asked: Asked::new(questions) })
    }
}

impl Panel {
    fn new(rubies: &[String], script: &'static str) -> Self {
        Self { oracles: rubies.iter().map(|ruby| Oracle::new(ruby, script)).collect() }
    }

    /// The answers of every Ruby to the requests of `asked`.
    fn ask(&mut self, asked: &Asked) -> anyhow::Result<Vec<Vec<Value>>> {
        let requests: Vec<Value> = asked.requests.iter().flatten().cloned().collect();
        std::thread::scope(|scope| {
            let requests = &requests;
            let asking: Vec<_> = self
                .oracles
                .iter_mut()
                .map(|oracle| scope.spawn(move || oracle.ask(requests)))
                .collect();
            asking
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .map_err(|_| anyhow::anyhow!("a thread that asks a Ruby panicked"))?
                })
                .collect()
        })
    }

    /// Compares the guard's answers with those of the Rubies.
    fn compare(&self, asked: &Asked, mut replies: Vec<Vec<Value>>) -> Vec<Judgement> {
        // From the last to the first, so that each question's replies are the tails.
        let mut judgements: Vec<Judgement> = asked
            .questions
            .iter()
            .zip(&asked.answers)
            .zip(&asked.requests)
            .rev()
            .map(|((question, answer), requests)| {
                let rubies: Vec<(&str, Vec<Value>)> = self
                    .oracles
                    .iter()
                    .zip(&mut replies)
                    .map(|(oracle, replies)| {
                        (oracle.ruby.as_str(), replies.split_off(replies.len() - requests.len()))
                    })
                    .collect();
                question.judge(answer, rubies)
            })
            .collect();
        judgements.reverse();
        judgements
    }

    fn judge(&mut self, questions: &[Question]) -> anyhow::Result<Vec<Judgement>> {
        let asked = Asked::new(questions.to_vec());
        let replies = self.ask(&asked)?;
        Ok(self.compare(&asked, replies))
    }

    /// Judges every case, prints the counts and the disagreements, and returns the shrunk ones.
    fn hold(
        &mut self,
        what: &str,
        options: &Options,
        mut cases: impl Iterator<Item = Generated>,
    ) -> anyhow::Result<Vec<Question>> {
        let started = Instant::now();
        let mut counts = Counts::default();
        let mut disagreeing = Vec::new();
        let mut next = Batch::of(&mut cases);
        while let Some(batch) = next {
            // The guard answers the next batch while the Rubies process this one.
            let replies;
            (replies, next) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| self.ask(&batch.asked));
                let next = Batch::of(&mut cases);
                (asking.join(), next)
            });
            let replies = replies
                .map_err(|_| anyhow::anyhow!("the thread that asks the Rubies panicked"))??;
            let judgements = self.compare(&batch.asked, replies);
            let Batch { made_of, asked } = batch;
            for ((((constructs, single), question), answer), judgement) in
                made_of.into_iter().zip(asked.questions).zip(asked.answers).zip(judgements)
            {
                if counts.cases < options.print {
                    println!(
                        "--- {constructs:?}\n{}\n=> {answer}\n=> {judgement:?}",
                        serde_json::to_string(&question)?
                    );
                }
                counts.add(&constructs, single, &judgement);
                if let Judgement::Disagreed(disagreement) = judgement {
                    disagreeing.push((Generated { question, constructs, single }, disagreement));
                }
            }
        }
        counts.print(what, started);
        self.show(options, disagreeing)
    }

    /// Shrinks and prints, one of each kind first.
    fn show(
        &mut self,
        options: &Options,
        mut disagreeing: Vec<(Generated, Disagreement)>,
    ) -> anyhow::Result<Vec<Question>> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        disagreeing.sort_by_cached_key(|(case, disagreement)| {
            let nth = seen.entry(disagreement.kind.clone()).or_default();
            *nth += 1;
            (*nth, case.constructs.len())
        });
        let mut shown = HashSet::new();
        let mut shrunk = Vec::new();
        let mut left = disagreeing.len();
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let few = disagreeing.iter().take(options.show).filter(|(_, disagreement)| {
            let nth = taken.entry(disagreement.kind.clone()).or_default();
            *nth += 1;
            *nth <= OF_A_KIND
        });
        for (case, disagreement) in few {
            left -= 1;
            let kind = &disagreement.kind;
            let smallest = shrink::shrink(case.question.clone(), |candidates| {
                let judgements = self.judge(candidates)?;
                Ok(judgements.iter().position(|judgement| matches!(judgement, Judgement::Disagreed(found) if found.kind == *kind)))
            })?;
            if !shown.insert(smallest.clone()) {
                continue;
            }
            let again = self.judge(std::slice::from_ref(&smallest))?.pop();
            let (when, Disagreement { guard, rubies, .. }) = match &again {
                Some(Judgement::Disagreed(again)) => ("", again),
                // Then the answer depends on what a Ruby was asked before.
                _ => (", when it was asked first and not again", disagreement),
            };
            println!("\nDISAGREEMENT: {kind} ({:?}){when}", case.constructs);
            match &smallest {
                Question::Config { config, env } => {
                    println!("{config}\n  as text: {config:?}\n  environment: {env:?}");
                }
                Question::Command { argv } => println!("  words: {argv:?}"),
            }
            println!("  guard: {guard}");
            for (ruby, answer) in rubies {
                println!("  {ruby}: {answer}");
            }
            shrunk.push(smallest);
        }
        if left > 0 {
            println!("\n… and {left} more disagreements, which are not shrunk");
        }
        Ok(shrunk)
    }
}

/// How often each construct occurred, and was refused although every Ruby accepts it.
#[derive(Default)]
struct Construct {
    cases: usize,
    refused: usize,
    /// The same, where nothing else was changed.
    alone: usize,
    refused_alone: usize,
}

#[derive(Default)]
struct Counts {
    cases: usize,
    agreed: usize,
    handed_over: usize,
    /// Refused: every Ruby accepts; they differ; none accepts.
    refused: usize,
    divided: usize,
    rejected: usize,
    disagreed: usize,
    constructs: BTreeMap<&'static str, Construct>,
    kinds: BTreeMap<String, usize>,
    reasons: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, constructs: &BTreeSet<&'static str>, single: bool, judgement: &Judgement) {
        self.cases += 1;
        let mut refused = 0;
        match judgement {
            Judgement::Agreed { handed_over } => {
                self.agreed += 1;
                self.handed_over += usize::from(*handed_over);
            }
            Judgement::Disagreed(disagreement) => {
                self.disagreed += 1;
                *self.kinds.entry(disagreement.kind.clone()).or_default() += 1;
            }
            Judgement::Refused { rubies: Accepting::Divided, .. } => self.divided += 1,
            Judgement::Refused { rubies: Accepting::None, .. } => self.rejected += 1,
            Judgement::Refused { reason, rubies: Accepting::All } => {
                refused = 1;
                self.refused += 1;
                *self.reasons.entry(gist(reason)).or_default() += 1;
            }
        }
        for name in constructs {
            let construct = self.constructs.entry(name).or_default();
            construct.cases += 1;
            construct.refused += refused;
            if single {
                construct.alone += 1;
                construct.refused_alone += refused;
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
    fn print(&self, what: &str, started: Instant) {
        let share = |part: usize, whole: usize| {
            if whole == 0 {
                String::new()
            } else {
                format!("{:.1} %", 100.0 * part as f64 / whole as f64)
            }
        };
        println!("\n{what}: {} cases in {:.0} s", self.cases, started.elapsed().as_secs_f64());
        println!(
            "  {:>6}  agreed, {} of them also on what the guard hands over",
            self.agreed, self.handed_over
        );
        println!(
            "  {:>6}  refused though every Ruby accepts ({})",
            self.refused,
            share(self.refused, self.cases)
        );
        println!("  {:>6}  refused where the Rubies differ", self.divided);
        println!("  {:>6}  refused where no Ruby accepts", self.rejected);
        println!("  {:>6}  disagreements", self.disagreed);
        for (kind, count) in &self.kinds {
            println!("          {count:>6}  {kind}");
        }
        println!(
            "  refused though every Ruby accepts, by construct (all cases with it; those changed \
             in this place only):"
        );
        for (name, construct) in &self.constructs {
            println!(
                "    {name:<36} {:>5} of {:>5} {:>8}   {:>5} of {:>5} {:>8}",
                construct.refused,
                construct.cases,
                share(construct.refused, construct.cases),
                construct.refused_alone,
                construct.alone,
                share(construct.refused_alone, construct.alone)
            );
        }
        let mut reasons: Vec<(&String, &usize)> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        println!("  the guard's most frequent reasons for these:");
        for (reason, count) in reasons.into_iter().take(REASONS) {
            println!("    {count:>5}  {reason}");
        }
    }
}

fn regressions_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/runner/oracle/regressions.jsonl")
}

/// Disagreements of the past, one a line.
fn regressions() -> anyhow::Result<Vec<Generated>> {
    let path = regressions_file();
    std::fs::read_to_string(&path)
        .with_context(|| path.display().to_string())?
        .lines()
        .map(|line| {
            let question = serde_json::from_str(line).with_context(|| line.to_owned())?;
            Ok(Generated { question, constructs: ["regression"].into(), single: true })
        })
        .collect()
}

fn keep(found: &[Question]) -> anyhow::Result<()> {
    let known: HashSet<Question> = regressions()?.into_iter().map(|case| case.question).collect();
    let mut file = std::fs::OpenOptions::new().append(true).open(regressions_file())?;
    for question in found.iter().filter(|question| !known.contains(question)) {
        writeln!(file, "{}", serde_json::to_string(question)?)?;
    }
    Ok(())
}
