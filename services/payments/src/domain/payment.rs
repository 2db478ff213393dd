//! The state machine: (payment, command, now) -> change, or Error. A payment's row is locked while this decides, so that what it
//! decided from is still true when it is recorded.

use time::OffsetDateTime;

use super::{
    error::{Error, names},
    event::EventType,
    id::{MerchantId, PaymentId, TokenId},
    ledger::{self, Entry},
    money::{Amount, Currency, Fees},
};

names! {
    /// Where a payment is.
    State {
        Processing = "processing",
        Authorized = "authorized",
        PartiallyCaptured = "partially_captured",
        Captured = "captured",
        Declined = "declined",
        Voided = "voided",
        Expired = "expired",
    }
}

names! {
    /// Whether the money is taken at once.
    CaptureMethod {
        Automatic = "automatic",
        Manual = "manual",
    }
}

names! {
    /// Why a payment was declined.
    DeclineReason {
        InsufficientFunds = "insufficient_funds",
        DoNotHonor = "do_not_honor",
        ExpiredCard = "expired_card",
        IncorrectCvc = "incorrect_cvc",
        LostOrStolen = "lost_or_stolen",
        ProcessingError = "processing_error",
        RiskBlocked = "risk_blocked",
    }
}

/// The states from which a capture or a void may start.
pub const CAPTURABLE: &[State] = &[State::Authorized, State::PartiallyCaptured];

/// The states from which a refund may start.
const REFUNDABLE: &[State] = &[State::PartiallyCaptured, State::Captured];

/// The state in which a payment is created, and from which it is authorised or sold.
const CREATED: &[State] = &[State::Processing];

/// What a merchant hangs on a payment: pairs in the order of the keys' bytes.
pub type Metadata = Vec<(String, String)>;

/// A payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payment {
    /// Whose.
    pub merchant: MerchantId,
    /// pay_…
    pub id: PaymentId,
    /// ptk_…
    pub payment_token: TokenId,
    /// What was asked for.
    pub amount: Amount,
    /// Of all its amounts.
    pub currency: Currency,
    /// Whether the money is taken at once.
    pub capture: CaptureMethod,
    /// Unique among the merchant's payments.
    pub merchant_reference: String,
    /// Never empty.
    pub description: Option<String>,
    /// In the order of the keys' bytes.
    pub metadata: Metadata,
    /// Where it is.
    pub state: State,
    /// Set where it is declined.
    pub decline_reason: Option<DeclineReason>,
    /// 0 <= refunded <= captured <= authorized <= amount, in minor units.
    pub authorized: i64,
    /// What was taken.
    pub captured: i64,
    /// What was given back.
    pub refunded: i64,
    /// When the authorisation lapses; none where nothing is left to capture.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was claimed.
    pub created_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

/// What is asked of a payment; each is an operation in Postgres.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Reserve the amount.
    Authorize,
    /// Reserve and take it.
    Sale,
    /// Take a part, or all that remains.
    Capture {
        /// All that remains where none.
        amount: Option<Amount>,
        /// Whether nothing more will be captured.
        last: bool,
    },
    /// Release what isn't captured.
    Void,
    /// Give back a part, or all that remains.
    Refund {
        /// All that remains where none.
        amount: Option<Amount>,
        /// In the merchant's words; never empty.
        reason: Option<String>,
    },
}

impl Command {
    /// The operation's kind in Postgres.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Sale => "sale",
            Self::Capture { .. } => "capture",
            Self::Void => "void",
            Self::Refund { .. } => "refund",
        }
    }

    /// The states of a payment from which it may start.
    pub fn allowed(&self) -> &'static [State] {
        match self {
            Self::Authorize | Self::Sale => CREATED,
            Self::Capture { .. } | Self::Void => CAPTURABLE,
            Self::Refund { .. } => REFUNDABLE,
        }
    }

    /// As Postgres keeps it; none where only a newer program can read it.
    pub fn parse(
        kind: &str,
        amount: Option<i64>,
        last: Option<bool>,
        reason: Option<String>,
    ) -> Option<Self> {
        let amount = amount.map(|amount| Amount::new(amount).ok_or(())).transpose().ok()?;
        Some(match kind {
            "authorize" => Self::Authorize,
            "sale" => Self::Sale,
            "capture" => Self::Capture { amount, last: last? },
            "void" => Self::Void,
            "refund" => Self::Refund { amount, reason },
            _ => return None,
        })
    }
}

