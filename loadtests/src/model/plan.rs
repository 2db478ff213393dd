//! What a random sequence is drawn from. A plan says "the newest payment but one" and "one more than remains" rather than
//! ids and amounts, so that a step still means something when shrinking has taken others away. The first of each list of
//! alternatives is the simplest: shrinking goes there.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::call::Credential;
use super::rules::MOST;
use crate::conformance::case::Door;

/// A well-formed id of no payment.
pub const UNKNOWN_PAYMENT: &str = "pay_7zzzzzzzzzzzzzzzzzzzzzzzzz";
/// A well-formed id of no payment token.
pub const UNKNOWN_TOKEN: &str = "ptk_7zzzzzzzzzzzzzzzzzzzzzzzzz";

/// Approved, approved, then one of each ending that the card network knows and that doesn't make it wait.
const CARDS: [&str; 12] = [
    "4242424242424242",
    "5555555555554444",
    "378282246310005",
    "4000000000003071",
    "4000000000003089",
    "4000000000003097",
    "4000000000000002",
    "4000000000009995",
    "4000000000000069",
    "4000000000000127",
    "4000000000009987",
    "4000000000000119",
];
/// Most steps of a sequence beside the three that it begins with.
const LONGEST: usize = 10;

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

/// Every sequence.
pub fn plan() -> impl Strategy<Value = Plan> {
    // Half of a unit is where rounding shows.
    let fee = |usual: i64, most: i64| {
        prop_oneof![
            3 => Just(None),
            1 => Just(Some(0)),
            1 => Just(Some(5000)),
            1 => (0..=usual * 2).prop_map(Some),
            1 => Just(Some(most)),
        ]
    };
    let limit = prop_oneof![3 => Just(None), 2 => (1..=5000_i64).prop_map(Some)];
    let velocity = prop_oneof![4 => Just(None), 1 => (1..=3_i64).prop_map(Some)];
    let merchant = (fee(290, 10_000), fee(30, 5000), limit, velocity).prop_map(
        |(fee_bps, fee_fixed, amount_limit, velocity_limit)| Merchant {
            fee_bps,
            fee_fixed,
            amount_limit,
            velocity_limit,
        },
    );
    (merchant, card_number(), place(), vec(planned(), 1..=LONGEST))
        .prop_map(|(merchant, card, place, steps)| Plan { merchant, card, place, steps })
}

fn place() -> impl Strategy<Value = Place> {
    (prop_oneof![Just(Door::Http), Just(Door::Http2), Just(Door::Grpc)], 0..2_usize)
        .prop_map(|(door, twin)| Place { door, twin })
}

fn planned() -> impl Strategy<Value = Planned> {
    let credential = prop_oneof![
        60 => Just(Credential::Right),
        1 => Just(Credential::None),
        1 => Just(Credential::Wrong),
        1 => Just(Credential::OtherKind),
    ];
    let key = prop_oneof![
        24 => Just(KeyPlan::Fresh),
        4 => (0..2_usize).prop_map(KeyPlan::Shared),
        1 => Just(KeyPlan::Missing),
        1 => Just(KeyPlan::Invalid),
    ];
    (place(), credential, key, ask()).prop_map(|(place, credential, key, ask)| Planned {
        place,
        credential,
        key,
        ask,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let last = prop_oneof![4 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    prop_oneof![
        4 => which().prop_map(Ask::Get),
        12 => pay().prop_map(|pay| Ask::Pay(Box::new(pay))),
        12 => (which(), remaining(), last).prop_map(|(which, amount, last)| Ask::Capture(which, amount, last)),
        3 => which().prop_map(Ask::Void),
        6 => (0..3_usize).prop_map(Ask::Again),
        2 => card().prop_map(Ask::Tokenise),
        1 => any::<bool>().prop_map(Ask::ApiKey),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        20 => Just(Which::Newest(0)),
        8 => (0..3_usize).prop_map(Which::Newest),
        1 => Just(Which::Unknown),
        1 => Just(Which::Malformed),
        1 => Just(Which::Strangers),
    ]
}

/// Against what remains of a payment.
fn remaining() -> impl Strategy<Value = Amount> {
    prop_oneof![
        4 => Just(Amount::Absent),
        8 => (1..100_i64).prop_map(Amount::Part),
        2 => Just(Amount::Over(0)),
        2 => Just(Amount::Over(1)),
        1 => edge().prop_map(Amount::Exactly),
    ]
}

/// At the bounds and beyond.
fn edge() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1), Just(0), Just(MOST), Just(MOST + 1), Just(-1), Just(i64::MAX), Just(i64::MIN)]
}

fn pay() -> impl Strategy<Value = Pay> {
    let amount = prop_oneof![
        12 => (1..=3000_i64).prop_map(Amount::Exactly),
        2 => (1..=MOST).prop_map(Amount::Exactly),
        1 => Just(Amount::Over(0)),
        1 => Just(Amount::Over(1)),
        1 => edge().prop_map(Amount::Exactly),
        1 => Just(Amount::Absent),
    ];
    let currency = prop_oneof![
        8 => Just(Some("USD")),
        6 => prop_oneof![Just("EUR"), Just("GBP"), Just("JPY")].prop_map(Some),
        1 => prop_oneof![Just("CHF"), Just("usd"), Just("")].prop_map(Some),
    ];
    let capture = prop_oneof![20 => Just(Some("manual")), 9 => Just(Some("automatic")), 1 => Just(None)];
    let reference = prop_oneof![
        20 => Just(Reference::Fresh),
        3 => (0..2_usize).prop_map(Reference::Shared),
        1 => option::of(text(64)).prop_map(Reference::Text),
    ];
    let metadata = prop_oneof![
        6 => Just(Vec::new()),
        2 => vec((prop_oneof![Just("a"), Just("é"), Just("z")], text(200)), 1..=3),
        1 => vec((Just(""), Just(String::new())), 1),
    ];
    let description = prop_oneof![4 => Just(None), 1 => text(500).prop_map(Some)];
    (which(), amount, currency, capture, reference, description, metadata).prop_map(
        |(token, amount, currency, capture, reference, description, metadata)| Pay {
            token,
            amount,
            currency,
            capture,
            reference,
            description,
            metadata,
        },
    )
}

/// Texts around a bound in bytes.
fn text(most: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("x".to_owned()),
        2 => Just("Größe \"<é>\" \\ \u{2028}😀 &amp;".to_owned()),
        1 => Just(String::new()),
        1 => Just("é".repeat(most / 2)),
        1 => Just(format!("{}x", "é".repeat(most / 2))),
        1 => Just("a\0b".to_owned()),
    ]
}

fn card_number() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => 0..3_usize, 5 => 3..CARDS.len()].prop_map(|index| CARDS[index])
}

fn card() -> impl Strategy<Value = Card> {
    let number = prop_oneof![
        12 => card_number().prop_map(Some),
        1 => Just(Some("4242424242424241")),
        1 => Just(Some("42424242424")),
        1 => Just(Some("4242 4242 4242 42")),
        1 => Just(None),
    ];
    let month = prop_oneof![12 => Just(Some(12)), 1 => Just(Some(13)), 1 => Just(None)];
    let year =
        prop_oneof![12 => Just(Some(2099)), 1 => Just(Some(2101)), 1 => Just(Some(2020)), 1 => Just(None)];
    let cvc =
        prop_oneof![12 => Just(Some("123")), 1 => Just(Some("12")), 1 => Just(Some("12a")), 1 => Just(None)];
    (number, month, year, cvc).prop_map(|(number, month, year, cvc)| Card { number, month, year, cvc })
}
