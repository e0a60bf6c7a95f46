//! Users on their way in and out.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::support::*;

/// What a command that may fail prints as JSON, and its exit code.
fn outcome(place: &Place, arguments: &str) -> (Option<i32>, Value) {
    let output = place.output(arguments);
    let value = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        value.unwrap_or_else(|_| panic!("{output:?}")),
    )
}

fn export(place: &Place) -> String {
    String::from_utf8(place.output("user export").stdout).unwrap()
}

fn names(place: &Place) -> Vec<String> {
    let users = place.json("user list --json");
    let users = users.as_array().unwrap().iter();
    users
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect()
}

fn database(path: &Path, statements: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(statements)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn what_is_exported_comes_back_the_same() {
    let from = Place::new();
    from.json("user add ada --password-file password --rate 5000B/s --quota 10GB/weekly@friday --max-connections 5 --json");
    from.json("user add bob --password-file password --rate-up 1kB/s --expires 2100-01-01 --beyond refuse --max-addresses none --egress none --weight 7 --floor none --json");
    from.json("user add eve --password-file password --unlimited --json");
    from.json("user disable eve --json");
    let server = from.serve("");
    let target = echo();
    let mut client = server.tunnel("ada", target);
    client.write_all(b"hello").unwrap();
    std::io::Read::read_exact(&mut client, &mut [0; 5]).unwrap();
    drop(client);
    server.signal("TERM");
    server.ended();
    let exported = export(&from);
    assert_eq!(exported.lines().count(), 3);
    assert!(!exported.contains(PASSWORD));

    let to = Place::new();
    let mut import = to.command("user import - --json");
    import.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = import.spawn().unwrap();
    let stdin = child.stdin.take();
    stdin.unwrap().write_all(exported.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report,
        json!({ "taken": ["ada", "bob", "eve"], "not_taken": [], "notes": [] })
    );
    assert_eq!(export(&to), exported);
    assert_eq!(moved(&to), (5, 5));
    // The hash works, and the quota goes on where it was.
    drop(to.serve("").tunnel("ada", target));
    let left = to.json("user usage ada --json")["period"]["left_bytes"].as_u64();
    assert!(left.unwrap() <= 10_000_000_000 - 10);
}

#[test]
fn nothing_is_half_imported() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let lines = [
        r#"{"name": "bob", "password": "secret", "quota": "1GB/daily", "max_connections": 3}"#,
        r#"{"name": "ada", "password": "secret"}"#,
        r#"{"name": "bob", "password": "again"}"#,
        r#"{"name": "two words", "password": "secret"}"#,
        r#"{"name": "eve"}"#,
        r#"{"name": "eve", "password_hash": "secret"}"#,
        r#"{"name": "eve", "password": "secret", "rate": 5000}"#,
        r#"{"name": "eve", "password": "secret", "limit_shared": "token-bucket:rate=1B/s", "limit_up": "none"}"#,
        "{",
    ];
    std::fs::write(place.path().join("users.jsonl"), lines.join("\n\n")).unwrap();
    let (code, report) = outcome(&place, "user import users.jsonl --json");
    assert_eq!((code, &report["taken"]), (Some(2), &json!([])));
    let reasons: Vec<_> = report["not_taken"].as_array().unwrap().iter().collect();
    assert_eq!(reasons.len(), 8);
    for (reason, (line, said)) in reasons.iter().zip([
        ("line 3", "already"),
        ("line 5", "twice"),
        ("line 7", "no name"),
        ("line 9", "password_hash or password"),
        ("line 11", "PHC"),
        ("line 13", "unknown field `rate`"),
        ("line 15", "excludes"),
        ("line 17", "EOF"),
    ]) {
        assert_eq!(reason["place"], line);
        assert!(
            reason["reason"].as_str().unwrap().contains(said),
            "{reason}"
        );
    }
    assert_eq!(names(&place), ["ada"]);
    let (code, report) = outcome(&place, "user import users.jsonl --skip --json");
    assert_eq!((code, &report["taken"]), (Some(0), &json!(["bob"])));
    assert_eq!(names(&place), ["ada", "bob"]);
    assert_eq!(
        place.json("user show bob --json")["quota"],
        "1000000000B/daily"
    );
}

#[test]
fn the_users_of_the_text_handshake_proxy() {
    let place = Place::new();
    database(
        &place.path().join("user.db"),
        "CREATE TABLE user (username, password, rate); \
         INSERT INTO user VALUES ('aaaa', 'correct horse battery', 5000), ('0123', 42, '3000'), \
         ('zero', 'x', 0), ('none', 'x', NULL), ('sp ace', 'x', 1), ('half', 'x', 1.5)",
    );
    let (code, report) = outcome(&place, "user import user.db --json");
    assert_eq!((code, &report["taken"]), (Some(2), &json!([])));
    let (_, report) = outcome(&place, "user import user.db --skip --json");
    assert_eq!(report["taken"], json!(["aaaa", "0123"]));
    let left = report["not_taken"].as_array().unwrap();
    let left: Vec<_> = left.iter().map(|row| &row["name"]).collect();
    assert_eq!(left, ["zero", "none", "sp ace", "half"]);
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("bytes per second")
    );
    let user = place.json("user show aaaa --json");
    assert_eq!(user["limit_down"], "token-bucket:rate=5000B/s,burst=1500B");
    assert_eq!(user["limit_up"], Value::Null);
    let bytes = std::fs::read(place.path().join("users.db")).unwrap();
    let password = PASSWORD.as_bytes();
    assert!(!bytes.windows(password.len()).any(|part| part == password));
    drop(place.serve("").tunnel("aaaa", echo()));
}

