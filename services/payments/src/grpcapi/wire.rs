//! Messages into commands, and what use cases return into messages. Absence is kept: an enum's zero is as absent.

use std::collections::BTreeMap;

use payments_proto::payments::v1 as wire;
use prost_types::Timestamp;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use crate::{
    domain::{
        ledger::{Account, Balance, Written},
        merchant::ApiKey,
        payment::{CaptureMethod, DeclineReason, Payment, State},
        refund::{Refund, RefundState},
        webhook::Endpoint,
    },
    reply::{Unreadable, read},
    usecase::{
        capture::CapturePayment,
        create::CreatePayment,
        ledger::ListLedgerEntries,
        merchants::CreateMerchant,
        page::{List, Page},
        read::{ListPayments, ListRefunds},
        refund::CreateRefund,
        tokenize::{Card, CreatePaymentToken},
    },
};

/// CreateMerchantRequest
pub fn create_merchant(message: wire::CreateMerchantRequest) -> CreateMerchant {
    CreateMerchant {
        name: message.name,
        fee_bps: message.fee_bps.map(i64::from),
        fee_fixed: message.fee_fixed,
        amount_limit: message.amount_limit,
        velocity_limit: message.velocity_limit.map(i64::from),
    }
}

/// CreatePaymentTokenRequest
pub fn create_payment_token(message: wire::CreatePaymentTokenRequest) -> CreatePaymentToken {
    let card = message.card.map(|card| Card {
        number: card.number.map(Zeroizing::new),
        exp_month: card.exp_month.map(i64::from),
        exp_year: card.exp_year.map(i64::from),
        cvc: card.cvc.map(Zeroizing::new),
    });
    CreatePaymentToken { card }
}

/// CreatePaymentRequest
pub fn create_payment(message: wire::CreatePaymentRequest) -> CreatePayment {
    let capture = message.capture.map(wire::CaptureMethod::try_from).and_then(|method| match method {
        Ok(wire::CaptureMethod::Unspecified) => None,
        Ok(wire::CaptureMethod::Automatic) => Some(Some(CaptureMethod::Automatic)),
        Ok(wire::CaptureMethod::Manual) => Some(Some(CaptureMethod::Manual)),
        Err(_) => Some(None),
    });
    CreatePayment {
        amount: message.amount,
        currency: message.currency,
        payment_token: message.payment_token,
        capture,
        merchant_reference: message.merchant_reference,
        description: message.description,
        metadata: message.metadata.into_iter().map(|(key, value)| (key, Some(value))).collect(),
    }
}

