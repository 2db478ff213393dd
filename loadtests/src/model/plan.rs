//! What a sequence is made of. A plan says "the newest payment but one" and "one more than remains" rather than ids and
//! amounts, so that a step still means something when shrinking has taken others away.

use serde_json::Value;

use super::call::Credential;
use crate::conformance::case::Door;

/// A well-formed id of no payment token.
pub const UNKNOWN_TOKEN: &str = "ptk_7zzzzzzzzzzzzzzzzzzzzzzzzz";

/// A whole sequence.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The merchant's settings, as they are sent.
    pub merchant: Merchant,
    /// The card of its first token.
    pub card: &'static str,
    /// Where the steps that it begins with go.
    pub place: Place,
    /// The rest.
    pub steps: Vec<Planned>,
}

/// As it is asked for.
#[derive(Debug, Clone)]
pub struct Merchant {
    /// Hundredths of a percent.
    pub fee_bps: Option<i64>,
    /// Minor units.
    pub fee_fixed: Option<i64>,
    /// Minor units.
    pub amount_limit: Option<i64>,
    /// Authorisations of one card in 60 s.
    pub velocity_limit: Option<i64>,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Through which door.
    pub door: Door,
    /// Where both twins share a database: to which.
    pub twin: usize,
}

/// A step.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Where it goes.
    pub place: Place,
    /// Who asks.
    pub credential: Credential,
    /// Under which key.
    pub key: KeyPlan,
    /// What is asked.
    pub ask: Ask,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub enum KeyPlan {
    /// Of its own.
    Fresh,
    /// One of a few that steps share.
    Shared(usize),
    /// None.
    Missing,
    /// Not a valid one.
    Invalid,
}

/// An object by how it is found.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// The newest of its kind but so many.
    Newest(usize),
    /// Of those that the request is meant for; where there is none, one is made first.
    Fit(usize),
    /// Well-formed, of nobody.
    Unknown,
    /// Not an id.
    Malformed,
    /// Another merchant's.
    Strangers,
}

/// An amount, by what it is measured against: a limit, or what remains.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// Left out.
    Absent,
    /// As it is.
    Exactly(i64),
    /// So many hundredths of it, at least 1.
    Part(i64),
    /// It and so much more.
    Over(i64),
}

/// A request.
#[derive(Debug, Clone)]
pub enum Ask {
    /// The same request as the last but so many, under the same key.
    Again(usize),
    /// GetPayment.
    Get(Which),
    /// CapturePayment; the amount against what remains.
    Capture(Which, Amount, Option<bool>),
    /// VoidPayment.
    Void(Which),
    /// CreatePayment.
    Pay(Box<Pay>),
    /// CreatePaymentToken.
    Tokenise(Card),
    /// CreateApiKey, of the merchant or of nobody.
    ApiKey(bool),
    /// RevokeApiKey; a stranger's is the administrator's to revoke, too, and left in peace.
    Revoke(Which),
    /// CreateRefund; the amount against what remains.
    Refund(Which, Amount, Option<String>),
    /// GetRefund.
    GetRefund(Which),
    /// GetPaymentToken.
    GetToken(Which),
    /// ListPayments or ListLedgerEntries.
    List(Box<Listing>),
    /// The page after an earlier one's, narrowed down as that was, of so many.
    Next(usize, Option<i64>),
    /// GetBalances.
    Balances,
    /// CreateWebhookEndpoint.
    Endpoint(Option<String>),
    /// DeleteWebhookEndpoint.
    DeleteEndpoint(Which),
}

/// A list that is asked for.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which, and by what it is narrowed down.
    pub filter: Filter,
    /// Of the page.
    pub limit: Option<i64>,
    /// Where it begins.
    pub cursor: From,
    /// So many pages are asked for at most, each from where the one before ended.
    pub pages: usize,
}

/// What a list is narrowed down by.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Payments: a state, or not; whose card.
    Payments(Option<Value>, Option<Which>),
    /// Entries: an account, or not.
    Entries(Option<Value>),
    /// Refunds: of which payment, or of all.
    Refunds(Option<Which>),
    /// Webhook endpoints have no filter.
    Endpoints,
}

/// A cursor.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// None.
    Newest,
    /// A text without anything in it.
    Empty,
    /// An earlier page's, of whichever list.
    Earlier(usize),
    /// Not a cursor.
    Malformed,
    /// Another merchant's.
    Strangers,
}

/// A card.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Digits, or not.
    pub number: Option<&'static str>,
    /// A month, or not.
    pub month: Option<i64>,
    /// A year, or not.
    pub year: Option<i64>,
    /// Digits, or not.
    pub cvc: Option<&'static str>,
}

/// A payment that is asked for.
#[derive(Debug, Clone)]
pub struct Pay {
    /// Whose card.
    pub token: Which,
    /// Against the merchant's limit.
    pub amount: Amount,
    /// ISO 4217, or not.
    pub currency: Option<&'static str>,
    /// `manual`, `automatic`, or neither.
    pub capture: Option<&'static str>,
    /// Of its own, or one that was used.
    pub reference: Reference,
    /// Free text.
    pub description: Option<String>,
    /// Pairs.
    pub metadata: Vec<(&'static str, String)>,
}

impl Pay {
    /// Nothing special, with the newest card.
    pub fn simple(amount: i64, capture: &'static str) -> Self {
        Self {
            token: Which::Newest(0),
            amount: Amount::Exactly(amount),
            currency: Some("USD"),
            capture: Some(capture),
            reference: Reference::Fresh,
            description: None,
            metadata: Vec::new(),
        }
    }
}

/// A merchant reference.
#[derive(Debug, Clone)]
pub enum Reference {
    /// Of its own.
    Fresh,
    /// One of a few that payments share.
    Shared(usize),
    /// Any text, or none.
    Text(Option<String>),
}
