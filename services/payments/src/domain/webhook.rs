//! Where a merchant is told: the URLs and addresses that a webhook may go to, what it is signed with, and what follows from an attempt.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use time::OffsetDateTime;

use super::{error::names, id::EndpointId};

/// How many endpoints a merchant may have.
pub const MAX_ENDPOINTS: usize = 16;
/// A delivery is tried so often.
pub const MAX_ATTEMPTS: i16 = 8;
/// The wait before an attempt grows no further.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Where a merchant wants to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// whe_…
    pub id: EndpointId,
    /// As it was sent.
    pub url: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// When its receiver said that it is gone.
    pub disabled_at: Option<OffsetDateTime>,
}

/// Whom webhooks may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Targets {
    /// https, at public addresses.
    Public,
    /// Anybody, over http too.
    Any,
}

/// A URL that was taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// Whether it is https.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: &'a str,
    /// Where none is said, that of the scheme.
    pub port: u16,
    /// Host and port as they were written.
    pub authority: &'a str,
    /// Without the query, which may hold a secret.
    pub shown: &'a str,
    /// Path and query; empty where there is neither.
    pub rest: &'a str,
}

impl<'a> Target<'a> {
    /// By a grammar of our own: standard parsers repair what they are given, each in another way. `proto/vectors/webhook_targets.toml`
    /// has the cases.
    pub fn parse(url: &'a str, targets: Targets) -> Option<Self> {
        let (tls, after) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(after), _) => (true, after),
            (None, Some(after)) if targets == Targets::Any => (false, after),
            (None, _) => return None,
        };
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        let (host, port) = match authority.strip_prefix('[').map(|inner| inner.split_once(']')) {
            Some(split) => {
                let (host, port) = split?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                (host, Some(port).filter(|_| is_host(host))?)
            }
        };
        let port = match (port.strip_prefix(':'), tls) {
            (Some(port), _) => parse_port(port)?,
            (None, _) if !port.is_empty() => return None,
            (None, true) => 443,
            (None, false) => 80,
        };
        let shown = &url[..url.find('?').unwrap_or(url.len())];
        is_rest(rest).then_some(Self { tls, host, port, authority, shown, rest })
    }
}

/// A name of lower-case labels, or an IPv4 address. What ends in a number is an address to some resolvers, in forms of their own.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let known = label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        known && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit());
    host.len() <= 253 && host.split('.').all(label) && (!number || host.parse::<Ipv4Addr>().is_ok())
}

fn parse_port(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    port.parse().ok().filter(|_| digits)
}

/// Visible ASCII without what RFC 3986 doesn't know; an escape is `%` and two hex digits.
fn is_rest(rest: &str) -> bool {
    let known = |b: u8| b.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&b);
    let mut parts = rest.split('%');
    let plain = parts.next().unwrap_or_default();
    plain.bytes().all(known)
        && parts.all(|part| {
            let escape = part.as_bytes().get(..2);
            escape.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) && part.bytes().all(known)
        })
}

/// Not globally reachable, or multicast: what IANA's registries of special addresses say.
const REFUSED: [&str; 26] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

impl Targets {
    /// Whether a webhook may be sent to this address.
    pub fn allow(self, address: IpAddr) -> bool {
        self == Self::Any || is_public(address)
    }
}

/// An IPv4 address within an IPv6 one is judged by itself.
fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => {
                IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
            }
            _ => address,
        },
    };
    !REFUSED.iter().any(|network| contains(network, address))
}

fn contains(network: &str, address: IpAddr) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (base, length) = (base.parse(), length.parse::<u32>().unwrap_or(0));
    match (base, address) {
        (Ok(IpAddr::V4(base)), IpAddr::V4(address)) => {
            (base.to_bits() ^ address.to_bits()) >> (32 - length) == 0
        }
        (Ok(IpAddr::V6(base)), IpAddr::V6(address)) => {
            (base.to_bits() ^ address.to_bits()) >> (128 - length) == 0
        }
        (_, _) => false,
    }
}

names! {
    /// Why an attempt failed.
    Fault {
        Connect = "connect",
        Timeout = "timeout",
        RefusedAddress = "refused_address",
        Tls = "tls",
        Status = "status",
        Body = "body",
        Disabled = "disabled",
    }
}

/// What came of one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// None where it succeeded.
    pub fault: Option<Fault>,
}

/// What follows from an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The receiver has it.
    Succeeded,
    /// Given up.
    Failed,
    /// To be tried again, at the latest after this.
    Retried(Duration),
    /// The receiver is gone for good, and so is the delivery.
    Disabled,
}

impl Outcome {
    /// As metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retried(_) => "retried",
            Self::Disabled => "disabled",
        }
    }
}

