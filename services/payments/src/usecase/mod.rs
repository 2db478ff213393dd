//! One verb a file; both doors call these and nothing else. A command holds what was sent, absence included; the use case checks it,
//! decides through the domain, and moves data between store, hash pool and card network. No HTTP and no gRPC.

pub mod authenticate;
pub mod capture;
pub mod create;
pub mod deadline;
pub mod events;
pub mod idempotency;
pub mod ledger;
pub mod merchants;
pub(crate) mod operation;
pub mod page;
pub mod payments;
mod rate_limit;
pub mod read;
pub mod refund;
mod request_hash;
pub mod tokenize;
pub mod void;
pub mod webhooks;
