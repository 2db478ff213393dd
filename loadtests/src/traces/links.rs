//! What hangs where in a trace, and where requests come in: at a service's spans whose parent isn't there or is another
//! service's.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags};

use super::oddity::{Odd, Oddity};
use super::spill::Found;

/// Whose requests are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// By its name.
    pub service: String,
    /// Whether one begins with a span of which nothing says whether its parent, which isn't there, was another's: where the
    /// service has no others.
    pub unsure: bool,
}

/// What a span is whose parent isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Top {
    /// It has none, or one in another process.
    Begin,
    /// Nothing says which.
    Unsure,
    /// It has lost it.
    Lost(Oddity),
}

/// Where a request of a service may begin.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its span.
    pub found: &'a Found,
    /// Whether its parent isn't there.
    pub top: bool,
    /// Whether that parent may have been of the same process.
    pub unsure: bool,
    /// Whether it is served, and nothing above it is.
    pub served: bool,
}

type ById<'a> = BTreeMap<&'a [u8], &'a Found>;

/// The spans of one trace below their parents.
#[derive(Debug, Default)]
pub struct Links<'a> {
    below: BTreeMap<&'a [u8], Vec<&'a Found>>,
    /// Those whose parent isn't there, by their begin.
    tops: Vec<(&'a Found, Top)>,
    odd: Vec<Odd>,
}

impl<'a> Links<'a> {
    /// Of spans in any order.
    pub fn of(spans: &'a [Found]) -> Self {
        let mut links = Self::default();
        let by_id = links.by_id(spans);
        for found in by_id.values() {
            let parent = found.span.parent_span_id.as_slice();
            match by_id.contains_key(parent) {
                true => links.below.entry(parent).or_default().push(*found),
                false => links.tops.push((*found, top(&found.span))),
            }
        }
        links.tops.sort_by_key(|(found, _)| order(found));
        links.below.values_mut().for_each(|children| children.sort_by_key(|found| order(found)));
        let mut seen = BTreeSet::new();
        let mut left: Vec<_> = links.tops.iter().map(|(found, _)| *found).collect();
        while let Some(found) = left.pop() {
            seen.insert(found.span.span_id.as_slice());
            left.extend(links.below(found));
        }
        let lost = by_id.values().filter(|found| !seen.contains(found.span.span_id.as_slice()));
        links.odd.extend(lost.map(|found| (Oddity::Circular, found.place, 0)));
        links
    }

    fn by_id(&mut self, spans: &'a [Found]) -> ById<'a> {
        let mut by_id = ById::new();
        for found in spans {
            if by_id.contains_key(found.span.span_id.as_slice()) {
                self.odd.push((Oddity::Doubled, found.place, 0));
            } else {
                by_id.insert(&found.span.span_id, found);
            }
        }
        by_id
    }

    /// A span's children by their begin.
    pub fn below(&self, found: &Found) -> impl Iterator<Item = &'a Found> {
        self.below.get(found.span.span_id.as_slice()).into_iter().flatten().copied()
    }

    /// Where requests of any service may begin.
    pub fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        for (found, top) in self.tops.iter().filter(|(_, top)| !matches!(top, Top::Lost(_))) {
            let served = serves(&found.span);
            entries.push(Entry { found, top: true, unsure: *top == Top::Unsure, served });
        }
        // With whether anything above is served.
        let mut left: Vec<_> = self.tops.iter().map(|(found, _)| (*found, false)).collect();
        while let Some((parent, above)) = left.pop() {
            let above = above || serves(&parent.span);
            for found in self.below(parent) {
                if found.process.service != parent.process.service {
                    let served = !above && serves(&found.span);
                    entries.push(Entry { found, top: false, unsure: false, served });
                }
                left.push((found, above));
            }
        }
        entries
    }

    /// The first spans of a service's requests by their begin, with what is odd. What it is asked while it is asked for
    /// another, by way of another service, is a part of that one.
    pub fn roots(&self, whose: &Whose) -> (Vec<&'a Found>, Vec<Odd>) {
        let (mut roots, mut odd) = (Vec::new(), self.odd.clone());
        for (found, top) in &self.tops {
            let own = found.process.service == whose.service;
            match top {
                Top::Begin if own => roots.push(*found),
                Top::Unsure if own && whose.unsure => {
                    odd.push((Oddity::Unsure, found.place, 0));
                    roots.push(*found);
                }
                Top::Unsure | Top::Lost(_) if own => odd.push((top.lost(), found.place, 0)),
                Top::Begin | Top::Unsure | Top::Lost(_) => {
                    let known = roots.len();
                    self.inside(found, whose, &mut roots);
                    if *top != Top::Begin && roots.len() == known {
                        odd.push((top.lost(), found.place, 0));
                    }
                }
            }
        }
        roots.sort_by_key(|found| order(found));
        (roots, odd)
    }

    /// The first ones of a service below another's span.
    fn inside(&self, top: &'a Found, whose: &Whose, roots: &mut Vec<&'a Found>) {
        let mut left = vec![top];
        while let Some(parent) = left.pop() {
            for found in self.below(parent) {
                let own = found.process.service == whose.service;
                (if own { &mut *roots } else { &mut left }).push(found);
            }
        }
    }
}

impl Top {
    fn lost(self) -> Oddity {
        match self {
            Self::Lost(oddity) => oddity,
            Self::Begin | Self::Unsure => Oddity::Parentless,
        }
    }
}

fn order(found: &Found) -> (u64, Vec<u8>) {
    (found.span.start_time_unix_nano, found.span.span_id.clone())
}

fn serves(span: &Span) -> bool {
    matches!(span.kind(), SpanKind::Server | SpanKind::Consumer)
}

