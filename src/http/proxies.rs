//! Whose word is taken for where a request comes from: the proxies in front of us.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;

/// Addresses of proxies that may say for whom they ask.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[Network]>);

#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Proxies {
    /// Reads `127.0.0.1, 10.0.0.0/8`; what is no address is given back.
    ///
    /// # Errors
    /// The first part that is neither an address nor a network.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| Network::parse(part).ok_or_else(|| part.to_owned());
        Ok(Self(parts.map(read).collect::<Result<_, _>>()?))
    }

    /// Where a request comes from: its peer, or whom a proxy of ours names. `None` if a proxy does
    /// not say: then it is nobody's address, and nobody is counted by it.
    pub(super) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.is_ours(peer) {
            return Some(peer);
        }
        // Each proxy adds whom it heard to the end; what stands before our own may be made up.
        let named = headers.get_all("x-forwarded-for").iter().filter_map(|it| it.to_str().ok());
        let named: Vec<_> = named.flat_map(|text| text.split(',')).map(str::trim).collect();
        for name in named.into_iter().rev() {
            let address = name.parse().ok()?;
            if !self.is_ours(address) {
                return Some(address);
            }
        }
        None
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, bits.parse().ok()?),
            None => (text.parse().ok()?, width(text.parse().ok()?)),
        };
        (bits <= width(address)).then_some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let (own, asked) = (bits_of(self.address), bits_of(address.to_canonical()));
        let Some((own, asked)) = own.zip_same(asked) else { return false };
        let rest = width(self.address) - self.bits;
        own.checked_shr(rest).unwrap_or(0) == asked.checked_shr(rest).unwrap_or(0)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number, and of which kind.
struct Bits {
    number: u128,
    is_v4: bool,
}

fn bits_of(address: IpAddr) -> Bits {
    match address {
        IpAddr::V4(address) => Bits { number: address.to_bits().into(), is_v4: true },
        IpAddr::V6(address) => Bits { number: address.to_bits(), is_v4: false },
    }
}

impl Bits {
    /// The two numbers, if they are of one kind.
    fn zip_same(self, other: Self) -> Option<(u128, u128)> {
        (self.is_v4 == other.is_v4).then_some((self.number, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(proxies: &str, peer: &str, forwarded: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        let proxies = Proxies::parse(proxies).expect("addresses");
        let peer = peer.parse().expect("an address");
        proxies.origin(peer, &headers).map(|address| address.to_string())
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let of = |peer: &str, forwarded: &[&str]| origin("127.0.0.1, 10.0.0.0/8", peer, forwarded);
        assert_eq!(of("192.0.2.1", &[]).as_deref(), Some("192.0.2.1"));
        assert_eq!(of("192.0.2.1", &["198.51.100.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(of("127.0.0.1", &["198.51.100.1"]).as_deref(), Some("198.51.100.1"));
        let made_up = ["203.0.113.5, 198.51.100.1", "10.1.2.3"];
        assert_eq!(of("127.0.0.1", &made_up).as_deref(), Some("198.51.100.1"));
        assert_eq!(of("10.255.0.1", &["2001:db8::1"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(of("::ffff:10.0.0.1", &["192.0.2.9"]).as_deref(), Some("192.0.2.9"));
        assert_eq!(of("11.0.0.1", &["192.0.2.9"]).as_deref(), Some("11.0.0.1"));
    }

    #[test]
    fn a_proxy_that_does_not_say_for_whom_it_asks_says_nothing() {
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &[]), None);
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &["192.0.2.1, unknown"]), None);
        assert_eq!(origin("0.0.0.0/0", "192.0.2.1", &["192.0.2.2"]), None);
        assert_eq!(origin("", "127.0.0.1", &["192.0.2.2"]).as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_given_back() {
        for wrong in ["localhost", "10.0.0.0/33", "::1/129", "10.0.0.1/x", "1.2.3"] {
            assert_eq!(Proxies::parse(&format!("::1, {wrong}")).expect_err(wrong), wrong);
        }
        Proxies::parse("").expect("none");
    }
}