/// What the network or the risk rules made of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Done as decided.
    Approved,
    /// An authorisation or a sale that wasn't granted.
    Declined(DeclineReason),
    /// A later operation that wasn't accepted.
    Refused,
}

/// What to record: the payment as it will be, and what belongs to the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// After the step.
    pub payment: Payment,
    /// What was moved or, where it failed, was to be moved.
    pub amount: Amount,
    /// Sums to zero.
    pub journal: Vec<Entry>,
    /// In causal order.
    pub events: &'static [EventType],
}

/// What will be recorded if the network approves; it is to be asked for the amount. Refused here, it is never asked.
pub fn decide(before: &Payment, command: &Command, fees: Fees) -> Result<Change, Error> {
    let allowed = command.allowed();
    if !allowed.contains(&before.state) {
        return Err(Error::PaymentStateInvalid { payment: before.id, current: before.state, allowed });
    }
    let mut payment = before.clone();
    let (amount, journal, events): (_, _, &'static [EventType]) = match command {
        Command::Authorize => {
            payment.state = State::Authorized;
            payment.authorized = payment.amount.minor();
            (payment.amount, Vec::new(), &[EventType::PaymentAuthorized])
        }
        Command::Sale => {
            payment.state = State::Captured;
            payment.authorized = payment.amount.minor();
            payment.captured = payment.amount.minor();
            payment.expires_at = None;
            let journal = ledger::capture(payment.amount, fees);
            (payment.amount, journal, &[EventType::PaymentAuthorized, EventType::PaymentCaptured])
        }
        Command::Capture { amount, last } => {
            let moved = capturable(before, *amount)?;
            payment.captured += moved.minor();
            let all = *last || payment.captured == payment.authorized;
            payment.state = if all { State::Captured } else { State::PartiallyCaptured };
            payment.expires_at = payment.expires_at.filter(|_| !all);
            (moved, ledger::capture(moved, fees), &[EventType::PaymentCaptured])
        }
        Command::Void => {
            let rest = capturable(before, None)?;
            payment.state = if payment.captured == 0 { State::Voided } else { State::Captured };
            payment.expires_at = None;
            (rest, Vec::new(), &[EventType::PaymentVoided])
        }
        Command::Refund { amount, .. } => {
            let room = before.captured - before.refunded;
            let moved = within(*amount, room).ok_or(Error::AmountExceedsRefundable(before.id))?;
            payment.refunded += moved.minor();
            (moved, ledger::refund(moved), &[EventType::RefundSucceeded])
        }
    };
    Ok(Change { payment, amount, journal, events })
}

/// What a capture of `asked` moves; all that remains where none.
fn capturable(payment: &Payment, asked: Option<Amount>) -> Result<Amount, Error> {
    let room = payment.authorized - payment.captured;
    within(asked, room).ok_or(Error::AmountExceedsCapturable(payment.id))
}

/// What is moved of what there is room for; none where that is too little, or nothing.
fn within(asked: Option<Amount>, room: i64) -> Option<Amount> {
    let room = Amount::new(room)?;
    let moved = asked.unwrap_or(room);
    (moved.minor() <= room.minor()).then_some(moved)
}

