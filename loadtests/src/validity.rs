//! Whether a run may be believed: each bound that it has to keep, by name, with what was measured.

use serde::{Deserialize, Serialize};

use crate::stats::PAIRS_MIN;

/// The bounds' names, for reports and `--allow-void`.
pub mod name {
    /// Replies came as fast as requests were offered.
    pub const RATE: &str = "rate";
    /// Requests went out when they were due.
    pub const LAG: &str = "lag";
    /// Requests whose earlier result was missing.
    pub const SKIPPED: &str = "skipped";
    /// Requests that were refused for want of capacity.
    pub const SHED: &str = "shed";
    /// Requests for which there was no room.
    pub const DROPPED: &str = "dropped";
    /// Everything that is compared was answered at least once.
    pub const ANSWERED: &str = "answered";
    /// Replies that aren't what the contract says.
    pub const UNEXPECTED: &str = "unexpected";
    /// Requests = replies = rows.
    pub const COUNTS: &str = "counts";
    /// What must always hold of the rows does.
    pub const INVARIANTS: &str = "invariants";
    /// Requests in flight, counted apart, are the rate times the mean latency.
    pub const LITTLE: &str = "little";
    /// Nothing was answered faster than its work can be done.
    pub const FLOOR: &str = "floor";
    /// Connections were open and stayed open.
    pub const CONNECTIONS: &str = "connections";
    /// The generator had CPU to spare.
    pub const GENERATOR: &str = "generator";
    /// What stands around the service had CPU to spare.
    pub const SUPPORT: &str = "support";
    /// Nobody else used the machine.
    pub const OTHERS: &str = "others";
    /// The host didn't take the CPU away.
    pub const STOLEN: &str = "stolen";
    /// Most pairs were played while the host left the machine alone.
    pub const DISTURBED: &str = "disturbed";
    /// What is compared was built for speed, of the same source.
    pub const BUILD: &str = "build";
    /// Traces are whole.
    pub const TRACED: &str = "traced";
    /// The run went to its end.
    pub const COMPLETE: &str = "complete";
}

/// Bounds that say something about the machine, not about what the services answered: a trial on a busy machine may
/// miss them. Requests that weren't served are none of them: a trial has looser bounds for those.
pub const OF_THE_MACHINE: [&str; 8] = [
    name::RATE,
    name::LAG,
    name::GENERATOR,
    name::SUPPORT,
    name::OTHERS,
    name::STOLEN,
    name::DISTURBED,
    name::BUILD,
];

/// Bounds that a caller may name as missable, beyond those of the machine.
pub const BY_NAME: [&str; 4] = [name::SKIPPED, name::SHED, name::DROPPED, name::CONNECTIONS];

const ACHIEVED_MIN: f64 = 0.95;
/// A contender's latencies hold its lag; beyond this it would hide or make differences of a service's own size.
pub const LAG_P99_MAX_US: f64 = 1_000.0;
const SKIPPED_MAX: f64 = 0.001;
/// They aren't timed, so more of them would flatter whoever sheds.
const SHED_MAX: f64 = 0.001;
/// Requests skipped, shed or dropped in a trial, each: a few for want of speed, but it shows what it is there to show.
const TRIAL_MAX: f64 = 0.05;
/// Histograms have steps of 0.1 %, and of 1 µs.
const LITTLE_MAX: f64 = 0.05;
const GENERATOR_MAX: f64 = 0.5;
const SUPPORT_MAX: f64 = 0.9;
/// Of a core.
pub const OTHERS_MAX: f64 = 0.1;
/// Also of one pair: in one with more, what is seen is the host's doing.
pub const STOLEN_MAX: f64 = 0.05;
/// Of the pairs: where more are set aside, those that are left were played on a machine that nobody had for himself.
pub const DISTURBED_MAX: f64 = 0.25;

