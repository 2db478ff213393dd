//! The HTTP door: routes, the order of checks, strict JSON in, problems out. It calls use cases and renders what they return; no
//! rule of the business stands here.

mod body;
pub mod error;
pub mod handlers;
pub mod middleware;
mod query;
pub mod router;
mod stream;
pub mod wire;
