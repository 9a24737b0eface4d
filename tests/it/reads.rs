//! What people read: lists in pages, sums, and why somebody was paid or not.

use payoutd::domain::{AffiliateStatus, CommissionStatus, NewProgram, PayoutStatus, Scope};
use payoutd::engine::Rules;
use payoutd::store::PayoutFilter;

use crate::harness::{Harness, affiliate, program, week_of};

on_both! {
    async fn payouts_are_listed_in_pages_by_status_and_by_affiliate(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        for name in ["ana", "ben"] {
            h.earn(name, name, &[9_000]).await;
            for _ in 0..3 {
                h.ask(name, 1_000).await.expect("a payout");
            }
        }
        let cancelled = h.payouts().await[1].payout_id.clone();
        h.engine.cancel(&h.work(), &h.org, &cancelled, "a mistake").await.expect("cancelled");
        let list = async |filter: PayoutFilter| h.store.payouts(&h.org, &filter).await.expect("payouts");
        let all = list(PayoutFilter { limit: 100, ..PayoutFilter::default() }).await;
        let mut paged = Vec::new();
        while paged.len() < all.len() {
            let after = paged.last().cloned().unwrap_or_default();
            let page = list(PayoutFilter { after, limit: 2, ..PayoutFilter::default() }).await;
            assert!(!page.is_empty() && page.len() <= 2);
            paged.extend(page.iter().map(|payout| payout.payout_id.to_string()));
        }
        assert_eq!(paged, all.iter().map(|p| p.payout_id.to_string()).collect::<Vec<_>>());
        let of = |status: &str, affiliate_id: &str| {
            let (status, affiliate_id) = (status.to_owned(), affiliate_id.to_owned());
            list(PayoutFilter { status, affiliate_id, limit: 100, ..PayoutFilter::default() })
        };
        let counts = (of("cancelled", "").await.len(), of("", "ana").await.len(), of("paid", "").await.len());
        assert_eq!(counts, (1, 3, 0));
        assert_eq!(h.store.open_payouts().await.expect("a count"), 5);
        h.settle_all().await;
    }

    async fn a_payouts_lines_are_read_in_pages(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500, 500, 500]).await;
        let payout = h.ask("ana", 1_500).await.expect("a payout");
        let first = h.store.lines(&h.org, &payout, 0, 2).await.expect("lines");
        let rest = h.store.lines(&h.org, &payout, first[1].line_no, 2).await.expect("lines");
        let numbers: Vec<_> = first.iter().chain(&rest).map(|line| line.line_no).collect();
        assert_eq!(numbers, [1, 2, 3]);
        h.settle_all().await;
    }

    async fn the_sums_of_an_org_are_those_of_its_parts(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.enrol(NewProgram { hold_days: 7, ..program("patient") }, &["cem"]).await;
        h.earn("ana", "a", &[1_500, 700]).await;
        h.earn("ben", "b", &[3]).await;
        h.earn("cem", "c", &[40]).await;
        h.ask("ana", 1_500).await.expect("a payout");
        h.settle_all().await;
        h.ask("ana", 700).await.expect_err("below the minimum");
        let commissions = h.store.commission_sums(&h.org).await.expect("sums");
        let commissions: Vec<_> =
            commissions.iter().map(|s| (s.status, s.commissions, s.amount_minor)).collect();
        assert_eq!(commissions, [
            (CommissionStatus::Held, 1, 40),
            (CommissionStatus::Paid, 1, 1_500),
            (CommissionStatus::Qualified, 2, 703),
        ]);
        let wallets = h.store.wallet_sums(&h.org).await.expect("sums");
        let wallet = &wallets[0];
        assert_eq!((wallet.held_minor, wallet.available_minor), (40, 703));
        assert_eq!((wallet.in_flight_minor, wallet.paid_minor), (0, 1_500));
        let payouts = h.store.payout_sums(&h.org).await.expect("sums");
        assert_eq!(payouts.len(), 1);
        assert_eq!((payouts[0].status, payouts[0].payouts, payouts[0].amount_minor),
                   (PayoutStatus::Completed, 1, 1_500));
        assert_eq!(h.store.orgs().await.expect("orgs"), std::slice::from_ref(&h.org));
    }

    async fn an_explanation_shows_every_gate_and_the_latest_decisions(h: &Harness) {
        h.enrol(program("creator"), &[]).await;
        let mut suspended = affiliate("ana", "creator");
        suspended.status = AffiliateStatus::Suspended;
        h.enrol_affiliates(&[suspended]).await;
        h.earn("ana", "o", &[400]).await;
        let run = h.job("auto-payout").await;
        let ana = "ana".parse().expect("an id");
        let rules = Rules::unlimited("auto-payout", week_of("2026-W10"), Scope::default());
        let explained = h.engine.explain(&h.org, &ana, Some(&rules)).await.expect("an explanation");
        let wallet = &explained.wallets[0];
        assert_eq!((wallet.available.minor, wallet.would_be_paid()), (400, false));
        let failing: Vec<_> =
            wallet.gates.iter().filter(|c| !c.passed).map(|c| c.gate.as_str()).collect();
        assert_eq!(failing, ["not_active", "below_minimum"]);
        assert_eq!(explained.decisions[0].run_id, run.run_id);
        let skipped = h.store.decisions_skipped(&h.org, &run.run_id, 10).await.expect("skips");
        assert_eq!(skipped.len(), 1);
        let nobody = "nobody".parse().expect("an id");
        let nothing = h.engine.explain(&h.org, &nobody, Some(&rules)).await.expect("an explanation");
        assert!(nothing.wallets.is_empty() && nothing.decisions.is_empty());
    }

    async fn runs_are_listed_newest_first_in_pages(h: &Harness) {
        for job in ["prune", "audit-ledger", "prune"] {
            h.job(job).await;
            h.clock.advance(chrono::TimeDelta::seconds(1));
        }
        let all = h.store.runs_history("", "", 10).await.expect("runs");
        assert_eq!(all.iter().map(|run| run.job_id.as_str()).collect::<Vec<_>>(), ["prune", "audit-ledger", "prune"]);
        let older = h.store.runs_history("", all[0].run_id.as_str(), 1).await.expect("runs");
        assert_eq!(older[0].run_id, all[1].run_id);
        let prunes = h.store.runs_history("prune", "", 10).await.expect("runs");
        assert_eq!(prunes.len(), 2);
        assert!(h.store.run_of_job("prune").await.expect("a read").is_none());
    }

    async fn one_connection_is_enough(h: &Harness) {
        h.enrol(program("creator"), &["ana", "ben"]).await;
        for name in ["ana", "ben"] {
            h.earn(name, name, &[1_500]).await;
        }
        let store = payoutd::store::Store::open(&h.database.url, 1).await.expect("a database");
        let store = store.with_vault(h.vault());
        let engine = payoutd::engine::Engine::new(
            store.clone(),
            h.clock.clone(),
            vec![h.rail(serde_json::json!({"batch_size": 1}))],
            payoutd::engine::EngineSettings::default(),
        );
        let runner = h.runner_of(engine, payoutd::jobs::Catalog::load(None).expect("jobs"));
        let actor = payoutd::domain::Actor::operator("ana");
        let stop = tokio_util::sync::CancellationToken::new();
        for job in ["auto-payout", "submit-transfers", "reconcile-transfers"] {
            let run = runner.run_now(job, &actor, payoutd::engine::Reach::Due, &stop).await;
            assert_eq!(run.expect("a run").acted, 2, "{job}");
        }
        store.close().await;
    }
}
