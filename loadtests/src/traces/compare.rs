//! Two sides' traces against each other, in three looks at what is on the disk: whose requests there are; what they are made
//! of and how their trees differ; what the slowest are made of.

use std::cmp::Reverse;
use std::collections::HashMap;

use anyhow::bail;

use super::begins::Windows;
use super::counts::Counts;
use super::look::{Look, together};
use super::model::{Operation, Pairing, Row, Side, TracesReport};
use super::requests::{Group, groups, of_service, pair};
use super::shape::Variable;
use super::slices::Slices;
use super::spill::Spill;
use super::structure::Structure;
use super::sums::{BLOCKS, Part, Sums};
use super::survey::{MANY, Surveyed, by_attribute, survey};
use super::tree::Tree;
use super::vocabulary::Vocabulary;
use super::waits::Wait;
use crate::stats::rounded;

/// Operations that are told apart; requests of others are summed up together.
const OPERATIONS_MAX: usize = 300;
const OTHERS: &str = "(other operations)";
/// Operations that are named of a side where there is nothing to compare.
const NAMED: usize = 5;

/// How to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// By what requests are paired.
    pub pairing: Pairing,
    /// What each side is called; unset: as its service.
    pub labels: [Option<String>; 2],
    /// Whose requests; unset: the service with the most.
    pub services: [Option<String>; 2],
    /// Attributes whose values may differ.
    pub variable: Variable,
    /// Attributes that are waits.
    pub waits: Vec<Wait>,
    /// What the intervals resample.
    pub blocks: Blocks,
    /// For the intervals.
    pub resamples: usize,
    /// Of the resamples.
    pub seed: u64,
}

/// Stretches of time that are independent of each other.
#[derive(Debug, Clone)]
pub enum Blocks {
    /// So many, at most [`BLOCKS`], with as many requests each.
    Windows(usize),
    /// Those of a play: several of them together where there are more than [`BLOCKS`]. What was in none that counts is left
    /// out.
    Slices(Slices),
}

impl Blocks {
    fn count(&self) -> usize {
        let count = match self {
            Self::Windows(count) => *count,
            Self::Slices(slices) => slices.count(),
        };
        count.clamp(1, BLOCKS)
    }

    fn slices(&self) -> Option<&Slices> {
        match self {
            Self::Windows(_) => None,
            Self::Slices(slices) => Some(slices),
        }
    }
}

/// A side as it is compared.
struct Read {
    files: Vec<String>,
    spans: u64,
    surveyed: Surveyed,
    /// The blocks that its requests are in, by their begin.
    windows: Windows,
}

/// One operation while its requests come by.
struct Sum {
    sums: Sums,
    structure: Structure,
    alone: [u64; 2],
    /// Durations of both sides of a pair together, in ns.
    both: Counts,
}

impl Sum {
    fn new(name: &str) -> Self {
        Self {
            sums: Sums::new(name.to_owned()),
            structure: Structure::default(),
            alone: [0, 0],
            both: Counts::default(),
        }
    }
}

/// Operations by their names, in the order in which they came.
struct Known<T> {
    by_name: HashMap<String, usize>,
    all: Vec<(String, T)>,
}

impl<T> Known<T> {
    fn none() -> Self {
        Self { by_name: HashMap::new(), all: Vec::new() }
    }

    fn of(&mut self, tree: &Tree<'_>, new: impl FnOnce(&str) -> T) -> &mut T {
        let name = tree.nodes[0].found.span.name.as_str();
        let full = self.all.len() >= OPERATIONS_MAX && !self.by_name.contains_key(name);
        let name = if full { OTHERS } else { name };
        let at = self.by_name.get(name).copied().unwrap_or_else(|| {
            self.by_name.insert(name.to_owned(), self.all.len());
            self.all.push((name.to_owned(), new(name)));
            self.all.len() - 1
        });
        &mut self.all[at].1
    }
}

/// Compares; `files` are the names of each side's.
pub fn compare(
    spills: [Spill; 2],
    files: [Vec<String>; 2],
    options: &Options,
) -> anyhow::Result<TracesReport> {
    let [first, second] = spills;
    let [ones, others] = files;
    let mut vocabulary = Vocabulary::default();
    let (first, one) = surveyed(first, ones, 0, options, &mut vocabulary)?;
    let (second, other) = surveyed(second, others, 1, options, &mut vocabulary)?;
    let (mut spills, read) = ([first, second], [one, other]);
    let mut known = Known::none();
    groups(&mut spills, &mut |group| {
        first_look(group, &read, options, &mut known);
        Ok(())
    })?;
    let labels = labels(&read, options);
    paired_at_all(&known, &labels, &spills, options)?;
    let operations = judged(&mut spills, &read, known, options)?;
    let [one, other] = read;
    let side = |index: usize, read: Read| Side {
        label: labels[index].clone(),
        files: read.files,
        service: read.surveyed.whose.service,
        spans: read.spans,
        traces: read.surveyed.traces,
        requests: read.surveyed.began.count(),
        troubles: spills[index].troubles.list(),
    };
    Ok(TracesReport {
        sides: [side(0, one), side(1, other)],
        pairing: options.pairing.clone(),
        blocks: options.blocks.count(),
        slices: options.blocks.slices().cloned(),
        resamples: options.resamples,
        seed: options.seed,
        operations,
        vocabulary: vocabulary.remarks(),
    })
}

