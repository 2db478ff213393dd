//! Ids on the wire: a prefix, `_`, and a UUID's 128 bits in 26 characters of Crockford's base32 (TypeID). Postgres stores the UUID.
//! Any 128 bits are an id, so that every stored UUID can be shown; `proto/vectors/type_ids.toml` has the cases.

use std::fmt;

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a suffix: 26 x 5 bits hold 128, so the first is 0 to 7.
const SUFFIX: usize = 26;

/// The 26 characters of `uuid`, written into `into`.
fn encode(uuid: Uuid, into: &mut [u8; SUFFIX]) -> &str {
    let mut rest = uuid.as_u128();
    for place in into.iter_mut().rev() {
        *place = ALPHABET[usize::try_from(rest & 31).unwrap_or(0)];
        rest >>= 5;
    }
    std::str::from_utf8(into).unwrap_or_default()
}

/// The UUID of a suffix; none where it isn't exactly what [`encode`] writes.
fn decode(suffix: &str) -> Option<Uuid> {
    let bytes = suffix.as_bytes();
    if bytes.len() != SUFFIX || bytes[0] > b'7' {
        return None;
    }
    let mut value = 0u128;
    for byte in bytes {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'h' => byte - b'a' + 10,
            b'j' | b'k' => byte - b'j' + 18,
            b'm' | b'n' => byte - b'm' + 20,
            b'p'..=b't' => byte - b'p' + 22,
            b'v'..=b'z' => byte - b'v' + 27,
            _ => return None,
        };
        value = value << 5 | u128::from(digit);
    }
    Some(Uuid::from_u128(value))
}

/// Declares one kind of id, so that a payment's id can't stand where a merchant's belongs.
macro_rules! ids {
    ($($(#[$about:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh one: UUIDv7, increasing within this process.
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }

            /// None where `text` isn't an id of this kind, as this service writes it.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix(concat!($prefix, "_")).and_then(Self::of_suffix)
            }

            /// As a client sent it: a malformed one is looked for like an unknown one.
            pub fn sent(text: &str) -> Self {
                Self::parse(text).unwrap_or(Self(Uuid::nil()))
            }

            /// The same without the prefix.
            pub fn of_suffix(suffix: &str) -> Option<Self> {
                decode(suffix).map(Self)
            }

            /// The text without the prefix.
            pub fn suffix(self) -> String {
                encode(self.0, &mut [0; SUFFIX]).to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(encode(self.0, &mut [0; SUFFIX]))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

ids! {
    /// A merchant; the nil one is the administrator's scope of idempotency keys.
    MerchantId = "mer";
    /// An API key.
    KeyId = "key";
    /// A payment token: a card that was given once.
    TokenId = "ptk";
    /// A payment.
    PaymentId = "pay";
    /// A refund: its operation, as merchants see it.
    RefundId = "ref";
    /// What the card network is asked under.
    OperationId = "op";
    /// A ledger entry.
    EntryId = "ent";
    /// A webhook endpoint.
    EndpointId = "whe";
    /// An event.
    EventId = "evt";
    /// A request, for support; in the header `Request-Id` alone.
    RequestId = "req";
}

/// The administrator, as a scope of idempotency keys.
pub const NIL_MERCHANT: MerchantId = MerchantId(Uuid::nil());

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prefix: &str, text: &str) -> Option<Uuid> {
        match prefix {
            "mer" => MerchantId::parse(text).map(|id| id.0),
            "key" => KeyId::parse(text).map(|id| id.0),
            "ptk" => TokenId::parse(text).map(|id| id.0),
            "pay" => PaymentId::parse(text).map(|id| id.0),
            other => panic!("no such prefix: {other}"),
        }
    }

    #[test]
    fn ids_are_read_and_written_as_the_vectors_say() {
        let vectors: toml::Table = include_str!("../../../../proto/vectors/type_ids.toml").parse().unwrap();
        for case in vectors["valid"].as_array().unwrap() {
            let (prefix, text) = (case["prefix"].as_str().unwrap(), case["text"].as_str().unwrap());
            let uuid: Uuid = case["uuid"].as_str().unwrap().parse().unwrap();
            assert_eq!(parse(prefix, text), Some(uuid), "{text}");
            assert_eq!(format!("{prefix}_{}", PaymentId(uuid).suffix()), text);
        }
        for case in vectors["invalid"].as_array().unwrap() {
            let (prefix, text) = (case["prefix"].as_str().unwrap(), case["text"].as_str().unwrap());
            assert_eq!(parse(prefix, text), None, "{text}");
        }
    }

    #[test]
    fn every_digit_survives_the_round_trip() {
        for shift in 0..128 {
            let id =
                PaymentId(Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677u128.rotate_left(shift)));
            assert_eq!(PaymentId::parse(&id.to_string()), Some(id));
        }
    }
}