/// One bound and how it was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name; see `name`.
    pub name: String,
    /// What it asks.
    pub asks: String,
    /// What was measured.
    pub measured: String,
    /// Kept.
    pub held: bool,
    /// Missed, and the caller said that this one doesn't void the run.
    pub allowed: bool,
    /// Unset where it can't be looked at here; `measured` says why, and it is neither kept nor missed.
    pub applies: bool,
}

impl Bound {
    /// Makes the run void.
    pub fn voids(&self) -> bool {
        self.missed() && !self.allowed
    }

    /// Looked at, and not kept.
    pub fn missed(&self) -> bool {
        self.applies && !self.held
    }
}

/// What the bounds are about, for one scenario; a pair's two contenders are in `contenders`.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Each contender's counts.
    pub contenders: Vec<Counts>,
    /// Of one core, while slices played.
    pub generator_share: f64,
    /// Of the cores of what stands around.
    pub support_share: f64,
    /// Cores used by processes that aren't part of the run.
    pub others_cores: f64,
    /// Cores that the host gave to another guest.
    pub stolen_cores: f64,
    /// What the contenders say of themselves.
    pub builds: Vec<Build>,
    /// Build profile of this program.
    pub generator_profile: String,
    /// Slices asked for and played, of both contenders together.
    pub slices: (usize, usize),
    /// Pairs set aside because the host took too much meanwhile, and all that were asked for; unset where one contender
    /// was alone.
    pub set_aside: Option<(usize, usize)>,
    /// A short run to see that everything works: requests may go unserved within a looser bound.
    pub trial: bool,
    /// Bounds that can't be looked at, by name, and why.
    pub inapplicable: Vec<(String, String)>,
}

/// What a contender was built from, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its name.
    pub name: String,
    /// `unknown` where the build wasn't told; `-dirty` at the end where there were changes beyond it.
    pub commit: String,
    /// `release`, `tuned` or another.
    pub profile: String,
    /// It is to be a tuned build; else a release build.
    pub tuned: bool,
}

/// One contender's counts over a whole scenario.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Its name.
    pub name: String,
    /// Due in measured slices.
    pub offered: u64,
    /// Requests a second that were offered.
    pub offered_rate: f64,
    /// Replies a second.
    pub achieved_rate: f64,
    /// Sent, replies, skipped, dropped, unanswered and failed, warm-up included.
    pub sent: u64,
    /// Replies read, warm-up included.
    pub replies: u64,
    /// Skipped in measured slices.
    pub skipped: u64,
    /// Refused for want of capacity, in measured slices.
    pub shed: u64,
    /// Dropped, warm-up included.
    pub dropped: u64,
    /// Operations of the trace, and how many replies to each were as expected, in measured slices.
    pub answered: Vec<(String, u64)>,
    /// Unexpected replies and failures by kind, warm-up included.
    pub unexpected: Vec<(String, u64)>,
    /// What must always hold of the rows on the other side; none at all proves nothing.
    pub invariants: Vec<Invariant>,
    /// 99th percentile of the time from due to sent in its slices, in µs.
    pub lag_p99_us: f64,
    /// Connections that had to be opened again.
    pub reopened: u64,
    /// Connections open at the end of a slice, in the one with the fewest, and how many there are to be.
    pub open: (u64, u64),
    /// Length of all slices.
    pub seconds: f64,
    /// Requests in flight, summed over time.
    pub in_flight_seconds: f64,
    /// All times from due to answered, or to failed.
    pub latency_seconds: f64,
    /// Operations with a floor: its name, the floor and the least latency, in µs.
    pub fastest: Vec<(String, u64, u64)>,
    /// What was counted from replies, and the same as found on the other side: name, replies, rows.
    pub effects: Vec<(String, u64, u64)>,
    /// Requests that the other side says it got, warm-up included; unset where it doesn't say.
    pub counted: Option<u64>,
}

/// Something that must hold of all rows on a contender's side, as found there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invariant {
    /// What must hold.
    pub name: String,
    /// Rows looked at.
    pub looked_at: i64,
    /// Rows that break it.
    pub violations: i64,
    /// One of them.
    pub example: Option<String>,
}

