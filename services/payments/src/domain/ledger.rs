//! Journals: signed entries that sum to zero.

use super::money::{Amount, Fees};

/// The accounts of a merchant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// What the card network owes.
    AcquirerReceivable,
    /// What the merchant is owed.
    MerchantPayable,
    /// What was earned.
    FeeIncome,
}

impl Account {
    /// Its name in Postgres.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcquirerReceivable => "acquirer_receivable",
            Self::MerchantPayable => "merchant_payable",
            Self::FeeIncome => "fee_income",
        }
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
