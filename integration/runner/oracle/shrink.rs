//! Shrinking: the smallest question that still shows a disagreement of the same kind.

use std::collections::BTreeMap;

use crate::judge::Question;

/// Drops parts of `question` as long as `persists` holds for the rest: words and lines first, in
/// ever smaller runs, then single characters. `persists` gets many candidates at once and returns
/// the one to continue with.
///
/// # Errors
/// Those of `persists`.
pub(crate) fn shrink(
    question: Question,
    mut persists: impl FnMut(&[Question]) -> anyhow::Result<Option<usize>>,
) -> anyhow::Result<Question> {
    let mut smallest = question;
    for grain in [Grain::Part, Grain::Character] {
        let mut size = length(&smallest, grain).div_ceil(2).max(1);
        loop {
            let mut candidates = without(&smallest, grain, size);
            match persists(&candidates)? {
                Some(index) => smallest = candidates.swap_remove(index),
                None if size == 1 => break,
                None => size = size.div_ceil(2),
            }
        }
    }
    Ok(smallest)
}

/// The unit that is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// A line of a config, a variable of its environment, a word of a command line.
    Part,
    Character,
}

fn length(question: &Question, grain: Grain) -> usize {
    match (question, grain) {
        (Question::Config { config, .. }, Grain::Part) => config.split_inclusive('\n').count(),
        (Question::Config { config, .. }, Grain::Character) => config.chars().count(),
        (Question::Command { argv }, Grain::Part) => argv.len(),
        (Question::Command { argv }, Grain::Character) => {
            argv.iter().map(|word| word.chars().count()).max().unwrap_or(0)
        }
    }
}

/// `question` without each run of `size`.
fn without(question: &Question, grain: Grain, size: usize) -> Vec<Question> {
    match question {
        Question::Config { config, env } => {
            let parts: Vec<&str> = match grain {
                Grain::Part => config.split_inclusive('\n').collect(),
                Grain::Character => config.split_inclusive(|_| true).collect(),
            };
            let texts = runs(parts.len(), size).map(|gone| Question::Config {
                config: outside(&parts, gone).concat(),
                env: env.clone(),
            });
            let environments = env.keys().map(|gone| {
                let env: BTreeMap<String, String> = env
                    .iter()
                    .filter(|(name, _)| *name != gone)
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                Question::Config { config: config.clone(), env }
            });
            texts.chain(environments).collect()
        }
        Question::Command { argv } if grain == Grain::Part => runs(argv.len(), size)
            .map(|gone| Question::Command { argv: outside(argv, gone) })
            .collect(),
        Question::Command { argv } => argv
            .iter()
            .enumerate()
            .flat_map(|(index, word)| {
                let letters: Vec<char> = word.chars().collect();
                runs(letters.len(), size).map(move |gone| {
                    let mut argv = argv.clone();
                    argv[index] = outside(&letters, gone).into_iter().collect();
                    Question::Command { argv }
                })
            })
            .collect(),
    }
}

fn runs(length: usize, size: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..length).step_by(size).map(move |start| start..(start + size).min(length))
}

fn outside<T: Clone>(parts: &[T], gone: std::ops::Range<usize>) -> Vec<T> {
    parts[..gone.start].iter().chain(&parts[gone.end..]).cloned().collect()
}
