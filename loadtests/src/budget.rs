//! How long what is measured takes, by what it is made of: said before it begins, so that a person can decide to wait.
//!
//! What is known is added up: warm-ups, slices, trials. The rest, such as starts and last replies, is what it usually
//! takes; a slower machine takes more.

use time::OffsetDateTime;

use crate::limits::{self, looking};
use crate::payments::Payments;
use crate::scenario::Scenario;
use crate::workload::Workload;

/// Two services and their databases, or one and its: until the first request.
const START: f64 = 1.0;
/// From the end of a slice to its last reply, beside what the card network takes.
const LAST_REPLY: f64 = 0.03;
/// A closed loop makes in it what it then asks for.
const MAKING: f64 = 0.5;
/// Looking at the rows, stopping, resampling.
const JUDGING: f64 = 1.0;
/// A trial's own part: its connections, two looks at /metrics.
const TRIAL: f64 = 0.2;
/// Rates that are tried until one is missed.
const DOUBLINGS: f64 = 3.0;
/// Before idle memory is looked at.
const REST: f64 = 1.0;
/// Opening one connection, or asking once.
const ONE_HELD: f64 = 0.002;

/// What everything of a run needs: Postgres and the card network, started and stopped.
pub const GROUND: f64 = 3.0;

/// Two services in turn, so many pairs of slices.
pub fn interleaved(scenario: &Scenario, pairs: usize) -> f64 {
    let slice = scenario.slice_ms as f64 / 1e3;
    let connections = 2.0 * scenario.connections as f64 * ONE_HELD;
    START
        + connections
        + 2.0 * warm_up(scenario)
        + 2.0 * pairs as f64 * (slice + last_reply(scenario))
        + JUDGING
}

/// One service, all of the scenario.
pub fn alone(scenario: &Scenario) -> f64 {
    let slices = (scenario.total_us() - scenario.warm_up_us()) as f64 / 1e6;
    START + warm_up(scenario) + slices + last_reply(scenario) + JUDGING
}

/// A search for a capacity, of at most so many trials of `trial` seconds each; `resolution` is how close the ends of the
/// bracket come.
pub fn search(trial: f64, resolution: f64, trials: usize) -> f64 {
    let halvings = (2.0_f64.ln() / resolution.ln()).log2().ceil().max(0.0);
    // Half of them are missed, as the last doubling was, and what is missed may have to be asked again; what is kept is.
    let needed = DOUBLINGS + halvings + (1.0 + halvings / 2.0) + 1.0;
    START + needed.min(trials as f64) * (trial + TRIAL)
}

/// Starts of both services, and so often their memory: under a scenario's load, and with so much held.
pub fn footprints(scenario: &Scenario, starts: usize, repetitions: usize, held: usize) -> f64 {
    let memory = alone(scenario) + START + 2.0 * REST + 2.0 * held as f64 * ONE_HELD;
    2.0 * (starts as f64 * START / 4.0 + repetitions as f64 * memory)
}

/// Of every kind so many measurements; half of them have a warm-up.
pub fn limits(effort: &limits::Effort) -> f64 {
    let one = effort.length.as_secs_f64() + MAKING / 2.0;
    START + (limits::KINDS * effort.repetitions) as f64 * one
}

/// Of every kind so many measurements, each with a warm-up.
pub fn looking(effort: &limits::Effort) -> f64 {
    let one = effort.length.as_secs_f64() + MAKING;
    START + (looking::MEASUREMENTS * effort.repetitions) as f64 * one
}

/// Its two parts, each until its last reply: what makes a card waits for no network.
fn warm_up(scenario: &Scenario) -> f64 {
    scenario.warm_up.seconds + LAST_REPLY + last_reply(scenario)
}

fn last_reply(scenario: &Scenario) -> f64 {
    LAST_REPLY + Payments.floor_us("sale", &scenario.settings).unwrap_or(0) as f64 / 1e6
}

/// `1 h 5 min`, `5 min 30 s`, `12 s`.
pub fn spoken(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest} s"),
        (_, _) => format!("{hours} h {minutes} min"),
    }
}

/// The time of day so many seconds from now: `17:05 UTC`, with the day where that isn't today.
pub fn after(seconds: f64) -> String {
    moment(OffsetDateTime::now_utc(), seconds)
}

fn moment(now: OffsetDateTime, seconds: f64) -> String {
    let then = now + time::Duration::seconds_f64(seconds);
    let day = if then.date() == now.date() { String::new() } else { format!("{} ", then.date()) };
    format!("{day}{:02}:{:02} UTC", then.hour(), then.minute())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::scenario::Overrides;

    fn scenario(name: &str) -> Scenario {
        Scenario::load(name, &Overrides::default()).unwrap()
    }

    #[test]
    fn a_comparison_is_two_warm_ups_and_two_slices_a_pair_with_their_last_replies() {
        let checkout = Scenario { connections: 0, ..scenario("checkout") };
        // The card network's 2 ms come to each last reply. A warm-up has two; what makes isn't sent to the network.
        let wanted = 2.0 + 2.0 * 8.062 + 48.0 * 1.532;
        assert!((interleaved(&checkout, 24) - wanted).abs() < 1e-9);
        assert!((interleaved(&checkout, 25) - interleaved(&checkout, 24) - 2.0 * 1.532).abs() < 1e-9);
    }

    #[test]
    fn a_slow_card_network_is_waited_for_after_each_slice() {
        let waiting = Scenario { connections: 0, ..scenario("waiting") };
        let slice = waiting.slice_ms as f64 / 1e3 + 6.0 + LAST_REPLY;
        assert!((interleaved(&waiting, 11) - interleaved(&waiting, 10) - 2.0 * slice).abs() < 1e-9);
    }

    #[test]
    fn a_finer_search_takes_more_trials() {
        // Three doublings, halvings of the factor 2 down to the resolution, what is missed again, and what is kept.
        let trials = |resolution, most| (search(5.0, resolution, most) - START) / (5.0 + TRIAL);
        assert!((trials(1.05, 30) - 11.0).abs() < 1e-9 && (trials(1.1, 30) - 9.5).abs() < 1e-9);
        assert!((trials(1.05, 8) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn lengths_and_moments_are_told_as_people_tell_them() {
        let told = [12.4, 330.0, 3599.6, 3900.0].map(spoken);
        assert_eq!(told, ["12 s", "5 min 30 s", "1 h 0 min", "1 h 5 min"]);
        let now = datetime!(2026-01-01 22:50 UTC);
        assert_eq!(moment(now, 300.0), "22:55 UTC");
        assert_eq!(moment(now, 4200.0), "2026-01-02 00:00 UTC");
    }
}
