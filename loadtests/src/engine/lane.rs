//! The connections of one door to one target: which of them have room, and what waits for room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::workload::Prepared;

/// A request on its way to a connection.
pub(super) struct Job {
    /// Of its line in the trace.
    pub index: usize,
    /// By the clock.
    pub due_ns: u64,
    /// What is sent.
    pub request: Prepared,
    /// A connection had room when it came due.
    pub at_once: bool,
}

/// One thread: cells, no locks.
pub(super) struct Lane {
    seats: Vec<Seat>,
    /// Seats that are open: counted as they open and close, since thousands do.
    open: Cell<usize>,
    /// Connections with room, the one that got it first in front; each stands here at most once.
    free: RefCell<VecDeque<usize>>,
    waiting: RefCell<VecDeque<Job>>,
    /// Requests at once on one connection.
    room: usize,
}

/// What a connection is handed.
#[derive(Default)]
struct Seat {
    jobs: RefCell<VecDeque<Job>>,
    waker: Cell<Option<Waker>>,
    taken: Cell<usize>,
    /// It has been open, and gets jobs: while it is being opened again they wait for it.
    known: Cell<bool>,
    open: Cell<bool>,
}

impl Lane {
    /// None of the connections is open yet.
    pub fn new(connections: usize, room: usize) -> Self {
        let seats = std::iter::repeat_with(Seat::default).take(connections).collect();
        Self { seats, open: Cell::new(0), free: RefCell::default(), waiting: RefCell::default(), room }
    }

    /// Another one for the same door, with nothing open.
    pub fn like(&self) -> Self {
        Self::new(self.seats.len(), self.room)
    }

    /// Whether a request that came now would be sent at once.
    pub fn has_room(&self) -> bool {
        !self.free.borrow().is_empty()
    }

    /// Hands a job to a connection, or has it wait for one.
    pub fn give(&self, job: Job) {
        let Some(number) = self.free.borrow_mut().pop_front() else {
            self.waiting.borrow_mut().push_back(job);
            return;
        };
        let seat = &self.seats[number];
        seat.taken.set(seat.taken.get() + 1);
        if seat.taken.get() < self.room {
            self.free.borrow_mut().push_back(number);
        }
        seat.jobs.borrow_mut().push_back(job);
        if let Some(waker) = seat.waker.take() {
            waker.wake();
        }
    }

    /// Of a connection: the next job, by and by.
    pub fn poll_job(&self, number: usize, context: &mut Context<'_>) -> Poll<Job> {
        let seat = &self.seats[number];
        if let Some(job) = seat.jobs.borrow_mut().pop_front() {
            return Poll::Ready(job);
        }
        seat.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// A connection has opened, or opened again: it has room.
    pub fn opened(&self, number: usize) {
        self.open.set(self.open.get() + usize::from(!self.seats[number].open.replace(true)));
        if !self.seats[number].known.replace(true) {
            self.free.borrow_mut().push_back(number);
            self.serve_waiting();
        }
    }

    /// A connection has closed.
    pub fn closed(&self, number: usize) {
        self.open.set(self.open.get() - usize::from(self.seats[number].open.replace(false)));
    }

    /// A connection has done a job.
    pub fn done(&self, number: usize) {
        let seat = &self.seats[number];
        if seat.taken.get() == self.room {
            self.free.borrow_mut().push_back(number);
        }
        seat.taken.set(seat.taken.get() - 1);
        self.serve_waiting();
    }

    fn serve_waiting(&self) {
        if let Some(job) = self.waiting.borrow_mut().pop_front() {
            self.give(job);
        }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.get()
    }
}
