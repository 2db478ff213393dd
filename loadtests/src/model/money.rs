//! Payments: the table of states, the ledger's journals, and who refuses what.

use serde_json::{Map, Value, json};

use super::call::{Call, Wanted};
use super::lists::Entry;
use super::machine::{Answer, Machine, not_found, path};
use super::plan::UNKNOWN_TOKEN;
use super::rules::{MOST, Rules};

/// Where a payment can be captured or voided from.
const OPEN: [&str; 2] = ["authorized", "partially_captured"];
const CURRENCIES: [&str; 4] = ["USD", "EUR", "GBP", "JPY"];
/// What an entry is about.
pub const ACCOUNTS: [&str; 3] = ["acquirer_receivable", "merchant_payable", "fee_income"];
/// How a well-formed token's id begins.
const TOKENS: [&str; 3] = ["${ptk", "${stranger_token}", UNKNOWN_TOKEN];
/// What payments' ids begin with.
const PAYMENTS: [&str; 3] = ["${pay", "${stranger_payment}", "pay_7"];
/// What the card network says to an authorisation, by the card number's ending.
const DECLINES: [(&str, &str); 6] = [
    ("0002", "do_not_honor"),
    ("9995", "insufficient_funds"),
    ("0069", "expired_card"),
    ("0127", "incorrect_cvc"),
    ("9987", "lost_or_stolen"),
    ("0119", "processing_error"),
];

/// A payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// By name.
    pub id: String,
    /// The card's.
    pub number: String,
    /// What is shown of the request.
    shown: Map<String, Value>,
    /// As JSON has it.
    pub state: &'static str,
    decline_reason: Option<&'static str>,
    /// Minor units.
    pub authorized: i64,
    /// Minor units.
    pub captured: i64,
    /// Minor units.
    pub refunded: i64,
    /// ISO 4217.
    pub currency: String,
    /// The step of the last change.
    pub updated: usize,
}

impl Payment {
    /// As replies show it.
    pub fn object(&self) -> Value {
        let mut members = self.shown.clone();
        let name = self.id.trim_matches(['$', '{', '}']);
        let mut add = |member: &str, value: Value| members.insert(member.into(), value);
        add("id", self.id.clone().into());
        add("state", self.state.into());
        if let Some(reason) = self.decline_reason {
            add("decline_reason", reason.into());
        }
        add("authorized", self.authorized.into());
        add("captured", self.captured.into());
        add("refunded", self.refunded.into());
        if self.is_open() {
            add("expires_at", format!("${{time_expires_{name}}}").into());
        }
        add("created_at", format!("${{time_created_{name}}}").into());
        add("updated_at", format!("${{time_updated_{name}_{}}}", self.updated).into());
        Value::Object(members)
    }

    /// Whether it can be captured or voided.
    pub fn is_open(&self) -> bool {
        OPEN.contains(&self.state)
    }

    /// The token's id, by name.
    pub fn token(&self) -> Option<&str> {
        self.shown.get("payment_token")?.as_str()
    }

    /// PAYMENT_STATE_INVALID, where its state is another.
    pub fn needs(&self, allowed: &[&str]) -> Result<(), Wanted> {
        if allowed.contains(&self.state) {
            return Ok(());
        }
        let members = json!({"current_state": self.state, "allowed_states": allowed});
        Err(Wanted::about("PAYMENT_STATE_INVALID", &self.id, members))
    }

    /// Whether the card network refuses what follows an authorisation.
    pub fn refuses(&self, ending: &str) -> bool {
        self.number.ends_with(ending)
    }
}

