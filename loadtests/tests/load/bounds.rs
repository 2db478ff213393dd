//! Each bound of validity, missed by what it is about: bad servers, a slow generator, a machine that others use.

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures::FutureExt;
use loadtests::compare::{Order, Playback, judge, play};
use loadtests::draw::Draw;
use loadtests::environment;
use loadtests::limits::hash;
use loadtests::scenario::{Doors, Flow, Parameters, Scenario};
use loadtests::surroundings::{Care, Since, Surroundings, undisturbed};
use loadtests::trace::{Door, Line, Trace};
use loadtests::validity::{Bound, name};
use loadtests::workload::{Checked, Effect, Operation, Player, PlayerTarget, Prepared, Reply, Workload};

use crate::compare::{contender, contender_at, judged_strictly};
use crate::support::{Manner, Toy, scenario, serve_aside_while_asked};

/// What a generator of too little speed is like: it takes 4 ms for each request.
struct Slow;

struct SlowPlayer(Box<dyn Player>);

impl Workload for Slow {
    fn name(&self) -> &'static str {
        Toy.name()
    }
    fn operations(&self) -> &'static [Operation] {
        Toy.operations()
    }
    fn check_flow(&self, flow: &Flow) -> Result<(), String> {
        Toy.check_flow(flow)
    }
    fn draw_flow(&self, flow: &Flow, about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters> {
        Toy.draw_flow(flow, about, draw)
    }
    fn player(&self, trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        Ok(Box::new(SlowPlayer(Toy.player(trace, target)?)))
    }
}

impl Player for SlowPlayer {
    fn prepare(&mut self, line: &Line) -> Option<Prepared> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(4) {
            std::hint::spin_loop();
        }
        self.0.prepare(line)
    }
    fn check(&mut self, line: &Line, reply: &Reply, sampled: bool) -> Checked {
        self.0.check(line, reply, sampled)
    }
    fn effects(&self) -> Vec<Effect> {
        self.0.effects()
    }
}

const SLICE_MS: u64 = 200;

/// What the first of two servers does; the other one answers.
struct Trial {
    manner: fn(u64) -> Manner,
    workload: &'static (dyn Workload + Sync),
    /// The least that `make` takes, in µs.
    floor_us: u64,
    /// Rows that are missing on its side.
    lost: u64,
    /// How long it keeps a connection on which nothing is asked; unset: for ever.
    idle: Option<Duration>,
    /// Through which all requests go.
    door: Door,
}

impl Trial {
    const GOOD: Self = Self {
        manner: |_| Manner::Reply,
        workload: &Toy,
        floor_us: 0,
        lost: 0,
        idle: None,
        door: Door::Http,
    };

    /// Every bound, by name.
    fn bounds(self) -> Vec<Bound> {
        let toy = scenario(r#"["make"]"#, 200.0, 4, 64);
        let scenario = Scenario { slice_ms: SLICE_MS, drain_ms: 500, doors: Doors::only(self.door), ..toy };
        let trace = Arc::new(Trace::draw("toy.toml", &scenario, self.workload).expect("a trace"));
        let playback = self.playback(&scenario, &trace);
        let mut played = judged_strictly(&scenario, &trace, playback);
        played.floors = vec![("make".into(), self.floor_us)];
        played.rows[0][0] -= self.lost;
        judge(&played).expect("judged").validity
    }

    fn playback(&self, scenario: &Scenario, trace: &Arc<Trace>) -> Playback {
        let bad = contender_at("bad", serve_aside_while_asked(self.manner, self.idle));
        let contenders = [bad, contender("good", |_| Manner::Reply)];
        let cores = environment::cores().expect("cores");
        let (scenario, trace, workload) = (scenario.clone(), Arc::clone(trace), self.workload);
        let (events, _happened) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            let order = Order {
                scenario: &scenario,
                trace,
                workload,
                contenders: &contenders,
                support: &[],
                cores: &cores,
                order_seed: 1,
                most_stolen: None,
                settle: &|_| async { Ok(()) }.boxed_local(),
            };
            play(&order, &Arc::new(AtomicBool::new(false)), &events).expect("played")
        });
        thread.join().expect("the thread")
    }
}

fn voids(bounds: &[Bound], wanted: &str) -> bool {
    bounds.iter().find(|bound| bound.name == wanted).expect("the bound").voids()
}

#[test]
fn a_good_server_keeps_the_bounds_that_are_about_servers() {
    let bounds = Trial::GOOD.bounds();
    for name in [name::UNEXPECTED, name::COUNTS, name::CONNECTIONS, name::LITTLE, name::FLOOR, name::ANSWERED]
    {
        assert!(!voids(&bounds, name), "{bounds:#?}");
    }
}

