//! What is summed up over the requests of one operation: for each place in its tree, what it adds to the time of the whole.
//!
//! The critical path divides each request's duration among its spans, so the places' mean differences sum to the mean
//! difference of the whole. Blocks are windows of time, as the slices of a comparison are: requests of one moment share a
//! queue and a neighbour's burst, and aren't independent. What is kept grows with places and blocks, not with requests.

use std::collections::{BTreeMap, HashMap};
use std::iter::Sum;

use super::counts::Counts;
use super::model::{Row, Times};
use super::path::times;
use super::tree::Tree;
use super::waits::{Wait, split, told};
use crate::histogram::Sparse;
use crate::stats::{
    Bootstrap, Means, PAIRS_MIN, Resamples, SAMPLES_BEYOND, Sample, Summed, resamples, rounded,
};

/// As many as give an interval, and few enough to hold many requests each.
pub const BLOCKS: usize = 24;
/// Places of an operation that are told apart, so that names with ids in them don't fill the memory.
const PLACES_MAX: usize = 200;
/// Of names from the operation down.
const DEPTH_MAX: usize = 64;
/// What is beyond either limit, together, where it hangs.
const OTHERS: &str = "(other spans)";
const PERCENTILES: [f64; 3] = [50.0, 90.0, 99.0];

/// What a place took in one request, in ns.
#[derive(Debug, Clone, Copy, Default)]
struct Took {
    spans: u64,
    own: u64,
    critical: u64,
}

/// What a place took in all requests of a side in one block.
#[derive(Debug, Clone, Default)]
struct Cell {
    spans: u64,
    requests: u64,
    /// Too wide for any number of the longest times to exceed it.
    critical: u128,
    own: Counts,
}

impl Cell {
    fn add(&mut self, took: Took) {
        self.spans += took.spans;
        self.requests += 1;
        self.critical += u128::from(took.critical);
        self.own.add(took.own);
    }
}

/// A place in all requests: cells by block and side, made when there is something in them.
#[derive(Debug)]
struct Cells(Vec<[Option<Box<Cell>>; 2]>);

impl Cells {
    fn new() -> Self {
        Self((0..BLOCKS).map(|_| [None, None]).collect())
    }

    fn add(&mut self, block: usize, side: usize, took: Took) {
        self.0[block][side].get_or_insert_default().add(took);
    }

    fn sum<T: Sum>(&self, side: usize, of: fn(&Cell) -> T) -> T {
        self.0.iter().filter_map(|sides| sides[side].as_deref()).map(of).sum()
    }
}

/// A span's name below its parent's place.
#[derive(Debug)]
struct Place {
    path: Vec<String>,
    below: HashMap<String, usize>,
    /// What is no wait; then each wait that was told, by its number.
    parts: BTreeMap<Option<usize>, Cells>,
}

impl Place {
    fn new(path: Vec<String>) -> Self {
        Self { path, below: HashMap::new(), parts: BTreeMap::new() }
    }
}

/// An operation over all requests.
#[derive(Debug)]
pub struct Sums {
    whole: Cells,
    /// The first is the operation itself.
    places: Vec<Place>,
}

/// A place and which part of its time: in the order of [`Sums::rows`] before it is sorted.
pub type Part = (usize, Option<usize>);

impl Sums {
    /// Of an operation without any request.
    pub fn new(name: String) -> Self {
        Self { whole: Cells::new(), places: vec![Place::new(vec![name])] }
    }

    /// One request.
    pub fn add(&mut self, side: usize, block: usize, tree: &Tree<'_>, waits: &[Wait]) {
        let duration = tree.nodes[0].duration();
        self.whole.add(
            block,
            side,
            Took { spans: tree.nodes.len() as u64, own: duration, critical: duration },
        );
        for ((place, wait), took) in self.taken(tree, waits) {
            let cells = self.places[place].parts.entry(wait).or_insert_with(Cells::new);
            cells.add(block, side, took);
        }
    }

    /// What each place took in one request; places that weren't known are made.
    pub fn critical(&mut self, tree: &Tree<'_>, waits: &[Wait]) -> Vec<(Part, u64)> {
        self.taken(tree, waits).into_iter().map(|(part, took)| (part, took.critical)).collect()
    }