impl Machine {
    /// CreatePayment.
    pub fn create_payment(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        rules.required("amount");
        let amount = rules.integer("amount", 1, MOST).unwrap_or_default();
        let currency = rules
            .formed("currency", |code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()));
        let token = rules.formed("payment_token", is_token);
        rules.required("capture");
        rules.required("merchant_reference");
        let reference = rules.text("merchant_reference", 1, 64).unwrap_or_default();
        let description = rules.optional_text("description", 500);
        rules.pairs("metadata", 20, 40, 200);
        rules.check()?;
        if !CURRENCIES.contains(&currency) {
            return Err(Wanted::error("CURRENCY_UNSUPPORTED"));
        }
        let mut shown = call.body.clone();
        shown.retain(|name, value| match name.as_str() {
            "description" => description.is_some(),
            "metadata" => value.as_object().is_some_and(|pairs| !pairs.is_empty()),
            _ => true,
        });
        self.keyed(call, Value::Object(shown.clone()), |machine| {
            let found = machine.tokens.iter().find(|known| known.id == token);
            let number = found.ok_or_else(not_found)?.number.clone();
            if !machine.references.insert(reference.into()) {
                return Err(Wanted::error("DUPLICATE_REFERENCE"));
            }
            let payment = Payment {
                id: format!("${{pay{}}}", machine.payments.len()),
                number,
                shown,
                state: "processing",
                decline_reason: None,
                authorized: 0,
                captured: 0,
                refunded: 0,
                currency: currency.into(),
                updated: machine.step,
            };
            machine.payments.push(payment);
            machine.emit("payment.created");
            machine.authorise(amount)
        })
    }

    /// The newest payment: what risk and then the card network say.
    fn authorise(&mut self, amount: i64) -> Answer {
        let index = self.payments.len() - 1;
        let payment = &mut self.payments[index];
        let declined = DECLINES.iter().find(|(ending, _)| payment.number.ends_with(ending));
        let (blocked, reason) = match declined {
            _ if amount > self.settings.amount_limit => (true, Some("risk_blocked")),
            _ if exceeds(&mut self.admitted, &payment.number, self.settings.velocity_limit) => {
                (true, Some("risk_blocked"))
            }
            Some((_, reason)) => (false, Some(*reason)),
            None => (false, None),
        };
        if let Some(reason) = reason {
            payment.state = "declined";
            payment.decline_reason = Some(reason);
            let (id, shown) = (payment.id.clone(), payment.object());
            self.emit("payment.declined");
            return Err(if blocked {
                Wanted::about("RISK_BLOCKED", &id, json!({"payment": shown}))
            } else {
                Wanted::about("CARD_DECLINED", &id, json!({"decline_reason": reason, "payment": shown}))
            });
        }
        payment.authorized = amount;
        payment.state = "authorized";
        let automatic = payment.shown["capture"] == "automatic";
        self.emit("payment.authorized");
        if automatic {
            self.take(index, amount, true);
        }
        Ok(Wanted::object(self.payments[index].object()))
    }

    /// CapturePayment.
    pub fn capture_payment(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        let amount = rules.integer("amount", 1, MOST);
        rules.check()?;
        let last = call.body.get("final").and_then(Value::as_bool).unwrap_or(amount.is_none());
        self.keyed(call, json!({"amount": amount, "final": last}), |machine| {
            let index = machine.find(call)?;
            let payment = &machine.payments[index];
            payment.needs(&OPEN)?;
            let room = payment.authorized - payment.captured;
            let amount = amount.unwrap_or(room);
            if amount > room {
                return Err(Wanted::about("AMOUNT_EXCEEDS_CAPTURABLE", &payment.id, json!({})));
            }
            if payment.refuses("3071") {
                return Err(machine.refused(index, "payment.operation_failed"));
            }
            machine.take(index, amount, last);
            Ok(Wanted::object(machine.payments[index].object()))
        })
    }

    /// VoidPayment: `authorized` stays.
    pub fn void_payment(&mut self, call: &Call) -> Answer {
        self.keyed(call, json!({}), |machine| {
            let index = machine.find(call)?;
            let payment = &mut machine.payments[index];
            payment.needs(&OPEN)?;
            if payment.refuses("3089") {
                return Err(machine.refused(index, "payment.operation_failed"));
            }
            payment.state = if payment.state == "authorized" { "voided" } else { "captured" };
            payment.updated = machine.step;
            machine.emit("payment.voided");
            Ok(Wanted::object(machine.payments[index].object()))
        })
    }

    /// GetPayment.
    pub fn get_payment(&mut self, call: &Call) -> Answer {
        let index = self.find(call)?;
        Ok(Wanted::object(self.payments[index].object()))
    }

    /// The payment that the path names.
    pub fn find(&self, call: &Call) -> Result<usize, Wanted> {
        self.payments.iter().position(|payment| payment.id == path(call)).ok_or_else(not_found)
    }

    /// Captures, and writes the journal.
    fn take(&mut self, index: usize, amount: i64, last: bool) {
        let payment = &mut self.payments[index];
        payment.captured += amount;
        let all = last || payment.captured == payment.authorized;
        payment.state = if all { "captured" } else { "partially_captured" };
        payment.updated = self.step;
        let (amount_wide, bps) = (i128::from(amount), i128::from(self.settings.fee_bps));
        let fee = (amount_wide * bps + 5000) / 10_000 + i128::from(self.settings.fee_fixed);
        let fee = i64::try_from(fee).unwrap_or(amount).min(amount);
        self.journal(index, [amount, fee - amount, -fee]);
        self.emit("payment.captured");
    }

    /// The card network's refusal: nothing changes but the time.
    pub fn refused(&mut self, index: usize, event: &'static str) -> Wanted {
        self.emit(event);
        let payment = &mut self.payments[index];
        payment.updated = self.step;
        Wanted::about("OPERATION_REFUSED", &payment.id, json!({"payment": payment.object()}))
    }

    /// Of a payment, amounts by account. Entries of zero aren't written.
    pub fn journal(&mut self, index: usize, amounts: [i64; 3]) {
        let (payment, step) = (&self.payments[index], self.step);
        for (account, amount) in ACCOUNTS.into_iter().zip(amounts).filter(|(_, amount)| *amount != 0) {
            let (id, currency) = (payment.id.clone(), payment.currency.clone());
            self.entries.push(Entry { step, payment: id, account, currency, amount });
        }
    }

    /// Counts an event.
    pub fn emit(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }
}