/// Judges the evidence; bounds named in `allowed` are reported but don't void.
pub fn judge(evidence: &Evidence, allowed: &[String]) -> Vec<Bound> {
    let bound = |name: &str, asks: String, measured: String, held: bool| Bound {
        name: name.into(),
        asks,
        measured,
        held,
        allowed: !held && allowed.iter().any(|allowed| allowed == name),
        applies: true,
    };
    let mut bounds = of_contenders(evidence, &bound);
    bounds.extend(of_times(&evidence.contenders, &bound));
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    for (name, asks, share, most) in of_cores(evidence) {
        let asks = asks.replace("{most}", &percent(most));
        bounds.push(bound(name, asks, percent(share), share <= most));
    }
    if let Some((count, of)) = evidence.set_aside {
        let measured = format!("{count} of {of} pairs");
        bounds.push(bound(name::DISTURBED, disturbed_asks(of), measured, undisturbed(count, of)));
    }
    bounds.push(bound(name::BUILD, build_asks(evidence).into(), built(evidence), fit(evidence)));
    let (asked, played) = evidence.slices;
    let measured = format!("{played} of {asked} slices");
    bounds.push(bound(name::COMPLETE, "the run goes to its end".into(), measured, asked == played));
    for bound in &mut bounds {
        if let Some((_, why)) = evidence.inapplicable.iter().find(|(name, _)| *name == bound.name) {
            (bound.held, bound.allowed, bound.applies) = (false, false, false);
            bound.measured = format!("not applicable: {why}");
        }
    }
    bounds
}

/// Of a run of so many pairs.
fn disturbed_asks(of: usize) -> String {
    let asks = format!(
        "at most {:.1} % of the pairs are set aside because the host took more than {:.1} % of a core meanwhile",
        DISTURBED_MAX * 100.0,
        STOLEN_MAX * 100.0
    );
    if of < PAIRS_MIN {
        return asks;
    }
    format!("{asks}, and at least {PAIRS_MIN} are left: of fewer nothing has an interval")
}

/// Whether enough of them were left. A run that was to have intervals and has none says nothing, however few were set aside.
fn undisturbed(count: usize, of: usize) -> bool {
    let left = of.saturating_sub(count);
    count as f64 <= of as f64 * DISTURBED_MAX && (left >= PAIRS_MIN || of < PAIRS_MIN)
}

/// Bounds of how much of which cores is in use: what each asks, the share, and the most that it may be.
fn of_cores(evidence: &Evidence) -> [(&'static str, &'static str, f64, f64); 4] {
    let support =
        "the cores of the database and what else stands around are in use for at most {most} of the time";
    [
        (
            name::GENERATOR,
            "the generator uses at most {most} of a core",
            evidence.generator_share,
            GENERATOR_MAX,
        ),
        (name::SUPPORT, support, evidence.support_share, SUPPORT_MAX),
        (name::OTHERS, "other processes use at most {most} of a core", evidence.others_cores, OTHERS_MAX),
        (name::STOLEN, "the host takes away at most {most} of a core", evidence.stolen_cores, STOLEN_MAX),
    ]
}

fn build_asks(evidence: &Evidence) -> &'static str {
    if evidence.builds.is_empty() {
        return "the generator is a release build";
    }
    if evidence.builds.iter().any(|build| build.tuned) {
        return "both services are built from the same known commit; what is called tuned is a tuned build, all else and the generator are release builds";
    }
    "both services are built from the same known commit, and they and the generator are release builds"
}

