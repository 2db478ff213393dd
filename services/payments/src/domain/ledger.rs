//! Journals: signed entries that sum to zero.

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    error::names,
    id::{EntryId, OperationId, PaymentId},
    money::{Amount, Currency, Fees},
};

names! {
    /// The accounts of a merchant: what the card network owes, what the merchant is owed, what was earned.
    Account {
        AcquirerReceivable = "acquirer_receivable",
        MerchantPayable = "merchant_payable",
        FeeIncome = "fee_income",
    }
}

/// One line of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which account.
    pub account: Account,
    /// Signed minor units, never zero.
    pub amount: i64,
}

/// An entry as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// ent_…
    pub id: EntryId,
    /// op_…: the journal.
    pub operation: OperationId,
    /// pay_…
    pub payment: PaymentId,
    /// Of this currency.
    pub currency: Currency,
    /// The line.
    pub entry: Entry,
    /// When.
    pub created_at: OffsetDateTime,
}

/// The fold of a merchant's entries of one currency, in signed minor units. The three sum to zero.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Balance {
    /// Of all three.
    pub currency: Currency,
    /// What the card network owes.
    pub acquirer_receivable: i64,
    /// What the merchant is owed: negative.
    pub merchant_payable: i64,
    /// What was earned: negative.
    pub fee_income: i64,
}

impl Balance {
    /// Without an entry yet.
    pub fn zero(currency: Currency) -> Self {
        Self { currency, acquirer_receivable: 0, merchant_payable: 0, fee_income: 0 }
    }

    /// The place of an account.
    pub fn of(&mut self, account: Account) -> &mut i64 {
        match account {
            Account::AcquirerReceivable => &mut self.acquirer_receivable,
            Account::MerchantPayable => &mut self.merchant_payable,
            Account::FeeIncome => &mut self.fee_income,
        }
    }
}

/// What a capture writes: the network owes the amount, the merchant gets it less the fee. Zero entries aren't written.
pub fn capture(amount: Amount, fees: Fees) -> Vec<Entry> {
    let fee = fees.on(amount);
    [
        Entry { account: Account::AcquirerReceivable, amount: amount.minor() },
        Entry { account: Account::MerchantPayable, amount: fee - amount.minor() },
        Entry { account: Account::FeeIncome, amount: -fee },
    ]
    .into_iter()
    .filter(|entry| entry.amount != 0)
    .collect()
}

/// What a refund writes: the merchant gives the amount back; the fee is kept.
pub fn refund(amount: Amount) -> Vec<Entry> {
    vec![
        Entry { account: Account::AcquirerReceivable, amount: -amount.minor() },
        Entry { account: Account::MerchantPayable, amount: amount.minor() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_sum_to_zero_and_hold_no_zero() {
        for (amount, bps, fixed, lines) in
            [(1000, 290, 30, 3), (1000, 0, 0, 2), (1, 10_000, 5, 2), (999_999_999_999, 1, 0, 3)]
        {
            let journal = capture(Amount::new(amount).unwrap(), Fees { bps, fixed });
            assert_eq!(journal.iter().map(|e| e.amount).sum::<i64>(), 0, "{journal:?}");
            assert_eq!(journal.len(), lines, "{journal:?}");
            assert!(journal.iter().all(|e| e.amount != 0));
        }
    }
}