/// Where the sender doesn't say whether the parent is another process' (an older SDK), the span's kind does: what is served
/// is asked by another, a call is made in some span of the same.
fn top(span: &Span) -> Top {
    let told = |flag: SpanFlags| span.flags & flag as u32 != 0;
    if span.parent_span_id.iter().all(|byte| *byte == 0) {
        return Top::Begin;
    }
    if told(SpanFlags::ContextHasIsRemoteMask) {
        let remote = told(SpanFlags::ContextIsRemoteMask);
        return if remote { Top::Begin } else { Top::Lost(Oddity::Orphan) };
    }
    match span.kind() {
        SpanKind::Server | SpanKind::Consumer => Top::Begin,
        SpanKind::Internal | SpanKind::Unspecified => Top::Unsure,
        SpanKind::Client | SpanKind::Producer => Top::Lost(Oddity::Parentless),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::made_by;

    fn whose(service: &str, unsure: bool) -> Whose {
        Whose { service: service.into(), unsure }
    }

    fn served(mut spans: Vec<Found>) -> Vec<Found> {
        spans.iter_mut().for_each(|found| found.span.set_kind(SpanKind::Server));
        spans
    }

    /// A generator's two calls of a shop, which asks twice who that is; one of these asks the shop.
    fn called() -> Vec<Found> {
        let mut spans = made_by("k6", &[("visit", 1, 0, 0, 100)]);
        spans.extend(served(made_by("shop", &[("buy", 2, 1, 10, 40), ("look", 3, 1, 50, 90)])));
        spans.extend(made_by("shop", &[("ask", 4, 2, 12, 18), ("ask", 5, 2, 20, 30)]));
        spans.extend(served(made_by("auth", &[("who", 6, 4, 13, 17), ("who", 7, 5, 21, 29)])));
        spans.extend(served(made_by("shop", &[("keys", 8, 7, 22, 28)])));
        spans
    }

    fn roots(spans: &[Found], whose: &Whose) -> (Vec<String>, Vec<(Oddity, u64)>) {
        let (roots, odd) = Links::of(spans).roots(whose);
        let names = roots.into_iter().map(|found| found.span.name.clone()).collect();
        (names, odd.into_iter().map(|(what, place, _)| (what, place.line)).collect())
    }

    #[test]
    fn a_service_has_the_requests_that_come_in_from_others() {
        let spans = called();
        for (service, wanted) in [
            ("k6", vec!["visit"]),
            ("shop", vec!["buy", "look"]),
            ("auth", vec!["who", "who"]),
            ("other", vec![]),
        ] {
            let (found, odd) = roots(&spans, &whose(service, false));
            assert_eq!((found, odd), (wanted.into_iter().map(str::to_owned).collect(), vec![]), "{service}");
        }
    }

    #[test]
    fn what_is_served_at_first_is_known() {
        let spans = called();
        let mut found: Vec<_> = Links::of(&spans)
            .entries()
            .into_iter()
            .map(|entry| (entry.found.span.name.as_str(), entry.top, entry.served))
            .collect();
        found.sort();
        let wanted = [
            ("buy", false, true),
            ("keys", false, false),
            ("look", false, true),
            ("visit", true, false),
            ("who", false, false),
            ("who", false, false),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn one_that_has_lost_its_parent_is_a_request_where_nothing_says_that_it_isnt_and_the_service_has_no_other()
     {
        let spans = |kind, flags| {
            let mut spans = made_by("shop", &[("job", 1, 9, 0, 100), ("in", 2, 1, 10, 20)]);
            spans[0].span.set_kind(kind);
            spans[0].span.flags = flags;
            spans
        };
        let has = SpanFlags::ContextHasIsRemoteMask as u32;
        let remote = has | SpanFlags::ContextIsRemoteMask as u32;
        for (kind, flags, unsure, request, odd) in [
            (SpanKind::Internal, 0, true, true, Some(Oddity::Unsure)),
            (SpanKind::Unspecified, 0, true, true, Some(Oddity::Unsure)),
            (SpanKind::Internal, 0, false, false, Some(Oddity::Parentless)),
            (SpanKind::Client, 0, true, false, Some(Oddity::Parentless)),
            (SpanKind::Internal, has, true, false, Some(Oddity::Orphan)),
            (SpanKind::Internal, remote, false, true, None),
            (SpanKind::Server, 0, false, true, None),
        ] {
            let wanted: Vec<String> = request.then(|| "job".to_owned()).into_iter().collect();
            let odd = odd.map(|what| (what, 1)).into_iter().collect();
            assert_eq!(roots(&spans(kind, flags), &whose("shop", unsure)), (wanted, odd), "{kind:?} {flags}");
        }
    }

    #[test]
    fn what_is_above_a_request_may_be_lost_and_what_is_in_a_circle_is_none() {
        let lost = |service| {
            let mut spans = made_by(service, &[("visit", 1, 9, 0, 100)]);
            spans.extend(served(made_by("shop", &[("buy", 2, 1, 10, 40)])));
            roots(&spans, &whose("shop", false))
        };
        assert_eq!(lost("k6"), (vec!["buy".to_owned()], vec![]));
        assert_eq!(lost("shop"), (vec![], vec![(Oddity::Parentless, 1)]));
        let mut circle = made_by("k6", &[("x", 1, 2, 0, 100)]);
        circle.extend(served(made_by("shop", &[("y", 2, 1, 10, 40)])));
        let odd = vec![(Oddity::Circular, 1), (Oddity::Circular, 1)];
        assert_eq!(roots(&circle, &whose("shop", false)), (vec![], odd));
    }
}
