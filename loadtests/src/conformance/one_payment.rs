//! The other kind of race: many clients capture, void and refund one payment at the same moment, each under a key of its
//! own, over both doors and both twins. Only documented replies come, and the payment is the sum of what was granted.

use futures::future::join_all;

use super::case::Step;
use super::crowd::{Crowd, capture, get, pay, refund, tokenise, void};
use super::node::Node;
use super::races::Tally;
use super::reply::Reply;
use super::route::Site;
use super::vars::unique;

/// What is captured before the race, so that each verb may come first.
const BEFORE: u64 = 400;
/// What one capture takes, and one refund gives back: more than one of each fits.
const CAPTURED: u64 = 70;
const REFUNDED: u64 = 30;

/// A verb, how often it was granted, and what may be said of it beside.
struct Verb {
    step: fn(&str, &str) -> Step,
    refusals: &'static [&'static str],
}

const VERBS: [Verb; 3] = [
    Verb {
        step: |key, payment| capture(key, payment, CAPTURED),
        refusals: &["PAYMENT_BUSY", "PAYMENT_STATE_INVALID", "AMOUNT_EXCEEDS_CAPTURABLE"],
    },
    Verb { step: void, refusals: &["PAYMENT_BUSY", "PAYMENT_STATE_INVALID"] },
    Verb {
        step: |key, payment| refund(key, payment, REFUNDED),
        refusals: &["PAYMENT_BUSY", "AMOUNT_EXCEEDS_REFUNDABLE"],
    },
];

/// One race over a payment that is made for it.
pub async fn race(crowd: &Crowd, sites: &[Site], clients: u16) -> anyhow::Result<Tally> {
    let token = crowd.make(&sites[0], &tokenise(&unique(), "4242424242424242")).await?;
    let payment = crowd.make(&sites[0], &pay(&unique(), &token, "manual", &unique(), 1000)).await?;
    crowd.make(&sites[0], &capture(&unique(), &payment, BEFORE)).await?;
    let asked = (0..usize::from(clients)).map(|client| {
        let (verb, site, payment) = (client % VERBS.len(), &sites[client % sites.len()], &payment);
        async move { Ok((verb, crowd.ask(site, &(VERBS[verb].step)(&unique(), payment)).await?)) }
    });
    let replies: Vec<(usize, Reply)> =
        join_all(asked).await.into_iter().collect::<anyhow::Result<Vec<(usize, Reply)>>>()?;
    let (mut tally, granted) = judge(&replies);
    for site in sites {
        agrees(&crowd.ask(site, &get(&payment)).await?, granted, &mut tally.faults);
    }
    Ok(tally)
}

/// The tally, and how often each verb was granted.
fn judge(replies: &[(usize, Reply)]) -> (Tally, [u64; VERBS.len()]) {
    let (mut tally, mut granted) = (Tally::default(), [0; VERBS.len()]);
    for (verb, reply) in replies {
        let kind = match reply.reason() {
            None if !reply.is_error() && !reply.replayed() => {
                granted[*verb] += 1;
                "granted"
            }
            Some("PAYMENT_BUSY") => "busy",
            Some(reason) if VERBS[*verb].refusals.contains(&reason) => "refused",
            _ => {
                tally.faults.push(format!("{}: {}", reply.door.name(), reply.summary()));
                "unexpected"
            }
        };
        *tally.replies.entry(kind).or_default() += 1;
    }
    if granted == [0; VERBS.len()] {
        tally.faults.push("nothing was granted".into());
    }
    if granted[1] > 1 {
        tally.faults.push(format!("voided {} times", granted[1]));
    }
    (tally, granted)
}

/// The payment is the sum of what was granted.
fn agrees(payment: &Reply, granted: [u64; VERBS.len()], faults: &mut Vec<String>) {
    for (member, wanted) in
        [("captured", BEFORE + granted[0] * CAPTURED), ("refunded", granted[2] * REFUNDED)]
    {
        let found = payment.body.as_ref().and_then(|body| body.get(member)).map(Node::to_string);
        if found != Some(wanted.to_string()) {
            faults.push(format!("{member} should be {wanted}: {}", payment.summary()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Door;
    use super::*;

    fn reply(status: u16, text: &str) -> Reply {
        let (body, text) = (Node::parse(text.as_bytes()).ok(), text.to_owned());
        let (headers, faults) = (http::HeaderMap::new(), Vec::new());
        Reply { door: Door::Http, status, code: None, headers, text, body, payment_id: None, faults }
    }

    #[test]
    fn what_is_granted_refused_and_unexpected_is_told_apart() {
        let refused = |reason: &str| reply(409, &format!(r#"{{"reason":"{reason}"}}"#));
        let (tally, granted) = judge(&[
            (0, reply(200, "{}")),
            (1, refused("PAYMENT_BUSY")),
            (2, reply(201, r#"{"reason":"of a refund"}"#)),
            (2, refused("AMOUNT_EXCEEDS_REFUNDABLE")),
        ]);
        assert!(tally.faults.is_empty(), "{:?}", tally.faults);
        assert_eq!(granted, [1, 0, 1]);
        let (tally, _) =
            judge(&[(1, reply(200, "{}")), (1, reply(200, "{}")), (2, refused("PAYMENT_STATE_INVALID"))]);
        let faults = tally.faults.join("; ");
        assert!(faults.contains("voided 2 times") && faults.contains("PAYMENT_STATE_INVALID"), "{faults}");
    }

    #[test]
    fn a_payment_that_isnt_the_sum_is_a_fault() {
        let mut faults = Vec::new();
        agrees(&reply(200, r#"{"captured":470,"refunded":60}"#), [1, 1, 2], &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        agrees(&reply(200, r#"{"captured":400,"refunded":60}"#), [1, 0, 3], &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
