//! Where the time of a request went: its critical path, and the time of each span alone.
//!
//! The critical path is found backwards from the root's end, as in CRISP (Zhang et al., USENIX ATC 2022): of the children
//! that ended before, the last to end is what the parent waited for; before that one's begin the search goes on. What no
//! child on the path covers is the parent's own. So the root's duration is divided among the spans with nothing over and
//! nothing left.

use std::cmp::Reverse;

use super::tree::Tree;

/// Of one span, in ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Of its duration, while no child of it was running.
    pub own: u64,
    /// Of the root's duration, what was waited for this span and for none below it.
    pub critical: u64,
}

/// Of each node, in the tree's order.
pub fn times(tree: &Tree<'_>) -> Vec<Times> {
    let own = |at| Times { own: own(tree, at), critical: 0 };
    let mut times: Vec<Times> = (0..tree.nodes.len()).map(own).collect();
    let mut left = vec![0];
    while let Some(at) = left.pop() {
        times[at].critical += walked(tree, at, &mut left);
    }
    times
}

/// A node's own time on the path that ends where it ends; the children on it are left to be walked.
fn walked(tree: &Tree<'_>, at: usize, left: &mut Vec<usize>) -> u64 {
    let node = &tree.nodes[at];
    let mut children = node.children.clone();
    children.sort_by_key(|child| Reverse(tree.nodes[*child].end));
    let (mut critical, mut cursor) = (0, node.end);
    for child in children {
        let below = &tree.nodes[child];
        // It was running still: nobody waited for its end. Or it began before its parent: not the parent's time.
        if below.end > cursor || below.start < node.start {
            continue;
        }
        critical += cursor - below.end;
        left.push(child);
        cursor = below.start;
    }
    critical + (cursor - node.start)
}

/// Without what a node's children cover of it.
fn own(tree: &Tree<'_>, at: usize) -> u64 {
    let node = &tree.nodes[at];
    let (mut covered, mut cursor) = (0, node.start);
    // By their begin.
    for child in &node.children {
        let below = &tree.nodes[*child];
        let (from, to) = (below.start.max(cursor), below.end.min(node.end));
        if to > from {
            covered += to - from;
            cursor = to;
        }
    }
    node.duration() - covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{Made, made, made_by};
    use crate::traces::spill::Found;
    use crate::traces::tree::Grown;

    /// Name, own, critical; the critical ones together are the root's duration.
    fn found(spans: &[Found]) -> Vec<(String, u64, u64)> {
        let grown = Grown::of(spans);
        let tree = &grown.requests[0];
        let times = times(tree);
        assert_eq!(times.iter().map(|times| times.critical).sum::<u64>(), tree.nodes[0].duration());
        let told = |(node, times): (&crate::traces::tree::Node<'_>, &Times)| {
            (node.found.span.name.clone(), times.own, times.critical)
        };
        let mut all: Vec<_> = tree.nodes.iter().zip(&times).map(told).collect();
        all.sort();
        all
    }

    fn check(spans: &[Made], wanted: &[(&str, u64, u64)]) {
        let wanted: Vec<_> =
            wanted.iter().map(|(name, own, critical)| ((*name).to_owned(), *own, *critical)).collect();
        assert_eq!(found(&made(spans)), wanted);
    }

    #[test]
    fn one_after_another_each_has_its_own() {
        let spans = [("root", 1, 0, 0, 100), ("a", 2, 1, 10, 40), ("b", 3, 1, 50, 90), ("c", 4, 3, 60, 70)];
        check(&spans, &[("a", 30, 30), ("b", 30, 30), ("c", 10, 10), ("root", 30, 30)]);
    }

    #[test]
    fn of_two_at_the_same_time_the_last_to_end_was_waited_for() {
        let spans = [("root", 1, 0, 0, 100), ("long", 2, 1, 10, 90), ("short", 3, 1, 20, 60)];
        check(&spans, &[("long", 80, 80), ("root", 20, 20), ("short", 40, 0)]);
    }

    #[test]
    fn before_the_last_to_end_began_another_may_have_been_waited_for() {
        // a 0-30 and b 10-60 overlap: b was waited for, and a only up to b's begin, which isn't a's end.
        let overlapping = [("root", 1, 0, 0, 100), ("a", 2, 1, 0, 30), ("b", 3, 1, 10, 60)];
        check(&overlapping, &[("a", 30, 0), ("b", 50, 50), ("root", 40, 50)]);
        // a ended where b began.
        let touching = [("root", 1, 0, 0, 100), ("a", 2, 1, 0, 30), ("b", 3, 1, 30, 60), ("c", 4, 1, 5, 50)];
        check(&touching, &[("a", 30, 30), ("b", 30, 30), ("c", 45, 0), ("root", 40, 40)]);
    }

    #[test]
    fn nobody_waited_for_what_ended_after_its_parent() {
        let spans = [
            ("root", 1, 0, 0, 100),
            ("later", 2, 1, 80, 150),
            ("a", 3, 1, 10, 30),
            ("never", 4, 1, 120, 130),
        ];
        check(&spans, &[("a", 20, 20), ("later", 70, 0), ("never", 10, 0), ("root", 60, 80)]);
    }

    #[test]
    fn spans_of_no_length_and_siblings_alike_change_nothing() {
        let spans = [("root", 1, 0, 0, 10), ("a", 2, 1, 2, 6), ("b", 3, 1, 2, 6), ("none", 4, 1, 6, 6)];
        check(&spans, &[("a", 4, 4), ("b", 4, 0), ("none", 0, 0), ("root", 6, 6)]);
        check(&[("root", 1, 0, 5, 5)], &[("root", 0, 0)]);
    }

    #[test]
    fn another_process_clock_that_is_off_gives_the_same_times() {
        let of = |from: u64| {
            let mut spans = made(&[("root", 1, 0, 1000, 1100), ("call", 2, 1, 1010, 1090)]);
            spans.extend(made_by(
                "other",
                &[("serve", 3, 2, from, from + 60), ("work", 4, 3, from + 10, from + 30)],
            ));
            found(&spans)
        };
        let wanted = [("call", 20, 20), ("root", 20, 20), ("serve", 40, 40), ("work", 20, 20)];
        let wanted: Vec<_> = wanted.map(|(name, own, critical)| (name.to_owned(), own, critical)).into();
        for from in [1020, 500, 50_000_000] {
            assert_eq!(of(from), wanted, "from {from}");
        }
    }
}
