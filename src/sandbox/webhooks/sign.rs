//! Signatures as the two providers make them.

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine};

use super::authority::Authority;

/// `t=…,v1=…`: Stripe's signature of a body at an instant, in seconds since 1970.
pub(super) fn stripe_signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(tag))
}

/// What PayPal sends beside a body.
pub(in crate::sandbox) struct Transmission {
    pub(in crate::sandbox) id: String,
    /// RFC 3339, in whole seconds.
    pub(in crate::sandbox) time: String,
    pub(in crate::sandbox) webhook_id: String,
}

/// The text that PayPal signs: the body stands in it as a checksum.
pub(in crate::sandbox) fn paypal_text(transmission: &Transmission, body: &[u8]) -> String {
    let Transmission { id, time, webhook_id } = transmission;
    format!("{id}|{time}|{webhook_id}|{}", crc32fast::hash(body))
}

/// PayPal's signature, as its header has it.
pub(super) fn paypal_signature(
    authority: &Authority,
    transmission: &Transmission,
    body: &[u8],
) -> String {
    BASE64_STANDARD.encode(authority.sign(paypal_text(transmission, body).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_signature_is_the_one_its_own_library_makes() {
        let v1 = "d9e610413b284fd14ccf5ad35f107ba3f1611715281bc73e071a2fb06fefe06e";
        let signature = stripe_signature("whsec_x", 1_795_358_657, r#"{"a":1}"#);
        assert_eq!(signature, format!("t=1795358657,v1={v1}"));
    }

    #[test]
    fn paypals_text_has_the_bodys_checksum_in_decimals() {
        let transmission =
            Transmission { id: "I".into(), time: "T".into(), webhook_id: "W".into() };
        assert_eq!(paypal_text(&transmission, br#"{"a":1}"#), "I|T|W|1444654255");
        assert_eq!(paypal_text(&transmission, b"123456789"), "I|T|W|3421780262");
    }
}
