//! The spans of one trace as trees, one for each request of a service in it, placed in one time.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::links::{Links, Whose};
use super::oddity::{Odd, Oddity};
use super::spill::{Found, Process};
use super::waits::{Wait, before};

/// Of a span's duration, as a divisor: as far its children may overlap or run over and still be taken for one after the other
/// and for inside, as in CRISP: their begins and ends aren't read from the clock at one moment.
const SLACK: u64 = 100;

/// How far a clock is moved, in ns: more than between any two times, however often.
type Shift = i128;

/// A span in its tree.
#[derive(Debug)]
pub struct Node<'a> {
    /// As it was read.
    pub found: &'a Found,
    /// Their places in [`Tree::nodes`], by their begin.
    pub children: Vec<usize>,
    /// In ns of the Unix epoch, on the root's clock; with what was waited before it began.
    pub start: u64,
    /// Of that, in ns, what was waited.
    pub before: u64,
    /// As `start`, and never before it.
    pub end: u64,
    /// Whether its parent may have waited for its end: until the parent's own, at most.
    pub awaited: bool,
}

/// One request: the root is first, parents are before their children.
#[derive(Debug)]
pub struct Tree<'a> {
    /// All of them.
    pub nodes: Vec<Node<'a>>,
}

/// A trace, taken apart.
#[derive(Debug, Default)]
pub struct Grown<'a> {
    /// Its requests by their begin.
    pub requests: Vec<Tree<'a>>,
    /// What was odd.
    pub oddities: Vec<Odd>,
}

impl Node<'_> {
    /// From begin to end, in ns.
    pub fn duration(&self) -> u64 {
        self.end - self.start
    }

    /// When it began itself, after what was waited before.
    pub fn begun(&self) -> u64 {
        self.start + self.before
    }

    fn moved(&mut self, by: Shift) {
        (self.start, self.end) = (shifted(self.start, by), shifted(self.end, by));
    }

    /// How far its children may overlap or run over, in ns.
    pub fn slack(&self) -> u64 {
        (self.end - self.begun()) / SLACK
    }
}

impl Tree<'_> {
    /// What a span is called among its siblings: its name, and whose it is where that isn't the root's own service. The root's
    /// service may be named differently on the two sides.
    pub fn called(&self, at: usize) -> Cow<'_, str> {
        let (found, root) = (self.nodes[at].found, self.nodes[0].found);
        if found.process.service == root.process.service {
            return Cow::Borrowed(&found.span.name);
        }
        Cow::Owned(format!("{} ({})", found.span.name, found.process.service))
    }
}

impl<'a> Grown<'a> {
    /// Of the spans of one trace, in any order: the requests of one service. `waits`: what they may say to have been waited.
    pub fn new(spans: &'a [Found], whose: &Whose, waits: &[Wait]) -> Self {
        let links = Links::of(spans);
        let (roots, oddities) = links.roots(whose);
        let mut grown = Self { requests: Vec::new(), oddities };
        for root in roots {
            let tree = grown.tree(root, &links, waits);
            grown.requests.push(tree);
        }
        grown
    }

    /// Of spans that don't tell of waits.
    #[cfg(test)]
    pub fn of(spans: &'a [Found]) -> Self {
        Self::new(spans, &crate::traces::made::whose(), &[])
    }

