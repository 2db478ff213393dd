//! What goes on without a request. Each worker is a `run()` until the shutdown, and a `step()` that does what is due and says how much,
//! which tests drive by hand. Workers use their own connections.

pub mod expiry;
pub mod recovery;
pub mod relay;
pub mod waker;
