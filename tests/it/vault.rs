//! Account numbers at rest: sealed where they stand, opened nowhere else, sealed anew by key.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use payoutd::clock::Clock;
use payoutd::domain::{
    AffiliateId, Destination, DestinationId, MethodKind, MethodStatus, NewAffiliate, NewMethod,
    OrgId,
};
use payoutd::engine::{Engine, EngineSettings, Reach, Verdict};
use payoutd::store::{NewProviderEvent, Store};
use payoutd::vault::{Cell, MasterKeys, Vault};
use serde_json::json;

use crate::harness::{Database, Harness, Kind, MASTER_KEY, affiliate, program};

/// No other number in any story looks like it.
const CANARY: &str = "7060504030201";

fn banked(name: &str, account: &str) -> NewAffiliate {
    let account = json!({
        "routingNumber": "021000021", "accountNumber": account, "accountType": "checking",
        "accountHolderName": name,
    });
    let destination = Destination::parse(MethodKind::Ach, &account.to_string());
    let destination = destination.expect("a destination");
    let method = Some(NewMethod { destination, status: MethodStatus::Verified });
    NewAffiliate { method, ..affiliate(name, "creator") }
}

async fn destination_of(h: &Harness, name: &str) -> DestinationId {
    let name: AffiliateId = name.parse().expect("an id");
    let method = h.store.method_of(&h.org, &name).await.expect("a read").expect("a method");
    method.destination_id
}

/// Ana and Ben, with 15.00 USD each, asked out.
async fn two_payouts(h: &Harness) {
    h.enrol(program("creator"), &["ana", "ben"]).await;
    for name in ["ana", "ben"] {
        h.earn(name, name, &[1_500]).await;
        h.ask(name, 1_500).await.expect("a payout");
    }
}

/// What is left of an org whose keys cannot be used: nobody is sent to, nobody fails, and a person
/// is told once.
async fn everybody_waits(h: &Harness, engine: &Engine) {
    for _ in 0..2 {
        // What a send that broke off had locked is given back with its connection, a moment later; a
        // send passes over what is locked, an update waits for it.
        h.change("UPDATE payouts SET updated_at = updated_at").await;
        let tally = h.submit_with(engine).await;
        assert!(tally.failed > 0 && tally.skipped.contains_key("vault_refused"), "{tally:?}");
    }
    assert_eq!(h.count("submissions").await, 0);
    assert_eq!(h.count("payouts WHERE status <> 'pending'").await, 0);
    assert_eq!(h.count("alerts WHERE kind = 'vault_refused'").await, 1);
    assert_eq!(h.count("alerts").await, 1);
}

async fn keys_in_use(h: &Harness) -> BTreeSet<String> {
    let rows: Vec<(String,)> = h.database.rows("SELECT DISTINCT key_id FROM destinations").await;
    rows.into_iter().map(|(key_id,)| key_id).collect()
}

fn vault(keys: &str) -> Vault {
    Vault::new(MasterKeys::parse(&keys.to_owned().into()).expect("keys"), Clock::System)
}

