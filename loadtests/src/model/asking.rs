//! What a step asks for, as a request: ids by name, amounts by what remains.

use serde_json::{Map, Value, json};

use super::call::{Call, Credential, Key, object};
use super::money::Payment;
use super::plan::{Amount, Ask, Card, Filter, From, Listing, Pay, Reference, UNKNOWN_TOKEN, Which};
use super::script::Script;

/// Ids of a kind that aren't the merchant's.
struct Strays {
    unknown: &'static str,
    malformed: &'static str,
    strangers: &'static str,
}

const PAYMENT: Strays = Strays {
    unknown: "pay_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    malformed: "pay_short",
    strangers: "${stranger_payment}",
};
const TOKEN: Strays =
    Strays { unknown: UNKNOWN_TOKEN, malformed: "ptk_short", strangers: "${stranger_token}" };
const REFUND: Strays = Strays {
    unknown: "ref_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    malformed: "ref_short",
    strangers: "${stranger_refund}",
};
const ENDPOINT: Strays = Strays {
    unknown: "whe_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    malformed: "whe_short",
    strangers: "${stranger_endpoint}",
};
const API_KEY: Strays = Strays {
    unknown: "key_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    malformed: "key_short",
    strangers: "key_00000000000000000000000000",
};

impl Script {
    /// The request that a step asks for; key and credential are still open.
    pub fn call(&self, ask: &Ask) -> Call {
        let machine = &self.machine;
        match ask {
            // A second merchant would be another sequence's. The key of then may be revoked.
            Ask::Again(back) => {
                let earlier = self.lines[(self.lines.len() - 1 - back).max(1)].call.clone();
                Call { secret: machine.newest_secret(), ..earlier }
            }
            Ask::Get(which) => self.of("GetPayment", self.payment(*which, |_| true), Map::new()),
            Ask::Capture(which, amount, last) => {
                let id = self.payment(*which, Payment::is_open);
                let room = self.room(&id, |payment| payment.authorized - payment.captured);
                let mut body = Map::new();
                put(&mut body, "amount", measure(*amount, room));
                put(&mut body, "final", *last);
                self.of("CapturePayment", id, body)
            }
            Ask::Void(which) => self.of("VoidPayment", self.payment(*which, Payment::is_open), Map::new()),
            Ask::Refund(which, amount, reason) => {
                let id = self.payment(*which, Payment::is_refundable);
                let mut body = Map::new();
                put(&mut body, "amount", measure(*amount, self.room(&id, Payment::refundable)));
                put(&mut body, "reason", reason.clone());
                self.of("CreateRefund", id, body)
            }
            Ask::GetRefund(which) => {
                let ids = machine.refunds.iter().filter(|refund| refund.told).map(|refund| refund.id.clone());
                self.of("GetRefund", pick(*which, ids, &REFUND), Map::new())
            }
            Ask::Pay(pay) => self.plain("CreatePayment", self.pay(pay)),
            Ask::Tokenise(card) => self.plain("CreatePaymentToken", tokenise(*card)),
            Ask::GetToken(which) => self.of("GetPaymentToken", self.token(*which), Map::new()),
            Ask::ApiKey(known) => {
                let id = if *known { "${mer}" } else { "mer_7zzzzzzzzzzzzzzzzzzzzzzzzz" };
                let path = vec![("merchant_id", id.to_owned())];
                Call { path, ..self.plain("CreateApiKey", Map::new()) }
            }
            Ask::Revoke(which) => {
                self.of("RevokeApiKey", pick(*which, machine.spare_keys(), &API_KEY), Map::new())
            }
            Ask::List(listing) => self.list(listing),
            Ask::Next(back, limit) => self.next(*back, *limit),
            Ask::Balances => self.plain("GetBalances", Map::new()),
            Ask::Endpoint(url) => {
                let mut body = Map::new();
                put(&mut body, "url", url.clone());
                self.plain("CreateWebhookEndpoint", body)
            }
            Ask::DeleteEndpoint(which) => {
                let there = machine.endpoints.iter().filter(|endpoint| endpoint.there);
                let id = pick(*which, there.map(|endpoint| endpoint.id.clone()), &ENDPOINT);
                self.of("DeleteWebhookEndpoint", id, Map::new())
            }
        }
    }

    /// What must be asked first so that there is something that a step is meant for.
    pub fn need(&self, ask: &Ask) -> Option<Ask> {
        let machine = &self.machine;
        let amount = machine.settings.amount_limit.min(1000);
        let pay = |capture| Ask::Pay(Box::new(Pay::simple(amount, capture)));
        let any = |fits: fn(&Payment) -> bool| machine.payments.iter().any(fits);
        let fit = |which: &Which| matches!(which, Which::Fit(_));
        match ask {
            Ask::Capture(which, ..) | Ask::Void(which) => {
                (fit(which) && !any(Payment::is_open)).then(|| pay("manual"))
            }
            Ask::Refund(which, ..) => (fit(which) && !any(Payment::is_refundable)).then(|| pay("automatic")),
            Ask::List(listing) => (listing.pages > 1 && machine.payments.len() < 2).then(|| pay("automatic")),
            Ask::GetRefund(which) => {
                let refund = || Ask::Refund(Which::Fit(0), Amount::Part(50), None);
                (fit(which) && !machine.refunds.iter().any(|refund| refund.told)).then(refund)
            }
            Ask::Revoke(which) => {
                (fit(which) && machine.spare_keys().next().is_none()).then_some(Ask::ApiKey(true))
            }
            Ask::DeleteEndpoint(which) => {
                let none = machine.endpoints.iter().all(|endpoint| !endpoint.there);
                (fit(which) && none).then(|| Ask::Endpoint(Some("https://127.0.0.1:1".into())))
            }
            Ask::Again(_) | Ask::Get(_) | Ask::GetToken(_) | Ask::Next(..) | Ask::Balances => None,
            Ask::Pay(_) | Ask::Tokenise(_) | Ask::ApiKey(_) | Ask::Endpoint(_) => None,
        }
    }

