//! Webhooks that are what they say they are, and all the ways in which they can be something else.
//! No signature is made by the code that checks it: Stripe's is computed here or given, PayPal's
//! comes from a certificate authority of this test.

mod scripted;

use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::OrgId;
use payoutd::providers::{
    Delivery, Heard, Paypal, PaypalSettings, Provider, ProviderEvent, Stripe, StripeSettings,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, RsaKeySize};
use scripted::{Scripted, lines};
use serde_json::{Value, json};

fn org(name: &str) -> OrgId {
    name.parse().expect("an id")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// The code of a refusal.
fn refused(heard: Heard) -> String {
    match heard {
        Heard::Refused(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

fn genuine(heard: Heard) -> ProviderEvent {
    match heard {
        Heard::Genuine(event) => event,
        other => panic!("{other:?}"),
    }
}

mod stripe {
    use aws_lc_rs::hmac;

    use super::*;

    const NOW: i64 = 1_795_358_657;
    /// `{"a":1}` at that instant with `whsec_x`, as Stripe's own library signs it.
    const KNOWN: &str = "d9e610413b284fd14ccf5ad35f107ba3f1611715281bc73e071a2fb06fefe06e";

    fn rail(secrets: &str) -> Stripe {
        let settings: StripeSettings = serde_json::from_value(json!({
            "base_url": "http://127.0.0.1:1", "secret_key": "sk", "timeout_ms": 1_000,
            "key_life_hours": 23, "webhook_secrets": secrets, "webhook_tolerance_s": 300,
            "calls_per_second": 100,
        }))
        .expect("settings");
        Stripe::new(settings).expect("a rail")
    }

    fn sign(secret: &str, time: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex::encode(hmac::sign(&key, format!("{time}.{body}").as_bytes()))
    }

    async fn heard(secrets: &str, header: Option<&str>, body: &[u8], late: i64) -> Heard {
        let header = header.map(|value| ("stripe-signature".to_owned(), value.to_owned()));
        let headers: Vec<_> = header.into_iter().collect();
        let received_at = DateTime::from_timestamp(NOW + late, 0).expect("an instant");
        let org = org("acme");
        rail(secrets)
            .authenticate(Delivery { org: &org, headers: &headers, body, received_at })
            .await
    }

    /// An event that is signed as it should be.
    async fn event(event: Value) -> ProviderEvent {
        let body = event.to_string();
        let header = format!("t={NOW},v1={}", sign("whsec_x", NOW, &body));
        genuine(heard("whsec_x", Some(&header), body.as_bytes(), 0).await)
    }

    #[tokio::test]
    async fn the_known_answer_is_genuine_and_no_other_is() {
        // The signature is right, so what is left to complain of is that it is no event.
        let body = br#"{"a":1}"#;
        let header = format!("t={NOW},v1={KNOWN}");
        assert_eq!(refused(heard("whsec_x", Some(&header), body, 0).await), "unreadable_event");
        for (secret, header, body) in [
            ("whsec_y", header.clone(), r#"{"a":1}"#),
            ("whsec_x", header.clone(), r#"{"a":2}"#),
            ("whsec_x", header.clone(), r#"{"a":1} "#),
            ("whsec_x", header.replace("7,", "8,"), r#"{"a":1}"#),
            ("whsec_x", header.replace("d9", "d8"), r#"{"a":1}"#),
            ("whsec_x", header[..header.len() - 2].to_owned(), r#"{"a":1}"#),
        ] {
            let heard = heard(secret, Some(&header), body.as_bytes(), 0).await;
            assert_eq!(refused(heard), "wrong_signature", "{secret} {header} {body}");
        }
    }

    #[tokio::test]
    async fn one_right_signature_of_several_is_enough_and_so_is_one_of_several_secrets() {
        let body = r#"{"id":"evt_1","type":"x"}"#;
        let right = sign("whsec_new", NOW, body);
        for header in [
            format!("t={NOW},v1={},v1={right}", "0".repeat(64)),
            format!("t={NOW},v1=zz,v1={right},v0=1"),
            format!("v1={right}, t={NOW}"),
        ] {
            for secrets in ["whsec_new", "whsec_old,whsec_new", "acme=whsec_new, acme=whsec_old"] {
                let heard = heard(secrets, Some(&header), body.as_bytes(), 0).await;
                assert_eq!(genuine(heard).event_id, "evt_1", "{header} {secrets}");
            }
        }
    }

    #[tokio::test]
    async fn a_secret_of_another_org_opens_nothing_and_without_any_all_are_refused() {
        let body = r#"{"id":"evt_1","type":"x"}"#;
        let header = format!("t={NOW},v1={}", sign("whsec_x", NOW, body));
        for (secrets, code) in [
            ("globex=whsec_x", "no_webhook_secret"),
            ("globex=whsec_x,acme=whsec_y", "wrong_signature"),
            ("", "no_webhook_secret"),
            ("acme=", "no_webhook_secret"),
        ] {
            let heard = heard(secrets, Some(&header), body.as_bytes(), 0).await;
            assert_eq!(refused(heard), code, "{secrets}");
        }
        // An empty secret is none, whoever signs with it.
        let header = format!("t={NOW},v1={}", sign("", NOW, body));
        let heard = heard("", Some(&header), body.as_bytes(), 0).await;
        assert_eq!(refused(heard), "no_webhook_secret");
    }

    #[tokio::test]
    async fn a_signature_holds_for_five_minutes_either_way() {
        let body = r#"{"id":"evt_1","type":"x"}"#;
        let header = format!("t={NOW},v1={}", sign("whsec_x", NOW, body));
        for late in [-300, 0, 300] {
            genuine(heard("whsec_x", Some(&header), body.as_bytes(), late).await);
        }
        for late in [-301, 301, 86_400] {
            let heard = heard("whsec_x", Some(&header), body.as_bytes(), late).await;
            assert_eq!(refused(heard), "outside_tolerance", "{late}");
        }
    }

    #[tokio::test]
    async fn a_header_out_of_form_is_refused() {
        let body = r#"{"id":"evt_1","type":"x"}"#;
        let right = sign("whsec_x", NOW, body);
        for header in [
            None,
            Some(String::new()),
            Some(format!("t={NOW}")),
            Some(format!("v1={right}")),
            Some(format!("t={NOW},v0={right}")),
            Some(format!("t=now,v1={right}")),
            Some(format!("t=99999999999999999999,v1={right}")),
            Some(format!("t={NOW},t={NOW},v1={right}")),
            Some(format!("t={NOW},v1=not-hex")),
        ] {
            let heard = heard("whsec_x", header.as_deref(), body.as_bytes(), 0).await;
            assert_eq!(refused(heard), "bad_signature_header", "{header:?}");
        }
    }

    #[tokio::test]
    async fn many_signatures_are_not_all_tried() {
        let body = r#"{"id":"evt_1","type":"x"}"#;
        let wrong = format!("v1={},", "0".repeat(64)).repeat(100);
        let header = format!("t={NOW},{wrong}v1={}", sign("whsec_x", NOW, body));
        let heard = heard("whsec_x", Some(&header), body.as_bytes(), 0).await;
        assert_eq!(refused(heard), "wrong_signature");
    }

    #[tokio::test]
    async fn a_signed_body_that_is_no_event_is_refused() {
        for body in ["", "[]", "{}", r#"{"id":"evt_1"}"#, r#"{"id":"","type":"x"}"#, "\u{0}"] {
            let header = format!("t={NOW},v1={}", sign("whsec_x", NOW, body));
            let heard = heard("whsec_x", Some(&header), body.as_bytes(), 0).await;
            assert_eq!(refused(heard), "unreadable_event", "{body}");
        }
    }

    #[tokio::test]
    async fn an_event_names_what_it_is_about() {
        let about = |kind: &str, account: Value, object: Value| json!({"id": "evt_1", "type": kind, "account": account, "data": {"object": object}});
        let transfer = json!({
            "object": "transfer", "id": "tr_1", "transfer_group": "REF1",
            "metadata": {"reference": "REF1", "org_id": "acme"},
        });
        let reversal = json!({"object": "transfer_reversal", "id": "trr_1", "transfer": "tr_1"});
        let payout = json!({"object": "payout", "id": "po_1", "status": "failed"});
        let account = json!({"object": "account", "id": "acct_1"});
        let capability = json!({"object": "capability", "id": "transfers", "account": "acct_1"});
        for (event_sent, references, ids) in [
            (about("transfer.created", json!(null), transfer.clone()), vec!["REF1"], vec!["tr_1"]),
            (about("transfer.reversed", json!(null), transfer), vec!["REF1"], vec!["tr_1"]),
            (about("transfer.reversed", json!(null), reversal), vec![], vec!["tr_1"]),
            (about("payout.failed", json!("acct_1"), payout.clone()), vec![], vec!["acct_1"]),
            (about("payout.paid", json!(null), payout), vec![], vec![]),
            (about("account.updated", json!("acct_1"), account.clone()), vec![], vec!["acct_1"]),
            (about("account.updated", json!(null), account), vec![], vec!["acct_1"]),
            (about("capability.updated", json!(null), capability), vec![], vec!["acct_1"]),
            (
                about(
                    "account.application.deauthorized",
                    json!("acct_1"),
                    json!({"object": "application"}),
                ),
                vec![],
                vec!["acct_1"],
            ),
            (
                about(
                    "charge.succeeded",
                    json!("acct_1"),
                    json!({"object": "charge", "id": "ch_1", "transfer_group": "REF1"}),
                ),
                vec![],
                vec![],
            ),
            (about("transfer.created", json!(null), json!(7)), vec![], vec![]),
            (json!({"id": "evt_1", "type": "transfer.created"}), vec![], vec![]),
        ] {
            let told = event(event_sent.clone()).await;
            assert_eq!(told.event_type, event_sent["type"].as_str().expect("a type"));
            assert_eq!(
                (told.references, told.provider_ids),
                owned(references, ids),
                "{event_sent}"
            );
        }
    }

    #[tokio::test]
    async fn an_event_about_another_orgs_transfer_names_nothing() {
        let object = json!({
            "object": "transfer", "id": "tr_1", "transfer_group": "REF1",
            "metadata": {"reference": "REF1", "org_id": "globex"},
        });
        let data = json!({ "object": object });
        let told = event(json!({"id": "evt_1", "type": "transfer.created", "data": data})).await;
        assert_eq!((told.references, told.provider_ids), owned(vec![], vec![]));
    }

    fn owned(references: Vec<&str>, ids: Vec<&str>) -> (Vec<String>, Vec<String>) {
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        (owned(references), owned(ids))
    }
}

mod paypal {
    use super::*;

    const NOW: &str = "2026-11-22T20:00:00Z";
    const BODY: &str = r#"{"id":"WH-1",  "event_type":"PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        "resource":{"payout_item_id":"P1","payout_item":{"sender_item_id":"REF1"}},"note":"é"}"#;

    /// A certificate authority and a certificate that it signed.
    struct Authority {
        ca_file: PathBuf,
        /// What the certificate's address gives.
        pem: String,
        key: KeyPair,
        _folder: tempfile::TempDir,
    }

    impl Authority {
        fn new() -> Self {
            Self::of(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048))
        }

        fn of(key: Result<KeyPair, rcgen::Error>) -> Self {
            let (key, ca_key) = (key.expect("a key"), KeyPair::generate().expect("a key"));
            let mut ca = CertificateParams::new(Vec::new()).expect("a name");
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let anchor = ca.self_signed(&ca_key).expect("a certificate");
            let issuer = Issuer::new(ca, ca_key);
            let mut leaf = CertificateParams::new(vec!["webhooks.sandbox".into()]).expect("a name");
            leaf.not_before = rcgen::date_time_ymd(2026, 11, 1);
            leaf.not_after = rcgen::date_time_ymd(2026, 12, 1);
            let pem = leaf.signed_by(&key, &issuer).expect("a certificate").pem();
            let folder = tempfile::tempdir().expect("a folder");
            let ca_file = folder.path().join("ca.pem");
            std::fs::write(&ca_file, anchor.pem()).expect("a file");
            Self { ca_file, pem, key, _folder: folder }
        }

        fn sign(&self, text: &str) -> String {
            self.sign_with(&RSA_PKCS1_SHA256, text)
        }

        fn sign_with(
            &self,
            padding: &'static dyn aws_lc_rs::signature::RsaEncoding,
            text: &str,
        ) -> String {
            let key = RsaKeyPair::from_pkcs8(self.key.serialized_der()).expect("an RSA key");
            let mut signature = vec![0; key.public_modulus_len()];
            let random = SystemRandom::new();
            key.sign(padding, &random, text.as_bytes(), &mut signature).expect("a signature");
            STANDARD.encode(signature)
        }

        /// The address of the certificate, which is given as often as there are `answers`.
        async fn serve(&self, answers: usize) -> Scripted {
            let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", self.pem);
            Scripted::answering(&vec![answer; answers]).await
        }

        /// A rail that trusts this authority.
        fn rail(&self, change: Value) -> Paypal {
            let mut settings = json!({"webhook_ca_file": self.ca_file});
            for (key, value) in change.as_object().expect("settings") {
                settings[key] = value.clone();
            }
            rail(settings)
        }
    }

    fn settings(change: Value) -> PaypalSettings {
        let mut settings = json!({
            "base_url": "http://127.0.0.1:1", "client_id": "id", "client_secret": "secret",
            "batch_size": 500, "timeout_ms": 2_000, "page_size": 1_000, "note": "",
            "email_subject": "", "posts_per_minute": 400, "call_off_unclaimed_days": 0,
            "webhook_ids": "HOOK1", "authorize_url": "http://localhost/signin/authorize", "return_url": "",
        "webhook_verify": "certificate",
            "webhook_cert_hosts": "paypal.com,127.0.0.1", "webhook_ca_file": "",
        });
        for (key, value) in change.as_object().expect("settings") {
            settings[key] = value.clone();
        }
        serde_json::from_value(settings).expect("settings")
    }

    fn rail(change: Value) -> Paypal {
        Paypal::new(settings(change)).expect("a rail")
    }

    fn crc(body: &str) -> u32 {
        crc32fast::hash(body.as_bytes())
    }

    /// What PayPal signs of a body.
    fn text(body: &str) -> String {
        format!("T-1|{NOW}|HOOK1|{}", crc(body))
    }

    /// The headers of a delivery, with changes; `null` leaves one out.
    fn headers(cert_url: &str, signature: &str, change: Value) -> Vec<(String, String)> {
        let mut headers = json!({
            "paypal-auth-algo": "SHA256withRSA", "paypal-cert-url": cert_url,
            "paypal-transmission-id": "T-1", "paypal-transmission-sig": signature,
            "paypal-transmission-time": NOW,
        });
        for (name, value) in change.as_object().expect("headers") {
            headers[name] = value.clone();
        }
        let headers = headers.as_object().expect("headers").iter();
        headers.filter_map(|(name, v)| Some((name.clone(), v.as_str()?.to_owned()))).collect()
    }

    async fn heard(rail: &Paypal, headers: &[(String, String)], body: &str) -> Heard {
        heard_at(rail, headers, body, at(NOW)).await
    }

    async fn heard_at(
        rail: &Paypal,
        headers: &[(String, String)],
        body: &str,
        received_at: DateTime<Utc>,
    ) -> Heard {
        let org = org("acme");
        let delivery = Delivery { org: &org, headers, body: body.as_bytes(), received_at };
        rail.authenticate(delivery).await
    }

    #[test]
    fn the_checksum_is_the_one_that_paypal_signs() {
        assert_eq!((crc("123456789"), crc(r#"{"a":1}"#)), (3_421_780_262, 1_444_654_255));
    }

    #[tokio::test]
    async fn what_paypals_certificate_signed_is_genuine_and_the_certificate_is_fetched_once() {
        let authority = Authority::new();
        let server = authority.serve(1).await;
        let rail = authority.rail(json!({}));
        let headers = headers(&server.url, &authority.sign(&text(BODY)), json!({}));
        for _ in 0..3 {
            let event = genuine(heard(&rail, &headers, BODY).await);
            assert_eq!(event.event_id, "WH-1");
            assert_eq!(event.event_type, "PAYMENT.PAYOUTS-ITEM.SUCCEEDED");
            assert_eq!(
                (event.references, event.provider_ids),
                (vec!["REF1".into()], vec!["P1".into()])
            );
        }
        assert_eq!(lines(&server.heard().await), ["GET / HTTP/1.1"]);
    }

    #[tokio::test]
    async fn a_body_or_a_header_that_was_not_signed_so_is_refused() {
        let authority = Authority::new();
        let server = authority.serve(1).await;
        let rail = authority.rail(json!({}));
        let right = authority.sign(&text(BODY));
        let other = authority.sign(&text("{}"));
        let sha512 = authority.sign_with(&RSA_PKCS1_SHA512, &text(BODY));
        let hook2 = authority.sign(&text(BODY).replace("HOOK1", "HOOK2"));
        let changed = BODY.replace("REF1", "REF2");
        let later = json!({"paypal-transmission-time": "2026-11-22T20:00:01Z"});
        for (signature, change, body) in [
            (&right, json!({}), changed.as_str()),
            (&right, json!({"paypal-transmission-id": "T-2"}), BODY),
            (&right, later, BODY),
            (&other, json!({}), BODY),
            (&sha512, json!({}), BODY),
            (&hook2, json!({}), BODY),
        ] {
            let headers = headers(&server.url, signature, change.clone());
            assert_eq!(refused(heard(&rail, &headers, body).await), "wrong_signature", "{change}");
        }
    }

    #[tokio::test]
    async fn a_webhook_of_another_org_or_of_none_is_refused() {
        let authority = Authority::new();
        let server = authority.serve(3).await;
        let headers = headers(&server.url, &authority.sign(&text(BODY)), json!({}));
        for (ids, code) in [
            ("globex=HOOK1", "no_webhook_id"),
            ("", "no_webhook_id"),
            ("globex=HOOK1, acme=HOOK2", "wrong_signature"),
        ] {
            let rail = authority.rail(json!({ "webhook_ids": ids }));
            assert_eq!(refused(heard(&rail, &headers, BODY).await), code, "{ids}");
        }
        for ids in ["acme=HOOK1", "acme=HOOK0, acme=HOOK1"] {
            genuine(heard(&authority.rail(json!({ "webhook_ids": ids })), &headers, BODY).await);
        }
    }

    #[tokio::test]
    async fn a_delivery_is_taken_for_the_three_days_that_paypal_repeats_it() {
        let authority = Authority::new();
        let server = authority.serve(1).await;
        let rail = authority.rail(json!({}));
        let headers = headers(&server.url, &authority.sign(&text(BODY)), json!({}));
        for late in [TimeDelta::minutes(-5), TimeDelta::zero(), TimeDelta::hours(73)] {
            genuine(heard_at(&rail, &headers, BODY, at(NOW) + late).await);
        }
        for late in [TimeDelta::minutes(-6), TimeDelta::hours(74), TimeDelta::days(3_650)] {
            let heard = heard_at(&rail, &headers, BODY, at(NOW) + late).await;
            assert_eq!(refused(heard), "outside_tolerance", "{late}");
        }
    }

    #[tokio::test]
    async fn headers_that_are_missing_or_out_of_form_are_refused_before_anything_is_fetched() {
        let authority = Authority::new();
        let (rail, nobody) = (authority.rail(json!({})), "http://127.0.0.1:1/c");
        for name in [
            "paypal-auth-algo",
            "paypal-cert-url",
            "paypal-transmission-id",
            "paypal-transmission-sig",
            "paypal-transmission-time",
        ] {
            for value in [json!(null), json!(" ")] {
                let mut change = json!({});
                change[name] = value;
                let headers = headers(nobody, "AAAA", change);
                assert_eq!(refused(heard(&rail, &headers, BODY).await), "bad_signature_headers");
            }
        }
        for (change, code) in [
            (json!({"paypal-transmission-id": "T-1|x"}), "bad_signature_headers"),
            (json!({"paypal-transmission-time": "yesterday"}), "bad_signature_headers"),
            (json!({"paypal-transmission-sig": "not base64!"}), "bad_signature_headers"),
            (json!({"paypal-auth-algo": "SHA1withRSA"}), "wrong_algorithm"),
            (json!({"paypal-auth-algo": "SHA256withRSAandMGF1"}), "wrong_algorithm"),
            (json!({"paypal-auth-algo": "none"}), "wrong_algorithm"),
            (json!({"paypal-cert-url": "http://localhost:1/c"}), "cert_url_not_allowed"),
            (json!({"paypal-cert-url": "https://evil.example/c"}), "cert_url_not_allowed"),
        ] {
            let headers = headers(nobody, "AAAA", change.clone());
            assert_eq!(refused(heard(&rail, &headers, BODY).await), code, "{change}");
        }
        for body in ["", "{}", "{\"id\":\"WH-1\"}", "{\"id\":\"WH-1\",\"event_type\":\"X\"}}"] {
            let headers = headers(nobody, "AAAA", json!({}));
            assert_eq!(refused(heard(&rail, &headers, body).await), "unreadable_event", "{body}");
        }
    }

    #[tokio::test]
    async fn a_certificate_of_somebody_else_proves_nothing_and_is_not_kept() {
        let (trusted, stranger) = (Authority::new(), Authority::new());
        let server = stranger.serve(2).await;
        let rail = trusted.rail(json!({}));
        let headers = headers(&server.url, &stranger.sign(&text(BODY)), json!({}));
        for _ in 0..2 {
            assert_eq!(refused(heard(&rail, &headers, BODY).await), "untrusted_certificate");
        }
        assert_eq!(server.heard().await.len(), 2);
        // Without an authority of its own a rail trusts the public ones, and this is none.
        let server = trusted.serve(1).await;
        let headers = super::paypal::headers(&server.url, &trusted.sign(&text(BODY)), json!({}));
        let heard = heard(&super::paypal::rail(json!({})), &headers, BODY).await;
        assert_eq!(refused(heard), "untrusted_certificate");
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_valid_yet_or_any_more_proves_nothing() {
        let authority = Authority::new();
        for (time, code) in [
            ("2026-10-31T00:00:00Z", Some("untrusted_certificate")),
            ("2026-11-30T00:00:00Z", None),
            ("2026-12-02T00:00:00Z", Some("untrusted_certificate")),
        ] {
            let server = authority.serve(1).await;
            let signature = authority.sign(&text(BODY).replace(NOW, time));
            let change = json!({"paypal-transmission-time": time});
            let headers = headers(&server.url, &signature, change);
            let heard = heard_at(&authority.rail(json!({})), &headers, BODY, at(time)).await;
            match code {
                Some(code) => assert_eq!(refused(heard), code, "{time}"),
                None => drop(genuine(heard)),
            }
        }
    }

    #[tokio::test]
    async fn a_kept_certificate_that_has_ended_is_fetched_anew() {
        let authority = Authority::new();
        let server = authority.serve(2).await;
        let rail = authority.rail(json!({}));
        for (time, is_genuine) in [("2026-11-30T00:00:00Z", true), ("2026-12-02T00:00:00Z", false)]
        {
            let signature = authority.sign(&text(BODY).replace(NOW, time));
            let headers =
                headers(&server.url, &signature, json!({"paypal-transmission-time": time}));
            let heard = heard_at(&rail, &headers, BODY, at(time)).await;
            assert_eq!(matches!(heard, Heard::Genuine(_)), is_genuine, "{time}");
        }
        assert_eq!(server.heard().await.len(), 2);
    }

    #[tokio::test]
    async fn a_certificate_with_another_kind_of_key_proves_nothing() {
        let authority = Authority::of(KeyPair::generate());
        let server = authority.serve(1).await;
        let headers = headers(&server.url, "AAAA", json!({}));
        let heard = heard(&authority.rail(json!({})), &headers, BODY).await;
        assert_eq!(refused(heard), "wrong_signature");
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_fetched_now_is_asked_for_again_later() {
        let authority = Authority::new();
        let rail = authority.rail(json!({}));
        let signature = authority.sign(&text(BODY));
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000));
        for answer in [
            "HTTP/1.1 503 No\r\n\r\n",
            "HTTP/1.1 302 Away\r\nlocation: http://127.0.0.1:1/\r\n\r\n",
            "",
            &endless,
        ] {
            let server = Scripted::answering(&[answer]).await;
            let headers = headers(&server.url, &signature, json!({}));
            let heard = heard(&rail, &headers, BODY).await;
            assert!(matches!(heard, Heard::Unclear(_)), "{heard:?}");
        }
        let server = Scripted::answering(&["HTTP/1.1 200 OK\r\n\r\n<html>"]).await;
        let headers = super::paypal::headers(&server.url, &signature, json!({}));
        assert_eq!(refused(heard(&rail, &headers, BODY).await), "untrusted_certificate");
    }

    #[tokio::test]
    async fn no_more_than_a_few_certificates_are_kept() {
        let authority = Authority::new();
        let server = authority.serve(10).await;
        let rail = authority.rail(json!({}));
        let signature = authority.sign(&text(BODY));
        // Nine addresses, of which the first has to make room; the last is still kept.
        for number in (0..9).chain([8, 0]) {
            let headers = headers(&format!("{}/{number}", server.url), &signature, json!({}));
            genuine(heard(&rail, &headers, BODY).await);
        }
        let heard = server.heard().await;
        assert_eq!(lines(&heard)[9], "GET /0 HTTP/1.1");
    }

    #[tokio::test]
    async fn certificates_of_strangers_do_not_push_out_the_one_that_is_kept() {
        let (trusted, stranger) = (Authority::new(), Authority::new());
        let (server, strangers) = (trusted.serve(1).await, stranger.serve(9).await);
        let rail = trusted.rail(json!({}));
        let ours = headers(&server.url, &trusted.sign(&text(BODY)), json!({}));
        genuine(heard(&rail, &ours, BODY).await);
        for number in 0..9 {
            let theirs = headers(&format!("{}/{number}", strangers.url), "AAAA", json!({}));
            assert_eq!(refused(heard(&rail, &theirs, BODY).await), "untrusted_certificate");
        }
        // It could not be fetched again.
        genuine(heard(&rail, &ours, BODY).await);
    }

    #[tokio::test]
    async fn many_deliveries_at_once_fetch_one_certificate() {
        let authority = Authority::new();
        let server = authority.serve(1).await;
        let rail = authority.rail(json!({}));
        let headers = headers(&server.url, &authority.sign(&text(BODY)), json!({}));
        let all = (0..8).map(|_| heard(&rail, &headers, BODY));
        for heard in futures::future::join_all(all).await {
            genuine(heard);
        }
    }

    const TOKEN: &str = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"T\",\"expires_in\":32400}";

    fn verified(status: &str) -> String {
        let body = json!({ "verification_status": status });
        assert_valid("response.verify-webhook-signature.post.200", &body);
        format!("HTTP/1.1 200 OK\r\n\r\n{body}")
    }

    /// Fails unless `instance` is what the schema calls `definition`.
    fn assert_valid(definition: &str, instance: &Value) {
        let mut schema: Value =
            serde_json::from_str(include_str!("contracts/paypal/webhooks.schema.json"))
                .expect("the schema is JSON");
        schema["$ref"] = format!("#/$defs/{definition}").into();
        let validator = jsonschema::options().build(&schema).expect("the schema is a schema");
        let errors: Vec<_> = validator.iter_errors(instance).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{definition}: {errors:?}\n{instance:#}");
    }

    async fn posted_back(ids: &str, answers: &[String]) -> (Heard, Vec<String>) {
        let server = Scripted::answering(answers).await;
        let rail = rail(json!({
            "base_url": server.url, "webhook_verify": "postback", "webhook_ids": ids,
        }));
        let headers =
            headers("https://api.paypal.com/v1/notifications/certs/C-1", "AAAA", json!({}));
        let heard = heard(&rail, &headers, BODY).await;
        (heard, server.heard().await)
    }

    #[tokio::test]
    async fn paypal_is_asked_back_with_the_event_byte_by_byte() {
        let (heard, asked) = posted_back("HOOK1", &[TOKEN.to_owned(), verified("SUCCESS")]).await;
        assert_eq!(genuine(heard).references, ["REF1"]);
        let (head, body) = asked[1].split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("POST /v1/notifications/verify-webhook-signature HTTP/1.1"));
        assert!(body.ends_with(&format!(",\"webhook_event\":{BODY}}}")), "{body}");
        let question: Value = serde_json::from_str(body).expect("JSON");
        assert_valid("request.verify-webhook-signature.post", &question);
        assert_eq!(question["webhook_id"], "HOOK1");
        assert_eq!(question["transmission_time"], NOW);
    }

    #[tokio::test]
    async fn paypals_no_is_a_no_and_its_silence_is_none() {
        let failure = verified("FAILURE");
        let bad = "HTTP/1.1 400 No\r\n\r\n{\"name\":\"VALIDATION_ERROR\"}".to_owned();
        for answer in [&failure, &bad] {
            let (heard, _) = posted_back("HOOK1", &[TOKEN.to_owned(), answer.clone()]).await;
            assert_eq!(refused(heard), "wrong_signature", "{answer}");
        }
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n\r\n{\"verification_status\":\"success\"}",
            "HTTP/1.1 200 OK\r\n\r\nSUCCESS",
            "HTTP/1.1 403 No\r\n\r\n{\"verification_status\":\"SUCCESS\"}",
            "HTTP/1.1 404 No\r\n\r\n",
        ] {
            let (heard, _) = posted_back("HOOK1", &[TOKEN.to_owned(), answer.to_owned()]).await;
            assert!(matches!(heard, Heard::Unclear(_)), "{answer}: {heard:?}");
        }
        let (heard, _) = posted_back("HOOK1", &["HTTP/1.1 401 No\r\n\r\n".to_owned()]).await;
        assert!(matches!(heard, Heard::Unclear(_)), "no token: {heard:?}");
    }

    #[tokio::test]
    async fn each_webhook_that_it_may_come_from_is_asked_for() {
        let answers = [TOKEN.to_owned(), verified("FAILURE"), verified("SUCCESS")];
        let (heard, asked) = posted_back("acme=HOOK0,globex=HOOK9,HOOK1", &answers).await;
        genuine(heard);
        assert!(asked[1].contains("HOOK0") && asked[2].contains("HOOK1"), "{asked:?}");
    }

    #[test]
    fn a_file_of_authorities_that_is_named_has_to_hold_some() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let refused = || {
            let paypal = Paypal::new(settings(json!({ "webhook_ca_file": path })));
            paypal.err().expect("a bad setting").message
        };
        assert!(refused().contains("paypal.webhook_ca_file"));
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(&path, text).expect("a file");
            assert!(refused().contains("paypal.webhook_ca_file"), "{text}");
        }
    }
}
