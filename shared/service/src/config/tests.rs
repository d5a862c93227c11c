//! What settings are taken, and what is said of those that are not.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;

#[test]
fn the_template_lists_what_the_programs_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env_template");
    let template = std::fs::read_to_string(path).expect(".env_template");
    let (programs, _scripts) =
        template.split_once("# --- local servers and docker compose only ---").expect("the section mark");
    let mut listed = BTreeSet::new();
    for line in programs.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            continue;
        }
        listed.insert((name.to_owned(), value.trim().to_owned()));
    }
    let read: BTreeSet<_> = VARIABLES
        .iter()
        .map(|v| (v.name.to_owned(), v.default.unwrap_or_default().to_owned()))
        .chain(strata_streams::topics().map(|t| (t.env.to_owned(), t.default.to_owned())))
        .collect();
    assert_eq!(listed, read);
}

#[test]
fn a_value_that_does_not_fit_names_its_variable() {
    let lookup = |name: &str| (name == "BATCH_MAX_ROWS").then(|| "many".to_owned());
    let error = Settings::from_lookup("STG_PORT", lookup).expect_err("not a number").to_string();
    assert!(error.contains("BATCH_MAX_ROWS") && error.contains("many"), "{error}");
}

#[test]
fn a_share_lies_between_nothing_and_all() {
    for value in ["-0.1", "1.1", "NaN", "half"] {
        let lookup = |name: &str| (name == "DEAD_LETTER_MAX_SHARE").then(|| value.to_owned());
        let error = Settings::from_lookup("STG_PORT", lookup).expect_err("no share").to_string();
        assert!(error.contains("DEAD_LETTER_MAX_SHARE") && error.contains(value), "{error}");
    }
}

#[test]
fn secrets_do_not_show() {
    let settings = Settings::from_lookup("STG_PORT", |_| None).expect("defaults fit");
    assert!(!format!("{settings:?}").contains("engineer"));
}

/// A password that no URL takes as it is.
const ANY_CHARACTERS: &str = "p@ss:w/ord#%?&\"' ü";

