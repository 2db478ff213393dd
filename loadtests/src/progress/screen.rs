//! The terminal while the view is on it: the alternate screen, so that what stood there comes back. It is given back at
//! the end, on an error, a panic and a second signal. Keys aren't read: Ctrl-C stays a signal.

use std::io::{IsTerminal, Stderr, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

use super::state::State;
use super::view::draw;

/// Between two drawings: a clock that ticks, at next to no CPU on the generator's core.
const TICK: Duration = Duration::from_millis(500);

/// Whether the view has the terminal. Whoever writes to it holds this.
static ON: Mutex<bool> = Mutex::new(false);
/// Who draws.
static DRAWING: Mutex<Option<Thread>> = Mutex::new(None);
/// A signal has come.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The view, drawn by a thread of its own.
pub(super) struct Screen {
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    drawing: Mutex<Option<JoinHandle<()>>>,
}

impl Screen {
    /// Takes the terminal; nothing where standard error isn't one that can be drawn on.
    pub fn open() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !stderr().is_terminal() || dumb {
            return None;
        }
        give_back_on_panic();
        execute!(stderr(), EnterAlternateScreen, Hide).ok()?;
        *lock(&ON) = true;
        let state = Arc::new(Mutex::new(State::new(Instant::now())));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, end) = (Arc::clone(&state), Arc::clone(&ended));
        let drawing = std::thread::Builder::new().name("view".into()).spawn(move || {
            // A terminal that can't be drawn on is no reason to end a measurement.
            if let Ok(mut terminal) = Terminal::new(CrosstermBackend::new(stderr())) {
                while !end.load(Ordering::Relaxed) {
                    tick(&mut terminal, &seen);
                    std::thread::park_timeout(TICK);
                }
            }
        });
        let Ok(drawing) = drawing else {
            restore();
            return None;
        };
        *lock(&DRAWING) = Some(drawing.thread().clone());
        Some(Self { state, ended, drawing: Mutex::new(Some(drawing)) })
    }

    /// Changes what is shown, and has it drawn.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        wake();
    }

    /// Gives the terminal back, and leaves there what was said; a second time does nothing.
    pub fn close(&self) {
        let Some(drawing) = lock(&self.drawing).take() else { return };
        self.ended.store(true, Ordering::Relaxed);
        wake();
        let _ = drawing.join();
        restore();
        for line in &lock(&self.state).lines {
            let _ = writeln!(stderr(), "{line}");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

fn tick(terminal: &mut Terminal<CrosstermBackend<Stderr>>, state: &Mutex<State>) {
    let mut state = lock(state).clone();
    state.interrupted = INTERRUPTED.load(Ordering::Relaxed);
    let on = lock(&ON);
    if *on {
        let _ = terminal.draw(|frame| draw(frame, &state, Instant::now()));
    }
}

/// Says that a signal has come: in the view where there is one, else in a line.
pub fn interrupted(text: &str) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    wake();
    if !*lock(&ON) {
        // The terminal may be gone; then nobody is told.
        let _ = writeln!(stderr(), "\n{text}");
    }
}

/// Has the view drawn at once.
fn wake() {
    if let Some(drawing) = lock(&DRAWING).as_ref() {
        drawing.unpark();
    }
}

/// Gives the terminal back if the view has it.
pub fn restore() {
    give_back(&mut lock(&ON));
}

fn give_back(on: &mut bool) {
    if std::mem::replace(on, false) {
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
    }
}

/// A panic's text has to be read: the terminal is given back before it is written.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            match ON.try_lock() {
                Ok(mut on) => give_back(&mut on),
                // The drawing itself panicked, or is under way: it can't be waited for here.
                Err(_) => drop(execute!(stderr(), LeaveAlternateScreen, Show)),
            }
            before(panic);
        }));
    });
}

/// What a panic left is still good enough to be shown.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
