//! What it costs to be looked at: each service at its most without traces, with one request in a hundred traced, and with all,
//! in turn.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stack::instance::Twin;

use super::saturation::{KINDS, Kind, Saturated, Turn, patient};
use super::{Effort, Turns};
use crate::otlp::{Discard, Server};
use crate::payments::{Bench, EXPORTER, Service, Special, label};
use crate::report::wording::number;
use crate::report::{align, plain};
use crate::spread::Spread;
use crate::stats::Ratio;
use crate::surroundings::{Care, Surroundings};
use crate::workload::Sampled;

/// Of the requests; none is what the others are held against.
const SHARES: [f64; 3] = [0.0, 0.01, 1.0];
/// A sale is made of statements, a read is nearly nothing else than its door.
const LOOKED_AT: &[Kind] = &[KINDS[1], KINDS[2]];

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looking {
    /// Length of one measurement in seconds.
    pub seconds: f64,
    /// Each kind of request on each service with each share.
    pub rows: Vec<Looked>,
    /// What went on meanwhile.
    #[serde(default)]
    pub surroundings: Surroundings,
}

/// One service with so many of its requests traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// Of request.
    pub kind: String,
    /// As a person calls it.
    pub service: String,
    /// Of its requests, from 0 to 1.
    pub share: f64,
    /// Replies a second at most.
    pub rate: Spread,
    /// CPU of the service a reply, in µs.
    pub cpu_us: Spread,
    /// The rate by that without traces; unset for that itself.
    pub rate_ratio: Option<Ratio>,
    /// The same of CPU a reply.
    pub cpu_ratio: Option<Ratio>,
    /// Spans that were lost, in all kinds and measurements: the queue was full.
    pub spans_dropped: u64,
}

impl Looked {
    /// Rate and CPU a reply by those of the same service without traces, which are among `rows`; nothing for that itself.
    pub fn by_untraced(&self, rows: &[Self]) -> [Option<Ratio>; 2] {
        let untraced = |row: &&Self| row.kind == self.kind && row.service == self.service && row.share == 0.0;
        let untraced = rows.iter().filter(|_| self.share > 0.0).find(untraced);
        untraced.map_or([None, None], |untraced| {
            let ratio = |own: &Spread, its| Some(own.paired_ratio_to(its));
            [ratio(&self.rate, &untraced.rate), ratio(&self.cpu_us, &untraced.cpu_us)]
        })
    }
}

/// How many measurements of each.
pub const MEASUREMENTS: usize = LOOKED_AT.len() * SHARES.len() * Twin::ALL.len();

/// Measures beside `bench`; `say` hears what is being done.
pub async fn measure(
    bench: &Bench,
    effort: &Effort,
    care: &Care,
    say: &dyn Fn(&str),
) -> anyhow::Result<Looking> {
    let Effort { length, repetitions, .. } = *effort;
    let layout = bench.layout();
    let receiver = Server::start(([127, 0, 0, 1], 0).into(), Arc::new(Discard)).await?;
    let (mut services, mut places) = (Vec::new(), Vec::new());
    for twin in Twin::ALL {
        for share in SHARES {
            services.push(started(bench, twin, share, receiver.endpoint()).await?);
            places.push((twin, share));
        }
    }
    let contenders: Vec<_> = services.iter().map(|service| service.contender.clone()).collect();
    let mut saturated =
        Saturated::of(LOOKED_AT, &contenders, bench.support(), layout.support_cores(), &layout.generator);
    let (support, mut seen) = (bench.support(), Vec::new());
    let turns = Turns { length, care, say, services: &contenders, support: &support };
    for repetition in 1..=repetitions {
        say(&format!("the cost of traces: repetition {repetition} of {repetitions}"));
        seen.push(turns.one(&mut saturated, repetition).await?);
    }
    let mut dropped = Vec::new();
    for service in services {
        dropped.push(service.spans_dropped().await?);
        service.stop().await;
    }
    let (rows, surroundings) = (rows(&saturated, &places, &dropped), Surroundings::of(seen, care));
    Ok(Looking { seconds: length.as_secs_f64(), rows, surroundings })
}

async fn started(bench: &Bench, twin: Twin, share: f64, endpoint: &str) -> anyhow::Result<Service> {
    // Without traces there is no exporter either.
    let exporter = (share > 0.0).then(|| (EXPORTER.to_owned(), endpoint.to_owned()));
    let special = Special { env: patient().into_iter().chain(exporter).collect(), ..Special::default() };
    let home = bench.home(twin, &format!("looked_{:.0}", share * 100.0)).await?;
    let mut service = bench.service(&home, &special).await?;
    service.contender.target.sampled = Sampled { share, from: 0 };
    Ok(service)
}

fn rows(saturated: &Saturated, places: &[(Twin, f64)], dropped: &[u64]) -> Vec<Looked> {
    let mut rows: Vec<Looked> = Vec::new();
    for (kind, index, turns) in saturated.turns() {
        let (twin, share) = places[index];
        let values = |of: fn(&Turn) -> f64| Spread::of(&turns.iter().map(of).collect::<Vec<_>>());
        let Some((rate, cpu_us)) = values(Turn::rate).zip(values(Turn::cpu_us)) else { continue };
        let mut row = Looked {
            kind: kind.label.to_owned(),
            service: label(twin).to_owned(),
            share,
            rate_ratio: None,
            cpu_ratio: None,
            rate,
            cpu_us,
            spans_dropped: dropped[index],
        };
        [row.rate_ratio, row.cpu_ratio] = row.by_untraced(&rows);
        rows.push(row);
    }
    rows
}

/// Cells of each row: request, service, what is traced, measurements, rate, its ratio, CPU, its ratio, spans lost (of all kinds of request together).
pub fn cells(row: &Looked) -> [String; 9] {
    let ratio =
        |ratio: &Option<Ratio>| ratio.as_ref().map_or("–".to_owned(), crate::report::wording::repeated);
    let traced = match row.share {
        0.0 => "nothing".to_owned(),
        1.0 => "all requests".into(),
        share => format!("{} % of the requests", number(share * 100.0)),
    };
    [
        row.kind.clone(),
        row.service.clone(),
        traced,
        row.rate.values.len().to_string(),
        number(row.rate.median),
        ratio(&row.rate_ratio),
        number(row.cpu_us.median),
        ratio(&row.cpu_ratio),
        row.spans_dropped.to_string(),
    ]
}

/// Over [`cells`].
pub const HEAD: [&str; 9] = [
    "",
    "service",
    "traced",
    "n",
    "replies/s",
    "by untraced",
    "CPU a reply µs",
    "by untraced",
    "spans lost in all",
];

/// For the terminal.
pub fn table(looking: &Looking) -> String {
    let mut table = plain(&HEAD);
    looking.rows.iter().for_each(|row| {
        table.add_row(cells(row));
    });
    align(&mut table, &[3, 4, 5, 6, 7, 8]);
    let line = looking.surroundings.line().map(|line| line + "\n").unwrap_or_default();
    format!("What it costs to be traced, each service at its most\n{table}\n{line}")
}