    /// Everything below a root. By a list of what is left, not by calls: a trace may be a chain of thousands of spans.
    fn tree(&mut self, root: &'a Found, links: &Links<'a>, waits: &[Wait]) -> Tree<'a> {
        let mut tree = Tree { nodes: vec![self.placed(root, 0)] };
        let mut clocks = Clocks(vec![(None, 0)]);
        let mut left = vec![0];
        while let Some(at) = left.pop() {
            let mut children = Vec::new();
            for found in links.below(tree.nodes[at].found) {
                let moved = clocks.moved(&tree, at, &found.process);
                let mut child = self.placed(found, moved);
                let parent = &tree.nodes[at];
                let shift = if Arc::ptr_eq(&found.process, &parent.found.process) {
                    self.beside(&mut child, parent)
                } else if asynchronous(&found.span, &parent.found.span) {
                    self.sent(&mut child, parent)
                } else {
                    self.fitted(&mut child, parent)
                };
                self.widened(&mut child, parent, waits);
                children.push(tree.nodes.len());
                left.push(tree.nodes.len());
                clocks.0.push((Some(at), moved + shift));
                tree.nodes.push(child);
            }
            children.sort_by_key(|child| tree.nodes[*child].start);
            tree.nodes[at].children = children;
        }
        tree
    }

    fn placed(&mut self, found: &'a Found, shift: Shift) -> Node<'a> {
        let span = &found.span;
        if span.end_time_unix_nano < span.start_time_unix_nano {
            let by = span.start_time_unix_nano - span.end_time_unix_nano;
            self.oddities.push((Oddity::Reversed, found.place, by));
        }
        let start = shifted(span.start_time_unix_nano, shift);
        let end = shifted(span.end_time_unix_nano, shift).max(start);
        Node { found, children: Vec::new(), start, before: 0, end, awaited: true }
    }

    /// Moves a span's begin back by what was waited before it, as far as its parent had begun.
    fn widened(&mut self, child: &mut Node<'_>, parent: &Node<'_>, waits: &[Wait]) {
        let waited = before(&child.found.span, waits);
        let room = child.start.saturating_sub(parent.begun());
        if waited > room {
            self.oddities.push((Oddity::Crowded, child.found.place, waited - room));
        }
        child.before = waited.min(room);
        child.start -= child.before;
    }

    /// A span by its parent's own clock.
    fn beside(&mut self, child: &mut Node<'_>, parent: &Node<'_>) -> Shift {
        if child.start < parent.begun() {
            self.oddities.push((Oddity::Early, child.found.place, parent.begun() - child.start));
        }
        self.outlives(child, parent);
        0
    }

    /// A span that may have ended after its parent: far after, the parent didn't wait for it.
    fn outlives(&mut self, child: &mut Node<'_>, parent: &Node<'_>) {
        let over = child.end.saturating_sub(parent.end);
        if over > 0 {
            self.oddities.push((Oddity::Outliving, child.found.place, over));
        }
        child.awaited = over <= parent.slack();
    }

    /// A span of another process that got a message, whenever that was: not before it was sent. How far it was moved.
    fn sent(&mut self, child: &mut Node<'_>, parent: &Node<'_>) -> Shift {
        let shift = Shift::from(parent.begun().saturating_sub(child.start));
        self.skewed(child, shift);
        self.outlives(child, parent);
        shift
    }

    /// Moves a span of another process, whose end its parent waits for, by the least that puts it inside; how far. One that
    /// is longer began with its parent at the earliest, which gave up before its end.
    fn fitted(&mut self, child: &mut Node<'_>, parent: &Node<'_>) -> Shift {
        let early = Shift::from(parent.begun()) - Shift::from(child.start);
        let over = child.duration().saturating_sub(parent.end - parent.begun());
        if over > 0 {
            self.oddities.push((Oddity::Overlong, child.found.place, over));
            // By so little clocks differ in their pace.
            let shift = if over <= parent.slack() { early } else { early.max(0) };
            child.moved(shift);
            return shift;
        }
        let shift = if early > 0 { early } else { -Shift::from(child.end.saturating_sub(parent.end)) };
        self.skewed(child, shift);
        shift
    }

    fn skewed(&mut self, child: &mut Node<'_>, shift: Shift) {
        if shift != 0 {
            let by = u64::try_from(shift.unsigned_abs()).unwrap_or(u64::MAX);
            self.oddities.push((Oddity::Skewed, child.found.place, by));
            child.moved(shift);
        }
    }
}

/// Of each node its parent's place, and how far its process' clock was moved.
struct Clocks(Vec<(Option<usize>, Shift)>);

impl Clocks {
    /// How far a process' clock was moved for the nearest of its spans from `at` upwards. One that has none there is on its
    /// own clock still: what another's was moved by says nothing of it.
    fn moved(&self, tree: &Tree<'_>, at: usize, process: &Arc<Process>) -> Shift {
        let mut above = Some(at);
        while let Some(at) = above {
            let (parent, moved) = self.0[at];
            if Arc::ptr_eq(&tree.nodes[at].found.process, process) {
                return moved;
            }
            above = parent;
        }
        0
    }
}

/// A time moved, as far as times go.
fn shifted(at: u64, by: Shift) -> u64 {
    let moved = (Shift::from(at) + by).max(0);
    u64::try_from(moved).unwrap_or(u64::MAX)
}

