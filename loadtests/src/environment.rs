//! The machine that a run was made on.

use std::fs;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::realtime;

/// The cores that this process may use.
pub fn cores() -> anyhow::Result<Vec<usize>> {
    cores_of(0)
}

/// The cores that a process may use; 0: this one.
pub fn cores_of(pid: u32) -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(i32::try_from(pid)?))?;
    Ok((0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Name and value of what a reader asks first.
pub fn machine() -> anyhow::Result<Vec<(String, String)>> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let kibibytes = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory = kibibytes.map(|kibibytes| format!("{:.1} GiB", kibibytes / 1_048_576.0));
    let unknown = || "unknown".to_owned();
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let governor = if governor.is_empty() { "none visible (a virtual machine?)".into() } else { governor };
    let cores = cores()?;
    let build = build();
    let line = |name: &str, value: String| (name.to_owned(), value);
    Ok(vec![
        line("Processor", field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown)),
        line("Cores usable", format!("{} ({cores:?})", cores.len())),
        line("Memory", memory.unwrap_or_else(unknown)),
        line("Kernel", read("/proc/sys/kernel/osrelease")),
        line("Frequency governor", governor),
        line("Idle cores", realtime::idle_cores()),
        line("Load generator", format!("loadtest {} ({build} build)", env!("CARGO_PKG_VERSION"))),
    ])
}

/// What this program was built from, given to the build by TWINPAY_COMMIT.
pub fn commit() -> &'static str {
    option_env!("TWINPAY_COMMIT").unwrap_or("unknown")
}

/// This program's build profile.
pub fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
