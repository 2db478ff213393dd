//! The first look at a side: whose requests there are, from when to when, and what is odd.

use std::collections::BTreeMap;

use anyhow::bail;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::begins::Begins;
use super::links::{Links, Whose};
use super::requests::traces;
use super::shape::attributes;
use super::spill::{BUCKETS, Bucket, Found, KEYED_MAX, SPANS_MAX, Spill};
use super::tree::{Grown, Tree};
use super::waits::Wait;

/// Of requests that are paired by an attribute: one value of it has more spans than can be compared.
pub const MANY: &str =
    "has requests that one value of the attribute pairs, of more spans than are compared: left out";

/// What a side has to compare.
#[derive(Debug)]
pub struct Surveyed {
    /// Whose requests.
    pub whose: Whose,
    /// Of any service.
    pub traces: u64,
    /// When each of the service's began.
    pub began: Begins,
}

/// How often a service's requests begin, and how.
#[derive(Default)]
struct Service {
    /// Served, and nothing above them is.
    served: u64,
    /// Below nothing.
    tops: u64,
    /// At a span of which nothing says whether its parent was another service's.
    unsure: u64,
    /// All but those.
    sure: u64,
}

/// Looks at all of a side. `service`: whose requests to compare; else that which serves the most that nobody else serves,
/// before one that asks. `label` names the side; `named` hears of each span.
pub fn survey(
    spill: &mut Spill,
    service: Option<&str>,
    label: &str,
    waits: &[Wait],
    named: &mut dyn FnMut(&Span),
) -> anyhow::Result<Surveyed> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    let mut count = 0;
    for index in 0..BUCKETS {
        let Bucket { spans, long } = spill.bucket(index)?;
        for (id, trace) in &long {
            let what = "has a trace of more spans than are compared: left out";
            let detail = format!("{} in {}, at most {SPANS_MAX}", trace.spans, hex::encode(id));
            spill.troubles.add(trace.first, what, detail);
        }
        count += long.len() as u64;
        spans.iter().for_each(|found| named(&found.span));
        for trace in traces(&spans) {
            count += 1;
            meet(trace, &mut services);
        }
    }
    let known: Vec<_> = services.keys().map(|name| format!("`{name}`")).collect();
    let most = |service: &Service| (service.served, service.tops, service.unsure, service.sure);
    let chosen = match service {
        Some(name) => services.remove_entry(name),
        None => {
            let most = services.iter().max_by_key(|(_, service)| most(service)).map(|(name, _)| name.clone());
            most.and_then(|name| services.remove_entry(&name))
        }
    };
    // Where nobody has any, what is odd may say why.
    let chosen = chosen.or_else(|| known.is_empty().then(Default::default));
    if let Some((service, found)) = chosen {
        let whose = Whose { service, unsure: found.sure == 0 };
        let mut surveyed = Surveyed { whose, traces: count, began: Begins::none() };
        for index in 0..BUCKETS {
            let spans = spill.bucket(index)?.spans;
            traces(&spans).for_each(|trace| look(spill, trace, waits, &mut surveyed));
        }
        if surveyed.began.count() > 0 {
            return Ok(surveyed);
        }
    }
    let troubles: Vec<_> = spill.troubles.list().iter().map(ToString::to_string).collect();
    let more = if troubles.is_empty() { String::new() } else { format!("; {}", troubles.join("; ")) };
    match (service, known.is_empty()) {
        (Some(service), false) => {
            bail!("{label}: no request of `{service}`, there are those of {}{more}", known.join(", "))
        }
        _ => bail!("{label}: there is no request in it{more}"),
    }
}

/// Who has requests in a trace.
fn meet(trace: &[Found], services: &mut BTreeMap<String, Service>) {
    for entry in Links::of(trace).entries() {
        let name = &entry.found.process.service;
        if !services.contains_key(name) {
            services.insert(name.clone(), Service::default());
        }
        let Some(service) = services.get_mut(name) else { continue };
        service.served += u64::from(entry.served);
        service.tops += u64::from(entry.top && !entry.unsure);
        service.unsure += u64::from(entry.unsure);
        service.sure += u64::from(!entry.unsure);
    }
}

