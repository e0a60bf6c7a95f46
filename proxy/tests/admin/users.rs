//! Users and rules over the API.

use serde_json::json;

use super::support::Proxy;

#[tokio::test]
async fn a_user_from_creation_to_deletion() {
    let proxy = Proxy::start().await;
    let path = "/api/v1/users/b%2F%C3%BC";
    let body = r#"{"name": "b/ü", "password": "hidden words", "rate_down": "5 kB/s", "quota": "1GB/daily"}"#;
    let created = proxy.ask("POST", "/api/v1/users", body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.field("location"), Some(path));
    let user = created.json();
    assert_eq!(user["limit_down"], "token-bucket:rate=5000B/s,burst=1500B");
    assert_eq!(user["rules"]["quota"], "1000000000B/daily");
    assert_eq!(user["standing"], "good");
    let shown = proxy.ask("GET", path, "").await;
    assert_eq!(shown.field("etag"), created.field("etag"));
    proxy
        .ask("POST", "/api/v1/users", body)
        .await
        .assert_problem(409, "again");

    let change = r#"{"quota": null, "max_connections": 3}"#;
    let json = "Content-Type: application/json\r\n";
    let unconditional = proxy.ask_with("PATCH", path, json, change).await;
    unconditional.assert_problem(428, "without If-Match");
    let conditional = |tag: &str| format!("{json}If-Match: {tag}\r\n");
    let old = shown.field("etag").unwrap();
    let changed = proxy
        .ask_with("PATCH", path, &conditional(old), change)
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.json()["max_connections"], 3);
    assert!(changed.json()["quota"].is_null());
    assert_ne!(changed.field("etag"), Some(old));
    let late = proxy
        .ask_with("PATCH", path, &conditional(old), change)
        .await;
    late.assert_problem(412, "with a tag of before");
    proxy
        .ask_with("DELETE", path, &conditional(old), "")
        .await
        .assert_problem(412, "delete");

    let new = changed.field("etag").unwrap();
    let deleted = proxy.ask_with("DELETE", path, &conditional(new), "").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    proxy.ask("GET", path, "").await.assert_problem(404, "gone");

    let log = proxy.json("/api/v1/audit").await;
    let entries = log["entries"].as_array().unwrap();
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(actions, ["user.delete", "user.change", "user.create"]);
    assert!(entries.iter().all(|entry| entry["subject"] == "b/ü"));
    assert_eq!(
        entries[1]["detail"],
        json!({ "max_connections": 3, "quota": null })
    );
    assert!(
        entries[0]["actor"]
            .as_str()
            .unwrap()
            .starts_with("socket uid=")
    );
    assert!(!log.to_string().contains("hidden"));
}