/// CapturePaymentRequest
pub fn capture_payment(message: wire::CapturePaymentRequest) -> CapturePayment {
    let wire::CapturePaymentRequest { id, amount, r#final } = message;
    CapturePayment { id: id.unwrap_or_default(), amount, last: r#final }
}

/// CreateRefundRequest
pub fn create_refund(message: wire::CreateRefundRequest) -> CreateRefund {
    let wire::CreateRefundRequest { id, amount, reason } = message;
    CreateRefund { id: id.unwrap_or_default(), amount, reason }
}

/// ListPaymentsRequest
pub fn list_payments(message: wire::ListPaymentsRequest) -> ListPayments {
    let wire::ListPaymentsRequest { page_size, page_token, state, payment_token } = message;
    let parse = |number| wire::PaymentState::try_from(number).ok().and_then(state_of);
    ListPayments { page: page(page_size, page_token), state: state.map(parse), payment_token }
}

/// Which page of a list.
pub fn page(size: Option<i32>, token: Option<String>) -> Page {
    Page { field: "page_size", size: size.map(i64::from), cursor: token }
}

/// A page of payments.
pub fn payments(list: List<Payment>) -> wire::ListPaymentsResponse {
    wire::ListPaymentsResponse {
        payments: list.data.into_iter().map(payment).collect(),
        next_page_token: list.next.unwrap_or_default(),
    }
}

/// ListRefundsRequest
pub fn list_refunds(message: wire::ListRefundsRequest) -> ListRefunds {
    ListRefunds { page: page(message.page_size, message.page_token), payment: message.payment }
}

/// A page of refunds.
pub fn refunds(list: List<Refund>) -> wire::ListRefundsResponse {
    wire::ListRefundsResponse {
        refunds: list.data.into_iter().map(refund).collect(),
        next_page_token: list.next.unwrap_or_default(),
    }
}

/// An API key.
pub fn api_key(key: ApiKey) -> wire::ApiKey {
    wire::ApiKey {
        id: key.id.to_string(),
        merchant_id: key.merchant.to_string(),
        secret: key.secret,
        created_at: Some(timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(timestamp),
    }
}

/// ListLedgerEntriesRequest
pub fn list_ledger_entries(message: wire::ListLedgerEntriesRequest) -> ListLedgerEntries {
    let wire::ListLedgerEntriesRequest { page_size, page_token, account } = message;
    let parse = |number| {
        let asked = wire::Account::try_from(number).ok()?;
        Account::ALL.iter().copied().find(|listed| account_message(*listed) == asked)
    };
    ListLedgerEntries { page: page(page_size, page_token), account: account.map(parse) }
}

/// A page of ledger entries.
pub fn entries(list: List<Written>) -> wire::ListLedgerEntriesResponse {
    let entry = |written: Written| wire::LedgerEntry {
        id: written.id.to_string(),
        operation: written.operation.to_string(),
        payment: written.payment.to_string(),
        account: account_message(written.entry.account).into(),
        currency: written.currency.code().to_owned(),
        amount: written.entry.amount,
        created_at: Some(timestamp(written.created_at)),
    };
    wire::ListLedgerEntriesResponse {
        entries: list.data.into_iter().map(entry).collect(),
        next_page_token: list.next.unwrap_or_default(),
    }
}

/// All balances of a merchant.
pub fn balances(balances: Vec<Balance>) -> wire::GetBalancesResponse {
    let balance = |balance: Balance| wire::Balance {
        currency: balance.currency.code().to_owned(),
        acquirer_receivable: balance.acquirer_receivable,
        merchant_payable: balance.merchant_payable,
        fee_income: balance.fee_income,
    };
    wire::GetBalancesResponse { balances: balances.into_iter().map(balance).collect() }
}

/// A payment that was read.
pub fn payment(payment: Payment) -> wire::Payment {
    wire::Payment {
        id: payment.id.to_string(),
        payment_token: payment.payment_token.to_string(),
        amount: payment.amount.minor(),
        currency: payment.currency.code().to_owned(),
        capture: capture_method(payment.capture).into(),
        merchant_reference: payment.merchant_reference,
        description: payment.description,
        metadata: payment.metadata.into_iter().collect(),
        state: state(payment.state).into(),
        decline_reason: decline_reason(payment.decline_reason).into(),
        authorized: payment.authorized,
        captured: payment.captured,
        refunded: payment.refunded,
        expires_at: payment.expires_at.map(timestamp),
        created_at: Some(timestamp(payment.created_at)),
        updated_at: Some(timestamp(payment.updated_at)),
    }
}

/// A page of webhook endpoints.
pub fn webhook_endpoints(list: List<Endpoint>) -> wire::ListWebhookEndpointsResponse {
    wire::ListWebhookEndpointsResponse {
        endpoints: list.data.into_iter().map(|endpoint| webhook_endpoint(endpoint, None)).collect(),
        next_page_token: list.next.unwrap_or_default(),
    }
}

/// A webhook endpoint; with its secret where it was just made.
pub fn webhook_endpoint(endpoint: Endpoint, secret: Option<String>) -> wire::WebhookEndpoint {
    wire::WebhookEndpoint {
        id: endpoint.id.to_string(),
        url: endpoint.url,
        secret,
        created_at: Some(timestamp(endpoint.created_at)),
        disabled_at: endpoint.disabled_at.map(timestamp),
    }
}

/// A payment that was stored as a reply.
pub fn stored_payment(body: &str) -> Result<wire::Payment, Unreadable> {
    let stored: StoredPayment = read(body)?;
    let reason = stored.decline_reason.as_deref().map(|name| DeclineReason::parse(name).ok_or(Unreadable));
    Ok(wire::Payment {
        id: stored.id,
        payment_token: stored.payment_token,
        amount: stored.amount,
        currency: stored.currency,
        capture: capture_method(CaptureMethod::parse(&stored.capture).ok_or(Unreadable)?).into(),
        merchant_reference: stored.merchant_reference,
        description: stored.description,
        metadata: stored.metadata,
        state: state(State::parse(&stored.state).ok_or(Unreadable)?).into(),
        decline_reason: decline_reason(reason.transpose()?).into(),
        authorized: stored.authorized,
        captured: stored.captured,
        refunded: stored.refunded,
        expires_at: stored.expires_at.as_deref().map(parse_time).transpose()?,
        created_at: Some(parse_time(&stored.created_at)?),
        updated_at: Some(parse_time(&stored.updated_at)?),
    })
}

/// A refund that was read.
pub fn refund(refund: Refund) -> wire::Refund {
    wire::Refund {
        id: refund.id.to_string(),
        payment: refund.payment.to_string(),
        amount: refund.amount,
        currency: refund.currency.code().to_owned(),
        state: refund_state(refund.state).into(),
        reason: refund.reason,
        failure_reason: refund.failure_reason,
        created_at: Some(timestamp(refund.created_at)),
        updated_at: Some(timestamp(refund.updated_at)),
    }
}

/// A refund that was stored as a reply.
pub fn stored_refund(body: &str) -> Result<wire::Refund, Unreadable> {
    let stored: StoredRefund = read(body)?;
    Ok(wire::Refund {
        id: stored.id,
        payment: stored.payment,
        amount: stored.amount,
        currency: stored.currency,
        state: refund_state(RefundState::parse(&stored.state).ok_or(Unreadable)?).into(),
        reason: stored.reason,
        failure_reason: stored.failure_reason,
        created_at: Some(parse_time(&stored.created_at)?),
        updated_at: Some(parse_time(&stored.updated_at)?),
    })
}

/// A merchant that was stored as a reply.
pub fn stored_merchant(body: &str) -> Result<wire::Merchant, Unreadable> {
    let stored: StoredMerchant = read(body)?;
    Ok(wire::Merchant {
        id: stored.id,
        name: stored.name,
        fee_bps: stored.fee_bps,
        fee_fixed: stored.fee_fixed,
        amount_limit: stored.amount_limit,
        velocity_limit: stored.velocity_limit,
        created_at: Some(parse_time(&stored.created_at)?),
    })
}

/// A payment token that was stored as a reply.
pub fn stored_token(body: &str) -> Result<wire::PaymentToken, Unreadable> {
    let stored: StoredToken = read(body)?;
    let brand = format!("CARD_BRAND_{}", stored.card.brand.to_ascii_uppercase());
    let card = wire::CardSummary {
        brand: wire::CardBrand::from_str_name(&brand).ok_or(Unreadable)?.into(),
        last4: stored.card.last4,
        exp_month: stored.card.exp_month,
        exp_year: stored.card.exp_year,
    };
    Ok(wire::PaymentToken {
        id: stored.id,
        card: Some(card),
        created_at: Some(parse_time(&stored.created_at)?),
    })
}

/// What was stored of a payment.
#[derive(Deserialize)]
struct StoredPayment {
    id: String,
    payment_token: String,
    amount: i64,
    currency: String,
    capture: String,
    merchant_reference: String,
    description: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    state: String,
    decline_reason: Option<String>,
    authorized: i64,
    captured: i64,
    refunded: i64,
    expires_at: Option<String>,
    created_at: String,
    updated_at: String,
}

/// What was stored of a refund.
#[derive(Deserialize)]
struct StoredRefund {
    id: String,
    payment: String,
    amount: i64,
    currency: String,
    state: String,
    reason: Option<String>,
    failure_reason: Option<String>,
    created_at: String,
    updated_at: String,
}

/// What was stored of a merchant.
#[derive(Deserialize)]
struct StoredMerchant {
    id: String,
    name: String,
    fee_bps: i32,
    fee_fixed: i64,
    amount_limit: i64,
    velocity_limit: Option<i32>,
    created_at: String,
}

/// What was stored of a payment token.
#[derive(Deserialize)]
struct StoredToken {
    id: String,
    card: StoredCard,
    created_at: String,
}

/// The card of a [`StoredToken`].
#[derive(Deserialize)]
struct StoredCard {
    brand: String,
    last4: String,
    exp_month: i32,
    exp_year: i32,
}

fn account_message(account: Account) -> wire::Account {
    match account {
        Account::AcquirerReceivable => wire::Account::AcquirerReceivable,
        Account::MerchantPayable => wire::Account::MerchantPayable,
        Account::FeeIncome => wire::Account::FeeIncome,
    }
}

fn capture_method(method: CaptureMethod) -> wire::CaptureMethod {
    match method {
        CaptureMethod::Automatic => wire::CaptureMethod::Automatic,
        CaptureMethod::Manual => wire::CaptureMethod::Manual,
    }
}

fn state(state: State) -> wire::PaymentState {
    match state {
        State::Processing => wire::PaymentState::Processing,
        State::Authorized => wire::PaymentState::Authorized,
        State::PartiallyCaptured => wire::PaymentState::PartiallyCaptured,
        State::Captured => wire::PaymentState::Captured,
        State::Declined => wire::PaymentState::Declined,
        State::Voided => wire::PaymentState::Voided,
        State::Expired => wire::PaymentState::Expired,
    }
}

fn refund_state(state: RefundState) -> wire::RefundState {
    match state {
        RefundState::Pending => wire::RefundState::Pending,
        RefundState::Succeeded => wire::RefundState::Succeeded,
        RefundState::Failed => wire::RefundState::Failed,
    }
}

fn state_of(message: wire::PaymentState) -> Option<State> {
    State::ALL.iter().copied().find(|listed| state(*listed) == message)
}

fn decline_reason(reason: Option<DeclineReason>) -> wire::DeclineReason {
    match reason {
        None => wire::DeclineReason::Unspecified,
        Some(DeclineReason::InsufficientFunds) => wire::DeclineReason::InsufficientFunds,
        Some(DeclineReason::DoNotHonor) => wire::DeclineReason::DoNotHonor,
        Some(DeclineReason::ExpiredCard) => wire::DeclineReason::ExpiredCard,
        Some(DeclineReason::IncorrectCvc) => wire::DeclineReason::IncorrectCvc,
        Some(DeclineReason::LostOrStolen) => wire::DeclineReason::LostOrStolen,
        Some(DeclineReason::ProcessingError) => wire::DeclineReason::ProcessingError,
        Some(DeclineReason::RiskBlocked) => wire::DeclineReason::RiskBlocked,
    }
}

/// A time.
pub fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or(0) }
}

fn parse_time(text: &str) -> Result<Timestamp, Unreadable> {
    OffsetDateTime::parse(text, &Rfc3339).map(timestamp).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            card::{Brand, Expiry, PaymentToken},
            id::{MerchantId, PaymentId, TokenId},
            money::{Amount, Currency},
        },
        reply,
    };
    use time::macros::datetime;
    use uuid::Uuid;

    #[test]
    fn a_stored_payment_is_the_message_of_the_payment_that_was_stored() {
        let at = datetime!(2026-01-02 3:04:05.000_006 UTC);
        for decline_reason in std::iter::once(None).chain(DeclineReason::ALL.iter().copied().map(Some)) {
            for state in State::ALL {
                let original = Payment {
                    merchant: MerchantId(Uuid::nil()),
                    id: PaymentId::fresh(),
                    payment_token: TokenId::fresh(),
                    amount: Amount::new(1000).unwrap(),
                    currency: Currency::Jpy,
                    capture: CaptureMethod::Manual,
                    merchant_reference: "é\"".into(),
                    description: Some("d".into()),
                    metadata: vec![("k".into(), "v".into())],
                    state: *state,
                    decline_reason,
                    authorized: 3,
                    captured: 2,
                    refunded: 1,
                    expires_at: Some(at),
                    created_at: at,
                    updated_at: at,
                };
                let stored = stored_payment(&reply::payment(&original)).unwrap();
                assert_eq!(stored, payment(original));
            }
        }
    }

    #[test]
    fn every_brand_has_a_message() {
        let at = datetime!(2026-01-02 3:04:05 UTC);
        for brand in Brand::ALL.iter().copied() {
            let expiry = Expiry { month: 1, year: 2030 };
            let token =
                PaymentToken { id: TokenId::fresh(), brand, last4: "4242".into(), expiry, created_at: at };
            let body = reply::token(&token);
            assert_ne!(stored_token(&body).unwrap().card.unwrap().brand, 0, "{brand:?}");
        }
    }
}
