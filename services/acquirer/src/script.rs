//! What each card does, and the network token that carries the script.

use payments_proto::acquirer::v1::{DeclineReason, Outcome, Result as Decision};
use sha2::{Digest, Sha256};

/// The rpcs that decide something about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    /// Reserves an amount.
    Authorize,
    /// Reserves and takes it.
    Sale,
    /// Takes what was reserved.
    Capture,
    /// Releases what wasn't taken.
    Void,
    /// Gives back what was taken.
    Refund,
}

impl Rpc {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Rpc> {
        let all = [Rpc::Authorize, Rpc::Sale, Rpc::Capture, Rpc::Void, Rpc::Refund];
        all.into_iter().find(|rpc| rpc.name() == name)
    }

    /// As `GetOperation` names it.
    pub fn name(self) -> &'static str {
        match self {
            Rpc::Authorize => "Authorize",
            Rpc::Sale => "Sale",
            Rpc::Capture => "Capture",
            Rpc::Void => "Void",
            Rpc::Refund => "Refund",
        }
    }
}

/// What becomes of the reply to a first ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives.
    Arrives,
    /// Its stream is reset.
    Lost,
    /// It doesn't come before the caller's deadline.
    Hangs,
}

/// The script of one card: the last four digits of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script([u8; 4]);

impl Script {
    /// Of a card number of digits only.
    pub fn of_card(number: &str) -> Option<Script> {
        Script::from_digits(number.as_bytes().last_chunk()?)
    }

    /// Out of a network token that [`Script::token`] made.
    pub fn of_token(token: &str) -> Option<Script> {
        let (ending, random) = token.strip_prefix("ntk_")?.split_once('_')?;
        let hex = random.len() == 32 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Script::from_digits(ending.as_bytes().try_into().ok()?))?
    }

    fn from_digits(digits: &[u8; 4]) -> Option<Script> {
        digits.iter().all(u8::is_ascii_digit).then_some(Script(*digits))
    }

    /// A token for the operation: the same for the same operation, also after a restart, and no digit of the card
    /// beyond the ending.
    pub fn token(self, seed: u64, operation_id: &str) -> String {
        let digest = Sha256::new()
            .chain_update("network token")
            .chain_update(seed.to_be_bytes())
            .chain_update(operation_id);
        let digest = digest.finalize();
        let random: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("ntk_{}_{random}", self.0.map(char::from).iter().collect::<String>())
    }

    /// What the network decides.
    pub fn decide(self, rpc: Rpc) -> Decision {
        match rpc {
            Rpc::Authorize | Rpc::Sale => self.decline_reason().map_or_else(approved, declined),
            Rpc::Capture => self.unless(b"3071"),
            Rpc::Void => self.unless(b"3089"),
            Rpc::Refund => self.unless(b"3097"),
        }
    }

    /// What becomes of the reply to the first ask.
    pub fn delivery(self, rpc: Rpc) -> Delivery {
        match (rpc, &self.0) {
            (Rpc::Authorize | Rpc::Sale, b"3063") => Delivery::Lost,
            (Rpc::Authorize | Rpc::Sale, b"3055") => Delivery::Hangs,
            (Rpc::Authorize | Rpc::Sale | Rpc::Capture | Rpc::Void | Rpc::Refund, _) => Delivery::Arrives,
        }
    }

    /// Refused for the card with this ending.
    fn unless(self, ending: &[u8; 4]) -> Decision {
        if &self.0 == ending { outcome(Outcome::Refused) } else { approved() }
    }

    fn decline_reason(self) -> Option<DeclineReason> {
        match &self.0 {
            b"0002" => Some(DeclineReason::DoNotHonor),
            b"9995" => Some(DeclineReason::InsufficientFunds),
            b"0069" => Some(DeclineReason::ExpiredCard),
            b"0127" => Some(DeclineReason::IncorrectCvc),
            b"9987" => Some(DeclineReason::LostOrStolen),
            b"0119" => Some(DeclineReason::ProcessingError),
            _ => None,
        }
    }
}

fn approved() -> Decision {
    outcome(Outcome::Approved)
}

fn outcome(outcome: Outcome) -> Decision {
    Decision { outcome: outcome.into(), decline_reason: DeclineReason::Unspecified.into() }
}

fn declined(reason: DeclineReason) -> Decision {
    Decision { outcome: Outcome::Declined.into(), decline_reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(ending: &str) -> Script {
        Script::of_card(&format!("40000000{ending}")).expect("digits")
    }

    #[test]
    fn each_ending_does_what_the_table_says() {
        let table = [
            ("4242", Ok(()), Delivery::Arrives),
            ("0002", Err(DeclineReason::DoNotHonor), Delivery::Arrives),
            ("9995", Err(DeclineReason::InsufficientFunds), Delivery::Arrives),
            ("0069", Err(DeclineReason::ExpiredCard), Delivery::Arrives),
            ("0127", Err(DeclineReason::IncorrectCvc), Delivery::Arrives),
            ("9987", Err(DeclineReason::LostOrStolen), Delivery::Arrives),
            ("0119", Err(DeclineReason::ProcessingError), Delivery::Arrives),
            ("3063", Ok(()), Delivery::Lost),
            ("3055", Ok(()), Delivery::Hangs),
            ("3071", Ok(()), Delivery::Arrives),
            ("3089", Ok(()), Delivery::Arrives),
            ("3097", Ok(()), Delivery::Arrives),
        ];
        for (ending, decision, delivery) in table {
            for rpc in [Rpc::Authorize, Rpc::Sale] {
                assert_eq!(
                    script(ending).decide(rpc),
                    decision.map_or_else(declined, |()| approved()),
                    "{ending}"
                );
                assert_eq!(script(ending).delivery(rpc), delivery, "{ending}");
            }
            for (rpc, refused) in [(Rpc::Capture, "3071"), (Rpc::Void, "3089"), (Rpc::Refund, "3097")] {
                let wanted = if ending == refused { outcome(Outcome::Refused) } else { approved() };
                assert_eq!(script(ending).decide(rpc), wanted, "{rpc:?} {ending}");
                assert_eq!(script(ending).delivery(rpc), Delivery::Arrives, "{rpc:?} {ending}");
            }
        }
    }

    #[test]
    fn a_token_carries_the_script_and_nothing_else_of_the_card() {
        let card = "4539148803436467";
        let script = Script::of_card(card).expect("digits");
        let token = script.token(1, "op-1");
        assert_eq!(Script::of_token(&token), Some(script));
        assert!(token.starts_with("ntk_6467_") && !token.contains(&card[..12]), "{token}");
        assert_eq!(token, script.token(1, "op-1"));
        assert_ne!(token, script.token(1, "op-2"));
    }

    #[test]
    fn what_is_no_token_has_no_script() {
        let random = "0123456789abcdef0123456789abcdef";
        assert!(Script::of_token(&format!("ntk_4242_{random}")).is_some());
        for bad in ["", "ntk_", "ntk_4242", "ntk_4242_xyz", "ntk_424_0123456789abcdef0123456789abcdef"] {
            assert_eq!(Script::of_token(bad), None, "{bad}");
        }
        assert_eq!(Script::of_token(&format!("ntk_42a2_{random}")), None);
        assert_eq!(Script::of_token(&format!("ntk_4242_{}", random.to_uppercase())), None);
    }
}
