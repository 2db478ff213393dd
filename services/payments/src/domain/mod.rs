//! What a payment is and what may happen to it. Pure: no I/O, no async, no clock, no log; nothing here imports anything else of ours.

pub mod card;
pub mod error;
pub mod event;
pub mod id;
pub mod ledger;
pub mod merchant;
pub mod money;
pub mod payment;
pub mod refund;
pub mod webhook;
