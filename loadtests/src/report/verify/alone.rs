//! What services do by themselves: each trial held against the rule again, each search's bracket against its trials, each
//! share of a limit against both, and each ratio to what is untraced.

use anyhow::Context;

use super::Verified;
use crate::histogram::{Sparse, decode};
use crate::limits::Limits;
use crate::limits::looking::Looking;
use crate::report::model::{Report, ScenarioReport};
use crate::solo::{Block, Capacity, Probe, Search, ServiceCapacity, SoloReport, missed};
use crate::surroundings::Meanwhile;

impl Verified {
    /// All of it; spreads and percentiles are looked at elsewhere.
    pub(super) fn alone(&mut self, solo: &SoloReport, scenarios: &[ScenarioReport]) -> anyhow::Result<()> {
        for capacity in &solo.capacities {
            let at = format!("solo.capacities.{}", capacity.scenario);
            // Where the scenario wasn't compared too, the bound stands here alone.
            if let Some(one) = scenarios.iter().find(|one| one.scenario.name == capacity.scenario) {
                let bound = one.scenario.solo.as_ref().and_then(|solo| solo.p99_ms);
                self.equal(format!("{at}.p99_ms"), capacity.p99_ms, bound.unwrap_or(f64::NAN));
            }
            for service in &capacity.services {
                self.service(&format!("{at}.services.{}", service.label), capacity, service)?;
            }
        }
        Ok(())
    }

    fn service(&mut self, at: &str, capacity: &Capacity, service: &ServiceCapacity) -> anyhow::Result<()> {
        let mut blocks = Vec::new();
        for (index, block) in service.blocks.iter().enumerate() {
            blocks.push(self.block(&format!("{at}.blocks.{index}"), capacity, block)?);
        }
        let again = ServiceCapacity::of(&service.label, blocks);
        for (what, printed, again) in [
            ("kept", &service.kept, &again.kept),
            ("most_goodput", &service.most_goodput, &again.most_goodput),
        ] {
            self.walk(
                &format!("{at}.{what}"),
                &serde_json::to_value(printed)?,
                &serde_json::to_value(again)?,
                &[],
            );
        }
        Ok(())
    }

    /// Follows a search: the rates that the rule asks for, and what its trials' counts and histograms say.
    fn block(&mut self, at: &str, capacity: &Capacity, block: &Block) -> anyhow::Result<Block> {
        let mut search = Search::new(capacity.reach);
        let mut probes = Vec::new();
        let rate = |rate: Option<f64>| rate.map_or("none".to_owned(), |rate| rate.to_string());
        for (index, probe) in block.probes.iter().enumerate() {
            let at = format!("{at}.probes.{index}");
            self.equal(format!("{at}.rate"), rate(Some(probe.rate)), rate(search.next()));
            self.equal(format!("{at}.load.rate"), probe.load.rate, probe.rate);
            self.equal(format!("{at}.load.seconds"), probe.load.seconds, capacity.trial_seconds);
            self.equal(
                format!("{at}.load.expected"),
                probe.load.expected,
                decode(&probe.load.latency)?.len(),
            );
            let missed = missed(&probe.load, capacity.p99_ms).with_context(|| at.clone())?;
            self.equal(format!("{at}.missed"), probe.missed.join(", "), missed.join(", "));
            self.equal(format!("{at}.held"), probe.held, missed.is_empty());
            let again = Probe { held: missed.is_empty(), missed, ..probe.clone() };
            search.tell(probe.rate, again.outcome());
            probes.push(again);
        }
        self.equal(format!("{at}: the rate that is tried next"), "none".to_owned(), rate(search.next()));
        let again = Block::of(block.turn, capacity.reach, probes);
        for (end, printed, found) in
            [("low", block.bracket.low, again.bracket.low), ("high", block.bracket.high, again.bracket.high)]
        {
            self.equal(format!("{at}.bracket.{end}"), rate(printed), rate(found));
        }
        self.equal(format!("{at}.bracket.confirmed"), block.bracket.confirmed, again.bracket.confirmed);
        self.equal(format!("{at}.full"), block.full.clone(), again.full.clone());
        Ok(again)
    }