on_both! {
    async fn money_moves_without_a_key_and_leaves_only_with_one(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[1_500]).await;
        let locked = Store::open(&h.database.url, 2).await.expect("a database");
        let rails = vec![h.rail(json!({}))];
        let engine = Engine::new(locked, h.clock.clone(), rails, EngineSettings::default());
        let catalog = payoutd::jobs::Catalog::load(None).expect("jobs");
        let runner = h.runner_of(engine.clone(), catalog);
        let stop = tokio_util::sync::CancellationToken::new();
        let actor = payoutd::domain::Actor::operator("ana");
        let run = runner.run_now("auto-payout", &actor, Reach::Due, &stop).await.expect("a run");
        assert!(run.error_code.is_none(), "requests open nothing: {run:?}");
        assert_eq!(h.count("payouts WHERE status = 'pending'").await, 1);
        everybody_waits(h, &engine).await;
        engine.store.close().await;
        h.settle_all().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "completed")]);
    }

    async fn keys_that_are_missing_or_not_the_orgs_own_leave_everybody_waiting(h: &Harness) {
        two_payouts(h).await;
        let globex: OrgId = "globex".parse().expect("an id");
        let work = h.work();
        h.engine.enrol_programs(&work, &globex, &[program("creator")]).await.expect("enrolled");
        let eve = [affiliate("eve", "creator")];
        h.engine.enrol_affiliates(&work, &globex, &eve).await.expect("enrolled");
        for (lost, found) in [
            ("UPDATE org_keys SET key_id = 'x' || key_id WHERE org_id = 'acme' AND purpose = 'seal'",
             "UPDATE org_keys SET key_id = SUBSTR(key_id, 2)
              WHERE org_id = 'acme' AND purpose = 'seal'"),
            ("UPDATE org_keys SET org_id = 'lost' WHERE org_id = 'acme'",
             "UPDATE org_keys SET org_id = 'acme' WHERE org_id = 'lost'"),
            ("UPDATE org_keys SET org_id = 'acme', retired_at = created_at WHERE org_id = 'globex'",
             "DELETE FROM org_keys WHERE org_id = 'acme' AND retired_at IS NOT NULL"),
        ] {
            h.change(lost).await;
            everybody_waits(h, &h.engine).await;
            h.change(found).await;
        }
        h.settle_all().await;
        assert_eq!(h.outcomes().await.iter().filter(|(_, s)| *s == "completed").count(), 2);
    }

    async fn nothing_of_an_account_stands_in_any_column(h: &Harness) {
        h.enrol_program(program("creator")).await;
        h.enrol_affiliates(&[banked("ana", CANARY)]).await;
        let ana = destination_of(h, "ana").await;
        let kept = h.store.destination(&h.org, &ana).await.expect("a destination");
        assert_eq!(kept.get("accountNumber"), Some(CANARY));
        let rows: Vec<(String, String, String)> = h.database.rows(
            "SELECT sealed, fingerprint, blind_index FROM destinations").await;
        for (sealed, fingerprint, blind_index) in rows {
            for text in [sealed, fingerprint, blind_index] {
                assert!(!text.contains(&CANARY[..6]), "{text}");
            }
        }
        let last4: Vec<(String,)> = h.database.rows("SELECT last4 FROM destinations").await;
        assert_eq!(last4, [(CANARY[CANARY.len() - 4..].to_owned(),)]);
    }

    async fn one_account_of_two_affiliates_is_known_without_opening_it(h: &Harness) {
        h.enrol_program(program("creator")).await;
        let pairs = [("ana", "12-345678"), ("ben", "12345678"), ("cid", "12345679")];
        let affiliates: Vec<_> = pairs.iter().map(|(name, account)| banked(name, account)).collect();
        h.enrol_affiliates(&affiliates).await;
        let mut tx = h.store.begin().await.expect("a transaction");
        for (name, others) in [("ana", &["ben"][..]), ("ben", &["ana"]), ("cid", &[])] {
            let id = destination_of(h, name).await;
            let name = name.parse().expect("an id");
            let shared = tx.account_shared_with(&h.org, &name, &id).await.expect("a read");
            let shared: Vec<_> = shared.iter().map(AffiliateId::as_str).collect();
            assert_eq!(shared, others, "{name}");
        }
    }

    async fn an_import_knows_a_destination_again_and_sees_that_one_differs(h: &Harness) {
        h.enrol_program(program("creator")).await;
        h.enrol_affiliates(&[banked("ana", CANARY)]).await;
        let again = |account| [banked("ana", account)];
        let verdicts = |affiliates: [NewAffiliate; 1]| async move {
            let verdicts = h.engine.enrol_affiliates(&h.work(), &h.org, &affiliates).await;
            verdicts.expect("a verdict").remove(0)
        };
        assert_eq!(verdicts(again(CANARY)).await, Verdict::Unchanged);
        let differs = verdicts(again("12345678")).await;
        assert!(format!("{differs:?}").contains("destination"), "{differs:?}");
        // After a rotation it is still the same one.
        h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        assert_eq!(verdicts(again(CANARY)).await, Verdict::Unchanged);
        assert_eq!(h.count("destinations").await, 1);
    }

    async fn a_rotation_seals_everything_anew_and_what_is_under_way_goes_on(h: &Harness) {
        two_payouts(h).await;
        let mut tx = h.store.begin().await.expect("a transaction");
        let event = NewProviderEvent {
            method_kind: MethodKind::Paypal, event_id: "WH/1", event_type: "T", body: "a body",
            matched: 0,
        };
        tx.provider_event_keep(&h.org, event, h.clock.now()).await.expect("kept");
        tx.commit().await.expect("a commit");
        let before = keys_in_use(h).await;
        let rotated = h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        assert_eq!((rotated.sealed, rotated.deleted.len(), rotated.kept.len()), (3, 0, 1));
        assert_eq!(keys_in_use(h).await, BTreeSet::from([rotated.key_id.to_string()]));
        assert!(!before.contains(rotated.key_id.as_str()), "{before:?}");
        let old = &rotated.kept[0];
        assert_eq!(h.store.sealed_under(&h.org, old).await.expect("a count"), 0);
        assert_eq!(h.store.sealed_under(&h.org, &rotated.key_id).await.expect("a count"), 3);
        let body: Vec<(String,)> = h.database.rows("SELECT sealed_body FROM provider_events").await;
        let cell = Cell::new("provider_events", "sealed_body", "paypal/WH/1");
        assert_eq!(h.store.unseal(&h.org, cell, &body[0].0).await.expect("opened"), "a body");
        // A key that a slow transaction may still seal under is kept, and deleted by a later one.
        h.clock.advance(TimeDelta::minutes(61));
        let again = h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        assert_eq!(again.deleted, std::slice::from_ref(old));
        assert_eq!(again.kept, [rotated.key_id]);
        h.settle_all().await;
        assert_eq!(h.outcomes().await.iter().filter(|(_, s)| *s == "completed").count(), 2);
        let acts: Vec<(String,)> = h.database.rows(
            "SELECT action FROM audit_log WHERE action LIKE 'vault.%' ORDER BY audit_id").await;
        let acts: BTreeSet<_> = acts.iter().map(|(act,)| act.as_str()).collect();
        assert_eq!(acts, BTreeSet::from(["vault.rotated", "vault.key_deleted"]));
    }

    async fn what_was_sealed_late_under_a_retired_key_keeps_it(h: &Harness) {
        two_payouts(h).await;
        let ana = destination_of(h, "ana").await;
        let was: Vec<(String, String)> = h.database.rows(&format!(
            "SELECT sealed, key_id FROM destinations WHERE destination_id = '{ana}'")).await;
        h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        // As a transaction would leave it that began before the rotation and ended after it.
        let (sealed, key_id) = &was[0];
        h.change(&format!("UPDATE destinations SET sealed = '{sealed}', key_id = '{key_id}'
                           WHERE destination_id = '{ana}'")).await;
        h.clock.advance(TimeDelta::minutes(61));
        h.settle_all().await;
        assert_eq!(h.outcomes().await.iter().filter(|(_, s)| *s == "completed").count(), 2);
        let again = h.engine.rotate_keys(&h.work(), &h.org).await.expect("a rotation");
        assert_eq!((again.deleted.len(), keys_in_use(h).await.len()), (1, 1));
    }

    async fn keys_move_to_a_new_master_key_and_the_old_one_can_go(h: &Harness) {
        two_payouts(h).await;
        const NEW: &str = "mk-new=ff02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
        let open = |keys: String| async move {
            let store = Store::open(&h.database.url, 2).await.expect("a database");
            store.with_vault(vault(&keys))
        };
        let early = open(NEW.to_owned()).await;
        let missing = early.masters_fit().await.expect_err("nothing is wrapped by it yet");
        assert!(missing.to_string().contains("vault refused"), "{missing}");
        early.close().await;
        let both = open(format!("{NEW},{MASTER_KEY}")).await;
        both.masters_fit().await.expect("both are there");
        let engine = Engine::new(both, h.clock.clone(), Vec::new(), EngineSettings::default());
        assert_eq!(engine.rewrap_keys(&h.work(), &h.org).await.expect("rewrapped"), 2);
        assert_eq!(engine.rewrap_keys(&h.work(), &h.org).await.expect("nothing to do"), 0);
        engine.store.close().await;
        let late = open(NEW.to_owned()).await;
        late.masters_fit().await.expect("the new one is enough");
        let id = destination_of_store(&late, &h.org, "ana").await;
        late.destination(&h.org, &id).await.expect("opened");
        late.close().await;
        // Another key of the same id is told from the right one.
        let other = open(NEW.replace("=ff", "=fe")).await;
        other.masters_fit().await.expect_err("another key");
        other.close().await;
        // Back, so that the harness can read its books.
        let both = open(format!("{MASTER_KEY},{NEW}")).await;
        let engine = Engine::new(both, h.clock.clone(), Vec::new(), EngineSettings::default());
        engine.rewrap_keys(&h.work(), &h.org).await.expect("rewrapped");
        engine.store.close().await;
    }

    async fn two_who_make_an_orgs_first_key_at_once_end_up_with_one(h: &Harness) {
        let seal = |row: &'static str| async move {
            let mut tx = h.store.begin().await.expect("a transaction");
            let cell = Cell::new("webhook_endpoints", "secret", row);
            let sealed = tx.seal(&h.org, cell, row).await.expect("sealed");
            tx.commit().await.expect("a commit");
            (cell, sealed)
        };
        let sealed = futures::future::join_all(["a", "b", "c", "d"].map(seal)).await;
        for (cell, sealed) in sealed {
            let opened = h.store.unseal(&h.org, cell, &sealed).await.expect("opened");
            assert_eq!(opened, cell.row);
        }
        assert_eq!(h.count("org_keys").await, 2, "one seals, one indexes");
    }
}

async fn destination_of_store(store: &Store, org: &OrgId, name: &str) -> DestinationId {
    let name: AffiliateId = name.parse().expect("an id");
    store.method_of(org, &name).await.expect("a read").expect("a method").destination_id
}

/// What a database of before held in the open.
const OPEN: &[&str] = &[
    "INSERT INTO orgs VALUES ('acme', {t}), ('globex', {t})",
    "INSERT INTO payout_methods (org_id, method_id, affiliate_id, kind, destination, status,
     is_default, created_at) VALUES
     ('acme', 'pm_1', 'ana', 'ach',
      '{\"accountNumber\":\"7060504030201\",\"routingNumber\":\"021000021\"}', 'verified', 1, {t}),
     ('acme', 'pm_2', 'ben', 'paypal', '{\"email\":\"ben-canary@example.com\"}', 'verified', 1, {t}),
     ('globex', 'pm_1', 'eve', 'wire', '{\"accountNumber\":\"7060504030201\"}', 'pending', 1, {t})",
    "INSERT INTO notices (org_id, notice_id, transfer_id, submission_id, letter_hash, word, account,
     correction, received_at) VALUES
     ('acme', 'no_1', 'tr_1', 'sub_1', 'h', 'booked', '7060504030299', '{}', {t}),
     ('acme', 'no_2', 'tr_1', 'sub_1', 'h', 'corrected', NULL,
      '{\"accountNumber\":\"7060504030288\"}', {t})",
    "INSERT INTO provider_events VALUES
     ('acme', 'paypal', 'WH/1', 'T', '{\"receiver\":\"ben-canary@example.com\"}', 0, 1, {t}, {t})",
];

