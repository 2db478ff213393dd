//! Reading what is there.

use super::{
    page::{Filter, List, Page},
    payments::Payments,
};
use crate::{
    domain::{
        error::{Error, Rule, Violations},
        id::{MerchantId, PaymentId, RefundId, TokenId},
        payment::{Payment, State},
        refund::Refund,
    },
    reply::{self, Reply},
    store::{
        payments::{get_payment, list_payments},
        refunds::{get_refund, list_refunds},
        tokens::get_payment_token,
    },
    telemetry::Call,
};

/// What was sent.
#[derive(Debug)]
pub struct ListRefunds {
    /// Which page.
    pub page: Page,
    /// Only refunds of this payment.
    pub payment: Option<String>,
}

/// What was sent.
#[derive(Debug)]
pub struct ListPayments {
    /// Which page.
    pub page: Page,
    /// Only payments in this state; the inner none: there is no such state.
    pub state: Option<Option<State>>,
    /// Only payments with this token.
    pub payment_token: Option<String>,
}

impl Payments {
    /// One payment of a merchant. `id` is as it was sent.
    pub async fn get_payment(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<Payment, Error> {
        violations.check()?;
        let found = get_payment(&self.db, call, merchant, PaymentId::sent(id)).await;
        found.map_err(|failure| failure.reading())?.ok_or(Error::ResourceNotFound)
    }

    /// One refund of a merchant. `id` is as it was sent.
    pub async fn get_refund(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<Refund, Error> {
        violations.check()?;
        let found = get_refund(&self.db, call, merchant, RefundId::sent(id)).await;
        found.map_err(|failure| failure.reading())?.ok_or(Error::ResourceNotFound)
    }

    /// One payment token of a merchant, without what it stands for. `id` is as it was sent.
    pub async fn get_payment_token(
        &self,
        call: &Call,
        merchant: MerchantId,
        id: &str,
        violations: Violations,
    ) -> Result<Reply, Error> {
        violations.check()?;
        let found = get_payment_token(&self.db, call, merchant, TokenId::sent(id)).await;
        let token = found.map_err(|failure| failure.reading())?.ok_or(Error::ResourceNotFound)?;
        Ok(Reply::fresh(200, reply::token(&token)))
    }

    /// A page of a merchant's payments.
    pub async fn list_payments(
        &self,
        call: &Call,
        merchant: MerchantId,
        command: ListPayments,
        mut violations: Violations,
    ) -> Result<List<Payment>, Error> {
        let size = command.page.size(&mut violations);
        let state = violations.optional("state", command.state, Rule::UnknownValue);
        let token = command.payment_token.map(|id| TokenId::parse(&id));
        let token = violations.optional("payment_token", token, Rule::Malformed);
        violations.check()?;
        let members = [
            ("state", state.map(|state| state.as_str().to_owned())),
            ("payment_token", token.map(|token| token.to_string())),
        ];
        let filter = Filter::new("list_payments", merchant, &members);
        let after = command.page.after(filter)?;
        let rows = list_payments(&self.db, call, merchant, after, state, token, size + 1).await;
        Ok(List::new(rows.map_err(|failure| failure.reading())?, size, filter, |payment| payment.id.0))
    }

    /// A page of a merchant's refunds.
    pub async fn list_refunds(
        &self,
        call: &Call,
        merchant: MerchantId,
        command: ListRefunds,
        mut violations: Violations,
    ) -> Result<List<Refund>, Error> {
        let size = command.page.size(&mut violations);
        let payment = command.payment.map(|id| PaymentId::parse(&id));
        let payment = violations.optional("payment", payment, Rule::Malformed);
        violations.check()?;
        let members = [("payment", payment.map(|payment| payment.to_string()))];
        let filter = Filter::new("list_refunds", merchant, &members);
        let after = command.page.after(filter)?;
        let rows = list_refunds(&self.db, call, merchant, after, payment, size + 1).await;
        Ok(List::new(rows.map_err(|failure| failure.reading())?, size, filter, |refund| refund.id.0))
    }
}
