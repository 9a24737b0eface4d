//! Where may be called: a guard against endpoints that lead into our own network.
//!
//! An address is looked at twice: as text, when somebody names it, and as what its name resolves
//! to, whenever it is called. The connection is made to the very addresses that were looked at, so
//! a name that resolves to something else a moment later leads nowhere else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::mail::is_mail;
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

/// The longest address that is taken, in characters.
const LONGEST: usize = 2_000;
/// Ports below this belong to well-known services: mail, shells, files. Only that of HTTPS is open.
const FIRST_FREE_PORT: u16 = 1_024;

/// Names that are never public, whatever they resolve to.
const INNER_NAMES: &[&str] = &[
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "home.arpa",
    "onion",
    "test",
    "invalid",
    "example",
    "metadata.goog",
];

/// Public by their number, and not by what is behind them.
const INNER_HOSTS: &[Ipv4Addr] = &[
    // What Azure tells its machines, keys among it.
    Ipv4Addr::new(168, 63, 129, 16),
];

/// IPv4 networks that are not public: the first address, and how many bits of it count.
const INNER_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Between a provider and its customers (RFC 6598).
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, and where clouds tell machines their secrets.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The one IPv6 network that is public; what maps, translates or tunnels to IPv4 is outside of it
/// (`::ffff:0:0/96`, `64:ff9b::/96`) or named below.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const INNER_V6: &[(Ipv6Addr, u32)] = &[
    // Teredo, ORCHID and other protocols' own.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4: an IPv4 address is inside.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Why an address is not called. What a name resolved to is not repeated: it would tell a
/// stranger what our network looks like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("it is no address: expected https://host/path")]
    NotAnAddress,
    #[error("it has more than {LONGEST} characters")]
    TooLong,
    #[error("only https is called")]
    NotHttps,
    #[error("it holds a user name or a password: the signature proves who calls")]
    HoldsCredentials,
    #[error("it holds a fragment (#), which is never sent")]
    HoldsFragment,
    #[error("port {0} is not called: use 443, or one from {FIRST_FREE_PORT}")]
    Port(u16),
    #[error("{0} is a name of an inner network")]
    InnerName(String),
    #[error("it leads to an address that is not public")]
    NotPublic,
    #[error("the name {0} cannot be resolved")]
    Unresolved(String),
    #[error("it is no mailbox: expected mailto:somebody@example.com, and nothing else")]
    NoMailbox,
    #[error("no mail can be sent: set [notify.smtp]")]
    NoMailServer,
}