#[tokio::test]
async fn what_two_operators_change_at_once_is_not_lost() {
    let proxy = Proxy::start().await;
    let path = "/api/v1/users/ada";
    let shown = proxy.ask("GET", path, "").await;
    let fields = format!(
        "Content-Type: application/json\r\nIf-Match: {}\r\n",
        shown.field("etag").unwrap()
    );
    let change = |most: u32| format!(r#"{{"max_connections": {most}}}"#);
    let (first, second) = (change(1), change(2));
    let (one, other) = tokio::join!(
        proxy.ask_with("PATCH", path, &fields, &first),
        proxy.ask_with("PATCH", path, &fields, &second),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn a_patch_is_done_whole_or_not_at_all() {
    let proxy = Proxy::start().await;
    let before = proxy.ask("GET", "/api/v1/users/ada", "").await;
    for body in [
        r#"{"enabled": false, "quota": "much"}"#,
        r#"{"enabled": false, "password": ""}"#,
    ] {
        proxy
            .ask("PATCH", "/api/v1/users/ada", body)
            .await
            .assert_problem(422, body);
    }
    let after = proxy.ask("GET", "/api/v1/users/ada", "").await;
    assert_eq!(after.field("etag"), before.field("etag"));
    assert_eq!(after.json(), before.json());
    let both = r#"{"enabled": false, "password": "another", "max_addresses": 2}"#;
    let done = proxy.ask("PATCH", "/api/v1/users/ada", both).await.json();
    assert_eq!(
        (&done["enabled"], &done["max_addresses"]),
        (&json!(false), &json!(2))
    );
    let rules = r#"{"egress": "deny * 25,allow *", "weight": 3, "floor": "5 kB/s"}"#;
    let done = proxy.ask("PATCH", "/api/v1/users/ada", rules).await.json();
    assert_eq!(done["egress"], "deny * 25, allow *");
    assert_eq!(
        (&done["weight"], &done["floor"]),
        (&json!(3), &json!("5000B/s"))
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let proxy = Proxy::start().await;
    for name in ["carl", "bob", "c/d", "dora"] {
        let body = format!(r#"{{"name": "{name}", "password": "x"}}"#);
        assert_eq!(proxy.ask("POST", "/api/v1/users", &body).await.status, 201);
    }
    let names = |page: &serde_json::Value| -> Vec<String> {
        let users = page["users"].as_array().unwrap();
        users
            .iter()
            .map(|user| user["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = proxy.json("/api/v1/users?limit=3").await;
    assert_eq!(names(&first), ["ada", "bob", "c/d"]);
    assert_eq!(
        (&first["next"], &first["total"]),
        (&json!("c/d"), &json!(5))
    );
    let second = proxy.json("/api/v1/users?limit=3&after=c%2Fd").await;
    assert_eq!(names(&second), ["carl", "dora"]);
    assert!(second["next"].is_null());
    assert_eq!(
        names(&proxy.json("/api/v1/users?search=or").await),
        ["dora"]
    );
    assert_eq!(names(&proxy.json("/api/v1/users?limit=5").await).len(), 5);
}

#[tokio::test]
async fn rules_for_everybody() {
    let proxy = Proxy::start().await;
    let before = proxy.ask("GET", "/api/v1/rules", "").await;
    assert!(before.json()["beyond"].is_null());
    let changed = proxy
        .ask("PATCH", "/api/v1/rules", r#"{"beyond": "8 kB/s"}"#)
        .await;
    assert_eq!(changed.json()["beyond"], "8000B/s");
    assert_ne!(changed.field("etag"), before.field("etag"));
    let ada = proxy.json("/api/v1/users/ada").await;
    assert_eq!(
        (&ada["beyond"], &ada["rules"]["beyond"]),
        (&json!(null), &json!("8000B/s"))
    );
}

/// Each wrong in its own way; none is the server's fault.
#[tokio::test]
async fn bad_input_is_a_problem_of_the_client() {
    let proxy = Proxy::start().await;
    let long = format!(r#"{{"name": "{}", "password": "x"}}"#, "n".repeat(256));
    let huge = format!(r#"{{"name": "n", "password": "{}"}}"#, "x".repeat(70_000));
    let deep = "[".repeat(10_000);
    for (status, method, path, body) in [
        (400, "POST", "/api/v1/users", "{"),
        (422, "POST", "/api/v1/users", deep.as_str()),
        (422, "POST", "/api/v1/users", "[]"),
        (422, "POST", "/api/v1/users", r#"{"name": "n"}"#),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "a b", "password": "x"}"#,
        ),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "", "password": "x"}"#,
        ),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "n", "password": ""}"#,
        ),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "n", "password": "x", "rate": 5000}"#,
        ),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "n", "password": "x", "rate": "5000"}"#,
        ),
        (
            422,
            "POST",
            "/api/v1/users",
            r#"{"name": "n", "password": "x", "rat": "5 kB/s"}"#,
        ),
        (422, "POST", "/api/v1/users", &long),
        (413, "POST", "/api/v1/users", &huge),
        (415, "POST", "/api/v1/users", ""),
        (400, "GET", "/api/v1/users?limit=0", ""),
        (400, "GET", "/api/v1/users?limit=1001", ""),
        (400, "GET", "/api/v1/users?limit=-1", ""),
        (400, "GET", "/api/v1/users?limits=1", ""),
        (400, "GET", "/api/v1/users/%FF", ""),
        (404, "GET", "/api/v1/users/nobody", ""),
        (404, "PATCH", "/api/v1/users/nobody", "{}"),
        (404, "DELETE", "/api/v1/users/nobody", ""),
        (404, "DELETE", "/api/v1/users/nobody/sessions", ""),
        (
            422,
            "PATCH",
            "/api/v1/users/ada",
            r#"{"expires": "2026-13-01"}"#,
        ),
        (
            422,
            "PATCH",
            "/api/v1/users/ada",
            r#"{"max_connections": -1}"#,
        ),
        (422, "PATCH", "/api/v1/rules", r#"{"enabled": true}"#),
        (400, "GET", "/api/v1/sessions?after=x", ""),
        (400, "GET", "/api/v1/sessions/x", ""),
        (404, "GET", "/api/v1/sessions/99", ""),
        (404, "DELETE", "/api/v1/sessions/99", ""),
        (400, "GET", "/api/v1/audit?before=x", ""),
        (426, "GET", "/api/v1/console", ""),
        (409, "POST", "/api/v1/reload", ""),
        (404, "GET", "/api/v2/users", ""),
        (405, "PUT", "/api/v1/users", ""),
        (405, "POST", "/livez", ""),
    ] {
        let what = format!(
            "{method} {path} {}",
            body.chars().take(80).collect::<String>()
        );
        let answer = proxy.ask(method, path, body).await;
        answer.assert_problem(status, &what);
        assert_eq!(answer.field("allow").is_some(), status == 405, "{what}");
    }
    let fields = "Content-Type: application/json\r\nIf-Match: a\r\n";
    let answer = proxy
        .ask_with("PATCH", "/api/v1/users/ada", fields, "{}")
        .await;
    answer.assert_problem(400, "an unquoted tag");
}
