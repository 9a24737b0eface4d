use std::os::unix::fs::PermissionsExt;

use secrecy::SecretString;

use super::*;
use crate::domain::OrgId;

fn vault_of(keys: &str) -> Vault {
    let masters = MasterKeys::parse(&SecretString::from(keys.to_owned())).expect("keys");
    Vault::new(masters, Clock::System)
}

const ONE: &str = "one=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const TWO: &str = "two=ff02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

fn org(name: &str) -> OrgId {
    name.parse().expect("an id")
}

fn rows(vault: &Vault, org: &OrgId) -> Vec<OrgKeyRow> {
    NewOrgKey::pair(vault, org).expect("keys").map(|key| key.row).to_vec()
}

const CELL: Cell<'static> = Cell { table: "destinations", column: "sealed", row: "de_1" };
const SECRET: &str = r#"{"accountNumber":"123456789"}"#;

#[test]
fn what_is_sealed_opens_in_its_cell_and_is_different_each_time() {
    let vault = vault_of(ONE);
    let keys = OrgVault::unlock(&vault, &org("acme"), &rows(&vault, &org("acme"))).expect("keys");
    let (one, two) = (keys.seal(CELL, SECRET).expect("sealed"), keys.seal(CELL, SECRET));
    assert_ne!(one, two.expect("sealed"));
    assert!(!one.contains("123456789"), "{one}");
    assert_eq!(key_of(&one), keys.current().map(|id| id.as_str()));
    assert_eq!(keys.open(CELL, &one).expect("opened"), SECRET);
}

#[test]
fn what_is_moved_or_changed_does_not_open() {
    let vault = vault_of(ONE);
    let acme = rows(&vault, &org("acme"));
    let keys = OrgVault::unlock(&vault, &org("acme"), &acme).expect("keys");
    let sealed = keys.seal(CELL, SECRET).expect("sealed");
    for cell in [
        Cell { row: "de_2", ..CELL },
        Cell { table: "notices", ..CELL },
        Cell { column: "label", ..CELL },
        // The same letters, cut elsewhere.
        Cell { table: "destination", column: "ssealed", ..CELL },
    ] {
        let error = keys.open(cell, &sealed).expect_err("another cell");
        assert!(matches!(error, VaultError::DoesNotOpen { .. }), "{cell}: {error}");
    }
    // Under another key's id, which then is the wrong key, or the right one with another binding.
    let mut more = acme.clone();
    more.push(NewOrgKey::sealing(&vault, &org("acme")).expect("a key").row);
    let renamed = sealed.replacen(acme[0].key_id.as_str(), more[2].key_id.as_str(), 1);
    let keys = OrgVault::unlock(&vault, &org("acme"), &more).expect("keys");
    assert!(matches!(keys.open(CELL, &renamed), Err(VaultError::DoesNotOpen { .. })));
    let (id, body) = sealed.split_once(':').expect("a key's id");
    for spoilt in [format!("{id}:A{}", &body[1..]), format!("{id}:"), format!("{id}:AAAA")] {
        // The first letter may have been an A by chance.
        assert!(spoilt == sealed || keys.open(CELL, &spoilt).is_err(), "{spoilt}");
    }
    for other in ["", "plain text", SECRET, "dk_1:not base64"] {
        assert!(keys.open(CELL, other).is_err(), "{other}");
    }
}

#[test]
fn another_orgs_keys_neither_open_it_nor_can_be_taken_over() {
    let vault = vault_of(ONE);
    let (acme, globex) = (rows(&vault, &org("acme")), rows(&vault, &org("globex")));
    let of_acme = OrgVault::unlock(&vault, &org("acme"), &acme).expect("keys");
    let sealed = of_acme.seal(CELL, SECRET).expect("sealed");
    let of_globex = OrgVault::unlock(&vault, &org("globex"), &globex).expect("keys");
    assert!(matches!(of_globex.open(CELL, &sealed), Err(VaultError::NoKey { .. })));
    // The key itself, moved into the other org's rows.
    let stolen = OrgVault::unlock(&vault, &org("globex"), &acme);
    assert!(matches!(stolen, Err(VaultError::DoesNotOpen { .. })));
    // And its wrapped bytes under another id or for another purpose.
    for spoil in [
        |row: &mut OrgKeyRow| row.key_id = "dk_other".parse().expect("an id"),
        |row: &mut OrgKeyRow| row.purpose = "index".to_owned(),
    ] {
        let mut row = acme[0].clone();
        spoil(&mut row);
        assert!(OrgVault::unlock(&vault, &org("acme"), &[row]).is_err());
    }
}

