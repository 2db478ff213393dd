//! The gRPC door: the same use cases, the same reasons. It maps messages to commands and stored replies to messages; no rule of the
//! business stands here.

pub mod error;
pub mod handlers;
pub mod interceptors;
pub mod server;
mod stream;
pub mod wire;
