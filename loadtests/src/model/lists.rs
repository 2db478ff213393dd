//! Lists, newest first, in pages; and the fold of the ledger.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::call::{Call, Wanted, object};
use super::machine::{Answer, Machine};
use super::money::{ACCOUNTS, is_payment, is_token};
use super::rules::Rules;

/// A payment's.
pub const STATES: [&str; 7] =
    ["processing", "authorized", "partially_captured", "captured", "declined", "voided", "expired"];
const PAGE: i64 = 10;
const LARGEST_PAGE: i64 = 100;

/// An entry of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Of the operation.
    pub step: usize,
    /// By name.
    pub payment: String,
    /// One of three.
    pub account: &'static str,
    /// ISO 4217.
    pub currency: String,
    /// Minor units, signed.
    pub amount: i64,
}

impl Entry {
    fn object(&self, index: usize) -> Value {
        let step = self.step;
        json!({
            "id": format!("${{ent{index}}}"), "operation": format!("op_${{op{step}}}"), "payment": self.payment,
            "account": self.account, "currency": self.currency, "amount": self.amount,
            "created_at": format!("${{time_journal{step}}}"),
        })
    }
}

/// Where a page ended.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The text, by name.
    pub name: String,
    /// The list.
    pub operation: &'static str,
    /// What it is narrowed down by.
    pub filter: Map<String, Value>,
    /// The page's last object, by the order of making.
    last: usize,
}

/// The size of a page of a list that has no filter.
pub fn limit(mut rules: Rules<'_>) -> Result<i64, Wanted> {
    let limit = rules.integer("limit", 1, LARGEST_PAGE).unwrap_or(PAGE);
    rules.check()?;
    Ok(limit)
}

impl Machine {
    /// ListRefunds.
    pub fn list_refunds(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.params);
        let limit = rules.integer("limit", 1, LARGEST_PAGE).unwrap_or(PAGE);
        let payment = rules.get("payment").map(|_| rules.formed("payment", is_payment));
        rules.check()?;
        let all = self.refunds.iter().enumerate();
        let all = all.filter(|(_, refund)| payment.is_none_or(|payment| payment == refund.payment));
        let found = all.map(|(index, refund)| (index, refund.shown.clone())).collect();
        self.page(call, limit, found)
    }

    /// ListPayments.
    pub fn list_payments(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.params);
        let limit = rules.integer("limit", 1, LARGEST_PAGE).unwrap_or(PAGE);
        let state = rules.choice("state", &STATES);
        let token = rules.get("payment_token").map(|_| rules.formed("payment_token", is_token));
        rules.check()?;
        let all = self.payments.iter().enumerate().filter(|(_, payment)| {
            state.is_none_or(|state| state == payment.state)
                && token.is_none_or(|token| payment.token() == Some(token))
        });
        let found = all.map(|(index, payment)| (index, payment.object())).collect();
        self.page(call, limit, found)
    }

    /// ListLedgerEntries.
    pub fn list_ledger_entries(&mut self, call: &Call) -> Answer {
        let mut rules = Rules::new(&call.params);
        let limit = rules.integer("limit", 1, LARGEST_PAGE).unwrap_or(PAGE);
        let account = rules.choice("account", &ACCOUNTS);
        rules.check()?;
        let all = self.entries.iter().enumerate();
        let all = all.filter(|(_, entry)| account.is_none_or(|account| account == entry.account));
        let found = all.map(|(index, entry)| (index, entry.object(index))).collect();
        self.page(call, limit, found)
    }

    /// Of what the filter lets through, in the order of making. A page's cursor depends on list, filter and last object alone.
    pub fn page(&mut self, call: &Call, limit: i64, found: Vec<(usize, Value)>) -> Answer {
        let mut filter = call.params.clone();
        filter.retain(|name, _| !["limit", "cursor"].contains(&name.as_str()));
        let before = match call.params.get("cursor").and_then(Value::as_str) {
            None | Some("") => usize::MAX,
            Some(text) => {
                let same = |cursor: &&Cursor| {
                    cursor.name == text && cursor.operation == call.operation && cursor.filter == filter
                };
                let cursor = self.cursors.iter().find(same);
                cursor.ok_or_else(|| Wanted::error("CURSOR_INVALID"))?.last
            }
        };
        let mut rest = found.into_iter().rev().filter(|(index, _)| *index < before);
        let page: Vec<_> = rest.by_ref().take(usize::try_from(limit).unwrap_or_default()).collect();
        let more = rest.next().is_some();
        let last = page.last().map_or(0, |(index, _)| *index);
        let data: Vec<_> = page.into_iter().map(|(_, object)| object).collect();
        let mut members = object(json!({"data": data, "has_more": more}));
        if more {
            let values: Vec<_> = filter.values().filter_map(Value::as_str).collect();
            let values = values.join("_").replace(['$', '{', '}'], "");
            let name = format!("${{cursor_{}_{values}_{last}}}", call.operation);
            members.insert("next_cursor".into(), name.clone().into());
            self.cursors.push(Cursor { name, operation: call.operation, filter, last });
        }
        Ok(Wanted { members, ..Wanted::default() })
    }

    /// GetBalances: by currency, those that have entries.
    pub fn get_balances(&self) -> Wanted {
        let mut data: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for ((currency, account), sum) in self.balances() {
            let zeros = || ACCOUNTS.into_iter().map(|account| (account.to_owned(), 0.into())).collect();
            let balance = data.entry(currency.clone()).or_insert_with(zeros);
            balance.insert("currency".into(), currency.into());
            balance.insert(account.into(), sum.into());
        }
        Wanted::object(json!({"data": data.into_values().collect::<Vec<_>>()}))
    }

    /// Sums by currency and account; an account that was touched is there with 0.
    pub fn balances(&self) -> BTreeMap<(String, &'static str), i64> {
        let mut sums = BTreeMap::new();
        for entry in &self.entries {
            *sums.entry((entry.currency.clone(), entry.account)).or_default() += entry.amount;
        }
        sums
    }
}
