//! A merchant: who is paid, at which fees, within which limits.

use time::OffsetDateTime;

use super::{
    id::{KeyId, MerchantId},
    money::Fees,
};

/// A merchant as it was created; nothing changes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merchant {
    /// mer_…
    pub id: MerchantId,
    /// 1 to 200 bytes.
    pub name: String,
    /// What a capture costs it.
    pub fees: Fees,
    /// The largest amount of one payment in minor units; above it a payment is blocked.
    pub amount_limit: i64,
    /// How many authorisations one card may have in 60 s; none: no limit.
    pub velocity_limit: Option<i16>,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Where nothing is said.
pub const DEFAULT_FEES: Fees = Fees { bps: 290, fixed: 30 };

/// A merchant's credential.
pub struct ApiKey {
    /// key_…
    pub id: KeyId,
    /// Whose.
    pub merchant: MerchantId,
    /// The whole `tp_live_…` text, known at its making alone.
    pub secret: Option<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was revoked first.
    pub revoked_at: Option<OffsetDateTime>,
}
