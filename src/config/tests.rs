use std::io::Write;

use secrecy::ExposeSecret;
use tempfile::NamedTempFile;

use super::*;

const SECRET: &str = "EIf8-hunter2";

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it is written");
    file
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn flags(flags: &[(&str, &str)]) -> Vec<(String, String)> {
    flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(file(text).path()), [], &[])
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(None, environment(variables), &[])
}

/// The error's own words, with the temporary file's name replaced.
fn error_of_file(text: &str) -> String {
    let file = file(text);
    let error = Config::load(Some(file.path()), [], &[]).expect_err("it is refused").to_string();
    error.replace(&file.path().display().to_string(), "pay.toml")
}

fn error_of_environment(variables: &[(&str, &str)]) -> String {
    from_environment(variables).expect_err("it is refused").to_string()
}

#[test]
fn without_any_source_the_documented_defaults_hold() {
    let config = Config::load(None, [], &[]).expect("the defaults are enough");
    assert_eq!(config.database.url.expose_secret(), "sqlite://payoutd.db");
    assert_eq!(config.jobs.dir(), None);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.providers.paypal.batch_size, 500);
    assert!(config.shown().iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults() {
    let file = file("[engine]\nlease_ms = 31000\nheartbeat_ms = 1001\n[jobs]\ndir = \"f\"\n");
    let environment = environment(&[
        ("PAYOUTD__ENGINE__LEASE_MS", "32000"),
        ("PAYOUTD__ENGINE__HEARTBEAT_MS", "1002"),
        ("PATH", "/bin"),
        ("PAYOUTD_PORT", "tcp://10.0.0.1:80"),
    ]);
    let flags = flags(&[("engine.lease_ms", "33000")]);
    let config = Config::load(Some(file.path()), environment, &flags).expect("all of it is known");
    assert_eq!(config.engine.lease_ms, 33000);
    assert_eq!(config.engine.heartbeat_ms, 1002);
    assert_eq!(config.jobs.dir(), Some(Path::new("f")));
    assert_eq!(config.engine.calls_in_flight, 4);
}

#[test]
fn the_environment_names_the_file_unless_a_flag_does() {
    let (named, flagged) = (file("log.level = 'debug'"), file("log.level = 'warn'"));
    let environment = [("PAYOUTD_CONFIG".into(), named.path().as_os_str().to_owned())];
    let level = |file| {
        let config = Config::load(file, environment.clone(), &[]);
        config.expect("both files are good").log.level
    };
    assert_eq!(level(None), LogLevel::Debug);
    assert_eq!(level(Some(flagged.path())), LogLevel::Warn);
}

#[test]
fn a_secret_that_looks_like_a_number_stays_as_it_was_written() {
    for secret in ["123456", "1e5", "0x10", "true", "007"] {
        let config = from_environment(&[
            ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID", "17"),
            ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET", secret),
        ])
        .expect("text may be any text");
        assert_eq!(config.providers.paypal.client_secret.expose_secret(), secret);
        assert_eq!(config.providers.paypal.client_id, "17");
    }
}

#[test]
fn an_unknown_setting_is_refused_with_its_place_and_the_nearest_known_name() {
    assert_eq!(
        error_of_file("[providers.paypal]\nclient_idd = \"x\"\n"),
        "unknown setting providers.paypal.client_idd in pay.toml: did you mean \
         providers.paypal.client_id?"
    );
    assert_eq!(
        error_of_environment(&[("PAYOUTD__DATABASE__URI", "x")]),
        "unknown setting database.uri in the environment (PAYOUTD__DATABASE__URI): did you mean \
         database.url?"
    );
    let flags = flags(&[("log.fromat", "json")]);
    assert_eq!(
        Config::load(None, [], &flags).expect_err("it is refused").to_string(),
        "unknown setting log.fromat on the command line: did you mean log.format?"
    );
}

#[test]
fn a_key_without_its_section_and_a_section_with_a_wrong_name_are_unknown() {
    for (text, nearest) in [
        ("client_id = 'x'", "providers.paypal.client_id"),
        ("database = 'sqlite://x'", "database.url"),
        ("[providers.paypall]", "providers.paypal.note"),
        ("[log.format]\nx = 1", "log.format"),
        ("[Log]\nlevel = 'info'", "log.level"),
    ] {
        let error = error_of_file(text);
        assert!(error.starts_with("unknown setting"), "{error}");
        assert!(error.ends_with(&format!("did you mean {nearest}?")), "{error}");
    }
}

#[test]
fn an_empty_section_changes_nothing() {
    from_file("[jobs]\n[providers]\n").expect("known sections may be empty");
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_is_expected() {
    assert_eq!(
        error_of_file("[database]\nauto_migrate = \"yes\"\n"),
        "database.auto_migrate = \"yes\" in pay.toml: expected true or false"
    );
    assert_eq!(
        error_of_environment(&[("PAYOUTD__ENGINE__CALLS_IN_FLIGHT", "many")]),
        "engine.calls_in_flight = \"many\" in the environment \
         (PAYOUTD__ENGINE__CALLS_IN_FLIGHT): expected a whole number from 1 to 64"
    );
    assert_eq!(
        error_of_file("log.level = ['info']"),
        "log.level = a list in pay.toml: expected one of off, error, warn, info, debug, trace"
    );
    assert_eq!(error_of_file("jobs.dir = 7"), "jobs.dir = 7 in pay.toml: expected text in quotes");
}

#[test]
fn a_value_out_of_its_range_is_named_with_the_range() {
    for (key, wrong) in [
        ("providers.paypal.batch_size", ["0", "15001"]),
        ("providers.paypal.page_size", ["0", "1001"]),
        ("database.max_connections", ["0", "-1"]),
        ("engine.heartbeat_ms", ["0", "600001"]),
    ] {
        for value in wrong {
            let error = error_of_file(&format!("{key} = {value}"));
            let expected = format!("{key} = {value} in pay.toml: expected a whole number from");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let error = error_of_file("database.url = 'mysql://pay:s3cret@db/pay'");
    assert!(error.contains("expected text that begins with sqlite: or postgres://"), "{error}");
    assert!(error.contains("mysql://pay:********@db/pay"), "{error}");
}

#[test]
fn a_lease_outlives_two_lost_heartbeats() {
    from_file("engine.lease_ms = 15000").expect("three heartbeats are enough");
    let error = error_of_file("engine.lease_ms = 14999");
    assert!(error.starts_with("engine.lease_ms = 14999 in pay.toml: expected at least three"));
}

#[test]
fn half_of_the_credentials_is_refused_and_the_missing_half_named() {
    let error = error_of_environment(&[("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID", "x")]);
    assert!(error.starts_with("providers.paypal.client_secret = (not set)"), "{error}");
    let error = error_of_environment(&[("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET", SECRET)]);
    assert!(error.starts_with("providers.paypal.client_id = \"\""), "{error}");
}

#[test]
fn a_secret_is_in_no_error_and_in_no_debug_output() {
    for text in [
        format!("providers.paypal.client_secret = {SECRET}"),
        format!("[providers.paypal]\nclient_secret = \"{SECRET}\nnote = 1"),
        format!("providers.paypal.client_secret = ['{SECRET}']"),
        format!("providers.paypal.client_secrett = '{SECRET}'"),
        format!("providers.paypal.client_secret = '{SECRET}'\nlog.level = 5"),
    ] {
        let error = from_file(&text).expect_err("it is refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let config = from_environment(&[
        ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID", "x"),
        ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET", SECRET),
        ("PAYOUTD__DATABASE__URL", "postgres://pay:hunter2@db/pay"),
    ])
    .expect("all of it is known");
    assert!(!format!("{config:?} {:?}", config.shown()).contains("hunter2"));
}

#[test]
fn the_effective_settings_are_shown_with_their_origin_and_without_secrets() {
    let file = file("log.level = 'debug'");
    let environment = environment(&[
        ("PAYOUTD__DATABASE__URL", "postgres://pay:hunter2@db/pay"),
        ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID", "AbC"),
        ("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET", SECRET),
    ]);
    let flags = flags(&[("log.format", "json")]);
    let config = Config::load(Some(file.path()), environment, &flags).expect("all of it is known");
    let shown = config.shown();
    let row = |key: &str| {
        let row = shown.iter().find(|row| row.key == key).expect(key);
        (row.value.as_str(), row.origin.clone())
    };
    let variable = |name: &str| Origin::Environment(name.to_owned());
    assert_eq!(row("log.level"), ("debug", Origin::File(file.path().to_path_buf())));
    assert_eq!(row("log.format"), ("json", Origin::Flag));
    assert_eq!(row("jobs.drain_ms"), ("30000", Origin::Default));
    assert_eq!(
        row("database.url"),
        ("postgres://pay:********@db/pay", variable("PAYOUTD__DATABASE__URL"))
    );
    let secret = variable("PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET");
    assert_eq!(row("providers.paypal.client_secret"), ("********", secret));
    let defaults = Config::load(None, [], &[]).expect("the defaults are enough").shown();
    assert!(defaults.iter().any(|row| row.value == "(not set)"));
}

#[test]
fn a_file_that_is_missing_or_broken_is_named_with_the_line() {
    let error = Config::load(Some(Path::new("/nowhere/pay.toml")), [], &[]).expect_err("missing");
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere/pay.toml");
    let error = error_of_file("[log]\nlevel = 'info'\nformat 'json'\n");
    assert!(error.starts_with("pay.toml is not valid TOML (line 3): "), "{error}");
    let error = error_of_file("jobs.drain_ms = 99999999999999999999");
    assert_eq!(error, "pay.toml is not valid TOML: a number is too large");
}

#[cfg(unix)]
#[test]
fn a_variable_of_ours_that_is_not_text_is_refused_and_others_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![0xff]);
    let error = Config::load(None, [("PAYOUTD__LOG__LEVEL".into(), broken())], &[]);
    let error = error.expect_err("it is refused").to_string();
    assert_eq!(error, "PAYOUTD__LOG__LEVEL in the environment is not UTF-8");
    Config::load(None, [("LANG".into(), broken()), (broken(), "x".into())], &[])
        .expect("what is not ours does not matter");
}