/// Settings where only these variables are set.
fn with(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    Settings::from_lookup("STG_PORT", |name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

/// A file with this content, and its path.
fn file(content: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content.as_bytes()).expect("its content");
    let path = file.path().display().to_string();
    (file, path)
}

#[test]
fn any_character_may_stand_in_a_password() {
    let settings = with(&[
        ("POSTGRES_USER", "d@e/"),
        ("POSTGRES_PASSWORD", ANY_CHARACTERS),
        ("POSTGRES_DB", "d?h"),
        ("REDIS_PASSWORD", ANY_CHARACTERS),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_USERNAME", "strata"),
        ("KAFKA_PASSWORD", ANY_CHARACTERS),
    ])
    .expect("settings fit");
    let postgres = settings.postgres.options();
    assert_eq!((postgres.get_username(), postgres.get_database()), ("d@e/", Some("d?h")));
    let redis = settings.redis.client();
    assert_eq!(redis.get_connection_info().redis_settings().password(), Some(ANY_CHARACTERS));
    let sasl = settings.kafka.security.sasl.as_ref().expect("a user");
    assert_eq!(sasl.password.expose(), ANY_CHARACTERS);
    let shown = format!("{settings:?}");
    assert!(!shown.contains("ss:w"), "{shown}");
}

#[test]
fn a_secret_may_lie_in_a_file() {
    let (_file, path) = file(&format!("{ANY_CHARACTERS}\n"));
    let settings = with(&[("APIKEY_FILE", &path), ("REDIS_PASSWORD_FILE", &path)]).expect("settings fit");
    assert_eq!(settings.api_key.expect("a key").expose(), ANY_CHARACTERS);
    let redis = settings.redis.client();
    assert_eq!(redis.get_connection_info().redis_settings().password(), Some(ANY_CHARACTERS));
    let (_file, url) = file("postgres://someone@[::1]:7777/else?sslmode=require\n");
    let postgres = with(&[("DATABASE_URL_FILE", &url)]).expect("settings fit").postgres.options();
    assert_eq!((postgres.get_username(), postgres.get_port()), ("someone", 7777));
    assert!(matches!(postgres.get_ssl_mode(), sqlx::postgres::PgSslMode::Require));
}

#[test]
fn addresses_of_ipv6_are_taken_with_and_without_brackets() {
    for host in ["::1", "[::1]"] {
        let settings = with(&[("HTTP_HOST", host), ("POSTGRES_HOST", host), ("REDIS_HOST", host)])
            .expect("settings fit");
        assert_eq!(settings.http_address(), "[::1]:5012");
        assert_eq!(settings.postgres.options().get_host(), "::1");
        assert_eq!(settings.redis.client().get_connection_info().addr().to_string(), "::1:6379");
    }
    let everywhere = with(&[("HTTP_HOST", "::")]).expect("settings fit");
    assert_eq!(
        (everywhere.http_address(), everywhere.http_address_here()),
        ("[::]:5012".into(), "[::1]:5012".into())
    );
}

#[test]
fn what_does_not_go_together_is_refused_with_the_variable_and_the_way_out() {
    let (_empty, empty) = file("no certificate\n");
    let (_blank, blank) = file("\n");
    for (variables, expected) in [
        (vec![("LOG_LEVEL", "loud")], "LOG_LEVEL=\"loud\" does not fit: it must be error, warn"),
        (vec![("LOG_LEVEL", "info,rdkafka=loud")], "LOG_LEVEL"),
        (vec![("LOG_FORMAT", "xml")], "LOG_FORMAT=\"xml\" does not fit: it must be one of text, json"),
        (vec![("KAFKA_SECURITY_PROTOCOL", "TLS")], "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        (vec![("KAFKA_SASL_MECHANISM", "SCRAM")], "KAFKA_SASL_MECHANISM"),
        (vec![("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")], "SASL needs KAFKA_USERNAME and KAFKA_PASSWORD"),
        (vec![("KAFKA_USERNAME", "strata")], "only used with SASL_SSL"),
        (vec![("KAFKA_PASSWORD", "secret")], "only used with SASL_SSL"),
        (vec![("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_CA", "/none/ca.pem")], "KAFKA_CA=\"/none/ca.pem\""),
        (vec![("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_CA", &empty)], "holds no certificate"),
        (vec![("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_KEY", &empty)], "holds no private key"),
        (vec![("POSTGRES_SSLMODE", "verify")], "POSTGRES_SSLMODE"),
        (vec![("POSTGRES_CA", &empty)], "holds no certificate"),
        (vec![("DATABASE_URL", "postgres://de:p/ss:w@h/d")], "DATABASE_URL does not fit"),
        (vec![("REDIS_URL", "localhost")], "REDIS_URL does not fit"),
        (vec![("REDIS_URL", "redis://localhost"), ("REDIS_TLS", "true")], "rediss://"),
        (vec![("REDIS_TLS", "yes")], "one of false, true"),
        (vec![("REDIS_USERNAME", "strata")], "it needs REDIS_PASSWORD"),
        (vec![("APIKEY", "a"), ("APIKEY_FILE", &blank)], "APIKEY is set, too"),
        (vec![("APIKEY_FILE", &blank)], "the file is empty"),
        (
            vec![("APIKEY_FILE", "/none/key")],
            "APIKEY_FILE=\"/none/key\" does not fit: the file cannot be read",
        ),
        (vec![("POSTGRES_HTTP_CONNECTIONS", "0")], "POSTGRES_HTTP_CONNECTIONS"),
    ] {
        let error = with(&variables).expect_err(expected).to_string();
        assert!(error.contains(expected), "{variables:?}: {error}");
        assert!(!error.contains("p/ss") && !error.contains("\"secret\""), "{error}");
    }
}

#[test]
fn levels_may_differ_by_module() {
    for level in ["info", "WARN", "off", "info,rdkafka=debug,strata_pipeline=trace"] {
        assert_eq!(with(&[("LOG_LEVEL", level)]).expect("a filter").log_level, level);
    }
}