/// What to record now that the verdict is known: `change` as decided, or the failure of `before`.
pub fn conclude(
    before: Payment,
    command: &Command,
    change: Change,
    verdict: Verdict,
    now: OffsetDateTime,
) -> Change {
    let mut change = match verdict {
        Verdict::Approved => change,
        Verdict::Declined(reason) => Change {
            payment: Payment {
                state: State::Declined,
                decline_reason: Some(reason),
                expires_at: None,
                ..before
            },
            journal: Vec::new(),
            events: &[EventType::PaymentDeclined],
            ..change
        },
        Verdict::Refused => Change {
            payment: before,
            journal: Vec::new(),
            events: match command {
                Command::Refund { .. } => &[EventType::RefundFailed],
                Command::Authorize | Command::Sale | Command::Capture { .. } | Command::Void => {
                    &[EventType::PaymentOperationFailed]
                }
            },
            ..change
        },
    };
    change.payment.updated_at = now;
    change
}

/// What becomes of a payment whose authorisation has lapsed; what was captured stays so. `expire_payments` names its event.
pub fn expire(before: Payment, now: OffsetDateTime) -> Payment {
    let state = if before.captured == 0 { State::Expired } else { State::Captured };
    Payment { state, expires_at: None, updated_at: now, ..before }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-01-02 3:04:05.000_006 UTC);
    const LATER: OffsetDateTime = datetime!(2026-01-02 3:04:06 UTC);

    fn payment(state: State, authorized: i64, captured: i64) -> Payment {
        Payment {
            merchant: MerchantId(Uuid::nil()),
            id: PaymentId(Uuid::nil()),
            payment_token: TokenId(Uuid::nil()),
            amount: Amount::new(1000).unwrap(),
            currency: Currency::Usd,
            capture: CaptureMethod::Manual,
            merchant_reference: "order".into(),
            description: None,
            metadata: Vec::new(),
            state,
            decline_reason: None,
            authorized,
            captured,
            refunded: 0,
            expires_at: Some(LATER),
            created_at: NOW,
            updated_at: NOW,
        }
    }

    const FEES: Fees = Fees { bps: 290, fixed: 30 };

    #[test]
    fn a_payment_moves_as_the_table_of_states_says() {
        let capture = |amount, last| Command::Capture { amount: Amount::new(amount), last };
        let table = [
            // before, command: state, authorized, captured, moved, lines, still expires
            (
                payment(State::Processing, 0, 0),
                Command::Authorize,
                (State::Authorized, 1000, 0, 1000, 0, true),
            ),
            (payment(State::Processing, 0, 0), Command::Sale, (State::Captured, 1000, 1000, 1000, 3, false)),
            (
                payment(State::Authorized, 1000, 0),
                capture(400, false),
                (State::PartiallyCaptured, 1000, 400, 400, 3, true),
            ),
            (
                payment(State::Authorized, 1000, 0),
                capture(400, true),
                (State::Captured, 1000, 400, 400, 3, false),
            ),
            (
                payment(State::Authorized, 1000, 0),
                capture(1000, false),
                (State::Captured, 1000, 1000, 1000, 3, false),
            ),
            (
                payment(State::PartiallyCaptured, 1000, 400),
                capture(0, true),
                (State::Captured, 1000, 1000, 600, 3, false),
            ),
            (payment(State::Authorized, 1000, 0), Command::Void, (State::Voided, 1000, 0, 1000, 0, false)),
            (
                payment(State::PartiallyCaptured, 1000, 400),
                Command::Void,
                (State::Captured, 1000, 400, 600, 0, false),
            ),
        ];
        for (before, command, want) in table {
            let change = decide(&before, &command, FEES).unwrap();
            let change = conclude(before, &command, change, Verdict::Approved, LATER);
            let p = &change.payment;
            let lines = change.journal.len();
            assert_eq!(
                (p.state, p.authorized, p.captured, change.amount.minor(), lines, p.expires_at.is_some()),
                want,
                "{command:?}"
            );
            assert_eq!(p.updated_at, LATER);
        }
    }

    #[test]
    fn a_capture_is_refused_before_anybody_is_asked() {
        for state in [State::Processing, State::Captured, State::Declined, State::Voided] {
            for command in [Command::Capture { amount: None, last: true }, Command::Void] {
                let refused = decide(&payment(state, 1000, 0), &command, FEES).unwrap_err();
                assert!(
                    matches!(refused, Error::PaymentStateInvalid { current, allowed: CAPTURABLE, .. } if current == state),
                    "{command:?} {state:?}"
                );
            }
        }
        for command in [Command::Authorize, Command::Sale] {
            let refused = decide(&payment(State::Captured, 1000, 1000), &command, FEES).unwrap_err();
            assert!(matches!(refused, Error::PaymentStateInvalid { allowed: [State::Processing], .. }));
        }
        let rest = Command::Capture { amount: None, last: true };
        let refused = decide(&payment(State::Authorized, 1000, 1000), &rest, FEES).unwrap_err();
        assert!(matches!(refused, Error::AmountExceedsCapturable(_)), "nothing is left");
        let too_much = Command::Capture { amount: Amount::new(601), last: false };
        let refused = decide(&payment(State::PartiallyCaptured, 1000, 400), &too_much, FEES).unwrap_err();
        assert!(matches!(refused, Error::AmountExceedsCapturable(_)));
    }

    #[test]
    fn a_failure_moves_nothing() {
        let before = payment(State::Processing, 0, 0);
        let change = decide(&before, &Command::Sale, FEES).unwrap();
        let declined =
            conclude(before, &Command::Sale, change, Verdict::Declined(DeclineReason::DoNotHonor), LATER);
        assert_eq!(
            (declined.payment.state, declined.amount.minor(), declined.payment.authorized),
            (State::Declined, 1000, 0)
        );
        assert_eq!(declined.payment.decline_reason, Some(DeclineReason::DoNotHonor));
        assert_eq!(
            (declined.payment.expires_at, declined.events),
            (None, [EventType::PaymentDeclined].as_slice())
        );

        let before = payment(State::PartiallyCaptured, 1000, 400);
        let rest = Command::Capture { amount: None, last: true };
        let change = decide(&before, &rest, FEES).unwrap();
        let refused = conclude(before.clone(), &rest, change, Verdict::Refused, LATER);
        assert_eq!(refused.payment, Payment { updated_at: LATER, ..before });
        assert_eq!(
            (refused.amount.minor(), refused.events),
            (600, [EventType::PaymentOperationFailed].as_slice())
        );
    }

    #[test]
    fn an_authorisation_that_lapses_leaves_what_was_captured() {
        for (before, state) in [
            (payment(State::Authorized, 1000, 0), State::Expired),
            (payment(State::PartiallyCaptured, 1000, 1), State::Captured),
        ] {
            let want = Payment { state, expires_at: None, updated_at: LATER, ..before.clone() };
            assert_eq!(expire(before, LATER), want);
        }
    }

    #[test]
    fn a_refund_gives_back_what_was_captured_and_no_more() {
        let refund = |amount| Command::Refund { amount: Amount::new(amount), reason: None };
        let before = Payment { refunded: 100, ..payment(State::PartiallyCaptured, 1000, 400) };
        for (asked, refunded) in [(0, 400), (1, 101), (300, 400)] {
            let change = decide(&before, &refund(asked), FEES).unwrap();
            assert_eq!(change.payment, Payment { refunded, ..before.clone() });
            assert_eq!(change.events, [EventType::RefundSucceeded]);
            let lines: Vec<i64> = change.journal.iter().map(|entry| entry.amount).collect();
            assert_eq!(lines, [100 - refunded, refunded - 100], "the fee is kept");
            let refused = conclude(before.clone(), &refund(asked), change, Verdict::Refused, LATER);
            assert_eq!(refused.events, [EventType::RefundFailed]);
        }
        let nothing_left = Payment { refunded: 400, ..before.clone() };
        for refused in [decide(&before, &refund(301), FEES), decide(&nothing_left, &refund(0), FEES)] {
            assert!(matches!(refused, Err(Error::AmountExceedsRefundable(_))), "{refused:?}");
        }
        for state in [State::Processing, State::Authorized, State::Declined, State::Voided] {
            let refused = decide(&payment(state, 1000, 0), &refund(0), FEES).unwrap_err();
            assert!(matches!(refused, Error::PaymentStateInvalid { allowed: REFUNDABLE, .. }), "{state:?}");
        }
    }
}