    fn plain(&self, operation: &'static str, body: Map<String, Value>) -> Call {
        let secret = self.machine.newest_secret();
        let (path, params) = (Vec::new(), Map::new());
        Call { operation, path, params, body, key: Key::None, credential: Credential::Right, secret }
    }

    fn of(&self, operation: &'static str, id: String, body: Map<String, Value>) -> Call {
        Call { path: vec![("id", id)], ..self.plain(operation, body) }
    }

    fn room(&self, id: &str, room: impl Fn(&Payment) -> i64) -> i64 {
        self.machine.payments.iter().find(|payment| payment.id == id).map_or(1000, room)
    }

    fn list(&self, listing: &Listing) -> Call {
        let mut params = Map::new();
        let operation = match &listing.filter {
            Filter::Payments(state, token) => {
                put(&mut params, "state", state.clone());
                put(&mut params, "payment_token", token.map(|which| self.token(which)));
                "ListPayments"
            }
            Filter::Entries(account) => {
                put(&mut params, "account", account.clone());
                "ListLedgerEntries"
            }
            Filter::Refunds(payment) => {
                put(&mut params, "payment", payment.map(|which| self.payment(which, Payment::is_refunded)));
                "ListRefunds"
            }
            Filter::Endpoints => "ListWebhookEndpoints",
        };
        let cursor = match listing.cursor {
            From::Newest => None,
            From::Empty => Some(String::new()),
            From::Earlier(back) => newest(&self.machine.cursors, back).map(|cursor| cursor.name.clone()),
            From::Malformed => Some("é!".into()),
            From::Strangers => Some("${stranger_cursor}".into()),
        };
        put(&mut params, "limit", listing.limit);
        put(&mut params, "cursor", cursor);
        Call { params, ..self.plain(operation, Map::new()) }
    }

    fn next(&self, back: usize, limit: Option<i64>) -> Call {
        let Some(cursor) = newest(&self.machine.cursors, back) else {
            return self.plain("ListPayments", Map::new());
        };
        let mut params = cursor.filter.clone();
        put(&mut params, "limit", limit);
        put(&mut params, "cursor", Some(cursor.name.clone()));
        Call { params, ..self.plain(cursor.operation, Map::new()) }
    }

    fn pay(&self, pay: &Pay) -> Map<String, Value> {
        let reference = match &pay.reference {
            Reference::Fresh => Some(format!("order {}", self.lines.len())),
            Reference::Shared(n) => Some(format!("shared {n}")),
            Reference::Text(text) => text.clone(),
        };
        let mut body = object(json!({"payment_token": self.token(pay.token)}));
        put(&mut body, "amount", measure(pay.amount, self.machine.settings.amount_limit));
        put(&mut body, "currency", pay.currency);
        put(&mut body, "capture", pay.capture);
        put(&mut body, "merchant_reference", reference);
        put(&mut body, "description", pay.description.clone());
        if !pay.metadata.is_empty() {
            let pairs = pay.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into()));
            body.insert("metadata".into(), Value::Object(pairs.collect()));
        }
        body
    }

    fn token(&self, which: Which) -> String {
        pick(which, self.machine.tokens.iter().map(|token| token.id.clone()), &TOKEN)
    }

    /// Where none fits, any.
    fn payment(&self, which: Which, fits: impl Fn(&Payment) -> bool) -> String {
        let payments = &self.machine.payments;
        let any = !matches!(which, Which::Fit(_)) || !payments.iter().any(&fits);
        let ids = payments.iter().filter(|payment| any || fits(payment)).map(|payment| payment.id.clone());
        pick(which, ids, &PAYMENT)
    }
}

/// A request's body.
pub fn tokenise(card: Card) -> Map<String, Value> {
    let mut members = Map::new();
    put(&mut members, "number", card.number);
    put(&mut members, "exp_month", card.month);
    put(&mut members, "exp_year", card.year);
    put(&mut members, "cvc", card.cvc);
    object(json!({"card": members}))
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.into(), value.into());
    }
}

fn pick(which: Which, made: impl Iterator<Item = String>, strays: &Strays) -> String {
    let made: Vec<_> = made.collect();
    match which {
        Which::Newest(back) | Which::Fit(back) => {
            newest(&made, back).map_or_else(|| strays.unknown.into(), Clone::clone)
        }
        Which::Unknown => strays.unknown.into(),
        Which::Malformed => strays.malformed.into(),
        Which::Strangers => strays.strangers.into(),
    }
}

fn newest<T>(made: &[T], back: usize) -> Option<&T> {
    made.get(made.len().checked_sub(1)?.saturating_sub(back))
}

fn measure(amount: Amount, whole: i64) -> Option<i64> {
    match amount {
        Amount::Absent => None,
        Amount::Exactly(amount) => Some(amount),
        Amount::Part(hundredths) => Some((whole / 100 * hundredths).max(1)),
        Amount::Over(more) => Some(whole + more),
    }
}
