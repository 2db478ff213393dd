//! What a random sequence is drawn from. The first of each list of alternatives is the simplest: shrinking goes there.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::call::Credential;
use super::lists::STATES;
use super::money::ACCOUNTS;
use super::plan::{
    Amount, Ask, Card, Filter, From, KeyPlan, Listing, Merchant, Pay, Place, Plan, Planned, Reference, Which,
};
use super::rules::MOST;
use super::webhooks::BAD_URLS;
use crate::conformance::case::Door;

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
const LONGEST: usize = 14;

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
    let reason = prop_oneof![2 => Just(None), 1 => text(200).prop_map(Some)];
    let made = prop_oneof![
        16 => pay().boxed().prop_map(|pay| Ask::Pay(Box::new(pay))),
        2 => card().prop_map(Ask::Tokenise),
        1 => any::<bool>().prop_map(Ask::ApiKey),
        1 => fit().prop_map(Ask::Revoke),
        2 => url().prop_map(Ask::Endpoint),
        1 => fit().prop_map(Ask::DeleteEndpoint),
    ];
    let moved = prop_oneof![
        12 => (fit(), remaining(), last).prop_map(|(which, amount, last)| Ask::Capture(which, amount, last)),
        3 => fit().prop_map(Ask::Void),
        9 => (fit(), remaining(), reason).prop_map(|(which, amount, reason)| Ask::Refund(which, amount, reason)),
    ];
    let read = prop_oneof![
        4 => which().prop_map(Ask::Get),
        2 => fit().prop_map(Ask::GetRefund),
        1 => which().prop_map(Ask::GetToken),
        1 => Just(Ask::Balances),
        9 => listing().boxed().prop_map(|listing| Ask::List(Box::new(listing))),
        2 => (0..3_usize, limit()).prop_map(|(back, limit)| Ask::Next(back, limit)),
    ];
    // Boxed: their trees are large, and drawing moves them about on the stack.
    let (made, moved, read) = (made.boxed(), moved.boxed(), read.boxed());
    prop_oneof![16 => read, 22 => made, 22 => moved, 6 => (0..3_usize).prop_map(Ask::Again)]
}

/// For what a chance meeting is rare.
fn fit() -> impl Strategy<Value = Which> {
    prop_oneof![
        16 => Just(Which::Fit(0)),
        8 => (0..3_usize).prop_map(Which::Fit),
        4 => Just(Which::Newest(0)),
        1 => Just(Which::Unknown),
        1 => Just(Which::Malformed),
        1 => Just(Which::Strangers),
    ]
}

fn listing() -> impl Strategy<Value = Listing> {
    // 99 is a number of no enum, and over HTTP no name.
    let one_of = |names: &'static [&'static str]| {
        let known = (0..names.len()).prop_map(|index| json!(names[index]));
        prop_oneof![8 => Just(None), 5 => known.prop_map(Some), 1 => Just(Some(json!(99)))]
    };
    let token = prop_oneof![2 => Just(None), 1 => which().prop_map(Some)];
    let payment = prop_oneof![2 => Just(None), 1 => which().prop_map(Some)];
    let filter = prop_oneof![
        4 => (one_of(&STATES), token).prop_map(|(state, token)| Filter::Payments(state, token)),
        4 => one_of(&ACCOUNTS).prop_map(Filter::Entries),
        2 => payment.prop_map(Filter::Refunds),
        1 => Just(Filter::Endpoints),
    ];
    let cursor = prop_oneof![
        10 => Just(From::Newest),
        1 => Just(From::Empty),
        3 => (0..3_usize).prop_map(From::Earlier),
        1 => Just(From::Malformed),
        1 => Just(From::Strangers),
    ];
    (filter, limit(), cursor, 1..=4_usize).prop_map(|(filter, limit, cursor, pages)| Listing {
        filter,
        limit,
        cursor,
        pages,
    })
}

/// Of a page: small ones, since a sequence makes little.
fn limit() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        3 => Just(None),
        10 => Just(Some(1)),
        6 => (2..=3_i64).prop_map(Some),
        1 => prop_oneof![Just(100), Just(0), Just(101), Just(-1), Just(i64::from(i32::MAX))].prop_map(Some),
    ]
}

/// Nobody listens there.
fn url() -> impl Strategy<Value = Option<String>> {
    let good = "https://127.0.0.1:1/";
    prop_oneof![
        10 => Just(Some(format!("{good}hook?x=1&y=%20"))),
        2 => Just(Some("http://[::1]:1".to_owned())),
        1 => Just(Some(format!("{good}{}", "x".repeat(480)))),
        1 => Just(Some(format!("{good}{}", "x".repeat(481)))),
        3 => (0..BAD_URLS.len()).prop_map(|index| Some(BAD_URLS[index].to_owned())),
        1 => Just(Some(String::new())),
        1 => Just(Some(format!("{good}\0"))),
        1 => Just(None),
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
        4 => (0..2_usize).prop_map(Reference::Shared),
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
