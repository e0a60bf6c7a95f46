//! The log of changes in PostgreSQL: by the command line, and by a server's API.

use serde_json::Value;

use super::admin::ask_at;
use crate::support::*;

use crate::postgresql::Postgres;

#[test]
fn the_audit_log_is_kept_in_postgresql_too() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let place = Place::new();
    let command = |arguments: &str| {
        let mut command = place.command(arguments);
        command
            .env("WEIRGATE_DATABASE", postgres.url())
            .env("STATE_DIRECTORY", place.path());
        command
    };
    let done = |arguments: &str| {
        let output = command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    };
    done("user add ada --password-file password --rate 5kB/s");
    std::fs::write(
        place.path().join("users.jsonl"),
        r#"{"name": "bob", "password": "a long secret"}"#,
    )
    .unwrap();
    done("user import users.jsonl");
    done("user export");
    let server = Place::serve_by(command(&format!("run {ON_LOOPBACK}")));
    // By way of the server.
    done("user set ada --rate 7kB/s");
    done("user del bob");
    let socket = place.path().join("admin.sock");
    let page = |query: &str| ask_at(&socket, "GET", &format!("/api/v1/audit{query}")).1;
    let log = page("");
    let entries = log["entries"].as_array().unwrap();
    let text = |index: usize, key: &str| entries[index][key].as_str().unwrap();
    let found: Vec<_> = (0..entries.len())
        .map(|index| (text(index, "action"), text(index, "subject")))
        .collect();
    let expected = [
        ("user.delete", "bob"),
        ("user.change", "ada"),
        ("user.export", ""),
        ("user.import", "bob"),
        ("user.create", "ada"),
    ];
    assert_eq!(found, expected, "{log}");
    assert!(text(1, "actor").starts_with("socket uid="), "{log}");
    assert!(text(4, "actor").starts_with("command line"), "{log}");
    assert!(
        entries[1]["detail"].to_string().contains("7000B/s"),
        "{log}"
    );
    assert!(!log.to_string().contains("secret"), "{log}");
    // Page by page, the same.
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let next = page(&format!("?limit=2{before}"));
        paged.extend(next["entries"].as_array().unwrap().clone());
        match &next["next"] {
            Value::Null => break,
            number => before = format!("&before={number}"),
        }
    }
    assert_eq!(&paged, entries);
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
}