/// Who knows the addresses of names.
#[async_trait]
pub trait Names: Send + Sync {
    /// Every address of a name.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The host's own resolver.
pub struct HostNames;

#[async_trait]
impl Names for HostNames {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// An address as logs and alerts may hold it: without path and query, which may be a secret.
pub fn origin(url: &str) -> String {
    if is_mail(url) {
        return url.to_owned();
    }
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Says what may be called. Cloning shares the resolver.
#[derive(Clone)]
pub struct Guard {
    names: Arc<dyn Names>,
    /// Inner networks may be called, and this host's own loopback without TLS.
    allow_private: bool,
}

impl Guard {
    /// A guard that asks `names`.
    pub fn new(names: Arc<dyn Names>, allow_private: bool) -> Self {
        Self { names, allow_private }
    }

    /// Looks at an address as text. It is written anew, so `https://0x7f.1/` is seen for what it
    /// is.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn check_text(&self, text: &str) -> Result<Url, AddressError> {
        if text.chars().count() > LONGEST {
            return Err(AddressError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| AddressError::NotAnAddress)?;
        let host = url.host().ok_or(AddressError::NotAnAddress)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private && is_loopback(&host) => {}
            _ => return Err(AddressError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::HoldsCredentials);
        }
        if url.fragment().is_some() {
            return Err(AddressError::HoldsFragment);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if port != 443 && port < FIRST_FREE_PORT {
            return Err(AddressError::Port(port));
        }
        match &host {
            _ if self.allow_private => {}
            Host::Domain(name) if is_inner_name(name) => {
                return Err(AddressError::InnerName((*name).to_owned()));
            }
            Host::Ipv4(ip) if !is_public_v4(*ip) => return Err(AddressError::NotPublic),
            Host::Ipv6(ip) if !is_public_v6(*ip) => return Err(AddressError::NotPublic),
            _ => {}
        }
        if url.as_str().len() > 3 * LONGEST {
            return Err(AddressError::TooLong);
        }
        Ok(url)
    }

    /// Looks at an address as text, and at what its name resolves to now.
    ///
    /// # Errors
    /// [`AddressError`].
    pub async fn check(&self, text: &str) -> Result<Url, AddressError> {
        let url = self.check_text(text)?;
        if let Some(Host::Domain(name)) = url.host() {
            self.resolve_name(name).await?;
        }
        Ok(url)
    }

    /// The addresses of a name, if every one of them may be called: a name that leads both out
    /// and in leads in.
    async fn resolve_name(&self, name: &str) -> Result<Vec<IpAddr>, AddressError> {
        let found = self.names.addresses(name).await.unwrap_or_default();
        if found.is_empty() {
            return Err(AddressError::Unresolved(name.to_owned()));
        }
        if !self.allow_private && !found.iter().all(|ip| is_public(*ip)) {
            return Err(AddressError::NotPublic);
        }
        Ok(found)
    }
}

/// The HTTP client asks here, and connects to nothing else. The port is the URL's own.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.resolve_name(name.as_str()).await?;
            let found = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// Whether a name is of an inner network: it has no dot, or ends in one that only those have.
fn is_inner_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends = |inner: &&str| {
        name.strip_suffix(*inner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') || INNER_NAMES.iter().any(ends)
}

/// Whether an address is one of the public Internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let inside = |(net, bits): &(Ipv4Addr, u32)| {
        let mask = u32::MAX << (32 - bits);
        u32::from(ip) & mask == u32::from(*net)
    };
    !INNER_V4.iter().any(inside) && !INNER_HOSTS.contains(&ip)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let inside = |(net, bits): &(Ipv6Addr, u32)| {
        let mask = u128::MAX << (128 - bits);
        u128::from(ip) & mask == u128::from(*net)
    };
    inside(&PUBLIC_V6) && !INNER_V6.iter().any(inside)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Names of a story.
    struct Told(HashMap<&'static str, Vec<&'static str>>);

    #[async_trait]
    impl Names for Told {
        async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            let found = self.0.get(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(found.iter().map(|ip| ip.parse().expect("an address")).collect())
        }
    }

    fn guard(names: &[(&'static str, &[&'static str])], allow_private: bool) -> Guard {
        let names = names.iter().map(|(name, ips)| (*name, ips.to_vec())).collect();
        Guard::new(Arc::new(Told(names)), allow_private)
    }

    fn refused(text: &str) -> AddressError {
        guard(&[], false).check_text(text).expect_err(text)
    }

