//! Refunds: what was captured goes back. CONTRACT sections 3 to 5.

use serde_json::{Value, json};

use super::call::{Call, Wanted, object};
use super::machine::{Answer, Machine, not_found, path};
use super::money::Payment;
use super::rules::{MOST, Rules};

/// Where a payment can be refunded from.
const TAKEN: [&str; 2] = ["partially_captured", "captured"];

/// A refund that succeeded.
#[derive(Debug, Clone)]
pub struct Refund {
    /// By name.
    pub id: String,
    shown: Value,
}

impl Payment {
    /// Captured and not refunded, in minor units.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded
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
            if payment.refuses("3097") {
                return Err(machine.refused(index, "refund.failed"));
            }
            payment.refunded += amount;
            payment.updated = machine.step;
            let step = machine.step;
            let id = format!("ref_${{op{step}}}");
            let mut members = object(json!({
                "id": id, "payment": payment.id, "amount": amount, "currency": payment.currency, "state": "succeeded",
                "created_at": format!("${{time_created_op{step}}}"), "updated_at": format!("${{time_updated_op{step}}}"),
            }));
            if let Some(reason) = reason {
                members.insert("reason".into(), reason.into());
            }
            machine.journal(index, [-amount, amount, 0]);
            machine.emit("refund.succeeded");
            machine.refunds.push(Refund { id, shown: Value::Object(members.clone()) });
            Ok(Wanted { members, ..Wanted::default() })
        })
    }

    /// GetRefund.
    pub fn get_refund(&self, call: &Call) -> Answer {
        let found = self.refunds.iter().find(|refund| refund.id == path(call));
        found.map(|refund| Wanted::object(refund.shown.clone())).ok_or_else(not_found)
    }
}
