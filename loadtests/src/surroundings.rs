//! What else went on while something was measured that isn't a comparison of two: who else used the machine, and what was
//! answered wrongly. The bounds are the comparison's own; a measurement that was disturbed is no evidence, and is made
//! again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::{Contender, Support, Usage};
use crate::engine::Record;
use crate::histogram::{Sparse, encode};
use crate::procstat::{Process, waited_cpu_ns};
use crate::validity::{Bound, LAG_P99_MAX_US, OTHERS_MAX, STOLEN_MAX, name};

/// A measurement is made so often at most: a host that takes the core in bursts leaves one of them alone.
const ATTEMPTS: u32 = 5;

/// How strictly measurements are judged.
#[derive(Debug, Clone, Default)]
pub struct Care {
    /// Bounds that may be missed.
    pub allowed: Vec<String>,
    /// It only shows that everything works: nothing is measured again.
    pub trial: bool,
}

/// One measurement, as it was made at last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meanwhile {
    /// What was measured.
    pub what: String,
    /// How often it was made again because it had been disturbed.
    pub again: u32,
    /// Its length.
    pub wall_ns: u64,
    /// CPU of processes that aren't part of the run.
    pub others_ns: u64,
    /// CPU that the host took.
    pub stolen_ns: u64,
    /// Unexpected replies and failures by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unexpected: BTreeMap<String, u64>,
    /// How late its requests left; unset where nothing stands on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
}

/// How late the requests of a trial left: what the generator was late counts as the service's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// 99th percentile of the time from due to sent, in µs.
    pub p99_us: u64,
    /// That time, raw (HdrHistogram V2, deflated, base64; µs).
    pub lag: String,
    /// The trial missed its bound: one that was kept all the same says what it says.
    pub missed: bool,
}

impl Late {
    /// Of a trial that was kept, or missed.
    pub fn of(lag: &Sparse, missed: bool) -> anyhow::Result<Self> {
        Ok(Self { p99_us: lag.percentile(99.0).unwrap_or(0), lag: encode(&lag.recorder())?, missed })
    }
}

impl Meanwhile {
    /// Of a play in which all that belongs to the run was looked at; `records` is all that was asked.
    pub fn of<'a>(what: &str, usage: &Usage, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut unexpected = BTreeMap::new();
        for (kind, count) in records.into_iter().flat_map(|record| &record.kinds) {
            *unexpected.entry(kind.clone()).or_default() += count;
        }
        let Usage { wall_ns, stolen_ns, .. } = *usage;
        let others_ns = usage.others_ns();
        Self { what: what.into(), again: 0, wall_ns, others_ns, stolen_ns, unexpected, late: None }
    }

    fn of_wall(&self, ns: u64) -> f64 {
        ns as f64 / self.wall_ns.max(1) as f64
    }

    /// Of a core.
    pub fn others(&self) -> f64 {
        self.of_wall(self.others_ns)
    }

    /// Of a core.
    pub fn stolen(&self) -> f64 {
        self.of_wall(self.stolen_ns)
    }

    /// In µs, where a figure stands on it.
    fn late_us(&self) -> Option<u64> {
        self.late.as_ref().filter(|late| late.missed).map(|late| late.p99_us)
    }

    /// By whom, where it was too much.
    fn disturbed(&self) -> Option<String> {
        let percent = |share: f64| format!("{:.1} % of a core", share * 100.0);
        if self.stolen() > STOLEN_MAX {
            return Some(format!("the host took {}", percent(self.stolen())));
        }
        if self.others() > OTHERS_MAX {
            return Some(format!("other processes used {}", percent(self.others())));
        }
        let late_us = self.late_us().filter(|us| *us as f64 > LAG_P99_MAX_US)?;
        Some(format!("the generator was late ({late_us} µs)"))
    }
}

/// A measurement, made again where it was disturbed, and what went on while it was made at last. `measure` hears how often
/// it was made before.
pub async fn undisturbed<T>(
    care: &Care,
    say: &dyn Fn(&str),
    mut measure: impl AsyncFnMut(u32) -> anyhow::Result<(T, Meanwhile)>,
) -> anyhow::Result<(T, Meanwhile)> {
    let mut again = 0;
    loop {
        let (found, meanwhile) = measure(again).await?;
        let meanwhile = Meanwhile { again, ..meanwhile };
        match meanwhile.disturbed() {
            Some(why) if !care.trial && again + 1 < ATTEMPTS => {
                say(&format!("{}: again, since {why} meanwhile", meanwhile.what));
            }
            Some(_) | None => return Ok((found, meanwhile)),
        }
        again += 1;
    }
}

/// CPU from some moment on, of a measurement that starts and ends processes itself.
pub struct Since<'a> {
    services: Vec<Process>,
    support: &'a [Support],
    before: (Usage, u64),
}

