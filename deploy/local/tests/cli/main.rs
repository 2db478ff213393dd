//! The program `stack`, with stand-ins for the services: what it starts, what it says, what it leaves.

mod bench;
mod killed;
mod shell;
mod up;
mod with_postgres;