fn surveyed(
    mut spill: Spill,
    files: Vec<String>,
    side: usize,
    options: &Options,
    vocabulary: &mut Vocabulary,
) -> anyhow::Result<(Spill, Read)> {
    let (spans, label, service) = (spill.spans, files.join(", "), options.services[side].as_deref());
    let surveyed =
        survey(&mut spill, service, &label, &options.waits, &mut |span| vocabulary.look(side, span))?;
    if let Pairing::Attribute(key) = &options.pairing {
        spill = by_attribute(spill, &surveyed.whose, key)?;
        if spill.spans == 0 {
            bail!("{label}: no request has the attribute `{key}`, by which they were to be paired");
        }
    }
    let windows = surveyed.began.clone().windows(options.blocks.count());
    Ok((spill, Read { files, spans, surveyed, windows }))
}

/// As given, or as the service; with a letter where the two would be called the same.
fn labels(read: &[Read; 2], options: &Options) -> [String; 2] {
    let service = |side: usize| match read[side].surveyed.whose.service.as_str() {
        "" => ["A", "B"][side].to_owned(),
        service => service.to_owned(),
    };
    let labels = [0, 1].map(|side| options.labels[side].clone().unwrap_or_else(|| service(side)));
    if labels[0] != labels[1] {
        return labels;
    }
    [0, 1].map(|side| format!("{} {}", labels[side], ["A", "B"][side]))
}

fn paired_at_all(
    known: &Known<Sum>,
    [first, second]: &[String; 2],
    spills: &[Spill; 2],
    options: &Options,
) -> anyhow::Result<()> {
    let pairs: u64 = known.all.iter().map(|(_, sum)| sum.both.sparse().count()).sum();
    if pairs > 0 {
        return Ok(());
    }
    let (by, other) = match &options.pairing {
        Pairing::Trace => ("trace id".to_owned(), "--by ATTRIBUTE or "),
        Pairing::Attribute(key) => (format!("value of `{key}`"), ""),
        Pairing::Operation => return common(known, [first, second]),
    };
    let left_out: String = spills
        .iter()
        .flat_map(|spill| spill.troubles.list())
        .filter(|trouble| trouble.what == MANY)
        .map(|trouble| format!("; {trouble}"))
        .collect();
    bail!(
        "no request of {first} has the {by} of one of {second}: compare them by {other}--by operation{left_out}"
    )
}

/// Unpaired sides have to have an operation in common.
fn common(known: &Known<Sum>, labels: [&String; 2]) -> anyhow::Result<()> {
    let named = known.all.iter().filter(|(name, _)| name != OTHERS);
    let all: Vec<_> = named.map(|(name, sum)| (name, sum.sums.requests())).collect();
    if all.iter().any(|(_, requests)| !requests.contains(&0)) {
        return Ok(());
    }
    let has = |side: usize| {
        let mut own: Vec<_> = all.iter().filter(|(_, requests)| requests[side] > 0).collect();
        own.sort_by_key(|(name, requests)| (Reverse(requests[side]), *name));
        let named: Vec<_> = own.iter().take(NAMED).map(|(name, _)| format!("`{name}`")).collect();
        let more = match own.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{} has {}{more}", labels[side], named.join(", "))
    };
    bail!("nothing to compare, no operation is on both sides: {}; {}", has(0), has(1))
}

/// The block of a side's request.
fn block(request: &Tree<'_>, read: &Read, options: &Options) -> usize {
    let first = &request.nodes[0];
    match &options.blocks {
        Blocks::Slices(slices) => {
            let slice = slices.of(&first.found.span.trace_id).unwrap_or(0);
            slice * options.blocks.count() / slices.count().max(1)
        }
        Blocks::Windows(_) => read.windows.of(first.start),
    }
}

/// The requests of a group's sides that are compared.
fn compared<'a>(group: Group<'a>, read: &[Read; 2], options: &Options) -> [Vec<Tree<'a>>; 2] {
    let counts = |request: &Tree<'_>| {
        let of = |slices: &Slices| slices.of(&request.nodes[0].found.span.trace_id);
        options.blocks.slices().is_none_or(|slices| of(slices).is_some())
    };
    [0, 1].map(|side| {
        let mut requests = of_service(group[side], &read[side].surveyed.whose, &options.waits);
        requests.retain(counts);
        requests
    })
}

