//! GetBalances and ListLedgerEntries.

use super::{
    page::{Filter, List, Page},
    payments::Payments,
};
use crate::{
    domain::{
        error::{Error, Rule, Violations},
        id::MerchantId,
        ledger::{Account, Balance, Written},
    },
    store::ledger::{get_balances, list_ledger_entries},
    telemetry::Call,
};

/// What was sent.
#[derive(Debug)]
pub struct ListLedgerEntries {
    /// Which page.
    pub page: Page,
    /// Only entries of this account; the inner none: there is no such account.
    pub account: Option<Option<Account>>,
}

impl Payments {
    /// All balances of a merchant.
    pub async fn get_balances(
        &self,
        call: &Call,
        merchant: MerchantId,
        violations: Violations,
    ) -> Result<Vec<Balance>, Error> {
        violations.check()?;
        get_balances(&self.db, call, merchant).await.map_err(|failure| failure.reading())
    }

    /// A page of a merchant's ledger entries.
    pub async fn list_ledger_entries(
        &self,
        call: &Call,
        merchant: MerchantId,
        command: ListLedgerEntries,
        mut violations: Violations,
    ) -> Result<List<Written>, Error> {
        let size = command.page.size(&mut violations);
        let account = violations.optional("account", command.account, Rule::UnknownValue);
        violations.check()?;
        let members = [("account", account.map(|account| account.as_str().to_owned()))];
        let filter = Filter::new("list_ledger_entries", merchant, &members);
        let after = command.page.after(filter)?;
        let rows = list_ledger_entries(&self.db, call, merchant, after, account, size + 1).await;
        Ok(List::new(rows.map_err(|failure| failure.reading())?, size, filter, |written| written.id.0))
    }
}
