//! What services do by themselves: each trial held against the rule again, each search's bracket against its trials, each
//! share of a limit against both.

use anyhow::Context;

use super::Verified;
use crate::histogram::decode;
use crate::limits::Limits;
use crate::report::model::ScenarioReport;
use crate::solo::{Block, Capacity, LimitShare, Probe, Search, ServiceCapacity, SoloReport, missed, part};
use crate::stats::rounded;

impl Verified {
    /// All of it; spreads and percentiles are looked at elsewhere.
    pub(super) fn alone(
        &mut self,
        solo: &SoloReport,
        limits: Option<&Limits>,
        scenarios: &[ScenarioReport],
    ) -> anyhow::Result<()> {
        for capacity in &solo.capacities {
            let at = format!("solo.capacities.{}", capacity.scenario);
            let scenario = scenarios.iter().find(|one| one.scenario.name == capacity.scenario);
            let bound = scenario.and_then(|one| one.scenario.solo.as_ref()?.p99_ms);
            self.equal(format!("{at}.p99_ms"), capacity.p99_ms, bound.unwrap_or(f64::NAN));
            for service in &capacity.services {
                self.service(&format!("{at}.services.{}", service.label), capacity, service)?;
            }
        }
        for share in &solo.shares {
            self.share(share, solo, limits, scenarios);
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
            search.tell(probe.rate, missed.is_empty());
            probes.push(Probe { held: missed.is_empty(), missed, ..probe.clone() });
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

    fn share(
        &mut self,
        share: &LimitShare,
        solo: &SoloReport,
        limits: Option<&Limits>,
        scenarios: &[ScenarioReport],
    ) {
        let LimitShare { service, scenario, limit_name, .. } = share;
        let at = format!("solo.shares.{scenario}.{service}.{limit_name}");
        let capacity = solo.capacities.iter().find(|capacity| capacity.scenario == *scenario);
        let most = capacity.and_then(|capacity| {
            let found = capacity.services.iter().find(|one| one.label == *service)?;
            found.most_goodput.as_ref().map(|most| most.median)
        });
        let played = scenarios.iter().find(|one| one.scenario.name == *scenario);
        let rate = most.zip(played).map(|(most, played)| most * part(&played.scenario, &share.operations));
        let of = limits.and_then(|limits| Some(limits.figure(limit_name)?.median));
        self.equal(format!("{at}.rate"), share.rate, rate.map_or(f64::NAN, rounded));
        self.equal(format!("{at}.of"), share.of, of.unwrap_or(f64::NAN));
    }
}