impl Attempt {
    /// `number` counts from 1; `retry` is the longest wait before the second attempt, and doubles with each.
    pub fn outcome(self, number: i16, retry: Duration) -> Outcome {
        match self.fault {
            None => Outcome::Succeeded,
            Some(Fault::Disabled) => Outcome::Disabled,
            Some(_) if self.status == Some(410) => Outcome::Disabled,
            Some(_) if number >= MAX_ATTEMPTS => Outcome::Failed,
            Some(_) => {
                let doublings = u32::try_from(number - 1).unwrap_or(0);
                Outcome::Retried(retry.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_WAIT))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> toml::Table {
        include_str!("../../../../proto/vectors/webhook_targets.toml").parse().unwrap()
    }

    #[test]
    fn addresses_are_public_as_the_vectors_say() {
        let vectors = vectors();
        let refused: Vec<_> =
            vectors["refused"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        assert_eq!(REFUSED[..], refused);
        for case in vectors["address"].as_array().unwrap() {
            let address = case["address"].as_str().unwrap();
            let allowed = Targets::Public.allow(address.parse().unwrap());
            assert_eq!(Some(allowed), case["public"].as_bool(), "{address}");
            assert!(Targets::Any.allow(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_ends_of_every_refused_network_are_refused_and_its_neighbours_not_by_it() {
        for network in REFUSED {
            let (base, length) = network.split_once('/').unwrap();
            let length: u32 = length.parse().unwrap();
            let (first, last, after) = match base.parse().unwrap() {
                IpAddr::V4(base) => {
                    let last = base.to_bits() | u32::MAX.checked_shr(length).unwrap_or(0);
                    let after = last.checked_add(1).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
                    (IpAddr::V4(base), IpAddr::V4(Ipv4Addr::from_bits(last)), after)
                }
                IpAddr::V6(base) => {
                    let last = base.to_bits() | u128::MAX.checked_shr(length).unwrap_or(0);
                    let after = last.checked_add(1).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
                    (IpAddr::V6(base), IpAddr::V6(Ipv6Addr::from_bits(last)), after)
                }
            };
            assert!(contains(network, first) && contains(network, last), "{network}");
            assert!(after.is_none_or(|after| !contains(network, after)), "{network}");
        }
    }

    #[test]
    fn urls_are_taken_as_the_vectors_say() {
        for case in vectors()["url"].as_array().unwrap() {
            let url = case["url"].as_str().unwrap();
            for (targets, name) in [(Targets::Public, "public"), (Targets::Any, "any")] {
                assert_eq!(
                    Some(Target::parse(url, targets).is_some()),
                    case[name].as_bool(),
                    "{name}: {url}"
                );
            }
        }
    }

    #[test]
    fn every_visible_character_of_a_path_is_taken_or_not() {
        for c in (0..128).map(char::from) {
            let known = c.is_ascii_graphic() && !"\"#<>\\^`{|}%".contains(c);
            assert_eq!(Target::parse(&format!("https://a/{c}"), Targets::Public).is_some(), known, "{c:?}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |url| {
            let t = Target::parse(url, Targets::Any).unwrap();
            (t.tls, t.host, t.port, t.authority, t.shown, t.rest)
        };
        let url = "https://[2606:4700::1]:8443/a?b=/?c";
        let want =
            (true, "2606:4700::1", 8443, "[2606:4700::1]:8443", "https://[2606:4700::1]:8443/a", "/a?b=/?c");
        assert_eq!(parts(url), want);
        assert_eq!(parts("http://a?b"), (false, "a", 80, "a", "http://a", "?b"));
        assert_eq!(parts("https://8.8.8.8"), (true, "8.8.8.8", 443, "8.8.8.8", "https://8.8.8.8", ""));
    }

    #[test]
    fn waits_double_up_to_an_hour_and_the_eighth_attempt_is_the_last() {
        let failed = Attempt { status: Some(500), fault: Some(Fault::Status) };
        let after = |number| failed.outcome(number, Duration::from_secs(100));
        let seconds = |n| Outcome::Retried(Duration::from_secs(n));
        let want = [
            seconds(100),
            seconds(200),
            seconds(400),
            seconds(800),
            seconds(1600),
            seconds(3200),
            seconds(3600),
        ];
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(after), want);
        assert_eq!(after(8), Outcome::Failed);
        let hour = Duration::from_secs(3600);
        assert_eq!(failed.outcome(7, hour), Outcome::Retried(hour));
    }

    #[test]
    fn gone_is_for_good_and_a_success_needs_no_status_beside_it() {
        let outcome = |status, fault| Attempt { status, fault }.outcome(1, Duration::from_secs(1));
        assert_eq!(outcome(Some(204), None), Outcome::Succeeded);
        assert_eq!(outcome(Some(410), Some(Fault::Status)), Outcome::Disabled);
        assert_eq!(outcome(None, Some(Fault::Disabled)), Outcome::Disabled);
        assert_eq!(outcome(Some(200), Some(Fault::Body)).as_str(), "retried");
    }
}
