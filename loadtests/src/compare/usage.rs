//! CPU of everything while slices played.

use super::play::Support;
use crate::clock::now_ns;
use crate::procstat::{Machine, Process, family_cpu_ns};

/// CPU over all measured slices.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Wall time in ns.
    pub wall_ns: u64,
    /// All of the machine.
    pub machine_ns: u64,
    /// Taken by the host.
    pub stolen_ns: u64,
    /// This process.
    pub generator_ns: u64,
    /// Both contenders.
    pub contenders_ns: u64,
    /// What stands around, by name.
    pub support_ns: Vec<(String, u64)>,
}

/// The cores of what stands around, and who else runs on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SupportCores {
    /// How many.
    pub count: usize,
    /// The generator does.
    pub with_generator: bool,
    /// The contenders do.
    pub with_contenders: bool,
}

impl Usage {
    /// Since each one's own begin; two of them make a stretch.
    pub fn now(contenders: &[Process], support: &[Support]) -> anyhow::Result<Self> {
        let machine = Machine::now()?;
        let of_support = |support: &Support| (support.name.clone(), family_cpu_ns(support.pid));
        let contenders_ns = contenders.iter().map(Process::cpu_ns).sum::<anyhow::Result<u64>>()?;
        Ok(Self {
            wall_ns: now_ns(),
            machine_ns: machine.busy_ns,
            stolen_ns: machine.stolen_ns,
            generator_ns: Process::of(std::process::id())?.cpu_ns()?,
            contenders_ns,
            support_ns: support.iter().map(of_support).collect(),
        })
    }

    /// Of a core, what the host took.
    pub fn stolen(&self) -> f64 {
        self.stolen_ns as f64 / self.wall_ns.max(1) as f64
    }

    /// Takes in what was used in another stretch, with the same support.
    pub fn add(&mut self, other: &Self) {
        self.wall_ns += other.wall_ns;
        self.machine_ns += other.machine_ns;
        self.stolen_ns += other.stolen_ns;
        self.generator_ns += other.generator_ns;
        self.contenders_ns += other.contenders_ns;
        for ((_, sum), (_, more)) in self.support_ns.iter_mut().zip(&other.support_ns) {
            *sum += more;
        }
    }

    /// What was used from `before` until this.
    pub fn since(self, before: &Self) -> Self {
        let support = self.support_ns.into_iter().zip(&before.support_ns);
        Self {
            wall_ns: self.wall_ns - before.wall_ns,
            machine_ns: self.machine_ns.saturating_sub(before.machine_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
            generator_ns: self.generator_ns - before.generator_ns,
            contenders_ns: self.contenders_ns.saturating_sub(before.contenders_ns),
            support_ns: support
                .map(|((name, after), (_, before))| (name, after.saturating_sub(*before)))
                .collect(),
        }
    }

    /// The part of the support's cores that is in use, by everything of the run that is pinned to them.
    pub fn support_share(&self, cores: SupportCores) -> f64 {
        let support: u64 = self.support_ns.iter().map(|(_, ns)| ns).sum();
        let generator = if cores.with_generator { self.generator_ns } else { 0 };
        let contenders = if cores.with_contenders { self.contenders_ns } else { 0 };
        let there_is = self.wall_ns.max(1) as f64 * cores.count.max(1) as f64;
        (support + generator + contenders) as f64 / there_is
    }

    /// CPU of processes that aren't part of the run, in ns.
    pub fn others_ns(&self) -> u64 {
        let ours =
            self.generator_ns + self.contenders_ns + self.support_ns.iter().map(|(_, ns)| ns).sum::<u64>();
        self.machine_ns.saturating_sub(ours)
    }
}
