//! Others are told: signed webhooks over real HTTP, from what happened to what arrived.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use payoutd::domain::{Actor, DeliveryStatus, EndpointId, Wants};
use payoutd::notify::{
    Again, By, EndpointChange, Names, NewEndpoint, Notifier, NotifyError, Replay, Revealed,
};
use payoutd::store::{DeliveryFilter, DeliveryRow, Replayed};
use serde_json::{Value, json};

use crate::harness::{Api, Harness, Heard, Receiver, answer, program, token};

fn by() -> By {
    By { actor: Actor::operator("ana"), request_id: None }
}

async fn add(h: &Harness, url: &str, wants: &str) -> Revealed {
    let wants: Wants = wants.parse().expect("kinds of events");
    let new = NewEndpoint { url: url.to_owned(), description: "a test".into(), wants };
    h.notifier().add(&by(), &h.org, &new).await.expect("an endpoint")
}

async fn deliver(h: &Harness) -> usize {
    h.notifier().deliver_due().await.expect("a round")
}

async fn deliveries(h: &Harness) -> Vec<DeliveryRow> {
    let filter = DeliveryFilter { limit: 10_000, ..DeliveryFilter::default() };
    h.store.deliveries(&h.org, &filter).await.expect("deliveries")
}

/// The one delivery there is.
async fn delivery(h: &Harness) -> DeliveryRow {
    let mut all = deliveries(h).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Programs, people and one payout asked for, with an endpoint that hears of it.
async fn one_event(h: &Harness, url: &str) -> Revealed {
    h.enrol(program("creator"), &["ana"]).await;
    h.earn("ana", "o", &[2_500]).await;
    let revealed = add(h, url, "payout.requested").await;
    h.ask("ana", 2_500).await.expect("a payout");
    revealed
}

async fn change(h: &Harness, endpoint: &EndpointId, change: EndpointChange) {
    let changed = h.notifier().change(&by(), &h.org, endpoint, &change).await;
    assert_eq!(changed.expect("a change").endpoint_id, *endpoint);
}

/// Checks the signatures of a request by their definition; how many of them the secret made.
fn signed(heard: &Heard, secret: &str, now: DateTime<Utc>) -> usize {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.expect("base64"));
    let (id, at) = (&heard.headers["webhook-id"], &heard.headers["webhook-timestamp"]);
    assert_eq!(*at, now.timestamp().to_string());
    let content = format!("{id}.{at}.{}", heard.body);
    let is_ours = |signature: &&str| {
        let tag = BASE64_STANDARD.decode(signature.strip_prefix("v1,").expect("version 1"));
        hmac::verify(&key, content.as_bytes(), &tag.expect("base64")).is_ok()
    };
    heard.headers["webhook-signature"].split(' ').filter(is_ours).count()
}

/// Names that resolve to what is told.
struct Told(std::sync::Mutex<Vec<std::net::IpAddr>>);

#[async_trait]
impl Names for Told {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(self.0.lock().expect("a lock").clone())
    }
}

fn strict(h: &Harness, names: Arc<dyn Names>) -> Notifier {
    let settings =
        json!({ "timeout_ms": 2_000, "allow_private": false, "secret_overlap_hours": 24 });
    let settings = serde_json::from_value(settings).expect("settings");
    Notifier::with_names(h.store.clone(), h.clock.clone(), settings, names).expect("a notifier")
}