fn of_contenders(evidence: &Evidence, bound: &dyn Fn(&str, String, String, bool) -> Bound) -> Vec<Bound> {
    let all = &evidence.contenders;
    let (say, every) = (|text: Text<'_>| say(all, text), |holds: Rule<'_>| all.iter().all(holds));
    let achieved = |counts: &Counts| counts.achieved_rate / counts.offered_rate.max(f64::MIN_POSITIVE);
    let of_offered = |counts: &Counts, count: u64| count as f64 / counts.offered.max(1) as f64;
    let unserved = |name: &str, what: &str, most: f64, count: fn(&Counts) -> u64| {
        let most = if evidence.trial { TRIAL_MAX } else { most };
        let asks = if most > 0.0 {
            format!("at most {:.1} % of the requests {what}", most * 100.0)
        } else {
            format!("no requests {what}")
        };
        let measured =
            say(&|counts| format!("{} ({:.2} %)", count(counts), of_offered(counts, count(counts)) * 100.0));
        bound(name, asks, measured, every(&|counts| of_offered(counts, count(counts)) <= most))
    };
    vec![
        bound(
            name::RATE,
            format!("replies come at {:.0} % or more of the offered rate", ACHIEVED_MIN * 100.0),
            say(&|counts| format!("{:.1} %", achieved(counts) * 100.0)),
            every(&|counts| achieved(counts) >= ACHIEVED_MIN),
        ),
        unserved(name::SKIPPED, "lack the result that they need", SKIPPED_MAX, |counts| counts.skipped),
        unserved(name::SHED, "are refused for want of capacity", SHED_MAX, |counts| counts.shed),
        unserved(name::DROPPED, "are dropped for want of room", 0.0, |counts| counts.dropped),
        bound(
            name::ANSWERED,
            "every operation gets at least one reply as expected".into(),
            say(&answered),
            every(&|counts| counts.answered.iter().all(|(_, count)| *count > 0)),
        ),
        bound(
            name::UNEXPECTED,
            "every reply is what the contract says".into(),
            say(&unexpected),
            every(&|counts| counts.unexpected.is_empty()),
        ),
        bound(
            name::COUNTS,
            counts_ask(all).into(),
            say(&counted),
            every(&|counts| {
                counts.sent == counts.replies
                    && counts.counted.is_none_or(|counted| counted == counts.replies)
                    && counts.effects.iter().all(|(_, replies, rows)| replies == rows)
            }),
        ),
        bound(
            name::INVARIANTS,
            "what must always hold of the rows holds in the whole database, after the load".into(),
            say(&|counts| broken(&counts.invariants)),
            every(&|counts| whole(&counts.invariants)),
        ),
    ]
}

/// Bounds of connections and times.
fn of_times(all: &[Counts], bound: &dyn Fn(&str, String, String, bool) -> Bound) -> Vec<Bound> {
    let (say, every) = (|text: Text<'_>| say(all, text), |holds: Rule<'_>| all.iter().all(holds));
    vec![
        bound(
            name::CONNECTIONS,
            "all connections are open at the end of each slice, and none has to be opened again".into(),
            say(&|counts| {
                format!("{} of {}, {} opened again", counts.open.0, counts.open.1, counts.reopened)
            }),
            every(&|counts| counts.reopened == 0 && counts.open.0 >= counts.open.1),
        ),
        bound(
            name::LITTLE,
            format!(
                "requests in flight are the rate times the mean latency (Little’s law), to within {:.0} %",
                LITTLE_MAX * 100.0
            ),
            say(&little),
            every(&|counts| {
                (counts.latency_seconds - counts.in_flight_seconds).abs()
                    <= LITTLE_MAX * counts.in_flight_seconds
            }),
        ),
        bound(
            name::FLOOR,
            "nothing is answered faster than its work can be done".into(),
            say(&fastest),
            every(&|counts| counts.fastest.iter().all(|(_, floor, least)| least >= floor)),
        ),
        bound(
            name::LAG,
            format!(
                "to each, 99 of 100 requests leave, or queue for a connection, at most {LAG_P99_MAX_US:.0} µs after they are due"
            ),
            say(&|counts| format!("{:.0} µs", counts.lag_p99_us)),
            every(&|counts| counts.lag_p99_us <= LAG_P99_MAX_US),
        ),
    ]
}

/// What is said of one contender.
type Text<'a> = &'a dyn Fn(&Counts) -> String;
/// What has to hold of each.
type Rule<'a> = &'a dyn Fn(&Counts) -> bool;

