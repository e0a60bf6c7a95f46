//! Users and rules by the command line.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::*;

/// What a user's JSON says of their own rules.
const RULES: [&str; 11] = [
    "limit_shared",
    "limit_up",
    "limit_down",
    "max_connections",
    "max_addresses",
    "quota",
    "expires",
    "beyond",
    "egress",
    "weight",
    "floor",
];

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_users_life() {
    let place = Place::new();
    let added =
        place.json("user add ada --password-file password --rate 5000B/s --burst 5000B --json");
    let mut shape = Vec::from(RULES);
    shape.extend(["name", "enabled", "created", "standing", "rules", "period"]);
    shape.extend(["upload_bytes", "download_bytes"]);
    shape.sort_unstable();
    assert_eq!(keys(&added), shape);
    let mut rules = Vec::from(RULES);
    rules.sort_unstable();
    assert_eq!(keys(&added["rules"]), rules);
    assert_eq!(
        (&added["name"], &added["enabled"], &added["standing"]),
        (&json!("ada"), &json!(true), &json!("good"))
    );
    let limit = "token-bucket:rate=5000B/s,burst=5000B";
    assert_eq!(added["limit_shared"], limit);
    assert_eq!(added["rules"]["limit_shared"], limit);
    // The burst is 10 ms of the rate, at least 1,500 B.
    let set = place.json("user set ada --rate 1MB/s --algorithm gcra --json");
    assert_eq!(set["limit_shared"], "gcra:rate=1000000B/s,burst=10000B");
    let set = place.json("user set ada --rate-down 40kbit/s --json");
    assert_eq!(set["limit_down"], "token-bucket:rate=5000B/s,burst=1500B");
    assert_eq!(
        (&set["limit_up"], &set["limit_shared"]),
        (&Value::Null, &Value::Null)
    );
    // Words with spaces, so not by the helper that splits at them.
    let mut command = place.command("user set ada --weight 3 --floor 5kB/s --json");
    let rules = "deny * 25,allow 10.1.0.0/16 443-444";
    let set = command.args(["--egress", rules]).output().unwrap();
    let set: Value = serde_json::from_slice(&set.stdout).unwrap();
    assert_eq!(set["egress"], "deny * 25, allow 10.1.0.0/16 443-444");
    assert_eq!(
        (&set["weight"], &set["floor"]),
        (&json!(3), &json!("5000B/s"))
    );
    let set = place.json("user set ada --reset egress,weight --json");
    assert_eq!(
        (&set["egress"], &set["weight"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(set["floor"], "5000B/s");
    let set = place.json("user set ada --unlimited --json");
    assert_eq!(set["limit_shared"], "none");
    assert_eq!(set["limit_down"], Value::Null);
    assert_eq!(place.json("user disable ada --json")["enabled"], false);
    assert_eq!(place.json("user enable ada --json")["enabled"], true);
    place.json("user add bob --password-file password --json");
    let names: Vec<_> = place
        .json("user list --json")
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    assert_eq!(names, ["ada", "bob"]);
    place.json("user del bob --json");
    assert_eq!(place.json("user list --json").as_array().unwrap().len(), 1);
    let text = String::from_utf8(place.output("user show ada").stdout).unwrap();
    assert_eq!(
        text,
        "ada  enabled  unlimited  floor 5000B/s  up 0 B  down 0 B\n"
    );
}

#[test]
fn rules_of_a_user_go_before_those_for_everybody() {
    let place = Place::new();
    place.json("user add ada --password-file password --max-connections 5 --json");
    let everybody =
        place.json("rules set --rate 1MB/s --max-connections 2 --max-addresses none --json");
    assert_eq!(everybody["max_connections"], 2);
    assert_eq!(place.json("rules show --json"), everybody);
    let ada = place.json("user show ada --json");
    assert_eq!(
        (&ada["max_connections"], &ada["limit_shared"]),
        (&json!(5), &Value::Null)
    );
    assert_eq!(ada["rules"]["max_connections"], 5);
    assert_eq!(ada["rules"]["max_addresses"], "none");
    assert_eq!(
        ada["rules"]["limit_shared"],
        "token-bucket:rate=1000000B/s,burst=10000B"
    );
    let ada = place.json("user set ada --reset max-connections --unlimited --json");
    assert_eq!(ada["max_connections"], Value::Null);
    assert_eq!(ada["rules"]["max_connections"], 2);
    assert_eq!(ada["rules"]["limit_shared"], "none");
    place.json("rules set --reset limits,max-connections,max-addresses --json");
    let text = String::from_utf8(place.output("rules show").stdout).unwrap();
    assert_eq!(text, "no rules for everybody\n");
}

#[test]
fn quota_and_expiry_are_shown_with_what_is_left() {
    let place = Place::new();
    let ada = place.json(
        "user add ada --password-file password --quota 1GB/monthly@31 --expires 2100-01-31 --beyond 8kB/s --json",
    );
    assert_eq!(ada["quota"], "1000000000B/monthly@31");
    assert_eq!(ada["expires"], "2100-01-31T00:00:00Z");
    assert_eq!(ada["beyond"], "8000B/s");
    let usage = place.json("user usage ada --json");
    assert_eq!(
        keys(&usage),
        [
            "download_bytes",
            "name",
            "period",
            "standing",
            "upload_bytes"
        ]
    );
    assert_eq!(
        keys(&usage["period"]),
        [
            "download_bytes",
            "end",
            "left_bytes",
            "quota_bytes",
            "start",
            "upload_bytes"
        ]
    );
    assert_eq!(usage["period"]["left_bytes"], 1_000_000_000);
    let text = String::from_utf8(place.output("user usage ada").stdout).unwrap();
    assert!(text.contains("1000000000 B left of 1000000000 B"), "{text}");
    place.json("user set ada --expires 2000-01-01 --json");
    let text = String::from_utf8(place.output("user show ada").stdout).unwrap();
    let shown = "ada  expired  unlimited  quota 1000000000B/monthly@31  \
        expires 2000-01-01T00:00:00Z  then 8000B/s  up 0 B  down 0 B\n";
    assert_eq!(text, shown);
}

#[test]
fn passwords_come_from_standard_input_too() {
    let place = Place::new();
    let mut command = place.command("user add ada --password-file - --json");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(PASSWORD.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    let server = place.serve("");
    drop(server.tunnel("ada", echo()));
}

#[test]
fn mistakes_are_named_and_have_their_exit_code() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    for (arguments, said) in [
        ("user show nobody", "\"nobody\""),
        ("user add ada --password-file password", "already"),
        ("user add bob --password-file nowhere", "nowhere"),
        ("user add bob --password-file /dev/null", "1 to 255"),
        ("user add bob --password-file /dev/zero", "1 to 255"),
        ("user add bob --password-file password --rate 5000", "B/s"),
        (
            "user add bob --password-file password --rate 7bit/s",
            "7bit/s",
        ),
        (
            "user add bob --password-file password --rate 1kB/s --algorithm tokenbucket",
            "token-bucket",
        ),
        (
            "user add bob --password-file password --rate 1kB/s --algorithm leaky-bucket --burst 1B",
            "no burst",
        ),
        ("user add bob --password-file password --burst 1kB", "rate"),
        (
            "user add bob --password-file password --rate 1kB/s --rate-up 1kB/s",
            "--rate-up",
        ),
        ("user add bob", "--password-file"),
        ("user set ada", "--rate"),
        ("user set ada --quota 10", "no unit"),
        ("user set ada --quota 10GB/yearly", "monthly"),
        ("user set ada --expires soon", "2027-01-31"),
        ("user set ada --max-connections 0", "1 or more"),
        ("user set ada --beyond stop", "stop"),
        ("user set ada --quota none --reset quota", "both"),
        ("rules set", "nothing to set"),
        ("user list --database mysql://host/db", "mysql"),
        ("run --listen 127.0.0.1", "127.0.0.1"),
        ("run --allow-egress 10.0.0.0/33", "10.0.0.0/33"),
        ("run --config nowhere.toml", "nowhere.toml"),
    ] {
        let (code, error) = place.failure(arguments);
        assert_eq!(code, Some(2), "{arguments}: {error}");
        assert!(error.contains(said), "{arguments}: {error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, error) = place.failure(&format!("run --listen {address}"));
    assert_eq!(code, Some(1));
    assert!(
        error.contains(&address.to_string()) && error.contains("choose another port"),
        "{error}"
    );
    std::fs::write(place.path().join("no.db"), [b'x'; 8192]).unwrap();
    let (code, error) = place.failure("user list --database no.db");
    assert_eq!(code, Some(1));
    assert!(error.contains("no.db"), "{error}");
}