/// A payout of `method`, pinned to `account`.
fn pinned(payout: &str, method: &str, affiliate: &str, account: &str) -> String {
    format!(
        "INSERT INTO payouts (org_id, payout_id, affiliate_id, program_id, currency, amount_minor,
         method_id, method_kind, destination, status, version, origin, requested_by, requested_at,
         updated_at) VALUES ('acme', '{payout}', '{affiliate}', 'creator', 'USD', 1, '{method}',
         'ach', '{{\"accountNumber\":\"{account}\",\"routingNumber\":\"021000021\"}}', 'pending', 1,
         'person', 'x', {{t}}, {{t}})"
    )
}

async fn sealed_from_before(kind: Kind) {
    const INSTANT: &str = "'2026-03-02T09:00:00+00:00'";
    let database = Database::before(kind, 7).await;
    let payouts = [
        pinned("po_1", "pm_1", "ana", CANARY),
        pinned("po_2", "pm_1", "ana", "7060504030277"),
        pinned("po_3", "pm_1", "ana", "7060504030277"),
        // More than one batch.
        "INSERT INTO provider_events SELECT org_id, method_kind, 'e' || n, event_type, body, 0, 1,
         received_at, last_seen_at FROM provider_events CROSS JOIN
         (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 700)
          SELECT n FROM c) AS numbers"
            .to_owned(),
    ];
    for statement in OPEN.iter().map(|text| (*text).to_owned()).chain(payouts) {
        let statement = statement.replace("{t}", INSTANT);
        database.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let (acme, globex): (OrgId, OrgId) =
        ("acme".parse().expect("an id"), "globex".parse().expect("an id"));
    let store = Store::open(&database.url, 2).await.expect("a database");
    assert_eq!(store.unsealed().await.expect("a count"), None, "there is no vault yet");
    store.migrate().await.expect("migrations");
    assert_eq!(store.unsealed().await.expect("a count"), Some(707));
    assert!(store.seal_rest().await.is_err(), "not without a key");
    let store = store.with_vault(vault(MASTER_KEY));
    assert_eq!(store.seal_rest().await.expect("sealed"), 707);
    assert_eq!(store.unsealed().await.expect("a count"), Some(0));
    assert_eq!(store.seal_rest().await.expect("nothing left"), 0);

    // A payout shares its row with its method where they were the same, and with others of then.
    let pins: Vec<(String, String)> =
        database.rows("SELECT payout_id, destination_id FROM payouts ORDER BY payout_id").await;
    let pins: Vec<_> = pins.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(pins, ["de_m1", "de_p2", "de_p2"]);
    for (org, id, field, expected) in [
        (&acme, "de_m1", "accountNumber", CANARY),
        (&acme, "de_p2", "accountNumber", "7060504030277"),
        (&acme, "de_m2", "email", "ben-canary@example.com"),
        (&globex, "de_m1", "accountNumber", CANARY),
    ] {
        let kept = store.destination(org, &id.parse().expect("an id")).await;
        assert_eq!(kept.expect("a destination").get(field), Some(expected), "{org} {id}");
    }
    notices_are_sealed(&database, &store, &acme).await;

    // The files hold none of it any more.
    if let Some(folder) = database.folder() {
        for file in std::fs::read_dir(folder).expect("a folder") {
            let path = file.expect("a file").path();
            let bytes = std::fs::read(&path).expect("readable");
            for text in ["70605040302", "ben-canary"] {
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{text} is in {}", path.display());
            }
        }
    }
    store.close().await;
    database.remove().await;
}