    fn taken(&mut self, tree: &Tree<'_>, waits: &[Wait]) -> BTreeMap<Part, Took> {
        let times = times(tree);
        let mut places = vec![0; tree.nodes.len()];
        let mut taken: BTreeMap<Part, Took> = BTreeMap::new();
        for (at, (node, times)) in tree.nodes.iter().zip(times).enumerate() {
            for child in &node.children {
                places[*child] = self.below(places[at], &tree.called(*child));
            }
            let waited = told(tree, at, waits);
            let ((own, own_waits), (critical, critical_waits)) =
                (split(times.own, &waited), split(times.critical, &waited));
            let mut add = |wait, spans, own, critical| {
                let took = taken.entry((places[at], wait)).or_default();
                // All that is on the path together is the root's duration; what runs at the same time may be more.
                (took.spans, took.own, took.critical) =
                    (took.spans + spans, took.own.saturating_add(own), took.critical + critical);
            };
            add(None, 1, own, critical);
            for ((wait, own), (_, critical)) in own_waits.into_iter().zip(critical_waits) {
                add(Some(wait), 1, own, critical);
            }
        }
        taken
    }

    fn below(&mut self, parent: usize, name: &str) -> usize {
        let (next, above) = (self.places.len(), &self.places[parent]);
        if above.path.last().is_some_and(|last| last == OTHERS) {
            return parent;
        }
        let full = next >= PLACES_MAX || above.path.len() >= DEPTH_MAX;
        let name = if full && !above.below.contains_key(name) { OTHERS } else { name };
        if let Some(known) = above.below.get(name) {
            return *known;
        }
        let path = above.path.iter().cloned().chain([name.to_owned()]).collect();
        self.places.push(Place::new(path));
        self.places[parent].below.insert(name.to_owned(), next);
        next
    }

    /// Requests of each side.
    pub fn requests(&self) -> [u64; 2] {
        [0, 1].map(|side| self.whole.sum(side, |cell| cell.requests))
    }

    /// The duration that `percentile` per cent of a side's requests don't exceed, in ns; nothing where too few lie beyond.
    pub fn duration(&self, side: usize, percentile: f64) -> Option<u64> {
        percentiles(&merged(&self.whole, side), percentile)
    }

    /// The whole's row, and each part's.
    ///
    /// `paired`: a block holds the same requests on both sides; else each side is resampled by itself, with the blocks in which
    /// it has none, and ratios of percentiles have no interval.
    pub fn rows(&self, paired: bool, waits: &[Wait], count: usize, seed: u64) -> (Row, Vec<(Part, Row)>) {
        let means = if paired { Means::new } else { Means::apart };
        let enough = if self.fewest() < PAIRS_MIN { 0 } else { count };
        let means = means(self.filled().count(), enough, seed);
        let drawn = resamples(self.filled().count(), if paired { enough } else { 0 }, seed);
        let row = |(order, wait): Part, cells: &Cells| Row {
            path: self.places[order].path.clone(),
            order,
            wait: wait.map(|index| waits[index].key.clone()),
            ..self.row(cells, &means, &drawn)
        };
        let whole = row((0, None), &self.whole);
        let parts = self
            .places
            .iter()
            .enumerate()
            .flat_map(|(at, place)| place.parts.iter().map(move |(wait, cells)| ((at, *wait), cells)));
        (whole, parts.map(|(part, cells)| (part, row(part, cells))).collect())
    }

    /// Blocks with requests: of pairs, both sides have some in each.
    fn filled(&self) -> impl Iterator<Item = (usize, [u64; 2])> {
        let requests = |sides: &[Option<Box<Cell>>; 2]| {
            sides.each_ref().map(|cell| cell.as_ref().map_or(0, |cell| cell.requests))
        };
        self.whole
            .0
            .iter()
            .map(requests)
            .enumerate()
            .filter(|(_, requests)| requests.iter().any(|count| *count > 0))
    }

    /// Blocks of the side that has requests in the fewest.
    fn fewest(&self) -> usize {
        let of = |side: usize| self.filled().filter(|(_, requests)| requests[side] > 0).count();
        of(0).min(of(1))
    }

