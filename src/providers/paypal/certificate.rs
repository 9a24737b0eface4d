//! The certificates that PayPal signs its webhooks with: from where they may be fetched, and whom
//! they must lead back to.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Url;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::providers::http::{describe, http_client, is_loopback};
use crate::providers::{Heard, Problem};

/// Chains that are kept. PayPal signs with one, and with two while it changes.
const KEPT: usize = 8;
/// A chain is a few certificates of some kilobytes.
const LARGEST: usize = 128 * 1024;

/// A certificate and what it is signed by, the signer's own first.
type Chain = Arc<Vec<CertificateDer<'static>>>;

/// Fetches certificates, and keeps the good ones.
pub(super) struct Certificates {
    timeout: Duration,
    /// Hosts that may name a certificate, with all that is below them.
    hosts: Vec<String>,
    /// Authorities of our own: the sandbox's.
    own: Vec<TrustAnchor<'static>>,
    kept: Mutex<VecDeque<(Url, Chain)>>,
    /// Held while one is fetched: many deliveries, one fetch.
    fetching: tokio::sync::Mutex<()>,
}

impl Certificates {
    /// # Errors
    /// [`Problem`] `bad_settings` if `ca_file` is named and holds no certificate.
    pub(super) fn new(hosts: &str, ca_file: &Path, timeout: Duration) -> Result<Self, Problem> {
        let hosts = hosts.split(',').map(|host| host.trim().to_ascii_lowercase());
        let hosts = hosts.filter(|host| !host.is_empty()).collect();
        let own = if ca_file.as_os_str().is_empty() { Vec::new() } else { authorities(ca_file)? };
        let (kept, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { timeout, hosts, own, kept, fetching })
    }

    /// Whether `signature` is that of `text` by the certificate at `address`, which must be good
    /// at the instant `at`.
    ///
    /// # Errors
    /// [`Heard::Refused`] if it is not, [`Heard::Unclear`] if the certificate cannot be fetched.
    pub(super) async fn verify(
        &self,
        address: &str,
        texts: &[String],
        signature: &[u8],
        at: DateTime<Utc>,
    ) -> Result<(), Heard> {
        let Some(url) = self.allowed(address) else {
            return Err(no("cert_url_not_allowed", "no certificate is taken from that address"));
        };
        let chain = match self.kept(&url, at) {
            Some(chain) => chain,
            None => self.fetched(&url, at).await?,
        };
        let leaf = self.trusted(&chain, at)?;
        let algorithm = webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;
        let fits =
            |text: &String| leaf.verify_signature(algorithm, text.as_bytes(), signature).is_ok();
        if texts.iter().any(fits) {
            return Ok(());
        }
        Err(no("wrong_signature", "the signature is not that of PayPal's certificate"))
    }

    /// An address that a certificate may come from: https on a listed host or one below it; plain
    /// http on a loopback host that is listed itself, for the sandbox.
    fn allowed(&self, address: &str) -> Option<Url> {
        let url = Url::parse(address).ok()?;
        let host = url.host_str()?;
        let listed = self.hosts.iter().any(|name| name == host);
        let is_below = |name: &String| host.strip_suffix(name).is_some_and(|r| r.ends_with('.'));
        let below = self.hosts.iter().any(is_below);
        let plain = url.username().is_empty() && url.password().is_none();
        let allowed = match url.scheme() {
            "https" => (listed || below) && url.port().is_none(),
            "http" => listed && is_loopback(&url),
            _ => false,
        };
        (allowed && plain).then_some(url)
    }