    #[test]
    fn addresses_of_inner_networks_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "10.1.2.3",
            "012.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "198.18.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "203.0.113.9",
            "198.51.100.7",
            "192.88.99.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:93.184.216.34]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::5db8:d822]",
            "[64:ff9b:1::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[3fff::1]",
            "[4000::1]",
            "%31%32%37.0.0.1",
            "①②⑦.0.0.1",
            "127。0。0。1",
        ] {
            assert_eq!(refused(&format!("https://{host}/hook")), AddressError::NotPublic, "{host}");
        }
    }

    #[test]
    fn names_of_inner_networks_are_refused_whatever_they_resolve_to() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "api.localhost",
            "db",
            "instance-data",
            "printer.local",
            "metadata.google.internal",
            "metadata.google.internal.",
            "metadata.goog",
            "kube.internal",
            "router.home.arpa",
            "x.onion",
            "nas.lan",
            "ⓛocalhost",
        ] {
            let error = refused(&format!("https://{host}/"));
            assert!(matches!(error, AddressError::InnerName(_)), "{host}: {error}");
        }
    }

    #[test]
    fn what_is_no_plain_https_address_is_refused() {
        for (text, error) in [
            ("", AddressError::NotAnAddress),
            ("example.com/hook", AddressError::NotAnAddress),
            ("https://", AddressError::NotAnAddress),
            ("https:///hook", AddressError::InnerName("hook".into())),
            ("https://exa mple.com", AddressError::NotAnAddress),
            ("https://256.0.0.1/", AddressError::NotAnAddress),
            ("data:text/plain,x", AddressError::NotAnAddress),
            ("http://example.com/", AddressError::NotHttps),
            ("ftp://example.com/", AddressError::NotHttps),
            ("file://example.com/etc/passwd", AddressError::NotHttps),
            ("gopher://example.com/", AddressError::NotHttps),
            ("http://127.0.0.1/", AddressError::NotHttps),
            ("https://user@example.com/", AddressError::HoldsCredentials),
            ("https://:secret@example.com/", AddressError::HoldsCredentials),
            ("https://example.com@10.0.0.1/", AddressError::HoldsCredentials),
            ("https://example.com/#a", AddressError::HoldsFragment),
            ("https://example.com:22/", AddressError::Port(22)),
            ("https://example.com:25/", AddressError::Port(25)),
            ("https://example.com:80/", AddressError::Port(80)),
            ("https://example.com:0/", AddressError::Port(0)),
        ] {
            assert_eq!(refused(text), error, "{text}");
        }
        assert_eq!(
            refused(&format!("https://example.com/{}", "x".repeat(2_000))),
            AddressError::TooLong
        );
    }

    #[test]
    fn public_addresses_pass() {
        for text in [
            "https://hooks.example.com/payouts?tenant=1",
            "https://hooks.example.com:8443/",
            "https://93.184.216.34/",
            "https://[2606:2800:220:1:248:1893:25c8:1946]/",
            "https://100.63.255.255/",
            "https://172.32.0.1/",
            "https://bücher.example.org/",
        ] {
            guard(&[], false).check_text(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[tokio::test]
    async fn a_name_passes_only_if_all_it_resolves_to_is_public() {
        let guard = guard(
            &[
                ("out.example.com", &["93.184.216.34", "2606:2800:220:1::1"]),
                ("in.example.com", &["10.0.0.7"]),
                ("both.example.com", &["93.184.216.34", "127.0.0.1"]),
                ("mapped.example.com", &["::ffff:169.254.169.254"]),
                ("nat64.example.com", &["64:ff9b::a00:1"]),
                ("none.example.com", &[]),
            ],
            false,
        );
        guard.check("https://out.example.com/").await.expect("public");
        for name in ["in", "both", "mapped", "nat64"] {
            let error = guard.check(&format!("https://{name}.example.com/")).await.expect_err(name);
            assert_eq!(error, AddressError::NotPublic, "{name}");
            assert!(!error.to_string().contains("10."), "{error}");
        }
        for name in ["none.example.com", "unknown.example.com"] {
            let error = guard.check(&format!("https://{name}/")).await.expect_err(name);
            assert_eq!(error, AddressError::Unresolved(name.into()));
        }
    }

    #[test]
    fn inner_networks_are_called_where_that_is_allowed_and_loopback_alone_without_tls() {
        let guard = guard(&[], true);
        for text in
            ["http://127.0.0.1:9000/", "http://localhost:9000/", "https://10.0.0.1/", "https://db/"]
        {
            guard.check_text(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        for text in ["http://10.0.0.1:9000/", "http://example.com:9000/"] {
            assert_eq!(guard.check_text(text).expect_err(text), AddressError::NotHttps);
        }
    }
}
