//! Refunds: what was captured goes back.

use serde_json::{Value, json};

use super::call::{Call, Wanted, object};
use super::machine::{Answer, Machine, not_found, path};
use super::money::Payment;
use super::rules::{MOST, Rules};

/// Where a payment can be refunded from.
const TAKEN: [&str; 2] = ["partially_captured", "captured"];

/// A refund.
#[derive(Debug, Clone)]
pub struct Refund {
    /// By name.
    pub id: String,
    /// Whose money goes back.
    pub payment: String,
    /// Whether a reply told its id: that of a refused one is learnt from lists alone.
    pub told: bool,
    /// As replies show it.
    pub shown: Value,
}

impl Payment {
    /// Captured and not refunded, in minor units.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded
    }

    /// Whether anything was given back.
    pub fn is_refunded(&self) -> bool {
        self.refunded > 0
    }

    /// Whether anything is left to give back.
    pub fn is_refundable(&self) -> bool {
        self.refundable() > 0
    }
}

impl Machine {
    /// CreateRefund. A refund has its operation's id behind another prefix.
    pub fn create_refund(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        let amount = rules.integer("amount", 1, MOST);
        let reason = rules.optional_text("reason", 200);
        rules.check()?;
        self.keyed(call, json!({"amount": amount, "reason": reason}), |machine| {
            let index = machine.find(call)?;
            let payment = &mut machine.payments[index];
            payment.needs(&TAKEN)?;
            let room = payment.refundable();
            let amount = amount.unwrap_or(room);
            if !payment.is_refundable() || amount > room {
                return Err(Wanted::about("AMOUNT_EXCEEDS_REFUNDABLE", &payment.id, json!({})));
            }
            let told = !payment.refuses("3097");
            let step = machine.step;
            let id = format!("ref_${{op{step}}}");
            let mut members = object(json!({
                "id": id, "payment": payment.id, "amount": amount, "currency": payment.currency,
                "state": if told { "succeeded" } else { "failed" },
                "created_at": format!("${{time_created_op{step}}}"), "updated_at": format!("${{time_updated_op{step}}}"),
            }));
            if let Some(reason) = reason {
                members.insert("reason".into(), reason.into());
            }
            if !told {
                members.insert("failure_reason".into(), "refused".into());
            }
            let (payment_id, shown) = (payment.id.clone(), Value::Object(members.clone()));
            machine.refunds.push(Refund { id, payment: payment_id, told, shown });
            if !told {
                return Err(machine.refused(index, "refund.failed"));
            }
            let payment = &mut machine.payments[index];
            payment.refunded += amount;
            payment.updated = step;
            machine.journal(index, [-amount, amount, 0]);
            machine.emit("refund.succeeded");
            Ok(Wanted { members, ..Wanted::default() })
        })
    }

    /// GetRefund.
    pub fn get_refund(&self, call: &Call) -> Answer {
        let found = self.refunds.iter().find(|refund| refund.id == path(call));
        found.map(|refund| Wanted::object(refund.shown.clone())).ok_or_else(not_found)
    }
}