impl<'a> Since<'a> {
    /// From now on; `services` run until its end.
    pub fn now(services: &[Contender], support: &'a [Support]) -> anyhow::Result<Self> {
        let services = services.iter().map(|service| Process::of(service.process()?));
        let services = services.collect::<anyhow::Result<Vec<_>>>()?;
        let before = (Usage::now(&services, support)?, waited_cpu_ns());
        Ok(Self { services, support, before })
    }

    /// Until now.
    pub fn until_now(self, what: &str) -> anyhow::Result<Meanwhile> {
        let usage = Usage::now(&self.services, self.support)?.since(&self.before.0);
        let waited_ns = waited_cpu_ns().saturating_sub(self.before.1);
        let others_ns = usage.others_ns().saturating_sub(waited_ns);
        let (what, Usage { wall_ns, stolen_ns, .. }) = (what.to_owned(), usage);
        Ok(Meanwhile { what, wall_ns, others_ns, stolen_ns, ..Meanwhile::default() })
    }
}

/// All measurements of one part, and whether they may be believed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Each, as it was made at last.
    pub seen: Vec<Meanwhile>,
    /// Bounds that may be missed.
    pub allowed: Vec<String>,
    /// Each bound, by the worst of them; none where nothing was looked at.
    pub validity: Vec<Bound>,
}

impl Surroundings {
    /// Judges them.
    pub fn of(seen: Vec<Meanwhile>, care: &Care) -> Self {
        let unjudged = Self { seen, allowed: care.allowed.clone(), validity: Vec::new() };
        Self { validity: unjudged.judged(), ..unjudged }
    }

    /// The bounds as they follow from what was seen.
    pub fn judged(&self) -> Vec<Bound> {
        if self.seen.is_empty() {
            return Vec::new();
        }
        let share = |name: &str, who: &str, most: f64, of: fn(&Meanwhile) -> f64| {
            let worst = self.seen.iter().max_by(|one, other| of(one).total_cmp(&of(other)));
            let (worst, what) = worst.map_or((0.0, ""), |seen| (of(seen), seen.what.as_str()));
            let asks = format!("{who} at most {:.1} % of a core in each measurement", most * 100.0);
            let measured = format!("at most {:.1} % ({what})", worst * 100.0);
            self.bound(name, asks, measured, worst <= most)
        };
        let mut unexpected: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.seen.iter().flat_map(|seen| &seen.unexpected) {
            *unexpected.entry(kind).or_default() += count;
        }
        let kinds: Vec<_> = unexpected.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        let told = if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
        let shares = vec![
            share(name::OTHERS, "other processes use", OTHERS_MAX, Meanwhile::others),
            share(name::STOLEN, "the host takes away", STOLEN_MAX, Meanwhile::stolen),
        ];
        let asks = "every reply is what the contract says".into();
        let unexpected = self.bound(name::UNEXPECTED, asks, told, kinds.is_empty());
        shares.into_iter().chain(self.lag()).chain([unexpected]).collect()
    }

    /// By the worst trial that was missed; none where no trial's lateness was looked at.
    fn lag(&self) -> Option<Bound> {
        self.seen.iter().find(|seen| seen.late.is_some())?;
        let missed = self.seen.iter().filter_map(|seen| Some((seen.late_us()?, seen.what.as_str())));
        let (held, measured) = match missed.max_by_key(|(late_us, _)| *late_us) {
            Some((late_us, what)) => {
                (late_us as f64 <= LAG_P99_MAX_US, format!("at most {late_us} µs ({what})"))
            }
            None => (true, "no trial was missed".into()),
        };
        let asks = format!(
            "in each trial that is missed, 99 of 100 requests leave at most {LAG_P99_MAX_US:.0} µs after they are due"
        );
        Some(self.bound(name::LAG, asks, measured, held))
    }

    fn bound(&self, name: &str, asks: String, measured: String, held: bool) -> Bound {
        let allowed = !held && self.allowed.iter().any(|allowed| allowed == name);
        Bound { name: name.into(), asks, measured, held, allowed, applies: true }
    }

    /// Measurements that were made more than once.
    fn again(&self) -> usize {
        self.seen.iter().filter(|seen| seen.again > 0).count()
    }

