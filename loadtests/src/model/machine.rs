//! One merchant as the contract has it: what each request must be answered, and what it leaves behind. Written from
//! the contract alone; nothing of the services is used here.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::call::{Call, Credential, Key, Wanted, object};
use super::lists::{Cursor, Entry};
use super::money::Payment;
use super::refunds::Refund;
use super::rules::{MOST, Rules};
use super::webhooks::Endpoint;
use crate::conformance::contract::{Caller, Key as KeyNeed, Operation};

/// A card token.
#[derive(Debug, Clone)]
pub struct Token {
    /// By name.
    pub id: String,
    /// The card's.
    pub number: String,
    /// As replies show it.
    shown: Value,
}

/// What a key answers.
#[derive(Debug, Clone)]
struct Stored {
    request: Value,
    reply: Wanted,
}

/// The merchant's settings.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Hundredths of a percent.
    pub fee_bps: i64,
    /// Minor units.
    pub fee_fixed: i64,
    /// Of one payment.
    pub amount_limit: i64,
    /// Authorisations of one card in 60 s; a sequence takes less.
    pub velocity_limit: Option<i64>,
}

/// A merchant and all that it has.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Once it is made.
    pub settings: Settings,
    /// In the order of their making.
    pub tokens: Vec<Token>,
    /// In the order of their making.
    pub payments: Vec<Payment>,
    /// In the order of their making.
    pub refunds: Vec<Refund>,
    /// The ledger's, in the order of their writing.
    pub entries: Vec<Entry>,
    /// That replies have shown.
    pub cursors: Vec<Cursor>,
    /// In the order of their making.
    pub endpoints: Vec<Endpoint>,
    /// How often each type was emitted.
    pub events: BTreeMap<&'static str, i64>,
    /// `merchant_reference`s that are taken.
    pub references: HashSet<String>,
    /// Authorisations of a card number that counted.
    pub admitted: HashMap<String, i64>,
    /// Requests so far: names what is made now.
    pub step: usize,
    keys: HashMap<String, Stored>,
    api_keys: usize,
}

/// Success or an error: an operation gives up with `?`.
pub type Answer = Result<Wanted, Wanted>;

/// The names of a request's idempotency replies that are kept: what was decided under a claim.
const KEPT: [&str; 5] = [
    "CARD_DECLINED",
    "RISK_BLOCKED",
    "OPERATION_REFUSED",
    "AMOUNT_EXCEEDS_CAPTURABLE",
    "AMOUNT_EXCEEDS_REFUNDABLE",
];

impl Machine {
    /// What the request must be answered; the machine is as it is afterwards.
    pub fn answer(&mut self, operation: &Operation, call: &Call) -> Wanted {
        self.step += 1;
        let answer = admit(operation, call).and_then(|()| self.decide(call));
        answer.unwrap_or_else(|refused| refused)
    }

    /// One line an operation.
    fn decide(&mut self, call: &Call) -> Answer {
        match call.operation {
            "CreateMerchant" => self.create_merchant(call),
            "CreateApiKey" => self.create_api_key(call),
            "RevokeApiKey" => self.revoke_api_key(call),
            "CreatePaymentToken" => self.create_payment_token(call),
            "GetPaymentToken" => self.get_payment_token(call),
            "CreatePayment" => self.create_payment(call),
            "CapturePayment" => self.capture_payment(call),
            "VoidPayment" => self.void_payment(call),
            "GetPayment" => self.get_payment(call),
            "CreateRefund" => self.create_refund(call),
            "GetRefund" => self.get_refund(call),
            "ListPayments" => self.list_payments(call),
            "ListRefunds" => self.list_refunds(call),
            "GetBalances" => Ok(self.get_balances()),
            "ListLedgerEntries" => self.list_ledger_entries(call),
            "CreateWebhookEndpoint" => self.create_webhook_endpoint(call),
            "ListWebhookEndpoints" => self.list_webhook_endpoints(call),
            "DeleteWebhookEndpoint" => self.delete_webhook_endpoint(call),
            other => panic!("the model has no {other}"),
        }
    }

    /// Looks the key up, does the work if it is free, and keeps what is to be kept.
    pub fn keyed(&mut self, call: &Call, members: Value, work: impl FnOnce(&mut Self) -> Answer) -> Answer {
        let Key::Text(key) = &call.key else { return work(self) };
        let request = json!([call.operation, call.path, members]);
        if let Some(stored) = self.keys.get(key) {
            if stored.request != request {
                return Err(Wanted::error("IDEMPOTENCY_KEY_REUSED"));
            }
            return Ok(Wanted { replayed: true, ..stored.reply.clone() });
        }
        let reply = work(self).unwrap_or_else(|refused| refused);
        if reply.reason.is_none_or(|reason| KEPT.contains(&reason)) {
            self.keys.insert(key.clone(), Stored { request, reply: reply.clone() });
        }
        Ok(reply)
    }

    /// The secret, by name, of the API key that was made last: all are asked with it.
    pub fn newest_secret(&self) -> String {
        format!("secret{}", self.api_keys.saturating_sub(1))
    }

    /// The other API keys, by name.
    pub fn spare_keys(&self) -> impl Iterator<Item = String> {
        (1..self.api_keys).map(|n| key_name(n - 1))
    }