#[test]
fn fingerprints_are_equal_for_equal_texts_of_one_org_and_use_alone() {
    let vault = vault_of(ONE);
    let (acme, globex) = (rows(&vault, &org("acme")), rows(&vault, &org("globex")));
    let acme = OrgVault::unlock(&vault, &org("acme"), &acme).expect("keys");
    let globex = OrgVault::unlock(&vault, &org("globex"), &globex).expect("keys");
    let print = acme.fingerprint("account", "123").expect("a fingerprint");
    assert_eq!(acme.fingerprint("account", "123").expect("a fingerprint"), print);
    assert_eq!(print.len(), 64);
    for other in [
        acme.fingerprint("account", "124"),
        acme.fingerprint("accoun", "t123"),
        globex.fingerprint("account", "123"),
    ] {
        assert_ne!(other.expect("a fingerprint"), print);
    }
}

#[test]
fn a_data_key_moves_to_a_new_master_key_and_opens_what_it_sealed() {
    let (old, both, new) = (vault_of(ONE), vault_of(&format!("{TWO},{ONE}")), vault_of(TWO));
    let acme = org("acme");
    let mut keys = rows(&old, &acme);
    let sealed = OrgVault::unlock(&old, &acme, &keys).expect("keys").seal(CELL, SECRET);
    let missing = OrgVault::unlock(&new, &acme, &keys).expect_err("the old key is gone");
    assert!(matches!(missing, VaultError::NoMasterKey { id } if id == "one"));
    for row in &mut keys {
        let (master, wrapped) = rewrap(&both, &acme, row).expect("rewrapped").expect("changed");
        (row.master_key_id, row.wrapped) = (master, wrapped);
        assert!(rewrap(&both, &acme, row).expect("known").is_none());
    }
    let opened =
        OrgVault::unlock(&new, &acme, &keys).expect("keys").open(CELL, &sealed.expect("sealed"));
    assert_eq!(opened.expect("opened"), SECRET);
}

#[test]
fn master_keys_are_read_as_they_are_documented() {
    let text =
        format!("# a comment, with a comma\n{TWO}\n\n {ONE} ,three={}\n", &TWO[4..].to_uppercase());
    let keys = MasterKeys::parse(&SecretString::from(text)).expect("keys");
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["two", "one", "three"]);
    assert_eq!(
        (keys.wrapping_id(), format!("{keys:?}").as_str()),
        ("two", r#"["two", "one", "three"]"#)
    );
    for (text, wanted) in [
        ("", "there is no master key"),
        (" , \n", "there is no master key"),
        ("abc", "key 1 cannot be used: it is not ID=KEY"),
        ("=AAAA", "its id is not"),
        ("a b=AAAA", "its id is not"),
        ("a=AAAA", "it is not 32 bytes"),
        ("a=0000000000000000000000000000000000000000000000000000000000000000", "it is not random"),
        (&format!("{ONE},{ONE}"), "key 2 cannot be used: its id is another key's"),
    ] {
        let error = MasterKeys::parse(&SecretString::from(text.to_owned())).expect_err(text);
        assert!(error.to_string().contains(wanted), "{text}: {error}");
    }
}

#[test]
fn nothing_that_holds_a_key_prints_it() {
    let vault = vault_of(ONE);
    let keys = OrgVault::unlock(&vault, &org("acme"), &rows(&vault, &org("acme"))).expect("keys");
    let printed = format!("{vault:?} {keys:?}");
    assert!(!printed.contains("AQIDBA") && !printed.contains("1, 2, 3"), "{printed}");
}

#[test]
fn a_key_file_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("payoutd.db.key");
    assert!(MasterKeys::read_file(&path).expect("readable").is_none());
    let made = make_key_file(&path, &Clock::System).expect("made").expect("new");
    assert!(make_key_file(&path, &Clock::System).expect("looked at").is_none(), "it was there");
    let read = MasterKeys::read_file(&path).expect("readable").expect("there");
    assert_eq!(read.ids().collect::<Vec<_>>(), [made.as_str()]);
    assert!(is_private(&path).expect("there"));
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "nothing is left beside it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("ours");
    assert!(!is_private(&path).expect("there"));
    std::fs::write(&path, "nonsense").expect("written");
    let error = MasterKeys::read_file(&path).expect_err("no keys");
    assert!(!error.to_string().contains("nonsense"), "{error}");
}