/// What letters said of accounts, sealed from before.
async fn notices_are_sealed(database: &Database, store: &Store, acme: &OrgId) {
    type Notice = (String, Option<String>, Option<String>, Option<String>);
    let sealed: Vec<Notice> = database
        .rows(
            "SELECT notice_id, sealed_account, account_index, sealed_correction FROM notices
             ORDER BY notice_id",
        )
        .await;
    let open = |column, id: &'static str, text: Option<String>| async move {
        let cell = Cell::new("notices", column, id);
        store.unseal(acme, cell, &text.expect("sealed")).await.expect("opened")
    };
    assert_eq!(open("sealed_account", "no_1", sealed[0].1.clone()).await, "7060504030299");
    let index = store.account_index(acme, "7060504030299").await.expect("keys");
    assert_eq!((index, &sealed[0].3), (sealed[0].2.clone(), &None));
    let correction = open("sealed_correction", "no_2", sealed[1].3.clone()).await;
    assert_eq!(correction, r#"{"accountNumber":"7060504030288"}"#);
    let bodies = "SELECT event_id FROM provider_events WHERE sealed_body IS NULL";
    assert!(database.rows::<(String,)>(bodies).await.is_empty());
    assert!(database.rows::<(String,)>("SELECT name FROM counters").await.is_empty());
}

#[tokio::test]
async fn what_was_in_the_open_before_is_sealed_and_cleared_away_on_sqlite() {
    sealed_from_before(Kind::Sqlite).await;
}

#[tokio::test]
async fn what_was_in_the_open_before_is_sealed_and_cleared_away_on_postgres() {
    sealed_from_before(Kind::Postgres).await;
}
