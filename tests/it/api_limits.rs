//! Staff over HTTP: what programs may spend, and the switch.

use serde_json::json;

use crate::harness::{Api, Harness, answer, program};

fn ask(amount: u32) -> serde_json::Value {
    let source = json!({ "type": "affiliate", "affiliateId": "ana" });
    json!({ "amount": amount, "currency": "USD", "source": source })
}

on_both! {
    async fn what_a_program_may_spend_is_set_as_a_whole_and_kept_to(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[20_000]).await;
        let path = "/affiliate/programs/creator/limits";
        let nothing = api.get(&staff, path).await.ok();
        assert_eq!((&nothing["payoutsPerDay"], &nothing["currencies"]), (&json!(null), &json!([])));
        let limits = json!({
            "payoutsPerDay": 2, "approveChangedMethod": true,
            "currencies": [{ "currency": "USD", "perPayout": 50.5, "perDay": 70 }],
        });
        let set = api.call(&staff, "PUT", path, limits).await.ok();
        assert_eq!(set["currencies"][0]["perPayout"].to_string(), "50.50");
        assert_eq!((&set["payoutsPerDay"], &set["approveChangedMethod"]), (&json!(2), &json!(true)));
        assert_eq!(api.get(&staff, path).await.ok(), set);
        let ana = h.partner("ana");
        let beyond = api.post(&ana, "/finance/payouts/request", ask(51)).await;
        assert_eq!((beyond.status, beyond.code().as_str()), (409, "above_payout_limit"));
        assert_eq!(api.post(&ana, "/finance/payouts/request", ask(50)).await.status, 201);
        let beyond = api.post(&ana, "/finance/payouts/request", ask(21)).await;
        assert_eq!((beyond.status, beyond.code().as_str()), (409, "day_limit_reached"));
        for (wrong, status, code) in [
            (json!({ "payoutsPerRun": 0 }), 422, "bad_count"),
            (json!({ "currencies": [{ "currency": "USD", "perRun": -1 }] }), 422, "amount_unusable"),
            (json!({ "currencies": [{ "currency": "USD" }, { "currency": "USD" }] }), 422, "currency_twice"),
            (json!({ "currencies": [{ "currency": "EUR", "perRun": 1 }] }), 404, "no_program"),
        ] {
            let refused = api.call(&staff, "PUT", path, wrong).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code));
        }
        // What is left out is not limited any more.
        api.call(&staff, "PUT", path, json!({})).await.ok();
        assert_eq!(api.post(&ana, "/finance/payouts/request", ask(100)).await.status, 201);
        assert_eq!(h.count("audit_log WHERE action = 'program.limits_changed'").await, 2);
    }

    async fn staff_stop_what_is_their_orgs_and_no_more(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        h.ask("ana", 2_000).await.expect("a payout");
        let why = json!({ "reason": "it looks odd" });
        for path in ["/halts/org/acme", "/halts/provider/paypal", "/halts/program/creator", "/halts/everything/all"] {
            assert_eq!(api.call(&staff, "PUT", path, why.clone()).await.status, 204, "{path}");
            assert_eq!(h.submit().await.acted, 0, "{path}");
            let list = api.get(&staff, "/halts").await.ok();
            assert_eq!((&list["data"][0]["reason"], &list["data"][0]["haltedBy"]), (&json!("it looks odd"), &json!("staff:sam")));
            assert_eq!(answer(api.request(&staff, "DELETE", path)).await.status, 204, "{path}");
            let again = answer(api.request(&staff, "DELETE", path)).await;
            assert_eq!((again.status, again.code().as_str()), (404, "not_halted"), "{path}");
        }
        for path in ["/halts/org/other", "/halts/provider/pigeon", "/halts/program/none", "/halts/everything/acme"] {
            assert_eq!(api.call(&staff, "PUT", path, why.clone()).await.status, 404, "{path}");
        }
        // There is another org, which is not theirs to stop.
        h.engine.enrol_programs(&h.work(), &"other".parse().expect("an id"), &[program("creator")]).await.expect("an org");
        let all = api.call(&staff, "PUT", "/halts/everything/all", why).await;
        assert_eq!((all.status, all.code().as_str()), (403, "not_the_only_org"));
        assert!(h.store.halts(None).await.expect("halts").is_empty());
        h.settle_all().await;
    }
}