    /// What stands beside its figures; nothing where nothing was looked at.
    pub fn line(&self) -> Option<String> {
        if self.validity.is_empty() {
            return None;
        }
        let void = if self.validity.iter().any(Bound::voids) {
            "Void: these figures are not a result. "
        } else {
            ""
        };
        let bound = |bound: &Bound| {
            let missed = if bound.missed() { " (MISSED)" } else { "" };
            format!("{} {}{missed}", bound.name, bound.measured)
        };
        let bounds: Vec<_> = self.validity.iter().map(bound).collect();
        let again = match (self.again(), self.seen.len()) {
            (0, all) => format!("in {all} measurements"),
            (again, all) => format!("in {all} measurements, of which {again} had to be made again"),
        };
        Some(format!("{void}Meanwhile, {again}: {}.", bounds.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(what: &str, others_ns: u64, stolen_ns: u64) -> Meanwhile {
        Meanwhile { what: what.into(), wall_ns: 1000, others_ns, stolen_ns, ..Meanwhile::default() }
    }

    fn missed(seen: Vec<Meanwhile>, allowed: &[&str]) -> Vec<String> {
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        let care = Care { allowed, trial: false };
        let bounds = Surroundings::of(seen, &care).validity;
        bounds.into_iter().filter(Bound::voids).map(|bound| bound.name).collect()
    }

    #[test]
    fn the_worst_measurement_counts_and_a_wrong_reply_in_any() {
        let quiet = || seen("trial 1", 100, 50);
        assert_eq!(missed(vec![quiet()], &[]), Vec::<String>::new());
        assert_eq!(missed(vec![quiet(), seen("trial 2", 101, 0)], &[]), [name::OTHERS]);
        assert_eq!(missed(vec![seen("trial 2", 0, 51), quiet()], &[]), [name::STOLEN]);
        let wrong = Meanwhile { unexpected: [("sale 500".to_owned(), 3)].into(), ..quiet() };
        assert_eq!(missed(vec![quiet(), wrong.clone()], &[name::OTHERS, name::STOLEN]), [name::UNEXPECTED]);
        assert_eq!(
            missed(vec![seen("trial 2", 900, 900)], &[name::OTHERS, name::STOLEN]),
            Vec::<String>::new()
        );
        let surroundings = Surroundings::of(vec![quiet(), Meanwhile { again: 2, ..wrong }], &Care::default());
        assert_eq!(
            surroundings.line().unwrap(),
            "Void: these figures are not a result. Meanwhile, in 2 measurements, of which 1 had to be made again: others at most 10.0 % (trial 1); stolen at most 5.0 % (trial 1); unexpected 3 × sale 500 (MISSED)."
        );
        assert_eq!(Surroundings::default().line(), None);
    }

    fn late(what: &str, p99_us: u64, missed: bool) -> Meanwhile {
        let lag = Sparse(vec![(p99_us, 100)]);
        Meanwhile { late: Some(Late::of(&lag, missed).unwrap()), ..seen(what, 0, 0) }
    }

    #[test]
    fn a_trial_that_is_missed_by_a_late_generator_is_no_evidence() {
        assert_eq!(missed(vec![late("1", 900, true), late("2", 9000, false)], &[]), Vec::<String>::new());
        assert_eq!(missed(vec![late("1", 1001, true), late("2", 900, true)], &[]), [name::LAG]);
        let bounds = |seen: Vec<Meanwhile>| Surroundings::of(seen, &Care::default()).validity;
        let told = |seen: Vec<Meanwhile>| {
            let lag = bounds(seen).into_iter().find(|bound| bound.name == name::LAG);
            lag.map(|bound| bound.measured)
        };
        let of_two = vec![late("trial 1", 1001, true), late("trial 2", 900, true)];
        assert_eq!(told(of_two).as_deref(), Some("at most 1001 µs (trial 1)"));
        assert_eq!(told(vec![late("1", 9000, false)]).as_deref(), Some("no trial was missed"));
        // A report of before holds nothing of it.
        assert_eq!(told(vec![seen("1", 0, 0)]), None);
        let why = |seen: &Meanwhile| seen.disturbed();
        assert_eq!(why(&late("1", 1001, true)).as_deref(), Some("the generator was late (1001 µs)"));
        assert_eq!([why(&late("1", 1001, false)), why(&late("1", 1000, true))], [None, None]);
    }

    #[tokio::test]
    async fn what_was_disturbed_is_measured_again_and_not_for_ever() {
        let measured = async |trial: bool, quiet_from: u32| {
            let care = Care { trial, ..Care::default() };
            let measure =
                async |again: u32| Ok((again, seen("", if again < quiet_from { 200 } else { 0 }, 0)));
            let (found, meanwhile) = undisturbed(&care, &|_| (), measure).await.unwrap();
            assert_eq!(found, meanwhile.again);
            (found, meanwhile.disturbed().is_some())
        };
        assert_eq!(measured(false, 0).await, (0, false));
        assert_eq!(measured(false, 2).await, (2, false));
        assert_eq!(measured(false, 99).await, (ATTEMPTS - 1, true));
        assert_eq!(measured(true, 2).await, (0, true));
    }
}