fn say(all: &[Counts], text: Text<'_>) -> String {
    all.iter().map(|counts| format!("{} {}", counts.name, text(counts))).collect::<Vec<_>>().join("; ")
}

fn counts_ask(all: &[Counts]) -> &'static str {
    if all.iter().all(|counts| counts.effects.is_empty()) {
        return "requests sent = replies (what they left behind can’t be counted from here)";
    }
    if all.iter().all(|counts| counts.counted.is_none()) {
        return "requests sent = replies, and replies = rows in the database";
    }
    "requests sent = replies = requests that the service counted, and replies = rows in the database"
}

fn built(evidence: &Evidence) -> String {
    if evidence.builds.is_empty() {
        return format!("generator {}; of the services it isn’t known", evidence.generator_profile);
    }
    let build = |build: &Build| {
        let dirty =
            if build.commit.ends_with("-dirty") { ", with changes that aren’t committed" } else { "" };
        format!("{} {} ({}{dirty})", build.name, build.commit, build.profile)
    };
    let builds = evidence.builds.iter().map(build).collect::<Vec<_>>().join("; ");
    format!("{builds}; generator {}", evidence.generator_profile)
}

fn fit(evidence: &Evidence) -> bool {
    let known = |build: &Build| !build.commit.is_empty() && build.commit != "unknown";
    let wanted = |build: &Build| if build.tuned { "tuned" } else { "release" };
    evidence.builds.iter().all(|build| known(build) && build.profile == wanted(build))
        && evidence.builds.windows(2).all(|two| two[0].commit == two[1].commit)
        && evidence.generator_profile == "release"
}

fn answered(counts: &Counts) -> String {
    let never: Vec<_> =
        counts.answered.iter().filter(|(_, count)| *count == 0).map(|(name, _)| name.as_str()).collect();
    if never.is_empty() { "all".into() } else { format!("never {}", never.join(", ")) }
}

fn unexpected(counts: &Counts) -> String {
    let kinds: Vec<_> = counts.unexpected.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    if kinds.is_empty() { "none".into() } else { kinds.join(", ") }
}

fn little(counts: &Counts) -> String {
    let over = counts.seconds.max(f64::MIN_POSITIVE);
    format!(
        "{:.3} in flight, {:.3} by rate and latency",
        counts.in_flight_seconds / over,
        counts.latency_seconds / over
    )
}

fn fastest(counts: &Counts) -> String {
    let one = |(name, floor, least): &(String, u64, u64)| {
        format!("{name} {:.2} ms (floor {:.2})", *least as f64 / 1e3, *floor as f64 / 1e3)
    };
    let all: Vec<_> = counts.fastest.iter().map(one).collect();
    if all.is_empty() { "no operation has a known floor".into() } else { all.join(", ") }
}

fn whole(invariants: &[Invariant]) -> bool {
    !invariants.is_empty() && invariants.iter().all(|invariant| invariant.violations == 0)
}

fn broken(invariants: &[Invariant]) -> String {
    let broken = |invariant: &Invariant| {
        let example = invariant.example.as_ref().map(|example| format!(", such as {example}"));
        format!(
            "“{}” broken by {} of {} rows{}",
            invariant.name,
            invariant.violations,
            invariant.looked_at,
            example.unwrap_or_default()
        )
    };
    let found: Vec<_> = invariants.iter().filter(|invariant| invariant.violations != 0).map(broken).collect();
    if found.is_empty() { format!("all {} hold", invariants.len()) } else { found.join(", ") }
}

fn counted(counts: &Counts) -> String {
    let effects: Vec<_> = counts
        .effects
        .iter()
        .map(|(name, replies, rows)| format!("{replies} {name} = {rows} rows"))
        .collect();
    let effects = effects.iter().map(|text| format!(", {text}")).collect::<String>();
    let counted = counts.counted.map(|counted| format!(" = {counted} counted by the service"));
    format!("{} sent = {} replies{}{effects}", counts.sent, counts.replies, counted.unwrap_or_default())
}

#[cfg(test)]
mod tests;
