//! An operation's mean request on both sides, span below span: width is time on the critical path, colour is the difference.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::traces::model::{Operation, Row};
use crate::traces::text::micros;

/// Below this share of the wider side a span has no room of its own, in per cent.
const LEAST: f64 = 0.2;

/// Both sides in the same scale.
#[derive(Debug, Serialize, PartialEq)]
pub struct Icicle {
    /// Boxes of each side.
    sides: [Vec<Rect>; 2],
    /// Of the deepest box, from 1.
    depth: usize,
    /// What the whole width is, in µs.
    width_us: String,
}

/// A span, or a wait in one.
#[derive(Debug, Serialize, PartialEq)]
struct Rect {
    name: String,
    /// For whoever points at it.
    told: String,
    depth: usize,
    /// In per cent of the wider side.
    left: f64,
    width: f64,
    /// By how much this side is slower here (faster where negative), in per cent of the larger difference of all.
    more: f64,
}

/// Time of a place with all below it, in ns.
#[derive(Debug, Default)]
struct Place {
    own: [f64; 2],
    all: [f64; 2],
    /// As they begin.
    below: Vec<usize>,
    name: String,
    path: Vec<String>,
}

/// Of an operation's rows.
pub fn icicle(operation: &Operation) -> Icicle {
    let places = places(&operation.rows);
    let widest = operation.whole.critical_ns.into_iter().fold(1.0, f64::max);
    let most = places.iter().skip(1).map(|place| (place.all[1] - place.all[0]).abs()).fold(1.0, f64::max);
    let sides = [0, 1].map(|side| boxes(&places, side, widest, most));
    let depth = sides.iter().flatten().map(|one| one.depth + 1).max().unwrap_or(1);
    Icicle { sides, depth, width_us: micros(widest) }
}

/// As a tree, siblings as they begin; waits hang below their span.
fn places(rows: &[Row]) -> Vec<Place> {
    let mut rows: Vec<_> = rows.iter().collect();
    // A span is before its waits and before what is below it.
    rows.sort_by_key(|row| (row.order, row.wait.is_some()));
    let mut places: Vec<Place> = Vec::new();
    let mut at: BTreeMap<&[String], usize> = BTreeMap::new();
    for row in rows {
        let own = row.critical_ns;
        let (parent, name) = match (&row.wait, row.path.as_slice()) {
            (Some(key), path) => (path, format!("waited, by {key}")),
            (None, path) => (&path[..path.len().saturating_sub(1)], path.last().cloned().unwrap_or_default()),
        };
        if let Some(parent) = at.get(parent).copied() {
            let next = places.len();
            places[parent].below.push(next);
        }
        if row.wait.is_none() {
            at.insert(&row.path, places.len());
        }
        let path = parent.iter().cloned().chain([name.clone()]).collect();
        places.push(Place { own, all: own, below: Vec::new(), name, path });
    }
    for index in (0..places.len()).rev() {
        let below = places[index].below.clone();
        for child in below {
            let all = places[child].all;
            (places[index].all[0], places[index].all[1]) =
                (places[index].all[0] + all[0], places[index].all[1] + all[1]);
        }
    }
    places
}

fn boxes(places: &[Place], side: usize, widest: f64, most: f64) -> Vec<Rect> {
    let mut boxes = Vec::new();
    let mut left = if places.is_empty() { Vec::new() } else { vec![(0, 0.0)] };
    while let Some((index, begin)) = left.pop() {
        let place = &places[index];
        let width = place.all[side] / widest * 100.0;
        if width < LEAST {
            continue;
        }
        let more = (place.all[side] - place.all[1 - side]) / most * 100.0;
        boxes.push(Rect {
            name: place.name.clone(),
            told: format!(
                "{}: {} µs, its own {} µs; the other side {} µs",
                place.path.join(" › "),
                micros(place.all[side]),
                micros(place.own[side]),
                micros(place.all[1 - side])
            ),
            depth: place.path.len() - 1,
            left: begin,
            width,
            more: more.clamp(-100.0, 100.0),
        });
        let mut next = begin;
        for child in &place.below {
            left.push((*child, next));
            next += places[*child].all[side] / widest * 100.0;
        }
    }
    boxes
}
