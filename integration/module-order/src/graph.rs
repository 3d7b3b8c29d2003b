//! Finds cycles.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The imports between nodes, by number.
pub(crate) type Edges = BTreeMap<usize, BTreeSet<usize>>;

/// For each group of nodes that reach each other, a shortest cycle through its first node.
pub(crate) fn cycles(edges: &Edges) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut done = BTreeSet::new();
    for &node in edges.keys() {
        if done.contains(&node) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(edges, node) {
            let mine = reachable(edges, node);
            done.extend(mine.iter().copied().filter(|it| reachable(edges, *it).contains(&node)));
            found.push(cycle);
        }
    }
    found
}

fn reachable(edges: &Edges, from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for &next in edges.get(&node).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

/// The nodes of a cycle in order, starting at this node, which is not repeated at the end.
fn shortest_cycle(edges: &Edges, start: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for &next in edges.get(&node).into_iter().flatten() {
            if next == start {
                let mut cycle = vec![node];
                while let Some(&before) = came_from.get(cycle.last()?) {
                    cycle.push(before);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if let Entry::Vacant(entry) = came_from.entry(next) {
                entry.insert(node);
                open.push_back(next);
            }
        }
    }
    None
}
