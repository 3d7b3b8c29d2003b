//! Makes a failing history simpler: removes decisions, one by one, while it still fails. Which
//! decisions a history has is its own affair, see [`Decisions`].

/// The maximum number of steps.
const MOST_STEPS: usize = 200;

/// The decisions of a history, all drawn before it starts.
pub trait Decisions: Clone + PartialEq {
    /// All that are simpler by one decision, the largest changes first. Each should be one that can
    /// be drawn: in others a law may fail that holds in every history. Some may be equal to these,
    /// where there is nothing left to remove.
    #[must_use]
    fn simpler(&self) -> Vec<Self>;

    /// A copy with a change.
    #[must_use]
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

/// Decisions that nothing can be removed from without their history not failing any more.
#[derive(Clone, Debug)]
pub struct Shrunk<D, V> {
    /// The decisions.
    pub decisions: D,
    /// What fails in their history.
    pub violation: V,
    /// The number of each change in [`Decisions::simpler`] that led to them, for [`replay`].
    pub path: Vec<usize>,
}

/// Makes decisions simpler while `fails` finds a violation in their history; none if it finds none
/// in that of the given ones.
pub fn shrink<D: Decisions, V>(given: D, fails: impl Fn(&D) -> Option<V>) -> Option<Shrunk<D, V>> {
    let violation = fails(&given)?;
    let mut best = Shrunk { decisions: given, violation, path: Vec::new() };
    while best.path.len() < MOST_STEPS {
        let simpler = best.decisions.simpler().into_iter().enumerate();
        let next = simpler
            .filter(|(_, candidate)| *candidate != best.decisions)
            .find_map(|(number, candidate)| fails(&candidate).map(|why| (number, candidate, why)));
        let Some((number, decisions, violation)) = next else { break };
        best.decisions = decisions;
        best.violation = violation;
        best.path.push(number);
    }
    Some(best)
}

/// The decisions to which these changes lead; none if a number is not one of a change.
pub fn replay<D: Decisions>(given: D, path: &[usize]) -> Option<D> {
    path.iter().try_fold(given, |decisions, number| decisions.simpler().into_iter().nth(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, of which each can be left out or made smaller.
    #[derive(Clone, Debug, PartialEq)]
    struct Numbers(Vec<u32>);

    impl Decisions for Numbers {
        fn simpler(&self) -> Vec<Self> {
            let mut all = Vec::new();
            for index in 0..self.0.len() {
                all.push(self.with(|it| {
                    it.0.remove(index);
                }));
                all.push(self.with(|it| it.0[index] /= 2));
            }
            all
        }
    }

    #[test]
    fn what_is_left_fails_and_nothing_that_is_simpler_does() {
        let fails = |numbers: &Numbers| {
            let large = numbers.0.iter().filter(|number| **number >= 10).count();
            (large >= 2).then_some(large)
        };
        let given = Numbers(vec![3, 50, 7, 12, 80]);
        let shrunk = shrink(given.clone(), fails).unwrap();
        assert_eq!((&shrunk.decisions.0[..], shrunk.violation), (&[12, 10][..], 2));
        assert!(shrunk.decisions.simpler().iter().all(|simpler| fails(simpler).is_none()));
        assert_eq!(replay(given.clone(), &shrunk.path), Some(shrunk.decisions));
        assert_eq!(replay(given, &[99]), None);
        assert!(shrink(Numbers(vec![10]), fails).is_none(), "it does not fail");
    }
}
