//! What staff do to the ledger over HTTP.

use payoutd::domain::PayoutStatus;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Harness, Wallet, program, token};

const ANA: &str = "/wallets/ana/USD";

async fn with_ana(h: &Harness, minor: i64) -> (Api, String) {
    h.enrol(program("creator"), &["ana"]).await;
    h.earn("ana", "o", &[minor]).await;
    (Api::open(h).await, h.staff())
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn as_refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A JSON number as it was written.
fn written(value: &Value) -> String {
    value.to_string()
}

on_both! {
    async fn a_refund_is_told_once_in_part_and_in_whole(h: &Harness) {
        let (api, staff) = with_ana(h, 124_050).await;
        let path = "/affiliate/commissions/o-0/reverse";
        let part = json!({"refundId": "re_1", "amount": 0.5, "reason": "one of two"});
        let done = api.post(&staff, path, part.clone()).await.ok();
        assert_eq!((written(&done["amount"]), written(&done["wallet"]["available"])), ("0.50".into(), "1240.00".into()));
        assert_eq!((done["status"].as_str(), done["from"].as_str()), (Some("qualified"), Some("available")));
        assert_eq!(done["repeated"], false);
        assert_eq!(api.post(&staff, path, part).await.ok()["repeated"], true);
        let other = api.post(&staff, path, json!({"refundId": "re_1", "amount": 0.51, "reason": "one of two"})).await;
        assert_eq!(refused(&other), as_refused(409, "other_content"));
        let whole = api.post(&staff, path, json!({"refundId": "re_2"})).await.ok();
        assert_eq!((written(&whole["amount"]), whole["status"].as_str()), ("1240.00".into(), Some("reversed")));
        let more = api.post(&staff, path, json!({"refundId": "re_3"})).await;
        assert_eq!(refused(&more), as_refused(409, "nothing_left"));
        assert_eq!(h.wallet("ana").await, Wallet::default());
        let acts: Vec<_> = h.acts().await;
        assert_eq!(acts, vec![("commission.reversed".to_owned(), "o-0".to_owned()); 2]);
        let subject = "o-0".to_owned();
        let filter = payoutd::store::AuditFilter { subject, limit: 9, ..Default::default() };
        let acts = h.store.audit_page(&h.org, &filter).await.expect("acts");
        let act = acts.iter().find(|act| act.action == "commission.reversed").expect("an act");
        assert_eq!(act.actor, "staff:sam");
        assert!(act.request_id.is_some());
    }

    async fn what_a_refund_cannot_be(h: &Harness) {
        let (api, staff) = with_ana(h, 1_000).await;
        let path = "/affiliate/commissions/o-0/reverse";
        let cases = [
            (path, json!({"refundId": "r", "amount": 0.001}), (422, "amount_unusable")),
            (path, json!({"refundId": "r", "amount": 0}), (422, "bad_amount")),
            (path, json!({"refundId": "r", "amount": -1}), (422, "bad_amount")),
            (path, json!({"refundId": "r", "amount": 10.01}), (409, "nothing_left")),
            (path, json!({"refundId": "r", "reason": ""}), (422, "reason_unusable")),
            (path, json!({"refundId": "r", "reason": "a\u{7}b"}), (422, "reason_unusable")),
            (path, json!({"refundId": "a b"}), (400, "body_unreadable")),
            (path, json!({"amount": 1}), (400, "body_unreadable")),
            (path, json!({"refundId": "r", "amunt": 1}), (400, "body_unreadable")),
            ("/affiliate/commissions/nobody/reverse", json!({"refundId": "r"}), (404, "no_commission")),
        ];
        for (path, body, (status, code)) in cases {
            let answer = api.post(&staff, path, body.clone()).await;
            assert_eq!(refused(&answer), as_refused(status, code), "{body}");
        }
        let partner = api.post(&h.partner("ana"), path, json!({"refundId": "r"})).await;
        assert_eq!(refused(&partner), as_refused(403, "not_allowed"));
        assert_eq!(h.wallet("ana").await.available, 1_000);
    }

    async fn wallets_are_listed_shown_frozen_and_thawed(h: &Harness) {
        let (api, staff) = with_ana(h, 1_000).await;
        let shown = api.get(&staff, ANA).await.ok();
        assert_eq!((written(&shown["available"]), shown["status"].as_str()), ("10.00".into(), Some("active")));
        assert_eq!(shown["frozen"], Value::Null);
        let frozen = api.post(&staff, &format!("{ANA}/freeze"), json!({"reason": "looks odd"})).await.ok();
        assert_eq!((frozen["status"].as_str(), frozen["frozen"]["by"].as_str()), (Some("frozen"), Some("staff:sam")));
        let listed = api.get(&staff, "/wallets?status=frozen").await.ok();
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(listed["data"][0], frozen);
        assert_eq!(api.get(&staff, "/wallets?owing=true").await.ok()["data"], json!([]));
        let again = api.post(&staff, &format!("{ANA}/freeze"), json!({"reason": "again"})).await.ok();
        assert_eq!(again, frozen, "the first reason stays");
        let thawed = api.post(&staff, &format!("{ANA}/unfreeze"), json!({"reason": "fine"})).await.ok();
        assert_eq!((thawed["status"].as_str(), &thawed["frozen"]), (Some("active"), &Value::Null));
        for path in ["/wallets/nobody/USD", "/wallets/ana/JPY", "/wallets/ana/JPY/entries"] {
            assert_eq!(refused(&api.get(&staff, path).await), as_refused(404, "no_wallet"), "{path}");
        }
        assert_eq!(refused(&api.get(&staff, "/wallets/ana/XXX").await), as_refused(404, "no_such_id"));
        let partner = h.partner("ana");
        assert_eq!(refused(&api.get(&partner, ANA).await), as_refused(403, "not_allowed"));
        let approver = token(h, "pat", &["approver"]);
        api.get(&approver, ANA).await.ok();
        let change = api.post(&approver, &format!("{ANA}/freeze"), json!({"reason": "x"})).await;
        assert_eq!(refused(&change), as_refused(403, "not_allowed"));
    }

    async fn lists_of_wallets_and_entries_come_in_pages(h: &Harness) {
        let (api, staff) = with_ana(h, 1_000).await;
        h.enrol(payoutd::domain::NewProgram { title: "other".into(), ..program("other") }, &["b:en", "cem"]).await;
        for name in ["b:en", "cem"] {
            h.earn(name, name, &[1_000]).await;
        }
        let first = api.get(&staff, "/wallets?limit=2").await.ok();
        let cursor = first["nextCursor"].as_str().expect("more").to_owned();
        let second = api.get(&staff, &format!("/wallets?limit=2&cursor={cursor}")).await.ok();
        let names = |page: &Value| -> Vec<String> {
            let rows = page["data"].as_array().expect("rows").iter();
            rows.map(|row| row["affiliateId"].as_str().expect("an id").to_owned()).collect()
        };
        assert_eq!((names(&first), names(&second)), (vec!["ana".into(), "b:en".into()], vec!["cem".into()]));
        assert_eq!(second["nextCursor"], Value::Null);
        for (id, amount) in [("a-1", json!(5)), ("a-2", json!(-2.5))] {
            api.post(&staff, &format!("{ANA}/adjustments"), json!({"adjustmentId": id, "amount": amount, "reason": id})).await.ok();
        }
        let newest = api.get(&staff, &format!("{ANA}/entries?limit=1")).await.ok();
        assert_eq!((newest["data"][0]["version"].as_i64(), newest["data"][0]["reason"].as_str()), (Some(3), Some("a-2")));
        assert_eq!(written(&newest["data"][0]["availableAfter"]), "12.50");
        let cursor = newest["nextCursor"].as_str().expect("more").to_owned();
        let older = api.get(&staff, &format!("{ANA}/entries?cursor={cursor}")).await.ok();
        let versions: Vec<_> = older["data"].as_array().expect("rows").iter().map(|row| row["version"].as_i64()).collect();
        assert_eq!(versions, [Some(2), Some(1)]);
        let foreign = format!("{ANA}/entries?cursor={}", first["nextCursor"].as_str().expect("one"));
        assert_eq!(refused(&api.get(&staff, &foreign).await), as_refused(400, "bad_cursor"));
    }

    async fn an_adjustment_is_made_once_and_may_leave_a_debt(h: &Harness) {
        let (api, staff) = with_ana(h, 1_000).await;
        let path = format!("{ANA}/adjustments");
        let fee = json!({"adjustmentId": "fee-1", "amount": -12.5, "reason": "a fee"});
        let made = api.post(&staff, &path, fee.clone()).await;
        assert_eq!((made.status, written(&made.json()["wallet"]["available"])), (201, "-2.50".to_owned()));
        let known = api.post(&staff, &path, fee.clone()).await;
        assert_eq!((known.status, known.json()), (200, made.json()));
        let other = json!({"adjustmentId": "fee-1", "amount": -12.51, "reason": "a fee"});
        assert_eq!(refused(&api.post(&staff, &path, other).await), as_refused(409, "other_content"));
        let zero = json!({"adjustmentId": "fee-2", "amount": 0, "reason": "a fee"});
        assert_eq!(refused(&api.post(&staff, &path, zero).await), as_refused(422, "bad_amount"));
        let silent = json!({"adjustmentId": "fee-2", "amount": 1, "reason": " "});
        assert_eq!(refused(&api.post(&staff, &path, silent).await), as_refused(422, "reason_unusable"));
        let elsewhere = api.post(&staff, "/wallets/nobody/USD/adjustments", fee).await;
        assert_eq!(refused(&elsewhere), as_refused(404, "no_wallet"));
        assert_eq!(h.wallet("ana").await.available, -250);
    }

    async fn a_large_payout_is_approved_by_an_approver_who_did_not_request_it(h: &Harness) {
        let (api, staff) = with_ana(h, 5_000).await;
        let currency = h.wallet_key("ana").currency;
        let creator = "creator".parse().expect("an id");
        h.engine.approve_above(&h.work(), &h.org, &creator, (currency, Some(1_000))).await.expect("a limit");
        let payout = h.ask("ana", 5_000).await.expect("a payout");
        let path = format!("/finance/payouts/{payout}/approve");
        assert_eq!(refused(&api.post(&staff, &path, json!({})).await), as_refused(403, "not_allowed"));
        let partner = h.partner("ana");
        assert_eq!(refused(&api.post(&partner, &path, json!({})).await), as_refused(403, "not_allowed"));
        // The story's requester is ana at the command line.
        let herself = token(h, "ana", &["approver", "staff"]);
        assert_eq!(refused(&api.post(&herself, &path, json!({})).await), as_refused(403, "four_eyes"));
        let approver = token(h, "pat", &["approver"]);
        let done = api.post(&approver, &path, json!({"note": "seen"})).await.ok();
        assert_eq!((done["status"].as_str(), done["approvedBy"].as_str()), (Some("approved"), Some("staff:pat")));
        assert_eq!(refused(&api.post(&approver, &path, json!({})).await), as_refused(409, "wrong_status"));
        let nobody = api.post(&approver, "/finance/payouts/po_none/approve", json!({})).await;
        assert_eq!(refused(&nobody), as_refused(404, "no_payout"));
        h.settle_all().await;
        assert_eq!(h.payout(&payout).await.status, PayoutStatus::Completed);
    }

    async fn a_payout_is_cancelled_and_retried_by_staff_and_by_no_partner(h: &Harness) {
        let (api, staff) = with_ana(h, 5_000).await;
        let payout = h.ask("ana", 5_000).await.expect("a payout");
        let at = |act: &str| format!("/finance/payouts/{payout}/{act}");
        for act in ["cancel", "retry", "mark", "resend"] {
            let answer = api.post(&h.partner("ana"), &at(act), json!({})).await;
            assert_eq!(refused(&answer), as_refused(403, "not_allowed"), "{act}");
        }
        let early = api.post(&staff, &at("retry"), json!({})).await;
        assert_eq!(refused(&early), as_refused(409, "wrong_status"));
        let done = api.post(&staff, &at("cancel"), json!({"reason": "a mistake"})).await.ok();
        assert_eq!(done["status"], "cancelled");
        let again = api.post(&staff, &at("retry"), json!({})).await;
        assert_eq!((again.status, again.json()["retryOf"].as_str()), (201, Some(payout.as_str())));
        assert_eq!(refused(&api.post(&staff, &at("retry"), json!({})).await), as_refused(409, "already_retried"));
        let mark = json!({"finding": "paid", "reason": "the bank says so"});
        assert_eq!(refused(&api.post(&staff, &at("mark"), mark).await), as_refused(409, "not_in_review"));
        let resend = json!({"nothingWasPaid": true, "reason": "the bank says so"});
        assert_eq!(refused(&api.post(&staff, &at("resend"), resend).await), as_refused(409, "not_in_review"));
        let unsaid = json!({"nothingWasPaid": false, "reason": "x"});
        assert_eq!(refused(&api.post(&staff, &at("resend"), unsaid).await), as_refused(422, "not_said"));
        let odd = json!({"finding": "maybe", "reason": "x"});
        assert_eq!(refused(&api.post(&staff, &at("mark"), odd).await), as_refused(400, "body_unreadable"));
        let cancel = json!({"reason": "x"});
        let unknown = api.post(&staff, "/finance/payouts/po_none/cancel", cancel).await;
        assert_eq!(refused(&unknown), as_refused(404, "no_payout"));
        h.settle_all().await;
    }
}
