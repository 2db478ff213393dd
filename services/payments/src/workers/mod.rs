//! What goes on without a request. Each worker is a `step()` that did something or found nothing to do, looped until the shutdown;
//! tests drive the steps by hand. Workers use their own connections.

pub mod recovery;