#[test]
fn one_that_answers_faster_than_its_work_allows_is_found() {
    let trial =
        Trial { floor_us: 30_000, manner: |_| Manner::Late(Duration::from_millis(20)), ..Trial::GOOD };
    let bounds = trial.bounds();
    assert!(voids(&bounds, name::FLOOR) && !voids(&bounds, name::COUNTS), "{bounds:#?}");
}

#[test]
fn one_that_answers_without_the_hash_that_its_work_is_is_found() {
    let core = environment::cores().expect("cores")[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // More rounds than a service has: also on a busy machine one of the answers comes earlier.
    let floor_us = runtime.block_on(hash::floor_us(&[core], 1 << 16)).expect("loops run");
    let bounds =
        Trial { floor_us: floor_us.expect("a loop that was built for speed"), ..Trial::GOOD }.bounds();
    assert!(voids(&bounds, name::FLOOR) && !voids(&bounds, name::UNEXPECTED), "{bounds:#?}");
}

#[test]
fn one_that_loses_requests_is_found_by_its_silence_and_by_its_rows() {
    let silent = Trial { manner: |id| if id == 50 { Manner::Never } else { Manner::Reply }, ..Trial::GOOD };
    assert!(voids(&silent.bounds(), name::COUNTS));
    let forgetful = Trial { lost: 1, ..Trial::GOOD }.bounds();
    assert!(voids(&forgetful, name::COUNTS) && !voids(&forgetful, name::UNEXPECTED), "{forgetful:#?}");
}

#[test]
fn one_that_answers_a_wrong_status_or_closes_connections_is_found() {
    let wrong =
        Trial { manner: |id| if id == 50 { Manner::Status(500) } else { Manner::Reply }, ..Trial::GOOD };
    let bounds = wrong.bounds();
    assert!(voids(&bounds, name::UNEXPECTED) && !voids(&bounds, name::COUNTS), "{bounds:#?}");
    let rude = Trial { manner: |id| if id == 50 { Manner::HangUp } else { Manner::Reply }, ..Trial::GOOD };
    assert!(voids(&rude.bounds(), name::CONNECTIONS));
}

/// In its own slices each connection has a request all the time; in the other's, none.
#[test]
fn one_that_closes_connections_while_the_other_plays_is_found() {
    for door in [Door::Http, Door::Http2] {
        let leaving = Trial { idle: Some(Duration::from_millis(SLICE_MS * 3 / 4)), door, ..Trial::GOOD };
        let bounds = leaving.bounds();
        assert!(voids(&bounds, name::CONNECTIONS), "{door:?}: {bounds:#?}");
    }
}

#[test]
fn a_generator_that_is_too_slow_is_found() {
    let bounds = Trial { workload: &Slow, ..Trial::GOOD }.bounds();
    assert!(voids(&bounds, name::LAG) && voids(&bounds, name::GENERATOR), "{bounds:#?}");
}

/// Uses a core until it is dropped.
struct Hog(Child);

impl Hog {
    fn start() -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", "while :; do :; done"]).spawn().expect("a shell"))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // It ends by nothing else.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_measurement_beside_which_another_process_uses_the_machine_is_made_again_and_then_void() {
    let mut alone = Command::new(std::env::current_exe().expect("this program"));
    let output =
        alone.args(["--ignored", "--exact", "bounds::measures_beside_a_hog"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// What other tests start and wait for would be taken for a part of the measurement: it has a process of its own.
#[tokio::test]
#[ignore = "no test: what a test of this file starts in a process of its own"]
async fn measures_beside_a_hog() {
    let _hog = Hog::start();
    let resting = async |_| {
        let since = Since::now(&[], &[])?;
        tokio::time::sleep(Duration::from_millis(SLICE_MS)).await;
        Ok(((), since.until_now("resting")?))
    };
    let measured = |trial: bool| Care { allowed: vec![], trial };
    let ((), once) = undisturbed(&measured(true), &|_| (), resting).await.expect("measured");
    let ((), again) = undisturbed(&measured(false), &|_| (), resting).await.expect("measured");
    assert!(once.again == 0 && again.again > 0, "{once:?}, {again:?}");
    let bounds = Surroundings::of(vec![again], &measured(false)).validity;
    assert!(voids(&bounds, name::OTHERS) && !voids(&bounds, name::UNEXPECTED), "{bounds:#?}");
}

#[test]
fn another_process_that_uses_the_machine_is_found() {
    let _hog = Hog::start();
    let bounds = Trial::GOOD.bounds();
    assert!(voids(&bounds, name::OTHERS), "{bounds:#?}");
}