/// Whether a span's parent doesn't wait for its end.
fn asynchronous(child: &Span, parent: &Span) -> bool {
    child.kind() == SpanKind::Consumer || parent.kind() == SpanKind::Producer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{Made, attribute, made, made_by, whose};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::SpanFlags;

    const WAIT: &str = "waited";

    fn waits() -> [Wait; 1] {
        [format!("{WAIT}=ns:before").parse().unwrap()]
    }

    /// Each request as `name start-end(children)`, in ns.
    fn shown(spans: &[Found]) -> (Vec<String>, Vec<(Oddity, u64, u64)>) {
        fn text(tree: &Tree<'_>, at: usize) -> String {
            let node = &tree.nodes[at];
            let below: Vec<_> = node.children.iter().map(|child| text(tree, *child)).collect();
            let below = if below.is_empty() { String::new() } else { format!("({})", below.join(" ")) };
            format!("{} {}-{}{below}", tree.called(at), node.start, node.end)
        }
        let grown = Grown::new(spans, &whose(), &waits());
        let mut odd: Vec<_> =
            grown.oddities.into_iter().map(|(what, place, by)| (what, place.line, by)).collect();
        odd.sort();
        (grown.requests.iter().map(|tree| text(tree, 0)).collect(), odd)
    }

    #[test]
    fn spans_hang_below_their_parents_whoever_was_read_first() {
        let mut spans =
            made(&[("root", 1, 0, 0, 100), ("b", 3, 1, 50, 60), ("a", 2, 1, 10, 40), ("c", 4, 2, 20, 30)]);
        for _ in 0..4 {
            let wanted = "root 0-100(a 10-40(c 20-30) b 50-60)".to_owned();
            assert_eq!(shown(&spans), (vec![wanted], vec![]));
            spans.rotate_left(1);
        }
    }

    #[test]
    fn a_trace_may_hold_several_requests() {
        let mut spans = made(&[("one", 1, 0, 0, 10), ("two", 2, 8, 20, 30), ("three", 3, 9, 40, 50)]);
        spans[1].span.set_kind(SpanKind::Server);
        let remote = SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;
        spans[2].span.flags = remote;
        assert_eq!(shown(&spans).0, ["one 0-10", "two 20-30", "three 40-50"]);
    }

    #[test]
    fn what_has_lost_its_parent_is_left_out_with_all_below_and_told() {
        let mut spans = made(&[("root", 1, 0, 0, 100), ("lost", 2, 9, 10, 20), ("below", 3, 2, 11, 12)]);
        let wanted = |odd| (vec!["root 0-100".to_owned()], vec![(odd, 2, 0)]);
        assert_eq!(shown(&spans), wanted(Oddity::Parentless));
        // Its own process says that the parent isn't another's, whatever the kind.
        spans[1].span.set_kind(SpanKind::Server);
        spans[1].span.flags = SpanFlags::ContextHasIsRemoteMask as u32;
        assert_eq!(shown(&spans), wanted(Oddity::Orphan));
    }

    #[test]
    fn doubled_circular_and_reversed_spans_are_told() {
        let spans = made(&[
            ("root", 1, 0, 0, 100),
            ("again", 1, 0, 0, 90),
            ("x", 2, 3, 10, 20),
            ("y", 3, 2, 10, 20),
            ("back", 4, 1, 50, 40),
        ]);
        let odd = vec![
            (Oddity::Doubled, 2, 0),
            (Oddity::Circular, 3, 0),
            (Oddity::Circular, 4, 0),
            (Oddity::Reversed, 5, 10),
        ];
        assert_eq!(shown(&spans), (vec!["root 0-100(back 50-50)".into()], odd));
    }

    #[test]
    fn another_process_clock_is_set_by_the_least_that_puts_its_spans_inside() {
        const OFF: u64 = 50_000_000;
        let theirs = |from: u64| {
            let there: Vec<Made> =
                vec![("serve", 3, 2, from, from + 60), ("work", 4, 3, from + 10, from + 30)];
            let mut spans = made(&[("root", 1, 0, OFF, OFF + 100), ("call", 2, 1, OFF + 10, OFF + 90)]);
            spans.extend(made_by("other", &there));
            spans
        };
        let shown = |from| {
            let (requests, odd) = shown(&theirs(from));
            (requests[0].replace(&OFF.to_string()[..5], "T"), odd)
        };
        let of = |text: &str| format!("root T000-T100(call T010-T090({text}))");
        // Inside already, early by 50 ms, late by 50 ms.
        let (inside, odd) = shown(OFF + 15);
        assert_eq!((inside, odd), (of("serve (other) T015-T075(work (other) T025-T045)"), vec![]));
        let (early, odd) = shown(10);
        assert_eq!(early, of("serve (other) T010-T070(work (other) T020-T040)"));
        assert_eq!(odd, [(Oddity::Skewed, 1, OFF)]);
        let (late, odd) = shown(2 * OFF + 30);
        assert_eq!(late, of("serve (other) T030-T090(work (other) T040-T060)"));
        assert_eq!(odd, [(Oddity::Skewed, 1, OFF)]);
    }

    #[test]
    fn one_of_another_process_that_is_longer_than_its_parent_begins_in_it_and_one_of_the_same_outlives() {
        let called = |serve: [u64; 2]| {
            let mut spans =
                made(&[("root", 1, 0, 0, 900), ("call", 2, 1, 100, 300), ("later", 3, 1, 800, 930)]);
            spans.extend(made_by(
                "other",
                &[("serve", 4, 2, serve[0], serve[1]), ("work", 5, 4, serve[0] + 7, serve[1])],
            ));
            let (shown, odd) = shown(&spans);
            assert_eq!(odd[1..], [(Oddity::Outliving, 3, 30)]);
            (shown[0].clone(), odd[0])
        };
        let of = |serve: &str, work: &str, over| {
            let text =
                format!("root 0-900(call 100-300(serve (other) {serve}(work (other) {work})) later 800-930)");
            (text, (Oddity::Overlong, 1, over))
        };
        // Its client gave up; it began before its client; it began when its client had gone.
        assert_eq!(called([110, 610]), of("110-610", "117-610", 300));
        assert_eq!(called([50, 550]), of("100-600", "107-600", 300));
        assert_eq!(called([400, 900]), of("400-900", "407-900", 300));
        // Longer by no more than a hundredth: as one that isn't.
        assert_eq!(called([310, 512]), of("100-302", "107-302", 2));
        assert_eq!(called([310, 513]), of("310-513", "317-513", 3));
    }

    #[test]
    fn a_clock_that_was_moved_moves_no_other() {
        const OFF: u64 = 50_000_000;
        // The root's process and the third have right clocks, the second's is late by 50 ms. The second asks the third, which asks
        // either of the others back.
        let asked = |kinds: [SpanKind; 2], [from, to]: [u64; 2]| {
            let (right, late) = (|at: u64| OFF + at, |at: u64| 2 * OFF + at);
            let mut spans =
                made(&[("root", 1, 0, right(0), right(990)), ("call", 2, 1, right(10), right(900))]);
            let second = [("serve", 3, 2, late(30), late(830)), ("ask", 4, 3, late(40), late(800))];
            spans.extend(made_by("second", &second));
            spans.extend(made_by("third", &[("deep", 5, 4, right(from), right(to))]));
            spans.extend(made(&[("back", 6, 5, right(from + 10), right(from + 20))]));
            spans.extend(made_by("second", &[("again", 7, 5, late(from + 30), late(from + 40))]));
            spans[5].process = spans[0].process.clone();
            spans[6].process = spans[2].process.clone();
            (spans[3].span.kind, spans[4].span.kind) = (kinds[0].into(), kinds[1].into());
            let (requests, odd) = shown(&spans);
            (requests[0].replace(&OFF.to_string()[..5], "T"), odd)
        };
        // The least that puts the second's first span inside is 70 ns less than its clock is late by.
        let of = |deep: &str| {
            format!(
                "root T000-T990(call T010-T900(serve (second) T100-T900(ask (second) T110-T870({deep}))))"
            )
        };
        let skewed = (Oddity::Skewed, 1, OFF - 70);
        let deep = "deep (third) T200-T400(back T210-T220 again (second) T300-T310)";
        assert_eq!(asked([SpanKind::Client, SpanKind::Server], [200, 400]), (of(deep), vec![skewed]));
        // Nobody waited for it.
        let deep = "deep (third) T880-T990(back T890-T900 again (second) T980-T990)";
        let odd = vec![skewed, (Oddity::Outliving, 1, 120)];
        assert_eq!(asked([SpanKind::Producer, SpanKind::Consumer], [880, 990]), (of(deep), odd));
    }

    #[test]
    fn what_got_a_message_may_be_long_after_it_was_sent_but_not_before() {
        let got = |from: u64, kinds: [SpanKind; 2]| {
            let mut spans = made(&[("root", 1, 0, 10, 100), ("send", 2, 1, 20, 30)]);
            spans.extend(made_by(
                "other",
                &[("process", 3, 2, from, from + 50), ("work", 4, 3, from + 10, from + 60)],
            ));
            (spans[1].span.kind, spans[2].span.kind) = (kinds[0].into(), kinds[1].into());
            shown(&spans)
        };
        let of = |other: &str| vec![format!("root 10-100(send 20-30({other}))")];
        for kinds in [
            [SpanKind::Producer, SpanKind::Consumer],
            [SpanKind::Producer, SpanKind::Internal],
            [SpanKind::Internal, SpanKind::Consumer],
        ] {
            let late = of("process (other) 1000-1050(work (other) 1010-1060)");
            let odd = vec![(Oddity::Outliving, 1, 1020), (Oddity::Outliving, 2, 10)];
            assert_eq!(got(1000, kinds), (late, odd));
            let early = of("process (other) 20-70(work (other) 30-80)");
            let odd = vec![(Oddity::Skewed, 1, 15), (Oddity::Outliving, 1, 40), (Oddity::Outliving, 2, 10)];
            assert_eq!(got(5, kinds), (early, odd));
        }
    }

    #[test]
    fn a_span_that_began_after_its_wait_begins_with_it_where_its_parent_had_begun() {
        let waited = |ns| {
            let spans = [("root", 1, 0, 100, 200), ("a", 2, 1, 110, 120), ("run", 3, 1, 150, 190)];
            let mut spans = made(&[spans.as_slice(), &[("in", 4, 3, 155, 160)]].concat());
            let says = vec![attribute(WAIT, Value::IntValue(ns))];
            // What was waited before the request is no part of it, and before the parent none of a child.
            [0, 2, 3].into_iter().for_each(|at| spans[at].span.attributes.clone_from(&says));
            shown(&spans)
        };
        let of = |run: &str| vec![format!("root 100-200(a 110-120 {run})")];
        assert_eq!(waited(0), (of("run 150-190(in 155-160)"), vec![]));
        assert_eq!(waited(5), (of("run 145-190(in 150-160)"), vec![]));
        assert_eq!(
            waited(50),
            (vec!["root 100-200(run 100-190(in 150-160) a 110-120)".into()], vec![(Oddity::Crowded, 4, 45)])
        );
        let odd = vec![(Oddity::Crowded, 3, 1), (Oddity::Crowded, 4, 46)];
        assert_eq!(waited(51), (vec!["root 100-200(run 100-190(in 150-160) a 110-120)".into()], odd));
    }

    #[test]
    fn one_of_the_same_process_that_begins_before_its_parent_is_told() {
        let spans = made(&[("root", 1, 0, 10, 100), ("early", 2, 1, 7, 50)]);
        assert_eq!(shown(&spans), (vec!["root 10-100(early 7-50)".into()], vec![(Oddity::Early, 2, 3)]));
    }

    #[test]
    fn clocks_may_be_as_far_apart_as_times_can_be() {
        const END: u64 = u64::MAX;
        let mut spans = made(&[("root", 1, 0, 0, 100)]);
        spans.extend(made_by("other", &[("serve", 2, 1, END - 60, END), ("work", 3, 2, 10, 30)]));
        spans.extend(made_by("third", &[("deep", 4, 3, END - 5, END)]));
        let (requests, odd) = shown(&spans);
        assert!(requests[0].starts_with("root 0-100(serve (other) 40-100(work (other) 0-0("), "{requests:?}");
        assert_eq!(odd[0], (Oddity::Skewed, 1, END - 100));
    }

    #[test]
    fn a_chain_of_thousands_needs_no_stack() {
        let chain: Vec<Made> = (1..=4000).map(|id| ("link", id, id - 1, u64::from(id), 10_000)).collect();
        assert_eq!(Grown::of(&made(&chain)).requests[0].nodes.len(), 4000);
    }
}