/// Whether it is a token's id, of whomever.
pub fn is_token(id: &str) -> bool {
    TOKENS.iter().any(|token| id.starts_with(token))
}

/// Whether it is a payment's id, of whomever.
pub fn is_payment(id: &str) -> bool {
    PAYMENTS.iter().any(|payment| id.starts_with(payment))
}

/// Whether the card was authorised too often; if not, this one counts.
fn exceeds(admitted: &mut std::collections::HashMap<String, i64>, number: &str, limit: Option<i64>) -> bool {
    let Some(limit) = limit else { return false };
    let count = admitted.entry(number.to_owned()).or_default();
    if *count >= limit {
        return true;
    }
    *count += 1;
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::machine::Settings;

    /// What a capture of `amount` leaves, with fees of 2.9 % and 30.
    fn captured(amount: i64) -> Vec<i64> {
        let settings = Settings { fee_bps: 290, fee_fixed: 30, amount_limit: MOST, velocity_limit: None };
        let mut machine = Machine::default();
        machine.settings = settings;
        machine.payments.push(Payment {
            id: "${pay0}".into(),
            number: "4242424242424242".into(),
            shown: Map::new(),
            state: "authorized",
            decline_reason: None,
            authorized: amount,
            captured: 0,
            refunded: 0,
            currency: "USD".into(),
            updated: 0,
        });
        machine.take(0, amount, false);
        machine.balances().into_values().collect()
    }

    #[test]
    fn fees_are_rounded_and_at_most_the_amount() {
        // In the order of the accounts' names: receivable, fees, payable.
        assert_eq!(captured(1000), [1000, -59, -941]);
        assert_eq!(captured(17), [17, -17]);
        assert_eq!(captured(MOST), [MOST, -29_000_000_030, -(MOST - 29_000_000_030)]);
    }
}
