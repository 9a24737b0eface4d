//! One destination that does not open: it is set aside alone, and everything else goes on.

use payoutd::domain::{DestinationId, OrgId, Scope};
use payoutd::engine::{EngineError, EngineSettings, PaidBy, Reach, Wanted};
use payoutd::store::{PayoutRow, Queue};
use serde_json::json;

use crate::harness::{Api, Harness, Wallet, affiliate, program, usd};

async fn destination_of(h: &Harness, name: &str) -> DestinationId {
    let name = name.parse().expect("an id");
    h.store.method_of(&h.org, &name).await.expect("a read").expect("a method").destination_id
}

async fn method_of(h: &Harness, name: &str) -> String {
    let name = name.parse().expect("an id");
    let method = h.store.method_of(&h.org, &name).await.expect("a read").expect("a method");
    method.method_id.to_string()
}

/// Everybody has 15.00 USD, asked out.
async fn payouts(h: &Harness, names: &[&str]) {
    h.enrol(program("creator"), names).await;
    for name in names {
        h.earn(name, name, &[1_500]).await;
        h.ask(name, 1_500).await.expect("a payout");
    }
}

/// The text of another's row, as somebody with SQL alone would put it there.
async fn moved(h: &Harness, name: &str, from: &str) -> DestinationId {
    let (to, from) = (destination_of(h, name).await, destination_of(h, from).await);
    h.change(&format!(
        "UPDATE destinations SET sealed = (SELECT o.sealed FROM destinations o
         WHERE o.destination_id = '{from}') WHERE destination_id = '{to}'"
    ))
    .await;
    to
}

async fn payout_of(h: &Harness, name: &str) -> PayoutRow {
    let payouts = h.payouts().await;
    payouts.into_iter().find(|one| one.affiliate_id.as_str() == name).expect("a payout")
}

async fn alerts(h: &Harness) -> Vec<(String, String, String)> {
    h.database.rows("SELECT kind, subject, message FROM alerts ORDER BY alert_id").await
}

