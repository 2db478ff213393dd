//! The contract as a small machine, and random sequences of requests that both twins must answer as it does. Everything
//! but `play` and `effects` is pure: a sequence, the ids aside, is known with all its replies before anything is sent.
//!
//! An object's id stands in requests and replies as a name, `${pay0}`, and so do a time and a cursor; a run learns what each name is
//! from the first reply that shows it, and holds all later ones to it. To add an operation: a function of `Machine`
//! with its line in `Machine::decide`, and a variant of `plan::Ask` with its line in `asking`.

pub mod asking;
pub mod call;
pub mod digest;
pub mod drawing;
pub mod effects;
pub mod lists;
pub mod machine;
pub mod money;
pub mod plan;
pub mod play;
pub mod refunds;
pub mod rules;
pub mod script;
pub mod tally;
pub mod unify;
pub mod webhooks;
