//! The first look at a side: whose requests there are, from when to when, and what is odd.

use std::collections::BTreeMap;

use anyhow::bail;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::oddity::Oddity;
use super::requests::{SPANS_MAX, traces};
use super::shape::attributes;
use super::spill::{BUCKETS, Found, Spill};
use super::tree::{Grown, Tree};
use super::trouble::Place;
use super::waits::Wait;

/// What a side has to compare.
#[derive(Debug)]
pub struct Surveyed {
    /// Whose requests.
    pub service: String,
    /// Of any service.
    pub traces: u64,
    /// The service's.
    pub requests: u64,
    /// When the first and the last of them began, in ns of the Unix epoch.
    pub began: [u64; 2],
}

/// Requests of one service.
struct Service {
    requests: u64,
    began: [u64; 2],
    first: Place,
}

/// Looks at all of a side. `service`: whose requests to compare; else that with the most. `label` names the side; `named` hears
/// of each span.
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
        let spans = spill.bucket(index)?;
        spans.iter().for_each(|found| named(&found.span));
        for trace in traces(&spans) {
            count += 1;
            look(spill, trace, waits, &mut services);
        }
    }
    let known: Vec<_> = services.keys().map(|name| format!("`{name}`")).collect();
    let chosen = match service {
        Some(name) => services.remove_entry(name),
        None => {
            let most =
                services.iter().max_by_key(|(_, service)| service.requests).map(|(name, _)| name.clone());
            most.and_then(|name| services.remove_entry(&name))
        }
    };
    let Some((name, Service { requests, began, .. })) = chosen else {
        let troubles: Vec<_> = spill.troubles.list().iter().map(ToString::to_string).collect();
        let more = if troubles.is_empty() { String::new() } else { format!("; {}", troubles.join("; ")) };
        match (service, known.is_empty()) {
            (Some(service), false) => {
                bail!("{label}: no request of `{service}`, there are those of {}{more}", known.join(", "))
            }
            _ => bail!("{label}: there is no request in it{more}"),
        }
    };
    for (name, other) in services {
        let what = "has requests of another service than the one that is compared: left out";
        (0..other.requests).for_each(|_| spill.troubles.add(other.first, what, format!("`{name}`")));
    }
    Ok(Surveyed { service: name, traces: count, requests, began })
}

fn look(spill: &mut Spill, trace: &[Found], waits: &[Wait], services: &mut BTreeMap<String, Service>) {
    if trace.len() > SPANS_MAX {
        let what = "has a trace of more spans than are compared: left out";
        let id = hex::encode(&trace[0].span.trace_id);
        spill.troubles.add(trace[0].place, what, format!("{} in {id}, at most {SPANS_MAX}", trace.len()));
        return;
    }
    let Grown { requests, oddities } = Grown::new(trace, waits);
    for (oddity, place, ns) in oddities {
        match oddity {
            Oddity::Orphan | Oddity::Doubled | Oddity::Circular => {
                spill.troubles.add(place, oddity.said(), "")
            }
            Oddity::Reversed
            | Oddity::Skewed
            | Oddity::Overlong
            | Oddity::Outliving
            | Oddity::Early
            | Oddity::Crowded => {
                spill.troubles.add_time(place, oddity.said(), ns);
            }
        }
    }
    for request in requests {
        let root = &request.nodes[0];
        let name = &root.found.process.service;
        let (at, place) = (root.start, root.found.place);
        let begin = || Service { requests: 0, began: [at, at], first: place };
        let service = services.entry(name.clone()).or_insert_with(begin);
        service.requests += 1;
        service.began = [service.began[0].min(at), service.began[1].max(at)];
        service.first = service.first.min(place);
    }
}

/// The same requests, to be paired by an attribute of their first span. Those without it are left out and told.
pub fn by_attribute(mut spill: Spill, service: &str, key: &str) -> anyhow::Result<Spill> {
    let mut keyed = spill.rekeyed()?;
    for index in 0..BUCKETS {
        let spans = spill.bucket(index)?;
        for trace in traces(&spans).filter(|trace| trace.len() <= SPANS_MAX) {
            for request in Grown::new(trace, &[]).requests {
                let root = request.nodes[0].found;
                if root.process.service != service {
                    continue;
                }
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
    keyed.troubles = spill.troubles;
    Ok(keyed)
}

fn write(keyed: &mut Spill, request: &Tree<'_>, value: &str) -> anyhow::Result<()> {
    request.nodes.iter().try_for_each(|node| keyed.add_keyed(node.found, value.as_bytes()))
}