fn first_look(group: Group<'_>, read: &[Read; 2], options: &Options, known: &mut Known<Sum>) {
    let requests = compared(group, read, options);
    if options.pairing == Pairing::Operation {
        for (side, request) in
            (0..).zip(requests).flat_map(|(side, all)| all.into_iter().map(move |one| (side, one)))
        {
            let sum = known.of(&request, Sum::new);
            let block = block(&request, &read[side], options);
            sum.sums.add(side, block, &request, &options.waits);
            sum.structure.form(side, &request);
        }
        return;
    }
    let paired = pair(requests);
    for [one, other] in &paired.pairs {
        let sum = known.of(one, Sum::new);
        let block = block(one, &read[0], options);
        for (side, request) in [one, other].into_iter().enumerate() {
            sum.sums.add(side, block, request, &options.waits);
        }
        sum.structure.compare([one, other], &options.variable);
        sum.both.add(together([one, other]));
    }
    for (side, request) in
        (0..).zip(&paired.alone).flat_map(|(side, all)| all.iter().map(move |one| (side, one)))
    {
        known.of(request, Sum::new).alone[side] += 1;
    }
}

/// Each operation, those with the most requests first.
fn judged(
    spills: &mut [Spill; 2],
    read: &[Read; 2],
    known: Known<Sum>,
    options: &Options,
) -> anyhow::Result<Vec<Operation>> {
    let look = |(name, sum): (String, Sum)| {
        let look = Look::new(&sum.sums, sum.both.sparse().percentile(50.0));
        (name, (sum, look))
    };
    let Known { by_name, all } = known;
    let mut known = Known { by_name, all: all.into_iter().map(look).collect() };
    let new = |name: &str| {
        let sum = Sum::new(name);
        let look = Look::new(&sum.sums, None);
        (sum, look)
    };
    groups(spills, &mut |group| {
        let requests = compared(group, read, options);
        if options.pairing == Pairing::Operation {
            for (side, request) in
                (0..).zip(&requests).flat_map(|(side, all)| all.iter().map(move |one| (side, one)))
            {
                let (sum, look) = known.of(request, new);
                look.request(side, request, &mut sum.sums, &options.waits);
            }
            return Ok(());
        }
        for [one, other] in &pair(requests).pairs {
            let (sum, look) = known.of(one, new);
            look.request(0, one, &mut sum.sums, &options.waits);
            look.request(1, other, &mut sum.sums, &options.waits);
            look.pair([one, other]);
        }
        Ok(())
    })?;
    let mut operations: Vec<_> =
        known.all.into_iter().map(|(name, (sum, look))| operation(name, sum, look, options)).collect();
    operations.sort_by(|one, other| {
        let requests = |operation: &Operation| operation.requests.iter().sum::<u64>();
        requests(other).cmp(&requests(one)).then_with(|| one.name.cmp(&other.name))
    });
    Ok(operations)
}

fn operation(name: String, sum: Sum, look: Look, options: &Options) -> Operation {
    let Sum { sums, structure, alone, .. } = sum;
    let (whole, mut rows) =
        sums.rows(options.pairing != Pairing::Operation, &options.waits, options.resamples, options.seed);
    rows.sort_by(|(_, one), (_, other)| other.difference_ns.abs().total_cmp(&one.difference_ns.abs()));
    let (parts, rows): (Vec<Part>, Vec<Row>) = rows.into_iter().unzip();
    // The first place is the operation's own span; what it doesn't say to be a wait isn't explained by anything.
    let own = parts.iter().zip(&rows).find(|(part, _)| **part == (0, None));
    let unexplained = own.map_or(0.0, |(_, row)| row.difference_ns);
    let (tails, examples) = look.done(&parts);
    Operation {
        requests: sums.requests(),
        alone,
        explained_ns: rounded(whole.difference_ns - unexplained),
        whole,
        rows,
        differences: structure.list(&name),
        tails,
        examples,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::made::made;
    use crate::traces::tree::Grown;

    #[test]
    fn sides_without_an_operation_in_common_say_what_each_has() {
        let mut known = Known::none();
        let mut add = |side: usize, name: String| {
            let mut spans = made(&[("", 1, 0, 10, 20)]);
            spans[0].span.name = name;
            let tree = &Grown::of(&spans).requests[0];
            known.of(tree, Sum::new).sums.add(side, 0, tree, &[]);
        };
        add(0, "pay".into());
        (0..7).for_each(|number| add(1, format!("sell {number}")));
        add(1, "sell 5".into());
        let labels = ["one".to_owned(), "two".to_owned()];
        let error = common(&known, labels.each_ref()).unwrap_err().to_string();
        let wanted = "nothing to compare, no operation is on both sides: one has `pay`; \
                      two has `sell 5`, `sell 0`, `sell 1`, `sell 2`, `sell 3` and 2 more";
        assert_eq!(error, wanted);
        let spans = made(&[("pay", 1, 0, 10, 20)]);
        let tree = &Grown::of(&spans).requests[0];
        known.of(tree, Sum::new).sums.add(1, 0, tree, &[]);
        assert!(common(&known, labels.each_ref()).is_ok());
    }
}