    /// Without its name.
    fn row(&self, cells: &Cells, means: &Means, drawn: &Resamples) -> Row {
        let cell = |block: usize, side: usize| cells.0[block][side].as_deref();
        let blocks: Vec<[Summed; 2]> = self
            .filled()
            .map(|(block, requests)| {
                [0, 1].map(|side| Summed {
                    sum: cell(block, side).map_or(0, |cell| cell.critical),
                    count: requests[side],
                })
            })
            .collect();
        let requests = self.requests();
        let mean = |side: usize| {
            rounded(cells.sum(side, |cell| cell.critical) as f64 / requests[side].max(1) as f64)
        };
        let critical_ns = [mean(0), mean(1)];
        // An operation that one side hasn't isn't slower or faster there.
        let difference_ns =
            if requests.contains(&0) { 0.0 } else { rounded(critical_ns[1] - critical_ns[0]) };
        let pairs: Vec<_> = self
            .filled()
            .map(|(block, _)| {
                [0, 1].map(|side| {
                    let latency = cell(block, side).map_or_else(Sparse::default, |cell| cell.own.sparse());
                    Sample { latency, ..Sample::default() }
                })
            })
            .collect();
        let bootstrap = Bootstrap::of(pairs, drawn.clone());
        let ratios = bootstrap.percentiles(&PERCENTILES);
        let times = [0, 1].map(|side| {
            let merged = merged(cells, side);
            let [p50, p90, p99] = PERCENTILES.map(|percentile| percentiles(&merged, percentile));
            Times { p50, p90, p99 }
        });
        Row {
            path: Vec::new(),
            order: 0,
            wait: None,
            spans: [0, 1].map(|side| cells.sum(side, |cell| cell.spans)),
            requests: [0, 1].map(|side| cells.sum(side, |cell| cell.requests)),
            times,
            ratios: [ratios[0].clone(), ratios[1].clone(), ratios[2].clone()],
            critical_ns,
            difference_ns,
            interval: means.difference(&blocks).and_then(|(_, interval)| interval),
        }
    }
}

fn merged(cells: &Cells, side: usize) -> Sparse {
    let parts: Vec<_> = cells.0.iter().filter_map(|sides| Some(sides[side].as_ref()?.own.sparse())).collect();
    Sparse::merge(&parts)
}

/// Nothing where too few lie beyond.
fn percentiles(values: &Sparse, percentile: f64) -> Option<u64> {
    let beyond = values.count() as f64 * (100.0 - percentile) / 100.0;
    (beyond >= SAMPLES_BEYOND as f64).then(|| values.percentile(percentile)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::look::together;
    use crate::traces::made::{Made, made};
    use crate::traces::tree::Grown;

    /// What one request adds to an operation, `times` over in one block.
    fn added(sums: &mut Sums, side: usize, block: usize, spans: &[Made], times: usize) {
        let spans = made(spans);
        let grown = Grown::of(&spans);
        (0..times).for_each(|_| sums.add(side, block, &grown.requests[0], &[]));
    }

    #[test]
    fn an_interval_is_of_the_same_requests_as_what_it_is_of() {
        // The first side has a request of 1 µs in each block, and one of 5 µs in those in which the second has none.
        let of = |shared: usize| {
            let mut sums = Sums::new("pay".into());
            for block in 0..BLOCKS {
                added(&mut sums, 0, block, &[("pay", 1, 0, 0, 1000)], 20);
                let (side, ns) = if block < shared { (1, 1000) } else { (0, 5000) };
                added(&mut sums, side, block, &[("pay", 1, 0, 0, ns)], 20);
            }
            sums.rows(false, &[], 400, 1).0
        };
        let whole = of(16);
        // (24 × 1 + 8 × 5) / 32.
        assert_eq!((whole.critical_ns, whole.difference_ns), ([2000.0, 1000.0], -1000.0));
        let interval = whole.interval.unwrap();
        assert!(interval.low < -1000.0 && -1000.0 < interval.high && interval.high < 0.0, "{interval:?}");
        // From so few blocks of one side there is none.
        assert_eq!(of(PAIRS_MIN - 1).interval, None);
    }

    #[test]
    fn however_long_requests_are_their_sums_hold() {
        const LONGEST: u64 = u64::MAX;
        let spans =
            [("pay", 1, 0, 0, LONGEST), ("bank", 2, 1, 0, LONGEST - 1000), ("bank", 3, 1, 0, LONGEST - 1000)];
        let mut sums = Sums::new("pay".into());
        for side in [0, 1] {
            (0..BLOCKS).for_each(|block| added(&mut sums, side, block, &spans, 5));
        }
        let (whole, rows) = sums.rows(true, &[], 20, 1);
        assert_eq!(whole.critical_ns, [rounded(LONGEST as f64); 2]);
        assert_eq!(
            (whole.difference_ns, whole.interval.map(|all| (all.low, all.high))),
            (0.0, Some((0.0, 0.0)))
        );
        let critical: Vec<_> = rows.iter().map(|(_, row)| row.critical_ns[0]).collect();
        assert_eq!(critical, [1000.0, rounded(LONGEST as f64)]);
        let spans = made(&spans);
        let grown = Grown::of(&spans);
        assert_eq!(together([&grown.requests[0]; 2]), LONGEST);
    }
}