/// Ana's payout failed before anything was sent; everybody else's was completed.
async fn only_ana_failed(h: &Harness, id: &DestinationId) {
    for (name, status) in h.outcomes().await {
        let expected = if name == "ana" { "failed" } else { "completed" };
        assert_eq!(status, expected, "{name}");
    }
    let ana = payout_of(h, "ana").await;
    assert_eq!(ana.failure_code.as_deref(), Some("destination_unreadable"));
    assert_eq!(h.wallet("ana").await, Wallet { available: 1_500, ..Wallet::default() });
    let told = alerts(h).await;
    let [(kind, subject, words)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((kind.as_str(), subject), ("destination_unreadable", &ana.payout_id.to_string()));
    assert!(words.contains(id.as_str()) && words.contains(ana.payout_id.as_str()), "{words}");
    let sealed: Vec<(String,)> = h.database.rows("SELECT sealed FROM destinations").await;
    for (sealed,) in sealed {
        let body = sealed.split_once(':').map_or(sealed.as_str(), |(_, body)| body);
        assert!(body.len() < 8 || !words.contains(body), "{words}");
    }
}

on_both! {
    async fn a_payout_to_a_moved_destination_fails_alone_before_anything_is_sent(h: &Harness) {
        payouts(h, &["ana", "ben", "cid"]).await;
        let globex: OrgId = "globex".parse().expect("an id");
        let work = h.work();
        h.engine.enrol_programs(&work, &globex, &[program("creator")]).await.expect("enrolled");
        let eve = [affiliate("eve", "creator")];
        h.engine.enrol_affiliates(&work, &globex, &eve).await.expect("enrolled");
        let earned = [h.commission("c", "eve", 1_500)];
        h.engine.accrue(&work, &globex, &earned).await.expect("accrued");
        let request = payoutd::engine::PersonRequest {
            wallet: h.wallet_key("eve"), amount_minor: 1_500, retry_of: None,
        };
        h.engine.request(&work, &globex, &request).await.expect("a payout");
        let id = moved(h, "ana", "ben").await;
        let tally = h.tally("submit-transfers").await;
        assert_eq!((tally.seen, tally.acted, tally.failed), (4, 4, 0), "{tally:?}");
        assert_eq!(tally.outcomes["rejected"].count, 1);
        h.settle_all().await;
        only_ana_failed(h, &id).await;
        assert_eq!(h.at.sandbox.books().paypal.len(), 3);
        // She is not paid there again until it is told anew.
        assert!(matches!(h.ask("ana", 1_500).await, Err(EngineError::Refused { .. })));
        assert_eq!(h.count("alerts WHERE org_id = 'globex'").await, 0);
    }

    async fn a_destination_that_is_damaged_in_any_way_is_set_aside_alone(h: &Harness) {
        h.enrol_program(program("creator")).await;
        let ways = [
            "UPDATE destinations SET sealed = SUBSTR(sealed, 1, LENGTH(sealed) - 4) WHERE {}",
            "UPDATE destinations SET sealed = 'nothing sealed' WHERE {}",
            "UPDATE destinations SET sealed = 'dk_' || sealed WHERE {}",
            "DELETE FROM destinations WHERE {}",
        ];
        h.enrol_affiliates(&[affiliate("ben", "creator")]).await;
        for (turn, way) in ways.iter().enumerate() {
            let name = format!("ana-{turn}");
            h.enrol_affiliates(&[affiliate(&name, "creator")]).await;
            for name in [name.as_str(), "ben"] {
                h.earn(name, &format!("{name}-{turn}"), &[1_500]).await;
                h.ask(name, 1_500).await.expect("a payout");
            }
            let id = destination_of(h, &name).await;
            h.change(&way.replace("{}", &format!("destination_id = '{id}'"))).await;
            h.settle_all().await;
            let code = payout_of(h, &name).await.failure_code;
            assert_eq!(code.as_deref(), Some("destination_unreadable"), "{way}");
        }
        let done = h.outcomes().await;
        assert_eq!(done.iter().filter(|(_, status)| *status == "completed").count(), 4);
        assert_eq!(h.at.sandbox.books().paypal.len(), 4);
    }

    async fn a_submission_that_was_not_sent_yet_leaves_without_the_one_that_broke(h: &Harness) {
        payouts(h, &["ana", "ben"]).await;
        let dead = h.rail(json!({"base_url": "http://127.0.0.1:9"}));
        h.submit_with(&h.engine_with(vec![dead], EngineSettings::default())).await;
        assert_eq!(h.count("submissions WHERE state = 'prepared'").await, 1);
        let id = moved(h, "ana", "ben").await;
        h.clock.advance(chrono::TimeDelta::hours(2));
        h.settle_all().await;
        h.change("DELETE FROM alerts WHERE kind = 'rail_unreachable'").await;
        only_ana_failed(h, &id).await;
    }

    async fn what_was_sent_before_is_only_looked_up(h: &Harness) {
        payouts(h, &["ana", "ben"]).await;
        h.submit().await;
        let ana = destination_of(h, "ana").await;
        let was: Vec<(String,)> = h.database.rows(&format!(
            "SELECT sealed FROM destinations WHERE destination_id = '{ana}'")).await;
        moved(h, "ana", "ben").await;
        h.settle_all().await;
        assert!(h.outcomes().await.iter().all(|(_, status)| *status == "completed"));
        assert_eq!(alerts(h).await, []);
        // So that the harness can hold the books against the addresses.
        h.change(&format!("UPDATE destinations SET sealed = '{}' WHERE destination_id = '{ana}'",
            was[0].0)).await;
    }

    async fn a_send_whose_answer_was_lost_is_a_persons_to_look_up_and_never_fails(h: &Harness) {
        payouts(h, &["ana", "ben"]).await;
        let engine = h.hasty_engine();
        let queue = Queue {
            org_id: h.org.clone(), method_kind: payoutd::domain::MethodKind::Paypal,
            currency: usd(0).currency, payouts: 2, amount_minor: 3_000,
        };
        let planned = engine.plan(&h.work(), &queue).await.expect("a plan").expect("two payouts");
        drop(engine.act(&planned).await);
        moved(h, "ana", "ben").await;
        for _ in 0..3 {
            h.reconcile().await;
            h.clock.advance(chrono::TimeDelta::hours(1));
        }
        assert_eq!(h.count("payouts WHERE status = 'processing'").await, 2);
        assert_eq!(h.count("submissions WHERE state = 'review'").await, 1);
        assert_eq!(h.count("alerts WHERE kind = 'review'").await, 1);
        assert_eq!(h.at.sandbox.books().paypal.len(), 2, "sent once");
        h.leaves_money_under_way();
    }

    async fn a_method_that_cannot_be_read_is_shown_as_such_and_not_verified(h: &Harness) {
        payouts(h, &["ana", "ben"]).await;
        moved(h, "ana", "ben").await;
        let (api, staff, ana) = (Api::open(h).await, h.staff(), h.partner("ana"));
        let id = method_of(h, "ana").await;
        let paths = [
            (&staff, "/finance/payment-methods?affiliateId=ana".to_owned()),
            (&staff, "/finance/payment-methods".to_owned()),
            (&ana, "/client/finance/payment-methods".to_owned()),
        ];
        for (who, path) in &paths {
            let listed = api.get(who, path).await.ok();
            let listed = listed["data"].as_array().expect("a list").clone();
            let method = listed.iter().find(|one| one["id"] == *id).expect("listed");
            assert_eq!(method["type"], "paypal", "{path}");
            assert_eq!(method["destination"], json!({"masked": null, "unreadable": true}));
            for other in listed.iter().filter(|one| one["id"] != *id) {
                assert_eq!(other["destination"], json!({"masked": "b***@example.com"}));
            }
        }
        let shut = api.post(&staff, &format!("/finance/payment-methods/{id}/verify"),
            json!({"note": "looked at it"})).await;
        assert_eq!((shut.status, shut.code().as_str()), (409, "destination_unreadable"));
        let shut = api.post(&ana, &format!("/client/finance/payment-methods/{id}/verify"),
            json!({})).await;
        assert_eq!((shut.status, shut.code().as_str()), (409, "destination_unreadable"));
        let name = "ana".parse().expect("an id");
        let vetted = h.engine.verify_method(&h.work(), &h.org, &name).await;
        let error = vetted.expect_err("nobody can be asked");
        assert_eq!(error.code(), "destination_unreadable");
    }

    async fn a_payout_can_be_wanted_to_the_others_on_file(h: &Harness) {
        payouts(h, &["ana", "ben"]).await;
        moved(h, "ana", "ben").await;
        h.earn("ana", "more", &[1_500]).await;
        let wanted = |destination: &[(&str, &str)]| Wanted {
            partner: None, affiliate_id: "ana".parse().expect("an id"), program: None,
            currency: usd(0).currency, amount_minor: 1_500, note: None,
            by: PaidBy {
                destination: destination.iter()
                    .map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect(),
                ..PaidBy::default()
            },
        };
        let answer = |said: Result<&PayoutRow, &[payoutd::domain::GateCheck]>| {
            payoutd::engine::Answered {
                status: if said.is_ok() { 201 } else { 409 },
                body: said.err().map(|gates| gates[0].gate.to_string()).unwrap_or_default(),
            }
        };
        let asked = wanted(&[("email", "ana@example.com")]);
        let work = h.work();
        let answered = h.engine.request_wanted(&work, &h.org, (&asked, None), answer).await;
        let answered = answered.expect("an answer");
        assert_eq!((answered.status, answered.body.as_str()), (409, "no_method"));
    }

    async fn a_rotation_goes_on_over_what_does_not_open_and_keeps_its_key(h: &Harness) {
        payouts(h, &["ana", "ben", "cid"]).await;
        let (ana, cid) = (moved(h, "ana", "ben").await, destination_of(h, "cid").await);
        h.change(&format!(
            "UPDATE destinations SET sealed = 'damaged' WHERE destination_id = '{cid}'")).await;
        let mut names = [format!("destinations/{ana}"), format!("destinations/{cid}")];
        names.sort();
        let tried = h.store.try_sealed(&h.org).await.expect("a look");
        assert_eq!((tried.values, tried.cut, &tried.unreadable[..]), (3, false, &names[..]));
        let rotated = h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        assert_eq!((rotated.sealed, &rotated.unreadable[..]), (1, &names[..]));
        let old = rotated.kept[0].clone();
        for gone in [None, Some(&ana)] {
            // Even where the damaged text itself names no key any more.
            if let Some(id) = gone {
                h.change(&format!(
                    "UPDATE destinations SET sealed = 'x' WHERE destination_id = '{id}'")).await;
            }
            h.clock.advance(chrono::TimeDelta::hours(2));
            let again = h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
            assert!(again.kept.contains(&old) && !again.deleted.contains(&old), "{again:?}");
        }
        h.engine.submit_all(&h.work(), Reach::Due, &Scope::default()).await.expect("sent");
        h.settle_all().await;
        let done = h.outcomes().await;
        assert_eq!(done.iter().filter(|(_, status)| *status == "completed").count(), 1);
    }
}
