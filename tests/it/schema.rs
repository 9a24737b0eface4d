//! The two schemas are twins, and the database itself guards what must never change.

use payoutd::store::Store;

use crate::harness::{Database, Harness, Kind, program};

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_nullability() {
    let mut columns = Vec::new();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::create(kind).await;
        let store = Store::open(&database.url, 2).await.expect("a database that opens");
        columns.push(store.columns().await.expect("columns"));
        store.close().await;
        database.remove().await;
    }
    assert!(columns[0].len() > 100, "too few columns to be the schema: {}", columns[0].len());
    assert_eq!(columns[0], columns[1]);
}

on_both! {
    async fn migrating_again_changes_nothing(h: &Harness) {
        let before = h.store.columns().await.expect("columns");
        h.store.migrate().await.expect("migrations that apply");
        assert_eq!(h.store.columns().await.expect("columns"), before);
    }

    async fn the_database_refuses_to_change_or_delete_an_entry(h: &Harness) {
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[500]).await;
        for statement in ["UPDATE entries SET amount_minor = 1", "DELETE FROM entries"] {
            let error = h.database.execute(statement).await.expect_err("refused");
            assert!(error.to_string().contains("entries are immutable"), "{error}");
        }
        assert_eq!(h.count("entries WHERE amount_minor = 500").await, 1);
    }
}
