//! The ledger, read.

use uuid::Uuid;

use super::db::{Db, Failure, Step, broken};
use crate::{
    domain::{
        id::{EntryId, MerchantId, OperationId, PaymentId},
        ledger::{Account, Balance, Entry, Written},
        money::Currency,
    },
    telemetry::Call,
};

/// A merchant's balances, by currency in alphabetical order; only currencies with entries.
pub async fn get_balances(db: &Db, call: &Call, merchant: MerchantId) -> Result<Vec<Balance>, Failure> {
    let make = || sqlx::query_file!("../../db/queries/get_balances.sql", merchant.0);
    let mut balances: Vec<Balance> = Vec::new();
    for row in db.rows(Step::first(call, "get_balances"), make).await? {
        let read = || Some((Currency::parse(&row.currency?)?, Account::parse(&row.account?)?, row.amount?));
        let (currency, account, amount) = read().ok_or_else(|| broken("get_balances"))?;
        if balances.last().is_none_or(|last| last.currency != currency) {
            balances.push(Balance::zero(currency));
        }
        if let Some(balance) = balances.last_mut() {
            *balance.of(account) = amount;
        }
    }
    Ok(balances)
}

/// A merchant's ledger entries before one of them, newest first.
pub async fn list_ledger_entries(
    db: &Db,
    call: &Call,
    merchant: MerchantId,
    before: Option<Uuid>,
    account: Option<Account>,
    limit: i64,
) -> Result<Vec<Written>, Failure> {
    let account = account.map(Account::as_str);
    let make =
        || sqlx::query_file!("../../db/queries/list_ledger_entries.sql", merchant.0, before, account, limit);
    let rows = db.rows(Step::first(call, "list_ledger_entries"), make).await?;
    let written = rows.into_iter().map(|row| {
        Some(Written {
            id: EntryId(row.id),
            operation: OperationId(row.operation_id),
            payment: PaymentId(row.payment_id),
            currency: Currency::parse(&row.currency)?,
            entry: Entry { account: Account::parse(&row.account)?, amount: row.amount },
            created_at: row.created_at,
        })
    });
    written.collect::<Option<_>>().ok_or_else(|| broken("list_ledger_entries"))
}