#[test]
fn the_users_of_the_two_byte_dialect_proxy() {
    let place = Place::new();
    database(
        &place.path().join("coded.db"),
        "CREATE TABLE user (usrname test primary key not null, usrpassword text not null); \
         INSERT INTO user VALUES ('xuzikang', '2018211514'), ('123', '2147483648')",
    );
    let (code, report) = outcome(&place, "user import coded.db --json");
    assert_eq!(
        (code, &report["taken"]),
        (Some(0), &json!(["xuzikang", "123"]))
    );
    assert_eq!(
        place.json("user show xuzikang --json")["limit_shared"],
        Value::Null
    );
    database(
        &place.path().join("documented.db"),
        "CREATE TABLE user (usrname text, usrpassword text, cur_amount int, last_time int, bandwidth int); \
         INSERT INTO user VALUES ('gofire', 'correct horse battery', 7, 8, 20000)",
    );
    let (_, report) = outcome(&place, "user import documented.db --json");
    let notes = report["notes"].to_string();
    assert!(notes.contains("both directions") && notes.contains("cur_amount is not taken"));
    let user = place.json("user show gofire --json");
    assert_eq!(
        user["limit_shared"],
        "token-bucket:rate=20000B/s,burst=1500B"
    );
    database(
        &place.path().join("other.db"),
        "CREATE TABLE user (id, mail)",
    );
    let (code, error) = place.failure("user import other.db");
    assert_eq!(code, Some(2));
    assert!(error.contains("user(id, mail)"), "{error}");
}

/// Who took users in and who took the hashes out, in the log of changes.
#[test]
fn imports_and_exports_are_in_the_audit_log() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let lines = format!(
        "{}\n{}\n",
        r#"{"name": "bob", "password": "a long secret"}"#,
        r#"{"name": "eve", "password": "another long one"}"#
    );
    std::fs::write(place.path().join("users.jsonl"), lines).unwrap();
    place.json("user import users.jsonl --json");
    // Nothing was taken, so nothing is noted.
    assert_eq!(outcome(&place, "user import users.jsonl --json").0, Some(2));
    assert!(place.output("user export").status.success());
    let actions = audited(&place);
    let expected = [
        ("user.create", "ada"),
        ("user.import", "bob"),
        ("user.import", "eve"),
        ("user.export", ""),
    ];
    let found: Vec<_> = actions
        .iter()
        .map(|(_, action, subject, _)| (action.as_str(), subject.as_str()))
        .collect();
    assert_eq!(found, expected);
    assert!(
        actions
            .iter()
            .all(|(actor, ..)| actor.starts_with("command line"))
    );
    assert!(actions[1].3.contains("users.jsonl"), "{actions:?}");
    assert!(actions[3].3.contains('3'), "{actions:?}");
    assert!(!format!("{actions:?}").contains("secret"));
}

/// Actor, action, subject and detail, the oldest first, as the database has them.
fn audited(place: &Place) -> Vec<(String, String, String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(place.path().join("users.db"));
        let mut connection = options.connect().await.unwrap();
        let rows = sqlx::query_as("SELECT actor, action, subject, detail FROM audit ORDER BY id");
        rows.fetch_all(&mut connection).await.unwrap()
    })
}

#[test]
fn shadowsocks_access_goes_along_and_is_checked() {
    let from = Place::new();
    std::fs::write(from.path().join("ss"), "another secret\n").unwrap();
    from.json("user add ada --password-file password --json");
    from.json("user shadowsocks ada --port 8388 --method aes-256-gcm --password-file ss --number 7 --json");
    from.json("user add bob --password-file password --json");
    let exported = export(&from);
    let users: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let access = json!({
        "port": 8388, "method": "aes-256-gcm", "password": "another secret", "number": 7,
    });
    assert_eq!(users[0]["shadowsocks"], access);
    assert_eq!(users[1].get("shadowsocks"), None);
    let to = Place::new();
    std::fs::write(to.path().join("users.jsonl"), &exported).unwrap();
    to.json("user import users.jsonl --json");
    assert_eq!(export(&to), exported);
    let shown = to.json("user shadowsocks ada --json");
    assert_eq!(shown["shadowsocks"]["number"], 7);
    let with = |name: &str, access: Value| {
        json!({ "name": name, "password": "secret", "shadowsocks": access }).to_string()
    };
    let key = json!({ "port": 1, "method": "2022-blake3-aes-128-gcm", "password": "short" });
    let lines = [
        with("cat", access.clone()),
        with("dan", key),
        with(
            "eve",
            json!({ "port": 0, "method": "aes-256-gcm", "password": "x" }),
        ),
        with(
            "fay",
            json!({ "port": 1, "method": "rc4", "password": "x" }),
        ),
    ];
    std::fs::write(to.path().join("more.jsonl"), lines.join("\n")).unwrap();
    let (code, report) = outcome(&to, "user import more.jsonl --json");
    assert_eq!((code, &report["taken"]), (Some(2), &json!([])));
    let reasons = report["not_taken"].as_array().unwrap();
    for (reason, said) in reasons
        .iter()
        .zip(["number 7", "16 bytes", "nonzero", "none of"])
    {
        assert!(
            reason["reason"].as_str().unwrap().contains(said),
            "{reason}"
        );
    }
    assert_eq!(names(&to), ["ada", "bob"]);
}