    fn create_merchant(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        rules.required("name");
        rules.text("name", 1, 200);
        let fee_bps = rules.integer("fee_bps", 0, 10_000).unwrap_or(290);
        let fee_fixed = rules.integer("fee_fixed", 0, MOST).unwrap_or(30);
        let amount_limit = rules.integer("amount_limit", 1, MOST).unwrap_or(MOST);
        let velocity_limit = rules.integer("velocity_limit", 1, 100);
        rules.check()?;
        self.settings = Settings { fee_bps, fee_fixed, amount_limit, velocity_limit };
        let mut members = object(json!({
            "id": "${mer}", "name": call.body["name"], "fee_bps": fee_bps, "fee_fixed": fee_fixed,
            "amount_limit": amount_limit, "created_at": "${time_mer}",
        }));
        if let Some(limit) = velocity_limit {
            members.insert("velocity_limit".into(), limit.into());
        }
        Ok(Wanted { members, ..Wanted::default() })
    }

    fn create_api_key(&mut self, call: &Call) -> Answer {
        if path(call) != "${mer}" {
            return Err(not_found());
        }
        let n = self.api_keys;
        self.api_keys += 1;
        let mut members = api_key(n);
        members.insert("secret".into(), format!("${{secret{n}}}").into());
        Ok(Wanted { members, ..Wanted::default() })
    }

    /// Again: the same answer.
    fn revoke_api_key(&self, call: &Call) -> Answer {
        let place = (0..self.api_keys).find(|n| key_name(*n) == path(call));
        let n = place.ok_or_else(not_found)?;
        let mut members = api_key(n);
        members.insert("revoked_at".into(), format!("${{time_revoked_key{n}}}").into());
        Ok(Wanted { members, ..Wanted::default() })
    }

    fn create_payment_token(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.body);
        let Some(card) = rules.required("card") else { return rules.check().map(|()| Wanted::default()) };
        let number = rules.digits("card.number", 12, 19).unwrap_or_default();
        for (member, min, max) in [("card.exp_month", 1, 12), ("card.exp_year", 2000, 2100)] {
            rules.required(member);
            rules.integer(member, min, max);
        }
        rules.digits("card.cvc", 3, 4);
        rules.check()?;
        // Of the years that a plan draws none is the current one.
        if !luhn(number) || card["exp_year"].as_i64() < Some(2026) {
            return Err(Wanted::error("CARD_INVALID"));
        }
        self.keyed(call, json!({ "card": card }), |machine| {
            let n = machine.tokens.len();
            let id = format!("${{ptk{n}}}");
            let shown = json!({
                "id": id,
                "card": { "brand": brand(number), "last4": &number[number.len() - 4..],
                          "exp_month": card["exp_month"], "exp_year": card["exp_year"] },
                "created_at": format!("${{time_ptk{n}}}"),
            });
            machine.tokens.push(Token { id, number: number.into(), shown: shown.clone() });
            Ok(Wanted::object(shown))
        })
    }

    fn get_payment_token(&self, call: &Call) -> Answer {
        let found = self.tokens.iter().find(|token| token.id == path(call));
        found.map(|token| Wanted::object(token.shown.clone())).ok_or_else(not_found)
    }
}

fn key_name(n: usize) -> String {
    format!("${{key{n}}}")
}

fn api_key(n: usize) -> Map<String, Value> {
    let time = format!("${{time_key{n}}}");
    object(json!({"id": key_name(n), "merchant_id": "${mer}", "created_at": time}))
}

/// Nothing of the merchant has the id.
pub fn not_found() -> Wanted {
    Wanted::error("RESOURCE_NOT_FOUND")
}

/// The checks before any operation: credential, then key.
fn admit(operation: &Operation, call: &Call) -> Result<(), Wanted> {
    match call.credential {
        Credential::Right => {}
        Credential::None | Credential::Wrong => return Err(Wanted::error("UNAUTHENTICATED")),
        Credential::OtherKind => return Err(Wanted::error("PERMISSION_DENIED")),
    }
    match (operation.key, &call.key) {
        (KeyNeed::Required, Key::None) => Err(Wanted::error("IDEMPOTENCY_KEY_MISSING")),
        (KeyNeed::Required | KeyNeed::Optional, Key::Invalid) => {
            Err(Wanted::error("IDEMPOTENCY_KEY_INVALID"))
        }
        (KeyNeed::Required | KeyNeed::Optional | KeyNeed::None, _) => Ok(()),
    }
}

/// Whether an operation is the administrator's.
pub fn is_admin(operation: &Operation) -> bool {
    operation.caller == Caller::Admin
}

/// The id that the path has.
pub fn path(call: &Call) -> &str {
    call.path.first().map_or("", |(_, id)| id)
}

fn luhn(number: &str) -> bool {
    let digit = |(place, byte): (usize, u8)| {
        let digit = u32::from(byte - b'0') << (place % 2);
        if digit > 9 { digit - 9 } else { digit }
    };
    number.bytes().rev().enumerate().map(digit).sum::<u32>().is_multiple_of(10)
}

/// By the first digits, of the cards that a plan draws.
fn brand(number: &str) -> &'static str {
    match number.as_bytes() {
        [b'4', ..] => "visa",
        [b'5', b'1'..=b'5', ..] => "mastercard",
        [b'3', b'4' | b'7', ..] => "amex",
        _ => "unknown",
    }
}
