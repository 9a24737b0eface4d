//! A certificate authority of the sandbox's own, and the certificate that PayPal's webhooks are
//! signed with here. Both are made anew for every sandbox.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SigningKey, date_time_ymd,
};

/// Whom PayPal's own certificate is made out to.
const NAMES: [&str; 3] = [
    "messageverificationcerts.paypal.com",
    "messageverificationcerts.sandbox.paypal.com",
    "localhost",
];

/// See the module.
pub(in crate::sandbox) struct Authority {
    ca: Certificate,
    leaf: Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes both pairs of keys and both certificates.
    pub(in crate::sandbox) fn new() -> Self {
        let fine = "parameters of our own make a certificate";
        let new_key = || KeyPair::generate_for(&PKCS_RSA_SHA256).expect("aws-lc makes RSA keys");
        let (ca_key, key) = (new_key(), new_key());
        let mut ca = params("payoutd sandbox authority", &[]);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = ca.self_signed(&ca_key).expect(fine);
        let mut leaf = params(NAMES[0], &NAMES);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect(fine);
        Self { ca: signed, leaf, key }
    }

    /// The certificate that signs and the one that signed it, as PEM.
    pub(super) fn chain(&self) -> String {
        format!("{}{}", self.leaf.pem(), self.ca.pem())
    }

    /// The certificate that everything here ends in, as PEM.
    pub(super) fn root(&self) -> String {
        self.ca.pem()
    }

    /// SHA256withRSA.
    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.key.sign(text).expect("an RSA key signs anything")
    }

    /// Whether a signature is one of ours.
    pub(in crate::sandbox) fn signed(&self, text: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.der_bytes());
        key.verify(text, signature).is_ok()
    }
}

fn params(name: &str, alternatives: &[&str]) -> CertificateParams {
    let alternatives: Vec<_> = alternatives.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(alternatives).expect("names are ASCII");
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "payoutd sandbox");
    // Clocks of tests stand anywhere in these years.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}