    /// The chain of an address, if it is still good: else it is fetched anew.
    fn kept(&self, url: &Url, at: DateTime<Utc>) -> Option<Chain> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, chain) = kept.iter().find(|(known, _)| known == url)?;
        self.trusted(chain, at).is_ok().then(|| Arc::clone(chain))
    }

    /// Fetches a chain, and keeps it if it can be trusted: nobody fills the shelf with others.
    async fn fetched(&self, url: &Url, at: DateTime<Utc>) -> Result<Chain, Heard> {
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(chain) = self.kept(url, at) {
            return Ok(chain);
        }
        let pem = self.fetch(url).await.map_err(Heard::Unclear)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = Arc::new(certificates.unwrap_or_default());
        self.trusted(&chain, at)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known != url);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((url.clone(), Arc::clone(&chain)));
        Ok(chain)
    }

    async fn fetch(&self, url: &Url) -> Result<Vec<u8>, Problem> {
        let failed = |words: String| Problem::new("no_certificate", words);
        let lost = |error| failed(describe(error));
        let request = http_client(url, self.timeout)?.get(url.clone());
        let mut response = request.send().await.map_err(lost)?;
        if response.status().as_u16() != 200 {
            return Err(failed(format!(
                "the certificate's address answered {}",
                response.status()
            )));
        }
        let mut pem = Vec::new();
        while let Some(part) = response.chunk().await.map_err(lost)? {
            pem.extend_from_slice(&part);
            if pem.len() > LARGEST {
                return Err(failed("the certificate's address gives no end of bytes".to_owned()));
            }
        }
        Ok(pem)
    }

    /// The first certificate of a chain that leads, at the instant `at`, to an authority of our
    /// own; or to a public one, if it names a listed host: those vouch for anybody's names.
    fn trusted<'c>(
        &self,
        chain: &'c [CertificateDer<'static>],
        at: DateTime<Utc>,
    ) -> Result<EndEntityCert<'c>, Heard> {
        let untrusted = || no("untrusted_certificate", "the certificate leads to nobody we trust");
        let (leaf, others) = chain.split_first().ok_or_else(untrusted)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| untrusted())?;
        let seconds = u64::try_from(at.timestamp()).map_err(|_| untrusted())?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let leads_to = |anchors: &[TrustAnchor<'static>]| {
            let (algorithms, usage) = (ALL_VERIFICATION_ALGS, KeyUsage::server_auth());
            leaf.verify_for_usage(algorithms, anchors, others, time, usage, None, None).is_ok()
        };
        let public = || leads_to(webpki_roots::TLS_SERVER_ROOTS) && self.names_a_host(&leaf);
        if leads_to(&self.own) || public() { Ok(leaf) } else { Err(untrusted()) }
    }

    fn names_a_host(&self, leaf: &EndEntityCert<'_>) -> bool {
        let is_ours = |name: &str| self.allowed(&format!("https://{name}/")).is_some();
        leaf.valid_dns_names().any(is_ours)
    }
}

fn no(code: &str, words: &str) -> Heard {
    Heard::Refused(Problem::new(code, words))
}

fn authorities(path: &Path) -> Result<Vec<TrustAnchor<'static>>, Problem> {
    let bad = |why: &str| {
        let words = format!("paypal.webhook_ca_file {}: {why}", path.display());
        Problem::new("bad_settings", words)
    };
    let pem = std::fs::read(path).map_err(|error| bad(&error.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| bad("it cannot be read as PEM"))?;
    let anchors: Result<Vec<_>, _> = certificates
        .iter()
        .map(|certificate| anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned()))
        .collect();
    let anchors = anchors.map_err(|_| bad("a certificate in it cannot be an authority"))?;
    if anchors.is_empty() { Err(bad("it holds no certificate")) } else { Ok(anchors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_hosts(hosts: &str) -> Certificates {
        Certificates::new(hosts, Path::new(""), Duration::from_secs(1)).expect("no file to read")
    }

    #[test]
    fn certificates_come_from_listed_hosts_and_what_is_below_them() {
        let certificates = of_hosts("paypal.com, 127.0.0.1");
        for (address, allowed) in [
            ("https://paypal.com/c", true),
            ("https://api.paypal.com/v1/notifications/certs/CERT-1", true),
            ("https://API.SANDBOX.PayPal.com/c", true),
            ("https://api.paypal.com:443/c", true),
            ("https://api.paypal.com:8443/c", false),
            ("https://evilpaypal.com/c", false),
            ("https://paypal.com.evil.example/c", false),
            ("https://paypal.com@evil.example/c", false),
            ("https://evil.example/paypal.com", false),
            ("https://evil.example\\@paypal.com/c", false),
            ("https://user:pw@api.paypal.com/c", false),
            ("https://paypal.com./c", false),
            ("http://api.paypal.com/c", false),
            ("ftp://api.paypal.com/c", false),
            ("file:///etc/passwd", false),
            ("http://127.0.0.1:4000/c", true),
            ("http://127.1:4000/c", true),
            ("http://localhost:4000/c", false),
            ("http://[::1]:4000/c", false),
            ("http://169.254.169.254/c", false),
            ("", false),
        ] {
            assert_eq!(certificates.allowed(address).is_some(), allowed, "{address}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_alone_even_if_another_host_is_listed() {
        assert!(of_hosts("paypal.example").allowed("http://paypal.example/c").is_none());
        assert!(of_hosts("localhost").allowed("http://localhost/c").is_some());
        assert!(of_hosts("localhost").allowed("http://sub.localhost/c").is_none());
        assert!(of_hosts("").allowed("https://api.paypal.com/c").is_none());
    }

    #[test]
    fn a_certificate_of_a_public_authority_has_to_name_a_listed_host() {
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
            let der = made.cert.der().clone();
            let leaf = EndEntityCert::try_from(&der).expect("readable");
            of_hosts("paypal.com").names_a_host(&leaf)
        };
        assert!(named(&["messageverificationcerts.paypal.com"]));
        assert!(named(&["other.example", "paypal.com"]));
        assert!(!named(&["paypal.com.evil.example"]));
        assert!(!named(&["evil.example"]));
        assert!(!named(&[]));
    }
}
