//! Which variables of a person's shell reach what is started.

use std::process::Command;

use crate::process::Life;

/// Takes out of a command's environment what a process of this life doesn't inherit.
pub(crate) fn clean(command: &mut Command, life: Life) {
    for (name, _) in std::env::vars_os() {
        if !is_inherited(&name.to_string_lossy(), life) {
            command.env_remove(name);
        }
    }
}

/// Whether a process gets this variable from ours. What a shell happens to export must not reach into the parts of a
/// test or of a run, least of all what changes one twin and not the other: those get it on purpose.
/// A detached part keeps the settings of OpenTelemetry, since that is how a person sends its traces somewhere.
fn is_inherited(name: &str, life: Life) -> bool {
    const OURS: [&str; 3] = ["TWINPAY_", "ACQUIRER_", "PG"];
    const RUNTIMES: [&str; 4] = ["TOKIO_", "MALLOC_", "_RJEM", "RUST_"];
    const OF_RUNTIMES: [&str; 6] =
        ["GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "LD_PRELOAD"];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let ours = begins(&OURS) || name.ends_with("DATABASE_URL");
    let runtime = begins(&RUNTIMES) || OF_RUNTIMES.contains(&name);
    let tracing = life == Life::Tied && name.starts_with("OTEL_");
    !(ours || runtime || tracing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_inherits_the_stacks_own_variables_or_settings_of_a_runtime() {
        let ours = ["TWINPAY_PEPPER", "ACQUIRER_SEED", "DATABASE_URL", "TEST_DATABASE_URL", "PGHOST"];
        let go = ["GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK"];
        let rust =
            ["TOKIO_WORKER_THREADS", "RUST_LOG", "RUST_BACKTRACE", "RUST_MIN_STACK", "_RJEM_MALLOC_CONF"];
        let both = ["LD_PRELOAD", "MALLOC_CONF", "MALLOC_ARENA_MAX"];
        for name in ours.iter().chain(&go).chain(&rust).chain(&both) {
            assert!(!is_inherited(name, Life::Tied) && !is_inherited(name, Life::Detached), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "GOPATH"] {
            assert!(is_inherited(name, Life::Tied) && is_inherited(name, Life::Detached), "{name}");
        }
    }

    #[test]
    fn only_a_part_that_lives_on_inherits_where_traces_go() {
        for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"] {
            assert!(is_inherited(name, Life::Detached) && !is_inherited(name, Life::Tied), "{name}");
        }
    }
}