    /// Bounds of what went on meanwhile, from what was seen; each trial of a capacity has been looked at.
    pub(super) fn surroundings(&mut self, report: &Report) -> anyhow::Result<()> {
        let Report { limits, looking, solo, .. } = report;
        let limits = limits.iter().map(|limits| ("limits".to_owned(), &limits.surroundings));
        let looking = looking.iter().map(|looking| ("looking".to_owned(), &looking.surroundings));
        let capacities = || solo.iter().flat_map(|solo| &solo.capacities);
        let footprints = solo.iter().flat_map(|solo| &solo.footprints);
        let capacity = |one: &Capacity| format!("solo.capacities.{}", one.scenario);
        let all = limits
            .chain(looking)
            .chain(capacities().map(|one| (capacity(one), &one.surroundings)))
            .chain(footprints.map(|one| (format!("solo.footprints.{}", one.label), &one.surroundings)));
        for (at, surroundings) in all {
            let printed = serde_json::to_value(&surroundings.validity)?;
            let again = serde_json::to_value(surroundings.judged())?;
            self.walk(&format!("{at}.surroundings.validity"), &printed, &again, &[]);
        }
        // One that was measured before any of this was looked at has none.
        for one in capacities().filter(|one| !one.surroundings.seen.is_empty()) {
            let mut blocks: Vec<_> = one.services.iter().flat_map(|service| &service.blocks).collect();
            blocks.sort_by_key(|block| block.turn);
            let trials: Vec<_> = blocks.iter().flat_map(|block| &block.probes).collect();
            self.equal(format!("{}: trials", capacity(one)), one.surroundings.seen.len(), trials.len());
            self.late(&capacity(one), &one.surroundings.seen, &trials)?;
        }
        Ok(())
    }

    /// How late the requests of each trial left, from its histogram, and whether that matters, from the trial.
    fn late(&mut self, at: &str, seen: &[Meanwhile], trials: &[&Probe]) -> anyhow::Result<()> {
        for (index, (seen, trial)) in seen.iter().zip(trials).enumerate() {
            let Some(late) = &seen.late else { continue };
            let at = format!("{at}.surroundings.seen.{index}.late");
            let lag = Sparse::of(&decode(&late.lag).with_context(|| at.clone())?);
            self.equal(format!("{at}.p99_us"), late.p99_us, lag.percentile(99.0).unwrap_or(0));
            self.equal(format!("{at}.missed"), late.missed, !trial.held);
        }
        Ok(())
    }

    /// Ratios to what is untraced, from both services' figures.
    pub(super) fn looking(&mut self, looking: Option<&Looking>) -> anyhow::Result<()> {
        let Some(looking) = looking else { return Ok(()) };
        for (index, row) in looking.rows.iter().enumerate() {
            let [rate, cpu] = row.by_untraced(&looking.rows);
            let at = format!("looking.rows.{index}");
            for (what, printed, again) in
                [("rate_ratio", &row.rate_ratio, rate), ("cpu_ratio", &row.cpu_ratio, cpu)]
            {
                let [printed, again] = [serde_json::to_value(printed)?, serde_json::to_value(again)?];
                self.walk(&format!("{at}.{what}"), &printed, &again, &[]);
            }
        }
        Ok(())
    }

    /// Shares of limits, from what both were in each repetition.
    pub(super) fn saturations(&mut self, limits: Option<&Limits>) -> anyhow::Result<()> {
        let Some(Limits { rows, saturations, .. }) = limits else { return Ok(()) };
        for one in saturations {
            let share = rows.iter().find(|row| row.label == one.limit).and_then(|row| row.share(&one.rate));
            let what = format!("limits.saturations.{}.share", one.name);
            self.equal(what, serde_json::to_value(&one.share)?, serde_json::to_value(share)?);
        }
        Ok(())
    }
}