/// What a trace has of the service, and what is odd in it.
fn look(spill: &mut Spill, trace: &[Found], waits: &[Wait], surveyed: &mut Surveyed) {
    let Grown { requests, oddities } = Grown::new(trace, &surveyed.whose, waits);
    for (oddity, place, ns) in oddities {
        if oddity.lasts() {
            spill.troubles.add_time(place, oddity.said(), ns);
        } else {
            spill.troubles.add(place, oddity.said(), "");
        }
    }
    if requests.is_empty() {
        let what = "has requests of another service than the one that is compared: left out";
        for entry in Links::of(trace).entries().into_iter().filter(|entry| entry.top && !entry.unsure) {
            let name = &entry.found.process.service;
            spill.troubles.add(entry.found.place, what, format!("`{name}`"));
        }
    }
    for request in requests {
        surveyed.began.add(request.nodes[0].start);
    }
}

/// The same requests, to be paired by an attribute of their first span. Those without it are left out and told.
pub fn by_attribute(mut spill: Spill, whose: &Whose, key: &str) -> anyhow::Result<Spill> {
    let mut keyed = spill.rekeyed()?;
    for index in 0..BUCKETS {
        let spans = spill.bucket(index)?.spans;
        for trace in traces(&spans) {
            for request in Grown::new(trace, whose, &[]).requests {
                let root = request.nodes[0].found;
                match attributes(&root.span.attributes).get(key) {
                    Some(value) => write(&mut keyed, &request, value)?,
                    None => {
                        let what = "has a request without the attribute that pairs: left out";
                        spill.troubles.add(root.place, what, format!("`{}`", root.span.name));
                    }
                }
            }
        }
    }
    for index in 0..BUCKETS {
        for (value, of) in keyed.bucket(index)?.long {
            let detail =
                format!("{} with {}, at most {KEYED_MAX}", of.spans, String::from_utf8_lossy(&value));
            spill.troubles.add(of.first, MANY, detail);
        }
    }
    keyed.troubles = spill.troubles;
    Ok(keyed)
}

/// A request without what is above it.
fn write(keyed: &mut Spill, request: &Tree<'_>, value: &str) -> anyhow::Result<()> {
    let mut root = request.nodes[0].found.clone();
    root.span.parent_span_id.clear();
    let below = request.nodes[1..].iter().map(|node| node.found);
    [&root].into_iter().chain(below).try_for_each(|found| keyed.add_keyed(found, value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::{attribute, made, whose};
    use crate::traces::trouble::Place;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    #[test]
    fn a_value_that_would_pair_more_than_is_in_memory_at_once_is_told_and_pairs_nothing() {
        let mut spans = Vec::new();
        for index in 0..=KEYED_MAX as u64 + 1 {
            let Found { mut span, .. } = made(&[("pay", 1, 0, 10, 20)]).remove(0);
            span.trace_id = u128::from(index + 1).to_be_bytes().to_vec();
            let value = if index < 2 { "rare" } else { "often" };
            span.attributes = vec![attribute("k", Value::StringValue(value.into()))];
            spans.push(span);
        }
        // One more is one too many.
        spans.push(Span { trace_id: vec![9; 16], ..spans[2].clone() });
        let mut spill = Spill::new(vec!["a.jsonl".into()]).unwrap();
        let service = attribute("service.name", Value::StringValue(whose().service));
        let resource = Resource { attributes: vec![service], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let sent = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        spill.add(Place { file: 0, line: 5 }, sent).unwrap();
        let mut keyed = by_attribute(spill, &whose(), "k").unwrap();
        let held: usize = (0..BUCKETS).map(|index| keyed.bucket(index).unwrap().spans.len()).sum();
        assert_eq!(held, 2);
        let told: Vec<_> = keyed.troubles.list().iter().map(ToString::to_string).collect();
        assert_eq!(told, [format!("a.jsonl:5: {MANY} (65537 with \"often\", at most 65536)")]);
    }
}
