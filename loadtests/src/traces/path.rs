//! Where the time of a request went: its critical path, and the time of each span alone.
//!
//! The critical path is found backwards from the root's end, as in CRISP (Zhang et al., USENIX ATC 2022): of the children
//! that ended before, the last to end is what the parent waited for; before that one's begin the search goes on. What no
//! child on the path covers is the parent's own. So the root's duration is divided among the spans with nothing over and
//! nothing left. A child that overlaps the next one or its parent's end by a little is cut there, and not passed over.

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
    let root = &tree.nodes[0];
    let mut left = vec![Stretch { at: 0, from: root.start, until: root.end }];
    while let Some(stretch) = left.pop() {
        times[stretch.at].critical += walked(tree, &stretch, &mut left);
    }
    times
}

/// Of a node, what was waited for: all of it, or what its parent and the next on the path leave.
struct Stretch {
    at: usize,
    from: u64,
    until: u64,
}

/// A stretch's own time on the path that ends where it ends; the children on it are left to be walked.
fn walked(tree: &Tree<'_>, stretch: &Stretch, left: &mut Vec<Stretch>) -> u64 {
    let (node, until) = (&tree.nodes[stretch.at], stretch.until);
    let mut children: Vec<_> =
        node.children.iter().copied().filter(|child| tree.nodes[*child].awaited).collect();
    children.sort_by_key(|child| Reverse(tree.nodes[*child].end));
    let begun = stretch.from.max(node.begun());
    let (mut critical, mut cursor) = (0, until);
    for child in children {
        let below = &tree.nodes[child];
        let (from, end) = (below.start.max(begun), below.end.min(until));
        // There is nothing of it here. Or it was running still when the next on the path began: nobody waited for its end.
        if from > end || from > cursor || end.saturating_sub(cursor) > node.slack() {
            continue;
        }
        let end = end.min(cursor);
        critical += cursor - end;
        left.push(Stretch { at: child, from, until: end });
        cursor = from;
    }
    critical + (cursor - stretch.from)
}

/// Without what a node's children cover of it.
fn own(tree: &Tree<'_>, at: usize) -> u64 {
    let node = &tree.nodes[at];
    let (mut covered, mut cursor) = (0, node.begun());
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
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

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
    fn one_that_overlaps_the_next_by_a_little_is_cut_there() {
        let of = |end: u64| {
            let spans = [("root", 1, 0, 0, 10_000), ("a", 2, 1, 0, end), ("b", 3, 1, 5000, 9000)];
            // Below a, to its end: cut as it is.
            found(&made(&[spans.as_slice(), &[("in", 4, 2, 1000, end)]].concat()))
        };
        let own = |a, inside: u64| {
            let all = [
                ("a", 1000, a),
                ("b", 4000, 4000),
                ("in", inside - 1000, a * 4),
                ("root", 1000, 6000 - a * 5),
            ];
            all.map(|(name, own, critical): (&str, u64, u64)| (name.to_owned(), own, critical)).to_vec()
        };
        assert_eq!(of(5000), own(1000, 5000));
        assert_eq!(of(5001), own(1000, 5001));
        // A hundredth of the root, and more.
        assert_eq!(of(5100), own(1000, 5100));
        assert_eq!(of(5101), own(0, 5101));
    }

    #[test]
    fn one_that_ends_a_little_after_its_parent_is_cut_there() {
        let of = |end: u64| [("root", 1, 0, 0, 10_000), ("a", 2, 1, 4000, end), ("b", 3, 2, 5000, end)];
        check(&of(10_000), &[("a", 1000, 1000), ("b", 5000, 5000), ("root", 4000, 4000)]);
        check(&of(10_001), &[("a", 1000, 1000), ("b", 5001, 5000), ("root", 4000, 4000)]);
        check(&of(10_100), &[("a", 1000, 1000), ("b", 5100, 5000), ("root", 4000, 4000)]);
        check(&of(10_101), &[("a", 1000, 0), ("b", 5101, 0), ("root", 4000, 10_000)]);
    }

    #[test]
    fn of_one_that_began_before_its_parent_the_rest_was_waited_for() {
        let of = |start: u64| [("root", 1, 0, 100, 200), ("a", 2, 1, start, 150), ("b", 3, 2, start, 120)];
        check(&of(100), &[("a", 30, 30), ("b", 20, 20), ("root", 50, 50)]);
        check(&of(99), &[("a", 30, 30), ("b", 21, 20), ("root", 50, 50)]);
        check(&of(40), &[("a", 30, 30), ("b", 80, 20), ("root", 50, 50)]);
        // All before its parent.
        let before = [("root", 1, 0, 100, 200), ("a", 2, 1, 10, 100), ("b", 3, 2, 10, 90)];
        check(&before, &[("a", 10, 0), ("b", 80, 0), ("root", 100, 100)]);
    }

    #[test]
    fn of_a_server_that_runs_on_what_its_client_waited_for_is_on_the_path() {
        let mut spans = made(&[("root", 1, 0, 0, 100), ("call", 2, 1, 10, 60)]);
        spans.extend(made_by("other", &[("serve", 3, 2, 15, 400), ("work", 4, 3, 20, 390)]));
        let wanted = [("call", 5, 5), ("root", 50, 50), ("serve", 15, 5), ("work", 370, 40)];
        let wanted = wanted.map(|(name, own, critical)| (name.to_owned(), own, critical));
        assert_eq!(found(&spans), wanted);
    }

    #[test]
    fn nobody_waited_for_what_got_a_message_later() {
        let mut spans = made(&[("root", 1, 0, 0, 10), ("send", 2, 1, 0, 2)]);
        spans[1].span.set_kind(SpanKind::Producer);
        spans.extend(made_by("other", &[("process", 3, 2, 100, 150), ("work", 4, 3, 110, 130)]));
        let wanted = [("process", 30, 0), ("root", 8, 8), ("send", 2, 2), ("work", 20, 0)];
        let wanted = wanted.map(|(name, own, critical)| (name.to_owned(), own, critical));
        assert_eq!(found(&spans), wanted);
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
