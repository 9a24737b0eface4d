//! What partners see of themselves, and what nobody else sees of them.

use chrono::TimeDelta;
use payoutd::domain::{AffiliateStatus, NewAffiliate, NewProgram};
use serde_json::{Value, json};

use crate::harness::{Api, Harness, affiliate, program, usd};

/// Ana is in two programs under one person.
async fn ana_in_two(h: &Harness) {
    h.enrol(NewProgram { hold_days: 7, ..program("creator") }, &["ana"]).await;
    h.enrol(program("shop"), &["ben"]).await;
    let second = NewAffiliate {
        affiliate_id: "ana-shop".parse().expect("an id"),
        code: "ANA-2".into(),
        ..affiliate("ana", "shop")
    };
    h.enrol_affiliates(&[second]).await;
}

async fn pages(api: &Api, token: &str, path: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..50 {
        let more = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = api.get(token, &format!("{path}{more}")).await.ok();
        rows.extend(page["data"].as_array().expect("rows").iter().cloned());
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return rows;
        }
    }
    panic!("the pages of {path} do not end");
}

fn ids(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].as_str().expect("an id").to_owned()).collect()
}

on_both! {
    async fn a_partner_sees_every_program_with_where_the_money_stands(h: &Harness) {
        let api = Api::open(h).await;
        ana_in_two(h).await;
        h.earn("ana", "held", &[1_050, 200]).await;
        h.earn("ana-shop", "shop", &[5_000, 30]).await;
        h.earn("ben", "ben", &[77]).await;
        h.ask("ana-shop", 2_000).await.expect("a payout");
        h.settle_all().await;
        h.ask("ana-shop", 1_000).await.expect("a payout");
        let me = api.get(&h.partner("ana"), "/client/affiliate/me").await.ok();
        let programs = me["programs"].as_array().expect("programs");
        assert_eq!(programs.len(), 2);
        let (creator, shop) = (&programs[0], &programs[1]);
        assert_eq!((&creator["program"], &creator["affiliateId"]), (&json!("creator"), &json!("ana")));
        assert_eq!(creator["code"], "ANA");
        assert_eq!(creator["stats"].to_string(), json!({
            "totalReferrals": 2, "totalConversions": 2, "totalCommission": 12.50,
            "pendingCommission": 12.50, "availableForPayout": 0, "paidCommission": 0,
        }).to_string().replace("12.5", "12.50").replace(":0,", ":0.00,").replace(":0}", ":0.00}"));
        let stats = &shop["stats"];
        assert_eq!(stats["totalCommission"].to_string(), "50.30");
        assert_eq!(stats["availableForPayout"].to_string(), "20.30");
        assert_eq!(stats["paidCommission"].to_string(), "20.00");
        assert_eq!(shop["balances"][0]["inFlight"].to_string(), "10.00");
        assert_eq!(shop["balances"][0]["minPayout"].to_string(), "10.00");
        assert_eq!(shop["currency"], "USD");
        h.settle_all().await;
    }

    async fn stats_are_in_the_programs_first_currency_and_balances_in_each(h: &Harness) {
        let api = Api::open(h).await;
        h.enrol(program("creator"), &["ana"]).await;
        h.change("INSERT INTO program_currencies (org_id, program_id, currency, min_payout_minor, place)
                  VALUES ('acme', 'creator', 'EUR', 500, 1)").await;
        let euros = payoutd::domain::Money::new(700, "EUR".parse().expect("a currency"));
        let commissions = [
            crate::harness::commission("d", "ana", usd(300), h.clock.now()),
            crate::harness::commission("e", "ana", euros, h.clock.now()),
        ];
        h.accrue(&commissions).await;
        let me = api.get(&h.partner("ana"), "/client/affiliate/me").await.ok();
        let one = &me["programs"][0];
        assert_eq!((&one["currency"], one["stats"]["availableForPayout"].to_string()), (&json!("USD"), "3.00".into()));
        let of = |i: usize| (one["balances"][i]["currency"].clone(), one["balances"][i]["availableForPayout"].to_string());
        assert_eq!(of(0), (json!("USD"), "3.00".into()));
        assert_eq!(of(1), (json!("EUR"), "7.00".into()));
        assert_eq!(one["stats"]["totalReferrals"], 2);
    }

    async fn a_stranger_sees_nothing_and_staff_are_no_partner(h: &Harness) {
        let api = Api::open(h).await;
        ana_in_two(h).await;
        let nobody = api.get(&h.partner("nobody"), "/client/affiliate/me").await.ok();
        assert_eq!(nobody, json!({ "programs": [] }));
        assert_eq!(api.get(&h.partner("nobody"), "/client/affiliate/me/earnings").await.ok()["data"], json!([]));
        assert_eq!(api.get(&h.staff(), "/client/affiliate/me").await.status, 403);
    }

    async fn earnings_come_newest_first_in_pages_with_the_platforms_words(h: &Harness) {
        let api = Api::open(h).await;
        ana_in_two(h).await;
        for i in 0..5 {
            // Two of one instant, so that the key needs the id.
            h.earn("ana-shop", &format!("s{i}"), &[1_000, 1_000]).await;
            h.clock.advance(TimeDelta::milliseconds(1_500));
        }
        h.earn("ana", "held", &[40]).await;
        h.earn("ben", "bens", &[40]).await;
        let payout = h.ask("ana-shop", 1_500).await.expect("a payout");
        h.settle_all().await;
        let token = h.partner("ana");
        let rows = pages(&api, &token, "/client/affiliate/me/earnings?limit=3").await;
        let all = ["held-0", "s4-1", "s4-0", "s3-1", "s3-0", "s2-1", "s2-0", "s1-1", "s1-0", "s0-1", "s0-0"];
        assert_eq!(ids(&rows, "commissionId"), all);
        let shop = pages(&api, &token, "/client/affiliate/me/earnings?program=shop&limit=4").await;
        assert_eq!(ids(&shop, "commissionId"), all[1..]);
        assert_eq!(shop[9]["status"], "commission_paid");
        assert_eq!(shop[9]["commissionStatus"], "paid");
        assert_eq!(shop[9]["payoutIds"], json!([payout.as_str()]));
        assert_eq!((&shop[8]["status"], &shop[8]["commissionStatus"]), (&json!("qualified"), &json!("credited")));
        assert_eq!(shop[8]["paidAmount"].to_string(), "5.00");
        assert_eq!(shop[0]["payoutIds"], json!([]));
        let held = &rows[0];
        assert_eq!((&held["status"], &held["commissionStatus"]), (&json!("commission_held"), &json!("held")));
        assert_eq!((held["creditedAt"].is_null(), &held["holdUntil"]), (true, &json!("2026-03-09T09:00:07.500Z")));
        assert_eq!(held["amount"].to_string(), "0.40");
        assert_eq!(api.get(&token, "/client/affiliate/me/earnings?cursor=YWJj").await.code(), "bad_cursor");
    }

    async fn payouts_are_ones_own_whatever_a_partner_asks_and_everybodys_for_staff(h: &Harness) {
        let api = Api::open(h).await;
        ana_in_two(h).await;
        h.earn("ana-shop", "a", &[9_000]).await;
        h.earn("ben", "b", &[9_000]).await;
        let mut payouts = Vec::new();
        for name in ["ana-shop", "ben", "ana-shop", "ben"] {
            payouts.push(h.ask(name, 1_000).await.expect("a payout").to_string());
            h.clock.advance(TimeDelta::seconds(10));
        }
        let (ana, staff) = (h.partner("ana"), h.staff());
        let of = async |token: &str, query: &str| {
            ids(&pages(&api, token, &format!("/finance/payouts?limit=1{query}")).await, "payoutId")
        };
        let own = [payouts[2].clone(), payouts[0].clone()];
        assert_eq!(of(&ana, "").await, own);
        assert_eq!(of(&ana, "&source.affiliateId=ana-shop").await, own);
        assert!(of(&ana, "&source.affiliateId=ben").await.is_empty());
        assert_eq!(of(&staff, "").await, payouts.iter().rev().cloned().collect::<Vec<_>>());
        assert_eq!(of(&staff, "&source.affiliateId=ben").await, [payouts[3].clone(), payouts[1].clone()]);
        assert_eq!(of(&staff, "&status=completed").await.len(), 0);
        assert_eq!(of(&staff, "&status=pending&program=shop").await.len(), 4);
        assert_eq!(of(&staff, "&from=2026-03-02T09:00:10Z&to=2026-03-02T09:00:30Z").await.len(), 2);
        assert_eq!(of(&staff, "&from=2026-03-03").await.len(), 0);
        assert_eq!(api.get(&staff, "/finance/payouts?status=odd").await.code(), "query_unreadable");
        assert_eq!(api.get(&ana, &format!("/finance/payouts/{}", payouts[0])).await.status, 200);
        let (own, unknown) = (format!("/finance/payouts/{}", payouts[1]), "/finance/payouts/po_none");
        for path in [own.as_str(), unknown, &format!("{own}/lines")] {
            let refused = api.get(&ana, path).await;
            assert_eq!((refused.status, refused.code().as_str()), (404, "no_payout"), "{path}");
        }
        h.settle_all().await;
    }

    async fn a_payouts_story_has_transfers_and_names_for_staff_only(h: &Harness) {
        let api = Api::open(h).await;
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500, 20]).await;
        let payout = h.ask("ana", 1_510).await.expect("a payout");
        h.settle_all().await;
        let path = format!("/finance/payouts/{payout}");
        let staff = api.get(&h.staff(), &path).await.ok();
        let statuses: Vec<_> = staff["history"].as_array().expect("a history").iter().map(|c| c["status"].clone()).collect();
        assert_eq!(statuses, ["pending", "processing", "completed"]);
        assert_eq!(staff["history"][0]["actor"], "cli:ana");
        assert_eq!(staff["transfers"].as_array().expect("attempts").len(), 1);
        assert_eq!(staff["transfers"][0]["state"], "settled");
        assert_eq!(staff["lines"][1]["amount"].to_string(), "0.10");
        assert_eq!(staff["amount"].to_string(), "15.10");
        let own = api.get(&h.partner("ana"), &path).await.ok();
        assert!(own.get("transfers").is_none() && own["history"][0].get("notes").is_none());
        assert_eq!((&own["history"][0]["actor"], &own["requestedBy"]), (&json!("cli"), &json!("cli")));
        let lines = pages(&api, &h.partner("ana"), &format!("{path}/lines?limit=1")).await;
        assert_eq!(lines.len(), 2);
    }

    async fn what_is_held_is_released_by_staff_with_one_total(h: &Harness) {
        let api = Api::open(h).await;
        h.enrol(NewProgram { hold_days: 7, auto_credit: false, ..program("creator") }, &["ana", "ben"]).await;
        h.earn("ana", "a", &[100_050, 24_000]).await;
        let (staff, path) = (h.staff(), "/affiliate/commissions/process-held");
        let early = answer_of(&api, &staff, path).await;
        assert_eq!((early["processed"].clone(), early["totalCredited"].to_string()), (json!(0), "0.00".into()));
        h.clock.advance(TimeDelta::days(7));
        let staff = h.staff();
        let done = answer_of(&api, &staff, path).await;
        assert_eq!((done["processed"].clone(), done["totalCredited"].to_string()), (json!(2), "1240.50".into()));
        assert_eq!(h.wallet("ana").await.available, 124_050);
        assert_eq!(h.count("audit_log WHERE action = 'commissions.released' AND actor = 'staff:sam'").await, 1);
        let again = answer_of(&api, &staff, path).await;
        assert_eq!(again["processed"], 0);
        assert_eq!(crate::harness::answer(api.request(&h.partner("ana"), "POST", path)).await.status, 403);
    }

    async fn suspended_partners_still_see_what_is_theirs(h: &Harness) {
        let api = Api::open(h).await;
        h.enrol(program("creator"), &[]).await;
        h.enrol_affiliates(&[NewAffiliate { status: AffiliateStatus::Suspended, ..affiliate("ana", "creator") }]).await;
        h.earn("ana", "a", &[900]).await;
        let me = api.get(&h.partner("ana"), "/client/affiliate/me").await.ok();
        assert_eq!(me["programs"][0]["status"], "suspended");
        assert_eq!(me["programs"][0]["stats"]["availableForPayout"].to_string(), "9.00");
    }
}

async fn answer_of(api: &Api, token: &str, path: &str) -> Value {
    crate::harness::answer(api.request(token, "POST", path)).await.ok()
}