on_both! {
    async fn a_payouts_way_is_told_step_by_step_and_signed(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_230]).await;
        let revealed = add(h, &receiver.url, "payout.*").await;
        let payout = h.ask("ana", 1_230).await.expect("a payout");
        assert_eq!(deliver(h).await, 1);
        let heard = receiver.heard().remove(0);
        assert_eq!(heard.line, "POST /hook HTTP/1.1");
        assert_eq!(heard.headers["content-type"], "application/json");
        assert_eq!(signed(&heard, &revealed.secret.reveal(), h.clock.now()), 1);
        let mut told: Value = serde_json::from_str(&heard.body).expect("JSON");
        assert_eq!(told["data"]["amount"].take().to_string(), "12.30");
        assert_eq!(told, json!({
            "type": "payout.requested", "timestamp": "2026-03-02T09:00:00.000Z",
            "data": {
                "payoutId": payout, "affiliateId": "ana", "program": "creator", "amount": null,
                "currency": "USD", "status": "pending", "method": "paypal", "origin": "person",
                "period": null, "retryOf": null, "requestedAt": "2026-03-02T09:00:00.000Z",
                "failure": null, "approvalReasons": [],
            },
        }));
        assert!(!heard.body.contains("@"), "an address of a payee was told: {}", heard.body);
        h.settle_all().await;
        assert_eq!(deliver(h).await, 2);
        let mut told: Vec<_> = receiver.told().iter().map(|told| told["type"].to_string()).collect();
        told.sort();
        assert_eq!(told, ["\"payout.completed\"", "\"payout.processing\""]);
        assert_eq!(deliver(h).await, 0);
        assert!(deliveries(h).await.iter().all(|one| one.status == DeliveryStatus::Delivered));
    }

    async fn every_end_of_a_payout_is_told_with_its_reason(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &["ana", "ben", "cyd"]).await;
        for name in ["ana", "ben", "cyd"] {
            h.earn(name, name, &[2_000]).await;
        }
        add(h, &receiver.url, "payout.failed,payout.cancelled,payout.returned").await;
        let cancelled = h.ask("cyd", 2_000).await.expect("a payout");
        h.engine.cancel(&h.work(), &h.org, &cancelled, "a mistake").await.expect("a cancel");
        let failing = h.ask("ana", 2_000).await.expect("a payout");
        let returning = h.ask("ben", 2_000).await.expect("a payout");
        h.submit().await;
        h.fate(&h.references(&failing).await[0], "FAILED").await;
        h.clock.advance(TimeDelta::minutes(20));
        h.reconcile().await;
        h.settle_all().await;
        h.fate(&h.references(&returning).await[0], "RETURNED").await;
        h.clock.advance(TimeDelta::days(2));
        h.reconcile().await;
        assert_eq!(deliver(h).await, 3);
        let mut told: Vec<_> = receiver.told().iter().map(|told| {
            let data = &told["data"];
            (told["type"].to_string(), data["payoutId"].to_string(), data["failure"]["code"].to_string())
        }).collect();
        told.sort();
        let text = |word: &str| format!("\"{word}\"");
        assert_eq!(told[0], (text("payout.cancelled"), text(cancelled.as_str()), text("cancelled")));
        assert_eq!((told[1].0.as_str(), &told[1].1), ("\"payout.failed\"", &text(failing.as_str())));
        assert_eq!((told[2].0.as_str(), &told[2].1), ("\"payout.returned\"", &text(returning.as_str())));
    }

    async fn approvals_and_reversals_are_told_with_amounts_that_are_numbers(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &["ana"]).await;
        h.change("UPDATE program_currencies SET approval_minor = 0").await;
        h.earn("ana", "o", &[2_000, 700]).await;
        add(h, &receiver.url, "payout.approved,commission.reversed").await;
        let payout = h.ask("ana", 2_000).await.expect("a payout");
        let ben = payoutd::engine::Work::by_person(Actor::operator("ben"));
        h.engine.approve(&ben, &h.org, &payout, "seen").await.expect("approved");
        h.reverse("o-1", "r-1", Some(130)).await.expect("reversed");
        assert_eq!(deliver(h).await, 2);
        let mut told = receiver.told();
        told.sort_by_key(|told| told["type"].to_string());
        let amounts: Vec<_> = told.iter().map(|told| told["data"]["amount"].to_string()).collect();
        assert_eq!(amounts, ["1.30", "20.00"], "{told:?}");
        assert_eq!(told[0]["data"]["commissionId"], "o-1");
        assert_eq!(told[1]["data"]["status"], "approved");
        h.settle_all().await;
    }

    async fn that_a_person_has_to_look_is_told_once(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        add(h, &receiver.url, "payout.review").await;
        let payout = h.ask("ana", 2_000).await.expect("a payout");
        h.arm("lost_request", json!({})).await;
        h.submit().await;
        for _ in 0..6 {
            h.clock.advance(TimeDelta::days(29));
            h.reconcile().await;
        }
        assert_eq!(h.count("submissions WHERE state = 'review'").await, 1);
        deliver(h).await;
        let told = receiver.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["data"]["payoutId"], json!(payout));
        assert_eq!(told[0]["data"]["status"], "processing");
        assert!(h.count("alerts WHERE kind = 'review' AND times > 1").await > 0);
    }

    async fn nothing_is_kept_that_nobody_wants(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ana", "o", &[2_000]).await;
        h.earn("ben", "p", &[2_000]).await;
        h.ask("ana", 2_000).await.expect("a payout");
        let revealed = add(h, "http://127.0.0.1:9009/", "payout.returned").await;
        h.ask("ben", 2_000).await.expect("a payout");
        assert_eq!(h.count("webhook_events").await, 0);
        h.notifier().delete(&by(), &h.org, &revealed.endpoint.endpoint_id).await.expect("gone");
        h.settle_all().await;
        assert_eq!(h.count("webhook_events").await + h.count("webhook_deliveries").await, 0);
    }

    async fn what_is_undone_is_not_told(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        add(h, &receiver.url, "*").await;
        h.ask("ana", 2_001).await.expect_err("more than there is");
        h.ask("ana", 2_000).await.expect("a payout");
        h.ask("ana", 2_000).await.expect_err("nothing is left");
        assert_eq!((deliver(h).await, receiver.heard().len()), (1, 1));
    }

    async fn failures_are_tried_again_by_the_schedule_and_then_given_up_with_an_alert(h: &Harness) {
        let receiver = Receiver::open().await;
        let revealed = one_event(h, &receiver.url).await;
        receiver.always("503");
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        let mut ids = Vec::new();
        for (tries, wait) in waits.into_iter().enumerate() {
            assert_eq!(deliver(h).await, 1, "try {}", tries + 1);
            ids.extend(receiver.heard().into_iter().map(|heard| (heard.headers["webhook-id"].clone(), heard.body)));
            let stands = delivery(h).await;
            assert_eq!((stands.status, stands.attempts), (DeliveryStatus::Pending, tries as i64 + 1));
            assert_eq!((stands.last_status, stands.last_problem.is_some()), (Some(503), true));
            let next = stands.next_attempt_at.expect("another try") - h.clock.now();
            let (least, most) = (wait * 800 - 1_000, wait * 1_200 + 1_000);
            assert!((least..=most).contains(&next.num_milliseconds()), "{next} after {wait} s");
            h.clock.advance(next - TimeDelta::milliseconds(1));
            assert_eq!(deliver(h).await, 0, "too early");
            h.clock.advance(TimeDelta::milliseconds(1));
        }
        assert_eq!(h.count("alerts").await, 0);
        assert_eq!(deliver(h).await, 1);
        ids.extend(receiver.heard().into_iter().map(|heard| (heard.headers["webhook-id"].clone(), heard.body)));
        assert_eq!(ids.len(), 10);
        assert!(ids.iter().all(|id| *id == ids[0]), "the same id and bytes: {ids:?}");
        let given_up = delivery(h).await;
        assert_eq!((given_up.status, given_up.next_attempt_at), (DeliveryStatus::Failed, None));
        let alerts: Vec<(String, String, String)> = h.database.rows("SELECT kind, subject, message FROM alerts").await;
        let endpoint = revealed.endpoint.endpoint_id.to_string();
        assert_eq!((alerts[0].0.as_str(), &alerts[0].1), ("webhook_failing", &endpoint));
        assert!(!alerts[0].2.contains("/hook"), "a path may be a secret: {}", alerts[0].2);
        h.clock.advance(TimeDelta::days(30));
        assert_eq!(deliver(h).await, 0);
        // Mended, replayed, arrived: nobody has to look any more.
        receiver.answers(&[]);
        let replay = Replay { again: Again::Event(given_up.event_id), endpoint_id: None };
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 1);
        assert_eq!(deliver(h).await, 1);
        assert_eq!(h.count("alerts WHERE closed_at IS NULL").await, 0);
        assert_eq!(delivery(h).await.attempts, 11);
    }

    async fn whoever_asks_to_wait_is_waited_for(h: &Harness) {
        let receiver = Receiver::open().await;
        one_event(h, &receiver.url).await;
        receiver.answers(&["429\r\nretry-after: 3600"]);
        deliver(h).await;
        let next = delivery(h).await.next_attempt_at.expect("another try");
        assert_eq!(next, h.clock.now() + TimeDelta::hours(1));
    }

    async fn what_is_gone_is_told_nothing_until_it_is_enabled_and_then_what_it_missed(h: &Harness) {
        let receiver = Receiver::open().await;
        let endpoint = one_event(h, &receiver.url).await.endpoint.endpoint_id;
        receiver.answers(&["410"]);
        assert_eq!(deliver(h).await, 1);
        let row = h.notifier().endpoint(&h.org, &endpoint).await.expect("it stays");
        assert!(!row.enabled && row.disabled_because.expect("a reason").contains("410"));
        assert_eq!(h.count("alerts WHERE kind = 'webhook_gone' AND closed_at IS NULL").await, 1);
        assert_eq!(delivery(h).await.status, DeliveryStatus::Failed);
        let from = h.clock.now();
        h.clock.advance(TimeDelta::days(1));
        h.earn("ana", "later", &[2_500]).await;
        h.ask("ana", 2_500).await.expect("a payout");
        assert_eq!(h.count("webhook_events").await, 2);
        change(h, &endpoint, EndpointChange { enabled: Some(true), ..EndpointChange::default() }).await;
        assert_eq!(h.count("alerts WHERE closed_at IS NULL").await, 0);
        assert_eq!(deliver(h).await, 0);
        receiver.heard();
        let to = h.clock.now() + TimeDelta::seconds(1);
        let again = Again::Between { from, to, which: Replayed::Missed };
        let replay = Replay { again, endpoint_id: Some(endpoint) };
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 2);
        assert_eq!((deliver(h).await, receiver.heard().len()), (2, 2));
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 0);
        let all = Again::Between { from, to, which: Replayed::All };
        let replay = Replay { again: all, endpoint_id: None };
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 2);
        let backwards = Again::Between { from: to, to: from, which: Replayed::All };
        let replay = Replay { again: backwards, endpoint_id: None };
        let refused = h.notifier().replay(&by(), &h.org, &replay).await.expect_err("backwards");
        assert!(matches!(refused, NotifyError::BackwardTime));
    }

    async fn redirects_are_answers_and_not_followed(h: &Harness) {
        let (receiver, elsewhere) = (Receiver::open().await, Receiver::open().await);
        one_event(h, &receiver.url).await;
        receiver.answers(&[&format!("307\r\nlocation: {}", elsewhere.url)]);
        assert_eq!(deliver(h).await, 1);
        assert_eq!((receiver.heard().len(), elsewhere.heard().len()), (1, 0));
        let stands = delivery(h).await;
        assert_eq!((stands.status, stands.last_status), (DeliveryStatus::Pending, Some(307)));
    }

    async fn who_never_answers_is_left_in_time_and_holds_up_nobody(h: &Harness) {
        let (slow, quick) = (Receiver::open().await, Receiver::open().await);
        slow.takes(Duration::from_secs(30));
        one_event(h, &slow.url).await;
        add(h, &quick.url, "*").await;
        h.earn("ana", "more", &[2_500]).await;
        h.ask("ana", 2_500).await.expect("a payout");
        let hasty = h.notifier_with(json!({ "timeout_ms": 700 }));
        assert_eq!(hasty.deliver_due().await.expect("a round"), 3);
        assert_eq!(quick.heard().len(), 1);
        let late: Vec<_> = deliveries(h).await.into_iter().filter(|one| one.status == DeliveryStatus::Pending).collect();
        assert_eq!(late.len(), 2);
        assert!(late.iter().all(|one| one.last_status.is_none() && one.last_problem.is_some()), "{late:?}");
    }

    async fn two_replicas_do_not_tell_the_same_at_once_and_a_dead_ones_part_is_told_again(h: &Harness) {
        let receiver = Receiver::open().await;
        receiver.takes(Duration::from_millis(150));
        h.enrol(program("creator"), &[]).await;
        let names: Vec<_> = (0..30).map(|i| format!("aff-{i}")).collect();
        h.enrol_affiliates(&names.iter().map(|name| crate::harness::affiliate(name, "creator")).collect::<Vec<_>>()).await;
        for name in &names {
            h.earn(name, name, &[2_000]).await;
        }
        add(h, &receiver.url, "payout.requested").await;
        h.job("auto-payout").await;
        let (one, other) = (h.notifier(), h.notifier());
        let (one, other) = tokio::join!(one.deliver_due(), other.deliver_due());
        assert_eq!(one.expect("a round") + other.expect("a round"), 30);
        let mut ids: Vec<_> = receiver.heard().iter().map(|heard| heard.headers["webhook-id"].clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 30, "each was told once");
        // A replica that died with deliveries in hand: nobody tells them before the lease ends.
        h.change("UPDATE webhook_deliveries SET status = 'pending', next_attempt_at = NULL").await;
        let endpoint = h.store.endpoints(&h.org).await.expect("endpoints").remove(0).endpoint_id;
        h.change("UPDATE webhook_deliveries SET next_attempt_at = created_at").await;
        let now = h.clock.now();
        let mut tx = h.store.begin().await.expect("a transaction");
        let lease = (now, now + TimeDelta::seconds(40));
        let claimed = tx.deliveries_claim(&h.org, &endpoint, lease, 30).await.expect("a claim");
        tx.commit().await.expect("a commit");
        assert_eq!((claimed.len(), deliver(h).await), (30, 0));
        h.clock.advance(TimeDelta::seconds(40));
        assert_eq!(deliver(h).await, 30);
        // Its word comes too late, and changes nothing.
        let late = payoutd::store::Attempted {
            event_id: claimed[0].event_id.clone(),
            attempt: claimed[0].attempts + 1,
            status: DeliveryStatus::Failed,
            failures: 1,
            next_attempt_at: None,
            answer: Some(500),
            problem: Some("late".into()),
        };
        h.change("UPDATE webhook_deliveries SET status = 'pending'").await;
        let mut tx = h.store.begin().await.expect("a transaction");
        let written = tx.deliveries_record(&h.org, &endpoint, &[late], now).await.expect("a record");
        tx.commit().await.expect("a commit");
        assert_eq!(written, 0);
    }

    async fn what_is_being_told_is_not_replayed_and_what_waits_goes_at_once(h: &Harness) {
        let receiver = Receiver::open().await;
        let endpoint = one_event(h, &receiver.url).await.endpoint.endpoint_id;
        receiver.answers(&["500"]);
        deliver(h).await;
        let event = delivery(h).await.event_id;
        let replay = Replay { again: Again::Event(event), endpoint_id: None };
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 1);
        assert_eq!(delivery(h).await.next_attempt_at, Some(h.clock.now()));
        let now = h.clock.now();
        let lease = (now, now + TimeDelta::seconds(40));
        let mut tx = h.store.begin().await.expect("a transaction");
        let claimed = tx.deliveries_claim(&h.org, &endpoint, lease, 8).await.expect("a claim");
        tx.commit().await.expect("a commit");
        assert_eq!((claimed.len(), claimed[0].failures), (1, 0));
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 0);
        assert_eq!(deliver(h).await, 0, "somebody has it in hand");
        h.clock.advance(TimeDelta::seconds(40));
        assert_eq!(h.notifier().replay(&by(), &h.org, &replay).await.expect("a replay"), 1);
        assert_eq!(deliver(h).await, 1);
    }

    async fn what_had_not_reached_a_deleted_endpoint_is_dropped(h: &Harness) {
        let receiver = Receiver::open().await;
        let endpoint = one_event(h, &receiver.url).await.endpoint.endpoint_id;
        h.notifier().delete(&by(), &h.org, &endpoint).await.expect("gone");
        let stands = delivery(h).await;
        assert_eq!((stands.status, stands.next_attempt_at), (DeliveryStatus::Dropped, None));
        assert_eq!((deliver(h).await, receiver.heard().len()), (0, 0));
        let again = Again::Event(stands.event_id);
        let replay = Replay { again, endpoint_id: Some(endpoint) };
        let refused = h.notifier().replay(&by(), &h.org, &replay).await.expect_err("it is gone");
        assert_eq!(refused.code(), "no_endpoint");
    }

    async fn a_run_of_many_payouts_is_told_in_a_few_statements(h: &Harness) {
        let receiver = Receiver::open().await;
        h.enrol(program("creator"), &[]).await;
        let names: Vec<_> = (0..1_500).map(|i| format!("aff-{i}")).collect();
        h.enrol_affiliates(&names.iter().map(|name| crate::harness::affiliate(name, "creator")).collect::<Vec<_>>()).await;
        let earned: Vec<_> = names.iter().map(|name| h.commission(name, name, 2_000)).collect();
        h.accrue(&earned).await;
        add(h, &receiver.url, "payout.*").await;
        h.job("auto-payout").await;
        assert_eq!(h.count("webhook_events WHERE kind = 'payout.requested'").await, 1_500);
        assert_eq!(h.count("webhook_deliveries WHERE status = 'pending'").await, 1_500);
        let apart = "(SELECT DISTINCT subject FROM webhook_events) AS subjects";
        assert_eq!(h.count(apart).await, 1_500);
    }

    async fn after_a_rotation_both_secrets_sign_and_then_only_the_new_one(h: &Harness) {
        let receiver = Receiver::open().await;
        let first = one_event(h, &receiver.url).await;
        let endpoint = &first.endpoint.endpoint_id;
        let rotate = async || h.notifier().rotate(&by(), &h.org, endpoint).await.expect("a rotation");
        let lost = rotate().await;
        // Its answer was lost, so it is asked for again: the receiver still knows the first one.
        let second = rotate().await;
        deliver(h).await;
        let heard = receiver.heard().remove(0);
        let now = h.clock.now();
        assert_eq!(heard.headers["webhook-signature"].split(' ').count(), 2);
        for (secret, signatures) in [(&first, 1), (&lost, 0), (&second, 1)] {
            assert_eq!(signed(&heard, &secret.secret.reveal(), now), signatures);
        }
        h.clock.advance(TimeDelta::hours(24));
        h.earn("ana", "later", &[2_500]).await;
        h.ask("ana", 2_500).await.expect("a payout");
        deliver(h).await;
        let heard = receiver.heard().remove(0);
        let now = h.clock.now();
        assert_eq!(signed(&heard, &first.secret.reveal(), now), 0);
        assert_eq!(signed(&heard, &second.secret.reveal(), now), 1);
        let acts: Vec<(String, String)> = h.database.rows("SELECT action, detail FROM audit_log ORDER BY audit_id").await;
        let rotations = acts.iter().filter(|(action, _)| action == "webhook_endpoint.secret_rotated");
        assert_eq!(rotations.count(), 2);
        assert!(acts.iter().all(|(_, detail)| !detail.contains("whsec_")), "{acts:?}");
    }

    async fn secrets_are_sealed_and_signed_with_after_the_orgs_key_has_changed(h: &Harness) {
        let receiver = Receiver::open().await;
        let first = one_event(h, &receiver.url).await;
        let endpoint = &first.endpoint.endpoint_id;
        let second = h.notifier().rotate(&by(), &h.org, endpoint).await.expect("a rotation");
        let doomed = add(h, "http://127.0.0.1:9009/", "*").await.endpoint.endpoint_id;
        h.notifier().delete(&by(), &h.org, &doomed).await.expect("gone");
        let sealed = "SELECT sealed_secret, sealed_old_secret FROM webhook_endpoints WHERE deleted_at IS NULL";
        let before: Vec<(String, String)> = h.database.rows(sealed).await;
        for secret in [&first, &second] {
            let secret = secret.secret.reveal();
            assert!(!before[0].0.contains(&secret) && !before[0].1.contains(&secret));
        }
        h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation of keys");
        let after: Vec<(String, String)> = h.database.rows(sealed).await;
        assert!(before[0].0 != after[0].0 && before[0].1 != after[0].1);
        deliver(h).await;
        let heard = receiver.heard().remove(0);
        for secret in [&first, &second] {
            assert_eq!(signed(&heard, &secret.secret.reveal(), h.clock.now()), 1);
        }
        // Moved to another endpoint, it does not open, and nothing is sent that is not signed.
        let other = add(h, "http://127.0.0.1:9009/", "*").await.endpoint.endpoint_id;
        h.change(&format!(
            "UPDATE webhook_endpoints SET sealed_secret = (SELECT sealed_secret FROM webhook_endpoints
             WHERE endpoint_id = '{other}') WHERE endpoint_id = '{endpoint}'"
        )).await;
        h.change(&format!("UPDATE webhook_deliveries SET status = 'pending', next_attempt_at = created_at WHERE endpoint_id = '{endpoint}'")).await;
        h.notifier().deliver_due().await.expect_err("a secret of another endpoint");
        assert_eq!(receiver.heard().len(), 0);
    }

    async fn a_name_that_turns_inward_after_it_was_added_is_not_called(h: &Harness) {
        let names = Arc::new(Told(std::sync::Mutex::new(vec!["93.184.216.34".parse().expect("an address")])));
        let notifier = strict(h, Arc::clone(&names) as Arc<dyn Names>);
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_500]).await;
        let receiver = Receiver::open().await;
        let port = receiver.url.rsplit(':').next().expect("a port").trim_end_matches("/hook").to_owned();
        let new = |url: String| NewEndpoint { url, description: String::new(), wants: Wants::all() };
        let url = format!("https://hooks.example.com:{port}/hook");
        notifier.add(&by(), &h.org, &new(url)).await.expect("a public address");
        h.ask("ana", 2_500).await.expect("a payout");
        *names.0.lock().expect("a lock") = vec!["127.0.0.1".parse().expect("an address")];
        assert_eq!(notifier.deliver_due().await.expect("a round"), 1);
        let stands = delivery(h).await;
        assert_eq!(stands.last_problem.as_deref(), Some("not sent: it leads to an address that is not public"));
        assert_eq!((stands.attempts, receiver.heard().len()), (1, 0));
        // Written as a number there is nothing to resolve; what was stored is looked at too.
        h.change("UPDATE webhook_endpoints SET url = 'https://127.0.0.1:8443/'").await;
        h.clock.advance(TimeDelta::hours(1));
        assert_eq!(notifier.deliver_due().await.expect("a round"), 1);
        let problem = delivery(h).await.last_problem.expect("a problem");
        assert_eq!(problem, "not sent: it leads to an address that is not public");
        for url in ["https://10.0.0.1/", "http://hooks.example.com/", "https://u:p@hooks.example.com/", "https://localhost/"] {
            let refused = notifier.add(&by(), &h.org, &new(url.to_owned())).await.err().expect(url);
            assert_eq!(refused.code(), "address_refused", "{url}");
        }
        let refused = notifier.add(&by(), &h.org, &new("https://inner.example.com/".into())).await;
        assert_eq!(refused.err().expect("inner").code(), "address_refused");
    }

    async fn the_connection_is_made_to_the_address_that_was_looked_at(h: &Harness) {
        let receiver = Receiver::open().await;
        let port = receiver.url.rsplit(':').next().expect("a port").to_owned();
        let names = Told(std::sync::Mutex::new(vec!["127.0.0.1".parse().expect("an address")]));
        let settings = json!({ "timeout_ms": 5_000, "allow_private": true, "secret_overlap_hours": 24 });
        let settings = serde_json::from_value(settings).expect("settings");
        let notifier = Notifier::with_names(h.store.clone(), h.clock.clone(), settings, Arc::new(names));
        one_event(h, "http://localhost:9009/").await;
        h.change(&format!("UPDATE webhook_endpoints SET url = 'http://localhost:{port}'")).await;
        assert_eq!(notifier.expect("a notifier").deliver_due().await.expect("a round"), 1);
        assert_eq!(receiver.heard().remove(0).headers["host"], format!("localhost:{}", port.trim_end_matches("/hook")));
    }

    async fn an_orgs_events_are_told_to_its_own_endpoints_alone(h: &Harness) {
        let (ours, theirs) = (Receiver::open().await, Receiver::open().await);
        let other = "globex".parse().expect("an id");
        let new = NewEndpoint { url: theirs.url.clone(), description: String::new(), wants: Wants::all() };
        let foreign = h.notifier().add(&by(), &other, &new).await.expect("an endpoint").endpoint.endpoint_id;
        one_event(h, &ours.url).await;
        assert_eq!(deliver(h).await, 1);
        assert_eq!((ours.heard().len(), theirs.heard().len()), (1, 0));
        let replay = Replay { again: Again::Event(delivery(h).await.event_id), endpoint_id: Some(foreign) };
        let refused = h.notifier().replay(&by(), &h.org, &replay).await.expect_err("not ours");
        assert_eq!(refused.code(), "no_endpoint");
        let replay = Replay { endpoint_id: None, ..replay };
        assert_eq!(h.notifier().replay(&by(), &other, &replay).await.expect_err("not theirs").code(), "no_event");
    }

    async fn old_events_go_with_their_deliveries(h: &Harness) {
        let receiver = Receiver::open().await;
        one_event(h, &receiver.url).await;
        deliver(h).await;
        h.clock.advance(TimeDelta::days(89));
        h.earn("ana", "later", &[2_500]).await;
        h.ask("ana", 2_500).await.expect("a payout");
        h.clock.advance(TimeDelta::days(2));
        h.job("prune").await;
        assert_eq!((h.count("webhook_events").await, deliveries(h).await.len()), (1, 1));
    }

    async fn staff_add_change_rotate_replay_and_delete_over_http(h: &Harness) {
        let (api, receiver) = (Api::open(h).await, Receiver::open().await);
        let staff = h.staff();
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_500]).await;
        let added = api.post(&staff, "/webhook-endpoints", json!({ "url": receiver.url, "events": ["payout.*"] })).await;
        assert_eq!(added.status, 201, "{added:?}");
        let added = added.json();
        let path = format!("/webhook-endpoints/{}", added["endpointId"].as_str().expect("an id"));
        let secret = added["secret"].as_str().expect("a secret").to_owned();
        assert!(secret.starts_with("whsec_"));
        let again = api.post(&staff, "/webhook-endpoints", json!({ "url": receiver.url })).await;
        assert_eq!((again.status, again.code().as_str()), (409, "address_taken"));
        let shown = api.get(&staff, &path).await.ok();
        assert_eq!((shown["events"].clone(), shown["createdBy"].clone()), (json!(["payout.*"]), json!("staff:sam")));
        assert!(shown.get("secret").is_none());
        let list = api.get(&staff, "/webhook-endpoints").await;
        assert!(!String::from_utf8_lossy(&list.bytes).contains("whsec_"));
        assert_eq!(list.ok()["data"].as_array().expect("a list").len(), 1);

        h.ask("ana", 2_500).await.expect("a payout");
        deliver(h).await;
        assert_eq!(signed(&receiver.heard()[0], &secret, h.clock.now()), 1);
        let rows = api.get(&staff, "/webhook-deliveries?status=delivered&limit=1").await.ok();
        assert_eq!((&rows["data"][0]["type"], &rows["nextCursor"]), (&json!("payout.requested"), &Value::Null));
        let event = rows["data"][0]["eventId"].as_str().expect("an id").to_owned();
        let replayed = api.post(&staff, "/webhook-deliveries/replay", json!({ "eventId": event })).await;
        assert_eq!((replayed.status, replayed.json()), (202, json!({ "queued": 1 })));
        assert_eq!((deliver(h).await, receiver.heard()[0].headers["webhook-id"].clone()), (1, event));

        let rotated = api.post(&staff, &format!("{path}/rotate"), json!({})).await.ok();
        assert_ne!(rotated["secret"], json!(secret));
        let off = api.call(&staff, "PATCH", &path, json!({ "enabled": false, "events": ["*"], "description": "off" })).await.ok();
        assert_eq!((&off["enabled"], &off["disabledBecause"]), (&json!(false), &json!("by staff:sam")));
        assert_eq!(answer(api.request(&staff, "DELETE", &path)).await.status, 204);
        assert_eq!(answer(api.request(&staff, "DELETE", &path)).await.status, 404);
        let kept: Vec<(String,)> = h.database.rows("SELECT action FROM audit_log WHERE actor = 'staff:sam' ORDER BY audit_id").await;
        let kept: Vec<_> = kept.iter().map(|(action,)| action.split('.').next_back().expect("a verb")).collect();
        let mut expected = ["added", "replayed", "secret_rotated", "changed", "deleted"];
        let mut kept_sorted = kept.clone();
        kept_sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(kept_sorted, expected);
        let secrets: Vec<(Option<String>,)> = h.database.rows("SELECT sealed_secret FROM webhook_endpoints").await;
        assert_eq!(secrets, [(None,)]);
    }

    async fn what_means_nothing_is_refused_over_http(h: &Harness) {
        let api = Api::open(h).await;
        let staff = h.staff();
        for (body, status, code) in [
            (json!({}), 400, "body_unreadable"),
            (json!({ "url": "http://10.0.0.1/" }), 422, "address_refused"),
            (json!({ "url": "ftp://127.0.0.1/" }), 422, "address_refused"),
            (json!({ "url": "http://127.0.0.1:9000/", "events": [] }), 422, "unknown_event"),
            (json!({ "url": "http://127.0.0.1:9000/", "events": ["payout.paid"] }), 422, "unknown_event"),
            (json!({ "url": "http://127.0.0.1:9000/", "description": "a\u{7}b" }), 422, "bad_description"),
            (json!({ "url": "http://127.0.0.1:9000/", "secret": "mine" }), 400, "body_unreadable"),
        ] {
            let refused = api.post(&staff, "/webhook-endpoints", body.clone()).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{body}");
        }
        for (body, status, code) in [
            (json!({}), 422, "replay_unclear"),
            (json!({ "eventId": "ev_1", "from": "2026-01-01T00:00:00Z" }), 422, "replay_unclear"),
            (json!({ "eventId": "ev_1" }), 404, "no_event"),
            (json!({ "eventId": "" }), 422, "bad_id"),
            (json!({ "eventId": "a\u{0}" }), 422, "text_unusable"),
            (json!({ "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z" }), 422, "backward_time"),
            (json!({ "from": "yesterday", "to": "2026-01-01T00:00:00Z" }), 400, "body_unreadable"),
        ] {
            let refused = api.post(&staff, "/webhook-deliveries/replay", body.clone()).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{body}");
        }
        let ages = json!({ "from": "-262000-01-01T00:00:00Z", "to": "+262000-01-01T00:00:00Z", "endpointId": "we_1" });
        assert_eq!(api.post(&staff, "/webhook-deliveries/replay", ages.clone()).await.code(), "no_endpoint");
        let ages = json!({ "from": "-262000-01-01T00:00:00Z", "to": "+262000-01-01T00:00:00Z" });
        assert_eq!(api.post(&staff, "/webhook-deliveries/replay", ages).await.ok(), json!({ "queued": 0 }));
        for query in ["status=lost", "endpointId=", "eventId=a%00", "limit=0", "cursor=!"] {
            let refused = api.get(&staff, &format!("/webhook-deliveries?{query}")).await;
            assert_eq!(refused.status, 400, "{query}");
        }
        assert_eq!(api.get(&staff, "/webhook-endpoints/we_1").await.code(), "no_endpoint");
        for number in 0..20 {
            let url = format!("http://127.0.0.1:9000/{number}");
            assert_eq!(api.post(&staff, "/webhook-endpoints", json!({ "url": url })).await.status, 201);
        }
        let refused = api.post(&staff, "/webhook-endpoints", json!({ "url": "http://127.0.0.1:9000/x" })).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "too_many_endpoints"));
        let first = api.get(&staff, "/webhook-endpoints?limit=12").await.ok();
        let cursor = first["nextCursor"].as_str().expect("another page");
        let rest = api.get(&staff, &format!("/webhook-endpoints?limit=12&cursor={cursor}")).await.ok();
        assert_eq!((rest["data"].as_array().expect("a list").len(), &rest["nextCursor"]), (8, &Value::Null));
    }

    async fn partners_and_approvers_change_nothing_about_webhooks(h: &Harness) {
        let api = Api::open(h).await;
        let body = json!({ "url": "http://127.0.0.1:9000/" });
        let approver = token(h, "zoe", &["approver"]);
        assert_eq!(api.get(&approver, "/webhook-endpoints").await.status, 200);
        assert_eq!(api.post(&approver, "/webhook-endpoints", body.clone()).await.status, 403);
        let partner = h.partner("ana");
        assert_eq!(api.get(&partner, "/webhook-endpoints").await.status, 403);
        assert_eq!(api.get(&partner, "/webhook-deliveries").await.status, 403);
        assert_eq!(api.post(&partner, "/webhook-endpoints", body).await.status, 403);
        assert_eq!(h.count("webhook_endpoints").await, 0);
    }

    async fn deliveries_come_in_pages_that_miss_none(h: &Harness) {
        let api = Api::open(h).await;
        let (one, other) = (Receiver::open().await, Receiver::open().await);
        add(h, &one.url, "*").await;
        add(h, &other.url, "*").await;
        h.enrol(program("creator"), &["ana"]).await;
        for order in ["a", "b", "c"] {
            h.earn("ana", order, &[2_000]).await;
            h.ask("ana", 2_000).await.expect("a payout");
        }
        let (mut seen, mut path) = (Vec::new(), "/webhook-deliveries?limit=4".to_owned());
        loop {
            let page = api.get(&h.staff(), &path).await.ok();
            for row in page["data"].as_array().expect("a list") {
                seen.push((row["eventId"].to_string(), row["endpointId"].to_string()));
            }
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            path = format!("/webhook-deliveries?limit=4&cursor={cursor}");
        }
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.reverse();
        sorted.dedup();
        assert_eq!((seen.len(), &seen), (6, &sorted));
    }
}
